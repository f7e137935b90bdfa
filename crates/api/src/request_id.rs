//! Request ids: 52 characters of upper-case letters and digits, as DynamoDB sends them. Unique, not secret.

use std::sync::atomic::{AtomicU64, Ordering};

const ALPHABET: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ012345";

/// Draws ids from a counter mixed with the node's own number, so that two nodes never send the same.
pub struct RequestIds {
    seed: u64,
    next: AtomicU64,
}

impl RequestIds {
    /// `seed` must differ between nodes and between starts of one node.
    pub fn new(seed: u64) -> Self {
        Self { seed, next: AtomicU64::new(0) }
    }

    /// The next id.
    pub fn next(&self) -> String {
        let count = self.next.fetch_add(1, Ordering::Relaxed);
        let mut id = String::with_capacity(52);
        let mut word = 0;
        for position in 0..52u64 {
            if position % 12 == 0 {
                word = mix(self.seed ^ mix(count.wrapping_add(position << 56)));
            }
            id.push(ALPHABET[(word & 31) as usize] as char);
            word >>= 5;
        }
        id
    }
}

/// The finaliser of SplitMix64: every input bit changes about half of the output bits.
fn mix(value: u64) -> u64 {
    let mut z = value.wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_have_the_shape_clients_know_and_do_not_repeat() {
        let (a, b) = (RequestIds::new(1), RequestIds::new(2));
        let mut seen = std::collections::BTreeSet::new();
        for ids in [&a, &b] {
            for _ in 0..10_000 {
                let id = ids.next();
                assert_eq!(id.len(), 52);
                assert!(id.bytes().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit()));
                assert!(seen.insert(id));
            }
        }
    }
}
