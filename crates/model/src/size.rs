//! Sizes by DynamoDB's rules, and the capacity units that follow from them.
//!
//! Source: Amazon DynamoDB Developer Guide, "DynamoDB item sizes and formats" and "DynamoDB read and write
//! operations".

use crate::limits::{MAX_ITEM_BYTES, MAX_NESTING, READ_UNIT_BYTES, WRITE_UNIT_BYTES};
use crate::{ApiError, AttributeValue, Item};

/// A list or map counts this much, whatever is in it.
const CONTAINER_BYTES: usize = 3;
/// Each element of a list or map counts this much more.
const ELEMENT_BYTES: usize = 1;

/// What a value counts for, in bytes.
pub fn value_size(value: &AttributeValue) -> usize {
    match value {
        AttributeValue::S(text) => text.len(),
        AttributeValue::N(number) => number.size_bytes(),
        AttributeValue::B(bytes) => bytes.len(),
        AttributeValue::Bool(_) | AttributeValue::Null => 1,
        AttributeValue::M(map) => {
            CONTAINER_BYTES
                + map
                    .iter()
                    .map(|(name, value)| ELEMENT_BYTES + name.len() + value_size(value))
                    .sum::<usize>()
        }
        AttributeValue::L(list) => {
            CONTAINER_BYTES + list.iter().map(|value| ELEMENT_BYTES + value_size(value)).sum::<usize>()
        }
        AttributeValue::Ss(set) => set.iter().map(String::len).sum(),
        AttributeValue::Ns(set) => set.iter().map(|number| number.size_bytes()).sum(),
        AttributeValue::Bs(set) => set.iter().map(|bytes| bytes.len()).sum(),
    }
}

/// What an item counts for, in bytes: the UTF-8 lengths of its attribute names, and its values.
pub fn item_size(item: &Item) -> usize {
    item.iter().map(|(name, value)| name.len() + value_size(value)).sum()
}

/// Refuses an item over 400 KB; gives its size otherwise.
///
/// # Errors
/// `ValidationException`, worded as for a put. An update says it otherwise: see [`check_updated_item`].
pub fn check_item_size(item: &Item) -> Result<usize, ApiError> {
    let size = item_size(item);
    if size > MAX_ITEM_BYTES {
        return Err(ApiError::validation("Item size has exceeded the maximum allowed size"));
    }
    Ok(size)
}

/// Containers that a value is made of, at its deepest: 0 for a scalar or set, 1 for a list of them.
pub fn value_nesting(value: &AttributeValue) -> usize {
    match value {
        AttributeValue::M(map) => 1 + map.values().map(value_nesting).max().unwrap_or(0),
        AttributeValue::L(list) => 1 + list.iter().map(value_nesting).max().unwrap_or(0),
        _ => 0,
    }
}

/// Refuses the outcome of an update that is nested too deep or over 400 KB; gives its size otherwise.
///
/// # Errors
/// `ValidationException`, worded as for an update.
pub fn check_updated_item(item: &Item) -> Result<usize, ApiError> {
    // The item itself is the first level.
    if item.values().any(|value| value_nesting(value) >= MAX_NESTING) {
        return Err(ApiError::validation("Nesting Levels have exceeded supported limits"));
    }
    let size = item_size(item);
    if size > MAX_ITEM_BYTES {
        return Err(ApiError::validation("Item size to update has exceeded the maximum allowed size"));
    }
    Ok(size)
}

/// How a read is charged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadKind {
    /// Half a unit for each 4 KB.
    Eventual,
    /// One unit for each 4 KB.
    Strong,
    /// Two units for each 4 KB.
    Transactional,
}

/// Read units for `bytes` read by one request; an absent item counts as one block.
pub fn read_units(bytes: usize, kind: ReadKind) -> f64 {
    let blocks = bytes.div_ceil(READ_UNIT_BYTES).max(1) as f64;
    match kind {
        ReadKind::Eventual => blocks / 2.0,
        ReadKind::Strong => blocks,
        ReadKind::Transactional => blocks * 2.0,
    }
}

/// Write units for an item of `bytes`, the larger of before and after; a transactional write costs twice
/// this.
pub fn write_units(bytes: usize) -> f64 {
    bytes.div_ceil(WRITE_UNIT_BYTES).max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Number;
    use crate::json::{Reader, read_values};

    /// The size of the value, without the name, of a one-attribute item.
    #[track_caller]
    fn check(json: &str, size: usize) {
        let text = format!("{{\"name\":{json}}}");
        let values = read_values(&mut Reader::new(text.as_bytes())).unwrap();
        assert_eq!(item_size(values.check().unwrap()), size + 4, "{json}");
    }

    #[test]
    fn numbers_are_counted_in_base_100() {
        // The left column was measured against a live DynamoDB engine by where an item crosses 1 KB.
        for (spelling, size) in [
            ("0", 1),
            ("1", 2),
            ("-1", 3),
            ("10", 2),
            ("99", 2),
            ("100", 2),
            ("12", 2),
            ("123", 3),
            ("1234", 3),
            ("1.2", 3),
            ("1.23", 3),
            ("12.3", 3),
            ("0.1", 2),
            ("0.01", 2),
            ("0.12", 2),
            ("0.123", 3),
            ("-12", 3),
            ("-0.1", 3),
            ("1e100", 2),
            ("1e101", 2),
            ("12e100", 2),
            ("12e101", 3),
            ("1e-100", 2),
            ("123456789", 6),
            ("-123456789", 7),
            ("99999999999999999999999999999999999999", 20),
            ("9.9999999999999999999999999999999999999", 21),
            ("-99999999999999999999999999999999999999", 21),
        ] {
            assert_eq!(Number::parse(spelling).unwrap().size_bytes(), size, "{spelling}");
        }
        // The engine stores no number in more than 21 bytes.
        assert_eq!(Number::parse("-9.9999999999999999999999999999999999999").unwrap().size_bytes(), 21);
    }

    #[test]
    fn values() {
        for (json, size) in [
            (r#"{"S":""}"#, 0),
            (r#"{"S":"é"}"#, 2),
            (r#"{"B":"AAE="}"#, 2),
            (r#"{"BOOL":true}"#, 1),
            (r#"{"NULL":true}"#, 1),
            (r#"{"L":[]}"#, 3),
            (r#"{"M":{}}"#, 3),
            (r#"{"L":[{"S":"a"}]}"#, 5),
            (r#"{"L":[{"S":"a"},{"S":"b"}]}"#, 7),
            (r#"{"M":{"k":{"S":"a"}}}"#, 6),
            (r#"{"M":{"k":{"L":[]}}}"#, 8),
            (r#"{"SS":["a","bc"]}"#, 3),
            (r#"{"NS":["1","22"]}"#, 4),
            (r#"{"NS":["-1"]}"#, 3),
            (r#"{"BS":["AAE="]}"#, 2),
            (r#"{"L":[{"N":"1"}]}"#, 6),
            (r#"{"L":[{"NULL":true}]}"#, 5),
        ] {
            check(json, size);
        }
    }

    #[test]
    fn capacity_units_round_up() {
        for (bytes, units) in [(0, 1.0), (1, 1.0), (4096, 1.0), (4097, 2.0), (409_600, 100.0)] {
            assert_eq!(read_units(bytes, ReadKind::Strong), units);
            assert_eq!(read_units(bytes, ReadKind::Eventual), units / 2.0);
            assert_eq!(read_units(bytes, ReadKind::Transactional), units * 2.0);
        }
        for (bytes, units) in [(0, 1.0), (1024, 1.0), (1025, 2.0), (409_600, 400.0)] {
            assert_eq!(write_units(bytes), units);
        }
    }

    #[test]
    fn items_over_400_kb_are_refused() {
        let item = |length: usize| Item::from([("a".to_string(), AttributeValue::S("x".repeat(length)))]);
        assert_eq!(check_item_size(&item(409_599)), Ok(409_600));
        let error = check_item_size(&item(409_600)).unwrap_err();
        assert_eq!(error.message, "Item size has exceeded the maximum allowed size");
        let error = check_updated_item(&item(409_600)).unwrap_err();
        assert_eq!(error.message, "Item size to update has exceeded the maximum allowed size");
        let nested = |levels: usize| {
            let value = (0..levels).fold(AttributeValue::Null, |inner, _| AttributeValue::L(vec![inner]));
            Item::from([("a".to_string(), value)])
        };
        assert!(check_updated_item(&nested(31)).is_ok());
        let error = check_updated_item(&nested(32)).unwrap_err();
        assert_eq!(error.message, "Nesting Levels have exceeded supported limits");
    }
}
