//! What a filter in WebAssembly may cost: `cargo bench -p millrace-wasm-host --bench gates`.
//!
//! `pass` is a module that keeps everything, with a thousand records of 336 bytes each, from the
//! records to the verdicts: at most 60 ns a record. `property` is the example `keep-property` over
//! the same batch: at most twice what the same source costs as native code. All are measured in
//! turns, and the middle one of many rounds counts. Exit code 1 if a gate is missed.

#[path = "../../examples/keep-property/keep_property.rs"]
#[allow(
    dead_code,
    unreachable_pub,
    unused_imports,
    reason = "it is a module's source, with tests; here two functions of it are needed"
)]
mod keep_property;

use std::hint::black_box;
use std::process::ExitCode;
use std::time::Instant;

use millrace_wasm_guest::Params;
use millrace_wasm_host::{Batch, Filter, Host, Limits, Record};
use serde_json::json;

const RECORDS: usize = 1_000;
const ROUNDS: usize = 101;
const CALLS: usize = 40;
const PASS_NS_MAX: f64 = 60.0;
const NATIVE_TIMES_MAX: f64 = 2.0;

fn main() -> ExitCode {
    let host = Host::new(Limits::default());
    let pass = host.load(include_bytes!("pass.wasm")).unwrap();
    let pass = Filter::start(pass, serde_json::Map::new()).unwrap();
    let module = include_bytes!("../../examples/keep-property/keep-property.wasm");
    let params = json!({"name": "region", "value": "eu"});
    let text = params.to_string();
    let property = Filter::start(host.load(module).unwrap(), params.as_object().unwrap().clone());
    let property = property.unwrap();
    let wanted = keep_property::init(Params::parse(&text).unwrap()).unwrap();

    let body = [b'x'; 198];
    let properties: Vec<Vec<u8>> = (0..RECORDS)
        .map(|n| {
            let region = ["eu", "us", "ap", "eu"][n % 4];
            let mut properties = [
                "TAGS\x01TagA",
                "UNIQ_KEY\x017F0000010001A2B3C4D5E6F70001AB",
                "shop\x01Hauptstr",
                &format!("region\x01{region}"),
            ];
            // It is the first one as often as any other.
            properties.rotate_left(n / 4 % 4);
            properties.map(|property| format!("{property}\x02")).concat().into_bytes()
        })
        .collect();
    let record = |n: usize| Record {
        queue_offset: n as i64,
        key: Some(b"customer-123"),
        body: &body,
        properties: &properties[n],
        ..Record::default()
    };
    let records: Vec<Record<'_>> = (0..RECORDS).map(record).collect();
    let batch = Batch { topic: "orders", queue: 0, records: &records };

    let mut costs = [const { Vec::new() }; 3];
    for _ in 0..ROUNDS {
        costs[0].push(ns(|| drop(pass.run(black_box(&batch)).unwrap())));
        costs[1].push(ns(|| drop(property.run(black_box(&batch)).unwrap())));
        costs[2].push(ns(|| {
            let kept = black_box(&records).iter().filter(|record| {
                let record = millrace_wasm_guest::Record {
                    queue_offset: record.queue_offset,
                    key: record.key,
                    body: record.body,
                    properties: record.properties,
                    ..Default::default()
                };
                keep_property::keep(&wanted, black_box(&record))
            });
            black_box(kept.count());
        }));
    }
    let [pass, property, native] = costs.map(|mut costs: Vec<f64>| {
        costs.sort_by(f64::total_cmp);
        costs[costs.len() / 2]
    });
    let times = property / native;
    println!("pass      {pass:6.1} ns per record, at most {PASS_NS_MAX}");
    println!(
        "property  {property:6.1} ns per record, native {native:.1}: {times:.2} times, at most {NATIVE_TIMES_MAX}"
    );
    match pass <= PASS_NS_MAX && times <= NATIVE_TIMES_MAX {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}

/// Nanoseconds per record.
fn ns(mut work: impl FnMut()) -> f64 {
    let begun = Instant::now();
    (0..CALLS).for_each(|_| work());
    begun.elapsed().as_nanos() as f64 / (CALLS * RECORDS) as f64
}
