//! Mistakes made on purpose that need more than a flag. None of this is in a released program.

use std::io;
use std::path::Path;
use std::sync::Arc;

use millrace_disk::{Access, Disk, Entry, File, Lock};
use millrace_types::record;
use tracing::warn;

use crate::config::Faults;

/// The disk that a store with these mistakes uses.
pub(crate) fn prepare(disk: Arc<dyn Disk>, faults: &Faults) -> Arc<dyn Disk> {
    record::shorten_checksum(faults.shorten_checksum);
    if *faults == Faults::default() {
        return disk;
    }
    // The text is also what tells a program that has mistakes in it from one that has not.
    warn!(faults = ?faults, "MILLRACE_PLANTED_BUGS are active in this store");
    if faults.skip_dir_sync { Arc::new(WithoutDirSync(disk)) } else { disk }
}

/// A disk whose user forgets to make names durable.
#[derive(Debug)]
struct WithoutDirSync(Arc<dyn Disk>);

impl Disk for WithoutDirSync {
    fn sync_dir(&self, _dir: &Path) -> io::Result<()> {
        Ok(())
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        self.0.create(path)
    }

    fn open(&self, path: &Path, access: Access) -> io::Result<Arc<dyn File>> {
        self.0.open(path, access)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.0.rename(from, to)
    }

    fn replace(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.0.replace(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.0.remove(path)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<Entry>> {
        self.0.list(dir)
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        self.0.exists(path)
    }

    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        self.0.create_dir_all(dir)
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn Lock>> {
        self.0.lock(path)
    }

    fn free_space(&self, path: &Path) -> io::Result<u64> {
        self.0.free_space(path)
    }

    fn total_space(&self, path: &Path) -> io::Result<u64> {
        self.0.total_space(path)
    }
}
