use std::io::{self, IoSlice};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use rustix::io::Errno;

use super::SimDisk;
use super::world::World;
use crate::error::About;
use crate::{Access, File, Identity, Lock, Map};

/// Keeps a file open, which its maker has done already.
#[derive(Debug)]
pub(super) struct Handle {
    disk: SimDisk,
    file: u64,
    /// As it was opened, for error messages.
    path: PathBuf,
}

impl Handle {
    pub(super) fn new(disk: &SimDisk, file: u64, path: &Path) -> Self {
        Self { disk: disk.clone(), file, path: path.to_owned() }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        if let Some(world) = self.disk.lock_world().as_mut() {
            world.close(self.file);
        }
    }
}

#[derive(Debug)]
pub(super) struct SimFile {
    handle: Handle,
    access: Access,
}

impl SimFile {
    pub(super) fn new(handle: Handle, access: Access) -> Self {
        Self { handle, access }
    }

    fn path(&self) -> &Path {
        &self.handle.path
    }

    fn look<T>(&self, act: impl FnOnce(&mut World, u64) -> Result<T, Errno>) -> Result<T, Errno> {
        self.handle.disk.look(|world| act(world, self.handle.file))
    }

    /// Does something to the file that counts as an operation.
    fn change(&self, act: impl FnOnce(&mut World, u64) -> Result<(), Errno>) -> Result<(), Errno> {
        if self.access == Access::Read {
            return Err(Errno::BADF);
        }
        self.handle.disk.operate(|world| act(world, self.handle.file))
    }
}

impl File for SimFile {
    fn write_at(&self, slices: &[IoSlice<'_>], offset: u64) -> io::Result<()> {
        self.change(|world, file| world.write(file, slices, offset)).about("write to", self.path())
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.look(|world, file| world.inode(file).read(buf, offset).ok_or(Errno::IO))
            .about("read", self.path())
    }

    fn next_data(&self, from: u64) -> io::Result<Option<Range<u64>>> {
        self.look(|world, file| Ok(world.inode(file).next_data(from)))
            .about("look for data in", self.path())
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        self.change(|world, file| world.allocate(file, len))
            .about("allocate space for", self.path())
    }

    fn zero(&self, range: Range<u64>) -> io::Result<()> {
        self.change(|world, file| world.zero(file, range)).about("zero a range of", self.path())
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        self.change(|world, file| world.truncate(file, len)).about("truncate", self.path())
    }

    fn sync(&self) -> io::Result<()> {
        // Allowed to who may only read, as on Linux.
        self.handle.disk.operate(|world| world.sync(self.handle.file)).about("sync", self.path())
    }

    fn size(&self) -> io::Result<u64> {
        self.look(|world, file| Ok(world.inode(file).size())).about("measure", self.path())
    }

    fn identity(&self) -> io::Result<Identity> {
        self.look(|world, file| {
            let inode = world.inode(file);
            Ok(Identity { device: 1, inode: inode.number, born_ns: inode.born_ns })
        })
        .about("identify", self.path())
    }

    fn map(&self, len: u64) -> io::Result<Arc<dyn Map>> {
        let size = self.size()?;
        if size < len {
            let text = format!("the file has {size} bytes and not {len}");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text))
                .about("map", self.path());
        }
        let file = self.look(|world, file| Ok(world.open(file))).about("map", self.path())?;
        Ok(Arc::new(SimMap { handle: Handle::new(&self.handle.disk, file, self.path()), len }))
    }
}

/// Copies the bytes of the moment. Where a real process would die of a `SIGBUS`, because the file
/// was cut or a sector is bad, it panics. Once the disk is handed on it reads as zeros.
#[derive(Debug)]
struct SimMap {
    handle: Handle,
    len: u64,
}

impl Map for SimMap {
    fn slice(&self, range: Range<u64>) -> Bytes {
        let Range { start, end } = range;
        assert!(
            start <= end && end <= self.len,
            "{start}..{end} is not within the {} mapped bytes",
            self.len
        );
        let mut bytes = vec![0; (end - start) as usize];
        let read = match self.handle.disk.lock_world().as_mut() {
            Some(world) => world.inode(self.handle.file).read(&mut bytes, start),
            None => Some(bytes.len()),
        };
        assert!(
            read == Some(bytes.len()),
            "SIGBUS: bytes {start}..{end} of {} are cut off or unreadable",
            self.handle.path.display()
        );
        bytes.into()
    }
}

/// Holds the lock of the file that it keeps open.
#[derive(Debug)]
pub(super) struct SimLock(Handle);

impl SimLock {
    pub(super) fn new(handle: Handle) -> Self {
        Self(handle)
    }
}

impl Lock for SimLock {}

impl Drop for SimLock {
    fn drop(&mut self) {
        if let Some(world) = self.0.disk.lock_world().as_mut() {
            world.unlock(self.0.file);
        }
    }
}
