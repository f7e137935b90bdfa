//! What the leader of the meta group does beside answering: it walks the cluster towards what the topology says it should be.

use super::Inner;
use crate::tables::route::{Repeat, Target};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep};
use torc_cluster::topology::{Command, Table, TableStatus, Topology, reconcile};
use torc_cluster::{META_GROUP, Partition};
use torc_wire::peer::{PeerRequest, Read, RequestBody};

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
            TableStatus::Active | TableStatus::Updating => {}
        }
    }
}

/// A step waits until the one before it has been walked: the group's real members are those that the topology has now.
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

/// A table is active once every partition has a leader that answers.
async fn activate(node: &Arc<Inner>, topology: &Topology, table: &Table) {
    let probes = topology.partitions(table.id).iter().map(|p| probe(node, p));
    let answered = futures::future::join_all(probes).await;
    if answered.iter().all(|ok| *ok) {
        let command =
            Command::UpdateTable { table: table.id, schema: None, status: Some(TableStatus::Active) };
        execute(node, &command).await;
    }
}

async fn probe(node: &Arc<Inner>, partition: &Partition) -> bool {
    let key = torc_replica::machine::table::first_key(partition);
    let make = |p: &Partition, epoch: torc_cluster::Epoch| PeerRequest {
        body: Some(RequestBody::Read(Read {
            group: p.group.0,
            epoch: epoch.0,
            key: key.clone(),
            strong: true,
        })),
    };
    let deadline = Instant::now() + STEP_DEADLINE;
    node.router.to_leader(Target::Group(partition.group), Repeat::Safe, deadline, make).await.is_ok()
}

async fn execute(node: &Arc<Inner>, command: &Command) {
    if let Err(error) = node.meta.execute(command, Instant::now() + STEP_DEADLINE).await {
        tracing::debug!(%error, ?command, "a topology step has to wait");
    }
}
