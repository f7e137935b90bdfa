//! Stored forms: keys and items. The bytes come from Torc's own disk or another node and may be damaged. They
//! must never end the process.

use super::Target;
use bytes::Bytes;
use torc_model::codec::{self, decode_item, encode_item, item_bytes_to_json};
use torc_model::json::write_item;
use torc_model::key::{self, decode_element, element_length, encode_element};
use torc_model::{AttributeValue, Item, Number};

pub const KEY: Target = Target { name: "key", seeds: key_seeds, dictionary: &[], run: run_key };
pub const ITEM: Target = Target { name: "item", seeds: item_seeds, dictionary: &[], run: run_item };

fn values() -> Vec<AttributeValue> {
    let number = |text: &str| AttributeValue::N(Number::parse(text).expect("a number"));
    vec![
        AttributeValue::S(String::new()),
        AttributeValue::S("a\0b\u{1f600}".into()),
        AttributeValue::B(Bytes::from_static(b"\0\0\xff\x01")),
        number("0"),
        number("-12.5"),
        number("9.9999999999999999999999999999999999999E+125"),
        number("1E-130"),
    ]
}

fn key_seeds() -> Vec<Vec<u8>> {
    let values = values();
    let mut seeds: Vec<Vec<u8>> = Vec::new();
    for pair in values.windows(2) {
        let both = key::encode_elements(pair).expect("key values");
        seeds.push(key::item_key(key::space::TABLE, 7, 9, &both, b""));
        seeds.push(both);
    }
    seeds
}

/// Elements one after another, and the same bytes as an engine's key.
fn run_key(input: &[u8]) {
    if let Some(item_key) = key::decode_item_key(input) {
        let again = key::item_key(item_key.space, item_key.table_id, item_key.token, item_key.primary, b"");
        assert_eq!(again, input);
        elements(item_key.primary);
    }
    let _ = key::local_index_ordinal(input);
    elements(input);
    // Any text and bytes survive, and keep their order.
    let (left, right) = input.split_at(input.len() / 2);
    let encoded = |bytes: &[u8]| {
        let value = AttributeValue::B(Bytes::copy_from_slice(bytes));
        let mut out = Vec::new();
        encode_element(&value, &mut out).expect("a binary can be a key");
        assert_eq!(element_length(&out), Ok(out.len()));
        assert_eq!(decode_element(&out), Ok((value, &[][..])));
        out
    };
    assert_eq!(left.cmp(right), encoded(left).cmp(&encoded(right)), "byte order is not the values' order");
    if let Some(next) = key::prefix_successor(input) {
        assert!(next.as_slice() > input);
    }
}

fn elements(input: &[u8]) {
    let mut rest = input;
    while let Ok((value, after)) = decode_element(rest) {
        let mut again = Vec::new();
        encode_element(&value, &mut again).expect("what was decoded can be encoded");
        assert_eq!(again, rest[..rest.len() - after.len()], "not the canonical form of {value:?}");
        assert_eq!(element_length(rest), Ok(again.len()));
        rest = after;
    }
}

fn item_seeds() -> Vec<Vec<u8>> {
    let mut item: Item =
        values().into_iter().enumerate().map(|(n, value)| (format!("a{n}"), value)).collect();
    item.insert("set".into(), AttributeValue::Ss(vec!["x".into(), "y".into()]));
    item.insert("numbers".into(), AttributeValue::Ns(vec![Number::from(1i64), Number::from(2i64)]));
    item.insert("blobs".into(), AttributeValue::Bs(vec![Bytes::from_static(b"z")]));
    item.insert("flags".into(), AttributeValue::L(vec![AttributeValue::Bool(true), AttributeValue::Null]));
    let mut deep = AttributeValue::M(item.clone());
    for _ in 0..8 {
        deep = AttributeValue::L(vec![deep]);
    }
    let deep = Item::from([("deep".to_owned(), deep)]);
    [Item::new(), item, deep]
        .iter()
        .map(|item| {
            let mut out = Vec::new();
            codec::encode_record(1, 2, item, &mut out);
            out
        })
        .collect()
}

fn run_item(input: &[u8]) {
    let record = codec::decode_record(input);
    let attributes = codec::decode_header(input).map_or(input, |(_, attributes)| attributes);
    let decoded = decode_item(attributes);
    if let Ok((_, item)) = &record {
        assert_eq!(decoded.as_ref(), Ok(item));
    }
    let mut json = Vec::new();
    let streamed = item_bytes_to_json(attributes, &mut json);
    match decoded {
        Ok(item) => {
            let mut again = Vec::new();
            encode_item(&item, &mut again);
            assert_eq!(decode_item(&again).as_ref(), Ok(&item));
            // The read path writes JSON without building the item: it must say the same.
            streamed.expect("what decodes can be shown");
            let mut wanted = Vec::new();
            write_item(&item, &mut wanted);
            assert_eq!(String::from_utf8_lossy(&json), String::from_utf8_lossy(&wanted));
            for (name, value) in &item {
                let found = codec::find_attribute(attributes, name).expect("the item is whole");
                let found = found.expect("an attribute that was decoded is found");
                assert_eq!(codec::decode_value(found).as_ref(), Ok(value));
            }
        }
        Err(_) => {
            let _ = codec::find_attribute(attributes, "a1");
            let _ = codec::decode_value(attributes);
        }
    }
}
