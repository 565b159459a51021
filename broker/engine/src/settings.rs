use std::collections::BTreeMap;

use millrace_types::{GroupName, Now, QueueId, QueueOffset, TopicName};
use serde::{Deserialize, Serialize};

use crate::answer::{Answer, Refusal};
use crate::engine::Engine;
use crate::request::{Ticket, Wait};
use crate::state::StateRecord;
use crate::topics::Topic;

/// Whose setting something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Space {
    /// The name server's keys.
    NameServer,
    /// What consumer groups are set to.
    Group,
    /// What the broker was last started with, for who looks at its files.
    Broker,
    /// The attributes of topics, as `name=value,name=value`.
    Topic,
    /// Brokers whose topics take no writes, as far as the name server tells.
    Wiped,
    /// The filters attached to groups and topics: `group G`, `topic T`, or `group G topic T`.
    Filter,
}

/// What administrators set, by name. The engine keeps it, and reads
/// the attributes of topics.
#[derive(Debug, Default)]
pub(crate) struct Settings(BTreeMap<(Space, String), String>);

/// How many settings there may be: far more than anybody sets by hand.
pub const SETTINGS_MAX: usize = 10_000;
/// What the name and the value of one may have, in bytes.
pub const SETTING_BYTES_MAX: usize = 32 << 10;

impl Settings {
    pub(crate) fn put(&mut self, space: Space, key: String, value: Option<String>) {
        match value {
            Some(value) => drop(self.0.insert((space, key), value)),
            None => drop(self.0.remove(&(space, key))),
        }
    }

    /// What was set for a topic goes with it.
    pub(crate) fn forget_topic(&mut self, topic: &str) {
        self.put(Space::Topic, topic.to_owned(), None);
        let is_attached = |key: &str| {
            let before = key.strip_suffix(topic).and_then(|rest| rest.strip_suffix("topic "));
            before.is_some_and(|before| before.is_empty() || before.ends_with(' '))
        };
        self.0.retain(|(space, key), _| *space != Space::Filter || !is_attached(key));
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = (Space, &str, &str)> {
        self.0.iter().map(|((space, key), value)| (*space, key.as_str(), value.as_str()))
    }
}

impl Engine {
    pub(crate) fn put_setting(
        &mut self,
        now: Now,
        ticket: Ticket,
        space: Space,
        key: &str,
        value: Option<&str>,
    ) -> Result<Option<Answer>, Refusal> {
        if self.setting(space, key) == value {
            return Ok(Some(Answer::Done));
        }
        let known = self.setting(space, key).is_some();
        if key.len() + value.map_or(0, str::len) > SETTING_BYTES_MAX {
            let most = format!("a setting has at most {SETTING_BYTES_MAX} bytes");
            return Err(Refusal::IllegalMessage(most));
        }
        if value.is_some() && !known && self.settings.0.len() >= SETTINGS_MAX {
            let most = format!("there are {SETTINGS_MAX} settings already");
            return Err(Refusal::IllegalMessage(most));
        }
        let (key, value) = (key.to_owned(), value.map(str::to_owned));
        let record = StateRecord::Setting { space, key: key.clone(), value: value.clone() };
        self.stage_state(now, &record)?;
        self.settings.put(space, key, value);
        self.answer_when_stored(now, ticket, Wait::Policy, Answer::Done);
        Ok(None)
    }

    /// What a setting is.
    pub fn setting(&self, space: Space, key: &str) -> Option<&str> {
        self.settings.0.get(&(space, key.to_owned())).map(String::as_str)
    }

    /// All settings of a space, by name.
    pub fn settings(&self, space: Space) -> impl Iterator<Item = (&str, &str)> {
        let all = self.settings.0.iter().filter(move |((known, _), _)| *known == space);
        all.map(|((_, key), value)| (key.as_str(), value.as_str()))
    }

    /// All topics, with the next offset that each queue for consumers will give, and how many
    /// messages all of its queues have ever got. These count also what is in queues that are not
    /// read, or that the topic has no longer, so that the number never goes back.
    pub fn ends(&self) -> impl Iterator<Item = (&Topic, impl Iterator<Item = QueueOffset>, u64)> {
        let mut stored: BTreeMap<&str, u64> = BTreeMap::new();
        for (topic, _, queue) in self.store.queues() {
            *stored.entry(topic.as_str()).or_default() += self.store.bounds(queue).end.0;
        }
        self.topics.iter_queues().map(move |(topic, queues)| {
            let queues = queues.iter().take(topic.read_queues as usize);
            let stored = stored.get(topic.name.as_str()).copied().unwrap_or(0);
            (topic, queues.map(|queue| self.store.bounds(*queue).end), stored)
        })
    }

    /// Every group's recorded offsets.
    pub fn group_offsets(
        &self,
    ) -> impl Iterator<Item = (&GroupName, &TopicName, QueueId, QueueOffset)> {
        self.groups.iter()
    }
}
