//! One copy of one partition: the consensus driver of tables and the quorum replica of buckets.
//!
//! Called by the coordinator's node assembly and by the simulation. Sans-IO: time, randomness and network are handed in, files are
//! the engine's. Must never know of routing, clients or HTTP.

pub mod bucket;
pub mod machine;
pub mod store;
