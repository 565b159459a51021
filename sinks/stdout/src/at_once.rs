use std::collections::BTreeMap;
use std::error::Error;

use async_trait::async_trait;
use millrace_connect_api::{
    Batch, Cut, FileSink, Part, PartState, Plan, Published, QueueRef, Resume, SinkError, Written,
};
use millrace_types::{Now, QueueOffset};

/// Where rows can go one batch at a time.
pub trait Rows: Send {
    /// What keeps rows from being written.
    type Error: Error + Send + Sync + 'static;

    /// Writes the selected rows of a batch.
    ///
    /// # Errors
    /// If they cannot be written, now and later.
    fn write(&mut self, batch: &Batch) -> Result<(), Self::Error>;
}

/// A sink whose rows are done once they are written: it never has a part.
#[derive(Debug)]
pub struct AtOnce<R> {
    rows: R,
    next: BTreeMap<QueueRef, QueueOffset>,
}

impl<R: Rows> AtOnce<R> {
    /// Goes on where an earlier one got to.
    pub fn new(rows: R, resume: Resume) -> Self {
        Self { rows, next: resume.next }
    }
}

#[async_trait]
impl<R: Rows> FileSink for AtOnce<R> {
    async fn write(&mut self, batch: &Batch, _now: Now) -> Result<Written, SinkError> {
        self.rows.write(batch).map_err(|error| SinkError::Broken(Box::new(error)))?;
        let messages = batch.messages();
        self.next.insert(messages.queue().clone(), messages.to());
        let rows = batch.selection().len() as u64;
        Ok(Written { rows, done: rows, ..Written::default() })
    }

    async fn plan(&mut self, _now: Now, _cut: Cut) -> Result<Plan, SinkError> {
        let resume = Resume { next: self.next.clone(), ahead: BTreeMap::new() };
        Ok(Plan { parts: Vec::new(), resume })
    }

    async fn publish(&mut self, _part: &Part) -> Result<Published, SinkError> {
        Ok(Published::default())
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
