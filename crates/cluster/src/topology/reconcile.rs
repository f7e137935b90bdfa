//! Compares the topology with the desired state, and says what the meta leader should do next to reach that
//! state.

use super::{Command, TableStatus, Topology};
use crate::limits::MAX_META_MEMBERS;
use crate::ring::Ring;
use crate::{NodeId, NodeInfo, Partition};
use std::collections::{BTreeMap, BTreeSet};

/// Most commands of one round: each starts a copy of a partition somewhere, and the next round should see how
/// that went.
pub const MAX_STEPS: usize = 16;

/// The next small steps, in order; empty when nothing is to be done. Deterministic. Each adds one replica to
/// one partition, or grows the meta group to the next odd number. Nothing is ever removed or moved here.
///
/// The caller proposes them only when the group's actual members have reached what the topology says, so that
/// steps do not pile up.
pub fn reconcile(topology: &Topology) -> Vec<Command> {
    let mut steps: Vec<Command> = grow_meta(topology).into_iter().collect();
    let mut load: BTreeMap<NodeId, usize> = topology.nodes().map(|node| (node.id, 0)).collect();
    let thin: Vec<_> = topology
        .tables()
        .filter(|table| {
            if table.as_table().is_some_and(|spec| spec.status == TableStatus::Deleting) {
                return false;
            }
            let wanted = (table.replication_factor() as usize).min(load.len());
            topology.partitions(table.id).iter().any(|partition| partition.replicas.len() < wanted)
        })
        .collect();
    if thin.is_empty() {
        return steps;
    }
    for partition in topology.all_partitions() {
        for node in &partition.replicas {
            *load.entry(*node).or_default() += 1;
        }
    }
    let ring = topology.ring();
    for table in thin {
        let wanted = (table.replication_factor() as usize).min(ring.len());
        let natural = natural_placement(topology, &ring, table.id, wanted);
        for (partition, natural) in topology.partitions(table.id).iter().zip(natural) {
            if steps.len() >= MAX_STEPS {
                return steps;
            }
            if partition.replicas.len() >= wanted {
                continue;
            }
            if let Some(node) = next_replica(topology, partition, &natural, &load) {
                *load.entry(node).or_default() += 1;
                let mut replicas = partition.replicas.clone();
                replicas.push(node);
                steps.push(Command::SetReplicas { group: partition.group, replicas });
            }
        }
    }
    steps
}

fn natural_placement(
    topology: &Topology,
    ring: &Ring,
    table: crate::TableId,
    wanted: usize,
) -> Vec<Vec<NodeId>> {
    let partitions = topology.partitions(table).iter();
    let positions: Vec<u64> =
        partitions.map(|partition| ring.partition_position(table, partition.range.start)).collect();
    ring.place(&positions, wanted)
}

/// A node in a zone that the partition lacks goes before one in a zone it has; then a natural replica, then
/// the one with the least load for its weight.
fn next_replica(
    topology: &Topology,
    partition: &Partition,
    natural: &[NodeId],
    load: &BTreeMap<NodeId, usize>,
) -> Option<NodeId> {
    let held: BTreeSet<&str> = partition
        .replicas
        .iter()
        .filter_map(|id| topology.node(*id))
        .map(|node| node.zone.as_str())
        .collect();
    let rank = |node: &NodeInfo| {
        let natural_rank = natural.iter().position(|id| *id == node.id).unwrap_or(usize::MAX);
        let burden = load.get(&node.id).copied().unwrap_or(0) as u64 * 1000 / u64::from(node.weight.max(1));
        (held.contains(node.zone.as_str()), natural_rank, burden, node.id)
    };
    topology
        .nodes()
        .filter(|node| !partition.replicas.contains(&node.id))
        .min_by_key(|node| rank(node))
        .map(|node| node.id)
}

/// Up to five members, always an odd number: an even one tolerates no more failures than the odd one below
/// it.
fn grow_meta(topology: &Topology) -> Option<Command> {
    let members = topology.meta_members();
    let possible = topology.nodes().len().min(MAX_META_MEMBERS);
    // The next odd number: 1 becomes 3, 3 becomes 5, an even number that a failed change left behind becomes
    // odd.
    let target = members.len() + 1 + members.len() % 2;
    if members.is_empty() || target > possible {
        return None;
    }
    let mut members = members.to_vec();
    while members.len() < target {
        let mut in_zone: BTreeMap<&str, usize> = BTreeMap::new();
        for node in members.iter().filter_map(|id| topology.node(*id)) {
            *in_zone.entry(&node.zone).or_default() += 1;
        }
        let candidate = topology
            .nodes()
            .filter(|node| !members.contains(&node.id))
            .min_by_key(|node| (in_zone.get(node.zone.as_str()).copied().unwrap_or(0), node.id))?;
        members.push(candidate.id);
    }
    members.sort_unstable();
    Some(Command::SetMetaMembers { members })
}
