//! What a node publishes about itself besides being alive: its topology epoch and its load. Hints travel as
//! foca broadcasts. Only the newest hint of each node is kept.
//!
//! ```text
//! 0  8 node   8  8 its incarnation   16 8 version   24 8 epoch   32 4 load
//! ```

use super::identity::GossipIdentity;
use crate::{Epoch, NodeId};
use foca::{BroadcastHandler, Invalidates};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

const ITEM_BYTES: usize = 36;
/// Most nodes whose hints are kept, so that invented node numbers cannot fill the memory.
const MAX_KEPT: usize = crate::limits::MAX_NODES;

/// What a node publishes about itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Hints {
    /// The topology it holds. A higher one than one's own is a reason to ask for it.
    pub epoch: Epoch,
    /// How busy it is, per mille of its capacity; above 1000 it has a queue.
    pub load: u32,
}

pub(super) fn encode(node: NodeId, incarnation: u64, version: u64, hints: Hints) -> [u8; ITEM_BYTES] {
    let mut item = [0; ITEM_BYTES];
    for (slot, value) in item.chunks_exact_mut(8).zip([node.0, incarnation, version, hints.epoch.0]) {
        slot.copy_from_slice(&value.to_be_bytes());
    }
    item[32..].copy_from_slice(&hints.load.to_be_bytes());
    item
}

/// Identity of one telling: later ones of the same node replace it.
pub(super) struct HintKey {
    node: NodeId,
    version: (u64, u64),
}

impl Invalidates for HintKey {
    fn invalidates(&self, other: &Self) -> bool {
        self.node == other.node && self.version >= other.version
    }
}

fn decode(item: &[u8]) -> Option<(HintKey, Hints)> {
    let item: &[u8; ITEM_BYTES] = item.try_into().ok()?;
    let word = |at: usize| item[at..at + 8].iter().fold(0u64, |value, &byte| value << 8 | u64::from(byte));
    let load = item[32..].iter().fold(0u32, |value, &byte| value << 8 | u32::from(byte));
    let key = HintKey { node: NodeId(word(0)), version: (word(8), word(16)) };
    Some((key, Hints { epoch: Epoch(word(24)), load }))
}

/// The hints that foca's handler writes and the facade reads: foca keeps its handler to itself. Never
/// contended, one thread drives both.
#[derive(Clone, Default)]
pub(super) struct SharedHints(Arc<Mutex<Inner>>);

#[derive(Default)]
struct Inner {
    latest: BTreeMap<NodeId, ((u64, u64), Hints)>,
    news: Vec<NodeId>,
}

impl SharedHints {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn get(&self, node: NodeId) -> Option<Hints> {
        self.lock().latest.get(&node).map(|(_, hints)| *hints)
    }

    /// Nodes of which something new was heard since the last call.
    pub(super) fn take_news(&self) -> Vec<(NodeId, Hints)> {
        let mut inner = self.lock();
        let news = std::mem::take(&mut inner.news);
        news.into_iter().filter_map(|node| Some((node, inner.latest.get(&node)?.1))).collect()
    }
}

pub(super) struct HintBroadcasts {
    shared: SharedHints,
    own: NodeId,
}

impl HintBroadcasts {
    pub(super) fn new(shared: SharedHints, own: NodeId) -> HintBroadcasts {
        HintBroadcasts { shared, own }
    }
}

/// A broadcast that is no hint.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("malformed hint")]
pub(super) struct MalformedHint;

impl BroadcastHandler<GossipIdentity> for HintBroadcasts {
    type Key = HintKey;
    type Error = MalformedHint;

    fn receive_item(
        &mut self,
        data: &[u8],
        sender: Option<&GossipIdentity>,
    ) -> Result<Option<HintKey>, MalformedHint> {
        let (key, hints) = decode(data).ok_or(MalformedHint)?;
        if key.node == self.own {
            // Others' echoes of our own hints are not news, whatever they say.
            return Ok(sender.is_none().then_some(key));
        }
        let mut inner = self.shared.lock();
        let known = inner.latest.get(&key.node);
        if known.is_some_and(|(version, _)| *version >= key.version)
            || (known.is_none() && inner.latest.len() >= MAX_KEPT)
        {
            return Ok(None);
        }
        let same = known.is_some_and(|(_, old)| *old == hints);
        inner.latest.insert(key.node, (key.version, hints));
        if !same {
            inner.news.push(key.node);
        }
        Ok(Some(key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_round_trip_and_wrong_sizes_are_refused() {
        let hints = Hints { epoch: Epoch(u64::MAX - 3), load: 1001 };
        let item = encode(NodeId(7), 1 << 20, 9, hints);
        let (key, back) = decode(&item).unwrap();
        assert_eq!((key.node, key.version, back), (NodeId(7), (1 << 20, 9), hints));
        for length in [0, 1, ITEM_BYTES - 1] {
            assert!(decode(&item[..length]).is_none());
        }
        assert!(decode(&[&item[..], &[0]].concat()).is_none());
    }

    #[test]
    fn only_later_tellings_are_news() {
        let shared = SharedHints::default();
        let mut handler = HintBroadcasts::new(shared.clone(), NodeId(1));
        let sender = GossipIdentity::at_boot(NodeId(3), "h3:1", 1);
        let mut receive = |incarnation, version, load| {
            let item = encode(NodeId(2), incarnation, version, Hints { epoch: Epoch(1), load });
            handler.receive_item(&item, Some(&sender)).unwrap().is_some()
        };
        let cases = [
            (1, 5, 10, true),
            (1, 5, 10, false),
            (1, 4, 11, false),
            (1, 6, 12, true),
            (2, 1, 13, true),
            (1, 9, 14, false),
        ];
        for (incarnation, version, load, news) in cases {
            assert_eq!(receive(incarnation, version, load), news, "{incarnation}.{version}");
        }
        assert_eq!(shared.get(NodeId(2)).unwrap().load, 13);
    }
}
