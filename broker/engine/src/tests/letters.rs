use super::*;

/// What became of a message that was sent back.
struct Found {
    properties: millrace_types::PropertiesBuf,
    reconsume_times: i32,
    physical_offset: millrace_types::PhysicalOffset,
}

impl Rig {
    /// The only message of a queue; `None` if it has none.
    fn only(&mut self, topic: &str) -> Option<Found> {
        let pull = Pull { topic, ..pull(0, 0, Filter::All, 0) };
        let Some(Answer::Found(found)) = self.call(Request::Pull(pull)) else {
            return None;
        };
        let runs = self.engine.reader().read(&found.plan.entries).unwrap();
        let records: Vec<_> = runs.iter().flat_map(|run| record::iter(run)).flatten().collect();
        assert_eq!(records.len(), 1);
        assert_eq!(records[0].body(), b"fails");
        Some(Found {
            properties: records[0].properties().with(&[]),
            reconsume_times: records[0].reconsume_times(),
            physical_offset: records[0].physical_offset(),
        })
    }

    /// Sends a message back; what is answered at once, and then what once it is durable.
    fn fail(&mut self, letter: SendBack<'_>) -> (Option<Answer>, Vec<Answer>) {
        let answer = self.call(Request::SendBack(letter));
        (answer, self.flush().into_iter().map(|(_, answer)| answer).collect())
    }

    fn wait(&mut self, ms: u64) {
        self.pass(ms);
        self.tick();
        self.flush();
        self.tick();
    }
}

fn group() -> GroupName {
    GroupName::parse("g").unwrap()
}

fn letter(group: &GroupName, found: &Found) -> SendBack<'static> {
    SendBack {
        group: Box::leak(Box::new(group.clone())),
        at: found.physical_offset,
        origin_topic: None,
        delay_level: 0,
        reconsume_max: 16,
        retry_queues: 1,
    }
}

/// An engine with one message in `orders`, which is going to fail.
fn rig(flush: FlushMode) -> (Rig, Found) {
    let mut rig = Rig::new(flush);
    rig.send("orders", 0, b"fails", "a");
    rig.flush();
    let found = rig.only("orders").unwrap();
    (rig, found)
}

#[test]
fn a_failed_message_comes_back_later_and_says_where_it_comes_from() {
    let (mut rig, first) = rig(ASYNC);
    let (at_once, durable) = rig.fail(letter(&group(), &first));
    assert!(at_once.is_none(), "the copy has to be durable first");
    assert!(matches!(durable[..], [Answer::Done]), "{durable:?}");
    rig.wait(10_000);
    assert!(rig.only("%RETRY%g").is_none());
    rig.wait(1);
    let second = rig.only("%RETRY%g").unwrap();
    assert_eq!(second.reconsume_times, 1);
    let origin = format!("7F00000100002A9F{:016X}", first.physical_offset.0);
    let names = ["TAGS", "RETRY_TOPIC", "ORIGIN_MESSAGE_ID", "DELAY", "REAL_TOPIC", "REAL_QID"];
    let expected = ["a", "orders", &origin, "3", "%RETRY%g", "0"].map(Some);
    assert_eq!(second.properties.view().pick(names), expected);

    // The second time, the consumer knows it by the topic that it first came from.
    let again = SendBack { origin_topic: Some("orders"), ..letter(&group(), &second) };
    let (_, durable) = rig.fail(again);
    assert!(matches!(durable[..], [Answer::Done]), "{durable:?}");
    rig.wait(30_001);
    let topic = topic("%RETRY%g");
    let bounds = rig.call(Request::Bounds { topic: topic.as_str(), queue: QueueId(0) });
    assert!(matches!(bounds, Some(Answer::Bounds(bounds)) if bounds.end == QueueOffset(2)));
}

#[test]
fn each_failure_waits_longer_until_the_message_is_a_dead_letter() {
    let (mut rig, mut found) = rig(ASYNC);
    let steps = [10, 30, 60, 120, 180, 240, 300, 360, 420, 480, 540, 600, 1200, 1800, 3600, 7200];
    for (n, seconds) in steps.into_iter().enumerate() {
        // Each failure has a group of its own, so that its topic has one message.
        let group = GroupName::parse(&format!("g{n}")).unwrap();
        let topic = format!("%RETRY%{group}");
        rig.fail(letter(&group, &found));
        rig.wait(seconds * 1_000);
        assert!(rig.only(&topic).is_none(), "{n}");
        rig.wait(1);
        found = rig.only(&topic).unwrap();
    }
    rig.fail(letter(&group(), &found));
    let dead = rig.only("%DLQ%g").unwrap();
    assert_eq!(dead.reconsume_times, 17);
    assert_eq!(dead.properties.view().pick(["RETRY_TOPIC", "DELAY"]), [Some("orders"), Some("0")]);
    assert_eq!(rig.engine.due_ms(), None);
}

#[test]
fn the_consumer_chooses_level_and_limit() {
    let (mut rig, found) = rig(ASYNC);
    rig.fail(SendBack { delay_level: 1, ..letter(&group(), &found) });
    rig.wait(1_001);
    assert!(rig.only("%RETRY%g").is_some());
    let hopeless = GroupName::parse("hopeless").unwrap();
    rig.fail(SendBack { delay_level: -1, ..letter(&hopeless, &found) });
    assert!(rig.only("%DLQ%hopeless").is_some());
    let impatient = GroupName::parse("impatient").unwrap();
    rig.fail(SendBack { reconsume_max: 0, ..letter(&impatient, &found) });
    assert!(rig.only("%DLQ%impatient").is_some());
}

#[test]
fn letters_are_spread_over_the_queues_of_the_retry_topic() {
    let (mut rig, found) = rig(ASYNC);
    for _ in 0..6 {
        rig.fail(SendBack { delay_level: 1, retry_queues: 3, ..letter(&group(), &found) });
    }
    rig.wait(1_001);
    for queue in 0..3 {
        let bounds = Request::Bounds { topic: "%RETRY%g", queue: QueueId(queue) };
        let bounds = rig.call(bounds);
        assert!(matches!(bounds, Some(Answer::Bounds(bounds)) if bounds.end == QueueOffset(2)));
    }
}

#[test]
fn only_messages_can_be_sent_back() {
    let (mut rig, found) = rig(ASYNC);
    let inside = found.physical_offset + 8;
    // A record of the broker's own: the one that says which topics there are.
    let own = millrace_types::PhysicalOffset(0);
    let beyond = found.physical_offset + 1_000_000;
    for at in [inside, own, beyond] {
        let (answer, _) = rig.fail(SendBack { at, ..letter(&group(), &found) });
        assert_eq!(refusal(answer), Refusal::NoMessage(at));
    }
    let (answer, _) = rig.fail(SendBack { origin_topic: Some("x"), ..letter(&group(), &found) });
    assert!(matches!(refusal(answer), Refusal::NoMessage(_)));
    assert!(rig.only("%RETRY%g").is_none());
}

#[test]
fn a_record_that_a_client_forged_inside_a_body_is_none() {
    let mut rig = Rig::new(ASYNC);
    rig.send("orders", 0, b"x", "a");
    let at = rig.engine.watermarks().appended();
    let draft = record::Draft {
        topic: "orders",
        queue_id: QueueId(0),
        flag: 0,
        sys_flag: 0,
        born_at_ms: 0,
        born_host: ([127, 0, 0, 1], 1).into(),
        reconsume_times: 0,
        prepared_offset: millrace_types::PhysicalOffset(0),
        body: b"forged",
        properties: b"",
    };
    // Where the body of the next message will begin.
    let body_at = at + 88;
    let stamp = record::Stamp {
        queue_offset: QueueOffset(0),
        physical_offset: body_at,
        store_at_ms: 0,
        store_host: ([127, 0, 0, 1], 10911).into(),
        more: false,
    };
    let mut forged = Vec::new();
    record::encode(&draft, &stamp, &mut forged);
    rig.send("orders", 0, &forged, "a");
    let limit = rig.engine.watermarks().appended();
    assert!(rig.engine.reader().record_at(body_at, limit).is_ok(), "it looks like a record");
    let group = group();
    let letter = SendBack {
        group: &group,
        at: body_at,
        origin_topic: None,
        delay_level: -1,
        reconsume_max: 16,
        retry_queues: 1,
    };
    assert_eq!(refusal(rig.call(Request::SendBack(letter))), Refusal::NoMessage(body_at));
}

#[test]
fn a_letter_that_is_not_answered_may_be_lost_and_one_that_is_may_not() {
    for flush in [ASYNC, FlushMode::Sync] {
        let (mut rig, found) = rig(flush);
        let (first, second) = (GroupName::parse("a").unwrap(), GroupName::parse("b").unwrap());
        let (_, durable) = rig.fail(letter(&first, &found));
        assert!(matches!(durable[..], [Answer::Done]), "{durable:?}");
        assert!(rig.call(Request::SendBack(letter(&second, &found))).is_none());
        let now = rig.now;
        let disk = rig.disk.power_cut();
        drop(rig);
        let mut rig = Rig::open(disk, flush);
        rig.now = now;
        rig.tick();
        rig.wait(10_000);
        rig.wait(100);
        assert!(rig.only("%RETRY%a").is_some());
    }
}
