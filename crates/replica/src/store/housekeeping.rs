//! The timed work of a replica: elections, a leader's heartbeats, membership changes, placement of leaders,
//! and log truncation.

use super::FrameClass;
use super::group::Group;
use super::observe::Observation;
use super::shared::Shared;
use prost::Message as _;
use std::collections::BTreeSet;
use torc_cluster::NodeId;
use torc_engine::log::Record;
use torc_wire::raft::{ConfChange, ConfChangeKind, ConfChangeSingle, ControlBody, Removed};

/// How long a leader stays where it is before it moves to a preferred replica, and before another try.
const SETTLE_MS: u64 = 3_000;
/// After a leadership transfer that came to nothing, the leader goes on without a lease for this long.
const RENEW_MS: u64 = 1_000;
/// Notices sent to a removed member.
const REMOVED_NOTICES: u32 = 20;
/// A learner this many entries behind is caught up: the rest comes with the flow.
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
            // The successor did not come: a new term brings a new lease.
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

    /// A leader with nothing to do whose followers know all it knows. A follower whose store is not heard of counts as absent.
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

    /// Ends a leader's silence.
    pub(crate) fn wake(&mut self) {
        if std::mem::take(&mut self.quiet)
            && let Some(core) = &mut self.core
        {
            core.restart_quorum_check();
        }
    }

    /// A peer is heard of again: it may have restarted, it may have missed entries while this leader was quiet without it, and it must
    /// confirm this leadership again.
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
    pub(crate) fn housekeep(&mut self, sh: &mut Shared) -> Result<(), torc_engine::Error> {
        self.truncate_log(sh)?;
        if self.leads.is_some() && self.applied.0 >= self.term_start {
            self.send_removed_notices(sh);
            if !self.change_members(sh) {
                self.place_leader(sh);
            }
            self.note_role(sh);
        }
        Ok(())
    }

    /// This replica has no vote.
    pub(crate) fn is_outsider(&self, sh: &Shared) -> bool {
        self.core.as_ref().is_some_and(|c| !c.is_voter(sh.config.node))
    }

    /// Walks the group's members towards the desired ones, one safe step at a time. True if a step was taken.
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
    fn place_leader(&mut self, sh: &mut Shared) {
        let me = sh.config.node;
        let leaving = !self.desired.is_empty() && !self.desired.contains(&me);
        let preferred = self.desired.first().copied().filter(|p| *p != me);
        let settled = sh.now_ms >= self.leader_since_ms + if leaving { 0 } else { SETTLE_MS };
        let Some(core) =
            self.core.as_ref().filter(|c| settled && !sh.stopping && c.transferring_to().is_none())
        else {
            return;
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

    /// Truncates log entries that every replica near enough has durably in its data.
    fn truncate_log(&mut self, sh: &mut Shared) -> Result<(), torc_engine::Error> {
        let flushed = sh.engine.flushed_epoch();
        while let Some((_, applied)) = self.flush_samples.front().filter(|(epoch, _)| flushed > *epoch) {
            self.flushed_applied = *applied;
            self.flush_samples.pop_front();
        }
        if self.applied.0 > self.flushed_applied {
            let epoch = sh.engine.apply_epoch();
            match self.flush_samples.back_mut() {
                Some((e, applied)) if *e == epoch => *applied = self.applied.0,
                _ => self.flush_samples.push_back((epoch, self.applied.0)),
            }
        }
        let limits = &sh.config.limits;
        let Some(core) = &self.core else { return Ok(()) };
        let mut through = self.flushed_applied.saturating_sub(limits.keep_entries);
        if self.leads.is_some() {
            for f in core.followers() {
                if sh.liveness.is_live(f.id, sh.now_ms) {
                    self.seen_ms.insert(f.id, sh.now_ms);
                }
                let seen = self.seen_ms.get(&f.id).copied().unwrap_or(0).max(self.leader_since_ms);
                let from = f.snapshot.unwrap_or(f.matched);
                let near = core.last_index().saturating_sub(from) <= limits.max_lag_entries
                    && core.storage().bytes_after(from) <= limits.max_lag_bytes;
                if near && sh.now_ms < seen + limits.hold_absent_ms {
                    through = through.min(from);
                }
            }
            through = through.min(self.senders.lowest_index().unwrap_or(u64::MAX));
        }
        let (first, _) = core.storage().truncated();
        if through < first + limits.truncate_step {
            return Ok(());
        }
        if let Some(core) = &mut self.core {
            core.storage_mut().truncate(through);
            (self.durable.truncated_index, self.durable.truncated_term) = core.storage().truncated();
        }
        sh.config.observers.tell(sh.config.node, self.id, || Observation::Truncated { through });
        sh.late_records.push(Record::TruncatePrefix { stream: self.id.0, through });
        sh.late_records.push(self.state_record(sh));
        Ok(())
    }
}
