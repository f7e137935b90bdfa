//! The facade over the consensus crate. The rest of the store knows nothing else of that crate, so another
//! core could replace it here.
//!
//! Election timers are not the crate's. Its clock is ticked only on leaders. The driver starts campaigns,
//! because it knows which stores this store supports, and it draws the times from its own generator.

use super::config::Limits;
use super::convert::{self, to_members};
use super::storage::GroupStorage;
use raft::eraftpb::{ConfChangeV2, Entry, EntryType, Message, MessageType};
use raft::{Config as RaftConfig, GetEntriesContext, ProgressState, RawNode, Ready, StateRole};
use torc_cluster::NodeId;
use torc_wire::raft::Members;

/// Ticks after which a leader that heard from no quorum steps down, and after which a leadership transfer is given up.
const CHECK_QUORUM_TICKS: usize = 12;
/// Ticks between a leader's heartbeats.
const HEARTBEAT_TICKS: usize = 2;
/// Marks vote requests of a leadership transfer; the consensus crate's own constant.
const CAMPAIGN_TRANSFER: &[u8] = b"CampaignTransfer";

/// Why a message was not stepped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StepError {
    /// It makes no sense here (a peer's bug, or a message of long ago); dropped.
    Ignored,
    /// It proves that this replica lost entries that it had acknowledged, or that committed entries differ. The replica must stop.
    Diverged,
}

/// What a leader knows of one member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Follower {
    pub id: NodeId,
    /// Highest entry known to be durable there.
    pub matched: u64,
    /// Highest entry that it knows to be committed.
    pub committed: u64,
    /// Paused for a snapshot that reaches this index.
    pub snapshot: Option<u64>,
}

pub(crate) struct RaftCore {
    raw: RawNode<GroupStorage>,
    node: NodeId,
    members: Members,
    /// Readies handed out with entries and not yet durable.
    unsynced: usize,
    /// The term that is on disk: a leader speaks only when its own term is.
    durable_term: u64,
}

impl RaftCore {
    pub(crate) fn new(
        node: NodeId,
        storage: GroupStorage,
        applied: u64,
        limits: &Limits,
        logger: &slog::Logger,
    ) -> Result<Self, String> {
        let config = RaftConfig {
            id: node.0,
            election_tick: CHECK_QUORUM_TICKS,
            heartbeat_tick: HEARTBEAT_TICKS,
            applied,
            max_size_per_msg: limits.message_bytes,
            max_inflight_msgs: limits.inflight_messages,
            check_quorum: true,
            pre_vote: true,
            skip_bcast_commit: true,
            // Batching is left to the frames: the crate (0.7) joins entries to an empty append for a later index too, and the receiver has to drop that.
            batch_append: false,
            max_committed_size_per_ready: limits.apply_bytes,
            ..Default::default()
        };
        let raw = RawNode::new(&config, storage, logger).map_err(|e| e.to_string())?;
        let members = to_members(&raw.raft.prs().conf().to_conf_state());
        let durable_term = raw.raft.term;
        Ok(Self { raw, node, members, unsynced: 0, durable_term })
    }

    pub(crate) fn node(&self) -> NodeId {
        self.node
    }

    pub(crate) fn storage(&self) -> &GroupStorage {
        self.raw.store()
    }

    pub(crate) fn storage_mut(&mut self) -> &mut GroupStorage {
        self.raw.mut_store()
    }

    pub(crate) fn term(&self) -> u64 {
        self.raw.raft.term
    }

    pub(crate) fn vote(&self) -> u64 {
        self.raw.raft.vote
    }

    pub(crate) fn is_leader(&self) -> bool {
        self.raw.raft.state == StateRole::Leader
    }

    pub(crate) fn is_follower(&self) -> bool {
        self.raw.raft.state == StateRole::Follower
    }

    /// Every entry that was not cut off, written or not; `None` if the log can't be read.
    pub(crate) fn whole_log(&self) -> Option<Vec<Entry>> {
        let log = &self.raw.raft.raft_log;
        let (mut next, last) = (log.first_index(), log.last_index());
        let mut all = Vec::new();
        while next <= last {
            let part = log.entries(next, None, GetEntriesContext::empty(false)).ok()?;
            next = part.last()?.index + 1;
            all.extend(part);
        }
        Some(all)
    }

    pub(crate) fn leader(&self) -> Option<NodeId> {
        Some(NodeId(self.raw.raft.leader_id)).filter(|id| id.0 != 0)
    }

    pub(crate) fn committed(&self) -> u64 {
        self.raw.raft.raft_log.committed
    }

    pub(crate) fn last_index(&self) -> u64 {
        self.raw.raft.raft_log.last_index()
    }

    pub(crate) fn members(&self) -> &Members {
        &self.members
    }

    pub(crate) fn is_voter(&self, node: NodeId) -> bool {
        self.members.voters.contains(&node.0) || self.members.voters_outgoing.contains(&node.0)
    }

    /// The only voter is this node.
    pub(crate) fn is_alone(&self) -> bool {
        self.members.voters == [self.node.0] && self.members.voters_outgoing.is_empty()
    }

    /// A membership change is in the log and not applied yet.
    pub(crate) fn has_pending_conf(&self) -> bool {
        self.raw.raft.has_pending_conf()
    }

    pub(crate) fn transferring_to(&self) -> Option<NodeId> {
        self.raw.raft.lead_transferee.map(NodeId)
    }

    /// Everything this replica was given is durable; until then it must not campaign.
    pub(crate) fn can_campaign(&self) -> bool {
        let log = &self.raw.raft.raft_log;
        self.raw.raft.promotable()
            && !self.is_leader()
            && self.unsynced == 0
            && log.persisted == log.last_index()
    }

    /// Starts an election (a pre-election first).
    pub(crate) fn campaign(&mut self) {
        if let Err(error) = self.raw.campaign() {
            tracing::debug!(%error, "campaign not started");
        }
    }

    /// One step of a leader's clock.
    pub(crate) fn tick(&mut self) {
        self.raw.tick();
    }

    /// A leader that was quiet counts its quorum from now on.
    pub(crate) fn restart_quorum_check(&mut self) {
        self.raw.raft.election_elapsed = 0;
    }

    /// Sends heartbeats now.
    pub(crate) fn ping(&mut self) {
        self.raw.ping();
    }

    /// Gives up leadership, or a candidacy, in this term.
    pub(crate) fn step_down(&mut self) {
        let term = self.term();
        self.raw.raft.become_follower(term, 0);
    }

    /// Steps a message from the network, after checking all that the consensus crate takes for granted.
    pub(crate) fn step(&mut self, message: Message) -> Result<(), StepError> {
        let raft = &mut self.raw.raft;
        let (term, last) = (raft.term, raft.raft_log.last_index());
        match message.get_msg_type() {
            MessageType::MsgAppend if message.term >= term => {
                let committed = raft.raft_log.committed;
                let overwrites =
                    |e: &&Entry| e.index <= committed && !raft.raft_log.match_term(e.index, e.term);
                if message.index >= raft.raft_log.first_index() - 1
                    && message.entries.iter().any(|e| overwrites(&e))
                {
                    return Err(StepError::Diverged);
                }
            }
            MessageType::MsgHeartbeat if message.term >= term && message.commit > last => {
                return Err(StepError::Diverged);
            }
            MessageType::MsgAppendResponse
                if !message.reject && message.term == term && message.index > last =>
            {
                return Err(StepError::Ignored);
            }
            // The driver has decided that this vote may be cast: the crate's own refusal, which counts ticks, must not add to it.
            MessageType::MsgRequestVote | MessageType::MsgRequestPreVote
                if raft.state != StateRole::Leader =>
            {
                raft.election_elapsed = raft.election_timeout();
            }
            MessageType::MsgTimeoutNow if !self.can_campaign() => return Err(StepError::Ignored),
            _ => {}
        }
        self.raw.step(message).map_err(|_| StepError::Ignored)
    }

    /// Appends entries. False if this replica can't take proposals now.
    pub(crate) fn propose(&mut self, entries: Vec<Entry>) -> bool {
        let mut message = Message::default();
        message.set_msg_type(MessageType::MsgPropose);
        message.from = self.node.0;
        message.set_entries(entries.into());
        self.is_leader() && self.raw.raft.step(message).is_ok()
    }

    /// Proposes a membership change; no changes mean leaving the joint configuration.
    pub(crate) fn propose_conf_change(&mut self, data: Vec<u8>) -> bool {
        let mut entry = Entry { data: data.into(), ..Default::default() };
        entry.set_entry_type(EntryType::EntryConfChangeV2);
        self.propose(vec![entry])
    }

    pub(crate) fn apply_conf_change(&mut self, change: &ConfChangeV2) -> Result<(), String> {
        let state = self.raw.apply_conf_change(change).map_err(|e| e.to_string())?;
        self.members = to_members(&state);
        Ok(())
    }

    /// Asks for a read barrier.
    pub(crate) fn read_index(&mut self, context: u64) {
        self.raw.read_index(context.to_le_bytes().to_vec());
    }

    pub(crate) fn transfer_leader(&mut self, to: NodeId) {
        self.raw.transfer_leader(to.0);
    }

    /// Followers that the crate wants to send a snapshot to.
    pub(crate) fn take_wants_snapshot(&mut self) -> Vec<u64> {
        self.raw.store().take_wants_snapshot()
    }

    /// A snapshot that reaches `index` is on its way to a follower: nothing else is sent to it.
    pub(crate) fn snapshot_started(&mut self, to: NodeId, index: u64) {
        if let Some(progress) = self.raw.raft.mut_prs().get_mut(to.0) {
            progress.recent_active = true;
            progress.become_snapshot(index);
        }
    }

    /// A transfer ended: the follower is probed again, behind the snapshot or where it was before.
    pub(crate) fn snapshot_ended(&mut self, to: NodeId, success: bool) {
        if self.is_leader() {
            let status = if success { raft::SnapshotStatus::Finish } else { raft::SnapshotStatus::Failure };
            self.raw.report_snapshot(to.0, status);
        }
    }

    pub(crate) fn followers(&self) -> impl Iterator<Item = Follower> + '_ {
        self.raw.raft.prs().iter().filter(|(id, _)| **id != self.node.0).map(|(id, p)| Follower {
            id: NodeId(*id),
            matched: p.matched,
            committed: p.committed_index,
            snapshot: (p.state == ProgressState::Snapshot).then_some(p.pending_snapshot),
        })
    }

    pub(crate) fn has_ready(&self) -> bool {
        self.raw.has_ready()
    }

    pub(crate) fn ready(&mut self) -> Ready {
        self.raw.ready()
    }

    /// The ready's entries and state are in the log (not necessarily durable).
    pub(crate) fn appended(&mut self, ready: Ready, had_entries: bool) {
        if had_entries {
            self.unsynced += 1;
        }
        self.raw.advance_append_async(ready);
    }

    /// A ready is durable, and with it all before.
    pub(crate) fn persisted(&mut self, number: u64, had_entries: bool, term: u64) {
        self.unsynced -= usize::from(had_entries);
        self.durable_term = self.durable_term.max(term);
        self.raw.on_persist_ready(number);
    }

    /// Whether messages of a leader may go out before its last append is durable.
    pub(crate) fn may_speak_early(&self) -> bool {
        self.durable_term >= self.term()
    }

    /// Entries through `index` are applied.
    pub(crate) fn applied(&mut self, index: u64) {
        self.raw.advance_apply_to(index);
        self.raw.mut_store().forget_applied(index);
    }
}

/// Whether a vote request belongs to a leadership transfer, for which the old leader has given up its lease.
pub(crate) fn is_transfer(context: &[u8]) -> bool {
    context == CAMPAIGN_TRANSFER
}

/// The context of a heartbeat's answer, as a read barrier's number.
pub(crate) fn read_context(context: &[u8]) -> Option<u64> {
    context.try_into().ok().map(u64::from_le_bytes)
}

/// Parses a committed membership change.
pub(crate) fn parse_conf_change(entry: &Entry) -> Option<ConfChangeV2> {
    convert::conf_change(&entry.data)
}
