//! `DescribeTable`.

use super::constraints::{Constraints, control_table};
use super::params::Params;
use crate::ApiError;

/// A valid `DescribeTable`.
#[derive(Clone, Debug, PartialEq)]
pub struct DescribeTable {
    /// The table's name.
    pub table: String,
}

impl DescribeTable {
    /// Reads and validates a body.
    ///
    /// # Errors
    /// `SerializationException` or `ValidationException`.
    pub fn parse(body: &[u8]) -> Result<Self, ApiError> {
        Ok(Self { table: table_name(body, "DescribeTableInput")? })
    }
}

/// The one parameter of an operation that takes a table's name.
///
/// # Errors
/// `SerializationException` or `ValidationException`.
pub(super) fn table_name(body: &[u8], class: &str) -> Result<String, ApiError> {
    let params = Params::read(body, class, &["TableName"])?;
    let name = control_table(params.table_name.as_deref())?;
    let mut c = Constraints::default();
    c.name(&name, "tableName");
    c.finish()?;
    Ok(name)
}
