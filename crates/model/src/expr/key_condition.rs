//! What a query reads: the items of one partition, perhaps restricted to a range of sort keys.

use super::ExpressionKind;
use super::condition::{Comparator, Condition, ConditionExpr, Operand, begins_with, order};
use super::path::DocumentPath;
use crate::key::SortCondition;
use crate::schema::{KeyAttribute, KeyDefinition};
use crate::{ApiError, AttributeValue, Item, limits};
use std::cmp::Ordering;

/// The keys that a query reads. A table has one partition attribute and at most one sort attribute; a global
/// index may have several of each, of which a query fixes all partition attributes and as many leading sort
/// attributes as it likes, the last of them by a range.
#[derive(Clone, Debug, PartialEq)]
pub struct KeyCondition {
    /// The value of each partition attribute, in the order of the key.
    pub partition: Vec<AttributeValue>,
    /// The values of the leading sort attributes, all but the last that the query restricts.
    pub sort_prefix: Vec<AttributeValue>,
    /// What is asked of the sort attribute after `sort_prefix`; [`SortCondition::Any`] when the query
    /// restricts none.
    pub sort: SortCondition,
}

/// What is asked of one attribute.
pub(super) struct KeyTerm {
    pub attribute: String,
    /// `None` for an operator that no key supports.
    pub condition: Option<SortCondition>,
    /// The values, for the type check, also of an unsupported operator.
    pub values: Vec<AttributeValue>,
}

impl KeyCondition {
    /// Reads a bound `KeyConditionExpression` against the key of the table or, with its name, of the index.
    ///
    /// # Errors
    /// `ValidationException` with DynamoDB's text for whatever a query cannot do.
    pub fn from_expression(
        condition: &Condition,
        key: &KeyDefinition,
        index: Option<&str>,
    ) -> Result<Self, ApiError> {
        let names: Vec<&str> = key.attributes().map(|attribute| attribute.name.as_str()).collect();
        check_key_paths(condition.paths(), &names, &[])?;
        let mut terms = Vec::new();
        collect(condition.expr(), &mut terms)?;
        Self::from_terms(terms, key, index)
    }

    pub(super) fn from_terms(
        terms: Vec<KeyTerm>,
        key: &KeyDefinition,
        index: Option<&str>,
    ) -> Result<Self, ApiError> {
        let unsupported = || ApiError::validation("Query key condition not supported");
        if terms.is_empty() || terms.len() > key.len().max(2) {
            return Err(ApiError::validation("Conditions can be of length 1 or 2 only"));
        }
        if terms.len() > key.len() {
            return Err(unsupported());
        }
        let mut found = KeyCondition {
            partition: Vec::with_capacity(key.partition.len()),
            sort_prefix: Vec::new(),
            sort: SortCondition::Any,
        };
        for attribute in &key.partition {
            match find(&terms, attribute)? {
                Some(SortCondition::Equal(value)) => found.partition.push(value.clone()),
                _ => return Err(unsupported()),
            }
        }
        let restricted = terms.len().saturating_sub(key.partition.len());
        for (position, attribute) in key.sort.iter().take(restricted).enumerate() {
            match find(&terms, attribute)?.clone() {
                Some(condition) if position + 1 == restricted => found.sort = condition,
                Some(SortCondition::Equal(value)) => found.sort_prefix.push(value),
                _ => return Err(unsupported()),
            }
        }
        found.check_values(key, index)?;
        Ok(found)
    }

    /// True if the partition attributes of `item` are those that the query reads.
    pub fn has_partition_of(&self, key: &KeyDefinition, item: &Item) -> bool {
        let mut pairs = key.partition.iter().zip(&self.partition);
        pairs.all(|(attribute, value)| item.get(&attribute.name) == Some(value))
    }

    /// True if the sort attributes of `item` are within what the query reads. An absent one is not.
    pub fn has_sort_of(&self, key: &KeyDefinition, item: &Item) -> bool {
        let mut pairs = key.sort.iter().zip(&self.sort_prefix);
        pairs.all(|(attribute, value)| item.get(&attribute.name) == Some(value))
            && match key.sort.get(self.sort_prefix.len()) {
                Some(_) if self.sort == SortCondition::Any => true,
                Some(attribute) => {
                    item.get(&attribute.name).is_some_and(|value| is_within(value, &self.sort))
                }
                None => true,
            }
    }

    fn check_values(&self, key: &KeyDefinition, index: Option<&str>) -> Result<(), ApiError> {
        let fixed = self.partition.iter().chain(&self.sort_prefix);
        let attributes = key.partition.iter().chain(key.sort.iter());
        for (attribute, value) in attributes.zip(fixed) {
            check_not_empty(attribute, value, index)?;
        }
        let ends = range_values(&self.sort);
        if let Some(attribute) = key.sort.get(self.sort_prefix.len()) {
            ends.iter().try_for_each(|value| check_not_empty(attribute, value, index))?;
        }
        if self.partition.iter().map(scalar_bytes).sum::<usize>() > limits::MAX_PARTITION_KEY_BYTES {
            return Err(ApiError::invalid_parameter(
                "Size of hashkey has exceeded the maximum size limit of2048 bytes",
            ));
        }
        let longest = ends.into_iter().map(scalar_bytes).max().unwrap_or(0);
        if self.sort_prefix.iter().map(scalar_bytes).sum::<usize>() + longest > limits::MAX_SORT_KEY_BYTES {
            return Err(ApiError::invalid_parameter(
                "Aggregated size of all range keys has exceeded the size limit of 1024 bytes",
            ));
        }
        Ok(())
    }
}

/// What is asked of `attribute`, of whose type the values must be.
fn find<'t>(terms: &'t [KeyTerm], attribute: &KeyAttribute) -> Result<&'t Option<SortCondition>, ApiError> {
    let Some(term) = terms.iter().find(|term| term.attribute == attribute.name) else {
        return Err(ApiError::validation(format!(
            "Query condition missed key schema element: {}",
            attribute.name
        )));
    };
    if term.values.iter().all(|value| attribute.kind.admits(value)) {
        return Ok(&term.condition);
    }
    Err(ApiError::invalid_parameter("Condition parameter type does not match schema type"))
}

fn is_within(value: &AttributeValue, condition: &SortCondition) -> bool {
    let ordered = |bound, accept: fn(Ordering) -> bool| order(value, bound).is_some_and(accept);
    match condition {
        SortCondition::Any => true,
        SortCondition::Equal(bound) => ordered(bound, Ordering::is_eq),
        SortCondition::Less(bound) => ordered(bound, Ordering::is_lt),
        SortCondition::LessOrEqual(bound) => ordered(bound, Ordering::is_le),
        SortCondition::Greater(bound) => ordered(bound, Ordering::is_gt),
        SortCondition::GreaterOrEqual(bound) => ordered(bound, Ordering::is_ge),
        SortCondition::Between(low, high) => ordered(low, Ordering::is_ge) && ordered(high, Ordering::is_le),
        SortCondition::BeginsWith(prefix) => begins_with(value, prefix),
    }
}

fn range_values(condition: &SortCondition) -> Vec<&AttributeValue> {
    match condition {
        SortCondition::Any => Vec::new(),
        SortCondition::Between(low, high) => vec![low, high],
        SortCondition::Equal(value)
        | SortCondition::Less(value)
        | SortCondition::LessOrEqual(value)
        | SortCondition::Greater(value)
        | SortCondition::GreaterOrEqual(value)
        | SortCondition::BeginsWith(value) => vec![value],
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

fn check_not_empty(
    attribute: &KeyAttribute,
    value: &AttributeValue,
    index: Option<&str>,
) -> Result<(), ApiError> {
    let kind = match value {
        AttributeValue::S(text) if text.is_empty() => "string",
        AttributeValue::B(bytes) if bytes.is_empty() => "binary",
        _ => return Ok(()),
    };
    let name = &attribute.name;
    Err(ApiError::validation(match index {
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
                Comparator::Equal => SortCondition::Equal,
                Comparator::Less => SortCondition::Less,
                Comparator::LessOrEqual => SortCondition::LessOrEqual,
                Comparator::Greater => SortCondition::Greater,
                _ => SortCondition::GreaterOrEqual,
            };
            KeyTerm { attribute: path, condition: values.first().cloned().map(make), values }
        }
        ConditionExpr::Between(operand, low, high) => {
            require_first("BETWEEN", operand)?;
            let (path, values) = key_operands([operand, low, high])?;
            let range = match values.as_slice() {
                [low, high] => Some(SortCondition::Between(low.clone(), high.clone())),
                _ => None,
            };
            KeyTerm { attribute: path, condition: range, values }
        }
        ConditionExpr::BeginsWith(operand, prefix) => {
            require_first("begins_with", operand)?;
            let (path, values) = key_operands([operand, prefix])?;
            KeyTerm {
                attribute: path,
                condition: values.first().cloned().map(SortCondition::BeginsWith),
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

/// Refuses a path into a key attribute, which is always a scalar. To be called with the paths of every
/// expression of a request, once all are bound and their placeholders used up; for an update, after
/// [`super::Update::check_keys`].
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

/// Refuses a query's filter that names one of the key attributes of the table or index that the query reads.
/// `kind` is [`ExpressionKind::Filter`] for an expression; anything else stands for the legacy `QueryFilter`.
///
/// # Errors
/// `ValidationException` that names the key attribute.
pub fn check_filter_keys(
    filter: &Condition,
    key: &KeyDefinition,
    kind: ExpressionKind,
) -> Result<(), ApiError> {
    let paths = filter.paths();
    let parameter = if kind == ExpressionKind::Filter { "Filter Expression" } else { "QueryFilter" };
    match key.attributes().find(|attribute| paths.iter().any(|path| path.root() == attribute.name)) {
        None => Ok(()),
        Some(attribute) => Err(ApiError::validation(format!(
            "{parameter} can only contain non-primary key attributes: Primary key attribute: {}",
            attribute.name
        ))),
    }
}
