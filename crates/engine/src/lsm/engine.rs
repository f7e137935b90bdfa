//! The engine's public interface.

use super::batch::WriteBatch;
use super::budget::IoBudget;
use super::core::{Core, Logging, snapshot_edit};
use super::metrics::Metrics;
use super::open;
use super::options::{Background, Options};
use super::scan::Scan;
use super::snapshot::Snapshot;
use super::threads::Threads;
use crate::{Env, Error, Log, Lsn, Result};
use bytes::Bytes;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// The engine of one node. Cheap to clone; thread-safe. Dropping the last handle stops the threads. The
/// folder's lock is released once snapshots and scans are dropped too.
#[derive(Clone)]
pub struct Engine {
    core: Arc<Core>,
    threads: Arc<Threads>,
}

impl Engine {
    /// Opens or creates the engine in `dir`: takes the folder's lock, reads the manifest, opens the log,
    /// replays its own stream.
    ///
    /// # Errors
    /// [`Error::Locked`], [`Error::Version`], [`Error::Corrupt`] or [`Error::Io`]; nothing that was there is
    /// lost.
    pub fn open(env: Arc<dyn Env>, dir: &Path, options: Options) -> Result<Self> {
        let core = Arc::new(open::open(env, dir, options)?);
        let compactors = match core.options.background {
            Background::Threads => core.options.compaction_threads,
            Background::Manual => 0,
        };
        let threads = Threads::start(core.clone(), compactors).map_err(|source| Error::Io {
            op: "start a thread for",
            path: dir.to_path_buf(),
            source,
        })?;
        Ok(Self { core, threads: Arc::new(threads) })
    }

    /// The shared log.
    pub fn log(&self) -> &Log {
        &self.core.log
    }

    /// Applies a batch to the memtable only. The caller is responsible for durability: it has the batch in a
    /// stream of the log, and keeps its own applied index in the batch.
    ///
    /// # Errors
    /// [`Error::DiskFull`] while memtables cannot be flushed for want of space; nothing was applied.
    pub fn apply(&self, batch: &WriteBatch) -> Result<()> {
        self.core.write(batch, Logging::None).map(|_| ())
    }

    /// Logs a batch in the engine's own stream and applies it at once; durable when the log reaches the
    /// returned number.
    ///
    /// # Errors
    /// [`Error::DiskFull`] or [`Error::Poisoned`]; nothing was applied.
    pub fn write(&self, batch: &WriteBatch) -> Result<Lsn> {
        self.core.write(batch, Logging::Synced)
    }

    /// As [`Engine::write`], and waits until the batch is durable. Cheaper than to write and then to wait for
    /// the log: if no write is in flight the caller's thread does it.
    ///
    /// # Errors
    /// As [`Engine::write`]; after [`Error::Poisoned`] the batch may have been applied.
    pub fn write_durable(&self, batch: &WriteBatch) -> Result<Lsn> {
        self.core.write(batch, Logging::Awaited)
    }

    /// As [`Engine::write`], but the batch is written to disk later: with a later write, or once 1 MiB waits.
    /// A crash, even of the process alone, can lose the last batches, but never a batch before one that is
    /// kept. Waits while 8 MiB are being written to disk.
    ///
    /// # Errors
    /// As [`Engine::write`]; after [`Error::Poisoned`] the batch may have been applied.
    pub fn write_buffered(&self, batch: &WriteBatch) -> Result<Lsn> {
        self.core.write(batch, Logging::Buffered)
    }

    /// The newest value of a key. It may share memory with a cached block: copy it if it is to be kept for
    /// long.
    ///
    /// # Errors
    /// [`Error::Corrupt`] or [`Error::Io`] if a block that may hold the key cannot be read.
    pub fn get(&self, key: &[u8]) -> Result<Option<Bytes>> {
        self.core.get(key)
    }

    /// The value of a key as of a snapshot.
    ///
    /// # Errors
    /// As [`Engine::get`].
    pub fn get_at(&self, key: &[u8], snapshot: &Snapshot) -> Result<Option<Bytes>> {
        self.core.state.load().get(key, snapshot.sequence())
    }

    /// A view of the current state.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot::new(&self.core)
    }

    /// Live keys in `start..end` (an empty `end` means to the last key), in order, or from the end if
    /// `reverse`. Without a snapshot: as of the call.
    pub fn scan(&self, start: &[u8], end: &[u8], reverse: bool, snapshot: Option<&Snapshot>) -> Scan {
        let state = self.core.state.load_full();
        let seq = match snapshot {
            Some(s) => s.sequence(),
            None => self.core.visible.load(Ordering::Acquire),
        };
        Scan::new(state, seq, start, end, reverse)
    }

    /// Writes the memtable out now and waits; afterwards everything applied before is durable.
    ///
    /// # Errors
    /// Those of writing a table; nothing is lost, and the flush can be tried again.
    pub fn flush(&self) -> Result<()> {
        self.core.flush_all()
    }

    /// Asks for a flush of what is in memory, without waiting for it. A flush that is under way is not disturbed.
    pub fn flush_soon(&self) {
        self.core.flush_soon.store(true, std::sync::atomic::Ordering::Relaxed);
        self.core.signal.notify();
    }

    /// A counter that rises when a flush is complete: everything applied before [`Engine::apply_epoch`] was
    /// read as `e` is durable once `flushed_epoch() > e`. Consensus groups truncate their log only up to an
    /// applied index that is flushed.
    pub fn flushed_epoch(&self) -> u64 {
        self.core.flushed_epoch.load(Ordering::Acquire)
    }

    /// The epoch that a batch applied now belongs to.
    pub fn apply_epoch(&self) -> u64 {
        self.core.state.load().active.epoch
    }

    /// One unit of background work (a flush, a compaction, a file deletion). False when there is none. For
    /// `Background::Manual`.
    ///
    /// # Errors
    /// The work failed and will be tried again by a later call.
    pub fn background_step(&self) -> Result<bool> {
        self.core.background_step()
    }

    /// Flushes, then rewrites all tables into the deepest level in use, dropping what nobody can see. For
    /// operators and tests.
    ///
    /// # Errors
    /// As [`Engine::flush`].
    pub fn compact_all(&self) -> Result<()> {
        self.core.compact_all()
    }

    /// Writes a consistent copy of the database into `dir`, a new folder of the same file system, by hard
    /// links: an engine of its own that [`Engine::open`] takes. Everything applied before the call is in it.
    ///
    /// # Errors
    /// Those of writing; `dir` may then hold a part and must be removed.
    pub fn checkpoint(&self, dir: &Path) -> Result<()> {
        self.core.flush_all()?;
        // The manifest lock keeps tables from being replaced meanwhile; the version keeps its files.
        let m = self.core.manifest.lock();
        let version = self.core.state.load().version.clone();
        let next = self.core.next_file.load(Ordering::Relaxed);
        let edit = snapshot_edit(&version, m.log_index, m.last_seq, Some(next));
        drop(m);
        open::write_checkpoint(&self.core, dir, &version, &edit)
    }

    /// Adds entries in strictly ascending key order as tables, without log or memtable: for bulk loads and
    /// moved partitions. They become visible and durable together when this returns, and hide what their keys
    /// held before.
    ///
    /// # Errors
    /// An [`Error::Io`] of kind `InvalidInput` if keys are not ascending; those of writing. Nothing was
    /// added.
    pub fn ingest<K, V>(&self, entries: impl IntoIterator<Item = (K, V)>) -> Result<()>
    where
        K: AsRef<[u8]>,
        V: AsRef<[u8]>,
    {
        self.core.ingest(entries)
    }

    /// Reads every checksum of every table and checks that bounds, counts and order are what the manifest
    /// says. What is wrong, in order; empty if all is well.
    pub fn verify(&self) -> Vec<Error> {
        self.core.verify()
    }

    /// The budget that compaction pays from; other background work on the same device may pay from it too.
    pub fn io_budget(&self) -> &Arc<IoBudget> {
        &self.core.budget
    }

    /// Sizes and counters.
    pub fn metrics(&self) -> Metrics {
        Metrics::of(&self.core)
    }

    /// Stops background threads, syncs the log and flushes nothing: reopening replays. Later writes are
    /// refused; reads go on.
    ///
    /// # Errors
    /// Those of the log's last sync.
    pub fn close(&self) -> Result<()> {
        self.threads.stop();
        self.core.log.close()
    }

    /// The folder.
    pub fn dir(&self) -> PathBuf {
        self.core.dir.clone()
    }
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine").field("dir", &self.core.dir).finish_non_exhaustive()
    }
}
