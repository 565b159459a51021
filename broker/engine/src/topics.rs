use std::collections::BTreeMap;

use millrace_store::QueueNo;
use millrace_types::{QueueId, TopicName, is_system_topic};

/// A topic on this broker. (In RocketMQ, `TopicConfig`.)
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topic {
    /// Its name.
    pub name: TopicName,
    /// Queues that consumers read.
    pub read_queues: u32,
    /// Queues that producers write.
    pub write_queues: u32,
    /// What is allowed.
    pub permission: Permission,
    /// Whether it is an ordered topic. That is for tools; nothing here goes by it.
    pub order: bool,
}

/// What a topic allows. The wire's bits: 4 reads, 2 writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Permission {
    /// Messages may be pulled.
    pub read: bool,
    /// Messages may be sent.
    pub write: bool,
}

impl Permission {
    /// Both.
    pub const ALL: Self = Self { read: true, write: true };

    /// The wire's bits.
    pub fn to_bits(self) -> u32 {
        u32::from(self.read) * 4 + u32::from(self.write) * 2
    }

    /// Reads the wire's bits.
    pub fn from_bits(bits: u32) -> Self {
        Self { read: bits & 4 != 0, write: bits & 2 != 0 }
    }
}

/// Which topics there are. (In RocketMQ, `TopicConfigManager`.)
#[derive(Debug, Default)]
pub(crate) struct Topics {
    known: BTreeMap<TopicName, (Topic, Vec<QueueNo>)>,
    /// Counts changes.
    version: u64,
    /// Queues of all topics but the broker's own.
    queues: usize,
}

impl Topics {
    pub(crate) fn get(&self, name: &str) -> Option<&Topic> {
        self.known.get(name).map(|(topic, _)| topic)
    }

    /// A topic and the store's numbers for its queues.
    pub(crate) fn find(&self, name: &str) -> Option<(&Topic, &[QueueNo])> {
        self.known.get(name).map(|(topic, numbers)| (topic, &**numbers))
    }

    /// The store's number for one of a topic's queues.
    pub(crate) fn queue(&self, name: &str, queue: QueueId) -> Option<QueueNo> {
        self.known.get(name)?.1.get(queue.0 as usize).copied()
    }

    /// Adds or replaces a topic; `queues` has one number per queue.
    pub(crate) fn put(&mut self, topic: Topic, queues: Vec<QueueNo>) {
        self.remove(&topic.name);
        self.queues += if is_system_topic(&topic.name) { 0 } else { queues.len() };
        self.known.insert(topic.name.clone(), (topic, queues));
    }

    pub(crate) fn remove(&mut self, name: &TopicName) {
        self.version += 1;
        if let Some((_, before)) = self.known.remove(name) {
            self.queues -= if is_system_topic(name) { 0 } else { before.len() };
        }
    }

    /// Queues of all topics but the broker's own.
    pub(crate) fn queues(&self) -> usize {
        self.queues
    }

    /// Counts changes, so that name servers can be told of them.
    pub(crate) fn version(&self) -> u64 {
        self.version
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Topic> {
        self.known.values().map(|(topic, _)| topic)
    }

    /// All topics with the store's numbers for their queues.
    pub(crate) fn iter_queues(&self) -> impl Iterator<Item = (&Topic, &[QueueNo])> {
        self.known.values().map(|(topic, numbers)| (topic, &**numbers))
    }
}
