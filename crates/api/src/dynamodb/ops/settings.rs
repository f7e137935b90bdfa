//! Changing what a table is set to: `UpdateTable`, tags, time to live. All are one change of the schema in the topology.

use super::{Context, errors};
use std::time::Duration;
use tokio::time::Instant;
use torc_cluster::topology::{Command, TableStatus};
use torc_coordinator::tables::TableRef;
use torc_model::schema::TableSchema;
use torc_model::{ApiError, ErrorCode};

/// How long the meta group may take.
const DEADLINE: Duration = Duration::from_secs(10);

/// Changes the schema of a table by `change`, and returns the table as it is afterwards. `absent` is the error when there is no table.
///
/// The schema is read and written back, so changes through one node wait for each other. Two nodes that change settings of one table
/// in the same moment may overwrite each other: the later one stays.
pub(super) async fn change(
    context: &Context<'_>,
    name: &str,
    absent: impl Fn() -> ApiError,
    change: impl FnOnce(&TableSchema) -> Result<TableSchema, ApiError>,
) -> Result<TableRef, ApiError> {
    let _one_at_a_time = context.dynamodb.settings.lock().await;
    let deadline = Instant::now() + DEADLINE;
    context.node.meta().refresh_from_leader(deadline).await.map_err(errors::from_route)?;
    let table = context.any_table(name).await?.ok_or_else(&absent)?;
    match table.table.as_table().map(|spec| spec.status) {
        Some(TableStatus::Active | TableStatus::Updating) => {}
        Some(status @ (TableStatus::Creating | TableStatus::Deleting)) => {
            return Err(errors::in_use(name, status));
        }
        _ => return Err(absent()),
    }
    let schema = change(&table.schema)?;
    if schema == *table.schema {
        return Ok(table);
    }
    let command = Command::UpdateTable { table: table.id(), schema: Some(schema.to_json()), status: None };
    context.node.meta().execute(&command, deadline).await.map_err(|e| errors::from_meta(e, name))?;
    context.any_table(name).await?.ok_or_else(|| {
        ApiError::new(ErrorCode::InternalServerError, "the table was deleted while it was changed")
    })
}
