//! JSON lines to Parquet: the whole pipeline (file, durable topic, Parquet) beside the plain
//! conversion with arrow-json and parquet, of the same rows on the same disk.
//!
//! ```text
//! lake PROGRAM [--rows 1000000] [--rounds 5]
//! ```
//!
//! Both run as processes of their own, in turn; CPU seconds are user and system together, as the
//! kernel accounts them to a finished child. `tests/bench/lake` builds everything and runs it.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Instant;

use arrow_json::ReaderBuilder;
use arrow_schema::{DataType, Field, Schema, TimeUnit};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;

/// Two shapes of rows: name, fields of text that pad it.
const SHAPES: [(&str, usize); 2] = [("short", 0), ("long", 5)];

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|a| a != "--bench").collect();
    if let [mode, input, output, padding] = &arguments[..]
        && mode == "plain"
    {
        return plain(Path::new(input), Path::new(output), padding.parse().expect("a number"));
    }
    let program = arguments.first().expect("the path of the program");
    let number = |name: &str, default: u64| {
        let at = arguments.iter().position(|argument| argument == name);
        at.map_or(default, |at| arguments[at + 1].parse().expect("a number"))
    };
    let (rows, rounds) = (number("--rows", 1_000_000), number("--rounds", 5));
    let dir = tempfile::tempdir().expect("a temporary directory");
    for (name, padding) in SHAPES {
        let input = dir.path().join(format!("{name}.jsonl"));
        let bytes = generate(&input, rows, padding);
        println!("\n{name} rows: {rows} of {} bytes, {rounds} rounds in turn", bytes / rows);
        let pipeline = dir.path().join(format!("{name}.yaml"));
        std::fs::write(&pipeline, pipeline_file(name, padding)).expect("the pipeline is written");
        let (mut whole, mut plain) = (Vec::new(), Vec::new());
        for round in 0..=rounds {
            let out = dir.path().join("out");
            let _ = std::fs::remove_dir_all(&out);
            std::fs::create_dir_all(&out).expect("created");
            let ours = run(Command::new(program)
                .args(["run", "--data-dir"])
                .arg(out.join("data"))
                .arg(&pipeline)
                .env("INPUT", &input)
                .env("LAKE", out.join("lake")));
            let own = std::env::current_exe().expect("this program");
            let theirs = run(Command::new(own)
                .arg("plain")
                .arg(&input)
                .arg(out.join("plain.parquet"))
                .arg(padding.to_string()));
            let (found, wanted) = (count(&out.join("lake")), count(&out.join("plain.parquet")));
            assert_eq!((found, wanted), (rows, rows), "rows in the files");
            // The first round warms the page cache.
            if round > 0 {
                whole.push(ours);
                plain.push(theirs);
            }
        }
        let ours = report("file, durable topic, Parquet", rows, bytes, &whole);
        let theirs = report("plain arrow-rs conversion", rows, bytes, &plain);
        let ratios = whole.iter().zip(&plain).map(|(ours, theirs)| theirs.0 / ours.0);
        let (min, max) = ratios.fold((f64::MAX, 0f64), |(min, max), r| (min.min(r), max.max(r)));
        println!(
            "ratio {:.2} of the plain conversion's rows per CPU second ({min:.2}..{max:.2})",
            theirs / ours
        );
    }
}

/// Prints a line and gives the median of CPU seconds.
fn report(what: &str, rows: u64, bytes: u64, runs: &[(f64, f64)]) -> f64 {
    let median = |mut values: Vec<f64>| {
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    };
    let cpu = median(runs.iter().map(|run| run.0).collect());
    let wall = median(runs.iter().map(|run| run.1).collect());
    println!(
        "{what:<30} {cpu:>6.2} CPU s {wall:>6.2} s wall {:>9.0} rows/CPU-s {:>5.0} MB/CPU-s",
        rows as f64 / cpu,
        bytes as f64 / cpu / 1e6,
    );
    cpu
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

fn plain(input: &Path, output: &Path, padding: usize) {
    let mut fields = vec![
        Field::new("id", DataType::Int64, true),
        Field::new("ts", DataType::Timestamp(TimeUnit::Microsecond, Some("+00:00".into())), true),
        Field::new("region", DataType::Utf8, true),
        Field::new("amount", DataType::Float64, true),
    ];
    fields.extend((0..padding).map(|n| Field::new(format!("text{n}"), DataType::Utf8, true)));
    let schema = Arc::new(Schema::new(fields));
    let level = ZstdLevel::try_new(3).expect("a level");
    let properties = WriterProperties::builder().set_compression(Compression::ZSTD(level)).build();
    let output = File::create(output).expect("created");
    let mut writer =
        ArrowWriter::try_new(output, Arc::clone(&schema), Some(properties)).expect("a writer");
    let input = BufReader::with_capacity(1 << 20, File::open(input).expect("opened"));
    let reader = ReaderBuilder::new(schema).with_batch_size(8192).build(input).expect("a reader");
    for batch in reader {
        writer.write(&batch.expect("a batch")).expect("written");
    }
    writer.close().expect("closed");
}

fn pipeline_file(name: &str, padding: usize) -> String {
    let texts: String = (0..padding).map(|n| format!(", text{n}: string")).collect();
    format!(
        "version: 1\npipeline: lake-{name}\nsource:\n  file: {{include: [\"${{env:INPUT}}\"], once: true, \
         decode: {{json: {{}}}}}}\ntopic: {{name: rows, queues: 4}}\nschema: {{id: int, ts: timestamp, \
         region: string, amount: double{texts}}}\nsinks:\n  lake:\n    parquet: {{to: \"${{env:LAKE}}\"}}\n"
    )
}

/// Writes the rows; answers their bytes. The same every time.
fn generate(path: &Path, rows: u64, padding: usize) -> u64 {
    let mut out = BufWriter::new(File::create(path).expect("created"));
    let mut state = 7u64;
    let mut next = move || {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state >> 33
    };
    let regions = ["eu", "us", "asia", "africa"];
    let mut bytes = 0;
    let mut line = String::new();
    for id in 0..rows {
        line.clear();
        let (hour, minute, second) = (id / 3600 % 24, id / 60 % 60, id % 60);
        let (region, amount) = (regions[next() as usize % 4], next() % 100_000);
        write!(
            line,
            r#"{{"id":{id},"ts":"2026-03-{:02}T{hour:02}:{minute:02}:{second:02}Z","region":"{region}","amount":{}.{:02}"#,
            1 + id / 86_400 % 28,
            amount / 100,
            amount % 100
        )
        .expect("a string");
        for n in 0..padding {
            write!(
                line,
                r#","text{n}":"item {} of lot {} in store {:08x}{:08x}""#,
                next() % 1000,
                next() % 5000,
                next(),
                next()
            )
            .expect("a string");
        }
        line.push_str("}\n");
        bytes += line.len() as u64;
        out.write_all(line.as_bytes()).expect("written");
    }
    out.flush().expect("written");
    bytes
}

/// Rows in a Parquet file, or in all below a directory.
fn count(path: &Path) -> u64 {
    if path.is_dir() {
        let entries = std::fs::read_dir(path).expect("a directory");
        let paths: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
        return paths.iter().map(|path| count(path)).sum();
    }
    let file = File::open(path).expect("opened");
    let reader =
        parquet::file::serialized_reader::SerializedFileReader::new(file).expect("Parquet");
    use parquet::file::reader::FileReader;
    u64::try_from(reader.metadata().file_metadata().num_rows()).expect("not negative")
}
