//! What tools and consumers are told, read from the body it came in.

use std::collections::BTreeMap;

use millrace_types::QueueOffset;

use super::{
    ConnectedClient, ConsumerConnections, GroupNames, GroupProgress, KvTable, MULTI_TAG, MovedTo,
    QueueProgress, QueueStats, TopicConfig, TopicConfigs, TopicKept, TopicNames, TopicStats,
};
use crate::heartbeat::{ConsumeFrom, ConsumeType, MessageModel};
use crate::json::{BodyError, Json, Node};
use crate::{Language, MessageQueue, Subscription};

impl KvTable {
    /// Reads the answer's body.
    pub fn decode(body: &[u8]) -> Result<Self, BodyError> {
        let json = Json::parse_answer(body)?;
        let members = json.root().get("table").into_iter().flat_map(Node::members);
        let pairs = members.filter_map(|(key, value)| Some((key.into(), value.text()?.into())));
        Ok(Self(pairs.collect()))
    }
}

impl TopicNames {
    /// Reads the answer's body.
    pub fn decode(body: &[u8]) -> Result<Self, BodyError> {
        let json = Json::parse_answer(body)?;
        let broker = json.root().get("brokerAddr").and_then(Node::text).map(str::to_owned);
        Ok(Self { broker, names: texts(json.root(), "topicList") })
    }
}

impl GroupNames {
    /// Reads the answer's body.
    pub fn decode(body: &[u8]) -> Result<Self, BodyError> {
        let json = Json::parse_answer(body)?;
        Ok(Self(texts(json.root(), "groupList")))
    }
}

impl TopicStats {
    /// Reads the answer's body.
    pub fn decode(body: &[u8]) -> Result<Self, BodyError> {
        let json = Json::parse_answer(body)?;
        let read = |queue, stats: Node<'_>| {
            Some(QueueStats {
                queue,
                min: offset_of(stats, "minOffset")?,
                max: offset_of(stats, "maxOffset")?,
                updated_at_ms: stats.int_of("lastUpdateTimestamp").unwrap_or(0),
            })
        };
        let put_tps = json.root().int_of("topicPutTps").unwrap_or(0.0);
        Ok(Self { queues: by_queue(&json, read)?, put_tps })
    }
}

impl GroupProgress {
    /// Reads the answer's body.
    pub fn decode(body: &[u8]) -> Result<Self, BodyError> {
        let json = Json::parse_answer(body)?;
        let read = |queue, progress: Node<'_>| {
            Some(QueueProgress {
                queue,
                end: offset_of(progress, "brokerOffset")?,
                committed: offset_of(progress, "consumerOffset")?,
                consumed_until_ms: progress.int_of("lastTimestamp").unwrap_or(0),
            })
        };
        let consume_tps = json.root().int_of("consumeTps").unwrap_or(0.0);
        Ok(Self { queues: by_queue(&json, read)?, consume_tps })
    }
}

impl MovedTo {
    /// Reads the body of an answer, or of a broker's request to move. C++ clients get a list
    /// instead of a map; that is read as well.
    pub fn decode(body: &[u8]) -> Result<Self, BodyError> {
        let json = Json::parse_answer(body)?;
        let listed = json.root().items_of("offsetTable").map(|item| {
            let queue = MessageQueue::read(item);
            queue.zip(offset_of(item, "offset")).ok_or(BodyError::Missing(BY_QUEUE))
        });
        let mut moved = listed.collect::<Result<Vec<_>, _>>()?;
        moved.extend(by_queue(&json, |queue, to| Some((queue, offset(to)?)))?);
        Ok(Self(moved))
    }
}

impl ConsumerConnections {
    /// Reads the answer's body.
    pub fn decode(body: &[u8]) -> Result<Self, BodyError> {
        let json = Json::parse_answer(body)?;
        let root = json.root();
        let members = root.items_of("connectionSet").map(|member| ConnectedClient {
            client_id: member.text_of("clientId").to_owned(),
            address: member.text_of("clientAddr").to_owned(),
            language: Language::named(member.text_of("language").as_bytes()),
            version: member.int_of("version").unwrap_or(0),
        });
        let subscriptions = root.get("subscriptionTable").into_iter().flat_map(Node::members);
        Ok(Self {
            members: members.collect(),
            consume_type: ConsumeType::read(root.get("consumeType")).name(),
            message_model: MessageModel::read(root.get("messageModel")).name(),
            consume_from: ConsumeFrom::read(root.get("consumeFromWhere")).name(),
            subscriptions: subscriptions
                .map(|(_, node)| Subscription::read(node))
                .collect::<Result<_, _>>()?,
        })
    }
}

impl TopicConfig {
    /// Reads the answer's body.
    pub fn decode(body: &[u8]) -> Result<Self, BodyError> {
        Self::read(Json::parse_answer(body)?.root())
    }

    pub(crate) fn read(node: Node<'_>) -> Result<Self, BodyError> {
        let number = |name| node.int_of(name).ok_or(BodyError::Missing(name));
        Ok(Self {
            topic: node.text_of("topicName").to_owned(),
            read_queues: number("readQueueNums")?,
            write_queues: number("writeQueueNums")?,
            permission: number("perm")?,
            order: node.flag_of("order"),
            attributes: node.get("attributes").map(scalars).unwrap_or_default(),
            kept: TopicKept {
                multi_tag: node.text_of("topicFilterType") == MULTI_TAG,
                sys_flag: node.int_of("topicSysFlag").unwrap_or(0),
            },
        })
    }
}

impl TopicConfigs {
    /// Reads the answer's body; how many there are altogether is in the header.
    pub fn decode(body: &[u8]) -> Result<Self, BodyError> {
        let json = Json::parse_answer(body)?;
        let topics = json.root().get("topicConfigTable").into_iter().flat_map(Node::members);
        let topics: Vec<_> =
            topics.map(|(_, node)| TopicConfig::read(node)).collect::<Result<_, _>>()?;
        Ok(Self { total: topics.len(), topics })
    }
}

/// The names and the settings of all groups. What a group is set to is given as pairs of texts,
/// because a tool shows it and changes one of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GroupSettings(pub BTreeMap<String, BTreeMap<String, String>>);

impl GroupSettings {
    /// Reads the body of the answer to code 201.
    pub fn decode(body: &[u8]) -> Result<Self, BodyError> {
        let json = Json::parse_answer(body)?;
        let groups = json.root().get("subscriptionGroupTable").into_iter().flat_map(Node::members);
        Ok(Self(groups.map(|(name, node)| (name.to_owned(), scalars(node))).collect()))
    }

    /// Reads the body of the answer to code 352: one group.
    pub fn decode_one(body: &[u8]) -> Result<BTreeMap<String, String>, BodyError> {
        Ok(scalars(Json::parse_answer(body)?.root()))
    }
}

fn scalars(node: Node<'_>) -> BTreeMap<String, String> {
    let pairs = node.members().filter_map(|(key, value)| Some((key, value.text()?)));
    pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}

const BY_QUEUE: &str = "offsetTable";

/// The members of the map whose keys are queues.
fn by_queue<T>(
    json: &Json<'_>,
    read: impl Fn(MessageQueue, Node<'_>) -> Option<T>,
) -> Result<Vec<T>, BodyError> {
    let entries = json.root().get(BY_QUEUE).into_iter().flat_map(Node::entries);
    let read = entries.map(|(key, value)| MessageQueue::read(key).and_then(|key| read(key, value)));
    read.map(|item| item.ok_or(BodyError::Missing(BY_QUEUE))).collect()
}

/// Negative numbers stand for "none", which is before everything.
fn offset(node: Node<'_>) -> Option<QueueOffset> {
    node.int().map(|raw: i64| QueueOffset::from_wire(raw).unwrap_or_default())
}

fn offset_of(node: Node<'_>, name: &str) -> Option<QueueOffset> {
    node.get(name).and_then(offset)
}

fn texts(node: Node<'_>, name: &str) -> Vec<String> {
    node.items_of(name).filter_map(Node::text).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use millrace_types::QueueId;

    use super::*;
    use crate::Answer;

    #[track_caller]
    fn comes_back<T: Answer + PartialEq + std::fmt::Debug>(
        answer: &T,
        decode: impl Fn(&[u8]) -> Result<T, BodyError>,
    ) {
        let mut body = Vec::new();
        answer.body(&mut body);
        assert_eq!(decode(&body).as_ref(), Ok(answer), "{}", String::from_utf8_lossy(&body));
        // Whatever else comes is an error or something, but no panic.
        for len in 0..body.len() {
            let _ = decode(&body[..len]);
        }
    }

    fn queue(id: u32) -> MessageQueue {
        MessageQueue { topic: "T1".into(), broker_name: "b-a".into(), queue_id: QueueId(id) }
    }

    #[test]
    fn what_a_broker_says_is_read_back() {
        let stats = QueueStats {
            queue: queue(1),
            min: QueueOffset(2),
            max: QueueOffset(9),
            updated_at_ms: 17,
        };
        let stats = TopicStats { queues: vec![stats], put_tps: 1.5 };
        comes_back(&stats, TopicStats::decode);
        let progress = QueueProgress {
            queue: queue(0),
            end: QueueOffset(9),
            committed: QueueOffset(4),
            consumed_until_ms: 17,
        };
        let progress = GroupProgress { queues: vec![progress], consume_tps: 0.1 };
        comes_back(&progress, GroupProgress::decode);
        comes_back(&MovedTo(vec![(queue(0), QueueOffset(5))]), MovedTo::decode);
        comes_back(&TopicNames { broker: None, names: vec!["T1".into()] }, TopicNames::decode);
        comes_back(&GroupNames(vec!["G".into()]), GroupNames::decode);
        comes_back(&KvTable(BTreeMap::from([("k".into(), "v".into())])), KvTable::decode);
        let topic = TopicConfig {
            topic: "T1".into(),
            read_queues: 4,
            write_queues: 3,
            permission: 6,
            order: true,
            attributes: BTreeMap::from([("message.type".into(), "FIFO".into())]),
            kept: TopicKept { multi_tag: true, sys_flag: 1 },
        };
        comes_back(&topic, TopicConfig::decode);
        comes_back(&TopicConfigs { total: 1, topics: vec![topic] }, TopicConfigs::decode);
        let subscription = Subscription {
            topic: "T1".into(),
            expression: "*".into(),
            expression_type: "TAG".into(),
            ..Subscription::default()
        };
        let member = ConnectedClient {
            client_id: "c@1".into(),
            address: "10.0.0.9:50000".into(),
            language: Language::JAVA,
            version: 401,
        };
        let connections = ConsumerConnections {
            members: vec![member],
            consume_type: "CONSUME_PASSIVELY",
            message_model: "CLUSTERING",
            consume_from: "CONSUME_FROM_FIRST_OFFSET",
            subscriptions: vec![subscription],
        };
        comes_back(&connections, ConsumerConnections::decode);
    }

    #[test]
    fn offsets_come_as_a_map_or_as_a_list() {
        let list = br#"{"offsetTable":[{"brokerName":"b-a","offset":5,"queueId":0,"topic":"T1"}]}"#;
        assert_eq!(MovedTo::decode(list), Ok(MovedTo(vec![(queue(0), QueueOffset(5))])));
        let map = br#"{"offsetTable":{{"brokerName":"b-a","queueId":0,"topic":"T1"}:-1}}"#;
        assert_eq!(MovedTo::decode(map), Ok(MovedTo(vec![(queue(0), QueueOffset(0))])));
        assert_eq!(
            MovedTo::decode(br#"{"offsetTable":{"x":5}}"#),
            Err(BodyError::Missing("offsetTable"))
        );
    }

    #[test]
    fn the_settings_of_a_group_are_pairs() {
        let body = br#"{"dataVersion":{"counter":1},"forbiddenTable":{},"subscriptionGroupTable":{
            "G":{"groupName":"G","retryMaxTimes":16,"consumeEnable":true,"attributes":{}}}}"#;
        let settings = GroupSettings::decode(body).unwrap();
        assert_eq!(settings.0["G"]["retryMaxTimes"], "16");
        assert_eq!(settings.0["G"].len(), 3);
    }
}
