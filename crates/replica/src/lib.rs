//! One copy of one partition: the consensus driver of tables and the quorum replica of buckets.
//!
//! The coordinator's node and the simulation call this crate. It is sans-IO: time, randomness and network are
//! handed in, and files are the engine's. It must never know about routing, clients or HTTP.

pub mod bucket;
pub mod machine;
pub mod store;
