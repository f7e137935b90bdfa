//! Conditions that hold for every topology. Unit tests and the simulation check them; a live node does not.

use super::Topology;
use crate::limits::{MAX_META_MEMBERS, MAX_REPLICAS};
use crate::{GroupId, IndexSpec, NodeId, Settings, TableId, TableKind};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// A broken invariant, in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation(pub String);

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Every invariant that this topology breaks. Empty when it is sound.
///
/// * The partitions of a table or bucket cover every token once.
/// * A group, a node number and a table number is used once and is below the counter it came from.
/// * Replicas are registered, distinct, at least one and at most `MAX_REPLICAS`; meta members are registered
///   and distinct.
/// * Names are unique and lead to their table; addresses are unique.
/// * No partition is without its table, and no table without partitions.
pub fn check_invariants(topology: &Topology) -> Vec<Violation> {
    let mut found = Vec::new();
    let mut fail = |text: String| found.push(Violation(text));
    check_settings(topology, &mut fail);
    check_nodes(topology, &mut fail);
    check_tables(topology, &mut fail);
    let mut groups: BTreeMap<GroupId, TableId> = BTreeMap::new();
    for partition in topology.all_partitions() {
        let group = partition.group;
        if let Some(other) = groups.insert(group, partition.table) {
            fail(format!("{group} is a partition of {} and of {other}", partition.table));
        }
        if group.0 < Settings::FIRST_GROUP || group.0 >= topology.settings().next_group {
            fail(format!("{group} was never handed out"));
        }
        if topology.table(partition.table).is_none() {
            fail(format!("{group} belongs to {}, which does not exist", partition.table));
        }
        if partition.replicas.is_empty() || partition.replicas.len() > MAX_REPLICAS as usize {
            fail(format!("{group} has {} replicas", partition.replicas.len()));
        }
        check_members(topology, &group.to_string(), &partition.replicas, &mut fail);
        if topology.partition_by_group(group).map(|p| p.range) != Some(partition.range) {
            fail(format!("{group} is not found by its number"));
        }
        if partition.changed > topology.epoch() {
            fail(format!("{group} changed at {}, after {}", partition.changed, topology.epoch()));
        }
    }
    found
}

/// Partitions with two replicas in one zone although another zone has a node: allowed while nodes come and
/// go, worth repairing.
pub fn placement_warnings(topology: &Topology) -> Vec<Violation> {
    let all_zones: BTreeSet<&str> = topology.nodes().map(|node| node.zone.as_str()).collect();
    let mut found = Vec::new();
    for partition in topology.all_partitions() {
        let zones: BTreeSet<&str> = partition
            .replicas
            .iter()
            .filter_map(|id| topology.node(*id))
            .map(|node| node.zone.as_str())
            .collect();
        if zones.len() < partition.replicas.len().min(all_zones.len()) {
            let group = partition.group;
            found.push(Violation(format!(
                "{group} has {} replicas in {} zones",
                partition.replicas.len(),
                zones.len()
            )));
        }
    }
    found
}

fn check_settings(topology: &Topology, fail: &mut impl FnMut(String)) {
    let members = topology.meta_members();
    if members.len() > MAX_META_MEMBERS {
        fail(format!("meta has {} members", members.len()));
    }
    if members.is_empty() && topology.nodes().len() > 0 {
        fail("there are nodes and no meta member".to_owned());
    }
    check_members(topology, "meta", members, fail);
    if topology.cluster_id() == 0 && (topology.nodes().len() > 0 || topology.tables().len() > 0) {
        fail("there are nodes or tables and no cluster".to_owned());
    }
}

fn check_nodes(topology: &Topology, fail: &mut impl FnMut(String)) {
    let mut addresses = BTreeMap::new();
    for node in topology.nodes() {
        if node.id.0 == 0 || node.id.0 >= topology.settings().next_node {
            fail(format!("{} was never handed out", node.id));
        }
        if let Some(other) = addresses.insert(&node.addr, node.id) {
            fail(format!("{} and {other} are both at {}", node.id, node.addr));
        }
    }
}

fn check_tables(topology: &Topology, fail: &mut impl FnMut(String)) {
    for table in topology.tables() {
        let id = table.id;
        if id.0 == 0 || id.0 >= topology.settings().next_table {
            fail(format!("{id} was never handed out"));
        }
        let by_name = match table.kind {
            TableKind::Table(_) => topology.table_by_name(&table.name).map(|found| found.id),
            TableKind::Bucket(_) => topology.bucket_by_name(&table.name).map(|found| found.id),
            TableKind::Index(IndexSpec { base, .. }) => {
                let spec = topology.table(base).and_then(|base| base.as_table());
                spec.and_then(|spec| spec.index(&table.name)).map(|entry| entry.table)
            }
        };
        for entry in table.as_table().map_or(&[][..], |spec| &spec.indexes) {
            let base = topology.table(entry.table).and_then(|index| index.as_index()).map(|spec| spec.base);
            if base != Some(id) {
                fail(format!("{id} lists {}, which is no index of it", entry.table));
            }
        }
        if by_name != Some(id) {
            fail(format!("{id} is not found by its name {}", table.name));
        }
        // `Some(t)`: tokens below t are covered. `None`: all are.
        let mut next = Some(0u64);
        for partition in topology.partitions(id) {
            let range = partition.range;
            if next != Some(range.start) || range.end < range.start {
                fail(format!(
                    "{id} has a gap or an overlap before {} ({:x}-{:x})",
                    partition.group, range.start, range.end
                ));
            }
            next = range.end.checked_add(1);
        }
        if let Some(token) = next {
            fail(format!("{id} has no partition for token {token:x}"));
        }
    }
}

fn check_members(topology: &Topology, what: &str, members: &[NodeId], fail: &mut impl FnMut(String)) {
    let distinct: BTreeSet<&NodeId> = members.iter().collect();
    if distinct.len() != members.len() {
        fail(format!("{what} names a node twice"));
    }
    for id in distinct {
        if topology.node(*id).is_none() {
            fail(format!("{what} names {id}, which is not registered"));
        }
    }
}
