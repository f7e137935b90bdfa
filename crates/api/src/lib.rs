//! The protocols of the edge: DynamoDB's HTTP JSON, buckets over HTTP and gRPC, health and administration.
//!
//! Called by the binary with a listener and a node. It parses, authenticates, validates and answers; where data lives and how it is
//! replicated is the coordinator's. It must never hold state that a restart would miss.

pub mod admin;
pub mod auth;
mod calendar;
pub mod dynamodb;
mod escape;
pub mod kv;
pub mod request_id;
pub mod server;
mod sts;
