use std::ops::Range;

use crate::error::Fault;

/// What became of the records of a batch.
#[derive(Debug)]
pub struct Decisions {
    verdicts: Vec<Verdict>,
    outputs: Vec<Span>,
    bytes: Vec<u8>,
}

/// What became of one record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Out with it.
    Drop,
    /// It goes on as it is.
    Keep,
    /// Its outputs go on in its place; there may be none.
    Replace,
    /// The filter says that it cannot handle this record, or fails at it though it has seen no
    /// other.
    Failed(Box<Fault>),
    /// The time for the batch was over before it; hand it in again. A run decides about one record
    /// at least.
    NotReached,
}

/// What goes on in the place of a record. What is `None` is as in the record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Output<'a> {
    /// The number of the record.
    pub record: u32,
    /// Another key.
    pub key: Option<&'a [u8]>,
    /// Another body.
    pub body: Option<&'a [u8]>,
    /// Other properties.
    pub properties: Option<Properties<'a>>,
}

/// Properties that a module gives, as RocketMQ stores them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Properties<'a> {
    /// These and no others.
    Instead(&'a [u8]),
    /// These beside the record's own, of which those of the same name go.
    Beside(&'a [u8]),
}

/// An output by where it lies.
#[derive(Clone, Debug)]
struct Span {
    record: u32,
    key: Option<Range<usize>>,
    body: Option<Range<usize>>,
    properties: Option<(bool, Range<usize>)>,
}

impl Decisions {
    pub(crate) fn not_reached(records: usize) -> Self {
        let verdicts = vec![Verdict::NotReached; records];
        Self { verdicts, outputs: Vec::new(), bytes: Vec::new() }
    }

    /// What became of each record, in the order of the batch.
    pub fn verdicts(&self) -> &[Verdict] {
        &self.verdicts
    }

    /// What goes on in the place of those that are replaced, in the order of the batch.
    pub fn outputs(&self) -> impl ExactSizeIterator<Item = Output<'_>> {
        let part = |range: &Range<usize>| &self.bytes[range.clone()];
        self.outputs.iter().map(move |span| Output {
            record: span.record,
            key: span.key.as_ref().map(part),
            body: span.body.as_ref().map(part),
            properties: span.properties.as_ref().map(|(instead, range)| match instead {
                true => Properties::Instead(part(range)),
                false => Properties::Beside(part(range)),
            }),
        })
    }

    pub(crate) fn set(&mut self, record: u32, verdict: Verdict) {
        self.verdicts[record as usize] = verdict;
    }

    pub(crate) fn set_all(&mut self, records: &[u32], verdicts: Vec<Verdict>) {
        for (record, verdict) in records.iter().zip(verdicts) {
            self.set(*record, verdict);
        }
    }

    /// Keeps records or drops them.
    pub(crate) fn set_kept(&mut self, records: &[u32], kept: impl Iterator<Item = bool>) {
        for (record, kept) in records.iter().zip(kept) {
            self.set(*record, if kept { Verdict::Keep } else { Verdict::Drop });
        }
    }

    /// Takes in a copy.
    pub(crate) fn push_output(&mut self, output: &Output<'_>) {
        let mut keep = |part: &[u8]| {
            let begin = self.bytes.len();
            self.bytes.extend_from_slice(part);
            begin..self.bytes.len()
        };
        let span = Span {
            record: output.record,
            key: output.key.map(&mut keep),
            body: output.body.map(&mut keep),
            properties: output.properties.map(|properties| match properties {
                Properties::Instead(part) => (true, keep(part)),
                Properties::Beside(part) => (false, keep(part)),
            }),
        };
        self.outputs.push(span);
    }

    /// What the outputs take, bytes.
    pub(crate) fn output_bytes(&self) -> usize {
        self.bytes.len() + self.outputs.len() * size_of::<Span>()
    }

    /// Puts outputs in order: a record that was handled alone came before its neighbours.
    pub(crate) fn finish(&mut self) {
        self.outputs.sort_by_key(|output| output.record);
    }
}
