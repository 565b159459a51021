use std::sync::Arc;

use millrace_config::{OnUnknown, Pipeline, Resolved};
use millrace_connect_api::{Batch, Reject, Selection, Step, StepError};
use millrace_sql_filter::Truth;

use super::{UNKNOWN, View, eval_reject};

/// Keeps the rows for which a condition is true.
pub(crate) struct Filter {
    name: String,
    pipeline: Arc<Pipeline>,
    condition: Resolved,
    on_unknown: OnUnknown,
    refuted: u64,
    unknown: u64,
}

impl Filter {
    pub(crate) fn new(
        name: String,
        pipeline: Arc<Pipeline>,
        condition: Resolved,
        on_unknown: OnUnknown,
    ) -> Self {
        Self { name, pipeline, condition, on_unknown, refuted: 0, unknown: 0 }
    }

    /// Whether it can run on messages that nobody has decoded.
    pub(crate) fn needs_no_columns(&self) -> bool {
        !self.condition.needs_columns()
    }
}

impl Step for Filter {
    fn apply(
        &mut self,
        batch: Batch,
        rejects: &mut Vec<(u32, Reject)>,
    ) -> Result<Batch, StepError> {
        let view = View::new(&batch, &self.condition.slots, &self.pipeline.schema)
            .map_err(|reason| StepError::Failed { step: self.name.clone(), reason })?;
        let mut kept = Vec::with_capacity(batch.selection().len());
        for row in batch.selection().iter() {
            match self.condition.expr.verdict(&view.row(row)) {
                Ok(Truth::True) => kept.push(row as u32),
                Ok(Truth::False) => self.refuted += 1,
                Ok(Truth::Unknown) => match self.on_unknown {
                    OnUnknown::Keep => kept.push(row as u32),
                    OnUnknown::Reject => self.unknown += 1,
                    OnUnknown::Dlq => {
                        let error = format!("`{}` is neither true nor false", self.condition.text);
                        rejects.push((row as u32, Reject { code: UNKNOWN, error, field: None }));
                    }
                },
                Err(error) => {
                    rejects.push((row as u32, eval_reject(&self.condition.text, &error)));
                }
            }
        }
        if kept.len() == batch.selection().len() {
            return Ok(batch);
        }
        Ok(batch.with_selection(Selection::Rows(kept.into())))
    }

    fn filtered(&self) -> Vec<(&'static str, u64)> {
        vec![("false", self.refuted), ("unknown", self.unknown)]
    }
}
