//! A leaf of a memtable shard: up to [`LEAF_ENTRIES`] entries in order, with their eight-byte key prefixes in
//! one array. The bytes that all keys of the leaf share are skipped, so a prefix nearly always decides a
//! comparison without reading the arena.

use super::arena::{Arena, Pos};
use crate::lsm::key::{common_prefix, prefix8};
use std::cmp::Ordering;

/// Entries in a full leaf.
pub(super) const LEAF_ENTRIES: usize = 64;
/// Shared bytes kept in the leaf itself; beyond this they are read from the first entry.
const INLINE_COMMON: usize = 24;

/// See the module's comment. Entries are ordered by key, then tag descending.
#[derive(Debug)]
pub(super) struct Leaf {
    len: u32,
    /// Bytes that all keys share.
    skip: u32,
    common: [u8; INLINE_COMMON],
    prefixes: [u64; LEAF_ENTRIES],
    tags: [u64; LEAF_ENTRIES],
    positions: [Pos; LEAF_ENTRIES],
}

impl Leaf {
    pub(super) fn empty() -> Box<Self> {
        Box::new(Self {
            len: 0,
            skip: 0,
            common: [0; INLINE_COMMON],
            prefixes: [0; LEAF_ENTRIES],
            tags: [0; LEAF_ENTRIES],
            positions: [0; LEAF_ENTRIES],
        })
    }

    /// Forgets all entries.
    pub(super) fn clear(&mut self) {
        (self.len, self.skip) = (0, 0);
    }

    /// A leaf of 1 to [`LEAF_ENTRIES`] sorted entries: the prefix behind the `skip` bytes that all their keys
    /// share, tag, position.
    pub(super) fn from_sorted(
        entries: impl Iterator<Item = (u64, u64, Pos)>,
        skip: usize,
        arena: &Arena,
    ) -> Box<Self> {
        let mut leaf = Self::empty();
        for (i, (prefix, tag, pos)) in entries.enumerate() {
            (leaf.prefixes[i], leaf.tags[i], leaf.positions[i]) = (prefix, tag, pos);
            leaf.len += 1;
        }
        // While the prefixes tell the entries well apart there is no need to look at the keys.
        if leaf.prefixes[0] >> 32 == leaf.prefixes[leaf.len() - 1] >> 32 {
            leaf.tighten(arena);
        } else {
            leaf.set_common(leaf.key(0, arena), skip);
        }
        leaf
    }

    #[inline]
    pub(super) fn len(&self) -> usize {
        self.len as usize
    }

    pub(super) fn is_full(&self) -> bool {
        self.len() == LEAF_ENTRIES
    }

    #[inline]
    pub(super) fn tag(&self, i: usize) -> u64 {
        self.tags[i]
    }

    #[inline]
    pub(super) fn position(&self, i: usize) -> Pos {
        self.positions[i]
    }

    #[inline]
    pub(super) fn key<'a>(&self, i: usize, arena: &'a Arena) -> &'a [u8] {
        arena.key(self.positions[i])
    }

    /// Compares the shared bytes with the front of `key`.
    #[inline]
    fn compare_common(&self, key: &[u8], arena: &Arena) -> Ordering {
        let skip = self.skip as usize;
        let common = if skip <= INLINE_COMMON { &self.common[..skip] } else { &self.key(0, arena)[..skip] };
        key[..key.len().min(skip)].cmp(common)
    }

    /// Index of the first entry at or after `(key, tag)` in internal order.
    #[inline]
    pub(super) fn lower_bound(&self, key: &[u8], tag: u64, arena: &Arena) -> usize {
        if self.len == 0 {
            return 0;
        }
        match self.compare_common(key, arena) {
            Ordering::Less => return 0,
            Ordering::Greater => return self.len(),
            Ordering::Equal => {}
        }
        let prefix = prefix8(key, self.skip as usize);
        // Counting, not bisecting: the loads do not wait for each other, and a leaf is rarely in the
        // processor's cache.
        let prefixes = &self.prefixes[..self.len()];
        let mut at = prefixes.iter().map(|&p| usize::from(p < prefix)).sum::<usize>();
        let mut len = prefixes[at..].iter().take_while(|&&p| p == prefix).count();
        while len > 0 {
            let half = len / 2;
            let mid = at + half;
            let before = match self.key(mid, arena).cmp(key) {
                Ordering::Less => true,
                Ordering::Equal => self.tags[mid] > tag,
                Ordering::Greater => false,
            };
            if before {
                at = mid + 1;
                len -= half + 1;
            } else {
                len = half;
            }
        }
        at
    }

    /// Inserts at `at`, the result of [`Leaf::lower_bound`]; the record is already in the arena. The leaf
    /// must not be full.
    pub(super) fn insert(&mut self, at: usize, key: &[u8], tag: u64, pos: Pos, arena: &Arena) {
        let len = self.len();
        debug_assert!(len < LEAF_ENTRIES && at <= len);
        if len == 0 {
            self.set_common(key, key.len());
        } else if self.compare_common(key, arena) != Ordering::Equal {
            let shared = common_prefix(self.key(0, arena), key);
            self.set_common(key, shared);
            for i in 0..len {
                self.prefixes[i] = prefix8(self.key(i, arena), shared);
            }
        }
        self.prefixes.copy_within(at..len, at + 1);
        self.tags.copy_within(at..len, at + 1);
        self.positions.copy_within(at..len, at + 1);
        self.prefixes[at] = prefix8(key, self.skip as usize);
        self.tags[at] = tag;
        self.positions[at] = pos;
        self.len += 1;
    }

    /// Moves the upper half into `right`, an empty leaf.
    pub(super) fn split(&mut self, mut right: Box<Self>, arena: &Arena) -> Box<Self> {
        let (len, at) = (self.len(), self.len() / 2);
        let moved = len - at;
        right.tags[..moved].copy_from_slice(&self.tags[at..len]);
        right.positions[..moved].copy_from_slice(&self.positions[at..len]);
        right.len = moved as u32;
        self.len = at as u32;
        self.tighten(arena);
        right.tighten(arena);
        right
    }

    /// Skips all that the keys now share.
    fn tighten(&mut self, arena: &Arena) {
        let shared = common_prefix(self.key(0, arena), self.key(self.len() - 1, arena));
        self.set_common(self.key(0, arena), shared);
        for i in 0..self.len() {
            self.prefixes[i] = prefix8(self.key(i, arena), shared);
        }
    }

    fn set_common(&mut self, key: &[u8], skip: usize) {
        self.skip = skip as u32;
        let inline = skip.min(INLINE_COMMON);
        self.common[..inline].copy_from_slice(&key[..inline]);
    }
}
