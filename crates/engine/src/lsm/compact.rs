//! Runs compactions that the picker chose.

use super::Background;
use super::core::Core;
use super::files::TableFile;
use super::merge::{MergeIter, RunFiles, RunIter, Source};
use super::picker::{self, Compaction, Kind, Running};
use super::range_del::RangeDelMap;
use super::rewrite::{RewritePlan, Rewriter};
use super::table::{Access, TableIter};
use super::version::{LEVELS, Version, VersionEdit};
use crate::Result;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

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
            let picked = picker::pick(&version, &c.running, &snapshots, self.picker_options());
            let Some(compaction) = picked else { return Ok(false) };
            c.next_id += 1;
            let id = c.next_id;
            c.running.push(Running {
                id,
                files: compaction.inputs.iter().map(|(_, f)| f.meta.number).collect(),
                output_level: compaction.output_level,
                range: compaction.range.clone(),
            });
            (id, compaction, version)
        };
        let result = self.run_compaction(compaction, version, Some(self.closed.clone()));
        self.compactions.lock().running.retain(|r| r.id != id);
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
            Kind::Merge => edit.added = self.merge_tables(&c, version, cancel)?,
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
    ) -> Result<Vec<(usize, super::files::FileMeta)>> {
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
            version,
            output_level: Some(c.output_level),
            table_bytes: self.options.table_bytes,
            layout: self.layout(),
            filter: self.options.filter.clone(),
            budget: (self.options.background == Background::Threads).then(|| self.budget.clone()),
            drops_tombstones: self.options.faults.dropped_tombstone,
            cancel,
        };
        let mut merge = MergeIter::new(sources, false);
        merge.seek(&[])?;
        let outputs = Rewriter::new(plan, &self.folder, &self.next_file, Some(&c.range)).run(&mut merge)?;
        self.env.sync_dir(&self.folder.dir)?;
        let write_bytes: u64 = outputs.iter().map(|f| f.summary.size).sum();
        self.counters.compaction_read_bytes.fetch_add(read_bytes, Ordering::Relaxed);
        self.counters.compaction_write_bytes.fetch_add(write_bytes, Ordering::Relaxed);
        self.counters.written[c.output_level].fetch_add(write_bytes, Ordering::Relaxed);
        Ok(outputs.into_iter().map(|f| (c.output_level, f)).collect())
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
