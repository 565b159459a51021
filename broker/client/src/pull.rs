//! One pull from one queue.

use std::time::Duration;

use millrace_protocol::{MessageQueue, PullAnswer, PullMessage, PullStatus, pull_flag};
use millrace_types::{GroupName, QueueOffset};
use tracing::warn;

use crate::{ClientError, Cluster, Filter, Received, routes};

/// What to pull, and how.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pull<'a> {
    pub(crate) group: &'a GroupName,
    pub(crate) queue: &'a MessageQueue,
    pub(crate) from: QueueOffset,
    pub(crate) filter: &'a Filter,
    /// Which version of its subscription the group's heartbeats name; `None` if there is no
    /// heartbeat, so that the pull brings the filter itself.
    pub(crate) subscribed: Option<i64>,
    pub(crate) messages_max: u32,
    /// How long the broker may hold the pull.
    pub(crate) wait: Duration,
    /// Tells the broker how far the group is.
    pub(crate) commit: Option<QueueOffset>,
    /// Which broker of the name is best asked; 0 is the one that takes writes.
    pub(crate) broker_id: u64,
}

/// What a pull gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PullOutcome {
    /// How it ended.
    pub status: PullStatus,
    /// The messages that are wanted, in order.
    pub messages: Vec<Received>,
    /// Where to pull next.
    pub next: QueueOffset,
    /// Where the queue begins.
    pub min: QueueOffset,
    /// Where it ends.
    pub max: QueueOffset,
    /// Which broker of the name is best asked next.
    pub(crate) broker_id: u64,
}

/// How long an answer may take beyond what the broker may hold the pull.
const BEYOND_WAIT: Duration = Duration::from_secs(10);

/// Who reads where nobody's progress is at stake. (It is the group of RocketMQ's own tools.)
const TOOLS: &str = "TOOLS_CONSUMER";

impl Cluster {
    /// Reads a queue from an offset on without waiting, for nobody's progress.
    pub(crate) async fn read(
        &self,
        queue: &MessageQueue,
        from: QueueOffset,
        messages_max: u32,
    ) -> Result<PullOutcome, ClientError> {
        let group = GroupName::parse(TOOLS).expect("it is a name");
        self.pull(Pull {
            group: &group,
            queue,
            from,
            filter: &Filter::All,
            subscribed: None,
            messages_max,
            wait: Duration::ZERO,
            commit: None,
            broker_id: routes::MASTER,
        })
        .await
    }

    /// Pulls once.
    pub(crate) async fn pull(&self, pull: Pull<'_>) -> Result<PullOutcome, ClientError> {
        let queue = pull.queue;
        let route = self.route(&queue.topic).await?;
        let (broker_id, address) = routes::read_at(&route, &queue.broker_name, pull.broker_id)
            .ok_or_else(|| ClientError::NoBroker(queue.broker_name.clone()))?;
        let answered =
            self.call(address, &request(&pull, broker_id), pull.wait + BEYOND_WAIT).await;
        let doubt = |error: &ClientError| self.doubt_route(&queue.topic, error);
        let answered = answered.inspect_err(doubt)?;
        let header = answered.response.header();
        let answer = PullAnswer::decode(&header);
        let answer = answer.map_err(|error| ClientError::of_answer(error, &answered));
        let answer = answer.inspect_err(doubt)?;
        let (mut messages, mut next) = (Vec::new(), answer.next);
        if answer.status == PullStatus::Found {
            let (read, malformed) =
                Received::read_all(answered.response.body(), &queue.broker_name);
            if let Some(error) = malformed {
                // Java's clients go on behind it; what follows would be lost without a word.
                let Some(last) = read.last() else {
                    let address = address.to_owned();
                    return Err(ClientError::Garbled { address, reason: error.to_string() });
                };
                warn!(topic = queue.topic, queue = queue.queue_id.0, %error, "a pull was cut short");
                next = last.offset + 1;
            }
            messages = read;
            messages.retain(|message| pull.filter.wants(message.tag()));
        }
        Ok(PullOutcome {
            status: answer.status,
            messages,
            next,
            min: answer.min,
            max: answer.max,
            broker_id: u64::try_from(answer.suggested_broker).unwrap_or(routes::MASTER),
        })
    }
}

fn request<'a>(pull: &Pull<'a>, broker_id: u64) -> PullMessage<'a> {
    let (expression, expression_type) = pull.filter.expression();
    let mut sys_flag = 0;
    if !pull.wait.is_zero() {
        sys_flag |= pull_flag::SUSPEND;
    }
    if pull.subscribed.is_none() {
        sys_flag |= pull_flag::SUBSCRIPTION;
    }
    // Only the broker that takes writes keeps offsets.
    let commit = pull.commit.filter(|_| broker_id == routes::MASTER);
    if commit.is_some() {
        sys_flag |= pull_flag::COMMIT_OFFSET;
    }
    PullMessage {
        group: pull.group.as_str().into(),
        topic: pull.queue.topic.as_str().into(),
        queue_id: pull.queue.queue_id,
        offset: Some(pull.from),
        messages_max: i32::try_from(pull.messages_max).unwrap_or(i32::MAX),
        sys_flag,
        commit_offset: Some(commit.unwrap_or_default()),
        suspend_ms: i64::try_from(pull.wait.as_millis()).unwrap_or(i64::MAX),
        subscription: pull.subscribed.is_none().then(|| expression.into()),
        subscription_version: pull.subscribed.unwrap_or(0),
        expression_type: Some(expression_type.into()),
        bytes_max: None,
    }
}
