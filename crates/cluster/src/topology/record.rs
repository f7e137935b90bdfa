//! The protobuf form of a change, written by hand, with its encoding and decoding. Field numbers are the
//! format: never reuse one.

use super::change::{Change, DecodeError, Settings};
use crate::{
    BucketConfig, BucketPolicy, CrdtKind, Epoch, GroupId, IndexEntry, IndexSpec, IndexStatus, Level, NodeId,
    NodeInfo, NodeRecord, Partition, Table, TableId, TableKind, TableSpec, TableStatus, TokenRange,
};

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct ChangeRecord {
    #[prost(uint32, tag = "1")]
    pub version: u32,
    #[prost(oneof = "Body", tags = "2, 3, 4, 5, 6, 7, 8")]
    pub body: Option<Body>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
pub(super) enum Body {
    #[prost(message, tag = "2")]
    Settings(SettingsRecord),
    #[prost(message, tag = "3")]
    Node(NodeMessage),
    #[prost(uint64, tag = "4")]
    DeleteNode(u64),
    #[prost(message, tag = "5")]
    Table(TableMessage),
    #[prost(uint64, tag = "6")]
    DeleteTable(u64),
    #[prost(message, tag = "7")]
    Partition(PartitionMessage),
    #[prost(message, tag = "8")]
    DeletePartition(PartitionKey),
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct SettingsRecord {
    #[prost(fixed64, tag = "1")]
    cluster_id: u64,
    #[prost(bytes = "vec", tag = "2")]
    token_key: Vec<u8>,
    #[prost(uint64, repeated, tag = "3")]
    meta_members: Vec<u64>,
    #[prost(uint64, tag = "4")]
    next_node: u64,
    #[prost(uint64, tag = "5")]
    next_table: u64,
    #[prost(uint64, tag = "6")]
    next_group: u64,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct NodeMessage {
    #[prost(uint64, tag = "1")]
    id: u64,
    #[prost(string, tag = "2")]
    addr: String,
    #[prost(string, tag = "3")]
    api_addr: String,
    #[prost(string, tag = "4")]
    zone: String,
    #[prost(uint32, tag = "5")]
    weight: u32,
    #[prost(bytes = "vec", tag = "6")]
    uuid: Vec<u8>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct TableMessage {
    #[prost(uint64, tag = "1")]
    id: u64,
    #[prost(string, tag = "2")]
    name: String,
    #[prost(uint64, tag = "3")]
    created_ms: u64,
    #[prost(message, optional, tag = "4")]
    table: Option<TableSpecMessage>,
    #[prost(message, optional, tag = "5")]
    bucket: Option<BucketMessage>,
    #[prost(message, optional, tag = "6")]
    index: Option<IndexMessage>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct IndexMessage {
    #[prost(uint64, tag = "1")]
    base: u64,
    #[prost(uint32, tag = "2")]
    replication_factor: u32,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct TableSpecMessage {
    #[prost(bytes = "vec", tag = "1")]
    schema: Vec<u8>,
    #[prost(uint32, tag = "2")]
    status: u32,
    #[prost(uint32, tag = "3")]
    replication_factor: u32,
    #[prost(uint64, tag = "4")]
    version: u64,
    #[prost(message, repeated, tag = "5")]
    indexes: Vec<IndexEntryMessage>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct IndexEntryMessage {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(uint64, tag = "2")]
    table: u64,
    #[prost(uint32, tag = "3")]
    status: u32,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct BucketMessage {
    #[prost(uint32, tag = "1")]
    n: u32,
    #[prost(uint32, tag = "2")]
    read: u32,
    #[prost(uint32, tag = "3")]
    write: u32,
    #[prost(uint32, tag = "4")]
    policy: u32,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct PartitionMessage {
    #[prost(uint64, tag = "1")]
    group: u64,
    #[prost(uint64, tag = "2")]
    table: u64,
    #[prost(fixed64, tag = "3")]
    start: u64,
    #[prost(fixed64, tag = "4")]
    end: u64,
    #[prost(uint64, repeated, tag = "5")]
    replicas: Vec<u64>,
    #[prost(uint64, tag = "6")]
    changed: u64,
    #[prost(uint64, repeated, tag = "7")]
    initial: Vec<u64>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct PartitionKey {
    #[prost(uint64, tag = "1")]
    table: u64,
    #[prost(uint64, tag = "2")]
    group: u64,
}

impl From<&Change> for Body {
    fn from(change: &Change) -> Body {
        match change {
            Change::Settings(settings) => Body::Settings(settings.into()),
            Change::UpsertNode(node) => Body::Node(node.into()),
            Change::DeleteNode(id) => Body::DeleteNode(id.0),
            Change::UpsertTable(table) => Body::Table(table.into()),
            Change::DeleteTable(id) => Body::DeleteTable(id.0),
            Change::UpsertPartition(partition) => Body::Partition(partition.into()),
            Change::DeletePartition { table, group } => {
                Body::DeletePartition(PartitionKey { table: table.0, group: group.0 })
            }
        }
    }
}

impl TryFrom<Body> for Change {
    type Error = DecodeError;

    fn try_from(body: Body) -> Result<Change, DecodeError> {
        Ok(match body {
            Body::Settings(settings) => Change::Settings(settings.try_into()?),
            Body::Node(node) => Change::UpsertNode(node.try_into()?),
            Body::DeleteNode(id) => Change::DeleteNode(NodeId(id)),
            Body::Table(table) => Change::UpsertTable(table.try_into()?),
            Body::DeleteTable(id) => Change::DeleteTable(TableId(id)),
            Body::Partition(partition) => Change::UpsertPartition(partition.try_into()?),
            Body::DeletePartition(key) => {
                Change::DeletePartition { table: TableId(key.table), group: GroupId(key.group) }
            }
        })
    }
}

impl From<&Settings> for SettingsRecord {
    fn from(settings: &Settings) -> Self {
        SettingsRecord {
            cluster_id: settings.cluster_id,
            token_key: settings.token_key.to_vec(),
            meta_members: settings.meta_members.iter().map(|id| id.0).collect(),
            next_node: settings.next_node,
            next_table: settings.next_table,
            next_group: settings.next_group,
        }
    }
}

impl TryFrom<SettingsRecord> for Settings {
    type Error = DecodeError;

    fn try_from(record: SettingsRecord) -> Result<Self, DecodeError> {
        Ok(Settings {
            cluster_id: record.cluster_id,
            token_key: sixteen(&record.token_key, "token key")?,
            meta_members: record.meta_members.into_iter().map(NodeId).collect(),
            next_node: record.next_node,
            next_table: record.next_table,
            next_group: record.next_group,
        })
    }
}

impl From<&NodeRecord> for NodeMessage {
    fn from(node: &NodeRecord) -> Self {
        NodeMessage {
            id: node.info.id.0,
            addr: node.info.addr.clone(),
            api_addr: node.info.api_addr.clone(),
            zone: node.info.zone.clone(),
            weight: node.info.weight,
            uuid: node.uuid.to_vec(),
        }
    }
}

impl TryFrom<NodeMessage> for NodeRecord {
    type Error = DecodeError;

    fn try_from(record: NodeMessage) -> Result<Self, DecodeError> {
        if record.id == 0 {
            return Err(DecodeError::Value("node id"));
        }
        Ok(NodeRecord {
            uuid: sixteen(&record.uuid, "node identity")?,
            info: NodeInfo {
                id: NodeId(record.id),
                addr: record.addr,
                api_addr: record.api_addr,
                zone: record.zone,
                weight: record.weight,
            },
        })
    }
}

impl From<&Table> for TableMessage {
    fn from(table: &Table) -> Self {
        let (spec, bucket, index) = match &table.kind {
            TableKind::Table(spec) => (Some(spec.into()), None, None),
            TableKind::Bucket(config) => (None, Some(config.into()), None),
            TableKind::Index(index) => {
                let (base, replication_factor) = (index.base.0, index.replication_factor);
                (None, None, Some(IndexMessage { base, replication_factor }))
            }
        };
        TableMessage {
            id: table.id.0,
            name: table.name.clone(),
            created_ms: table.created_ms,
            table: spec,
            bucket,
            index,
        }
    }
}

impl TryFrom<TableMessage> for Table {
    type Error = DecodeError;

    fn try_from(record: TableMessage) -> Result<Self, DecodeError> {
        let kind = match (record.table, record.bucket, record.index) {
            (Some(spec), None, None) => TableKind::Table(spec.try_into()?),
            (None, Some(bucket), None) => TableKind::Bucket(bucket.try_into()?),
            (None, None, Some(IndexMessage { base, replication_factor })) => {
                TableKind::Index(IndexSpec { base: TableId(base), replication_factor })
            }
            _ => return Err(DecodeError::Value("table kind")),
        };
        Ok(Table { id: TableId(record.id), name: record.name, created_ms: record.created_ms, kind })
    }
}

impl From<&TableSpec> for TableSpecMessage {
    fn from(spec: &TableSpec) -> Self {
        TableSpecMessage {
            schema: spec.schema.clone(),
            status: status_code(spec.status),
            replication_factor: spec.replication_factor,
            version: spec.version,
            indexes: spec.indexes.iter().map(IndexEntryMessage::from).collect(),
        }
    }
}

impl TryFrom<TableSpecMessage> for TableSpec {
    type Error = DecodeError;

    fn try_from(record: TableSpecMessage) -> Result<Self, DecodeError> {
        Ok(TableSpec {
            schema: record.schema,
            status: status_from(record.status)?,
            replication_factor: record.replication_factor,
            version: record.version,
            indexes: record.indexes.into_iter().map(IndexEntry::try_from).collect::<Result<_, _>>()?,
        })
    }
}

impl From<&IndexEntry> for IndexEntryMessage {
    fn from(entry: &IndexEntry) -> Self {
        IndexEntryMessage {
            name: entry.name.clone(),
            table: entry.table.0,
            status: index_status_code(entry.status),
        }
    }
}

impl TryFrom<IndexEntryMessage> for IndexEntry {
    type Error = DecodeError;

    fn try_from(record: IndexEntryMessage) -> Result<Self, DecodeError> {
        Ok(IndexEntry {
            name: record.name,
            table: TableId(record.table),
            status: index_status_from(record.status)?,
        })
    }
}

impl From<&BucketConfig> for BucketMessage {
    fn from(config: &BucketConfig) -> Self {
        BucketMessage {
            n: config.n,
            read: level_code(config.read),
            write: level_code(config.write),
            policy: policy_code(config.policy),
        }
    }
}

impl TryFrom<BucketMessage> for BucketConfig {
    type Error = DecodeError;

    fn try_from(record: BucketMessage) -> Result<Self, DecodeError> {
        Ok(BucketConfig {
            n: record.n,
            read: level_from(record.read)?,
            write: level_from(record.write)?,
            policy: policy_from(record.policy)?,
        })
    }
}

impl From<&Partition> for PartitionMessage {
    fn from(partition: &Partition) -> Self {
        PartitionMessage {
            group: partition.group.0,
            table: partition.table.0,
            start: partition.range.start,
            end: partition.range.end,
            replicas: partition.replicas.iter().map(|id| id.0).collect(),
            changed: partition.changed.0,
            initial: partition.initial.iter().map(|id| id.0).collect(),
        }
    }
}

impl TryFrom<PartitionMessage> for Partition {
    type Error = DecodeError;

    fn try_from(record: PartitionMessage) -> Result<Self, DecodeError> {
        if record.start > record.end {
            return Err(DecodeError::Value("token range"));
        }
        Ok(Partition {
            group: GroupId(record.group),
            table: TableId(record.table),
            range: TokenRange { start: record.start, end: record.end },
            replicas: record.replicas.into_iter().map(NodeId).collect(),
            changed: Epoch(record.changed),
            initial: record.initial.into_iter().map(NodeId).collect(),
        })
    }
}

pub(super) fn sixteen(bytes: &[u8], what: &'static str) -> Result<[u8; 16], DecodeError> {
    bytes.try_into().map_err(|_| DecodeError::Value(what))
}

pub(super) fn status_code(status: TableStatus) -> u32 {
    match status {
        TableStatus::Creating => 1,
        TableStatus::Active => 2,
        TableStatus::Updating => 3,
        TableStatus::Deleting => 4,
    }
}

pub(super) fn status_from(code: u32) -> Result<TableStatus, DecodeError> {
    Ok(match code {
        1 => TableStatus::Creating,
        2 => TableStatus::Active,
        3 => TableStatus::Updating,
        4 => TableStatus::Deleting,
        _ => return Err(DecodeError::Value("table status")),
    })
}

pub(super) fn index_status_code(status: IndexStatus) -> u32 {
    match status {
        IndexStatus::Creating => 1,
        IndexStatus::Backfilling => 2,
        IndexStatus::Active => 3,
        IndexStatus::Deleting => 4,
    }
}

pub(super) fn index_status_from(code: u32) -> Result<IndexStatus, DecodeError> {
    Ok(match code {
        1 => IndexStatus::Creating,
        2 => IndexStatus::Backfilling,
        3 => IndexStatus::Active,
        4 => IndexStatus::Deleting,
        _ => return Err(DecodeError::Value("index status")),
    })
}

/// Named levels sit above every number of replicas there can be.
const LEVEL_ONE: u32 = 1001;
const LEVEL_QUORUM: u32 = 1002;
const LEVEL_ALL: u32 = 1003;

fn level_code(level: Level) -> u32 {
    match level {
        Level::One => LEVEL_ONE,
        Level::Quorum => LEVEL_QUORUM,
        Level::All => LEVEL_ALL,
        Level::Count(count) => count,
    }
}

fn level_from(code: u32) -> Result<Level, DecodeError> {
    Ok(match code {
        LEVEL_ONE => Level::One,
        LEVEL_QUORUM => Level::Quorum,
        LEVEL_ALL => Level::All,
        1..=crate::limits::MAX_REPLICAS => Level::Count(code),
        _ => return Err(DecodeError::Value("consistency level")),
    })
}

fn policy_code(policy: BucketPolicy) -> u32 {
    match policy {
        BucketPolicy::Siblings => 1,
        BucketPolicy::LastWriterWins => 2,
        BucketPolicy::Crdt(CrdtKind::Counter) => 10,
        BucketPolicy::Crdt(CrdtKind::Set) => 11,
        BucketPolicy::Crdt(CrdtKind::Map) => 12,
        BucketPolicy::Crdt(CrdtKind::Register) => 13,
        BucketPolicy::Crdt(CrdtKind::Flag) => 14,
    }
}

fn policy_from(code: u32) -> Result<BucketPolicy, DecodeError> {
    Ok(match code {
        1 => BucketPolicy::Siblings,
        2 => BucketPolicy::LastWriterWins,
        10 => BucketPolicy::Crdt(CrdtKind::Counter),
        11 => BucketPolicy::Crdt(CrdtKind::Set),
        12 => BucketPolicy::Crdt(CrdtKind::Map),
        13 => BucketPolicy::Crdt(CrdtKind::Register),
        14 => BucketPolicy::Crdt(CrdtKind::Flag),
        _ => return Err(DecodeError::Value("bucket policy")),
    })
}
