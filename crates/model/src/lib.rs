//! DynamoDB's data model, pure and synchronous: no IO, no clock, no randomness.
//!
//! Called by every layer that speaks of items (replica, coordinator, api). Must never know of nodes, files or requests in flight.

pub mod error;
pub mod expr;
pub mod limits;
pub mod number;
pub mod value;

pub use error::{ApiError, ErrorCode};
pub use number::{Number, NumberError};
pub use value::{AttributeValue, Item};
