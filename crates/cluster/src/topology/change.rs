//! A change: one record of the topology, stored or removed. Changes are what nodes persist and what they send
//! to each other. Layout: docs/formats/topology.md.

use super::record;
use crate::{Epoch, GroupId, NodeId, NodeRecord, Partition, Table, TableId};
use prost::Message as _;

/// Version of the record layout. A reader refuses a later one.
pub const RECORD_VERSION: u32 = 1;

const TAG_SETTINGS: u8 = 1;
const TAG_NODE: u8 = 2;
const TAG_TABLE: u8 = 3;
const TAG_PARTITION: u8 = 4;

/// Settings of the whole cluster, and the counters from which numbers are assigned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The cluster's number, drawn once. 0 means that there is no cluster yet.
    pub cluster_id: u64,
    /// The key of the token hash, drawn once.
    pub token_key: [u8; 16],
    /// The nodes meant to be in the meta group, ascending.
    pub meta_members: Vec<NodeId>,
    /// The next node's number. Never goes back, so that no number is used twice.
    pub next_node: u64,
    /// The next table's or bucket's number.
    pub next_table: u64,
    /// The next group's number.
    pub next_group: u64,
}

impl Settings {
    /// First group of a table or bucket: those below are the engine's and meta's.
    pub const FIRST_GROUP: u64 = 16;
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            cluster_id: 0,
            token_key: [0; 16],
            meta_members: Vec::new(),
            next_node: 1,
            next_table: 1,
            next_group: Settings::FIRST_GROUP,
        }
    }
}

/// One record stored or removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// The cluster's settings.
    Settings(Settings),
    /// A node as it is now.
    UpsertNode(NodeRecord),
    /// A node is removed.
    DeleteNode(NodeId),
    /// A table or bucket as it is now.
    UpsertTable(Table),
    /// A table or bucket is removed.
    DeleteTable(TableId),
    /// A partition as it is now.
    UpsertPartition(Partition),
    /// A partition is removed.
    DeletePartition {
        /// Of this table or bucket.
        table: TableId,
        /// The partition's group.
        group: GroupId,
    },
}

/// Why bytes are not a record.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Not the shape of a record.
    #[error("malformed topology record: {0}")]
    Malformed(String),
    /// Written by a later version of the software.
    #[error("topology record of version {0}, this software reads up to {RECORD_VERSION}: upgrade this node")]
    Version(u32),
    /// The right shape with a value that cannot be.
    #[error("topology record with an impossible {0}")]
    Value(&'static str),
}

impl Change {
    /// The storage key of the record, to be put behind the caller's own prefix. Byte order is kind, then
    /// number; partitions by table, then group.
    pub fn key(&self) -> Vec<u8> {
        let (tag, ids): (u8, &[u64]) = match self {
            Change::Settings(_) => (TAG_SETTINGS, &[]),
            Change::UpsertNode(node) => (TAG_NODE, &[node.info.id.0]),
            Change::DeleteNode(id) => (TAG_NODE, &[id.0]),
            Change::UpsertTable(table) => (TAG_TABLE, &[table.id.0]),
            Change::DeleteTable(id) => (TAG_TABLE, &[id.0]),
            Change::UpsertPartition(partition) => (TAG_PARTITION, &[partition.table.0, partition.group.0]),
            Change::DeletePartition { table, group } => (TAG_PARTITION, &[table.0, group.0]),
        };
        let mut key = Vec::with_capacity(1 + 8 * ids.len());
        key.push(tag);
        for id in ids {
            key.extend_from_slice(&id.to_be_bytes());
        }
        key
    }

    /// Whether the record at [`Change::key`] is removed rather than stored.
    pub fn is_delete(&self) -> bool {
        matches!(self, Change::DeleteNode(_) | Change::DeleteTable(_) | Change::DeletePartition { .. })
    }

    /// The change with the epoch filled in where evaluation could not know it. Do this before storing or
    /// sending it.
    pub fn stamped(mut self, epoch: Epoch) -> Change {
        if let Change::UpsertPartition(partition) = &mut self
            && partition.changed == Epoch(0)
        {
            partition.changed = epoch;
        }
        self
    }

    /// The bytes of the change.
    pub fn encode(&self) -> Vec<u8> {
        record::ChangeRecord { version: RECORD_VERSION, body: Some(record::Body::from(self)) }.encode_to_vec()
    }

    /// Reads a change back.
    pub fn decode(bytes: &[u8]) -> Result<Change, DecodeError> {
        let record =
            record::ChangeRecord::decode(bytes).map_err(|e| DecodeError::Malformed(e.to_string()))?;
        if record.version > RECORD_VERSION {
            return Err(DecodeError::Version(record.version));
        }
        if record.version == 0 {
            return Err(DecodeError::Value("version"));
        }
        record.body.ok_or(DecodeError::Value("kind"))?.try_into()
    }
}
