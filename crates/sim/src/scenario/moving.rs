//! A partition moves away from its leader while that leader is killed: one exact order of events that the
//! random mix reaches only rarely.

use super::ending::{self, START_LIMIT};
use super::faults::Faults;
use super::{MACHINES, Plan, begin, in_virtual_time, prepare};
use anyhow::{Context as _, ensure};
use std::time::Duration;
use tokio::time::{Instant, sleep};
use torc_cluster::topology::Command;

/// The leader of each partition in turn is told that it shall have it no longer, is killed in the moment in which it knows, and starts again with
/// a topology that does not name it.
///
/// # Errors
/// The partition does not serve, or its new replicas do not become equal.
pub fn killed_while_it_is_moved_away(seed: u64) -> anyhow::Result<()> {
    in_virtual_time(seed, history(seed))
}

async fn history(seed: u64) -> anyhow::Result<()> {
    let plan = Plan { faults: Faults::NONE, ..Plan::full(seed) };
    let mut world = begin(&plan).await?;
    let shared = prepare(&mut world, &plan).await?;
    let spare = MACHINES;
    world.start(spare);
    ensure!(world.settle(spare, START_LIMIT).await?, "the spare node does not start");
    let limit = Instant::now() + START_LIMIT;
    let first = world.node(0).context("node 0 is not up")?.clone();
    while first.topology().nodes().len() <= spare {
        ensure!(Instant::now() < limit, "the spare node does not join");
        sleep(Duration::from_millis(20)).await;
    }
    let groups: Vec<_> = first.topology().partitions(shared.table).iter().map(|p| p.group).collect();
    for group in groups {
        let topology = world.node(spare).context("the spare node is not up")?.topology();
        let partition = topology.partition_by_group(group).context("the partition is gone")?.clone();
        let leader = loop {
            let leads = |i: &usize| world.node(*i).is_some_and(|n| n.leases().contains(&group));
            if let Some(leader) = (0..=spare).find(leads) {
                break leader;
            }
            ensure!(Instant::now() < limit, "group {group} has no leader");
            sleep(Duration::from_millis(20)).await;
        };
        let victim = world.node(leader).context("the leader is not up")?.clone();
        let outside = topology.nodes().map(|n| n.id).find(|n| !partition.replicas.contains(n));
        let mut replicas: Vec<_> = partition.replicas.iter().copied().filter(|n| *n != victim.id()).collect();
        replicas.extend(outside);
        let meta = world.node((leader + 1) % MACHINES).context("a node is not up")?.clone();
        let command = Command::SetReplicas { group, replicas: replicas.clone() };
        meta.meta().execute(&command, limit).await?;
        let knows = || victim.topology().partition_by_group(group).is_some_and(|p| p.replicas == replicas);
        while !knows() {
            ensure!(Instant::now() < limit, "the leader does not learn that its partition moves");
            sleep(Duration::from_millis(1)).await;
        }
        world.crash(leader, true);
        world.start(leader);
        ensure!(world.settle(leader, START_LIMIT).await?, "the killed node does not start");
    }
    ending::heal(&mut world).await?;
    ending::read_items(&world, &shared).await?;
    ending::replicas_agree(&world).await?;
    world.watch.verdict()
}
