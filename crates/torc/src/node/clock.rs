//! The machine's clocks and randomness. No other code of a node reads them.

// The shell: this is where the real clock is read.
#![allow(clippy::disallowed_methods)]

use anyhow::Context;
use rustix::time::{ClockId, clock_gettime};
use std::time::{Duration, SystemTime};
use torc_coordinator::ports::Clock;

/// Real clocks.
pub struct SystemClock {
    started: Duration,
}

impl SystemClock {
    /// Monotonic time counts from now.
    pub fn start() -> Self {
        Self { started: boot_time() }
    }
}

impl Clock for SystemClock {
    /// Leases rest on this clock, so it counts the time in which the machine was suspended: a lease must not outlive a suspend.
    fn now(&self) -> Duration {
        boot_time().saturating_sub(self.started)
    }

    fn wall_ms(&self) -> u64 {
        SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |d| d.as_millis() as u64)
    }
}

/// Time since the machine's boot, suspends included.
fn boot_time() -> Duration {
    // `CLOCK_MONOTONIC` stands still in a suspend on Linux; on Apple's systems it does not.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    let clock = ClockId::Boottime;
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    let clock = ClockId::Monotonic;
    let time = clock_gettime(clock);
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// Eight bytes of the operating system's randomness.
pub fn entropy() -> anyhow::Result<u64> {
    entropy_bytes().map(u64::from_le_bytes)
}

/// So many bytes of the operating system's randomness.
pub fn entropy_bytes<const N: usize>() -> anyhow::Result<[u8; N]> {
    use std::io::Read;
    let mut bytes = [0; N];
    std::fs::File::open("/dev/urandom")
        .and_then(|mut f| f.read_exact(&mut bytes))
        .context("can't read randomness from /dev/urandom")?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// In a time namespace whose boot clock runs ahead (as after a suspend), only the boot clock shows it. Without such a
    /// namespace: the node's clock is the boot clock, not the monotonic one.
    #[test]
    fn the_node_reads_the_clock_that_goes_on_in_suspend() {
        let clock = SystemClock::start();
        let before = boot_time();
        let read = clock.started + clock.now();
        let after = boot_time();
        assert!(before <= read && read <= after, "{before:?} {read:?} {after:?}");
        #[cfg(target_os = "linux")]
        {
            let uptime = std::fs::read_to_string("/proc/uptime").unwrap();
            let uptime: f64 = uptime.split(' ').next().unwrap().parse().unwrap();
            assert!((uptime - after.as_secs_f64()).abs() < 5.0, "the kernel counts suspends into its uptime");
        }
    }
}
