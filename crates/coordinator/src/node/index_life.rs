//! The life cycle of a global secondary index, driven by the leader of the meta group: created, backfilled,
//! active; or deleted.

use super::Inner;
use super::meta_leader::{all_answer, read};
use std::collections::BTreeSet;
use std::sync::Arc;
use torc_cluster::TableId;
use torc_cluster::topology::{Command, IndexChange, IndexEntry, IndexStatus, TableSpec, Topology};
use torc_model::schema::TableSchema;
use torc_replica::machine::change_log::{Consumer, consumer_key};

/// The next step of each index of a table that can take one.
pub(super) async fn steps(
    node: &Arc<Inner>,
    topology: &Topology,
    table: TableId,
    spec: &TableSpec,
) -> Vec<Command> {
    let mut steps = Vec::new();
    for index in &spec.indexes {
        match index.status {
            IndexStatus::Creating if all_answer(node, topology, index.table).await => {
                steps.push(Command::index_status(table, &index.name, IndexStatus::Backfilling));
            }
            IndexStatus::Backfilling if is_filled(node, topology, table, index).await => {
                steps.push(Command::index_status(table, &index.name, IndexStatus::Active));
            }
            IndexStatus::Deleting => steps.extend(removal(table, spec, index)),
            _ => {}
        }
    }
    steps
}

/// Whether every partition of the table has sent all items from before the index to the index.
async fn is_filled(node: &Arc<Inner>, topology: &Topology, table: TableId, index: &IndexEntry) -> bool {
    let asked = topology.partitions(table).iter().map(|partition| async {
        let key = consumer_key(partition, index.table.0);
        let stored = read(node, partition, key.into()).await.flatten();
        stored.is_some_and(|bytes| match Consumer::decode(index.table.0, &bytes) {
            Ok(consumer) => consumer.is_filled(),
            Err(error) => {
                tracing::error!(group = %partition.group, error, "a backfill can't be followed");
                false
            }
        })
    });
    futures::future::join_all(asked).await.into_iter().all(|filled| filled)
}

/// The end of an index: its definition, and the attributes that only its key used, leave the schema together
/// with its partitions.
fn removal(table: TableId, spec: &TableSpec, index: &IndexEntry) -> Option<Command> {
    let mut schema = match TableSchema::from_json(&spec.schema) {
        Ok(schema) => schema,
        Err(error) => {
            tracing::error!(%table, %error, "an index can't be taken out of its table's schema");
            return None;
        }
    };
    schema.global_indexes.retain(|other| other.name != index.name);
    let used: BTreeSet<&str> = (schema.key.attributes())
        .chain(schema.indexes().flat_map(|index| index.key().attributes()))
        .map(|attribute| attribute.name.as_str())
        .collect();
    let kept = schema.attributes.iter().filter(|attribute| used.contains(attribute.name.as_str()));
    let schema = TableSchema { attributes: kept.cloned().collect(), ..schema.clone() };
    Some(Command::UpdateTable {
        table,
        // Settings changed in between must not be lost: then the next round does it.
        version: Some(spec.version),
        schema: Some(schema.to_json()),
        status: None,
        index: Some(IndexChange::Drop { name: index.name.clone() }),
    })
}
