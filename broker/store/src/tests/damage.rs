use millrace_disk::Access;

use super::*;

/// A store of some groups, closed or merely flushed.
fn written(close: bool) -> (SimDisk, Vec<Vec<Kept>>) {
    let disk = SimDisk::new(1);
    let mut odds = Odds(1);
    let mut opened = open(&disk, small()).unwrap();
    let groups: Vec<Vec<Kept>> = (0..14).map(|_| odds.group()).collect();
    for group in &groups {
        opened.append(group).unwrap();
    }
    opened.flusher.flush().unwrap();
    opened.flusher.housekeep();
    if close {
        opened.store.close(opened.flusher).unwrap();
    }
    (disk.power_cut(), groups)
}

/// What a reader gets of a store with a flipped bit, and whether anything was reported.
fn look(disk: &SimDisk, groups: &[Vec<Kept>]) -> Result<(), String> {
    let opened = match open(disk, small()) {
        Ok(opened) => opened,
        Err(_) => return Ok(()),
    };
    let mut reported = !opened.found.damage.is_empty()
        || opened.found.torn.is_some()
        || !opened.found.index_rebuilt.is_empty();
    let mut missing = false;
    for topic in TOPICS {
        for queue in 0..2 {
            let want = expected(groups, topic, queue);
            match opened.bodies(topic, queue) {
                Err(_) => reported = true,
                Ok(got) => {
                    if let Some(wrong) = got.iter().find(|each| !want.contains(each)) {
                        return Err(format!("wrong data at offset {}", wrong.0));
                    }
                    missing |= got.len() < want.len();
                }
            }
        }
    }
    if missing && !reported { Err("data is missing without a report".into()) } else { Ok(()) }
}

#[test]
fn a_flipped_bit_is_harmless_or_reported() {
    for close in [false, true] {
        let (disk, groups) = written(close);
        assert_eq!(look(&disk.image(1), &groups), Ok(()));
        for path in disk.paths() {
            let len = disk.file_bytes(&path).map_or(0, |bytes| bytes.len());
            for byte in 0..len as u64 {
                let image = disk.image(byte);
                image.flip_bit(&path, byte, (byte % 8) as u8);
                let seen = look(&image, &groups);
                assert_eq!(seen, Ok(()), "{} byte {byte}, closed {close}", path.display());
            }
        }
    }
}

#[test]
fn what_follows_damage_in_the_middle_is_still_served() {
    let (disk, groups) = written(true);
    let log = disk.paths().into_iter().find(|p| p.to_string_lossy().contains("/commitlog/0"));
    disk.flip_bit(log.unwrap(), 100, 3);
    // The index runs were built before the damage; without them the log itself is read.
    for path in disk.paths().into_iter().filter(|p| p.to_string_lossy().ends_with(".run")) {
        disk.remove(&path).unwrap();
    }
    let opened = open(&disk, small()).unwrap();
    let first = &groups[0][0];
    assert_eq!(opened.found.damage.len(), 1);
    assert_eq!(opened.found.damage[0].from, PhysicalOffset(0));
    assert_eq!(opened.found.torn, None);
    let mut want = expected(&groups, first.topic, first.queue);
    want.remove(0);
    assert_eq!(opened.bodies(first.topic, first.queue).unwrap(), want);
}

#[test]
fn a_record_torn_within_its_checksum_is_not_taken_for_one_without() {
    let disk = SimDisk::new(1);
    let mut opened = open(&disk, small()).unwrap();
    opened.append(&[Kept { topic: "orders", queue: 0, body: b"whole".to_vec() }]).unwrap();
    let end = opened.store.watermarks().appended().0;
    drop(opened);
    let disk = disk.kill();
    let log =
        disk.open(&Path::new(DIR).join("commitlog").join(format!("{:020}", 0)), Access::ReadWrite);
    log.unwrap().zero(end - 12..end).unwrap();
    let opened = open(&disk, small()).unwrap();
    assert_eq!(opened.bodies("orders", 0).unwrap(), []);
    assert_eq!(opened.found.end, PhysicalOffset(0));
}

#[test]
fn a_missing_segment_is_refused_by_name() {
    let (disk, _) = written(true);
    let mut logs: Vec<_> = disk.paths();
    logs.retain(|path| path.to_string_lossy().contains("/commitlog/"));
    disk.remove(&logs[1]).unwrap();
    match open(&disk, small()) {
        Err(OpenError::MissingSegment { missing, .. }) => assert_eq!(missing, logs[1]),
        other => panic!("opened: {}", other.is_ok()),
    }
}

#[test]
fn a_directory_is_opened_once() {
    let disk = SimDisk::new(1);
    let first = open(&disk, small()).unwrap();
    assert!(matches!(open(&disk, small()), Err(OpenError::InUse(_))));
    drop(first);
    assert!(open(&disk, small()).is_ok());
}

#[test]
fn a_newer_format_is_refused() {
    let (disk, _) = written(true);
    disk.flip_bit(Path::new(DIR).join("format"), 15, 1);
    assert!(matches!(open(&disk, small()), Err(OpenError::Format { .. })));
}

#[test]
fn a_failed_flush_poisons_for_good() {
    let disk = SimDisk::new(1);
    let mut opened = open(&disk, small()).unwrap();
    let group = Odds(3).group();
    opened.append(&group).unwrap();
    disk.inject(millrace_disk::Fault::FailSync { nth: 1 });
    assert!(opened.flusher.flush().is_err());
    assert!(opened.flusher.flush().is_err());
    assert!(matches!(opened.append(&group), Err(AppendError::Poisoned)));
    assert!(opened.store.watermarks().durable() < opened.store.watermarks().appended());
}

#[test]
fn a_full_disk_refuses_the_next_segment_and_keeps_serving() {
    let disk = SimDisk::new(1);
    let mut opened = open(&disk, small()).unwrap();
    disk.inject(millrace_disk::Fault::Capacity { bytes: 16 << 10 });
    let mut odds = Odds(4);
    let mut kept = Vec::new();
    let refused = loop {
        let group = odds.group();
        match opened.append(&group) {
            Ok(()) => kept.push(group),
            Err(error) => break error,
        }
        assert!(kept.len() < 1_000, "the disk never fills");
    };
    assert!(matches!(refused, AppendError::DiskFull(_)), "{refused}");
    for topic in TOPICS {
        for queue in 0..2 {
            assert_eq!(opened.bodies(topic, queue).unwrap(), expected(&kept, topic, queue));
        }
    }
    disk.inject(millrace_disk::Fault::Capacity { bytes: 1 << 20 });
    opened.append(&odds.group()).unwrap();
}
