use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use millrace_types::{QueueId, QueueOffset};

/// Groups that were moved: the next pull of a queue is told where to go on, and until then its
/// members' own offsets are not taken. Members that were there before the broker was are not heard
/// of for up to 30 s after its start, so it does not matter whether there are any. (In RocketMQ,
/// `resetOffsetTable` of `ConsumerOffsetManager`.)
#[derive(Debug, Default)]
pub(crate) struct Resets {
    /// Almost always false, so that a pull need not take the lock.
    any: AtomicBool,
    moved: Mutex<BTreeMap<Moved, Move>>,
}

/// Group, topic and queue.
type Moved = (String, String, QueueId);

#[derive(Debug)]
struct Move {
    to: QueueOffset,
    /// When the group was moved, or last seen to have members.
    seen_ms: u64,
}

/// So long after its last member was there a group has none that does not know of its move. One that
/// comes later begins at what is committed.
const LIFETIME_MS: u64 = 3_600_000;

/// Far above what anybody moves by hand.
pub(crate) const MOVED_MAX: usize = 100_000;

impl Resets {
    pub(crate) fn put(
        &self,
        now_ms: u64,
        group: &str,
        topic: &str,
        queue: QueueId,
        to: QueueOffset,
    ) {
        let (mut moved, which) = (self.lock(), (group.to_owned(), topic.to_owned(), queue));
        if moved.len() < MOVED_MAX || moved.contains_key(&which) {
            moved.insert(which, Move { to, seen_ms: now_ms });
            self.any.store(true, Ordering::Release);
        }
    }

    /// Where a pull has to go on, once.
    pub(crate) fn take(&self, group: &str, topic: &str, queue: QueueId) -> Option<QueueOffset> {
        if !self.any.load(Ordering::Acquire) {
            return None;
        }
        let mut moved = self.lock();
        let to = moved.remove(&(group.to_owned(), topic.to_owned(), queue));
        self.any.store(!moved.is_empty(), Ordering::Release);
        to.map(|moved| moved.to)
    }

    /// A topic is gone, and what was said of its queues.
    pub(crate) fn forget_topic(&self, topic: &str) {
        self.retain(|(_, known, _), _| known != topic);
    }

    /// Forgets what nobody comes for.
    pub(crate) fn on_tick(&self, now_ms: u64, is_online: impl Fn(&str) -> bool) {
        self.retain(|(group, ..), moved| {
            if is_online(group) {
                moved.seen_ms = now_ms;
            }
            now_ms < moved.seen_ms + LIFETIME_MS
        });
    }

    fn retain(&self, stays: impl FnMut(&Moved, &mut Move) -> bool) {
        if !self.any.load(Ordering::Acquire) {
            return;
        }
        let mut moved = self.lock();
        moved.retain(stays);
        self.any.store(!moved.is_empty(), Ordering::Release);
    }

    /// Whether a queue's pull has not been told yet.
    pub(crate) fn is_pending(&self, group: &str, topic: &str, queue: QueueId) -> bool {
        self.any.load(Ordering::Acquire)
            && self.lock().contains_key(&(group.to_owned(), topic.to_owned(), queue))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<Moved, Move>> {
        self.moved.lock().expect("nothing panics while it holds the table")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pull_is_told_once() {
        let resets = Resets::default();
        assert_eq!(resets.take("g", "t", QueueId(0)), None);
        resets.put(0, "g", "t", QueueId(0), QueueOffset(5));
        assert!(
            resets.is_pending("g", "t", QueueId(0)) && !resets.is_pending("g", "t", QueueId(1))
        );
        assert_eq!(resets.take("g", "t", QueueId(1)), None);
        assert_eq!(resets.take("g", "t", QueueId(0)), Some(QueueOffset(5)));
        assert_eq!(resets.take("g", "t", QueueId(0)), None);
        assert!(!resets.is_pending("g", "t", QueueId(0)));
    }

    #[test]
    fn what_nobody_comes_for_is_forgotten() {
        let resets = Resets::default();
        let is_pending = |group| resets.is_pending(group, "t", QueueId(0));
        for group in ["away", "here"] {
            resets.put(1_000, group, "t", QueueId(0), QueueOffset(5));
            resets.put(1_000, group, "gone", QueueId(0), QueueOffset(5));
        }
        resets.forget_topic("gone");
        assert!(!resets.is_pending("here", "gone", QueueId(0)));
        for now_ms in [LIFETIME_MS, LIFETIME_MS + 1_000] {
            assert!(is_pending("away") && is_pending("here"));
            resets.on_tick(now_ms, |group| group == "here");
        }
        assert!(!is_pending("away") && is_pending("here"));
        // Its members have left.
        resets.on_tick(2 * LIFETIME_MS + 1_000, |_| false);
        assert!(!is_pending("here"));
    }

    #[test]
    fn so_many_moves_wait_to_be_told() {
        let (resets, told) = (Resets::default(), |at| Some(QueueOffset(at)));
        for queue in 0..=MOVED_MAX as u32 {
            resets.put(0, "g", "t", QueueId(queue), QueueOffset(5));
        }
        resets.put(0, "g", "t", QueueId(0), QueueOffset(6));
        assert_eq!(resets.take("g", "t", QueueId(MOVED_MAX as u32)), None);
        assert_eq!(resets.take("g", "t", QueueId(0)), told(6));
        resets.put(0, "g", "u", QueueId(0), QueueOffset(7));
        assert_eq!(resets.take("g", "u", QueueId(0)), told(7));
    }
}
