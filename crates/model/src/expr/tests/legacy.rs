//! The parameters that preceded expressions.

use super::*;
use crate::key::SortCondition;
use crate::schema::{KeyAttribute, KeyDefinition, ScalarType};

const INVALID: &str = "One or more parameter values were invalid: ";

fn n(value: i64) -> AttributeValue {
    AttributeValue::N(Number::from(value))
}

fn s(text: &str) -> AttributeValue {
    AttributeValue::S(text.to_owned())
}

fn one<T>(name: &str, entry: T) -> BTreeMap<String, T> {
    [(name.to_owned(), entry)].into()
}

fn compare(operator: &str, values: Vec<AttributeValue>) -> LegacyCondition {
    LegacyCondition { comparison: ComparisonOperator::from_name(operator).expect(operator), values }
}

fn filter(name: &str, operator: &str, values: Vec<AttributeValue>) -> Result<bool, String> {
    filter_condition(&one(name, compare(operator, values)), None)
        .map(|c| c.expect("a condition").matches(&sample()))
        .map_err(|e| e.message)
}

#[test]
fn comparisons() {
    let cases = [
        (true, "a", "EQ", vec![n(5)]),
        (false, "a", "EQ", vec![s("5")]),
        (true, "a", "NE", vec![s("5")]),
        (true, "zz", "NE", vec![n(5)]),
        (true, "a", "LE", vec![n(5)]),
        (false, "a", "LT", vec![n(5)]),
        (true, "a", "GE", vec![n(5)]),
        (false, "a", "GT", vec![n(5)]),
        (false, "s", "GT", vec![n(5)]),
        (true, "a", "NOT_NULL", vec![]),
        (false, "a", "NULL", vec![]),
        (true, "zz", "NULL", vec![]),
        (true, "nul", "NOT_NULL", vec![]),
        (true, "s", "CONTAINS", vec![s("ell")]),
        (true, "l", "CONTAINS", vec![n(1)]),
        (true, "ns", "CONTAINS", vec![n(2)]),
        (false, "a", "CONTAINS", vec![n(5)]),
        (true, "a", "NOT_CONTAINS", vec![n(5)]),
        (true, "s", "NOT_CONTAINS", vec![n(5)]),
        (false, "zz", "NOT_CONTAINS", vec![n(5)]),
        (false, "ss", "NOT_CONTAINS", vec![s("a")]),
        (true, "s", "BEGINS_WITH", vec![s("he")]),
        (true, "a", "IN", vec![n(1), n(5)]),
        (true, "a", "BETWEEN", vec![n(1), n(5)]),
    ];
    for (expected, name, operator, values) in cases {
        assert_eq!(filter(name, operator, values.clone()), Ok(expected), "{name} {operator} {values:?}");
    }
}

#[test]
fn arguments() {
    for operator in ComparisonOperator::ALL {
        let name = operator.name();
        let count = format!("{INVALID}Invalid number of argument(s) for the {name} ComparisonOperator");
        let right = match name {
            "NULL" | "NOT_NULL" => vec![],
            "BETWEEN" => vec![s("a"), s("b")],
            _ => vec![s("a")],
        };
        assert!(filter("a", name, right.clone()).is_ok(), "{name}");
        let mut wrong = right;
        wrong.extend([s("y"), s("z")]);
        if name != "IN" {
            assert_eq!(filter("a", name, wrong), Err(count.clone()));
        }
        if !name.ends_with("NULL") {
            assert_eq!(filter("a", name, vec![]), Err(count));
        }
        assert_eq!(ComparisonOperator::from_name(name), Some(operator));
    }
    assert_eq!(ComparisonOperator::from_name("eq"), None);
    let types = [
        ("LT", AttributeValue::Bool(true), "BOOL"),
        ("GE", AttributeValue::L(vec![]), "L"),
        ("IN", AttributeValue::Null, "NULL"),
        ("CONTAINS", AttributeValue::Ss(vec!["a".to_owned()]), "SS"),
        ("NOT_CONTAINS", AttributeValue::M(BTreeMap::new()), "M"),
        ("BEGINS_WITH", n(1), "N"),
    ];
    for (operator, value, kind) in types {
        let expected =
            format!("{INVALID}ComparisonOperator {operator} is not valid for {kind} AttributeValue type");
        assert_eq!(filter("a", operator, vec![value]), Err(expected));
    }
    let mixed = format!("{INVALID}AttributeValues inside AttributeValueList must be of same type");
    assert_eq!(filter("a", "IN", vec![n(1), s("a")]), Err(mixed.clone()));
    assert_eq!(filter("a", "BETWEEN", vec![n(1), s("a")]), Err(mixed));
    assert_eq!(
        filter("a", "BETWEEN", vec![n(6), n(1)]).err().as_deref(),
        Some(
            "The BETWEEN condition was provided a range where the lower bound is greater than the upper bound"
        )
    );
    assert_eq!(filter("", "EQ", vec![n(1)]).err().as_deref(), Some("Empty attribute name"));
}

#[test]
fn expected() {
    let eq = Some(ComparisonOperator::Eq);
    let entry = |value: Option<AttributeValue>, exists, comparison, values| LegacyExpected {
        value,
        exists,
        comparison,
        values,
    };
    let fault = |text: &str| Err(format!("{INVALID}{text} for Attribute: a"));
    let cases = [
        (entry(Some(n(5)), None, None, None), Ok(true)),
        (entry(Some(n(6)), None, None, None), Ok(false)),
        (entry(Some(n(5)), Some(true), None, None), Ok(true)),
        (entry(None, Some(false), None, None), Ok(false)),
        (entry(Some(n(5)), None, eq, None), Ok(true)),
        (entry(None, None, eq, Some(vec![n(5)])), Ok(true)),
        (entry(None, None, Some(ComparisonOperator::NotNull), None), Ok(true)),
        (entry(None, None, None, None), fault("Value must be provided when Exists is null")),
        (entry(None, Some(true), None, None), fault("Value must be provided when Exists is true")),
        (entry(Some(n(5)), Some(false), None, None), fault("Value cannot be used when Exists is false")),
        (
            entry(None, None, None, Some(vec![n(5)])),
            fault("AttributeValueList can only be used with a ComparisonOperator"),
        ),
        (
            entry(Some(n(5)), None, eq, Some(vec![n(5)])),
            fault("Value and AttributeValueList cannot be used together"),
        ),
        (
            entry(None, Some(true), eq, Some(vec![n(5)])),
            fault("Exists and ComparisonOperator cannot be used together"),
        ),
        (
            entry(None, None, eq, None),
            fault("Value or AttributeValueList must be used with ComparisonOperator: EQ"),
        ),
    ];
    for (entry, expected) in cases {
        let outcome = expected_condition(&one("a", entry.clone()), None)
            .map(|c| c.expect("a condition").matches(&sample()))
            .map_err(|e| e.message);
        assert_eq!(outcome, expected, "{entry:?}");
    }
}

#[test]
fn conditional_operator() {
    let entries = |count: usize| -> BTreeMap<String, LegacyCondition> {
        [("a", n(5)), ("s", s("no"))]
            .into_iter()
            .take(count)
            .map(|(k, v)| (k.to_owned(), compare("EQ", vec![v])))
            .collect()
    };
    let outcome = |count, operator| {
        filter_condition(&entries(count), operator)
            .map(|c| c.map(|c| c.matches(&sample())))
            .map_err(|e| e.message)
    };
    assert_eq!(outcome(0, None), Ok(None));
    assert_eq!(outcome(2, None), Ok(Some(false)));
    assert_eq!(outcome(2, Some(ConditionalOperator::And)), Ok(Some(false)));
    assert_eq!(outcome(2, Some(ConditionalOperator::Or)), Ok(Some(true)));
    let alone = "ConditionalOperator cannot be used without Filter or Expected".to_owned();
    assert_eq!(outcome(0, Some(ConditionalOperator::Or)), Err(alone));
    let single =
        "ConditionalOperator can only be used when Filter or Expected has two or more elements".to_owned();
    assert_eq!(outcome(1, Some(ConditionalOperator::And)), Err(single));
}

#[test]
fn updates() {
    let update = |name: &str, action, value: Option<AttributeValue>| {
        attribute_updates(&one(name, LegacyUpdate { action, value })).map_err(|e| e.message)
    };
    let applied = |name: &str, action, value: Option<AttributeValue>| {
        let update = update(name, action, value)?;
        let decoded = Update::decode(&update.encode()).expect("decodes");
        decoded.apply(&sample()).map(|a| a.item.get(name).cloned()).map_err(|e| e.message)
    };
    use AttributeUpdateAction::{Add, Delete, Put};
    let ss = |list: &[&str]| AttributeValue::Ss(list.iter().map(|m| (*m).to_owned()).collect());
    assert_eq!(applied("a", Put, Some(s("x"))), Ok(Some(s("x"))));
    assert_eq!(applied("m.x", Put, Some(n(1))), Ok(Some(n(1))));
    assert_eq!(applied("a", Delete, None), Ok(None));
    assert_eq!(applied("a", Add, Some(n(2))), Ok(Some(n(7))));
    assert_eq!(applied("zz", Add, Some(n(2))), Ok(Some(n(2))));
    assert_eq!(applied("ss", Add, Some(ss(&["z"]))), Ok(Some(ss(&["a", "b", "z"]))));
    assert_eq!(applied("ss", Delete, Some(ss(&["a", "z"]))), Ok(Some(ss(&["b"]))));
    assert_eq!(applied("ss", Delete, Some(ss(&["a", "b"]))), Ok(None));
    assert_eq!(applied("zz", Delete, Some(ss(&["a"]))), Ok(None));
    let list = AttributeValue::L(vec![n(1)]);
    assert_eq!(applied("zz", Add, Some(list.clone())), Ok(Some(list.clone())));
    let appended = applied("l", Add, Some(list.clone()));
    assert!(matches!(appended, Ok(Some(AttributeValue::L(l))) if l.len() == 5));
    let mismatch = Err("Type mismatch for attribute to update".to_owned());
    assert_eq!(applied("s", Add, Some(n(1))), mismatch);
    assert_eq!(applied("a", Add, Some(list.clone())), mismatch);
    assert_eq!(applied("ns", Delete, Some(ss(&["a"]))), mismatch);
    let no_value =
        Err(format!("{INVALID}Only DELETE action is allowed when no attribute value is specified"));
    assert_eq!(update("a", Put, None).map(|_| ()), no_value);
    assert_eq!(update("a", Add, None).map(|_| ()), no_value);
    assert_eq!(
        update("a", Add, Some(s("x"))).err(),
        Some(format!("{INVALID}ADD action is not supported for the type STRING"))
    );
    assert_eq!(
        update("a", Delete, Some(list)).err(),
        Some(format!("{INVALID}DELETE action with value is not supported for the type LIST"))
    );
    assert!(attribute_updates(&BTreeMap::new()).expect("empty").actions().is_empty());
}

#[test]
fn key_condition_maps() {
    let attribute = |name: &str| KeyAttribute { name: name.to_owned(), kind: ScalarType::S };
    let key = KeyDefinition { partition: vec![attribute("pk")], sort: vec![attribute("sk")] };
    let read = |list: Vec<(&str, LegacyCondition)>| {
        let map = list.into_iter().map(|(k, v)| (k.to_owned(), v)).collect();
        key_conditions(&map, &key, None).map_err(|e| e.message)
    };
    let pk = || ("pk", compare("EQ", vec![s("a")]));
    assert_eq!(
        read(vec![pk()]),
        Ok(KeyCondition { partition: vec![s("a")], sort_prefix: vec![], sort: SortCondition::Any })
    );
    assert_eq!(
        read(vec![pk(), ("sk", compare("BETWEEN", vec![s("a"), s("b")]))]).map(|c| c.sort),
        Ok(SortCondition::Between(s("a"), s("b")))
    );
    assert_eq!(
        read(vec![pk(), ("sk", compare("BEGINS_WITH", vec![s("b")]))]).map(|c| c.sort),
        Ok(SortCondition::BeginsWith(s("b")))
    );
    let cases = [
        (vec![], "Conditions can be of length 1 or 2 only".to_owned()),
        (vec![("pk", compare("LT", vec![s("a")]))], "Query key condition not supported".to_owned()),
        (
            vec![("pk", compare("EQ", vec![n(1)]))],
            format!("{INVALID}Condition parameter type does not match schema type"),
        ),
        (
            vec![("sk", compare("EQ", vec![s("a")]))],
            "Query condition missed key schema element: pk".to_owned(),
        ),
        (
            vec![pk(), ("sk", compare("CONTAINS", vec![s("a")]))],
            "Attempted conditional constraint is not an indexable operation".to_owned(),
        ),
        (
            vec![("pk", compare("EQ", vec![]))],
            format!("{INVALID}Invalid number of argument(s) for the EQ ComparisonOperator"),
        ),
    ];
    for (list, expected) in cases {
        assert_eq!(read(list).err(), Some(expected));
    }
}

#[test]
fn attribute_lists() {
    let get = |names: &[&str]| {
        let names: Vec<String> = names.iter().map(|n| (*n).to_owned()).collect();
        attributes_to_get(&names).map(|p| p.apply(&sample())).map_err(|e| e.message)
    };
    assert_eq!(get(&["a", "m.x", "zz"]), Ok(item(&json!({"a": {"N": "5"}}))));
    assert!(get(&["a", "s", "a"]).is_err_and(|e| e.contains("Duplicate value in attribute name: a")));
    assert_eq!(get(&[]).err().as_deref(), Some("AttributesToGet cannot be empty"));
    assert_eq!(get(&[""]).err().as_deref(), Some("Empty attribute name"));
}
