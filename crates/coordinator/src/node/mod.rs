//! One node: identity, topology, consensus groups, bucket replicas and the flows over them, connected to each
//! other.
//!
//! The binary starts one node per process with real clocks, files and sockets. The simulation starts many in
//! one process with simulated ones. Frames arrive through [`Node::deliver`] and leave through the
//! [`Transport`]. The node must never bypass the ports.

mod buckets;
pub mod calls;
pub mod durable;
mod frames;
mod gossip_task;
pub mod groups;
pub mod identity;
mod index_life;
mod join;
mod liveness;
pub mod meta;
mod meta_leader;
mod outbox;
mod partition_map;
mod peers_impl;
mod replay_guard;
mod serve;
pub mod status;
mod store_task;
pub mod tasks;
pub mod topology;

use crate::bucket::BucketCoordinator;
use crate::index::Propagation;
use crate::ports::{Class, Clock, DiskPacer, Transport};
use crate::signal::Signal;
use crate::tables::Tables;
use crate::tables::route::Router;
use bytes::Bytes;
use calls::Calls;
use durable::{Durable, LogFailed};
use gossip_task::GossipQueue;
use identity::Identity;
use liveness::Liveness;
use meta::{Meta, MetaError};
use outbox::Outbox;
use parking_lot::Mutex;
use partition_map::NodeMap;
use rand::{Rng, RngCore, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use store_task::StoreHandle;
use tasks::Tasks;
use tokio::sync::{Notify, mpsc};
use tokio::time::{Instant, sleep};
use topology::TopologyCell;
use torc_cluster::gossip::{Gossip, GossipConfig, GossipIdentity};
use torc_cluster::topology::Topology;
use torc_cluster::topology::{Command, Response};
use torc_cluster::{Epoch, GroupId, NodeId};
use torc_engine::Engine;
use torc_replica::store::{Config, Limits, Observers, PlantedBugs, Store, Timing};
use torc_wire::peer::{RedirectReason, RequestBody, ResponseBody};

/// How long one try of a request may take before another replica is asked.
const TRY_TIMEOUT: Duration = Duration::from_millis(900);
/// How long an operation may take in all.
const OPERATION_DEADLINE: Duration = Duration::from_secs(4);
/// How long a shutting-down node waits for its leaderships to be taken over.
const HANDOVER: Duration = Duration::from_secs(2);

/// Whether a read of a global index waits until the index holds what was acknowledged before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum IndexReads {
    /// While the cluster has one node: tests and development, where nothing can be far away.
    #[default]
    Auto,
    /// Always. Bounded: after a second it reads what there is.
    Wait,
    /// Never, as DynamoDB.
    Eventual,
}

/// Settings of a node.
#[derive(Clone, Debug)]
pub struct NodeConfig {
    /// Where other nodes reach it, `host:port`.
    pub addr: String,
    /// Where clients reach it, `host:port`.
    pub api_addr: String,
    /// Availability zone.
    pub zone: String,
    /// Capacity weight, at least 1.
    pub weight: u32,
    /// Nodes to ask for membership; empty founds a new cluster (on a first start).
    pub join: Vec<String>,
    /// Whether reads of global indexes wait.
    pub index_reads: IndexReads,
    /// Consensus intervals.
    pub timing: Timing,
    /// Consensus bounds.
    pub limits: Limits,
    /// Deliberate faults, for the simulation's proof that it would notice them.
    pub planted: PlantedBugs,
}

/// The ports of a node.
pub struct Ports {
    /// Clocks.
    pub clock: Arc<dyn Clock>,
    /// Network.
    pub transport: Arc<dyn Transport>,
    /// The disk's pace, for an engine opened with `Background::Manual`; `None` with one that has threads.
    pub disk: Option<Arc<dyn DiskPacer>>,
    /// Seed of every random choice the node makes.
    pub seed: u64,
    /// Receives the events of the replicas. Only the simulation sets it.
    pub observers: Observers,
}

/// Why a node could not start.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// The engine failed.
    #[error(transparent)]
    Engine(#[from] torc_engine::Error),
    /// A record of the node's own is damaged.
    #[error(
        "the node's own {0} record is damaged: restore the folder from a copy, or remove it and let the node join anew"
    )]
    LocalRecord(&'static str),
    /// The log could not be synced.
    #[error(transparent)]
    Log(#[from] LogFailed),
    /// The bucket data can't be read.
    #[error("the bucket data can't be opened: {0}")]
    Buckets(#[from] torc_replica::bucket::ReplicaError),
    /// No address to join by.
    #[error("no node to join was named")]
    NoSeeds,
    /// The cluster could not be founded.
    #[error("the cluster could not be founded: {0}")]
    Found(String),
}

/// A running node. Cheap to clone.
#[derive(Clone)]
pub struct Node {
    inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) config: NodeConfig,
    pub(crate) clock: Arc<dyn Clock>,
    transport: Arc<dyn Transport>,
    pub(crate) engine: Engine,
    identity: Mutex<Identity>,
    /// The number in `identity`, for those that ask often.
    number: Arc<AtomicU64>,
    pub(crate) topology: Arc<TopologyCell>,
    pub(crate) router: Arc<Router>,
    pub(crate) meta: Arc<Meta>,
    pub(crate) tables: Tables,
    buckets: OnceLock<BucketCoordinator>,
    calls: Calls,
    outbox: Outbox,
    replay_guard: replay_guard::ReplayGuard,
    store: StoreHandle,
    gossip: GossipQueue,
    pub(crate) liveness: Liveness,
    pub(crate) durable: Durable,
    pub(crate) propagation: Propagation,
    pub(crate) tasks: Tasks,
    behind: Signal<Epoch>,
    disk: Notify,
    stopping: AtomicBool,
    started: Signal<bool>,
    /// Why no seed has let this node join yet.
    join_problem: Mutex<Option<String>>,
    failed: Signal<Option<String>>,
}

impl Node {
    /// Starts a node on an open engine: takes up its identity (founding or joining a cluster on a first start), its replicas and its tasks. Returns
    /// once it serves. `attach` is called as soon as the node takes frames, so that the network can be connected.
    ///
    /// # Errors
    /// See [`NodeError`]; nothing runs then.
    pub async fn start(
        config: NodeConfig,
        engine: Engine,
        ports: Ports,
        attach: impl FnOnce(&Node),
    ) -> Result<Node, NodeError> {
        let mut rng = ChaCha8Rng::seed_from_u64(ports.seed);
        let topology = Arc::new(TopologyCell::load(&engine)?);
        let (store_handle, store_inputs) = StoreHandle::new();
        let (gossip_queue, datagrams) = GossipQueue::new();

        let known = Identity::load(&engine)?;
        let first_start = known.is_none();
        let mut identity = known.unwrap_or_else(|| {
            let mut uuid = [0; 16];
            rng.fill_bytes(&mut uuid);
            Identity { uuid, cluster_id: 0, node: NodeId(0), incarnation: 0 }
        });
        identity.incarnation += 1;
        let founding = identity.cluster_id == 0 && config.join.is_empty();
        if founding {
            identity.cluster_id = rng.random_range(1..=u64::MAX);
            identity.node = NodeId(1);
        }

        let number = Arc::new(AtomicU64::new(identity.node.0));
        let inner = Arc::new_cyclic(|weak: &std::sync::Weak<Inner>| {
            let peers = Arc::new(peers_impl::NodePeers { node: weak.clone(), local: number.clone() });
            let map = Arc::new(NodeMap { node: weak.clone() });
            let router = Arc::new(Router::new(peers.clone(), map, TRY_TIMEOUT));
            let meta = Arc::new(Meta::new(peers.clone(), router.clone(), topology.clone()));
            let for_store = weak.clone();
            let durable = Durable::subscribe(&engine, move |result| {
                if let Some(node) = for_store.upgrade() {
                    node.store.persisted(result);
                }
            });
            Inner {
                tables: Tables::new(
                    router.clone(),
                    topology.clone(),
                    meta.clone(),
                    ports.clock.clone(),
                    OPERATION_DEADLINE,
                ),
                buckets: OnceLock::new(),
                calls: Calls::new(identity.incarnation),
                outbox: Outbox::default(),
                replay_guard: replay_guard::ReplayGuard::default(),
                store: store_handle,
                gossip: gossip_queue,
                liveness: Liveness::new(ports.clock.clone()),
                durable,
                propagation: Propagation::default(),
                tasks: Tasks::default(),
                behind: Signal::new(Epoch(0)),
                disk: Notify::new(),
                stopping: AtomicBool::new(false),
                started: Signal::new(false),
                join_problem: Mutex::new(None),
                failed: Signal::new(None),
                identity: Mutex::new(identity),
                number,
                config,
                clock: ports.clock,
                transport: ports.transport,
                engine,
                topology,
                router,
                meta,
            }
        });
        let node = Node { inner };
        attach(&node);
        match node.bring_up(rng, ports.disk, ports.observers, first_start, store_inputs, datagrams).await {
            Ok(()) => {
                node.inner.started.set(true);
                Ok(node)
            }
            Err(error) => {
                node.crash();
                Err(error)
            }
        }
    }

    async fn bring_up(
        &self,
        mut rng: ChaCha8Rng,
        disk: Option<Arc<dyn DiskPacer>>,
        observers: Observers,
        first_start: bool,
        store_inputs: store_task::StoreInputs,
        datagrams: mpsc::UnboundedReceiver<(NodeId, Bytes)>,
    ) -> Result<(), NodeError> {
        let inner = &self.inner;
        if let Some(pacer) = disk {
            inner.tasks.spawn(manual_disk(inner.clone(), pacer));
        }
        inner.tasks.spawn(frames::flush_outbox(inner.clone()));
        // The incarnation must be on disk before any message with it leaves.
        inner.save_identity().await?;
        if inner.identity().node.0 == 0 {
            let joined = join::join(inner, inner.identity()).await?;
            *inner.identity.lock() = joined;
            inner.number.store(joined.node.0, Ordering::Relaxed);
            topology::store(&inner.engine, &inner.topology.get())?;
            inner.save_identity().await?;
        }
        let identity = inner.identity();
        tracing::info!(node = %identity.node, cluster = format_args!("{:016x}", identity.cluster_id),
            incarnation = identity.incarnation, epoch = %inner.topology.epoch(), "node starts");

        let mut config = Config::new(identity.node, identity.incarnation, first_start, rng.next_u64());
        config.timing = inner.config.timing;
        config.limits = inner.config.limits;
        config.planted = inner.config.planted;
        config.observers = observers;
        let store = Store::new(config, inner.engine.clone(), inner.clock.now());
        let known = groups::sweep(inner, &store)?;
        let peers =
            Arc::new(peers_impl::NodePeers { node: Arc::downgrade(inner), local: inner.number.clone() });
        let _ = inner.buckets.set(buckets::open(inner, peers, rng.next_u64())?);
        topology::store(&inner.engine, &known)?;
        groups::sync(inner, &Topology::default(), &known);
        inner.tasks.spawn(store_task::run(inner.clone(), store, store_inputs));
        let who = GossipIdentity::at_boot(identity.node, inner.config.addr.clone(), identity.incarnation);
        let gossip = Gossip::new(GossipConfig::default(), identity.cluster_id, who, rng.next_u64());
        inner.tasks.spawn(gossip_task::run(inner.clone(), gossip, datagrams));
        inner.tasks.spawn(groups::follow(inner.clone(), known));
        inner.tasks.spawn(catch_up(inner.clone()));
        inner.tasks.spawn(meta_leader::run(inner.clone()));
        inner.tasks.spawn(crate::index::run(inner.clone()));
        if inner.topology.get().cluster_id() == 0 {
            self.found(&mut rng).await?;
        }
        inner.tasks.spawn(keep_registered(inner.clone()));
        Ok(())
    }

    /// Founds the cluster. A crash in the middle leaves an identity without a topology; the next start goes on here.
    async fn found(&self, rng: &mut ChaCha8Rng) -> Result<(), NodeError> {
        let inner = &self.inner;
        let me = inner.identity().node;
        groups::create_meta(inner, vec![me], vec![me]);
        let mut token_key = [0; 16];
        rng.fill_bytes(&mut token_key);
        let cluster_id = inner.identity().cluster_id;
        let deadline = Instant::now() + Duration::from_secs(30);
        for command in [Command::InitCluster { cluster_id, token_key }, inner.registration()] {
            let response = inner
                .meta
                .execute(&command, deadline)
                .await
                .map_err(|e: MetaError| NodeError::Found(e.to_string()))?;
            if let Response::Node(number) = response
                && number != me
            {
                return Err(NodeError::Found(format!("registered as {number} instead of {me}")));
            }
        }
        Ok(())
    }

    /// A frame from the network.
    pub fn deliver(&self, class: Class, frame: Bytes) {
        frames::deliver(&self.inner, class, frame);
    }

    /// Waits until another frame of this class can be accepted. Liveness frames, requests and answers are
    /// always accepted: they are small, or their sender limits them.
    pub async fn has_room(&self, class: Class) {
        if matches!(class, Class::Consensus | Class::Bulk) {
            self.inner.store.has_room().await;
        }
    }

    /// The connection to an address broke: requests on their way to it end now, their outcome unknown.
    pub fn disconnected(&self, addr: &str) {
        let topology = self.inner.topology.get();
        if let Some(peer) = topology.nodes().find(|n| n.addr == addr) {
            self.inner.liveness.broken(peer.id);
            self.inner.calls.fail_all_to(peer.id);
        }
    }

    /// Whether the node is a member of its cluster and serves.
    pub fn is_started(&self) -> bool {
        self.inner.started.get()
    }

    /// Waits until the node serves.
    pub async fn started(&self) {
        self.inner.started.wait_for(|started| *started).await;
    }

    /// Why no seed has let this node join yet, while it tries.
    pub fn join_problem(&self) -> Option<String> {
        self.inner.join_problem.lock().clone()
    }

    /// Whether reads of global indexes wait until the index holds what was acknowledged before.
    pub fn waits_for_indexes(&self) -> bool {
        match self.inner.config.index_reads {
            IndexReads::Auto => self.inner.topology.get().nodes().nth(1).is_none(),
            IndexReads::Wait => true,
            IndexReads::Eventual => false,
        }
    }

    /// A frame of requests and answers was thrown away before any of it was sent: its requests end now, and did nothing.
    pub fn unsent(&self, frame: Bytes) {
        frames::unsent(&self.inner, frame);
    }

    /// Requests of peers whose caller had given up before they were begun, or while they waited.
    pub fn expired_requests(&self) -> u64 {
        self.inner.store.expired()
    }

    /// The Tables face.
    pub fn tables(&self) -> &Tables {
        &self.inner.tables
    }

    /// The Buckets face; `None` while the node is starting.
    pub fn buckets(&self) -> Option<&BucketCoordinator> {
        self.inner.buckets.get()
    }

    /// The meta group's client.
    pub fn meta(&self) -> &Arc<Meta> {
        &self.inner.meta
    }

    /// The topology as this node knows it.
    pub fn topology(&self) -> Arc<torc_cluster::topology::Topology> {
        self.inner.topology.get()
    }

    /// Wall clock of this node, milliseconds since the Unix epoch.
    pub fn wall_ms(&self) -> u64 {
        self.inner.clock.wall_ms()
    }

    /// This node's number.
    pub fn id(&self) -> NodeId {
        self.inner.identity().node
    }

    /// The engine below.
    pub fn engine(&self) -> &Engine {
        &self.inner.engine
    }

    /// Why the node can't go on, if it can't.
    pub fn failure(&self) -> Option<String> {
        self.inner.failed.get()
    }

    /// Resolves with the reason when the node can't go on (its disk failed): the process should exit, and a supervisor restart it.
    pub async fn failed(&self) -> String {
        self.inner.failed.wait_for(Option::is_some).await.unwrap_or_default()
    }

    /// Hands leaderships over, stops taking writes and ends every task. The engine stays open.
    pub async fn shutdown(&self) {
        self.inner.stopping.store(true, Ordering::Relaxed);
        self.inner.store.send(torc_replica::store::Input::TransferLeaders);
        let until = Instant::now() + HANDOVER;
        while Instant::now() < until && self.leads_with_others() {
            sleep(Duration::from_millis(20)).await;
        }
        self.crash();
    }

    fn leads_with_others(&self) -> bool {
        let topology = self.inner.topology.get();
        self.inner.store.views().iter().any(|(group, view)| {
            view.is_leader()
                && topology::partition_by_group(&topology, *group).is_some_and(|p| p.replicas.len() > 1)
        })
    }

    /// Ends every task at once, as a killed process would.
    pub fn crash(&self) {
        self.inner.tasks.abort_all();
    }
}

impl Inner {
    pub(crate) fn identity(&self) -> Identity {
        *self.identity.lock()
    }

    /// This node's number; 0 until it has joined.
    fn peer_number(&self) -> NodeId {
        NodeId(self.number.load(Ordering::Relaxed))
    }

    /// The view of a group that this node holds.
    pub(crate) fn view(&self, group: GroupId) -> Option<Arc<torc_replica::store::GroupView>> {
        self.store.view(group)
    }

    /// Proposes a command to a group that this node leads.
    ///
    /// # Errors
    /// The refusal.
    pub(crate) async fn propose(&self, group: GroupId, command: Bytes) -> Result<(), RedirectReason> {
        let (sender, receiver) = tokio::sync::oneshot::channel();
        let deadline = Instant::now() + OPERATION_DEADLINE;
        if self.store.propose(group, command, deadline, store_task::ReplyTo::Local(sender)).is_err() {
            return Err(RedirectReason::Busy);
        }
        match receiver.await {
            Ok(ResponseBody::Proposed(_)) => Ok(()),
            Ok(ResponseBody::Redirect(redirect)) => {
                Err(RedirectReason::try_from(redirect.reason).unwrap_or(RedirectReason::Unknown))
            }
            Ok(_) | Err(_) => Err(RedirectReason::Unknown),
        }
    }

    async fn save_identity(&self) -> Result<(), NodeError> {
        let lsn = self.identity().store(&self.engine)?;
        self.disk_work();
        Ok(self.durable.wait(lsn).await?)
    }

    /// The registration as this node would have it now.
    fn registration(&self) -> Command {
        Command::RegisterNode {
            addr: self.config.addr.clone(),
            api_addr: self.config.api_addr.clone(),
            zone: self.config.zone.clone(),
            weight: self.config.weight,
            uuid: self.identity().uuid,
        }
    }

    /// Where a peer is reached.
    fn address(&self, node: NodeId) -> Option<String> {
        self.topology.get().node(node).map(|n| n.addr.clone())
    }

    /// A peer spoke of an epoch; if it is newer, this node fetches.
    fn note_epoch(&self, _from: NodeId, epoch: Epoch) {
        if epoch > self.topology.epoch() {
            self.behind.modify(|behind| {
                let rises = epoch > *behind;
                if rises {
                    *behind = epoch;
                }
                rises
            });
        }
    }

    /// Serves a bucket request of a peer or of this node's own flows.
    pub(crate) async fn serve_bucket(&self, body: RequestBody, deadline: Instant) -> ResponseBody {
        let served = match self.buckets.get() {
            Some(buckets) => buckets.serve(body, deadline).await,
            None => return store_task::redirect(RedirectReason::Busy, None, "the node is starting"),
        };
        served.unwrap_or_else(|| store_task::redirect(RedirectReason::Invalid, None, "not a bucket request"))
    }

    /// Something was written: the simulated disk, if there is one, has work.
    pub(crate) fn disk_work(&self) {
        self.disk.notify_one();
    }

    fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }

    fn fail(&self, reason: String) {
        self.failed.set(Some(reason));
        self.tasks.abort_all();
    }
}

/// Fetches the topology whenever a peer spoke of a newer one.
async fn catch_up(node: Arc<Inner>) {
    let mut behind = node.behind.follow();
    loop {
        let wanted = node.behind.get();
        if wanted > node.topology.epoch() {
            node.meta.refresh(wanted).await;
            if wanted > node.topology.epoch() {
                sleep(Duration::from_millis(50)).await;
                continue;
            }
        }
        behind.next().await;
    }
}

/// Tells the cluster when this node comes back with another address, zone or weight.
async fn keep_registered(node: Arc<Inner>) {
    loop {
        let identity = node.identity();
        let topology = node.topology.get();
        let current = topology.node(identity.node).is_some_and(|n| {
            n.addr == node.config.addr
                && n.api_addr == node.config.api_addr
                && n.zone == node.config.zone
                && n.weight == node.config.weight
        });
        if current {
            return;
        }
        let deadline = Instant::now() + OPERATION_DEADLINE;
        match node.meta.execute(&node.registration(), deadline).await {
            Ok(_) => return,
            Err(error) => tracing::warn!(%error, "can't register with the cluster yet"),
        }
        sleep(Duration::from_millis(500)).await;
    }
}

/// How long a stalled disk is left alone before it is looked at again.
const STALL_POLL: Duration = Duration::from_millis(5);
/// Pause after background work failed (a full disk): it is tried again, since space may return.
const BACKGROUND_RETRY: Duration = Duration::from_millis(100);

/// Does the disk work of an engine without threads, each unit after the pacer's delay.
async fn manual_disk(node: Arc<Inner>, pacer: Arc<dyn DiskPacer>) {
    loop {
        if node.engine.log().has_pending() {
            match pacer.next_delay() {
                Some(delay) => sleep(delay).await,
                None => {
                    sleep(STALL_POLL).await;
                    continue;
                }
            }
            if let Err(error) = node.engine.log().sync_step() {
                return node.fail(error.to_string());
            }
        }
        match node.engine.background_step() {
            Ok(true) => tokio::task::yield_now().await,
            Ok(false) if node.engine.log().has_pending() => {}
            Ok(false) => node.disk.notified().await,
            Err(error) => {
                tracing::debug!(%error, "background work failed");
                sleep(BACKGROUND_RETRY).await;
            }
        }
    }
}

#[cfg(test)]
mod tests;
