//! Chooses value files to be emptied. Pure: a version and the running compactions in, a choice out.
//!
//! Every merge copies the values that it meets in a file that is at least half garbage. That alone does not
//! bound the garbage. So when garbage exceeds its permitted share of all value bytes (the cap), tables that
//! refer to the worst file are rewritten in place, one at a time, until garbage is below the cap again. The
//! worst file comes first because it costs the least copying for each byte that is freed.

use super::file::LiveValues;
use crate::lsm::files::TableFile;
use crate::lsm::picker::{Compaction, Kind, Running, clashes};
use crate::lsm::version::Version;
use std::collections::BTreeSet;
use std::sync::Arc;

/// Garbage share at which any merge copies what it meets of a file, percent.
const LAZY_PERCENT: u64 = 50;

/// Bytes of records in value files: all of them, and those that no table refers to.
pub(crate) fn totals(version: &Version) -> (u64, u64) {
    version.values.values().fold((0, 0), |(all, garbage), v| (all + v.file.meta.bytes, garbage + v.garbage()))
}

/// Bytes of garbage above the cap.
pub(crate) fn excess(version: &Version, cap_percent: u64) -> u64 {
    let (all, garbage) = totals(version);
    garbage.saturating_sub(all / 100 * cap_percent)
}

fn share(v: &LiveValues) -> u64 {
    v.garbage().saturating_mul(1_000_000) / v.file.meta.bytes.max(1)
}

/// Files whose remaining values a merge copies, worst first.
fn victims(version: &Version, cap_percent: u64) -> Vec<u64> {
    let mut files: Vec<&LiveValues> = version.values.values().filter(|v| v.garbage() > 0).collect();
    files.sort_by_key(|v| (std::cmp::Reverse(share(v)), v.file.meta.number));
    let mut excess = excess(version, cap_percent);
    let mut chosen = Vec::new();
    for v in files {
        if excess == 0 && share(v) < LAZY_PERCENT * 10_000 {
            break;
        }
        excess = excess.saturating_sub(v.garbage());
        chosen.push(v.file.meta.number);
    }
    chosen
}

/// The files that a merge of now empties as far as it meets them.
pub(crate) fn relocated(version: &Version, cap_percent: u64) -> BTreeSet<u64> {
    victims(version, cap_percent).into_iter().collect()
}

/// The rewrite in place of a table that refers to the worst file, if there is more garbage than the cap
/// allows.
pub(crate) fn pick(version: &Version, running: &[Running], cap_percent: u64) -> Option<Compaction> {
    if version.values.is_empty() || excess(version, cap_percent) == 0 {
        return None;
    }
    let busy: BTreeSet<u64> = running.iter().flat_map(|r| r.files.iter().copied()).collect();
    victims(version, cap_percent).into_iter().find_map(|victim| {
        let refers = |f: &TableFile| f.meta.refs.iter().any(|r| r.file == victim);
        let (level, file) = version.files().find(|(level, f)| {
            refers(f) && !busy.contains(&f.meta.number) && !clashes(&f.meta.range(), *level, running)
        })?;
        Some(in_place(level, file))
    })
}

/// A table rewritten within its level.
pub(crate) fn in_place(level: usize, file: &Arc<TableFile>) -> Compaction {
    let range = file.meta.range();
    Compaction { kind: Kind::Merge, inputs: vec![(level, file.clone())], output_level: level, range }
}
