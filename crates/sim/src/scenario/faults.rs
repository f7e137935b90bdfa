//! What goes wrong, and when: drawn from the world's seed.

use super::table_client::Shared;
use crate::world::World;
use crate::world::net::Weather;
use rand::Rng;
use rand::seq::IndexedRandom as _;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// Kinds of fault that may strike.
#[derive(Clone, Copy, Debug)]
pub struct Faults {
    /// Processes die and come back.
    pub crash: bool,
    /// Their machines lose power: unsynced writes are lost, the log's tail is torn.
    pub power: bool,
    /// Machines are cut off, one way or both.
    pub partition: bool,
    /// Frames are lost, doubled, delayed and reordered.
    pub weather: bool,
    /// Disks stall, slow down, and fail a sync.
    pub disk: bool,
    /// Clocks drift and jump.
    pub clock: bool,
    /// Syncs report success and make nothing durable: no system survives this under power loss; for the self-test.
    pub lying_sync: bool,
}

impl Faults {
    /// Everything that Torc must survive.
    pub const ALL: Faults = Faults {
        crash: true,
        power: true,
        partition: true,
        weather: true,
        disk: true,
        clock: true,
        lying_sync: false,
    };
    /// None.
    pub const NONE: Faults = Faults {
        crash: false,
        power: false,
        partition: false,
        weather: false,
        disk: false,
        clock: false,
        lying_sync: false,
    };
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    CrashOne,
    CrashAll,
    Isolate,
    Heal,
    Storm,
    Calm,
    Stall,
    SlowDisk,
    FailSync,
    Drift,
    Jump,
}

/// Fastest and slowest a node's clock may run: the lease allows for 10 %.
const MAX_DRIFT_PPB: i64 = 40_000_000;
const MAX_JUMP_MS: i64 = 3_600_000;

/// Strikes until `until`. Returns how many faults struck.
pub async fn strike(
    world: &mut World,
    shared: &Arc<Shared>,
    faults: Faults,
    until: Instant,
) -> anyhow::Result<usize> {
    let mut struck = 0;
    if faults.lying_sync {
        for machine in &world.machines {
            machine.env.set_lying_sync(true);
        }
    }
    let kinds = kinds(faults);
    while Instant::now() < until {
        let pause = Duration::from_millis(world.rng.random_range(100..1200));
        sleep(pause.min(until.saturating_duration_since(Instant::now()))).await;
        revive(world, shared).await?;
        let Some(kind) = kinds.choose(&mut world.rng).copied() else { continue };
        let victim = world.rng.random_range(0..world.machines.len());
        apply(world, kind, victim, faults);
        publish(world, shared);
        struck += 1;
    }
    Ok(struck)
}

fn kinds(faults: Faults) -> Vec<Kind> {
    let mut kinds = Vec::new();
    if faults.crash {
        kinds.extend([Kind::CrashOne, Kind::CrashOne, Kind::CrashAll]);
    }
    if faults.partition {
        kinds.extend([Kind::Isolate, Kind::Isolate, Kind::Heal]);
    }
    if faults.weather {
        kinds.extend([Kind::Storm, Kind::Calm]);
    }
    if faults.disk {
        kinds.extend([Kind::Stall, Kind::SlowDisk, Kind::FailSync]);
    }
    if faults.clock {
        kinds.extend([Kind::Drift, Kind::Jump]);
    }
    kinds
}

fn apply(world: &mut World, kind: Kind, victim: usize, faults: Faults) {
    world.trace.event(&format!("fault {kind:?} {victim}"));
    match kind {
        Kind::CrashOne => {
            let power = faults.power && world.rng.random_bool(0.5);
            world.crash(victim, power);
        }
        Kind::CrashAll => {
            for index in 0..world.machines.len() {
                let power = faults.power && world.rng.random_bool(0.5);
                world.crash(index, power);
            }
        }
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
    }
}

/// Brings back what is down, most of the time.
async fn revive(world: &mut World, shared: &Arc<Shared>) -> anyhow::Result<()> {
    world.poll_started().await?;
    for index in 0..world.machines.len() {
        if world.node(index).is_some_and(|n| n.failure().is_some()) {
            // Its disk failed it: the process exits, and what the failed sync should have written is in doubt.
            let power = world.rng.random_bool(0.5);
            world.crash(index, power);
        }
        if !world.is_up(index) && world.rng.random_bool(0.7) {
            world.start(index);
        }
    }
    publish(world, shared);
    Ok(())
}

fn publish(world: &World, shared: &Arc<Shared>) {
    *shared.processes.lock() = world.processes();
}
