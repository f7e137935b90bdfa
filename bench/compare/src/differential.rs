//! Torc's engine and RocksDB do the same random operations and must answer the same: batches of writes and range deletes, reads and
//! scans in both directions of now and of snapshots, flushes, compactions and restarts. What neither of them was told by an author of
//! Torc is decided by RocksDB.
//!
//! One seed is one story. Torc runs with sizes so small that every level, value files and size-tiered ranges are in use.

use anyhow::{Context, Result, bail, ensure};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use rocksdb::{DB, IteratorMode, ReadOptions};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use torc_engine::env::RealEnv;
use torc_engine::lsm::{EngineFaults, TieredRanges};
use torc_engine::{Engine, Options, WriteBatch};

/// What to run.
pub struct Settings {
    pub seed: u64,
    /// Operations; a batch of writes is one.
    pub ops: u64,
    pub dir: PathBuf,
    /// A bug planted in Torc, which must show.
    pub planted: EngineFaults,
}

/// Key and value, in the order of a scan.
type Pairs = Vec<(Vec<u8>, Vec<u8>)>;

/// How often each thing was done.
#[derive(Debug, Default)]
struct Done {
    batches: u64,
    writes: u64,
    range_deletes: u64,
    reads: u64,
    scans: u64,
    pairs: u64,
    flushes: u64,
    compactions: u64,
    restarts: u64,
    whole: u64,
}

fn torc_options(seed: u64) -> Options {
    let tiered = TieredRanges::default();
    if seed % 2 == 1 {
        tiered.insert(b"key2", b"key4");
        tiered.insert(b"key6", b"key7");
    }
    Options {
        memtable_bytes: (64 << 10) << (seed % 3),
        cache_bytes: 1 << 20,
        segment_bytes: 1 << 20,
        table_bytes: 64 << 10,
        block_bytes: 1 << 10,
        level_base_bytes: 256 << 10,
        separate_bytes: [1000, 120, 32 << 10][seed as usize / 2 % 3],
        value_file_bytes: 256 << 10,
        tiered,
        ..Options::default()
    }
}

fn rocks_options() -> rocksdb::Options {
    let mut o = rocksdb::Options::default();
    o.create_if_missing(true);
    o.set_write_buffer_size(256 << 10);
    o.set_target_file_size_base(128 << 10);
    o.set_max_bytes_for_level_base(512 << 10);
    o
}

fn key(rng: &mut SmallRng) -> Vec<u8> {
    let n: u32 = rng.random_range(0..8000);
    let mut key = format!("key{n:04}").into_bytes();
    match rng.random_range(0..12) {
        0 => key.push(rng.random_range(0..3)),
        1 => key.truncate(rng.random_range(3..7)),
        _ => {}
    }
    key
}

fn value(rng: &mut SmallRng) -> Vec<u8> {
    let len = match rng.random_range(0..50) {
        0 => rng.random_range(5000..40_000),
        1..8 => rng.random_range(100..1500),
        _ => rng.random_range(0..60),
    };
    let step: u8 = rng.random();
    (0..len).map(|i| (i as u8).wrapping_mul(step)).collect()
}

/// An ascending pair of keys, near each other more often than not.
fn bounds(rng: &mut SmallRng) -> (Vec<u8>, Vec<u8>) {
    let a = key(rng);
    let b = match rng.random_range(0..4) {
        0 => key(rng),
        n => [&a[..a.len().saturating_sub(n).max(1)], b"~"].concat(),
    };
    (a.clone().min(b.clone()), a.max(b))
}

/// Both databases between two restarts, and the snapshots that both took at the same moments.
struct Pair<'a> {
    torc: &'a Engine,
    rocks: &'a DB,
    snapshots: Vec<(torc_engine::Snapshot, rocksdb::Snapshot<'a>)>,
}

impl Pair<'_> {
    /// Chooses now or a snapshot.
    fn moment(&self, rng: &mut SmallRng) -> Option<usize> {
        rng.random_range(0..=self.snapshots.len()).checked_sub(1)
    }

    fn write(&self, rng: &mut SmallRng, done: &mut Done) -> Result<()> {
        let (mut a, mut b) = (WriteBatch::new(), rocksdb::WriteBatch::default());
        for _ in 0..rng.random_range(1..20) {
            done.writes += 1;
            match rng.random_range(0..100) {
                0 => {
                    let (from, to) = bounds(rng);
                    if from < to {
                        a.delete_range(&from, &to);
                        b.delete_range(&from, &to);
                        done.range_deletes += 1;
                    }
                }
                1..20 => {
                    let k = key(rng);
                    a.delete(&k);
                    b.delete(&k);
                }
                _ => {
                    let (k, v) = (key(rng), value(rng));
                    a.put(&k, &v);
                    b.put(&k, &v);
                }
            }
        }
        self.torc.write_buffered(&a)?;
        self.rocks.write(b)?;
        Ok(())
    }

    fn read(&self, rng: &mut SmallRng) -> Result<()> {
        let k = key(rng);
        let at = self.moment(rng);
        let (got, want) = match at.map(|i| &self.snapshots[i]) {
            Some((t, r)) => (self.torc.get_at(&k, t)?, r.get(&k)?),
            None => (self.torc.get(&k)?, self.rocks.get(&k)?),
        };
        ensure!(
            got.as_deref() == want.as_deref(),
            "key {} at {at:?}: Torc has {:?} bytes, RocksDB {:?}",
            String::from_utf8_lossy(&k),
            got.map(|v| v.len()),
            want.map(|v| v.len())
        );
        Ok(())
    }

    fn rocks_scan(&self, start: &[u8], end: &[u8], reverse: bool, at: Option<usize>) -> Result<Pairs> {
        let mut options = ReadOptions::default();
        if !start.is_empty() {
            options.set_iterate_lower_bound(start);
        }
        if !end.is_empty() {
            options.set_iterate_upper_bound(end);
        }
        let mode = if reverse { IteratorMode::End } else { IteratorMode::Start };
        let collect = |items: &mut dyn Iterator<Item = std::result::Result<_, rocksdb::Error>>| {
            items
                .map(|item: std::result::Result<(Box<[u8]>, Box<[u8]>), _>| {
                    item.map(|(k, v)| (k.into_vec(), v.into_vec()))
                })
                .collect::<std::result::Result<Pairs, _>>()
        };
        Ok(match at {
            Some(i) => collect(&mut self.snapshots[i].1.iterator_opt(mode, options))?,
            None => collect(&mut self.rocks.iterator_opt(mode, options))?,
        })
    }

    fn scan(&self, start: &[u8], end: &[u8], reverse: bool, at: Option<usize>) -> Result<u64> {
        let items = self.torc.scan(start, end, reverse, at.map(|i| &self.snapshots[i].0));
        let got: Pairs =
            items.map(|i| i.map(|i| (i.key.to_vec(), i.value.to_vec()))).collect::<Result<_, _>>()?;
        let want = self.rocks_scan(start, end, reverse, at)?;
        if got != want {
            let differ = |(a, b): (&(Vec<u8>, Vec<u8>), &(Vec<u8>, Vec<u8>))| a != b;
            let first =
                got.iter().zip(&want).position(|pair| differ(pair)).unwrap_or(got.len().min(want.len()));
            let show = |p: Option<&(Vec<u8>, Vec<u8>)>| {
                p.map(|(k, v)| format!("{} ({} bytes)", String::from_utf8_lossy(k), v.len()))
            };
            bail!(
                "scan {}..{} reverse {reverse} at {at:?}: {} pairs of Torc, {} of RocksDB; pair {first} is {:?} and {:?}",
                String::from_utf8_lossy(start),
                String::from_utf8_lossy(end),
                got.len(),
                want.len(),
                show(got.get(first)),
                show(want.get(first))
            );
        }
        Ok(got.len() as u64)
    }

    fn compare_all(&self, done: &mut Done) -> Result<()> {
        done.pairs += self.scan(b"", b"", false, None)?;
        for at in 0..self.snapshots.len() {
            done.pairs += self.scan(b"", b"", at % 2 == 1, Some(at))?;
        }
        done.whole += 1;
        if let Some(e) = self.torc.verify().into_iter().next() {
            return Err(e).context("verify");
        }
        Ok(())
    }
}

/// Operations until the next restart, or the end.
fn life(torc: &Engine, rocks: &DB, rng: &mut SmallRng, left: &mut u64, done: &mut Done) -> Result<()> {
    let mut pair = Pair { torc, rocks, snapshots: Vec::new() };
    while *left > 0 {
        *left -= 1;
        match rng.random_range(0..10_000) {
            0..5000 => {
                pair.write(rng, done)?;
                done.batches += 1;
            }
            5000..8000 => {
                pair.read(rng)?;
                done.reads += 1;
            }
            8000..9600 => {
                let ((start, end), reverse) = (bounds(rng), rng.random());
                let at = pair.moment(rng);
                done.pairs += pair.scan(&start, &end, reverse, at)?;
                done.scans += 1;
            }
            9600..9780 => {
                if pair.snapshots.len() < 6 {
                    pair.snapshots.push((torc.snapshot(), rocks.snapshot()));
                }
            }
            9780..9950 => {
                if !pair.snapshots.is_empty() {
                    let gone = rng.random_range(0..pair.snapshots.len());
                    drop(pair.snapshots.swap_remove(gone));
                }
            }
            9950..9990 => {
                torc.flush()?;
                rocks.flush()?;
                done.flushes += 1;
            }
            9990..9994 => {
                torc.compact_all()?;
                rocks.compact_range::<&[u8], &[u8]>(None, None);
                done.compactions += 1;
            }
            9994..9997 => pair.compare_all(done)?,
            _ => break,
        }
    }
    pair.compare_all(done)
}

/// Runs one story; an error says where the two differ.
pub fn run(s: &Settings) -> Result<String> {
    let (a, b) = (s.dir.join("torc"), s.dir.join("rocksdb"));
    for dir in [&a, &b] {
        std::fs::create_dir_all(dir)?;
    }
    let mut rng = SmallRng::seed_from_u64(s.seed);
    let mut left = s.ops;
    let mut done = Done::default();
    let mut seen: BTreeMap<&str, u64> = BTreeMap::new();
    let options = Options { faults: s.planted, ..torc_options(s.seed) };
    while left > 0 {
        let torc = Engine::open(Arc::new(RealEnv::new()), Path::new(&a), options.clone())?;
        let rocks = DB::open(&rocks_options(), &b)?;
        life(&torc, &rocks, &mut rng, &mut left, &mut done)
            .with_context(|| format!("seed {}, {} operations before the end", s.seed, left))?;
        let m = torc.metrics();
        for (name, n) in [
            ("bytes of values copied", m.value_copied_bytes),
            ("tiered bytes merged", m.tiered_again_bytes),
            ("compactions", m.compactions),
            ("flushes", m.flushes),
        ] {
            *seen.entry(name).or_default() += n;
        }
        torc.close()?;
        done.restarts += 1;
    }
    Ok(format!("seed {}: the same in all of {done:?}; in Torc: {seen:?}", s.seed))
}
