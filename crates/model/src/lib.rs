//! DynamoDB's data model, pure and synchronous: no IO, no clock, no randomness.
//!
//! Called by every layer that speaks of items (replica, coordinator, api). Must never know of nodes, files or
//! requests in flight.
//!
//! | module | about |
//! |---|---|
//! | [`number`], [`value`] | the values themselves |
//! | [`json`] | DynamoDB's JSON, read strictly and written fast |
//! | [`codec`] | the stored form of items |
//! | [`key`] | order-preserving keys, engine keys, tokens |
//! | [`size`], [`limits`] | sizes, capacity units, every limit |
//! | [`expr`] | expressions |
//! | [`schema`] | tables, indexes, and the checks of keys |
//! | [`ops`] | the requests of the operations, validated in order |
//! | [`error`] | errors in the wire shape |
//! | [`compat`] | what becomes of every operation and parameter |

pub mod codec;
pub mod compat;
pub mod error;
pub mod expr;
pub mod json;
pub mod key;
pub mod limits;
pub mod number;
pub mod ops;
pub mod schema;
pub mod size;
#[cfg(test)]
mod test_support;
pub mod value;

pub use error::{ApiError, ErrorCode};
pub use number::{Number, NumberError};
pub use value::{AttributeValue, Item};
