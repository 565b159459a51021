use std::sync::Arc;
use std::sync::atomic::{Ordering, fence};
use std::thread;
use std::time::{Duration, Instant};

use millrace_store::{FlushMode, Flusher};
use tracing::error;

use crate::core::Shared;

/// Who makes the log durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flushing {
    /// A thread of its own, as the flush mode says.
    Thread,
    /// Whoever waits for it, inline; there is no thread at all. With a clock and a runtime of its
    /// own a whole broker then runs on one thread, the same way every time.
    Manual,
}

/// In async-flush mode a flush does not wait for its interval once this much is unflushed, so that
/// the system's write-back never meets more than it can take at once.
pub(crate) const UNFLUSHED_BYTES_MAX: u64 = 32 << 20;

/// Without anything to do the thread looks this often whether it should stop.
const IDLE: Duration = Duration::from_secs(60);

/// After a flush, and as long as something could not be done, the thread keeps house again this
/// soon: producers may be turned away for an index run that is not written, or for want of room.
const AGAIN: Duration = Duration::from_secs(1);

/// The flush thread: one flush covers everything appended before it, so whoever comes while it
/// runs is served by the next one.
pub(crate) fn run(shared: &Arc<Shared>, mut flusher: Flusher) -> Flusher {
    let mut flushed_at = Instant::now();
    // The start may have left something, and a flush has most often just been too early for what
    // its answers lead to.
    let mut pause = AGAIN;
    loop {
        let stopping = shared.stopping.load(Ordering::Acquire);
        let wanted = shared.flush_wanted.swap(false, Ordering::AcqRel);
        let marks = &shared.marks;
        let behind = marks.appended().since(marks.durable());
        let (due, wait) = match shared.mode {
            FlushMode::Sync => (behind > 0, IDLE),
            FlushMode::Async { interval } => {
                let elapsed = flushed_at.elapsed();
                let due = wanted || behind > UNFLUSHED_BYTES_MAX || elapsed >= interval;
                (behind > 0 && due, interval.saturating_sub(elapsed))
            }
        };
        if marks.poisoned() {
            if stopping {
                return flusher;
            }
            thread::park_timeout(IDLE);
        } else if due || (stopping && behind > 0) {
            flushed_at = Instant::now();
            flush(shared, &mut flusher);
            pause = AGAIN;
        } else if stopping {
            return flusher;
        } else if behind > 0 {
            thread::park_timeout(wait.max(Duration::from_millis(1)));
        } else {
            // Whoever appends next sees the flag and wakes this thread, or has appended already.
            shared.flush_idle.store(true, Ordering::SeqCst);
            fence(Ordering::SeqCst);
            if marks.appended() == marks.durable() {
                thread::park_timeout(pause);
                // Nobody has appended, and nobody may be able to before this is done.
                if marks.appended() == marks.durable() {
                    pause = if flusher.housekeep() { AGAIN } else { IDLE };
                }
            }
            shared.flush_idle.store(false, Ordering::SeqCst);
            flushed_at = Instant::now();
        }
    }
}

/// Flushes once and tells everybody who waited.
pub(crate) fn flush(shared: &Shared, flusher: &mut Flusher) {
    match flusher.flush() {
        Ok(_) => shared.on_durable(),
        Err(failure) => {
            let cause = std::error::Error::source(&failure).map(ToString::to_string);
            let reason = cause.unwrap_or_else(|| failure.to_string());
            error!(error = %reason, "the CommitLog could not be made durable; nothing more is written");
            shared.on_flush_failed(&reason);
        }
    }
    flusher.housekeep();
}
