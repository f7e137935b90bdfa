//! The node's one write-ahead log: many streams in one sequence of segments, with group commit and without a
//! timer.
//!
//! A *stream* is the log of one consensus group, or the engine's own writes (stream [`ENGINE_STREAM`]). An
//! entry is `(stream, index, payload)`. Appending an index at or below a stream's last index replaces that
//! index and everything after it, as a consensus log does when a new leader overwrites a tail. Each stream
//! also has one small *state blob* (hard state, truncation record …). The last blob written is the valid one.
//! It survives the recycling of the segment that it was written to.
//!
//! Each segment starts with a table of all streams, so an older segment is kept only for the entries that it
//! holds. The layout is in `docs/formats/log.md`.
//!
//! An append gets its place under one lock ([`state`]). Encoding and checksums come before the lock, writing
//! after it ([`segment`]). [`recover`] reads the log back.
//!
//! The log must never report as durable what is not, and never continue after a failed sync.

mod format;
mod inspect;
mod options;
mod recent;
mod recover;
mod segment;
mod state;
mod streams;
mod threads;

pub use inspect::inspect_log;
pub use options::{LogFaults, LogMetrics, LogOptions};

use crate::{Env, Result};
use bytes::Bytes;
use std::path::Path;
use std::sync::Arc;
use threads::{Handle, Shared, SyncBy};

/// Log sequence number: position in the node's log, in append order. Durable up to [`Log::durable_lsn`].
pub type Lsn = u64;

/// The engine's own stream: logged write batches, index = sequence number of the batch.
pub const ENGINE_STREAM: u64 = 0;

/// One thing to append.
#[derive(Clone, Debug)]
pub enum Record {
    /// An entry of a stream.
    Entry {
        /// The stream. Its first record creates it.
        stream: u64,
        /// Place in the stream. Any but `u64::MAX`.
        index: u64,
        /// The entry itself.
        payload: Bytes,
    },
    /// The stream's state blob (at most 4 KiB), replacing the last.
    State {
        /// The stream.
        stream: u64,
        /// The new blob.
        blob: Bytes,
    },
    /// Entries of the stream up to and including `through` are no longer needed; their segments may be
    /// recycled. If `through` is beyond the last index, the last index becomes `through`, as when a snapshot
    /// replaces a consensus log.
    TruncatePrefix {
        /// The stream.
        stream: u64,
        /// Last index that is no longer needed. Any but `u64::MAX`.
        through: u64,
    },
    /// Removes the stream: entries and state.
    Drop {
        /// The stream.
        stream: u64,
    },
}

/// What the log holds of one stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StreamInfo {
    /// First index still held; `last + 1` when empty.
    pub first: u64,
    /// Last index; 0 when nothing was ever written. Kept across a full truncation.
    pub last: u64,
    /// The state blob, empty if none.
    pub state: Bytes,
}

/// The log. Cheap to clone; thread-safe.
#[derive(Clone)]
pub struct Log {
    handle: Arc<Handle>,
}

impl Log {
    /// Opens or creates the log in `dir` and reads back what it holds. The caller holds the folder's lock.
    ///
    /// # Errors
    /// [`crate::Error::Corrupt`] if anything but the end of the newest segment, which a crash may have cut
    /// short, does not match; [`crate::Error::Version`]; [`crate::Error::DiskFull`] if there is no room for a
    /// first segment.
    pub fn open(env: Arc<dyn Env>, dir: &Path, options: LogOptions) -> Result<Self> {
        let nothing = ReplayOf { stream: ENGINE_STREAM, after: u64::MAX, make: &|| () };
        Ok(Self::open_and_replay(env, dir, options, &nothing)?.0)
    }

    /// As [`Log::open`], and passes the entries of one stream to a [`Replay`] while they are read. Returns the
    /// collected values in the order of the log.
    pub(crate) fn open_and_replay<T: Replay>(
        env: Arc<dyn Env>,
        dir: &Path,
        options: LogOptions,
        of: &ReplayOf<'_, T>,
    ) -> Result<(Self, Vec<T>)> {
        let (handle, replayed) = Handle::open(env, dir, options, of)?;
        Ok((Self { handle: Arc::new(handle) }, replayed))
    }

    fn shared(&self) -> &Shared {
        &self.handle.shared
    }

    /// Appends all records in order, as one unit: after a crash either all of them are there or none. Returns
    /// at once; durable when [`Log::durable_lsn`] has reached the returned number. Entries are readable
    /// immediately.
    ///
    /// # Errors
    /// [`crate::Error::Poisoned`] after a failed sync. [`crate::Error::DiskFull`] if there is no space;
    /// nothing was appended then. On a full disk, records without entries are accepted for a while longer, so
    /// that truncating can free space. An [`crate::Error::Io`] of kind `InvalidInput` for a state blob over 4
    /// KiB, an index of `u64::MAX` or more than 512 MiB.
    pub fn append(&self, records: &[Record]) -> Result<Lsn> {
        self.shared().append(records, SyncBy::Thread)
    }

    /// As [`Log::append`], but asks for no sync of its own: the records become durable with the next
    /// `append`, or once 1 MiB waits. A crash of the process can lose what is not yet durable.
    pub fn append_buffered(&self, records: &[Record]) -> Result<Lsn> {
        self.shared().append(records, SyncBy::Later)
    }

    /// As [`Log::append`], for a caller that calls [`Log::wait`] next. The sync thread is not woken, so a
    /// single writer never waits for another thread.
    ///
    /// # Errors
    /// As [`Log::append`].
    pub fn append_and_wait_later(&self, records: &[Record]) -> Result<Lsn> {
        self.shared().append(records, SyncBy::Waiter)
    }

    /// To be called after the buffered append of `lsn`. Waits for a sync if 8 MiB or more are waiting to be
    /// written, so that writers do not add to them.
    ///
    /// # Errors
    /// As [`Log::wait`].
    pub(crate) fn wait_for_room(&self, lsn: Lsn) -> Result<()> {
        self.shared().wait_for_room(lsn)
    }

    /// Writes and syncs everything appended so far; returns the new durable number. For
    /// [`crate::Background::Manual`]: with [`crate::Background::Threads`] the log's own thread does this.
    ///
    /// # Errors
    /// A failed write or sync, and from then on [`crate::Error::Poisoned`].
    pub fn sync_step(&self) -> Result<Lsn> {
        self.shared().sync_step()
    }

    /// Whether anything appended is not yet durable.
    pub fn has_pending(&self) -> bool {
        self.shared().has_pending()
    }

    /// Everything at or below this number survives a crash.
    pub fn durable_lsn(&self) -> Lsn {
        self.shared().durable_lsn()
    }

    /// Called with the new durable number after every sync (from the log's thread, `sync_step` or `wait`),
    /// and with an error once if a write or sync fails. The listener must be quick and must not call
    /// [`Log::sync_step`] or [`Log::wait`].
    pub fn on_durable(&self, listener: Arc<dyn Fn(Result<Lsn>) + Send + Sync>) {
        self.shared().on_durable(listener);
    }

    /// Blocks until `lsn` is durable. With [`crate::Background::Manual`] it runs the sync itself.
    ///
    /// # Errors
    /// [`crate::Error::Poisoned`] if that will never be.
    pub fn wait(&self, lsn: Lsn) -> Result<()> {
        self.shared().wait(lsn)
    }

    /// All streams that exist.
    pub fn streams(&self) -> Vec<(u64, StreamInfo)> {
        self.shared().state.lock().streams.all()
    }

    /// One stream, if it exists.
    pub fn stream(&self, stream: u64) -> Option<StreamInfo> {
        self.shared().state.lock().streams.info(stream)
    }

    /// Bytes of payload of all entries held of a stream.
    pub fn held_bytes(&self, stream: u64) -> u64 {
        self.shared().state.lock().streams.bytes(stream)
    }

    /// Entries `low..high` in order, stopping early before `max_bytes` of payload are exceeded (always at
    /// least one). [`ENGINE_STREAM`] may skip indexes; skipped indexes are left out.
    ///
    /// # Errors
    /// `Corrupt` if an index in the range is not held, or its bytes on disk are damaged.
    pub fn entries(&self, stream: u64, low: u64, high: u64, max_bytes: u64) -> Result<Vec<(u64, Bytes)>> {
        self.shared().entries(stream, low, high, max_bytes)
    }

    /// Streams with entries that were written before the newest `segments_from_end` segments were begun. Such
    /// entries prevent the recycling of segments. The layer above flushes and truncates them, or appends
    /// their entries anew.
    pub fn pinned_by(&self, segments_from_end: usize) -> Vec<u64> {
        self.shared().state.lock().pinned_by(segments_from_end)
    }

    /// Counters and sizes.
    pub fn metrics(&self) -> LogMetrics {
        self.shared().state.lock().metrics()
    }

    /// Makes everything appended durable, refuses further appends and stops the log's threads. Reading goes
    /// on.
    ///
    /// # Errors
    /// Those of [`Log::sync_step`].
    pub fn close(&self) -> Result<()> {
        self.handle.close()
    }
}

/// Receives the entries of one stream while the log is read back, so that they are read only once. There is
/// one value for each segment. Segments are read in parallel, each by one thread.
pub(crate) trait Replay: Send {
    /// The next entry. Its checksum was right. It may no longer belong to the stream; [`Log::stream`] says
    /// what does.
    fn entry(&mut self, index: u64, payload: &[u8]);

    /// The end of the segment. Called in the thread that read it, so this is the place for work that can be
    /// done in parallel.
    fn finish(&mut self) {}
}

/// Which entries to pass on, and to which receiver.
pub(crate) struct ReplayOf<'a, T> {
    /// The stream.
    pub(crate) stream: u64,
    /// Entries up to this index are left out.
    pub(crate) after: u64,
    /// Makes the value for a segment.
    pub(crate) make: &'a (dyn Fn() -> T + Sync),
}

impl Replay for () {
    fn entry(&mut self, _: u64, _: &[u8]) {}
}

impl std::fmt::Debug for Log {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Log").field("durable_lsn", &self.durable_lsn()).finish_non_exhaustive()
    }
}

/// Refuses what the format cannot hold.
fn check(records: &[Record]) -> std::result::Result<(), &'static str> {
    for record in records {
        match record {
            Record::Entry { index: u64::MAX, .. } | Record::TruncatePrefix { through: u64::MAX, .. } => {
                return Err("the index u64::MAX cannot be used");
            }
            Record::State { blob, .. } if blob.len() > format::MAX_STATE_BYTES => {
                return Err("a state blob is at most 4096 bytes");
            }
            _ => {}
        }
    }
    if format::unit_len(records) > format::MAX_APPEND_BYTES {
        return Err("an append is at most 512 MiB");
    }
    Ok(())
}

#[cfg(test)]
mod tests;
