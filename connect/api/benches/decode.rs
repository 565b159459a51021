//! Bodies to columns: rows and bytes per second, ours and arrow-json's.

use std::hint::black_box;
use std::net::SocketAddr;
use std::sync::Arc;

use arrow_schema::{DataType as ArrowType, Field, Schema as ArrowSchema, TimeUnit};
use divan::Bencher;
use divan::counter::{BytesCount, ItemsCount};
use millrace_connect_api::decode::{DecodeSpec, Decoder, RegexSpec};
use millrace_connect_api::{Column, DataType, Messages, QueueRef, Selection};
use millrace_types::{PhysicalOffset, QueueId, QueueOffset, TopicName, record};

fn main() {
    divan::main();
}

const ROWS: usize = 2_000;

/// Twelve fields, 363 bytes on average.
const COLUMNS: [(&str, DataType); 12] = [
    ("id", DataType::Int),
    ("ts", DataType::Timestamp),
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
    format!(
        concat!(
            r#"{{"id":{},"ts":"2026-01-{:02}T{:02}:{:02}:{:02}.{:03}Z","type":"{}","#,
            r#""customer_id":"c-{:08x}","region":"{}","amount":{}.{:02},"quantity":{},"#,
            r#""paid":{},"email":"user{}@mail.example","url":"https://shop.example/{}/{:x}","#,
            r#""agent":"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/126","#,
            r#""comment":"delivered to the neighbour {:012x}"}}"#
        ),
        n,
        noise % 28 + 1,
        noise % 24,
        noise % 60,
        noise / 7 % 60,
        noise % 1000,
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

fn log_row(n: u64) -> String {
    let noise = n.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 20;
    format!(
        concat!(
            r#"10.0.{}.{} - - [17/May/2015:{:02}:{:02}:03 +0000] "GET /presentations/{:x}.png "#,
            r#"HTTP/1.1" 200 {} "http://site.example/presentations/" "Mozilla/5.0 (X11; Linux "#,
            r#"x86_64) AppleWebKit/537.36 Chrome/126 Safari/537.36""#
        ),
        noise % 200,
        noise % 250,
        noise % 24,
        noise % 60,
        noise,
        noise % 100_000,
    )
}

fn messages(row: impl Fn(u64) -> String) -> (Messages, usize) {
    let host = SocketAddr::from(([127, 0, 0, 1], 10911));
    let (mut run, mut bytes) = (Vec::new(), 0);
    for n in 0..ROWS as u64 {
        let body = row(n);
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
    let topic = TopicName::parse("t").expect("a legal name");
    let queue = QueueRef { broker: "b".into(), topic, queue: QueueId(0) };
    let to = QueueOffset(ROWS as u64);
    let messages = Messages::parse(queue, QueueOffset(0), to, vec![run.into()]);
    (messages.expect("records just encoded"), bytes)
}

fn columns(names: &[(&str, DataType)]) -> Vec<Column> {
    let column =
        |(name, data_type): &(&str, _)| Column { name: (*name).to_owned(), data_type: *data_type };
    names.iter().map(column).collect()
}

fn decode(bencher: Bencher<'_, '_>, row: fn(u64) -> String, mut decoder: Box<dyn Decoder>) {
    let (messages, bytes) = messages(row);
    bencher.counter(ItemsCount::new(ROWS)).counter(BytesCount::new(bytes)).bench_local(|| {
        let decoded = decoder.decode(black_box(&messages), &Selection::All(ROWS));
        assert!(decoded.rejects.is_empty());
        decoded
    });
}

#[divan::bench]
fn json_all_columns(bencher: Bencher<'_, '_>) {
    let decoder = DecodeSpec::Json.decoder(&columns(&COLUMNS)).expect("good columns");
    decode(bencher, json_row, decoder);
}

#[divan::bench]
fn json_two_columns(bencher: Bencher<'_, '_>) {
    let two = [COLUMNS[0], COLUMNS[5]];
    let decoder = DecodeSpec::Json.decoder(&columns(&two)).expect("good columns");
    decode(bencher, json_row, decoder);
}

#[divan::bench]
fn json_check(bencher: Bencher<'_, '_>) {
    let mut decoder = DecodeSpec::Json.decoder(&columns(&COLUMNS)).expect("good columns");
    let (messages, bytes) = messages(json_row);
    bencher
        .counter(ItemsCount::new(ROWS))
        .counter(BytesCount::new(bytes))
        .bench_local(|| messages.iter().all(|message| decoder.check(message.body).is_ok()));
}

#[divan::bench]
fn json_all_columns_by_arrow_json(bencher: Bencher<'_, '_>) {
    let (messages, bytes) = messages(json_row);
    // arrow-json knows offsets and no zone names.
    let utc = ArrowType::Timestamp(TimeUnit::Microsecond, Some("+00:00".into()));
    let fields = COLUMNS.map(|(name, data_type)| match data_type {
        DataType::Timestamp => Field::new(name, utc.clone(), true),
        _ => Field::new(name, data_type.to_arrow(), true),
    });
    let schema = Arc::new(ArrowSchema::new(fields.to_vec()));
    let mut decoder = arrow_json::ReaderBuilder::new(schema)
        .with_batch_size(ROWS)
        .build_decoder()
        .expect("a schema arrow-json knows");
    bencher.counter(ItemsCount::new(ROWS)).counter(BytesCount::new(bytes)).bench_local(|| {
        for message in black_box(&messages).iter() {
            decoder.decode(message.body).expect("good JSON");
            decoder.decode(b"\n").expect("good JSON");
        }
        let batch = decoder.flush().expect("good rows").expect("a batch");
        assert_eq!(batch.num_rows(), ROWS);
        batch
    });
}

#[divan::bench]
fn log_lines_by_pattern(bencher: Bencher<'_, '_>) {
    let pattern = concat!(
        r#"^(?<host>\S+) (?<ident>\S+) (?<user>\S+) \[(?<time>[^\]]+)\] "(?<request>[^"]*)" "#,
        r#"(?<status>\d{3}) (?<bytes>\d+|-) "(?<referrer>[^"]*)" "(?<agent>[^"]*)"?$"#
    );
    let spec = DecodeSpec::Regex(RegexSpec {
        pattern: pattern.to_owned(),
        types: columns(&[("status", DataType::Int), ("bytes", DataType::Int)]),
        time: Some(("time".to_owned(), "%d/%b/%Y:%H:%M:%S %z".to_owned())),
        null: Some("-".to_owned()),
    });
    let wanted = spec.known_schema().expect("a good pattern").columns;
    decode(bencher, log_row, spec.decoder(&wanted).expect("a good spec"));
}
