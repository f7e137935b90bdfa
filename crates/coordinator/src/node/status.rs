//! The status that a node reports about itself and about the cluster as it sees it.

use super::{Node, topology};
use crate::index::IndexLag;
use torc_cluster::gossip::Liveness;
use torc_cluster::topology::{Table, TableKind, Topology};
use torc_cluster::{GroupId, META_GROUP, NodeId, NodeInfo, TableId};
use torc_engine::Engine;
use torc_replica::machine;
use torc_replica::store::KeyRange;
use xxhash_rust::xxh3::Xxh3;

/// How often a digest is tried again because writes went on meanwhile.
const DIGEST_TRIES: usize = 100;

/// The cluster as one node sees it.
#[derive(Clone, Debug)]
pub struct ClusterStatus {
    /// The cluster.
    pub cluster_id: u64,
    /// Epoch of the topology this node holds.
    pub epoch: u64,
    /// This node.
    pub node: NodeId,
    /// Members of the meta group.
    pub meta_members: Vec<NodeId>,
    /// All nodes.
    pub nodes: Vec<NodeStatus>,
    /// All tables and buckets.
    pub tables: Vec<TableSummary>,
}

/// One node.
#[derive(Clone, Debug)]
pub struct NodeStatus {
    /// As registered.
    pub info: NodeInfo,
    /// As gossip has it.
    pub state: Liveness,
    /// Groups whose leader it is, as far as the asked node knows.
    pub leaders: usize,
    /// Partitions it is meant to hold.
    pub replicas: usize,
}

/// One table or bucket.
#[derive(Clone, Debug)]
pub struct TableSummary {
    /// Its number.
    pub id: TableId,
    /// Its name.
    pub name: String,
    /// `table`, `bucket` or `index`.
    pub kind: &'static str,
    /// Of an index, its table.
    pub base: Option<TableId>,
    /// `CREATING`, `ACTIVE` …
    pub status: &'static str,
    /// Its partitions.
    pub partitions: Vec<PartitionStatus>,
}

/// One partition.
#[derive(Clone, Debug)]
pub struct PartitionStatus {
    /// Its group.
    pub group: GroupId,
    /// First token.
    pub start: u64,
    /// Last token.
    pub end: u64,
    /// Who should hold it.
    pub replicas: Vec<NodeId>,
    /// Who leads, if this node knows.
    pub leader: Option<NodeId>,
}

/// One replica on the asked node.
#[derive(Clone, Debug)]
pub struct ReplicaStatus {
    /// The group.
    pub group: GroupId,
    /// The table's name; `meta` for the meta group.
    pub table: String,
    /// Whether this replica leads.
    pub leader: bool,
    /// Term.
    pub term: u64,
    /// Last entry applied.
    pub applied: u64,
    /// Hash of all its keys and values at that entry, hexadecimal; empty if not asked for, or if writes never paused long enough.
    pub digest: String,
    /// Number of keys; 0 without a digest.
    pub keys: u64,
}

impl Node {
    /// The cluster as this node sees it.
    pub fn cluster_status(&self) -> ClusterStatus {
        let topology = self.topology();
        let leader_of = |group| self.leader_of(group);
        let nodes = topology.nodes().map(|info| NodeStatus {
            state: if info.id == self.id() { Liveness::Alive } else { self.inner.liveness.state(info.id) },
            leaders: topology.all_partitions().filter(|p| leader_of(p.group) == Some(info.id)).count(),
            replicas: topology.partitions_on(info.id).count(),
            info: info.clone(),
        });
        let tables = topology.tables().map(|table| TableSummary {
            id: table.id,
            name: table.name.clone(),
            kind: match &table.kind {
                TableKind::Table(_) => "table",
                TableKind::Bucket(_) => "bucket",
                TableKind::Index(_) => "index",
            },
            base: table.as_index().map(|index| index.base),
            status: status_word(&topology, table),
            partitions: topology
                .partitions(table.id)
                .iter()
                .map(|p| PartitionStatus {
                    group: p.group,
                    start: p.range.start,
                    end: p.range.end,
                    replicas: p.replicas.clone(),
                    leader: leader_of(p.group),
                })
                .collect(),
        });
        ClusterStatus {
            cluster_id: topology.cluster_id(),
            epoch: topology.epoch().0,
            node: self.id(),
            meta_members: topology.meta_members().to_vec(),
            nodes: nodes.collect(),
            tables: tables.collect(),
        }
    }

    /// Who leads a group, as far as this node knows.
    pub fn leader_of(&self, group: GroupId) -> Option<NodeId> {
        let local = self.inner.store.view(group).and_then(|view| view.leader());
        local.or_else(|| self.inner.router.leader(group))
    }

    /// The last entry that this node's replica of a group has applied; `None` without a replica here.
    pub fn applied_index(&self, group: GroupId) -> Option<u64> {
        self.inner.store.view(group).map(|view| view.applied_index())
    }

    /// The groups that this node leads under a lease that holds now.
    pub fn leases(&self) -> Vec<GroupId> {
        let now = self.inner.clock.now();
        let views = self.inner.store.views().into_iter();
        views.filter(|(_, view)| view.lease_valid(now).is_some()).map(|(group, _)| group).collect()
    }

    /// Whether this node can serve: it knows a topology and every group it should hold has a leader it knows.
    pub fn is_ready(&self) -> bool {
        let topology = self.topology();
        topology.cluster_id() != 0
            && (!topology.meta_members().contains(&self.id()) || self.leader_of(META_GROUP).is_some())
            && topology
                .partitions_on(self.id())
                .filter(|p| topology.table(p.table).is_some_and(|t| t.is_consensus()))
                .all(|p| self.leader_of(p.group).is_some())
    }

    /// How far the partitions that this node leads are ahead of the indexes of their tables.
    pub fn index_lags(&self) -> Vec<IndexLag> {
        let mut lags = self.inner.propagation.lags(self.wall_ms());
        lags.retain(|lag| self.inner.store.view(lag.group).is_some_and(|view| view.is_leader()));
        lags
    }

    /// The replicas on this node; with `digests`, each with a hash of what it holds, for which all of it is read.
    pub fn replica_status(&self, digests: bool) -> Result<Vec<ReplicaStatus>, torc_engine::Error> {
        let topology = self.topology();
        let mut replicas = Vec::new();
        for (group, view) in self.inner.store.views() {
            let (table, ranges) = if group == META_GROUP {
                ("meta".to_string(), machine::meta::ranges())
            } else {
                let Some(partition) = topology::partition_by_group(&topology, group) else { continue };
                let name =
                    topology.table(partition.table).map_or_else(String::new, |t| full_name(&topology, t));
                (name, machine::table::ranges(&partition))
            };
            let mut status = ReplicaStatus {
                group,
                table,
                leader: view.is_leader(),
                term: view.term(),
                applied: view.applied_index(),
                digest: String::new(),
                keys: 0,
            };
            let tries = if digests { DIGEST_TRIES } else { 0 };
            for _ in 0..tries {
                let before = view.applied_index();
                let (digest, keys) = digest(&self.inner.engine, &ranges)?;
                if view.applied_index() == before {
                    status.applied = before;
                    status.digest = format!("{digest:032x}");
                    status.keys = keys;
                    break;
                }
            }
            replicas.push(status);
        }
        Ok(replicas)
    }
}

/// The name of a table or bucket; of an index, with its table's before it.
fn full_name(topology: &Topology, table: &Table) -> String {
    let base = table.as_index().and_then(|index| topology.table(index.base));
    base.map_or_else(|| table.name.clone(), |base| format!("{}/index/{}", base.name, table.name))
}

fn status_word(topology: &Topology, table: &Table) -> &'static str {
    match &table.kind {
        TableKind::Table(spec) => spec.status.as_str(),
        TableKind::Bucket(_) => "ACTIVE",
        TableKind::Index(index) => {
            let spec = topology.table(index.base).and_then(|base| base.as_table());
            spec.and_then(|spec| spec.index(&table.name)).map_or("DELETING", |entry| entry.status.as_str())
        }
    }
}

/// Hash and number of the keys in some ranges.
fn digest(engine: &Engine, ranges: &[KeyRange]) -> Result<(u128, u64), torc_engine::Error> {
    let snapshot = engine.snapshot();
    let mut hash = Xxh3::new();
    let mut keys = 0;
    for range in ranges {
        for item in engine.scan(&range.start, &range.end, false, Some(&snapshot)) {
            let item = item?;
            for part in [&item.key, &item.value] {
                hash.update(&(part.len() as u64).to_be_bytes());
                hash.update(part);
            }
            keys += 1;
        }
    }
    Ok((hash.digest128(), keys))
}
