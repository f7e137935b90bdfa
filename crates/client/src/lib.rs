//! A token-aware client for buckets: it knows the ring, hashes the key and goes straight to an owner, so that
//! no node has to pass the request on. Any node can still serve any key: if the owners do not answer, others
//! are asked.
//!
//! Used by programs and by the load generator. It must never assume that its ring is current: servers pass on
//! what does not belong to them, and the client fetches a new ring when an owner fails.

mod client;
mod error;
mod ring;

pub use client::{Client, GetOptions, PutOptions};
pub use error::ClientError;
pub use ring::Ring;
pub use torc_wire::kv;

/// ONE, TWO, THREE, QUORUM or ALL.
pub fn level(name: &str) -> kv::Level {
    kv::Level { level: Some(kv::level::Level::Name(name.to_owned())) }
}

/// So many replicas.
pub fn count(replicas: u32) -> kv::Level {
    kv::Level { level: Some(kv::level::Level::Count(replicas)) }
}
