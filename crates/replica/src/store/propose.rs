//! Proposals: queued, evaluated by the leader, proposed as entries, answered when applied.

use super::ProposeError;
use super::entry;
use super::group::Group;
use super::machine::EvalCtx;
use super::reads::Waiter;
use super::shared::Shared;
use bytes::Bytes;
use raft::eraftpb::Entry;
use std::collections::VecDeque;
use torc_cluster::NodeId;
use torc_engine::WriteBatch;

/// An entry proposed here and not yet applied here.
#[derive(Debug)]
struct Pending {
    index: u64,
    term: u64,
    bytes: usize,
    replies: Vec<(u64, Bytes)>,
}

#[derive(Debug, Default)]
pub(crate) struct Proposals {
    queue: VecDeque<(u64, Bytes)>,
    /// In order of index.
    pending: VecDeque<Pending>,
    /// Entries of earlier leaderships that this replica's own log no longer holds. Another replica's log may, and they may still be
    /// committed, so they are answered only when an entry is applied at their index.
    displaced: Vec<Pending>,
    pending_bytes: usize,
    /// When the proposers of a lost leadership are told that the outcome of their entries is unknown.
    give_up_ms: u64,
}

impl Proposals {
    pub(crate) fn has_queued(&self) -> bool {
        !self.queue.is_empty()
    }

    pub(crate) fn has_pending(&self) -> bool {
        !self.pending.is_empty() || !self.displaced.is_empty()
    }

    /// What waits in the queue was never proposed: it can go elsewhere. What is in the log may still be committed by the next leader.
    pub(crate) fn lost_leadership(&mut self, sh: &mut Shared, hint: Option<NodeId>) {
        for (token, _) in self.queue.drain(..) {
            sh.replies.push((token, Err(ProposeError::NotLeader { hint })));
        }
        self.give_up_ms = sh.now_ms + sh.config.timing.ambiguous_ms;
    }

    /// This replica will not learn anything more about these entries.
    pub(crate) fn give_up(&mut self, sh: &mut Shared) {
        for (token, _) in self.queue.drain(..) {
            sh.replies.push((token, Err(ProposeError::NotLeader { hint: None })));
        }
        self.displaced.extend(self.pending.drain(..));
        self.give_up_displaced(sh);
    }

    /// The disk is full. What waits in the queue was not begun. What was begun may still be done when there is room.
    fn disk_full(&mut self, sh: &mut Shared) {
        for (token, _) in self.queue.drain(..) {
            sh.replies.push((token, Err(ProposeError::DiskFull)));
        }
        self.give_up(sh);
    }

    fn give_up_displaced(&mut self, sh: &mut Shared) {
        for p in self.displaced.drain(..) {
            self.pending_bytes -= p.bytes;
            for (token, _) in p.replies {
                sh.metrics.proposals_ambiguous += 1;
                sh.replies.push((token, Err(ProposeError::Ambiguous)));
            }
        }
    }

    /// When [`Proposals::tick`] has something to do.
    pub(crate) fn due_ms(&self, leads: bool) -> Option<u64> {
        let waits = !self.displaced.is_empty() || (!leads && self.has_pending());
        waits.then_some(self.give_up_ms)
    }

    /// Gives up on entries of a lost leadership when their time is over.
    pub(crate) fn tick(&mut self, sh: &mut Shared, leads: bool) {
        if sh.now_ms < self.give_up_ms {
            return;
        }
        if !leads && self.has_pending() {
            self.give_up(sh);
        } else if !self.displaced.is_empty() {
            self.give_up_displaced(sh);
        }
    }

    /// This replica leads again. What its log no longer holds makes room for new entries at the same indexes.
    pub(crate) fn gained_leadership(&mut self, term_at: impl Fn(u64) -> Option<u64>) {
        let (kept, displaced): (VecDeque<_>, VecDeque<_>) =
            self.pending.drain(..).partition(|p| term_at(p.index) == Some(p.term));
        self.pending = kept;
        self.displaced.extend(displaced);
    }

    /// The entry `(index, term)` is applied.
    pub(crate) fn applied(&mut self, sh: &mut Shared, index: u64, term: u64) {
        while self.pending.front().is_some_and(|p| p.index <= index) {
            let Some(p) = self.pending.pop_front() else { break };
            self.answer_applied(sh, p, index, term);
        }
        for p in self.displaced.extract_if(.., |p| p.index <= index).collect::<Vec<_>>() {
            self.answer_applied(sh, p, index, term);
        }
    }

    /// Answers for one entry, when `(index, term)` is the first entry applied at its index or later.
    fn answer_applied(&mut self, sh: &mut Shared, p: Pending, index: u64, term: u64) {
        self.pending_bytes -= p.bytes;
        let known = p.index == index;
        let won = known && p.term == term;
        for (token, response) in p.replies {
            let result = if won {
                sh.metrics.proposals_applied += 1;
                Ok(response)
            } else if known {
                // Another term's entry in its place: this one can never be committed.
                Err(ProposeError::NotLeader { hint: None })
            } else {
                sh.metrics.proposals_ambiguous += 1;
                Err(ProposeError::Ambiguous)
            };
            sh.replies.push((token, result));
        }
    }
}

/// Commands joined into one entry.
#[derive(Default)]
struct Joined {
    batch: WriteBatch,
    bytes: usize,
    replies: Vec<(u64, Bytes)>,
}

impl Group {
    /// Answers everybody who waits: while the disk is full, nothing goes on.
    pub(crate) fn disk_full(&mut self, sh: &mut Shared) {
        self.proposals.disk_full(sh);
        self.reads.fail(sh, None);
    }

    /// Takes a proposal in, or refuses it.
    pub(crate) fn propose(&mut self, sh: &mut Shared, token: u64, command: Bytes) {
        if self.leads.is_none() {
            let hint = self.core.as_ref().and_then(|c| c.leader()).filter(|l| *l != sh.config.node);
            return sh.reply(token, Err(ProposeError::NotLeader { hint }));
        }
        let limits = &sh.config.limits;
        let full = self.proposals.queue.len() >= limits.queued_proposals
            || self.proposals.pending_bytes >= limits.pending_bytes;
        if full {
            sh.metrics.proposals_refused += 1;
            return sh.reply(token, Err(ProposeError::Busy));
        }
        self.proposals.queue.push_back((token, command));
        sh.dirty.insert(self.id);
    }

    /// Takes a read barrier in, or refuses it.
    pub(crate) fn read_barrier(&mut self, sh: &mut Shared, token: u64) {
        if self.leads.is_none() {
            let hint = self.core.as_ref().and_then(|c| c.leader()).filter(|l| *l != sh.config.node);
            return sh.reply(token, Err(ProposeError::NotLeader { hint }));
        }
        self.reads.push(Waiter { token, response: Bytes::new(), depends_on: 0 });
        sh.dirty.insert(self.id);
    }

    /// Evaluates what is queued and proposes it. Nothing is evaluated before the term's first entry is applied: until then writes of
    /// earlier leaders may be missing here.
    pub(crate) fn evaluate_queue(&mut self, sh: &mut Shared) {
        let ready = self.core.as_ref().is_some_and(|c| c.transferring_to().is_none());
        let Some(term) = self.leads.filter(|_| ready && self.applied.0 >= self.term_start) else { return };
        let mut entries = Vec::new();
        let mut next = self.core.as_ref().map_or(0, |c| c.last_index()) + 1;
        let mut joined = Joined::default();
        while let Some((token, command)) = self.proposals.queue.pop_front() {
            let mut context = EvalCtx::new(&sh.engine, &self.overlay, term, next);
            let outcome = self.machine.evaluate(&mut context, &command);
            let depends_on = context.touched();
            sh.metrics.proposals_evaluated += 1;
            match outcome {
                Err(error) => sh.replies.push((token, Err(error))),
                Ok(evaluation) => match evaluation.batch.filter(|b| !b.is_empty()) {
                    None => self.reads.push(Waiter { token, response: evaluation.response, depends_on }),
                    Some(batch) => {
                        self.overlay.add(next, &batch);
                        joined.bytes += batch.as_bytes().len();
                        if joined.replies.is_empty() {
                            joined.batch = batch;
                        } else {
                            joined.batch.extend(&batch);
                        }
                        joined.replies.push((token, evaluation.response));
                    }
                },
            }
            let full = joined.bytes >= sh.config.limits.entry_bytes || !self.machine.joins_entries();
            if full && !joined.replies.is_empty() {
                entries.push(self.close_entry(sh, std::mem::take(&mut joined), next, term));
                next += 1;
            }
        }
        if !joined.replies.is_empty() {
            entries.push(self.close_entry(sh, joined, next, term));
        }
        if !entries.is_empty() {
            self.propose_entries(sh, entries);
        }
    }

    fn close_entry(&mut self, sh: &mut Shared, joined: Joined, index: u64, term: u64) -> Entry {
        let data = entry::normal(term, &joined.batch);
        if sh.config.planted.ack_before_quorum {
            for (token, response) in &joined.replies {
                sh.replies.push((*token, Ok(response.clone())));
            }
        }
        let replies = if sh.config.planted.ack_before_quorum { Vec::new() } else { joined.replies };
        let bytes = data.len();
        self.proposals.pending_bytes += bytes;
        self.proposals.pending.push_back(Pending { index, term, bytes, replies });
        sh.metrics.entries_proposed += 1;
        sh.metrics.bytes_proposed += bytes as u64;
        Entry { data, ..Default::default() }
    }

    fn propose_entries(&mut self, sh: &mut Shared, entries: Vec<Entry>) {
        let Some(core) = &mut self.core else { return };
        self.quiet = false;
        let first = core.last_index() + 1;
        if !core.propose(entries) {
            // The core took nothing: neither log nor followers know these entries.
            while self.proposals.pending.back().is_some_and(|p| p.index >= first) {
                let Some(p) = self.proposals.pending.pop_back() else { break };
                self.proposals.pending_bytes -= p.bytes;
                for (token, _) in p.replies {
                    sh.replies.push((token, Err(ProposeError::NotLeader { hint: None })));
                }
            }
            // Answers that depended on them, and evaluations based on them, are dropped too.
            self.overlay.clear();
            self.reads.fail(sh, None);
            core.step_down();
            self.note_role(sh);
        }
        sh.dirty.insert(self.id);
    }
}
