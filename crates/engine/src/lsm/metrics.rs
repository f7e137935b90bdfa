//! What the engine tells of itself.

use super::core::Core;
use super::picker::{debt_bytes, scores, targets};
use std::sync::atomic::Ordering;
use std::time::Duration;

/// One level of the tree.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LevelMetrics {
    /// Tables.
    pub tables: u64,
    /// Their size, bytes.
    pub bytes: u64,
    /// Size at which the level is compacted, bytes; 0 for level 0 and unused levels.
    pub target_bytes: u64,
    /// Fullness in thousandths; at 1000 the level is compacted.
    pub score: u64,
    /// Entries, all versions and deletes.
    pub entries: u64,
    /// Deletes among them.
    pub deletes: u64,
    /// Bytes that flushes and compactions wrote into the level.
    pub written_bytes: u64,
    /// Bytes that compactions read from the level.
    pub read_bytes: u64,
}

/// Sizes now and counters since the engine was opened.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    /// By level.
    pub levels: Vec<LevelMetrics>,
    /// Memory of memtables, bytes.
    pub memtable_bytes: u64,
    /// Memory of flushed memtables kept for the next ones, bytes.
    pub pooled_bytes: u64,
    /// Memtables waiting for their flush.
    pub waiting_memtables: u64,
    /// Bytes that compaction has to rewrite until every level is at its target, roughly.
    pub debt_bytes: u64,
    /// Flushes done.
    pub flushes: u64,
    /// Bytes that flushes wrote.
    pub flush_bytes: u64,
    /// Merging compactions done.
    pub compactions: u64,
    /// Compactions under way.
    pub running_compactions: u64,
    /// Files that nothing refers to any more, still to be removed.
    pub obsolete_files: u64,
    /// Tables moved or dropped without being read.
    pub moves: u64,
    /// Bytes that compactions read.
    pub compaction_read_bytes: u64,
    /// Bytes that compactions wrote.
    pub compaction_write_bytes: u64,
    /// Encoded bytes of batches written or applied.
    pub user_bytes: u64,
    /// Times that a writer waited because too many memtables did.
    pub stops: u64,
    /// Time that writers were slowed down by, all together.
    pub slowdown: Duration,
    /// Times that a writer was slowed down.
    pub slowdowns: u64,
    /// What a written byte costs now, nanoseconds.
    pub price_ns_per_byte: f64,
    /// Bytes that compaction paid for from the background budget, and the pauses that this cost it.
    pub budget_bytes: u64,
    /// See `budget_bytes`.
    pub budget_pauses: Duration,
    /// Blocks found in the cache, approximately.
    pub cache_hits: u64,
    /// Blocks not found in the cache, approximately.
    pub cache_misses: u64,
    /// Bytes in the cache.
    pub cache_bytes: u64,
    /// Live snapshots.
    pub snapshots: u64,
    /// Highest sequence number.
    pub last_sequence: u64,
}

impl Metrics {
    pub(crate) fn of(core: &Core) -> Self {
        let state = core.state.load();
        let options = core.picker_options();
        let t = targets(&state.version, options);
        let scores = scores(&state.version, &t, options);
        let levels = state.version.levels.iter().enumerate().map(|(i, level)| LevelMetrics {
            tables: level.files.len() as u64,
            bytes: level.bytes,
            target_bytes: t.bytes[i],
            score: scores[i],
            entries: level.files.iter().map(|f| f.meta.summary.entries).sum(),
            deletes: level.files.iter().map(|f| f.meta.summary.deletes).sum(),
            written_bytes: core.counters.written[i].load(Ordering::Relaxed),
            read_bytes: core.counters.read[i].load(Ordering::Relaxed),
        });
        let (cache_hits, cache_misses) = core.cache.counts();
        let (slowdown, slowdowns) = core.throttle.totals();
        let (budget_bytes, budget_pauses) = core.budget.totals();
        let c = &core.counters;
        let load = |a: &std::sync::atomic::AtomicU64| a.load(Ordering::Relaxed);
        Self {
            levels: levels.collect(),
            memtable_bytes: state.memtables().map(|m| m.bytes() as u64).sum(),
            pooled_bytes: core.pool.held() as u64,
            waiting_memtables: state.immutables.len() as u64,
            debt_bytes: debt_bytes(&state.version, options),
            flushes: load(&c.flushes),
            flush_bytes: load(&c.flush_bytes),
            compactions: load(&c.compactions),
            running_compactions: core.compactions.lock().running.len() as u64,
            obsolete_files: core.folder.obsolete() as u64,
            moves: load(&c.moves),
            compaction_read_bytes: load(&c.compaction_read_bytes),
            compaction_write_bytes: load(&c.compaction_write_bytes),
            user_bytes: load(&c.user_bytes),
            stops: load(&c.stops),
            slowdown,
            slowdowns,
            price_ns_per_byte: core.throttle.price_ns_per_byte(),
            budget_bytes,
            budget_pauses,
            cache_hits,
            cache_misses,
            cache_bytes: core.cache.weight(),
            snapshots: core.snapshots.list().len() as u64,
            last_sequence: core.visible.load(Ordering::Relaxed),
        }
    }

    /// Bytes written to tables for each byte of batches: write amplification without the log. 0 before the first flush.
    pub fn write_amplification(&self) -> f64 {
        let written = self.flush_bytes + self.compaction_write_bytes;
        let flushed = self.user_bytes.saturating_sub(self.memtable_bytes);
        if flushed == 0 { 0.0 } else { written as f64 / flushed as f64 }
    }

    /// Bytes in tables for each byte in the last level, where every live key is once: space amplification. 1 while there is nothing below level 0.
    pub fn space_amplification(&self) -> f64 {
        match self.levels.iter().rev().find(|l| l.bytes > 0) {
            Some(last) => self.table_bytes() as f64 / last.bytes as f64,
            None => 1.0,
        }
    }

    /// Bytes in tables.
    pub fn table_bytes(&self) -> u64 {
        self.levels.iter().map(|l| l.bytes).sum()
    }
}
