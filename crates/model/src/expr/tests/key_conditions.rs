//! Key conditions: accepted forms, refused forms, and the ranges they select.

use super::*;
use crate::key::SortCondition;
use crate::schema::{KeyAttribute, KeyDefinition, ScalarType};

fn attribute(name: &str, kind: ScalarType) -> KeyAttribute {
    KeyAttribute { name: name.to_owned(), kind }
}

fn key(kind: ScalarType) -> KeyDefinition {
    KeyDefinition { partition: vec![attribute("pk", ScalarType::S)], sort: vec![attribute("sk", kind)] }
}

fn read_with(text: &str, key: &KeyDefinition, index: Option<&str>) -> Result<KeyCondition, String> {
    let mut placeholders = placeholders(text);
    let condition = ParsedCondition::parse(ExpressionKind::KeyCondition, text)
        .and_then(|p| p.bind(&mut placeholders))
        .map_err(|e| e.message)?;
    KeyCondition::from_expression(&condition, key, index).map_err(|e| e.message)
}

fn read(text: &str) -> Result<KeyCondition, String> {
    read_with(text, &key(ScalarType::S), None)
}

#[test]
fn what_reads() {
    let s = |text: &str| AttributeValue::S(text.to_owned());
    let cases = [
        ("pk = :s", SortCondition::Any),
        (":s = pk", SortCondition::Any),
        ("(pk = :s)", SortCondition::Any),
        ("pk = :s AND sk = :hello", SortCondition::Equal(s("hello"))),
        ("sk = :hello AND pk = :s", SortCondition::Equal(s("hello"))),
        ("(pk = :s) AND (sk < :hello)", SortCondition::Less(s("hello"))),
        ("pk = :s AND :hello < sk", SortCondition::Greater(s("hello"))),
        ("pk = :s AND :hello >= sk", SortCondition::LessOrEqual(s("hello"))),
        ("pk = :s AND sk >= :hello", SortCondition::GreaterOrEqual(s("hello"))),
        ("pk = :s AND sk BETWEEN :s AND :hello", SortCondition::Between(s("hel"), s("hello"))),
        ("begins_with(sk, :hello) AND pk = :s", SortCondition::BeginsWith(s("hello"))),
    ];
    for (text, sort) in cases {
        let expected = KeyCondition { partition: vec![s("hel")], sort_prefix: vec![], sort };
        assert_eq!(read(text), Ok(expected), "{text}");
    }
    let number = AttributeValue::N(Number::from(1_i64));
    assert_eq!(
        read_with("pk = :s AND sk = :v", &key(ScalarType::N), None).map(|c| c.sort),
        Ok(SortCondition::Equal(number))
    );
}

#[test]
fn keys_of_several_attributes() {
    let s = |text: &str| AttributeValue::S(text.to_owned());
    let key = KeyDefinition {
        partition: ["p1", "p2"].map(|name| attribute(name, ScalarType::S)).into(),
        sort: ["s1", "s2", "s3"].map(|name| attribute(name, ScalarType::S)).into(),
    };
    let read = |text: &str| read_with(text, &key, Some("by_many"));
    let expected = |sort_prefix: Vec<AttributeValue>, sort| {
        Ok(KeyCondition { partition: vec![s("hel"), s("hello")], sort_prefix, sort })
    };
    let both = "p2 = :hello AND p1 = :s";
    assert_eq!(read(both), expected(vec![], SortCondition::Any));
    assert_eq!(read(&format!("{both} AND s1 > :s")), expected(vec![], SortCondition::Greater(s("hel"))));
    assert_eq!(
        read(&format!("begins_with(s3, :s) AND s2 = :S AND s1 = :N AND {both}")),
        expected(vec![s("N"), s("S")], SortCondition::BeginsWith(s("hel")))
    );
    let missed = |name: &str| Err(format!("Query condition missed key schema element: {name}"));
    assert_eq!(read("p1 = :s"), missed("p2"));
    assert_eq!(read("p1 = :s AND s1 = :s"), missed("p2"));
    assert_eq!(read(&format!("{both} AND s2 = :s")), missed("s1"));
    let unsupported = Err("Query key condition not supported".to_owned());
    assert_eq!(read(&format!("{both} AND s1 > :s AND s2 = :s")), unsupported);
    assert_eq!(read("p1 = :s AND p2 > :s"), unsupported);
}

#[test]
fn what_does_not() {
    let scalar =
        "Key attributes must be scalars; list random access '[]' and map lookup '.' are not allowed: Key: ";
    let operator = "Invalid operator used in KeyConditionExpression: ";
    let condition = "Invalid condition in KeyConditionExpression: ";
    let one_each = "KeyConditionExpressions must only contain one condition per key";
    let nested = "KeyConditionExpressions cannot contain nested operations";
    let mismatch =
        "One or more parameter values were invalid: Condition parameter type does not match schema type";
    let missed = "Query condition missed key schema element: ";
    let unsupported = "Query key condition not supported";
    let empty = "One or more parameter values are not valid. The AttributeValue for a key attribute cannot contain an empty string value. Key: ";
    let cases: Vec<(&str, String)> = vec![
        ("sk = :s", format!("{missed}pk")),
        ("foo = :s", format!("{missed}pk")),
        ("pk = :s AND foo = :s", format!("{missed}sk")),
        ("pk = :s AND sk = :s AND foo = :s", "Conditions can be of length 1 or 2 only".to_owned()),
        ("pk > :s", unsupported.to_owned()),
        ("begins_with(pk, :s)", unsupported.to_owned()),
        ("pk BETWEEN :s AND :hello", unsupported.to_owned()),
        ("pk = :v", mismatch.to_owned()),
        ("pk > :v", mismatch.to_owned()),
        ("pk = :s AND sk = :v", mismatch.to_owned()),
        ("pk < :s AND sk = :v", unsupported.to_owned()),
        ("foo = :nul AND pk < :s", unsupported.to_owned()),
        ("pk = :l", mismatch.to_owned()),
        ("pk = :s AND sk <> :s", format!("{operator}<>")),
        ("pk = :s AND sk IN (:s)", format!("{operator}IN")),
        ("pk = :s OR sk = :s", format!("{operator}OR")),
        ("NOT pk = :s", format!("{operator}NOT")),
        ("pk = :s AND contains(sk, :s)", format!("{operator}contains")),
        ("attribute_exists(pk)", format!("{operator}attribute_exists")),
        ("attribute_type(pk, :S)", format!("{operator}attribute_type")),
        ("pk = sk", format!("{condition}Multiple attribute names used in one condition")),
        (":s = :s", format!("{condition}No key attribute specified")),
        (
            "pk = :s AND :s BETWEEN sk AND :s",
            format!("{condition}BETWEEN operator must have the key attribute as its first operand"),
        ),
        (
            "pk = :s AND begins_with(:s, sk)",
            format!("{condition}begins_with operator must have the key attribute as its first operand"),
        ),
        ("pk = :s AND pk = :hello", one_each.to_owned()),
        ("pk = :s AND (sk >= :s AND sk <= :s)", one_each.to_owned()),
        ("size(pk) = :v", nested.to_owned()),
        ("pk = :s AND sk = size(foo)", nested.to_owned()),
        ("pk.x = :s", format!("{scalar}pk")),
        ("pk = :s OR sk[0] = :s", format!("{scalar}sk")),
        ("foo.bar = :s", "KeyConditionExpressions cannot have conditions on nested attributes".to_owned()),
        ("pk = :e AND sk = :e", format!("{empty}pk")),
        ("pk = :s AND begins_with(sk, :e)", format!("{empty}sk")),
        ("pk = :s AND sk BETWEEN :e AND :s", format!("{empty}sk")),
    ];
    for (text, expected) in cases {
        assert_eq!(read(text).err(), Some(expected), "{text}");
    }
    let hash_only = KeyDefinition { sort: vec![], ..key(ScalarType::S) };
    assert_eq!(read_with("pk = :s AND foo = :s", &hash_only, None).err().as_deref(), Some(unsupported));
    assert_eq!(
        read_with("pk = :e", &key(ScalarType::S), Some("by_pk")).err().as_deref(),
        Some(
            "One or more parameter values are not valid. A value specified for a secondary index key is not supported. The AttributeValue for a key attribute cannot contain an empty string value. IndexName: by_pk, IndexKey: pk"
        )
    );
}

#[test]
fn long_keys() {
    let query = |hash: usize, range: usize| {
        let values: Item = [(":h", hash), (":r", range)]
            .map(|(k, length)| (k.to_owned(), AttributeValue::S("x".repeat(length))))
            .into();
        let mut all = Placeholders::new(None, Some(values)).expect("placeholders");
        let condition = ParsedCondition::parse(ExpressionKind::KeyCondition, "pk = :h AND sk > :r")
            .and_then(|p| p.bind(&mut all))
            .expect("binds");
        KeyCondition::from_expression(&condition, &key(ScalarType::S), None).err().map(|e| e.message)
    };
    assert_eq!(query(2048, 1024), None);
    assert_eq!(
        query(2049, 1).as_deref(),
        Some(
            "One or more parameter values were invalid: Size of hashkey has exceeded the maximum size limit of2048 bytes"
        )
    );
    assert_eq!(
        query(1, 1025).as_deref(),
        Some(
            "One or more parameter values were invalid: Aggregated size of all range keys has exceeded the size limit of 1024 bytes"
        )
    );
}

#[test]
fn filters_leave_keys_alone() {
    let refused = |text: &str, kind| {
        let filter = bind_condition(text).expect(text);
        check_filter_keys(&filter, &key(ScalarType::S), kind).err().map(|e| e.message)
    };
    let expected = "Filter Expression can only contain non-primary key attributes: Primary key attribute: pk";
    for text in ["pk = :v", "sk = :v AND pk = :v", "contains(a, pk)", "size(pk) = :v"] {
        assert_eq!(refused(text, ExpressionKind::Filter).as_deref(), Some(expected), "{text}");
    }
    assert_eq!(refused("a.pk = :v", ExpressionKind::Filter), None);
    assert_eq!(
        refused("a = :v OR sk = :v", ExpressionKind::Condition).as_deref(),
        Some("QueryFilter can only contain non-primary key attributes: Primary key attribute: sk")
    );
}

#[test]
fn items_within_a_query() {
    let item = |partition: &str, sort: i64| -> Item {
        [
            ("pk".to_owned(), AttributeValue::S(partition.to_owned())),
            ("sk".to_owned(), AttributeValue::N(Number::from(sort))),
        ]
        .into()
    };
    let key = key(ScalarType::N);
    let cases = [
        ("pk = :s", [true, true, true]),
        ("pk = :s AND sk = :two", [false, true, false]),
        ("pk = :s AND sk < :two", [true, false, false]),
        ("pk = :s AND sk <= :two", [true, true, false]),
        ("pk = :s AND sk > :two", [false, false, true]),
        ("pk = :s AND sk >= :two", [false, true, true]),
        ("pk = :s AND sk BETWEEN :v AND :two", [true, true, false]),
    ];
    for (text, expected) in cases {
        let condition = read_with(text, &key, None).expect(text);
        let found = [1, 2, 3].map(|sort| condition.has_sort_of(&key, &item("hel", sort)));
        assert_eq!(found, expected, "{text}");
        assert!(condition.has_partition_of(&key, &item("hel", 1)));
        assert!(!condition.has_partition_of(&key, &item("other", 1)));
    }
}
