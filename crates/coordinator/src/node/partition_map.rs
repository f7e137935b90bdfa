//! The partition map that the node's router uses. It comes from the node's copy of the topology and is
//! refreshed through the meta group.

use super::{Inner, topology};
use crate::tables::route::PartitionMap;
use futures::future::BoxFuture;
use std::sync::Weak;
use torc_cluster::{Epoch, GroupId, Partition, TableId};

/// See the module's comment.
pub(super) struct NodeMap {
    pub(super) node: Weak<Inner>,
}

impl PartitionMap for NodeMap {
    fn find(&self, table: TableId, token: u64) -> Option<(Partition, Epoch)> {
        let topology = self.node.upgrade()?.topology.get();
        topology.partition(table, token).map(|p| (Partition::clone(p), topology.epoch()))
    }

    fn by_group(&self, group: GroupId) -> Option<(Partition, Epoch)> {
        let node = self.node.upgrade()?;
        let topology = node.topology.get();
        let mut partition = topology::partition_by_group(&topology, group)?;
        if partition.replicas.is_empty() {
            // The founding node talks to itself before there is a topology.
            partition.replicas.push(node.identity().node);
        }
        Some((partition, topology.epoch()))
    }

    fn refresh(&self, at_least: Epoch) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            if let Some(node) = self.node.upgrade() {
                node.meta.refresh(at_least).await;
            }
        })
    }
}
