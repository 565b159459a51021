use std::io::{self, IoSlice};
use std::path::Path;
use std::sync::Arc;

use millrace_disk::{Access, Disk, File};
use millrace_types::PhysicalOffset;

use crate::tally::Tally;
use crate::whole;

/// How far the log is known to be durable, kept outside of the log.
///
/// Two slots of 512 bytes are written in turn, so a torn write leaves the other one:
///
/// | bytes  | field                                            |
/// |--------|--------------------------------------------------|
/// | 0..4   | `MRCP`                                           |
/// | 4..8   | format version, 3                                |
/// | 8..16  | sequence number; the higher valid slot counts    |
/// | 16..24 | durable watermark, bytes                         |
/// | 24..28 | 1 if the store was closed cleanly, else 0        |
/// | 28..36 | first byte of the log that was not removed       |
/// | 36..44 | entries of queues up to the watermark            |
/// | 44..52 | the same, of the broker's own state              |
/// | 52..56 | CRC-32 of bytes 0..52                            |
///
/// All integers are big-endian. The watermark may lag behind the truth, never lead it: what lies
/// before it was on disk, so a record that does not verify there is *damage*, while one that does
/// not verify behind it may be a *torn tail*. The first byte is durable before any segment below
/// it is removed, so a segment that is missing from there on was not removed by us. What a start
/// finds less than the numbers of entries say was lost to damage. Versions 1 and 2 are still read:
/// 2 had no such numbers and its CRC in bytes 36..40, 1 knew no removal and had it in 28..32.
#[derive(Debug)]
pub(crate) struct Checkpoint {
    file: Arc<dyn File>,
    sequence: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Mark {
    pub(crate) durable: PhysicalOffset,
    pub(crate) clean: bool,
    /// First byte of the log that was not removed; `None` if no slot says.
    pub(crate) min: Option<PhysicalOffset>,
    /// Entries of queues up to `durable`; `None` if no slot says.
    pub(crate) tally: Option<Tally>,
}

const SLOT: u64 = 512;

impl Checkpoint {
    /// Opens or creates the file and reads the newer valid slot.
    pub(crate) fn open(disk: &dyn Disk, dir: &Path) -> io::Result<(Self, Mark)> {
        let path = dir.join("checkpoint");
        if !disk.exists(&path)? {
            let file = disk.create(&path)?;
            file.allocate(2 * SLOT)?;
            file.sync()?;
            disk.sync_dir(dir)?;
            return Ok((Self { file, sequence: 0 }, Mark::default()));
        }
        let file = disk.open(&path, Access::ReadWrite)?;
        let (sequence, mark) = read(&*file)?;
        Ok((Self { file, sequence }, mark))
    }

    /// Writes a mark; durable only after [`Checkpoint::sync`].
    pub(crate) fn write(&mut self, mark: Mark) -> io::Result<()> {
        self.sequence += 1;
        let mut slot = [0u8; SLOT as usize];
        slot[0..4].copy_from_slice(b"MRCP");
        slot[4..8].copy_from_slice(&3u32.to_be_bytes());
        slot[8..16].copy_from_slice(&self.sequence.to_be_bytes());
        slot[16..24].copy_from_slice(&mark.durable.0.to_be_bytes());
        slot[24..28].copy_from_slice(&u32::from(mark.clean).to_be_bytes());
        slot[28..36].copy_from_slice(&mark.min.unwrap_or_default().0.to_be_bytes());
        let tally = mark.tally.unwrap_or_default();
        slot[36..44].copy_from_slice(&tally.messages.to_be_bytes());
        slot[44..52].copy_from_slice(&tally.state.to_be_bytes());
        let crc = crc32fast::hash(&slot[..52]);
        slot[52..56].copy_from_slice(&crc.to_be_bytes());
        self.file.write_at(&[IoSlice::new(&slot)], self.sequence % 2 * SLOT)
    }

    pub(crate) fn sync(&self) -> io::Result<()> {
        self.file.sync()
    }
}

/// The newer valid mark of a checkpoint file that nobody writes.
pub(crate) fn peek(disk: &dyn Disk, dir: &Path) -> io::Result<Mark> {
    let path = dir.join("checkpoint");
    if !disk.exists(&path)? {
        return Ok(Mark::default());
    }
    read(&*disk.open(&path, Access::Read)?).map(|(_, mark)| mark)
}

fn read(file: &dyn File) -> io::Result<(u64, Mark)> {
    let mut newest = (0, Mark::default());
    for slot in 0..2 {
        let mut bytes = [0u8; 56];
        // A file that is too short has no such slot.
        let (filled, error) = whole::read_most(file, &mut bytes, slot * SLOT);
        if let Some(error) = error {
            return Err(error);
        }
        let be64 = |at: usize| {
            let mut raw = [0; 8];
            raw.copy_from_slice(&bytes[at..at + 8]);
            u64::from_be_bytes(raw)
        };
        let tally = Tally { messages: be64(36), state: be64(44) };
        let (crc_at, min, tally) = match bytes[7] {
            1 => (28, 0, None),
            2 => (36, be64(28), None),
            _ => (52, be64(28), Some(tally)),
        };
        let min = Some(PhysicalOffset(min));
        let valid = filled == bytes.len()
            && bytes[0..4] == *b"MRCP"
            && crc32fast::hash(&bytes[..crc_at]).to_be_bytes() == bytes[crc_at..crc_at + 4];
        if valid && be64(8) > newest.0 {
            let (durable, clean) = (PhysicalOffset(be64(16)), bytes[27] == 1);
            newest = (be64(8), Mark { durable, clean, min, tally });
        }
    }
    Ok(newest)
}
