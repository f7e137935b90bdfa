//! `Scan`.

use super::legacy;
use super::options::{ReturnConsumedCapacity, Select};
use super::params::{Params, Unjudged};
use super::query::{check_projected, check_select, resolve_index};
use super::start_key::{StartKey, outside_segment};
use crate::expr::{Condition, ExpressionKind, Projection, filter_condition};
use crate::schema::{IndexRef, TableSchema};
use crate::{ApiError, Item};

const FIELDS: [&str; 16] = [
    "TableName",
    "IndexName",
    "AttributesToGet",
    "Limit",
    "Select",
    "ScanFilter",
    "ConditionalOperator",
    "ExclusiveStartKey",
    "ReturnConsumedCapacity",
    "TotalSegments",
    "Segment",
    "ProjectionExpression",
    "FilterExpression",
    "ExpressionAttributeNames",
    "ExpressionAttributeValues",
    "ConsistentRead",
];

/// A valid `Scan`; [`Scan::plan`] checks it against the table's schema.
#[derive(Clone, Debug, PartialEq)]
pub struct Scan {
    /// The table's name.
    pub table: String,
    /// The index to read, if not the table.
    pub index: Option<String>,
    /// What items to return of those read; legacy or expression.
    pub filter: Option<Condition>,
    /// What to return of each item.
    pub projection: Option<Projection>,
    /// `Select`, if it is there.
    pub select: Option<Select>,
    /// Most items to read.
    pub limit: Option<u64>,
    /// Segment and number of segments of a parallel scan.
    pub segment: Option<(u32, u32)>,
    /// Whether the read sees every write acknowledged before it.
    pub consistent: bool,
    /// Where to begin.
    pub start: Option<Item>,
    /// Capacity to report.
    pub consumed_capacity: ReturnConsumedCapacity,
}

/// What a scan reads, by the schema.
#[derive(Clone, Debug, PartialEq)]
pub struct ScanPlan<'s> {
    /// The index, if not the table.
    pub index: Option<IndexRef<'s>>,
    /// Where to begin.
    pub start: Option<StartKey>,
    /// What to return, defaults applied.
    pub select: Select,
}

impl Scan {
    /// Reads a body and checks the constraints of its parameters.
    ///
    /// # Errors
    /// `SerializationException`, or `ValidationException` for broken constraints.
    pub fn read(body: &[u8]) -> Result<Unjudged<Self>, ApiError> {
        let params = Params::read(body, "ScanInput", &FIELDS)?;
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
        // Errors of segments are reported before all others. No AWS document settles the order; DynamoDB
        // Local reports them last.
        let segment = segment(&params)?;
        params.check_mixing(&[ExpressionKind::Projection, ExpressionKind::Filter])?;
        let start = params.exclusive_start_key.take();
        if let Some(start) = &start {
            start.check().map_err(|error| {
                ApiError::validation(format!("The provided starting key is invalid: {}", error.message))
            })?;
        }
        let select = check_select(&params, "")?;
        let mut placeholders = params.placeholders()?;
        let filter = match params.bind_condition(ExpressionKind::Filter, &mut placeholders)? {
            Some(filter) => Some(filter),
            None => {
                let entries =
                    params.scan_filter.as_ref().map(legacy::conditions).transpose()?.unwrap_or_default();
                filter_condition(&entries, params.operator())?
            }
        };
        let projection = match params.bind_projection(&mut placeholders)? {
            Some(projection) => Some(projection),
            None => params.legacy_projection()?,
        };
        placeholders.check_unused()?;
        Ok(Scan {
            table,
            index: params.index_name.take(),
            filter,
            projection,
            select,
            limit: params.limit.and_then(|limit| u64::try_from(limit).ok()),
            segment,
            consistent: params.consistent_read.unwrap_or(false),
            start: start.map(|values| values.items),
            consumed_capacity: params.consumed_capacity(),
        })
    }

    /// Checks the scan against the table's schema and says what it reads.
    ///
    /// # Errors
    /// `ValidationException`.
    pub fn plan<'s>(&self, schema: &'s TableSchema) -> Result<ScanPlan<'s>, ApiError> {
        let (index, select) = resolve_index(
            schema,
            self.index.as_deref(),
            self.consistent,
            self.select,
            self.projection.is_some(),
        )?;
        schema.check_paths(self.filter.iter().flat_map(Condition::paths))?;
        schema.check_paths(self.projection.iter().flat_map(Projection::paths))?;
        // A filter may name what a global index does not hold: to a scan of the index it is absent.
        if index.is_some_and(IndexRef::is_global) {
            check_projected(schema, index, None, self.projection.as_ref())?;
        }
        let start = self
            .start
            .as_ref()
            .map(|key| StartKey::check(key, schema, index, index.is_none()))
            .transpose()?;
        Ok(ScanPlan { index, start, select })
    }

    /// The error to give when the start key lies in another segment; only who knows the tokens can tell.
    pub fn outside_segment(&self) -> ApiError {
        let (segment, total) = self.segment.unwrap_or_default();
        outside_segment(total, segment)
    }
}

fn segment(params: &Params) -> Result<Option<(u32, u32)>, ApiError> {
    match (params.segment, params.total_segments) {
        (None, None) => Ok(None),
        (Some(_), None) => Err(ApiError::validation(
            "The TotalSegments parameter is required but was not present in the request when Segment parameter is present",
        )),
        (None, Some(_)) => Err(ApiError::validation(
            "The Segment parameter is required but was not present in the request when parameter TotalSegments is present",
        )),
        (Some(segment), Some(total)) if segment >= total => Err(ApiError::validation(format!(
            "The Segment parameter is zero-based and must be less than parameter TotalSegments: Segment: {segment} is not less than TotalSegments: {total}"
        ))),
        (Some(segment), Some(total)) => {
            // Both were brought under a million by the constraints.
            Ok(u32::try_from(segment).ok().zip(u32::try_from(total).ok()))
        }
    }
}
