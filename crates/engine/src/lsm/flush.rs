//! Flush: turns the oldest full memtable into a table of level 0.
//!
//! One manifest edit makes the whole memtable durable at once. Therefore a consensus group can keep its
//! applied index in the same batch as its data.

use super::core::Core;
use super::filter::Filter;
use super::memtable::{MemIter, Memtable};
use super::merge::{MergeIter, Source};
use super::rewrite::{RewritePlan, Rewriter};
use super::version::VersionEdit;
use crate::log::{ENGINE_STREAM, Record};
use crate::{Error, Result};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;

impl Core {
    /// Closes the active memtable and flushes until everything applied before this call is in tables.
    pub(crate) fn flush_all(&self) -> Result<()> {
        let epoch = {
            let _writer = self.writer.lock();
            let epoch = self.state.load().active.epoch;
            self.rotate();
            epoch
        };
        while self.flushed_epoch.load(Ordering::Acquire) <= epoch {
            self.flush_one()?;
        }
        Ok(())
    }

    /// What the flush thread does next. If the active memtable should be flushed soon and no other waits, it
    /// is closed first.
    pub(crate) fn flush_step(&self) -> Result<bool> {
        if self.flush_soon.load(Ordering::Relaxed) && self.state.load().immutables.is_empty() {
            let _writer = self.writer.lock();
            if self.flush_soon.load(Ordering::Relaxed) {
                self.rotate();
            }
        }
        self.flush_one()
    }

    /// Flushes the oldest waiting memtable. False if none waits. The caller may hold the write lock.
    pub(crate) fn flush_one(&self) -> Result<bool> {
        let _guard = self.flush_lock.lock();
        let Some(mem) = self.state.load().immutables.last().cloned() else { return Ok(false) };
        let result = self.flush_memtable(&mem);
        let full = matches!(&result, Err(Error::DiskFull { .. }));
        self.disk_full.store(full, Ordering::Relaxed);
        if result.is_ok() {
            self.flushed_epoch.store(mem.epoch + 1, Ordering::Release);
        }
        self.signal.notify();
        result.map(|()| true)
    }

    fn flush_memtable(&self, mem: &Arc<Memtable>) -> Result<()> {
        if mem.is_empty() {
            self.discard_empty(mem);
            return Ok(());
        }
        // The log first: a table must never hold a write that the log could still lose, or after a crash the
        // log (and with it a consensus group) would be behind its own tables.
        if self.log.has_pending() {
            let through = self.manifest.lock().log_index;
            let lsn = self.log.append(&[Record::TruncatePrefix { stream: ENGINE_STREAM, through }])?;
            self.log.wait(lsn)?;
        }
        let plan = RewritePlan {
            snapshots: self.snapshots.list(),
            dels: mem.range_dels(),
            version: self.state.load().version.clone(),
            output_level: None,
            table_bytes: u64::MAX,
            boundaries: Vec::new(),
            end: None,
            layout: self.layout(),
            values: self.value_layout(),
            relocate: BTreeSet::new(),
            filter: Filter::default(),
            budget: None,
            drops_tombstones: false,
            dangling_pointers: false,
            cancel: None,
        };
        let mut source = MemIter::new(mem.clone(), None, false);
        source.seek(&[]);
        let mut merge = MergeIter::new(vec![Source::Mem(source)], false);
        merge.seek(&[])?;
        let outputs = Rewriter::new(plan, &self.folder, &self.next_file, None).run(&mut merge)?;
        let (bytes, value_bytes) = (outputs.table_bytes(), outputs.value_bytes());
        self.env.sync_dir(&self.folder.dir)?;
        let log_index = match self.options.faults.early_truncation {
            false => mem.log_index(),
            true => self.state.load().active.log_index(),
        };
        let edit = VersionEdit {
            added: outputs.tables.into_iter().map(|f| (0, f)).collect(),
            added_values: outputs.values,
            log_index: Some(log_index),
            last_seq: Some(mem.last_seq()),
            ..VersionEdit::default()
        };
        // Before the flush is installed, because afterwards the memtable no longer shadows these keys.
        self.items.forget(mem);
        self.install(edit, Some(mem))?;
        self.counters.flushes.fetch_add(1, Ordering::Relaxed);
        self.counters.flush_bytes.fetch_add(bytes, Ordering::Relaxed);
        self.counters.written[0].fetch_add(bytes, Ordering::Relaxed);
        self.counters.value_flush_bytes.fetch_add(value_bytes, Ordering::Relaxed);
        if log_index > 0 {
            // Not waited for. Until it is durable it costs only log space: batches that tables hold are never
            // replayed.
            let truncate = Record::TruncatePrefix { stream: ENGINE_STREAM, through: log_index };
            if let Err(e) = self.log.append_buffered(&[truncate]) {
                tracing::warn!(error = %e, "could not truncate the engine's log stream; the next flush tries again");
            }
        }
        Ok(())
    }
}
