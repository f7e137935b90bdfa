//! The parameters that preceded expressions: `Expected`, `AttributeUpdates`, `KeyConditions`, `QueryFilter`,
//! `ScanFilter`, `AttributesToGet` and `ConditionalOperator`. They are translated to the same bound forms as
//! expressions.
//!
//! Attribute names here are names, never paths: `a.b` is an attribute with a dot in its name.

use super::condition::{Comparator, Condition, ConditionExpr, Operand, order};
use super::key_condition::{KeyCondition, KeyTerm};
use super::path::DocumentPath;
use super::update::{Action, SetOperand, SetValue, Update};
use super::{Placeholders, Projection};
use crate::key::SortCondition;
use crate::schema::KeyDefinition;
use crate::{ApiError, AttributeValue};
use std::collections::BTreeMap;
use std::sync::Arc;

/// `ComparisonOperator`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum ComparisonOperator {
    Eq,
    Ne,
    Le,
    Lt,
    Ge,
    Gt,
    NotNull,
    Null,
    Contains,
    NotContains,
    BeginsWith,
    In,
    Between,
}

impl ComparisonOperator {
    /// Every operator.
    pub const ALL: [ComparisonOperator; 13] = {
        use ComparisonOperator::*;
        [Eq, Ne, Le, Lt, Ge, Gt, NotNull, Null, Contains, NotContains, BeginsWith, In, Between]
    };

    /// The name in a request.
    pub fn name(self) -> &'static str {
        match self {
            ComparisonOperator::Eq => "EQ",
            ComparisonOperator::Ne => "NE",
            ComparisonOperator::Le => "LE",
            ComparisonOperator::Lt => "LT",
            ComparisonOperator::Ge => "GE",
            ComparisonOperator::Gt => "GT",
            ComparisonOperator::NotNull => "NOT_NULL",
            ComparisonOperator::Null => "NULL",
            ComparisonOperator::Contains => "CONTAINS",
            ComparisonOperator::NotContains => "NOT_CONTAINS",
            ComparisonOperator::BeginsWith => "BEGINS_WITH",
            ComparisonOperator::In => "IN",
            ComparisonOperator::Between => "BETWEEN",
        }
    }

    /// The operator of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|operator| operator.name() == name)
    }

    fn accepts_count(self, count: usize) -> bool {
        match self {
            ComparisonOperator::NotNull | ComparisonOperator::Null => count == 0,
            ComparisonOperator::In => count >= 1,
            ComparisonOperator::Between => count == 2,
            _ => count == 1,
        }
    }

    fn accepts_type(self, value: &AttributeValue) -> bool {
        use AttributeValue::*;
        match self {
            ComparisonOperator::Eq
            | ComparisonOperator::Ne
            | ComparisonOperator::Null
            | ComparisonOperator::NotNull => true,
            ComparisonOperator::Contains | ComparisonOperator::NotContains => {
                matches!(value, S(_) | N(_) | B(_) | Bool(_) | Null)
            }
            ComparisonOperator::BeginsWith => matches!(value, S(_) | B(_)),
            _ => matches!(value, S(_) | N(_) | B(_)),
        }
    }
}

/// `ConditionalOperator`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConditionalOperator {
    /// All conditions must hold.
    And,
    /// One is enough.
    Or,
}

/// One entry of `Expected`, as it came.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LegacyExpected {
    /// `Value`.
    pub value: Option<AttributeValue>,
    /// `Exists`.
    pub exists: Option<bool>,
    /// `ComparisonOperator`.
    pub comparison: Option<ComparisonOperator>,
    /// `AttributeValueList`.
    pub values: Option<Vec<AttributeValue>>,
}

/// One entry of `KeyConditions`, `QueryFilter` or `ScanFilter`.
#[derive(Clone, Debug, PartialEq)]
pub struct LegacyCondition {
    /// `ComparisonOperator`.
    pub comparison: ComparisonOperator,
    /// `AttributeValueList`; empty when absent.
    pub values: Vec<AttributeValue>,
}

/// `Action` of `AttributeUpdates`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AttributeUpdateAction {
    /// Puts the value in place of whatever was there.
    #[default]
    Put,
    /// Adds to a number, set or list.
    Add,
    /// Removes the attribute, or members of a set.
    Delete,
}

/// One entry of `AttributeUpdates`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LegacyUpdate {
    /// `Action`.
    pub action: AttributeUpdateAction,
    /// `Value`.
    pub value: Option<AttributeValue>,
}

fn check_name(name: &str) -> Result<(), ApiError> {
    match name.len() {
        0 => Err(ApiError::validation("Empty attribute name")),
        1..=Placeholders::MAX_NAME_BYTES => Ok(()),
        _ => Err(ApiError::validation("Attribute name is too large, must be less than 65536 bytes")),
    }
}

/// The arguments of a comparison: how many, of which types, of one type, and in order.
fn check_arguments(comparison: ComparisonOperator, values: &[AttributeValue]) -> Result<(), ApiError> {
    let name = comparison.name();
    if !comparison.accepts_count(values.len()) {
        return Err(ApiError::invalid_parameter(format_args!(
            "Invalid number of argument(s) for the {name} ComparisonOperator"
        )));
    }
    if let Some(value) = values.iter().find(|value| !comparison.accepts_type(value)) {
        return Err(ApiError::invalid_parameter(format_args!(
            "ComparisonOperator {name} is not valid for {} AttributeValue type",
            value.type_name()
        )));
    }
    if values.windows(2).any(|pair| pair[0].type_name() != pair[1].type_name()) {
        return Err(ApiError::invalid_parameter(
            "AttributeValues inside AttributeValueList must be of same type",
        ));
    }
    match (comparison, values) {
        (ComparisonOperator::Between, [low, high]) if order(low, high).is_some_and(|o| o.is_gt()) => {
            Err(ApiError::validation(
                "The BETWEEN condition was provided a range where the lower bound is greater than the upper bound",
            ))
        }
        _ => Ok(()),
    }
}

fn condition_on(name: &str, comparison: ComparisonOperator, values: &[AttributeValue]) -> ConditionExpr {
    let path = DocumentPath::attribute(name);
    let operand = || Operand::Path(path.clone());
    let operands: Vec<Operand> = values.iter().map(|v| Operand::Value(Arc::new(v.clone()))).collect();
    let first = || operands.first().cloned().unwrap_or(Operand::Value(Arc::new(AttributeValue::Null)));
    let compare = |comparator| ConditionExpr::Compare(comparator, operand(), first());
    match comparison {
        ComparisonOperator::Eq => compare(Comparator::Equal),
        ComparisonOperator::Ne => compare(Comparator::NotEqual),
        ComparisonOperator::Le => compare(Comparator::LessOrEqual),
        ComparisonOperator::Lt => compare(Comparator::Less),
        ComparisonOperator::Ge => compare(Comparator::GreaterOrEqual),
        ComparisonOperator::Gt => compare(Comparator::Greater),
        ComparisonOperator::NotNull => ConditionExpr::Exists(path),
        ComparisonOperator::Null => ConditionExpr::NotExists(path),
        ComparisonOperator::Contains => ConditionExpr::Contains(operand(), first()),
        // Holds for an attribute of any type that does not contain the value, but not for an absent one.
        ComparisonOperator::NotContains => ConditionExpr::And(vec![
            ConditionExpr::Exists(path.clone()),
            ConditionExpr::Not(Box::new(ConditionExpr::Contains(operand(), first()))),
        ]),
        ComparisonOperator::BeginsWith => ConditionExpr::BeginsWith(operand(), first()),
        ComparisonOperator::In => ConditionExpr::In(operand(), operands),
        ComparisonOperator::Between => {
            let second = operands.get(1).cloned().unwrap_or_else(first);
            ConditionExpr::Between(operand(), first(), second)
        }
    }
}

fn combine(
    conditions: Vec<ConditionExpr>,
    operator: Option<ConditionalOperator>,
) -> Result<Option<Condition>, ApiError> {
    match (conditions.len(), operator) {
        (0, Some(_)) => {
            Err(ApiError::validation("ConditionalOperator cannot be used without Filter or Expected"))
        }
        (1, Some(_)) => Err(ApiError::validation(
            "ConditionalOperator can only be used when Filter or Expected has two or more elements",
        )),
        (0, None) => Ok(None),
        (_, Some(ConditionalOperator::Or)) => Ok(Some(Condition::new(ConditionExpr::Or(conditions)))),
        _ => Ok(Some(Condition::new(ConditionExpr::And(conditions)))),
    }
}

/// `Expected` with `ConditionalOperator`; no condition when there is no entry.
///
/// # Errors
/// `ValidationException` for entries whose members do not go together, unfitting arguments, or an operator
/// without two entries.
pub fn expected_condition(
    expected: &BTreeMap<String, LegacyExpected>,
    operator: Option<ConditionalOperator>,
) -> Result<Option<Condition>, ApiError> {
    let mut conditions = Vec::with_capacity(expected.len());
    for (name, entry) in expected {
        check_name(name)?;
        conditions.push(expectation(name, entry)?);
    }
    combine(conditions, operator)
}

fn expectation(name: &str, entry: &LegacyExpected) -> Result<ConditionExpr, ApiError> {
    let fault =
        |message: &str| Err(ApiError::invalid_parameter(format_args!("{message} for Attribute: {name}")));
    match (entry.comparison, entry.exists, &entry.value, &entry.values) {
        (_, _, Some(_), Some(_)) => fault("Value and AttributeValueList cannot be used together"),
        (Some(_), Some(_), ..) => fault("Exists and ComparisonOperator cannot be used together"),
        (Some(comparison), None, value, values) => {
            let needs_values = !matches!(comparison, ComparisonOperator::Null | ComparisonOperator::NotNull);
            let values = match (value, values) {
                (Some(value), _) => std::slice::from_ref(value),
                (None, Some(values)) => values.as_slice(),
                (None, None) if needs_values => {
                    return fault(&format!(
                        "Value or AttributeValueList must be used with ComparisonOperator: {}",
                        comparison.name()
                    ));
                }
                (None, None) => &[],
            };
            check_arguments(comparison, values)?;
            Ok(condition_on(name, comparison, values))
        }
        (None, _, _, Some(_)) => fault("AttributeValueList can only be used with a ComparisonOperator"),
        (None, Some(false), Some(_), None) => fault("Value cannot be used when Exists is false"),
        (None, Some(false), None, None) => Ok(condition_on(name, ComparisonOperator::Null, &[])),
        (None, Some(true), None, None) => fault("Value must be provided when Exists is true"),
        (None, None, None, None) => fault("Value must be provided when Exists is null"),
        (None, _, Some(value), None) => {
            Ok(condition_on(name, ComparisonOperator::Eq, std::slice::from_ref(value)))
        }
    }
}

/// `QueryFilter` or `ScanFilter` with `ConditionalOperator`; no condition when there is no entry.
///
/// # Errors
/// As [`expected_condition`].
pub fn filter_condition(
    filter: &BTreeMap<String, LegacyCondition>,
    operator: Option<ConditionalOperator>,
) -> Result<Option<Condition>, ApiError> {
    let mut conditions = Vec::with_capacity(filter.len());
    for (name, entry) in filter {
        check_name(name)?;
        check_arguments(entry.comparison, &entry.values)?;
        conditions.push(condition_on(name, entry.comparison, &entry.values));
    }
    combine(conditions, operator)
}

/// What the entries of `KeyConditions` alone tell, before the table's schema is looked at.
///
/// # Errors
/// `ValidationException` for unfitting arguments.
pub fn check_key_conditions(conditions: &BTreeMap<String, LegacyCondition>) -> Result<(), ApiError> {
    for (name, entry) in conditions {
        check_name(name)?;
        check_arguments(entry.comparison, &entry.values)?;
    }
    Ok(())
}

/// `KeyConditions`, against the key of the table or, with its name, of the index.
///
/// # Errors
/// `ValidationException` for unfitting arguments ([`check_key_conditions`]) and for whatever a query cannot
/// do.
pub fn key_conditions(
    conditions: &BTreeMap<String, LegacyCondition>,
    key: &KeyDefinition,
    index: Option<&str>,
) -> Result<KeyCondition, ApiError> {
    check_key_conditions(conditions)?;
    let mut terms = Vec::with_capacity(conditions.len());
    for (name, entry) in conditions {
        let value = || entry.values.first().cloned().unwrap_or(AttributeValue::Null);
        let condition = match entry.comparison {
            ComparisonOperator::Eq => Some(SortCondition::Equal(value())),
            ComparisonOperator::Le => Some(SortCondition::LessOrEqual(value())),
            ComparisonOperator::Lt => Some(SortCondition::Less(value())),
            ComparisonOperator::Ge => Some(SortCondition::GreaterOrEqual(value())),
            ComparisonOperator::Gt => Some(SortCondition::Greater(value())),
            ComparisonOperator::BeginsWith => Some(SortCondition::BeginsWith(value())),
            ComparisonOperator::Between => match entry.values.as_slice() {
                [low, high] => Some(SortCondition::Between(low.clone(), high.clone())),
                _ => None,
            },
            _ => None,
        };
        let is_sort = key.sort.iter().any(|attribute| attribute.name == *name);
        let is_complete = key.partition.iter().all(|attribute| conditions.contains_key(&attribute.name));
        if condition.is_none() && is_sort && is_complete && conditions.len() <= key.len() {
            return Err(ApiError::validation(
                "Attempted conditional constraint is not an indexable operation",
            ));
        }
        terms.push(KeyTerm { attribute: name.clone(), condition, values: entry.values.clone() });
    }
    KeyCondition::from_terms(terms, key, index)
}

/// `AttributeUpdates`. An absent or empty map changes nothing.
///
/// # Errors
/// `ValidationException` for a missing value, or one of a type that the action does not support.
pub fn attribute_updates(updates: &BTreeMap<String, LegacyUpdate>) -> Result<Update, ApiError> {
    let mut actions = Vec::with_capacity(updates.len());
    for (name, entry) in updates {
        check_name(name)?;
        let path = DocumentPath::attribute(name.as_str());
        let action = match (&entry.value, entry.action) {
            (None, AttributeUpdateAction::Delete) => Action::Remove(path),
            (None, _) => {
                return Err(ApiError::invalid_parameter(
                    "Only DELETE action is allowed when no attribute value is specified",
                ));
            }
            (Some(value), AttributeUpdateAction::Put) => {
                Action::Set(path, SetValue::Operand(SetOperand::Value(Arc::new(value.clone()))))
            }
            (Some(value), AttributeUpdateAction::Add) => {
                if !value.is_set() && !matches!(value, AttributeValue::N(_) | AttributeValue::L(_)) {
                    return Err(ApiError::invalid_parameter(format_args!(
                        "ADD action is not supported for the type {}",
                        super::bind::long_type_name(value)
                    )));
                }
                Action::Add(path, Arc::new(value.clone()))
            }
            (Some(value), AttributeUpdateAction::Delete) => {
                if !value.is_set() {
                    return Err(ApiError::invalid_parameter(format_args!(
                        "DELETE action with value is not supported for the type {}",
                        super::bind::long_type_name(value)
                    )));
                }
                Action::Delete(path, Arc::new(value.clone()))
            }
        };
        actions.push(action);
    }
    Update::legacy(actions)
}

/// `AttributesToGet`.
///
/// # Errors
/// `ValidationException` for an empty list, an empty name, or a name that is there twice.
pub fn attributes_to_get(names: &[String]) -> Result<Projection, ApiError> {
    if names.is_empty() {
        return Err(ApiError::validation("AttributesToGet cannot be empty"));
    }
    let mut seen = std::collections::BTreeSet::new();
    for name in names {
        check_name(name)?;
        if !seen.insert(name) {
            return Err(ApiError::invalid_parameter(format_args!(
                "Duplicate value in attribute name: {name}"
            )));
        }
    }
    Ok(Projection::of_attributes(names.iter().map(String::as_str)))
}
