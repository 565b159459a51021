use std::sync::Arc;

use arrow_array::ArrayRef;
use millrace_config::RenamedColumn;
use millrace_connect_api::{Batch, Reject, Step, StepError};

/// Gives columns other names. The old ones stay, for nobody: until a
/// later step gives one to another column, the pipeline file cannot name them.
pub(crate) struct Rename {
    name: String,
    columns: Vec<RenamedColumn>,
}

impl Rename {
    pub(crate) fn new(name: String, columns: Vec<RenamedColumn>) -> Self {
        Self { name, columns }
    }
}

impl Step for Rename {
    fn apply(
        &mut self,
        mut batch: Batch,
        _rejects: &mut Vec<(u32, Reject)>,
    ) -> Result<Batch, StepError> {
        let found = self.columns.iter().map(|RenamedColumn { from, .. }| {
            batch.column(from).map(Arc::clone).ok_or_else(|| StepError::Failed {
                step: self.name.clone(),
                reason: format!("no column `{from}`"),
            })
        });
        // All of them before the first new name, which may be the old one of another.
        let found: Vec<ArrayRef> = found.collect::<Result<_, _>>()?;
        for (RenamedColumn { to, .. }, column) in self.columns.iter().zip(found) {
            batch = batch.with_column(to.as_str().into(), column);
        }
        Ok(batch)
    }
}
