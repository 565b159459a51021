use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use millrace_client::{Append, Appended, Broker, BrokerError, PullRequest, Pulled};
use millrace_connect_api::{Message, Messages, QueueRef};
use millrace_types::{Now, QueueId, QueueOffset, TopicName};
use tracing::{info, warn};

use crate::clock::Clock;
use crate::decompression::{BATCH_BYTES, decompressed};
use crate::error::RunError;
use crate::rng::Rng;
use crate::stop::Stop;

/// How long to go on with what does not work now and may work later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// The first pause; each one after it is twice as long.
    pub first: Duration,
    /// The longest pause.
    pub max: Duration,
    /// Attempts before giving up on a broker that does not answer; without end if `None`.
    pub attempts: Option<u32>,
    /// Attempts before giving up on a destination; without end if `None`.
    pub attempts_at_sink: Option<u32>,
    /// Attempts before giving up on a broker whose disk is full; without end if `None`.
    pub attempts_when_full: Option<u32>,
}

impl Patience {
    /// So many attempts take less than a second.
    pub const FEW: u32 = 4;
    /// For a run: as long as it takes.
    pub const ENDLESS: Self = Self {
        first: Duration::from_millis(100),
        max: Duration::from_secs(10),
        attempts: None,
        attempts_at_sink: None,
        attempts_when_full: None,
    };
    /// For somebody who waits at a terminal.
    pub const SHORT: Self = Self {
        attempts: Some(Self::FEW),
        attempts_at_sink: Some(Self::FEW),
        attempts_when_full: Some(Self::FEW),
        ..Self::ENDLESS
    };
}

/// Attempts that are left once a run was asked to stop and the other side does not answer.
const ATTEMPTS_WHEN_STOPPING: u32 = 4;
/// The longest pause that a destination gets for the asking.
const WANTED_PAUSE_MAX: Duration = Duration::from_secs(3_600);
/// What still does not work is told again this often, milliseconds.
const TOLD_EVERY_MS: u64 = 60_000;
/// How long one pull waits for messages that are appended but not yet visible.
const VISIBLE_WAIT: Duration = Duration::from_millis(100);
/// Bytes of one pull when reading a queue through.
pub(crate) const READ_BYTES: u32 = 1 << 20;

/// The broker as a run uses it: what may be asked again is asked again, with growing pauses.
pub(crate) struct Link {
    broker: Arc<dyn Broker>,
    clock: Arc<dyn Clock>,
    patience: Patience,
    rng: Mutex<Rng>,
    stop: Stop,
}

/// The pauses between the attempts at one thing.
pub(crate) struct Pauses<'a> {
    link: &'a Link,
    patience: Patience,
    made: u32,
    made_stopping: u32,
    /// When it was last told that it does not work, by the monotonic clock.
    told_at_ms: Option<u64>,
}

impl Link {
    pub(crate) fn new(
        broker: Arc<dyn Broker>,
        clock: Arc<dyn Clock>,
        patience: Patience,
        seed: u64,
        stop: Stop,
    ) -> Self {
        Self { broker, clock, patience, rng: Mutex::new(Rng::new(seed)), stop }
    }

    pub(crate) fn now(&self) -> Now {
        self.clock.now()
    }

    pub(crate) fn stop(&self) -> &Stop {
        &self.stop
    }

    pub(crate) fn queue(&self, topic: &TopicName, queue: QueueId) -> QueueRef {
        QueueRef { broker: self.broker.name(), topic: topic.clone(), queue }
    }

    /// The broker itself, for who only looks.
    pub(crate) fn broker(&self) -> &Arc<dyn Broker> {
        &self.broker
    }

    /// Begins a row of attempts at something.
    pub(crate) fn pauses(&self) -> Pauses<'_> {
        Pauses { link: self, patience: self.patience, made: 0, made_stopping: 0, told_at_ms: None }
    }

    /// One append, asked once: what an error means depends on what was appended.
    pub(crate) async fn append_once(&self, append: Append) -> Result<Appended, BrokerError> {
        self.broker.append(append).await
    }

    pub(crate) async fn ensure_topic(
        &self,
        topic: &TopicName,
        queues: u32,
    ) -> Result<u32, RunError> {
        let doing = || format!("create topic `{topic}`");
        self.again(doing, || self.broker.ensure_topic(topic, queues)).await
    }

    pub(crate) async fn pull(&self, request: &PullRequest) -> Result<Pulled, RunError> {
        let doing = || format!("read {}/{}", request.topic, request.queue);
        self.again(doing, || self.broker.pull(request.clone())).await
    }

    pub(crate) async fn bounds(
        &self,
        topic: &TopicName,
        queue: QueueId,
    ) -> Result<(QueueOffset, QueueOffset), RunError> {
        let doing = || format!("look up {topic}/{queue}");
        self.again(doing, || self.broker.bounds(topic, queue)).await
    }

    /// Asks until there is an answer. Only for what may be asked twice.
    async fn again<T, F>(
        &self,
        doing: impl Fn() -> String,
        ask: impl Fn() -> F,
    ) -> Result<T, RunError>
    where
        F: Future<Output = Result<T, BrokerError>>,
    {
        let mut pauses = self.pauses();
        loop {
            match ask().await {
                Ok(answer) => {
                    pauses.over();
                    return Ok(answer);
                }
                Err(error) => pauses.pause_or(error, &doing).await?,
            }
        }
    }

    /// Shows how far a group is, for tools. Nothing depends on it, so a failure is only logged.
    pub(crate) async fn show_offset(
        &self,
        group: &millrace_types::GroupName,
        queue: &QueueRef,
        offset: QueueOffset,
    ) {
        let shown = self.broker.commit_offset(group, &queue.topic, queue.queue, offset).await;
        if let Err(error) = shown {
            tracing::debug!(group = %group, topic = %queue.topic, error = %error, "offset not shown");
        }
    }

    /// Reads everything that a queue has from `from` (or from its start, if that is later) up to
    /// its end at the time of the call, waiting for what is not yet visible. Answers that end.
    pub(crate) async fn read_through(
        &self,
        topic: &TopicName,
        queue: QueueId,
        from: QueueOffset,
        each: &mut (dyn FnMut(Message<'_>) -> Result<(), RunError> + Send),
    ) -> Result<QueueOffset, RunError> {
        let (min, mut end) = self.bounds(topic, queue).await?;
        let mut next = from.max(min);
        let bytes_max = READ_BYTES;
        while let Some(messages) =
            self.read_on(topic, queue, &mut next, &mut end, bytes_max).await?
        {
            for message in messages.iter() {
                each(message)?;
            }
        }
        Ok(next.max(end))
    }

    /// Reads what one pull gives from `next` on, and moves `next` behind it; `None` once that is
    /// at `end`. The last messages may lie behind the end, which moves back if they are gone.
    pub(crate) async fn read_on(
        &self,
        topic: &TopicName,
        queue: QueueId,
        next: &mut QueueOffset,
        end: &mut QueueOffset,
        bytes_max: u32,
    ) -> Result<Option<Messages>, RunError> {
        while *next < *end {
            let pulled = self
                .pull(&PullRequest {
                    topic: topic.clone(),
                    queue,
                    from: *next,
                    bytes_max,
                    wait: VISIBLE_WAIT,
                })
                .await?;
            if pulled.min > *next {
                *next = pulled.min;
                continue;
            }
            if pulled.next <= *next {
                // What was there may be gone with the power; then the end moved back.
                *end = (*end).min(self.bounds(topic, queue).await?.1);
                continue;
            }
            let whose = self.queue(topic, queue);
            let messages = Messages::parse(whose, *next, pulled.next, pulled.runs)
                .map_err(|source| RunError::Damaged { queue: self.queue(topic, queue), source })?;
            let messages = decompressed(messages, BATCH_BYTES);
            *next = messages.to();
            return Ok(Some(messages));
        }
        Ok(None)
    }
}

impl<'a> Pauses<'a> {
    /// With another first and another longest pause.
    pub(crate) fn between(self, first: Duration, max: Duration) -> Pauses<'a> {
        Pauses { patience: Patience { first, max, ..self.patience }, ..self }
    }

    /// It worked at last; said only if somebody heard that it did not.
    pub(crate) fn over(&self) {
        if self.told_at_ms.is_some() {
            info!(attempts = self.made, "works again");
        }
    }

    /// Pauses after a failure that may pass, or answers it as final.
    pub(crate) async fn pause_or(
        &mut self,
        error: BrokerError,
        doing: impl Fn() -> String,
    ) -> Result<(), RunError> {
        let patience = self.patience;
        let attempts = match error {
            BrokerError::Unreachable { .. } | BrokerError::OutcomeUnknown(_) => patience.attempts,
            BrokerError::DiskFull(_) => patience.attempts_when_full,
            BrokerError::Fenced { .. }
            | BrokerError::NoSuchQueue { .. }
            | BrokerError::Poisoned(_)
            | BrokerError::Refused(_)
            | BrokerError::Unreadable(_) => return Err(RunError::broker(doing(), error)),
        };
        if self.pause_within(attempts, &error, &doing, Duration::ZERO).await {
            Ok(())
        } else {
            Err(RunError::broker(doing(), error))
        }
    }

    /// Pauses after a failure of a destination, unless it has been tried often enough: then
    /// `false`. The destination may want the pause to be of some length.
    pub(crate) async fn pause(
        &mut self,
        error: &(dyn fmt::Display + Sync),
        doing: impl Fn() -> String,
        at_least: Duration,
    ) -> bool {
        self.pause_within(self.patience.attempts_at_sink, error, doing, at_least).await
    }

    async fn pause_within(
        &mut self,
        attempts: Option<u32>,
        error: &(dyn fmt::Display + Sync),
        doing: impl Fn() -> String,
        at_least: Duration,
    ) -> bool {
        self.made += 1;
        if attempts.is_some_and(|most| self.made >= most) {
            return false;
        }
        if self.link.stop.is_requested() {
            self.made_stopping += 1;
            if self.made_stopping >= ATTEMPTS_WHEN_STOPPING {
                return false;
            }
        }
        if self.is_to_be_told() {
            warn!(what = %doing(), error = %error, "failed, will try again");
        }
        let Patience { first, max, .. } = self.patience;
        let whole = first.saturating_mul(1 << (self.made - 1).min(16)).min(max);
        // At least half of it, so that "again" never means "at once".
        let half = whole / 2;
        let jitter = {
            let mut rng = self.link.rng.lock().expect("nothing panics while it is held");
            rng.below(half.as_millis() as u64 + 1)
        };
        let pause = half + Duration::from_millis(jitter);
        // Not all at the same moment, if there are several who were told to wait.
        let at_least = at_least.min(WANTED_PAUSE_MAX);
        let pause = if pause < at_least { at_least + pause } else { pause };
        let pause = tokio::time::sleep(pause);
        tokio::select! {
            () = pause => {}
            // A stop cuts a long pause short, once: what is left are the last attempts.
            () = self.link.stop.requested(), if self.made_stopping == 0 => {}
        }
        true
    }

    /// Whether it is time to tell that it does not work. Not of the first few attempts: whoever
    /// gives up after these tells by itself, and what has passed after them was nothing.
    fn is_to_be_told(&mut self) -> bool {
        let now_ms = self.link.now().mono_ms;
        let is_due = match self.told_at_ms {
            None => self.made >= Patience::FEW,
            Some(told_at_ms) => now_ms >= told_at_ms + TOLD_EVERY_MS,
        };
        if is_due {
            self.told_at_ms = Some(now_ms);
        }
        is_due
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Chances, MemoryBroker, SimClock};

    fn link(patience: Patience) -> Link {
        let broker = MemoryBroker::new(1, Chances::default());
        Link::new(broker, Arc::new(SimClock::new()), patience, 1, Stop::default())
    }

    fn away() -> BrokerError {
        BrokerError::Unreachable { address: "b:1".into(), reason: "refused".into() }
    }

    fn full() -> BrokerError {
        BrokerError::DiskFull("no room".into())
    }

    /// How many attempts are made at what fails with `error`, up to a thousand.
    async fn attempts(patience: Patience, error: fn() -> BrokerError) -> u32 {
        let link = link(patience);
        let mut pauses = link.pauses();
        for made in 1..1_000 {
            if pauses.pause_or(error(), || "append".into()).await.is_err() {
                return made;
            }
        }
        1_000
    }

    #[tokio::test(start_paused = true)]
    async fn there_is_a_patience_for_brokers_away_and_one_for_full_disks() {
        let patience =
            Patience { attempts: Some(7), attempts_when_full: Some(3), ..Patience::ENDLESS };
        assert_eq!(attempts(patience, away).await, 7);
        assert_eq!(attempts(patience, full).await, 3);
        assert_eq!(attempts(Patience::ENDLESS, full).await, 1_000);
        let poisoned = || BrokerError::Poisoned("fsync".into());
        assert_eq!(attempts(Patience::ENDLESS, poisoned).await, 1);
    }

    #[tokio::test(start_paused = true)]
    async fn what_lasts_is_told_after_a_moment_and_then_every_minute() {
        let link = link(Patience::ENDLESS);
        let mut pauses = link.pauses();
        let mut told = Vec::new();
        while link.now().mono_ms < 200_000 {
            let before = pauses.told_at_ms;
            pauses.pause_or(full(), || "append".into()).await.unwrap();
            if pauses.told_at_ms != before {
                told.extend(pauses.told_at_ms);
            }
        }
        assert!(told[0] < 1_000, "{told:?}");
        let gaps: Vec<u64> = told.windows(2).map(|pair| pair[1] - pair[0]).collect();
        assert!(
            gaps.len() >= 2 && gaps.iter().all(|gap| (60_000..71_000).contains(gap)),
            "{gaps:?}"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn who_gives_up_soon_tells_nothing_before() {
        let link = link(Patience::SHORT);
        let mut pauses = link.pauses();
        while pauses.pause_or(full(), || "append".into()).await.is_ok() {}
        assert_eq!(pauses.told_at_ms, None);
        assert!(link.now().mono_ms < 1_000);
    }
}
