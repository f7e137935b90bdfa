//! One page of a query or scan: rows are read until the limit, 1 MB, or the end.

use super::{Context, attributes, capacity, decode, damaged, errors, field};
use bytes::Bytes;
use torc_coordinator::tables::{RangeRequest, TableRef};
use torc_model::expr::{Condition, Projection};
use torc_model::json::write_item;
use torc_model::ops::{ReturnConsumedCapacity, Select};
use torc_model::size::{ReadKind, read_units};
use torc_model::{ApiError, Item, codec};

/// Most bytes of items that one page reads, by DynamoDB's size rules.
const PAGE_BYTES: u64 = 1 << 20;
/// Most rows of one request to a replica.
const CHUNK_ROWS: u32 = 4096;

/// What a page is made by.
pub(super) struct PageRequest<'a> {
    pub table: &'a TableRef,
    pub filter: Option<&'a Condition>,
    pub projection: Option<&'a Projection>,
    pub select: Select,
    pub limit: Option<u64>,
    pub consistent: bool,
}

/// A page in the making.
pub(super) struct Page<'a> {
    request: PageRequest<'a>,
    /// `[item,item…` as JSON.
    items: Vec<u8>,
    count: u64,
    scanned: u64,
    bytes: u64,
    last: Option<Bytes>,
    full: bool,
}

/// A stretch of storage keys in one partition.
pub(super) struct Stretch {
    /// A token of the partition.
    pub token: u64,
    /// First key.
    pub start: Bytes,
    /// One past the last.
    pub end: Bytes,
    /// From the end backwards.
    pub reverse: bool,
}

impl<'a> Page<'a> {
    pub(super) fn new(request: PageRequest<'a>) -> Self {
        Self { request, items: vec![b'['], count: 0, scanned: 0, bytes: 0, last: None, full: false }
    }

    /// Whether the page ends here although there may be more.
    pub(super) fn is_full(&self) -> bool {
        self.full
    }

    /// Reads a stretch until its end or until the page is full.
    pub(super) async fn read(&mut self, context: &Context<'_>, stretch: Stretch) -> Result<(), ApiError> {
        let Stretch { token, mut start, mut end, reverse } = stretch;
        while !self.full && start < end {
            let left = self.request.limit.map_or(u64::MAX, |limit| limit.saturating_sub(self.scanned));
            let range = RangeRequest {
                token,
                start: start.clone(),
                end: end.clone(),
                reverse,
                max_rows: u32::try_from(left).unwrap_or(u32::MAX).min(CHUNK_ROWS),
                max_bytes: (PAGE_BYTES - self.bytes.min(PAGE_BYTES)).max(1) as u32,
                strong: self.request.consistent,
            };
            let rows = context.node.tables().range(self.request.table.id(), &range).await;
            let rows = rows.map_err(errors::from_route)?;
            for record in &rows.values {
                self.add(record)?;
                if self.full {
                    return Ok(());
                }
            }
            let Some(last) = rows.keys.last().filter(|_| rows.more) else { return Ok(()) };
            if reverse {
                end = last.clone();
            } else {
                start = after(last);
            }
        }
        Ok(())
    }

    fn add(&mut self, record: &Bytes) -> Result<(), ApiError> {
        let (size, stored) = attributes(record)?;
        self.scanned += 1;
        self.bytes += size;
        self.last = Some(record.clone());
        let wants_item = self.request.select != Select::Count;
        if self.request.filter.is_none() && self.request.projection.is_none() {
            self.count += 1;
            if wants_item {
                self.comma();
                codec::item_bytes_to_json(stored, &mut self.items).map_err(damaged)?;
            }
        } else {
            let item = decode(record)?;
            if self.request.filter.is_none_or(|f| f.matches(&item)) {
                self.count += 1;
                if wants_item {
                    self.comma();
                    match self.request.projection {
                        Some(projection) => write_item(&projection.apply(&item), &mut self.items),
                        None => write_item(&item, &mut self.items),
                    }
                }
            }
        }
        self.full = self.bytes >= PAGE_BYTES || self.request.limit.is_some_and(|l| self.scanned >= l);
        Ok(())
    }

    fn comma(&mut self) {
        if self.items.last() != Some(&b'[') {
            self.items.push(b',');
        }
    }

    /// The answer.
    pub(super) fn finish(
        mut self,
        name: &str,
        capacity: ReturnConsumedCapacity,
    ) -> Result<Vec<u8>, ApiError> {
        let mut out = Vec::with_capacity(self.items.len() + 256);
        out.push(b'{');
        if self.request.select != Select::Count {
            self.items.push(b']');
            field("Items", &mut out);
            out.append(&mut self.items);
        }
        field("Count", &mut out);
        out.extend_from_slice(self.count.to_string().as_bytes());
        field("ScannedCount", &mut out);
        out.extend_from_slice(self.scanned.to_string().as_bytes());
        if let Some(last) = self.last.as_ref().filter(|_| self.full) {
            let key: Item = self.request.table.schema.key.of_item(&decode(last)?);
            field("LastEvaluatedKey", &mut out);
            write_item(&key, &mut out);
        }
        let kind = if self.request.consistent { ReadKind::Strong } else { ReadKind::Eventual };
        let units = read_units(usize::try_from(self.bytes).unwrap_or(usize::MAX), kind);
        capacity::write(capacity, name, units, &mut out);
        out.push(b'}');
        Ok(out)
    }
}

/// The least key above `key`.
pub(super) fn after(key: &[u8]) -> Bytes {
    let mut next = Vec::with_capacity(key.len() + 1);
    next.extend_from_slice(key);
    next.push(0);
    next.into()
}
