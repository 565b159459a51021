use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use millrace_protocol::{
    self as wire, Call, Done, EnsureTopic, OffsetAnswer, PullStored, QueryConsumerOffset,
    StoredAnswer, TopicAnswer, UpdateConsumerOffset,
};
use millrace_types::{GroupName, QueueId, QueueOffset, TopicName};

use crate::peers::{Answered, Channel};
use crate::{Append, Appended, Broker, BrokerError, PullRequest, Pulled};

mod failure; // what refusals and silences mean
mod group; // an append as one frame
mod home; // where the broker is

use failure::Asked;
use home::{Found, Home, Named};

/// How to find a broker and how long to wait for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoteOptions {
    /// The broker's name. Needed only if the name servers know several brokers.
    pub broker: Option<String>,
    /// How long one attempt to find the broker and to connect to it may take, all name servers
    /// together.
    pub connect_timeout: Duration,
    /// How long to wait for an answer; a pull waits for messages before that.
    pub request_timeout: Duration,
}

impl Default for RemoteOptions {
    /// 3 s to connect; 10 s for an answer, twice what a broker waits for its disk.
    fn default() -> Self {
        Self {
            broker: None,
            connect_timeout: Duration::from_secs(3),
            request_timeout: Duration::from_secs(10),
        }
    }
}

/// A Millrace broker in another process.
///
/// It has two connections, so that an append never stands behind a pull: large answers fill the
/// way back, and a broker takes nothing more from a connection whose pull waits for a disk. Both
/// come into being when they are first needed, and again after they were lost, at the place that
/// the name servers then tell. A call makes one attempt at that, or two if the connection ends
/// while it waits for its turn; calls that wait for the same attempt share its outcome. Pausing
/// between attempts is the caller's business.
///
/// What a lost connection means depends on the call. An append is [`BrokerError::Unreachable`]
/// only if no byte of it was handed to a connection, else [`BrokerError::OutcomeUnknown`]. All
/// other calls may simply be made again, so for them both are `Unreachable`. An append that the
/// broker has stored, but not on its disk in time, is `OutcomeUnknown` too: a power cut could
/// still take it.
///
/// A group must fit one request of 16 MiB; a larger one is refused before anything is sent. No
/// pull waits for longer than a minute.
#[derive(Debug)]
pub struct RemoteBroker {
    name: Arc<str>,
    home: Arc<Home>,
    request_timeout: Duration,
    /// For everything that is answered at once.
    calls: Channel,
    /// For pulls.
    pulls: Channel,
}

/// What a pull's answer needs besides its records.
const PULL_HEAD_BYTES_MAX: usize = 64 << 10;
/// No pull waits for longer, whatever was asked for: while it waits, nobody would notice that the
/// broker's machine is gone. It then gives nothing, and the caller asks again.
const HOLD_MAX: Duration = Duration::from_secs(60);
/// As good as endless, and far from what a clock cannot count.
const TIMEOUT_MAX: Duration = Duration::from_secs(24 * 60 * 60);

impl RemoteBroker {
    /// Finds the broker and connects to it, in one attempt.
    ///
    /// `namesrv` is `host:port[;host:port...]`; the name servers are asked in turn until one
    /// answers. A peer that is not Millrace is [`BrokerError::Refused`].
    pub async fn connect(namesrv: &str, options: RemoteOptions) -> Result<Self, BrokerError> {
        let RemoteOptions { broker, connect_timeout, request_timeout } = options;
        let home = Home::new(namesrv, connect_timeout.min(TIMEOUT_MAX))?;
        let found = home.reach(broker.as_deref()).await.map_err(BrokerError::from)?;
        let Found { name, address, connection, .. } = found;
        let home = Arc::new(home);
        let named = Arc::new(Named { home: Arc::clone(&home), broker: Arc::clone(&name) });
        Ok(Self {
            name,
            home,
            request_timeout: request_timeout.min(TIMEOUT_MAX),
            calls: Channel::connected(Arc::<Named>::clone(&named), address, connection),
            pulls: Channel::new(named, None),
        })
    }

    /// Ends the connections, after writing what is queued, and waits until they are gone. A call
    /// afterwards connects again.
    pub async fn close(&self) {
        self.calls.close().await;
        self.pulls.close().await;
        self.home.close().await;
    }

    async fn ask(
        &self,
        call: &(dyn Call + Sync),
        asked: &Asked<'_>,
    ) -> Result<Answered, BrokerError> {
        let answered = self.calls.call(call, self.request_timeout).await;
        answered.map_err(|lost| asked.lost(lost))
    }
}

/// Reads the answer to a pull.
fn stored(answered: &Answered, asked: &Asked<'_>) -> Result<(StoredAnswer, Bytes), BrokerError> {
    let body = answered.response.body();
    let (answer, _) = StoredAnswer::decode(&answered.response.header(), body)
        .map_err(|error| asked.failed(error, answered))?;
    Ok((answer, body.slice(StoredAnswer::encoded_len()..)))
}

#[async_trait]
impl Broker for RemoteBroker {
    fn name(&self) -> Arc<str> {
        Arc::clone(&self.name)
    }

    async fn ensure_topic(&self, topic: &TopicName, queues: u32) -> Result<u32, BrokerError> {
        let asked = Asked::Queue(topic, QueueId(0));
        let call = EnsureTopic {
            topic: topic.as_str().into(),
            queues: i32::try_from(queues).unwrap_or(i32::MAX),
        };
        let answered = self.ask(&call, &asked).await?;
        let answer = TopicAnswer::decode(&answered.response.header());
        let answer = answer.map_err(|error| asked.failed(error, &answered))?;
        u32::try_from(answer.queues).map_err(|_| asked.unclear("a negative number of queues"))
    }

    async fn append(&self, append: Append) -> Result<Appended, BrokerError> {
        let asked = Asked::Append(&append);
        let group = group::encode(&append)?;
        let answered = self.ask(&group, &asked).await?;
        drop(group);
        let (header, body) = (answered.response.header(), answered.response.body());
        let stored = wire::Appended::decode(&header, body);
        let stored = stored.map_err(|error| asked.failed(error, &answered))?;
        let offsets = stored.0.into_owned();
        if offsets.len() != append.messages.len() {
            let (given, sent) = (offsets.len(), append.messages.len());
            return Err(asked.unclear(&format!("{given} offsets for {sent} messages")));
        }
        Ok(Appended { offsets })
    }

    async fn pull(&self, request: PullRequest) -> Result<Pulled, BrokerError> {
        let asked = Asked::Queue(&request.topic, request.queue);
        let wait = request.wait.min(HOLD_MAX);
        // An answer that does not fit a frame would cost the connection.
        let bytes_max = home::frame_bytes_max() - PULL_HEAD_BYTES_MAX;
        let call = PullStored {
            topic: request.topic.as_str().into(),
            queue_id: request.queue,
            offset: request.from,
            bytes_max: request.bytes_max.min(u32::try_from(bytes_max).unwrap_or(u32::MAX)),
            wait_ms: u32::try_from(wait.as_millis()).unwrap_or(u32::MAX),
        };
        let answered = self.pulls.call(&call, wait + self.request_timeout).await;
        let answered = answered.map_err(|lost| asked.lost(lost))?;
        let (answer, records) = stored(&answered, &asked)?;
        Ok(Pulled {
            runs: if records.is_empty() { Vec::new() } else { vec![records] },
            next: answer.next,
            min: answer.min,
            max: answer.visible_end,
        })
    }

    async fn bounds(
        &self,
        topic: &TopicName,
        queue: QueueId,
    ) -> Result<(QueueOffset, QueueOffset), BrokerError> {
        // The codes of RocketMQ answer 0 for a queue that does not exist; this one says so. No
        // queue gets to the offset asked for, so nothing is read.
        let beyond = PullStored {
            topic: topic.as_str().into(),
            queue_id: queue,
            offset: QueueOffset(u64::MAX),
            bytes_max: 0,
            wait_ms: 0,
        };
        let asked = Asked::Queue(topic, queue);
        let answered = self.ask(&beyond, &asked).await?;
        let (answer, _) = stored(&answered, &asked)?;
        Ok((answer.min, answer.max.max(answer.min)))
    }

    async fn commit_offset(
        &self,
        group: &GroupName,
        topic: &TopicName,
        queue: QueueId,
        offset: QueueOffset,
    ) -> Result<(), BrokerError> {
        let asked = Asked::Queue(topic, queue);
        let call = UpdateConsumerOffset {
            group: group.as_str().into(),
            topic: topic.as_str().into(),
            queue_id: queue,
            offset,
        };
        let answered = self.ask(&call, &asked).await?;
        let done = Done::decode(&answered.response.header());
        done.map_err(|error| asked.failed(error, &answered)).map(|Done| ())
    }

    async fn group_offset(
        &self,
        group: &GroupName,
        topic: &TopicName,
        queue: QueueId,
    ) -> Result<Option<QueueOffset>, BrokerError> {
        let asked = Asked::Queue(topic, queue);
        let call = QueryConsumerOffset {
            group: group.as_str().into(),
            topic: topic.as_str().into(),
            queue_id: queue,
            zero_if_not_found: Some(false),
        };
        let answered = self.ask(&call, &asked).await?;
        let header = answered.response.header();
        if header.response_code() == wire::ResponseCode::QUERY_NOT_FOUND {
            return Ok(None);
        }
        let answer = OffsetAnswer::decode(&header);
        answer.map_err(|error| asked.failed(error, &answered)).map(|answer| Some(answer.offset))
    }
}

#[cfg(test)]
mod tests;
