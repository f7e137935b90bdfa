//! Requests from this node to another node (or to itself, without the network), each with a deadline.

use futures::future::BoxFuture;
use std::time::Duration;
use torc_cluster::NodeId;
use torc_wire::peer::{PeerRequest, PeerResponse};

/// Why a peer gave no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PeerError {
    /// No answer within the deadline, or the connection broke: whether the request took effect is unknown.
    #[error("no answer from {0} in time")]
    Timeout(NodeId),
    /// The node is known to be down or has no address: the request was not sent.
    #[error("{0} is not reachable")]
    Unreachable(NodeId),
    /// So much waits to be sent to the node that the request was not sent.
    #[error("the link to {0} is congested")]
    Congested(NodeId),
}

/// Calls peers. Implemented by the node; a test double in unit tests.
pub trait Peers: Send + Sync {
    /// This node.
    fn local(&self) -> NodeId;
    /// Sends a request and waits for the answer, at most `deadline`. A call to the local node is handled in
    /// place.
    fn call(
        &self,
        to: NodeId,
        request: PeerRequest,
        deadline: Duration,
    ) -> BoxFuture<'_, Result<PeerResponse, PeerError>>;
    /// Whether gossip and recent traffic hold the node to be alive.
    fn is_alive(&self, node: NodeId) -> bool;
    /// How long an answer of this node may take on the way, by the round trips measured so far. Zero while
    /// nothing is known.
    fn round_trip(&self, _node: NodeId) -> Duration {
        Duration::ZERO
    }
}
