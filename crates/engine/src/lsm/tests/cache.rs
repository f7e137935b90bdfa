//! The block cache when the data is larger than the cache.

use super::{open, tiny};
use crate::env::SimEnv;
use crate::lsm::{Engine, Options, WriteBatch};

const KEYS: u32 = 1000;

fn key(n: u32) -> [u8; 4] {
    n.to_be_bytes()
}

/// A kibibyte, of which all but the first eighth compresses to nothing.
fn value(n: u32) -> Vec<u8> {
    let mut state = u64::from(n) + 1;
    let noise = (0..128).map(|_| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as u8
    });
    noise.chain(std::iter::repeat_n(7, 896)).collect()
}

/// A megabyte of values in tables, read through a cache of `cache_bytes`.
fn loaded(cache_bytes: usize) -> Engine {
    let options = Options {
        memtable_bytes: 4 << 20,
        block_bytes: 4 << 10,
        table_bytes: 1 << 20,
        segment_bytes: 4 << 20,
        cache_bytes,
        ..tiny()
    };
    let engine = open(&SimEnv::new(7), options).unwrap();
    let mut batch = WriteBatch::new();
    (0..KEYS).for_each(|n| batch.put(&key(n), &value(n)));
    engine.apply(&batch).unwrap();
    engine.flush().unwrap();
    engine
}

#[test]
fn what_does_not_fit_unpacked_is_kept_packed() {
    let engine = loaded(400 << 10);
    let mut misses = Vec::new();
    for _ in 0..4 {
        // One key of each block and a little more, so that none is asked for often.
        for n in (0..KEYS).step_by(4) {
            assert_eq!(engine.get(&key(n)).unwrap().unwrap(), value(n));
        }
        misses.push(engine.metrics().cache_misses);
    }
    assert!(misses[0] > 100, "{misses:?}");
    assert!(
        misses[1..].iter().all(|m| *m == misses[0]),
        "a round missed what the cache can hold: {misses:?}"
    );
    assert!(engine.metrics().cache_bytes <= 400 << 10);
}

#[test]
fn what_is_asked_for_often_is_unpacked() {
    let engine = loaded(400 << 10);
    // Reads of a snapshot go to blocks, not to items.
    let now = engine.snapshot();
    engine.get_at(&key(3), &now).unwrap();
    let packed = engine.metrics().cache_bytes;
    for _ in 0..20 {
        assert_eq!(engine.get_at(&key(3), &now).unwrap().unwrap(), value(3));
    }
    let unpacked = engine.metrics().cache_bytes;
    assert!(unpacked > packed + 2000, "{packed} bytes, then {unpacked}");
    // By scans too.
    for _ in 0..20 {
        let mut scan = engine.scan(&key(500), &key(501), false, None);
        assert!(scan.advance().unwrap());
        assert_eq!(scan.value(), value(500));
    }
    assert!(engine.metrics().cache_bytes > unpacked + 2000);
}

#[test]
fn packed_blocks_are_read_like_others() {
    let (packed, plain) = (loaded(300 << 10), loaded(8 << 20));
    for round in 0..12 {
        let all = |engine: &Engine, reverse: bool| {
            let mut scan = engine.scan(b"", b"", reverse, None);
            let mut seen = Vec::new();
            while scan.advance().unwrap() {
                seen.push((scan.key().to_vec(), scan.value().to_vec()));
            }
            seen
        };
        for reverse in [false, true] {
            let seen = all(&packed, reverse);
            assert_eq!(seen.len(), KEYS as usize);
            assert!(seen == all(&plain, reverse), "round {round}");
        }
        for n in (0..KEYS + 50).step_by(7) {
            assert_eq!(packed.get(&key(n)).unwrap(), plain.get(&key(n)).unwrap(), "key {n}, round {round}");
        }
    }
}
