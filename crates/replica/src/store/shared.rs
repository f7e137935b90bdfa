//! What all groups of a store share: engine, promises between stores, random generator, and everything that
//! waits to be sent.

use super::config::Config;
use super::liveness::StoreLiveness;
use super::metrics::Metrics;
use super::{After, FrameClass, ProposeError};
use bytes::Bytes;
use prost::Message as _;
use rand::Rng as _;
use rand_chacha::ChaCha8Rng;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use torc_cluster::{GroupId, NodeId};
use torc_engine::log::Record;
use torc_engine::{Engine, WriteBatch};
use torc_wire::raft::{Control, ControlBody, Grant, RaftFrame, RaftMessage};

/// Something that happened to a group, for whoever keeps the topology.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// This replica is no longer a member: it may be dropped.
    Removed(GroupId),
    /// This replica stopped for good: its log and the group's have diverged, or its storage is damaged. Other replicas serve on.
    Halted(GroupId, String),
}

pub(crate) struct Shared {
    pub config: Config,
    pub engine: Engine,
    pub liveness: StoreLiveness,
    pub rng: ChaCha8Rng,
    pub logger: slog::Logger,
    /// Time of the turn, milliseconds; never goes back.
    pub now_ms: u64,
    /// No vote is cast before this time, because promises of an earlier process may still bind.
    pub silent_until_ms: u64,
    /// The disk is stalled: this store must not lead.
    pub stalled: bool,
    /// Raft messages on their way out, by receiver.
    pub outbox: BTreeMap<NodeId, Vec<RaftMessage>>,
    /// Notices and snapshot parts on their way out.
    pub controls: Vec<(NodeId, FrameClass, Control)>,
    /// Promises given in this turn.
    pub grants: Vec<(NodeId, Grant)>,
    /// Round trips to peers, milliseconds, measured on promises asked for and given.
    pub round_trips: Vec<(NodeId, u64)>,
    pub replies: Vec<(u64, Result<Bytes, ProposeError>)>,
    pub leaders: Vec<(GroupId, NodeId)>,
    pub events: Vec<Event>,
    /// Records for the log that nothing of this turn waits for.
    pub late_records: Vec<Record>,
    /// What is to be done once the late records of this turn are durable.
    pub late_waits: Vec<(GroupId, After)>,
    /// Writes of committed entries, applied at the end of a pass.
    pub apply: VecDeque<WriteBatch>,
    /// Groups with work to do.
    pub dirty: BTreeSet<GroupId>,
    /// Groups led by this store.
    pub led: BTreeSet<GroupId>,
    /// Groups whose views must be published.
    pub touched: BTreeSet<GroupId>,
    /// Members of some group changed: who is asked for support is computed anew.
    pub peers_changed: bool,
    /// Shutting down: leaderships are handed over, none is sought.
    pub stopping: bool,
    /// Snapshot transfers being sent.
    pub snapshots_sent: usize,
    pub metrics: Metrics,
}

impl Shared {
    /// Begins a group's part of this pass's writes. All of it goes to one batch: were its data and its applied position in two, a
    /// flush between them could tear them apart.
    pub(crate) fn begin_apply(&mut self) {
        let limit = self.config.limits.apply_batch_bytes;
        if self.apply.back().is_none_or(|b| b.as_bytes().len() >= limit) {
            self.apply.push_back(WriteBatch::new());
        }
    }

    /// The batch of the group that began last.
    pub(crate) fn apply_batch(&mut self) -> &mut WriteBatch {
        if self.apply.is_empty() {
            self.apply.push_back(WriteBatch::new());
        }
        let last = self.apply.len() - 1;
        &mut self.apply[last]
    }

    /// A time between one and two election timeouts from now, beside the two round trips that an election takes: a candidate that
    /// did not wait for them would never see its votes.
    pub(crate) fn election_deadline(&mut self) -> u64 {
        let votes = 2 * self.liveness.slowest_round_trip_ms().min(self.config.timing.lease_ms);
        self.now_ms + self.config.timing.election_ms + votes + self.jitter()
    }

    /// Up to one election timeout.
    pub(crate) fn jitter(&mut self) -> u64 {
        self.rng.random_range(0..self.config.timing.election_ms.max(1))
    }

    pub(crate) fn reply(&mut self, token: u64, result: Result<Bytes, ProposeError>) {
        self.replies.push((token, result));
    }

    pub(crate) fn control(&mut self, to: NodeId, class: FrameClass, group: GroupId, body: ControlBody) {
        self.controls.push((to, class, Control { group: group.0, body: Some(body) }));
    }

    /// Everything on its way out, in frames of at most `frame_bytes`. A message that is larger travels alone.
    pub(crate) fn take_frames(&mut self) -> Vec<(NodeId, FrameClass, RaftFrame)> {
        let mut cutter = Cutter {
            limit: self.config.limits.frame_bytes,
            incarnation: self.config.incarnation,
            open: BTreeMap::new(),
            full: Vec::new(),
        };
        for (to, messages) in std::mem::take(&mut self.outbox) {
            for message in messages {
                let bytes = message.encoded_len();
                cutter.frame(to, FrameClass::Data, bytes).messages.push(message);
            }
        }
        for (to, class, control) in self.controls.drain(..) {
            let bytes = control.encoded_len();
            cutter.frame(to, class, bytes).controls.push(control);
        }
        cutter.finish()
    }
}

/// Fills frames up to a limit.
struct Cutter {
    limit: usize,
    incarnation: u64,
    /// The frame being filled for each receiver and class, with its bytes.
    open: BTreeMap<(NodeId, FrameClass), (usize, RaftFrame)>,
    full: Vec<(NodeId, FrameClass, RaftFrame)>,
}

impl Cutter {
    /// The frame that the next `bytes` go into.
    fn frame(&mut self, to: NodeId, class: FrameClass, bytes: usize) -> &mut RaftFrame {
        let fresh = || (0, RaftFrame { incarnation: self.incarnation, ..RaftFrame::default() });
        let (filled, frame) = self.open.entry((to, class)).or_insert_with(fresh);
        if *filled > 0 && *filled + bytes > self.limit {
            let (_, empty) = fresh();
            self.full.push((to, class, std::mem::replace(frame, empty)));
            *filled = 0;
        }
        *filled += bytes;
        frame
    }

    fn finish(mut self) -> Vec<(NodeId, FrameClass, RaftFrame)> {
        self.full.extend(self.open.into_iter().map(|((to, class), (_, frame))| (to, class, frame)));
        self.full
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use torc_wire::raft::RaftEntry;

    #[test]
    fn frames_are_cut_at_their_limit_and_keep_the_order() {
        let mut cutter = Cutter { limit: 1000, incarnation: 7, open: BTreeMap::new(), full: Vec::new() };
        for (index, bytes) in [(1, 400), (2, 400), (3, 400), (4, 5000), (5, 10)] {
            let data = Bytes::from(vec![0; bytes]);
            let entries = vec![RaftEntry { index, data, ..RaftEntry::default() }];
            let message = RaftMessage { entries, ..RaftMessage::default() };
            let bytes = message.encoded_len();
            cutter.frame(NodeId(2), FrameClass::Data, bytes).messages.push(message);
        }
        let frames = cutter.finish();
        let indexes: Vec<Vec<u64>> =
            frames.iter().map(|(_, _, f)| f.messages.iter().map(|m| m.entries[0].index).collect()).collect();
        assert_eq!(indexes, [vec![1, 2], vec![3], vec![4], vec![5]]);
        assert!(frames.iter().all(|(_, _, f)| f.incarnation == 7));
    }
}
