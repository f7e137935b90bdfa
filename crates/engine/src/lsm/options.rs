//! Settings of the engine.

use super::filter::Filter;
use super::table::Compression;
use super::tiered::TieredRanges;
use crate::log::LogFaults;

/// Who runs flushes, compactions and log syncs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Background {
    /// Threads of the engine.
    Threads,
    /// Nobody: the caller calls [`super::Engine::background_step`] and [`crate::Log::sync_step`].
    Manual,
}

/// Settings. `Options::default()` suits a laptop.
#[derive(Clone, Debug)]
pub struct Options {
    /// Who runs background work.
    pub background: Background,
    /// Memtable size at which a flush starts, bytes.
    pub memtable_bytes: usize,
    /// Block cache, bytes. At most a quarter of it goes to the item cache. 0: neither.
    pub cache_bytes: usize,
    /// Memory that the engine may have all in all, bytes. Memtables, the log's recent entries and the block
    /// cache then share it, `cache_bytes` is not looked at and `memtable_bytes` is a bound; a quarter is left
    /// for buffers, writes on their way to the log and the allocator's waste. At least 64 MiB. `None`: each
    /// as its own option says.
    pub memory_budget: Option<usize>,
    /// Log segment size, bytes.
    pub segment_bytes: u64,
    /// Target size of a sorted table, bytes.
    pub table_bytes: u64,
    /// Target size of a block before compression, bytes.
    pub block_bytes: usize,
    /// Size of the smallest level below level 0, bytes; the base of the level sizes.
    pub level_base_bytes: u64,
    /// How blocks are compressed.
    pub compression: Compression,
    /// Bits of Bloom filter per key.
    pub bloom_bits_per_key: usize,
    /// Values of this length or more go to value files, bytes; `usize::MAX`: none do.
    pub separate_bytes: usize,
    /// Target size of a value file, bytes.
    pub value_file_bytes: u64,
    /// Share of the bytes in value files that may be garbage, percent: beyond it, live values are copied
    /// together.
    pub value_garbage_percent: u64,
    /// Compaction threads (with [`Background::Threads`]).
    pub compaction_threads: usize,
    /// Key ranges that are compacted by size tiers instead of levels. None by default; may be changed while
    /// the engine runs.
    pub tiered: TieredRanges,
    /// What compactions may leave out. Nothing by default.
    pub filter: Filter,
    /// Bugs planted in the tree, for tests that must find them. None by default.
    pub faults: EngineFaults,
    /// Bugs planted in the log, for tests that must find them. None by default.
    pub log_faults: LogFaults,
}

/// Bugs that a test can plant in the tree, to prove that the checks detect them.
#[derive(Clone, Copy, Debug, Default)]
pub struct EngineFaults {
    /// Gives up the log before what it holds is in tables: a flush truncates up to the newest batch, not to
    /// the flushed one.
    pub early_truncation: bool,
    /// Compaction drops a delete although something older lies below it.
    pub dropped_tombstone: bool,
    /// The manifest's records are not synced.
    pub skip_manifest_sync: bool,
    /// A batch is published before it is in the memtable.
    pub early_publication: bool,
    /// Value files are not synced.
    pub skip_value_sync: bool,
    /// When a value is copied out of a value file that is to go, the table keeps its pointer into that file.
    pub dangling_pointers: bool,
    /// A flush leaves the keys that it makes newer in the item cache.
    pub stale_items: bool,
    /// A reader inserts into the item cache without checking whether a flush overtook it.
    pub unsettled_items: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            background: Background::Threads,
            memtable_bytes: 64 << 20,
            cache_bytes: 64 << 20,
            memory_budget: None,
            segment_bytes: 64 << 20,
            table_bytes: 32 << 20,
            block_bytes: 4 << 10,
            level_base_bytes: 128 << 20,
            compression: Compression::Lz4,
            bloom_bits_per_key: 10,
            separate_bytes: 32 << 10,
            value_file_bytes: 64 << 20,
            value_garbage_percent: 25,
            compaction_threads: 2,
            tiered: TieredRanges::default(),
            filter: Filter::default(),
            faults: EngineFaults::default(),
            log_faults: LogFaults::default(),
        }
    }
}

impl Options {
    /// With every value brought into its range.
    pub(crate) fn normalized(mut self) -> Self {
        self.memtable_bytes = self.memtable_bytes.clamp(1 << 10, 1 << 30);
        self.memory_budget = self.memory_budget.map(|bytes| bytes.max(64 << 20));
        self.table_bytes = self.table_bytes.clamp(1 << 10, 1 << 31);
        self.block_bytes = self.block_bytes.clamp(128, 1 << 20);
        self.level_base_bytes = self.level_base_bytes.clamp(1 << 10, 1 << 40);
        self.bloom_bits_per_key = self.bloom_bits_per_key.clamp(1, 30);
        self.separate_bytes = self.separate_bytes.max(1);
        self.value_file_bytes = self.value_file_bytes.clamp(1 << 10, 1 << 30);
        self.value_garbage_percent = self.value_garbage_percent.clamp(1, 99);
        self.compaction_threads = self.compaction_threads.clamp(1, 64);
        self
    }
}
