//! The line that says whose a data directory is.

use std::io::{self, IoSlice};
use std::path::Path;

use millrace_disk::{Access, Disk};

use crate::checkpoint;
use crate::error::OpenError;
use crate::whole;

const FORMAT: &str = "millrace-store 1";

/// Refuses a directory that another program or version wrote, and signs a new one.
pub(crate) fn check(disk: &dyn Disk, dir: &Path) -> Result<(), OpenError> {
    let path = dir.join("format");
    if !disk.exists(&path)? {
        // Our own line was durable before anything else of ours.
        return match (is_ours(disk, dir)?, has_log(disk, dir)?) {
            (true, _) => Err(OpenError::FormatMissing(path)),
            (false, true) => Err(OpenError::NotOurs(dir.into())),
            (false, false) => Ok(write(disk, dir)?),
        };
    }
    let mut found = [0; 64];
    let (n, error) = whole::read_most(&*disk.open(&path, Access::Read)?, &mut found, 0);
    if let Some(error) = error {
        return Err(error.into());
    }
    let found = String::from_utf8_lossy(&found[..n]).trim().to_owned();
    if found == FORMAT { Ok(()) } else { Err(OpenError::Format { path, found, expected: FORMAT }) }
}

/// Whether there is a log already.
fn has_log(disk: &dyn Disk, dir: &Path) -> io::Result<bool> {
    let log = dir.join("commitlog");
    Ok(disk.exists(&log)? && !disk.list(&log)?.is_empty())
}

/// Whether nobody but us can have written the checkpoint.
fn is_ours(disk: &dyn Disk, dir: &Path) -> io::Result<bool> {
    Ok(checkpoint::peek(disk, dir)?.min.is_some())
}

/// Writes the line where it is missing, if the checkpoint says that the directory is ours. Answers
/// whether it did.
pub fn repair_format(disk: &dyn Disk, dir: &Path) -> Result<bool, OpenError> {
    if disk.exists(&dir.join("format"))? || !is_ours(disk, dir)? {
        return Ok(false);
    }
    let _lock = crate::store::lock(disk, dir)?;
    write(disk, dir)?;
    Ok(true)
}

/// Writes the line, durably.
pub(crate) fn write(disk: &dyn Disk, dir: &Path) -> io::Result<()> {
    let draft = dir.join("format.tmp");
    if disk.exists(&draft)? {
        disk.remove(&draft)?;
    }
    let file = disk.create(&draft)?;
    file.write_at(&[IoSlice::new(format!("{FORMAT}\n").as_bytes())], 0)?;
    file.sync()?;
    disk.replace(&draft, &dir.join("format"))?;
    disk.sync_dir(dir)
}
