//! `GetItem`.

use super::options::ReturnConsumedCapacity;
use super::params::{Params, Unjudged};
use crate::expr::{ExpressionKind, Projection};
use crate::schema::TableSchema;
use crate::{ApiError, Item};

const FIELDS: [&str; 7] = [
    "TableName",
    "Key",
    "AttributesToGet",
    "ConsistentRead",
    "ReturnConsumedCapacity",
    "ProjectionExpression",
    "ExpressionAttributeNames",
];

/// A valid `GetItem`. The key is still to be checked with [`GetItem::check_schema`].
#[derive(Clone, Debug, PartialEq)]
pub struct GetItem {
    /// The table's name.
    pub table: String,
    /// The key.
    pub key: Item,
    /// What to return of the item; all of it when absent. Legacy or expression.
    pub projection: Option<Projection>,
    /// Whether the read sees every write acknowledged before it.
    pub consistent: bool,
    /// Capacity to report.
    pub consumed_capacity: ReturnConsumedCapacity,
}

impl GetItem {
    /// Reads a body and checks the constraints of its parameters.
    ///
    /// # Errors
    /// `SerializationException`, or `ValidationException` for broken constraints.
    pub fn read(body: &[u8]) -> Result<Unjudged<Self>, ApiError> {
        let params = Params::read(body, "GetItemInput", &FIELDS)?;
        let table = params.check_constraints(|c| c.required(&params.key, "key"))?;
        Ok(Unjudged::new(table, params, Self::judge))
    }

    /// Reads and validates a body.
    ///
    /// # Errors
    /// `SerializationException` or `ValidationException`.
    pub fn parse(body: &[u8]) -> Result<Self, ApiError> {
        Self::read(body)?.judge()
    }

    fn judge(table: String, mut params: Params) -> Result<Self, ApiError> {
        params.check_mixing(&[ExpressionKind::Projection])?;
        let values = params.key.take().unwrap_or_default();
        values.check()?;
        Ok(GetItem {
            table,
            key: values.items,
            projection: params.read_projection()?,
            consistent: params.consistent_read.unwrap_or(false),
            consumed_capacity: params.consumed_capacity(),
        })
    }

    /// Checks projection and key against the table's schema.
    ///
    /// # Errors
    /// `ValidationException`.
    pub fn check_schema(&self, schema: &TableSchema) -> Result<(), ApiError> {
        schema.check_paths(self.projection.iter().flat_map(Projection::paths))?;
        schema.key.check_key(&self.key)
    }
}
