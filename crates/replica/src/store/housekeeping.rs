//! The timed work of a replica: elections, a leader's heartbeats, membership changes, and placement of
//! leaders.

use super::FrameClass;
use super::group::Group;
use super::shared::Shared;
use prost::Message as _;
use std::collections::BTreeSet;
use torc_cluster::NodeId;
use torc_wire::raft::{ConfChange, ConfChangeKind, ConfChangeSingle, ControlBody, Removed};

/// How long leadership stays before it moves to a preferred replica, and before another try.
const SETTLE_MS: u64 = 3_000;
/// After a failed leadership transfer the leader continues without a lease for this long.
const RENEW_MS: u64 = 1_000;
/// Notices sent to a removed member.
const REMOVED_NOTICES: u32 = 20;
/// A learner at most this many entries behind counts as caught up. It gets the rest with normal replication.
const CAUGHT_UP: u64 = 64;

impl Group {
    /// One step of the clock.
    pub(crate) fn tick(&mut self, sh: &mut Shared) {
        if self.core.is_none() {
            return;
        }
        self.proposals.tick(sh, self.leads.is_some());
        if self.leads.is_some() {
            self.tick_leader(sh);
        } else {
            self.tick_election(sh);
        }
    }

    /// When the clock must visit this replica again. `None`: not before something happens to it, or a promise of support
    /// ends. So a group at rest costs nothing: its leader is quiet, and its followers are bound to it.
    pub(crate) fn due_ms(&self, sh: &Shared) -> Option<u64> {
        self.core.as_ref()?;
        let role = if self.leads.is_some() {
            (!self.quiet || !self.senders.is_empty()).then_some(sh.now_ms)
        } else if self.bound(sh).is_some() {
            None
        } else {
            Some(self.election_deadline_ms)
        };
        let proposals = self.proposals.due_ms(self.leads.is_some());
        [role, proposals].into_iter().flatten().min()
    }

    /// A promise of support ended, perhaps one that this replica relied on while it rested.
    pub(crate) fn on_lapse(&mut self, sh: &mut Shared) {
        if self.core.is_none() {
            return;
        }
        if self.leads.is_some() {
            self.tick(sh);
        } else if self.bound(sh).is_none() {
            // Not all groups of a dead leader at once, nor all replicas of one group.
            self.election_deadline_ms = self.election_deadline_ms.max(sh.now_ms + sh.jitter());
        }
        sh.touched.insert(self.id);
    }

    fn tick_leader(&mut self, sh: &mut Shared) {
        if !self.quiet && self.is_idle(sh) {
            self.quiet = true;
        } else if self.quiet && sh.now_ms >= self.lease_until(sh) {
            self.wake();
        }
        if !self.senders.is_empty() {
            self.tick_snapshots(sh);
        }
        if self.quiet {
            return;
        }
        let Some(core) = &mut self.core else { return };
        if self.lease_forfeited_ms.is_some_and(|at| sh.now_ms >= at + RENEW_MS)
            && core.transferring_to().is_none()
            && !sh.stopping
        {
            // The successor did not take over. A new term gives this leader a new lease.
            core.step_down();
            self.note_role(sh);
            self.election_deadline_ms = sh.now_ms;
            return self.tick_election(sh);
        }
        core.tick();
        self.note_role(sh);
        sh.dirty.insert(self.id);
    }

    fn tick_election(&mut self, sh: &mut Shared) {
        if sh.now_ms < self.election_deadline_ms {
            return;
        }
        let bound = self.bound(sh);
        let Some(core) = &mut self.core else { return };
        if sh.now_ms < sh.silent_until_ms && !core.is_alone() && !sh.config.planted.break_promises {
            self.election_deadline_ms = sh.silent_until_ms + sh.jitter();
        } else if let Some((_, until)) = bound {
            self.election_deadline_ms = until + sh.jitter();
        } else if (sh.stalled && !core.is_alone()) || sh.stopping || !core.can_campaign() {
            self.election_deadline_ms = sh.election_deadline();
        } else {
            self.election_deadline_ms = sh.election_deadline();
            sh.metrics.campaigns += 1;
            core.campaign();
            self.note_role(sh);
            sh.dirty.insert(self.id);
        }
    }

    /// Whether this leader is idle: it has nothing to do, and its followers have everything it has. A
    /// follower whose store is not heard of counts as absent.
    fn is_idle(&self, sh: &Shared) -> bool {
        let Some(core) = &self.core else { return false };
        let last = core.last_index();
        let busy = self.applied.0 < last
            || self.proposals.has_queued()
            || self.proposals.has_pending()
            || !self.reads.is_empty()
            || !self.senders.is_empty()
            || core.has_pending_conf()
            || core.transferring_to().is_some()
            || sh.now_ms >= self.lease_until(sh);
        !busy
            && core.followers().all(|f| {
                let settled = f.snapshot.is_none() && f.matched == last && f.committed == core.committed();
                !sh.liveness.is_live(f.id, sh.now_ms)
                    || (settled && (!core.is_voter(f.id) || self.is_fortified(sh, f.id)))
            })
    }

    /// Wakes a leader that was idle.
    pub(crate) fn wake(&mut self) {
        if std::mem::take(&mut self.quiet)
            && let Some(core) = &mut self.core
        {
            core.restart_quorum_check();
        }
    }

    /// A peer is heard of again. It may have restarted, or it may have missed entries while this leader was
    /// idle. It must confirm this leadership again.
    pub(crate) fn on_support_back(&mut self, sh: &mut Shared, peer: NodeId) {
        self.wake();
        if let Some(core) = &mut self.core
            && self.leads.is_some()
            && core.followers().any(|f| f.id == peer)
        {
            core.ping();
            sh.dirty.insert(self.id);
        }
    }

    /// The slower part of the clock's work.
    pub(crate) fn housekeep(&mut self, sh: &mut Shared) {
        self.truncate_log(sh);
        if self.leads.is_some() && self.applied.0 >= self.term_start {
            self.send_removed_notices(sh);
            if self.change_members(sh) || self.place_leader(sh) {
                self.note_role(sh);
            }
        }
    }

    /// Whether there may be something to do at the next housekeeping although nothing happens to the group: its members
    /// or its leader are not those that it should have, which may depend on others.
    pub(crate) fn wants_housekeeping(&self) -> bool {
        let Some(core) = self.core.as_ref().filter(|_| self.leads.is_some()) else { return false };
        let members = core.members();
        let placed = members.learners.is_empty()
            && members.voters.len() == self.desired.len()
            && self.desired.iter().all(|id| members.voters.contains(&id.0))
            && self.desired.first() == Some(&core.node());
        !self.removed.is_empty()
            || !members.voters_outgoing.is_empty()
            || (!placed && !self.desired.is_empty())
    }

    /// This replica has no vote.
    pub(crate) fn is_outsider(&self, sh: &Shared) -> bool {
        self.core.as_ref().is_some_and(|c| !c.is_voter(sh.config.node))
    }

    /// Changes the group's members towards the desired ones, one safe step at a time. True if a step was
    /// taken.
    fn change_members(&mut self, sh: &mut Shared) -> bool {
        let Some(core) = &self.core else { return false };
        if core.has_pending_conf() || core.transferring_to().is_some() {
            return false;
        }
        if !core.members().voters_outgoing.is_empty() {
            // The leader that entered the joint configuration is gone: leaving it is up to this one.
            return self.propose_change(sh, &[]);
        }
        if self.desired.is_empty() {
            return false;
        }
        let members = core.members();
        let voters: BTreeSet<NodeId> = members.voters.iter().map(|id| NodeId(*id)).collect();
        let learners: BTreeSet<NodeId> = members.learners.iter().map(|id| NodeId(*id)).collect();
        let desired: BTreeSet<NodeId> = self.desired.iter().copied().collect();
        if let Some(new) = desired.iter().find(|d| !voters.contains(d) && !learners.contains(d)) {
            return self.propose_change(sh, &[(ConfChangeKind::Learner, *new)]);
        }
        let caught_up = |id: &NodeId| {
            let live = sh.liveness.is_live(*id, sh.now_ms);
            // Without a confirmed entry the learner may still be empty, however short the log is: as a voter it could not vote.
            let level = |f: super::raft_core::Follower| {
                f.id == *id
                    && f.snapshot.is_none()
                    && f.matched > 0
                    && f.matched + CAUGHT_UP >= core.last_index()
            };
            live && core.followers().any(level)
        };
        let coming: Vec<NodeId> = desired.intersection(&learners).copied().collect();
        let (ready, missing): (Vec<NodeId>, Vec<NodeId>) = coming.into_iter().partition(caught_up);
        if missing.iter().any(|id| sh.liveness.is_live(*id, sh.now_ms)) {
            // It is being filled: one joint step for all is better than an even number of voters in between.
            return false;
        }
        let mut changes: Vec<(ConfChangeKind, NodeId)> =
            ready.iter().map(|id| (ConfChangeKind::Voter, *id)).collect();
        let me = sh.config.node;
        if missing.is_empty() {
            let new_voters: Vec<NodeId> =
                desired.iter().copied().chain(voters.contains(&me).then_some(me)).collect();
            let alive = |id: &&NodeId| **id == me || sh.liveness.is_live(**id, sh.now_ms);
            if new_voters.iter().filter(alive).count() * 2 > new_voters.len() {
                let extra = voters.union(&learners).filter(|id| !desired.contains(id) && **id != me);
                changes.extend(extra.map(|id| (ConfChangeKind::Remove, *id)));
            }
        }
        !changes.is_empty() && self.propose_change(sh, &changes)
    }

    fn propose_change(&mut self, sh: &mut Shared, changes: &[(ConfChangeKind, NodeId)]) -> bool {
        let single =
            |(kind, node): &(ConfChangeKind, NodeId)| ConfChangeSingle { kind: *kind as i32, node: node.0 };
        let change = ConfChange { transition: 0, changes: changes.iter().map(single).collect() };
        tracing::debug!(group = %self.id, ?changes, "changing members");
        self.wake();
        for (kind, node) in changes {
            if *kind != ConfChangeKind::Remove {
                self.removed.remove(node);
            }
        }
        sh.metrics.membership_changes += 1;
        sh.dirty.insert(self.id);
        self.core.as_mut().is_some_and(|c| c.propose_conf_change(change.encode_to_vec()))
    }

    /// A member is gone: it may not learn of it by itself.
    pub(crate) fn note_removed(&mut self, node: NodeId) {
        if self.leads.is_some() {
            self.removed.insert(node, REMOVED_NOTICES);
        }
    }

    fn send_removed_notices(&mut self, sh: &mut Shared) {
        let Some(term) = self.leads else { return };
        let notice = Removed { term, index: self.applied.0 };
        for (node, left) in &mut self.removed {
            *left -= 1;
            sh.control(*node, FrameClass::Data, self.id, ControlBody::Removed(notice.clone()));
        }
        self.removed.retain(|_, left| *left > 0);
    }

    /// Moves leadership to the preferred replica, or away from a node that shall leave.
    /// True if a step was taken.
    fn place_leader(&mut self, sh: &mut Shared) -> bool {
        let me = sh.config.node;
        let leaving = !self.desired.is_empty() && !self.desired.contains(&me);
        let preferred = self.desired.first().copied().filter(|p| *p != me);
        let settled = sh.now_ms >= self.leader_since_ms + if leaving { 0 } else { SETTLE_MS };
        let Some(core) =
            self.core.as_ref().filter(|c| settled && !sh.stopping && c.transferring_to().is_none())
        else {
            return false;
        };
        let able = |id: NodeId| {
            let level = |f: super::raft_core::Follower| f.id == id && f.matched == core.last_index();
            core.members().voters.contains(&id.0)
                && sh.liveness.is_live(id, sh.now_ms)
                && core.followers().any(level)
        };
        let target = match preferred {
            Some(p) if able(p) => Some(p),
            _ if leaving => self.desired.iter().copied().find(|id| able(*id)),
            _ => None,
        };
        if let Some(target) = target {
            // A failed try is repeated, but not at once.
            self.leader_since_ms = sh.now_ms;
            self.transfer(sh, target);
        }
        target.is_some()
    }

    /// Hands leadership to the voter that is furthest, if any is alive.
    pub(crate) fn transfer_away(&mut self, sh: &mut Shared) {
        let Some(core) = self.core.as_ref().filter(|_| self.leads.is_some()) else { return };
        let voters = core.followers().filter(|f| core.members().voters.contains(&f.id.0));
        let best =
            voters.max_by_key(|f| (sh.liveness.is_live(f.id, sh.now_ms), f.matched, f.id)).map(|f| f.id);
        if let Some(target) = best {
            self.transfer(sh, target);
        }
    }

    fn transfer(&mut self, sh: &mut Shared, to: NodeId) {
        self.wake();
        sh.metrics.transfers += 1;
        if let Some(core) = &mut self.core {
            core.transfer_leader(to);
        }
        sh.dirty.insert(self.id);
    }

    /// Gives up leadership without a successor, because this store can't write.
    pub(crate) fn abdicate(&mut self, sh: &mut Shared) {
        if let Some(core) = self.core.as_mut().filter(|c| c.is_leader() && !c.is_alone()) {
            core.step_down();
            self.note_role(sh);
        }
    }
}
