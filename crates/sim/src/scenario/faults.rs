//! Which faults happen, and when: drawn from the world's seed.

use super::shared::Shared;
use crate::world::World;
use crate::world::net::Weather;
use rand::seq::{IndexedRandom as _, SliceRandom as _};
use rand::{Rng, RngCore as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep};
use torc_cluster::topology::Command;
use torc_cluster::{NodeId, TableId};
use torc_coordinator::node::Node;

/// Kinds of fault that may strike.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    /// Processes die and come back.
    pub crash: bool,
    /// Their machines lose power: unsynced writes are lost, the log's tail is torn. With `crash`.
    pub power: bool,
    /// Every crash is a power cut of all machines at once. With `crash`.
    pub blackout: bool,
    /// Processes shut down in good order and come back.
    pub restart: bool,
    /// Machines are cut off, one way or both.
    pub partition: bool,
    /// Frames are lost, doubled, delayed and reordered.
    pub weather: bool,
    /// Disks stall, slow down, and fail a sync.
    pub disk: bool,
    /// Clocks drift and jump.
    pub clock: bool,
    /// A machine joins, partitions move.
    pub membership: bool,
}

impl Faults {
    /// None.
    pub const NONE: Faults = Faults {
        crash: false,
        power: false,
        blackout: false,
        restart: false,
        partition: false,
        weather: false,
        disk: false,
        clock: false,
        membership: false,
    };
    /// Everything that Torc must survive.
    pub const ALL: Faults = Faults {
        crash: true,
        power: true,
        blackout: false,
        restart: true,
        partition: true,
        weather: true,
        disk: true,
        clock: true,
        membership: true,
    };
    /// Their names, as the command line takes them.
    pub const NAMES: [&str; 9] =
        ["crash", "power", "blackout", "restart", "partition", "weather", "disk", "clock", "membership"];

    /// Those named; `None` if a name is unknown.
    pub fn named<'a>(names: impl IntoIterator<Item = &'a str>) -> Option<Faults> {
        let mut faults = Faults::NONE;
        for name in names {
            let flags = [
                &mut faults.crash,
                &mut faults.power,
                &mut faults.blackout,
                &mut faults.restart,
                &mut faults.partition,
                &mut faults.weather,
                &mut faults.disk,
                &mut faults.clock,
                &mut faults.membership,
            ];
            let at = Faults::NAMES.iter().position(|known| *known == name)?;
            for (i, flag) in flags.into_iter().enumerate() {
                *flag |= i == at;
            }
        }
        Some(faults)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    CrashOne,
    CrashAll,
    Shutdown,
    Isolate,
    Heal,
    Storm,
    Calm,
    Stall,
    SlowDisk,
    FailSync,
    Drift,
    Jump,
    Members,
}

impl Kind {
    /// Its name in the count of what was reached.
    fn counted(self) -> &'static str {
        match self {
            Kind::CrashOne => "fault crash",
            Kind::CrashAll => "fault crash of all",
            Kind::Shutdown => "fault shutdown",
            Kind::Isolate => "fault isolation",
            Kind::Heal => "links healed",
            Kind::Storm => "fault storm",
            Kind::Calm => "weather calmed",
            Kind::Stall => "fault disk stall",
            Kind::SlowDisk => "fault slow disk",
            Kind::FailSync => "fault failed sync",
            Kind::Drift => "fault clock drift",
            Kind::Jump => "fault clock jump",
            Kind::Members => "fault membership",
        }
    }
}

/// Fastest and slowest a node's clock may run: the lease allows for 10 %.
const MAX_DRIFT_PPB: i64 = 40_000_000;
const MAX_JUMP_MS: i64 = 3_600_000;
/// Replicas of every partition.
const REPLICAS: usize = 3;

/// Strikes until `until`. Returns how many faults struck.
///
/// # Errors
/// A process did not come back.
pub async fn strike(
    world: &mut World,
    shared: &Arc<Shared>,
    faults: Faults,
    until: Instant,
) -> anyhow::Result<usize> {
    let mut struck = 0;
    let kinds = kinds(faults);
    while Instant::now() < until {
        let pause = Duration::from_millis(world.rng.random_range(100..1200));
        sleep(pause.min(until.saturating_duration_since(Instant::now()))).await;
        revive(world).await?;
        let Some(kind) = kinds.choose(&mut world.rng).copied() else { continue };
        let wanted: Vec<usize> = (0..world.machines.len()).filter(|i| world.machines[*i].wanted).collect();
        let Some(victim) = wanted.choose(&mut world.rng).copied() else { continue };
        apply(world, shared, kind, victim, faults);
        struck += 1;
    }
    Ok(struck)
}

fn kinds(faults: Faults) -> Vec<Kind> {
    let mut kinds = Vec::new();
    let mut add = |on: bool, some: &[Kind]| {
        if on {
            kinds.extend_from_slice(some);
        }
    };
    add(faults.crash && !faults.blackout, &[Kind::CrashOne, Kind::CrashOne, Kind::CrashAll]);
    add(faults.crash && faults.blackout, &[Kind::CrashAll]);
    add(faults.restart, &[Kind::Shutdown]);
    add(faults.partition, &[Kind::Isolate, Kind::Isolate, Kind::Heal]);
    add(faults.weather, &[Kind::Storm, Kind::Calm]);
    add(faults.disk, &[Kind::Stall, Kind::SlowDisk, Kind::FailSync]);
    add(faults.clock, &[Kind::Drift, Kind::Jump]);
    add(faults.membership, &[Kind::Members, Kind::Members]);
    kinds
}

fn apply(world: &mut World, shared: &Arc<Shared>, kind: Kind, victim: usize, faults: Faults) {
    world.trace.event(&format!("fault {kind:?} {victim}"));
    world.watch.count(kind.counted(), 1);
    match kind {
        Kind::CrashOne => {
            let power = faults.power && world.rng.random_bool(0.5);
            world.crash(victim, power);
        }
        Kind::CrashAll => {
            for index in 0..world.machines.len() {
                let power = faults.power && (faults.blackout || world.rng.random_bool(0.5));
                world.crash(index, power);
            }
        }
        Kind::Shutdown => world.stop(victim),
        Kind::Isolate => {
            let (outbound, inbound) =
                *[(true, true), (true, false), (false, true)].choose(&mut world.rng).unwrap_or(&(true, true));
            world.isolate(victim, outbound, inbound);
        }
        Kind::Heal => world.net.heal(),
        Kind::Storm => world.net.set_weather(Weather::STORMY),
        Kind::Calm => world.net.set_weather(Weather::CALM),
        Kind::Stall => {
            let stalled = world.machines[victim].env.stalled();
            world.machines[victim].env.set_stalled(!stalled);
        }
        Kind::SlowDisk => {
            let longest = Duration::from_millis(world.rng.random_range(1..60));
            world.set_disk_delay(victim, longest);
        }
        Kind::FailSync => {
            let nth = world.rng.random_range(1..20);
            world.machines[victim].env.fail_sync(nth);
        }
        Kind::Drift => {
            let ppb = world.rng.random_range(-MAX_DRIFT_PPB..=MAX_DRIFT_PPB);
            world.machines[victim].clock.set_drift(ppb);
        }
        Kind::Jump => {
            let by = world.rng.random_range(-MAX_JUMP_MS..=MAX_JUMP_MS);
            world.machines[victim].clock.jump_wall(by);
        }
        Kind::Members => change_members(world, shared, victim),
    }
}

/// A machine that is not part of the cluster joins it; once all have, a partition moves.
fn change_members(world: &mut World, shared: &Shared, through: usize) {
    if let Some(new) = (0..world.machines.len()).find(|i| !world.machines[*i].wanted) {
        world.watch.count("joins", 1);
        return world.start(new);
    }
    let seed = world.rng.next_u64();
    if let Some(node) = world.node(through).cloned() {
        world.watch.count("moves asked for", 1);
        tokio::spawn(move_partition(node, shared.table, seed));
    }
}

/// Asks for other replicas of some partition, in some order. What comes of it is up to the cluster.
async fn move_partition(node: Node, table: TableId, seed: u64) {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let topology = node.topology();
    let mut replicas: Vec<NodeId> = topology.nodes().map(|n| n.id).collect();
    replicas.shuffle(&mut rng);
    replicas.truncate(REPLICAS);
    let indexes = topology.table(table).and_then(|t| t.as_table()).map_or(&[][..], |spec| &spec.indexes);
    let tables: Vec<TableId> =
        std::iter::once(table).chain(indexes.iter().map(|index| index.table)).collect();
    let Some(table) = tables.choose(&mut rng) else { return };
    let Some(partition) = topology.partitions(*table).choose(&mut rng) else { return };
    if replicas.len() == REPLICAS {
        let command = Command::SetReplicas { group: partition.group, replicas };
        let _ = node.meta().execute(&command, Instant::now() + Duration::from_secs(3)).await;
    }
}

/// Brings back what is down, most of the time.
async fn revive(world: &mut World) -> anyhow::Result<()> {
    world.poll().await?;
    for index in 0..world.machines.len() {
        if world.node(index).is_some_and(|n| n.failure().is_some()) {
            // Its disk failed it: the process exits, and what the failed sync should have written is in doubt.
            let power = world.rng.random_bool(0.5);
            world.crash(index, power);
        }
        if world.machines[index].wanted && !world.machines[index].is_up() && world.rng.random_bool(0.7) {
            world.start(index);
        }
    }
    Ok(())
}
