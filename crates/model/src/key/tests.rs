//! Order, round trips and bounds of encoded keys.

use super::*;
use crate::AttributeValue;
use crate::test_support::{blob, key_value, number, text};
use proptest::prelude::*;
use std::cmp::Ordering;

fn encoded(value: &AttributeValue) -> Vec<u8> {
    encode_elements([value]).unwrap()
}

/// DynamoDB's order within one type.
fn order(a: &AttributeValue, b: &AttributeValue) -> Ordering {
    match (a, b) {
        (AttributeValue::S(a), AttributeValue::S(b)) => a.as_bytes().cmp(b.as_bytes()),
        (AttributeValue::N(a), AttributeValue::N(b)) => a.cmp(b),
        (AttributeValue::B(a), AttributeValue::B(b)) => a.cmp(b),
        _ => panic!("types differ"),
    }
}

/// Two or three values of one type.
fn same_type() -> impl Strategy<Value = Vec<AttributeValue>> {
    prop_oneof![
        proptest::collection::vec(text().prop_map(AttributeValue::S), 3),
        proptest::collection::vec(number().prop_map(AttributeValue::N), 3),
        proptest::collection::vec(blob().prop_map(AttributeValue::B), 3),
    ]
}

fn meets(condition: &SortCondition, value: &AttributeValue) -> bool {
    match condition {
        SortCondition::Any => true,
        SortCondition::Equal(x) => order(value, x).is_eq(),
        SortCondition::Less(x) => order(value, x).is_lt(),
        SortCondition::LessOrEqual(x) => order(value, x).is_le(),
        SortCondition::Greater(x) => order(value, x).is_gt(),
        SortCondition::GreaterOrEqual(x) => order(value, x).is_ge(),
        SortCondition::Between(x, y) => order(value, x).is_ge() && order(value, y).is_le(),
        SortCondition::BeginsWith(AttributeValue::S(prefix)) => {
            value.as_s().unwrap().starts_with(prefix.as_str())
        }
        SortCondition::BeginsWith(AttributeValue::B(prefix)) => value.as_b().unwrap().starts_with(prefix),
        SortCondition::BeginsWith(_) => panic!("not a prefix"),
    }
}

proptest! {
    #[test]
    fn byte_order_is_value_order(values in same_type()) {
        prop_assert_eq!(encoded(&values[0]).cmp(&encoded(&values[1])), order(&values[0], &values[1]));
    }

    #[test]
    fn composite_order_is_element_by_element(a in same_type(), b in key_value(), c in key_value()) {
        // Whatever follows, a difference in the first element decides.
        let left = encode_elements([&a[0], &b]).unwrap();
        let right = encode_elements([&a[1], &c]).unwrap();
        if order(&a[0], &a[1]).is_ne() {
            prop_assert_eq!(left.cmp(&right), order(&a[0], &a[1]));
        }
    }

    #[test]
    fn elements_round_trip(a in key_value(), b in key_value()) {
        let bytes = encode_elements([&a, &b]).unwrap();
        prop_assert_eq!(element_length(&bytes).unwrap(), encoded(&a).len());
        let (first, rest) = decode_element(&bytes).unwrap();
        prop_assert_eq!(first, a);
        let (second, rest) = decode_element(rest).unwrap();
        prop_assert_eq!(second, b);
        prop_assert!(rest.is_empty());
        for cut in 0..element_length(&bytes).unwrap() {
            prop_assert!(decode_element(&bytes[..cut]).is_err());
        }
    }

    #[test]
    fn decoders_survive_any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
        if let Ok((value, rest)) = decode_element(&bytes) {
            prop_assert_eq!(encoded(&value), &bytes[..bytes.len() - rest.len()]);
        }
        let _ = element_length(&bytes);
        let _ = decode_item_key(&bytes);
    }

    #[test]
    fn ranges_select_what_the_condition_says(values in same_type(), which in 0usize..8, tail in key_value()) {
        let [value, x, y] = <[AttributeValue; 3]>::try_from(values).unwrap();
        let is_number = matches!(value, AttributeValue::N(_));
        let condition = match which {
            0 => SortCondition::Any,
            1 => SortCondition::Equal(x),
            2 => SortCondition::Less(x),
            3 => SortCondition::LessOrEqual(x),
            4 => SortCondition::Greater(x),
            5 => SortCondition::GreaterOrEqual(x),
            6 => SortCondition::Between(x, y),
            _ if is_number => SortCondition::Any,
            _ => SortCondition::BeginsWith(x),
        };
        let prefix = partition_prefix(space::TABLE, 7, 99, &encoded(&AttributeValue::S("p".into())));
        let range = sort_range(&prefix, &condition).unwrap();
        let mut key = prefix.clone();
        encode_element(&value, &mut key).unwrap();
        prop_assert_eq!(range.contains(&key), meets(&condition, &value));
        // An index key goes on after the sort key; it belongs to the same range.
        encode_element(&tail, &mut key).unwrap();
        prop_assert_eq!(range.contains(&key), meets(&condition, &value));
        // Another partition is never in it.
        let other = partition_prefix(space::TABLE, 7, 99, &encoded(&AttributeValue::S("q".into())));
        prop_assert!(!range.contains(&other));
    }
}

#[test]
fn successors() {
    for (prefix, successor) in [
        (&b""[..], None),
        (b"\xff\xff", None),
        (b"a", Some(&b"b"[..])),
        (b"a\xff", Some(b"b")),
        (b"a\x00", Some(b"a\x01")),
    ] {
        assert_eq!(prefix_successor(prefix).as_deref(), successor);
    }
    assert!(KeyRange { start: vec![2], end: Some(vec![1]) }.is_empty());
}

#[test]
fn only_scalars_are_keys() {
    assert_eq!(encode_elements([&AttributeValue::Null]), Err(KeyError::NotAKeyType("NULL")));
    let condition = SortCondition::BeginsWith(AttributeValue::N(1i64.into()));
    assert_eq!(sort_range(b"", &condition), Err(KeyError::NotAKeyType("N")));
}

#[test]
fn the_layout_is_the_documented_one() {
    let pk = encoded(&AttributeValue::S("a\0b".into()));
    assert_eq!(pk, [2, b'a', 0, 0xff, b'b', 0, 1]);
    let sk = encoded(&AttributeValue::N(crate::Number::parse("-12.5").unwrap()));
    // Sign, exponent 1 + 130 complemented, pairs 12 and 50 doubled, the first marked as continued,
    // complemented.
    assert_eq!(sk, [1, 1, !131, !25, !100]);
    let key = item_key(space::TABLE, 0x0102, 0x0304, &pk, &sk);
    assert_eq!(key[..17], [3, 0, 0, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 0, 0, 3, 4]);
    let parts = decode_item_key(&key).unwrap();
    assert_eq!((parts.space, parts.table_id, parts.token), (3, 0x0102, 0x0304));
    assert_eq!(element_length(parts.primary).unwrap(), pk.len());
    assert_eq!(table_prefix(space::TABLE, 0x0102), key[..9]);
    assert_eq!(token_prefix(space::TABLE, 0x0102, 0x0304), key[..17]);
}

#[test]
fn tokens_depend_on_the_whole_hash_key_and_spread() {
    let key: [u8; 16] = std::array::from_fn(|i| i as u8);
    let base = TokenHasher::new(key);
    let pk = encoded(&AttributeValue::S("user-1".into()));
    assert_eq!(base.token(&pk), token(key, &pk));
    for byte in 0..16 {
        let mut other = key;
        other[byte] ^= 1;
        assert_ne!(token(other, &pk), base.token(&pk), "byte {byte} of the hash key is ignored");
    }
    // Pinned: tokens are on disk and decide placement.
    assert_eq!([base.token(b""), base.token(&pk), base.token(&[7; 1000])], PINNED);
    let mut buckets = [0u32; 16];
    for n in 0..16_000i64 {
        buckets[(base.token(&encoded(&AttributeValue::N(n.into()))) >> 60) as usize] += 1;
    }
    assert!(buckets.iter().all(|count| (850..1150).contains(count)), "{buckets:?}");
}

const PINNED: [u64; 3] = [1_403_039_508_676_286_706, 2_031_392_390_803_560_960, 7_903_706_452_683_259_964];
