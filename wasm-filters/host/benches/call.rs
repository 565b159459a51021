//! What a record costs on its way through a module: written to its memory, judged, read back.

use divan::counter::ItemsCount;
use divan::{Bencher, black_box};
use millrace_wasm_host::{Batch, Filter, Host, Limits, Record};

fn main() {
    divan::main();
}

/// As many records as are asked for, of 336 bytes each.
#[divan::bench(args = [1, 32, 1000])]
fn pass(bencher: Bencher<'_, '_>, records: usize) {
    let host = Host::new(Limits::default());
    let module = host.load(include_bytes!("pass.wasm")).unwrap();
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
