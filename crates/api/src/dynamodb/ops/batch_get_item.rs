//! `BatchGetItem`: independent reads, at most 16 MB of items. Keys that were not read are returned as
//! unprocessed.

use super::{Context, attributes, capacity, damaged, decode, errors, field, location};
use bytes::Bytes;
use futures::future::join_all;
use std::collections::{BTreeMap, BTreeSet};
use torc_cluster::GroupId;
use torc_coordinator::request::Exhausted;
use torc_coordinator::tables::route::RouteError;
use torc_coordinator::tables::{ItemLocation, TableRef};
use torc_model::expr::Projection;
use torc_model::json::{write_item, write_string};
use torc_model::ops::{BatchGetItem, BatchGetTable};
use torc_model::size::{ReadKind, read_units};
use torc_model::{ApiError, Item, codec};

/// Most bytes of items in one answer, by DynamoDB's size rules.
const ANSWER_BYTES: u64 = 16 << 20;

/// Keys that are read at once before the size of any item is known.
const FIRST_READS: usize = 8;
/// Items that are read at once once it is, bytes.
const AHEAD_BYTES: usize = 4 << 20;
/// An answer up to here takes no share of the memory for work.
const UNCOUNTED_BYTES: usize = 256 << 10;

struct Wanted<'a> {
    name: &'a str,
    part: &'a BatchGetTable,
    key: &'a Item,
    table: TableRef,
    projection: Option<&'a Projection>,
    at: ItemLocation,
}

pub(super) async fn handle(context: &Context<'_>, body: &[u8]) -> Result<Vec<u8>, ApiError> {
    let request = BatchGetItem::parse(body)?;
    let mut parts = Vec::with_capacity(request.tables.len());
    for (name, part) in &request.tables {
        let table = context.table(name).await?;
        let projection = part.projection()?;
        part.check_schema(projection.as_ref(), &table.schema)?;
        parts.push((name, part, table, projection));
    }
    let mut wanted = Vec::new();
    for (name, part, table, projection) in &parts {
        for key in &part.keys {
            let at = location(table, key)?;
            wanted.push(Wanted {
                name,
                part,
                key,
                table: table.clone(),
                projection: projection.as_ref(),
                at,
            });
        }
    }
    let mut answer = Answer::default();
    let mut reads = Reads::default();
    let mut left = wanted.as_slice();
    while !left.is_empty() && !answer.full {
        let count = reads.at_once(left.len());
        if reads.make_room(context, &answer, count, left.len()).await.is_err() {
            if answer.bytes == 0 && left.len() == wanted.len() {
                return Err(errors::exhausted(Exhausted));
            }
            // The client asks for the rest later.
            break;
        }
        let (wave, rest) = left.split_at(count);
        reads.wave(context, wave, &mut answer).await?;
        left = rest;
    }
    left.iter().for_each(|wanted| answer.leave(wanted));
    if let Some(error) = reads.failure.filter(|_| reads.failed == wanted.len()) {
        return Err(errors::from_route(error));
    }
    Ok(answer.finish(&request))
}

/// The reads of one batch: some keys at a time, so that what is under way has a bound.
#[derive(Default)]
struct Reads {
    /// Bytes of the largest item so far; 0 as long as none was found.
    largest: usize,
    /// Waves in which none was found.
    empty: u32,
    failure: Option<RouteError>,
    failed: usize,
    /// Partitions that did not answer: their other keys are not tried, each would take as long.
    away: BTreeSet<GroupId>,
}

impl Reads {
    /// How many of the keys that are left are read at once.
    fn at_once(&self, left: usize) -> usize {
        let count = match self.largest {
            0 => FIRST_READS << self.empty.min(8),
            largest => (AHEAD_BYTES / largest).max(1),
        };
        count.min(left)
    }

    /// Takes memory for the next `count` reads and for the answer, when they are no longer small. The first time for all that is left, if it
    /// is like what was seen.
    async fn make_room(
        &self,
        context: &Context<'_>,
        answer: &Answer<'_>,
        count: usize,
        left: usize,
    ) -> Result<(), Exhausted> {
        let bytes = |keys: usize| (answer.bytes as usize + keys * self.largest).min(ANSWER_BYTES as usize);
        let ahead = (count * self.largest).min(AHEAD_BYTES);
        if bytes(left) <= UNCOUNTED_BYTES {
            return Ok(());
        }
        // The lists of items, and the answer that they are copied into.
        let all = 2 * bytes(left) + ahead;
        let next = 2 * bytes(count) + ahead;
        let request = context.request;
        if request.work_bytes() == 0 { request.work(all).await } else { request.work(next).await }
    }

    /// Reads some keys and adds their items to the answer.
    async fn wave<'a>(
        &mut self,
        context: &Context<'_>,
        wave: &'a [Wanted<'a>],
        answer: &mut Answer<'a>,
    ) -> Result<(), ApiError> {
        let topology = context.node.topology();
        let group = |w: &Wanted<'_>| topology.partition(w.table.id(), w.at.token).map(|p| p.group);
        let is_away = |w: &&Wanted<'_>| group(w).is_some_and(|group| self.away.contains(&group));
        let (away, asked): (Vec<_>, Vec<_>) = wave.iter().partition(is_away);
        self.failed += away.len();
        away.into_iter().for_each(|wanted| answer.leave(wanted));
        let reads = asked.iter().map(|w| context.tables.read(w.table.id(), &w.at, w.part.consistent));
        for (wanted, read) in asked.iter().zip(join_all(reads).await) {
            match read {
                Ok(record) => {
                    self.largest = self.largest.max(record.as_ref().map_or(0, Bytes::len));
                    answer.add(wanted, record)?;
                }
                Err(RouteError::Gone) => return Err(errors::from_route(RouteError::Gone)),
                Err(error) => {
                    self.away.extend(group(wanted));
                    self.failed += 1;
                    self.failure = Some(error);
                    answer.leave(wanted);
                }
            }
        }
        self.empty += u32::from(self.largest == 0);
        Ok(())
    }
}

#[derive(Default)]
struct Answer<'a> {
    items: BTreeMap<&'a str, Vec<u8>>,
    unprocessed: BTreeMap<&'a str, (&'a BatchGetTable, Vec<&'a Item>)>,
    units: BTreeMap<&'a str, capacity::Charge<'a>>,
    bytes: u64,
    /// An item did not fit any more: the rest is not read.
    full: bool,
}

impl<'a> Answer<'a> {
    fn add(&mut self, wanted: &Wanted<'a>, record: Option<Bytes>) -> Result<(), ApiError> {
        let list = self.items.entry(wanted.name).or_default();
        let mut size = 0;
        if let Some(record) = record {
            let (bytes, stored) = attributes(&record)?;
            if self.bytes + bytes > ANSWER_BYTES {
                self.full = true;
                self.leave(wanted);
                return Ok(());
            }
            size = bytes;
            self.bytes += bytes;
            if !list.is_empty() {
                list.push(b',');
            }
            match wanted.projection {
                None => codec::item_bytes_to_json(stored, list).map_err(damaged)?,
                Some(projection) => write_item(&projection.apply(&decode(&record)?), list),
            }
        }
        let kind = if wanted.part.consistent { ReadKind::Strong } else { ReadKind::Eventual };
        let units = read_units(usize::try_from(size).unwrap_or(usize::MAX), kind);
        self.units.entry(wanted.name).or_default().add(capacity::Charge::table(units));
        Ok(())
    }

    fn leave(&mut self, wanted: &Wanted<'a>) {
        let entry = self.unprocessed.entry(&wanted.part.requested_as);
        entry.or_insert((wanted.part, Vec::new())).1.push(wanted.key);
    }

    fn finish(self, request: &BatchGetItem) -> Vec<u8> {
        let mut out = vec![b'{'];
        field("Responses", &mut out);
        out.push(b'{');
        for (index, (name, items)) in self.items.iter().enumerate() {
            if index > 0 {
                out.push(b',');
            }
            write_string(name, &mut out);
            out.extend_from_slice(b":[");
            out.extend_from_slice(items);
            out.push(b']');
        }
        out.push(b'}');
        field("UnprocessedKeys", &mut out);
        out.push(b'{');
        for (index, (name, (part, keys))) in self.unprocessed.iter().enumerate() {
            if index > 0 {
                out.push(b',');
            }
            write_string(name, &mut out);
            out.push(b':');
            write_left(part, keys, &mut out);
        }
        out.push(b'}');
        capacity::write_list(request.consumed_capacity, self.units.into_iter(), &mut out);
        out.push(b'}');
        out
    }
}

/// A table's part of a request, as it came, with the keys that are left.
fn write_left(part: &BatchGetTable, keys: &[&Item], out: &mut Vec<u8>) {
    out.push(b'{');
    field("Keys", out);
    out.push(b'[');
    for (index, key) in keys.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        write_item(key, out);
    }
    out.push(b']');
    if let Some(names) = &part.echo.attributes_to_get {
        field("AttributesToGet", out);
        out.push(b'[');
        for (index, name) in names.iter().enumerate() {
            if index > 0 {
                out.push(b',');
            }
            write_string(name, out);
        }
        out.push(b']');
    }
    if let Some(expression) = &part.echo.projection_expression {
        field("ProjectionExpression", out);
        write_string(expression, out);
    }
    if let Some(names) = &part.echo.names {
        field("ExpressionAttributeNames", out);
        out.push(b'{');
        for (index, (placeholder, name)) in names.iter().enumerate() {
            if index > 0 {
                out.push(b',');
            }
            write_string(placeholder, out);
            out.push(b':');
            write_string(name, out);
        }
        out.push(b'}');
    }
    if let Some(consistent) = part.echo.consistent_read {
        field("ConsistentRead", out);
        out.extend_from_slice(if consistent { b"true" } else { b"false" });
    }
    out.push(b'}');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_at_once_has_a_bound() {
        let reads = |largest, empty| Reads { largest, empty, ..Reads::default() };
        assert_eq!(reads(0, 0).at_once(100), FIRST_READS);
        assert_eq!(reads(0, 3).at_once(100), 64);
        assert_eq!(reads(0, 100).at_once(100), 100);
        assert_eq!(reads(1_000, 0).at_once(92), 92);
        assert_eq!(reads(400 << 10, 0).at_once(92), 10);
        assert_eq!(reads(8 << 20, 0).at_once(92), 1);
    }
}
