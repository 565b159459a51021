//! Reading a queue from its start: from memory through the map, and from the disk.

use std::fs::File;
use std::os::unix::fs::FileExt;

use millrace_store::{LogReader, QueueNo, Store, StoreConfig};
use millrace_types::PhysicalOffset;
use rustix::fs::{Advice, fadvise, fdatasync};

use crate::gate::Gates;
use crate::home::Home;
use crate::load::{Pool, Quiet};
use crate::meter::{Moment, Rounds, Spent, Spread};

/// Log of the comparison from memory; it stays in the one newest segment.
const HOT_BYTES: u64 = 512 << 20;
/// Log that lies before the newest segments when it is read from the disk.
const COLD_SEGMENT: u64 = 64 << 20;
const COLD_SEGMENTS: u64 = 6;
/// One pull of our own client.
const PULL_BYTES: u64 = 1 << 20;
const ROUNDS: usize = 5;

pub(crate) fn measure(home: &Home, gates: &mut Gates) {
    println!("sequential read of a queue, verified, GB/s; raw: `pread` of 1 MiB and no more");
    for body in [128, 1024, 4096] {
        let pool = Pool::new(body);
        let mut ours = Quiet::open(&home.path("read"), StoreConfig::default());
        fill(&mut ours, &pool, HOT_BYTES);
        ours.flush();
        let file = File::open(home.path("read/commitlog/00000000000000000000"));
        let file = file.expect("the first segment");
        let (store, queue, reader) = (&ours.store, ours.queue(), ours.store.reader());
        let rounds = Rounds::run(
            ROUNDS,
            0,
            || timed(|| read_all(store, &reader, queue)),
            || timed(|| pread_all(&file, HOT_BYTES)),
        );
        let rate = report(&format!("{body:>4} B from the map"), HOT_BYTES, &rounds);
        gates.at_least(&format!("read from the map, {body} B: GB/s"), rate, 2.0);
        drop(ours);
        home.remove("read");
    }
    cold(home);
}

/// Reads what the system has been told to forget.
fn cold(home: &Home) {
    let pool = Pool::new(1024);
    let config = StoreConfig { segment_bytes: COLD_SEGMENT, ..StoreConfig::default() };
    let mut ours = Quiet::open(&home.path("cold"), config);
    fill(&mut ours, &pool, COLD_SEGMENT * (COLD_SEGMENTS + 3));
    ours.flush();
    let files: Vec<File> = (0..COLD_SEGMENTS)
        .map(|n| home.path(&format!("cold/commitlog/{:020}", n * COLD_SEGMENT)))
        .map(|path| File::open(path).expect("a segment"))
        .collect();
    let bytes = COLD_SEGMENT * COLD_SEGMENTS;
    let (store, queue, reader) = (&ours.store, ours.queue(), ours.store.reader());
    let rounds = Rounds::run(
        ROUNDS,
        bytes,
        || {
            files.iter().for_each(forget);
            timed(|| read_until(store, &reader, queue, PhysicalOffset(bytes)))
        },
        || {
            files.iter().for_each(forget);
            timed(|| files.iter().for_each(|file| pread_all(file, COLD_SEGMENT)))
        },
    );
    report("1024 B from the disk", bytes, &rounds);
    drop(ours);
    home.remove("cold");
}

fn fill(ours: &mut Quiet, pool: &Pool, bytes: u64) {
    while ours.store.staged_end() < PhysicalOffset(bytes) {
        ours.append(pool, crate::load::POOL);
        ours.flusher.housekeep();
    }
}

fn timed(work: impl FnOnce()) -> Spent {
    let start = Moment::now();
    work();
    start.spent()
}

fn read_all(store: &Store, reader: &LogReader, queue: QueueNo) {
    read_until(store, reader, queue, PhysicalOffset(u64::MAX));
}

fn read_until(store: &Store, reader: &LogReader, queue: QueueNo, limit: PhysicalOffset) {
    let mut from = store.bounds(queue).min;
    loop {
        let plan = store.plan(queue, from, 4096, PULL_BYTES, limit);
        if plan.entries.is_empty() {
            return;
        }
        let runs = reader.read(&plan.entries).expect("every record verifies");
        assert!(!runs.is_empty());
        from = plan.next();
    }
}

fn pread_all(file: &File, bytes: u64) {
    let mut block = vec![0; 1 << 20];
    for at in (0..bytes).step_by(block.len()) {
        file.read_exact_at(&mut block, at).expect("the file is that long");
    }
}

fn forget(file: &File) {
    fdatasync(file).expect("it is durable");
    fadvise(file, 0, None, Advice::DontNeed).expect("advice is taken");
}

fn report(what: &str, bytes: u64, rounds: &Rounds) -> f64 {
    let rate = |spent: &[Spent]| Spread::of(spent.iter().map(|s| bytes as f64 / s.wall / 1e9));
    let cpu = Spread::of(rounds.ours.iter().map(|s| bytes as f64 / s.thread / 1e9));
    println!(
        "  {what}: ours {:.2}, per CPU second {cpu:.2}, raw {:.2}; {}",
        rate(&rounds.ours),
        rate(&rounds.raw),
        rounds.quality(),
    );
    rate(&rounds.ours).median
}
