//! Keeps the consensus groups of this node in step with the topology. It creates groups that should be here
//! and are not, drops groups that the topology no longer has, and tells each group's leader which members the
//! group should get.

use super::{Inner, NodeError, topology};
use std::sync::Arc;
use torc_cluster::topology::{Table, TableKind, Topology};
use torc_cluster::{GroupId, META_GROUP, NodeId, Partition, TableId};
use torc_engine::WriteBatch;
use torc_model::key::{decode_item_key, prefix_successor, space, table_prefix};
use torc_replica::machine;
use torc_replica::store::{GroupSpec, Input, Store};

/// This node is no longer a member of the group: its data of the group is deleted, unless the node is to
/// become a member again.
pub(super) fn leave(node: &Arc<Inner>, group: GroupId) {
    tracing::info!(%group, "this node is no longer a member of the group");
    let me = node.identity().node;
    let wanted = |p: &Arc<Partition>| p.replicas.contains(&me);
    if group != META_GROUP && !node.topology.get().partition_by_group(group).is_some_and(wanted) {
        node.propagation.forget(group);
        node.store.send(Input::DropGroup { group, ranges: Vec::new() });
    }
}

/// Creates or opens the meta group.
pub(super) fn create_meta(node: &Arc<Inner>, initial: Vec<NodeId>, replicas: Vec<NodeId>) {
    node.store.send(Input::CreateGroup(Box::new(GroupSpec {
        group: META_GROUP,
        ranges: machine::meta::ranges(),
        machine: machine::meta::machine(node.engine.clone(), publisher(node)),
        initial,
        replicas,
    })));
}

/// The meta machine tells the node of each applied topology.
fn publisher(node: &Arc<Inner>) -> machine::meta::Publish {
    let node = Arc::downgrade(node);
    Box::new(move |topology| {
        if let Some(node) = node.upgrade() {
            node.topology.publish(topology);
        }
    })
}

/// Brings the groups in step with the topology. They are in step with `before`, so whatever has not changed
/// since is skipped.
pub(super) fn sync(node: &Arc<Inner>, before: &Topology, topology: &Topology) {
    if topology.cluster_id() == 0 {
        return;
    }
    let me = node.identity().node;
    let meta = topology::meta_partition(topology);
    if meta != topology::meta_partition(before) {
        if meta.replicas.contains(&me) {
            create_meta(node, meta.initial, meta.replicas.clone());
        }
        node.store.send(Input::SetMembers { group: META_GROUP, replicas: meta.replicas });
    }
    // Versions share what is the same in both, so that a change of one table costs one comparison for each other.
    let same = |id: TableId| {
        std::ptr::eq(before.partitions(id), topology.partitions(id))
            && before.table(id).is_some_and(|t| t.is_consensus())
                == topology.table(id).is_some_and(|t| t.is_consensus())
    };
    for table in topology.tables().filter(|table| table.is_consensus() && !same(table.id)) {
        for partition in topology.partitions(table.id) {
            if before.partition_by_group(partition.group) == Some(partition) {
                continue;
            }
            if partition.replicas.contains(&me) {
                create(node, table, partition);
            }
            node.store
                .send(Input::SetMembers { group: partition.group, replicas: partition.replicas.clone() });
        }
    }
    for table in before.tables().filter(|table| table.is_consensus() && !same(table.id)) {
        for partition in before.partitions(table.id) {
            let group = partition.group;
            // A replica that moves away stays until its leader says so, and a group that was just created has no view yet.
            let here = partition.replicas.contains(&me) || node.store.view(group).is_some();
            if here && topology.partition_by_group(group).is_none() {
                node.propagation.forget(group);
                node.store.send(Input::DropGroup { group, ranges: Vec::new() });
            }
        }
    }
}

fn create(node: &Arc<Inner>, table: &Table, partition: &Partition) {
    let machine = match table.kind {
        TableKind::Index(_) => {
            machine::index::machine(partition.clone(), node.config.planted.forget_watermarks)
        }
        _ => {
            let (weak, id) = (Arc::downgrade(node), partition.table);
            let schema = Box::new(move || weak.upgrade()?.topology.get().table(id).cloned());
            let signal = node.propagation.signal(partition.group);
            let changed = Box::new(move || {
                signal.modify(|changes| {
                    *changes += 1;
                    true
                })
            });
            machine::table::machine(partition.clone(), schema, changed)
        }
    };
    node.store.send(Input::CreateGroup(Box::new(GroupSpec {
        group: partition.group,
        ranges: machine::table::ranges(partition),
        machine,
        initial: partition.initial.clone(),
        replicas: partition.replicas.clone(),
    })));
}

/// Cleans up what an earlier process of this node has left here.
///
/// Logs and data of a table that was dropped meanwhile are deleted. The topology is stored before a group is
/// created from it, so a group that the topology does not know is old. A group that the topology places
/// elsewhere by now stays until its leader says that this node is no longer a member. Until then its vote may
/// be needed, and it may itself be the leader that has to make the change. Returns the topology that was
/// used.
pub(super) fn sweep(node: &Arc<Inner>, store: &Store) -> Result<Arc<Topology>, torc_engine::Error> {
    let topology = node.topology.get();
    if topology.cluster_id() == 0 {
        return Ok(topology);
    }
    for group in store.stored_groups() {
        let (partition, dropped) = (topology.partition_by_group(group), store.is_dropped(group)?);
        if group == META_GROUP {
            let meta = topology::meta_partition(&topology);
            create_meta(node, meta.initial, meta.replicas);
        } else if let Some(partition) = partition.filter(|_| !dropped)
            && let Some(table) = topology.table(partition.table)
        {
            create(node, table, partition);
        } else {
            node.store.send(Input::DropGroup { group, ranges: Vec::new() });
        }
    }
    let mut batch = WriteBatch::new();
    for space in [space::TABLE, space::INDEX, space::STREAM, space::BUCKET] {
        let mut from = vec![space];
        while let Some(item) = node.engine.scan(&from, &[space + 1], false, None).next().transpose()? {
            let Some(key) = decode_item_key(&item.key) else { break };
            let (start, end) = keys_of(space, TableId(key.table_id));
            if topology.table(TableId(key.table_id)).is_none() {
                batch.delete_range(&start, &end);
            }
            from = end;
        }
    }
    if !batch.is_empty() {
        node.engine.write(&batch)?;
    }
    Ok(topology)
}

/// The keys of a table, bucket or index in a space: from the first of the pair up to the second.
fn keys_of(space: u8, table: TableId) -> (Vec<u8>, Vec<u8>) {
    let start = table_prefix(space, table.0).to_vec();
    let end = prefix_successor(&start).unwrap_or_else(|| vec![space + 1]);
    (start, end)
}

/// Deletes this node's data of the buckets that are in `before` but not in `now`. A bucket has no consensus
/// group, so dropping groups does not delete its data.
///
/// Not synced: after a crash [`sweep`] deletes what is left, including data of a write that was under way.
fn erase_dropped_buckets(node: &Inner, before: &Topology, now: &Topology) -> Result<(), NodeError> {
    let mut batch = WriteBatch::new();
    for bucket in before.tables().filter(|table| table.as_bucket().is_some()) {
        if now.table(bucket.id).is_none() {
            let (start, end) = keys_of(space::BUCKET, bucket.id);
            batch.delete_range(&start, &end);
        }
    }
    if !batch.is_empty() {
        node.engine.write(&batch)?;
    }
    Ok(())
}

/// Follows the topology for as long as the node runs. `known` is the one that is stored and that the groups are in step with.
pub(super) async fn follow(node: Arc<Inner>, mut known: Arc<Topology>) {
    let mut epoch = node.topology.follow();
    loop {
        let topology: Arc<Topology> = node.topology.get();
        // Stored before any group is created from it: the log keeps the order, so a restart that finds a group finds its partition.
        let stored = topology::store_changes(&node.engine, &known, &topology);
        if let Err(error) = stored.and_then(|()| erase_dropped_buckets(&node, &known, &topology)) {
            tracing::error!(%error, "the topology could not be stored");
            node.fail(error.to_string());
            return;
        }
        node.disk_work();
        sync(&node, &known, &topology);
        node.propagation.look_at(indexed(&topology));
        announce_epoch(&node, &topology);
        known = topology;
        epoch.next().await;
    }
}

/// The groups of tables that have global indexes.
fn indexed(topology: &Topology) -> impl Iterator<Item = GroupId> {
    let indexed = topology.tables().filter(|t| t.as_table().is_some_and(|spec| !spec.indexes.is_empty()));
    indexed.flat_map(|table| topology.partitions(table.id)).map(|partition| partition.group)
}

/// Tells every other node of the new epoch, so that they fetch at once and not at the next heartbeat.
fn announce_epoch(node: &Arc<Inner>, topology: &Topology) {
    let leads_meta = node.store.view(META_GROUP).is_some_and(|v| v.is_leader());
    if !leads_meta {
        return;
    }
    let me = node.identity().node;
    for peer in topology.nodes().filter(|n| n.id != me) {
        super::frames::send(node, peer.id, crate::ports::Class::Requests, torc_wire::peer::Frame::default());
    }
}
