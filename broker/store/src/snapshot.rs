//! Copies of the broker's state in files, so that a start need not read all of it from the log.
//!
//! The truth is in the log: a snapshot that is damaged or missing costs a longer start. Two
//! generations are kept, so one damaged file costs little, and the copies help where the log itself
//! is damaged.

use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use millrace_disk::{Access, Disk};
use millrace_types::{PhysicalOffset, QueueOffset};
use tracing::warn;

use crate::whole;

/// The state of the broker at one moment.
///
/// Name: `<next>.snap`, twenty digits. Content, big-endian:
///
/// | bytes  | field                                                             |
/// |--------|-------------------------------------------------------------------|
/// | 4      | `MRSN`                                                            |
/// | 4      | format version, 1                                                 |
/// | 8      | queue offset of the first state record that is not in it          |
/// | 4      | bytes of the next part                                            |
/// | n      | the state, as whoever handed it over encoded it                   |
/// | 4      | CRC-32 of everything before                                       |
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// Queue offset of the first state record that is not in it.
    pub next: QueueOffset,
    /// The state, as it was handed over.
    pub body: Vec<u8>,
    /// The file.
    pub path: PathBuf,
}

const MAGIC: &[u8; 4] = b"MRSN";
const VERSION: u32 = 1;
const HEADER_BYTES: usize = 20;
const GENERATIONS: usize = 2;

/// A snapshot on its way to the flusher.
#[derive(Debug, Default)]
pub(crate) struct SnapshotExchange(Mutex<Option<HandedOver>>);

#[derive(Debug)]
struct HandedOver {
    /// The log is durable as far as the snapshot knows it.
    end: PhysicalOffset,
    next: QueueOffset,
    body: Vec<u8>,
}

impl SnapshotExchange {
    pub(crate) fn hand_over(&self, end: PhysicalOffset, next: QueueOffset, body: Vec<u8>) {
        let mut slot = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *slot = Some(HandedOver { end, next, body });
    }

    /// Writes what was handed over, once the log is durable so far: a snapshot never knows more
    /// than the log.
    pub(crate) fn write(&self, disk: &dyn Disk, dir: &Path, durable: PhysicalOffset) {
        let mut slot = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(HandedOver { next, body, .. }) = slot.take_if(|handed| handed.end <= durable)
        else {
            return;
        };
        drop(slot);
        // The log has it all, so another one will do.
        if let Err(error) = write(disk, dir, next, &body) {
            warn!(error = %error, "state snapshot not written");
        }
    }
}

fn write(disk: &dyn Disk, dir: &Path, next: QueueOffset, body: &[u8]) -> io::Result<()> {
    let len = u32::try_from(body.len()).map_err(io::Error::other)?;
    let mut bytes = Vec::with_capacity(HEADER_BYTES + body.len() + 4);
    bytes.extend_from_slice(MAGIC);
    bytes.extend_from_slice(&VERSION.to_be_bytes());
    bytes.extend_from_slice(&next.0.to_be_bytes());
    bytes.extend_from_slice(&len.to_be_bytes());
    bytes.extend_from_slice(body);
    let crc = crc32fast::hash(&bytes);
    bytes.extend_from_slice(&crc.to_be_bytes());

    disk.create_dir_durably(dir)?;
    let (path, draft) = (path(dir, next), dir.join("draft"));
    if disk.exists(&draft)? {
        disk.remove(&draft)?;
    }
    let file = disk.create(&draft)?;
    file.write_at(&[IoSlice::new(&bytes)], 0)?;
    file.sync()?;
    disk.replace(&draft, &path)?;
    disk.sync_dir(dir)?;
    for (_, old) in list(disk, dir)?.into_iter().rev().skip(GENERATIONS) {
        disk.remove(&old)?;
    }
    Ok(())
}

fn path(dir: &Path, next: QueueOffset) -> PathBuf {
    dir.join(format!("{:020}.snap", next.0))
}

/// The snapshots of a directory, oldest first.
fn list(disk: &dyn Disk, dir: &Path) -> io::Result<Vec<(QueueOffset, PathBuf)>> {
    let mut found = Vec::new();
    for entry in disk.list(dir)? {
        let next = entry.name.strip_suffix(".snap").and_then(|next| next.parse().ok());
        if let Some(next) = next.filter(|_| !entry.is_dir) {
            found.push((QueueOffset(next), dir.join(entry.name)));
        }
    }
    found.sort();
    Ok(found)
}

/// What lies in the directory of snapshots.
#[derive(Debug, Default)]
pub(crate) struct Snapshots {
    /// Newest first.
    pub(crate) whole: Vec<Snapshot>,
    pub(crate) damaged: Vec<PathBuf>,
}

/// Whether checksums count, as they always should.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Checksums {
    Compared,
    #[cfg(feature = "faults")]
    Ignored,
}

/// Reads all snapshots.
pub(crate) fn read_all(disk: &dyn Disk, dir: &Path, checksums: Checksums) -> io::Result<Snapshots> {
    let mut found = Snapshots::default();
    if !disk.exists(dir)? {
        return Ok(found);
    }
    for (next, path) in list(disk, dir)?.into_iter().rev() {
        match read(disk, &path).map(|bytes| parse(&bytes, next, checksums)) {
            Ok(Some(body)) => found.whole.push(Snapshot { next, body, path }),
            Ok(None) => found.damaged.push(path),
            Err(error) => {
                warn!(error = %error, path = %path.display(), "state snapshot unreadable");
                found.damaged.push(path);
            }
        }
    }
    Ok(found)
}

fn read(disk: &dyn Disk, path: &Path) -> io::Result<Vec<u8>> {
    let file = disk.open(path, Access::Read)?;
    let len = usize::try_from(file.size()?).map_err(io::Error::other)?;
    let mut bytes = vec![0; len];
    whole::read(&*file, &mut bytes, 0)?;
    Ok(bytes)
}

/// The state in the bytes of a snapshot file named after `next`; `None` if they are not whole.
fn parse(bytes: &[u8], next: QueueOffset, checksums: Checksums) -> Option<Vec<u8>> {
    let (content, crc) = bytes.split_last_chunk::<4>()?;
    let (header, body) = content.split_first_chunk::<HEADER_BYTES>()?;
    let word = |at: usize| {
        u32::from_be_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]])
    };
    let named = (u64::from(word(8)) << 32) | u64::from(word(12));
    let whole = checksums != Checksums::Compared || crc32fast::hash(content).to_be_bytes() == *crc;
    let fits = header.starts_with(MAGIC)
        && word(4) == VERSION
        && named == next.0
        && word(16) as usize == body.len();
    (whole && fits).then(|| body.to_vec())
}

#[cfg(test)]
mod tests {
    use millrace_disk::SimDisk;

    use super::*;

    const DIR: &str = "/state";

    fn written(disk: &SimDisk, next: u64) {
        let exchange = SnapshotExchange::default();
        exchange.hand_over(PhysicalOffset(9), QueueOffset(next), format!("at {next}").into());
        exchange.write(disk, Path::new(DIR), PhysicalOffset(8));
        assert!(!disk.exists(&path(Path::new(DIR), QueueOffset(next))).unwrap(), "not durable yet");
        exchange.write(disk, Path::new(DIR), PhysicalOffset(9));
    }

    fn bodies(disk: &SimDisk) -> (Vec<String>, usize) {
        let found = read_all(disk, Path::new(DIR), Checksums::Compared).unwrap();
        let body = |snapshot: Snapshot| String::from_utf8(snapshot.body).unwrap();
        (found.whole.into_iter().map(body).collect(), found.damaged.len())
    }

    #[test]
    fn two_generations_are_kept() {
        let disk = SimDisk::new(1);
        assert_eq!(bodies(&disk), (vec![], 0));
        for next in [5, 7, 30] {
            written(&disk, next);
        }
        assert_eq!(bodies(&disk), (vec!["at 30".to_owned(), "at 7".to_owned()], 0));
    }

    #[test]
    fn a_flipped_bit_leaves_the_other_generation() {
        let disk = SimDisk::new(1);
        written(&disk, 5);
        written(&disk, 7);
        let newest = path(Path::new(DIR), QueueOffset(7));
        let len = disk.file_bytes(&newest).unwrap().len() as u64;
        for byte in 0..len {
            disk.flip_bit(&newest, byte, (byte % 8) as u8);
            assert_eq!(bodies(&disk), (vec!["at 5".to_owned()], 1), "byte {byte}");
            disk.flip_bit(&newest, byte, (byte % 8) as u8);
        }
    }

    #[test]
    fn a_crash_at_any_step_leaves_a_whole_one() {
        let disk = SimDisk::new(1);
        written(&disk, 5);
        let before = disk.operations();
        written(&disk, 7);
        let steps = disk.operations() - before;
        for step in 0..steps {
            let disk = SimDisk::new(step);
            written(&disk, 5);
            disk.cut_after(step);
            let exchange = SnapshotExchange::default();
            exchange.hand_over(PhysicalOffset(0), QueueOffset(7), b"at 7".to_vec());
            exchange.write(&disk, Path::new(DIR), PhysicalOffset(0));
            let (whole, damaged) = bodies(&disk.power_cut());
            assert!(damaged == 0 && whole.contains(&"at 5".to_owned()), "step {step}: {whole:?}");
        }
    }
}
