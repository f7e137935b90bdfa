//! The item cache as seen through the engine: reads are served from it, and never with an outdated value.

use super::{open, outgrow, separating, tiny};
use crate::env::SimEnv;
use crate::lsm::{Background, Engine, Options, WriteBatch};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

const HOT: &[u8] = b"hot";

fn change(engine: &Engine, make: impl FnOnce(&mut WriteBatch)) {
    let mut batch = WriteBatch::new();
    make(&mut batch);
    engine.write(&batch).unwrap();
}

/// Reads the key until the item cache answers (two reads leave their votes, the third fills, the fourth
/// hits); every answer is the same.
fn warm(engine: &Engine) -> Option<Vec<u8>> {
    let before = engine.metrics().item_hits;
    let answers: Vec<_> = (0..4).map(|_| engine.get(HOT).unwrap().map(|v| v.to_vec())).collect();
    assert!(answers.windows(2).all(|w| w[0] == w[1]), "{answers:?}");
    assert!(engine.metrics().item_hits > before, "the item cache does not answer");
    answers[0].clone()
}

fn read(engine: &Engine) -> Option<Vec<u8>> {
    (0..4).map(|_| engine.get(HOT).unwrap().map(|v| v.to_vec())).reduce(|a, b| {
        assert_eq!(a, b);
        b
    })?
}

/// Every way in which a key can get another value, each after the old one was served from the item cache.
#[test]
fn a_cached_item_is_never_stale() {
    let env = SimEnv::new(0);
    // The ingested values go to value files, although they are short.
    let mut engine = open(&env, separating(40)).unwrap();
    outgrow(&engine, separating(40).cache_bytes);
    let old = b"old".to_vec();
    let reset = |engine: &Engine| {
        change(engine, |b| b.put(HOT, &old));
        engine.flush().unwrap();
        assert_eq!(warm(engine).as_ref(), Some(&old));
    };
    type Step = (&'static str, fn(&Engine), Option<&'static [u8]>);
    let ingested: &[u8] = &[b'i'; 50];
    let steps: [Step; 7] = [
        ("nothing", |_| {}, Some(b"old")),
        ("put", |e| change(e, |b| b.put(HOT, b"new")), Some(b"new")),
        ("delete", |e| change(e, |b| b.delete(HOT)), None),
        ("delete of a range", |e| change(e, |b| b.delete_range(b"h", b"i")), None),
        (
            "put that a delete of a range overtakes",
            |e| {
                change(e, |b| {
                    b.put(HOT, b"new");
                    b.delete_range(b"h", b"i");
                })
            },
            None,
        ),
        (
            "put after a delete of a range",
            |e| {
                change(e, |b| {
                    b.delete_range(b"h", b"i");
                    b.put(HOT, b"new");
                })
            },
            Some(b"new"),
        ),
        ("ingest", |e| e.ingest([(HOT, [b'i'; 50])]).unwrap(), Some(ingested)),
    ];
    for (name, step, want) in steps {
        for others in [0u32, 40] {
            reset(&engine);
            let snapshot = engine.snapshot();
            // With other writes beside it, the flush goes the other way over the cache.
            (0..others).for_each(|n| change(&engine, |b| b.put(format!("other{n}").as_bytes(), b"")));
            step(&engine);
            let want = want.map(<[u8]>::to_vec);
            assert_eq!(read(&engine), want, "{name}: in a memtable");
            engine.flush().unwrap();
            assert_eq!(read(&engine), want, "{name}: flushed");
            assert_eq!(engine.get_at(HOT, &snapshot).unwrap().as_deref(), Some(&old[..]), "{name}: before");
            while engine.background_step().unwrap() {}
            assert_eq!(read(&engine), want, "{name}: compacted");
            drop(snapshot);
            engine.compact_all().unwrap();
            assert_eq!(read(&engine), want, "{name}: compacted to the bottom");
            engine.close().unwrap();
            drop(engine);
            engine = open(&env, separating(40)).unwrap();
            assert_eq!(read(&engine), want, "{name}: opened again");
        }
    }
}

#[test]
fn only_short_values_that_are_there_come_in() {
    let env = SimEnv::new(0);
    let engine = open(&env, Options { cache_bytes: 256 << 10, ..tiny() }).unwrap();
    outgrow(&engine, 256 << 10);
    change(&engine, |b| {
        b.put(b"short", &[1; 1024]);
        b.put(b"long", &[2; 1400]);
        b.put(b"deleted", b"");
        b.delete(b"deleted");
    });
    engine.flush().unwrap();
    let empty = engine.metrics();
    for key in [&b"long"[..], b"deleted", b"absent"] {
        (0..5).for_each(|_| drop(engine.get(key).unwrap()));
    }
    let m = engine.metrics();
    assert_eq!((m.item_hits, m.item_misses, m.item_bytes), (0, 0, empty.item_bytes));
    (0..6).for_each(|_| assert_eq!(engine.get(b"short").unwrap().as_deref(), Some(&[1; 1024][..])));
    let m = engine.metrics();
    // Two votes, a fill, three hits. The fill is the first insertion; what came before is not counted.
    assert_eq!((m.item_hits, m.item_misses), (3, 0));
    assert!(m.item_bytes > empty.item_bytes + 1024);
    // A scan and a snapshot neither ask nor fill.
    assert_eq!(engine.scan(b"", b"~", false, None).count(), 2);
    engine.get_at(b"short", &engine.snapshot()).unwrap();
    assert_eq!(engine.metrics().item_hits, 3);
}

/// While everything fits into the block cache there is no item cache.
#[test]
fn nothing_comes_in_while_the_tables_fit_into_the_block_cache() {
    let engine = open(&SimEnv::new(0), Options { cache_bytes: 256 << 10, ..tiny() }).unwrap();
    change(&engine, |b| b.put(HOT, b"value"));
    engine.flush().unwrap();
    (0..20).for_each(|_| assert_eq!(read(&engine).as_deref(), Some(&b"value"[..])));
    assert_eq!(engine.metrics().item_hits, 0);
    outgrow(&engine, 256 << 10);
    assert_eq!(warm(&engine).as_deref(), Some(&b"value"[..]));
}

/// A hot key holds no block: with a block cache that other reads go through, it is read from the disk no
/// more.
#[test]
fn hot_items_stay_while_others_go_through_the_block_cache() {
    let env = SimEnv::new(0);
    let engine = open(&env, Options { cache_bytes: 256 << 10, memtable_bytes: 64 << 10, ..tiny() }).unwrap();
    let key = |n: u32| format!("key{n:05}").into_bytes();
    for n in 0..5000 {
        change(&engine, |b| b.put(&key(n), &[n as u8; 100]));
    }
    engine.compact_all().unwrap();
    let mut hot_hits = 0;
    for n in 0..5000u32 {
        engine.get(&key(n.wrapping_mul(2_654_435_761) % 5000)).unwrap();
        let hot = n % 8;
        let before = engine.metrics().item_hits;
        assert_eq!(engine.get(&key(hot)).unwrap().as_deref(), Some(&[hot as u8; 100][..]));
        hot_hits += engine.metrics().item_hits - before;
    }
    let m = engine.metrics();
    assert!(hot_hits > 4800, "{hot_hits} of 5000 from the item cache");
    assert!(m.item_bytes <= 64 << 10 && m.cache_bytes + m.item_bytes <= 260 << 10, "{m:?}");
}

/// Writers raise one number for each of a few hot keys, with threads that flush and compact; no reader sees
/// one fall.
#[test]
fn hot_numbers_only_rise_under_load() {
    const KEYS: usize = 4;
    let env = SimEnv::new(0);
    let options = Options {
        background: Background::Threads,
        memtable_bytes: 2 << 10,
        cache_bytes: 16 << 10,
        level_base_bytes: 32 << 10,
        segment_bytes: 1 << 20,
        ..tiny()
    };
    let engine = open(&env, options).unwrap();
    outgrow(&engine, 16 << 10);
    let written: Arc<[AtomicU64; KEYS]> = Arc::default();
    std::thread::scope(|s| {
        for _ in 0..2 {
            let (engine, written) = (engine.clone(), written.clone());
            s.spawn(move || {
                let mut last = [0; KEYS];
                let mut at = 0;
                while last.iter().any(|&n| n < 3000) {
                    at = (at + 1) % KEYS;
                    let least = written[at].load(Ordering::Acquire).max(last[at]);
                    let got = engine.get(format!("hot{at}").as_bytes()).unwrap();
                    let got = got.map_or(0, |v| u64::from_be_bytes(v[..].try_into().unwrap()));
                    assert!(got >= least, "hot{at} went back from {least} to {got}");
                    last[at] = got;
                }
            });
        }
        for n in 1..=3000u64 {
            for (at, written) in written.iter().enumerate() {
                // The keys change in turns, so that each rests in the tables for a while.
                if (n as usize / 100) % KEYS == at || n == 3000 {
                    change(&engine, |b| {
                        b.put(format!("hot{at}").as_bytes(), &n.to_be_bytes());
                        b.put(format!("fill{}", n % 50).as_bytes(), &[0; 100]);
                    });
                    written.store(n, Ordering::Release);
                }
            }
        }
    });
    let m = engine.metrics();
    assert!(m.item_hits > 0 && m.flushes > 10, "{m:?}");
}
