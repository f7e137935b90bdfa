//! The engines, each behind the same small trait. A module adapts one engine and holds its settings; nothing else knows which
//! engine it drives.
//!
//! What is equal: LZ4, filters of 10 bits a key, blocks of 4 KiB, the size of the cache, memtables of 64 MiB, two background
//! threads, and whether a write is synced before it returns. What the engine does not have (a B-tree has no filter) is left out.

use anyhow::Result;
use std::path::Path;

#[cfg(feature = "fjall")]
mod fjall;
#[cfg(feature = "heed")]
mod heed;
#[cfg(feature = "redb")]
mod redb;
#[cfg(feature = "rocksdb")]
mod rocksdb;
mod torc;

/// Size at which a memtable is flushed, bytes.
pub const MEMTABLE_BYTES: usize = 64 << 20;

/// What a cell asks of an engine.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Block cache, bytes.
    pub cache_bytes: usize,
    /// Memory is scarce: filters and indexes are partitioned and charged to the cache where the engine has a choice. Otherwise
    /// they stay in memory beside it, which is faster.
    pub tight: bool,
}

/// One engine, open. Every write is a transaction of its own.
pub trait Store: Send + Sync + Sized {
    /// Its name in tables.
    const NAME: &'static str;

    /// Opens or creates a database.
    fn open(dir: &Path, settings: Settings) -> Result<Self>;
    /// Sets a key. If `sync`, it is durable on return; otherwise the log is written as the engine likes.
    fn put(&self, key: &[u8], value: &[u8], sync: bool) -> Result<()>;
    /// Deletes a key, not synced.
    fn delete(&self, key: &[u8]) -> Result<()>;
    /// Hands the value to `seen`; false if the key is absent.
    fn get(&self, key: &[u8], seen: impl FnOnce(&[u8])) -> Result<bool>;
    /// Hands up to `limit` pairs from `start` on to `seen`; how many there were.
    fn scan(&self, start: &[u8], limit: usize, seen: impl FnMut(&[u8], &[u8])) -> Result<usize>;
    /// Deletes `start..end` in the quickest way the engine has.
    fn drop_range(&self, start: &[u8], end: &[u8]) -> Result<()>;
    /// Flushes, and waits until background work is done.
    fn settle(&self) -> Result<()>;
    /// Closes cleanly.
    fn close(self) -> Result<()>;
    /// Numbers that only this engine knows.
    fn extra(&self) -> Vec<(&'static str, f64)> {
        Vec::new()
    }
    /// Whether a file of the folder belongs to the log.
    fn is_log(file: &Path) -> bool;
}

/// Something to do with an engine chosen at run time.
pub trait Visitor {
    /// What it makes.
    type Output;
    /// Does it.
    fn visit<S: Store>(self) -> Result<Self::Output>;
}

/// Names of the engines that this build holds, Torc first.
pub fn names() -> Vec<&'static str> {
    vec![
        torc::Torc::NAME,
        #[cfg(feature = "rocksdb")]
        rocksdb::Rocks::<false>::NAME,
        #[cfg(feature = "rocksdb")]
        rocksdb::Rocks::<true>::NAME,
        #[cfg(feature = "fjall")]
        fjall::Fjall::NAME,
        #[cfg(feature = "redb")]
        redb::Redb::NAME,
        #[cfg(feature = "heed")]
        heed::Heed::NAME,
    ]
}

/// Runs `visitor` with the engine of that name.
pub fn with<V: Visitor>(name: &str, visitor: V) -> Result<V::Output> {
    match name {
        torc::Torc::NAME => visitor.visit::<torc::Torc>(),
        #[cfg(feature = "rocksdb")]
        rocksdb::Rocks::<false>::NAME => visitor.visit::<rocksdb::Rocks<false>>(),
        #[cfg(feature = "rocksdb")]
        rocksdb::Rocks::<true>::NAME => visitor.visit::<rocksdb::Rocks<true>>(),
        #[cfg(feature = "fjall")]
        fjall::Fjall::NAME => visitor.visit::<fjall::Fjall>(),
        #[cfg(feature = "redb")]
        redb::Redb::NAME => visitor.visit::<redb::Redb>(),
        #[cfg(feature = "heed")]
        heed::Heed::NAME => visitor.visit::<heed::Heed>(),
        _ => anyhow::bail!("no engine {name} in this build; there are {}", names().join(", ")),
    }
}
