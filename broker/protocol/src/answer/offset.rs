use millrace_types::QueueOffset;

use super::field_answers;
use crate::fields::fields;

fields! {
    /// An offset.
    pub struct OffsetAnswer {
        /// The offset.
        offset: QueueOffset = "offset",
    }
}

fields! {
    /// A time.
    pub struct TimestampAnswer {
        /// Milliseconds since the Unix epoch; -1 if there is no message.
        timestamp_ms: i64 = "timestamp",
    }
}

fields! {
    /// The head of the answer to a query by key; records follow as the body.
    #[derive(Default)]
    pub struct QueryAnswer {
        /// When the index was last extended, ms.
        index_updated_at_ms: i64 = "indexLastUpdateTimestamp",
        /// Up to where the index goes.
        index_end: i64 = "indexLastUpdatePhyoffset",
    }
}

field_answers! {
    OffsetAnswer,
    TimestampAnswer,
    QueryAnswer,
}
