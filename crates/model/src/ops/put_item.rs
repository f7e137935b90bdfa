//! `PutItem`.

use super::options::{ReturnConsumedCapacity, ReturnValues};
use super::params::{Params, Unjudged};
use crate::expr::{Condition, ExpressionKind};
use crate::schema::TableSchema;
use crate::size::check_item_size;
use crate::{ApiError, Item};

const FIELDS: [&str; 11] = [
    "TableName",
    "Item",
    "Expected",
    "ReturnValues",
    "ReturnConsumedCapacity",
    "ReturnItemCollectionMetrics",
    "ConditionalOperator",
    "ConditionExpression",
    "ExpressionAttributeNames",
    "ExpressionAttributeValues",
    "ReturnValuesOnConditionCheckFailure",
];

/// A valid `PutItem`. Item and condition are still to be checked with [`PutItem::check_schema`].
#[derive(Clone, Debug, PartialEq)]
pub struct PutItem {
    /// The table's name.
    pub table: String,
    /// The item.
    pub item: Item,
    /// Its size by DynamoDB's rules, bytes.
    pub item_size: usize,
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

impl PutItem {
    /// Reads a body and checks the constraints of its parameters.
    ///
    /// # Errors
    /// `SerializationException`, or `ValidationException` for broken constraints.
    pub fn read(body: &[u8]) -> Result<Unjudged<Self>, ApiError> {
        let params = Params::read(body, "PutItemInput", &FIELDS)?;
        let table = params.check_constraints(|c| c.required(&params.item, "item"))?;
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
        let values = params.item.take().unwrap_or_default();
        values.check()?;
        let return_values = params.old_values_only()?;
        let item_size = check_item_size(&values.items)?;
        Ok(PutItem {
            table,
            item: values.items,
            item_size,
            condition: params.write_condition()?,
            return_values,
            item_on_failure: params.item_on_failure(),
            consumed_capacity: params.consumed_capacity(),
            collection_metrics: params.collection_metrics(),
        })
    }

    /// Checks the item's keys and the condition against the table's schema.
    ///
    /// # Errors
    /// `ValidationException`.
    pub fn check_schema(&self, schema: &TableSchema) -> Result<(), ApiError> {
        schema.check_item_keys(&self.item)?;
        schema.check_paths(self.condition.iter().flat_map(Condition::paths))
    }
}
