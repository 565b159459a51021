use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use millrace_config::{OnUnknown, Pipeline, Resolved, SinkKind, SinkSpec, Slot, StepSpec};
use millrace_connect_api::decode::Decoder;
use millrace_connect_api::{Batch, Column, Messages, Reject, Selection, Step};

use super::filter::Filter;
use super::rename::Rename;
use super::sample::Sample;
use super::set::Set;
use crate::error::RunError;
use crate::filters::Filters;

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
}

struct Named {
    name: String,
    step: Box<dyn Step>,
}

/// A row that cannot go on.
#[derive(Debug)]
pub(crate) struct Rejected {
    /// Its number in the batch.
    pub(crate) row: u32,
    /// The step that refused it.
    pub(crate) step: String,
    /// Why.
    pub(crate) reject: Reject,
}

/// The name of decoding where a step's name is asked for.
const DECODE: &str = "decode";

impl Chain {
    pub(crate) fn new(
        pipeline: &Arc<Pipeline>,
        sink: &SinkSpec,
        filters: &Filters,
    ) -> Result<Self, RunError> {
        let mut before = Vec::new();
        let mut after: Vec<Named> = Vec::new();
        let filter = |name: String, condition: &Resolved, on_unknown| {
            let of = Arc::clone(pipeline);
            let filter = Filter::new(name.clone(), of, condition.clone(), on_unknown);
            (filter.needs_no_columns(), Named { name, step: Box::new(filter) })
        };
        let mut add = |(is_early, named), after: &mut Vec<Named>| {
            if is_early && after.is_empty() { before.push(named) } else { after.push(named) }
        };
        for (number, spec) in pipeline.steps.iter().enumerate() {
            match spec {
                StepSpec::Filter { condition, on_unknown } => {
                    let name = format!("steps[{number}] filter");
                    add(filter(name, condition, *on_unknown), &mut after);
                }
                StepSpec::Set(columns) => {
                    let name = format!("steps[{number}] set");
                    let set = Set::new(name.clone(), Arc::clone(pipeline), columns.clone());
                    after.push(Named { name, step: Box::new(set) });
                }
                StepSpec::Drop => {}
                StepSpec::Rename(columns) => {
                    let name = format!("steps[{number}] rename");
                    let rename = Rename::new(name.clone(), columns.clone());
                    after.push(Named { name, step: Box::new(rename) });
                }
                StepSpec::Sample { rate } => {
                    let name = format!("steps[{number}] sample");
                    let step = Box::new(Sample::new(*rate));
                    add((true, Named { name, step }), &mut after);
                }
                StepSpec::Wasm(spec) => {
                    let wasm = filters.step(number, spec, pipeline.limits.memory)?;
                    if wasm.changes_messages() && !after.is_empty() {
                        return Err(RunError::Setup(format!(
                            "{} replaces messages, so it must stand before `set` and before \
                             filters that read the body",
                            wasm.name()
                        )));
                    }
                    let name = wasm.name().to_owned();
                    add((true, Named { name, step: Box::new(wasm) }), &mut after);
                }
            }
        }
        if let Some(condition) = &sink.where_ {
            let name = format!("{} where", sink.name);
            add(filter(name, condition, OnUnknown::Reject), &mut after);
        }
        let wanted = wanted(pipeline, sink);
        let decoder = pipeline.decode.decoder(&wanted).map_err(|error| {
            RunError::Setup(format!("sink `{}` cannot decode the topic: {error}", sink.name))
        })?;
        let names = wanted.iter().map(|column| column.name.as_str().into()).collect();
        Ok(Self { before, decoder, names, after })
    }

    /// Takes messages through all steps. Rows that cannot go on are no longer selected, and added
    /// to `rejected`.
    pub(crate) fn apply(
        &mut self,
        messages: Arc<Messages>,
        rejected: &mut Vec<Rejected>,
    ) -> Result<Batch, RunError> {
        let mut batch = Batch::new(messages);
        for step in &mut self.before {
            batch = step.apply(batch, rejected)?;
        }
        let decoded = self.decoder.decode(batch.messages(), batch.selection());
        if !decoded.rejects.is_empty() {
            let refused: BTreeSet<usize> =
                decoded.rejects.iter().map(|(row, _)| *row as usize).collect();
            let kept = batch.selection().iter().filter(|row| !refused.contains(row));
            let kept: Vec<u32> = kept.map(|row| row as u32).collect();
            batch = batch.with_selection(Selection::Rows(kept.into()));
            add_rejected(DECODE, decoded.rejects, rejected);
        }
        for (name, column) in self.names.iter().zip(decoded.columns) {
            batch = batch.with_column(Arc::clone(name), column);
        }
        for step in &mut self.after {
            batch = step.apply(batch, rejected)?;
        }
        Ok(batch)
    }

    /// Rows taken out on purpose, by step and reason.
    pub(crate) fn filtered(&self) -> BTreeMap<String, u64> {
        let steps = self.before.iter().chain(&self.after);
        steps
            .flat_map(|named| {
                let reasons = named.step.filtered();
                reasons.into_iter().map(|(reason, rows)| (format!("{} {reason}", named.name), rows))
            })
            .filter(|(_, rows)| *rows > 0)
            .collect()
    }

    /// How many these are.
    pub(crate) fn filtered_rows(&self) -> u64 {
        let steps = self.before.iter().chain(&self.after);
        steps.flat_map(|named| named.step.filtered()).map(|(_, rows)| rows).sum()
    }
}

impl Named {
    fn apply(&mut self, batch: Batch, rejected: &mut Vec<Rejected>) -> Result<Batch, RunError> {
        let mut rejects = Vec::new();
        let batch = self.step.apply(batch, &mut rejects)?;
        add_rejected(&self.name, rejects, rejected);
        Ok(batch)
    }
}

fn add_rejected(step: &str, rejects: Vec<(u32, Reject)>, rejected: &mut Vec<Rejected>) {
    let named = rejects.into_iter();
    rejected.extend(named.map(|(row, reject)| Rejected { row, step: step.to_owned(), reject }));
}

/// The body columns that the steps and the sink read, in the order of the schema.
fn wanted(pipeline: &Pipeline, sink: &SinkSpec) -> Vec<Column> {
    let mut read = BTreeSet::new();
    let mut read_by = |expression: &Resolved| {
        read.extend(expression.slots.iter().filter_map(|slot| match slot {
            Slot::Body(index) => Some(*index),
            Slot::Property { .. } | Slot::Set(_) | Slot::Meta(_) => None,
        }));
    };
    let mut renamed: BTreeSet<&str> = BTreeSet::new();
    for step in &pipeline.steps {
        match step {
            StepSpec::Filter { condition, .. } => read_by(condition),
            StepSpec::Set(columns) => columns.iter().for_each(|column| read_by(&column.value)),
            StepSpec::Rename(columns) => renamed.extend(columns.iter().map(|column| &*column.from)),
            StepSpec::Drop | StepSpec::Sample { .. } | StepSpec::Wasm(_) => {}
        }
    }
    sink.where_.iter().for_each(read_by);
    let of_sink: BTreeSet<&str> = match &sink.kind {
        SinkKind::Files(files) => {
            let listed = files.columns.iter().map(|column| column.name.as_str());
            listed.chain(files.partition_by.iter().map(String::as_str)).collect()
        }
        SinkKind::Index(index) => index.fields.iter().map(|field| &*field.column.name).collect(),
        SinkKind::Stdout { columns } => columns.iter().map(|column| &*column.name).collect(),
        SinkKind::Blackhole => BTreeSet::new(),
    };
    let columns = pipeline.schema.columns.iter().enumerate();
    let wanted = columns.filter(|(index, column)| {
        let name = column.name.as_str();
        read.contains(index) || renamed.contains(name) || of_sink.contains(name)
    });
    wanted.map(|(_, column)| column.clone()).collect()
}
