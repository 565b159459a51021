//! A part that still takes rows.

use std::path::PathBuf;
use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch};
use arrow_schema::SchemaRef;
use millrace_connect_api::{OffsetRange, Part, QueueRef};
use millrace_disk::Disk;
use millrace_types::Now;

use crate::encoder::{self, Encoder};
use crate::error::FileSinkError;
use crate::frontier::Spans;
use crate::names::Names;
use crate::options::{FilesOptions, Rotate};
use crate::pending::{Pending, one_piece};
use crate::staging::Staging;

/// A part that still takes rows. Its file is made when there are enough rows to encode.
pub(crate) struct OpenPart {
    pub(crate) id: u64,
    pub(crate) partition: Arc<str>,
    pub(crate) spans: Spans,
    rows: u64,
    first_at_ms: u64,
    last_at_ms: u64,
    pending: Pending,
    encoder: Option<Box<dyn Encoder>>,
}

/// Memory of a part with hardly any rows.
const BASE_BYTES: u64 = 4 << 10;

/// What parts of one sink have in common.
pub(crate) struct Workshop {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) options: FilesOptions,
    pub(crate) names: Names,
    pub(crate) schema: SchemaRef,
    pub(crate) chunk_rows: usize,
}

impl OpenPart {
    pub(crate) fn new(id: u64, partition: Arc<str>, workshop: &Workshop, now: Now) -> Self {
        Self {
            id,
            partition,
            spans: Spans::default(),
            rows: 0,
            first_at_ms: now.mono_ms,
            last_at_ms: now.mono_ms,
            pending: Pending::new(&workshop.schema, workshop.chunk_rows),
            encoder: None,
        }
    }

    /// Takes rows of a batch until the part is full, and says how many. `columns` are those of the
    /// file in order.
    pub(crate) fn append(
        &mut self,
        workshop: &Workshop,
        columns: &[ArrayRef],
        rows: &[u32],
        now: Now,
    ) -> Result<usize, FileSinkError> {
        self.last_at_ms = now.mono_ms;
        let mut taken = 0;
        while taken < rows.len() && !self.is_full(&workshop.options.rotate) {
            let mut next = &rows[taken..];
            if let Some(max) = workshop.options.rotate.rows {
                let room = usize::try_from(max - self.rows).unwrap_or(usize::MAX);
                next = &next[..room.min(next.len())];
            }
            taken += self.append_some(workshop, columns, next)?;
        }
        Ok(taken)
    }

    /// Takes all of these rows, full or not: the rest of a message that it has rows of.
    pub(crate) fn append_rest(
        &mut self,
        workshop: &Workshop,
        columns: &[ArrayRef],
        mut rows: &[u32],
    ) -> Result<(), FileSinkError> {
        while !rows.is_empty() {
            let taken = self.append_some(workshop, columns, rows)?;
            rows = &rows[taken..];
        }
        Ok(())
    }

    fn append_some(
        &mut self,
        workshop: &Workshop,
        columns: &[ArrayRef],
        rows: &[u32],
    ) -> Result<usize, FileSinkError> {
        let count = self.pending.room(columns, rows);
        let piece = &rows[..count];
        if let Some(chunk) = whole_chunk(workshop, columns, piece) {
            self.encode(workshop, &chunk)?;
        } else {
            self.pending.append(columns, piece);
            if self.pending.is_chunk() {
                self.encode_pending(workshop)?;
            }
        }
        self.rows += count as u64;
        Ok(count)
    }

    /// Whether it must take no more rows.
    pub(crate) fn is_full(&self, rotate: &Rotate) -> bool {
        let bytes = || self.encoder.as_ref().map_or(0, |encoder| encoder.bytes());
        rotate.rows.is_some_and(|max| self.rows >= max)
            || rotate.bytes.is_some_and(|max| bytes() >= max)
    }

    /// Whether it is time to close it.
    pub(crate) fn is_due(&self, rotate: &Rotate, now: Now) -> bool {
        let waited = |since: u64, max: Option<u64>| {
            max.is_some_and(|max| now.mono_ms.saturating_sub(since) >= max)
        };
        waited(self.first_at_ms, rotate.every_ms)
            || waited(self.last_at_ms, rotate.idle_ms)
            || self.is_full(rotate)
    }

    /// When it got its last row.
    pub(crate) fn last_at_ms(&self) -> u64 {
        self.last_at_ms
    }

    /// Completes the file and makes it durable, up to its name.
    pub(crate) fn close(
        mut self,
        workshop: &Workshop,
        ranges: Vec<OffsetRange>,
    ) -> Result<Part, FileSinkError> {
        if !self.pending.is_empty() {
            self.encode_pending(workshop)?;
        }
        let encoder = self.encoder.expect("a part is opened for a row, which is encoded by now");
        let metadata = vec![
            ("millrace.pipeline", workshop.names.prefix.clone()),
            ("millrace.part", self.id.to_string()),
            ("millrace.ranges", ranges_as_json(&ranges)),
        ];
        let finished = encoder.finish(metadata)?;
        Ok(Part {
            id: self.id,
            name: workshop.names.published(&self.partition, self.id),
            staged: workshop.names.staged(&self.partition, self.id),
            partition: self.partition.to_string(),
            ranges,
            rows: self.rows,
            bytes: finished.bytes,
            checksum: finished.checksum,
        })
    }

    /// Whether it has a file whose handle is open.
    pub(crate) fn holds_file(&self) -> bool {
        self.encoder.as_ref().is_some_and(|encoder| !encoder.is_parked())
    }

    /// Gives the file's handle back until there is something to write.
    pub(crate) fn park(&mut self) -> Result<(), FileSinkError> {
        self.encoder.as_mut().map_or(Ok(()), |encoder| encoder.park())
    }

    /// Writes all rows out.
    pub(crate) fn spill(&mut self, workshop: &Workshop) -> Result<(), FileSinkError> {
        if !self.pending.is_empty() {
            self.encode_pending(workshop)?;
        }
        self.encoder.as_mut().map_or(Ok(()), |encoder| encoder.spill())
    }

    /// Memory that [`OpenPart::spill`] would free.
    pub(crate) fn spillable_bytes(&self) -> u64 {
        let encoded = self.encoder.as_ref().map_or(0, |encoder| encoder.spillable_bytes());
        (self.pending.memory_bytes() + encoded) as u64
    }

    /// All memory that it takes, about.
    pub(crate) fn memory_bytes(&self) -> u64 {
        let kept = self.encoder.as_ref().map_or(0, |encoder| encoder.kept_bytes());
        BASE_BYTES + self.spillable_bytes() + kept as u64
    }

    fn encode_pending(&mut self, workshop: &Workshop) -> Result<(), FileSinkError> {
        let rows = self.pending.take();
        self.encode(workshop, &rows)
    }

    fn encode(&mut self, workshop: &Workshop, rows: &RecordBatch) -> Result<(), FileSinkError> {
        let encoder = match &mut self.encoder {
            Some(encoder) => encoder,
            none => {
                let Workshop { disk, options, names, schema, .. } = workshop;
                let staging = Staging::new(disk.as_ref(), &options.to);
                staging.create_dir(&self.partition)?;
                let path: PathBuf = options.to.join(names.staged(&self.partition, self.id));
                none.insert(encoder::create(disk, &path, schema, options, rows)?)
            }
        };
        encoder.write(rows)
    }
}

/// If the rows are a whole chunk in one piece: that chunk, without a copy.
fn whole_chunk(workshop: &Workshop, columns: &[ArrayRef], rows: &[u32]) -> Option<RecordBatch> {
    let piece = one_piece(rows).filter(|piece| piece.len() == workshop.chunk_rows)?;
    let chunk = columns.iter().map(|column| column.slice(piece.start, piece.len())).collect();
    let chunk = RecordBatch::try_new(Arc::clone(&workshop.schema), chunk);
    Some(chunk.expect("the sink checked the columns against the schema"))
}

/// Ranges as they stand in a file's metadata, for whoever finds the file without its ledger.
fn ranges_as_json(ranges: &[OffsetRange]) -> String {
    let range = |range: &OffsetRange| {
        let QueueRef { broker, topic, queue } = &range.queue;
        format!(
            r#"{{"broker":"{}","topic":"{topic}","queue":{queue},"from":{},"to":{}}}"#,
            escape(broker),
            range.from,
            range.to
        )
    };
    format!("[{}]", ranges.iter().map(range).collect::<Vec<_>>().join(","))
}

/// A broker may have any name; topics are checked.
fn escape(text: &str) -> String {
    let escape = |char: char| match char {
        '"' | '\\' => format!("\\{char}"),
        char if char < ' ' => format!("\\u{:04x}", u32::from(char)),
        char => char.to_string(),
    };
    text.chars().map(escape).collect()
}
