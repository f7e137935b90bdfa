//! The constraints of the service model. Violations are collected and reported together.

use crate::ApiError;
use crate::schema::{TableReference, parse_table_reference};
use std::fmt::Display;

/// Most failures that one error lists.
const MAX_LISTED: usize = 10;

/// What failed so far.
#[derive(Default)]
pub(super) struct Constraints {
    failures: Vec<String>,
}

impl Constraints {
    /// Notes that the value at `path` fails `constraint`.
    pub fn fail(&mut self, value: impl Display, path: &str, constraint: impl Display) {
        if self.failures.len() < MAX_LISTED {
            self.failures
                .push(format!("Value '{value}' at '{path}' failed to satisfy constraint: {constraint}"));
        }
    }

    /// Notes that the value at `path` must not be absent.
    pub fn missing(&mut self, path: &str) {
        if self.failures.len() < MAX_LISTED {
            self.failures.push(format!(
                "Value null at '{path}' failed to satisfy constraint: Member must not be null"
            ));
        }
    }

    /// The member must be there.
    pub fn required<T>(&mut self, value: &Option<T>, path: &str) {
        if value.is_none() {
            self.missing(path);
        }
    }

    /// The member, if there, must be one of `set`, which is listed in the given order.
    pub fn one_of(&mut self, value: Option<&str>, path: &str, set: &[&str]) {
        if let Some(value) = value
            && !set.contains(&value)
        {
            self.fail(value, path, format_args!("Member must satisfy enum value set: [{}]", set.join(", ")));
        }
    }

    /// The length of the member, which prints as `value`, must be in the range.
    pub fn length(&mut self, value: impl Display, length: usize, path: &str, min: usize, max: usize) {
        if length < min {
            self.fail(value, path, format_args!("Member must have length greater than or equal to {min}"));
        } else if length > max {
            self.fail(value, path, format_args!("Member must have length less than or equal to {max}"));
        }
    }

    /// The member, if there, must be in the range.
    pub fn range(&mut self, value: Option<i64>, path: &str, min: i64, max: i64) {
        let Some(value) = value else { return };
        if value < min {
            self.fail(value, path, format_args!("Member must have value greater than or equal to {min}"));
        } else if value > max {
            self.fail(value, path, format_args!("Member must have value less than or equal to {max}"));
        }
    }

    /// The name of an index, or of a table where no ARN may stand.
    pub fn name(&mut self, name: &str, path: &str) {
        if !crate::schema::has_name_characters(name) {
            self.fail(name, path, "Member must satisfy regular expression pattern: [a-zA-Z0-9_.-]+");
        }
        self.length(name, name.chars().count(), path, 3, 255);
    }

    /// The name or ARN of a table of a data operation; returns the name.
    pub fn table(&mut self, text: Option<&str>, path: &str) -> String {
        let Some(text) = text else {
            self.missing(path);
            return String::new();
        };
        match parse_table_reference(text) {
            TableReference::Arn(name) => name.to_string(),
            TableReference::Name("") => {
                self.length(text, 0, path, 1, 1024);
                String::new()
            }
            TableReference::Name(name) => {
                self.name(name, path);
                name.to_string()
            }
            TableReference::BadArn => {
                self.fail(text, path, "Member must satisfy regular expression pattern: [a-zA-Z0-9_.-]+");
                String::new()
            }
        }
    }

    /// Reports the failures, if there are any.
    ///
    /// # Errors
    /// `ValidationException` that lists them.
    pub fn finish(self) -> Result<(), ApiError> {
        let count = self.failures.len();
        if count == 0 {
            return Ok(());
        }
        let plural = if count == 1 { "" } else { "s" };
        Err(ApiError::validation(format!(
            "{count} validation error{plural} detected: {}",
            self.failures.join("; ")
        )))
    }
}

/// The name of a table of a control operation, which words its faults its own way and comes before all
/// constraints.
///
/// # Errors
/// `ValidationException` when the name is absent, or too short or long. Its characters are a constraint.
pub(super) fn control_table(name: Option<&str>) -> Result<String, ApiError> {
    let Some(text) = name else {
        return Err(ApiError::validation(
            "The parameter 'TableName' is required but was not present in the request",
        ));
    };
    match parse_table_reference(text) {
        TableReference::Arn(name) => Ok(name.to_string()),
        _ if !(3..=255).contains(&text.chars().count()) => Err(ApiError::validation(
            "TableName must be at least 3 characters long and at most 255 characters long",
        )),
        _ => Ok(text.to_string()),
    }
}
