use std::borrow::Cow;
use std::collections::BTreeMap;

use millrace_types::QueueOffset;

use super::{Answer, field_answers};
use crate::fields::fields;
use crate::json::{ObjectWriter, push_text};
use crate::wire::push_decimal;
use crate::{FieldWriter, Language, MessageQueue, Subscription};

mod read; // the same from a body

pub use read::GroupSettings;

fields! {
    /// The value of a name server's key.
    pub struct KvValue<'a> {
        /// The value.
        value: Cow<'a, str> = "value",
    }
}

field_answers! {
    KvValue<'a>,
}

/// Keys and values. (In RocketMQ, `KVTable`.)
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KvTable(pub BTreeMap<String, String>);

impl Answer for KvTable {
    fn body(&self, out: &mut Vec<u8>) {
        ObjectWriter::write(out, |object| {
            object.object("table", |table| {
                for (key, value) in &self.0 {
                    table.text(key, value);
                }
            });
        });
    }
}

/// Names of topics. (In RocketMQ, `TopicList`.)
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TopicNames {
    /// A broker to ask further, if there is one.
    pub broker: Option<String>,
    /// The names.
    pub names: Vec<String>,
}

impl Answer for TopicNames {
    fn body(&self, out: &mut Vec<u8>) {
        ObjectWriter::write(out, |object| {
            if let Some(broker) = &self.broker {
                object.text("brokerAddr", broker);
            }
            object.list("topicList", &self.names, |out, name| push_text(out, name));
        });
    }
}

/// Names of groups. (In RocketMQ, `GroupList`.)
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GroupNames(pub Vec<String>);

impl Answer for GroupNames {
    fn body(&self, out: &mut Vec<u8>) {
        ObjectWriter::write(out, |object| {
            object.list("groupList", &self.0, |out, name| push_text(out, name));
        });
    }
}

/// Where a queue begins and ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueStats {
    /// Which queue.
    pub queue: MessageQueue,
    /// Its first message.
    pub min: QueueOffset,
    /// One past its last message.
    pub max: QueueOffset,
    /// When the last one was stored, ms; 0 if there is none.
    pub updated_at_ms: i64,
}

/// Where the queues of a topic begin and end. (In RocketMQ, `TopicStatsTable`.)
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TopicStats {
    /// Queue by queue.
    pub queues: Vec<QueueStats>,
    /// Messages stored each second, over the last minute.
    pub put_tps: f64,
}

impl Answer for TopicStats {
    fn body(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"offsetTable\":{");
        push_by_queue(
            out,
            &self.queues,
            |stats| &stats.queue,
            |object, stats| {
                object.int("lastUpdateTimestamp", stats.updated_at_ms);
                object.int("maxOffset", offset(stats.max)).int("minOffset", offset(stats.min));
            },
        );
        out.extend_from_slice(format!("}},\"topicPutTps\":{}}}", double(self.put_tps)).as_bytes());
    }
}

/// How far a group has got in a queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueProgress {
    /// Which queue.
    pub queue: MessageQueue,
    /// One past its last message.
    pub end: QueueOffset,
    /// The next message for the group.
    pub committed: QueueOffset,
    /// When the last one it consumed was stored, ms; 0 if there is none.
    pub consumed_until_ms: i64,
}

/// How far a group has got. (In RocketMQ, `ConsumeStats`.)
#[derive(Clone, Debug, Default, PartialEq)]
pub struct GroupProgress {
    /// Queue by queue.
    pub queues: Vec<QueueProgress>,
    /// Messages given to the group each second, over the last minute.
    pub consume_tps: f64,
}

/// A number as Java reads it: no number is none, and it has always a point.
fn double(number: f64) -> String {
    let number = if number.is_finite() { number } else { 0.0 };
    format!("{number:?}")
}

impl Answer for GroupProgress {
    fn body(&self, out: &mut Vec<u8>) {
        let tps = double(self.consume_tps);
        out.extend_from_slice(format!("{{\"consumeTps\":{tps},\"offsetTable\":{{").as_bytes());
        push_by_queue(
            out,
            &self.queues,
            |progress| &progress.queue,
            |object, progress| {
                object.int("brokerOffset", offset(progress.end));
                object.int("consumerOffset", offset(progress.committed));
                object.int("lastTimestamp", progress.consumed_until_ms);
                object.int("pullOffset", offset(progress.committed));
            },
        );
        out.extend_from_slice(b"}}");
    }
}

/// The offsets that a group starts from. (In RocketMQ, `ResetOffsetBody`.)
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MovedTo(pub Vec<(MessageQueue, QueueOffset)>);

impl Answer for MovedTo {
    fn body(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"offsetTable\":{");
        for (n, (queue, to)) in self.0.iter().enumerate() {
            if n > 0 {
                out.push(b',');
            }
            queue.write(out);
            out.push(b':');
            push_decimal(out, offset(*to));
        }
        out.extend_from_slice(b"}}");
    }
}

/// Writes the members of a map whose keys are queues: raw objects, which is not JSON and what
/// Java and Go read.
fn push_by_queue<T>(
    out: &mut Vec<u8>,
    items: &[T],
    queue: impl Fn(&T) -> &MessageQueue,
    members: impl Fn(&mut ObjectWriter<'_>, &T),
) {
    for (n, item) in items.iter().enumerate() {
        if n > 0 {
            out.push(b',');
        }
        queue(item).write(out);
        out.push(b':');
        ObjectWriter::write(out, |object| members(object, item));
    }
}

fn offset(offset: QueueOffset) -> i64 {
    i64::try_from(offset.0).unwrap_or(i64::MAX)
}

/// The members of a consumer group. (In RocketMQ, `ConsumerConnection`.)
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConsumerConnections {
    /// Who is there.
    pub members: Vec<ConnectedClient>,
    /// RocketMQ's name of how the group gets its messages.
    pub consume_type: &'static str,
    /// RocketMQ's name of how the group shares them.
    pub message_model: &'static str,
    /// RocketMQ's name of where the group starts without an offset.
    pub consume_from: &'static str,
    /// What the group wants.
    pub subscriptions: Vec<Subscription>,
}

/// A client that is connected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectedClient {
    /// What it calls itself.
    pub client_id: String,
    /// Where it is.
    pub address: String,
    /// What it is written in.
    pub language: Language,
    /// Its version, as an ordinal of RocketMQ's `MQVersion`.
    pub version: i32,
}

impl ConnectedClient {
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        ObjectWriter::write(out, |object| {
            object.text("clientAddr", &self.address);
            object.text("clientId", &self.client_id);
            object.text("language", self.language.name());
            object.int("version", i64::from(self.version));
        });
    }
}

impl Answer for ConsumerConnections {
    fn body(&self, out: &mut Vec<u8>) {
        ObjectWriter::write(out, |object| {
            object.list("connectionSet", &self.members, |out, member| member.write(out));
            object.text("consumeFromWhere", self.consume_from);
            object.text("consumeType", self.consume_type);
            object.text("messageModel", self.message_model);
            object.object("subscriptionTable", |table| {
                for subscription in &self.subscriptions {
                    table.object(&subscription.topic, |object| subscription.write(object));
                }
            });
        });
    }
}

/// What a topic looks like. (In RocketMQ, `TopicConfig`.)
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TopicConfig {
    /// Its name.
    pub topic: String,
    /// Queues to read from.
    pub read_queues: u32,
    /// Queues to write to.
    pub write_queues: u32,
    /// See [`crate::permission`].
    pub permission: u32,
    /// Whether it is an ordered topic.
    pub order: bool,
    /// Its attributes, by name.
    pub attributes: BTreeMap<String, String>,
    /// What RocketMQ keeps of it as well.
    pub kept: TopicKept,
}

/// What a tool has to give back as it was, because RocketMQ writes over all that a topic is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TopicKept {
    /// Whether a message may have several tags: `MULTI_TAG`, and not `SINGLE_TAG`.
    pub multi_tag: bool,
    /// Unit flags.
    pub sys_flag: i32,
}

impl TopicKept {
    /// The filter type as RocketMQ calls it.
    pub fn filter_type(self) -> &'static str {
        if self.multi_tag { MULTI_TAG } else { "SINGLE_TAG" }
    }
}

const MULTI_TAG: &str = "MULTI_TAG";

impl TopicConfig {
    pub(crate) fn members(&self, object: &mut ObjectWriter<'_>) {
        object.object("attributes", |all| {
            for (name, value) in &self.attributes {
                all.text(name, value);
            }
        });
        object.flag("order", self.order);
        object.int("perm", i64::from(self.permission));
        object.int("readQueueNums", i64::from(self.read_queues));
        object.text("topicFilterType", self.kept.filter_type()).text("topicName", &self.topic);
        object.int("topicSysFlag", i64::from(self.kept.sys_flag));
        object.int("writeQueueNums", i64::from(self.write_queues));
    }
}

impl Answer for TopicConfig {
    fn body(&self, out: &mut Vec<u8>) {
        ObjectWriter::write(out, |object| self.members(object));
    }
}

/// What topics look like, a page of all. (In RocketMQ, `TopicConfigAndMappingSerializeWrapper`.)
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TopicConfigs {
    /// How many there are altogether.
    pub total: usize,
    /// Those of the page.
    pub topics: Vec<TopicConfig>,
}

impl TopicConfigs {
    /// Bytes of a page: a Java client closes its connection on frames above 16 MiB.
    pub const BYTES_MAX: usize = 15 << 20;

    /// As many of these topics as one frame has room for.
    pub fn page(total: usize, topics: impl Iterator<Item = TopicConfig>) -> Self {
        let mut bytes = 0;
        let fits = |topic: &TopicConfig| {
            bytes += topic.bytes_max();
            bytes <= Self::BYTES_MAX
        };
        Self { total, topics: topics.take_while(fits).collect() }
    }
}

impl TopicConfig {
    /// What it takes in JSON, at most: a name twice, as it is, and texts that may be escaped.
    fn bytes_max(&self) -> usize {
        let attributes = self.attributes.iter();
        let texts: usize = attributes.map(|(name, value)| 6 * (1 + name.len() + value.len())).sum();
        256 + 2 * self.topic.len() + texts
    }
}

impl Answer for TopicConfigs {
    fn fields(&self, to: &mut FieldWriter<'_>) {
        to.text("totalTopicNum", &self.total.to_string());
    }

    fn body(&self, out: &mut Vec<u8>) {
        let version = |object: &mut ObjectWriter<'_>| {
            object.int("counter", 0).int("stateVersion", 0).int("timestamp", 0);
        };
        ObjectWriter::write(out, |object| {
            object.object("dataVersion", version).object("mappingDataVersion", version);
            object.object("topicConfigTable", |table| {
                for topic in &self.topics {
                    table.object(&topic.topic, |object| topic.members(object));
                }
            });
            object.object("topicQueueMappingDetailMap", |_| {});
            object.object("topicQueueMappingInfoMap", |_| {});
        });
    }
}

/// What a group is set to, as a tool once wrote it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredGroupConfig(pub String);

impl Answer for StoredGroupConfig {
    fn body(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.0.as_bytes());
    }
}

/// What all groups are set to, by name and in one page. (In RocketMQ, `SubscriptionGroupWrapper`.)
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GroupConfigs(pub BTreeMap<String, String>);

impl Answer for GroupConfigs {
    fn fields(&self, to: &mut FieldWriter<'_>) {
        to.text("totalGroupNum", &self.0.len().to_string());
    }

    fn body(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(
            b"{\"dataVersion\":{\"counter\":0,\"stateVersion\":0,\"timestamp\":0},",
        );
        out.extend_from_slice(b"\"forbiddenTable\":{},\"subscriptionGroupTable\":{");
        for (n, (name, config)) in self.0.iter().enumerate() {
            if n > 0 {
                out.push(b',');
            }
            push_text(out, name);
            out.push(b':');
            out.extend_from_slice(config.as_bytes());
        }
        out.extend_from_slice(b"}}");
    }
}

#[cfg(test)]
mod tests {
    use millrace_types::QueueId;

    use super::*;

    #[track_caller]
    fn check(answer: &dyn Answer, expected: &str) {
        let mut out = Vec::new();
        answer.body(&mut out);
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    fn queue(id: u32) -> MessageQueue {
        MessageQueue { topic: "T1".into(), broker_name: "b-a".into(), queue_id: QueueId(id) }
    }

    #[test]
    fn maps_by_queue_have_raw_objects_as_keys() {
        let stats = |id, max| QueueStats {
            queue: queue(id),
            min: QueueOffset(0),
            max: QueueOffset(max),
            updated_at_ms: 17,
        };
        check(
            &TopicStats { queues: vec![stats(0, 9)], put_tps: 0.0 },
            r#"{"offsetTable":{{"brokerName":"b-a","queueId":0,"topic":"T1"}:{"lastUpdateTimestamp":17,"maxOffset":9,"minOffset":0}},"topicPutTps":0.0}"#,
        );
        let moved = MovedTo(vec![(queue(0), QueueOffset(5)), (queue(1), QueueOffset(6))]);
        check(
            &moved,
            r#"{"offsetTable":{{"brokerName":"b-a","queueId":0,"topic":"T1"}:5,{"brokerName":"b-a","queueId":1,"topic":"T1"}:6}}"#,
        );
        let progress = QueueProgress {
            queue: queue(0),
            end: QueueOffset(9),
            committed: QueueOffset(4),
            consumed_until_ms: 17,
        };
        check(
            &GroupProgress { queues: vec![progress], consume_tps: 12.5 },
            r#"{"consumeTps":12.5,"offsetTable":{{"brokerName":"b-a","queueId":0,"topic":"T1"}:{"brokerOffset":9,"consumerOffset":4,"lastTimestamp":17,"pullOffset":4}}}"#,
        );
    }

    #[test]
    fn a_page_of_topics_fits_into_a_frame() {
        let name = |n: usize| format!("{n:0>127}");
        let topic = |n| TopicConfig {
            topic: name(n),
            read_queues: 16_384,
            write_queues: 16_384,
            permission: 6,
            order: false,
            attributes: BTreeMap::from([("reserve.time".into(), "\u{1}".repeat(20))]),
            ..TopicConfig::default()
        };
        let page = TopicConfigs::page(105_000, (0..105_000).map(topic));
        let mut body = Vec::new();
        page.body(&mut body);
        assert!((4 << 20..TopicConfigs::BYTES_MAX + 1024).contains(&body.len()), "{}", body.len());
        assert_eq!(page.topics.last().unwrap().topic, name(page.topics.len() - 1));
    }

    #[test]
    fn lists_leave_out_what_there_is_none_of() {
        check(&TopicNames { broker: None, names: vec!["T1".into()] }, r#"{"topicList":["T1"]}"#);
        check(&GroupNames(Vec::new()), r#"{"groupList":[]}"#);
        let table = KvTable(BTreeMap::from([("k".into(), "v".into())]));
        check(&table, r#"{"table":{"k":"v"}}"#);
    }
}
