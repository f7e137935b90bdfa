//! The task that runs gossip: the sans-IO facade of the cluster crate, fed with datagrams and time.

use super::{Inner, frames};
use crate::ports::Class;
use bytes::Bytes;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use torc_cluster::NodeId;
use torc_cluster::gossip::Gossip;
use torc_wire::peer::Frame;

/// How often timers are looked at; the shortest of gossip's own periods is several times longer.
const TICK: Duration = Duration::from_millis(50);

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
    let mut tick = tokio::time::interval(TICK);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            datagram = datagrams.recv() => match datagram {
                Some((_, bytes)) => gossip.handle(node.clock.now(), &bytes),
                None => return,
            },
            _ = tick.tick() => {}
        }
        let topology = node.topology.get();
        gossip.set_epoch(topology.epoch());
        gossip.set_peers(topology.nodes());
        gossip.tick(node.clock.now());
        let outputs = gossip.take_outputs();
        for (to, datagram) in outputs.datagrams {
            frames::send(&node, to, Class::Liveness, Frame { gossip: datagram, ..Frame::default() });
        }
        for (peer, state) in outputs.events {
            node.liveness.gossip(peer, state);
        }
    }
}
