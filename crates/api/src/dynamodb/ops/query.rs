//! `Query`.

use super::page::{Page, PageRequest, Stretch, after};
use super::{Context, location};
use bytes::Bytes;
use torc_model::ApiError;
use torc_model::key::{TokenHasher, partition_prefix, prefix_successor, space};
use torc_model::ops::Query;

pub(super) async fn handle(context: &Context<'_>, body: &[u8]) -> Result<Vec<u8>, ApiError> {
    let request = Query::parse(body)?;
    let table = context.table(&request.table).await?;
    let plan = request.plan(&table.schema)?;
    let token = TokenHasher::new(table.token_key).token(&plan.partition);
    let prefix = partition_prefix(space::TABLE, table.id().0, token, &plan.partition);
    let range = plan.range(&prefix)?;
    let mut start = Bytes::from(range.start);
    // A table's keys begin with its space, so there is always a key above them.
    let mut end = Bytes::from(range.end.or_else(|| prefix_successor(&prefix)).unwrap_or_default());
    if let Some(from) = &plan.start {
        let key = location(&table, &from.attributes)?.key;
        if request.forward {
            start = start.max(after(&key));
        } else {
            end = end.min(key);
        }
    }
    let mut page = Page::new(PageRequest {
        table: &table,
        filter: request.filter.as_ref(),
        projection: request.projection.as_ref(),
        select: plan.select,
        limit: request.limit,
        consistent: request.consistent,
    });
    page.read(context, Stretch { token, start, end, reverse: !request.forward }).await?;
    page.finish(&request.table, request.consumed_capacity)
}
