//! The oracles: pure functions from a recorded history to the errors in it.
//!
//! The simulation, the end-to-end tests over real processes, and live checks call them. They know nothing
//! about the world that made the history: no clock, no randomness, no files. Each oracle is itself tested
//! with planted bugs and with random histories against a slower model. An oracle must never be lenient where
//! a guarantee is exact, and never report an error where an outcome is unknown.

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
