//! The memtable: recent writes in memory, in key order, with all versions.
//!
//! It is divided by key range into shards. Each shard is a two-level tree of sorted leaves under its own
//! lock, and splits as it grows. One writer at a time inserts (the engine's write lock guarantees this); any
//! number of readers read.
//!
//! A reader at sequence number `s` may run while newer entries arrive: it skips them. A memtable never loses
//! an entry until the whole memtable is dropped.

mod arena;
mod bulk;
mod iter;
mod leaf;
mod pool;
mod shard;

pub(crate) use bulk::BulkRun;
pub(crate) use iter::MemIter;
pub(crate) use pool::MemPool;

use super::key::{kind_of, search_tag, seq_of, tag};
use super::range_del::{RangeDelMap, RangeDels};
use super::sorted_keys::SortedKeys;
use crate::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use crate::sync::{ArcSwap, RwLock};
use bytes::Bytes;
use shard::Shard;
use std::sync::Arc;

/// Memory that an entry costs beyond its key and value: leaf slot and record header.
const ENTRY_OVERHEAD: usize = 36;
/// The same for each of the two fragments that a range delete may cut.
const RANGE_DEL_OVERHEAD: usize = 64;

/// See the module's comment.
pub(crate) struct Memtable {
    /// Generation: memtables are flushed in this order.
    pub(crate) epoch: u64,
    map: ArcSwap<ShardMap>,
    range_dels: RwLock<RangeDelMap>,
    has_range_dels: AtomicBool,
    bytes: AtomicUsize,
    entries: AtomicUsize,
    /// Index of the last batch of the engine's own log stream held here; 0 if none.
    log_index: AtomicU64,
    /// Sequence numbers held: lowest and highest.
    first_seq: AtomicU64,
    last_seq: AtomicU64,
}

/// Shards by key range, immutable; replaced when a shard splits.
struct ShardMap {
    /// Lowest key of each shard; the first is empty.
    lows: SortedKeys,
    shards: Vec<Arc<RwLock<Shard>>>,
}

impl ShardMap {
    /// Index of the shard that holds `key`.
    #[inline]
    fn find(&self, key: &[u8]) -> usize {
        if self.shards.len() == 1 { 0 } else { self.lows.upper_bound(key).saturating_sub(1) }
    }
}

/// What a source knows of a key as of a sequence number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum GetOutcome {
    /// The key has this value.
    Value(Bytes),
    /// The key has the value that this pointer leads to. Only from a table.
    Separated(Bytes),
    /// The key was deleted.
    Deleted,
    /// Look in older sources.
    Missing,
}

impl Memtable {
    /// An empty memtable whose memory comes from `pool` and goes back to it.
    pub(crate) fn new(epoch: u64, pool: Arc<MemPool>) -> Self {
        let map = ShardMap {
            lows: SortedKeys::new(std::iter::once(&[][..])),
            shards: vec![Arc::new(RwLock::new(Shard::empty(pool)))],
        };
        Self {
            epoch,
            map: ArcSwap::from_pointee(map),
            range_dels: RwLock::default(),
            has_range_dels: AtomicBool::new(false),
            bytes: AtomicUsize::new(0),
            entries: AtomicUsize::new(0),
            log_index: AtomicU64::new(0),
            first_seq: AtomicU64::new(u64::MAX),
            last_seq: AtomicU64::new(0),
        }
    }

    /// Adds an entry (`kind` is `KIND_PUT` or `KIND_DELETE`). Sequence numbers only rise. Only under the
    /// engine's write lock.
    pub(crate) fn insert(&self, key: &[u8], seq: u64, kind: u64, value: &[u8]) {
        self.note_seq(seq);
        let map = self.map.load();
        let at = map.find(key);
        let mut shard = map.shards[at].write();
        debug_assert!(!shard.is_beyond(key), "only this thread splits");
        assert!(shard.insert(key, tag(seq, kind), value), "a shard splits long before 4 GiB");
        let split = shard.wants_split().then(|| shard.split()).flatten();
        if let Some((low, right)) = split {
            // The new map is published before the lock is released: a reader that finds the key beyond this
            // shard finds it through the new map.
            let mut shards = map.shards.clone();
            shards.insert(at + 1, Arc::new(RwLock::new(right)));
            let mut lows: Vec<&[u8]> = (0..map.lows.len()).map(|i| map.lows.get(i)).collect();
            lows.insert(at + 1, &low);
            self.map.store(Arc::new(ShardMap { lows: SortedKeys::new(lows.into_iter()), shards }));
        }
        drop(shard);
        self.bytes.fetch_add(key.len() + value.len() + ENTRY_OVERHEAD, Ordering::Relaxed);
        self.entries.fetch_add(1, Ordering::Relaxed);
    }

    /// Adds a range delete. Only under the engine's write lock.
    pub(crate) fn delete_range(&self, start: &[u8], end: &[u8], seq: u64) {
        self.note_seq(seq);
        self.range_dels.write().insert(start, end, seq);
        self.has_range_dels.store(true, Ordering::Release);
        self.bytes.fetch_add(2 * (start.len() + end.len() + RANGE_DEL_OVERHEAD), Ordering::Relaxed);
        self.entries.fetch_add(1, Ordering::Relaxed);
    }

    fn note_seq(&self, seq: u64) {
        debug_assert!(seq > self.last_seq.load(Ordering::Relaxed));
        if self.first_seq.load(Ordering::Relaxed) == u64::MAX {
            self.first_seq.store(seq, Ordering::Relaxed);
        }
        self.last_seq.store(seq, Ordering::Relaxed);
    }

    /// The newest version of `key` visible at `seq`, range deletes of this memtable applied.
    #[inline]
    pub(crate) fn get(&self, key: &[u8], seq: u64) -> GetOutcome {
        if self.is_empty() {
            return GetOutcome::Missing;
        }
        let cover = self.cover(key, seq);
        let none = if cover > 0 { GetOutcome::Deleted } else { GetOutcome::Missing };
        self.with_shard(key, |shard| {
            let place = shard.lower_bound(key, search_tag(seq));
            match shard.entry(place) {
                Some((k, t, value)) if k == key => {
                    if seq_of(t) < cover || kind_of(t) == super::key::KIND_DELETE {
                        GetOutcome::Deleted
                    } else {
                        GetOutcome::Value(value.to_bytes())
                    }
                }
                _ => none,
            }
        })
    }

    /// The newest range delete at or below `seq` that covers `key`, or 0.
    #[inline]
    pub(crate) fn cover(&self, key: &[u8], seq: u64) -> u64 {
        if self.has_range_dels() { self.range_dels.read().cover(key, seq) } else { 0 }
    }

    /// Runs `f` on the shard that holds `key`, read-locked.
    #[inline]
    fn with_shard<T>(&self, key: &[u8], f: impl FnOnce(&Shard) -> T) -> T {
        loop {
            let map = self.map.load();
            let shard = map.shards[map.find(key)].read();
            if !shard.is_beyond(key) {
                return f(&shard);
            }
        }
    }

    /// Runs `f` on the shard that holds the keys just below `bound` (`None`: the last shard), read-locked.
    /// The second argument is the shard's low bound.
    fn with_shard_below<T>(&self, bound: Option<&[u8]>, f: impl FnOnce(&Shard, &[u8]) -> T) -> T {
        loop {
            let map = self.map.load();
            let at = match bound {
                Some(key) => map.lows.lower_bound(key).saturating_sub(1),
                None => map.shards.len() - 1,
            };
            let shard = map.shards[at].read();
            // The shard is the right one if it still reaches up to the bound.
            let whole = match (&shard.high, bound) {
                (None, _) => true,
                (Some(high), Some(bound)) => bound <= &high[..],
                (Some(_), None) => false,
            };
            if whole {
                return f(&shard, map.lows.get(at));
            }
        }
    }

    pub(crate) fn has_range_dels(&self) -> bool {
        self.has_range_dels.load(Ordering::Acquire)
    }

    /// Range deletes as of now.
    pub(crate) fn range_dels(&self) -> RangeDels {
        self.range_dels.read().freeze()
    }

    /// Approximate memory held, bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Entries and range deletes.
    pub(crate) fn entries(&self) -> usize {
        self.entries.load(Ordering::Relaxed)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.entries() == 0
    }

    /// Notes that batch `index` of the engine's own log stream is held here.
    pub(crate) fn set_log_index(&self, index: u64) {
        self.log_index.store(index, Ordering::Relaxed);
    }

    pub(crate) fn log_index(&self) -> u64 {
        self.log_index.load(Ordering::Relaxed)
    }

    /// The highest sequence number held, 0 if empty.
    pub(crate) fn last_seq(&self) -> u64 {
        self.last_seq.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests;
