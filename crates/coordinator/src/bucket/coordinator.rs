//! The parts that all bucket flows share: where a key lives, how to ask a replica, and the settings.

use super::directory::{Directory, DirectoryError};
use super::error::{BucketError, ErrorKind};
use super::local::LocalReplica;
use super::metrics::BucketMetrics;
use crate::peers::{PeerError, Peers};
use crate::ports::Clock;
use bytes::Bytes;
use futures::future::BoxFuture;
use parking_lot::Mutex;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;
use tokio::time::{Instant, timeout_at};
use torc_cluster::topology::{BucketConfig, BucketPolicy, Command, Level, Table};
use torc_cluster::{Epoch, NodeId};
use torc_model::key::TokenHasher;
use torc_replica::bucket::key::StorageKey;
use torc_replica::bucket::state::digest;
use torc_replica::bucket::{Policy, limits};
use torc_wire::bucket::{BucketMerge, BucketRead};
use torc_wire::peer::{PeerRequest, Redirect, RedirectReason, RequestBody, ResponseBody};

/// Runs a future until it ends or the node stops.
pub type Spawn = Arc<dyn Fn(BoxFuture<'static, ()>) + Send + Sync>;

/// Settings of the flows.
#[derive(Clone, Debug)]
pub struct BucketSettings {
    /// How long an operation may take if the request does not say.
    pub deadline: Duration,
    /// The longest deadline that a request may ask for.
    pub max_deadline: Duration,
    /// How long one replica may take. After a write was answered, it is still sent to slow replicas for this
    /// long.
    pub replica_timeout: Duration,
    /// A read asks one more replica when the first ones have not all answered after this: about their p99.
    pub speculative_after: Duration,
    /// One in so many reads also compares the replicas that it did not need, after its answer. 0 is never; a read that saw a
    /// divergence always does.
    pub check_rest_every: u64,
    /// Settings of a bucket that a first put creates.
    pub default_config: BucketConfig,
    /// Partitions of a new bucket.
    pub partitions: u32,
}

impl Default for BucketSettings {
    fn default() -> Self {
        Self {
            deadline: Duration::from_secs(4),
            max_deadline: Duration::from_secs(60),
            replica_timeout: Duration::from_secs(2),
            speculative_after: Duration::from_millis(50),
            check_rest_every: 10,
            default_config: BucketConfig {
                n: 3,
                read: Level::Quorum,
                write: Level::Quorum,
                policy: BucketPolicy::Siblings,
            },
            partitions: 32,
        }
    }
}

/// The ports of the flows.
#[derive(Clone)]
pub struct BucketPorts {
    /// Other nodes.
    pub peers: Arc<dyn Peers>,
    /// The topology.
    pub directory: Arc<dyn Directory>,
    /// This node's copy.
    pub local: Arc<LocalReplica>,
    /// Wall clock, for expiry.
    pub clock: Arc<dyn Clock>,
    /// Background work: replica writes after the answer, repairs.
    pub spawn: Spawn,
    /// Seed of the operation ids.
    pub seed: u64,
}

/// The bucket flows of one node. Cheap to clone.
#[derive(Clone)]
pub struct BucketCoordinator {
    pub(super) inner: Arc<Inner>,
}

pub(super) struct Inner {
    pub(super) ports: BucketPorts,
    pub(super) settings: BucketSettings,
    pub(super) metrics: Arc<BucketMetrics>,
    rng: Mutex<ChaCha8Rng>,
    hasher: Mutex<Option<([u8; 16], Arc<TokenHasher>)>>,
    pub(super) reads: AtomicU64,
}

/// A key and who holds it, by one version of the topology.
#[derive(Clone, Debug)]
pub(super) struct Target {
    pub bucket: Arc<Table>,
    pub config: BucketConfig,
    pub policy: Policy,
    pub key: Bytes,
    pub storage_key: StorageKey,
    pub epoch: Epoch,
    /// In preference order.
    pub replicas: Vec<NodeId>,
}

/// Why one replica gave no copy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Miss {
    /// It does not hold the key by a newer topology than the caller's.
    Moved(Epoch, String),
    /// It was not asked: nothing happened there.
    Unasked(String),
    /// Slow, or its storage failed. Whether a write took effect there is unknown.
    Failed(String),
}

impl Miss {
    pub(super) fn words(&self) -> &str {
        match self {
            Miss::Moved(_, words) | Miss::Unasked(words) | Miss::Failed(words) => words,
        }
    }
}

/// One replica's copy: its digest, and the record if it was asked for and there is one.
#[derive(Clone, Debug)]
pub(super) struct Copy {
    pub digest: u64,
    pub record: Option<Bytes>,
    /// Whether the record was asked for.
    pub full: bool,
}

impl BucketCoordinator {
    /// Flows over these ports.
    pub fn new(ports: BucketPorts, settings: BucketSettings) -> Self {
        let rng = Mutex::new(ChaCha8Rng::seed_from_u64(ports.seed));
        let metrics = Arc::new(BucketMetrics::default());
        Self {
            inner: Arc::new(Inner {
                ports,
                settings,
                metrics,
                rng,
                hasher: Mutex::new(None),
                reads: AtomicU64::new(0),
            }),
        }
    }

    /// The counters.
    pub fn metrics(&self) -> &Arc<BucketMetrics> {
        &self.inner.metrics
    }

    pub(super) fn settings(&self) -> &BucketSettings {
        &self.inner.settings
    }

    pub(super) fn peers(&self) -> &Arc<dyn Peers> {
        &self.inner.ports.peers
    }

    pub(super) fn directory(&self) -> &Arc<dyn Directory> {
        &self.inner.ports.directory
    }

    pub(super) fn local(&self) -> &Arc<LocalReplica> {
        &self.inner.ports.local
    }

    pub(super) fn wall_ms(&self) -> u64 {
        self.inner.ports.clock.wall_ms()
    }

    pub(super) fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) {
        (self.inner.ports.spawn)(Box::pin(future));
    }

    pub(super) fn deadline(&self, asked: Option<Duration>) -> Instant {
        Instant::now() + asked.unwrap_or(self.settings().deadline).min(self.settings().max_deadline)
    }

    /// A fresh number for an operation, never 0.
    pub(super) fn operation_id(&self) -> u64 {
        self.inner.rng.lock().random_range(1..=u64::MAX)
    }

    fn token(&self, hash_key: &[u8; 16], key: &[u8]) -> u64 {
        let known = self
            .inner
            .hasher
            .lock()
            .as_ref()
            .filter(|(known, _)| known == hash_key)
            .map(|(_, hasher)| hasher.clone());
        let hasher = known.unwrap_or_else(|| {
            let hasher = Arc::new(TokenHasher::new(*hash_key));
            *self.inner.hasher.lock() = Some((*hash_key, hasher.clone()));
            hasher
        });
        hasher.token(key)
    }

    /// The bucket of a name, asking the meta group if this node has not heard of it.
    pub(super) async fn find_bucket(&self, name: &str, deadline: Instant) -> Option<Arc<Table>> {
        let known = |this: &Self| this.directory().topology().bucket_by_name(name).cloned();
        if let Some(bucket) = known(self) {
            return Some(bucket);
        }
        // A fetch that was cut off at the deadline leaves what was known.
        let _ = timeout_at(deadline, self.directory().refresh(Epoch(0))).await;
        known(self)
    }

    /// The bucket of a name, made with the defaults if there is none.
    pub(super) async fn find_or_create(
        &self,
        name: &str,
        deadline: Instant,
    ) -> Result<Arc<Table>, BucketError> {
        if let Some(bucket) = self.directory().topology().bucket_by_name(name) {
            return Ok(bucket.clone());
        }
        self.create(name, self.settings().default_config, deadline).await
    }

    /// Makes a bucket, or finds the one that exists.
    pub(super) async fn create(
        &self,
        name: &str,
        config: BucketConfig,
        deadline: Instant,
    ) -> Result<Arc<Table>, BucketError> {
        if name.len() > limits::MAX_BUCKET_NAME_BYTES {
            return Err(BucketError::invalid(
                format!(
                    "the bucket's name has {} bytes; at most {} are allowed",
                    name.len(),
                    limits::MAX_BUCKET_NAME_BYTES
                ),
                "choose a shorter name",
            ));
        }
        let command = Command::CreateBucket {
            name: name.to_owned(),
            config,
            partitions: self.settings().partitions,
            now_ms: self.wall_ms(),
        };
        match self.directory().execute(command, deadline).await {
            Ok(_) => {}
            Err(DirectoryError::Refused(refusal)) if refusal.code == "Exists" => {}
            Err(error) => return Err(directory_error(error)),
        }
        self.find_bucket(name, deadline).await.ok_or_else(|| {
            BucketError::new(
                ErrorKind::Unavailable,
                format!("the bucket {name:?} is being created and this node has not heard of it yet"),
                "try again",
            )
        })
    }

    /// Where a key of a bucket lives now.
    pub(super) fn locate(&self, bucket: &Arc<Table>, key: &Bytes) -> Result<Target, BucketError> {
        let topology = self.directory().topology();
        // The bucket may have been deleted, and created again under another number, since it was found.
        let Some(bucket) = topology.table(bucket.id).cloned() else {
            return Err(BucketError::no_bucket(&bucket.name));
        };
        let token = self.token(topology.token_key(), key);
        let (Some(config), Some(partition)) =
            (bucket.as_bucket().copied(), topology.partition(bucket.id, token))
        else {
            return Err(BucketError::no_bucket(&bucket.name));
        };
        let policy = match config.policy {
            BucketPolicy::Siblings => Policy::Siblings,
            BucketPolicy::LastWriterWins => Policy::LastWriterWins,
            BucketPolicy::Crdt(_) => {
                return Err(BucketError::invalid(
                    format!("bucket {:?} holds CRDTs, which this version cannot serve", bucket.name),
                    "use a bucket with the policy siblings or last-writer-wins",
                ));
            }
        };
        Ok(Target {
            storage_key: StorageKey::new(bucket.id.0, token, key),
            config,
            policy,
            key: key.clone(),
            epoch: topology.epoch(),
            replicas: partition.replicas.clone(),
            bucket,
        })
    }

    pub(super) fn is_alive(&self, node: NodeId) -> bool {
        node == self.peers().local() || self.peers().is_alive(node)
    }

    /// Reads one replica's copy, or its digest.
    pub(super) async fn read_copy(
        &self,
        node: NodeId,
        target: &Target,
        full: bool,
        deadline: Instant,
    ) -> Result<Copy, Miss> {
        if node == self.peers().local() {
            let record = self
                .local()
                .read(&target.storage_key)
                .map_err(|error| Miss::Failed(format!("{node}: {error}")))?;
            return Ok(Copy { digest: digest(record.as_deref()), record, full: true });
        }
        let body = RequestBody::BucketRead(BucketRead {
            bucket: target.bucket.id.0,
            epoch: target.epoch.0,
            key: target.key.clone(),
            token: target.storage_key.token(),
            digest_only: !full,
        });
        match self.call(node, body, deadline).await? {
            ResponseBody::BucketState(state) => Ok(Copy { digest: state.digest, record: state.record, full }),
            other => Err(miss(node, other)),
        }
    }

    /// Merges a record into one replica's copy; true if it brought anything new there.
    pub(super) async fn merge_copy(
        &self,
        node: NodeId,
        target: &Target,
        record: Bytes,
        deadline: Instant,
    ) -> Result<bool, Miss> {
        if node == self.peers().local() {
            let merge = self.local().merge(&target.storage_key, record);
            return match tokio::time::timeout_at(deadline, merge).await {
                Ok(Ok(changed)) => Ok(changed),
                Ok(Err(error)) => Err(Miss::Failed(format!("{node}: {error}"))),
                Err(_) => Err(Miss::Failed(format!("{node}: its log was too slow"))),
            };
        }
        let body = RequestBody::BucketMerge(BucketMerge {
            bucket: target.bucket.id.0,
            epoch: target.epoch.0,
            key: target.key.clone(),
            token: target.storage_key.token(),
            record,
        });
        match self.call(node, body, deadline).await? {
            ResponseBody::BucketMerged(merged) => Ok(merged.changed),
            other => Err(miss(node, other)),
        }
    }

    /// Asks a peer, at most until the deadline and the time that one replica gets.
    pub(super) async fn call(
        &self,
        node: NodeId,
        body: RequestBody,
        deadline: Instant,
    ) -> Result<ResponseBody, Miss> {
        let wait = deadline.saturating_duration_since(Instant::now()).min(self.settings().replica_timeout);
        if wait.is_zero() {
            return Err(Miss::Unasked(format!("{node}: no time left to ask it")));
        }
        match self.peers().call(node, PeerRequest { body: Some(body) }, wait).await {
            Ok(response) => match response.body {
                Some(body) => Ok(body),
                None => Err(Miss::Failed(format!("{node} sent an answer that this version does not know"))),
            },
            Err(PeerError::Timeout(_)) => Err(Miss::Failed(format!("{node} did not answer in time"))),
            Err(error @ (PeerError::Unreachable(_) | PeerError::Congested(_))) => {
                Err(Miss::Unasked(error.to_string()))
            }
        }
    }
}

/// An answer that is not a success.
pub(super) fn miss(node: NodeId, body: ResponseBody) -> Miss {
    match body {
        ResponseBody::Redirect(Redirect { reason, epoch, detail, .. }) => {
            let words = format!("{node}: {detail}");
            match RedirectReason::try_from(reason) {
                Ok(RedirectReason::WrongPartition) => Miss::Moved(Epoch(epoch), words),
                Ok(RedirectReason::Busy) => Miss::Unasked(words),
                _ => Miss::Failed(words),
            }
        }
        _ => Miss::Failed(format!("{node} sent an answer of the wrong kind")),
    }
}

pub(super) fn directory_error(error: DirectoryError) -> BucketError {
    match error {
        DirectoryError::Refused(refusal) if refusal.code == "Exists" => BucketError::new(
            ErrorKind::BucketExists,
            refusal.message,
            "describe it to see its settings, or choose another name",
        ),
        DirectoryError::Refused(refusal) => BucketError::invalid(refusal.to_string(), "correct the request"),
        DirectoryError::Unavailable(why) => BucketError::new(
            ErrorKind::Unavailable,
            format!("the bucket could not be created or removed: {why}"),
            "try again; this needs a majority of the meta nodes, reading and writing existing buckets does not",
        ),
    }
}

/// Refuses keys that are empty or too long.
pub(super) fn check_key(key: &[u8]) -> Result<(), BucketError> {
    if key.is_empty() {
        return Err(BucketError::invalid("the key is empty", "name a key of at least one byte"));
    }
    if key.len() > limits::MAX_KEY_BYTES {
        return Err(BucketError::invalid(
            format!("the key has {} bytes; at most {} are allowed", key.len(), limits::MAX_KEY_BYTES),
            "use a shorter key, a hash of it for instance",
        ));
    }
    Ok(())
}

/// Joins the reasons of the replicas that gave no copy.
pub(super) fn reasons(misses: &[Miss]) -> String {
    if misses.is_empty() {
        return "the others did not answer in time".into();
    }
    misses.iter().map(Miss::words).collect::<Vec<_>>().join("; ")
}
