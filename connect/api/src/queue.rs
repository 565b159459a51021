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

impl fmt::Display for QueueRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.broker, self.topic, self.queue)
    }
}
