//! Hybrid logical clock timestamps (Kulkarni et al., "Logical physical clocks", 2014): wall-clock
//! milliseconds with a counter.

/// A timestamp: milliseconds since the Unix epoch in the upper 48 bits, a counter in the lower 16.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hlc(pub u64);

impl Hlc {
    /// The first timestamp of a millisecond.
    pub fn from_ms(ms: u64) -> Self {
        Self(ms.min(u64::MAX >> 16) << 16)
    }

    /// Milliseconds since the Unix epoch.
    pub fn ms(self) -> u64 {
        self.0 >> 16
    }

    /// The next timestamp.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

/// A node's clock: strictly rising as long as the process lives, close to its wall clock.
///
/// It does not follow other nodes' clocks: a node whose clock jumped years ahead must not move the clocks of
/// all nodes. Where order matters, a write takes a timestamp above the one that it replaces (see
/// [`HlcClock::after`]).
#[derive(Clone, Debug, Default)]
pub struct HlcClock {
    last: Hlc,
}

impl HlcClock {
    /// A timestamp for now, above every one given before and above `replaced`.
    pub fn after(&mut self, wall_ms: u64, replaced: Hlc) -> Hlc {
        self.last = self.last.next().max(Hlc::from_ms(wall_ms));
        self.last.max(replaced.next())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rises_while_the_wall_clock_stands_or_jumps_back() {
        let mut clock = HlcClock::default();
        let mut last = Hlc::default();
        for wall in [1_000, 1_000, 5, 5, 1_001, 0] {
            let now = clock.after(wall, Hlc::default());
            assert!(now > last);
            last = now;
        }
        assert_eq!(last.ms(), 1_001);
    }

    #[test]
    fn a_replaced_timestamp_from_the_future_does_not_drag_the_clock() {
        let mut clock = HlcClock::default();
        let future = Hlc::from_ms(1 << 40);
        assert!(clock.after(1_000, future) > future);
        assert_eq!(clock.after(1_000, Hlc::default()).ms(), 1_000);
    }
}
