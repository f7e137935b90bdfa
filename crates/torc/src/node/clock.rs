//! The machine's clocks and randomness: the only place where a node's time and luck come from.

// The shell: this is where the real clock is read.
#![allow(clippy::disallowed_methods)]

use anyhow::Context;
use std::time::{Duration, Instant, SystemTime};
use torc_coordinator::ports::Clock;

/// Real clocks.
pub struct SystemClock {
    started: Instant,
}

impl SystemClock {
    /// Monotonic time counts from now.
    pub fn start() -> Self {
        Self { started: Instant::now() }
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Duration {
        self.started.elapsed()
    }

    fn wall_ms(&self) -> u64 {
        SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |d| d.as_millis() as u64)
    }
}

/// Eight bytes of the operating system's randomness.
pub fn entropy() -> anyhow::Result<u64> {
    use std::io::Read;
    let mut bytes = [0; 8];
    std::fs::File::open("/dev/urandom")
        .and_then(|mut f| f.read_exact(&mut bytes))
        .context("can't read randomness from /dev/urandom")?;
    Ok(u64::from_le_bytes(bytes))
}
