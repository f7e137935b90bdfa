//! The consistent-hash ring: which nodes should hold a partition.
//!
//! Every node has [`VIRTUAL_NODES`] points on the ring, times its weight. A partition is hashed to a position
//! on the same ring. Its natural replicas are the next distinct nodes clockwise, in distinct zones. Key
//! ranges are independent of placement (the third strategy of "Dynamo: Amazon's Highly Available Key-value
//! Store", 2007, section 6.2): adding a node moves whole partitions and never divides a range.
//!
//! When all partitions of a table are placed at once, a node is skipped if it already holds its fair share
//! times [`LOAD_BOUND_PERCENT`] ("Consistent Hashing with Bounded Loads", Mirrokni et al., 2016).

use crate::{NodeId, NodeInfo, TableId};
use std::collections::BTreeMap;
use xxhash_rust::xxh3::xxh3_64;

/// Points on the circle for each unit of weight.
pub const VIRTUAL_NODES: u32 = 256;
/// How far over its fair share, in percent of it, a node may go when the partitions of one table are placed.
pub const LOAD_BOUND_PERCENT: u128 = 125;

/// Domain tags: a virtual node and a partition never hash the same bytes.
const TAG_VIRTUAL_NODE: u8 = 1;
const TAG_PARTITION: u8 = 2;
/// Shares are fixed-point with this many fractional bits, so that placement is the same on every machine.
const FRACTION_BITS: u32 = 16;

/// The circle of one set of nodes. Immutable; build a new one when the nodes change.
#[derive(Clone, Debug)]
pub struct Ring {
    token_key: [u8; 16],
    nodes: Vec<Member>,
    /// Nodes in each zone.
    zone_sizes: Vec<usize>,
    /// Sorted by token, then by index into `nodes`.
    points: Vec<(u64, u32)>,
}

#[derive(Clone, Debug)]
struct Member {
    id: NodeId,
    zone: usize,
    weight: u32,
}

impl Ring {
    /// Builds the circle. The result does not depend on the order of `nodes`; of two with one id the last
    /// counts.
    pub fn new<'a>(token_key: [u8; 16], nodes: impl IntoIterator<Item = &'a NodeInfo>) -> Ring {
        let by_id: BTreeMap<NodeId, &NodeInfo> = nodes.into_iter().map(|node| (node.id, node)).collect();
        let mut zones: BTreeMap<&str, usize> = BTreeMap::new();
        for node in by_id.values() {
            zones.insert(&node.zone, 0);
        }
        for (index, slot) in zones.values_mut().enumerate() {
            *slot = index;
        }
        let mut zone_sizes = vec![0; zones.len()];
        let mut members = Vec::with_capacity(by_id.len());
        let mut points = Vec::new();
        for (index, node) in by_id.values().enumerate() {
            let zone = zones[node.zone.as_str()];
            let weight = node.weight.max(1);
            zone_sizes[zone] += 1;
            members.push(Member { id: node.id, zone, weight });
            for replica in 0..weight.saturating_mul(VIRTUAL_NODES) {
                points.push((virtual_node_token(&token_key, node.id, replica), index as u32));
            }
        }
        points.sort_unstable();
        Ring { token_key, nodes: members, zone_sizes, points }
    }

    /// How many nodes are on the circle.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Whether no node is on the circle.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// How many zones the nodes are in.
    pub fn zones(&self) -> usize {
        self.zone_sizes.len()
    }

    /// The position of a partition on the circle. It hangs on the table and the first token of its range: the
    /// left child of a split keeps its parent's place, the right one gets a place of its own.
    pub fn partition_position(&self, table: TableId, range_start: u64) -> u64 {
        let mut bytes = [0u8; 33];
        bytes[..16].copy_from_slice(&self.token_key);
        bytes[16] = TAG_PARTITION;
        bytes[17..25].copy_from_slice(&table.0.to_be_bytes());
        bytes[25..].copy_from_slice(&range_start.to_be_bytes());
        xxh3_64(&bytes)
    }

    /// The next `n` distinct nodes clockwise of `position`, in preference order: in distinct zones as far as
    /// there are zones, then a second in each zone, and so on. Fewer than `n` only when there are fewer
    /// nodes.
    pub fn natural_replicas(&self, position: u64, n: usize) -> Vec<NodeId> {
        let mut unbounded = vec![u64::MAX; self.nodes.len()];
        self.pick(position, n, &mut unbounded, None)
    }

    /// Natural replicas of all partitions of one table, given their positions in order, with the load bound:
    /// a node with its fair share and a quarter is skipped while another can take its place in a zone as
    /// good.
    pub fn place(&self, positions: &[u64], n: usize) -> Vec<Vec<NodeId>> {
        let shares = self.fair_shares(positions.len() as u64, n);
        let mut room: Vec<u64> = shares.iter().map(|&share| load_bound(share)).collect();
        positions.iter().map(|&position| self.pick(position, n, &mut room, Some(&shares))).collect()
    }

    /// Replicas that each node may take when `partitions` partitions of one table are placed, by node id.
    pub fn load_bounds(&self, partitions: u64, n: usize) -> BTreeMap<NodeId, u64> {
        let shares = self.fair_shares(partitions, n);
        self.nodes.iter().zip(shares).map(|(node, share)| (node.id, load_bound(share))).collect()
    }

    /// One walk. `room` is what each node may still take; it is used up. `shares` rank the nodes when the
    /// walk finds none with room.
    fn pick(&self, position: u64, n: usize, room: &mut [u64], shares: Option<&[u128]>) -> Vec<NodeId> {
        let wanted = n.min(self.nodes.len());
        let mut chosen: Vec<usize> = Vec::with_capacity(wanted);
        let mut in_zone = vec![0usize; self.zone_sizes.len()];
        let mut zone_limit = 0;
        while chosen.len() < wanted {
            zone_limit += 1;
            let reachable: usize = self.zone_sizes.iter().map(|&size| size.min(zone_limit)).sum();
            let target = wanted.min(reachable);
            let start = self.points.partition_point(|&(token, _)| token < position);
            let circle = self.points[start..].iter().chain(&self.points[..start]);
            for &(_, index) in circle {
                if chosen.len() >= target {
                    break;
                }
                let index = index as usize;
                let zone = self.nodes[index].zone;
                if in_zone[zone] < zone_limit && room[index] > 0 && !chosen.contains(&index) {
                    in_zone[zone] += 1;
                    chosen.push(index);
                }
            }
            // Zone distinctness goes before the load bound: the least burdened node of a zone still free
            // steps in.
            while chosen.len() < target {
                let Some(index) = self.least_burdened(&chosen, &in_zone, zone_limit, room, shares) else {
                    break;
                };
                in_zone[self.nodes[index].zone] += 1;
                chosen.push(index);
            }
        }
        for &index in &chosen {
            room[index] = room[index].saturating_sub(1);
        }
        chosen.into_iter().map(|index| self.nodes[index].id).collect()
    }

    fn least_burdened(
        &self,
        chosen: &[usize],
        in_zone: &[usize],
        zone_limit: usize,
        room: &[u64],
        shares: Option<&[u128]>,
    ) -> Option<usize> {
        (0..self.nodes.len())
            .filter(|index| !chosen.contains(index) && in_zone[self.nodes[*index].zone] < zone_limit)
            .max_by_key(|&index| (room[index], shares.map_or(0, |all| all[index]), std::cmp::Reverse(index)))
    }

    /// Each node's fair number of replicas, fixed-point, when a table of `partitions` is spread by weight
    /// under the rules of the walk: a node holds a partition once, a zone no more copies than it must.
    fn fair_shares(&self, partitions: u64, n: usize) -> Vec<u128> {
        let wanted = n.min(self.nodes.len());
        let mut zone_limit = 0;
        while self.zone_sizes.iter().map(|&size| size.min(zone_limit)).sum::<usize>() < wanted {
            zone_limit += 1;
        }
        let whole = u128::from(partitions) << FRACTION_BITS;
        let zone_total = |zone: usize, level: u128| -> u128 {
            let limit = whole * self.zone_sizes[zone].min(zone_limit) as u128;
            let sum: u128 = self
                .nodes
                .iter()
                .filter(|node| node.zone == zone)
                .map(|node| share_at(node, level, whole))
                .sum();
            sum.min(limit)
        };
        let zones = 0..self.zone_sizes.len();
        let level = lowest(whole, |level| {
            zones.clone().map(|zone| zone_total(zone, level)).sum::<u128>() >= whole * wanted as u128
        });
        let levels: Vec<u128> = zones
            .map(|zone| {
                let total = zone_total(zone, level);
                lowest(level, |lower| {
                    let nodes = self.nodes.iter().filter(|node| node.zone == zone);
                    nodes.map(|node| share_at(node, lower, whole)).sum::<u128>() >= total
                })
            })
            .collect();
        self.nodes.iter().map(|node| share_at(node, levels[node.zone], whole)).collect()
    }
}

/// The point of a node's `replica`-th virtual node.
fn virtual_node_token(token_key: &[u8; 16], node: NodeId, replica: u32) -> u64 {
    let mut bytes = [0u8; 29];
    bytes[..16].copy_from_slice(token_key);
    bytes[16] = TAG_VIRTUAL_NODE;
    bytes[17..25].copy_from_slice(&node.0.to_be_bytes());
    bytes[25..].copy_from_slice(&replica.to_be_bytes());
    xxh3_64(&bytes)
}

/// A node's share when every unit of weight carries `level`; a node cannot hold more than each partition
/// once.
fn share_at(node: &Member, level: u128, whole: u128) -> u128 {
    (u128::from(node.weight) * level).min(whole)
}

/// The smallest value up to `high` for which a monotone test holds, `high` if none.
fn lowest(mut high: u128, holds: impl Fn(u128) -> bool) -> u128 {
    let mut low = 0;
    while low < high {
        let middle = low + (high - low) / 2;
        if holds(middle) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    high
}

fn load_bound(share: u128) -> u64 {
    let bound = (share * LOAD_BOUND_PERCENT).div_ceil(100u128 << FRACTION_BITS);
    u64::try_from(bound).unwrap_or(u64::MAX).max(1)
}
