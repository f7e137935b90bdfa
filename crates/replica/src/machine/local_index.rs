//! Rows of local secondary indexes: which rows a write of an item adds and removes. They are in the item's
//! own batch, so a reader of an index sees a write exactly when a reader of the table does. Layout:
//! docs/formats/key.md.

use torc_engine::WriteBatch;
use torc_model::key::{
    ItemKey, decode_item_key, element_length, encode_element, item_key, local_index_prefix, space,
};
use torc_model::limits::MAX_ITEM_BYTES;
use torc_model::schema::{IndexRef, LocalIndex, TableSchema};
use torc_model::size::{item_size, write_units};
use torc_model::{ApiError, Item, codec};
use torc_wire::table::IndexCharge;

/// What a row counts for besides its attributes where writes are charged, bytes.
const ROW_OVERHEAD_BYTES: usize = 100;

/// A write of one item.
pub(super) struct Change<'a> {
    /// The item's storage key.
    pub key: &'a [u8],
    pub before: Option<&'a Item>,
    pub after: Option<&'a Item>,
    /// Size of the item after, bytes by DynamoDB's rules.
    pub after_bytes: u64,
    /// Whether it is an update, which is refused in other words.
    pub is_update: bool,
    /// For the rows' record headers: those of the item.
    pub timestamp_ms: u64,
    pub version: u64,
}

/// What changes in one index.
pub(super) struct RowChange {
    ordinal: u8,
    delete: Option<Vec<u8>>,
    put: Option<(Vec<u8>, Vec<u8>)>,
    units: f64,
}

impl RowChange {
    /// Writes it, and says what it costs.
    pub fn apply(self, batch: &mut WriteBatch) -> Option<IndexCharge> {
        if let Some(key) = &self.delete {
            batch.delete(key);
        }
        if let Some((key, record)) = &self.put {
            batch.put(key, record);
        }
        // Write units are whole numbers, and a row has at most 400 of them.
        (self.units > 0.0).then_some(IndexCharge { ordinal: self.ordinal.into(), units: self.units as u32 })
    }
}

/// An item's row in an index.
struct Row {
    key: Vec<u8>,
    item: Item,
    bytes: usize,
}

/// What the write changes in each index of the table. The inner error is the client's: item and rows together
/// are too large.
///
/// # Errors
/// When the storage key or the schema is damaged; nothing may be written then.
pub(super) fn changes(
    schema: &TableSchema,
    change: &Change<'_>,
) -> Result<Result<Vec<RowChange>, ApiError>, String> {
    let mut out = Vec::with_capacity(schema.local_indexes.len());
    let mut total = change.after_bytes;
    for index in &schema.local_indexes {
        let row = |item: Option<&Item>| item.map_or(Ok(None), |item| row(schema, index, change.key, item));
        let (before, after) = (row(change.before)?, row(change.after)?);
        total += after.as_ref().map_or(0, |row| row.bytes as u64);
        out.extend(difference(index, before, after, change));
    }
    if change.after.is_some() && total > MAX_ITEM_BYTES as u64 {
        let updated = if change.is_update { " to update" } else { "" };
        return Ok(Err(ApiError::validation(format!(
            "Item size{updated} has exceeded the maximum allowed size"
        ))));
    }
    Ok(Ok(out))
}

/// The row of an item; `None` if the item lacks the index's sort key, or has one that was of another type
/// before the checks of keys.
fn row(schema: &TableSchema, index: &LocalIndex, key: &[u8], item: &Item) -> Result<Option<Row>, String> {
    let malformed = || "an item's storage key is malformed".to_string();
    let ordinal = u8::try_from(index.id).map_err(|_| format!("local index {} has no ordinal", index.name))?;
    let sort = index.key.sort.first().ok_or_else(|| format!("local index {} has no sort key", index.name))?;
    let Some(value) = item.get(&sort.name).filter(|value| sort.kind.admits(value)) else { return Ok(None) };
    let ItemKey { table_id, token, primary, .. } = decode_item_key(key).ok_or_else(malformed)?;
    let length = element_length(primary).map_err(|_| malformed())?;
    let (pk, sk) = primary.split_at_checked(length).ok_or_else(malformed)?;
    let mut tail = Vec::with_capacity(32 + sk.len());
    encode_element(value, &mut tail).map_err(|error| error.to_string())?;
    tail.extend_from_slice(sk);
    let key = item_key(space::INDEX, table_id, token, &local_index_prefix(ordinal, pk), &tail);
    let item = schema.project(IndexRef::Local(index), item);
    let bytes = item_size(&item);
    Ok(Some(Row { key, item, bytes }))
}

fn difference(
    index: &LocalIndex,
    before: Option<Row>,
    after: Option<Row>,
    change: &Change<'_>,
) -> Option<RowChange> {
    let moved = match (&before, &after) {
        (None, None) => return None,
        (Some(before), Some(after)) if before.key == after.key && before.item == after.item => return None,
        (Some(before), Some(after)) => before.key != after.key,
        _ => true,
    };
    let cost =
        |row: &Option<Row>| row.as_ref().map_or(0.0, |row| write_units(row.bytes + ROW_OVERHEAD_BYTES));
    // A row that moves is deleted and written; one that stays is charged by its larger form.
    let units = if moved { cost(&before) + cost(&after) } else { cost(&before).max(cost(&after)) };
    let put = after.map(|row| {
        let mut record = Vec::new();
        codec::encode_record(change.timestamp_ms, change.version, &row.item, &mut record);
        (row.key, record)
    });
    let delete = before.filter(|_| moved).map(|row| row.key);
    Some(RowChange { ordinal: u8::try_from(index.id).unwrap_or(0), delete, put, units })
}

#[cfg(test)]
mod tests {
    use super::*;
    use torc_model::AttributeValue;
    use torc_model::key::local_index_ordinal;
    use torc_model::ops::CreateTable;

    fn schema() -> TableSchema {
        let body = br#"{"TableName":"music","BillingMode":"PAY_PER_REQUEST",
            "AttributeDefinitions":[{"AttributeName":"p","AttributeType":"S"},{"AttributeName":"s","AttributeType":"S"},
                {"AttributeName":"l","AttributeType":"N"}],
            "KeySchema":[{"AttributeName":"p","KeyType":"HASH"},{"AttributeName":"s","KeyType":"RANGE"}],
            "LocalSecondaryIndexes":[
                {"IndexName":"keys","KeySchema":[{"AttributeName":"p","KeyType":"HASH"},{"AttributeName":"l","KeyType":"RANGE"}],
                 "Projection":{"ProjectionType":"KEYS_ONLY"}},
                {"IndexName":"some","KeySchema":[{"AttributeName":"p","KeyType":"HASH"},{"AttributeName":"l","KeyType":"RANGE"}],
                 "Projection":{"ProjectionType":"INCLUDE","NonKeyAttributes":["x"]}}]}"#;
        let mut schema = CreateTable::parse(body).unwrap().schema;
        for (ordinal, index) in (1..).zip(&mut schema.local_indexes) {
            index.id = ordinal;
        }
        schema
    }

    fn item(l: Option<i64>, x: &str, y: &str) -> Item {
        let text = |v: &str| AttributeValue::S(v.into());
        let mut item = Item::from([("p".to_string(), text("a")), ("s".to_string(), text("b"))]);
        item.insert("x".into(), text(x));
        item.insert("y".into(), text(y));
        if let Some(l) = l {
            item.insert("l".into(), AttributeValue::N(l.into()));
        }
        item
    }

    fn key() -> Vec<u8> {
        let mut pk = Vec::new();
        encode_element(&AttributeValue::S("a".into()), &mut pk).unwrap();
        let mut sk = Vec::new();
        encode_element(&AttributeValue::S("b".into()), &mut sk).unwrap();
        item_key(space::TABLE, 7, 9, &pk, &sk)
    }

    /// `(deletes, puts, units)` for each index that changes.
    #[track_caller]
    fn check(before: Option<&Item>, after: Option<&Item>, expected: &[(u8, bool, bool, u32)]) {
        let key = key();
        let bytes = after.map_or(0, |item| item_size(item) as u64);
        let change = Change {
            key: &key,
            before,
            after,
            after_bytes: bytes,
            is_update: false,
            timestamp_ms: 1,
            version: 2,
        };
        let changes = changes(&schema(), &change).unwrap().unwrap();
        let mut seen = Vec::new();
        for row in changes {
            for key in row.delete.iter().chain(row.put.iter().map(|(key, _)| key)) {
                let decoded = decode_item_key(key).unwrap();
                assert_eq!((decoded.space, decoded.table_id, decoded.token), (space::INDEX, 7, 9));
                assert_eq!(local_index_ordinal(key), Some(row.ordinal));
            }
            seen.push((row.ordinal, row.delete.is_some(), row.put.is_some(), row.units as u32));
        }
        assert_eq!(seen, expected);
    }

    #[test]
    fn rows_follow_the_item() {
        let none = item(None, "x", "y");
        let one = item(Some(1), "x", "y");
        let big = "z".repeat(1500);
        check(None, Some(&none), &[]);
        check(None, Some(&one), &[(1, false, true, 1), (2, false, true, 1)]);
        check(Some(&none), Some(&one), &[(1, false, true, 1), (2, false, true, 1)]);
        check(Some(&one), Some(&none), &[(1, true, false, 1), (2, true, false, 1)]);
        check(Some(&one), None, &[(1, true, false, 1), (2, true, false, 1)]);
        check(Some(&one), Some(&one), &[]);
        check(Some(&one), Some(&item(Some(1), "x", "other")), &[]);
        check(Some(&one), Some(&item(Some(1), &big, "y")), &[(2, false, true, 2)]);
        check(Some(&one), Some(&item(Some(2), &big, "y")), &[(1, true, true, 2), (2, true, true, 3)]);
        // The row counts a hundred bytes more than its attributes: p, s, l and x.
        for (length, units) in [(917, 1), (918, 2)] {
            let row = item(Some(1), &"z".repeat(length - 1), "y");
            check(None, Some(&row), &[(1, false, true, 1), (2, false, true, units)]);
        }
    }

    #[test]
    fn item_and_rows_share_one_limit() {
        let key = key();
        let over = |x: usize| {
            let after = item(Some(1), &"z".repeat(x), "y");
            let after_bytes = item_size(&after) as u64;
            let change = Change {
                key: &key,
                before: None,
                after: Some(&after),
                after_bytes,
                is_update: false,
                timestamp_ms: 1,
                version: 1,
            };
            changes(&schema(), &change).unwrap().is_err()
        };
        assert!(!over(200_000));
        assert!(over(250_000));
    }

    #[test]
    fn damaged_keys_and_schemas_are_refused() {
        let mut unnumbered = schema();
        unnumbered.local_indexes[0].id = 1 << 20;
        let one = item(Some(1), "x", "y");
        let full = key();
        for (schema, length) in [(&unnumbered, full.len()), (&schema(), 12), (&schema(), 18)] {
            let change = Change {
                key: &full[..length],
                before: None,
                after: Some(&one),
                after_bytes: 9,
                is_update: false,
                timestamp_ms: 1,
                version: 1,
            };
            assert!(changes(schema, &change).is_err(), "{length}");
        }
    }
}
