//! A simulated cluster: nodes made of the real code, on simulated disks, clocks and network, on one thread in virtual time.
//!
//! Everything random is drawn from the world's seed, so one seed is one history.

pub mod clock;
pub mod net;
pub mod trace;

use anyhow::Context as _;
use clock::SimClock;
use net::{Net, Weather};
use parking_lot::Mutex;
use rand::{Rng, RngCore, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;
use torc_coordinator::node::{Node, NodeConfig, NodeError, Ports};
use torc_coordinator::ports::DiskPacer;
use torc_engine::env::SimEnv;
use torc_engine::{Background, Engine, Options};
use torc_replica::store::{Limits, Observers, PlantedBugs, Timing};
use trace::Trace;

/// Where a node's engine lives on its simulated disk.
const DATA: &str = "/data";

/// One machine of the world. Its disk and clock outlive the process on it.
pub struct Machine {
    /// Cluster address.
    pub addr: String,
    /// Zone.
    pub zone: String,
    /// Disk.
    pub env: SimEnv,
    /// Clocks.
    pub clock: Arc<SimClock>,
    /// The process, if it runs.
    pub node: Option<Node>,
    /// Set when the present process is killed.
    killed: watch::Sender<bool>,
    starting: Option<tokio::task::JoinHandle<anyhow::Result<Node>>>,
    pacer: Arc<Pacer>,
}

/// A process as its clients see it: what they wait for ends when it does.
#[derive(Clone)]
pub struct Process {
    /// The node in it.
    pub node: Node,
    killed: watch::Receiver<bool>,
}

impl Process {
    /// Runs a call through this process. `None` if the process is killed first: whatever the call did, nobody hears of it.
    pub async fn call<T>(&self, call: impl Future<Output = T>) -> Option<T> {
        let mut killed = self.killed.clone();
        tokio::select! {
            biased;
            _ = killed.wait_for(|killed| *killed) => None,
            answer = call => Some(answer),
        }
    }
}

/// Draws disk delays.
struct Pacer {
    env: SimEnv,
    rng: Mutex<ChaCha8Rng>,
    longest: Mutex<Duration>,
}

impl DiskPacer for Pacer {
    fn next_delay(&self) -> Option<Duration> {
        if self.env.stalled() {
            return None;
        }
        let longest = self.longest.lock().as_micros() as u64;
        Some(Duration::from_micros(self.rng.lock().random_range(20..=longest.max(21))))
    }
}

/// Whether a start failed because of a fault that was planned, and not because of what it found on the disk.
fn is_planned(error: &anyhow::Error) -> bool {
    format!("{error:#}").contains("planned fault") || matches!(error.downcast_ref(), Some(NodeError::Log(_)))
}

/// The cluster and its surroundings.
pub struct World {
    /// Machines, by index.
    pub machines: Vec<Machine>,
    /// Network.
    pub net: Net,
    /// What happened.
    pub trace: Arc<Trace>,
    /// The world's own generator: faults.
    pub rng: ChaCha8Rng,
    /// Bugs planted in every node.
    pub planted: PlantedBugs,
    started: Instant,
}

impl World {
    /// A world of so many machines, each in a zone of its own, none running yet.
    pub fn new(seed: u64, machines: usize, planted: PlantedBugs) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let trace = Arc::new(Trace::new());
        let net = Net::new(rng.next_u64(), trace.clone());
        tokio::spawn(net.clone().run());
        let started = Instant::now();
        let machines = (0..machines)
            .map(|i| {
                let env = SimEnv::new(rng.next_u64());
                let pacer = Arc::new(Pacer {
                    env: env.clone(),
                    rng: Mutex::new(ChaCha8Rng::seed_from_u64(rng.next_u64())),
                    longest: Mutex::new(Duration::from_micros(400)),
                });
                Machine {
                    addr: format!("node{}:7000", i + 1),
                    zone: format!("zone-{}", (b'a' + i as u8) as char),
                    clock: Arc::new(SimClock::new(started)),
                    node: None,
                    killed: watch::Sender::new(false),
                    starting: None,
                    env,
                    pacer,
                }
            })
            .collect();
        Self { machines, net, trace, rng, planted, started }
    }

    /// Virtual time since the world began.
    pub fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// Begins to start the process on a machine; [`World::settle`] waits until it serves.
    pub fn start(&mut self, index: usize) {
        self.trace.event(&format!("start {index}"));
        let seed = self.rng.next_u64();
        let first = self.machines[0].addr.clone();
        let machine = &mut self.machines[index];
        machine.clock.restart();
        machine.killed = watch::Sender::new(false);
        let config = NodeConfig {
            addr: machine.addr.clone(),
            api_addr: machine.addr.replace(":7000", ":8000"),
            zone: machine.zone.clone(),
            weight: 1,
            join: if index == 0 { Vec::new() } else { vec![first] },
            timing: Timing::default(),
            limits: Limits::default(),
            planted: self.planted,
        };
        let ports = Ports {
            clock: machine.clock.clone(),
            transport: self.net.endpoint(&machine.addr),
            disk: Some(machine.pacer.clone()),
            observers: Observers::default(),
            seed,
        };
        let env = machine.env.clone();
        let (net, addr) = (self.net.clone(), machine.addr.clone());
        machine.starting = Some(tokio::spawn(async move {
            let options = Options {
                background: Background::Manual,
                memtable_bytes: 96 << 10,
                cache_bytes: 256 << 10,
                segment_bytes: 256 << 10,
                table_bytes: 64 << 10,
                ..Options::default()
            };
            let engine = Engine::open(Arc::new(env), Path::new(DATA), options).context("engine")?;
            let attach = |node: &Node| {
                let node = node.clone();
                net.attach(&addr, Some(Arc::new(move |class, frame| node.deliver(class, frame))));
            };
            Ok(Node::start(config, engine, ports, attach).await?)
        }));
    }

    /// Waits until a machine's process serves, at most `limit`. False if it ended because a fault of its disk struck while it
    /// started: it is down then, and may be started again.
    ///
    /// # Errors
    /// It could not start for any other reason.
    pub async fn settle(&mut self, index: usize, limit: Duration) -> anyhow::Result<bool> {
        let Some(starting) = self.machines[index].starting.take() else { return Ok(true) };
        let started = tokio::time::timeout(limit, starting)
            .await
            .with_context(|| format!("machine {index} did not start in {limit:?}"))??;
        match started {
            Ok(node) => {
                self.machines[index].node = Some(node);
                self.trace.event(&format!("serving {index}"));
                Ok(true)
            }
            Err(error) if is_planned(&error) => {
                self.crash(index, true);
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    /// Takes over processes that have finished starting, without waiting.
    pub async fn poll_started(&mut self) -> anyhow::Result<()> {
        for index in 0..self.machines.len() {
            if self.machines[index].starting.as_ref().is_some_and(|s| s.is_finished()) {
                self.settle(index, Duration::from_secs(1)).await?;
            }
        }
        Ok(())
    }

    /// Kills the process; with `power`, unsynced writes of its disk are lost too.
    pub fn crash(&mut self, index: usize, power: bool) {
        self.trace.event(&format!("crash {index} power={power}"));
        let seed = self.rng.next_u64();
        let machine = &mut self.machines[index];
        self.net.attach(&machine.addr, None);
        if let Some(starting) = machine.starting.take() {
            starting.abort();
        }
        if let Some(node) = machine.node.take() {
            node.crash();
        }
        machine.killed.send_replace(true);
        if power {
            machine.env.crash(seed);
        } else {
            machine.env.kill();
        }
        machine.env.set_stalled(false);
    }

    /// Whether a machine has a process, serving or starting.
    pub fn is_up(&self, index: usize) -> bool {
        self.machines[index].node.is_some() || self.machines[index].starting.is_some()
    }

    /// A serving node, if there is one at this index.
    pub fn node(&self, index: usize) -> Option<&Node> {
        self.machines[index].node.as_ref()
    }

    /// The serving processes.
    pub fn processes(&self) -> Vec<Process> {
        let serving = self.machines.iter().filter_map(|m| Some((m.node.clone()?, m.killed.subscribe())));
        serving.map(|(node, killed)| Process { node, killed }).collect()
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
            *machine.pacer.longest.lock() = Duration::from_micros(400);
        }
    }
}
