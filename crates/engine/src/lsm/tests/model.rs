//! Compares the engine with an ordered map under random batches, range deletes, snapshots, flushes,
//! compactions, ingests, checkpoints, restarts, power cuts and failing disks.
//!
//! Every batch also writes its own number under one fixed key. After a crash that key tells how many batches
//! survived. It must be at least as many as were durable, and the content must be exactly that of so many
//! whole batches.

use super::{DIR, open, separating, tiny};
use crate::Error;
use crate::env::{Env, SimEnv};
use crate::lsm::{Engine, EngineFaults, Options, Snapshot, TieredRanges, WriteBatch};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::collections::BTreeMap;
use std::path::Path;

const COUNT: &[u8] = b"!count";

type Map = BTreeMap<Vec<u8>, Vec<u8>>;

#[derive(Clone, Debug)]
enum Change {
    Put(Vec<u8>, Vec<u8>),
    Delete(Vec<u8>),
    DeleteRange(Vec<u8>, Vec<u8>),
}

fn apply(map: &mut Map, changes: &[Change]) {
    for change in changes {
        match change {
            Change::Put(k, v) => drop(map.insert(k.clone(), v.clone())),
            Change::Delete(k) => drop(map.remove(k)),
            Change::DeleteRange(a, b) if a < b => {
                let gone: Vec<Vec<u8>> = map.range(a.clone()..b.clone()).map(|(k, _)| k.clone()).collect();
                gone.iter().for_each(|k| drop(map.remove(k)));
            }
            Change::DeleteRange(..) => {}
        }
    }
}

fn encode(changes: &[Change]) -> WriteBatch {
    let mut batch = WriteBatch::new();
    for change in changes {
        match change {
            Change::Put(k, v) => batch.put(k, v),
            Change::Delete(k) => batch.delete(k),
            Change::DeleteRange(a, b) => batch.delete_range(a, b),
        }
    }
    batch
}

struct Run {
    rng: ChaCha8Rng,
    env: SimEnv,
    options: Options,
    engine: Engine,
    /// Writes go through the log; otherwise only to the memtable, as a consensus group's do.
    logged: bool,
    history: Vec<Vec<Change>>,
    model: Map,
    durable: usize,
    snapshots: Vec<(Snapshot, Map)>,
    trace: Vec<String>,
    seen: Seen,
}

/// What a run went through, so that a test can tell that it was not idle.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    restarts: u64,
    value_bytes_copied: u64,
    tiered_bytes_merged: u64,
    item_hits: u64,
}

impl Seen {
    fn add(&mut self, other: Seen) {
        self.restarts += other.restarts;
        self.value_bytes_copied += other.value_bytes_copied;
        self.tiered_bytes_merged += other.tiered_bytes_merged;
        self.item_hits += other.item_hits;
    }
}

impl Run {
    fn new(seed: u64, logged: bool, options: Options) -> Self {
        let env = SimEnv::new(seed);
        let engine = open(&env, options.clone()).unwrap();
        Self {
            rng: ChaCha8Rng::seed_from_u64(seed),
            env,
            options,
            engine,
            logged,
            history: Vec::new(),
            model: Map::new(),
            durable: 0,
            snapshots: Vec::new(),
            trace: Vec::new(),
            seen: Seen::default(),
        }
    }

    fn key(&mut self) -> Vec<u8> {
        let n: u32 = self.rng.random_range(0..150);
        let mut key = format!("k{n:03}").into_bytes();
        if self.rng.random_ratio(1, 6) {
            key.push(self.rng.random_range(0..3));
        }
        key
    }

    fn value(&mut self) -> Vec<u8> {
        let len = match self.rng.random_range(0..20) {
            0 => 3000,
            1..5 => 200,
            _ => 20,
        };
        let byte = self.rng.random();
        vec![byte; len]
    }

    fn change(&mut self) -> Change {
        match self.rng.random_range(0..20) {
            0 => {
                let (a, b) = (self.key(), self.key());
                Change::DeleteRange(a.clone().min(b.clone()), a.max(b))
            }
            1..5 => Change::Delete(self.key()),
            _ => Change::Put(self.key(), self.value()),
        }
    }

    fn changes(&mut self) -> Vec<Change> {
        let n = self.rng.random_range(1..12);
        let mut changes: Vec<Change> = (0..n).map(|_| self.change()).collect();
        // The count goes anywhere in the batch: half of one would show.
        let at = self.rng.random_range(0..=changes.len());
        let count = (self.history.len() + 1).to_string().into_bytes();
        changes.insert(at, Change::Put(COUNT.to_vec(), count));
        changes
    }

    fn accept(&mut self, changes: Vec<Change>) {
        apply(&mut self.model, &changes);
        self.history.push(changes);
    }

    /// One random operation. An error means that the disk failed: what follows is a restart.
    fn step(&mut self) -> crate::Result<()> {
        let dice = self.rng.random_range(0..100);
        match dice {
            0..50 => {
                let changes = self.changes();
                let batch = encode(&changes);
                if self.logged {
                    self.engine.write(&batch).map(drop)?
                } else {
                    self.engine.apply(&batch)?
                }
                self.accept(changes);
            }
            50..58 => {
                self.engine.log().sync_step()?;
                if self.logged {
                    self.durable = self.history.len();
                }
            }
            58..64 => {
                let epoch = self.engine.apply_epoch();
                self.engine.flush()?;
                assert!(self.engine.flushed_epoch() > epoch);
                self.durable = self.history.len();
            }
            64..80 => {
                self.engine.background_step()?;
            }
            80..82 => while self.engine.background_step()? {},
            82..84 => self.engine.compact_all()?,
            84..88 => {
                let snapshot = self.engine.snapshot();
                self.snapshots.push((snapshot, self.model.clone()));
            }
            88..91 => {
                if !self.snapshots.is_empty() {
                    let i = self.rng.random_range(0..self.snapshots.len());
                    self.snapshots.remove(i);
                }
            }
            91..93 => self.ingest()?,
            93..94 => self.checkpoint()?,
            94 => self.check_some()?,
            95 => self.change_tiers(),
            96 => {
                let problems = self.engine.verify();
                if let Some(e) = problems.into_iter().next() {
                    return Err(e);
                }
            }
            97 => {
                let nth = self.rng.random_range(1..30);
                if self.rng.random() {
                    self.env.fail_write(nth)
                } else {
                    self.env.fail_sync(nth)
                }
                self.trace.push(format!("  the disk will fail at {nth}"));
            }
            98 => self.restart(),
            _ => self.crash(),
        }
        self.trace.push(format!("{} of {} {dice}", self.durable, self.history.len()));
        self.check_hot()
    }

    /// Reads of a few keys after every step: often enough that they come from the item cache, which is small
    /// enough to be too small for all.
    fn check_hot(&mut self) -> crate::Result<()> {
        let first = self.rng.random_range(0..12);
        for key in (first..first + 4).map(|n| format!("k{:03}", n * 12).into_bytes()).chain([COUNT.to_vec()])
        {
            let got = self.engine.get(&key)?;
            assert_eq!(got.as_deref(), self.model.get(&key).map(Vec::as_slice), "{key:?}, asked for often");
        }
        Ok(())
    }

    /// Has a range change its style, if the seed has any.
    fn change_tiers(&mut self) {
        let tiered = self.options.tiered.clone();
        if tiered.list().is_empty() && self.history.len().is_multiple_of(2) {
            return;
        }
        let (a, b) = (self.key(), self.key());
        if self.rng.random_ratio(2, 3) {
            tiered.insert(a.clone().min(b.clone()).as_slice(), a.max(b).as_slice());
        } else if let Some((low, _)) = tiered.list().first() {
            tiered.remove(low);
        }
    }

    fn ingest(&mut self) -> crate::Result<()> {
        let mut entries = Map::new();
        for _ in 0..self.rng.random_range(0..40) {
            let (k, v) = (self.key(), self.value());
            entries.insert(k, v);
        }
        entries.insert(COUNT.to_vec(), (self.history.len() + 1).to_string().into_bytes());
        let before = self.history.len();
        match self.engine.ingest(&entries) {
            Ok(()) => {
                self.accept(entries.into_iter().map(|(k, v)| Change::Put(k, v)).collect());
                self.durable = self.history.len();
                Ok(())
            }
            Err(e) => {
                // It may or may not have become durable: after the restart either is right.
                assert_eq!(before, self.history.len());
                self.history.push(entries.into_iter().map(|(k, v)| Change::Put(k, v)).collect());
                Err(e)
            }
        }
    }

    fn checkpoint(&mut self) -> crate::Result<()> {
        let dir = format!("/checkpoint{}", self.history.len());
        if self.env.exists(Path::new(&dir))? {
            return Ok(());
        }
        self.engine.checkpoint(Path::new(&dir))?;
        self.durable = self.history.len();
        let copy =
            Engine::open(std::sync::Arc::new(self.env.clone()), Path::new(&dir), self.options.clone())?;
        assert_eq!(scan(&copy, b"", b"", false, None)?, self.model.clone().into_iter().collect::<Vec<_>>());
        let mut batch = WriteBatch::new();
        batch.put(b"only", b"in the copy");
        copy.write(&batch)?;
        copy.flush()
    }

    fn note_metrics(&mut self) {
        let m = self.engine.metrics();
        self.seen.value_bytes_copied += m.value_copied_bytes;
        self.seen.tiered_bytes_merged += m.tiered_again_bytes;
        self.seen.item_hits += m.item_hits;
    }

    fn restart(&mut self) {
        self.snapshots.clear();
        self.note_metrics();
        let closed = self.engine.close().is_ok();
        let (env, options) = (self.env.clone(), self.options.clone());
        // The old engine must go before the new one can have the lock.
        env.kill();
        self.engine = open(&env, options).unwrap();
        if closed && self.logged {
            self.durable = self.history.len();
        }
        self.after_restart("restart");
    }

    fn crash(&mut self) {
        self.snapshots.clear();
        self.note_metrics();
        let seed = self.rng.random();
        self.env.crash(seed);
        self.engine = open(&self.env, self.options.clone()).unwrap();
        self.after_restart("crash");
    }

    fn after_restart(&mut self, how: &str) {
        self.seen.restarts += 1;
        let count = self.engine.get(COUNT).unwrap();
        let count: usize = count.map_or(0, |c| String::from_utf8(c.to_vec()).unwrap().parse().unwrap());
        self.trace.push(format!("  {how}: {count} of {}..={} survived", self.durable, self.history.len()));
        assert!(
            self.durable <= count && count <= self.history.len(),
            "{how}: {count} batches survived, {} were durable, {} written",
            self.durable,
            self.history.len()
        );
        self.history.truncate(count);
        self.durable = self.durable.min(count);
        self.model = Map::new();
        for changes in &self.history {
            apply(&mut self.model, changes);
        }
        self.check_all().unwrap();
    }

    fn check_all(&self) -> crate::Result<()> {
        let want: Vec<(Vec<u8>, Vec<u8>)> = self.model.clone().into_iter().collect();
        assert_eq!(scan(&self.engine, b"", b"", false, None)?, want);
        for (snapshot, model) in &self.snapshots {
            let want: Vec<(Vec<u8>, Vec<u8>)> = model.clone().into_iter().collect();
            assert_eq!(scan(&self.engine, b"", b"", false, Some(snapshot))?, want, "at {snapshot:?}");
        }
        Ok(())
    }

    fn check_some(&mut self) -> crate::Result<()> {
        for _ in 0..30 {
            let (a, b) = (self.key(), self.key());
            let (start, end) = (a.clone().min(b.clone()), a.max(b));
            let pick = self.rng.random_range(0..=self.snapshots.len());
            let (snapshot, model) = match self.snapshots.get(pick) {
                Some((s, m)) => (Some(s), m),
                None => (None, &self.model),
            };
            let got = match snapshot {
                Some(s) => self.engine.get_at(&start, s)?,
                None => self.engine.get(&start)?,
            };
            assert_eq!(got.as_deref(), model.get(&start).map(Vec::as_slice), "{start:?} at {snapshot:?}");
            let end = if self.rng.random_ratio(1, 5) { Vec::new() } else { end };
            let want: Vec<(Vec<u8>, Vec<u8>)> = model
                .range(start.clone()..)
                .take_while(|(k, _)| end.is_empty() || **k < end)
                .map(|(k, v)| (k.clone(), v.clone()))
                .collect();
            assert_eq!(scan(&self.engine, &start, &end, false, snapshot)?, want);
            let mut back = scan(&self.engine, &start, &end, true, snapshot)?;
            back.reverse();
            assert_eq!(back, want);
        }
        Ok(())
    }
}

fn scan(
    engine: &Engine,
    start: &[u8],
    end: &[u8],
    reverse: bool,
    snapshot: Option<&Snapshot>,
) -> crate::Result<Vec<(Vec<u8>, Vec<u8>)>> {
    let items = engine.scan(start, end, reverse, snapshot);
    items.map(|item| item.map(|i| (i.key.to_vec(), i.value.to_vec()))).collect()
}

fn check(seed: u64, logged: bool, steps: usize) -> Seen {
    check_with(seed, logged, steps, shape(seed))
}

/// What a seed runs with: the shapes of the tree take turns.
fn shape(seed: u64) -> Options {
    let options = match seed % 3 {
        0 => tiny(),
        1 => separating(150),
        _ => separating(15),
    };
    tiers(seed, options)
}

/// Half of the seeds have size-tiered ranges, which come and go.
fn tiers(seed: u64, options: Options) -> Options {
    let tiered = TieredRanges::default();
    if seed / 3 % 2 == 1 {
        tiered.insert(b"k03", b"k07");
        tiered.insert(b"k07", b"k09");
    }
    Options { tiered, ..options }
}

fn check_with(seed: u64, logged: bool, steps: usize, options: Options) -> Seen {
    let mut run = Run::new(seed, logged, options);
    let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        for _ in 0..steps {
            if let Err(e) = run.step() {
                run.trace.push(format!("  {e}"));
                // A failing disk explains failing operations, never wrong bytes.
                assert!(matches!(e, Error::Io { .. } | Error::Poisoned), "{e}");
                run.crash();
            }
        }
        run.check_all().or_else(|_| {
            run.crash();
            run.check_all()
        })
    }));
    match result {
        Ok(done) => done.unwrap(),
        Err(panic) => {
            let tail: Vec<&String> = run.trace.iter().rev().take(30).collect();
            println!("seed {seed}, logged {logged}, after step {}:", run.trace.len());
            tail.into_iter().rev().for_each(|t| println!("{t}"));
            let mut names = run.env.list(Path::new(DIR)).unwrap_or_default();
            names.extend(run.env.list(&Path::new(DIR).join("tables")).unwrap_or_default());
            println!("{names:?} {:#?}", run.engine.metrics());
            std::panic::resume_unwind(panic);
        }
    }
    run.note_metrics();
    run.seen
}

/// Seeds and steps; `TORC_MODEL_SEEDS=from..to` runs others.
fn seeds() -> std::ops::Range<u64> {
    let text = std::env::var("TORC_MODEL_SEEDS").unwrap_or_default();
    let parsed = text.split_once("..").and_then(|(a, b)| Some(a.parse().ok()?..b.parse().ok()?));
    parsed.unwrap_or(0..60)
}

fn check_seeds(first: u64, logged: bool) {
    let mut seen = Seen::default();
    seeds().for_each(|seed| seen.add(check(first + seed, logged, 400)));
    println!("{} runs of 400 steps: {seen:?}", seeds().count());
    assert!(seen.restarts > 0 && seen.item_hits > 0, "{seen:?}");
    // A few seeds may be of one shape.
    if seeds().count() >= 12 {
        assert!(seen.value_bytes_copied > 0 && seen.tiered_bytes_merged > 0, "{seen:?}");
    }
}

#[test]
fn logged_writes_agree_with_an_ordered_map() {
    check_seeds(0, true);
}

#[test]
fn applied_writes_agree_with_an_ordered_map() {
    check_seeds(1_000_000, false);
}

#[test]
fn planted_bugs_are_found() {
    let none = EngineFaults::default();
    let planted = [
        ("a deleted key comes back", EngineFaults { dropped_tombstone: true, ..none }),
        ("a pointer into a file that is gone", EngineFaults { dangling_pointers: true, ..none }),
        ("an item that is no longer true", EngineFaults { stale_items: true, ..none }),
    ];
    for (name, faults) in planted {
        let found = (0..30).find(|seed| {
            let run = || check_with(*seed, true, 400, Options { faults, ..shape(*seed) });
            std::panic::catch_unwind(run).is_err()
        });
        println!("{name}: found by seed {found:?}");
        assert!(found.is_some(), "{name}: must show");
    }
}
