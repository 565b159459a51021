use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;

const GROUP: &str = "payers";

/// Where a half message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Half {
    offset: QueueOffset,
    at: PhysicalOffset,
}

fn properties(more: &str) -> String {
    format!("TAGS\x01a\x02TRAN_MSG\x01true\x02PGROUP\x01{GROUP}\x02UNIQ_KEY\x017F\x02{more}")
}

fn half_of(answer: &Answer) -> Half {
    match answer {
        Answer::Appended(places) => {
            Half { offset: places[0].1.queue_offset, at: places[0].1.physical_offset }
        }
        other => panic!("{other:?}"),
    }
}

impl Rig {
    fn try_prepare(&mut self, body: &str, more: &str) -> Option<Answer> {
        let properties = properties(more);
        let half = message("orders", 0, body.as_bytes(), properties.as_bytes());
        self.call(Request::Prepare(append(&[half])))
    }

    fn prepare(&mut self, body: &str) -> Half {
        half_of(&self.try_prepare(body, "").unwrap())
    }

    fn end(&mut self, half: Half, decision: Decision) -> Option<Answer> {
        let (half, at) = (half.offset, half.at);
        self.call(Request::EndTransaction(EndTransaction { group: GROUP, half, at, decision }))
    }

    fn commit(&mut self, half: Half) -> Option<Answer> {
        self.end(half, Decision::Commit)
    }

    /// Lets time pass in one go, and has a producer asked that answers nothing.
    fn ask_after(&mut self, ms: u64) -> Vec<String> {
        self.pass(ms);
        self.asked(true)
    }

    /// The half messages that are asked about now, by a producer that there is or is not.
    fn asked(&mut self, there_is_one: bool) -> Vec<String> {
        let mut out = Out::default();
        self.engine.on_tick(self.now, &mut out);
        for read in std::mem::take(&mut out.reads) {
            let found = read.run(&self.engine.reader());
            self.engine.on_read(self.now, read.id, found, &mut out);
        }
        let mut asked = Vec::new();
        for check in std::mem::take(&mut out.checks) {
            assert_eq!((check.group.as_str(), check.topic.as_str()), (GROUP, "orders"));
            let record = record::Record::parse(&check.record).unwrap();
            assert_eq!((record.queue_offset(), record.physical_offset()), (check.half, check.at));
            asked.push(String::from_utf8(record.body().to_vec()).unwrap());
            if there_is_one {
                self.engine.on_checked(self.now, check.half);
            }
        }
        self.engine.commit(self.now, &mut out);
        self.flush();
        asked
    }

    fn bodies_in(&self, topic: &str) -> Vec<String> {
        let Some(no) = self.engine.topics.queue(topic, QueueId(0)) else {
            return Vec::new();
        };
        let plan =
            self.engine.store.plan(no, QueueOffset(0), 10_000, 1 << 30, self.engine.visible());
        let runs = self.engine.reader().read(&plan.entries).unwrap();
        let records = runs.iter().flat_map(|run| record::iter(run)).map(Result::unwrap);
        records.map(|record| String::from_utf8(record.body().to_vec()).unwrap()).collect()
    }
}

fn orders(rig: &mut Rig) -> Vec<String> {
    rig.bodies_in("orders")
}

#[test]
fn nobody_sees_a_message_before_its_producer_commits() {
    let mut rig = Rig::new(ASYNC);
    let paid = rig.prepare("paid");
    let broke = rig.prepare("broke");
    assert_eq!((paid.offset, broke.offset), (QueueOffset(0), QueueOffset(1)));
    assert!(matches!(rig.pull(0, 0, Filter::All, 0), Some(Answer::NotFound { .. })));
    assert!(matches!(rig.commit(paid), Some(Answer::Done)));
    assert!(matches!(rig.end(broke, Decision::RollBack), Some(Answer::Done)));
    let answer = rig.pull(0, 0, Filter::tags("a"), 0).unwrap();
    assert_eq!(rig.bodies(answer), [b"paid"]);
    assert_eq!(rig.engine.half_messages(), 0);
    assert_eq!(rig.engine.decided_transactions(), (1, 1));
    assert_eq!(rig.engine.due_ms(), None);
}

#[test]
fn a_held_pull_gets_what_is_committed() {
    let mut rig = Rig::new(ASYNC);
    let half = rig.prepare("paid");
    assert!(rig.pull(0, 0, Filter::All, 60_000).is_none(), "held");
    let (half, at) = (half.offset, half.at);
    let end = EndTransaction { group: GROUP, half, at, decision: Decision::Commit };
    let (_, out) = rig.ask(Request::EndTransaction(end));
    let answers = rig.finish_burst(out);
    assert!(answers.iter().any(|(_, answer)| matches!(answer, Answer::Found(_))), "{answers:?}");
}

#[test]
fn a_committed_message_is_as_it_was_sent() {
    let mut rig = Rig::new(ASYNC);
    let properties = properties("k\x01v\x02");
    let mut sent = message("orders", 2, b"body", properties.as_bytes());
    (sent.flag, sent.born_at_ms) = (7, 42);
    sent.sys_flag = record::sys_flag::COMPRESSED | record::sys_flag::TRANSACTION_PREPARED;
    let half = rig.call(Request::Prepare(append(&[sent]))).unwrap();
    let Answer::Appended(places) = &half else { panic!("{half:?}") };
    assert_eq!(places[0].0, QueueId(2), "the producer is told of the queue it chose");
    let half = half_of(&half);
    rig.commit(half);
    let Some(Answer::Found(found)) = rig.pull(2, 0, Filter::All, 0) else { panic!("not there") };
    let runs = rig.engine.reader().read(&found.plan.entries).unwrap();
    let record = record::Record::parse(&runs[0]).unwrap();
    assert_eq!((record.flag(), record.born_at_ms(), record.topic()), (7, 42, "orders"));
    assert_eq!(record.prepared_offset(), half.at);
    let committed = record::sys_flag::COMPRESSED | record::sys_flag::TRANSACTION_COMMITTED;
    assert_eq!(record.sys_flag(), committed);
    let names = ["TAGS", "TRAN_MSG", "PGROUP", "UNIQ_KEY", "REAL_TOPIC", "REAL_QID"];
    let left = [Some("a"), None, Some(GROUP), Some("7F"), None, None];
    assert_eq!(record.properties().pick(names), left);
    assert_eq!(record.properties().get("k"), Some("v"));
}

#[test]
fn the_first_decision_is_the_last() {
    let gone = Refusal::NoTransaction("Find prepared transaction message failed");
    let decisions = [Decision::Commit, Decision::RollBack];
    for (first, second) in decisions.iter().flat_map(|a| decisions.map(|b| (*a, b))) {
        let mut rig = Rig::new(ASYNC);
        let half = rig.prepare("x");
        assert!(matches!(rig.end(half, first), Some(Answer::Done)));
        assert_eq!(refusal(rig.end(half, second)), gone);
        let mut rig = rig.restart();
        assert_eq!(refusal(rig.end(half, second)), gone, "after a restart");
        let there = if first == Decision::Commit { vec!["x"] } else { vec![] };
        assert_eq!(orders(&mut rig), there);
    }
}

#[test]
fn of_two_decisions_on_their_way_the_first_one_counts() {
    let mut rig = Rig::new(ASYNC);
    let half = rig.prepare("x");
    let end = |decision| {
        Request::EndTransaction(EndTransaction {
            group: GROUP,
            half: half.offset,
            at: half.at,
            decision,
        })
    };
    let (_, first) = rig.ask(end(Decision::RollBack));
    let (_, second) = rig.ask(end(Decision::Commit));
    assert!(matches!(second.answers[..], [(_, Answer::Refused(Refusal::NoTransaction(_)))]));
    rig.finish_burst(first);
    assert_eq!(orders(&mut rig), [""; 0]);
    assert_eq!(rig.engine.half_messages(), 0);
}

#[test]
fn only_its_group_decides_and_only_by_its_places() {
    let mut rig = Rig::new(ASYNC);
    let half = rig.prepare("x");
    let (offset, at) = (half.offset, half.at);
    let wrong = |group, half, at| EndTransaction { group, half, at, decision: Decision::Commit };
    for (end, remark) in [
        (wrong("others", offset, at), "The producer group wrong"),
        (wrong(GROUP, offset + 1, at), "Find prepared transaction message failed"),
        (wrong(GROUP, offset, at + 1), "The commit log offset wrong"),
    ] {
        let answer = rig.call(Request::EndTransaction(end));
        assert_eq!(refusal(answer), Refusal::NoTransaction(remark));
    }
    assert_eq!(orders(&mut rig), [""; 0]);
    assert!(matches!(rig.commit(half), Some(Answer::Done)), "a wrong one spoils nothing");
}

#[test]
fn clients_do_not_get_at_half_messages() {
    let mut rig = Rig::new(ASYNC);
    rig.prepare("x");
    let closed = || HALF_TOPIC.to_owned();
    let pull = Pull { topic: HALF_TOPIC, ..pull(0, 0, Filter::All, 0) };
    assert_eq!(refusal(rig.call(Request::Pull(pull))), Refusal::NotReadable(closed()));
    assert_eq!(refusal(rig.send(HALF_TOPIC, 0, b"x", "")), Refusal::NotWritable(closed()));
    let answer = rig.call(Request::DeleteTopic { topic: HALF_TOPIC });
    assert_eq!(refusal(answer), Refusal::NotWritable(closed()));
    let open = Topic {
        name: topic(HALF_TOPIC),
        read_queues: 4,
        write_queues: 4,
        permission: Permission::ALL,
        order: false,
    };
    let Topic { name, read_queues, write_queues, permission, order } = &open;
    let set = Request::SetTopic {
        topic: name,
        read_queues: *read_queues,
        write_queues: *write_queues,
        permission: *permission,
        order: *order,
    };
    assert_eq!(refusal(rig.call(set)), Refusal::NotWritable(closed()));
}

#[test]
fn a_producer_is_asked_after_a_while_and_again_and_again() {
    let mut rig = Rig::new(ASYNC);
    rig.prepare("x");
    assert_eq!(rig.engine.due_ms(), Some(rig.now.mono_ms + 6_000));
    assert_eq!(rig.ask_after(5_999), [""; 0]);
    assert_eq!(rig.ask_after(1), ["x"]);
    assert_eq!(rig.ask_after(29_999), [""; 0]);
    assert_eq!(rig.ask_after(1), ["x"]);
    let mut rig = rig.restart();
    assert_eq!(rig.asked(true), [""; 0], "producers have to come back first");
    for n in 2..15 {
        assert_eq!(rig.ask_after(30_000), ["x"], "question {n}");
    }
    assert_eq!(rig.bodies_in(PARKED_TOPIC), [""; 0]);
    assert_eq!(rig.ask_after(30_000), [""; 0]);
    assert_eq!(rig.bodies_in(PARKED_TOPIC), ["x"]);
    assert_eq!(rig.engine.half_messages(), 0);
    assert_eq!(orders(&mut rig), [""; 0]);
}

#[test]
fn a_question_that_nobody_was_asked_does_not_count() {
    let mut rig = Rig::new(ASYNC);
    let half = rig.prepare("x");
    for _ in 0..100 {
        rig.pass(30_000);
        assert_eq!(rig.asked(false), ["x"]);
    }
    assert!(matches!(rig.commit(half), Some(Answer::Done)));
    rig.prepare("for ever");
    rig.pass(72 * 3_600_000 + 1);
    assert_eq!(rig.asked(false), [""; 0]);
    assert_eq!(rig.bodies_in(PARKED_TOPIC), ["for ever"], "as old as messages get");
}

#[test]
fn a_message_may_want_its_producer_left_alone() {
    let mut rig = Rig::new(ASYNC);
    rig.try_prepare("patient", "CHECK_IMMUNITY_TIME_IN_SECONDS\x01100\x02");
    rig.try_prepare("hasty", "CHECK_IMMUNITY_TIME_IN_SECONDS\x010\x02");
    rig.try_prepare("odd", "CHECK_IMMUNITY_TIME_IN_SECONDS\x01soon\x02");
    assert_eq!(rig.asked(true), ["hasty"]);
    assert_eq!(rig.ask_after(6_000), ["odd"]);
    rig.pass(93_999);
    assert!(!rig.asked(true).contains(&"patient".to_owned()));
    assert!(rig.ask_after(1).contains(&"patient".to_owned()));
}

#[test]
fn a_committed_message_may_be_delayed() {
    let mut rig = Rig::new(ASYNC);
    let half = half_of(&rig.try_prepare("later", "DELAY\x011\x02").unwrap());
    rig.pass(5_000);
    rig.commit(half);
    assert_eq!(orders(&mut rig), [""; 0]);
    rig.pass(1_001);
    rig.tick();
    assert_eq!(orders(&mut rig), ["later"]);
}

#[test]
fn what_is_committed_to_a_topic_that_is_gone_is_parked() {
    let mut rig = Rig::new(ASYNC);
    let half = rig.prepare("x");
    rig.call(Request::DeleteTopic { topic: "orders" });
    assert!(matches!(rig.commit(half), Some(Answer::Done)));
    assert_eq!(rig.bodies_in(PARKED_TOPIC), ["x"]);
    assert_eq!(rig.engine.half_messages(), 0);
}

#[test]
fn there_are_only_so_many_and_none_if_they_are_not_wanted() {
    let transactions = TransactionConfig { open_max: 2, ..TransactionConfig::default() };
    let config = EngineConfig { transactions, ..EngineConfig::default() };
    let mut rig = Rig::open_with(SimDisk::new(1), ASYNC, config);
    let first = rig.prepare("1");
    rig.prepare("2");
    let full = Refusal::NoRoom { what: "half messages", max: 2 };
    assert_eq!(refusal(rig.try_prepare("3", "")), full);
    rig.commit(first);
    rig.prepare("3");

    let transactions = TransactionConfig { accepted: false, ..TransactionConfig::default() };
    let config = EngineConfig { transactions, ..EngineConfig::default() };
    let mut rig = Rig::open_with(SimDisk::new(1), ASYNC, config);
    assert_eq!(refusal(rig.try_prepare("x", "")), Refusal::NoTransactions);
}

#[test]
fn open_transactions_outlive_snapshots_and_restarts() {
    let config = EngineConfig { state_bytes_min: 4_096, ..EngineConfig::default() };
    let mut rig = Rig::open_with(SimDisk::new(1), ASYNC, config);
    let halves: Vec<Half> = (0..3_000).map(|n| rig.prepare(&n.to_string())).collect();
    for (n, half) in halves.iter().enumerate() {
        match n % 3 {
            0 => assert!(matches!(rig.commit(*half), Some(Answer::Done))),
            1 => assert!(matches!(rig.end(*half, Decision::RollBack), Some(Answer::Done))),
            _ => {}
        }
    }
    for _ in 0..2 {
        rig.flush();
        rig = rig.restart();
        assert_eq!(rig.engine.half_messages(), 1_000);
        assert!(rig.engine.state_records_read() < 500, "{}", rig.engine.state_records_read());
    }
    for half in halves.iter().skip(2).step_by(3) {
        assert!(matches!(rig.commit(*half), Some(Answer::Done)));
    }
    let all: BTreeSet<String> = orders(&mut rig).into_iter().collect();
    let expected = (0..3_000).filter(|n| n % 3 != 1).map(|n: usize| n.to_string());
    assert_eq!(all, expected.collect());
    assert_eq!(orders(&mut rig).len(), 2_000);
}

#[test]
fn an_undecided_message_holds_its_segment() {
    let retention = RetentionConfig { bytes_max: Some(1), ..RetentionConfig::default() };
    let config = EngineConfig { retention, ..EngineConfig::default() };
    let mut rig = Rig::open_with(SimDisk::new(1), ASYNC, config);
    let half = rig.prepare("x");
    let body = vec![b'x'; 1_000];
    for _ in 0..200 {
        rig.send("others", 0, &body, "");
    }
    rig.let_pass(10_000);
    rig.let_pass(10_000);
    let held: Vec<_> = rig.engine.held_by().iter().map(|hold| hold.name.as_str()).collect();
    assert_eq!(held, ["transaction"]);
    assert!(matches!(rig.commit(half), Some(Answer::Done)));
    for _ in 0..200 {
        rig.send("others", 0, &body, "");
    }
    rig.let_pass(10_000);
    rig.let_pass(10_000);
    assert!(rig.engine.store.log_min() > half.at);
    assert_eq!(rig.engine.losses().count(), 0);
}

/// One step of a life with crashes.
#[derive(Clone, Debug)]
enum Turn {
    Prepare,
    /// Decides over one of those that the producer knows of.
    End(usize, bool),
    Ask(u64),
    Flush,
    Kill,
    PowerCut,
    /// The power goes after so many more operations of the disk.
    CutAfter(u64),
}

fn turn() -> impl Strategy<Value = Turn> {
    prop_oneof![
        5 => Just(Turn::Prepare),
        5 => (0..64usize, any::<bool>()).prop_map(|(n, commit)| Turn::End(n, commit)),
        1 => (0..8_000u64).prop_map(Turn::Ask),
        4 => Just(Turn::Flush),
        1 => Just(Turn::Kill),
        1 => Just(Turn::PowerCut),
        1 => (0..8u64).prop_map(Turn::CutAfter),
    ]
}

proptest! {
    /// In sync mode, whatever is killed when: what was answered as committed is there once, what was
    /// answered as rolled back is not there, nothing is there without a commit, and what nobody was
    /// answered about can still be decided.
    #[test]
    fn crashes_keep_every_decision_and_deliver_nothing_twice(
        turns in proptest::collection::vec(turn(), 1..80), seed in 0..1_000u64,
    ) {
        let config = EngineConfig { state_bytes_min: 2_048, ..EngineConfig::default() };
        let mut rig = Rig::open_with(SimDisk::new(seed), FlushMode::Sync, config.clone());
        let mut known: Vec<(String, Half)> = Vec::new();
        let mut preparing = BTreeMap::new();
        let mut ending = BTreeMap::new();
        let mut asked_to_commit = BTreeSet::new();
        let mut decided: BTreeMap<String, Decision> = BTreeMap::new();
        let (mut sent, mut cut) = (0, false);
        let reopen = |rig: Rig, disk: fn(&SimDisk) -> SimDisk| {
            let (disk, now) = (disk(&rig.disk), rig.now);
            drop((rig.engine, rig.flusher));
            let mut next = Rig::open_with(disk, FlushMode::Sync, config.clone());
            (next.now, next.tickets) = (now, rig.tickets);
            next
        };
        for turn in turns {
            let mut answers = Vec::new();
            match turn {
                Turn::Prepare => {
                    let (body, properties) = (sent.to_string(), properties(""));
                    sent += 1;
                    let half = message("orders", 0, body.as_bytes(), properties.as_bytes());
                    let (ticket, out) = rig.ask(Request::Prepare(append(&[half])));
                    answers = rig.finish_burst(out);
                    preparing.insert(ticket, body);
                }
                Turn::End(_, _) if known.is_empty() => {}
                Turn::End(n, commit) => {
                    let (body, half) = known[n % known.len()].clone();
                    let decision = if commit { Decision::Commit } else { Decision::RollBack };
                    let end = EndTransaction { group: GROUP, half: half.offset, at: half.at, decision };
                    let (ticket, out) = rig.ask(Request::EndTransaction(end));
                    answers = rig.finish_burst(out);
                    if commit {
                        asked_to_commit.insert(body.clone());
                    }
                    ending.insert(ticket, (body, decision));
                }
                Turn::Ask(ms) => {
                    rig.pass(ms);
                    let asked = rig.asked(true);
                    prop_assert!(asked.iter().all(|body| !decided.contains_key(body)), "{asked:?}");
                }
                Turn::Flush => answers = rig.flush(),
                Turn::Kill => rig = reopen(rig, SimDisk::kill),
                Turn::PowerCut => rig = reopen(rig, SimDisk::power_cut),
                Turn::CutAfter(operations) => {
                    rig.disk.cut_after(operations);
                    cut = true;
                }
            }
            for (ticket, answer) in answers {
                match (&answer, preparing.remove(&ticket), ending.remove(&ticket)) {
                    (Answer::Appended(_), Some(body), _) => known.push((body, half_of(&answer))),
                    (Answer::Done, _, Some((body, decision))) => {
                        let before = decided.insert(body.clone(), decision);
                        prop_assert_eq!(before, None, "{} is decided twice", body);
                    }
                    _ => {}
                }
            }
            if cut && rig.disk.is_cut() {
                rig = reopen(rig, SimDisk::power_cut);
                cut = false;
            }
        }
        if cut {
            rig = reopen(rig, SimDisk::power_cut);
        }
        rig.flush();
        // Whoever was not answered tries again.
        for (body, half) in &known {
            if !decided.contains_key(body) {
                let (half, at) = (half.offset, half.at);
                let end = EndTransaction { group: GROUP, half, at, decision: Decision::Commit };
                let (_, out) = rig.ask(Request::EndTransaction(end));
                let refused = rig.finish_burst(out).iter().any(|(_, answer)| {
                    matches!(answer, Answer::Refused(_))
                });
                rig.flush();
                // It was decided, although the answer was lost.
                if !refused {
                    asked_to_commit.insert(body.clone());
                    decided.insert(body.clone(), Decision::Commit);
                }
            }
        }
        let there = rig.bodies_in("orders");
        let once: BTreeSet<&String> = there.iter().collect();
        prop_assert_eq!(once.len(), there.len(), "{:?}", &there);
        for (body, decision) in &decided {
            prop_assert_eq!(once.contains(body), *decision == Decision::Commit, "{}", body);
        }
        prop_assert!(there.iter().all(|body| asked_to_commit.contains(body)), "{:?}", &there);
    }
}
