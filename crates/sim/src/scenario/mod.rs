//! One simulated history: a cluster starts, clients work while faults happen, the faults stop, the cluster
//! must recover, and every oracle checks the history.
//!
//! * [`indexes`]: global secondary indexes created and deleted meanwhile. [`faults`]: the faults.
//!   [`table_client`] and [`bucket_client`]: the clients. [`ending`]: recovery and final checks. [`panics`]:
//!   every panic fails the run.

pub mod bucket_client;
pub mod dropping;
pub mod ending;
pub mod faults;
pub mod indexes;
pub mod moving;
pub mod panics;
pub mod shared;
pub mod table_client;

use crate::checker::linearizability::Outcome;
use crate::world::watch::Coverage;
use crate::world::{Planted, World};
use anyhow::{Context as _, bail, ensure};
use ending::START_LIMIT;
use faults::Faults;
use parking_lot::Mutex;
use rand::RngCore;
use shared::Shared;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};
use torc_cluster::topology::{BucketConfig, BucketPolicy, Command, Level, Response, TableStatus};

/// What a run is made of.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// The seed of everything.
    pub seed: u64,
    /// How long clients work under faults, virtual time.
    pub work: Duration,
    /// Table clients.
    pub clients: u64,
    /// Bucket clients.
    pub bucket_clients: u64,
    /// Keys that they share.
    pub keys: usize,
    /// Whether an index is made and another taken away while clients work. The table has indexes in any case.
    pub index_changes: bool,
    /// Which faults strike.
    pub faults: Faults,
    /// Bugs planted in every node.
    pub planted: Planted,
}

impl Plan {
    /// The full mix.
    pub fn full(seed: u64) -> Self {
        Self {
            seed,
            work: Duration::from_secs(12),
            clients: 4,
            bucket_clients: 2,
            keys: 4,
            index_changes: true,
            faults: Faults::ALL,
            planted: Planted::default(),
        }
    }
}

/// What a run came to, when nothing was wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
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
    /// What was reached.
    pub coverage: Coverage,
}

/// Nodes that a world begins with: one a zone.
const MACHINES: usize = 3;
/// Nodes that may join later.
const SPARE: usize = 1;
/// How often the oracles look at leases and topologies.
const LOOK: Duration = Duration::from_millis(5);
/// Every so many looks, the rows of indexes are followed.
const INDEXES_EVERY: u64 = 4;
/// Every so many looks, replicas are compared.
const COMPARE_EVERY: u64 = 10;

/// Runs one plan in a runtime of its own, on this thread, in virtual time.
///
/// # Errors
/// What an oracle found, that the cluster did not come up or heal, or that something panicked.
pub fn run(plan: Plan) -> anyhow::Result<Report> {
    in_virtual_time(plan.seed, history(plan))
}

/// Runs a history to its end in a runtime of its own, on this thread, in virtual time. A panic in it is its error.
fn in_virtual_time<T>(seed: u64, history: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build()?;
    panics::caught(|| runtime.block_on(history)).with_context(|| format!("seed {seed}"))
}

/// The world of a plan, with one node up in each zone.
async fn begin(plan: &Plan) -> anyhow::Result<World> {
    let mut world = World::new(plan.seed, MACHINES + SPARE, plan.planted);
    for index in 0..MACHINES {
        world.start(index);
        ensure!(world.settle(index, START_LIMIT).await?, "a disk failed before any fault was planned");
    }
    Ok(world)
}

async fn history(plan: Plan) -> anyhow::Result<Report> {
    let mut world = begin(&plan).await?;
    let shared = prepare(&mut world, &plan).await?;
    let looking = tokio::spawn(look(world.serving.clone(), world.watch.clone()));
    let until = Instant::now() + plan.work;
    let clients = employ(&mut world, &shared, &plan, until);
    let struck = faults::strike(&mut world, &shared, plan.faults, until).await?;
    for client in clients {
        client.await?;
    }
    ending::heal(&mut world).await?;
    ending::read_items(&world, &shared).await?;
    let finals = ending::read_buckets(&world, &shared).await?;
    indexes::follow(&world, &shared).await?;
    ending::replicas_agree(&world).await?;
    looking.abort();

    let history = shared.history.lock().clone();
    let bucket_history = shared.buckets.lock().history.clone();
    for operation in &history {
        world.trace.event(&format!("{operation:?}"));
    }
    for operation in &bucket_history {
        world.trace.event(&format!("{operation:?}"));
    }
    world.watch.verdict()?;
    ending::judge_items(&history)?;
    ending::judge_buckets(&bucket_history, &finals)?;

    indexes::count(&world, &shared);
    for process in world.processes() {
        for lag in process.node.index_lags() {
            world.watch.count("index changes delivered", lag.delivered);
            world.watch.count("index deliveries repeated", lag.failures);
        }
    }
    for index in 0..world.machines.len() {
        world.crash(index, false);
    }
    let (trace, events) = world.trace.digest();
    let definite = history.iter().filter(|o| !matches!(o.outcome, Outcome::Unknown | Outcome::Refused));
    Ok(Report {
        trace,
        events,
        operations: history.len() + bucket_history.len(),
        answered: definite.count() + bucket_history.len(),
        faults: struck,
        coverage: world.watch.coverage(),
    })
}

/// Looks at everything that serves, for as long as the world turns.
async fn look(
    serving: Arc<Mutex<Vec<crate::world::machine::Process>>>,
    watch: Arc<crate::world::watch::Watch>,
) {
    for turn in 0u64.. {
        let processes = serving.lock().clone();
        watch.look(&processes);
        if turn.is_multiple_of(INDEXES_EVERY) {
            watch.look_at_indexes(&processes);
        }
        if turn.is_multiple_of(COMPARE_EVERY) {
            watch.compare(&processes);
        }
        sleep(LOOK).await;
    }
}

fn employ(world: &mut World, shared: &Arc<Shared>, plan: &Plan, until: Instant) -> Vec<JoinHandle<()>> {
    let mut clients = Vec::new();
    for client in 0..plan.clients {
        let seed = world.rng.next_u64();
        clients.push(tokio::spawn(table_client::run(shared.clone(), client, seed, until)));
    }
    for client in 0..plan.bucket_clients {
        let seed = world.rng.next_u64();
        clients.push(tokio::spawn(bucket_client::run(shared.clone(), 100 + client, seed, until)));
    }
    if plan.index_changes {
        let seed = world.rng.next_u64();
        clients.push(tokio::spawn(indexes::manage(shared.clone(), seed, until)));
    }
    clients
}

/// Creates the table and the bucket, once all nodes are known, so that each gets three replicas from the start.
async fn prepare(world: &mut World, plan: &Plan) -> anyhow::Result<Arc<Shared>> {
    let node = world.node(0).context("node 0 is not up")?.clone();
    let known = Instant::now() + START_LIMIT;
    while node.topology().nodes().len() < MACHINES {
        ensure!(Instant::now() < known, "the nodes did not register in time");
        sleep(Duration::from_millis(20)).await;
    }
    let deadline = Instant::now() + START_LIMIT;
    let schema = indexes::table_schema();
    let table = Command::CreateTable {
        name: "t".into(),
        schema: schema.to_json(),
        status: TableStatus::Active,
        partitions: 3,
        replication_factor: 3,
        now_ms: node.wall_ms(),
        indexes: schema.global_indexes.iter().map(|index| index.name.clone()).collect(),
    };
    let Response::Table(table) = node.meta().execute(&table, deadline).await? else {
        bail!("creating a table did not answer with its number");
    };
    let bucket = Command::CreateBucket {
        name: bucket_client::BUCKET.into(),
        config: BucketConfig {
            n: 3,
            read: Level::Quorum,
            write: Level::Quorum,
            policy: BucketPolicy::Siblings,
        },
        partitions: 4,
        now_ms: node.wall_ms(),
    };
    node.meta().execute(&bucket, deadline).await?;
    let epoch = node.topology().epoch();
    for index in 1..MACHINES {
        let other = world.node(index).context("a node is not up")?.clone();
        while other.topology().epoch() < epoch {
            ensure!(Instant::now() < deadline, "node {index} does not learn of the table");
            sleep(Duration::from_millis(20)).await;
        }
    }
    Ok(Arc::new(Shared {
        serving: world.serving.clone(),
        history: Mutex::default(),
        buckets: Mutex::default(),
        table,
        token_key: *node.topology().token_key(),
        started: Instant::now(),
        keys: plan.keys,
    }))
}
