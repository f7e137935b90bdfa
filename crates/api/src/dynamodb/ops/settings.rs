//! Changes of a table's settings: `UpdateTable`, tags, time to live. Each is one change of the schema in the
//! topology.

use super::{Context, errors};
use std::time::Duration;
use tokio::time::Instant;
use torc_cluster::topology::{Command, IndexChange, TableStatus};
use torc_coordinator::node::meta::MetaError;
use torc_coordinator::tables::TableRef;
use torc_model::schema::TableSchema;
use torc_model::{ApiError, ErrorCode};

/// How long the meta group may take.
const DEADLINE: Duration = Duration::from_secs(10);

/// Changes the schema of a table by `change`, and returns the table as it is afterwards. `absent` is the
/// error when there is no table.
///
/// The schema is read and written back. If it was changed by somebody else in between the cluster refuses,
/// and `change` is made anew of what it is now.
pub(super) async fn change(
    context: &Context<'_>,
    name: &str,
    absent: impl Fn() -> ApiError,
    change: impl Fn(&TableSchema) -> Result<TableSchema, ApiError>,
) -> Result<TableRef, ApiError> {
    change_with_index(context, name, absent, |table| Ok((change(&table.schema)?, None))).await
}

/// The same, with what becomes of an index.
pub(super) async fn change_with_index(
    context: &Context<'_>,
    name: &str,
    absent: impl Fn() -> ApiError,
    change: impl Fn(&TableRef) -> Result<(TableSchema, Option<IndexChange>), ApiError>,
) -> Result<TableRef, ApiError> {
    // Changes through one node wait for each other; it saves them the trouble of trying again.
    let _one_at_a_time = context.dynamodb.settings.lock().await;
    let deadline = Instant::now() + DEADLINE;
    loop {
        context.node.meta().refresh_from_leader(deadline).await.map_err(errors::from_route)?;
        let table = context.any_table(name).await?.ok_or_else(&absent)?;
        let spec = table.table.as_table().ok_or_else(&absent)?;
        match spec.status {
            TableStatus::Active | TableStatus::Updating => {}
            status @ (TableStatus::Creating | TableStatus::Deleting) => {
                return Err(errors::in_use(name, status));
            }
        }
        let (schema, index) = change(&table)?;
        if schema == *table.schema && index.is_none() {
            return Ok(table);
        }
        let command = Command::UpdateTable {
            table: table.id(),
            version: Some(spec.version),
            schema: Some(schema.to_json()),
            status: None,
            index,
        };
        match context.node.meta().execute(&command, deadline).await {
            Err(MetaError::Refused(refusal)) if refusal.code == "Changed" => {}
            Err(error) => return Err(errors::from_meta(error, name)),
            Ok(_) => break,
        }
    }
    context.any_table(name).await?.ok_or_else(|| {
        ApiError::new(ErrorCode::InternalServerError, "the table was deleted while it was changed")
    })
}
