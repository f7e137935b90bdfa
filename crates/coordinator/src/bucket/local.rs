//! This node's replica of the buckets: an async shell over [`BucketReplica`].
//!
//! Many callers stage writes under one lock. The first of them commits everything that was staged meanwhile,
//! so a busy node appends once to the log for many writes. The node reports through [`LocalReplica::durable`]
//! how far the log is on disk, and the callers whose writes are covered continue.

use crate::ports::Clock;
use bytes::Bytes;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::sync::oneshot;
use torc_engine::Lsn;
use torc_replica::bucket::key::StorageKey;
use torc_replica::bucket::{Accepted, BucketReplica, Outcome, PutOp, ReplicaError, Stage, Store, Ticket};

type Answer = Result<Accepted, ReplicaError>;

struct Inner {
    replica: BucketReplica<Arc<dyn Store>>,
    waiters: BTreeMap<Ticket, oneshot::Sender<Answer>>,
    failed: bool,
}

/// The bucket data of this node.
pub struct LocalReplica {
    inner: Mutex<Inner>,
    clock: Arc<dyn Clock>,
    written: Box<dyn Fn() + Send + Sync>,
}

impl LocalReplica {
    /// Opens the node's copy. `written` is called after each append to the log (a simulated disk has work
    /// then).
    ///
    /// # Errors
    /// The storage failed.
    pub fn open(
        store: Arc<dyn Store>,
        node: u64,
        clock: Arc<dyn Clock>,
        written: impl Fn() + Send + Sync + 'static,
    ) -> Result<Self, ReplicaError> {
        let replica = BucketReplica::open(store, node, clock.wall_ms())?;
        let inner = Inner { replica, waiters: BTreeMap::new(), failed: false };
        Ok(Self { inner: Mutex::new(inner), clock, written: Box::new(written) })
    }

    /// Plants a bug for the simulation's self-test, see `BucketReplica::plant_forget_siblings`.
    pub fn plant_forget_siblings(&self) {
        self.inner.lock().replica.plant_forget_siblings();
    }

    /// The log is durable up to `lsn`: what was written up to there is shown and answered.
    ///
    /// Takes the lock that is held over appends to the log: call it from a task, never from within the log's
    /// own callback.
    pub fn durable(&self, lsn: Lsn) {
        let mut inner = self.inner.lock();
        let outcomes = inner.replica.durable(lsn);
        inner.answer(outcomes);
    }

    /// The log failed: every operation in flight ends without an answer, and no more are accepted.
    pub fn fail(&self) {
        let mut inner = self.inner.lock();
        inner.failed = true;
        inner.waiters.clear();
    }

    /// Coordinates a write on this node's copy; ends when it is durable here.
    ///
    /// # Errors
    /// Nothing was written, except after [`LocalReplica::fail`], when it is not known.
    pub async fn put(&self, key: &StorageKey, op: PutOp) -> Answer {
        self.run(|replica, wall_ms| replica.put(key, op, wall_ms)).await
    }

    /// Merges a record into this node's copy; ends when the result is durable here. True if it brought
    /// anything new.
    ///
    /// # Errors
    /// As for [`LocalReplica::put`].
    pub async fn merge(&self, key: &StorageKey, record: Bytes) -> Result<bool, ReplicaError> {
        Ok(self.run(|replica, wall_ms| replica.merge(key, record, wall_ms)).await?.changed)
    }

    /// The durable record of a key.
    ///
    /// # Errors
    /// The storage failed.
    pub fn read(&self, key: &StorageKey) -> Result<Option<Bytes>, ReplicaError> {
        self.inner.lock().replica.read(key)
    }

    /// Up to `limit` durable keys with a value to show in `start..end`, and whether there are more.
    ///
    /// # Errors
    /// The storage failed or a record is damaged.
    pub fn list(
        &self,
        start: &[u8],
        end: &[u8],
        limit: usize,
    ) -> Result<(Vec<StorageKey>, bool), ReplicaError> {
        let mut keys = Vec::new();
        let mut more = false;
        self.inner.lock().replica.list(start, end, self.clock.wall_ms(), &mut |key| {
            more = keys.len() == limit;
            if !more {
                keys.push(key);
            }
            !more
        })?;
        Ok((keys, more))
    }

    /// How often this node found its own history missing.
    pub fn lost_histories(&self) -> u64 {
        self.inner.lock().replica.lost_histories()
    }

    async fn run(
        &self,
        stage: impl FnOnce(&mut BucketReplica<Arc<dyn Store>>, u64) -> Result<Stage, ReplicaError>,
    ) -> Answer {
        let receiver = {
            let mut inner = self.inner.lock();
            if inner.failed {
                return Err(stopped());
            }
            match stage(&mut inner.replica, self.clock.wall_ms())? {
                Stage::Done(accepted) => return Ok(accepted),
                Stage::Pending(ticket) => {
                    let (sender, receiver) = oneshot::channel();
                    inner.waiters.insert(ticket, sender);
                    receiver
                }
            }
        };
        // Other tasks that are ready to run stage their writes now. The first task that continues commits for
        // all.
        tokio::task::yield_now().await;
        let written = {
            let mut inner = self.inner.lock();
            let commit = inner.replica.commit();
            inner.answer(commit.failed);
            commit.lsn.is_some()
        };
        if written {
            (self.written)();
        }
        receiver.await.unwrap_or_else(|_| Err(stopped()))
    }
}

impl Inner {
    fn answer(&mut self, outcomes: Vec<Outcome>) {
        for (ticket, answer) in outcomes {
            if let Some(waiter) = self.waiters.remove(&ticket) {
                // The caller may have given up.
                let _ = waiter.send(answer);
            }
        }
    }
}

fn stopped() -> ReplicaError {
    ReplicaError::Storage("the log failed; the node is stopping".into())
}
