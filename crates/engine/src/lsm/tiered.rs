//! Size-tiered compaction for key ranges that the caller names, such as a table that is written far more
//! often than it is read.
//!
//! Within such a range each level is one sorted run. Runs are not merged one by one into a next run that is
//! ten times larger. Instead, what level 0 holds of the range becomes a run of its own, in the deepest free
//! level above the existing runs. When four neighbouring runs have about the same size, they are merged into
//! one. So a byte is rewritten once for each fourfold growth instead of about ten times per level. The price:
//! reads look into more runs, and more garbage waits to be dropped.
//!
//! Only the choice of compactions differs. Levels, their disjoint ranges, and the rule "an upper level is
//! newer" stay the same, so a range may change its style at any time. Tables that reach across its ends are
//! split there first; until then the range is treated as leveled.
//!
//! Pure: a version, the running compactions and the ranges in, a choice out.

use super::files::{KeyRange, TableFile};
use super::picker::{self, Compaction, Kind, PickerOptions, Running};
use super::values::collect;
use super::version::{LEVELS, Version};
use parking_lot::RwLock;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;

/// Neighbouring runs of about the same size that become one.
const MIN_RUNS: usize = 4;

/// The key ranges that are compacted by size tiers. Clones share one list, which may be changed while the
/// engine runs. The list is not stored: the caller sets it again after opening the engine.
#[derive(Clone, Default)]
pub struct TieredRanges {
    /// Start to exclusive end; disjoint.
    ranges: Arc<RwLock<BTreeMap<Vec<u8>, Vec<u8>>>>,
}

impl TieredRanges {
    /// Compacts `start..end` by size tiers from now on, separately from its neighbours. Ranges that it
    /// overlaps become leveled again. Nothing happens if `start >= end`.
    pub fn insert(&self, start: &[u8], end: &[u8]) {
        if start < end {
            let mut ranges = self.ranges.write();
            ranges.retain(|low, high| high[..] <= *start || low[..] >= *end);
            ranges.insert(start.to_vec(), end.to_vec());
        }
    }

    /// Makes the range that starts at `start` leveled again. False if there is none.
    pub fn remove(&self, start: &[u8]) -> bool {
        self.ranges.write().remove(start).is_some()
    }

    /// The ranges in order.
    pub fn list(&self) -> Vec<(Vec<u8>, Vec<u8>)> {
        self.ranges.read().iter().map(|(a, b)| (a.clone(), b.clone())).collect()
    }

    /// Whether one range holds `smallest` and all up to what `ends_before` its end.
    pub(crate) fn covers(&self, smallest: &[u8], ends_before: impl Fn(&[u8]) -> bool) -> bool {
        let ranges = self.ranges.read();
        let holds = |(_, high): (&Vec<u8>, &Vec<u8>)| smallest < &high[..] && ends_before(high);
        ranges.range::<[u8], _>((Bound::Unbounded, Bound::Included(smallest))).next_back().is_some_and(holds)
    }

    /// Where tables are cut: all starts and ends, ascending.
    pub(crate) fn boundaries(&self) -> Vec<Vec<u8>> {
        let mut all: Vec<_> = self.list().into_iter().flat_map(|(a, b)| [a, b]).collect();
        all.dedup();
        all
    }
}

impl std::fmt::Debug for TieredRanges {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "TieredRanges({})", self.ranges.read().len())
    }
}

/// A compaction; if it divides its output over levels, the pieces.
#[derive(Debug)]
pub(crate) struct Choice {
    pub(crate) compaction: Compaction,
    /// In key order, without gaps; empty: all of it goes to the compaction's level.
    pub(crate) pieces: Vec<Piece>,
}

impl From<Compaction> for Choice {
    fn from(compaction: Compaction) -> Self {
        Self { compaction, pieces: Vec::new() }
    }
}

/// A part of a compaction's key range with a level of its own.
#[derive(Clone, Debug)]
pub(crate) struct Piece {
    /// First key; `None`: from the start.
    pub(crate) low: Option<Vec<u8>>,
    /// Exclusive; `None`: to the end.
    pub(crate) high: Option<Vec<u8>>,
    pub(crate) level: usize,
}

impl Piece {
    /// The part of `hull` that lies in the piece; `None` if there is none.
    pub(crate) fn within(&self, hull: &KeyRange) -> Option<KeyRange> {
        let mut range = hull.clone();
        if let Some(low) = self.low.as_ref().filter(|low| **low > range.low) {
            range.low.clone_from(low);
        }
        if let Some(high) = self.high.as_ref().filter(|high| **high <= range.high) {
            (range.high, range.exclusive) = (high.clone(), true);
        }
        (range.low < range.high || (range.low == range.high && !range.exclusive)).then_some(range)
    }
}

/// One sorted run of a range: what a level holds of it.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) level: usize,
    pub(crate) files: Vec<Arc<TableFile>>,
    pub(crate) bytes: u64,
}

/// A range that is tiered: no table of levels 1 and deeper reaches over its ends.
#[derive(Debug)]
pub(crate) struct Tiered {
    low: Vec<u8>,
    high: Vec<u8>,
    /// Newest first.
    pub(crate) runs: Vec<Run>,
}

impl Tiered {
    fn range(&self) -> KeyRange {
        KeyRange { low: self.low.clone(), high: self.high.clone(), exclusive: true }
    }

    /// The runs that are to become one: indexes of the newest and the oldest.
    fn choose(&self) -> Option<(usize, usize)> {
        let size = |i: usize| self.runs[i].bytes.max(1);
        for from in 0..self.runs.len() {
            let mut sum = size(from);
            let mut to = from;
            // Alike: none more than twice or less than half the average of those before it.
            while to + 1 < self.runs.len() {
                let (next, count) = (size(to + 1), (to + 1 - from) as u64);
                if next > sum / count * 2 || next < sum / count / 2 {
                    break;
                }
                sum += next;
                to += 1;
            }
            if to + 1 - from >= MIN_RUNS {
                return Some((from, to));
            }
        }
        if self.runs.len() < LEVELS - 1 {
            return None;
        }
        // No level is free for what comes next: the newest runs, as long as each adds no more than is there
        // already.
        let (mut sum, mut to) = (size(0) + size(1), 1);
        while to + 1 < self.runs.len() && size(to + 1) <= sum {
            sum += size(to + 1);
            to += 1;
        }
        Some((0, to))
    }

    /// A run that can go to a deeper free level as it is, if the first level is taken: its index and the
    /// level.
    fn sink(&self) -> Option<(usize, usize)> {
        if self.runs.first().is_none_or(|run| run.level > 1) {
            return None;
        }
        let mut floor = LEVELS;
        for (i, run) in self.runs.iter().enumerate().rev() {
            if run.level + 1 < floor {
                return Some((i, floor - 1));
            }
            floor = run.level;
        }
        None
    }

    fn merge(&self, from: usize, to: usize) -> Option<Compaction> {
        let inputs: Vec<_> =
            self.runs[from..=to].iter().flat_map(|r| r.files.iter().map(|f| (r.level, f.clone()))).collect();
        let range = KeyRange::hull(inputs.iter().map(|(_, f)| f))?;
        Some(Compaction { kind: Kind::Merge, inputs, output_level: self.runs[to].level, range })
    }
}

/// A version divided into its leveled and its tiered parts.
#[derive(Debug)]
pub(crate) struct Split {
    /// The version without the tables of tiered ranges; level 0 is whole.
    pub(crate) leveled: Version,
    pub(crate) tiered: Vec<Tiered>,
    /// Tables that reach over the ends of ranges.
    straddlers: Vec<(usize, Arc<TableFile>)>,
}

impl Split {
    pub(crate) fn of(version: &Version, ranges: Vec<(Vec<u8>, Vec<u8>)>) -> Self {
        let mut straddlers = Vec::new();
        let mut tiered = Vec::new();
        let mut in_tiered = BTreeSet::new();
        for (low, high) in ranges {
            let mut runs = Vec::new();
            let mut whole = true;
            for (number, level) in version.levels.iter().enumerate().skip(1) {
                let files = &level.files
                    [level.first_reaching(&low)..level.starting_below(&high).max(level.first_reaching(&low))];
                for f in files {
                    if f.meta.smallest() < &low[..] || !f.meta.ends_before(&high) {
                        whole = false;
                        straddlers.push((number, f.clone()));
                    }
                }
                if !files.is_empty() {
                    let bytes = files.iter().map(|f| f.meta.summary.size).sum();
                    runs.push(Run { level: number, files: files.to_vec(), bytes });
                }
            }
            if whole {
                in_tiered.extend(runs.iter().flat_map(|r| r.files.iter().map(|f| f.meta.number)));
                tiered.push(Tiered { low, high, runs });
            }
        }
        let leveled = version.subset(|level, f| level == 0 || !in_tiered.contains(&f.meta.number));
        Self { leveled, tiered, straddlers }
    }

    /// Bytes that merges of runs that are due would write.
    pub(crate) fn debt_bytes(&self) -> u64 {
        let due = |t: &Tiered| {
            let (from, to) = t.choose()?;
            Some(t.runs[from..=to].iter().map(|r| r.bytes).sum::<u64>())
        };
        self.tiered.iter().filter_map(due).sum()
    }
}

/// The next compaction, if one is worth it and does not clash with those running.
pub(crate) fn pick(
    version: &Version,
    running: &[Running],
    snapshots: &[u64],
    options: PickerOptions,
    ranges: &TieredRanges,
) -> Option<Choice> {
    let ranges = ranges.list();
    if ranges.is_empty() {
        return picker::pick(version, running, snapshots, options).map(Choice::from);
    }
    let busy: BTreeSet<u64> = running.iter().flat_map(|r| r.files.iter().copied()).collect();
    if let Some(c) = picker::pick_covered(version, &busy, snapshots) {
        return Some(c.into());
    }
    let split = Split::of(version, ranges);
    let free = |c: &Compaction| {
        !c.inputs.iter().any(|(_, f)| busy.contains(&f.meta.number))
            && !picker::clashes(&c.range, c.output_level, running)
    };
    let cut = split.straddlers.iter().map(|(level, f)| collect::in_place(*level, f)).find(free);
    if let Some(c) = cut {
        return Some(c.into());
    }
    for t in &split.tiered {
        let merge = t.choose().and_then(|(from, to)| t.merge(from, to));
        let sink = || {
            let (run, level) = t.sink()?;
            t.merge(run, run).map(|c| Compaction { kind: Kind::Move, output_level: level, ..c })
        };
        if let Some(c) = merge.or_else(sink).filter(free) {
            return Some(c.into());
        }
    }
    match picker::pick(&split.leveled, running, snapshots, options) {
        Some(c) if c.inputs.iter().any(|(level, _)| *level == 0) => {
            // If a long merge of runs is in its way, the levels go on meanwhile.
            let below = || picker::pick(&split.leveled.subset(|l, _| l > 0), running, snapshots, options);
            level0(version, &split, options, &busy, running).or_else(|| below().map(Choice::from))
        }
        Some(c) => Some(c.into()),
        None => deletes(version, &split, options, &busy, running),
    }
}

/// All of level 0: each tiered range gets a run of it, the rest goes into the base level.
fn level0(
    version: &Version,
    split: &Split,
    options: PickerOptions,
    busy: &BTreeSet<u64>,
    running: &[Running],
) -> Option<Choice> {
    let mut inputs: Vec<_> = version.levels[0].files.iter().map(|f| (0, f.clone())).collect();
    let mut hull = KeyRange::hull(inputs.iter().map(|(_, f)| f))?;
    let base = picker::targets(&split.leveled, options).base;
    let fresh = hull.clone();
    for f in split.leveled.levels[base].overlapping(&fresh) {
        hull.extend(&f.meta.range());
        inputs.push((base, f.clone()));
    }
    let mut pieces: Vec<Piece> = Vec::new();
    for t in split.tiered.iter().filter(|t| t.range().overlaps(&fresh)) {
        let level = match t.runs.first() {
            None => LEVELS - 1,
            Some(run) if run.level > 1 => run.level - 1,
            Some(run) => {
                inputs.extend(run.files.iter().map(|f| (run.level, f.clone())));
                run.files.iter().for_each(|f| hull.extend(&f.meta.range()));
                run.level
            }
        };
        let low = pieces.last().map_or(Some(Vec::new()), |p| p.high.clone());
        if low.as_ref() != Some(&t.low) {
            let low = low.filter(|low| !low.is_empty());
            pieces.push(Piece { low, high: Some(t.low.clone()), level: base });
        }
        pieces.push(Piece { low: Some(t.low.clone()), high: Some(t.high.clone()), level });
    }
    if let Some(low) = pieces.last().map(|p| p.high.clone()) {
        pieces.push(Piece { low, high: None, level: base });
    }
    pieces.retain(|p| p.within(&hull).is_some());
    let clash = match &pieces[..] {
        [] => picker::clashes(&hull, base, running),
        pieces => pieces
            .iter()
            .any(|p| p.within(&hull).is_some_and(|range| picker::clashes(&range, p.level, running))),
    };
    if clash || inputs.iter().any(|(_, f)| busy.contains(&f.meta.number)) {
        return None;
    }
    let compaction = Compaction { kind: Kind::Merge, inputs, output_level: base, range: hull };
    Some(Choice { compaction, pieces })
}

/// With nothing else to do: tables that are mostly deletes are merged with what lies under them.
fn deletes(
    version: &Version,
    split: &Split,
    options: PickerOptions,
    busy: &BTreeSet<u64>,
    running: &[Running],
) -> Option<Choice> {
    let in_level0 = version.levels[0]
        .files
        .iter()
        .any(|f| f.meta.summary.range_dels > 0 && picker::hides_something(version, 0, f));
    if in_level0 && let Some(choice) = level0(version, split, options, busy, running) {
        return Some(choice);
    }
    split.tiered.iter().find_map(|t| {
        t.runs.windows(2).find_map(|pair| {
            pair[0].files.iter().find_map(|f| {
                let s = &f.meta.summary;
                let mostly_deletes = s.range_dels > 0 || s.deletes * 2 > s.entries;
                let level = pair[0].level;
                if !mostly_deletes
                    || busy.contains(&f.meta.number)
                    || !picker::hides_something(version, level, f)
                {
                    return None;
                }
                let inputs = vec![(level, f.clone())];
                picker::merge_into(version, inputs, pair[1].level, busy, running).map(Choice::from)
            })
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lsm::picker::testing::{OPTIONS, list, version};

    fn describe(c: Option<Choice>) -> String {
        let Some(c) = c else { return "none".into() };
        let show = |k: &Option<Vec<u8>>| String::from_utf8_lossy(k.as_deref().unwrap_or(b"*")).into_owned();
        let to = match &c.pieces[..] {
            [] => c.compaction.output_level.to_string(),
            pieces => {
                let each = pieces.iter().map(|p| format!("{}..{}>{}", show(&p.low), show(&p.high), p.level));
                each.collect::<Vec<_>>().join(" ")
            }
        };
        format!("{} to {to}", list(&c.compaction))
    }

    #[test]
    fn choices() {
        let four = |extra: &[(usize, &'static str, &'static str, u64)]| {
            let mut files = vec![(0, "a", "z", 9); 4];
            files.extend_from_slice(extra);
            files
        };
        // The tiered range is m..p.
        let cases: Vec<(&str, Vec<(usize, &str, &str, u64)>, &str)> = vec![
            ("nothing", vec![], "none"),
            ("a first run goes to the bottom", four(&[]), "Merge 0/3 0/2 0/1 0/0 to *..m>6 m..p>6 p..*>6"),
            (
                "a run of its own above the last",
                four(&[(6, "a", "c", 9), (6, "m", "n", 9)]),
                "Merge 0/3 0/2 0/1 0/0 6/4 to *..m>6 m..p>5 p..*>6",
            ),
            ("two runs alike are left", vec![(5, "m", "o", 9), (6, "m", "n", 9)], "none"),
            (
                "four become one, in the deepest level of theirs",
                vec![
                    (2, "m", "n", 9),
                    (3, "m", "n", 12),
                    (4, "n", "o", 9),
                    (5, "m", "n", 6),
                    (6, "m", "o", 90),
                ],
                "Merge 2/0 3/1 4/2 5/3 to 5",
            ),
            (
                "a gap is filled when the first level is taken",
                vec![(1, "m", "n", 9), (2, "m", "n", 9), (5, "m", "n", 40), (6, "m", "o", 900)],
                "Move 2/1 to 4",
            ),
            (
                "no level is free: the newest, as far as they are small",
                vec![
                    (1, "m", "n", 1),
                    (2, "m", "n", 3),
                    (3, "m", "n", 4),
                    (4, "m", "n", 20),
                    (5, "m", "n", 90),
                    (6, "m", "n", 900),
                ],
                "Merge 1/0 2/1 3/2 to 3",
            ),
            (
                "a table that reaches over the end is cut first",
                vec![(6, "c", "n", 9), (5, "m", "n", 9)],
                "Merge 6/0 to 6",
            ),
            (
                "runs of a range do not count as levels of the others",
                vec![(3, "m", "n", 500), (6, "a", "b", 9), (6, "m", "n", 9)],
                "none",
            ),
        ];
        let ranges = TieredRanges::default();
        ranges.insert(b"m", b"p");
        for (name, files, want) in cases {
            assert_eq!(describe(pick(&version(&files), &[], &[], OPTIONS, &ranges)), want, "{name}");
        }
    }

    #[test]
    fn a_new_range_takes_the_place_of_those_it_overlaps() {
        let ranges = TieredRanges::default();
        for (a, b) in [("a", "c"), ("c", "e"), ("x", "x"), ("b", "d"), ("f", "g")] {
            ranges.insert(a.as_bytes(), b.as_bytes());
        }
        assert_eq!(ranges.list(), [(b"b".to_vec(), b"d".to_vec()), (b"f".to_vec(), b"g".to_vec())]);
        assert!(ranges.remove(b"b") && !ranges.remove(b"b"));
        ranges.insert(b"g", b"h");
        assert_eq!(ranges.boundaries(), [b"f", b"g", b"h"]);
    }
}
