use std::io;
use std::sync::Arc;

use bytes::Bytes;
use millrace_types::PhysicalOffset;
use millrace_types::record::{PREFIX_BYTES, Record};

use crate::buffers::Buffers;
use crate::commit_log::Segments;
use crate::error::ReadError;
use crate::queue_index::Entry;
use crate::segment::Segment;
use crate::whole;

/// Reads records by where they lie, verifying each. Cheap to clone, usable from any thread.
#[derive(Clone, Debug)]
pub struct LogReader {
    pub(crate) segments: Arc<Segments>,
    pub(crate) buffers: Arc<Buffers>,
}

/// What a read gave that passes over damage.
#[derive(Debug, Default)]
pub struct ReadPast {
    /// The records.
    pub runs: Vec<Bytes>,
    /// The numbers of the entries whose records are damaged, and why each is.
    pub damaged: Vec<(usize, ReadError)>,
    /// The number of the first entry whose record cannot be read now; those after it were not
    /// tried.
    pub unread: Option<(usize, ReadError)>,
}

impl LogReader {
    /// Whether reading here finds the bytes in memory: written by this process not long ago. Other
    /// reads may wait for the disk.
    pub fn is_hot(&self, at: PhysicalOffset) -> bool {
        self.segments.is_hot(at)
    }

    /// Whether a record here is one of the newest, by whomever it was written.
    pub fn is_recent(&self, at: PhysicalOffset) -> bool {
        self.segments.is_recent(at)
    }

    /// The records of some entries, joined where they follow one another in the log. Entries of
    /// lost messages are passed over. All entries lie below the appended watermark.
    ///
    /// Hot bytes come from the memory map without a copy; others are read from the file, so that
    /// a bad sector is an error here and not a signal. Records that lie near each other are then
    /// read at once.
    pub fn read(&self, entries: &[Entry]) -> Result<Vec<Bytes>, ReadError> {
        let mut runs = Vec::new();
        self.read_runs(entries, &mut |run, at| {
            verify(&run, at, &mut |_| {})?;
            runs.push(run);
            Ok(())
        })?;
        Ok(runs)
    }

    /// The same records one by one, each handed over as soon as it is verified. After an error
    /// those before it have been.
    pub fn read_each(
        &self,
        entries: &[Entry],
        each: &mut dyn FnMut(&Record<'_>),
    ) -> Result<(), ReadError> {
        self.read_runs(entries, &mut |run, at| verify(&run, at, each))
    }

    fn read_runs(
        &self,
        entries: &[Entry],
        take: &mut dyn FnMut(Bytes, PhysicalOffset) -> Result<(), ReadError>,
    ) -> Result<(), ReadError> {
        let mut window: Option<(PhysicalOffset, Bytes)> = None;
        // The segment of the record before, and from where on it is hot.
        let mut last: Option<(Segment, PhysicalOffset)> = None;
        let mut rest = entries.iter().filter(|entry| entry.size > 0).peekable();
        while let Some(first) = rest.next() {
            let start = first.physical_offset;
            if first.is_unreadable() {
                let reason = "the index that leads to it cannot be read".into();
                return Err(ReadError::Absent { at: start, reason });
            }
            let mut end = start + u64::from(first.size);
            let (segment, hot_from) = match last.take() {
                Some(same) if same.0.base <= start && start < same.0.end() => &*last.insert(same),
                _ => {
                    let segment = self.holding(start)?;
                    let hot_from = self.segments.hot_from(&segment);
                    &*last.insert((segment, hot_from))
                }
            };
            while let Some(next) = rest
                .next_if(|next| next.physical_offset == end && next.physical_offset < segment.end())
            {
                end = end + u64::from(next.size);
            }
            if end > segment.end() {
                let reason = "the index points outside of the segment".into();
                return Err(ReadError::Absent { at: start, reason });
            }
            let len = end.since(start);
            let bytes = if start >= *hot_from {
                segment.slice(start, len).map_err(|source| ReadError::Io { at: start, source })?
            } else if let Some(within) = window.as_ref().and_then(|ahead| part(ahead, start, len)) {
                within
            } else {
                let ahead = reach(start, end, rest.clone(), segment.end());
                match self.read_file(segment, start, ahead.since(start)) {
                    Ok(bytes) => {
                        let within = bytes.slice(..len as usize);
                        window = Some((start, bytes));
                        within
                    }
                    // What lies further on must not hide this one.
                    Err(_) if ahead > end => self.read_file(segment, start, len)?,
                    Err(error) => return Err(error),
                }
            };
            take(bytes, start)?;
        }
        Ok(())
    }

    /// The same, passing over damaged records, up to the first entry whose record cannot be read
    /// now.
    pub fn read_past_damage(&self, entries: &[Entry]) -> ReadPast {
        let mut past = ReadPast::default();
        if let Ok(runs) = self.read(entries) {
            past.runs = runs;
            return past;
        }
        for (n, entry) in entries.iter().enumerate() {
            match self.read(std::slice::from_ref(entry)) {
                Ok(run) => past.runs.extend(run),
                Err(error @ ReadError::Damaged { .. }) => past.damaged.push((n, error)),
                Err(error) => {
                    past.unread = Some((n, error));
                    break;
                }
            }
        }
        past
    }

    /// The record that starts at `at` and ends at or before `limit`, which is at most the appended
    /// watermark.
    pub fn record_at(&self, at: PhysicalOffset, limit: PhysicalOffset) -> Result<Bytes, ReadError> {
        let damaged = |reason: &str| ReadError::Damaged { at, reason: reason.into() };
        let segment = self.holding(at)?;
        let read = |len: u64| {
            if at + len > limit {
                Err(ReadError::BeyondLimit { at })
            } else if at + len > segment.end() {
                Err(damaged("it leaves the segment"))
            } else if self.is_hot(at) {
                segment.slice(at, len).map_err(|source| ReadError::Io { at, source })
            } else {
                self.read_file(&segment, at, len)
            }
        };
        let prefix = read(PREFIX_BYTES as u64)?;
        let size = u32::from_be_bytes([prefix[0], prefix[1], prefix[2], prefix[3]]);
        if (size as usize) < PREFIX_BYTES {
            return Err(damaged("no record starts here"));
        }
        let bytes = read(u64::from(size))?;
        verify(&bytes, at, &mut |_| {})?;
        Ok(bytes)
    }

    fn holding(&self, at: PhysicalOffset) -> Result<Segment, ReadError> {
        self.segments.holding(at).ok_or_else(|| {
            if at < self.segments.min() {
                ReadError::Removed { at }
            } else {
                ReadError::Absent { at, reason: "no segment holds it".into() }
            }
        })
    }

    fn read_file(
        &self,
        segment: &Segment,
        at: PhysicalOffset,
        len: u64,
    ) -> Result<Bytes, ReadError> {
        let local = at.since(segment.base);
        self.buffers.filled(len as usize, |bytes| {
            whole::read(&*segment.file, bytes, local).map_err(|source| match source.kind() {
                io::ErrorKind::UnexpectedEof => {
                    ReadError::Absent { at, reason: "the file ends before it".into() }
                }
                _ => ReadError::Io { at, source },
            })
        })
    }
}

/// Cold records are read together as far as this, if one byte in four of it is wanted.
const AHEAD_BYTES: u64 = 256 << 10;

/// How far it pays to read from `start` on for the sake of the entries after `end`.
fn reach<'a>(
    start: PhysicalOffset,
    end: PhysicalOffset,
    rest: impl Iterator<Item = &'a Entry>,
    limit: PhysicalOffset,
) -> PhysicalOffset {
    let (mut far, mut wanted) = (end, end.since(start));
    for entry in rest {
        let next = entry.physical_offset + u64::from(entry.size);
        wanted += u64::from(entry.size);
        let pays = entry.physical_offset >= far
            && next <= limit
            && next.since(start) <= AHEAD_BYTES.min(4 * wanted);
        if !pays {
            break;
        }
        far = next;
    }
    far
}

/// Part of what was read ahead.
fn part((from, bytes): &(PhysicalOffset, Bytes), start: PhysicalOffset, len: u64) -> Option<Bytes> {
    let at = start.0.checked_sub(from.0)?;
    (at + len <= bytes.len() as u64).then(|| bytes.slice(at as usize..(at + len) as usize))
}

fn verify(
    mut bytes: &[u8],
    mut at: PhysicalOffset,
    each: &mut dyn FnMut(&Record<'_>),
) -> Result<(), ReadError> {
    while !bytes.is_empty() {
        let record = Record::parse(bytes)
            .and_then(|record| record.verify_whole().map(|()| record))
            .map_err(|error| ReadError::Damaged { at, reason: error.to_string() })?;
        if record.physical_offset() != at {
            let reason = format!("it was written for {}", record.physical_offset());
            return Err(ReadError::Damaged { at, reason });
        }
        each(&record);
        let len = record.as_bytes().len();
        bytes = &bytes[len..];
        at = at + len as u64;
    }
    Ok(())
}
