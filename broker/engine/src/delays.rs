use std::collections::VecDeque;

use millrace_store::{Entry, Plan, QueueNo};
use millrace_types::{Now, QueueId, QueueOffset};

use crate::delay_levels::DelayLevels;
use crate::deliveries::{SCHEDULE_TOPIC, TIMER_TOPIC};
use crate::store_clock::StoreClock;

/// What is known of the delayed messages. (In RocketMQ, `ScheduleMessageService` and, for timers,
/// `TimerMessageStore`.)
///
/// The messages themselves are in the log, in queues of which each has one delay. Store times never
/// go back, so the order of such a queue is the order in which its messages are due, and little has
/// to be known of any number of them: which one is next, and when it and a few behind it are due.
///
/// A delay level is such a queue. A timer may wait for any time, so it goes from queue to queue: in
/// each it waits for the longest delay that is not too long. The delays are close to each other, so
/// a wait of days takes six of these steps.
#[derive(Debug)]
pub(crate) struct Delays {
    /// The levels that messages can ask for, the steps of timers, and levels that there were once.
    pub(crate) levels: Vec<Level>,
    level_count: usize,
    step_count: usize,
    pub(crate) clock: StoreClock,
    /// No message is due before this moment.
    earliest_ms: u64,
}

/// A queue of messages that all have the same delay.
#[derive(Debug)]
pub(crate) struct Level {
    pub(crate) topic: &'static str,
    pub(crate) queue_id: QueueId,
    pub(crate) delay_ms: u64,
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

/// Below this a timer waits a little too long rather than in another step.
const LAST_STEP_MS: u64 = 1_000;
const SHORT_STEP_MS: u64 = 100;

/// How long the steps of timers wait: the same for every broker, because it says what the queues
/// of the topic are for.
fn timer_steps() -> impl Iterator<Item = u64> {
    std::iter::successors(Some(SHORT_STEP_MS), |step| {
        Some(step + if *step < LAST_STEP_MS { SHORT_STEP_MS } else { step / 16 })
    })
}

impl Delays {
    pub(crate) fn new(delays: &DelayLevels, timer_ms_max: u64) -> Self {
        let level = |topic, n: usize, delay_ms| Level::new(topic, QueueId(n as u32), delay_ms);
        let mut levels: Vec<Level> = (0..delays.count() as usize)
            .map(|n| level(SCHEDULE_TOPIC, n, delays.delay_ms(n)))
            .collect();
        let level_count = levels.len();
        let steps = timer_steps().take_while(|step| *step <= timer_ms_max.max(LAST_STEP_MS));
        let steps = steps.enumerate();
        levels.extend(steps.map(|(n, delay_ms)| level(TIMER_TOPIC, n, delay_ms)));
        let step_count = levels.len() - level_count;
        Self { levels, level_count, step_count, clock: StoreClock::default(), earliest_ms: 0 }
    }

    /// Where messages wait that ask for a level.
    pub(crate) fn level(&self, level: u32) -> usize {
        (level.max(1) as usize).min(self.level_count) - 1
    }

    /// Where a timer waits that has so long to wait: for as long as possible and not too long; in
    /// the end, long enough.
    pub(crate) fn step(&self, left_ms: u64) -> usize {
        let steps = &self.levels[self.level_count..][..self.step_count];
        let not_longer = steps.partition_point(|step| step.delay_ms <= left_ms);
        let long_enough = steps.partition_point(|step| step.delay_ms < left_ms);
        let step = if left_ms > LAST_STEP_MS { not_longer - 1 } else { long_enough };
        self.level_count + step.min(self.step_count - 1)
    }

    /// How many queues the topic of a level has.
    pub(crate) fn queues_of(&self, index: usize) -> u32 {
        let topic = self.levels[index].topic;
        self.levels.iter().filter(|level| level.topic == topic).count() as u32
    }

    /// A topic exists. If it is one of these, queues that there were once are kept.
    pub(crate) fn set_queues(&mut self, topic: &str, queues: &[QueueNo]) {
        let Some(topic) = [SCHEDULE_TOPIC, TIMER_TOPIC].into_iter().find(|own| *own == topic)
        else {
            return;
        };
        let last_ms = self.levels[self.level_count - 1].delay_ms;
        for (id, queue) in (0..).map(QueueId).zip(queues) {
            let known = self.levels.iter_mut();
            match known.into_iter().find(|level| level.topic == topic && level.queue_id == id) {
                Some(level) => level.queue = Some(*queue),
                None => {
                    let step_ms = timer_steps().nth(id.0 as usize).unwrap_or(last_ms);
                    let delay_ms = if topic == TIMER_TOPIC { step_ms } else { last_ms };
                    let level = Level::new(topic, id, delay_ms);
                    self.levels.push(Level { queue: Some(*queue), ..level });
                }
            }
        }
    }

    /// A message was stored now in the queue of a level.
    pub(crate) fn note(&mut self, now: Now, index: usize, placed: QueueOffset) {
        let level = &mut self.levels[index];
        let due_ms = StoreClock::stored_now_ms(now) + level.delay_ms;
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
    fn new(topic: &'static str, queue_id: QueueId, delay_ms: u64) -> Self {
        Self {
            topic,
            queue_id,
            delay_ms,
            queue: None,
            next: QueueOffset(0),
            dues: VecDeque::new(),
            reading: None,
            paused_until_ms: 0,
            singles: 0,
            failures: 0,
        }
    }

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

#[cfg(test)]
mod tests {
    use super::*;

    const DAY_MS: u64 = 86_400_000;

    fn delays() -> Delays {
        Delays::new(&DelayLevels::default(), 3 * DAY_MS)
    }

    #[test]
    fn a_timer_of_any_length_takes_few_steps_and_is_late_by_little() {
        let delays = delays();
        let times =
            (1..40).chain((1..2_000).map(|n| n * 97)).chain((1..2_000).map(|n| n * 129_600));
        for time_ms in times {
            let (mut left_ms, mut steps) = (time_ms as i64, 0);
            while left_ms > 0 {
                left_ms -= delays.levels[delays.step(left_ms as u64)].delay_ms as i64;
                steps += 1;
            }
            assert!(left_ms > -(SHORT_STEP_MS as i64), "{time_ms} ms: {left_ms}");
            assert!(steps <= 7, "{time_ms} ms: {steps} steps");
        }
    }

    #[test]
    fn a_limit_of_any_length_has_a_step_to_wait_in() {
        for limit_ms in [1, 99, 100, 999, 1_000, 1_001, DAY_MS, 40 * DAY_MS] {
            let delays = Delays::new(&DelayLevels::default(), limit_ms);
            assert_eq!(delays.levels[delays.step(1)].topic, TIMER_TOPIC, "{limit_ms}");
            assert_eq!(delays.levels[delays.step(limit_ms)].topic, TIMER_TOPIC, "{limit_ms}");
        }
        assert_eq!(delays().levels.len(), 18 + delays().queues_of(20) as usize);
    }

    #[test]
    fn what_is_remembered_of_many_messages_is_little() {
        let mut delays = delays();
        let now = Now { mono_ms: 0, wall_ms: 0 };
        for n in 0..1_000_000 {
            delays.note(now, 4, QueueOffset(n));
        }
        assert_eq!(delays.levels[4].dues.len(), DUES_MAX);
    }
}
