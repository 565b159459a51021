//! What a log that nobody opened lacks: bytes that were durable and lie in no file.
//!
//! The log may be in use. So the durable mark is read before the segments are listed, because what
//! it promises was there by then, and the first byte after, because retention says durably what it
//! removes before it does.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use millrace_disk::{Access, Disk};
use millrace_types::PhysicalOffset;
use millrace_types::record::{MAGIC_BLANK, PREFIX_BYTES};

use crate::checkpoint::{self, Mark};
use crate::error::OpenError;
use crate::scan::{Origin, Scanned, Scanner};
use crate::segment::{self, Segment};
use crate::whole;

/// A stretch of the log that was durable, that retention did not remove, and that is in no file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MissingBytes {
    /// First byte.
    pub from: PhysicalOffset,
    /// One past the last byte.
    pub to: PhysicalOffset,
    /// The file that lacks them: missing, or cut short.
    pub segment: PathBuf,
    /// Whether it is there, and its end is not.
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
            let ends = Ends { dir: &log_dir, segments: &segments, origin: Origin::Ours };
            let mut missing = ends.between(mark.min.unwrap_or_default());
            missing.extend(ends.front(mark));
            missing.extend(ends.back(mark));
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
        let ends = Ends { dir: &log_dir, segments: &segments, origin: Origin::Apache };
        let missing = ends.between(PhysicalOffset(0));
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

/// The segments that are there, and where the log goes on without one.
struct Ends<'a> {
    dir: &'a Path,
    segments: &'a [Segment],
    origin: Origin,
}

impl Ends<'_> {
    /// What lies between two segments and in neither.
    fn between(&self, min: PhysicalOffset) -> Vec<MissingBytes> {
        let pairs = self.segments.windows(2).filter(|pair| pair[0].end() < pair[1].base);
        let gaps = pairs.filter(|pair| pair[1].base > min);
        gaps.map(|pair| self.after(&pair[0], pair[1].base)).collect()
    }

    /// What lies before the first segment, up to where retention removed it.
    fn front(&self, mark: Mark) -> Option<MissingBytes> {
        let (from, first) = (mark.min?, self.segments.first()?);
        let segment = segment::path(self.dir, from);
        let to = first.base;
        (from < to).then_some(MissingBytes { from, to, segment, is_cut: false })
    }

    /// What lies behind the last segment and was durable.
    fn back(&self, mark: Mark) -> Option<MissingBytes> {
        let (from, to) = (mark.min?, mark.durable);
        let Some(last) = self.segments.last() else {
            let segment = segment::path(self.dir, from);
            let all = MissingBytes { from, to, segment, is_cut: false };
            return (to > PhysicalOffset(0)).then_some(all);
        };
        (last.end() < to).then(|| self.after(last, to))
    }

    /// What lies behind a segment that should not be the last.
    fn after(&self, last: &Segment, to: PhysicalOffset) -> MissingBytes {
        let is_cut = !self.is_whole(last);
        let base = if is_cut { last.base } else { last.end() };
        let segment = segment::path(self.dir, base);
        MissingBytes { from: last.end(), to, segment, is_cut }
    }

    /// Whether a segment has its end: it is as long as another one, or filler reaches to its end, as
    /// in every segment that another one follows.
    fn is_whole(&self, segment: &Segment) -> bool {
        let mut others = self.segments.iter().filter(|other| other.base != segment.base);
        others.any(|other| other.len == segment.len) || self.ends_in_filler(segment)
    }

    fn ends_in_filler(&self, segment: &Segment) -> bool {
        let mut scanner = Scanner::of(segment, self.origin);
        let mut at = segment.base;
        while at < segment.end() {
            match scanner.at(at) {
                Scanned::Record(record) => at = at + record.as_bytes().len() as u64,
                Scanned::FileEnd => return is_filler(segment, at),
                _ => match scanner.next_record(at) {
                    Some(next) => at = next,
                    None => return false,
                },
            }
        }
        false
    }
}

/// Whether filler was written here, and not too little left for anything.
fn is_filler(segment: &Segment, at: PhysicalOffset) -> bool {
    let mut prefix = [0; PREFIX_BYTES];
    whole::read(&*segment.file, &mut prefix, at.since(segment.base)).is_ok()
        && prefix[4..] == MAGIC_BLANK.to_be_bytes()
}
