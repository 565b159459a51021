use std::io::{self, IoSlice};
use std::ops::Range;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex};

use millrace_disk::{Access, Disk, Entry, File, Identity, Lock, Map, SimDisk};

/// A disk some of whose work waits while its gate is closed. Syncs unless said otherwise.
#[derive(Clone, Debug)]
pub(super) struct GatedDisk {
    disk: SimDisk,
    gate: Arc<Gate>,
}

/// What can be made to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Work {
    Sync,
    Write,
    Read,
}

#[derive(Debug, Default)]
struct Gate {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    closed: Option<Work>,
    waiting: usize,
}

impl GatedDisk {
    pub(super) fn open() -> Self {
        Self { disk: SimDisk::new(1), gate: Arc::default() }
    }

    pub(super) fn set_open(&self, open: bool) {
        self.close((!open).then_some(Work::Sync));
    }

    /// Closes the gate to one kind of work, or opens it to all.
    pub(super) fn close(&self, to: Option<Work>) {
        self.gate.state.lock().unwrap().closed = to;
        self.gate.changed.notify_all();
    }

    /// Comes back once somebody waits at the gate.
    pub(super) fn is_waited_for(&self) {
        let state = self.gate.state.lock().unwrap();
        drop(self.gate.changed.wait_while(state, |state| state.waiting == 0).unwrap());
    }

    fn gated(&self, file: io::Result<Arc<dyn File>>) -> io::Result<Arc<dyn File>> {
        Ok(Arc::new(GatedFile { file: file?, gate: Arc::clone(&self.gate) }))
    }
}

#[derive(Debug)]
struct GatedFile {
    file: Arc<dyn File>,
    gate: Arc<Gate>,
}

impl Gate {
    fn pass(&self, work: Work) {
        let mut state = self.state.lock().unwrap();
        if state.closed != Some(work) {
            return;
        }
        state.waiting += 1;
        self.changed.notify_all();
        let closed = |state: &mut State| state.closed == Some(work);
        self.changed.wait_while(state, closed).unwrap().waiting -= 1;
    }
}

impl Disk for GatedDisk {
    fn create(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        self.gated(self.disk.create(path))
    }
    fn open(&self, path: &Path, access: Access) -> io::Result<Arc<dyn File>> {
        self.gated(self.disk.open(path, access))
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.disk.rename(from, to)
    }
    fn replace(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.disk.replace(from, to)
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        self.disk.remove(path)
    }
    fn list(&self, dir: &Path) -> io::Result<Vec<Entry>> {
        self.disk.list(dir)
    }
    fn exists(&self, path: &Path) -> io::Result<bool> {
        self.disk.exists(path)
    }
    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        self.disk.create_dir_all(dir)
    }
    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.disk.sync_dir(dir)
    }
    fn lock(&self, path: &Path) -> io::Result<Box<dyn Lock>> {
        self.disk.lock(path)
    }
    fn free_space(&self, path: &Path) -> io::Result<u64> {
        self.disk.free_space(path)
    }
    fn total_space(&self, path: &Path) -> io::Result<u64> {
        self.disk.total_space(path)
    }
}

impl File for GatedFile {
    fn sync(&self) -> io::Result<()> {
        self.gate.pass(Work::Sync);
        self.file.sync()
    }
    fn write_at(&self, slices: &[IoSlice<'_>], offset: u64) -> io::Result<()> {
        self.gate.pass(Work::Write);
        self.file.write_at(slices, offset)
    }
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.gate.pass(Work::Read);
        self.file.read_at(buf, offset)
    }
    fn next_data(&self, from: u64) -> io::Result<Option<Range<u64>>> {
        self.file.next_data(from)
    }
    fn allocate(&self, len: u64) -> io::Result<()> {
        self.file.allocate(len)
    }
    fn zero(&self, range: Range<u64>) -> io::Result<()> {
        self.file.zero(range)
    }
    fn truncate(&self, len: u64) -> io::Result<()> {
        self.file.truncate(len)
    }
    fn size(&self) -> io::Result<u64> {
        self.file.size()
    }
    fn identity(&self) -> io::Result<Identity> {
        self.file.identity()
    }
    fn map(&self, len: u64) -> io::Result<Arc<dyn Map>> {
        self.file.map(len)
    }
}
