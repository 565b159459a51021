//! The broker's state as one group of records, so that those it came from may go.
//!
//! State is what the records of the topics `MILLRACE_META` and `MILLRACE_LEDGER` add up to. It is
//! appended again, whole, whenever as much has been appended since the last time as a start should
//! have to read, and before retention removes a segment. The first message of such a snapshot has a
//! tag, so that the queue index tells where it is. The same state also goes into a file; see
//! [`millrace_store::Snapshot`].

use bytes::Bytes;
use millrace_store::{QueueNo, ReadError};
use millrace_types::record::{self, Draft, Record};
use millrace_types::{Now, PhysicalOffset, PropertiesBuf, QueueId, QueueOffset, TagsCode, keys};
use tracing::{debug, warn};

use crate::answer::Refusal;
use crate::appends::RECORD_BYTES;
use crate::deliveries::copy;
use crate::engine::Engine;
use crate::state::{LEDGER_TOPIC, META_TOPIC, StateRecord};
use crate::transactions::HALF_TOPIC;

/// Bytes of one message of a snapshot.
const BATCH_BYTES: usize = 64 << 10;
/// A ledger with more live bytes than this is not appended again, and holds its segments.
const LEDGER_BYTES_MAX: usize = 32 << 20;
/// A snapshot is due once this many times its own size was appended after it.
const GROWTH: u64 = 4;

/// How much of the log's state a start would have to read.
#[derive(Debug, Default)]
pub(crate) struct StateLog {
    /// Bytes of state records since the last snapshot.
    pub(crate) bytes_since: u64,
    /// Bytes of that snapshot.
    pub(crate) snapshot_bytes: u64,
}

/// The part of a ledger queue that counts, to be appended again.
struct LiveLedger {
    no: QueueNo,
    queue: QueueId,
    runs: Vec<Bytes>,
}

impl Engine {
    /// Appends the state again, if that is due.
    pub(crate) fn snapshot_if_due(&mut self, now: Now) {
        let StateLog { bytes_since, snapshot_bytes } = self.state_log;
        if bytes_since < self.config.state_bytes_min.max(GROWTH * snapshot_bytes) {
            return;
        }
        if let Err(refusal) = self.stage_snapshot(now, self.store.log_min()) {
            // On a full disk, for example. What there is stays true, and longer.
            debug!(error = %refusal, "state not appended again");
            self.state_log.bytes_since = 0;
        }
    }

    /// Appends everything that must outlive the records before `cut`, as one group.
    pub(crate) fn stage_snapshot(&mut self, now: Now, cut: PhysicalOffset) -> Result<(), Refusal> {
        let state = self.live_state(cut);
        let bodies = encode(&state, BATCH_BYTES);
        let ledgers = self.live_ledgers(cut)?;
        let copies = ledgers.iter().flat_map(copies);
        let copies: Vec<(QueueNo, Record<'_>, QueueId, Vec<u8>)> = copies.collect();

        let mut start = PropertiesBuf::new();
        start.push(keys::TAGS, keys::STATE_TAG);
        let meta = self.meta_queue();
        let mut drafts = Vec::with_capacity(bodies.len() + copies.len());
        for body in &bodies {
            drafts.push(self.state_draft(now, body));
        }
        drafts[0].1.properties = start.as_bytes();
        for (no, record, queue_id, properties) in &copies {
            drafts.push((*no, copy_of(record, *queue_id, properties)));
        }
        let bytes = drafts.iter().map(|(_, draft)| draft.body.len() as u64 + RECORD_BYTES).sum();
        self.stage(now, &drafts, &mut Vec::with_capacity(drafts.len()))?;
        self.state_log = StateLog { bytes_since: 0, snapshot_bytes: bytes };
        let next = self.store.bounds(meta).end;
        let whole = encode(&state, usize::MAX).swap_remove(0);
        self.store.keep_snapshot(next, whole);
        Ok(())
    }

    /// The state, in an order in which it can be taken in again.
    fn live_state(&self, cut: PhysicalOffset) -> Vec<StateRecord> {
        let mut state: Vec<StateRecord> = self.deletions.records(self.store.log_min()).collect();
        state.extend(self.deletions.begins());
        let topics = self.topics.iter().filter(|topic| topic.name.as_str() != META_TOPIC);
        state.extend(topics.map(StateRecord::of_topic));
        state.extend(self.settings.all().map(|(space, key, value)| StateRecord::Setting {
            space,
            key: key.to_owned(),
            value: Some(value.to_owned()),
        }));
        let offsets = self.groups.iter();
        state.extend(offsets.map(|(group, topic, queue, offset)| StateRecord::Offset {
            group: group.to_string(),
            topic: topic.to_string(),
            queue: queue.0,
            offset: offset.0,
        }));
        for (topic, queue, no) in self.store.queues() {
            let end = self.store.bounds(no).end;
            if end > QueueOffset(0) && self.store.first_from(no, cut) == end {
                let topic = topic.to_string();
                state.push(StateRecord::Queue { topic, queue: queue.0, next: end.0 });
            }
            let epoch = self.epochs.get(no);
            if epoch > 0 {
                state.push(StateRecord::Epoch { queue: queue.0, epoch });
            }
            let forgone = self.forgone.below(queue);
            if topic.as_str() == LEDGER_TOPIC && forgone > self.store.bounds(no).min {
                state.push(StateRecord::Forgone { queue: queue.0, below: forgone.0 });
            }
        }
        state.extend(self.ledger_holds.iter().map(|(ledger, name, places)| StateRecord::Hold {
            ledger,
            name: name.to_owned(),
            places: places.to_vec(),
        }));
        if let Some(halves) = self.topics.queue(HALF_TOPIC, QueueId(0)) {
            state.extend(self.transactions.records(self.store.bounds(halves).end));
        }
        state.push(self.retention.clock_record(cut));
        state.extend(self.retention.losses.iter().cloned().map(StateRecord::Lost));
        state
    }

    /// The live parts of the ledgers that begin before `cut`.
    fn live_ledgers(&self, cut: PhysicalOffset) -> Result<Vec<LiveLedger>, Refusal> {
        let mut live = Vec::new();
        for (topic, queue, no) in self.store.queues() {
            if topic.as_str() != LEDGER_TOPIC {
                continue;
            }
            let start = self.state_start(no).unwrap_or(self.store.bounds(no).min);
            if self.store.first_at(no, start).is_none_or(|at| at >= cut) {
                continue;
            }
            let (runs, bytes) = self.read_from(no, start).map_err(|error| {
                warn!(error = %error, queue_id = %queue, "ledger not appended again");
                Refusal::IllegalMessage(format!("ledger queue {queue}: {error}"))
            })?;
            if bytes > LEDGER_BYTES_MAX {
                let most = format!("ledger queue {queue} has {bytes} bytes that count");
                return Err(Refusal::IllegalMessage(most));
            }
            live.push(LiveLedger { no, queue, runs });
        }
        Ok(live)
    }

    fn read_from(&self, no: QueueNo, from: QueueOffset) -> Result<(Vec<Bytes>, usize), ReadError> {
        // What is staged in this very burst cannot be read yet, and cannot be old either.
        let limit = self.store.watermarks().appended();
        let (mut next, mut runs, mut bytes) = (from, Vec::new(), 0);
        loop {
            let plan = self.store.plan(no, next, 4096, 4 << 20, limit);
            if plan.entries.is_empty() || bytes > LEDGER_BYTES_MAX {
                return Ok((runs, bytes));
            }
            let read = self.store.reader().read(&plan.entries)?;
            bytes += read.iter().map(Bytes::len).sum::<usize>();
            runs.extend(read);
            next = plan.next();
        }
    }

    /// Where the state of a queue starts anew for the last time.
    pub(crate) fn state_start(&self, no: QueueNo) -> Option<QueueOffset> {
        let tag = TagsCode::of(keys::STATE_TAG);
        let bounds = self.store.bounds(no);
        let mut end = bounds.end;
        while end > bounds.min {
            let from = QueueOffset(end.0.saturating_sub(4096)).max(bounds.min);
            let count = end.since(from) as usize;
            let plan = self.store.plan(no, from, count, u64::MAX, PhysicalOffset(u64::MAX));
            let starts = |entry: &millrace_store::Entry| entry.size > 0 && entry.tags_code == tag;
            if let Some(n) = plan.entries.iter().rposition(starts) {
                return Some(from + n as u64);
            }
            end = from;
        }
        None
    }
}

/// The records of a ledger, with the properties they are appended again with.
fn copies(ledger: &LiveLedger) -> impl Iterator<Item = (QueueNo, Record<'_>, QueueId, Vec<u8>)> {
    let records = ledger.runs.iter().flat_map(|run| record::iter(run)).filter_map(Result::ok);
    records.enumerate().map(|(n, record)| {
        let mut properties = PropertiesBuf::new();
        if n == 0 {
            properties.push(keys::TAGS, keys::STATE_TAG);
        }
        // The store adds its own to every copy.
        let own = [keys::TAGS, keys::CRC32, keys::MORE];
        let kept = record.properties().iter().filter(|(name, _)| !own.contains(name));
        kept.for_each(|(name, value)| {
            properties.push(name, value);
        });
        (ledger.no, record, ledger.queue, properties.into_bytes())
    })
}

fn copy_of<'a>(record: &Record<'a>, queue_id: QueueId, properties: &'a [u8]) -> Draft<'a> {
    Draft { properties, ..copy(record, record.topic(), queue_id) }
}

/// A snapshot and its batches, each of which is the body of a message.
fn encode(state: &[StateRecord], batch_bytes: usize) -> Vec<Vec<u8>> {
    let mut bodies = vec![br#"{"snapshot":["#.to_vec()];
    let mut first = true;
    for record in state {
        let mut body = bodies.last_mut().expect("there is one from the start");
        if body.len() >= batch_bytes {
            body.extend_from_slice(b"]}");
            bodies.push(br#"{"batch":["#.to_vec());
            body = bodies.last_mut().expect("pushed just now");
            first = true;
        }
        if !first {
            body.push(b',');
        }
        first = false;
        body.extend_from_slice(&record.encode());
    }
    if let Some(last) = bodies.last_mut() {
        last.extend_from_slice(b"]}");
    }
    bodies
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_of_any_size_reads_back_in_order() {
        let record = |n: u64| StateRecord::Queue { topic: "orders".into(), queue: 0, next: n };
        for count in [0, 1, 2, 50] {
            let state: Vec<_> = (0..count).map(record).collect();
            for batch_bytes in [1, 100, usize::MAX] {
                let mut read = Vec::new();
                for (n, body) in encode(&state, batch_bytes).iter().enumerate() {
                    match serde_json::from_slice(body).unwrap() {
                        StateRecord::Snapshot(part) if n == 0 => read.extend(part),
                        StateRecord::Batch(part) if n > 0 => read.extend(part),
                        other => panic!("{other:?}"),
                    }
                }
                assert_eq!(read, state, "{count} in {batch_bytes}");
            }
        }
    }
}
