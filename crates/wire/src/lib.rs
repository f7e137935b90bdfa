//! Protobuf messages between nodes and for bucket clients. Messages between nodes are structs with prost's
//! derive, written by hand; the bucket service of clients is generated from `proto/kv.proto` by
//! `cargo xtask gen-proto` and committed, so that no protoc is needed to build.

pub mod bucket;
pub mod kv;
pub mod peer;
pub mod raft;
pub mod table;
