use async_trait::async_trait;
use millrace_connect_api::{
    Batch, Cut, FileSink, Part, PartState, Plan, Resume, SinkError, Written,
};
use millrace_types::Now;

use crate::position::Position;

/// Counts rows and forgets them.
#[derive(Debug)]
pub struct Blackhole(Position);

impl Blackhole {
    /// Goes on where an earlier one got to.
    pub fn new(resume: Resume) -> Self {
        Self(Position::new(resume))
    }
}

#[async_trait]
impl FileSink for Blackhole {
    async fn write(&mut self, batch: &Batch, _now: Now) -> Result<Written, SinkError> {
        self.0.advance(batch.messages());
        Ok(Written { rows: batch.selection().len() as u64, ..Written::default() })
    }

    async fn plan(&mut self, _now: Now, _cut: Cut) -> Result<Plan, SinkError> {
        Ok(self.0.plan())
    }

    async fn publish(&mut self, _part: &Part) -> Result<(), SinkError> {
        Ok(())
    }

    async fn probe(&mut self, _part: &Part) -> Result<PartState, SinkError> {
        Ok(PartState::Gone)
    }

    async fn abort(&mut self, _part: &Part) -> Result<(), SinkError> {
        Ok(())
    }

    async fn sweep(&mut self, _planned: &[Part]) -> Result<(), SinkError> {
        Ok(())
    }
}
