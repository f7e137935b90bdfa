//! How a node becomes a member. The first node founds the cluster; every other node asks a member for a node
//! number.

use super::identity::Identity;
use super::topology::{from_reply, reply};
use super::{Inner, NodeError};
use crate::ports::Class;
use bytes::Bytes;
use prost::Message as _;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout};
use torc_cluster::NodeId;
use torc_cluster::topology::{Command, Response};
use torc_wire::peer::{
    Call, Frame, Join, Joined, PeerRequest, Redirect, RedirectReason, RequestBody, ResponseBody,
};

/// How long one seed has to answer before the next is asked. The time doubles from the first value up to the
/// second. A frame to a process that is still starting is lost, so the first tries are short. Asking again
/// does no harm: a known node gets the same number again.
const MIN_ASK_TIMEOUT: Duration = Duration::from_millis(200);
const MAX_ASK_TIMEOUT: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_millis(200);
const REGISTER_DEADLINE: Duration = Duration::from_secs(2);

/// Asks the seeds in turn until one of them has this node registered. Returns the identity to keep, with the topology published.
pub(super) async fn join(node: &Arc<Inner>, mut identity: Identity) -> Result<Identity, NodeError> {
    let mut seeds = node.config.join.iter().cycle();
    let mut tries = 0u64;
    let mut patience = MIN_ASK_TIMEOUT;
    loop {
        let Some(seed) = seeds.next() else { return Err(NodeError::NoSeeds) };
        let problem = match ask(node, seed, &identity, patience).await {
            Ok(joined) => {
                identity.cluster_id = joined.cluster_id;
                identity.node = NodeId(joined.node);
                if let Some(topology) = joined.topology.as_ref().and_then(from_reply) {
                    node.topology.publish(Arc::new(topology));
                }
                *node.join_problem.lock() = None;
                return Ok(identity);
            }
            Err(problem) => problem,
        };
        tries += 1;
        patience = (patience * 2).min(MAX_ASK_TIMEOUT);
        let cause = problem.to_string();
        let news = match problem {
            // A seed that is starting itself does not answer at first.
            Problem::Silent(_) => tries.is_multiple_of(10),
            Problem::Refused(..) => node.join_problem.lock().as_ref() != Some(&cause),
        };
        if news {
            tracing::warn!(cause, "this node could not join yet; still trying");
        }
        *node.join_problem.lock() = Some(cause);
        sleep(PAUSE).await;
    }
}

/// Why a seed did not let this node join.
#[derive(Debug, thiserror::Error)]
enum Problem {
    #[error("no answer from {0}")]
    Silent(String),
    #[error("{0} refused: {1}")]
    Refused(String, String),
}

async fn ask(
    node: &Arc<Inner>,
    seed: &str,
    identity: &Identity,
    patience: Duration,
) -> Result<Joined, Problem> {
    let request = PeerRequest {
        body: Some(RequestBody::Join(Join {
            uuid: Bytes::copy_from_slice(&identity.uuid),
            addr: node.config.addr.clone(),
            api_addr: node.config.api_addr.clone(),
            zone: node.config.zone.clone(),
            weight: node.config.weight,
        })),
    };
    let (id, _guard, answer) = node.calls.register(NodeId(0));
    let frame = Frame {
        from_addr: node.config.addr.clone(),
        requests: vec![Call { id, deadline_ms: patience.as_millis() as u32, request: Some(request) }],
        ..Frame::default()
    };
    node.transport.send(seed, Class::Requests, Bytes::from(frame.encode_to_vec()));
    let answer = timeout(patience, answer).await.ok().and_then(Result::ok).and_then(Result::ok);
    match answer.and_then(|response| response.body) {
        Some(ResponseBody::Joined(joined)) => Ok(joined),
        Some(ResponseBody::Redirect(redirect)) => Err(Problem::Refused(seed.to_owned(), redirect.detail)),
        Some(_) => Err(Problem::Refused(seed.to_owned(), "an answer that this version does not know".into())),
        None => Err(Problem::Silent(seed.to_owned())),
    }
}

/// A member's side of [`join`].
pub(super) async fn admit(node: &Arc<Inner>, join: Join) -> ResponseBody {
    match register(node, join).await {
        Ok(joined) => ResponseBody::Joined(joined),
        Err(detail) => ResponseBody::Redirect(Redirect {
            reason: RedirectReason::Busy.into(),
            node: 0,
            epoch: node.topology.epoch().0,
            detail,
        }),
    }
}

async fn register(node: &Arc<Inner>, join: Join) -> Result<Joined, String> {
    let identity = node.identity();
    // The founder uses number 1 before it is registered. Admitting another node earlier would give that
    // number to it.
    if node.topology.get().node_by_uuid(&identity.uuid).is_none_or(|own| own.id != identity.node) {
        return Err("this node is not registered itself yet".into());
    }
    let uuid = join.uuid.as_ref().try_into().map_err(|_| "a node identity has 16 bytes".to_string())?;
    let command = Command::RegisterNode {
        addr: join.addr,
        api_addr: join.api_addr,
        zone: join.zone,
        weight: join.weight,
        uuid,
    };
    let deadline = Instant::now() + REGISTER_DEADLINE;
    match node.meta.execute(&command, deadline).await {
        Ok(Response::Node(id)) => Ok(Joined {
            cluster_id: identity.cluster_id,
            node: id.0,
            topology: Some(reply(&node.topology.get(), 0)),
        }),
        Ok(other) => Err(format!("unexpected answer {other:?}")),
        Err(error) => Err(error.to_string()),
    }
}
