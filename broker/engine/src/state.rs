use std::collections::BTreeMap;

use millrace_store::QueueNo;
use millrace_types::{GroupName, Properties, QueueId, QueueOffset, TopicName, keys};
use serde::{Deserialize, Serialize};

use crate::holds::{Loss, Place};
use crate::settings::Space;
use crate::topics::Topic;

/// The topic whose messages are the broker's own state (P6): topics and group offsets. One queue.
pub(crate) const META_TOPIC: &str = "MILLRACE_META";
/// The topic in which pipelines keep their ledgers, one queue each.
pub(crate) const LEDGER_TOPIC: &str = "MILLRACE_LEDGER";

/// One change of the broker's state: the JSON body of a message in [`META_TOPIC`]. Later records
/// win.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum StateRecord {
    /// A topic was created or changed.
    Topic {
        /// Its name.
        name: String,
        /// Queues that consumers read.
        read_queues: u32,
        /// Queues that producers write.
        write_queues: u32,
        /// The wire's permission bits.
        perm: u32,
        /// Whether it is an ordered topic. Left out if not, for programs that know nothing of it.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        order: bool,
    },
    /// Something that an administrator set; without a value it is gone.
    Setting {
        /// Whose it is.
        space: Space,
        /// Its name.
        key: String,
        /// What it is.
        value: Option<String>,
    },
    /// All of the state, as far as the batches that follow in the same group do not have it:
    /// whatever came before counts no more.
    Snapshot(Vec<StateRecord>),
    /// More of a snapshot.
    Batch(Vec<StateRecord>),
    /// What a queue goes on with, although its messages are gone.
    Queue {
        /// Topic.
        topic: String,
        /// Queue.
        queue: u32,
        /// The offset of its next message, or a later one.
        next: u64,
    },
    /// The highest epoch seen in a queue of the ledger.
    Epoch {
        /// Queue.
        queue: u32,
        /// Epoch.
        epoch: u64,
    },
    /// What a queue of the ledger lacks before an offset is lost, and somebody decided to go on
    /// without it.
    Forgone {
        /// Queue.
        queue: u32,
        /// Queue offset.
        below: u64,
    },
    /// A topic was deleted: what lies before a place of the log is not of a topic of that name.
    Deleted {
        /// Its name.
        topic: String,
        /// Physical offset.
        below: u64,
    },
    /// The next topic of a name that was deleted begins at these offsets, where its queues had
    /// messages.
    Begins {
        /// Its name.
        topic: String,
        /// Queue, and queue offset.
        queues: Vec<(u32, u64)>,
    },
    /// From where on somebody needs messages, as a queue of the ledger says.
    Hold {
        /// Queue of the ledger.
        ledger: u32,
        /// Whose it is within it.
        name: String,
        /// Topic, queue and offset.
        places: Vec<Place>,
    },
    /// How long the broker has run, and when by that clock segments became full.
    Clock {
        /// Milliseconds.
        ms: u64,
        /// First byte of a segment, and milliseconds.
        sealed: Vec<(u64, u64)>,
    },
    /// Messages that went unread.
    Lost(Loss),
    /// Half messages over which nobody has decided, and how often a producer was asked about each:
    /// all of those before `until`, or a part of them.
    Halves {
        /// Queue offset.
        until: u64,
        /// Queue offset, and how many questions.
        open: Vec<(u64, u32)>,
    },
    /// A half message needs no decision any more.
    Decided {
        /// Queue offset.
        half: u64,
    },
    /// A producer was asked about a half message.
    Checked {
        /// Queue offset.
        half: u64,
        /// How many times by now.
        checks: u32,
    },
    /// A group's next offset in a queue.
    Offset {
        /// Group.
        group: String,
        /// Topic.
        topic: String,
        /// Queue.
        queue: u32,
        /// The next offset to read.
        offset: u64,
    },
}

impl StateRecord {
    /// What a topic looks like.
    pub(crate) fn of_topic(topic: &Topic) -> Self {
        let Topic { name, read_queues, write_queues, permission, order } = topic;
        Self::Topic {
            name: name.to_string(),
            read_queues: *read_queues,
            write_queues: *write_queues,
            perm: permission.to_bits(),
            order: *order,
        }
    }

    /// The body of the message that keeps it.
    pub(crate) fn encode(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("a record of texts and numbers")
    }
}

/// How far each group has got. (In RocketMQ, `ConsumerOffsetManager`.)
#[derive(Debug, Default)]
pub(crate) struct GroupOffsets(BTreeMap<(GroupName, TopicName, QueueId), QueueOffset>);

impl GroupOffsets {
    pub(crate) fn iter(
        &self,
    ) -> impl Iterator<Item = (&GroupName, &TopicName, QueueId, QueueOffset)> {
        self.0.iter().map(|((group, topic, queue), offset)| (group, topic, *queue, *offset))
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn get(
        &self,
        group: &GroupName,
        topic: &TopicName,
        queue: QueueId,
    ) -> Option<QueueOffset> {
        self.0.get(&(group.clone(), topic.clone(), queue)).copied()
    }

    /// Forgets the offsets of all groups in a topic.
    pub(crate) fn forget_topic(&mut self, topic: &TopicName) {
        self.0.retain(|(_, known, _), _| known != topic);
    }

    /// Records an offset; tells whether it is news.
    pub(crate) fn put(
        &mut self,
        group: &GroupName,
        topic: &TopicName,
        queue: QueueId,
        offset: QueueOffset,
    ) -> bool {
        self.0.insert((group.clone(), topic.clone(), queue), offset) != Some(offset)
    }
}

/// What is lost of the ledgers and was accepted: in each queue everything that is missing before an
/// offset. The ledger itself cannot say so, because its records are its pipeline's.
#[derive(Debug, Default)]
pub(crate) struct Forgone(BTreeMap<QueueId, QueueOffset>);

impl Forgone {
    /// Before which offset a start need not miss anything.
    pub(crate) fn below(&self, queue: QueueId) -> QueueOffset {
        self.0.get(&queue).copied().unwrap_or_default()
    }

    /// Everything before this offset is accepted.
    pub(crate) fn raise(&mut self, queue: QueueId, below: QueueOffset) {
        let known = self.0.entry(queue).or_default();
        *known = below.max(*known);
    }
}

/// The epoch of each ledger queue: the highest `MR_EPOCH` of any message in it.
#[derive(Debug, Default)]
pub(crate) struct Epochs(BTreeMap<QueueNo, u64>);

impl Epochs {
    pub(crate) fn get(&self, queue: QueueNo) -> u64 {
        self.0.get(&queue).copied().unwrap_or(0)
    }

    /// Takes note of a message in a ledger queue.
    pub(crate) fn observe(&mut self, queue: QueueNo, properties: Properties<'_>) {
        let epoch = properties.get(keys::EPOCH).and_then(|epoch| epoch.parse::<u64>().ok());
        if let Some(epoch) = epoch {
            self.raise(queue, epoch);
        }
    }

    /// The epoch is at least this.
    pub(crate) fn raise(&mut self, queue: QueueNo, epoch: u64) {
        let known = self.0.entry(queue).or_default();
        *known = epoch.max(*known);
    }
}
