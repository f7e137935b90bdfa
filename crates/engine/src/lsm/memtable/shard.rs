//! One key range of a memtable: sorted leaves under one lock, with a directory of their first keys.

use super::arena::{Arena, Value};
use super::leaf::Leaf;
use super::pool::MemPool;
use crate::lsm::key::{common_prefix, prefix8};
use std::cmp::Ordering;
use std::sync::Arc;

/// Leaves at which a shard splits in two (about 12 000 entries; few where a model checker has to see it).
pub(super) const SHARD_LEAVES: usize = if cfg!(feature = "shuttle") { 2 } else { 256 };

/// The contents of a shard. It holds the keys from its low bound, which only the shard map knows, up to
/// `high`.
// Leaves are boxed so that inserting one moves pointers, not kilobytes.
#[allow(clippy::vec_box)]
#[derive(Debug)]
pub(super) struct Shard {
    /// First key of the next shard; `None` for the last.
    pub(super) high: Option<Box<[u8]>>,
    arena: Arena,
    leaves: Vec<Box<Leaf>>,
    /// Bytes shared by the first keys of all leaves.
    skip: usize,
    /// Prefix of each leaf's first key.
    firsts: Vec<u64>,
    /// Leaves at which it splits: more after it could not, because one key has them all.
    splits_at: usize,
    pool: Arc<MemPool>,
}

impl Drop for Shard {
    fn drop(&mut self) {
        self.pool.put_leaves(std::mem::take(&mut self.leaves));
    }
}

/// A place in a shard: leaf and entry. May be one past the last entry of a leaf.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    leaf: usize,
    entry: usize,
}

impl Shard {
    pub(super) fn empty(pool: Arc<MemPool>) -> Self {
        Self::from_leaves(None, Arena::new(pool.clone()), Vec::new(), pool)
    }

    /// A shard of leaves in order.
    #[allow(clippy::vec_box)]
    pub(super) fn from_leaves(
        high: Option<Box<[u8]>>,
        arena: Arena,
        leaves: Vec<Box<Leaf>>,
        pool: Arc<MemPool>,
    ) -> Self {
        let mut shard =
            Self { high, arena, leaves, skip: 0, firsts: Vec::new(), splits_at: SHARD_LEAVES, pool };
        if !shard.leaves.is_empty() {
            shard.rebuild_directory();
        }
        shard
    }

    /// Whether the key lies beyond this shard (the shard was split after the caller looked it up).
    #[inline]
    pub(super) fn is_beyond(&self, key: &[u8]) -> bool {
        self.high.as_deref().is_some_and(|high| key >= high)
    }

    pub(super) fn wants_split(&self) -> bool {
        self.leaves.len() >= self.splits_at
    }

    /// The last leaf whose first entry is at or before `(key, tag)`, or the first leaf.
    #[inline]
    fn find_leaf(&self, key: &[u8], tag: u64) -> usize {
        if self.leaves.len() < 2 {
            return 0;
        }
        let common = &self.first_key(0)[..self.skip];
        match key[..key.len().min(self.skip)].cmp(common) {
            Ordering::Less => return 0,
            Ordering::Greater => return self.leaves.len() - 1,
            Ordering::Equal => {}
        }
        let prefix = prefix8(key, self.skip);
        let mut at = self.firsts.partition_point(|&p| p < prefix);
        let mut len = self.firsts[at..].partition_point(|&p| p == prefix);
        while len > 0 {
            let half = len / 2;
            let mid = at + half;
            let before = match self.first_key(mid).cmp(key) {
                Ordering::Less => true,
                Ordering::Equal => self.leaves[mid].tag(0) >= tag,
                Ordering::Greater => false,
            };
            if before {
                at = mid + 1;
                len -= half + 1;
            } else {
                len = half;
            }
        }
        at.saturating_sub(1)
    }

    #[inline]
    fn first_key(&self, leaf: usize) -> &[u8] {
        self.leaves[leaf].key(0, &self.arena)
    }

    /// The place of the first entry at or after `(key, tag)` in internal order.
    #[inline]
    pub(super) fn lower_bound(&self, key: &[u8], tag: u64) -> Place {
        let leaf = self.find_leaf(key, tag);
        let entry = self.leaves.get(leaf).map_or(0, |l| l.lower_bound(key, tag, &self.arena));
        self.normalize(Place { leaf, entry })
    }

    /// Moves a place past the end of its leaf to the start of the next.
    #[inline]
    fn normalize(&self, mut place: Place) -> Place {
        while place.leaf < self.leaves.len() && place.entry >= self.leaves[place.leaf].len() {
            place = Place { leaf: place.leaf + 1, entry: 0 };
        }
        place
    }

    pub(super) fn end(&self) -> Place {
        Place { leaf: self.leaves.len(), entry: 0 }
    }

    #[inline]
    pub(super) fn after(&self, place: Place) -> Place {
        self.normalize(Place { leaf: place.leaf, entry: place.entry + 1 })
    }

    /// The place before, or `None` at the start.
    #[inline]
    pub(super) fn before(&self, place: Place) -> Option<Place> {
        if place.entry > 0 {
            return Some(Place { leaf: place.leaf, entry: place.entry - 1 });
        }
        let leaf = place.leaf.checked_sub(1)?;
        Some(Place { leaf, entry: self.leaves[leaf].len() - 1 })
    }

    /// The entry at a place: key, tag, value.
    #[inline]
    pub(super) fn entry(&self, place: Place) -> Option<(&[u8], u64, Value<'_>)> {
        let leaf = self.leaves.get(place.leaf)?;
        let (key, value) = self.arena.entry(leaf.position(place.entry));
        Some((key, leaf.tag(place.entry), value))
    }

    /// Adds an entry. False if the shard's arena has no room left, which a batch of the permitted size cannot
    /// reach.
    pub(super) fn insert(&mut self, key: &[u8], tag: u64, value: &[u8]) -> bool {
        let Some(pos) = self.arena.push(key, value) else { return false };
        if self.leaves.is_empty() {
            self.leaves.push(self.pool.leaf());
            self.leaves[0].insert(0, key, tag, pos, &self.arena);
            self.rebuild_directory();
            return true;
        }
        let mut leaf = self.find_leaf(key, tag);
        let mut at = self.leaves[leaf].lower_bound(key, tag, &self.arena);
        if self.leaves[leaf].is_full() {
            if at == self.leaves[leaf].len() && leaf + 1 == self.leaves.len() {
                // Ascending writes: start a new leaf and leave this one full.
                self.leaves.push(self.pool.leaf());
                leaf += 1;
                at = 0;
            } else {
                let right = self.leaves[leaf].split(self.pool.leaf(), &self.arena);
                let left_len = self.leaves[leaf].len();
                self.leaves.insert(leaf + 1, right);
                self.add_to_directory(leaf + 1);
                if at > left_len {
                    leaf += 1;
                    at -= left_len;
                }
            }
        }
        self.leaves[leaf].insert(at, key, tag, pos, &self.arena);
        if at == 0 {
            if self.firsts.len() < self.leaves.len() {
                self.add_to_directory(leaf);
            } else {
                self.replace_in_directory(leaf);
            }
        }
        true
    }

    fn add_to_directory(&mut self, leaf: usize) {
        if self.shared_skip() != self.skip {
            return self.rebuild_directory();
        }
        let prefix = prefix8(self.first_key(leaf), self.skip);
        self.firsts.insert(leaf, prefix);
    }

    fn replace_in_directory(&mut self, leaf: usize) {
        if self.shared_skip() != self.skip {
            return self.rebuild_directory();
        }
        self.firsts[leaf] = prefix8(self.first_key(leaf), self.skip);
    }

    fn shared_skip(&self) -> usize {
        common_prefix(self.first_key(0), self.first_key(self.leaves.len() - 1))
    }

    fn rebuild_directory(&mut self) {
        self.skip = self.shared_skip();
        self.firsts = (0..self.leaves.len()).map(|i| prefix8(self.first_key(i), self.skip)).collect();
    }

    /// Moves the upper half of the leaves into a new shard, cutting between two different keys. `None` if
    /// there is no such place.
    pub(super) fn split(&mut self) -> Option<(Box<[u8]>, Shard)> {
        let half = self.leaves.len() / 2;
        let cut = (half..self.leaves.len()).chain((1..half).rev()).find(|&i| {
            let left = &self.leaves[i - 1];
            left.key(left.len() - 1, &self.arena) != self.first_key(i)
        });
        let Some(cut) = cut else {
            self.splits_at = self.leaves.len() * 2;
            return None;
        };
        self.splits_at = SHARD_LEAVES;
        let low: Box<[u8]> = self.first_key(cut).into();
        self.arena.seal();
        let high = self.high.replace(low.clone());
        let right =
            Self::from_leaves(high, self.arena.clone(), self.leaves.split_off(cut), self.pool.clone());
        self.rebuild_directory();
        Some((low, right))
    }
}

#[cfg(all(test, not(feature = "shuttle")))]
mod tests {
    use super::*;

    #[test]
    fn a_shard_of_one_key_is_not_asked_to_split_at_every_write() {
        let mut shard = Shard::empty(Arc::default());
        let mut tag = 0;
        while !shard.wants_split() {
            tag += 1;
            assert!(shard.insert(b"hot", tag, b"value"));
        }
        assert!(shard.split().is_none() && !shard.wants_split());
        let leaves = shard.leaves.len();
        // Enough to have leaves of their own.
        (0..200u64).for_each(|n| assert!(shard.insert(&n.to_be_bytes(), 1, b"value")));
        while !shard.wants_split() {
            tag += 1;
            assert!(shard.insert(b"hot", tag, b"value"));
        }
        assert!(shard.leaves.len() >= 2 * leaves);
        let (low, right) = shard.split().expect("there are other keys now");
        assert!(*low < b"hot"[..] && right.leaves.len() > leaves && !shard.wants_split());
    }
}
