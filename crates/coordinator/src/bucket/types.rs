//! Requests and answers of the Buckets face, and the trait that the edge calls.

use super::error::BucketError;
use bytes::Bytes;
use futures::future::BoxFuture;
use std::time::Duration;
use torc_cluster::topology::{BucketConfig, Level};

/// Stores a value. A bucket that does not exist is created with the defaults.
#[derive(Clone, Debug, Default)]
pub struct PutRequest {
    /// The bucket's name.
    pub bucket: String,
    /// The key, 1 to `limits::MAX_KEY_BYTES` bytes.
    pub key: Bytes,
    /// The value, at most `limits::MAX_VALUE_BYTES` bytes.
    pub value: Bytes,
    /// Returned with the value; may be empty.
    pub content_type: String,
    /// The encoded context of an earlier read or write of this key: exactly what it covers is replaced. Empty
    /// for none.
    pub context: Bytes,
    /// Acknowledgements to wait for; the bucket's default if not set.
    pub w: Option<Level>,
    /// How long the value is shown.
    pub ttl: Option<Duration>,
    /// The same number on a retry makes both one write. 0 lets the coordinator choose.
    pub operation: u64,
    /// How long the caller waits.
    pub deadline: Option<Duration>,
}

/// Removes values.
#[derive(Clone, Debug, Default)]
pub struct DeleteRequest {
    /// The bucket's name.
    pub bucket: String,
    /// The key.
    pub key: Bytes,
    /// Exactly what this covers is removed. Empty: everything that a read with as many replicas as `w` sees.
    pub context: Bytes,
    /// Acknowledgements to wait for; the bucket's default if not set.
    pub w: Option<Level>,
    /// See [`PutRequest::operation`].
    pub operation: u64,
    /// How long the caller waits.
    pub deadline: Option<Duration>,
}

/// The result of a write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WriteAnswer {
    /// What the writer has now seen: the context it brought and its own write. Empty in last-writer-wins
    /// buckets.
    pub context: Bytes,
    /// Replicas that hold the write durably.
    pub acked: u32,
    /// Replicas that should.
    pub replicas: u32,
}

/// Reads a key.
#[derive(Clone, Debug, Default)]
pub struct GetRequest {
    /// The bucket's name.
    pub bucket: String,
    /// The key.
    pub key: Bytes,
    /// Replicas whose copies are merged; the bucket's default if not set.
    pub r: Option<Level>,
    /// How long the caller waits.
    pub deadline: Option<Duration>,
}

/// One of the concurrent values of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sibling {
    /// The bytes.
    pub value: Bytes,
    /// As given by the writer, may be empty.
    pub content_type: String,
    /// When its coordinator accepted it, milliseconds since the Unix epoch by that node's clock.
    pub written_ms: u64,
    /// When it expires, milliseconds since the Unix epoch; 0 is never.
    pub expires_ms: u64,
}

/// What a read found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GetAnswer {
    /// What this reader has now seen, deletes included. Empty if the key was never written, and in
    /// last-writer-wins buckets.
    pub context: Bytes,
    /// No value (never written, deleted or expired), one, or several concurrent ones, oldest first.
    pub siblings: Vec<Sibling>,
    /// Replicas that answered.
    pub answered: u32,
    /// Replicas that should hold the key.
    pub replicas: u32,
}

/// A bucket as it is now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BucketInfo {
    /// Its name.
    pub name: String,
    /// Its number, never reused.
    pub id: u64,
    /// Its settings.
    pub config: BucketConfig,
    /// How many partitions it has.
    pub partitions: u32,
    /// When it was created, milliseconds since the Unix epoch.
    pub created_ms: u64,
}

/// Lists keys that have a value, in order of token: one replica's view of each partition, so a key written a
/// moment ago may be missing.
#[derive(Clone, Debug, Default)]
pub struct KeysRequest {
    /// The bucket's name.
    pub bucket: String,
    /// The `next` of the page before; empty to begin.
    pub after: Bytes,
    /// At most so many keys, 1 to `limits::MAX_LIST_KEYS`.
    pub limit: usize,
    /// How long the caller waits.
    pub deadline: Option<Duration>,
}

/// A page of keys.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeysPage {
    /// The keys.
    pub keys: Vec<Bytes>,
    /// Where the next page starts; empty after the last.
    pub next: Bytes,
}

/// A node in a [`RingInfo`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RingNode {
    /// Its number.
    pub id: u64,
    /// Where clients reach it, `host:port`.
    pub api_addr: String,
    /// Its zone.
    pub zone: String,
    /// Whether this node considers it alive.
    pub alive: bool,
}

/// A partition in a [`RingInfo`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RingPartition {
    /// First token.
    pub start: u64,
    /// Last token.
    pub end: u64,
    /// The nodes that hold it, in preference order.
    pub replicas: Vec<u64>,
}

/// What a token-aware client needs to go straight to an owner.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RingInfo {
    /// Version of the map.
    pub epoch: u64,
    /// Key of the token hash.
    pub token_key: [u8; 16],
    /// The bucket's number.
    pub bucket: u64,
    /// All nodes.
    pub nodes: Vec<RingNode>,
    /// The bucket's partitions, by token.
    pub partitions: Vec<RingPartition>,
}

/// The bucket interface of a node. Every call ends by its deadline.
pub trait Buckets: Send + Sync {
    /// Stores a value.
    fn put(&self, request: PutRequest) -> BoxFuture<'_, Result<WriteAnswer, BucketError>>;
    /// Removes values.
    fn delete(&self, request: DeleteRequest) -> BoxFuture<'_, Result<WriteAnswer, BucketError>>;
    /// Reads a key.
    fn get(&self, request: GetRequest) -> BoxFuture<'_, Result<GetAnswer, BucketError>>;
    /// Lists keys.
    fn keys(&self, request: KeysRequest) -> BoxFuture<'_, Result<KeysPage, BucketError>>;
    /// Creates a bucket. Creating it again with the same settings succeeds.
    fn create_bucket(
        &self,
        name: String,
        config: BucketConfig,
    ) -> BoxFuture<'_, Result<BucketInfo, BucketError>>;
    /// One bucket.
    fn describe_bucket(&self, name: String) -> BoxFuture<'_, Result<BucketInfo, BucketError>>;
    /// Buckets by name, those after `after` if it is not empty, at most `limit`.
    fn list_buckets(
        &self,
        after: String,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<BucketInfo>, BucketError>>;
    /// Removes a bucket with all its data.
    fn drop_bucket(&self, name: String) -> BoxFuture<'_, Result<(), BucketError>>;
    /// The map for token-aware clients.
    fn ring(&self, bucket: String) -> BoxFuture<'_, Result<RingInfo, BucketError>>;
}
