use super::*;
use crate::{Entry, ReadError};

fn filled(count: usize) -> Opened {
    let mut opened = open(&SimDisk::new(0), small()).unwrap();
    for n in 0..count {
        let body = vec![n as u8; 100];
        opened.append(&[Kept { topic: "orders", queue: 0, body }]).unwrap();
        opened.flusher.flush().unwrap();
        opened.flusher.housekeep();
    }
    opened
}

#[test]
fn a_plan_stops_by_count_by_bytes_and_at_the_limit() {
    let mut opened = open(&SimDisk::new(0), small()).unwrap();
    for n in 0..100 {
        opened.append(&[Kept { topic: "orders", queue: 0, body: vec![n; 100] }]).unwrap();
    }
    let no = opened.store.find_queue("orders", QueueId(0)).unwrap();
    let plan = |from, count, bytes, limit| {
        opened.store.plan(no, QueueOffset(from), count, bytes, PhysicalOffset(limit)).entries.len()
    };
    assert_eq!(plan(0, 10, u64::MAX, u64::MAX), 10);
    assert_eq!(plan(95, 10, u64::MAX, u64::MAX), 5);
    assert_eq!(plan(100, 10, u64::MAX, u64::MAX), 0);
    assert_eq!(plan(0, 10, 1, u64::MAX), 1);
    let size =
        opened.store.plan(no, QueueOffset(0), 1, 1, PhysicalOffset(u64::MAX)).entries[0].size;
    assert_eq!(plan(0, 10, 3 * u64::from(size), u64::MAX), 3);
    assert_eq!(plan(0, 10, u64::MAX, 2 * u64::from(size)), 2);
    assert_eq!(plan(0, 10, u64::MAX, 2 * u64::from(size) + 1), 2);
}

#[test]
fn records_that_follow_one_another_are_read_as_one_run() {
    let opened = filled(20);
    let no = opened.store.find_queue("orders", QueueId(0)).unwrap();
    let plan = opened.store.plan(no, QueueOffset(0), 10, u64::MAX, PhysicalOffset(u64::MAX));
    assert_eq!(opened.store.reader().read(&plan.entries).unwrap().len(), 1);
}

#[test]
fn a_record_larger_than_a_segment_is_refused_and_changes_nothing() {
    let mut opened = filled(3);
    let body = vec![0; 5_000];
    let large = Kept { topic: "orders", queue: 0, body };
    assert!(matches!(opened.append(&[large]), Err(AppendError::TooLarge { .. })));
    assert_eq!(opened.bodies("orders", 0).unwrap().len(), 3);
    opened.append(&[Kept { topic: "orders", queue: 0, body: vec![1] }]).unwrap();
    assert_eq!(opened.bodies("orders", 0).unwrap().len(), 4);
}

#[test]
fn an_index_of_many_runs_reads_like_one() {
    let opened = filled(400);
    let bodies = opened.bodies("orders", 0).unwrap();
    assert_eq!(bodies.len(), 400);
    assert!(
        bodies
            .iter()
            .enumerate()
            .all(|(n, (offset, body))| { *offset == n as u64 && *body == vec![n as u8; 100] })
    );
}

#[test]
fn a_bad_sector_hides_the_records_in_it_and_no_others() {
    let disk = SimDisk::new(0);
    let mut opened = open(&disk, small()).unwrap();
    for n in 0..100u8 {
        opened.append(&[Kept { topic: "orders", queue: 0, body: vec![n; 100] }]).unwrap();
    }
    let no = opened.store.find_queue("orders", QueueId(0)).unwrap();
    let end = PhysicalOffset(u64::MAX);
    let plan = opened.store.plan(no, QueueOffset(0), 20, u64::MAX, end).entries;
    let reader = opened.store.reader();
    assert!(plan.iter().all(|entry| !reader.is_hot(entry.physical_offset)));
    let (sector, bad) = (2, 1024..1536);
    let path = std::path::PathBuf::from("/data/commitlog/00000000000000000000");
    disk.inject(millrace_disk::Fault::BadSector { path, sector });
    let mut hidden = 0;
    for entry in plan.iter().filter(|entry| entry.physical_offset.0 < 4096) {
        let start = entry.physical_offset.0;
        let hit = start < bad.end && start + u64::from(entry.size) > bad.start;
        let read = reader.read(std::slice::from_ref(entry));
        assert_eq!(matches!(read, Err(ReadError::Io { .. })), hit, "at {start}");
        assert_eq!(read.is_ok(), !hit);
        hidden += usize::from(hit);
    }
    assert!(hidden > 1);
    // Reading ahead meets the sector, and what comes before it is given all the same.
    let apart: Vec<Entry> = plan.iter().step_by(2).copied().collect();
    let before = apart.iter().take_while(|e| e.physical_offset.0 + u64::from(e.size) <= bad.start);
    let before: Vec<Entry> = before.copied().collect();
    assert!(before.len() > 1 && reader.read(&before).is_ok());
    assert!(matches!(reader.read(&apart), Err(ReadError::Io { .. })));
}

#[test]
fn a_file_that_ends_early_is_an_error_to_who_reads_behind_its_end() {
    let disk = SimDisk::new(0);
    let mut opened = open(&disk, small()).unwrap();
    for n in 0..100u8 {
        opened.append(&[Kept { topic: "orders", queue: 0, body: vec![n; 100] }]).unwrap();
    }
    let no = opened.store.find_queue("orders", QueueId(0)).unwrap();
    let plan = opened.store.plan(no, QueueOffset(0), 100, u64::MAX, PhysicalOffset(u64::MAX));
    let path = Path::new("/data/commitlog/00000000000000000000");
    disk.open(path, millrace_disk::Access::ReadWrite).unwrap().truncate(1000).unwrap();
    let reader = opened.store.reader();
    for entry in &plan.entries {
        let end = entry.physical_offset.0 + u64::from(entry.size);
        let gone = end > 1000 && entry.physical_offset.0 < 4096;
        let read = reader.read(std::slice::from_ref(entry));
        assert_eq!(matches!(read, Err(ReadError::Absent { .. })), gone);
        assert_eq!(read.is_ok(), !gone);
    }
}

#[test]
fn cold_records_read_ahead_are_those_asked_for() {
    let disk = SimDisk::new(0);
    let mut opened = open(&disk, small()).unwrap();
    for n in 0..120u8 {
        let queue = u32::from(n % 3);
        opened.append(&[Kept { topic: "orders", queue, body: vec![n; 50] }]).unwrap();
    }
    for queue in 0..3u8 {
        let expected: Vec<(u64, Vec<u8>)> =
            (0..40).map(|n| (u64::from(n), vec![n * 3 + queue; 50])).collect();
        assert_eq!(opened.bodies("orders", queue.into()).unwrap(), expected);
    }
}

#[test]
fn a_bad_sector_in_an_index_run_is_an_error_to_who_needs_it_and_to_nobody_else() {
    let disk = SimDisk::new(0);
    let mut opened = open(&disk, small()).unwrap();
    for n in 0..400u32 {
        let body = vec![n as u8; 30];
        opened.append(&[Kept { topic: "orders", queue: n % 2, body }]).unwrap();
        opened.flusher.flush().unwrap();
        opened.flusher.housekeep();
    }
    let mut runs = disk.paths();
    runs.retain(|path| path.extension().is_some_and(|extension| extension == "run"));
    assert!(runs.len() > 1);
    disk.inject(millrace_disk::Fault::BadSector { path: runs[1].clone(), sector: 1 });
    let mut hidden = 0;
    for queue in 0..2 {
        let no = opened.store.find_queue("orders", QueueId(queue)).unwrap();
        let plan = opened.store.plan(no, QueueOffset(0), 500, u64::MAX, PhysicalOffset(u64::MAX));
        assert_eq!(plan.entries.len(), 200, "every offset is there");
        for (offset, entry) in (0..).zip(&plan.entries) {
            match opened.store.reader().read(std::slice::from_ref(entry)) {
                Ok(runs) => {
                    let record = record::Record::parse(&runs[0]).unwrap();
                    assert_eq!(record.queue_offset(), QueueOffset(offset));
                }
                Err(error) => {
                    assert!(error.to_string().contains("index"), "{error}");
                    hidden += 1;
                }
            }
        }
    }
    // A sector has 25 entries and parts of two more.
    assert!((10..=75).contains(&hidden), "{hidden}");
    // The next start builds the run again.
    drop(opened);
    let opened = open(&disk.kill(), small()).unwrap();
    assert_eq!(opened.bodies("orders", 0).unwrap().len(), 200);
}

#[test]
fn an_index_run_that_is_cut_short_is_an_error_and_no_signal() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("data");
    let disk: Arc<dyn Disk> = Arc::new(millrace_disk::RealDisk::new());
    let (store, flusher, found) = Store::open(Arc::clone(&disk), &dir, small()).unwrap();
    let mut opened = Opened { store, flusher, found };
    for n in 0..400u32 {
        opened.append(&[Kept { topic: "orders", queue: 0, body: vec![n as u8; 30] }]).unwrap();
        opened.flusher.flush().unwrap();
        opened.flusher.housekeep();
    }
    // So that the store knows the written runs.
    opened.append(&[Kept { topic: "orders", queue: 0, body: vec![1] }]).unwrap();
    for entry in disk.list(&dir.join("index")).unwrap() {
        let run = disk.open(&dir.join("index").join(entry.name), millrace_disk::Access::ReadWrite);
        run.unwrap().truncate(10).unwrap();
    }
    let no = opened.store.find_queue("orders", QueueId(0)).unwrap();
    let plan = opened.store.plan(no, QueueOffset(0), 500, u64::MAX, PhysicalOffset(u64::MAX));
    assert_eq!(plan.entries.len(), 401);
    let read = |entry: &Entry| opened.store.reader().read(std::slice::from_ref(entry));
    assert!(matches!(read(&plan.entries[0]), Err(ReadError::Absent { .. })));
    assert!(read(&plan.entries[400]).is_ok());
}
