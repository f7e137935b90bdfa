//! What waits to be sent to each peer, so that everything said in one turn of the runtime leaves in one frame.

use parking_lot::Mutex;
use std::collections::BTreeMap;
use tokio::sync::Notify;
use torc_cluster::NodeId;
use torc_wire::peer::{Answer, Call};

/// Requests and answers queued for one peer.
#[derive(Default)]
pub struct Pending {
    /// Requests.
    pub requests: Vec<Call>,
    /// Answers.
    pub responses: Vec<Answer>,
}

impl Pending {
    fn is_empty(&self) -> bool {
        self.requests.is_empty() && self.responses.is_empty()
    }
}

/// The queues of all peers.
#[derive(Default)]
pub struct Outbox {
    peers: Mutex<BTreeMap<NodeId, Pending>>,
    wake: Notify,
}

impl Outbox {
    /// Queues a request.
    pub fn request(&self, to: NodeId, call: Call) {
        self.peers.lock().entry(to).or_default().requests.push(call);
        self.wake.notify_one();
    }

    /// Queues an answer.
    pub fn respond(&self, to: NodeId, answer: Answer) {
        self.peers.lock().entry(to).or_default().responses.push(answer);
        self.wake.notify_one();
    }

    /// Takes what waits for one peer, to travel with a frame that leaves anyway.
    pub fn take(&self, to: NodeId) -> Pending {
        self.peers.lock().get_mut(&to).map(std::mem::take).unwrap_or_default()
    }

    /// Waits until something is queued.
    pub async fn wait(&self) {
        self.wake.notified().await;
    }

    /// Takes everything.
    pub fn drain(&self) -> Vec<(NodeId, Pending)> {
        let mut peers = self.peers.lock();
        peers.iter_mut().filter(|(_, p)| !p.is_empty()).map(|(id, p)| (*id, std::mem::take(p))).collect()
    }
}
