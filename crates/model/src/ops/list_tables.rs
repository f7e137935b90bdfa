//! `ListTables`.

use super::constraints::Constraints;
use super::params::{read_body, string};
use crate::ApiError;
use crate::limits::MAX_LISTED_TABLES;

/// A valid `ListTables`.
#[derive(Clone, Debug, PartialEq)]
pub struct ListTables {
    /// Names after this one are listed.
    pub start: Option<String>,
    /// Most names to list.
    pub limit: usize,
}

impl ListTables {
    /// Reads and validates a body.
    ///
    /// # Errors
    /// `SerializationException` or `ValidationException`.
    pub fn parse(body: &[u8]) -> Result<Self, ApiError> {
        let (mut start, mut limit) = (None, None);
        read_body(body, "ListTablesInput", |reader, name| {
            match name {
                "ExclusiveStartTableName" => start = string(reader)?,
                "Limit" => limit = Some(reader.integer("Integer")?),
                _ => reader.skip()?,
            }
            Ok(())
        })?;
        let mut c = Constraints::default();
        if let Some(start) = &start {
            c.name(start, "exclusiveStartTableName");
        }
        c.range(limit, "limit", 1, MAX_LISTED_TABLES as i64);
        c.finish()?;
        let limit = limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(MAX_LISTED_TABLES);
        Ok(ListTables { start, limit })
    }
}
