//! The oracle of global secondary indexes: the rows of an index partition only move forward, and at the end
//! the index equals its table.

use super::show;
use std::collections::BTreeMap;
use std::fmt;

/// What is wrong with an index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IndexFault {
    /// A row was seen at a version below, or after its end not above, one that it had before.
    WentBack {
        /// Group of the index's partition.
        group: u64,
        /// The row.
        key: Vec<u8>,
        /// The highest version it was seen at before, and whether it was gone since.
        before: (u64, bool),
        /// The version now.
        now: u64,
    },
    /// A partition forgot that it had a change.
    Forgot {
        /// Group of the index's partition.
        group: u64,
        /// The record of how far it is.
        key: Vec<u8>,
        /// How far it was, and is.
        positions: (u64, u64),
    },
    /// The index is not what its table says.
    Differs {
        /// Number of the index.
        index: u64,
        /// The first row that differs.
        key: Vec<u8>,
        /// Whether the table has it, and the index.
        has: (bool, bool),
        /// Rows that differ.
        rows: usize,
    },
}

impl fmt::Display for IndexFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::WentBack { group, key, before: (version, gone), now } => write!(
                f,
                "index: row {} of group {group} went back from version {version}{} to {now}",
                show(key),
                if *gone { " and its end" } else { "" }
            ),
            Self::Forgot { group, key, positions: (before, now) } => {
                write!(f, "index: group {group} went back from position {before} to {now} at {}", show(key))
            }
            Self::Differs { index, key, has: (table, own), rows } => write!(
                f,
                "index {index} differs from its table in {rows} rows, first {}: the table {}, the index {}",
                show(key),
                if *table { "has it" } else { "lacks it" },
                if *own { "has it" } else { "lacks it" }
            ),
        }
    }
}

/// One look at a partition of an index, at one applied entry.
#[derive(Clone, Debug, Default)]
pub struct Look {
    /// Versions of its rows, by key.
    pub rows: BTreeMap<Vec<u8>, u64>,
    /// Positions up to which it has the changes of each partition of the table, by key.
    pub watermarks: BTreeMap<Vec<u8>, u64>,
}

/// Follows the partitions of indexes through a history. Looks may come from any replica: one older than the
/// last is passed over.
#[derive(Debug, Default)]
pub struct IndexWatch {
    groups: BTreeMap<u64, Seen>,
    /// What was found.
    pub faults: Vec<IndexFault>,
}

#[derive(Debug, Default)]
struct Seen {
    applied: u64,
    /// Highest version of each row ever seen, and whether it is gone.
    rows: BTreeMap<Vec<u8>, (u64, bool)>,
    watermarks: BTreeMap<Vec<u8>, u64>,
}

impl IndexWatch {
    /// Whether a look at this applied entry would tell anything new.
    pub fn is_news(&self, group: u64, applied: u64) -> bool {
        self.groups.get(&group).is_none_or(|seen| seen.applied < applied)
    }

    /// Takes a look in.
    pub fn observe(&mut self, group: u64, applied: u64, look: Look) {
        if !self.is_news(group, applied) {
            return;
        }
        let seen = self.groups.entry(group).or_default();
        seen.applied = applied;
        for (key, now) in &look.rows {
            let Some(before) = seen.rows.get(key).copied() else { continue };
            let (version, gone) = before;
            if *now < version || (gone && *now == version) {
                self.faults.push(IndexFault::WentBack { group, key: key.clone(), before, now: *now });
            }
        }
        for (key, row) in &mut seen.rows {
            row.1 = !look.rows.contains_key(key);
        }
        for (key, now) in look.rows {
            let row = seen.rows.entry(key).or_default();
            *row = (row.0.max(now), false);
        }
        for (key, before) in &seen.watermarks {
            let now = look.watermarks.get(key).copied().unwrap_or(0);
            if now < *before {
                self.faults.push(IndexFault::Forgot { group, key: key.clone(), positions: (*before, now) });
            }
        }
        seen.watermarks = look.watermarks;
    }
}

/// Compares the rows of an index with those that its table's items stand for.
pub fn compare<R: PartialEq>(
    index: u64,
    rebuilt: &BTreeMap<Vec<u8>, R>,
    rows: &BTreeMap<Vec<u8>, R>,
) -> Option<IndexFault> {
    let of_table = rebuilt.iter().filter(|(key, row)| rows.get(*key) != Some(row)).map(|(key, _)| key);
    let of_index = rows.keys().filter(|key| !rebuilt.contains_key(*key));
    let differing: Vec<&Vec<u8>> = of_table.chain(of_index).collect();
    let key = (*differing.iter().min()?).clone();
    let has = (rebuilt.contains_key(&key), rows.contains_key(&key));
    Some(IndexFault::Differs { index, key, has, rows: differing.len() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(rows: &[(&str, u64)], watermark: u64) -> Look {
        Look {
            rows: rows.iter().map(|(key, version)| (key.as_bytes().to_vec(), *version)).collect(),
            watermarks: BTreeMap::from([(b"w".to_vec(), watermark)]),
        }
    }

    #[track_caller]
    fn check(looks: &[(u64, Look)], faults: usize) {
        let mut watch = IndexWatch::default();
        for (applied, look) in looks {
            watch.observe(1, *applied, look.clone());
        }
        assert_eq!(watch.faults.len(), faults, "{:?}", watch.faults);
    }

    #[test]
    fn forward_is_fine() {
        check(
            &[(1, look(&[("a", 1)], 1)), (2, look(&[("a", 2), ("b", 1)], 2)), (3, look(&[("b", 1)], 2))],
            0,
        );
        check(&[(1, look(&[("a", 1)], 1)), (2, look(&[], 2)), (3, look(&[("a", 3)], 3))], 0);
        // A replica that lags tells nothing.
        check(&[(2, look(&[("a", 2)], 2)), (1, look(&[("a", 1)], 1))], 0);
    }

    #[test]
    fn back_is_not() {
        check(&[(1, look(&[("a", 2)], 2)), (2, look(&[("a", 1)], 2))], 1);
        check(&[(1, look(&[("a", 2)], 2)), (2, look(&[], 2)), (3, look(&[("a", 2)], 3))], 1);
        check(&[(1, look(&[("a", 2)], 2)), (2, look(&[], 2)), (3, look(&[("a", 1)], 3))], 1);
        check(&[(1, look(&[], 2)), (2, look(&[], 1))], 1);
    }

    #[test]
    fn differences_are_named() {
        let rows = |rows: &[(&str, u8)]| -> BTreeMap<Vec<u8>, u8> {
            rows.iter().map(|(key, row)| (key.as_bytes().to_vec(), *row)).collect()
        };
        assert_eq!(compare(7, &rows(&[("a", 1)]), &rows(&[("a", 1)])), None);
        for (table, index, has) in [
            (rows(&[("a", 1), ("b", 1)]), rows(&[("a", 1)]), (true, false)),
            (rows(&[("a", 1)]), rows(&[("a", 1), ("b", 1)]), (false, true)),
            (rows(&[("b", 1)]), rows(&[("b", 2)]), (true, true)),
        ] {
            let fault = IndexFault::Differs { index: 7, key: b"b".to_vec(), has, rows: 1 };
            assert_eq!(compare(7, &table, &index), Some(fault));
        }
    }
}
