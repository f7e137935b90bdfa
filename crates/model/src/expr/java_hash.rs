//! The iteration order of a Java hash table, in which DynamoDB lists the placeholders that no expression
//! used.

/// `keys`, of a table sized for `capacity_for` entries, in the order in which Java would iterate over them.
pub(crate) fn in_table_order<'k>(
    keys: impl IntoIterator<Item = &'k str>,
    capacity_for: usize,
) -> Vec<&'k str> {
    let buckets = buckets_grown_to(capacity_for);
    let mut ordered: Vec<&str> = keys.into_iter().collect();
    ordered.sort_by_key(|key| bucket(string_hash(key), buckets));
    ordered
}

/// Java's `String.hashCode`: over UTF-16 units.
fn string_hash(text: &str) -> u32 {
    text.encode_utf16().fold(0_u32, |hash, unit| hash.wrapping_mul(31).wrapping_add(u32::from(unit)))
}

/// Buckets of a table that has grown, by doubling from 16, to hold `entries` at three quarters full.
fn buckets_grown_to(entries: usize) -> usize {
    let mut buckets = 16_usize;
    while entries.saturating_mul(4) > buckets.saturating_mul(3) {
        buckets = buckets.saturating_mul(2);
    }
    buckets
}

/// The bucket of a key with this hash.
fn bucket(hash: u32, buckets: usize) -> usize {
    (hash ^ (hash >> 16)) as usize & buckets.saturating_sub(1)
}
