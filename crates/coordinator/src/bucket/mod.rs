//! The quorum flows of the Buckets face: who coordinates a write, whom to ask, how many answers to wait for, what to repair.
//!
//! * [`types`] and [`error`]: requests, answers and failures as the edge sees them; the [`Buckets`] trait that it calls.
//! * [`local`]: this node's copy, an async shell over `torc_replica::bucket`.
//! * [`coordinator`]: the flows' shared parts; [`mod@write`], [`read`], [`list`] and [`admin`] are the flows, [`serve`] answers other nodes.
//! * [`directory`]: what the flows need of the topology. [`metrics`]: what they count.
//!
//! Strict quorums: only the natural replicas count. Hints for a replica that missed a write belong in [`mod@write`], where
//! [`BucketCoordinator::missed`](coordinator::BucketCoordinator) is called; anti-entropy is one more caller of `BucketMerge`.
//! Docs: docs/protocols/buckets.md. Must never read a clock or draw randomness that was not handed in.

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
