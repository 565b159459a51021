//! Where each message of each queue lies in the CommitLog.
//!
//! (In RocketMQ, the ConsumeQueue.) The newest stretch of the log is indexed in memory. Whenever
//! it has grown by a configured number of bytes, the stretch is *frozen* and written out as one
//! *run*: a file for all queues together, so that 50,000 small queues cost one file and one sync.
//! Runs are caches: what they say can be read from the log again.

mod left_out; // offsets that damage may have taken
mod run;
mod stretch;
mod trim; // what is removed

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use millrace_types::{PhysicalOffset, QueueId, QueueOffset, TagsCode, TopicName};

use crate::key_index::{KeyEntry, KeyHash, KeyLog};
use crate::tally::Tally;
pub(crate) use run::{OpenedRun, Run, list, write};
use stretch::Stretch;

/// Where one message lies.
///
/// Twenty bytes in a run, big-endian: physical offset 8, size 4, tags code 8, the same fields as
/// in RocketMQ's ConsumeQueue. Size 0 stands for a message that was lost to damage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Start of the record in the CommitLog.
    pub physical_offset: PhysicalOffset,
    /// Bytes of the whole record; 0 if it was lost.
    pub size: u32,
    /// Hash of the tag.
    pub tags_code: TagsCode,
}

impl Entry {
    /// Stands for an entry that could not be read. Its message lies at or after `from`.
    pub(crate) fn unreadable(from: PhysicalOffset) -> Self {
        Self { physical_offset: from, size: UNREADABLE_BYTES, tags_code: TagsCode(0) }
    }

    /// Whether it stands for one that could not be read, so that nobody knows where its message lies.
    pub fn is_unreadable(&self) -> bool {
        self.size == UNREADABLE_BYTES
    }
}

/// A queue's number within an open store. Only for quick access; it may change between starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct QueueNo(pub(crate) u32);

const LOST: Entry = Entry { physical_offset: PhysicalOffset(0), size: 0, tags_code: TagsCode(0) };
/// The size in an entry that could not be read; no record is as short as that.
const UNREADABLE_BYTES: u32 = 1;
/// A stretch is frozen once it has so many entries per queue, or so many times the bytes that are
/// usual.
const ENTRIES_EACH: u64 = 16;
const PATIENCE: u64 = 8;
/// A gap of more lost messages than this is taken for a damaged queue offset instead.
const LOST_MAX: u64 = 1 << 24;

/// The index of all queues.
#[derive(Debug, Default)]
pub(crate) struct QueueIndex {
    names: Arc<Vec<QueueName>>,
    /// Only ever asked for one name, by recovery for that of each record.
    by_name: HashMap<TopicName, Vec<(QueueId, QueueNo)>>,
    kept: Vec<Kept>,
    live: Stretch,
    frozen: Option<Arc<Frozen>>,
    /// Oldest first. Each holds the queues that were known when it was written, so a newer one
    /// holds at least those of an older one.
    runs: VecDeque<Arc<Run>>,
    keys: KeyLog,
    /// First and last store time of what is live.
    store_ms: Option<(i64, i64)>,
    /// First byte of the log that no run and nothing frozen covers.
    live_from: PhysicalOffset,
    /// How many entries were made for messages, over all starts.
    tally: Tally,
    /// So many offsets does a queue leave out that has no message, because one that it had may have
    /// been lost to damage.
    left_out: Tally,
    /// Whether nobody is left who could miss messages of the broker's own state.
    state_was_read: bool,
}

/// What a queue is called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct QueueName {
    pub(crate) topic: TopicName,
    pub(crate) id: QueueId,
}

/// What a queue still has.
#[derive(Clone, Copy, Debug, Default)]
struct Kept {
    /// Everything before it was removed, even if an entry is left.
    min: QueueOffset,
    /// Whether there is or was an entry, if only of a message that was removed.
    filled: bool,
}

/// A stretch of the log whose index is about to be written out.
#[derive(Debug)]
pub(crate) struct Frozen {
    pub(crate) from: PhysicalOffset,
    pub(crate) to: PhysicalOffset,
    /// Of every queue in `entries`.
    pub(crate) names: Arc<Vec<QueueName>>,
    pub(crate) entries: Stretch,
    pub(crate) keys: KeyLog,
    /// First and last store time, ms; equal and meaningless without a record.
    pub(crate) store_ms: (i64, i64),
    pub(crate) tally: Tally,
}

impl QueueNo {
    /// The number of a queue by its place among all queues; for tests and tools.
    pub fn from_index(index: u32) -> Self {
        Self(index)
    }
}

impl QueueIndex {
    pub(crate) fn starting_at(live_from: PhysicalOffset) -> Self {
        Self { live_from, ..Self::default() }
    }

    pub(crate) fn find(&self, topic: &str, id: QueueId) -> Option<QueueNo> {
        let queues = self.by_name.get(topic)?;
        queues.iter().find(|(known, _)| *known == id).map(|(_, no)| *no)
    }

    pub(crate) fn find_or_add(&mut self, topic: &TopicName, id: QueueId) -> QueueNo {
        if let Some(no) = self.find(topic.as_str(), id) {
            return no;
        }
        self.add(QueueName { topic: topic.clone(), id })
    }

    fn add(&mut self, name: QueueName) -> QueueNo {
        let no = QueueNo(u32::try_from(self.names.len()).expect("far below 2³² queues"));
        self.by_name.entry(name.topic.clone()).or_default().push((name.id, no));
        Arc::make_mut(&mut self.names).push(name);
        self.kept.push(Kept::default());
        self.live.add_queue();
        self.leave_out_unseen(no);
        no
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = (&TopicName, QueueId, QueueNo)> {
        let numbered = self.names.iter().enumerate();
        numbered.map(|(no, name)| (&name.topic, name.id, QueueNo(no as u32)))
    }

    pub(crate) fn queue_count(&self) -> usize {
        self.names.len()
    }

    pub(crate) fn queues_of(&self, topic: &str) -> usize {
        self.by_name.get(topic).map_or(0, Vec::len)
    }

    /// What a queue is called.
    pub(crate) fn name(&self, no: QueueNo) -> (&TopicName, QueueId) {
        let name = &self.names[no.0 as usize];
        (&name.topic, name.id)
    }

    /// The offset that the next message of a queue gets.
    pub(crate) fn end(&self, no: QueueNo) -> QueueOffset {
        self.live.end(no)
    }

    /// Makes what was added readable.
    pub(crate) fn settle(&mut self) {
        self.live.settle();
    }

    /// The first offset that a queue still has.
    pub(crate) fn min(&self, no: QueueNo) -> QueueOffset {
        let with = self.runs.partition_point(|run| run.queues() <= no.0);
        let in_runs = self.runs.get(with).map(|run| run.from(no));
        let first = in_runs.or_else(|| Some(self.frozen_with(no)?.entries.from(no)));
        first.unwrap_or(self.live.from(no)).max(self.kept[no.0 as usize].min)
    }

    /// The frozen stretch, if the queue was known then.
    fn frozen_with(&self, no: QueueNo) -> Option<&Frozen> {
        self.frozen.as_deref().filter(|frozen| (no.0 as usize) < frozen.entries.known())
    }

    /// Adds the next message of a queue; it can be read once it is settled.
    pub(crate) fn push(&mut self, no: QueueNo, entry: Entry) {
        self.live.push(no, entry);
    }

    /// Notes when the newest record was stored; later ones were stored no earlier.
    pub(crate) fn note_time(&mut self, store_ms: i64) {
        self.store_ms = Some((self.store_ms.map_or(store_ms, |(first, _)| first), store_ms));
    }

    /// Adds a key that a record can be found by.
    pub(crate) fn push_key(&mut self, hash: KeyHash, at: PhysicalOffset) {
        self.keys.push(KeyEntry { hash, at });
    }

    /// The keys at this moment: live, frozen, and the runs, oldest first.
    pub(crate) fn keys(&self) -> (KeyLog, Option<Arc<Frozen>>, Vec<Arc<Run>>) {
        (self.keys.clone(), self.frozen.clone(), self.runs.iter().cloned().collect())
    }

    /// Adds a message found in the log, and says how many offsets before it have none: these were
    /// lost. An offset that is already taken, or an absurd gap, is refused.
    pub(crate) fn push_found(
        &mut self,
        no: QueueNo,
        offset: QueueOffset,
        entry: Entry,
    ) -> Option<u64> {
        let end = self.end(no);
        let untouched = end == QueueOffset(0) && !self.is_filled(no);
        let mut lost = 0;
        if untouched {
            self.start_at(no, offset);
        } else if offset < end || offset.since(end) > LOST_MAX {
            return None;
        } else {
            lost = offset.since(end);
            self.push_lost(no, lost);
        }
        self.push(no, entry);
        Some(lost)
    }

    /// Adds offsets that no message has.
    fn push_lost(&mut self, no: QueueNo, count: u64) {
        (0..count).for_each(|_| self.push(no, LOST));
    }

    /// How many entries were made for messages so far.
    pub(crate) fn tally(&self) -> Tally {
        self.tally
    }

    /// Counts entries made for messages.
    pub(crate) fn count(&mut self, entries: Tally) {
        self.tally = self.tally + entries;
    }

    /// Corrects the count, once a start knows what it misses.
    pub(crate) fn set_tally(&mut self, tally: Tally) {
        self.tally = tally;
    }

    /// Whether a queue has or had an entry.
    pub(crate) fn is_filled(&self, no: QueueNo) -> bool {
        self.kept[no.0 as usize].filled || self.end(no) > self.live.from(no)
    }

    /// Lets a queue that never had an entry start somewhere else. Runs may know it from before.
    fn start_at(&mut self, no: QueueNo, from: QueueOffset) {
        self.live.start_at(no, from);
        self.kept[no.0 as usize].min = from;
    }

    /// The entries from `from` on, as far as one place holds them; empty only at the end.
    pub(crate) fn read(&self, no: QueueNo, from: QueueOffset, count: usize) -> Vec<Entry> {
        let within = |stretch: &Stretch| {
            let pieces = stretch.pieces(no, from);
            pieces.into_iter().flatten().take(count).copied().collect()
        };
        if from >= self.live.from(no) {
            return within(&self.live);
        }
        if let Some(frozen) = self.frozen_with(no)
            && from >= frozen.entries.from(no)
        {
            return within(&frozen.entries);
        }
        // The newest run that starts no later. One that does not know the queue is too old.
        let after = self.runs.partition_point(|run| run.queues() <= no.0 || run.from(no) <= from);
        let run = self.runs.range(..after).next_back().filter(|run| run.queues() > no.0);
        run.map_or(Vec::new(), |run| run.read(no, from, count as u64))
    }

    /// The first offset whose record does not end at or before `limit`: readers see what lies
    /// before it.
    pub(crate) fn end_within(&self, no: QueueNo, limit: PhysicalOffset) -> QueueOffset {
        let within = |entry: &Entry| {
            entry.size == 0 || entry.physical_offset + u64::from(entry.size) <= limit
        };
        // Frozen stretches and runs are at or below the appended watermark, and a reader that
        // waits for the durable one may still lie within the frozen stretch.
        if let Some(frozen) = self.frozen_with(no)
            && !frozen.entries.last(no).is_none_or(within)
        {
            return frozen.entries.partition_point(no, within);
        }
        // Most often everything is visible.
        if self.live.last(no).is_none_or(within) {
            return self.live.settled_end(no);
        }
        self.live.partition_point(no, within)
    }

    /// Takes the live entries out for writing, if the stretch up to `to` is worth it and the last
    /// one has been written. `to` is a place where no group is open.
    pub(crate) fn freeze(&mut self, to: PhysicalOffset, bytes_min: u64) -> Option<Arc<Frozen>> {
        let bytes = to.since(self.live_from);
        if self.frozen.is_some() || bytes < bytes_min.max(1) {
            return None;
        }
        // A run costs something for each queue, more for one with entries, so a stretch with a
        // handful of entries each has to wait, but not for ever.
        self.settle();
        let (entries, filled) = (self.live.entry_count(), self.live.filled_queues());
        let worth_it = entries >= ENTRIES_EACH * filled && entries >= self.names.len() as u64;
        if !worth_it && bytes / PATIENCE < bytes_min {
            return None;
        }
        let following = self.live.following();
        let entries = std::mem::replace(&mut self.live, following);
        for (no, kept) in self.kept.iter_mut().enumerate() {
            kept.filled |= entries.last(QueueNo(no as u32)).is_some();
        }
        let frozen = Arc::new(Frozen {
            from: self.live_from,
            to,
            names: Arc::clone(&self.names),
            entries,
            keys: std::mem::take(&mut self.keys),
            store_ms: self.store_ms.take().unwrap_or_default(),
            tally: self.tally,
        });
        self.live_from = to;
        self.frozen = Some(Arc::clone(&frozen));
        Some(frozen)
    }

    /// Bytes of memory for what no run holds yet.
    pub(crate) fn bytes(&self) -> u64 {
        let frozen = self.frozen.as_deref();
        let frozen = frozen.map_or(0, |frozen| frozen.entries.bytes() + frozen.keys.bytes());
        self.live.bytes() + self.keys.bytes() + frozen
    }

    /// First byte of the log that no run and nothing frozen covers.
    pub(crate) fn live_from(&self) -> PhysicalOffset {
        self.live_from
    }

    /// Whether a frozen stretch waits for its run.
    pub(crate) fn is_frozen(&self) -> bool {
        self.frozen.is_some()
    }

    /// Replaces the frozen stretch by the run written from it.
    pub(crate) fn install(&mut self, run: Arc<Run>) {
        if self.frozen.take().is_some() {
            self.runs.push_back(run);
        }
    }

    /// Adds a run found on disk that starts where the index ends. If its queues are others, or one
    /// does not go on where it ended, the answer is no, and the whole index is of no use any more.
    pub(crate) fn load(&mut self, opened: OpenedRun) -> bool {
        let OpenedRun { run, names } = opened;
        if names.len() < self.names.len() {
            return false;
        }
        for (n, name) in names.into_iter().enumerate() {
            let no = QueueNo(n as u32);
            match self.names.get(n) {
                Some(known) if *known != name => return false,
                Some(_) => {}
                None if self.find(name.topic.as_str(), name.id).is_some() => return false,
                None => drop(self.add(name)),
            }
            let (from, kept) = (run.from(no), &mut self.kept[n]);
            if from != self.live.from(no) {
                if kept.filled {
                    return false;
                }
                // What came before it was removed before anything was written.
                kept.min = from;
            }
            let count = run.count(no);
            kept.filled |= count > 0;
            self.live.start_at(no, from + count);
        }
        self.live_from = run.to();
        self.tally = run.tally();
        self.runs.push_back(run);
        true
    }
}
