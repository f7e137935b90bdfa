//! The edge over a Buckets face of a few lines: what is asked of it, and how its answers look.

mod fake;
mod grpc;
mod http;
