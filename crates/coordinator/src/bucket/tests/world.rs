//! A few nodes in one process, with stores in memory and a network that can be told to fail. Time is tokio's
//! paused clock.

use crate::bucket::*;
use crate::peers::{PeerError, Peers};
use crate::ports::Clock;
use bytes::Bytes;
use futures::future::BoxFuture;
use parking_lot::Mutex;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep};
use torc_cluster::topology::{Command, Response, Topology};
use torc_cluster::{Epoch, NodeId};
use torc_engine::Lsn;
use torc_replica::bucket::Store;
use torc_replica::bucket::key::StorageKey;
use torc_replica::bucket::state::digest;
use torc_replica::machine::meta::Refusal;
use torc_wire::peer::{PeerRequest, PeerResponse, RequestBody};

pub const START_MS: u64 = 1_700_000_000_000;

#[derive(Default)]
pub struct MemoryStore(Mutex<(BTreeMap<Bytes, Bytes>, Lsn)>, AtomicBool);

impl MemoryStore {
    pub fn set_full(&self, full: bool) {
        self.1.store(full, Ordering::Relaxed);
    }
}

impl Store for MemoryStore {
    fn get(&self, key: &[u8]) -> torc_engine::Result<Option<Bytes>> {
        Ok(self.0.lock().0.get(key).cloned())
    }
    fn write(&self, rows: &[(Bytes, Bytes)]) -> torc_engine::Result<Lsn> {
        if self.1.load(Ordering::Relaxed) {
            return Err(torc_engine::Error::DiskFull { path: "log".into() });
        }
        let mut inner = self.0.lock();
        inner.0.extend(rows.iter().cloned());
        inner.1 += 1;
        Ok(inner.1)
    }
    fn scan(
        &self,
        start: &[u8],
        end: &[u8],
        visit: &mut dyn FnMut(Bytes, Bytes) -> bool,
    ) -> torc_engine::Result<()> {
        let rows = self.0.lock().0.clone();
        for (key, value) in rows.range(Bytes::copy_from_slice(start)..Bytes::copy_from_slice(end)) {
            if !visit(key.clone(), value.clone()) {
                break;
            }
        }
        Ok(())
    }
}

struct PausedClock(Instant);

impl Clock for PausedClock {
    fn now(&self) -> Duration {
        self.0.elapsed()
    }
    fn wall_ms(&self) -> u64 {
        START_MS + self.0.elapsed().as_millis() as u64
    }
}

/// What the network does.
#[derive(Default)]
pub struct Net {
    /// Requests on these links vanish.
    pub cut: BTreeSet<(NodeId, NodeId)>,
    /// Answers on these links (from, to the caller) vanish: the request took effect.
    pub mute: BTreeSet<(NodeId, NodeId)>,
    /// Nodes that everybody knows to be down.
    pub down: BTreeSet<NodeId>,
    /// Extra time of requests to a node.
    pub slow: BTreeMap<NodeId, Duration>,
    /// Extra time of merges into a node's copy.
    pub slow_merges: BTreeMap<NodeId, Duration>,
    /// Delay of every request at random up to this, and loss of one in so many.
    pub jitter: Option<(ChaCha8Rng, Duration, u32)>,
    pub calls: u64,
}

pub struct Shared {
    pub net: Mutex<Net>,
    nodes: OnceLock<BTreeMap<NodeId, TestNode>>,
    /// The meta group's topology.
    truth: Mutex<Arc<Topology>>,
}

pub struct TestNode {
    pub buckets: BucketCoordinator,
    pub local: Arc<LocalReplica>,
    pub store: Arc<MemoryStore>,
    directory: Arc<TestDirectory>,
}

struct TestPeers {
    me: NodeId,
    shared: Arc<Shared>,
}

impl Peers for TestPeers {
    fn local(&self) -> NodeId {
        self.me
    }

    fn call(
        &self,
        to: NodeId,
        request: PeerRequest,
        deadline: Duration,
    ) -> BoxFuture<'_, Result<PeerResponse, PeerError>> {
        Box::pin(async move {
            let (lost, unanswered, delay) = {
                let mut net = self.shared.net.lock();
                net.calls += 1;
                if net.down.contains(&to) {
                    return Err(PeerError::Unreachable(to));
                }
                let mut delay = net.slow.get(&to).copied().unwrap_or(Duration::from_millis(1));
                if matches!(request.body, Some(RequestBody::BucketMerge(_))) {
                    delay += net.slow_merges.get(&to).copied().unwrap_or_default();
                }
                let mut lost = net.cut.contains(&(self.me, to)) || net.down.contains(&self.me);
                let mut unanswered = net.mute.contains(&(to, self.me));
                if let Some((rng, most, one_in)) = &mut net.jitter {
                    delay += most.mul_f64(rng.random());
                    lost |= rng.random_ratio(1, *one_in);
                    unanswered |= rng.random_ratio(1, *one_in);
                }
                (lost, unanswered, delay)
            };
            let work = async {
                sleep(delay).await;
                if lost {
                    std::future::pending::<()>().await;
                }
                let until = Instant::now() + deadline;
                // The server goes on even if the caller gives up.
                let shared = self.shared.clone();
                let served = tokio::spawn(async move {
                    let node = &shared.nodes.get().expect("started")[&to];
                    node.buckets.serve(request.body.expect("a body"), until).await
                });
                let body = served.await.expect("no panic");
                if unanswered {
                    std::future::pending::<()>().await;
                }
                PeerResponse { body }
            };
            tokio::time::timeout(deadline, work).await.map_err(|_| PeerError::Timeout(to))
        })
    }

    fn is_alive(&self, node: NodeId) -> bool {
        !self.shared.net.lock().down.contains(&node)
    }
}

struct TestDirectory {
    known: Mutex<Arc<Topology>>,
    shared: Arc<Shared>,
}

impl Directory for TestDirectory {
    fn topology(&self) -> Arc<Topology> {
        self.known.lock().clone()
    }
    fn refresh(&self, _: Epoch) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            *self.known.lock() = self.shared.truth.lock().clone();
        })
    }
    fn execute(&self, command: Command, _: Instant) -> BoxFuture<'_, Result<Response, DirectoryError>> {
        Box::pin(async move {
            let response = self.shared.change(&command).map_err(|e| Refusal::from(&e))?;
            *self.known.lock() = self.shared.truth.lock().clone();
            Ok(response)
        })
    }
}

impl Shared {
    /// Changes the topology; nodes learn of it when they refresh.
    pub fn change(&self, command: &Command) -> Result<Response, torc_cluster::topology::TopologyError> {
        let mut truth = self.truth.lock();
        let (changes, response) = truth.evaluate(command)?;
        *truth = Arc::new(truth.apply_changes(Epoch(truth.epoch().0 + 1), &changes));
        Ok(response)
    }
    pub fn truth(&self) -> Arc<Topology> {
        self.truth.lock().clone()
    }
}

pub struct World {
    pub shared: Arc<Shared>,
}

impl World {
    /// `count` nodes in zones of their own, all knowing the same topology.
    pub async fn start(count: u64, settings: BucketSettings) -> Self {
        let shared =
            Arc::new(Shared { net: Mutex::default(), nodes: OnceLock::new(), truth: Mutex::default() });
        shared.change(&Command::InitCluster { cluster_id: 9, token_key: [7; 16] }).unwrap();
        for id in 1..=count {
            let (addr, api_addr) = (format!("n{id}:1"), format!("n{id}:2"));
            let (zone, uuid) = (format!("z{id}"), [id as u8; 16]);
            shared.change(&Command::RegisterNode { addr, api_addr, zone, weight: 1, uuid }).unwrap();
        }
        let clock: Arc<dyn Clock> = Arc::new(PausedClock(Instant::now()));
        let nodes = (1..=count).map(|id| (NodeId(id), node(id, &shared, &clock, settings.clone()))).collect();
        assert!(shared.nodes.set(nodes).is_ok());
        Self { shared }
    }

    pub fn node(&self, id: u64) -> &TestNode {
        &self.shared.nodes.get().expect("started")[&NodeId(id)]
    }

    pub fn ids(&self) -> Vec<u64> {
        self.shared.nodes.get().expect("started").keys().map(|id| id.0).collect()
    }

    pub fn learn(&self, id: u64) {
        let node = self.node(id);
        *node.directory.known.lock() = self.shared.truth();
    }

    pub fn net<T>(&self, change: impl FnOnce(&mut Net) -> T) -> T {
        change(&mut self.shared.net.lock())
    }

    /// Cuts a node off both ways without anybody knowing.
    pub fn isolate(&self, id: u64) {
        let others: Vec<u64> = self.ids().into_iter().filter(|other| *other != id).collect();
        self.net(|net| {
            for other in others {
                net.cut.insert((NodeId(id), NodeId(other)));
                net.cut.insert((NodeId(other), NodeId(id)));
            }
        });
    }

    pub fn heal(&self) {
        self.net(|net| {
            net.cut.clear();
            net.mute.clear();
            net.slow.clear();
            net.slow_merges.clear();
            net.down.clear();
            net.jitter = None;
        });
    }

    /// The replicas of a key, in preference order.
    pub fn replicas(&self, bucket: &str, key: &str) -> Vec<u64> {
        let topology = self.shared.truth();
        let bucket = topology.bucket_by_name(bucket).expect("the bucket exists");
        let token = torc_model::key::token(*topology.token_key(), key.as_bytes());
        topology.partition(bucket.id, token).expect("covered").replicas.iter().map(|node| node.0).collect()
    }

    /// The digest of a node's own copy.
    pub fn digest(&self, id: u64, bucket: &str, key: &str) -> u64 {
        let topology = self.shared.truth();
        let bucket = topology.bucket_by_name(bucket).expect("the bucket exists");
        let token = torc_model::key::token(*topology.token_key(), key.as_bytes());
        let key = StorageKey::new(bucket.id.0, token, key.as_bytes());
        digest(self.node(id).local.read(&key).unwrap().as_deref())
    }

    pub async fn put(
        &self,
        id: u64,
        key: &str,
        value: &str,
        context: &Bytes,
        w: Level,
    ) -> Result<WriteAnswer, BucketError> {
        let request = PutRequest {
            bucket: "b".into(),
            key: Bytes::copy_from_slice(key.as_bytes()),
            value: Bytes::copy_from_slice(value.as_bytes()),
            context: context.clone(),
            w: Some(w),
            ..PutRequest::default()
        };
        self.node(id).buckets.put(request).await
    }

    pub async fn get(&self, id: u64, key: &str, r: Level) -> Result<GetAnswer, BucketError> {
        let request = GetRequest {
            bucket: "b".into(),
            key: Bytes::copy_from_slice(key.as_bytes()),
            r: Some(r),
            deadline: None,
        };
        self.node(id).buckets.get(request).await
    }

    pub async fn delete(
        &self,
        id: u64,
        key: &str,
        context: &Bytes,
        w: Level,
    ) -> Result<WriteAnswer, BucketError> {
        let request = DeleteRequest {
            bucket: "b".into(),
            key: Bytes::copy_from_slice(key.as_bytes()),
            context: context.clone(),
            w: Some(w),
            ..DeleteRequest::default()
        };
        self.node(id).buckets.delete(request).await
    }
}

fn node(id: u64, shared: &Arc<Shared>, clock: &Arc<dyn Clock>, settings: BucketSettings) -> TestNode {
    let wrote = Arc::new(Notify::new());
    let notify = wrote.clone();
    let store = Arc::new(MemoryStore::default());
    let log = store.clone();
    let local =
        Arc::new(LocalReplica::open(store.clone(), id, clock.clone(), move || notify.notify_one()).unwrap());
    let replica = Arc::downgrade(&local);
    tokio::spawn(async move {
        loop {
            wrote.notified().await;
            let upto = log.0.lock().1;
            sleep(Duration::from_millis(2)).await;
            let Some(replica) = replica.upgrade() else { return };
            replica.durable(upto);
            if log.0.lock().1 > upto {
                wrote.notify_one();
            }
        }
    });
    let directory = Arc::new(TestDirectory { known: Mutex::new(shared.truth()), shared: shared.clone() });
    let ports = BucketPorts {
        peers: Arc::new(TestPeers { me: NodeId(id), shared: shared.clone() }),
        directory: directory.clone(),
        local: local.clone(),
        clock: clock.clone(),
        spawn: Arc::new(|future| drop(tokio::spawn(future))),
        seed: id,
    };
    TestNode { buckets: BucketCoordinator::new(ports, settings), local, store, directory }
}

pub fn values(answer: &GetAnswer) -> Vec<String> {
    let mut values: Vec<String> =
        answer.siblings.iter().map(|sibling| String::from_utf8(sibling.value.to_vec()).unwrap()).collect();
    values.sort();
    values
}

pub fn rng(seed: u64) -> ChaCha8Rng {
    ChaCha8Rng::seed_from_u64(seed)
}
