use std::borrow::Cow;

use millrace_types::{QueueId, QueueOffset};

use crate::fields::fields;
use crate::json::{BodyError, Json, Node, ObjectWriter, push_text};
use crate::{
    FieldText, FieldValue, FieldWriter, FieldsError, FrameWriter, Head, Header, HeaderKind,
    OffsetMessageId, ResponseCode,
};

/// What is sent back for a request. Never to a oneway one.
pub trait Answer {
    /// How the request went; success unless said otherwise.
    fn code(&self) -> ResponseCode {
        ResponseCode::SUCCESS
    }

    /// An error text or a diagnostic; none unless said otherwise.
    fn remark(&self) -> &str {
        ""
    }

    /// The header fields; none unless said otherwise.
    fn fields(&self, _to: &mut FieldWriter<'_>) {}

    /// The body; none unless said otherwise.
    fn body(&self, _out: &mut Vec<u8>) {}

    /// Appends the whole frame. `kind` and `opaque` are those of the request.
    fn write(&self, kind: HeaderKind, opaque: i32, out: &mut Vec<u8>) {
        let head = Head::answer(kind, self.code().0, opaque, self.remark());
        let mut frame = FrameWriter::begin(out, &head, |to| self.fields(to));
        self.body(frame.out());
        frame.finish();
    }
}

/// Why an answer is not what its request calls for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AnswerError {
    /// The peer refused.
    #[error("refused with {0}")]
    Refused(Refused),
    /// The header's fields are not those of the answer.
    #[error(transparent)]
    Fields(#[from] FieldsError),
    /// The body is not that of the answer.
    #[error(transparent)]
    Body(#[from] BodyError),
}

/// Done; there is nothing more to say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Done;

impl Done {
    /// Reads an answer of which only its code matters.
    pub fn decode(header: &Header<'_>) -> Result<Self, AnswerError> {
        success(header).map(|()| Self)
    }
}

impl Answer for Done {}

/// An error, for a person and for a program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// For the program.
    pub code: ResponseCode,
    /// For the person; cut after 4 KiB.
    pub remark: Cow<'static, str>,
}

impl Refused {
    /// An error answer.
    pub fn new(code: ResponseCode, remark: impl Into<Cow<'static, str>>) -> Self {
        Self { code, remark: remark.into() }
    }

    /// What the header of an answer says, taken as an error.
    pub fn of(header: &Header<'_>) -> Self {
        Self::new(header.response_code(), header.remark.clone().into_owned())
    }
}

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.code, self.remark)
    }
}

impl Answer for Refused {
    fn code(&self) -> ResponseCode {
        self.code
    }

    fn remark(&self) -> &str {
        &self.remark
    }
}

pub(crate) fn success(header: &Header<'_>) -> Result<(), AnswerError> {
    if header.response_code() == ResponseCode::SUCCESS {
        Ok(())
    } else {
        Err(AnswerError::Refused(Refused::of(header)))
    }
}

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

/// How a pull ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PullStatus {
    /// Records follow.
    Found,
    /// Nothing there yet.
    NotFound,
    /// Everything was filtered out; go on from the next offset.
    NothingMatched,
    /// The offset is outside the queue; start at the next offset.
    OffsetMoved,
}

impl PullStatus {
    fn code(self) -> ResponseCode {
        match self {
            Self::Found => ResponseCode::SUCCESS,
            Self::NotFound => ResponseCode::PULL_NOT_FOUND,
            Self::NothingMatched => ResponseCode::PULL_RETRY_IMMEDIATELY,
            Self::OffsetMoved => ResponseCode::PULL_OFFSET_MOVED,
        }
    }

    fn of(code: ResponseCode) -> Option<Self> {
        let all = [Self::Found, Self::NotFound, Self::NothingMatched, Self::OffsetMoved];
        all.into_iter().find(|status| status.code() == code)
    }

    fn remark(self) -> &'static str {
        match self {
            Self::Found => "FOUND",
            Self::NotFound => "OFFSET_OVERFLOW_ONE",
            Self::NothingMatched => "NO_MATCHED_MESSAGE",
            Self::OffsetMoved => "OFFSET_OVERFLOW_BADLY",
        }
    }
}

/// The head of the answer to a pull; records follow as the body if any were found. (In RocketMQ,
/// `PullMessageResponseHeader`.)
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PullAnswer {
    /// How it ended.
    pub status: PullStatus,
    /// Where to pull next.
    pub next: QueueOffset,
    /// The queue's start.
    pub min: QueueOffset,
    /// The queue's end.
    pub max: QueueOffset,
    /// The broker id to pull from next; 0 is the one that takes writes.
    pub suggested_broker: i64,
}

impl PullAnswer {
    /// Reads the answer's header.
    pub fn decode(header: &Header<'_>) -> Result<Self, AnswerError> {
        let status = PullStatus::of(header.response_code())
            .ok_or_else(|| AnswerError::Refused(Refused::of(header)))?;
        let read: PullFields = header.fields.read()?;
        Ok(Self {
            status,
            next: read.next,
            min: read.min,
            max: read.max,
            suggested_broker: read.suggested_broker,
        })
    }
}

fields! {
    struct PullFields {
        next: QueueOffset = "nextBeginOffset",
        min: QueueOffset = "minOffset",
        max: QueueOffset = "maxOffset",
        suggested_broker: i64 = "suggestWhichBrokerId" or 0,
    }
}

impl Answer for PullAnswer {
    fn code(&self) -> ResponseCode {
        self.status.code()
    }

    fn remark(&self) -> &str {
        self.status.remark()
    }

    fn fields(&self, to: &mut FieldWriter<'_>) {
        let Self { next, min, max, suggested_broker, .. } = *self;
        PullFields { next, min, max, suggested_broker }.write_fields(to);
    }
}

/// Appends the head of a pull's answer; the caller sends `body_len` bytes of records after it.
pub fn write_pull_head(
    answer: &PullAnswer,
    kind: HeaderKind,
    opaque: i32,
    body_len: usize,
    out: &mut Vec<u8>,
) {
    let head = Head::answer(kind, answer.code().0, opaque, answer.remark());
    FrameWriter::begin(out, &head, |to| answer.fields(to)).finish_with(body_len);
}

/// Answers that are header fields only, behind the code for success.
macro_rules! field_answers {
    ($($name:ident $(<$lt:lifetime>)?,)*) => {
        $(impl $(<$lt>)? $crate::Answer for $name $(<$lt>)? {
            fn fields(&self, to: &mut $crate::FieldWriter<'_>) {
                self.write_fields(to);
            }
        }

        impl $(<$lt>)? $name $(<$lt>)? {
            /// Reads the answer's header.
            pub fn decode(
                header: &$crate::answer::lifetime!(Header $($lt)?),
            ) -> Result<Self, $crate::AnswerError> {
                $crate::answer::success(header)?;
                Ok($crate::FromFields::from_fields(&header.fields)?)
            }
        })*
    };
}
macro_rules! lifetime {
    (Header $lt:lifetime) => { $crate::Header<$lt> };
    (Header) => { $crate::Header<'_> };
}
pub(crate) use {field_answers, lifetime};

fields! {
    /// An offset.
    pub struct OffsetAnswer {
        /// The offset.
        offset: QueueOffset = "offset",
    }
}

fields! {
    /// A time.
    pub struct TimestampAnswer {
        /// Milliseconds since the Unix epoch; -1 if there is no message.
        timestamp_ms: i64 = "timestamp",
    }
}

fields! {
    /// The head of the answer to a query by key; records follow as the body.
    pub struct QueryAnswer {
        /// When the index was last extended, ms.
        index_updated_at_ms: i64 = "indexLastUpdateTimestamp" or 0,
        /// Up to where the index goes.
        index_end: i64 = "indexLastUpdatePhyoffset" or 0,
    }
}

fields! {
    /// The answer to a heartbeat.
    pub struct HeartbeatAnswer {
        /// Whether heartbeats may leave out what has not changed.
        supports_v2: bool = "IS_SUPPORT_HEART_BEAT_V2" or false,
        /// Whether the subscriptions must be sent again.
        subscriptions_changed: bool = "IS_SUB_CHANGE" or true,
    }
}

field_answers! {
    OffsetAnswer,
    TimestampAnswer,
    QueryAnswer,
    HeartbeatAnswer,
}

/// The client ids of a group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConsumerList(pub Vec<String>);

impl ConsumerList {
    /// Reads the answer's body.
    pub fn decode(body: &[u8]) -> Result<Self, BodyError> {
        let json = Json::parse(body)?;
        let ids = json.root().items_of("consumerIdList").filter_map(Node::text);
        Ok(Self(ids.map(str::to_owned).collect()))
    }
}

impl Answer for ConsumerList {
    fn body(&self, out: &mut Vec<u8>) {
        ObjectWriter::write(out, |object| {
            object.list("consumerIdList", &self.0, |out, id| push_text(out, id));
        });
    }
}

#[cfg(test)]
mod tests;
