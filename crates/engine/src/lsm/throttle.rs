//! Slows writers down in proportion to the compaction debt, so that they never have to stop completely. Only
//! with background threads.
//!
//! The delay for each written byte rises smoothly with the debt: zero up to a tolerated debt, then
//! `x / (1 - x)` squared. Writers wait in sleeps of at most two milliseconds. All writers share the delay.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Owed time below which a writer does not sleep yet.
const MIN_SLEEP_NS: u64 = 200_000;
/// Longest single sleep.
const MAX_SLEEP_NS: u64 = 2_000_000;
/// Price of a byte at half way to the limit.
const HALF_WAY_NS_PER_BYTE: f64 = 12.0;
/// Highest price: 250 KB/s.
const MAX_NS_PER_BYTE: f64 = 4000.0;

/// See the module's comment.
#[derive(Default)]
pub(crate) struct Throttle {
    /// Price of a byte in thousandths of a nanosecond.
    price: AtomicU64,
    owed_ns: AtomicU64,
    /// Total time slept.
    slept_ns: AtomicU64,
    sleeps: AtomicU64,
}

/// How near each resource is to its limit, 0 to 1 and beyond.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Pressure {
    /// Memtables waiting to be flushed.
    pub(crate) memtables: f64,
    /// Tables in level 0.
    pub(crate) level0: f64,
    /// Compaction debt.
    pub(crate) debt: f64,
}

impl Pressure {
    /// Nanoseconds that a written byte costs.
    fn price(self) -> f64 {
        let x = self.memtables.max(self.level0).max(self.debt).clamp(0.0, 0.999);
        let odds = x / (1.0 - x);
        (HALF_WAY_NS_PER_BYTE * odds * odds).min(MAX_NS_PER_BYTE)
    }
}

impl Throttle {
    pub(crate) fn set(&self, pressure: Pressure) {
        let price = pressure.price();
        // Under a tenth of a nanosecond it is noise.
        let price = if price < 0.1 { 0 } else { (price * 1000.0) as u64 };
        self.price.store(price, Ordering::Relaxed);
        if price == 0 {
            self.owed_ns.store(0, Ordering::Relaxed);
        }
    }

    /// Charges a write; how long the writer should sleep, if at all.
    #[inline]
    pub(crate) fn charge(&self, bytes: usize) -> Option<Duration> {
        let price = self.price.load(Ordering::Relaxed);
        if price == 0 {
            return None;
        }
        let cost = bytes as u64 * price / 1000;
        let owed = self.owed_ns.fetch_add(cost, Ordering::Relaxed) + cost;
        if owed < MIN_SLEEP_NS {
            return None;
        }
        let sleep = owed.min(MAX_SLEEP_NS);
        let taken = self.owed_ns.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |o| o.checked_sub(sleep));
        taken.ok()?;
        self.slept_ns.fetch_add(sleep, Ordering::Relaxed);
        self.sleeps.fetch_add(1, Ordering::Relaxed);
        Some(Duration::from_nanos(sleep))
    }

    /// Total time that writers were told to sleep, and how often.
    pub(crate) fn totals(&self) -> (Duration, u64) {
        (Duration::from_nanos(self.slept_ns.load(Ordering::Relaxed)), self.sleeps.load(Ordering::Relaxed))
    }

    /// Current price, nanoseconds per byte.
    pub(crate) fn price_ns_per_byte(&self) -> f64 {
        self.price.load(Ordering::Relaxed) as f64 / 1000.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_price_rises_smoothly_and_no_sleep_is_long() {
        let mut last = 0.0;
        for step in 0..=120 {
            let price = Pressure { level0: f64::from(step) / 100.0, ..Pressure::default() }.price();
            assert!(price >= last && price <= MAX_NS_PER_BYTE);
            // No cliff: a hundredth more pressure never multiplies the price by ten.
            assert!(step < 3 || price <= last * 10.0 + 0.1, "{step}: {last} to {price}");
            last = price;
        }
        let t = Throttle::default();
        assert_eq!(t.charge(1 << 20), None);
        t.set(Pressure { debt: 0.9, ..Pressure::default() });
        let mut slept = Duration::ZERO;
        for _ in 0..10_000 {
            if let Some(d) = t.charge(100) {
                assert!(d <= Duration::from_nanos(MAX_SLEEP_NS));
                slept += d;
            }
        }
        // 1 MB at 12 * 81 ns a byte is 0.97 s.
        assert!((slept.as_secs_f64() - 0.972).abs() < 0.02, "{slept:?}");
        t.set(Pressure::default());
        assert_eq!(t.charge(1 << 30), None);
    }
}
