//! One file per operation: parse, find the table, hand to the coordinator, write the answer.

mod batch_get_item;
mod batch_write_item;
mod capacity;
mod create_table;
mod delete_item;
mod delete_table;
mod describe_table;
mod description;
mod features;
mod get_item;
mod list_tables;
mod page;
mod put_item;
mod query;
mod scan;
mod settings;
mod source;
pub(super) mod statistics;
mod tagging;
mod time_to_live;
mod update_item;
mod update_table;
mod write;

use super::{DynamoDb, errors};
use bytes::Bytes;
use torc_cluster::topology::TableStatus;
use torc_coordinator::node::Node;
use torc_coordinator::request::RequestContext;
use torc_coordinator::tables::{ItemLocation, TableRef, Tables};
use torc_model::key::{TokenHasher, item_key, space};
use torc_model::schema::EncodedKey;
use torc_model::{ApiError, ErrorCode, Item, codec};

/// What an operation works with.
pub(super) struct Context<'a> {
    pub dynamodb: &'a DynamoDb,
    pub node: &'a Node,
    /// The tables, for as long as the request may take.
    pub tables: Tables,
    /// Its id, deadline and memory.
    pub request: &'a RequestContext,
    /// Where the client reached this node, `host:port`.
    pub host: &'a str,
}

/// Runs the named operation.
pub(super) async fn dispatch(
    dynamodb: &DynamoDb,
    node: &Node,
    request: &RequestContext,
    host: &str,
    operation: &str,
    body: &[u8],
) -> Result<Vec<u8>, ApiError> {
    let tables = node.tables().within(request.deadline);
    let context = Context { dynamodb, node, tables, request, host };
    match operation {
        "PutItem" => put_item::handle(&context, body).await,
        "GetItem" => get_item::handle(&context, body).await,
        "UpdateItem" => update_item::handle(&context, body).await,
        "DeleteItem" => delete_item::handle(&context, body).await,
        "Query" => query::handle(&context, body).await,
        "Scan" => scan::handle(&context, body).await,
        "BatchWriteItem" => batch_write_item::handle(&context, body).await,
        "BatchGetItem" => batch_get_item::handle(&context, body).await,
        "CreateTable" => create_table::handle(&context, body).await,
        "DescribeTable" => describe_table::handle(&context, body).await,
        "ListTables" => list_tables::handle(&context, body).await,
        "DeleteTable" => delete_table::handle(&context, body).await,
        "UpdateTable" => update_table::handle(&context, body).await,
        "TagResource" => tagging::tag(&context, body).await,
        "UntagResource" => tagging::untag(&context, body).await,
        "ListTagsOfResource" => tagging::list(&context, body).await,
        "UpdateTimeToLive" => time_to_live::update(&context, body).await,
        "DescribeTimeToLive" => time_to_live::describe(&context, body).await,
        other => match features::handle(&context, other, body).await {
            Some(answer) => answer,
            None => Err(super::no_such_operation(other)),
        },
    }
}

impl Context<'_> {
    /// A table that serves data.
    async fn table(&self, name: &str) -> Result<TableRef, ApiError> {
        let table = self.any_table(name).await?.ok_or_else(ApiError::no_such_table)?;
        match table.table.as_table().map(|spec| spec.status) {
            Some(TableStatus::Active | TableStatus::Updating) => Ok(table),
            _ => Err(ApiError::no_such_table()),
        }
    }

    /// A table in any state.
    async fn any_table(&self, name: &str) -> Result<Option<TableRef>, ApiError> {
        self.tables.lookup(name).await.map_err(errors::from_route)
    }
}

/// Where the item with the key attributes in `item` lives.
fn location(table: &TableRef, item: &Item) -> Result<ItemLocation, ApiError> {
    Ok(location_of(table, &table.schema.key.encode(item)?))
}

/// Where an encoded key lives.
fn location_of(table: &TableRef, key: &EncodedKey) -> ItemLocation {
    let token = TokenHasher::new(table.token_key).token(&key.partition);
    let key = item_key(space::TABLE, table.id().0, token, &key.partition, &key.sort);
    ItemLocation { token, key: Bytes::from(key) }
}

/// A time in milliseconds since the Unix epoch, as the service writes it: seconds with a fraction.
fn timestamp(at_ms: u64) -> serde_json::Value {
    serde_json::json!(at_ms as f64 / 1000.0)
}

/// The item in a stored record.
fn decode(record: &[u8]) -> Result<Item, ApiError> {
    codec::decode_record(record).map(|(_, item)| item).map_err(damaged)
}

/// The size of a stored item, bytes by DynamoDB's rules, and its attributes as stored.
fn attributes(record: &[u8]) -> Result<(u64, &[u8]), ApiError> {
    let (header, attributes) = codec::decode_header(record).map_err(damaged)?;
    Ok((header.item_size, attributes))
}

fn damaged(error: codec::CodecError) -> ApiError {
    ApiError::new(ErrorCode::InternalServerError, format!("a stored item can't be read: {error}"))
}

/// Appends `"name":{…}` with the attributes of a stored record.
fn write_record(name: &str, record: &[u8], out: &mut Vec<u8>) -> Result<(), ApiError> {
    let (_, attributes) = attributes(record)?;
    field(name, out);
    codec::item_bytes_to_json(attributes, out).map_err(damaged)
}

/// Appends `"name":`, with a comma before it unless it is the first of its object.
fn field(name: &str, out: &mut Vec<u8>) {
    if out.last().is_some_and(|last| *last != b'{') {
        out.push(b',');
    }
    out.push(b'"');
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\":");
}
