//! The broker's state as it lies in a log that nobody serves.

use std::collections::{BTreeMap, BTreeSet};

use millrace_store::{OLDEST_SEGMENTS, QueuePart, SegmentInspection};
use millrace_types::record::Record;
use millrace_types::{PhysicalOffset, Properties, QueueId, QueueOffset, is_system_topic_name};

use crate::deliveries::{DELIVERY_GROUP, is_delivered_from};
use crate::holds::{HALF_HOLD, Hold, LedgerHolds, Loss, Place};
use crate::retention::{HOUR_MS, Retention, TopicRule};
use crate::settings::Space;
use crate::state::{LEDGER_TOPIC, META_TOPIC, StateRecord};
use crate::transactions::{HALF_TOPIC, Transactions};

/// What the broker's own records add up to. Hand it all records of a log, in order.
#[derive(Debug, Default)]
pub struct StateInspection {
    offsets: BTreeMap<(String, String, u32), u64>,
    settings: BTreeMap<(Space, String), String>,
    holds: LedgerHolds,
    retention: Retention,
    transactions: Transactions,
    /// Where the half messages end.
    halves_end: QueueOffset,
    /// Topics of which nothing counts.
    deleted: BTreeSet<String>,
}

/// What retention takes next from a log, as far as the log tells: how full the disk will be, and how
/// many bytes of one topic are to be kept, is not considered, and either may let it go earlier.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NextRemoval {
    /// The first byte of each segment that goes.
    pub segments: Vec<PhysicalOffset>,
    /// How much longer the broker has to run until they are old enough; 0 if they are.
    pub due_in_ms: u64,
    /// How many messages of which topics are in them. The broker's own are not counted, because what
    /// counts of these is appended again.
    pub topics: BTreeMap<String, u64>,
    /// Who holds them, and what they would lose.
    pub held_by: Vec<Hold>,
    /// How much longer the broker has to run until they go although they are held.
    pub held_for_ms: u64,
}

impl StateInspection {
    /// Takes in the next record of the log, whatever it is of.
    pub fn take(&mut self, record: &Record<'_>) {
        match record.topic() {
            META_TOPIC => {
                // What does not parse is of a newer program, and its own start says so.
                if let Ok(change) = serde_json::from_slice(record.body()) {
                    self.apply(change);
                }
            }
            LEDGER_TOPIC => self.take_ledger(record.queue_id(), record.properties()),
            HALF_TOPIC => {
                self.halves_end = self.halves_end.max(record.queue_offset() + 1);
            }
            _ => {}
        }
    }

    fn take_ledger(&mut self, queue: QueueId, properties: Properties<'_>) {
        self.holds.observe(queue, properties);
    }

    fn apply(&mut self, record: StateRecord) {
        match record {
            StateRecord::Snapshot(records) => {
                let (holds, halves_end) = (std::mem::take(&mut self.holds), self.halves_end);
                *self = Self { holds, halves_end, ..Self::default() };
                records.into_iter().for_each(|record| self.apply(record));
            }
            StateRecord::Batch(records) => records.into_iter().for_each(|r| self.apply(r)),
            StateRecord::Offset { group, topic, queue, offset } => {
                self.offsets.insert((group, topic, queue), offset);
            }
            StateRecord::Setting { space, key, value: Some(value) } => {
                self.settings.insert((space, key), value);
            }
            StateRecord::Setting { space, key, value: None } => {
                self.settings.remove(&(space, key));
            }
            StateRecord::Deleted { topic, .. } => {
                self.offsets.retain(|(_, known, _), _| *known != topic);
                self.deleted.insert(topic);
            }
            StateRecord::Topic { name, .. } => drop(self.deleted.remove(&name)),
            StateRecord::Hold { ledger, name, places } => self.holds.put(ledger, name, places),
            StateRecord::Clock { ms, sealed } => self.retention.take_clock(ms, &sealed),
            StateRecord::Lost(loss) => self.retention.lose(loss),
            StateRecord::Halves { until, open } => self.transactions.take_halves(until, &open),
            StateRecord::Decided { half } => self.transactions.take_decided(QueueOffset(half)),
            StateRecord::Checked { half, checks } => {
                self.transactions.take_checked(QueueOffset(half), checks);
            }
            StateRecord::Begins { .. }
            | StateRecord::Queue { .. }
            | StateRecord::Epoch { .. }
            | StateRecord::Forgone { .. } => {}
        }
    }

    /// Group, topic, queue, and the next offset of the group there.
    pub fn offsets(&self) -> impl Iterator<Item = (&str, &str, u32, u64)> {
        let offsets = self.offsets.iter();
        offsets.map(|((group, topic, queue), offset)| (&**group, &**topic, *queue, *offset))
    }

    /// What the broker was last started with, by name.
    pub fn started_with(&self) -> impl Iterator<Item = (&str, &str)> {
        let own = self.settings.iter().filter(|((space, _), _)| *space == Space::Broker);
        own.map(|((_, key), value)| (key.as_str(), value.as_str()))
    }

    /// Who holds messages, and topic, queue and offset from where on.
    pub fn holds(&self) -> impl Iterator<Item = (String, &[(String, u32, u64)])> {
        let holds = self.holds.iter();
        holds.map(|(ledger, name, places)| (format!("{name} of ledger queue {ledger}"), places))
    }

    /// How long the broker has run since each full segment was full, as far as the log knows: the
    /// segment's first byte, and milliseconds.
    pub fn segment_ages(&self) -> impl Iterator<Item = (u64, u64)> {
        let Retention { sealed, clock_ms, .. } = &self.retention;
        sealed.iter().map(|(base, since)| (base.0, clock_ms.saturating_sub(*since)))
    }

    /// What somebody who needed it lost to retention.
    pub fn losses(&self) -> impl Iterator<Item = &Loss> {
        self.retention.losses.iter()
    }

    /// What retention takes next; `None` as long as no segment is full. `segments` are those of the
    /// log, and this has taken in all its records.
    pub fn next_removal(&self, segments: &[SegmentInspection]) -> Option<NextRemoval> {
        let mut rest: u64 = segments.iter().map(|segment| segment.len).sum();
        let mut going: Vec<(&SegmentInspection, u64)> = Vec::new();
        let mut hold_ends_in_ms = 0;
        for segment in segments.iter().take(OLDEST_SEGMENTS) {
            let Some(sealed) = self.retention.sealed.get(&segment.base) else {
                break;
            };
            rest -= segment.len;
            let age = self.retention.clock_ms.saturating_sub(*sealed);
            let keep = self.keep_ms(segment);
            let by_size = self.number("keep_bytes").is_some_and(|max| rest >= max);
            let due_in_ms = if by_size { 0 } else { keep.saturating_sub(age) };
            if going.first().is_some_and(|(_, first)| due_in_ms > *first) {
                break;
            }
            let hold_max_ms = self.number("hold_max").unwrap_or(0).saturating_mul(HOUR_MS);
            let patience = keep.saturating_add(hold_max_ms).saturating_sub(age);
            if going.is_empty() {
                hold_ends_in_ms = patience;
            }
            going.push((segment, due_in_ms));
        }
        let due_in_ms = going.first()?.1;
        let mut topics = BTreeMap::new();
        let mut parts: BTreeMap<(&str, u32), QueuePart> = BTreeMap::new();
        for ((topic, queue), part) in going.iter().flat_map(|(segment, _)| &segment.queues) {
            if !is_system_topic_name(topic) {
                *topics.entry(topic.clone()).or_default() += part.messages;
            }
            let all = parts.entry((topic, queue.0)).or_insert(*part);
            all.to = all.to.max(part.to);
        }
        let held_by = self.holds_on(&parts);
        let held_for_ms = if held_by.is_empty() { 0 } else { hold_ends_in_ms };
        let segments = going.iter().map(|(segment, _)| segment.base).collect();
        Some(NextRemoval { segments, due_in_ms, topics, held_by, held_for_ms })
    }

    /// How long the topics in a segment want to be kept.
    fn keep_ms(&self, segment: &SegmentInspection) -> u64 {
        let default = self.number("keep").unwrap_or(0).saturating_mul(HOUR_MS);
        let names = segment.queues.keys().map(|(topic, _)| topic.as_str());
        let rules = names.filter(|topic| !is_system_topic_name(topic)).map(|topic| {
            let attributes = self.settings.get(&(Space::Topic, topic.to_owned()));
            attributes.map(|text| TopicRule::parse(text)).and_then(|rule| rule.keep_ms)
        });
        rules.map(|rule| rule.unwrap_or(default)).max().unwrap_or(default)
    }

    /// The number with which a setting of the broker's start begins.
    fn number(&self, key: &str) -> Option<u64> {
        let text = self.settings.get(&(Space::Broker, key.to_owned()))?;
        text.split_whitespace().next()?.parse().ok()
    }

    /// Who needs messages of these parts of queues.
    fn holds_on(&self, parts: &BTreeMap<(&str, u32), QueuePart>) -> Vec<Hold> {
        let mut holds = Vec::new();
        for (name, places) in self.holds() {
            self.add_hold(&mut holds, name, parts, places.iter().cloned());
        }
        let listed = self.settings.get(&(Space::Broker, "holders".to_owned()));
        for group in listed.iter().flat_map(|groups| groups.split(' ')) {
            let own = self.offsets.iter().filter(|((known, ..), _)| known == group);
            let places = own.map(|((_, topic, queue), at)| (topic.clone(), *queue, *at));
            self.add_hold(&mut holds, format!("group {group}"), parts, places);
        }
        let waiting = parts.keys().filter(|(topic, _)| is_delivered_from(topic));
        let places = waiting.map(|(topic, queue)| {
            let key = (DELIVERY_GROUP.to_owned(), (*topic).to_owned(), *queue);
            ((*topic).to_owned(), *queue, self.offsets.get(&key).copied().unwrap_or(0))
        });
        self.add_hold(&mut holds, "timer".to_owned(), parts, places);
        let half = self.transactions.first_open(self.halves_end);
        let half = half.map(|half| (HALF_TOPIC.to_owned(), 0, half.0));
        self.add_hold(&mut holds, HALF_HOLD.to_owned(), parts, half.into_iter());
        holds
    }

    fn add_hold(
        &self,
        holds: &mut Vec<Hold>,
        name: String,
        parts: &BTreeMap<(&str, u32), QueuePart>,
        places: impl Iterator<Item = Place>,
    ) {
        let lost = |(topic, queue, at): Place| {
            let part = parts.get(&(topic.as_str(), queue))?;
            let from = part.from.max(QueueOffset(at));
            let counts = from < part.to && !self.deleted.contains(&topic);
            let (from, to) = (from.0, part.to.0);
            counts.then(|| Loss { hold: name.clone(), topic, queue, from, to })
        };
        let loses: Vec<Loss> = places.filter_map(lost).collect();
        if !loses.is_empty() {
            holds.push(Hold { name, loses });
        }
    }
}
