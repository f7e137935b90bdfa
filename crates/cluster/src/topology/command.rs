//! Commands that change the topology, their results, and the reasons for refusing one.

use super::{command_record, record::sixteen};
use crate::{BucketConfig, DecodeError, GroupId, IndexStatus, NodeId, TableId, TableStatus};

/// A request to change the topology. The meta leader evaluates it; the resulting changes go through the log
/// of the meta group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Founds the cluster. Asking again with the same values changes nothing.
    InitCluster {
        /// Drawn once, not 0.
        cluster_id: u64,
        /// The key of the token hash, drawn once.
        token_key: [u8; 16],
    },
    /// Makes a node known, or updates what is known of it. The first one registered is the first meta member.
    RegisterNode {
        /// Where other nodes reach it, `host:port`.
        addr: String,
        /// Where clients reach it, `host:port`.
        api_addr: String,
        /// Its availability zone.
        zone: String,
        /// Its capacity weight, 1 to `MAX_WEIGHT`.
        weight: u32,
        /// Identity of its data folder: the same one gets the same number.
        uuid: [u8; 16],
    },
    /// Creates a table of items, with its global secondary indexes, and places their partitions.
    CreateTable {
        /// Unique among tables.
        name: String,
        /// JSON, opaque.
        schema: Vec<u8>,
        /// `Creating` or `Active`.
        status: TableStatus,
        /// Partitions to start with.
        partitions: u32,
        /// Copies of each.
        replication_factor: u32,
        /// The asking node's clock, milliseconds since the Unix epoch.
        now_ms: u64,
        /// Names of its indexes. Each gets as many partitions and copies as the table.
        indexes: Vec<String>,
    },
    /// Changes a table's schema, status or indexes. When a table becomes active, the indexes that it was
    /// created with become active too.
    UpdateTable {
        /// The table.
        table: TableId,
        /// The version of the record that the change was made of: refused if it is another by now. `None`
        /// changes whatever is there.
        version: Option<u64>,
        /// The new schema, if it changes.
        schema: Option<Vec<u8>>,
        /// The new status, if it changes.
        status: Option<TableStatus>,
        /// What becomes of an index.
        index: Option<IndexChange>,
    },
    /// Removes a table, its indexes, and their partitions.
    DropTable {
        /// The table.
        table: TableId,
    },
    /// Creates a bucket and places its partitions.
    CreateBucket {
        /// Unique among buckets.
        name: String,
        /// How it keeps its values.
        config: BucketConfig,
        /// Partitions to start with.
        partitions: u32,
        /// The asking node's clock, milliseconds since the Unix epoch.
        now_ms: u64,
    },
    /// Removes a bucket and its partitions.
    DropBucket {
        /// The bucket.
        bucket: TableId,
    },
    /// Says which nodes should hold a partition. Its group then changes its members step by step.
    SetReplicas {
        /// The partition.
        group: GroupId,
        /// In preference order, distinct.
        replicas: Vec<NodeId>,
    },
    /// Says which nodes should be in the meta group: an odd number, distinct.
    SetMetaMembers {
        /// The nodes.
        members: Vec<NodeId>,
    },
}

/// A change of one global secondary index of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IndexChange {
    /// It is made, and its partitions are placed.
    Create {
        /// Unique among the table's indexes.
        name: String,
        /// Partitions to start with.
        partitions: u32,
        /// The asking node's clock, milliseconds since the Unix epoch.
        now_ms: u64,
    },
    /// It moves to its next state.
    Status {
        /// Which.
        name: String,
        /// Its next state.
        status: IndexStatus,
    },
    /// It is removed, with its partitions.
    Drop {
        /// Which.
        name: String,
    },
}

/// The result of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Response {
    /// Done, or already so.
    Done,
    /// The node's number.
    Node(NodeId),
    /// The table's or bucket's number.
    Table(TableId),
}

/// Why a command was refused. Nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TopologyError {
    /// No cluster yet.
    #[error("the cluster is not initialised: start its first node, or join an existing cluster")]
    NotInitialized,
    /// Another cluster was founded here.
    #[error("cluster {0:016x} was already initialised here: a node belongs to one cluster only")]
    AlreadyInitialized(u64),
    /// A table or bucket of that name exists.
    #[error("{0} already exists")]
    Exists(String),
    /// No such table or bucket.
    #[error("{0} does not exist")]
    NoSuchTable(TableId),
    /// No partition has that group.
    #[error("no partition has group {0}")]
    NoSuchGroup(GroupId),
    /// Not a registered node.
    #[error("node {0} is not registered")]
    UnknownNode(NodeId),
    /// Another node is at that address.
    #[error(
        "address {addr} belongs to node {node}: start that node with its own data folder, or give this one another address"
    )]
    AddressInUse {
        /// The address.
        addr: String,
        /// Whose it is.
        node: NodeId,
    },
    /// No node can hold a partition.
    #[error("no node is registered to hold partitions")]
    NoNodes,
    /// A table cannot go from its state to that one.
    #[error("a table cannot go from {from:?} to {to:?}")]
    BadTransition {
        /// Where it is.
        from: TableStatus,
        /// Where it was to go.
        to: TableStatus,
    },
    /// The table's record was changed since the version that the change was made of.
    #[error("{0} was changed meanwhile: read it and change it again")]
    Changed(TableId),
    /// No such index of that table.
    #[error("{table} has no index {name}")]
    NoSuchIndex {
        /// The table.
        table: TableId,
        /// The name.
        name: String,
    },
    /// An index cannot go from its state to that one.
    #[error("an index cannot go from {from:?} to {to:?}")]
    BadIndexTransition {
        /// Where it is.
        from: IndexStatus,
        /// Where it was to go.
        to: IndexStatus,
    },
    /// A value is out of its range.
    #[error("{what} must be {bounds}")]
    OutOfRange {
        /// The value's name.
        what: &'static str,
        /// What it may be.
        bounds: String,
    },
    /// A list names a node twice.
    #[error("node {0} is named twice")]
    Duplicate(NodeId),
    /// The cluster is full.
    #[error("at most {limit} {what}")]
    Limit {
        /// Of these.
        what: &'static str,
        /// So many.
        limit: usize,
    },
}

impl TopologyError {
    /// A stable word for programs.
    pub fn code(&self) -> &'static str {
        match self {
            TopologyError::NotInitialized => "NotInitialized",
            TopologyError::AlreadyInitialized(_) => "AlreadyInitialized",
            TopologyError::Exists(_) => "Exists",
            TopologyError::NoSuchTable(_) => "NoSuchTable",
            TopologyError::NoSuchGroup(_) => "NoSuchGroup",
            TopologyError::UnknownNode(_) => "UnknownNode",
            TopologyError::AddressInUse { .. } => "AddressInUse",
            TopologyError::NoNodes => "NoNodes",
            TopologyError::BadTransition { .. } => "BadTransition",
            TopologyError::Changed(_) => "Changed",
            TopologyError::NoSuchIndex { .. } => "NoSuchIndex",
            TopologyError::BadIndexTransition { .. } => "BadIndexTransition",
            TopologyError::OutOfRange { .. } => "OutOfRange",
            TopologyError::Duplicate(_) => "Duplicate",
            TopologyError::Limit { .. } => "Limit",
        }
    }
}

impl Command {
    /// The change of a table's status alone.
    pub fn table_status(table: TableId, status: TableStatus) -> Self {
        Command::UpdateTable { table, version: None, schema: None, status: Some(status), index: None }
    }

    /// The change of one index's status alone.
    pub fn index_status(table: TableId, name: &str, status: IndexStatus) -> Self {
        let index = IndexChange::Status { name: name.to_owned(), status };
        Command::UpdateTable { table, version: None, schema: None, status: None, index: Some(index) }
    }

    /// The bytes of the command, for the log and for the way to the meta leader. Layout:
    /// docs/formats/topology.md.
    pub fn encode(&self) -> Vec<u8> {
        command_record::encode(self)
    }

    /// Reads a command back. Its values are checked by evaluation, not here.
    pub fn decode(bytes: &[u8]) -> Result<Command, DecodeError> {
        command_record::decode(bytes)
    }
}

impl Response {
    /// Nine bytes: a kind and a number.
    pub fn encode(self) -> [u8; 9] {
        let (kind, id) = match self {
            Response::Done => (0u8, 0),
            Response::Node(id) => (1, id.0),
            Response::Table(id) => (2, id.0),
        };
        let mut bytes = [kind; 9];
        bytes[1..].copy_from_slice(&id.to_be_bytes());
        bytes
    }

    /// Reads a response back.
    pub fn decode(bytes: &[u8]) -> Result<Response, DecodeError> {
        let (kind, id) = bytes.split_first().ok_or(DecodeError::Value("response length"))?;
        let id = u64::from_be_bytes(id.try_into().map_err(|_| DecodeError::Value("response length"))?);
        Ok(match kind {
            0 => Response::Done,
            1 => Response::Node(NodeId(id)),
            2 => Response::Table(TableId(id)),
            _ => return Err(DecodeError::Value("response kind")),
        })
    }
}

pub(super) fn uuid_from(bytes: &[u8]) -> Result<[u8; 16], DecodeError> {
    sixteen(bytes, "node identity")
}
