//! `BatchGetItem`: independent reads, at most 16 MB of items; what was not read comes back as unprocessed.

use super::{Context, attributes, capacity, damaged, decode, errors, field, location};
use bytes::Bytes;
use futures::future::join_all;
use std::collections::BTreeMap;
use torc_coordinator::tables::route::RouteError;
use torc_coordinator::tables::{ItemLocation, TableRef};
use torc_model::expr::Projection;
use torc_model::json::{write_item, write_string};
use torc_model::ops::{BatchGetItem, BatchGetTable};
use torc_model::size::{ReadKind, read_units};
use torc_model::{ApiError, Item, codec};

/// Most bytes of items in one answer, by DynamoDB's size rules.
const ANSWER_BYTES: u64 = 16 << 20;

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
    let tables = context.node.tables();
    let reads = wanted.iter().map(|w| tables.read(w.table.id(), &w.at, w.part.consistent));
    let answers = join_all(reads).await;

    let mut answer = Answer::default();
    let mut failure: Option<RouteError> = None;
    let mut failed = 0;
    for (wanted, read) in wanted.iter().zip(answers) {
        match read {
            Ok(record) => answer.add(wanted, record)?,
            Err(RouteError::Gone) => return Err(errors::from_route(RouteError::Gone)),
            Err(error) => {
                failed += 1;
                failure = Some(error);
                answer.leave(wanted);
            }
        }
    }
    if let Some(error) = failure.filter(|_| failed == wanted.len()) {
        return Err(errors::from_route(error));
    }
    Ok(answer.finish(&request))
}

#[derive(Default)]
struct Answer<'a> {
    items: BTreeMap<&'a str, Vec<u8>>,
    unprocessed: BTreeMap<&'a str, (&'a BatchGetTable, Vec<&'a Item>)>,
    units: BTreeMap<&'a str, capacity::Charge<'a>>,
    bytes: u64,
}

impl<'a> Answer<'a> {
    fn add(&mut self, wanted: &Wanted<'a>, record: Option<Bytes>) -> Result<(), ApiError> {
        let list = self.items.entry(wanted.name).or_default();
        let mut size = 0;
        if let Some(record) = record {
            let (bytes, stored) = attributes(&record)?;
            if self.bytes + bytes > ANSWER_BYTES {
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
