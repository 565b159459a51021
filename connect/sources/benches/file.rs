//! How fast a file in the page cache becomes records: reading, splitting and handing over.

use std::io::Write;
use std::sync::Arc;

use divan::counter::BytesCount;
use millrace_connect_api::{Polled, Source};
use millrace_disk::RealDisk;
use millrace_sources::{FileOptions, FileSource};

fn main() {
    divan::main();
}

/// 256 MiB of lines of so many bytes, with their ends.
#[divan::bench(args = [89, 363, 1024], sample_count = 20)]
fn read(bencher: divan::Bencher, line: usize) {
    const BYTES: usize = 256 * 1024 * 1024;
    let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
    let mut text = vec![b'a'; line];
    text[line - 1] = b'\n';
    let block = text.repeat(1024 * 1024 / line);
    let blocks = BYTES / block.len();
    for _ in 0..blocks {
        file.write_all(&block).expect("room for the file");
    }
    let include = vec![file.path().to_str().expect("a path in UTF-8").to_owned()];
    let options = FileOptions { include, once: true, ..FileOptions::default() };
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    bencher.counter(BytesCount::new(blocks * block.len())).bench_local(|| {
        let disk = Arc::new(RealDisk::new());
        let mut source = FileSource::open(disk, options.clone(), Vec::new()).expect("the file");
        runtime.block_on(async {
            while let Ok(Polled::Chunk(chunk)) = source.poll().await {
                divan::black_box(chunk);
            }
        });
    });
}
