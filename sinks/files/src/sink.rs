use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use arrow_array::{
    Array, ArrayRef, Int32Array, Int64Array, StringArray, TimestampMicrosecondArray,
};
use async_trait::async_trait;
use millrace_connect_api::{
    Batch, Cut, FileSink, Messages, Part, PartState, Plan, Published, Resume, SinkError, Written,
};
use millrace_disk::Disk;
use millrace_types::Now;

use crate::error::{BatchError, OptionsError};
use crate::frontier::{Frontier, QueueIndex};
use crate::grouping::Grouping;
use crate::hive;
use crate::names::Names;
use crate::open_part::{OpenPart, Workshop};
use crate::options::{FilesOptions, INDEX};
use crate::pending::CHUNK_ROWS;
use crate::staging::Staging;

/// Writes files, each row into exactly one.
///
/// Encoding and file I/O happen inside the calls, which therefore take CPU and may block: run the
/// sink on a thread where that is fine. After an error from [`write`] or [`plan`] the sink must be
/// opened again, because nobody knows how much of a batch is in open parts.
///
/// [`write`]: FileSink::write
/// [`plan`]: FileSink::plan
pub struct FilesSink {
    workshop: Workshop,
    grouping: Grouping,
    frontier: Frontier,
    next_part_id: u64,
    /// By partition.
    open: BTreeMap<Arc<str>, OpenPart>,
    /// Complete files that the next plan will name.
    closed: Vec<Part>,
    failed: bool,
}

/// Rows that are worth a row group of their own when memory is short.
const WORTH_SPILLING_BYTES: u64 = 64 << 10;

/// A batch on its way into parts.
struct Incoming<'a> {
    messages: &'a Messages,
    queue: QueueIndex,
    columns: Vec<ArrayRef>,
    now: Now,
}

impl FilesSink {
    /// Opens the sink where an earlier one got to. `next_part_id` is a number that no planned part
    /// of this pipeline ever had, and neither had any after it.
    ///
    /// `resume` must hold everything that is committed. To find out how far planned parts got, and
    /// to publish them, a sink opened with any `resume` will do; it is then dropped, and the one
    /// that writes is opened with the `resume` of the plan that has become a commit.
    pub fn open(
        disk: Arc<dyn Disk>,
        options: FilesOptions,
        resume: Resume,
        next_part_id: u64,
    ) -> Result<Self, OptionsError> {
        options.check()?;
        let partition_by: Vec<_> =
            options.partition_by.iter().map(|name| hive::name(name)).collect();
        for partition in resume.ahead.keys() {
            if !hive::names(partition).eq(&partition_by) {
                let partition = partition.clone();
                return Err(OptionsError::Repartitioned { partition });
            }
        }
        let names = Names {
            prefix: options.name_prefix.clone(),
            extension: options.format.extension(),
            worker_tag: options.worker_tag,
        };
        Staging::new(disk.as_ref(), &options.to).create_dir("")?;
        let schema = Arc::new(options.file_schema());
        Ok(Self {
            grouping: Grouping::new(&options.partition_by),
            frontier: Frontier::new(resume),
            next_part_id,
            open: BTreeMap::new(),
            closed: Vec::new(),
            failed: false,
            workshop: Workshop { disk, options, names, schema, chunk_rows: CHUNK_ROWS },
        })
    }

    /// The directory in which the parts are.
    pub fn directory(&self) -> &PathBuf {
        &self.workshop.options.to
    }

    fn staging(&self) -> Staging<'_> {
        Staging::new(self.workshop.disk.as_ref(), &self.workshop.options.to)
    }

    /// Runs what may leave parts half changed, once.
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
        let queue = self.frontier.begin(messages.queue(), messages.from())?;
        let mut written = Written::default();
        if !batch.selection().is_empty() {
            let columns = self.columns(batch)?;
            let partition_columns = self.partition_columns(batch)?;
            let selected = batch.selection().iter().map(|row| row as u32).collect();
            let groups = self.grouping.group(&partition_columns, selected);
            written.rejected = groups.rejected;
            let incoming = Incoming { messages, queue, columns, now };
            for (partition, rows) in groups.rows {
                let closed_to = self.frontier.closed_to(&partition, queue);
                let offset = |row: &u32| messages.get(*row as usize).queue_offset;
                let new_from = rows.partition_point(|row| offset(row) < closed_to);
                let (old, new) = rows.split_at(new_from);
                written.skipped += old.len() as u64;
                written.rows += new.len() as u64;
                self.write_rows(&incoming, &partition, new)?;
            }
        }
        self.frontier.end(queue, messages.to());
        self.limit_memory()?;
        self.limit_handles()?;
        Ok(written)
    }

    /// Puts rows of one partition into its open part, and into further ones when that is full.
    fn write_rows(
        &mut self,
        incoming: &Incoming<'_>,
        partition: &Arc<str>,
        mut rows: &[u32],
    ) -> Result<(), SinkError> {
        while !rows.is_empty() {
            let part = self.open.entry(Arc::clone(partition)).or_insert_with(|| {
                let id = self.next_part_id;
                self.next_part_id += 1;
                OpenPart::new(id, Arc::clone(partition), &self.workshop, incoming.now)
            });
            let offset = |row: u32| incoming.messages.get(row as usize).queue_offset;
            let mut taken = part.append(&self.workshop, &incoming.columns, rows, incoming.now)?;
            // Offsets tell which rows a part has, so all rows of a message are in one.
            let last = offset(rows[taken - 1]);
            let rest = rows[taken..].iter().take_while(|row| offset(**row) == last).count();
            part.append_rest(&self.workshop, &incoming.columns, &rows[taken..taken + rest])?;
            taken += rest;
            part.spans.add(incoming.queue, offset(rows[0]), offset(rows[taken - 1]));
            rows = &rows[taken..];
            if part.is_full(&self.workshop.options.rotate) {
                self.close(&Arc::clone(partition))?;
            }
        }
        Ok(())
    }

    /// Completes the open part of a partition.
    fn close(&mut self, partition: &Arc<str>) -> Result<(), SinkError> {
        let Some(part) = self.open.remove(partition) else { return Ok(()) };
        let ranges = self.frontier.close(partition, &part.spans);
        let part = part.close(&self.workshop, ranges)?;
        tracing::debug!(part = part.name, rows = part.rows, bytes = part.bytes, "part closed");
        self.closed.push(part);
        Ok(())
    }

    /// Gives back the handles of files that had no row for longest until few enough are held.
    fn limit_handles(&mut self) -> Result<(), SinkError> {
        let holding = self.open.values_mut().filter(|part| part.holds_file());
        let mut holding: Vec<_> = holding.collect();
        let too_many = holding.len().saturating_sub(self.workshop.options.max_open);
        holding.sort_by_key(|part| (part.last_at_ms(), part.id));
        Ok(holding.into_iter().take(too_many).try_for_each(OpenPart::park)?)
    }

    /// Writes rows out early, those of the largest parts first, until few enough are in memory.
    /// Where that does not do, because there are too many parts, those that had no row for longest
    /// are closed.
    fn limit_memory(&mut self) -> Result<(), SinkError> {
        let max = self.workshop.options.memory_bytes_max;
        let mut total: u64 = self.open.values().map(OpenPart::memory_bytes).sum();
        if total <= max {
            return Ok(());
        }
        let mut parts: Vec<_> = self.open.values_mut().collect();
        parts.sort_by_cached_key(|part| Reverse(part.spillable_bytes()));
        for part in parts {
            if total <= max || part.spillable_bytes() < WORTH_SPILLING_BYTES {
                break;
            }
            let before = part.memory_bytes();
            part.spill(&self.workshop)?;
            total = total - before + part.memory_bytes();
        }
        if total <= max {
            return Ok(());
        }
        let mut parts: Vec<_> = self.open.values().collect();
        parts.sort_by_key(|part| (part.last_at_ms(), part.id));
        let parts = parts.iter().map(|part| (Arc::clone(&part.partition), part.memory_bytes()));
        for (partition, bytes) in parts.collect::<Vec<_>>() {
            // Some room, so that the next batch does not find the same.
            if total <= max - max / 4 {
                break;
            }
            self.close(&partition)?;
            total -= bytes;
        }
        Ok(())
    }

    fn plan_parts(&mut self, now: Now, cut: Cut) -> Result<Plan, SinkError> {
        let rotate = &self.workshop.options.rotate;
        let due = self.open.values().filter(|part| match cut {
            Cut::All => true,
            Cut::Due => part.is_due(rotate, now),
        });
        let due: Vec<_> = due.map(|part| Arc::clone(&part.partition)).collect();
        for partition in due {
            self.close(&partition)?;
        }
        self.staging().sync(&self.closed)?;
        let parts = std::mem::take(&mut self.closed);
        let resume = self.frontier.resume(self.open.values().map(|part| &part.spans));
        Ok(Plan { parts, resume })
    }

    /// The columns of the file, for every row of the batch.
    fn columns(&self, batch: &Batch) -> Result<Vec<ArrayRef>, BatchError> {
        let options = &self.workshop.options;
        let mut columns = Vec::with_capacity(self.workshop.schema.fields().len());
        for column in options.file_columns() {
            let array = column_of(batch, &column.name)?;
            let expected = column.data_type.to_arrow();
            if *array.data_type() != expected {
                return Err(BatchError::ColumnType {
                    name: column.name.clone(),
                    found: array.data_type().to_string(),
                    expected: expected.to_string(),
                });
            }
            columns.push(Arc::clone(array));
        }
        columns.extend(metadata_columns(&options.metadata_columns(), batch.messages()));
        Ok(columns)
    }

    fn partition_columns(&self, batch: &Batch) -> Result<Vec<ArrayRef>, BatchError> {
        let names = self.workshop.options.partition_by.iter();
        names.map(|name| column_of(batch, name).map(Arc::clone)).collect()
    }
}

#[async_trait]
impl FileSink for FilesSink {
    async fn write(&mut self, batch: &Batch, now: Now) -> Result<Written, SinkError> {
        self.guarded(|sink| sink.write_batch(batch, now))
    }

    async fn plan(&mut self, now: Now, cut: Cut) -> Result<Plan, SinkError> {
        self.guarded(|sink| sink.plan_parts(now, cut))
    }

    async fn publish(&mut self, part: &Part) -> Result<Published, SinkError> {
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
        let names = &self.workshop.names;
        let open = self.open.values().map(|part| names.staged(&part.partition, part.id));
        let closed = planned.iter().chain(&self.closed).map(|part| part.staged.clone());
        let kept: Vec<_> = open.chain(closed).collect();
        Ok(self.staging().sweep(names, &kept)?)
    }
}

fn column_of<'a>(batch: &'a Batch, name: &str) -> Result<&'a ArrayRef, BatchError> {
    let missing = || BatchError::MissingColumn { name: name.to_owned() };
    batch.column(name).ok_or_else(missing)
}

fn metadata_columns(names: &[&str], messages: &Messages) -> Vec<ArrayRef> {
    let queue = messages.queue();
    let repeat = |text: &str| {
        Arc::new(StringArray::from_iter_values(std::iter::repeat_n(text, messages.len())))
            as ArrayRef
    };
    names
        .iter()
        .map(|name| -> ArrayRef {
            match *name {
                "_queue" => {
                    let number = i32::try_from(queue.queue.0).unwrap_or(i32::MAX);
                    Arc::new(Int32Array::from_value(number, messages.len()))
                }
                "_offset" => {
                    let offsets = messages.iter().map(|message| message.queue_offset.to_wire());
                    Arc::new(Int64Array::from_iter_values(offsets))
                }
                INDEX => {
                    let indexes = messages.iter().map(|message| message.index.map(i64::from));
                    Arc::new(indexes.collect::<Int64Array>())
                }
                "_store_time" => {
                    let micros =
                        messages.iter().map(|message| message.store_at_ms.saturating_mul(1000));
                    let times = TimestampMicrosecondArray::from_iter_values(micros);
                    Arc::new(times.with_timezone("UTC"))
                }
                "_broker" => repeat(&queue.broker),
                _ => repeat(queue.topic.as_str()),
            }
        })
        .collect()
}

#[cfg(test)]
mod tests;
