//! The client's copy of the ring: from a key to the addresses of its owners.

use crate::error::ClientError;
use std::collections::BTreeMap;
use torc_model::key::TokenHasher;
use torc_wire::kv;

/// One version of a bucket's ring.
#[derive(Debug)]
pub struct Ring {
    epoch: u64,
    hasher: TokenHasher,
    /// By first token: last token, and the owners in preference order.
    partitions: BTreeMap<u64, (u64, Vec<u64>)>,
    /// Addresses of nodes, and whether the server that was asked held them to be alive.
    nodes: BTreeMap<u64, (String, bool)>,
}

impl Ring {
    /// Checks and indexes a server's answer.
    ///
    /// # Errors
    /// A token key of the wrong size.
    pub fn new(ring: kv::Ring) -> Result<Self, ClientError> {
        let key: [u8; 16] = ring
            .token_key
            .as_ref()
            .try_into()
            .map_err(|_| ClientError::Answer("the ring's token key has not 16 bytes"))?;
        Ok(Self {
            epoch: ring.epoch,
            hasher: TokenHasher::new(key),
            partitions: ring
                .partitions
                .into_iter()
                .map(|part| (part.start, (part.end, part.replicas)))
                .collect(),
            nodes: ring.nodes.into_iter().map(|node| (node.id, (node.api_addr, node.alive))).collect(),
        })
    }

    /// Version of the ring.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Addresses to try for a key: its owners in preference order, then every other node; those held to be
    /// down last.
    pub fn route(&self, key: &[u8]) -> Vec<&str> {
        let token = self.hasher.token(key);
        let owners: &[u64] = match self.partitions.range(..=token).next_back() {
            Some((_, (end, owners))) if token <= *end => owners,
            _ => &[],
        };
        let mut order: Vec<(bool, usize, &str)> = self
            .nodes
            .iter()
            .map(|(id, (addr, alive))| {
                let place = owners.iter().position(|owner| owner == id).unwrap_or(owners.len());
                (!alive, place, addr.as_str())
            })
            .collect();
        order.sort();
        order.into_iter().map(|(_, _, addr)| addr).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ring(alive: [bool; 4]) -> Ring {
        let half = u64::MAX / 2;
        let node = |id: u64| kv::RingNode {
            id,
            api_addr: format!("n{id}"),
            zone: String::new(),
            alive: alive[id as usize - 1],
        };
        Ring::new(kv::Ring {
            epoch: 3,
            token_key: vec![5; 16].into(),
            nodes: (1..=4).map(node).collect(),
            partitions: vec![
                kv::RingPartition { start: 0, end: half, replicas: vec![2, 1] },
                kv::RingPartition { start: half + 1, end: u64::MAX, replicas: vec![3, 4] },
            ],
        })
        .unwrap()
    }

    #[test]
    fn owners_come_first_in_preference_order_and_the_dead_last() {
        let everybody = ring([true; 4]);
        let one_down = ring([true, false, true, true]);
        let mut seen = [0; 2];
        for n in 0..100 {
            let key = format!("key {n}");
            let low = torc_model::key::token([5; 16], key.as_bytes()) <= u64::MAX / 2;
            seen[usize::from(low)] += 1;
            let expected: [&str; 4] = if low { ["n2", "n1", "n3", "n4"] } else { ["n3", "n4", "n1", "n2"] };
            assert_eq!(everybody.route(key.as_bytes()), expected);
            let expected: [&str; 4] = if low { ["n1", "n3", "n4", "n2"] } else { ["n3", "n4", "n1", "n2"] };
            assert_eq!(one_down.route(key.as_bytes()), expected);
        }
        assert!(seen[0] > 20 && seen[1] > 20, "{seen:?}");
    }

    #[test]
    fn a_ring_without_a_key_is_refused_and_one_without_partitions_names_every_node() {
        assert!(Ring::new(kv::Ring::default()).is_err());
        let bare = kv::Ring {
            token_key: vec![0; 16].into(),
            nodes: vec![kv::RingNode { id: 1, api_addr: "a".into(), zone: String::new(), alive: true }],
            ..kv::Ring::default()
        };
        assert_eq!(Ring::new(bare).unwrap().route(b"k"), ["a"]);
    }
}
