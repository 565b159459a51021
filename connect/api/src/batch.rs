use std::ops::Range;
use std::sync::Arc;

use arrow_array::ArrayRef;
use bytes::Bytes;
use millrace_types::record::{Record, sys_flag};
use millrace_types::{Properties, QueueOffset};

use crate::{QueueRef, RowAt};

/// Messages of one queue as the log holds them, with where each part of them lies; or what steps
/// made of them.
///
/// Their offsets ascend. Where a step has taken messages apart, the pieces of one stand in the place
/// of it, in the order of their numbers.
#[derive(Debug)]
pub struct Messages {
    queue: QueueRef,
    from: QueueOffset,
    to: QueueOffset,
    runs: Vec<Bytes>,
    entries: Vec<Entry>,
    /// The numbers of those whose body is compressed in the log.
    compressed: Vec<u32>,
    /// The numbers of those whose body nobody can read, and why.
    unreadable: Vec<(u32, &'static str)>,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    run: u32,
    record_at: u32,
    /// Its number among the messages that were pulled.
    pulled: u32,
    index: Option<u32>,
    body: Place,
    properties: Place,
    queue_offset: QueueOffset,
    store_at_ms: i64,
}

/// Bytes in one of the runs.
#[derive(Clone, Copy, Debug)]
struct Place {
    run: u32,
    at: u32,
    len: u32,
}

/// Another body or other properties for a message, by where they lie in bytes that come with it.
/// What is `None` stays.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Change {
    /// The message's number.
    pub row: usize,
    /// The body.
    pub body: Option<Range<usize>>,
    /// The properties.
    pub properties: Option<Range<usize>>,
}

/// A row that a step makes of a message, of which it may make several.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// The message's number.
    pub row: usize,
    /// The number of the piece, from 0 on; `None` for the message as a whole.
    pub index: Option<u32>,
    /// The body.
    pub body: PieceBody,
    /// Other properties than those of the message, by where they lie in the bytes that come with
    /// the pieces.
    pub properties: Option<Range<usize>>,
}

/// Where the body of a [`Piece`] lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PieceBody {
    /// It is that of the message.
    Same,
    /// It is this part of the message's.
    Within(Range<usize>),
    /// It lies in the bytes that come with the pieces.
    New(Range<usize>),
}

/// A pulled run of bytes does not consist of whole records of ascending queue offsets.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the pulled bytes are damaged after queue offset {after}")]
pub struct DamagedRun {
    /// The last queue offset that could be read.
    pub after: QueueOffset,
}

/// One message of a [`Messages`].
#[derive(Clone, Copy, Debug)]
pub struct Message<'a> {
    /// Where it stands in its queue.
    pub queue_offset: QueueOffset,
    /// Its number, if it is a piece of what stands there.
    pub index: Option<u32>,
    /// When the broker stored it, milliseconds since the Unix epoch. The time of a record in a
    /// pipeline, because it is the same each time the record is read.
    pub store_at_ms: i64,
    /// The payload.
    pub body: &'a [u8],
    /// The properties.
    pub properties: Properties<'a>,
}

impl Messages {
    /// Indexes pulled bytes. `from..to` is what the pull covered, which may be more than the
    /// records in it.
    pub fn parse(
        queue: QueueRef,
        from: QueueOffset,
        to: QueueOffset,
        runs: Vec<Bytes>,
    ) -> Result<Self, DamagedRun> {
        let (mut entries, mut compressed) = (Vec::new(), Vec::new());
        let mut next = from;
        for (run, bytes) in runs.iter().enumerate() {
            let mut at = 0;
            while at < bytes.len() {
                let record = Record::parse(&bytes[at..]).map_err(|_| DamagedRun { after: next })?;
                let queue_offset = record.queue_offset();
                if queue_offset < next || queue_offset >= to {
                    return Err(DamagedRun { after: next });
                }
                next = queue_offset + 1;
                if record.sys_flag() & sys_flag::COMPRESSED != 0 {
                    compressed.push(entries.len() as u32);
                }
                let place = |range: Range<usize>| Place {
                    run: run as u32,
                    at: (at + range.start) as u32,
                    len: range.len() as u32,
                };
                entries.push(Entry {
                    run: run as u32,
                    record_at: at as u32,
                    pulled: entries.len() as u32,
                    index: None,
                    body: place(record.body_range()),
                    properties: place(record.properties_range()),
                    queue_offset,
                    store_at_ms: record.store_at_ms(),
                });
                at += record.as_bytes().len();
            }
        }
        Ok(Self { queue, from, to, runs, entries, compressed, unreadable: Vec::new() })
    }

    /// The queue all of them come from.
    pub fn queue(&self) -> &QueueRef {
        &self.queue
    }

    /// First queue offset covered.
    pub fn from(&self) -> QueueOffset {
        self.from
    }

    /// One past the last queue offset covered.
    pub fn to(&self) -> QueueOffset {
        self.to
    }

    /// How many messages there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Message number `row`.
    ///
    /// # Panics
    /// If there are not that many.
    pub fn get(&self, row: usize) -> Message<'_> {
        let entry = self.entries[row];
        let part =
            |Place { run, at, len }: Place| &self.runs[run as usize][at as usize..][..len as usize];
        Message {
            queue_offset: entry.queue_offset,
            index: entry.index,
            store_at_ms: entry.store_at_ms,
            body: part(entry.body),
            properties: Properties::new(part(entry.properties)),
        }
    }

    /// Which row of the queue number `row` is.
    pub fn row_at(&self, row: usize) -> RowAt {
        let Entry { queue_offset, index, .. } = self.entries[row];
        RowAt { offset: queue_offset, index }
    }

    /// The number that number `row` had among the messages that were pulled.
    pub fn pulled_row(&self, row: usize) -> usize {
        self.entries[row].pulled as usize
    }

    /// These messages, each as often as it is named, as if they had been pulled so.
    ///
    /// # Panics
    /// If there is no such message, or they are not named in their order.
    #[must_use]
    pub fn repeated(&self, rows: &[usize]) -> Self {
        assert!(rows.is_sorted(), "in the order of the messages");
        let entry =
            |(number, row): (usize, &usize)| Entry { pulled: number as u32, ..self.entries[*row] };
        let entries = rows.iter().enumerate().map(entry).collect();
        let (queue, runs) = (self.queue.clone(), self.runs.clone());
        let numbered = || (0_u32..).zip(rows);
        let is_compressed = |row: &usize| self.compressed.binary_search(&(*row as u32)).is_ok();
        let compressed = numbered().filter(|(_, row)| is_compressed(row)).map(|(number, _)| number);
        let reason = |row: usize| {
            let at = self.unreadable.binary_search_by_key(&(row as u32), |(row, _)| *row).ok()?;
            Some(self.unreadable[at].1)
        };
        let unreadable = numbered().filter_map(|(number, row)| Some((number, reason(*row)?)));
        let (compressed, unreadable) = (compressed.collect(), unreadable.collect());
        Self { queue, from: self.from, to: self.to, runs, entries, compressed, unreadable }
    }

    /// The numbers of the messages whose body is compressed in the log, ascending. It is given as it
    /// lies there, until [`Messages::changed`] puts another one in its place.
    pub fn compressed(&self) -> &[u32] {
        &self.compressed
    }

    /// The numbers of the messages whose body cannot be read, ascending, and why.
    pub fn unreadable(&self) -> &[(u32, &'static str)] {
        &self.unreadable
    }

    /// The same messages, of which some cannot be read.
    ///
    /// # Panics
    /// If they are not named in their order.
    #[must_use]
    pub fn with_unreadable(mut self, unreadable: Vec<(u32, &'static str)>) -> Self {
        assert!(unreadable.is_sorted_by_key(|(row, _)| *row), "in the order of the messages");
        self.unreadable = unreadable;
        self
    }

    /// Those before number `row` alone, as if no more had been pulled.
    #[must_use]
    pub fn before(mut self, row: usize) -> Self {
        if let Some(entry) = self.entries.get(row) {
            self.to = entry.queue_offset;
            self.entries.truncate(row);
            self.compressed.retain(|compressed| (*compressed as usize) < row);
            self.unreadable.retain(|(unreadable, _)| (*unreadable as usize) < row);
        }
        self
    }

    /// The most bytes that [`Messages::changed`] and [`Messages::in_pieces`] take: where parts of messages lie is told in 32
    /// bits.
    pub const CHANGED_BYTES_MAX: u64 = u32::MAX as u64;

    /// The same messages, but that some have other bodies or properties, which lie in `bytes`.
    /// [`Messages::record`] still gives what the broker stored.
    ///
    /// # Panics
    /// If there is no such message, or `bytes` are more than [`Messages::CHANGED_BYTES_MAX`].
    #[must_use]
    pub fn changed(&self, bytes: Bytes, changes: impl IntoIterator<Item = Change>) -> Self {
        assert!(bytes.len() as u64 <= Self::CHANGED_BYTES_MAX, "places are of 32 bits");
        let run = self.runs.len() as u32;
        let place = |range: Range<usize>| {
            assert!(range.end <= bytes.len(), "what changes lies in the bytes");
            Place { run, at: range.start as u32, len: range.len() as u32 }
        };
        let mut entries = self.entries.clone();
        for Change { row, body, properties } in changes {
            let entry = &mut entries[row];
            entry.body = body.map_or(entry.body, place);
            entry.properties = properties.map_or(entry.properties, place);
        }
        let mut runs = self.runs.clone();
        runs.push(bytes);
        let (compressed, unreadable) = (self.compressed.clone(), self.unreadable.clone());
        let (queue, from, to) = (self.queue.clone(), self.from, self.to);
        Self { queue, from, to, runs, entries, compressed, unreadable }
    }

    /// What a step makes of the messages: those it does not name are gone, and others may be there
    /// more than once.
    ///
    /// # Panics
    /// If the pieces are not in the order of their messages and their numbers, lie outside of what
    /// they are said to lie in, or are made of pieces; or if `bytes` are more than
    /// [`Messages::CHANGED_BYTES_MAX`].
    #[must_use]
    pub fn in_pieces(&self, bytes: Bytes, pieces: impl IntoIterator<Item = Piece>) -> Self {
        assert!(bytes.len() as u64 <= Self::CHANGED_BYTES_MAX, "places are of 32 bits");
        let run = self.runs.len() as u32;
        let place = |range: Range<usize>| {
            assert!(range.end <= bytes.len(), "what is new lies in the bytes");
            Place { run, at: range.start as u32, len: range.len() as u32 }
        };
        let mut last = None;
        let entry = |Piece { row, index, body, properties }| {
            let own = self.entries[row];
            assert!(own.index.is_none(), "a piece is not taken apart again");
            assert!(last.replace((row, index)) < Some((row, index)), "in their order");
            let body = match body {
                PieceBody::Same => own.body,
                PieceBody::New(range) => place(range),
                PieceBody::Within(Range { start, end }) => {
                    assert!(start <= end && end <= own.body.len as usize, "within the body");
                    let (at, len) = (own.body.at + start as u32, (end - start) as u32);
                    Place { run: own.body.run, at, len }
                }
            };
            Entry { index, body, properties: properties.map_or(own.properties, place), ..own }
        };
        let entries = pieces.into_iter().map(entry).collect();
        let mut runs = self.runs.clone();
        runs.push(bytes);
        let (queue, from, to) = (self.queue.clone(), self.from, self.to);
        // Pieces are rows, and numbered as such.
        let (compressed, unreadable) = (Vec::new(), Vec::new());
        Self { queue, from, to, runs, entries, compressed, unreadable }
    }

    /// Message number `row` as the whole record, for what [`Message`] leaves out.
    pub fn record(&self, row: usize) -> Option<Record<'_>> {
        let entry = self.entries.get(row)?;
        Record::parse(&self.runs[entry.run as usize][entry.record_at as usize..]).ok()
    }

    /// All messages in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Message<'_>> {
        (0..self.len()).map(|row| self.get(row))
    }

    /// Bytes that the records take.
    pub fn bytes(&self) -> usize {
        self.runs.iter().map(Bytes::len).sum()
    }
}

/// Which messages of a batch are still in it, as ascending row numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selection {
    /// Every row.
    All(usize),
    /// These rows.
    Rows(Arc<[u32]>),
}

impl Selection {
    /// How many rows are selected.
    pub fn len(&self) -> usize {
        match self {
            Selection::All(len) => *len,
            Selection::Rows(rows) => rows.len(),
        }
    }

    /// Whether no row is selected.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The selected row numbers, ascending.
    pub fn iter(&self) -> impl Iterator<Item = usize> {
        let (all, rows): (_, &[u32]) = match self {
            Selection::All(len) => (0..*len, &[]),
            Selection::Rows(rows) => (0..0, rows),
        };
        all.chain(rows.iter().map(|&row| row as usize))
    }
}

/// Messages of one queue, a selection among them, and their columns.
///
/// Every column has one row per *message*, selected or not, so that a filter only narrows the
/// selection and columns are shared between the sinks of a pipeline. The value of an unselected
/// row means nothing.
#[derive(Clone, Debug)]
pub struct Batch {
    messages: Arc<Messages>,
    selection: Selection,
    columns: Vec<(Arc<str>, ArrayRef)>,
}

impl Batch {
    /// All messages, no columns yet.
    pub fn new(messages: Arc<Messages>) -> Self {
        let selection = Selection::All(messages.len());
        Self { messages, selection, columns: Vec::new() }
    }

    /// The messages, selected or not.
    pub fn messages(&self) -> &Arc<Messages> {
        &self.messages
    }

    /// Which of them are still in the batch.
    pub fn selection(&self) -> &Selection {
        &self.selection
    }

    /// The columns in the order in which they were added.
    pub fn columns(&self) -> &[(Arc<str>, ArrayRef)] {
        &self.columns
    }

    /// The column of this name.
    pub fn column(&self, name: &str) -> Option<&ArrayRef> {
        self.columns.iter().find(|(known, _)| **known == *name).map(|(_, column)| column)
    }

    /// The same batch with another selection.
    #[must_use]
    pub fn with_selection(mut self, selection: Selection) -> Self {
        self.selection = selection;
        self
    }

    /// The same batch over messages that were changed.
    ///
    /// # Panics
    /// If there are more or fewer of them, or columns, which are of the messages as they were.
    #[must_use]
    pub fn with_messages(mut self, messages: Arc<Messages>) -> Self {
        assert_eq!(messages.len(), self.messages.len(), "as many messages");
        assert!(self.columns.is_empty(), "columns of messages as they were");
        self.messages = messages;
        self
    }

    /// The same batch with a column added, or replaced where it stands.
    ///
    /// # Panics
    /// If the column does not have one row per message.
    #[must_use]
    pub fn with_column(mut self, name: Arc<str>, column: ArrayRef) -> Self {
        assert_eq!(column.len(), self.messages.len(), "one row per message in `{name}`");
        match self.columns.iter_mut().find(|(known, _)| *known == name) {
            Some(slot) => slot.1 = column,
            None => self.columns.push((name, column)),
        }
        self
    }
}
