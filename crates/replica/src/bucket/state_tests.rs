//! Tests of the record: round trips, rejected bytes, a fixture of version 1, and the laws of last writer
//! wins.

use super::*;
use crate::bucket::{Actor, Hlc};
use proptest::prelude::*;

fn value() -> impl Strategy<Value = Value> {
    let body = proptest::collection::vec(any::<u8>(), 0..12);
    (0u64..4, body, "[a-z/]{0,6}", 0u64..3, 0u64..3).prop_map(
        |(written, body, content_type, expires_ms, operation)| Value {
            written: Hlc(written),
            body: body.into(),
            content_type,
            expires_ms,
            operation,
        },
    )
}

fn siblings() -> impl Strategy<Value = State> {
    let write = (value(), 1u64..4, 0u64..2, any::<bool>());
    (proptest::collection::vec(write, 0..8), any::<bool>()).prop_map(|(writes, delete)| {
        let mut set = SiblingSet::default();
        let mut last = Context::default();
        for (value, node, incarnation, informed) in writes {
            let seen = if informed { last.clone() } else { Context::default() };
            last.insert(set.update(&seen, value, Actor { node, incarnation }));
        }
        if delete {
            set.discard(&last, Hlc(9));
        }
        State::Siblings(set)
    })
}

fn last_write() -> impl Strategy<Value = State> {
    (value(), 1u64..4, any::<bool>()).prop_map(|(value, node, tombstone)| {
        let value = if tombstone { Value { written: value.written, ..Value::default() } } else { value };
        State::LastWrite(LastWrite { value, node, tombstone })
    })
}

proptest! {
    #[test]
    fn records_round_trip(state in prop_oneof![siblings(), last_write()]) {
        let record = state.encode();
        prop_assert!(record.len() <= state.record_bytes() + 8, "{} bytes, announced {}", record.len(), state.record_bytes());
        prop_assert_eq!(State::decode(record), Ok(state));
    }

    /// No cut and no garbage panics; whatever is accepted encodes to the same bytes.
    #[test]
    fn anything_else_is_refused(state in prop_oneof![siblings(), last_write()], cut: usize, at: usize, byte: u8,
        garbage in proptest::collection::vec(any::<u8>(), 0..40))
    {
        let record = state.encode();
        prop_assert!(State::decode(record.slice(..cut % record.len())).is_err());
        let mut longer = record.to_vec();
        longer.push(byte);
        prop_assert!(State::decode(longer.into()).is_err());
        let mut changed = record.to_vec();
        let at = at % changed.len();
        changed[at] = byte;
        for bytes in [changed, [&[VERSION, KIND_SIBLINGS], &garbage[..]].concat(), garbage] {
            if let Ok(state) = State::decode(bytes.clone().into()) {
                prop_assert_eq!(state.encode(), bytes);
            }
        }
    }

    #[test]
    fn the_last_writer_is_the_same_in_any_order(a in last_write(), b in last_write(), c in last_write()) {
        let merge = |x: &State, y: &State| {
            let mut x = x.clone();
            x.merge(y).unwrap();
            x
        };
        prop_assert_eq!(merge(&a, &a), a.clone());
        prop_assert_eq!(merge(&a, &b), merge(&b, &a));
        prop_assert_eq!(merge(&merge(&a, &b), &c), merge(&a, &merge(&b, &c)));
    }
}

/// Records of version 1, as they are on disks: later code must read them.
#[test]
fn version_1_is_read_for_ever() {
    let (a, b) = (Actor { node: 1, incarnation: 1_700_000_000_000 }, Actor { node: 2, incarnation: 5 });
    let mut set = SiblingSet::default();
    let value = |body: &'static str| Value { written: Hlc(0x0102), body: body.into(), ..Value::default() };
    set.update(&Context::default(), value("left"), a);
    let full = Value {
        content_type: "text/plain".into(),
        expires_ms: 300,
        operation: 0x0807_0605_0403_0201,
        ..value("right")
    };
    set.update(&Context::default(), full, b);
    set.discard(&Context::default(), Hlc(7));
    let last = LastWrite { value: value("v"), node: 3, tombstone: false };
    for (state, fixture) in [
        (
            State::Siblings(set),
            "0101020180d095ffbc31010205010007020180d095ffbc310100820204\
             6c656674020501078202 0a746578742f706c61696e ac02 0102030405060708 057269676874",
        ),
        (State::LastWrite(last), "0102 03 00 00 8202 0176"),
    ] {
        let hex: String = fixture.chars().filter(char::is_ascii_hexdigit).collect();
        let bytes: Vec<u8> =
            (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect();
        assert_eq!(State::decode(bytes.clone().into()), Ok(state.clone()));
        assert_eq!(state.encode(), bytes);
    }
}
