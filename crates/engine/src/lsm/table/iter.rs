//! Iteration over a table, in one direction fixed at creation.

use super::block::{Block, Malformed};
use super::cursor::BlockCursor;
use super::format::Handle;
use super::index::IndexPartition;
use super::reader::Table;
use crate::Result;
use bytes::Bytes;
use std::sync::Arc;

/// Bytes that a compaction reads at once.
const READAHEAD: usize = 256 << 10;

/// How an iterator gets its blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// Through the block cache.
    Cached,
    /// In long reads past the cache, for compaction and verification.
    Sequential,
}

/// See the module's comment. Not positioned until sought; after an error it is not valid.
pub(crate) struct TableIter {
    table: Arc<Table>,
    access: Access,
    reverse: bool,
    partition: usize,
    index: Option<Arc<IndexPartition>>,
    /// Current block within the partition.
    block: usize,
    data: Option<BlockCursor>,
    valid: bool,
    /// Sequential: bytes read ahead and their offset.
    ahead: (u64, Vec<u8>),
}

impl TableIter {
    pub(crate) fn new(table: Arc<Table>, access: Access, reverse: bool) -> Self {
        Self {
            table,
            access,
            reverse,
            partition: 0,
            index: None,
            block: 0,
            data: None,
            valid: false,
            ahead: (0, Vec::new()),
        }
    }

    #[inline]
    pub(crate) fn valid(&self) -> bool {
        self.valid
    }

    #[inline]
    fn current(&self) -> &BlockCursor {
        self.data.as_ref().expect("only asked while valid")
    }

    #[inline]
    pub(crate) fn key(&self) -> &[u8] {
        self.current().key()
    }

    #[inline]
    pub(crate) fn tag(&self) -> u64 {
        self.table.override_tag(self.current().tag())
    }

    #[inline]
    pub(crate) fn value(&self) -> &[u8] {
        self.current().value()
    }

    pub(crate) fn value_bytes(&self) -> Bytes {
        self.current().value_bytes()
    }

    /// Forward: to the first entry with key `>= key`.
    pub(crate) fn seek(&mut self, key: &[u8]) -> Result<()> {
        debug_assert!(!self.reverse);
        self.valid = false;
        let partition = self.table.find_partition(key);
        if partition >= self.table.partitions() {
            self.index = None;
            return Ok(());
        }
        let index = self.table.index(partition)?;
        let block = index.find(key);
        (self.partition, self.index) = (partition, Some(index));
        self.go(block, |data| data.seek(key, u64::MAX))
    }

    /// Reverse: to the last entry with key `< key`; `None`: to the very last.
    pub(crate) fn seek_before(&mut self, key: Option<&[u8]>) -> Result<()> {
        debug_assert!(self.reverse);
        self.valid = false;
        let Some(last) = self.table.partitions().checked_sub(1) else { return Ok(()) };
        let partition = key.map_or(last, |k| self.table.find_partition(k).min(last));
        let index = self.table.index(partition)?;
        let Some(last) = index.len().checked_sub(1) else { return Ok(()) };
        // The block whose separator is the first `>= key` may hold keys below it; if all separators are
        // below, the last block.
        let block = key.map_or(last, |k| index.find(k).min(last));
        (self.partition, self.index) = (partition, Some(index));
        self.go(block, |data| data.seek_before(key))
    }

    /// To the next entry in the iterator's direction.
    #[inline]
    pub(crate) fn step(&mut self) -> Result<()> {
        let Some(data) = &mut self.data else { return Ok(()) };
        let moved = if self.reverse { data.prev() } else { data.next() };
        if moved.is_ok() && data.valid() {
            return Ok(());
        }
        self.valid = false;
        moved.map_err(|e| self.malformed(e))?;
        self.next_block()
    }

    /// Positions in a block of the current partition; if nothing is there, in the next that has an entry.
    fn go(
        &mut self,
        block: usize,
        position: impl FnOnce(&mut BlockCursor) -> std::result::Result<(), Malformed>,
    ) -> Result<()> {
        self.block = block;
        if self.load_data()?
            && let Some(data) = &mut self.data
        {
            let moved = position(data);
            self.valid = moved.is_ok() && data.valid();
            moved.map_err(|e| self.malformed(e))?;
        }
        if self.valid { Ok(()) } else { self.next_block() }
    }

    /// Goes on to the next block in the iterator's direction that has an entry.
    fn next_block(&mut self) -> Result<()> {
        self.valid = false;
        loop {
            let Some(index) = &self.index else { return Ok(()) };
            let next = if self.reverse { self.block.checked_sub(1) } else { Some(self.block + 1) };
            match next.filter(|&n| n < index.len()) {
                Some(next) => self.block = next,
                None => {
                    let next =
                        if self.reverse { self.partition.checked_sub(1) } else { Some(self.partition + 1) };
                    let Some(next) = next.filter(|&n| n < self.table.partitions()) else {
                        self.index = None;
                        return Ok(());
                    };
                    let index = self.table.index(next)?;
                    self.block = if self.reverse { index.len().saturating_sub(1) } else { 0 };
                    (self.partition, self.index) = (next, Some(index));
                }
            }
            let reverse = self.reverse;
            if self.load_data()?
                && let Some(data) = &mut self.data
            {
                let moved = if reverse { data.seek_before(None) } else { data.first() };
                self.valid = moved.is_ok() && data.valid();
                moved.map_err(|e| self.malformed(e))?;
                if self.valid {
                    return Ok(());
                }
            }
        }
    }

    fn malformed(&self, e: Malformed) -> crate::Error {
        let handle = self.index.as_ref().filter(|i| self.block < i.len()).map(|i| i.handle(self.block));
        self.table.malformed(e, handle.unwrap_or_default())
    }

    /// Loads the current block; false if the partition has no such block.
    fn load_data(&mut self) -> Result<bool> {
        let Some(index) = self.index.as_ref().filter(|i| self.block < i.len()) else { return Ok(false) };
        let handle = index.handle(self.block);
        let block = match self.access {
            Access::Cached => self.table.data_block(handle)?,
            Access::Sequential => self.read_ahead(handle)?,
        };
        match &mut self.data {
            Some(cursor) => cursor.reset(block),
            None => self.data = Some(BlockCursor::new(block)),
        }
        Ok(true)
    }

    fn read_ahead(&mut self, handle: Handle) -> Result<Block> {
        let len = handle.len as usize;
        let inside = |ahead: &(u64, Vec<u8>)| {
            let start = usize::try_from(handle.offset.checked_sub(ahead.0)?).ok()?;
            (start.checked_add(len)? <= ahead.1.len()).then_some(start)
        };
        if inside(&self.ahead).is_none() {
            let left = usize::try_from(self.table.size() - handle.offset).unwrap_or(usize::MAX);
            let want = READAHEAD.max(len).min(left);
            self.ahead = (handle.offset, self.table.read_raw(handle.offset, want)?);
        }
        let start = inside(&self.ahead).unwrap_or(0);
        self.table.open_raw(self.ahead.1[start..start + len].to_vec(), handle)
    }
}
