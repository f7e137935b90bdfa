//! The node's one write-ahead log: many streams in one sequence of segments, group commit without a timer.
//!
//! A *stream* is a consensus group's log or the engine's own writes (stream [`ENGINE_STREAM`]). An entry is `(stream, index,
//! payload)`. Appending an index at or below a stream's last index replaces that index and everything after it (as a consensus
//! log does when a new leader overwrites a tail). Each stream also has one small *state blob* (hard state, truncation
//! record …): the last one written wins, and it survives recycling of the segment that it was written in.

use crate::Result;
use bytes::Bytes;

/// Log sequence number: position in the node's log, in append order. Durable up to [`Log::durable_lsn`].
pub type Lsn = u64;

/// The engine's own stream: logged write batches, index = sequence number of the batch.
pub const ENGINE_STREAM: u64 = 0;

/// One thing to append.
#[derive(Clone, Debug)]
pub enum Record {
    /// An entry of a stream.
    Entry { stream: u64, index: u64, payload: Bytes },
    /// The stream's state blob (at most 4 KiB), replacing the last.
    State { stream: u64, blob: Bytes },
    /// Entries of the stream up to and including `through` are no longer needed; their segments may be recycled.
    TruncatePrefix { stream: u64, through: u64 },
    /// The stream is gone: entries and state.
    Drop { stream: u64 },
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
pub struct Log;

impl Log {
    /// Appends all records in order, as one unit: after a crash either all of them are there or none. Returns at once; durable when
    /// [`Log::durable_lsn`] has reached the returned number. Entries are readable immediately.
    ///
    /// # Errors
    /// [`crate::Error::Poisoned`] after a failed sync; [`crate::Error::DiskFull`].
    pub fn append(&self, records: &[Record]) -> Result<Lsn> {
        let _ = records;
        todo!()
    }
    /// Appends durable nothing new, but writes buffered data: used by `Background::Manual`. Writes and syncs everything appended so far; returns the new durable number. With
    /// `Background::Threads` the log's own thread does this.
    pub fn sync_step(&self) -> Result<Lsn> {
        todo!()
    }
    /// Whether anything appended is not yet durable.
    pub fn has_pending(&self) -> bool {
        todo!()
    }
    /// Everything at or below this number survives a crash.
    pub fn durable_lsn(&self) -> Lsn {
        todo!()
    }
    /// Called with the new durable number after every sync (from the log's thread, or from `sync_step`), and with an error once if a sync fails.
    pub fn on_durable(&self, listener: std::sync::Arc<dyn Fn(Result<Lsn>) + Send + Sync>) {
        let _ = listener;
        todo!()
    }
    /// Blocks until `lsn` is durable. Not for `Background::Manual`.
    pub fn wait(&self, lsn: Lsn) -> Result<()> {
        let _ = lsn;
        todo!()
    }
    /// All streams that exist.
    pub fn streams(&self) -> Vec<(u64, StreamInfo)> {
        todo!()
    }
    /// One stream, if it exists.
    pub fn stream(&self, stream: u64) -> Option<StreamInfo> {
        let _ = stream;
        todo!()
    }
    /// Entries `low..high` in order, stopping early once `max_bytes` of payload are collected (always at least one).
    ///
    /// # Errors
    /// `Corrupt` if an index in the range is not held.
    pub fn entries(&self, stream: u64, low: u64, high: u64, max_bytes: u64) -> Result<Vec<(u64, Bytes)>> {
        let _ = (stream, low, high, max_bytes);
        todo!()
    }
}
