//! Chooses what to compact: leveled compaction with a tiered level 0.
//!
//! Level 0 collects flushed tables, newest first. They are compacted together into the first level in use.
//! From there one table at a time moves to the next level, which is ten times larger. The target sizes are
//! computed from the last level upwards. So the last level always holds about nine tenths of the data, and
//! space stays near 1.1 times the live data.
//!
//! Pure: a version and the running compactions in, a choice out.

use super::files::{KeyRange, TableFile};
use super::version::{LEVELS, Version};
use std::collections::BTreeSet;
use std::sync::Arc;

/// Growth from level to level.
const MULTIPLIER: u64 = 10;
/// Tables in level 0 at which it is compacted.
pub(crate) const L0_TRIGGER: usize = 4;
/// Tables in level 0 at which it is compacted while more is being written.
const L0_BUSY_TRIGGER: usize = 8;

/// What to do.
#[derive(Debug)]
pub(crate) struct Compaction {
    pub(crate) kind: Kind,
    /// Tables with their levels.
    pub(crate) inputs: Vec<(usize, Arc<TableFile>)>,
    pub(crate) output_level: usize,
    /// Hull of the inputs.
    pub(crate) range: KeyRange,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Merge and rewrite.
    Merge,
    /// Change the level of the table without touching it.
    Move,
    /// Take tables out that a range delete covers whole.
    Drop,
}

/// A compaction under way.
#[derive(Debug)]
pub(crate) struct Running {
    pub(crate) id: u64,
    pub(crate) files: Vec<u64>,
    pub(crate) output_level: usize,
    pub(crate) range: KeyRange,
}

/// Settings of the choice.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PickerOptions {
    /// Size of the smallest level below level 0, bytes.
    pub(crate) base_bytes: u64,
    /// More is being written: level 0 waits until its merge is worth it.
    pub(crate) busy: bool,
}

/// Target sizes of the levels, and the level that level 0 goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Targets {
    pub(crate) bytes: [u64; LEVELS],
    pub(crate) base: usize,
}

/// Level targets for a version.
pub(crate) fn targets(version: &Version, options: PickerOptions) -> Targets {
    let largest = version.levels[1..].iter().map(|l| l.bytes).max().unwrap_or(0);
    let mut bytes = [0; LEVELS];
    let mut base = LEVELS - 1;
    let mut size = largest.max(options.base_bytes);
    bytes[base] = size;
    // The base level's target lies between one and ten times the base size.
    while base > 1 && size / MULTIPLIER >= options.base_bytes.max(1) {
        base -= 1;
        size /= MULTIPLIER;
        bytes[base] = size;
    }
    // Level 0 must not pass over tables: whatever is in a higher level is newer than what lies deeper.
    let first_used = (1..LEVELS).find(|&l| !version.levels[l].files.is_empty()).unwrap_or(base);
    Targets { bytes, base: base.min(first_used) }
}

/// How much each level is over its target, in 1/1000; 1000 means it wants compaction.
pub(crate) fn scores(version: &Version, t: &Targets, options: PickerOptions) -> [u64; LEVELS] {
    let mut out = [0; LEVELS];
    let l0 = &version.levels[0];
    let by_count = l0.files.len() as u64 * 1000 / L0_TRIGGER as u64;
    let by_size = if l0.files.len() > 1 { l0.bytes * 1000 / options.base_bytes.max(1) } else { 0 };
    out[0] = if l0.files.len() >= L0_TRIGGER { by_count.max(by_size) } else { by_count };
    for (level, score) in out.iter_mut().enumerate().take(LEVELS - 1).skip(1) {
        let bytes = version.levels[level].bytes;
        // A level above the base is left over from when the tree was larger (or smaller): drain it.
        *score = match t.bytes[level] {
            0 if bytes > 0 => 1000 + bytes * 1000 / options.base_bytes.max(1),
            0 => 0,
            target => bytes.saturating_mul(1000) / target,
        };
    }
    out
}

/// Bytes that compaction would have to rewrite until every level is at its target, roughly: the engine's
/// debt.
pub(crate) fn debt_bytes(version: &Version, options: PickerOptions) -> u64 {
    let t = targets(version, options);
    let mut debt = 0u64;
    let mut carried = 0u64;
    if version.levels[0].files.len() >= L0_TRIGGER {
        carried = version.levels[0].bytes;
        debt += carried + version.levels[t.base].bytes.min(carried * MULTIPLIER);
    }
    for level in 1..LEVELS - 1 {
        let size = version.levels[level].bytes + if level == t.base { carried } else { 0 };
        let over = size.saturating_sub(t.bytes[level]);
        if over > 0 {
            let next = version.levels[level + 1].bytes;
            let ratio = next.checked_div(size).unwrap_or(0).min(MULTIPLIER);
            debt = debt.saturating_add(over.saturating_mul(1 + ratio));
        }
    }
    debt
}

/// The next compaction, if one is worth it and does not clash with those running.
pub(crate) fn pick(
    version: &Version,
    running: &[Running],
    snapshots: &[u64],
    options: PickerOptions,
) -> Option<Compaction> {
    let busy: BTreeSet<u64> = running.iter().flat_map(|r| r.files.iter().copied()).collect();
    if let Some(c) = pick_covered(version, &busy, snapshots) {
        return Some(c);
    }
    let t = targets(version, options);
    let scores = scores(version, &t, options);
    let due = |level: usize| scores[level] >= 1000 && (level > 0 || level0_is_due(version, &t, options));
    let mut levels: Vec<usize> = (0..LEVELS - 1).filter(|&l| due(l)).collect();
    levels.sort_by_key(|&l| std::cmp::Reverse(scores[l]));
    let by_size = levels.into_iter().find_map(|level| match level {
        0 => pick_l0(version, t.base, &busy, running),
        _ => pick_level(version, level, &busy, running),
    });
    by_size.or_else(|| pick_deletes(version, t.base, &busy, running))
}

/// Whether level 0 is large enough to be compacted now. Compacting it rewrites the whole base level. So while
/// more data arrives, it should first hold about as many bytes as the base level, or as many tables as reads
/// can tolerate.
fn level0_is_due(version: &Version, t: &Targets, options: PickerOptions) -> bool {
    let level0 = &version.levels[0];
    !options.busy || level0.files.len() >= L0_BUSY_TRIGGER || level0.bytes >= version.levels[t.base].bytes
}

/// If nothing is more urgent: moves tables that are mostly deletes down to the data that they delete. This
/// frees its space although no other compaction would.
fn pick_deletes(
    version: &Version,
    base: usize,
    busy: &BTreeSet<u64>,
    running: &[Running],
) -> Option<Compaction> {
    let level0 = &version.levels[0].files;
    let is_busy = |f: &TableFile| busy.contains(&f.meta.number);
    if level0.iter().any(|f| f.meta.summary.range_dels > 0 && hides_something(version, 0, f))
        && !level0.iter().any(|f| is_busy(f))
    {
        let inputs = level0.iter().map(|f| (0, f.clone())).collect();
        return merge_into(version, inputs, base, busy, running);
    }
    (1..LEVELS - 1).find_map(|level| {
        version.levels[level].files.iter().find_map(|f| {
            let s = &f.meta.summary;
            let mostly_deletes = s.range_dels > 0 || s.deletes * 2 > s.entries;
            if !mostly_deletes || is_busy(f) || !hides_something(version, level, f) {
                return None;
            }
            merge_into(version, vec![(level, f.clone())], level + 1, busy, running)
        })
    })
}

/// Whether a deeper table overlaps what the table's deletes span.
pub(crate) fn hides_something(version: &Version, level: usize, f: &TableFile) -> bool {
    let deeper = &version.levels[level + 1..];
    let overlaps = |range: &KeyRange| deeper.iter().any(|l| l.overlapping(range).next().is_some());
    if f.meta.summary.range_dels == 0 {
        return overlaps(&f.meta.range());
    }
    let Ok(table) = f.table() else { return false };
    table
        .range_dels()
        .frags
        .iter()
        .any(|d| overlaps(&KeyRange { low: d.start.to_vec(), high: d.end.to_vec(), exclusive: true }))
}

/// All of level 0 into the base level.
fn pick_l0(version: &Version, base: usize, busy: &BTreeSet<u64>, running: &[Running]) -> Option<Compaction> {
    let files = &version.levels[0].files;
    if files.iter().any(|f| busy.contains(&f.meta.number)) {
        return None;
    }
    // A table that overlaps nothing can simply move, oldest first: data written in key order is never
    // rewritten.
    if let Some(oldest) = files.last() {
        let range = oldest.meta.range();
        let alone = files[..files.len() - 1].iter().all(|f| !f.meta.overlaps(&range))
            && version.levels[base].overlapping(&range).next().is_none();
        if alone && !clashes(&range, base, running) {
            let inputs = vec![(0, oldest.clone())];
            return Some(Compaction { kind: Kind::Move, inputs, output_level: base, range });
        }
    }
    let inputs = files.iter().map(|f| (0, f.clone())).collect();
    merge_into(version, inputs, base, busy, running)
}

/// One table of a level into the next: the table that overlaps the fewest bytes of the next level.
fn pick_level(
    version: &Version,
    level: usize,
    busy: &BTreeSet<u64>,
    running: &[Running],
) -> Option<Compaction> {
    let (files, next) = (&version.levels[level].files, &version.levels[level + 1]);
    let mut candidates: Vec<(u64, usize)> = Vec::new();
    let mut first = 0;
    for (i, f) in files.iter().enumerate() {
        if busy.contains(&f.meta.number) {
            continue;
        }
        while next.files.get(first).is_some_and(|n| n.meta.ends_before(f.meta.smallest())) {
            first += 1;
        }
        let range = f.meta.range();
        let overlap: u64 = next.files[first..]
            .iter()
            .take_while(|n| n.meta.overlaps(&range))
            .map(|n| n.meta.summary.size)
            .sum();
        // Deletes make room below: count them for as much again as the table itself.
        let s = &f.meta.summary;
        let weight = s.size + s.size.saturating_mul(s.deletes) / s.entries.max(1);
        candidates.push((overlap.saturating_mul(1000) / weight.max(1), i));
    }
    candidates.sort();
    candidates.into_iter().take(16).find_map(|(overlap, i)| {
        let f = &files[i];
        if overlap == 0 && !clashes(&f.meta.range(), level + 1, running) {
            let (inputs, range) = (vec![(level, f.clone())], f.meta.range());
            return Some(Compaction { kind: Kind::Move, inputs, output_level: level + 1, range });
        }
        merge_into(version, vec![(level, f.clone())], level + 1, busy, running)
    })
}

/// Adds the overlapping tables of the output level; `None` if that clashes.
pub(crate) fn merge_into(
    version: &Version,
    mut inputs: Vec<(usize, Arc<TableFile>)>,
    output_level: usize,
    busy: &BTreeSet<u64>,
    running: &[Running],
) -> Option<Compaction> {
    let mut range = KeyRange::hull(inputs.iter().map(|(_, f)| f))?;
    for f in version.levels[output_level].overlapping(&range.clone()) {
        if busy.contains(&f.meta.number) {
            return None;
        }
        range.extend(&f.meta.range());
        inputs.push((output_level, f.clone()));
    }
    if clashes(&range, output_level, running) {
        return None;
    }
    Some(Compaction { kind: Kind::Merge, inputs, output_level, range })
}

/// Whether a running compaction writes to the same part of the level.
pub(crate) fn clashes(range: &KeyRange, output_level: usize, running: &[Running]) -> bool {
    running.iter().any(|r| r.output_level == output_level && r.range.overlaps(range))
}

/// Tables that one range delete of a newer table covers completely and that no snapshot needs. They are
/// removed without being read.
pub(crate) fn pick_covered(version: &Version, busy: &BTreeSet<u64>, snapshots: &[u64]) -> Option<Compaction> {
    let oldest = snapshots.first().copied().unwrap_or(u64::MAX);
    let mut inputs: Vec<(usize, Arc<TableFile>)> = Vec::new();
    for (level, newer) in version.files().filter(|(_, f)| f.meta.summary.range_dels > 0) {
        let Ok(table) = newer.table() else { continue };
        for del in &table.range_dels().frags {
            let Some(&seq) = del.seqs.iter().find(|&&s| s <= oldest) else { continue };
            for (l, below) in version.levels.iter().enumerate().skip(level) {
                let first = if l == 0 { 0 } else { below.first_reaching(&del.start) };
                for f in &below.files[first..] {
                    if l > 0 && f.meta.smallest() >= &del.end[..] {
                        break;
                    }
                    let m = &f.meta;
                    let covered = m.smallest() >= &del.start[..] && m.ends_before(&del.end);
                    // In the last levels sequence numbers may have been zeroed, never raised.
                    if covered
                        && m.largest_seq() < seq
                        && !busy.contains(&m.number)
                        && m.number != newer.meta.number
                    {
                        inputs.push((l, f.clone()));
                    }
                }
            }
        }
    }
    inputs.sort_by_key(|(l, f)| (*l, f.meta.number));
    inputs.dedup_by_key(|(_, f)| f.meta.number);
    let range = KeyRange::hull(inputs.iter().map(|(_, f)| f))?;
    Some(Compaction { kind: Kind::Drop, inputs, output_level: LEVELS, range })
}

/// The whole tree into one level (none below it may be in use): for compacting by hand. `None` if there is
/// nothing.
pub(crate) fn everything(version: &Version, output_level: usize) -> Option<Compaction> {
    let inputs: Vec<(usize, Arc<TableFile>)> = version.files().map(|(l, f)| (l, f.clone())).collect();
    let range = KeyRange::hull(inputs.iter().map(|(_, f)| f))?;
    Some(Compaction { kind: Kind::Merge, inputs, output_level, range })
}

/// Versions in a line and choices as text, for the tests of those who choose.
#[cfg(test)]
pub(crate) mod testing {
    use super::*;
    use crate::env::SimEnv;
    use crate::lsm::cache::BlockCache;
    use crate::lsm::files::{FileMeta, TableFolder};
    use crate::lsm::table::TableSummary;
    use crate::lsm::version::VersionEdit;

    pub(crate) const MB: u64 = 1 << 20;
    pub(crate) const OPTIONS: PickerOptions = PickerOptions { base_bytes: 64 * MB, busy: false };

    /// (level, smallest, largest, size in MB)
    pub(crate) fn version(files: &[(usize, &str, &str, u64)]) -> Version {
        let folder =
            TableFolder::new(Arc::new(SimEnv::new(0)), "t".into(), Arc::new(BlockCache::new(0, 4096)));
        let mut edit = VersionEdit::default();
        for (i, (level, low, high, mb)) in files.iter().enumerate() {
            let summary = TableSummary {
                size: mb * MB,
                smallest: low.as_bytes().to_vec(),
                largest: high.as_bytes().to_vec(),
                largest_seq: i as u64,
                entries: 1000,
                ..TableSummary::default()
            };
            edit.added.push((*level, FileMeta { number: i as u64, summary, ..FileMeta::default() }));
        }
        Version::default().apply(&edit, &folder).unwrap()
    }

    /// What is done with which tables.
    pub(crate) fn list(c: &Compaction) -> String {
        let inputs: Vec<String> = c.inputs.iter().map(|(l, f)| format!("{l}/{}", f.meta.number)).collect();
        format!("{:?} {}", c.kind, inputs.join(" "))
    }
}

#[cfg(test)]
mod tests {
    use super::testing::*;
    use super::*;

    fn describe(c: Option<Compaction>) -> String {
        c.map_or("none".into(), |c| format!("{} to {}", list(&c), c.output_level))
    }

    #[test]
    fn choices() {
        let cases: &[(&str, &[(usize, &str, &str, u64)], &str)] = &[
            ("nothing", &[], "none"),
            ("below the trigger", &[(0, "a", "z", 9), (0, "a", "z", 9), (0, "a", "z", 9)], "none"),
            (
                "level 0 whole, newest first, with what it overlaps",
                &[
                    (0, "a", "m", 9),
                    (0, "a", "m", 9),
                    (0, "b", "m", 9),
                    (0, "a", "k", 9),
                    (6, "c", "d", 9),
                    (6, "x", "y", 9),
                ],
                "Merge 0/3 0/2 0/1 0/0 6/4 to 6",
            ),
            (
                "in key order: the oldest moves",
                &[(0, "a", "b", 9), (0, "c", "d", 9), (0, "e", "f", 9), (0, "g", "h", 9)],
                "Move 0/0 to 6",
            ),
            (
                "the cheapest table of a full level",
                &[
                    (5, "a", "c", 50),
                    (5, "d", "f", 50),
                    (6, "a", "b", 300),
                    (6, "e", "f", 200),
                    (6, "g", "h", 140),
                ],
                "Merge 5/1 6/3 to 6",
            ),
            (
                "level 0 does not pass over a level in use",
                &[
                    (0, "a", "z", 9),
                    (0, "a", "z", 9),
                    (0, "a", "z", 9),
                    (0, "a", "z", 9),
                    (0, "a", "z", 9),
                    (3, "k", "l", 9),
                ],
                "Merge 0/4 0/3 0/2 0/1 0/0 3/5 to 3",
            ),
        ];
        for (name, files, want) in cases {
            assert_eq!(describe(pick(&version(files), &[], &[], OPTIONS)), *want, "{name}");
        }
    }

    #[test]
    fn level_0_waits_for_more_while_writes_come_and_its_merge_is_dear() {
        let busy = PickerOptions { busy: true, ..OPTIONS };
        let with = |tables: usize, base: u64| {
            let mut files = vec![(0, "a", "z", 9); tables];
            files.push((6, "a", "z", base));
            version(&files)
        };
        assert_eq!(describe(pick(&with(4, 50), &[], &[], OPTIONS)), "Merge 0/3 0/2 0/1 0/0 6/4 to 6");
        assert_eq!(describe(pick(&with(4, 50), &[], &[], busy)), "none");
        assert_eq!(describe(pick(&with(4, 36), &[], &[], busy)), "Merge 0/3 0/2 0/1 0/0 6/4 to 6");
        assert_eq!(describe(pick(&with(7, 500), &[], &[], busy)), "none");
        assert!(describe(pick(&with(8, 500), &[], &[], busy)).ends_with("0/1 0/0 6/8 to 6"));
    }

    #[test]
    fn running_compactions_are_stayed_clear_of() {
        let v = version(&[
            (5, "a", "c", 50),
            (5, "d", "f", 50),
            (6, "a", "b", 300),
            (6, "e", "f", 200),
            (6, "g", "h", 140),
        ]);
        let range = KeyRange { low: b"e".to_vec(), high: b"f".to_vec(), exclusive: false };
        let mut running = vec![Running { id: 1, files: vec![3], output_level: 6, range }];
        assert_eq!(describe(pick(&v, &running, &[], OPTIONS)), "Merge 5/0 6/2 to 6");
        running[0].files = vec![3, 0];
        assert_eq!(describe(pick(&v, &running, &[], OPTIONS)), "none");
    }

    #[test]
    fn targets_hang_on_the_last_level() {
        let t = targets(&version(&[(6, "a", "b", 10_000)]), OPTIONS);
        assert_eq!(t.base, 4);
        assert_eq!(t.bytes[6] / MB, 10_000);
        assert_eq!(t.bytes[5] / MB, 1_000);
        assert_eq!(t.bytes[4] / MB, 100);
        let t = targets(&version(&[]), OPTIONS);
        assert_eq!((t.base, t.bytes[6]), (6, 64 * MB));
    }
}
