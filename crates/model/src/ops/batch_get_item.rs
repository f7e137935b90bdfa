//! `BatchGetItem`.

use super::constraints::Constraints;
use super::options::ReturnConsumedCapacity;
use super::params::{Params, read_body};
use crate::expr::{ExpressionKind, Projection};
use crate::json::{Values, read_values};
use crate::limits::MAX_BATCH_GET_KEYS;
use crate::schema::TableSchema;
use crate::{ApiError, Item};
use std::collections::{BTreeMap, BTreeSet};

/// A valid `BatchGetItem`.
#[derive(Clone, Debug, PartialEq)]
pub struct BatchGetItem {
    /// What to read, by table name.
    pub tables: BTreeMap<String, BatchGetTable>,
    /// Capacity to report.
    pub consumed_capacity: ReturnConsumedCapacity,
}

/// What to read of one table; [`BatchGetTable::check_schema`] checks the keys.
#[derive(Clone, Debug, PartialEq)]
pub struct BatchGetTable {
    /// How the request named the table, which may be by ARN; unprocessed keys are returned under it.
    pub requested_as: String,
    /// The keys, in the order of the request.
    pub keys: Vec<Item>,
    /// Whether the read sees every write acknowledged before it.
    pub consistent: bool,
    /// The parameters that decide the projection, as they came: unprocessed keys are returned with them.
    pub echo: BatchGetEcho,
}

/// What of a table's part of the request is returned with unprocessed keys.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct BatchGetEcho {
    /// `AttributesToGet`.
    pub attributes_to_get: Option<Vec<String>>,
    /// `ProjectionExpression`.
    pub projection_expression: Option<String>,
    /// `ExpressionAttributeNames`.
    pub names: Option<BTreeMap<String, String>>,
    /// `ConsistentRead`.
    pub consistent_read: Option<bool>,
}

#[derive(Default)]
struct RawTable {
    keys: Option<Vec<Values>>,
    params: Params,
}

impl BatchGetItem {
    /// Reads and validates a body.
    ///
    /// # Errors
    /// `SerializationException` or `ValidationException`.
    pub fn parse(body: &[u8]) -> Result<Self, ApiError> {
        let mut params = Params::default();
        let mut raw: Option<BTreeMap<String, RawTable>> = None;
        read_body(body, "BatchGetItemInput", |reader, name| match name {
            "RequestItems" => {
                let mut tables = BTreeMap::new();
                reader.map("com.amazonaws.dynamodb.v20120810.KeysAndAttributes", |reader, table| {
                    let mut entry = RawTable::default();
                    if !reader.null()? {
                        reader.structure("KeysAndAttributes", |reader, member| match member {
                            "Keys" => {
                                let mut keys = Vec::new();
                                reader.list(|reader| {
                                    keys.push(if reader.null()? {
                                        Values::default()
                                    } else {
                                        read_values(reader)?
                                    });
                                    Ok(())
                                })?;
                                entry.keys = Some(keys);
                                Ok(())
                            }
                            "AttributesToGet"
                            | "ConsistentRead"
                            | "ProjectionExpression"
                            | "ExpressionAttributeNames" => entry.params.field(reader, member),
                            _ => reader.skip(),
                        })?;
                    }
                    tables.insert(table.into_owned(), entry);
                    Ok(())
                })?;
                raw = Some(tables);
                Ok(())
            }
            "ReturnConsumedCapacity" => params.field(reader, name),
            _ => reader.skip(),
        })?;
        let raw = check_constraints(&params, raw)?;
        let total: usize = raw.iter().map(|(_, _, table)| table.keys.as_ref().map_or(0, Vec::len)).sum();
        if total > MAX_BATCH_GET_KEYS {
            return Err(ApiError::validation("Too many items requested for the BatchGetItem call"));
        }
        let mut tables = BTreeMap::new();
        for (requested_as, name, table) in raw {
            // By name and by ARN: two projections may not agree.
            if tables.insert(name, table.validate(requested_as)?).is_some() {
                return Err(ApiError::invalid_parameter("RequestItems names the same table twice"));
            }
        }
        Ok(BatchGetItem { tables, consumed_capacity: params.consumed_capacity() })
    }
}

/// The constraints; the tables with how they were named, and their names.
fn check_constraints(
    params: &Params,
    raw: Option<BTreeMap<String, RawTable>>,
) -> Result<Vec<(String, String, RawTable)>, ApiError> {
    let mut c = Constraints::default();
    params.check_return_options(&mut c);
    c.required(&raw, "requestItems");
    let raw = raw.unwrap_or_default();
    if raw.len() > MAX_BATCH_GET_KEYS {
        c.length("{…}", raw.len(), "requestItems", 1, MAX_BATCH_GET_KEYS);
    }
    let mut tables = Vec::with_capacity(raw.len());
    for (requested_as, table) in raw {
        let name = c.table(Some(&requested_as), "requestItems.key");
        let path = format!("requestItems.{requested_as}.member");
        match &table.keys {
            None => c.missing(&format!("{path}.keys")),
            Some(keys) => {
                let shown = if keys.is_empty() { "[]" } else { "[…]" };
                c.length(shown, keys.len(), &format!("{path}.keys"), 1, MAX_BATCH_GET_KEYS);
            }
        }
        if table.params.attributes_to_get.as_ref().is_some_and(Vec::is_empty) {
            c.length("[]", 0, &format!("{path}.attributesToGet"), 1, usize::MAX);
        }
        tables.push((requested_as, name, table));
    }
    let empty = tables.is_empty();
    c.finish()?;
    if empty {
        return Err(ApiError::validation("The requestItems parameter is required for BatchGetItem"));
    }
    Ok(tables)
}

impl RawTable {
    fn validate(self, requested_as: String) -> Result<BatchGetTable, ApiError> {
        self.params.check_mixing(&[ExpressionKind::Projection])?;
        let mut keys = Vec::new();
        let mut seen = BTreeSet::new();
        for values in self.keys.unwrap_or_default() {
            values.check()?;
            let mut spelled = Vec::new();
            crate::codec::encode_item(&values.items, &mut spelled);
            if !seen.insert(spelled) {
                return Err(ApiError::validation("Provided list of item keys contains duplicates"));
            }
            keys.push(values.items);
        }
        Ok(BatchGetTable {
            requested_as,
            keys,
            consistent: self.params.consistent_read.unwrap_or(false),
            echo: BatchGetEcho {
                attributes_to_get: self.params.attributes_to_get,
                projection_expression: self.params.projection_expression,
                names: self.params.names,
                consistent_read: self.params.consistent_read,
            },
        })
    }
}

impl BatchGetTable {
    /// What to return of each item; legacy or expression. Judged when the table has been found, as for single
    /// reads.
    ///
    /// # Errors
    /// `ValidationException`.
    pub fn projection(&self) -> Result<Option<Projection>, ApiError> {
        let mut params = Params {
            attributes_to_get: self.echo.attributes_to_get.clone(),
            projection_expression: self.echo.projection_expression.clone(),
            names: self.echo.names.clone(),
            ..Params::default()
        };
        params.read_projection()
    }

    /// Checks projection and keys against the table's schema.
    ///
    /// # Errors
    /// `ValidationException` for the first that does not fit.
    pub fn check_schema(
        &self,
        projection: Option<&Projection>,
        schema: &TableSchema,
    ) -> Result<(), ApiError> {
        schema.check_paths(projection.into_iter().flat_map(Projection::paths))?;
        self.keys.iter().try_for_each(|key| schema.key.check_key(key))
    }
}
