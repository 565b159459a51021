use std::collections::{BTreeMap, BTreeSet};

use millrace_connect_api::{Part, QueueRef, Resume, RowAt};

use super::offset_set::OffsetSet;
use super::record::{
    Entry, LetterRows, Offsets, PlannedPart, Record, SinkMark, SourceMark, StateMark, UnsettledMark,
};

/// What the ledger of one pipeline says, after some or all of its records.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LedgerState {
    /// The highest epoch so far; 0 before the first worker.
    pub epoch: u64,
    /// Who holds it.
    pub worker: Option<String>,
    /// How far the source is.
    pub source: Option<SourceMark>,
    /// By sink.
    pub sinks: BTreeMap<String, SinkState>,
}

/// A record of the ledger, as read.
#[derive(Clone, Debug, PartialEq)]
pub struct Read {
    /// The epoch of who wrote it.
    pub epoch: u64,
    /// Whether the ledger is to be read as if nothing came before.
    pub starts_anew: bool,
    /// What it says.
    pub entry: Entry,
}

/// What the ledger says about one sink.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SinkState {
    /// Where reading goes on; `None` before the first COMMITTED.
    pub resume: Option<Resume>,
    /// The layout that the partitions of `resume` belong to.
    pub layout: String,
    /// Parts that are planned and neither committed nor aborted, by the PLANNED they were in. No
    /// worker plans before it has settled what was planned before, so there is at most one, unless
    /// a broker that knows no fences let two workers through.
    pub planned: Vec<Unsettled>,
    /// A part number that was never used.
    pub next_part_id: u64,
    /// Numbers that a PLANNED has used.
    pub(super) planned_ids: PartIds,
    /// Rows of messages at or after `resume` that are dead letters already.
    pub lettered: BTreeMap<QueueRef, BTreeSet<RowAt>>,
    /// Parts committed so far.
    pub parts: u64,
    /// Bytes of these.
    pub bytes: u64,
    /// Dead letters so far, by code.
    pub letters: BTreeMap<String, u64>,
    /// Dead letters that were replayed.
    pub replayed: OffsetSet,
    /// Dead letters that were dropped.
    pub dropped: OffsetSet,
}

/// Parts whose fate the ledger does not tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unsettled {
    /// The parts.
    pub parts: Vec<Part>,
    /// Where reading goes on once all of them are committed.
    pub resume: Resume,
    /// The dead letters that are replayed then.
    pub letters: OffsetSet,
}

impl LedgerState {
    /// Takes in the next record as it was read.
    pub fn take(&mut self, read: &Read) -> Result<(), String> {
        if read.starts_anew {
            *self = Self::default();
        }
        self.fold(read.epoch, &read.entry)
    }

    /// Takes in the next record of the queue, with the epoch its message carries. An error says
    /// what is wrong with the record.
    ///
    /// A record of an epoch lower than one before it is a zombie's, which only a broker without
    /// fences lets in; it is as if it were not there. Of two leases for one epoch the first holds.
    pub fn fold(&mut self, epoch: u64, entry: &Entry) -> Result<(), String> {
        if epoch < self.epoch {
            return Ok(());
        }
        match &entry.record {
            Record::Lease(lease) => {
                if epoch > self.epoch {
                    self.worker = Some(lease.worker.clone());
                }
            }
            Record::Source(mark) => self.source = Some(mark.clone()),
            Record::Planned(planned) => {
                let sink = self.sink(&planned.sink);
                let mut parts = Vec::new();
                // A number seen before means a second copy of the record. Numbers come in any
                // order: a part gets its number when it is opened, and the one opened first may
                // be due last.
                for part in &planned.parts {
                    if sink.planned_ids.insert(part.id) {
                        parts.push(part.read()?);
                        sink.next_part_id = sink.next_part_id.max(part.id + 1);
                    }
                }
                if !parts.is_empty() {
                    let (resume, letters) = (planned.resume.read()?, planned.letters.clone());
                    sink.planned.push(Unsettled { parts, resume, letters });
                }
            }
            Record::Committed(committed) => {
                let resume = committed.resume.read()?;
                let sink = self.sink(&committed.sink);
                for part in &committed.parts {
                    if sink.settle(part.id) {
                        sink.parts += 1;
                        sink.bytes += part.bytes;
                    }
                }
                for (queue, lettered) in &mut sink.lettered {
                    if let Some(next) = resume.next.get(queue) {
                        *lettered = lettered.split_off(&RowAt::whole(*next));
                    }
                }
                sink.lettered.retain(|_, lettered| !lettered.is_empty());
                sink.replayed.add(&committed.letters);
                sink.resume = Some(resume);
                sink.layout.clone_from(&committed.layout);
            }
            Record::Aborted(aborted) => {
                let sink = self.sink(&aborted.sink);
                for &part in &aborted.parts {
                    sink.settle(part);
                }
            }
            Record::Letters(letters) => {
                let sink = self.sink(&letters.sink);
                for rows in &letters.rows {
                    sink.lettered.entry(rows.queue()?).or_default().extend(rows.rows());
                }
                for (code, count) in &letters.counts {
                    *sink.letters.entry(code.clone()).or_default() += count;
                }
            }
            Record::Dropped(dropped) => self.sink(&dropped.sink).dropped.add(&dropped.letters),
            Record::State(mark) => *self = Self::of(mark)?,
        }
        self.epoch = epoch;
        Ok(())
    }

    /// All of it, as a record.
    pub(super) fn mark(&self) -> StateMark {
        let sinks = self.sinks.iter().map(|(name, sink)| sink.mark(name));
        let (worker, source) = (self.worker.clone(), self.source.clone());
        StateMark { worker, source, sinks: sinks.collect() }
    }

    fn of(mark: &StateMark) -> Result<Self, String> {
        let sinks = mark.sinks.iter().map(|sink| Ok((sink.sink.clone(), SinkState::of(sink)?)));
        let sinks = sinks.collect::<Result<_, String>>()?;
        Ok(Self { epoch: 0, worker: mark.worker.clone(), source: mark.source.clone(), sinks })
    }

    fn sink(&mut self, name: &str) -> &mut SinkState {
        self.sinks.entry(name.to_owned()).or_default()
    }
}

/// Part numbers, nearly all of them from 0 up to some number.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct PartIds {
    /// All before this are in it.
    below: u64,
    /// Those in it that are not.
    above: BTreeSet<u64>,
}

impl PartIds {
    /// Adds a number; whether it is new.
    fn insert(&mut self, id: u64) -> bool {
        let new = id >= self.below && self.above.insert(id);
        while self.above.remove(&self.below) {
            self.below += 1;
        }
        new
    }
}

impl SinkState {
    fn mark(&self, name: &str) -> SinkMark {
        let planned = self.planned.iter().map(|unsettled| UnsettledMark {
            parts: unsettled.parts.iter().map(PlannedPart::new).collect(),
            resume: Offsets::new(&unsettled.resume),
            letters: unsettled.letters.clone(),
        });
        let lettered = self.lettered.iter().map(|(queue, rows)| LetterRows::new(queue, rows));
        SinkMark {
            sink: name.to_owned(),
            resume: self.resume.as_ref().map(Offsets::new),
            layout: self.layout.clone(),
            planned: planned.collect(),
            next_part_id: self.next_part_id,
            planned_below: self.planned_ids.below,
            planned_above: self.planned_ids.above.iter().copied().collect(),
            lettered: lettered.collect(),
            parts: self.parts,
            bytes: self.bytes,
            letters: self.letters.clone(),
            replayed: self.replayed.clone(),
            dropped: self.dropped.clone(),
        }
    }

    fn of(mark: &SinkMark) -> Result<Self, String> {
        let planned = mark.planned.iter().map(|unsettled| -> Result<_, String> {
            let parts = unsettled.parts.iter().map(PlannedPart::read).collect::<Result<_, _>>()?;
            let (resume, letters) = (unsettled.resume.read()?, unsettled.letters.clone());
            Ok(Unsettled { parts, resume, letters })
        });
        let lettered = mark
            .lettered
            .iter()
            .map(|rows| -> Result<_, String> { Ok((rows.queue()?, rows.rows().collect())) });
        let (below, above) = (mark.planned_below, mark.planned_above.iter().copied().collect());
        Ok(Self {
            resume: mark.resume.as_ref().map(Offsets::read).transpose()?,
            layout: mark.layout.clone(),
            planned: planned.collect::<Result<_, _>>()?,
            next_part_id: mark.next_part_id,
            planned_ids: PartIds { below, above },
            lettered: lettered.collect::<Result<_, _>>()?,
            parts: mark.parts,
            bytes: mark.bytes,
            letters: mark.letters.clone(),
            replayed: mark.replayed.clone(),
            dropped: mark.dropped.clone(),
        })
    }

    /// Takes a part out of the unsettled ones; whether it was among them.
    fn settle(&mut self, id: u64) -> bool {
        let mut found = false;
        for unsettled in &mut self.planned {
            let before = unsettled.parts.len();
            unsettled.parts.retain(|part| part.id != id);
            found |= unsettled.parts.len() < before;
        }
        self.planned.retain(|unsettled| !unsettled.parts.is_empty());
        found
    }
}
