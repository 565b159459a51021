//! Topics that were deleted.
//!
//! Messages of a deleted topic lie in segments among those of others and go with these. Until then
//! the log remembers from which physical offset on a topic of that name is a new one. Its queues go
//! on counting where the old ones ended, so an offset never names two messages, and whoever still
//! has one of the old topic is told where the new one begins.

use std::collections::BTreeMap;

use millrace_types::{Now, PhysicalOffset, TopicName, is_system_topic};

use crate::answer::{Answer, Out, Refusal};
use crate::deliveries::is_delivered_from;
use crate::engine::Engine;
use crate::request::{Ticket, Wait};
use crate::state::StateRecord;
use crate::transactions::HALF_TOPIC;

/// Where each deleted topic ends, for as long as the log has anything of it.
#[derive(Debug, Default)]
pub(crate) struct Deletions(BTreeMap<TopicName, PhysicalOffset>);

impl Deletions {
    /// Where the messages of a topic of this name begin to count.
    pub(crate) fn begin(&self, topic: &str) -> PhysicalOffset {
        self.0.get(topic).copied().unwrap_or(PhysicalOffset(0))
    }

    /// Forgets the topics of which the log, which begins at `from`, has nothing any more.
    pub(crate) fn prune(&mut self, from: PhysicalOffset) {
        self.0.retain(|_, below| *below > from);
    }

    /// What a later start has to know, if the log begins at `from`.
    pub(crate) fn records(&self, from: PhysicalOffset) -> impl Iterator<Item = StateRecord> {
        let within = self.0.iter().filter(move |(_, below)| **below > from);
        within
            .map(|(topic, below)| StateRecord::Deleted { topic: topic.to_string(), below: below.0 })
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
        self.stage_state(now, &StateRecord::Deleted { topic: topic.to_owned(), below: below.0 })?;
        let queues = self.topics.find(topic).map_or(&[][..], |(_, queues)| queues);
        for pull in queues.iter().flat_map(|queue| self.held.take(*queue)) {
            out.push(pull.ticket, Answer::Refused(Refusal::UnknownTopic(topic.to_owned())));
        }
        self.forget_topic(&name, below);
        self.answer_when_stored(now, ticket, Wait::Policy, Answer::Done);
        Ok(None)
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
        self.deletions.0.insert(name.clone(), below);
    }
}
