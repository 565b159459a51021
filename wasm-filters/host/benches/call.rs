//! What a record costs on its way through a module: written to its memory, judged, read back.

use divan::counter::ItemsCount;
use divan::{Bencher, black_box};
use millrace_wasm_host::{Batch, Filter, Host, Limits, Record};

fn main() {
    divan::main();
}

/// Keeps everything.
const PASS: &str = r#"(module
  (memory (export "memory") 2)
  (global $top (mut i32) (i32.const 1024))
  (@custom "millrace.filter"
    "{\"abi\":1,\"name\":\"pass\",\"version\":\"1\",\"kinds\":[\"filter\"]}")
  (func (export "mr_abi_v1"))
  (func (export "mr_alloc") (param $len i32) (param i32) (result i32) (local $at i32)
    (local.set $at (global.get $top))
    (global.set $top (i32.add (local.get $at) (local.get $len)))
    (drop (memory.grow (i32.shr_u (local.get $len) (i32.const 15))))
    (local.get $at))
  (func (export "mr_filter") (param $batch i32) (param i32) (param $verdicts i32) (result i32)
    (memory.fill (local.get $verdicts) (i32.const 1) (i32.load offset=8 (local.get $batch)))
    (i32.load offset=8 (local.get $batch))))"#;

/// As many records as are asked for, of 336 bytes each.
#[divan::bench(args = [1, 32, 1000])]
fn pass(bencher: Bencher<'_, '_>, records: usize) {
    let host = Host::new(Limits::default());
    let module = host.load(&wat::parse_str(PASS).unwrap()).unwrap();
    let filter = Filter::start(module, serde_json::Map::new()).unwrap();
    let body = [b'x'; 198];
    let properties = [b'p'; 78];
    let record = |at| Record {
        queue_offset: at as i64,
        key: Some(b"customer-123"),
        body: &body,
        properties: &properties,
        ..Record::default()
    };
    let records: Vec<Record<'_>> = (0..records).map(record).collect();
    let batch = Batch { topic: "orders", queue: 0, records: &records };
    bencher
        .counter(ItemsCount::new(records.len()))
        .bench_local(|| filter.run(black_box(&batch)).unwrap());
}
