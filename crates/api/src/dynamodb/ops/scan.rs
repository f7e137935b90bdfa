//! `Scan`: partition by partition in token order; a segment is a share of the token space.

use super::Context;
use super::page::{Page, PageRequest, Stretch, after};
use super::source::Source;
use torc_cluster::TokenRange;
use torc_coordinator::tables::range_in;
use torc_model::ApiError;
use torc_model::ops::Scan;

pub(super) async fn handle(context: &Context<'_>, body: &[u8]) -> Result<Vec<u8>, ApiError> {
    let request = Scan::read(body)?;
    let table = context.table(&request.table).await?;
    let request = request.judge()?;
    let plan = request.plan(&table.schema)?;
    let source = Source { table: &table, index: plan.index };
    let mut tokens = segment(request.segment);
    let mut resume = None;
    if let Some(from) = &plan.start {
        let at = source.location(&from.attributes)?;
        if !tokens.contains(at.token) {
            return Err(request.outside_segment());
        }
        tokens.start = at.token;
        resume = Some(after(&at.key));
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
    loop {
        let topology = context.node.topology();
        let Some(partition) = topology.partition(source.id(), tokens.start) else {
            return Err(ApiError::no_such_table());
        };
        let share = TokenRange { start: tokens.start, end: tokens.end.min(partition.range.end) };
        let keys = range_in(source.space(), source.id().0, share);
        let start = resume.take().unwrap_or(keys.start);
        page.read(context, Stretch { token: share.start, start, end: keys.end, reverse: false }).await?;
        match share.end.checked_add(1) {
            Some(next) if !page.is_full() && next <= tokens.end => tokens.start = next,
            _ => break,
        }
    }
    page.finish(&request.table, request.consumed_capacity)
}

/// The tokens of a segment `(segment, total)`; all without one.
fn segment(segment: Option<(u32, u32)>) -> TokenRange {
    let Some((segment, total)) = segment else { return TokenRange::ALL };
    let bound = |index: u32| (u128::from(index) << 64) / u128::from(total.max(1));
    TokenRange {
        start: u64::try_from(bound(segment)).unwrap_or(u64::MAX),
        end: u64::try_from(bound(segment + 1) - 1).unwrap_or(u64::MAX),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_cover_every_token_once() {
        for total in [1, 2, 3, 7, 1000, 1_000_000] {
            let mut next = 0u128;
            for index in [0, 1, total / 2, total - 1] {
                let range = segment(Some((index.min(total - 1), total)));
                assert!(range.start <= range.end);
                next = next.max(u128::from(range.end) + 1);
            }
            assert_eq!(next, 1 << 64);
            assert_eq!(segment(Some((0, total))).start, 0);
            if total > 1 {
                assert_eq!(segment(Some((0, total))).end + 1, segment(Some((1, total))).start);
            }
        }
    }
}
