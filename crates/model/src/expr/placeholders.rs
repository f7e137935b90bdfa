//! `ExpressionAttributeNames` and `ExpressionAttributeValues` of one request, and which of them its
//! expressions have used.

use super::java_hash::in_table_order;
use crate::limits::{MAX_PLACEHOLDER_CHARACTERS, MAX_SUBSTITUTION_BYTES};
use crate::size::value_size;
use crate::{ApiError, AttributeValue};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The names and values that placeholders stand for. One is made for each request (for each table of a batch,
/// for each action of a transaction); every expression is bound with it, then [`Placeholders::check_unused`]
/// reports what none of them used.
#[derive(Clone, Debug, Default)]
pub struct Placeholders {
    names: BTreeMap<String, Arc<str>>,
    values: BTreeMap<String, Arc<AttributeValue>>,
    used_names: BTreeSet<String>,
    used_values: BTreeSet<String>,
}

impl Placeholders {
    /// Longest attribute name, bytes.
    pub const MAX_NAME_BYTES: usize = crate::limits::MAX_ATTRIBUTE_NAME_BYTES;

    /// Takes the two maps of a request as they came, `None` for one that is absent.
    ///
    /// # Errors
    /// `ValidationException` for an empty map, for a key that is too long or not `#` or `:` followed by
    /// letters, digits and `_`, for a name that is empty or longer than 65535 bytes, and when all of it
    /// together is too large. Names are checked before values, and sizes last.
    pub fn new(
        names: Option<BTreeMap<String, String>>,
        values: Option<BTreeMap<String, AttributeValue>>,
    ) -> Result<Self, ApiError> {
        if let Some(names) = &names {
            Self::check_names(names)?;
        }
        if let Some(values) = &values {
            Self::check_value_keys(values.keys().map(String::as_str))?;
        }
        check_sizes(names.as_ref(), values.as_ref())?;
        Ok(Placeholders {
            names: names.unwrap_or_default().into_iter().map(|(k, v)| (k, v.into())).collect(),
            values: values.unwrap_or_default().into_iter().map(|(k, v)| (k, Arc::new(v))).collect(),
            ..Placeholders::default()
        })
    }

    /// The checks of `ExpressionAttributeNames` alone.
    ///
    /// # Errors
    /// As [`Placeholders::new`].
    pub fn check_names(names: &BTreeMap<String, String>) -> Result<(), ApiError> {
        const PARAMETER: &str = "ExpressionAttributeNames";
        check_keys(PARAMETER, '#', names.keys().map(String::as_str))?;
        for (key, name) in names {
            let fault = match name.len() {
                0 => "Empty attribute name",
                1..=Self::MAX_NAME_BYTES => continue,
                _ => "Attribute name is too large, must be less than 65536 bytes",
            };
            return Err(ApiError::validation(format!(
                "{PARAMETER} contains invalid value: {fault} for key {key}"
            )));
        }
        Ok(())
    }

    /// The checks of the keys of `ExpressionAttributeValues`, which come before those of its values.
    ///
    /// # Errors
    /// As [`Placeholders::new`].
    pub fn check_value_keys<'k>(keys: impl Iterator<Item = &'k str>) -> Result<(), ApiError> {
        check_keys("ExpressionAttributeValues", ':', keys)
    }

    /// The error of a value of `ExpressionAttributeValues` that is not an attribute value, given the text of
    /// that fault.
    pub fn invalid_value(key: &str, fault: &str) -> ApiError {
        ApiError::validation(format!(
            "ExpressionAttributeValues contains invalid value: {fault} for key {key}"
        ))
    }

    /// The attribute name behind `placeholder` (with its `#`), noted as used.
    pub(super) fn name(&mut self, placeholder: &str) -> Option<Arc<str>> {
        let name = self.names.get(placeholder)?.clone();
        if !self.used_names.contains(placeholder) {
            self.used_names.insert(placeholder.to_owned());
        }
        Some(name)
    }

    /// The value behind `placeholder` (with its `:`), noted as used.
    pub(super) fn value(&mut self, placeholder: &str) -> Option<Arc<AttributeValue>> {
        let value = self.values.get(placeholder)?.clone();
        if !self.used_values.contains(placeholder) {
            self.used_values.insert(placeholder.to_owned());
        }
        Some(value)
    }

    /// To be called when every expression of the request is bound.
    ///
    /// # Errors
    /// `ValidationException` that lists the names, else the values, that no expression used.
    pub fn check_unused(&self) -> Result<(), ApiError> {
        check_unused("ExpressionAttributeNames", self.names.keys(), &self.used_names)?;
        check_unused("ExpressionAttributeValues", self.values.keys(), &self.used_values)
    }
}

fn check_sizes(
    names: Option<&BTreeMap<String, String>>,
    values: Option<&BTreeMap<String, AttributeValue>>,
) -> Result<(), ApiError> {
    let names: usize = names.into_iter().flatten().map(|(key, name)| key.len() + name.len()).sum();
    let values: usize = values.into_iter().flatten().map(|(key, value)| key.len() + value_size(value)).sum();
    let fault = if names > MAX_SUBSTITUTION_BYTES {
        "ExpressionAttributeNames exceeds max size"
    } else if values > MAX_SUBSTITUTION_BYTES {
        "ExpressionAttributeValues exceeds max size"
    } else if names + values > MAX_SUBSTITUTION_BYTES {
        "Combined size of ExpressionAttributeNames and ExpressionAttributeValues exceeds max size"
    } else {
        return Ok(());
    };
    Err(ApiError::validation(fault))
}

fn check_keys<'k>(parameter: &str, first: char, keys: impl Iterator<Item = &'k str>) -> Result<(), ApiError> {
    let mut empty = true;
    for key in keys {
        empty = false;
        let length = key.chars().count();
        if length > MAX_PLACEHOLDER_CHARACTERS {
            // Only of names is the length told.
            let size = if first == '#' { format!(" size of key: {length}") } else { String::new() };
            return Err(ApiError::validation(format!(
                "{parameter} contains invalid key: The expression attribute map contains a key that is too long;{size}"
            )));
        }
        let is_placeholder = key.strip_prefix(first).is_some_and(|word| {
            !word.is_empty() && word.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
        });
        if !is_placeholder {
            return Err(ApiError::validation(format!(
                "{parameter} contains invalid key: Syntax error; key: \"{key}\""
            )));
        }
    }
    if empty { Err(ApiError::validation(format!("{parameter} must not be empty"))) } else { Ok(()) }
}

fn check_unused<'k>(
    parameter: &str,
    all: impl ExactSizeIterator<Item = &'k String>,
    used: &BTreeSet<String>,
) -> Result<(), ApiError> {
    let count = all.len();
    let unused: Vec<&str> = all.filter(|key| !used.contains(*key)).map(String::as_str).collect();
    if unused.is_empty() {
        return Ok(());
    }
    let keys = in_table_order(unused, count).join(", ");
    Err(ApiError::validation(format!(
        "Value provided in {parameter} unused in expressions: keys: {{{keys}}}"
    )))
}
