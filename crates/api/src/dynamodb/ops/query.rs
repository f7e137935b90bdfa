//! `Query`.

use super::Context;
use super::page::{Page, PageRequest, Stretch, after};
use super::source::Source;
use bytes::Bytes;
use torc_model::ApiError;
use torc_model::key::{TokenHasher, prefix_successor};
use torc_model::ops::Query;

pub(super) async fn handle(context: &Context<'_>, body: &[u8]) -> Result<Vec<u8>, ApiError> {
    let request = Query::read(body)?;
    let table = context.table(&request.table).await?;
    let request = request.judge()?;
    let plan = request.plan(&table.schema)?;
    let source = Source { table: &table, index: plan.index };
    let token = TokenHasher::new(table.token_key).token(&plan.partition);
    let prefix = source.prefix(token, &plan.partition)?;
    let range = plan.range(&prefix)?;
    let mut start = Bytes::from(range.start);
    // A table's keys begin with its space, so there is always a key above them.
    let mut end = Bytes::from(range.end.or_else(|| prefix_successor(&prefix)).unwrap_or_default());
    if let Some(from) = &plan.start {
        let at = source.location(&from.attributes)?;
        if request.forward {
            start = start.max(after(&at.key));
        } else {
            end = end.min(at.key);
        }
    }
    let mut page = Page::new(PageRequest {
        source,
        filter: request.filter.as_ref(),
        projection: request.projection.as_ref(),
        select: plan.select,
        limit: request.limit,
        consistent: request.consistent,
        leader: source.caught_up(context).await,
    })?;
    page.read(context, Stretch { token, start, end, reverse: !request.forward }).await?;
    page.finish(&request.table, request.consumed_capacity)
}
