use std::borrow::Cow;

use millrace_types::PhysicalOffset;

use super::calls;
use crate::fields::fields;

fields! {
    /// Messages by key. The answer is [`crate::QueryAnswer`], then records.
    pub struct QueryMessage<'a> {
        /// Which topic.
        topic: Cow<'a, str> = "topic",
        /// A word of the messages' keys, or the client-made id.
        key: Cow<'a, str> = "key",
        /// How many messages at most.
        messages_max: i32 = "maxNum" or 32,
        /// Stored no earlier, ms.
        begin_ms: i64 = "beginTimestamp" or 0,
        /// Stored no later, ms.
        end_ms: i64 = "endTimestamp" or i64::MAX,
        /// Whether `key` is the client-made id.
        by_unique_key: bool = "_UNIQUE_KEY_QUERY" or false,
    }
}

fields! {
    /// One message by physical offset. The answer's body is its record.
    pub struct ViewMessage<'a> {
        /// The message's topic; 4.x clients leave it out.
        topic: Option<Cow<'a, str>> = "topic",
        /// Where the record starts.
        physical_offset: PhysicalOffset = "offset",
    }
}

calls! {
    QueryMessage<'a> = QUERY_MESSAGE,
    ViewMessage<'a> = VIEW_MESSAGE_BY_ID,
}
