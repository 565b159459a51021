use millrace_types::QueueOffset;

use super::{Answer, AnswerError, Refused};
use crate::fields::fields;
use crate::{FieldWriter, FrameWriter, Head, Header, HeaderKind, ResponseCode};

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
    // In the order in which RocketMQ's binary headers have them.
    struct PullFields {
        suggested_broker: i64 = "suggestWhichBrokerId" or 0,
        next: QueueOffset = "nextBeginOffset",
        min: QueueOffset = "minOffset",
        max: QueueOffset = "maxOffset",
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
        PullFields { suggested_broker, next, min, max }.write_fields(to);
        // Topics and groups have no flags of their own here.
        to.text("topicSysFlag", "0");
        to.text("groupSysFlag", "0");
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
