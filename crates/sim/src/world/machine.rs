//! One machine of a world: its disk, its clocks, and its process, which may be running or not.

use super::clock::SimClock;
use parking_lot::Mutex;
use rand::{Rng, RngCore, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use torc_coordinator::node::Node;
use torc_coordinator::ports::DiskPacer;
use torc_engine::env::SimEnv;

/// Longest unit of work of a disk in good health.
pub(super) const QUICK_DISK: Duration = Duration::from_micros(400);

/// One machine. Its disk and clock outlive the process on it.
pub struct Machine {
    /// Cluster address.
    pub addr: String,
    /// Zone.
    pub zone: String,
    /// Disk.
    pub env: SimEnv,
    /// Clocks.
    pub clock: Arc<SimClock>,
    /// Part of the cluster: its process is brought back when it is down.
    pub wanted: bool,
    /// The process, if it serves.
    pub(super) node: Option<Node>,
    /// The process from the moment it takes frames, which is before it serves.
    pub(super) born: Arc<Mutex<Option<Node>>>,
    /// Set when the present process ends.
    pub(super) ended: Arc<Ended>,
    pub(super) starting: Option<JoinHandle<anyhow::Result<Node>>>,
    /// Shutting down in good order; it still serves.
    pub(super) stopping: Option<JoinHandle<()>>,
    pub(super) pacer: Arc<Pacer>,
}

impl Machine {
    /// A machine that was never used.
    pub(super) fn new(index: usize, started: Instant, rng: &mut ChaCha8Rng) -> Self {
        let env = SimEnv::new(rng.next_u64());
        let pacer = Arc::new(Pacer {
            env: env.clone(),
            rng: Mutex::new(ChaCha8Rng::seed_from_u64(rng.next_u64())),
            longest: Mutex::new(QUICK_DISK),
        });
        Self {
            addr: format!("node{}:7000", index + 1),
            zone: format!("zone-{}", (b'a' + index as u8) as char),
            clock: Arc::new(SimClock::new(started)),
            wanted: false,
            node: None,
            born: Arc::default(),
            ended: Arc::default(),
            starting: None,
            stopping: None,
            env,
            pacer,
        }
    }

    /// Whether there is a process, serving, starting or stopping.
    pub fn is_up(&self) -> bool {
        self.node.is_some() || self.starting.is_some() || self.stopping.is_some()
    }

    /// The serving process.
    pub fn process(&self, index: usize) -> Option<Process> {
        Some(Process { index, node: self.node.clone()?, ended: self.ended.clone() })
    }
}

/// A process as its clients see it: what they wait for ends when it does.
#[derive(Clone)]
pub struct Process {
    /// Its machine.
    pub index: usize,
    /// The node in it.
    pub node: Node,
    ended: Arc<Ended>,
}

impl Process {
    /// Runs a call through this process. `None` if the process ends first: whatever the call did, nobody hears of it.
    pub async fn call<T>(&self, call: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            biased;
            () = self.ended.wait() => None,
            answer = call => Some(answer),
        }
    }
}

/// The end of a process. Its waiters wake in the order in which they began to wait: tokio's watch channel would draw lots.
#[derive(Default)]
pub(super) struct Ended {
    over: AtomicBool,
    told: Notify,
}

impl Ended {
    pub(super) fn set(&self) {
        self.over.store(true, Ordering::SeqCst);
        self.told.notify_waiters();
    }

    async fn wait(&self) {
        let told = self.told.notified();
        tokio::pin!(told);
        told.as_mut().enable();
        if !self.over.load(Ordering::SeqCst) {
            told.await;
        }
    }
}

/// Draws disk delays.
pub(super) struct Pacer {
    env: SimEnv,
    rng: Mutex<ChaCha8Rng>,
    pub(super) longest: Mutex<Duration>,
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
