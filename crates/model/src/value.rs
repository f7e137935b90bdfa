//! Attribute values and items.

use crate::Number;
use bytes::Bytes;
use std::collections::BTreeMap;

/// The ten attribute types of DynamoDB.
///
/// Equality is DynamoDB's: numbers by value, sets without regard to order, lists in order.
#[derive(Clone, Debug)]
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
    /// String set, no member twice. Those that requests bring are sorted by their UTF-8 bytes, as
    /// `json::values` reads them.
    Ss(Vec<String>),
    /// Number set, sorted by value in the same way.
    Ns(Vec<Number>),
    /// Binary set, sorted by bytes in the same way.
    Bs(Vec<Bytes>),
}

/// An item: attributes by name.
pub type Item = BTreeMap<String, AttributeValue>;

impl AttributeValue {
    /// The type's name as it is written in JSON and in messages: `S N B BOOL NULL M L SS NS BS`.
    pub fn type_name(&self) -> &'static str {
        match self {
            AttributeValue::S(_) => "S",
            AttributeValue::N(_) => "N",
            AttributeValue::B(_) => "B",
            AttributeValue::Bool(_) => "BOOL",
            AttributeValue::Null => "NULL",
            AttributeValue::M(_) => "M",
            AttributeValue::L(_) => "L",
            AttributeValue::Ss(_) => "SS",
            AttributeValue::Ns(_) => "NS",
            AttributeValue::Bs(_) => "BS",
        }
    }

    /// True for the three set types.
    pub fn is_set(&self) -> bool {
        matches!(self, AttributeValue::Ss(_) | AttributeValue::Ns(_) | AttributeValue::Bs(_))
    }

    /// The string, for `S`.
    pub fn as_s(&self) -> Option<&str> {
        match self {
            AttributeValue::S(value) => Some(value),
            _ => None,
        }
    }

    /// The number, for `N`.
    pub fn as_n(&self) -> Option<&Number> {
        match self {
            AttributeValue::N(value) => Some(value),
            _ => None,
        }
    }

    /// The bytes, for `B`.
    pub fn as_b(&self) -> Option<&Bytes> {
        match self {
            AttributeValue::B(value) => Some(value),
            _ => None,
        }
    }
}

/// Equality of two sets held as lists, no member twice.
fn same_members<T: Ord>(a: &[T], b: &[T]) -> bool {
    if a.len() != b.len() {
        return false;
    }
    // Most often both were written by the same client in the same order.
    if a == b {
        return true;
    }
    let sorted = |members: &[T]| {
        let mut order: Vec<usize> = (0..members.len()).collect();
        order.sort_unstable_by(|x, y| members[*x].cmp(&members[*y]));
        order
    };
    sorted(a).into_iter().zip(sorted(b)).all(|(x, y)| a[x] == b[y])
}

impl PartialEq for AttributeValue {
    fn eq(&self, other: &Self) -> bool {
        use AttributeValue::*;
        match (self, other) {
            (S(a), S(b)) => a == b,
            (N(a), N(b)) => a == b,
            (B(a), B(b)) => a == b,
            (Bool(a), Bool(b)) => a == b,
            (Null, Null) => true,
            (M(a), M(b)) => a == b,
            (L(a), L(b)) => a == b,
            (Ss(a), Ss(b)) => same_members(a, b),
            (Ns(a), Ns(b)) => same_members(a, b),
            (Bs(a), Bs(b)) => same_members(a, b),
            _ => false,
        }
    }
}

impl Eq for AttributeValue {}
