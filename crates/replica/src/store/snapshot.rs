//! Fills a replica from the leader's data: a new member, or one that needs entries that the leader's log no
//! longer has.
//!
//! The leader streams the group's keys as of one applied index, from an engine snapshot. The receiver first
//! marks itself incomplete in the log. Then it replaces its data chunk by chunk through the engine's own log
//! stream. Then it writes the new consensus state.
//!
//! All of this is in one log, in this order. So a crash anywhere leaves either an incomplete replica, which
//! takes part in nothing until it is filled again, or a whole one. See docs/protocols/consensus.md.

use super::group::{Group, encode_position};
use super::lease::Binding;
use super::observe::Observation;
use super::shared::Shared;
use super::storage::GroupStorage;
use super::{After, FrameClass, KeyRange, applied_key};
use bytes::Bytes;
use raft::eraftpb::{Message, MessageType};
use std::collections::{BTreeMap, VecDeque};
use torc_cluster::NodeId;
use torc_engine::log::Record;
use torc_engine::{Engine, Snapshot, WriteBatch};
use torc_wire::raft::{ControlBody, NeedSnapshot, SnapshotAck, SnapshotBegin, SnapshotChunk, TransferId};

/// The receiver has it all, in durable form.
const COMPLETE: u64 = u64::MAX;

/// A transfer being sent.
pub(crate) struct Sender {
    begin: SnapshotBegin,
    data: Snapshot,
    /// Range being read, and the key to go on from.
    cursor: (usize, Bytes),
    produced: u64,
    finished: bool,
    /// The receiver answered.
    accepted: bool,
    /// Sent and not acknowledged.
    window: VecDeque<SnapshotChunk>,
    progress_ms: u64,
    sent_ms: u64,
}

/// The transfers of one group being sent.
#[derive(Default)]
pub(crate) struct Senders(BTreeMap<NodeId, Sender>);

impl Senders {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The lowest index that a transfer's receiver will go on from.
    pub(crate) fn lowest_index(&self) -> Option<u64> {
        self.0.values().map(|s| s.begin.index).min()
    }

    /// Forgets all transfers; returns how many there were.
    pub(crate) fn clear(&mut self, sh: &mut Shared) -> usize {
        let count = self.0.len();
        sh.snapshots_sent -= count;
        self.0.clear();
        count
    }
}

impl Sender {
    /// Reads more of the snapshot into the window. Returns the chunks to send.
    fn fill(
        &mut self,
        engine: &Engine,
        ranges: &[KeyRange],
        window: usize,
        bytes: usize,
    ) -> Result<Vec<SnapshotChunk>, torc_engine::Error> {
        let mut out = Vec::new();
        while self.window.len() < window && !self.finished {
            let chunk = self.read_chunk(engine, ranges, bytes)?;
            self.window.push_back(chunk.clone());
            out.push(chunk);
        }
        Ok(out)
    }

    fn read_chunk(
        &mut self,
        engine: &Engine,
        ranges: &[KeyRange],
        bytes: usize,
    ) -> Result<SnapshotChunk, torc_engine::Error> {
        let mut chunk = SnapshotChunk { id: self.begin.id, seq: self.produced, ..Default::default() };
        let mut size = 0;
        'ranges: while let Some(range) = ranges.get(self.cursor.0) {
            let start = if self.cursor.1.is_empty() { &range.start } else { &self.cursor.1 };
            for item in engine.scan(start, &range.end, false, Some(&self.data)) {
                let item = item?;
                if size >= bytes {
                    self.cursor.1 = item.key;
                    break 'ranges;
                }
                size += item.key.len() + item.value.len();
                chunk.keys.push(item.key);
                chunk.values.push(item.value);
            }
            self.cursor = (self.cursor.0 + 1, Bytes::new());
        }
        self.finished = self.cursor.0 >= ranges.len();
        chunk.last = self.finished;
        self.produced += 1;
        Ok(chunk)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Waiting until the mark of incompleteness is durable.
    Marking,
    Receiving,
    /// Waiting until the new state is durable.
    Installing,
}

/// A transfer being received.
pub(crate) struct Receiver {
    from: NodeId,
    begin: SnapshotBegin,
    phase: Phase,
    next_seq: u64,
    progress_ms: u64,
}

impl Receiver {
    pub(crate) fn is_busy(&self, sh: &Shared) -> bool {
        sh.now_ms < self.progress_ms + 2 * sh.config.timing.snapshot_retry_ms
    }
}

impl Group {
    /// A replica tells this leader that it is empty or incomplete.
    pub(crate) fn on_need_snapshot(&mut self, sh: &mut Shared, from: NodeId, need: &NeedSnapshot) {
        if self.leads == Some(need.term) && need.min_index <= self.applied.0 {
            self.start_snapshot(sh, from);
        }
    }

    /// Begins to send a snapshot, unless one is under way to this follower or too many are to others (it will
    /// ask again).
    pub(crate) fn start_snapshot(&mut self, sh: &mut Shared, to: NodeId) {
        let known = self.core.as_ref().is_some_and(|c| c.followers().any(|f| f.id == to));
        // What is applied is committed, so there is no need to wait for the term's first entry; to commit it
        // may even take this.
        let Some(term) = self.leads.filter(|_| known) else { return };
        if self.senders.0.contains_key(&to) || sh.snapshots_sent >= sh.config.limits.snapshot_senders {
            return;
        }
        sh.snapshots_sent += 1;
        sh.metrics.snapshots_sent += 1;
        let number = sh.metrics.snapshots_sent;
        let begin = SnapshotBegin {
            id: TransferId { incarnation: sh.config.incarnation, term, number },
            index: self.applied.0,
            index_term: self.applied.1,
            members: Some(self.members().clone()),
        };
        if let Some(core) = &mut self.core {
            core.snapshot_started(to, begin.index);
        }
        sh.control(to, FrameClass::Bulk, self.id, ControlBody::SnapshotBegin(begin.clone()));
        let sender = Sender {
            begin,
            data: sh.engine.snapshot(),
            cursor: (0, Bytes::new()),
            produced: 0,
            finished: false,
            accepted: false,
            window: VecDeque::new(),
            progress_ms: sh.now_ms,
            sent_ms: sh.now_ms,
        };
        self.senders.0.insert(to, sender);
        self.wake();
    }

    /// A receiver tells how far it is.
    pub(crate) fn on_snapshot_ack(&mut self, sh: &mut Shared, from: NodeId, ack: &SnapshotAck) {
        let Some(sender) = self.senders.0.get_mut(&from).filter(|s| s.begin.id == ack.id) else { return };
        if ack.refused {
            return self.end_snapshot(sh, from, false);
        }
        if ack.next_seq == COMPLETE {
            return self.end_snapshot(sh, from, true);
        }
        let (had, was_accepted) = (sender.window.len(), sender.accepted);
        sender.accepted = true;
        while sender.window.front().is_some_and(|c| c.seq < ack.next_seq) {
            sender.window.pop_front();
        }
        if sender.window.len() < had || !was_accepted {
            sender.progress_ms = sh.now_ms;
        }
        let limits = &sh.config.limits;
        match sender.fill(&sh.engine, &self.ranges, limits.snapshot_window, limits.snapshot_chunk_bytes) {
            Ok(chunks) => {
                sender.sent_ms = sh.now_ms;
                for chunk in chunks {
                    sh.control(from, FrameClass::Bulk, self.id, ControlBody::SnapshotChunk(chunk));
                }
            }
            Err(error) => {
                tracing::error!(group = %self.id, %error, "a snapshot can't be read");
                self.end_snapshot(sh, from, false);
            }
        }
    }

    /// Repeats what was lost, gives up on what does not move.
    pub(crate) fn tick_snapshots(&mut self, sh: &mut Shared) {
        let retry = sh.config.timing.snapshot_retry_ms;
        let mut dead = Vec::new();
        for (to, sender) in &mut self.senders.0 {
            if sh.now_ms >= sender.progress_ms + 10 * retry {
                dead.push(*to);
            } else if sh.now_ms >= sender.sent_ms + retry {
                sender.sent_ms = sh.now_ms;
                if !sender.accepted {
                    sh.control(
                        *to,
                        FrameClass::Bulk,
                        self.id,
                        ControlBody::SnapshotBegin(sender.begin.clone()),
                    );
                }
                for chunk in &sender.window {
                    sh.control(*to, FrameClass::Bulk, self.id, ControlBody::SnapshotChunk(chunk.clone()));
                }
                // Everything arrived, but not the last acknowledgement: any chunk brings it.
                if sender.accepted && sender.window.is_empty() && sender.finished {
                    sh.control(
                        *to,
                        FrameClass::Bulk,
                        self.id,
                        ControlBody::SnapshotBegin(sender.begin.clone()),
                    );
                }
            }
        }
        for to in dead {
            self.end_snapshot(sh, to, false);
        }
    }

    fn end_snapshot(&mut self, sh: &mut Shared, to: NodeId, success: bool) {
        if self.senders.0.remove(&to).is_none() {
            return;
        }
        sh.snapshots_sent -= 1;
        if !success {
            sh.metrics.snapshots_aborted += 1;
        }
        if let Some(core) = &mut self.core {
            core.snapshot_ended(to, success);
        }
        sh.dirty.insert(self.id);
    }

    /// The leader wants to fill this replica.
    pub(crate) fn on_snapshot_begin(&mut self, sh: &mut Shared, from: NodeId, begin: SnapshotBegin) {
        let ack =
            |next_seq, refused| ControlBody::SnapshotAck(SnapshotAck { id: begin.id, next_seq, refused });
        if let Some(receiver) = &self.receiver
            && (receiver.from, receiver.begin.id) == (from, begin.id)
        {
            if receiver.phase == Phase::Receiving {
                let seq = receiver.next_seq;
                sh.control(from, FrameClass::Bulk, self.id, ack(seq, false));
            }
            return;
        }
        let term = self.core.as_ref().map_or(self.durable.term, |c| c.term());
        let member = begin.members.as_ref().is_some_and(|m| {
            [&m.voters, &m.learners, &m.voters_outgoing].iter().any(|list| list.contains(&sh.config.node.0))
        });
        let covered = self.core.as_ref().is_some_and(|c| {
            self.applied.0 >= begin.index || c.storage().term_at(begin.index) == Some(begin.index_term)
        });
        if covered && begin.id.term >= term {
            return sh.control(from, FrameClass::Bulk, self.id, ack(COMPLETE, false));
        }
        let leads = self.leads.is_some();
        if self.halted
            || leads
            || !member
            || begin.id.term < term
            || begin.index < self.durable.truncated_index
        {
            return sh.control(from, FrameClass::Bulk, self.id, ack(0, true));
        }
        self.accept_snapshot(sh, from, begin);
    }

    fn accept_snapshot(&mut self, sh: &mut Shared, from: NodeId, begin: SnapshotBegin) {
        if let Some(core) = &self.core {
            self.durable.term = core.term();
            self.durable.vote = core.vote();
            self.durable.commit = core.committed();
        }
        self.stop_core(sh);
        // In the leader's term this replica's vote counts as given to the leader, whatever votes it has
        // forgotten.
        if begin.id.term > self.durable.term {
            (self.durable.term, self.durable.vote) = (begin.id.term, from.0);
        } else if self.durable.vote == 0 {
            self.durable.vote = from.0;
        }
        self.durable.incomplete = true;
        self.view.set_readable(false);
        sh.late_records.push(self.state_record(sh));
        sh.late_waits.push((self.id, After::SnapshotMarked(begin.id)));
        sh.metrics.snapshots_received += 1;
        let progress_ms = sh.now_ms;
        self.receiver = Some(Receiver { from, begin, phase: Phase::Marking, next_seq: 0, progress_ms });
    }

    /// The mark is durable: the old data may go.
    pub(crate) fn on_snapshot_marked(
        &mut self,
        sh: &mut Shared,
        id: TransferId,
    ) -> Result<(), torc_engine::Error> {
        let wanted = |r: &&mut Receiver| r.begin.id == id && r.phase == Phase::Marking;
        let Some(receiver) = self.receiver.as_mut().filter(wanted) else { return Ok(()) };
        receiver.phase = Phase::Receiving;
        let (from, ack) = (receiver.from, SnapshotAck { id, next_seq: 0, refused: false });
        self.applied = (0, 0);
        let mut batch = WriteBatch::new();
        for range in &self.ranges {
            batch.delete_range(&range.start, &range.end);
        }
        batch.delete(&applied_key(self.id));
        match sh.engine.write(&batch) {
            Ok(_) => sh.control(from, FrameClass::Bulk, self.id, ControlBody::SnapshotAck(ack)),
            // This replica will ask again.
            Err(torc_engine::Error::DiskFull { .. }) => self.receiver = None,
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// A part of the data arrived.
    pub(crate) fn on_snapshot_chunk(
        &mut self,
        sh: &mut Shared,
        from: NodeId,
        chunk: SnapshotChunk,
    ) -> Result<(), torc_engine::Error> {
        let known = |r: &&mut Receiver| r.from == from && r.begin.id == chunk.id;
        let Some(receiver) = self.receiver.as_mut().filter(known) else {
            // Of a transfer that this replica finished, or lost in a restart.
            let refusal = SnapshotAck { id: chunk.id, next_seq: 0, refused: true };
            sh.control(from, FrameClass::Bulk, self.id, ControlBody::SnapshotAck(refusal));
            return Ok(());
        };
        if receiver.phase != Phase::Receiving {
            return Ok(());
        }
        let outside = |key: &Bytes| !self.ranges.iter().any(|r| r.contains(key));
        if chunk.keys.len() != chunk.values.len() || chunk.keys.iter().any(outside) {
            sh.metrics.bad_messages += 1;
            return Ok(());
        }
        if chunk.seq == receiver.next_seq {
            let mut batch = WriteBatch::new();
            for (key, value) in chunk.keys.iter().zip(&chunk.values) {
                batch.put(key, value);
            }
            if chunk.last {
                let position = (receiver.begin.index, receiver.begin.index_term);
                batch.put(&applied_key(self.id), &encode_position(position));
            }
            match sh.engine.write(&batch) {
                Ok(_) => {}
                // Not acknowledged, so the sender repeats it.
                Err(torc_engine::Error::DiskFull { .. }) => return Ok(()),
                Err(error) => return Err(error),
            }
            receiver.next_seq += 1;
            receiver.progress_ms = sh.now_ms;
            if chunk.last {
                receiver.phase = Phase::Installing;
                return self.install_snapshot(sh);
            }
        }
        let ack = SnapshotAck { id: chunk.id, next_seq: receiver.next_seq, refused: false };
        sh.control(from, FrameClass::Bulk, self.id, ControlBody::SnapshotAck(ack));
        Ok(())
    }

    /// All data is in the engine: the consensus state follows it into the log.
    fn install_snapshot(&mut self, sh: &mut Shared) -> Result<(), torc_engine::Error> {
        let Some(receiver) = &self.receiver else { return Ok(()) };
        let begin = &receiver.begin;
        // Entries behind the snapshot that this replica acknowledged must stay, if they belong to the same
        // history.
        let old = GroupStorage::open(sh.engine.log(), self.id.0, &self.durable, u64::MAX)?.storage;
        let continues = old.term_at(begin.index) == Some(begin.index_term);
        sh.late_records.push(if continues {
            Record::TruncatePrefix { stream: self.id.0, through: begin.index }
        } else {
            Record::Drop { stream: self.id.0 }
        });
        let state = &mut self.durable;
        state.incomplete = false;
        state.commit = begin.index;
        (state.truncated_index, state.truncated_term) = (begin.index, begin.index_term);
        state.members = begin.members.clone().unwrap_or_default();
        state.members_index = begin.index;
        let id = begin.id;
        sh.late_records.push(self.state_record(sh));
        sh.late_waits.push((self.id, After::SnapshotInstalled(id)));
        Ok(())
    }

    /// Data and state are durable: the replica is whole.
    pub(crate) fn on_snapshot_installed(
        &mut self,
        sh: &mut Shared,
        id: TransferId,
    ) -> Result<(), torc_engine::Error> {
        let wanted = |r: &&Receiver| r.begin.id == id && r.phase == Phase::Installing;
        let Some(receiver) = self.receiver.as_ref().filter(wanted) else { return Ok(()) };
        let (from, begin) = (receiver.from, receiver.begin.clone());
        self.receiver = None;
        self.applied = (begin.index, begin.index_term);
        self.flush_samples.clear();
        self.flushed_applied = 0;
        let index = begin.index;
        sh.config.observers.tell(sh.config.node, self.id, || Observation::SnapshotInstalled { index });
        self.machine.restored(&sh.engine)?;
        self.start_core(sh)?;
        // An earlier replica of this group on this store may have made promises. So the leader's lease is
        // respected from the start.
        if let Some(epoch) = sh.liveness.supporting(from, sh.now_ms) {
            self.binding = Some(Binding { leader: from, term: begin.id.term, epoch });
        }
        let ack = SnapshotAck { id, next_seq: COMPLETE, refused: false };
        sh.control(from, FrameClass::Bulk, self.id, ControlBody::SnapshotAck(ack));
        let mut message =
            Message { to: from.0, from: sh.config.node.0, term: begin.id.term, ..Default::default() };
        message.set_msg_type(MessageType::MsgAppendResponse);
        (message.index, message.commit) = (begin.index, begin.index);
        self.send(sh, vec![message]);
        self.note_role(sh);
        Ok(())
    }
}
