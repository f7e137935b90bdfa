//! The block cache: verified, unpacked blocks by table and offset. Scan-resistant (a block enters the hot part only when it is
//! asked for again). Its hash is fixed, so that a simulated run is the same twice.

use bytes::Bytes;
use quick_cache::{OptionsBuilder, Weighter, sync::Cache, sync::DefaultLifecycle};
use std::hash::{BuildHasher, Hash, Hasher};
use std::sync::atomic::{AtomicU64, Ordering};

/// Memory that an entry costs beside its block, bytes.
const ENTRY_OVERHEAD: u64 = 96;

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Key {
    table: u64,
    offset: u64,
}

#[derive(Clone)]
struct ByBytes;

impl Weighter<Key, Bytes> for ByBytes {
    fn weight(&self, _: &Key, block: &Bytes) -> u64 {
        block.len() as u64 + ENTRY_OVERHEAD
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
        let product = u128::from(self.0 ^ v) * 0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835_u128;
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
    cache: Option<Cache<Key, Bytes, ByBytes, FixedState, DefaultLifecycle<Key, Bytes>>>,
    hits: AtomicU64,
    misses: AtomicU64,
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
        Self { cache, hits: AtomicU64::new(0), misses: AtomicU64::new(0) }
    }

    #[inline]
    pub(crate) fn get(&self, table: u64, offset: u64) -> Option<Bytes> {
        let found = self.cache.as_ref()?.get(&Key { table, offset });
        // Counted without a locked instruction: a lost count now and then costs less than a contended line in every read.
        let counter = if found.is_some() { &self.hits } else { &self.misses };
        counter.store(counter.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
        found
    }

    pub(crate) fn insert(&self, table: u64, offset: u64, block: Bytes) {
        if let Some(cache) = &self.cache {
            cache.insert(Key { table, offset }, block);
        }
    }

    /// Hits and misses since the start, approximately.
    pub(crate) fn counts(&self) -> (u64, u64) {
        (self.hits.load(Ordering::Relaxed), self.misses.load(Ordering::Relaxed))
    }

    /// Bytes held.
    pub(crate) fn weight(&self) -> u64 {
        self.cache.as_ref().map_or(0, Cache::weight)
    }
}
