//! How far groups have got, also while the disk is full, or while a topic may not be read.

use millrace_disk::Fault;

use super::*;

const QUEUE: QueueId = QueueId(0);

fn commit(rig: &mut Rig, group: &str, offset: u64) -> Option<Answer> {
    let group = GroupName::parse(group).unwrap();
    let (topic, offset) = ("orders", QueueOffset(offset));
    rig.call(Request::CommitOffset { group: &group, topic, queue: QUEUE, offset })
}

#[track_caller]
fn check(rig: &mut Rig, group: &str, expected: u64) {
    let group = GroupName::parse(group).unwrap();
    let ask = Request::GroupOffset { group: &group, topic: "orders", queue: QUEUE };
    match rig.call(ask) {
        Some(Answer::GroupOffset(Some(offset))) => assert_eq!(offset, QueueOffset(expected)),
        other => panic!("{other:?}"),
    }
}

/// A broker whose disk has no room for another segment, and which has noticed.
fn full() -> Rig {
    let mut rig = Rig::new(ASYNC);
    rig.send("orders", 0, b"x", "x");
    rig.disk.inject(Fault::Capacity { bytes: 0 });
    for filler in [8 << 10, 16] {
        while let Some(Answer::Appended(_)) = rig.send("orders", 1, &vec![0; filler], "x") {}
    }
    rig
}

/// Uses up what is reserved for the broker's own state.
fn exhaust(rig: &mut Rig) {
    for n in 0.. {
        let name = topic(&format!("topic-{n}"));
        let answer = rig.call(Request::EnsureTopic { topic: &name, queues: 1 });
        if matches!(answer, Some(Answer::Refused(Refusal::DiskFull(_)))) {
            return;
        }
        assert!(n < 1_000, "there is always room: {answer:?}");
    }
}

#[test]
fn groups_that_commit_all_the_time_do_not_use_up_the_reserve() {
    let mut rig = full();
    let before = rig.engine.watermarks().appended();
    for offset in 1..=10_000 {
        assert!(matches!(commit(&mut rig, "g", offset), Some(Answer::Done)));
        if offset.is_multiple_of(100) {
            rig.let_pass(1_000);
        }
    }
    check(&mut rig, "g", 10_000);
    // A hundred seconds have passed.
    let used = rig.engine.watermarks().appended().since(before);
    assert!((1..2_000).contains(&used), "{used} bytes");
    rig.let_pass(31_000);
    let mut rig = rig.restart();
    check(&mut rig, "g", 10_000);
}

#[test]
fn no_group_keeps_the_others_out_of_the_log_while_the_disk_is_full() {
    let mut rig = full();
    rig.engine.unlogged.logged_max = 3;
    let groups: Vec<String> = (0..10).map(|n| format!("g{n}")).collect();
    // All commit all the time, and are logged in turn, the first ones twice.
    for round in 1..=4 {
        for group in &groups {
            assert!(matches!(commit(&mut rig, group, round), Some(Answer::Done)));
        }
        rig.let_pass(31_000);
    }
    let mut rig = rig.restart();
    for (group, round) in groups.iter().zip([4, 4, 1, 2, 2, 2, 3, 3, 3, 4]) {
        check(&mut rig, group, round);
    }
}

#[test]
fn offsets_that_the_log_had_no_room_for_are_logged_once_it_has_some() {
    for closes in [false, true] {
        let mut rig = full();
        exhaust(&mut rig);
        commit(&mut rig, "new", 1);
        for offset in [7, 8, 8] {
            assert!(matches!(commit(&mut rig, "g", offset), Some(Answer::Done)), "{offset}");
        }
        check(&mut rig, "g", 8);
        rig.let_pass(40_000);
        rig.disk.inject(Fault::Capacity { bytes: u64::MAX });
        if closes {
            rig.engine.on_closing(rig.now);
            rig.engine.commit(rig.now, &mut Out::default());
        } else {
            rig.let_pass(31_000);
        }
        let mut rig = rig.restart();
        check(&mut rig, "g", 8);
        check(&mut rig, "new", 1);
    }
}

#[test]
fn without_room_for_one_offset_it_is_logged_at_once_when_there_is() {
    // Nobody has sent anything, so nobody knows that the disk is full.
    let mut rig = Rig::new(ASYNC);
    rig.send("orders", 0, b"x", "x");
    rig.disk.inject(Fault::Capacity { bytes: 0 });
    let mut offset = 0;
    while !rig.engine.is_short_of_room() {
        offset += 1;
        assert!(matches!(commit(&mut rig, "g", offset), Some(Answer::Done)));
        assert!(offset < 10_000, "there is always room");
    }
    rig.disk.inject(Fault::Capacity { bytes: u64::MAX });
    rig.let_pass(31_000);
    let mut rig = rig.restart();
    check(&mut rig, "g", offset);
}

/// Makes the topic one with these queues, which may be read or not.
fn set(rig: &mut Rig, queues: u32, read: bool) {
    let (topic, permission) = (topic("orders"), Permission { read, write: true });
    let (read_queues, write_queues) = (queues, queues);
    let order = false;
    let set = Request::SetTopic { topic: &topic, read_queues, write_queues, permission, order };
    assert!(matches!(rig.call(set), Some(Answer::Topic(_))));
}

#[test]
fn what_was_consumed_counts_also_where_it_may_be_read_no_longer() {
    let mut rig = Rig::new(ASYNC);
    let (group, topic) = (GroupName::parse("g").unwrap(), "orders");
    let at = |rig: &mut Rig, queue| {
        let answer = rig.call(Request::GroupOffset { group: &group, topic, queue: QueueId(queue) });
        let Some(Answer::GroupOffset(offset)) = answer else { panic!("{answer:?}") };
        offset
    };
    let commit = |rig: &mut Rig, queue, offset| {
        let (queue, offset) = (QueueId(queue), QueueOffset(offset));
        rig.call(Request::CommitOffset { group: &group, topic, queue, offset })
    };
    set(&mut rig, 8, true);
    for queue in [0, 6] {
        for _ in 0..10 {
            rig.send("orders", queue, b"x", "x");
        }
    }
    set(&mut rig, 8, false);
    assert!(matches!(commit(&mut rig, 0, 10), Some(Answer::Done)));
    set(&mut rig, 4, true);
    assert!(matches!(commit(&mut rig, 6, 9), Some(Answer::Done)));
    // Also after a start, which knows of the queue by its messages.
    let mut rig = rig.restart();
    assert!(matches!(commit(&mut rig, 6, 10), Some(Answer::Done)));
    let never = refusal(commit(&mut rig, 8, 1));
    assert!(matches!(never, Refusal::NoSuchQueue { queue: QueueId(8), .. }), "{never:?}");
    set(&mut rig, 8, true);
    let mut rig = rig.restart();
    for queue in [0, 6] {
        assert_eq!(at(&mut rig, queue), Some(QueueOffset(10)));
    }
    assert_eq!(at(&mut rig, 8), None);
}

#[test]
fn a_start_leaves_a_topic_with_fewer_queues_than_have_messages_as_it_is() {
    let mut rig = Rig::new(ASYNC);
    set(&mut rig, 8, true);
    rig.send("orders", 6, b"x", "x");
    set(&mut rig, 4, false);
    let describe = |rig: &mut Rig| {
        let answer = rig.call(Request::DescribeTopic { topic: "orders" });
        let Some(Answer::Topic(topic)) = answer else { panic!("{answer:?}") };
        topic
    };
    let before = describe(&mut rig);
    assert_eq!(describe(&mut rig.restart()), before);
}
