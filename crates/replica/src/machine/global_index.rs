//! Rows of global secondary indexes: which rows a change of an item adds, changes or removes, and what that
//! costs.
//!
//! The table's machine calls this for costs, the propagator for rows. The result depends only on the change
//! and on the index's definition, which never changes. So every node that computes the rows of a change gets
//! the same bytes.

use super::change_log::{ChangeKind, ChangeRecord, Position};
use bytes::Bytes;
use torc_model::key::{TokenHasher, item_key, space};
use torc_model::schema::{GlobalIndex, IndexRef, TableSchema};
use torc_model::size::{item_size, write_units};
use torc_model::{Item, codec};
use torc_wire::table::IndexRow;

/// A row that a change writes or removes, with the token that says which partition of the index has it.
#[derive(Clone, Debug, PartialEq)]
pub struct RowChange {
    /// Token of the row's partition key.
    pub token: u64,
    /// The row.
    pub row: IndexRow,
}

/// An item's row.
struct Row {
    token: u64,
    key: Vec<u8>,
    item: Item,
}

/// The token and the storage key of an item's row: the index's key, then the table's, because index keys are
/// not unique. `None` if the item has no row in the index.
pub fn row_key(
    schema: &TableSchema,
    index: &GlobalIndex,
    hasher: &TokenHasher,
    item: &Item,
) -> Option<(u64, Vec<u8>)> {
    if !index.admits(item) {
        return None;
    }
    let (own, base) = (index.key.encode(item).ok()?, schema.key.encode(item).ok()?);
    let token = hasher.token(&own.partition);
    let tail = [own.sort, base.partition, base.sort].concat();
    Some((token, item_key(space::INDEX, index.id, token, &own.partition, &tail)))
}

/// What a change makes of the index's rows: nothing, one, or two when a row moves.
///
/// # Errors
/// An image can't be read.
pub fn rows(
    schema: &TableSchema,
    index: &GlobalIndex,
    hasher: &TokenHasher,
    position: Position,
    change: &ChangeRecord,
) -> Result<Vec<RowChange>, String> {
    if matches!(change.kind, ChangeKind::Backfill(id) if id != index.id) {
        return Ok(Vec::new());
    }
    let row = |image: &Option<Bytes>| -> Result<Option<Row>, String> {
        let Some(record) = image else { return Ok(None) };
        let (_, item) = codec::decode_record(record).map_err(|e| format!("unreadable image: {e}"))?;
        Ok(row_key(schema, index, hasher, &item).map(|(token, key)| {
            let item = schema.project(IndexRef::Global(index), &item);
            Row { token, key, item }
        }))
    };
    let (old, new) = (row(&change.old)?, row(&change.new)?);
    let mut out = Vec::new();
    let stays = |old: &Row| new.as_ref().is_some_and(|new| new.key == old.key);
    if let Some(old) = old.as_ref().filter(|old| !stays(old)) {
        let row = IndexRow { key: old.key.clone().into(), record: None, position: position.0 };
        out.push(RowChange { token: old.token, row });
    }
    if let Some(new) = new {
        let same = old.is_some_and(|old| old.key == new.key && old.item == new.item);
        if !same {
            let mut record = Vec::new();
            codec::encode_record(change.timestamp_ms, position.0, &new.item, &mut record);
            let row = IndexRow { key: new.key.into(), record: Some(record.into()), position: position.0 };
            out.push(RowChange { token: new.token, row });
        }
    }
    Ok(out)
}

/// Write units that a change of an item costs in the index.
pub(super) fn units(
    schema: &TableSchema,
    index: &GlobalIndex,
    before: Option<&Item>,
    after: Option<&Item>,
) -> f64 {
    let held = |item: Option<&Item>| {
        item.filter(|item| index.admits(item)).map(|item| schema.project(IndexRef::Global(index), item))
    };
    let cost = |item: &Item| write_units(item_size(item));
    match (held(before), held(after)) {
        (None, None) => 0.0,
        (Some(one), None) | (None, Some(one)) => cost(&one),
        (Some(before), Some(after)) if before == after => 0.0,
        // A row that moves is deleted and written; one that stays is charged by its larger form.
        (Some(before), Some(after)) => {
            let moved = index.key.attributes().any(|a| before.get(&a.name) != after.get(&a.name));
            if moved { cost(&before) + cost(&after) } else { cost(&before).max(cost(&after)) }
        }
    }
}
