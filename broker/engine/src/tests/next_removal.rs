//! What a log that nobody serves tells of the next removal, beside what then goes.

use super::retention::{HOUR, bounds, fill, hold, keeping};
use super::*;

fn rig(retention: RetentionConfig) -> Rig {
    let config = EngineConfig { retention, ..EngineConfig::default() };
    Rig::open_with(SimDisk::new(1), ASYNC, config)
}

fn told(rig: &Rig) -> Option<NextRemoval> {
    let mut state = StateInspection::default();
    let mut take = |each: millrace_store::InspectedRecord<'_>| state.take(&each.record);
    let found = millrace_store::inspect(&rig.disk, Path::new("/data"), &mut take).unwrap();
    state.next_removal(&found.segments)
}

#[test]
fn what_is_told_is_what_goes() {
    let mut rig = rig(keeping(72));
    rig.send("early", 1, b"a", "x");
    assert_eq!(told(&rig), None, "no segment is full");
    fill(&mut rig, "orders", 0, 2);
    let next = told(&rig).unwrap();
    assert_eq!(next.segments, [PhysicalOffset(0), PhysicalOffset(64 << 10)]);
    assert_eq!(next.due_in_ms, 72 * HOUR);
    assert_eq!(next.topics.keys().collect::<Vec<_>>(), ["early", "orders"]);
    assert_eq!((next.topics["early"], &next.held_by, next.held_for_ms), (1, &Vec::new(), 0));

    rig.let_pass(next.due_in_ms - 20_000);
    assert_eq!(bounds(&mut rig, "orders", 0).0, 0);
    rig.let_pass(20_000);
    let (min, end) = bounds(&mut rig, "orders", 0);
    assert_eq!(rig.engine.store.log_min(), PhysicalOffset(2 * (64 << 10)));
    assert_eq!(next.topics["orders"], min);
    assert!(min < end);
}

#[test]
fn a_setting_beyond_all_time_is_for_ever() {
    let mut rig = rig(keeping(72));
    fill(&mut rig, "orders", 0, 2);
    for key in ["keep", "hold_max"] {
        let value = format!("{} h", u64::MAX);
        rig.call(Request::PutSetting { space: Space::Broker, key, value: Some(&value) });
    }
    rig.flush();
    assert!(told(&rig).unwrap().due_in_ms > u64::MAX / 2);
}

#[test]
fn who_holds_is_told_with_what_would_be_lost() {
    let readers = GroupName::parse("readers").unwrap();
    let config =
        RetentionConfig { hold_groups: vec![readers.clone()], hold_max_ms: 5 * HOUR, ..keeping(1) };
    let mut rig = rig(config);
    hold(&mut rig, 3);
    let late = Message { delay: Delay::Level(18), ..message("orders", 0, b"in two hours", b"") };
    rig.call(Request::Append(append(std::slice::from_ref(&late))));
    fill(&mut rig, "orders", 0, 2);
    let (queue, offset) = (QueueId(0), QueueOffset(7));
    rig.call(Request::CommitOffset { group: &readers, topic: "orders", queue, offset });
    rig.let_pass(HOUR + HOUR / 2);
    let next = told(&rig).unwrap();
    assert_eq!(next.due_in_ms, 0);
    let to = next.topics["orders"];
    let loses = next.held_by.iter().flat_map(|hold| &hold.loses);
    let loses: Vec<_> = loses.map(|l| (&*l.hold, &*l.topic, l.queue, l.from, l.to)).collect();
    let waiting = loses.last().copied().unwrap();
    assert_eq!(
        loses,
        [
            ("sink lake of ledger queue 1", "orders", 0, 3, to),
            ("group readers", "orders", 0, 7, to),
            ("timer", SCHEDULE_TOPIC, waiting.2, 0, 1),
        ]
    );
    // The engine says the same.
    let held = rig.engine.held_by().iter().map(|hold| hold.name.as_str());
    assert_eq!(held.collect::<Vec<_>>(), ["sink lake of ledger queue 1", "group readers", "timer"]);
    // The cap is what is left of five hours after the first.
    assert!((4 * HOUR..=5 * HOUR).contains(&next.held_for_ms), "{}", next.held_for_ms);
}

#[test]
fn a_topic_with_a_rule_of_its_own_keeps_its_segment() {
    let mut rig = rig(keeping(10));
    let (space, key) = (Space::Topic, "audit");
    rig.call(Request::PutSetting { space, key, value: Some("reserve.time=20") });
    fill(&mut rig, "orders", 0, 1);
    rig.send("audit", 0, b"kept longer", "x");
    fill(&mut rig, "orders", 0, 1);
    rig.let_pass(HOUR);
    let next = told(&rig).unwrap();
    assert_eq!(next.segments, [PhysicalOffset(0)]);
    assert!((8 * HOUR..=9 * HOUR + HOUR).contains(&next.due_in_ms), "{}", next.due_in_ms);
    rig.let_pass(next.due_in_ms);
    let next = told(&rig).unwrap();
    assert_eq!(next.segments, [PhysicalOffset(64 << 10)]);
    assert!(next.due_in_ms > 8 * HOUR, "{}", next.due_in_ms);
}
