//! The newest appends, kept in memory for readers. They are found by their place on disk.

use crate::Lsn;
use bytes::Bytes;
use std::collections::VecDeque;

struct Recent {
    generation: u64,
    offset: u64,
    lsn: Lsn,
    bytes: Bytes,
}

/// A queue of encoded appends in log order, bounded in bytes.
#[derive(Default)]
pub(super) struct RecentAppends {
    appends: VecDeque<Recent>,
    bytes: usize,
}

impl RecentAppends {
    /// Adds the append at this place, which lies after all others.
    pub(super) fn push(&mut self, generation: u64, offset: u64, lsn: Lsn, bytes: Bytes) {
        self.bytes += bytes.len();
        self.appends.push_back(Recent { generation, offset, lsn, bytes });
    }

    /// Drops the oldest until at most `limit` bytes are held, but nothing above `durable`: the disk does not
    /// have it yet.
    pub(super) fn evict(&mut self, limit: usize, durable: Lsn) {
        while self.bytes > limit && self.appends.front().is_some_and(|a| a.lsn <= durable) {
            if let Some(oldest) = self.appends.pop_front() {
                self.bytes -= oldest.bytes.len();
            }
        }
    }

    /// `len` bytes at a place, if held.
    pub(super) fn get(&self, generation: u64, offset: u64, len: usize) -> Option<Bytes> {
        let after = self.appends.partition_point(|a| (a.generation, a.offset) <= (generation, offset));
        let append = self.appends.get(after.checked_sub(1)?)?;
        let start = offset.checked_sub(append.offset)? as usize;
        let held = append.generation == generation && start + len <= append.bytes.len();
        held.then(|| append.bytes.slice(start..start + len))
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }
}
