use std::borrow::Cow;

use millrace_types::{PhysicalOffset, QueueOffset};

use super::{GroupChanged, OfMember, OfSubscription};
use crate::fields::fields;
use crate::json::{ObjectWriter, push_list};
use crate::wire::push_decimal;
use crate::{
    Answer, Call, FieldWriter, Header, MessageQueue, MovedTo, RequestCode, RequestError,
    Subscription,
};

/// What a broker asks of a client, over the connection of its heartbeats.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FromBroker<'a> {
    /// Code 40: the members or the subscriptions of a group have changed.
    GroupChanged(GroupChanged<'a>),
    /// Code 220: go on from these offsets.
    StartFrom(OfSubscription<'a>, MovedTo),
    /// Code 221: how far are you? The answer is [`ConsumedUpTo`].
    HowFar(OfSubscription<'a>),
    /// Code 307: how are you? The answer is [`ConsumerState`].
    HowAreYou(OfMember<'a>),
    /// Code 309: consume the message in the body. The answer is [`ConsumedDirectly`].
    ConsumeThis(ConsumeThis<'a>),
    /// Anything else; answered with 3.
    Unknown(RequestCode),
}

fields! {
    /// A message is to be consumed by one member. (In RocketMQ,
    /// `ConsumeMessageDirectlyResultRequestHeader`.)
    pub struct ConsumeThis<'a> {
        /// Which group.
        group: Cow<'a, str> = "consumerGroup",
        /// The name of the broker that holds the message.
        broker_name: Option<Cow<'a, str>> = "brokerName",
    }
}

fields! {
    /// Where a half message is, of which a producer is asked what is to become of it. (In RocketMQ,
    /// `CheckTransactionStateRequestHeader`.)
    pub struct HalfMessage<'a> {
        /// The topic that it is for.
        topic: Option<Cow<'a, str>> = "topic",
        /// Where it stands in its own queue.
        half_queue_offset: QueueOffset = "tranStateTableOffset",
        /// Where it lies.
        physical_offset: PhysicalOffset = "commitLogOffset",
        /// The id that its producer made.
        message_id: Option<Cow<'a, str>> = "msgId",
        /// The transaction id, which is the same.
        transaction_id: Option<Cow<'a, str>> = "transactionId",
        /// The id by its place.
        offset_message_id: Option<Cow<'a, str>> = "offsetMsgId",
        /// Who asks.
        broker_name: Option<Cow<'a, str>> = "bname",
    }
}

/// Code 39, oneway: what is to become of a half message? The answer is an
/// [`EndTransaction`](crate::EndTransaction).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckTransaction<'a> {
    /// Where it is.
    pub half: HalfMessage<'a>,
    /// The message as a stored record, in the queue that it is for.
    pub record: &'a [u8],
}

impl Call for CheckTransaction<'_> {
    fn code(&self) -> RequestCode {
        RequestCode::CHECK_TRANSACTION_STATE
    }

    fn fields(&self, to: &mut FieldWriter<'_>) {
        self.half.write_fields(to);
    }

    fn body(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.record);
    }
}

fields! {
    /// A reply, for the producer that waits for it. (In RocketMQ, `ReplyMessageRequestHeader`.)
    pub struct ReplyFields<'a> {
        /// The group of who replied.
        producer_group: Cow<'a, str> = "producerGroup",
        /// The topic of replies.
        topic: Cow<'a, str> = "topic",
        /// As the reply had it.
        default_topic: Cow<'a, str> = "defaultTopic",
        /// As the reply had it.
        default_topic_queues: i32 = "defaultTopicQueueNums",
        /// As the reply had it.
        queue_id: i32 = "queueId",
        /// Compression bits.
        sys_flag: i32 = "sysFlag",
        /// When it was made, ms.
        born_at_ms: i64 = "bornTimestamp",
        /// The replier's own.
        flag: i32 = "flag",
        /// Encoded as in a record.
        properties: Option<Cow<'a, str>> = "properties",
        /// As the reply had it.
        reconsume_times: i32 = "reconsumeTimes" or 0,
        /// Unused.
        unit_mode: bool = "unitMode" or false,
        /// Who replied, `ip:port`.
        born_host: Cow<'a, str> = "bornHost",
        /// The broker, `ip:port`.
        store_host: Cow<'a, str> = "storeHost",
        /// When it passed the broker, ms.
        store_at_ms: i64 = "storeTimestamp",
    }
}

/// Code 326: a reply; the producer answers whether somebody waits for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PushReply<'a> {
    /// What it is.
    pub fields: ReplyFields<'a>,
    /// The payload.
    pub body: &'a [u8],
}

impl Call for PushReply<'_> {
    fn code(&self) -> RequestCode {
        RequestCode::PUSH_REPLY_MESSAGE_TO_CLIENT
    }

    fn fields(&self, to: &mut FieldWriter<'_>) {
        self.fields.write_fields(to);
    }

    fn body(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.body);
    }
}

impl<'a> FromBroker<'a> {
    /// Understands a broker's request by its header and body.
    pub fn decode(header: &Header<'a>, body: &'a [u8]) -> Result<Self, RequestError> {
        let fields = &header.fields;
        Ok(match header.request_code() {
            RequestCode::NOTIFY_CONSUMER_IDS_CHANGED => Self::GroupChanged(fields.read()?),
            RequestCode::RESET_CONSUMER_CLIENT_OFFSET => {
                Self::StartFrom(fields.read()?, MovedTo::decode(body)?)
            }
            RequestCode::GET_CONSUMER_STATUS_FROM_CLIENT => Self::HowFar(fields.read()?),
            RequestCode::GET_CONSUMER_RUNNING_INFO => Self::HowAreYou(fields.read()?),
            RequestCode::CONSUME_MESSAGE_DIRECTLY => Self::ConsumeThis(fields.read()?),
            other => Self::Unknown(other),
        })
    }
}

/// How far a client is in each of its queues. (In RocketMQ, `GetConsumerStatusBody`.)
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConsumedUpTo(pub Vec<(MessageQueue, QueueOffset)>);

impl Answer for ConsumedUpTo {
    fn body(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"consumerTable\":{},\"messageQueueTable\":{");
        for (n, (queue, offset)) in self.0.iter().enumerate() {
            if n > 0 {
                out.push(b',');
            }
            queue.write(out);
            out.push(b':');
            push_decimal(out, offset.to_wire());
        }
        out.extend_from_slice(b"}}");
    }
}

/// How a consumer is. (In RocketMQ, `ConsumerRunningInfo`.)
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConsumerState {
    /// Its settings, by the names that tools know.
    pub properties: Vec<(&'static str, String)>,
    /// What it wants.
    pub subscriptions: Vec<Subscription>,
    /// Its queues.
    pub queues: Vec<QueueState>,
}

/// How a consumer is in one queue. (In RocketMQ, `ProcessQueueInfo`.)
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueState {
    /// Which queue.
    pub queue: MessageQueue,
    /// What it would commit.
    pub committed: QueueOffset,
    /// Messages that are here and not done with.
    pub open: usize,
    /// Their bytes.
    pub open_bytes: usize,
    /// Whether it holds the queue's lock.
    pub locked: bool,
    /// When it last pulled, ms.
    pub pulled_at_ms: i64,
}

impl Answer for ConsumerState {
    fn body(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"mqPopTable\":{},\"mqTable\":{");
        for (n, state) in self.queues.iter().enumerate() {
            if n > 0 {
                out.push(b',');
            }
            state.queue.write(out);
            out.push(b':');
            let mib = i64::try_from(state.open_bytes >> 20).unwrap_or(i64::MAX);
            ObjectWriter::write(out, |object| {
                object.int("cachedMsgCount", i64::try_from(state.open).unwrap_or(i64::MAX));
                object.int("cachedMsgMaxOffset", 0).int("cachedMsgMinOffset", 0);
                object.int("cachedMsgSizeInMiB", mib);
                object.int("commitOffset", state.committed.to_wire());
                // RocketMQ's own spelling.
                object.flag("droped", false).int("lastConsumeTimestamp", 0);
                object.int("lastLockTimestamp", 0).int("lastPullTimestamp", state.pulled_at_ms);
                object.flag("locked", state.locked).int("transactionMsgCount", 0);
                object.int("transactionMsgMaxOffset", 0).int("transactionMsgMinOffset", 0);
                object.int("tryUnlockTimes", 0);
            });
        }
        out.extend_from_slice(b"},\"properties\":");
        ObjectWriter::write(out, |object| {
            for (name, value) in &self.properties {
                object.text(name, value);
            }
        });
        out.extend_from_slice(b",\"statusTable\":{},\"subscriptionSet\":");
        push_list(out, &self.subscriptions, |out, subscription| {
            ObjectWriter::write(out, |object| subscription.write(object));
        });
        out.extend_from_slice(b",\"userConsumerInfo\":{}}");
    }
}

/// What came of a message that was to be consumed directly. (In RocketMQ,
/// `ConsumeMessageDirectlyResult`.)
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsumedDirectly {
    /// Whether it was consumed; else it would be delivered again later.
    pub success: bool,
    /// Whether the consumer keeps an order.
    pub in_order: bool,
    /// How long it took, ms.
    pub took_ms: i64,
}

impl Answer for ConsumedDirectly {
    fn body(&self, out: &mut Vec<u8>) {
        ObjectWriter::write(out, |object| {
            object.flag("autoCommit", true);
            object.text("consumeResult", if self.success { "CR_SUCCESS" } else { "CR_LATER" });
            object.flag("order", self.in_order).text("remark", "");
            object.int("spentTimeMills", self.took_ms);
        });
    }
}

#[cfg(test)]
mod tests {
    use millrace_types::QueueId;

    use super::*;
    use crate::{CallMode, Frame, FrameWriter, Head, HeaderKind, Limits, Split};

    fn queue() -> MessageQueue {
        MessageQueue { topic: "T1".into(), broker_name: "b-a".into(), queue_id: QueueId(0) }
    }

    #[track_caller]
    fn check(code: RequestCode, fields: &[(&str, &str)], body: &[u8], expected: FromBroker<'_>) {
        let mut bytes = Vec::new();
        let head = Head::request(HeaderKind::Json, code, 1, CallMode::Oneway);
        let mut frame = FrameWriter::begin(&mut bytes, &head, |to| {
            for (name, value) in fields {
                to.text(name, value);
            }
        });
        frame.out().extend_from_slice(body);
        frame.finish();
        let Ok(Split::Frame(frame, _)) = Frame::split(&bytes, &Limits::default()) else {
            panic!("no frame");
        };
        let header = frame.header().unwrap();
        assert_eq!(FromBroker::decode(&header, frame.body), Ok(expected));
    }

    #[test]
    fn what_a_broker_asks_is_understood() {
        let group = ("consumerGroup", "G");
        let changed = FromBroker::GroupChanged(GroupChanged { group: "G".into() });
        check(RequestCode::NOTIFY_CONSUMER_IDS_CHANGED, &[group], b"", changed);
        let this = ConsumeThis { group: "G".into(), broker_name: Some("b-a".into()) };
        check(
            RequestCode::CONSUME_MESSAGE_DIRECTLY,
            &[group, ("clientId", "c@1"), ("brokerName", "b-a")],
            b"",
            FromBroker::ConsumeThis(this),
        );
        let place = [("group", "G"), ("topic", "T1"), ("timestamp", "5"), ("isForce", "true")];
        let body = br#"{"offsetTable":{{"brokerName":"b-a","queueId":0,"topic":"T1"}:5}}"#;
        let of = OfSubscription { group: "G".into(), topic: "T1".into() };
        let moved = MovedTo(vec![(queue(), QueueOffset(5))]);
        let expected = FromBroker::StartFrom(of.clone(), moved);
        check(RequestCode::RESET_CONSUMER_CLIENT_OFFSET, &place, body, expected);
        let expected = FromBroker::HowFar(of);
        check(RequestCode::GET_CONSUMER_STATUS_FROM_CLIENT, &place, b"", expected);
        let expected = FromBroker::Unknown(RequestCode(39));
        check(RequestCode(39), &[], b"", expected);
    }

    #[test]
    fn answers_are_as_tools_read_them() {
        let text = |answer: &dyn Answer| {
            let mut out = Vec::new();
            answer.body(&mut out);
            String::from_utf8(out).unwrap()
        };
        assert_eq!(
            text(&ConsumedUpTo(vec![(queue(), QueueOffset(5))])),
            r#"{"consumerTable":{},"messageQueueTable":{{"brokerName":"b-a","queueId":0,"topic":"T1"}:5}}"#
        );
        let directly = ConsumedDirectly { success: true, in_order: false, took_ms: 3 };
        assert_eq!(
            text(&directly),
            r#"{"autoCommit":true,"consumeResult":"CR_SUCCESS","order":false,"remark":"","spentTimeMills":3}"#
        );
        let state = ConsumerState {
            properties: vec![("PROP_CONSUME_TYPE", "CONSUME_PASSIVELY".into())],
            ..ConsumerState::default()
        };
        assert_eq!(
            text(&state),
            r#"{"mqPopTable":{},"mqTable":{},"properties":{"PROP_CONSUME_TYPE":"CONSUME_PASSIVELY"},"statusTable":{},"subscriptionSet":[],"userConsumerInfo":{}}"#
        );
    }
}
