//! A directory for what is measured.

use std::path::PathBuf;

use millrace_disk::{Disk, RealDisk};

/// A directory that is gone in the end.
pub(crate) struct Home(PathBuf);

impl Home {
    pub(crate) fn new() -> Self {
        let dir = std::env::temp_dir().join(format!("millrace-store-{}", std::process::id()));
        std::fs::create_dir_all(&dir).expect("a directory can be made");
        Self(dir)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    pub(crate) fn remove(&self, name: &str) {
        std::fs::remove_dir_all(self.0.join(name)).expect("it can be removed");
    }

    /// Bytes that may be written: three quarters of the free disk, or `MILLRACE_SCALE_GB`.
    pub(crate) fn room(&self) -> u64 {
        let free = RealDisk::new().free_space(&self.0).expect("the free space is known") / 4 * 3;
        let limit = std::env::var("MILLRACE_SCALE_GB").ok().and_then(|gb| gb.parse::<u64>().ok());
        limit.map_or(free, |gb| free.min(gb << 30))
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
