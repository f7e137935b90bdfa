//! Which other nodes this node considers alive. The base is gossip's verdict; what this node observes itself
//! corrects it.

use crate::ports::Clock;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use torc_cluster::NodeId;
use torc_cluster::gossip::Liveness as Verdict;

/// After a connection broke, the peer counts as unreachable for this long unless it is heard of again.
const BROKEN: Duration = Duration::from_millis(500);

/// Round trips to a peer, smoothed as TCP smooths them (RFC 6298): the mean with a gain of 1/8, the deviation
/// with a gain of 1/4.
#[derive(Clone, Copy, Debug, Default)]
struct RoundTrip {
    mean: Duration,
    deviation: Duration,
}

impl RoundTrip {
    fn note(known: Option<Self>, sample: Duration) -> Self {
        let Some(known) = known else { return Self { mean: sample, deviation: sample / 2 } };
        let error = known.mean.abs_diff(sample);
        Self { mean: (known.mean * 7 + sample) / 8, deviation: (known.deviation * 3 + error) / 4 }
    }

    /// A time that hardly any answer exceeds.
    fn bound(self) -> Duration {
        self.mean + self.deviation * 4
    }
}

#[derive(Clone, Copy, Debug, Default)]
struct Peer {
    round_trip: Option<RoundTrip>,
    gossip: Option<Verdict>,
    /// Monotonic time at which the last connection to it broke.
    broken_at: Option<Duration>,
}

/// Liveness of all peers. A node never heard of counts as alive: trying it is how one finds out.
pub struct Liveness {
    peers: Mutex<BTreeMap<NodeId, Peer>>,
    clock: Arc<dyn Clock>,
}

impl Liveness {
    /// Uses `clock` to age what is known.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { peers: Mutex::default(), clock }
    }

    /// A frame of the peer arrived.
    pub fn heard(&self, node: NodeId) {
        self.peers.lock().entry(node).or_default().broken_at = None;
    }

    /// A round trip to the peer took this long.
    pub fn note_round_trip(&self, node: NodeId, sample: Duration) {
        let mut peers = self.peers.lock();
        let peer = peers.entry(node).or_default();
        peer.round_trip = Some(RoundTrip::note(peer.round_trip, sample));
    }

    /// A time that hardly any round trip to the peer exceeds; zero while none was measured.
    pub fn round_trip(&self, node: NodeId) -> Duration {
        self.peers.lock().get(&node).and_then(|p| p.round_trip).map_or(Duration::ZERO, RoundTrip::bound)
    }

    /// The connection to the peer broke.
    pub fn broken(&self, node: NodeId) {
        let now = self.clock.now();
        self.peers.lock().entry(node).or_default().broken_at = Some(now);
    }

    /// Gossip's verdict changed.
    pub fn gossip(&self, node: NodeId, state: Verdict) {
        self.peers.lock().entry(node).or_default().gossip = Some(state);
    }

    /// Whether sending to the peer makes sense at all: false only while its connection is freshly broken.
    pub fn is_reachable(&self, node: NodeId) -> bool {
        let now = self.clock.now();
        let peers = self.peers.lock();
        let Some(peer) = peers.get(&node) else { return true };
        peer.broken_at.is_none_or(|at| now.saturating_sub(at) > BROKEN)
    }

    /// Whether the peer is worth asking before others.
    pub fn is_alive(&self, node: NodeId) -> bool {
        let now = self.clock.now();
        let peers = self.peers.lock();
        let Some(peer) = peers.get(&node) else { return true };
        let down = peer.gossip == Some(Verdict::Down);
        let broken = peer.broken_at.is_some_and(|at| now.saturating_sub(at) <= BROKEN);
        !down && !broken
    }

    /// The state to show to people.
    pub fn state(&self, node: NodeId) -> Verdict {
        if !self.is_reachable(node) {
            return Verdict::Down;
        }
        self.peers.lock().get(&node).and_then(|p| p.gossip).unwrap_or(Verdict::Alive)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trips_are_followed_up_and_down() {
        let mut known = None;
        for _ in 0..50 {
            known = Some(RoundTrip::note(known, Duration::from_millis(2)));
        }
        assert!(known.unwrap().bound() < Duration::from_millis(4), "{known:?}");
        known = Some(RoundTrip::note(known, Duration::from_millis(600)));
        assert!(known.unwrap().bound() > Duration::from_millis(600), "one slow answer is enough: {known:?}");
        for _ in 0..50 {
            known = Some(RoundTrip::note(known, Duration::from_millis(2)));
        }
        assert!(known.unwrap().bound() < Duration::from_millis(10), "{known:?}");
    }
}
