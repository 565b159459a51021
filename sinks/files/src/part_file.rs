use std::io::{self, IoSlice, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use millrace_disk::{Access, Disk, File};

/// Bytes that go to the end of a new file, counted and checksummed on the way.
#[derive(Debug)]
pub(crate) struct PartFile {
    disk: Arc<dyn Disk>,
    path: PathBuf,
    /// `None` while it is parked.
    file: Option<Arc<dyn File>>,
    buffer: Vec<u8>,
    written: u64,
    checksum: crc32fast::Hasher,
}

/// A file whose bytes are durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Finished {
    pub(crate) bytes: u64,
    pub(crate) checksum: u32,
}

/// What the encoder hands over in smaller pieces is gathered until a system call is worth it.
const BUFFER_BYTES: usize = 64 << 10;

impl PartFile {
    pub(crate) fn create(disk: &Arc<dyn Disk>, path: &Path) -> io::Result<Self> {
        Ok(Self {
            file: Some(disk.create(path)?),
            disk: Arc::clone(disk),
            path: path.to_owned(),
            buffer: Vec::new(),
            written: 0,
            checksum: crc32fast::Hasher::new(),
        })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// How many bytes the file has, gathered ones included.
    pub(crate) fn bytes(&self) -> u64 {
        self.written + self.buffer.len() as u64
    }

    /// Makes the contents durable. The name is not, before its directory is synced.
    pub(crate) fn finish(mut self) -> io::Result<Finished> {
        self.park()?;
        Ok(Finished { bytes: self.written, checksum: self.checksum.finalize() })
    }

    /// Gives the handle and the buffer back until there is more to write. What was written is made
    /// durable first: of an error in writing it back, a handle opened later might not be told.
    pub(crate) fn park(&mut self) -> io::Result<()> {
        self.write_out(&[])?;
        if let Some(file) = self.file.take() {
            file.sync()?;
        }
        self.buffer = Vec::new();
        Ok(())
    }

    pub(crate) fn is_parked(&self) -> bool {
        self.file.is_none()
    }

    /// Writes what was gathered, and then `more`.
    fn write_out(&mut self, more: &[u8]) -> io::Result<()> {
        if self.buffer.is_empty() && more.is_empty() {
            return Ok(());
        }
        let file = match &self.file {
            Some(file) => file,
            None => self.file.insert(self.disk.open(&self.path, Access::ReadWrite)?),
        };
        file.write_at(&[IoSlice::new(&self.buffer), IoSlice::new(more)], self.written)?;
        self.checksum.update(&self.buffer);
        self.checksum.update(more);
        self.written += (self.buffer.len() + more.len()) as u64;
        self.buffer.clear();
        Ok(())
    }
}

impl Write for PartFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.buffer.len() + bytes.len() > BUFFER_BYTES {
            self.write_out(bytes)?;
        } else {
            self.buffer.extend_from_slice(bytes);
        }
        Ok(bytes.len())
    }

    /// Does nothing: what is gathered is written when there is enough of it, and by `finish`.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use millrace_disk::SimDisk;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_byte_arrives_counted_and_checksummed(
            pieces in proptest::collection::vec(
                (0..3 * BUFFER_BYTES, any::<u8>(), any::<bool>()), 0..6,
            ),
        ) {
            let sim = SimDisk::new(1);
            let disk: Arc<dyn Disk> = Arc::new(sim.clone());
            let path = Path::new("/part");
            let mut file = PartFile::create(&disk, path).unwrap();
            let mut expected = Vec::new();
            for (len, byte, park) in pieces {
                let piece = vec![byte; len];
                file.write_all(&piece).unwrap();
                expected.extend(piece);
                if park {
                    file.park().unwrap();
                    prop_assert!(file.is_parked());
                }
            }
            let finished = file.finish().unwrap();
            disk.sync_dir(Path::new("/")).unwrap();
            let disk = sim.power_cut();
            prop_assert_eq!(finished.bytes, expected.len() as u64);
            prop_assert_eq!(finished.checksum, crc32fast::hash(&expected));
            prop_assert_eq!(disk.file_bytes(path).unwrap(), expected);
        }
    }
}
