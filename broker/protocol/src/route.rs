use std::collections::BTreeMap;

use crate::Answer;
use crate::json::{BodyError, Json, Node, ObjectWriter, push_text};

/// Bits of a topic's permission. (In RocketMQ, `PermName`.)
pub mod permission {
    /// A template: topics created on demand inherit from it.
    pub const INHERIT: i32 = 1;
    /// Producers may write.
    pub const WRITE: i32 = 2;
    /// Consumers may read.
    pub const READ: i32 = 4;
}

/// Which brokers serve a topic. (In RocketMQ, `TopicRouteData`.)
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TopicRoute {
    /// One per broker name.
    pub queues: Vec<QueueRoute>,
    /// The addresses behind those names.
    pub brokers: Vec<BrokerAddresses>,
    /// `brokerA:4;brokerB:4` for an ordered topic; empty for none.
    pub order_conf: String,
}

/// One broker's queues of a topic. (In RocketMQ, `QueueData`.)
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueRoute {
    /// The broker's name.
    pub broker_name: String,
    /// Queues 0 up to this one can be read.
    pub read_queues: i32,
    /// Queues 0 up to this one can be written.
    pub write_queues: i32,
    /// See [`permission`].
    pub permission: i32,
    /// Unit flags.
    pub topic_sys_flag: i32,
}

/// The addresses behind one broker name. (In RocketMQ, `BrokerData`.)
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BrokerAddresses {
    /// The cluster's name.
    pub cluster: String,
    /// The broker's name.
    pub broker_name: String,
    /// `host:port` by broker id; 0 is the one that takes writes. An address must not contain a
    /// comma, because Go clients split the raw text there.
    pub addresses: BTreeMap<u64, String>,
}

impl TopicRoute {
    /// Reads the answer's body.
    pub fn decode(body: &[u8]) -> Result<Self, BodyError> {
        let json = Json::parse_answer(body)?;
        let root = json.root();
        Ok(Self {
            queues: root.items_of("queueDatas").map(QueueRoute::read).collect::<Result<_, _>>()?,
            brokers: root.items_of("brokerDatas").map(BrokerAddresses::read).collect(),
            order_conf: root.text_of("orderTopicConf").to_owned(),
        })
    }
}

impl Answer for TopicRoute {
    fn body(&self, out: &mut Vec<u8>) {
        ObjectWriter::write(out, |object| {
            object.list("brokerDatas", &self.brokers, |out, broker| {
                ObjectWriter::write(out, |object| broker.write(object));
            });
            object.object("filterServerTable", |_| {});
            // Clients test this for null or empty.
            if !self.order_conf.is_empty() {
                object.text("orderTopicConf", &self.order_conf);
            }
            object.list("queueDatas", &self.queues, |out, queues| queues.write(out));
        });
    }
}

impl QueueRoute {
    fn read(node: Node<'_>) -> Result<Self, BodyError> {
        let flag = node.int_of("topicSysFlag").or_else(|| node.int_of("topicSynFlag"));
        Ok(Self {
            broker_name: node.text_of("brokerName").to_owned(),
            read_queues: node.int_of("readQueueNums").ok_or(BodyError::Missing("readQueueNums"))?,
            write_queues: node
                .int_of("writeQueueNums")
                .ok_or(BodyError::Missing("writeQueueNums"))?,
            permission: node.int_of("perm").ok_or(BodyError::Missing("perm"))?,
            topic_sys_flag: flag.unwrap_or(0),
        })
    }

    fn write(&self, out: &mut Vec<u8>) {
        let flag = i64::from(self.topic_sys_flag);
        ObjectWriter::write(out, |object| {
            object.text("brokerName", &self.broker_name);
            object.int("perm", i64::from(self.permission));
            object.int("readQueueNums", i64::from(self.read_queues));
            // The second spelling is that of Go and of Java up to 4.8.
            object.int("topicSynFlag", flag).int("topicSysFlag", flag);
            object.int("writeQueueNums", i64::from(self.write_queues));
        });
    }
}

impl BrokerAddresses {
    fn read(node: Node<'_>) -> Self {
        let addresses = node.get("brokerAddrs").into_iter().flat_map(Node::members);
        Self {
            cluster: node.text_of("cluster").to_owned(),
            broker_name: node.text_of("brokerName").to_owned(),
            addresses: addresses
                .filter_map(|(id, address)| Some((id.parse().ok()?, address.text()?.to_owned())))
                .collect(),
        }
    }

    pub(crate) fn write(&self, object: &mut ObjectWriter<'_>) {
        object.object("brokerAddrs", |inner| {
            for (id, address) in &self.addresses {
                inner.text(&id.to_string(), address);
            }
        });
        object.text("brokerName", &self.broker_name).text("cluster", &self.cluster);
        object.flag("enableActingMaster", false);
    }
}

/// All brokers by name, and the names by cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClusterInfo {
    /// The addresses by broker name.
    pub brokers: BTreeMap<String, BrokerAddresses>,
    /// The broker names by cluster.
    pub clusters: BTreeMap<String, Vec<String>>,
}

impl ClusterInfo {
    /// Reads the answer's body.
    pub fn decode(body: &[u8]) -> Result<Self, BodyError> {
        let json = Json::parse_answer(body)?;
        let root = json.root();
        let brokers = root.get("brokerAddrTable").into_iter().flat_map(Node::members);
        let clusters = root.get("clusterAddrTable").into_iter().flat_map(Node::members);
        Ok(Self {
            brokers: brokers
                .map(|(name, node)| (name.to_owned(), BrokerAddresses::read(node)))
                .collect(),
            clusters: clusters
                .map(|(name, node)| {
                    let names = node.items().filter_map(Node::text);
                    (name.to_owned(), names.map(str::to_owned).collect())
                })
                .collect(),
        })
    }
}

impl Answer for ClusterInfo {
    fn body(&self, out: &mut Vec<u8>) {
        ObjectWriter::write(out, |object| {
            object.object("brokerAddrTable", |table| {
                for (name, broker) in &self.brokers {
                    table.object(name, |inner| broker.write(inner));
                }
            });
            object.object("clusterAddrTable", |table| {
                for (name, brokers) in &self.clusters {
                    table.list(name, brokers, |out, broker| push_text(out, broker));
                }
            });
        });
    }
}

#[cfg(test)]
mod tests;
