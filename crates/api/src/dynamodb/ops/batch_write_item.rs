//! `BatchWriteItem`: independent writes. Writes that certainly had no effect are returned as unprocessed.

use super::{Context, capacity, errors, field, location, write};
use bytes::Bytes;
use std::collections::BTreeMap;
use torc_coordinator::tables::route::RouteError;
use torc_model::json::{write_item, write_string};
use torc_model::ops::{BatchWriteItem, WriteRequest};
use torc_model::schema::TableSchema;
use torc_model::size::item_size;
use torc_model::{ApiError, Item, codec};
use torc_wire::table::{DeleteAction, ItemAction, ItemWrite, PutAction};

pub(super) async fn handle(context: &Context<'_>, body: &[u8]) -> Result<Vec<u8>, ApiError> {
    let request = BatchWriteItem::parse(body)?;
    let mut writes = Vec::new();
    let mut origins = Vec::new();
    let mut tables = Vec::new();
    for (name, batch) in &request.tables {
        let table = context.table(name).await?;
        batch.check_schema(&table.schema)?;
        tables.push((name, batch, table));
    }
    for (name, batch, table) in &tables {
        for one in &batch.writes {
            let (action, item) = match one {
                WriteRequest::Put(item) => (put(item), item),
                WriteRequest::Delete(key) => (ItemAction::Delete(DeleteAction {}), key),
            };
            let at = location(table, item)?;
            let command = write::command(action, None, false, request.consumed_capacity);
            writes.push((table.id(), at.token, ItemWrite { key: at.key, ..command }));
            origins.push((name.as_str(), &*table.schema, batch.requested_as.as_str(), one));
        }
    }
    let outcomes = context.tables.write_many(writes).await;
    let mut unprocessed: BTreeMap<&str, Vec<&WriteRequest>> = BTreeMap::new();
    let mut units: BTreeMap<&str, capacity::Charge<'_>> = BTreeMap::new();
    let mut collections = Collections::new();
    let mut failure: Option<RouteError> = None;
    let total = outcomes.len();
    let mut failed = 0;
    for ((name, schema, requested_as, one), outcome) in origins.into_iter().zip(outcomes) {
        match outcome {
            Ok(outcome) => {
                if let Some(error) = outcome.error {
                    return Err(write::refusal(error));
                }
                units.entry(name).or_default().add(write::charged(schema, &outcome));
                let (WriteRequest::Put(item) | WriteRequest::Delete(item)) = one;
                note_collection(&mut collections, name, schema, item);
            }
            Err(RouteError::Gone) => return Err(errors::from_route(RouteError::Gone)),
            // "Unprocessed" means "not done", and clients write such entries again by themselves. An entry that may have been done must
            // not come back as one: another client may have written in between.
            Err(error @ RouteError::Ambiguous(_)) => return Err(errors::from_route(error)),
            Err(error) => {
                failed += 1;
                failure = Some(error);
                unprocessed.entry(requested_as).or_default().push(one);
            }
        }
    }
    if let Some(error) = failure.filter(|_| failed == total) {
        return Err(errors::from_route(error));
    }
    let mut out = vec![b'{'];
    field("UnprocessedItems", &mut out);
    write_unprocessed(&unprocessed, &mut out);
    if request.collection_metrics {
        write_collections(&collections, &mut out);
    }
    capacity::write_list(request.consumed_capacity, units.into_iter(), &mut out);
    out.push(b'}');
    Ok(out)
}

type Collections<'a> = BTreeMap<&'a str, Vec<(&'a TableSchema, &'a Item)>>;

/// Notes the item collection that a write changed, once each.
fn note_collection<'a>(
    collections: &mut Collections<'a>,
    name: &'a str,
    schema: &'a TableSchema,
    item: &'a Item,
) {
    if schema.local_indexes.is_empty() {
        return;
    }
    let list = collections.entry(name).or_default();
    let same = |other: &Item| schema.key.partition.iter().all(|a| other.get(&a.name) == item.get(&a.name));
    if !list.iter().any(|(_, other)| same(other)) {
        list.push((schema, item));
    }
}

fn write_collections(collections: &Collections<'_>, out: &mut Vec<u8>) {
    if collections.is_empty() {
        return;
    }
    field("ItemCollectionMetrics", out);
    out.push(b'{');
    for (index, (name, list)) in collections.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        write_string(name, out);
        out.extend_from_slice(b":[");
        for (index, (schema, item)) in list.iter().enumerate() {
            if index > 0 {
                out.push(b',');
            }
            write::collection(schema, item, out);
        }
        out.push(b']');
    }
    out.push(b'}');
}

fn put(item: &torc_model::Item) -> ItemAction {
    let mut bytes = Vec::new();
    codec::encode_item(item, &mut bytes);
    ItemAction::Put(PutAction { item: Bytes::from(bytes), item_bytes: item_size(item) as u64 })
}

fn write_unprocessed(unprocessed: &BTreeMap<&str, Vec<&WriteRequest>>, out: &mut Vec<u8>) {
    out.push(b'{');
    for (index, (name, writes)) in unprocessed.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        write_string(name, out);
        out.extend_from_slice(b":[");
        for (index, one) in writes.iter().enumerate() {
            if index > 0 {
                out.push(b',');
            }
            let (opening, item): (&[u8], _) = match one {
                WriteRequest::Put(item) => (b"{\"PutRequest\":{\"Item\":", item),
                WriteRequest::Delete(key) => (b"{\"DeleteRequest\":{\"Key\":", key),
            };
            out.extend_from_slice(opening);
            write_item(item, out);
            out.extend_from_slice(b"}}");
        }
        out.push(b']');
    }
    out.push(b'}');
}
