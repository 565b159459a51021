mod blocks; // sparse bytes
mod fault; // what can go wrong
mod handle; // files, maps and locks that are open
mod inode; // one file: durable, pending, live
mod odds; // what survives of a change
mod seed; // chance
mod tree; // the names
mod world; // everything on one disk

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::io::Errno;

pub use fault::Fault;
use handle::{Handle, SimFile, SimLock};
use tree::Node;
use world::{Existing, Turn, World};

use crate::error::About;
use crate::{Access, Disk, Entry, File, Lock};

/// A disk in memory that knows what is durable and what a power cut takes back.
///
/// Clones are handles to the same disk. Used from one thread, the same seed and the same calls
/// give the same results, down to which half of a torn write survives.
///
/// [`power_cut`](Self::power_cut) and [`kill`](Self::kill) end the life of this disk and of
/// everything opened on it, and return the disk that the next process finds.
#[derive(Clone)]
pub struct SimDisk {
    /// `None` once the next process has it.
    world: Arc<Mutex<Option<World>>>,
}

impl SimDisk {
    /// An empty disk: a root directory with nothing in it.
    pub fn new(seed: u64) -> Self {
        Self::from_world(World::new(seed))
    }

    /// Cuts the power and returns the disk as it is found when power is back. From then on
    /// everything opened on this one answers `EIO`, and its locks are released.
    ///
    /// What was synced is there. Of the writes since, each survives wholly, in some of its
    /// sectors, or not at all, whatever became of others; of the changes of names since the last
    /// sync of their directory the first few survive. Capacity and bad sectors stay, other faults
    /// are gone.
    ///
    /// # Panics
    /// If the disk was handed on already, by this or by [`kill`](Self::kill).
    pub fn power_cut(&self) -> SimDisk {
        let mut world = self.take();
        world.power_cut();
        Self::from_world(world)
    }

    /// Ends the process and returns the disk for the next one: every write and every name is
    /// there, synced or not, but no nearer to being durable.
    ///
    /// # Panics
    /// If the disk was handed on already, or its power has failed.
    pub fn kill(&self) -> SimDisk {
        let mut world = self.take();
        assert!(!world.cut, "without power there is no process to kill");
        world.end_processes();
        Self::from_world(world)
    }

    /// The disk as it would be found if power failed now, without that it does. Each seed shows
    /// one of the ways in which that can end.
    pub fn image(&self, seed: u64) -> SimDisk {
        let mut world = self.lock_world().clone().expect(HANDED_ON);
        world.reseed(seed);
        world.power_cut();
        Self::from_world(world)
    }

    /// Makes something go wrong.
    ///
    /// # Panics
    /// If a bad sector is to be in a file that does not exist.
    pub fn inject(&self, fault: Fault) {
        self.lock_world().as_mut().expect(HANDED_ON).inject(fault);
    }

    /// Lets so many more operations work. Power fails during the one after: it may have had its
    /// effect or not, and it and everything later answers `EIO`, until [`power_cut`] hands on
    /// what is left.
    ///
    /// [`power_cut`]: Self::power_cut
    pub fn cut_after(&self, operations: u64) {
        self.inject(Fault::PowerCut { after: operations });
    }

    /// Operations so far that may change the disk: creating a file or directory, renaming,
    /// replacing, removing, writing, allocating, zeroing, truncating and both kinds of sync, each
    /// counted whether it worked or not. A new disk starts from 0, and so does what `power_cut`,
    /// `kill` and `image` return.
    pub fn operations(&self) -> u64 {
        self.lock_world().as_ref().expect(HANDED_ON).operations
    }

    /// Whether power has failed, as [`cut_after`](Self::cut_after) asked.
    pub fn is_cut(&self) -> bool {
        self.lock_world().as_ref().is_none_or(|world| world.cut)
    }

    /// Turns one bit of a file over, on the disk and in what reads see, as decay does.
    ///
    /// # Panics
    /// If there is no such bit.
    pub fn flip_bit(&self, path: impl AsRef<Path>, byte: u64, bit: u8) {
        let path = path.as_ref();
        let mut world = self.lock_world();
        let world = world.as_mut().expect(HANDED_ON);
        let file = world.find_file(path).expect("the file exists");
        let inode = world.inode(file);
        assert!(byte < inode.size() && bit < 8, "no bit {bit} of byte {byte} of {path:?}");
        inode.flip_bit(byte, bit);
    }

    /// What a read of the whole file would see, bad sectors and failed power aside; `None` if
    /// there is no such file.
    pub fn file_bytes(&self, path: impl AsRef<Path>) -> Option<Vec<u8>> {
        let mut world = self.lock_world();
        let world = world.as_mut().expect(HANDED_ON);
        let file = world.find_file(path.as_ref()).ok()?;
        Some(world.inode(file).bytes())
    }

    /// All files, sorted.
    pub fn paths(&self) -> Vec<PathBuf> {
        let world = self.lock_world();
        let all = world.as_ref().expect(HANDED_ON).tree.walk();
        all.into_iter().filter(|(_, node)| matches!(node, Node::File(_))).map(|(p, _)| p).collect()
    }

    /// The whole state as text, one line for each file and directory: for people, and for telling
    /// whether two disks are alike.
    pub fn dump(&self) -> String {
        self.lock_world().as_ref().expect(HANDED_ON).dump()
    }

    fn from_world(world: World) -> Self {
        Self { world: Arc::new(Mutex::new(Some(world))) }
    }

    fn take(&self) -> World {
        self.lock_world().take().expect(HANDED_ON)
    }

    fn lock_world(&self) -> MutexGuard<'_, Option<World>> {
        // Nothing that panics leaves a world half changed.
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks at a disk that has power.
    fn look<T>(&self, act: impl FnOnce(&mut World) -> Result<T, Errno>) -> Result<T, Errno> {
        match self.lock_world().as_mut() {
            Some(world) if !world.cut => act(world),
            _ => Err(Errno::IO),
        }
    }

    /// Does something that counts as an operation.
    fn operate<T>(&self, act: impl FnOnce(&mut World) -> Result<T, Errno>) -> Result<T, Errno> {
        let mut world = self.lock_world();
        let world = world.as_mut().ok_or(Errno::IO)?;
        match world.turn() {
            Turn::Works => act(world),
            Turn::Last => act(world).and(Err(Errno::IO)),
            Turn::TooLate => Err(Errno::IO),
        }
    }

    fn find_or_create_locked(&self, path: &Path) -> Result<u64, Errno> {
        loop {
            let found = self.look(|world| world.find_file(path).and_then(|file| world.lock(file)));
            if found != Err(Errno::NOENT) {
                return found;
            }
            let made = self.operate(|world| world.create(path).and_then(|file| world.lock(file)));
            // Another thread may have made it in between.
            if made != Err(Errno::EXIST) {
                return made;
            }
        }
    }
}

const HANDED_ON: &str = "this disk was handed on by power_cut or kill; use what they returned";

impl fmt::Debug for SimDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SimDisk")
    }
}

impl Disk for SimDisk {
    fn create(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        let file = self
            .operate(|world| world.create(path).map(|file| world.open(file)))
            .about("create", path)?;
        Ok(Arc::new(SimFile::new(Handle::new(self, file, path), Access::ReadWrite)))
    }

    fn open(&self, path: &Path, access: Access) -> io::Result<Arc<dyn File>> {
        let file = self
            .look(|world| world.find_file(path).map(|file| world.open(file)))
            .about("open", path)?;
        Ok(Arc::new(SimFile::new(Handle::new(self, file, path), access)))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.operate(|world| world.rename(from, to, Existing::Refuse)).about_two("rename", from, to)
    }

    fn replace(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.operate(|world| world.rename(from, to, Existing::Replace))
            .about_two("rename", from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.operate(|world| world.remove(path)).about("remove", path)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<Entry>> {
        self.look(|world| {
            let id = world.tree.find_dir(dir)?;
            let entry = |(name, node): (&String, Node)| Entry {
                name: name.clone(),
                is_dir: matches!(node, Node::Dir(_)),
            };
            Ok(world.tree.list(id).map(entry).collect())
        })
        .about("list", dir)
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        self.look(|world| match world.tree.find(path) {
            Ok(_) => Ok(true),
            Err(Errno::NOENT) => Ok(false),
            Err(error) => Err(error),
        })
        .about("look for", path)
    }

    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        let mut missing = Vec::new();
        for above in dir.ancestors() {
            match self.look(|world| world.tree.find(above)) {
                Ok(Node::Dir(_)) => break,
                Ok(Node::File(_)) => return Err(Errno::NOTDIR).about("create directory", dir),
                Err(Errno::NOENT) => missing.push(above),
                Err(error) => return Err(error).about("create directory", dir),
            }
        }
        for above in missing.into_iter().rev() {
            self.operate(|world| world.create_dir(above)).about("create directory", above)?;
        }
        Ok(())
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.operate(|world| world.sync_dir(dir)).about("sync directory", dir)
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn Lock>> {
        let file = self.find_or_create_locked(path).about("lock", path)?;
        Ok(Box::new(SimLock::new(Handle::new(self, file, path))))
    }

    fn free_space(&self, path: &Path) -> io::Result<u64> {
        self.look(|world| {
            world.tree.find(path)?;
            Ok(world.free_space())
        })
        .about("measure the free space of", path)
    }

    fn total_space(&self, path: &Path) -> io::Result<u64> {
        self.look(|world| {
            world.tree.find(path)?;
            Ok(world.total_space())
        })
        .about("measure the space of", path)
    }
}

#[cfg(test)]
mod tests;
