use std::borrow::Cow;

use millrace_types::QueueOffset;

use crate::fields::fields;
use crate::json::{BodyError, Json, Node};
use crate::{Fields, RequestCode, RequestError};

mod call; // the same, to be written

fields! {
    /// Names a topic.
    pub struct OfTopic<'a> {
        /// Which one.
        topic: Cow<'a, str> = "topic",
    }
}

fields! {
    /// Names a consumer group, as requests about its members do.
    pub struct OfConsumers<'a> {
        /// Which one.
        group: Cow<'a, str> = "consumerGroup",
        /// One topic only; all of the group's if absent.
        topic: Option<Cow<'a, str>> = "topic",
    }
}

fields! {
    /// Names a group, as requests about its offsets do.
    pub struct OfGroup<'a> {
        /// Which one.
        group: Cow<'a, str> = "group",
    }
}

fields! {
    /// Which of all topics, in the order of their names. (In RocketMQ,
    /// `GetAllTopicConfigRequestHeader`.)
    pub struct OfPage {
        /// How many are passed over.
        first: i32 = "topicSeq" or 0,
        /// The most that are wanted; absent for all.
        topics_max: Option<i32> = "maxTopicNum",
    }
}

fields! {
    /// Names a cluster.
    pub struct OfCluster<'a> {
        /// Which one.
        cluster: Cow<'a, str> = "cluster",
    }
}

fields! {
    /// Names a key of the name server, and what it shall be.
    pub struct KvEntry<'a> {
        /// Keys of one purpose.
        namespace: Cow<'a, str> = "namespace",
        /// The key; unused by requests about all of them.
        key: Cow<'a, str> = "key" or Cow::Borrowed(""),
        /// Its value; used by the request that sets it.
        value: Cow<'a, str> = "value" or Cow::Borrowed(""),
    }
}

fields! {
    /// Moves a group to a time or to an offset. (In RocketMQ, `ResetOffsetRequestHeader`.)
    pub struct ResetOffset<'a> {
        /// Which group.
        group: Cow<'a, str> = "group",
        /// In which topic.
        topic: Cow<'a, str> = "topic",
        /// In which queue; negative for all of them.
        queue_id: i32 = "queueId" or -1,
        /// Where to; absent to go by time.
        offset: Option<QueueOffset> = "offset",
        /// Which time, ms; -1 for the end.
        timestamp_ms: i64 = "timestamp" or -1,
        /// Whether to move forward, too. Means nothing to RocketMQ 5, nor to us.
        force: bool = "isForce" or false,
    }
}

fields! {
    /// Names a group to be removed.
    pub struct DeleteGroup<'a> {
        /// Which one.
        group: Cow<'a, str> = "groupName",
    }
}

/// What a consumer group is set to. (In RocketMQ, `SubscriptionGroupConfig`.)
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupConfig<'a> {
    /// Which one.
    pub group: String,
    /// What of it a broker obeys.
    pub rules: GroupRules,
    /// All of it, as the tool wrote it.
    pub json: &'a str,
}

impl<'a> GroupConfig<'a> {
    fn decode(body: &'a [u8]) -> Result<Self, BodyError> {
        let parsed = Json::parse(body)?;
        let root = parsed.root();
        let group = root.text_of("groupName").to_owned();
        if group.is_empty() {
            return Err(BodyError::Missing("groupName"));
        }
        let rules = GroupRules::read(root);
        let json = std::str::from_utf8(body).map_err(|_| BodyError::Json)?.trim();
        Ok(Self { group, rules, json })
    }
}

/// What a broker obeys of a group's settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupRules {
    /// `consumeEnable`: whether it may consume at all.
    pub consumes: bool,
    /// `consumeBroadcastEnable`: whether each member may consume everything.
    pub broadcasts: bool,
    /// `notifyConsumerIdsChangedEnable`: whether members are told of changes.
    pub notifies: bool,
    /// `retryQueueNums`: queues of its retry topic; with 0 and below failed messages are dropped.
    pub retry_queues: i32,
    /// `retryMaxTimes`: after so many failures a message is a dead letter.
    pub retry_max: i32,
}

impl Default for GroupRules {
    fn default() -> Self {
        Self { consumes: true, broadcasts: true, notifies: true, retry_queues: 1, retry_max: 16 }
    }
}

impl GroupRules {
    /// Reads them from a group's settings as a tool wrote them; what is not there has its default.
    pub fn parse(json: &str) -> Option<Self> {
        Json::parse(json.as_bytes()).ok().map(|parsed| Self::read(parsed.root()))
    }

    fn read(root: Node<'_>) -> Self {
        let default = Self::default();
        let flag = |name: &str, default: bool| root.get(name).map_or(default, Node::flag);
        let number =
            |name: &str, default: i32| root.get(name).and_then(Node::int).unwrap_or(default);
        Self {
            consumes: flag("consumeEnable", default.consumes),
            broadcasts: flag("consumeBroadcastEnable", default.broadcasts),
            notifies: flag("notifyConsumerIdsChangedEnable", default.notifies),
            retry_queues: number("retryQueueNums", default.retry_queues),
            retry_max: number("retryMaxTimes", default.retry_max),
        }
    }
}

/// What tools ask of a broker or a name server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Admin<'a> {
    /// Code 200: sets what a group may do.
    PutGroup(GroupConfig<'a>),
    /// Code 207: forgets what a group may do.
    DeleteGroup(DeleteGroup<'a>),
    /// Code 352: what a group is set to.
    GetGroup(OfGroup<'a>),
    /// Code 201: what all groups are set to.
    AllGroups,
    /// Code 28: the broker's figures.
    RuntimeInfo,
    /// Code 202: where the queues of a topic begin and end.
    TopicStats(OfTopic<'a>),
    /// Code 203: the members of a consumer group.
    ConsumerConnections(OfConsumers<'a>),
    /// Code 208: how far a group is behind.
    ConsumeStats(OfConsumers<'a>),
    /// Code 222: moves a group.
    ResetOffset(ResetOffset<'a>),
    /// Code 300: the groups that consume a topic.
    ConsumersOf(OfTopic<'a>),
    /// Code 343: the topics in which a group has offsets.
    TopicsOf(OfGroup<'a>),
    /// Code 215: removes a topic.
    DeleteTopic(OfTopic<'a>),
    /// Code 351: what a topic looks like.
    TopicConfig(OfTopic<'a>),
    /// Code 21: what all topics look like.
    AllTopics(OfPage),
    /// Code 305: the broker's own topics.
    SystemTopics,
    /// Code 100, to a name server: sets a key.
    PutKv(KvEntry<'a>),
    /// Code 101, to a name server: reads a key.
    GetKv(KvEntry<'a>),
    /// Code 102, to a name server: removes a key.
    DeleteKv(KvEntry<'a>),
    /// Code 219, to a name server: all keys of a namespace.
    ListKv(KvEntry<'a>),
    /// Code 206, to a name server: all topics.
    TopicNames,
    /// Code 224, to a name server: the topics of a cluster.
    ClusterTopics(OfCluster<'a>),
    /// Code 304, to a name server: names of clusters and brokers, and one broker to ask.
    ReservedNames,
}

impl<'a> Admin<'a> {
    /// Understands a request; `None` if its code is not one of these.
    pub(crate) fn decode(
        code: RequestCode,
        fields: &Fields<'a>,
        body: &'a [u8],
    ) -> Option<Result<Self, RequestError>> {
        let made = match code {
            RequestCode::UPDATE_AND_CREATE_SUBSCRIPTIONGROUP => {
                return Some(GroupConfig::decode(body).map(Self::PutGroup).map_err(Into::into));
            }
            RequestCode::DELETE_SUBSCRIPTIONGROUP => fields.read().map(Self::DeleteGroup),
            RequestCode::GET_SUBSCRIPTIONGROUP_CONFIG => fields.read().map(Self::GetGroup),
            RequestCode::GET_ALL_SUBSCRIPTIONGROUP_CONFIG => Ok(Self::AllGroups),
            RequestCode::GET_BROKER_RUNTIME_INFO => Ok(Self::RuntimeInfo),
            RequestCode::GET_TOPIC_STATS_INFO => fields.read().map(Self::TopicStats),
            RequestCode::GET_CONSUMER_CONNECTION_LIST => {
                fields.read().map(Self::ConsumerConnections)
            }
            RequestCode::GET_CONSUME_STATS => fields.read().map(Self::ConsumeStats),
            RequestCode::INVOKE_BROKER_TO_RESET_OFFSET => fields.read().map(Self::ResetOffset),
            RequestCode::QUERY_TOPIC_CONSUME_BY_WHO => fields.read().map(Self::ConsumersOf),
            RequestCode::QUERY_TOPICS_BY_CONSUMER => fields.read().map(Self::TopicsOf),
            RequestCode::DELETE_TOPIC_IN_BROKER => fields.read().map(Self::DeleteTopic),
            RequestCode::GET_TOPIC_CONFIG => fields.read().map(Self::TopicConfig),
            RequestCode::GET_ALL_TOPIC_CONFIG => fields.read().map(Self::AllTopics),
            RequestCode::GET_SYSTEM_TOPIC_LIST_FROM_BROKER => Ok(Self::SystemTopics),
            RequestCode::PUT_KV_CONFIG => fields.read().map(Self::PutKv),
            RequestCode::GET_KV_CONFIG => fields.read().map(Self::GetKv),
            RequestCode::DELETE_KV_CONFIG => fields.read().map(Self::DeleteKv),
            RequestCode::GET_KVLIST_BY_NAMESPACE => fields.read().map(Self::ListKv),
            RequestCode::GET_ALL_TOPIC_LIST_FROM_NAMESERVER => Ok(Self::TopicNames),
            RequestCode::GET_TOPICS_BY_CLUSTER => fields.read().map(Self::ClusterTopics),
            RequestCode::GET_SYSTEM_TOPIC_LIST_FROM_NS => Ok(Self::ReservedNames),
            _ => return None,
        };
        Some(made.map_err(Into::into))
    }
}
