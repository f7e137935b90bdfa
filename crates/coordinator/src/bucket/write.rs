//! Puts and deletes.
//!
//! A replica of the key coordinates the write. It first makes the write durable in its own copy; this assigns
//! the dot. Then it sends the key's whole record to the other replicas, and answers when enough of them hold
//! it. A node that is no replica of the key, or whose disk is full, forwards the request to a replica.

use super::coordinator::{BucketCoordinator, Miss, Target, check_key, miss, reasons};
use super::error::{BucketError, ErrorKind};
use super::level::needed;
use super::metrics::BucketMetrics;
use super::types::{DeleteRequest, PutRequest, WriteAnswer};
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use std::collections::BTreeSet;
use std::sync::Arc;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};
use torc_cluster::topology::{Level, Table};
use torc_cluster::{Epoch, NodeId};
use torc_replica::bucket::{Context, Policy, PutOp, ReplicaError, Value, limits};
use torc_wire::bucket::BucketCoordinate;
use torc_wire::peer::{RequestBody, ResponseBody};

/// A write, independent of where the key lives.
#[derive(Clone, Debug)]
pub(super) struct Write {
    /// None deletes.
    pub value: Option<Value>,
    /// As the client brought it; empty for none.
    pub context: Bytes,
    pub operation: u64,
}

/// How one coordination ended without an answer for the client.
pub(super) enum Stop {
    /// The partition moved before anything was written: refresh and start over.
    Moved(Epoch),
    /// This node's disk has no room. Nothing was written anywhere.
    Full,
    Error(BucketError),
}

impl From<BucketError> for Stop {
    fn from(error: BucketError) -> Self {
        Stop::Error(error)
    }
}

impl BucketCoordinator {
    pub(super) async fn put_key(&self, request: PutRequest) -> Result<WriteAnswer, BucketError> {
        check_key(&request.key)?;
        check_context(&request.context)?;
        if request.value.len() > limits::MAX_VALUE_BYTES {
            return Err(BucketError::invalid(
                format!(
                    "the value has {} bytes; at most {} are allowed",
                    request.value.len(),
                    limits::MAX_VALUE_BYTES
                ),
                "store it in pieces",
            ));
        }
        if request.content_type.len() > limits::MAX_CONTENT_TYPE_BYTES {
            return Err(BucketError::invalid(
                format!(
                    "the content type has {} bytes; at most {} are allowed",
                    request.content_type.len(),
                    limits::MAX_CONTENT_TYPE_BYTES
                ),
                "shorten it",
            ));
        }
        let deadline = self.deadline(request.deadline);
        let bucket = self.find_or_create(&request.bucket, deadline).await?;
        let operation = if request.operation == 0 { self.operation_id() } else { request.operation };
        let expires_ms = request.ttl.map_or(0, |ttl| {
            let ttl_ms = u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX);
            self.wall_ms().saturating_add(ttl_ms).max(1)
        });
        let value = Value {
            body: request.value,
            content_type: request.content_type,
            expires_ms,
            operation,
            ..Value::default()
        };
        let write = Write { value: Some(value), context: request.context, operation };
        self.write(&bucket, &request.key, write, request.w, deadline).await
    }

    pub(super) async fn delete_key(&self, request: DeleteRequest) -> Result<WriteAnswer, BucketError> {
        check_key(&request.key)?;
        check_context(&request.context)?;
        let deadline = self.deadline(request.deadline);
        let bucket = self
            .find_bucket(&request.bucket, deadline)
            .await
            .ok_or_else(|| BucketError::no_bucket(&request.bucket))?;
        let operation = if request.operation == 0 { self.operation_id() } else { request.operation };
        let mut context = request.context;
        let target = self.locate(&bucket, &request.key)?;
        if context.is_empty() && target.policy == Policy::Siblings {
            // "Delete what is there" means what a read at this level sees, not what one replica happens to have.
            let level = request.w.unwrap_or(target.config.write);
            context = self.read_target(&bucket, &request.key, level, deadline).await?.context;
            if context.is_empty() {
                let replicas = target.replicas.len() as u32;
                let seen = needed(level, target.replicas.len(), "w")? as u32;
                return Ok(WriteAnswer { context, acked: seen, replicas });
            }
        }
        self.write(&bucket, &request.key, Write { value: None, context, operation }, request.w, deadline)
            .await
    }

    async fn write(
        &self,
        bucket: &Arc<Table>,
        key: &Bytes,
        write: Write,
        level: Option<Level>,
        deadline: Instant,
    ) -> Result<WriteAnswer, BucketError> {
        let metrics = &self.inner.metrics;
        BucketMetrics::add(&metrics.writes, 1);
        loop {
            let target = self.locate(bucket, key)?;
            let w = needed(level.unwrap_or(target.config.write), target.replicas.len(), "w")?;
            let here = target.replicas.contains(&self.peers().local());
            let mut ended = Err(Stop::Full);
            if here {
                ended = self.coordinate(&target, &write, w, deadline).await;
            }
            if matches!(ended, Err(Stop::Full)) {
                BucketMetrics::add(&metrics.forwarded, 1);
                ended = self.forward(&target, &write, w, deadline).await;
            }
            match ended {
                Ok(answer) => return Ok(answer),
                Err(Stop::Error(error)) => {
                    if error.kind.retryable() {
                        BucketMetrics::add(&metrics.failed_writes, 1);
                    }
                    return Err(error);
                }
                Err(Stop::Moved(epoch)) => self.follow(epoch, target.epoch, deadline).await?,
                Err(Stop::Full) => return Err(ReplicaError::DiskFull.into()),
            }
        }
    }

    /// Learns the topology that a replica spoke of, before another try.
    pub(super) async fn follow(
        &self,
        epoch: Epoch,
        had: Epoch,
        deadline: Instant,
    ) -> Result<(), BucketError> {
        let refresh = timeout_at(deadline, self.directory().refresh(epoch)).await;
        if refresh.is_ok() && self.directory().topology().epoch() > had {
            return Ok(());
        }
        Err(BucketError::new(
            ErrorKind::Unavailable,
            format!("the key has moved (epoch {}), and this node could not learn where to", epoch.0),
            "try again",
        ))
    }

    /// Coordinates a write on this node, which is a replica of the key.
    pub(super) async fn coordinate(
        &self,
        target: &Target,
        write: &Write,
        w: usize,
        deadline: Instant,
    ) -> Result<WriteAnswer, Stop> {
        let local = self.peers().local();
        let replicas = target.replicas.len();
        let alive = target.replicas.iter().filter(|node| self.is_alive(**node)).count();
        if alive < w {
            return Err(too_few_alive(w, alive, replicas, "nothing was written").into());
        }
        let context = if write.context.is_empty() || target.policy != Policy::Siblings {
            Context::default()
        } else {
            Context::decode(&write.context, target.bucket.id.0, &target.key)
                .map_err(BucketError::bad_context)?
        };
        let op = PutOp { policy: target.policy, context, value: write.value.clone() };
        let accepted = match timeout_at(deadline, self.local().put(&target.storage_key, op)).await {
            Ok(Err(ReplicaError::DiskFull)) => return Err(Stop::Full),
            Ok(accepted) => accepted.map_err(BucketError::from)?,
            Err(_) => {
                return Err(not_enough(
                    0,
                    w,
                    replicas,
                    &[Miss::Failed(format!("{local}: its log was too slow"))],
                )
                .into());
            }
        };
        let context = if target.policy == Policy::Siblings {
            accepted.context.encode(target.bucket.id.0, &target.key)
        } else {
            Bytes::new()
        };

        // From here on the write is never done again, only its record is sent: a second coordinator would give it a second dot.
        let mut target = target.clone();
        let mut holders = BTreeSet::from([local]);
        loop {
            let replicas = target.replicas.len();
            let w = w.min(replicas);
            let others: Vec<NodeId> =
                target.replicas.iter().copied().filter(|node| !holders.contains(node)).collect();
            let mut acked = replicas - others.len();
            let mut acks = self.replicate(&target, others, accepted.record.clone());
            let mut misses = Vec::new();
            while acked < w {
                match timeout_at(deadline, acks.recv()).await {
                    Ok(Some((node, Ok(_)))) => {
                        holders.insert(node);
                        acked += 1;
                    }
                    Ok(Some((_, Err(miss)))) => misses.push(miss),
                    Ok(None) => break,
                    Err(_) => {
                        let still = replicas.saturating_sub(acked + misses.len());
                        misses.push(Miss::Failed(format!("{still} did not answer in time")));
                        break;
                    }
                }
            }
            if acked >= w {
                return Ok(WriteAnswer { context, acked: acked as u32, replicas: replicas as u32 });
            }
            // The partition moved meanwhile: the record goes to those who hold it now.
            let moved =
                misses.iter().find_map(|m| if let Miss::Moved(epoch, _) = m { Some(*epoch) } else { None });
            let failed = not_enough(acked, w, replicas, &misses);
            let Some(epoch) = moved.filter(|_| Instant::now() < deadline) else { return Err(failed.into()) };
            if self.follow(epoch, target.epoch, deadline).await.is_err() {
                return Err(failed.into());
            }
            target = self.locate(&target.bucket, &target.key)?;
        }
    }

    /// Sends a record to other replicas in the background, so that the slow ones get it too after the answer.
    fn replicate(
        &self,
        target: &Target,
        others: Vec<NodeId>,
        record: Bytes,
    ) -> mpsc::UnboundedReceiver<(NodeId, Result<bool, Miss>)> {
        let (sender, acks) = mpsc::unbounded_channel();
        if others.is_empty() {
            return acks;
        }
        let this = self.clone();
        let target = target.clone();
        self.spawn(async move {
            let until = Instant::now() + this.settings().replica_timeout;
            let mut sent: FuturesUnordered<_> = others
                .into_iter()
                .map(|node| {
                    let (this, target, record) = (&this, &target, record.clone());
                    async move { (node, this.merge_copy(node, target, record, until).await) }
                })
                .collect();
            while let Some((node, result)) = sent.next().await {
                if let Err(miss) = &result {
                    this.missed(node, miss);
                }
                // Nobody listens any more once the client has its answer.
                let _ = sender.send((node, result));
            }
        });
        acks
    }

    /// A replica did not acknowledge a write. Its copy heals by read repair. A durable hint for it would be written here.
    fn missed(&self, node: NodeId, miss: &Miss) {
        BucketMetrics::add(&self.inner.metrics.missed_writes, 1);
        tracing::debug!(%node, why = miss.words(), "a replica missed a bucket write");
    }

    /// Passes a write on to another replica.
    async fn forward(
        &self,
        target: &Target,
        write: &Write,
        w: usize,
        deadline: Instant,
    ) -> Result<WriteAnswer, Stop> {
        let replicas = target.replicas.len();
        let alive: Vec<NodeId> =
            target.replicas.iter().copied().filter(|node| self.is_alive(*node)).collect();
        if alive.len() < w {
            return Err(too_few_alive(w, alive.len(), replicas, "nothing was written").into());
        }
        let local = self.peers().local();
        let mut misses = Vec::new();
        for node in alive.into_iter().filter(|node| *node != local) {
            let value = write.value.clone().unwrap_or_default();
            let body = RequestBody::BucketCoordinate(BucketCoordinate {
                bucket: target.bucket.id.0,
                epoch: target.epoch.0,
                key: target.key.clone(),
                delete: write.value.is_none(),
                value: value.body,
                content_type: value.content_type,
                expires_ms: value.expires_ms,
                operation: write.operation,
                context: write.context.clone(),
                needed: w as u32,
            });
            match self.call(node, body, deadline).await {
                Ok(ResponseBody::BucketResult(result)) => match result.fault {
                    None => {
                        return Ok(WriteAnswer {
                            context: result.context,
                            acked: result.acked,
                            replicas: result.replicas,
                        });
                    }
                    Some(fault) => {
                        let error = BucketError::from_wire(fault);
                        if error.kind != ErrorKind::DiskFull {
                            return Err(error.into());
                        }
                        // It wrote nothing and gave no dot: the next replica may coordinate.
                        misses.push(Miss::Unasked(format!("{node}: {error}")));
                    }
                },
                Ok(other) => match miss(node, other) {
                    Miss::Moved(epoch, _) => return Err(Stop::Moved(epoch)),
                    miss => misses.push(miss),
                },
                Err(miss) => misses.push(miss),
            }
            // If this replica may have stored the write, it gave it a dot; another replica's would be a second one, of which a reader who has seen
            // only the first would not know, and its next write would leave the second behind.
            let stored = misses.iter().any(|miss| !matches!(miss, Miss::Unasked(_)));
            if stored || Instant::now() >= deadline {
                break;
            }
        }
        if misses.iter().all(|miss| matches!(miss, Miss::Unasked(_))) {
            return Err(BucketError::new(
                ErrorKind::Unavailable,
                format!("no replica could coordinate the write; nothing was written: {}", reasons(&misses)),
                "try again when a replica of the key is reachable and has room on its disk",
            )
            .into());
        }
        Err(BucketError::new(
            ErrorKind::NotEnoughAnswers,
            format!(
                "{w} of {replicas} replicas needed, and none could coordinate the write in time: {}",
                reasons(&misses)
            ),
            "try again with the same operation id: the write may have been stored and then counts once",
        )
        .into())
    }
}

fn check_context(context: &Bytes) -> Result<(), BucketError> {
    if context.len() > limits::MAX_CONTEXT_BYTES {
        return Err(BucketError::invalid(
            format!(
                "the context has {} bytes; at most {} are allowed",
                context.len(),
                limits::MAX_CONTEXT_BYTES
            ),
            "send the context of a read, unchanged",
        ));
    }
    Ok(())
}

pub(super) fn too_few_alive(needed: usize, alive: usize, replicas: usize, effect: &str) -> BucketError {
    BucketError::new(
        ErrorKind::Unavailable,
        format!("{needed} of {replicas} replicas needed, {alive} alive: {effect}"),
        "ask for fewer replicas (ONE), or try again when nodes are back",
    )
}

fn not_enough(acked: usize, needed: usize, replicas: usize, misses: &[Miss]) -> BucketError {
    BucketError::new(
        ErrorKind::NotEnoughAnswers,
        format!("{needed} of {replicas} replicas needed, {acked} answered: {}", reasons(misses)),
        "the write is on the replicas that answered and may reach the rest; try again with the same operation id, or ask for fewer replicas",
    )
}
