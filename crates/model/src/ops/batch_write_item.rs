//! `BatchWriteItem`.

use super::constraints::Constraints;
use super::options::ReturnConsumedCapacity;
use super::params::{Params, read_body};
use crate::json::{Reader, Values, read_values};
use crate::limits::MAX_BATCH_WRITES;
use crate::schema::TableSchema;
use crate::size::check_item_size;
use crate::{ApiError, Item};
use std::collections::{BTreeMap, BTreeSet};

/// A valid `BatchWriteItem`.
#[derive(Clone, Debug, PartialEq)]
pub struct BatchWriteItem {
    /// What to write, by table name.
    pub tables: BTreeMap<String, BatchWriteTable>,
    /// Capacity to report.
    pub consumed_capacity: ReturnConsumedCapacity,
    /// Whether to report item collection sizes.
    pub collection_metrics: bool,
}

/// What to write to one table; [`BatchWriteTable::check_schema`] checks the keys.
#[derive(Clone, Debug, PartialEq)]
pub struct BatchWriteTable {
    /// How the request named the table, which may be by ARN; unprocessed items are returned under it.
    pub requested_as: String,
    /// The writes, in the order of the request.
    pub writes: Vec<WriteRequest>,
}

/// One write of a batch.
#[derive(Clone, Debug, PartialEq)]
pub enum WriteRequest {
    /// Puts an item.
    Put(Item),
    /// Deletes by key.
    Delete(Item),
}

#[derive(Default)]
struct RawWrite {
    put: Option<Option<Values>>,
    delete: Option<Option<Values>>,
}

type RawTables = BTreeMap<String, Vec<RawWrite>>;

impl BatchWriteItem {
    /// Reads and validates a body.
    ///
    /// # Errors
    /// `SerializationException` or `ValidationException`.
    pub fn parse(body: &[u8]) -> Result<Self, ApiError> {
        let mut params = Params::default();
        let mut raw: Option<RawTables> = None;
        read_body(body, "BatchWriteItemInput", |reader, name| match name {
            "RequestItems" => {
                raw = Some(read_tables(reader)?);
                Ok(())
            }
            "ReturnConsumedCapacity" | "ReturnItemCollectionMetrics" => params.field(reader, name),
            _ => reader.skip(),
        })?;
        let raw = check_constraints(&params, raw)?;
        if raw.iter().map(|(_, _, writes)| writes.len()).sum::<usize>() > MAX_BATCH_WRITES {
            return Err(ApiError::validation("Too many items requested for the BatchWriteItem call"));
        }
        let mut tables = BTreeMap::new();
        for (requested_as, name, writes) in raw {
            let writes = writes.into_iter().map(RawWrite::validate).collect::<Result<Vec<_>, _>>()?;
            // By name and by ARN it is the same table.
            let table = BatchWriteTable { requested_as, writes: Vec::new() };
            tables.entry(name).or_insert(table).writes.extend(writes);
        }
        Ok(BatchWriteItem {
            tables,
            consumed_capacity: params.consumed_capacity(),
            collection_metrics: params.collection_metrics(),
        })
    }
}

fn read_tables(reader: &mut Reader<'_>) -> Result<RawTables, ApiError> {
    let mut tables = RawTables::new();
    reader.map("java.util.List<com.amazonaws.dynamodb.v20120810.WriteRequest>", |reader, table| {
        let mut writes = Vec::new();
        if !reader.null()? {
            reader.list(|reader| {
                let mut write = RawWrite::default();
                if !reader.null()? {
                    reader.structure("WriteRequest", |reader, member| match member {
                        "PutRequest" => {
                            write.put = Some(request(reader, "PutRequest", "Item")?);
                            Ok(())
                        }
                        "DeleteRequest" => {
                            write.delete = Some(request(reader, "DeleteRequest", "Key")?);
                            Ok(())
                        }
                        _ => reader.skip(),
                    })?;
                }
                writes.push(write);
                Ok(())
            })?;
        }
        tables.insert(table.into_owned(), writes);
        Ok(())
    })?;
    Ok(tables)
}

/// The one member of a put or delete request.
fn request(reader: &mut Reader<'_>, class: &str, wanted: &str) -> Result<Option<Values>, ApiError> {
    let mut values = None;
    reader.structure(class, |reader, member| {
        if member != wanted {
            return reader.skip();
        }
        values = Some(read_values(reader)?);
        Ok(())
    })?;
    Ok(values)
}

/// The constraints; the tables with how they were named, and their names.
fn check_constraints(
    params: &Params,
    raw: Option<RawTables>,
) -> Result<Vec<(String, String, Vec<RawWrite>)>, ApiError> {
    let mut c = Constraints::default();
    params.check_return_options(&mut c);
    c.required(&raw, "requestItems");
    let raw = raw.unwrap_or_default();
    let shown = |raw: &RawTables| {
        let tables: Vec<String> = raw
            .iter()
            .map(|(table, writes)| format!("{table}=[{}]", vec!["WriteRequest"; writes.len()].join(", ")))
            .collect();
        format!("{{{}}}", tables.join(", "))
    };
    if raw.len() > MAX_BATCH_WRITES {
        c.length(shown(&raw), raw.len(), "requestItems", 1, MAX_BATCH_WRITES);
    }
    if raw.values().any(|writes| writes.is_empty() || writes.len() > MAX_BATCH_WRITES) {
        c.fail(
            shown(&raw),
            "requestItems",
            format_args!(
                "Map value must satisfy constraint: [Member must have length less than or equal to {MAX_BATCH_WRITES}, Member must have length greater than or equal to 1]"
            ),
        );
    }
    let mut tables = Vec::with_capacity(raw.len());
    for (requested_as, writes) in raw {
        let name = c.table(Some(&requested_as), "requestItems.key");
        for (index, write) in writes.iter().enumerate() {
            let path = format!("requestItems.{requested_as}.member.{}.member", index + 1);
            if matches!(write.put, Some(None)) {
                c.missing(&format!("{path}.putRequest.item"));
            }
            if matches!(write.delete, Some(None)) {
                c.missing(&format!("{path}.deleteRequest.key"));
            }
        }
        tables.push((requested_as, name, writes));
    }
    let empty = tables.is_empty();
    c.finish()?;
    if empty {
        return Err(ApiError::validation("The requestItems parameter is required for BatchWriteItem"));
    }
    Ok(tables)
}

impl RawWrite {
    fn validate(self) -> Result<WriteRequest, ApiError> {
        match (self.put.flatten(), self.delete.flatten()) {
            (Some(values), None) => {
                values.check()?;
                check_item_size(&values.items)?;
                Ok(WriteRequest::Put(values.items))
            }
            (None, Some(values)) => {
                values.check()?;
                Ok(WriteRequest::Delete(values.items))
            }
            // The text is that of another structure, and DynamoDB's own.
            _ => Err(ApiError::validation(
                "Supplied AttributeValue has more than one datatypes set, must contain exactly one of the supported datatypes",
            )),
        }
    }
}

impl BatchWriteTable {
    /// Checks the keys against the table's schema.
    ///
    /// # Errors
    /// `ValidationException` for the first that does not fit, or when two writes are of the same key.
    pub fn check_schema(&self, schema: &TableSchema) -> Result<(), ApiError> {
        let mut seen = BTreeSet::new();
        for write in &self.writes {
            let item = match write {
                WriteRequest::Put(item) => {
                    schema.check_item_keys(item)?;
                    item
                }
                WriteRequest::Delete(key) => {
                    schema.key.check_key(key)?;
                    key
                }
            };
            if !seen.insert(schema.key.encode(item)?) {
                return Err(ApiError::validation("Provided list of item keys contains duplicates"));
            }
        }
        Ok(())
    }
}
