//! Scans: the live keys of a range as of one sequence number.

use super::core::ReadState;
use super::key::{KIND_DELETE, KIND_POINTER, kind_of, seq_of};
use super::memtable::MemIter;
use super::merge::{MergeIter, RunFiles, RunIter, Source};
use super::range_del::{RangeDelMap, RangeDels};
use super::table::{Access, TableIter};
use crate::Result;
use bytes::Bytes;
use std::sync::Arc;

/// A key and value from a scan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScanItem {
    /// The key.
    pub key: Bytes,
    /// The value. It may share memory with a cached block: copy it if it is to be kept for long.
    pub value: Bytes,
}

/// An iterator over live keys of a range, in order or in reverse. It holds on to the tables and memtables it
/// was created over. As an [`Iterator`] it yields owned items; [`Scan::advance`] with [`Scan::key`] and
/// [`Scan::value`] walks without allocating. After an error it ends.
pub struct Scan {
    state: Arc<ReadState>,
    seq: u64,
    start: Vec<u8>,
    end: Vec<u8>,
    reverse: bool,
    merge: Option<MergeIter>,
    dels: RangeDels,
    key: Vec<u8>,
    /// Reverse: the value of the current key. Forward: the merge has it, unless it is in a value file.
    value: Bytes,
    /// Forward: the current value is in a value file and has been read into `value`.
    apart: bool,
    has_key: bool,
    done: bool,
}

impl Scan {
    pub(crate) fn new(state: Arc<ReadState>, seq: u64, start: &[u8], end: &[u8], reverse: bool) -> Self {
        let done = !end.is_empty() && start >= end;
        Self {
            state,
            seq,
            start: start.to_vec(),
            end: end.to_vec(),
            reverse,
            merge: None,
            dels: RangeDels::default(),
            key: Vec::new(),
            value: Bytes::new(),
            apart: false,
            has_key: false,
            done,
        }
    }

    /// Goes to the next live key; false at the end.
    ///
    /// # Errors
    /// A block that cannot be read; the scan is then at its end.
    pub fn advance(&mut self) -> Result<bool> {
        if self.done {
            return Ok(false);
        }
        let found = match &self.merge {
            None => self.open().and_then(|()| self.find()),
            Some(_) => self.find(),
        };
        self.done = !matches!(found, Ok(true));
        found
    }

    /// The current key, after [`Scan::advance`] answered true.
    pub fn key(&self) -> &[u8] {
        &self.key
    }

    /// The current value, after [`Scan::advance`] answered true.
    pub fn value(&self) -> &[u8] {
        match &self.merge {
            Some(merge) if !self.reverse && !self.done && !self.apart => merge.value(),
            _ => &self.value,
        }
    }

    fn value_bytes(&self) -> Bytes {
        match &self.merge {
            Some(merge) if !self.reverse && !self.done && !self.apart => merge.value_bytes(),
            _ => self.value.clone(),
        }
    }

    fn find(&mut self) -> Result<bool> {
        if self.reverse { self.find_back() } else { self.find_forward() }
    }

    fn upper(&self) -> Option<&[u8]> {
        (!self.end.is_empty()).then_some(&self.end[..])
    }

    /// Collects the sources and seeks them.
    fn open(&mut self) -> Result<()> {
        let (state, reverse) = (self.state.clone(), self.reverse);
        let mut sources = Vec::with_capacity(12);
        for mem in state.memtables() {
            if !mem.is_empty() {
                sources.push(Source::Mem(MemIter::new(mem.clone(), Some(self.seq), reverse)));
            }
        }
        let outside = |f: &super::files::TableFile| {
            f.meta.ends_before(&self.start) || self.upper().is_some_and(|end| f.meta.smallest() >= end)
        };
        let version = &state.version;
        for file in &version.levels[0].files {
            if !outside(file) {
                sources.push(Source::Table(TableIter::new(file.table()?.clone(), Access::Cached, reverse)));
            }
        }
        for (number, level) in version.levels.iter().enumerate().skip(1) {
            let first = level.first_reaching(&self.start);
            if level.files.get(first).is_some_and(|f| !outside(f)) {
                let files = RunFiles::Level(version.clone(), number);
                sources.push(Source::Run(RunIter::new(files, Access::Cached, reverse)));
            }
        }
        self.dels = self.collect_dels(&state)?;
        let mut merge = MergeIter::new(sources, reverse);
        if reverse {
            merge.seek_before(self.upper())?
        } else {
            merge.seek(&self.start)?
        }
        self.merge = Some(merge);
        Ok(())
    }

    /// The range deletes that touch the scan's range, of all sources.
    fn collect_dels(&self, state: &ReadState) -> Result<RangeDels> {
        let mut map = RangeDelMap::default();
        let (low, high) = (Some(&self.start[..]), self.upper());
        for mem in state.memtables() {
            if mem.has_range_dels() {
                mem.range_dels().clip(low, high).for_each(|f| map.insert_fragment(&f));
            }
        }
        for (_, file) in state.version.files() {
            if file.meta.summary.range_dels > 0 && !file.meta.ends_before(&self.start) {
                file.table()?.range_dels().clip(low, high).for_each(|f| map.insert_fragment(&f));
            }
        }
        Ok(map.freeze())
    }

    fn find_forward(&mut self) -> Result<bool> {
        let Some(merge) = &mut self.merge else { return Ok(false) };
        loop {
            if self.has_key {
                merge.step()?;
            }
            if !merge.valid() {
                return Ok(false);
            }
            let (key, tag) = (merge.key(), merge.tag());
            if !self.end.is_empty() && *key >= self.end[..] {
                return Ok(false);
            }
            let repeated = self.has_key && self.key[..] == *key;
            if seq_of(tag) > self.seq {
                // Too new. The key's older versions follow, so it must not count as seen.
                if !repeated {
                    self.has_key = false;
                    merge.step()?;
                }
                continue;
            }
            if repeated {
                continue;
            }
            self.key.clear();
            self.key.extend_from_slice(key);
            self.has_key = true;
            if kind_of(tag) != KIND_DELETE && self.dels.cover(&self.key, self.seq) <= seq_of(tag) {
                self.apart = kind_of(tag) == KIND_POINTER;
                if self.apart {
                    self.value = self.state.version.read_value(merge.value(), &self.key)?;
                }
                return Ok(true);
            }
        }
    }

    fn find_back(&mut self) -> Result<bool> {
        let Some(merge) = &mut self.merge else { return Ok(false) };
        loop {
            if !merge.valid() || *merge.key() < self.start[..] {
                return Ok(false);
            }
            self.key.clear();
            self.key.extend_from_slice(merge.key());
            // The versions of a key come oldest first: the last visible one is it.
            let mut newest = None;
            while merge.valid() && *merge.key() == self.key[..] {
                if seq_of(merge.tag()) <= self.seq {
                    newest = Some(merge.tag());
                    self.value = merge.value_bytes();
                }
                merge.step()?;
            }
            if let Some(tag) = newest
                && kind_of(tag) != KIND_DELETE
                && self.dels.cover(&self.key, self.seq) <= seq_of(tag)
            {
                if kind_of(tag) == KIND_POINTER {
                    self.value = self.state.version.read_value(&self.value, &self.key)?;
                }
                return Ok(true);
            }
        }
    }
}

impl Iterator for Scan {
    type Item = Result<ScanItem>;

    fn next(&mut self) -> Option<Self::Item> {
        match self.advance() {
            Ok(false) => None,
            Ok(true) => {
                Some(Ok(ScanItem { key: Bytes::copy_from_slice(&self.key), value: self.value_bytes() }))
            }
            Err(e) => Some(Err(e)),
        }
    }
}
