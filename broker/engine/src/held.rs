use std::collections::BTreeMap;

use millrace_store::QueueNo;
use millrace_types::QueueOffset;

use crate::filter::Filter;
use crate::request::{Asker, ConnectionId, Ticket};

/// Pulls that wait for a message that does not exist yet. (In RocketMQ, `PullRequestHoldService`.)
#[derive(Debug, Default)]
pub(crate) struct HeldPulls {
    by_queue: BTreeMap<QueueNo, Vec<HeldPull>>,
    /// No pull expires before this, so a tick before it has nothing to do.
    earliest_ms: Option<u64>,
    count: usize,
    /// How often some were taken out for good. What is decided over meanwhile may be one of them.
    changes: u64,
}

/// One waiting pull.
#[derive(Clone, Debug)]
pub(crate) struct HeldPull {
    pub(crate) ticket: Ticket,
    pub(crate) connection: ConnectionId,
    pub(crate) asker: Option<Asker>,
    /// From where it was asked for, and from where it waits: it wants nothing that lies between.
    pub(crate) asked: QueueOffset,
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
    /// Of [`HeldPulls::changes`], when it was taken out.
    pub(crate) changes: u64,
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

    /// Takes out all pulls of a queue, for good.
    pub(crate) fn take(&mut self, queue: QueueNo) -> Vec<HeldPull> {
        self.changes += 1;
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

    /// Takes out the pulls of some askers, because they would want something else by now.
    pub(crate) fn on_change(
        &mut self,
        is_meant: impl Fn(Asker) -> bool,
    ) -> Vec<(QueueNo, HeldPull)> {
        self.changes += 1;
        let is_meant = |pull: &mut HeldPull| pull.asker.is_some_and(&is_meant);
        let mut meant = Vec::new();
        for (&queue, held) in &mut self.by_queue {
            meant.extend(held.extract_if(.., |pull| is_meant(pull)).map(|pull| (queue, pull)));
        }
        self.count -= meant.len();
        self.by_queue.retain(|_, held| !held.is_empty());
        meant
    }

    /// How often there was such a change.
    pub(crate) fn changes(&self) -> u64 {
        self.changes
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
            asker: Some(Asker(ticket as u32)),
            asked: QueueOffset(from),
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
    fn who_wants_something_else_waits_no_more() {
        let (queue, other) = held_queues();
        let mut held = HeldPulls::default();
        held.hold(queue, pull(1, 40, 100));
        held.hold(queue, pull(2, 40, 100));
        held.hold(other, HeldPull { asker: None, ..pull(3, 40, 100) });
        let meant = held.on_change(|asker| asker == Asker(1));
        assert_eq!(tickets(meant.into_iter().map(|(_, pull)| pull).collect()), [1]);
        assert_eq!((held.len(), held.changes()), (2, 1));
        assert_eq!(held.on_change(|_| true).len(), 1);
        assert_eq!(tickets(held.on_arrival(other, QueueOffset(41))), [3]);
        assert!(held.is_empty());
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
