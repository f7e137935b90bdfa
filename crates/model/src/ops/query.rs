//! `Query`.

use super::legacy;
use super::options::{ReturnConsumedCapacity, Select};
use super::params::{Params, Unjudged};
use super::start_key::{StartKey, outside_query, outside_range};
use crate::expr::{
    Condition, DocumentPath, ExpressionKind, KeyCondition, LegacyCondition, Projection, check_filter_keys,
    check_key_conditions, filter_condition, in_table_order, key_conditions,
};
use crate::key::{KeyRange, SortCondition, sort_range};
use crate::schema::{IndexRef, KeyDefinition, ProjectionType, TableSchema};
use crate::{ApiError, AttributeValue, Item};
use std::collections::{BTreeMap, BTreeSet};

const FIELDS: [&str; 17] = [
    "TableName",
    "IndexName",
    "Select",
    "AttributesToGet",
    "Limit",
    "ConsistentRead",
    "KeyConditions",
    "QueryFilter",
    "ConditionalOperator",
    "ScanIndexForward",
    "ExclusiveStartKey",
    "ReturnConsumedCapacity",
    "ProjectionExpression",
    "FilterExpression",
    "KeyConditionExpression",
    "ExpressionAttributeNames",
    "ExpressionAttributeValues",
];

/// What selects the keys.
#[derive(Clone, Debug, PartialEq)]
enum Keys {
    Expression(Condition),
    Legacy(BTreeMap<String, LegacyCondition>),
}

/// A valid `Query`; [`Query::plan`] checks it against the table's schema.
#[derive(Clone, Debug, PartialEq)]
pub struct Query {
    /// The table's name.
    pub table: String,
    /// The index to read, if not the table.
    pub index: Option<String>,
    keys: Keys,
    /// What items to return of those read; legacy or expression.
    pub filter: Option<Condition>,
    filter_kind: ExpressionKind,
    /// What to return of each item.
    pub projection: Option<Projection>,
    /// `Select`, if it is there.
    pub select: Option<Select>,
    /// Most items to read.
    pub limit: Option<u64>,
    /// Whether the read sees every write acknowledged before it.
    pub consistent: bool,
    /// True for ascending sort keys.
    pub forward: bool,
    /// Where to begin.
    pub start: Option<Item>,
    /// Capacity to report.
    pub consumed_capacity: ReturnConsumedCapacity,
}

/// What a query reads, by the schema.
#[derive(Clone, Debug, PartialEq)]
pub struct QueryPlan<'s> {
    /// The index, if not the table.
    pub index: Option<IndexRef<'s>>,
    /// The encoded partition key; what the token is made of.
    pub partition: Vec<u8>,
    /// The encoded values of the sort attributes that the query fixes before the last one that it restricts;
    /// empty unless an index key has several sort attributes.
    pub sort_prefix: Vec<u8>,
    /// What is asked of the sort key, or of the sort attribute after `sort_prefix`.
    pub sort: SortCondition,
    /// Where to begin.
    pub start: Option<StartKey>,
    /// What to return, defaults applied.
    pub select: Select,
}

impl QueryPlan<'_> {
    /// The range of engine keys to read, `prefix` being [`crate::key::partition_prefix`] of the partition.
    ///
    /// # Errors
    /// `ValidationException` when a value cannot be a key, which [`Query::plan`] has ruled out.
    pub fn range(&self, prefix: &[u8]) -> Result<KeyRange, ApiError> {
        let prefix = [prefix, self.sort_prefix.as_slice()].concat();
        sort_range(&prefix, &self.sort).map_err(|error| ApiError::validation(error.to_string()))
    }
}

/// How `Select` and the projections may go together. `prefix` is put before the refusals, which the
/// operations word differently.
///
/// # Errors
/// `ValidationException`.
pub(super) fn check_select(params: &Params, prefix: &str) -> Result<Option<Select>, ApiError> {
    let Some(select) = params.select.as_deref().and_then(Select::of) else { return Ok(None) };
    let named = if params.projection_expression.is_some() {
        Some("ProjectionExpression")
    } else {
        params.attributes_to_get.is_some().then_some("AttributesToGet")
    };
    let choice = match select {
        Select::Specific => None,
        Select::Count => Some("only the Count"),
        Select::AllAttributes => Some("ALL_ATTRIBUTES"),
        Select::AllProjected => Some("ALL_PROJECTED_ATTRIBUTES"),
    };
    match (named, choice) {
        (Some(named), Some(choice)) => Err(ApiError::validation(format!(
            "{prefix}Cannot specify the {named} when choosing to get {choice}"
        ))),
        (None, None) => Err(ApiError::validation(format!(
            "{prefix}Must specify the AttributesToGet or ProjectionExpression when choosing to get SPECIFIC_ATTRIBUTES"
        ))),
        _ if select == Select::AllProjected && params.index_name.is_none() => Err(ApiError::validation(
            "ALL_PROJECTED_ATTRIBUTES can be used only when Querying using an IndexName",
        )),
        _ => Ok(Some(select)),
    }
}

/// The index of a query or scan, and what is to be returned from it.
///
/// # Errors
/// `ValidationException` for an index that is not there, or cannot be read as asked.
pub(super) fn resolve_index<'s>(
    schema: &'s TableSchema,
    name: Option<&str>,
    consistent: bool,
    select: Option<Select>,
    has_projection: bool,
) -> Result<(Option<IndexRef<'s>>, Select), ApiError> {
    let Some(name) = name else {
        let default = if has_projection { Select::Specific } else { Select::AllAttributes };
        return Ok((None, select.unwrap_or(default)));
    };
    let index = schema.index(name).filter(|index| !index.is_leaving()).ok_or_else(|| {
        ApiError::validation(format!("The table does not have the specified index: {name}"))
    })?;
    if index.is_filling() {
        return Err(ApiError::validation(format!(
            "Cannot read from backfilling global secondary index: {name}"
        )));
    }
    if index.is_global() && consistent {
        return Err(ApiError::validation("Consistent reads are not supported on global secondary indexes"));
    }
    if index.is_global()
        && select == Some(Select::AllAttributes)
        && index.projection().kind != ProjectionType::All
    {
        return Err(ApiError::invalid_parameter(format!(
            "Select type ALL_ATTRIBUTES is not supported for global secondary index {name} because its projection type is not ALL"
        )));
    }
    let default = if has_projection { Select::Specific } else { Select::AllProjected };
    Ok((Some(index), select.unwrap_or(default)))
}

/// Refuses a filter that looks at attributes which the index does not hold, and a projection that asks a
/// global index for them. A local one has them fetched from the table.
///
/// # Errors
/// `ValidationException` that names the attributes.
pub(super) fn check_projected(
    schema: &TableSchema,
    index: Option<IndexRef<'_>>,
    filter: Option<&Condition>,
    projection: Option<&Projection>,
) -> Result<(), ApiError> {
    let Some(index) = index else { return Ok(()) };
    let filtered = filter.into_iter().flat_map(Condition::paths).map(DocumentPath::root);
    if let Some(missing) = not_projected(schema, index, filtered) {
        return Err(ApiError::invalid_parameter(format!(
            "Secondary index {} does not project one or more filter attributes: [{missing}]",
            index.name(),
        )));
    }
    let shown = projection.into_iter().flat_map(Projection::attributes);
    match not_projected(schema, index, shown) {
        Some(missing) if index.is_global() => Err(ApiError::invalid_parameter(format!(
            "Global secondary index {} does not project [{missing}]",
            index.name(),
        ))),
        _ => Ok(()),
    }
}

/// Those of the names that the index does not hold, each once, in the order of a Java hash set; `None` if it
/// holds them all.
fn not_projected<'n>(
    schema: &TableSchema,
    index: IndexRef<'_>,
    names: impl Iterator<Item = &'n str>,
) -> Option<String> {
    let missing: BTreeSet<&str> = names.filter(|name| !schema.is_projected(index, name)).collect();
    let count = missing.len();
    (count > 0).then(|| in_table_order(missing, count).join(", "))
}

impl Query {
    /// Reads a body and checks the constraints of its parameters.
    ///
    /// # Errors
    /// `SerializationException`, or `ValidationException` for broken constraints.
    pub fn read(body: &[u8]) -> Result<Unjudged<Self>, ApiError> {
        let params = Params::read(body, "QueryInput", &FIELDS)?;
        let table = params.check_constraints(|_| ())?;
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
        params.check_mixing(&[
            ExpressionKind::Projection,
            ExpressionKind::Filter,
            ExpressionKind::KeyCondition,
        ])?;
        let start = params.exclusive_start_key.take();
        if let Some(start) = &start {
            start.check().map_err(|error| {
                ApiError::validation(format!("The provided starting key is invalid: {}", error.message))
            })?;
        }
        let select = check_select(&params, "1 validation error detected: ")?;
        let (filter, filter_kind, projection, keys) = selection(&mut params)?;
        Ok(Query {
            table,
            index: params.index_name.take(),
            keys,
            filter,
            filter_kind,
            projection,
            select,
            limit: params.limit.and_then(|limit| u64::try_from(limit).ok()),
            consistent: params.consistent_read.unwrap_or(false),
            forward: params.scan_index_forward.unwrap_or(true),
            start: start.map(|values| values.items),
            consumed_capacity: params.consumed_capacity(),
        })
    }

    /// Checks the query against the table's schema and says what it reads.
    ///
    /// # Errors
    /// `ValidationException`.
    pub fn plan<'s>(&self, schema: &'s TableSchema) -> Result<QueryPlan<'s>, ApiError> {
        let (index, select) = resolve_index(
            schema,
            self.index.as_deref(),
            self.consistent,
            self.select,
            self.projection.is_some(),
        )?;
        let definition = index.map_or(&schema.key, IndexRef::key);
        schema.check_paths(self.filter.iter().flat_map(Condition::paths))?;
        schema.check_paths(self.projection.iter().flat_map(Projection::paths))?;
        let condition = match &self.keys {
            Keys::Expression(condition) => {
                KeyCondition::from_expression(condition, definition, self.index.as_deref())?
            }
            Keys::Legacy(conditions) => key_conditions(conditions, definition, self.index.as_deref())?,
        };
        check_projected(schema, index, self.filter.as_ref(), self.projection.as_ref())?;
        if let Some(filter) = &self.filter {
            check_filter_keys(filter, definition, self.filter_kind)?;
        }
        let start = self
            .start
            .as_ref()
            .map(|key| start_key(key, schema, index, definition, &condition))
            .transpose()?;
        let encoded = |values: &[AttributeValue]| {
            crate::key::encode_elements(values).map_err(|error| ApiError::validation(error.to_string()))
        };
        let (partition, sort_prefix) = (encoded(&condition.partition)?, encoded(&condition.sort_prefix)?);
        Ok(QueryPlan { index, partition, sort_prefix, sort: condition.sort, start, select })
    }
}

fn start_key(
    key: &Item,
    schema: &TableSchema,
    index: Option<IndexRef<'_>>,
    definition: &KeyDefinition,
    condition: &KeyCondition,
) -> Result<StartKey, ApiError> {
    let start = StartKey::check(key, schema, index, false)?;
    if !condition.has_partition_of(definition, &start.attributes) {
        return Err(outside_query());
    }
    if !condition.has_sort_of(definition, &start.attributes) {
        return Err(outside_range());
    }
    Ok(start)
}

/// Filter, projection and keys, in the order in which their faults are told.
#[allow(clippy::type_complexity)]
fn selection(
    params: &mut Params,
) -> Result<(Option<Condition>, ExpressionKind, Option<Projection>, Keys), ApiError> {
    if params.key_conditions.is_none() && params.key_condition_expression.is_none() {
        return Err(ApiError::validation(
            "Either the KeyConditions or KeyConditionExpression parameter must be specified in the request.",
        ));
    }
    // Values that are none are told before what the old conditions do with them.
    for map in [&params.key_conditions, &params.query_filter].into_iter().flatten() {
        legacy::check_values(map)?;
    }
    let mut placeholders = params.placeholders()?;
    let expression = params.bind_condition(ExpressionKind::Filter, &mut placeholders)?;
    let (filter, kind) = match expression {
        Some(filter) => (Some(filter), ExpressionKind::Filter),
        None => {
            let entries =
                params.query_filter.as_ref().map(legacy::conditions).transpose()?.unwrap_or_default();
            // Any other kind stands for the legacy parameter.
            (filter_condition(&entries, params.operator())?, ExpressionKind::Condition)
        }
    };
    let projection = match params.bind_projection(&mut placeholders)? {
        Some(projection) => Some(projection),
        None => params.legacy_projection()?,
    };
    let keys = match params.bind_condition(ExpressionKind::KeyCondition, &mut placeholders)? {
        Some(condition) => Keys::Expression(condition),
        None => {
            let entries =
                params.key_conditions.as_ref().map(legacy::conditions).transpose()?.unwrap_or_default();
            check_key_conditions(&entries)?;
            Keys::Legacy(entries)
        }
    };
    placeholders.check_unused()?;
    Ok((filter, kind, projection, keys))
}
