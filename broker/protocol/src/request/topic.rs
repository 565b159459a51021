use std::borrow::Cow;

use super::calls;
use crate::fields::fields;
use crate::{Call, FieldWriter, RequestCode};

fields! {
    /// Creates or overwrites a topic. (In RocketMQ, `CreateTopicRequestHeader`.)
    pub struct CreateTopic<'a> {
        /// Its name.
        topic: Cow<'a, str> = "topic",
        /// The topic it is modelled on; unused by brokers.
        default_topic: Cow<'a, str> = "defaultTopic" or Cow::Borrowed(""),
        /// Queues to read from.
        read_queues: i32 = "readQueueNums",
        /// Queues to write to.
        write_queues: i32 = "writeQueueNums",
        /// See [`crate::permission`].
        permission: i32 = "perm",
        /// `SINGLE_TAG` or `MULTI_TAG`; C++ sends their number.
        filter_type: Option<Cow<'a, str>> = "topicFilterType",
        /// Unit flags.
        topic_sys_flag: Option<i32> = "topicSysFlag",
        /// Whether the topic is an ordered one.
        order: bool = "order" or false,
        /// `+name=value` and `-name`, separated by commas, 5.x.
        attributes: Option<Cow<'a, str>> = "attributes",
    }
}

fields! {
    /// Which brokers serve a topic. The answer is [`crate::TopicRoute`], or 17.
    pub struct GetRoute<'a> {
        /// Which topic.
        topic: Cow<'a, str> = "topic",
        /// Whether the client insists on standard JSON; we never write anything else here.
        standard_json_only: Option<bool> = "acceptStandardJsonOnly",
    }
}

fields! {
    /// Ours: who are you? The answer is [`crate::HelloAnswer`]; Apache RocketMQ answers 3.
    pub struct Hello<'a> {
        /// Who asks.
        product: Cow<'a, str> = "product" or Cow::Borrowed(""),
        /// Its version.
        version: Cow<'a, str> = "version" or Cow::Borrowed(""),
    }
}

fields! {
    /// Ours: creates a topic unless it exists. The answer is [`crate::TopicAnswer`] with the
    /// queues it has.
    pub struct EnsureTopic<'a> {
        /// Its name.
        topic: Cow<'a, str> = "topic",
        /// Queues it should have.
        queues: i32 = "queues",
    }
}

calls! {
    CreateTopic<'a> = UPDATE_AND_CREATE_TOPIC,
    GetRoute<'a> = GET_ROUTEINFO_BY_TOPIC,
    Hello<'a> = MR_HELLO,
    EnsureTopic<'a> = MR_TOPIC,
}

/// Asks for all brokers and clusters. The answer is [`crate::ClusterInfo`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GetClusterInfo;

impl Call for GetClusterInfo {
    fn code(&self) -> RequestCode {
        RequestCode::GET_BROKER_CLUSTER_INFO
    }

    fn fields(&self, _to: &mut FieldWriter<'_>) {}
}
