use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use async_trait::async_trait;
use millrace_connect_api::{
    Batch, Cut, Encoded, FileSink, Item, OffsetRange, Outcome, Part, PartState, Plan, Published,
    QueueRef, Refused, Reject, Resume, RowSink, SinkError, Written,
};
use millrace_types::{Now, QueueOffset};
use tracing::warn;

use crate::delivery::SinkOpening;

/// How large a bulk becomes: whatever comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BulkLimits {
    /// So many rows.
    pub rows: usize,
    /// So many bytes, of what is sent or of the messages, whichever is more.
    pub bytes: usize,
    /// So long after its first row, milliseconds; at 0 a bulk is what one read of a queue gave.
    pub every_ms: u64,
}

/// Rows in bulks: a sink of rows as one that makes parts.
///
/// A bulk is a part whose publishing is to be sent. Nothing of it is staged, so what is PLANNED
/// says which messages it is of, and after a crash these are read, encoded and sent again, as the
/// same bulk ([`FileSink::sweep`]). So the bulks of a pipeline never overlap, and what a destination
/// took under a bulk's name it is offered again under that name and no other.
pub struct Bulks<S> {
    sink: S,
    limits: BulkLimits,
    /// What the names of bulks begin with; for people.
    parts: String,
    next_id: u64,
    /// One past the last message taken of each queue.
    taken: BTreeMap<QueueRef, QueueOffset>,
    /// In the order in which they are sent: first those of earlier workers; the last one may grow.
    bulks: VecDeque<Bulk>,
}

/// Bytes of the bulks of one PLANNED, unless one alone is larger. What is refused of them becomes
/// letters in one group.
const PLANNED_BYTES: usize = 4 << 20;
/// Bytes of messages that a bulk keeps in memory although most of their rows are not in it.
const HELD_BYTES: usize = 16 << 20;
/// Rows that were not delivered in the time that the pipeline gives.
const GAVE_UP: &str = "E-SINK-01";

struct Bulk {
    id: u64,
    /// First message, and one past the last one, by queue.
    spans: BTreeMap<QueueRef, (QueueOffset, QueueOffset)>,
    growth: Growth,
    items: Vec<Item>,
    /// Of these, which are not delivered yet.
    left: Vec<usize>,
    refused: Vec<Refused>,
    bytes: usize,
    /// Bytes of all messages that it keeps in memory.
    held: usize,
    /// Why the latest attempt was not enough.
    trouble: String,
}

enum Growth {
    /// It takes rows, since then.
    Open { since_ms: u64 },
    /// It is as large as it becomes.
    Closed,
    /// An earlier worker has sent it, or may have: it takes the messages of its spans. The
    /// checksum is of what was sent.
    Again { checksum: u32 },
}

impl<S> Bulks<S> {
    /// Goes on where the ledger says.
    pub fn new(sink: S, limits: BulkLimits, opening: SinkOpening) -> Self {
        Self {
            sink,
            limits,
            parts: opening.parts,
            next_id: opening.next_part_id,
            taken: opening.resume.next,
            bulks: VecDeque::new(),
        }
    }

    fn put(&mut self, item: Item, now: Now) {
        let queue = item.queue().clone();
        let offset = item.offset();
        let is_of = |bulk: &&mut Bulk| {
            matches!(bulk.growth, Growth::Again { .. })
                && bulk.spans.get(&queue).is_some_and(|(from, to)| (*from..*to).contains(&offset))
        };
        if let Some(bulk) = self.bulks.iter_mut().find(is_of) {
            bulk.push(item);
            return;
        }
        let bytes = weight(&item);
        let bulk = match self.bulks.back_mut() {
            Some(bulk) if bulk.has_room(bytes, &self.limits) => bulk,
            other => {
                if let Some(bulk) = other {
                    bulk.close();
                }
                self.bulks.push_back(Bulk::new(self.next_id, now));
                self.next_id += 1;
                self.bulks.back_mut().expect("it was just put there")
            }
        };
        bulk.spans.entry(queue).or_insert((offset, offset)).1 = offset + 1;
        bulk.push(item);
        if !bulk.has_room(0, &self.limits) {
            bulk.close();
        }
    }

    /// Whether a bulk has all that it will have.
    fn is_due(&self, bulk: &Bulk, now: Now, cut: Cut) -> bool {
        match bulk.growth {
            Growth::Closed => true,
            Growth::Open { since_ms } => {
                cut == Cut::All || now.mono_ms >= since_ms + self.limits.every_ms
            }
            Growth::Again { .. } => bulk
                .spans
                .iter()
                .all(|(queue, (_, to))| self.taken.get(queue).is_some_and(|taken| taken >= to)),
        }
    }

    /// Where reading resumes if the first so many bulks are committed.
    fn resume(&self, committed: usize) -> Resume {
        let mut next = self.taken.clone();
        for (queue, (from, _)) in self.bulks.iter().skip(committed).flat_map(|bulk| &bulk.spans) {
            if let Some(next) = next.get_mut(queue) {
                *next = (*next).min(*from);
            }
        }
        Resume { next, ahead: BTreeMap::new() }
    }

    fn part(&self, bulk: &Bulk) -> Part {
        let ranges = bulk.spans.iter().map(|(queue, &(from, to))| OffsetRange {
            queue: queue.clone(),
            from,
            to,
        });
        Part {
            id: bulk.id,
            name: format!("{}-{:010}", self.parts, bulk.id),
            staged: String::new(),
            partition: String::new(),
            ranges: ranges.collect(),
            rows: bulk.items.len() as u64,
            bytes: bulk.items.iter().map(|item| item.bytes.len() as u64).sum(),
            checksum: bulk.checksum(),
        }
    }

    fn find(&self, part: &Part) -> Option<usize> {
        self.bulks.iter().position(|bulk| bulk.id == part.id)
    }
}

#[async_trait]
impl<S: RowSink> FileSink for Bulks<S> {
    async fn write(&mut self, batch: &Batch, now: Now) -> Result<Written, SinkError> {
        let Encoded { items, rejected } = self.sink.encode(batch)?;
        let rows = items.len() as u64;
        items.into_iter().for_each(|item| self.put(item, now));
        let messages = batch.messages();
        self.taken.insert(messages.queue().clone(), messages.to());
        Ok(Written { rows, rejected, ..Written::default() })
    }

    async fn plan(&mut self, now: Now, cut: Cut) -> Result<Plan, SinkError> {
        let (mut parts, mut bytes) = (Vec::new(), 0);
        // Only the first ones: later bulks of a queue are not sent before earlier ones.
        for at in 0..self.bulks.len() {
            bytes += self.bulks[at].bytes;
            let is_enough = cut == Cut::Due && at > 0 && bytes > PLANNED_BYTES;
            if is_enough || !self.is_due(&self.bulks[at], now, cut) {
                break;
            }
            let bulk = &mut self.bulks[at];
            bulk.sort();
            let growth = std::mem::replace(&mut bulk.growth, Growth::Closed);
            let part = self.part(&self.bulks[at]);
            if let Growth::Again { checksum } = growth
                && checksum != part.checksum
            {
                let part = &part.name;
                warn!(part, "sent again, and not the same: the pipeline was changed meanwhile");
            }
            parts.push(part);
        }
        let resume = self.resume(parts.len());
        Ok(Plan { parts, resume })
    }

    async fn publish(&mut self, part: &Part) -> Result<Published, SinkError> {
        let Some(at) = self.find(part) else { return Ok(Published::default()) };
        let bulk = &mut self.bulks[at];
        if !bulk.left.is_empty() {
            let items: Vec<&Item> = bulk.left.iter().map(|item| &bulk.items[*item]).collect();
            let Outcome { rejected, again, reason } = self.sink.send(&items).await?;
            let left = &bulk.left;
            let refused = rejected.into_iter().map(|(at, reject)| {
                let Item { messages, row, .. } = &bulk.items[left[at]];
                Refused { messages: Arc::clone(messages), row: *row, reject }
            });
            bulk.refused.extend(refused);
            bulk.left = again.into_iter().map(|at| left[at]).collect();
            if !bulk.left.is_empty() {
                let reason = reason.expect("whoever wants items again says why");
                bulk.trouble = reason.source.to_string();
                let source = reason.source;
                return Err(match reason.after {
                    Some(after) => SinkError::Busy { after, source },
                    None => SinkError::Unavailable(source),
                });
            }
        }
        let bulk = self.bulks.remove(at).expect("it is there");
        Ok(Published { refused: bulk.refused })
    }

    fn give_up(&mut self, part: &Part) -> Option<Published> {
        let at = self.find(part)?;
        let mut bulk = self.bulks.remove(at).expect("it is there");
        for item in std::mem::take(&mut bulk.left) {
            let Item { messages, row, .. } = &bulk.items[item];
            let error = format!("gave up: {}", bulk.trouble);
            let reject = Reject { code: GAVE_UP, error, field: None };
            bulk.refused.push(Refused { messages: Arc::clone(messages), row: *row, reject });
        }
        Some(Published { refused: bulk.refused })
    }

    async fn probe(&mut self, _part: &Part) -> Result<PartState, SinkError> {
        Ok(PartState::Unknown)
    }

    async fn abort(&mut self, _part: &Part) -> Result<(), SinkError> {
        Ok(())
    }

    async fn sweep(&mut self, planned: &[Part]) -> Result<(), SinkError> {
        for part in planned {
            let mut bulk = Bulk::new(part.id, Now { mono_ms: 0, wall_ms: 0 });
            let spans =
                part.ranges.iter().map(|range| (range.queue.clone(), (range.from, range.to)));
            bulk.spans = spans.collect();
            bulk.growth = Growth::Again { checksum: part.checksum };
            self.bulks.push_back(bulk);
        }
        Ok(())
    }

    fn makes_files(&self) -> bool {
        false
    }
}

impl Bulk {
    fn new(id: u64, now: Now) -> Self {
        Self {
            id,
            spans: BTreeMap::new(),
            growth: Growth::Open { since_ms: now.mono_ms },
            items: Vec::new(),
            left: Vec::new(),
            refused: Vec::new(),
            bytes: 0,
            held: 0,
            trouble: String::new(),
        }
    }

    fn has_room(&self, bytes: usize, limits: &BulkLimits) -> bool {
        matches!(self.growth, Growth::Open { .. })
            && self.items.len() < limits.rows
            && self.bytes + bytes <= limits.bytes
            && self.held < HELD_BYTES
    }

    fn push(&mut self, item: Item) {
        let is_held =
            self.items.last().is_some_and(|last| Arc::ptr_eq(&last.messages, &item.messages));
        if !is_held {
            self.held += item.messages.bytes();
        }
        self.bytes += weight(&item);
        self.left.push(self.items.len());
        self.items.push(item);
    }

    fn close(&mut self) {
        if let Growth::Open { .. } = self.growth {
            self.growth = Growth::Closed;
        }
    }

    /// Queues are read in turns, and differently each time: what is sent is in an order of its own.
    fn sort(&mut self) {
        self.items.sort_by(|a, b| (a.queue(), a.offset()).cmp(&(b.queue(), b.offset())));
    }

    /// Of what is sent.
    fn checksum(&self) -> u32 {
        let mut hash = crc32fast::Hasher::new();
        for item in &self.items {
            hash.update(item.route.as_bytes());
            hash.update(&item.bytes);
        }
        hash.finalize()
    }
}

/// Bytes that a row counts with: of what is sent, or of the letter that it may become.
fn weight(item: &Item) -> usize {
    let message = item.messages.get(item.row as usize);
    item.bytes.len().max(message.body.len() + message.properties.as_bytes().len())
}

#[cfg(test)]
mod tests;
