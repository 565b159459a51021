//! Delayed messages: into the queue where they wait, and out of it when they are due.
//!
//! A message with a delay level is stored in the topic `SCHEDULE_TOPIC_XXXX`, a timer in
//! `rmq_sys_wheel_timer`. It carries the topic and queue it is for as properties, as in RocketMQ.
//! When it is due, a copy is appended to that queue, or to the one of a timer's next step, and in
//! the same group the offset up to which this queue is delivered, as that of the group
//! `SCHEDULE_CONSUMER`. A crash keeps both or neither, so nothing is lost or repeated.

use bytes::Bytes;
use millrace_store::{Plan, QueueNo, ReadError};
use millrace_types::record::{self, Draft, PROPERTIES_BYTES_MAX, Record};
use millrace_types::{
    GroupName, Now, PhysicalOffset, Properties, PropertiesBuf, QueueId, QueueOffset, TopicName,
    keys,
};
use tracing::{debug, error, warn};

use crate::answer::{Answer, Out, Places, Refusal};
use crate::appends::draft;
use crate::engine::Engine;
use crate::reads::{ReadId, Reader};
use crate::request::{Append, Caller, Delay, Ticket};
use crate::state::StateRecord;

/// The topic of the delay levels, one queue each.
pub const SCHEDULE_TOPIC: &str = "SCHEDULE_TOPIC_XXXX";
/// The topic of timers, one queue for each step that they wait in.
pub const TIMER_TOPIC: &str = "rmq_sys_wheel_timer";
/// The group whose offsets say how far each queue is delivered.
pub(crate) const DELIVERY_GROUP: &str = "SCHEDULE_CONSUMER";

/// Whether the messages of a topic are delivered to other topics, which is the broker's business.
pub(crate) fn is_delivered_from(topic: &str) -> bool {
    topic == SCHEDULE_TOPIC || topic == TIMER_TOPIC
}

/// Where a delayed message is stored, and what is remembered of where it goes.
pub(crate) struct Delayed {
    queue: QueueNo,
    topic: &'static str,
    queue_id: QueueId,
    index: usize,
    properties: PropertiesBuf,
}

impl Delayed {
    /// A draft for the message's own queue, made one for that where it waits.
    pub(crate) fn draft<'a>(&'a self, draft: Draft<'a>) -> (QueueNo, Draft<'a>) {
        let Self { queue, topic, queue_id, properties, .. } = self;
        let properties = properties.as_bytes();
        (*queue, Draft { topic, queue_id: *queue_id, properties, ..draft })
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
            let target = (message.topic, queue);
            let properties = Properties::new(message.properties);
            let delayed = self.delay(now, message.delay, target, properties)?;
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

    /// Finds the place of a message that waits before it goes to a queue; `None` if it need not.
    pub(crate) fn delay(
        &mut self,
        now: Now,
        delay: Delay,
        (topic, queue): (&str, QueueId),
        properties: Properties<'_>,
    ) -> Result<Option<Delayed>, Refusal> {
        let left_ms = match delay {
            Delay::None => 0,
            Delay::Level(_) => 1,
            Delay::For(ms) => ms,
            Delay::Until(at_ms) => u64::try_from(at_ms.saturating_sub(now.wall_ms)).unwrap_or(0),
        };
        if left_ms == 0 {
            return Ok(None);
        }
        let queue = queue.to_string();
        let home = [(keys::REAL_TOPIC, Some(topic)), (keys::REAL_QUEUE, Some(&*queue))];
        if let Delay::Level(level) = delay {
            let index = self.delays.level(level);
            let level = (index + 1).to_string();
            let [topic, queue] = home;
            let properties = properties.with(&[(keys::DELAY, Some(&level)), topic, queue]);
            return self.wait_in(now, index, properties).map(Some);
        }
        let max_ms = self.config.timer_ms_max;
        if left_ms > max_ms {
            return Err(Refusal::IllegalMessage(format!(
                "timer message illegal, the delay time should not be bigger than the max delay \
                 {max_ms}ms"
            )));
        }
        let due = now.wall_ms.saturating_add(left_ms as i64).to_string();
        let left = left_ms.to_string();
        let left = matches!(delay, Delay::For(_)).then_some(&*left);
        let [topic, queue] = home;
        let timer = [(keys::TIMER_DUE, Some(&*due)), (keys::TIMER_LEFT, left), topic, queue];
        self.wait_in(now, self.delays.step(left_ms), properties.with(&timer)).map(Some)
    }

    /// A place in one of the queues where messages wait, whose topic is created if need be.
    fn wait_in(
        &mut self,
        now: Now,
        index: usize,
        properties: PropertiesBuf,
    ) -> Result<Delayed, Refusal> {
        let level = &self.delays.levels[index];
        let (topic, queue_id) = (level.topic, level.queue_id);
        let bytes = properties.as_bytes().len();
        if bytes > PROPERTIES_BYTES_MAX {
            return Err(Refusal::IllegalMessage(format!(
                "the properties of the delayed message have {bytes} bytes, more than the \
                 {PROPERTIES_BYTES_MAX} allowed"
            )));
        }
        if level.queue.is_none() {
            let name = TopicName::parse(topic).expect("a legal name");
            self.create_topic(now, &name, self.delays.queues_of(index))?;
        }
        let queue = self.delays.levels[index].queue;
        let queue = queue.ok_or_else(|| Refusal::UnknownTopic(topic.to_owned()))?;
        Ok(Delayed { queue, topic, queue_id, index, properties })
    }

    /// A delayed message was staged.
    pub(crate) fn note_delayed(
        &mut self,
        now: Now,
        delayed: &Delayed,
        placed: &millrace_store::Placed,
    ) {
        self.note_stored(now, placed.physical_offset);
        self.delays.note(now, delayed.index, placed.queue_offset);
    }

    /// A record was staged whose age will matter.
    pub(crate) fn note_stored(&mut self, now: Now, at: PhysicalOffset) {
        self.delays.clock.note(at, self.store.last_store_ms(), now);
    }

    /// After the state was read: where each queue goes on.
    pub(crate) fn resume_deliveries(&mut self) {
        for level in &mut self.delays.levels {
            let Some(queue) = level.queue else {
                continue;
            };
            let (group, topic) = names(level.topic);
            let delivered = self.groups.get(&group, &topic, level.queue_id);
            let bounds = self.store.bounds(queue);
            level.next = delivered.unwrap_or(QueueOffset(0)).max(bounds.min).min(bounds.end);
        }
        self.find_earliest_delivery();
    }

    fn find_earliest_delivery(&mut self) {
        let store = &self.store;
        self.delays.find_earliest(|queue| store.bounds(queue).end);
    }

    /// Asks for the messages that are due.
    pub(crate) fn begin_deliveries(&mut self, now: Now, out: &mut Out) {
        self.delays.clock.start(now);
        if now.mono_ms < self.delays.earliest_ms() {
            return;
        }
        let visible = self.visible();
        for (index, level) in self.delays.levels.iter_mut().enumerate() {
            let (Some(queue), (count @ 1.., bytes)) = (level.queue, level.wanted(now)) else {
                continue;
            };
            let bounds = self.store.bounds(queue);
            let gone = bounds.min.0.saturating_sub(level.next.0);
            if gone > 0 {
                error!(
                    topic = level.topic,
                    gone, "delayed messages were removed before their time"
                );
                level.advance(gone as usize);
            }
            let plan = self.store.plan(queue, level.next, count, bytes, visible);
            if !plan.entries.is_empty() {
                out.reads.push(self.reads.entries(Reader::Level(index), plan.entries.clone()));
                level.begin(plan);
            } else if level.next < bounds.end {
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
            Some(Reader::Decision(deciding)) => self.decide(now, &deciding, found, out),
            Some(Reader::Check(half)) => self.check_half(now, half, found, out),
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
            Err(ReadError::Io { .. } | ReadError::Absent { .. }) if !level.fail(now) => {
                warn!(
                    topic = level.topic, queue_id = level.queue_id.0, queue_offset = %plan.from,
                    "a delayed message cannot be read just now",
                );
                return;
            }
            Err(lost) => {
                error!(
                    topic = level.topic, queue_id = level.queue_id.0, queue_offset = %plan.from,
                    error = %lost, "a delayed message is lost",
                );
                Vec::new()
            }
        };
        let records = by_entry(&plan, &runs);
        let due = self.learn(now, index, &records);
        let onward = records[..due].iter().flatten();
        let onward: Vec<_> =
            onward.filter_map(|record| Some((self.onward(now, index, record)?, record))).collect();
        self.deliver_group(now, index, &plan, due, &onward);
    }

    /// How many of the records are due; of lost ones nobody knows, so these are passed over.
    fn learn(&mut self, now: Now, index: usize, records: &[Option<Record<'_>>]) -> usize {
        let delay_ms = self.delays.levels[index].delay_ms as i64;
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

    /// Where a due message goes; nowhere if its topic is no more.
    fn onward(&mut self, now: Now, index: usize, record: &Record<'_>) -> Option<Onward> {
        let properties = record.properties();
        let [topic, queue, due, left] = properties.pick([
            keys::REAL_TOPIC,
            keys::REAL_QUEUE,
            keys::TIMER_DUE,
            keys::TIMER_LEFT,
        ]);
        let level = &self.delays.levels[index];
        if level.topic == TIMER_TOPIC {
            let left = left.and_then(|left| left.parse::<i64>().ok());
            let left_ms = match left {
                Some(left_ms) => {
                    let clock = &self.delays.clock;
                    let stored = clock.stored_ms(record.physical_offset(), record.store_at_ms());
                    // It has waited here as long as one does here, or longer.
                    let waited_ms = (now.mono_ms as i64).saturating_sub(stored);
                    left_ms.saturating_sub(waited_ms.max(level.delay_ms as i64))
                }
                None => due.and_then(|due| due.parse::<i64>().ok()).unwrap_or(0) - now.wall_ms,
            };
            if left_ms > 0 {
                let text = left_ms.to_string();
                let left = left.map(|_| &*text);
                let properties = properties.with(&[(keys::TIMER_LEFT, left)]);
                let step = self.delays.step(left_ms as u64);
                match self.wait_in(now, step, properties) {
                    Ok(delayed) => return Some(Onward::Step(delayed)),
                    // It goes on early rather than never.
                    Err(error) => error!(error = %error, "a timer cannot wait any longer"),
                }
            }
        }
        let known = topic.and_then(|topic| self.topics.get(topic));
        let Some(known) = known else {
            warn!(
                topic, queue_offset = %record.queue_offset(),
                "a delayed message is dropped, because its topic is no more",
            );
            return None;
        };
        let queue = queue.and_then(|queue| queue.parse().ok()).unwrap_or(0);
        let queue_id = QueueId(queue % known.write_queues.max(1));
        let name = known.name.clone();
        let no = self.topics.queue(name.as_str(), queue_id)?;
        let properties = left.map(|_| properties.with(&[(keys::TIMER_LEFT, None)]));
        Some(Onward::Home { no, name, queue_id, properties })
    }

    /// Appends due messages, and how far the level is delivered then, as one.
    fn deliver_group(
        &mut self,
        now: Now,
        index: usize,
        plan: &Plan,
        count: usize,
        onward: &[(Onward, &Record<'_>)],
    ) {
        if count == 0 {
            return;
        }
        let level = &self.delays.levels[index];
        let (group, topic) = names(level.topic);
        let (queue, offset) = (level.queue_id, plan.from + count as u64);
        let delivered = StateRecord::Offset {
            group: group.to_string(),
            topic: topic.to_string(),
            queue: queue.0,
            offset: offset.0,
        };
        let body = delivered.encode();
        let drafts = onward.iter().map(|(onward, record)| onward.draft(record));
        let drafts: Vec<_> = drafts.chain([self.state_draft(now, &body)]).collect();
        let mut placed = Vec::with_capacity(drafts.len());
        let staged = self.stage(now, &drafts, &mut placed);
        let level = &mut self.delays.levels[index];
        match staged {
            Ok(()) => {
                level.advance(count);
                self.groups.put(&group, &topic, queue, offset);
                for ((onward, _), placed) in onward.iter().zip(&placed) {
                    if let Onward::Step(delayed) = onward {
                        self.note_delayed(now, delayed, placed);
                    }
                }
            }
            Err(Refusal::DiskFull(reason)) => {
                debug!(error = reason, "delayed messages wait for room on the disk");
                level.pause(now);
            }
            Err(Refusal::IllegalMessage(_)) if count > 1 => level.take_singly(&plan.entries),
            Err(refusal) => {
                error!(error = %refusal, topic = level.topic, "no delayed message is delivered");
                level.stop();
            }
        }
    }
}

/// Where a due message goes.
enum Onward {
    /// To the queue it is for.
    Home { no: QueueNo, name: TopicName, queue_id: QueueId, properties: Option<PropertiesBuf> },
    /// To where it waits next.
    Step(Delayed),
}

impl Onward {
    fn draft<'a>(&'a self, record: &Record<'a>) -> (QueueNo, Draft<'a>) {
        match self {
            Self::Home { no, name, queue_id, properties } => {
                let mut draft = copy(record, name.as_str(), *queue_id);
                if let Some(properties) = properties {
                    draft.properties = properties.as_bytes();
                }
                (*no, draft)
            }
            Self::Step(delayed) => delayed.draft(copy(record, "", QueueId(0))),
        }
    }
}

fn names(topic: &str) -> (GroupName, TopicName) {
    let group = GroupName::parse(DELIVERY_GROUP).expect("a legal name");
    (group, TopicName::parse(topic).expect("a legal name"))
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
