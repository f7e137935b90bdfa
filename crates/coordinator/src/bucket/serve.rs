//! Serves requests of other nodes: replica writes, reads, listings, and writes that this node should
//! coordinate.

use super::coordinator::BucketCoordinator;
use super::error::BucketError;
use super::write::{Stop, Write};
use bytes::Bytes;
use std::time::Duration;
use tokio::time::Instant;
use torc_cluster::{Epoch, TableId};
use torc_replica::bucket::key::{StorageKey, token_end, token_start};
use torc_replica::bucket::state::digest;
use torc_replica::bucket::{ReplicaError, Value, limits};
use torc_wire::bucket::{
    BucketCoordinate, BucketKeys, BucketList, BucketMerge, BucketMerged, BucketRead, BucketResult,
    BucketState,
};
use torc_wire::peer::{Redirect, RedirectReason, RequestBody, ResponseBody};

/// How long this node tries to catch up with a caller that knows a newer topology.
const CATCH_UP: Duration = Duration::from_millis(500);

impl BucketCoordinator {
    /// Serves a bucket request of a peer, who waits until `deadline`; none for a request that is not about buckets.
    pub async fn serve(&self, body: RequestBody, deadline: Instant) -> Option<ResponseBody> {
        Some(match body {
            RequestBody::BucketCoordinate(request) => self.serve_coordinate(request, deadline).await,
            RequestBody::BucketMerge(request) => self.serve_merge(request).await,
            RequestBody::BucketRead(request) => self.serve_read(request),
            RequestBody::BucketList(request) => self.serve_list(request),
            _ => return None,
        })
    }

    async fn serve_coordinate(&self, request: BucketCoordinate, deadline: Instant) -> ResponseBody {
        // Shorter than the caller waits, so that it hears how many replicas answered.
        let wait = deadline.saturating_duration_since(Instant::now()).min(self.settings().replica_timeout);
        let deadline = Instant::now() + wait * 3 / 4;
        let catch_up = self.directory().topology().epoch() < Epoch(request.epoch);
        if catch_up {
            let refresh = self.directory().refresh(Epoch(request.epoch));
            // A failure shows below: the bucket or the partition is not found.
            let _ = tokio::time::timeout(CATCH_UP, refresh).await;
        }
        let topology = self.directory().topology();
        let Some(bucket) = topology.table(TableId(request.bucket)).cloned() else {
            return self.moved("the bucket is not known here");
        };
        let target = match self.locate(&bucket, &request.key) {
            Ok(target) => target,
            Err(error) => return failed(&error),
        };
        if !target.replicas.contains(&self.peers().local()) {
            return self.moved("this node holds no copy of the key");
        }
        let value = Value {
            body: request.value,
            content_type: request.content_type,
            expires_ms: request.expires_ms,
            operation: request.operation,
            ..Value::default()
        };
        let write = Write {
            value: (!request.delete).then_some(value),
            context: request.context,
            operation: request.operation,
        };
        let needed = (request.needed as usize).clamp(1, target.replicas.len());
        match self.coordinate(&target, &write, needed, deadline).await {
            Ok(answer) => ResponseBody::BucketResult(BucketResult {
                context: answer.context,
                acked: answer.acked,
                replicas: answer.replicas,
                fault: None,
            }),
            Err(Stop::Error(error)) => failed(&error),
            Err(Stop::Full) => failed(&ReplicaError::DiskFull.into()),
            Err(Stop::Moved(epoch)) => {
                // Nothing was written: the caller starts over with the newer map.
                redirect(RedirectReason::WrongPartition, epoch, "a replica of the key has moved".into())
            }
        }
    }

    async fn serve_merge(&self, request: BucketMerge) -> ResponseBody {
        if let Some(refusal) = self.refuse(request.bucket, request.token, request.epoch) {
            return refusal;
        }
        let key = StorageKey::new(request.bucket, request.token, &request.key);
        match self.local().merge(&key, request.record).await {
            Ok(changed) => ResponseBody::BucketMerged(BucketMerged { changed }),
            Err(error) => self.storage(&error),
        }
    }

    fn serve_read(&self, request: BucketRead) -> ResponseBody {
        if let Some(refusal) = self.refuse(request.bucket, request.token, request.epoch) {
            return refusal;
        }
        let key = StorageKey::new(request.bucket, request.token, &request.key);
        match self.local().read(&key) {
            Ok(record) => ResponseBody::BucketState(BucketState {
                digest: digest(record.as_deref()),
                record: record.filter(|_| !request.digest_only),
            }),
            Err(error) => self.storage(&error),
        }
    }

    fn serve_list(&self, request: BucketList) -> ResponseBody {
        if let Some(refusal) = self.refuse(request.bucket, request.from_token, request.epoch) {
            return refusal;
        }
        match self.list_here(&request) {
            Ok(keys) => ResponseBody::BucketKeys(keys),
            Err(error) => self.storage(&error),
        }
    }

    /// Keys of this node's copy.
    pub(super) fn list_here(&self, list: &BucketList) -> Result<BucketKeys, ReplicaError> {
        let start = match &list.after {
            // The key itself is not wanted again: its successor in byte order has one more zero byte.
            Some(key) => {
                let mut start = StorageKey::new(list.bucket, list.from_token, key).as_bytes().to_vec();
                start.push(0);
                Bytes::from(start)
            }
            None => token_start(list.bucket, list.from_token),
        };
        let end = token_end(list.bucket, list.to_token);
        let limit = (list.limit as usize).clamp(1, limits::MAX_LIST_KEYS);
        let (keys, more) = self.local().list(&start, &end, limit)?;
        Ok(BucketKeys {
            tokens: keys.iter().map(StorageKey::token).collect(),
            keys: keys.iter().map(StorageKey::key).collect(),
            more,
        })
    }

    /// A refusal if this node certainly holds no copy: its topology is at least the caller's and does not place the token here.
    fn refuse(&self, bucket: u64, token: u64, epoch: u64) -> Option<ResponseBody> {
        let topology = self.directory().topology();
        let holds = topology
            .partition(TableId(bucket), token)
            .is_some_and(|partition| partition.replicas.contains(&self.peers().local()));
        if holds || topology.epoch() < Epoch(epoch) {
            None
        } else {
            Some(self.moved("this node holds no copy of the key"))
        }
    }

    fn moved(&self, detail: &str) -> ResponseBody {
        redirect(RedirectReason::WrongPartition, self.directory().topology().epoch(), detail.into())
    }

    fn storage(&self, error: &ReplicaError) -> ResponseBody {
        redirect(RedirectReason::Storage, self.directory().topology().epoch(), error.to_string())
    }
}

fn redirect(reason: RedirectReason, epoch: Epoch, detail: String) -> ResponseBody {
    ResponseBody::Redirect(Redirect { reason: reason.into(), node: 0, epoch: epoch.0, detail })
}

fn failed(error: &BucketError) -> ResponseBody {
    ResponseBody::BucketResult(BucketResult { fault: Some(error.to_wire()), ..BucketResult::default() })
}
