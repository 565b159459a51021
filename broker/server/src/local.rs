use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use millrace_client as client;
use millrace_client::{Appended, Broker, BrokerError, PullRequest, Pulled};
use millrace_engine::{
    Answer, Append, Caller, ConnectionId, Delay, Fence, Filter, Found, Message, Origin, Principal,
    Pull, PullHold, Refusal, Request, Ticket, Wait,
};
use millrace_store::{FlushMode, ReadError};
use millrace_types::{GroupName, QueueId, QueueOffset, TopicName};

use tokio::sync::oneshot;

use crate::answers::{self, Unread};
use crate::core::{Core, Needs, Shared, Step};
use crate::flushing::UNFLUSHED_BYTES_MAX;
use crate::refusal::with_cause;

/// The broker of this process, without a wire in between: a pull gives slices of the mapped log.
///
/// With [`Flushing::Manual`](crate::Flushing::Manual) an append that waits for the disk flushes by
/// itself, after it has let other tasks append to the same flush; it then starts no thread, reads
/// no clock but the one it was given, and sleeps on tokio's time only.
#[derive(Clone, Debug)]
pub struct LocalBroker {
    core: Core,
}

impl LocalBroker {
    pub(crate) fn new(core: Core) -> Self {
        Self { core }
    }

    /// The core that it talks to.
    pub fn core(&self) -> &Core {
        &self.core
    }

    /// Makes everything appended so far durable and answers those who waited for it. With a
    /// flush thread this only asks for it.
    pub fn flush_now(&self) {
        self.core.flush_now();
    }

    fn shared(&self) -> &Arc<Shared> {
        self.core.shared()
    }

    /// One request, answered at the latest when everything before it is durable.
    async fn ask(
        &self,
        needs: Needs,
        request: impl for<'a> FnOnce(&mut Step<'a>, Ticket, ConnectionId),
    ) -> Result<Answer, BrokerError> {
        let shared = self.shared();
        let waiting = shared.ask(needs, request).ok_or_else(|| self.closed())?;
        let mut receiver = waiting.receiver;
        if shared.manual {
            if let Ok(answer) = receiver.try_recv() {
                self.flush_if_due();
                return Ok(answer);
            }
            // Others who are ready to append share the flush.
            tokio::task::yield_now().await;
            if let Ok(answer) = receiver.try_recv() {
                return Ok(answer);
            }
            self.core.flush_now();
        }
        let gone = || BrokerError::OutcomeUnknown("it was closed before it answered".into());
        receiver.await.map_err(|_| gone())
    }

    /// What the flush thread would do in async-flush mode.
    fn flush_if_due(&self) {
        let shared = self.shared();
        let FlushMode::Async { interval } = shared.mode else {
            return;
        };
        let behind = shared.marks.appended().since(shared.marks.durable());
        if behind > UNFLUSHED_BYTES_MAX || (behind > 0 && shared.flush_interval_over(interval)) {
            self.core.flush_now();
        }
    }

    fn closed(&self) -> BrokerError {
        closed(self.core.name())
    }

    /// Finds the records of a pull, waiting for the first one.
    async fn find(&self, request: &PullRequest) -> Result<Answer, BrokerError> {
        let hold = request.wait.min(HOLD_MAX);
        let mut held = HeldPull::new(self, request, hold)?;
        if let Some(answer) = held.try_answer() {
            return Ok(answer);
        }
        match tokio::time::timeout(hold, held.answer()).await {
            Ok(answer) => answer,
            // The engine's clock need not agree that the time is over, so this asks once more,
            // to be held no longer.
            Err(_elapsed) => HeldPull::new(self, request, Duration::ZERO)?.answer().await,
        }
    }

    async fn read(&self, found: Found) -> Result<(QueueOffset, Vec<Bytes>), BrokerError> {
        let shared = Arc::clone(self.shared());
        let entries = &found.plan.entries;
        let oldest = entries.iter().find(|entry| entry.size > 0);
        let hot = oldest.is_none_or(|entry| shared.reader.is_hot(entry.physical_offset));
        if hot || shared.manual {
            return answers::read(&found, &shared).map_err(unread);
        }
        tokio::task::spawn_blocking(move || answers::read(&found, &shared).map_err(unread))
            .await
            .map_err(|error| BrokerError::Unreadable(error.to_string()))?
    }
}

fn unread(Unread { place, error }: Unread) -> BrokerError {
    match error {
        // The next try is told where the queue starts now.
        ReadError::Removed { .. } => BrokerError::Unreachable {
            address: "this process".to_owned(),
            reason: error.to_string(),
        },
        error => {
            let what = with_cause(&error);
            let place = place.map_or_else(String::new, |place| format!("{place}: "));
            BrokerError::Unreadable(format!("{place}{what}"))
        }
    }
}

/// No pull is held for longer, whatever was asked for.
const HOLD_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// A pull that the engine holds until it is answered or dropped.
struct HeldPull<'a> {
    shared: &'a Shared,
    connection: ConnectionId,
    receiver: oneshot::Receiver<Answer>,
    answered: bool,
}

impl<'a> HeldPull<'a> {
    fn new(
        broker: &'a LocalBroker,
        request: &PullRequest,
        hold: Duration,
    ) -> Result<Self, BrokerError> {
        let shared = broker.shared();
        let hold_ms = u64::try_from(hold.as_millis()).unwrap_or(u64::MAX);
        let waiting = shared.ask(Needs::Policy, |step, ticket, connection| {
            let pull = Pull {
                topic: request.topic.as_str(),
                queue: request.queue,
                from: request.from,
                count_max: usize::MAX,
                bytes_max: u64::from(request.bytes_max),
                filter: Filter::All,
                hold: PullHold::For(hold_ms),
                asker: None,
            };
            handle(step, ticket, connection, Request::Pull(pull));
        });
        let waiting = waiting.ok_or_else(|| broker.closed())?;
        Ok(Self {
            shared,
            connection: waiting.connection,
            receiver: waiting.receiver,
            answered: false,
        })
    }

    fn try_answer(&mut self) -> Option<Answer> {
        let answer = self.receiver.try_recv().ok();
        self.answered = answer.is_some();
        answer
    }

    async fn answer(&mut self) -> Result<Answer, BrokerError> {
        let answer = (&mut self.receiver).await;
        self.answered = true;
        answer.map_err(|_| closed(&self.shared.name))
    }
}

impl Drop for HeldPull<'_> {
    fn drop(&mut self) {
        if !self.answered {
            self.shared.forget(self.connection);
        }
    }
}

fn closed(name: &str) -> BrokerError {
    BrokerError::Unreachable { address: name.to_owned(), reason: "it is closed".into() }
}

fn handle(step: &mut Step<'_>, ticket: Ticket, connection: ConnectionId, request: Request<'_>) {
    let caller = Caller { connection, peer: step.host, principal: Principal::Internal };
    step.engine.handle(step.now, &caller, ticket, request, step.out);
}

#[async_trait]
impl Broker for LocalBroker {
    fn name(&self) -> Arc<str> {
        Arc::clone(self.core.name())
    }

    async fn ensure_topic(&self, topic: &TopicName, queues: u32) -> Result<u32, BrokerError> {
        let answer = self.ask(Needs::Policy, |step, ticket, connection| {
            handle(step, ticket, connection, Request::EnsureTopic { topic, queues });
        });
        match answer.await? {
            Answer::Topic(topic) => Ok(topic.write_queues),
            other => Err(failure(other, topic, QueueId(0))),
        }
    }

    async fn append(&self, append: client::Append) -> Result<Appended, BrokerError> {
        let wait = match append.wait {
            client::Wait::Policy => Wait::Policy,
            client::Wait::Durable => Wait::Durable,
        };
        let needs = match append.wait {
            client::Wait::Policy => Needs::Policy,
            client::Wait::Durable => Needs::Durable,
        };
        let messages: Vec<Message<'_>> = append.messages.iter().map(message).collect();
        let fence = append.fence.as_ref().map(|fence| Fence {
            topic: fence.topic.as_str(),
            queue: fence.queue,
            epoch: fence.epoch,
        });
        let answer = self.ask(needs, |step, ticket, connection| {
            let append = Append {
                messages: &messages,
                fence,
                wait,
                create_queues: None,
                origin: Origin::Pipeline,
            };
            handle(step, ticket, connection, Request::Append(append));
        });
        match answer.await? {
            Answer::Appended(places) => Ok(Appended {
                offsets: places.iter().map(|(_, placed)| placed.queue_offset).collect(),
            }),
            other => {
                // Of several topics the refusal names one; its first message says which queue.
                let refused = match &other {
                    Answer::Refused(Refusal::UnknownTopic(topic)) => Some(topic.as_str()),
                    _ => None,
                };
                let mut messages = append.messages.iter();
                let named = messages.find(|message| Some(message.topic.as_str()) == refused);
                let about = named.or(append.messages.first());
                let about = about.ok_or_else(|| BrokerError::Refused("no messages".into()))?;
                Err(failure(other, &about.topic, about.queue))
            }
        }
    }

    async fn pull(&self, request: PullRequest) -> Result<Pulled, BrokerError> {
        match self.find(&request).await? {
            Answer::Found(found) => {
                let (min, max) = (found.min, found.max);
                let (next, runs) = self.read(found).await?;
                Ok(Pulled { runs, next, min, max })
            }
            Answer::NotFound { next, min, max, .. } => {
                Ok(Pulled { runs: Vec::new(), next, min, max })
            }
            other => Err(failure(other, &request.topic, request.queue)),
        }
    }

    async fn bounds(
        &self,
        topic: &TopicName,
        queue: QueueId,
    ) -> Result<(QueueOffset, QueueOffset), BrokerError> {
        let answer = self.ask(Needs::Policy, |step, ticket, connection| {
            let request = Request::Bounds { topic: topic.as_str(), queue };
            handle(step, ticket, connection, request);
        });
        match answer.await? {
            Answer::Bounds(bounds) => Ok((bounds.min, bounds.end)),
            other => Err(failure(other, topic, queue)),
        }
    }

    async fn commit_offset(
        &self,
        group: &GroupName,
        topic: &TopicName,
        queue: QueueId,
        offset: QueueOffset,
    ) -> Result<(), BrokerError> {
        let answer = self.ask(Needs::Policy, |step, ticket, connection| {
            let topic = topic.as_str();
            let request = Request::CommitOffset { group, topic, queue, offset };
            handle(step, ticket, connection, request);
        });
        match answer.await? {
            Answer::Done => Ok(()),
            other => Err(failure(other, topic, queue)),
        }
    }

    async fn group_offset(
        &self,
        group: &GroupName,
        topic: &TopicName,
        queue: QueueId,
    ) -> Result<Option<QueueOffset>, BrokerError> {
        let answer = self.ask(Needs::Policy, |step, ticket, connection| {
            let request = Request::GroupOffset { group, topic: topic.as_str(), queue };
            handle(step, ticket, connection, request);
        });
        match answer.await? {
            Answer::GroupOffset(offset) => Ok(offset),
            other => Err(failure(other, topic, queue)),
        }
    }
}

fn message(outgoing: &client::Outgoing) -> Message<'_> {
    Message {
        topic: outgoing.topic.as_str(),
        queue: Some(outgoing.queue),
        flag: 0,
        sys_flag: 0,
        born_at_ms: outgoing.born_at_ms,
        reconsume_times: 0,
        body: &outgoing.body,
        properties: &outgoing.properties,
        delay: Delay::None,
    }
}

/// What an answer that is not the hoped-for one means; `topic` and `queue` are those of the
/// request.
fn failure(answer: Answer, topic: &TopicName, queue: QueueId) -> BrokerError {
    let refusal = match answer {
        Answer::Refused(refusal) => refusal,
        Answer::NotYetDurable(_) => {
            return BrokerError::OutcomeUnknown("it is stored but not on disk in time".into());
        }
        other => return BrokerError::Refused(format!("unexpected answer {other:?}")),
    };
    match refusal {
        Refusal::UnknownTopic(name) => BrokerError::NoSuchQueue {
            topic: TopicName::parse(&name).unwrap_or_else(|_| topic.clone()),
            queue,
        },
        Refusal::NoSuchQueue { topic: name, queue, .. } => BrokerError::NoSuchQueue {
            topic: TopicName::parse(&name).unwrap_or_else(|_| topic.clone()),
            queue,
        },
        Refusal::Fenced { current } => BrokerError::Fenced { current },
        Refusal::DiskFull(reason) => BrokerError::DiskFull(reason),
        Refusal::Poisoned(reason) => BrokerError::Poisoned(reason),
        // Turned away before anything was done.
        Refusal::Busy | Refusal::Overloaded => BrokerError::Unreachable {
            address: "this process".to_owned(),
            reason: refusal.to_string(),
        },
        Refusal::IllegalTopic(_)
        | Refusal::NotWritable(_)
        | Refusal::NotReadable(_)
        | Refusal::NoMessage(_)
        | Refusal::NoRoom { .. }
        | Refusal::IllegalMessage(_)
        | Refusal::IllegalFilter(_)
        | Refusal::NoTransaction(_)
        | Refusal::NoTransactions => BrokerError::Refused(refusal.to_string()),
    }
}

#[cfg(test)]
mod tests;
