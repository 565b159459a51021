use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use millrace_types::Now;

/// Tells what time it is. A simulation hands in its own.
pub type Clock = Arc<dyn Fn() -> Now + Send + Sync>;

/// The clock of the machine, whose monotonic time starts now.
pub fn system_clock() -> Clock {
    let start = Instant::now();
    Arc::new(move || {
        // A wall clock before 1970 is wrong anyway, and stamps only inform.
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Now {
            mono_ms: start.elapsed().as_millis() as u64,
            wall_ms: i64::try_from(wall.as_millis()).unwrap_or(i64::MAX),
        }
    })
}
