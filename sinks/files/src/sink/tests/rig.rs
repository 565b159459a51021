use std::collections::BTreeMap;
use std::future::Future;
use std::net::SocketAddr;
use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use arrow_array::cast::AsArray;
use arrow_array::types::{Int32Type, Int64Type};
use arrow_array::{Int64Array, RecordBatch, StringArray};
use bytes::Bytes;
use millrace_connect_api::{
    Batch, Column, Cut, DataType, FileSink, Messages, OffsetRange, Part, PartState, Plan, QueueRef,
    Resume, Schema, Selection, SinkError, Written,
};
use millrace_disk::SimDisk;
use millrace_types::{Now, PhysicalOffset, QueueId, QueueOffset, TopicName, record};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::file::metadata::ParquetMetaData;

use crate::{
    CsvFormat, FilesOptions, FilesSink, Format, Metadata, ParquetFormat, TextCompression, hive,
    unpacked,
};

/// Sinks wait for nothing but the disk, so their futures are ready at once.
pub(super) fn ready<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("a sink of files never waits"),
    }
}

pub(super) fn at(ms: u64) -> Now {
    Now { mono_ms: ms, wall_ms: 0 }
}

pub(super) fn queue_ref(queue: u32) -> QueueRef {
    let topic = TopicName::parse("t").expect("a legal name");
    QueueRef { broker: "b".into(), topic, queue: QueueId(queue) }
}

/// One row of the log: its partition, and whether a filter lets it through.
#[derive(Clone, Debug)]
pub(super) struct Row {
    pub(super) partition: Option<String>,
    pub(super) selected: bool,
}

/// A row that is selected.
pub(super) fn row(partition: &str) -> Row {
    Row { partition: Some(partition.to_owned()), selected: true }
}

/// The value of column `v`: different for every row of a log.
fn value(queue: u32, offset: u64) -> i64 {
    i64::from(queue) * 1_000_000 + offset as i64
}

/// Consecutive messages of one queue with the columns `p` and `v`.
pub(super) fn batch(queue: u32, from: u64, rows: &[Row]) -> Batch {
    let host = SocketAddr::from(([127, 0, 0, 1], 10911));
    let mut run = Vec::new();
    for (n, _) in rows.iter().enumerate() {
        let draft = record::Draft {
            topic: "t",
            queue_id: QueueId(queue),
            flag: 0,
            sys_flag: 0,
            born_at_ms: 0,
            born_host: host,
            reconsume_times: 0,
            prepared_offset: PhysicalOffset(0),
            body: b"",
            properties: b"",
        };
        let stamp = record::Stamp {
            queue_offset: QueueOffset(from + n as u64),
            physical_offset: PhysicalOffset(0),
            store_at_ms: 1_431_857_103_000 + (from as i64 + n as i64),
            store_host: host,
            more: false,
        };
        record::encode(&draft, &stamp, &mut run);
    }
    let to = QueueOffset(from + rows.len() as u64);
    let messages = Messages::parse(queue_ref(queue), QueueOffset(from), to, vec![run.into()]);
    let values = (0..rows.len() as u64).map(|n| value(queue, from + n));
    let selected = rows.iter().enumerate().filter(|(_, row)| row.selected);
    Batch::new(Arc::new(messages.expect("records just encoded")))
        .with_column("p".into(), Arc::new(partitions(rows)))
        .with_column("v".into(), Arc::new(Int64Array::from_iter_values(values)))
        .with_selection(Selection::Rows(selected.map(|(n, _)| n as u32).collect()))
}

fn partitions(rows: &[Row]) -> StringArray {
    rows.iter().map(|row| row.partition.clone()).collect()
}

pub(super) fn column(name: &str, data_type: DataType) -> Column {
    Column { name: name.to_owned(), data_type }
}

/// Files partitioned by `p`, with `v` and where it comes from.
pub(super) fn options() -> FilesOptions {
    let columns = vec![column("p", DataType::String), column("v", DataType::Int)];
    FilesOptions {
        partition_by: vec!["p".to_owned()],
        metadata: Metadata::Offsets,
        ..FilesOptions::new("/lake/events", Schema { columns }, "pipe", parquet())
    }
}

pub(super) fn parquet() -> Format {
    Format::Parquet(ParquetFormat::default())
}

/// Every format there is, one of each kind and compression.
pub(super) fn formats() -> Vec<Format> {
    use TextCompression::{Gzip, None, Zstd};
    let mut formats = vec![parquet()];
    formats.extend([None, Gzip, Zstd].map(Format::Jsonl));
    let csv = |compression| CsvFormat { compression, ..CsvFormat::default() };
    formats.extend([None, Zstd].map(csv).map(Format::Csv));
    formats
}

pub(super) fn open(disk: &SimDisk, options: FilesOptions) -> FilesSink {
    let sink = FilesSink::open(Arc::new(disk.clone()), options, Resume::default(), 1);
    sink.expect("good options")
}

/// A file that a reader sees.
#[derive(Debug)]
pub(super) struct Visible {
    /// Relative to the sink's directory.
    pub(super) name: String,
    pub(super) bytes: Vec<u8>,
}

/// What a Parquet file says.
pub(super) struct ParquetFile {
    pub(super) metadata: ParquetMetaData,
    pub(super) rows: Vec<RecordBatch>,
}

impl Visible {
    pub(super) fn parquet(&self) -> ParquetFile {
        let name = &self.name;
        let reader = ParquetRecordBatchReaderBuilder::try_new(Bytes::from(self.bytes.clone()));
        let reader = reader.unwrap_or_else(|error| panic!("{name} is no Parquet file: {error}"));
        let metadata = reader.metadata().as_ref().clone();
        let rows = reader.build().expect("a readable file").collect::<Result<_, _>>();
        ParquetFile { metadata, rows: rows.expect("readable rows") }
    }

    /// What a file of text says.
    pub(super) fn text(&self) -> String {
        let text = unpacked(&self.name, self.bytes.clone()).expect("a whole file");
        String::from_utf8(text).expect("UTF-8")
    }

    pub(super) fn partition(&self) -> &str {
        self.name.rsplit_once('/').map_or("", |(partition, _)| partition)
    }

    /// `(queue, offset, v)` of every row.
    pub(super) fn origins(&self) -> Vec<(u32, u64, i64)> {
        if self.name.ends_with(".parquet") {
            return self.parquet().origins();
        }
        if self.name.contains(".csv") {
            return self.csv_origins();
        }
        let origin = |line: &str| {
            let row: serde_json::Value = serde_json::from_str(line).expect("a line of JSON");
            let number = |name: &str| row[name].as_i64().expect("a number");
            (number("_queue") as u32, number("_offset") as u64, number("v"))
        };
        self.text().lines().map(origin).collect()
    }

    fn csv_origins(&self) -> Vec<(u32, u64, i64)> {
        let text = self.text();
        let mut lines = text.lines();
        assert_eq!(lines.next(), Some("v,_queue,_offset,_store_time"));
        let origin = |line: &str| {
            let fields: Vec<_> = line.split(',').collect();
            let number = |at: usize| fields[at].parse::<i64>().expect("a number");
            (number(1) as u32, number(2) as u64, number(0))
        };
        lines.map(origin).collect()
    }
}

impl ParquetFile {
    fn origins(&self) -> Vec<(u32, u64, i64)> {
        let mut origins = Vec::new();
        for batch in &self.rows {
            let column = |name| batch.column_by_name(name).expect("the column");
            let queues = column("_queue").as_primitive::<Int32Type>();
            let offsets = column("_offset").as_primitive::<Int64Type>();
            let values = column("v").as_primitive::<Int64Type>();
            for row in 0..batch.num_rows() {
                let queue = queues.value(row) as u32;
                origins.push((queue, offsets.value(row) as u64, values.value(row)));
            }
        }
        origins
    }
}

/// The files that a reader finds, who looks for names that end like those of a format.
pub(super) fn visible(disk: &SimDisk, to: &str) -> Vec<Visible> {
    let mut files = Vec::new();
    for path in disk.paths() {
        let Ok(name) = path.strip_prefix(to) else { continue };
        let name = name.to_string_lossy().into_owned();
        let (_, file) = name.rsplit_once('/').unwrap_or(("", &name));
        let is_of_a_format =
            Format::EXTENSIONS.iter().any(|extension| file.ends_with(&format!(".{extension}")));
        if !file.starts_with('.') && is_of_a_format {
            let bytes = disk.file_bytes(&path).expect("the file is listed");
            files.push(Visible { name, bytes });
        }
    }
    files
}

/// Names of files that no reader sees, relative to the sink's directory.
pub(super) fn staged(disk: &SimDisk, to: &str) -> Vec<String> {
    let paths = disk.paths();
    let names = paths.iter().filter_map(|path| path.strip_prefix(to).ok());
    let names = names.map(|name| name.to_string_lossy().into_owned());
    names.filter(|name| name.ends_with(".part")).collect()
}

/// What the runtime knows durably, here in a disk of its own that never fails.
#[derive(Clone, Debug, Default)]
pub(super) struct Ledger {
    /// As of the last commit.
    pub(super) resume: Resume,
    /// Planned and not committed.
    pub(super) planned: Option<Plan>,
    pub(super) committed: Vec<Part>,
}

impl Ledger {
    fn next_part_id(&self) -> u64 {
        let planned = self.planned.iter().flat_map(|plan| &plan.parts);
        planned.chain(&self.committed).map(|part| part.id).max().unwrap_or(0) + 1
    }

    fn commit(&mut self) {
        if let Some(plan) = self.planned.take() {
            self.committed.extend(plan.parts);
            self.resume = plan.resume;
        }
    }
}

/// A worker: reads the log from where the ledger says and feeds a sink, until something fails.
pub(super) struct Worker<'a> {
    log: &'a [Vec<Row>],
    pub(super) sink: FilesSink,
    positions: Vec<u64>,
    now_ms: u64,
}

impl<'a> Worker<'a> {
    /// Opens the sink and finishes what an earlier worker planned.
    pub(super) fn start(
        disk: &SimDisk,
        log: &'a [Vec<Row>],
        options: FilesOptions,
        ledger: &mut Ledger,
    ) -> Result<Self, SinkError> {
        let planned: Vec<_> = ledger.planned.iter().flat_map(|plan| plan.parts.clone()).collect();
        let next = ledger.next_part_id();
        // What was planned is finished by a sink of its own, as the offsets move with it.
        if !planned.is_empty() {
            let mut sink = reopen(disk, options.clone(), Resume::default(), next)?;
            for part in &planned {
                match ready(sink.probe(part))? {
                    PartState::Published => {}
                    PartState::Staged => {
                        ready(sink.publish(part))?;
                    }
                    PartState::Gone | PartState::Unknown => {
                        panic!("a planned part is gone: {}", part.name)
                    }
                }
            }
        }
        ledger.commit();
        let mut sink = reopen(disk, options, ledger.resume.clone(), next)?;
        ready(sink.sweep(&[]))?;
        let next = |queue| ledger.resume.next.get(&queue_ref(queue)).map_or(0, |next| next.0);
        let positions = (0..log.len() as u32).map(next).collect();
        Ok(Self { log, sink, positions, now_ms: 0 })
    }

    /// Feeds up to `count` rows of a queue.
    pub(super) fn feed(&mut self, queue: u32, count: u64) -> Result<Written, SinkError> {
        self.now_ms += 10;
        let rows = &self.log[queue as usize];
        let from = self.positions[queue as usize];
        let to = rows.len().min((from + count) as usize);
        self.positions[queue as usize] = to as u64;
        let batch = batch(queue, from, &rows[from as usize..to]);
        ready(self.sink.write(&batch, at(self.now_ms)))
    }

    pub(super) fn plan(&mut self, cut: Cut) -> Result<Plan, SinkError> {
        ready(self.sink.plan(at(self.now_ms), cut))
    }

    /// Plans, publishes and commits.
    pub(super) fn commit(&mut self, cut: Cut, ledger: &mut Ledger) -> Result<(), SinkError> {
        let plan = self.plan(cut)?;
        let parts = plan.parts.clone();
        ledger.planned = Some(plan);
        for part in &parts {
            ready(self.sink.publish(part))?;
        }
        ledger.commit();
        Ok(())
    }

    /// Feeds what is left of the log and closes everything.
    pub(super) fn finish(&mut self, ledger: &mut Ledger) -> Result<(), SinkError> {
        for queue in 0..self.log.len() as u32 {
            while self.positions[queue as usize] < self.log[queue as usize].len() as u64 {
                self.feed(queue, 7)?;
                self.commit(Cut::Due, ledger)?;
            }
        }
        self.commit(Cut::All, ledger)
    }
}

fn reopen(
    disk: &SimDisk,
    options: FilesOptions,
    resume: Resume,
    next_part_id: u64,
) -> Result<FilesSink, SinkError> {
    let mut sink = FilesSink::open(Arc::new(disk.clone()), options, resume, next_part_id)
        .map_err(|error| SinkError::Broken(Box::new(error)))?;
    // So that few rows are many chunks, and files are written to before they are closed.
    sink.workshop.chunk_rows = 3;
    Ok(sink)
}

/// Checks that each visible row is in the log, at most once and in its partition's directory.
#[track_caller]
pub(super) fn judge(disk: &SimDisk, log: &[Vec<Row>]) -> usize {
    let mut seen: BTreeMap<(u32, u64), String> = BTreeMap::new();
    for file in visible(disk, "/lake/events") {
        for (queue, offset, found) in file.origins() {
            assert_eq!(found, value(queue, offset));
            let row = &log[queue as usize][offset as usize];
            assert!(row.selected, "{queue}/{offset} was filtered out");
            let partition = hive::segment("p", row.partition.as_deref());
            assert_eq!(Some(file.partition()), partition.as_deref());
            if let Some(other) = seen.insert((queue, offset), file.name.clone()) {
                panic!("{queue}/{offset} is in {other} and in {}", file.name);
            }
        }
    }
    seen.len()
}

/// The same, and that nothing is missing and nothing left over.
#[track_caller]
pub(super) fn judge_finished(disk: &SimDisk, log: &[Vec<Row>], ledger: &Ledger) {
    let selected = log.iter().flatten().filter(|row| row.selected).count();
    assert_eq!(judge(disk, log), selected);
    assert_eq!(staged(disk, "/lake/events"), Vec::<String>::new());
    let files = visible(disk, "/lake/events");
    assert_eq!(files.len(), ledger.committed.len());
    for (queue, rows) in log.iter().enumerate() {
        let next = ledger.resume.next.get(&queue_ref(queue as u32));
        assert_eq!(next.map_or(0, |next| next.0), rows.len() as u64);
    }
    assert!(ledger.resume.ahead.is_empty());

    let mut ranges: BTreeMap<&str, Vec<&OffsetRange>> = BTreeMap::new();
    for part in &ledger.committed {
        let file = files.iter().find(|file| file.name == part.name).expect("a committed part");
        let within = |queue: u32, offset: u64| {
            let offset = QueueOffset(offset);
            let mut ranges = part.ranges.iter().filter(|range| range.queue == queue_ref(queue));
            ranges.any(|range| range.from <= offset && offset < range.to)
        };
        let origins = file.origins();
        assert_eq!(origins.len() as u64, part.rows);
        assert!(origins.iter().all(|(queue, offset, _)| within(*queue, *offset)));
        ranges.entry(&part.partition).or_default().extend(&part.ranges);
    }
    for ranges in ranges.values() {
        for (n, a) in ranges.iter().enumerate() {
            for b in &ranges[n + 1..] {
                let apart = a.queue != b.queue || a.to <= b.from || b.to <= a.from;
                assert!(apart, "{a:?} and {b:?} overlap");
            }
        }
    }
}

/// Whether there is such a file.
pub(super) fn exists(disk: &SimDisk, path: impl AsRef<Path>) -> bool {
    disk.file_bytes(path).is_some()
}
