//! Iterates over the entries of one block.

use super::block::{Block, Malformed};
use bytes::Bytes;
use std::cmp::Ordering;

/// A walk over a block, in either direction.
#[derive(Debug)]
pub(crate) struct BlockCursor {
    block: Block,
    key: Vec<u8>,
    tag: u64,
    value: (u32, u32),
    /// Offset of the entry after the current one (forward).
    next: usize,
    valid: bool,
    /// Reverse: entries of the current restart interval not yet given out, and the interval's number.
    back: Vec<BackEntry>,
    back_keys: Vec<u8>,
    interval: usize,
}

#[derive(Clone, Copy, Debug)]
struct BackEntry {
    key: (u32, u32),
    tag: u64,
    value: (u32, u32),
}

impl BlockCursor {
    /// Not positioned.
    pub(crate) fn new(block: Block) -> Self {
        Self {
            block,
            key: Vec::new(),
            tag: 0,
            value: (0, 0),
            next: 0,
            valid: false,
            back: Vec::new(),
            back_keys: Vec::new(),
            interval: 0,
        }
    }

    /// Goes over to another block, keeping the buffers. Not positioned.
    pub(crate) fn reset(&mut self, block: Block) {
        self.block = block;
        self.valid = false;
        self.back.clear();
    }

    #[inline]
    pub(crate) fn valid(&self) -> bool {
        self.valid
    }

    #[inline]
    pub(crate) fn key(&self) -> &[u8] {
        &self.key
    }

    #[inline]
    pub(crate) fn tag(&self) -> u64 {
        self.tag
    }

    #[inline]
    pub(crate) fn value(&self) -> &[u8] {
        self.block.bytes(self.value.0 as usize..self.value.1 as usize)
    }

    pub(crate) fn value_bytes(&self) -> Bytes {
        self.block.share(self.value.0 as usize..self.value.1 as usize)
    }

    pub(crate) fn first(&mut self) -> Result<(), Malformed> {
        self.next = 0;
        self.key.clear();
        self.next()
    }

    #[inline]
    pub(crate) fn next(&mut self) -> Result<(), Malformed> {
        if self.next >= self.block.entries_end() {
            self.valid = false;
            return Ok(());
        }
        let e = self.block.view().entry(self.next)?;
        if e.shared > self.key.len() {
            return Err(Malformed);
        }
        self.key.truncate(e.shared);
        self.key.extend_from_slice(self.block.bytes(e.key..e.value));
        self.tag = e.tag;
        self.value = (e.value as u32, e.end as u32);
        self.next = e.end;
        self.valid = true;
        Ok(())
    }

    /// To the first entry at or after `(key, tag)`.
    pub(crate) fn seek(&mut self, key: &[u8], tag: u64) -> Result<(), Malformed> {
        self.key.clear();
        self.next = match self.block.restarts() {
            0 => 0,
            _ => self.block.view().restart(self.block.interval_for(key, tag)?),
        };
        loop {
            self.next()?;
            if !self.valid {
                return Ok(());
            }
            match self.key[..].cmp(key) {
                Ordering::Less => {}
                Ordering::Equal if self.tag > tag => {}
                _ => return Ok(()),
            }
        }
    }

    /// To the last entry with key `< key`; `None`: to the very last.
    pub(crate) fn seek_before(&mut self, key: Option<&[u8]>) -> Result<(), Malformed> {
        self.back.clear();
        self.valid = false;
        if self.block.restarts() == 0 {
            return Ok(());
        }
        self.interval = match key {
            Some(key) => self.block.view().interval_before(key, u64::MAX)?,
            None => self.block.restarts() - 1,
        };
        self.load_interval(key)?;
        self.prev()
    }

    #[inline]
    pub(crate) fn prev(&mut self) -> Result<(), Malformed> {
        while self.back.is_empty() {
            if self.interval == 0 {
                self.valid = false;
                return Ok(());
            }
            self.interval -= 1;
            self.load_interval(None)?;
        }
        if let Some(e) = self.back.pop() {
            self.key.clear();
            self.key.extend_from_slice(&self.back_keys[e.key.0 as usize..e.key.1 as usize]);
            self.tag = e.tag;
            self.value = e.value;
            self.valid = true;
        }
        Ok(())
    }

    /// Decodes the interval's entries (below `bound`) for walking backwards.
    fn load_interval(&mut self, bound: Option<&[u8]>) -> Result<(), Malformed> {
        self.back.clear();
        self.back_keys.clear();
        let mut at = self.block.view().restart(self.interval);
        let end = if self.interval + 1 < self.block.restarts() {
            self.block.view().restart(self.interval + 1)
        } else {
            self.block.entries_end()
        };
        let mut last = 0usize;
        while at < end {
            let e = self.block.view().entry(at)?;
            let start = self.back_keys.len();
            if e.shared > start - last {
                return Err(Malformed);
            }
            self.back_keys.extend_from_within(last..last + e.shared);
            self.back_keys.extend_from_slice(self.block.bytes(e.key..e.value));
            if bound.is_some_and(|b| self.back_keys[start..] >= *b) {
                break;
            }
            let key = (start as u32, self.back_keys.len() as u32);
            self.back.push(BackEntry { key, tag: e.tag, value: (e.value as u32, e.end as u32) });
            last = start;
            at = e.end;
        }
        Ok(())
    }
}
