//! Errors of bucket operations. Their texts reach the client.

use torc_replica::bucket::{DecodeError, ReplicaError};
use torc_wire::bucket::BucketFault;

/// What kind of failure: stable, the edge maps it to its own codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// The request makes no sense; nothing was done.
    InvalidArgument,
    /// There is no such bucket; nothing was done.
    NoSuchBucket,
    /// The bucket exists with another configuration; nothing was done.
    BucketExists,
    /// Too few replicas are reachable; nothing was done.
    Unavailable,
    /// Fewer replicas than needed answered in time. A write may be on some of them and is not taken back.
    NotEnoughAnswers,
    /// The key holds too many siblings or bytes; nothing was done.
    TooManySiblings,
    /// A replica's storage failed.
    Storage,
    /// A bug or a version mismatch.
    Internal,
    /// The coordinating replica's disk has no room; nothing was done. Another replica may be asked.
    DiskFull,
}

const KINDS: [(ErrorKind, u32, &str); 9] = [
    (ErrorKind::InvalidArgument, 1, "InvalidArgument"),
    (ErrorKind::NoSuchBucket, 2, "NoSuchBucket"),
    (ErrorKind::BucketExists, 3, "BucketExists"),
    (ErrorKind::Unavailable, 4, "Unavailable"),
    (ErrorKind::NotEnoughAnswers, 5, "NotEnoughAnswers"),
    (ErrorKind::TooManySiblings, 6, "TooManySiblings"),
    (ErrorKind::Storage, 7, "StorageFailure"),
    (ErrorKind::Internal, 8, "Internal"),
    (ErrorKind::DiskFull, 9, "DiskFull"),
];

impl ErrorKind {
    fn number(self) -> u32 {
        KINDS.iter().find(|(kind, ..)| *kind == self).map_or(8, |(_, number, _)| *number)
    }

    /// The code that clients see.
    pub fn as_str(self) -> &'static str {
        KINDS.iter().find(|(kind, ..)| *kind == self).map_or("Internal", |(.., name)| name)
    }

    /// Whether trying again later may work with no other change.
    pub fn retryable(self) -> bool {
        matches!(
            self,
            ErrorKind::Unavailable | ErrorKind::NotEnoughAnswers | ErrorKind::Storage | ErrorKind::DiskFull
        )
    }
}

/// A failed bucket operation.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct BucketError {
    /// What kind.
    pub kind: ErrorKind,
    /// What happened, with numbers.
    pub message: String,
    /// What to do next.
    pub hint: String,
}

impl BucketError {
    /// An error in words.
    pub fn new(kind: ErrorKind, message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { kind, message: message.into(), hint: hint.into() }
    }

    /// A request that makes no sense.
    pub fn invalid(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::new(ErrorKind::InvalidArgument, message, hint)
    }

    /// A context that does not parse or is not this key's.
    pub fn bad_context(error: DecodeError) -> Self {
        Self::invalid(
            format!("the causal context cannot be used: {error}"),
            "read the key again and send the context that comes with it, unchanged",
        )
    }

    pub(super) fn no_bucket(name: &str) -> Self {
        Self::new(
            ErrorKind::NoSuchBucket,
            format!("there is no bucket {name:?}"),
            "a first put creates a bucket with the defaults; PUT /kv/BUCKET creates one with settings of your own",
        )
    }

    pub(super) fn to_wire(&self) -> BucketFault {
        BucketFault { kind: self.kind.number(), message: self.message.clone(), hint: self.hint.clone() }
    }

    pub(super) fn from_wire(fault: BucketFault) -> Self {
        let kind = KINDS
            .iter()
            .find(|(_, number, _)| *number == fault.kind)
            .map_or(ErrorKind::Internal, |(kind, ..)| *kind);
        Self { kind, message: fault.message, hint: fault.hint }
    }
}

impl From<ReplicaError> for BucketError {
    fn from(error: ReplicaError) -> Self {
        let (kind, hint) = match &error {
            ReplicaError::TooManySiblings(_) | ReplicaError::RecordTooLarge(_) => (
                ErrorKind::TooManySiblings,
                "GET the key, settle its siblings, and PUT the result with the context",
            ),
            ReplicaError::Storage(_) => {
                (ErrorKind::Storage, "try again; if it stays, look at the node's disk and log")
            }
            ReplicaError::DiskFull => {
                (ErrorKind::DiskFull, "nothing was written; free space on the node's disk, or add nodes")
            }
            ReplicaError::Record(_) => {
                (ErrorKind::Storage, "the record on this replica is damaged: look at the node's log")
            }
        };
        Self::new(kind, error.to_string(), hint)
    }
}
