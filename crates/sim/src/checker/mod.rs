//! The oracles: pure functions from what was recorded to what is wrong with it.
//!
//! Called by the simulation, by the end-to-end tests over real processes, and by live checks. They know nothing of the world that made the history: no clock, no
//! randomness, no files. Each is itself proved by planted bugs and by random histories against a slower model. They must never be lenient where a promise is exact, and never
//! accuse where an outcome is unknown.

pub mod causal;
pub mod indexes;
pub mod linearizability;
pub mod log;
pub mod replicas;
pub mod topology;

#[cfg(test)]
mod linearizability_tests;

/// Bytes for people: text if it is text, else hexadecimal; long ones cut.
pub(crate) fn show(bytes: &[u8]) -> String {
    const SHOWN: usize = 40;
    let cut = bytes.get(..SHOWN).unwrap_or(bytes);
    let mut text = match std::str::from_utf8(cut) {
        Ok(text) if text.chars().all(|c| !c.is_control()) => format!("{text:?}"),
        _ => cut.iter().fold("0x".to_owned(), |text, byte| format!("{text}{byte:02x}")),
    };
    if cut.len() < bytes.len() {
        text.push_str(&format!("… ({} bytes)", bytes.len()));
    }
    text
}
