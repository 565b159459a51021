use millrace_store::{AppendError, Placed, QueueNo};
use millrace_types::record::{Draft, PROPERTIES_BYTES_MAX};
use millrace_types::{
    GroupName, Now, PhysicalOffset, Properties, QueueId, QueueOffset, TopicName, is_system_topic,
};

use crate::answer::{Answer, Refusal};
use crate::engine::Engine;
use crate::pending::Pending;
use crate::request::{Append, Caller, Fence, Message, Origin, Ticket, Wait};
use crate::state::{LEDGER_TOPIC, META_TOPIC, StateRecord};
use crate::topics::{Permission, Topic};

/// Most queues that one topic may have.
const QUEUES_MAX: u32 = 16_384;

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
        if append.messages.is_empty() {
            return Err(Refusal::IllegalMessage("there is none".into()));
        }
        let mut targets = Vec::with_capacity(append.messages.len());
        for message in append.messages {
            self.check(message)?;
            targets.push(self.target(now, message, append)?);
        }
        let drafts = append.messages.iter().zip(&targets).map(|(message, &(no, queue_id))| {
            let draft = Draft {
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
            };
            (no, draft)
        });
        let drafts: Vec<_> = drafts.collect();
        let placed = self.stage(now, &drafts)?;
        for (message, (no, _)) in append.messages.iter().zip(&targets) {
            if message.topic == LEDGER_TOPIC {
                self.epochs.observe(*no, Properties::new(message.properties));
            }
        }
        let places = targets.iter().map(|(_, queue)| *queue).zip(placed).collect();
        self.answer_when_stored(now, ticket, append.wait, Answer::Appended(places));
        Ok(None)
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

    pub(crate) fn commit_offset(
        &mut self,
        now: Now,
        ticket: Ticket,
        group: &GroupName,
        topic: &str,
        queue: QueueId,
        offset: QueueOffset,
    ) -> Handled {
        // An offset of a queue that does not exist is a mistake.
        self.queue_to_read(topic, queue)?;
        let known = self.topics.get(topic);
        let topic = known.ok_or_else(|| Refusal::UnknownTopic(topic.to_owned()))?.name.clone();
        if !self.groups.put(group, &topic, queue, offset) {
            return Ok(Some(Answer::Done));
        }
        self.stage_state(
            now,
            &StateRecord::Offset {
                group: group.to_string(),
                topic: topic.to_string(),
                queue: queue.0,
                offset: offset.0,
            },
        )?;
        self.answer_when_stored(now, ticket, Wait::Written, Answer::Done);
        Ok(None)
    }

    fn check_fence(&self, fence: &Fence<'_>) -> Result<(), Refusal> {
        let no = self.queue_to_read(fence.topic, fence.queue)?;
        let current = self.epochs.get(no);
        if current == fence.epoch { Ok(()) } else { Err(Refusal::Fenced { current }) }
    }

    fn check(&self, message: &Message<'_>) -> Result<(), Refusal> {
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
    fn target(
        &mut self,
        now: Now,
        message: &Message<'_>,
        append: &Append<'_>,
    ) -> Result<(QueueNo, QueueId), Refusal> {
        if self.topics.get(message.topic).is_none() {
            let name = TopicName::parse(message.topic)
                .map_err(|error| Refusal::IllegalTopic(error.to_string()))?;
            match append.create_queues.filter(|_| self.config.auto_create_topics) {
                Some(queues) if !is_system_topic(&name) => self.create_topic(now, &name, queues)?,
                _ => return Err(Refusal::UnknownTopic(message.topic.to_owned())),
            };
        }
        let topic = self.topics.get(message.topic).expect("it was created above");
        let closed = is_system_topic(&topic.name)
            && !(append.origin == Origin::Pipeline && message.topic == LEDGER_TOPIC);
        if closed || !topic.permission.write {
            return Err(Refusal::NotWritable(message.topic.to_owned()));
        }
        let queues = topic.write_queues;
        let queue = message.queue.unwrap_or_else(|| {
            self.next_queue = self.next_queue.wrapping_add(1);
            QueueId(self.next_queue % queues.max(1))
        });
        let no = (queue.0 < queues).then(|| self.topics.queue(message.topic, queue)).flatten();
        let topic = message.topic.to_owned();
        no.map(|no| (no, queue)).ok_or(Refusal::NoSuchQueue { topic, queue, queues })
    }

    /// Creates a topic, or gives it more queues.
    fn create_topic(&mut self, now: Now, name: &TopicName, queues: u32) -> Result<Topic, Refusal> {
        let queues = queues.clamp(1, QUEUES_MAX);
        let known = self.topics.get(name.as_str());
        let permission = known.map_or(Permission::ALL, |topic| topic.permission);
        let read_queues = known.map_or(queues, |topic| topic.read_queues.max(queues));
        self.stage_state(
            now,
            &StateRecord::Topic {
                name: name.to_string(),
                read_queues,
                write_queues: queues,
                perm: permission.to_bits(),
            },
        )?;
        self.put_topic(name.clone(), read_queues, queues, permission);
        Ok(Topic { name: name.clone(), read_queues, write_queues: queues, permission })
    }

    pub(crate) fn stage_state(&mut self, now: Now, record: &StateRecord) -> Result<(), Refusal> {
        let body = serde_json::to_vec(record).expect("a record of texts and numbers");
        let draft = Draft {
            topic: META_TOPIC,
            queue_id: QueueId(0),
            flag: 0,
            sys_flag: 0,
            born_at_ms: now.wall_ms,
            born_host: self.store.config().store_host,
            reconsume_times: 0,
            prepared_offset: PhysicalOffset(0),
            body: &body,
            properties: &[],
        };
        self.stage(now, &[(self.meta_queue(), draft)]).map(drop)
    }

    fn stage(&mut self, now: Now, drafts: &[(QueueNo, Draft<'_>)]) -> Result<Vec<Placed>, Refusal> {
        let mut placed = Vec::with_capacity(drafts.len());
        self.store.stage(drafts, now.wall_ms, &mut placed).map_err(|error| match error {
            AppendError::TooLarge { .. } => Refusal::IllegalMessage(error.to_string()),
            AppendError::DiskFull(full) => Refusal::DiskFull(full.to_string()),
            AppendError::Poisoned | AppendError::Io(_) => Refusal::Poisoned(error.to_string()),
        })?;
        let end = self.store.staged_end();
        for &(no, _) in drafts {
            // One burst holds long stretches for the same queue; one note for each is enough.
            match self.unseen.back_mut() {
                Some(last) if last.1 == no => last.0 = end,
                _ => self.unseen.push_back((end, no)),
            }
        }
        Ok(placed)
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
