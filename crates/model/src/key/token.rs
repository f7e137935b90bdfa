//! The token of a partition key: its place on the ring.
//!
//! It is XXH3-64 over the encoded partition key, with a secret of 192 bytes that is derived from the
//! cluster's 16-byte hash key. Block `i` (eight bytes) of the secret is XXH3-64, seeded with the first half
//! of the key, of the second half followed by `i`, all little-endian. Because the hash is keyed, a client
//! without the key cannot direct items at one partition. The key is drawn once per cluster. The construction
//! is part of the format.

use xxhash_rust::xxh3::{xxh3_64_with_secret, xxh3_64_with_seed};

const SECRET_BYTES: usize = 192;

/// Hashes partition keys with one cluster's hash key.
#[derive(Clone)]
pub struct TokenHasher {
    secret: [u8; SECRET_BYTES],
}

impl TokenHasher {
    /// Expands the cluster's hash key.
    pub fn new(hash_key: [u8; 16]) -> Self {
        let key = u128::from_le_bytes(hash_key);
        let seed = key as u64;
        let mut block = [0u8; 16];
        block[..8].copy_from_slice(&((key >> 64) as u64).to_le_bytes());
        let mut secret = [0u8; SECRET_BYTES];
        for (index, chunk) in secret.chunks_exact_mut(8).enumerate() {
            block[8..].copy_from_slice(&(index as u64).to_le_bytes());
            chunk.copy_from_slice(&xxh3_64_with_seed(&block, seed).to_le_bytes());
        }
        Self { secret }
    }

    /// The token of an encoded partition key.
    pub fn token(&self, encoded_pk: &[u8]) -> u64 {
        xxh3_64_with_secret(encoded_pk, &self.secret)
    }
}

impl std::fmt::Debug for TokenHasher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The secret stays out of logs.
        f.write_str("TokenHasher")
    }
}

/// The token of one key; hold a [`TokenHasher`] to hash many.
pub fn token(hash_key: [u8; 16], encoded_pk: &[u8]) -> u64 {
    TokenHasher::new(hash_key).token(encoded_pk)
}
