//! The keys of bucket data in the engine's key space: `6 | bucket id | token | key`.

use bytes::Bytes;
use torc_model::key::{ITEM_KEY_HEADER_BYTES, item_key, space, table_prefix, token_prefix};

/// A key of a bucket, with its place on the ring.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StorageKey(Bytes);

impl StorageKey {
    /// The storage key of a client's key.
    pub fn new(bucket: u64, token: u64, key: &[u8]) -> Self {
        Self(item_key(space::BUCKET, bucket, token, key, &[]).into())
    }

    /// The bytes in the engine.
    pub fn as_bytes(&self) -> &Bytes {
        &self.0
    }

    /// The bucket's id.
    pub fn bucket(&self) -> u64 {
        self.field(1)
    }

    /// The token.
    pub fn token(&self) -> u64 {
        self.field(9)
    }

    /// The client's key.
    pub fn key(&self) -> Bytes {
        self.0.slice(ITEM_KEY_HEADER_BYTES..)
    }

    fn field(&self, at: usize) -> u64 {
        self.0.get(at..at + 8).and_then(|bytes| bytes.try_into().ok()).map_or(0, u64::from_be_bytes)
    }

    /// Parses bytes of the engine; none if they are not a bucket key.
    pub fn parse(bytes: Bytes) -> Option<Self> {
        (bytes.len() >= ITEM_KEY_HEADER_BYTES && bytes.first() == Some(&space::BUCKET)).then_some(Self(bytes))
    }
}

/// First storage key with a token at or above `token`.
pub fn token_start(bucket: u64, token: u64) -> Bytes {
    Bytes::copy_from_slice(&token_prefix(space::BUCKET, bucket, token))
}

/// One past the last storage key with a token at or below `token`.
pub fn token_end(bucket: u64, token: u64) -> Bytes {
    match token.checked_add(1) {
        Some(next) => token_start(bucket, next),
        None => match bucket.checked_add(1) {
            Some(next) => Bytes::copy_from_slice(&table_prefix(space::BUCKET, next)),
            None => Bytes::from_static(&[space::BUCKET + 1]),
        },
    }
}

/// Where a node keeps the incarnation of its bucket data, among the records that are its own.
pub const INCARNATION_KEY: [u8; 2] = [space::LOCAL, 16];

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn parts_come_back_and_order_is_by_bucket_token_key(
            a in (any::<u64>(), any::<u64>(), proptest::collection::vec(any::<u8>(), 0..9)),
            b in (any::<u64>(), any::<u64>(), proptest::collection::vec(any::<u8>(), 0..9)),
        ) {
            let (ka, kb) = (StorageKey::new(a.0, a.1, &a.2), StorageKey::new(b.0, b.1, &b.2));
            prop_assert_eq!((ka.bucket(), ka.token(), ka.key().to_vec()), a.clone());
            prop_assert_eq!(ka.as_bytes().cmp(kb.as_bytes()), a.cmp(&b));
            prop_assert!(token_start(a.0, a.1) <= *ka.as_bytes() && *ka.as_bytes() < token_end(a.0, a.1));
            prop_assert_eq!(StorageKey::parse(ka.as_bytes().clone()), Some(ka));
        }
    }

    #[test]
    fn the_last_token_of_the_last_bucket_has_an_end() {
        assert!(StorageKey::new(u64::MAX, u64::MAX, &[0xff; 9]).as_bytes() < &token_end(u64::MAX, u64::MAX));
        assert_eq!(StorageKey::parse(Bytes::from_static(&[6, 1, 2])), None);
        assert_eq!(StorageKey::parse(Bytes::from_static(&[5; 40])), None);
    }
}
