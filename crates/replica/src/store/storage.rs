//! The log of one group in the form that the consensus crate reads. The entries are in the node's log.
//!
//! Entries that are not yet applied are kept in memory (`tail`), so applying never reads the disk. Terms are
//! kept as runs.

use super::convert::to_conf_state;
use super::entry;
use super::state::DurableState;
use raft::eraftpb::{Entry, HardState, Snapshot};
use raft::{GetEntriesContext, RaftState, Storage, StorageError};
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use torc_engine::Log;

/// Most bytes read from the log in one step while a group is opened.
const OPEN_STEP: u64 = 4 << 20;

/// Distance of the marks by which the log's size is estimated.
const MARK_BYTES: u64 = 1 << 20;

/// Terms of consecutive entries, as the index where each begins.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct TermRuns(VecDeque<(u64, u64)>);

impl TermRuns {
    fn push(&mut self, index: u64, term: u64) {
        if self.0.back().is_none_or(|(_, t)| *t != term) {
            self.0.push_back((index, term));
        }
    }

    fn cut_from(&mut self, index: u64) {
        while self.0.back().is_some_and(|(start, _)| *start >= index) {
            self.0.pop_back();
        }
    }

    fn forget_before(&mut self, index: u64) {
        while self.0.get(1).is_some_and(|(start, _)| *start <= index) {
            self.0.pop_front();
        }
    }

    fn get(&self, index: u64) -> Option<u64> {
        let at = self.0.partition_point(|(start, _)| *start <= index);
        self.0.get(at.checked_sub(1)?).map(|(_, term)| *term)
    }
}

/// One group's log, as the consensus crate sees it.
pub(crate) struct GroupStorage {
    stream: u64,
    log: Log,
    initial: RaftState,
    truncated: (u64, u64),
    last: u64,
    terms: TermRuns,
    /// Consecutive entries that end at `last`; at least all that are not applied.
    tail: VecDeque<Entry>,
    /// Bytes appended since the group was opened, and their sum at some of the indexes.
    bytes: u64,
    marks: VecDeque<(u64, u64)>,
    /// Followers that need a snapshot: filled when the consensus crate asks for one.
    wants_snapshot: RefCell<Vec<u64>>,
    /// The log could not be read.
    failed: Cell<bool>,
}

/// What opening found besides the storage itself.
pub(crate) struct Opened {
    pub storage: GroupStorage,
    /// Entries above the one given that change the membership, oldest first.
    pub conf_changes: Vec<u64>,
}

impl GroupStorage {
    /// Opens a group's stream: reads the entries above `applied` into memory, and all terms.
    pub(crate) fn open(
        log: &Log,
        stream: u64,
        state: &DurableState,
        applied: u64,
    ) -> Result<Opened, torc_engine::Error> {
        let truncated = (state.truncated_index, state.truncated_term);
        let mut storage = GroupStorage {
            stream,
            log: log.clone(),
            initial: RaftState::default(),
            truncated,
            last: truncated.0,
            terms: TermRuns::default(),
            tail: VecDeque::new(),
            bytes: 0,
            marks: VecDeque::new(),
            wants_snapshot: RefCell::default(),
            failed: Cell::new(false),
        };
        storage.terms.push(truncated.0, truncated.1);
        let mut conf_changes = Vec::new();
        let end = log.stream(stream).map_or(0, |s| s.last) + 1;
        let mut next = truncated.0 + 1;
        while next < end {
            for (index, payload) in log.entries(stream, next, end, OPEN_STEP)? {
                let entry =
                    entry::from_payload(index, payload).map_err(|e| corrupt(index, &e.to_string()))?;
                if index != next {
                    return Err(corrupt(index, "entries are missing before this one"));
                }
                next += 1;
                if index > state.members_index && entry.entry_type != raft::eraftpb::EntryType::EntryNormal {
                    conf_changes.push(index);
                }
                storage.terms.push(index, entry.term);
                storage.last = index;
                if index > applied {
                    storage.tail.push_back(entry);
                }
            }
        }
        let commit = state.commit.max(applied).min(storage.last);
        let hard = HardState { term: state.term, vote: state.vote, commit, ..Default::default() };
        storage.initial = RaftState::new(hard, to_conf_state(&state.members));
        Ok(Opened { storage, conf_changes })
    }

    /// Adds entries that were just appended to the log.
    pub(crate) fn appended(&mut self, entries: Vec<Entry>) {
        let Some(first) = entries.first().map(|e| e.index) else { return };
        while self.tail.back().is_some_and(|e| e.index >= first) {
            self.tail.pop_back();
        }
        self.terms.cut_from(first);
        for entry in entries {
            self.terms.push(entry.index, entry.term);
            self.last = entry.index;
            self.bytes += entry.data.len() as u64;
            if self.marks.back().is_none_or(|(_, sum)| self.bytes >= sum + MARK_BYTES) {
                self.marks.push_back((entry.index, self.bytes));
            }
            self.tail.push_back(entry);
        }
    }

    /// About how many bytes of entries follow an index (those appended since the group was opened).
    pub(crate) fn bytes_after(&self, index: u64) -> u64 {
        let at = self.marks.partition_point(|(i, _)| *i <= index);
        self.bytes - at.checked_sub(1).and_then(|at| self.marks.get(at)).map_or(0, |(_, sum)| *sum)
    }

    /// Entries through `applied` need not stay in memory.
    pub(crate) fn forget_applied(&mut self, applied: u64) {
        while self.tail.front().is_some_and(|e| e.index <= applied) {
            self.tail.pop_front();
        }
    }

    /// The entries through `index` were cut off the log's front.
    pub(crate) fn truncate(&mut self, index: u64) {
        if let Some(term) = self.terms.get(index).filter(|_| index > self.truncated.0) {
            self.truncated = (index, term);
            self.terms.forget_before(index);
            while self.marks.get(1).is_some_and(|(i, _)| *i <= index) {
                self.marks.pop_front();
            }
        }
    }

    pub(crate) fn truncated(&self) -> (u64, u64) {
        self.truncated
    }

    pub(crate) fn term_at(&self, index: u64) -> Option<u64> {
        if index < self.truncated.0 || index > self.last { None } else { self.terms.get(index) }
    }

    pub(crate) fn take_wants_snapshot(&self) -> Vec<u64> {
        self.wants_snapshot.take()
    }

    pub(crate) fn has_failed(&self) -> bool {
        self.failed.get()
    }

    fn read_log(&self, low: u64, high: u64, max: u64) -> raft::Result<Vec<Entry>> {
        let read = self.log.entries(self.stream, low, high, max).map_err(|e| e.to_string());
        let parsed = read.and_then(|entries| {
            entries.into_iter().map(|(i, p)| entry::from_payload(i, p).map_err(|e| e.to_string())).collect()
        });
        parsed.map_err(|error: String| {
            tracing::error!(group = self.stream, low, high, error, "the consensus log can't be read");
            self.failed.set(true);
            raft::Error::Store(StorageError::LogTemporarilyUnavailable)
        })
    }
}

fn corrupt(index: u64, detail: &str) -> torc_engine::Error {
    torc_engine::Error::Corrupt {
        what: "consensus entry",
        path: Default::default(),
        offset: index,
        detail: detail.to_string(),
    }
}

impl Storage for GroupStorage {
    fn initial_state(&self) -> raft::Result<RaftState> {
        Ok(self.initial.clone())
    }

    fn entries(
        &self,
        low: u64,
        high: u64,
        max_size: impl Into<Option<u64>>,
        _context: GetEntriesContext,
    ) -> raft::Result<Vec<Entry>> {
        let max = max_size.into().unwrap_or(u64::MAX);
        if low <= self.truncated.0 {
            return Err(raft::Error::Store(StorageError::Compacted));
        }
        if high > self.last + 1 {
            return Err(raft::Error::Store(StorageError::Unavailable));
        }
        let in_memory = self.tail.front().map_or(u64::MAX, |e| e.index);
        if low < in_memory {
            return self.read_log(low, high.min(in_memory), max);
        }
        let mut bytes = 0u64;
        let skip = (low - in_memory) as usize;
        let wanted = self.tail.iter().skip(skip).take((high - low) as usize);
        let fits = |e: &&Entry| {
            let first = bytes == 0;
            bytes = bytes.saturating_add(e.data.len() as u64 + 16);
            first || bytes <= max
        };
        Ok(wanted.take_while(fits).cloned().collect())
    }

    fn term(&self, index: u64) -> raft::Result<u64> {
        if index < self.truncated.0 {
            return Err(raft::Error::Store(StorageError::Compacted));
        }
        self.term_at(index).ok_or(raft::Error::Store(StorageError::Unavailable))
    }

    fn first_index(&self) -> raft::Result<u64> {
        Ok(self.truncated.0 + 1)
    }

    fn last_index(&self) -> raft::Result<u64> {
        Ok(self.last)
    }

    /// Snapshots travel outside the consensus crate (see `snapshot`): it is told to wait, and the driver
    /// takes note.
    fn snapshot(&self, _request_index: u64, to: u64) -> raft::Result<Snapshot> {
        self.wants_snapshot.borrow_mut().push(to);
        Err(raft::Error::Store(StorageError::SnapshotTemporarilyUnavailable))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn term_runs() {
        let mut runs = TermRuns::default();
        for (index, term) in [(5, 5), (6, 5), (7, 6), (8, 8), (9, 8)] {
            runs.push(index, term);
        }
        let check = |runs: &TermRuns, want: &[(u64, Option<u64>)]| {
            for (index, term) in want {
                assert_eq!(runs.get(*index), *term, "index {index}");
            }
        };
        check(&runs, &[(4, None), (5, Some(5)), (6, Some(5)), (7, Some(6)), (9, Some(8))]);
        runs.cut_from(8);
        runs.push(8, 9);
        check(&runs, &[(7, Some(6)), (8, Some(9))]);
        runs.forget_before(7);
        assert_eq!(runs.0.len(), 2);
        check(&runs, &[(7, Some(6)), (8, Some(9))]);
    }
}
