//! Messages that wait to be sent, by peer. All messages to one peer that are queued in one turn of the
//! runtime leave in one frame.

use parking_lot::Mutex;
use prost::Message as _;
use std::collections::BTreeMap;
use tokio::sync::Notify;
use torc_cluster::NodeId;
use torc_wire::peer::{Answer, Call, Frame};

/// Requests and answers queued for one peer.
#[derive(Default)]
pub struct Pending {
    /// Requests.
    pub requests: Vec<Call>,
    /// Answers.
    pub responses: Vec<Answer>,
}

/// Most bytes of one frame; only a single request or answer that is larger exceeds it.
const MAX_FRAME_BYTES: usize = 4 << 20;

impl Pending {
    fn is_empty(&self) -> bool {
        self.requests.is_empty() && self.responses.is_empty()
    }

    /// Everything, in frames of bounded size.
    pub fn into_frames(self) -> Vec<Frame> {
        let mut frames = vec![Frame::default()];
        let mut filled = 0;
        let mut room = |frames: &mut Vec<Frame>, bytes: usize| {
            if filled > 0 && filled + bytes > MAX_FRAME_BYTES {
                frames.push(Frame::default());
                filled = 0;
            }
            filled += bytes;
            frames.len() - 1
        };
        for answer in self.responses {
            let at = room(&mut frames, answer.encoded_len());
            frames[at].responses.push(answer);
        }
        for call in self.requests {
            let at = room(&mut frames, call.encoded_len());
            frames[at].requests.push(call);
        }
        frames
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

#[cfg(test)]
mod tests {
    use super::*;
    use torc_wire::peer::{PeerResponse, ResponseBody, Value};

    #[test]
    fn frames_are_bounded() {
        let answer = |id: u64, bytes: usize| {
            let value = Some(vec![0; bytes].into());
            Answer { id, response: Some(PeerResponse { body: Some(ResponseBody::Value(Value { value })) }) }
        };
        let mut pending = Pending::default();
        // 40 MB of answers of 400 KB, and one that is larger than a frame.
        pending.responses.extend((0..100).map(|id| answer(id, 400 << 10)));
        pending.responses.push(answer(100, 5 << 20));
        pending.requests.push(Call::default());
        let frames = pending.into_frames();
        let ids: Vec<u64> = frames.iter().flat_map(|f| f.responses.iter().map(|a| a.id)).collect();
        assert!(ids.iter().copied().eq(0..=100), "in order, none lost");
        for frame in &frames {
            assert!(frame.encoded_len() < MAX_FRAME_BYTES + 4096 || frame.responses.len() == 1);
        }
        assert_eq!(frames.iter().map(|f| f.requests.len()).sum::<usize>(), 1);
    }
}
