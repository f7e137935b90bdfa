//! Every limit of buckets, in one place.

/// Longest bucket name, bytes.
pub const MAX_BUCKET_NAME_BYTES: usize = 255;
/// Longest key, bytes, after percent-decoding.
pub const MAX_KEY_BYTES: usize = 4 * 1024;
/// Largest value, bytes.
pub const MAX_VALUE_BYTES: usize = 4 * 1024 * 1024;
/// Longest content type, bytes.
pub const MAX_CONTENT_TYPE_BYTES: usize = 256;
/// Longest encoded causal context, bytes. About 1 000 actors.
pub const MAX_CONTEXT_BYTES: usize = 16 * 1024;
/// Most siblings that a write may leave behind. A merge between replicas is never refused, so a key may hold
/// a few more.
pub const MAX_SIBLINGS: usize = 256;
/// Largest record of one key that a write may leave behind, bytes. Values of all siblings together.
pub const MAX_RECORD_BYTES: usize = 32 * 1024 * 1024;
/// Most keys in one page of a listing.
pub const MAX_LIST_KEYS: usize = 1_000;
/// Largest replication factor of a bucket.
pub const MAX_REPLICAS: u32 = 7;
