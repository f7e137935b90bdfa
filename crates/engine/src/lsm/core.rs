//! The engine's internal state, shared by its handles and its threads, with the write path and the read path.
//!
//! Readers load one pointer, the [`ReadState`], and never wait. A writer holds one lock. Under it a batch
//! gets its sequence numbers, goes to the log and into the memtable, and becomes visible as a whole. Every
//! change of the set of memtables or tables publishes a new [`ReadState`].

use super::batch::{Op, WriteBatch};
use super::bloom;
use super::budget::IoBudget;
use super::cache::BlockCache;
use super::files::TableFolder;
use super::items::ItemCache;
use super::key::{KIND_DELETE, KIND_PUT, MAX_SEQ};
use super::manifest::Manifest;
use super::memory::Shares;
use super::memtable::{GetOutcome, MemPool, Memtable};
use super::picker::{PickerOptions, Running, Targets, debt_bytes, scores, targets};
use super::snapshot::Snapshots;
use super::table::TableLayout;
use super::throttle::{Pressure, Throttle};
use super::tiered::{Split, Tiered};
use super::values::{ValueLayout, collect};
use super::version::{LEVELS, Version, VersionEdit};
use super::{Background, Options};
use crate::log::{ENGINE_STREAM, Record};
use crate::sync::{ArcSwap, Condvar, Mutex, lock_brief};
use crate::{Env, Error, Log, Lsn, Result};
use bytes::Bytes;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Largest batch, encoded, bytes.
pub const MAX_BATCH_BYTES: usize = 256 << 20;
/// Memtables waiting for their flush at which writers stop (threads) or, if the disk is full, are refused.
pub(crate) const MAX_IMMUTABLES: usize = 8;
/// Tables in level 0 that count as full pressure.
const L0_LIMIT: f64 = 36.0;
/// Tables in level 0 that cost writers nothing.
const L0_FREE: f64 = 12.0;

/// A number by which one thread tells others how far it is.
pub(crate) type Published = crate::sync::atomic::AtomicU64;

/// What a reader needs, immutable.
pub(crate) struct ReadState {
    pub(crate) active: Arc<Memtable>,
    /// Waiting for their flush, newest first.
    pub(crate) immutables: Vec<Arc<Memtable>>,
    pub(crate) version: Arc<Version>,
}

impl ReadState {
    /// All memtables, newest first.
    pub(crate) fn memtables(&self) -> impl Iterator<Item = &Arc<Memtable>> {
        std::iter::once(&self.active).chain(&self.immutables)
    }

    /// The newest version of a key visible at `seq`.
    pub(crate) fn get(&self, key: &[u8], seq: u64) -> Result<Option<Bytes>> {
        match self.recent(key, seq) {
            Some(known) => Ok(known),
            None => self.in_tables(key, bloom::key_hash(key), seq),
        }
    }

    /// What the memtables say about a key: its value, or that it has none. `None` if they say nothing.
    #[inline]
    fn recent(&self, key: &[u8], seq: u64) -> Option<Option<Bytes>> {
        for mem in self.memtables() {
            match mem.get(key, seq) {
                GetOutcome::Value(v) => return Some(Some(v)),
                GetOutcome::Deleted => return Some(None),
                GetOutcome::Missing => {}
                GetOutcome::Separated(_) => unreachable!("a memtable holds its values"),
            }
        }
        None
    }

    /// The newest version of a key in tables that is visible at `seq`. `hash` is the filter hash of the key.
    #[inline]
    fn in_tables(&self, key: &[u8], hash: u64, seq: u64) -> Result<Option<Bytes>> {
        match self.version.get(key, hash, seq)? {
            GetOutcome::Value(v) => Ok(Some(v)),
            GetOutcome::Deleted | GetOutcome::Missing => Ok(None),
            GetOutcome::Separated(_) => unreachable!("a version resolves its pointers"),
        }
    }
}

/// Whether and when a batch goes to the engine's own log stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Logging {
    /// Not logged here: the caller has it in another stream.
    None,
    /// Written to disk together with later batches.
    Buffered,
    /// Written to disk now; the write does not wait for it.
    Synced,
    /// Durable when the write returns.
    Awaited,
}

/// What the picker computed for a version.
pub(crate) struct Shape {
    pub(crate) targets: Targets,
    pub(crate) scores: [u64; LEVELS],
    pub(crate) debt_bytes: u64,
    pub(crate) tiered: Vec<Tiered>,
}

/// What the write lock guards.
pub(crate) struct Writer {
    /// Last sequence number given out.
    pub(crate) last_seq: u64,
    /// Last index used in the engine's own log stream.
    pub(crate) last_index: u64,
}

/// What the manifest lock guards.
pub(crate) struct ManifestState {
    pub(crate) manifest: Manifest,
    pub(crate) log_index: u64,
    pub(crate) last_seq: u64,
}

/// Compactions under way.
#[derive(Default)]
pub(crate) struct Compactions {
    pub(crate) running: Vec<Running>,
    pub(crate) next_id: u64,
    /// A rewrite that gathers values is among them.
    pub(crate) collecting: bool,
    /// A manual compaction or a change of the whole tree is under way: start no other.
    pub(crate) paused: usize,
}

/// Wakes the engine's threads and those who wait for them.
#[derive(Default)]
pub(crate) struct Signal {
    generation: Mutex<u64>,
    changed: Condvar,
}

impl Signal {
    pub(crate) fn notify(&self) {
        *self.generation.lock() += 1;
        self.changed.notify_all();
    }

    pub(crate) fn generation(&self) -> u64 {
        *self.generation.lock()
    }

    /// Waits until the generation is no longer `seen`, or for so long; false if that time has passed.
    pub(crate) fn wait(&self, seen: u64, timeout: Option<std::time::Duration>) -> bool {
        let mut generation = self.generation.lock();
        while *generation == seen {
            match timeout {
                Some(timeout) => {
                    if self.changed.wait_for(&mut generation, timeout).timed_out() {
                        return false;
                    }
                }
                None => self.changed.wait(&mut generation),
            }
        }
        true
    }
}

/// Counters since the engine was opened.
#[derive(Default)]
pub(crate) struct Counters {
    pub(crate) flushes: AtomicU64,
    pub(crate) flush_bytes: AtomicU64,
    pub(crate) compactions: AtomicU64,
    pub(crate) moves: AtomicU64,
    pub(crate) compaction_read_bytes: AtomicU64,
    pub(crate) compaction_write_bytes: AtomicU64,
    /// Bytes of value files that flushes and ingests, and that compactions wrote; records copied from one
    /// file to another. Bytes of tables in tiered ranges that compactions wrote: out of level 0, and out of
    /// runs that were there.
    pub(crate) tiered_first_bytes: AtomicU64,
    pub(crate) tiered_again_bytes: AtomicU64,
    pub(crate) value_flush_bytes: AtomicU64,
    pub(crate) value_compaction_bytes: AtomicU64,
    pub(crate) value_copied_bytes: AtomicU64,
    pub(crate) user_bytes: AtomicU64,
    /// Bytes that flushes and compactions wrote into each level, and compactions read from it.
    pub(crate) written: [AtomicU64; LEVELS],
    pub(crate) read: [AtomicU64; LEVELS],
    /// Times that a writer had to wait for a flush.
    pub(crate) stops: AtomicU64,
}

/// See the module's comment.
pub(crate) struct Core {
    pub(crate) env: Arc<dyn Env>,
    pub(crate) dir: PathBuf,
    pub(crate) options: Options,
    pub(crate) shares: Shares,
    pub(crate) folder: Arc<TableFolder>,
    pub(crate) cache: Arc<BlockCache>,
    pub(crate) items: ItemCache,
    pub(crate) log: Log,
    pub(crate) pool: Arc<MemPool>,
    pub(crate) state: ArcSwap<ReadState>,
    /// Serialises changes of `state`.
    pub(crate) state_lock: Mutex<()>,
    pub(crate) writer: Mutex<Writer>,
    /// Every write at or below this number is complete.
    pub(crate) visible: Published,
    pub(crate) snapshots: Snapshots,
    pub(crate) manifest: Mutex<ManifestState>,
    pub(crate) next_file: AtomicU64,
    /// One flush at a time.
    pub(crate) flush_lock: Mutex<()>,
    pub(crate) compactions: Mutex<Compactions>,
    pub(crate) flushed_epoch: Published,
    pub(crate) signal: Signal,
    pub(crate) throttle: Throttle,
    pub(crate) budget: Arc<IoBudget>,
    pub(crate) disk_full: AtomicBool,
    /// The active memtable holds a range delete that frees whole tables once it is in a table itself: flushed
    /// without waiting for it to fill.
    pub(crate) flush_soon: AtomicBool,
    pub(crate) closed: Arc<AtomicBool>,
    pub(crate) counters: Counters,
    /// Held until the last handle is gone.
    pub(crate) _lock: Box<dyn Send + Sync>,
}

impl Core {
    pub(crate) fn layout(&self) -> TableLayout {
        TableLayout {
            block_bytes: self.options.block_bytes,
            compression: self.options.compression,
            bits_per_key: self.options.bloom_bits_per_key,
        }
    }

    pub(crate) fn value_layout(&self) -> ValueLayout {
        ValueLayout {
            separate_bytes: self.options.separate_bytes,
            file_bytes: self.options.value_file_bytes,
            compression: self.options.compression,
            skip_sync: self.options.faults.skip_value_sync,
        }
    }

    pub(crate) fn picker_options(&self) -> PickerOptions {
        PickerOptions { base_bytes: self.options.level_base_bytes, busy: false }
    }

    /// Logs and applies a batch. The log number is 0 if it was not logged.
    pub(crate) fn write(&self, batch: &WriteBatch, logging: Logging) -> Result<Lsn> {
        let logged = logging != Logging::None;
        let bytes = batch.as_bytes().len();
        if bytes > MAX_BATCH_BYTES {
            return Err(self.refusal(std::io::ErrorKind::InvalidInput, "a batch is larger than 256 MiB"));
        }
        let payload = if logged { batch.encode() } else { Bytes::new() };
        self.make_room(bytes)?;
        let mut writer = lock_brief(&self.writer);
        let mut lsn = 0;
        if logged {
            let index = writer.last_index + 1;
            let record = [Record::Entry { stream: ENGINE_STREAM, index, payload }];
            lsn = match logging {
                Logging::Buffered => self.log.append_buffered(&record)?,
                Logging::None | Logging::Synced => self.log.append(&record)?,
                Logging::Awaited => self.log.append_and_wait_later(&record)?,
            };
            writer.last_index = index;
        }
        self.insert(&mut writer, batch, logged);
        drop(writer);
        match logging {
            Logging::Buffered => self.log.wait_for_room(lsn)?,
            Logging::Awaited => self.log.wait(lsn)?,
            Logging::None | Logging::Synced => {}
        }
        Ok(lsn)
    }

    /// Puts a batch into the memtable and publishes it.
    pub(crate) fn insert(&self, writer: &mut Writer, batch: &WriteBatch, logged: bool) {
        let state = self.state.load();
        let mem = &state.active;
        let mut seq = writer.last_seq;
        let mut frees_tables = false;
        if self.options.faults.early_publication {
            self.visible.store(seq + batch.len() as u64, Ordering::Release);
        }
        for op in batch {
            seq += 1;
            match op {
                Op::Put { key, value } => mem.insert(key, seq, KIND_PUT, value),
                Op::Delete { key } => mem.insert(key, seq, KIND_DELETE, &[]),
                Op::DeleteRange { start, end } => {
                    mem.delete_range(start, end, seq);
                    frees_tables |= state.version.holds_table_within(start, end);
                }
            }
        }
        assert!(seq <= MAX_SEQ, "2^60 writes");
        if logged {
            mem.set_log_index(writer.last_index);
        }
        writer.last_seq = seq;
        self.visible.store(seq, Ordering::Release);
        self.counters.user_bytes.fetch_add(batch.as_bytes().len() as u64, Ordering::Relaxed);
        if mem.bytes() >= self.shares.memtable_bytes {
            self.rotate();
        } else if frees_tables {
            self.flush_soon.store(true, Ordering::Relaxed);
            self.signal.notify();
        }
    }

    /// Closes the active memtable and starts a new one. Under the write lock.
    pub(crate) fn rotate(&self) {
        self.flush_soon.store(false, Ordering::Relaxed);
        {
            let _guard = self.state_lock.lock();
            let old = self.state.load_full();
            let mut immutables = Vec::with_capacity(old.immutables.len() + 1);
            immutables.push(old.active.clone());
            immutables.extend(old.immutables.iter().cloned());
            let active = Arc::new(Memtable::new(old.active.epoch + 1, self.pool.clone()));
            // The new memtable also covers every log entry that the closed memtable covers.
            active.set_log_index(old.active.log_index());
            self.state.store(Arc::new(ReadState { active, immutables, version: old.version.clone() }));
        }
        self.update_pressure();
        self.signal.notify();
    }

    /// Slows the writer down in proportion to the compaction debt, and blocks it while too many memtables
    /// wait for their flush.
    fn make_room(&self, bytes: usize) -> Result<()> {
        if self.closed.load(Ordering::Relaxed) {
            return Err(self.refusal(std::io::ErrorKind::NotConnected, "the engine is closed"));
        }
        if self.options.background == Background::Threads
            && let Some(pause) = self.throttle.charge(bytes)
        {
            // Only an engine with background threads slows its writers down, so the simulation never runs
            // this code.
            #[allow(clippy::disallowed_methods)]
            std::thread::sleep(pause);
        }
        if self.state.load().immutables.len() < self.shares.max_waiting {
            return Ok(());
        }
        loop {
            let seen = self.signal.generation();
            if self.state.load().immutables.len() < self.shares.max_waiting {
                return Ok(());
            }
            if self.disk_full.load(Ordering::Relaxed) {
                return Err(Error::DiskFull { path: self.folder.dir.clone() });
            }
            if self.closed.load(Ordering::Relaxed) {
                return Err(self.refusal(std::io::ErrorKind::NotConnected, "the engine is closed"));
            }
            if self.options.background == Background::Manual {
                return Ok(());
            }
            self.counters.stops.fetch_add(1, Ordering::Relaxed);
            self.signal.wait(seen, Some(std::time::Duration::from_millis(100)));
        }
    }

    fn refusal(&self, kind: std::io::ErrorKind, detail: &'static str) -> Error {
        Error::Io { op: "write", path: self.dir.clone(), source: std::io::Error::new(kind, detail) }
    }

    /// The state and the sequence number for a read of the newest data. The state is loaded first: a write
    /// between the two steps is newer than the start of the read, and every older write is in the state. The
    /// item cache's epoch is read before both; its module's comment says why its answer may then be used.
    pub(crate) fn get(&self, key: &[u8]) -> Result<Option<Bytes>> {
        let epoch = self.items.epoch();
        let state = self.state.load();
        let seq = self.visible.load(Ordering::Acquire);
        if let Some(known) = state.recent(key, seq) {
            return Ok(known);
        }
        let hash = bloom::key_hash(key);
        if let Some(value) = self.items.get(key, hash) {
            return Ok(Some(value));
        }
        let found = state.in_tables(key, hash, seq)?;
        if let Some(value) = &found {
            self.items.offer(key, hash, value, epoch);
        }
        Ok(found)
    }

    /// Makes an edit durable and then visible. The memtable `flushed` leaves the waiting memtables in the
    /// same step. A caller that adds newer data to the tables must have told the item cache before; a
    /// compaction adds none.
    pub(crate) fn install(&self, mut edit: VersionEdit, flushed: Option<&Arc<Memtable>>) -> Result<()> {
        let mut m = self.manifest.lock();
        edit.next_file = Some(self.next_file.load(Ordering::Relaxed));
        let old = self.state.load_full().version.clone();
        let version = old.apply(&edit, &self.folder).map_err(|detail| Error::Corrupt {
            what: "version edit",
            path: self.dir.clone(),
            offset: 0,
            detail,
        })?;
        let log_index = edit.log_index.unwrap_or(0).max(m.log_index);
        let last_seq = edit.last_seq.unwrap_or(0).max(m.last_seq);
        let next_file = edit.next_file;
        let snapshot = || snapshot_edit(&version, log_index, last_seq, next_file);
        m.manifest.append(&edit, snapshot)?;
        (m.log_index, m.last_seq) = (log_index, last_seq);
        for &(level, number) in &edit.removed {
            let moved = edit.added.iter().any(|(_, f)| f.number == number);
            if let Some(file) = old.levels[level].files.iter().find(|f| f.meta.number == number)
                && !moved
            {
                file.mark_obsolete();
            }
        }
        for (number, live) in &old.values {
            if !version.values.contains_key(number) {
                live.file.mark_obsolete();
            }
        }
        {
            let _guard = self.state_lock.lock();
            let old = self.state.load_full();
            let mut immutables = old.immutables.clone();
            if let Some(flushed) = flushed {
                immutables.retain(|mem| !Arc::ptr_eq(mem, flushed));
            }
            let state = ReadState { active: old.active.clone(), immutables, version: Arc::new(version) };
            self.state.store(Arc::new(state));
        }
        drop(m);
        self.update_pressure();
        Ok(())
    }

    /// Removes an empty memtable from the waiting memtables.
    pub(crate) fn discard_empty(&self, mem: &Arc<Memtable>) {
        let _guard = self.state_lock.lock();
        let old = self.state.load_full();
        let mut immutables = old.immutables.clone();
        immutables.retain(|m| !Arc::ptr_eq(m, mem));
        let state = ReadState { active: old.active.clone(), immutables, version: old.version.clone() };
        self.state.store(Arc::new(state));
        self.fit_memory();
    }

    /// Levels and debt of a version, with tiered ranges counted separately.
    pub(crate) fn shape(&self, version: &Version) -> Shape {
        let options = self.picker_options();
        let ranges = self.options.tiered.list();
        let of = |v: &Version| {
            let t = targets(v, options);
            Shape {
                scores: scores(v, &t, options),
                targets: t,
                debt_bytes: debt_bytes(v, options),
                tiered: Vec::new(),
            }
        };
        if ranges.is_empty() {
            return of(version);
        }
        let split = Split::of(version, ranges);
        let leveled = of(&split.leveled);
        Shape { debt_bytes: leveled.debt_bytes + split.debt_bytes(), tiered: split.tiered, ..leveled }
    }

    /// Gives block cache and item cache what memtables leave of the budget.
    fn fit_memory(&self) {
        let memtables: usize = self.state.load().memtables().map(|m| m.bytes()).sum();
        if let Some(bytes) = self.shares.cache_for(memtables, self.pool.held()) {
            self.cache.set_capacity(bytes);
            self.items.set_capacity(bytes);
        }
    }

    /// Recomputes what a written byte costs.
    pub(crate) fn update_pressure(&self) {
        self.fit_memory();
        let state = self.state.load();
        self.cache.set_data_bytes(state.version.files().map(|(_, f)| f.meta.summary.raw_bytes).sum());
        if self.options.background != Background::Threads {
            return;
        }
        let waiting = state.immutables.len() as f64;
        let level0 = state.version.levels[0].files.len() as f64;
        // Debt that does not slow writers down: the size of a few level-0 compactions.
        let free = self.options.level_base_bytes as f64 * 8.0;
        let garbage = collect::excess(&state.version, self.options.value_garbage_percent);
        let debt = self.shape(&state.version).debt_bytes.saturating_add(garbage) as f64;
        self.throttle.set(Pressure {
            memtables: (waiting - 1.0).max(0.0) / (self.shares.max_waiting as f64 - 1.0).max(1.0),
            level0: (level0 - L0_FREE).max(0.0) / (L0_LIMIT - L0_FREE),
            debt: (debt - free).max(0.0) / (free * 8.0),
        });
    }
}

/// The whole state as one edit: the first record of a manifest.
pub(crate) fn snapshot_edit(
    version: &Version,
    log_index: u64,
    last_seq: u64,
    next_file: Option<u64>,
) -> VersionEdit {
    VersionEdit {
        added: version.files().map(|(l, f)| (l, f.meta.clone())).collect(),
        removed: Vec::new(),
        added_values: version.values.values().map(|live| live.file.meta.clone()).collect(),
        log_index: Some(log_index),
        last_seq: Some(last_seq),
        next_file,
    }
}
