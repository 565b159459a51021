use std::collections::VecDeque;

use millrace_store::{Entry, Plan, QueueNo};
use millrace_types::{Now, QueueOffset};

use crate::delay_levels::DelayLevels;
use crate::store_clock::StoreClock;

/// What is known of the delayed messages. (In RocketMQ, `ScheduleMessageService`.)
///
/// The messages themselves are in the log, in one queue per level. Store times never go back, so
/// the order of a level's queue is the order in which its messages are due, and little has to be
/// known of any number of them: which one is next, and when it and a few behind it are due.
#[derive(Debug)]
pub(crate) struct Delays {
    delays: DelayLevels,
    pub(crate) levels: Vec<Level>,
    pub(crate) clock: StoreClock,
    /// No message is due before this moment.
    earliest_ms: u64,
}

/// The queue of one delay level.
#[derive(Debug, Default)]
pub(crate) struct Level {
    /// Once the topic exists.
    pub(crate) queue: Option<QueueNo>,
    /// The first message that was not delivered yet.
    pub(crate) next: QueueOffset,
    /// When it and those right after it are due, by the monotonic clock.
    dues: VecDeque<u64>,
    /// The entries that are being read.
    reading: Option<Plan>,
    /// Nothing is tried before.
    paused_until_ms: u64,
    /// Reading or storing them together failed, so these are taken one by one.
    singles: usize,
    failures: u32,
}

/// Messages that are delivered as one group, at most, and their bytes.
const BATCH: usize = 64;
const BATCH_BYTES: u64 = 1 << 20;
/// So many due times are kept of each level.
const DUES_MAX: usize = 4_096;
/// What is due but not yet visible is looked at again after this.
const NOT_VISIBLE_MS: u64 = 5;
/// A disk that cannot be read or has no room is tried again after this.
const FAILED_MS: u64 = 10_000;
/// A message that cannot be read so many times in a row is given up.
const FAILURES_MAX: u32 = 6;

impl Delays {
    pub(crate) fn new(delays: DelayLevels) -> Self {
        let levels = (0..delays.count()).map(|_| Level::default()).collect();
        Self { delays, levels, clock: StoreClock::default(), earliest_ms: 0 }
    }

    /// The level of messages that ask for this one, counted from 0.
    pub(crate) fn index(&self, level: u32) -> usize {
        level.clamp(1, self.delays.count()) as usize - 1
    }

    /// How many levels messages can ask for.
    pub(crate) fn count(&self) -> u32 {
        self.delays.count()
    }

    pub(crate) fn delay_ms(&self, index: usize) -> u64 {
        self.delays.delay_ms(index)
    }

    /// The topic exists. Queues of levels that there were once are kept.
    pub(crate) fn set_queues(&mut self, queues: &[QueueNo]) {
        for (n, queue) in queues.iter().enumerate() {
            if n == self.levels.len() {
                self.levels.push(Level::default());
            }
            self.levels[n].queue = Some(*queue);
        }
    }

    /// A message was stored now in the queue of a level.
    pub(crate) fn note(&mut self, now: Now, index: usize, placed: QueueOffset) {
        let due_ms = now.mono_ms + self.delay_ms(index);
        let level = &mut self.levels[index];
        if level.next + level.dues.len() as u64 == placed && level.dues.len() < DUES_MAX {
            level.dues.push_back(due_ms);
            if level.dues.len() == 1 {
                self.earliest_ms = self.earliest_ms.min(due_ms.max(level.paused_until_ms));
            }
        }
    }

    /// No message is due before this moment; `u64::MAX` if there is none.
    pub(crate) fn earliest_ms(&self) -> u64 {
        self.earliest_ms
    }

    /// Looks for it again; `end` tells where a queue ends.
    pub(crate) fn find_earliest(&mut self, end: impl Fn(QueueNo) -> QueueOffset) {
        let of_levels = self.levels.iter().filter_map(|level| {
            let due_ms = match (level.dues.front(), level.queue) {
                _ if level.reading.is_some() => return None,
                (Some(due_ms), _) => *due_ms,
                (None, Some(queue)) if level.next < end(queue) => 0,
                (None, _) => return None,
            };
            Some(due_ms.max(level.paused_until_ms))
        });
        self.earliest_ms = of_levels.min().unwrap_or(u64::MAX);
    }
}

impl Level {
    /// How many messages to read, and at most how many bytes: those that are due, or some whose
    /// time is not known; 0 if there is nothing to do now.
    pub(crate) fn wanted(&self, now: Now) -> (usize, u64) {
        if self.reading.is_some() || now.mono_ms < self.paused_until_ms {
            return (0, 0);
        }
        let most = if self.singles > 0 { 1 } else { BATCH };
        let due = self.dues.iter().take_while(|due_ms| **due_ms <= now.mono_ms).take(most).count();
        (if self.dues.is_empty() { most } else { due }, BATCH_BYTES)
    }

    /// How many due times are kept.
    #[cfg(test)]
    pub(crate) fn dues_len(&self) -> usize {
        self.dues.len()
    }

    /// What was wanted is being read.
    pub(crate) fn begin(&mut self, plan: Plan) {
        self.reading = Some(plan);
    }

    /// What was wanted is there, but readers may not see it yet.
    pub(crate) fn wait_until_visible(&mut self, now: Now) {
        self.paused_until_ms = now.mono_ms + NOT_VISIBLE_MS;
    }

    /// What was read, or could not be.
    pub(crate) fn end(&mut self) -> Option<Plan> {
        self.reading.take()
    }

    /// Notes when messages are due, `dues[0]` being that of the next one, and tells how many of
    /// them are by now.
    pub(crate) fn learn(&mut self, now: Now, dues: impl Iterator<Item = u64>) -> usize {
        let known = self.dues.len();
        let mut latest = self.dues.back().copied().unwrap_or(0);
        let mut read = 0;
        for (n, due_ms) in dues.enumerate() {
            read = n + 1;
            if n >= known {
                // In their queue's order, whatever the clocks did.
                latest = latest.max(due_ms);
                self.dues.push_back(latest);
            }
        }
        self.dues.iter().take(read).take_while(|due_ms| **due_ms <= now.mono_ms).count()
    }

    /// So many messages are delivered, or given up.
    pub(crate) fn advance(&mut self, count: usize) {
        self.next = self.next + count as u64;
        self.dues.drain(..count.min(self.dues.len()));
        self.singles = self.singles.saturating_sub(count);
        self.failures = 0;
        self.paused_until_ms = 0;
    }

    /// Takes these one by one, because together they cannot be read or stored.
    pub(crate) fn take_singly(&mut self, entries: &[Entry]) {
        self.singles = entries.len();
    }

    /// The next message cannot be read just now; tells whether to give it up.
    pub(crate) fn fail(&mut self, now: Now) -> bool {
        self.failures += 1;
        self.pause(now);
        self.failures >= FAILURES_MAX
    }

    /// Nothing can be stored just now.
    pub(crate) fn pause(&mut self, now: Now) {
        self.paused_until_ms = now.mono_ms + FAILED_MS;
    }

    /// Nothing is stored any more.
    pub(crate) fn stop(&mut self) {
        self.paused_until_ms = u64::MAX;
    }
}
