//! What is fuzzed, and what must hold of it. A property that does not hold panics.

mod bytes;
mod expressions;
mod json;
mod numbers;
mod signatures;

/// One parser.
pub struct Target {
    /// As on the command line.
    pub name: &'static str,
    /// Inputs to start from; deterministic.
    pub seeds: fn() -> Vec<Vec<u8>>,
    /// Words that the parser knows.
    pub dictionary: &'static [&'static str],
    /// Feeds it.
    pub run: fn(&[u8]),
}

/// All of them.
pub const ALL: &[Target] = &[
    json::BODY,
    expressions::CONDITION,
    expressions::FILTER,
    expressions::KEY_CONDITION,
    expressions::PROJECTION,
    expressions::UPDATE,
    expressions::WIRE,
    numbers::NUMBER,
    signatures::SIGNATURE,
    bytes::KEY,
    bytes::ITEM,
];

/// Text as seeds.
fn texts(list: &[&str]) -> Vec<Vec<u8>> {
    list.iter().map(|text| text.as_bytes().to_vec()).collect()
}
