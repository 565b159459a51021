use std::fs;
use std::path::PathBuf;
use std::time::Instant;

use clap::Args;
use millrace_types::PropertiesBuf;
use millrace_wasm_host::{Batch, Filter, Host, Limits, Record};
use serde_json::{Map, Value, json};

use super::run::{parse_params, parse_property};
use super::{load, unread};
use crate::exit::{Exit, Failure, codes};
use crate::figures::counted;
use crate::output::Answer;
use crate::table::table;

/// Measure what a module costs, by how many records it sees at once.
///
/// A record's way is measured as a pipeline or a broker pays it: into the module's memory, through
/// the module, and back as a verdict, beside a module that only passes everything on. Without a file
/// there are records of 198 bytes with four properties. A busy machine measures something else.
#[derive(Args, Debug)]
pub(super) struct Bench {
    /// The module.
    module: PathBuf,
    /// A file; each line is the body of a record.
    file: Option<PathBuf>,
    /// Parameters, a JSON object.
    #[arg(long, value_name = "JSON", default_value = "{}", value_parser = parse_params)]
    params: Map<String, Value>,
    /// A property that every record has, instead of the four.
    #[arg(long = "property", value_name = "NAME=VALUE", value_parser = parse_property)]
    properties: Vec<(String, String)>,
    /// Sizes of batches.
    #[arg(long, value_name = "RECORDS", value_delimiter = ',', default_values_t = [1, 32, 1000])]
    batch: Vec<usize>,
}

/// As many records as one measurement goes through at least, and how many measurements there are.
const RECORDS: usize = 4_000;
const ROUNDS: usize = 25;
/// More than any file that is looked at by hand.
const BATCH_MAX: usize = 4_096;

/// Keeps every record, so it costs what all modules cost.
const PASS: &[u8] = include_bytes!("../../../../../wasm-filters/host/benches/pass.wasm");

/// Nanoseconds per record: the middle one of all measurements, and one of the best.
#[derive(Clone, Copy)]
struct Cost {
    median: f64,
    p10: f64,
}

impl Bench {
    pub(super) fn execute(&self) -> Result<Answer, Failure> {
        if self.batch.iter().any(|records| !(1..=BATCH_MAX).contains(records)) {
            let message = format!("a batch has from 1 to {BATCH_MAX} records");
            return Err(Failure::new(Exit::Input, codes::ARGUMENT, message));
        }
        let module = load(&self.module)?;
        let broken = |error: &dyn std::error::Error| {
            let message = format!("cannot use {}: {error}", self.module.display());
            Failure::new(Exit::Input, codes::FILTER, message).caused_by(error)
        };
        let filter = Filter::start(module, self.params.clone()).map_err(|error| broken(&error))?;
        let host = Host::new(Limits::default());
        let pass = host.load(PASS).expect("it is a module of ours");
        let pass = Filter::start(pass, Map::new()).expect("it takes no parameters");

        let bodies = self.bodies()?;
        let properties: Vec<Vec<u8>> = (0..bodies.len()).map(|n| self.properties(n)).collect();
        let mut rows = Vec::new();
        let mut results = Vec::new();
        for &size in &self.batch {
            let records: Vec<Record<'_>> = (0..size)
                .map(|n| Record {
                    queue_offset: n as i64,
                    key: Some(b"customer-123"),
                    body: &bodies[n % bodies.len()],
                    properties: &properties[n % bodies.len()],
                    ..Record::default()
                })
                .collect();
            let costs = measure([&filter, &pass], &records).map_err(|error| broken(&error))?;
            let [own, passed] = costs;
            rows.push([
                size.to_string(),
                format!("{:.1}", own.median),
                format!("{:.1}", own.p10),
                format!("{:.1}", passed.median),
            ]);
            results.push(json!({
                "batch": size,
                "ns_per_record": own.median,
                "ns_per_record_p10": own.p10,
                "pass_through_ns_per_record": passed.median,
            }));
        }
        let mut text = table(["batch", "ns per record", "one in ten below", "pass-through"], &rows);
        let last = rows.last().expect("there is one size at least");
        let size =
            counted(results.last().map_or(0, |r| r["batch"].as_u64().unwrap_or(0)), "record");
        let summary = format!("{} ns per record in batches of {size}", last[1]);
        text.push_str(&format!("{summary}\n"));
        Ok(Answer { exit: Exit::Done, summary, text, result: Value::Array(results) })
    }

    fn bodies(&self) -> Result<Vec<Vec<u8>>, Failure> {
        let Some(file) = &self.file else {
            return Ok((0..1000).map(|n| usual_body(n).into_bytes()).collect());
        };
        let bytes = fs::read(file).map_err(|error| unread(file, &error))?;
        let whole = bytes.strip_suffix(b"\n").unwrap_or(&bytes);
        Ok(whole.split(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect())
    }

    fn properties(&self, number: usize) -> Vec<u8> {
        let mut properties = PropertiesBuf::new();
        if self.properties.is_empty() {
            let region = ["eu", "us", "ap", "eu"][number % 4];
            properties.push("KEYS", "customer-123").push("TAGS", "TagA");
            properties.push("UNIQ_KEY", "7F0000010001A2B3C4D5E6F70001").push("region", region);
        }
        for (name, value) in &self.properties {
            properties.push(name, value);
        }
        properties.into_bytes()
    }
}

/// An order of 198 bytes.
fn usual_body(number: usize) -> String {
    let mut body = format!(
        r#"{{"id":{number},"customer":"c-{number}","amount":{}.25,"currency":"EUR","note":""#,
        number % 500
    );
    while body.len() < 196 {
        body.push('x');
    }
    body + "\"}"
}

/// Both filters in turns, so that whatever disturbs one disturbs the other.
fn measure(
    filters: [&Filter; 2],
    records: &[Record<'_>],
) -> Result<[Cost; 2], millrace_wasm_host::StartError> {
    let batch = Batch { topic: "orders", queue: 0, records };
    let calls = RECORDS.div_ceil(records.len());
    let mut costs = [const { Vec::new() }; 2];
    for _ in 0..=ROUNDS {
        for (filter, costs) in filters.iter().zip(&mut costs) {
            let begun = Instant::now();
            for _ in 0..calls {
                filter.run(&batch)?;
            }
            costs.push(begun.elapsed().as_nanos() as f64 / (calls * records.len()) as f64);
        }
    }
    Ok(costs.map(|mut costs: Vec<f64>| {
        // The first one finds nothing in the caches.
        costs.remove(0);
        costs.sort_by(f64::total_cmp);
        Cost { median: costs[costs.len() / 2], p10: costs[costs.len() / 10] }
    }))
}
