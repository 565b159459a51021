use std::borrow::Cow;

use millrace_types::{QueueId, QueueOffset};

use super::{Answer, AnswerError, Refused, write_frame};
use crate::fields::fields;
use crate::header::VERSION;
use crate::wire::push_decimal;
use crate::{
    FieldText, FieldValue, FieldWriter, Header, HeaderKind, OffsetMessageId, ResponseCode,
};

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
        // Anything else makes clients send trace messages to a topic that need not exist.
        to.text("TRACE_ON", "false");
        to.text("MSG_REGION", "DefaultRegion");
    }

    fn write(&self, kind: HeaderKind, opaque: i32, out: &mut Vec<u8>) {
        match (kind, self.status, &self.message_ids, &self.transaction_id) {
            (HeaderKind::Json, SendStatus::Ok, MessageIds::One(id), Some(unique))
                if is_plain(unique) =>
            {
                self.write_usual(id, unique, opaque, out);
            }
            _ => write_frame(self, kind, opaque, out),
        }
    }
}

/// Whether JSON needs no escapes for a text.
fn is_plain(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

impl SendAnswer<'_> {
    /// What [`write_frame`] writes for one message that went well and has a plain id: most of what
    /// a broker answers.
    fn write_usual(&self, id: &OffsetMessageId, unique: &str, opaque: i32, out: &mut Vec<u8>) {
        out.reserve(USUAL_BYTES);
        let start = out.len();
        out.extend_from_slice(b"\0\0\0\0\0\0\0\0{\"code\":0,\"extFields\":{\"msgId\":\"");
        id.push(out);
        out.extend_from_slice(b"\",\"queueId\":\"");
        push_decimal(out, i64::from(self.queue_id.0));
        out.extend_from_slice(b"\",\"queueOffset\":\"");
        push_decimal(out, self.queue_offset.to_wire());
        out.extend_from_slice(b"\",\"transactionId\":\"");
        out.extend_from_slice(unique.as_bytes());
        out.extend_from_slice(
            b"\",\"TRACE_ON\":\"false\",\"MSG_REGION\":\"DefaultRegion\"},\
              \"flag\":1,\"language\":\"RUST\",\"opaque\":",
        );
        push_decimal(out, i64::from(opaque));
        out.extend_from_slice(b",\"version\":");
        push_decimal(out, i64::from(VERSION));
        out.push(b'}');
        // The serialize type above the header's length is 0, JSON.
        let len = out.len() - start;
        let lens = ((len as u64 - 4) << 32) | (len as u64 - 8);
        out[start..start + 8].copy_from_slice(&lens.to_be_bytes());
    }
}

/// More than the header of a usual answer needs.
const USUAL_BYTES: usize = 384;

#[cfg(test)]
mod tests {
    use millrace_types::PhysicalOffset;

    use super::*;

    #[track_caller]
    fn check(answer: &SendAnswer<'_>, opaque: i32) {
        for kind in [HeaderKind::Json, HeaderKind::Binary] {
            let (mut quick, mut general) = (b"x".to_vec(), b"x".to_vec());
            answer.write(kind, opaque, &mut quick);
            write_frame(answer, kind, opaque, &mut general);
            assert_eq!(
                String::from_utf8_lossy(&quick),
                String::from_utf8_lossy(&general),
                "{answer:?}"
            );
        }
    }

    #[test]
    fn the_usual_answer_is_what_the_general_way_writes() {
        for host in ["127.0.0.1:10911", "[fe80::1]:1"] {
            for (queue, offset, opaque) in
                [(0, 0, 0), (7, 1 << 40, -1), (u32::MAX, i64::MAX as u64, i32::MIN)]
            {
                for unique in [None, Some(""), Some("7F00000100002A9F0"), Some("a\"b"), Some("é")]
                {
                    for status in [SendStatus::Ok, SendStatus::FlushDiskTimeout] {
                        let store_host = host.parse().unwrap();
                        let physical_offset = PhysicalOffset(offset);
                        let answer = SendAnswer {
                            status,
                            message_ids: MessageIds::One(OffsetMessageId {
                                store_host,
                                physical_offset,
                            }),
                            queue_id: QueueId(queue),
                            queue_offset: QueueOffset(offset),
                            transaction_id: unique.map(Cow::Borrowed),
                        };
                        check(&answer, opaque);
                    }
                }
            }
        }
    }
}
