//! What `inspect` says of a log that lacks files, and of one that does not.

use std::io::IoSlice;
use std::path::PathBuf;

use super::*;
use crate::{Inspection, MissingMessages, fill_missing, inspect, losses, missing_segments};

fn look(disk: &SimDisk) -> Inspection {
    inspect(disk, Path::new(DIR), &mut |_| {}).unwrap()
}

fn messages(found: &Inspection) -> u64 {
    found.queues.values().map(|queue| queue.messages).sum()
}

/// A closed store of some segments, and these.
fn written() -> (SimDisk, Vec<PathBuf>) {
    let disk = SimDisk::new(1);
    let mut odds = Odds(1);
    let mut opened = open(&disk, small()).unwrap();
    for _ in 0..40 {
        opened.append(&odds.group()).unwrap();
    }
    opened.store.close(opened.flusher).unwrap();
    let disk = disk.power_cut();
    let mut found = look(&disk).segments;
    // One made ahead may be missing without harm.
    found.retain(|segment| segment.base < look(&disk).durable);
    let dir = Path::new(DIR).join("commitlog");
    let paths = found.iter().map(|segment| dir.join(format!("{:020}", segment.base.0)));
    let paths: Vec<PathBuf> = paths.collect();
    assert!(paths.len() > 3);
    (disk, paths)
}

/// Inspects what is left without some files, and compares with what there was.
#[track_caller]
fn check_without(paths: &[PathBuf], disk: &SimDisk) -> Inspection {
    let whole = look(disk);
    assert!(whole.missing.is_empty() && whole.missing_messages.is_none(), "{:?}", whole.missing);
    let image = disk.image(1);
    for path in paths {
        image.remove(path).unwrap();
    }
    let found = look(&image);
    let segments: Vec<&PathBuf> = found.missing.iter().map(|missing| &missing.segment).collect();
    assert_eq!(segments, [&paths[0]]);
    let gone = messages(&whole) - messages(&found);
    assert_eq!(found.missing_messages, Some(MissingMessages::Exactly(gone)));
    assert!(gone > 0);
    found
}

#[test]
fn missing_segments_are_told_with_their_messages_and_what_is_left_is_read() {
    let (disk, paths) = written();
    let last = paths.len() - 1;
    let first = check_without(&paths[..1], &disk);
    assert_eq!((first.missing[0].from.0, first.missing[0].to.0), (0, 4096));
    assert!(!first.missing[0].is_cut);
    let middle = check_without(&paths[1..2], &disk);
    assert_eq!((middle.missing[0].from.0, middle.missing[0].to.0), (4096, 8192));
    assert!(messages(&middle) > 0 && middle.damage.is_empty());
    assert_eq!(check_without(&paths[1..3], &disk).missing[0].to.0, 3 * 4096);

    let image = disk.image(1);
    for segment in look(&disk).segments.iter().filter(|s| s.base >= look(&disk).durable) {
        image.remove(&Path::new(DIR).join(format!("commitlog/{:020}", segment.base.0))).unwrap();
    }
    let end = check_without(&paths[last..], &image);
    assert_eq!(end.missing[0].to, end.durable);
    let none = check_without(&paths, &image);
    assert_eq!((none.missing[0].from.0, none.missing[0].to), (0, none.durable));
}

#[test]
fn a_segment_cut_short_is_told_with_the_messages_it_lacks() {
    let (disk, paths) = written();
    let whole = look(&disk);
    let image = disk.image(1);
    let bytes = image.file_bytes(&paths[1]).unwrap();
    image.remove(&paths[1]).unwrap();
    image.create(&paths[1]).unwrap().write_at(&[IoSlice::new(&bytes[..1000])], 0).unwrap();
    let found = look(&image);
    let [missing] = &found.missing[..] else { panic!("{:?}", found.missing) };
    assert_eq!((missing.from.0, missing.to.0), (4096 + 1000, 8192));
    assert!(missing.is_cut && missing.segment == paths[1]);
    let gone = messages(&whole) - messages(&found);
    assert_eq!(found.missing_messages, Some(MissingMessages::Exactly(gone)));
}

#[test]
fn a_log_in_use_or_without_power_lacks_nothing() {
    let disk = SimDisk::new(1);
    let mut odds = Odds(2);
    let mut opened = open(&disk, small()).unwrap();
    for n in 0..60 {
        opened.append(&odds.group()).unwrap();
        if n % 3 == 0 {
            opened.flusher.flush().unwrap();
        }
        if n % 5 == 0 {
            opened.flusher.housekeep();
        }
        assert_eq!(look(&disk).missing, []);
        assert_eq!(look(&disk.image(n)).missing, []);
    }
}

#[test]
fn what_retention_removed_is_not_missing_and_what_somebody_else_did_is() {
    let disk = SimDisk::new(1);
    let mut odds = Odds(1);
    let mut opened = open(&disk, small()).unwrap();
    for _ in 0..40 {
        opened.append(&odds.group()).unwrap();
    }
    opened.flusher.flush().unwrap();
    opened.store.remove_before(PhysicalOffset(4096));
    assert_eq!(look(&disk).missing, []);
    opened.flusher.housekeep();
    assert_eq!(look(&disk).segments[0].base.0, 4096);
    assert_eq!(look(&disk).missing, []);
    opened.store.close(opened.flusher).unwrap();
    let whole = messages(&look(&disk));

    for gone in [4096, 8192] {
        let image = disk.image(1);
        image.remove(&Path::new(DIR).join(format!("commitlog/{gone:020}"))).unwrap();
        let found = look(&image);
        assert_eq!((found.missing[0].from.0, found.missing[0].to.0), (gone, gone + 4096));
        let Some(MissingMessages::AtMost(most)) = found.missing_messages else { panic!() };
        let lost = whole - messages(&found);
        assert!(lost <= most && most <= lost + 36, "{lost} of at most {most}");
    }
}

#[test]
fn a_log_without_a_checkpoint_tells_the_gap_alone() {
    let (disk, paths) = written();
    disk.remove(&Path::new(DIR).join("checkpoint")).unwrap();
    assert_eq!(look(&disk).missing, []);
    disk.remove(&paths[1]).unwrap();
    let found = look(&disk);
    assert_eq!((found.missing.len(), found.missing_messages), (1, None));
}

/// Cuts a file to its first bytes.
fn cut(disk: &SimDisk, path: &Path, len: usize) {
    let bytes = disk.file_bytes(path).unwrap();
    disk.remove(path).unwrap();
    disk.create(path).unwrap().write_at(&[IoSlice::new(&bytes[..len])], 0).unwrap();
}

#[test]
fn the_only_segment_cut_short_is_told_from_a_missing_one() {
    let disk = SimDisk::new(1);
    let mut opened = open(&disk, small()).unwrap();
    let message = |n| Kept { topic: "orders", queue: 0, body: vec![n; 200] };
    for n in 0..6 {
        opened.append(&[message(n)]).unwrap();
    }
    opened.store.close(opened.flusher).unwrap();
    let first = Path::new(DIR).join(format!("commitlog/{:020}", 0));
    for len in [0, 1, 700, 1_000] {
        let image = disk.image(1);
        cut(&image, &first, len);
        let [missing] = &missing_segments(&image, Path::new(DIR)).unwrap()[..] else { panic!() };
        // Of a file without any byte nobody can tell.
        assert_eq!((missing.is_cut, &missing.segment), (len > 0, &first), "{len}");
        assert_eq!(missing.from.0, len as u64);
    }
}

/// What is lost by topic and queue, from a look at both.
fn gone(before: &Inspection, after: &Inspection) -> u64 {
    messages(before) - messages(after)
}

#[test]
fn what_a_repair_would_lose_is_told_before_by_queue_and_offset_and_nothing_else_is() {
    let (disk, paths) = written();
    let whole = look(&disk);
    type Harm = fn(&SimDisk, &[PathBuf]);
    let harms: [(&str, Harm); 4] = [
        ("the first is missing", |disk, paths| disk.remove(&paths[0]).unwrap()),
        ("the second is missing", |disk, paths| disk.remove(&paths[1]).unwrap()),
        ("the second is cut", |disk, paths| cut(disk, &paths[1], 1_000)),
        ("the last is cut", |disk, paths| cut(disk, paths.last().unwrap(), 300)),
    ];
    for (what, harm) in harms {
        for with_index in [true, false] {
            let image = disk.image(1);
            // One made ahead would say how long the last one was.
            for path in image.paths().into_iter().filter(|path| path > paths.last().unwrap()) {
                if path.starts_with(Path::new(DIR).join("commitlog")) {
                    image.remove(&path).unwrap();
                }
            }
            harm(&image, &paths);
            if !with_index {
                for path in image
                    .paths()
                    .into_iter()
                    .filter(|path| path.extension().is_some_and(|ext| ext == "run"))
                {
                    image.remove(&path).unwrap();
                }
            }
            let missing = missing_segments(&image, Path::new(DIR)).unwrap();
            let before = image.dump();
            let told = losses(&image, Path::new(DIR), &missing).unwrap();
            assert_eq!(image.dump(), before, "{what}: a look changes nothing");
            let names: Vec<PathBuf> = image.paths();
            fill_missing(&image, Path::new(DIR), &missing).unwrap();
            let made: Vec<PathBuf> =
                image.paths().into_iter().filter(|path| !names.contains(path)).collect();
            assert!(made.iter().all(|path| paths.contains(path) || path.ends_with("lock")));

            let opened = open(&image, small()).unwrap();
            let lost = gone(&whole, &look(&image));
            let by_offset: u64 = told.messages.iter().map(|each| each.to.since(each.from)).sum();
            // Nothing follows the last ones, so without an index they are only counted.
            let known = if with_index || what != "the last is cut" { lost } else { 0 };
            assert_eq!(by_offset, known, "{what}, index {with_index}: {told:?}");
            assert_eq!(told.counted, Some(MissingMessages::Exactly(lost)), "{what}");
            for each in &told.messages {
                let no = opened.store.find_queue(each.topic.as_str(), each.queue).unwrap();
                let count = each.to.since(each.from) as usize;
                let end = PhysicalOffset(u64::MAX);
                let plan = opened.store.plan(no, each.from, count, u64::MAX, end);
                for entry in plan.entries.iter().filter(|entry| entry.size > 0) {
                    let read = opened.store.reader().read(std::slice::from_ref(entry));
                    assert!(read.is_err(), "{what}: {each:?} is there");
                }
            }
        }
    }
}
