//! How fast records are made up.

use divan::counter::ItemsCount;
use millrace_connect_api::{Polled, Source};
use millrace_sources::{FieldGen, GenerateOptions, GenerateSource};

fn main() {
    divan::main();
}

/// Records like those of the quick start.
#[divan::bench]
fn orders(bencher: divan::Bencher) {
    const COUNT: u64 = 100_000;
    let field = |name: &str, kind| (name.to_owned(), kind);
    let regions = ["eu", "us", "apac"].map(str::to_owned).to_vec();
    let fields = vec![
        field("id", FieldGen::Sequence { start: 1 }),
        field("region", FieldGen::Choice(regions)),
        field("amount", FieldGen::Double { min: 1.0, max: 500.0, decimals: 2 }),
        field("at", FieldGen::Time { start_us: 1_767_225_600_000_000, step_us: 1000 }),
        field("customer", FieldGen::Zipf { n: 10_000, s: 1.1 }),
    ];
    let options = GenerateOptions { count: COUNT, seed: 1, fields, ..Default::default() };
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    bencher.counter(ItemsCount::new(COUNT)).bench_local(|| {
        let source = GenerateSource::open(options.clone(), Vec::new());
        let mut source = source.expect("generating cannot fail");
        runtime.block_on(async {
            while let Ok(Polled::Chunk(chunk)) = source.poll().await {
                divan::black_box(chunk);
            }
        });
    });
}
