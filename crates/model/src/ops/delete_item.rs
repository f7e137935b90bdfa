//! `DeleteItem`.

use super::options::{ReturnConsumedCapacity, ReturnValues};
use super::params::{Params, Unjudged};
use crate::expr::{Condition, ExpressionKind};
use crate::schema::TableSchema;
use crate::{ApiError, Item};

const FIELDS: [&str; 11] = [
    "TableName",
    "Key",
    "Expected",
    "ConditionalOperator",
    "ReturnValues",
    "ReturnConsumedCapacity",
    "ReturnItemCollectionMetrics",
    "ConditionExpression",
    "ExpressionAttributeNames",
    "ExpressionAttributeValues",
    "ReturnValuesOnConditionCheckFailure",
];

/// A valid `DeleteItem`. Key and condition are still to be checked with [`DeleteItem::check_schema`].
#[derive(Clone, Debug, PartialEq)]
pub struct DeleteItem {
    /// The table's name.
    pub table: String,
    /// The key.
    pub key: Item,
    /// What must hold of the item as it is; legacy or expression.
    pub condition: Option<Condition>,
    /// Nothing, or the item before.
    pub return_values: ReturnValues,
    /// Whether a failed condition answers with the item.
    pub item_on_failure: bool,
    /// Capacity to report.
    pub consumed_capacity: ReturnConsumedCapacity,
    /// Whether to report item collection sizes.
    pub collection_metrics: bool,
}

impl DeleteItem {
    /// Reads a body and checks the constraints of its parameters.
    ///
    /// # Errors
    /// `SerializationException`, or `ValidationException` for broken constraints.
    pub fn read(body: &[u8]) -> Result<Unjudged<Self>, ApiError> {
        let params = Params::read(body, "DeleteItemInput", &FIELDS)?;
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
        params.check_mixing(&[ExpressionKind::Condition])?;
        let values = params.key.take().unwrap_or_default();
        values.check()?;
        let return_values = params.old_values_only()?;
        Ok(DeleteItem {
            table,
            key: values.items,
            condition: params.write_condition()?,
            return_values,
            item_on_failure: params.item_on_failure(),
            consumed_capacity: params.consumed_capacity(),
            collection_metrics: params.collection_metrics(),
        })
    }

    /// Checks key and condition against the table's schema.
    ///
    /// # Errors
    /// `ValidationException`.
    pub fn check_schema(&self, schema: &TableSchema) -> Result<(), ApiError> {
        schema.key.check_key(&self.key)?;
        schema.check_paths(self.condition.iter().flat_map(Condition::paths))
    }
}
