//! Going on without segments that are missing.

use std::io;
use std::path::{Path, PathBuf};

use millrace_disk::{Access, Disk};
use millrace_types::PhysicalOffset;

use crate::checkpoint;
use crate::error::OpenError;
use crate::segment::{self, Segment};

/// A stretch of the log that no file has any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing {
    /// The file that should be there.
    pub file: PathBuf,
    /// First byte.
    pub from: PhysicalOffset,
    /// One past the last byte.
    pub to: PhysicalOffset,
}

/// The stretches that a start would refuse to do without. Nothing is changed.
pub fn missing_segments(disk: &dyn Disk, dir: &Path) -> Result<Vec<Missing>, OpenError> {
    let log_dir = dir.join("commitlog");
    if !disk.exists(&log_dir)? {
        return Ok(Vec::new());
    }
    let mark = checkpoint::peek(disk, dir)?;
    let mut missing = Vec::new();
    let mut end = mark.min;
    let mut lack = |from: PhysicalOffset, to| {
        missing.push(Missing { file: segment::path(&log_dir, from), from, to });
    };
    for base in segment::list(disk, &log_dir)? {
        let segment = Segment::open(disk, &log_dir, base, Access::Read)?;
        if let Some(end) = end.filter(|end| *end < base) {
            lack(end, base);
        }
        end = end.max(Some(segment.end()));
    }
    let end = end.unwrap_or_default();
    if end < mark.durable {
        lack(end, mark.durable);
    }
    Ok(missing)
}

/// Puts zeros where segments are missing, so that a start finds damage there, reports it, and
/// serves everything else.
pub fn fill_missing(disk: &dyn Disk, dir: &Path, missing: &[Missing]) -> io::Result<()> {
    for Missing { file, from, to } in missing {
        // A segment that was cut short is made whole; its bytes count as far as they verify.
        let made = match disk.exists(file)? {
            true => disk.open(file, Access::ReadWrite)?,
            false => disk.create(file)?,
        };
        made.truncate(to.since(*from))?;
        made.sync()?;
    }
    disk.sync_dir(&dir.join("commitlog"))
}
