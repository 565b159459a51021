use millrace_store::{AppendError, Placed, QueueNo};
use millrace_types::record::{Draft, PROPERTIES_BYTES_MAX};
use millrace_types::{
    Now, PhysicalOffset, Properties, QueueId, TopicName, is_system_topic, is_system_topic_name,
};

use tracing::debug;

use crate::answer::{Answer, Out, Places, Refusal};
use crate::deliveries::is_delivered_from;
use crate::engine::Engine;
use crate::pending::Pending;
use crate::request::{Append, Caller, Delay, Fence, Message, Origin, Ticket, Wait};
use crate::state::{LEDGER_TOPIC, META_TOPIC, StateRecord};
use crate::topics::{Permission, Topic};
use crate::transactions::HALF_TOPIC;

/// Most queues that one topic may have.
pub const QUEUES_MAX: u32 = 16_384;

/// About what a state record has besides its body.
pub(crate) const RECORD_BYTES: u64 = 150;

type Handled = Result<Option<Answer>, Refusal>;

impl Engine {
    pub(crate) fn append(
        &mut self,
        now: Now,
        caller: &Caller,
        ticket: Ticket,
        append: &Append<'_>,
    ) -> Handled {
        if let Some(fence) = &append.fence {
            self.check_fence(fence)?;
        }
        self.check_room(append)?;
        if append.origin == Origin::Producer {
            self.check_disk_keeps_up()?;
        }
        if append.messages.iter().any(|message| message.delay != Delay::None) {
            return self.append_delayed(now, caller, ticket, append);
        }
        let places = match append.messages {
            [] => return Err(Refusal::IllegalMessage("there is none".into())),
            [message] => Places::One(self.append_one(now, caller, message, append)?),
            _ => Places::Many(self.append_group(now, caller, append)?),
        };
        self.answer_when_stored(now, ticket, append.wait, Answer::Appended(places));
        Ok(None)
    }

    fn append_one(
        &mut self,
        now: Now,
        caller: &Caller,
        message: &Message<'_>,
        append: &Append<'_>,
    ) -> Result<(QueueId, Placed), Refusal> {
        self.check(message)?;
        let (no, queue) = self.target(now, message, append)?;
        let mut placed = std::mem::take(&mut self.placed);
        placed.clear();
        let staged = self.stage(now, &[(no, draft(message, queue, caller))], &mut placed);
        let place = placed.first().copied();
        self.placed = placed;
        staged?;
        self.note_ledger(message, no, queue);
        Ok((queue, place.expect("one draft has one place")))
    }

    fn append_group(
        &mut self,
        now: Now,
        caller: &Caller,
        append: &Append<'_>,
    ) -> Result<Vec<(QueueId, Placed)>, Refusal> {
        let mut targets = Vec::with_capacity(append.messages.len());
        for message in append.messages {
            self.check(message)?;
            targets.push(self.target(now, message, append)?);
        }
        let drafts = append.messages.iter().zip(&targets);
        let drafts = drafts.map(|(message, &(no, queue))| (no, draft(message, queue, caller)));
        let drafts: Vec<_> = drafts.collect();
        let mut placed = Vec::with_capacity(drafts.len());
        self.stage(now, &drafts, &mut placed)?;
        for (message, &(no, queue)) in append.messages.iter().zip(&targets) {
            self.note_ledger(message, no, queue);
        }
        Ok(targets.iter().map(|(_, queue)| *queue).zip(placed).collect())
    }

    /// A nearly full disk takes no messages. A ledger's own records get through, so that what was
    /// read can be settled.
    pub(crate) fn check_room(&self, append: &Append<'_>) -> Result<(), Refusal> {
        let is_state = |message: &Message<'_>| is_system_topic_name(message.topic);
        match self.disk_trouble() {
            Some(trouble) if !append.messages.iter().all(is_state) => {
                Err(Refusal::DiskFull(trouble))
            }
            _ => Ok(()),
        }
    }

    /// A record of a ledger was stored.
    fn note_ledger(&mut self, message: &Message<'_>, no: QueueNo, queue: QueueId) {
        if message.topic == LEDGER_TOPIC {
            let properties = Properties::new(message.properties);
            self.epochs.observe(no, properties);
            self.ledger_holds.observe(queue, properties);
        }
    }

    pub(crate) fn check_disk_keeps_up(&mut self) -> Result<(), Refusal> {
        if self.store.keeps_up() { Ok(()) } else { Err(Refusal::Busy) }
    }

    /// Makes a topic exactly this.
    pub(crate) fn set_topic(
        &mut self,
        now: Now,
        ticket: Ticket,
        topic: Topic,
        out: &mut Out,
    ) -> Handled {
        let topic = Topic {
            read_queues: topic.read_queues.clamp(1, QUEUES_MAX),
            write_queues: topic.write_queues.clamp(1, QUEUES_MAX),
            ..topic
        };
        if self.topics.get(topic.name.as_str()) == Some(&topic) {
            return Ok(Some(Answer::Topic(topic)));
        }
        if topic.name.as_str() == HALF_TOPIC {
            return Err(Refusal::NotWritable(topic.name.to_string()));
        }
        self.check_queues(&topic.name, topic.read_queues.max(topic.write_queues))?;
        let before = self.topics.find(topic.name.as_str());
        let before = before.map_or_else(Vec::new, |(_, queues)| queues.to_vec());
        self.store_topic(now, &topic)?;
        self.refuse_unreadable(topic.name.as_str(), &before, out);
        self.answer_when_stored(now, ticket, Wait::Policy, Answer::Topic(topic));
        Ok(None)
    }

    pub(crate) fn store_topic(&mut self, now: Now, topic: &Topic) -> Result<(), Refusal> {
        self.stage_state(now, &StateRecord::of_topic(topic))?;
        self.put_topic(topic.clone());
        Ok(())
    }

    /// Notes that name servers know an order of these topics, which makes them ordered ones. (In
    /// RocketMQ, `TopicConfigManager.updateOrderTopicConfig`.)
    pub fn note_order<'a>(&mut self, now: Now, topics: impl Iterator<Item = &'a str>) {
        for topic in topics {
            if let Some(known) = self.topics.get(topic)
                && !known.order
                && !is_system_topic(&known.name)
            {
                let topic = Topic { order: true, ..known.clone() };
                if let Err(refusal) = self.store_topic(now, &topic) {
                    // On a full disk, for example. Name servers tell again.
                    debug!(topic = %topic.name, error = %refusal, "its order is not noted yet");
                }
            }
        }
    }

    pub(crate) fn ensure_topic(
        &mut self,
        now: Now,
        ticket: Ticket,
        name: &TopicName,
        queues: u32,
    ) -> Handled {
        if let Some(known) = self.topics.get(name.as_str())
            && queues <= known.write_queues
        {
            return Ok(Some(Answer::Topic(known.clone())));
        }
        let topic = self.create_topic(now, name, queues)?;
        self.answer_when_stored(now, ticket, Wait::Policy, Answer::Topic(topic));
        Ok(None)
    }

    fn check_fence(&self, fence: &Fence<'_>) -> Result<(), Refusal> {
        let no = self.queue_to_read(fence.topic, fence.queue)?;
        let current = self.epochs.get(no);
        if current == fence.epoch { Ok(()) } else { Err(Refusal::Fenced { current }) }
    }

    pub(crate) fn check(&self, message: &Message<'_>) -> Result<(), Refusal> {
        let (body, properties) = (message.body.len(), message.properties.len());
        if body > self.config.message_bytes_max {
            let max = self.config.message_bytes_max;
            return Err(Refusal::IllegalMessage(format!(
                "the body has {body} bytes, more than the {max} allowed"
            )));
        }
        if properties > PROPERTIES_BYTES_MAX {
            return Err(Refusal::IllegalMessage(format!(
                "the properties have {properties} bytes, more than the {PROPERTIES_BYTES_MAX} allowed"
            )));
        }
        Ok(())
    }

    /// The queue that a message goes to, creating its topic if that is asked for and allowed.
    pub(crate) fn target(
        &mut self,
        now: Now,
        message: &Message<'_>,
        append: &Append<'_>,
    ) -> Result<(QueueNo, QueueId), Refusal> {
        let (topic, numbers) = match self.topics.find(message.topic) {
            Some(known) => known,
            None => {
                self.create_for(now, message.topic, append.create_queues)?;
                self.topics.find(message.topic).expect("it was created just now")
            }
        };
        let closed = (is_system_topic(&topic.name) || is_delivered_from(message.topic))
            && !(append.origin == Origin::Pipeline && message.topic == LEDGER_TOPIC);
        if closed || !topic.permission.write {
            return Err(Refusal::NotWritable(message.topic.to_owned()));
        }
        let queues = topic.write_queues;
        let queue = message.queue.unwrap_or_else(|| {
            self.next_queue = self.next_queue.wrapping_add(1);
            QueueId(self.next_queue % queues.max(1))
        });
        // Where there are fewer queues to write than to read, producers that do not know yet may
        // write the others for a while, as in RocketMQ.
        numbers.get(queue.0 as usize).map(|no| (*no, queue)).ok_or_else(|| {
            let topic = message.topic.to_owned();
            let queues = numbers.len() as u32;
            Refusal::NoSuchQueue { topic, queue, queues }
        })
    }

    /// Creates an unknown topic that a message is for, if that is asked for and allowed.
    fn create_for(&mut self, now: Now, topic: &str, queues: Option<u32>) -> Result<(), Refusal> {
        let name =
            TopicName::parse(topic).map_err(|error| Refusal::IllegalTopic(error.to_string()))?;
        match queues.filter(|_| self.config.auto_create_topics) {
            Some(queues) if !is_system_topic(&name) && !is_delivered_from(topic) => {
                self.create_topic(now, &name, queues).map(drop)
            }
            _ => Err(Refusal::UnknownTopic(topic.to_owned())),
        }
    }

    /// Creates a topic, or gives it more queues.
    pub(crate) fn create_topic(
        &mut self,
        now: Now,
        name: &TopicName,
        queues: u32,
    ) -> Result<Topic, Refusal> {
        let queues = queues.clamp(1, QUEUES_MAX);
        self.check_queues(name, queues)?;
        let known = self.topics.get(name.as_str());
        let permission = known.map_or(Permission::ALL, |topic| topic.permission);
        let read_queues = known.map_or(queues, |topic| topic.read_queues.max(queues));
        let order = known.is_some_and(|topic| topic.order);
        let topic =
            Topic { name: name.clone(), read_queues, write_queues: queues, permission, order };
        self.store_topic(now, &topic)?;
        Ok(topic)
    }

    pub(crate) fn stage_state(&mut self, now: Now, record: &StateRecord) -> Result<(), Refusal> {
        let body = record.encode();
        let draft = self.state_draft(now, &body);
        self.stage(now, &[draft], &mut Vec::with_capacity(1))
    }

    /// A state record as it is stored.
    pub(crate) fn state_draft<'a>(&self, now: Now, body: &'a [u8]) -> (QueueNo, Draft<'a>) {
        let draft = Draft {
            topic: META_TOPIC,
            queue_id: QueueId(0),
            flag: 0,
            sys_flag: 0,
            born_at_ms: now.wall_ms,
            born_host: self.store.config().store_host,
            reconsume_times: 0,
            prepared_offset: PhysicalOffset(0),
            body,
            properties: &[],
        };
        (self.meta_queue(), draft)
    }

    pub(crate) fn stage(
        &mut self,
        now: Now,
        drafts: &[(QueueNo, Draft<'_>)],
        placed: &mut Vec<Placed>,
    ) -> Result<(), Refusal> {
        if let Err(error) = self.store.stage(drafts, now.wall_ms, placed) {
            return Err(match error {
                AppendError::TooLarge { .. } => Refusal::IllegalMessage(error.to_string()),
                AppendError::DiskFull(cause) => {
                    let why = cause.to_string();
                    self.no_room_for_a_segment(&why);
                    Refusal::DiskFull(why)
                }
                AppendError::Poisoned | AppendError::Io(_) => Refusal::Poisoned(error.to_string()),
            });
        }
        let end = self.store.staged_end();
        let meta = self.meta_queue();
        for (no, draft) in drafts.iter().map(|(no, draft)| (*no, draft)) {
            if no == meta {
                self.state_log.bytes_since += draft.body.len() as u64 + RECORD_BYTES;
            } else {
                self.stored_messages += 1;
            }
            // One burst holds long stretches for the same queue; one note for each is enough.
            match self.unseen.back_mut() {
                Some(last) if last.1 == no => last.0 = end,
                _ => self.unseen.push_back((end, no)),
            }
        }
        Ok(())
    }

    pub(crate) fn answer_when_stored(
        &mut self,
        now: Now,
        ticket: Ticket,
        wait: Wait,
        answer: Answer,
    ) {
        let end = self.store.staged_end();
        let until_ms = now.mono_ms + self.config.sync_flush_timeout_ms;
        self.pending.stage(Pending { ticket, answer, wait, end, until_ms });
    }
}

/// A message as it is stored in a queue.
pub(crate) fn draft<'a>(message: &Message<'a>, queue_id: QueueId, caller: &Caller) -> Draft<'a> {
    Draft {
        topic: message.topic,
        queue_id,
        flag: message.flag,
        sys_flag: message.sys_flag,
        born_at_ms: message.born_at_ms,
        born_host: caller.peer,
        reconsume_times: message.reconsume_times,
        prepared_offset: PhysicalOffset(0),
        body: message.body,
        properties: message.properties,
    }
}
