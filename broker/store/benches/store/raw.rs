//! What the store is compared with: the same bytes, written as plainly as the kernel allows.

use std::fs::{self, File, OpenOptions};
use std::io::IoSlice;
use std::path::{Path, PathBuf};

use rustix::fs::{FallocateFlags, fallocate, fdatasync};
use rustix::io::pwritev;

/// Files of the size of a segment, reserved ahead like one, written from start to end.
pub(crate) struct RawLog {
    dir: PathBuf,
    file: File,
    number: u64,
    at: u64,
}

const FILE_BYTES: u64 = 1 << 30;

impl RawLog {
    pub(crate) fn create(dir: &Path) -> Self {
        fs::create_dir_all(dir).expect("a directory can be made");
        let file = reserved(&path(dir, 0));
        Self { dir: dir.into(), file, number: 0, at: 0 }
    }

    /// Writes the slices with one call.
    pub(crate) fn write(&mut self, slices: &[IoSlice<'_>]) {
        let len: usize = slices.iter().map(|slice| slice.len()).sum();
        let mut left = slices;
        // More slices than the kernel takes at once.
        while !left.is_empty() {
            let (now, later) = left.split_at(left.len().min(1024));
            let want: usize = now.iter().map(|slice| slice.len()).sum();
            assert_eq!(pwritev(&self.file, now, self.at).expect("it is written"), want);
            self.at += want as u64;
            left = later;
        }
        assert!(self.at <= FILE_BYTES && len > 0, "make_room() comes first");
    }

    pub(crate) fn sync(&self) {
        fdatasync(&self.file).expect("it is durable");
    }

    /// Makes sure that `bytes` fit, with a new file if need be; the old one is removed.
    pub(crate) fn make_room(&mut self, bytes: u64) {
        if self.at + bytes > FILE_BYTES {
            let old = path(&self.dir, self.number);
            self.number += 1;
            self.at = 0;
            self.file = reserved(&path(&self.dir, self.number));
            fs::remove_file(old).expect("it can be removed");
        }
    }
}

fn path(dir: &Path, number: u64) -> PathBuf {
    dir.join(number.to_string())
}

fn reserved(path: &Path) -> File {
    let open = OpenOptions::new().write(true).create_new(true).open(path);
    let file = open.expect("a file can be made");
    fallocate(&file, FallocateFlags::empty(), 0, FILE_BYTES).expect("there is room");
    file.sync_all().expect("it is durable");
    file
}
