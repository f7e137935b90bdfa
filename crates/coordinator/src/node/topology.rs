//! This node's copy of the topology: one immutable value, replaced when a newer one arrives. It is also kept
//! in the node's own storage, so that the node can serve immediately after a restart, even if the meta group
//! is unavailable.

use super::NodeError;
use super::identity::SPACE_LOCAL;
use crate::signal::{Follower, Signal};
use arc_swap::ArcSwap;
use bytes::Bytes;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use torc_cluster::topology::{Change, Topology};
use torc_cluster::{Epoch, GroupId, META_GROUP, NodeId, Partition, TableId, TokenRange};
use torc_engine::{Engine, WriteBatch};
use torc_wire::peer::TopologyReply;

/// Record keys below this prefix: `[SPACE_LOCAL, 2, 0]` holds the epoch, `[SPACE_LOCAL, 2, 1, change key…]` a record each.
const PREFIX: [u8; 2] = [SPACE_LOCAL, 2];
const EPOCH_KEY: [u8; 3] = [SPACE_LOCAL, 2, 0];
const RECORDS: [u8; 3] = [SPACE_LOCAL, 2, 1];
const END: [u8; 2] = [SPACE_LOCAL, 3];

/// The current topology, and the tasks that follow its changes.
pub struct TopologyCell {
    current: ArcSwap<Topology>,
    epoch: Signal<Epoch>,
}

impl TopologyCell {
    /// Starts from what the node stored, or from nothing.
    pub fn load(engine: &Engine) -> Result<Self, NodeError> {
        let topology = match engine.get(&EPOCH_KEY)? {
            None => Topology::default(),
            Some(bytes) => {
                let epoch = bytes.as_ref().try_into().map(u64::from_be_bytes);
                let epoch = epoch.map_err(|_| NodeError::LocalRecord("topology epoch"))?;
                let mut changes = Vec::new();
                for item in engine.scan(&RECORDS, &END, false, None) {
                    changes
                        .push(Change::decode(&item?.value).map_err(|_| NodeError::LocalRecord("topology"))?);
                }
                Topology::from_changes(Epoch(epoch), &changes)
            }
        };
        let epoch = Signal::new(topology.epoch());
        Ok(Self { current: ArcSwap::from_pointee(topology), epoch })
    }

    /// The topology as this node knows it now.
    pub fn get(&self) -> Arc<Topology> {
        self.current.load_full()
    }

    /// The epoch of [`TopologyCell::get`].
    pub fn epoch(&self) -> Epoch {
        self.current.load().epoch()
    }

    /// Takes over a newer topology; `false` (and nothing changes) if it is not newer.
    pub fn publish(&self, topology: Arc<Topology>) -> bool {
        let mut newer = false;
        self.current.rcu(|current| {
            newer = topology.epoch() > current.epoch();
            if newer { topology.clone() } else { current.clone() }
        });
        if newer {
            self.epoch.modify(|epoch| {
                let rises = topology.epoch() > *epoch;
                if rises {
                    *epoch = topology.epoch();
                }
                rises
            });
        }
        newer
    }

    /// Hears of every new epoch.
    pub(crate) fn follow(&self) -> Follower<Epoch> {
        self.epoch.follow()
    }

    /// Waits until this node knows an epoch of at least `epoch`; `false` if it does not within `limit`.
    pub async fn wait_for(&self, epoch: Epoch, limit: Duration) -> bool {
        let reached = self.epoch.wait_for(|known| *known >= epoch);
        tokio::time::timeout(limit, reached).await.is_ok()
    }
}

/// Stores the topology as this node's own copy. Not awaited: an older copy after a crash only means one more fetch.
pub fn store(engine: &Engine, topology: &Topology) -> Result<(), NodeError> {
    let mut batch = WriteBatch::new();
    batch.delete_range(&PREFIX, &END);
    for (key, record) in records(topology) {
        batch.put(&key, &record);
    }
    engine.write(&batch)?;
    Ok(())
}

/// As [`store`], if the node has stored `before`: only the differences are written, so that a change of one
/// table does not write all tables.
pub fn store_changes(engine: &Engine, before: &Topology, now: &Topology) -> Result<(), NodeError> {
    let mut batch = WriteBatch::new();
    for change in now.changes_since(before) {
        let key = [&RECORDS[..], &change.key()].concat();
        if change.is_delete() {
            batch.delete(&key);
        } else {
            batch.put(&key, &change.encode());
        }
    }
    batch.put(&EPOCH_KEY, &now.epoch().0.to_be_bytes());
    engine.write(&batch)?;
    Ok(())
}

/// The records of a topology in the node's storage.
fn records(topology: &Topology) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let changes = topology.to_changes();
    let records = changes.iter().map(|change| ([&RECORDS[..], &change.key()].concat(), change.encode()));
    let epoch = (EPOCH_KEY.to_vec(), topology.epoch().0.to_be_bytes().to_vec());
    records.chain([epoch]).collect()
}

/// The answer to a fetch by a node that has `have`.
pub fn reply(topology: &Topology, have: u64) -> TopologyReply {
    let newer = topology.epoch().0 > have;
    let changes = if newer {
        topology.to_changes().iter().map(|c| Bytes::from(c.encode())).collect()
    } else {
        Vec::new()
    };
    TopologyReply { epoch: topology.epoch().0, changes }
}

/// The topology in an answer, `None` if it holds nothing newer or a record that this version does not know.
pub fn from_reply(reply: &TopologyReply) -> Option<Topology> {
    if reply.changes.is_empty() {
        return None;
    }
    let changes: Result<Vec<Change>, _> = reply.changes.iter().map(|c| Change::decode(c)).collect();
    match changes {
        Ok(changes) => Some(Topology::from_changes(Epoch(reply.epoch), &changes)),
        Err(error) => {
            tracing::warn!(%error, epoch = reply.epoch, "a topology with records this version does not know was ignored");
            None
        }
    }
}

/// The meta group as a partition, so that it is routed to like any other.
pub fn meta_partition(topology: &Topology) -> Partition {
    let replicas: Vec<NodeId> = topology.meta_members().to_vec();
    Partition {
        group: META_GROUP,
        table: TableId(0),
        range: TokenRange::ALL,
        initial: replicas.iter().copied().take(1).collect(),
        replicas,
        changed: Epoch(0),
    }
}

/// A partition by group, the meta group included.
pub fn partition_by_group(topology: &Topology, group: GroupId) -> Option<Partition> {
    if group == META_GROUP {
        return Some(meta_partition(topology));
    }
    topology.partition_by_group(group).map(|p| Partition::clone(p))
}
