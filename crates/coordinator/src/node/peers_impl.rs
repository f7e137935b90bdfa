//! Calls to other nodes through the outbox. Calls of a node to itself do not use the network.

use super::Inner;
use crate::peers::{PeerError, Peers};
use futures::future::BoxFuture;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::time::{Instant, timeout_at};
use torc_cluster::NodeId;
use torc_wire::peer::{Call, PeerRequest, PeerResponse};

/// The node's own way to its peers. Weak, because the flows that hold it are held by the node.
pub(super) struct NodePeers {
    pub(super) node: Weak<Inner>,
    /// This node's number; 0 until it has joined.
    pub(super) local: Arc<AtomicU64>,
}

impl Peers for NodePeers {
    fn local(&self) -> NodeId {
        NodeId(self.local.load(Ordering::Relaxed))
    }

    fn call(
        &self,
        to: NodeId,
        request: PeerRequest,
        deadline: Duration,
    ) -> BoxFuture<'_, Result<PeerResponse, PeerError>> {
        Box::pin(async move {
            let Some(node) = self.node.upgrade() else { return Err(PeerError::Unreachable(to)) };
            if to == self.local() {
                let until = Instant::now() + deadline;
                let served = super::serve::serve(&node, request, until);
                return timeout_at(until, served).await.map_err(|_| PeerError::Timeout(to));
            }
            if !node.liveness.is_reachable(to) || !is_connected(&node, to) {
                return Err(PeerError::Unreachable(to));
            }
            if super::frames::is_congested(&node, to) {
                return Err(PeerError::Congested(to));
            }
            let (id, _guard, answer) = node.calls.register(to);
            // Rounded up: 0 would mean that there is none.
            let deadline_ms = u32::try_from(deadline.as_micros().div_ceil(1000)).unwrap_or(u32::MAX);
            node.outbox.request(to, Call { id, deadline_ms, request: Some(request) });
            match tokio::time::timeout(deadline, answer).await {
                Ok(Ok(result)) => result,
                Ok(Err(_)) | Err(_) => Err(PeerError::Timeout(to)),
            }
        })
    }

    fn is_alive(&self, node: NodeId) -> bool {
        let alive = |inner: Arc<Inner>| inner.liveness.is_alive(node) && is_connected(&inner, node);
        node == self.local() || self.node.upgrade().is_some_and(alive)
    }

    fn round_trip(&self, node: NodeId) -> Duration {
        self.node.upgrade().map_or(Duration::ZERO, |inner| inner.liveness.round_trip(node))
    }
}

/// Whether a frame for the peer would leave: it has an address, and the connection there is not known to be broken.
fn is_connected(node: &Inner, to: NodeId) -> bool {
    node.topology.get().node(to).is_some_and(|info| !node.transport.is_broken(&info.addr))
}
