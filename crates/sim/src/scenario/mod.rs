//! One simulated history: a cluster comes up, clients work while faults strike, the faults end, the cluster must heal, and every
//! oracle looks at what happened.

pub mod faults;
pub mod table_client;

use crate::checker::linearizability::{self, Budget, Verdict};
use crate::world::World;
use anyhow::{Context as _, bail, ensure};
use faults::Faults;
use parking_lot::Mutex;
use rand::RngCore;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use table_client::Shared;
use tokio::time::{Instant, sleep};
use torc_cluster::GroupId;
use torc_cluster::topology::{Command, Response, TableStatus, check_invariants};
use torc_replica::store::PlantedBugs;

/// What a run is made of.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// The seed of everything.
    pub seed: u64,
    /// How long clients work under faults, virtual time.
    pub work: Duration,
    /// Table clients.
    pub clients: u64,
    /// Keys that they share.
    pub keys: usize,
    /// Which faults strike.
    pub faults: Faults,
    /// Bugs planted in every node.
    pub planted: PlantedBugs,
}

impl Plan {
    /// The full mix.
    pub fn full(seed: u64) -> Self {
        Self {
            seed,
            work: Duration::from_secs(12),
            clients: 4,
            keys: 4,
            faults: Faults::ALL,
            planted: PlantedBugs::default(),
        }
    }
}

/// What a run came to, when nothing was wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Report {
    /// Hash over everything that happened.
    pub trace: u128,
    /// Events hashed.
    pub events: u64,
    /// Operations of clients.
    pub operations: usize,
    /// Of them, those that got a definite answer.
    pub answered: usize,
    /// Faults that struck.
    pub faults: usize,
}

/// Nodes of a world: one a zone.
const MACHINES: usize = 3;
const START_LIMIT: Duration = Duration::from_secs(30);
const HEAL_LIMIT: Duration = Duration::from_secs(30);
/// Steps of the linearizability search before a history counts as too hard to judge.
const CHECK_STEPS: u64 = 3_000_000;

/// Runs one plan in a runtime of its own, on this thread, in virtual time.
///
/// # Errors
/// What an oracle found, or that the cluster did not come up or heal.
pub fn run(plan: Plan) -> anyhow::Result<Report> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build()?;
    runtime.block_on(history(plan)).with_context(|| format!("seed {}", plan.seed))
}

async fn history(plan: Plan) -> anyhow::Result<Report> {
    let mut world = World::new(plan.seed, MACHINES, plan.planted);
    for index in 0..MACHINES {
        world.start(index);
        ensure!(world.settle(index, START_LIMIT).await?, "a disk failed before any fault was planned");
    }
    let shared = create_table(&mut world, &plan).await?;
    let until = Instant::now() + plan.work;
    let mut clients = Vec::new();
    for client in 0..plan.clients {
        let seed = world.rng.next_u64();
        clients.push(tokio::spawn(table_client::run(shared.clone(), client, seed, until)));
    }
    let struck = faults::strike(&mut world, &shared, plan.faults, until).await?;
    for client in clients {
        client.await?;
    }
    heal(&mut world, &shared).await?;
    final_reads(&world, &shared).await?;
    replicas_agree(&world).await?;
    topology_is_sound(&world)?;
    let history = shared.history.lock().clone();
    for operation in &history {
        world.trace.event(&format!("{operation:?}"));
    }
    judge(&history)?;
    let (trace, events) = world.trace.digest();
    let answered = history.iter().filter(|o| !matches!(o.outcome, linearizability::Outcome::Unknown | linearizability::Outcome::Refused));
    let report =
        Report { trace, events, operations: history.len(), answered: answered.count(), faults: struck };
    for index in 0..MACHINES {
        world.crash(index, false);
    }
    Ok(report)
}

async fn create_table(world: &mut World, plan: &Plan) -> anyhow::Result<Arc<Shared>> {
    let node = world.node(0).context("node 0 is not up")?.clone();
    // The table gets three replicas from the start once all nodes are known.
    let known = Instant::now() + START_LIMIT;
    while node.topology().nodes().len() < MACHINES {
        ensure!(Instant::now() < known, "the nodes did not register in time");
        sleep(Duration::from_millis(20)).await;
    }
    let command = Command::CreateTable {
        name: "t".into(),
        schema: b"{}".to_vec(),
        status: TableStatus::Active,
        partitions: 3,
        replication_factor: 3,
        now_ms: node.wall_ms(),
    };
    let deadline = Instant::now() + START_LIMIT;
    let Response::Table(table) = node.meta().execute(&command, deadline).await? else {
        bail!("creating a table did not answer with its number");
    };
    Ok(Arc::new(Shared {
        nodes: Mutex::new(world.machines.iter().filter_map(|m| m.node.clone()).collect()),
        history: Mutex::default(),
        table,
        token_key: *node.topology().token_key(),
        started: Instant::now(),
        keys: plan.keys,
    }))
}

/// Faults are over: every process must come back, and every key must be readable and writable again.
async fn heal(world: &mut World, shared: &Arc<Shared>) -> anyhow::Result<()> {
    world.calm();
    for index in 0..MACHINES {
        if world.node(index).is_some_and(|n| n.failure().is_some()) {
            world.crash(index, false);
        }
    }
    for index in 0..MACHINES {
        // A fault planned before the calm may still strike a start, once.
        for _ in 0..3 {
            if !world.is_up(index) {
                world.start(index);
            }
            if world.settle(index, START_LIMIT).await? {
                break;
            }
        }
        ensure!(world.is_up(index), "machine {index} does not start any more");
    }
    *shared.nodes.lock() = world.machines.iter().filter_map(|m| m.node.clone()).collect();
    let limit = Instant::now() + HEAL_LIMIT;
    for index in 0..MACHINES {
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

/// Every key is read once more through every node: what was acknowledged must be there.
async fn final_reads(world: &World, shared: &Arc<Shared>) -> anyhow::Result<()> {
    for (client, machine) in (1000..).zip(&world.machines) {
        let node = machine.node.as_ref().context("a node is down after healing")?;
        for key in 0..shared.keys {
            let name = format!("k{key}");
            let limit = Instant::now() + HEAL_LIMIT;
            while table_client::read(shared, node, client, &name).await == linearizability::Outcome::Refused {
                ensure!(
                    Instant::now() < limit,
                    "{name} can't be read through {} after healing: {}",
                    node.id(),
                    describe(world)
                );
            }
        }
    }
    Ok(())
}

/// All replicas of a group reach the same applied entry and hold the same bytes there.
async fn replicas_agree(world: &World) -> anyhow::Result<()> {
    let limit = Instant::now() + HEAL_LIMIT;
    loop {
        let mut groups: BTreeMap<GroupId, Vec<(u64, String)>> = BTreeMap::new();
        for node in world.machines.iter().filter_map(|m| m.node.as_ref()) {
            for replica in node.replica_status(true)? {
                groups.entry(replica.group).or_default().push((replica.applied, replica.digest));
            }
        }
        for (group, replicas) in &groups {
            for (a, b) in replicas.iter().zip(replicas.iter().skip(1)) {
                ensure!(a.0 != b.0 || a.1 == b.1, "replicas of {group} differ at entry {}: {} and {}", a.0, a.1, b.1);
            }
        }
        let settled = groups.values().all(|r| r.len() == MACHINES && r.iter().all(|x| x == &r[0]));
        if settled {
            return Ok(());
        }
        ensure!(Instant::now() < limit, "replicas did not converge: {}", describe(world));
        sleep(Duration::from_millis(100)).await;
    }
}

/// What every node believes of its groups, for the message of a failure.
fn describe(world: &World) -> String {
    use std::fmt::Write as _;
    let mut text = String::new();
    for node in world.machines.iter().filter_map(|m| m.node.as_ref()) {
        let _ = write!(text, "\n  {} epoch {} failure {:?}", node.id(), node.topology().epoch(), node.failure());
        for replica in node.replica_status(true).unwrap_or_default() {
            let leader = node.leader_of(replica.group);
            let _ = write!(
                text,
                "\n    {} term {} leads {} leader {leader:?} applied {} digest {}",
                replica.group, replica.term, replica.leader, replica.applied, replica.digest
            );
        }
    }
    text
}

fn topology_is_sound(world: &World) -> anyhow::Result<()> {
    let mut epochs = BTreeMap::new();
    for node in world.machines.iter().filter_map(|m| m.node.as_ref()) {
        let topology = node.topology();
        let violations = check_invariants(&topology);
        ensure!(violations.is_empty(), "topology of {}: {violations:?}", node.id());
        let known = epochs.entry(topology.epoch()).or_insert_with(|| topology.clone());
        ensure!(**known == *topology, "two nodes hold different topologies of epoch {}", topology.epoch());
    }
    Ok(())
}

fn judge(history: &[linearizability::Operation]) -> anyhow::Result<()> {
    match linearizability::check(history, &mut Budget::steps(CHECK_STEPS)) {
        Verdict::Linearizable => Ok(()),
        Verdict::Violation(example) => bail!("not linearizable: {example}"),
        Verdict::OutOfBudget { key, operations } => bail!(
            "the history of {} ({operations} operations) is too hard to judge",
            String::from_utf8_lossy(&key)
        ),
    }
}
