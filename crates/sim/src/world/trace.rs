//! A running hash over everything observable that happens in a world, so that two runs of one seed can be
//! compared.

use parking_lot::Mutex;
use tokio::time::Instant;
use xxhash_rust::xxh3::Xxh3;

/// The hash so far and how many events it covers.
pub struct Trace {
    start: Instant,
    state: Mutex<(Xxh3, u64)>,
}

impl Trace {
    /// An empty trace that starts now.
    pub fn new() -> Self {
        Self { start: Instant::now(), state: Mutex::new((Xxh3::new(), 0)) }
    }

    /// A frame was delivered.
    pub fn frame(&self, from: &str, to: &str, frame: &[u8]) {
        self.add(&[b"frame", from.as_bytes(), to.as_bytes(), frame]);
    }

    /// Something else happened: a fault, an operation's start or end.
    pub fn event(&self, what: &str) {
        tracing::debug!(target: "torc_sim", at_us = self.start.elapsed().as_micros() as u64, "{what}");
        self.add(&[b"event", what.as_bytes()]);
    }

    fn add(&self, parts: &[&[u8]]) {
        let at = self.start.elapsed().as_nanos() as u64;
        let mut state = self.state.lock();
        state.0.update(&at.to_be_bytes());
        for part in parts {
            state.0.update(&(part.len() as u64).to_be_bytes());
            state.0.update(part);
        }
        state.1 += 1;
    }

    /// The hash and the number of events.
    pub fn digest(&self) -> (u128, u64) {
        let state = self.state.lock();
        (state.0.digest128(), state.1)
    }
}

impl Default for Trace {
    fn default() -> Self {
        Self::new()
    }
}
