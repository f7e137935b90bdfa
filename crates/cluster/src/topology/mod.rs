//! The cluster's shape as a state machine: nodes, tables, buckets, partitions. The `meta` consensus group
//! holds it, and every node keeps an immutable copy.
//!
//! A [`Command`] is evaluated against a [`Topology`] into [`Change`]s, one record each. Applying the changes
//! gives the next topology. The changes are what is stored and what travels between nodes.
//!
//! The meta group's machine calls this module, and every layer above reads topologies. It must never read a
//! clock, draw a random number or touch storage: the same command on the same topology gives the same changes
//! on every node.

mod change;
mod command;
mod command_record;
mod evaluate;
mod invariants;
mod reconcile;
mod record;
mod table;
pub mod types;

pub use change::{Change, DecodeError, Settings};
pub use command::{Command, IndexChange, Response, TopologyError};
pub use invariants::{Violation, check_invariants, placement_warnings};
pub use reconcile::reconcile;
pub use table::{
    BucketConfig, BucketPolicy, CrdtKind, IndexEntry, IndexSpec, IndexStatus, Level, Table, TableKind,
    TableSpec, TableStatus,
};
pub use types::*;

use crate::ring::Ring;
use std::{collections::BTreeMap, sync::Arc};

/// A node with the identity of its data folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeRecord {
    /// The node.
    pub info: NodeInfo,
    /// Drawn once, when its data folder was made.
    pub uuid: [u8; 16],
}

/// One version of the cluster's shape. A value: cloning is cheap, what two versions share is shared.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Topology {
    epoch: Epoch,
    settings: Arc<Settings>,
    nodes: Arc<BTreeMap<NodeId, Arc<NodeRecord>>>,
    tables: Arc<BTreeMap<TableId, Arc<Table>>>,
    table_names: Arc<BTreeMap<String, TableId>>,
    bucket_names: Arc<BTreeMap<String, TableId>>,
    /// Of each table, by range.
    partitions: Arc<BTreeMap<TableId, Arc<Vec<Arc<Partition>>>>>,
    /// The table and first token of each group's partition, with which it is found among the table's.
    groups: Arc<BTreeMap<GroupId, (TableId, u64)>>,
}

impl Topology {
    /// The epoch: the meta group's log index of the last change.
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Cluster-wide settings. `cluster_id` is 0 until the cluster is initialised.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The cluster's number, 0 until it is initialised.
    pub fn cluster_id(&self) -> u64 {
        self.settings.cluster_id
    }

    /// The key of the token hash.
    pub fn token_key(&self) -> &[u8; 16] {
        &self.settings.token_key
    }

    /// The nodes meant to be in the meta group.
    pub fn meta_members(&self) -> &[NodeId] {
        &self.settings.meta_members
    }

    /// A node by number.
    pub fn node(&self, id: NodeId) -> Option<&NodeInfo> {
        self.nodes.get(&id).map(|record| &record.info)
    }

    /// The node whose data folder has this identity.
    pub fn node_by_uuid(&self, uuid: &[u8; 16]) -> Option<&NodeInfo> {
        self.nodes.values().find(|record| record.uuid == *uuid).map(|record| &record.info)
    }

    /// Every node, by number.
    pub fn nodes(&self) -> impl ExactSizeIterator<Item = &NodeInfo> {
        self.nodes.values().map(|record| &record.info)
    }

    /// Every node with the identity of its data folder, by number.
    pub fn node_records(&self) -> impl ExactSizeIterator<Item = &NodeRecord> {
        self.nodes.values().map(|record| &**record)
    }

    /// A table or bucket by number.
    pub fn table(&self, id: TableId) -> Option<&Arc<Table>> {
        self.tables.get(&id)
    }

    /// A table of items by name.
    pub fn table_by_name(&self, name: &str) -> Option<&Arc<Table>> {
        self.tables.get(self.table_names.get(name)?)
    }

    /// A bucket by name.
    pub fn bucket_by_name(&self, name: &str) -> Option<&Arc<Table>> {
        self.tables.get(self.bucket_names.get(name)?)
    }

    /// Tables and buckets, by number.
    pub fn tables(&self) -> impl ExactSizeIterator<Item = &Arc<Table>> {
        self.tables.values()
    }

    /// Tables of items, by name, those after `after` if given: what `ListTables` walks.
    pub fn tables_by_name<'a>(&'a self, after: Option<&str>) -> impl Iterator<Item = &'a Arc<Table>> {
        by_name(&self.table_names, after).filter_map(|id| self.tables.get(id))
    }

    /// Buckets, by name, those after `after` if given.
    pub fn buckets_by_name<'a>(&'a self, after: Option<&str>) -> impl Iterator<Item = &'a Arc<Table>> {
        by_name(&self.bucket_names, after).filter_map(|id| self.tables.get(id))
    }

    /// The partitions of a table or bucket, by range. Empty for an unknown one.
    pub fn partitions(&self, table: TableId) -> &[Arc<Partition>] {
        self.partitions.get(&table).map_or(&[], |all| all.as_slice())
    }

    /// The partition that holds a token of a table or bucket.
    pub fn partition(&self, table: TableId, token: u64) -> Option<&Arc<Partition>> {
        let all = self.partitions(table);
        let after = all.partition_point(|partition| partition.range.start <= token);
        all.get(after.checked_sub(1)?).filter(|partition| partition.range.contains(token))
    }

    /// A partition by its group.
    pub fn partition_by_group(&self, group: GroupId) -> Option<&Arc<Partition>> {
        let (table, start) = *self.groups.get(&group)?;
        let all = self.partitions(table);
        all.get(position(all, start, group)?)
    }

    /// Every partition, by table and range.
    pub fn all_partitions(&self) -> impl Iterator<Item = &Arc<Partition>> {
        self.partitions.values().flat_map(|all| all.iter())
    }

    /// The partitions that a node is meant to hold.
    pub fn partitions_on(&self, node: NodeId) -> impl Iterator<Item = &Arc<Partition>> {
        self.all_partitions().filter(move |partition| partition.replicas.contains(&node))
    }

    /// The ring of the registered nodes. Built anew: keep it if you walk it often.
    pub fn ring(&self) -> Ring {
        Ring::new(self.settings.token_key, self.nodes())
    }

    /// Rebuilds a topology from a full dump, in any order.
    pub fn from_changes<'a>(epoch: Epoch, changes: impl IntoIterator<Item = &'a Change>) -> Topology {
        let mut topology = Topology::default();
        topology.apply_in_place(epoch, changes);
        topology
    }

    /// A full dump: the records that make this topology, in the order of their keys.
    pub fn to_changes(&self) -> Vec<Change> {
        let mut changes = Vec::new();
        if self.settings.cluster_id != 0 {
            changes.push(Change::Settings(Settings::clone(&self.settings)));
        }
        changes.extend(self.nodes.values().map(|node| Change::UpsertNode(NodeRecord::clone(node))));
        changes.extend(self.tables.values().map(|table| Change::UpsertTable(Table::clone(table))));
        let mut partitions: Vec<Change> = self
            .all_partitions()
            .map(|partition| Change::UpsertPartition(Partition::clone(partition)))
            .collect();
        partitions.sort_by_cached_key(Change::key);
        changes.extend(partitions);
        changes
    }

    /// The changes that lead from an earlier version to this one. Versions that one node made of each other share what is the
    /// same, which is passed over without a look inside.
    pub fn changes_since(&self, before: &Topology) -> Vec<Change> {
        let mut changes = Vec::new();
        if self.settings != before.settings {
            changes.push(Change::Settings(Settings::clone(&self.settings)));
        }
        let gone = before.nodes.keys().filter(|id| !self.nodes.contains_key(id));
        changes.extend(gone.map(|id| Change::DeleteNode(*id)));
        let new = self.nodes.iter().filter(|(id, node)| before.nodes.get(id) != Some(node));
        changes.extend(new.map(|(_, node)| Change::UpsertNode(NodeRecord::clone(node))));
        let gone = before.tables.keys().filter(|id| !self.tables.contains_key(id));
        changes.extend(gone.map(|id| Change::DeleteTable(*id)));
        let new = self.tables.iter().filter(|(id, table)| before.tables.get(id) != Some(table));
        changes.extend(new.map(|(_, table)| Change::UpsertTable(Table::clone(table))));
        let differs = |table: &TableId| !std::ptr::eq(self.partitions(*table), before.partitions(*table));
        for (table, all) in before.partitions.iter().filter(|(table, _)| differs(table)) {
            let gone = all.iter().filter(|p| self.groups.get(&p.group).is_none_or(|(now, _)| now != table));
            changes.extend(gone.map(|p| Change::DeletePartition { table: *table, group: p.group }));
        }
        for (_, all) in self.partitions.iter().filter(|(table, _)| differs(table)) {
            let new = all.iter().filter(|p| before.partition_by_group(p.group) != Some(p));
            changes.extend(new.map(|p| Change::UpsertPartition(Partition::clone(p))));
        }
        changes
    }

    /// The topology after these changes. Total: deleting what is not there changes nothing, so that a node
    /// that already holds a record is not upset by getting it again. A partition whose `changed` is 0 gets
    /// this epoch.
    pub fn apply_changes(&self, epoch: Epoch, changes: &[Change]) -> Topology {
        let mut next = self.clone();
        next.apply_in_place(epoch, changes);
        next
    }

    fn apply_in_place<'a>(&mut self, epoch: Epoch, changes: impl IntoIterator<Item = &'a Change>) {
        self.epoch = epoch;
        for change in changes {
            match change {
                Change::Settings(settings) => self.settings = Arc::new(settings.clone()),
                Change::UpsertNode(node) => {
                    Arc::make_mut(&mut self.nodes).insert(node.info.id, Arc::new(node.clone()));
                }
                Change::DeleteNode(id) => {
                    Arc::make_mut(&mut self.nodes).remove(id);
                }
                Change::UpsertTable(table) => self.put_table(table.clone()),
                Change::DeleteTable(id) => self.remove_table(*id),
                Change::UpsertPartition(partition) => {
                    let mut partition = partition.clone();
                    if partition.changed == Epoch(0) {
                        partition.changed = epoch;
                    }
                    self.put_partition(partition);
                }
                Change::DeletePartition { table, group } => self.remove_partition(*table, *group),
            }
        }
    }

    /// The names that a kind shares; indexes have none.
    fn names_mut(&mut self, kind: &TableKind) -> Option<&mut BTreeMap<String, TableId>> {
        match kind {
            TableKind::Table(_) => Some(Arc::make_mut(&mut self.table_names)),
            TableKind::Bucket(_) => Some(Arc::make_mut(&mut self.bucket_names)),
            TableKind::Index(_) => None,
        }
    }

    fn put_table(&mut self, table: Table) {
        self.forget_name(table.id);
        if let Some(names) = self.names_mut(&table.kind) {
            names.insert(table.name.clone(), table.id);
        }
        Arc::make_mut(&mut self.tables).insert(table.id, Arc::new(table));
    }

    fn remove_table(&mut self, id: TableId) {
        self.forget_name(id);
        Arc::make_mut(&mut self.tables).remove(&id);
    }

    fn forget_name(&mut self, id: TableId) {
        if let Some(old) = self.tables.get(&id).cloned()
            && let Some(names) = self.names_mut(&old.kind)
        {
            names.remove(&old.name);
        }
    }

    fn put_partition(&mut self, partition: Partition) {
        let (table, group) = (partition.table, partition.group);
        let place = (table, partition.range.start);
        let before = self.groups.get(&group).copied();
        if before != Some(place) {
            Arc::make_mut(&mut self.groups).insert(group, place);
        }
        let all = Arc::make_mut(Arc::make_mut(&mut self.partitions).entry(table).or_default());
        let known = before.filter(|(old, _)| *old == table);
        // The common case first: nothing but the replicas of a known partition changed.
        match known.and_then(|(_, start)| position(all, start, group)) {
            Some(at) if all[at].range == partition.range => all[at] = Arc::new(partition),
            known => {
                if let Some(at) = known {
                    all.remove(at);
                }
                let at = all.partition_point(|other| (other.range, other.group) < (partition.range, group));
                all.insert(at, Arc::new(partition));
            }
        }
    }

    fn remove_partition(&mut self, table: TableId, group: GroupId) {
        let Some((_, start)) = self.groups.get(&group).copied().filter(|(known, _)| *known == table) else {
            return;
        };
        Arc::make_mut(&mut self.groups).remove(&group);
        let partitions = Arc::make_mut(&mut self.partitions);
        if let Some(all) = partitions.get_mut(&table) {
            let all = Arc::make_mut(all);
            if let Some(at) = position(all, start, group) {
                all.remove(at);
            }
            if all.is_empty() {
                partitions.remove(&table);
            }
        }
    }
}

/// Where a group's partition is among its table's, which lie in the order of their ranges.
fn position(all: &[Arc<Partition>], start: u64, group: GroupId) -> Option<usize> {
    let from = all.partition_point(|partition| partition.range.start < start);
    let same = all.get(from..)?.iter().take_while(|partition| partition.range.start == start);
    same.enumerate().find(|(_, partition)| partition.group == group).map(|(at, _)| from + at)
}

fn by_name<'a>(
    names: &'a BTreeMap<String, TableId>,
    after: Option<&str>,
) -> impl Iterator<Item = &'a TableId> {
    use std::ops::Bound;
    let from = after.map_or(Bound::Unbounded, |name| Bound::Excluded(name.to_owned()));
    names.range::<String, _>((from, Bound::Unbounded)).map(|(_, id)| id)
}
