//! What binding refuses: texts and order of the errors.

use super::*;

const BETWEEN: &str = "The BETWEEN operator requires";

fn undefined_name(name: &str) -> String {
    format!("An expression attribute name used in the document path is not defined; attribute name: {name}")
}

fn undefined_value(name: &str) -> String {
    format!("An expression attribute value used in expression is not defined; attribute value: {name}")
}

fn operand_type(operator: &str, kind: &str) -> String {
    format!(
        "Incorrect operand type for operator or function; operator or function: {operator}, operand type: {kind}"
    )
}

fn operand_count(operator: &str, count: usize) -> String {
    format!(
        "Incorrect number of operands for operator or function; operator or function: {operator}, number of operands: {count}"
    )
}

fn not_distinct(operator: &str, path: &str) -> String {
    format!(
        "The first operand must be distinct from the remaining operands for this operator or function; operator: {operator}, first operand: {path}"
    )
}

fn needs_path(operator: &str) -> String {
    format!("Operator or function requires a document path; operator or function: {operator}")
}

fn clash(what: &str, one: &str, two: &str) -> String {
    format!(
        "Two document paths {what} with each other; must remove or rewrite one of these paths; path one: {one}, path two: {two}"
    )
}

#[test]
fn conditions() {
    let deep = format!("a{} = :v", ".b".repeat(32));
    let many = format!("a IN ({})", vec![":v"; 101].join(","));
    let cases: Vec<(&str, String)> = vec![
        ("#q = :v", undefined_name("#q")),
        ("a = :zz", undefined_value(":zz")),
        // Left to right, operands before what they are operands of.
        ("#q = :zz", undefined_name("#q")),
        (":zz = #q", undefined_value(":zz")),
        ("attribute_exists(#q, :v)", undefined_name("#q")),
        ("attribute_exists(a, #q)", undefined_name("#q")),
        ("begins_with(a, :v) AND #q = :v", operand_type("begins_with", "N")),
        ("#q = :v AND begins_with(a, :v)", undefined_name("#q")),
        ("attribute_exists(a,a)", operand_count("attribute_exists", 2)),
        ("begins_with(:v)", operand_count("begins_with", 1)),
        ("size(:v,:v) = :v", operand_count("size", 2)),
        ("attribute_exists(:v)", needs_path("attribute_exists")),
        ("attribute_not_exists(size(a))", needs_path("attribute_not_exists")),
        ("a = a", not_distinct("=", "[a]")),
        ("#a <> (a)", not_distinct("<>", "[a]")),
        ("a.b[0] < a.b[0]", not_distinct("<", "[a, b, [0]]")),
        ("a IN (:v, a)", not_distinct("IN", "[a]")),
        ("a BETWEEN :v AND a", not_distinct("BETWEEN", "[a]")),
        ("contains(a, a)", not_distinct("contains", "[a]")),
        ("a < :l", operand_type("<", "L")),
        (":ss >= a", operand_type(">=", "SS")),
        ("a < :t", operand_type("<", "BOOL")),
        ("a > :nul", operand_type(">", "NULL")),
        ("a BETWEEN :m AND :m", operand_type("BETWEEN", "M")),
        ("a BETWEEN a AND :l", operand_type("BETWEEN", "L")),
        ("size(:v) = :v", operand_type("size", "N")),
        ("size(:t) = :v", operand_type("size", "BOOL")),
        ("size(size(a)) = :v", operand_type("size", "N")),
        ("begins_with(a, size(s))", operand_type("begins_with", "N")),
        ("begins_with(:ss, a)", operand_type("begins_with", "SS")),
        ("attribute_type(a, :v)", operand_type("attribute_type", "N")),
        ("attribute_type(a, size(s))", operand_type("attribute_type", "N")),
        ("attribute_type(a, s)", operand_type("attribute_type", "{NS,SS,L,BS,N,M,B,BOOL,NULL,S}")),
        (
            "attribute_type(a, :s)",
            "Invalid attribute type name found; type: hel, valid types: {B,NULL,SS,BOOL,L,BS,N,NS,S,M}"
                .to_owned(),
        ),
        (
            "a BETWEEN :v AND :zero",
            format!(
                "{BETWEEN} upper bound to be greater than or equal to lower bound; lower bound operand: AttributeValue: {{N:1}}, upper bound operand: AttributeValue: {{N:0}}"
            ),
        ),
        (
            "a BETWEEN :v AND :s",
            format!(
                "{BETWEEN} same data type for lower and upper bounds; lower bound operand: AttributeValue: {{N:1}}, upper bound operand: AttributeValue: {{S:hel}}"
            ),
        ),
        (&deep, "The document path has too many nesting levels; nesting levels: 33".to_owned()),
        (&many, "The IN operator is provided with too many operands; number of operands: 101".to_owned()),
    ];
    for (text, expected) in cases {
        assert_eq!(
            bind_condition(text).err(),
            Some(format!("Invalid ConditionExpression: {expected}")),
            "{text}"
        );
    }
}

#[test]
fn operator_counts() {
    let too_many =
        "Invalid ConditionExpression: The expression contains too many operators; operator count: 301";
    let repeated = |part: &str, by: &str, times: usize| vec![part; times].join(by);
    for (text, fits) in [
        (repeated("a=:v", " or ", 150), true),
        (repeated("a=:v", " or ", 151), false),
        (repeated("a BETWEEN :v AND :v", " and ", 150), true),
        (repeated("a BETWEEN :v AND :v", " and ", 151), false),
        (repeated("size(a)=:v", " and ", 100), true),
        (repeated("size(a)=:v", " and ", 101), false),
        (format!("{}a=:v", "not ".repeat(299)), true),
        (format!("{}a=:v", "not ".repeat(1000)), false),
        (format!("{}a=:v{}", "(a=:v or ".repeat(149), ")".repeat(149)), true),
    ] {
        let outcome = bind_condition(&text);
        assert_eq!(outcome.err().as_deref(), (!fits).then_some(too_many), "{text}");
    }
}

#[test]
fn operators_of_updates() {
    // Sections and actions are no operators; `+`, `-` and functions are.
    let update = |count: usize, value: &str| {
        let actions: Vec<String> = (0..count).map(|i| format!("a{i}={value}")).collect();
        bind_update(&format!("SET {}", actions.join(","))).err()
    };
    assert_eq!(update(300, ":v+:v"), None);
    assert_eq!(
        update(301, ":v+:v").as_deref(),
        Some("Invalid UpdateExpression: The expression contains too many operators; operator count: 301")
    );
    assert_eq!(update(400, ":v"), None);
}

#[test]
fn updates() {
    let add_type = |action: &str, kind: &str| {
        format!(
            "Incorrect operand type for operator or function; operator: {action}, operand type: {kind}, typeSet: ALLOWED_FOR_{action}_OPERAND"
        )
    };
    let cases: Vec<(&str, String)> = vec![
        ("SET #q = :v", undefined_name("#q")),
        ("SET a = :zz", undefined_value(":zz")),
        // The last fault comes first, and target paths come before values.
        ("SET a = :x1, b = :x2", undefined_value(":x2")),
        ("SET a = :x1 + :x2", undefined_value(":x1")),
        ("SET a = :x1 REMOVE #q", undefined_name("#q")),
        ("REMOVE #x1 SET #x2 = :v", undefined_name("#x2")),
        ("SET a = :zz, a = :v", clash("overlap", "[a]", "[a]")),
        ("SET a=:v, #a=:v", clash("overlap", "[a]", "[a]")),
        ("SET a=:v REMOVE a", clash("overlap", "[a]", "[a]")),
        ("SET m = :m, m.x = :v", clash("overlap", "[m]", "[m, x]")),
        ("SET m.x = :v, m = :v", clash("overlap", "[m, x]", "[m]")),
        ("SET a[1] = :v, a[1].b = :v", clash("overlap", "[a, [1]]", "[a, [1], b]")),
        ("SET m.x = :v, m[0] = :v", clash("conflict", "[m, x]", "[m, [0]]")),
        ("SET m[0] = :v REMOVE m.x", clash("conflict", "[m, [0]]", "[m, x]")),
        ("SET a = if_not_exists(a)", operand_count("if_not_exists", 1)),
        ("SET a = list_append(:l,:l,:l)", operand_count("list_append", 3)),
        ("SET a = if_not_exists(:v, :v)", needs_path("if_not_exists")),
        ("SET a = if_not_exists(b, b)", not_distinct("if_not_exists", "[b]")),
        ("SET a = a + :s", operand_type("+", "S")),
        ("SET a = :ns - :v", operand_type("-", "NS")),
        ("SET a = list_append(b, :v)", operand_type("list_append", "N")),
        ("ADD a :s", add_type("ADD", "STRING")),
        ("ADD a :l", add_type("ADD", "LIST")),
        ("ADD a :t", add_type("ADD", "BOOLEAN")),
        ("DELETE a :v", add_type("DELETE", "NUMBER")),
        ("DELETE a :nul", add_type("DELETE", "NULL")),
        ("ADD a :s DELETE b :v", add_type("DELETE", "NUMBER")),
    ];
    for (text, expected) in cases {
        assert_eq!(bind_update(text).err(), Some(format!("Invalid UpdateExpression: {expected}")), "{text}");
    }
}

#[test]
fn projections() {
    let cases = [
        ("#q", undefined_name("#q")),
        ("#x1, #x2", undefined_name("#x2")),
        ("a, a", clash("overlap", "[a]", "[a]")),
        ("m, m.x", clash("overlap", "[m]", "[m, x]")),
        ("m.x, m[0]", clash("conflict", "[m, x]", "[m, [0]]")),
        ("l[2], l[2].k", clash("overlap", "[l, [2]]", "[l, [2], k]")),
    ];
    for (text, expected) in cases {
        assert_eq!(
            bind_projection(text).err(),
            Some(format!("Invalid ProjectionExpression: {expected}")),
            "{text}"
        );
    }
}

#[test]
fn placeholders_of_a_request() {
    let names = |list: &[(&str, &str)]| -> BTreeMap<String, String> {
        list.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
    };
    let values =
        |list: &[&str]| -> Item { list.iter().map(|k| ((*k).to_owned(), AttributeValue::Null)).collect() };
    let refused = |n: Option<BTreeMap<String, String>>, v: Option<Item>| {
        Placeholders::new(n, v).err().map(|e| e.message).unwrap_or_default()
    };
    assert_eq!(refused(Some(names(&[])), Some(values(&[]))), "ExpressionAttributeNames must not be empty");
    assert_eq!(refused(None, Some(values(&[]))), "ExpressionAttributeValues must not be empty");
    for key in ["a", "#", "#a-b", ":a", "#é", ""] {
        assert_eq!(
            refused(Some(names(&[(key, "a")])), None),
            format!("ExpressionAttributeNames contains invalid key: Syntax error; key: \"{key}\"")
        );
    }
    assert_eq!(
        refused(None, Some(values(&["#a"]))),
        "ExpressionAttributeValues contains invalid key: Syntax error; key: \"#a\""
    );
    assert_eq!(
        refused(Some(names(&[("#a", "")])), None),
        "ExpressionAttributeNames contains invalid value: Empty attribute name for key #a"
    );
    assert_eq!(
        refused(Some(names(&[("#a", &"x".repeat(65536))])), None),
        "ExpressionAttributeNames contains invalid value: Attribute name is too large, must be less than 65536 bytes for key #a"
    );
    let key = |first: &str, length: usize| format!("{first}{}", "x".repeat(length - 1));
    let too_long = "contains invalid key: The expression attribute map contains a key that is too long;";
    assert_eq!(refused(Some(names(&[(&key("#", 255), "a")])), Some(values(&[&key(":", 255)]))), "");
    assert_eq!(
        refused(Some(names(&[(&key("#", 256), "a")])), None),
        format!("ExpressionAttributeNames {too_long} size of key: 256")
    );
    assert_eq!(
        refused(None, Some(values(&[&key(":", 256)]))),
        format!("ExpressionAttributeValues {too_long}")
    );
    assert_eq!(
        Placeholders::invalid_value(":v", "Supplied AttributeValue is empty").message,
        "ExpressionAttributeValues contains invalid value: Supplied AttributeValue is empty for key :v"
    );
}

#[test]
fn unused_placeholders_are_those_that_no_expression_used() {
    let names: BTreeMap<String, String> =
        [("#a", "a"), ("#c", "c")].map(|(k, v)| (k.to_owned(), v.to_owned())).into();
    let values: Item =
        [":v", ":y", ":z"].map(|k| (k.to_owned(), AttributeValue::N(Number::from(1_i64)))).into();
    let mut all = Placeholders::new(Some(names), Some(values)).expect("placeholders");
    let unused = |p: &Placeholders| p.check_unused().err().map(|e| e.message);
    let bind = |text: &str, all: &mut Placeholders| {
        ParsedCondition::parse(ExpressionKind::Filter, text).and_then(|c| c.bind(all)).expect("binds");
    };
    let text = "Value provided in ExpressionAttributeNames unused in expressions: keys: {#c, #a}";
    assert_eq!(unused(&all).as_deref(), Some(text));
    bind("#a = :v", &mut all);
    assert_eq!(
        unused(&all).as_deref(),
        Some("Value provided in ExpressionAttributeNames unused in expressions: keys: {#c}")
    );
    ParsedProjection::parse("#c").and_then(|p| p.bind(&mut all)).expect("binds");
    assert_eq!(
        unused(&all).as_deref(),
        Some("Value provided in ExpressionAttributeValues unused in expressions: keys: {:z, :y}")
    );
    bind("b BETWEEN :y AND :z", &mut all);
    assert_eq!(unused(&all), None);
}

#[test]
fn what_placeholders_stand_for_is_bounded() {
    const MOST: usize = 2 * 1024 * 1024;
    let names = |length: usize| {
        let names = (0..length / 60_000).map(|at| (format!("#{at:03}"), "n".repeat(60_000 - 4)));
        names.chain([("#last".to_owned(), "n".repeat(length % 60_000 - 5))]).collect::<BTreeMap<_, _>>()
    };
    let value = |length: usize| Item::from([(":v".to_owned(), AttributeValue::S("v".repeat(length - 2)))]);
    let refused =
        |names, values| Placeholders::new(names, values).err().map(|e| e.message).unwrap_or_default();
    assert_eq!(refused(Some(names(MOST)), None), "");
    assert_eq!(refused(Some(names(MOST + 1)), None), "ExpressionAttributeNames exceeds max size");
    assert_eq!(refused(None, Some(value(MOST))), "");
    assert_eq!(refused(None, Some(value(MOST + 1))), "ExpressionAttributeValues exceeds max size");
    assert_eq!(refused(Some(names(MOST / 2)), Some(value(MOST / 2))), "");
    assert_eq!(
        refused(Some(names(MOST / 2)), Some(value(MOST / 2 + 1))),
        "Combined size of ExpressionAttributeNames and ExpressionAttributeValues exceeds max size"
    );
}

/// The text, and for each occurrence of a placeholder what it stands for.
#[test]
fn an_expression_is_bounded_with_its_values_in_it() {
    const MOST: usize = 1024 * 1024;
    let size_fault = |kind| format!("Invalid {kind}: Expression size has exceeded the maximum allowed size;");
    let placeholders = |length: usize, name: usize| {
        let values = Item::from([(":v".to_owned(), AttributeValue::S("v".repeat(length)))]);
        let names = (name > 0).then(|| BTreeMap::from([("#n".to_owned(), "n".repeat(name))]));
        Placeholders::new(names, Some(values)).expect("placeholders")
    };
    let condition = |text: &str, length: usize, name: usize| {
        let parsed = ParsedCondition::parse(ExpressionKind::Condition, text).expect("it parses");
        parsed.bind(&mut placeholders(length, name)).err().map(|e| e.message)
    };
    for (text, times, name) in [("a <> :v", 1, 0), ("a <> :v OR b = :v", 2, 0), ("#n <> :v", 1, 1000)] {
        let most = (MOST - text.len() - name) / times;
        assert_eq!(condition(text, most, name), None, "{text}");
        assert_eq!(condition(text, most + 1, name), Some(size_fault("ConditionExpression")), "{text}");
    }
    // Other faults come first.
    assert!(condition("a = a OR b = :v", MOST, 0).is_some_and(|fault| fault.contains("must be distinct")));
    let update = |length| {
        let parsed = ParsedUpdate::parse("SET a = :v").expect("it parses");
        parsed.bind(&mut placeholders(length, 0)).err().map(|e| e.message)
    };
    assert_eq!(update(MOST - 10), None);
    assert_eq!(update(MOST - 9), Some(size_fault("UpdateExpression")));
    let projection = |name| {
        let text = (0..17).map(|at| format!("b{at:02}.#n")).collect::<Vec<_>>().join(",");
        let parsed = ParsedProjection::parse(&text).expect("it parses");
        (text.len(), parsed.bind(&mut placeholders(0, name)).err().map(|e| e.message))
    };
    let (length, _) = projection(1);
    assert_eq!(projection((MOST - length) / 17).1, None);
    assert_eq!(projection((MOST - length) / 17 + 1).1, Some(size_fault("ProjectionExpression")));
}
