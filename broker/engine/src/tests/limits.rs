use super::*;

fn rig(limits: EngineLimits) -> Rig {
    let config = EngineConfig { limits, ..EngineConfig::default() };
    Rig::open_with(SimDisk::new(1), FlushMode::Sync, config)
}

fn name(topic: &str) -> TopicName {
    TopicName::parse(topic).unwrap()
}

fn ensure(rig: &mut Rig, topic: &str, queues: u32) -> Option<Answer> {
    let topic = name(topic);
    let at_once = rig.call(Request::EnsureTopic { topic: &topic, queues });
    let answers = rig.flush();
    at_once.or(answers.into_iter().next().map(|(_, answer)| answer))
}

#[track_caller]
fn no_room(answer: Option<Answer>, of: &str) {
    match answer {
        Some(Answer::Refused(Refusal::NoRoom { what, .. })) => assert_eq!(what, of),
        other => panic!("not refused for want of room: {other:?}"),
    }
}

#[test]
fn queues_beyond_the_limit_are_refused_and_room_is_given_back() {
    let mut rig = rig(EngineLimits { queues_max: 6, ..EngineLimits::default() });
    assert!(matches!(ensure(&mut rig, "a", 4), Some(Answer::Topic(_))));
    // Neither by a producer nor by an administrator, nor with more queues for what there is.
    let message = message("b", 0, b"x", b"");
    no_room(
        rig.call(Request::Append(Append { create_queues: Some(3), ..append(&[message]) })),
        "queues",
    );
    let (b, a) = (name("b"), name("a"));
    let permission = Permission::ALL;
    for (topic, queues) in [(&b, 3), (&a, 7)] {
        let (read_queues, write_queues, order) = (1, queues, false);
        let set = Request::SetTopic { topic, read_queues, write_queues, permission, order };
        no_room(rig.call(set), "queues");
    }
    let more = Request::EnsureTopic { topic: &a, queues: 7 };
    no_room(rig.call(more), "queues");
    // Pipelines keep their ledgers whatever there is.
    assert!(matches!(ensure(&mut rig, "MILLRACE_LEDGER", 4), Some(Answer::Topic(_))));
    rig.call(Request::DeleteTopic { topic: "a" });
    rig.flush();
    assert!(matches!(ensure(&mut rig, "b", 2), Some(Answer::Topic(_))));
    // What there is is there again after a start.
    let mut rig = rig.restart();
    no_room(rig.call(Request::EnsureTopic { topic: &a, queues: 5 }), "queues");
    assert!(matches!(ensure(&mut rig, "a", 4), Some(Answer::Topic(_))));
}

#[test]
fn names_of_deleted_queues_are_remembered_within_bounds() {
    let mut rig = rig(EngineLimits { queues_max: 6, ..EngineLimits::default() });
    let own = rig.engine.store.queue_count();
    let delete = |rig: &mut Rig, topic: &str| {
        rig.call(Request::DeleteTopic { topic });
        rig.flush();
    };
    let topics: Vec<String> = (0..8).map(|n| format!("t{n}")).collect();
    let is_taken = |rig: &mut Rig, topic: &String| {
        let answer = ensure(rig, topic, 3);
        let is_taken = matches!(answer, Some(Answer::Topic(_)));
        if !is_taken {
            no_room(answer, "queues, with those of deleted topics");
        }
        delete(rig, topic);
        is_taken
    };
    for _ in 0..3 {
        // A name that comes back takes no more room.
        let taken = topics.iter().map(|topic| is_taken(&mut rig, topic));
        assert_eq!(taken.filter(|is_taken| *is_taken).count(), (12 - own) / 3);
    }
    assert!(rig.engine.store.queue_count() <= 12);
    // Neither fewer queues for what there is make room.
    ensure(&mut rig, "t0", 3);
    let (topic, permission) = (&name("t0"), Permission::ALL);
    let (read_queues, write_queues, order) = (1, 1, false);
    rig.call(Request::SetTopic { topic, read_queues, write_queues, permission, order });
    rig.flush();
    no_room(ensure(&mut rig, "t7", 3), "queues, with those of deleted topics");
    assert!(matches!(ensure(&mut rig, "MILLRACE_LEDGER", 4), Some(Answer::Topic(_))));
}

#[test]
fn offsets_of_groups_beyond_the_limit_are_refused() {
    let mut rig = rig(EngineLimits { group_offsets_max: 2, ..EngineLimits::default() });
    ensure(&mut rig, "t", 3);
    let mut commit = |group: &str, queue: u32, offset: u64| {
        let group = GroupName::parse(group).unwrap();
        let (queue, offset) = (QueueId(queue), QueueOffset(offset));
        rig.call(Request::CommitOffset { group: &group, topic: "t", queue, offset })
    };
    assert!(matches!(commit("g", 0, 1), Some(Answer::Done)));
    assert!(matches!(commit("g", 1, 1), Some(Answer::Done)));
    no_room(commit("g", 2, 1), "offsets of groups");
    no_room(commit("h", 0, 1), "offsets of groups");
    // Those that there are go on.
    assert!(matches!(commit("g", 0, 2), Some(Answer::Done)));
}

#[test]
fn pulls_beyond_the_limit_are_not_held() {
    let mut rig = rig(EngineLimits { held_pulls_max: 1, ..EngineLimits::default() });
    ensure(&mut rig, "orders", 2);
    assert!(rig.pull(0, 0, Filter::All, 1_000).is_none());
    let refused = rig.pull(1, 0, Filter::All, 1_000);
    assert!(matches!(refused, Some(Answer::Refused(Refusal::Overloaded))), "{refused:?}");
    rig.pass(1_000);
    assert_eq!(rig.tick().len(), 1);
    assert!(rig.pull(1, 0, Filter::All, 1_000).is_none());
}

#[test]
fn a_pull_without_room_to_wait_is_refused_only_if_there_is_nothing() {
    let mut rig = rig(EngineLimits::default());
    ensure(&mut rig, "orders", 2);
    let mut pulled = |queue, from| {
        let pull = Pull { hold: PullHold::NoRoom, ..pull(queue, from, Filter::All, 0) };
        rig.call(Request::Append(append(&[message("orders", 1, b"x", b"")])));
        rig.flush();
        rig.call(Request::Pull(pull))
    };
    for (queue, from) in [(0, 0), (1, 2)] {
        let refused = pulled(queue, from);
        assert!(matches!(refused, Some(Answer::Refused(Refusal::Overloaded))), "{refused:?}");
    }
    assert!(matches!(pulled(1, 0), Some(Answer::Found(_))));
    assert!(matches!(pulled(1, 9), Some(Answer::NotFound { .. })));
}

#[test]
fn a_topic_gets_no_more_queues_than_it_may() {
    let mut rig = rig(EngineLimits::default());
    match ensure(&mut rig, "t", u32::MAX) {
        Some(Answer::Topic(topic)) => assert_eq!(topic.write_queues, QUEUES_MAX),
        other => panic!("{other:?}"),
    }
}

#[test]
fn settings_are_bounded() {
    let mut rig = rig(EngineLimits::default());
    let mut put = |key: &str, value: &str| {
        let (space, value) = (Space::NameServer, Some(value));
        let at_once = rig.call(Request::PutSetting { space, key, value });
        at_once.or_else(|| rig.flush().pop().map(|(_, answer)| answer))
    };
    let long = "v".repeat(SETTING_BYTES_MAX);
    let refused = put("k", &long);
    assert!(matches!(refused, Some(Answer::Refused(Refusal::IllegalMessage(_)))), "{refused:?}");
    for n in 0..SETTINGS_MAX {
        let done = put(&n.to_string(), "v");
        assert!(matches!(done, Some(Answer::Done)), "{n}: {done:?}");
    }
    let refused = put("one too many", "v");
    assert!(matches!(refused, Some(Answer::Refused(Refusal::IllegalMessage(_)))), "{refused:?}");
    assert!(matches!(put("7", "w"), Some(Answer::Done)));
}
