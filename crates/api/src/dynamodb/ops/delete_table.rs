//! `DeleteTable`. The answer says DELETING, as DynamoDB's does; by then the table is gone from this node's `ListTables`.

use super::{Context, description, errors};
use std::time::Duration;
use tokio::time::Instant;
use torc_cluster::topology::{Command, TableStatus};
use torc_coordinator::node::meta::MetaError;
use torc_coordinator::tables::TableRef;
use torc_model::ApiError;
use torc_model::ops::DeleteTable;
use torc_model::schema::IndexState;

const DEADLINE: Duration = Duration::from_secs(10);

pub(super) async fn handle(context: &Context<'_>, body: &[u8]) -> Result<Vec<u8>, ApiError> {
    let request = DeleteTable::parse(body)?;
    let deadline = Instant::now() + DEADLINE;
    let table = mark_deleting(context, &request.table, deadline).await?;
    let meta = context.node.meta();
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

/// Sets the table's status to DELETING, if it may be deleted.
///
/// The table is judged as the meta group has it: this node may not have heard of a change through another node. If somebody changes
/// it in between, the meta group refuses, and it is judged again.
async fn mark_deleting(context: &Context<'_>, name: &str, deadline: Instant) -> Result<TableRef, ApiError> {
    let meta = context.node.meta();
    loop {
        meta.refresh_from_leader(deadline).await.map_err(errors::from_route)?;
        let found = context.any_table(name).await?;
        let table = found.ok_or_else(|| ApiError::table_not_found(name))?;
        let spec = table.table.as_table().ok_or_else(|| ApiError::table_not_found(name))?;
        if table.schema.deletion_protection {
            return Err(DeleteTable::protected());
        }
        if let status @ (TableStatus::Creating | TableStatus::Deleting) = spec.status {
            return Err(errors::in_use(name, status));
        }
        // "While the index is backfilling, you cannot delete its parent table": the developer guide, Managing global secondary indexes.
        let made = |state| matches!(state, IndexState::Creating | IndexState::Backfilling);
        if table.schema.global_indexes.iter().any(|index| made(index.state)) {
            return Err(errors::in_use(name, TableStatus::Updating));
        }
        let command = Command::UpdateTable {
            table: table.id(),
            version: Some(spec.version),
            schema: None,
            status: Some(TableStatus::Deleting),
            index: None,
        };
        match meta.execute(&command, deadline).await {
            Ok(_) => return Ok(table),
            Err(MetaError::Refused(refusal)) if refusal.code == "Changed" => {}
            Err(error) => return Err(errors::from_meta(error, name)),
        }
    }
}
