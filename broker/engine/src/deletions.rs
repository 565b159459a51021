//! Topics that were deleted.
//!
//! Messages of a deleted topic lie in segments among those of others and go with these. Until then
//! the log remembers from which physical offset on a topic of that name is a new one. Its queues go
//! on counting where the old ones ended, so an offset never names two messages, and whoever still
//! has one of the old topic is told where the new one begins.

use std::collections::BTreeMap;

use millrace_types::{Now, PhysicalOffset, QueueId, QueueOffset, TopicName, is_system_topic};

use crate::answer::{Answer, Out, Refusal};
use crate::deliveries::is_delivered_from;
use crate::engine::Engine;
use crate::request::{Ticket, Wait};
use crate::state::StateRecord;
use crate::transactions::HALF_TOPIC;

/// Where each deleted topic ends.
#[derive(Debug, Default)]
pub(crate) struct Deletions {
    /// For as long as the log has anything of it.
    below: BTreeMap<TopicName, PhysicalOffset>,
    /// Where the queues of the next topic of the name begin, but for those that begin at 0. Kept as
    /// long as the store remembers the queues: where the log begins tells nothing of it any more
    /// once messages were removed.
    begins: BTreeMap<TopicName, BTreeMap<u32, u64>>,
}

impl Deletions {
    /// Where the messages of a topic of this name begin to count.
    pub(crate) fn begin(&self, topic: &str) -> PhysicalOffset {
        self.below.get(topic).copied().unwrap_or(PhysicalOffset(0))
    }

    /// Forgets the topics of which the log, which begins at `from`, has nothing any more.
    pub(crate) fn prune(&mut self, from: PhysicalOffset) {
        self.below.retain(|_, below| *below > from);
    }

    /// What a later start has to know, if the log begins at `from`.
    pub(crate) fn records(&self, from: PhysicalOffset) -> impl Iterator<Item = StateRecord> {
        let within = self.below.iter().filter(move |(_, below)| **below > from);
        within
            .map(|(topic, below)| StateRecord::Deleted { topic: topic.to_string(), below: below.0 })
    }

    /// Takes in where the queues of the next topic of a name begin.
    pub(crate) fn put_begins(&mut self, topic: TopicName, queues: Vec<(u32, u64)>) {
        self.begins.insert(topic, queues.into_iter().collect());
    }

    /// The same, for a later start.
    pub(crate) fn begins(&self) -> impl Iterator<Item = StateRecord> {
        self.begins.iter().map(|(topic, queues)| StateRecord::Begins {
            topic: topic.to_string(),
            queues: queues.iter().map(|(queue, offset)| (*queue, *offset)).collect(),
        })
    }
}

impl Engine {
    pub(crate) fn delete_topic(
        &mut self,
        now: Now,
        ticket: Ticket,
        topic: &str,
        out: &mut Out,
    ) -> Result<Option<Answer>, Refusal> {
        let Some(known) = self.topics.get(topic) else {
            return Ok(Some(Answer::Done));
        };
        let name = known.name.clone();
        if is_system_topic(&name) || is_delivered_from(topic) || topic == HALF_TOPIC {
            return Err(Refusal::NotWritable(topic.to_owned()));
        }
        let below = self.store.staged_end();
        let begins = self.ends_of(&name);
        let deleted = StateRecord::Deleted { topic: topic.to_owned(), below: below.0 };
        if begins.is_empty() {
            self.stage_state(now, &deleted)?;
        } else {
            // As one group: a topic that is there begins where it always did.
            let (topic, queues) = (topic.to_owned(), begins.clone());
            let bodies = [StateRecord::Begins { topic, queues }.encode(), deleted.encode()];
            let drafts = [0, 1].map(|n| self.state_draft(now, &bodies[n]));
            self.stage(now, &drafts, &mut Vec::with_capacity(2))?;
        }
        if !begins.is_empty() {
            self.deletions.put_begins(name.clone(), begins);
        }
        let queues = self.topics.find(topic);
        let queues = queues.map_or_else(Vec::new, |(_, queues)| queues.to_vec());
        self.forget_topic(&name, below);
        self.refuse_unreadable(topic, &queues, out);
        self.answer_when_stored(now, ticket, Wait::Policy, Answer::Done);
        Ok(None)
    }

    /// The offset of the very first message that a queue of a topic has got or will get: not 0 if
    /// there was a topic of the name before.
    pub fn beginning(&self, topic: &str, queue: QueueId) -> QueueOffset {
        let begins = self.deletions.begins.get(topic);
        QueueOffset(begins.and_then(|queues| queues.get(&queue.0)).copied().unwrap_or(0))
    }

    /// Where the queues of a topic end that have ever had messages.
    fn ends_of(&self, name: &TopicName) -> Vec<(u32, u64)> {
        let queues = self.store.queues().filter(|(topic, ..)| *topic == name);
        let ends = queues.map(|(_, queue, no)| (queue.0, self.store.bounds(no).end.0));
        ends.filter(|(_, end)| *end > 0).collect()
    }

    /// Lets nothing of a topic be seen that lies before `below`.
    pub(crate) fn forget_topic(&mut self, name: &TopicName, below: PhysicalOffset) {
        let queues = self.store.queues().filter(|(topic, ..)| *topic == name);
        let queues: Vec<_> = queues.map(|(_, _, no)| no).collect();
        for no in queues {
            self.store.hide_below(no, below);
        }
        self.topics.remove(name);
        self.groups.forget_topic(name);
        self.unlogged.forget_topic(name);
        self.settings.forget_topic(name.as_str());
        self.deletions.below.insert(name.clone(), below);
    }
}
