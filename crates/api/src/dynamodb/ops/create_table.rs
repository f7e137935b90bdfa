//! `CreateTable`.

use super::statistics::Sizes;
use super::{Context, description, errors};
use std::time::Duration;
use tokio::time::{Instant, sleep};
use torc_cluster::topology::{Command, TableStatus};
use torc_model::ops::CreateTable;
use torc_model::{ApiError, ErrorCode};

/// How long the meta group may take.
const DEADLINE: Duration = Duration::from_secs(10);
/// How long the answer waits for the partitions to have leaders, so that a client that does not poll finds
/// the table ready.
const READY: Duration = Duration::from_secs(3);
/// Partitions of a new table: one a node, so that every node leads one, within these bounds.
const MAX_PARTITIONS: u32 = 64;
/// Copies of each partition.
const REPLICATION_FACTOR: u32 = 3;

/// Partitions of a table or index made now.
pub(super) fn new_partitions(context: &Context<'_>) -> u32 {
    let nodes = context.node.topology().nodes().len();
    u32::try_from(nodes).unwrap_or(MAX_PARTITIONS).clamp(1, MAX_PARTITIONS)
}

pub(super) async fn handle(context: &Context<'_>, body: &[u8]) -> Result<Vec<u8>, ApiError> {
    let mut schema = CreateTable::parse(body)?.schema;
    for (ordinal, index) in (1..).zip(&mut schema.local_indexes) {
        index.id = ordinal;
    }
    let command = Command::CreateTable {
        name: schema.name.clone(),
        schema: schema.to_json(),
        status: TableStatus::Creating,
        partitions: new_partitions(context),
        replication_factor: REPLICATION_FACTOR,
        now_ms: context.node.wall_ms(),
        indexes: schema.global_indexes.iter().map(|index| index.name.clone()).collect(),
    };
    let deadline = Instant::now() + DEADLINE;
    context.node.meta().execute(&command, deadline).await.map_err(|e| errors::from_meta(e, &schema.name))?;
    let created = context.any_table(&schema.name).await?;
    let table = created.ok_or_else(|| {
        ApiError::new(ErrorCode::InternalServerError, "the table was deleted while it was created")
    })?;
    // Described as it is at the moment of creation, whatever it has become since.
    let answer =
        description::answer(context, "TableDescription", &table, TableStatus::Creating, &Sizes::default());
    let until = Instant::now() + READY;
    while Instant::now() < until {
        let topology = context.node.topology();
        let status = topology.table(table.id()).and_then(|t| t.as_table().map(|s| s.status));
        if status != Some(TableStatus::Creating) {
            break;
        }
        sleep(Duration::from_millis(10)).await;
    }
    Ok(answer)
}
