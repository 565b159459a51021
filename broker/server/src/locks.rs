use std::collections::BTreeMap;
use std::sync::Arc;

use millrace_protocol::MessageQueue;

/// Which client of a group may consume which queue in order. (In RocketMQ,
/// `RebalanceLockManager`.) In memory only, as there: after a restart clients lock again.
#[derive(Debug, Default)]
pub(crate) struct QueueLocks {
    groups: BTreeMap<String, BTreeMap<MessageQueue, Lock>>,
    count: usize,
}

#[derive(Debug)]
struct Lock {
    client_id: Arc<str>,
    until_ms: u64,
}

/// A lock that is not refreshed for so long may be taken by another client.
const LIFETIME_MS: u64 = 60_000;
/// More locks than any broker has queues; further ones are not granted.
pub(crate) const LOCKS_MAX: usize = 200_000;

impl QueueLocks {
    /// Whether a group consumes in order: somebody holds a lock that has not expired.
    pub(crate) fn is_ordered(&self, now_ms: u64, group: &str) -> bool {
        let locks = self.groups.get(group);
        locks.is_some_and(|locks| locks.values().any(|lock| now_ms < lock.until_ms))
    }

    /// Takes or refreshes locks, and tells which of them the client has now.
    pub(crate) fn lock(
        &mut self,
        now_ms: u64,
        group: &str,
        client_id: &str,
        queues: Vec<MessageQueue>,
    ) -> Vec<MessageQueue> {
        if !self.groups.contains_key(group) && self.count < LOCKS_MAX && !queues.is_empty() {
            self.groups.insert(group.to_owned(), BTreeMap::new());
        }
        let Some(locks) = self.groups.get_mut(group) else {
            return Vec::new();
        };
        let (client_id, mut granted) = (Arc::from(client_id), Vec::new());
        for queue in queues {
            let until_ms = now_ms + LIFETIME_MS;
            match locks.get_mut(&queue) {
                Some(lock) if lock.client_id == client_id || lock.until_ms <= now_ms => {
                    lock.client_id = Arc::clone(&client_id);
                    lock.until_ms = until_ms;
                }
                Some(_) => continue,
                None if self.count < LOCKS_MAX => {
                    let lock = Lock { client_id: Arc::clone(&client_id), until_ms };
                    locks.insert(queue.clone(), lock);
                    self.count += 1;
                }
                None => continue,
            }
            granted.push(queue);
        }
        granted
    }

    /// Gives locks back; those of other clients stay.
    pub(crate) fn unlock(&mut self, group: &str, client_id: &str, queues: &[MessageQueue]) {
        if let Some(locks) = self.groups.get_mut(group) {
            for queue in queues {
                if locks.get(queue).is_some_and(|lock| *lock.client_id == *client_id) {
                    locks.remove(queue);
                    self.count -= 1;
                }
            }
        }
    }

    /// Time passes: forgets what has expired.
    pub(crate) fn on_tick(&mut self, now_ms: u64) {
        for locks in self.groups.values_mut() {
            locks.retain(|_, lock| now_ms < lock.until_ms);
        }
        self.groups.retain(|_, locks| !locks.is_empty());
        self.count = self.groups.values().map(BTreeMap::len).sum();
    }
}

#[cfg(test)]
mod tests {
    use millrace_types::QueueId;

    use super::*;

    fn queue(id: u32) -> MessageQueue {
        MessageQueue { topic: "t".into(), broker_name: "b".into(), queue_id: QueueId(id) }
    }

    fn ids(queues: Vec<MessageQueue>) -> Vec<u32> {
        queues.into_iter().map(|queue| queue.queue_id.0).collect()
    }

    #[test]
    fn a_queue_has_one_owner_until_the_lock_expires() {
        let mut locks = QueueLocks::default();
        assert_eq!(ids(locks.lock(0, "g", "a", vec![queue(0), queue(1)])), [0, 1]);
        assert_eq!(ids(locks.lock(10, "g", "b", vec![queue(1), queue(2)])), [2]);
        assert_eq!(ids(locks.lock(10, "other", "b", vec![queue(1)])), [1]);
        assert_eq!(ids(locks.lock(30_000, "g", "a", vec![queue(1)])), [1]);
        assert_eq!(ids(locks.lock(60_000, "g", "b", vec![queue(0), queue(1)])), [0]);
    }

    #[test]
    fn only_the_owner_gives_a_lock_back() {
        let mut locks = QueueLocks::default();
        locks.lock(0, "g", "a", vec![queue(0)]);
        locks.unlock("g", "b", &[queue(0)]);
        assert!(locks.lock(1, "g", "b", vec![queue(0)]).is_empty());
        locks.unlock("g", "a", &[queue(0)]);
        assert_eq!(ids(locks.lock(1, "g", "b", vec![queue(0)])), [0]);
    }

    #[test]
    fn so_many_locks_are_granted() {
        let mut locks = QueueLocks::default();
        let all: Vec<_> = (0..=LOCKS_MAX as u32).map(queue).collect();
        assert_eq!(locks.lock(0, "g", "a", all).len(), LOCKS_MAX);
        assert!(locks.lock(0, "h", "a", vec![queue(0)]).is_empty());
        assert_eq!(ids(locks.lock(1, "g", "a", vec![queue(7)])), [7]);
        // A group that locks nothing is not remembered.
        locks.on_tick(u64::MAX);
        locks.lock(0, "h", "a", Vec::new());
        assert!(locks.groups.is_empty());
    }

    #[test]
    fn expired_locks_are_forgotten() {
        let mut locks = QueueLocks::default();
        locks.lock(0, "g", "a", vec![queue(0)]);
        locks.on_tick(59_999);
        assert_eq!(locks.count, 1);
        locks.on_tick(60_000);
        assert_eq!((locks.count, locks.groups.len()), (0, 0));
    }
}
