//! The range of encoded sort keys that a condition selects.

use super::element::{KeyError, encode_element, encode_prefix, type_byte};
use crate::AttributeValue;

/// A condition on one key attribute after those that are fixed by equality.
#[derive(Clone, Debug, PartialEq)]
pub enum SortCondition {
    /// Any value.
    Any,
    /// `= value`.
    Equal(AttributeValue),
    /// `< value`.
    Less(AttributeValue),
    /// `<= value`.
    LessOrEqual(AttributeValue),
    /// `> value`.
    Greater(AttributeValue),
    /// `>= value`.
    GreaterOrEqual(AttributeValue),
    /// `BETWEEN low AND high`, both included.
    Between(AttributeValue, AttributeValue),
    /// `begins_with(value)`; strings and binaries.
    BeginsWith(AttributeValue),
}

/// A half-open range of keys in byte order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyRange {
    /// First key included.
    pub start: Vec<u8>,
    /// First key excluded; `None` when the range has no end.
    pub end: Option<Vec<u8>>,
}

impl KeyRange {
    /// All keys that begin with `prefix`.
    pub fn prefix(prefix: Vec<u8>) -> Self {
        let end = prefix_successor(&prefix);
        Self { start: prefix, end }
    }

    /// True if no key can be in it.
    pub fn is_empty(&self) -> bool {
        self.end.as_ref().is_some_and(|end| *end <= self.start)
    }

    /// True if `key` is in it.
    pub fn contains(&self, key: &[u8]) -> bool {
        key >= self.start.as_slice() && self.end.as_ref().is_none_or(|end| key < end.as_slice())
    }
}

/// The least byte string above all that begin with `prefix`; `None` when there is none (`prefix` is empty or
/// all `FF`).
pub fn prefix_successor(prefix: &[u8]) -> Option<Vec<u8>> {
    let last = prefix.iter().rposition(|byte| *byte != 0xff)?;
    let mut successor = prefix[..=last].to_vec();
    successor[last] += 1;
    Some(successor)
}

/// The range of full keys that begin with `prefix` (everything up to the conditioned attribute) and meet
/// `condition`.
///
/// # Errors
/// When a value cannot be a key, or `begins_with` is asked of a number.
pub fn sort_range(prefix: &[u8], condition: &SortCondition) -> Result<KeyRange, KeyError> {
    let joined = |value: &AttributeValue| {
        let mut key = prefix.to_vec();
        encode_element(value, &mut key)?;
        Ok(key)
    };
    // The first key of the value's type, so that only values of that type are selected.
    let first = |value: &AttributeValue| {
        let mut key = prefix.to_vec();
        key.push(type_byte(value)?);
        Ok(key)
    };
    let range = |start, end| KeyRange { start, end };
    Ok(match condition {
        SortCondition::Any => KeyRange::prefix(prefix.to_vec()),
        SortCondition::Equal(value) => KeyRange::prefix(joined(value)?),
        SortCondition::Less(value) => range(first(value)?, Some(joined(value)?)),
        SortCondition::LessOrEqual(value) => range(first(value)?, prefix_successor(&joined(value)?)),
        SortCondition::Greater(value) => {
            // An encoding never consists of FF alone, so it has a successor.
            let start = prefix_successor(&joined(value)?).ok_or(KeyError::Malformed)?;
            range(start, prefix_successor(&first(value)?))
        }
        SortCondition::GreaterOrEqual(value) => range(joined(value)?, prefix_successor(&first(value)?)),
        SortCondition::Between(low, high) => range(joined(low)?, prefix_successor(&joined(high)?)),
        SortCondition::BeginsWith(value) => {
            let mut key = prefix.to_vec();
            encode_prefix(value, &mut key)?;
            KeyRange::prefix(key)
        }
    })
}
