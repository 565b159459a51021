use millrace_types::Now;

use crate::clock::Clock;

/// The paused clock of the runtime that drives a test.
pub(crate) struct SimClock {
    start: tokio::time::Instant,
}

/// When simulations take place, milliseconds since the Unix epoch.
const WALL_START_MS: i64 = 1_767_225_600_000;

impl SimClock {
    pub(crate) fn new() -> Self {
        Self { start: tokio::time::Instant::now() }
    }
}

impl Clock for SimClock {
    fn now(&self) -> Now {
        let mono_ms = self.start.elapsed().as_millis() as u64;
        Now { mono_ms, wall_ms: WALL_START_MS + mono_ms as i64 }
    }
}
