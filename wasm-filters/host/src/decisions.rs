use std::ops::Range;

use crate::error::Fault;

/// What became of the records of a batch.
#[derive(Debug)]
pub struct Decisions {
    verdicts: Vec<Verdict>,
    outputs: Vec<Span>,
    bytes: Vec<u8>,
    ticks: u32,
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
    /// The filter cannot handle this record, in an instance that has seen no other.
    Failed(Fault),
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
pub(crate) struct Span {
    pub(crate) record: u32,
    pub(crate) key: Option<Range<usize>>,
    pub(crate) body: Option<Range<usize>>,
    pub(crate) properties: Option<(bool, Range<usize>)>,
}

impl Decisions {
    pub(crate) fn not_reached(records: usize) -> Self {
        let verdicts = vec![Verdict::NotReached; records];
        Self { verdicts, outputs: Vec::new(), bytes: Vec::new(), ticks: 0 }
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

    /// How many ticks the module was seen running at.
    pub fn ticks(&self) -> u32 {
        self.ticks
    }

    pub(crate) fn set(&mut self, record: u32, verdict: Verdict) {
        self.verdicts[record as usize] = verdict;
    }

    /// Takes bytes in, and says where they lie now.
    pub(crate) fn keep_bytes(&mut self, bytes: &[u8]) -> Range<usize> {
        let begin = self.bytes.len();
        self.bytes.extend_from_slice(bytes);
        begin..self.bytes.len()
    }

    pub(crate) fn push_output(&mut self, output: Span) {
        self.outputs.push(output);
    }

    /// How much is in it, for [`Decisions::cut_back`].
    pub(crate) fn mark(&self) -> (usize, usize) {
        (self.outputs.len(), self.bytes.len())
    }

    /// Forgets the outputs since a mark and the verdicts on these records.
    pub(crate) fn cut_back(&mut self, (outputs, bytes): (usize, usize), records: &[u32]) {
        self.outputs.truncate(outputs);
        self.bytes.truncate(bytes);
        records.iter().for_each(|record| self.set(*record, Verdict::NotReached));
    }

    /// Puts outputs in order: a record that was handled alone came before its neighbours.
    pub(crate) fn finish(&mut self, ticks: u32) {
        self.outputs.sort_by_key(|output| output.record);
        self.ticks = ticks;
    }
}
