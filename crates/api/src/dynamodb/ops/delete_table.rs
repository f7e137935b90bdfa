//! `DeleteTable`.

use super::{Context, description, errors};
use std::time::Duration;
use tokio::time::Instant;
use torc_cluster::topology::{Command, TableStatus};
use torc_model::ApiError;
use torc_model::ops::DeleteTable;
use torc_model::schema::IndexState;

const DEADLINE: Duration = Duration::from_secs(10);

pub(super) async fn handle(context: &Context<'_>, body: &[u8]) -> Result<Vec<u8>, ApiError> {
    let request = DeleteTable::parse(body)?;
    let table = context.any_table(&request.table).await?;
    let table = table.ok_or_else(|| ApiError::table_not_found(&request.table))?;
    if table.schema.deletion_protection {
        return Err(DeleteTable::protected());
    }
    let status = table.table.as_table().map(|spec| spec.status);
    if let Some(status @ (TableStatus::Creating | TableStatus::Deleting)) = status {
        return Err(errors::in_use(&request.table, status));
    }
    // "While the index is backfilling, you cannot delete its parent table": the developer guide, Managing global secondary indexes.
    let made = |state| matches!(state, IndexState::Creating | IndexState::Backfilling);
    if table.schema.global_indexes.iter().any(|index| made(index.state)) {
        return Err(errors::in_use(&request.table, TableStatus::Updating));
    }
    let command = Command::table_status(table.id(), TableStatus::Deleting);
    let deadline = Instant::now() + DEADLINE;
    context
        .node
        .meta()
        .execute(&command, deadline)
        .await
        .map_err(|e| errors::from_meta(e, &request.table))?;
    Ok(description::deleted(context, &table))
}
