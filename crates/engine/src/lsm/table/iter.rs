//! Iteration over a table, in one direction fixed at creation.

use super::block::{Block, BlockCursor};
use super::format::Handle;
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
    index: Option<BlockCursor>,
    data: Option<BlockCursor>,
    valid: bool,
    /// Sequential: bytes read ahead and their offset.
    ahead: (u64, Vec<u8>),
}

impl TableIter {
    pub(crate) fn new(table: Arc<Table>, access: Access, reverse: bool) -> Self {
        Self { table, access, reverse, partition: 0, index: None, data: None, valid: false, ahead: (0, Vec::new()) }
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
        if !self.load_index(partition)? {
            return Ok(());
        }
        let handle = self.table.index_handle(partition);
        let table = self.table.clone();
        let Some(index) = &mut self.index else { return Ok(()) };
        index.seek(key, u64::MAX).map_err(|e| table.malformed(e, handle))?;
        if !self.load_data()? {
            return self.next_block();
        }
        let (handle, data) = self.data_at()?;
        data.seek(key, u64::MAX).map_err(|e| table.malformed(e, handle))?;
        self.valid = data.valid();
        if self.valid { Ok(()) } else { self.next_block() }
    }

    /// Reverse: to the last entry with key `< key`; `None`: to the very last.
    pub(crate) fn seek_before(&mut self, key: Option<&[u8]>) -> Result<()> {
        debug_assert!(self.reverse);
        self.valid = false;
        let last = self.table.partitions().checked_sub(1);
        let Some(last) = last else { return Ok(()) };
        let partition = key.map_or(last, |k| self.table.find_partition(k).min(last));
        if !self.load_index(partition)? {
            return Ok(());
        }
        let handle = self.table.index_handle(partition);
        let table = self.table.clone();
        let Some(index) = &mut self.index else { return Ok(()) };
        // The block whose separator is the first `>= key` may hold keys below it; if all separators are below, the last block.
        let result = match key {
            Some(key) => index.seek_block_for(key),
            None => index.seek_before(None),
        };
        result.map_err(|e| table.malformed(e, handle))?;
        if !self.load_data()? {
            return self.next_block();
        }
        let (handle, data) = self.data_at()?;
        data.seek_before(key).map_err(|e| table.malformed(e, handle))?;
        self.valid = data.valid();
        if self.valid { Ok(()) } else { self.next_block() }
    }

    /// To the next entry in the iterator's direction.
    #[inline]
    pub(crate) fn step(&mut self) -> Result<()> {
        let Some(data) = &mut self.data else { return Ok(()) };
        let moved = if self.reverse { data.prev() } else { data.next() };
        if let Err(e) = moved {
            self.valid = false;
            let (handle, _) = self.data_at()?;
            return Err(self.table.malformed(e, handle));
        }
        if data.valid() {
            return Ok(());
        }
        self.next_block()
    }

    /// Goes on to the next block in the iterator's direction that has an entry.
    fn next_block(&mut self) -> Result<()> {
        self.valid = false;
        let table = self.table.clone();
        loop {
            let handle = self.table.index_handle(self.partition);
            let Some(index) = &mut self.index else { return Ok(()) };
            if index.valid() {
                let moved = if self.reverse { index.prev() } else { index.next() };
                moved.map_err(|e| table.malformed(e, handle))?;
            }
            if !index.valid() {
                let next = if self.reverse { self.partition.checked_sub(1) } else { Some(self.partition + 1) };
                let Some(next) = next else { return Ok(()) };
                if !self.load_index(next)? {
                    return Ok(());
                }
                let handle = self.table.index_handle(next);
                let Some(index) = &mut self.index else { return Ok(()) };
                let moved = if self.reverse { index.seek_before(None) } else { index.first() };
                moved.map_err(|e| table.malformed(e, handle))?;
            }
            if !self.load_data()? {
                continue;
            }
            let reverse = self.reverse;
            let (handle, data) = self.data_at()?;
            let moved = if reverse { data.seek_before(None) } else { data.first() };
            let valid = moved.map(|()| data.valid());
            if valid.map_err(|e| table.malformed(e, handle))? {
                self.valid = true;
                return Ok(());
            }
        }
    }

    /// Loads an index partition; false beyond the last.
    fn load_index(&mut self, partition: usize) -> Result<bool> {
        if partition >= self.table.partitions() {
            self.index = None;
            return Ok(false);
        }
        let block = self.table.block(self.table.index_handle(partition), self.access == Access::Cached)?;
        self.partition = partition;
        match &mut self.index {
            Some(cursor) => cursor.reset(block),
            None => self.index = Some(BlockCursor::new(block)),
        }
        Ok(true)
    }

    /// Where the index cursor points, and the data cursor.
    fn data_at(&mut self) -> Result<(Handle, &mut BlockCursor)> {
        let at = self.table.index_handle(self.partition);
        let index = self.index.as_ref().expect("loaded before data");
        let handle = self.table.index_value(index.value(), at)?;
        Ok((handle, self.data.as_mut().expect("loaded by load_data")))
    }

    /// Loads the data block that the index cursor points to; false if it points nowhere.
    fn load_data(&mut self) -> Result<bool> {
        let Some(index) = self.index.as_ref().filter(|i| i.valid()) else { return Ok(false) };
        let at = self.table.index_handle(self.partition);
        let handle = self.table.index_value(index.value(), at)?;
        let block = match self.access {
            Access::Cached => self.table.block(handle, true)?,
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
