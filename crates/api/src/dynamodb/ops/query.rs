//! `Query`.

use super::page::{Page, PageRequest, Stretch, after};
use super::{Context, local, location, row_location, row_prefix};
use bytes::Bytes;
use torc_model::ApiError;
use torc_model::key::{TokenHasher, partition_prefix, prefix_successor, space};
use torc_model::ops::Query;

pub(super) async fn handle(context: &Context<'_>, body: &[u8]) -> Result<Vec<u8>, ApiError> {
    let request = Query::parse(body)?;
    let table = context.table(&request.table).await?;
    let plan = request.plan(&table.schema)?;
    let index = local(plan.index)?;
    let token = TokenHasher::new(table.token_key).token(&plan.partition);
    let prefix = match index {
        None => partition_prefix(space::TABLE, table.id().0, token, &plan.partition),
        Some(index) => {
            let rows = row_prefix(index, &plan.partition)?;
            partition_prefix(space::INDEX, table.id().0, token, &rows)
        }
    };
    let range = plan.range(&prefix)?;
    let mut start = Bytes::from(range.start);
    // A table's keys begin with its space, so there is always a key above them.
    let mut end = Bytes::from(range.end.or_else(|| prefix_successor(&prefix)).unwrap_or_default());
    if let Some(from) = &plan.start {
        let at = match index {
            None => location(&table, &from.attributes)?,
            Some(index) => row_location(&table, index, &from.attributes)?,
        };
        if request.forward {
            start = start.max(after(&at.key));
        } else {
            end = end.min(at.key);
        }
    }
    let mut page = Page::new(PageRequest {
        table: &table,
        index,
        filter: request.filter.as_ref(),
        projection: request.projection.as_ref(),
        select: plan.select,
        limit: request.limit,
        consistent: request.consistent,
    })?;
    page.read(context, Stretch { token, start, end, reverse: !request.forward }).await?;
    page.finish(&request.table, request.consumed_capacity)
}
