//! redb: a copy-on-write B-tree. No compression, no filters; a transaction for each read and write.

use super::{Settings, Store};
use anyhow::Result;
use redb::{Database, Durability, ReadableDatabase, TableDefinition, TableError, WriteTransaction};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

const ITEMS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("items");
/// An unsynced commit frees no pages, so one in this many is synced.
const SYNC_EVERY: u64 = 4096;

pub struct Redb {
    db: Database,
    commits: AtomicU64,
}

impl Redb {
    fn write(&self, sync: bool, change: impl FnOnce(&WriteTransaction) -> Result<()>) -> Result<()> {
        let mut txn = self.db.begin_write()?;
        let sync = sync || self.commits.fetch_add(1, Ordering::Relaxed) % SYNC_EVERY == SYNC_EVERY - 1;
        txn.set_durability(if sync { Durability::Immediate } else { Durability::None })?;
        change(&txn)?;
        Ok(txn.commit()?)
    }
}

impl Store for Redb {
    const NAME: &'static str = "redb";

    fn open(dir: &Path, settings: Settings) -> Result<Self> {
        std::fs::create_dir_all(dir)?;
        let db = Database::builder().set_cache_size(settings.cache_bytes).create(dir.join("data.redb"))?;
        let store = Self { db, commits: AtomicU64::new(0) };
        store.write(true, |txn| {
            txn.open_table(ITEMS)?;
            Ok(())
        })?;
        Ok(store)
    }

    fn put(&self, key: &[u8], value: &[u8], sync: bool) -> Result<()> {
        self.write(sync, |txn| {
            txn.open_table(ITEMS)?.insert(key, value)?;
            Ok(())
        })
    }

    fn delete(&self, key: &[u8]) -> Result<()> {
        self.write(false, |txn| {
            txn.open_table(ITEMS)?.remove(key)?;
            Ok(())
        })
    }

    fn get(&self, key: &[u8], seen: impl FnOnce(&[u8])) -> Result<bool> {
        let table = match self.db.begin_read()?.open_table(ITEMS) {
            Err(TableError::TableDoesNotExist(_)) => return Ok(false),
            table => table?,
        };
        let found = table.get(key)?;
        if let Some(value) = &found {
            seen(value.value());
        }
        Ok(found.is_some())
    }

    fn scan(&self, start: &[u8], limit: usize, mut seen: impl FnMut(&[u8], &[u8])) -> Result<usize> {
        let table = self.db.begin_read()?.open_table(ITEMS)?;
        let mut n = 0;
        for pair in table.range(start..)?.take(limit) {
            let (key, value) = pair?;
            seen(key.value(), value.value());
            n += 1;
        }
        Ok(n)
    }

    fn drop_range(&self, start: &[u8], end: &[u8]) -> Result<()> {
        self.write(false, |txn| Ok(txn.open_table(ITEMS)?.retain_in(start..end, |_, _| false)?))
    }

    fn settle(&self) -> Result<()> {
        self.write(true, |_| Ok(()))
    }

    fn close(self) -> Result<()> {
        self.settle()
    }

    fn is_log(_: &Path) -> bool {
        false
    }
}
