use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use millrace_types::{QueueId, QueueOffset};

/// Groups that were moved while they were online: the next pull of a queue is told where to go on,
/// and until then its members' own offsets are not taken. (In RocketMQ, `resetOffsetTable` of
/// `ConsumerOffsetManager`.)
#[derive(Debug, Default)]
pub(crate) struct Resets {
    /// Almost always false, so that a pull need not take the lock.
    any: AtomicBool,
    moved: Mutex<BTreeMap<Moved, QueueOffset>>,
}

/// Group, topic and queue.
type Moved = (String, String, QueueId);

/// Far above what anybody moves by hand.
pub(crate) const MOVED_MAX: usize = 100_000;

impl Resets {
    pub(crate) fn put(&self, group: &str, topic: &str, queue: QueueId, to: QueueOffset) {
        let (mut moved, which) = (self.lock(), (group.to_owned(), topic.to_owned(), queue));
        if moved.len() < MOVED_MAX || moved.contains_key(&which) {
            moved.insert(which, to);
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
        to
    }

    /// Whether a queue's pull has not been told yet.
    pub(crate) fn is_pending(&self, group: &str, topic: &str, queue: QueueId) -> bool {
        self.any.load(Ordering::Acquire)
            && self.lock().contains_key(&(group.to_owned(), topic.to_owned(), queue))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<Moved, QueueOffset>> {
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
        resets.put("g", "t", QueueId(0), QueueOffset(5));
        assert!(
            resets.is_pending("g", "t", QueueId(0)) && !resets.is_pending("g", "t", QueueId(1))
        );
        assert_eq!(resets.take("g", "t", QueueId(1)), None);
        assert_eq!(resets.take("g", "t", QueueId(0)), Some(QueueOffset(5)));
        assert_eq!(resets.take("g", "t", QueueId(0)), None);
        assert!(!resets.is_pending("g", "t", QueueId(0)));
    }

    #[test]
    fn so_many_moves_wait_to_be_told() {
        let (resets, told) = (Resets::default(), |at| Some(QueueOffset(at)));
        for queue in 0..=MOVED_MAX as u32 {
            resets.put("g", "t", QueueId(queue), QueueOffset(5));
        }
        resets.put("g", "t", QueueId(0), QueueOffset(6));
        assert_eq!(resets.take("g", "t", QueueId(MOVED_MAX as u32)), None);
        assert_eq!(resets.take("g", "t", QueueId(0)), told(6));
        resets.put("g", "u", QueueId(0), QueueOffset(7));
        assert_eq!(resets.take("g", "u", QueueId(0)), told(7));
    }
}
