//! `ExclusiveStartKey`: where a page begins, just past the key that the page before ended with.

use crate::schema::{IndexRef, TableSchema};
use crate::{ApiError, Item};

/// A start key whose attributes are those of the table's key, and of the index's if one is read.
#[derive(Clone, Debug, PartialEq)]
pub struct StartKey {
    /// The attributes.
    pub attributes: Item,
}

const INVALID: &str = "The provided starting key is invalid";

impl StartKey {
    /// Checks the attributes against what is read. `explain` is how a `Scan` of a table words its refusal; of
    /// an index, and `Query`, it says less.
    ///
    /// # Errors
    /// `ValidationException` for attributes too many or too few, of the wrong type, or empty.
    pub(super) fn check(
        key: &Item,
        schema: &TableSchema,
        index: Option<IndexRef<'_>>,
        explain: bool,
    ) -> Result<Self, ApiError> {
        let attributes = schema.continuation_attributes(index);
        let fits = key.len() == attributes.len()
            && attributes.iter().all(|(name, kind)| key.get(name).is_some_and(|value| kind.admits(value)));
        if !fits {
            return Err(ApiError::validation(if explain {
                format!("{INVALID}: The provided key element does not match the schema")
            } else {
                INVALID.to_string()
            }));
        }
        // Empty or oversized values are told as of any key.
        schema
            .key
            .check_key(&schema.key.of_item(key))
            .map_err(|error| ApiError::validation(format!("{INVALID}: {}", error.message)))?;
        Ok(StartKey { attributes: key.clone() })
    }
}

/// The error of a start key of another partition than the query's.
pub(super) fn outside_query() -> ApiError {
    ApiError::validation("The provided starting key is outside query boundaries based on provided conditions")
}

/// The error of a start key whose sort key the query does not read.
pub(super) fn outside_range() -> ApiError {
    ApiError::validation("The provided starting key does not match the range key predicate")
}

/// The error of a start key in another segment of a parallel scan; found by whoever knows the tokens.
pub(super) fn outside_segment(total: u32, segment: u32) -> ApiError {
    ApiError::validation(format!(
        "{INVALID}: Invalid ExclusiveStartKey. Please use ExclusiveStartKey with correct Segment. TotalSegments: {total} Segment: {segment}"
    ))
}
