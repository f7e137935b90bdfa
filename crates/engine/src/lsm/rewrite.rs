//! Writes merged entries as tables and drops the versions that no reader can see any more. Shared by flush
//! and compaction.
//!
//! Snapshots divide history into stripes. No snapshot can tell two versions in one stripe apart, so only the
//! newer one is kept. Versions older than every snapshot are in stripe 0. A delete in stripe 0 is dropped
//! too, once no older level holds anything that it hides.

use super::budget::IoBudget;
use super::files::{FileMeta, KeyRange, TableFile, TableFolder};
use super::filter::Filter;
use super::key::{KIND_DELETE, KIND_POINTER, KIND_PUT, kind_of, seq_of, tag};
use super::merge::MergeIter;
use super::range_del::{Fragment, RangeDels};
use super::table::{TableBuilder, TableLayout};
use super::values::{Pointer, ValueLayout, ValueMeta, ValueRef, ValueWriter};
use super::version::{LEVELS, Version};
use crate::{Error, Result};
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// What a rewrite must know beyond its input.
pub(crate) struct RewritePlan {
    /// Sequence numbers of the live snapshots, ascending.
    pub(crate) snapshots: Vec<u64>,
    /// Range deletes of all inputs, fragmented together.
    pub(crate) dels: RangeDels,
    /// The tree that the inputs are from.
    pub(crate) version: Arc<Version>,
    /// Level of the outputs. Deletes are dropped where no deeper level holds their keys; `None`: never
    /// (flush, level 0).
    pub(crate) output_level: Option<usize>,
    /// Size at which an output is closed; `u64::MAX` for one output.
    pub(crate) table_bytes: u64,
    /// Keys at which outputs are cut, ascending.
    pub(crate) boundaries: Vec<Vec<u8>>,
    /// The rewrite ends before this key; `None`: at the end of the input. The range deletes do not reach
    /// beyond it.
    pub(crate) end: Option<Vec<u8>>,
    pub(crate) layout: TableLayout,
    pub(crate) values: ValueLayout,
    /// Value files whose values are copied where a pointer leads to them.
    pub(crate) relocate: BTreeSet<u64>,
    /// What need not be kept.
    pub(crate) filter: Filter,
    /// Pays for what is read and written, where somebody may pause.
    pub(crate) budget: Option<Arc<IoBudget>>,
    /// A planted bug: deletes go whatever lies below them.
    pub(crate) drops_tombstones: bool,
    /// A planted bug: a copied value's old pointer is kept.
    pub(crate) dangling_pointers: bool,
    /// The rewrite stops as soon as this is set, because the engine is closing.
    pub(crate) cancel: Option<Arc<AtomicBool>>,
}

/// Overlap with the level below the output at which an output is closed early, in target table sizes: what a
/// later compaction of it has to rewrite.
const MAX_GRANDPARENTS: u64 = 10;

/// An output is closed early when it refers to this many times its target size of values: what a collection
/// rewrites whole, and a drop frees whole, stays small.
const VALUES_PER_TABLE: u64 = 16;

/// Bytes of entries between payments.
const PAY_BYTES: u64 = 128 << 10;

/// Number of snapshots older than `seq`: entries with the same number look alike to every snapshot.
#[inline]
fn stripe(snapshots: &[u64], seq: u64) -> usize {
    if snapshots.is_empty() { 0 } else { snapshots.partition_point(|&s| s < seq) }
}

/// What a rewrite leaves.
#[derive(Default)]
pub(crate) struct Rewritten {
    pub(crate) tables: Vec<FileMeta>,
    pub(crate) values: Vec<ValueMeta>,
    /// Length of the records that were copied from one value file to another.
    pub(crate) copied_bytes: u64,
}

impl Rewritten {
    pub(crate) fn table_bytes(&self) -> u64 {
        self.tables.iter().map(|f| f.summary.size).sum()
    }

    pub(crate) fn value_bytes(&self) -> u64 {
        self.values.iter().map(|f| f.size).sum()
    }
}

/// The rewriting itself.
pub(crate) struct Rewriter<'a> {
    plan: RewritePlan,
    folder: &'a TableFolder,
    next_file: &'a AtomicU64,
    builder: Option<(u64, TableBuilder)>,
    /// Numbers of all files created, to be removed if this fails.
    created: Vec<u64>,
    outputs: Vec<FileMeta>,
    values: ValueWriter<'a>,
    /// What the current output refers to: records and bytes by file.
    refs: BTreeMap<u64, (u64, u64)>,
    ref_bytes: u64,
    pointer: Vec<u8>,
    /// Bytes of values read and written here.
    copied: u64,
    /// Range deletes that outlive the rewrite.
    kept_dels: RangeDels,
    /// First key that the current output is responsible for; `None`: from the start.
    low: Option<Vec<u8>>,
    below: Below,
    grandparents: Vec<Arc<TableFile>>,
    next_grandparent: usize,
    next_boundary: usize,
    grandparent_bytes: u64,
}

impl<'a> Rewriter<'a> {
    pub(crate) fn new(
        plan: RewritePlan,
        folder: &'a TableFolder,
        next_file: &'a AtomicU64,
        hull: Option<&KeyRange>,
    ) -> Self {
        let below = Below::new(plan.version.clone(), plan.output_level.unwrap_or(LEVELS));
        let mut kept = Vec::new();
        for f in &plan.dels.frags {
            let droppable = plan.output_level.is_some() && !below.overlaps(&f.start, &f.end);
            let mut last = None;
            let mut seqs = Vec::new();
            for &seq in &f.seqs {
                let s = stripe(&plan.snapshots, seq);
                if last != Some(s) && !(s == 0 && droppable) {
                    seqs.push(seq);
                }
                last = Some(s);
            }
            if !seqs.is_empty() {
                kept.push(Fragment { seqs, ..f.clone() });
            }
        }
        let grandparents = match (plan.output_level, hull) {
            (Some(level), Some(hull)) if level + 1 < LEVELS => {
                plan.version.levels[level + 1].overlapping(hull).cloned().collect()
            }
            _ => Vec::new(),
        };
        let values = ValueWriter::new(folder, next_file, plan.values);
        Self {
            values,
            refs: BTreeMap::new(),
            ref_bytes: 0,
            pointer: Vec::new(),
            copied: 0,
            plan,
            folder,
            next_file,
            builder: None,
            created: Vec::new(),
            outputs: Vec::new(),
            kept_dels: RangeDels { frags: kept },
            low: None,
            below,
            grandparents,
            next_grandparent: 0,
            next_boundary: 0,
            grandparent_bytes: 0,
        }
    }

    /// Writes everything that `merge` (positioned at its start) still yields. On failure no file is left
    /// behind.
    pub(crate) fn run(mut self, merge: &mut MergeIter) -> Result<Rewritten> {
        let result = self.write(merge).and_then(|()| self.values.finish());
        if result.is_err() {
            self.builder = None;
            self.values.abandon();
            for &number in &self.created {
                let _ = self.folder.env.remove(&self.folder.path(number));
            }
        }
        result.map(|values| Rewritten { tables: self.outputs, values, copied_bytes: self.copied })
    }

    fn write(&mut self, merge: &mut MergeIter) -> Result<()> {
        let mut last_key: Vec<u8> = Vec::new();
        let mut last_stripe = None;
        let mut started = false;
        let mut read = 0u32;
        let mut paid = 0u64;
        while merge.valid() && self.plan.end.as_deref().is_none_or(|end| merge.key() < end) {
            read = read.wrapping_add(1);
            if read.is_multiple_of(1024) {
                self.check_cancel()?;
            }
            let (key, mut tag_in) = (merge.key(), merge.tag());
            let seq = seq_of(tag_in);
            let newest = !started || last_key[..] != *key;
            paid += (key.len() + merge.value().len()) as u64;
            if paid >= PAY_BYTES {
                self.pay(std::mem::take(&mut paid));
            }
            if newest {
                started = true;
                last_stripe = None;
                last_key.clear();
                last_key.extend_from_slice(key);
            }
            let s = stripe(&self.plan.snapshots, seq);
            // A value that was read for the filter, so that it is read once.
            let mut whole = None;
            if let Some(filter) = &self.plan.filter.0
                && newest
                && s == self.plan.snapshots.len()
            {
                let kept = match kind_of(tag_in) {
                    KIND_PUT => filter.keeps(&last_key, merge.value()),
                    KIND_POINTER if filter.reads_large(&last_key) => {
                        let value = self.plan.version.read_value(merge.value(), &last_key)?;
                        let kept = filter.keeps(&last_key, &value);
                        whole = Some(value);
                        kept
                    }
                    _ => true,
                };
                if !kept {
                    tag_in = tag(seq, KIND_DELETE);
                }
            }
            let hidden = last_stripe == Some(s) || self.deleted_by_range(key, seq, s);
            last_stripe = Some(s);
            if !hidden {
                let bottom = s == 0 && self.plan.output_level.is_some() && !self.below.may_hold(key);
                let gone = bottom || self.plan.drops_tombstones;
                if !(gone && kind_of(tag_in) == KIND_DELETE) {
                    // At the deepest level sequence numbers are no longer compared, unless an older range
                    // delete stays. Zeros compress better.
                    let kind = kind_of(tag_in);
                    let zero = bottom && kind != KIND_DELETE && self.kept_dels.find(key).is_none();
                    let tag_out = if zero { tag(0, kind) } else { tag_in };
                    let value = if kind == KIND_DELETE { &[] } else { merge.value() };
                    self.emit(&last_key, tag_out, value, whole)?;
                }
            }
            merge.step()?;
        }
        self.pass_boundaries(None)?;
        self.close(None)
    }

    /// Pauses as the budget of background work demands.
    fn pay(&self, bytes: u64) {
        // Read once and written once.
        if let Some(pause) = self.plan.budget.as_ref().and_then(|b| b.pay(bytes * 2)) {
            // Only a compaction thread has a budget, so the simulation never runs this code.
            #[allow(clippy::disallowed_methods)]
            std::thread::sleep(pause);
        }
    }

    fn check_cancel(&self) -> Result<()> {
        if self.plan.cancel.as_ref().is_some_and(|c| c.load(Ordering::Relaxed)) {
            let source = std::io::Error::new(std::io::ErrorKind::Interrupted, "the engine is closing");
            return Err(Error::Io { op: "compact", path: self.folder.dir.clone(), source });
        }
        Ok(())
    }

    /// Whether a range delete of the same stripe hides the entry.
    #[inline]
    fn deleted_by_range(&self, key: &[u8], seq: u64, s: usize) -> bool {
        if self.plan.dels.is_empty() {
            return false;
        }
        let Some(f) = self.plan.dels.find(key) else { return false };
        // The oldest delete newer than the entry has the lowest stripe of those that hide it.
        let newer = f.seqs.partition_point(|&x| x > seq);
        newer.checked_sub(1).is_some_and(|i| stripe(&self.plan.snapshots, f.seqs[i]) == s)
    }

    /// Writes an entry out. `whole` is the value that a pointer leads to, if it is at hand.
    fn emit(&mut self, key: &[u8], tag: u64, value: &[u8], whole: Option<Bytes>) -> Result<()> {
        // Versions of one key stay in one table.
        let new_key = self.builder.as_ref().is_none_or(|(_, b)| b.last_key() != key);
        if new_key {
            self.pass_boundaries(Some(key))?;
            self.pass_grandparents(key);
            let full = self.builder.as_ref().is_some_and(|(_, b)| {
                b.estimated_size() >= self.plan.table_bytes
                    || self.ref_bytes / VALUES_PER_TABLE >= self.plan.table_bytes
                    || self.grandparent_bytes > MAX_GRANDPARENTS.saturating_mul(self.plan.table_bytes)
            });
            if full {
                self.close(Some(key))?;
            }
        }
        if self.builder.is_none() {
            self.create()?;
        }
        let (tag, separated) = self.place(key, tag, value, whole)?;
        if let Some((_, builder)) = &mut self.builder {
            builder.add(key, tag, if separated { &self.pointer } else { value })?;
        }
        Ok(())
    }

    /// Puts a value into a value file if it belongs into one, or into another one. The entry's tag, and
    /// whether its value is now `self.pointer`.
    fn place(&mut self, key: &[u8], tag_in: u64, value: &[u8], whole: Option<Bytes>) -> Result<(u64, bool)> {
        let new = match kind_of(tag_in) {
            KIND_PUT if self.values.takes(value) => self.values.add(key, value)?,
            KIND_POINTER => {
                let Some(old) = Pointer::decode(value) else {
                    // The caller reports it, because it can name the place.
                    self.plan.version.read_value(value, key)?;
                    return Ok((tag_in, false));
                };
                if !self.plan.relocate.contains(&old.file) {
                    self.refer(old);
                    return Ok((tag_in, false));
                }
                let whole = match whole {
                    Some(whole) => whole,
                    None => self.plan.version.read_value(value, key)?,
                };
                self.check_cancel()?;
                self.pay(old.record_bytes());
                self.copied += old.record_bytes();
                let new = self.values.add(key, &whole)?;
                if self.plan.dangling_pointers {
                    self.refer(new);
                    return Ok((tag_in, false));
                }
                new
            }
            _ => return Ok((tag_in, false)),
        };
        self.refer(new);
        self.pointer.clear();
        new.encode(&mut self.pointer);
        Ok((tag(seq_of(tag_in), KIND_POINTER), true))
    }

    /// Counts a pointer of the current output.
    fn refer(&mut self, pointer: Pointer) {
        let (records, bytes) = self.refs.entry(pointer.file).or_default();
        *records += 1;
        *bytes += pointer.record_bytes();
        self.ref_bytes += pointer.record_bytes();
    }

    /// Cuts at the boundaries up to `key`; `None`: at all that are left.
    fn pass_boundaries(&mut self, key: Option<&[u8]>) -> Result<()> {
        while let Some(boundary) = self.plan.boundaries.get(self.next_boundary)
            && key.is_none_or(|key| boundary[..] <= *key)
        {
            self.next_boundary += 1;
            // Only if something may lie on its lower side.
            if self.builder.is_some() || !self.kept_dels.is_empty() {
                let boundary = boundary.clone();
                self.close(Some(&boundary))?;
            }
        }
        Ok(())
    }

    fn pass_grandparents(&mut self, key: &[u8]) {
        while let Some(g) = self.grandparents.get(self.next_grandparent)
            && g.meta.ends_before(key)
        {
            if self.builder.is_some() {
                self.grandparent_bytes += g.meta.summary.size;
            }
            self.next_grandparent += 1;
        }
    }

    fn create(&mut self) -> Result<()> {
        let number = self.next_file.fetch_add(1, Ordering::Relaxed);
        self.created.push(number);
        let path = self.folder.path(number);
        let builder = TableBuilder::create(&*self.folder.env, &path, number, self.plan.layout)?;
        self.builder = Some((number, builder));
        self.grandparent_bytes = 0;
        Ok(())
    }

    /// Closes the current output with the range deletes up to `next`, the first key of the output after it.
    fn close(&mut self, next: Option<&[u8]>) -> Result<()> {
        let low = std::mem::replace(&mut self.low, next.map(<[u8]>::to_vec));
        let dels: Vec<Fragment> = self.kept_dels.clip(low.as_deref(), next).collect();
        if !dels.is_empty() && self.builder.is_none() {
            self.create()?;
        }
        let Some((number, mut builder)) = self.builder.take() else { return Ok(()) };
        for f in dels {
            builder.add_fragment(f);
        }
        let summary = builder.finish()?;
        self.ref_bytes = 0;
        let refs = std::mem::take(&mut self.refs).into_iter();
        let refs = refs.map(|(file, (records, bytes))| ValueRef { file, records, bytes }).collect();
        self.outputs.push(FileMeta { number, global_seq: 0, refs, summary });
        Ok(())
    }
}

/// The levels deeper than an output level.
struct Below {
    version: Arc<Version>,
    /// Level and next file to look at: keys come in ascending order.
    cursors: Vec<(usize, usize)>,
}

impl Below {
    fn new(version: Arc<Version>, level: usize) -> Self {
        let cursors = (level.saturating_add(1)..LEVELS)
            .filter(|&l| !version.levels[l].files.is_empty())
            .map(|l| (l, 0))
            .collect();
        Self { version, cursors }
    }

    /// Whether a deeper table's range holds `key`. Keys must not go backwards.
    #[inline]
    fn may_hold(&mut self, key: &[u8]) -> bool {
        for (level, at) in &mut self.cursors {
            let files = &self.version.levels[*level].files;
            while files.get(*at).is_some_and(|f| f.meta.ends_before(key)) {
                *at += 1;
            }
            if files.get(*at).is_some_and(|f| f.meta.smallest() <= key) {
                return true;
            }
        }
        false
    }

    fn overlaps(&self, start: &[u8], end: &[u8]) -> bool {
        self.cursors.iter().any(|&(level, _)| {
            let level = &self.version.levels[level];
            level.first_reaching(start) < level.starting_below(end)
        })
    }
}
