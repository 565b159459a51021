use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use millrace_connect_api::{
    Batch, Cut, FileSink, Part, PartState, Plan, Published, Reject, Resume, SinkError, Written,
};
use millrace_disk::Disk;
use millrace_types::Now;

use crate::builder::Builder;
use crate::document::{Made, Rows, queue_name};
use crate::error::{BatchError, IndexError, OptionsError};
use crate::frontier::Frontier;
use crate::library::Library;
use crate::mapping::Fields;
use crate::names::{Names, Number};
use crate::options::IndexOptions;
use crate::staging::Staging;
use crate::upkeep::Upkeep;

/// Writes documents into an index, each once.
///
/// Documents are in memory until their part is closed. Analysing, merging and file I/O happen inside
/// the calls, which therefore take CPU and may block. After an error from [`write`] or [`plan`] the
/// sink must be opened again, because nobody knows how much of a batch is in the open part.
///
/// [`write`]: FileSink::write
/// [`plan`]: FileSink::plan
pub struct IndexSink {
    disk: Arc<dyn Disk>,
    options: IndexOptions,
    names: Names,
    fields: Fields,
    frontier: Frontier,
    library: Library,
    next_part_id: u64,
    next_serial: u64,
    open: Option<Builder>,
    /// Complete parts that the next plan will name.
    closed: Vec<Part>,
    /// When upkeep was last done, on the monotonic clock.
    kept_at_ms: Option<u64>,
    /// A part was published since.
    grown: bool,
    failed: bool,
}

/// How often age is looked at while nothing is written.
const UPKEEP_MS: u64 = 60_000;

impl IndexSink {
    /// Opens the sink where an earlier one got to. `next_part_id` is a number that no planned part
    /// of this sink ever had, and neither had any after it. A directory that says otherwise is
    /// refused, and so is one that is another sink's.
    pub fn open(
        disk: Arc<dyn Disk>,
        options: IndexOptions,
        resume: Resume,
        next_part_id: u64,
    ) -> Result<Self, OptionsError> {
        options.check()?;
        disk.create_dir_durably(&options.to).map_err(IndexError::from)?;
        Staging { disk: disk.as_ref(), to: &options.to }.is_own(&options.name_prefix)?;
        let library = Library::open(disk.as_ref(), &options.to)?;
        library.expect(&options.mapping)?;
        library.is_planned(&options.name_prefix, next_part_id)?;
        let names = Names { prefix: options.name_prefix.clone(), worker_tag: options.worker_tag };
        Ok(Self {
            fields: options.mapping.to_tantivy(),
            frontier: Frontier::new(resume),
            next_serial: library.next_serial(),
            names,
            library,
            next_part_id,
            open: None,
            closed: Vec::new(),
            kept_at_ms: None,
            grown: true,
            failed: false,
            options,
            disk,
        })
    }

    /// The directory in which the parts are.
    pub fn directory(&self) -> &Path {
        &self.options.to
    }

    fn staging(&self) -> Staging<'_> {
        Staging { disk: self.disk.as_ref(), to: &self.options.to }
    }

    /// Runs what may leave the open part half changed, once.
    fn guarded<T>(
        &mut self,
        act: impl FnOnce(&mut Self) -> Result<T, SinkError>,
    ) -> Result<T, SinkError> {
        if self.failed {
            return Err(BatchError::FailedBefore.into());
        }
        let result = act(self);
        self.failed = result.is_err();
        result
    }

    fn write_batch(&mut self, batch: &Batch, now: Now) -> Result<Written, SinkError> {
        let messages = batch.messages();
        let queue = messages.queue();
        let committed_to = self.frontier.begin(queue, messages.from())?;
        let mut written = Written::default();
        if !batch.selection().is_empty() {
            let name = queue_name(queue);
            let (mapping, fields) = (self.options.mapping.clone(), self.fields.clone());
            let rows = Rows::new(&mapping, &fields, &name, batch)?;
            for row in batch.selection().iter() {
                let message = messages.get(row);
                if message.queue_offset < committed_to {
                    written.skipped += 1;
                    continue;
                }
                match rows.make(row, message.queue_offset.0, message.store_at_ms) {
                    Ok(made) => {
                        self.add(made, now)?;
                        self.frontier.add(queue, message.queue_offset);
                        written.rows += 1;
                        self.close_if(Self::has_its_rows)?;
                    }
                    Err(reject) => written.rejected.push(rejected(row, reject)),
                }
            }
        }
        self.frontier.end(queue, messages.to());
        self.close_if(Self::is_large)?;
        Ok(written)
    }

    fn add(&mut self, made: Made, now: Now) -> Result<(), IndexError> {
        let open = match &mut self.open {
            Some(open) => open,
            None => {
                let id = self.next_part_id;
                self.next_part_id += 1;
                let (schema, memory) = (self.fields.schema.clone(), self.options.memory_bytes_max);
                self.open.insert(Builder::new(id, schema, memory, now.mono_ms)?)
            }
        };
        open.add(made)
    }

    fn has_its_rows(&self, open: &Builder) -> bool {
        self.options.rotate.rows.is_some_and(|rows| u64::from(open.documents) >= rows)
    }

    /// Writing the part takes about as much again.
    fn is_large(&self, open: &Builder) -> bool {
        open.memory_bytes() > self.options.memory_bytes_max / 2
    }

    fn close_if(&mut self, due: impl FnOnce(&Self, &Builder) -> bool) -> Result<(), IndexError> {
        match &self.open {
            Some(open) if due(self, open) => self.close(),
            _ => Ok(()),
        }
    }

    /// Completes the open part.
    fn close(&mut self) -> Result<(), IndexError> {
        let Some(open) = self.open.take() else { return Ok(()) };
        let (number, rows) = (Number::Planned(open.id), u64::from(open.documents));
        let (id, ranges) = (open.id, self.frontier.close());
        let staged = self.names.staged(number);
        let path = self.staging().path(&staged);
        let serial = self.next_serial;
        self.next_serial += 1;
        let mapping = &self.options.mapping;
        let written = open.finish(self.disk.as_ref(), &path, mapping, serial, &ranges)?;
        let name = self.names.published(number, written.checksum);
        tracing::debug!(part = name, rows, bytes = written.bytes, "part closed");
        let (bytes, checksum, partition) = (written.bytes, written.checksum, String::new());
        self.closed.push(Part { id, name, staged, partition, ranges, rows, bytes, checksum });
        Ok(())
    }

    fn plan_parts(&mut self, now: Now, cut: Cut) -> Result<Plan, SinkError> {
        // What was planned before is committed by now.
        self.keep_up(now)?;
        let every = self.options.rotate.every_ms;
        self.close_if(|_, open| match cut {
            Cut::All => true,
            Cut::Due => every.is_some_and(|every| now.mono_ms >= open.opened_at_ms + every),
        })?;
        if !self.closed.is_empty() {
            // Another sink may have begun in the same empty directory.
            self.staging().is_own(&self.names.prefix)?;
            self.staging().sync()?;
        }
        let parts = std::mem::take(&mut self.closed);
        Ok(Plan { parts, resume: self.frontier.resume() })
    }

    fn keep_up(&mut self, now: Now) -> Result<(), IndexError> {
        let is_due = |kept: u64| now.mono_ms >= kept + UPKEEP_MS;
        if !self.grown && !self.kept_at_ms.is_none_or(is_due) {
            return Ok(());
        }
        self.staging().is_own(&self.names.prefix)?;
        let upkeep = Upkeep {
            staging: Staging { disk: self.disk.as_ref(), to: &self.options.to },
            names: &self.names,
            cutoff: self.options.keep_ms.map(|keep| {
                let keep = i64::try_from(keep).unwrap_or(i64::MAX);
                now.wall_ms.saturating_sub(keep).saturating_mul(1000)
            }),
            merge_bytes_max: self.options.memory_bytes_max / 2,
        };
        upkeep.run(&mut self.library)?;
        self.next_serial = self.next_serial.max(self.library.next_serial());
        (self.grown, self.kept_at_ms) = (false, Some(now.mono_ms));
        Ok(())
    }
}

fn rejected(row: usize, reject: Reject) -> (u32, Reject) {
    (u32::try_from(row).expect("a batch has fewer rows"), reject)
}

#[async_trait]
impl FileSink for IndexSink {
    async fn write(&mut self, batch: &Batch, now: Now) -> Result<Written, SinkError> {
        self.guarded(|sink| sink.write_batch(batch, now))
    }

    async fn plan(&mut self, now: Now, cut: Cut) -> Result<Plan, SinkError> {
        self.guarded(|sink| sink.plan_parts(now, cut))
    }

    async fn publish(&mut self, part: &Part) -> Result<Published, SinkError> {
        self.grown = true;
        self.staging().publish(part)?;
        Ok(Published::default())
    }

    async fn probe(&mut self, part: &Part) -> Result<PartState, SinkError> {
        Ok(self.staging().probe(part)?)
    }

    async fn abort(&mut self, part: &Part) -> Result<(), SinkError> {
        Ok(self.staging().abort(part)?)
    }

    async fn sweep(&mut self, planned: &[Part]) -> Result<(), SinkError> {
        let kept: Vec<_> =
            planned.iter().chain(&self.closed).map(|part| part.staged.clone()).collect();
        Ok(self.staging().sweep(&self.names, &kept)?)
    }
}

#[cfg(test)]
mod tests;
