use std::borrow::Cow;

use millrace_types::{QueueId, QueueOffset};

use crate::json::BodyError;
use crate::wire::{Reader, push_bytes32, push_text16};
use crate::{Call, FieldWriter, RequestCode};

const VERSION: u8 = 1;

/// Whose turn it must still be for an append to happen.
///
/// A queue's epoch is the highest `MR_EPOCH` property of any message in it, 0 without any. If it
/// is not `epoch`, another worker has taken over: the append is refused with [`crate::Fenced`],
/// and nothing is appended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fence<'a> {
    /// Topic of the fenced queue.
    pub topic: Cow<'a, str>,
    /// The fenced queue.
    pub queue_id: QueueId,
    /// The epoch that the queue must have before the append.
    pub epoch: u64,
}

/// When an append is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AppendWait {
    /// As the broker's flush mode says.
    Policy,
    /// Once the group survives a power cut, in every mode.
    Durable,
}

/// One message of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupMessage<'a> {
    /// Destination.
    pub topic: &'a str,
    /// Queue within the topic.
    pub queue_id: QueueId,
    /// The producer's own flag.
    pub flag: i32,
    /// Compression and transaction bits.
    pub sys_flag: u32,
    /// Milliseconds since the Unix epoch, by the producer's clock.
    pub born_at_ms: i64,
    /// Encoded as in a record.
    pub properties: &'a [u8],
    /// The payload.
    pub body: &'a [u8],
}

/// Ours, code 9003: messages of any topics and queues that are appended as one: after a crash
/// either all of them are there or none. The answer is [`crate::Appended`] or [`crate::Fenced`].
///
/// | bytes | field                                                                      |
/// |-------|----------------------------------------------------------------------------|
/// | 1     | version, 1                                                                 |
/// | 1     | when to answer: 0 by policy, 1 once durable                                |
/// | 1     | 1 if a fence follows, else 0                                               |
/// | 2 + n | the fence's topic                                                          |
/// | 4     | its queue                                                                  |
/// | 8     | its epoch                                                                  |
/// | 4     | how many messages follow                                                   |
///
/// and for each message
///
/// | bytes | field                                                                      |
/// |-------|----------------------------------------------------------------------------|
/// | 2 + n | topic; empty: that of the message before                                   |
/// | 4     | queue                                                                      |
/// | 4     | flag                                                                       |
/// | 4     | system flag                                                                |
/// | 8     | born time, ms                                                              |
/// | 2 + n | properties                                                                 |
/// | 4 + n | body                                                                       |
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppendGroup<'a> {
    /// When to answer.
    pub wait: AppendWait,
    /// If given, the append happens only while this epoch is the current one.
    pub fence: Option<Fence<'a>>,
    len: usize,
    messages: &'a [u8],
}

impl<'a> AppendGroup<'a> {
    /// Checks the whole body, so that walking the messages cannot fail.
    pub fn decode(body: &'a [u8]) -> Result<Self, BodyError> {
        let mut reader = Reader::new(body);
        let version = reader.u8().ok_or(BodyError::Lengths)?;
        if version != VERSION {
            return Err(BodyError::Version(version));
        }
        let wait = match reader.u8() {
            Some(0) => AppendWait::Policy,
            Some(1) => AppendWait::Durable,
            _ => return Err(BodyError::Missing("wait")),
        };
        let fence = match reader.u8() {
            Some(0) => None,
            Some(1) => Some(read_fence(&mut reader).ok_or(BodyError::Lengths)?),
            _ => return Err(BodyError::Missing("fence")),
        };
        let len = reader.u32().ok_or(BodyError::Lengths)? as usize;
        let messages = reader.rest();
        let mut topic = "";
        for _ in 0..len {
            topic = read_message(&mut reader, topic).ok_or(BodyError::Lengths)?.topic;
            if topic.is_empty() {
                return Err(BodyError::Missing("topic"));
            }
        }
        if !reader.is_empty() {
            return Err(BodyError::Lengths);
        }
        Ok(Self { wait, fence, len, messages })
    }

    /// How many messages there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The messages in order. Those of one topic share its text, so a caller that looks topics up
    /// needs to do so only when the text changes.
    pub fn messages(&self) -> impl Iterator<Item = GroupMessage<'a>> + use<'a> {
        let mut reader = Reader::new(self.messages);
        let mut topic = "";
        std::iter::from_fn(move || {
            let message = read_message(&mut reader, topic)?;
            topic = message.topic;
            Some(message)
        })
    }
}

fn read_fence<'a>(reader: &mut Reader<'a>) -> Option<Fence<'a>> {
    let topic = Cow::Borrowed(reader.text16()?);
    let queue_id = QueueId(reader.u32()?);
    Some(Fence { topic, queue_id, epoch: reader.u64()? })
}

fn read_message<'a>(reader: &mut Reader<'a>, before: &'a str) -> Option<GroupMessage<'a>> {
    let topic = reader.text16()?;
    let queue_id = QueueId(reader.u32()?);
    let flag = reader.i32()?;
    let sys_flag = reader.u32()?;
    let born_at_ms = reader.i64()?;
    let properties_len = usize::from(reader.u16()?);
    let properties = reader.take(properties_len)?;
    let body = reader.bytes32()?;
    let topic = if topic.is_empty() { before } else { topic };
    Some(GroupMessage { topic, queue_id, flag, sys_flag, born_at_ms, properties, body })
}

/// An append being built, message by message.
#[derive(Clone, Debug)]
pub struct AppendGroupWriter {
    body: Vec<u8>,
    count_at: usize,
    count: u32,
    topic: String,
}

impl AppendGroupWriter {
    /// An append without messages.
    pub fn new(wait: AppendWait, fence: Option<&Fence<'_>>) -> Self {
        let wait = match wait {
            AppendWait::Policy => 0,
            AppendWait::Durable => 1,
        };
        let mut body = vec![VERSION, wait, u8::from(fence.is_some())];
        if let Some(fence) = fence {
            push_text16(&mut body, &fence.topic);
            body.extend_from_slice(&fence.queue_id.0.to_be_bytes());
            body.extend_from_slice(&fence.epoch.to_be_bytes());
        }
        let count_at = body.len();
        body.extend_from_slice(&[0; 4]);
        Self { body, count_at, count: 0, topic: String::new() }
    }

    /// Adds a message.
    ///
    /// # Panics
    ///
    /// If the properties are longer than 65,535 bytes; no record can hold half of that.
    pub fn push(&mut self, message: &GroupMessage<'_>) {
        if message.topic == self.topic {
            push_text16(&mut self.body, "");
        } else {
            push_text16(&mut self.body, message.topic);
            message.topic.clone_into(&mut self.topic);
        }
        self.body.extend_from_slice(&message.queue_id.0.to_be_bytes());
        self.body.extend_from_slice(&message.flag.to_be_bytes());
        self.body.extend_from_slice(&message.sys_flag.to_be_bytes());
        self.body.extend_from_slice(&message.born_at_ms.to_be_bytes());
        let properties_len =
            u16::try_from(message.properties.len()).expect("properties fit a record");
        self.body.extend_from_slice(&properties_len.to_be_bytes());
        self.body.extend_from_slice(message.properties);
        push_bytes32(&mut self.body, message.body);
        self.count += 1;
        self.body[self.count_at..self.count_at + 4].copy_from_slice(&self.count.to_be_bytes());
    }

    /// How many messages were added.
    pub fn len(&self) -> usize {
        self.count as usize
    }

    /// Whether none was added.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Bytes so far; a frame holds 16 MiB at most.
    pub fn encoded_len(&self) -> usize {
        self.body.len()
    }

    /// The request's body, as [`AppendGroup::decode`] reads it.
    pub fn as_bytes(&self) -> &[u8] {
        &self.body
    }
}

impl Call for AppendGroupWriter {
    fn code(&self) -> RequestCode {
        RequestCode::MR_APPEND_GROUP
    }

    fn fields(&self, _to: &mut FieldWriter<'_>) {}

    fn body(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.body);
    }
}

/// Ours, code 9004: records as they are stored, our own properties included. The answer is
/// [`crate::StoredAnswer`], then the records.
///
/// | bytes | field                                                        |
/// |-------|--------------------------------------------------------------|
/// | 1     | version, 1                                                   |
/// | 2 + n | topic                                                        |
/// | 4     | queue                                                        |
/// | 8     | first offset wanted                                          |
/// | 4     | bytes of records at most; at least one record comes anyway   |
/// | 4     | how long to wait for the first record, ms                    |
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PullStored<'a> {
    /// Which topic.
    pub topic: Cow<'a, str>,
    /// Which queue.
    pub queue_id: QueueId,
    /// The first offset wanted.
    pub offset: QueueOffset,
    /// Bytes of records at most; at least one record comes anyway.
    pub bytes_max: u32,
    /// How long to wait for the first record.
    pub wait_ms: u32,
}

impl<'a> PullStored<'a> {
    /// Reads the request's body.
    pub fn decode(body: &'a [u8]) -> Result<Self, BodyError> {
        let mut reader = Reader::new(body);
        let version = reader.u8().ok_or(BodyError::Lengths)?;
        if version != VERSION {
            return Err(BodyError::Version(version));
        }
        Self::read(&mut reader).filter(|_| reader.is_empty()).ok_or(BodyError::Lengths)
    }

    fn read(reader: &mut Reader<'a>) -> Option<Self> {
        Some(Self {
            topic: Cow::Borrowed(reader.text16()?),
            queue_id: QueueId(reader.u32()?),
            offset: QueueOffset(reader.u64()?),
            bytes_max: reader.u32()?,
            wait_ms: reader.u32()?,
        })
    }
}

impl Call for PullStored<'_> {
    fn code(&self) -> RequestCode {
        RequestCode::MR_PULL
    }

    fn fields(&self, _to: &mut FieldWriter<'_>) {}

    fn body(&self, out: &mut Vec<u8>) {
        out.push(VERSION);
        push_text16(out, &self.topic);
        out.extend_from_slice(&self.queue_id.0.to_be_bytes());
        out.extend_from_slice(&self.offset.0.to_be_bytes());
        out.extend_from_slice(&self.bytes_max.to_be_bytes());
        out.extend_from_slice(&self.wait_ms.to_be_bytes());
    }
}

#[cfg(test)]
mod tests;
