//! Support between stores: the promises that leases are based on. See docs/protocols/lease.md.
//!
//! Each store asks each peer, several times per promise, to support its leaderships. A store that supports
//! another neither campaigns nor votes against leaderships that it has confirmed to that store. One promise
//! per pair of stores serves all groups.

use super::config::Timing;
use super::view::Promise;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering::SeqCst;
use torc_cluster::NodeId;
use torc_wire::raft::{Grant, Liveness as Request, Resigned};

/// Identifies an unbroken stretch of one store's support: the supporter's incarnation and its epoch. Later stretches are greater.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct SupportEpoch {
    pub incarnation: u64,
    pub epoch: u64,
}

/// What this store promised to a peer.
#[derive(Clone, Debug)]
struct Given {
    peer_incarnation: u64,
    epoch: u64,
    until_ms: u64,
}

/// What a peer promised to this store.
#[derive(Clone, Debug, Default)]
struct Received {
    epoch: SupportEpoch,
    /// Until when it certainly lasts. Shared with the leases that rest on it; a new stretch has a new one.
    until_ms: Promise,
}

impl Received {
    fn until_ms(&self) -> u64 {
        self.until_ms.load(SeqCst)
    }
}

#[derive(Clone, Debug, Default)]
struct Peer {
    given: Option<Given>,
    received: Received,
    next_request_ms: u64,
    /// The last round trip of a request and its promise.
    round_trip_ms: u64,
    /// The promise given, and the one received, held when they were last looked at.
    gives: bool,
    receives: bool,
    /// Leaderships given up that the peer may not have heard of, with the time of the first request that said so (0: none yet).
    resigned: BTreeMap<u64, (u64, u64)>,
}

impl Peer {
    /// How often this peer is asked. A promise counts from its request, so of a promise over a slow link only the end is left when it
    /// arrives: the next one must arrive before that.
    fn interval_ms(&self, timing: &Timing) -> u64 {
        let left = Timing::counted_ms(timing.lease_ms).saturating_sub(self.round_trip_ms);
        timing.liveness_ms.min(left / 2).max(timing.liveness_ms / 4)
    }
}

/// All promises of one store, given and received.
pub(crate) struct StoreLiveness {
    incarnation: u64,
    timing: Timing,
    peers: BTreeMap<NodeId, Peer>,
    /// The last epoch given to anybody. One counter for all peers: an epoch never comes twice, even to a peer that was forgotten
    /// meanwhile.
    last_epoch: u64,
    /// A promise ended since the last look.
    lapsed: bool,
}

impl StoreLiveness {
    pub(crate) fn new(incarnation: u64, timing: Timing) -> Self {
        Self { incarnation, timing, peers: BTreeMap::new(), last_epoch: 0, lapsed: false }
    }

    /// The stores that share a group with this one. Promises given are kept even to those that no longer do.
    pub(crate) fn set_peers(&mut self, peers: &BTreeSet<NodeId>, now_ms: u64) {
        let lapsed = &mut self.lapsed;
        self.peers.retain(|id, p| {
            let stays = peers.contains(id) || p.given.as_ref().is_some_and(|g| g.until_ms > now_ms);
            *lapsed |= !stays && (p.gives || p.receives);
            stays
        });
        for id in peers {
            self.peers.entry(*id).or_default();
        }
    }

    /// Requests that are due.
    pub(crate) fn due(&mut self, now_ms: u64) -> Vec<(NodeId, Request)> {
        let mut out = Vec::new();
        for (id, peer) in &mut self.peers {
            if now_ms < peer.next_request_ms {
                continue;
            }
            peer.next_request_ms = now_ms + peer.interval_ms(&self.timing);
            let resigned = peer.resigned.iter_mut().map(|(group, (term, told))| {
                if *told == 0 {
                    *told = now_ms.max(1);
                }
                Resigned { group: *group, term: *term }
            });
            let resigned = resigned.collect();
            out.push((*id, Request { sent_at_ms: now_ms, duration_ms: self.timing.lease_ms, resigned }));
        }
        out
    }

    /// Tells all peers, with the next request (sent at once), that a leadership is over.
    pub(crate) fn resign(&mut self, group: u64, term: u64, peers: impl Iterator<Item = NodeId>) {
        for id in peers {
            if let Some(peer) = self.peers.get_mut(&id) {
                peer.resigned.insert(group, (term, 0));
                peer.next_request_ms = 0;
            }
        }
    }

    /// A peer asks for support. `None` if the message is from before a restart of the peer.
    pub(crate) fn on_request(
        &mut self,
        from: NodeId,
        incarnation: u64,
        request: &Request,
        now_ms: u64,
    ) -> Option<Grant> {
        let duration_ms = request.duration_ms.min(self.timing.lease_ms);
        let peer = self.peers.entry(from).or_default();
        let (epoch, until_ms) = match &peer.given {
            Some(g) if g.peer_incarnation > incarnation => return None,
            Some(g) if g.peer_incarnation == incarnation && now_ms < g.until_ms => (g.epoch, g.until_ms),
            _ => {
                self.lapsed |= std::mem::take(&mut peer.gives);
                self.last_epoch += 1;
                (self.last_epoch, 0)
            }
        };
        let until_ms = until_ms.max(now_ms + duration_ms);
        peer.gives = true;
        peer.given = Some(Given { peer_incarnation: incarnation, epoch, until_ms });
        Some(Grant { sent_at_ms: request.sent_at_ms, to_incarnation: incarnation, epoch, duration_ms })
    }

    /// A peer supports this store. Returns true if a new stretch of support began, or if this one had lapsed in the eyes of this
    /// store: the peer was counted as absent, and what it missed must be made up for. (The two differ when only the way back was
    /// cut: the peer has heard every request.)
    pub(crate) fn on_grant(&mut self, from: NodeId, incarnation: u64, grant: &Grant, now_ms: u64) -> bool {
        // Times from before a restart of this store do not fit its present clock.
        if grant.to_incarnation != self.incarnation {
            return false;
        }
        let Some(peer) = self.peers.get_mut(&from) else { return false };
        peer.round_trip_ms = now_ms.saturating_sub(grant.sent_at_ms);
        peer.resigned.retain(|_, (_, told)| *told == 0 || *told > grant.sent_at_ms);
        let epoch = SupportEpoch { incarnation, epoch: grant.epoch };
        if epoch < peer.received.epoch {
            return false;
        }
        let until_ms = grant.sent_at_ms.saturating_add(Timing::counted_ms(grant.duration_ms));
        let began = epoch != peer.received.epoch;
        let was_live = now_ms < peer.received.until_ms();
        if began {
            self.lapsed |= peer.receives;
            peer.received = Received { epoch, until_ms: Promise::new(until_ms.into()) };
        } else {
            peer.received.until_ms.fetch_max(until_ms, SeqCst);
        }
        let live = now_ms < peer.received.until_ms();
        peer.receives |= live;
        began || (!was_live && live)
    }

    /// Whether a promise, given or received, ended since the last call.
    pub(crate) fn take_lapsed(&mut self, now_ms: u64) -> bool {
        let mut lapsed = std::mem::take(&mut self.lapsed);
        for peer in self.peers.values_mut() {
            if peer.gives && peer.given.as_ref().is_none_or(|g| now_ms >= g.until_ms) {
                peer.gives = false;
                lapsed = true;
            }
            if peer.receives && now_ms >= peer.received.until_ms() {
                peer.receives = false;
                lapsed = true;
            }
        }
        lapsed
    }

    /// The present stretch of a peer's support, to be shared with leases.
    pub(crate) fn promise_of(&self, peer: NodeId) -> Option<Promise> {
        self.peers.get(&peer).map(|p| p.received.until_ms.clone())
    }

    /// The epoch under which this store supports a peer right now.
    pub(crate) fn supporting(&self, peer: NodeId, now_ms: u64) -> Option<u64> {
        self.given(peer, now_ms).map(|g| g.epoch)
    }

    /// Until when this store supports a peer under the given epoch.
    pub(crate) fn supporting_until(&self, peer: NodeId, epoch: u64, now_ms: u64) -> Option<u64> {
        self.given(peer, now_ms).filter(|g| g.epoch == epoch).map(|g| g.until_ms)
    }

    /// The present stretch of a peer's support and until when it certainly lasts (this store's clock).
    pub(crate) fn support_from(&self, peer: NodeId) -> (SupportEpoch, u64) {
        self.peers
            .get(&peer)
            .map_or((SupportEpoch::default(), 0), |p| (p.received.epoch, p.received.until_ms()))
    }

    /// The longest of the last round trips to the peers heard of; 0 while none was measured.
    pub(crate) fn slowest_round_trip_ms(&self) -> u64 {
        self.peers.values().map(|p| p.round_trip_ms).max().unwrap_or(0)
    }

    /// Whether a peer is known to support this store now.
    pub(crate) fn is_live(&self, peer: NodeId, now_ms: u64) -> bool {
        now_ms < self.support_from(peer).1
    }

    fn given(&self, peer: NodeId, now_ms: u64) -> Option<&Given> {
        self.peers.get(&peer)?.given.as_ref().filter(|g| now_ms < g.until_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: NodeId = NodeId(1);
    const B: NodeId = NodeId(2);

    fn store(incarnation: u64, peer: NodeId) -> StoreLiveness {
        let mut s = StoreLiveness::new(incarnation, Timing::default());
        s.set_peers(&BTreeSet::from([peer]), 0);
        s
    }

    fn request(s: &mut StoreLiveness, now: u64) -> Request {
        let mut due = s.due(now);
        assert_eq!(due.len(), 1, "one request is due at {now}");
        due.remove(0).1
    }

    #[test]
    fn a_promise_counts_from_its_request_and_less_than_it_binds() {
        let (mut a, mut b) = (store(7, B), store(3, A));
        let r = request(&mut a, 1000);
        assert!(a.due(1100).is_empty());
        // The clocks of a and b have nothing in common.
        let granted = b.on_request(A, 7, &r, 500_000).unwrap();
        assert!(a.on_grant(B, 3, &granted, 1010));
        assert_eq!(a.support_from(B), (SupportEpoch { incarnation: 3, epoch: 1 }, 1000 + 720));
        assert_eq!(b.supporting_until(A, 1, 500_000), Some(500_800));
        assert_eq!(b.supporting(A, 500_799), Some(1));
        assert_eq!(b.supporting(A, 500_800), None);
        // Renewed in time: the same stretch.
        let r = request(&mut a, 1200);
        let granted = b.on_request(A, 7, &r, 500_300).unwrap();
        assert_eq!(granted.epoch, 1);
        assert!(!a.on_grant(B, 3, &granted, 1210));
        assert_eq!(a.support_from(B).1, 1200 + 720);
        // An old grant that comes late shortens nothing.
        assert!(!a.on_grant(
            B,
            3,
            &Grant { sent_at_ms: 1000, to_incarnation: 7, epoch: 1, duration_ms: 800 },
            1300
        ));
        assert_eq!(a.support_from(B).1, 1200 + 720);
        // A gap begins a new stretch.
        let r = request(&mut a, 3000);
        let granted = b.on_request(A, 7, &r, 502_000).unwrap();
        assert_eq!(granted.epoch, 2);
        assert!(a.on_grant(B, 3, &granted, 3010));
        assert_eq!(a.support_from(B).0, SupportEpoch { incarnation: 3, epoch: 2 });
        // A grant of the stretch before is of no use any more.
        assert!(!a.on_grant(
            B,
            3,
            &Grant { sent_at_ms: 3000, to_incarnation: 7, epoch: 1, duration_ms: 800 },
            3020
        ));
        assert_eq!(a.support_from(B).1, 3000 + 720);
    }

    #[test]
    fn a_peer_whose_grants_were_lost_is_back_although_it_never_lapsed() {
        let (mut a, mut b) = (store(7, B), store(3, A));
        let first = b.on_request(A, 7, &request(&mut a, 1000), 0).unwrap();
        assert!(a.on_grant(B, 3, &first, 1010));
        // Requests arrive, so the stretch goes on; grants do not, so a takes b for absent from 1720 on.
        for (asked, heard) in [(1200, 200), (1600, 600)] {
            assert_eq!(b.on_request(A, 7, &request(&mut a, asked), heard).unwrap().epoch, 1);
        }
        assert!(!a.is_live(B, 1720));
        let healed = b.on_request(A, 7, &request(&mut a, 1800), 800).unwrap();
        assert_eq!(healed.epoch, 1);
        // A grant so old that it proves nothing brings nobody back.
        assert!(!a.on_grant(
            B,
            3,
            &Grant { sent_at_ms: 1010, to_incarnation: 7, epoch: 1, duration_ms: 800 },
            1810
        ));
        assert!(a.on_grant(B, 3, &healed, 1810));
        assert!(!a.on_grant(B, 3, &healed, 1811));
    }

    #[test]
    fn lives_are_kept_apart() {
        let (mut a, mut b) = (store(7, B), store(3, A));
        let old = request(&mut a, 1000);
        let granted = b.on_request(A, 7, &old, 0).unwrap();
        // The requester restarts: its leaderships are gone, so support starts over.
        let mut a = store(8, B);
        assert!(!a.on_grant(B, 3, &granted, 10), "a grant to an earlier life");
        let again = b.on_request(A, 8, &request(&mut a, 5), 100).unwrap();
        assert!(again.epoch == 2);
        assert!(b.on_request(A, 7, &old, 150).is_none(), "a request of an earlier life");
        // The supporter restarts: its epochs start over, its incarnation does not.
        assert!(a.on_grant(B, 3, &again, 20));
        let mut b = store(4, A);
        let fresh = b.on_request(A, 8, &request(&mut a, 205), 0).unwrap();
        assert!(a.on_grant(B, 4, &fresh, 210));
        assert!(a.support_from(B).0 > SupportEpoch { incarnation: 3, epoch: 2 });
    }

    #[test]
    fn a_forgotten_peer_gets_no_epoch_twice() {
        let (mut a, mut b) = (store(7, B), store(3, A));
        let first = b.on_request(A, 7, &request(&mut a, 1000), 0).unwrap();
        b.set_peers(&BTreeSet::new(), 100);
        assert_eq!(b.supporting(A, 100), Some(first.epoch), "a promise outlives the reason for it");
        b.set_peers(&BTreeSet::new(), 5_000);
        b.set_peers(&BTreeSet::from([A]), 5_000);
        let second = b.on_request(A, 7, &request(&mut a, 6000), 5_000).unwrap();
        assert!(second.epoch > first.epoch);
    }

    #[test]
    fn resignations_are_repeated_until_heard() {
        let (mut a, mut b) = (store(7, B), store(3, A));
        request(&mut a, 1000);
        a.resign(16, 4, [B].into_iter());
        assert_eq!(request(&mut a, 1010).resigned, [Resigned { group: 16, term: 4 }]);
        let lost_then_heard = request(&mut a, 1300);
        assert_eq!(lost_then_heard.resigned.len(), 1);
        // A grant for a request sent before the resignation proves nothing.
        a.on_grant(B, 3, &Grant { sent_at_ms: 1000, to_incarnation: 7, epoch: 1, duration_ms: 800 }, 1400);
        let granted = b.on_request(A, 7, &lost_then_heard, 0).unwrap();
        assert_eq!(request(&mut a, 1500).resigned.len(), 1);
        a.on_grant(B, 3, &granted, 1510);
        assert!(request(&mut a, 1700).resigned.is_empty());
    }
}
