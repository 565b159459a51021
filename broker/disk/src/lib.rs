//! Files: the real ones, and simulated ones that a power cut can make forget.
//!
//! Store, file sources and file sinks do all their I/O through [`Disk`] (P10), so that one seed can
//! drive them together through crashes, torn writes, full disks and failing syncs. [`RealDisk`] is
//! Linux; [`SimDisk`] is memory with a durable and a volatile half. Start reading at [`Disk`].

mod error; // which file an I/O error is about
mod mapped_file; // the memory map and its unsafe code
mod real; // Linux
mod sim; // memory that forgets

use std::fmt::Debug;
use std::io::{self, IoSlice};
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;

pub use real::RealDisk;
pub use sim::{Fault, SimDisk};

/// A tree of files.
///
/// Names survive a power cut only after [`Disk::sync_dir`] on their directory; contents only
/// after [`File::sync`].
pub trait Disk: Debug + Send + Sync {
    /// Creates a new file; fails with `AlreadyExists` if there is one.
    fn create(&self, path: &Path) -> io::Result<Arc<dyn File>>;

    /// Opens an existing file.
    fn open(&self, path: &Path, access: Access) -> io::Result<Arc<dyn File>>;

    /// Gives a file a new name; fails with `AlreadyExists` rather than replace another file.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Gives a file a new name, atomically replacing what had that name.
    fn replace(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// The entries of a directory, sorted by name. A missing directory is an error `NotFound`.
    fn list(&self, dir: &Path) -> io::Result<Vec<Entry>>;

    /// Whether there is a file or directory of this name.
    fn exists(&self, path: &Path) -> io::Result<bool>;

    /// Creates a directory and those above it; fine if they exist.
    fn create_dir_all(&self, dir: &Path) -> io::Result<()>;

    /// Creates a directory and those above it, with durable names.
    fn create_dir_durably(&self, dir: &Path) -> io::Result<()> {
        let mut missing = Vec::new();
        for ancestor in dir.ancestors().filter(|path| !path.as_os_str().is_empty()) {
            // The directory itself may be left from a process that was killed before it could
            // make the name durable.
            if ancestor != dir && self.exists(ancestor)? {
                break;
            }
            missing.push(ancestor);
        }
        self.create_dir_all(dir)?;
        for parent in missing.into_iter().filter_map(Path::parent) {
            let here = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
            self.sync_dir(here)?;
        }
        Ok(())
    }

    /// Makes the names in a directory durable.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;

    /// Takes the exclusive lock of a lock file, creating it if needed; `WouldBlock` if another
    /// process, or another caller in this one, holds it. Dropping the guard releases it.
    fn lock(&self, path: &Path) -> io::Result<Box<dyn Lock>>;

    /// Bytes that can still be written below `path`.
    fn free_space(&self, path: &Path) -> io::Result<u64>;

    /// Bytes that are used or can still be written below `path`: what the system keeps back for
    /// itself is not among them.
    fn total_space(&self, path: &Path) -> io::Result<u64>;
}

/// An open file. All access is positioned; there is no cursor.
pub trait File: Debug + Send + Sync {
    /// Writes all bytes of all slices, one after the other, from `offset` on. After an error an
    /// unknown part of them is written.
    fn write_at(&self, slices: &[IoSlice<'_>], offset: u64) -> io::Result<()>;

    /// Reads up to `buf.len()` bytes; fewer only at the end of the file, where it reads 0.
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize>;

    /// The first stretch from `from` on that may hold anything but zeros, as far as the system can
    /// tell without reading; `None` if all that follows was only ever reserved.
    fn next_data(&self, from: u64) -> io::Result<Option<Range<u64>>>;

    /// Reserves blocks up to `len` and makes the file at least that long. The new bytes read as
    /// zero, and writing them cannot fail for want of space.
    fn allocate(&self, len: u64) -> io::Result<()>;

    /// Makes a range read as zero, keeping its blocks and the size of the file.
    fn zero(&self, range: Range<u64>) -> io::Result<()>;

    /// Cuts or extends the file to `len`.
    fn truncate(&self, len: u64) -> io::Result<()>;

    /// Makes everything written so far durable (`fdatasync`). After an error nothing is known
    /// about any write since the last success, and calling it again does not tell.
    fn sync(&self) -> io::Result<()>;

    /// Bytes in the file.
    fn size(&self) -> io::Result<u64>;

    /// What tells this file from another one that later gets its name.
    fn identity(&self) -> io::Result<Identity>;

    /// Maps the first `len` bytes for reading.
    fn map(&self, len: u64) -> io::Result<Arc<dyn Map>>;
}

/// A file's bytes in memory, without a copy where the implementation allows.
pub trait Map: Debug + Send + Sync {
    /// A view of part of the map. The view keeps the map alive.
    ///
    /// The caller asks only for bytes that are written already and never change again; nothing
    /// else about a growing file may be looked at through a map.
    ///
    /// # Panics
    /// If `range` is not within the map.
    fn slice(&self, range: Range<u64>) -> Bytes;
}

/// Held for as long as the lock is.
pub trait Lock: Debug + Send + Sync {}

/// How a file is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// For reading only.
    Read,
    /// For reading and writing.
    ReadWrite,
}

/// One name in a directory.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Entry {
    /// The name without the directory.
    pub name: String,
    /// Whether it is a directory itself.
    pub is_dir: bool,
}

/// What tells a file from another one that later gets its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Identity {
    /// The device it lies on.
    pub device: u64,
    /// Its number on that device; reused once the file is gone.
    pub inode: u64,
    /// When it was made, nanoseconds since the Unix epoch; 0 where the system does not tell.
    pub born_ns: u64,
}

#[cfg(test)]
mod tests; // what both implementations owe
