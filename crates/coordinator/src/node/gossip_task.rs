//! The task that runs gossip. It passes datagrams and time to the sans-IO facade of the cluster crate.

use super::{Inner, frames};
use crate::ports::Class;
use bytes::Bytes;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use torc_cluster::NodeId;
use torc_cluster::gossip::{Gossip, GossipEvent, GossipOutput, Hints};
use torc_wire::peer::Frame;

/// Shortest sleep between two looks at gossip's timers.
const MIN_SLEEP: Duration = Duration::from_millis(5);
/// Longest: a new topology is noticed at least this often.
const MAX_SLEEP: Duration = Duration::from_millis(250);

/// Where datagrams wait for the task.
pub(super) struct GossipQueue {
    sender: mpsc::UnboundedSender<(NodeId, Bytes)>,
}

impl GossipQueue {
    pub(super) fn new() -> (Self, mpsc::UnboundedReceiver<(NodeId, Bytes)>) {
        let (sender, receiver) = mpsc::unbounded_channel();
        (Self { sender }, receiver)
    }

    pub(super) fn datagram(&self, from: NodeId, datagram: Bytes) {
        // The task is gone only when the node is.
        let _ = self.sender.send((from, datagram));
    }
}

pub(super) async fn run(
    node: Arc<Inner>,
    mut gossip: Gossip,
    mut datagrams: mpsc::UnboundedReceiver<(NodeId, Bytes)>,
) {
    let mut told = None;
    loop {
        let now = node.clock.now();
        let sleep = gossip.next_deadline().saturating_sub(now).clamp(MIN_SLEEP, MAX_SLEEP);
        tokio::select! {
            biased;
            datagram = datagrams.recv() => match datagram {
                Some((from, bytes)) => match gossip.handle(node.clock.now(), &bytes) {
                    Ok(output) => dispatch(&node, output),
                    Err(error) => tracing::debug!(%from, %error, "a gossip datagram was dropped"),
                },
                None => return,
            },
            _ = tokio::time::sleep(sleep) => {
                let topology = node.topology.get();
                gossip.set_peers(topology.nodes().map(|n| (n.id, n.addr.clone())));
                if told != Some(topology.epoch()) {
                    told = Some(topology.epoch());
                    let hints = Hints { epoch: topology.epoch(), load: 0 };
                    let output = gossip.publish(node.clock.now(), hints);
                    dispatch(&node, output);
                }
                let output = gossip.tick(node.clock.now());
                dispatch(&node, output);
            }
        }
    }
}

fn dispatch(node: &Arc<Inner>, output: GossipOutput) {
    for datagram in output.datagrams {
        let frame = Frame { gossip: datagram.bytes, ..Frame::default() };
        frames::send(node, datagram.node, Class::Liveness, frame);
    }
    for event in output.events {
        match event {
            GossipEvent::Member(member) => node.liveness.gossip(member.identity.node, member.liveness),
            GossipEvent::Hints { node: peer, hints } => node.note_epoch(peer, hints.epoch),
            GossipEvent::Rejoined { incarnation } => {
                tracing::info!(incarnation, "the others held this node for down; it is back");
            }
        }
    }
}
