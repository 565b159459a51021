use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use millrace_types::{GroupName, QueueId, QueueOffset, TopicName};

/// A broker, in this process or elsewhere.
///
/// Every call may be dropped before it is ready; an append may then have happened or not, as with
/// [`BrokerError::OutcomeUnknown`].
#[async_trait]
pub trait Broker: Send + Sync {
    /// The broker's name, which is part of every queue's identity.
    fn name(&self) -> Arc<str>;

    /// Makes sure that the topic exists with at least `queues` queues, and tells how many it has.
    async fn ensure_topic(&self, topic: &TopicName, queues: u32) -> Result<u32, BrokerError>;

    /// Appends all messages or none: readers, and a recovery, see the whole group or nothing of
    /// it. Answers the queue offset of each message, in order.
    async fn append(&self, append: Append) -> Result<Appended, BrokerError>;

    /// Reads messages of one queue, waiting up to `request.wait` if there is none yet.
    async fn pull(&self, request: PullRequest) -> Result<Pulled, BrokerError>;

    /// The first offset that a queue still has, and the next one that it will give out (including
    /// messages that are not yet visible to readers).
    async fn bounds(
        &self,
        topic: &TopicName,
        queue: QueueId,
    ) -> Result<(QueueOffset, QueueOffset), BrokerError>;

    /// Records a group's next offset in a queue, for tools that show progress.
    async fn commit_offset(
        &self,
        group: &GroupName,
        topic: &TopicName,
        queue: QueueId,
        offset: QueueOffset,
    ) -> Result<(), BrokerError>;

    /// A group's recorded offset.
    async fn group_offset(
        &self,
        group: &GroupName,
        topic: &TopicName,
        queue: QueueId,
    ) -> Result<Option<QueueOffset>, BrokerError>;
}

/// A group of messages to append.
#[derive(Clone, Debug)]
pub struct Append {
    /// The messages, to any topics and queues of the broker. Shared, so that whoever may have to
    /// append them again keeps them without a copy.
    pub messages: Arc<[Outgoing]>,
    /// Refuses the append unless this still holds.
    pub fence: Option<Fence>,
    /// When to answer.
    pub wait: Wait,
}

/// One message to append.
#[derive(Clone, Debug)]
pub struct Outgoing {
    /// Topic; it must exist.
    pub topic: TopicName,
    /// Queue; it must exist.
    pub queue: QueueId,
    /// The payload.
    pub body: Bytes,
    /// Encoded properties (see [`millrace_types::PropertiesBuf`]).
    pub properties: Bytes,
    /// When it came into being, milliseconds since the Unix epoch.
    pub born_at_ms: i64,
}

/// Ties an append to a lease: the queue's epoch is the highest `MR_EPOCH` property of any message
/// in it (0 without any), and the append is refused unless that equals `epoch`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fence {
    /// Topic of the ledger queue.
    pub topic: TopicName,
    /// The ledger queue.
    pub queue: QueueId,
    /// The epoch it must have before this append.
    pub epoch: u64,
}

/// When an append is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// As the broker's flush mode says.
    Policy,
    /// Once everything up to and including this group survives a power cut, in every mode.
    Durable,
}

/// What an append gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Appended {
    /// The queue offset of each message, in the order of the append.
    pub offsets: Vec<QueueOffset>,
}

/// What to read.
#[derive(Clone, Debug)]
pub struct PullRequest {
    /// Topic.
    pub topic: TopicName,
    /// Queue.
    pub queue: QueueId,
    /// First offset wanted.
    pub from: QueueOffset,
    /// Stop before more than this many bytes, but give at least one message.
    pub bytes_max: u32,
    /// How long to wait for a first message.
    pub wait: Duration,
}

/// What a pull gave.
#[derive(Clone, Debug)]
pub struct Pulled {
    /// Whole records as stored, in order; see [`millrace_types::record`].
    pub runs: Vec<Bytes>,
    /// Where to read next. May be ahead of the last record given.
    pub next: QueueOffset,
    /// The first offset that the queue still has. If it is beyond `from`, messages were removed
    /// before they were read.
    pub min: QueueOffset,
    /// One past the last message that readers may see now.
    pub max: QueueOffset,
}

/// What keeps a broker from doing as asked.
#[derive(Debug, thiserror::Error)]
pub enum BrokerError {
    /// Nobody answered, and nothing was sent: asking again is safe.
    #[error("broker unreachable at {address}: {reason}")]
    Unreachable {
        /// Where.
        address: String,
        /// Why.
        reason: String,
    },
    /// The request was sent and no answer came: it may have been carried out.
    #[error("no answer from the broker: {0}")]
    OutcomeUnknown(String),
    /// Another worker holds the lease.
    #[error("another worker has taken over (epoch {current})")]
    Fenced {
        /// The epoch that the queue has.
        current: u64,
    },
    /// No such topic or queue.
    #[error("topic `{topic}` has no queue {queue}")]
    NoSuchQueue {
        /// Topic.
        topic: TopicName,
        /// Queue.
        queue: QueueId,
    },
    /// For now nothing can be stored; reading works.
    #[error("the broker's disk is full: {0}")]
    DiskFull(String),
    /// The broker stopped writing because it no longer knows what is on disk.
    #[error("the broker stopped writing: {0}")]
    Poisoned(String),
    /// The request itself is at fault.
    #[error("the broker refused the request: {0}")]
    Refused(String),
    /// Stored bytes that this request needs are damaged or unreadable.
    #[error("the broker cannot read what was stored: {0}")]
    Unreadable(String),
}
