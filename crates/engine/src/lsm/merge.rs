//! Merges all sources of entries (memtables and tables) into one sequence in internal key order, or in
//! exactly the reverse order. Used by scans, flushes and compactions.

use super::files::TableFile;
use super::memtable::MemIter;
use super::table::{Access, TableIter};
use super::version::Version;
use crate::Result;
use bytes::Bytes;
use std::cmp::Ordering;
use std::sync::Arc;

/// One source. All run in the same direction.
pub(crate) enum Source {
    Mem(MemIter),
    Table(TableIter),
    Run(RunIter),
}

macro_rules! each {
    ($self:expr, $it:ident => $e:expr) => {
        match $self {
            Source::Mem($it) => $e,
            Source::Table($it) => $e,
            Source::Run($it) => $e,
        }
    };
}

impl Source {
    fn valid(&self) -> bool {
        each!(self, it => it.valid())
    }

    #[inline]
    fn key(&self) -> &[u8] {
        each!(self, it => it.key())
    }

    #[inline]
    fn tag(&self) -> u64 {
        each!(self, it => it.tag())
    }

    #[inline]
    fn step(&mut self) -> Result<()> {
        match self {
            Source::Mem(it) => {
                it.step();
                Ok(())
            }
            Source::Table(it) => it.step(),
            Source::Run(it) => it.step(),
        }
    }

    fn seek(&mut self, key: &[u8]) -> Result<()> {
        match self {
            Source::Mem(it) => {
                it.seek(key);
                Ok(())
            }
            Source::Table(it) => it.seek(key),
            Source::Run(it) => it.seek(key),
        }
    }

    fn seek_before(&mut self, key: Option<&[u8]>) -> Result<()> {
        match self {
            Source::Mem(it) => {
                it.seek_before(key);
                Ok(())
            }
            Source::Table(it) => it.seek_before(key),
            Source::Run(it) => it.seek_before(key),
        }
    }
}

/// Tables with disjoint ranges in key order, one after another; each is opened when it is reached.
pub(crate) struct RunIter {
    files: RunFiles,
    access: Access,
    reverse: bool,
    at: usize,
    iter: Option<TableIter>,
}

/// Where the tables of a run come from.
pub(crate) enum RunFiles {
    /// A level of a version, kept alive by it.
    Level(Arc<Version>, usize),
    /// The inputs of a compaction.
    List(Vec<Arc<TableFile>>),
}

impl RunFiles {
    fn list(&self) -> &[Arc<TableFile>] {
        match self {
            RunFiles::Level(version, level) => &version.levels[*level].files,
            RunFiles::List(files) => files,
        }
    }
}

impl RunIter {
    pub(crate) fn new(files: RunFiles, access: Access, reverse: bool) -> Self {
        Self { files, access, reverse, at: 0, iter: None }
    }

    #[inline]
    fn valid(&self) -> bool {
        self.iter.as_ref().is_some_and(TableIter::valid)
    }

    #[inline]
    fn current(&self) -> &TableIter {
        self.iter.as_ref().expect("only asked while valid")
    }

    #[inline]
    fn key(&self) -> &[u8] {
        self.current().key()
    }

    #[inline]
    fn tag(&self) -> u64 {
        self.current().tag()
    }

    #[inline]
    fn value(&self) -> &[u8] {
        self.current().value()
    }

    fn value_bytes(&self) -> Bytes {
        self.current().value_bytes()
    }

    #[inline]
    fn step(&mut self) -> Result<()> {
        if let Some(iter) = &mut self.iter {
            iter.step()?;
            if iter.valid() {
                return Ok(());
            }
        }
        self.next_file()
    }

    fn next_file(&mut self) -> Result<()> {
        loop {
            let next = if self.reverse { self.at.checked_sub(1) } else { Some(self.at + 1) };
            match next {
                Some(next) if self.open(next)? => {}
                _ => {
                    self.iter = None;
                    return Ok(());
                }
            }
            let Some(iter) = &mut self.iter else { return Ok(()) };
            if self.reverse {
                iter.seek_before(None)?
            } else {
                iter.seek(&[])?
            }
            if iter.valid() {
                return Ok(());
            }
        }
    }

    fn open(&mut self, at: usize) -> Result<bool> {
        self.iter = None;
        self.at = at;
        let Some(file) = self.files.list().get(at) else { return Ok(false) };
        self.iter = Some(TableIter::new(file.table()?.clone(), self.access, self.reverse));
        Ok(true)
    }

    fn seek(&mut self, key: &[u8]) -> Result<()> {
        let at = self.files.list().partition_point(|f| f.meta.ends_before(key));
        if !self.open(at)? {
            return Ok(());
        }
        if let Some(iter) = &mut self.iter {
            iter.seek(key)?;
            if iter.valid() {
                return Ok(());
            }
        }
        self.next_file()
    }

    fn seek_before(&mut self, key: Option<&[u8]>) -> Result<()> {
        let files = self.files.list();
        let below = key.map_or(files.len(), |key| files.partition_point(|f| f.meta.smallest() < key));
        let Some(at) = below.checked_sub(1) else {
            self.iter = None;
            return Ok(());
        };
        self.open(at)?;
        if let Some(iter) = &mut self.iter {
            iter.seek_before(key)?;
            if iter.valid() {
                return Ok(());
            }
        }
        self.next_file()
    }
}

/// See the module's comment. A heap of the sources that still have entries, the one whose entry comes first
/// on top.
pub(crate) struct MergeIter {
    sources: Vec<Source>,
    heap: Vec<u32>,
    reverse: bool,
}

impl MergeIter {
    /// Not positioned.
    pub(crate) fn new(sources: Vec<Source>, reverse: bool) -> Self {
        Self { heap: Vec::with_capacity(sources.len()), sources, reverse }
    }

    pub(crate) fn seek(&mut self, key: &[u8]) -> Result<()> {
        self.heap.clear();
        for source in &mut self.sources {
            source.seek(key)?;
        }
        self.build();
        Ok(())
    }

    pub(crate) fn seek_before(&mut self, key: Option<&[u8]>) -> Result<()> {
        self.heap.clear();
        for source in &mut self.sources {
            source.seek_before(key)?;
        }
        self.build();
        Ok(())
    }

    fn build(&mut self) {
        self.heap.extend((0..self.sources.len() as u32).filter(|&i| self.sources[i as usize].valid()));
        for i in (0..self.heap.len() / 2).rev() {
            self.sift(i);
        }
    }

    #[inline]
    fn before(&self, a: u32, b: u32) -> bool {
        let (x, y) = (&self.sources[a as usize], &self.sources[b as usize]);
        // Within a key the newest comes first; sources are given newest first, which settles equal tags.
        let order = x.key().cmp(y.key()).then_with(|| y.tag().cmp(&x.tag())).then(a.cmp(&b));
        order == if self.reverse { Ordering::Greater } else { Ordering::Less }
    }

    #[inline]
    fn sift(&mut self, mut at: usize) {
        loop {
            let left = 2 * at + 1;
            if left >= self.heap.len() {
                return;
            }
            let right = left + 1;
            let child = if right < self.heap.len() && self.before(self.heap[right], self.heap[left]) {
                right
            } else {
                left
            };
            if !self.before(self.heap[child], self.heap[at]) {
                return;
            }
            self.heap.swap(child, at);
            at = child;
        }
    }

    #[inline]
    pub(crate) fn valid(&self) -> bool {
        !self.heap.is_empty()
    }

    #[inline]
    fn top(&self) -> &Source {
        &self.sources[self.heap[0] as usize]
    }

    #[inline]
    pub(crate) fn key(&self) -> &[u8] {
        self.top().key()
    }

    #[inline]
    pub(crate) fn tag(&self) -> u64 {
        self.top().tag()
    }

    #[inline]
    pub(crate) fn value(&self) -> &[u8] {
        each!(self.top(), it => it.value())
    }

    #[inline]
    pub(crate) fn value_bytes(&self) -> Bytes {
        each!(self.top(), it => it.value_bytes())
    }

    /// To the next entry. After an error the merge is at its end.
    #[inline]
    pub(crate) fn step(&mut self) -> Result<()> {
        let Some(&top) = self.heap.first() else { return Ok(()) };
        let source = &mut self.sources[top as usize];
        if let Err(e) = source.step() {
            self.heap.clear();
            return Err(e);
        }
        if !source.valid() {
            self.heap.swap_remove(0);
        }
        self.sift(0);
        Ok(())
    }
}
