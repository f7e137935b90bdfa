//! Refuses a request that the network delivered twice. If such a write were served again later, it would take
//! effect over another client's write.
//!
//! The call ids of each peer rise, so a window over the newest ids is enough (as against replay in IPsec, RFC
//! 4303 §3.4.3).

use parking_lot::Mutex;
use std::collections::BTreeMap;
use torc_cluster::NodeId;

/// How many ids below the newest are remembered. An older id counts as a duplicate: its caller has given up
/// long ago.
const WINDOW: u64 = 1 << 16;
const WORDS: usize = (WINDOW / 64) as usize;

struct Window {
    newest: u64,
    seen: Box<[u64]>,
}

/// The windows of all peers.
#[derive(Default)]
pub(super) struct ReplayGuard {
    peers: Mutex<BTreeMap<NodeId, Window>>,
}

impl ReplayGuard {
    /// Whether the call is new; it is not the next time.
    pub(super) fn admit(&self, from: NodeId, call: u64) -> bool {
        let mut peers = self.peers.lock();
        let window = peers
            .entry(from)
            .or_insert_with(|| Window { newest: 0, seen: vec![0; WORDS].into_boxed_slice() });
        if call > window.newest {
            if call - window.newest >= WINDOW {
                window.seen.fill(0);
            } else {
                for id in window.newest + 1..call {
                    window.clear(id);
                }
            }
            window.newest = call;
            window.clear(call);
        } else if window.newest - call >= WINDOW {
            return false;
        }
        window.mark(call)
    }
}

impl Window {
    fn place(id: u64) -> (usize, u64) {
        let slot = id % WINDOW;
        ((slot / 64) as usize, 1 << (slot % 64))
    }

    fn clear(&mut self, id: u64) {
        let (word, bit) = Self::place(id);
        self.seen[word] &= !bit;
    }

    /// True if it was not marked before.
    fn mark(&mut self, id: u64) -> bool {
        let (word, bit) = Self::place(id);
        let fresh = self.seen[word] & bit == 0;
        self.seen[word] |= bit;
        fresh
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_call_is_admitted_once_whatever_the_order() {
        let guard = ReplayGuard::default();
        let (a, b) = (NodeId(1), NodeId(2));
        let ids = [5, 3, 4, 900, 70_000, 6_000, 70_001, 1 << 40, (1 << 40) + 2, (1 << 40) + 1];
        for id in ids {
            assert!(guard.admit(a, id), "{id} is new");
            assert!(!guard.admit(a, id), "{id} came twice");
        }
        for id in ids {
            assert!(!guard.admit(a, id), "{id} came again later");
        }
        assert!(guard.admit(b, 5), "peers are told apart");
        assert!(!guard.admit(a, 899), "older than the window");
        assert!(guard.admit(a, (1 << 40) - 1), "inside the window and new");
    }
}
