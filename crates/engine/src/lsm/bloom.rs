//! Bloom filters in blocks of one cache line. All probes of a key fall into one 64-byte line, so a lookup
//! costs at most one cache miss. The upper half of the key's hash chooses the line. Repeated multiplication
//! of the lower half chooses the bits.
//!
//! Layout: the lines of 64 bytes, then one byte with the number of probes.

use xxhash_rust::xxh3::xxh3_64;

const LINE: usize = 64;
/// Multiplier that spreads the probes (2^64 divided by the golden ratio).
const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;

/// The hash of a user key that filters work on.
#[inline]
pub(crate) fn key_hash(key: &[u8]) -> u64 {
    xxh3_64(key)
}

/// Probes that minimise false positives for a number of bits per key (a little below `ln 2` times, as lines
/// fill unevenly).
fn probes_for(bits_per_key: usize) -> u8 {
    match bits_per_key {
        0..=2 => 1,
        3 => 2,
        4..=5 => 3,
        6..=7 => 4,
        8 => 5,
        9..=11 => 6,
        12..=13 => 7,
        14..=15 => 8,
        _ => 9,
    }
}

/// Builds a filter over key hashes.
pub(crate) fn build(hashes: &[u64], bits_per_key: usize) -> Vec<u8> {
    let lines = (hashes.len() * bits_per_key).div_ceil(LINE * 8).max(1);
    let probes = probes_for(bits_per_key);
    let mut data = vec![0u8; lines * LINE + 1];
    for &hash in hashes {
        let start = line_of(hash, lines) * LINE;
        let line = &mut data[start..start + LINE];
        let mut h = hash.wrapping_mul(SPREAD);
        for _ in 0..probes {
            let bit = (h >> 55) as usize;
            line[bit / 8] |= 1 << (bit % 8);
            h = h.wrapping_mul(SPREAD);
        }
    }
    data[lines * LINE] = probes;
    data
}

#[inline]
fn line_of(hash: u64, lines: usize) -> usize {
    (((hash >> 32) * lines as u64) >> 32) as usize
}

/// False only if the key with this hash is surely absent. Malformed filters answer true.
#[inline]
pub(crate) fn may_contain(filter: &[u8], hash: u64) -> bool {
    let Some((&probes, lines)) = filter.split_last() else { return true };
    let count = lines.len() / LINE;
    if count == 0 || lines.len() % LINE != 0 {
        return true;
    }
    let start = line_of(hash, count) * LINE;
    let Some(line) = lines.get(start..start + LINE) else { return true };
    let mut h = hash.wrapping_mul(SPREAD);
    for _ in 0..probes {
        let bit = (h >> 55) as usize;
        if line[bit / 8] & (1 << (bit % 8)) == 0 {
            return false;
        }
        h = h.wrapping_mul(SPREAD);
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn no_false_negatives(keys in proptest::collection::vec(any::<Vec<u8>>(), 0..300), bits in 1usize..20) {
            let hashes: Vec<u64> = keys.iter().map(|k| key_hash(k)).collect();
            let filter = build(&hashes, bits);
            prop_assert!(hashes.iter().all(|&h| may_contain(&filter, h)));
        }

        #[test]
        fn any_bytes_are_harmless(filter: Vec<u8>, hash: u64) {
            may_contain(&filter, hash);
        }
    }

    /// R-C4: under 1 % at 10 bits a key, over a million absent keys (the release bench measures ten million).
    #[test]
    fn false_positives_stay_under_one_percent() {
        for keys in [8_000u64, 100_000] {
            let hashes: Vec<u64> = (0..keys).map(|i| key_hash(format!("user{i:016}").as_bytes())).collect();
            let filter = build(&hashes, 10);
            assert!(filter.len() * 8 <= (keys as usize) * 10 + 1024);
            let tries = 1_000_000u64;
            let hits = (0..tries)
                .filter(|i| may_contain(&filter, key_hash(format!("absent{i:014}").as_bytes())))
                .count();
            let rate = hits as f64 / tries as f64;
            println!("{keys} keys: false positive rate {:.3} %", rate * 100.0);
            assert!(rate < 0.01, "{rate}");
        }
    }
}
