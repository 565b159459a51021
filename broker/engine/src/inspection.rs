//! The broker's state as it lies in a log that nobody serves.

use std::collections::BTreeMap;

use millrace_types::record::Record;
use millrace_types::{Properties, QueueId};

use crate::holds::{LedgerHolds, Loss};
use crate::retention::Retention;
use crate::settings::Space;
use crate::state::{LEDGER_TOPIC, META_TOPIC, StateRecord};

/// What the broker's own records add up to. Hand it all records of a log, in order.
#[derive(Debug, Default)]
pub struct StateInspection {
    offsets: BTreeMap<(String, String, u32), u64>,
    settings: BTreeMap<(Space, String), String>,
    holds: LedgerHolds,
    retention: Retention,
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
            _ => {}
        }
    }

    fn take_ledger(&mut self, queue: QueueId, properties: Properties<'_>) {
        self.holds.observe(queue, properties);
    }

    fn apply(&mut self, record: StateRecord) {
        match record {
            StateRecord::Snapshot(records) => {
                *self = Self { holds: std::mem::take(&mut self.holds), ..Self::default() };
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
            }
            StateRecord::Hold { ledger, name, places } => self.holds.put(ledger, name, places),
            StateRecord::Clock { ms, sealed } => self.retention.take_clock(ms, &sealed),
            StateRecord::Lost(loss) => self.retention.lose(loss),
            StateRecord::Topic { .. } | StateRecord::Queue { .. } | StateRecord::Epoch { .. } => {}
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
}
