//! The workloads, by name, and what each one does to an engine.

use crate::data::{Values, Zipf, key, partition_key};
use crate::measure::{Histogram, Moment};
use crate::stores::Store;
use anyhow::{Result, bail};
use rand::Rng;
use rand::SeedableRng;
use rand::rngs::SmallRng;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Partitions of the workloads that have them.
pub const PARTITIONS: u64 = 1000;
/// Share of operations on the hot hundredth of the partitions, percent.
const HOT_PERCENT: u32 = 80;
/// Items that wait in the queue.
const QUEUE_DEPTH: u64 = 1000;

/// What a workload finds in the folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// Nothing.
    Empty,
    /// Every key, settled; it does not change them.
    Loaded,
    /// Every key, settled, in a copy of its own.
    LoadedCopy,
}

/// How much of the data fits into memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Memory {
    /// The cache holds everything.
    Ample,
    /// The cache is a tenth of the data; the system's page cache is free.
    TenthCache,
    /// As before, and the whole process with its page cache is held to a limit: most reads go to the device.
    Limited,
}

/// A workload by name.
#[derive(Clone, Copy, Debug)]
pub struct Workload {
    pub name: &'static str,
    pub threads: usize,
    pub start: Start,
    pub memory: Memory,
    kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Fill,
    Overwrite,
    Synced,
    Hit,
    Miss,
    Scan,
    Ycsb(char),
    Queue,
    Partitions,
    Drop,
    FalsePositives,
}

const fn workload(name: &'static str, threads: usize, start: Start, memory: Memory, kind: Kind) -> Workload {
    Workload { name, threads, start, memory, kind }
}

/// Every workload, in the order of the tables.
pub const ALL: &[Workload] = &[
    workload("fill", 1, Start::Empty, Memory::Ample, Kind::Fill),
    workload("overwrite", 1, Start::LoadedCopy, Memory::Ample, Kind::Overwrite),
    workload("sync1", 1, Start::Empty, Memory::Ample, Kind::Synced),
    workload("sync16", 16, Start::Empty, Memory::Ample, Kind::Synced),
    workload("sync64", 64, Start::Empty, Memory::Ample, Kind::Synced),
    workload("hit1", 1, Start::Loaded, Memory::Ample, Kind::Hit),
    workload("hit2", 2, Start::Loaded, Memory::Ample, Kind::Hit),
    workload("miss1", 1, Start::Loaded, Memory::Ample, Kind::Miss),
    workload("miss2", 2, Start::Loaded, Memory::Ample, Kind::Miss),
    workload("hit1-tenth", 1, Start::Loaded, Memory::TenthCache, Kind::Hit),
    workload("hit2-tenth", 2, Start::Loaded, Memory::TenthCache, Kind::Hit),
    workload("miss1-tenth", 1, Start::Loaded, Memory::TenthCache, Kind::Miss),
    workload("hit1-limited", 1, Start::Loaded, Memory::Limited, Kind::Hit),
    workload("hit2-limited", 2, Start::Loaded, Memory::Limited, Kind::Hit),
    workload("scan100", 1, Start::Loaded, Memory::Ample, Kind::Scan),
    workload("scan100-tenth", 1, Start::Loaded, Memory::TenthCache, Kind::Scan),
    workload("ycsb-a", 2, Start::LoadedCopy, Memory::Ample, Kind::Ycsb('a')),
    workload("ycsb-b", 2, Start::LoadedCopy, Memory::Ample, Kind::Ycsb('b')),
    workload("ycsb-c", 2, Start::Loaded, Memory::Ample, Kind::Ycsb('c')),
    workload("ycsb-d", 2, Start::LoadedCopy, Memory::Ample, Kind::Ycsb('d')),
    workload("ycsb-e", 2, Start::LoadedCopy, Memory::Ample, Kind::Ycsb('e')),
    workload("ycsb-f", 2, Start::LoadedCopy, Memory::Ample, Kind::Ycsb('f')),
    workload("queue", 1, Start::Empty, Memory::Ample, Kind::Queue),
    workload("partitions", 2, Start::Empty, Memory::Ample, Kind::Partitions),
    workload("drop", 1, Start::Empty, Memory::Ample, Kind::Drop),
    workload("false-positives", 1, Start::Loaded, Memory::Ample, Kind::FalsePositives),
];

/// The workload of that name.
pub fn named(name: &str) -> Result<Workload> {
    match ALL.iter().find(|w| w.name == name) {
        Some(w) => Ok(*w),
        None => bail!(
            "no workload {name}; there are {}",
            ALL.iter().map(|w| w.name).collect::<Vec<_>>().join(", ")
        ),
    }
}

impl Workload {
    /// Whether the time runs until the engine has settled, because what is measured includes the work put off.
    pub fn settles(&self) -> bool {
        matches!(self.kind, Kind::Fill | Kind::Overwrite)
    }

    /// Whether a copy of the data is read once before the clock runs.
    pub fn warms(&self) -> bool {
        self.start != Start::Empty && self.memory != Memory::Limited
    }
}

/// How large.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    /// Keys loaded.
    pub keys: u64,
    /// Times that `overwrite` writes as many keys as there are.
    pub passes: u64,
    /// Longest time of a workload without an end of its own.
    pub seconds: f64,
}

/// What came of it.
#[derive(Default)]
pub struct Outcome {
    pub ops: u64,
    pub seconds: f64,
    pub latencies: Histogram,
    /// Bytes of keys and values written by the caller.
    pub user_bytes: u64,
    pub extra: Vec<(&'static str, f64)>,
    /// When measuring began, if the workload first had to prepare something.
    pub since: Option<Moment>,
}

/// Writes every key once, in scattered order.
pub fn load<S: Store>(store: &S, values: &Values, keys: u64) -> Result<()> {
    let mut value = Vec::new();
    for n in 0..keys {
        values.fill(n, n, &mut value);
        store.put(&key(n), &value, false)?;
    }
    Ok(())
}

/// Reads every key once, so that what can be cached is.
pub fn warm<S: Store>(store: &S, values: &Values, keys: u64) -> Result<()> {
    for n in 0..keys {
        anyhow::ensure!(store.get(&key(n), |v| values.check(n, v))?, "key {n} is missing");
    }
    Ok(())
}

/// Runs a workload. `folder_bytes` tells how large the database's files are now.
pub fn run<S: Store>(
    w: Workload,
    store: &S,
    values: &Values,
    size: Size,
    folder_bytes: &(dyn Fn() -> u64 + Sync),
) -> Result<Outcome> {
    let keys = size.keys;
    let put_bytes = |value: &[u8]| (crate::data::KEY_BYTES + value.len()) as u64;
    let hit = |rng: &mut SmallRng| {
        let n = rng.random_range(0..keys);
        anyhow::ensure!(store.get(&key(n), |v| values.check(n, v))?, "key {n} is missing");
        Ok(0)
    };
    let miss = |rng: &mut SmallRng| {
        let n = keys + rng.random_range(0..keys.max(10_000_000));
        anyhow::ensure!(!store.get(&key(n), |_| ())?, "key {n} is there");
        Ok(0)
    };
    match w.kind {
        Kind::Fill => drive(w.threads, f64::MAX, keys, |t| {
            let (mut n, mut value) = (t, Vec::new());
            move |_: &mut SmallRng| {
                values.fill(n, n, &mut value);
                store.put(&key(n), &value, false)?;
                n += w.threads as u64;
                Ok(put_bytes(&value))
            }
        }),
        Kind::Overwrite => drive(w.threads, f64::MAX, keys * size.passes, |_| {
            let mut value = Vec::new();
            move |rng: &mut SmallRng| {
                let n = rng.random_range(0..keys);
                values.fill(n, rng.random(), &mut value);
                store.put(&key(n), &value, false)?;
                Ok(put_bytes(&value))
            }
        }),
        Kind::Synced => drive(w.threads, size.seconds, u64::MAX, |_| {
            let mut value = Vec::new();
            move |rng: &mut SmallRng| {
                let n = rng.random_range(0..keys);
                values.fill(n, rng.random(), &mut value);
                store.put(&key(n), &value, true)?;
                Ok(put_bytes(&value))
            }
        }),
        Kind::Hit => drive(w.threads, size.seconds, u64::MAX, |_| hit),
        Kind::Miss => drive(w.threads, size.seconds, u64::MAX, |_| miss),
        Kind::Scan => drive(w.threads, size.seconds, u64::MAX, |_| {
            |rng: &mut SmallRng| {
                let mut bytes = 0;
                let n = store.scan(&key(rng.random_range(0..keys)), 100, |_, v| bytes += v.len())?;
                anyhow::ensure!(n > 0 && bytes > 0, "the start is a key, so the scan cannot be empty");
                Ok(0)
            }
        }),
        Kind::Ycsb(letter) => ycsb(letter, w, store, values, size),
        Kind::Queue => queue(store, values, size),
        Kind::Partitions => partitions(w, store, values, size),
        Kind::Drop => drop_partition(store, values, size, folder_bytes),
        Kind::FalsePositives => {
            let before = store.extra();
            let tries = 10_000_000.min(keys * 10);
            let mut n = keys;
            let mut out = drive(1, f64::MAX, tries, |_| {
                move |_: &mut SmallRng| {
                    anyhow::ensure!(!store.get(&key(n), |_| ())?, "key {n} is there");
                    n += 1;
                    Ok(0)
                }
            })?;
            let of = |list: &[(&str, f64)], name| list.iter().find(|(k, _)| *k == name).map(|(_, v)| *v);
            let after = store.extra();
            if let (Some(a), Some(b), Some(filters)) =
                (of(&before, "block_reads"), of(&after, "block_reads"), of(&after, "filters_asked"))
            {
                out.extra.push(("false_positive_percent", (b - a) / (tries as f64 * filters) * 100.0));
            }
            Ok(out)
        }
    }
}

/// Runs the operations of `threads` threads until the time or their number is up. An operation answers with the bytes it wrote.
fn drive<'a, F, O>(threads: usize, seconds: f64, limit: u64, make: F) -> Result<Outcome>
where
    F: Fn(u64) -> O + Sync + 'a,
    O: FnMut(&mut SmallRng) -> Result<u64>,
{
    let start = Instant::now();
    let deadline = if seconds < 1e6 { Some(Duration::from_secs_f64(seconds)) } else { None };
    let parts: Vec<Result<Outcome>> = std::thread::scope(|s| {
        let threads: Vec<_> = (0..threads as u64)
            .map(|t| {
                let (make, share) = (&make, limit / threads as u64);
                s.spawn(move || {
                    let mut op = make(t);
                    let mut rng = SmallRng::seed_from_u64(t + 1);
                    let mut out = Outcome::default();
                    let mut last = Instant::now();
                    while out.ops < share {
                        out.user_bytes += op(&mut rng)?;
                        out.ops += 1;
                        let now = Instant::now();
                        out.latencies.record((now - last).as_nanos() as u64);
                        last = now;
                        if deadline.is_some_and(|d| now - start > d) {
                            break;
                        }
                    }
                    Ok(out)
                })
            })
            .collect();
        threads
            .into_iter()
            .map(|t| t.join().expect("a worker does not panic unless an answer is wrong"))
            .collect()
    });
    let mut out = Outcome { seconds: start.elapsed().as_secs_f64(), ..Outcome::default() };
    for part in parts {
        let part = part?;
        out.ops += part.ops;
        out.user_bytes += part.user_bytes;
        out.latencies.merge(&part.latencies);
    }
    Ok(out)
}

/// YCSB's core workloads. Writes are not synced.
fn ycsb<S: Store>(letter: char, w: Workload, store: &S, values: &Values, size: Size) -> Result<Outcome> {
    let zipf = Zipf::new(size.keys);
    let inserted = AtomicU64::new(size.keys);
    // The lowest key that each thread may be inserting: below all of them every key is there.
    let inserting: Vec<AtomicU64> = (0..w.threads).map(|_| AtomicU64::new(u64::MAX)).collect();
    drive(w.threads, size.seconds, u64::MAX, |t| {
        let (zipf, inserted, inserting, mut value) = (&zipf, &inserted, &inserting, Vec::new());
        let mine = &inserting[t as usize];
        move |rng: &mut SmallRng| {
            let n = match letter {
                // D reads what was inserted last.
                'd' => {
                    let top = inserted.load(Ordering::SeqCst);
                    let top = inserting.iter().map(|i| i.load(Ordering::SeqCst)).fold(top, u64::min);
                    top - 1 - zipf.next(rng)
                }
                _ => zipf.next(rng),
            };
            let dice = rng.random_range(0..100);
            let (reads, scans) = match letter {
                'a' | 'f' => (50, 0),
                'b' | 'd' => (95, 0),
                'e' => (0, 95),
                _ => (100, 0),
            };
            if dice < scans {
                let limit = rng.random_range(1..=100);
                let mut bytes = 0;
                store.scan(&key(n), limit, |_, v| bytes += v.len())?;
                anyhow::ensure!(bytes > 0, "an empty scan from key {n}");
                return Ok(0);
            }
            if dice < reads || letter == 'f' {
                anyhow::ensure!(store.get(&key(n), |v| values.check(n, v))?, "key {n} is missing");
                if dice < reads {
                    return Ok(0);
                }
            }
            let n = match letter {
                'd' | 'e' => {
                    mine.store(inserted.load(Ordering::SeqCst), Ordering::SeqCst);
                    inserted.fetch_add(1, Ordering::SeqCst)
                }
                _ => n,
            };
            values.fill(n, rng.random(), &mut value);
            store.put(&key(n), &value, false)?;
            mine.store(u64::MAX, Ordering::SeqCst);
            Ok((crate::data::KEY_BYTES + value.len()) as u64)
        }
    })
}

/// A queue: append at the tail, find the head by a scan from the front, delete it. Deleted keys pile up where every scan begins.
fn queue<S: Store>(store: &S, values: &Values, size: Size) -> Result<Outcome> {
    let mut value = Vec::new();
    let place = |n: u64| n.to_be_bytes();
    let (mut head, mut tail) = (0, 0);
    while tail < QUEUE_DEPTH {
        values.fill(tail, tail, &mut value);
        store.put(&place(tail), &value, false)?;
        tail += 1;
    }
    let mut state = Some((value, &mut head, &mut tail));
    let state = std::sync::Mutex::new(state.take());
    drive(1, size.seconds, u64::MAX, |_| {
        let (mut value, head, tail) = state.lock().ok().and_then(|mut s| s.take()).expect("one thread");
        move |_: &mut SmallRng| {
            values.fill(*tail, *tail, &mut value);
            store.put(&place(*tail), &value, false)?;
            *tail += 1;
            let mut first = Vec::new();
            store.scan(&[0], 1, |k, _| first.extend_from_slice(k))?;
            anyhow::ensure!(first == place(*head), "the head of the queue is not {head}");
            store.delete(&first)?;
            *head += 1;
            Ok((8 + value.len() + 8) as u64)
        }
    })
}

/// A thousand partitions of which ten are hot: half reads, four tenths writes, one tenth scans of 20 within a partition.
fn partitions<S: Store>(w: Workload, store: &S, values: &Values, size: Size) -> Result<Outcome> {
    let per = (size.keys / PARTITIONS).max(1);
    let mut value = Vec::new();
    for i in 0..per * PARTITIONS {
        let (p, n) = (i % PARTITIONS, i / PARTITIONS);
        values.fill(n, i, &mut value);
        store.put(&partition_key(p, n), &value, false)?;
    }
    store.settle()?;
    let since = Moment::now()?;
    let out = drive(w.threads, size.seconds, u64::MAX, |_| {
        let mut value = Vec::new();
        move |rng: &mut SmallRng| {
            let hot = rng.random_range(0..100) < HOT_PERCENT;
            // The hot ones are not neighbours.
            let p = if hot {
                rng.random_range(0..PARTITIONS / 100) * 100
            } else {
                rng.random_range(0..PARTITIONS)
            };
            let n = rng.random_range(0..per);
            match rng.random_range(0..10) {
                0..5 => {
                    let found = store.get(&partition_key(p, n), |v| values.check(n, v))?;
                    anyhow::ensure!(found, "key {n} of partition {p} is missing");
                    Ok(0)
                }
                5 => {
                    store.scan(&partition_key(p, n), 20, |_, _| ())?;
                    Ok(0)
                }
                _ => {
                    values.fill(n, rng.random(), &mut value);
                    store.put(&partition_key(p, n), &value, false)?;
                    Ok((crate::data::KEY_BYTES + value.len()) as u64)
                }
            }
        }
    })?;
    Ok(Outcome { since: Some(since), ..out })
}

/// Two partitions, one of them large. While a writer goes on in the small one, the large one is dropped: how long the call took,
/// and when a tenth of its bytes was left. An operation is a write to the small partition.
fn drop_partition<S: Store>(
    store: &S,
    values: &Values,
    size: Size,
    folder_bytes: &(dyn Fn() -> u64 + Sync),
) -> Result<Outcome> {
    let mut value = Vec::new();
    let small = (size.keys / 10).max(1);
    let write = |p, n, salt, value: &mut Vec<u8>| {
        values.fill(n, salt, value);
        store.put(&partition_key(p, n), value, false)
    };
    for n in 0..small {
        write(1, n, n, &mut value)?;
    }
    store.settle()?;
    let before = folder_bytes();
    for n in 0..size.keys {
        write(2, n, n, &mut value)?;
    }
    store.settle()?;
    let large = folder_bytes().saturating_sub(before);
    let patience = (size.seconds * 20.0).min(70.0);
    let stop = AtomicBool::new(false);
    let since = Moment::now()?;
    let (writes, dropped) = std::thread::scope(|s| {
        let writer = s.spawn(|| {
            let (mut out, mut rng, mut value) = (Outcome::default(), SmallRng::seed_from_u64(1), Vec::new());
            let start = Instant::now();
            let mut last = start;
            while !stop.load(Ordering::Relaxed) {
                let n = rng.random_range(0..small);
                write(1, n, rng.random(), &mut value)?;
                out.ops += 1;
                out.user_bytes += value.len() as u64;
                let now = Instant::now();
                out.latencies.record((now - last).as_nanos() as u64);
                // A gentle writer: the point is the drop, not another fill.
                if out.ops % 64 == 0 {
                    std::thread::sleep(Duration::from_millis(1));
                }
                last = Instant::now();
            }
            out.seconds = start.elapsed().as_secs_f64();
            anyhow::Ok(out)
        });
        let dropped = (|| {
            let start = Instant::now();
            store.drop_range(&2u32.to_be_bytes(), &3u32.to_be_bytes())?;
            let call = start.elapsed();
            let gone = store.scan(&partition_key(2, 0)[..4], 1, |_, _| ())? == 0;
            anyhow::ensure!(gone, "the dropped partition still answers");
            let mut back = f64::INFINITY;
            while start.elapsed().as_secs_f64() < patience {
                if folder_bytes() < before + large / 10 {
                    back = start.elapsed().as_secs_f64();
                    break;
                }
                std::thread::sleep(Duration::from_millis(20));
            }
            anyhow::Ok((call, back))
        })();
        stop.store(true, Ordering::Relaxed);
        (writer.join().expect("the writer does not panic"), dropped)
    });
    let (call, back) = dropped?;
    let mut out = Outcome { since: Some(since), ..writes? };
    out.extra.push(("drop_call_ms", call.as_secs_f64() * 1e3));
    // JSON has no infinity: over the time waited means never.
    out.extra.push(("space_back_s", back.min(patience)));
    out.extra.push(("dropped_mib", large as f64 / (1 << 20) as f64));
    Ok(out)
}
