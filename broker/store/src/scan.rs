use std::io;

use millrace_types::PhysicalOffset;
use millrace_types::record::{MAGIC_BLANK, MAGIC_V1, MAGIC_V2, PREFIX_BYTES, Record};

use crate::segment::Segment;
use crate::whole;

/// What lies at one position of a segment.
pub(crate) enum Scanned<'a> {
    /// A whole record whose checksum holds and which was written for this position. Every record
    /// of a store of ours has the checksum over all of it (P4).
    Record(Record<'a>),
    /// Filler: the file is full and the next record starts in the next file.
    FileEnd,
    /// Zeros: nothing was ever written here.
    Empty,
    /// Something that is none of these.
    Torn(String),
    /// The disk cannot give the bytes.
    Unreadable(io::Error),
}

/// Who wrote a log, which decides what a record has to prove.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// We: the checksum over the whole record.
    Ours,
    /// Apache RocketMQ: the same where there is one, else the checksum of the body.
    Apache,
}

/// Reads a segment from the file, not through the map, so that a bad sector is an error and not
/// a signal.
pub(crate) struct Scanner<'s> {
    segment: &'s Segment,
    origin: Origin,
    buffer: Vec<u8>,
    /// Offset in the segment of the buffer's first byte.
    buffer_at: u64,
}

const BLOCK: usize = 1 << 20;

impl<'s> Scanner<'s> {
    pub(crate) fn new(segment: &'s Segment) -> Self {
        Self::of(segment, Origin::Ours)
    }

    pub(crate) fn of(segment: &'s Segment, origin: Origin) -> Self {
        Self { segment, origin, buffer: Vec::new(), buffer_at: 0 }
    }

    /// What lies at `at`, which is within the segment.
    pub(crate) fn at(&mut self, at: PhysicalOffset) -> Scanned<'_> {
        let local = at.since(self.segment.base);
        let left = self.segment.len - local;
        if left < PREFIX_BYTES as u64 {
            return Scanned::FileEnd;
        }
        let (size, magic) = match self.bytes(local, PREFIX_BYTES) {
            Ok(prefix) => (be32(prefix, 0), be32(prefix, 4)),
            Err(error) => return Scanned::Unreadable(error),
        };
        match magic {
            MAGIC_V1 | MAGIC_V2 if u64::from(size) <= left => {}
            MAGIC_V1 | MAGIC_V2 => return Scanned::Torn("the size leaves the segment".into()),
            MAGIC_BLANK if u64::from(size) == left => return Scanned::FileEnd,
            0 if size == 0 => return Scanned::Empty,
            _ => return Scanned::Torn("no record starts here".into()),
        }
        let origin = self.origin;
        let bytes = match self.bytes(local, size as usize) {
            Ok(bytes) => bytes,
            Err(error) => return Scanned::Unreadable(error),
        };
        let verify = |record: Record<'_>| match origin {
            Origin::Ours => record.verify_whole(),
            Origin::Apache => record.verify().map(drop),
        };
        let parsed = Record::parse(bytes);
        match parsed.and_then(|record| verify(record).map(|()| record)) {
            Ok(record) if record.physical_offset() != at => {
                Scanned::Torn(format!("the record is of offset {}", record.physical_offset()))
            }
            Ok(record) => Scanned::Record(record),
            Err(error) => Scanned::Torn(error.to_string()),
        }
    }

    /// The first position after `at` where a whole record starts, if there is one before the end
    /// of the segment.
    pub(crate) fn next_record(&mut self, at: PhysicalOffset) -> Option<PhysicalOffset> {
        let mut local = at.since(self.segment.base) + 1;
        while local + PREFIX_BYTES as u64 <= self.segment.len {
            let want = BLOCK.min((self.segment.len - local) as usize);
            let found = match self.bytes(local, want) {
                Ok(bytes) => find_magic(bytes).map(|start| start as u64),
                // Step over what cannot be read, in units no larger than a sector.
                Err(_) => {
                    local = (local / 512 + 1) * 512;
                    continue;
                }
            };
            let Some(start) = found else {
                // The last seven bytes may begin a prefix that the next block completes.
                local += (want - (PREFIX_BYTES - 1)) as u64;
                continue;
            };
            let candidate = self.segment.base + (local + start);
            if matches!(self.at(candidate), Scanned::Record(..)) {
                return Some(candidate);
            }
            local += start + 1;
        }
        None
    }

    /// The first and one past the last byte that is not zero in `at..` of the segment. Only what
    /// was ever written is read.
    pub(crate) fn not_zero(&mut self, at: PhysicalOffset) -> io::Result<Option<(u64, u64)>> {
        // What a read brings into the page cache counts as written to Linux, and a read ahead goes
        // beyond what was asked for: so everything is looked up before anything is read.
        let mut written = Vec::new();
        let mut local = at.since(self.segment.base);
        while let Some(next) = self.segment.file.next_data(local)? {
            local = next.end;
            written.push(next.start..next.end.min(self.segment.len));
        }
        let mut found: Option<(u64, u64)> = None;
        for mut rest in written {
            while !rest.is_empty() {
                let want = BLOCK.min((rest.end - rest.start) as usize);
                let bytes = self.bytes(rest.start, want)?;
                // Most blocks are nothing but zeros, and this much is quickly told.
                let any = bytes.chunks(4096).any(|part| part.iter().fold(0, |all, b| all | b) != 0);
                if let Some(first) = any.then(|| bytes.iter().position(|&b| b != 0)).flatten() {
                    let last = bytes.iter().rposition(|&b| b != 0).unwrap_or(first);
                    let start = found.map_or(rest.start + first as u64, |(start, _)| start);
                    found = Some((start, rest.start + last as u64 + 1));
                }
                rest.start += want as u64;
            }
        }
        Ok(found)
    }

    /// Bytes of the segment, through the buffer.
    fn bytes(&mut self, local: u64, len: usize) -> io::Result<&[u8]> {
        let have = self.buffer_at..self.buffer_at + self.buffer.len() as u64;
        if !(have.start <= local && local + len as u64 <= have.end) {
            let want = len.max(BLOCK).min((self.segment.len - local) as usize);
            self.buffer.resize(want, 0);
            self.buffer_at = local;
            let (filled, error) = whole::read_most(&*self.segment.file, &mut self.buffer, local);
            match error {
                // A bad sector further on must not hide what lies before it.
                Some(_) if filled < len && want > len => return self.narrow(local, len),
                Some(error) if filled < len => {
                    self.buffer.clear();
                    return Err(error);
                }
                _ => self.buffer.truncate(filled),
            }
            if filled < len {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        let start = (local - self.buffer_at) as usize;
        Ok(&self.buffer[start..start + len])
    }

    /// Reads exactly what was asked for, after reading ahead has failed.
    fn narrow(&mut self, local: u64, len: usize) -> io::Result<&[u8]> {
        self.buffer.resize(len, 0);
        self.buffer_at = local;
        if let Err(error) = whole::read(&*self.segment.file, &mut self.buffer, local) {
            self.buffer.clear();
            return Err(error);
        }
        Ok(&self.buffer)
    }
}

/// Where a size and a record's magic start.
fn find_magic(bytes: &[u8]) -> Option<usize> {
    let magics = [MAGIC_V1.to_be_bytes(), MAGIC_V2.to_be_bytes()];
    bytes.windows(4).skip(4).position(|window| magics.iter().any(|magic| magic == window))
}

fn be32(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}
