//! `DescribeTable`.

use super::{Context, description, statistics};
use torc_model::ApiError;
use torc_model::ops::DescribeTable;

pub(super) async fn handle(context: &Context<'_>, body: &[u8]) -> Result<Vec<u8>, ApiError> {
    let request = DescribeTable::parse(body)?;
    let table = context.any_table(&request.table).await?;
    let table = table.ok_or_else(|| ApiError::table_not_found(&request.table))?;
    let status = description::status(&table);
    let sizes = statistics::sizes(context, &table).await;
    Ok(description::answer(context, "Table", &table, status, &sizes))
}
