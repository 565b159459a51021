//! What a log that nobody opened lacks: bytes that were durable and lie in no file.
//!
//! The log may be in use. So the durable mark is read before the segments are listed, because what
//! it promises was there by then, and the first byte after, because retention says durably what it
//! removes before it does.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use millrace_disk::{Access, Disk};
use millrace_types::PhysicalOffset;

use crate::checkpoint::{self, Mark};
use crate::error::OpenError;
use crate::segment::{self, Segment};

/// A stretch of the log that was durable, that retention did not remove, and that is in no file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MissingBytes {
    /// First byte.
    pub from: PhysicalOffset,
    /// One past the last byte.
    pub to: PhysicalOffset,
    /// The file that begins there, if one does.
    pub segment: PathBuf,
    /// The file before it, if that may have been cut short instead.
    pub before: Option<PathBuf>,
    /// Whether that one is shorter than another one, and was certainly cut short.
    pub is_cut: bool,
}

/// The segments of a log as they are there, and what the checkpoint says of it.
pub(crate) struct Present {
    pub(crate) segments: Vec<Segment>,
    pub(crate) mark: Mark,
    pub(crate) missing: Vec<MissingBytes>,
}

impl Present {
    /// Looks at a log of ours.
    pub(crate) fn ours(disk: &dyn Disk, dir: &Path) -> Result<Self, OpenError> {
        let log_dir = dir.join("commitlog");
        let look = || -> Result<Self, OpenError> {
            let before = checkpoint::peek(disk, dir)?;
            let segments = open(disk, &log_dir)?;
            let after = checkpoint::peek(disk, dir)?;
            let mark = Mark { min: before.min.and(after.min), ..before };
            let mut missing = between(&log_dir, &segments, mark.min.unwrap_or_default());
            missing.extend(front(&log_dir, &segments, mark));
            missing.extend(back(&log_dir, &segments, mark));
            missing.sort_by_key(|missing| missing.from);
            Ok(Self { segments, mark, missing })
        };
        let first = look()?;
        // A directory that changes while it is listed may show the newer of two files only.
        if first.missing.is_empty() { Ok(first) } else { look() }
    }

    /// Looks at a log of Apache RocketMQ, which says nothing of how long it was.
    pub(crate) fn apache(disk: &dyn Disk, dir: &Path) -> Result<Self, OpenError> {
        let log_dir = dir.join("commitlog");
        let segments = open(disk, &log_dir)?;
        let mark = Mark { durable: PhysicalOffset(u64::MAX), ..Mark::default() };
        let missing = between(&log_dir, &segments, PhysicalOffset(0));
        Ok(Self { segments, mark, missing })
    }
}

fn open(disk: &dyn Disk, dir: &Path) -> Result<Vec<Segment>, OpenError> {
    let mut segments = Vec::new();
    for base in segment::list(disk, dir)? {
        match Segment::open(disk, dir, base, Access::Read) {
            // Of a new segment there may be no more than the name.
            Ok(segment) if segment.len == 0 => {}
            Ok(segment) => segments.push(segment),
            // Retention was faster.
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(segments)
}

/// What lies between two segments and in neither.
fn between(dir: &Path, segments: &[Segment], min: PhysicalOffset) -> Vec<MissingBytes> {
    let pairs = segments.windows(2).filter(|pair| pair[0].end() < pair[1].base);
    let gaps = pairs.filter(|pair| pair[1].base > min);
    gaps.map(|pair| after(dir, segments, &pair[0], pair[1].base)).collect()
}

/// What lies before the first segment, up to where retention removed it.
fn front(dir: &Path, segments: &[Segment], mark: Mark) -> Option<MissingBytes> {
    let (from, first) = (mark.min?, segments.first()?);
    (from < first.base).then(|| MissingBytes {
        from,
        to: first.base,
        segment: segment::path(dir, from),
        before: None,
        is_cut: false,
    })
}

/// What lies behind the last segment and was durable.
fn back(dir: &Path, segments: &[Segment], mark: Mark) -> Option<MissingBytes> {
    let (from, to) = (mark.min?, mark.durable);
    let Some(last) = segments.last() else {
        let segment = segment::path(dir, from);
        let all = MissingBytes { from, to, segment, before: None, is_cut: false };
        return (to > PhysicalOffset(0)).then_some(all);
    };
    (last.end() < to).then(|| after(dir, segments, last, to))
}

fn after(dir: &Path, segments: &[Segment], last: &Segment, to: PhysicalOffset) -> MissingBytes {
    let mut others = segments.iter().filter(|other| other.base != last.base).map(|s| s.len);
    let is_whole = others.clone().any(|len| len == last.len);
    let is_cut = !is_whole && others.any(|len| len > last.len);
    MissingBytes {
        from: last.end(),
        to,
        segment: segment::path(dir, last.end()),
        before: (!is_whole).then(|| segment::path(dir, last.base)),
        is_cut,
    }
}
