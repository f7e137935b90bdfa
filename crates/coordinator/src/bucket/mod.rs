//! The quorum flows of buckets: who coordinates a write, which replicas to ask, how many answers to wait for,
//! and what to repair.
//!
//! * [`types`] and [`error`]: requests, answers and errors as the edge sees them, and the [`Buckets`] trait
//!   that the edge calls.
//! * [`local`]: this node's replica, an async shell over `torc_replica::bucket`.
//! * [`coordinator`]: the shared parts. [`mod@write`], [`read`], [`list`] and [`admin`] are the flows;
//!   [`serve`] answers other nodes.
//! * [`directory`]: the view of the topology that the flows need. [`metrics`]: their counters.
//!
//! Quorums are strict: only the natural replicas of a key count. There are no hints for a replica that missed
//! a write, and no anti-entropy yet. Hints would start where [`mod@write`] calls
//! [`BucketCoordinator::missed`](coordinator::BucketCoordinator); anti-entropy would be one more caller of
//! `BucketMerge`.
//!
//! Protocol: docs/protocols/buckets.md. This module must never read a clock or draw randomness that was not
//! handed in.

pub mod admin;
pub mod coordinator;
pub mod directory;
pub mod error;
pub mod level;
pub mod list;
pub mod local;
pub mod metrics;
pub mod read;
pub mod serve;
pub mod types;
pub mod write;

pub use coordinator::{BucketCoordinator, BucketPorts, BucketSettings, Spawn};
pub use directory::{Directory, DirectoryError};
pub use error::{BucketError, ErrorKind};
pub use level::parse_level;
pub use local::LocalReplica;
pub use metrics::{BucketMetrics, BucketMetricsSnapshot};
pub use torc_cluster::topology::{BucketConfig, BucketPolicy, Level};
pub use torc_replica::bucket::limits;
pub use types::{
    BucketInfo, Buckets, DeleteRequest, GetAnswer, GetRequest, KeysPage, KeysRequest, PutRequest, RingInfo,
    RingNode, RingPartition, Sibling, WriteAnswer,
};

#[cfg(test)]
mod tests;
