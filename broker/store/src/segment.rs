use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use millrace_disk::{Access, Disk, File, Map};
use millrace_types::PhysicalOffset;

/// One file of the CommitLog. Its name is the physical offset of its first byte, twenty digits.
#[derive(Clone, Debug)]
pub(crate) struct Segment {
    pub(crate) base: PhysicalOffset,
    pub(crate) len: u64,
    pub(crate) file: Arc<dyn File>,
    map: Arc<dyn Map>,
}

impl Segment {
    /// Makes a segment of zeros whose blocks are reserved, durably named.
    pub(crate) fn create(
        disk: &dyn Disk,
        dir: &Path,
        base: PhysicalOffset,
        len: u64,
    ) -> io::Result<Self> {
        let path = path(dir, base);
        let file = disk.create(&path)?;
        let made = file.allocate(len).and_then(|()| file.sync()).and_then(|()| disk.sync_dir(dir));
        if let Err(error) = made {
            // An empty file of this name would look like a torn creation at the next start; it
            // is harmless then, so a failure to remove it now is too.
            let _ = disk.remove(&path);
            return Err(error);
        }
        Self::with_file(base, len, file)
    }

    /// Opens an existing segment at its present length.
    pub(crate) fn open(
        disk: &dyn Disk,
        dir: &Path,
        base: PhysicalOffset,
        access: Access,
    ) -> io::Result<Self> {
        let file = disk.open(&path(dir, base), access)?;
        let len = file.size()?;
        Self::with_file(base, len, file)
    }

    fn with_file(base: PhysicalOffset, len: u64, file: Arc<dyn File>) -> io::Result<Self> {
        let map = file.map(len)?;
        Ok(Self { base, len, file, map })
    }

    /// One past the last byte.
    pub(crate) fn end(&self) -> PhysicalOffset {
        self.base + self.len
    }

    /// Bytes below the appended watermark, without a copy.
    pub(crate) fn slice(&self, at: PhysicalOffset, len: u64) -> Bytes {
        let start = at.since(self.base);
        self.map.slice(start..start + len)
    }
}

/// The file of the segment that starts at `base`.
pub(crate) fn path(dir: &Path, base: PhysicalOffset) -> PathBuf {
    dir.join(format!("{:020}", base.0))
}

/// The bases of the segments in a directory, ascending; other names are left alone.
pub(crate) fn list(disk: &dyn Disk, dir: &Path) -> io::Result<Vec<PhysicalOffset>> {
    let mut bases: Vec<_> = disk
        .list(dir)?
        .into_iter()
        .filter(|entry| !entry.is_dir && entry.name.len() == 20)
        .filter_map(|entry| entry.name.parse().ok().map(PhysicalOffset))
        .collect();
    bases.sort();
    Ok(bases)
}
