use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use millrace_client::{Append, Appended, Broker, BrokerError, PullRequest, Pulled};
use millrace_connect_api::{Message, Messages, QueueRef};
use millrace_types::{Now, QueueId, QueueOffset, TopicName};
use tracing::{info, warn};

use crate::clock::Clock;
use crate::error::RunError;
use crate::rng::Rng;
use crate::stop::Stop;

/// How long to go on asking a broker that does not answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// The first pause; each one after it is twice as long.
    pub first: Duration,
    /// The longest pause.
    pub max: Duration,
    /// Attempts before giving up; without end if `None`.
    pub attempts: Option<u32>,
}

impl Patience {
    /// For a run: as long as it takes.
    pub const ENDLESS: Self =
        Self { first: Duration::from_millis(100), max: Duration::from_secs(10), attempts: None };
    /// For somebody who waits at a terminal.
    pub const SHORT: Self = Self { attempts: Some(4), ..Self::ENDLESS };
}

/// Attempts that are left once a run was asked to stop and the other side does not answer.
const ATTEMPTS_WHEN_STOPPING: u32 = 4;
/// How long one pull waits for messages that are appended but not yet visible.
const VISIBLE_WAIT: Duration = Duration::from_millis(100);
/// Bytes of one pull when reading a queue through.
const READ_BYTES: u32 = 1 << 20;

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
    made: u32,
    made_stopping: u32,
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

    /// Begins a row of attempts at something.
    pub(crate) fn pauses(&self) -> Pauses<'_> {
        Pauses { link: self, made: 0, made_stopping: 0 }
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
        while next < end {
            let pulled = self
                .pull(&PullRequest {
                    topic: topic.clone(),
                    queue,
                    from: next,
                    bytes_max: READ_BYTES,
                    wait: VISIBLE_WAIT,
                })
                .await?;
            if pulled.min > next {
                next = pulled.min;
                continue;
            }
            if pulled.next <= next {
                // What was there may be gone with the power; then the end moved back.
                end = end.min(self.bounds(topic, queue).await?.1);
                continue;
            }
            let whose = self.queue(topic, queue);
            let messages = Messages::parse(whose, next, pulled.next, pulled.runs)
                .map_err(|source| RunError::Damaged { queue: self.queue(topic, queue), source })?;
            for message in messages.iter() {
                each(message)?;
            }
            next = pulled.next;
        }
        Ok(next.max(end))
    }
}

impl Pauses<'_> {
    /// It worked at last; said only if somebody heard that it did not.
    pub(crate) fn over(&self) {
        if self.made > 0 {
            info!(attempts = self.made, "works again");
        }
    }

    /// Pauses after a failure that may pass, or answers it as final.
    pub(crate) async fn pause_or(
        &mut self,
        error: BrokerError,
        doing: impl Fn() -> String,
    ) -> Result<(), RunError> {
        match error {
            BrokerError::Unreachable { .. }
            | BrokerError::OutcomeUnknown(_)
            | BrokerError::DiskFull(_) => {
                if self.pause(&error, &doing).await {
                    Ok(())
                } else {
                    Err(RunError::broker(doing(), error))
                }
            }
            BrokerError::Fenced { .. }
            | BrokerError::NoSuchQueue { .. }
            | BrokerError::Poisoned(_)
            | BrokerError::Refused(_)
            | BrokerError::Unreadable(_) => Err(RunError::broker(doing(), error)),
        }
    }

    /// Pauses, unless it has been tried often enough: then `false`. The first failure is reported.
    pub(crate) async fn pause(
        &mut self,
        error: &(dyn fmt::Display + Sync),
        doing: impl Fn() -> String,
    ) -> bool {
        if self.made == 0 {
            warn!(what = %doing(), error = %error, "failed, will try again");
        }
        self.made += 1;
        if self.link.patience.attempts.is_some_and(|most| self.made >= most) {
            return false;
        }
        if self.link.stop.is_requested() {
            self.made_stopping += 1;
            if self.made_stopping >= ATTEMPTS_WHEN_STOPPING {
                return false;
            }
        }
        let Patience { first, max, .. } = self.link.patience;
        let whole = first.saturating_mul(1 << (self.made - 1).min(16)).min(max);
        // At least half of it, so that "again" never means "at once".
        let half = whole / 2;
        let jitter = {
            let mut rng = self.link.rng.lock().expect("nothing panics while it is held");
            rng.below(half.as_millis() as u64 + 1)
        };
        let pause = tokio::time::sleep(half + Duration::from_millis(jitter));
        tokio::select! {
            () = pause => {}
            // A stop cuts a long pause short, once: what is left are the last attempts.
            () = self.link.stop.requested(), if self.made_stopping == 0 => {}
        }
        true
    }
}
