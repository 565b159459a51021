use super::*;

pub(super) const HOUR: u64 = 3_600_000;

fn rig(retention: RetentionConfig) -> Rig {
    let config = EngineConfig { retention, ..EngineConfig::default() };
    Rig::open_with(SimDisk::new(1), ASYNC, config)
}

pub(super) fn keeping(hours: u64) -> RetentionConfig {
    RetentionConfig { keep_ms: hours * HOUR, ..RetentionConfig::default() }
}

/// Sends to one queue until that many more segments are full, and makes them durable.
pub(super) fn fill(rig: &mut Rig, topic: &str, queue: u32, segments: usize) {
    let full = |rig: &Rig| rig.engine.watermarks().appended().0 / (64 << 10);
    let enough = full(rig) + segments as u64;
    while full(rig) < enough {
        let answer = rig.send(topic, queue, &[7; 2_000], "x");
        assert!(matches!(answer, Some(Answer::Appended(_))), "{answer:?}");
    }
    // What is full is noticed, and its age starts.
    rig.let_pass(10_000);
}

pub(super) fn bounds(rig: &mut Rig, topic: &str, queue: u32) -> (u64, u64) {
    match rig.call(Request::Bounds { topic, queue: QueueId(queue) }) {
        Some(Answer::Bounds(bounds)) => (bounds.min.0, bounds.end.0),
        other => panic!("{other:?}"),
    }
}

fn first_byte(rig: &Rig) -> u64 {
    rig.engine.store.log_min().0
}

#[test]
fn messages_go_when_their_time_is_over_and_not_before() {
    let mut rig = rig(keeping(72));
    fill(&mut rig, "orders", 0, 2);
    let (_, end) = bounds(&mut rig, "orders", 0);
    rig.let_pass(71 * HOUR);
    assert_eq!(bounds(&mut rig, "orders", 0), (0, end));
    rig.let_pass(HOUR);
    let (min, _) = bounds(&mut rig, "orders", 0);
    assert_eq!(first_byte(&rig), 2 * (64 << 10));
    assert!(min > 0 && min < end, "{min} of {end}");
    match rig.pull(0, 0, Filter::All, 0) {
        Some(Answer::NotFound { status: PullStatus::BelowMin, next, .. }) => {
            assert_eq!(next.0, min)
        }
        other => panic!("{other:?}"),
    }
    let segments = rig.disk.paths().into_iter().filter(|path| path.starts_with("/data/commitlog"));
    assert!(segments.count() <= 2, "the files are gone");
}

#[test]
fn state_and_numbers_outlive_the_records_they_came_from() {
    let mut rig = rig(keeping(1));
    let group = GroupName::parse("readers").unwrap();
    for queue in 0..4 {
        rig.send("orders", queue, b"a", "x");
    }
    let commit = |rig: &mut Rig, offset| {
        let (queue, offset) = (QueueId(1), QueueOffset(offset));
        rig.call(Request::CommitOffset { group: &group, topic: "orders", queue, offset })
    };
    commit(&mut rig, 1);
    rig.call(Request::PutSetting { space: Space::Group, key: "readers", value: Some("{}") });
    fill(&mut rig, "other", 0, 3);
    rig.let_pass(2 * HOUR);
    assert_eq!(first_byte(&rig), 3 * (64 << 10));
    for _ in 0..2 {
        assert_eq!(bounds(&mut rig, "orders", 1), (1, 1), "empty, and not forgotten");
        assert_eq!(rig.engine.setting(Space::Group, "readers"), Some("{}"));
        let known = Request::GroupOffset { group: &group, topic: "orders", queue: QueueId(1) };
        let offset = rig.call(known);
        assert!(matches!(offset, Some(Answer::GroupOffset(Some(QueueOffset(1))))), "{offset:?}");
        rig = rig.restart();
    }
    assert_eq!(offset_of(rig.send("orders", 1, b"b", "x")), 1);
    let mut rig = rig.restart();
    assert_eq!(bounds(&mut rig, "orders", 1), (1, 2));
}

#[test]
fn deletions_are_forgotten_with_what_they_hid() {
    let mut rig = rig(keeping(1));
    let known = |rig: &Rig| rig.engine.deletions.records(PhysicalOffset(0)).count();
    for topic in ["a", "b", "c"] {
        rig.send(topic, 0, b"x", "x");
        rig.call(Request::DeleteTopic { topic });
    }
    fill(&mut rig, "orders", 0, 2);
    assert_eq!(known(&rig), 3);
    rig.send("d", 0, b"x", "x");
    rig.call(Request::DeleteTopic { topic: "d" });
    rig.let_pass(2 * HOUR);
    assert!(first_byte(&rig) > 0);
    assert_eq!(known(&rig), 1, "the log has something of `d`");
    assert_eq!(known(&rig.restart()), 1);
}

#[test]
fn s18_a_clock_that_jumps_makes_nothing_older() {
    for jump in [72 * HOUR as i64 + 1, -(24 * HOUR as i64), 10 * 365 * 24 * HOUR as i64] {
        let mut rig = rig(keeping(72));
        fill(&mut rig, "orders", 0, 2);
        rig.now.wall_ms += jump;
        fill(&mut rig, "orders", 0, 1);
        rig.let_pass(60_000);
        assert_eq!(first_byte(&rig), 0, "jumped by {jump}");
        // Neither does a start after it, nor the time in between.
        let mut rig = rig.restart();
        rig.now.wall_ms += 2 * jump;
        rig.let_pass(60_000);
        rig.let_pass(70 * HOUR);
        assert_eq!(first_byte(&rig), 0, "jumped by {jump}");
        rig.let_pass(3 * HOUR);
        assert!(first_byte(&rig) > 0, "running time counts");
    }
}

#[test]
fn a_size_is_kept_too() {
    let mut rig = rig(RetentionConfig { bytes_max: Some(200 << 10), ..keeping(72) });
    fill(&mut rig, "orders", 0, 2);
    assert_eq!(first_byte(&rig), 0);
    fill(&mut rig, "orders", 0, 4);
    rig.let_pass(10_000);
    let kept = rig.engine.watermarks().appended().0 - first_byte(&rig);
    assert!(first_byte(&rig) > 0 && kept <= (200 << 10) + (64 << 10), "{kept}");
}

#[test]
fn segments_go_at_the_hours_given_only() {
    let mut rig = rig(RetentionConfig { hours: vec![4], ..keeping(1) });
    rig.now.wall_ms = 12 * HOUR as i64;
    fill(&mut rig, "orders", 0, 2);
    for _ in 0..15 {
        rig.let_pass(HOUR);
        assert_eq!(first_byte(&rig), 0);
    }
    rig.let_pass(HOUR);
    assert!(first_byte(&rig) > 0);
}

fn attribute(rig: &mut Rig, topic: &str, value: &str) {
    rig.call(Request::PutSetting { space: Space::Topic, key: topic, value: Some(value) });
}

#[test]
fn a_segment_goes_when_every_topic_in_it_lets_it() {
    let mut rig = rig(keeping(10));
    attribute(&mut rig, "orders", "reserve.time=2");
    attribute(&mut rig, "audit", "reserve.time=20");
    fill(&mut rig, "orders", 0, 2);
    rig.send("audit", 0, b"kept longer", "x");
    fill(&mut rig, "orders", 0, 2);
    rig.let_pass(3 * HOUR);
    assert_eq!(first_byte(&rig), 2 * (64 << 10), "one message keeps the third segment");
    rig.let_pass(16 * HOUR);
    assert_eq!(first_byte(&rig), 2 * (64 << 10));
    rig.let_pass(2 * HOUR);
    assert!(first_byte(&rig) >= 4 * (64 << 10));
}

#[test]
fn a_topic_may_keep_a_size_instead_of_a_time() {
    let mut rig = rig(keeping(72));
    attribute(&mut rig, "orders", "reserve.bytes=150000");
    fill(&mut rig, "orders", 0, 2);
    assert_eq!(first_byte(&rig), 0);
    fill(&mut rig, "orders", 1, 3);
    rig.let_pass(10_000);
    assert_eq!(first_byte(&rig), 2 * (64 << 10), "what is left has the bytes asked for");
}

/// A ledger record that says from where on a sink needs a queue.
pub(super) fn hold(rig: &mut Rig, next: u64) {
    let name = topic("MILLRACE_LEDGER");
    rig.call(Request::EnsureTopic { topic: &name, queues: 2 });
    let properties = format!("MR_EPOCH\x013\x02MR_HOLD\x01sink lake;orders:0:{next}\x02");
    let body = format!("committed {next}");
    let message = message("MILLRACE_LEDGER", 1, body.as_bytes(), properties.as_bytes());
    let request = Append { origin: Origin::Pipeline, ..append(std::slice::from_ref(&message)) };
    assert!(matches!(rig.call(Request::Append(request)), Some(Answer::Appended(_))));
}

#[test]
fn what_a_sink_has_not_read_is_held_up_to_a_cap() {
    let mut rig = rig(RetentionConfig { hold_max_ms: 5 * HOUR, ..keeping(1) });
    hold(&mut rig, 3);
    fill(&mut rig, "orders", 0, 2);
    rig.let_pass(2 * HOUR);
    assert_eq!(first_byte(&rig), 0);
    assert_eq!(rig.engine.held_by()[0].name, "sink lake of ledger queue 1");
    // Also after a start, whose ledger tells.
    let mut rig = rig.restart();
    rig.let_pass(1);
    rig.let_pass(2 * HOUR);
    assert_eq!(first_byte(&rig), 0);
    rig.let_pass(3 * HOUR);
    let (min, _) = bounds(&mut rig, "orders", 0);
    assert!(min > 3);
    let loss = Loss {
        hold: "sink lake of ledger queue 1".into(),
        topic: "orders".into(),
        queue: 0,
        from: 3,
        to: min,
    };
    assert_eq!(rig.engine.losses().collect::<Vec<_>>(), [&loss]);
    let rig = rig.restart();
    assert_eq!(rig.engine.losses().collect::<Vec<_>>(), [&loss]);
}

#[test]
fn what_was_read_is_held_no_longer() {
    let mut rig = rig(keeping(1));
    hold(&mut rig, 3);
    fill(&mut rig, "orders", 0, 2);
    rig.let_pass(2 * HOUR);
    assert_eq!(first_byte(&rig), 0);
    let (_, end) = bounds(&mut rig, "orders", 0);
    hold(&mut rig, end);
    rig.let_pass(10_000);
    assert!(first_byte(&rig) > 0);
    assert_eq!(rig.engine.losses().count(), 0);
    assert!(rig.engine.held_by().is_empty());
}

#[test]
fn groups_hold_if_they_are_listed_and_delayed_messages_always_do() {
    let group = GroupName::parse("readers").unwrap();
    let commit = |rig: &mut Rig, topic: &str, offset| {
        let (queue, offset) = (QueueId(0), QueueOffset(offset));
        rig.call(Request::CommitOffset { group: &group, topic, queue, offset })
    };
    let mut held = rig(RetentionConfig { hold_groups: vec![group.clone()], ..keeping(1) });
    fill(&mut held, "orders", 0, 2);
    commit(&mut held, "orders", 1);
    held.let_pass(2 * HOUR);
    assert_eq!(held.engine.held_by()[0].name, "group readers");

    let mut free = rig(keeping(1));
    fill(&mut free, "orders", 0, 2);
    commit(&mut free, "orders", 1);
    free.let_pass(2 * HOUR);
    assert!(first_byte(&free) > 0);

    let mut timer = rig(keeping(1));
    let late = Message { delay: Delay::Level(18), ..message("orders", 0, b"in two hours", b"") };
    let request = append(std::slice::from_ref(&late));
    assert!(matches!(timer.call(Request::Append(request)), Some(Answer::Appended(_))));
    fill(&mut timer, "orders", 0, 2);
    timer.let_pass(HOUR + HOUR / 2);
    assert_eq!(timer.engine.held_by()[0].name, "timer");
    assert_eq!(first_byte(&timer), 0);
}

#[test]
fn a_ledger_is_appended_again_before_its_segment_goes() {
    let mut rig = rig(keeping(1));
    hold(&mut rig, 0);
    hold(&mut rig, 0);
    fill(&mut rig, "orders", 0, 2);
    let (_, end) = bounds(&mut rig, "orders", 0);
    hold(&mut rig, end);
    rig.let_pass(2 * HOUR);
    assert!(first_byte(&rig) > 0);
    for _ in 0..2 {
        let no = rig.engine.store.find_queue("MILLRACE_LEDGER", QueueId(1)).unwrap();
        let bounds = rig.engine.store.bounds(no);
        let plan = rig.engine.store.plan(no, bounds.min, 100, 1 << 20, rig.engine.visible());
        let runs = rig.engine.reader().read(&plan.entries).unwrap();
        let records = runs.iter().flat_map(|run| record::iter(run)).map(Result::unwrap);
        let bodies: Vec<_> =
            records.map(|r| String::from_utf8(r.body().to_vec()).unwrap()).collect();
        let copied = ["committed 0".to_owned(), "committed 0".into(), format!("committed {end}")];
        assert!(bodies.ends_with(&copied), "{bodies:?}");
        assert_eq!(rig.engine.state_start(no).unwrap().0, bounds.end.0 - 3);
        assert_eq!(rig.engine.epochs.get(no), 3, "no worker from before gets in again");
        rig = rig.restart();
    }
}

/// Leaves the disk so full.
fn shrink_disk(rig: &Rig, percent: u64) {
    let space = rig.engine.store.space().unwrap();
    let used = space.total - space.free;
    rig.disk.inject(Fault::Capacity { bytes: used * 100 / percent });
}

#[test]
fn s11_a_disk_that_fills_slowly_refuses_producers_and_removes_nothing() {
    let mut rig = rig(RetentionConfig { refuse_percent: 80, ..keeping(72) });
    fill(&mut rig, "orders", 0, 2);
    shrink_disk(&rig, 30);
    let mut sent = bounds(&mut rig, "orders", 0).1;
    let refused = loop {
        match rig.send("orders", 0, &[7; 2_000], "x") {
            Some(Answer::Appended(_)) => sent += 1,
            other => break refusal(other),
        }
        rig.let_pass(1_000);
    };
    assert!(matches!(refused, Refusal::DiskFull(_)), "{refused}");
    let space = rig.engine.store.space().unwrap();
    let percent = (space.total - space.free) * 100 / space.total;
    assert!((80..100).contains(&percent), "refused at {percent} %");
    // Nothing has expired, so nothing goes, however long it stays full.
    rig.let_pass(HOUR);
    assert_eq!(bounds(&mut rig, "orders", 0), (0, sent));
    assert_eq!(rig.engine.losses().count(), 0);
    let group = GroupName::parse("readers").unwrap();
    for from in 0..sent {
        assert!(matches!(rig.pull(0, from, Filter::All, 0), Some(Answer::Found(_))), "{from}");
        let (topic, queue, offset) = ("orders", QueueId(0), QueueOffset(from));
        let done = rig.call(Request::CommitOffset { group: &group, topic, queue, offset });
        assert!(matches!(done, Some(Answer::Done)), "{done:?}");
    }
    // What has expired goes, and makes room.
    rig.let_pass(72 * HOUR);
    rig.let_pass(1_000);
    assert!(first_byte(&rig) > 0);
    assert_eq!(offset_of(rig.send("orders", 0, b"x", "x")), sent);
}

#[test]
fn s11_producers_are_refused_before_anything_is_removed_and_consumers_go_on() {
    let mut rig = rig(RetentionConfig { refuse_percent: 80, ..keeping(72) });
    let group = GroupName::parse("readers").unwrap();
    fill(&mut rig, "orders", 0, 4);
    shrink_disk(&rig, 90);
    rig.let_pass(10_000);
    let refused = refusal(rig.send("orders", 0, b"x", "x"));
    assert!(matches!(refused, Refusal::DiskFull(_)), "{refused}");
    for offset in 0..100 {
        let (topic, queue, offset) = ("orders", QueueId(0), QueueOffset(offset));
        let done = rig.call(Request::CommitOffset { group: &group, topic, queue, offset });
        assert!(matches!(done, Some(Answer::Done)), "{done:?}");
    }
    hold(&mut rig, 0);
    assert!(matches!(rig.pull(0, 0, Filter::All, 0), Some(Answer::Found(_))));
    assert_eq!(first_byte(&rig), 0, "nothing unread has gone");
    rig.disk.inject(Fault::Capacity { bytes: 2 << 20 });
    rig.let_pass(1_000);
    assert!(matches!(rig.send("orders", 0, b"x", "x"), Some(Answer::Appended(_))));
}

#[test]
fn a_disk_without_room_for_a_segment_keeps_the_end_of_the_last_one_for_consumers() {
    // Another process fills the disk, faster than anybody looks at it.
    let mut rig = rig(RetentionConfig { refuse_percent: 101, ..keeping(72) });
    let group = GroupName::parse("readers").unwrap();
    rig.send("orders", 0, b"x", "x");
    rig.disk.inject(Fault::Capacity { bytes: 0 });
    let refused = loop {
        match rig.send("orders", 0, &[7; 500], "x") {
            Some(Answer::Appended(_)) => drop(rig.flusher.housekeep()),
            other => break refusal(other),
        }
    };
    assert!(matches!(refused, Refusal::DiskFull(_)), "{refused}");
    for offset in 0..20 {
        let (topic, queue, offset) = ("orders", QueueId(0), QueueOffset(offset));
        let done = rig.call(Request::CommitOffset { group: &group, topic, queue, offset });
        assert!(matches!(done, Some(Answer::Done)), "{done:?}");
    }
    rig.flush();
    rig.disk.inject(Fault::Capacity { bytes: 1 << 30 });
    assert!(matches!(rig.send("orders", 0, b"x", "x"), Some(Answer::Appended(_))));
}

#[test]
fn s11_unread_messages_go_for_room_only_if_that_was_chosen() {
    let full = RetentionConfig { refuse_percent: 95, ..keeping(72) };
    for (sacrifice_percent, goes) in [(None, false), (Some(80), true)] {
        let mut rig = rig(RetentionConfig { sacrifice_percent, ..full.clone() });
        hold(&mut rig, 0);
        fill(&mut rig, "orders", 0, 4);
        shrink_disk(&rig, 85);
        rig.let_pass(10_000);
        assert_eq!(first_byte(&rig) > 0, goes);
        assert_eq!(rig.engine.losses().count() > 0, goes, "and it is said");
    }
}

/// A broker that is about to remove segments: the next tick appends the state again.
fn about_to_remove(seed: u64) -> Rig {
    let config = EngineConfig { retention: keeping(1), ..EngineConfig::default() };
    let mut rig = Rig::open_with(SimDisk::new(seed), ASYNC, config);
    for queue in 0..4 {
        rig.send("early", queue, b"a", "x");
    }
    hold(&mut rig, 0);
    fill(&mut rig, "orders", 0, 2);
    let (_, end) = bounds(&mut rig, "orders", 0);
    hold(&mut rig, end);
    rig.let_pass(1);
    rig.now.mono_ms += 2 * HOUR;
    rig
}

#[test]
fn a_crash_at_any_step_of_a_removal_loses_no_state() {
    let mut whole = about_to_remove(0);
    let before = whole.disk.operations();
    whole.let_pass(10_000);
    assert!(first_byte(&whole) > 0);
    let steps = whole.disk.operations() - before;
    assert!(steps > 10, "{steps}");
    for step in 0..=steps {
        for kill in [false, true] {
            let mut rig = about_to_remove(step);
            rig.disk.cut_after(step);
            rig.let_pass(10_000);
            let disk = match kill && !rig.disk.is_cut() {
                true => rig.disk.kill(),
                false => rig.disk.power_cut(),
            };
            let mut rig = rig.restart_on(disk).unwrap();
            for queue in 0..4 {
                assert_eq!(bounds(&mut rig, "early", queue).1, 1, "step {step}");
            }
            let no = rig.engine.store.find_queue("MILLRACE_LEDGER", QueueId(1)).unwrap();
            assert_eq!(rig.engine.epochs.get(no), 3, "step {step}");
            let (min, end) = bounds(&mut rig, "orders", 0);
            let answer = rig.pull(0, min, Filter::All, 0).unwrap();
            assert_eq!(rig.bodies(answer).len() as u64, (end - min).min(32), "step {step}");
        }
    }
}
