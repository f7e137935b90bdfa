//! Entries of `Expected`, `AttributeUpdates`, `KeyConditions`, `QueryFilter` and `ScanFilter`.

use super::constraints::Constraints;
use super::params::{LegacyMap, Params, string};
use crate::expr::{
    AttributeUpdateAction, ComparisonOperator, ConditionalOperator, LegacyCondition, LegacyExpected,
    LegacyUpdate,
};
use crate::json::{Reader, read_value};
use crate::{ApiError, AttributeValue};
use std::collections::BTreeMap;

const COMPARISONS: [&str; 13] = [
    "IN",
    "NULL",
    "BETWEEN",
    "LT",
    "NOT_CONTAINS",
    "EQ",
    "GT",
    "NOT_NULL",
    "NE",
    "LE",
    "BEGINS_WITH",
    "GE",
    "CONTAINS",
];

/// One entry as it came. The three kinds differ in which members they have; the others stay absent.
#[derive(Default)]
pub(super) struct LegacyEntry {
    value: Option<AttributeValue>,
    values: Option<Vec<AttributeValue>>,
    exists: Option<bool>,
    comparison: Option<String>,
    action: Option<String>,
    /// The first wrong value.
    problem: Option<ApiError>,
}

/// Reads a map of entries; `class` is their name in the service model and decides their members.
///
/// # Errors
/// `SerializationException`.
pub(super) fn read_legacy(reader: &mut Reader<'_>, class: &str) -> Result<LegacyMap, ApiError> {
    let mut map = LegacyMap::new();
    reader.map(&format!("com.amazonaws.dynamodb.v20120810.{class}"), |reader, name| {
        let mut entry = LegacyEntry::default();
        if !reader.null()? {
            reader.structure(class, |reader, member| entry.member(reader, class, member))?;
        }
        map.insert(name.into_owned(), entry);
        Ok(())
    })?;
    Ok(map)
}

impl LegacyEntry {
    fn member(&mut self, reader: &mut Reader<'_>, class: &str, name: &str) -> Result<(), ApiError> {
        match (class, name) {
            ("ExpectedAttributeValue" | "AttributeValueUpdate", "Value") => {
                self.value = Some(self.attribute_value(reader)?);
            }
            ("ExpectedAttributeValue" | "Condition", "AttributeValueList") => {
                let mut values = Vec::new();
                reader.list(|reader| {
                    values.push(self.attribute_value(reader)?);
                    Ok(())
                })?;
                self.values = Some(values);
            }
            ("ExpectedAttributeValue" | "Condition", "ComparisonOperator") => {
                self.comparison = string(reader)?
            }
            ("ExpectedAttributeValue", "Exists") => self.exists = Some(reader.boolean()?),
            ("AttributeValueUpdate", "Action") => self.action = string(reader)?,
            _ => reader.skip()?,
        }
        Ok(())
    }

    fn attribute_value(&mut self, reader: &mut Reader<'_>) -> Result<AttributeValue, ApiError> {
        let (value, problem) = read_value(reader)?;
        if self.problem.is_none() {
            self.problem = problem;
        }
        Ok(value)
    }

    pub(super) fn check_constraints(&self, c: &mut Constraints, path: &str, comparison_required: bool) {
        let at = format!("{path}.comparisonOperator");
        if comparison_required {
            c.required(&self.comparison, &at);
        }
        c.one_of(self.comparison.as_deref(), &at, &COMPARISONS);
        c.one_of(self.action.as_deref(), &format!("{path}.action"), &["ADD", "DELETE", "PUT"]);
    }

    fn comparison(&self) -> Option<ComparisonOperator> {
        self.comparison.as_deref().and_then(ComparisonOperator::from_name)
    }
}

/// The first wrong value among the entries.
///
/// # Errors
/// Its `ValidationException`.
pub(super) fn check_values(map: &LegacyMap) -> Result<(), ApiError> {
    match map.values().find_map(|entry| entry.problem.clone()) {
        Some(problem) => Err(problem),
        None => Ok(()),
    }
}

/// Entries of `Expected`.
///
/// # Errors
/// As [`check_values`].
pub(super) fn expected(map: &LegacyMap) -> Result<BTreeMap<String, LegacyExpected>, ApiError> {
    check_values(map)?;
    let convert = |entry: &LegacyEntry| LegacyExpected {
        value: entry.value.clone(),
        exists: entry.exists,
        comparison: entry.comparison(),
        values: entry.values.clone(),
    };
    Ok(map.iter().map(|(name, entry)| (name.clone(), convert(entry))).collect())
}

/// Entries of `KeyConditions`, `QueryFilter` or `ScanFilter`.
///
/// # Errors
/// As [`check_values`].
pub(super) fn conditions(map: &LegacyMap) -> Result<BTreeMap<String, LegacyCondition>, ApiError> {
    check_values(map)?;
    let convert = |entry: &LegacyEntry| {
        // That the operator is there and known is a constraint, checked before.
        let comparison = entry.comparison()?;
        Some(LegacyCondition { comparison, values: entry.values.clone().unwrap_or_default() })
    };
    Ok(map.iter().filter_map(|(name, entry)| Some((name.clone(), convert(entry)?))).collect())
}

/// Entries of `AttributeUpdates`.
///
/// # Errors
/// As [`check_values`].
pub(super) fn updates(map: &LegacyMap) -> Result<BTreeMap<String, LegacyUpdate>, ApiError> {
    check_values(map)?;
    let convert = |entry: &LegacyEntry| LegacyUpdate {
        action: match entry.action.as_deref() {
            Some("ADD") => AttributeUpdateAction::Add,
            Some("DELETE") => AttributeUpdateAction::Delete,
            _ => AttributeUpdateAction::Put,
        },
        value: entry.value.clone(),
    };
    Ok(map.iter().map(|(name, entry)| (name.clone(), convert(entry))).collect())
}

impl Params {
    /// `ConditionalOperator`.
    pub(super) fn operator(&self) -> Option<ConditionalOperator> {
        self.conditional_operator.as_deref().map(|name| match name {
            "OR" => ConditionalOperator::Or,
            _ => ConditionalOperator::And,
        })
    }
}
