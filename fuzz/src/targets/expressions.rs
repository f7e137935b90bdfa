//! The expression language: each kind of expression, and the form in which bound ones travel between nodes.

use super::{Target, texts};
use std::collections::BTreeMap;
use torc_model::expr::{
    Condition, ExpressionKind, KeyCondition, ParsedCondition, ParsedProjection, ParsedUpdate, Placeholders,
    Update,
};
use torc_model::json::{Reader, read_values};
use torc_model::schema::{KeyAttribute, KeyDefinition, ScalarType};
use torc_model::{Item, codec};

const WORDS: &[&str] = &[
    "AND",
    "OR",
    "NOT",
    "IN",
    "BETWEEN",
    "attribute_exists",
    "attribute_not_exists",
    "attribute_type",
    "begins_with",
    "contains",
    "size",
    "if_not_exists",
    "list_append",
    "SET ",
    "REMOVE ",
    "ADD ",
    "DELETE ",
    "<>",
    "<=",
    ">=",
    "=",
    "(",
    ")",
    "[0]",
    "[4294967296]",
    ".",
    ", ",
    " + ",
    " - ",
    ":v",
    ":s",
    ":l",
    ":m",
    ":ss",
    ":ns",
    ":bs",
    ":t",
    "#n",
    "#a",
    "é",
    "\u{1f600}",
    "AND NOT (",
    "((",
    "))",
];

pub const CONDITION: Target =
    Target { name: "condition", seeds: conditions, dictionary: WORDS, run: run_condition };
pub const FILTER: Target = Target { name: "filter", seeds: conditions, dictionary: WORDS, run: run_filter };
pub const KEY_CONDITION: Target =
    Target { name: "key-condition", seeds: key_conditions, dictionary: WORDS, run: run_key_condition };
pub const PROJECTION: Target =
    Target { name: "projection", seeds: projections, dictionary: WORDS, run: run_projection };
pub const UPDATE: Target = Target { name: "update", seeds: updates, dictionary: WORDS, run: run_update };
pub const WIRE: Target = Target { name: "expression-wire", seeds: wire, dictionary: &[], run: run_wire };

fn conditions() -> Vec<Vec<u8>> {
    texts(&[
        "a = :v",
        "#n <> :s AND NOT (l[0] < :v OR contains(ss, :s))",
        "a BETWEEN :v AND :v AND b IN (:v, :s, m.x)",
        "attribute_exists(m.y.z) OR attribute_not_exists(#a) OR attribute_type(m, :t)",
        "size(l) >= :v AND begins_with(s, :s)",
        "NOT NOT NOT a = b",
        "((((a = :v)) AND (b = :v)))",
    ])
}

fn key_conditions() -> Vec<Vec<u8>> {
    texts(&[
        "id = :s",
        "id = :s AND a > :v",
        ":s = id AND a BETWEEN :v AND :v",
        "#id = :s AND begins_with(a, :s)",
        "(id = :s) AND (a <= :v)",
    ])
}

fn projections() -> Vec<Vec<u8>> {
    texts(&["a", "#n, m.x, l[1], l[2].k, m.y.z", "m.l[0][1][2], #a.#n[3]", "a, b, c, d, e, f"])
}

fn updates() -> Vec<Vec<u8>> {
    texts(&[
        "SET a = :v, m.x = if_not_exists(m.x, :v) + :v",
        "SET l = list_append(l, :l), l[9] = m.y REMOVE #n, l[0] ADD ns :ns, a :v DELETE ss :ss",
        "REMOVE a, m.y.z, l[1][2]",
        "ADD new :v, bs :bs DELETE bs :bs",
        "SET m.new = :m, l[1] = l[0] - :v",
    ])
}

/// The item that everything is tried on.
fn sample() -> Item {
    item(
        br#"{"id":{"S":"x"},"a":{"N":"5"},"s":{"S":"hello"},"b":{"B":"AAEC"},"t":{"BOOL":true},"n":{"NULL":true},
        "m":{"M":{"x":{"N":"1"},"y":{"M":{"z":{"S":"deep"}}},"l":{"L":[{"N":"1"},{"L":[{"N":"2"},{"N":"3"}]}]}}},
        "l":{"L":[{"N":"0"},{"N":"1"},{"M":{"k":{"S":"v"}}},{"L":[{"N":"9"}]}]},
        "ss":{"SS":["a","b"]},"ns":{"NS":["1","2"]},"bs":{"BS":["AA==","AQ=="]}}"#,
    )
}

fn item(json: &[u8]) -> Item {
    let mut reader = Reader::new(json);
    let values = read_values(&mut reader).expect("an item");
    values.check().expect("an item").clone()
}

fn values() -> Item {
    item(
        br#"{":v":{"N":"1"},":s":{"S":"hel"},":l":{"L":[{"N":"7"}]},":m":{"M":{"k":{"S":"v"}}},":ss":{"SS":["b","c"]},":ns":{"NS":["2","3"]},
        ":bs":{"BS":["AQ=="]},":t":{"S":"M"},":b":{"B":"AAE="},":nul":{"NULL":true},":big":{"N":"9.9E+125"}}"#,
    )
}

fn placeholders() -> Placeholders {
    let names =
        [("#n", "n"), ("#a", "a"), ("#id", "id")].map(|(key, name)| (key.to_owned(), name.to_owned()));
    Placeholders::new(Some(BTreeMap::from(names)), Some(values())).expect("placeholders")
}

fn parse_condition(kind: ExpressionKind, input: &[u8]) -> Option<Condition> {
    let text = std::str::from_utf8(input).ok()?;
    let parsed = match ParsedCondition::parse(kind, text) {
        Ok(parsed) => parsed,
        Err(error) => {
            assert!(error.message.starts_with("Invalid "), "{error}");
            return None;
        }
    };
    // Printed in another spelling, it may pass the limit on length; else it must mean the same.
    let printed = parsed.to_string();
    if printed.len() <= 4096 {
        let again = ParsedCondition::parse(kind, &printed);
        assert_eq!(again.as_ref().map_err(|error| &error.message), Ok(&parsed), "{printed}");
    }
    let bound = parsed.bind(&mut placeholders()).ok()?;
    assert_eq!(Condition::decode(&bound.encode()).as_ref(), Ok(&bound));
    Some(bound)
}

fn run_any_condition(kind: ExpressionKind, input: &[u8]) {
    if let Some(bound) = parse_condition(kind, input) {
        let item = sample();
        let decoded = Condition::decode(&bound.encode()).expect("just encoded");
        assert_eq!(bound.matches(&item), decoded.matches(&item));
        bound.matches(&Item::new());
    }
}

fn run_condition(input: &[u8]) {
    run_any_condition(ExpressionKind::Condition, input);
}

fn run_filter(input: &[u8]) {
    run_any_condition(ExpressionKind::Filter, input);
}

fn run_key_condition(input: &[u8]) {
    let Some(bound) = parse_condition(ExpressionKind::KeyCondition, input) else { return };
    let attribute = |name: &str, kind| KeyAttribute { name: name.to_owned(), kind };
    for sort in [None, Some(attribute("a", ScalarType::N)), Some(attribute("a", ScalarType::S))] {
        let key = KeyDefinition {
            partition: vec![attribute("id", ScalarType::S)],
            sort: sort.into_iter().collect(),
        };
        if let Ok(found) = KeyCondition::from_expression(&bound, &key, None) {
            // A query reads only what its condition, as a filter, would keep.
            let mut item = sample();
            item.insert("id".into(), found.partition[0].clone());
            if found.has_partition_of(&key, &item) && found.has_sort_of(&key, &item) {
                assert!(bound.matches(&item), "the range has an item that the condition has not");
            } else {
                assert!(!bound.matches(&item), "the range misses an item");
            }
        }
    }
}

fn run_projection(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let Ok(parsed) = ParsedProjection::parse(text) else { return };
    let printed = parsed.to_string();
    if printed.len() <= 4096 {
        assert_eq!(ParsedProjection::parse(&printed).ok().map(|again| again.to_string()), Some(printed));
    }
    let Ok(bound) = parsed.bind(&mut placeholders()) else { return };
    let item = sample();
    for (name, value) in bound.apply(&item) {
        let whole = item.get(&name).expect("a projection adds no attribute");
        assert_eq!(whole.type_name(), value.type_name());
    }
}

fn run_update(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let Ok(parsed) = ParsedUpdate::parse(text) else { return };
    let printed = parsed.to_string();
    if printed.len() <= 4096 {
        let again = ParsedUpdate::parse(&printed);
        assert_eq!(again.as_ref().map_err(|error| &error.message), Ok(&parsed), "{printed}");
    }
    let Ok(bound) = parsed.bind(&mut placeholders()) else { return };
    let decoded = Update::decode(&bound.encode());
    assert_eq!(decoded.as_ref(), Ok(&bound));
    for item in [sample(), Item::new()] {
        let Ok(applied) = bound.apply(&item) else { continue };
        assert_eq!(decoded.as_ref().map(|other| other.apply(&item)), Ok(Ok(applied.clone())));
        for (name, value) in &item {
            if !bound.attributes().any(|touched| touched == name) {
                assert_eq!(
                    applied.item.get(name),
                    Some(value),
                    "an attribute changed that the update does not name"
                );
            }
        }
        let mut stored = Vec::new();
        codec::encode_item(&applied.item, &mut stored);
        assert_eq!(codec::decode_item(&stored).as_ref(), Ok(&applied.item));
        applied.updated_new();
        applied.updated_old(&item);
    }
}

fn wire() -> Vec<Vec<u8>> {
    let text = |list: Vec<Vec<u8>>| list.into_iter().filter_map(|seed| String::from_utf8(seed).ok());
    let conditions = text(conditions()).filter_map(|seed| {
        let parsed = ParsedCondition::parse(ExpressionKind::Filter, &seed).ok()?;
        Some(parsed.bind(&mut placeholders()).ok()?.encode())
    });
    let updates = text(updates()).filter_map(|seed| {
        let parsed = ParsedUpdate::parse(&seed).ok()?;
        Some(parsed.bind(&mut placeholders()).ok()?.encode())
    });
    conditions.chain(updates).collect()
}

fn run_wire(input: &[u8]) {
    let item = sample();
    if let Ok(condition) = Condition::decode(input) {
        condition.matches(&item);
        condition.paths();
        assert_eq!(Condition::decode(&condition.encode()).as_ref(), Ok(&condition));
    }
    if let Ok(update) = Update::decode(input) {
        let _ = update.apply(&item);
        assert_eq!(Update::decode(&update.encode()).as_ref(), Ok(&update));
    }
}
