//! `UpdateTable`.

use super::{Context, create_table, description, settings, statistics};
use torc_cluster::topology::{IndexChange, IndexStatus, TableStatus};
use torc_model::ApiError;
use torc_model::ops::{IndexStep, UpdateTable};

pub(super) async fn handle(context: &Context<'_>, body: &[u8]) -> Result<Vec<u8>, ApiError> {
    let request = UpdateTable::parse(body)?;
    let now_ms = context.node.wall_ms();
    let absent = || ApiError::table_not_found(&request.table);
    let table = settings::change_with_index(context, &request.table, absent, |table| {
        let (schema, step) = request.apply(&table.schema, now_ms)?;
        let index = step.map(|step| match step {
            IndexStep::Create(name) => {
                IndexChange::Create { name, partitions: create_table::new_partitions(context), now_ms }
            }
            IndexStep::Delete(name) => IndexChange::Status { name, status: IndexStatus::Deleting },
        });
        Ok((schema, index))
    })
    .await?;
    let sizes = statistics::sizes(context, &table).await;
    // Clients wait for ACTIVE from here. The change of settings is in force already, so the first look finds
    // it.
    Ok(description::answer(context, "TableDescription", &table, TableStatus::Updating, &sizes))
}
