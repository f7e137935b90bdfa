//! Writes one sorted table.

use super::block::{BlockBuilder, RESTART_INTERVAL};
use super::format::{Compression, Footer, Handle, TRAILER, pack_block, seal_block, seal_packed};
use super::pages::PageFit;
use crate::env::OpenMode;
use crate::lsm::bloom;
use crate::lsm::codec::{put_bytes, put_varint};
use crate::lsm::file_writer::FileWriter;
use crate::lsm::key::{KIND_DELETE, kind_of, separator, seq_of};
use crate::lsm::range_del::Fragment;
use crate::{Env, Result};
use std::path::Path;

/// How tables are laid out.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TableLayout {
    /// Data and index blocks close at this size, before compression.
    pub(crate) block_bytes: usize,
    pub(crate) compression: Compression,
    pub(crate) bits_per_key: usize,
}

/// What a finished table holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct TableSummary {
    pub(crate) size: u64,
    /// xxh3-64 of the whole file.
    pub(crate) checksum: u64,
    /// Lowest key, of entries and range deletes.
    pub(crate) smallest: Vec<u8>,
    /// Highest key; if `largest_exclusive`, the end of a range delete, itself outside.
    pub(crate) largest: Vec<u8>,
    pub(crate) largest_exclusive: bool,
    pub(crate) smallest_seq: u64,
    pub(crate) largest_seq: u64,
    pub(crate) entries: u64,
    pub(crate) deletes: u64,
    pub(crate) range_dels: u64,
    /// Key and value bytes before compression.
    pub(crate) raw_bytes: u64,
}

/// See the module's comment. Entries come in internal order, then range deletes, then
/// [`TableBuilder::finish`].
pub(crate) struct TableBuilder {
    out: FileWriter,
    layout: TableLayout,
    table_id: u64,
    data: BlockBuilder,
    fit: PageFit,
    index: BlockBuilder,
    /// The last full block, waiting for the next key to choose its separator.
    pending: Option<(Vec<u8>, Handle)>,
    /// Hashes of the keys of the current partition.
    hashes: Vec<u64>,
    last_key: Vec<u8>,
    /// Separator, index partition, filter partition.
    partitions: Vec<(Vec<u8>, Handle, Handle)>,
    fragments: Vec<Fragment>,
    summary: TableSummary,
    scratch: Vec<u8>,
    separator: Vec<u8>,
}

impl TableBuilder {
    /// Creates the file. `table_id` must be unique in the folder.
    pub(crate) fn create(env: &dyn Env, path: &Path, table_id: u64, layout: TableLayout) -> Result<Self> {
        let file = env.open(path, OpenMode::CreateNew)?;
        Ok(Self {
            out: FileWriter::new(file),
            layout,
            table_id,
            data: BlockBuilder::new(RESTART_INTERVAL),
            fit: PageFit::new(layout.block_bytes),
            index: BlockBuilder::new(1),
            pending: None,
            hashes: Vec::new(),
            last_key: Vec::new(),
            partitions: Vec::new(),
            fragments: Vec::new(),
            summary: TableSummary { smallest_seq: u64::MAX, ..TableSummary::default() },
            scratch: Vec::new(),
            separator: Vec::new(),
        })
    }

    /// Appends an entry.
    pub(crate) fn add(&mut self, key: &[u8], tag: u64, value: &[u8]) -> Result<()> {
        let first = self.summary.entries == 0;
        let new_key = first || self.last_key != key;
        debug_assert!(first || self.last_key[..] <= *key);
        if first {
            self.summary.smallest.extend_from_slice(key);
        }
        if let Some((last, handle)) = self.pending.take() {
            self.index_block(&last, Some(key), handle)?;
        }
        if new_key {
            self.hashes.push(bloom::key_hash(key));
            self.last_key.clear();
            self.last_key.extend_from_slice(key);
        }
        let before = self.data.size();
        self.data.add(key, tag, value);
        let s = &mut self.summary;
        s.entries += 1;
        s.deletes += u64::from(kind_of(tag) == KIND_DELETE);
        s.raw_bytes += (key.len() + value.len()) as u64;
        s.smallest_seq = s.smallest_seq.min(seq_of(tag));
        s.largest_seq = s.largest_seq.max(seq_of(tag));
        let size = self.data.size();
        if self.fit.is_full(self.out.offset(), size, size - before) {
            self.cut_block()?;
        }
        Ok(())
    }

    /// Appends a fragment; fragments come in key order and do not overlap.
    pub(crate) fn add_fragment(&mut self, f: Fragment) {
        debug_assert!(self.fragments.last().is_none_or(|last| last.end <= f.start));
        for &seq in &f.seqs {
            self.summary.smallest_seq = self.summary.smallest_seq.min(seq);
            self.summary.largest_seq = self.summary.largest_seq.max(seq);
        }
        self.summary.range_dels += f.seqs.len() as u64;
        self.fragments.push(f);
    }

    /// The last key added.
    pub(crate) fn last_key(&self) -> &[u8] {
        &self.last_key
    }

    /// Bytes that the file has so far, roughly.
    pub(crate) fn estimated_size(&self) -> u64 {
        self.out.offset()
            + self.data.size() as u64
            + self.index.size() as u64
            + self.hashes.len() as u64 * 5 / 4
    }

    fn cut_block(&mut self) -> Result<()> {
        if self.data.is_empty() {
            return Ok(());
        }
        let last = self.data.last_key().to_vec();
        let mut raw = std::mem::take(&mut self.scratch);
        self.data.finish_into(&mut raw);
        let handle = self.write_data(&raw)?;
        self.fit.packed(raw.len(), handle.len as usize);
        self.scratch = raw;
        self.pending = Some((last, handle));
        Ok(())
    }

    /// Enters a block into the index; `next` is the first key after it.
    fn index_block(&mut self, last: &[u8], next: Option<&[u8]>, handle: Handle) -> Result<()> {
        self.separator.clear();
        match next {
            Some(next) if *last < *next => separator(last, next, &mut self.separator),
            _ => self.separator.extend_from_slice(last),
        }
        let mut value = Vec::with_capacity(12);
        handle.encode(&mut value);
        self.index.add(&self.separator, 0, &value);
        if self.index.size() >= self.layout.block_bytes {
            self.cut_partition()?;
        }
        Ok(())
    }

    fn cut_partition(&mut self) -> Result<()> {
        if self.index.is_empty() {
            return Ok(());
        }
        let last = self.index.last_key().to_vec();
        let filter = bloom::build(&self.hashes, self.layout.bits_per_key);
        self.hashes.clear();
        let filter = self.write_plain(&filter)?;
        let mut raw = std::mem::take(&mut self.scratch);
        self.index.finish_into(&mut raw);
        // Index blocks stay uncompressed: they are read far more often than written.
        let index = self.write_plain(&raw)?;
        self.scratch = raw;
        self.partitions.push((last, index, filter));
        Ok(())
    }

    /// Completes and syncs the file. The folder is the caller's to sync.
    pub(crate) fn finish(mut self) -> Result<TableSummary> {
        self.cut_block()?;
        if let Some((last, handle)) = self.pending.take() {
            self.index_block(&last, None, handle)?;
        }
        self.cut_partition()?;
        self.close_bounds();
        let mut footer = Footer { table_id: self.table_id, ..Footer::default() };
        if !self.fragments.is_empty() {
            let raw = encode_fragments(&self.fragments);
            footer.range_dels = self.write_plain(&raw)?;
        }
        let mut top = Vec::new();
        put_varint(&mut top, self.partitions.len() as u64);
        for (separator, index, filter) in &self.partitions {
            put_bytes(&mut top, separator);
            index.encode(&mut top);
            filter.encode(&mut top);
        }
        footer.top_index = self.write_plain(&top)?;
        let s = &self.summary;
        let mut props = Vec::new();
        for v in [s.entries, s.deletes, s.range_dels, s.raw_bytes, s.smallest_seq, s.largest_seq] {
            put_varint(&mut props, v);
        }
        put_bytes(&mut props, &s.smallest);
        put_bytes(&mut props, &s.largest);
        props.push(u8::from(s.largest_exclusive));
        footer.properties = self.write_plain(&props)?;
        self.out.append(|buf| buf.extend_from_slice(&footer.encode()))?;
        (self.summary.size, self.summary.checksum) = self.out.finish(true)?;
        Ok(self.summary)
    }

    /// Writes a block that stays as it is.
    fn write_plain(&mut self, raw: &[u8]) -> Result<Handle> {
        let (offset, table_id) = (self.out.offset(), self.table_id);
        let len = self.out.append(|buf| {
            let start = buf.len();
            seal_block(raw, Compression::None, table_id, offset, buf);
            buf.len() - start
        })?;
        Ok(Handle { offset, len: u32::try_from(len).expect("a block is far below 4 GiB") })
    }

    /// Writes a data block: at the start of the next page, if that is near and saves reading one page more.
    fn write_data(&mut self, raw: &[u8]) -> Result<Handle> {
        let (at, table_id, compression) = (self.out.offset(), self.table_id, self.layout.compression);
        let (offset, len) = self.out.append(|buf| {
            let start = buf.len();
            pack_block(raw, compression, buf);
            let packed = buf.len() - start;
            let len = packed + TRAILER - 1;
            let gap = PageFit::gap(at, len);
            if gap > 0 {
                buf.resize(start + gap + packed, 0);
                buf.copy_within(start..start + packed, start + gap);
                buf[start..start + gap].fill(0);
            }
            let offset = at + gap as u64;
            seal_packed(start + gap, table_id, offset, buf);
            (offset, len)
        })?;
        Ok(Handle { offset, len: u32::try_from(len).expect("a block is far below 4 GiB") })
    }

    /// Takes range deletes into the key bounds.
    fn close_bounds(&mut self) {
        let s = &mut self.summary;
        s.largest = std::mem::take(&mut self.last_key);
        if s.smallest_seq == u64::MAX {
            s.smallest_seq = 0;
        }
        if let (Some(first), Some(last)) = (self.fragments.first(), self.fragments.last()) {
            if s.entries == 0 || first.start[..] < s.smallest[..] {
                s.smallest = first.start.to_vec();
            }
            if s.entries == 0 || last.end[..] > s.largest[..] {
                s.largest = last.end.to_vec();
                s.largest_exclusive = true;
            }
        }
    }
}

/// The range-delete block's contents.
pub(crate) fn encode_fragments(fragments: &[Fragment]) -> Vec<u8> {
    let mut out = Vec::new();
    put_varint(&mut out, fragments.len() as u64);
    for f in fragments {
        put_bytes(&mut out, &f.start);
        put_bytes(&mut out, &f.end);
        put_varint(&mut out, f.seqs.len() as u64);
        for &seq in &f.seqs {
            put_varint(&mut out, seq);
        }
    }
    out
}
