use std::collections::{BTreeMap, VecDeque};
use std::path::Path;

use millrace_disk::Disk;
use millrace_types::record::{Record, Verified};
use millrace_types::{PhysicalOffset, Properties, QueueId, QueueOffset};

use crate::dispatch::Dispatch;
use crate::error::OpenError;
use crate::lost::RECORD_BYTES_MIN;
use crate::missing::{MissingBytes, Present};
use crate::recovery::{self, Damage, Recovered, ScanFaults};
use crate::scan::{Origin, Scanner};
use crate::tail::{self, TornCopy};
use crate::tally::Tally;

/// What lies in a data directory, ours or one of Apache RocketMQ, as read from its log alone. Nothing is changed, and no lock is
/// taken, so a directory in use can be looked at; its newest records may then be missing.
#[derive(Clone, Debug, Default)]
pub struct Inspection {
    /// Whether it says that it is ours. Otherwise it is read as one of Apache RocketMQ, whose
    /// records may prove no more than their body, and which says nothing of what was durable:
    /// whatever lies before the last record that verifies counts as promised.
    pub ours: bool,
    /// Records of which only the body has a checksum.
    pub body_only: u64,
    /// The segments in order.
    pub segments: Vec<SegmentInspection>,
    /// Where the log ends: whole groups only.
    pub end: PhysicalOffset,
    /// How far the checkpoint says it is durable.
    pub durable: PhysicalOffset,
    /// Whether it was closed properly.
    pub clean: bool,
    /// Stretches before the durable mark that do not verify.
    pub damage: Vec<Damage>,
    /// Stretches that were durable and lie in no file, because files are missing or cut short.
    pub missing: Vec<MissingBytes>,
    /// If there are such: how many messages are not there, by what the checkpoint has counted.
    pub missing_messages: Option<MissingMessages>,
    /// Bytes behind the end that are not zero: the next start would cut them off.
    pub torn_bytes: u64,
    /// Records of an unfinished group at the end, which the next start would cut off.
    pub unfinished_records: usize,
    /// What earlier starts have cut off, and is in `torn/`.
    pub torn_copies: Vec<TornCopy>,
    /// By topic and queue.
    pub queues: BTreeMap<(String, QueueId), QueueInspection>,
}

/// Messages that were counted while they were there, those of the broker's own state apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MissingMessages {
    /// So many, those in damaged stretches among them.
    Exactly(u64),
    /// Not more than that: some that were counted may have been removed by retention.
    AtMost(u64),
}

/// One record of an inspected log.
#[derive(Clone, Copy, Debug)]
pub struct InspectedRecord<'a> {
    /// Topic.
    pub topic: &'a str,
    /// Queue.
    pub queue: QueueId,
    /// Where it stands in its queue.
    pub queue_offset: QueueOffset,
    /// Where it starts in the log.
    pub physical_offset: PhysicalOffset,
    /// The payload.
    pub body: &'a [u8],
    /// The properties.
    pub properties: Properties<'a>,
    /// All of it.
    pub record: Record<'a>,
    /// What its checksums cover.
    pub verified: Verified,
}

impl<'a> InspectedRecord<'a> {
    /// A record that verifies.
    pub fn of(record: Record<'a>) -> Self {
        Self {
            topic: record.topic(),
            queue: record.queue_id(),
            queue_offset: record.queue_offset(),
            physical_offset: record.physical_offset(),
            body: record.body(),
            properties: record.properties(),
            verified: record.verify().unwrap_or(Verified::BodyOnly),
            record,
        }
    }
}

/// One file of the CommitLog.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentInspection {
    /// Physical offset of its first byte, which is its name.
    pub base: PhysicalOffset,
    /// Bytes.
    pub len: u64,
    /// The messages in it, by topic and queue; of the oldest [`OLDEST_SEGMENTS`] only.
    pub queues: BTreeMap<(String, QueueId), QueuePart>,
}

/// The messages of one queue in one segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueuePart {
    /// Records found.
    pub messages: u64,
    /// The first queue offset.
    pub from: QueueOffset,
    /// One past the last queue offset.
    pub to: QueueOffset,
}

/// The contents of so many segments are told: those that retention can take next.
pub const OLDEST_SEGMENTS: usize = 10;

/// The messages of one queue.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct QueueInspection {
    /// Records found.
    pub messages: u64,
    /// The first queue offset found.
    pub min: QueueOffset,
    /// One past the last queue offset found.
    pub end: QueueOffset,
    /// How many queue offsets in between no record has.
    pub lost: u64,
    /// Which ones: the first of each gap, and one past its last.
    pub gaps: Vec<(QueueOffset, QueueOffset)>,
    /// Records whose queue offset does not ascend.
    pub out_of_order: u64,
    /// Bytes of all bodies.
    pub body_bytes: u64,
    /// Sum of the CRC-32 (IEEE, all 32 bits) of each body, modulo 2⁶⁴: equal for equal sets of
    /// bodies, in whatever order.
    pub body_crc_sum: u64,
}

/// Reads and verifies a whole log. `record` is called with each record, in the order of the log.
pub fn inspect(
    disk: &dyn Disk,
    dir: &Path,
    record: &mut dyn FnMut(InspectedRecord<'_>),
) -> Result<Inspection, OpenError> {
    let ours = disk.exists(&dir.join("format"))?;
    let (origin, present) = match ours {
        true => (Origin::Ours, Present::ours(disk, dir)?),
        false => (Origin::Apache, Present::apache(disk, dir)?),
    };
    let Present { segments, mark, missing } = present;
    let mut out =
        Inspection { ours, durable: mark.durable, clean: mark.clean, ..Inspection::default() };
    let from = segments.first().map_or(mark.min.unwrap_or_default(), |segment| segment.base);
    let mut counted = 0;
    let mut found = Recovered::default();
    let (queues, body_only) = (&mut out.queues, &mut out.body_only);
    let faults = ScanFaults::default();
    let mut oldest: VecDeque<Oldest> =
        segments.iter().take(OLDEST_SEGMENTS).map(|s| Oldest::ending_at(s.end())).collect();
    let mut told = Vec::new();
    let mut scanned =
        recovery::scan(&segments, from, mark.durable, origin, faults, &mut found, &mut |each| {
            let each = each.record;
            let inspected = InspectedRecord::of(each);
            *body_only += u64::from(inspected.verified == Verified::BodyOnly);
            let (offset, body) = (each.queue_offset(), each.body());
            if each.physical_offset() < mark.durable {
                counted += counted_messages(each);
            }
            record(inspected);
            // A half message and a rollback stand in no queue.
            if !Dispatch::of(each.topic(), each.sys_flag(), each.properties()).is_queued() {
                return;
            }
            let queue = queues.entry((each.topic().to_owned(), each.queue_id())).or_default();
            if queue.messages == 0 {
                queue.min = offset;
                queue.end = offset;
            }
            if offset < queue.end {
                queue.out_of_order += 1;
            } else {
                if offset > queue.end {
                    queue.lost += offset.since(queue.end);
                    queue.gaps.push((queue.end, offset));
                }
                queue.end = offset + 1;
            }
            queue.messages += 1;
            queue.body_bytes += body.len() as u64;
            queue.body_crc_sum = queue.body_crc_sum.wrapping_add(u64::from(crc32fast::hash(body)));
            let at = each.physical_offset();
            while oldest.front().is_some_and(|segment| segment.end <= at) {
                told.extend(oldest.pop_front());
            }
            if let Some(segment) = oldest.front_mut() {
                segment.take(each.topic(), each.queue_id(), offset);
            }
        });
    if !ours {
        // What follows the last record that verifies is the tail, not damage.
        while let Some(last) = found.damage.pop_if(|last| last.to == scanned.end) {
            scanned.end = last.from;
        }
        out.durable = scanned.end;
    }
    for segment in segments.iter().filter(|segment| segment.end() > scanned.end) {
        let from = scanned.end.max(segment.base);
        if let Some((start, stop)) = Scanner::new(segment).not_zero(from)? {
            out.torn_bytes += stop - start;
        }
    }
    told.extend(oldest);
    let mut contents = told.into_iter().map(|segment: Oldest| segment.queues);
    out.segments = segments
        .iter()
        .map(|s| {
            let queues = contents.next().unwrap_or_default();
            SegmentInspection { base: s.base, len: s.len, queues }
        })
        .collect();
    out.missing = missing;
    if !ours {
        // Behind its end nothing was promised.
        out.missing.retain(|missing| missing.from < scanned.end);
    }
    if let Some(due) = mark.tally.filter(|_| !out.missing.is_empty()) {
        let min = mark.min.unwrap_or_default();
        out.missing_messages =
            Some(out.missing_messages(min, due.messages, counted, &found.damage));
    }
    out.end = scanned.end;
    out.damage = found.damage;
    out.unfinished_records = found.unfinished_records;
    out.torn_copies = tail::list(disk, dir)?;
    Ok(out)
}

/// What a record adds to the number of messages in the checkpoint.
fn counted_messages(record: Record<'_>) -> u64 {
    let dispatch = Dispatch::of(record.topic(), record.sys_flag(), record.properties());
    let main = Tally::of(record.topic(), u64::from(dispatch.is_queued()));
    main.messages
}

impl Inspection {
    /// How many of the messages that were counted are not there: `due` were, and `found` are.
    fn missing_messages(
        &self,
        min: PhysicalOffset,
        due: u64,
        found: u64,
        damage: &[Damage],
    ) -> MissingMessages {
        if min == PhysicalOffset(0) {
            return MissingMessages::Exactly(due.saturating_sub(found));
        }
        // The offsets before the first message of a queue were those of removed messages, unless
        // they are what is missing.
        let removed: u64 = match self.missing.first() {
            Some(first) if first.from == min => 0,
            _ => {
                let queues = self.queues.iter();
                queues.map(|((topic, _), queue)| Tally::of(topic, queue.min.0).messages).sum()
            }
        };
        let bytes = self.missing.iter().map(|missing| missing.to.since(missing.from));
        let damaged = damage.iter().map(|damage| damage.to.since(damage.from));
        let could_hold = bytes.chain(damaged).sum::<u64>() / RECORD_BYTES_MIN;
        let missing = due.saturating_sub(found).saturating_sub(removed);
        MissingMessages::AtMost(missing.min(could_hold))
    }
}

/// One of the oldest segments, while its records are read.
struct Oldest {
    end: PhysicalOffset,
    queues: BTreeMap<(String, QueueId), QueuePart>,
}

impl Oldest {
    fn ending_at(end: PhysicalOffset) -> Self {
        Self { end, queues: BTreeMap::new() }
    }

    fn take(&mut self, topic: &str, queue: QueueId, offset: QueueOffset) {
        let new = QueuePart { messages: 0, from: offset, to: offset };
        let part = self.queues.entry((topic.to_owned(), queue)).or_insert(new);
        part.messages += 1;
        part.to = part.to.max(offset + 1);
    }
}
