//! One budget for all memory of the engine, divided into shares: memtables, the log's cache for its readers,
//! the block cache (with the filters and indexes that tables keep), and a quarter for everything else.
//!
//! The block cache shrinks only if memtables outgrow their share, which happens when readers hold on to
//! flushed memtables. Lending unused memtable memory to the cache was tried and dropped. Memory that the
//! cache frees is fragmented into pieces of 4 KiB, so memtables cannot reuse it, and the process grew a fifth
//! beyond the budget at each change of load.
//!
//! Pure: sizes in, sizes out. [`super::core`] asks whenever the set of memtables changes.

use super::core::MAX_IMMUTABLES;
use super::options::Options;

/// Share of the budget that is not assigned: buffers of compactions and flushes, open tables, the allocator's
/// overhead.
const RESERVE_SHARE: usize = 4;
/// Share that all memtables together may have.
const MEMTABLES_SHARE: usize = 4;
/// Share of one memtable at most.
const MEMTABLE_SHARE: usize = 16;
/// Share of the log's recent entries at most.
const LOG_SHARE: usize = 16;
/// Recent entries that the log keeps without a budget, bytes.
const LOG_BYTES: usize = 32 << 20;

/// How memory is divided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shares {
    budget: Option<usize>,
    /// Memtable size at which a flush starts.
    pub(crate) memtable_bytes: usize,
    /// Memtables waiting for their flush at which writers stop.
    pub(crate) max_waiting: usize,
    /// Recent entries that the log keeps.
    pub(crate) log_bytes: usize,
    /// Block cache.
    pub(crate) cache_bytes: usize,
}

impl Shares {
    pub(crate) fn of(options: &Options) -> Self {
        let Some(budget) = options.memory_budget else {
            return Self {
                budget: None,
                memtable_bytes: options.memtable_bytes,
                max_waiting: MAX_IMMUTABLES,
                log_bytes: LOG_BYTES,
                cache_bytes: options.cache_bytes,
            };
        };
        let memtable_bytes = options.memtable_bytes.min(budget / MEMTABLE_SHARE).max(1 << 10);
        let mut shares = Self {
            budget: Some(budget),
            memtable_bytes,
            max_waiting: (budget / MEMTABLES_SHARE / memtable_bytes)
                .saturating_sub(1)
                .clamp(1, MAX_IMMUTABLES),
            log_bytes: LOG_BYTES.min(budget / LOG_SHARE),
            cache_bytes: 0,
        };
        shares.cache_bytes = shares.cache_for(0, 0).unwrap_or(0);
        shares
    }

    /// What the block cache may have now, given the memory of memtables and of their pool; `None` if it is
    /// fixed.
    pub(crate) fn cache_for(&self, memtables: usize, pooled: usize) -> Option<usize> {
        let budget = self.budget?;
        // The share of all memtables, and a pool as large as one, count as used: they will be.
        let share = (self.max_waiting + 2) * self.memtable_bytes;
        let taken = share.max(memtables + pooled) + self.log_bytes + budget / RESERVE_SHARE;
        Some(budget.saturating_sub(taken))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_never_exceed_the_whole() {
        for budget in [1 << 20, 10_000_000, 64 << 20, 300 << 20, 4 << 30] {
            for memtable_bytes in [1 << 10, 1 << 20, 64 << 20, 1 << 30] {
                let s = Shares::of(&Options {
                    memory_budget: Some(budget),
                    memtable_bytes,
                    ..Options::default()
                });
                for waiting in 0..=s.max_waiting {
                    let memtables = (waiting + 1) * s.memtable_bytes;
                    let cache = s.cache_for(memtables, 0).unwrap();
                    assert!(
                        memtables + cache + s.log_bytes <= budget - budget / 4,
                        "{budget} {s:?} {waiting}"
                    );
                    assert!(cache <= s.cache_bytes);
                }
                assert!(s.cache_bytes >= budget / 4, "{s:?}");
                let late = s.cache_for((s.max_waiting + 3) * s.memtable_bytes, 0).unwrap();
                assert!(late < s.cache_bytes, "memtables beyond their share take from the cache");
            }
        }
        let free = Shares::of(&Options::default());
        assert_eq!((free.cache_for(1 << 40, 0), free.max_waiting), (None, MAX_IMMUTABLES));
    }
}
