//! Attribute values and items.

use crate::Number;
use bytes::Bytes;
use std::collections::BTreeMap;

/// The ten attribute types of DynamoDB.
#[derive(Clone, Debug, PartialEq)]
pub enum AttributeValue {
    /// String.
    S(String),
    /// Number, 38 significant digits.
    N(Number),
    /// Binary.
    B(Bytes),
    /// Boolean.
    Bool(bool),
    /// Null.
    Null,
    /// Map.
    M(BTreeMap<String, AttributeValue>),
    /// List.
    L(Vec<AttributeValue>),
    /// String set, kept in the order received, no duplicates.
    Ss(Vec<String>),
    /// Number set.
    Ns(Vec<Number>),
    /// Binary set.
    Bs(Vec<Bytes>),
}

/// An item: attributes by name.
pub type Item = BTreeMap<String, AttributeValue>;
