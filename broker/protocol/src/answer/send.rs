use std::borrow::Cow;

use millrace_types::{QueueId, QueueOffset};

use super::{Answer, AnswerError, Refused};
use crate::fields::fields;
use crate::{FieldText, FieldValue, FieldWriter, Header, OffsetMessageId, ResponseCode};

/// How well a message is kept. In all four cases it *is* stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SendStatus {
    /// As well as was asked for.
    Ok,
    /// Not known to be on disk in time.
    FlushDiskTimeout,
    /// Not confirmed by a replica in time.
    FlushSlaveTimeout,
    /// There is no replica to confirm it.
    SlaveNotAvailable,
}

impl SendStatus {
    fn code(self) -> ResponseCode {
        match self {
            Self::Ok => ResponseCode::SUCCESS,
            Self::FlushDiskTimeout => ResponseCode::FLUSH_DISK_TIMEOUT,
            Self::FlushSlaveTimeout => ResponseCode::FLUSH_SLAVE_TIMEOUT,
            Self::SlaveNotAvailable => ResponseCode::SLAVE_NOT_AVAILABLE,
        }
    }

    fn of(code: ResponseCode) -> Option<Self> {
        let all =
            [Self::Ok, Self::FlushDiskTimeout, Self::FlushSlaveTimeout, Self::SlaveNotAvailable];
        all.into_iter().find(|status| status.code() == code)
    }
}

/// The ids of the messages that were sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MessageIds<'a> {
    /// Of a single message.
    One(OffsetMessageId),
    /// Of a batch, in order.
    Many(&'a [OffsetMessageId]),
    /// As they were received: separated by commas.
    Text(Cow<'a, str>),
}

impl<'a> FieldValue<'a> for MessageIds<'a> {
    fn read(text: FieldText<'a>) -> Option<Self> {
        text.text().map(Self::Text)
    }

    fn write(&self, name: &str, to: &mut FieldWriter<'_>) {
        match self {
            Self::One(id) => to.message_ids(name, std::slice::from_ref(id)),
            Self::Many(ids) => to.message_ids(name, ids),
            Self::Text(text) => to.text(name, text),
        }
    }
}

impl MessageIds<'_> {
    fn borrowed(&self) -> MessageIds<'_> {
        match self {
            Self::One(id) => MessageIds::One(*id),
            Self::Many(ids) => MessageIds::Many(ids),
            Self::Text(text) => MessageIds::Text(Cow::Borrowed(text)),
        }
    }

    /// The ids that can be read.
    pub fn iter(&self) -> impl Iterator<Item = OffsetMessageId> + '_ {
        let (known, text) = match self {
            Self::One(id) => (std::slice::from_ref(id), ""),
            Self::Many(ids) => (*ids, ""),
            Self::Text(text) => (&[][..], &**text),
        };
        known.iter().copied().chain(text.split(',').filter_map(OffsetMessageId::parse))
    }
}

/// The answer to a send. (In RocketMQ, `SendMessageResponseHeader`.)
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SendAnswer<'a> {
    /// How well the message is kept.
    pub status: SendStatus,
    /// The ids.
    pub message_ids: MessageIds<'a>,
    /// The queue that was used.
    pub queue_id: QueueId,
    /// The offset of the message, or of the first one of a batch.
    pub queue_offset: QueueOffset,
    /// The client-made id of the message.
    pub transaction_id: Option<Cow<'a, str>>,
}

impl<'a> SendAnswer<'a> {
    /// Reads the answer's header.
    pub fn decode(header: &Header<'a>) -> Result<Self, AnswerError> {
        let status = SendStatus::of(header.response_code())
            .ok_or_else(|| AnswerError::Refused(Refused::of(header)))?;
        let read: SendFields<'a> = header.fields.read()?;
        Ok(Self {
            status,
            message_ids: read.message_ids,
            queue_id: read.queue_id,
            queue_offset: read.queue_offset,
            transaction_id: read.transaction_id,
        })
    }
}

fields! {
    struct SendFields<'a> {
        message_ids: MessageIds<'a> = "msgId",
        queue_id: QueueId = "queueId",
        queue_offset: QueueOffset = "queueOffset",
        transaction_id: Option<Cow<'a, str>> = "transactionId",
    }
}

impl Answer for SendAnswer<'_> {
    fn code(&self) -> ResponseCode {
        self.status.code()
    }

    fn fields(&self, to: &mut FieldWriter<'_>) {
        let transaction_id = self.transaction_id.as_deref().map(Cow::Borrowed);
        let message_ids = self.message_ids.borrowed();
        let Self { queue_id, queue_offset, .. } = *self;
        SendFields { message_ids, queue_id, queue_offset, transaction_id }.write_fields(to);
        to.text("MSG_REGION", "DefaultRegion");
        // Anything else makes clients send trace messages to a topic that need not exist.
        to.text("TRACE_ON", "false");
    }
}
