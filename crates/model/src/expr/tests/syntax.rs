//! What parsing refuses, with the texts of the errors.

use super::*;

fn syntax(token: &str, near: &str) -> String {
    format!("Syntax error; token: \"{token}\", near: \"{near}\"")
}

fn check(kind: ExpressionKind, text: &str, expected: &str) {
    let outcome = match kind {
        ExpressionKind::Projection => ParsedProjection::parse(text).map(|_| ()),
        ExpressionKind::Update => ParsedUpdate::parse(text).map(|_| ()),
        _ => ParsedCondition::parse(kind, text).map(|_| ()),
    };
    let expected = match expected {
        "" => Ok(()),
        message => Err(format!("Invalid {}: {message}", kind.parameter())),
    };
    assert_eq!(outcome.map_err(|e| e.message), expected, "{text}");
}

#[test]
fn tokens_of_conditions() {
    let cases: &[(&str, &str, &str)] = &[
        ("   ", "<EOF>", "   "),
        ("a", "<EOF>", "a"),
        ("a =", "<EOF>", "="),
        ("a = :v AND", "<EOF>", "AND"),
        ("a == :v", "=", "== :v"),
        ("a => :v", ">", "=> :v"),
        ("a != :v", "!", "a !="),
        ("a<=>:v", ">", "<=>:v"),
        ("a< =:v", "=", "< =:v"),
        ("a IN ()", ")", "()"),
        ("a IN :v", ":v", "IN :v"),
        ("a IN (:v,)", ")", ",)"),
        ("a IN (:v :v)", ":v", ":v :v)"),
        ("a IN", "<EOF>", "IN"),
        ("a IN (", "<EOF>", "("),
        ("a BETWEEN :v", "<EOF>", ":v"),
        ("a BETWEEN :v OR :v", "OR", ":v OR :v"),
        ("a BETWEEN (:v AND :v)", "AND", ":v AND :v"),
        ("a BETWEEN :v AND :v AND :v", "<EOF>", ":v"),
        ("a = 1", "1", "= 1"),
        ("a = 12", "12", "= 12"),
        ("a = -1", "-", "= -1"),
        ("a = \"x\"", "\"", "= \"x"),
        ("a[-1]=:v", "-", "[-1"),
        ("a[01]=:v", "1", "01]"),
        ("a[x]=:v", "x", "[x]"),
        ("a[]=:v", "]", "[]="),
        ("a.[0]=:v", "[", ".[0"),
        ("a..b=:v", ".", "..b"),
        (".a=:v", ".", ".a"),
        ("a.=:v", "=", ".=:v"),
        ("a[0]b=:v", "b", "]b="),
        ("a = :v :v", ":v", ":v :v"),
        ("a = :v)", ")", ":v)"),
        ("(a = :v", "<EOF>", ":v"),
        ("a = :v;", ";", ":v;"),
        ("_a = :v", "_", "_a"),
        ("1a=:v", "1", "1a"),
        ("é=:v", "é", "é="),
        ("a = :é", ":", "= :é"),
        ("#é=:v", "#", "#é"),
        ("a#b = :v", "#b", "a#b ="),
        ("NOT = :v", "=", "NOT = :v"),
        ("SET = :v", "SET", "SET ="),
        ("  AND", "AND", "  AND"),
        (" ( ", "<EOF>", "( "),
        ("(a)", "<EOF>", ")"),
        ("(a) AND b=:v", "AND", ") AND b"),
        ("(a = :v) = :v", "=", ") = :v"),
        ("((a=:v) AND b)", ")", "b)"),
        ("(a,b)", ",", "a,b"),
        ("a AND b", "AND", "a AND b"),
        ("a < b < c", "<", "b < c"),
        ("a NOT IN (:v)", "NOT", "a NOT IN"),
        ("a = NOT :v", "NOT", "= NOT :v"),
        ("foo()", ")", "()"),
        ("foo(a", "<EOF>", "a"),
        ("foo(a = b)", "=", "a = b"),
        ("foo(a)(b)", "(", ")(b"),
        ("foo(a).b=:v", ".", ").b"),
        ("a=:vAND a=:v", "a", ":vAND a="),
        ("(((", "<EOF>", "("),
        ("()", ")", "()"),
        ("a = :v\nAND\tb = :v )", ")", ":v )"),
        ("a + :v = :v", "+", "a + :v"),
        ("a = :v\u{a0}", "\u{a0}", ":v\u{a0}"),
        ("😀 = :v", "😀", "😀 ="),
    ];
    for (text, token, near) in cases {
        check(ExpressionKind::Condition, text, &syntax(token, near));
        check(ExpressionKind::Filter, text, &syntax(token, near));
        check(ExpressionKind::KeyCondition, text, &syntax(token, near));
    }
}

#[test]
fn tokens_of_updates() {
    let cases: &[(&str, &str, &str)] = &[
        ("SET", "<EOF>", "SET"),
        ("SET a", "<EOF>", "a"),
        ("SET a =", "<EOF>", "="),
        ("SET a = :v,", "<EOF>", ","),
        ("SET a = :v b = :v", "b", ":v b ="),
        ("a = :v", "a", "a ="),
        ("FOO a = :v", "FOO", "FOO a"),
        ("REMOVE a b", "b", "a b"),
        ("REMOVE a = :v", "=", "a = :v"),
        ("ADD a = :v", "=", "a = :v"),
        ("ADD a s", "s", "a s"),
        ("ADD a :v + :v", "+", ":v + :v"),
        ("DELETE ss if_not_exists(ss,:ss)", "if_not_exists", "ss if_not_exists("),
        ("SET a = a + :v + :v", "+", ":v + :v"),
        ("SET a = (a + :v) + :v", "+", ") + :v"),
        ("SET a = if_not_exists(b, c + :v)", "+", "c + :v"),
        ("SET size(a) = :v", "(", "size(a"),
        ("SET :v = a", ":v", "SET :v ="),
        ("SET (a)=:v", "(", "SET (a"),
        ("SET a=:v, REMOVE s", "REMOVE", ", REMOVE s"),
        ("SET a=-:v", "-", "=-:v"),
        ("SET a=:v*:v", "*", ":v*:v"),
        ("SET a=1", "1", "=1"),
        ("SET a= :v AND b=:v", "AND", ":v AND b"),
        ("SET a=a+", "<EOF>", "+"),
    ];
    for (text, token, near) in cases {
        check(ExpressionKind::Update, text, &syntax(token, near));
    }
}

#[test]
fn tokens_of_projections() {
    let cases: &[(&str, &str, &str)] = &[
        ("a,", "<EOF>", ","),
        ("a b", "b", "a b"),
        (",a", ",", ",a"),
        ("(a)", "(", "(a"),
        ("a[0", "<EOF>", "0"),
        ("a[", "<EOF>", "["),
        ("a.", "<EOF>", "."),
        ("a,:v", ":v", ",:v"),
        ("a=b", "=", "a=b"),
        ("a,AND", "AND", ",AND"),
        ("size(a)", "(", "size(a"),
    ];
    for (text, token, near) in cases {
        check(ExpressionKind::Projection, text, &syntax(token, near));
    }
}

#[test]
fn what_parses() {
    for text in [
        "(a) = (:v)",
        "NOT (NOT a = :v)",
        "not not a = :v",
        "a IN ((:v))",
        "a between :v and :v and a=:v",
        "attribute_exists (a)",
        "(attribute_exists((a)))",
        "((a) = :v)",
        "a [ 0 ] . b = :v",
        "a\n.\nb\t=\r:v",
        "NOTa=:v",
        "contains = :v",
        "a[2147483647] = :v",
        "(size(a)) = :v",
    ] {
        check(ExpressionKind::Condition, text, "");
    }
    for text in [
        "SET a=((b)+(:v))",
        "set a=:v remove b add c :v delete d :v",
        "SET a = (:v)",
        "SET a= if_not_exists (a, :v)",
        "SET list_append = if_not_exists",
    ] {
        check(ExpressionKind::Update, text, "");
    }
    check(ExpressionKind::Projection, "a , b.c[0].#d", "");
}

#[test]
fn what_comes_after_syntax() {
    let redundant = "The expression has redundant parentheses;";
    let section =
        |name: &str| format!("The \"{name}\" section can only be used once in an update expression;");
    let reserved = |name: &str| format!("Attribute name is a reserved keyword; reserved keyword: {name}");
    let conditions = [
        ("", "The expression can not be empty;".to_owned()),
        ("((a = :v))", redundant.to_owned()),
        ("((a)) = :v", redundant.to_owned()),
        ("NOT ((a = :v))", redundant.to_owned()),
        ("size(((a))) = :v", redundant.to_owned()),
        // As soon as they are parsed, before a fault further on, but not before it is known what they
        // enclose.
        ("((a)) = !", redundant.to_owned()),
        ("((a=:v)) !", redundant.to_owned()),
        ("attribute_exists(((a))) !", redundant.to_owned()),
        ("((a)) !", syntax("!", ") !")),
        ("contains(((a)),!)", syntax("!", ",!)")),
        ("(attribute_exists(((a)))", syntax("<EOF>", ")")),
        ("((a)) = :v AND name = :v", redundant.to_owned()),
        // Then reserved words, functions and indexes, in the order of the text.
        ("name = :v", reserved("name")),
        ("a.Name = :v", reserved("Name")),
        ("true = :v", reserved("true")),
        ("foo(a)", "Invalid function name; function: foo".to_owned()),
        ("SIZE(a) = :v", "Invalid function name; function: SIZE".to_owned()),
        (
            "if_not_exists(a,:v) = :v",
            "The function is not allowed in a condition expression; function: if_not_exists".to_owned(),
        ),
        (
            "size(a)",
            "The function is not allowed to be used this way in an expression; function: size".to_owned(),
        ),
        (
            "contains(a, :v) = :v",
            "The function is not allowed to be used this way in an expression; function: contains".to_owned(),
        ),
        ("foo(name)", "Invalid function name; function: foo".to_owned()),
        ("name = foo(a)", reserved("name")),
        ("a[2147483648]=:v", "List index is not within the allowable range; index: [2147483648]".to_owned()),
        (
            "a[99999999999]=:v AND name = :v",
            "List index is not within the allowable range; index: [99999999999]".to_owned(),
        ),
    ];
    for (text, expected) in &conditions {
        check(ExpressionKind::Condition, text, expected);
    }
    let updates = [
        ("SET a=:v SET c=:v", section("SET")),
        ("REMOVE a ADD b :v REMOVE c", section("REMOVE")),
        ("SET a=:v SET name=:v", reserved("name")),
        ("SET a = ((a + :v))", redundant.to_owned()),
        ("SET a=((:v)) !", redundant.to_owned()),
        ("SET a=list_append(((:l)),!)", syntax("!", ",!)")),
        ("SET a = foo(a)", "Invalid function name; function: foo".to_owned()),
        ("SET a = size(s)", "The function is not allowed in an update expression; function: size".to_owned()),
        (
            "SET l = list_append(:l,list_append(:l,:l))",
            "The function is not allowed to be used this way in an expression; function: list_append"
                .to_owned(),
        ),
        (
            "SET l = list_append(:l,:l) + :v",
            "The function is not allowed to be used this way in an expression; function: list_append"
                .to_owned(),
        ),
    ];
    for (text, expected) in &updates {
        check(ExpressionKind::Update, text, expected);
    }
}

#[test]
fn sizes() {
    let too_long = "Expression size has exceeded the maximum allowed size;";
    let long = |length: usize| format!("{} = :v", "a".repeat(length - 5));
    check(ExpressionKind::Condition, &long(4096), "");
    // The sources of these texts stand in `parser.rs`.
    let with_size = |size: usize| format!("{too_long} expression size: {size}");
    for kind in [ExpressionKind::Condition, ExpressionKind::Filter, ExpressionKind::KeyCondition] {
        check(kind, &long(4097), &with_size(4097));
        check(kind, &long(9000), &with_size(9000));
    }
    check(ExpressionKind::Projection, &"é".repeat(2049), too_long);
    check(ExpressionKind::Update, &"(".repeat(400 * 1024), too_long);
}

#[test]
fn nesting_costs_no_stack() {
    let parsed = |text: String| {
        // A stack far smaller than any thread of the server has.
        std::thread::Builder::new()
            .stack_size(64 * 1024)
            .spawn(move || {
                let condition = ParsedCondition::parse(ExpressionKind::Filter, &text);
                let printed = condition.as_ref().map(ToString::to_string).map_err(|e| e.message.clone());
                drop(condition);
                let _ = ParsedUpdate::parse(&text);
                printed
            })
            .expect("a thread")
            .join()
            .expect("no overflow")
    };
    let message = |near: &str| Err(format!("Invalid FilterExpression: {}", syntax("<EOF>", near)));
    assert_eq!(parsed("(".repeat(4096)), message("("));
    assert_eq!(parsed("size(".repeat(800)), message("("));
    assert_eq!(parsed("not ".repeat(1000)), message("not "));
    let nots = format!("{}a = :v", "NOT ".repeat(1000));
    assert_eq!(parsed(nots.clone()), Ok(nots));
    let calls = format!("{}a{} = :v", "size(".repeat(600), ")".repeat(600));
    assert_eq!(parsed(calls.clone()), Ok(calls));
    assert!(parsed(format!("{}a = :v{}", "(".repeat(2000), ")".repeat(2000))).is_err());
    assert!(parsed(format!("SET a = {}:v{}", "(".repeat(2000), ")".repeat(2000))).is_err());
    let mixed = format!("{}a = :v{}", "(a=:v or ".repeat(350), ")".repeat(350));
    assert_eq!(parsed(mixed.clone()).map(|p| p.len()), Ok(mixed.replace("=", " = ").len() - 1 - 1));
}

#[test]
fn reserved_words() {
    for word in ["ABORT", "abort", "Zone", "specificType", "LOCALTIMESTAMP", "size", "ttl", "hash"] {
        assert!(is_reserved(word), "{word}");
    }
    for word in
        ["abor", "ABORTS", "id", "pk", "", "LOCALTIMESTAMPS", "contains", "a_very_long_attribute_name"]
    {
        assert!(!is_reserved(word), "{word}");
    }
}
