//! Failures of storage, S1 to S15 of a catalogue, each in a test of its name. Here are those that a
//! simulated disk can show, and S7 in `folder.rs`; those of retention and of the broker's own state
//! (S11, parts of S3 and S15) are beside the engine; those of the program (S15 with `--repair`) beside
//! the command line; S1 and what needs the real kernel (S10, S13, and S2, S3, S8 and S9 once more)
//! are in `tests/it`.

use std::path::PathBuf;

use millrace_disk::{Access, Fault, RealDisk};
use millrace_types::{PropertiesBuf, keys};

use super::model::live_damage;
use super::*;

/// A fixed amount of work, and what the store said about it.
struct Work {
    groups: Vec<(Vec<Kept>, PhysicalOffset)>,
    /// The highest durable watermark that was seen.
    promised: PhysicalOffset,
    /// The highest appended watermark.
    appended: PhysicalOffset,
    failed: bool,
}

/// Appends groups, flushing after every `flush_every`-th, until something fails; closes at the end.
fn work(disk: &SimDisk, flush_every: usize) -> Work {
    let zero = PhysicalOffset(0);
    let mut work = Work { groups: Vec::new(), promised: zero, appended: zero, failed: true };
    let Ok(mut opened) = open(disk, small()) else {
        return work;
    };
    let marks = opened.store.watermarks().clone();
    let mut odds = Odds(9);
    let mut run = || -> Result<(), String> {
        for n in 1..=40 {
            let group = odds.group();
            opened.stage(&group).map_err(|error| error.to_string())?;
            work.groups.push((group, opened.store.staged_end()));
            opened.store.commit().map_err(|error| error.to_string())?;
            if n % flush_every == 0 {
                opened.flusher.flush().map_err(|error| error.to_string())?;
            }
            if n % 4 == 0 {
                opened.flusher.housekeep();
            }
        }
        Ok(())
    };
    if run().is_ok() {
        let Opened { store, flusher, .. } = opened;
        work.failed = store.close(flusher).is_err();
    }
    (work.promised, work.appended) = (marks.durable(), marks.appended());
    work
}

/// A start finds whole groups, those that were promised among them, and nothing else.
fn judge(disk: &SimDisk, work: &Work, at_least: PhysicalOffset) -> Opened {
    let opened = open(disk, small()).expect("it starts");
    let end = opened.found.end;
    assert!(opened.found.damage.is_empty(), "damage: {:?}", opened.found.damage);
    let kept: Vec<Vec<Kept>> =
        work.groups.iter().filter(|group| group.1 <= end).map(|group| group.0.clone()).collect();
    let owed = work.groups.iter().filter(|group| group.1 <= at_least).count();
    assert!(kept.len() >= owed, "{} groups of {owed} promised ones", kept.len());
    for topic in TOPICS {
        for queue in 0..2 {
            assert_eq!(opened.bodies(topic, queue).unwrap(), expected(&kept, topic, queue));
        }
    }
    opened
}

fn cases(default: u64) -> u64 {
    std::env::var("MILLRACE_CASES").map_or(default, |text| text.parse().expect("a number"))
}

#[test]
fn s2_power_cut_in_sync_flush() {
    for cut in 0..cases(200) {
        let disk = SimDisk::new(cut);
        disk.cut_after(Odds(cut).below(160));
        let work = work(&disk, 1);
        judge(&disk.power_cut(), &work, work.promised);
    }
}

#[test]
fn s3_power_cut_in_async_flush() {
    for cut in 0..cases(200) {
        let disk = SimDisk::new(cut);
        disk.cut_after(Odds(cut).below(120));
        let work = work(&disk, 7);
        // What is left is a prefix of what was appended: the loss is a suffix, since the last flush.
        judge(&disk.power_cut(), &work, work.promised);
    }
}

#[test]
fn s4_any_subset_of_unsynced_pages_persists() {
    let disk = SimDisk::new(4);
    let mut opened = open(&disk, small()).unwrap();
    let mut odds = Odds(4);
    let groups: Vec<Vec<Kept>> = (0..30).map(|_| odds.group()).collect();
    for group in &groups {
        opened.append(group).unwrap();
    }
    for seed in 0..cases(200) {
        let image = disk.image(seed);
        let mut opened = open(&image, small()).unwrap();
        let mut kept: Vec<Vec<Kept>> = Vec::new();
        let found: usize = queues().map(|(t, q)| opened.bodies(t, q).unwrap().len()).sum();
        for group in &groups {
            if kept.iter().map(Vec::len).sum::<usize>() < found {
                kept.push(group.clone());
            }
        }
        let before = kept.len();
        for _ in 0..30 {
            kept.push(odds.group());
            opened.append(kept.last().unwrap()).unwrap();
        }
        // A second cut: what is left of the first life must not come back between the new records.
        let again = open(&image.image(seed + 1), small()).unwrap();
        let found: usize = queues().map(|(t, q)| again.bodies(t, q).unwrap().len()).sum();
        let mut whole = 0;
        while kept[..whole].iter().map(Vec::len).sum::<usize>() < found {
            whole += 1;
        }
        assert!(whole >= before, "seed {seed}: the first start had called it durable");
        for (topic, queue) in queues() {
            let want = expected(&kept[..whole], topic, queue);
            assert_eq!(again.bodies(topic, queue).unwrap(), want, "seed {seed}");
        }
    }
}

fn queues() -> impl Iterator<Item = (&'static str, u32)> {
    TOPICS.into_iter().flat_map(|topic| (0..2).map(move |queue| (topic, queue)))
}

#[test]
fn s5_torn_write_at_any_byte() {
    let disk = SimDisk::new(5);
    let mut opened = open(&disk, small()).unwrap();
    let (mut odds, mut ends, mut groups) = (Odds(5), vec![0], Vec::new());
    for _ in 0..8 {
        let group = vec![odds.message()];
        opened.append(&group).unwrap();
        groups.push(group);
        ends.push(opened.store.watermarks().appended().0);
    }
    let end = *ends.last().unwrap();
    assert!(end < 4096, "one segment is enough");
    drop(opened);
    let disk = disk.kill();
    let log = PathBuf::from("/data/commitlog/00000000000000000000");
    // Every byte of the last three records, then anywhere.
    let exhaustive = ends[ends.len() - 4]..end;
    let random = (0..cases(300)).map(|n| Odds(n).below(end));
    for (n, torn) in exhaustive.chain(random).enumerate() {
        let image = disk.image(0);
        // An image is a power cut, so the killed process's bytes are put back.
        let bytes = disk.file_bytes(&log).unwrap();
        let file = image.open(&log, Access::ReadWrite).unwrap();
        file.write_at(&[std::io::IoSlice::new(&bytes[..torn as usize])], 0).unwrap();
        file.zero(torn..4096).unwrap();
        if n % 2 == 0 {
            file.truncate(torn.max(1)).unwrap();
        }
        let opened = open(&image, small()).unwrap();
        let whole = ends.partition_point(|end| *end <= torn) - 1;
        // Less than a size and a magic at the end of a file is taken for filler.
        let filler = opened.found.end.0 - ends[whole];
        assert!(filler == 0 || n % 2 == 0 && filler < 8, "torn at {torn}");
        for (topic, queue) in queues() {
            let want = expected(&groups[..whole], topic, queue);
            assert_eq!(opened.bodies(topic, queue).unwrap(), want, "torn at {torn}");
        }
        drop(opened);
        let left = image.file_bytes(&log).unwrap();
        assert!(
            left[(ends[whole] + filler) as usize..].iter().all(|byte| *byte == 0),
            "torn at {torn}"
        );
    }
}

#[test]
fn s6_damage_in_the_middle() {
    let wanted = cases(500);
    let mut done = 0;
    for seed in 0.. {
        done +=
            live_damage(seed, &small()).unwrap_or_else(|broken| panic!("seed {seed}: {broken}"));
        if done >= wanted {
            break;
        }
    }
    println!("{done} cases of damage");
}

/// Runs the work with a fault at its first such call, the second and so on, beyond the last one.
/// Answers how many of them the work noticed.
fn sweep(fault: fn(u64) -> Fault) -> u64 {
    let whole = SimDisk::new(8);
    assert!(!work(&whole, 3).failed);
    let mut noticed = 0;
    for nth in 1..=whole.operations() + 1 {
        for power in [false, true] {
            let disk = SimDisk::new(nth);
            disk.inject(fault(nth));
            let work = work(&disk, 3);
            noticed += u64::from(work.failed);
            let at_least = if power { work.promised } else { work.appended };
            let disk = if power { disk.power_cut() } else { disk.kill() };
            // The process is gone, the page cache may not be: what a start promises must bear a cut.
            let promised = judge(&disk, &work, at_least).found.end;
            judge(&disk.power_cut(), &work, promised);
        }
    }
    noticed
}

#[test]
fn s8_a_sync_that_fails_once() {
    let points = sweep(|nth| Fault::FailSync { nth })
        + sweep(|nth| Fault::FailSyncDir { nth })
        + sweep(|nth| Fault::FailWrite { nth })
        + sweep(|nth| Fault::FullWrite { nth })
        + sweep(|nth| Fault::FailRename { nth })
        + sweep(|nth| Fault::FailOperation { nth });
    println!("{points} works ended by a call that failed");
    assert!(points > 300, "{points}");
}

#[test]
fn s9_a_later_sync_is_not_believed() {
    let disk = SimDisk::new(9);
    let mut opened = open(&disk, small()).unwrap();
    let groups: Vec<Vec<Kept>> = (0..3).map(|n| Odds(n).group()).collect();
    opened.append(&groups[0]).unwrap();
    opened.flusher.flush().unwrap();
    let durable = opened.store.watermarks().durable();
    opened.append(&groups[1]).unwrap();
    disk.inject(Fault::FailSync { nth: 1 });
    for _ in 0..3 {
        assert!(opened.flusher.flush().is_err());
        assert_eq!(opened.store.watermarks().durable(), durable);
    }
    drop(opened);
    // The next process reads the group from the page cache, and must not call it durable before it is.
    let disk = disk.kill();
    let mut opened = open(&disk, small()).unwrap();
    opened.append(&groups[2]).unwrap();
    opened.flusher.flush().unwrap();
    drop(opened);
    let opened = open(&disk.power_cut(), small()).unwrap();
    for (topic, queue) in queues() {
        assert_eq!(opened.bodies(topic, queue).unwrap(), expected(&groups, topic, queue));
    }
}

#[test]
fn s12_a_segment_is_cut_while_it_is_open() {
    let disk = SimDisk::new(12);
    let mut opened = open(&disk, small()).unwrap();
    for n in 0..200u8 {
        opened.append(&[Kept { topic: "orders", queue: 0, body: vec![n; 100] }]).unwrap();
    }
    let no = opened.store.find_queue("orders", QueueId(0)).unwrap();
    let plan = opened.store.plan(no, QueueOffset(0), 200, u64::MAX, PhysicalOffset(u64::MAX));
    let cut = Path::new("/data/commitlog/00000000000000004096");
    disk.open(cut, Access::ReadWrite).unwrap().truncate(1000).unwrap();
    let entries = &plan.entries;
    std::thread::scope(|scope| {
        for _ in 0..50 {
            let reader = opened.store.reader();
            scope.spawn(move || {
                for entry in entries {
                    let at = entry.physical_offset.0;
                    let gone =
                        at + u64::from(entry.size) > 4096 + 1000 && (4096..8192).contains(&at);
                    let read = reader.read(std::slice::from_ref(entry));
                    assert_eq!(matches!(read, Err(ReadError::Absent { .. })), gone, "at {at}");
                    assert_eq!(read.is_ok(), !gone);
                }
            });
        }
    });
    // Nobody else is concerned.
    opened.append(&[Kept { topic: "orders", queue: 0, body: vec![1] }]).unwrap();
}

#[test]
fn s12_a_segment_of_before_the_start_is_cut_while_it_is_open() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("data");
    let config = StoreConfig { segment_bytes: 1 << 20, ..small() };
    let start = || {
        let disk: Arc<dyn Disk> = Arc::new(RealDisk::new());
        let (store, flusher, found) = Store::open(disk, &dir, config.clone()).unwrap();
        Opened { store, flusher, found }
    };
    let message = |n: u8| Kept { topic: "orders", queue: 0, body: vec![n; 1000] };
    let mut opened = start();
    (0..200).for_each(|n| opened.append(&[message(n)]).unwrap());
    opened.store.close(opened.flusher).unwrap();

    let mut opened = start();
    let before = opened.found.end;
    let plan = |opened: &Opened| {
        let no = opened.store.find_queue("orders", QueueId(0)).unwrap();
        opened.store.plan(no, QueueOffset(0), 400, u64::MAX, PhysicalOffset(u64::MAX)).entries
    };
    let reader = opened.store.reader();
    let read = |entry: &crate::Entry| reader.read(std::slice::from_ref(entry));
    assert!(plan(&opened).iter().all(|entry| read(entry).is_ok()));
    // What is written now is read from memory again, from the next page on.
    (0..200).for_each(|n| opened.append(&[message(n)]).unwrap());
    let all = plan(&opened);
    let hot = all.iter().filter(|entry| reader.is_hot(entry.physical_offset));
    let first = hot.clone().next().unwrap().physical_offset;
    assert!(before <= first && first.since(before) < (64 << 10) + 2_000);
    assert!(hot.count() > 100 && all.iter().all(|entry| read(entry).is_ok()));

    let disk = RealDisk::new();
    let segment = dir.join("commitlog").join(format!("{:020}", 0));
    disk.open(&segment, Access::ReadWrite).unwrap().truncate(50_000).unwrap();
    for entry in all.iter().filter(|entry| entry.physical_offset < before) {
        let at = entry.physical_offset.0;
        let gone = at + u64::from(entry.size) > 50_000;
        let read = read(entry);
        assert_eq!(matches!(read, Err(ReadError::Absent { .. })), gone, "at {at}");
        assert_eq!(read.is_ok(), !gone);
    }
}

#[test]
fn s14_crash_inside_every_step() {
    let whole = SimDisk::new(14);
    assert!(!work(&whole, 3).failed);
    let steps = whole.operations();
    assert!(steps >= 60, "{steps} steps");
    for step in 0..steps {
        let disk = SimDisk::new(step);
        disk.cut_after(step);
        let first = work(&disk, 3);
        let disk = disk.power_cut();
        // And again within the start that follows.
        for again in 0..8 {
            let image = disk.image(again);
            image.cut_after(again * 2);
            let _ = open(&image, small());
            judge(&image.power_cut(), &first, first.promised);
        }
    }
    println!("{steps} steps, each with a cut, and eight cuts in the start after it");
}

#[test]
fn s15_both_copies_of_the_checkpoint_are_damaged() {
    let disk = SimDisk::new(15);
    let work = work(&disk, 3);
    assert!(!work.failed);
    let disk = disk.power_cut();
    let path = PathBuf::from("/data/checkpoint");
    for damaged in 0..4u64 {
        let image = disk.image(damaged);
        for slot in (0..2).filter(|slot| damaged >> slot & 1 == 1) {
            image.flip_bit(&path, slot * 512 + 20, 3);
        }
        // The log says everything that the checkpoint knew.
        let opened = judge(&image, &work, work.promised);
        assert_eq!(opened.found.checkpoint_rebuilt.is_some(), damaged == 3, "{damaged}");
    }
}

#[test]
fn s15_a_damaged_format_is_refused_by_name() {
    let disk = SimDisk::new(15);
    assert!(!work(&disk, 3).failed);
    let disk = disk.power_cut();
    disk.flip_bit("/data/format", 3, 0);
    let error = open(&disk, small()).map(|_| ()).unwrap_err();
    assert!(error.to_string().contains("/data/format"), "{error}");
}

#[test]
fn the_store_keeps_up_again_once_the_index_is_on_disk() {
    let disk = SimDisk::new(1);
    let config = StoreConfig { index_run_bytes: 1, index_bytes_max: 0, ..small() };
    let mut opened = open(&disk, config).unwrap();
    assert!(opened.store.keeps_up());
    let message = |n: usize| Kept { topic: TOPICS[0], queue: 0, body: vec![n as u8; 10] };
    // A stretch with a handful of entries would not be worth a run.
    let messages: Vec<Kept> = (0..20).map(message).collect();
    opened.append(&messages).unwrap();
    assert!(!opened.store.keeps_up(), "its entries are in memory only");
    opened.flusher.flush().unwrap();
    assert!(!opened.store.keeps_up());
    disk.inject(Fault::FailRename { nth: 1 });
    assert!(opened.flusher.housekeep(), "the run is left");
    assert!(!opened.store.keeps_up());
    assert!(!opened.flusher.housekeep());
    // Nobody appends in between: all producers are turned away.
    assert!(opened.store.keeps_up());
    assert_eq!(opened.bodies(TOPICS[0], 0).unwrap().len(), 20);
}

#[test]
fn keys_take_bounded_memory_however_little_the_log_grows() {
    let disk = SimDisk::new(1);
    let config = StoreConfig { index_bytes_max: 4 << 20, ..StoreConfig::default() };
    let config = StoreConfig { segment_bytes: 1 << 20, ..config };
    let mut opened = open(&disk, config.clone()).unwrap();
    let topic = TopicName::parse(TOPICS[0]).unwrap();
    let no = opened.store.queue(&topic, QueueId(0));
    let words = vec!["k"; 15_000].join(" ");
    let mut properties = PropertiesBuf::new();
    properties.push(keys::KEYS, &words);
    let draft = draft(TOPICS[0], QueueId(0), b"x", properties.as_bytes());
    let (mut waits, mut most) = (0, 0);
    for _ in 0..100 {
        if !opened.store.keeps_up() {
            opened.flusher.flush().unwrap();
            opened.flusher.housekeep();
            waits += 1;
        }
        assert!(opened.store.keeps_up(), "a flush is enough");
        opened.store.stage(&[(no, draft)], 1_000, &mut Vec::new()).unwrap();
        opened.store.commit().unwrap();
        most = most.max(opened.store.index.bytes());
    }
    let of_one = 15_000 * 16;
    assert!(most <= config.index_bytes_max + of_one, "{most} bytes");
    assert!(waits > 3, "{waits} waits");
}
