use std::sync::Arc;

use millrace_config::RenamedColumn;
use millrace_connect_api::{Batch, Reject, Step, StepError};

/// Gives columns other names. The old ones stay, for nobody: the pipeline file cannot name them.
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
        for RenamedColumn { from, to } in &self.columns {
            let column = batch.column(from).map(Arc::clone).ok_or_else(|| StepError::Failed {
                step: self.name.clone(),
                reason: format!("no column `{from}`"),
            })?;
            batch = batch.with_column(to.as_str().into(), column);
        }
        Ok(batch)
    }
}
