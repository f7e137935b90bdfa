//! Limits the rate of background input and output. Compaction pays for what it reads and writes, and other
//! background streams may pay from the same budget.
//!
//! There is no clock here. The budget tells each payer how long to pause. That bounds the rate, however long
//! the work between the pauses takes.

use parking_lot::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Pauses are at least this long; less is owed until it adds up.
const MIN_PAUSE: Duration = Duration::from_millis(1);
/// Longest single pause: a budget that is raised takes effect soon.
const MAX_PAUSE: Duration = Duration::from_millis(50);

/// A rate in bytes per second, shared by all who pay. Unlimited at first.
#[derive(Debug, Default)]
pub struct IoBudget {
    /// 0: unlimited.
    rate: AtomicU64,
    owed: Mutex<Duration>,
    paid_bytes: AtomicU64,
    paused_ns: AtomicU64,
}

impl IoBudget {
    /// Changes the rate; `None` lifts it.
    pub fn set_rate(&self, bytes_per_second: Option<u64>) {
        self.rate.store(bytes_per_second.map_or(0, |rate| rate.max(1)), Ordering::Relaxed);
        if bytes_per_second.is_none() {
            *self.owed.lock() = Duration::ZERO;
        }
    }

    /// The rate, bytes per second.
    pub fn rate(&self) -> Option<u64> {
        Some(self.rate.load(Ordering::Relaxed)).filter(|rate| *rate > 0)
    }

    /// Pays for `bytes`; how long the payer should pause now, if at all.
    pub fn pay(&self, bytes: u64) -> Option<Duration> {
        self.paid_bytes.fetch_add(bytes, Ordering::Relaxed);
        let rate = self.rate()?;
        let cost = Duration::from_nanos((u128::from(bytes) * 1_000_000_000 / u128::from(rate)) as u64);
        let mut owed = self.owed.lock();
        *owed += cost;
        if *owed < MIN_PAUSE {
            return None;
        }
        let pause = (*owed).min(MAX_PAUSE);
        *owed -= pause;
        self.paused_ns.fetch_add(pause.as_nanos() as u64, Ordering::Relaxed);
        Some(pause)
    }

    /// Bytes paid for, and the pauses told, since the start.
    pub fn totals(&self) -> (u64, Duration) {
        let paused = Duration::from_nanos(self.paused_ns.load(Ordering::Relaxed));
        (self.paid_bytes.load(Ordering::Relaxed), paused)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_add_up_to_the_rate() {
        let budget = IoBudget::default();
        assert_eq!(budget.pay(1 << 30), None, "unlimited at first");
        budget.set_rate(Some(10 << 20));
        let paused: Duration = (0..1000).filter_map(|_| budget.pay(100 << 10)).sum();
        // 100 000 KiB at 10 MiB a second. The last payments have not led to a pause yet.
        let want = Duration::from_secs_f64(1000.0 * 100.0 / (10.0 * 1024.0));
        assert!(paused <= want && want - paused < MIN_PAUSE, "{paused:?}");
        assert_eq!(budget.totals().1, paused);
        let pauses: Vec<_> = (0..4).filter_map(|_| budget.pay(10 << 20)).collect();
        assert_eq!(pauses, [MAX_PAUSE; 4], "long debts are paid in slices");
        budget.set_rate(None);
        assert_eq!(budget.pay(1), None);
    }
}
