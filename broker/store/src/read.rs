use std::sync::Arc;

use bytes::Bytes;
use millrace_types::PhysicalOffset;
use millrace_types::record::Record;

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
