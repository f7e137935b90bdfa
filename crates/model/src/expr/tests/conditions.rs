//! The results of conditions on items.

use super::*;

#[test]
fn on_the_sample() {
    let cases: &[(bool, &str)] = &[
        // Comparison: numbers by value, never across types.
        (true, "a = :five"),
        (true, "a <> :v"),
        (true, "a > :v"),
        (true, ":v < a"),
        (false, "a < :s"),
        (false, "a >= :s"),
        (true, "a <> :s"),
        (true, "s > :s"),
        (true, "s > :e"),
        (true, "t = :t"),
        (true, "nul = :nul"),
        (true, "ss = :ba"),
        (false, "ss = :ss"),
        (true, "l[2] = :m"),
        (true, "m.x = l[1]"),
        (false, "l = l[0]"),
        // What is absent compares with nothing, and differs from everything.
        (false, "zz = zy"),
        (true, "zz <> zy"),
        (false, "zz < :v"),
        (true, "NOT zz < :v"),
        (false, "a < a.b"),
        (false, "zz IN (zy)"),
        (false, "zz BETWEEN :v AND :v"),
        // BETWEEN and IN
        (true, "a BETWEEN :v AND :nine"),
        (true, "a BETWEEN :five AND :five"),
        (false, "a BETWEEN :v AND s"),
        (false, "a BETWEEN l AND m"),
        (true, ":v BETWEEN :zero AND a"),
        (true, "a IN (:v, :s, :five)"),
        (false, "a IN (:v, :l)"),
        (true, "m.y.z IN (s, l[2].k) OR l[2].k IN (:v, m.x, :s) OR a IN (:five)"),
        // Functions
        (true, "attribute_exists(l[2].k)"),
        (false, "attribute_exists(l[9])"),
        (false, "attribute_exists(s[0])"),
        (false, "attribute_exists(m[0])"),
        (true, "attribute_exists(#m.l[1])"),
        (true, "attribute_not_exists(zz.y[3])"),
        (true, "attribute_type(a, :N)"),
        (false, "attribute_type(a, :S)"),
        (false, "attribute_type(zz, :S)"),
        (true, "attribute_type(:v, :N)"),
        (true, "attribute_type(size(s), :N)"),
        (true, "begins_with(s, :s)"),
        (true, "begins_with(s, :e)"),
        (true, "begins_with(b, :b)"),
        (false, "begins_with(s, :b)"),
        (false, "begins_with(a, s)"),
        (true, "contains(s, :s)"),
        (true, "contains(b, :b)"),
        (true, "contains(ss, m.zz) OR contains(l, m.x)"),
        (true, "contains(ns, :v)"),
        (true, "contains(bs, :p)"),
        (true, "contains(l, :m)"),
        (false, "contains(ss, :ss)"),
        (false, "contains(m, :s)"),
        (false, "contains(a, :v)"),
        (true, "contains(ns, size(ss))"),
        // size
        (true, "size(s) = a"),
        (true, "size(m) > :two"),
        (true, "size(l) < :five"),
        (true, "size(ss) = :two"),
        (true, "size(b) = :five"),
        (true, "size(:e) = :zero"),
        (false, "size(a) < :nine"),
        (false, "size(zz) = size(zy)"),
        (true, "size(a) <> :v"),
        // NOT before AND before OR
        (true, "a = :five OR a = :v AND a = :v"),
        (false, "(a = :five OR a = :v) AND a = :v"),
        (false, "NOT a = :five OR a = :v"),
        (true, "NOT (a = :v AND a = :five)"),
        (true, "NOT NOT a = :five"),
    ];
    let item = sample();
    for (expected, text) in cases {
        let condition = bind_condition(text).unwrap_or_else(|e| panic!("{text}: {e}"));
        assert_eq!(condition.matches(&item), *expected, "{text}");
    }
}

#[test]
fn strings_are_measured_in_utf16_and_ordered_by_bytes() {
    let item = item(&json!({"e": {"S": "é😀"}, "f": {"S": "\u{ffff}"}}));
    let condition = |text: &str| bind_condition(text).expect(text).matches(&item);
    assert!(condition("size(e) > :two AND size(e) < :five"));
    // U+1F600 sorts above U+FFFF by UTF-8 bytes and below it by UTF-16 units.
    let mut all =
        Placeholders::new(None, Some([(":g".to_owned(), AttributeValue::S("😀".to_owned()))].into()))
            .expect("placeholders");
    let parsed = ParsedCondition::parse(ExpressionKind::Filter, "f < :g").expect("parses");
    assert!(parsed.bind(&mut all).expect("binds").matches(&item));
}

#[test]
fn paths_in_order() {
    let condition =
        bind_condition("size(a.b) = :v AND NOT contains(c, d) OR e IN (f, :v) AND attribute_exists(g)")
            .expect("binds");
    let paths: Vec<String> = condition.paths().into_iter().map(ToString::to_string).collect();
    assert_eq!(paths, ["[a, b]", "[c]", "[d]", "[e]", "[f]", "[g]"]);
}
