//! `DeleteTable`. The answer says DELETING, as DynamoDB's does; by then the table is gone from this node's `ListTables`.

use super::{Context, description, errors};
use std::time::Duration;
use tokio::time::Instant;
use torc_cluster::topology::{Command, TableStatus};
use torc_coordinator::node::meta::MetaError;
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
    let deadline = Instant::now() + DEADLINE;
    let meta = context.node.meta();
    let deleting = Command::table_status(table.id(), TableStatus::Deleting);
    meta.execute(&deleting, deadline).await.map_err(|e| errors::from_meta(e, &request.table))?;
    // From here on the table goes, whoever does the rest. Doing it here lets a client that makes a table of the same name next do so at once.
    match meta.execute(&Command::DropTable { table: table.id() }, deadline).await {
        Ok(_) => {}
        // The meta group's leader was faster; this node has to hear of it.
        Err(MetaError::Refused(_)) => {
            let _ = meta.refresh_from_leader(deadline).await;
        }
        Err(error) => tracing::debug!(%error, table = %request.table, "a deleted table is dropped later"),
    }
    Ok(description::deleted(context, &table))
}
