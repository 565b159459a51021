use std::sync::Arc;

use bytes::Bytes;
use millrace_types::PhysicalOffset;
use millrace_types::record::{PREFIX_BYTES, Record};

use crate::commit_log::Segments;
use crate::error::ReadError;
use crate::queue_index::Entry;

/// Reads records by where they lie, verifying each. Cheap to clone, usable from any thread.
#[derive(Clone, Debug)]
pub struct LogReader {
    pub(crate) segments: Arc<Segments>,
}

impl LogReader {
    /// Whether reading here is expected to find the bytes in memory: the newest two segments.
    pub fn is_hot(&self, at: PhysicalOffset) -> bool {
        self.segments.after(at) < 3
    }

    /// The records of some entries, joined where they follow one another in the log. Entries of
    /// lost messages are passed over. All entries lie below the appended watermark.
    ///
    /// Hot bytes come from the memory map without a copy; others are read from the file, so that
    /// a bad sector is an error here and not a signal.
    pub fn read(&self, entries: &[Entry]) -> Result<Vec<Bytes>, ReadError> {
        let mut runs = Vec::new();
        let mut rest = entries.iter().filter(|entry| entry.size > 0).peekable();
        while let Some(first) = rest.next() {
            let start = first.physical_offset;
            let mut end = start + u64::from(first.size);
            let segment = self
                .segments
                .holding(start)
                .ok_or(ReadError::Damaged { at: start, reason: "no segment holds it".into() })?;
            while let Some(next) = rest
                .next_if(|next| next.physical_offset == end && next.physical_offset < segment.end())
            {
                end = end + u64::from(next.size);
            }
            if end > segment.end() {
                let reason = "the index points outside of the segment".into();
                return Err(ReadError::Damaged { at: start, reason });
            }
            let bytes = if self.is_hot(start) {
                segment.slice(start, end.since(start))
            } else {
                self.read_file(&*segment.file, start, start.since(segment.base), end.since(start))?
            };
            verify(&bytes, start)?;
            runs.push(bytes);
        }
        Ok(runs)
    }

    /// The record that starts at `at` and ends at or before `limit`, which is at most the appended
    /// watermark.
    pub fn record_at(&self, at: PhysicalOffset, limit: PhysicalOffset) -> Result<Bytes, ReadError> {
        let damaged = |reason: &str| ReadError::Damaged { at, reason: reason.into() };
        let segment = self.segments.holding(at);
        let segment = segment.ok_or_else(|| damaged("no segment holds it"))?;
        let read = |len: u64| {
            if at + len > limit {
                Err(ReadError::BeyondLimit { at })
            } else if at + len > segment.end() {
                Err(damaged("it leaves the segment"))
            } else if self.is_hot(at) {
                Ok(segment.slice(at, len))
            } else {
                self.read_file(&*segment.file, at, at.since(segment.base), len)
            }
        };
        let prefix = read(PREFIX_BYTES as u64)?;
        let size = u32::from_be_bytes([prefix[0], prefix[1], prefix[2], prefix[3]]);
        if (size as usize) < PREFIX_BYTES {
            return Err(damaged("no record starts here"));
        }
        let bytes = read(u64::from(size))?;
        verify(&bytes, at)?;
        Ok(bytes)
    }

    fn read_file(
        &self,
        file: &dyn millrace_disk::File,
        at: PhysicalOffset,
        local: u64,
        len: u64,
    ) -> Result<Bytes, ReadError> {
        let mut bytes = vec![0; len as usize];
        let mut filled = 0;
        while filled < bytes.len() {
            match file.read_at(&mut bytes[filled..], local + filled as u64) {
                Ok(0) => {
                    return Err(ReadError::Damaged {
                        at,
                        reason: "the file ends before it".into(),
                    });
                }
                Ok(n) => filled += n,
                Err(source) => return Err(ReadError::Io { at, source }),
            }
        }
        Ok(bytes.into())
    }
}

fn verify(mut bytes: &[u8], mut at: PhysicalOffset) -> Result<(), ReadError> {
    while !bytes.is_empty() {
        let record = Record::parse(bytes)
            .and_then(|record| record.verify_whole().map(|()| record))
            .map_err(|error| ReadError::Damaged { at, reason: error.to_string() })?;
        if record.physical_offset() != at {
            let reason = format!("it was written for {}", record.physical_offset());
            return Err(ReadError::Damaged { at, reason });
        }
        let len = record.as_bytes().len();
        bytes = &bytes[len..];
        at = at + len as u64;
    }
    Ok(())
}
