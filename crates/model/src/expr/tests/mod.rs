//! Tests of the whole language, by stage. The expected texts are DynamoDB's; where a table says nothing else,
//! `:v` is the number 1 and the item is [`sample`].

mod binding;
mod conditions;
mod key_conditions;
mod legacy;
mod projections;
mod properties;
mod syntax;
mod updates;
mod wire;

use super::*;
use crate::{AttributeValue, Item, Number};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// An attribute value from DynamoDB's JSON.
fn value(json: &Value) -> AttributeValue {
    let (kind, content) = json.as_object().and_then(|o| o.iter().next()).expect("an attribute value");
    let text = |v: &Value| v.as_str().expect("text").to_owned();
    let number = |v: &Value| text(v).parse::<Number>().expect("a number");
    // Binaries are given as plain text in these tests.
    let bytes = |v: &Value| bytes::Bytes::from(text(v));
    let list = || content.as_array().expect("a list").iter();
    match kind.as_str() {
        "S" => AttributeValue::S(text(content)),
        "N" => AttributeValue::N(number(content)),
        "B" => AttributeValue::B(bytes(content)),
        "BOOL" => AttributeValue::Bool(content.as_bool().expect("a boolean")),
        "NULL" => AttributeValue::Null,
        "M" => AttributeValue::M(item(content)),
        "L" => AttributeValue::L(list().map(value).collect()),
        "SS" => AttributeValue::Ss(list().map(text).collect()),
        "NS" => AttributeValue::Ns(list().map(number).collect()),
        "BS" => AttributeValue::Bs(list().map(bytes).collect()),
        other => panic!("no type {other}"),
    }
}

fn item(json: &Value) -> Item {
    json.as_object().expect("an item").iter().map(|(k, v)| (k.clone(), value(v))).collect()
}

/// An item with something of every type.
fn sample() -> Item {
    item(&json!({
        "id": {"S": "x"}, "a": {"N": "5"}, "s": {"S": "hello"}, "b": {"B": "bytes"}, "t": {"BOOL": true}, "nul": {"NULL": true},
        "m": {"M": {"x": {"N": "1"}, "y": {"M": {"z": {"S": "deep"}}}, "l": {"L": [{"N": "1"}, {"N": "2"}]}}},
        "l": {"L": [{"N": "0"}, {"N": "1"}, {"M": {"k": {"S": "v"}}}, {"L": [{"N": "9"}]}]},
        "ss": {"SS": ["a", "b"]}, "ns": {"NS": ["1", "2"]}, "bs": {"BS": ["p", "q"]}
    }))
}

/// The values that the tables use, all of them; only those that an expression names are passed.
fn all_values() -> Item {
    item(&json!({
        ":v": {"N": "1"}, ":zero": {"N": "0"}, ":two": {"N": "2"}, ":five": {"N": "5.00"}, ":nine": {"N": "9"}, ":s": {"S": "hel"},
        ":hello": {"S": "hello"}, ":e": {"S": ""}, ":S": {"S": "S"}, ":N": {"S": "N"}, ":b": {"B": "by"}, ":t": {"BOOL": true},
        ":nul": {"NULL": true}, ":m": {"M": {"k": {"S": "v"}}}, ":l": {"L": [{"N": "7"}]}, ":ss": {"SS": ["b", "c"]},
        ":ba": {"SS": ["b", "a"]}, ":ns": {"NS": ["2", "3"]}, ":bs": {"BS": ["q", "r"]}, ":p": {"B": "p"}, ":big": {"N": "9.9E+125"}
    }))
}

fn all_names() -> BTreeMap<String, String> {
    [("#a", "a"), ("#m", "m"), ("#n", "name"), ("#id", "id")]
        .map(|(k, v)| (k.to_owned(), v.to_owned()))
        .into()
}

/// The words of `text` that start with `first`.
fn placeholders_in(text: &str, first: char) -> Vec<String> {
    let mut found = Vec::new();
    for (at, _) in text.match_indices(first) {
        let word: String =
            text[at + 1..].chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
        if !word.is_empty() {
            found.push(format!("{first}{word}"));
        }
    }
    found
}

/// Placeholders with those of [`all_values`] and [`all_names`] that `text` names.
fn placeholders(text: &str) -> Placeholders {
    let names: BTreeMap<_, _> =
        all_names().into_iter().filter(|(k, _)| placeholders_in(text, '#').contains(k)).collect();
    let values: BTreeMap<_, _> =
        all_values().into_iter().filter(|(k, _)| placeholders_in(text, ':').contains(k)).collect();
    Placeholders::new(Some(names).filter(|n| !n.is_empty()), Some(values).filter(|v| !v.is_empty()))
        .expect("placeholders")
}

fn bind_condition(text: &str) -> Result<Condition, String> {
    let mut placeholders = placeholders(text);
    let parsed = ParsedCondition::parse(ExpressionKind::Condition, text).map_err(|e| e.message)?;
    let bound = parsed.bind(&mut placeholders).map_err(|e| e.message)?;
    placeholders.check_unused().map_err(|e| e.message)?;
    Ok(bound)
}

fn bind_update(text: &str) -> Result<Update, String> {
    let mut placeholders = placeholders(text);
    let bound = ParsedUpdate::parse(text).and_then(|p| p.bind(&mut placeholders)).map_err(|e| e.message)?;
    placeholders.check_unused().map_err(|e| e.message)?;
    Ok(bound)
}

fn bind_projection(text: &str) -> Result<Projection, String> {
    let mut placeholders = placeholders(text);
    ParsedProjection::parse(text).and_then(|p| p.bind(&mut placeholders)).map_err(|e| e.message)
}
