//! Rows into Parquet files on a real disk: rows and bytes (of their JSON) per second.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use divan::Bencher;
use divan::counter::{BytesCount, ItemsCount};
use millrace_connect_api::decode::{DecodeSpec, Decoder};
use millrace_connect_api::{
    Batch, Column, Cut, DataType, FileSink, Messages, QueueRef, Resume, Schema, Selection,
};
use millrace_disk::RealDisk;
use millrace_sink_files::{Compression, FilesOptions, FilesSink, Format, ParquetFormat};
use millrace_types::{Now, PhysicalOffset, QueueId, QueueOffset, TopicName, record};

fn main() {
    divan::main();
}

const BATCHES: u64 = 100;
const ROWS_PER_BATCH: u64 = 1_000;

const COLUMNS: [(&str, DataType); 13] = [
    ("id", DataType::Int),
    ("ts", DataType::Timestamp),
    ("day", DataType::Date),
    ("type", DataType::String),
    ("customer_id", DataType::String),
    ("region", DataType::String),
    ("amount", DataType::Double),
    ("quantity", DataType::Int),
    ("paid", DataType::Bool),
    ("email", DataType::String),
    ("url", DataType::String),
    ("agent", DataType::String),
    ("comment", DataType::String),
];

fn json_row(n: u64) -> String {
    // A few bits of noise, the same in every run.
    let noise = n.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 20;
    let kind = ["purchase", "view", "refund"][(noise % 3) as usize];
    let region = ["eu", "us", "apac"][(noise / 3 % 3) as usize];
    let day = noise % 28 + 1;
    format!(
        concat!(
            r#"{{"id":{},"ts":"2026-01-{:02}T{:02}:{:02}:{:02}.{:03}Z","day":"2026-01-{:02}","#,
            r#""type":"{}","customer_id":"c-{:08x}","region":"{}","amount":{}.{:02},"#,
            r#""quantity":{},"paid":{},"email":"user{}@mail.example","#,
            r#""url":"https://shop.example/{}/{:x}","#,
            r#""agent":"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/126","#,
            r#""comment":"delivered to the neighbour {:012x}"}}"#
        ),
        n,
        day,
        noise % 24,
        noise % 60,
        noise / 7 % 60,
        noise % 1000,
        day,
        kind,
        noise as u32,
        region,
        noise % 5000,
        noise % 100,
        noise % 9 + 1,
        noise.is_multiple_of(2),
        noise % 100_000,
        kind,
        noise,
        noise,
    )
}

/// All messages in batches, and the bytes of their bodies.
fn messages() -> (Vec<Arc<Messages>>, usize) {
    let host = SocketAddr::from(([127, 0, 0, 1], 10911));
    let topic = TopicName::parse("t").expect("a legal name");
    let queue = QueueRef { broker: "b".into(), topic, queue: QueueId(0) };
    let mut bytes = 0;
    let batches = (0..BATCHES).map(|batch| {
        let mut run = Vec::new();
        let (from, to) = (batch * ROWS_PER_BATCH, (batch + 1) * ROWS_PER_BATCH);
        for n in from..to {
            let body = json_row(n);
            bytes += body.len();
            let draft = record::Draft {
                topic: "t",
                queue_id: QueueId(0),
                flag: 0,
                sys_flag: 0,
                born_at_ms: 0,
                born_host: host,
                reconsume_times: 0,
                prepared_offset: PhysicalOffset(0),
                body: body.as_bytes(),
                properties: b"",
            };
            let stamp = record::Stamp {
                queue_offset: QueueOffset(n),
                physical_offset: PhysicalOffset(run.len() as u64),
                store_at_ms: 0,
                store_host: host,
                more: false,
            };
            record::encode(&draft, &stamp, &mut run);
        }
        let (from, to) = (QueueOffset(from), QueueOffset(to));
        let messages = Messages::parse(queue.clone(), from, to, vec![run.into()]);
        Arc::new(messages.expect("records just encoded"))
    });
    (batches.collect(), bytes)
}

fn columns() -> Vec<Column> {
    let column = |(name, data_type): (&str, _)| Column { name: name.to_owned(), data_type };
    COLUMNS.map(column).to_vec()
}

fn decoder() -> Box<dyn Decoder> {
    DecodeSpec::Json.decoder(&columns()).expect("good columns")
}

fn decode(decoder: &mut dyn Decoder, messages: &Arc<Messages>) -> Batch {
    let decoded = decoder.decode(messages, &Selection::All(messages.len()));
    assert!(decoded.rejects.is_empty());
    let batch = Batch::new(Arc::clone(messages));
    let columns = COLUMNS.iter().zip(decoded.columns);
    columns.fold(batch, |batch, ((name, _), column)| batch.with_column((*name).into(), column))
}

fn ready<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => unreachable!("a sink of files never waits"),
    }
}

/// Writes batches into a new directory, up to the synced files.
fn write(options: &FilesOptions, batches: impl Iterator<Item = Batch>) {
    let dir = tempfile::tempdir().expect("a directory");
    let options = FilesOptions { to: dir.path().join("lake"), ..options.clone() };
    let mut sink =
        FilesSink::open(Arc::new(RealDisk), options, Resume::default(), 1).expect("good options");
    for batch in batches {
        ready(sink.write(&batch, Now::default())).expect("a disk that works");
    }
    let plan = ready(sink.plan(Now::default(), Cut::All)).expect("a disk that works");
    assert_eq!(plan.parts.iter().map(|part| part.rows).sum::<u64>(), BATCHES * ROWS_PER_BATCH);
}

fn options(compression: Compression) -> FilesOptions {
    let columns = Schema { columns: columns() };
    let format = Format::Parquet(ParquetFormat { compression, ..ParquetFormat::default() });
    FilesOptions::new("", columns, "bench", format)
}

fn rows() -> ItemsCount {
    ItemsCount::new(BATCHES * ROWS_PER_BATCH)
}

const COMPRESSIONS: [Compression; 4] =
    [Compression::None, Compression::Snappy, Compression::Zstd(1), Compression::Zstd(3)];

#[divan::bench(args = COMPRESSIONS, sample_count = 10)]
fn columns_to_one_file(bencher: Bencher<'_, '_>, compression: Compression) {
    let (messages, bytes) = messages();
    let mut decoder = decoder();
    let batches: Vec<_> =
        messages.iter().map(|messages| decode(decoder.as_mut(), messages)).collect();
    let options = options(compression);
    bencher
        .counter(rows())
        .counter(BytesCount::new(bytes))
        .bench_local(|| write(&options, batches.iter().cloned()));
}

#[divan::bench(sample_count = 10)]
fn columns_to_28_partitions(bencher: Bencher<'_, '_>) {
    let (messages, bytes) = messages();
    let mut decoder = decoder();
    let batches: Vec<_> =
        messages.iter().map(|messages| decode(decoder.as_mut(), messages)).collect();
    let options =
        FilesOptions { partition_by: vec!["day".to_owned()], ..options(Compression::Zstd(3)) };
    bencher
        .counter(rows())
        .counter(BytesCount::new(bytes))
        .bench_local(|| write(&options, batches.iter().cloned()));
}

#[divan::bench(sample_count = 10)]
fn json_to_one_file(bencher: Bencher<'_, '_>) {
    let (messages, bytes) = messages();
    let options = options(Compression::Zstd(3));
    bencher.counter(rows()).counter(BytesCount::new(bytes)).bench_local(|| {
        let mut decoder = decoder();
        write(&options, messages.iter().map(|messages| decode(decoder.as_mut(), messages)));
    });
}
