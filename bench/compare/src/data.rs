//! Keys, values and how operations choose among them. All from seeds: two engines see the same.

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

/// Length of a key, bytes.
pub const KEY_BYTES: usize = 20;
pub type Key = [u8; KEY_BYTES];

/// Key number `n`: a scattered place in the order, the number itself behind it. Numbers beyond those loaded give absent keys between
/// the present ones.
pub fn key(n: u64) -> Key {
    let h = n.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(23).wrapping_mul(0xd6e8_feb8_6659_fd93);
    let mut out = [0; KEY_BYTES];
    out[..4].copy_from_slice(b"user");
    out[4..12].copy_from_slice(&h.to_be_bytes());
    out[12..].copy_from_slice(&n.to_be_bytes());
    out
}

/// Key `n` of partition `p`: partitions are contiguous ranges.
pub fn partition_key(p: u64, n: u64) -> Key {
    let mut out = key(n);
    out[..4].copy_from_slice(&(p as u32).to_be_bytes());
    out
}

/// Values: half random bytes, half zeros, so that they compress to about half. The first eight bytes are the key's number.
pub struct Values {
    pool: Vec<u8>,
    bytes: usize,
}

impl Values {
    pub fn new(bytes: usize) -> Self {
        let mut pool = vec![0; (1 << 20) + bytes];
        SmallRng::seed_from_u64(7).fill(&mut pool[..]);
        Self { pool, bytes: bytes.max(8) }
    }

    /// Fills `out` with the value of key number `n`; `salt` varies it.
    #[inline]
    pub fn fill(&self, n: u64, salt: u64, out: &mut Vec<u8>) {
        let half = self.bytes / 2;
        let at = (salt.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 44) as usize;
        out.clear();
        out.extend_from_slice(&n.to_le_bytes());
        out.extend_from_slice(&self.pool[at..at + half.saturating_sub(8)]);
        out.resize(self.bytes, 0);
    }

    /// Panics if `value` is not of key number `n`: a wrong answer is no answer.
    #[inline]
    pub fn check(&self, n: u64, value: &[u8]) {
        assert!(value.len() == self.bytes && value[..8] == n.to_le_bytes(), "wrong value of key {n}");
    }
}

/// The zipfian choice of YCSB (Gray et al., "Quickly generating billion-record synthetic databases", 1994), constant 0.99: rank 0 is
/// the hottest. [`key`] scatters the ranks over the key space.
#[derive(Clone)]
pub struct Zipf {
    items: u64,
    alpha: f64,
    zeta: f64,
    eta: f64,
    second: f64,
}

const THETA: f64 = 0.99;

impl Zipf {
    pub fn new(items: u64) -> Self {
        let items = items.max(2);
        let zeta: f64 = (1..=items).map(|i| (i as f64).powf(-THETA)).sum();
        let zeta2 = 1.0 + 0.5f64.powf(THETA);
        let eta = (1.0 - (2.0 / items as f64).powf(1.0 - THETA)) / (1.0 - zeta2 / zeta);
        Self { items, alpha: 1.0 / (1.0 - THETA), zeta, eta, second: zeta2 }
    }

    #[inline]
    pub fn next(&self, rng: &mut SmallRng) -> u64 {
        let u: f64 = rng.random();
        let uz = u * self.zeta;
        if uz < 1.0 {
            return 0;
        }
        if uz < self.second {
            return 1;
        }
        let rank = self.items as f64 * (self.eta * u - self.eta + 1.0).powf(self.alpha);
        (rank as u64).min(self.items - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zipf_is_as_hot_as_it_should_be() {
        let (zipf, mut rng) = (Zipf::new(10_000), SmallRng::seed_from_u64(1));
        let mut counts = vec![0u64; 10_000];
        let tries = 1_000_000;
        (0..tries).for_each(|_| counts[zipf.next(&mut rng) as usize] += 1);
        let zeta: f64 = (1..=10_000).map(|i| f64::from(i).powf(-THETA)).sum();
        for rank in [0usize, 1, 10, 100] {
            let want = tries as f64 / zeta / ((rank + 1) as f64).powf(THETA);
            let got = counts[rank] as f64;
            assert!((got / want - 1.0).abs() < 0.2, "rank {rank}: {got}, expected {want}");
        }
    }

    #[test]
    fn keys_differ_and_partitions_are_ranges() {
        let mut keys: Vec<Key> = (0..10_000).map(key).collect();
        keys.sort_unstable();
        keys.dedup();
        assert_eq!(keys.len(), 10_000);
        assert!((0..100).all(|n| partition_key(4, n) > partition_key(3, n + 50)));
    }
}
