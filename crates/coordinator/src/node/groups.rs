//! Keeping the replicas on this node in step with the topology: groups that should be here and are not are created, groups that are
//! gone from the topology are dropped, and each group's leader is told which members it should walk towards.

use super::{Inner, topology};
use std::sync::Arc;
use torc_cluster::topology::{TableKind, Topology};
use torc_cluster::{META_GROUP, NodeId, Partition};
use torc_replica::machine;
use torc_replica::store::{GroupSpec, Input};

/// Creates the meta group with these first members.
pub(super) fn create_meta(node: &Arc<Inner>, initial: &[NodeId]) {
    node.store.send(Input::CreateGroup(GroupSpec {
        group: META_GROUP,
        ranges: machine::meta::ranges(),
        machine: machine::meta::machine(publisher(node)),
        initial: initial.contains(&node.identity().node).then(|| initial.to_vec()),
        members: initial.to_vec(),
    }));
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

/// Brings the groups in step with the topology of this moment.
pub(super) fn sync(node: &Arc<Inner>, founding: bool) {
    let topology = node.topology.get();
    let me = node.identity().node;
    if founding {
        return;
    }
    let mut wanted: Vec<torc_cluster::GroupId> = Vec::new();
    let meta = topology::meta_partition(&topology);
    if meta.replicas.contains(&me) {
        create_meta_member(node, &meta);
    }
    for partition in topology.all_partitions() {
        let consensus = topology.table(partition.table).is_some_and(|t| matches!(t.kind, TableKind::Table(_)));
        if !consensus {
            continue;
        }
        wanted.push(partition.group);
        if partition.replicas.contains(&me) {
            create(node, partition);
        }
        node.store.send(Input::SetMembers { group: partition.group, desired: partition.replicas.clone() });
    }
    node.store.send(Input::SetMembers { group: META_GROUP, desired: meta.replicas });
    if topology.cluster_id() != 0 {
        node.store.send(Input::KeepOnly(wanted));
    }
}

fn create_meta_member(node: &Arc<Inner>, meta: &Partition) {
    let me = node.identity().node;
    node.store.send(Input::CreateGroup(GroupSpec {
        group: META_GROUP,
        ranges: machine::meta::ranges(),
        machine: machine::meta::machine(publisher(node)),
        // Only the founder began with the meta group; everybody else is filled by its leader.
        initial: meta.initial.contains(&me).then(|| meta.initial.clone()),
        members: meta.replicas.clone(),
    }));
}

fn create(node: &Arc<Inner>, partition: &Partition) {
    let me = node.identity().node;
    node.store.send(Input::CreateGroup(GroupSpec {
        group: partition.group,
        ranges: machine::table::ranges(partition),
        machine: machine::table::machine(partition.clone()),
        initial: partition.initial.contains(&me).then(|| partition.initial.clone()),
        members: partition.replicas.clone(),
    }));
}

/// Follows the topology for as long as the node runs.
pub(super) async fn follow(node: Arc<Inner>) {
    let mut epoch = node.topology.watch();
    epoch.mark_changed();
    while epoch.changed().await.is_ok() {
        epoch.borrow_and_update();
        let topology: Arc<Topology> = node.topology.get();
        // Stored before any group is created from it: the log keeps the order, so a restart that finds a group finds its partition.
        if let Err(error) = topology::store(&node.engine, &topology) {
            tracing::error!(%error, "the topology could not be stored");
            node.fail(error.to_string());
            return;
        }
        node.disk_work();
        sync(&node, false);
        spread(&node, &topology);
    }
}

/// Tells every other node of the new epoch, so that they fetch at once and not at the next heartbeat.
fn spread(node: &Arc<Inner>, topology: &Topology) {
    let leads_meta = node.store.view(META_GROUP).is_some_and(|v| v.is_leader());
    if !leads_meta {
        return;
    }
    let me = node.identity().node;
    for peer in topology.nodes().filter(|n| n.id != me) {
        super::frames::send(node, peer.id, crate::ports::Class::Data, torc_wire::peer::Frame::default());
    }
}
