//! LMDB, through heed: a memory-mapped copy-on-write B-tree. No compression, no filters, no cache but the system's; a transaction for
//! each read and write.

use super::{Settings, Store};
use anyhow::{Context, Result};
use heed::types::Bytes;
use heed::{Database, Env, EnvFlags, EnvOpenOptions, FlagSetMode, RwTxn, WithTls};
use std::ops::Bound;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

pub struct Heed {
    env: Env<WithTls>,
    items: Database<Bytes, Bytes>,
    synced: AtomicBool,
}

impl Heed {
    fn write(&self, sync: bool, change: impl FnOnce(&mut RwTxn<'_>) -> Result<()>) -> Result<()> {
        // A cell never mixes the two, so the flag changes at most once.
        if self.synced.load(Ordering::Relaxed) != sync && self.synced.swap(sync, Ordering::Relaxed) != sync {
            let mode = if sync { FlagSetMode::Disable } else { FlagSetMode::Enable };
            // SAFETY: without syncs a crash of the machine may lose the database, which a benchmark accepts.
            unsafe { self.env.set_flags(EnvFlags::NO_SYNC, mode)? };
        }
        let mut txn = self.env.write_txn()?;
        change(&mut txn)?;
        Ok(txn.commit()?)
    }
}

impl Store for Heed {
    const NAME: &'static str = "lmdb";

    fn open(dir: &Path, _: Settings) -> Result<Self> {
        std::fs::create_dir_all(dir)?;
        let mut options = EnvOpenOptions::new();
        options.map_size(64 << 30).max_readers(256);
        // SAFETY: nothing else opens or changes the file while this process has it mapped.
        let env = unsafe { options.open(dir)? };
        let mut txn = env.write_txn()?;
        let items = env.create_database::<Bytes, Bytes>(&mut txn, None).context("create the database")?;
        txn.commit()?;
        Ok(Self { env, items, synced: AtomicBool::new(true) })
    }

    fn put(&self, key: &[u8], value: &[u8], sync: bool) -> Result<()> {
        self.write(sync, |txn| Ok(self.items.put(txn, key, value)?))
    }

    fn delete(&self, key: &[u8]) -> Result<()> {
        self.write(false, |txn| {
            self.items.delete(txn, key)?;
            Ok(())
        })
    }

    fn get(&self, key: &[u8], seen: impl FnOnce(&[u8])) -> Result<bool> {
        let txn = self.env.read_txn()?;
        let found = self.items.get(&txn, key)?;
        if let Some(value) = found {
            seen(value);
        }
        Ok(found.is_some())
    }

    fn scan(&self, start: &[u8], limit: usize, mut seen: impl FnMut(&[u8], &[u8])) -> Result<usize> {
        let txn = self.env.read_txn()?;
        let mut n = 0;
        let range = (Bound::Included(start), Bound::Unbounded);
        for pair in self.items.range(&txn, &range)?.take(limit) {
            let (key, value) = pair?;
            seen(key, value);
            n += 1;
        }
        Ok(n)
    }

    fn drop_range(&self, start: &[u8], end: &[u8]) -> Result<()> {
        self.write(false, |txn| {
            self.items.delete_range(txn, &(Bound::Included(start), Bound::Excluded(end)))?;
            Ok(())
        })
    }

    fn settle(&self) -> Result<()> {
        Ok(self.env.force_sync()?)
    }

    fn close(self) -> Result<()> {
        self.settle()
    }

    fn is_log(_: &Path) -> bool {
        false
    }
}
