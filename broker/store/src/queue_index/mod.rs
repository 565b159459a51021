//! Where each message of each queue lies in the CommitLog.
//!
//! (In RocketMQ, the ConsumeQueue.) The newest stretch of the log is indexed in memory. Whenever
//! it has grown by a configured number of bytes, the stretch is *frozen* and written out as one
//! *run*: a file for all queues together, so that 50,000 small queues cost one file and one sync.
//! Runs are caches: what they say can be read from the log again.

mod run;
mod trim; // what is removed

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use millrace_types::{PhysicalOffset, QueueId, QueueOffset, TagsCode, TopicName};

use crate::key_index::{KeyEntry, KeyHash, KeyLog};
pub(crate) use run::{OpenedRun, Run, encode, list};

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

/// A queue's number within an open store. Only for quick access; it changes between starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct QueueNo(pub(crate) u32);

const LOST: Entry = Entry { physical_offset: PhysicalOffset(0), size: 0, tags_code: TagsCode(0) };
/// A stretch is frozen once it has so many entries per queue, or so many times the bytes that are
/// usual.
const ENTRIES_EACH: usize = 16;
const PATIENCE: u64 = 8;
/// A gap of more lost messages than this is taken for a damaged queue offset instead.
const LOST_MAX: u64 = 1 << 24;

/// The index of all queues.
#[derive(Debug, Default)]
pub(crate) struct QueueIndex {
    queues: Vec<Queue>,
    by_name: BTreeMap<TopicName, Vec<(QueueId, QueueNo)>>,
    /// Oldest first; the first one has the number `first_run`.
    runs: VecDeque<Arc<Run>>,
    first_run: u32,
    frozen: Option<Arc<Frozen>>,
    keys: KeyLog,
    /// How many entries are live, and in how many queues.
    live_entries: usize,
    live_queues: usize,
    /// First and last store time of what is live.
    store_ms: Option<(i64, i64)>,
    /// First byte of the log that no run and nothing frozen covers.
    live_from: PhysicalOffset,
}

#[derive(Debug)]
struct Queue {
    topic: TopicName,
    id: QueueId,
    /// Everything before it was removed, even if an entry is left.
    min: QueueOffset,
    runs: Vec<RunPart>,
    /// Number in `QueueIndex::frozen`.
    frozen: Option<usize>,
    live_from: QueueOffset,
    live: Vec<Entry>,
}

/// The part of a run that belongs to one queue, up to where the next part starts. Many queues
/// times many runs of these are in memory, so it is small.
#[derive(Clone, Copy, Debug)]
struct RunPart {
    from: QueueOffset,
    run: u32,
    /// Number of its first entry in the run.
    first: u32,
}

/// A stretch of the log whose index is about to be written out.
#[derive(Debug)]
pub(crate) struct Frozen {
    pub(crate) from: PhysicalOffset,
    pub(crate) to: PhysicalOffset,
    pub(crate) queues: Vec<FrozenQueue>,
    pub(crate) keys: KeyLog,
    /// First and last store time, ms; equal and meaningless without a record.
    pub(crate) store_ms: (i64, i64),
}

#[derive(Debug)]
pub(crate) struct FrozenQueue {
    pub(crate) no: QueueNo,
    pub(crate) topic: TopicName,
    pub(crate) id: QueueId,
    pub(crate) from: QueueOffset,
    pub(crate) entries: Vec<Entry>,
}

impl QueueNo {
    /// The number of a queue by its place among all queues; for tests and tools.
    pub fn from_index(index: u32) -> Self {
        Self(index)
    }
}

impl Queue {
    /// Whether there is no entry, not even of a message that was removed.
    fn is_empty(&self) -> bool {
        self.runs.is_empty() && self.frozen.is_none() && self.live.is_empty()
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
        let no = QueueNo(u32::try_from(self.queues.len()).expect("far below 2³² queues"));
        self.queues.push(Queue {
            topic: topic.clone(),
            id,
            min: QueueOffset(0),
            runs: Vec::new(),
            frozen: None,
            live_from: QueueOffset(0),
            live: Vec::new(),
        });
        self.by_name.entry(topic.clone()).or_default().push((id, no));
        no
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = (&TopicName, QueueId, QueueNo)> {
        let numbered = self.queues.iter().enumerate();
        numbered.map(|(no, queue)| (&queue.topic, queue.id, QueueNo(no as u32)))
    }

    /// The offset that the next message of a queue gets.
    pub(crate) fn end(&self, no: QueueNo) -> QueueOffset {
        let queue = &self.queues[no.0 as usize];
        queue.live_from + queue.live.len() as u64
    }

    /// The first offset that a queue still has.
    pub(crate) fn min(&self, no: QueueNo) -> QueueOffset {
        let queue = &self.queues[no.0 as usize];
        let frozen = || queue.frozen.and_then(|n| Some(self.frozen.as_ref()?.queues[n].from));
        let first = queue.runs.first().map(|part| part.from).or_else(frozen);
        first.unwrap_or(queue.live_from).max(queue.min)
    }

    /// Adds the next message of a queue.
    pub(crate) fn push(&mut self, no: QueueNo, entry: Entry) {
        let live = &mut self.queues[no.0 as usize].live;
        self.live_queues += usize::from(live.is_empty());
        self.live_entries += 1;
        live.push(entry);
    }

    /// Adds what a record can be found by besides its queue.
    pub(crate) fn push_keys(
        &mut self,
        at: PhysicalOffset,
        store_ms: i64,
        hashes: impl Iterator<Item = KeyHash>,
    ) {
        self.store_ms = Some((self.store_ms.map_or(store_ms, |(first, _)| first), store_ms));
        hashes.for_each(|hash| self.keys.push(KeyEntry { hash, at }));
    }

    /// The keys at this moment: live, frozen, and the runs, oldest first.
    pub(crate) fn keys(&self) -> (KeyLog, Option<Arc<Frozen>>, Vec<Arc<Run>>) {
        (self.keys.clone(), self.frozen.clone(), self.runs.iter().cloned().collect())
    }

    /// Adds a message found in the log. Offsets skipped on the way were lost; an offset that is
    /// already taken, or an absurd gap, is refused.
    pub(crate) fn push_found(&mut self, no: QueueNo, offset: QueueOffset, entry: Entry) -> bool {
        let end = self.end(no);
        let queue = &mut self.queues[no.0 as usize];
        if queue.is_empty() && queue.live_from == QueueOffset(0) {
            queue.live_from = offset;
        } else if offset < end || offset.since(end) > LOST_MAX {
            return false;
        } else {
            queue.live.extend((0..offset.since(end)).map(|_| LOST));
        }
        self.push(no, entry);
        true
    }

    /// The entries from `from` on, as far as one place holds them; empty only at the end.
    pub(crate) fn read(&self, no: QueueNo, from: QueueOffset, count: usize) -> Vec<Entry> {
        let queue = &self.queues[no.0 as usize];
        let take = |entries: &[Entry], start: QueueOffset| -> Vec<Entry> {
            let skip = (from.since(start) as usize).min(entries.len());
            entries[skip..].iter().take(count).copied().collect()
        };
        if from >= queue.live_from {
            return take(&queue.live, queue.live_from);
        }
        if let Some((n, frozen)) = queue.frozen.zip(self.frozen.as_ref()) {
            let frozen = &frozen.queues[n];
            if from >= frozen.from {
                return take(&frozen.entries, frozen.from);
            }
        }
        let after = queue.runs.partition_point(|part| part.from <= from);
        let Some(part) = queue.runs[..after].last() else {
            return Vec::new();
        };
        let frozen = || queue.frozen.and_then(|n| Some(self.frozen.as_ref()?.queues[n].from));
        let next = queue.runs.get(after).map(|part| part.from).or_else(frozen);
        let end = next.unwrap_or(queue.live_from);
        let run = &self.runs[(part.run - self.first_run) as usize];
        let count = (count as u64).min(end.since(from));
        run.entries(u64::from(part.first) + from.since(part.from), count)
    }

    /// The first offset whose record does not end at or before `limit`: readers see what lies
    /// before it.
    pub(crate) fn end_within(&self, no: QueueNo, limit: PhysicalOffset) -> QueueOffset {
        let queue = &self.queues[no.0 as usize];
        let within = |entry: &Entry| {
            entry.size == 0 || entry.physical_offset + u64::from(entry.size) <= limit
        };
        // Frozen stretches and runs are at or below the appended watermark, and a reader that
        // waits for the durable one may still lie within the frozen stretch.
        if let Some((n, frozen)) = queue.frozen.zip(self.frozen.as_ref()) {
            let frozen = &frozen.queues[n];
            if !frozen.entries.last().is_none_or(within) {
                return frozen.from + frozen.entries.partition_point(within) as u64;
            }
        }
        // Most often everything is visible.
        if queue.live.last().is_none_or(within) {
            return self.end(no);
        }
        queue.live_from + queue.live.partition_point(within) as u64
    }

    /// Takes the live entries out for writing, if the stretch up to `to` is worth it and the last
    /// one has been written. `to` is a place where no group is open.
    pub(crate) fn freeze(&mut self, to: PhysicalOffset, bytes_min: u64) -> Option<Arc<Frozen>> {
        let bytes = to.since(self.live_from);
        if self.frozen.is_some() || bytes < bytes_min.max(1) {
            return None;
        }
        // A run costs something for each queue in it, so one with a handful of entries each has to
        // wait, but not for ever.
        let worth_it = self.live_entries >= ENTRIES_EACH * self.live_queues;
        if !worth_it && bytes / PATIENCE < bytes_min {
            return None;
        }
        (self.live_entries, self.live_queues) = (0, 0);
        let mut queues = Vec::new();
        for (no, queue) in self.queues.iter_mut().enumerate().filter(|(_, q)| !q.live.is_empty()) {
            let entries = std::mem::take(&mut queue.live);
            let from = queue.live_from;
            queue.live_from = from + entries.len() as u64;
            queue.frozen = Some(queues.len());
            let (topic, id) = (queue.topic.clone(), queue.id);
            queues.push(FrozenQueue { no: QueueNo(no as u32), topic, id, from, entries });
        }
        let keys = std::mem::take(&mut self.keys);
        let store_ms = self.store_ms.take().unwrap_or_default();
        let frozen = Arc::new(Frozen { from: self.live_from, to, queues, keys, store_ms });
        self.live_from = to;
        self.frozen = Some(Arc::clone(&frozen));
        Some(frozen)
    }

    /// Replaces the frozen stretch by the run written from it.
    pub(crate) fn install(&mut self, opened: &OpenedRun) {
        let Some(frozen) = self.frozen.take() else {
            return;
        };
        let run = self.add_run(&opened.run);
        for (queue, part) in frozen.queues.iter().zip(&opened.queues) {
            let slot = &mut self.queues[queue.no.0 as usize];
            slot.frozen = None;
            slot.runs.push(RunPart { from: part.from, run, first: part.first });
        }
    }

    /// Adds a run found on disk that starts where the index ends. If one of its queues does not go
    /// on where it ended, the answer is no, and the whole index is of no use any more.
    pub(crate) fn load(&mut self, opened: &OpenedRun) -> bool {
        let run = self.add_run(&opened.run);
        for part in &opened.queues {
            let no = self.find_or_add(&part.topic, part.id);
            let queue = &mut self.queues[no.0 as usize];
            if !queue.runs.is_empty() && queue.live_from != part.from {
                return false;
            }
            queue.live_from = part.from + part.count;
            queue.runs.push(RunPart { from: part.from, run, first: part.first });
        }
        self.live_from = opened.run.to();
        true
    }

    fn add_run(&mut self, run: &Arc<Run>) -> u32 {
        self.runs.push_back(Arc::clone(run));
        self.first_run + (self.runs.len() - 1) as u32
    }
}
