use std::fs::{self, OpenOptions};
use std::io::{self, IoSlice};
use std::ops::Range;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{
    AtFlags, CWD, FallocateFlags, FlockOperation, OFlags, RenameFlags, SeekFrom, StatxFlags,
    fallocate, fdatasync, flock, makedev, renameat_with, seek, statvfs, statx,
};
use rustix::io::{Errno, pwrite, pwritev, retry_on_intr};

use crate::error::About;
use crate::mapped_file::MappedFile;
use crate::{Access, Disk, Entry, File, Identity, Lock, Map};

/// The files of this machine, on Linux.
#[derive(Clone, Copy, Debug, Default)]
pub struct RealDisk;

impl RealDisk {
    /// The files of this machine.
    pub fn new() -> Self {
        Self
    }
}

impl Disk for RealDisk {
    fn create(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .open(path)
            .about("create", path)?;
        Ok(Arc::new(RealFile { file, path: path.to_owned() }))
    }

    fn open(&self, path: &Path, access: Access) -> io::Result<Arc<dyn File>> {
        let file = open_regular(path, access).about("open", path)?;
        Ok(Arc::new(RealFile { file, path: path.to_owned() }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
            // This file system, or this kernel, does not know the flag.
            Err(Errno::INVAL | Errno::NOSYS) => link_then_unlink(from, to),
            renamed => renamed.map_err(io::Error::from),
        }
        .about_two("rename", from, to)
    }

    fn replace(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to).about_two("rename", from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path).about("remove", path)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<Entry>> {
        let mut entries = list_unsorted(dir).about("list", dir)?;
        entries.sort_unstable();
        Ok(entries)
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        path.try_exists().about("look for", path)
    }

    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        fs::create_dir_all(dir).about("create directory", dir)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        OpenOptions::new()
            .read(true)
            .custom_flags(OFlags::DIRECTORY.bits().cast_signed())
            .open(dir)
            .and_then(|dir| dir.sync_all())
            .about("sync directory", dir)
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn Lock>> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)
            .about("lock", path)?;
        retry_on_intr(|| flock(&file, FlockOperation::NonBlockingLockExclusive))
            .about("lock", path)?;
        Ok(Box::new(RealLock { _file: file }))
    }

    fn free_space(&self, path: &Path) -> io::Result<u64> {
        let space = retry_on_intr(|| statvfs(path)).about("measure the free space of", path)?;
        Ok(space.f_bavail.saturating_mul(space.f_frsize))
    }

    fn total_space(&self, path: &Path) -> io::Result<u64> {
        let space = retry_on_intr(|| statvfs(path)).about("measure the space of", path)?;
        let used = space.f_blocks.saturating_sub(space.f_bfree);
        Ok(used.saturating_add(space.f_bavail).saturating_mul(space.f_frsize))
    }
}

/// Opens a file whose bytes can be addressed.
///
/// A directory would open and then fail on every read, and a named pipe without a writer would
/// block for ever; both can lie where a file source looks for files.
fn open_regular(path: &Path, access: Access) -> io::Result<fs::File> {
    let file = OpenOptions::new()
        .read(true)
        .write(access == Access::ReadWrite)
        .custom_flags(OFlags::NONBLOCK.bits().cast_signed())
        .open(path)?;
    let kind = file.metadata()?.file_type();
    if kind.is_dir() {
        return Err(Errno::ISDIR.into());
    }
    if !kind.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
    }
    Ok(file)
}

/// A rename that never replaces, for file systems without `RENAME_NOREPLACE`. A crash in between
/// leaves both names.
fn link_then_unlink(from: &Path, to: &Path) -> io::Result<()> {
    fs::hard_link(from, to)?;
    fs::remove_file(from)
}

fn list_unsorted(dir: &Path) -> io::Result<Vec<Entry>> {
    fs::read_dir(dir)?
        .map(|entry| {
            let entry = entry?;
            let kind = entry.file_type()?;
            // What a symbolic link leads to counts, and one that leads nowhere is no directory.
            let is_dir = kind.is_dir() || kind.is_symlink() && entry.path().is_dir();
            let name = entry.file_name().into_string().map_err(|name| {
                let text = format!("the name {name:?} is not UTF-8");
                io::Error::new(io::ErrorKind::InvalidData, text)
            })?;
            Ok(Entry { name, is_dir })
        })
        .collect()
}

#[derive(Debug)]
struct RealFile {
    file: fs::File,
    /// As it was opened, for error messages.
    path: PathBuf,
}

impl File for RealFile {
    fn write_at(&self, slices: &[IoSlice<'_>], offset: u64) -> io::Result<()> {
        write_all(slices, offset, |slices, at| match slices {
            // Cheaper for the kernel than a vector of one.
            [slice] => pwrite(&self.file, slice, at),
            _ => pwritev(&self.file, slices, at),
        })
        .about("write to", &self.path)
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut read = 0;
        while read < buf.len() {
            match self.file.read_at(&mut buf[read..], offset.saturating_add(read as u64)) {
                Ok(0) => break,
                Ok(more) => read += more,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error).about("read", &self.path),
            }
        }
        Ok(read)
    }

    fn next_data(&self, from: u64) -> io::Result<Option<Range<u64>>> {
        let size = self.size()?;
        if from >= size {
            return Ok(None);
        }
        let seek = |to: SeekFrom| retry_on_intr(|| seek(&self.file, to));
        let start = match seek(SeekFrom::Data(from)) {
            Ok(start) => start,
            Err(Errno::NXIO) => return Ok(None),
            // Not every file system knows.
            Err(Errno::INVAL | Errno::OPNOTSUPP) => return Ok(Some(from..size)),
            Err(error) => Err(error).about("look for data in", &self.path)?,
        };
        let end = seek(SeekFrom::Hole(start)).about("look for holes in", &self.path)?;
        Ok(Some(start..end))
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        if len == 0 {
            return Ok(());
        }
        match retry_on_intr(|| fallocate(&self.file, FallocateFlags::empty(), 0, len)) {
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => extend_with_zeros(&self.file, len),
            allocated => allocated.map_err(io::Error::from),
        }
        .about("allocate space for", &self.path)
    }

    fn zero(&self, range: Range<u64>) -> io::Result<()> {
        let Range { start, end } = range;
        if start >= end {
            return Ok(());
        }
        let flags = FallocateFlags::ZERO_RANGE | FallocateFlags::KEEP_SIZE;
        match retry_on_intr(|| fallocate(&self.file, flags, start, end - start)) {
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => overwrite_with_zeros(&self.file, start..end),
            zeroed => zeroed.map_err(io::Error::from),
        }
        .about("zero a range of", &self.path)
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len).about("truncate", &self.path)
    }

    fn sync(&self) -> io::Result<()> {
        // Not repeated when interrupted: the second answer would not cover what the first
        // attempt lost.
        fdatasync(&self.file).about("sync", &self.path)
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.file.metadata().about("measure", &self.path)?.len())
    }

    fn identity(&self) -> io::Result<Identity> {
        identity(&self.file).about("identify", &self.path)
    }

    fn map(&self, len: u64) -> io::Result<Arc<dyn Map>> {
        Ok(Arc::new(MappedFile::new(&self.file, len).about("map", &self.path)?))
    }
}

/// `IOV_MAX` of Linux: one call takes no more slices.
const SLICES_MAX: usize = 1024;

/// Writes all slices with as many calls of `write` as it takes; `write` may write less than it is
/// given, or be interrupted.
fn write_all(
    slices: &[IoSlice<'_>],
    offset: u64,
    mut write: impl FnMut(&[IoSlice<'_>], u64) -> rustix::io::Result<usize>,
) -> io::Result<()> {
    let mut at = offset;
    let mut next = 0; // the first slice that is not completely written
    let mut done = 0; // bytes of it that are
    loop {
        while next < slices.len() && done >= slices[next].len() {
            done -= slices[next].len();
            next += 1;
        }
        if next == slices.len() {
            return Ok(());
        }
        let written = if done > 0 {
            write(&[IoSlice::new(&slices[next][done..])], at)
        } else {
            write(&slices[next..slices.len().min(next + SLICES_MAX)], at)
        };
        match written {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => {
                done += written;
                at += written as u64;
            }
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Reserves space the slow way. Holes below the present end stay holes.
fn extend_with_zeros(file: &fs::File, len: u64) -> io::Result<()> {
    let size = file.metadata()?.len();
    write_zeros(file, size..len)
}

fn overwrite_with_zeros(file: &fs::File, range: Range<u64>) -> io::Result<()> {
    let size = file.metadata()?.len();
    write_zeros(file, range.start..range.end.min(size))
}

fn write_zeros(file: &fs::File, range: Range<u64>) -> io::Result<()> {
    static ZEROS: [u8; 64 * 1024] = [0; 64 * 1024];
    let mut at = range.start;
    while at < range.end {
        let len = (range.end - at).min(ZEROS.len() as u64);
        file.write_all_at(&ZEROS[..len as usize], at)?;
        at += len;
    }
    Ok(())
}

fn identity(file: &fs::File) -> io::Result<Identity> {
    let wanted = StatxFlags::INO | StatxFlags::BTIME;
    match retry_on_intr(|| statx(file, c"", AtFlags::EMPTY_PATH, wanted)) {
        Ok(stat) => {
            let born = stat.stx_btime;
            let told = stat.stx_mask & StatxFlags::BTIME.bits() != 0;
            let seconds = if told { u64::try_from(born.tv_sec).unwrap_or(0) } else { 0 };
            let nanos = if told { u64::from(born.tv_nsec) } else { 0 };
            Ok(Identity {
                device: makedev(stat.stx_dev_major, stat.stx_dev_minor),
                inode: stat.stx_ino,
                born_ns: seconds.saturating_mul(1_000_000_000).saturating_add(nanos),
            })
        }
        // Kernels and sandboxes that do not know the call.
        Err(Errno::NOSYS) => {
            let stat = file.metadata()?;
            Ok(Identity { device: stat.dev(), inode: stat.ino(), born_ns: 0 })
        }
        Err(error) => Err(error.into()),
    }
}

/// `flock` belongs to the open file, so it ends with it, also when the process dies.
#[derive(Debug)]
struct RealLock {
    _file: fs::File,
}

impl Lock for RealLock {}

#[cfg(test)]
mod tests;
