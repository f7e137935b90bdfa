//! Every limit of the Tables face, in one place.

/// Largest item, bytes by DynamoDB's size rules.
pub const MAX_ITEM_BYTES: usize = 400 * 1024;
/// Largest partition key value, bytes.
pub const MAX_PARTITION_KEY_BYTES: usize = 2048;
/// Largest sort key value, bytes.
pub const MAX_SORT_KEY_BYTES: usize = 1024;
/// Significant decimal digits of a number.
pub const MAX_NUMBER_DIGITS: usize = 38;
/// Levels of nesting in a document.
pub const MAX_NESTING: usize = 32;
/// Longest expression, bytes.
pub const MAX_EXPRESSION_BYTES: usize = 4096;
/// Most operators and functions in one expression.
pub const MAX_EXPRESSION_OPERATORS: usize = 300;
/// Largest power of ten of a number's first digit: magnitudes up to 9.99…E+125.
pub const MAX_NUMBER_EXPONENT: i32 = 125;
/// Smallest power of ten of a number's first digit: magnitudes down to 1E-130.
pub const MIN_NUMBER_EXPONENT: i32 = -130;
/// Bytes that one read unit covers.
pub const READ_UNIT_BYTES: usize = 4096;
/// Bytes that one write unit covers.
pub const WRITE_UNIT_BYTES: usize = 1024;
