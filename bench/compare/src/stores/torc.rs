//! Torc's engine.

use super::{MEMTABLE_BYTES, Settings, Store};
use anyhow::Result;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use torc_engine::env::RealEnv;
use torc_engine::{Engine, Options, WriteBatch};

pub struct Torc(Engine);

impl Store for Torc {
    const NAME: &'static str = "torc";

    fn open(dir: &Path, settings: Settings) -> Result<Self> {
        let options = Options {
            memtable_bytes: MEMTABLE_BYTES,
            cache_bytes: settings.cache_bytes,
            compaction_threads: 2,
            ..Options::default()
        };
        Ok(Self(Engine::open(Arc::new(RealEnv::new()), dir, options)?))
    }

    fn put(&self, key: &[u8], value: &[u8], sync: bool) -> Result<()> {
        let mut batch = WriteBatch::with_capacity(key.len() + value.len() + 12);
        batch.put(key, value);
        if sync {
            self.0.write_durable(&batch)?;
        } else {
            self.0.write_buffered(&batch)?;
        }
        Ok(())
    }

    fn delete(&self, key: &[u8]) -> Result<()> {
        let mut batch = WriteBatch::with_capacity(key.len() + 12);
        batch.delete(key);
        self.0.write_buffered(&batch)?;
        Ok(())
    }

    fn get(&self, key: &[u8], seen: impl FnOnce(&[u8])) -> Result<bool> {
        let found = self.0.get(key)?;
        if let Some(value) = &found {
            seen(value);
        }
        Ok(found.is_some())
    }

    fn scan(&self, start: &[u8], limit: usize, mut seen: impl FnMut(&[u8], &[u8])) -> Result<usize> {
        let mut scan = self.0.scan(start, b"", false, None);
        let mut n = 0;
        while n < limit && scan.advance()? {
            seen(scan.key(), scan.value());
            n += 1;
        }
        Ok(n)
    }

    fn drop_range(&self, start: &[u8], end: &[u8]) -> Result<()> {
        let mut batch = WriteBatch::new();
        batch.delete_range(start, end);
        self.0.write_buffered(&batch)?;
        Ok(())
    }

    fn settle(&self) -> Result<()> {
        self.0.flush()?;
        loop {
            let m = self.0.metrics();
            let full = m.levels.iter().any(|l| l.score >= 1000);
            let idle = m.running_compactions == 0 && m.obsolete_files == 0;
            if m.waiting_memtables == 0 && m.debt_bytes == 0 && !full && idle {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn close(self) -> Result<()> {
        Ok(self.0.close()?)
    }

    fn extra(&self) -> Vec<(&'static str, f64)> {
        let m = self.0.metrics();
        vec![
            ("slept_ms", m.slowdown.as_secs_f64() * 1e3),
            ("slowdowns", m.slowdowns as f64),
            ("stops", m.stops as f64),
            ("flushed_mib", m.flush_bytes as f64 / f64::from(1 << 20)),
            ("compacted_mib", m.compaction_write_bytes as f64 / f64::from(1 << 20)),
            ("compactions", m.compactions as f64),
            ("block_reads", (m.cache_hits + m.cache_misses) as f64),
            ("block_misses", m.cache_misses as f64),
            // Tables whose filter a read of an absent key asks: all of level 0, one of each other level.
            (
                "filters_asked",
                m.levels
                    .iter()
                    .enumerate()
                    .map(|(i, l)| if i == 0 { l.tables } else { l.tables.min(1) })
                    .sum::<u64>() as f64,
            ),
        ]
    }

    fn is_log(file: &Path) -> bool {
        file.extension().is_some_and(|e| e == "seg")
    }
}
