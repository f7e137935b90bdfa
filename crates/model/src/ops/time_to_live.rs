//! `UpdateTimeToLive` and `DescribeTimeToLive`.

use super::constraints::{Constraints, control_table};
use super::describe_table::table_name;
use super::params::{read_body, string};
use crate::ApiError;
use crate::schema::TimeToLive;

/// A valid `UpdateTimeToLive`.
#[derive(Clone, Debug, PartialEq)]
pub struct UpdateTimeToLive {
    /// The table's name.
    pub table: String,
    /// Whether to turn it on.
    pub enabled: bool,
    /// The attribute of the time of expiry.
    pub attribute: String,
}

#[derive(Default)]
struct Specification {
    enabled: Option<bool>,
    attribute: Option<String>,
}

impl UpdateTimeToLive {
    /// Reads and validates a body.
    ///
    /// # Errors
    /// `SerializationException` or `ValidationException`.
    pub fn parse(body: &[u8]) -> Result<Self, ApiError> {
        let mut table = None;
        let mut specification: Option<Specification> = None;
        read_body(body, "UpdateTimeToLiveInput", |reader, name| {
            match name {
                "TableName" => table = string(reader)?,
                "TimeToLiveSpecification" => {
                    let mut found = Specification::default();
                    reader.structure("TimeToLiveSpecification", |reader, name| {
                        match name {
                            "Enabled" => found.enabled = Some(reader.boolean()?),
                            "AttributeName" => found.attribute = string(reader)?,
                            _ => reader.skip()?,
                        }
                        Ok(())
                    })?;
                    specification = Some(found);
                }
                _ => reader.skip()?,
            }
            Ok(())
        })?;
        let table = control_table(table.as_deref())?;
        let mut c = Constraints::default();
        c.name(&table, "tableName");
        match &specification {
            None => c.missing("timeToLiveSpecification"),
            Some(found) => {
                c.required(&found.enabled, "timeToLiveSpecification.enabled");
                let path = "timeToLiveSpecification.attributeName";
                match &found.attribute {
                    None => c.missing(path),
                    Some(name) => c.length(name, name.chars().count(), path, 1, 255),
                }
            }
        }
        c.finish()?;
        let found = specification.unwrap_or_default();
        Ok(Self {
            table,
            enabled: found.enabled.unwrap_or(false),
            attribute: found.attribute.unwrap_or_default(),
        })
    }

    /// The setting afterwards.
    ///
    /// # Errors
    /// `ValidationException` when it is so already, or on for another attribute.
    pub fn apply(&self, before: Option<&TimeToLive>) -> Result<Option<TimeToLive>, ApiError> {
        match (before, self.enabled) {
            (None, false) => Err(ApiError::validation("TimeToLive is already disabled")),
            (None, true) => Ok(Some(TimeToLive { attribute: self.attribute.clone() })),
            (Some(on), _) if on.attribute != self.attribute => Err(ApiError::validation(format!(
                "TimeToLive is active on a different AttributeName: current AttributeName is {}",
                on.attribute
            ))),
            (Some(_), true) => Err(ApiError::validation("TimeToLive is already enabled")),
            (Some(_), false) => Ok(None),
        }
    }
}

/// A valid `DescribeTimeToLive`.
#[derive(Clone, Debug, PartialEq)]
pub struct DescribeTimeToLive {
    /// The table's name.
    pub table: String,
}

impl DescribeTimeToLive {
    /// Reads and validates a body.
    ///
    /// # Errors
    /// `SerializationException` or `ValidationException`.
    pub fn parse(body: &[u8]) -> Result<Self, ApiError> {
        Ok(Self { table: table_name(body, "DescribeTimeToLiveInput")? })
    }
}
