//! The concurrent parts under the shuttle model checker. It runs the same few steps of a few threads in
//! thousands of orders, chosen by a seed, and detects deadlocks. Covered: publication of batches, memtables
//! that split and are replaced while they are read, snapshots beside compaction, the item cache beside
//! flushes and ingests, group commit, closing.
//!
//! `cargo test -p torc-engine --features shuttle --lib interleavings`; `TORC_SHUTTLE_ROUNDS=N` for more
//! orders of each. Memory orders weaker than sequentially consistent are not explored.

use super::{DIR, open, outgrow, tiny};
use crate::env::{Env, SimEnv};
use crate::log::{Log, LogFaults, LogOptions, Record};
use crate::lsm::core::Published;
use crate::lsm::memtable::{GetOutcome, MemIter, MemPool, Memtable};
use crate::lsm::{Background, Engine, EngineFaults, Options, WriteBatch, key};
use crate::sync::thread;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Half of the orders are random, half give threads priorities that change a few times (which finds what
/// needs few, unlikely switches).
fn explore(rounds: usize, test: impl Fn() + Send + Sync + Clone + 'static) {
    let rounds = std::env::var("TORC_SHUTTLE_ROUNDS").ok().and_then(|n| n.parse().ok()).unwrap_or(rounds);
    shuttle::check_random(test.clone(), rounds / 2);
    shuttle::check_pct(test, rounds / 2, 3);
}

fn pair(n: u64) -> WriteBatch {
    let mut b = WriteBatch::new();
    for key in [b"left", b"rght"] {
        b.put(key, &n.to_be_bytes());
    }
    // Fills memtables, so that they are replaced under the readers.
    b.put(format!("fill{n:04}").as_bytes(), &[n as u8; 300]);
    b
}

fn number(value: Option<bytes::Bytes>) -> u64 {
    value.map_or(0, |v| u64::from_be_bytes(v[..].try_into().expect("eight bytes")))
}

/// Both keys as of one moment: the number of the batch that wrote them.
fn look(engine: &Engine) -> u64 {
    let snapshot = engine.snapshot();
    let at = |key: &[u8]| number(engine.get_at(key, &snapshot).expect("get"));
    let (left, right) = (at(b"left"), at(b"rght"));
    assert_eq!(left, right, "half of a batch");
    left
}

fn publication(faults: EngineFaults) {
    let env = SimEnv::new(1);
    let options = Options { memtable_bytes: 1 << 10, faults, ..tiny() };
    let engine = open(&env, options).expect("open");
    let writer = {
        let engine = engine.clone();
        thread::spawn(move || {
            for n in 1..=8 {
                engine.write(&pair(n)).expect("write");
                assert!(number(engine.get(b"rght").expect("get")) >= n, "own write not seen");
            }
        })
    };
    let worker = {
        let engine = engine.clone();
        thread::spawn(move || {
            for _ in 0..6 {
                engine.background_step().expect("background");
            }
        })
    };
    let mut last = 0;
    for _ in 0..5 {
        let now = look(&engine);
        assert!(now >= last, "went back from {last} to {now}");
        last = now;
        let scanned: Vec<u64> = engine
            .scan(b"left", b"s", now % 2 == 1, None)
            .map(|i| number(Some(i.expect("scan").value)))
            .collect();
        assert!(scanned.windows(2).all(|w| w[0] == w[1]), "half of a batch: {scanned:?}");
    }
    writer.join().expect("writer");
    worker.join().expect("worker");
    assert_eq!(look(&engine), 8);
}

#[test]
fn batches_are_seen_whole_while_memtables_are_flushed_and_compacted() {
    explore(2000, || publication(EngineFaults::default()));
}

#[test]
#[should_panic(expected = "half of a batch")]
fn a_planted_early_publication_is_found() {
    explore(2000, || publication(EngineFaults { early_publication: true, ..EngineFaults::default() }));
}

#[test]
fn a_memtable_is_read_right_while_its_shards_split() {
    explore(600, || {
        let pool = MemPool::new(1 << 20);
        let mem = Arc::new(Memtable::new(0, pool));
        let done = Arc::new(Published::new(0));
        let key = |n: u64| (n * 37 % 150).to_be_bytes();
        let writer = {
            let (mem, done) = (mem.clone(), done.clone());
            thread::spawn(move || {
                for n in 0..150 {
                    mem.insert(&key(n), n + 1, key::KIND_PUT, &n.to_be_bytes());
                    done.store(n + 1, Ordering::Release);
                }
            })
        };
        for round in 0..6u64 {
            let seq = done.load(Ordering::Acquire);
            for n in [0, seq / 2, seq.saturating_sub(1), seq.min(149), 149] {
                let want = if n < seq {
                    GetOutcome::Value(n.to_be_bytes().to_vec().into())
                } else {
                    GetOutcome::Missing
                };
                assert_eq!(mem.get(&key(n), seq), want, "entry {n} at {seq}");
            }
            let reverse = round % 2 == 1;
            let mut it = MemIter::new(mem.clone(), Some(seq), reverse);
            if reverse {
                it.seek_before(None);
            } else {
                it.seek(&[]);
            }
            let mut seen = 0;
            while it.valid() {
                seen += 1;
                it.step();
            }
            assert_eq!(seen, seq, "a scan at {seq}, reverse: {reverse}");
        }
        writer.join().expect("writer");
    });
}

#[test]
fn a_snapshot_keeps_what_it_sees_beside_compaction() {
    explore(1000, || {
        let env = SimEnv::new(2);
        let engine =
            open(&env, Options { memtable_bytes: 1 << 10, separate_bytes: 200, ..tiny() }).expect("open");
        for n in 1..=3 {
            engine.write(&pair(n)).expect("write");
        }
        let compactor = {
            let engine = engine.clone();
            thread::spawn(move || engine.compact_all().expect("compact"))
        };
        let writer = {
            let engine = engine.clone();
            thread::spawn(move || {
                for n in 4..=7 {
                    engine.write(&pair(n)).expect("write");
                }
            })
        };
        let snapshot = engine.snapshot();
        let read = || {
            let scan = engine.scan(b"", b"", false, Some(&snapshot));
            scan.map(|i| i.map(|i| (i.key.to_vec(), i.value.to_vec())).expect("scan")).collect::<Vec<_>>()
        };
        let first = read();
        thread::yield_now();
        assert_eq!(read(), first, "a snapshot changed");
        writer.join().expect("writer");
        compactor.join().expect("compactor");
        assert_eq!(read(), first, "a snapshot changed");
        drop(snapshot);
        while engine.background_step().expect("background") {}
        assert_eq!(look(&engine), 7);
        assert!(engine.verify().is_empty());
    });
}

/// Keys that are read so often that readers put them into the item cache, while one thread raises their
/// values and flushes or ingests. Several keys, because only the first read of each fills; without the log,
/// in which writers let others go first again and again.
fn items(faults: EngineFaults, readers: usize, last: u64, ingest: bool) {
    let keys = || (0..8u8).map(|n| [b'h', b'0' + n]);
    let batch = |n: u64| {
        let mut b = WriteBatch::new();
        keys().for_each(|key| b.put(&key, &n.to_be_bytes()));
        b
    };
    let env = SimEnv::new(5);
    let engine = open(&env, Options { cache_bytes: 16 << 10, faults, ..tiny() }).expect("open");
    outgrow(&engine, 16 << 10);
    engine.apply(&batch(1)).expect("write");
    engine.flush().expect("flush");
    // Their votes: from the next read on they come in.
    keys().chain(keys()).for_each(|key| assert_eq!(number(engine.get(&key).expect("get")), 1));
    let done = Arc::new(Published::new(1));
    let readers: Vec<_> = (0..readers)
        .map(|_| {
            let (engine, done) = (engine.clone(), done.clone());
            thread::spawn(move || {
                let mut last = 0;
                for key in keys().chain(keys()) {
                    let least = done.load(Ordering::Acquire).max(last);
                    last = number(engine.get(&key).expect("get"));
                    assert!(last >= least, "a stale item: {last} after {least}");
                }
            })
        })
        .collect();
    for n in 2..=last {
        if ingest {
            engine.ingest(keys().map(|key| (key, n.to_be_bytes()))).expect("ingest");
        } else {
            engine.apply(&batch(n)).expect("write");
        }
        done.store(n, Ordering::Release);
        if !ingest {
            engine.flush().expect("flush");
        }
    }
    for reader in readers {
        reader.join().expect("reader");
    }
    for key in keys() {
        assert_eq!(number(engine.get(&key).expect("get")), last, "a stale item");
    }
}

#[test]
fn the_item_cache_tells_only_what_is_true() {
    for (readers, last) in [(1, 2), (2, 3)] {
        explore(3000, move || items(EngineFaults::default(), readers, last, false));
        explore(3000, move || items(EngineFaults::default(), readers, last, true));
    }
}

#[test]
#[should_panic(expected = "a stale item")]
fn a_planted_item_that_is_served_unsettled_is_found() {
    explore(4000, || items(EngineFaults { unsettled_items: true, ..EngineFaults::default() }, 1, 2, false));
}

#[test]
#[should_panic(expected = "a stale item")]
fn a_planted_item_that_a_flush_leaves_is_found() {
    explore(4000, || items(EngineFaults { stale_items: true, ..EngineFaults::default() }, 1, 2, false));
}

fn group_commit(faults: LogFaults) {
    let env = SimEnv::new(3);
    let shared: Arc<dyn Env> = Arc::new(env.clone());
    let options = LogOptions { segment_bytes: 16 << 10, faults, ..LogOptions::default() };
    let log = Arc::new(Log::open(shared, Path::new("/log"), options).expect("open"));
    let appenders: Vec<_> = (1..=3u64)
        .map(|stream| {
            let (log, env) = (log.clone(), env.clone());
            thread::spawn(move || {
                for index in 1..=2 {
                    let payload = vec![stream as u8; 100].into();
                    let record = [Record::Entry { stream, index, payload }];
                    let lsn = if index == 1 { log.append_buffered(&record) } else { log.append(&record) };
                    if index == 2 {
                        log.wait(lsn.expect("append")).expect("wait");
                    }
                }
                // The power goes now: what was waited for is there.
                let image = env.clone_image();
                image.crash(stream);
                let image: Arc<dyn Env> = Arc::new(image);
                let options = LogOptions { background: Background::Manual, ..LogOptions::default() };
                let after =
                    Log::open(image, Path::new("/log"), options).expect("lost a commit: open after a crash");
                assert_eq!(after.stream(stream).map(|s| s.last), Some(2), "stream {stream} lost a commit");
            })
        })
        .collect();
    for appender in appenders {
        appender.join().expect("appender");
    }
    log.close().expect("close");
}

#[test]
fn a_commit_that_was_waited_for_is_on_the_disk() {
    explore(1000, || group_commit(LogFaults::default()));
}

#[test]
#[should_panic(expected = "lost a commit")]
fn a_planted_skipped_sync_is_found() {
    explore(1000, || group_commit(LogFaults { skip_sync: true, ..LogFaults::default() }));
}

#[test]
fn an_engine_with_threads_serves_and_closes() {
    explore(600, || {
        let env: Arc<dyn Env> = Arc::new(SimEnv::new(4));
        let options = Options {
            background: Background::Threads,
            compaction_threads: 1,
            memtable_bytes: 1 << 10,
            ..tiny()
        };
        let engine = Engine::open(env.clone(), Path::new(DIR), options.clone()).expect("open");
        let writers: Vec<_> = (0..2u64)
            .map(|w| {
                let engine = engine.clone();
                thread::spawn(move || {
                    for n in 0..3 {
                        let mut b = WriteBatch::new();
                        b.put(format!("{w}/{n}").as_bytes(), &[n as u8; 400]);
                        let lsn = engine.write(&b).expect("write");
                        if n == 1 {
                            engine.log().wait(lsn).expect("wait");
                        }
                    }
                })
            })
            .collect();
        for writer in writers {
            writer.join().expect("writer");
        }
        engine.close().expect("close");
        drop(engine);
        let engine = Engine::open(env, Path::new(DIR), Options { background: Background::Manual, ..options })
            .expect("open");
        assert_eq!(engine.scan(b"", b"", false, None).count(), 6);
    });
}
