//! The cluster's shape as a state machine: nodes, tables, buckets, partitions. Held by the `meta` consensus group; every node keeps an immutable copy.

pub mod types;
