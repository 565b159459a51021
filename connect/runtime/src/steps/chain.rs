use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use millrace_config::{OnUnknown, Pipeline, Resolved, SinkKind, SinkSpec, Slot, StepSpec};
use millrace_connect_api::decode::{Decoder, code::COMPRESSION};
use millrace_connect_api::{Batch, Column, Messages, Reject, RejectCode, RowAt, Selection, Step};

use super::cast::Cast;
use super::dedupe::Dedupe;
use super::filter::Filter;
use super::rename::Rename;
use super::sample::Sample;
use super::set::Set;
use super::split::Split;
use super::wasm::Shared;
use super::without;
use crate::error::RunError;
use crate::filters::{Filters, StepAt};

/// What happens to the messages of one sink: filters that need only the message, then decoding,
/// then everything else, in the order of the file.
///
/// Only filters and modules that come first in the file run before decoding. One behind a `set` could spare
/// decoding too, but then a row that `set` refuses would be filtered and not become a letter.
pub(crate) struct Chain {
    before: Vec<Named>,
    decoder: Box<dyn Decoder>,
    names: Vec<Arc<str>>,
    after: Vec<Named>,
    takes_apart: bool,
    takes_long: bool,
    /// What was counted before the first message that counts.
    uncounted: Counts,
}

/// What steps have counted: rows by step and reason, and rows made.
#[derive(Default)]
struct Counts {
    filtered: BTreeMap<String, u64>,
    made: u64,
}

struct Named {
    name: String,
    step: Box<dyn Step>,
}

/// The steps of a chain while they are put together.
struct Steps<'a> {
    pipeline: &'a Arc<Pipeline>,
    filters: &'a Filters,
    passage: Passage,
    before: Vec<Named>,
    after: Vec<Named>,
    /// How many of them keep a share.
    samples: usize,
    /// What the next module shares with those before it, as far as they get the same messages.
    shared: Shared,
}

/// What goes through a chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Passage {
    /// All messages of the topic, queue by queue.
    Run,
    /// Some dead letters.
    Replay,
}

/// A row that cannot go on.
#[derive(Debug)]
pub(crate) struct Rejected {
    /// The number of its message among those that came into the chain.
    pub(crate) row: u32,
    /// Which row of the queue it is.
    pub(crate) at: RowAt,
    /// The step that refused it.
    pub(crate) step: String,
    /// Why.
    pub(crate) reject: Reject,
}

/// A letter is of a row that there is not any more.
const GONE: RejectCode = "E-DLQ-01";

/// The name of decoding where a step's name is asked for.
const DECODE: &str = "decode";

impl Rejected {
    /// Row number `row` of a batch, which may be a piece of a message.
    pub(crate) fn new(messages: &Messages, row: u32, step: &str, reject: Reject) -> Self {
        let (at, step) = (messages.row_at(row as usize), step.to_owned());
        Self { row: messages.pulled_row(row as usize) as u32, at, step, reject }
    }
}

impl Chain {
    pub(crate) fn new(
        pipeline: &Arc<Pipeline>,
        sink: &SinkSpec,
        filters: &Filters,
        passage: Passage,
    ) -> Result<Self, RunError> {
        let (before, after, shared) = (Vec::new(), Vec::new(), Shared::default());
        let mut steps = Steps { pipeline, filters, passage, before, after, samples: 0, shared };
        for (number, spec) in pipeline.steps.iter().enumerate() {
            steps.add(spec, StepAt { sink: None, number })?;
        }
        if let Some(condition) = &sink.where_ {
            steps.filter(format!("{} where", sink.name), condition, OnUnknown::Reject);
        }
        for (number, spec) in sink.steps.iter().enumerate() {
            steps.add(spec, StepAt { sink: Some(&sink.name), number })?;
        }
        let Steps { before, after, .. } = steps;
        let wanted = wanted(pipeline, sink);
        let decoder = pipeline.decode.decoder(&wanted).map_err(|error| {
            RunError::Setup(format!("sink `{}` cannot decode the topic: {error}", sink.name))
        })?;
        let names = wanted.iter().map(|column| column.name.as_str().into()).collect();
        let takes_apart = filters.take_apart(pipeline);
        let takes_long = pipeline.steps_to(sink).any(|spec| matches!(spec, StepSpec::Wasm(_)));
        let uncounted = Counts::default();
        Ok(Self { before, decoder, names, after, takes_apart, takes_long, uncounted })
    }

    /// Takes messages through all steps. Rows that cannot go on are no longer selected, and added
    /// to `rejected`.
    pub(crate) fn apply(
        &mut self,
        messages: Arc<Messages>,
        rejected: &mut Vec<Rejected>,
    ) -> Result<Batch, RunError> {
        self.apply_to(messages, None, rejected)
    }

    /// The same for some pieces of the messages alone, by number of the message: `None` means all of
    /// it. A piece that there is not is rejected.
    pub(crate) fn apply_to(
        &mut self,
        messages: Arc<Messages>,
        wanted: Option<&[Option<u32>]>,
        rejected: &mut Vec<Rejected>,
    ) -> Result<Batch, RunError> {
        let mut batch = readable(messages, rejected);
        for step in &mut self.before {
            batch = step.apply(batch, rejected)?;
        }
        if let Some(wanted) = wanted {
            batch = only(batch, wanted, rejected);
        }
        let decoded = self.decoder.decode(batch.messages(), batch.selection());
        if !decoded.rejects.is_empty() {
            let refused: BTreeSet<usize> =
                decoded.rejects.iter().map(|(row, _)| *row as usize).collect();
            let kept = batch.selection().iter().filter(|row| !refused.contains(row));
            let kept: Vec<u32> = kept.map(|row| row as u32).collect();
            batch = batch.with_selection(Selection::Rows(kept.into()));
            add_rejected(batch.messages(), DECODE, decoded.rejects, rejected);
        }
        for (name, column) in self.names.iter().zip(decoded.columns) {
            batch = batch.with_column(Arc::clone(name), column);
        }
        for step in &mut self.after {
            batch = step.apply(batch, rejected)?;
        }
        Ok(batch)
    }

    /// Whether some step may make several rows of one message.
    pub(crate) fn takes_apart(&self) -> bool {
        self.takes_apart
    }

    /// Whether some step may take so long over a batch that others should not wait for it.
    pub(crate) fn takes_long(&self) -> bool {
        self.takes_long
    }

    /// Takes messages through all steps for what these remember of them, and nothing else.
    pub(crate) fn remember(&mut self, messages: Arc<Messages>) -> Result<(), RunError> {
        self.apply(messages, &mut Vec::new())?;
        self.uncounted = self.counts();
        Ok(())
    }

    /// Rows made beyond one for each message.
    pub(crate) fn made(&self) -> u64 {
        let steps = self.before.iter().chain(&self.after);
        steps.map(|named| named.step.made()).sum::<u64>() - self.uncounted.made
    }

    /// Rows taken out on purpose, by step and reason.
    pub(crate) fn filtered(&self) -> BTreeMap<String, u64> {
        let mut filtered = self.counts().filtered;
        for (reason, rows) in &mut filtered {
            *rows -= self.uncounted.filtered.get(reason).copied().unwrap_or(0);
        }
        filtered.retain(|_, rows| *rows > 0);
        filtered
    }

    /// How many these are, and some that do not count.
    pub(crate) fn filtered_rows(&self) -> u64 {
        let steps = self.before.iter().chain(&self.after);
        steps.flat_map(|named| named.step.filtered()).map(|(_, rows)| rows).sum()
    }

    fn counts(&self) -> Counts {
        let steps = || self.before.iter().chain(&self.after);
        let filtered = steps().flat_map(|named| {
            let reasons = named.step.filtered();
            reasons.into_iter().map(|(reason, rows)| (format!("{} {reason}", named.name), rows))
        });
        Counts { filtered: filtered.collect(), made: steps().map(|named| named.step.made()).sum() }
    }
}

impl Steps<'_> {
    /// Adds a step behind those that are there.
    fn add(&mut self, spec: &StepSpec, at: StepAt<'_>) -> Result<(), RunError> {
        match spec {
            StepSpec::Filter { condition, on_unknown } => {
                self.filter(format!("{at} filter"), condition, *on_unknown);
            }
            StepSpec::Set(columns) => {
                let name = format!("{at} set");
                let set = Set::new(name.clone(), Arc::clone(self.pipeline), columns.clone());
                self.late(name, set);
            }
            StepSpec::Drop => {}
            StepSpec::Rename(columns) => {
                let name = format!("{at} rename");
                self.late(name.clone(), Rename::new(name, columns.clone()));
            }
            StepSpec::Cast(columns) => {
                let name = format!("{at} cast");
                self.late(name.clone(), Cast::new(name, columns)?);
            }
            StepSpec::Sample { rate } => {
                let sample = Sample::new(self.samples, *rate);
                self.samples += 1;
                self.early(format!("{at} sample"), sample);
            }
            // What was never delivered is no duplicate.
            StepSpec::Dedupe(_) if self.passage == Passage::Replay => {}
            StepSpec::Dedupe(spec) => {
                let name = format!("{at} dedupe");
                let dedupe = Dedupe::new(name.clone(), Arc::clone(self.pipeline), spec.clone());
                match dedupe.needs_no_columns() {
                    true => self.early(name, dedupe),
                    false => self.late(name, dedupe),
                }
            }
            StepSpec::Split(spec) => {
                let name = format!("{at} split");
                if !self.after.is_empty() {
                    let reason = format!("{name} must stand before steps that read columns");
                    return Err(RunError::Setup(reason));
                }
                let split = Split::new(name.clone(), spec, self.pipeline.limits.memory);
                self.early(name, split);
                self.shared = Shared::default();
            }
            StepSpec::Wasm(spec) => {
                let wasm = self.filters.step(at, spec, self.pipeline.limits.memory)?;
                if wasm.changes_messages() && !self.after.is_empty() {
                    return Err(RunError::Setup(format!(
                        "{} replaces messages, so it must stand before `set` and before filters \
                         that read the body",
                        wasm.name()
                    )));
                }
                let wasm = wasm.sharing(&self.shared);
                if wasm.changes_messages() {
                    self.shared = Shared::default();
                }
                self.early(wasm.name().to_owned(), wasm);
            }
        }
        Ok(())
    }

    fn filter(&mut self, name: String, condition: &Resolved, on_unknown: OnUnknown) {
        let of = Arc::clone(self.pipeline);
        let filter = Filter::new(name.clone(), of, condition.clone(), on_unknown);
        match filter.needs_no_columns() {
            true => self.early(name, filter),
            false => self.late(name, filter),
        }
    }

    /// Adds a step that needs only the message: before decoding if it can be.
    fn early(&mut self, name: String, step: impl Step + 'static) {
        let named = Named { name, step: Box::new(step) };
        if self.after.is_empty() { self.before.push(named) } else { self.after.push(named) }
    }

    /// Adds a step that needs columns.
    fn late(&mut self, name: String, step: impl Step + 'static) {
        self.after.push(Named { name, step: Box::new(step) });
    }
}

impl Named {
    fn apply(&mut self, batch: Batch, rejected: &mut Vec<Rejected>) -> Result<Batch, RunError> {
        let mut rejects = Vec::new();
        let batch = self.step.apply(batch, &mut rejects)?;
        add_rejected(batch.messages(), &self.name, rejects, rejected);
        Ok(batch)
    }
}

/// The messages whose body can be read.
fn readable(messages: Arc<Messages>, rejected: &mut Vec<Rejected>) -> Batch {
    let reject = |reason: &str| Reject { code: COMPRESSION, error: reason.to_owned(), field: None };
    let rejects = messages.unreadable().iter().map(|(row, reason)| (*row, reject(reason)));
    let rejects: Vec<_> = rejects.collect();
    let batch = without(Batch::new(messages), &rejects, 0);
    add_rejected(batch.messages(), DECODE, rejects, rejected);
    batch
}

/// The wanted pieces of each message.
fn only(batch: Batch, wanted: &[Option<u32>], rejected: &mut Vec<Rejected>) -> Batch {
    let messages = Arc::clone(batch.messages());
    let is_wanted = |message: usize, index: Option<u32>| match (wanted[message], index) {
        (Some(wanted), Some(index)) => wanted == index,
        (None, _) | (_, None) => true,
    };
    rejected.retain(|rejected| is_wanted(rejected.row as usize, rejected.at.index));
    let row_is_wanted =
        |row: &usize| is_wanted(messages.pulled_row(*row), messages.row_at(*row).index);
    let kept: Vec<u32> =
        batch.selection().iter().filter(row_is_wanted).map(|row| row as u32).collect();
    // Messages that were taken apart, and of those the ones whose piece is there.
    let (mut apart, mut found) = (BTreeMap::new(), BTreeSet::new());
    for row in 0..messages.len() {
        let message = messages.pulled_row(row);
        if messages.row_at(row).index.is_some() && wanted[message].is_some() {
            apart.entry(message).or_insert(row);
            found.extend(row_is_wanted(&row).then_some(message));
        }
    }
    for (message, row) in apart.into_iter().filter(|(message, _)| !found.contains(message)) {
        let error = "the steps make no such row of its message any more".to_owned();
        let reject = Reject { code: GONE, error, field: None };
        let mut gone = Rejected::new(&messages, row as u32, "letter", reject);
        gone.at.index = wanted[message];
        rejected.push(gone);
    }
    batch.with_selection(Selection::Rows(kept.into()))
}

fn add_rejected(
    messages: &Messages,
    step: &str,
    rejects: Vec<(u32, Reject)>,
    rejected: &mut Vec<Rejected>,
) {
    let named = rejects.into_iter();
    rejected.extend(named.map(|(row, reject)| Rejected::new(messages, row, step, reject)));
}

/// The body columns that the steps and the sink read, in the order of the schema. A name means the
/// column of the body until a step gives it to another one.
fn wanted(pipeline: &Pipeline, sink: &SinkSpec) -> Vec<Column> {
    let mut read = BTreeSet::new();
    let mut read_by = |expression: &Resolved| {
        read.extend(expression.slots.iter().filter_map(|slot| match slot {
            Slot::Body(index) => Some(*index),
            Slot::Property { .. } | Slot::Set(_) | Slot::Meta(_) => None,
        }));
    };
    let (mut named, mut given) = (BTreeSet::new(), BTreeSet::new());
    for step in pipeline.steps_to(sink) {
        match step {
            StepSpec::Filter { condition, .. } => read_by(condition),
            StepSpec::Dedupe(spec) => read_by(&spec.by),
            StepSpec::Set(columns) => {
                columns.iter().for_each(|column| read_by(&column.value));
                given.extend(columns.iter().map(|column| &*column.name));
            }
            StepSpec::Rename(columns) => {
                let from = columns.iter().map(|column| &*column.from);
                named.extend(from.filter(|name| !given.contains(name)));
                given.extend(columns.iter().map(|column| &*column.to));
            }
            StepSpec::Cast(columns) => {
                let cast = columns.iter().map(|column| &*column.name);
                named.extend(cast.filter(|name| !given.contains(name)));
            }
            StepSpec::Drop | StepSpec::Sample { .. } | StepSpec::Split(_) | StepSpec::Wasm(_) => {}
        }
    }
    sink.where_.iter().for_each(read_by);
    let of_sink: BTreeSet<&str> = match &sink.kind {
        SinkKind::Files(files) => {
            let listed = files.columns.iter().map(|column| column.name.as_str());
            listed.chain(files.partition_by.iter().map(String::as_str)).collect()
        }
        SinkKind::Index(index) => index.fields.iter().map(|field| &*field.column.name).collect(),
        SinkKind::Http(http) => {
            let listed = http.columns.iter().map(|column| column.name.as_str());
            listed.chain(http.template_columns()).collect()
        }
        SinkKind::Stdout { columns } => columns.iter().map(|column| &*column.name).collect(),
        SinkKind::Blackhole => BTreeSet::new(),
    };
    let columns = pipeline.schema.columns.iter().enumerate();
    let wanted = columns.filter(|(index, column)| {
        let name = column.name.as_str();
        let is_in_sink = of_sink.contains(name) && !given.contains(name);
        read.contains(index) || named.contains(name) || is_in_sink
    });
    wanted.map(|(_, column)| column.clone()).collect()
}
