//! What becomes of staged parts on the disk: published, probed, aborted, swept.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use millrace_connect_api::{Part, PartState};
use millrace_disk::{Access, Disk};

use crate::error::{At, FileSinkError};
use crate::names::{self, Names};

/// The directory of a sink.
pub(crate) struct Staging<'a> {
    disk: &'a dyn Disk,
    to: &'a Path,
}

impl<'a> Staging<'a> {
    pub(crate) fn new(disk: &'a dyn Disk, to: &'a Path) -> Self {
        Self { disk, to }
    }

    /// Creates the directory of a partition and makes its name durable, and those above it.
    pub(crate) fn create_dir(&self, partition: &str) -> Result<(), FileSinkError> {
        let dir = self.path(partition);
        let mut missing = Vec::new();
        for dir in dir.ancestors() {
            if is_root(dir) || self.disk.exists(dir).at(dir)? {
                break;
            }
            missing.push(dir);
        }
        if missing.is_empty() {
            return Ok(());
        }
        self.disk.create_dir_all(&dir).at(&dir)?;
        for dir in missing.iter().rev() {
            self.sync_dir(dir.parent().unwrap_or(Path::new("")))?;
        }
        Ok(())
    }

    /// Makes the names of staged parts durable.
    pub(crate) fn sync(&self, parts: &[Part]) -> Result<(), FileSinkError> {
        let mut dirs: Vec<_> = parts.iter().map(names::dir).collect();
        dirs.sort_unstable();
        dirs.dedup();
        dirs.into_iter().try_for_each(|dir| self.sync_dir(&self.path(dir)))
    }

    /// Gives a part its final name.
    pub(crate) fn publish(&self, part: &Part) -> Result<(), FileSinkError> {
        let (staged, published) = (self.path(&part.staged), self.path(&part.name));
        if let Err(error) = self.disk.rename(&staged, &published) {
            // After a crash in between it may be there already.
            match error.kind() {
                ErrorKind::NotFound if self.is_published(part)? => {}
                ErrorKind::AlreadyExists if self.is_published(part)? => self.remove(&staged)?,
                _ => return Err(FileSinkError::new(&published, error)),
            }
        }
        self.sync_dir(&self.path(names::dir(part)))
    }

    /// How far a part got. What it calls published stays published, because the name is durable.
    pub(crate) fn probe(&self, part: &Part) -> Result<PartState, FileSinkError> {
        if self.is_published(part)? {
            self.sync_dir(&self.path(names::dir(part)))?;
            return Ok(PartState::Published);
        }
        // The file was durable before anyone was told of the part, so this is for damage; but once
        // published, damage would be everyone's.
        match self.is_whole(&self.path(&part.staged), part)? {
            true => Ok(PartState::Staged),
            false => Ok(PartState::Gone),
        }
    }

    /// Removes what is staged of a part.
    pub(crate) fn abort(&self, part: &Part) -> Result<(), FileSinkError> {
        self.remove(&self.path(&part.staged))
    }

    /// Removes staged files of this pipeline that are none of `kept`. Looks only into directories
    /// that have the form of partitions.
    pub(crate) fn sweep(&self, names: &Names, kept: &[String]) -> Result<(), FileSinkError> {
        let kept: Vec<_> = kept.iter().map(|staged| self.path(staged)).collect();
        let mut dirs = vec![self.to.to_owned()];
        while let Some(dir) = dirs.pop() {
            let entries = match self.disk.list(&dir) {
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                entries => entries.at(&dir)?,
            };
            for entry in entries {
                let path = dir.join(&entry.name);
                if entry.is_dir && entry.name.contains('=') {
                    dirs.push(path);
                } else if !entry.is_dir && names.is_staged(&entry.name) && !kept.contains(&path) {
                    tracing::info!(path = %path.display(), "stray staged file removed");
                    self.remove(&path)?;
                }
            }
        }
        Ok(())
    }

    /// Whether the part is there under its final name. Another file that has the name is an error:
    /// it is not ours, or it is damaged, and neither is for a program to mend.
    fn is_published(&self, part: &Part) -> Result<bool, FileSinkError> {
        let path = self.path(&part.name);
        if !self.disk.exists(&path).at(&path)? {
            return Ok(false);
        }
        if self.is_whole(&path, part)? {
            return Ok(true);
        }
        let error = format!(
            "{} is another file than the part of that name ({} bytes, CRC-32 {:08x}): another \
             pipeline wrote it, or this one with another data directory, or it is damaged; give \
             the sink a directory of its own, or move the file away",
            path.display(),
            part.bytes,
            part.checksum,
        );
        let error = std::io::Error::new(ErrorKind::AlreadyExists, error);
        Err(FileSinkError::new(&path, error))
    }

    /// Whether a file has the length and the checksum of a part.
    fn is_whole(&self, path: &Path, part: &Part) -> Result<bool, FileSinkError> {
        if self.size(path)? != Some(part.bytes) {
            return Ok(false);
        }
        let file = self.disk.open(path, Access::Read).at(path)?;
        let mut checksum = crc32fast::Hasher::new();
        let mut buffer = vec![0; 256 << 10];
        let mut at = 0;
        loop {
            match file.read_at(&mut buffer, at).at(path)? {
                0 => return Ok(at == part.bytes && checksum.finalize() == part.checksum),
                read => {
                    checksum.update(&buffer[..read]);
                    at += read as u64;
                }
            }
        }
    }

    fn size(&self, path: &Path) -> Result<Option<u64>, FileSinkError> {
        match self.disk.open(path, Access::Read) {
            Ok(file) => file.size().at(path).map(Some),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(FileSinkError::new(path, error)),
        }
    }

    fn remove(&self, path: &Path) -> Result<(), FileSinkError> {
        match self.disk.remove(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            result => result.at(path),
        }
    }

    fn sync_dir(&self, dir: &Path) -> Result<(), FileSinkError> {
        // The parent of a relative name without a slash is the empty path.
        let dir = if dir.as_os_str().is_empty() { Path::new(".") } else { dir };
        self.disk.sync_dir(dir).at(dir)
    }

    fn path(&self, name: &str) -> PathBuf {
        if name.is_empty() { self.to.to_owned() } else { self.to.join(name) }
    }
}

fn is_root(dir: &Path) -> bool {
    dir.parent().is_none()
}
