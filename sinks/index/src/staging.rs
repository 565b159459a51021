//! What becomes of parts on the disk: staged, published, probed, aborted, swept.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use crc32fast::Hasher;
use millrace_connect_api::{Part, PartState};
use millrace_disk::{Access, Disk};

use crate::error::IndexError;
use crate::library::Library;
use crate::names::{Names, PartName, owner};

/// The directory of an index, for who writes to it.
pub(crate) struct Staging<'a> {
    pub(crate) disk: &'a dyn Disk,
    pub(crate) to: &'a Path,
}

/// Removes the parts of an index, staged or published, so that it can be written again. A part of
/// another sink is an error, and then nothing is removed. Other files stay in any case.
pub fn erase(disk: &dyn Disk, to: &Path, name_prefix: &str) -> Result<u64, IndexError> {
    let staging = Staging { disk, to };
    match staging.is_own(name_prefix) {
        Err(IndexError::Io(error)) if error.kind() == ErrorKind::NotFound => return Ok(0),
        own => own?,
    }
    let mut erased = 0;
    for entry in disk.list(to)?.iter().filter(|entry| !entry.is_dir) {
        let part = PartName::parse(&entry.name);
        if part.is_some_and(|part| part.owner() == owner(name_prefix)) {
            staging.remove(&entry.name)?;
            erased += 1;
        }
    }
    staging.sync()?;
    Ok(erased)
}

fn remove(disk: &dyn Disk, path: &Path) -> Result<(), IndexError> {
    match disk.remove(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error.into()),
        _ => Ok(()),
    }
}

impl Staging<'_> {
    /// Fails if a part of another sink is published here: an index is one sink's alone, because
    /// what is known by queue and offset only would replace the documents of another topic. What
    /// is merely staged does not count, so whoever publishes first has the directory.
    pub(crate) fn is_own(&self, name_prefix: &str) -> Result<(), IndexError> {
        for entry in self.disk.list(self.to)?.into_iter().filter(|entry| !entry.is_dir) {
            let part = PartName::parse(&entry.name).filter(|part| !part.is_staged);
            if let Some(of) = part.map(|part| part.owner()).filter(|of| *of != owner(name_prefix)) {
                let (to, owner) = (self.to.to_owned(), of.to_owned());
                return Err(IndexError::Taken { to, owner, part: entry.name });
            }
        }
        Ok(())
    }

    pub(crate) fn sync(&self) -> Result<(), IndexError> {
        Ok(self.disk.sync_dir(self.to)?)
    }

    /// Gives a part its final name.
    pub(crate) fn publish(&self, part: &Part) -> Result<(), IndexError> {
        if let Err(error) = self.disk.rename(&self.path(&part.staged), &self.path(&part.name)) {
            // After a crash in between it may be there already, or even in a larger part.
            match error.kind() {
                ErrorKind::NotFound if self.is_published(part)? => {}
                ErrorKind::AlreadyExists if self.is_published(part)? => self.abort(part)?,
                _ => return Err(error.into()),
            }
        }
        self.sync()
    }

    /// How far a part got. What it calls published stays published, because the name is durable.
    pub(crate) fn probe(&self, part: &Part) -> Result<PartState, IndexError> {
        if self.is_published(part)? {
            self.sync()?;
            return Ok(PartState::Published);
        }
        match self.is_whole(&self.path(&part.staged), part)? {
            true => Ok(PartState::Staged),
            false => Ok(PartState::Gone),
        }
    }

    pub(crate) fn abort(&self, part: &Part) -> Result<(), IndexError> {
        self.remove(&part.staged)
    }

    pub(crate) fn remove(&self, name: &str) -> Result<(), IndexError> {
        remove(self.disk, &self.path(name))
    }

    /// Removes staged files of this sink that are none of `kept`.
    pub(crate) fn sweep(&self, names: &Names, kept: &[String]) -> Result<(), IndexError> {
        for entry in self.disk.list(self.to)? {
            let stray = names.is_staged(&entry.name) && !kept.contains(&entry.name);
            if stray && !entry.is_dir {
                let path = self.path(&entry.name);
                tracing::info!(path = %path.display(), "stray staged part removed");
                self.remove(&entry.name)?;
            }
        }
        Ok(())
    }

    /// Whether the documents of a part are visible, in it or in one that it was merged into.
    fn is_published(&self, part: &Part) -> Result<bool, IndexError> {
        let path = self.path(&part.name);
        if !self.disk.exists(&path)? {
            return Ok(Library::open(self.disk, self.to)?.has_absorbed(&part.name));
        }
        if self.is_whole(&path, part)? {
            return Ok(true);
        }
        Err(IndexError::Other { path, bytes: part.bytes, checksum: part.checksum })
    }

    /// Whether a file has the length and the checksum of a part.
    fn is_whole(&self, path: &Path, part: &Part) -> Result<bool, IndexError> {
        let file = match self.disk.open(path, Access::Read) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
            file => file?,
        };
        if file.size()? != part.bytes {
            return Ok(false);
        }
        let (mut checksum, mut buffer, mut at) = (Hasher::new(), vec![0; 256 << 10], 0);
        loop {
            match file.read_at(&mut buffer, at)? {
                0 => return Ok(at == part.bytes && checksum.finalize() == part.checksum),
                read => {
                    checksum.update(&buffer[..read]);
                    at += read as u64;
                }
            }
        }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.to.join(name)
    }
}
