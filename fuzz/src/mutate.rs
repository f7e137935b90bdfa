//! New inputs from old ones.

use rand::Rng;
use rand::rngs::SmallRng;

/// Longest input made. Long ones are left to the end-to-end tests: they cost time and find what short ones
/// find.
const MAX_BYTES: usize = 4096;
/// Bytes at which parsers decide.
const BYTES: &[u8] = b"\0\x01\x7f\x80\xff\n\r\t \"\\'()[]{},.:;=<>+-#/%09aZeE_";

/// Makes inputs for one target.
pub struct Mutator {
    words: Vec<Vec<u8>>,
}

impl Mutator {
    /// With a target's dictionary, and the words of its seeds.
    pub fn new(dictionary: &[&str], seeds: &[Vec<u8>]) -> Self {
        let mut words: Vec<Vec<u8>> = dictionary.iter().map(|word| word.as_bytes().to_vec()).collect();
        for seed in seeds {
            let found = seed.split(|byte| !(byte.is_ascii_alphanumeric() || b"_#:-\"".contains(byte)));
            words.extend(found.filter(|word| (2..40).contains(&word.len())).map(<[u8]>::to_vec));
        }
        words.sort_unstable();
        words.dedup();
        Mutator { words }
    }

    /// Puts the next input into `out`.
    pub fn next(&self, rng: &mut SmallRng, corpus: &[Vec<u8>], out: &mut Vec<u8>) {
        out.clear();
        match pick(rng, corpus) {
            Some(parent) => out.extend_from_slice(parent),
            None => out.push(0),
        }
        // Few changes as a rule, at times many.
        let changes = 1 + (rng.random::<u32>().leading_zeros() as usize).min(16);
        for _ in 0..changes {
            self.change(rng, corpus, out);
        }
        out.truncate(MAX_BYTES);
    }

    fn change(&self, rng: &mut SmallRng, corpus: &[Vec<u8>], out: &mut Vec<u8>) {
        let at = rng.random_range(0..=out.len());
        let length = rng.random_range(1..=16).min(out.len() - at);
        match rng.random_range(0..11) {
            0 => {
                if let Some(byte) = out.get_mut(at) {
                    *byte ^= 1 << rng.random_range(0..8);
                }
            }
            1 => {
                if let Some(byte) = out.get_mut(at) {
                    *byte = interesting(rng);
                }
            }
            2 => out.insert(at, interesting(rng)),
            3 => drop(out.drain(at..at + length)),
            4 => {
                // A piece again, perhaps many times: nesting and repetition.
                let piece = out[at..at + length].to_vec();
                let times = if rng.random_ratio(1, 8) { rng.random_range(2..200) } else { 1 };
                insert(out, at, &piece.repeat(times));
            }
            5 | 6 => {
                if let Some(word) = pick(rng, &self.words) {
                    insert(out, at, word);
                }
            }
            7 => {
                if let Some(word) = pick(rng, &self.words) {
                    out.drain(at..at + length);
                    insert(out, at, word);
                }
            }
            8 => {
                // The beginning of this and the end of another.
                if let Some(other) = pick(rng, corpus) {
                    let from = rng.random_range(0..=other.len());
                    out.truncate(at);
                    out.extend_from_slice(&other[from..]);
                }
            }
            9 => {
                // A piece of another.
                if let Some(other) = pick(rng, corpus).filter(|other| !other.is_empty()) {
                    let from = rng.random_range(0..other.len());
                    let to = rng.random_range(from..=other.len());
                    insert(out, at, &other[from..to]);
                }
            }
            _ => {
                // Another number in place of one.
                if let Some(from) = (at..out.len()).find(|index| out[*index].is_ascii_digit()) {
                    let digits = out[from..].iter().take_while(|byte| byte.is_ascii_digit()).count();
                    out.drain(from..from + digits);
                    let number = match rng.random_range(0..5) {
                        0 => rng.random_range(0..10u64).to_string(),
                        1 => rng.random::<u64>().to_string(),
                        2 => i64::MIN.to_string(),
                        3 => (rng.random::<u128>()).to_string(),
                        _ => format!("1e{}", rng.random_range(-200..200)),
                    };
                    insert(out, from, number.as_bytes());
                }
            }
        }
    }
}

fn pick<'a>(rng: &mut SmallRng, list: &'a [Vec<u8>]) -> Option<&'a Vec<u8>> {
    if list.is_empty() { None } else { list.get(rng.random_range(0..list.len())) }
}

fn interesting(rng: &mut SmallRng) -> u8 {
    if rng.random() { BYTES[rng.random_range(0..BYTES.len())] } else { rng.random() }
}

fn insert(out: &mut Vec<u8>, at: usize, piece: &[u8]) {
    if out.len() + piece.len() <= MAX_BYTES {
        out.splice(at..at, piece.iter().copied());
    }
}
