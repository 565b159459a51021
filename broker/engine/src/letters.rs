//! Messages whose consumption failed: a copy goes to the group's retry topic, delayed, or to its
//! dead-letter topic once it has failed often enough.

use bytes::Bytes;
use millrace_store::ReadError;
use millrace_types::record::Record;
use millrace_types::{
    GroupName, Now, OffsetMessageId, PhysicalOffset, QueueId, TopicName, is_system_topic, keys,
};
use tracing::debug;

use crate::answer::{Answer, Out, Refusal};
use crate::deliveries::copy;
use crate::engine::Engine;
use crate::reads::Reader;
use crate::request::{Delay, SendBack, Ticket, Wait};

/// What the topics are called in which a group gets failed messages again.
pub const RETRY_PREFIX: &str = "%RETRY%";
/// What the topics are called in which a group's dead letters lie.
pub const DEAD_PREFIX: &str = "%DLQ%";

/// The first failure waits for this level. (RocketMQ's steps: 10 s, 30 s, 1 min …)
const FIRST_LEVEL: i32 = 3;

/// A failed message that is being read.
#[derive(Debug)]
pub(crate) struct Letter {
    ticket: Ticket,
    group: GroupName,
    at: PhysicalOffset,
    origin_topic: Option<String>,
    delay_level: i32,
    reconsume_max: i32,
    retry_queues: u32,
}

impl Engine {
    /// Takes a failed message back; it is read before anything is decided.
    pub(crate) fn send_back(
        &mut self,
        ticket: Ticket,
        request: &SendBack<'_>,
        out: &mut Out,
    ) -> Result<Option<Answer>, Refusal> {
        let letter = Letter {
            ticket,
            group: request.group.clone(),
            at: request.at,
            origin_topic: request.origin_topic.map(str::to_owned),
            delay_level: request.delay_level,
            reconsume_max: request.reconsume_max,
            retry_queues: request.retry_queues,
        };
        let limit = self.visible();
        out.reads.push(self.reads.record(Reader::Letter(letter), request.at, limit));
        Ok(None)
    }

    /// The failed message was read, or could not be.
    pub(crate) fn store_letter(
        &mut self,
        now: Now,
        letter: Letter,
        found: Result<Vec<Bytes>, ReadError>,
        out: &mut Out,
    ) {
        let stored = match found.as_deref() {
            Ok([bytes]) => self.check_letter(&letter, bytes).and_then(|record| {
                let max = letter.reconsume_max;
                if letter.delay_level < 0 || record.reconsume_times() >= max {
                    self.bury(now, &letter, &record)
                } else {
                    self.retry(now, &letter, &record)
                }
            }),
            Ok(_) => Err(Refusal::NoMessage(letter.at)),
            Err(error) => {
                // Clients name any offset, so this may be nobody's trouble but the client's.
                debug!(error = %error, "a failed message cannot be read");
                Err(Refusal::NoMessage(letter.at))
            }
        };
        match stored {
            // The consumer moves on once this is answered, so the copy has to be safe by then.
            Ok(()) => self.answer_when_stored(now, letter.ticket, Wait::Durable, Answer::Done),
            Err(refusal) => out.push(letter.ticket, Answer::Refused(refusal)),
        }
    }

    /// Clients name any offset they like, so a record counts only if it is where the index of its
    /// queue says, and is not one of the broker's own.
    fn check_letter<'a>(&self, letter: &Letter, bytes: &'a [u8]) -> Result<Record<'a>, Refusal> {
        let none = Refusal::NoMessage(letter.at);
        let record = Record::parse(bytes).map_err(|_| none.clone())?;
        let queue = self.topics.queue(record.topic(), record.queue_id()).ok_or(none.clone())?;
        let plan = self.store.plan(queue, record.queue_offset(), 1, 0, self.visible());
        let is_there = plan.entries.first().is_some_and(|first| first.physical_offset == letter.at);
        let closed = TopicName::parse(record.topic()).is_ok_and(|topic| is_system_topic(&topic));
        // A consumer knows a message it gets again by the topic that it first came from.
        let origin = letter.origin_topic.as_deref().filter(|topic| !topic.is_empty());
        let first_topic = record.properties().get(keys::RETRY_TOPIC);
        let agrees =
            origin.is_none_or(|topic| [Some(record.topic()), first_topic].contains(&Some(topic)));
        if is_there && !closed && agrees { Ok(record) } else { Err(none) }
    }

    /// Has the group get the message again, later.
    fn retry(&mut self, now: Now, letter: &Letter, record: &Record<'_>) -> Result<(), Refusal> {
        let topic = format!("{RETRY_PREFIX}{}", letter.group);
        let queue = self.letter_queue(now, &topic, letter.retry_queues)?;
        let level = match letter.delay_level {
            0 => FIRST_LEVEL.saturating_add(record.reconsume_times()),
            level => level,
        };
        let level = u32::try_from(level).unwrap_or(1);
        let properties = letter_properties(record, level);
        let target = (&*topic, queue);
        let delayed = self.delay(now, Delay::Level(level), target, properties.view())?;
        let delayed = delayed.expect("a level has a delay");
        let mut draft = copy(record, &topic, queue);
        draft.reconsume_times = record.reconsume_times().saturating_add(1);
        let mut placed = Vec::with_capacity(1);
        self.stage(now, &[delayed.draft(draft)], &mut placed)?;
        placed.iter().for_each(|placed| self.note_delayed(now, &delayed, placed));
        Ok(())
    }

    /// Makes the message one of the group's dead letters.
    fn bury(&mut self, now: Now, letter: &Letter, record: &Record<'_>) -> Result<(), Refusal> {
        let topic = format!("{DEAD_PREFIX}{}", letter.group);
        let queue = self.letter_queue(now, &topic, 1)?;
        let properties = letter_properties(record, 0);
        let mut draft = copy(record, &topic, queue);
        draft.reconsume_times = record.reconsume_times().saturating_add(1);
        draft.properties = properties.as_bytes();
        let no = self.topics.queue(&topic, queue);
        let no = no.ok_or_else(|| Refusal::UnknownTopic(topic.clone()))?;
        self.stage(now, &[(no, draft)], &mut Vec::with_capacity(1))?;
        debug!(topic = %topic, physical_offset = %letter.at, "dead letter");
        Ok(())
    }

    /// A queue of a group's retry or dead-letter topic, which is created if need be.
    fn letter_queue(&mut self, now: Now, topic: &str, queues: u32) -> Result<QueueId, Refusal> {
        if self.topics.get(topic).is_none() {
            let name = TopicName::parse(topic)
                .map_err(|error| Refusal::IllegalTopic(error.to_string()))?;
            self.create_topic(now, &name, queues)?;
        }
        let known = self.topics.get(topic);
        let known = known.ok_or_else(|| Refusal::UnknownTopic(topic.to_owned()))?;
        if !known.permission.write {
            return Err(Refusal::NotWritable(topic.to_owned()));
        }
        let queues = queues.clamp(1, known.write_queues.max(1));
        self.next_queue = self.next_queue.wrapping_add(1);
        Ok(QueueId(self.next_queue % queues))
    }
}

/// What a copy says of the message that failed.
fn letter_properties(record: &Record<'_>, level: u32) -> millrace_types::PropertiesBuf {
    let properties = record.properties();
    let [topic, id] = properties.pick([keys::RETRY_TOPIC, keys::ORIGIN_ID]);
    let own = OffsetMessageId {
        store_host: record.store_host(),
        physical_offset: record.physical_offset(),
    };
    let id = id.filter(|id| !id.trim().is_empty()).map_or_else(|| own.to_string(), str::to_owned);
    properties.with(&[
        (keys::RETRY_TOPIC, Some(topic.unwrap_or(record.topic()))),
        (keys::ORIGIN_ID, Some(&id)),
        (keys::WAIT, Some("false")),
        (keys::DELAY, Some(&level.to_string())),
    ])
}
