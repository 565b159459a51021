use std::collections::BTreeMap;
use std::path::Path;

use millrace_disk::{Access, Disk};
use millrace_types::{PhysicalOffset, Properties, QueueId, QueueOffset};

use crate::checkpoint;
use crate::error::OpenError;
use crate::recovery::{self, Damage, Recovered, ScanFaults};
use crate::scan::Scanner;

/// What lies in a data directory, as read from its log alone. Nothing is changed, and no lock is
/// taken, so a directory in use can be looked at; its newest records may then be missing.
#[derive(Clone, Debug, Default)]
pub struct Inspection {
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
    /// Bytes behind the end that are not zero: the next start would cut them off.
    pub torn_bytes: u64,
    /// Records of an unfinished group at the end, which the next start would cut off.
    pub unfinished_records: usize,
    /// By topic and queue.
    pub queues: BTreeMap<(String, QueueId), QueueInspection>,
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
}

/// One file of the CommitLog.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentInspection {
    /// Physical offset of its first byte, which is its name.
    pub base: PhysicalOffset,
    /// Bytes.
    pub len: u64,
}

/// The messages of one queue.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct QueueInspection {
    /// Records found.
    pub messages: u64,
    /// The first queue offset found.
    pub min: QueueOffset,
    /// One past the last queue offset found.
    pub end: QueueOffset,
    /// Queue offsets in between that no record has.
    pub lost: u64,
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
    let mark = checkpoint::peek(disk, dir)?;
    let segments = recovery::open_segments(disk, &dir.join("commitlog"), Access::Read)?;
    let mut out = Inspection { durable: mark.durable, clean: mark.clean, ..Inspection::default() };
    let from = segments.first().map_or(PhysicalOffset(0), |segment| segment.base);
    let mut found = Recovered::default();
    let queues = &mut out.queues;
    let scanned = recovery::scan(
        &segments,
        from,
        mark.durable,
        ScanFaults::default(),
        &mut found,
        &mut |each| {
            record(InspectedRecord {
                topic: each.topic,
                queue: each.queue,
                queue_offset: each.queue_offset,
                physical_offset: each.entry.physical_offset,
                body: each.body,
                properties: each.properties,
            });
            let queue = queues.entry((each.topic.to_owned(), each.queue)).or_default();
            if queue.messages == 0 {
                queue.min = each.queue_offset;
                queue.end = each.queue_offset;
            }
            if each.queue_offset < queue.end {
                queue.out_of_order += 1;
            } else {
                queue.lost += each.queue_offset.since(queue.end);
                queue.end = each.queue_offset + 1;
            }
            queue.messages += 1;
            queue.body_bytes += each.body.len() as u64;
            queue.body_crc_sum =
                queue.body_crc_sum.wrapping_add(u64::from(crc32fast::hash(each.body)));
        },
    );
    for segment in segments.iter().filter(|segment| segment.end() > scanned.end) {
        let from = scanned.end.max(segment.base);
        if let Some((start, stop)) = Scanner::new(segment).not_zero(from)? {
            out.torn_bytes += stop - start;
        }
    }
    out.segments =
        segments.iter().map(|s| SegmentInspection { base: s.base, len: s.len }).collect();
    out.end = scanned.end;
    out.damage = found.damage;
    out.unfinished_records = found.unfinished_records;
    Ok(out)
}
