//! One page of a query or scan: rows are read until the limit, 1 MB, or the end.

use super::source::Source;
use super::{Context, attributes, capacity, damaged, decode, errors, field, location};
use bytes::Bytes;
use futures::future::join_all;
use torc_coordinator::request::SMALL_BYTES;
use torc_coordinator::tables::RangeRequest;
use torc_model::expr::{Condition, Projection};
use torc_model::json::write_item;
use torc_model::key::local_index_ordinal;
use torc_model::ops::{ReturnConsumedCapacity, Select};
use torc_model::schema::{IndexRef, LocalIndex, ProjectionType};
use torc_model::size::{ReadKind, read_units};
use torc_model::{ApiError, Item, codec};

/// Most bytes of items that one page reads, by DynamoDB's size rules.
const PAGE_BYTES: u64 = 1 << 20;
/// Most bytes of one request to a replica: it reads them in one go, on a thread that serves point reads too.
const CHUNK_BYTES: u64 = 256 << 10;
/// Most rows of one request to a replica.
const CHUNK_ROWS: u32 = 4096;
/// Most rows whose items are fetched from the table at once.
const FETCH_ROWS: u32 = 32;

/// What a page that is not small takes in memory, bytes: its JSON, twice while the answer is put together, and the rows of one request.
const WORK_BYTES: usize = 4 << 20;

/// Rows that are turned into JSON before others get their turn on this thread.
const ROWS_A_TURN: usize = 64;

/// The state of a page while it is read.
pub(super) struct PageRequest<'a> {
    pub source: Source<'a>,
    pub filter: Option<&'a Condition>,
    pub projection: Option<&'a Projection>,
    pub select: Select,
    pub limit: Option<u64>,
    pub consistent: bool,
    /// Read from the leader, though the client did not ask for it: only there is what was waited for certainly seen.
    pub leader: bool,
}

/// A page in the making.
pub(super) struct Page<'a> {
    request: PageRequest<'a>,
    /// `[item,item…` as JSON.
    items: Vec<u8>,
    count: u64,
    scanned: u64,
    bytes: u64,
    /// Only rows of this ordinal are the index's: in a token's range the rows of all local indexes lie together.
    ordinal: Option<u8>,
    /// Whether items are fetched from the table, because the index does not hold all that is looked at.
    fetches: bool,
    /// Whether the filter looks at what only the table has. A query's may not; a scan's may.
    filters_whole: bool,
    /// Whether the result contains attributes that only the table has. If only the filter needs such
    /// attributes, the result still contains only the index's own attributes.
    shows_whole: bool,
    /// Size of what was fetched, bytes, and what it cost, units.
    fetched: (u64, f64),
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
    /// # Errors
    /// When the index has no ordinal: its schema is damaged.
    pub(super) fn new(request: PageRequest<'a>) -> Result<Self, ApiError> {
        let ordinal = request.source.ordinal()?;
        // Attributes that a global index does not hold can't be read through it; the plan has refused such
        // requests.
        let local = request.source.local();
        let filters_whole = local.is_some_and(|index| filters_whole(&request, index));
        let shows_whole = local.is_some_and(|index| shows_whole(&request, index));
        let fetches = filters_whole || shows_whole;
        Ok(Self {
            request,
            items: vec![b'['],
            count: 0,
            scanned: 0,
            bytes: 0,
            ordinal,
            fetches,
            filters_whole,
            shows_whole,
            fetched: (0, 0.0),
            last: None,
            full: false,
        })
    }

    /// Whether the page ends here although there may be more.
    pub(super) fn is_full(&self) -> bool {
        self.full
    }

    /// Reads a stretch until its end or until the page is full.
    pub(super) async fn read(&mut self, context: &Context<'_>, stretch: Stretch) -> Result<(), ApiError> {
        let Stretch { token, mut start, mut end, reverse } = stretch;
        while !self.full && start < end {
            if self.bytes > SMALL_BYTES as u64 && context.request.work(WORK_BYTES).await.is_err() {
                // What is read so far is a page too; the client asks for the rest later.
                self.full = true;
                return Ok(());
            }
            let left = self.request.limit.map_or(u64::MAX, |limit| limit.saturating_sub(self.scanned));
            let range = RangeRequest {
                token,
                start: start.clone(),
                end: end.clone(),
                reverse,
                max_rows: self.chunk_rows(left),
                max_bytes: (PAGE_BYTES - self.bytes.min(PAGE_BYTES)).clamp(1, CHUNK_BYTES) as u32,
                strong: self.request.consistent || self.request.leader,
            };
            let rows = context.tables.range(self.request.source.id(), &range).await;
            let rows = rows.map_err(errors::from_route)?;
            let own = rows.keys.iter().zip(&rows.values);
            let own = own.filter(|(key, _)| self.ordinal.is_none_or(|o| local_index_ordinal(key) == Some(o)));
            let own: Vec<&Bytes> = own.map(|(_, record)| record).collect();
            let whole = if self.fetches { self.fetch(context, &own).await? } else { Vec::new() };
            for (at, record) in own.into_iter().enumerate() {
                self.add(record, whole.get(at).and_then(Option::as_ref))?;
                if self.full {
                    return Ok(());
                }
                if at % ROWS_A_TURN == ROWS_A_TURN - 1 {
                    // A page is milliseconds of work: point reads on this thread get their turn in between.
                    tokio::task::yield_now().await;
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

    /// Rows of one request. More if rows of other indexes lie between them; few at a time if items are
    /// fetched.
    fn chunk_rows(&self, left: u64) -> u32 {
        let kinds = match self.ordinal {
            None => 1,
            Some(_) => self.request.source.table.schema.local_indexes.len().max(1) as u64,
        };
        let most = if self.fetches { FETCH_ROWS } else { CHUNK_ROWS };
        u32::try_from(left.saturating_mul(kinds)).unwrap_or(u32::MAX).min(most)
    }

    /// The items of the rows, from the table; of all of them, because what a filter leaves out is read and charged too. A row whose item is
    /// gone meanwhile has none.
    async fn fetch(&self, context: &Context<'_>, rows: &[&Bytes]) -> Result<Vec<Option<Bytes>>, ApiError> {
        let table = self.request.source.table;
        let mut wanted = Vec::with_capacity(rows.len());
        for record in rows {
            wanted.push(location(table, &decode(record)?)?);
        }
        let strong = self.request.consistent || self.request.leader;
        let reads = wanted.iter().map(|at| context.tables.read(table.id(), at, strong));
        join_all(reads).await.into_iter().collect::<Result<_, _>>().map_err(errors::from_route)
    }

    fn read_kind(&self) -> ReadKind {
        if self.request.consistent { ReadKind::Strong } else { ReadKind::Eventual }
    }

    /// Adds a row; `whole` is the item in the table, where it was fetched.
    fn add(&mut self, record: &Bytes, whole: Option<&Bytes>) -> Result<(), ApiError> {
        self.scanned += 1;
        self.bytes += attributes(record)?.0;
        self.last = Some(record.clone());
        if let Some(whole) = whole {
            let size = attributes(whole)?.0;
            self.fetched.0 += size;
            self.fetched.1 += read_units(usize::try_from(size).unwrap_or(usize::MAX), self.read_kind());
        }
        let item = whole.unwrap_or(record);
        let passes = match self.request.filter {
            None => true,
            Some(filter) if self.filters_whole => filter.matches(&decode(item)?),
            Some(filter) => filter.matches(&decode(record)?),
        };
        if passes {
            self.count += 1;
            if self.request.select != Select::Count {
                self.write(if self.shows_whole { item } else { record })?;
            }
        }
        self.full = self.bytes + self.fetched.0 >= PAGE_BYTES
            || self.request.limit.is_some_and(|l| self.scanned >= l);
        Ok(())
    }

    /// Appends what is asked for of an item.
    fn write(&mut self, record: &Bytes) -> Result<(), ApiError> {
        self.comma();
        match self.request.projection {
            Some(projection) => write_item(&projection.apply(&decode(record)?), &mut self.items),
            None => codec::item_bytes_to_json(attributes(record)?.1, &mut self.items).map_err(damaged)?,
        }
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
            let Source { table, index } = self.request.source;
            let key: Item = table.schema.continuation_key(&decode(last)?, index);
            field("LastEvaluatedKey", &mut out);
            write_item(&key, &mut out);
        }
        let units = read_units(usize::try_from(self.bytes).unwrap_or(usize::MAX), self.read_kind());
        let charge = match self.request.source.index {
            None => capacity::Charge::table(units),
            Some(IndexRef::Local(index)) => capacity::Charge::local(&index.name, units, self.fetched.1),
            Some(IndexRef::Global(index)) => capacity::Charge::global(&index.name, units),
        };
        capacity::write(capacity, name, &charge, &mut out);
        out.push(b'}');
        Ok(out)
    }
}

/// Whether the filter of a read of an index looks at attributes that only the table has.
fn filters_whole(request: &PageRequest<'_>, index: &LocalIndex) -> bool {
    let schema = &request.source.table.schema;
    let mut paths = request.filter.iter().flat_map(|filter| filter.paths());
    paths.any(|path| !schema.is_projected(IndexRef::Local(index), path.root()))
}

/// Whether a read of an index returns attributes that only the table has.
fn shows_whole(request: &PageRequest<'_>, index: &LocalIndex) -> bool {
    let schema = &request.source.table.schema;
    let held = |name: &str| schema.is_projected(IndexRef::Local(index), name);
    match (request.select, request.projection) {
        (Select::Count, _) => false,
        (_, Some(projection)) => !projection.attributes().all(held),
        (Select::AllAttributes, None) => index.projection.kind != ProjectionType::All,
        (_, None) => false,
    }
}

/// The least key above `key`.
pub(super) fn after(key: &[u8]) -> Bytes {
    let mut next = Vec::with_capacity(key.len() + 1);
    next.extend_from_slice(key);
    next.push(0);
    next.into()
}
