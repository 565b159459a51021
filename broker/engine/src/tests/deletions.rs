use millrace_store::KeyQuery;

use super::*;

fn delete(rig: &mut Rig, topic: &str) -> Option<Answer> {
    rig.call(Request::DeleteTopic { topic })
}

fn bounds(rig: &mut Rig, queue: u32) -> (u64, u64) {
    match rig.call(Request::Bounds { topic: "orders", queue: QueueId(queue) }) {
        Some(Answer::Bounds(bounds)) => (bounds.min.0, bounds.end.0),
        other => panic!("{other:?}"),
    }
}

#[test]
fn s17_nothing_of_a_deleted_topic_is_in_the_next_one_of_its_name() {
    let mut rig = Rig::new(ASYNC);
    let group = GroupName::parse("readers").unwrap();
    for body in [b"a", b"b"] {
        rig.send("orders", 1, body, "x");
    }
    let (queue, offset) = (QueueId(1), QueueOffset(2));
    rig.call(Request::CommitOffset { group: &group, topic: "orders", queue, offset });
    assert!(matches!(delete(&mut rig, "orders"), Some(Answer::Done)));
    for _ in 0..3 {
        let refused = refusal(rig.pull(1, 0, Filter::All, 0));
        assert_eq!(refused, Refusal::UnknownTopic("orders".into()));
        rig = rig.restart();
    }
    assert_eq!(offset_of(rig.send("orders", 1, b"c", "x")), 2, "the numbers go on");
    for _ in 0..3 {
        assert_eq!(bounds(&mut rig, 1), (2, 3));
        match rig.pull(1, 0, Filter::All, 0) {
            Some(Answer::NotFound { status: PullStatus::BelowMin, next, .. }) => {
                assert_eq!(next.0, 2);
            }
            other => panic!("{other:?}"),
        }
        let answer = rig.pull(1, 2, Filter::All, 0).unwrap();
        assert_eq!(rig.bodies(answer), [b"c"]);
        assert_eq!(rig.engine.group_offsets().count(), 0);
        rig = rig.restart();
    }
}

#[test]
fn s17_a_deleted_topic_stays_away_however_the_state_is_read_again() {
    let config = EngineConfig { state_bytes_min: 1 << 10, ..EngineConfig::default() };
    let mut rig = Rig::open_with(SimDisk::new(1), ASYNC, config);
    for cycle in 0..200u64 {
        let body = cycle.to_be_bytes();
        assert_eq!(offset_of(rig.send("orders", 0, &body, "x")), cycle);
        let answer = rig.pull(0, cycle, Filter::All, 0).unwrap();
        assert_eq!(rig.bodies(answer), [body]);
        if cycle % 3 != 0 {
            delete(&mut rig, "orders");
            rig.send("other", 0, &body, "x");
        } else {
            delete(&mut rig, "orders");
        }
        rig.let_pass(1);
        if cycle % 10 == 0 {
            rig = rig.restart();
            assert!(rig.engine.topics().all(|topic| topic.name.as_str() != "orders"));
        }
    }
}

#[test]
fn where_a_topic_begins_that_was_deleted_and_created_again_is_known() {
    let config = EngineConfig { state_bytes_min: 1 << 10, ..EngineConfig::default() };
    let mut rig = Rig::open_with(SimDisk::new(1), ASYNC, config);
    let begins = |rig: &Rig| [0, 1].map(|queue| rig.engine.beginning("orders", QueueId(queue)).0);
    for body in [b"a", b"b"] {
        rig.send("orders", 1, body, "x");
    }
    rig = rig.restart();
    assert_eq!(begins(&rig), [0, 0]);
    delete(&mut rig, "orders");
    rig = rig.restart();
    rig.send("orders", 1, b"c", "x");
    // From snapshots, too: each of these messages may bring one.
    for cycle in 0..200u64 {
        rig.send("other", 0, &cycle.to_be_bytes(), "x");
        if cycle.is_multiple_of(20) {
            delete(&mut rig, "other");
            rig = rig.restart();
        }
        assert_eq!(begins(&rig), [0, 2]);
    }
    delete(&mut rig, "orders");
    assert_eq!(begins(&rig.restart()), [0, 3]);
}

#[test]
fn a_topic_whose_deletion_was_torn_begins_where_it_always_did() {
    let mut rig = Rig::new(ASYNC);
    rig.send("orders", 1, b"a", "x");
    delete(&mut rig, "orders");
    let segment = "/data/commitlog/00000000000000000000";
    let bytes = rig.disk.file_bytes(segment).unwrap();
    let records = record::iter(&bytes).map_while(Result::ok);
    let end: usize = records.map(|record| record.as_bytes().len()).sum();
    rig.disk.flip_bit(segment, end as u64 - 1, 1);
    rig = rig.restart();
    assert_eq!(bounds(&mut rig, 1), (0, 1), "it is there");
    assert_eq!(rig.engine.beginning("orders", QueueId(1)), QueueOffset(0));
}

#[test]
fn who_waits_for_a_deleted_topic_is_told() {
    let mut rig = Rig::new(ASYNC);
    rig.send("orders", 0, b"a", "x");
    let (held, out) = rig.ask(Request::Pull(pull(0, 1, Filter::All, 10_000)));
    assert!(out.answers.is_empty());
    let (_, out) = rig.ask(Request::DeleteTopic { topic: "orders" });
    assert!(matches!(&out.answers[0], (ticket, Answer::Refused(_)) if *ticket == held));
    assert!(matches!(delete(&mut rig, "orders"), Some(Answer::Done)), "once more is fine");
}

#[test]
fn a_key_finds_messages_of_the_topic_there_is() {
    let mut rig = Rig::new(ASYNC);
    let keyed = |rig: &mut Rig, body: &[u8]| {
        let message = message("orders", 0, body, b"KEYS\x01k\x02");
        rig.call(Request::Append(append(&[message])));
    };
    keyed(&mut rig, b"old");
    delete(&mut rig, "orders");
    keyed(&mut rig, b"new");
    let query = KeyQuery {
        topic: "orders",
        key: "k",
        unique_only: false,
        count_max: 10,
        bytes_max: 1 << 20,
        from_ms: 0,
        until_ms: i64::MAX,
    };
    let found = rig.engine.keys_of("orders").unwrap().find(&query).unwrap();
    let bodies: Vec<_> =
        found.records.iter().map(|r| record::Record::parse(r).unwrap().body().to_vec()).collect();
    assert_eq!(bodies, [b"new"]);
}

#[test]
fn the_brokers_own_topics_cannot_be_deleted() {
    let mut rig = Rig::new(ASYNC);
    rig.send("orders", 0, b"a", "x");
    assert!(matches!(refusal(delete(&mut rig, "MILLRACE_META")), Refusal::NotWritable(_)));
}
