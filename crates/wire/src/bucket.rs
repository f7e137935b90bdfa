//! Messages between bucket replicas. Records and contexts inside are those of `docs/formats/bucket.md`,
//! opaque here.
//!
//! Each request carries the caller's epoch. A receiver that knows a topology at least as new and does not
//! hold the key answers with a redirect; one that knows an older topology trusts the caller.

use bytes::Bytes;

/// Coordinate a write: only a replica of the key may, because only it mints dots for its own copy.
#[derive(Clone, PartialEq, prost::Message)]
pub struct BucketCoordinate {
    /// The bucket.
    #[prost(uint64, tag = "1")]
    pub bucket: u64,
    /// The caller's epoch.
    #[prost(uint64, tag = "2")]
    pub epoch: u64,
    /// The client's key.
    #[prost(bytes = "bytes", tag = "3")]
    pub key: Bytes,
    /// Remove what the context covers instead of writing a value.
    #[prost(bool, tag = "4")]
    pub delete: bool,
    /// The value; empty for a delete.
    #[prost(bytes = "bytes", tag = "5")]
    pub value: Bytes,
    /// Its content type, may be empty.
    #[prost(string, tag = "6")]
    pub content_type: String,
    /// When it ends to be shown, milliseconds since the Unix epoch; 0 is never.
    #[prost(uint64, tag = "7")]
    pub expires_ms: u64,
    /// Names the write, so that it counts once however often it is tried; not 0.
    #[prost(uint64, tag = "8")]
    pub operation: u64,
    /// The encoded context that the client brought; empty for none.
    #[prost(bytes = "bytes", tag = "9")]
    pub context: Bytes,
    /// Replicas that must hold the write durably before it is answered.
    #[prost(uint32, tag = "10")]
    pub needed: u32,
}

/// The end of a coordinated write.
#[derive(Clone, PartialEq, prost::Message)]
pub struct BucketResult {
    /// What the writer has now seen, encoded.
    #[prost(bytes = "bytes", tag = "1")]
    pub context: Bytes,
    /// Replicas that hold the write durably, at the time of the answer.
    #[prost(uint32, tag = "2")]
    pub acked: u32,
    /// Replicas that should hold it.
    #[prost(uint32, tag = "3")]
    pub replicas: u32,
    /// Why it failed, if it did.
    #[prost(message, optional, tag = "4")]
    pub fault: Option<BucketFault>,
}

/// A failure in words for the client.
#[derive(Clone, PartialEq, prost::Message)]
pub struct BucketFault {
    /// Its kind, as `torc_coordinator::bucket::ErrorKind` numbers them.
    #[prost(uint32, tag = "1")]
    pub kind: u32,
    /// What happened.
    #[prost(string, tag = "2")]
    pub message: String,
    /// What to do next.
    #[prost(string, tag = "3")]
    pub hint: String,
}

/// Merge a record into this replica's copy: a replica write or a read repair (and later a hint or a Merkle
/// difference).
#[derive(Clone, PartialEq, prost::Message)]
pub struct BucketMerge {
    /// The bucket.
    #[prost(uint64, tag = "1")]
    pub bucket: u64,
    /// The caller's epoch.
    #[prost(uint64, tag = "2")]
    pub epoch: u64,
    /// The client's key.
    #[prost(bytes = "bytes", tag = "3")]
    pub key: Bytes,
    /// Its token.
    #[prost(uint64, tag = "4")]
    pub token: u64,
    /// The record.
    #[prost(bytes = "bytes", tag = "5")]
    pub record: Bytes,
}

/// The merge is durable.
#[derive(Clone, PartialEq, prost::Message)]
pub struct BucketMerged {
    /// Whether it brought anything new.
    #[prost(bool, tag = "1")]
    pub changed: bool,
}

/// Read a key's copy here, or only its digest.
#[derive(Clone, PartialEq, prost::Message)]
pub struct BucketRead {
    /// The bucket.
    #[prost(uint64, tag = "1")]
    pub bucket: u64,
    /// The caller's epoch.
    #[prost(uint64, tag = "2")]
    pub epoch: u64,
    /// The client's key.
    #[prost(bytes = "bytes", tag = "3")]
    pub key: Bytes,
    /// Its token.
    #[prost(uint64, tag = "4")]
    pub token: u64,
    /// Leave the record out.
    #[prost(bool, tag = "5")]
    pub digest_only: bool,
}

/// A key's copy.
#[derive(Clone, PartialEq, prost::Message)]
pub struct BucketState {
    /// Digest of the record; 0 only if there is none.
    #[prost(fixed64, tag = "1")]
    pub digest: u64,
    /// The record; absent if there is none, or if only the digest was asked for.
    #[prost(bytes = "bytes", optional, tag = "2")]
    pub record: Option<Bytes>,
}

/// List keys with a value to show, by token and key.
#[derive(Clone, PartialEq, prost::Message)]
pub struct BucketList {
    /// The bucket.
    #[prost(uint64, tag = "1")]
    pub bucket: u64,
    /// The caller's epoch.
    #[prost(uint64, tag = "2")]
    pub epoch: u64,
    /// First token.
    #[prost(uint64, tag = "3")]
    pub from_token: u64,
    /// Last token.
    #[prost(uint64, tag = "4")]
    pub to_token: u64,
    /// Only keys after this one within the first token, if set.
    #[prost(bytes = "bytes", optional, tag = "5")]
    pub after: Option<Bytes>,
    /// At most so many.
    #[prost(uint32, tag = "6")]
    pub limit: u32,
}

/// Keys.
#[derive(Clone, PartialEq, prost::Message)]
pub struct BucketKeys {
    /// In order of token, then key.
    #[prost(bytes = "bytes", repeated, tag = "1")]
    pub keys: Vec<Bytes>,
    /// The token of each.
    #[prost(uint64, repeated, tag = "2")]
    pub tokens: Vec<u64>,
    /// Whether there may be more.
    #[prost(bool, tag = "3")]
    pub more: bool,
}
