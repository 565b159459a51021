use millrace_disk::{Access, RealDisk};

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

/// What a reader gets of a store with a damaged file, and whether anything was reported.
fn look(disk: &SimDisk, path: &Path, groups: &[Vec<Kept>]) -> Result<(), String> {
    judge(open(disk, small()), path, groups)
}

fn judge(
    opened: Result<Opened, OpenError>,
    path: &Path,
    groups: &[Vec<Kept>],
) -> Result<(), String> {
    let opened = match opened {
        Ok(opened) => opened,
        Err(error) if error.to_string().contains(&*path.to_string_lossy()) => return Ok(()),
        Err(error) => return Err(format!("refused without a name: {error}")),
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
        assert_eq!(look(&disk.image(1), Path::new("none"), &groups), Ok(()));
        for path in disk.paths() {
            let len = disk.file_bytes(&path).map_or(0, |bytes| bytes.len());
            for byte in 0..len as u64 {
                let image = disk.image(byte);
                image.flip_bit(&path, byte, (byte % 8) as u8);
                let seen = look(&image, &path, &groups);
                assert_eq!(seen, Ok(()), "{} byte {byte}, closed {close}", path.display());
            }
        }
    }
}

/// The same on the file system of temporary files. It opens the store once for each byte, which
/// takes minutes where a sync has to wait for a disk.
#[test]
#[ignore = "tests/real-faults runs it, on a file system in memory"]
fn a_flipped_bit_is_harmless_or_reported_on_the_real_kernel() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("data");
    let mut flipped = 0;
    for close in [false, true] {
        let (disk, groups) = written(close);
        let put = |path: &Path, bytes: &[u8]| {
            let to = dir.join(path.strip_prefix(DIR).unwrap());
            std::fs::create_dir_all(to.parent().unwrap()).unwrap();
            std::fs::write(&to, bytes).unwrap();
            to
        };
        for path in disk.paths() {
            let bytes = disk.file_bytes(&path).unwrap_or_default();
            for byte in 0..bytes.len() {
                let _ = std::fs::remove_dir_all(&dir);
                for other in disk.paths() {
                    put(&other, &disk.file_bytes(&other).unwrap_or_default());
                }
                let mut bytes = bytes.clone();
                bytes[byte] ^= 1 << (byte % 8);
                let damaged = put(&path, &bytes);
                let opened = open_in(Arc::new(RealDisk::new()), &dir, small());
                let seen = judge(opened, &damaged, &groups);
                assert_eq!(seen, Ok(()), "{} byte {byte}, closed {close}", path.display());
                flipped += 1;
            }
        }
    }
    println!("s6: {flipped} bits flipped in files of the real kernel, each harmless or reported");
}

#[test]
fn a_zeroed_sector_is_harmless_or_reported() {
    for close in [false, true] {
        let (disk, groups) = written(close);
        for path in disk.paths() {
            let len = disk.file_bytes(&path).map_or(0, |bytes| bytes.len());
            for sector in 0..len.div_ceil(512) as u64 {
                let image = disk.image(sector);
                let file = image.open(&path, Access::ReadWrite).unwrap();
                file.zero(sector * 512..(sector + 1) * 512).unwrap();
                let seen = look(&image, &path, &groups);
                assert_eq!(seen, Ok(()), "{} sector {sector}, closed {close}", path.display());
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

/// Overwrites the first queue offset of the first queue of a run, and mends the checksum.
fn claim(disk: &SimDisk, run: &Path, offset: u64) {
    let mut bytes = disk.file_bytes(run).unwrap();
    bytes[64..72].copy_from_slice(&offset.to_be_bytes());
    let content = bytes.len() - 4;
    let crc = crc32fast::hash(&bytes[..content]);
    bytes[content..].copy_from_slice(&crc.to_be_bytes());
    let file = disk.open(run, Access::ReadWrite).unwrap();
    file.write_at(&[std::io::IoSlice::new(&bytes)], 0).unwrap();
}

#[test]
fn index_runs_that_contradict_each_other_are_built_again() {
    let config = StoreConfig { index_run_bytes: 1 << 10, ..small() };
    let disk = SimDisk::new(1);
    let mut opened = open(&disk, config.clone()).unwrap();
    let mut odds = Odds(2);
    let groups: Vec<Vec<Kept>> = (0..120).map(|_| odds.group()).collect();
    for group in &groups {
        opened.append(group).unwrap();
        opened.flusher.flush().unwrap();
        opened.flusher.housekeep();
    }
    opened.store.close(opened.flusher).unwrap();
    let mut runs = disk.paths();
    runs.retain(|path| path.to_string_lossy().ends_with(".run"));
    assert!(runs.len() > 1);
    for (run, offset) in [(0, u64::MAX), (1, 0), (1, 1_000), (1, u64::MAX - 1)] {
        let image = disk.image(0);
        claim(&image, &runs[run], offset);
        let opened = open(&image, config.clone()).unwrap();
        assert!(opened.found.index_rebuilt.contains(&runs[run]), "run {run} at {offset}");
        for topic in TOPICS {
            for queue in 0..2 {
                assert_eq!(opened.bodies(topic, queue).unwrap(), expected(&groups, topic, queue));
            }
        }
    }
}

#[test]
fn an_index_of_another_log_is_built_again() {
    // The same sizes in the same order, so only what the records say tells the logs apart.
    let [one, other] = [0, 1].map(|first: u32| {
        let disk = SimDisk::new(1);
        let mut opened = open(&disk, small()).unwrap();
        for n in 0..60u32 {
            let message = Kept { topic: "orders", queue: (first + n) % 2, body: vec![1; 100] };
            opened.append(&[message]).unwrap();
        }
        opened.store.close(opened.flusher).unwrap();
        disk.power_cut()
    });
    let runs = one.paths().into_iter().filter(|path| path.starts_with("/data/index"));
    for run in runs {
        let bytes = other.file_bytes(&run).expect("a run of the same name");
        let file = one.open(&run, Access::ReadWrite).unwrap();
        file.write_at(&[std::io::IoSlice::new(&bytes)], 0).unwrap();
    }
    let opened = open(&one, small()).unwrap();
    assert!(!opened.found.index_rebuilt.is_empty());
    for queue in 0..2 {
        assert_eq!(opened.bodies("orders", queue).unwrap().len(), 30);
    }
}

#[test]
fn an_unused_segment_of_another_length_is_made_again() {
    let disk = SimDisk::new(1);
    let mut opened = open(&disk, small()).unwrap();
    let (mut odds, mut groups) = (Odds(2), Vec::new());
    while opened.store.segments().len() < 3
        || opened.store.segments()[2].0 < opened.store.watermarks().appended()
    {
        groups.push(odds.group());
        opened.append(groups.last().unwrap()).unwrap();
        opened.flusher.flush().unwrap();
        opened.flusher.housekeep();
    }
    opened.store.close(opened.flusher).unwrap();
    let last = disk.paths().into_iter().rfind(|path| path.starts_with("/data/commitlog"));
    let last = last.unwrap();
    for len in [100, 4095, 9000] {
        let image = disk.image(0);
        image.open(&last, Access::ReadWrite).unwrap().truncate(len).unwrap();
        let mut opened = open(&image, small()).unwrap();
        let mut kept = groups.clone();
        let mut odds = Odds(len);
        for _ in 0..40 {
            kept.push(odds.group());
            opened.append(kept.last().unwrap()).unwrap();
        }
        opened.store.close(opened.flusher).unwrap();
        let opened = open(&image, small()).unwrap();
        assert_eq!(opened.bodies("orders", 0).unwrap(), expected(&kept, "orders", 0));
    }
}

#[test]
fn a_producer_cannot_leave_a_group_open() {
    let disk = SimDisk::new(1);
    let mut opened = open(&disk, small()).unwrap();
    let topic = TopicName::parse("orders").unwrap();
    let no = opened.store.queue(&topic, QueueId(0));
    let draft = draft("orders", QueueId(0), b"the only one", b"__MORE\x011");
    opened.store.stage(&[(no, draft)], 1, &mut Vec::new()).unwrap();
    opened.store.commit().unwrap();
    opened.flusher.flush().unwrap();
    drop((opened.store, opened.flusher));
    let opened = open(&disk.power_cut(), small()).unwrap();
    assert_eq!(opened.found.unfinished_records, 0);
    assert_eq!(opened.bodies("orders", 0).unwrap(), [(0, b"the only one".to_vec())]);
}
