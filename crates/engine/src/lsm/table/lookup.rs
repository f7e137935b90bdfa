//! An index over the keys of a cached block, used to find one key in it.

use super::block::{BlockGet, BlockView, Entry, Malformed};
use crate::lsm::key::{common_prefix, prefix8};
use std::cell::RefCell;
use std::cmp::Ordering;

/// Built when a block enters the cache: eight bytes of every key side by side, so that a search touches
/// neighbouring cache lines instead of decoding entries all over the block. A tenth more memory, a third less
/// time.
#[derive(Debug)]
pub(super) struct Lookup {
    /// Bytes that all keys share, left out of the prefixes.
    pub(super) skip: u16,
    /// Entries.
    len: u16,
    /// Where the prefixes begin in the block's data: eight bytes for each entry, then two with the entry's
    /// offset.
    start: u32,
    /// The shared bytes, as far as they fit.
    common: [u8; INLINE_COMMON],
}

/// Shared bytes that a lookup holds itself; longer ones are compared with the first key.
const INLINE_COMMON: usize = 24;
/// Bytes of lookup for each entry.
const LOOKUP_BYTES: usize = 10;
/// Prefixes that are counted, not bisected, once a search is down to them.
const COUNTED: usize = 64;

impl Lookup {
    /// A copy of a block whose entries end at `entries_end`, with prefixes and offsets behind it. `None` if
    /// the block is malformed (its reader will say so) or too large to be worth it.
    pub(super) fn build(data: &[u8], entries_end: usize) -> Option<(Vec<u8>, Self)> {
        thread_local! {
            /// Keys of the block, their ends, the entries' offsets: kept between blocks.
            static SCRATCH: RefCell<(Vec<u8>, Vec<u32>, Vec<u16>)> = const { RefCell::new((Vec::new(), Vec::new(), Vec::new())) };
        }
        if entries_end > 1 << 16 {
            return None;
        }
        SCRATCH.with_borrow_mut(|(keys, ends, offsets)| {
            keys.clear();
            ends.clear();
            offsets.clear();
            let entries = &data[..entries_end];
            let (mut at, mut last) = (0usize, 0usize);
            while at < entries_end {
                let e = Entry::decode(entries, at).ok()?;
                let start = keys.len();
                // More than a megabyte of keys in a block of 64 KiB means that the block is damaged or
                // malicious.
                if e.shared > start - last || start > 1 << 20 {
                    return None;
                }
                keys.extend_from_within(last..last + e.shared);
                keys.extend_from_slice(&entries[e.key..e.value]);
                ends.push(keys.len() as u32);
                offsets.push(at as u16);
                last = start;
                at = e.end;
            }
            let key = |i: usize| &keys[if i == 0 { 0 } else { ends[i - 1] as usize }..ends[i] as usize];
            let len = ends.len();
            let shared = if len == 0 { &[][..] } else { &key(0)[..common_prefix(key(0), key(len - 1))] };
            let skip = u16::try_from(shared.len()).ok()?;
            // Keys out of order would be found here and not there: leave such a block to the slow path.
            if !(1..len).all(|i| prefix8(key(i - 1), shared.len()) <= prefix8(key(i), shared.len())) {
                return None;
            }
            let mut common = [0; INLINE_COMMON];
            let inline = shared.len().min(INLINE_COMMON);
            common[..inline].copy_from_slice(&shared[..inline]);
            let mut out = Vec::with_capacity(data.len() + len * LOOKUP_BYTES);
            out.extend_from_slice(data);
            (0..len).for_each(|i| out.extend_from_slice(&prefix8(key(i), shared.len()).to_le_bytes()));
            offsets.iter().for_each(|offset| out.extend_from_slice(&offset.to_le_bytes()));
            let lookup = Self { skip, len: u16::try_from(len).ok()?, start: data.len() as u32, common };
            Some((out, lookup))
        })
    }

    /// The prefixes of all entries.
    #[inline]
    pub(super) fn prefixes<'a>(&self, data: &'a [u8]) -> &'a [[u8; 8]] {
        let start = self.start as usize;
        data[start..start + 8 * usize::from(self.len)].as_chunks().0
    }

    /// Where entry `i` starts.
    #[inline]
    pub(super) fn offset(&self, data: &[u8], i: usize) -> usize {
        let at = self.start as usize + 8 * usize::from(self.len) + 2 * i;
        usize::from(u16::from_le_bytes([data[at], data[at + 1]]))
    }

    /// Number of the first entry whose prefix is not below the key's, or what the search comes to if the key
    /// lies outside the keys' common prefix.
    #[inline]
    pub(super) fn position(
        &self,
        block: BlockView<'_>,
        key: &[u8],
    ) -> Result<Result<usize, BlockGet>, Malformed> {
        let skip = usize::from(self.skip);
        if skip > 0 {
            let common = if skip <= INLINE_COMMON {
                &self.common[..skip]
            } else {
                // The first entry is a restart point: its key is whole.
                let first = block.entry(0)?;
                block.data.get(first.key..first.key + skip).ok_or(Malformed)?
            };
            match key[..key.len().min(skip)].cmp(common) {
                Ordering::Less => return Ok(Err(BlockGet::Absent)),
                Ordering::Greater => return Ok(Err(BlockGet::PastEnd)),
                Ordering::Equal => {}
            }
        }
        let prefix = prefix8(key, skip);
        let before = |p: &[u8; 8]| u64::from_le_bytes(*p) < prefix;
        let mut rest = self.prefixes(block.data);
        let mut at = 0;
        while rest.len() > COUNTED {
            let half = rest.len() / 2;
            if before(&rest[half]) {
                at += half + 1;
                rest = &rest[half + 1..];
            } else {
                rest = &rest[..half];
            }
        }
        // Counting, not bisecting: the loads do not wait for each other, and a block is rarely in the
        // processor's cache.
        Ok(Ok(at + rest.iter().map(|p| usize::from(before(p))).sum::<usize>()))
    }
}
