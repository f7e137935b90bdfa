//! The edge over a small fake of `Buckets`: which calls it makes, and what its answers look like.

mod fake;
mod grpc;
mod http;
