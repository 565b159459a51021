use std::borrow::Cow;

use millrace_types::{QueueId, QueueOffset};

use super::calls;
use crate::fields::fields;

fields! {
    /// A group's committed offset in a queue.
    pub struct QueryConsumerOffset<'a> {
        /// Whose offset.
        group: Cow<'a, str> = "consumerGroup",
        /// Which topic.
        topic: Cow<'a, str> = "topic",
        /// Which queue.
        queue_id: QueueId = "queueId",
        /// `Some(false)`: a group without an offset must get 22, even on a young queue.
        zero_if_not_found: Option<bool> = "setZeroIfNotFound",
    }
}

fields! {
    /// Commits a group's offset in a queue.
    pub struct UpdateConsumerOffset<'a> {
        /// Whose offset.
        group: Cow<'a, str> = "consumerGroup",
        /// Which topic.
        topic: Cow<'a, str> = "topic",
        /// Which queue.
        queue_id: QueueId = "queueId",
        /// The next offset to read.
        offset: QueueOffset = "commitOffset",
    }
}

fields! {
    /// The offset that the queue's next message will get.
    pub struct GetMaxOffset<'a> {
        /// Which topic.
        topic: Cow<'a, str> = "topic",
        /// Which queue.
        queue_id: QueueId = "queueId",
        /// Whether only messages that consumers may see count.
        committed: bool = "committed" or true,
    }
}

fields! {
    /// The offset of the queue's oldest message.
    pub struct GetMinOffset<'a> {
        /// Which topic.
        topic: Cow<'a, str> = "topic",
        /// Which queue.
        queue_id: QueueId = "queueId",
    }
}

fields! {
    /// The first offset whose message was stored at or after a time.
    pub struct SearchOffset<'a> {
        /// Which topic.
        topic: Cow<'a, str> = "topic",
        /// Which queue.
        queue_id: QueueId = "queueId",
        /// The time, ms.
        timestamp_ms: i64 = "timestamp",
        /// `UPPER` in any case asks for the last of messages stored at that time, anything else
        /// for the first.
        boundary: Option<Cow<'a, str>> = "boundaryType",
    }
}

impl SearchOffset<'_> {
    /// Whether the last of several messages stored at the time is asked for.
    pub fn is_upper(&self) -> bool {
        self.boundary.as_ref().is_some_and(|boundary| boundary.eq_ignore_ascii_case("upper"))
    }
}

fields! {
    /// When the queue's oldest message was stored.
    pub struct EarliestStoreTime<'a> {
        /// Which topic.
        topic: Cow<'a, str> = "topic",
        /// Which queue.
        queue_id: QueueId = "queueId",
    }
}

calls! {
    QueryConsumerOffset<'a> = QUERY_CONSUMER_OFFSET,
    UpdateConsumerOffset<'a> = UPDATE_CONSUMER_OFFSET,
    GetMaxOffset<'a> = GET_MAX_OFFSET,
    GetMinOffset<'a> = GET_MIN_OFFSET,
    SearchOffset<'a> = SEARCH_OFFSET_BY_TIMESTAMP,
    EarliestStoreTime<'a> = GET_EARLIEST_MSG_STORETIME,
}
