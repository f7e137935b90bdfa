//! The Buckets face at the edge: plain HTTP ([`http`], `curl` is enough) and gRPC ([`grpc`]), both over
//! `torc_coordinator::bucket::Buckets`.
//!
//! Called by the server with requests that it has read whole. Parses, checks and words answers; what an operation means is the
//! coordinator's. Documented for users in docs/protocols/buckets.md.

pub mod answer;
pub mod grpc;
pub mod http;
pub mod params;
pub mod settings;

#[cfg(test)]
mod tests;
