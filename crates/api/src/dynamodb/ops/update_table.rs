//! `UpdateTable`.

use super::{Context, description, settings, statistics};
use torc_cluster::topology::TableStatus;
use torc_model::ApiError;
use torc_model::ops::UpdateTable;

pub(super) async fn handle(context: &Context<'_>, body: &[u8]) -> Result<Vec<u8>, ApiError> {
    let request = UpdateTable::parse(body)?;
    let now_ms = context.node.wall_ms();
    let absent = || ApiError::table_not_found(&request.table);
    let table = settings::change(context, &request.table, absent, |old| request.apply(old, now_ms)).await?;
    let sizes = statistics::sizes(context, &table).await;
    // Clients wait for ACTIVE from here. The change is in force already, so the first look finds it.
    Ok(description::answer(context, "TableDescription", &table, TableStatus::Updating, &sizes))
}
