//! What lies behind the end of the log: kept, told and never given up for want of room.

use std::collections::BTreeMap;
use std::path::PathBuf;

use millrace_disk::{Access, Fault};
use millrace_types::QueueId;

use super::*;
use crate::{CutOff, FlushMode, TornCopy, inspect};

fn sync() -> StoreConfig {
    StoreConfig { flush: FlushMode::Sync, ..small() }
}

fn message(n: u8) -> Kept {
    Kept { topic: TOPICS[usize::from(n % 2)], queue: 0, body: vec![n + 1; 150] }
}

/// A killed store in sync-flush mode, whose checkpoint lags so far that two messages are before its
/// mark; of the third one a bit is flipped, and the others were answered too. The log is longer
/// than a segment.
fn lagging(count: u8) -> (SimDisk, u64) {
    let disk = SimDisk::new(3);
    let checkpoint = Path::new(DIR).join("checkpoint");
    let mut opened = open(&disk, sync()).unwrap();
    let (mut old, mut bad) = (Vec::new(), 0);
    for n in 0..count {
        if n == 2 {
            old = disk.file_bytes(&checkpoint).unwrap();
            bad = opened.store.staged_end().0;
        }
        opened.append(&[message(n)]).unwrap();
        opened.flusher.flush().unwrap();
    }
    drop(opened);
    let disk = disk.kill();
    let file = disk.open(&checkpoint, Access::ReadWrite).unwrap();
    file.write_at(&[std::io::IoSlice::new(&old)], 0).unwrap();
    file.sync().unwrap();
    disk.flip_bit(segment(0), bad + 60, 1);
    (disk, bad)
}

fn segment(base: u64) -> PathBuf {
    Path::new(DIR).join(format!("commitlog/{base:020}"))
}

/// The files but for the lock.
fn files(disk: &SimDisk) -> BTreeMap<PathBuf, Option<Vec<u8>>> {
    let paths = disk.paths().into_iter().filter(|path| !path.ends_with("lock"));
    paths.map(|path| (path.clone(), disk.file_bytes(path))).collect()
}

/// The first byte of each body in a data directory.
fn bodies(disk: &SimDisk, dir: &Path) -> Vec<u8> {
    let mut bodies = Vec::new();
    inspect(disk, dir, &mut |record| bodies.push(record.body[0] - 1)).unwrap();
    bodies
}

/// Every message that was cut off can be read in the copy, and is counted.
#[track_caller]
fn check_copy(disk: &SimDisk, torn: &CutOff, from: u8, to: u8) {
    assert_eq!(bodies(disk, &torn.copy), (from..to).collect::<Vec<_>>());
    assert_eq!(torn.records, u64::from(to - from));
    let told: Vec<_> = torn.messages.iter().map(|m| (m.topic.as_str(), m.queue, m.count)).collect();
    let count = |odd| (from..to).filter(|n| n % 2 == odd).count() as u64;
    let queue = QueueId(0);
    assert_eq!(told, [(TOPICS[1], queue, count(1)), (TOPICS[0], queue, count(0))]);
    for each in &torn.messages {
        assert_eq!(each.to.since(each.from), each.count, "they follow one another");
    }
    let copies = inspect(disk, Path::new(DIR), &mut |_| {}).unwrap().torn_copies;
    let [TornCopy { path, records, bytes }] = &copies[..] else { panic!("{copies:?}") };
    assert_eq!((path, *records), (&torn.copy, Some(torn.records)));
    assert!(*bytes >= torn.bytes);
}

#[test]
fn whole_records_behind_a_bad_place_are_counted_and_their_copy_is_read() {
    for count in [10, 40] {
        let (disk, bad) = lagging(count);
        let opened = open(&disk, sync()).unwrap();
        assert_eq!(opened.found.end.0, bad);
        let torn = opened.found.torn.clone().unwrap();
        check_copy(&disk, &torn, 3, count);
        let spread = torn.copy.join("commitlog");
        assert_eq!(disk.list(&spread).unwrap().len() > 1, count == 40);
        // Once is enough, and what is written now has their place.
        let mut opened = opened;
        opened.append(&[message(2)]).unwrap();
        opened.store.close(opened.flusher).unwrap();
        let disk = disk.power_cut();
        assert_eq!(open(&disk, sync()).unwrap().found.torn, None);
        assert_eq!(bodies(&disk, Path::new(DIR)), [0, 1, 2]);
        check_copy(&disk, &torn, 3, count);
    }
}

#[test]
fn the_rest_of_a_torn_write_holds_no_record() {
    let disk = SimDisk::new(3);
    let mut opened = open(&disk, sync()).unwrap();
    opened.append(&[message(0)]).unwrap();
    opened.append(&[message(1), message(2)]).unwrap();
    let end = opened.store.staged_end().0;
    drop(opened);
    let disk = disk.kill();
    disk.open(&segment(0), Access::ReadWrite).unwrap().zero(end - 30..end).unwrap();
    let found = open(&disk, sync()).unwrap().found;
    // One record of the group is whole, and before the bad place: nobody was answered for it.
    assert_eq!(found.unfinished_records, 1);
    let torn = found.torn.unwrap();
    assert_eq!((torn.records, &torn.messages[..]), (0, &[][..]));
    assert!(torn.bytes > 0 && bodies(&disk, &torn.copy) == [1]);
}

#[test]
fn without_room_for_the_copy_a_start_is_refused_and_changes_nothing() {
    for count in [10, 40] {
        let (disk, bad) = lagging(count);
        let before = files(&disk);
        // The segment made ahead would be room enough.
        let last = before.keys().rfind(|path| path.starts_with("/data/commitlog")).unwrap();
        let is_ahead = before[last].as_ref().unwrap().iter().all(|byte| *byte == 0);
        assert!(!is_ahead, "there is none");
        disk.inject(Fault::Capacity { bytes: 0 });
        for _ in 0..2 {
            let error = open(&disk, sync()).map(drop).unwrap_err();
            let OpenError::TailNotCopied { end, records, room, .. } = &error else {
                panic!("{error}");
            };
            assert_eq!((end.0, *records), (bad, u64::from(count) - 3));
            let text = error.to_string();
            assert!(text.contains("whole records") && text.contains("commitlog/0"), "{text}");
            assert!(text.contains(&format!("needs {room} bytes")), "{text}");
            let now: BTreeMap<_, _> = files(&disk);
            assert!(before == now, "changed: {:?}", now.keys());
        }
        disk.inject(Fault::Capacity { bytes: 1 << 20 });
        let opened = open(&disk, sync()).unwrap();
        check_copy(&disk, &opened.found.torn.unwrap(), 3, count);
    }
}

#[test]
fn the_room_that_an_error_asks_for_is_enough() {
    let (disk, _) = lagging(40);
    let used = disk.total_space(Path::new("/")).unwrap() - disk.free_space(Path::new("/")).unwrap();
    disk.inject(Fault::Capacity { bytes: used });
    let Err(OpenError::TailNotCopied { room, .. }) = open(&disk, sync()).map(drop) else {
        panic!("it opens");
    };
    disk.inject(Fault::Capacity { bytes: used + room });
    assert!(open(&disk, sync()).is_ok());
}

#[test]
fn the_segment_made_ahead_is_room_for_the_copy() {
    let config = StoreConfig { segment_bytes: 256 << 10, ..sync() };
    let disk = SimDisk::new(3);
    let mut opened = open(&disk, config.clone()).unwrap();
    let large = Kept { topic: "orders", queue: 0, body: vec![1; 200_000] };
    opened.append(&[large]).unwrap();
    opened.flusher.flush().unwrap();
    opened.flusher.housekeep();
    let end = opened.store.staged_end().0;
    opened.append(&[message(0)]).unwrap();
    drop(opened);
    let disk = disk.kill();
    disk.flip_bit(segment(0), end + 60, 1);
    assert!(disk.exists(&segment(256 << 10)).unwrap());
    disk.inject(Fault::Capacity { bytes: 0 });
    // No room, but for what it gives back: its 64 blocks, and two that the copy of the log needs.
    let used = (512 << 10) + 3 * 4096;
    disk.inject(Fault::Capacity { bytes: used });
    let mut opened = open(&disk, config).unwrap();
    assert!(opened.found.torn.is_some());
    assert!(!disk.exists(&segment(256 << 10)).unwrap());
    opened.append(&[message(0)]).unwrap();
}

#[test]
fn a_copy_that_a_crash_has_interrupted_is_made_again_in_its_place() {
    let mut cuts = 0;
    for step in 0.. {
        let (disk, _) = lagging(40);
        disk.cut_after(step);
        let first = open(&disk, sync());
        if !disk.is_cut() {
            break;
        }
        drop(first);
        cuts += 1;
        let disk = disk.power_cut();
        let found = open(&disk, sync()).map(|opened| opened.found).unwrap();
        let copies = inspect(&disk, Path::new(DIR), &mut |_| {}).unwrap().torn_copies;
        // Either the first start has come to its end with the tail, or this one has.
        let made = found.torn.map(|torn| torn.copy).unwrap_or(copies[0].path.clone());
        assert!(copies.iter().any(|copy| copy.path == made));
        // If that was cut short while it zeroed, there are two.
        assert!(copies.iter().all(|copy| copy.records.is_some_and(|records| records > 0)));
        let whole: Vec<u8> = (3..40).collect();
        assert!(copies.iter().any(|copy| bodies(&disk, &copy.path) == whole), "step {step}");
    }
    assert!(cuts > 15, "{cuts}");
}

#[test]
fn a_file_that_an_older_version_left_is_in_the_way_of_no_start() {
    let (disk, bad) = lagging(10);
    let torn = Path::new(DIR).join("torn");
    let old = torn.join(format!("{bad:020}"));
    disk.create_dir_durably(&torn).unwrap();
    let file = disk.create(&old).unwrap();
    file.write_at(&[std::io::IoSlice::new(b"a piece of the log")], 0).unwrap();
    file.sync().unwrap();
    disk.sync_dir(&torn).unwrap();
    let copy = open(&disk, sync()).unwrap().found.torn.unwrap().copy;
    assert_eq!(copy, torn.join(format!("{bad:020}-1")));
    assert_eq!(bodies(&disk, &copy), (3..10).collect::<Vec<_>>());
    assert_eq!(disk.file_bytes(&old).unwrap(), b"a piece of the log");
}

/// The oldest mark that any power cut leaves.
fn oldest_mark(disk: &SimDisk) -> PhysicalOffset {
    let mark = |seed| crate::checkpoint::peek(&disk.image(seed), Path::new(DIR)).unwrap().durable;
    (0..50).map(mark).min().unwrap()
}

/// A store of which nothing but flushes and the checkpoint is written, one flushed message in it.
fn roomy(disk: &SimDisk) -> Opened {
    let config = StoreConfig { segment_bytes: 1 << 20, index_run_bytes: 1 << 20, ..sync() };
    let mut opened = open(disk, config).unwrap();
    opened.append(&[message(0)]).unwrap();
    opened.flusher.flush().unwrap();
    // The second time it is quiet.
    (0..2).for_each(|_| assert!(!opened.flusher.housekeep()));
    opened
}

/// Appends and flushes; how many things that flush, and keeping house after it, did to the disk.
fn turn(disk: &SimDisk, opened: &mut Opened) -> (u64, u64) {
    opened.append(&[message(1)]).unwrap();
    let begun = disk.operations();
    opened.flusher.flush().unwrap();
    let flushed = disk.operations();
    opened.flusher.housekeep();
    (flushed - begun, disk.operations() - flushed)
}

#[test]
fn whoever_waits_for_a_flush_does_not_wait_for_the_checkpoint() {
    let disk = SimDisk::new(1);
    let mut opened = roomy(&disk);
    let turns: Vec<_> = (0..200).map(|_| turn(&disk, &mut opened)).collect();
    // The sync of the log, and the mark, unsynced; and now and then one that is synced.
    assert!(turns.iter().all(|(flush, _)| *flush == 2), "{turns:?}");
    let syncs: Vec<_> = (1..).zip(&turns).filter(|(_, turn)| turn.1 > 0).map(|(n, _)| n).collect();
    assert_eq!(syncs, [64, 128, 192]);
}

#[test]
fn a_checkpoint_whose_sync_has_failed_is_written_again() {
    // Which bytes a failed sync has dropped is a matter of luck.
    for seed in 0..20 {
        let disk = SimDisk::new(seed);
        let mut opened = roomy(&disk);
        turn(&disk, &mut opened);
        disk.inject(Fault::FailSync { nth: 1 });
        assert!(opened.flusher.housekeep(), "the checkpoint is left");
        assert!(!opened.flusher.housekeep());
        assert_eq!(oldest_mark(&disk), opened.store.watermarks().durable(), "seed {seed}");
    }
}

#[test]
fn a_checkpoint_that_fails_is_tried_again_when_as_much_more_is_flushed() {
    let disk = SimDisk::new(1);
    let mut opened = roomy(&disk);
    (1..64).for_each(|_| assert_eq!(turn(&disk, &mut opened), (2, 0)));
    opened.append(&[message(1)]).unwrap();
    opened.flusher.flush().unwrap();
    // Nothing but the checkpoint is synced there.
    disk.inject(Fault::FailSync { nth: 1 });
    assert!(opened.flusher.housekeep());
    for _ in 1..64 {
        assert_eq!(turn(&disk, &mut opened), (2, 0));
    }
    assert_eq!(turn(&disk, &mut opened), (2, 2));
    assert_eq!(oldest_mark(&disk), opened.store.watermarks().durable());
}

#[test]
fn the_durable_checkpoint_lags_by_few_flushes_and_by_none_when_it_is_quiet() {
    let lag = |flush, keeps_house: bool, quiet: bool| {
        let disk = SimDisk::new(1);
        let mut opened = open(&disk, StoreConfig { flush, ..small() }).unwrap();
        let (mut ends, mut most) = (Vec::new(), 0);
        let behind = |ends: &[PhysicalOffset]| {
            let mark = oldest_mark(&disk);
            ends.iter().filter(|end| **end > mark).count()
        };
        for n in 0..200u8 {
            opened.append(&[message(n)]).unwrap();
            opened.flusher.flush().unwrap();
            ends.push(opened.store.watermarks().durable());
            // Answers go out here.
            most = most.max(behind(&ends));
            if keeps_house {
                opened.flusher.housekeep();
            }
        }
        if quiet {
            opened.flusher.housekeep();
            return behind(&ends);
        }
        most
    };
    let interval = std::time::Duration::from_millis(500);
    for (flush, max) in [(FlushMode::Sync, 64), (FlushMode::Async { interval }, 16)] {
        for keeps_house in [true, false] {
            assert_eq!(lag(flush, keeps_house, false), max, "house kept: {keeps_house}");
        }
        assert_eq!(lag(flush, true, true), 0);
    }
}
