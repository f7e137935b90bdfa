//! The clocks of a simulated node: they drift, and the wall clock jumps.

use parking_lot::Mutex;
use std::time::Duration;
use tokio::time::Instant;
use torc_coordinator::ports::Clock;

/// Wall time at the start of every world, milliseconds since the Unix epoch (the first second of 2026).
const WALL_START_MS: u64 = 1_767_225_600_000;

/// One node's clocks, derived from the world's virtual time.
pub struct SimClock {
    world_start: Instant,
    state: Mutex<State>,
}

struct State {
    /// World time at which the node's monotonic clock was last set, and what it showed.
    anchor: (Instant, Duration),
    /// Nanoseconds gained per second, may be negative.
    drift_ppb: i64,
    wall_offset_ms: i64,
}

impl SimClock {
    /// A clock without drift, whose process starts now.
    pub fn new(world_start: Instant) -> Self {
        let state = State { anchor: (Instant::now(), Duration::ZERO), drift_ppb: 0, wall_offset_ms: 0 };
        Self { world_start, state: Mutex::new(state) }
    }

    /// The process restarts: its monotonic clock begins again.
    pub fn restart(&self) {
        self.state.lock().anchor = (Instant::now(), Duration::ZERO);
    }

    /// Changes the rate from now on. What was shown so far stays.
    pub fn set_drift(&self, ppb: i64) {
        let now = self.now();
        let mut state = self.state.lock();
        state.anchor = (Instant::now(), now);
        state.drift_ppb = ppb;
    }

    /// Moves the wall clock, forwards or backwards.
    pub fn jump_wall(&self, by_ms: i64) {
        self.state.lock().wall_offset_ms += by_ms;
    }
}

impl Clock for SimClock {
    fn now(&self) -> Duration {
        let state = self.state.lock();
        let elapsed = state.anchor.0.elapsed().as_nanos() as i128;
        let drifted = elapsed + elapsed * i128::from(state.drift_ppb) / 1_000_000_000;
        state.anchor.1 + Duration::from_nanos(drifted.max(0) as u64)
    }

    fn wall_ms(&self) -> u64 {
        let offset = self.state.lock().wall_offset_ms;
        (WALL_START_MS + self.world_start.elapsed().as_millis() as u64).saturating_add_signed(offset)
    }
}
