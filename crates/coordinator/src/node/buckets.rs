//! Connects the bucket flows to the node.

use super::Inner;
use super::meta::MetaError;
use crate::bucket::{
    BucketCoordinator, BucketPorts, BucketSettings, Directory, DirectoryError, LocalReplica, Spawn,
};
use crate::peers::Peers;
use futures::future::BoxFuture;
use std::sync::{Arc, Weak};
use tokio::time::Instant;
use torc_cluster::Epoch;
use torc_cluster::topology::{Command, Response, Topology};
use torc_replica::bucket::{ReplicaError, Store};

/// Opens the node's bucket data and starts what keeps it going. Once the node has its number.
pub(super) fn open(
    node: &Arc<Inner>,
    peers: Arc<dyn Peers>,
    seed: u64,
) -> Result<BucketCoordinator, ReplicaError> {
    let weak = Arc::downgrade(node);
    let written = move || {
        if let Some(node) = weak.upgrade() {
            node.disk_work();
        }
    };
    let store: Arc<dyn Store> = Arc::new(node.engine.clone());
    let local = Arc::new(LocalReplica::open(store, node.identity().node.0, node.clock.clone(), written)?);
    if node.config.planted.forget_siblings {
        local.plant_forget_siblings();
    }
    node.tasks.spawn(follow_log(node.clone(), local.clone()));
    let weak = Arc::downgrade(node);
    let spawn: Spawn = Arc::new(move |future| {
        if let Some(node) = weak.upgrade() {
            node.tasks.spawn(future);
        }
    });
    let ports = BucketPorts {
        peers,
        directory: Arc::new(NodeDirectory { node: Arc::downgrade(node) }),
        local,
        clock: node.clock.clone(),
        spawn,
        seed,
    };
    Ok(BucketCoordinator::new(ports, BucketSettings::default()))
}

/// Tells the local replica how far the log is on disk.
async fn follow_log(node: Arc<Inner>, local: Arc<LocalReplica>) {
    let mut durable = node.durable.follow();
    let mut position = node.durable.position();
    loop {
        match position {
            Ok(lsn) => local.durable(lsn),
            Err(_failed) => return local.fail(),
        }
        position = durable.next().await;
    }
}

/// The topology as the bucket flows need it. Weak, because the node holds the flows.
struct NodeDirectory {
    node: Weak<Inner>,
}

impl Directory for NodeDirectory {
    fn topology(&self) -> Arc<Topology> {
        self.node.upgrade().map_or_else(Arc::default, |node| node.topology.get())
    }

    fn refresh(&self, at_least: Epoch) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            if let Some(node) = self.node.upgrade() {
                node.meta.refresh(at_least).await;
            }
        })
    }

    fn execute(
        &self,
        command: Command,
        deadline: Instant,
    ) -> BoxFuture<'_, Result<Response, DirectoryError>> {
        Box::pin(async move {
            let Some(node) = self.node.upgrade() else {
                return Err(DirectoryError::Unavailable("the node is stopping".into()));
            };
            node.meta.execute(&command, deadline).await.map_err(|error| match error {
                MetaError::Refused(refusal) => DirectoryError::Refused(refusal),
                MetaError::Route(error) => DirectoryError::Unavailable(error.to_string()),
            })
        })
    }
}
