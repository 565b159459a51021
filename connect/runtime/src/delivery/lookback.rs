use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use millrace_config::{Pipeline, StepSpec};
use millrace_connect_api::{Messages, QueueRef};
use millrace_types::QueueOffset;
use tracing::warn;

use crate::error::RunError;
use crate::ledger::QueueAt;
use crate::link::{Link, READ_BYTES};
use crate::steps::PlacedChain;

/// What a step that remembers needs of each queue: the messages of its window, which lie before the
/// ones that are delivered next.
///
/// Nothing of what it remembers is written down. The log has it already, and reading it again is
/// exact; so every COMMITTED says from where on, and the broker keeps it.
pub(super) struct Lookback {
    offsets: Option<u64>,
    within: Option<Duration>,
    queues: BTreeMap<QueueRef, VecDeque<Mark>>,
}

/// A place in a queue, and the time of the first message from there on.
#[derive(Clone, Copy, Debug)]
struct Mark {
    offset: QueueOffset,
    store_at_ms: i64,
}

impl Lookback {
    /// `None` if no step of the pipeline remembers anything.
    pub(super) fn of(pipeline: &Pipeline) -> Option<Self> {
        pipeline.steps.iter().find_map(|step| match step {
            StepSpec::Dedupe(spec) => {
                let (offsets, within) = (spec.offsets, spec.within);
                Some(Self { offsets, within, queues: BTreeMap::new() })
            }
            _ => None,
        })
    }

    /// Takes in that messages are delivered.
    pub(super) fn note(&mut self, messages: &Messages) {
        if messages.is_empty() {
            return;
        }
        let mark = Mark { offset: messages.from(), store_at_ms: messages.get(0).store_at_ms };
        match self.queues.get_mut(messages.queue()) {
            Some(marks) => marks.push_back(mark),
            None => drop(self.queues.insert(messages.queue().clone(), [mark].into())),
        }
    }

    /// From where on messages are needed once those before `next` are delivered. Forgets what lies
    /// before, because `next` does not go back.
    pub(super) fn needed(&mut self, next: &BTreeMap<QueueRef, QueueOffset>) -> Vec<QueueAt> {
        let (offsets, within) = (self.offsets, self.within);
        let mut needed = Vec::new();
        for (queue, next) in next {
            let Some(marks) = self.queues.get_mut(queue) else { continue };
            // Not before this one was stored comes whatever is next.
            let Some(current) = marks.iter().rfind(|mark| mark.offset <= *next).copied() else {
                continue;
            };
            let is_before = |mark: &Mark| {
                let far = offsets.is_some_and(|most| mark.offset.0 + most < next.0);
                let old = within.is_some_and(|within| {
                    age(current.store_at_ms, mark.store_at_ms) >= within.as_millis() as i128
                });
                mark.offset < *next && (far || old)
            };
            // All before the second mark is older than that.
            while marks.get(1).is_some_and(is_before) {
                marks.pop_front();
            }
            if let Some(first) = marks.front() {
                needed.push(QueueAt::new(queue, first.offset.min(*next)));
            }
        }
        needed
    }

    /// The same without having delivered anything, from the log.
    pub(super) async fn find(
        &self,
        link: &Link,
        queue: &QueueRef,
        next: QueueOffset,
    ) -> Result<QueueOffset, RunError> {
        let (min, end) = link.bounds(&queue.topic, queue.queue).await?;
        let next = next.min(end);
        let from = self.offsets.map_or(min, |most| QueueOffset(next.0.saturating_sub(most)));
        let from = from.max(min);
        let Some(within) = self.within else { return Ok(from) };
        if from >= next {
            return Ok(from);
        }
        let Some(latest) = time_at(link, queue, QueueOffset(next.0 - 1), end).await? else {
            return Ok(from);
        };
        // Store times never go back.
        let (mut low, mut high) = (from, next);
        while low < high {
            let middle = QueueOffset(low.0 + (high.0 - low.0) / 2);
            let time = time_at(link, queue, middle, end).await?;
            let is_old = time.is_some_and(|time| age(latest, time) >= within.as_millis() as i128);
            if is_old { low = middle + 1 } else { high = middle }
        }
        Ok(low)
    }

    /// Takes the window before `next` through a chain, so that it remembers what it would if it had
    /// delivered it.
    pub(super) async fn read(
        &mut self,
        link: &Link,
        chain: &PlacedChain,
        queue: &QueueRef,
        next: QueueOffset,
    ) -> Result<(), RunError> {
        let mut at = self.find(link, queue, next).await?;
        let (min, _) = link.bounds(&queue.topic, queue.queue).await?;
        if at == min && QueueOffset(0) < min && min < next {
            warn!(topic = %queue.topic, queue_id = queue.queue.0, queue_offset = min.0,
                "the window of `dedupe` begins with the oldest message there is; more may be gone");
        }
        let mut end = next;
        while at < next {
            let (topic, number) = (&queue.topic, queue.queue);
            let read = link.read_on(topic, number, &mut at, &mut end, READ_BYTES).await?;
            let Some(messages) = read else { break };
            let before: Vec<usize> = (0..messages.len())
                .take_while(|row| messages.get(*row).queue_offset < next)
                .collect();
            self.note(&messages);
            chain.remember(Arc::new(messages.repeated(&before))).await?;
        }
        Ok(())
    }
}

fn age(now_ms: i64, then_ms: i64) -> i128 {
    i128::from(now_ms) - i128::from(then_ms)
}

/// When the first message at or behind an offset was stored.
async fn time_at(
    link: &Link,
    queue: &QueueRef,
    offset: QueueOffset,
    end: QueueOffset,
) -> Result<Option<i64>, RunError> {
    let (mut at, mut end) = (offset, end);
    while let Some(messages) =
        link.read_on(&queue.topic, queue.queue, &mut at, &mut end, ONE_MESSAGE).await?
    {
        if !messages.is_empty() {
            return Ok(Some(messages.get(0).store_at_ms));
        }
    }
    Ok(None)
}

/// A pull gives one message at least.
const ONE_MESSAGE: u32 = 1;

#[cfg(test)]
mod tests {
    use millrace_types::{QueueId, TopicName};

    use super::*;

    fn queue() -> QueueRef {
        let topic = TopicName::parse("t").unwrap();
        QueueRef { broker: "b".into(), topic, queue: QueueId(0) }
    }

    /// From where on messages are needed before `next`, after batches that began at these offsets
    /// and times.
    #[track_caller]
    fn check(
        (offsets, within_ms): (Option<u64>, Option<u64>),
        batches: &[(u64, i64)],
        next: u64,
        expected: u64,
    ) {
        let marks = batches
            .iter()
            .map(|&(offset, store_at_ms)| Mark { offset: QueueOffset(offset), store_at_ms });
        let queues = BTreeMap::from([(queue(), marks.collect())]);
        let within = within_ms.map(Duration::from_millis);
        let mut lookback = Lookback { offsets, within, queues };
        let needed = lookback.needed(&BTreeMap::from([(queue(), QueueOffset(next))]));
        assert_eq!(needed[0].offset, expected, "{offsets:?} {within_ms:?} {batches:?} {next}");
    }

    #[test]
    fn all_of_the_window_is_needed_and_little_more() {
        let batches = [(0, 0), (10, 100), (20, 200), (30, 300)];
        check((Some(5), None), &batches, 35, 20);
        check((Some(5), None), &batches, 36, 30);
        check((Some(15), None), &batches, 36, 20);
        check((Some(100), None), &batches, 36, 0);
        check((None, Some(50)), &batches, 36, 20);
        check((None, Some(100)), &batches, 36, 20);
        check((None, Some(101)), &batches, 36, 10);
        check((None, Some(1000)), &batches, 36, 0);
        // Where either is over, the window is.
        check((Some(5), Some(1000)), &batches, 36, 30);
        check((Some(1000), Some(100)), &batches, 36, 20);
        // What is next may lie before the newest batches.
        check((Some(5), None), &batches, 20, 10);
        check((None, Some(50)), &batches, 25, 10);
        check((None, Some(50)), &batches, 0, 0);
    }
}
