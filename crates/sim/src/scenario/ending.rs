//! The end of a history: the faults have stopped, the cluster must recover, and everything acknowledged must
//! be present on every replica.

use super::bucket_client;
use super::shared::Shared;
use super::table_client;
use crate::checker::causal::{self, WriteId};
use crate::checker::linearizability::{self, Budget, Outcome, Verdict};
use crate::checker::replicas::{ReplicaDump, check_converged};
use crate::world::World;
use crate::world::watch::dumps;
use anyhow::{Context as _, bail, ensure};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep};
use torc_cluster::META_GROUP;
use torc_coordinator::bucket::Level;

/// How long a process may take to start or shut down.
pub const START_LIMIT: Duration = Duration::from_secs(30);
/// How long healing may take.
const HEAL_LIMIT: Duration = Duration::from_secs(30);
/// Bucket writes whose clients gave up may still reach replicas for so long.
const STRAGGLING: Duration = Duration::from_secs(3);
/// Steps of the linearizability search before a history counts as too hard to judge.
const CHECK_STEPS: u64 = 3_000_000;
/// First number of the clients that read at the end.
const LAST_READERS: u64 = 1000;

/// Faults are over: every process must come back, and know a leader of everything it holds.
///
/// # Errors
/// It did not heal.
pub async fn heal(world: &mut World) -> anyhow::Result<()> {
    world.calm();
    let wanted: Vec<usize> = (0..world.machines.len()).filter(|i| world.machines[*i].wanted).collect();
    for index in &wanted {
        // A process that was struck before the calm, serving or still starting, exits and is started again;
        // that must succeed. What was shutting down is down now.
        let settled = world.settle(*index, START_LIMIT).await?;
        if settled && world.node(*index).is_some_and(|n| n.failure().is_none()) {
            continue;
        }
        if world.machines[*index].is_up() {
            world.crash(*index, false);
        }
        world.start(*index);
        ensure!(world.settle(*index, START_LIMIT).await?, "machine {index} does not start any more");
    }
    let limit = Instant::now() + HEAL_LIMIT;
    for index in wanted {
        while !world.node(index).is_some_and(|n| n.is_ready()) {
            ensure!(
                Instant::now() < limit,
                "node {index} is not ready {HEAL_LIMIT:?} after the last fault: {}",
                describe(world)
            );
            sleep(Duration::from_millis(50)).await;
        }
    }
    Ok(())
}

/// Every item is read once more through every node: what was acknowledged must be there.
///
/// # Errors
/// A key could not be read.
pub async fn read_items(world: &World, shared: &Arc<Shared>) -> anyhow::Result<()> {
    for (client, process) in (LAST_READERS..).zip(world.processes()) {
        for key in 0..shared.keys {
            let name = format!("k{key}");
            let limit = Instant::now() + HEAL_LIMIT;
            while table_client::read(shared, &process, client, &name).await == Outcome::Refused {
                ensure!(
                    Instant::now() < limit,
                    "{name} can't be read through {} after healing: {}",
                    process.node.id(),
                    describe(world)
                );
            }
        }
    }
    Ok(())
}

/// All replicas of a group are where the topology wants them, have reached the same applied entry, and hold
/// the same bytes there.
///
/// # Errors
/// They differ, or did not converge.
pub async fn replicas_agree(world: &World) -> anyhow::Result<()> {
    let limit = Instant::now() + HEAL_LIMIT;
    loop {
        let processes = world.processes();
        world.watch.compare(&processes);
        world.watch.verdict()?;
        let mut wanted: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
        let mut found: Vec<ReplicaDump> = Vec::new();
        let newest =
            processes.iter().map(|p| p.node.topology()).max_by_key(|t| t.epoch()).context("no node")?;
        let same = processes.iter().all(|p| p.node.topology().epoch() == newest.epoch());
        wanted.insert(META_GROUP.0, newest.meta_members().iter().map(|n| n.0).collect());
        for partition in newest.all_partitions() {
            wanted.insert(partition.group.0, partition.replicas.iter().map(|n| n.0).collect());
        }
        for process in &processes {
            let mine = process.node.id().0;
            let held = dumps(process)?.into_iter();
            found.extend(held.filter(|d| wanted.get(&d.group).is_some_and(|nodes| nodes.contains(&mine))));
        }
        let whole =
            newest.tables().filter(|t| t.is_consensus()).map(|t| t.id).flat_map(|t| newest.partitions(t));
        let whole = whole.map(|p| p.group.0).chain([META_GROUP.0]).all(|group| {
            found.iter().filter(|d| d.group == group).count() == wanted.get(&group).map_or(0, Vec::len)
        });
        let faults = check_converged(&found);
        if faults.is_empty() && same && whole {
            return Ok(());
        }
        ensure!(Instant::now() < limit, "replicas did not converge: {faults:?}{}", describe(world));
        sleep(Duration::from_millis(100)).await;
    }
}

/// Every key of the bucket, read from all replicas through every node, until all nodes tell the same; then
/// each node's own copy must be that too.
///
/// # Errors
/// They do not become equal.
pub async fn read_buckets(
    world: &World,
    shared: &Arc<Shared>,
) -> anyhow::Result<BTreeMap<Vec<u8>, Vec<WriteId>>> {
    sleep(STRAGGLING).await;
    let mut finals = BTreeMap::new();
    for name in bucket_client::names(shared) {
        let limit = Instant::now() + HEAL_LIMIT;
        let mut values = loop {
            let whole = read_everywhere(world, shared, &name, Level::All).await;
            // Each node's own copy, or with a node that has none, another's.
            let own = read_everywhere(world, shared, &name, Level::One).await;
            match (whole, own) {
                (Some(whole), Some(own)) if whole == own => break whole,
                (whole, own) => ensure!(
                    Instant::now() < limit,
                    "bucket: {name} does not converge: at ALL {whole:?}, at ONE {own:?}{}",
                    describe(world)
                ),
            }
            sleep(Duration::from_millis(100)).await;
        };
        values.sort_unstable();
        finals.insert(name.into_bytes(), values);
    }
    Ok(finals)
}

/// What all nodes say of a key, if they agree.
async fn read_everywhere(world: &World, shared: &Shared, name: &str, level: Level) -> Option<Vec<WriteId>> {
    let mut agreed: Option<Vec<WriteId>> = None;
    for (client, process) in (LAST_READERS..).zip(world.processes()) {
        let (mut values, _) = bucket_client::read(shared, &process, client, name, level).await?;
        values.sort_unstable();
        if agreed.as_ref().is_some_and(|known| *known != values) {
            return None;
        }
        agreed = Some(values);
    }
    agreed
}

/// Judges the table's history.
///
/// # Errors
/// It is not linearizable, or too hard to judge.
pub fn judge_items(history: &[linearizability::Operation]) -> anyhow::Result<()> {
    match linearizability::check(history, &mut Budget::steps(CHECK_STEPS)) {
        Verdict::Linearizable => Ok(()),
        Verdict::Violation(example) => bail!("not linearizable: {example}"),
        Verdict::OutOfBudget { key, operations } => bail!(
            "the history of {} ({operations} operations) is too hard to judge",
            String::from_utf8_lossy(&key)
        ),
    }
}

/// Judges the bucket's history.
///
/// # Errors
/// It breaks causality.
pub fn judge_buckets(
    history: &[causal::BucketOp],
    finals: &BTreeMap<Vec<u8>, Vec<WriteId>>,
) -> anyhow::Result<()> {
    let found = causal::check(history, finals);
    let Some(first) = found.first() else { return Ok(()) };
    let about = history.iter().filter(|op| op.key == first.key);
    let mut text = String::new();
    for op in about.filter(|op| first.writes.iter().any(|w| mentions(op, *w))) {
        let _ = write!(text, "\n    {op:?}");
    }
    bail!("not causal ({} violations): {first}{text}", found.len())
}

fn mentions(op: &causal::BucketOp, write: WriteId) -> bool {
    match &op.action {
        causal::BucketAction::Write { id, .. } => *id == write,
        causal::BucketAction::Read { values, .. } => values.contains(&write),
    }
}

/// What every node believes of its groups, for the message of a failure.
pub fn describe(world: &World) -> String {
    let mut text = String::new();
    for process in world.processes() {
        let node = &process.node;
        let topology = node.topology();
        let _ = write!(text, "\n  {} epoch {} failure {:?}", node.id(), topology.epoch(), node.failure());
        for replica in node.replica_status(true).unwrap_or_default() {
            let leader = node.leader_of(replica.group);
            let wanted = topology.partition_by_group(replica.group).map(|p| p.replicas.clone());
            let _ = write!(
                text,
                "\n    {} term {} leads {} leader {leader:?} applied {} digest {} wanted on {wanted:?}",
                replica.group, replica.term, replica.leader, replica.applied, replica.digest
            );
        }
    }
    text
}
