use std::sync::{Mutex, MutexGuard, PoisonError};

use millrace_types::QueueOffset;
use tokio::time::{Duration, Instant};

/// What is known from outside of a queue that is being consumed.
#[derive(Debug, Default)]
pub(super) struct Progress(Mutex<Figures>);

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Figures {
    /// What the group may commit; `None` until that is known.
    pub(super) committable: Option<QueueOffset>,
    /// What was committed last; `None` if that has to be said again.
    pub(super) committed: Option<QueueOffset>,
    /// The last commit that a broker has taken.
    pub(super) taken: Option<QueueOffset>,
    /// Messages that were pulled and are not done with.
    pub(super) open: usize,
    pub(super) open_bytes: usize,
    pub(super) pulled_at_ms: i64,
    pub(super) locked_at: Option<Instant>,
    /// When the consumer of the queue was last at work.
    pub(super) seen_at: Option<Instant>,
    /// Since when it has been this member's without an absence, as far as its consumer knows.
    pub(super) since: Option<Instant>,
    /// When the members were asked for that made it this member's last.
    pub(super) shared_at: Option<Instant>,
}

impl Figures {
    /// Whether the queue's lock is still ours, which is renewed so often. A broker keeps it for
    /// 60 s.
    pub(super) fn is_locked(&self, now: Instant, lock_interval: Duration) -> bool {
        let age_max = lock_interval * 3 / 2;
        self.locked_at.is_some_and(|at| now.saturating_duration_since(at) < age_max)
    }

    /// What is to be committed now, if anything is. Of a consumer that stood still for longer than
    /// brokers wait, or has lost a lock that it needs, nothing is: another member may be further.
    pub(super) fn uncommitted(
        &self,
        now: Instant,
        absence_max: Duration,
        lock_interval: Option<Duration>,
    ) -> Option<QueueOffset> {
        if lock_interval.is_some_and(|interval| !self.is_locked(now, interval)) {
            return None;
        }
        let is_here = |at: Instant| now.saturating_duration_since(at) <= absence_max;
        let is_new = self.committable != self.committed && self.seen_at.is_some_and(is_here);
        self.committable.filter(|_| is_new)
    }
}

impl Progress {
    pub(super) fn get(&self) -> Figures {
        *self.lock()
    }

    pub(super) fn update(&self, change: impl FnOnce(&mut Figures)) {
        change(&mut self.lock());
    }

    fn lock(&self) -> MutexGuard<'_, Figures> {
        // Nothing under the lock can panic halfway through a change.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_has_changed_is_committed() {
        let (now, absence_max) = (Instant::now(), Duration::from_secs(120));
        let mut figures = Figures { seen_at: Some(now), ..Figures::default() };
        assert_eq!(figures.uncommitted(now, absence_max, None), None);
        figures.committable = Some(QueueOffset(5));
        assert_eq!(figures.uncommitted(now, absence_max, None), Some(QueueOffset(5)));
        figures.committed = Some(QueueOffset(5));
        assert_eq!(figures.uncommitted(now, absence_max, None), None);
        // Also backwards: a broker may have moved the group.
        figures.committable = Some(QueueOffset(2));
        assert_eq!(figures.uncommitted(now, absence_max, None), Some(QueueOffset(2)));
        // Another member may be further by now.
        let later = now + absence_max + Duration::from_millis(1);
        assert_eq!(figures.uncommitted(later, absence_max, None), None);
        // So it may where the lock is lost.
        let interval = Some(Duration::from_secs(20));
        assert_eq!(figures.uncommitted(now, absence_max, interval), None);
        figures.locked_at = Some(now);
        assert_eq!(figures.uncommitted(now, absence_max, interval), Some(QueueOffset(2)));
    }

    #[test]
    fn a_lock_counts_for_half_its_time() {
        let (now, interval) = (Instant::now(), Duration::from_secs(20));
        let figures = Figures { locked_at: Some(now), ..Figures::default() };
        assert!(figures.is_locked(now, interval));
        assert!(!figures.is_locked(now + Duration::from_secs(30), interval));
        assert!(!Figures::default().is_locked(now, interval));
    }
}
