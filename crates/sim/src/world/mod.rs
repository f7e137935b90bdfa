//! A simulated cluster: nodes made of the real code, on simulated disks, clocks and network, on one thread in virtual time.
//!
//! Everything random is drawn from the world's seed, so one seed is one history.
//!
//! * [`machine`]: disk, clocks and process of one machine. [`net`]: the network. [`clock`]: drifting clocks. [`sizes`]: how small everything is.
//!   [`trace`]: a hash over all events. [`watch`]: the oracles that check events as they happen.

pub mod clock;
pub mod machine;
pub mod net;
pub mod sizes;
pub mod trace;
pub mod watch;

use anyhow::Context as _;
use machine::{Machine, Process, QUICK_DISK};
use net::{Net, Weather};
use parking_lot::Mutex;
use rand::{RngCore, SeedableRng};
use rand_chacha::ChaCha8Rng;
use sizes::Sizes;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use torc_coordinator::node::{IndexReads, Node, NodeConfig, NodeError, Ports};
use torc_engine::Engine;
use torc_engine::log::LogFaults;
use torc_replica::store::{Observers, PlantedBugs, Timing};
use trace::Trace;
use watch::Watch;

/// Where a node's engine lives on its simulated disk.
const DATA: &str = "/data";

/// Bugs planted in every node, for the proof that the oracles see.
#[derive(Clone, Copy, Debug, Default)]
pub struct Planted {
    /// In the protocols.
    pub node: PlantedBugs,
    /// In the log.
    pub log: LogFaults,
}

/// The cluster and its surroundings.
pub struct World {
    /// Machines, by index.
    pub machines: Vec<Machine>,
    /// The processes that serve now.
    pub serving: Arc<Mutex<Vec<Process>>>,
    /// Network.
    pub net: Net,
    /// What happened.
    pub trace: Arc<Trace>,
    /// Who looks on.
    pub watch: Arc<Watch>,
    /// The world's own generator: faults.
    pub rng: ChaCha8Rng,
    planted: Planted,
    sizes: Sizes,
    started: Instant,
}

/// Whether a start failed because of a fault that was planned, and not because of what it found on the disk.
fn is_planned(error: &anyhow::Error) -> bool {
    format!("{error:#}").contains("planned fault") || matches!(error.downcast_ref(), Some(NodeError::Log(_)))
}

impl World {
    /// A world of so many machines, each in a zone of its own, none running yet.
    pub fn new(seed: u64, machines: usize, planted: Planted) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let trace = Arc::new(Trace::new());
        let net = Net::new(rng.next_u64(), trace.clone());
        tokio::spawn(net.clone().run());
        let started = Instant::now();
        let sizes = Sizes::draw(&mut rng, planted.log);
        let machines = (0..machines).map(|index| Machine::new(index, started, &mut rng)).collect();
        let watch = Arc::new(Watch::default());
        Self { machines, serving: Arc::default(), net, trace, watch, rng, planted, sizes, started }
    }

    /// Virtual time since the world began.
    pub fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// Begins to start the process on a machine; [`World::settle`] waits until it serves.
    pub fn start(&mut self, index: usize) {
        self.trace.event(&format!("start {index}"));
        self.watch.count("starts", 1);
        let seed = self.rng.next_u64();
        let others = self.machines.iter().filter(|m| m.wanted).map(|m| m.addr.clone()).collect();
        let machine = &mut self.machines[index];
        let (addr, env) = (machine.addr.clone(), machine.env.clone());
        machine.wanted = true;
        machine.clock.restart();
        machine.ended = Arc::default();
        let config = NodeConfig {
            addr: addr.clone(),
            api_addr: addr.replace(":7000", ":8000"),
            zone: machine.zone.clone(),
            weight: 1,
            join: if index == 0 { Vec::new() } else { others },
            index_reads: IndexReads::default(),
            timing: Timing::default(),
            limits: self.sizes.limits,
            planted: self.planted.node,
        };
        let ports = Ports {
            clock: machine.clock.clone(),
            transport: self.net.endpoint(&addr),
            disk: Some(machine.pacer.clone()),
            seed,
            observers: Observers::one(self.watch.clone()),
        };
        let (net, options, born) = (self.net.clone(), self.sizes.engine.clone(), machine.born.clone());
        machine.starting = Some(tokio::spawn(async move {
            let engine = Engine::open(Arc::new(env), Path::new(DATA), options).context("engine")?;
            let attach = |node: &Node| {
                let node = node.clone();
                *born.lock() = Some(node.clone());
                net.attach(&addr, Some(Arc::new(move |class, frame| node.deliver(class, frame))));
            };
            Ok(Node::start(config, engine, ports, attach).await?)
        }));
    }

    /// Waits until what a machine's process is about to do is done, at most `limit`: it serves, or it has shut down. False if it ended because a fault
    /// of its disk struck while it started: it is down then, and may be started again.
    ///
    /// # Errors
    /// It could not start for any other reason, or hangs.
    pub async fn settle(&mut self, index: usize, limit: Duration) -> anyhow::Result<bool> {
        if let Some(stopping) = self.machines[index].stopping.take() {
            let stopped = tokio::time::timeout(limit, stopping).await;
            stopped.with_context(|| format!("machine {index} did not shut down in {limit:?}"))??;
            self.trace.event(&format!("stopped {index}"));
            self.end(index, None);
        }
        let Some(starting) = self.machines[index].starting.take() else { return Ok(true) };
        let started = tokio::time::timeout(limit, starting)
            .await
            .with_context(|| format!("machine {index} did not start in {limit:?}"))??;
        match started {
            Ok(node) => {
                self.machines[index].node = Some(node);
                self.publish();
                self.trace.event(&format!("serving {index}"));
                Ok(true)
            }
            Err(error) if is_planned(&error) => {
                self.crash(index, true);
                Ok(false)
            }
            Err(error) => Err(error.context(format!("machine {index} can't start"))),
        }
    }

    /// Takes over what has finished starting or stopping, without waiting.
    ///
    /// # Errors
    /// As for [`World::settle`].
    pub async fn poll(&mut self) -> anyhow::Result<()> {
        for index in 0..self.machines.len() {
            let machine = &self.machines[index];
            let started = machine.starting.as_ref().is_some_and(|s| s.is_finished());
            let stopped = machine.stopping.as_ref().is_some_and(|s| s.is_finished());
            if started || stopped {
                self.settle(index, Duration::from_secs(1)).await?;
            }
        }
        Ok(())
    }

    /// Kills the process; with `power`, unsynced writes of its disk are lost too.
    pub fn crash(&mut self, index: usize, power: bool) {
        self.trace.event(&format!("crash {index} power={power}"));
        if self.machines[index].is_up() {
            self.watch.count(if power { "power cuts" } else { "crashes" }, 1);
        }
        let seed = power.then(|| self.rng.next_u64());
        self.end(index, seed);
    }

    /// Asks the process to shut down in good order. It is up until [`World::poll`] or [`World::settle`] finds it done.
    pub fn stop(&mut self, index: usize) {
        let machine = &mut self.machines[index];
        let Some(node) = machine.node.clone().filter(|_| machine.stopping.is_none()) else { return };
        self.trace.event(&format!("stop {index}"));
        self.watch.count("shutdowns", 1);
        machine.stopping = Some(tokio::spawn(async move {
            node.shutdown().await;
            // A disk that fails now leaves what a crash would leave.
            let _ = node.engine().close();
        }));
    }

    /// The process is gone, however it ended.
    fn end(&mut self, index: usize, power: Option<u64>) {
        let machine = &mut self.machines[index];
        self.net.attach(&machine.addr, None);
        if let Some(starting) = machine.starting.take() {
            starting.abort();
        }
        if let Some(stopping) = machine.stopping.take() {
            stopping.abort();
        }
        if let Some(node) = machine.node.take() {
            let metrics = node.engine().metrics();
            self.watch.count("flushes", metrics.flushes);
            self.watch.count("compactions", metrics.compactions + metrics.moves);
            self.watch.count("log segments recycled", node.engine().log().metrics().segments_recycled);
        }
        // Also a process that had not finished its start has tasks.
        if let Some(node) = machine.born.lock().take() {
            node.crash();
        }
        machine.ended.set();
        match power {
            Some(seed) => machine.env.crash(seed),
            None => machine.env.kill(),
        }
        machine.env.set_stalled(false);
        self.watch.ended(index);
        self.publish();
    }

    fn publish(&self) {
        let processes = self.machines.iter().enumerate().filter_map(|(index, m)| m.process(index));
        *self.serving.lock() = processes.collect();
    }

    /// A serving node, if there is one at this index.
    pub fn node(&self, index: usize) -> Option<&Node> {
        self.machines[index].node.as_ref()
    }

    /// The serving processes.
    pub fn processes(&self) -> Vec<Process> {
        self.serving.lock().clone()
    }

    /// Longest delay of a machine's disk.
    pub fn set_disk_delay(&self, index: usize, longest: Duration) {
        *self.machines[index].pacer.longest.lock() = longest;
    }

    /// Cuts a machine off, in one direction or both.
    pub fn isolate(&mut self, index: usize, outbound: bool, inbound: bool) {
        self.trace.event(&format!("isolate {index} out={outbound} in={inbound}"));
        let me = self.machines[index].addr.clone();
        for other in self.machines.iter().map(|m| &m.addr).filter(|a| **a != me) {
            if outbound {
                self.net.cut(&me, other);
            }
            if inbound {
                self.net.cut(other, &me);
            }
        }
    }

    /// Ends every fault but crashed processes.
    pub fn calm(&mut self) {
        self.trace.event("calm");
        self.net.heal();
        self.net.set_weather(Weather::CALM);
        for machine in &self.machines {
            machine.env.set_stalled(false);
            machine.env.set_lying_sync(false);
            machine.env.cancel_planned();
            machine.clock.set_drift(0);
            *machine.pacer.longest.lock() = QUICK_DISK;
        }
    }
}
