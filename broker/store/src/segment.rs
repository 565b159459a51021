use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use millrace_disk::{Access, Disk, File, Map};
use millrace_types::PhysicalOffset;

/// One file of the CommitLog. Its name is the physical offset of its first byte, twenty digits.
#[derive(Clone, Debug)]
pub(crate) struct Segment {
    pub(crate) base: PhysicalOffset,
    pub(crate) len: u64,
    pub(crate) file: Arc<dyn File>,
    /// Made when bytes are first looked at through it, and given up when the segment is no longer
    /// among the newest.
    map: Arc<Mutex<Option<Arc<dyn Map>>>>,
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
        Ok(Self::with_file(base, len, file))
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
        Ok(Self::with_file(base, len, file))
    }

    fn with_file(base: PhysicalOffset, len: u64, file: Arc<dyn File>) -> Self {
        Self { base, len, file, map: Arc::default() }
    }

    /// One past the last byte.
    pub(crate) fn end(&self) -> PhysicalOffset {
        self.base + self.len
    }

    /// The same without what lies behind its first `len` bytes.
    pub(crate) fn shortened(&self, len: u64) -> Self {
        Self { len: len.min(self.len), ..self.clone() }
    }

    /// Bytes below the appended watermark, without a copy.
    pub(crate) fn slice(&self, at: PhysicalOffset, len: u64) -> io::Result<Bytes> {
        let start = at.since(self.base);
        let mut map = self.map.lock().unwrap_or_else(PoisonError::into_inner);
        let map = match &mut *map {
            Some(map) => map,
            none => none.insert(self.file.map(self.len)?),
        };
        Ok(map.slice(start..start + len))
    }

    /// Gives the map up; slices of it stay good.
    pub(crate) fn unmap(&self) {
        *self.map.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

/// Removes a segment so that no power cut brings it back: with the segments before it removed in
/// the same way, the log never has a gap.
pub(crate) fn remove(disk: &dyn Disk, dir: &Path, base: PhysicalOffset) -> io::Result<()> {
    disk.remove(&path(dir, base))?;
    disk.sync_dir(dir)
}

/// The file of the segment that starts at `base`.
pub(crate) fn path(dir: &Path, base: PhysicalOffset) -> PathBuf {
    dir.join(format!("{:020}", base.0))
}

/// The bases of the segments in a directory, ascending; other names are left alone. A directory of
/// such a name is an error, because no segment could be made there.
pub(crate) fn list(disk: &dyn Disk, dir: &Path) -> io::Result<Vec<PhysicalOffset>> {
    let mut bases = Vec::new();
    for entry in disk.list(dir)? {
        let name = &entry.name;
        // A number may also be written with a plus, but not by us.
        if name.len() != 20 || !name.bytes().all(|byte| byte.is_ascii_digit()) {
            continue;
        }
        let Ok(base) = name.parse() else {
            continue;
        };
        if entry.is_dir {
            let what = format!("{} is a directory, not a segment", dir.join(name).display());
            return Err(io::Error::new(io::ErrorKind::IsADirectory, what));
        }
        bases.push(PhysicalOffset(base));
    }
    bases.sort();
    Ok(bases)
}
