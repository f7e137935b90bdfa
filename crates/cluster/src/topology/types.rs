//! The types of the topology: nodes, zones, partitions, and their numbers.

use std::fmt;

/// A node, numbered from 1 by the meta group, never reused. Also its raft peer id.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub u64);

/// A consensus group (a table partition or meta) or a bucket partition. Also the stream of its entries in the
/// log. Never reused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupId(pub u64);

/// The group that holds the topology. Group 0 is the engine's own log stream; tables and buckets start at 16.
pub const META_GROUP: GroupId = GroupId(1);

/// A table or a bucket, never reused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TableId(pub u64);

/// Version of the topology: the meta group's log index of the last change.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Epoch(pub u64);

/// A range of tokens, both ends inclusive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TokenRange {
    /// First token.
    pub start: u64,
    /// Last token.
    pub end: u64,
}

impl TokenRange {
    /// Every token.
    pub const ALL: TokenRange = TokenRange { start: 0, end: u64::MAX };
    /// Whether the token is inside.
    pub fn contains(&self, token: u64) -> bool {
        self.start <= token && token <= self.end
    }
}

/// A node as the cluster knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeInfo {
    /// Its number.
    pub id: NodeId,
    /// Where other nodes reach it, `host:port`.
    pub addr: String,
    /// Where clients reach it, `host:port`.
    pub api_addr: String,
    /// Its availability zone.
    pub zone: String,
    /// Capacity weight: 256 virtual nodes times this. At least 1.
    pub weight: u32,
}

/// One partition: a token range of a table or bucket and who holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Partition {
    /// Its group.
    pub group: GroupId,
    /// The table or bucket.
    pub table: TableId,
    /// Its tokens.
    pub range: TokenRange,
    /// The nodes meant to hold it, in preference order. The group's actual members are changed step by step
    /// until they match.
    pub replicas: Vec<NodeId>,
    /// The members that the group began with. A node among them starts its replica with this membership; any
    /// other starts empty and is filled by the leader. Never changes.
    pub initial: Vec<NodeId>,
    /// Epoch of the last change to this partition.
    pub changed: Epoch,
}

macro_rules! show {
    ($($t:ident $p:literal),*) => {$(impl fmt::Display for $t {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, concat!($p, "{}"), self.0)
        }
    })*};
}
show!(NodeId "n", GroupId "g", TableId "t", Epoch "e");
