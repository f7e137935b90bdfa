//! The block cache: verified blocks by table and offset.
//!
//! It resists scans: a block enters the hot part only when it is requested a second time. Its hash function
//! is fixed, so a simulated run repeats exactly.
//!
//! If the tables hold more data than the cache, blocks stay compressed in the cache until they have been
//! requested a few times. Frequently used blocks then need no decompression, and twice as many of the other
//! blocks fit.
//!
//! Every read uses filters and indexes. While they fit into half of the budget, tables keep them themselves
//! ([`BlockCache::pin`]), and the cache shrinks by their size. Beyond that they are cached like other blocks.

use super::table::block::Block;
use super::table::index::IndexPartition;
use super::table::packed::PackedBlock;
use bytes::Bytes;
use quick_cache::{OptionsBuilder, Weighter, sync::Cache, sync::DefaultLifecycle};
use std::hash::{BuildHasher, Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

/// Memory that an entry costs beside its block, bytes.
const ENTRY_OVERHEAD: u64 = 96;

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Key {
    table: u64,
    offset: u64,
}

/// What is cached.
#[derive(Clone)]
pub(crate) enum Cached {
    /// A data block.
    Data(Block),
    /// A data block, compressed.
    Packed(Arc<PackedBlock>),
    /// A filter partition.
    Filter(Bytes),
    /// An index partition.
    Index(Arc<IndexPartition>),
}

impl Cached {
    pub(crate) fn weight(&self) -> u64 {
        let bytes = match self {
            Cached::Data(block) => block.weight(),
            Cached::Packed(block) => block.weight(),
            Cached::Filter(filter) => filter.len(),
            Cached::Index(index) => index.weight(),
        };
        bytes as u64 + ENTRY_OVERHEAD
    }
}

#[derive(Clone)]
struct ByBytes;

impl Weighter<Key, Cached> for ByBytes {
    fn weight(&self, _: &Key, block: &Cached) -> u64 {
        block.weight()
    }
}

/// Multiply-and-fold hashing with constants: fast on two words, and the same in every run.
#[derive(Clone, Default)]
pub(crate) struct FixedState;

#[derive(Default)]
pub(crate) struct FixedHasher(u64);

impl BuildHasher for FixedState {
    type Hasher = FixedHasher;

    fn build_hasher(&self) -> FixedHasher {
        FixedHasher(0x243f_6a88_85a3_08d3)
    }
}

impl Hasher for FixedHasher {
    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.write_u64(u64::from_le_bytes(word));
        }
    }

    #[inline]
    fn write_u64(&mut self, v: u64) {
        let product = u128::from(self.0 ^ v) * 0x9e37_79b9_7f4a_7c15_u128;
        self.0 = (product as u64) ^ ((product >> 64) as u64) ^ v.rotate_left(32);
    }

    #[inline]
    fn finish(&self) -> u64 {
        let product = u128::from(self.0) * 0xa076_1d64_78bd_642f_u128;
        (product as u64) ^ ((product >> 64) as u64)
    }
}

/// See the module's comment.
pub(crate) struct BlockCache {
    cache: Option<Cache<Key, Cached, ByBytes, FixedState, DefaultLifecycle<Key, Cached>>>,
    capacity: AtomicU64,
    pinned: AtomicU64,
    /// The part of the capacity that the item cache uses, bytes.
    items: AtomicU64,
    tight: AtomicBool,
    counters: [Counters; STRIPES],
}

/// Counters are kept in this many places, each thread in one: a line that every read writes would travel
/// between the processors.
pub(super) const STRIPES: usize = 16;

#[derive(Default)]
#[repr(align(128))]
struct Counters {
    hits: AtomicU64,
    misses: AtomicU64,
}

/// The calling thread's stripe.
#[inline]
pub(super) fn stripe() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static STRIPE: usize = NEXT.fetch_add(1, Ordering::Relaxed) % STRIPES;
    }
    STRIPE.with(|s| *s)
}

impl BlockCache {
    /// A cache of `capacity` bytes; 0 caches nothing.
    pub(crate) fn new(capacity: usize, block_bytes: usize) -> Self {
        let cache = (capacity > 0).then(|| {
            let options = OptionsBuilder::new()
                .weight_capacity(capacity as u64)
                .estimated_items_capacity(capacity / block_bytes.max(64) + 16)
                .shards(if capacity >= 8 << 20 { 16 } else { 1 })
                .build()
                .expect("the three required options are set");
            Cache::with_options(options, ByBytes, FixedState, DefaultLifecycle::default())
        });
        let capacity = AtomicU64::new(capacity as u64);
        Self {
            cache,
            capacity,
            pinned: AtomicU64::new(0),
            items: AtomicU64::new(0),
            tight: AtomicBool::new(false),
            counters: Default::default(),
        }
    }

    #[inline]
    pub(crate) fn get(&self, table: u64, offset: u64) -> Option<Cached> {
        let found = self.cache.as_ref()?.get(&Key { table, offset });
        // Counted without a locked instruction: a count may be lost where two threads share a stripe.
        let counters = &self.counters[stripe()];
        let counter = if found.is_some() { &counters.hits } else { &counters.misses };
        counter.store(counter.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
        found
    }

    pub(crate) fn insert(&self, table: u64, offset: u64, block: Cached) {
        if let Some(cache) = &self.cache {
            cache.insert(Key { table, offset }, block);
        }
    }

    /// Sets how much there is to cache: the contents of all tables, bytes.
    pub(crate) fn set_data_bytes(&self, bytes: u64) {
        self.tight.store(bytes > self.capacity.load(Ordering::Relaxed), Ordering::Relaxed);
    }

    /// Whether the cache is smaller than what there is to cache.
    #[inline]
    pub(crate) fn is_tight(&self) -> bool {
        self.tight.load(Ordering::Relaxed)
    }

    /// Changes the budget. Blocks beyond it are evicted at once. Partitions that tables keep stay.
    pub(crate) fn set_capacity(&self, bytes: usize) {
        if self.capacity.swap(bytes as u64, Ordering::Relaxed) != bytes as u64 {
            self.fit();
        }
    }

    /// Takes `bytes` of the budget for something that a table keeps itself. False if too much is kept
    /// already.
    pub(crate) fn pin(&self, bytes: u64) -> bool {
        let limit = self.capacity.load(Ordering::Relaxed) / 2;
        let taken = self.pinned.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |p| {
            p.checked_add(bytes).filter(|&sum| sum <= limit)
        });
        self.fit();
        taken.is_ok()
    }

    /// Gives back what a table kept.
    pub(crate) fn unpin(&self, bytes: u64) {
        if bytes > 0 {
            self.pinned.fetch_sub(bytes, Ordering::Relaxed);
            self.fit();
        }
    }

    /// Gives so many bytes of the budget to the item cache. The item cache asks in steps.
    pub(crate) fn set_items(&self, bytes: u64) {
        if self.items.swap(bytes, Ordering::Relaxed) != bytes {
            self.fit();
        }
    }

    /// Sizes the cache to what tables and items leave of the budget.
    fn fit(&self) {
        if let Some(cache) = &self.cache {
            let capacity = self.capacity.load(Ordering::Relaxed);
            let room = capacity.saturating_sub(self.pinned.load(Ordering::Relaxed));
            // In steps, so that the shards are not resized for every partition.
            let room = room.next_multiple_of((capacity / 64).max(1)).min(capacity);
            let room = room.saturating_sub(self.items.load(Ordering::Relaxed));
            if room != cache.capacity() {
                cache.set_capacity(room);
            }
        }
    }

    /// Hits and misses since the start, approximately.
    pub(crate) fn counts(&self) -> (u64, u64) {
        let sum = |of: fn(&Counters) -> &AtomicU64| {
            self.counters.iter().map(|c| of(c).load(Ordering::Relaxed)).sum::<u64>()
        };
        (sum(|c| &c.hits), sum(|c| &c.misses))
    }

    /// What blocks may take now, bytes.
    #[cfg(test)]
    pub(crate) fn room(&self) -> u64 {
        self.cache.as_ref().map_or(0, Cache::capacity)
    }

    /// Bytes held, by the cache and pinned by tables.
    pub(crate) fn weight(&self) -> u64 {
        self.cache.as_ref().map_or(0, Cache::weight) + self.pinned.load(Ordering::Relaxed)
    }
}
