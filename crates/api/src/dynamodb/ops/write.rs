//! The parts that the three single-item writes share.

use super::capacity::Charge;
use super::{Context, capacity, errors, field};
use bytes::Bytes;
use torc_coordinator::tables::{ItemLocation, TableRef};
use torc_model::expr::Condition;
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
    let outcome = context.tables.write(table.id(), location.token, write).await;
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

/// What a write was charged: by the larger of the item before and after, and by the rows of indexes that it changed.
pub(super) fn charged<'s>(schema: &'s TableSchema, outcome: &ItemOutcome) -> Charge<'s> {
    let bytes = outcome.old_bytes.max(outcome.new_bytes);
    let mut charge = Charge::table(write_units(usize::try_from(bytes).unwrap_or(usize::MAX)));
    for one in &outcome.local_indexes {
        let index = schema.local_indexes.iter().find(|index| index.id == u64::from(one.ordinal));
        if let Some(index) = index {
            *charge.local.entry(&index.name).or_default() += f64::from(one.units);
        }
    }
    for one in &outcome.global_indexes {
        let index = schema.global_indexes.iter().find(|index| index.id == one.index);
        if let Some(index) = index {
            *charge.global.entry(&index.name).or_default() += f64::from(one.units);
        }
    }
    charge
}

/// Appends what a write was charged.
pub(super) fn charge(
    kind: ReturnConsumedCapacity,
    schema: &TableSchema,
    outcome: &ItemOutcome,
    out: &mut Vec<u8>,
) {
    capacity::write(kind, &schema.name, &charged(schema, outcome), out);
}

/// Appends `ItemCollectionMetrics` if asked for; only tables with local indexes have any.
pub(super) fn metrics(wanted: bool, schema: &TableSchema, item: &Item, out: &mut Vec<u8>) {
    if wanted && !schema.local_indexes.is_empty() {
        field("ItemCollectionMetrics", out);
        collection(schema, item, out);
    }
}

/// Appends one `ItemCollectionMetrics`: the collection of an item. Its size is reported as below a gigabyte,
/// because collections are not measured.
pub(super) fn collection(schema: &TableSchema, item: &Item, out: &mut Vec<u8>) {
    out.push(b'{');
    field("ItemCollectionKey", out);
    let key: Item = schema
        .key
        .partition
        .iter()
        .filter_map(|attribute| item.get_key_value(&attribute.name))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    json::write_item(&key, out);
    out.extend_from_slice(b",\"SizeEstimateRangeGB\":[0.0,1.0]}");
}
