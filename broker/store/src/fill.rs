//! Going on without segments that are missing, and without what cannot be read.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;

use millrace_disk::{Access, Disk};
use millrace_types::{PhysicalOffset, QueueId, QueueOffset, TopicName};

use crate::error::OpenError;
use crate::inspect::{MissingMessages, inspect};
use crate::lost::LostMessages;
use crate::missing::{MissingBytes, Present};
use crate::queue_index::{self, Entry, OpenedRun, QueueNo, Run};
use crate::store::lock;

/// The stretches that a start would refuse to do without. Nothing is changed.
pub fn missing_segments(disk: &dyn Disk, dir: &Path) -> Result<Vec<MissingBytes>, OpenError> {
    if !disk.exists(&dir.join("commitlog"))? {
        return Ok(Vec::new());
    }
    Ok(Present::ours(disk, dir)?.missing)
}

/// Removes the index, which is made again from the log, so that the next start looks at every byte
/// of the log: what is damaged or cannot be read counts as lost from then on.
pub fn forget_index(disk: &dyn Disk, dir: &Path) -> Result<(), OpenError> {
    if !disk.exists(&dir.join("index"))? {
        return Ok(());
    }
    let _lock = lock(disk, dir)?;
    for (_, _, path) in queue_index::list(disk, &dir.join("index"))? {
        disk.remove(&path)?;
    }
    Ok(())
}

/// Puts zeros where segments are missing or cut short, so that a start finds damage there, reports
/// it, and serves everything else.
pub fn fill_missing(
    disk: &dyn Disk,
    dir: &Path,
    missing: &[MissingBytes],
) -> Result<(), OpenError> {
    if missing.is_empty() {
        return Ok(());
    }
    let _lock = lock(disk, dir)?;
    for MissingBytes { segment, from, to, is_cut } in missing {
        let lacks = to.since(*from);
        // Of a new segment there may be no more than the name.
        let (file, has) = match *is_cut || disk.exists(segment)? {
            true => {
                let file = disk.open(segment, Access::ReadWrite)?;
                let has = if *is_cut { file.size()? } else { 0 };
                (file, has)
            }
            false => (disk.create(segment)?, 0),
        };
        file.truncate(has + lacks)?;
        file.sync()?;
    }
    Ok(disk.sync_dir(&dir.join("commitlog"))?)
}

/// What goes with bytes that are missing, as far as anything that is left tells.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Losses {
    /// Messages that an index run leads there, or that are missing between their neighbours.
    pub messages: Vec<LostMessages>,
    /// How many are missing in all, those of the broker's own state apart, if that is known.
    pub counted: Option<MissingMessages>,
}

/// What would be lost without these bytes. Nothing is changed; the whole log is read.
pub fn losses(disk: &dyn Disk, dir: &Path, missing: &[MissingBytes]) -> Result<Losses, OpenError> {
    let mut queues: BTreeMap<(TopicName, QueueId), Vec<Range<u64>>> = BTreeMap::new();
    let mut lose = |topic: TopicName, queue: QueueId, offsets: Range<u64>| {
        let lost = queues.entry((topic, queue)).or_default();
        match lost.last_mut() {
            Some(last) if last.end == offsets.start => last.end = offsets.end,
            _ if offsets.is_empty() => {}
            _ => lost.push(offsets),
        }
    };
    let found = inspect(disk, dir, &mut |_| {})?;
    let is_first = missing.first().is_some_and(|missing| missing.from == PhysicalOffset(0));
    for ((topic, queue), seen) in &found.queues {
        let Ok(topic) = TopicName::parse(topic) else {
            continue;
        };
        let before = is_first.then_some((QueueOffset(0), seen.min));
        for (from, to) in before.iter().chain(&seen.gaps) {
            lose(topic.clone(), *queue, from.0..to.0);
        }
    }
    let index_dir = dir.join("index");
    let runs = if disk.exists(&index_dir)? { queue_index::list(disk, &index_dir)? } else { vec![] };
    for (from, to, path) in runs {
        if !missing.iter().any(|missing| missing.from < to && from < missing.to) {
            continue;
        }
        // One that is not whole tells nothing.
        if let Ok(opened) = Run::open(disk, &path, true) {
            each_entry(&opened, &mut |topic, queue, offset, entry| {
                let at = entry.physical_offset;
                let end = at + u64::from(entry.size);
                if missing.iter().any(|missing| missing.from < end && at < missing.to) {
                    lose(topic.clone(), queue, offset.0..offset.0 + 1);
                }
            });
        }
    }
    let messages = queues.into_iter().flat_map(|((topic, queue), offsets)| {
        joined(offsets).into_iter().map(move |Range { start, end }| {
            let (from, to) = (QueueOffset(start), QueueOffset(end));
            LostMessages { topic: topic.clone(), queue, from, to, certain: true }
        })
    });
    Ok(Losses { messages: messages.collect(), counted: found.missing_messages })
}

/// Hands out every entry of a run that leads to a record.
fn each_entry(
    OpenedRun { run, names }: &OpenedRun,
    entry: &mut dyn FnMut(&TopicName, QueueId, QueueOffset, &Entry),
) {
    for (no, name) in (0..).map(QueueNo).zip(names) {
        let mut offset = run.from(no);
        let end = offset + run.count(no);
        while offset < end {
            let read = run.read(no, offset, end.since(offset).min(4096));
            if read.is_empty() {
                break;
            }
            for each in &read {
                if each.size > 0 && !each.is_unreadable() {
                    entry(&name.topic, name.id, offset, each);
                }
                offset = offset + 1;
            }
        }
    }
}

/// The same offsets, each in one range.
fn joined(mut ranges: Vec<Range<u64>>) -> Vec<Range<u64>> {
    ranges.sort_unstable_by_key(|range| range.start);
    let mut joined: Vec<Range<u64>> = Vec::new();
    for range in ranges {
        match joined.last_mut() {
            Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
            _ => joined.push(range),
        }
    }
    joined
}
