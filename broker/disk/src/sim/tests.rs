mod bytes; // what a power cut may do to contents
mod faults; // what goes wrong on request
mod life; // power cuts and killed processes from outside
mod names; // what a power cut may do to names

use std::path::Path;

use super::*;

/// Room for every chance to have its turn.
const SEEDS: std::ops::Range<u64> = 0..300;

fn path(name: &str) -> PathBuf {
    Path::new("/").join(name)
}

/// A new file whose name is durable.
fn create(disk: &SimDisk, name: &str) -> Arc<dyn File> {
    let file = disk.create(&path(name)).unwrap();
    disk.sync_dir(Path::new("/")).unwrap();
    file
}

/// A new file whose name and bytes are durable.
fn create_with(disk: &SimDisk, name: &str, bytes: &[u8]) -> Arc<dyn File> {
    let file = create(disk, name);
    write(&*file, 0, bytes);
    file.sync().unwrap();
    file
}

fn open(disk: &SimDisk, name: &str) -> Arc<dyn File> {
    disk.open(&path(name), Access::ReadWrite).unwrap()
}

#[track_caller]
fn write(file: &dyn File, offset: u64, bytes: &[u8]) {
    try_write(file, offset, bytes).unwrap();
}

fn try_write(file: &dyn File, offset: u64, bytes: &[u8]) -> io::Result<()> {
    file.write_at(&[io::IoSlice::new(bytes)], offset)
}

fn bytes(disk: &SimDisk, name: &str) -> Vec<u8> {
    disk.file_bytes(path(name)).unwrap()
}

#[track_caller]
fn check_dead<T>(result: io::Result<T>) {
    let error = result.err().expect("it should fail");
    assert!(error.to_string().ends_with("Input/output error (os error 5)"), "{error}");
}
