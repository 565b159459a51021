use std::collections::BTreeMap;

use millrace_types::{QueueId, QueueOffset};

use super::Answer;
use crate::json::ObjectWriter;
use crate::{ConnectedClient, DataVersion, Subscription};

/// The members of a producer group. (In RocketMQ, `ProducerConnection`.)
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProducerConnections(pub Vec<ConnectedClient>);

impl Answer for ProducerConnections {
    fn body(&self, out: &mut Vec<u8>) {
        ObjectWriter::write(out, |object| {
            object.list("connectionSet", &self.0, |out, member| member.write(out));
        });
    }
}

/// A producer, and when it was last heard of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownProducer {
    /// Who.
    pub client: ConnectedClient,
    /// When it was last heard of, ms.
    pub heard_at_ms: i64,
}

/// All producers by group. (In RocketMQ, `ProducerTableInfo`.)
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AllProducers(pub BTreeMap<String, Vec<KnownProducer>>);

impl Answer for AllProducers {
    fn body(&self, out: &mut Vec<u8>) {
        ObjectWriter::write(out, |object| {
            object.object("data", |data| {
                for (group, producers) in &self.0 {
                    data.list(group, producers, |out, producer| producer.write(out));
                }
            });
        });
    }
}

impl KnownProducer {
    fn write(&self, out: &mut Vec<u8>) {
        ObjectWriter::write(out, |object| {
            object.text("clientId", &self.client.client_id);
            object.text("language", self.client.language.name());
            object.int("lastUpdateTimestamp", self.heard_at_ms);
            object.text("remoteIP", &self.client.address);
            object.int("version", i64::from(self.client.version));
        });
    }
}

/// What a group wants of a topic. (In RocketMQ, `QuerySubscriptionResponseBody`.)
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupSubscription {
    /// Which group.
    pub group: String,
    /// Which topic.
    pub topic: String,
    /// What it wants, if anything.
    pub subscription: Option<Subscription>,
}

impl Answer for GroupSubscription {
    fn body(&self, out: &mut Vec<u8>) {
        ObjectWriter::write(out, |object| {
            object.text("group", &self.group);
            if let Some(subscription) = &self.subscription {
                object.object("subscriptionData", |object| subscription.write(object));
            }
            object.text("topic", &self.topic);
        });
    }
}

/// All offsets of all groups. (In RocketMQ, `ConsumerOffsetSerializeWrapper`.)
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AllOffsets(pub BTreeMap<(String, String), BTreeMap<QueueId, QueueOffset>>);

impl Answer for AllOffsets {
    fn body(&self, out: &mut Vec<u8>) {
        let version = DataVersion::default();
        ObjectWriter::write(out, |object| {
            object.object("dataVersion", |object| version.members(object));
            object.object("offsetTable", |table| {
                for ((topic, group), offsets) in &self.0 {
                    table.object(&format!("{topic}@{group}"), |queues| {
                        for (queue, offset) in offsets {
                            queues.int(&queue.0.to_string(), offset.to_wire());
                        }
                    });
                }
            });
        });
    }
}
