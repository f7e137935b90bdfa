//! RocksDB, through the crate `rocksdb`.
//!
//! With `tight` memory the index and filters are partitioned and in the cache, with the top level pinned (an unpartitioned filter that
//! does not fit a cache shard costs it a factor of six); otherwise they are whole and beside the cache, its fastest way. The cache is
//! the clock cache, which two threads share better than the LRU. Everything else is as the crate has it.

use super::{MEMTABLE_BYTES, Settings, Store};
use anyhow::Result;
use rocksdb::{
    BlockBasedIndexType, BlockBasedOptions, Cache, DB, DBCompressionType, Options, WaitForCompactOptions,
    WriteBatch, WriteOptions,
};
use std::path::Path;

/// With `BUFFERED`, its log stays in the process until a buffer is full, as Torc's does, instead of going to the page cache with
/// each write.
pub struct Rocks<const BUFFERED: bool> {
    db: DB,
    synced: WriteOptions,
    unsynced: WriteOptions,
}

impl<const BUFFERED: bool> Store for Rocks<BUFFERED> {
    const NAME: &'static str = if BUFFERED { "rocksdb-buffered" } else { "rocksdb" };

    fn open(dir: &Path, settings: Settings) -> Result<Self> {
        let mut table = BlockBasedOptions::default();
        table.set_block_size(4 << 10);
        table.set_bloom_filter(10.0, false);
        table.set_block_cache(&Cache::new_hyper_clock_cache(settings.cache_bytes, 0));
        if settings.tight {
            table.set_index_type(BlockBasedIndexType::TwoLevelIndexSearch);
            table.set_partition_filters(true);
            table.set_metadata_block_size(4 << 10);
            table.set_cache_index_and_filter_blocks(true);
            table.set_pin_top_level_index_and_filter(true);
        }
        let mut options = Options::default();
        options.create_if_missing(true);
        options.set_compression_type(DBCompressionType::Lz4);
        options.set_block_based_table_factory(&table);
        options.set_write_buffer_size(MEMTABLE_BYTES);
        options.set_max_write_buffer_number(4);
        options.set_max_background_jobs(2);
        options.set_max_open_files(-1);
        options.set_manual_wal_flush(BUFFERED);
        let mut synced = WriteOptions::default();
        synced.set_sync(true);
        Ok(Self { db: DB::open(&options, dir)?, synced, unsynced: WriteOptions::default() })
    }

    fn put(&self, key: &[u8], value: &[u8], sync: bool) -> Result<()> {
        Ok(self.db.put_opt(key, value, if sync { &self.synced } else { &self.unsynced })?)
    }

    fn delete(&self, key: &[u8]) -> Result<()> {
        Ok(self.db.delete_opt(key, &self.unsynced)?)
    }

    fn get(&self, key: &[u8], seen: impl FnOnce(&[u8])) -> Result<bool> {
        let found = self.db.get_pinned(key)?;
        if let Some(value) = &found {
            seen(value);
        }
        Ok(found.is_some())
    }

    fn scan(&self, start: &[u8], limit: usize, mut seen: impl FnMut(&[u8], &[u8])) -> Result<usize> {
        let mut it = self.db.raw_iterator();
        it.seek(start);
        let mut n = 0;
        while n < limit
            && let Some((key, value)) = it.item()
        {
            seen(key, value);
            n += 1;
            it.next();
        }
        it.status()?;
        Ok(n)
    }

    fn drop_range(&self, start: &[u8], end: &[u8]) -> Result<()> {
        // Whole files at once, then the edges by a range tombstone.
        self.db.delete_file_in_range(start, end)?;
        let mut batch = WriteBatch::default();
        batch.delete_range(start, end);
        Ok(self.db.write_opt(batch, &self.unsynced)?)
    }

    fn settle(&self) -> Result<()> {
        self.db.flush()?;
        self.db.wait_for_compact(&WaitForCompactOptions::default())?;
        Ok(())
    }

    fn close(self) -> Result<()> {
        self.db.cancel_all_background_work(true);
        Ok(())
    }

    fn is_log(file: &Path) -> bool {
        file.extension().is_some_and(|e| e == "log")
    }
}
