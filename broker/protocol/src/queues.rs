use millrace_types::QueueId;

use crate::json::{BodyError, Json, Node, ObjectWriter, push_list};
use crate::{Answer, Call, FieldWriter, RequestCode};

/// A queue as clients name it: unique over all brokers.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MessageQueue {
    /// Its topic.
    pub topic: String,
    /// The broker's name, not its address.
    pub broker_name: String,
    /// Its number.
    pub queue_id: QueueId,
}

impl MessageQueue {
    /// `None` unless all three parts are there.
    pub(crate) fn read(node: Node<'_>) -> Option<Self> {
        Some(Self {
            topic: node.get("topic")?.text()?.to_owned(),
            broker_name: node.text_of("brokerName").to_owned(),
            queue_id: QueueId(node.int_of("queueId")?),
        })
    }

    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        // The order of members matters where a queue is a map's key.
        ObjectWriter::write(out, |object| {
            object.text("brokerName", &self.broker_name);
            object.int("queueId", i64::from(self.queue_id.0)).text("topic", &self.topic);
        });
    }
}

fn read_queues(node: Node<'_>, name: &'static str) -> Result<Vec<MessageQueue>, BodyError> {
    node.items_of(name)
        .map(|item| MessageQueue::read(item).ok_or(BodyError::Missing(name)))
        .collect()
}

/// Queues that a client locks for its group, or gives back. (In RocketMQ, `LockBatchRequestBody`
/// and `UnlockBatchRequestBody`.)
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LockQueues {
    /// Whose lock it is.
    pub client_id: String,
    /// In which group.
    pub group: String,
    /// Which queues.
    pub queues: Vec<MessageQueue>,
}

impl LockQueues {
    pub(crate) fn decode(body: &[u8]) -> Result<Self, BodyError> {
        let json = Json::parse(body)?;
        let root = json.root();
        Ok(Self {
            client_id: root.text_of("clientId").to_owned(),
            group: root.text_of("consumerGroup").to_owned(),
            queues: read_queues(root, "mqSet")?,
        })
    }

    fn write_body(&self, out: &mut Vec<u8>) {
        ObjectWriter::write(out, |object| {
            object.text("clientId", &self.client_id).text("consumerGroup", &self.group);
            object.list("mqSet", &self.queues, |out, queue| queue.write(out));
            object.flag("onlyThisBroker", false);
        });
    }

    /// As a request to unlock; [`LockQueues`] itself is written as one to lock.
    pub fn unlock(&self) -> impl Call + '_ {
        Unlock(self)
    }
}

impl Call for LockQueues {
    fn code(&self) -> RequestCode {
        RequestCode::LOCK_BATCH_MQ
    }

    fn fields(&self, _to: &mut FieldWriter<'_>) {}

    fn body(&self, out: &mut Vec<u8>) {
        self.write_body(out);
    }
}

struct Unlock<'q>(&'q LockQueues);

impl Call for Unlock<'_> {
    fn code(&self) -> RequestCode {
        RequestCode::UNLOCK_BATCH_MQ
    }

    fn fields(&self, _to: &mut FieldWriter<'_>) {}

    fn body(&self, out: &mut Vec<u8>) {
        self.0.write_body(out);
    }
}

/// The queues that the client now holds. (In RocketMQ, `LockBatchResponseBody`.)
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LockedQueues(pub Vec<MessageQueue>);

impl LockedQueues {
    /// Reads the answer's body.
    pub fn decode(body: &[u8]) -> Result<Self, BodyError> {
        let json = Json::parse_answer(body)?;
        Ok(Self(read_queues(json.root(), "lockOKMQSet")?))
    }
}

impl Answer for LockedQueues {
    fn body(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"lockOKMQSet\":");
        push_list(out, &self.0, |out, queue| queue.write(out));
        out.push(b'}');
    }
}
