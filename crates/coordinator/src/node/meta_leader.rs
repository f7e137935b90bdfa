//! The tasks of the meta group's leader besides answering requests: it changes the cluster step by step
//! towards the state that the topology describes.

use super::Inner;
use super::index_life;
use crate::tables::route::{Repeat, Target};
use bytes::Bytes;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep};
use torc_cluster::topology::{Command, Table, TableStatus, Topology, reconcile};
use torc_cluster::{META_GROUP, Partition, TableId};
use torc_wire::peer::{PeerRequest, Read, RequestBody, ResponseBody};

/// How often the leader looks when nothing has changed.
const PERIOD: Duration = Duration::from_millis(500);
const STEP_DEADLINE: Duration = Duration::from_secs(3);

/// Runs on every node; acts only while this node leads the meta group.
pub(super) async fn run(node: Arc<Inner>) {
    let mut epoch = node.topology.follow();
    loop {
        tokio::select! {
            biased;
            _ = epoch.next() => {}
            _ = sleep(PERIOD) => {}
        }
        if node.store.view(META_GROUP).is_some_and(|v| v.is_leader()) {
            round(&node).await;
        }
    }
}

async fn round(node: &Arc<Inner>) {
    let topology = node.topology.get();
    for command in reconcile(&topology) {
        if ready_for(node, &topology, &command) {
            execute(node, &command).await;
        }
    }
    for table in topology.tables() {
        let Some(spec) = table.as_table() else { continue };
        match spec.status {
            TableStatus::Creating => activate(node, &topology, table).await,
            TableStatus::Deleting => execute(node, &Command::DropTable { table: table.id }).await,
            TableStatus::Active | TableStatus::Updating => {
                for command in index_life::steps(node, &topology, table.id, spec).await {
                    execute(node, &command).await;
                }
            }
        }
    }
}

/// A step waits until the step before it is complete: the group's actual members are those of the topology.
fn ready_for(node: &Arc<Inner>, topology: &Topology, command: &Command) -> bool {
    match command {
        Command::SetMetaMembers { members } => {
            let current = topology.meta_members();
            let settled = node.store.view(META_GROUP).is_some_and(|v| {
                let members = v.members();
                let voters: BTreeSet<u64> = members.voters.iter().copied().collect();
                members.voters_outgoing.is_empty() && voters == current.iter().map(|m| m.0).collect()
            });
            settled && members.iter().all(|m| node.liveness.is_alive(*m))
        }
        Command::SetReplicas { replicas, .. } => replicas.iter().all(|r| node.liveness.is_alive(*r)),
        _ => true,
    }
}

/// A table is active once every partition, those of its indexes too, has a leader that answers.
async fn activate(node: &Arc<Inner>, topology: &Topology, table: &Table) {
    let mut probes = vec![all_answer(node, topology, table.id)];
    for index in table.as_table().map_or(&[][..], |spec| &spec.indexes) {
        probes.push(all_answer(node, topology, index.table));
    }
    if !futures::future::join_all(probes).await.into_iter().all(|answered| answered) {
        return;
    }
    execute(node, &Command::table_status(table.id, TableStatus::Active)).await;
}

/// Whether every partition has a leader that answers.
pub(super) async fn all_answer(node: &Arc<Inner>, topology: &Topology, table: TableId) -> bool {
    let probes = topology.partitions(table).iter().map(|p| probe(node, p));
    futures::future::join_all(probes).await.iter().all(|ok| *ok)
}

async fn probe(node: &Arc<Inner>, partition: &Partition) -> bool {
    let key = torc_replica::machine::table::first_key(partition);
    read(node, partition, key).await.is_some()
}

/// Reads a key of a partition from its leader; `None` if nobody answers.
pub(super) async fn read(node: &Arc<Inner>, partition: &Partition, key: Bytes) -> Option<Option<Bytes>> {
    let make = |p: &Partition, epoch: torc_cluster::Epoch| PeerRequest {
        body: Some(RequestBody::Read(Read {
            group: p.group.0,
            epoch: epoch.0,
            key: key.clone(),
            strong: true,
        })),
    };
    let deadline = Instant::now() + STEP_DEADLINE;
    let target = Target::Group(partition.group);
    let response = node.router.to_leader(target, Repeat::Safe, deadline, make).await.ok()?;
    match response.body {
        Some(ResponseBody::Value(value)) => Some(value.value),
        _ => None,
    }
}

async fn execute(node: &Arc<Inner>, command: &Command) {
    if let Err(error) = node.meta.execute(command, Instant::now() + STEP_DEADLINE).await {
        tracing::debug!(%error, ?command, "a topology step has to wait");
    }
}
