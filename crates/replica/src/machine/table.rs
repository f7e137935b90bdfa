//! The machine of a table partition: items under their storage keys, the rows of their local indexes, and the
//! change log.

use super::change_log::{ChangeKind, ChangeLog, ChangeRecord, Position, change_key};
use super::schema::{SchemaSource, Schemas};
use super::{global_index, local_index};
use crate::store::{EvalCtx, Evaluation, KeyRange, Machine, ProposeError};
use bytes::Bytes;
use prost::Message as _;
use torc_cluster::{Partition, TokenRange};
use torc_engine::WriteBatch;
use torc_model::codec::RecordHeader;
use torc_model::expr::{Condition, Update};
use torc_model::key::{ItemKey, decode_item_key, prefix_successor, space, table_prefix, token_prefix};
use torc_model::schema::TableSchema;
use torc_model::{ApiError, ErrorCode, Item, codec, size};
use torc_wire::table::{
    GlobalIndexCharge, ItemAction, ItemError, ItemOutcome, ItemWrite, PutAction, TableCommand, TableOutcome,
    UpdateAction,
};

/// Told of each batch that was applied on this replica: it may hold change records.
pub type Changed = Box<dyn Fn() + Send>;

/// The machine of one partition. `schema` is asked for the table's record before each evaluation.
pub fn machine(partition: Partition, schema: SchemaSource, changed: Changed) -> Box<dyn Machine> {
    Box::new(TableMachine { partition, schemas: Schemas::new(schema), log: ChangeLog::default(), changed })
}

/// The keys of a partition's items.
pub fn items(partition: &Partition) -> KeyRange {
    range_in(space::TABLE, partition.table.0, partition.range)
}

/// The engine keys of a partition.
pub fn ranges(partition: &Partition) -> Vec<KeyRange> {
    [space::TABLE, space::INDEX, space::STREAM]
        .into_iter()
        .map(|space| range_in(space, partition.table.0, partition.range))
        .collect()
}

/// The keys of a token range of a table in one space.
pub fn range_in(space: u8, table: u64, range: TokenRange) -> KeyRange {
    let start = token_prefix(space, table, range.start).to_vec();
    let end = match range.end.checked_add(1) {
        Some(next) => token_prefix(space, table, next).to_vec(),
        // The table's prefix holds its number, which is never all ones, so it has a successor.
        None => prefix_successor(&table_prefix(space, table)).unwrap_or_else(|| vec![space + 1]),
    };
    KeyRange { start: start.into(), end: end.into() }
}

/// Whether a storage key lies in the partition.
pub fn owns(partition: &Partition, key: &[u8]) -> bool {
    decode_item_key(key).is_some_and(|ItemKey { space, table_id, token, .. }| {
        (space::TABLE..=space::STREAM).contains(&space)
            && table_id == partition.table.0
            && partition.range.contains(token)
    })
}

/// The first key that the partition may hold: something to read when any read will do.
pub fn first_key(partition: &Partition) -> Bytes {
    range_in(space::TABLE, partition.table.0, partition.range).start
}

struct TableMachine {
    partition: Partition,
    schemas: Schemas,
    log: ChangeLog,
    changed: Changed,
}

impl Machine for TableMachine {
    fn evaluate(&mut self, context: &mut EvalCtx<'_>, command: &[u8]) -> Result<Evaluation, ProposeError> {
        let invalid = |e: String| ProposeError::Invalid(e);
        let command =
            TableCommand::decode(command).map_err(|e| invalid(format!("unreadable command: {e}")))?;
        if !command.writes.iter().all(|w| owns(&self.partition, &w.key)) {
            return Err(invalid("a key is not in this partition".into()));
        }
        self.log.refresh(context, &self.partition).map_err(invalid)?;
        let schema = self.schemas.current().map_err(invalid)?;
        let mut batch = WriteBatch::new();
        if let Some(step) = &command.log {
            if !command.writes.is_empty() {
                // State that the step changes must not be lost if a write fails.
                return Err(invalid("a step of the change log comes alone".into()));
            }
            self.log.step(context, &self.partition, schema, step, &mut batch).map_err(invalid)?;
        }
        let mut outcomes = Vec::with_capacity(command.writes.len());
        for write in &command.writes {
            let position = self.log.next_position(context).map_err(invalid)?;
            let logged = self.log.is_on().then_some(&self.partition);
            let place = Place { position, timestamp_ms: command.timestamp_ms, logged };
            let outcome = evaluate(context, schema, write, &place, &mut batch);
            outcomes.push(outcome.map_err(invalid)?);
        }
        let response = Bytes::from(TableOutcome { outcomes }.encode_to_vec());
        Ok(Evaluation { batch: (!batch.is_empty()).then_some(batch), response })
    }

    fn applied(&mut self, _index: u64, _batch: &WriteBatch) {
        // The receivers find out whether there are change records, and whether any consumer wants them.
        (self.changed)();
    }

    fn restored(&mut self, _engine: &torc_engine::Engine) -> Result<(), torc_engine::Error> {
        self.log.forget();
        Ok(())
    }
}

/// Where a write stands.
struct Place<'a> {
    /// Also the version of the item that it leaves.
    position: Position,
    /// The coordinator's wall clock, milliseconds since the Unix epoch.
    timestamp_ms: u64,
    /// The partition, if it logs changes.
    logged: Option<&'a Partition>,
}

/// The item as it is stored now.
struct Stored {
    record: Bytes,
    header: RecordHeader,
}

/// What becomes of the item: the attributes stored in its place, if any are.
enum After {
    /// The record, and the item in it where somebody needs it.
    Stored(Vec<u8>, Option<Item>),
    Gone,
}

fn evaluate(
    context: &mut EvalCtx<'_>,
    schema: Option<&TableSchema>,
    write: &ItemWrite,
    place: &Place<'_>,
    batch: &mut WriteBatch,
) -> Result<ItemOutcome, String> {
    let (version, timestamp_ms) = (place.position.0, place.timestamp_ms);
    let is_update = matches!(write.action, Some(ItemAction::Update(_)));
    // The rows of local indexes follow from the item before and the item after.
    let indexed = schema.filter(|schema| !schema.local_indexes.is_empty());
    let needs_old = is_update
        || !write.condition.is_empty()
        || write.return_old
        || write.measure_old
        || indexed.is_some()
        || place.logged.is_some();
    let old = if needs_old { read(context, &write.key)? } else { None };
    let old_item = match &old {
        Some(stored) if is_update || !write.condition.is_empty() || indexed.is_some() => {
            Some(decode(&stored.record)?)
        }
        _ => None,
    };
    let empty = Item::new();

    if !write.condition.is_empty() {
        let condition =
            Condition::decode(&write.condition).map_err(|e| format!("unreadable condition: {e}"))?;
        if !condition.matches(old_item.as_ref().unwrap_or(&empty)) {
            let item = if write.return_on_failure { old.as_ref().map(|s| s.record.clone()) } else { None };
            return Ok(refused(
                &ApiError::new(ErrorCode::ConditionalCheckFailed, CONDITION_FAILED),
                item,
                &old,
            ));
        }
    }
    let (after, new_bytes) = match &write.action {
        Some(ItemAction::Put(PutAction { item, item_bytes })) => {
            let mut record = Vec::with_capacity(item.len() + 32);
            codec::encode_header(timestamp_ms, version, *item_bytes, &mut record);
            record.extend_from_slice(item);
            let decoded = indexed.map(|_| codec::decode_item(item)).transpose();
            (After::Stored(record, decoded.map_err(|e| format!("unreadable item: {e}"))?), *item_bytes)
        }
        Some(ItemAction::Delete(_)) => (After::Gone, 0),
        Some(ItemAction::Update(action)) => match update(action, schema, old_item.as_ref()) {
            Ok(None) => (After::Gone, 0),
            Ok(Some(item)) => {
                let mut record = Vec::new();
                codec::encode_record(timestamp_ms, version, &item, &mut record);
                let bytes = size::item_size(&item) as u64;
                (After::Stored(record, Some(item)), bytes)
            }
            Err(error) => return Ok(refused(&error, None, &old)),
        },
        None => return Err("a write without an action".into()),
    };
    let mut outcome = ItemOutcome {
        old: if write.return_old { old.as_ref().map(|s| s.record.clone()) } else { None },
        old_bytes: old.as_ref().map_or(0, |s| s.header.item_size),
        new_bytes,
        ..ItemOutcome::default()
    };
    if let Some(schema) = indexed {
        let after_item = match &after {
            After::Stored(_, item) => item.as_ref(),
            After::Gone => None,
        };
        let change = local_index::Change {
            key: &write.key,
            before: old_item.as_ref(),
            after: after_item,
            after_bytes: new_bytes,
            is_update,
            timestamp_ms,
            version,
        };
        let changes = match local_index::changes(schema, &change)? {
            Ok(changes) => changes,
            Err(error) => return Ok(refused(&error, None, &old)),
        };
        for row in changes {
            outcome.local_indexes.extend(row.apply(batch));
        }
        if !write.measure_old {
            outcome.local_indexes.clear();
        }
    }
    if write.measure_old
        && let Some(schema) = schema
    {
        charge_global(schema, old.as_ref(), &after, &mut outcome)?;
    }
    let new = match after {
        After::Stored(record, _) => {
            batch.put(&write.key, &record);
            Some(Bytes::from(record))
        }
        After::Gone => {
            if old.is_some() || !needs_old {
                batch.delete(&write.key);
            }
            None
        }
    };
    if let Some(partition) = place.logged {
        log_change(partition, place, &write.key, old, new.as_ref(), batch)?;
    }
    if write.return_new {
        outcome.new = new;
    }
    Ok(outcome)
}

/// What the write will cost in the global indexes.
fn charge_global(
    schema: &TableSchema,
    old: Option<&Stored>,
    after: &After,
    outcome: &mut ItemOutcome,
) -> Result<(), String> {
    if schema.global_indexes.is_empty() {
        return Ok(());
    }
    let before = old.map(|stored| decode(&stored.record)).transpose()?;
    let after = match after {
        After::Stored(record, _) => Some(decode(record)?),
        After::Gone => None,
    };
    for index in &schema.global_indexes {
        let units = global_index::units(schema, index, before.as_ref(), after.as_ref());
        if units > 0.0 {
            // Units are whole numbers, and a row has at most 400 of them.
            outcome.global_indexes.push(GlobalIndexCharge { index: index.id, units: units as u32 });
        }
    }
    Ok(())
}

/// Logs the change of an item. A write that left all attributes as they were is not logged.
fn log_change(
    partition: &Partition,
    place: &Place<'_>,
    key: &[u8],
    old: Option<Stored>,
    new: Option<&Bytes>,
    batch: &mut WriteBatch,
) -> Result<(), String> {
    let attributes = |record: &Bytes| {
        let header = codec::decode_header(record).map(|(_, attributes)| attributes.to_vec());
        header.map_err(|e| format!("unreadable record: {e}"))
    };
    match (&old, new) {
        (None, None) => return Ok(()),
        (Some(old), Some(new)) if attributes(&old.record)? == attributes(new)? => return Ok(()),
        _ => {}
    }
    let change = ChangeRecord {
        kind: ChangeKind::Write,
        timestamp_ms: place.timestamp_ms,
        key: Bytes::copy_from_slice(key.get(9..).unwrap_or_default()),
        old: old.map(|stored| stored.record),
        new: new.cloned(),
    };
    batch.put(&change_key(partition, place.position), &change.encode());
    Ok(())
}

const CONDITION_FAILED: &str = "The conditional request failed";

fn read(context: &mut EvalCtx<'_>, key: &[u8]) -> Result<Option<Stored>, String> {
    let Some(record) = context.get(key).map_err(|e| e.to_string())? else { return Ok(None) };
    let (header, _) = codec::decode_header(&record).map_err(|e| format!("unreadable record: {e}"))?;
    Ok(Some(Stored { record, header }))
}

fn decode(record: &[u8]) -> Result<Item, String> {
    codec::decode_record(record).map(|(_, item)| item).map_err(|e| format!("unreadable record: {e}"))
}

/// The item after an update; `None` if there was none before and the update creates none.
fn update(
    action: &UpdateAction,
    schema: Option<&TableSchema>,
    old: Option<&Item>,
) -> Result<Option<Item>, ApiError> {
    let unreadable = |what: &str| ApiError::new(ErrorCode::InternalServerError, format!("unreadable {what}"));
    let update = match action.update.is_empty() {
        true => None,
        false => Some(Update::decode(&action.update).map_err(|_| unreadable("update"))?),
    };
    if old.is_none() && update.as_ref().is_some_and(Update::only_takes_away) {
        return Ok(None);
    }
    let base = match old {
        Some(item) => item.clone(),
        None => codec::decode_item(&action.key_attributes).map_err(|_| unreadable("key attributes"))?,
    };
    if old.is_none()
        && let Some(schema) = schema
    {
        // What is short enough for a key of the table may be too long for one of an index. Items that were
        // there before the index may stay.
        schema.check_index_keys(&base)?;
    }
    let Some(update) = update else { return Ok(Some(base)) };
    let applied = update.apply(&base)?;
    size::check_updated_item(&applied.item)?;
    if let Some(schema) = schema {
        schema.check_updated_index_keys(&base, &applied.item, update.is_legacy())?;
    }
    Ok(Some(applied.item))
}

fn refused(error: &ApiError, item: Option<Bytes>, old: &Option<Stored>) -> ItemOutcome {
    ItemOutcome {
        error: Some(ItemError {
            code: error.code.type_name().to_string(),
            message: error.message.clone(),
            item,
        }),
        old_bytes: old.as_ref().map_or(0, |s| s.header.item_size),
        ..ItemOutcome::default()
    }
}

#[cfg(test)]
mod tests;
