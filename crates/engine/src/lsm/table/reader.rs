//! An open table: point reads, and the access to blocks that iterators use.

use super::block::{Block, BlockGet, BlockView, Malformed};
use super::builder::TableSummary;
use super::format::{FOOTER, Footer, Handle, open_block};
use super::index::IndexPartition;
use super::packed::{Opened, with_block};
use crate::env::{File, OpenMode};
use crate::lsm::bloom;
use crate::lsm::cache::{BlockCache, Cached};
use crate::lsm::codec::Reader;
use crate::lsm::key::{KIND_DELETE, KIND_POINTER, kind_of, search_tag, seq_of, tag};
use crate::lsm::memtable::GetOutcome;
use crate::lsm::range_del::{Fragment, RangeDels};
use crate::lsm::sorted_keys::SortedKeys;
use crate::{Env, Error, Result};
use bytes::Bytes;
use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

/// Largest buffer that a reading thread keeps, bytes.
const KEPT_BUFFER: usize = 256 << 10;

/// Uses after which a packed block is unpacked for good.
const HOT: u8 = 8;

/// What a thread reads blocks into and unpacks them in.
#[derive(Default)]
struct Buffers {
    sealed: Vec<u8>,
    raw: Vec<u8>,
}

/// Hands the thread's buffers to `then`.
fn with_buffers<T>(then: impl FnOnce(&mut Buffers) -> T) -> T {
    thread_local! {
        static BUFFERS: RefCell<Buffers> = RefCell::default();
    }
    BUFFERS.with_borrow_mut(|buffers| {
        let done = then(buffers);
        // One large value should not stay with the thread for good.
        for buffer in [&mut buffers.sealed, &mut buffers.raw] {
            if buffer.len() > KEPT_BUFFER {
                *buffer = Vec::new();
            }
        }
        done
    })
}

/// What was made of a block that was read or unpacked.
enum Loaded<T> {
    /// The block, unpacked in the cache from now on.
    Whole(Block),
    /// Something else; the cache has the block packed.
    Made(T),
}

impl<T> Loaded<T> {
    /// `None` if the contents are malformed.
    fn of(raw: &[u8], stays_packed: bool, make: impl FnOnce(&[u8]) -> Option<T>) -> Option<Self> {
        if stays_packed {
            make(raw).map(Loaded::Made)
        } else {
            Block::parse_for_lookup(raw).map(Loaded::Whole)
        }
    }
}

/// As [`BlockGet`], with the value.
enum Answer {
    Found(u64, Bytes),
    Absent,
    PastEnd,
}

/// Searches a block where it lies; `None` if it is malformed.
fn search_raw(raw: &[u8], key: &[u8], tag: u64) -> Option<Answer> {
    Some(match BlockView::parse(raw)?.get(key, tag).ok()? {
        BlockGet::Found(t, value) => Answer::Found(t, Bytes::copy_from_slice(&raw[value])),
        BlockGet::Absent => Answer::Absent,
        BlockGet::PastEnd => Answer::PastEnd,
    })
}

/// An index partition and the filter over the same keys, both kept here once read if the cache's budget
/// allows.
#[derive(Debug)]
struct Partition {
    index: Handle,
    filter: Handle,
    kept_index: OnceLock<Arc<IndexPartition>>,
    kept_filter: OnceLock<Bytes>,
}

/// An open table. Top index and range deletes are in memory; everything else is read through the block cache.
pub(crate) struct Table {
    file: Arc<dyn File>,
    path: PathBuf,
    /// File number: the cache's key.
    number: u64,
    size: u64,
    footer: Footer,
    /// Last key (or separator) of each partition.
    separators: SortedKeys,
    partitions: Vec<Partition>,
    range_dels: RangeDels,
    /// If not 0, the sequence number of every entry, whatever is stored (an ingested table).
    global_seq: u64,
    cache: Arc<BlockCache>,
    /// Bytes of the cache's budget that kept partitions take.
    pinned: AtomicU64,
}

impl Drop for Table {
    fn drop(&mut self) {
        self.cache.unpin(*self.pinned.get_mut());
    }
}

impl Table {
    /// Opens a table file of `size` bytes.
    pub(crate) fn open(
        env: &dyn Env,
        path: &Path,
        number: u64,
        size: u64,
        global_seq: u64,
        cache: Arc<BlockCache>,
    ) -> Result<Self> {
        let file = env.open(path, OpenMode::Read)?;
        let actual = file.len()?;
        if actual != size || size < FOOTER as u64 {
            return Err(Error::Corrupt {
                what: "table",
                path: path.to_path_buf(),
                offset: actual.min(size),
                detail: format!("file has {actual} bytes, the manifest says {size}"),
            });
        }
        let mut data = vec![0; FOOTER];
        file.read_at(size - FOOTER as u64, &mut data)?;
        let footer = Footer::decode(&data, size, path)?;
        let mut table = Self {
            file,
            path: path.to_path_buf(),
            number,
            size,
            footer,
            separators: SortedKeys::default(),
            partitions: Vec::new(),
            range_dels: RangeDels::default(),
            global_seq,
            cache,
            pinned: AtomicU64::new(0),
        };
        table.load_top_index()?;
        if footer.range_dels.len > 0 {
            table.load_range_dels()?;
        }
        Ok(table)
    }

    fn load_top_index(&mut self) -> Result<()> {
        let raw = self.read_uncached(self.footer.top_index)?;
        let mut r = Reader::new(&raw);
        let limit = self.size - FOOTER as u64;
        let parsed = (|| {
            let count = r.varint()?;
            let mut keys: Vec<&[u8]> = Vec::new();
            let mut partitions = Vec::new();
            for _ in 0..count {
                keys.push(r.bytes()?);
                let (index, filter) = (Handle::decode(&mut r)?, Handle::decode(&mut r)?);
                if !index.fits(limit) || !filter.fits(limit) {
                    return None;
                }
                let (kept_index, kept_filter) = (OnceLock::new(), OnceLock::new());
                partitions.push(Partition { index, filter, kept_index, kept_filter });
            }
            (r.is_done() && keys.is_sorted()).then(|| (SortedKeys::new(keys.into_iter()), partitions))
        })();
        (self.separators, self.partitions) =
            parsed.ok_or_else(|| self.corrupt("top index", self.footer.top_index, "malformed"))?;
        Ok(())
    }

    fn load_range_dels(&mut self) -> Result<()> {
        let raw = self.read_uncached(self.footer.range_dels)?;
        let mut r = Reader::new(&raw);
        let parsed = (|| {
            let count = r.varint()?;
            let mut frags: Vec<Fragment> = Vec::new();
            for _ in 0..count {
                let start = Bytes::copy_from_slice(r.bytes()?);
                let end = Bytes::copy_from_slice(r.bytes()?);
                let n = r.varint()?;
                let mut seqs = Vec::new();
                for _ in 0..n {
                    seqs.push(r.varint()?);
                }
                let ordered = start < end && frags.last().is_none_or(|last| last.end <= start);
                if !ordered || seqs.is_empty() || !seqs.is_sorted_by(|a, b| a > b) {
                    return None;
                }
                frags.push(Fragment { start, end, seqs });
            }
            r.is_done().then_some(RangeDels { frags })
        })();
        self.range_dels =
            parsed.ok_or_else(|| self.corrupt("range deletes", self.footer.range_dels, "malformed"))?;
        if self.global_seq != 0 {
            for f in &mut self.range_dels.frags {
                f.seqs = vec![self.global_seq];
            }
        }
        Ok(())
    }

    /// The newest version of `key` visible at `seq`, this table's range deletes applied. `hash` is
    /// [`bloom::key_hash`] of the key.
    pub(crate) fn get(&self, key: &[u8], hash: u64, seq: u64) -> Result<GetOutcome> {
        let cover = self.range_dels.cover(key, seq);
        let none = if cover > 0 { GetOutcome::Deleted } else { GetOutcome::Missing };
        let search = if self.global_seq == 0 {
            search_tag(seq)
        } else if self.global_seq <= seq {
            u64::MAX
        } else {
            return Ok(none);
        };
        let first = self.separators.lower_bound(key);
        let Some(part) = self.partitions.get(first) else { return Ok(none) };
        let passes = match part.kept_filter.get() {
            Some(filter) => bloom::may_contain(filter, hash),
            None => bloom::may_contain(&self.filter(part)?, hash),
        };
        if !passes {
            return Ok(none);
        }
        // The versions of one key may run on into the next block, and that into the next partition.
        for part in &self.partitions[first..] {
            let loaded;
            let index = match part.kept_index.get() {
                Some(index) => index,
                None => {
                    loaded = self.index_of(part)?;
                    &loaded
                }
            };
            for i in index.find(key)..index.len() {
                let handle = index.handle(i);
                match self.search(handle, key, search)? {
                    Answer::Found(t, value) => {
                        let t = self.override_tag(t);
                        let deleted = seq_of(t) < cover || kind_of(t) == KIND_DELETE;
                        return Ok(match kind_of(t) {
                            _ if deleted => GetOutcome::Deleted,
                            KIND_POINTER => GetOutcome::Separated(value),
                            _ => GetOutcome::Value(value),
                        });
                    }
                    Answer::PastEnd if index.separator(i) == key => {}
                    Answer::Absent | Answer::PastEnd => return Ok(none),
                }
            }
        }
        Ok(none)
    }

    /// The entry's tag as readers see it.
    #[inline]
    pub(super) fn override_tag(&self, t: u64) -> u64 {
        if self.global_seq == 0 { t } else { tag(self.global_seq, kind_of(t)) }
    }

    /// Partition that a search for `key` starts in; `partitions()` if beyond the last.
    pub(super) fn find_partition(&self, key: &[u8]) -> usize {
        self.separators.lower_bound(key)
    }

    pub(super) fn partitions(&self) -> usize {
        self.partitions.len()
    }

    /// An index partition by number.
    pub(super) fn index(&self, partition: usize) -> Result<Arc<IndexPartition>> {
        self.index_of(&self.partitions[partition])
    }

    fn index_of(&self, part: &Partition) -> Result<Arc<IndexPartition>> {
        if let Some(index) = part.kept_index.get() {
            return Ok(index.clone());
        }
        if let Some(Cached::Index(index)) = self.cache.get(self.number, part.index.offset) {
            return Ok(index);
        }
        let block = Block::parse(self.read_uncached(part.index)?);
        let index = block.and_then(|b| IndexPartition::parse(b, self.size));
        let index = Arc::new(index.ok_or_else(|| self.malformed(Malformed, part.index))?);
        let cached = Cached::Index(index.clone());
        if self.keep(&cached) {
            if part.kept_index.set(index.clone()).is_err() {
                self.give_back(&cached);
            }
        } else {
            self.cache.insert(self.number, part.index.offset, cached);
        }
        Ok(index)
    }

    fn filter(&self, part: &Partition) -> Result<Bytes> {
        if let Some(filter) = part.kept_filter.get() {
            return Ok(filter.clone());
        }
        if let Some(Cached::Filter(filter)) = self.cache.get(self.number, part.filter.offset) {
            return Ok(filter);
        }
        let filter = self.read_uncached(part.filter)?;
        let cached = Cached::Filter(filter.clone());
        if self.keep(&cached) {
            if part.kept_filter.set(filter.clone()).is_err() {
                self.give_back(&cached);
            }
        } else {
            self.cache.insert(self.number, part.filter.offset, cached);
        }
        Ok(filter)
    }

    /// Takes room in the cache's budget for a partition that this table keeps.
    fn keep(&self, cached: &Cached) -> bool {
        let bytes = cached.weight();
        let kept = self.cache.pin(bytes);
        if kept {
            self.pinned.fetch_add(bytes, Ordering::Relaxed);
        }
        kept
    }

    /// Another thread was faster.
    fn give_back(&self, cached: &Cached) {
        self.pinned.fetch_sub(cached.weight(), Ordering::Relaxed);
        self.cache.unpin(cached.weight());
    }

    /// Searches a data block, through the cache.
    #[inline(always)]
    fn search(&self, handle: Handle, key: &[u8], tag: u64) -> Result<Answer> {
        let from_raw = |raw: &[u8]| search_raw(raw, key, tag);
        let block = match self.cache.get(self.number, handle.offset) {
            Some(Cached::Data(block)) => block,
            other => match self.load(other, handle, from_raw)? {
                Loaded::Made(answer) => return Ok(answer),
                Loaded::Whole(block) => block,
            },
        };
        Ok(match block.get(key, tag).map_err(|e| self.malformed(e, handle))? {
            BlockGet::Found(t, value) => Answer::Found(t, block.value(value)),
            BlockGet::Absent => Answer::Absent,
            BlockGet::PastEnd => Answer::PastEnd,
        })
    }

    /// A data block, through the cache.
    #[inline]
    pub(super) fn data_block(&self, handle: Handle) -> Result<Block> {
        match self.cache.get(self.number, handle.offset) {
            Some(Cached::Data(block)) => Ok(block),
            other => match self.load(other, handle, |raw| Block::parse(Bytes::copy_from_slice(raw)))? {
                Loaded::Made(block) | Loaded::Whole(block) => Ok(block),
            },
        }
    }

    /// A data block that is not in the cache unpacked: as a whole if it is from now on, else what `make`
    /// makes of its contents (`None`: they are malformed).
    #[cold]
    fn load<T>(
        &self,
        cached: Option<Cached>,
        handle: Handle,
        make: impl FnOnce(&[u8]) -> Option<T>,
    ) -> Result<Loaded<T>> {
        let (packed, loaded) = with_buffers(|Buffers { sealed, raw }| {
            if let Some(Cached::Packed(packed)) = cached {
                let hot = packed.ask() >= HOT;
                let loaded = packed.with(raw, handle, &self.path, |raw| Loaded::of(raw, !hot, make))?;
                return Ok((None, loaded));
            }
            let len = handle.len as usize;
            if sealed.len() < len {
                sealed.resize(len, 0);
            }
            self.file.read_at(handle.offset, &mut sealed[..len])?;
            let sealed = &sealed[..len];
            with_block(sealed, raw, self.footer.table_id, handle, &self.path, |opened: Opened<'_>| {
                let packed = self.cache.is_tight().then(|| opened.to_packed()).flatten();
                let loaded = Loaded::of(opened.raw, packed.is_some(), make);
                (packed, loaded)
            })
        })?;
        let loaded = loaded.ok_or_else(|| self.malformed(Malformed, handle))?;
        let entry = match (&loaded, packed) {
            (Loaded::Whole(block), _) => Some(Cached::Data(block.clone())),
            (Loaded::Made(_), packed) => packed.map(|packed| Cached::Packed(Arc::new(packed))),
        };
        if let Some(entry) = entry {
            self.cache.insert(self.number, handle.offset, entry);
        }
        Ok(loaded)
    }

    fn read_uncached(&self, handle: Handle) -> Result<Bytes> {
        let mut sealed = vec![0; handle.len as usize];
        self.file.read_at(handle.offset, &mut sealed)?;
        Ok(Bytes::from(open_block(sealed, self.footer.table_id, handle, &self.path)?))
    }

    /// Checks and parses a block whose bytes the caller has read itself.
    pub(super) fn open_raw(&self, sealed: Vec<u8>, handle: Handle) -> Result<Block> {
        let data = open_block(sealed, self.footer.table_id, handle, &self.path)?;
        Block::parse(Bytes::from(data)).ok_or_else(|| self.malformed(Malformed, handle))
    }

    /// Reads `len` bytes at `offset`, for readahead and verification.
    pub(crate) fn read_raw(&self, offset: u64, len: usize) -> Result<Vec<u8>> {
        let mut data = vec![0; len];
        self.file.read_at(offset, &mut data)?;
        Ok(data)
    }

    /// What the table says of itself.
    pub(crate) fn properties(&self) -> Result<TableSummary> {
        let raw = self.read_uncached(self.footer.properties)?;
        let mut r = Reader::new(&raw);
        let parsed = (|| {
            Some(TableSummary {
                entries: r.varint()?,
                deletes: r.varint()?,
                range_dels: r.varint()?,
                raw_bytes: r.varint()?,
                smallest_seq: r.varint()?,
                largest_seq: r.varint()?,
                smallest: r.bytes()?.to_vec(),
                largest: r.bytes()?.to_vec(),
                largest_exclusive: r.u8()? != 0,
                size: self.size,
                checksum: 0,
            })
        })();
        parsed.ok_or_else(|| self.corrupt("properties", self.footer.properties, "malformed"))
    }

    /// Reads and checks every filter partition (iteration checks all other blocks).
    pub(crate) fn check_filters(&self) -> Result<()> {
        for p in &self.partitions {
            self.read_uncached(p.filter)?;
        }
        Ok(())
    }

    /// Whether the filter of the key's partition lets it pass.
    #[cfg(test)]
    pub(crate) fn filter_passes(&self, key: &[u8]) -> Result<bool> {
        let Some(part) = self.partitions.get(self.separators.lower_bound(key)) else { return Ok(false) };
        Ok(bloom::may_contain(&self.filter(part)?, bloom::key_hash(key)))
    }

    /// The number that the table was written under.
    pub(crate) fn id(&self) -> u64 {
        self.footer.table_id
    }

    /// Index partitions.
    pub(crate) fn partition_count(&self) -> usize {
        self.partitions.len()
    }

    pub(crate) fn range_dels(&self) -> &RangeDels {
        &self.range_dels
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    pub(super) fn malformed(&self, _: Malformed, handle: Handle) -> Error {
        self.corrupt("block", handle, "an entry does not parse")
    }

    fn corrupt(&self, what: &'static str, handle: Handle, detail: &str) -> Error {
        Error::Corrupt { what, path: self.path.clone(), offset: handle.offset, detail: detail.to_string() }
    }
}

/// Where all blocks of a table are; the few that are not data blocks last.
#[cfg(test)]
pub(crate) fn blocks_of(table: &Table) -> Result<Vec<Handle>> {
    let mut blocks = Vec::new();
    for p in &table.partitions {
        let index = table.index_of(p)?;
        blocks.extend((0..index.len()).map(|i| index.handle(i)));
    }
    blocks.extend(table.partitions.iter().flat_map(|p| [p.index, p.filter]));
    blocks.extend([table.footer.range_dels, table.footer.top_index, table.footer.properties]);
    Ok(blocks)
}
