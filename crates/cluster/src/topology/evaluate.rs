//! Turns a command into changes. Pure. All values of a command are checked here and nowhere else.

use super::change::{Change, Settings};
use super::command::{Command, IndexChange, Response, TopologyError};
use super::{NodeRecord, Topology};
use crate::limits::{
    MAX_ADDRESS_BYTES, MAX_INDEXES, MAX_META_MEMBERS, MAX_NAME_BYTES, MAX_NODES, MAX_PARTITIONS,
    MAX_REPLICAS, MAX_SCHEMA_BYTES, MAX_TABLES, MAX_WEIGHT, MAX_ZONE_BYTES,
};
use crate::ring::Ring;
use crate::{
    BucketConfig, Epoch, GroupId, IndexEntry, IndexSpec, IndexStatus, Level, NodeId, NodeInfo, Partition,
    Table, TableId, TableKind, TableSpec, TableStatus, TokenRange,
};

type Outcome = Result<(Vec<Change>, Response), TopologyError>;

impl Topology {
    /// What a command would change, or why it may not be. Pure: the same on every node. Changes of partitions
    /// carry `changed` 0, to be filled in by [`Change::stamped`] and [`Topology::apply_changes`] with the log
    /// index.
    pub fn evaluate(&self, command: &Command) -> Outcome {
        if let Command::InitCluster { cluster_id, token_key } = command {
            return self.init_cluster(*cluster_id, *token_key);
        }
        if self.cluster_id() == 0 {
            return Err(TopologyError::NotInitialized);
        }
        match command {
            Command::InitCluster { .. } => unreachable!("handled above"),
            Command::RegisterNode { addr, api_addr, zone, weight, uuid } => {
                let info = NodeInfo {
                    id: NodeId(0),
                    addr: addr.clone(),
                    api_addr: api_addr.clone(),
                    zone: zone.clone(),
                    weight: *weight,
                };
                self.register_node(info, *uuid)
            }
            Command::CreateTable {
                name,
                schema,
                status,
                partitions,
                replication_factor,
                now_ms,
                indexes,
            } => {
                let spec = TableSpec::new(schema.clone(), *status, *replication_factor);
                self.create(name, TableKind::Table(spec), *partitions, *now_ms, indexes)
            }
            Command::UpdateTable { table, version, schema, status, index } => {
                self.update_table(*table, *version, schema.as_deref(), *status, index.as_ref())
            }
            Command::DropTable { table } => {
                self.drop_table(*table, |kind| matches!(kind, TableKind::Table(_)))
            }
            Command::CreateBucket { name, config, partitions, now_ms } => {
                self.create(name, TableKind::Bucket(*config), *partitions, *now_ms, &[])
            }
            Command::DropBucket { bucket } => {
                self.drop_table(*bucket, |kind| matches!(kind, TableKind::Bucket(_)))
            }
            Command::SetReplicas { group, replicas } => self.set_replicas(*group, replicas),
            Command::SetMetaMembers { members } => self.set_meta_members(members),
        }
    }

    fn init_cluster(&self, cluster_id: u64, token_key: [u8; 16]) -> Outcome {
        match self.cluster_id() {
            0 if cluster_id == 0 => Err(out_of_range("the cluster id", "other than 0")),
            0 => {
                let settings = Settings { cluster_id, token_key, ..Settings::default() };
                Ok((vec![Change::Settings(settings)], Response::Done))
            }
            id if id == cluster_id && *self.token_key() == token_key => Ok((Vec::new(), Response::Done)),
            id => Err(TopologyError::AlreadyInitialized(id)),
        }
    }

    fn register_node(&self, mut info: NodeInfo, uuid: [u8; 16]) -> Outcome {
        check_length("the node's address", &info.addr, 1, MAX_ADDRESS_BYTES)?;
        check_length("the node's client address", &info.api_addr, 0, MAX_ADDRESS_BYTES)?;
        check_length("the zone", &info.zone, 1, MAX_ZONE_BYTES)?;
        check_range("the weight", info.weight, 1, MAX_WEIGHT)?;
        let known = self.node_by_uuid(&uuid);
        if let Some(other) = self.nodes().find(|node| node.addr == info.addr)
            && known.is_none_or(|known| known.id != other.id)
        {
            return Err(TopologyError::AddressInUse { addr: info.addr, node: other.id });
        }
        if let Some(known) = known {
            info.id = known.id;
            let changes =
                if *known == info { Vec::new() } else { vec![Change::UpsertNode(NodeRecord { info, uuid })] };
            return Ok((changes, Response::Node(known.id)));
        }
        check_limit("nodes", self.nodes().len(), MAX_NODES)?;
        let mut settings = self.settings().clone();
        let id = NodeId(settings.next_node);
        settings.next_node += 1;
        if settings.meta_members.is_empty() {
            settings.meta_members.push(id);
        }
        info.id = id;
        Ok((
            vec![Change::Settings(settings), Change::UpsertNode(NodeRecord { info, uuid })],
            Response::Node(id),
        ))
    }

    fn create(
        &self,
        name: &str,
        mut kind: TableKind,
        partitions: u32,
        now_ms: u64,
        indexes: &[String],
    ) -> Outcome {
        check_name(name)?;
        check_range("the number of partitions", partitions, 1, MAX_PARTITIONS)?;
        let (replicas, taken) = match &kind {
            TableKind::Table(spec) => {
                check_schema(&spec.schema)?;
                if !matches!(spec.status, TableStatus::Creating | TableStatus::Active) {
                    return Err(out_of_range("the status of a new table", "CREATING or ACTIVE"));
                }
                check_range("the replication factor", spec.replication_factor, 1, MAX_REPLICAS)?;
                (spec.replication_factor, self.table_by_name(name).map(|_| format!("table {name}")))
            }
            TableKind::Bucket(config) => {
                check_bucket(config)?;
                (config.n, self.bucket_by_name(name).map(|_| format!("bucket {name}")))
            }
            TableKind::Index(_) => return Err(out_of_range("the kind", "a table or a bucket")),
        };
        if let Some(taken) = taken {
            return Err(TopologyError::Exists(taken));
        }
        check_limit("tables and buckets", self.tables().len() + indexes.len(), MAX_TABLES)?;
        let mut placing = Placing::new(self)?;
        let id = placing.next_table();
        let mut made = Vec::new();
        if let TableKind::Table(spec) = &mut kind {
            let status = match spec.status {
                TableStatus::Creating => IndexStatus::Creating,
                _ => IndexStatus::Active,
            };
            for index in indexes {
                placing.index(id, spec, index, partitions, now_ms, status, &mut made)?;
            }
        }
        let mut changes = Vec::new();
        placing.partitions(id, partitions, replicas, &mut changes);
        changes.insert(0, Change::UpsertTable(Table { id, name: name.to_owned(), created_ms: now_ms, kind }));
        changes.extend(made);
        changes.insert(0, Change::Settings(placing.settings));
        Ok((changes, Response::Table(id)))
    }

    fn update_table(
        &self,
        id: TableId,
        version: Option<u64>,
        schema: Option<&[u8]>,
        status: Option<TableStatus>,
        index: Option<&IndexChange>,
    ) -> Outcome {
        let old = self.table(id).ok_or(TopologyError::NoSuchTable(id))?;
        let mut table = Table::clone(old);
        let TableKind::Table(spec) = &mut table.kind else { return Err(TopologyError::NoSuchTable(id)) };
        if version.is_some_and(|version| version != spec.version) {
            return Err(TopologyError::Changed(id));
        }
        if let Some(schema) = schema {
            check_schema(schema)?;
            spec.schema = schema.to_vec();
        }
        if let Some(to) = status {
            if !spec.status.may_become(to) {
                return Err(TopologyError::BadTransition { from: spec.status, to });
            }
            if spec.status == TableStatus::Creating && to == TableStatus::Active {
                for index in &mut spec.indexes {
                    index.status = IndexStatus::Active;
                }
            }
            spec.status = to;
        }
        let mut changes = Vec::new();
        if let Some(change) = index {
            self.change_index(id, spec, change, &mut changes)?;
        }
        if table != **old {
            if let TableKind::Table(spec) = &mut table.kind {
                spec.version += 1;
            }
            changes.push(Change::UpsertTable(table));
        }
        Ok((changes, Response::Done))
    }

    fn change_index(
        &self,
        table: TableId,
        spec: &mut TableSpec,
        change: &IndexChange,
        changes: &mut Vec<Change>,
    ) -> Result<(), TopologyError> {
        let missing = |name: &String| TopologyError::NoSuchIndex { table, name: name.clone() };
        match change {
            IndexChange::Create { name, partitions, now_ms } => {
                check_range("the number of partitions", *partitions, 1, MAX_PARTITIONS)?;
                check_limit("tables and buckets", self.tables().len(), MAX_TABLES)?;
                let mut placing = Placing::new(self)?;
                let mut made = Vec::new();
                placing.index(table, spec, name, *partitions, *now_ms, IndexStatus::Creating, &mut made)?;
                changes.push(Change::Settings(placing.settings));
                changes.extend(made);
            }
            IndexChange::Status { name, status: to } => {
                let found = spec.indexes.iter_mut().find(|index| index.name == *name);
                let entry = found.ok_or_else(|| missing(name))?;
                if !entry.status.may_become(*to) {
                    return Err(TopologyError::BadIndexTransition { from: entry.status, to: *to });
                }
                entry.status = *to;
            }
            IndexChange::Drop { name } => {
                let at = spec.indexes.iter().position(|index| index.name == *name);
                let entry = spec.indexes.remove(at.ok_or_else(|| missing(name))?);
                self.remove(entry.table, changes);
            }
        }
        Ok(())
    }

    fn drop_table(&self, id: TableId, is_kind: impl Fn(&TableKind) -> bool) -> Outcome {
        let found = self.table(id).filter(|table| is_kind(&table.kind));
        let table = found.ok_or(TopologyError::NoSuchTable(id))?;
        let mut changes = Vec::new();
        for index in table.as_table().map_or(&[][..], |spec| &spec.indexes) {
            self.remove(index.table, &mut changes);
        }
        self.remove(id, &mut changes);
        Ok((changes, Response::Done))
    }

    /// The end of a table, bucket or index, and of its partitions.
    fn remove(&self, id: TableId, changes: &mut Vec<Change>) {
        let partitions = self.partitions(id).iter();
        changes.extend(
            partitions.map(|partition| Change::DeletePartition { table: id, group: partition.group }),
        );
        changes.push(Change::DeleteTable(id));
    }

    fn set_replicas(&self, group: GroupId, replicas: &[NodeId]) -> Outcome {
        let old = self.partition_by_group(group).ok_or(TopologyError::NoSuchGroup(group))?;
        check_range("the number of replicas", replicas.len() as u32, 1, MAX_REPLICAS)?;
        self.check_nodes(replicas)?;
        if old.replicas == replicas {
            return Ok((Vec::new(), Response::Done));
        }
        let partition = Partition { replicas: replicas.to_vec(), changed: Epoch(0), ..Partition::clone(old) };
        Ok((vec![Change::UpsertPartition(partition)], Response::Done))
    }

    fn set_meta_members(&self, members: &[NodeId]) -> Outcome {
        if members.len() > MAX_META_MEMBERS || members.len().is_multiple_of(2) {
            return Err(out_of_range(
                "the number of meta members",
                &format!("odd and at most {MAX_META_MEMBERS}"),
            ));
        }
        self.check_nodes(members)?;
        let mut meta_members = members.to_vec();
        meta_members.sort_unstable();
        if self.meta_members() == meta_members {
            return Ok((Vec::new(), Response::Done));
        }
        let settings = Settings { meta_members, ..self.settings().clone() };
        Ok((vec![Change::Settings(settings)], Response::Done))
    }

    fn check_nodes(&self, nodes: &[NodeId]) -> Result<(), TopologyError> {
        for (at, &id) in nodes.iter().enumerate() {
            if self.node(id).is_none() {
                return Err(TopologyError::UnknownNode(id));
            }
            if nodes.iter().take(at).any(|&other| other == id) {
                return Err(TopologyError::Duplicate(id));
            }
        }
        Ok(())
    }
}

/// Hands out numbers and places partitions.
struct Placing {
    settings: Settings,
    ring: Ring,
}

impl Placing {
    fn new(topology: &Topology) -> Result<Self, TopologyError> {
        let ring = topology.ring();
        if ring.is_empty() {
            return Err(TopologyError::NoNodes);
        }
        Ok(Self { settings: topology.settings().clone(), ring })
    }

    fn next_table(&mut self) -> TableId {
        let id = TableId(self.settings.next_table);
        self.settings.next_table += 1;
        id
    }

    fn partitions(&mut self, table: TableId, count: u32, replicas: u32, changes: &mut Vec<Change>) {
        let first_group = self.settings.next_group;
        self.settings.next_group += u64::from(count);
        let ranges = equal_ranges(count);
        let positions: Vec<u64> =
            ranges.iter().map(|range| self.ring.partition_position(table, range.start)).collect();
        let placed = self.ring.place(&positions, replicas as usize);
        changes.extend((first_group..).zip(ranges.into_iter().zip(placed)).map(
            |(group, (range, replicas))| {
                Change::UpsertPartition(Partition {
                    group: GroupId(group),
                    table,
                    range,
                    initial: replicas.clone(),
                    replicas,
                    changed: Epoch(0),
                })
            },
        ));
    }

    /// Adds an index to its table's record, and makes its own.
    #[allow(clippy::too_many_arguments)]
    fn index(
        &mut self,
        base: TableId,
        spec: &mut TableSpec,
        name: &str,
        partitions: u32,
        now_ms: u64,
        status: IndexStatus,
        changes: &mut Vec<Change>,
    ) -> Result<(), TopologyError> {
        check_name(name)?;
        if spec.index(name).is_some() {
            return Err(TopologyError::Exists(format!("index {name}")));
        }
        check_limit("indexes of a table", spec.indexes.len(), MAX_INDEXES)?;
        let id = self.next_table();
        let replication_factor = spec.replication_factor;
        spec.indexes.push(IndexEntry { name: name.to_owned(), table: id, status });
        let kind = TableKind::Index(IndexSpec { base, replication_factor });
        changes.push(Change::UpsertTable(Table { id, name: name.to_owned(), created_ms: now_ms, kind }));
        self.partitions(id, partitions, replication_factor, changes);
        Ok(())
    }
}

/// The token space cut into ranges whose sizes differ by at most one.
fn equal_ranges(partitions: u32) -> Vec<TokenRange> {
    let start = |index: u32| (u128::from(index) << 64) / u128::from(partitions);
    (0..partitions)
        .map(|index| TokenRange { start: start(index) as u64, end: (start(index + 1) - 1) as u64 })
        .collect()
}

fn check_bucket(config: &BucketConfig) -> Result<(), TopologyError> {
    check_range("the number of copies", config.n, 1, MAX_REPLICAS)?;
    for (what, level) in [("the default read level", config.read), ("the default write level", config.write)]
    {
        if let Level::Count(count) = level {
            check_range(what, count, 1, config.n)?;
        }
    }
    Ok(())
}

fn check_name(name: &str) -> Result<(), TopologyError> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte);
    if name.is_empty() || name.len() > MAX_NAME_BYTES || !name.bytes().all(allowed) {
        return Err(out_of_range("the name", &format!("1 to {MAX_NAME_BYTES} of a-z, A-Z, 0-9, _, - and .")));
    }
    Ok(())
}

fn check_schema(schema: &[u8]) -> Result<(), TopologyError> {
    if schema.len() > MAX_SCHEMA_BYTES {
        return Err(out_of_range("the schema", &format!("at most {MAX_SCHEMA_BYTES} bytes")));
    }
    Ok(())
}

fn check_length(what: &'static str, value: &str, least: usize, most: usize) -> Result<(), TopologyError> {
    if value.len() < least || value.len() > most {
        return Err(out_of_range(what, &format!("{least} to {most} bytes long")));
    }
    Ok(())
}

fn check_range(what: &'static str, value: u32, least: u32, most: u32) -> Result<(), TopologyError> {
    if value < least || value > most {
        return Err(out_of_range(what, &format!("{least} to {most}")));
    }
    Ok(())
}

fn check_limit(what: &'static str, have: usize, limit: usize) -> Result<(), TopologyError> {
    if have >= limit { Err(TopologyError::Limit { what, limit }) } else { Ok(()) }
}

fn out_of_range(what: &'static str, bounds: &str) -> TopologyError {
    TopologyError::OutOfRange { what, bounds: bounds.to_owned() }
}
