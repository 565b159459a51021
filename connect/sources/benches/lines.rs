//! How fast bytes become lines, without reading them.

use bytes::Bytes;
use divan::counter::BytesCount;
use millrace_connect_api::Position;
use millrace_sources::Lines;

fn main() {
    divan::main();
}

/// Blocks of 256 KiB of lines of so many bytes, with their ends.
#[divan::bench(args = [32, 89, 363, 1024, 64 * 1024])]
fn split(bencher: divan::Bencher, line: usize) {
    let text: Vec<u8> = (1..=256 * 1024)
        .map(|at| if at % line == 0 { b'\n' } else { b'a' + (at % 26) as u8 })
        .collect();
    let block = Bytes::from(text);
    bencher.counter(BytesCount::of_slice(&block)).bench_local(|| {
        let mut lines = Lines::new(Position::default(), 1024 * 1024);
        let mut pieces = Vec::new();
        lines.feed(divan::black_box(&block), &mut pieces);
        pieces
    });
}
