//! What a query can read.

use super::*;

fn schema(kind: KeyType) -> KeySchema {
    let key = |name: &str, kind| KeyAttribute { name: name.to_owned(), kind };
    KeySchema { hash: key("pk", KeyType::S), range: Some(key("sk", kind)), index: None }
}

fn read_with(text: &str, schema: &KeySchema) -> Result<KeyCondition, String> {
    let mut placeholders = placeholders(text);
    let condition = ParsedCondition::parse(ExpressionKind::KeyCondition, text)
        .and_then(|p| p.bind(&mut placeholders))
        .map_err(|e| e.message)?;
    KeyCondition::from_expression(&condition, schema).map_err(|e| e.message)
}

fn read(text: &str) -> Result<KeyCondition, String> {
    read_with(text, &schema(KeyType::S))
}

#[test]
fn what_reads() {
    let s = |text: &str| AttributeValue::S(text.to_owned());
    let cases = [
        ("pk = :s", None),
        (":s = pk", None),
        ("(pk = :s)", None),
        ("pk = :s AND sk = :hello", Some(RangeCondition::Equal(s("hello")))),
        ("sk = :hello AND pk = :s", Some(RangeCondition::Equal(s("hello")))),
        ("(pk = :s) AND (sk < :hello)", Some(RangeCondition::Less(s("hello")))),
        ("pk = :s AND :hello < sk", Some(RangeCondition::Greater(s("hello")))),
        ("pk = :s AND :hello >= sk", Some(RangeCondition::LessOrEqual(s("hello")))),
        ("pk = :s AND sk >= :hello", Some(RangeCondition::GreaterOrEqual(s("hello")))),
        ("pk = :s AND sk BETWEEN :s AND :hello", Some(RangeCondition::Between(s("hel"), s("hello")))),
        ("begins_with(sk, :hello) AND pk = :s", Some(RangeCondition::BeginsWith(s("hello")))),
    ];
    for (text, range) in cases {
        assert_eq!(read(text), Ok(KeyCondition { hash: s("hel"), range }), "{text}");
    }
    let number = AttributeValue::N(Number::from(1_i64));
    assert_eq!(
        read_with("pk = :s AND sk = :v", &schema(KeyType::N)).map(|c| c.range),
        Ok(Some(RangeCondition::Equal(number)))
    );
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
    let hash_only = KeySchema { range: None, ..schema(KeyType::S) };
    assert_eq!(read_with("pk = :s AND foo = :s", &hash_only).err().as_deref(), Some(unsupported));
    let index = KeySchema { index: Some("by_pk".to_owned()), ..schema(KeyType::S) };
    assert_eq!(
        read_with("pk = :e", &index).err().as_deref(),
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
        KeyCondition::from_expression(&condition, &schema(KeyType::S)).err().map(|e| e.message)
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
        check_filter_keys(&filter, &schema(KeyType::S), kind).err().map(|e| e.message)
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
fn ranges() {
    let n = |value: i64| AttributeValue::N(Number::from(value));
    let s = |text: &str| AttributeValue::S(text.to_owned());
    let cases = [
        (RangeCondition::Equal(n(2)), [false, true, false]),
        (RangeCondition::Less(n(2)), [true, false, false]),
        (RangeCondition::LessOrEqual(n(2)), [true, true, false]),
        (RangeCondition::Greater(n(2)), [false, false, true]),
        (RangeCondition::GreaterOrEqual(n(2)), [false, true, true]),
        (RangeCondition::Between(n(1), n(2)), [true, true, false]),
    ];
    for (condition, expected) in cases {
        let found = [1, 2, 3].map(|key| condition.matches(&n(key)));
        assert_eq!(found, expected, "{condition:?}");
    }
    assert!(RangeCondition::BeginsWith(s("ab")).matches(&s("abc")));
    assert!(!RangeCondition::BeginsWith(s("ab")).matches(&s("ba")));
}
