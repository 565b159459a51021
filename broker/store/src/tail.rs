//! What lies behind the end of the log, and what a start makes of it (P5).
//!
//! Behind the mark the first place that does not verify ends the log. What lies there may be the
//! rest of a torn write. But the mark may lag, so it may also be damage with messages after it that
//! were answered: so nothing is zeroed before a copy of it is durable, and whole records in it are
//! counted and named.

use std::collections::BTreeMap;
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};

use millrace_disk::{Access, Disk};
use millrace_types::{PhysicalOffset, QueueId, QueueOffset, TopicName};
use tracing::{error, warn};

use crate::checkpoint::{Checkpoint, Mark};
use crate::dispatch::Dispatch;
use crate::error::OpenError;
use crate::format;
use crate::inspect::inspect;
use crate::recovery::{ScanEnd, ScanFaults, scan};
use crate::scan::{Origin, Scanner};
use crate::segment::{self, Segment};
use crate::whole;

/// Bytes that a start cut off the end of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CutOff {
    /// How many, from the first to the last that is not zero.
    pub bytes: u64,
    /// A data directory of its own that has them where they were, for `inspect` to read.
    pub copy: PathBuf,
    /// Whole records among them.
    pub records: u64,
    /// The messages among these, by topic and queue.
    pub messages: Vec<CutOffMessages>,
}

/// Messages of one queue that a start cut off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CutOffMessages {
    /// Topic.
    pub topic: TopicName,
    /// Queue.
    pub queue: QueueId,
    /// How many.
    pub count: u64,
    /// The lowest offset.
    pub from: QueueOffset,
    /// One past the highest.
    pub to: QueueOffset,
}

/// What an earlier start cut off, as it lies in a data directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TornCopy {
    /// A data directory of its own; a mere piece of the log if an older version left it.
    pub path: PathBuf,
    /// Bytes.
    pub bytes: u64,
    /// Whole records in it; `None` if it cannot be read as a log.
    pub records: Option<u64>,
}

/// Whether the first bytes behind `end` are zero, in each segment that has any: a look that costs
/// a start nothing. What cannot be read could not be copied aside either, and counts as zero.
pub(crate) fn looks_unwritten(segments: &[Segment], end: PhysicalOffset) -> bool {
    let mut block = [0; 4096];
    segments.iter().filter(|segment| segment.end() > end).all(|segment| {
        let from = end.max(segment.base).since(segment.base);
        let (read, _) = whole::read_most(&*segment.file, &mut block, from);
        block[..read].iter().all(|byte| *byte == 0)
    })
}

/// Cuts everything behind the end off: copies it aside, then zeroes it, both durably. If it cannot
/// be copied, nothing is changed.
pub(crate) fn cut(
    disk: &dyn Disk,
    dir: &Path,
    segments: &mut Vec<Segment>,
    scanned: &ScanEnd,
) -> Result<Option<CutOff>, OpenError> {
    let end = scanned.end;
    let tail = Tail::behind(segments, end)?;
    let cut_off = match &tail {
        Some(tail) => Some(tail.set_aside(disk, dir, segments, scanned)?),
        None => None,
    };
    for segment in segments.iter().filter(|segment| segment.end() > end) {
        // Also where it reads as zero: a start before this one may have failed to sync that.
        segment.file.zero(end.max(segment.base).since(segment.base)..segment.len)?;
        segment.file.sync()?;
    }
    Ok(cut_off)
}

/// What is not zero behind the end of a log.
struct Tail {
    end: PhysicalOffset,
    pieces: Vec<Piece>,
}

/// What of it lies in one segment, from its first to its last byte that is not zero.
struct Piece {
    segment: Segment,
    start: u64,
    stop: u64,
}

impl Tail {
    fn behind(segments: &[Segment], end: PhysicalOffset) -> Result<Option<Self>, OpenError> {
        let mut pieces = Vec::new();
        for segment in segments.iter().filter(|segment| segment.end() > end) {
            if let Some((start, stop)) = Scanner::new(segment).not_zero(end.max(segment.base))? {
                pieces.push(Piece { segment: segment.clone(), start, stop });
            }
        }
        Ok((!pieces.is_empty()).then_some(Self { end, pieces }))
    }

    fn bytes(&self) -> u64 {
        self.pieces.iter().map(|piece| piece.stop - piece.start).sum()
    }

    /// One past the last byte that is not zero.
    fn stop(&self) -> PhysicalOffset {
        self.pieces.last().map_or(self.end, |last| last.segment.base + last.stop)
    }

    /// Makes a copy and says what is in it.
    fn set_aside(
        &self,
        disk: &dyn Disk,
        dir: &Path,
        segments: &mut Vec<Segment>,
        scanned: &ScanEnd,
    ) -> Result<CutOff, OpenError> {
        let behind = self.count(scanned.stopped);
        // Where anything whole follows, the group before it may have been whole as well.
        let (records, messages) = if behind.0 > 0 { self.count(self.end) } else { behind };
        let bytes = self.bytes();
        let mut copied = self.copy(disk, dir);
        // The segment made ahead is room, too: it holds nothing, and whoever needs it makes it again.
        if let Err(error) = &copied
            && error.kind() == io::ErrorKind::StorageFull
            && let Some(unused) = segments.pop_if(|last| self.frees_enough(last))
        {
            segment::remove(disk, &dir.join("commitlog"), unused.base)?;
            drop(unused);
            copied = self.copy(disk, dir);
        }
        let copy = copied.map_err(|source| OpenError::TailNotCopied {
            segment: segment::path(&dir.join("commitlog"), self.pieces[0].segment.base),
            end: self.end,
            bytes,
            records,
            room: self.room(),
            source,
        })?;
        if records > 0 {
            error!(
                physical_offset = %self.end, bytes, records, copy = %copy.display(),
                "whole records behind the end of the log cut off",
            );
        } else {
            warn!(
                physical_offset = %self.end, bytes, copy = %copy.display(),
                "bytes behind the end of the log cut off",
            );
        }
        Ok(CutOff { bytes, copy, records, messages })
    }

    /// Whether a segment is not needed now and makes room for the copy.
    fn frees_enough(&self, last: &Segment) -> bool {
        last.base > self.stop() && last.base > self.end && last.len >= self.room()
    }

    /// Room for the copy: whole blocks, and some for the names and the two small files.
    fn room(&self) -> u64 {
        let blocks = self.pieces.iter().map(|piece| {
            (piece.stop.div_ceil(BLOCK_BYTES) - piece.start / BLOCK_BYTES) * BLOCK_BYTES
        });
        blocks.sum::<u64>() + 8 * BLOCK_BYTES
    }

    /// The whole records from a place on, and the messages among them. Those at the end of a group
    /// that does not end are not among them: nobody was ever answered for it.
    fn count(&self, from: PhysicalOffset) -> (u64, Vec<CutOffMessages>) {
        // The last record may end with zeros. But the rest of a segment is not worth a read.
        let parts: Vec<Segment> = self
            .pieces
            .iter()
            .map(|Piece { segment, stop, .. }| segment.shortened(stop + BLOCK_BYTES))
            .collect();
        let mut records = 0;
        let mut queues: BTreeMap<(TopicName, QueueId), CutOffMessages> = BTreeMap::new();
        let mut scratch = crate::recovery::Recovered::default();
        let faults = ScanFaults::default();
        scan(&parts, from, self.stop(), Origin::Ours, faults, &mut scratch, &mut |found| {
            records += 1;
            let record = found.record;
            let dispatch = Dispatch::of(record.topic(), record.sys_flag(), record.properties());
            let Some(topic) =
                TopicName::parse(record.topic()).ok().filter(|_| dispatch.is_queued())
            else {
                return;
            };
            let (queue, at) = (record.queue_id(), record.queue_offset());
            let new = || CutOffMessages { topic: topic.clone(), queue, count: 0, from: at, to: at };
            let of_queue = queues.entry((topic.clone(), queue)).or_insert_with(new);
            of_queue.count += 1;
            of_queue.from = of_queue.from.min(at);
            of_queue.to = of_queue.to.max(at + 1);
        });
        (records, queues.into_values().collect())
    }

    /// Copies it to a data directory of its own: `format` last, so that what has one is whole.
    fn copy(&self, disk: &dyn Disk, dir: &Path) -> io::Result<PathBuf> {
        let torn = dir.join("torn");
        let mut copy = torn.join(format!("{:020}", self.end.0));
        for again in 1.. {
            // What has no `format` was left by a start that did not come to the end of this. A file
            // is the copy of an older version, and to look for anything in it is an error.
            let is_taken = is_file(disk, &copy)? || disk.exists(&copy.join("format"))?;
            if !is_taken {
                break;
            }
            copy = torn.join(format!("{:020}-{again}", self.end.0));
        }
        let log = copy.join("commitlog");
        disk.create_dir_durably(&log)?;
        clear(disk, &copy)?;
        let copied = self.copy_into(disk, &copy, &log);
        if copied.is_err() {
            // It takes room and is of no use to anybody; the next start would remove it.
            let _ = clear(disk, &copy);
        }
        copied.map(|()| copy)
    }

    fn copy_into(&self, disk: &dyn Disk, copy: &Path, log: &Path) -> io::Result<()> {
        let first = self.pieces[0].segment.base;
        let mut block = vec![0; 1 << 20];
        for (n, Piece { segment, start, stop }) in self.pieces.iter().enumerate() {
            let base = self.end.max(segment.base);
            let skipped = base.since(segment.base);
            let file = disk.create(&segment::path(log, base))?;
            let mut at = *start;
            while at < *stop {
                let want = block.len().min((stop - at) as usize);
                whole::read(&*segment.file, &mut block[..want], at)?;
                file.write_at(&[IoSlice::new(&block[..want])], at - skipped)?;
                at += want as u64;
            }
            // The segments follow one another, as those that they are copies of.
            let next = self.pieces.get(n + 1).map(|next| next.segment.base);
            file.truncate(next.map_or(stop - skipped, |next| next.since(base)))?;
            file.sync()?;
        }
        disk.sync_dir(log)?;
        let (mut checkpoint, _) = Checkpoint::open(disk, copy)?;
        let min = Some(self.end.max(first));
        checkpoint.write(Mark { durable: self.stop(), clean: false, min, tally: None })?;
        checkpoint.sync()?;
        format::write(disk, copy)
    }
}

/// What a file takes at least.
const BLOCK_BYTES: u64 = 4096;

fn is_file(disk: &dyn Disk, path: &Path) -> io::Result<bool> {
    Ok(disk.exists(path)? && disk.open(path, Access::Read).is_ok())
}

/// Removes the files of a copy that was not finished.
fn clear(disk: &dyn Disk, copy: &Path) -> io::Result<()> {
    for dir in [copy.join("commitlog"), copy.to_owned()] {
        for entry in disk.list(&dir)?.into_iter().filter(|entry| !entry.is_dir) {
            disk.remove(&dir.join(entry.name))?;
        }
    }
    Ok(())
}

/// What earlier starts have cut off a log and nobody has removed since.
pub(crate) fn list(disk: &dyn Disk, dir: &Path) -> io::Result<Vec<TornCopy>> {
    let torn = dir.join("torn");
    let entries = match disk.list(&torn) {
        Ok(entries) => entries,
        Err(error)
            if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) =>
        {
            return Ok(Vec::new());
        }
        Err(error) => return Err(error),
    };
    let mut copies = Vec::new();
    for entry in entries {
        let path = torn.join(&entry.name);
        if !entry.name.starts_with(|first: char| first.is_ascii_digit()) {
            continue;
        }
        if !entry.is_dir {
            let bytes = disk.open(&path, Access::Read)?.size()?;
            copies.push(TornCopy { path, bytes, records: None });
        } else if disk.exists(&path.join("format"))? {
            let mut records = 0;
            let found = inspect(disk, &path, &mut |_| records += 1);
            let bytes = found.as_ref().map_or(0, |found| {
                let first = found.segments.first();
                first.map_or(0, |first| found.durable.0.saturating_sub(first.base.0))
            });
            copies.push(TornCopy { path, bytes, records: found.is_ok().then_some(records) });
        }
    }
    Ok(copies)
}
