//! Chooses the next operation, key and value: one generator for each connection, all from one seed.

use super::driver::Op;
use super::{BenchArgs, KeyKind};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rand::rngs::SmallRng;
use rand::{Rng, RngCore, SeedableRng};

/// Different values that a connection writes in turn.
const VALUES: usize = 32;
/// The usual exponent of the Yahoo cloud serving benchmark.
const ZIPF_EXPONENT: f64 = 0.99;

/// The operations of one connection.
pub struct Workload {
    rng: SmallRng,
    reads: u8,
    keys: Keys,
    values: Vec<String>,
    next_value: usize,
}

enum Keys {
    Uniform(u64),
    Zipfian(Zipfian),
    Sequential { next: u64, step: u64, count: u64 },
}

impl Workload {
    /// For connection `index` of `of`.
    pub fn new(args: &BenchArgs, index: u64, of: u64) -> Workload {
        let mut rng =
            SmallRng::seed_from_u64(mix(args.seed.wrapping_add(index.wrapping_mul(0x9e37_79b9_7f4a_7c15))));
        let keys = match args.keys {
            KeyKind::Uniform => Keys::Uniform(args.key_count),
            KeyKind::Zipfian => Keys::Zipfian(Zipfian::new(args.key_count)),
            KeyKind::Sequential => Keys::Sequential { next: index, step: of, count: args.key_count },
        };
        let mut bytes = vec![0; args.value_size as usize];
        let values = (0..VALUES)
            .map(|_| {
                rng.fill_bytes(&mut bytes);
                STANDARD.encode(&bytes)
            })
            .collect();
        Workload { rng, reads: args.reads, keys, values, next_value: 0 }
    }

    /// The next operation of the mix.
    pub fn op(&mut self) -> Op {
        match self.reads {
            0 => Op::Write,
            100 => Op::Read,
            share if self.rng.random_range(0..100) < share => Op::Read,
            _ => Op::Write,
        }
    }

    /// The next key.
    pub fn key(&mut self) -> u64 {
        match &mut self.keys {
            Keys::Uniform(count) => self.rng.random_range(0..*count),
            Keys::Zipfian(zipfian) => zipfian.draw(&mut self.rng),
            Keys::Sequential { next, step, count } => {
                let key = *next % *count;
                *next = next.wrapping_add(*step);
                key
            }
        }
    }

    /// The next value, in base64.
    pub fn value(&mut self) -> &str {
        self.next_value = (self.next_value + 1) % VALUES;
        &self.values[self.next_value]
    }
}

/// Zipf-distributed ranks in constant time (Gray et al., "Quickly generating billion-record synthetic
/// databases", 1994), scattered over the key space so that popular keys are not neighbours.
struct Zipfian {
    count: u64,
    zeta: f64,
    alpha: f64,
    eta: f64,
    second: f64,
}

impl Zipfian {
    fn new(count: u64) -> Zipfian {
        let zeta = zeta(count);
        let first_two = zeta_exact(2.min(count));
        Zipfian {
            count,
            zeta,
            alpha: 1.0 / (1.0 - ZIPF_EXPONENT),
            eta: (1.0 - (2.0 / count as f64).powf(1.0 - ZIPF_EXPONENT)) / (1.0 - first_two / zeta),
            second: 1.0 + 0.5f64.powf(ZIPF_EXPONENT),
        }
    }

    /// Rank 0 is the most popular.
    fn rank(&self, uniform: f64) -> u64 {
        let scaled = uniform * self.zeta;
        if scaled < 1.0 || self.count == 1 {
            return 0;
        }
        if scaled < self.second || self.count == 2 {
            return 1;
        }
        let rank = (self.count as f64 * (self.eta * uniform - self.eta + 1.0).powf(self.alpha)) as u64;
        rank.min(self.count - 1)
    }

    fn draw(&self, rng: &mut SmallRng) -> u64 {
        mix(self.rank(rng.random::<f64>())) % self.count
    }
}

fn zeta_exact(count: u64) -> f64 {
    (1..=count).map(|rank| (rank as f64).powf(-ZIPF_EXPONENT)).sum()
}

/// The sum of 1/rank^exponent: exact over the head, by the integral over the long tail, where they differ by
/// less than a billionth.
fn zeta(count: u64) -> f64 {
    const HEAD: u64 = 100_000;
    if count <= HEAD {
        return zeta_exact(count);
    }
    let power = 1.0 - ZIPF_EXPONENT;
    let tail = ((count as f64 + 0.5).powf(power) - (HEAD as f64 + 0.5).powf(power)) / power;
    zeta_exact(HEAD) + tail
}

/// A bijection on 64 bits that scatters neighbours (the finalizer of splitmix64).
fn mix(mut value: u64) -> u64 {
    value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zipf_ranks_follow_the_law() {
        let zipfian = Zipfian::new(1000);
        let mut rng = SmallRng::seed_from_u64(7);
        let mut counts = vec![0u32; 1000];
        let draws = 400_000;
        for _ in 0..draws {
            counts[zipfian.rank(rng.random()) as usize] += 1;
        }
        let zeta = zeta_exact(1000);
        for rank in [0usize, 1, 9, 99] {
            let expected = f64::from(draws) * ((rank + 1) as f64).powf(-ZIPF_EXPONENT) / zeta;
            let ratio = f64::from(counts[rank]) / expected;
            assert!(
                (0.75..1.25).contains(&ratio),
                "rank {rank}: {} draws, {expected:.0} expected",
                counts[rank]
            );
        }
    }

    #[test]
    fn the_tail_integral_agrees_with_the_sum() {
        let (exact, fast) = (zeta_exact(1_000_000), zeta(1_000_000));
        assert!((exact - fast).abs() / exact < 1e-9, "{exact} {fast}");
    }

    #[test]
    fn every_rank_is_a_key() {
        for count in [1, 2, 3, 10, 1_000_000] {
            let zipfian = Zipfian::new(count);
            let mut rng = SmallRng::seed_from_u64(3);
            for uniform in [0.0, 0.3, 0.999_999_999] {
                assert!(zipfian.rank(uniform) < count);
            }
            for _ in 0..1000 {
                assert!(zipfian.draw(&mut rng) < count);
            }
        }
    }
}
