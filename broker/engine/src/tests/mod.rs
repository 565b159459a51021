//! The engine on a simulated disk, driven call by call.

mod attached; // filters beside those of subscriptions
mod deletions; // topics that are gone
mod deliveries; // delayed messages
mod letters; // messages whose consumption failed
mod limits; // what clients may make the broker remember
mod next_removal; // what would go, told without a broker
mod offsets; // how far groups have got
#[cfg(feature = "faults")]
mod plants; // a mistake made on purpose
mod retention; // what goes, and when
mod snapshots; // the broker's own state
mod transactions; // messages whose producer decides

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use millrace_disk::{Disk, Fault, SimDisk};
use millrace_store::{FlushMode, Flusher, Store, StoreConfig};
use millrace_types::{
    GroupName, Now, PhysicalOffset, QueueId, QueueOffset, TopicName, keys, record,
};

use crate::*;

struct Rig {
    disk: SimDisk,
    engine: Engine,
    flusher: Flusher,
    now: Now,
    tickets: u64,
}

impl Rig {
    fn new(flush: FlushMode) -> Self {
        Self::open(SimDisk::new(1), flush)
    }

    fn open(disk: SimDisk, flush: FlushMode) -> Self {
        Self::open_with(disk, flush, EngineConfig::default())
    }

    fn open_with(disk: SimDisk, flush: FlushMode, config: EngineConfig) -> Self {
        Self::try_open(disk, flush, config).unwrap()
    }

    fn try_open(
        disk: SimDisk,
        flush: FlushMode,
        config: EngineConfig,
    ) -> Result<Self, OpenEngineError> {
        let store = StoreConfig { segment_bytes: 64 << 10, flush, ..StoreConfig::default() };
        Self::open_store(disk, store, config)
    }

    fn open_store(
        disk: SimDisk,
        store: StoreConfig,
        config: EngineConfig,
    ) -> Result<Self, OpenEngineError> {
        let shared: Arc<dyn Disk> = Arc::new(disk.clone());
        let (store, flusher, _) = Store::open(shared, Path::new("/data"), store).unwrap();
        let engine = Engine::open(store, config, Arc::new(NoConditions))?;
        let now = Now { mono_ms: 1_000, wall_ms: 1_700_000_000_000 };
        Ok(Self { disk, engine, flusher, now, tickets: 0 })
    }

    fn restart(self) -> Self {
        let disk = self.disk.kill();
        self.restart_on(disk).unwrap()
    }

    /// The next process, with the same settings, on what is left of the disk.
    fn restart_on(self, disk: SimDisk) -> Result<Self, OpenEngineError> {
        let (flush, config) = (self.engine.store.config().flush, self.engine.config.clone());
        drop((self.engine, self.flusher));
        Self::try_open(disk, flush, config)
    }

    /// Time passes, and what that appends is made durable.
    fn let_pass(&mut self, ms: u64) {
        self.now.mono_ms += ms;
        self.now.wall_ms += ms as i64;
        let mut out = Out::default();
        self.engine.on_tick(self.now, &mut out);
        self.engine.commit(self.now, &mut out);
        self.flush();
        self.flusher.housekeep();
    }

    fn ask(&mut self, request: Request<'_>) -> (Ticket, Out) {
        self.tickets += 1;
        let mut out = Out::default();
        let caller = Caller {
            connection: ConnectionId(7),
            peer: ([127, 0, 0, 1], 5).into(),
            principal: Principal::Anonymous,
        };
        let ticket = Ticket(self.tickets);
        self.engine.handle(self.now, &caller, ticket, request, &mut out);
        (ticket, out)
    }

    /// One request in a burst of its own.
    fn call(&mut self, request: Request<'_>) -> Option<Answer> {
        let (ticket, out) = self.ask(request);
        self.finish_burst(out)
            .into_iter()
            .find(|(known, _)| *known == ticket)
            .map(|(_, answer)| answer)
    }

    /// Reads what the engine asked for, ends the burst, and gives the answers.
    fn finish_burst(&mut self, mut out: Out) -> Vec<(Ticket, Answer)> {
        for read in std::mem::take(&mut out.reads) {
            let found = read.run(&self.engine.reader());
            self.engine.on_read(self.now, read.id, found, &mut out);
        }
        self.engine.commit(self.now, &mut out);
        out.answers
    }

    /// Lets the engine see that it is now.
    fn tick(&mut self) -> Vec<(Ticket, Answer)> {
        let mut out = Out::default();
        self.engine.on_tick(self.now, &mut out);
        self.finish_burst(out)
    }

    /// Lets time pass on both clocks.
    fn pass(&mut self, ms: u64) {
        self.now.mono_ms += ms;
        self.now.wall_ms += ms as i64;
    }

    fn flush(&mut self) -> Vec<(Ticket, Answer)> {
        let mut out = Out::default();
        match self.flusher.flush() {
            Ok(_) => self.engine.on_durable(self.now, &mut out),
            Err(error) => self.engine.on_flush_failed(&error.to_string(), &mut out),
        }
        out.answers
    }

    fn send(&mut self, topic: &str, queue: u32, body: &[u8], tag: &str) -> Option<Answer> {
        let properties = format!("TAGS\x01{tag}\x02");
        let message = message(topic, queue, body, properties.as_bytes());
        self.call(Request::Append(append(&[message])))
    }

    fn pull(&mut self, queue: u32, from: u64, filter: Filter, hold_ms: u64) -> Option<Answer> {
        self.call(Request::Pull(pull(queue, from, filter, hold_ms)))
    }

    fn bodies(&self, answer: Answer) -> Vec<Vec<u8>> {
        let Answer::Found(found) = answer else { panic!("{answer:?}") };
        let runs = self.engine.reader().read(&found.plan.entries).unwrap();
        let runs = finish(&found.verdicts, runs);
        runs.iter().flat_map(|run| record::iter(run)).map(|r| r.unwrap().body().to_vec()).collect()
    }
}

const ASYNC: FlushMode = FlushMode::Async { interval: Duration::from_millis(500) };

fn message<'a>(topic: &'a str, queue: u32, body: &'a [u8], properties: &'a [u8]) -> Message<'a> {
    Message {
        topic,
        queue: Some(QueueId(queue)),
        flag: 0,
        sys_flag: 0,
        born_at_ms: 1,
        reconsume_times: 0,
        body,
        properties,
        delay: Delay::None,
    }
}

fn append<'a>(messages: &'a [Message<'a>]) -> Append<'a> {
    Append {
        messages,
        fence: None,
        wait: Wait::Policy,
        create_queues: Some(4),
        origin: Origin::Producer,
    }
}

fn pull(queue: u32, from: u64, filter: Filter, hold_ms: u64) -> Pull<'static> {
    Pull {
        topic: "orders",
        queue: QueueId(queue),
        from: QueueOffset(from),
        count_max: 32,
        bytes_max: 1 << 20,
        filter,
        hold: PullHold::For(hold_ms),
        asker: None,
    }
}

fn offset_of(answer: Option<Answer>) -> u64 {
    match answer {
        Some(Answer::Appended(places)) => places[0].1.queue_offset.0,
        other => panic!("{other:?}"),
    }
}

fn refusal(answer: Option<Answer>) -> Refusal {
    match answer {
        Some(Answer::Refused(refusal)) => refusal,
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_is_sent_is_pulled() {
    let mut rig = Rig::new(ASYNC);
    assert_eq!(offset_of(rig.send("orders", 1, b"a", "x")), 0);
    assert_eq!(offset_of(rig.send("orders", 1, b"b", "y")), 1);
    let answer = rig.pull(1, 0, Filter::All, 0).unwrap();
    assert_eq!(rig.bodies(answer), [b"a", b"b"]);
    let answer = rig.pull(1, 0, Filter::tags("y || z"), 0).unwrap();
    assert_eq!(rig.bodies(answer), [b"b"]);
    let status = |answer| match answer {
        Some(Answer::NotFound { status, next, .. }) => (status, next.0),
        other => panic!("{other:?}"),
    };
    assert_eq!(status(rig.pull(1, 2, Filter::All, 0)), (PullStatus::AtEnd, 2));
    assert_eq!(status(rig.pull(1, 9, Filter::All, 0)), (PullStatus::BeyondEnd, 2));
    assert_eq!(status(rig.pull(0, 0, Filter::All, 0)), (PullStatus::Empty, 0));
    assert_eq!(status(rig.pull(1, 0, Filter::tags("none"), 0)), (PullStatus::NoneMatched, 2));
}

#[test]
fn a_pull_that_wants_nothing_of_what_is_there_is_told_at_once_where_to_go_on() {
    let mut rig = Rig::new(ASYNC);
    rig.send("orders", 0, b"a", "x");
    let answer = rig.pull(0, 0, Filter::tags("y"), 10_000);
    let Some(Answer::NotFound { status: PullStatus::NoneMatched, next, .. }) = answer else {
        panic!("{answer:?}");
    };
    assert!(rig.pull(0, next.0, Filter::tags("y"), 10_000).is_none(), "held");
}

#[test]
fn in_sync_mode_nothing_is_answered_or_seen_before_it_is_durable() {
    let mut rig = Rig::new(FlushMode::Sync);
    let answer = rig.call(Request::EnsureTopic { topic: &topic("orders"), queues: 1 });
    assert!(answer.is_none());
    assert_eq!(rig.flush().len(), 1);

    assert!(rig.send("orders", 0, b"a", "x").is_none());
    assert!(matches!(rig.pull(0, 0, Filter::All, 0), Some(Answer::NotFound { .. })));
    assert!(rig.pull(0, 0, Filter::All, 10_000).is_none(), "held");
    let answers = rig.flush();
    assert!(matches!(answers[0].1, Answer::Appended(_)), "{answers:?}");
    assert!(matches!(answers[1].1, Answer::Found(_)), "{answers:?}");
}

#[test]
fn a_producer_that_waits_too_long_is_told_that_its_message_is_stored() {
    let mut rig = Rig::new(FlushMode::Sync);
    assert!(rig.send("orders", 0, b"a", "x").is_none());
    rig.now.mono_ms += 5_000;
    let mut out = Out::default();
    rig.engine.on_tick(rig.now, &mut out);
    assert!(matches!(out.answers[0].1, Answer::NotYetDurable(_)), "{out:?}");
    assert!(rig.flush().is_empty());
}

#[test]
fn whoever_asks_for_durability_gets_it_in_async_mode_too() {
    let mut rig = Rig::new(ASYNC);
    rig.send("orders", 0, b"a", "x");
    let messages = [message("orders", 0, b"b", b"")];
    let request = Append { wait: Wait::Durable, ..append(&messages) };
    assert!(rig.call(Request::Append(request)).is_none());
    assert!(matches!(rig.flush()[0].1, Answer::Appended(_)));
}

#[test]
fn a_failed_flush_answers_everybody_who_waits() {
    let mut rig = Rig::new(FlushMode::Sync);
    assert!(rig.send("orders", 0, b"a", "x").is_none());
    rig.disk.inject(Fault::FailSync { nth: 1 });
    let answers = rig.flush();
    assert!(matches!(answers[0].1, Answer::Refused(Refusal::Poisoned(_))), "{answers:?}");
    assert!(matches!(refusal(rig.send("orders", 0, b"b", "x")), Refusal::Poisoned(_)));
}

#[test]
fn producers_are_turned_away_while_the_disk_does_not_keep_up() {
    let store = StoreConfig {
        segment_bytes: 64 << 10,
        flush: ASYNC,
        unflushed_bytes_max: 1_000,
        ..StoreConfig::default()
    };
    let mut rig = Rig::open_store(SimDisk::new(1), store, EngineConfig::default()).unwrap();
    let body = [0; 500];
    assert_eq!(offset_of(rig.send("orders", 0, &body, "x")), 0);
    assert_eq!(offset_of(rig.send("orders", 0, &body, "x")), 1);
    let refusal = refusal(rig.send("orders", 0, &body, "x"));
    assert_eq!(refusal.to_string(), "[REJECTREQUEST]system busy, start flow control for a while");
    let messages = [message("orders", 0, b"from a pipeline", b"")];
    let request = Append { origin: Origin::Pipeline, ..append(&messages) };
    assert!(matches!(rig.call(Request::Append(request)), Some(Answer::Appended(_))));
    rig.flush();
    assert_eq!(offset_of(rig.send("orders", 0, &body, "x")), 3);
}

#[test]
fn producers_are_turned_away_while_the_index_takes_too_much_memory() {
    let store = StoreConfig { flush: ASYNC, index_bytes_max: 4 << 20, ..StoreConfig::default() };
    let store = StoreConfig { segment_bytes: 8 << 20, ..store };
    let mut rig = Rig::open_store(SimDisk::new(1), store, EngineConfig::default()).unwrap();
    let properties = format!("{}\x01{}\x02", keys::KEYS, vec!["k"; 15_000].join(" "));
    let send = |rig: &mut Rig| {
        let messages = [message("orders", 0, b"x", properties.as_bytes())];
        rig.call(Request::Append(append(&messages)))
    };
    for round in 0..3 {
        // 15,000 keys of 16 bytes each.
        let refused = (0..20).find_map(|_| match send(&mut rig) {
            Some(Answer::Refused(refusal)) => Some(refusal.to_string()),
            _ => None,
        });
        let expected = "[REJECTREQUEST]system busy, start flow control for a while";
        assert_eq!(refused.as_deref(), Some(expected), "round {round}");
        // Nobody appends in between.
        rig.flush();
        rig.flusher.housekeep();
        assert!(matches!(send(&mut rig), Some(Answer::Appended(_))), "round {round}");
    }
}

#[test]
fn a_held_pull_is_answered_by_the_message_it_waits_for() {
    let mut rig = Rig::new(ASYNC);
    rig.send("orders", 0, b"a", "x");
    let (first, out) = rig.ask(Request::Pull(pull(0, 1, Filter::All, 10_000)));
    assert!(out.answers.is_empty());
    let messages = [message("orders", 0, b"b", b"")];
    let (_, mut out) = rig.ask(Request::Append(append(&messages)));
    assert!(out.answers.is_empty(), "nothing before the burst is written");
    rig.engine.commit(rig.now, &mut out);
    assert_eq!(out.answers.len(), 2);
    assert_eq!(out.answers[1].0, first);
}

#[test]
fn a_held_pull_expires_at_its_deadline() {
    let mut rig = Rig::new(ASYNC);
    rig.send("orders", 0, b"a", "x");
    assert!(rig.pull(0, 1, Filter::All, 500).is_none());
    let mut out = Out::default();
    rig.engine.on_tick(Now { mono_ms: 1_499, ..rig.now }, &mut out);
    assert!(out.answers.is_empty());
    rig.engine.on_tick(Now { mono_ms: 1_500, ..rig.now }, &mut out);
    assert_eq!(out.answers.len(), 1);
}

#[test]
fn a_group_to_several_topics_is_one() {
    let mut rig = Rig::new(ASYNC);
    rig.send("orders", 0, b"a", "x");
    let messages = [message("orders", 0, b"b", b""), message("other", 3, b"c", b"")];
    let answer = rig.call(Request::Append(append(&messages)));
    let Some(Answer::Appended(places)) = answer else { panic!("{answer:?}") };
    assert_eq!((places[0].1.queue_offset.0, places[1].1.queue_offset.0), (1, 0));
    let illegal = [message("orders", 0, b"d", b""), message("orders", 9, b"e", b"")];
    let answer = rig.call(Request::Append(append(&illegal)));
    assert!(matches!(refusal(answer), Refusal::NoSuchQueue { .. }));
    assert_eq!(offset_of(rig.send("orders", 0, b"f", "x")), 2);
}

#[test]
fn a_fence_lets_only_the_expected_epoch_through() {
    let mut rig = Rig::new(ASYNC);
    let ledger = topic("MILLRACE_LEDGER");
    rig.call(Request::EnsureTopic { topic: &ledger, queues: 2 });
    let take = |rig: &mut Rig, expected: u64, properties: &[u8]| {
        let messages = [message("MILLRACE_LEDGER", 1, b"lease", properties)];
        let fence = Fence { topic: "MILLRACE_LEDGER", queue: QueueId(1), epoch: expected };
        let request = Append { fence: Some(fence), origin: Origin::Pipeline, ..append(&messages) };
        rig.call(Request::Append(request))
    };
    let epoch = |n: u64| format!("{}\x01{n}\x02", keys::EPOCH).into_bytes();
    assert_eq!(offset_of(take(&mut rig, 0, &epoch(1))), 0);
    assert_eq!(offset_of(take(&mut rig, 1, &epoch(1))), 1);
    assert_eq!(offset_of(take(&mut rig, 1, &epoch(2))), 2);
    assert_eq!(refusal(take(&mut rig, 1, &epoch(1))), Refusal::Fenced { current: 2 });
    let mut rig = rig.restart();
    assert_eq!(refusal(take(&mut rig, 1, &epoch(1))), Refusal::Fenced { current: 2 });
    assert_eq!(offset_of(take(&mut rig, 2, &epoch(2))), 3);
}

#[test]
fn the_brokers_own_topics_are_closed_to_producers() {
    let mut rig = Rig::new(ASYNC);
    let ledger = topic("MILLRACE_LEDGER");
    rig.call(Request::EnsureTopic { topic: &ledger, queues: 1 });
    for topic in ["MILLRACE_LEDGER", "MILLRACE_META"] {
        assert!(matches!(refusal(rig.send(topic, 0, b"x", "x")), Refusal::NotWritable(_)));
    }
    assert!(matches!(refusal(rig.send("MILLRACE_NEW", 0, b"x", "x")), Refusal::UnknownTopic(_)));
    assert!(matches!(refusal(rig.send("a.b", 0, b"x", "x")), Refusal::IllegalTopic(_)));
}

#[test]
fn topics_and_offsets_survive_a_restart() {
    let mut rig = Rig::new(ASYNC);
    rig.call(Request::EnsureTopic { topic: &topic("orders"), queues: 3 });
    rig.call(Request::EnsureTopic { topic: &topic("orders"), queues: 8 });
    rig.send("auto", 2, b"x", "x");
    let group = GroupName::parse("g").unwrap();
    let commit = |offset| Request::CommitOffset {
        group: &group,
        topic: "orders",
        queue: QueueId(7),
        offset: QueueOffset(offset),
    };
    rig.call(commit(5));
    rig.call(commit(9));
    let mut rig = rig.restart();
    let names: Vec<_> = rig.engine.topics().map(|t| (t.name.to_string(), t.write_queues)).collect();
    assert!(names.contains(&("orders".into(), 8)), "{names:?}");
    assert!(names.contains(&("auto".into(), 4)), "{names:?}");
    let ask = Request::GroupOffset { group: &group, topic: "orders", queue: QueueId(7) };
    let answer = rig.call(ask);
    assert!(matches!(answer, Some(Answer::GroupOffset(Some(QueueOffset(9))))), "{answer:?}");
}

#[test]
fn a_condition_decides_over_what_was_read() {
    #[derive(Debug)]
    struct LongBodies;
    impl Verdicts for LongBodies {
        fn verdicts(&self, batch: &[record::Record<'_>], keep: &mut [bool]) {
            for (record, keep) in batch.iter().zip(keep) {
                *keep &= record.body().len() > 1;
            }
        }
    }
    let mut rig = Rig::new(ASYNC);
    rig.send("orders", 0, b"a", "x");
    rig.send("orders", 0, b"bb", "x");
    let answer = rig.pull(0, 0, Filter::Condition(Arc::new(LongBodies)), 0).unwrap();
    assert_eq!(rig.bodies(answer), [b"bb"]);
}

fn topic(name: &str) -> TopicName {
    TopicName::parse(name).unwrap()
}

#[test]
fn what_administrators_set_survives_a_restart() {
    let mut rig = Rig::new(FlushMode::Sync);
    let put = |key, value| Request::PutSetting { space: Space::Group, key, value };
    for (key, value) in [("a", Some("1")), ("b", Some("2")), ("a", Some("3")), ("b", None)] {
        rig.call(put(key, value));
        rig.flush();
    }
    let rig = rig.restart();
    assert_eq!(rig.engine.settings(Space::Group).collect::<Vec<_>>(), [("a", "3")]);
    assert_eq!(rig.engine.setting(Space::NameServer, "a"), None);
}
