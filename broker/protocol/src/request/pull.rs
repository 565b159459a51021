use std::borrow::Cow;

use millrace_types::{QueueId, QueueOffset};

use crate::fields::fields;
use crate::{Call, FieldWriter, RequestCode};

/// Bits of [`PullMessage::sys_flag`]. (In RocketMQ, `PullSysFlag`.)
pub mod pull_flag {
    /// Commit `commit_offset` before reading.
    pub const COMMIT_OFFSET: i32 = 1;
    /// Hold the request while there is nothing to give.
    pub const SUSPEND: i32 = 2;
    /// Use the subscription in the request, not the one of the last heartbeat.
    pub const SUBSCRIPTION: i32 = 4;
    /// Obsolete.
    pub const CLASS_FILTER: i32 = 8;
    /// From a lite pull consumer; goes with code 361.
    pub const LITE_PULL: i32 = 16;
}

fields! {
    /// Messages of one queue, from an offset on. (In RocketMQ, `PullMessageRequestHeader`.)
    pub struct PullMessage<'a> {
        /// For whom.
        group: Cow<'a, str> = "consumerGroup",
        /// Which topic.
        topic: Cow<'a, str> = "topic",
        /// Which queue.
        queue_id: QueueId = "queueId",
        /// The first offset wanted; `None` (negative on the wire) lies before every queue's start.
        offset: Option<QueueOffset> = "queueOffset",
        /// How many messages at most.
        messages_max: i32 = "maxMsgNums",
        /// See [`pull_flag`].
        sys_flag: i32 = "sysFlag",
        /// The group's progress; means something with [`pull_flag::COMMIT_OFFSET`].
        commit_offset: Option<QueueOffset> = "commitOffset",
        /// How long to hold the request; means something with [`pull_flag::SUSPEND`].
        suspend_ms: i64 = "suspendTimeoutMillis" or 0,
        /// The filter; means something with [`pull_flag::SUBSCRIPTION`].
        subscription: Option<Cow<'a, str>> = "subscription",
        /// Which version of its subscription the client uses.
        subscription_version: i64 = "subVersion" or 0,
        /// `TAG` unless given.
        expression_type: Option<Cow<'a, str>> = "expressionType",
        /// How many bytes the client would like at most, 5.x.
        bytes_max: Option<i32> = "maxMsgBytes",
    }
}

impl PullMessage<'_> {
    /// Whether a bit of [`pull_flag`] is set.
    pub fn has(&self, flag: i32) -> bool {
        self.sys_flag & flag != 0
    }
}

/// Code 361 if the lite bit is set, else 11.
impl Call for PullMessage<'_> {
    fn code(&self) -> RequestCode {
        if self.has(pull_flag::LITE_PULL) {
            RequestCode::LITE_PULL_MESSAGE
        } else {
            RequestCode::PULL_MESSAGE
        }
    }

    fn fields(&self, to: &mut FieldWriter<'_>) {
        self.write_fields(to);
    }
}
