use std::collections::BTreeMap;
use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use millrace_types::{Now, QueueOffset};

use crate::{Batch, Messages, OffsetRange, QueueRef, Reject};

/// A sink that makes whole parts visible: files, or anything else with a publish step.
///
/// A part goes through three states. While it is *open*, rows are written to it. [`plan`] stages
/// it: all bytes are durable, under a name that nobody looks at. The runtime then records the plan
/// in the ledger, durably, and only after that calls [`publish`], which makes it visible; and only
/// after that does the ledger record that it is committed, which moves the offsets. After a crash
/// the runtime finds planned parts in the ledger and asks [`probe`] how far each one got.
///
/// [`plan`]: FileSink::plan
/// [`publish`]: FileSink::publish
/// [`probe`]: FileSink::probe
#[async_trait]
pub trait FileSink: Send {
    /// Takes the selected rows of a batch into open parts. Batches of one queue come in order and
    /// without gaps, also where nothing in them is selected, because they move the position. Rows
    /// that [`Resume::ahead`] says are already committed for their partition are skipped.
    async fn write(&mut self, batch: &Batch, now: Now) -> Result<Written, SinkError>;

    /// Closes and stages the parts that are due, and says where reading would resume if exactly
    /// these parts, and nothing after them, were committed. Without a due part the answer has no
    /// parts, and its `resume` still tells how far the sink got without any open row.
    async fn plan(&mut self, now: Now, cut: Cut) -> Result<Plan, SinkError>;

    /// Makes a staged part visible under its final name; fails rather than replace another one.
    /// Already published is fine. An attempt that was not enough is made again, with what is left.
    async fn publish(&mut self, part: &Part) -> Result<Published, SinkError>;

    /// Ends the attempts to publish a part: what is left of it is refused. `None` if that makes no
    /// sense, as for a file.
    fn give_up(&mut self, _part: &Part) -> Option<Published> {
        None
    }

    /// How far a part that the ledger knows as planned got.
    async fn probe(&mut self, part: &Part) -> Result<PartState, SinkError>;

    /// Removes what is staged of a part that will never be published.
    async fn abort(&mut self, part: &Part) -> Result<(), SinkError>;

    /// Removes what earlier workers left open: staging of this pipeline and sink that is not one
    /// of `planned`. Called once, before the first write. The parts of `planned` are those that
    /// [`PartState::Unknown`] was said of: the messages in their ranges come again, and are to be
    /// planned as the same parts.
    async fn sweep(&mut self, planned: &[Part]) -> Result<(), SinkError>;

    /// Whether its parts are files, for who counts them.
    fn makes_files(&self) -> bool {
        true
    }
}

/// Which open parts [`FileSink::plan`] closes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// Those whose rotation is due by rows, size, time or idleness.
    Due,
    /// All: the pipeline is about to stop.
    All,
}

/// What became of a batch.
#[derive(Debug, Default)]
pub struct Written {
    /// Rows now in open parts, or done.
    pub rows: u64,
    /// Of these, rows that are done, as those of a sink that has no parts.
    pub done: u64,
    /// Rows that were already committed for their partition before a restart.
    pub skipped: u64,
    /// Rows that will never fit, by row number of the batch.
    pub rejected: Vec<(u32, Reject)>,
}

/// Staged parts, and where reading resumes once they are committed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Parts whose bytes are durable and not visible.
    pub parts: Vec<Part>,
    /// Where reading resumes after them.
    pub resume: Resume,
}

/// A file, from its plan to its commit. Everything in it goes into the ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// Unique in the pipeline and never used again.
    pub id: u64,
    /// Final name, relative to where the sink writes, for instance
    /// `day=2015-05-17/errors-0000000012.parquet`.
    pub name: String,
    /// Name while staged, relative likewise.
    pub staged: String,
    /// Partition values, for instance `day=2015-05-17`; empty without partitions.
    pub partition: String,
    /// Which queue offsets the rows lie in. All rows of this partition in these ranges are in this
    /// part or in earlier ones.
    pub ranges: Vec<OffsetRange>,
    /// Rows.
    pub rows: u64,
    /// Length in bytes.
    pub bytes: u64,
    /// CRC-32 of all bytes.
    pub checksum: u32,
}

/// Where a sink's reading resumes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resume {
    /// The next offset to read of each queue.
    pub next: BTreeMap<QueueRef, QueueOffset>,
    /// Partitions that are committed further than that: by partition, then by queue, the next
    /// offset that is not yet committed for the partition.
    pub ahead: BTreeMap<String, BTreeMap<QueueRef, QueueOffset>>,
}

/// How far a planned part got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PartState {
    /// Visible, with the recorded length.
    Published,
    /// Staged whole, not visible.
    Staged,
    /// Neither.
    Gone,
    /// Nobody can tell: it may have reached a destination that cannot be asked, so the same has to
    /// be sent once more.
    Unknown,
}

/// What became of a part that was made visible.
#[derive(Debug, Default)]
pub struct Published {
    /// Rows that the destination will never accept.
    pub refused: Vec<Refused>,
}

/// A row that a destination refused.
#[derive(Debug)]
pub struct Refused {
    /// The messages it is one of.
    pub messages: Arc<Messages>,
    /// Its number among them.
    pub row: u32,
    /// Why.
    pub reject: Reject,
}

/// What keeps a sink from going on.
#[derive(Debug, thiserror::Error)]
pub enum SinkError {
    /// Back off and try the same again.
    #[error("the destination is unavailable")]
    Unavailable(#[source] Box<dyn Error + Send + Sync>),
    /// Try the same again, but not before the destination wants it.
    #[error("the destination asks for patience")]
    Busy {
        /// How long it wants to be left alone.
        after: Duration,
        /// Its reason.
        source: Box<dyn Error + Send + Sync>,
    },
    /// Stop the pipeline; a person must act.
    #[error("the sink cannot continue")]
    Broken(#[source] Box<dyn Error + Send + Sync>),
}

impl SinkError {
    /// What it comes from.
    pub fn cause(&self) -> &(dyn Error + Send + Sync + 'static) {
        let (SinkError::Unavailable(source)
        | SinkError::Busy { source, .. }
        | SinkError::Broken(source)) = self;
        source.as_ref()
    }
}
