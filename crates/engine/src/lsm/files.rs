//! Table files as the manifest describes them: number, bounds, counts, and the value files that the table
//! refers to.
//!
//! A file is opened on first use and stays open while a version of the tree refers to it. When the last
//! reference to an obsolete file is dropped, the file is queued for removal.

use super::cache::BlockCache;
use super::codec::{Reader, put_bytes, put_varint};
use super::table::{Table, TableSummary};
use super::values::{ValueRef, values_name};
use crate::{Env, Result};
use parking_lot::Mutex;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

/// What the manifest says of a table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct FileMeta {
    pub(crate) number: u64,
    /// If not 0: the sequence number of all its entries.
    pub(crate) global_seq: u64,
    /// What its pointers refer to, by file.
    pub(crate) refs: Vec<ValueRef>,
    pub(crate) summary: TableSummary,
}

impl FileMeta {
    /// Without its references, which the manifest has apart.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        let s = &self.summary;
        for v in [self.number, self.global_seq, s.size] {
            put_varint(out, v);
        }
        out.extend_from_slice(&s.checksum.to_le_bytes());
        put_bytes(out, &s.smallest);
        put_bytes(out, &s.largest);
        out.push(u8::from(s.largest_exclusive));
        for v in [s.smallest_seq, s.largest_seq, s.entries, s.deletes, s.range_dels, s.raw_bytes] {
            put_varint(out, v);
        }
    }

    pub(crate) fn decode(r: &mut Reader<'_>) -> Option<Self> {
        let (number, global_seq, size) = (r.varint()?, r.varint()?, r.varint()?);
        let checksum = r.u64()?;
        let (smallest, largest) = (r.bytes()?.to_vec(), r.bytes()?.to_vec());
        let largest_exclusive = match r.u8()? {
            0 => false,
            1 => true,
            _ => return None,
        };
        let summary = TableSummary {
            size,
            checksum,
            smallest,
            largest,
            largest_exclusive,
            smallest_seq: r.varint()?,
            largest_seq: r.varint()?,
            entries: r.varint()?,
            deletes: r.varint()?,
            range_dels: r.varint()?,
            raw_bytes: r.varint()?,
        };
        (summary.smallest <= summary.largest).then_some(Self {
            number,
            global_seq,
            refs: Vec::new(),
            summary,
        })
    }

    pub(crate) fn smallest(&self) -> &[u8] {
        &self.summary.smallest
    }

    /// Whether every key of the file is below `key`.
    #[inline]
    pub(crate) fn ends_before(&self, key: &[u8]) -> bool {
        let s = &self.summary;
        if s.largest_exclusive { s.largest[..] <= *key } else { s.largest[..] < *key }
    }

    /// Whether the file's key range shares a key with `range`.
    pub(crate) fn overlaps(&self, range: &KeyRange) -> bool {
        !self.ends_before(&range.low) && !range.ends_before(self.smallest())
    }

    pub(crate) fn range(&self) -> KeyRange {
        KeyRange {
            low: self.summary.smallest.clone(),
            high: self.summary.largest.clone(),
            exclusive: self.summary.largest_exclusive,
        }
    }

    /// Highest sequence number as readers see it.
    pub(crate) fn largest_seq(&self) -> u64 {
        if self.global_seq != 0 { self.global_seq } else { self.summary.largest_seq }
    }
}

/// A range of user keys with both ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct KeyRange {
    pub(crate) low: Vec<u8>,
    pub(crate) high: Vec<u8>,
    /// Whether `high` itself is outside.
    pub(crate) exclusive: bool,
}

impl KeyRange {
    fn ends_before(&self, key: &[u8]) -> bool {
        if self.exclusive { self.high[..] <= *key } else { self.high[..] < *key }
    }

    pub(crate) fn overlaps(&self, other: &KeyRange) -> bool {
        !self.ends_before(&other.low) && !other.ends_before(&self.low)
    }

    /// Extends the range to include `other`.
    pub(crate) fn extend(&mut self, other: &KeyRange) {
        if other.low < self.low {
            self.low.clone_from(&other.low);
        }
        if other.high > self.high {
            self.high.clone_from(&other.high);
            self.exclusive = other.exclusive;
        } else if other.high == self.high {
            self.exclusive &= other.exclusive;
        }
    }

    /// The hull of some files; `None` if there are none.
    pub(crate) fn hull<'a>(files: impl IntoIterator<Item = &'a Arc<TableFile>>) -> Option<Self> {
        let mut hull: Option<Self> = None;
        for f in files {
            let range = f.meta.range();
            match &mut hull {
                Some(h) => h.extend(&range),
                None => hull = Some(range),
            }
        }
        hull
    }
}

/// What all table files of an engine share.
pub(crate) struct TableFolder {
    pub(crate) env: Arc<dyn Env>,
    pub(crate) dir: PathBuf,
    pub(crate) cache: Arc<BlockCache>,
    /// Files nobody refers to any more, to be removed.
    garbage: Mutex<Vec<Garbage>>,
}

/// A file to be removed.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Garbage {
    Table(u64),
    Values(u64),
}

impl std::fmt::Debug for TableFolder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.dir.display())
    }
}

impl TableFolder {
    pub(crate) fn new(env: Arc<dyn Env>, dir: PathBuf, cache: Arc<BlockCache>) -> Arc<Self> {
        Arc::new(Self { env, dir, cache, garbage: Mutex::default() })
    }

    pub(crate) fn path(&self, number: u64) -> PathBuf {
        self.dir.join(table_name(number))
    }

    pub(crate) fn values_path(&self, number: u64) -> PathBuf {
        self.dir.join(values_name(number))
    }

    /// Queues a file for removal.
    pub(crate) fn discard(&self, garbage: Garbage) {
        self.garbage.lock().push(garbage);
    }

    /// Files that nobody refers to.
    pub(crate) fn obsolete(&self) -> usize {
        self.garbage.lock().len()
    }

    /// Removes one file that nobody refers to. False if there is none.
    pub(crate) fn collect_one(&self) -> Result<bool> {
        let Some(garbage) = self.garbage.lock().pop() else { return Ok(false) };
        let path = match garbage {
            Garbage::Table(number) => self.path(number),
            Garbage::Values(number) => self.values_path(number),
        };
        if let Err(e) = self.env.remove(&path) {
            // Left behind: the next open removes it as an orphan.
            tracing::warn!(?path, error = %e, "could not remove an obsolete file");
        }
        Ok(true)
    }
}

/// `000042.sst`.
pub(crate) fn table_name(number: u64) -> String {
    format!("{number:06}.sst")
}

/// The number in a table's file name.
pub(crate) fn table_number(name: &Path) -> Option<u64> {
    name.to_str()?.strip_suffix(".sst")?.parse().ok()
}

/// A live table file.
pub(crate) struct TableFile {
    pub(crate) meta: FileMeta,
    folder: Arc<TableFolder>,
    open: OnceLock<Arc<Table>>,
    obsolete: AtomicBool,
}

impl TableFile {
    pub(crate) fn new(meta: FileMeta, folder: Arc<TableFolder>) -> Arc<Self> {
        Arc::new(Self { meta, folder, open: OnceLock::new(), obsolete: AtomicBool::new(false) })
    }

    /// The open table.
    #[inline]
    pub(crate) fn table(&self) -> Result<&Arc<Table>> {
        match self.open.get() {
            Some(table) => Ok(table),
            None => self.open_table(),
        }
    }

    #[cold]
    fn open_table(&self) -> Result<&Arc<Table>> {
        let m = &self.meta;
        let (env, cache) = (&*self.folder.env, self.folder.cache.clone());
        let path = self.folder.path(m.number);
        let table = Table::open(env, &path, m.number, m.summary.size, m.global_seq, cache)?;
        Ok(self.open.get_or_init(|| Arc::new(table)))
    }

    /// The file goes when the last reference goes.
    pub(crate) fn mark_obsolete(&self) {
        self.obsolete.store(true, Ordering::Relaxed);
    }
}

impl Drop for TableFile {
    fn drop(&mut self) {
        if *self.obsolete.get_mut() {
            self.folder.discard(Garbage::Table(self.meta.number));
        }
    }
}

impl std::fmt::Debug for TableFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}B", self.meta.number, self.meta.summary.size)
    }
}
