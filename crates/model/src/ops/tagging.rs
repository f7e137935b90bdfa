//! `TagResource`, `UntagResource`, `ListTagsOfResource`.

use super::constraints::Constraints;
use super::create_table::tags;
use super::params::{read_body, string};
use super::table_spec as spec;
use crate::limits::MAX_TAGS;
use crate::schema::{TableReference, parse_table_reference};
use crate::{ApiError, ErrorCode};
use std::collections::BTreeMap;

/// The table that a `ResourceArn` names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resource {
    /// The ARN, as given.
    pub arn: String,
    /// The table's name.
    pub table: String,
}

impl Resource {
    /// The table of an ARN.
    ///
    /// # Errors
    /// `ValidationException` for anything that is not the ARN of a table.
    pub fn of(arn: &str) -> Result<Self, ApiError> {
        match parse_table_reference(arn) {
            TableReference::Arn(table) => Ok(Self { arn: arn.to_string(), table: table.to_string() }),
            _ => Err(ApiError::validation(format!(
                "Invalid TableArn: Invalid ResourceArn provided as input {arn}"
            ))),
        }
    }

    /// The resource does not exist, or it belongs to another account: a caller learns only about resources of
    /// its own account. `operation` is the requested operation. The text of the refusal is that of the IAM
    /// user guide, Troubleshoot access denied error messages. The misspelling is DynamoDB's.
    pub fn not_found(&self, account: &str, operation: &str) -> ApiError {
        if self.arn.split(':').nth(4) != Some(account) {
            let action = format!("dynamodb:{operation}");
            return ApiError::new(
                ErrorCode::AccessDenied,
                format!(
                    "User: arn:aws:iam::{account}:root is not authorized to perform: {action} on resource: {} because no resource-based policy allows the {action} action",
                    self.arn
                ),
            );
        }
        ApiError::new(
            ErrorCode::ResourceNotFound,
            format!("Requested resource not found: ResourcArn: {} not found", self.arn),
        )
    }
}

/// The constraint of a `ResourceArn`.
fn check_arn(c: &mut Constraints, arn: Option<&str>) {
    match arn {
        None => c.missing("resourceArn"),
        Some(arn) => c.length(arn, arn.chars().count(), "resourceArn", 1, 1283),
    }
}

/// A valid `TagResource`.
#[derive(Clone, Debug, PartialEq)]
pub struct TagResource {
    /// Of which table.
    pub resource: Resource,
    tags: BTreeMap<String, String>,
}

impl TagResource {
    /// Reads and validates a body.
    ///
    /// # Errors
    /// `SerializationException` or `ValidationException`.
    pub fn parse(body: &[u8]) -> Result<Self, ApiError> {
        let (mut arn, mut raw) = (None, None);
        read_body(body, "TagResourceInput", |reader, name| {
            match name {
                "ResourceArn" => arn = string(reader)?,
                "Tags" => raw = spec::tags(reader)?,
                _ => reader.skip()?,
            }
            Ok(())
        })?;
        let mut c = Constraints::default();
        check_arn(&mut c, arn.as_deref());
        c.required(&raw, "tags");
        spec::check_tags(&mut c, raw.as_deref().unwrap_or_default(), "tags");
        c.finish()?;
        let resource = Resource::of(&arn.unwrap_or_default())?;
        let raw = raw.unwrap_or_default();
        if raw.is_empty() {
            return Err(ApiError::validation("Atleast one Tag needs to be provided as Input."));
        }
        Ok(Self { resource, tags: tags(raw)? })
    }

    /// The table's tags afterwards.
    ///
    /// # Errors
    /// `ValidationException` when they are too many.
    pub fn apply(&self, before: &BTreeMap<String, String>) -> Result<BTreeMap<String, String>, ApiError> {
        let mut after = before.clone();
        after.extend(self.tags.clone());
        if after.len() > MAX_TAGS {
            return Err(ApiError::invalid_parameter(format_args!("Too many tags: the limit is {MAX_TAGS}")));
        }
        Ok(after)
    }
}

/// A valid `UntagResource`.
#[derive(Clone, Debug, PartialEq)]
pub struct UntagResource {
    /// Of which table.
    pub resource: Resource,
    keys: Vec<String>,
}

impl UntagResource {
    /// Reads and validates a body.
    ///
    /// # Errors
    /// `SerializationException` or `ValidationException`.
    pub fn parse(body: &[u8]) -> Result<Self, ApiError> {
        let (mut arn, mut keys) = (None, None);
        read_body(body, "UntagResourceInput", |reader, name| {
            match name {
                "ResourceArn" => arn = string(reader)?,
                "TagKeys" => keys = Some(reader.strings()?),
                _ => reader.skip()?,
            }
            Ok(())
        })?;
        let mut c = Constraints::default();
        check_arn(&mut c, arn.as_deref());
        c.required(&keys, "tagKeys");
        for (index, key) in keys.iter().flatten().enumerate() {
            c.length(key, key.chars().count(), &format!("tagKeys.{}.member", index + 1), 1, 128);
        }
        c.finish()?;
        let resource = Resource::of(&arn.unwrap_or_default())?;
        let keys = keys.unwrap_or_default();
        if keys.is_empty() {
            return Err(ApiError::validation("Atleast one Tag Key needs to be provided as Input."));
        }
        Ok(Self { resource, keys })
    }

    /// The table's tags afterwards. A key without a tag is no error.
    pub fn apply(&self, before: &BTreeMap<String, String>) -> BTreeMap<String, String> {
        let mut after = before.clone();
        after.retain(|key, _| !self.keys.contains(key));
        after
    }
}

/// A valid `ListTagsOfResource`.
#[derive(Clone, Debug, PartialEq)]
pub struct ListTagsOfResource {
    /// Of which table.
    pub resource: Resource,
    /// Tags whose keys are above this one are listed.
    pub after: Option<String>,
}

impl ListTagsOfResource {
    /// Reads and validates a body.
    ///
    /// # Errors
    /// `SerializationException` or `ValidationException`.
    pub fn parse(body: &[u8]) -> Result<Self, ApiError> {
        let (mut arn, mut after) = (None, None);
        read_body(body, "ListTagsOfResourceInput", |reader, name| {
            match name {
                "ResourceArn" => arn = string(reader)?,
                "NextToken" => after = string(reader)?,
                _ => reader.skip()?,
            }
            Ok(())
        })?;
        let mut c = Constraints::default();
        check_arn(&mut c, arn.as_deref());
        c.finish()?;
        Ok(Self { resource: Resource::of(&arn.unwrap_or_default())?, after })
    }
}
