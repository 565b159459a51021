//! The ledger: what a pipeline did, as records in the log that the pipeline reads.
//!
//! The topic `MILLRACE_LEDGER` holds one queue for each pipeline. Queue 0 is the directory: each
//! message `{"v":1,"pipeline":NAME,"queue":N}` gives a queue to a pipeline, and the first one that
//! names a pipeline or a queue wins. In a pipeline's queue each message is one record: a JSON
//! object, with the worker's epoch in the property `MR_EPOCH`.
//!
//! Every record has `v` (version, 1), `seq` (counts the records of one run) and `record`:
//!
//! | `record`    | written                                                                       |
//! |-------------|-------------------------------------------------------------------------------|
//! | `LEASE`     | when a worker takes the pipeline, durably; fences off all earlier epochs      |
//! | `SOURCE`    | in the same group as messages of the source, every few MiB and every second   |
//! | `PLANNED`   | durably, after all bytes of the parts are, before any of them becomes visible |
//! | `COMMITTED` | after all its parts are visible, or when offsets move without a part          |
//! | `ABORTED`   | when planned parts were lost before they became visible                       |
//! | `LETTERS`   | in the same group as the dead letters it names                                |
//!
//! | record    | field      | meaning                                                                |
//! |-----------|------------|------------------------------------------------------------------------|
//! | LEASE     | `worker`   | who; different for every run                                           |
//! |           | `epoch`    | the epoch taken, one more than the queue had                           |
//! | SOURCE    | `cursors`  | per origin `{identity, path, offset, line}`: the next record to read;  |
//! |           |            | with `taken`, so many bytes of that one are in the topic already       |
//! |           | `tails`    | places; from there on lies everything appended after this record       |
//! | PLANNED   | `sink`     | its name                                                               |
//! |           | `parts`    | per part `{id, name, staged, partition, ranges, rows, bytes, checksum}`|
//! |           | `resume`   | what COMMITTED will say                                                |
//! |           | `pipeline` | fingerprint of the configuration, hexadecimal                          |
//! | COMMITTED | `sink`     |                                                                        |
//! |           | `parts`    | per part `{id, bytes, checksum}`                                       |
//! |           | `resume`   | `{next, ahead}`: places; per partition `{partition, next}`             |
//! |           | `layout`   | fingerprint of what decides the partition of a message, hexadecimal    |
//! | ABORTED   | `sink`     |                                                                        |
//! |           | `parts`    | their numbers                                                          |
//! |           | `reason`   | for people                                                             |
//! | LETTERS   | `sink`     |                                                                        |
//! |           | `topic`    | where the letters are                                                  |
//! |           | `rows`     | per queue `{broker, topic, queue, offsets}`: what became letters       |
//! |           | `counts`   | letters by code                                                        |
//!
//! A place is `{broker, topic, queue, offset}`, a range `{broker, topic, queue, from, to}`; the
//! first three are a queue's identity in every topology. Offsets name the *next* message.
//!
//! COMMITTED and LETTERS wait only as the broker's flush mode says. Both are in one log with all
//! that follows them, and a log loses nothing but its end: if a LETTERS is lost, so is every
//! COMMITTED that passes its messages; if a COMMITTED is lost, its parts are found visible by the
//! next worker. PLANNED must not be lost once a part is visible, so it waits for the disk.

mod directory; // which queue is whose
mod record; // the records and their JSON
mod state; // what the records add up to
#[cfg(test)]
mod tests;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;
use millrace_client::{Append, Broker, BrokerError, Fence, Outgoing, Wait};
use millrace_connect_api::Message;
use millrace_types::{PropertiesBuf, QueueId, QueueOffset, TopicName, keys};
use tracing::{info, warn};

pub use record::{
    Aborted, Ahead, Committed, CommittedPart, Cursor, Entry, Lease, LetterRows, Letters, Offsets,
    Planned, PlannedPart, QueueAt, Range, Record, SourceMark, VERSION,
};
pub use state::{LedgerState, SinkState, Unsettled};

use crate::clock::SystemClock;
use crate::error::RunError;
use crate::link::{Link, Patience};
use crate::stop::Stop;

/// The topic of all ledgers.
pub const TOPIC: &str = "MILLRACE_LEDGER";

/// How often a worker that starts may lose the lease to another one that starts too.
const RACES_MAX: u32 = 16;

/// What a pipeline's ledger says now, without taking it over; `None` if the pipeline never ran.
pub async fn read(
    broker: Arc<dyn Broker>,
    pipeline: &str,
) -> Result<Option<LedgerState>, RunError> {
    let clock = Arc::new(SystemClock::new());
    let link = Link::new(broker, clock, Patience::SHORT, 0, Stop::default());
    let topic = topic();
    let Some(queue) = directory::find(&link, &topic, pipeline).await? else { return Ok(None) };
    let mut state = LedgerState::default();
    let mut each = |epoch, entry| state.fold(epoch, &entry);
    match read_records(&link, &topic, queue, QueueOffset(0), &mut each).await {
        Ok(_) => Ok(Some(state)),
        // Its first worker is about to make it.
        Err(RunError::Broker { source: BrokerError::NoSuchQueue { .. }, .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// A pipeline's ledger, held by this worker.
///
/// Every append goes through it, because every append names the epoch of the lease: once another
/// worker has taken over, none of ours goes through any more.
///
/// An append that is not answered may still arrive. So before it is looked for, the worker takes
/// the lease anew, with the next epoch: from then on the lost append is either in the log or
/// refused, and looking once gives the answer for good.
pub(crate) struct Ledger {
    link: Arc<Link>,
    topic: TopicName,
    queue: QueueId,
    worker: String,
    /// The first epoch that was ours; all after it are too.
    first_epoch: u64,
    seq: AtomicU64,
    held: Mutex<Held>,
    /// Held while the lease is taken anew, so that those who were refused meanwhile wait.
    renewing: tokio::sync::Mutex<()>,
}

#[derive(Clone, Copy)]
struct Held {
    epoch: u64,
    /// One past the last record of the queue that is known.
    end: QueueOffset,
}

/// What became of an append.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Landed {
    /// Done; the queue offsets of the messages.
    Answered(Vec<QueueOffset>),
    /// Not answered, but its ledger record is in the log, so all of it is.
    Found,
    /// Not answered, and there is no ledger record to look for. It will not arrive any more, so
    /// reading back the messages' queues tells what became of it.
    Unknown,
}

impl Ledger {
    /// Takes a pipeline over: whoever ran it before can append nothing any more. Answers what the
    /// ledger says after their last record.
    pub(crate) async fn open(
        link: Arc<Link>,
        pipeline: &str,
        worker: &str,
    ) -> Result<(Self, LedgerState), RunError> {
        let topic = topic();
        let queue = directory::assign(&link, &topic, pipeline).await?;
        let mut ledger = Self {
            link,
            topic,
            queue,
            worker: worker.to_owned(),
            first_epoch: 0,
            seq: AtomicU64::new(0),
            held: Mutex::new(Held { epoch: 0, end: QueueOffset(0) }),
            renewing: tokio::sync::Mutex::new(()),
        };
        let mut state = LedgerState::default();
        let mut end = ledger.take_in(QueueOffset(0), &mut state).await?;
        let mut races = 0;
        while !ledger.take_lease(&mut end, &mut state).await? {
            races += 1;
            if races == RACES_MAX {
                return Err(RunError::Fenced { current: state.epoch });
            }
        }
        ledger.first_epoch = state.epoch;
        *ledger.held() = Held { epoch: state.epoch, end };
        info!(pipeline, worker, epoch = state.epoch, "lease taken");
        Ok((ledger, state))
    }

    /// The epoch held.
    pub(crate) fn epoch(&self) -> u64 {
        self.held().epoch
    }

    /// Appends messages and ledger records in one group, all or nothing, however often it takes.
    pub(crate) async fn append(
        &self,
        messages: &[Outgoing],
        records: Vec<Record>,
        wait: Wait,
    ) -> Result<Landed, RunError> {
        let entries: Vec<Entry> = records.into_iter().map(|record| self.entry(record)).collect();
        let mut pauses = self.link.pauses();
        let doing = || "append".to_owned();
        loop {
            let Held { epoch, end } = *self.held();
            let mut group = Vec::with_capacity(messages.len() + entries.len());
            group.extend_from_slice(messages);
            group.extend(entries.iter().map(|entry| self.message(epoch, entry)));
            let append = Append { messages: group, fence: Some(self.fence(epoch)), wait };
            match self.link.append_once(append).await {
                Ok(appended) => {
                    pauses.over();
                    let mut offsets = appended.offsets;
                    let of_records = offsets.split_off(messages.len().min(offsets.len()));
                    if let (Some(&first), Some(&last)) = (of_records.first(), of_records.last()) {
                        if first < end {
                            let queue = self.link.queue(&self.topic, self.queue);
                            return Err(RunError::WentBack { queue, known: end, end: first });
                        }
                        let mut held = self.held();
                        held.end = held.end.max(last + 1);
                    }
                    return Ok(Landed::Answered(offsets));
                }
                Err(BrokerError::Fenced { current }) => {
                    let _renewed = self.renewing.lock().await;
                    if current > self.epoch() || self.epoch() == epoch {
                        return Err(RunError::Fenced { current });
                    }
                    // It was our own newer lease that refused it.
                }
                Err(error @ BrokerError::OutcomeUnknown(_)) => {
                    pauses.pause_or(error, doing).await?;
                    self.renew(epoch).await?;
                    if entries.is_empty() {
                        return Ok(Landed::Unknown);
                    }
                    if self.has(end, entries[0].seq).await? {
                        pauses.over();
                        return Ok(Landed::Found);
                    }
                }
                Err(error) => pauses.pause_or(error, doing).await?,
            }
        }
    }

    /// Takes the lease anew, unless that was done since `epoch`.
    async fn renew(&self, epoch: u64) -> Result<(), RunError> {
        let _renewing = self.renewing.lock().await;
        let Held { epoch: held, mut end } = *self.held();
        if held > epoch {
            return Ok(());
        }
        // Only the epoch and its holder matter here, so the state starts from what is known.
        let mut state = LedgerState { epoch: held, ..LedgerState::default() };
        state.worker = Some(self.worker.clone());
        if !self.take_lease(&mut end, &mut state).await? {
            return Err(RunError::Fenced { current: state.epoch });
        }
        warn!(epoch = state.epoch, "lease taken anew after an append without an answer");
        let mut held = self.held();
        held.epoch = state.epoch;
        held.end = held.end.max(end);
        Ok(())
    }

    /// Takes the epoch after `state`'s. Afterwards `state` covers the queue up to `end`, and the
    /// lease is ours, or (`false`) another worker's.
    async fn take_lease(
        &self,
        end: &mut QueueOffset,
        state: &mut LedgerState,
    ) -> Result<bool, RunError> {
        let mut pauses = self.link.pauses();
        loop {
            let before = state.epoch;
            let wanted = before + 1;
            let lease = Lease { worker: self.worker.clone(), epoch: wanted };
            let entry = self.entry(Record::Lease(lease));
            let append = Append {
                messages: vec![self.message(wanted, &entry)],
                fence: Some(self.fence(before)),
                wait: Wait::Durable,
            };
            let mut refused_at = None;
            match self.link.append_once(append).await {
                Ok(_) => {}
                Err(BrokerError::Fenced { current }) => refused_at = Some(current),
                Err(error) => {
                    pauses.pause_or(error, || "take the pipeline's lease".to_owned()).await?;
                }
            }
            // Whatever the answer, the first lease of an epoch in the queue holds. This also takes
            // in what the worker before appended since the queue was read.
            *end = self.take_in(*end, state).await?;
            if state.epoch > before {
                pauses.over();
                return Ok(state.epoch == wanted && state.worker.as_deref() == Some(&self.worker));
            }
            if let Some(current) = refused_at {
                // Refused, and yet nobody took it: the broker's epoch is not that of its queue.
                return Err(RunError::Fenced { current });
            }
        }
    }

    /// Reads the queue from `from` into `state`; answers where it ended.
    async fn take_in(
        &self,
        from: QueueOffset,
        state: &mut LedgerState,
    ) -> Result<QueueOffset, RunError> {
        read_records(&self.link, &self.topic, self.queue, from, &mut |epoch, entry| {
            state.fold(epoch, &entry)
        })
        .await
    }

    /// Whether the record of this number of ours is in the queue at or after `from`.
    async fn has(&self, from: QueueOffset, seq: u64) -> Result<bool, RunError> {
        let mut found = false;
        read_records(&self.link, &self.topic, self.queue, from, &mut |epoch, entry| {
            found |= epoch >= self.first_epoch && entry.seq == seq;
            Ok(())
        })
        .await?;
        Ok(found)
    }

    fn entry(&self, record: Record) -> Entry {
        Entry { v: VERSION, seq: self.seq.fetch_add(1, Ordering::Relaxed), record }
    }

    fn message(&self, epoch: u64, entry: &Entry) -> Outgoing {
        let mut properties = PropertiesBuf::new();
        properties.push(keys::EPOCH, &epoch.to_string());
        Outgoing {
            topic: self.topic.clone(),
            queue: self.queue,
            body: Bytes::from(serde_json::to_vec(entry).expect("plain data becomes JSON")),
            properties: Bytes::from(properties.into_bytes()),
            born_at_ms: self.link.now().wall_ms,
        }
    }

    fn fence(&self, epoch: u64) -> Fence {
        Fence { topic: self.topic.clone(), queue: self.queue, epoch }
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().expect("nothing panics while it is held")
    }
}

fn topic() -> TopicName {
    TopicName::parse(TOPIC).expect("a constant of legal characters")
}

/// Reads the records of a queue from `from` to its end, and answers that end.
async fn read_records(
    link: &Link,
    topic: &TopicName,
    queue: QueueId,
    from: QueueOffset,
    each: &mut (dyn FnMut(u64, Entry) -> Result<(), String> + Send),
) -> Result<QueueOffset, RunError> {
    link.read_through(topic, queue, from, &mut |message| {
        let read = parse(message).and_then(|(epoch, entry)| each(epoch, entry));
        read.map_err(|reason| RunError::Ledger {
            topic: topic.clone(),
            queue: queue.0,
            at: message.queue_offset,
            reason,
        })
    })
    .await
}

fn parse(message: Message<'_>) -> Result<(u64, Entry), String> {
    #[derive(serde::Deserialize)]
    struct Version {
        v: u32,
    }
    let not_json = |error: serde_json::Error| format!("it is not a record: {error}");
    let epoch = message.properties.get(keys::EPOCH).and_then(|epoch| epoch.parse().ok());
    let epoch = epoch.ok_or_else(|| format!("it has no property {}", keys::EPOCH))?;
    let Version { v } = serde_json::from_slice(message.body).map_err(not_json)?;
    if v != VERSION {
        return Err(format!("it has version {v}, and this program knows version {VERSION}"));
    }
    let entry = serde_json::from_slice(message.body).map_err(not_json)?;
    Ok((epoch, entry))
}
