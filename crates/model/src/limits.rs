//! Every limit of the DynamoDB API, in one place.

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
/// Longest attribute name, at any depth, bytes.
pub const MAX_ATTRIBUTE_NAME_BYTES: usize = 65_535;
/// Longest expression, bytes.
pub const MAX_EXPRESSION_BYTES: usize = 4096;
/// Longest expression once its placeholders are replaced by what they stand for, each time they occur, bytes.
pub const MAX_EXPANDED_EXPRESSION_BYTES: usize = 1024 * 1024;
/// Longest placeholder with its first character, characters.
pub const MAX_PLACEHOLDER_CHARACTERS: usize = 255;
/// Bytes of all placeholders of one request and what they stand for.
pub const MAX_SUBSTITUTION_BYTES: usize = 2 * 1024 * 1024;
/// Most parsed expressions of each kind that a thread keeps, of those used lately; as many again of those
/// used before.
pub const MAX_CACHED_EXPRESSIONS: usize = 256;
/// Bytes of their texts at most.
pub const MAX_CACHED_EXPRESSION_BYTES: usize = 32 * 1024;
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
/// Most keys of one `BatchGetItem`.
pub const MAX_BATCH_GET_KEYS: usize = 100;
/// Most writes of one `BatchWriteItem`.
pub const MAX_BATCH_WRITES: usize = 25;
/// Most names that `ListTables` gives at once.
pub const MAX_LISTED_TABLES: usize = 100;
/// Most local secondary indexes of a table.
pub const MAX_LOCAL_INDEXES: usize = 5;
/// Most global secondary indexes of a table.
pub const MAX_GLOBAL_INDEXES: usize = 20;
/// Most attributes that all indexes of a table may name in INCLUDE projections.
pub const MAX_PROJECTED_ATTRIBUTES: usize = 100;
/// Most tags of a table.
pub const MAX_TAGS: usize = 50;
/// Most provisioned units that a request may name.
pub const MAX_THROUGHPUT_UNITS: i64 = 1_000_000_000_000;
/// Bytes that one page of a query, scan or batch read returns at most.
pub const MAX_PAGE_BYTES: usize = 1024 * 1024;
/// Bytes that one `BatchGetItem` returns at most.
pub const MAX_BATCH_GET_BYTES: usize = 16 * 1024 * 1024;
/// Bytes of the longest request body.
pub const MAX_BODY_BYTES: usize = 16 * 1024 * 1024;
/// Most attributes of either role in the key of a global secondary index.
pub const MAX_KEY_ATTRIBUTES: usize = 4;
