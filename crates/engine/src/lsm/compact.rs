//! Runs the compactions that the picker chose.

use super::Background;
use super::core::Core;
use super::files::FileMeta;
use super::files::TableFile;
use super::merge::{MergeIter, RunFiles, RunIter, Source};
use super::picker::{self, Kind, PickerOptions, Running};
use super::range_del::{RangeDelMap, RangeDels};
use super::rewrite::{RewritePlan, Rewriter, Rewritten};
use super::table::{Access, TableIter};
use super::tiered::{self, Choice, Piece};
use super::values::collect;
use super::version::{LEVELS, Version, VersionEdit};
use crate::Result;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// A compaction that has begun.
struct Picked {
    id: u64,
    /// It is the one rewrite at a time that gathers values.
    collects: bool,
}

/// What the picker must know about it: one entry for each level that it writes to.
fn running(id: u64, choice: &Choice) -> Vec<Running> {
    let c = &choice.compaction;
    let files: Vec<u64> = c.inputs.iter().map(|(_, f)| f.meta.number).collect();
    let whole = Running { id, files, output_level: c.output_level, range: c.range.clone() };
    if choice.pieces.is_empty() {
        return vec![whole];
    }
    let part = |p: &Piece| {
        let range = p.within(&c.range)?;
        Some(Running { id, files: whole.files.clone(), output_level: p.level, range })
    };
    choice.pieces.iter().filter_map(part).collect()
}

impl Core {
    /// Picks and runs one compaction. False if none is worth its cost. With `busy`, more data is being
    /// written, and compactions that can wait are not picked.
    pub(crate) fn compact_one(&self, busy: bool) -> Result<bool> {
        let (id, choice, version) = {
            let mut c = self.compactions.lock();
            if c.paused > 0 {
                return Ok(false);
            }
            let version = self.state.load().version.clone();
            let snapshots = self.snapshots.list();
            let cap = self.options.value_garbage_percent;
            // Collecting values takes turns with the rest, one table at a time, so that neither starves the
            // other.
            let mut collects = !c.collecting && c.next_id.is_multiple_of(2);
            let mut picked =
                collects.then(|| collect::pick(&version, &c.running, cap).map(Choice::from)).flatten();
            if picked.is_none() {
                collects = false;
                let options = PickerOptions { busy, ..self.picker_options() };
                let ranges = &self.options.tiered;
                picked = tiered::pick(&version, &c.running, &snapshots, options, ranges);
            }
            if picked.is_none() && !c.collecting {
                collects = true;
                picked = collect::pick(&version, &c.running, cap).map(Choice::from);
            }
            let Some(choice) = picked else { return Ok(false) };
            c.collecting |= collects;
            c.next_id += 1;
            let id = Picked { id: c.next_id, collects };
            c.running.extend(running(id.id, &choice));
            (id, choice, version)
        };
        let result = self.run_compaction(choice, version, Some(self.closed.clone()));
        {
            let mut c = self.compactions.lock();
            c.running.retain(|r| r.id != id.id);
            c.collecting &= !id.collects;
        }
        self.signal.notify();
        result.map(|()| true)
    }

    /// Flushes, then compacts everything into the deepest level in use. For tests and operators: it rewrites
    /// all data.
    pub(crate) fn compact_all(&self) -> Result<()> {
        self.flush_all()?;
        self.compactions.lock().paused += 1;
        let result = self.compact_all_paused();
        self.compactions.lock().paused -= 1;
        self.signal.notify();
        result
    }

    fn compact_all_paused(&self) -> Result<()> {
        loop {
            let seen = self.signal.generation();
            if self.compactions.lock().running.is_empty() {
                break;
            }
            self.signal.wait(seen, None);
        }
        let version = self.state.load().version.clone();
        let deepest = (0..LEVELS).rev().find(|&l| !version.levels[l].files.is_empty()).unwrap_or(0);
        let bottom = deepest.max(picker::targets(&version, self.picker_options()).base);
        match picker::everything(&version, bottom) {
            Some(compaction) => self.run_compaction(compaction.into(), version, None),
            None => Ok(()),
        }
    }

    fn run_compaction(
        &self,
        choice: Choice,
        version: Arc<Version>,
        cancel: Option<Arc<AtomicBool>>,
    ) -> Result<()> {
        let c = &choice.compaction;
        let mut edit = VersionEdit {
            removed: c.inputs.iter().map(|(l, f)| (*l, f.meta.number)).collect(),
            ..VersionEdit::default()
        };
        match c.kind {
            Kind::Drop => {}
            Kind::Move => {
                edit.added = c.inputs.iter().map(|(_, f)| (c.output_level, f.meta.clone())).collect()
            }
            Kind::Merge => self.merge_pieces(&choice, version, cancel, &mut edit)?,
        }
        if c.kind == Kind::Merge {
            self.counters.compactions.fetch_add(1, Ordering::Relaxed);
        } else {
            self.counters.moves.fetch_add(1, Ordering::Relaxed);
        }
        self.install(edit, None)
    }

    /// Merges each piece by itself and notes all of it in one edit. On failure no file is left behind.
    fn merge_pieces(
        &self,
        choice: &Choice,
        version: Arc<Version>,
        cancel: Option<Arc<AtomicBool>>,
        edit: &mut VersionEdit,
    ) -> Result<()> {
        let c = &choice.compaction;
        for (level, file) in &c.inputs {
            let bytes = file.meta.summary.size;
            self.counters.read[*level].fetch_add(bytes, Ordering::Relaxed);
            self.counters.compaction_read_bytes.fetch_add(bytes, Ordering::Relaxed);
        }
        let whole = [Piece { low: None, high: None, level: c.output_level }];
        let pieces = if choice.pieces.is_empty() { &whole } else { &choice.pieces[..] };
        for piece in pieces {
            match self.merge_piece(choice, piece, version.clone(), cancel.clone()) {
                Ok(merged) => {
                    edit.added.extend(merged.tables.into_iter().map(|f| (piece.level, f)));
                    edit.added_values.extend(merged.values);
                }
                Err(e) => {
                    for (_, table) in &edit.added {
                        let _ = self.env.remove(&self.folder.path(table.number));
                    }
                    for values in &edit.added_values {
                        let _ = self.env.remove(&self.folder.values_path(values.number));
                    }
                    return Err(e);
                }
            }
        }
        self.env.sync_dir(&self.folder.dir)
    }

    /// The range deletes of the inputs, within the piece.
    fn dels_of(&self, choice: &Choice, piece: &Piece) -> Result<RangeDels> {
        let mut dels = RangeDelMap::default();
        for (_, file) in &choice.compaction.inputs {
            if file.meta.summary.range_dels > 0 {
                let all = file.table()?.range_dels();
                all.clip(piece.low.as_deref(), piece.high.as_deref()).for_each(|f| dels.insert_fragment(&f));
            }
        }
        Ok(dels.freeze())
    }

    fn merge_piece(
        &self,
        choice: &Choice,
        piece: &Piece,
        version: Arc<Version>,
        cancel: Option<Arc<AtomicBool>>,
    ) -> Result<Rewritten> {
        let c = &choice.compaction;
        let Some(range) = piece.within(&c.range) else { return Ok(Rewritten::default()) };
        let mut sources = Vec::new();
        for level in 0..LEVELS {
            let inputs = c.inputs.iter().filter(|(l, f)| *l == level && f.meta.overlaps(&range));
            let mut files: Vec<Arc<TableFile>> = inputs.map(|(_, f)| f.clone()).collect();
            if level == 0 {
                for file in files {
                    let table = file.table()?.clone();
                    sources.push(Source::Table(TableIter::new(table, Access::Sequential, false)));
                }
            } else if !files.is_empty() {
                files.sort_by(|a, b| a.meta.smallest().cmp(b.meta.smallest()));
                sources.push(Source::Run(RunIter::new(RunFiles::List(files), Access::Sequential, false)));
            }
        }
        let plan = RewritePlan {
            snapshots: self.snapshots.list(),
            dels: self.dels_of(choice, piece)?,
            relocate: collect::relocated(&version, self.options.value_garbage_percent),
            version,
            // Outputs in level 0 always have older data below them.
            output_level: (piece.level > 0).then_some(piece.level),
            table_bytes: if piece.level > 0 { self.options.table_bytes } else { u64::MAX },
            boundaries: self.options.tiered.boundaries(),
            end: piece.high.clone(),
            layout: self.layout(),
            values: self.value_layout(),
            filter: self.options.filter.clone(),
            budget: (self.options.background == Background::Threads).then(|| self.budget.clone()),
            drops_tombstones: self.options.faults.dropped_tombstone,
            dangling_pointers: self.options.faults.dangling_pointers,
            cancel,
        };
        let mut merge = MergeIter::new(sources, false);
        merge.seek(piece.low.as_deref().unwrap_or_default())?;
        let outputs = Rewriter::new(plan, &self.folder, &self.next_file, Some(&range)).run(&mut merge)?;
        let counters = &self.counters;
        let write_bytes = outputs.table_bytes();
        counters.compaction_write_bytes.fetch_add(write_bytes, Ordering::Relaxed);
        counters.written[piece.level].fetch_add(write_bytes, Ordering::Relaxed);
        counters.value_copied_bytes.fetch_add(outputs.copied_bytes, Ordering::Relaxed);
        counters.value_compaction_bytes.fetch_add(outputs.value_bytes(), Ordering::Relaxed);
        let tiered: u64 = outputs.tables.iter().filter(|f| self.is_tiered(f)).map(|f| f.summary.size).sum();
        let fresh = c.inputs.iter().any(|(level, _)| *level == 0);
        let counter = if fresh { &counters.tiered_first_bytes } else { &counters.tiered_again_bytes };
        counter.fetch_add(tiered, Ordering::Relaxed);
        Ok(outputs)
    }

    /// Whether a table lies in a range that is compacted by size tiers.
    fn is_tiered(&self, meta: &FileMeta) -> bool {
        self.options.tiered.covers(meta.smallest(), |high| meta.ends_before(high))
    }

    /// What a compaction thread does next. Removing files comes first: under steady writes there is always
    /// something to compact, and the space of obsolete files would never be freed.
    pub(crate) fn compact_step(&self, busy: bool) -> Result<bool> {
        Ok(self.folder.collect_one()? || self.compact_one(busy)?)
    }

    /// One unit of background work: a flush, else a file removal, else a compaction.
    pub(crate) fn background_step(&self) -> Result<bool> {
        Ok(self.flush_step()? || self.compact_step(false)?)
    }
}
