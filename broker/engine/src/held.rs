use std::collections::BTreeMap;

use millrace_store::QueueNo;
use millrace_types::QueueOffset;

use crate::filter::Filter;
use crate::request::{ConnectionId, Ticket};

/// Pulls that wait for a message that does not exist yet. (In RocketMQ, `PullRequestHoldService`.)
#[derive(Debug, Default)]
pub(crate) struct HeldPulls {
    by_queue: BTreeMap<QueueNo, Vec<HeldPull>>,
    /// No pull expires before this, so a tick before it has nothing to do.
    earliest_ms: Option<u64>,
    count: usize,
}

/// One waiting pull.
#[derive(Clone, Debug)]
pub(crate) struct HeldPull {
    pub(crate) ticket: Ticket,
    pub(crate) connection: ConnectionId,
    pub(crate) from: QueueOffset,
    pub(crate) count_max: usize,
    pub(crate) bytes_max: u64,
    pub(crate) filter: Filter,
    pub(crate) until_ms: u64,
}

/// A waiting pull whose messages are being decided over elsewhere.
#[derive(Clone, Debug)]
pub struct Held {
    pub(crate) queue: QueueNo,
    pub(crate) pull: HeldPull,
}

impl Held {
    /// Until when it waits.
    pub fn until_ms(&self) -> u64 {
        self.pull.until_ms
    }
}

impl HeldPulls {
    pub(crate) fn hold(&mut self, queue: QueueNo, pull: HeldPull) {
        self.earliest_ms = Some(self.earliest_ms.map_or(pull.until_ms, |e| e.min(pull.until_ms)));
        self.by_queue.entry(queue).or_default().push(pull);
        self.count += 1;
    }

    /// Takes out the pulls that the messages of a queue before `end` satisfy, in order of arrival.
    pub(crate) fn on_arrival(&mut self, queue: QueueNo, end: QueueOffset) -> Vec<HeldPull> {
        let Some(held) = self.by_queue.get_mut(&queue) else {
            return Vec::new();
        };
        let ready: Vec<HeldPull> = held.extract_if(.., |pull| pull.from < end).collect();
        self.count -= ready.len();
        if held.is_empty() {
            self.by_queue.remove(&queue);
        }
        ready
    }

    /// Takes out all pulls of a queue.
    pub(crate) fn take(&mut self, queue: QueueNo) -> Vec<HeldPull> {
        let taken = self.by_queue.remove(&queue).unwrap_or_default();
        self.count -= taken.len();
        taken
    }

    /// Takes out the pulls that have waited long enough.
    pub(crate) fn on_tick(&mut self, now_ms: u64) -> Vec<(QueueNo, HeldPull)> {
        if self.earliest_ms.is_none_or(|earliest| now_ms < earliest) {
            return Vec::new();
        }
        let mut expired = Vec::new();
        for (&queue, held) in &mut self.by_queue {
            expired.extend(held.extract_if(.., |p| p.until_ms <= now_ms).map(|p| (queue, p)));
        }
        self.count -= expired.len();
        self.by_queue.retain(|_, held| !held.is_empty());
        self.earliest_ms = self.by_queue.values().flatten().map(|pull| pull.until_ms).min();
        expired
    }

    /// Drops the pulls of a connection that is gone.
    pub(crate) fn forget(&mut self, connection: ConnectionId) {
        self.by_queue.retain(|_, held| {
            held.retain(|pull| pull.connection != connection);
            !held.is_empty()
        });
        self.count = self.by_queue.values().map(Vec::len).sum();
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.count
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.by_queue.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pull(ticket: u64, from: u64, until_ms: u64) -> HeldPull {
        HeldPull {
            ticket: Ticket(ticket),
            connection: ConnectionId(ticket),
            from: QueueOffset(from),
            count_max: 32,
            bytes_max: 1 << 20,
            filter: Filter::All,
            until_ms,
        }
    }

    fn tickets(pulls: Vec<HeldPull>) -> Vec<u64> {
        pulls.into_iter().map(|pull| pull.ticket.0).collect()
    }

    #[test]
    fn arrival_wakes_those_that_wait_for_it() {
        let (queue, other) = held_queues();
        let mut held = HeldPulls::default();
        held.hold(queue, pull(1, 40, 100));
        held.hold(queue, pull(2, 41, 100));
        held.hold(other, pull(3, 0, 100));
        assert_eq!(tickets(held.on_arrival(queue, QueueOffset(40))), [0u64; 0]);
        assert_eq!(tickets(held.on_arrival(queue, QueueOffset(41))), [1]);
        assert_eq!(tickets(held.on_arrival(queue, QueueOffset(50))), [2]);
        assert_eq!((held.is_empty(), held.len()), (false, 1));
        assert_eq!(tickets(held.take(other)), [3]);
        assert_eq!(held.len(), 0);
    }

    #[test]
    fn an_expired_pull_is_not_answered_again() {
        let (queue, _) = held_queues();
        let mut held = HeldPulls::default();
        held.hold(queue, pull(1, 40, 100));
        assert!(held.on_tick(99).is_empty());
        assert_eq!(held.on_tick(100).len(), 1);
        assert!(held.on_arrival(queue, QueueOffset(50)).is_empty());
        assert_eq!((held.is_empty(), held.len()), (true, 0));
    }

    #[test]
    fn a_gone_connection_waits_for_nothing() {
        let (queue, _) = held_queues();
        let mut held = HeldPulls::default();
        held.hold(queue, pull(1, 40, 100));
        held.hold(queue, pull(2, 40, 100));
        held.forget(ConnectionId(1));
        assert_eq!(held.len(), 1);
        assert_eq!(tickets(held.on_arrival(queue, QueueOffset(41))), [2]);
    }

    fn held_queues() -> (QueueNo, QueueNo) {
        (QueueNo::from_index(0), QueueNo::from_index(1))
    }
}
