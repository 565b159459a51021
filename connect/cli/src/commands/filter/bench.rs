mod native; // the same as native code

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Args;
use millrace_types::PropertiesBuf;
use millrace_wasm_host::{Batch, Filter, Host, Limits, Record, StartError, Verdict};
use serde_json::{Map, Value, json};

use native::Native;

use super::run::{parse_params, parse_property};
use super::{load, not_started, unread};
use crate::exit::{Exit, Failure, codes};
use crate::figures::{count, counted};
use crate::output::Answer;
use crate::plain;
use crate::table::table;

/// Measure what a module costs, by how many records it sees at once.
///
/// A record's way is measured as a pipeline or a broker pays it: into the module's memory, through
/// the module, and back as a verdict, beside a module that only passes everything on. Without a file
/// there are records of 198 bytes with four properties. A busy machine measures something else.
///
/// Where the source of a filter in Rust lies beside the module, as `millrace filter new` puts it,
/// cargo builds it as native code, which goes over the same batches: what the sandbox costs.
///
/// Records that fail are counted; where all of a batch do there is nothing to measure, and if that
/// is so for every size the exit code is 4.
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
/// A module that is slow enough is measured fewer times, but once.
const ROUNDS_TIME: Duration = Duration::from_secs(5);
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
        let broken = |error: StartError| not_started(&self.module, &error);
        let filter = Filter::start(module, self.params.clone()).map_err(broken)?;
        let host = Host::new(Limits::default());
        let pass = host.load(PASS).expect("it is a module of ours");
        let pass = Filter::start(pass, Map::new()).expect("it takes no parameters");

        let bodies = self.bodies()?;
        let properties: Vec<Vec<u8>> = (0..bodies.len()).map(|n| self.properties(n)).collect();
        let records = |size: usize| -> Vec<Record<'_>> {
            let record = |n: usize| Record {
                queue_offset: n as i64,
                key: Some(b"customer-123"),
                body: &bodies[n % bodies.len()],
                properties: &properties[n % bodies.len()],
                ..Record::default()
            };
            (0..size).map(record).collect()
        };
        let encoded = self.batch.iter().map(|&size| (size, batch(&records(size)).to_bytes()));
        let mut native = Native::measure(&self.module, &self.params, &encoded.collect::<Vec<_>>());
        let mut rows = Vec::new();
        let mut results = Vec::new();
        let mut measured: Vec<(usize, Cost, Option<f64>)> = Vec::new();
        let mut first_fault = None;
        for &size in &self.batch {
            let records = records(size);
            let decisions = filter.run(&batch(&records)).map_err(broken)?;
            let failing = Failing::of(decisions.verdicts());
            let cost_of_native = match &native {
                Ok(costs) => costs.cost(size, decisions.verdicts()),
                Err(reason) => Err(reason.clone()),
            };
            let costs = match failing.records == size {
                // There is no verdict that could be measured.
                true => None,
                false => {
                    let costs = measure([&filter, &pass], &records);
                    Some(costs.map_err(broken)?)
                }
            };
            let (own, passed) = (costs.map(|[own, _]| own), costs.map(|[_, passed]| passed.median));
            let native_ns = costs.and(cost_of_native.as_ref().ok()).copied();
            let times = own.zip(native_ns).map(|(own, native)| own.median / native);
            let (median, p10) = (own.map(|own| own.median), own.map(|own| own.p10));
            let figure = |cost: Option<f64>, end: &str| {
                cost.map_or("-".to_owned(), |cost| format!("{cost:.1}{end}"))
            };
            rows.push([
                size.to_string(),
                figure(median, ""),
                figure(p10, ""),
                figure(native_ns, ""),
                figure(times, " times"),
                figure(passed, ""),
                count(failing.records as u64),
            ]);
            results.push(json!({
                "batch": size,
                "ns_per_record": median,
                "ns_per_record_p10": p10,
                "native_ns_per_record": native_ns,
                "times_native": times,
                "not_native": cost_of_native.as_ref().err(),
                "pass_through_ns_per_record": passed,
                "failed": failing.records,
                "error": failing.first,
            }));
            measured.extend(own.map(|own| (size, own, times)));
            if let Err(reason) = cost_of_native {
                native = Err(reason);
            }
            first_fault = first_fault.or(failing.first);
        }
        let head = [
            "batch",
            "ns per record",
            "one in ten below",
            "native",
            "against native",
            "pass-through",
            "failed",
        ];
        let mut text = table(head, &rows);
        let (exit, summary) = match measured.last() {
            Some((size, own, times)) => {
                let size = counted(*size as u64, "record");
                let times =
                    times.map(|times| format!(", {times:.1} times what it costs as native code"));
                let times = times.unwrap_or_default();
                (Exit::Done, format!("{:.1} ns per record in batches of {size}{times}", own.median))
            }
            None => (Exit::No, "all records fail, so there is nothing to measure".to_owned()),
        };
        if let Err(reason) = native {
            text.push_str(&format!("there is no native figure: {reason}\n"));
        }
        if let Some(fault) = first_fault {
            text.push_str(&format!("the first that fails: {}\n", plain::line(&fault)));
        }
        text.push_str(&format!("{summary}\n"));
        Ok(Answer { exit, summary, text, result: Value::Array(results) })
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

/// Records of a batch that fail, or that the module does not reach because others take its time.
struct Failing {
    records: usize,
    /// Why the first one does.
    first: Option<String>,
}

impl Failing {
    fn of(verdicts: &[Verdict]) -> Self {
        let faults = verdicts.iter().map(|verdict| match verdict {
            Verdict::Failed(fault) => Some(Some(fault.to_string())),
            Verdict::NotReached => Some(None),
            Verdict::Keep | Verdict::Drop | Verdict::Replace => None,
        });
        let faults: Vec<Option<String>> = faults.flatten().collect();
        Self { records: faults.len(), first: faults.into_iter().flatten().next() }
    }
}

fn batch<'a>(records: &'a [Record<'a>]) -> Batch<'a> {
    Batch { topic: "orders", queue: 0, records }
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
fn measure(filters: [&Filter; 2], records: &[Record<'_>]) -> Result<[Cost; 2], StartError> {
    let batch = batch(records);
    let calls = RECORDS.div_ceil(records.len());
    let mut costs = [const { Vec::new() }; 2];
    let start = Instant::now();
    for round in 0..=ROUNDS {
        if round > 1 && start.elapsed() > ROUNDS_TIME {
            break;
        }
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
