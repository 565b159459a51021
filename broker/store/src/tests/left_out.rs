//! Damage to the newest messages of a queue, before any index run has them: their offsets are not
//! given to others.

use super::*;
use crate::LostMessages;

/// A store of a few messages of `orders`, by queue, all durable, that was killed; and where they lie.
fn killed(queues: &[u32]) -> (SimDisk, Vec<Placed>) {
    let disk = SimDisk::new(1);
    let mut opened = open(&disk, small()).unwrap();
    let placed = queues.iter().flat_map(|queue| append(&mut opened, *queue)).collect();
    drop(opened);
    (disk.kill(), placed)
}

fn append(opened: &mut Opened, queue: u32) -> Vec<Placed> {
    let message = Kept { topic: "orders", queue, body: vec![queue as u8; 100] };
    let placed = opened.stage(&[message]).unwrap();
    opened.store.commit().unwrap();
    opened.flusher.flush().unwrap();
    placed
}

/// The offset that the next message of a queue gets.
fn next(opened: &mut Opened, queue: u32) -> u64 {
    append(opened, queue)[0].queue_offset.0
}

fn damage(disk: &SimDisk, placed: &Placed) {
    let (at, len) = (placed.physical_offset.0, small().segment_bytes);
    let log = Path::new(DIR).join("commitlog").join(format!("{:020}", at / len * len));
    disk.flip_bit(log, at % len + u64::from(placed.size) / 2, 5);
}

fn lost(queue: u32, from: u64, to: u64, certain: bool) -> LostMessages {
    let (from, to) = (QueueOffset(from), QueueOffset(to));
    let topic = TopicName::parse("orders").unwrap();
    LostMessages { topic, queue: QueueId(queue), from, to, certain }
}

#[test]
fn the_offset_of_the_last_message_is_not_given_again() {
    let (disk, placed) = killed(&[0, 1, 0, 1]);
    damage(&disk, &placed[2]);
    let mut opened = open(&disk, small()).unwrap();
    assert_eq!(opened.found.damage.len(), 1);
    assert_eq!(opened.found.lost, [lost(0, 1, 2, false)]);
    assert_eq!(next(&mut opened, 0), 2, "somebody may have read what was at 1");
    assert_eq!(next(&mut opened, 1), 2, "its last message follows the damage");
    let bodies = opened.bodies("orders", 0).unwrap();
    assert_eq!(bodies.iter().map(|(offset, _)| *offset).collect::<Vec<_>>(), [0, 2]);
}

#[test]
fn a_queue_with_no_other_message_leaves_out_the_offset_too() {
    let (disk, placed) = killed(&[0, 3, 0]);
    damage(&disk, &placed[1]);
    let mut opened = open(&disk, small()).unwrap();
    assert_eq!(next(&mut opened, 3), 1);
    assert_eq!(next(&mut opened, 0), 2, "its last message follows the damage");
    // Neither may one be forgotten by the next start, which no longer reads the damage.
    drop(opened);
    let mut opened = open(&disk.kill(), small()).unwrap();
    assert_eq!(opened.found.damage, []);
    assert_eq!(next(&mut opened, 3), 2);
}

#[test]
fn where_a_later_message_shows_the_gap_no_other_queue_leaves_anything_out() {
    let (disk, placed) = killed(&[2, 0, 0, 0]);
    damage(&disk, &placed[2]);
    let mut opened = open(&disk, small()).unwrap();
    assert_eq!(opened.found.lost, [lost(0, 1, 2, true)]);
    for (queue, expected) in [(0, 3), (2, 1), (5, 0)] {
        assert_eq!(next(&mut opened, queue), expected, "queue {queue}");
    }
}

#[test]
fn the_first_message_of_a_queue_shows_that_those_before_it_are_lost() {
    let (disk, placed) = killed(&[0, 1, 0, 1]);
    damage(&disk, &placed[0]);
    let mut opened = open(&disk, small()).unwrap();
    assert_eq!(opened.found.lost, [lost(0, 0, 1, true)]);
    for (queue, expected) in [(0, 2), (1, 2), (5, 0)] {
        assert_eq!(next(&mut opened, queue), expected, "queue {queue}");
    }
}

#[test]
fn starting_again_leaves_out_no_more() {
    // 20 KiB of other messages after the damage are worth an index run.
    for others in [0, 100] {
        let queues = [&[0, 1, 2, 0][..], &vec![3; others]].concat();
        let (mut disk, placed) = killed(&queues);
        damage(&disk, &placed[3]);
        for with_runs in [false, true, false, true] {
            let opened = open(&disk, small()).unwrap();
            assert_eq!(opened.found.lost.len(), 3, "as long as nothing follows, it is told again");
            for queue in 0..3 {
                let no = opened.store.find_queue("orders", QueueId(queue)).unwrap();
                assert_eq!(opened.store.bounds(no).end, QueueOffset(2), "queue {queue}");
            }
            drop(opened);
            disk = disk.power_cut();
            if !with_runs {
                for path in disk.paths().into_iter().filter(|path| path.starts_with("/data/index"))
                {
                    disk.remove(&path).unwrap();
                }
            }
        }
    }
}

#[test]
fn what_is_left_out_is_written_once_an_earlier_run_is() {
    let (disk, placed) = killed(&[&[3; 40][..], &[0, 1, 2, 0]].concat());
    damage(&disk, &placed[43]);
    // The run of what lies before the damage is written later; the rest is too little for one.
    disk.inject(millrace_disk::Fault::FailRename { nth: 1 });
    let mut opened = open(&disk, small()).unwrap();
    assert_eq!(next(&mut opened, 1), 2);
    opened.flusher.housekeep();
    assert_eq!(next(&mut opened, 3), 41);
    opened.flusher.housekeep();
    drop(opened);
    let mut opened = open(&disk.kill(), small()).unwrap();
    for (queue, expected) in [(0, 2), (1, 3), (2, 2), (3, 42)] {
        assert_eq!(next(&mut opened, queue), expected, "queue {queue}");
    }
}

#[test]
fn several_lost_messages_are_counted() {
    let (disk, placed) = killed(&[0, 1, 1, 1, 0]);
    damage(&disk, &placed[2]);
    damage(&disk, &placed[3]);
    let mut opened = open(&disk, small()).unwrap();
    assert_eq!(next(&mut opened, 1), 3);
    assert_eq!(next(&mut opened, 0), 2);
    assert_eq!(next(&mut opened, 6), 2, "both may have been its first ones");
}

#[test]
fn a_checkpoint_that_counts_nothing_leaves_out_what_the_bytes_could_have_held() {
    let (disk, placed) = killed(&[0, 1, 0]);
    let mut bytes = disk.file_bytes(Path::new(DIR).join("checkpoint")).unwrap();
    for slot in bytes.chunks_mut(512) {
        slot[7] = 2;
        let crc = crc32fast::hash(&slot[..36]).to_be_bytes();
        slot[36..40].copy_from_slice(&crc);
    }
    let file = disk.open(&Path::new(DIR).join("checkpoint"), millrace_disk::Access::ReadWrite);
    file.unwrap().write_at(&[std::io::IoSlice::new(&bytes)], 0).unwrap();
    damage(&disk, &placed[2]);
    let mut opened = open(&disk, small()).unwrap();
    let held = u64::from(placed[2].size) / 112;
    assert!(held > 1);
    assert_eq!(next(&mut opened, 0), 1 + held);
}

#[test]
fn a_lost_record_of_the_brokers_own_state_is_missed() {
    for (own, missed) in [(2, 1), (1, 0)] {
        let disk = SimDisk::new(1);
        let mut opened = open(&disk, small()).unwrap();
        let topics = ["orders", "orders", "MILLRACE_META", "orders"];
        let placed: Vec<Placed> = topics
            .into_iter()
            .map(|topic| {
                let message = Kept { topic, queue: 0, body: vec![1; 50] };
                opened.stage(&[message]).unwrap()[0]
            })
            .collect();
        opened.store.commit().unwrap();
        opened.flusher.flush().unwrap();
        drop(opened);
        let disk = disk.kill();
        damage(&disk, &placed[own]);
        let opened = open(&disk, small()).unwrap();
        let topic = TopicName::parse("MILLRACE_META").unwrap();
        let mut store = opened.store;
        let meta = store.queue(&topic, QueueId(0));
        let plan = store.plan(meta, QueueOffset(0), 9, u64::MAX, PhysicalOffset(u64::MAX));
        let lost = plan.entries.iter().filter(|entry| entry.size == 0).count();
        assert_eq!(lost, missed, "message {own} damaged");
    }
}

#[test]
fn a_queue_of_the_brokers_own_state_misses_no_more_than_was_lost() {
    let disk = SimDisk::new(1);
    let mut opened = open(&disk, small()).unwrap();
    // Known by its name only.
    let topic = TopicName::parse("MILLRACE_LEDGER").unwrap();
    opened.store.queue(&topic, QueueId(0));
    opened.append(&[Kept { topic: "orders", queue: 0, body: vec![1; 50] }]).unwrap();
    let (store, flusher) = (opened.store, opened.flusher);
    store.close(flusher).unwrap();
    let disk = disk.kill();
    let mut opened = open(&disk, small()).unwrap();
    let lost = Kept { topic: "MILLRACE_META", queue: 0, body: vec![1; 50] };
    let placed = opened.stage(&[lost]).unwrap()[0];
    opened.store.commit().unwrap();
    opened.flusher.flush().unwrap();
    let disk = disk.kill();
    damage(&disk, &placed);
    let opened = open(&disk, small()).unwrap();
    let no = opened.store.find_queue("MILLRACE_LEDGER", QueueId(0)).unwrap();
    assert_eq!(opened.store.bounds(no).end, QueueOffset(1));
}
