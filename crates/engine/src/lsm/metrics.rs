//! The engine's counters and gauges.

use super::core::Core;
use super::values::collect;
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
    /// Bytes that compaction has to rewrite until every level is at its target, roughly, and garbage of value
    /// files beyond its cap.
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
    /// Bytes of tables in ranges that are compacted by size tiers.
    pub tiered_bytes: u64,
    /// Of these, bytes in the oldest run of each range, where every live key is once.
    pub tiered_oldest_bytes: u64,
    /// The most sorted runs that one of these ranges has, without level 0: what a read there may have to look
    /// into.
    pub tiered_runs: u64,
    /// Bytes that compactions wrote in these ranges out of level 0.
    pub tiered_first_bytes: u64,
    /// Bytes that they wrote there out of runs that were there already.
    pub tiered_again_bytes: u64,
    /// Value files.
    pub value_files: u64,
    /// Bytes of large values, as stored, that tables refer to.
    pub value_live_bytes: u64,
    /// Bytes of large values that nothing refers to and that are still in value files.
    pub value_garbage_bytes: u64,
    /// Bytes of value files that flushes and ingests wrote.
    pub value_flush_bytes: u64,
    /// Bytes of value files that compactions wrote.
    pub value_compaction_bytes: u64,
    /// Bytes of large values that compactions copied out of files that were mostly garbage.
    pub value_copied_bytes: u64,
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
    /// Bytes of blocks in the cache, and of filters and indexes that tables keep.
    pub cache_bytes: u64,
    /// Reads that the item cache answered, approximately.
    pub item_hits: u64,
    /// Reads that went on from the item cache to the tables, approximately; none are counted before the first
    /// item is in it.
    pub item_misses: u64,
    /// Bytes in the item cache.
    pub item_bytes: u64,
    /// Memory of the parts that the budget is shared by: memtables and their pool, block and item cache, the
    /// log's recent entries; bytes.
    pub memory_bytes: u64,
    /// What these parts and all else may have together; 0 without a budget.
    pub memory_budget: u64,
    /// Live snapshots.
    pub snapshots: u64,
    /// Highest sequence number.
    pub last_sequence: u64,
}

impl Metrics {
    pub(crate) fn of(core: &Core) -> Self {
        let state = core.state.load();
        let memtable_bytes: u64 = state.memtables().map(|m| m.bytes() as u64).sum();
        let (pooled_bytes, cache_bytes) = (core.pool.held() as u64, core.cache.weight());
        let log = core.log.metrics();
        let shape = core.shape(&state.version);
        let levels = state.version.levels.iter().enumerate().map(|(i, level)| LevelMetrics {
            tables: level.files.len() as u64,
            bytes: level.bytes,
            target_bytes: shape.targets.bytes[i],
            score: shape.scores[i],
            entries: level.files.iter().map(|f| f.meta.summary.entries).sum(),
            deletes: level.files.iter().map(|f| f.meta.summary.deletes).sum(),
            written_bytes: core.counters.written[i].load(Ordering::Relaxed),
            read_bytes: core.counters.read[i].load(Ordering::Relaxed),
        });
        let (value_bytes, value_garbage_bytes) = collect::totals(&state.version);
        let (cache_hits, cache_misses) = core.cache.counts();
        let ((item_hits, item_misses), item_bytes) = (core.items.counts(), core.items.weight());
        let (slowdown, slowdowns) = core.throttle.totals();
        let (budget_bytes, budget_pauses) = core.budget.totals();
        let c = &core.counters;
        let load = |a: &std::sync::atomic::AtomicU64| a.load(Ordering::Relaxed);
        Self {
            levels: levels.collect(),
            memtable_bytes,
            pooled_bytes,
            waiting_memtables: state.immutables.len() as u64,
            debt_bytes: shape
                .debt_bytes
                .saturating_add(collect::excess(&state.version, core.options.value_garbage_percent)),
            flushes: load(&c.flushes),
            flush_bytes: load(&c.flush_bytes),
            compactions: load(&c.compactions),
            running_compactions: core.compactions.lock().running.len() as u64,
            obsolete_files: core.folder.obsolete() as u64,
            moves: load(&c.moves),
            compaction_read_bytes: load(&c.compaction_read_bytes),
            compaction_write_bytes: load(&c.compaction_write_bytes),
            tiered_bytes: shape.tiered.iter().flat_map(|t| &t.runs).map(|r| r.bytes).sum(),
            tiered_oldest_bytes: shape.tiered.iter().filter_map(|t| t.runs.last()).map(|r| r.bytes).sum(),
            tiered_runs: shape.tiered.iter().map(|t| t.runs.len() as u64).max().unwrap_or(0),
            tiered_first_bytes: load(&c.tiered_first_bytes),
            tiered_again_bytes: load(&c.tiered_again_bytes),
            value_files: state.version.values.len() as u64,
            value_live_bytes: value_bytes - value_garbage_bytes,
            value_garbage_bytes,
            value_flush_bytes: load(&c.value_flush_bytes),
            value_compaction_bytes: load(&c.value_compaction_bytes),
            value_copied_bytes: load(&c.value_copied_bytes),
            user_bytes: load(&c.user_bytes),
            stops: load(&c.stops),
            slowdown,
            slowdowns,
            price_ns_per_byte: core.throttle.price_ns_per_byte(),
            budget_bytes,
            budget_pauses,
            cache_hits,
            cache_misses,
            cache_bytes,
            item_hits,
            item_misses,
            item_bytes,
            memory_bytes: memtable_bytes + pooled_bytes + cache_bytes + item_bytes + log.cached_bytes,
            memory_budget: core.options.memory_budget.unwrap_or(0) as u64,
            snapshots: core.snapshots.list().len() as u64,
            last_sequence: core.visible.load(Ordering::Relaxed),
        }
    }

    /// Bytes written to tables and value files for each byte of batches: write amplification without the log.
    /// 0 before the first flush.
    pub fn write_amplification(&self) -> f64 {
        let values = self.value_flush_bytes + self.value_compaction_bytes;
        let written = self.flush_bytes + self.compaction_write_bytes + values;
        let flushed = self.user_bytes.saturating_sub(self.memtable_bytes);
        if flushed == 0 { 0.0 } else { written as f64 / flushed as f64 }
    }

    /// Bytes in tables and value files for each byte in the last level, where every live key is once, and of
    /// live large values: space amplification. 1 while there is nothing.
    pub fn space_amplification(&self) -> f64 {
        let last = self.levels.iter().rev().find(|l| l.bytes > 0).map_or(0, |l| l.bytes);
        match last + self.value_live_bytes {
            0 => 1.0,
            live => {
                (self.table_bytes() + self.value_live_bytes + self.value_garbage_bytes) as f64 / live as f64
            }
        }
    }

    /// How often a byte that came into a tiered range was written there. 0 before the first.
    pub fn tiered_write_amplification(&self) -> f64 {
        match self.tiered_first_bytes {
            0 => 0.0,
            first => (first + self.tiered_again_bytes) as f64 / first as f64,
        }
    }

    /// Bytes in tiered ranges for each byte of their oldest runs. 1 while there is nothing.
    pub fn tiered_space_amplification(&self) -> f64 {
        match self.tiered_oldest_bytes {
            0 => 1.0,
            oldest => self.tiered_bytes as f64 / oldest as f64,
        }
    }

    /// Bytes in tables.
    pub fn table_bytes(&self) -> u64 {
        self.levels.iter().map(|l| l.bytes).sum()
    }
}
