//! Versions: the set of live tables by level, and the value files that they refer to. A version is immutable.
//! Each flush or compaction replaces it as a whole.

use super::codec::{Reader, put_varint};
use super::files::{FileMeta, KeyRange, TableFile, TableFolder};
use super::memtable::GetOutcome;
use super::sorted_keys::SortedKeys;
use super::values::{LiveValues, Pointer, ValueFile, ValueMeta, ValueRef};
use crate::{Error, Result};
use bytes::Bytes;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Number of levels, level 0 included.
pub(crate) const LEVELS: usize = 7;

/// One level.
#[derive(Debug, Default)]
pub(crate) struct Level {
    /// Level 0: newest first, ranges may overlap. Others: by key, ranges disjoint.
    pub(crate) files: Vec<Arc<TableFile>>,
    /// Lowest key of each file (empty for level 0).
    lows: SortedKeys,
    /// Sum of file sizes.
    pub(crate) bytes: u64,
}

impl Level {
    fn new(level: usize, files: Vec<Arc<TableFile>>) -> Self {
        let lows = if level == 0 {
            SortedKeys::default()
        } else {
            SortedKeys::new(files.iter().map(|f| f.meta.smallest()))
        };
        let bytes = files.iter().map(|f| f.meta.summary.size).sum();
        Self { files, lows, bytes }
    }

    /// Levels above 0: the file that may hold `key`.
    #[inline]
    pub(crate) fn find(&self, key: &[u8]) -> Option<&Arc<TableFile>> {
        let file = self.files.get(self.lows.upper_bound(key).checked_sub(1)?)?;
        (!file.meta.ends_before(key)).then_some(file)
    }

    /// Levels above 0: index of the first file that does not end before `key`.
    pub(crate) fn first_reaching(&self, key: &[u8]) -> usize {
        self.files.partition_point(|f| f.meta.ends_before(key))
    }

    /// Levels above 0: number of files that start below `key`.
    pub(crate) fn starting_below(&self, key: &[u8]) -> usize {
        self.lows.lower_bound(key)
    }

    /// Files that share a key with `range`.
    pub(crate) fn overlapping<'a>(&'a self, range: &'a KeyRange) -> impl Iterator<Item = &'a Arc<TableFile>> {
        self.files.iter().filter(move |f| f.meta.overlaps(range))
    }
}

/// See the module's comment.
#[derive(Debug)]
pub(crate) struct Version {
    pub(crate) levels: [Level; LEVELS],
    /// Value files by number, each with what the tables refer to of it.
    pub(crate) values: BTreeMap<u64, LiveValues>,
    folder: Option<Arc<TableFolder>>,
}

impl Default for Version {
    fn default() -> Self {
        Self { levels: std::array::from_fn(|_| Level::default()), values: BTreeMap::new(), folder: None }
    }
}

impl Version {
    /// The newest version of a key visible at `seq`. `hash` is the filter hash of the key.
    pub(crate) fn get(&self, key: &[u8], hash: u64, seq: u64) -> Result<GetOutcome> {
        for file in &self.levels[0].files {
            if file.meta.ends_before(key) || *key < *file.meta.smallest() {
                continue;
            }
            let found = file.table()?.get(key, hash, seq)?;
            if found != GetOutcome::Missing {
                return self.whole(found, key);
            }
        }
        for level in &self.levels[1..] {
            if let Some(file) = level.find(key) {
                let found = file.table()?.get(key, hash, seq)?;
                if found != GetOutcome::Missing {
                    return self.whole(found, key);
                }
            }
        }
        Ok(GetOutcome::Missing)
    }

    /// With the value in place of a pointer to it.
    #[inline]
    fn whole(&self, found: GetOutcome, key: &[u8]) -> Result<GetOutcome> {
        match found {
            GetOutcome::Separated(pointer) => Ok(GetOutcome::Value(self.read_value(&pointer, key)?)),
            found => Ok(found),
        }
    }

    /// The value that an encoded pointer, found under `key`, stands for.
    ///
    /// # Errors
    /// [`Error::Corrupt`] if it leads nowhere, or those of reading.
    pub(crate) fn read_value(&self, pointer: &[u8], key: &[u8]) -> Result<Bytes> {
        let dir = || self.folder.as_ref().map(|f| f.dir.clone()).unwrap_or_default();
        let Some(p) = Pointer::decode(pointer) else {
            let detail = "a pointer to a value does not parse".to_string();
            return Err(Error::Corrupt { what: "value", path: dir(), offset: 0, detail });
        };
        match (self.values.get(&p.file), &self.folder) {
            (Some(live), _) => live.file.read(p, key),
            (None, Some(folder)) => Err(ValueFile::missing(folder, p)),
            (None, None) => {
                let detail = format!("no value file {}", p.file);
                Err(Error::Corrupt { what: "value", path: dir(), offset: p.offset, detail })
            }
        }
    }

    /// Whether a table lies wholly in `start..end`.
    pub(crate) fn holds_table_within(&self, start: &[u8], end: &[u8]) -> bool {
        let within = |f: &Arc<TableFile>| f.meta.smallest() >= start && f.meta.ends_before(end);
        self.levels[0].files.iter().any(within)
            || self.levels[1..].iter().any(|level| {
                // The first table that starts at or after `start`: if it reaches beyond `end`, so do all
                // after it.
                level.files.get(level.starting_below(start)).is_some_and(within)
            })
    }

    /// The tables that `keep` wants, by level: for choosing compactions, not for reading.
    pub(crate) fn subset(&self, keep: impl Fn(usize, &TableFile) -> bool) -> Self {
        let levels = std::array::from_fn(|l| {
            Level::new(l, self.levels[l].files.iter().filter(|f| keep(l, f)).cloned().collect())
        });
        Self { levels, ..Self::default() }
    }

    pub(crate) fn files(&self) -> impl Iterator<Item = (usize, &Arc<TableFile>)> {
        self.levels.iter().enumerate().flat_map(|(l, level)| level.files.iter().map(move |f| (l, f)))
    }

    /// The version after an edit. Fails with a description if the edit does not fit.
    pub(crate) fn apply(
        &self,
        edit: &VersionEdit,
        folder: &Arc<TableFolder>,
    ) -> std::result::Result<Self, String> {
        let mut lists: [Vec<Arc<TableFile>>; LEVELS] = std::array::from_fn(|l| self.levels[l].files.clone());
        let mut values = self.values.clone();
        for meta in &edit.added_values {
            let file = ValueFile::new(meta.clone(), folder.clone());
            values.insert(meta.number, LiveValues { file, records: 0, bytes: 0 });
        }
        for &(level, number) in &edit.removed {
            let list = lists.get_mut(level).ok_or_else(|| format!("level {level}"))?;
            let at = list.iter().position(|f| f.meta.number == number);
            let gone = list.remove(at.ok_or_else(|| format!("table {number} is not in level {level}"))?);
            count(&mut values, &gone.meta, |live, r| {
                live.records = live.records.checked_sub(r.records)?;
                live.bytes = live.bytes.checked_sub(r.bytes)?;
                Some(())
            })?;
        }
        for (level, meta) in &edit.added {
            let list = lists.get_mut(*level).ok_or_else(|| format!("level {level}"))?;
            // A moved table keeps its handle.
            let known = self.files().find(|(_, f)| f.meta == *meta).map(|(_, f)| f.clone());
            let file = known.unwrap_or_else(|| TableFile::new(meta.clone(), folder.clone()));
            list.push(file);
            count(&mut values, meta, |live, r| {
                live.records = live.records.checked_add(r.records)?;
                live.bytes = live.bytes.checked_add(r.bytes)?;
                (live.records <= live.file.meta.records && live.bytes <= live.file.meta.bytes).then_some(())
            })?;
        }
        // A value file lives as long as a table refers to it.
        values.retain(|_, live| live.records > 0);
        for (level, list) in lists.iter_mut().enumerate() {
            if level == 0 {
                // Newest first. A table of newer writes has higher sequence numbers, whatever its number.
                list.sort_by_key(|f| std::cmp::Reverse((f.meta.largest_seq(), f.meta.number)));
            } else {
                list.sort_by(|a, b| a.meta.smallest().cmp(b.meta.smallest()));
                for w in list.windows(2) {
                    if !w[0].meta.ends_before(w[1].meta.smallest()) {
                        return Err(format!("{:?} and {:?} overlap in level {level}", w[0], w[1]));
                    }
                }
            }
        }
        let mut level = 0;
        let levels = lists.map(|files| {
            level += 1;
            Level::new(level - 1, files)
        });
        Ok(Self { levels, values, folder: Some(folder.clone()) })
    }
}

/// Enters or takes out what a table refers to.
fn count(
    values: &mut BTreeMap<u64, LiveValues>,
    meta: &FileMeta,
    change: impl Fn(&mut LiveValues, &ValueRef) -> Option<()>,
) -> std::result::Result<(), String> {
    for r in &meta.refs {
        let counted = values.get_mut(&r.file).and_then(|live| change(live, r));
        counted.ok_or_else(|| {
            format!(
                "table {} refers to {} values of file {}, which has not so many",
                meta.number, r.records, r.file
            )
        })?;
    }
    Ok(())
}

/// A change of the version, as the manifest records it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct VersionEdit {
    /// Level and table.
    pub(crate) added: Vec<(usize, FileMeta)>,
    /// Level and table number.
    pub(crate) removed: Vec<(usize, u64)>,
    /// Value files that tables of this edit refer to for the first time. One that nothing refers to any more
    /// goes by itself.
    pub(crate) added_values: Vec<ValueMeta>,
    /// Batches of the engine's own stream up to this index are in tables.
    pub(crate) log_index: Option<u64>,
    /// Sequence numbers up to this one may be in tables.
    pub(crate) last_seq: Option<u64>,
    /// No table with this number or above exists.
    pub(crate) next_file: Option<u64>,
}

const TAG_ADD: u8 = 1;
const TAG_REMOVE: u8 = 2;
const TAG_LOG_INDEX: u8 = 3;
const TAG_LAST_SEQ: u8 = 4;
const TAG_NEXT_FILE: u8 = 5;
const TAG_ADD_VALUES: u8 = 6;
/// As `TAG_ADD`, with the table's references behind it.
const TAG_ADD_REFERRING: u8 = 7;

impl VersionEdit {
    /// The bytes of a manifest record. Drawn in docs/formats/manifest.md.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for &(level, number) in &self.removed {
            out.push(TAG_REMOVE);
            out.push(level as u8);
            put_varint(&mut out, number);
        }
        for meta in &self.added_values {
            out.push(TAG_ADD_VALUES);
            meta.encode(&mut out);
        }
        for (level, meta) in &self.added {
            out.push(if meta.refs.is_empty() { TAG_ADD } else { TAG_ADD_REFERRING });
            out.push(*level as u8);
            meta.encode(&mut out);
            if !meta.refs.is_empty() {
                ValueRef::encode_all(&meta.refs, &mut out);
            }
        }
        for (tag, value) in
            [(TAG_LOG_INDEX, self.log_index), (TAG_LAST_SEQ, self.last_seq), (TAG_NEXT_FILE, self.next_file)]
        {
            if let Some(value) = value {
                out.push(tag);
                put_varint(&mut out, value);
            }
        }
        out
    }

    /// `None` if the bytes are not an edit.
    pub(crate) fn decode(data: &[u8]) -> Option<Self> {
        let mut r = Reader::new(data);
        let mut edit = Self::default();
        while !r.is_done() {
            match r.u8()? {
                tag @ (TAG_ADD | TAG_ADD_REFERRING) => {
                    let level = level(&mut r)?;
                    let mut meta = FileMeta::decode(&mut r)?;
                    if tag == TAG_ADD_REFERRING {
                        meta.refs = ValueRef::decode_all(&mut r)?;
                    }
                    edit.added.push((level, meta));
                }
                TAG_ADD_VALUES => edit.added_values.push(ValueMeta::decode(&mut r)?),
                TAG_REMOVE => {
                    let level = level(&mut r)?;
                    edit.removed.push((level, r.varint()?));
                }
                TAG_LOG_INDEX => edit.log_index = Some(r.varint()?),
                TAG_LAST_SEQ => edit.last_seq = Some(r.varint()?),
                TAG_NEXT_FILE => edit.next_file = Some(r.varint()?),
                _ => return None,
            }
        }
        Some(edit)
    }
}

fn level(r: &mut Reader<'_>) -> Option<usize> {
    Some(usize::from(r.u8()?)).filter(|&l| l < LEVELS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lsm::table::TableSummary;
    use proptest::collection::{btree_set, vec};
    use proptest::prelude::*;

    prop_compose! {
        fn meta()(number: u64, global_seq: u64, size: u64, checksum: u64, mut keys in vec(vec(any::<u8>(), 0..9), 2), largest_exclusive: bool, n: [u64; 6], files in btree_set(0u64..1000, 0..4), each: (u64, u64)) -> FileMeta {
            keys.sort();
            let largest = keys.pop().unwrap_or_default();
            let smallest = keys.pop().unwrap_or_default();
            let [smallest_seq, largest_seq, entries, deletes, range_dels, raw_bytes] = n;
            let summary = TableSummary { size, checksum, smallest, largest, largest_exclusive, smallest_seq, largest_seq, entries, deletes, range_dels, raw_bytes };
            let refs = files.into_iter().map(|file| ValueRef { file, records: each.0, bytes: each.1 }).collect();
            FileMeta { number, global_seq, refs, summary }
        }
    }

    proptest! {
        #[test]
        fn edits_round_trip(
            added in vec((0..LEVELS, meta()), 0..5), removed in vec((0..LEVELS, any::<u64>()), 0..5),
            log_index: Option<u64>, last_seq: Option<u64>, next_file: Option<u64>, values in vec(any::<[u64; 5]>(), 0..4), junk: Vec<u8>,
        ) {
            let values = values.into_iter().map(|[number, size, checksum, records, bytes]| ValueMeta { number, size, checksum, records, bytes });
            let edit = VersionEdit { added, removed, added_values: values.collect(), log_index, last_seq, next_file };
            let data = edit.encode();
            prop_assert_eq!(VersionEdit::decode(&data), Some(edit));
            let _ = VersionEdit::decode(&junk);
        }

        #[test]
        fn ranges_overlap_when_they_share_a_key(a in (0u8..9, 0u8..9, any::<bool>()), b in (0u8..9, 0u8..9, any::<bool>())) {
            let range = |(x, y, exclusive): (u8, u8, bool)| KeyRange { low: vec![x], high: vec![x + y + 1], exclusive };
            let holds = |r: &KeyRange, k: u8| r.low[0] <= k && (k < r.high[0] || (!r.exclusive && k == r.high[0]));
            let (a, b) = (range(a), range(b));
            prop_assert_eq!(a.overlaps(&b), (0..30).any(|k| holds(&a, k) && holds(&b, k)));
            let mut hull = a.clone();
            hull.extend(&b);
            prop_assert!((0..30).all(|k| !(holds(&a, k) || holds(&b, k)) || holds(&hull, k)));
        }
    }
}
