//! Generators of values for this crate's property tests.

use crate::{AttributeValue, Item, Number};
use bytes::Bytes;
use proptest::prelude::*;

/// Any number, small integers more often.
pub fn number() -> impl Strategy<Value = Number> {
    prop_oneof![
        any::<i16>().prop_map(|n| Number::from(i64::from(n))),
        any::<i64>().prop_map(Number::from),
        (any::<bool>(), any::<u64>(), -140i32..120).prop_filter_map(
            "in range",
            |(negative, digits, exponent)| {
                Number::from_parts(negative, u128::from(digits), exponent).ok()
            }
        ),
        (any::<bool>(), 0..10u128.pow(38), -20i32..20)
            .prop_map(|(negative, digits, exponent)| Number::from_parts(negative, digits, exponent).unwrap()),
    ]
}

/// Text with quotes, controls, zeros and characters outside the basic plane.
pub fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-c]{0,4}",
        proptest::collection::vec(
            prop_oneof![
                Just('\0'),
                Just('"'),
                Just('\\'),
                Just('\n'),
                Just('\u{1f600}'),
                Just('\u{7f}'),
                any::<char>()
            ],
            0..8
        )
        .prop_map(|chars| chars.into_iter().collect()),
    ]
}

/// Bytes, zeros and `FF` more often.
pub fn blob() -> impl Strategy<Value = Bytes> {
    proptest::collection::vec(prop_oneof![Just(0u8), Just(1u8), Just(0xffu8), any::<u8>()], 0..8)
        .prop_map(Bytes::from)
}

/// A value that can be part of a key.
pub fn key_value() -> impl Strategy<Value = AttributeValue> {
    prop_oneof![
        text().prop_map(AttributeValue::S),
        number().prop_map(AttributeValue::N),
        blob().prop_map(AttributeValue::B)
    ]
}

fn set<T: Ord + Clone + std::fmt::Debug>(member: impl Strategy<Value = T>) -> impl Strategy<Value = Vec<T>> {
    proptest::collection::btree_set(member, 1..5).prop_map(|set| set.into_iter().rev().collect())
}

/// Any value, nested a few levels.
pub fn value() -> impl Strategy<Value = AttributeValue> {
    let leaf = prop_oneof![
        key_value(),
        any::<bool>().prop_map(AttributeValue::Bool),
        Just(AttributeValue::Null),
        set(text()).prop_map(AttributeValue::Ss),
        set(number()).prop_map(AttributeValue::Ns),
        set(blob()).prop_map(AttributeValue::Bs),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(AttributeValue::L),
            proptest::collection::btree_map(text(), inner, 0..4).prop_map(AttributeValue::M),
        ]
    })
}

/// Any item.
pub fn item() -> impl Strategy<Value = Item> {
    proptest::collection::btree_map(text(), value(), 0..6)
}
