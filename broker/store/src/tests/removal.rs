use std::path::PathBuf;

use millrace_disk::Fault;

use super::*;
use crate::{fill_missing, missing_segments};

/// What the model knows of one message.
#[derive(Clone)]
struct Stored {
    kept: Kept,
    offset: u64,
    at: PhysicalOffset,
}

/// A store whose segments are removed, and what it should hold.
struct Life {
    disk: SimDisk,
    config: StoreConfig,
    opened: Opened,
    stored: Vec<Stored>,
    durable: usize,
    /// Removed, whatever happens: the flusher has said so durably.
    removed_for_good: PhysicalOffset,
    /// Asked to be removed.
    removed: PhysicalOffset,
    seed: u64,
}

impl Life {
    fn new(seed: u64, index_run_bytes: u64) -> Self {
        let disk = SimDisk::new(seed);
        let config = StoreConfig { index_run_bytes, ..small() };
        let opened = open(&disk, config.clone()).unwrap();
        let zero = PhysicalOffset(0);
        let (removed_for_good, removed) = (zero, zero);
        let stored = Vec::new();
        Self { disk, config, opened, stored, durable: 0, removed_for_good, removed, seed }
    }

    fn append(&mut self, group: &[Kept]) {
        let Ok(placed) = self.opened.stage(group) else {
            return;
        };
        // After a failed commit the group may be on the disk or not.
        let _ = self.opened.store.commit();
        let placed = placed.iter().map(|placed| (placed.queue_offset.0, placed.physical_offset));
        let stored = group.iter().cloned().zip(placed);
        self.stored.extend(stored.map(|(kept, (offset, at))| Stored { kept, offset, at }));
    }

    fn flush(&mut self) {
        if self.opened.flusher.flush().is_ok() {
            self.durable = self.stored.len();
        }
    }

    /// Removes some of the oldest segments, as far as everything in them is durable.
    fn remove(&mut self, count: u64) {
        let durable = self.opened.store.watermarks().durable();
        let spans = self.opened.store.segments();
        let to = spans.iter().take(count as usize).map(|span| span.1).rfind(|to| *to <= durable);
        if let Some(to) = to {
            self.opened.store.remove_before(to);
            self.removed = self.opened.store.log_min();
            // Without power nothing can be read.
            if !self.disk.is_cut() {
                self.check();
            }
        }
    }

    fn housekeep(&mut self) {
        self.opened.flusher.housekeep();
        if !self.disk.is_cut() {
            self.removed_for_good = self.removed;
        }
    }

    fn reopen(&mut self, disk: SimDisk, at_least: usize) {
        self.disk = disk;
        self.opened = open(&self.disk, self.config.clone()).unwrap();
        // Whoever removes knows how the queues go on; the engine keeps it in the log.
        let end = self.opened.found.end;
        let whole = self.stored.iter().take_while(|stored| stored.at < end).count();
        assert!(whole >= at_least, "seed {}: {whole} left of {at_least}", self.seed);
        self.stored.truncate(whole);
        self.durable = whole;
        for stored in &self.stored {
            let topic = TopicName::parse(stored.kept.topic).unwrap();
            let no = self.opened.store.queue(&topic, QueueId(stored.kept.queue));
            self.opened.store.raise_end(no, QueueOffset(stored.offset + 1));
        }
        let min = self.opened.store.log_min();
        assert!(min <= self.removed, "seed {}: {min} was never removed", self.seed);
        assert!(min >= self.removed_for_good, "seed {}: {min} came back", self.seed);
        self.removed = min;
        self.check();
    }

    fn check(&self) {
        let min = self.opened.store.log_min();
        for topic in TOPICS {
            for queue in 0..2 {
                let of_queue = |s: &&Stored| s.kept.topic == topic && s.kept.queue == queue;
                let here = self.stored.iter().filter(of_queue).filter(|stored| stored.at >= min);
                let want: Vec<_> = here.map(|s| (s.offset, s.kept.body.clone())).collect();
                let got = self.opened.bodies(topic, queue).unwrap();
                assert!(got == want, "seed {}: {topic}/{queue} from {min}", self.seed);
                let Some(no) = self.opened.store.find_queue(topic, QueueId(queue)) else {
                    continue;
                };
                let end = self.stored.iter().filter(of_queue).count() as u64;
                let first = want.first().map_or(end, |(offset, _)| *offset);
                let bounds = Bounds { min: QueueOffset(first), end: QueueOffset(end) };
                assert_eq!(self.opened.store.bounds(no), bounds, "seed {}", self.seed);
            }
        }
    }
}

fn live(seed: u64) {
    let mut odds = Odds(seed);
    // With short runs most of the index is in files, with long ones in memory.
    let mut life = Life::new(seed, [6 << 10, 1 << 20][(seed % 2) as usize]);
    for _ in 0..60 {
        match odds.below(20) {
            0..=9 => life.append(&odds.group()),
            10..=12 => life.flush(),
            13 | 14 => life.housekeep(),
            15 | 16 => life.remove(1 + odds.below(3)),
            17 => life.disk.cut_after(odds.below(12)),
            18 if !life.disk.is_cut() => {
                let (disk, count) = (life.disk.kill(), life.stored.len());
                life.reopen(disk, count);
            }
            _ => {
                let (disk, durable) = (life.disk.power_cut(), life.durable);
                life.reopen(disk, durable);
            }
        }
    }
}

#[test]
fn removal_with_a_crash_at_any_step_leaves_a_whole_log() {
    for seed in seeds(500) {
        live(seed);
    }
}

/// Some segments, all durable, of which the first two are about to be removed.
fn about_to_remove() -> Life {
    let mut life = Life::new(3, 6 << 10);
    let mut odds = Odds(3);
    while life.opened.store.segments().len() < 5 {
        life.append(&odds.group());
    }
    life.flush();
    life.housekeep();
    life.remove(2);
    life
}

#[test]
fn each_step_of_a_removal_can_be_the_last() {
    let before = about_to_remove().disk.operations();
    let mut whole = about_to_remove();
    whole.opened.flusher.housekeep();
    let steps = whole.disk.operations() - before;
    assert!(steps >= 6, "a mark, a sync, and two of each segment: {steps}");
    for step in 0..=steps {
        let mut life = about_to_remove();
        life.disk.cut_after(step);
        life.housekeep();
        let (disk, durable) = (life.disk.power_cut(), life.durable);
        life.reopen(disk, durable);
    }
}

#[test]
fn a_removal_that_fails_is_tried_again() {
    let mut life = about_to_remove();
    life.disk.inject(Fault::FailSyncDir { nth: 1 });
    life.opened.flusher.housekeep();
    life.opened.flusher.housekeep();
    let files = life.disk.paths();
    let logs = files.iter().filter(|path| path.to_string_lossy().contains("/commitlog/"));
    assert_eq!(logs.count(), 3);
}

#[test]
fn s16_who_reads_a_segment_finishes_and_who_comes_later_is_told() {
    let mut life = about_to_remove();
    let first = life.stored[0].at;
    let (reader, limit) = (life.opened.store.reader(), life.opened.store.watermarks().durable());
    assert!(
        matches!(reader.record_at(first, limit), Err(ReadError::Removed { at }) if at == first)
    );

    let mut life2 = Life::new(4, 6 << 10);
    let mut odds = Odds(4);
    while life2.opened.store.segments().len() < 3 {
        life2.append(&odds.group());
    }
    life2.flush();
    let body = life2.opened.store.reader().record_at(PhysicalOffset(0), limit).unwrap();
    life2.remove(1);
    life2.housekeep();
    assert!(record::Record::parse(&body).unwrap().verify_whole().is_ok(), "the bytes stay good");
    life.housekeep();
}

/// A store that has removed segments and was closed: its disk, its segments, and what was stored.
fn removed_and_closed() -> (SimDisk, Vec<PathBuf>, Vec<Stored>) {
    let mut life = about_to_remove();
    life.housekeep();
    let Opened { store, flusher, .. } = life.opened;
    store.close(flusher).unwrap();
    let disk = life.disk.kill();
    let mut logs = disk.paths();
    logs.retain(|path| path.to_string_lossy().contains("/commitlog/"));
    (disk, logs, life.stored)
}

#[test]
fn s16_readers_of_real_files_that_go_finish_or_are_told() {
    let home = tempfile::tempdir().unwrap();
    let disk: Arc<dyn Disk> = Arc::new(millrace_disk::RealDisk::new());
    let (store, flusher, found) = Store::open(disk, &home.path().join("data"), small()).unwrap();
    let mut opened = Opened { store, flusher, found };
    for n in 0..400u32 {
        opened.append(&[Kept { topic: "orders", queue: 0, body: vec![n as u8; 100] }]).unwrap();
        opened.flusher.flush().unwrap();
        opened.flusher.housekeep();
    }
    let no = opened.store.find_queue("orders", QueueId(0)).unwrap();
    let plan = opened.store.plan(no, QueueOffset(0), 500, u64::MAX, PhysicalOffset(u64::MAX));
    let (entries, gone) = (&plan.entries, std::sync::atomic::AtomicBool::new(false));
    let spans = opened.store.segments();
    assert!(entries.len() == 400 && spans.len() > 10);
    std::thread::scope(|scope| {
        for _ in 0..16 {
            let (reader, gone) = (opened.store.reader(), &gone);
            scope.spawn(move || {
                let mut kept = Vec::new();
                loop {
                    let last_look = gone.load(std::sync::atomic::Ordering::Acquire);
                    let mut read = 0;
                    for (n, entry) in entries.iter().enumerate() {
                        match reader.read(std::slice::from_ref(entry)) {
                            Ok(runs) => {
                                read += 1;
                                kept.push((n, runs));
                            }
                            Err(ReadError::Removed { .. }) => {}
                            Err(error) => panic!("{n}: {error}"),
                        }
                    }
                    // What was read stays good, whatever became of the file.
                    for (n, runs) in kept.drain(..) {
                        let record = record::Record::parse(&runs[0]).unwrap();
                        assert_eq!(record.body(), vec![n as u8; 100]);
                    }
                    if last_look {
                        assert!(read < 100, "{read} are left");
                        return;
                    }
                }
            });
        }
        for (_, end) in &spans {
            opened.store.remove_before(*end);
            opened.flusher.housekeep();
        }
        gone.store(true, std::sync::atomic::Ordering::Release);
    });
    let left = std::fs::read_dir(home.path().join("data/commitlog")).unwrap().count();
    assert!(left <= 2, "{left} files");
}

#[test]
fn the_first_segment_is_missed_if_nobody_removed_it() {
    let (disk, logs, _) = removed_and_closed();
    disk.remove(&logs[0]).unwrap();
    match open(&disk, small()) {
        Err(OpenError::MissingSegment { missing, .. }) => assert_eq!(missing, logs[0]),
        other => panic!("opened: {}", other.is_ok()),
    }
    for log in &logs[1..] {
        disk.remove(log).unwrap();
    }
    assert!(matches!(open(&disk, small()), Err(OpenError::MissingSegment { next: None, .. })));
}

#[test]
fn a_log_goes_on_without_what_is_missing_once_it_is_filled_with_nothing() {
    // The first, and one in the middle; the last one was made ahead and is empty.
    for lost in 0..2 {
        let (disk, logs, all) = removed_and_closed();
        assert_eq!(logs.len(), 3);
        assert_eq!(missing_segments(&disk, Path::new(DIR)).unwrap(), []);
        disk.remove(&logs[lost]).unwrap();
        let missing = missing_segments(&disk, Path::new(DIR)).unwrap();
        assert_eq!(missing.len(), 1);
        assert_eq!(missing[0].segment, logs[lost]);
        let (from, to) = (missing[0].from, missing[0].to);
        fill_missing(&disk, Path::new(DIR), &missing).unwrap();
        for path in disk.paths().into_iter().filter(|path| path.starts_with("/data/index")) {
            disk.remove(&path).unwrap();
        }
        let opened = open(&disk, small()).unwrap();
        assert!(opened.found.damage.iter().any(|damage| damage.from >= from && damage.to <= to));
        for topic in TOPICS {
            for queue in 0..2 {
                let here = |s: &&Stored| {
                    let at = s.at >= opened.store.log_min() && !(from <= s.at && s.at < to);
                    s.kept.topic == topic && s.kept.queue == queue && at
                };
                let want = all.iter().filter(here);
                let want: Vec<_> = want.map(|s| (s.offset, s.kept.body.clone())).collect();
                let got = opened.bodies(topic, queue).unwrap();
                assert!(got == want, "{topic}/{queue} without segment {lost}");
            }
        }
    }
}
