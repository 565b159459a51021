//! Groups commit how far they have got.
//!
//! An offset goes into the log at once, unless the disk is short of room: then the log has only
//! what is reserved in its last segment for the broker's own state, and groups that commit at every
//! message would use that up within seconds. So changes are collected and each group's newest one
//! is logged now and then, and once there is no room at all, as soon as there is some again.

use std::collections::BTreeSet;
use std::ops::Bound;

use millrace_types::{GroupName, Now, QueueId, QueueOffset, TopicName};
use tracing::{info, warn};

use crate::answer::{Answer, Refusal};
use crate::deliveries::is_delivered_from;
use crate::engine::Engine;
use crate::request::{Ticket, Wait};
use crate::state::{GroupOffsets, StateRecord};
use crate::transactions::HALF_TOPIC;

/// Whose offset in which queue.
type Whose = (GroupName, TopicName, QueueId);

/// Offsets that the log does not have yet.
#[derive(Debug)]
pub(crate) struct Unlogged {
    whose: BTreeSet<Whose>,
    /// So many are logged at a time.
    pub(crate) logged_max: usize,
    /// The last one that was. It goes on behind that, or the groups whose names come first, which
    /// commit again and again, would keep the others out as long as the disk is short of room.
    last: Option<Whose>,
    /// Not before this is it tried again while the disk is short of room, ms.
    next_ms: u64,
    /// Whether the operator has been told that the log cannot take them.
    is_told: bool,
}

/// How often changed offsets are logged while the disk is short of room: a thousand of them take a
/// reserve of 16 MiB in half an hour, one in weeks.
const SHORT_MS: u64 = 30_000;

impl Default for Unlogged {
    fn default() -> Self {
        let whose = BTreeSet::new();
        Self { whose, logged_max: 10_000, last: None, next_ms: 0, is_told: false }
    }
}

impl Unlogged {
    /// Those whose turn it is.
    fn next(&self) -> Vec<Whose> {
        let Some(last) = &self.last else {
            return self.whose.iter().take(self.logged_max).cloned().collect();
        };
        let behind = self.whose.range((Bound::Excluded(last), Bound::Unbounded));
        let rest = self.whose.range(..=last);
        behind.chain(rest).take(self.logged_max).cloned().collect()
    }

    pub(crate) fn forget_topic(&mut self, topic: &TopicName) {
        self.whose.retain(|(_, known, _)| known != topic);
    }
}

impl Engine {
    pub(crate) fn commit_offset(
        &mut self,
        now: Now,
        ticket: Ticket,
        group: &GroupName,
        topic: &str,
        queue: QueueId,
        offset: QueueOffset,
    ) -> Result<Option<Answer>, Refusal> {
        if is_delivered_from(topic) || topic == HALF_TOPIC {
            // The first say which messages are delivered, and the last is read by nobody.
            return Err(Refusal::NotWritable(topic.to_owned()));
        }
        let known = self.topics.get(topic);
        let known = known.ok_or_else(|| Refusal::UnknownTopic(topic.to_owned()))?;
        let (topic, queues) = (known.name.clone(), known.read_queues);
        let max = self.config.limits.group_offsets_max;
        let is_known = |groups: &GroupOffsets| groups.get(group, &topic, queue).is_some();
        if !self.was_ever_there(&topic, queue) && !is_known(&self.groups) {
            // It is a mistake.
            return Err(Refusal::NoSuchQueue { topic: topic.to_string(), queue, queues });
        }
        if self.groups.len() >= max && !is_known(&self.groups) {
            return Err(Refusal::NoRoom { what: "offsets of groups", max });
        }
        let is_news = self.groups.put(group, &topic, queue, offset);
        if !is_news && self.unlogged.whose.is_empty() {
            return Ok(Some(Answer::Done));
        }
        let whose = (group.clone(), topic, queue);
        if !is_news && !self.unlogged.whose.contains(&whose) {
            return Ok(Some(Answer::Done));
        }
        if self.is_short_of_room() {
            self.unlogged.whose.insert(whose);
            return Ok(Some(Answer::Done));
        }
        match self.log_offset(now, &whose, offset) {
            Ok(()) => {
                self.unlogged.whose.remove(&whose);
                self.answer_when_stored(now, ticket, Wait::Written, Answer::Done);
                Ok(None)
            }
            // It holds as long as the broker runs, and is logged once there is room.
            Err(Refusal::DiskFull(why)) => {
                self.unlogged.whose.insert(whose);
                self.tell_unlogged(&why);
                Ok(Some(Answer::Done))
            }
            Err(refusal) => {
                self.unlogged.whose.insert(whose);
                Err(refusal)
            }
        }
    }

    /// Whether a topic has such a queue, or had it. What a member has done with counts also where
    /// the queue may be read no longer, as in RocketMQ: members commit later than they consume, and
    /// most do not hear what they are answered.
    fn was_ever_there(&self, topic: &TopicName, queue: QueueId) -> bool {
        let topic = topic.as_str();
        self.topics.queue(topic, queue).is_some() || self.store.find_queue(topic, queue).is_some()
    }

    /// Logs the offsets that the log does not have, as far as there is room.
    pub(crate) fn log_offsets(&mut self, now: Now) {
        if self.unlogged.whose.is_empty()
            || (self.is_short_of_room() && now.mono_ms < self.unlogged.next_ms)
        {
            return;
        }
        self.unlogged.next_ms = now.mono_ms.saturating_add(SHORT_MS);
        for whose in self.unlogged.next() {
            let (group, topic, queue) = &whose;
            if let Some(offset) = self.groups.get(group, topic, *queue) {
                match self.log_offset(now, &whose, offset) {
                    Ok(()) => {}
                    Err(Refusal::DiskFull(why)) => return self.tell_unlogged(&why),
                    // It was told why nothing is written any more.
                    Err(_) => return,
                }
            }
            self.unlogged.whose.remove(&whose);
            self.unlogged.last = Some(whose);
        }
        if self.unlogged.whose.is_empty() && std::mem::take(&mut self.unlogged.is_told) {
            info!("all committed offsets are in the log again");
        }
    }

    /// The broker is about to be closed: logs what the log does not have, whatever is left of it.
    pub fn on_closing(&mut self, now: Now) {
        while !self.unlogged.whose.is_empty() {
            let before = self.unlogged.whose.len();
            self.unlogged.next_ms = 0;
            self.log_offsets(now);
            if self.unlogged.whose.len() == before {
                warn!(
                    offsets = before,
                    "committed offsets are not in the log; after the next start these groups are \
                     given some messages again",
                );
                return;
            }
        }
    }

    fn log_offset(
        &mut self,
        now: Now,
        (group, topic, queue): &Whose,
        offset: QueueOffset,
    ) -> Result<(), Refusal> {
        let (group, topic) = (group.to_string(), topic.to_string());
        let record = StateRecord::Offset { group, topic, queue: queue.0, offset: offset.0 };
        self.stage_state(now, &record)
    }

    fn tell_unlogged(&mut self, why: &str) {
        if !std::mem::replace(&mut self.unlogged.is_told, true) {
            warn!(
                error = why,
                "the log has no room for committed offsets; they hold until the broker ends, and \
                 are logged once there is room",
            );
        }
    }
}
