//! `UpdateItem`.

use super::legacy;
use super::options::{ReturnConsumedCapacity, ReturnValues};
use super::params::{Params, Unjudged};
use crate::expr::{Condition, ExpressionKind, ParsedUpdate, Update, attribute_updates};
use crate::schema::TableSchema;
use crate::{ApiError, Item};

const FIELDS: [&str; 13] = [
    "TableName",
    "Key",
    "AttributeUpdates",
    "Expected",
    "ConditionalOperator",
    "ReturnValues",
    "ReturnConsumedCapacity",
    "ReturnItemCollectionMetrics",
    "UpdateExpression",
    "ConditionExpression",
    "ExpressionAttributeNames",
    "ExpressionAttributeValues",
    "ReturnValuesOnConditionCheckFailure",
];

/// A valid `UpdateItem`; key and update are still to be checked with [`UpdateItem::check_schema`].
#[derive(Clone, Debug, PartialEq)]
pub struct UpdateItem {
    /// The table's name.
    pub table: String,
    /// The key.
    pub key: Item,
    /// What to change; `None` changes nothing, and creates an item of the key alone where there is none.
    pub update: Option<Update>,
    /// What must hold of the item as it is; legacy or expression.
    pub condition: Option<Condition>,
    /// What to return.
    pub return_values: ReturnValues,
    /// Whether a failed condition answers with the item.
    pub item_on_failure: bool,
    /// Capacity to report.
    pub consumed_capacity: ReturnConsumedCapacity,
    /// Whether to report item collection sizes.
    pub collection_metrics: bool,
}

impl UpdateItem {
    /// Reads a body and checks the constraints of its parameters.
    ///
    /// # Errors
    /// `SerializationException`, or `ValidationException` for broken constraints.
    pub fn read(body: &[u8]) -> Result<Unjudged<Self>, ApiError> {
        let params = Params::read(body, "UpdateItemInput", &FIELDS)?;
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
        params.check_mixing(&[ExpressionKind::Update, ExpressionKind::Condition])?;
        let values = params.key.take().unwrap_or_default();
        values.check()?;
        let (update, condition) =
            if params.update_expression.is_some() || params.condition_expression.is_some() {
                expressions(&mut params)?
            } else {
                let updates = params.attribute_updates.as_ref().map(legacy::updates).transpose()?;
                let condition = params.expected_condition()?;
                (updates.as_ref().map(attribute_updates).transpose()?, condition)
            };
        Ok(UpdateItem {
            table,
            key: values.items,
            update,
            condition,
            return_values: ReturnValues::of(params.return_values.as_deref()),
            item_on_failure: params.item_on_failure(),
            consumed_capacity: params.consumed_capacity(),
            collection_metrics: params.collection_metrics(),
        })
    }

    /// Checks key, condition and update against the table's schema.
    ///
    /// # Errors
    /// `ValidationException` for a key that does not fit, or an update of a key attribute.
    pub fn check_schema(&self, schema: &TableSchema) -> Result<(), ApiError> {
        schema.key.check_key(&self.key)?;
        schema.check_paths(self.condition.iter().flat_map(Condition::paths))?;
        if let Some(update) = &self.update {
            update.check_keys(schema.key.attributes().map(|attribute| attribute.name.as_str()))?;
            schema.check_paths(update.paths())?;
        }
        Ok(())
    }
}

fn expressions(params: &mut Params) -> Result<(Option<Update>, Option<Condition>), ApiError> {
    let mut placeholders = params.placeholders()?;
    let update = params
        .update_expression
        .as_deref()
        .map(|text| ParsedUpdate::cached(text)?.bind(&mut placeholders))
        .transpose()?;
    let condition = params.bind_condition(ExpressionKind::Condition, &mut placeholders)?;
    placeholders.check_unused()?;
    Ok((update, condition))
}
