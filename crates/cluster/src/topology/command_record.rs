//! The protobuf form of a command, written by hand. Field numbers are the format: never reuse one.

use super::change::RECORD_VERSION;
use super::command::{Command, IndexChange, uuid_from};
use super::record::{BucketMessage, index_status_code, index_status_from, sixteen, status_code, status_from};
use crate::{DecodeError, GroupId, NodeId, TableId};
use prost::Message as _;

#[derive(Clone, PartialEq, prost::Message)]
struct CommandRecord {
    #[prost(uint32, tag = "1")]
    version: u32,
    #[prost(oneof = "Body", tags = "2, 3, 4, 5, 6, 7, 8, 9, 10")]
    body: Option<Body>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum Body {
    #[prost(message, tag = "2")]
    InitCluster(InitCluster),
    #[prost(message, tag = "3")]
    RegisterNode(RegisterNode),
    #[prost(message, tag = "4")]
    CreateTable(CreateTable),
    #[prost(message, tag = "5")]
    UpdateTable(UpdateTable),
    #[prost(uint64, tag = "6")]
    DropTable(u64),
    #[prost(message, tag = "7")]
    CreateBucket(CreateBucket),
    #[prost(uint64, tag = "8")]
    DropBucket(u64),
    #[prost(message, tag = "9")]
    SetReplicas(SetReplicas),
    #[prost(message, tag = "10")]
    SetMetaMembers(Nodes),
}

#[derive(Clone, PartialEq, prost::Message)]
struct InitCluster {
    #[prost(fixed64, tag = "1")]
    cluster_id: u64,
    #[prost(bytes = "vec", tag = "2")]
    token_key: Vec<u8>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct RegisterNode {
    #[prost(string, tag = "1")]
    addr: String,
    #[prost(string, tag = "2")]
    api_addr: String,
    #[prost(string, tag = "3")]
    zone: String,
    #[prost(uint32, tag = "4")]
    weight: u32,
    #[prost(bytes = "vec", tag = "5")]
    uuid: Vec<u8>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct CreateTable {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(bytes = "vec", tag = "2")]
    schema: Vec<u8>,
    #[prost(uint32, tag = "3")]
    status: u32,
    #[prost(uint32, tag = "4")]
    partitions: u32,
    #[prost(uint32, tag = "5")]
    replication_factor: u32,
    #[prost(uint64, tag = "6")]
    now_ms: u64,
    #[prost(string, repeated, tag = "7")]
    indexes: Vec<String>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct UpdateTable {
    #[prost(uint64, tag = "1")]
    table: u64,
    #[prost(bytes = "vec", optional, tag = "2")]
    schema: Option<Vec<u8>>,
    #[prost(uint32, optional, tag = "3")]
    status: Option<u32>,
    #[prost(uint64, optional, tag = "4")]
    version: Option<u64>,
    #[prost(oneof = "Index", tags = "5, 6, 7")]
    index: Option<Index>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum Index {
    #[prost(message, tag = "5")]
    Create(CreateIndex),
    #[prost(message, tag = "6")]
    Status(SetIndexStatus),
    #[prost(string, tag = "7")]
    Drop(String),
}

#[derive(Clone, PartialEq, prost::Message)]
struct CreateIndex {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(uint32, tag = "2")]
    partitions: u32,
    #[prost(uint64, tag = "3")]
    now_ms: u64,
}

#[derive(Clone, PartialEq, prost::Message)]
struct SetIndexStatus {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(uint32, tag = "2")]
    status: u32,
}

impl From<IndexChange> for Index {
    fn from(change: IndexChange) -> Self {
        match change {
            IndexChange::Create { name, partitions, now_ms } => {
                Index::Create(CreateIndex { name, partitions, now_ms })
            }
            IndexChange::Status { name, status } => {
                Index::Status(SetIndexStatus { name, status: index_status_code(status) })
            }
            IndexChange::Drop { name } => Index::Drop(name),
        }
    }
}

impl TryFrom<Index> for IndexChange {
    type Error = DecodeError;

    fn try_from(record: Index) -> Result<Self, DecodeError> {
        Ok(match record {
            Index::Create(CreateIndex { name, partitions, now_ms }) => {
                IndexChange::Create { name, partitions, now_ms }
            }
            Index::Status(SetIndexStatus { name, status }) => {
                IndexChange::Status { name, status: index_status_from(status)? }
            }
            Index::Drop(name) => IndexChange::Drop { name },
        })
    }
}

#[derive(Clone, PartialEq, prost::Message)]
struct CreateBucket {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(message, optional, tag = "2")]
    config: Option<BucketMessage>,
    #[prost(uint32, tag = "3")]
    partitions: u32,
    #[prost(uint64, tag = "4")]
    now_ms: u64,
}

#[derive(Clone, PartialEq, prost::Message)]
struct SetReplicas {
    #[prost(uint64, tag = "1")]
    group: u64,
    #[prost(uint64, repeated, tag = "2")]
    replicas: Vec<u64>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Nodes {
    #[prost(uint64, repeated, tag = "1")]
    nodes: Vec<u64>,
}

pub(super) fn encode(command: &Command) -> Vec<u8> {
    let ids = |nodes: &[NodeId]| nodes.iter().map(|id| id.0).collect();
    let body = match command.clone() {
        Command::InitCluster { cluster_id, token_key } => {
            Body::InitCluster(InitCluster { cluster_id, token_key: token_key.to_vec() })
        }
        Command::RegisterNode { addr, api_addr, zone, weight, uuid } => {
            Body::RegisterNode(RegisterNode { addr, api_addr, zone, weight, uuid: uuid.to_vec() })
        }
        Command::CreateTable { name, schema, status, partitions, replication_factor, now_ms, indexes } => {
            let status = status_code(status);
            Body::CreateTable(CreateTable {
                name,
                schema,
                status,
                partitions,
                replication_factor,
                now_ms,
                indexes,
            })
        }
        Command::UpdateTable { table, version, schema, status, index } => Body::UpdateTable(UpdateTable {
            table: table.0,
            schema,
            status: status.map(status_code),
            version,
            index: index.map(Index::from),
        }),
        Command::DropTable { table } => Body::DropTable(table.0),
        Command::CreateBucket { name, config, partitions, now_ms } => {
            Body::CreateBucket(CreateBucket { name, config: Some((&config).into()), partitions, now_ms })
        }
        Command::DropBucket { bucket } => Body::DropBucket(bucket.0),
        Command::SetReplicas { group, replicas } => {
            Body::SetReplicas(SetReplicas { group: group.0, replicas: ids(&replicas) })
        }
        Command::SetMetaMembers { members } => Body::SetMetaMembers(Nodes { nodes: ids(&members) }),
    };
    CommandRecord { version: RECORD_VERSION, body: Some(body) }.encode_to_vec()
}

pub(super) fn decode(bytes: &[u8]) -> Result<Command, DecodeError> {
    let record = CommandRecord::decode(bytes).map_err(|e| DecodeError::Malformed(e.to_string()))?;
    match record.version {
        0 => return Err(DecodeError::Value("version")),
        RECORD_VERSION => {}
        later => return Err(DecodeError::Version(later)),
    }
    let nodes = |ids: Vec<u64>| ids.into_iter().map(NodeId).collect();
    Ok(match record.body.ok_or(DecodeError::Value("kind"))? {
        Body::InitCluster(body) => {
            let token_key = sixteen(&body.token_key, "token key")?;
            Command::InitCluster { cluster_id: body.cluster_id, token_key }
        }
        Body::RegisterNode(RegisterNode { addr, api_addr, zone, weight, uuid }) => {
            Command::RegisterNode { addr, api_addr, zone, weight, uuid: uuid_from(&uuid)? }
        }
        Body::CreateTable(body) => {
            let CreateTable { name, schema, status, partitions, replication_factor, now_ms, indexes } = body;
            let status = status_from(status)?;
            Command::CreateTable { name, schema, status, partitions, replication_factor, now_ms, indexes }
        }
        Body::UpdateTable(body) => Command::UpdateTable {
            table: TableId(body.table),
            version: body.version,
            schema: body.schema,
            status: body.status.map(status_from).transpose()?,
            index: body.index.map(IndexChange::try_from).transpose()?,
        },
        Body::DropTable(table) => Command::DropTable { table: TableId(table) },
        Body::CreateBucket(CreateBucket { name, config, partitions, now_ms }) => {
            let config = config.ok_or(DecodeError::Value("bucket configuration"))?.try_into()?;
            Command::CreateBucket { name, config, partitions, now_ms }
        }
        Body::DropBucket(bucket) => Command::DropBucket { bucket: TableId(bucket) },
        Body::SetReplicas(body) => {
            Command::SetReplicas { group: GroupId(body.group), replicas: nodes(body.replicas) }
        }
        Body::SetMetaMembers(body) => Command::SetMetaMembers { members: nodes(body.nodes) },
    })
}
