//! Delayed messages: into the queue of their level, and out of it when they are due.
//!
//! A message with a delay level is stored in the topic `SCHEDULE_TOPIC_XXXX` and carries the topic
//! and queue it is for as properties, as in RocketMQ. When it is due, a copy is appended to that
//! queue, and in the same group the offset up to which the level is delivered, as that of the
//! group `SCHEDULE_CONSUMER`. A crash keeps both or neither, so nothing is lost or repeated.

use bytes::Bytes;
use millrace_store::{Plan, QueueNo, ReadError};
use millrace_types::record::{self, Draft, PROPERTIES_BYTES_MAX, Record};
use millrace_types::{
    GroupName, Now, PhysicalOffset, Properties, PropertiesBuf, QueueId, QueueOffset, TopicName,
    keys,
};
use tracing::{error, warn};

use crate::answer::{Answer, Out, Places, Refusal};
use crate::appends::draft;
use crate::engine::Engine;
use crate::reads::{ReadId, Reader};
use crate::request::{Append, Caller, Ticket};
use crate::state::StateRecord;

/// The topic of the delay levels, one queue each.
pub const SCHEDULE_TOPIC: &str = "SCHEDULE_TOPIC_XXXX";
/// The group whose offsets say how far each level is delivered.
pub(crate) const DELIVERY_GROUP: &str = "SCHEDULE_CONSUMER";

/// Where a delayed message is stored, and what is remembered of where it goes.
pub(crate) struct Delayed {
    queue: QueueNo,
    index: usize,
    properties: PropertiesBuf,
}

impl Delayed {
    /// A draft for the message's own queue, made one for that of its level.
    pub(crate) fn draft<'a>(&'a self, draft: Draft<'a>) -> (QueueNo, Draft<'a>) {
        let queue_id = QueueId(self.index as u32);
        let properties = self.properties.as_bytes();
        (self.queue, Draft { topic: SCHEDULE_TOPIC, queue_id, properties, ..draft })
    }
}

impl Engine {
    /// Stores messages some of which are delayed.
    pub(crate) fn append_delayed(
        &mut self,
        now: Now,
        caller: &Caller,
        ticket: Ticket,
        append: &Append<'_>,
    ) -> Result<Option<Answer>, Refusal> {
        let mut targets = Vec::with_capacity(append.messages.len());
        for message in append.messages {
            self.check(message)?;
            let (no, queue) = self.target(now, message, append)?;
            let delayed = match message.delay_level {
                0 => None,
                level => Some(self.delay(
                    now,
                    level,
                    (message.topic, queue),
                    Properties::new(message.properties),
                )?),
            };
            targets.push((no, queue, delayed));
        }
        let drafts = append.messages.iter().zip(&targets).map(|(message, (no, queue, delayed))| {
            let draft = draft(message, *queue, caller);
            delayed.as_ref().map_or((*no, draft), |delayed| delayed.draft(draft))
        });
        let drafts: Vec<_> = drafts.collect();
        let mut placed = Vec::with_capacity(drafts.len());
        self.stage(now, &drafts, &mut placed)?;
        for ((.., delayed), placed) in targets.iter().zip(&placed) {
            if let Some(delayed) = delayed {
                self.note_delayed(now, delayed, placed);
            }
        }
        let queues = targets.iter().map(|(_, queue, _)| *queue);
        let places = match placed[..] {
            [place] => Places::One((targets[0].1, place)),
            _ => Places::Many(queues.zip(placed).collect()),
        };
        self.answer_when_stored(now, ticket, append.wait, Answer::Appended(places));
        Ok(None)
    }

    /// Finds the place of a message that is delayed before it goes to a queue.
    pub(crate) fn delay(
        &mut self,
        now: Now,
        level: u32,
        (topic, queue): (&str, QueueId),
        properties: Properties<'_>,
    ) -> Result<Delayed, Refusal> {
        let count = self.delays.count();
        if self.topics.get(SCHEDULE_TOPIC).is_none_or(|topic| topic.write_queues < count) {
            let name = TopicName::parse(SCHEDULE_TOPIC).expect("a legal name");
            self.create_topic(now, &name, count)?;
        }
        let index = self.delays.index(level);
        let found = self.topics.queue(SCHEDULE_TOPIC, QueueId(index as u32));
        let properties = properties.with(&[
            (keys::DELAY, &(index + 1).to_string()),
            (keys::REAL_TOPIC, topic),
            (keys::REAL_QUEUE, &queue.to_string()),
        ]);
        let bytes = properties.as_bytes().len();
        if bytes > PROPERTIES_BYTES_MAX {
            return Err(Refusal::IllegalMessage(format!(
                "the properties of the delayed message have {bytes} bytes, more than the \
                 {PROPERTIES_BYTES_MAX} allowed"
            )));
        }
        let queue = found.ok_or_else(|| Refusal::UnknownTopic(SCHEDULE_TOPIC.to_owned()))?;
        Ok(Delayed { queue, index, properties })
    }

    /// A delayed message was staged.
    pub(crate) fn note_delayed(
        &mut self,
        now: Now,
        delayed: &Delayed,
        placed: &millrace_store::Placed,
    ) {
        let store_at_ms = self.store.last_store_ms();
        self.delays.clock.note(placed.physical_offset, store_at_ms, now);
        self.delays.note(now, delayed.index, placed.queue_offset);
    }

    /// After the state was read: where each level goes on.
    pub(crate) fn resume_deliveries(&mut self) {
        let (group, topic) = names();
        for (index, level) in self.delays.levels.iter_mut().enumerate() {
            let Some(queue) = level.queue else {
                continue;
            };
            let delivered = self.groups.get(&group, &topic, QueueId(index as u32));
            let bounds = self.store.bounds(queue);
            level.next = delivered.unwrap_or(QueueOffset(0)).max(bounds.min).min(bounds.end);
        }
        self.find_earliest_delivery();
    }

    fn find_earliest_delivery(&mut self) {
        let store = &self.store;
        self.delays.find_earliest(|queue| store.bounds(queue).end);
    }

    /// The first record of the log that a delayed message still needs.
    pub fn delayed_from(&self) -> Option<PhysicalOffset> {
        let levels = self.delays.levels.iter();
        let first = levels.filter_map(|level| {
            let limit = self.store.staged_end();
            let plan = self.store.plan(level.queue?, level.next, 1, 0, limit);
            plan.entries.first().map(|entry| entry.physical_offset)
        });
        first.min()
    }

    /// Asks for the messages that are due.
    pub(crate) fn begin_deliveries(&mut self, now: Now, out: &mut Out) {
        self.delays.clock.start(now);
        if now.mono_ms < self.delays.earliest_ms() {
            return;
        }
        let visible = self.visible();
        for (index, level) in self.delays.levels.iter_mut().enumerate() {
            let (Some(queue), (count, bytes)) = (level.queue, level.wanted(now)) else {
                continue;
            };
            let plan = self.store.plan(queue, level.next, count, bytes, visible);
            if !plan.entries.is_empty() {
                out.reads.push(self.reads.entries(Reader::Level(index), plan.entries.clone()));
                level.begin(plan);
            } else if count > 0 && level.next < self.store.bounds(queue).end {
                level.wait_until_visible(now);
            }
        }
        self.find_earliest_delivery();
    }

    /// A read that the engine asked for is done. The shell then ends the burst with
    /// [`Engine::commit`], as after any request.
    pub fn on_read(
        &mut self,
        now: Now,
        id: ReadId,
        found: Result<Vec<Bytes>, ReadError>,
        out: &mut Out,
    ) {
        match self.reads.end(id) {
            Some(Reader::Level(index)) => {
                self.deliver(now, index, found);
                self.find_earliest_delivery();
            }
            Some(Reader::Letter(letter)) => self.store_letter(now, letter, found, out),
            None => {}
        }
    }

    /// Delivers what was read as far as it is due.
    fn deliver(&mut self, now: Now, index: usize, found: Result<Vec<Bytes>, ReadError>) {
        let level = &mut self.delays.levels[index];
        let Some(plan) = level.end() else {
            return;
        };
        let runs = match found {
            Ok(runs) => runs,
            Err(_) if plan.entries.len() > 1 => return level.take_singly(&plan.entries),
            Err(ReadError::Io { .. }) if !level.fail(now) => {
                warn!(
                    topic = SCHEDULE_TOPIC, queue_id = index, queue_offset = %plan.from,
                    "a delayed message cannot be read just now",
                );
                return;
            }
            Err(lost) => {
                error!(
                    topic = SCHEDULE_TOPIC, queue_id = index, queue_offset = %plan.from,
                    error = %lost, "a delayed message is lost",
                );
                Vec::new()
            }
        };
        let records = by_entry(&plan, &runs);
        let due = self.learn(now, index, &records);
        let drafts = self.due_drafts(&records[..due]);
        self.deliver_group(now, index, &plan, due, &drafts);
    }

    /// How many of the records are due; of lost ones nobody knows, so these are passed over.
    fn learn(&mut self, now: Now, index: usize, records: &[Option<Record<'_>>]) -> usize {
        let delay_ms = self.delays.delay_ms(index) as i64;
        let clock = &self.delays.clock;
        let dues = records.iter().map(|record| {
            record.map_or(0, |record| {
                let stored = clock.stored_ms(record.physical_offset(), record.store_at_ms());
                stored.saturating_add(delay_ms).max(0) as u64
            })
        });
        let dues: Vec<u64> = dues.collect();
        self.delays.levels[index].learn(now, dues.into_iter())
    }

    /// The messages as they go to their own queues.
    fn due_drafts<'a>(&self, records: &[Option<Record<'a>>]) -> Vec<(QueueNo, Draft<'a>)> {
        let mut drafts = Vec::with_capacity(records.len() + 1);
        for record in records.iter().flatten() {
            let [topic, queue] = record.properties().pick([keys::REAL_TOPIC, keys::REAL_QUEUE]);
            let known = topic.and_then(|topic| self.topics.get(topic));
            let (Some(topic), Some(known)) = (topic, known) else {
                warn!(
                    topic, queue_offset = %record.queue_offset(),
                    "a delayed message is dropped, because its topic is no more",
                );
                continue;
            };
            let queue = queue.and_then(|queue| queue.parse().ok()).unwrap_or(0);
            let queue_id = QueueId(queue % known.write_queues.max(1));
            if let Some(no) = self.topics.queue(topic, queue_id) {
                drafts.push((no, copy(record, topic, queue_id)));
            }
        }
        drafts
    }

    /// Appends due messages, and how far the level is delivered then, as one.
    fn deliver_group(
        &mut self,
        now: Now,
        index: usize,
        plan: &Plan,
        count: usize,
        drafts: &[(QueueNo, Draft<'_>)],
    ) {
        if count == 0 {
            return;
        }
        let (group, topic) = names();
        let (queue, offset) = (QueueId(index as u32), plan.from + count as u64);
        let delivered = StateRecord::Offset {
            group: group.to_string(),
            topic: topic.to_string(),
            queue: queue.0,
            offset: offset.0,
        };
        let body = delivered.encode();
        let mut all = drafts.to_vec();
        all.push(self.state_draft(now, &body));
        let staged = self.stage(now, &all, &mut Vec::with_capacity(all.len()));
        let level = &mut self.delays.levels[index];
        match staged {
            Ok(()) => {
                level.advance(count);
                self.groups.put(&group, &topic, queue, offset);
            }
            Err(Refusal::DiskFull(reason)) => {
                warn!(error = reason, "delayed messages wait for room on the disk");
                level.pause(now);
            }
            Err(Refusal::IllegalMessage(_)) if count > 1 => level.take_singly(&plan.entries),
            Err(refusal) => {
                error!(error = %refusal, queue_id = index, "no delayed message is delivered");
                level.stop();
            }
        }
    }
}

fn names() -> (GroupName, TopicName) {
    let group = GroupName::parse(DELIVERY_GROUP).expect("a legal name");
    (group, TopicName::parse(SCHEDULE_TOPIC).expect("a legal name"))
}

/// The record of each entry; `None` for those that are lost.
fn by_entry<'a>(plan: &Plan, runs: &'a [Bytes]) -> Vec<Option<Record<'a>>> {
    let mut records = runs.iter().flat_map(|run| record::iter(run)).flatten().peekable();
    let offsets = (0..plan.entries.len() as u64).map(|n| plan.from + n);
    offsets.map(|offset| records.next_if(|record| record.queue_offset() == offset)).collect()
}

/// A stored message as it is stored again in another queue.
pub(crate) fn copy<'a>(record: &Record<'a>, topic: &'a str, queue_id: QueueId) -> Draft<'a> {
    Draft {
        topic,
        queue_id,
        flag: record.flag(),
        sys_flag: record.sys_flag(),
        born_at_ms: record.born_at_ms(),
        born_host: record.born_host(),
        reconsume_times: record.reconsume_times(),
        prepared_offset: record.prepared_offset(),
        body: record.body(),
        properties: record.properties().as_bytes(),
    }
}
