//! fjall. A synced write is an insert and `persist(SyncData)`. It has no range delete: dropping a range deletes its keys in batches.

use super::{MEMTABLE_BYTES, Settings, Store};
use anyhow::Result;
use fjall::config::{
    BlockSizePolicy, BloomConstructionPolicy, CompressionPolicy, FilterPolicy, FilterPolicyEntry,
    PartitioningPolicy, PinningPolicy,
};
use fjall::{CompressionType, Database, Keyspace, KeyspaceCreateOptions, PersistMode};
use std::path::Path;
use std::time::Duration;

/// Keys deleted at once when a range is dropped.
const DROP_BATCH: usize = 10_000;

pub struct Fjall {
    db: Database,
    items: Keyspace,
}

impl Store for Fjall {
    const NAME: &'static str = "fjall";

    fn open(dir: &Path, settings: Settings) -> Result<Self> {
        let db = Database::builder(dir).cache_size(settings.cache_bytes as u64).worker_threads(2).open()?;
        let bloom = FilterPolicyEntry::Bloom(BloomConstructionPolicy::BitsPerKey(10.0));
        let items = db.keyspace("items", || {
            KeyspaceCreateOptions::default()
                .max_memtable_size(MEMTABLE_BYTES as u64)
                .data_block_size_policy(BlockSizePolicy::all(4 << 10))
                .data_block_compression_policy(CompressionPolicy::all(CompressionType::Lz4))
                .filter_policy(FilterPolicy::all(bloom))
                .filter_block_partitioning_policy(PartitioningPolicy::all(settings.tight))
                .index_block_partitioning_policy(PartitioningPolicy::all(settings.tight))
                .filter_block_pinning_policy(PinningPolicy::all(!settings.tight))
                .index_block_pinning_policy(PinningPolicy::all(!settings.tight))
        })?;
        Ok(Self { db, items })
    }

    fn put(&self, key: &[u8], value: &[u8], sync: bool) -> Result<()> {
        self.items.insert(key, value)?;
        if sync {
            self.db.persist(PersistMode::SyncData)?;
        }
        Ok(())
    }

    fn delete(&self, key: &[u8]) -> Result<()> {
        Ok(self.items.remove(key)?)
    }

    fn get(&self, key: &[u8], seen: impl FnOnce(&[u8])) -> Result<bool> {
        let found = self.items.get(key)?;
        if let Some(value) = &found {
            seen(value);
        }
        Ok(found.is_some())
    }

    fn scan(&self, start: &[u8], limit: usize, mut seen: impl FnMut(&[u8], &[u8])) -> Result<usize> {
        let mut n = 0;
        for guard in self.items.range(start..).take(limit) {
            let (key, value) = guard.into_inner()?;
            seen(&key, &value);
            n += 1;
        }
        Ok(n)
    }

    fn drop_range(&self, start: &[u8], end: &[u8]) -> Result<()> {
        loop {
            let mut batch = self.db.batch();
            for guard in self.items.range(start..end).take(DROP_BATCH) {
                batch.remove(&self.items, guard.key()?);
            }
            let done = batch.len() < DROP_BATCH;
            batch.commit()?;
            if done {
                return Ok(());
            }
        }
    }

    fn settle(&self) -> Result<()> {
        self.items.rotate_memtable_and_wait()?;
        // Its counters show a moment of rest between two compactions, so rest must last.
        let mut quiet = 0;
        while quiet < 10 {
            let busy = self.db.outstanding_flushes() > 0 || self.db.active_compactions() > 0;
            quiet = if busy { 0 } else { quiet + 1 };
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }

    fn close(self) -> Result<()> {
        Ok(self.db.persist(PersistMode::SyncAll)?)
    }

    fn is_log(file: &Path) -> bool {
        file.extension().is_some_and(|e| e == "jnl")
    }
}
