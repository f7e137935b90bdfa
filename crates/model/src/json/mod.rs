//! DynamoDB's JSON: a strict pull reader with the errors of DynamoDB's own deserialiser, the reader of
//! attribute values, and a writer that appends to a byte vector.
//!
//! Called by the request types in [`crate::ops`] and by the api crate. Nothing here builds a document tree,
//! and nothing recurses further than [`crate::limits::MAX_NESTING`], so hostile nesting costs no stack.

mod reader;
mod scan;
mod values;
mod write;

pub use reader::{Kind, Reader};
pub(crate) use values::read_value;
pub use values::{Values, read_expression_values, read_values};
pub(crate) use write::write_string_bytes;
pub use write::{write_base64, write_item, write_string, write_value};

#[cfg(test)]
mod tests;
