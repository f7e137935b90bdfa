//! The gRPC service of `crates/wire/proto/kv.proto`.

use super::settings;
use bytes::Bytes;
use http_body_util::BodyExt;
use http_body_util::combinators::UnsyncBoxBody;
use std::sync::Arc;
use std::time::Duration;
use tonic::metadata::{MetadataMap, MetadataValue};
use tonic::{Code, Request, Response, Status};
use torc_coordinator::bucket::{
    self as bucket, BucketConfig, BucketError, BucketInfo, BucketPolicy, Buckets, ErrorKind, Level, limits,
    parse_level,
};
use torc_wire::kv;
use torc_wire::kv::buckets_server::{Buckets as Rpc, BucketsServer};

/// The service as the server mounts it. Cheap to clone.
pub type Service = BucketsServer<BucketsService>;

/// The largest message that a client may send: a value, its key and its context.
const MAX_REQUEST_BYTES: usize = limits::MAX_VALUE_BYTES + 64 * 1024;
/// The largest answer: a full record of siblings.
const MAX_ANSWER_BYTES: usize = limits::MAX_RECORD_BYTES + 1024 * 1024;
const DEFAULT_LIMIT: usize = 100;

/// The service over a node's buckets.
pub fn service(buckets: Arc<dyn Buckets>) -> Service {
    BucketsServer::new(BucketsService { buckets })
        .max_decoding_message_size(MAX_REQUEST_BYTES)
        .max_encoding_message_size(MAX_ANSWER_BYTES)
}

/// Serves one gRPC request.
pub async fn call<B>(
    mut service: Service,
    request: http::Request<B>,
) -> http::Response<UnsyncBoxBody<Bytes, Status>>
where
    B: tonic::codegen::Body + Send + 'static,
    B::Error: Into<tonic::codegen::StdError> + Send + 'static,
{
    match tonic::codegen::Service::call(&mut service, request).await {
        Ok(response) => response.map(BodyExt::boxed_unsync),
        Err(never) => match never {},
    }
}

/// The answer to a call that did not say who it is.
pub fn unauthenticated(message: &str) -> http::Response<UnsyncBoxBody<Bytes, Status>> {
    Status::unauthenticated(message).into_http::<tonic::body::Body>().map(BodyExt::boxed_unsync)
}

/// See [`service`].
#[derive(Clone)]
pub struct BucketsService {
    buckets: Arc<dyn Buckets>,
}

#[tonic::async_trait]
impl Rpc for BucketsService {
    async fn put(&self, request: Request<kv::PutRequest>) -> Result<Response<kv::WriteReply>, Status> {
        let deadline = deadline(request.metadata())?;
        let put = request.into_inner();
        let request = bucket::PutRequest {
            bucket: put.bucket,
            key: put.key,
            value: put.value,
            content_type: put.content_type,
            context: put.context,
            w: level(put.w)?,
            ttl: (put.ttl_ms != 0).then(|| Duration::from_millis(put.ttl_ms)),
            operation: put.operation,
            deadline,
        };
        Ok(Response::new(written(self.buckets.put(request).await.map_err(status)?)))
    }

    async fn get(&self, request: Request<kv::GetRequest>) -> Result<Response<kv::GetReply>, Status> {
        let deadline = deadline(request.metadata())?;
        let get = request.into_inner();
        let request = bucket::GetRequest { bucket: get.bucket, key: get.key, r: level(get.r)?, deadline };
        let found = self.buckets.get(request).await.map_err(status)?;
        let siblings = found
            .siblings
            .into_iter()
            .map(|sibling| kv::Sibling {
                value: sibling.value,
                content_type: sibling.content_type,
                written_ms: sibling.written_ms,
                expires_ms: sibling.expires_ms,
            })
            .collect();
        let (answered, replicas) = (found.answered, found.replicas);
        Ok(Response::new(kv::GetReply { context: found.context, siblings, answered, replicas }))
    }

    async fn delete(&self, request: Request<kv::DeleteRequest>) -> Result<Response<kv::WriteReply>, Status> {
        let deadline = deadline(request.metadata())?;
        let delete = request.into_inner();
        let request = bucket::DeleteRequest {
            bucket: delete.bucket,
            key: delete.key,
            context: delete.context,
            w: level(delete.w)?,
            operation: 0,
            deadline,
        };
        Ok(Response::new(written(self.buckets.delete(request).await.map_err(status)?)))
    }

    async fn list_keys(
        &self,
        request: Request<kv::ListKeysRequest>,
    ) -> Result<Response<kv::ListKeysReply>, Status> {
        let deadline = deadline(request.metadata())?;
        let list = request.into_inner();
        let request = bucket::KeysRequest {
            bucket: list.bucket,
            after: list.after,
            limit: limit(list.limit)?,
            deadline,
        };
        let page = self.buckets.keys(request).await.map_err(status)?;
        Ok(Response::new(kv::ListKeysReply { keys: page.keys, next: page.next }))
    }

    async fn create_bucket(
        &self,
        request: Request<kv::CreateBucketRequest>,
    ) -> Result<Response<kv::Bucket>, Status> {
        let create = request.into_inner();
        let policy = match create.policy() {
            kv::Policy::LastWriterWins => BucketPolicy::LastWriterWins,
            kv::Policy::Unspecified | kv::Policy::Siblings => BucketPolicy::Siblings,
        };
        let config = BucketConfig {
            n: if create.n == 0 { settings::DEFAULT.n } else { create.n },
            read: level(create.r)?.unwrap_or(settings::DEFAULT.read),
            write: level(create.w)?.unwrap_or(settings::DEFAULT.write),
            policy,
        };
        let config = settings::check(config).map_err(status)?;
        let info = self.buckets.create_bucket(create.bucket, config).await.map_err(status)?;
        Ok(Response::new(describe(info)))
    }

    async fn describe_bucket(
        &self,
        request: Request<kv::DescribeBucketRequest>,
    ) -> Result<Response<kv::Bucket>, Status> {
        let info = self.buckets.describe_bucket(request.into_inner().bucket).await.map_err(status)?;
        Ok(Response::new(describe(info)))
    }

    async fn list_buckets(
        &self,
        request: Request<kv::ListBucketsRequest>,
    ) -> Result<Response<kv::ListBucketsReply>, Status> {
        let list = request.into_inner();
        let found = self.buckets.list_buckets(list.after, limit(list.limit)?).await.map_err(status)?;
        Ok(Response::new(kv::ListBucketsReply { buckets: found.into_iter().map(describe).collect() }))
    }

    async fn drop_bucket(
        &self,
        request: Request<kv::DropBucketRequest>,
    ) -> Result<Response<kv::DropBucketReply>, Status> {
        self.buckets.drop_bucket(request.into_inner().bucket).await.map_err(status)?;
        Ok(Response::new(kv::DropBucketReply {}))
    }

    async fn get_ring(&self, request: Request<kv::GetRingRequest>) -> Result<Response<kv::Ring>, Status> {
        let ring = self.buckets.ring(request.into_inner().bucket).await.map_err(status)?;
        let nodes = ring
            .nodes
            .into_iter()
            .map(|node| kv::RingNode {
                id: node.id,
                api_addr: node.api_addr,
                zone: node.zone,
                alive: node.alive,
            })
            .collect();
        let partitions = ring
            .partitions
            .into_iter()
            .map(|part| kv::RingPartition { start: part.start, end: part.end, replicas: part.replicas })
            .collect();
        let token_key = Bytes::copy_from_slice(&ring.token_key);
        Ok(Response::new(kv::Ring { epoch: ring.epoch, token_key, nodes, partitions }))
    }
}

fn written(answer: bucket::WriteAnswer) -> kv::WriteReply {
    kv::WriteReply { context: answer.context, acked: answer.acked, replicas: answer.replicas }
}

fn describe(info: BucketInfo) -> kv::Bucket {
    let policy = match info.config.policy {
        BucketPolicy::Siblings => kv::Policy::Siblings,
        BucketPolicy::LastWriterWins => kv::Policy::LastWriterWins,
        BucketPolicy::Crdt(_) => kv::Policy::Unspecified,
    };
    kv::Bucket {
        name: info.name,
        id: info.id,
        n: info.config.n,
        r: Some(level_message(info.config.read)),
        w: Some(level_message(info.config.write)),
        policy: policy.into(),
        partitions: info.partitions,
        created_ms: info.created_ms,
    }
}

fn level_message(level: Level) -> kv::Level {
    let level = match level {
        Level::Count(count) => kv::level::Level::Count(count),
        named => kv::level::Level::Name(bucket::level::level_name(named)),
    };
    kv::Level { level: Some(level) }
}

fn level(level: Option<kv::Level>) -> Result<Option<Level>, Status> {
    match level.and_then(|level| level.level) {
        None => Ok(None),
        Some(kv::level::Level::Name(name)) => parse_level(&name).map(Some).map_err(status),
        Some(kv::level::Level::Count(count)) => parse_level(&count.to_string()).map(Some).map_err(status),
    }
}

fn limit(limit: u32) -> Result<usize, Status> {
    match limit as usize {
        0 => Ok(DEFAULT_LIMIT),
        limit if limit <= limits::MAX_LIST_KEYS => Ok(limit),
        limit => {
            let message = format!("limit {limit} is out of range");
            Err(status(BucketError::invalid(message, format!("limit is at most {}", limits::MAX_LIST_KEYS))))
        }
    }
}

/// The call's `grpc-timeout`: up to eight digits and a unit.
fn deadline(metadata: &MetadataMap) -> Result<Option<Duration>, Status> {
    let Some(value) = metadata.get("grpc-timeout") else { return Ok(None) };
    let parsed = value.to_str().ok().and_then(|text| {
        let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
        let number: u64 = digits.parse().ok().filter(|_| digits.len() <= 8)?;
        Some(match unit {
            "H" => Duration::from_secs(number * 3600),
            "M" => Duration::from_secs(number * 60),
            "S" => Duration::from_secs(number),
            "m" => Duration::from_millis(number),
            "u" => Duration::from_micros(number),
            "n" => Duration::from_nanos(number),
            _ => return None,
        })
    });
    parsed.map(Some).ok_or_else(|| Status::invalid_argument("the grpc-timeout cannot be read"))
}

fn status(error: BucketError) -> Status {
    let code = match error.kind {
        ErrorKind::InvalidArgument => Code::InvalidArgument,
        ErrorKind::NoSuchBucket => Code::NotFound,
        ErrorKind::BucketExists => Code::AlreadyExists,
        ErrorKind::TooManySiblings => Code::FailedPrecondition,
        ErrorKind::Unavailable | ErrorKind::NotEnoughAnswers | ErrorKind::DiskFull => Code::Unavailable,
        ErrorKind::Storage | ErrorKind::Internal => Code::Internal,
    };
    let mut metadata = MetadataMap::new();
    metadata.insert("torc-code", MetadataValue::from_static(error.kind.as_str()));
    metadata.insert(
        "torc-retryable",
        MetadataValue::from_static(if error.kind.retryable() { "true" } else { "false" }),
    );
    if let Ok(hint) = error.hint.parse() {
        metadata.insert("torc-hint", hint);
    }
    Status::with_metadata(code, error.message, metadata)
}
