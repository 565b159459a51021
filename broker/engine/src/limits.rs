use crate::answer::Refusal;
use crate::engine::Engine;
use millrace_types::{TopicName, is_system_topic};

/// What all clients together may make the broker remember. Without an access control everybody
/// who reaches it can make it remember more, and what is remembered is read by every start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EngineLimits {
    /// Queues of all topics but the broker's own. Four times as many as have been measured (50,000), and about 60 MB.
    /// Those of deleted topics, whose offsets go on if the topic comes back, may be as many again.
    pub queues_max: usize,
    /// Offsets of all groups. A group has one for each queue that it reads; about 200 MB.
    pub group_offsets_max: usize,
    /// Pulls that wait for a message. A consumer has one for each queue that it reads; about 60 MB.
    pub held_pulls_max: usize,
}

impl Default for EngineLimits {
    fn default() -> Self {
        Self { queues_max: 200_000, group_offsets_max: 1_000_000, held_pulls_max: 200_000 }
    }
}

impl Engine {
    /// Whether a topic may have so many queues. Those that there are stay, and the broker's own
    /// topics need no room.
    ///
    /// The store numbers every name of a queue once and for all, so that the offsets of a topic that
    /// comes back go on. Names of deleted topics and queues have as much room again; beyond that only
    /// names that there were before are taken.
    pub(crate) fn check_queues(&self, topic: &TopicName, queues: u32) -> Result<(), Refusal> {
        let max = self.config.limits.queues_max;
        let known = self.topics.find(topic.as_str()).map_or(0, |(_, numbers)| numbers.len());
        let added = (queues as usize).saturating_sub(known);
        if added > 0 && self.topics.queues() + added > max && !is_system_topic(topic) {
            return Err(Refusal::NoRoom { what: "queues", max });
        }
        let new = (queues as usize).saturating_sub(self.store.queues_of(topic.as_str()));
        let max = max.saturating_mul(2);
        if new > 0 && self.store.queue_count() + new > max && !is_system_topic(topic) {
            return Err(Refusal::NoRoom { what: "queues, with those of deleted topics", max });
        }
        Ok(())
    }
}
