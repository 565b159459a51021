use super::*;

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
