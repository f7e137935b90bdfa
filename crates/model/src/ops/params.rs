//! The parameters of the data operations as they come, before any check but that of their JSON types.
//!
//! One struct holds those of all data operations; each reads those that it has, and passes over the rest as
//! DynamoDB does.

use super::constraints::Constraints;
use super::legacy::{LegacyEntry, read_legacy};
use super::options::{ReturnConsumedCapacity, ReturnValues, Select};
use crate::json::{Kind, Reader, Values, read_expression_values, read_values};
use crate::{ApiError, ErrorCode};
use std::collections::BTreeMap;

/// A map of legacy conditions, by attribute.
pub(super) type LegacyMap = BTreeMap<String, LegacyEntry>;

/// All parameters of all data operations.
#[derive(Default)]
pub(super) struct Params {
    pub table_name: Option<String>,
    pub index_name: Option<String>,
    pub item: Option<Values>,
    pub key: Option<Values>,
    pub exclusive_start_key: Option<Values>,
    pub attributes_to_get: Option<Vec<String>>,
    pub consistent_read: Option<bool>,
    pub scan_index_forward: Option<bool>,
    pub limit: Option<i64>,
    pub segment: Option<i64>,
    pub total_segments: Option<i64>,
    pub select: Option<String>,
    pub return_values: Option<String>,
    pub return_consumed_capacity: Option<String>,
    pub return_item_collection_metrics: Option<String>,
    pub return_values_on_condition_check_failure: Option<String>,
    pub conditional_operator: Option<String>,
    pub condition_expression: Option<String>,
    pub filter_expression: Option<String>,
    pub key_condition_expression: Option<String>,
    pub projection_expression: Option<String>,
    pub update_expression: Option<String>,
    pub names: Option<BTreeMap<String, String>>,
    pub values: Option<Values>,
    pub expected: Option<LegacyMap>,
    pub attribute_updates: Option<LegacyMap>,
    pub key_conditions: Option<LegacyMap>,
    pub query_filter: Option<LegacyMap>,
    pub scan_filter: Option<LegacyMap>,
}

/// A request that satisfies the service model's constraints and is not checked further yet. Its table is
/// looked up in between: DynamoDB Local reports a missing table before it reports wrong expressions, values
/// or combinations of parameters. No AWS document settles the order.
pub struct Unjudged<T> {
    /// The table's name.
    pub table: String,
    params: Params,
    judge: fn(String, Params) -> Result<T, ApiError>,
}

impl<T> Unjudged<T> {
    pub(super) fn new(
        table: String,
        params: Params,
        judge: fn(String, Params) -> Result<T, ApiError>,
    ) -> Self {
        Self { table, params, judge }
    }

    /// Judges the rest.
    ///
    /// # Errors
    /// `ValidationException`.
    pub fn judge(self) -> Result<T, ApiError> {
        (self.judge)(self.table, self.params)
    }
}

/// Reads the members of a request's body that are not null; `class` is the request's name in the service
/// model.
///
/// # Errors
/// `SerializationException`.
pub(super) fn read_body(
    body: &[u8],
    class: &str,
    member: impl FnMut(&mut Reader<'_>, &str) -> Result<(), ApiError>,
) -> Result<(), ApiError> {
    let mut reader = Reader::new(body);
    if reader.peek()? == Kind::Null {
        return Err(ApiError::new(ErrorCode::Serialization, ""));
    }
    reader.structure(class, member)?;
    reader.finish()
}

/// Reads a string that is not null.
pub(super) fn string(reader: &mut Reader<'_>) -> Result<Option<String>, ApiError> {
    Ok(Some(reader.string()?.into_owned()))
}

/// Reads a map of strings; a null value is an empty one.
pub(super) fn string_map(reader: &mut Reader<'_>) -> Result<Option<BTreeMap<String, String>>, ApiError> {
    let mut map = BTreeMap::new();
    reader.map("java.lang.String", |reader, name| {
        let value = if reader.null()? { String::new() } else { reader.string()?.into_owned() };
        map.insert(name.into_owned(), value);
        Ok(())
    })?;
    Ok(Some(map))
}

impl Params {
    /// Reads a body; `fields` are the parameters that the operation has.
    ///
    /// # Errors
    /// `SerializationException`.
    pub fn read(body: &[u8], class: &str, fields: &[&str]) -> Result<Self, ApiError> {
        let mut params = Params::default();
        read_body(body, class, |reader, name| {
            if fields.contains(&name) { params.field(reader, name) } else { reader.skip() }
        })?;
        Ok(params)
    }

    /// Reads one parameter.
    pub fn field(&mut self, reader: &mut Reader<'_>, name: &str) -> Result<(), ApiError> {
        match name {
            "TableName" => self.table_name = string(reader)?,
            "IndexName" => self.index_name = string(reader)?,
            "Item" => self.item = Some(read_values(reader)?),
            "Key" => self.key = Some(read_values(reader)?),
            "ExclusiveStartKey" => self.exclusive_start_key = Some(read_values(reader)?),
            "AttributesToGet" => self.attributes_to_get = Some(reader.strings()?),
            "ConsistentRead" => self.consistent_read = Some(reader.boolean()?),
            "ScanIndexForward" => self.scan_index_forward = Some(reader.boolean()?),
            "Limit" => self.limit = Some(reader.integer("Integer")?),
            "Segment" => self.segment = Some(reader.integer("Integer")?),
            "TotalSegments" => self.total_segments = Some(reader.integer("Integer")?),
            "Select" => self.select = string(reader)?,
            "ReturnValues" => self.return_values = string(reader)?,
            "ReturnConsumedCapacity" => self.return_consumed_capacity = string(reader)?,
            "ReturnItemCollectionMetrics" => self.return_item_collection_metrics = string(reader)?,
            "ReturnValuesOnConditionCheckFailure" => {
                self.return_values_on_condition_check_failure = string(reader)?;
            }
            "ConditionalOperator" => self.conditional_operator = string(reader)?,
            "ConditionExpression" => self.condition_expression = string(reader)?,
            "FilterExpression" => self.filter_expression = string(reader)?,
            "KeyConditionExpression" => self.key_condition_expression = string(reader)?,
            "ProjectionExpression" => self.projection_expression = string(reader)?,
            "UpdateExpression" => self.update_expression = string(reader)?,
            "ExpressionAttributeNames" => self.names = string_map(reader)?,
            "ExpressionAttributeValues" => self.values = Some(read_expression_values(reader)?),
            "Expected" => self.expected = Some(read_legacy(reader, "ExpectedAttributeValue")?),
            "AttributeUpdates" => self.attribute_updates = Some(read_legacy(reader, "AttributeValueUpdate")?),
            "KeyConditions" => self.key_conditions = Some(read_legacy(reader, "Condition")?),
            "QueryFilter" => self.query_filter = Some(read_legacy(reader, "Condition")?),
            "ScanFilter" => self.scan_filter = Some(read_legacy(reader, "Condition")?),
            _ => reader.skip()?,
        }
        Ok(())
    }

    /// Checks the constraints of all parameters that are there, and returns the table's name.
    ///
    /// # Errors
    /// `ValidationException` that lists what failed, `also` included.
    pub fn check_constraints(&self, also: impl FnOnce(&mut Constraints)) -> Result<String, ApiError> {
        let mut c = Constraints::default();
        let table = c.table(self.table_name.as_deref(), "tableName");
        if let Some(name) = &self.index_name {
            c.name(name, "indexName");
        }
        if self.attributes_to_get.as_ref().is_some_and(Vec::is_empty) {
            c.length("[]", 0, "attributesToGet", 1, usize::MAX);
        }
        c.range(self.limit, "limit", 1, i64::MAX);
        c.range(self.segment, "segment", 0, 999_999);
        c.range(self.total_segments, "totalSegments", 1, 1_000_000);
        c.one_of(self.select.as_deref(), "select", &Select::NAMES);
        c.one_of(self.return_values.as_deref(), "returnValues", &ReturnValues::NAMES);
        self.check_return_options(&mut c);
        c.one_of(
            self.return_values_on_condition_check_failure.as_deref(),
            "returnValuesOnConditionCheckFailure",
            &["ALL_OLD", "NONE"],
        );
        c.one_of(self.conditional_operator.as_deref(), "conditionalOperator", &["OR", "AND"]);
        let legacy = [
            (&self.expected, "expected", false),
            (&self.attribute_updates, "attributeUpdates", false),
            (&self.key_conditions, "keyConditions", true),
            (&self.query_filter, "queryFilter", true),
            (&self.scan_filter, "scanFilter", true),
        ];
        for (map, path, comparison_required) in legacy {
            for (name, entry) in map.iter().flatten() {
                entry.check_constraints(&mut c, &format!("{path}.{name}.member"), comparison_required);
            }
        }
        also(&mut c);
        c.finish()?;
        Ok(table)
    }

    /// The constraints of what to return about the cost of the request.
    pub fn check_return_options(&self, c: &mut Constraints) {
        c.one_of(
            self.return_consumed_capacity.as_deref(),
            "returnConsumedCapacity",
            &ReturnConsumedCapacity::NAMES,
        );
        c.one_of(
            self.return_item_collection_metrics.as_deref(),
            "returnItemCollectionMetrics",
            &["SIZE", "NONE"],
        );
    }

    /// `ReturnConsumedCapacity`.
    pub fn consumed_capacity(&self) -> ReturnConsumedCapacity {
        ReturnConsumedCapacity::of(self.return_consumed_capacity.as_deref())
    }

    /// Whether `ReturnItemCollectionMetrics` asks for sizes.
    pub fn collection_metrics(&self) -> bool {
        self.return_item_collection_metrics.as_deref() == Some("SIZE")
    }

    /// Whether a failed condition is to answer with the item.
    pub fn item_on_failure(&self) -> bool {
        self.return_values_on_condition_check_failure.as_deref() == Some("ALL_OLD")
    }

    /// `ReturnValues` of an operation that knows the item before only.
    ///
    /// # Errors
    /// `ValidationException` for the other values.
    pub fn old_values_only(&self) -> Result<ReturnValues, ApiError> {
        match ReturnValues::of(self.return_values.as_deref()) {
            value @ (ReturnValues::None | ReturnValues::AllOld) => Ok(value),
            _ => Err(ApiError::validation("ReturnValues can only be ALL_OLD or NONE")),
        }
    }
}
