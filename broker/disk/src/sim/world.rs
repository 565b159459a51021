use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::io::IoSlice;
use std::ops::Range;
use std::path::Path;

use rustix::io::Errno;

use super::blocks::BLOCK;
use super::fault::{Fault, Faults, Operation};
use super::inode::Inode;
use super::seed::Seed;
use super::tree::{Node, Tree};

/// Everything on one disk, and what processes have open on it.
#[derive(Clone, Debug)]
pub(super) struct World {
    pub(super) tree: Tree,
    pub(super) operations: u64,
    inodes: BTreeMap<u64, Inode>,
    locks: BTreeSet<u64>,
    faults: Faults,
    seed: Seed,
    /// In blocks.
    capacity: Option<u64>,
    /// Blocks taken by files that have a name or are open.
    used: u64,
    /// When power fails, in operations.
    cut_at: Option<u64>,
    /// Power has failed, and nothing works any more.
    pub(super) cut: bool,
    next_file: u64,
    /// Inode numbers of files that are gone.
    free_numbers: BTreeSet<u64>,
    next_number: u64,
}

/// What is free on a disk without a capacity, in blocks: a tebibyte.
const BOUNDLESS: u64 = (1 << 40) / BLOCK;

/// Whether an operation that changes something may.
pub(super) enum Turn {
    Works,
    /// Power fails while it is at work. It may have had its effect, but nobody hears of it.
    Last,
    /// Power fails before it did anything.
    TooLate,
}

/// What a rename does with the file that has the name already.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Existing {
    Refuse,
    Replace,
}

impl World {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            tree: Tree::new(),
            operations: 0,
            inodes: BTreeMap::new(),
            locks: BTreeSet::new(),
            faults: Faults::default(),
            seed: Seed::new(seed),
            capacity: None,
            used: 0,
            cut_at: None,
            cut: false,
            next_file: 0,
            free_numbers: BTreeSet::new(),
            next_number: 2,
        }
    }

    /// Counts an operation that changes something.
    pub(super) fn turn(&mut self) -> Turn {
        if self.cut {
            return Turn::TooLate;
        }
        self.operations += 1;
        if self.cut_at.is_none_or(|cut_at| self.operations <= cut_at) {
            return Turn::Works;
        }
        self.cut = true;
        if self.seed.chance(1, 2) { Turn::Last } else { Turn::TooLate }
    }

    /// The file of a handle.
    pub(super) fn inode(&mut self, file: u64) -> &mut Inode {
        self.inodes.get_mut(&file).expect("handles keep their files")
    }

    /// Does something that may change how much space a file takes.
    fn with_inode<T>(&mut self, file: u64, act: impl FnOnce(&mut Inode) -> T) -> T {
        let inode = self.inodes.get_mut(&file).expect("handles keep their files");
        let before = inode.charged();
        let result = act(inode);
        let after = inode.charged();
        if inode.linked || inode.opens > 0 {
            self.used = self.used + after - before;
        }
        result
    }

    pub(super) fn create(&mut self, path: &Path) -> Result<u64, Errno> {
        self.faults.turn(Operation::Create)?;
        let (dir, name) = self.tree.place(path)?;
        if self.tree.get(dir, &name).is_some() {
            return Err(Errno::EXIST);
        }
        let number = self.free_numbers.pop_first().unwrap_or(self.next_number);
        self.next_number = self.next_number.max(number + 1);
        let file = self.next_file;
        self.next_file += 1;
        // No clock: the n-th file is born n microseconds after the epoch.
        self.inodes.insert(file, Inode::new(number, (file + 1) * 1000));
        self.tree.set(dir, name, Some(Node::File(file)));
        Ok(file)
    }

    pub(super) fn find_file(&self, path: &Path) -> Result<u64, Errno> {
        match self.tree.find(path)? {
            Node::File(file) => Ok(file),
            Node::Dir(_) => Err(Errno::ISDIR),
        }
    }

    pub(super) fn rename(
        &mut self,
        from: &Path,
        to: &Path,
        existing: Existing,
    ) -> Result<(), Errno> {
        self.faults.turn(Operation::Rename)?;
        let file = self.find_file(from)?;
        let from = self.tree.place(from)?;
        let to = self.tree.place(to)?;
        let displaced = match self.tree.get(to.0, &to.1) {
            Some(_) if existing == Existing::Refuse => return Err(Errno::EXIST),
            Some(Node::Dir(_)) => return Err(Errno::ISDIR),
            Some(Node::File(displaced)) if displaced == file => return Ok(()),
            Some(Node::File(displaced)) => Some(displaced),
            None => None,
        };
        self.tree.move_to(from, to, Node::File(file));
        if let Some(displaced) = displaced {
            self.unlink(displaced);
        }
        Ok(())
    }

    pub(super) fn remove(&mut self, path: &Path) -> Result<(), Errno> {
        self.faults.turn(Operation::Remove)?;
        let file = self.find_file(path)?;
        let (dir, name) = self.tree.place(path)?;
        self.tree.set(dir, name, None);
        self.unlink(file);
        Ok(())
    }

    pub(super) fn create_dir(&mut self, path: &Path) -> Result<(), Errno> {
        self.faults.turn(Operation::CreateDir)?;
        let (dir, name) = self.tree.place(path)?;
        match self.tree.get(dir, &name) {
            None => self.tree.create_dir(dir, name),
            Some(Node::Dir(_)) => {}
            Some(Node::File(_)) => return Err(Errno::EXIST),
        }
        Ok(())
    }

    pub(super) fn sync_dir(&mut self, path: &Path) -> Result<(), Errno> {
        self.faults.turn(Operation::SyncDir)?;
        let dir = self.tree.find_dir(path)?;
        self.tree.sync(dir);
        for file in self.tree.take_orphans() {
            if self.inodes.get(&file).is_some_and(|inode| inode.opens == 0) {
                self.forget_unless_mentioned(file);
            }
        }
        Ok(())
    }

    /// Opens and locks a file.
    pub(super) fn lock(&mut self, file: u64) -> Result<u64, Errno> {
        if !self.locks.insert(file) {
            return Err(Errno::AGAIN);
        }
        Ok(self.open(file))
    }

    pub(super) fn unlock(&mut self, file: u64) {
        self.locks.remove(&file);
    }

    pub(super) fn open(&mut self, file: u64) -> u64 {
        self.inode(file).opens += 1;
        file
    }

    pub(super) fn close(&mut self, file: u64) {
        let inode = self.inode(file);
        inode.opens -= 1;
        if inode.opens == 0 && !inode.linked {
            self.used -= self.inodes[&file].charged();
            self.forget_unless_mentioned(file);
        }
    }

    fn unlink(&mut self, file: u64) {
        let inode = self.inode(file);
        inode.linked = false;
        if inode.opens == 0 {
            self.used -= self.inodes[&file].charged();
            self.forget_unless_mentioned(file);
        }
    }

    /// A file without a live name stays as long as a power cut can bring a name back.
    fn forget_unless_mentioned(&mut self, file: u64) {
        if !self.tree.is_mentioned(file)
            && let Some(inode) = self.inodes.remove(&file)
        {
            self.free_numbers.insert(inode.number);
        }
    }

    pub(super) fn write(
        &mut self,
        file: u64,
        slices: &[IoSlice<'_>],
        offset: u64,
    ) -> Result<(), Errno> {
        let len: u64 = slices.iter().map(|slice| slice.len() as u64).sum();
        within_limits(offset, len)?;
        let mut result = self.faults.turn(Operation::Write);
        let mut allowed = if result.is_ok() { len } else { self.seed.below(len) };
        let room = self.inodes[&file].room(offset, allowed, self.free_blocks());
        if room < allowed {
            allowed = room;
            result = result.and(Err(Errno::NOSPC));
        }
        self.with_inode(file, |inode| inode.write(slices, offset, allowed));
        result
    }

    pub(super) fn allocate(&mut self, file: u64, len: u64) -> Result<(), Errno> {
        self.faults.turn(Operation::Allocate)?;
        within_limits(0, len)?;
        if self.inodes[&file].allocation(len) > self.free_blocks() {
            return Err(Errno::NOSPC);
        }
        self.with_inode(file, |inode| inode.allocate(len));
        Ok(())
    }

    pub(super) fn zero(&mut self, file: u64, range: Range<u64>) -> Result<(), Errno> {
        self.faults.turn(Operation::Zero)?;
        self.inode(file).zero(range);
        Ok(())
    }

    pub(super) fn truncate(&mut self, file: u64, len: u64) -> Result<(), Errno> {
        self.faults.turn(Operation::Truncate)?;
        within_limits(0, len)?;
        self.with_inode(file, |inode| inode.truncate(len));
        Ok(())
    }

    pub(super) fn sync(&mut self, file: u64) -> Result<(), Errno> {
        let result = self.faults.turn(Operation::Sync);
        let inode = self.inodes.get_mut(&file).expect("handles keep their files");
        match result {
            Ok(()) => inode.sync(),
            Err(_) => inode.fail_sync(&mut self.seed),
        }
        result
    }

    fn free_blocks(&self) -> u64 {
        self.capacity.unwrap_or(BOUNDLESS).saturating_sub(self.used)
    }

    pub(super) fn free_space(&self) -> u64 {
        self.free_blocks() * BLOCK
    }

    pub(super) fn total_space(&self) -> u64 {
        self.capacity.unwrap_or(BOUNDLESS).saturating_mul(BLOCK)
    }

    /// # Panics
    /// If the fault is about a file that does not exist.
    pub(super) fn inject(&mut self, fault: Fault) {
        match fault {
            Fault::FailWrite { nth } => self.faults.wait(Some(Operation::Write), nth, Errno::IO),
            Fault::FullWrite { nth } => self.faults.wait(Some(Operation::Write), nth, Errno::NOSPC),
            Fault::FailSync { nth } => self.faults.wait(Some(Operation::Sync), nth, Errno::IO),
            Fault::FailSyncDir { nth } => {
                self.faults.wait(Some(Operation::SyncDir), nth, Errno::IO)
            }
            Fault::FailRename { nth } => self.faults.wait(Some(Operation::Rename), nth, Errno::IO),
            Fault::FailOperation { nth } => self.faults.wait(None, nth, Errno::IO),
            Fault::Capacity { bytes } => self.capacity = Some(bytes / BLOCK),
            Fault::BadSector { path, sector } => {
                let file = self.find_file(&path);
                let file = file.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
                self.inode(file).bad_sectors.insert(sector);
            }
            Fault::PowerCut { after } => {
                self.cut_at = Some(self.operations.saturating_add(after));
            }
        }
    }

    /// Power fails and comes back.
    pub(super) fn power_cut(&mut self) {
        self.tree.power_cut(&mut self.seed);
        for inode in self.inodes.values_mut() {
            inode.linked = true;
        }
        self.end_processes();
        for inode in self.inodes.values_mut() {
            inode.power_cut(&mut self.seed);
        }
        self.used = self.inodes.values().map(Inode::charged).sum();
    }

    /// All processes end, and what they had open is closed.
    pub(super) fn end_processes(&mut self) {
        for inode in self.inodes.values_mut() {
            inode.opens = 0;
        }
        self.forget_unmentioned();
        let linked = self.inodes.values().filter(|inode| inode.linked);
        self.used = linked.map(Inode::charged).sum();
        self.locks.clear();
        self.faults = Faults::default();
        self.operations = 0;
        self.cut_at = None;
        self.cut = false;
    }

    pub(super) fn reseed(&mut self, seed: u64) {
        self.seed = Seed::new(seed);
    }

    fn forget_unmentioned(&mut self) {
        let (tree, numbers) = (&self.tree, &mut self.free_numbers);
        self.inodes.retain(|file, inode| {
            let keep = inode.opens > 0 || tree.is_mentioned(*file);
            if !keep {
                numbers.insert(inode.number);
            }
            keep
        });
    }

    pub(super) fn dump(&self) -> String {
        let mut text = String::new();
        for (path, node) in self.tree.walk() {
            let line = match node {
                Node::File(file) => self.inodes[&file].describe(),
                Node::Dir(dir) => self.tree.describe(dir),
            };
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{}: {line}", path.display());
        }
        text
    }
}

/// Refuses what lies beyond the largest file that Linux knows.
fn within_limits(offset: u64, len: u64) -> Result<(), Errno> {
    match offset.checked_add(len) {
        Some(end) if end <= i64::MAX as u64 => Ok(()),
        _ => Err(Errno::FBIG),
    }
}
