//! A durable topic to a search index (pull, decode, index, ledger), beside plain tantivy with one
//! thread on the same documents.
//!
//! ```text
//! index PROGRAM [--rows 300000] [--rounds 3]
//! ```
//!
//! Both parse the same JSON and make the same fields; ours writes files and syncs them, and adds
//! queue, offset and store time to each document, plain tantivy keeps its files in memory. Both run
//! as processes of their own, in turn; CPU seconds are user and system together, as the kernel
//! accounts them to a finished child. `tests/bench/index` builds everything and runs it.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use millrace_disk::RealDisk;
use millrace_sink_index::Search;
use serde_json::Value;
use tantivy::schema::{
    DateOptions, DateTimePrecision, FAST, INDEXED, STORED, STRING, Schema, TEXT,
};
use tantivy::time::OffsetDateTime;
use tantivy::time::format_description::well_known::Rfc3339;
use tantivy::{DateTime, Index, IndexWriter, TantivyDocument};

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|a| a != "--bench").collect();
    if let [mode, input] = &arguments[..]
        && mode == "plain"
    {
        return plain(Path::new(input));
    }
    let program = arguments.first().expect("the path of the program");
    let number = |name: &str, default: u64| {
        let at = arguments.iter().position(|argument| argument == name);
        at.map_or(default, |at| arguments[at + 1].parse().expect("a number"))
    };
    let (rows, rounds) = (number("--rows", 300_000), number("--rounds", 3));
    let dir = tempfile::tempdir().expect("a temporary directory");
    let (input, data) = (dir.path().join("rows.jsonl"), dir.path().join("data"));
    let bytes = generate(&input, rows);
    println!("{rows} documents of {} bytes, {rounds} rounds in turn", bytes / rows);
    let pipeline = dir.path().join("pipeline.yaml");
    let ours = |name: &str, ends: &str| {
        std::fs::write(&pipeline, pipeline_file(name, ends)).expect("the pipeline is written");
        run(Command::new(program)
            .args(["run", "--once", "--data-dir"])
            .arg(&data)
            .arg(&pipeline)
            .env("INPUT", &input)
            .env("INDEX", dir.path().join(name)))
    };
    ours("fill", FILL);
    let (mut whole, mut alone) = (Vec::new(), Vec::new());
    for round in 0..=rounds {
        let name = format!("index-{round}");
        let measured = ours(&name, INDEX);
        let found = Search::open(&RealDisk::new(), &dir.path().join(&name)).expect("an index");
        assert_eq!(found.documents(), rows, "documents in the index");
        let own = std::env::current_exe().expect("this program");
        let plain = run(Command::new(own).arg("plain").arg(&input));
        // The first round warms the page cache.
        if round > 0 {
            whole.push(measured);
            alone.push(plain);
        }
        std::fs::remove_dir_all(dir.path().join(&name)).expect("removed");
    }
    let ours = report("durable topic to index", rows, &whole);
    let theirs = report("plain tantivy, 1 thread", rows, &alone);
    println!(
        "{:.2} of plain tantivy's documents per CPU second, {:.2} per second",
        theirs.0 / ours.0,
        theirs.1 / ours.1
    );
}

/// Prints a line and gives the medians of CPU seconds and wall seconds.
fn report(what: &str, rows: u64, runs: &[(f64, f64)]) -> (f64, f64) {
    let sorted = |mut values: Vec<f64>| {
        values.sort_by(f64::total_cmp);
        values
    };
    let cpu = sorted(runs.iter().map(|run| run.0).collect());
    let wall = sorted(runs.iter().map(|run| run.1).collect());
    let middle = runs.len() / 2;
    println!(
        "{what:<26} {:>6.2} CPU s ({:.2}..{:.2}) {:>6.2} s wall ({:.2}..{:.2}) {:>9.0} documents/CPU-s",
        cpu[middle],
        cpu[0],
        cpu[cpu.len() - 1],
        wall[middle],
        wall[0],
        wall[wall.len() - 1],
        rows as f64 / cpu[middle],
    );
    (cpu[middle], wall[middle])
}

/// CPU seconds and wall seconds of a command that must succeed.
fn run(command: &mut Command) -> (f64, f64) {
    let (before, start) = (children(), Instant::now());
    let status = command.stdout(Stdio::null()).status().expect("it starts");
    assert!(status.success(), "{command:?} ended with {status}");
    (children() - before, start.elapsed().as_secs_f64())
}

/// CPU seconds of all finished children.
fn children() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("Linux");
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or("").split_whitespace().collect();
    let ticks = |n: usize| fields[n].parse::<f64>().expect("a number");
    (ticks(13) + ticks(14)) / 100.0
}

fn plain(input: &Path) {
    let mut schema = Schema::builder();
    let id = schema.add_i64_field("id", INDEXED | STORED | FAST);
    let times = DateOptions::from(INDEXED | STORED | FAST);
    let ts = schema.add_date_field("ts", times.set_precision(DateTimePrecision::Microseconds));
    let region = schema.add_text_field("region", STRING | STORED | FAST);
    let text = schema.add_text_field("text", TEXT | STORED);
    let index = Index::create_in_ram(schema.build());
    let mut writer: IndexWriter = index.writer_with_num_threads(1, 128 << 20).expect("a writer");
    let mut input = BufReader::with_capacity(1 << 20, File::open(input).expect("opened"));
    let mut line = String::new();
    while input.read_line(&mut line).expect("read") > 0 {
        let row: Value = serde_json::from_str(&line).expect("JSON");
        let at = OffsetDateTime::parse(row["ts"].as_str().expect("a text"), &Rfc3339);
        let mut document = TantivyDocument::new();
        document.add_i64(id, row["id"].as_i64().expect("a number"));
        document.add_date(ts, DateTime::from_utc(at.expect("an instant")));
        document.add_text(region, row["region"].as_str().expect("a text"));
        document.add_text(text, row["text"].as_str().expect("a text"));
        writer.add_document(document).expect("added");
        line.clear();
    }
    writer.commit().expect("committed");
    writer.wait_merging_threads().expect("merged");
}

const FILL: &str = "\
source:
  file: {include: [\"${env:INPUT}\"], once: true, decode: {json: {}}}
sinks: {none: {blackhole: {}}}
";

const INDEX: &str = "\
sinks:
  search:
    index:
      to: \"${env:INDEX}\"
      mapping: {id: number, ts: timestamp, region: keyword, text: text}
";

fn pipeline_file(name: &str, ends: &str) -> String {
    format!(
        "version: 1\npipeline: {name}\ntopic: rows\n\
         schema: {{id: int, ts: timestamp, region: string, text: string}}\n{ends}"
    )
}

/// Writes the rows; answers their bytes. The same every time.
fn generate(path: &Path, rows: u64) -> u64 {
    let mut out = BufWriter::new(File::create(path).expect("created"));
    let mut state = 7u64;
    let mut next = move || {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state >> 33
    };
    let regions = ["eu", "us", "asia", "africa"];
    let (mut bytes, mut line) = (0, String::new());
    for id in 0..rows {
        line.clear();
        let (hour, minute, second) = (id / 3600 % 24, id / 60 % 60, id % 60);
        write!(
            line,
            r#"{{"id":{id},"ts":"2026-03-{:02}T{hour:02}:{minute:02}:{second:02}Z","region":"{}","text":"#,
            1 + id / 86_400 % 28,
            regions[next() as usize % 4],
        )
        .expect("a string");
        // Few words are frequent and many are rare, as in what people write.
        for word in 0..30 {
            let rare = next() % 20_000;
            let frequent = next() % 200;
            let word_of = if next() % 3 == 0 { rare } else { frequent };
            line.push_str(if word == 0 { "\"" } else { " " });
            write!(line, "word{word_of}").expect("a string");
        }
        line.push_str("\"}\n");
        bytes += line.len() as u64;
        out.write_all(line.as_bytes()).expect("written");
    }
    out.flush().expect("written");
    bytes
}
