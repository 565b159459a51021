use std::borrow::Cow;

use millrace_types::{PhysicalOffset, QueueId, QueueOffset};

use super::calls;
use crate::fields::fields;
use crate::{Call, FieldText, FieldValue, FieldWriter, Fields, FieldsError, RequestCode};

/// One message, or a batch of messages for one queue. (In RocketMQ, `SendMessageRequestHeader`,
/// whose fields have long names, and `SendMessageRequestHeaderV2`, whose names are one letter;
/// both are read, the short ones are written.)
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SendMessage<'a> {
    /// `producerGroup`, `a`; empty if the client did not say.
    pub producer_group: Cow<'a, str>,
    /// `topic`, `b`.
    pub topic: Cow<'a, str>,
    /// `defaultTopic`, `c`: the template if the topic must be created; empty for none.
    pub default_topic: Cow<'a, str>,
    /// `defaultTopicQueueNums`, `d`: queues the client wishes for a created topic.
    pub default_topic_queues: i32,
    /// `queueId`, `e`: `None` (negative on the wire) if the broker chooses.
    pub queue_id: Option<QueueId>,
    /// `sysFlag`, `f`: compression and transaction bits.
    pub sys_flag: i32,
    /// `bornTimestamp`, `g`, ms.
    pub born_at_ms: i64,
    /// `flag`, `h`: the producer's own.
    pub flag: i32,
    /// `properties`, `i`: encoded as in a record.
    pub properties: Cow<'a, str>,
    /// `reconsumeTimes`, `j`.
    pub reconsume_times: i32,
    /// `unitMode`, `k`.
    pub unit_mode: bool,
    /// `maxReconsumeTimes`, `l`: means something for retry topics only.
    pub max_reconsume_times: Option<i32>,
    /// `batch`, `m`: the body holds several messages; see [`crate::batch_items`].
    pub batch: bool,
    /// The body: a payload, or the items of a batch.
    pub body: &'a [u8],
}

impl<'a> SendMessage<'a> {
    /// A message that lets the broker choose the queue and has no properties.
    pub fn new(topic: &'a str, body: &'a [u8]) -> Self {
        Self {
            producer_group: Cow::Borrowed(""),
            topic: Cow::Borrowed(topic),
            default_topic: Cow::Borrowed(""),
            default_topic_queues: 4,
            queue_id: None,
            sys_flag: 0,
            born_at_ms: 0,
            flag: 0,
            properties: Cow::Borrowed(""),
            reconsume_times: 0,
            unit_mode: false,
            max_reconsume_times: None,
            batch: false,
            body,
        }
    }

    pub(super) fn decode(fields: &Fields<'a>, body: &'a [u8]) -> Result<Self, FieldsError> {
        let mut sent = Self::unread(body);
        for pair in fields.iter() {
            let (name, value) = pair?;
            if let Some(letter) = letter(name) {
                sent.read(letter, value)?;
            }
        }
        sent.check()?;
        Ok(sent)
    }

    /// A message that no field of the header was read of.
    pub(super) fn unread(body: &'a [u8]) -> Self {
        Self { queue_id: Some(QUEUE_MISSING), ..Self::new("", body) }
    }

    /// Reads the field with this short name.
    #[inline]
    pub(super) fn read(&mut self, name: u8, value: FieldText<'a>) -> Result<(), FieldsError> {
        match name {
            b'a' => self.producer_group = text(value, "producerGroup")?,
            b'b' => self.topic = text(value, "topic")?,
            b'c' => self.default_topic = text(value, "defaultTopic")?,
            b'd' => self.default_topic_queues = int(value, "defaultTopicQueueNums")?,
            b'e' => {
                let id: i32 = int(value, "queueId")?;
                self.queue_id = u32::try_from(id).ok().map(QueueId);
            }
            b'f' => self.sys_flag = int(value, "sysFlag")?,
            b'g' => self.born_at_ms = int(value, "bornTimestamp")?,
            b'h' => self.flag = int(value, "flag")?,
            b'i' => self.properties = text(value, "properties")?,
            b'j' => self.reconsume_times = int(value, "reconsumeTimes")?,
            b'k' => self.unit_mode = value.flag(),
            b'l' => self.max_reconsume_times = Some(int(value, "maxReconsumeTimes")?),
            b'm' => self.batch = value.flag(),
            _ => {}
        }
        Ok(())
    }

    /// Whether everything was there that must be.
    pub(super) fn check(&self) -> Result<(), FieldsError> {
        if self.topic.is_empty() {
            return Err(FieldsError::Missing("topic"));
        }
        if self.queue_id == Some(QUEUE_MISSING) {
            return Err(FieldsError::Missing("queueId"));
        }
        Ok(())
    }
}

/// Stands for a field that was not there; no `queueId` on the wire is so large.
const QUEUE_MISSING: QueueId = QueueId(u32::MAX);

/// The long names, in the order of the short ones from `a` on.
const LONG_NAMES: [&str; 13] = [
    "producerGroup",
    "topic",
    "defaultTopic",
    "defaultTopicQueueNums",
    "queueId",
    "sysFlag",
    "bornTimestamp",
    "flag",
    "properties",
    "reconsumeTimes",
    "unitMode",
    "maxReconsumeTimes",
    "batch",
];

/// The short name of a field.
fn letter(name: &[u8]) -> Option<u8> {
    if let [letter] = name {
        return Some(*letter);
    }
    let known = LONG_NAMES.iter().position(|long| long.as_bytes() == name)?;
    Some(b'a' + u8::try_from(known).ok()?)
}

fn text<'a>(value: FieldText<'a>, name: &'static str) -> Result<Cow<'a, str>, FieldsError> {
    value.text().ok_or(FieldsError::Invalid(name))
}

fn int<N: TryFrom<i64>>(value: FieldText<'_>, name: &'static str) -> Result<N, FieldsError> {
    value.int().ok_or(FieldsError::Invalid(name))
}

impl Call for SendMessage<'_> {
    fn code(&self) -> RequestCode {
        if self.batch { RequestCode::SEND_BATCH_MESSAGE } else { RequestCode::SEND_MESSAGE_V2 }
    }

    fn fields(&self, to: &mut FieldWriter<'_>) {
        to.text("a", &self.producer_group);
        to.text("b", &self.topic);
        to.text("c", &self.default_topic);
        to.int("d", i64::from(self.default_topic_queues));
        to.int("e", self.queue_id.map_or(-1, |id| i64::from(id.0)));
        to.int("f", i64::from(self.sys_flag));
        to.int("g", self.born_at_ms);
        to.int("h", i64::from(self.flag));
        to.text("i", &self.properties);
        to.int("j", i64::from(self.reconsume_times));
        self.unit_mode.write("k", to);
        self.max_reconsume_times.write("l", to);
        self.batch.write("m", to);
    }

    fn body(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.body);
    }
}

fields! {
    /// A message whose consumption failed, to be delivered again later. (In RocketMQ,
    /// `ConsumerSendMsgBackRequestHeader`.)
    pub struct SendBack<'a> {
        /// Where the message lies.
        physical_offset: PhysicalOffset = "offset",
        /// Whose consumption failed.
        group: Cow<'a, str> = "group",
        /// Delay level; 0 lets the broker choose, negative asks for the dead-letter topic.
        delay_level: i32 = "delayLevel" or 0,
        /// The id the client saw.
        origin_message_id: Option<Cow<'a, str>> = "originMsgId",
        /// The topic the client saw.
        origin_topic: Option<Cow<'a, str>> = "originTopic",
        /// Unused.
        unit_mode: bool = "unitMode" or false,
        /// The client's own limit.
        max_reconsume_times: Option<i32> = "maxReconsumeTimes",
    }
}

fields! {
    /// The fate of a half message. (In RocketMQ, `EndTransactionRequestHeader`.)
    pub struct EndTransaction<'a> {
        /// The message's topic; 4.x clients leave it out.
        topic: Option<Cow<'a, str>> = "topic",
        /// Whose transaction it was.
        producer_group: Cow<'a, str> = "producerGroup",
        /// Where the half message stands in its own queue.
        half_queue_offset: QueueOffset = "tranStateTableOffset",
        /// Where the half message lies.
        physical_offset: PhysicalOffset = "commitLogOffset",
        /// 8 commits, 12 rolls back, 0 leaves it open.
        decision: i32 = "commitOrRollback",
        /// Whether this answers the broker's own question.
        from_check: bool = "fromTransactionCheck" or false,
        /// The client-made id.
        message_id: Option<Cow<'a, str>> = "msgId",
        /// The transaction id.
        transaction_id: Option<Cow<'a, str>> = "transactionId",
    }
}

calls! {
    SendBack<'a> = CONSUMER_SEND_MSG_BACK,
    EndTransaction<'a> = END_TRANSACTION,
}
