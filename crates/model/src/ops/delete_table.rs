//! `DeleteTable`.

use super::describe_table::table_name;
use crate::ApiError;

/// A valid `DeleteTable`. Deletion protection is the caller's to honour.
#[derive(Clone, Debug, PartialEq)]
pub struct DeleteTable {
    /// The table's name.
    pub table: String,
}

impl DeleteTable {
    /// Reads and validates a body.
    ///
    /// # Errors
    /// `SerializationException` or `ValidationException`.
    pub fn parse(body: &[u8]) -> Result<Self, ApiError> {
        Ok(Self { table: table_name(body, "DeleteTableInput")? })
    }

    /// The refusal to delete a protected table.
    pub fn protected() -> ApiError {
        ApiError::validation(
            "Resource cannot be deleted as it is currently protected against deletion. Disable deletion protection first.",
        )
    }
}
