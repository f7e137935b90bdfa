//! Round trips, agreement of the two JSON writers, rejection of everything else.

use super::*;
use crate::json::{Reader, read_values, write_item, write_value};
use crate::size::item_size;
use crate::test_support::{item, value};
use crate::{AttributeValue, Item};
use proptest::prelude::*;

fn encoded(item: &Item) -> Vec<u8> {
    let mut out = Vec::new();
    encode_item(item, &mut out);
    out
}

/// Equality down to the order of set members, which [`AttributeValue`]'s own equality ignores.
fn spelled(item: &Item) -> String {
    format!("{item:?}")
}

fn has_empty_name(value: &AttributeValue) -> bool {
    match value {
        AttributeValue::L(values) => values.iter().any(has_empty_name),
        AttributeValue::M(map) => map.iter().any(|(name, value)| name.is_empty() || has_empty_name(value)),
        _ => false,
    }
}

proptest! {
    #[test]
    fn items_round_trip(item in item()) {
        let bytes = encoded(&item);
        prop_assert_eq!(spelled(&decode_item(&bytes).unwrap()), spelled(&item));
        for cut in 0..bytes.len() {
            prop_assert!(decode_item(&bytes[..cut]).is_err());
        }
        let mut longer = bytes.clone();
        longer.push(0);
        prop_assert_eq!(decode_item(&longer), Err(CodecError::Trailing(1)));
    }

    #[test]
    fn streaming_and_building_give_the_same_json(item in item()) {
        let mut built = b"x".to_vec();
        write_item(&item, &mut built);
        let mut streamed = b"x".to_vec();
        item_bytes_to_json(&encoded(&item), &mut streamed).unwrap();
        prop_assert_eq!(&streamed, &built);
        let values = read_values(&mut Reader::new(&built[1..])).unwrap();
        prop_assert_eq!(&values.items, &item);
        // A name of no letters is nothing that a request may bring in, at any depth.
        prop_assert_eq!(values.problem.is_some(), item.iter().any(|(name, value)| name.is_empty() || has_empty_name(value)));
    }

    #[test]
    fn attributes_are_found(item in item(), other in "[a-c]{0,4}") {
        let bytes = encoded(&item);
        for (name, value) in &item {
            let found = find_attribute(&bytes, name).unwrap().unwrap();
            prop_assert_eq!(&decode_value(found).unwrap(), value);
            let (mut streamed, mut built) = (Vec::new(), Vec::new());
            value_bytes_to_json(found, &mut streamed).unwrap();
            write_value(value, &mut built);
            prop_assert_eq!(streamed, built);
        }
        prop_assert_eq!(find_attribute(&bytes, &other).unwrap().is_some(), item.contains_key(&other));
    }

    #[test]
    fn records_round_trip(item in item(), timestamp in any::<u64>(), version in any::<u64>()) {
        let mut bytes = Vec::new();
        encode_record(timestamp, version, &item, &mut bytes);
        let (header, decoded) = decode_record(&bytes).unwrap();
        prop_assert_eq!(header, RecordHeader { timestamp, version, item_size: item_size(&item) as u64 });
        prop_assert_eq!(decoded, item);
        for cut in 0..bytes.len() {
            prop_assert!(decode_record(&bytes[..cut]).is_err());
        }
    }

    #[test]
    fn damage_is_an_error_or_another_item_but_never_a_panic(value in value(), at in any::<prop::sample::Index>(), bit in 0u8..8) {
        let mut bytes = encoded(&Item::from([("a".to_string(), value)]));
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        let decoded = decode_item(&bytes);
        let mut out = Vec::new();
        let streamed = item_bytes_to_json(&bytes, &mut out);
        if decoded.is_ok() {
            prop_assert!(streamed.is_ok());
        }
        prop_assert!(streamed.is_ok() || out.is_empty());
        let _ = find_attribute(&bytes, "a");
    }

    #[test]
    fn decoders_survive_any_bytes(bytes in proptest::collection::vec(prop_oneof![0u8..12, any::<u8>()], 0..60)) {
        let _ = decode_item(&bytes);
        let _ = decode_value(&bytes);
        let _ = decode_record(&bytes);
        let _ = item_bytes_to_json(&bytes, &mut Vec::new());
        let _ = find_attribute(&bytes, "b");
    }
}

#[test]
fn the_layout_is_the_documented_one() {
    let item = Item::from([
        ("id".to_string(), AttributeValue::N(7i64.into())),
        ("tags".to_string(), AttributeValue::Ss(vec!["b".into(), "a".into()])),
    ]);
    let mut bytes = Vec::new();
    encode_record(0x0102, 300, &item, &mut bytes);
    assert_eq!(
        bytes,
        [
            1, 0, 2, 1, 0, 0, 0, 0, 0, 0, 0xac, 2,
            10, // version, flags, timestamp, item version 300, size 10
            2,  // two attributes
            2, b'i', b'd', 2, 64, 7, // name, number, exponent 0, digits 7
            4, b't', b'a', b'g', b's', 9, 2, 1, b'b', 1, b'a',
        ]
    );
}

#[test]
fn other_versions_and_deep_nesting_are_refused() {
    assert_eq!(decode_record(&[2, 0]), Err(CodecError::UnknownVersion(2)));
    assert_eq!(decode_record(&[1, 1]), Err(CodecError::Malformed("unknown record flags")));
    let mut deep = vec![1, 1, b'a'];
    deep.extend([8, 1].repeat(100_000));
    deep.push(6);
    assert_eq!(decode_item(&deep), Err(CodecError::Malformed("nested too deep")));
    assert_eq!(item_bytes_to_json(&deep, &mut Vec::new()), Err(CodecError::Malformed("nested too deep")));
    assert_eq!(find_attribute(&deep, "a"), Err(CodecError::Malformed("nested too deep")));
    assert_eq!(
        decode_item(&[2, 1, b'b', 6, 1, b'a', 6]),
        Err(CodecError::Malformed("attribute names out of order"))
    );
    assert_eq!(decode_item(&[0xff, 0xff, 0xff, 0xff, 0x7f]), Err(CodecError::Truncated));
}
