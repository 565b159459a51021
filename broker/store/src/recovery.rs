//! What to trust after a crash (P5).
//!
//! The checkpoint says how far the log was durable. Before that mark every byte was on disk once,
//! so whatever does not verify there is damage: it is reported and passed over, and everything
//! after it is kept. Behind the mark the first position that does not verify ends the log; what lies
//! there is copied aside and zeroed, so that it can never be taken for a record later (`tail`). A
//! group whose last record is missing is cut off whole.
//!
//! A start that is refused has changed nothing: what is left over is removed after that is known.

use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};

use millrace_disk::{Access, Disk};
use millrace_types::record::Record;
use millrace_types::{PhysicalOffset, QueueId, QueueOffset, TopicName};
use tracing::warn;

use crate::checkpoint::Mark;
use crate::dispatch::{Dispatch, is_lite};
use crate::error::OpenError;
use crate::lost::LostMessages;
use crate::queue_index::{Entry, OpenedRun, QueueIndex, QueueName, QueueNo, Run, list};
use crate::scan::{Origin, Scanned, Scanner};
use crate::segment::{self, Segment};
use crate::tail::CutOff;
use crate::tally::Tally;
use crate::whole;

/// What a start found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovered {
    /// Whether the store had been closed properly.
    pub clean: bool,
    /// Where the log ends.
    pub end: PhysicalOffset,
    /// Bytes of log read to get there.
    pub scanned_bytes: u64,
    /// Stretches before the durable mark that are not what was written.
    pub damage: Vec<Damage>,
    /// The messages that were in there, as far as what follows them tells.
    pub lost: Vec<LostMessages>,
    /// What lay behind the end and was cut off.
    pub torn: Option<CutOff>,
    /// Records of an unfinished group that were cut off.
    pub unfinished_records: usize,
    /// The checkpoint, if neither of its two copies was whole: how far the log was durable was
    /// read from the log.
    pub checkpoint_rebuilt: Option<PathBuf>,
    /// Index files that were not whole and are built again from the log.
    pub index_rebuilt: Vec<PathBuf>,
    /// Snapshots of the broker's state that were not whole; the log has it all.
    pub snapshots_damaged: Vec<PathBuf>,
    pub(crate) last_store_ms: i64,
}

/// A stretch of the log that is not what was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// First byte.
    pub from: PhysicalOffset,
    /// One past the last byte.
    pub to: PhysicalOffset,
    /// What does not hold at its first byte.
    pub reason: String,
}

/// Files that a start removes, once nothing can refuse it any more.
#[derive(Debug, Default)]
pub(crate) struct Leftovers {
    segments: Vec<PhysicalOffset>,
    runs: Vec<PathBuf>,
}

impl Leftovers {
    pub(crate) fn remove(self, disk: &dyn Disk, log_dir: &Path) -> io::Result<()> {
        for base in self.segments {
            segment::remove(disk, log_dir, base)?;
        }
        self.runs.iter().try_for_each(|run| disk.remove(run))
    }
}

/// Opens all segments, checking that none is missing in between.
pub(crate) fn open_segments(
    disk: &dyn Disk,
    dir: &Path,
    leftovers: &mut Leftovers,
) -> Result<Vec<Segment>, OpenError> {
    let mut segments: Vec<Segment> = Vec::new();
    let bases = segment::list(disk, dir)?;
    for (number, &base) in bases.iter().enumerate() {
        let opened = Segment::open(disk, dir, base, Access::ReadWrite)?;
        // The name of a new segment may survive a power cut that its size did not.
        if opened.len == 0 && number + 1 == bases.len() {
            leftovers.segments.push(base);
            break;
        }
        if let Some(before) = segments.last()
            && before.end() != base
        {
            return Err(OpenError::MissingSegment {
                before: Some(segment::path(dir, before.base)),
                missing: segment::path(dir, before.end()),
                next: Some(segment::path(dir, base)),
            });
        }
        segments.push(opened);
    }
    Ok(segments)
}

/// Compares the segments with the mark: leaves out what retention had begun to remove, and refuses
/// a log that has lost its first or its last segments.
pub(crate) fn settle_ends(
    dir: &Path,
    segments: &mut Vec<Segment>,
    mark: Mark,
    leftovers: &mut Leftovers,
) -> Result<(), OpenError> {
    let Some(min) = mark.min else {
        return Ok(());
    };
    let gone = segments.iter().take_while(|segment| segment.end() <= min).count();
    let gone = gone.min(segments.len().saturating_sub(1));
    // From the oldest on, so that a crash in between leaves a log without gaps.
    let gone = segments.drain(..gone).map(|segment| segment.base);
    leftovers.segments.splice(0..0, gone);
    match segments.first() {
        Some(first) if first.base > min => Err(OpenError::MissingSegment {
            before: None,
            missing: segment::path(dir, min),
            next: Some(segment::path(dir, first.base)),
        }),
        _ => reaches(dir, segments, min, mark.durable),
    }
}

/// Refuses a log that ends before `durable`, up to where it was on disk once.
pub(crate) fn reaches(
    dir: &Path,
    segments: &[Segment],
    min: PhysicalOffset,
    durable: PhysicalOffset,
) -> Result<(), OpenError> {
    let last = segments.last();
    let end = last.map_or(min, Segment::end);
    if durable <= end && (last.is_some() || durable == PhysicalOffset(0)) {
        return Ok(());
    }
    let before = last.map(|last| segment::path(dir, last.base));
    Err(OpenError::MissingSegment { before, missing: segment::path(dir, end), next: None })
}

/// Loads the index runs that follow one another from the start of the log. What comes after the
/// first gap is to be removed, because it is going to be built again; and so is what lies before
/// the log, because its messages are gone.
pub(crate) fn load_runs(
    disk: &dyn Disk,
    dir: &Path,
    segments: &[Segment],
    log_min: PhysicalOffset,
    faults: ScanFaults,
    found: &mut Recovered,
    leftovers: &mut Leftovers,
) -> Result<(QueueIndex, PhysicalOffset), OpenError> {
    let mut index = QueueIndex::starting_at(log_min);
    let mut indexed_to = log_min;
    for (from, to, path) in list(disk, dir)? {
        if to <= log_min && from < to {
            leftovers.runs.push(path);
            continue;
        }
        if from == indexed_to || (indexed_to == log_min && from < log_min) {
            match Run::open(disk, &path, !faults.trust_runs) {
                Ok(opened) if opened.run.to() == to && agrees(&opened, segments) => {
                    let last_store_ms = opened.run.last_store_ms();
                    if index.load(opened) {
                        found.last_store_ms = found.last_store_ms.max(last_store_ms);
                        indexed_to = to;
                        continue;
                    }
                    // It contradicts those before it, so none of them can be believed.
                    index = QueueIndex::starting_at(log_min);
                    indexed_to = log_min;
                }
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => warn!(error = %error, path = %path.display(), "index run unusable"),
            }
        }
        found.index_rebuilt.push(path.clone());
        leftovers.runs.push(path);
    }
    index.trim(log_min);
    Ok((index, indexed_to))
}

/// Of so many queues of a run one entry is compared with the log.
const COMPARED_MAX: usize = 8;

/// Whether a whole run is one of this log, and not of another one that was copied over it: the last
/// entry of some of its queues leads to the record that it says. What is damaged tells nothing.
fn agrees(opened: &OpenedRun, segments: &[Segment]) -> bool {
    let OpenedRun { run, names } = opened;
    let numbered = (0..).map(QueueNo).zip(names).filter(|(no, _)| run.count(*no) > 0);
    let filled: Vec<(QueueNo, &QueueName)> = numbered.collect();
    let step = filled.len().div_ceil(COMPARED_MAX).max(1);
    filled.into_iter().step_by(step).all(|(no, name)| {
        let last = run.from(no) + (run.count(no) - 1);
        let entries = run.read(no, last, 1);
        let Some(entry) = entries.first().filter(|entry| entry.size > 0 && !entry.is_unreadable())
        else {
            return true;
        };
        let at = entry.physical_offset;
        let holds = |segment: &&Segment| {
            let rest = segment.end().0.checked_sub(at.0);
            segment.base <= at && rest.is_some_and(|rest| u64::from(entry.size) <= rest)
        };
        let Some(segment) = segments.iter().find(holds) else {
            return true;
        };
        let mut bytes = vec![0; entry.size as usize];
        let read = whole::read(&*segment.file, &mut bytes, at.since(segment.base));
        let record = read.ok().and_then(|()| Record::parse(&bytes).ok());
        record.filter(|record| record.verify_whole().is_ok()).is_none_or(|record| {
            let main = record.topic() == name.topic.as_str()
                && record.queue_id() == name.id
                && record.queue_offset() == last;
            record.physical_offset() != at || main || is_lite(name.topic.as_str())
        })
    })
}

/// Where a scan of the log ended.
pub(crate) struct ScanEnd {
    pub(crate) end: PhysicalOffset,
    /// The first place that is no record: behind the end if a group is not whole.
    pub(crate) stopped: PhysicalOffset,
    /// Whether the end was reached by running out of segments.
    pub(crate) out_of_segments: bool,
}

/// Mistakes planted in what a start does; none in earnest.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ScanFaults {
    pub(crate) keep_half_groups: bool,
    pub(crate) dispatch_past_damage: bool,
    pub(crate) trust_stale_mark: bool,
    pub(crate) trust_runs: bool,
}

/// Reads the log from `from` on, hands every record to `record`, and finds the end.
pub(crate) fn scan(
    segments: &[Segment],
    from: PhysicalOffset,
    durable: PhysicalOffset,
    origin: Origin,
    faults: ScanFaults,
    found: &mut Recovered,
    record: &mut dyn FnMut(Found<'_>),
) -> ScanEnd {
    let mut group: Vec<Vec<u8>> = Vec::new();
    let mut at = from;
    'segments: for segment in segments.iter().filter(|segment| segment.end() > from) {
        let mut scanner = Scanner::of(segment, origin);
        at = at.max(segment.base);
        while at < segment.end() {
            if faults.trust_stale_mark && at >= durable {
                break 'segments;
            }
            let reason = match scanner.at(at) {
                Scanned::Record(scanned) => {
                    let after_damage = !found.damage.is_empty();
                    let next = Found { record: scanned, after_damage };
                    found.last_store_ms = found.last_store_ms.max(scanned.store_at_ms());
                    let len = scanned.as_bytes().len() as u64;
                    if scanned.more() {
                        group.push(scanned.as_bytes().to_vec());
                    } else {
                        release(&mut group, after_damage, record);
                        record(next);
                    }
                    found.scanned_bytes += len;
                    at = at + len;
                    continue;
                }
                Scanned::FileEnd => {
                    at = segment.end();
                    continue;
                }
                Scanned::Empty => "nothing is written here".to_owned(),
                Scanned::Torn(reason) => reason,
                Scanned::Unreadable(error) => error.to_string(),
            };
            if at >= durable {
                break 'segments;
            }
            // What came before the damage was durable, so its group was whole.
            release(&mut group, !found.damage.is_empty(), record);
            if faults.dispatch_past_damage {
                at = segment.end().min(durable);
                continue;
            }
            let next = scanner.next_record(at).unwrap_or(segment.end().min(durable));
            found.damage.push(Damage { from: at, to: next, reason });
            at = next;
        }
    }
    let (mut end, stopped) = (at, at);
    if let Some(first) = group.first().and_then(|first| Record::parse(first).ok()) {
        if faults.keep_half_groups {
            release(&mut group, !found.damage.is_empty(), record);
        } else {
            end = first.physical_offset();
            found.unfinished_records = group.len();
        }
    }
    let out_of_segments = segments.last().is_none_or(|last| end == last.end());
    ScanEnd { end, stopped, out_of_segments }
}

/// Hands out the records that waited for the rest of their group.
fn release(group: &mut Vec<Vec<u8>>, after_damage: bool, record: &mut dyn FnMut(Found<'_>)) {
    for bytes in group.drain(..) {
        if let Ok(held) = Record::parse(&bytes) {
            record(Found { record: held, after_damage });
        }
    }
}

/// A record that a scan found, verified.
pub(crate) struct Found<'a> {
    pub(crate) record: Record<'a>,
    /// Whether damage was found before it.
    pub(crate) after_damage: bool,
}

impl Found<'_> {
    pub(crate) fn entry(&self) -> Entry {
        Entry {
            physical_offset: self.record.physical_offset(),
            size: self.record.as_bytes().len() as u32,
            tags_code: self.record.tags_code(),
        }
    }
}

/// Whether the log still has its first byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LogStart {
    /// Nothing was ever removed from it.
    Whole,
    /// Its first segments were removed.
    Removed,
}

/// Adds a found record to the indexes, and what it tells of those before it to `lost`.
pub(crate) fn index_found(
    index: &mut QueueIndex,
    multi_dispatch: bool,
    log_start: LogStart,
    found: &Found<'_>,
    lost: &mut Vec<LostMessages>,
) {
    let (record, entry) = (&found.record, found.entry());
    let at = entry.physical_offset;
    let dispatch = Dispatch::of(record.topic(), record.sys_flag(), record.properties());
    let mut queue = index.find(record.topic(), record.queue_id());
    if queue.is_none() {
        let Ok(topic) = TopicName::parse(record.topic()) else {
            warn!(physical_offset = %at, "record with an illegal topic passed over");
            return;
        };
        let new = || index.find_or_add(&topic, record.queue_id());
        queue = dispatch.is_queued().then(new);
    }
    index.note_time(record.store_at_ms());
    dispatch.each_key(|hash| index.push_key(hash, at));
    let mut add = |index: &mut QueueIndex, no, offset: QueueOffset| {
        let (from, is_first) = (index.end(no), !index.is_filled(no));
        let added = index.push_found(no, offset, entry);
        let (topic, queue) = index.name(no);
        match added {
            None => warn!(
                topic = %topic, queue_id = %queue, queue_offset = %offset, physical_offset = %at,
                "record out of order passed over",
            ),
            Some(gap) => {
                // The first message of a queue that is still there shows a gap only if none was
                // ever removed before it.
                let shown = is_first && log_start == LogStart::Whole;
                let gap = if shown { offset.since(from) } else { gap };
                if gap > 0 {
                    let (topic, to) = (topic.clone(), offset);
                    lost.push(LostMessages { topic, queue, from, to, certain: true });
                }
                let entries = Tally::of(topic.as_str(), gap + 1);
                index.count(entries);
            }
        }
    };
    if let Some(no) = queue.filter(|_| dispatch.is_queued()) {
        add(index, no, record.queue_offset());
    }
    if multi_dispatch {
        for (name, offset) in dispatch.further_queues() {
            if let Ok(topic) = TopicName::parse(name) {
                let no = index.find_or_add(&topic, QueueId(0));
                add(index, no, offset);
            }
        }
    }
}

/// Makes everything between the mark and the end of the log durable, by writing it again.
///
/// A killed process leaves it in the page cache, which a sync would do for. But where an earlier
/// sync has failed, the system takes pages for written that never were: they read well and a
/// sync passes over them, until a power cut shows what the disk has.
pub(crate) fn write_again(
    segments: &[Segment],
    from: PhysicalOffset,
    end: PhysicalOffset,
) -> io::Result<()> {
    let mut block = Vec::new();
    for segment in segments.iter().filter(|s| s.base < end && from < s.end()) {
        let (mut at, end) = (from.since(segment.base), end.min(segment.end()).since(segment.base));
        while at < end {
            block.resize((end - at).min(1 << 20) as usize, 0);
            let n = segment.file.read_at(&mut block, at)?;
            if n == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            segment.file.write_at(&[IoSlice::new(&block[..n])], at)?;
            at += n as u64;
        }
        segment.file.sync()?;
    }
    Ok(())
}

/// Removes segments that were made ahead of time, hold nothing, and have another length than new ones
/// get: cut by somebody, or made under another configuration. The writer counts on the length.
pub(crate) fn drop_unused(
    disk: &dyn Disk,
    dir: &Path,
    segments: &mut Vec<Segment>,
    end: PhysicalOffset,
    len: u64,
) -> io::Result<()> {
    let odd = segments.iter().position(|segment| segment.base >= end && segment.len != len);
    for unused in odd.map_or(Vec::new(), |first| segments.split_off(first)).iter().rev() {
        segment::remove(disk, dir, unused.base)?;
    }
    Ok(())
}
