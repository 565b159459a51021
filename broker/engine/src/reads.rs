use std::collections::BTreeMap;

use bytes::Bytes;
use millrace_store::{Entry, LogReader, ReadError};
use millrace_types::{PhysicalOffset, QueueOffset};

use crate::letters::Letter;
use crate::transactions::Deciding;

/// No record is longer: no frame is that brings its message. Clients name any place they like, and
/// what only looks like a record there may say that it is as long as a segment.
pub const RECORD_BYTES_MAX: u64 = 16 << 20;

/// Names a read until its result is handed back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ReadId(u64);

/// Records that the engine needs and does not read itself, because they may have to come from a
/// disk. The shell carries it out wherever it may wait, and hands the result to
/// [`crate::Engine::on_read`].
#[derive(Clone, Debug)]
pub struct Read {
    /// Under which the result is handed back.
    pub id: ReadId,
    wanted: Wanted,
}

#[derive(Clone, Debug)]
enum Wanted {
    Entries(Vec<Entry>),
    /// The record that starts here, if it ends before the other.
    Record(PhysicalOffset, PhysicalOffset),
}

impl Read {
    /// Whether the records are expected to be in memory.
    pub fn is_hot(&self, reader: &LogReader) -> bool {
        match &self.wanted {
            Wanted::Entries(entries) => {
                let oldest = entries.iter().find(|entry| entry.size > 0);
                oldest.is_none_or(|entry| reader.is_hot(entry.physical_offset))
            }
            Wanted::Record(at, _) => reader.is_hot(*at),
        }
    }

    /// Reads; may wait for the disk.
    pub fn run(&self, reader: &LogReader) -> Result<Vec<Bytes>, ReadError> {
        match &self.wanted {
            Wanted::Entries(entries) => reader.read(entries),
            Wanted::Record(at, limit) => reader.record_at(*at, *limit).map(|bytes| vec![bytes]),
        }
    }
}

/// What the engine does once a read is done.
#[derive(Debug)]
pub(crate) enum Reader {
    /// Delivers messages of a delay level, counted from 0.
    Level(usize),
    /// Stores a copy of a message whose consumption failed.
    Letter(Letter),
    /// Carries out a producer's decision over a half message.
    Decision(Deciding),
    /// Asks a producer about a half message.
    Check(QueueOffset),
}

/// The reads that are under way.
#[derive(Debug, Default)]
pub(crate) struct Reads {
    last: u64,
    under_way: BTreeMap<ReadId, Reader>,
}

impl Reads {
    pub(crate) fn entries(&mut self, reader: Reader, entries: Vec<Entry>) -> Read {
        self.begin(reader, Wanted::Entries(entries))
    }

    pub(crate) fn record(
        &mut self,
        reader: Reader,
        at: PhysicalOffset,
        limit: PhysicalOffset,
    ) -> Read {
        self.begin(reader, Wanted::Record(at, limit.min(at + RECORD_BYTES_MAX)))
    }

    fn begin(&mut self, reader: Reader, wanted: Wanted) -> Read {
        self.last += 1;
        let id = ReadId(self.last);
        self.under_way.insert(id, reader);
        Read { id, wanted }
    }

    pub(crate) fn end(&mut self, id: ReadId) -> Option<Reader> {
        self.under_way.remove(&id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_is_read_than_a_record_can_have() {
        let mut reads = Reads::default();
        for (limit, expected) in [(100, 100), (u64::MAX, 7 + RECORD_BYTES_MAX)] {
            let (reader, limit) = (Reader::Check(QueueOffset(0)), PhysicalOffset(limit));
            let read = reads.record(reader, PhysicalOffset(7), limit);
            let Wanted::Record(_, until) = read.wanted else { panic!("{read:?}") };
            assert_eq!(until, PhysicalOffset(expected));
        }
    }
}
