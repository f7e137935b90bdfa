//! What this node believes of the others: gossip's verdict, corrected by what it sees itself.

use crate::ports::Clock;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use torc_cluster::NodeId;
use torc_cluster::gossip::Liveness as Verdict;

/// After a connection broke, the peer counts as unreachable for this long unless it is heard of again.
const BROKEN: Duration = Duration::from_millis(500);

#[derive(Clone, Copy, Debug, Default)]
struct Peer {
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
