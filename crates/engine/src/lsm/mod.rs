//! The log-structured merge tree and the [`Engine`] that ties it to the log.

use crate::{Env, Log, Lsn, Result};
use bytes::Bytes;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Who runs flushes, compactions and log syncs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Background {
    /// Threads of the engine.
    Threads,
    /// Nobody: the caller calls [`Engine::background_step`] and [`Log::sync_step`].
    Manual,
}

/// Settings. `Options::default()` suits a laptop.
#[derive(Clone, Debug)]
pub struct Options {
    /// Who runs background work.
    pub background: Background,
    /// Memtable size at which a flush starts, bytes.
    pub memtable_bytes: usize,
    /// Block cache, bytes.
    pub cache_bytes: usize,
    /// Log segment size, bytes.
    pub segment_bytes: u64,
    /// Target size of a sorted table, bytes.
    pub table_bytes: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            background: Background::Threads,
            memtable_bytes: 64 << 20,
            cache_bytes: 64 << 20,
            segment_bytes: 64 << 20,
            table_bytes: 32 << 20,
        }
    }
}

/// Writes applied together: after a crash all are there or none. Later entries win over earlier ones on the same key.
/// The encoded form is what the log and consensus entries carry; see docs/formats/batch.md.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WriteBatch;

impl WriteBatch {
    /// An empty batch.
    pub fn new() -> Self {
        Self
    }
    /// Sets a key.
    pub fn put(&mut self, key: &[u8], value: &[u8]) {
        let _ = (key, value);
        todo!()
    }
    /// Deletes a key.
    pub fn delete(&mut self, key: &[u8]) {
        let _ = key;
        todo!()
    }
    /// Deletes every key in `start..end`.
    pub fn delete_range(&mut self, start: &[u8], end: &[u8]) {
        let _ = (start, end);
        todo!()
    }
    /// Appends another batch's operations.
    pub fn extend(&mut self, other: &WriteBatch) {
        let _ = other;
        todo!()
    }
    /// No operations.
    pub fn is_empty(&self) -> bool {
        todo!()
    }
    /// The encoded bytes.
    pub fn encode(&self) -> Bytes {
        todo!()
    }
    /// Parses encoded bytes (checks the structure completely).
    pub fn decode(bytes: Bytes) -> Result<Self> {
        let _ = bytes;
        todo!()
    }
}

/// A consistent view at one sequence number. Keeps old versions alive while held.
#[derive(Clone)]
pub struct Snapshot;

/// A key and value from a scan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScanItem {
    /// The key.
    pub key: Bytes,
    /// The value.
    pub value: Bytes,
}

/// An iterator over live keys of a range, in order or in reverse.
pub struct Scan;

impl Iterator for Scan {
    type Item = Result<ScanItem>;
    fn next(&mut self) -> Option<Self::Item> {
        todo!()
    }
}

/// The engine of one node. Cheap to clone; thread-safe.
#[derive(Clone)]
pub struct Engine;

impl Engine {
    /// Opens or creates the engine in `dir`: takes the folder's lock, reads the manifest, opens the log, replays its own stream.
    pub fn open(env: Arc<dyn Env>, dir: &Path, options: Options) -> Result<Self> {
        let _ = (env, dir, options);
        todo!()
    }
    /// The shared log.
    pub fn log(&self) -> &Log {
        todo!()
    }
    /// Applies a batch to the memtable only: durability is the caller's, who has it in a stream of the log and keeps its own applied position in the batch.
    pub fn apply(&self, batch: &WriteBatch) -> Result<()> {
        let _ = batch;
        todo!()
    }
    /// Logs a batch in the engine's own stream and applies it at once; durable when the log reaches the returned number.
    pub fn write(&self, batch: &WriteBatch) -> Result<Lsn> {
        let _ = batch;
        todo!()
    }
    /// The newest value of a key.
    pub fn get(&self, key: &[u8]) -> Result<Option<Bytes>> {
        let _ = key;
        todo!()
    }
    /// The value of a key as of a snapshot.
    pub fn get_at(&self, key: &[u8], snapshot: &Snapshot) -> Result<Option<Bytes>> {
        let _ = (key, snapshot);
        todo!()
    }
    /// A view of now.
    pub fn snapshot(&self) -> Snapshot {
        todo!()
    }
    /// Live keys in `start..end` (an empty `end` means to the last key), in order, or from the end if `reverse`. Without a snapshot: as of the call.
    pub fn scan(&self, start: &[u8], end: &[u8], reverse: bool, snapshot: Option<&Snapshot>) -> Scan {
        let _ = (start, end, reverse, snapshot);
        todo!()
    }
    /// Writes the memtable out now and waits; afterwards everything applied before is durable.
    pub fn flush(&self) -> Result<()> {
        todo!()
    }
    /// A counter that rises when a flush is complete: everything applied before [`Engine::apply_epoch`] was read as `e` is durable once `flushed_epoch() > e`.
    /// Consensus groups truncate their log only up to an applied index that is flushed.
    pub fn flushed_epoch(&self) -> u64 {
        todo!()
    }
    /// The epoch that a batch applied now belongs to.
    pub fn apply_epoch(&self) -> u64 {
        todo!()
    }
    /// One unit of background work (a flush, a compaction, a file deletion). False when there is none. For `Background::Manual`.
    pub fn background_step(&self) -> Result<bool> {
        todo!()
    }
    /// Stops background threads, syncs the log and flushes nothing: reopening replays.
    pub fn close(&self) -> Result<()> {
        todo!()
    }
    /// The folder.
    pub fn dir(&self) -> PathBuf {
        todo!()
    }
}
