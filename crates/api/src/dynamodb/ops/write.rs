//! What the three single-item writes share.

use super::{Context, capacity, errors, field};
use bytes::Bytes;
use torc_coordinator::tables::{ItemLocation, TableRef};
use torc_model::expr::Condition;
use torc_model::json::write_string;
use torc_model::ops::ReturnConsumedCapacity;
use torc_model::schema::TableSchema;
use torc_model::size::write_units;
use torc_model::{ApiError, ErrorCode, Item, json};
use torc_wire::table::{ItemAction, ItemError, ItemOutcome, ItemWrite};

/// Sends a write to the item's leader; a refusal becomes the client's error.
pub(super) async fn send(
    context: &Context<'_>,
    table: &TableRef,
    location: ItemLocation,
    write: ItemWrite,
) -> Result<ItemOutcome, ApiError> {
    let write = ItemWrite { key: location.key, ..write };
    let outcome = context.node.tables().write(table.id(), location.token, write).await;
    let mut outcome = outcome.map_err(errors::from_route)?;
    match outcome.error.take() {
        None => Ok(outcome),
        Some(error) => Err(refusal(error)),
    }
}

/// A write that asks for nothing back yet.
pub(super) fn command(
    action: ItemAction,
    condition: Option<&Condition>,
    item_on_failure: bool,
    capacity: ReturnConsumedCapacity,
) -> ItemWrite {
    ItemWrite {
        condition: condition.map_or_else(Bytes::new, |c| c.encode().into()),
        action: Some(action),
        return_on_failure: item_on_failure,
        measure_old: capacity != ReturnConsumedCapacity::None,
        ..ItemWrite::default()
    }
}

/// An error that the leader answered with.
pub(super) fn refusal(error: ItemError) -> ApiError {
    let is = |code: ErrorCode| error.code == code.type_name();
    if is(ErrorCode::ConditionalCheckFailed) {
        let item = error.item.and_then(|record| super::decode(&record).ok());
        return ApiError::condition_failed(item);
    }
    let known = [ErrorCode::Validation, ErrorCode::ItemCollectionSizeLimitExceeded];
    let code = known.into_iter().find(|c| is(*c)).unwrap_or(ErrorCode::InternalServerError);
    ApiError::new(code, error.message)
}

/// Appends what a write was charged: by the larger of the item before and after.
pub(super) fn charge(kind: ReturnConsumedCapacity, table: &str, outcome: &ItemOutcome, out: &mut Vec<u8>) {
    let bytes = outcome.old_bytes.max(outcome.new_bytes);
    capacity::write(kind, table, write_units(usize::try_from(bytes).unwrap_or(usize::MAX)), out);
}

/// Appends `ItemCollectionMetrics` if asked for; only tables with local indexes have any.
pub(super) fn metrics(wanted: bool, schema: &TableSchema, item: &Item, out: &mut Vec<u8>) {
    if !wanted || schema.local_indexes.is_empty() {
        return;
    }
    field("ItemCollectionMetrics", out);
    out.push(b'{');
    field("ItemCollectionKey", out);
    out.push(b'{');
    for attribute in &schema.key.partition {
        if let Some(value) = item.get(&attribute.name) {
            if out.last() != Some(&b'{') {
                out.push(b',');
            }
            write_string(&attribute.name, out);
            out.push(b':');
            json::write_value(value, out);
        }
    }
    out.extend_from_slice(b"},\"SizeEstimateRangeGB\":[0.0,1.0]}");
}
