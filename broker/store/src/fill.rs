//! Going on without segments that are missing, and without what cannot be read.

use std::io;
use std::path::Path;

use millrace_disk::{Access, Disk};

use crate::error::OpenError;
use crate::missing::{MissingBytes, Present};
use crate::queue_index;

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
    let _lock = disk.lock(&dir.join("lock")).map_err(|error| match error.kind() {
        io::ErrorKind::WouldBlock => OpenError::InUse(dir.into()),
        _ => error.into(),
    })?;
    for (_, _, path) in queue_index::list(disk, &dir.join("index"))? {
        disk.remove(&path)?;
    }
    Ok(())
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
