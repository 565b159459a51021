//! The ledger: what a pipeline did, as records in the log that the pipeline reads (P7).
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
//! | `DROPPED`   | when somebody gives dead letters up, durably                                  |
//! | `STATE`     | each time much was appended: all that the records before it add up to         |
//!
//! | record    | field      | meaning                                                                |
//! |-----------|------------|------------------------------------------------------------------------|
//! | LEASE     | `worker`   | who; different for every run                                           |
//! |           | `epoch`    | the epoch taken, one more than the queue had                           |
//! | SOURCE    | `cursors`  | per origin `{identity, path, offset, line}`: the next record to read;  |
//! |           |            | with `taken`, so many bytes of that one are in the topic already; with |
//! |           |            | `standing` `ended` or `left`, the source does not wait for more of it  |
//! |           | `tails`    | places; from there on lies everything appended after this record       |
//! | PLANNED   | `sink`     | its name                                                               |
//! |           | `parts`    | per part `{id, name, staged, partition, ranges, rows, bytes, checksum}`|
//! |           | `resume`   | what COMMITTED will say                                                |
//! |           | `pipeline` | fingerprint of the configuration, hexadecimal                          |
//! | COMMITTED | `sink`     |                                                                        |
//! |           | `parts`    | per part `{id, bytes, checksum}`                                       |
//! |           | `resume`   | `{next, ahead}`: places; per partition `{partition, next}`             |
//! |           | `window`   | places; from there on lies what steps remember (`dedupe`)              |
//! |           | `layout`   | fingerprint of what decides the partition of a message, hexadecimal    |
//! | ABORTED   | `sink`     |                                                                        |
//! |           | `parts`    | their numbers                                                          |
//! |           | `reason`   | for people                                                             |
//! | LETTERS   | `sink`     |                                                                        |
//! |           | `topic`    | where the letters are                                                  |
//! |           | `rows`     | per queue `{broker, topic, queue, offsets}`: what became letters; with |
//! |           |            | `pieces`, `[offset,number]` of rows that steps made of messages        |
//! |           | `counts`   | letters by code                                                        |
//! | DROPPED   | `sink`     |                                                                        |
//! |           | `letters`  | ranges of offsets in the topic of the letters, `[[from,to]]`           |
//! | STATE     |            | see [`StateMark`]; tagged `MR_STATE`                                   |
//!
//! The broker appends a ledger again before it removes the segments that it is in. The first record
//! of such a copy is tagged `MR_STATE`; from it on the ledger is read as if nothing came before. SOURCE
//! and COMMITTED say in the property `MR_HOLD` from where on their messages are still needed.
//!
//! Replays of the dead letters of a sink have a ledger too, under the name `<pipeline>/<sink>`, so
//! that they do not take the lease of the pipeline. There PLANNED and COMMITTED have the field
//! `letters`, as DROPPED has it: COMMITTED says in the same append that the parts are visible and
//! the letters replayed, and PLANNED which letters these will be. `resume` names no place there.
//!
//! A place is `{broker, topic, queue, offset}`, a range `{broker, topic, queue, from, to}`; the
//! first three are a queue's identity in every topology. Offsets name the *next* message.
//!
//! COMMITTED and LETTERS wait only as the broker's flush mode says. Both are in one log with all
//! that follows them, and a log loses nothing but its end: if a LETTERS is lost, so is every
//! COMMITTED that passes its messages; if a COMMITTED is lost, its parts are found visible by the
//! next worker. PLANNED must not be lost once a part is visible, so it waits for the disk.

mod directory; // which queue is whose
mod offset_set; // offsets of one queue
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

pub use offset_set::OffsetSet;
pub use record::{
    Aborted, Ahead, Committed, CommittedPart, Cursor, Dropped, Entry, Lease, LetterRows, Letters,
    Offsets, Planned, PlannedPart, QueueAt, Range, Record, SinkMark, SourceMark, StateMark,
    UnsettledMark, VERSION,
};
pub use state::{LedgerState, Read, SinkState, Unsettled};

use crate::clock::SystemClock;
use crate::error::RunError;
use crate::link::{Link, Patience};
use crate::stop::Stop;

/// The topic of all ledgers.
pub const TOPIC: &str = "MILLRACE_LEDGER";

/// Stands in no name of a pipeline or a sink.
const OF_LETTERS: char = '/';

/// The properties of a message have little more room than this.
const HOLD_BYTES_MAX: usize = 30_000;

/// How often a worker that starts may lose the lease to another one that starts too.
const RACES_MAX: u32 = 16;

/// The pipelines that have a ledger, by name.
pub async fn pipelines(broker: Arc<dyn Broker>) -> Result<Vec<String>, RunError> {
    let mut names = directory::names(&looking(broker), &topic()).await?;
    names.retain(|name| !name.contains(OF_LETTERS));
    Ok(names)
}

/// The name of the ledger of a sink's dead letters.
pub(crate) fn of_letters(pipeline: &str, sink: &str) -> String {
    format!("{pipeline}{OF_LETTERS}{sink}")
}

/// What a pipeline's ledger says now, without taking it over; `None` if the pipeline never ran.
pub async fn read(
    broker: Arc<dyn Broker>,
    pipeline: &str,
) -> Result<Option<LedgerState>, RunError> {
    let link = looking(broker);
    let topic = topic();
    let Some(queue) = directory::find(&link, &topic, pipeline).await? else { return Ok(None) };
    let mut state = LedgerState::default();
    let mut each = |read: Read| state.take(&read);
    match read_records(&link, &topic, queue, QueueOffset(0), &mut each).await {
        Ok(_) => Ok(Some(state)),
        // Its first worker is about to make it.
        Err(RunError::Broker { source: BrokerError::NoSuchQueue { .. }, .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// A broker for whoever only looks.
pub(crate) fn looking(broker: Arc<dyn Broker>) -> Link {
    Link::new(broker, Arc::new(SystemClock::new()), Patience::SHORT, 0, Stop::default())
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
    /// What the ledger says, with all that was appended since. Appends share the lock; whoever
    /// takes it alone knows that no record is on its way.
    state: tokio::sync::RwLock<Mutex<Kept>>,
}

/// The state of the ledger, and how much a reader has to read to know it.
#[derive(Debug, Default)]
struct Kept {
    state: LedgerState,
    bytes_since: usize,
    state_bytes: usize,
}

/// The state is appended as a whole once so many bytes, or so many times its own, were appended
/// since the last time. So a start and the broker, which appends a ledger again before it removes
/// old segments, never have to read much more.
const STATE_BYTES_MIN: usize = 1 << 20;
const GROWTH: usize = 4;

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
            state: tokio::sync::RwLock::default(),
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
        ledger.state.get_mut().get_mut().expect("nobody else has it yet").state = state.clone();
        info!(pipeline, worker, epoch = state.epoch, "lease taken");
        Ok((ledger, state))
    }

    /// The epoch held.
    pub(crate) fn epoch(&self) -> u64 {
        self.held().epoch
    }

    /// Appends ledger records in one group.
    pub(crate) async fn append_records(
        &self,
        records: Vec<Record>,
        wait: Wait,
    ) -> Result<Landed, RunError> {
        self.append(&Arc::default(), records, wait).await
    }

    /// Appends messages and ledger records in one group, all or nothing, however often it takes.
    pub(crate) async fn append(
        &self,
        messages: &Arc<[Outgoing]>,
        records: Vec<Record>,
        wait: Wait,
    ) -> Result<Landed, RunError> {
        let entries: Vec<Entry> = records.into_iter().map(|record| self.entry(record)).collect();
        let landed = {
            let kept = self.state.read().await;
            let landed = self.append_entries(messages, &entries, wait).await?;
            if landed != Landed::Unknown {
                let mut kept = kept.lock().expect("nothing panics while it is held");
                kept.take(self.epoch(), &entries)?;
            }
            landed
        };
        self.append_state_if_due().await?;
        Ok(landed)
    }

    /// Appends what the ledger says as one record, if that is due.
    async fn append_state_if_due(&self) -> Result<(), RunError> {
        let is_due = |kept: &Mutex<Kept>| {
            kept.lock().expect("nothing panics while it is held").state_is_due()
        };
        if !is_due(&*self.state.read().await) {
            return Ok(());
        }
        let mut kept = self.state.write().await;
        if !is_due(&kept) {
            return Ok(());
        }
        let kept = kept.get_mut().expect("nothing panics while it is held");
        let entry = self.entry(Record::State(kept.state.mark()));
        let entries = [entry];
        self.append_entries(&Arc::default(), &entries, Wait::Policy).await?;
        let bytes = serde_json::to_vec(&entries[0]).expect("plain data becomes JSON").len();
        (kept.bytes_since, kept.state_bytes) = (0, bytes);
        Ok(())
    }

    async fn append_entries(
        &self,
        messages: &Arc<[Outgoing]>,
        entries: &[Entry],
        wait: Wait,
    ) -> Result<Landed, RunError> {
        let mut pauses = self.link.pauses();
        let doing = || "append".to_owned();
        loop {
            let Held { epoch, end } = *self.held();
            let group = if entries.is_empty() {
                Arc::clone(messages)
            } else {
                let records = entries.iter().map(|entry| self.message(epoch, entry));
                messages.iter().cloned().chain(records).collect()
            };
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
                messages: [self.message(wanted, &entry)].into(),
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
        read_records(&self.link, &self.topic, self.queue, from, &mut |read| state.take(&read)).await
    }

    /// Whether the record of this number of ours is in the queue at or after `from`.
    async fn has(&self, from: QueueOffset, seq: u64) -> Result<bool, RunError> {
        let mut found = false;
        read_records(&self.link, &self.topic, self.queue, from, &mut |read| {
            found |= read.epoch >= self.first_epoch && read.entry.seq == seq;
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
        if matches!(entry.record, Record::State(_)) {
            properties.push(keys::TAGS, keys::STATE_TAG);
        }
        if let Some(held) = held(&entry.record) {
            properties.push(keys::HOLD, &held);
        }
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

impl Kept {
    /// Takes in what was appended by the holder of the lease.
    fn take(&mut self, epoch: u64, entries: &[Entry]) -> Result<(), RunError> {
        self.state.epoch = epoch;
        for entry in entries {
            // Only what was read can be wrong; this was made here.
            self.state.fold(epoch, entry).map_err(RunError::Setup)?;
            self.bytes_since += serde_json::to_vec(entry).map_or(0, |body| body.len());
        }
        Ok(())
    }

    fn state_is_due(&self) -> bool {
        self.bytes_since >= STATE_BYTES_MIN.max(GROWTH * self.state_bytes)
    }
}

/// What the broker is to keep for whoever reads this record: messages that no sink has committed,
/// and those that a source reads back.
fn held(record: &Record) -> Option<String> {
    let (name, places) = match record {
        Record::Committed(committed) if !committed.resume.next.is_empty() => {
            (format!("sink {}", committed.sink), &committed.resume.next)
        }
        Record::Source(mark) => ("source".to_owned(), &mark.tails),
        Record::Lease(_)
        | Record::Planned(_)
        | Record::Committed(_)
        | Record::Aborted(_)
        | Record::Letters(_)
        | Record::Dropped(_)
        | Record::State(_) => return None,
    };
    let window: &[QueueAt] = match record {
        Record::Committed(committed) => &committed.window,
        _ => &[],
    };
    let place = |at: &QueueAt| {
        let same = |other: &&QueueAt| {
            (&other.broker, &other.topic, other.queue) == (&at.broker, &at.topic, at.queue)
        };
        let from = window.iter().find(same).map_or(at.offset, |other| other.offset.min(at.offset));
        format!(";{}:{}:{from}", at.topic, at.queue)
    };
    let held = name + &places.iter().map(place).collect::<String>();
    // With thousands of queues there is no room to name them. Then the last record that had room
    // counts, which keeps more.
    (held.len() <= HOLD_BYTES_MAX).then_some(held)
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
    each: &mut (dyn FnMut(Read) -> Result<(), String> + Send),
) -> Result<QueueOffset, RunError> {
    link.read_through(topic, queue, from, &mut |message| {
        parse(message).and_then(&mut *each).map_err(|reason| RunError::Ledger {
            topic: topic.clone(),
            queue: queue.0,
            at: message.queue_offset,
            reason,
        })
    })
    .await
}

fn parse(message: Message<'_>) -> Result<Read, String> {
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
    let starts_anew = message.properties.get(keys::TAGS) == Some(keys::STATE_TAG);
    Ok(Read { epoch, starts_anew, entry })
}
