//! The item cache: short values by key, above the block cache. With it a hot value of a hundred bytes does
//! not hold a block of 4 KiB in memory, and no block has to be searched for it.
//!
//! It holds only live values, as the *tables* have them. A read of the newest state looks in the memtables
//! first, then here, then in the tables. Reads of a snapshot and scans do not use it.
//!
//! # Why it never returns outdated values
//!
//! Writers pay nothing for the cache: a newer version in a memtable shadows the cached entry. An entry
//! becomes wrong only when that memtable goes away, that is, when its flush is installed. So a flush calls
//! [`ItemCache::forget`] before it installs: first the *epoch* rises, then every key of the memtable is
//! removed.
//!
//! A reader that fills the cache reads the epoch before it loads its state. It inserts the entry as
//! *unsettled* and reads the epoch again. If the epoch has not changed, it settles the entry. Only settled
//! entries are served.
//!
//! Proof. Consider a read that finds an entry with value `v`. Let `w` be the newest version of the key that
//! the read must see, and suppose that `v` is older than `w`.
//!
//! 1. The read looked in the memtables of its state first and did not find `w`. So `w` was in the tables
//!    before that state was loaded. Before that, the flush raised the epoch and removed the key.
//! 2. The entry is still there, so it was inserted after the removal. Its filler's second look at the epoch
//!    saw the raised epoch.
//! 3. The filler settled the entry, so its first look saw the raised epoch too. It loaded its state after
//!    that first look. `w` was published by then, in a memtable of that state or in its tables, so the filler
//!    would have found `w`. This contradicts the assumption.
//!
//! The order of insertion and removal is the order of the lock over the part of the cache that they share.
//! The read may have loaded its state long before it looks here. That does no harm: an entry newer than the
//! read's sequence number became current after the read began.
//!
//! An ingest puts newer data into the tables, and no memtable shadows the old data until the ingest is
//! published. [`ItemCache::close`] empties the cache and makes the epoch odd until then; while it is odd, no
//! entry is settled. Compactions change nothing that a read sees, so they need no such step. (A
//! [`super::CompactionFilter`] may drop a value, but readers must not rely on that.)
//!
//! # What is admitted, and how much
//!
//! A small array of slots holds fingerprints and counts of keys that were found in the tables. A key raises
//! the count of its slot if the slot holds its fingerprint. Otherwise it lowers the count, and takes the slot
//! over once the count is zero. A key is admitted at its third vote, so uniform and scanning loads hardly
//! ever insert.
//!
//! Nothing is admitted while all tables fit into the block cache. An item saves no memory then. If it is not
//! in the processor's cache, finding it here is not faster than finding it in its block (uniform reads of
//! values of 1 KiB were a fifth slower, skewed ones a tenth faster).
//!
//! The cache holds at most a quarter of the block cache's bytes. It takes them from the block cache step by
//! step as it fills.
//!
//! A read that finds nothing here must cost almost nothing. An admitted key leaves a shorter fingerprint in
//! its slot. Only a key that finds its own fingerprint there searches the cache and takes its locks. An item
//! whose fingerprint was displaced by eight later ones is not found until it is admitted again.

use super::bloom;
use super::cache::{BlockCache, FixedState, STRIPES, stripe};
use super::core::Published;
use super::key::MAX_SEQ;
use super::memtable::{GetOutcome, MemIter, Memtable};
use super::options::EngineFaults;
use crate::sync::atomic::AtomicBool as Flag;
use bytes::Bytes;
use parking_lot::Mutex;
use quick_cache::{OptionsBuilder, Weighter, sync::Cache, sync::DefaultLifecycle};
use std::cell::RefCell;
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

/// The longest item, key and value together, bytes: a value of 1 KiB with its key. What is longer gains
/// little over its block.
pub(crate) const MAX_ITEM_BYTES: usize = 1280;
/// Memory that an item costs beside key and value: its two allocations, its place in the cache, its share of
/// the places that the cache keeps for what it evicted; bytes.
const ITEM_OVERHEAD: usize = 160;
/// Share of the block cache's bytes that items may take.
const SHARE: u64 = 4;
/// Steps in which they take it.
const STEPS: u64 = 16;
/// The smallest step, bytes.
const MIN_STEP: u64 = 64 << 10;
/// Bytes that an item takes, about.
const USUAL_ITEM: u64 = 256;
/// Items that there is a slot for.
const ITEMS_PER_SLOT: u64 = 4;
/// Most slots.
const MAX_SLOTS: u64 = 1 << 20;
/// Low bits of a vote: the count. The others are the fingerprint.
const COUNT: u16 = 7;
/// What a key's own vote adds; a vote for another key subtracts one. So of two keys that are read
/// alternately, first one is admitted. It then votes no more, and the other is admitted too.
const OWN: u16 = 2;
/// The count at which the next vote admits the key: after two of its own.
const ENOUGH: u16 = 2 * OWN;
/// Every so many insertions the cache looks whether it needs another step.
const INSERTIONS_PER_LOOK: u64 = 8;

/// An item. Key and value lie in one allocation of their own, so that no block is held by it.
struct Item {
    bytes: Box<[u8]>,
    key_len: usize,
    /// Nothing that would make it wrong happened while it was filled: it may be served.
    settled: Flag,
}

impl Item {
    fn new(key: &[u8], value: &[u8]) -> Self {
        let mut bytes = Vec::with_capacity(key.len() + value.len());
        bytes.extend_from_slice(key);
        bytes.extend_from_slice(value);
        Self { bytes: bytes.into(), key_len: key.len(), settled: Flag::new(false) }
    }

    #[inline]
    fn key(&self) -> &[u8] {
        &self.bytes[..self.key_len]
    }

    #[inline]
    fn value(&self) -> &[u8] {
        &self.bytes[self.key_len..]
    }
}

#[derive(Clone)]
struct ByBytes;

impl Weighter<u64, Arc<Item>> for ByBytes {
    fn weight(&self, _: &u64, item: &Arc<Item>) -> u64 {
        (item.bytes.len() + ITEM_OVERHEAD) as u64
    }
}

type Items = Cache<u64, Arc<Item>, ByBytes, FixedState, DefaultLifecycle<u64, Arc<Item>>>;

/// What is known about the keys of one slot. It is approximate: concurrent updates by several threads may be
/// lost.
#[derive(Default)]
#[repr(align(16))]
struct Slot {
    /// Eight-bit fingerprints of the admitted keys, the latest in the lowest byte; 0 is none.
    inside: AtomicU64,
    /// Fingerprint of the key that has the slot, and the count.
    vote: AtomicU16,
}

impl Slot {
    /// Votes for a key. True if that admits it.
    #[inline]
    fn vote(&self, hash: u64) -> bool {
        let (vote, print) = (self.vote.load(Ordering::Relaxed), hash as u16 & !COUNT);
        let count = vote & COUNT;
        let other = vote & !COUNT != print;
        let vote = match count {
            0 if other => print | OWN,
            _ if other => vote - 1,
            _ => print | (count + OWN).min(COUNT),
        };
        self.vote.store(vote, Ordering::Relaxed);
        !other && count >= ENOUGH
    }

    /// False if the key was not admitted, or if so many others were admitted since that its fingerprint is
    /// gone.
    #[inline]
    fn may_hold(&self, hash: u64) -> bool {
        const ONES: u64 = u64::MAX / 0xff;
        // Bytes that are the key's are zero; whether there are any.
        let others = self.inside.load(Ordering::Relaxed) ^ (ONES * short_print(hash));
        others.wrapping_sub(ONES) & !others & (ONES << 7) != 0
    }

    /// Records the fingerprint of an admitted key.
    fn note(&self, hash: u64) {
        if !self.may_hold(hash) {
            let inside = self.inside.load(Ordering::Relaxed);
            self.inside.store(inside << 8 | short_print(hash), Ordering::Relaxed);
        }
    }
}

#[inline]
fn short_print(hash: u64) -> u64 {
    // Bits that the vote's fingerprint does not have; the upper ones chose the slot.
    (hash >> 16 & 0xff).max(1)
}

/// What a reader noted before it loaded its state.
#[derive(Clone, Copy)]
pub(crate) struct Epoch(u64);

impl Epoch {
    /// An ingest is being published.
    fn is_closed(self) -> bool {
        self.0 % 2 == 1
    }
}

/// How large the cache may be and is, bytes, slots not counted.
struct Size {
    limit: u64,
    room: u64,
}

#[derive(Default)]
#[repr(align(128))]
struct Counters {
    hits: AtomicU64,
    misses: AtomicU64,
}

/// See the module's comment.
pub(crate) struct ItemCache {
    /// By [`bloom::key_hash`]. Of two keys with the same hash the later one is there. `None`: there is no
    /// cache.
    items: Option<Items>,
    /// Rises by two with each flush, and by one before and after an ingest.
    epoch: Published,
    /// Whether anything was ever inserted. Reads of an unused cache check only this flag.
    used: AtomicBool,
    /// Allocated when the first key that may be admitted is read, so an engine with little data does not have
    /// it.
    slots: OnceLock<Box<[Slot]>>,
    slot_count: usize,
    blocks: Arc<BlockCache>,
    step: u64,
    size: Mutex<Size>,
    insertions: Published,
    faults: EngineFaults,
    counters: [Counters; STRIPES],
}

/// While this guard exists, nothing is inserted into the cache.
pub(crate) struct Closed<'a>(&'a ItemCache);

impl Drop for Closed<'_> {
    fn drop(&mut self) {
        self.0.epoch.fetch_add(1, Ordering::SeqCst);
    }
}

impl ItemCache {
    /// A cache that shares the `capacity` bytes of `blocks`; 0 caches nothing.
    pub(crate) fn new(blocks: Arc<BlockCache>, capacity: usize, faults: EngineFaults) -> Self {
        let share = capacity as u64 / SHARE;
        let step = (share / STEPS).max(MIN_STEP.min(share));
        let items = (step > 0).then(|| {
            let options = OptionsBuilder::new()
                .weight_capacity(step)
                .estimated_items_capacity((step / USUAL_ITEM) as usize + 16)
                .shards(if capacity >= 8 << 20 { 16 } else { 1 })
                .build()
                .expect("the three required options are set");
            Cache::with_options(options, ByBytes, FixedState, DefaultLifecycle::default())
        });
        let slot_count = match items {
            Some(_) => (share / USUAL_ITEM / ITEMS_PER_SLOT).clamp(1, MAX_SLOTS) as usize,
            None => 0,
        };
        let cache = Self {
            items,
            epoch: Published::new(0),
            used: AtomicBool::new(false),
            slots: OnceLock::new(),
            slot_count,
            blocks,
            step,
            size: Mutex::new(Size { limit: 0, room: 0 }),
            insertions: Published::new(0),
            faults,
            counters: Default::default(),
        };
        cache.set_capacity(capacity);
        cache.blocks.set_items(cache.fixed_bytes());
        cache
    }

    /// To be read before the state that [`ItemCache::offer`] has its value from.
    #[inline]
    pub(crate) fn epoch(&self) -> Epoch {
        Epoch(self.epoch.load(Ordering::SeqCst))
    }

    /// The value that the tables have for `key`, if it is here. `hash` is [`bloom::key_hash`] of the key.
    /// Only for a read of now that has looked through the memtables of its state.
    #[inline]
    pub(crate) fn get(&self, key: &[u8], hash: u64) -> Option<Bytes> {
        if !self.used.load(Ordering::Relaxed) {
            return None;
        }
        let found = match self.slot(hash)?.may_hold(hash) {
            true => self.items.as_ref()?.get(&hash),
            false => None,
        };
        let found = found.filter(|item| item.key() == key && item.settled.load(Ordering::Acquire));
        // As in the block cache: a count may be lost where two threads share a stripe.
        let counters = &self.counters[stripe()];
        let counter = if found.is_some() { &counters.hits } else { &counters.misses };
        counter.store(counter.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
        // Copied, not shared: what is evicted is free then, whoever still reads it.
        found.map(|item| Bytes::copy_from_slice(item.value()))
    }

    /// Offers the value that the tables of a state, loaded after `before`, have for `key`. It is inserted if
    /// it is short and the key was read several times lately.
    #[inline]
    pub(crate) fn offer(&self, key: &[u8], hash: u64, value: &[u8], before: Epoch) {
        if self.blocks.is_tight()
            && key.len() + value.len() <= MAX_ITEM_BYTES
            && self.slot_or_make(hash).is_some_and(|slot| slot.vote(hash))
        {
            self.insert(key, hash, value, before);
        }
    }

    /// The slot of a key, if there are slots yet.
    #[inline]
    fn slot(&self, hash: u64) -> Option<&Slot> {
        self.slots.get()?.get(self.slot_number(hash))
    }

    /// The slot of a key. Without a cache there is none.
    #[inline]
    fn slot_or_make(&self, hash: u64) -> Option<&Slot> {
        let make = || (0..self.slot_count).map(|_| Slot::default()).collect();
        self.slots.get_or_init(make).get(self.slot_number(hash))
    }

    #[inline]
    fn slot_number(&self, hash: u64) -> usize {
        ((u128::from(hash) * self.slot_count as u128) >> 64) as usize
    }

    #[cold]
    fn insert(&self, key: &[u8], hash: u64, value: &[u8], before: Epoch) {
        let Some(items) = &self.items else { return };
        if before.is_closed() {
            return;
        }
        if self.insertions.fetch_add(1, Ordering::Relaxed).is_multiple_of(INSERTIONS_PER_LOOK) {
            self.grow(items);
        }
        let item = Arc::new(Item::new(key, value));
        items.insert(hash, item.clone());
        if self.faults.unsettled_items || self.epoch.load(Ordering::SeqCst) == before.0 {
            item.settled.store(true, Ordering::Release);
            self.slot(hash).into_iter().for_each(|slot| slot.note(hash));
        } else {
            items.remove(&hash);
        }
    }

    /// Must be called before a version is installed that holds the contents of `mem`, a closed memtable.
    pub(crate) fn forget(&self, mem: &Arc<Memtable>) {
        let Some(items) = &self.items else { return };
        self.epoch.fetch_add(2, Ordering::SeqCst);
        if items.is_empty() || self.faults.stale_items {
            return;
        }
        if items.len() < mem.entries() / 4 {
            // No memtable is searched while a part of the cache is locked.
            let all = RefCell::new(Vec::new());
            items.retain(|hash, item| {
                all.borrow_mut().push((*hash, item.clone()));
                true
            });
            for (hash, item) in all.into_inner() {
                if mem.get(item.key(), MAX_SEQ) != GetOutcome::Missing {
                    items.remove(&hash);
                }
            }
        } else {
            let dels = mem.range_dels();
            if !dels.is_empty() {
                items.retain(|_, item| dels.find(item.key()).is_none());
            }
            let mut keys = MemIter::new(mem.clone(), Some(MAX_SEQ), false);
            keys.seek(&[]);
            while keys.valid() {
                items.remove(&bloom::key_hash(keys.key()));
                keys.step();
            }
        }
        self.shrink(items);
    }

    /// Empties the cache and keeps it empty until the guard goes: from before tables with data that was in no
    /// memtable are installed until that data is published. One at a time.
    pub(crate) fn close(&self) -> Closed<'_> {
        self.epoch.fetch_add(1, Ordering::SeqCst);
        if let Some(items) = &self.items {
            items.clear();
        }
        Closed(self)
    }

    /// Changes the capacity that is shared with the block cache. What is beyond the items' share goes at
    /// once.
    pub(crate) fn set_capacity(&self, bytes: usize) {
        let Some(items) = &self.items else { return };
        let mut size = self.size.lock();
        size.limit = (bytes as u64 / SHARE).saturating_sub(self.fixed_bytes());
        if size.room > size.limit {
            let limit = size.limit;
            self.resize(items, &mut size, limit);
        }
    }

    /// Takes another step from the block cache if the items need it.
    fn grow(&self, items: &Items) {
        let mut size = self.size.lock();
        // Parts of the cache are full before the whole is.
        if size.room == 0 || items.weight() > size.room / 4 * 3 {
            let room = size.room + self.step;
            self.resize(items, &mut size, room);
        }
    }

    /// Returns memory to the block cache if the items need much less than they have.
    fn shrink(&self, items: &Items) {
        let mut size = self.size.lock();
        let weight = items.weight();
        if weight < size.room / 2 {
            let room = (weight + weight / 2).next_multiple_of(self.step).max(self.step);
            if room < size.room {
                self.resize(items, &mut size, room);
            }
        }
    }

    fn resize(&self, items: &Items, size: &mut Size, room: u64) {
        let room = room.min(size.limit);
        // The part that shrinks does so first.
        if room < size.room {
            items.set_capacity(room);
            self.blocks.set_items(room + self.fixed_bytes());
        } else {
            self.blocks.set_items(room + self.fixed_bytes());
            items.set_capacity(room);
        }
        size.room = room;
        self.used.store(true, Ordering::Relaxed);
    }

    /// Memory that it takes however few items it holds, bytes.
    fn fixed_bytes(&self) -> u64 {
        (self.slot_count * size_of::<Slot>()) as u64
    }

    /// Hits and misses since the start, approximately. Reads are counted from the first insertion on.
    pub(crate) fn counts(&self) -> (u64, u64) {
        let sum = |of: fn(&Counters) -> &AtomicU64| {
            self.counters.iter().map(|c| of(c).load(Ordering::Relaxed)).sum::<u64>()
        };
        (sum(|c| &c.hits), sum(|c| &c.misses))
    }

    /// Bytes held.
    pub(crate) fn weight(&self) -> u64 {
        self.items.as_ref().map_or(0, Cache::weight) + self.fixed_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lsm::key::{KIND_DELETE, KIND_PUT};
    use crate::lsm::memtable::MemPool;

    const MIB: usize = 1 << 20;

    fn cache(capacity: usize) -> ItemCache {
        let blocks = Arc::new(BlockCache::new(capacity, 4096));
        blocks.set_data_bytes(u64::MAX);
        ItemCache::new(blocks, capacity, EngineFaults::default())
    }

    /// As so many reads of a key would that find it in the tables.
    fn read(cache: &ItemCache, times: usize, key: &[u8], value: &[u8]) {
        for _ in 0..times {
            cache.offer(key, bloom::key_hash(key), value, cache.epoch());
        }
    }

    fn get(cache: &ItemCache, key: &[u8]) -> Option<Bytes> {
        cache.get(key, bloom::key_hash(key))
    }

    #[test]
    fn a_short_value_comes_in_when_its_key_is_asked_for_the_third_time() {
        let cache = cache(MIB);
        read(&cache, 2, b"key", b"value");
        assert_eq!(get(&cache, b"key"), None);
        read(&cache, 1, b"key", b"value");
        assert_eq!(get(&cache, b"key").as_deref(), Some(&b"value"[..]));
        let longest = MAX_ITEM_BYTES - 6;
        read(&cache, 5, b"longer", &vec![7; longest + 1]);
        assert_eq!(get(&cache, b"longer"), None);
        read(&cache, 3, b"longer", &vec![7; longest]);
        assert_eq!(get(&cache, b"longer").map(|v| v.len()), Some(longest));
        assert_eq!(cache.counts(), (2, 1), "the read before the first insertion is not counted");
    }

    #[test]
    fn votes_against_count() {
        let slot = Slot::default();
        // The low bits are the count's.
        let (a, b) = (8, 16);
        let votes = |hashes: &[u64]| hashes.iter().map(|h| slot.vote(*h)).collect::<Vec<_>>();
        assert_eq!(votes(&[a, a, a, a]), [false, false, true, true]);
        assert_eq!(votes(&[b; 9]), [false; 9], "seven take all votes away");
        assert_eq!(votes(&[b, b]), [true, true]);
        let won = |hash: u64| (0..20).take_while(|_| !slot.vote(hash) & !slot.vote(24)).count();
        assert!(won(a) < 20, "in turns one wins");
    }

    #[test]
    fn a_slot_knows_the_last_eight() {
        let slot = Slot::default();
        let hash = |n: u64| n << 16;
        assert!((1..256).all(|n| !slot.may_hold(hash(n))));
        for n in 1..256 {
            slot.note(hash(n));
            slot.note(hash(n));
            for other in 1..256 {
                assert_eq!(slot.may_hold(hash(other)), other <= n && other + 8 > n, "{other} after {n}");
            }
        }
    }

    #[test]
    fn two_keys_with_one_hash_are_told_apart() {
        let cache = cache(MIB);
        for _ in 0..3 {
            cache.offer(b"one", 7, b"1", cache.epoch());
        }
        assert_eq!(cache.get(b"one", 7).as_deref(), Some(&b"1"[..]));
        assert_eq!(cache.get(b"two", 7), None);
        cache.offer(b"two", 7, b"2", cache.epoch());
        assert_eq!(cache.get(b"two", 7).as_deref(), Some(&b"2"[..]));
        assert_eq!(cache.get(b"one", 7), None, "the later one is there");
        // The boundary between key and value counts.
        cache.offer(b"ab", 7, b"c", cache.epoch());
        assert_eq!(cache.get(b"a", 7), None);
        assert_eq!(cache.get(b"abc", 7), None);
    }

    #[test]
    fn what_was_read_before_a_flush_or_an_ingest_is_not_served() {
        let cache = cache(MIB);
        let mem = Arc::new(Memtable::new(0, MemPool::new(0)));
        mem.insert(b"a", 1, KIND_PUT, b"new");
        let before = cache.epoch();
        cache.forget(&mem);
        for _ in 0..4 {
            cache.offer(b"b", bloom::key_hash(b"b"), b"old", before);
        }
        assert_eq!(get(&cache, b"b"), None);
        let before = cache.epoch();
        let closed = cache.close();
        for epoch in [before, cache.epoch()] {
            cache.offer(b"b", bloom::key_hash(b"b"), b"old", epoch);
            assert_eq!(get(&cache, b"b"), None);
        }
        let during = cache.epoch();
        drop(closed);
        for epoch in [before, during] {
            cache.offer(b"b", bloom::key_hash(b"b"), b"old", epoch);
            assert_eq!(get(&cache, b"b"), None);
        }
        cache.offer(b"b", bloom::key_hash(b"b"), b"now", cache.epoch());
        assert_eq!(get(&cache, b"b").as_deref(), Some(&b"now"[..]));
        drop(cache.close());
        assert_eq!(get(&cache, b"b"), None, "an ingest empties it");
    }

    #[test]
    fn a_flush_removes_what_its_memtable_says_something_about() {
        // With few items they are looked up in the memtable, with many the memtable's keys are looked up in
        // the cache.
        for others in [0u64, 1000] {
            let cache = cache(MIB);
            let keys: Vec<String> = (0..100).map(|n| format!("key{n:03}")).collect();
            keys[..20].iter().for_each(|k| read(&cache, 3, k.as_bytes(), b"old"));
            let mem = Arc::new(Memtable::new(0, MemPool::new(0)));
            mem.insert(b"key003", 1, KIND_PUT, b"new");
            mem.insert(b"key003", 2, KIND_PUT, b"newer");
            mem.insert(b"key005", 3, KIND_DELETE, b"");
            mem.delete_range(b"key010", b"key012", 4);
            for n in 0..others {
                mem.insert(format!("other{n}").as_bytes(), 5 + n, KIND_PUT, b"");
            }
            cache.forget(&mem);
            for (n, key) in keys[..20].iter().enumerate() {
                assert_eq!(get(&cache, key.as_bytes()).is_none(), [3, 5, 10, 11].contains(&n), "{key}");
            }
        }
    }

    #[test]
    fn items_take_at_most_a_quarter_step_by_step_and_give_it_back() {
        const CAPACITY: usize = 16 * MIB;
        let blocks = Arc::new(BlockCache::new(CAPACITY, 4096));
        blocks.set_data_bytes(u64::MAX);
        let cache = ItemCache::new(blocks.clone(), CAPACITY, EngineFaults::default());
        let slots = cache.weight();
        assert_eq!(blocks.room(), CAPACITY as u64 - slots, "an unused one takes only its slots");
        assert!(slots <= CAPACITY as u64 / 200);
        let key = |n: u64| n.to_be_bytes();
        let mut last = CAPACITY as u64;
        for n in 0..60_000 {
            read(&cache, 3, &key(n), &[1; 100]);
            let room = blocks.room();
            assert!(room <= last && cache.weight() + room <= CAPACITY as u64, "after {n}");
            last = room;
        }
        assert!(cache.weight() > CAPACITY as u64 / 5, "{}", cache.weight());
        assert!(last >= CAPACITY as u64 / 4 * 3, "{last}");
        cache.set_capacity(CAPACITY / 2);
        assert!(cache.weight() <= CAPACITY as u64 / 8);
        let mem = Arc::new(Memtable::new(0, MemPool::new(0)));
        (0..60_000).for_each(|n| mem.insert(&key(n), n + 1, KIND_PUT, b""));
        cache.forget(&mem);
        assert!(blocks.room() > CAPACITY as u64 / 100 * 97, "{}", blocks.room());
    }

    #[test]
    fn keys_that_are_not_asked_for_soon_do_not_come_in() {
        let cache = cache(16 * MIB);
        for _ in 0..3 {
            for n in 0..200_000u64 {
                let key = n.to_be_bytes();
                cache.offer(&key, bloom::key_hash(&key), b"value", cache.epoch());
            }
        }
        let inserted = cache.insertions.load(Ordering::Relaxed);
        assert!(inserted < 100, "{inserted} of 600 000");
    }

    #[test]
    fn without_a_block_cache_there_is_none() {
        let cache = cache(0);
        read(&cache, 3, b"key", b"value");
        assert_eq!((get(&cache, b"key"), cache.weight(), cache.counts()), (None, 0, (0, 0)));
        cache.forget(&Arc::new(Memtable::new(0, MemPool::new(0))));
        drop(cache.close());
    }
}
