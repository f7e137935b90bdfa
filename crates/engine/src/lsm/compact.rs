//! Runs compactions that the picker chose.

use super::Background;
use super::core::Core;
use super::files::TableFile;
use super::merge::{MergeIter, RunFiles, RunIter, Source};
use super::picker::{self, Compaction, Kind, Running};
use super::range_del::RangeDelMap;
use super::rewrite::{RewritePlan, Rewriter, Rewritten};
use super::table::{Access, TableIter};
use super::values::collect;
use super::version::{LEVELS, Version, VersionEdit};
use crate::Result;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// What was begun.
struct Picked {
    id: u64,
    /// It is the one rewrite at a time that gathers values.
    collects: bool,
}

impl Core {
    /// Picks and runs one compaction. False if nothing is worth it.
    pub(crate) fn compact_one(&self) -> Result<bool> {
        let (id, compaction, version) = {
            let mut c = self.compactions.lock();
            if c.paused > 0 {
                return Ok(false);
            }
            let version = self.state.load().version.clone();
            let snapshots = self.snapshots.list();
            let cap = self.options.value_garbage_percent;
            // Collecting values takes turns with the rest, one table at a time, so that neither starves the other.
            let mut collects = !c.collecting && c.next_id.is_multiple_of(2);
            let mut picked = collects.then(|| collect::pick(&version, &c.running, cap)).flatten();
            if picked.is_none() {
                collects = false;
                picked = picker::pick(&version, &c.running, &snapshots, self.picker_options());
            }
            if picked.is_none() && !c.collecting {
                collects = true;
                picked = collect::pick(&version, &c.running, cap);
            }
            let Some(compaction) = picked else { return Ok(false) };
            c.collecting |= collects;
            c.next_id += 1;
            let id = Picked { id: c.next_id, collects };
            c.running.push(Running {
                id: id.id,
                files: compaction.inputs.iter().map(|(_, f)| f.meta.number).collect(),
                output_level: compaction.output_level,
                range: compaction.range.clone(),
            });
            (id, compaction, version)
        };
        let result = self.run_compaction(compaction, version, Some(self.closed.clone()));
        {
            let mut c = self.compactions.lock();
            c.running.retain(|r| r.id != id.id);
            c.collecting &= !id.collects;
        }
        self.signal.notify();
        result.map(|()| true)
    }

    /// Flushes, then compacts everything into the deepest level in use. For tests and operators: it rewrites all data.
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
            Some(compaction) => self.run_compaction(compaction, version, None),
            None => Ok(()),
        }
    }

    fn run_compaction(
        &self,
        c: Compaction,
        version: Arc<Version>,
        cancel: Option<Arc<AtomicBool>>,
    ) -> Result<()> {
        let mut edit = VersionEdit {
            removed: c.inputs.iter().map(|(l, f)| (*l, f.meta.number)).collect(),
            ..VersionEdit::default()
        };
        match c.kind {
            Kind::Drop => {}
            Kind::Move => {
                edit.added = c.inputs.iter().map(|(_, f)| (c.output_level, f.meta.clone())).collect()
            }
            Kind::Merge => {
                let merged = self.merge_tables(&c, version, cancel)?;
                edit.added = merged.tables.into_iter().map(|f| (c.output_level, f)).collect();
                edit.added_values = merged.values;
            }
        }
        if c.kind == Kind::Merge {
            self.counters.compactions.fetch_add(1, Ordering::Relaxed);
        } else {
            self.counters.moves.fetch_add(1, Ordering::Relaxed);
        }
        self.install(edit, None)
    }

    fn merge_tables(
        &self,
        c: &Compaction,
        version: Arc<Version>,
        cancel: Option<Arc<AtomicBool>>,
    ) -> Result<Rewritten> {
        let mut dels = RangeDelMap::default();
        let mut sources = Vec::new();
        let mut read_bytes = 0;
        for (level, file) in &c.inputs {
            read_bytes += file.meta.summary.size;
            self.counters.read[*level].fetch_add(file.meta.summary.size, Ordering::Relaxed);
            if file.meta.summary.range_dels > 0 {
                file.table()?.range_dels().frags.iter().for_each(|f| dels.insert_fragment(f));
            }
        }
        for level in 0..LEVELS {
            let mut files: Vec<Arc<TableFile>> =
                c.inputs.iter().filter(|(l, _)| *l == level).map(|(_, f)| f.clone()).collect();
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
            dels: dels.freeze(),
            relocate: collect::relocated(&version, self.options.value_garbage_percent),
            version,
            // Within level 0 there is always something older below.
            output_level: (c.output_level > 0).then_some(c.output_level),
            table_bytes: if c.output_level > 0 { self.options.table_bytes } else { u64::MAX },
            layout: self.layout(),
            values: self.value_layout(),
            filter: self.options.filter.clone(),
            budget: (self.options.background == Background::Threads).then(|| self.budget.clone()),
            drops_tombstones: self.options.faults.dropped_tombstone,
            dangling_pointers: self.options.faults.dangling_pointers,
            cancel,
        };
        let mut merge = MergeIter::new(sources, false);
        merge.seek(&[])?;
        let outputs = Rewriter::new(plan, &self.folder, &self.next_file, Some(&c.range)).run(&mut merge)?;
        self.env.sync_dir(&self.folder.dir)?;
        let write_bytes = outputs.table_bytes();
        self.counters.value_copied_bytes.fetch_add(outputs.copied_bytes, Ordering::Relaxed);
        self.counters.value_compaction_bytes.fetch_add(outputs.value_bytes(), Ordering::Relaxed);
        self.counters.compaction_read_bytes.fetch_add(read_bytes, Ordering::Relaxed);
        self.counters.compaction_write_bytes.fetch_add(write_bytes, Ordering::Relaxed);
        self.counters.written[c.output_level].fetch_add(write_bytes, Ordering::Relaxed);
        Ok(outputs)
    }

    /// What a compaction thread does next. Files first: under steady writes there is always something to compact, and their space
    /// would never come back.
    pub(crate) fn compact_step(&self) -> Result<bool> {
        Ok(self.folder.collect_one()? || self.compact_one()?)
    }

    /// One unit of background work: a flush, else a file removal, else a compaction.
    pub(crate) fn background_step(&self) -> Result<bool> {
        Ok(self.flush_step()? || self.compact_step()?)
    }
}
