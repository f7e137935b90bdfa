//! Turns changes of a table's partition into commands for the partitions of an index.

use std::collections::BTreeMap;
use torc_cluster::topology::Topology;
use torc_cluster::{GroupId, TableId};
use torc_model::key::TokenHasher;
use torc_model::schema::{GlobalIndex, TableSchema};
use torc_replica::machine::change_log::{ChangeRecord, Position};
use torc_replica::machine::global_index;
use torc_wire::table::{IndexCommand, IndexRow};

/// What is sent to one partition of the index.
pub(super) struct Delivery {
    /// A token of the partition.
    pub token: u64,
    pub command: IndexCommand,
}

/// One command for each partition of the index that the changes concern. Of several changes of one row the
/// last counts.
///
/// # Errors
/// An image can't be read.
pub(super) fn deliveries(
    topology: &Topology,
    schema: &TableSchema,
    index: &GlobalIndex,
    source: GroupId,
    changes: &[(Position, ChangeRecord)],
) -> Result<Vec<Delivery>, String> {
    let Some((through, _)) = changes.last() else { return Ok(Vec::new()) };
    let hasher = TokenHasher::new(*topology.token_key());
    // Ordered by partition, then by key, so that every node that computes the commands sends the same ones.
    let mut partitions: BTreeMap<Option<GroupId>, (u64, BTreeMap<Vec<u8>, IndexRow>)> = BTreeMap::new();
    for (position, change) in changes {
        for change in global_index::rows(schema, index, &hasher, *position, change)? {
            let group = topology.partition(TableId(index.id), change.token).map(|partition| partition.group);
            let (_, rows) = partitions.entry(group).or_insert_with(|| (change.token, BTreeMap::new()));
            rows.insert(change.row.key.to_vec(), change.row);
        }
    }
    let command = |rows: BTreeMap<Vec<u8>, IndexRow>| IndexCommand {
        source: source.0,
        through: through.0,
        rows: rows.into_values().collect(),
    };
    Ok(partitions.into_values().map(|(token, rows)| Delivery { token, command: command(rows) }).collect())
}
