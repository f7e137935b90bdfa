//! Ingest: writes sorted entries directly into tables. All of them get one sequence number, which the
//! manifest records.

use super::core::Core;
use super::files::FileMeta;
use super::files::KeyRange;
use super::key::{KIND_POINTER, KIND_PUT, tag};
use super::table::TableBuilder;
use super::values::{ValueMeta, ValueRef, ValueWriter};
use super::version::{LEVELS, Version, VersionEdit};
use crate::{Error, Result};
use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

impl Core {
    pub(crate) fn ingest<K, V>(&self, entries: impl IntoIterator<Item = (K, V)>) -> Result<()>
    where
        K: AsRef<[u8]>,
        V: AsRef<[u8]>,
    {
        let mut created = Vec::new();
        let mut values = ValueWriter::new(&self.folder, &self.next_file, self.value_layout());
        let result = self.write_ingested(entries, &mut values, &mut created).and_then(|(files, values)| {
            let bytes = values.iter().map(|v| v.size).sum();
            self.counters.value_flush_bytes.fetch_add(bytes, Ordering::Relaxed);
            self.add_ingested(files, values)
        });
        // After a failed append the manifest may or may not name them: then the next open decides.
        if result.is_err() && !self.manifest.lock().manifest.in_doubt() {
            values.abandon();
            for number in created {
                let _ = self.env.remove(&self.folder.path(number));
            }
        }
        result
    }

    fn write_ingested<K, V>(
        &self,
        entries: impl IntoIterator<Item = (K, V)>,
        values: &mut ValueWriter<'_>,
        created: &mut Vec<u64>,
    ) -> Result<(Vec<FileMeta>, Vec<ValueMeta>)>
    where
        K: AsRef<[u8]>,
        V: AsRef<[u8]>,
    {
        let mut files = Vec::new();
        let mut open: Option<(u64, TableBuilder)> = None;
        let mut refs: BTreeMap<u64, ValueRef> = BTreeMap::new();
        let mut finish =
            |number: u64, builder: TableBuilder, refs: &mut BTreeMap<u64, ValueRef>| -> Result<()> {
                let refs = std::mem::take(refs).into_values().collect();
                files.push(FileMeta { number, global_seq: 0, refs, summary: builder.finish()? });
                Ok(())
            };
        let mut pointer = Vec::new();
        let mut last: Option<Vec<u8>> = None;
        for (key, value) in entries {
            let key = key.as_ref();
            if last.as_deref().is_some_and(|last| last >= key) {
                let source =
                    std::io::Error::new(std::io::ErrorKind::InvalidInput, "keys must be strictly ascending");
                return Err(Error::Io { op: "ingest into", path: self.dir.clone(), source });
            }
            if let Some((number, builder)) =
                open.take_if(|(_, b)| b.estimated_size() >= self.options.table_bytes)
            {
                finish(number, builder, &mut refs)?;
            }
            let (_, builder) = match &mut open {
                Some(open) => open,
                none => {
                    let number = self.next_file.fetch_add(1, Ordering::Relaxed);
                    created.push(number);
                    let path = self.folder.path(number);
                    none.insert((number, TableBuilder::create(&*self.env, &path, number, self.layout())?))
                }
            };
            let value = value.as_ref();
            if values.takes(value) {
                let to = values.add(key, value)?;
                let r = refs.entry(to.file).or_insert(ValueRef { file: to.file, ..ValueRef::default() });
                r.records += 1;
                r.bytes += to.record_bytes();
                pointer.clear();
                to.encode(&mut pointer);
                builder.add(key, tag(0, KIND_POINTER), &pointer)?;
            } else {
                builder.add(key, tag(0, KIND_PUT), value)?;
            }
            let last = last.get_or_insert_default();
            last.clear();
            last.extend_from_slice(key);
        }
        if let Some((number, builder)) = open {
            finish(number, builder, &mut refs)?;
        }
        let values = values.finish()?;
        self.env.sync_dir(&self.folder.dir)?;
        Ok((files, values))
    }

    /// Makes the tables part of the tree. Writers wait meanwhile. The tables get a sequence number above all
    /// earlier writes, and no older write may still be in a memtable, because a read would find it first.
    fn add_ingested(&self, mut files: Vec<FileMeta>, values: Vec<ValueMeta>) -> Result<()> {
        if files.is_empty() {
            return Ok(());
        }
        // Flush most of the memtable before writers have to wait.
        self.flush_all()?;
        let mut writer = self.writer.lock();
        if !self.state.load().active.is_empty() {
            self.rotate();
        }
        while !self.state.load().immutables.is_empty() {
            self.flush_one()?;
        }
        let seq = writer.last_seq + 1;
        for f in &mut files {
            f.global_seq = seq;
        }
        // No compaction may be writing to where the tables go: level 0 always takes them.
        let running = self.compactions.lock();
        let version = self.state.load().version.clone();
        let level = if running.running.is_empty() { lowest_free_level(&version, &files) } else { 0 };
        let edit = VersionEdit {
            added: files.into_iter().map(|f| (level, f)).collect(),
            added_values: values,
            last_seq: Some(seq),
            ..VersionEdit::default()
        };
        // No memtable shadows what the tables replace: the item cache stays empty until all of it is
        // published.
        let closed = self.items.close();
        self.install(edit, None)?;
        drop(running);
        writer.last_seq = seq;
        self.visible.store(seq, Ordering::Release);
        drop(closed);
        self.signal.notify();
        Ok(())
    }
}

/// The deepest level that the files fit into without anything older above or beside them.
fn lowest_free_level(version: &Version, files: &[FileMeta]) -> usize {
    let ranges: Vec<KeyRange> = files.iter().map(FileMeta::range).collect();
    let blocked = |level: usize| ranges.iter().any(|r| version.levels[level].overlapping(r).next().is_some());
    match (0..LEVELS).find(|&l| blocked(l)) {
        Some(level) => level.saturating_sub(1),
        None => LEVELS - 1,
    }
}
