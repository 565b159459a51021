use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use millrace_protocol::{
    Call, CallMode, EnsureTopic, Frame, Header, HeaderKind, Limits, OffsetAnswer, PullAnswer,
    PullMessage, PullStatus, QueryConsumerOffset, ResponseCode, SendAnswer, SendMessage,
    SendStatus, Split, UpdateConsumerOffset,
};
use millrace_types::record::Record;
use millrace_types::{QueueId, QueueOffset, record};

use super::{Outcome, QUEUES, TOPIC, payload};

/// A connection that waits for each answer.
pub(crate) struct Wire {
    stream: TcpStream,
    input: Vec<u8>,
}

impl Wire {
    pub(crate) fn connect(address: &str) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(20)))?;
        Ok(Self { stream, input: Vec::new() })
    }

    /// Connects, and makes sure of the topic.
    pub(crate) fn open(address: &str) -> io::Result<Self> {
        let mut wire = Self::connect(address)?;
        let topic = EnsureTopic { topic: TOPIC.into(), queues: QUEUES as i32 };
        match wire.ask(&topic, |header, _| header.response_code())? {
            ResponseCode::SUCCESS => Ok(wire),
            refused => Err(io::Error::other(format!("no topic: {refused:?}"))),
        }
    }

    /// Sends one message; an error means that the outcome is not known.
    pub(crate) fn send(&mut self, id: u64, queue: u32) -> io::Result<Outcome> {
        let body = payload(id);
        let mut send = SendMessage::new(TOPIC, &body);
        send.queue_id = Some(QueueId(queue));
        send.producer_group = "oracle".into();
        self.ask(&send, |header, _| match SendAnswer::decode(header) {
            Ok(answer) if answer.status == SendStatus::Ok => {
                Outcome::Ok { offset: answer.queue_offset.0 }
            }
            // Stored, but not as well as was asked for: no promise.
            Ok(_) => Outcome::Unknown,
            Err(_) if header.response_code() == ResponseCode::SERVICE_NOT_AVAILABLE => {
                Outcome::Failed
            }
            Err(_) => Outcome::Unknown,
        })
    }

    /// The ids of a queue from an offset on, as many as one pull gives; each body is checked.
    pub(crate) fn pull(&mut self, queue: u32, from: u64) -> io::Result<Vec<u64>> {
        let pull = PullMessage {
            group: "oracle".into(),
            topic: TOPIC.into(),
            queue_id: QueueId(queue),
            offset: Some(QueueOffset(from)),
            messages_max: 1024,
            sys_flag: 4,
            commit_offset: Some(QueueOffset(0)),
            suspend_ms: 0,
            subscription: Some("*".into()),
            subscription_version: 0,
            expression_type: None,
            bytes_max: None,
        };
        self.ask(&pull, |header, body| {
            let answer = PullAnswer::decode(header).map_err(io::Error::other)?;
            match answer.status {
                PullStatus::Found => read(queue, from, body).map_err(io::Error::other),
                _ => Ok(Vec::new()),
            }
        })?
    }

    /// Commits how far a group has got in a queue.
    pub(crate) fn commit(&mut self, group: &str, queue: u32, offset: u64) -> io::Result<()> {
        let (topic, queue_id) = (TOPIC.into(), QueueId(queue));
        let offset = QueueOffset(offset);
        let commit = UpdateConsumerOffset { group: group.into(), topic, queue_id, offset };
        match self.ask(&commit, |header, _| header.response_code())? {
            ResponseCode::SUCCESS => Ok(()),
            refused => Err(io::Error::other(format!("not committed: {refused:?}"))),
        }
    }

    /// How far a group has got in a queue.
    pub(crate) fn committed(&mut self, group: &str, queue: u32) -> io::Result<u64> {
        let (topic, queue_id) = (TOPIC.into(), QueueId(queue));
        let zero_if_not_found = None;
        let query = QueryConsumerOffset { group: group.into(), topic, queue_id, zero_if_not_found };
        let answer = self.ask(&query, |header, _| OffsetAnswer::decode(header))?;
        answer.map(|answer| answer.offset.0).map_err(io::Error::other)
    }

    fn ask<T>(
        &mut self,
        call: &impl Call,
        read: impl FnOnce(&Header<'_>, &[u8]) -> T,
    ) -> io::Result<T> {
        let mut out = Vec::new();
        call.write(HeaderKind::Json, 1, CallMode::Answered, &mut out);
        self.stream.write_all(&out)?;
        self.input.clear();
        loop {
            match Frame::split(&self.input, &Limits::default()).map_err(io::Error::other)? {
                Split::Frame(frame, _) => {
                    let header = frame.header().map_err(io::Error::other)?;
                    return Ok(read(&header, frame.body));
                }
                Split::Partial(more) => {
                    let filled = self.input.len();
                    self.input.resize(filled + more.max(4096), 0);
                    let n = self.stream.read(&mut self.input[filled..])?;
                    self.input.truncate(filled + n);
                    if n == 0 {
                        return Err(io::ErrorKind::UnexpectedEof.into());
                    }
                }
            }
        }
    }
}

fn read(queue: u32, from: u64, body: &[u8]) -> Result<Vec<u64>, String> {
    let mut ids = Vec::new();
    for record in record::iter(body) {
        let record = record.map_err(|error| error.to_string())?;
        ids.push(id_of(&record, queue, from + ids.len() as u64)?);
    }
    Ok(ids)
}

/// I2 and I4: a message that was sent, byte for byte, at the place that comes next.
fn id_of(record: &Record<'_>, queue: u32, offset: u64) -> Result<u64, String> {
    let at = record.queue_offset().0;
    if record.topic() != TOPIC || record.queue_id() != QueueId(queue) || at != offset {
        return Err(format!("queue {queue}: offset {at} was given for {offset}"));
    }
    let body = record.body();
    let id = body.first_chunk::<8>().map(|id| u64::from_be_bytes(*id));
    id.filter(|id| payload(*id) == body)
        .ok_or_else(|| format!("queue {queue}, offset {offset}: a body that nobody sent"))
}
