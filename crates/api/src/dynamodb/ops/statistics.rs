//! `ItemCount` and sizes of a table and its indexes. DynamoDB's are up to six hours old; these are counted when somebody asks, up to a
//! bound, and beyond it estimated from the share of the token space that was counted: tokens are spread evenly.
//!
//! A count is given again while nothing was written: the replicas on this node have applied what they had applied then. An
//! estimate, and the count of a table that is not whole on this node, is given again for a while.

use super::Context;
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::Instant;
use torc_cluster::TableId;
use torc_coordinator::tables::{RangeRequest, TableRef, range_in};
use torc_model::codec;
use torc_model::key::{decode_item_key, local_index_ordinal, space};

/// Rows counted before the rest is estimated.
const MAX_ROWS: u64 = 5_000;
/// Bytes read before the rest is estimated.
const MAX_BYTES: u64 = 4 << 20;
/// How long a count may take. What does not answer by then is left out.
const LIMIT: Duration = Duration::from_secs(1);
/// How long one partition is waited for.
const PATIENCE: Duration = Duration::from_millis(300);
/// How long an estimate is given again without counting anew.
const KEEP: Duration = Duration::from_secs(60);
/// Tables whose estimates are kept.
const MAX_KEPT: usize = 1_000;

/// Items and their bytes by DynamoDB's size rules.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(in crate::dynamodb) struct Size {
    pub items: u64,
    pub bytes: u64,
}

/// Sizes of a table, of its local indexes by ordinal, and of its global ones by number.
#[derive(Clone, Debug, Default, PartialEq)]
pub(in crate::dynamodb) struct Sizes {
    pub table: Size,
    pub local: BTreeMap<u64, Size>,
    pub global: BTreeMap<u64, Size>,
}

/// The last counts, by table.
#[derive(Debug, Default)]
pub(in crate::dynamodb) struct Kept(parking_lot::Mutex<BTreeMap<TableId, Last>>);

#[derive(Debug)]
struct Last {
    at: Instant,
    sizes: Sizes,
    /// Not all was counted.
    estimated: bool,
    /// What the replicas here had applied before the count, if all partitions have one here.
    applied: Option<Vec<u64>>,
}

impl Last {
    fn still_holds(&self, now: Instant, applied: Option<&Vec<u64>>) -> bool {
        let same = self.applied.is_some() && self.applied.as_ref() == applied;
        same && !self.estimated || self.estimated && now.duration_since(self.at) < KEEP
    }
}

/// What the replicas on this node have applied of a table and its global indexes; `None` if one has no replica here.
fn applied(context: &Context<'_>, table: &TableRef) -> Option<Vec<u64>> {
    let topology = context.node.topology();
    let indexes = table.schema.global_indexes.iter().map(|index| TableId(index.id));
    let partitions = [table.id()].into_iter().chain(indexes).flat_map(|id| topology.partitions(id));
    partitions.map(|partition| context.node.applied_index(partition.group)).collect()
}

/// The sizes of a table. A partition that can't be reached is left out: a description must not fail for that.
pub(super) async fn sizes(context: &Context<'_>, table: &TableRef) -> Sizes {
    let now = Instant::now();
    let applied = applied(context, table);
    if let Some(last) = context.dynamodb.sizes.0.lock().get(&table.id())
        && last.still_holds(now, applied.as_ref())
    {
        return last.sizes.clone();
    }
    let until = now + LIMIT;
    let mut counted = Count::new(until);
    counted.walk(context, table.id(), space::TABLE).await;
    let mut sizes = Sizes { table: counted.table_size(), ..Sizes::default() };
    let mut estimated = counted.is_partial();
    if !table.schema.local_indexes.is_empty() {
        let mut counted = Count::new(until);
        counted.walk(context, table.id(), space::INDEX).await;
        sizes.local = counted.by_kind.keys().map(|kind| (u64::from(*kind), counted.size(*kind))).collect();
        estimated |= counted.is_partial();
    }
    for index in &table.schema.global_indexes {
        let mut counted = Count { one_kind: true, ..Count::new(until) };
        counted.walk(context, TableId(index.id), space::INDEX).await;
        sizes.global.insert(index.id, counted.table_size());
        estimated |= counted.is_partial();
        estimated |= counted.until.is_some();
    }
    let mut kept = context.dynamodb.sizes.0.lock();
    if kept.len() >= MAX_KEPT {
        kept.clear();
    }
    kept.insert(table.id(), Last { at: now, sizes: sizes.clone(), estimated, applied });
    sizes
}

/// A count over the tokens of a table, from the lowest.
struct Count {
    /// When the count ends, wherever it is.
    deadline: Instant,
    /// A partition did not answer.
    left_out: bool,
    rows: u64,
    bytes: u64,
    /// The rows are of one kind, those of a global index.
    one_kind: bool,
    /// By ordinal of the local index; 0 for items, and for rows of one kind.
    by_kind: BTreeMap<u8, Size>,
    /// The token at which the count broke off; `None` if all was counted.
    until: Option<u64>,
}

impl Count {
    fn new(deadline: Instant) -> Self {
        let by_kind = BTreeMap::new();
        Self { deadline, left_out: false, rows: 0, bytes: 0, one_kind: false, by_kind, until: None }
    }

    fn is_partial(&self) -> bool {
        self.left_out || self.until.is_some()
    }

    async fn walk(&mut self, context: &Context<'_>, id: TableId, space: u8) {
        let topology = context.node.topology();
        for partition in topology.partitions(id) {
            let keys = range_in(space, id.0, partition.range);
            let (mut start, end) = (keys.start, keys.end);
            loop {
                if self.rows >= MAX_ROWS || self.bytes >= MAX_BYTES || Instant::now() >= self.deadline {
                    self.until.get_or_insert(partition.range.start);
                    return;
                }
                let range = RangeRequest {
                    token: partition.range.start,
                    start: start.clone(),
                    end: end.clone(),
                    reverse: false,
                    max_rows: 1_000,
                    max_bytes: 1 << 20,
                    strong: false,
                };
                let answer = tokio::time::timeout(PATIENCE, context.tables.range(id, &range)).await;
                let Ok(Ok(rows)) = answer else {
                    self.left_out = true;
                    break;
                };
                for (key, record) in rows.keys.iter().zip(&rows.values) {
                    self.add(space, key, record);
                }
                let Some(last) = rows.keys.last().filter(|_| rows.more) else { break };
                start = super::page::after(last);
                if self.rows >= MAX_ROWS || self.bytes >= MAX_BYTES {
                    self.until = decode_item_key(last).map(|key| key.token);
                }
            }
        }
    }

    fn add(&mut self, space: u8, key: &[u8], record: &[u8]) {
        let Ok((header, _)) = codec::decode_header(record) else { return };
        let local = space == space::INDEX && !self.one_kind;
        let kind = if local { local_index_ordinal(key).unwrap_or(0) } else { 0 };
        let size = self.by_kind.entry(kind).or_default();
        size.items += 1;
        size.bytes += header.item_size;
        self.rows += 1;
        self.bytes += record.len() as u64;
    }

    fn table_size(&self) -> Size {
        self.size(0)
    }

    /// What was counted of a kind, scaled to all tokens.
    fn size(&self, kind: u8) -> Size {
        let counted = self.by_kind.get(&kind).copied().unwrap_or_default();
        let Some(until) = self.until else { return counted };
        let scale = |value: u64| {
            let scaled = (u128::from(value) << 64) / (u128::from(until) + 1);
            u64::try_from(scaled).unwrap_or(u64::MAX).max(value)
        };
        Size { items: scale(counted.items), bytes: scale(counted.bytes) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_of_the_tokens_stands_for_all() {
        let mut count = Count::new(Instant::now());
        count.by_kind.insert(0, Size { items: 100, bytes: 1000 });
        assert_eq!(count.size(0), Size { items: 100, bytes: 1000 });
        count.until = Some(u64::MAX / 4);
        assert_eq!(count.size(0), Size { items: 400, bytes: 4000 });
        assert_eq!(count.size(1), Size::default());
        count.until = Some(u64::MAX);
        assert_eq!(count.size(0).items, 100);
    }
}
