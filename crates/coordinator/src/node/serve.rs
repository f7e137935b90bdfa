//! Serves requests of other nodes and of this node's own flows.

use super::Inner;
use super::store_task::{ReplyTo, redirect};
use super::topology;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};
use torc_cluster::{GroupId, META_GROUP, NodeId, TableId};
use torc_replica::store::GroupView;
use torc_wire::peer::{
    Answer, IndexHolds, IndexWait, PeerRequest, PeerResponse, Propose, Range, Read, RedirectReason,
    RequestBody, ResponseBody, Rows, TopologyFetch, Value,
};

/// Serves a request of this node's own, in place.
pub(super) async fn serve(node: &Arc<Inner>, request: PeerRequest, deadline: Instant) -> PeerResponse {
    let body = match request.body {
        Some(body) => serve_body(node, body, deadline).await,
        None => redirect(RedirectReason::Invalid, None, "an empty request"),
    };
    PeerResponse { body: Some(body) }
}

/// Serves another node's request. What needs no waiting is answered at once; a proposal is answered by the store loop itself. After
/// the deadline nobody waits for the answer any more: what has not begun by then is not begun, and waiting ends.
pub(super) fn serve_remote(
    node: &Arc<Inner>,
    from: NodeId,
    call: u64,
    request: PeerRequest,
    deadline: Instant,
) {
    let answer = |body| {
        node.outbox.respond(from, Answer { id: call, response: Some(PeerResponse { body: Some(body) }) })
    };
    // The answer would only wait in this node's memory, behind other answers.
    if super::frames::is_congested(node, from) {
        return answer(redirect(RedirectReason::Busy, None, "too many answers wait for the asking node"));
    }
    match request.body {
        None => answer(redirect(RedirectReason::Invalid, None, "a request this version does not know")),
        Some(RequestBody::Propose(propose)) => {
            if let Err(refused) = check_propose(node, &propose) {
                return answer(refused);
            }
            let reply = ReplyTo::Peer { node: from, call };
            if node.store.propose(GroupId(propose.group), propose.command, deadline, reply).is_err() {
                answer(busy());
            }
        }
        Some(body) => {
            if let Some(done) = try_now(node, &body) {
                return answer(done);
            }
            let inner = node.clone();
            node.tasks.spawn(async move {
                match timeout_at(deadline, serve_body(&inner, body, deadline)).await {
                    Ok(body) => {
                        let response = Some(PeerResponse { body: Some(body) });
                        inner.outbox.respond(from, Answer { id: call, response });
                    }
                    Err(_) => inner.store.note_expired(),
                }
            });
        }
    }
}

/// Reads that need no waiting: eventual ones, and strong ones under a valid lease.
fn try_now(node: &Arc<Inner>, body: &RequestBody) -> Option<ResponseBody> {
    match body {
        RequestBody::Read(read) => fast(node, GroupId(read.group), read.strong, || read_key(node, read)),
        RequestBody::Range(range) => {
            fast(node, GroupId(range.group), range.strong, || read_range(node, range))
        }
        RequestBody::Topology(fetch) if !fetch.strong => Some(topology_reply(node, fetch)),
        _ => None,
    }
}

async fn serve_body(node: &Arc<Inner>, body: RequestBody, deadline: Instant) -> ResponseBody {
    if let Some(done) = try_now(node, &body) {
        return done;
    }
    match body {
        RequestBody::Propose(propose) => {
            if let Err(refused) = check_propose(node, &propose) {
                return refused;
            }
            let (sender, receiver) = oneshot::channel();
            let reply = ReplyTo::Local(sender);
            if node.store.propose(GroupId(propose.group), propose.command, deadline, reply).is_err() {
                return busy();
            }
            receiver
                .await
                .unwrap_or_else(|_| redirect(RedirectReason::Ambiguous, None, "the node is shutting down"))
        }
        RequestBody::Read(read) => match node.store.read_barrier(GroupId(read.group)).await {
            Ok(()) => read_key(node, &read),
            Err(refused) => refused,
        },
        RequestBody::Range(range) => match node.store.read_barrier(GroupId(range.group)).await {
            Ok(()) => read_range(node, &range),
            Err(refused) => refused,
        },
        RequestBody::Topology(fetch) => match node.store.read_barrier(META_GROUP).await {
            Ok(()) => topology_reply(node, &fetch),
            Err(refused) => refused,
        },
        RequestBody::IndexWait(wait) => index_wait(node, wait).await,
        RequestBody::Join(join) => super::join::admit(node, join).await,
        RequestBody::BucketCoordinate(_)
        | RequestBody::BucketMerge(_)
        | RequestBody::BucketRead(_)
        | RequestBody::BucketList(_) => node.serve_bucket(body, deadline).await,
    }
}

/// Runs a read now if it may be stale or the lease covers it; `None` if it has to wait for a barrier.
fn fast(
    node: &Arc<Inner>,
    group: GroupId,
    strong: bool,
    read: impl FnOnce() -> ResponseBody,
) -> Option<ResponseBody> {
    let Some(view) = node.store.view(group) else {
        return Some(redirect(RedirectReason::WrongPartition, None, "the group does not live here"));
    };
    if !strong {
        return if view.is_readable() {
            Some(read())
        } else {
            Some(redirect(RedirectReason::Busy, None, "this replica is still being filled"))
        };
    }
    if !view.is_leader() && !node.config.planted.lease_without_support {
        return Some(redirect(RedirectReason::NotLeader, view.leader(), ""));
    }
    lease_read(node, &view, read)
}

fn lease_read(
    node: &Arc<Inner>,
    view: &GroupView,
    read: impl FnOnce() -> ResponseBody,
) -> Option<ResponseBody> {
    if node.config.planted.lease_without_support {
        return Some(read());
    }
    let stamp = view.lease_valid(node.clock.now())?;
    let body = read();
    // The process may have been stopped between the two readings of the clock. Then another replica may lead
    // by now.
    view.still_valid(&stamp, node.clock.now()).then_some(body)
}

/// Waits until an index holds what was acknowledged in one partition of its table. Only a leader knows what was, and only one that
/// certainly leads.
async fn index_wait(node: &Arc<Inner>, wait: IndexWait) -> ResponseBody {
    let group = GroupId(wait.group);
    let Some(view) = node.store.view(group) else { return behind(node, "the group does not live here") };
    if !view.is_leader() {
        return redirect(RedirectReason::NotLeader, view.leader(), "");
    }
    if view.lease_valid(node.clock.now()).is_none()
        && let Err(refused) = node.store.read_barrier(group).await
    {
        return refused;
    }
    let holds = crate::index::caught_up(node, group, TableId(wait.index));
    match tokio::time::timeout(Duration::from_millis(wait.wait_ms.into()), holds).await {
        Ok(true) => ResponseBody::IndexHolds(IndexHolds { all: true }),
        Ok(false) => redirect(RedirectReason::NotLeader, None, ""),
        Err(_) => ResponseBody::IndexHolds(IndexHolds { all: false }),
    }
}

fn busy() -> ResponseBody {
    redirect(RedirectReason::Busy, None, "too many writes wait on this node")
}

fn check_propose(node: &Arc<Inner>, propose: &Propose) -> Result<(), ResponseBody> {
    if node.is_stopping() {
        return Err(redirect(RedirectReason::Busy, None, "shutting down"));
    }
    if node.store.view(GroupId(propose.group)).is_none() {
        return Err(behind(node, "the group does not live here"));
    }
    Ok(())
}

/// Whether the key lies in the group's own range, as this node's topology has it.
fn owns(node: &Arc<Inner>, group: GroupId, key: &[u8]) -> Result<(), ResponseBody> {
    let topology = node.topology.get();
    let Some(partition) = topology::partition_by_group(&topology, group) else {
        return Err(behind(node, "the partition is gone"));
    };
    if torc_replica::machine::table::owns(&partition, key) {
        Ok(())
    } else {
        Err(behind(node, "the key is not in this partition"))
    }
}

fn behind(node: &Arc<Inner>, detail: &str) -> ResponseBody {
    match redirect(RedirectReason::WrongPartition, None, detail) {
        ResponseBody::Redirect(r) => {
            ResponseBody::Redirect(torc_wire::peer::Redirect { epoch: node.topology.epoch().0, ..r })
        }
        other => other,
    }
}

fn storage(error: &torc_engine::Error) -> ResponseBody {
    tracing::error!(%error, "a read failed");
    redirect(RedirectReason::Storage, None, &error.without_paths())
}

fn read_key(node: &Arc<Inner>, read: &Read) -> ResponseBody {
    if let Err(refused) = owns(node, GroupId(read.group), &read.key) {
        return refused;
    }
    match node.engine.get(&read.key) {
        Ok(value) => ResponseBody::Value(Value { value }),
        Err(error) => storage(&error),
    }
}

fn read_range(node: &Arc<Inner>, range: &Range) -> ResponseBody {
    // The end is exclusive: it may be the first key of the next partition, and the coordinator cuts ranges at partition bounds.
    if let Err(refused) = owns(node, GroupId(range.group), &range.start) {
        return refused;
    }
    let mut rows = Rows::default();
    let mut bytes = 0u64;
    for item in node.engine.scan(&range.start, &range.end, range.reverse, None) {
        let item = match item {
            Ok(item) => item,
            Err(error) => return storage(&error),
        };
        if rows.keys.len() >= range.max_rows as usize || bytes >= u64::from(range.max_bytes) {
            rows.more = true;
            break;
        }
        bytes += item.value.len() as u64;
        rows.keys.push(item.key);
        rows.values.push(item.value);
    }
    ResponseBody::Rows(rows)
}

fn topology_reply(node: &Arc<Inner>, fetch: &TopologyFetch) -> ResponseBody {
    ResponseBody::Topology(topology::reply(&node.topology.get(), fetch.have))
}
