//! Buckets at the edge: plain HTTP ([`http`]; `curl` is enough) and gRPC ([`grpc`]), both over
//! `torc_coordinator::bucket::Buckets`.
//!
//! The server calls this module with complete requests. It parses, checks, and writes answers; the
//! coordinator defines what an operation does. User documentation: docs/protocols/buckets.md.

pub mod answer;
pub mod grpc;
pub mod http;
pub mod params;
pub mod settings;

#[cfg(test)]
mod tests;
