//! Answers without a write: reads through the loop, and commands whose evaluation decided not to write.
//!
//! Such an answer is linearizable once two conditions hold. This replica still led when it read, which the
//! lease or a round of heartbeats begun afterwards confirms. And every pending write that was read is
//! applied.

use super::ProposeError;
use super::group::Group;
use super::shared::Shared;
use bytes::Bytes;
use std::collections::VecDeque;
use torc_cluster::NodeId;

/// An answer in waiting.
#[derive(Debug)]
pub(crate) struct Waiter {
    pub token: u64,
    pub response: Bytes,
    /// The newest pending entry that the answer depends on.
    pub depends_on: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Reads {
    /// To be confirmed.
    waiting: Vec<Waiter>,
    /// Waiting for a round of heartbeats, by its number.
    issued: VecDeque<(u64, Vec<Waiter>)>,
    /// Confirmed; waiting for an index to be applied.
    confirmed: Vec<(u64, Waiter)>,
    next: u64,
}

impl Reads {
    pub(crate) fn push(&mut self, waiter: Waiter) {
        self.waiting.push(waiter);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.issued.is_empty() && self.confirmed.is_empty()
    }

    /// Answers everybody with "not the leader": nothing was done, it is safe to ask again.
    pub(crate) fn fail(&mut self, sh: &mut Shared, hint: Option<NodeId>) {
        let issued = self.issued.drain(..).flat_map(|(_, waiters)| waiters);
        let confirmed = self.confirmed.drain(..).map(|(_, waiter)| waiter);
        for waiter in self.waiting.drain(..).chain(issued).chain(confirmed) {
            sh.replies.push((waiter.token, Err(ProposeError::NotLeader { hint })));
        }
    }

    /// A round of heartbeats confirmed that this replica led after everything up to round `number` was read.
    pub(crate) fn round_done(&mut self, number: u64, index: u64) {
        while self.issued.front().is_some_and(|(n, _)| *n <= number) {
            let waiters = self.issued.pop_front().map(|(_, w)| w).unwrap_or_default();
            self.confirmed.extend(waiters.into_iter().map(|w| (index.max(w.depends_on), w)));
        }
    }

    fn answer(&mut self, sh: &mut Shared, applied: u64) {
        for (index, waiter) in std::mem::take(&mut self.confirmed) {
            if index <= applied {
                sh.replies.push((waiter.token, Ok(waiter.response)));
            } else {
                self.confirmed.push((index, waiter));
            }
        }
    }
}

impl Group {
    /// Confirms waiting answers by the lease, or starts a round of heartbeats for them; gives those that are
    /// due.
    pub(crate) fn advance_reads(&mut self, sh: &mut Shared) {
        if self.leads.is_some() && !self.reads.waiting.is_empty() && self.applied.0 >= self.term_start {
            let waiting = std::mem::take(&mut self.reads.waiting);
            if sh.now_ms < self.lease_until(sh) {
                sh.metrics.reads_by_lease += waiting.len() as u64;
                self.reads.confirmed.extend(waiting.into_iter().map(|w| (w.depends_on, w)));
            } else if let Some(core) = &mut self.core {
                sh.metrics.reads_by_round += waiting.len() as u64;
                self.reads.next += 1;
                self.reads.issued.push_back((self.reads.next, waiting));
                core.read_index(self.reads.next);
                self.quiet = false;
                sh.dirty.insert(self.id);
            }
        }
        self.reads.answer(sh, self.applied.0);
    }
}
