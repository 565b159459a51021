//! Rows that are decoded already into an index, beside plain tantivy with one thread on the same
//! rows: documents per second and per CPU second.
//!
//! Both make the same fields. Ours writes its parts to a disk and syncs them, adds queue, offset and
//! store time to each document, and merges on its one thread; plain tantivy keeps its files in
//! memory, and has threads for documents, for compressing and for merging beside its caller's.

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{Int64Array, StringArray};
use millrace_connect_api::{Batch, Cut, FileSink, Messages, QueueRef, Resume};
use millrace_disk::RealDisk;
use millrace_sink_index::{FieldKind, IndexOptions, IndexSink, MappedField, Mapping};
use millrace_types::{Now, PhysicalOffset, QueueId, QueueOffset, TopicName, record};
use tantivy::schema::{FAST, INDEXED, STORED, STRING, Schema, TEXT};
use tantivy::{Index, IndexWriter, TantivyDocument};

const ROWS: u64 = 200_000;
const BATCH: u64 = 2_000;
const ROUNDS: usize = 5;

fn main() {
    let batches: Vec<Batch> = (0..ROWS / BATCH).map(|n| batch(n * BATCH)).collect();
    let (mut ours, mut plain) = (Vec::new(), Vec::new());
    for round in 0..=ROUNDS {
        let pair = [measured(|| sink(&batches)), measured(|| tantivy_alone(&batches))];
        // The first round warms caches.
        if round > 0 {
            ours.push(pair[0]);
            plain.push(pair[1]);
        }
    }
    println!("{ROWS} documents of 30 words, {ROUNDS} rounds in turn, medians (and ranges)");
    let ours = report("sink", &ours);
    let plain = report("plain tantivy", &plain);
    println!(
        "{:.2} of plain tantivy's documents per second, {:.2} per CPU second",
        plain.0 / ours.0,
        plain.1 / ours.1
    );
}

/// Seconds and CPU seconds.
fn measured(work: impl FnOnce()) -> (f64, f64) {
    let (cpu, start) = (cpu_seconds(), Instant::now());
    work();
    (start.elapsed().as_secs_f64(), cpu_seconds() - cpu)
}

/// User and system time of this process, all threads together.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("Linux");
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or("").split_whitespace().collect();
    let ticks = |n: usize| fields[n].parse::<f64>().expect("a number");
    (ticks(11) + ticks(12)) / 100.0
}

fn report(what: &str, runs: &[(f64, f64)]) -> (f64, f64) {
    let sorted = |mut values: Vec<f64>| {
        values.sort_by(f64::total_cmp);
        values
    };
    let wall = sorted(runs.iter().map(|run| run.0).collect());
    let cpu = sorted(runs.iter().map(|run| run.1).collect());
    let (middle, last) = (runs.len() / 2, runs.len() - 1);
    println!(
        "{what:<14} {:.2} s ({:.2}..{:.2}) {:.2} CPU s ({:.2}..{:.2}) {:.0} documents/CPU-s",
        wall[middle],
        wall[0],
        wall[last],
        cpu[middle],
        cpu[0],
        cpu[last],
        ROWS as f64 / cpu[middle],
    );
    (wall[middle], cpu[middle])
}

fn sink(batches: &[Batch]) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let field = |name: &str, kind| MappedField { name: name.into(), kind };
    let fields = vec![
        field("id", FieldKind::Int),
        field("region", FieldKind::Keyword),
        field("text", FieldKind::Text),
    ];
    let mapping = Mapping { fields, time: None };
    let options = IndexOptions::new(dir.path(), mapping, "bench");
    let disk = Arc::new(RealDisk::new());
    let mut sink = IndexSink::open(disk, options, Resume::default(), 1).expect("good options");
    let now = Now { mono_ms: 0, wall_ms: 0 };
    for (number, batch) in batches.iter().enumerate() {
        ready(sink.write(batch, now)).expect("written");
        let cut = if number + 1 == batches.len() { Cut::All } else { Cut::Due };
        for part in ready(sink.plan(now, cut)).expect("a plan").parts {
            ready(sink.publish(&part)).expect("published");
        }
    }
    ready(sink.plan(now, Cut::All)).expect("a plan");
}

fn tantivy_alone(batches: &[Batch]) {
    let mut schema = Schema::builder();
    let id = schema.add_i64_field("id", INDEXED | STORED | FAST);
    let region = schema.add_text_field("region", STRING | STORED | FAST);
    let text = schema.add_text_field("text", TEXT | STORED);
    let index = Index::create_in_ram(schema.build());
    let mut writer: IndexWriter = index.writer_with_num_threads(1, 128 << 20).expect("a writer");
    for batch in batches {
        let column = |name: &str| batch.column(name).expect("a column");
        let ids = column("id").as_primitive::<Int64Type>();
        let (regions, texts) = (column("region").as_string::<i32>(), column("text").as_string());
        for row in 0..ids.values().len() {
            let mut document = TantivyDocument::new();
            document.add_i64(id, ids.value(row));
            document.add_text(region, regions.value(row));
            document.add_text(text, StringArray::value(texts, row));
            writer.add_document(document).expect("added");
        }
    }
    writer.commit().expect("committed");
    writer.wait_merging_threads().expect("merged");
}

/// Sinks wait for nothing but the disk.
fn ready<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("an index never waits"),
    }
}

fn batch(from: u64) -> Batch {
    let host = SocketAddr::from(([127, 0, 0, 1], 10911));
    let mut run = Vec::new();
    for offset in from..from + BATCH {
        let draft = record::Draft {
            topic: "t",
            queue_id: QueueId(0),
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
            queue_offset: QueueOffset(offset),
            physical_offset: PhysicalOffset(0),
            store_at_ms: 1_767_225_600_000,
            store_host: host,
            more: false,
        };
        record::encode(&draft, &stamp, &mut run);
    }
    let topic = TopicName::parse("t").expect("a legal name");
    let queue = QueueRef { broker: "b".into(), topic, queue: QueueId(0) };
    let (first, end) = (QueueOffset(from), QueueOffset(from + BATCH));
    let messages = Messages::parse(queue, first, end, vec![run.into()]).expect("just encoded");
    let rows = || from..from + BATCH;
    let regions = rows().map(|row| ["eu", "us", "asia", "africa"][row as usize % 4]);
    Batch::new(Arc::new(messages))
        .with_column("id".into(), Arc::new(Int64Array::from_iter_values(rows().map(|n| n as i64))))
        .with_column("region".into(), Arc::new(StringArray::from_iter_values(regions)))
        .with_column("text".into(), Arc::new(StringArray::from_iter_values(rows().map(words))))
}

/// Few words are frequent and many are rare, as in what people write.
fn words(row: u64) -> String {
    let mut state = row + 1;
    let mut next = move || {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state >> 33
    };
    let word = |_| {
        let of = if next() % 3 == 0 { 20_000 } else { 200 };
        format!("word{}", next() % of)
    };
    (0..30).map(word).collect::<Vec<_>>().join(" ")
}
