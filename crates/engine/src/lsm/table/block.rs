//! Blocks: sorted entries with prefix compression and restart points. Layout: docs/formats/sstable.md.
//!
//! A block in memory has passed its checksum. Every read of it is still bounds-checked, and a malformed entry
//! ends the iteration with an error instead of a panic.

use super::lookup::Lookup;
use crate::lsm::codec::{get_varint, put_varint};
use crate::lsm::key::{common_prefix, prefix8};
use bytes::Bytes;
use std::cmp::Ordering;
use std::ops::Range;
use std::sync::Arc;

/// Entries between restart points in data blocks.
pub(crate) const RESTART_INTERVAL: usize = 16;

/// Values up to this size are copied out of their block: cheaper than counting references to it, and it does
/// not stay in memory for the sake of one value.
const COPY_BYTES: usize = 1024;

/// Writes one block.
#[derive(Debug)]
pub(crate) struct BlockBuilder {
    buf: Vec<u8>,
    restarts: Vec<u32>,
    interval: usize,
    since_restart: usize,
    last_key: Vec<u8>,
}

impl BlockBuilder {
    pub(crate) fn new(interval: usize) -> Self {
        Self { buf: Vec::new(), restarts: Vec::new(), interval, since_restart: 0, last_key: Vec::new() }
    }

    /// Appends an entry; keys (then tags, descending) must not go backwards.
    pub(crate) fn add(&mut self, key: &[u8], tag: u64, value: &[u8]) {
        let shared = if self.restarts.is_empty() || self.since_restart == self.interval {
            self.restarts.push(self.buf.len() as u32);
            self.since_restart = 0;
            0
        } else {
            common_prefix(&self.last_key, key)
        };
        put_varint(&mut self.buf, shared as u64);
        put_varint(&mut self.buf, (key.len() - shared) as u64);
        put_varint(&mut self.buf, value.len() as u64);
        put_varint(&mut self.buf, tag);
        self.buf.extend_from_slice(&key[shared..]);
        self.buf.extend_from_slice(value);
        self.since_restart += 1;
        self.last_key.truncate(shared);
        self.last_key.extend_from_slice(&key[shared..]);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.buf.is_empty()
    }

    /// Size so far, bytes.
    pub(crate) fn size(&self) -> usize {
        self.buf.len() + 4 * self.restarts.len() + 4
    }

    pub(crate) fn last_key(&self) -> &[u8] {
        &self.last_key
    }

    /// Completes the block into `out` (cleared first) and starts anew.
    pub(crate) fn finish_into(&mut self, out: &mut Vec<u8>) {
        out.clear();
        out.extend_from_slice(&self.buf);
        for r in &self.restarts {
            out.extend_from_slice(&r.to_le_bytes());
        }
        out.extend_from_slice(&(self.restarts.len() as u32).to_le_bytes());
        self.buf.clear();
        self.restarts.clear();
        self.since_restart = 0;
        self.last_key.clear();
    }
}

/// A parsed block. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Block {
    inner: Arc<BlockData>,
}

/// What a block holds. All reading is done here.
#[derive(Debug)]
pub(crate) struct BlockData {
    /// The block, then the lookup's prefixes and offsets: one allocation, so that a read touches few pages.
    data: Bytes,
    /// Where entries end and restart points begin.
    entries_end: u32,
    restarts: u32,
    lookup: Option<Lookup>,
}

/// The contents of a block, wherever they lie.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BlockView<'a> {
    pub(super) data: &'a [u8],
    entries_end: u32,
    restarts: u32,
}

/// A malformed block; the caller knows which file and where.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Malformed;

/// The fixed part of an entry.
#[derive(Clone, Copy)]
pub(super) struct Entry {
    pub(super) shared: usize,
    /// Where the rest of the key starts.
    pub(super) key: usize,
    pub(super) value: usize,
    pub(super) end: usize,
    pub(super) tag: u64,
}

impl Entry {
    /// Decodes the entry at `at` of a block's entries.
    #[inline(always)]
    pub(super) fn decode(data: &[u8], at: usize) -> Result<Self, Malformed> {
        let limit = data.len();
        let (shared, unshared, vlen, pos);
        match data.get(at..at + 3) {
            // Nearly always: three one-byte lengths.
            Some(&[s, u, v]) if (s | u | v) < 0x80 => {
                (shared, unshared, vlen, pos) = (u64::from(s), u64::from(u), u64::from(v), at + 3);
            }
            _ => {
                let (s, p) = get_varint(data, at).ok_or(Malformed)?;
                let (u, p) = get_varint(data, p).ok_or(Malformed)?;
                let (v, p) = get_varint(data, p).ok_or(Malformed)?;
                (shared, unshared, vlen, pos) = (s, u, v, p);
            }
        }
        let (tag, key) = get_varint(data, pos).ok_or(Malformed)?;
        if shared > u64::from(u32::MAX) || unshared > u64::from(u32::MAX) || vlen > u64::from(u32::MAX) {
            return Err(Malformed);
        }
        let value = key + unshared as usize;
        let end = value + vlen as usize;
        if end > limit {
            return Err(Malformed);
        }
        Ok(Self { shared: shared as usize, key, value, end, tag })
    }
}

/// An entry found by [`BlockData::get`].
#[derive(Debug)]
pub(crate) enum BlockGet {
    /// The newest visible version: its tag and its value's place.
    Found(u64, Range<usize>),
    /// The key is not in this block, and a greater one is.
    Absent,
    /// Every entry is before the key's; it may go on in the next block.
    PastEnd,
}

impl Block {
    pub(crate) fn parse(data: Bytes) -> Option<Self> {
        let BlockView { entries_end, restarts, .. } = BlockView::parse(&data)?;
        Some(Self { inner: Arc::new(BlockData { data, entries_end, restarts, lookup: None }) })
    }

    /// As [`Block::parse`], for a block that is going to be searched more than once.
    pub(crate) fn parse_for_lookup(data: &[u8]) -> Option<Self> {
        let BlockView { entries_end, restarts, .. } = BlockView::parse(data)?;
        let (data, lookup) = match Lookup::build(data, entries_end as usize) {
            Some((data, lookup)) => (data, Some(lookup)),
            None => (data.to_vec(), None),
        };
        Some(Self { inner: Arc::new(BlockData { data: Bytes::from(data), entries_end, restarts, lookup }) })
    }

    /// Memory held, bytes.
    pub(crate) fn weight(&self) -> usize {
        self.inner.data.len() + size_of::<BlockData>()
    }
}

impl std::ops::Deref for Block {
    type Target = BlockData;

    #[inline]
    fn deref(&self) -> &BlockData {
        &self.inner
    }
}

impl BlockData {
    #[inline]
    pub(super) fn view(&self) -> BlockView<'_> {
        BlockView { data: &self.data, entries_end: self.entries_end, restarts: self.restarts }
    }

    /// A part of the contents.
    #[inline]
    pub(super) fn bytes(&self, range: Range<usize>) -> &[u8] {
        &self.data[range]
    }

    /// As [`BlockData::bytes`], keeping the block in memory.
    pub(super) fn share(&self, range: Range<usize>) -> Bytes {
        self.data.slice(range)
    }

    /// Where entries end.
    #[inline]
    pub(super) fn entries_end(&self) -> usize {
        self.entries_end as usize
    }

    /// Restart points.
    #[inline]
    pub(super) fn restarts(&self) -> usize {
        self.restarts as usize
    }

    /// A value found by [`BlockData::get`]: copied if it is short, else sharing the block's memory.
    #[inline]
    pub(crate) fn value(&self, range: Range<usize>) -> Bytes {
        if range.len() <= COPY_BYTES {
            Bytes::copy_from_slice(&self.data[range])
        } else {
            self.data.slice(range)
        }
    }

    /// A restart interval from which a walk forward meets everything at or after `key`.
    #[inline]
    pub(super) fn interval_for(&self, key: &[u8], tag: u64) -> Result<usize, Malformed> {
        let Some(lookup) = &self.lookup else { return self.view().interval_before(key, tag) };
        let (mut low, mut high) = (0usize, self.restarts as usize);
        let at = match lookup.position(self.view(), key)? {
            Ok(at) => at,
            Err(BlockGet::PastEnd) => return Ok(high.saturating_sub(1)),
            Err(_) => return Ok(0),
        };
        // Entries before `at` are before the key: start where the last of them has its restart point.
        let before = at.checked_sub(1).map_or(0, |i| lookup.offset(&self.data, i));
        while low < high {
            let mid = low + (high - low) / 2;
            if self.view().restart(mid) <= before { low = mid + 1 } else { high = mid }
        }
        Ok(low.saturating_sub(1))
    }

    /// The first entry with this key at or below `tag`.
    #[inline(always)]
    pub(crate) fn get(&self, key: &[u8], tag: u64) -> Result<BlockGet, Malformed> {
        let Some(lookup) = &self.lookup else { return self.view().get(key, tag) };
        let at = match lookup.position(self.view(), key)? {
            Ok(at) => at,
            Err(outside) => return Ok(outside),
        };
        let (skip, prefix) = (lookup.skip as usize, prefix8(key, lookup.skip as usize));
        let prefixes = lookup.prefixes(&self.data);
        for (i, &stored) in prefixes.iter().enumerate().skip(at) {
            if u64::from_le_bytes(stored) != prefix {
                return Ok(BlockGet::Absent);
            }
            let e = self.view().entry(lookup.offset(&self.data, i))?;
            // Up to here key and entry are equal; what the entry has of its own must begin no later.
            if e.shared > skip + 8 {
                return self.view().get(key, tag);
            }
            let Some(rest) = key.get(e.shared..) else { return Ok(BlockGet::Absent) };
            match self.data[e.key..e.value].cmp(rest) {
                Ordering::Less => {}
                Ordering::Equal if e.tag > tag => {}
                Ordering::Equal => return Ok(BlockGet::Found(e.tag, e.value..e.end)),
                Ordering::Greater => return Ok(BlockGet::Absent),
            }
        }
        Ok(BlockGet::PastEnd)
    }
}

impl<'a> BlockView<'a> {
    /// Where entries end and how many restart points there are, checked; nothing else is.
    pub(crate) fn parse(data: &'a [u8]) -> Option<Self> {
        let tail = data.len().checked_sub(4)?;
        let restarts = u32::from_le_bytes(data[tail..].try_into().ok()?);
        let entries_end = tail.checked_sub((restarts as usize).checked_mul(4)?)?;
        if restarts == 0 && entries_end != 0 {
            return None;
        }
        Some(Self { data, entries_end: u32::try_from(entries_end).ok()?, restarts })
    }

    #[inline]
    pub(super) fn restart(&self, i: usize) -> usize {
        let at = self.entries_end as usize + 4 * i;
        match self.data.get(at..at + 4) {
            Some(b) => u32::from_le_bytes([b[0], b[1], b[2], b[3]]) as usize,
            None => u32::MAX as usize,
        }
    }

    #[inline(always)]
    pub(super) fn entry(&self, at: usize) -> Result<Entry, Malformed> {
        Entry::decode(&self.data[..self.entries_end as usize], at)
    }

    /// Whether the entry at restart `i` is before `(key, tag)`.
    #[inline]
    fn restart_is_before(&self, i: usize, key: &[u8], tag: u64) -> Result<bool, Malformed> {
        let e = self.entry(self.restart(i))?;
        if e.shared != 0 {
            return Err(Malformed);
        }
        Ok(match self.data[e.key..e.value].cmp(key) {
            Ordering::Less => true,
            Ordering::Equal => e.tag > tag,
            Ordering::Greater => false,
        })
    }

    /// Number of the last restart interval whose first entry is before `(key, tag)`, or of the first.
    #[inline]
    pub(super) fn interval_before(&self, key: &[u8], tag: u64) -> Result<usize, Malformed> {
        let (mut low, mut high) = (0usize, self.restarts as usize);
        while low < high {
            let mid = low + (high - low) / 2;
            if self.restart_is_before(mid, key, tag)? {
                low = mid + 1;
            } else {
                high = mid;
            }
        }
        Ok(low.saturating_sub(1))
    }

    /// The first entry with this key at or below `tag`. Compares without building keys: while all entries so
    /// far are before the target, how many bytes of it the last one matched tells what the next one's shared
    /// length means.
    pub(crate) fn get(&self, key: &[u8], tag: u64) -> Result<BlockGet, Malformed> {
        let limit = self.entries_end as usize;
        if self.restarts == 0 {
            return Ok(BlockGet::PastEnd);
        }
        let mut at = self.restart(self.interval_before(key, tag)?);
        let mut matched = 0usize;
        let mut first = true;
        while at < limit {
            let e = self.entry(at)?;
            at = e.end;
            if first || e.shared == 0 {
                // A restart point (or the start): its key is whole.
                matched = 0;
                first = false;
            } else if e.shared > matched {
                // It differs from the target where its predecessor does: still before.
                continue;
            } else if e.shared < matched {
                // It is greater than its predecessor at a position where the predecessor matched the target.
                return Ok(BlockGet::Absent);
            }
            let rest = &self.data[e.key..e.value];
            let target = &key[matched..];
            let n = common_prefix(rest, target);
            match (rest.get(n), target.get(n)) {
                (None, None) => {
                    if e.tag <= tag {
                        return Ok(BlockGet::Found(e.tag, e.value..e.end));
                    }
                    matched += n;
                }
                (None, Some(_)) => matched += n,
                (Some(x), Some(y)) if x < y => matched += n,
                _ => return Ok(BlockGet::Absent),
            }
        }
        Ok(BlockGet::PastEnd)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lsm::key::{KIND_PUT, search_tag, tag};
    use crate::lsm::table::cursor::BlockCursor;
    use proptest::collection::vec;
    use proptest::prelude::*;

    type Entries = Vec<(Vec<u8>, u64, Vec<u8>)>;

    fn build(entries: &Entries, interval: usize) -> Block {
        let mut b = BlockBuilder::new(interval);
        for (k, t, v) in entries {
            b.add(k, *t, v);
        }
        let mut out = Vec::new();
        b.finish_into(&mut out);
        Block::parse(Bytes::from(out)).unwrap()
    }

    fn with_lookup(block: &Block) -> Block {
        Block::parse_for_lookup(&block.data).unwrap()
    }

    fn entries() -> impl Strategy<Value = Entries> {
        vec((vec(0u8..3, 0..14), 1u64..6, vec(any::<u8>(), 0..200)), 0..80).prop_map(|raw| {
            let mut out: Entries = raw.into_iter().map(|(k, s, v)| (k, tag(s, KIND_PUT), v)).collect();
            out.sort_by(|a, b| a.0.cmp(&b.0).then(b.1.cmp(&a.1)));
            out.dedup_by(|a, b| (&a.0, a.1) == (&b.0, b.1));
            out
        })
    }

    fn at(c: &BlockCursor) -> (Vec<u8>, u64, Vec<u8>) {
        assert_eq!(c.value_bytes(), c.value());
        (c.key().to_vec(), c.tag(), c.value().to_vec())
    }

    proptest! {
        #[test]
        fn walks_and_searches(entries in entries(), interval in 1usize..20, probes in vec((vec(0u8..3, 0..8), 0u64..7), 30)) {
            let plain = build(&entries, interval);
            for block in [with_lookup(&plain), plain] {
            let mut c = BlockCursor::new(block.clone());
            let mut got = Vec::new();
            c.first().unwrap();
            while c.valid() {
                got.push(at(&c));
                c.next().unwrap();
            }
            prop_assert_eq!(&got, &entries);
            got.clear();
            c.seek_before(None).unwrap();
            while c.valid() {
                got.push(at(&c));
                c.prev().unwrap();
            }
            got.reverse();
            prop_assert_eq!(&got, &entries);
            for (k, seq) in probes.clone() {
                let t = search_tag(seq);
                let i = entries.partition_point(|e| (&e.0, std::cmp::Reverse(e.1)) < (&k, std::cmp::Reverse(t)));
                c.seek(&k, t).unwrap();
                prop_assert_eq!(c.valid().then(|| at(&c)), entries.get(i).cloned());
                match block.get(&k, t).unwrap() {
                    BlockGet::Found(tag, value) => {
                        let e = entries.get(i).cloned().unwrap();
                        prop_assert_eq!((k.clone(), tag, block.value(value).to_vec()), e);
                    }
                    BlockGet::Absent => prop_assert!(i < entries.len() && entries[i].0 != k),
                    BlockGet::PastEnd => prop_assert_eq!(i, entries.len()),
                }
                let i = entries.partition_point(|e| e.0 < k);
                c.seek_before(Some(&k)).unwrap();
                prop_assert_eq!(c.valid().then(|| at(&c)), i.checked_sub(1).map(|i| entries[i].clone()));
            }
            }
        }

        #[test]
        fn damaged_blocks_do_not_panic(entries in entries(), flips in vec((any::<prop::sample::Index>(), any::<u8>()), 1..6), probe in vec(0u8..3, 0..8)) {
            let block = build(&entries, 4);
            let mut data = block.data.to_vec();
            for (i, v) in flips {
                let i = i.index(data.len());
                data[i] = v;
            }
            let Some(block) = Block::parse(Bytes::from(data)) else { return Ok(()) };
            let _ = block.get(&probe, u64::MAX);
            let block = with_lookup(&block);
            let _ = block.get(&probe, u64::MAX);
            let mut c = BlockCursor::new(block);
            let mut steps = 0;
            let _ = c.seek(&probe, u64::MAX);
            while c.valid() && c.next().is_ok() && steps < 1000 {
                steps += 1;
            }
            let _ = c.seek_before(Some(&probe));
            while c.valid() && c.prev().is_ok() && steps < 2000 {
                steps += 1;
            }
        }
    }
}
