use crate::{Batch, Reject};

/// Something between the log and the sinks that narrows or widens batches.
///
/// Deterministic: the same messages give the same rows, whenever they are read and however they
/// are cut into batches; a record's time is its store time.
pub trait Step: Send {
    /// Applies the step. Rows that cannot go on are taken out of the selection and named in
    /// `rejects` by their row number in the batch that is returned: a step that makes other messages
    /// has them among these.
    fn apply(&mut self, batch: Batch, rejects: &mut Vec<(u32, Reject)>)
    -> Result<Batch, StepError>;

    /// Rows made so far beyond one for each message that came in.
    fn made(&self) -> u64 {
        0
    }

    /// Rows taken out so far on purpose, by reason, for the summary; for instance
    /// `("false", 12), ("unknown", 3)`.
    fn filtered(&self) -> Vec<(&'static str, u64)> {
        Vec::new()
    }
}

/// Why a step did not get through a batch, of which nothing goes on then.
#[derive(Debug, thiserror::Error)]
pub enum StepError {
    /// It cannot go on at all, whatever the record.
    #[error("step `{step}` failed: {reason}")]
    Failed {
        /// The step, as the pipeline file calls it.
        step: String,
        /// What went wrong.
        reason: String,
    },

    /// It takes long and was asked to stop. Nothing is wrong; the messages come again.
    #[error("step `{step}` was stopped")]
    Stopped {
        /// The step, as the pipeline file calls it.
        step: String,
    },
}
