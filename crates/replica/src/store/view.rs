//! What other tasks may know about a group without asking the store loop.

use parking_lot::RwLock;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::time::Duration;
use torc_cluster::NodeId;
use torc_wire::raft::Members;

/// A group's state as of the loop's last turn, readable from any thread.
///
/// A strong read outside the loop: take a [`LeaseStamp`] from [`GroupView::lease_valid`], read the engine,
/// ask [`GroupView::still_valid`] with a newer time. If both succeed, the read is linearizable: up to the
/// second check no other leader could have acknowledged a write, and every write acknowledged before the
/// first check was applied here.
#[derive(Debug, Default)]
pub struct GroupView {
    leader: AtomicU64,
    term: AtomicU64,
    /// The term in which this replica leads, 0 if it does not.
    leads_term: AtomicU64,
    lease: RwLock<Lease>,
    applied: AtomicU64,
    readable: AtomicBool,
    members: RwLock<Arc<Members>>,
}

/// An unbroken stretch of a peer's support, shared with all leases that rest on it: when the peer renews its promise, they
/// are all renewed, without a visit to their groups. A later stretch has another value, so one that ended stays ended.
pub(crate) type Promise = Arc<AtomicU64>;

/// Voters whose promises make a lease.
#[derive(Clone, Debug, Default)]
pub(crate) struct Quorum {
    /// How many of the promises must hold.
    pub needed: usize,
    /// Until when those voters support this store that confirmed its leadership.
    pub promises: Vec<Promise>,
}

impl Quorum {
    /// The time that the `needed`-th latest promise reaches.
    fn until_ms(&self) -> u64 {
        if self.needed == 0 {
            return u64::MAX;
        }
        let reach = |promise: &Promise| promise.load(SeqCst);
        // The latest time that enough promises reach. There are a handful.
        let enough = |until: &u64| self.promises.iter().filter(|p| reach(p) >= *until).count() >= self.needed;
        self.promises.iter().map(reach).filter(enough).max().unwrap_or(0)
    }

    fn is(&self, other: &Self) -> bool {
        self.needed == other.needed
            && self.promises.len() == other.promises.len()
            && self.promises.iter().zip(&other.promises).all(|(a, b)| Arc::ptr_eq(a, b))
    }
}

/// What a lease rests on.
#[derive(Clone, Debug, Default)]
pub(crate) enum Lease {
    /// There is none.
    #[default]
    Never,
    /// A planted bug.
    Always,
    Quorum(Quorum),
    /// While the membership changes: of the new voters and of the old.
    Joint(Quorum, Quorum),
}

impl Lease {
    pub(crate) fn until_ms(&self) -> u64 {
        match self {
            Self::Never => 0,
            Self::Always => u64::MAX,
            Self::Quorum(quorum) => quorum.until_ms(),
            Self::Joint(new, old) => new.until_ms().min(old.until_ms()),
        }
    }

    fn is(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Never, Self::Never) | (Self::Always, Self::Always) => true,
            (Self::Quorum(a), Self::Quorum(b)) => a.is(b),
            (Self::Joint(a, b), Self::Joint(c, d)) => a.is(c) && b.is(d),
            _ => false,
        }
    }
}

/// Proof of a lease at one moment, to be checked again after the read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeaseStamp {
    term: u64,
}

impl GroupView {
    /// The leader as far as this replica knows, itself included.
    pub fn leader(&self) -> Option<NodeId> {
        Some(NodeId(self.leader.load(SeqCst))).filter(|id| id.0 != 0)
    }

    /// The term this replica is in.
    pub fn term(&self) -> u64 {
        self.term.load(SeqCst)
    }

    /// Whether this replica leads (with or without a lease).
    pub fn is_leader(&self) -> bool {
        self.leads_term.load(SeqCst) != 0
    }

    /// Whether the replica's data is whole. A replica still being filled serves nothing, not even eventual reads.
    pub fn is_readable(&self) -> bool {
        self.readable.load(SeqCst)
    }

    /// The last entry applied to the engine.
    pub fn applied_index(&self) -> u64 {
        self.applied.load(SeqCst)
    }

    /// The group's members as of the applied index.
    pub fn members(&self) -> Arc<Members> {
        self.members.read().clone()
    }

    /// Milliseconds of this node's monotonic clock until which the lease holds; 0 without one, `u64::MAX` where it needs nobody's
    /// promise.
    pub fn lease_until_ms(&self) -> u64 {
        self.lease.read().until_ms()
    }

    /// A stamp if this replica holds the lease at `now` (the clock given to the store's turns, read just before).
    pub fn lease_valid(&self, now: Duration) -> Option<LeaseStamp> {
        let term = self.leads_term.load(SeqCst);
        let stamp = LeaseStamp { term };
        (term != 0 && self.still_valid(&stamp, now)).then_some(stamp)
    }

    /// Whether the lease of the stamp still holds at `now`.
    pub fn still_valid(&self, stamp: &LeaseStamp, now: Duration) -> bool {
        // The lease is read before the term: terms only rise, and a lease is cleared before its term ends and set after its term
        // begins, so an unchanged term afterwards proves that the lease read belongs to it.
        let until = self.lease_until_ms();
        self.leads_term.load(SeqCst) == stamp.term && (now.as_millis() as u64) < until
    }

    pub(crate) fn set_leadership(&self, leads_term: Option<u64>, lease: Lease) {
        match leads_term {
            Some(term) if self.leads_term.load(SeqCst) == term => self.set_lease(lease),
            Some(term) => {
                self.set_lease(Lease::Never);
                self.leads_term.store(term, SeqCst);
                self.set_lease(lease);
            }
            None => {
                self.set_lease(Lease::Never);
                self.leads_term.store(0, SeqCst);
            }
        }
    }

    fn set_lease(&self, lease: Lease) {
        // Only the store loop writes, so nothing changes between the look and the change.
        if !self.lease.read().is(&lease) {
            *self.lease.write() = lease;
        }
    }

    pub(crate) fn set_position(&self, term: u64, leader: Option<NodeId>) {
        self.term.store(term, SeqCst);
        self.leader.store(leader.map_or(0, |l| l.0), SeqCst);
    }

    pub(crate) fn set_applied(&self, applied: u64) {
        self.applied.store(applied, SeqCst);
    }

    pub(crate) fn set_readable(&self, readable: bool) {
        self.readable.store(readable, SeqCst);
    }

    pub(crate) fn set_members(&self, members: &Members) {
        *self.members.write() = Arc::new(members.clone());
    }
}
