//! Every limit of the topology and of gossip, in one place.

/// Most nodes of one cluster.
pub const MAX_NODES: usize = 4096;
/// Largest capacity weight of a node.
pub const MAX_WEIGHT: u32 = 64;
/// Longest address, `host:port`, bytes.
pub const MAX_ADDRESS_BYTES: usize = 255;
/// Longest name of a zone, bytes.
pub const MAX_ZONE_BYTES: usize = 64;
/// Longest name of a table or bucket, bytes.
pub const MAX_NAME_BYTES: usize = 255;
/// Most global secondary indexes of a table.
pub const MAX_INDEXES: usize = 64;
/// Most tables, indexes and buckets together.
pub const MAX_TABLES: usize = 10_000;
/// Most partitions of one table or bucket.
pub const MAX_PARTITIONS: u32 = 16_384;
/// Most replicas of a partition.
pub const MAX_REPLICAS: u32 = 7;
/// Most members of the meta group.
pub const MAX_META_MEMBERS: usize = 5;
/// Largest table schema, bytes of JSON.
pub const MAX_SCHEMA_BYTES: usize = 1024 * 1024;
/// Largest gossip datagram, bytes: below the Ethernet MTU with room for headers.
pub const MAX_DATAGRAM_BYTES: usize = 1400;
