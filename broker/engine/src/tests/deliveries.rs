use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

/// A message for queue 0 of `orders` that waits in a level.
fn delayed(body: &[u8], level: u32) -> Message<'_> {
    let delay = if level > 0 { Delay::Level(level) } else { Delay::None };
    Message { delay, ..message("orders", 0, body, b"TAGS\x01a\x02") }
}

impl Rig {
    fn send_delayed(&mut self, body: &str, level: u32) -> Option<Answer> {
        self.call(Request::Append(append(&[delayed(body.as_bytes(), level)])))
    }

    /// What a consumer finds in a queue.
    fn delivered(&mut self, topic: &str, queue: u32) -> Vec<String> {
        let (mut from, mut all) = (QueueOffset(0), Vec::new());
        loop {
            let pull = Pull { topic, from, count_max: 10_000, ..pull(queue, 0, Filter::All, 0) };
            match self.call(Request::Pull(pull)) {
                Some(answer @ Answer::Found(_)) => {
                    let Answer::Found(found) = &answer else { unreachable!() };
                    from = found.next;
                    let texts = self.bodies(answer).into_iter();
                    all.extend(texts.map(|body| String::from_utf8(body).unwrap()));
                }
                _ => return all,
            }
        }
    }

    /// Ticks whenever there is something to do, as the shell does, until so much time has passed.
    fn run_for(&mut self, ms: u64) {
        let until = self.now.mono_ms + ms;
        while self.now.mono_ms < until {
            let due = self.engine.due_ms().unwrap_or(u64::MAX).clamp(self.now.mono_ms, until);
            self.pass(due - self.now.mono_ms);
            self.tick();
            self.flush();
            if self.engine.due_ms().is_none_or(|due| due >= until) {
                self.pass(until - self.now.mono_ms);
            }
        }
        self.tick();
        self.flush();
    }

    /// The process ends, and another one begins after a while. Its monotonic clock starts anew.
    fn reboot(self, disk: impl FnOnce(&SimDisk) -> SimDisk, down_ms: i64) -> Self {
        let flush = self.engine.store.config().flush;
        let disk = disk(&self.disk);
        let wall_ms = self.now.wall_ms + down_ms;
        drop((self.engine, self.flusher));
        let mut next = Self::open(disk, flush);
        next.now = Now { mono_ms: 7, wall_ms };
        next.tick();
        next
    }
}

#[test]
fn a_delayed_message_is_there_when_it_is_due_and_not_before() {
    let mut rig = Rig::new(ASYNC);
    let answer = rig.send_delayed("later", 3);
    let Some(Answer::Appended(places)) = answer else { panic!("{answer:?}") };
    assert_eq!((places[0].0, places[0].1.queue_offset), (QueueId(0), QueueOffset(0)));
    // It may have been stored at the end of the millisecond that the clock tells.
    assert_eq!(rig.engine.due_ms(), Some(rig.now.mono_ms + 10_001));
    rig.run_for(10_000);
    assert_eq!(rig.delivered("orders", 0), [""; 0]);
    rig.run_for(1);
    assert_eq!(rig.delivered("orders", 0), ["later"]);
    rig.run_for(1_000_000);
    assert_eq!(rig.delivered("orders", 0), ["later"]);
    assert_eq!(rig.engine.due_ms(), None);
}

#[test]
fn it_arrives_as_it_was_sent() {
    let mut rig = Rig::new(ASYNC);
    let mut sent = delayed(b"body", 40);
    (sent.queue, sent.flag, sent.sys_flag) = (Some(QueueId(2)), 7, record::sys_flag::COMPRESSED);
    (sent.born_at_ms, sent.reconsume_times) = (42, 3);
    rig.call(Request::Append(append(&[sent])));
    rig.run_for(2 * 3_600_000 + 1);
    let pull = Request::Pull(pull(2, 0, Filter::tags("a"), 0));
    let Some(Answer::Found(found)) = rig.call(pull) else { panic!("not delivered") };
    let runs = rig.engine.reader().read(&found.plan.entries).unwrap();
    let record = record::Record::parse(&runs[0]).unwrap();
    assert_eq!(
        (record.topic(), record.queue_id(), record.body()),
        ("orders", QueueId(2), &b"body"[..])
    );
    assert_eq!((record.flag(), record.born_at_ms(), record.reconsume_times()), (7, 42, 3));
    assert_eq!(record.sys_flag(), record::sys_flag::COMPRESSED);
    assert_eq!(record.born_host(), ([127, 0, 0, 1], 5).into());
    assert_eq!(record.store_at_ms(), rig.now.wall_ms);
    let names = ["TAGS", "DELAY", "REAL_TOPIC", "REAL_QID"];
    let expected = ["a", "18", "orders", "2"].map(Some);
    assert_eq!(record.properties().pick(names), expected);
}

#[test]
fn levels_do_not_wait_for_each_other_and_each_keeps_its_order() {
    let mut rig = Rig::new(ASYNC);
    for (body, level) in [("a", 2), ("b", 1), ("c", 2), ("d", 1)] {
        rig.send_delayed(body, level);
        rig.pass(100);
    }
    rig.run_for(10_000);
    assert_eq!(rig.delivered("orders", 0), ["b", "d", "a", "c"]);
}

#[test]
fn one_group_may_hold_messages_with_and_without_delay() {
    let mut rig = Rig::new(ASYNC);
    let answer = rig.call(Request::Append(append(&[delayed(b"now", 0), delayed(b"later", 1)])));
    assert!(matches!(answer, Some(Answer::Appended(places)) if places.len() == 2));
    assert_eq!(rig.delivered("orders", 0), ["now"]);
    rig.run_for(1_001);
    assert_eq!(rig.delivered("orders", 0), ["now", "later"]);
}

#[test]
fn what_cannot_be_sent_cannot_be_delayed_either() {
    let mut rig = Rig::new(ASYNC);
    rig.call(Request::EnsureTopic { topic: &topic("orders"), queues: 1 });
    let beyond = Message { queue: Some(QueueId(1)), ..delayed(b"x", 1) };
    let answer = rig.call(Request::Append(append(&[beyond])));
    assert!(matches!(refusal(answer), Refusal::NoSuchQueue { .. }));
    let properties = format!("x\x01{}", "x".repeat(record::PROPERTIES_BYTES_MAX - 2));
    let long = Message { properties: properties.as_bytes(), ..delayed(b"x", 1) };
    let answer = rig.call(Request::Append(append(&[long])));
    assert!(matches!(refusal(answer), Refusal::IllegalMessage(_)));
    let direct = message(SCHEDULE_TOPIC, 0, b"x", b"");
    let answer = rig.call(Request::Append(append(&[direct])));
    assert!(matches!(refusal(answer), Refusal::UnknownTopic(_) | Refusal::NotWritable(_)));
    rig.send_delayed("x", 1);
    let answer = rig.call(Request::Append(append(&[direct])));
    assert!(matches!(refusal(answer), Refusal::NotWritable(_)));
    let group = GroupName::parse("SCHEDULE_CONSUMER").unwrap();
    let skip = Request::CommitOffset {
        group: &group,
        topic: SCHEDULE_TOPIC,
        queue: QueueId(0),
        offset: QueueOffset(1),
    };
    assert!(matches!(refusal(rig.call(skip)), Refusal::NotWritable(_)));
}

#[test]
fn in_sync_mode_nothing_is_delivered_before_it_is_durable() {
    let mut rig = Rig::new(FlushMode::Sync);
    assert!(rig.send_delayed("x", 1).is_none());
    rig.pass(2_000);
    rig.tick();
    rig.flush();
    assert_eq!(rig.delivered("orders", 0), [""; 0]);
    rig.run_for(100);
    assert_eq!(rig.delivered("orders", 0), ["x"]);
}

#[test]
fn a_held_pull_is_given_what_becomes_due() {
    let mut rig = Rig::new(ASYNC);
    rig.send_delayed("x", 1);
    let (ticket, out) = rig.ask(Request::Pull(pull(0, 0, Filter::All, 30_000)));
    assert!(rig.finish_burst(out).is_empty());
    rig.pass(1_000);
    assert!(rig.tick().is_empty());
    rig.pass(1);
    let answers = rig.tick();
    assert_eq!(answers.len(), 1);
    assert_eq!(answers[0].0, ticket);
}

#[test]
fn s18_the_wall_clock_may_jump_and_nothing_is_early_or_late() {
    for jump_ms in [3_600_000, -3_600_000] {
        let mut rig = Rig::new(ASYNC);
        rig.send_delayed("before", 2);
        rig.pass(1_000);
        rig.now.wall_ms += jump_ms;
        rig.send_delayed("after", 2);
        rig.run_for(4_000);
        assert_eq!(rig.delivered("orders", 0), [""; 0], "{jump_ms}");
        rig.run_for(1);
        assert_eq!(rig.delivered("orders", 0), ["before"], "{jump_ms}");
        rig.run_for(999);
        assert_eq!(rig.delivered("orders", 0), ["before"], "{jump_ms}");
        rig.run_for(1);
        assert_eq!(rig.delivered("orders", 0), ["before", "after"], "{jump_ms}");
    }
}

#[test]
fn a_restart_loses_no_time_and_hastens_nothing() {
    let mut rig = Rig::new(ASYNC);
    rig.send_delayed("x", 3);
    rig.pass(2_000);
    let mut rig = rig.reboot(SimDisk::kill, 3_000);
    rig.run_for(5_001);
    assert_eq!(rig.delivered("orders", 0), [""; 0]);
    rig.run_for(1);
    assert_eq!(rig.delivered("orders", 0), ["x"]);
    let mut rig = rig.reboot(SimDisk::kill, 0);
    rig.run_for(100_000);
    assert_eq!(rig.delivered("orders", 0), ["x"], "it is not delivered again");
}

#[test]
fn after_a_long_stop_what_is_overdue_comes_at_once() {
    let mut rig = Rig::new(ASYNC);
    rig.send_delayed("x", 18);
    let mut rig = rig.reboot(SimDisk::kill, 86_400_000);
    rig.run_for(1);
    assert_eq!(rig.delivered("orders", 0), ["x"]);
}

#[test]
fn a_clock_set_back_while_stopped_costs_at_most_the_whole_delay() {
    let mut rig = Rig::new(ASYNC);
    rig.send_delayed("x", 3);
    rig.pass(9_000);
    let mut rig = rig.reboot(SimDisk::kill, -3_600_000);
    rig.send_delayed("y", 3);
    rig.run_for(9_999);
    assert_eq!(rig.delivered("orders", 0), [""; 0]);
    rig.run_for(200);
    assert_eq!(rig.delivered("orders", 0), ["x", "y"]);
}

#[test]
fn more_than_can_be_remembered_is_delivered_in_order_and_in_pieces() {
    let mut rig = Rig::new(ASYNC);
    let count = 10_000;
    for n in 0..count {
        rig.send_delayed(&n.to_string(), 1);
    }
    rig.pass(1_001);
    rig.tick();
    assert_eq!(rig.delivered("orders", 0).len(), 64, "one group for one tick");
    rig.run_for(10);
    let expected: Vec<String> = (0..count).map(|n| n.to_string()).collect();
    assert_eq!(rig.delivered("orders", 0), expected);
}

#[test]
fn a_damaged_message_is_passed_over_and_the_others_come() {
    let mut rig = Rig::new(FlushMode::Sync);
    for body in ["first", "damaged", "last"] {
        rig.send_delayed(body, 1);
        rig.flush();
    }
    // The segment is not among the newest any more, so the damage is found when it is read.
    let path = "/data/commitlog/00000000000000000000";
    let bytes = rig.disk.file_bytes(path).unwrap();
    let at = bytes.windows(7).position(|window| window == b"damaged").unwrap();
    rig.disk.flip_bit(path, at as u64, 3);
    rig.run_for(1_100);
    assert_eq!(rig.delivered("orders", 0), ["first", "last"]);
}

#[test]
fn a_full_disk_delays_and_loses_nothing() {
    let mut rig = Rig::new(ASYNC);
    rig.send_delayed("x", 1);
    rig.disk.inject(Fault::Capacity { bytes: 0 });
    for filler in [8 << 10, 16] {
        while let Some(Answer::Appended(_)) = rig.send("orders", 1, &vec![0; filler], "x") {}
    }
    rig.run_for(60_000);
    assert_eq!(rig.delivered("orders", 0), [""; 0]);
    rig.disk.inject(Fault::Capacity { bytes: u64::MAX });
    rig.run_for(10_000);
    assert_eq!(rig.delivered("orders", 0), ["x"]);
}

#[test]
fn a_level_that_is_no_longer_configured_still_delivers() {
    let mut rig = Rig::new(ASYNC);
    rig.send_delayed("x", 18);
    let now = rig.now;
    let disk = rig.disk.kill();
    drop(rig);
    let config = EngineConfig { delay_levels: "1s 2s".parse().unwrap(), ..EngineConfig::default() };
    let mut rig = Rig::open_with(disk, ASYNC, config);
    rig.now = now;
    rig.send_delayed("y", 9);
    rig.run_for(2_002);
    assert_eq!(rig.delivered("orders", 0), ["y", "x"]);
}

#[test]
fn a_message_is_held_for_as_long_as_it_waits() {
    let mut rig = Rig::new(ASYNC);
    let held = |rig: &Rig| -> Vec<(String, u64)> {
        let holds = rig.engine.holds_before(millrace_types::PhysicalOffset(u64::MAX));
        let loses = holds.into_iter().flat_map(|hold| hold.loses);
        loses.map(|loss| (loss.topic, loss.from)).collect()
    };
    assert_eq!(held(&rig), []);
    rig.send_delayed("soon", 1);
    rig.send_delayed("late", 1);
    rig.call(Request::Append(append(&[timed("timed", Delay::For(90_000), b"")])));
    let (level, timer) = (SCHEDULE_TOPIC.to_owned(), TIMER_TOPIC.to_owned());
    assert_eq!(held(&rig), [(level, 0), (timer.clone(), 0)]);
    rig.run_for(2_000);
    assert_eq!(held(&rig), [(timer, 0)]);
    rig.run_for(90_000);
    assert_eq!(held(&rig), []);
}

fn timed<'a>(body: &'a str, delay: Delay, properties: &'a [u8]) -> Message<'a> {
    Message { delay, ..message("orders", 0, body.as_bytes(), properties) }
}

impl Rig {
    fn send_timed(&mut self, body: &str, delay: Delay) -> Option<Answer> {
        self.call(Request::Append(append(&[timed(body, delay, b"TAGS\x01a\x02")])))
    }

    /// When a message is there; checks that it is not before.
    fn arrival_ms(&mut self, body: &str) -> u64 {
        let from = self.now.mono_ms;
        while !self.delivered("orders", 0).contains(&body.to_owned()) {
            let due = self.engine.due_ms().expect("it has not arrived").max(self.now.mono_ms);
            self.run_for((due - self.now.mono_ms).max(1));
        }
        self.now.mono_ms - from
    }
}

#[test]
fn a_timer_is_never_early_and_late_by_little() {
    for wait_ms in [1, 99, 100, 1_000, 1_001, 59_999, 3_600_000, 3 * 86_400_000] {
        for absolute in [false, true] {
            let mut rig = Rig::new(ASYNC);
            let at = rig.now.wall_ms + wait_ms as i64;
            let delay = if absolute { Delay::Until(at) } else { Delay::For(wait_ms) };
            rig.send_timed("x", delay);
            let took_ms = rig.arrival_ms("x");
            // The last step is too long by less than 100 ms, and each counts the millisecond it begins in.
            assert!((wait_ms..wait_ms + 110).contains(&took_ms), "{delay:?} took {took_ms} ms");
        }
    }
}

#[test]
fn consumers_see_when_a_timer_was_due_and_nothing_of_its_way() {
    let mut rig = Rig::new(ASYNC);
    let due = (rig.now.wall_ms + 90_000).to_string();
    rig.send_timed("x", Delay::For(90_000));
    rig.run_for(90_100);
    let Some(Answer::Found(found)) = rig.pull(0, 0, Filter::tags("a"), 0) else {
        panic!("not delivered")
    };
    let runs = rig.engine.reader().read(&found.plan.entries).unwrap();
    let record = record::Record::parse(&runs[0]).unwrap();
    let names = ["TAGS", "TIMER_OUT_MS", "REAL_TOPIC", "REAL_QID", "MR_TIMER_LEFT"];
    let expected = [Some("a"), Some(&*due), Some("orders"), Some("0"), None];
    assert_eq!(record.properties().pick(names), expected);
}

#[test]
fn what_is_due_already_goes_to_its_queue_and_what_is_too_far_is_refused() {
    let mut rig = Rig::new(ASYNC);
    let now_ms = rig.now.wall_ms;
    for delay in [Delay::For(0), Delay::Until(now_ms), Delay::Until(i64::MIN)] {
        assert!(matches!(rig.send_timed("x", delay), Some(Answer::Appended(_))));
    }
    assert_eq!(rig.delivered("orders", 0), ["x", "x", "x"]);
    let max_ms = 3 * 86_400_000;
    for delay in [Delay::For(max_ms + 1), Delay::For(u64::MAX), Delay::Until(i64::MAX)] {
        let refusal = refusal(rig.send_timed("x", delay));
        assert!(refusal.to_string().contains("max delay 259200000ms"), "{refusal}");
    }
    let forged = timed("x", Delay::Until(now_ms + 50), b"MR_TIMER_LEFT\x01999999\x02");
    rig.call(Request::Append(append(&[forged])));
    rig.run_for(200);
    assert_eq!(rig.delivered("orders", 0).len(), 4, "nobody else says how long it waits");
}

#[test]
fn the_topics_where_messages_wait_cannot_be_deleted() {
    let mut rig = Rig::new(ASYNC);
    rig.send_delayed("level", 1);
    rig.send_timed("timer", Delay::For(1_000));
    for topic in [SCHEDULE_TOPIC, TIMER_TOPIC] {
        let answer = rig.call(Request::DeleteTopic { topic });
        assert_eq!(refusal(answer), Refusal::NotWritable(topic.to_owned()));
    }
    rig.run_for(1_100);
    assert_eq!(rig.delivered("orders", 0).len(), 2);
}

#[test]
fn a_jump_of_the_wall_clock_moves_times_of_day_and_no_waits() {
    for jump_ms in [-1_800_000, 1_800_000] {
        let mut rig = Rig::new(ASYNC);
        let at = rig.now.wall_ms + 7_200_000;
        rig.send_timed("wait", Delay::For(7_200_000));
        rig.send_timed("until", Delay::Until(at));
        rig.run_for(1_000);
        rig.now.wall_ms += jump_ms;
        rig.run_for(7_199_000 - 1);
        assert!(!rig.delivered("orders", 0).contains(&"wait".to_owned()));
        rig.run_for(200);
        assert!(rig.delivered("orders", 0).contains(&"wait".to_owned()));
        rig.run_for(1_800_000);
        let mut all = rig.delivered("orders", 0);
        all.sort();
        assert_eq!(all, ["until", "wait"]);
        assert!(rig.now.wall_ms >= at);
    }
}

/// One step of a life with crashes.
#[derive(Clone, Debug)]
enum Turn {
    Send(Delay),
    Pass(u64),
    Flush,
    Tick,
    Kill(i64),
    PowerCut(i64),
    /// The power goes after so many more operations of the disk.
    CutAfter(u64),
}

fn turn() -> impl Strategy<Value = Turn> {
    prop_oneof![
        4 => (1..5u32).prop_map(|level| Turn::Send(Delay::Level(level))),
        3 => (1..40_000u64).prop_map(|ms| Turn::Send(Delay::For(ms))),
        3 => (0..8_000u64).prop_map(Turn::Pass),
        3 => Just(Turn::Flush),
        5 => Just(Turn::Tick),
        1 => (0..5_000i64).prop_map(Turn::Kill),
        1 => (0..5_000i64).prop_map(Turn::PowerCut),
        1 => (0..6u64).prop_map(Turn::CutAfter),
    ]
}

proptest! {
    /// In sync mode: each acknowledged message is delivered once, each other one at most once, and
    /// none before its time, whatever is killed when.
    #[test]
    fn crashes_lose_repeat_and_hasten_nothing(
        turns in proptest::collection::vec(turn(), 1..60), seed in 0..1_000u64,
    ) {
        let mut rig = Rig::open(SimDisk::new(seed), FlushMode::Sync);
        let mut acknowledged = Vec::new();
        let mut tickets = BTreeMap::new();
        let mut due_at = BTreeMap::new();
        let (mut sent, mut cut) = (0, false);
        let delays = [1_000, 5_000, 10_000, 30_000];
        // The power may be gone at any step of the disk.
        let alive = |rig: &Rig| !rig.disk.is_cut();
        for turn in turns {
            let mut answers = Vec::new();
            match turn {
                Turn::Send(delay) => {
                    let body = sent.to_string();
                    sent += 1;
                    let wait_ms = match delay {
                        Delay::Level(level) => delays[level as usize - 1],
                        Delay::For(ms) => ms as i64,
                        other => unreachable!("{other:?}"),
                    };
                    due_at.insert(body.clone(), rig.now.wall_ms + wait_ms);
                    let message = [timed(&body, delay, b"")];
                    let (ticket, out) = rig.ask(Request::Append(append(&message)));
                    tickets.insert(ticket, body);
                    answers = rig.finish_burst(out);
                }
                Turn::Pass(ms) => rig.pass(ms),
                Turn::Flush => answers = rig.flush(),
                Turn::Tick => answers = rig.tick(),
                Turn::Kill(down_ms) => rig = rig.reboot(SimDisk::kill, down_ms),
                Turn::PowerCut(down_ms) => rig = rig.reboot(SimDisk::power_cut, down_ms),
                Turn::CutAfter(operations) => {
                    rig.disk.cut_after(operations);
                    cut = true;
                }
            }
            for (ticket, answer) in answers {
                if let (Answer::Appended(_), Some(body)) = (answer, tickets.remove(&ticket)) {
                    acknowledged.push(body);
                }
            }
            if cut && !alive(&rig) {
                rig = rig.reboot(SimDisk::power_cut, 100);
                cut = false;
            }
            for body in rig.delivered("orders", 0) {
                prop_assert!(due_at[&body] <= rig.now.wall_ms, "{body} is early");
            }
        }
        if cut {
            rig = rig.reboot(SimDisk::power_cut, 0);
        }
        rig.run_for(60_000);
        let delivered = rig.delivered("orders", 0);
        for body in &acknowledged {
            prop_assert!(delivered.contains(body), "{body} is lost");
        }
        let mut once = delivered.clone();
        once.sort();
        once.dedup();
        prop_assert_eq!(once.len(), delivered.len(), "{:?}", delivered);
    }
}
