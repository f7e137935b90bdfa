//! Requests of this node that wait for the answer of another node.

use crate::peers::PeerError;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use tokio::sync::oneshot;
use torc_cluster::NodeId;
use torc_wire::peer::PeerResponse;

/// Calls in flight, by id. Ids start at a number that no earlier incarnation of this node has used, so that a
/// late answer to a request from before a restart is never taken for an answer to a new one.
pub struct Calls {
    state: Mutex<State>,
}

struct State {
    next: u64,
    waiting: BTreeMap<u64, Waiting>,
}

struct Waiting {
    to: NodeId,
    reply: oneshot::Sender<Result<PeerResponse, PeerError>>,
}

/// Removes the call when its caller stops waiting (deadline, cancellation).
pub struct CallGuard<'a> {
    calls: &'a Calls,
    id: u64,
}

impl Drop for CallGuard<'_> {
    fn drop(&mut self) {
        self.calls.state.lock().waiting.remove(&self.id);
    }
}

impl Calls {
    /// No calls; ids are `incarnation << 40 ..`.
    pub fn new(incarnation: u64) -> Self {
        Self { state: Mutex::new(State { next: incarnation << 40, waiting: BTreeMap::new() }) }
    }

    /// Registers a call and returns its id, the guard that forgets it, and the answer to wait for.
    pub fn register(
        &self,
        to: NodeId,
    ) -> (u64, CallGuard<'_>, oneshot::Receiver<Result<PeerResponse, PeerError>>) {
        let (reply, receiver) = oneshot::channel();
        let mut state = self.state.lock();
        let id = state.next;
        state.next += 1;
        state.waiting.insert(id, Waiting { to, reply });
        (id, CallGuard { calls: self, id }, receiver)
    }

    /// Delivers an answer. Answers nobody waits for (late, duplicated) are dropped.
    pub fn complete(&self, id: u64, response: PeerResponse) {
        let waiting = self.state.lock().waiting.remove(&id);
        if let Some(waiting) = waiting {
            // The caller may have given up at this moment. Then the answer is dropped.
            let _ = waiting.reply.send(Ok(response));
        }
    }

    /// A call was not sent: it ends now and certainly did nothing.
    pub fn unsent(&self, id: u64) {
        let waiting = self.state.lock().waiting.remove(&id);
        if let Some(waiting) = waiting {
            let _ = waiting.reply.send(Err(PeerError::Unreachable(waiting.to)));
        }
    }

    /// The connection to a node broke: its calls end now, their outcome unknown.
    pub fn fail_all_to(&self, node: NodeId) {
        let mut state = self.state.lock();
        let ids: Vec<u64> = state.waiting.iter().filter(|(_, w)| w.to == node).map(|(id, _)| *id).collect();
        for id in ids {
            if let Some(waiting) = state.waiting.remove(&id) {
                let _ = waiting.reply.send(Err(PeerError::Timeout(node)));
            }
        }
    }

    /// How many calls wait.
    pub fn in_flight(&self) -> usize {
        self.state.lock().waiting.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_was_not_sent_did_nothing_and_what_was_is_unknown() {
        let calls = Calls::new(1);
        let (unsent, _first, answer) = calls.register(NodeId(2));
        let (_, _second, other) = calls.register(NodeId(2));
        calls.unsent(unsent);
        calls.unsent(unsent);
        calls.fail_all_to(NodeId(2));
        assert_eq!(answer.await.unwrap(), Err(PeerError::Unreachable(NodeId(2))));
        assert_eq!(other.await.unwrap(), Err(PeerError::Timeout(NodeId(2))));
    }
}
