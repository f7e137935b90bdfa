//! The leader lease of a group: what a follower must not do while it is bound to a leader, and what the
//! leader may conclude from that. See docs/protocols/lease.md.

use super::group::Group;
use super::liveness::SupportEpoch;
use super::raft_core::is_transfer;
use super::shared::Shared;
use super::view::{Lease, Quorum};
use torc_cluster::NodeId;
use torc_wire::raft::{RaftKind, RaftMessage};

/// This replica confirmed a leadership under a promise of support. While that promise lasts without a gap,
/// the replica helps to elect no other leader, whatever happens to its term.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Binding {
    pub leader: NodeId,
    pub term: u64,
    pub epoch: u64,
}

impl Group {
    /// Marks an answer to the leader as a confirmation, if this replica follows it now and its store supports the leader's.
    ///
    /// "Now" matters: the answer may have waited for the disk, and meanwhile this replica may have voted for somebody else. Then its
    /// term is another and the answer confirms nothing.
    pub(crate) fn confirm(&mut self, sh: &Shared, to: NodeId, message: &mut RaftMessage) {
        let answers = [RaftKind::AppendResponse as i32, RaftKind::HeartbeatResponse as i32];
        let Some(core) = &self.core else { return };
        let follows = core.is_follower() && core.term() == message.term && core.leader() == Some(to);
        let resigned = self.resigned.is_some_and(|(leader, term)| leader == to && message.term <= term);
        if !answers.contains(&message.kind) || !follows || resigned {
            return;
        }
        // The leader's process may have restarted since this replica last heard from it. Support that began
        // later may then be for the restarted process. That process leads nothing, so it would never release
        // this replica.
        let support =
            sh.liveness.supporting(to, sh.now_ms).filter(|epoch| self.contact_epoch == Some(*epoch));
        if let Some(epoch) = support {
            message.fortify = epoch;
            self.binding = Some(Binding { leader: to, term: message.term, epoch });
        }
    }

    /// The leader to which this replica is bound now, and until when at least.
    pub(crate) fn bound(&self, sh: &Shared) -> Option<(NodeId, u64)> {
        let binding = self.binding.filter(|_| !sh.config.planted.break_promises)?;
        let until = sh.liveness.supporting_until(binding.leader, binding.epoch, sh.now_ms)?;
        Some((binding.leader, until))
    }

    /// Whether this replica may take part in an election that `from` asks it to (by voting or by encouraging).
    pub(crate) fn may_vote(&mut self, sh: &Shared, from: NodeId, message: &RaftMessage) -> bool {
        let Some(core) = &self.core else { return false };
        // The old leader ordered this election and gave up its lease before.
        if sh.config.planted.break_promises || is_transfer(&message.context) {
            return true;
        }
        // Promises of this store's earlier process may still bind, and the store does not know which.
        if sh.now_ms < sh.silent_until_ms && !core.is_alone() {
            return false;
        }
        // A leader that has lost its quorum detects this itself.
        if core.is_leader() {
            return message.term < core.term();
        }
        if let Some(binding) = self.binding
            && binding.leader == from
            && message.term > binding.term
        {
            // Only a former leader campaigns: its leadership is over.
            self.binding = None;
        }
        if self.bound(sh).is_some_and(|(leader, _)| leader != from) {
            return false;
        }
        // No promise binds, but a leader that was heard just now is probably alive.
        let heard =
            self.last_contact_ms != 0 && sh.now_ms < self.last_contact_ms + sh.config.timing.election_ms;
        let over = |leader| self.resigned.is_some_and(|(r, term)| r == leader && core.term() <= term);
        !core.leader().is_some_and(|leader| heard && leader != from && !over(leader))
    }

    /// A peer no longer leads in `term`, nor in any before.
    pub(crate) fn on_resigned(&mut self, sh: &mut Shared, from: NodeId, term: u64) {
        if self.resigned.is_none_or(|(leader, t)| leader != from || t < term) {
            self.resigned = Some((from, term));
        }
        if self.binding.is_some_and(|b| b.leader == from && b.term <= term) {
            self.binding = None;
        }
        sh.touched.insert(self.id);
        let Some(core) = &self.core else { return };
        if !core.is_leader() && core.term() <= term && core.leader() == Some(from) {
            // No need to wait for a timeout. The first in the list of replicas is the preferred leader.
            let preferred = self.desired.first() == Some(&sh.config.node);
            let soon = sh.now_ms + if preferred { 0 } else { sh.jitter() };
            self.election_deadline_ms = self.election_deadline_ms.min(soon);
        }
    }

    /// A follower confirmed this leadership.
    pub(crate) fn note_fortified(&mut self, from: NodeId, epoch: SupportEpoch) {
        let held = self.fortified.entry(from).or_default();
        *held = (*held).max(epoch);
    }

    /// Until when nobody else can be elected (this store's clock). 0 without a lease.
    pub(crate) fn lease_until(&self, sh: &Shared) -> u64 {
        self.lease(sh).until_ms()
    }

    /// What the lease rests on: the promises of a quorum of voters that confirmed this leadership.
    pub(crate) fn lease(&self, sh: &Shared) -> Lease {
        let Some(core) = self.core.as_ref().filter(|_| self.leads.is_some()) else { return Lease::Never };
        if self.applied.0 < self.term_start {
            return Lease::Never;
        }
        if sh.config.planted.lease_without_support {
            return Lease::Always;
        }
        let members = core.members();
        if self.lease_forfeited_ms.is_some() || !members.voters.contains(&sh.config.node.0) {
            return Lease::Never;
        }
        let quorum = self.quorum(sh, &members.voters);
        if members.voters_outgoing.is_empty() {
            Lease::Quorum(quorum)
        } else {
            Lease::Joint(quorum, self.quorum(sh, &members.voters_outgoing))
        }
    }

    /// Whether a follower's confirmation belongs to its present stretch of support.
    pub(crate) fn is_fortified(&self, sh: &Shared, follower: NodeId) -> bool {
        let (epoch, _) = sh.liveness.support_from(follower);
        epoch.epoch != 0 && self.fortified.get(&follower) == Some(&epoch)
    }

    fn quorum(&self, sh: &Shared, voters: &[u64]) -> Quorum {
        let me = sh.config.node.0;
        let others = voters.iter().filter(|id| **id != me).map(|id| NodeId(*id));
        let confirmed = others.filter(|id| self.is_fortified(sh, *id));
        Quorum {
            needed: (voters.len() / 2 + 1).saturating_sub(usize::from(voters.contains(&me))),
            promises: confirmed.filter_map(|id| sh.liveness.promise_of(id)).collect(),
        }
    }
}
