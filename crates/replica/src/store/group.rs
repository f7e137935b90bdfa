//! One replica of one group: its consensus core, its machine, and its operations under way.

use super::lease::Binding;
use super::liveness::SupportEpoch;
use super::machine::{Machine, Overlay};
use super::observe::{Observation, mark};
use super::propose::Proposals;
use super::raft_core::{RaftCore, StepError};
use super::reads::Reads;
use super::shared::{Event, Shared};
use super::snapshot::{Receiver, Senders};
use super::state::DurableState;
use super::storage::GroupStorage;
use super::view::{GroupView, Lease};
use super::{FrameClass, KeyRange, applied_key, convert};
use bytes::Bytes;
use raft::eraftpb::{Message, MessageType};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use torc_cluster::{GroupId, NodeId};
use torc_engine::log::Record;
use torc_wire::raft::{ControlBody, Members, NeedSnapshot, RaftKind, RaftMessage, Removed};

/// Index and term with which a group is created: as if the entries up to here had been truncated. So no first
/// member needs a snapshot of an empty group.
pub(crate) const BIRTH: u64 = 5;
/// Replaces the applied index of a group that was dropped here, so that the group is never created here a
/// second time as new.
pub(crate) const DROPPED: &[u8] = b"dropped";
/// An incomplete replica asks for a snapshot at most this often.
const ASK_SNAPSHOT_MS: u64 = 200;

/// What a store is told of a group that it shall hold.
pub struct GroupSpec {
    /// The group.
    pub group: GroupId,
    /// Its machine, as of the engine's present contents.
    pub machine: Box<dyn Machine>,
    /// The keys that belong to it: what a snapshot carries.
    pub ranges: Vec<KeyRange>,
    /// The members it was created with. A member of this list that never held the group starts it as an empty voter; any other
    /// node starts uninitialised and is filled by the leader.
    pub initial: Vec<NodeId>,
    /// The members it should have now, the preferred leader first.
    pub replicas: Vec<NodeId>,
}

pub(crate) struct Group {
    pub id: GroupId,
    pub machine: Box<dyn Machine>,
    pub ranges: Vec<KeyRange>,
    /// The members it should have, the preferred leader first.
    pub desired: Vec<NodeId>,
    /// `None` while the data is not whole, and after a halt.
    pub core: Option<RaftCore>,
    pub halted: bool,
    /// The leader said that this replica is no member. It does nothing until it is dropped or added again.
    pub expelled: bool,
    /// As last written to the log, or about to be.
    pub durable: DurableState,
    /// Last entry in the engine, and its term.
    pub applied: (u64, u64),
    /// Readies whose persistence is awaited.
    pub unpersisted: usize,
    /// Rises with each core, so that readies of an earlier core are recognised.
    pub generation: u64,
    pub view: Arc<GroupView>,

    // Leading.
    /// The term this replica leads in.
    pub leads: Option<u64>,
    /// The first entry of that term: nothing is evaluated or read before it is applied.
    pub term_start: u64,
    pub leader_since_ms: u64,
    /// What each follower confirmed in this term.
    pub fortified: BTreeMap<NodeId, SupportEpoch>,
    /// When a successor was told to campaign: no lease until the next term.
    pub lease_forfeited_ms: Option<u64>,
    /// Nothing to do: no ticks, no heartbeats.
    pub quiet: bool,
    pub overlay: Overlay,
    pub proposals: Proposals,
    pub reads: Reads,
    pub senders: Senders,
    /// Former members that may not know it yet, with the number of notices left.
    pub removed: BTreeMap<NodeId, u32>,

    // Following.
    /// The leader to which this replica is bound: it helps to elect no other.
    pub binding: Option<Binding>,
    /// The last leadership known to be over.
    pub resigned: Option<(NodeId, u64)>,
    pub election_deadline_ms: u64,
    pub last_contact_ms: u64,
    /// Under which epoch this store supported the leader's when it was last heard in this group.
    pub contact_epoch: Option<u64>,
    known_leader: Option<NodeId>,
    asked_snapshot_ms: u64,
    pub receiver: Option<Receiver>,

    // Truncation.
    /// Epochs of the engine and an applied index in each, waiting for that epoch's flush.
    pub flush_samples: VecDeque<(u64, u64)>,
    pub flushed_applied: u64,

    /// When the store's clock will visit this replica. `None`: not until something happens to it, or a promise of
    /// support ends.
    pub timer_ms: Option<u64>,
}

impl Group {
    /// Opens a replica from the log and the engine, or creates it.
    pub(crate) fn open(spec: GroupSpec, sh: &mut Shared) -> Result<Self, torc_engine::Error> {
        let id = spec.group;
        let stored = sh.engine.log().stream(id.0).filter(|s| !s.state.is_empty());
        let position = sh.engine.get(&applied_key(id))?;
        let first_time = stored.is_none() && position.is_none();
        let durable = match &stored {
            // Dropped, but the drop was not yet in the log.
            Some(_) if position.as_deref() == Some(DROPPED) => {
                DurableState { incomplete: true, ..Default::default() }
            }
            Some(info) => DurableState::decode(&info.state).ok_or_else(|| corrupt(id, "unreadable state"))?,
            None if first_time && spec.initial.contains(&sh.config.node) => newborn(&spec.initial),
            None => DurableState { incomplete: true, ..Default::default() },
        };
        let mut applied = position.as_deref().and_then(decode_position).unwrap_or((0, 0));
        if applied.0 == 0 && !durable.incomplete && durable.truncated_index == BIRTH {
            applied = (BIRTH, BIRTH);
        }
        let mut group = Self {
            id,
            machine: spec.machine,
            ranges: spec.ranges,
            desired: spec.replicas,
            core: None,
            halted: false,
            expelled: false,
            durable,
            applied,
            unpersisted: 0,
            generation: 0,
            view: Arc::default(),
            leads: None,
            term_start: 0,
            leader_since_ms: 0,
            fortified: BTreeMap::new(),
            lease_forfeited_ms: None,
            quiet: false,
            overlay: Overlay::default(),
            proposals: Proposals::default(),
            reads: Reads::default(),
            senders: Senders::default(),
            removed: BTreeMap::new(),
            binding: None,
            resigned: None,
            election_deadline_ms: 0,
            last_contact_ms: 0,
            contact_epoch: None,
            known_leader: None,
            asked_snapshot_ms: 0,
            receiver: None,
            flush_samples: VecDeque::new(),
            flushed_applied: 0,
            timer_ms: None,
        };
        if stored.is_none() {
            group.write_state_late(sh);
        }
        if let Some(info) = &stored {
            group.check_whole(info.last, sh)?;
        }
        if !group.durable.incomplete {
            group.start_core(sh)?;
        }
        sh.touched.insert(id);
        Ok(group)
    }

    /// A replica whose data does not reach back to its log, or whose log does not reach its data, must be filled anew.
    fn check_whole(&mut self, last: u64, sh: &mut Shared) -> Result<(), torc_engine::Error> {
        let (applied, state) = (self.applied.0, &mut self.durable);
        if state.incomplete
            || (applied >= state.truncated_index && applied <= last.max(state.truncated_index))
        {
            return Ok(());
        }
        if state.members.voters == [sh.config.node.0] && state.members.voters_outgoing.is_empty() {
            return Err(corrupt(self.id, "data and log of the only replica do not meet"));
        }
        tracing::error!(group = %self.id, applied, first = state.truncated_index, last, "data and log do not meet; this replica is filled anew");
        state.incomplete = true;
        sh.metrics.replicas_refilled += 1;
        self.write_state_late(sh);
        Ok(())
    }

    /// Starts the consensus core on what the log holds.
    pub(crate) fn start_core(&mut self, sh: &mut Shared) -> Result<(), torc_engine::Error> {
        let opened = GroupStorage::open(sh.engine.log(), self.id.0, &self.durable, self.applied.0)?;
        // A membership change may be covered by the engine's applied index but missing from the durable
        // members: it is applied again.
        let again = opened.conf_changes.iter().find(|i| **i <= self.applied.0);
        let applied = again.map_or(self.applied.0, |i| i - 1);
        let core = RaftCore::new(sh.config.node, opened.storage, applied, &sh.config.limits, &sh.logger)
            .map_err(|e| corrupt(self.id, &e))?;
        self.election_deadline_ms = if core.is_alone() {
            sh.now_ms
        } else if sh.now_ms < sh.silent_until_ms {
            sh.silent_until_ms + sh.jitter()
        } else if self.desired.first() == Some(&sh.config.node) {
            sh.now_ms
        } else {
            sh.election_deadline()
        };
        sh.config.observers.tell(sh.config.node, self.id, || Observation::Started);
        self.core = Some(core);
        self.generation += 1;
        self.unpersisted = 0;
        sh.peers_changed = true;
        sh.dirty.insert(self.id);
        Ok(())
    }

    /// A raft message arrived.
    pub(crate) fn on_message(
        &mut self,
        sh: &mut Shared,
        from: NodeId,
        incarnation: u64,
        message: RaftMessage,
    ) {
        let kind = RaftKind::try_from(message.kind).unwrap_or(RaftKind::Unknown);
        let (term, fortify) = (message.term, message.fortify);
        let from_leader = matches!(kind, RaftKind::Append | RaftKind::Heartbeat);
        sh.touched.insert(self.id);
        if self.core.is_none() {
            if from_leader && !self.halted && term >= self.durable.term {
                if std::mem::take(&mut self.expelled) {
                    // A member again. What it has kept may miss anything: it is filled anew.
                    self.durable.incomplete = true;
                    self.write_state_late(sh);
                }
                self.ask_snapshot(sh, from, term);
            }
            return;
        }
        if let Some(term) = self.leads
            && !self.core.as_ref().is_some_and(|c| c.followers().any(|f| f.id == from))
        {
            let notice = Removed { term, index: self.applied.0 };
            return sh.control(from, FrameClass::Data, self.id, ControlBody::Removed(notice));
        }
        if matches!(kind, RaftKind::Vote | RaftKind::PreVote) && !self.may_vote(sh, from, &message) {
            sh.metrics.votes_withheld += 1;
            return;
        }
        let limit = sh.config.limits.max_entry_bytes;
        let Some(message) = convert::from_wire(from, sh.config.node, message, limit) else {
            sh.metrics.bad_messages += 1;
            return;
        };
        let Some(core) = &mut self.core else { return };
        let result = core.step(message);
        let follows = from_leader && core.term() == term && core.leader() == Some(from);
        let confirms = fortify != 0 && core.is_leader() && core.term() == term;
        sh.dirty.insert(self.id);
        match result {
            Err(StepError::Diverged) => {
                return self.halt(
                    sh,
                    "its log and the leader's differ in entries that were committed or acknowledged",
                );
            }
            Err(StepError::Ignored) => sh.metrics.ignored_messages += 1,
            Ok(()) => {}
        }
        self.note_role(sh);
        if follows {
            self.last_contact_ms = sh.now_ms;
            self.contact_epoch = sh.liveness.supporting(from, sh.now_ms);
            self.election_deadline_ms = sh.election_deadline();
        }
        if confirms && self.leads == Some(term) {
            self.note_fortified(from, SupportEpoch { incarnation, epoch: fortify });
        }
    }

    fn ask_snapshot(&mut self, sh: &mut Shared, leader: NodeId, term: u64) {
        let waited = sh.now_ms >= self.asked_snapshot_ms + ASK_SNAPSHOT_MS;
        let busy = self.receiver.as_ref().is_some_and(|r| r.is_busy(sh));
        if waited && !busy {
            self.asked_snapshot_ms = sh.now_ms;
            let ask = NeedSnapshot { term, min_index: self.durable.truncated_index };
            sh.control(leader, FrameClass::Data, self.id, ControlBody::NeedSnapshot(ask));
        }
    }

    /// Compares the core's role with what was known, and acts on the difference. To be called after everything that may change it.
    pub(crate) fn note_role(&mut self, sh: &mut Shared) {
        let Some(core) = &self.core else { return };
        let leads = core.is_leader().then(|| core.term());
        let leader = core.leader();
        if leads != self.leads {
            if let Some(term) = self.leads {
                self.lost_leadership(sh, term);
            }
            if let Some(term) = leads {
                self.gained_leadership(sh, term);
            }
        }
        if leader != self.known_leader {
            self.known_leader = leader;
            if let Some(leader) = leader {
                sh.leaders.push((self.id, leader));
            }
        }
        sh.touched.insert(self.id);
    }

    fn gained_leadership(&mut self, sh: &mut Shared, term: u64) {
        let Some(core) = &self.core else { return };
        // The term's first entry was appended just now.
        self.term_start = core.last_index();
        if sh.config.observers.listening()
            && let Some(log) = core.whole_log()
        {
            let log = log.iter().map(mark).collect();
            sh.config.observers.tell(sh.config.node, self.id, || Observation::Elected { term, log });
        }
        self.leads = Some(term);
        self.leader_since_ms = sh.now_ms;
        self.fortified.clear();
        self.lease_forfeited_ms = None;
        self.quiet = false;
        self.binding = None;
        let storage = core.storage();
        self.proposals.gained_leadership(|index| storage.term_at(index));
        sh.led.insert(self.id);
        sh.metrics.leaderships_won += 1;
    }

    /// Clears everything that only a leader has.
    pub(crate) fn lost_leadership(&mut self, sh: &mut Shared, term: u64) {
        self.leads = None;
        // Before anything leaves this store: nobody may read under the lease any more.
        self.view.set_leadership(None, Lease::Never);
        let hint = self.core.as_ref().and_then(|c| c.leader());
        self.overlay.clear();
        self.proposals.lost_leadership(sh, hint);
        self.reads.fail(sh, hint);
        let failed = self.senders.clear(sh);
        sh.metrics.snapshots_aborted += failed as u64;
        self.fortified.clear();
        self.removed.clear();
        self.quiet = false;
        self.election_deadline_ms = sh.election_deadline();
        let members = self.members();
        let everyone = [&members.voters, &members.learners, &members.voters_outgoing, &members.learners_next];
        let peers: Vec<NodeId> = everyone.into_iter().flatten().map(|id| NodeId(*id)).collect();
        sh.liveness.resign(self.id.0, term, peers.into_iter().filter(|p| *p != sh.config.node));
        sh.led.remove(&self.id);
        sh.metrics.leaderships_lost += 1;
    }

    /// Stops this replica for good.
    pub(crate) fn halt(&mut self, sh: &mut Shared, why: &str) {
        tracing::error!(group = %self.id, why, "replica halted");
        self.stop_core(sh);
        self.halted = true;
        self.view.set_readable(false);
        sh.events.push(Event::Halted(self.id, why.to_string()));
        sh.metrics.replicas_halted += 1;
    }

    /// Takes the core away (its readies in flight are void) and answers whatever waits for it.
    pub(crate) fn stop_core(&mut self, sh: &mut Shared) {
        if let Some(term) = self.leads {
            self.lost_leadership(sh, term);
        }
        self.proposals.give_up(sh);
        self.reads.fail(sh, None);
        self.core = None;
        self.unpersisted = 0;
        self.known_leader = None;
        sh.touched.insert(self.id);
    }

    /// Queues raft messages for sending.
    pub(crate) fn send(&mut self, sh: &mut Shared, messages: Vec<Message>) {
        for message in messages {
            sh.config.observers.tell_sent(sh.config.node, self.id, &message);
            if message.get_msg_type() == MessageType::MsgTimeoutNow {
                // From here on another replica may be elected in spite of all promises.
                self.lease_forfeited_ms = Some(sh.now_ms);
                self.view.set_leadership(self.leads, Lease::Never);
            }
            let to = NodeId(message.to);
            let Some(mut message) = convert::to_wire(self.id.0, message) else { continue };
            self.confirm(sh, to, &mut message);
            sh.metrics.messages_sent += 1;
            sh.outbox.entry(to).or_default().push(message);
        }
    }

    /// The state blob, written with the next records of this turn or after them.
    pub(crate) fn write_state_late(&mut self, sh: &mut Shared) {
        sh.late_records.push(self.state_record(sh));
    }

    pub(crate) fn state_record(&self, sh: &Shared) -> Record {
        let mut state = self.durable.clone();
        if sh.config.planted.forget_votes {
            state.vote = 0;
        }
        Record::State { stream: self.id.0, blob: Bytes::from(state.encode()) }
    }

    pub(crate) fn members(&self) -> &Members {
        self.core.as_ref().map_or(&self.durable.members, |c| c.members())
    }

    /// The followers that the core asked a snapshot for get one.
    pub(crate) fn start_wanted_snapshots(&mut self, sh: &mut Shared) {
        let wanted = self.core.as_mut().map(|c| c.take_wants_snapshot()).unwrap_or_default();
        for id in wanted {
            self.start_snapshot(sh, NodeId(id));
        }
        if self.core.as_ref().is_some_and(|c| c.storage().has_failed()) {
            self.halt(sh, "its log can't be read");
        }
    }

    /// The leader says that this replica is no longer a member.
    pub(crate) fn on_removed(&mut self, sh: &mut Shared, notice: &Removed) {
        let me = sh.config.node.0;
        let Some(core) = self.core.as_ref().filter(|c| c.term() <= notice.term && !c.is_leader()) else {
            return;
        };
        let m = core.members();
        let member = [&m.voters, &m.learners, &m.voters_outgoing].iter().any(|list| list.contains(&me));
        // A notice older than what this replica knows: it may have been added again.
        if member && self.applied.0 > notice.index {
            return;
        }
        (self.durable.term, self.durable.vote, self.durable.commit) =
            (core.term(), core.vote(), core.committed());
        self.stop_core(sh);
        self.expelled = true;
        sh.events.push(Event::Removed(self.id));
    }

    /// The stores that share this group with this one.
    pub(crate) fn add_peers(&self, peers: &mut BTreeSet<NodeId>) {
        let m = self.members();
        let members = [&m.voters, &m.learners, &m.voters_outgoing, &m.learners_next];
        peers.extend(members.into_iter().flatten().map(|id| NodeId(*id)));
        peers.extend(self.desired.iter().copied());
    }

    /// Brings the shared view up to date. Called before anything of the turn leaves the store.
    pub(crate) fn publish(&mut self, sh: &Shared) {
        let lease = self.lease(sh);
        let term = self.core.as_ref().map_or(self.durable.term, |c| c.term());
        self.view.set_position(term, self.known_leader);
        self.view.set_leadership(self.leads, lease);
        self.view.set_applied(self.applied.0);
        self.view.set_readable(self.core.is_some());
        let members = self.core.as_ref().map_or(&self.durable.members, |c| c.members());
        if *self.view.members() != *members {
            self.view.set_members(members);
        }
    }
}

fn newborn(initial: &[NodeId]) -> DurableState {
    let mut voters: Vec<u64> = initial.iter().map(|n| n.0).collect();
    voters.sort_unstable();
    voters.dedup();
    DurableState {
        incomplete: false,
        term: BIRTH,
        vote: 0,
        commit: BIRTH,
        truncated_index: BIRTH,
        truncated_term: BIRTH,
        members_index: BIRTH,
        members: Members { voters, ..Default::default() },
    }
}

/// The value of the applied position: index and term, little-endian.
pub(crate) fn encode_position(position: (u64, u64)) -> [u8; 16] {
    let mut out = [0; 16];
    out[..8].copy_from_slice(&position.0.to_le_bytes());
    out[8..].copy_from_slice(&position.1.to_le_bytes());
    out
}

fn decode_position(bytes: &[u8]) -> Option<(u64, u64)> {
    let number = |range: std::ops::Range<usize>| Some(u64::from_le_bytes(bytes.get(range)?.try_into().ok()?));
    (bytes.len() == 16).then_some((number(0..8)?, number(8..16)?))
}

fn corrupt(group: GroupId, detail: &str) -> torc_engine::Error {
    torc_engine::Error::Corrupt {
        what: "replica state",
        path: Default::default(),
        offset: group.0,
        detail: detail.to_string(),
    }
}
