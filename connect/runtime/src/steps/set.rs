use std::sync::Arc;

use arrow_array::ArrayRef;
use millrace_config::{Pipeline, SetColumn};
use millrace_connect_api::{Batch, Reject, Step, StepError};

use super::values::Values;
use super::{EVAL, View, eval_reject, without};

/// Gives columns values, one after the other.
pub(crate) struct Set {
    name: String,
    pipeline: Arc<Pipeline>,
    columns: Vec<SetColumn>,
}

impl Set {
    pub(crate) fn new(name: String, pipeline: Arc<Pipeline>, columns: Vec<SetColumn>) -> Self {
        Self { name, pipeline, columns }
    }
}

impl Step for Set {
    fn apply(
        &mut self,
        mut batch: Batch,
        rejects: &mut Vec<(u32, Reject)>,
    ) -> Result<Batch, StepError> {
        for column in &self.columns {
            let rejects_before = rejects.len();
            let built = {
                let view = View::new(&batch, &column.value.slots, &self.pipeline.schema)
                    .map_err(|reason| StepError::Failed { step: self.name.clone(), reason })?;
                build(column, &batch, &view, rejects)
            };
            batch = without(batch, rejects, rejects_before);
            batch = batch.with_column(column.name.as_str().into(), built);
        }
        Ok(batch)
    }
}

/// The column, null wherever a row is not selected or has no value.
fn build(
    column: &SetColumn,
    batch: &Batch,
    view: &View<'_>,
    rejects: &mut Vec<(u32, Reject)>,
) -> ArrayRef {
    let mut values = Values::new(column.data_type, batch.messages().len());
    for row in batch.selection().iter() {
        values.fill(row);
        let refused = match column.value.expr.evaluate(&view.row(row)) {
            Ok(value) => match values.push(value) {
                Ok(()) => continue,
                Err(error) => {
                    let error = format!("`{}`: {error}", column.value.text);
                    Reject { code: EVAL, error, field: None }
                }
            },
            Err(error) => eval_reject(&column.value.text, &error),
        };
        let field = Some(column.name.clone());
        rejects.push((row as u32, Reject { field, ..refused }));
    }
    values.fill(batch.messages().len());
    values.finish()
}
