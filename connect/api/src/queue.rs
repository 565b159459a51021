use std::fmt;
use std::sync::Arc;

use millrace_types::{QueueId, QueueOffset, TopicName};

/// One queue, wherever it lies. The three together are its identity, in every topology.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct QueueRef {
    /// Name of the broker.
    pub broker: Arc<str>,
    /// Topic.
    pub topic: TopicName,
    /// Queue within the topic on that broker.
    pub queue: QueueId,
}

/// Which row of a queue: a message, or one of the pieces that a step made of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RowAt {
    /// The message.
    pub offset: QueueOffset,
    /// Number of the piece, from 0 on, if the message was taken apart.
    pub index: Option<u32>,
}

/// Consecutive messages of one queue: `from` is the first, `to` is one past the last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OffsetRange {
    /// The queue.
    pub queue: QueueRef,
    /// First queue offset.
    pub from: QueueOffset,
    /// One past the last queue offset.
    pub to: QueueOffset,
}

impl RowAt {
    /// The whole message.
    pub fn whole(offset: QueueOffset) -> Self {
        Self { offset, index: None }
    }
}

impl fmt::Display for RowAt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.index {
            None => write!(f, "{}", self.offset),
            Some(index) => write!(f, "{}#{index}", self.offset),
        }
    }
}

impl fmt::Display for QueueRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.broker, self.topic, self.queue)
    }
}
