//! The protocols for clients: DynamoDB's HTTP JSON, buckets over HTTP and gRPC, health and administration.
//!
//! The binary calls this crate with a listener and a node. The crate parses, authenticates, validates and
//! answers. The coordinator decides where data is stored and how it is replicated. This crate must never hold
//! state that a restart would lose.

pub mod admin;
pub mod auth;
mod calendar;
pub mod dynamodb;
mod escape;
pub mod kv;
pub mod request_id;
pub mod server;
mod sts;
