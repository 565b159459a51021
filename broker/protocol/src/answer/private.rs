use std::borrow::Cow;

use millrace_types::QueueOffset;

use super::{Answer, AnswerError, field_answers, success};
use crate::fields::fields;
use crate::json::BodyError;
use crate::wire::Reader;
use crate::{FieldWriter, FrameWriter, Head, Header, HeaderKind, ResponseCode};

const VERSION: u8 = 1;

fields! {
    /// Who answers [`crate::Hello`].
    pub struct HelloAnswer<'a> {
        /// `Millrace`.
        product: Cow<'a, str> = "product",
        /// Its version.
        version: Cow<'a, str> = "version",
        /// The broker's name, part of every queue's identity; empty from those that do not say.
        broker: Cow<'a, str> = "broker" or Cow::Borrowed(""),
    }
}

fields! {
    /// The topic exists, whether [`crate::EnsureTopic`] created it or not.
    pub struct TopicAnswer {
        /// Queues it has.
        queues: i32 = "queues",
    }
}

field_answers! {
    HelloAnswer<'a>,
    TopicAnswer,
}

/// Where the messages of an [`crate::AppendGroup`] went: one queue offset each, in order.
///
/// | bytes | field                |
/// |-------|----------------------|
/// | 1     | version, 1           |
/// | 4     | how many follow      |
/// | 8 each| queue offset         |
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Appended<'a>(pub Cow<'a, [QueueOffset]>);

impl Appended<'_> {
    /// Reads an answer; a refusal because of the epoch is [`AnswerError::Refused`] with
    /// [`ResponseCode::MR_FENCED`], and [`Fenced::decode`] tells the current one.
    pub fn decode(header: &Header<'_>, body: &[u8]) -> Result<Appended<'static>, AnswerError> {
        success(header)?;
        let mut reader = Reader::new(body);
        let version = reader.u8().ok_or(BodyError::Lengths)?;
        if version != VERSION {
            return Err(BodyError::Version(version).into());
        }
        let count = reader.u32().ok_or(BodyError::Lengths)? as usize;
        if reader.rest().len() != count.saturating_mul(8) {
            return Err(BodyError::Lengths.into());
        }
        let offsets = std::iter::from_fn(|| reader.u64().map(QueueOffset));
        Ok(Appended(Cow::Owned(offsets.collect())))
    }
}

impl Answer for Appended<'_> {
    fn body(&self, out: &mut Vec<u8>) {
        out.push(VERSION);
        let count = u32::try_from(self.0.len()).expect("a group came in one frame");
        out.extend_from_slice(&count.to_be_bytes());
        for offset in &*self.0 {
            out.extend_from_slice(&offset.0.to_be_bytes());
        }
    }
}

/// Nothing was appended, because another worker has taken over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fenced {
    /// The current epoch.
    pub epoch: u64,
}

impl Fenced {
    /// Reads the refusal; `None` if the answer is anything else.
    pub fn decode(header: &Header<'_>) -> Option<Self> {
        if header.response_code() != ResponseCode::MR_FENCED {
            return None;
        }
        let epoch = header.fields.get("epoch")?.parse().ok()?;
        Some(Self { epoch })
    }
}

impl Answer for Fenced {
    fn code(&self) -> ResponseCode {
        ResponseCode::MR_FENCED
    }

    fn remark(&self) -> &str {
        "the epoch is no longer the current one"
    }

    fn fields(&self, to: &mut FieldWriter<'_>) {
        to.text("epoch", &self.epoch.to_string());
    }
}

/// The head of the answer to [`crate::PullStored`]; records follow, whole groups only.
///
/// | bytes | field                                            |
/// |-------|--------------------------------------------------|
/// | 1     | version, 1                                       |
/// | 8     | next                                             |
/// | 8     | min                                              |
/// | 8     | max                                              |
/// | 8     | visible end                                      |
/// | rest  | records                                          |
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoredAnswer {
    /// Where to pull next.
    pub next: QueueOffset,
    /// The queue's start. If it lies beyond the offset asked for, messages are gone.
    pub min: QueueOffset,
    /// The queue's end: the offset of the next message to be appended.
    pub max: QueueOffset,
    /// Readers may see messages below this one; the rest waits for the disk.
    pub visible_end: QueueOffset,
}

const STORED_HEAD_BYTES: usize = 33;

impl StoredAnswer {
    /// Reads an answer; the second part are the records.
    pub fn decode<'a>(
        header: &Header<'_>,
        body: &'a [u8],
    ) -> Result<(Self, &'a [u8]), AnswerError> {
        success(header)?;
        let mut reader = Reader::new(body);
        let version = reader.u8().ok_or(BodyError::Lengths)?;
        if version != VERSION {
            return Err(BodyError::Version(version).into());
        }
        let mut offset = || reader.u64().map(QueueOffset).ok_or(BodyError::Lengths);
        let (next, min, max, visible_end) = (offset()?, offset()?, offset()?, offset()?);
        Ok((Self { next, min, max, visible_end }, reader.rest()))
    }

    /// How many bytes of the body come before the records.
    pub const fn encoded_len() -> usize {
        STORED_HEAD_BYTES
    }
}

/// Appends everything of the answer but the records; the caller sends `records_len` bytes of them
/// after it.
pub fn write_stored_head(
    answer: &StoredAnswer,
    kind: HeaderKind,
    opaque: i32,
    records_len: usize,
    out: &mut Vec<u8>,
) {
    let head = Head::answer(kind, ResponseCode::SUCCESS.0, opaque, "");
    let mut frame = FrameWriter::begin(out, &head, |_| {});
    let out = frame.out();
    out.push(VERSION);
    for offset in [answer.next, answer.min, answer.max, answer.visible_end] {
        out.extend_from_slice(&offset.0.to_be_bytes());
    }
    frame.finish_with(records_len);
}
