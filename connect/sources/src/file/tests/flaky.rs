use std::fmt::Debug;
use std::io::{self, IoSlice};
use std::ops::Range;
use std::path::Path;
use std::sync::{Arc, Mutex};

use millrace_disk::{Access, Disk, Entry, File, Identity, Lock, Map};

/// A disk of which every few looks and reads fail, and work when tried again. Failures get rarer
/// with time, so that whatever takes many looks works at last.
#[derive(Clone, Debug)]
pub(super) struct Flaky<T> {
    inner: T,
    until_failure: Arc<Mutex<Countdown>>,
}

#[derive(Debug)]
struct Countdown {
    left: u64,
    next: u64,
}

impl<T> Flaky<T> {
    pub(super) fn new(inner: T, every: u64) -> Self {
        let countdown = Countdown { left: every, next: every + 1 };
        Self { inner, until_failure: Arc::new(Mutex::new(countdown)) }
    }

    fn look(&self) -> io::Result<()> {
        let mut countdown = self.until_failure.lock().unwrap();
        if countdown.left > 0 {
            countdown.left -= 1;
            return Ok(());
        }
        countdown.left = countdown.next;
        countdown.next += 1;
        Err(io::ErrorKind::TimedOut.into())
    }

    fn wrap<U>(&self, inner: U) -> Flaky<U> {
        Flaky { inner, until_failure: Arc::clone(&self.until_failure) }
    }
}

impl Disk for Flaky<Arc<dyn Disk>> {
    fn create(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        self.inner.create(path)
    }
    fn open(&self, path: &Path, access: Access) -> io::Result<Arc<dyn File>> {
        self.look()?;
        Ok(Arc::new(self.wrap(self.inner.open(path, access)?)))
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.inner.rename(from, to)
    }
    fn replace(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.inner.replace(from, to)
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        self.inner.remove(path)
    }
    fn list(&self, dir: &Path) -> io::Result<Vec<Entry>> {
        self.look()?;
        self.inner.list(dir)
    }
    fn exists(&self, path: &Path) -> io::Result<bool> {
        self.inner.exists(path)
    }
    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        self.inner.create_dir_all(dir)
    }
    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.inner.sync_dir(dir)
    }
    fn lock(&self, path: &Path) -> io::Result<Box<dyn Lock>> {
        self.inner.lock(path)
    }
    fn free_space(&self, path: &Path) -> io::Result<u64> {
        self.inner.free_space(path)
    }
    fn total_space(&self, path: &Path) -> io::Result<u64> {
        self.inner.total_space(path)
    }
}

impl File for Flaky<Arc<dyn File>> {
    fn write_at(&self, slices: &[IoSlice<'_>], offset: u64) -> io::Result<()> {
        self.inner.write_at(slices, offset)
    }
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.look()?;
        self.inner.read_at(buf, offset)
    }
    fn next_data(&self, from: u64) -> io::Result<Option<Range<u64>>> {
        self.inner.next_data(from)
    }
    fn allocate(&self, len: u64) -> io::Result<()> {
        self.inner.allocate(len)
    }
    fn zero(&self, range: Range<u64>) -> io::Result<()> {
        self.inner.zero(range)
    }
    fn truncate(&self, len: u64) -> io::Result<()> {
        self.inner.truncate(len)
    }
    fn sync(&self) -> io::Result<()> {
        self.inner.sync()
    }
    fn size(&self) -> io::Result<u64> {
        self.look()?;
        self.inner.size()
    }
    fn identity(&self) -> io::Result<Identity> {
        self.look()?;
        self.inner.identity()
    }
    fn map(&self, len: u64) -> io::Result<Arc<dyn Map>> {
        self.inner.map(len)
    }
}
