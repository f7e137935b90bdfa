//! Sends and receives frames. All messages between two nodes pass through here.

use super::Inner;
use super::serve;
use crate::ports::Class;
use bytes::Bytes;
use prost::Message as _;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use torc_cluster::{Epoch, NodeId};
use torc_wire::peer::{Answer, Frame, PeerResponse, RequestBody};

/// Requests and answers queued for one peer, bytes, from which on no more are added.
const MAX_BACKLOG_BYTES: usize = 32 << 20;

/// The longest that a request is worked on, whatever its caller says.
const MAX_PATIENCE: Duration = Duration::from_secs(60);

/// Takes a frame from the network. Anything malformed, foreign or misaddressed is dropped.
pub(super) fn deliver(node: &Arc<Inner>, class: Class, bytes: Bytes) {
    let frame = match Frame::decode(bytes) {
        Ok(frame) => frame,
        Err(error) => {
            tracing::warn!(%error, "a frame that can't be read was dropped");
            return;
        }
    };
    let identity = node.identity();
    if identity.node.0 == 0 || (frame.from != 0 && frame.to == 0) {
        // The answer to this node's own wish to join, before it has a number. It may come from a node that has none either.
        for answer in frame.responses {
            if let Some(response) = answer.response {
                node.calls.complete(answer.id, response);
            }
        }
        if frame.from == 0 {
            join_request(node, Frame { responses: Vec::new(), ..frame });
        }
        return;
    }
    if frame.from == 0 {
        join_request(node, frame);
        return;
    }
    if frame.cluster_id != identity.cluster_id || frame.to != identity.node.0 {
        tracing::debug!(
            from = frame.from,
            cluster = frame.cluster_id,
            "a frame for another cluster or node was dropped"
        );
        return;
    }
    let from = NodeId(frame.from);
    node.liveness.heard(from);
    node.note_epoch(from, Epoch(frame.epoch));
    if !frame.raft.is_empty() {
        node.store.raft_frame(from, class, frame.raft);
    }
    if !frame.gossip.is_empty() {
        node.gossip.datagram(from, frame.gossip);
    }
    for answer in frame.responses {
        if let Some(response) = answer.response {
            node.calls.complete(answer.id, response);
        }
    }
    for call in frame.requests {
        if !node.replay_guard.admit(from, call.id) {
            continue;
        }
        if let Some(request) = call.request {
            let deadline = Instant::now() + patience(call.deadline_ms);
            serve::serve_remote(node, from, call.id, request, deadline);
        }
    }
}

/// How long a caller waits from now on. The time on the way is not known, so that an answer may come too late by it.
fn patience(deadline_ms: u32) -> Duration {
    match deadline_ms {
        0 => MAX_PATIENCE,
        ms => Duration::from_millis(ms.into()).min(MAX_PATIENCE),
    }
}

/// A frame of this node's own that was thrown away before any of it was sent.
pub(super) fn unsent(node: &Inner, bytes: Bytes) {
    if let Ok(frame) = Frame::decode(bytes) {
        for call in frame.requests {
            node.calls.unsent(call.id);
        }
    }
}

/// A node without a number asks for one; nothing else is accepted from it.
fn join_request(node: &Arc<Inner>, frame: Frame) {
    for call in frame.requests {
        let Some(RequestBody::Join(join)) = call.request.and_then(|r| r.body) else { continue };
        let (inner, addr) = (node.clone(), frame.from_addr.clone());
        node.tasks.spawn(async move {
            let response = super::join::admit(&inner, join).await;
            let answer = Answer { id: call.id, response: Some(PeerResponse { body: Some(response) }) };
            let identity = inner.identity();
            let frame = Frame {
                cluster_id: identity.cluster_id,
                from: identity.node.0,
                epoch: inner.topology.epoch().0,
                from_addr: inner.config.addr.clone(),
                responses: vec![answer],
                ..Frame::default()
            };
            inner.transport.send(&addr, Class::Requests, Bytes::from(frame.encode_to_vec()));
        });
    }
}

/// Sends whatever the outbox holds, whenever it holds something.
pub(super) async fn flush_outbox(node: Arc<Inner>) {
    loop {
        node.outbox.wait().await;
        send_outbox(&node);
    }
}

/// Sends whatever the outbox holds now.
pub(super) fn send_outbox(node: &Inner) {
    for (to, pending) in node.outbox.drain() {
        for frame in pending.into_frames() {
            send(node, to, Class::Requests, frame);
        }
    }
}

/// Whether so much is queued for a peer that nothing should be added: what it asks for is refused, what is for it is not sent.
pub(super) fn is_congested(node: &Inner, to: NodeId) -> bool {
    node.address(to).is_some_and(|addr| node.transport.backlog(&addr, Class::Requests) >= MAX_BACKLOG_BYTES)
}

/// Addresses a frame and hands it to the transport. A peer without a known address gets nothing.
pub(super) fn send(node: &Inner, to: NodeId, class: Class, mut frame: Frame) {
    let Some(addr) = node.address(to) else { return };
    let identity = node.identity();
    frame.cluster_id = identity.cluster_id;
    frame.from = identity.node.0;
    frame.to = to.0;
    frame.epoch = node.topology.epoch().0;
    node.transport.send(&addr, class, Bytes::from(frame.encode_to_vec()));
}
