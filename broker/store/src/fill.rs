//! Going on without segments that are missing.

use std::io;
use std::path::Path;

use millrace_disk::{Access, Disk};

use crate::error::OpenError;
use crate::missing::{MissingBytes, Present};

/// The stretches that a start would refuse to do without. Nothing is changed.
pub fn missing_segments(disk: &dyn Disk, dir: &Path) -> Result<Vec<MissingBytes>, OpenError> {
    if !disk.exists(&dir.join("commitlog"))? {
        return Ok(Vec::new());
    }
    Ok(Present::ours(disk, dir)?.missing)
}

/// Puts zeros where segments are missing, so that a start finds damage there, reports it, and
/// serves everything else.
pub fn fill_missing(disk: &dyn Disk, dir: &Path, missing: &[MissingBytes]) -> io::Result<()> {
    for MissingBytes { segment: file, from, to, .. } in missing {
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
