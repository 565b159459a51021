use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering, fence};

use millrace_types::PhysicalOffset;

use crate::tally::Tally;

/// How far the log is written, and how far it is durable. Shared between the writer, the flusher
/// and the readers; `appended ≥ durable` always (P1).
#[derive(Clone, Debug, Default)]
pub struct Watermarks(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    appended: AtomicU64,
    durable: AtomicU64,
    poisoned: AtomicBool,
    /// The tally up to `appended`. Both are raised together: `turn` is odd meanwhile.
    messages: AtomicU64,
    state: AtomicU64,
    turn: AtomicU64,
}

impl Watermarks {
    pub(crate) fn starting_at(end: PhysicalOffset, tally: Tally) -> Self {
        Self(Arc::new(Inner {
            appended: AtomicU64::new(end.0),
            durable: AtomicU64::new(end.0),
            messages: AtomicU64::new(tally.messages),
            state: AtomicU64::new(tally.state),
            ..Inner::default()
        }))
    }

    /// Every byte before this is written and never changes again.
    pub fn appended(&self) -> PhysicalOffset {
        PhysicalOffset(self.0.appended.load(Ordering::Acquire))
    }

    /// Every byte before this survives a power cut.
    pub fn durable(&self) -> PhysicalOffset {
        PhysicalOffset(self.0.durable.load(Ordering::Acquire))
    }

    /// Whether a write or a flush has failed, after which nothing more is written.
    pub fn poisoned(&self) -> bool {
        self.0.poisoned.load(Ordering::Acquire)
    }

    /// Only ever called by the one writer of the log.
    pub(crate) fn raise_appended(&self, to: PhysicalOffset, tally: Tally) {
        let turn = self.0.turn.load(Ordering::Relaxed);
        self.0.turn.store(turn + 1, Ordering::Relaxed);
        fence(Ordering::Release);
        self.0.messages.store(tally.messages, Ordering::Relaxed);
        self.0.state.store(tally.state, Ordering::Relaxed);
        self.0.appended.store(to.0, Ordering::Release);
        self.0.turn.store(turn + 2, Ordering::Release);
    }

    /// The appended watermark, and the tally as it was there.
    pub(crate) fn appended_and_tally(&self) -> (PhysicalOffset, Tally) {
        loop {
            let turn = self.0.turn.load(Ordering::Acquire);
            let tally = Tally {
                messages: self.0.messages.load(Ordering::Relaxed),
                state: self.0.state.load(Ordering::Relaxed),
            };
            let appended = self.appended();
            fence(Ordering::Acquire);
            if turn.is_multiple_of(2) && self.0.turn.load(Ordering::Relaxed) == turn {
                return (appended, tally);
            }
            // The writer is between two stores.
            std::thread::yield_now();
        }
    }

    pub(crate) fn raise_durable(&self, to: PhysicalOffset) {
        self.0.durable.fetch_max(to.0, Ordering::Release);
    }

    pub(crate) fn poison(&self) {
        self.0.poisoned.store(true, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tally_is_always_that_of_the_watermark() {
        let marks = Watermarks::default();
        let writer = marks.clone();
        let written = 200_000;
        let thread = std::thread::spawn(move || {
            for n in 1..=written {
                let tally = Tally { messages: n, state: 2 * n };
                writer.raise_appended(PhysicalOffset(3 * n), tally);
            }
        });
        loop {
            let (at, tally) = marks.appended_and_tally();
            assert_eq!(tally, Tally { messages: at.0 / 3, state: at.0 / 3 * 2 });
            if at.0 == 3 * written {
                break;
            }
        }
        thread.join().unwrap();
    }
}
