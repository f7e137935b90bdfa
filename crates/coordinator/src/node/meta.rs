//! Calls to the meta group: commands that change the topology, and fetching the topology.

use super::topology::{TopologyCell, from_reply};
use crate::peers::Peers;
use crate::tables::route::{Repeat, RouteError, Router, Target};
use bytes::Bytes;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use torc_cluster::topology::{Command, Response};
use torc_cluster::{Epoch, META_GROUP, NodeId};
use torc_replica::machine::meta::{MetaOutcome, Refusal};
use torc_wire::peer::{PeerRequest, Propose, RequestBody, ResponseBody, TopologyFetch};

/// How long one fetch from one node may take, beside the measured round trip. Long enough for a slow link that was never measured.
const FETCH_TIMEOUT: Duration = Duration::from_secs(1);
/// How long a command waits for this node's own copy to catch up with what it changed.
const CATCH_UP: Duration = Duration::from_secs(1);

/// Why a topology command did not succeed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MetaError {
    /// The command does not fit the present topology; nothing changed.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The meta group could not be reached, or the outcome is not known.
    #[error(transparent)]
    Route(#[from] RouteError),
}

/// A client of the meta group.
pub struct Meta {
    peers: Arc<dyn Peers>,
    router: Arc<Router>,
    topology: Arc<TopologyCell>,
}

impl Meta {
    /// A client that keeps `topology` fresh.
    pub fn new(peers: Arc<dyn Peers>, router: Arc<Router>, topology: Arc<TopologyCell>) -> Self {
        Self { peers, router, topology }
    }

    /// Runs a command through the meta group and waits (a little) until this node knows its effect.
    pub async fn execute(&self, command: &Command, deadline: Instant) -> Result<Response, MetaError> {
        let bytes = Bytes::from(command.encode());
        let make = |_: &torc_cluster::Partition, epoch: Epoch| PeerRequest {
            body: Some(RequestBody::Propose(Propose {
                group: META_GROUP.0,
                epoch: epoch.0,
                command: bytes.clone(),
            })),
        };
        let target = Target::Group(META_GROUP);
        let response = self.router.to_leader(target, Repeat::OnlyIfUndone, deadline, make).await?;
        let Some(ResponseBody::Proposed(proposed)) = response.body else {
            return Err(RouteError::Ambiguous("an answer of the wrong kind".into()).into());
        };
        let outcome = MetaOutcome::decode(&proposed.response)
            .map_err(|e| RouteError::Ambiguous(format!("unreadable outcome: {e}")))?;
        let (epoch, response) = outcome.into_result()?;
        if self.topology.epoch() < epoch {
            // The command has succeeded. If refreshing fails, this node only sees the effect a little later.
            let _ = self.refresh_from_leader(deadline).await;
            self.topology.wait_for(epoch, CATCH_UP).await;
        }
        Ok(response)
    }

    /// Fetches the topology from the meta group's leader: afterwards this node knows every change
    /// acknowledged before the call.
    pub async fn refresh_from_leader(&self, deadline: Instant) -> Result<(), RouteError> {
        let have = self.topology.epoch().0;
        let make = |_: &torc_cluster::Partition, _| PeerRequest {
            body: Some(RequestBody::Topology(TopologyFetch { have, strong: true })),
        };
        let response = self.router.to_leader(Target::Group(META_GROUP), Repeat::Safe, deadline, make).await?;
        match response.body {
            Some(ResponseBody::Topology(reply)) => {
                if let Some(topology) = from_reply(&reply) {
                    self.topology.publish(Arc::new(topology));
                }
                Ok(())
            }
            _ => Err(RouteError::Unavailable("an answer of the wrong kind".into())),
        }
    }

    /// Fetches from one node whatever it knows.
    pub async fn fetch_from(&self, node: NodeId) {
        let have = self.topology.epoch().0;
        let request =
            PeerRequest { body: Some(RequestBody::Topology(TopologyFetch { have, strong: false })) };
        let patience = FETCH_TIMEOUT + self.peers.round_trip(node);
        if let Ok(response) = self.peers.call(node, request, patience).await
            && let Some(ResponseBody::Topology(reply)) = response.body
            && let Some(topology) = from_reply(&reply)
        {
            self.topology.publish(Arc::new(topology));
        }
    }

    /// Fetches until this node knows at least `epoch`, or a round of meta members and other nodes has been
    /// asked.
    pub async fn refresh(&self, at_least: Epoch) {
        if at_least.0 != 0 && self.topology.epoch() >= at_least {
            return;
        }
        let topology = self.topology.get();
        let mut nodes: Vec<NodeId> = topology.meta_members().to_vec();
        nodes.extend(topology.nodes().map(|n| n.id).filter(|id| !topology.meta_members().contains(id)));
        nodes.retain(|n| *n != self.peers.local());
        nodes.sort_by_key(|n| !self.peers.is_alive(*n));
        for node in nodes {
            self.fetch_from(node).await;
            if self.topology.epoch() >= at_least {
                return;
            }
        }
    }
}
