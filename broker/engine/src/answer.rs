use std::sync::Arc;

use bytes::Bytes;
use millrace_store::{Bounds, Placed, Plan, QueueNo};
use millrace_types::{PhysicalOffset, QueueId, QueueOffset};

use crate::filter::Verdicts;
use crate::held::Held;
use crate::reads::Read;
use crate::request::Ticket;
use crate::topics::Topic;

/// Collects answers for the shell.
#[derive(Debug, Default)]
pub struct Out {
    /// Answers that may be sent now, in the order in which they became ready.
    pub answers: Vec<(Ticket, Answer)>,
    /// Records that the engine needs; see [`crate::Engine::on_read`].
    pub reads: Vec<Read>,
    /// Half messages about whose fate a producer is to be asked. Whoever could ask one says so by
    /// [`crate::Engine::on_checked`].
    pub checks: Vec<Check>,
}

/// A question to the producers of a group: what is to become of a half message?
#[derive(Debug)]
pub struct Check {
    /// Where it stands among the half messages.
    pub half: QueueOffset,
    /// Where it lies in the log.
    pub at: PhysicalOffset,
    /// The group.
    pub group: String,
    /// The topic it is for.
    pub topic: String,
    /// The message as it is stored.
    pub record: Bytes,
}

impl Out {
    pub(crate) fn push(&mut self, ticket: Ticket, answer: Answer) {
        self.answers.push((ticket, answer));
    }
}

/// What became of a request.
#[derive(Debug)]
pub enum Answer {
    /// Stored, at these places.
    Appended(Places),
    /// Stored, but not durable within the time that the flush mode allows.
    NotYetDurable(Places),
    /// Records to read and hand to [`crate::finish`].
    Found(Found),
    /// Nothing to read, and why.
    NotFound {
        /// Why.
        status: PullStatus,
        /// Where to read next.
        next: QueueOffset,
        /// The first offset that the queue still has.
        min: QueueOffset,
        /// One past the last message that readers may see.
        max: QueueOffset,
    },
    /// The offsets of a queue.
    Bounds(Bounds),
    /// A topic.
    Topic(Topic),
    /// Done.
    Done,
    /// A group's offset, if it has one.
    GroupOffset(Option<QueueOffset>),
    /// Not done.
    Refused(Refusal),
}

/// Where the messages of one request lie; the queue is that of each message. Most requests have one
/// message, and its place needs no memory of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Places {
    /// Of one message.
    One((QueueId, Placed)),
    /// Of several, in the order of the request.
    Many(Vec<(QueueId, Placed)>),
}

impl std::ops::Deref for Places {
    type Target = [(QueueId, Placed)];

    fn deref(&self) -> &Self::Target {
        match self {
            Self::One(place) => std::slice::from_ref(place),
            Self::Many(places) => places,
        }
    }
}

/// A pull that found messages.
#[derive(Clone, Debug)]
pub struct Found {
    /// Where they stand; see [`crate::Engine::queue_name`].
    pub queue: QueueNo,
    /// The records.
    pub plan: Plan,
    /// What decides over them once they are read, each over what those before it have kept.
    pub verdicts: Vec<Arc<dyn Verdicts>>,
    /// The most messages that the pull is given, and the most bytes but for the first of them.
    pub count_max: usize,
    /// See `count_max`.
    pub bytes_max: u64,
    /// The pull itself, if it has waited for a message that it wants: it goes on waiting if
    /// nothing of this is kept. See [`crate::Engine::wait_on`].
    pub held: Option<Held>,
    /// Where to read next.
    pub next: QueueOffset,
    /// The first offset that the queue still has.
    pub min: QueueOffset,
    /// One past the last message that readers may see.
    pub max: QueueOffset,
}

/// Why a pull has no messages. (RocketMQ's `GetMessageStatus`, as far as it matters to a client.)
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PullStatus {
    /// The queue has never had a message.
    Empty,
    /// The offset is the next one that the queue will give.
    AtEnd,
    /// The offset is beyond that.
    BeyondEnd,
    /// The offset is below the first one that the queue still has.
    BelowMin,
    /// There were messages, and the filter wants none of them.
    NoneMatched,
}

/// Why a request is not carried out. Each variant is something a caller does differently about.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Nobody created the topic, and it may not be created on the way.
    #[error("topic[{0}] not exist, apply first please!")]
    UnknownTopic(String),
    /// Not a legal name.
    #[error("the specified topic is invalid: {0}")]
    IllegalTopic(String),
    /// The topic has fewer queues.
    #[error("queueId[{queue}] is illegal, topic[{topic}] has {queues} queues")]
    NoSuchQueue {
        /// Topic.
        topic: String,
        /// Queue asked for.
        queue: QueueId,
        /// Queues that there are.
        queues: u32,
    },
    /// The topic or the broker takes no messages.
    #[error("the topic[{0}] sending message is forbidden")]
    NotWritable(String),
    /// The topic may not be read.
    #[error("the topic[{0}] pulling message is forbidden")]
    NotReadable(String),
    /// No message starts there that whoever asks could have been given.
    #[error("look message by offset failed, {0}")]
    NoMessage(PhysicalOffset),
    /// There is no such transaction, or it is decided.
    #[error("{0}")]
    NoTransaction(&'static str),
    /// The broker takes no half messages.
    #[error("sending transaction message is forbidden")]
    NoTransactions,
    /// Too large, too long, or empty.
    #[error("the message is illegal: {0}")]
    IllegalMessage(String),
    /// The subscription's expression cannot be understood.
    #[error("parse the consumer's subscription failed: {0}")]
    IllegalFilter(String),
    /// The lease has been taken by another worker.
    #[error("the epoch is {current} by now")]
    Fenced {
        /// The queue's epoch.
        current: u64,
    },
    /// More waits to become durable than is allowed.
    #[error("[REJECTREQUEST]system busy, start flow control for a while")]
    Busy,
    /// More pulls wait for a message than is allowed. Clients ask again after a while.
    #[error("[OVERLOAD]system busy, start flow control for a while")]
    Overloaded,
    /// The broker remembers as much of something as it may.
    #[error("the broker has room for {max} {what}, and all of it is taken")]
    NoRoom {
        /// What there are too many of.
        what: &'static str,
        /// How many there may be.
        max: usize,
    },
    /// No room on the disk.
    #[error("the broker's disk is full: {0}")]
    DiskFull(String),
    /// The store writes nothing any more.
    #[error("the broker stopped writing: {0}")]
    Poisoned(String),
}
