//! What a query reads: one partition key value, and a range of sort keys.

use super::ExpressionKind;
use super::condition::{Comparator, Condition, ConditionExpr, Operand, order};
use super::path::DocumentPath;
use crate::{ApiError, AttributeValue, limits};

/// The type of a key attribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyType {
    /// String.
    S,
    /// Number.
    N,
    /// Binary.
    B,
}

impl KeyType {
    /// The name in JSON.
    pub fn name(self) -> &'static str {
        match self {
            KeyType::S => "S",
            KeyType::N => "N",
            KeyType::B => "B",
        }
    }
}

/// A key attribute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyAttribute {
    /// Its name.
    pub name: String,
    /// The type that its values must have.
    pub kind: KeyType,
}

/// The key of the table or index that a query reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeySchema {
    /// The partition key.
    pub hash: KeyAttribute,
    /// The sort key, if there is one.
    pub range: Option<KeyAttribute>,
    /// The name of the index, if it is one.
    pub index: Option<String>,
}

impl KeySchema {
    fn attributes(&self) -> impl Iterator<Item = &KeyAttribute> {
        std::iter::once(&self.hash).chain(&self.range)
    }
}

/// The sort keys that a query reads.
#[derive(Clone, Debug, PartialEq)]
pub enum RangeCondition {
    /// Exactly this one.
    Equal(AttributeValue),
    /// Below.
    Less(AttributeValue),
    /// Up to and including.
    LessOrEqual(AttributeValue),
    /// Above.
    Greater(AttributeValue),
    /// From and including.
    GreaterOrEqual(AttributeValue),
    /// From the first to the second, both included.
    Between(AttributeValue, AttributeValue),
    /// Those that start with this string or binary.
    BeginsWith(AttributeValue),
}

impl RangeCondition {
    /// The values that the condition compares with.
    pub fn values(&self) -> impl Iterator<Item = &AttributeValue> {
        let (first, second) = match self {
            RangeCondition::Between(low, high) => (low, Some(high)),
            RangeCondition::Equal(value)
            | RangeCondition::Less(value)
            | RangeCondition::LessOrEqual(value)
            | RangeCondition::Greater(value)
            | RangeCondition::GreaterOrEqual(value)
            | RangeCondition::BeginsWith(value) => (value, None),
        };
        std::iter::once(first).chain(second)
    }

    /// Whether a sort key is among those that the query reads.
    pub fn matches(&self, key: &AttributeValue) -> bool {
        let ordered = |value, accept: fn(std::cmp::Ordering) -> bool| order(key, value).is_some_and(accept);
        match self {
            RangeCondition::Equal(value) => ordered(value, |o| o.is_eq()),
            RangeCondition::Less(value) => ordered(value, |o| o.is_lt()),
            RangeCondition::LessOrEqual(value) => ordered(value, |o| o.is_le()),
            RangeCondition::Greater(value) => ordered(value, |o| o.is_gt()),
            RangeCondition::GreaterOrEqual(value) => ordered(value, |o| o.is_ge()),
            RangeCondition::Between(low, high) => ordered(low, |o| o.is_ge()) && ordered(high, |o| o.is_le()),
            RangeCondition::BeginsWith(prefix) => match (key, prefix) {
                (AttributeValue::S(key), AttributeValue::S(prefix)) => key.starts_with(prefix.as_str()),
                (AttributeValue::B(key), AttributeValue::B(prefix)) => key.starts_with(prefix),
                _ => false,
            },
        }
    }
}

/// The keys that a query reads.
#[derive(Clone, Debug, PartialEq)]
pub struct KeyCondition {
    /// The partition key value.
    pub hash: AttributeValue,
    /// The range of sort keys; all when absent.
    pub range: Option<RangeCondition>,
}

/// What is asked of one attribute.
pub(super) struct KeyTerm {
    pub attribute: String,
    /// `None` for an operator that no key supports.
    pub range: Option<RangeCondition>,
    /// The values, for the type check, also of an unsupported operator.
    pub values: Vec<AttributeValue>,
}

impl KeyCondition {
    /// Reads a bound `KeyConditionExpression` against the key of the table or index.
    ///
    /// # Errors
    /// `ValidationException` with DynamoDB's text for whatever a query cannot do.
    pub fn from_expression(condition: &Condition, schema: &KeySchema) -> Result<Self, ApiError> {
        let keys: Vec<&str> = schema.attributes().map(|key| key.name.as_str()).collect();
        check_key_paths(condition.paths(), &keys, &[])?;
        let mut terms = Vec::new();
        collect(condition.expr(), &mut terms)?;
        Self::from_terms(terms, schema)
    }

    pub(super) fn from_terms(terms: Vec<KeyTerm>, schema: &KeySchema) -> Result<Self, ApiError> {
        let invalid =
            |text: &str| ApiError::validation(format!("One or more parameter values were invalid: {text}"));
        if terms.is_empty() || terms.len() > 2 {
            return Err(ApiError::validation("Conditions can be of length 1 or 2 only"));
        }
        let unsupported = || ApiError::validation("Query key condition not supported");
        if terms.len() == 2 && schema.range.is_none() {
            return Err(unsupported());
        }
        let mut hash = None;
        let mut range = None;
        for (attribute, is_hash) in schema.attributes().zip([true, false]).take(terms.len()) {
            let Some(term) = terms.iter().find(|term| term.attribute == attribute.name) else {
                return Err(ApiError::validation(format!(
                    "Query condition missed key schema element: {}",
                    attribute.name
                )));
            };
            if term.values.iter().any(|value| value.type_name() != attribute.kind.name()) {
                return Err(invalid("Condition parameter type does not match schema type"));
            }
            match &term.range {
                Some(RangeCondition::Equal(value)) if is_hash => hash = Some(value.clone()),
                Some(condition) if !is_hash => range = Some(condition.clone()),
                _ => return Err(unsupported()),
            }
        }
        let hash = hash.ok_or_else(unsupported)?;
        check_key_value(schema, &schema.hash, &hash)?;
        if let (Some(attribute), Some(range)) = (&schema.range, &range) {
            for value in range.values() {
                check_key_value(schema, attribute, value)?;
            }
        }
        if scalar_bytes(&hash) > limits::MAX_PARTITION_KEY_BYTES {
            return Err(invalid("Size of hashkey has exceeded the maximum size limit of2048 bytes"));
        }
        let too_long = |value: &AttributeValue| scalar_bytes(value) > limits::MAX_SORT_KEY_BYTES;
        if range.as_ref().is_some_and(|range| range.values().any(too_long)) {
            return Err(invalid(
                "Aggregated size of all range keys has exceeded the size limit of 1024 bytes",
            ));
        }
        Ok(KeyCondition { hash, range })
    }
}

/// Bytes of a string or binary; numbers are never too long for a key.
fn scalar_bytes(value: &AttributeValue) -> usize {
    match value {
        AttributeValue::S(text) => text.len(),
        AttributeValue::B(bytes) => bytes.len(),
        _ => 0,
    }
}

fn check_key_value(
    schema: &KeySchema,
    attribute: &KeyAttribute,
    value: &AttributeValue,
) -> Result<(), ApiError> {
    let kind = match value {
        AttributeValue::S(text) if text.is_empty() => "string",
        AttributeValue::B(bytes) if bytes.is_empty() => "binary",
        _ => return Ok(()),
    };
    let name = &attribute.name;
    Err(ApiError::validation(match &schema.index {
        None => format!(
            "One or more parameter values are not valid. The AttributeValue for a key attribute cannot contain an empty {kind} value. Key: {name}"
        ),
        Some(index) => format!(
            "One or more parameter values are not valid. A value specified for a secondary index key is not supported. The AttributeValue for a key attribute cannot contain an empty {kind} value. IndexName: {index}, IndexKey: {name}"
        ),
    }))
}

/// Goes through the conjunction left to right.
fn collect(expr: &ConditionExpr, terms: &mut Vec<KeyTerm>) -> Result<(), ApiError> {
    let term = match expr {
        ConditionExpr::And(all) => return all.iter().try_for_each(|c| collect(c, terms)),
        ConditionExpr::Or(_) => return Err(invalid_operator("OR")),
        ConditionExpr::Not(_) => return Err(invalid_operator("NOT")),
        ConditionExpr::In(..) => return Err(invalid_operator("IN")),
        ConditionExpr::Exists(_) => return Err(invalid_operator("attribute_exists")),
        ConditionExpr::NotExists(_) => return Err(invalid_operator("attribute_not_exists")),
        ConditionExpr::HasType(..) => return Err(invalid_operator("attribute_type")),
        ConditionExpr::Contains(..) => return Err(invalid_operator("contains")),
        ConditionExpr::Compare(Comparator::NotEqual, ..) => return Err(invalid_operator("<>")),
        ConditionExpr::Compare(comparator, left, right) => {
            let (path, values) = key_operands([left, right])?;
            let mirrored = matches!(right, Operand::Path(_));
            let comparator = if mirrored { comparator.mirrored() } else { *comparator };
            let make = match comparator {
                Comparator::Equal => RangeCondition::Equal,
                Comparator::Less => RangeCondition::Less,
                Comparator::LessOrEqual => RangeCondition::LessOrEqual,
                Comparator::Greater => RangeCondition::Greater,
                _ => RangeCondition::GreaterOrEqual,
            };
            KeyTerm { attribute: path, range: values.first().cloned().map(make), values }
        }
        ConditionExpr::Between(operand, low, high) => {
            require_first("BETWEEN", operand)?;
            let (path, values) = key_operands([operand, low, high])?;
            let range = match values.as_slice() {
                [low, high] => Some(RangeCondition::Between(low.clone(), high.clone())),
                _ => None,
            };
            KeyTerm { attribute: path, range, values }
        }
        ConditionExpr::BeginsWith(operand, prefix) => {
            require_first("begins_with", operand)?;
            let (path, values) = key_operands([operand, prefix])?;
            KeyTerm {
                attribute: path,
                range: values.first().cloned().map(RangeCondition::BeginsWith),
                values,
            }
        }
    };
    if terms.iter().any(|earlier| earlier.attribute == term.attribute) {
        return Err(ApiError::validation("KeyConditionExpressions must only contain one condition per key"));
    }
    terms.push(term);
    Ok(())
}

fn invalid_operator(operator: &str) -> ApiError {
    ApiError::validation(format!("Invalid operator used in KeyConditionExpression: {operator}"))
}

fn invalid_condition(message: &str) -> ApiError {
    ApiError::validation(format!("Invalid condition in KeyConditionExpression: {message}"))
}

fn require_first(operator: &str, operand: &Operand) -> Result<(), ApiError> {
    match operand {
        Operand::Path(_) | Operand::Size(_) => Ok(()),
        Operand::Value(_) => Err(invalid_condition(&format!(
            "{operator} operator must have the key attribute as its first operand"
        ))),
    }
}

/// The one attribute and the values among the operands of a condition.
fn key_operands<'o>(
    operands: impl IntoIterator<Item = &'o Operand>,
) -> Result<(String, Vec<AttributeValue>), ApiError> {
    let mut found: Option<&DocumentPath> = None;
    let mut values = Vec::new();
    for operand in operands {
        match operand {
            Operand::Size(_) => {
                return Err(ApiError::validation("KeyConditionExpressions cannot contain nested operations"));
            }
            Operand::Value(value) => values.push((**value).clone()),
            Operand::Path(path) => {
                if found.is_some() {
                    return Err(invalid_condition("Multiple attribute names used in one condition"));
                }
                if !path.is_top_level() {
                    return Err(ApiError::validation(
                        "KeyConditionExpressions cannot have conditions on nested attributes",
                    ));
                }
                found = Some(path);
            }
        }
    }
    match found {
        Some(path) => Ok((path.root().to_owned(), values)),
        None => Err(invalid_condition("No key attribute specified")),
    }
}

fn not_scalar(what: &str, key: &str) -> ApiError {
    ApiError::validation(format!(
        "Key attributes must be scalars; list random access '[]' and map lookup '.' are not allowed: {what}: {key}"
    ))
}

/// Refuses a path into a key attribute, which is always a scalar. To be called with the paths of every expression of a request, once all are
/// bound and their placeholders used up; for an update, after [`super::Update::check_keys`].
///
/// # Errors
/// `ValidationException` for the first such path, by the keys of the table before those of its indexes.
pub fn check_key_paths<'p>(
    paths: impl IntoIterator<Item = &'p DocumentPath>,
    table_keys: &[&str],
    index_keys: &[&str],
) -> Result<(), ApiError> {
    for path in paths.into_iter().filter(|path| !path.is_top_level()) {
        if table_keys.contains(&path.root()) {
            return Err(not_scalar("Key", path.root()));
        }
        if index_keys.contains(&path.root()) {
            return Err(not_scalar("IndexKey", path.root()));
        }
    }
    Ok(())
}

/// Refuses a query's filter that names one of the key attributes of the table or index that the query reads. `kind` is
/// [`ExpressionKind::Filter`] for an expression; anything else stands for the legacy `QueryFilter`.
///
/// # Errors
/// `ValidationException` that names the key attribute.
pub fn check_filter_keys(
    filter: &Condition,
    schema: &KeySchema,
    kind: ExpressionKind,
) -> Result<(), ApiError> {
    let paths = filter.paths();
    let parameter = if kind == ExpressionKind::Filter { "Filter Expression" } else { "QueryFilter" };
    match schema.attributes().find(|key| paths.iter().any(|path| path.root() == key.name)) {
        None => Ok(()),
        Some(key) => Err(ApiError::validation(format!(
            "{parameter} can only contain non-primary key attributes: Primary key attribute: {}",
            key.name
        ))),
    }
}
