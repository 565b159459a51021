use super::*;
use crate::state::{META_TOPIC, StateRecord};

/// All state that somebody could miss.
#[derive(Debug, PartialEq)]
struct State {
    topics: Vec<Topic>,
    offsets: Vec<(String, String, u32, u64)>,
    settings: Vec<(String, String)>,
}

fn state(rig: &Rig) -> State {
    let offsets = rig.engine.group_offsets();
    let offsets = offsets.map(|(g, t, q, o)| (g.to_string(), t.to_string(), q.0, o.0)).collect();
    let settings = rig.engine.settings(Space::Group);
    let settings = settings.map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
    State { topics: rig.engine.topics().cloned().collect(), offsets, settings }
}

fn commit(rig: &mut Rig, group: &str, offset: u64) {
    let group = GroupName::parse(group).unwrap();
    let (topic, queue, offset) = ("orders", QueueId(0), QueueOffset(offset));
    rig.call(Request::CommitOffset { group: &group, topic, queue, offset });
}

/// A broker that appends its state again each time it has grown by 4 KiB.
fn lively() -> Rig {
    let config = EngineConfig { state_bytes_min: 4 << 10, ..EngineConfig::default() };
    let mut rig = Rig::open_with(SimDisk::new(1), ASYNC, config);
    for queue in 0..4 {
        rig.send("orders", queue, b"a", "x");
    }
    let put = Request::PutSetting { space: Space::Group, key: "g", value: Some("{}") };
    rig.call(put);
    rig
}

fn snapshots(disk: &SimDisk) -> Vec<std::path::PathBuf> {
    let all = disk.paths().into_iter();
    all.filter(|path| path.extension().is_some_and(|extension| extension == "snap")).collect()
}

#[test]
fn a_start_reads_a_bounded_part_of_the_state() {
    let mut rig = lively();
    for offset in 0..5_000 {
        commit(&mut rig, &format!("group-{}", offset % 5), offset);
        if offset % 50 == 0 {
            rig.let_pass(1);
        }
    }
    rig.let_pass(1);
    let (before, disk) = (state(&rig), rig.disk.clone());
    assert_eq!(snapshots(&disk).len(), 2, "two generations");
    let rig = rig.restart();
    assert_eq!(state(&rig), before);
    // 4 KiB are some 15 records; each snapshot is about as large as that.
    assert!(rig.engine.state_records_read() < 200, "{}", rig.engine.state_records_read());
    let appended = rig.engine.store.bounds(rig.engine.meta_queue()).end;
    assert!(appended > QueueOffset(5_000));

    // Without the files, the log says the same, and a start still does not read all of it.
    let disk = rig.disk.kill();
    for path in snapshots(&disk) {
        disk.remove(&path).unwrap();
    }
    let rig = rig.restart_on(disk).unwrap();
    assert_eq!(state(&rig), before);
    assert!(rig.engine.state_records_read() < 200, "{}", rig.engine.state_records_read());
}

#[test]
fn s15_damaged_snapshots_cost_nothing_but_time() {
    for damage in 0..4u8 {
        let mut rig = lively();
        for offset in 0..200 {
            commit(&mut rig, "g", offset);
            rig.let_pass(1);
        }
        let before = state(&rig);
        let disk = rig.disk.kill();
        let files = snapshots(&disk);
        assert_eq!(files.len(), 2);
        for (n, path) in files.iter().enumerate().filter(|(n, _)| damage & (1 << n) != 0) {
            disk.flip_bit(path, 40 + n as u64, 3);
        }
        let rig = rig.restart_on(disk).unwrap();
        assert_eq!(state(&rig), before, "damaged {damage:b}");
    }
}

#[test]
fn s3_no_group_is_ahead_of_its_queue_after_a_power_cut() {
    let (mut ahead_of_the_disk, mut cut_back) = (0, 0);
    for seed in 0..100 {
        let mut rig = Rig::open(SimDisk::new(seed), ASYNC);
        for offset in 0..20 {
            rig.send("orders", 0, b"read before it is durable", "x");
            assert!(matches!(rig.pull(0, offset, Filter::All, 0), Some(Answer::Found(_))));
            commit(&mut rig, "g", offset + 1);
            if offset % 7 == seed % 7 {
                rig.flush();
            }
        }
        let marks = rig.engine.watermarks();
        ahead_of_the_disk += u64::from(marks.durable() < marks.appended());
        let disk = rig.disk.power_cut();
        let rig = rig.restart_on(disk).unwrap();
        // An offset lies behind the messages it counts, in the same log.
        let (queue, group) = (QueueId(0), GroupName::parse("g").unwrap());
        let no = rig.engine.store.find_queue("orders", queue).unwrap();
        let end = rig.engine.store.bounds(no).end;
        let offset = rig.engine.groups.get(&group, &topic("orders"), queue).unwrap_or_default();
        assert!(offset <= end, "seed {seed}: {offset} of {end}");
        cut_back += u64::from(end < QueueOffset(20));
    }
    assert!(ahead_of_the_disk > 50 && cut_back > 10, "{ahead_of_the_disk}, {cut_back}");
}

/// Flips a bit in the last state record but `back`, and forgets the index, so that the log is read.
fn damage_state(rig: &Rig, disk: &SimDisk, back: u64) {
    let meta = rig.engine.meta_queue();
    let at = QueueOffset(rig.engine.store.bounds(meta).end.0 - 1 - back);
    let at = rig.engine.store.first_at(meta, at).unwrap();
    let segment = at.0 / (64 << 10) * (64 << 10);
    disk.flip_bit(format!("/data/commitlog/{segment:020}"), at.0 - segment + 100, 1);
    for path in disk.paths() {
        if path.to_string_lossy().contains("/index/") {
            disk.remove(&path).unwrap();
        }
    }
}

#[test]
fn s15_a_state_record_that_nothing_can_replace_stops_the_start_by_name() {
    let mut rig = Rig::new(ASYNC);
    rig.send("orders", 0, b"a", "x");
    for offset in 0..5 {
        commit(&mut rig, "g", offset);
    }
    rig.flush();
    // Everything up to here was durable, so this is damage and no torn tail.
    let before = state(&rig);
    let disk = rig.disk.kill();
    damage_state(&rig, &disk, 2);
    let config = rig.engine.config.clone();
    let refused = rig.restart_on(disk.clone()).err().expect("a record is missing").to_string();
    assert_eq!(
        refused,
        "the broker's own state cannot be read: 1 record of MILLRACE_META/0 from offset 3 in \
         /data/commitlog/00000000000000000000"
    );

    let going_on = EngineConfig { lost_state: LostState::GoOn, ..config };
    let mut rig = Rig::open_with(disk.kill(), ASYNC, going_on);
    assert_eq!(rig.engine.gaps().len(), 1);
    assert_eq!(state(&rig), before, "later records say the same");
    rig.let_pass(1);
    // What is left was appended as the whole state, so nobody has to be asked again.
    let again = Rig::open_with(rig.disk.kill(), ASYNC, EngineConfig::default());
    assert_eq!(state(&again), before);
}

#[test]
fn s15_a_lost_last_state_record_stops_the_start_and_a_lost_last_message_does_not() {
    let mut rig = Rig::new(ASYNC);
    rig.send("orders", 0, b"a", "x");
    commit(&mut rig, "g", 1);
    rig.flush();
    let disk = rig.disk.kill();
    // Nothing follows it, so only the number of records tells that there was one.
    damage_state(&rig, &disk, 0);
    let last = rig.engine.store.bounds(rig.engine.meta_queue()).end.0 - 1;
    let refused = rig.restart_on(disk).err().expect("a record is missing").to_string();
    assert_eq!(
        refused,
        format!(
            "the broker's own state cannot be read: 1 record of MILLRACE_META/0 from offset {last} \
             in /data/commitlog/00000000000000000000"
        )
    );

    let mut rig = Rig::new(ASYNC);
    commit(&mut rig, "g", 1);
    rig.send("orders", 0, b"a", "x");
    rig.flush();
    let before = state(&rig);
    let at = rig.engine.watermarks().durable().0 - 30;
    let disk = rig.disk.kill();
    disk.flip_bit("/data/commitlog/00000000000000000000", at, 1);
    let mut rig = rig.restart_on(disk).unwrap();
    assert_eq!(state(&rig), before);
    assert_eq!(offset_of(rig.send("orders", 0, b"b", "x")), 1, "0 was another message");
}

/// A broker whose ledger has four queues, with records in those of `filled`; all of it durable.
fn with_ledger(filled: &[u32]) -> Rig {
    let mut rig = Rig::new(ASYNC);
    let ledger = topic("MILLRACE_LEDGER");
    rig.call(Request::EnsureTopic { topic: &ledger, queues: 4 });
    for queue in filled {
        assert!(matches!(lease(&mut rig, *queue), Some(Answer::Appended(_))));
    }
    rig.flush();
    rig
}

fn lease(rig: &mut Rig, queue: u32) -> Option<Answer> {
    let properties = format!("{}\x01{}\x02", keys::EPOCH, 1);
    let messages = [message("MILLRACE_LEDGER", queue, &[7; 300], properties.as_bytes())];
    rig.call(Request::Append(Append { origin: Origin::Pipeline, ..append(&messages) }))
}

/// Damages a record of the ledger and forgets the index.
fn damage_ledger(rig: &Rig, disk: &SimDisk, queue: u32, at: u64) {
    let no = rig.engine.store.find_queue("MILLRACE_LEDGER", QueueId(queue)).unwrap();
    let at = rig.engine.store.first_at(no, QueueOffset(at)).unwrap();
    disk.flip_bit("/data/commitlog/00000000000000000000", at.0 + 200, 1);
    for path in disk.paths().into_iter().filter(|path| path.starts_with("/data/index")) {
        disk.remove(&path).unwrap();
    }
}

#[test]
fn what_was_lost_of_a_ledger_and_accepted_once_stops_no_later_start() {
    // A record before others, the last one, and the only one: then any queue may have had it.
    for (filled, queue, at) in [(&[1, 1, 1][..], 1, 1), (&[1, 2, 1], 1, 1), (&[0, 3, 3], 0, 0)] {
        let mut rig = with_ledger(filled);
        rig.send("orders", 0, b"a", "x");
        rig.flush();
        let disk = rig.disk.kill();
        damage_ledger(&rig, &disk, queue, at);
        for _ in 0..2 {
            let again = Rig::try_open(disk.clone(), ASYNC, EngineConfig::default());
            let refused = again.err().expect("a record is missing").to_string();
            assert!(
                refused.contains(&format!("1 record of MILLRACE_LEDGER/{queue} ")),
                "{refused}"
            );
        }
        let going_on = EngineConfig { lost_state: LostState::GoOn, ..EngineConfig::default() };
        let mut rig = Rig::open_with(disk.clone(), ASYNC, going_on);
        assert!(!rig.engine.gaps().is_empty());
        rig.let_pass(1);
        // A queue that becomes known now has lost nothing.
        let ledger = topic("MILLRACE_LEDGER");
        rig.call(Request::EnsureTopic { topic: &ledger, queues: 6 });
        rig.let_pass(1);
        for close in [true, false, true, true] {
            let Rig { mut disk, engine, flusher, .. } = rig;
            if close {
                engine.into_store().close(flusher).unwrap();
            }
            disk = disk.kill();
            rig = Rig::open_with(disk, ASYNC, EngineConfig::default());
            assert_eq!(rig.engine.gaps(), [], "{filled:?}");
            for queue in 0..6 {
                assert!(matches!(lease(&mut rig, queue), Some(Answer::Appended(_))));
            }
            rig.let_pass(1);
        }
        // What is lost later is not accepted.
        let no = rig.engine.store.find_queue("MILLRACE_LEDGER", QueueId(queue)).unwrap();
        let newest = rig.engine.store.bounds(no).end.0 - 2;
        let disk = rig.disk.kill();
        damage_ledger(&rig, &disk, queue, newest);
        assert!(Rig::try_open(disk, ASYNC, EngineConfig::default()).is_err());
    }
}

#[test]
fn an_ordered_topic_is_one_after_a_start_whatever_the_start_reads() {
    let mut rig = Rig::new(ASYNC);
    let (ordered, usual, permission) = (topic("ordered"), topic("usual"), Permission::ALL);
    for (topic, order) in [(&ordered, true), (&usual, false)] {
        let (read_queues, write_queues) = (1, 1);
        rig.call(Request::SetTopic { topic, read_queues, write_queues, permission, order });
    }
    let shown = |rig: &Rig| {
        let topics = rig.engine.topics().filter(|topic| topic.name.as_str() != META_TOPIC);
        topics.map(|topic| (topic.name.to_string(), topic.order)).collect::<Vec<_>>()
    };
    let expected = [("ordered".to_owned(), true), ("usual".to_owned(), false)];
    rig.flush();
    let mut rig = rig.restart();
    assert_eq!(shown(&rig), expected, "from the records of the topics");
    rig.engine.stage_snapshot(rig.now, PhysicalOffset(0)).unwrap();
    rig.engine.commit(rig.now, &mut Out::default());
    rig.flush();
    let rig = rig.restart();
    assert_eq!(shown(&rig), expected, "from a snapshot");
}

#[test]
fn what_is_said_of_a_topic_that_is_not_ordered_is_what_it_always_was() {
    let known = br#"{"topic":{"name":"t","read_queues":2,"write_queues":1,"perm":6}}"#;
    let record: StateRecord = serde_json::from_slice(known).unwrap();
    assert!(matches!(record, StateRecord::Topic { order: false, .. }));
    assert_eq!(String::from_utf8(record.encode()).unwrap().as_bytes(), known);
}

#[test]
fn a_snapshot_knows_what_a_damaged_record_said() {
    let mut rig = lively();
    for offset in 0..200 {
        commit(&mut rig, "g", offset);
        rig.let_pass(1);
    }
    let before = state(&rig);
    let (next, end) = (snapshots(&rig.disk), rig.engine.store.bounds(rig.engine.meta_queue()).end);
    let next: u64 = next[1].file_stem().unwrap().to_string_lossy().parse().unwrap();
    let disk = rig.disk.kill();
    // The last record that is in the newest snapshot: the end of the snapshot in the log.
    damage_state(&rig, &disk, end.0 - next);
    let rig = rig.restart_on(disk).unwrap();
    assert_eq!(state(&rig), before);
}
