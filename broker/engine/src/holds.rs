//! Who still needs messages that retention would remove (P13).

use std::collections::BTreeMap;

use millrace_store::QueueNo;
use millrace_types::{PhysicalOffset, Properties, QueueId, QueueOffset, keys};
use serde::{Deserialize, Serialize};
use tracing::warn;

use crate::engine::Engine;
use crate::transactions::HALF_TOPIC;

/// Somebody who still needs messages, and so keeps the segments they are in.
///
/// - `sink` and `source`: a pipeline's, at the places that its ledger names. With the ledger as the
///   truth these are exact; see [`keys::HOLD`].
/// - `group`: a consumer group that an operator listed, at its offsets.
/// - `timer`: delayed messages that are not delivered yet.
/// - `transaction`: half messages over which nobody has decided yet.
///
/// There are no replicas yet; they will be one more kind. Ledgers themselves need no hold, because what counts of them is appended again; and neither does
/// a reader in the middle of a read, because a removed file stays readable for as long as it is
/// open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hold {
    /// Its kind and name, such as `sink lake of ledger queue 3`.
    pub name: String,
    /// What would be lost to it.
    pub loses: Vec<Loss>,
}

/// Messages that were removed although somebody had not read them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Loss {
    /// Whose they were.
    pub hold: String,
    /// Topic.
    pub topic: String,
    /// Queue.
    pub queue: u32,
    /// The first offset not read.
    pub from: u64,
    /// The first offset that is still there.
    pub to: u64,
}

impl Loss {
    pub(crate) fn warn(&self) {
        let Self { hold, topic, queue, from, to } = self;
        warn!(%hold, %topic, queue_id = queue, from, to, "messages go unread");
    }
}

/// The name of the hold of half messages.
pub(crate) const HALF_HOLD: &str = "transaction";

/// The place in a queue from which on somebody needs its messages.
pub(crate) type Place = (String, u32, u64);

/// What ledgers hold, by queue of the ledger and name.
#[derive(Debug, Default)]
pub(crate) struct LedgerHolds(BTreeMap<(u32, String), Vec<Place>>);

impl LedgerHolds {
    /// Takes note of a message in a ledger queue.
    pub(crate) fn observe(&mut self, ledger: QueueId, properties: Properties<'_>) {
        if let Some((name, places)) = properties.get(keys::HOLD).and_then(parse) {
            self.put(ledger.0, name, places);
        }
    }

    pub(crate) fn put(&mut self, ledger: u32, name: String, places: Vec<Place>) {
        self.0.insert((ledger, name), places);
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, &str, &[Place])> {
        self.0.iter().map(|((ledger, name), places)| (*ledger, name.as_str(), places.as_slice()))
    }
}

/// Reads `name;topic:queue:offset;...`.
fn parse(value: &str) -> Option<(String, Vec<Place>)> {
    let mut parts = value.split(';');
    let name = parts.next()?.to_owned();
    let place = |part: &str| {
        let (rest, offset) = part.rsplit_once(':')?;
        let (topic, queue) = rest.rsplit_once(':')?;
        Some((topic.to_owned(), queue.parse().ok()?, offset.parse().ok()?))
    };
    let places = parts.filter(|part| !part.is_empty()).map(place).collect::<Option<_>>()?;
    Some((name, places))
}

impl Engine {
    /// Everybody who needs a message that lies before `end`.
    pub(crate) fn holds_before(&self, end: PhysicalOffset) -> Vec<Hold> {
        let mut holds = Vec::new();
        for (ledger, name, places) in self.ledger_holds.iter() {
            let name = format!("{name} of ledger queue {ledger}");
            let places = places.iter().map(|(topic, queue, at)| (topic.as_str(), *queue, *at));
            self.add_hold(&mut holds, &name, end, places);
        }
        for group in &self.config.retention.hold_groups {
            let offsets = self.groups.iter().filter(|(known, ..)| *known == group);
            let places = offsets.map(|(_, topic, queue, at)| (topic.as_str(), queue.0, at.0));
            self.add_hold(&mut holds, &format!("group {group}"), end, places);
        }
        let levels = self.delays.levels.iter();
        let timer = levels.map(|level| (level.topic, level.queue_id.0, level.next.0));
        self.add_hold(&mut holds, "timer", end, timer);
        let half = self.transactions.first().map(|half| (HALF_TOPIC, 0, half.0));
        self.add_hold(&mut holds, HALF_HOLD, end, half.into_iter());
        holds
    }

    fn add_hold<'a>(
        &self,
        holds: &mut Vec<Hold>,
        name: &str,
        end: PhysicalOffset,
        places: impl Iterator<Item = (&'a str, u32, u64)>,
    ) {
        let loses: Vec<Loss> = places.filter_map(|place| self.loss(name, end, place)).collect();
        if !loses.is_empty() {
            holds.push(Hold { name: name.to_owned(), loses });
        }
    }

    /// What somebody loses who reads from `from` on, if everything before `end` goes.
    fn loss(
        &self,
        hold: &str,
        end: PhysicalOffset,
        (topic, queue, from): (&str, u32, u64),
    ) -> Option<Loss> {
        // Who needs a topic that was deleted gets it no more.
        let no: QueueNo = self.topics.queue(topic, QueueId(queue))?;
        let first = self.store.first_at(no, QueueOffset(from))?;
        (first < end).then(|| Loss {
            hold: hold.to_owned(),
            topic: topic.to_owned(),
            queue,
            from: from.max(self.store.bounds(no).min.0),
            to: self.store.first_from(no, end).0,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(value: &str, name: &str, places: &[(&str, u32, u64)]) {
        let places = places.iter().map(|(topic, queue, at)| ((*topic).to_owned(), *queue, *at));
        assert_eq!(parse(value), Some((name.to_owned(), places.collect())), "{value}");
    }

    #[test]
    fn a_ledger_names_what_it_holds() {
        let places = [("orders", 0, 17), ("%RETRY%a|b", 3, 0)];
        check("sink lake;orders:0:17;%RETRY%a|b:3:0", "sink lake", &places);
        check("source", "source", &[]);
        assert_eq!(parse("sink lake;orders:17"), None);
        assert_eq!(parse("sink lake;orders:-1:17"), None);
    }
}
