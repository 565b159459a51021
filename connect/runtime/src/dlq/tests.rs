//! Letters of one of three sinks, replayed and dropped, crashed at any point.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use millrace_client::Append;
use millrace_client::Outgoing;
use millrace_config::Pipeline;
use millrace_types::{PropertiesBuf, QueueId};

use super::*;
use crate::clock::Clock;
use crate::decompression::tests::{LZ4, frame};
use crate::progress::Summary;
use crate::rng::Rng;
use crate::run::{Connectors, Run, RunOptions, Until};
use crate::testing::{
    Chances, Destination, Files, Line, MemoryBroker, REFUSED_FROM, SYS_FLAG, SimClock, crash_after,
    seeds,
};

/// Three sinks, of which the last one divides by a field.
const BROKEN: &str = r#"
version: 1
pipeline: p
source:
  file: {include: [x], once: true, decode: {json: {}}}
topic: {name: t, queues: 3}
schema: {n: int, kind: string, weight: int}
sinks:
  all:
    parquet: {to: out}
  some:
    where: body.n > 3
    parquet: {to: out}
  ratio:
    where: 50 / body.weight > 0
    parquet: {to: out, partition_by: [kind]}
"#;

/// What the division is replaced by. It is false where `weight` is -1.
const MENDED: &str = "body.weight >= 0";

const SINKS: [&str; 3] = ["all", "some", "ratio"];

fn pipeline(text: &str) -> Arc<Pipeline> {
    let parsed = Pipeline::parse("p.yaml", text.as_bytes(), &|_| None);
    Arc::new(parsed.unwrap_or_else(|report| panic!("{report}")))
}

fn mended() -> Arc<Pipeline> {
    pipeline(&BROKEN.replace("50 / body.weight > 0", MENDED))
}

fn whose() -> Whose {
    Whose { pipeline: "p".to_owned(), sink: "ratio".to_owned() }
}

/// Lines of which some have a weight of 0, some are no JSON, and some no destination takes. A
/// letter of the first kind comes through once the pipeline is mended.
fn lines(rng: &mut Rng) -> Files {
    let line = |rng: &mut Rng, n: i64| {
        let n = if rng.below(15) == 0 { n + REFUSED_FROM } else { n };
        let kind = ["a", "b"][rng.below(2) as usize];
        let weight = [0, 0, 1, 9][rng.below(4) as usize];
        let text = match rng.below(15) {
            0 => format!("broken {n}"),
            _ => format!(r#"{{"n":{n},"kind":"{kind}","weight":{weight}}}"#),
        };
        Line { text, readable: true }
    };
    let files = ["x", "y"].map(|name| {
        let from = 1 + rng.below(1000) as i64 * 100;
        let lines = (0..20 + rng.below(20) as i64).map(|n| line(rng, from + n));
        (name.to_owned(), lines.collect())
    });
    Files::new(BTreeMap::from(files))
}

/// Everything that outlives a crash.
struct World {
    broker: Arc<MemoryBroker>,
    destination: Destination,
    clock: Arc<SimClock>,
    workers: u64,
}

type Rows = BTreeSet<(u32, u64, i64)>;

impl World {
    fn new(seed: u64, unavailable: u64) -> Self {
        Self {
            broker: MemoryBroker::new(seed, Chances::default()),
            destination: Destination::new(seed ^ 1, unavailable),
            clock: Arc::new(SimClock::new()),
            workers: 0,
        }
    }

    /// One in which the broken pipeline has run.
    async fn with_letters(seed: u64, unavailable: u64) -> Self {
        let mut world = Self::new(seed, unavailable);
        let files = lines(&mut Rng::new(seed));
        world.run(&files).finish().await.unwrap();
        world
    }

    fn broker(&self) -> Arc<dyn Broker> {
        Arc::clone(&self.broker) as Arc<dyn Broker>
    }

    fn options(&mut self) -> RunOptions {
        self.workers += 1;
        RunOptions {
            seed: self.workers,
            until: Until::Stopped,
            clock: Arc::clone(&self.clock) as Arc<dyn Clock>,
            ..RunOptions::new(format!("worker-{}", self.workers))
        }
    }

    fn run(&mut self, files: &Files) -> Run {
        let options = self.options();
        let source = Some(files.source(self.workers));
        let connectors = Connectors { source, sink: self.sinks() };
        Run::new(pipeline(BROKEN), self.broker(), connectors, options)
    }

    /// What another producer sends: system flags and bodies, into one queue.
    async fn send(&self, messages: &[(u32, Vec<u8>)]) {
        let (topic, queue) = (TopicName::parse("t").unwrap(), QueueId(0));
        self.broker.ensure_topic(&topic, 3).await.unwrap();
        let messages = messages.iter().map(|(sys_flag, body)| {
            let mut properties = PropertiesBuf::new();
            properties.push(SYS_FLAG, &sys_flag.to_string());
            Outgoing {
                topic: topic.clone(),
                queue,
                body: body.clone().into(),
                properties: properties.into_bytes().into(),
                born_at_ms: 1,
            }
        });
        let append = Append { messages: messages.collect(), fence: None, wait: Wait::Durable };
        self.broker.append(append).await.unwrap();
    }

    /// Runs the broken pipeline over what is in the topic.
    async fn drain(&mut self) -> Summary {
        let options = RunOptions { until: Until::Drained, ..self.options() };
        let connectors = Connectors { source: None, sink: self.sinks() };
        let run = Run::new(pipeline(BROKEN), self.broker(), connectors, options);
        run.finish().await.unwrap()
    }

    fn sinks(&self) -> crate::OpenSink {
        let mut plain = self.destination.sinks(None);
        let mut by_kind = self.destination.sinks(Some("kind"));
        Box::new(
            move |opening| {
                if opening.name == "ratio" { by_kind(opening) } else { plain(opening) }
            },
        )
    }

    fn replay(
        &mut self,
        selected: Selected,
    ) -> impl Future<Output = Result<Replayed, RunError>> + use<> {
        let options = self.options();
        let replay = replay(mended(), "ratio", self.broker(), self.sinks(), selected, options);
        async move { Ok(replay.await?.expect("there are letters")) }
    }

    async fn dropping(&mut self, condition: Option<&str>) -> Drops {
        self.workers += 1;
        let condition = condition.map(|text| Condition::parse(text).unwrap());
        let worker = format!("worker-{}", self.workers);
        let drops = drop_letters(&self.broker(), &whose(), condition.as_ref(), &worker).await;
        drops.unwrap().unwrap()
    }

    /// Offset, fate and code of each letter.
    async fn letters(&self) -> Vec<(u64, Fate, String)> {
        let mut letters = Vec::new();
        let mut each = |letter: Letter<'_>| {
            letters.push((letter.at.0, letter.fate, letter.code().unwrap_or_default().to_owned()));
        };
        read(&self.broker(), &whose(), &mut each).await.unwrap();
        letters
    }

    /// How many letters have this fate and code.
    async fn count(&self, fate: Fate, code: &str) -> u64 {
        let letters = self.letters().await;
        letters.iter().filter(|letter| letter.1 == fate && letter.2 == code).count() as u64
    }

    /// The rows of a sink, none of them twice.
    #[track_caller]
    fn rows(&self, sink: &str, seed: u64) -> Rows {
        let rows = self.destination.rows(sink);
        let distinct: Rows = rows.iter().copied().collect();
        assert_eq!(distinct.len(), rows.len(), "seed {seed}: rows twice in {sink}");
        distinct
    }

    /// The messages whose letter in `ratio` the mended pipeline takes, as rows.
    fn mendable(&self) -> Rows {
        let letters = self.broker.messages("%DLQ%p_ratio");
        let letters = letters.iter().filter(|letter| letter.2["dlq_code"] == "E-EVAL-01");
        let rows = letters.map(|(_, _, properties, body)| {
            let number = |name: &str| properties[name].parse().unwrap();
            let body: BTreeMap<String, serde_json::Value> = serde_json::from_slice(body).unwrap();
            (number("dlq_queue") as u32, number("dlq_offset"), body["n"].as_i64().unwrap())
        });
        rows.filter(|row| row.2 < REFUSED_FROM).collect()
    }
}

/// The acceptance test of dead letters: one failing field in a fan-out of three sinks, a mended
/// pipeline, a replay, and a second one.
#[tokio::test(start_paused = true)]
async fn a_replay_brings_the_letters_of_one_sink_to_it_alone() {
    let mut world = World::with_letters(1, 0).await;
    let before = SINKS.map(|sink| world.rows(sink, 1));
    let mendable = world.mendable();
    let failing = world.letters().await.len() - mendable.len();
    assert!(mendable.len() > 5 && failing > 1, "{mendable:?}");

    let rehearsed =
        rehearse(mended(), "ratio", world.broker(), Selected::default(), world.options())
            .await
            .unwrap()
            .unwrap();
    assert_eq!(SINKS.map(|sink| world.rows(sink, 1)), before, "a rehearsal changes nothing");

    let first = world.replay(Selected::default()).await.unwrap();
    assert_eq!((first.rows, first.failed.values().sum()), (mendable.len() as u64, failing as u64));
    assert_eq!((first.tried, first.settled), (first.rows + failing as u64, 0));
    assert!(first.failed.contains_key("E-DECODE-01") && first.failed.contains_key("E-SINK-01"));
    assert_eq!(rehearsed.tried, first.tried);
    assert_eq!(rehearsed.rows, first.rows + first.failed["E-SINK-01"]);
    let [all, some, ratio] = SINKS.map(|sink| world.rows(sink, 1));
    assert_eq!([&all, &some], [&before[0], &before[1]]);
    assert_eq!(ratio, before[2].union(&mendable).copied().collect::<Rows>());
    assert_eq!(world.letters().await.len(), mendable.len() + failing, "no second letter");

    let second = world.replay(Selected::default()).await.unwrap();
    assert_eq!((second.rows, second.tried, second.files), (0, failing as u64, 0));
    assert_eq!(world.rows("ratio", 1), ratio);
}

#[tokio::test(start_paused = true)]
async fn compressed_bodies_are_read_and_those_that_cannot_be_are_letters() {
    let mut world = World::new(1, 0);
    let line = |n: i64, weight: i64| format!(r#"{{"n":{n},"kind":"a","weight":{weight}}}"#);
    let sent = [
        (LZ4, frame(&line(10, 1))),
        (0, line(11, 1).into_bytes()),
        // Together with the first it takes too much memory.
        (LZ4, frame(&line(12, 0))),
        (LZ4, b"no".to_vec()),
        (LZ4, frame(&line(14, 2))),
    ];
    world.send(&sent).await;
    let summary = world.drain().await;
    assert!(summary.balanced, "{summary:?}");
    let rows =
        |offsets: &[u64]| offsets.iter().map(|at| (0, *at, *at as i64 + 10)).collect::<Rows>();
    assert_eq!(world.rows("all", 1), rows(&[0, 1, 2, 4]));
    assert_eq!(world.rows("some", 1), rows(&[0, 1, 2, 4]));
    assert_eq!(world.rows("ratio", 1), rows(&[0, 1, 4]));
    let open = |at, code: &str| (at, Fate::Open, code.to_owned());
    assert_eq!(world.letters().await, [open(0, "E-EVAL-01"), open(1, "E-DECODE-11")]);
    // A letter has the bytes of its message, and says how they are compressed.
    let letters = world.broker.messages("%DLQ%p_ratio");
    for ((_, _, said, body), at) in letters.iter().zip([2, 3]) {
        assert_eq!((&body[..], &*said["dlq_flags"]), (&sent[at].1[..], &*LZ4.to_string()));
    }
    assert_eq!(letters[1].2["dlq_error"], "the body is not what LZ4 makes");

    let replayed = world.replay(Selected::default()).await.unwrap();
    assert_eq!(
        (replayed.rows, &replayed.failed),
        (1, &BTreeMap::from([("E-DECODE-11".into(), 1)]))
    );
    assert_eq!(world.rows("ratio", 1), rows(&[0, 1, 2, 4]));
}

/// One seed: replays that crash at random points, beside each other or not, then one to the end.
/// Answers whether one was fenced off and one was settled.
async fn crash_and_replay(seed: u64) -> (bool, bool) {
    let mut rng = Rng::new(seed);
    let bad = rng.below(2) * 15;
    let mut world = World::with_letters(seed, bad).await;
    let before = SINKS.map(|sink| world.rows(sink, seed));
    let mendable = world.mendable();
    let letters = world.broker.messages("%DLQ%p_ratio").len();
    let (mut fenced, mut settled) = (false, false);
    let mut take = |ended: Result<Replayed, RunError>| match ended {
        Ok(replayed) => settled |= replayed.settled > 0,
        Err(RunError::Fenced { .. }) => fenced = true,
        // Its staging was swept away under its hands.
        Err(RunError::Sink { .. }) => {}
        Err(error) => panic!("seed {seed}: {error:?}"),
    };
    world.broker.set_chances(Chances {
        unreachable: bad,
        answer_lost: bad,
        request_lost: bad,
        late: bad,
        disk_full: bad,
    });
    for _ in 0..rng.below(6) {
        let limit = (rng.below(3) == 0).then(|| rng.below(6));
        let selected = Selected { limit, ..Selected::default() };
        let mut first = Box::pin(world.replay(selected));
        let scale = 3 + rng.below(7);
        let polls = 1 + rng.below(1 << scale);
        if let Some(ended) = crash_after(&mut first, polls).await {
            take(ended);
        } else if rng.below(3) == 0 {
            let (first, second) = tokio::join!(first, world.replay(Selected::default()));
            take(first);
            take(second);
        }
        match rng.below(4) {
            0 => world.broker.cut_power(),
            1 => world.broker.settle(),
            _ => {}
        }
        let rows = world.rows("ratio", seed);
        let more: Rows = rows.difference(&before[2]).copied().collect();
        assert!(more.is_subset(&mendable), "seed {seed}: {more:?}");
    }
    let last = world.replay(Selected::default()).await;
    take(last);
    world.broker.set_chances(Chances::default());
    let [all, some, ratio] = SINKS.map(|sink| world.rows(sink, seed));
    assert_eq!([&all, &some], [&before[0], &before[1]], "seed {seed}");
    assert_eq!(ratio, before[2].union(&mendable).copied().collect::<Rows>(), "seed {seed}");
    let fates = world.letters().await;
    assert_eq!(fates.len(), letters, "seed {seed}: a second letter");
    let replayed = fates.iter().filter(|letter| letter.1 == Fate::Replayed).count();
    assert_eq!(replayed, mendable.len(), "seed {seed}");
    let open = fates.iter().filter(|letter| letter.1 == Fate::Open).count();
    assert_eq!(replayed + open, letters, "seed {seed}: {fates:?}");
    assert_eq!(world.destination.staged(), Vec::<String>::new(), "seed {seed}");
    let again = world.replay(Selected::default()).await.unwrap();
    assert_eq!((again.rows, again.settled), (0, 0), "seed {seed}");
    (fenced, settled)
}

#[tokio::test(start_paused = true)]
async fn whatever_crashes_a_letter_is_replayed_once() {
    let (mut fenced, mut settled) = (0, 0);
    for seed in seeds(300) {
        let (was_fenced, was_settled) = crash_and_replay(seed).await;
        fenced += u64::from(was_fenced);
        settled += u64::from(was_settled);
    }
    let is_one = std::env::var("MILLRACE_SEED").is_ok();
    assert!(is_one || (fenced > 0 && settled > 0), "{fenced} fenced, {settled} settled");
}

/// A crash after each step of one replay, and the log cut to what is durable or not at all.
#[tokio::test(start_paused = true)]
async fn a_crash_after_any_step_of_a_replay_changes_nothing() {
    for cut in [false, true] {
        for polls in 1.. {
            let mut world = World::with_letters(5, 0).await;
            let before = world.rows("ratio", polls);
            let expected: Rows = before.union(&world.mendable()).copied().collect();
            let ended = crash_after(world.replay(Selected::default()), polls).await;
            if cut {
                world.broker.cut_power();
            }
            world.replay(Selected::default()).await.unwrap();
            assert_eq!(world.rows("ratio", polls), expected, "crash after {polls} polls");
            if ended.is_some() {
                assert!(polls > 20, "it ended after {polls} polls");
                break;
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_replay_takes_no_lease_from_a_run() {
    for seed in seeds(50) {
        let mut world = World::with_letters(seed, 0).await;
        let mendable = world.mendable();
        let more = lines(&mut Rng::new(seed + 1_000));
        let files = Files::new(more.named("more-").collect());
        let mut run = Box::pin(world.run(&files).finish());
        assert!(crash_after(&mut run, 30 + seed).await.is_none(), "seed {seed}: it has ended");
        let (ran, replayed) = tokio::join!(run, world.replay(Selected::default()));
        assert!(ran.unwrap().balanced, "seed {seed}");
        assert!(replayed.unwrap().rows >= mendable.len() as u64, "seed {seed}");
        assert!(world.rows("ratio", seed).is_superset(&mendable), "seed {seed}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_meant_is_replayed() {
    let mut world = World::with_letters(2, 0).await;
    let condition = Condition::parse("dlq_code <> 'E-EVAL-01'").unwrap();
    let selected = Selected { condition: Some(condition), limit: None };
    let replayed = world.replay(selected).await.unwrap();
    assert_eq!(replayed.rows, 0);
    assert!(!replayed.failed.is_empty());
    let selected = Selected { condition: None, limit: Some(3) };
    assert_eq!(world.replay(selected).await.unwrap().tried, 3);
}

/// What the steps take out on purpose now is done with.
#[tokio::test(start_paused = true)]
async fn what_is_filtered_now_is_replayed_without_a_row() {
    let mut world = World::with_letters(3, 0).await;
    let rows = world.rows("ratio", 3);
    let open = world.count(Fate::Open, "E-EVAL-01").await;
    let filters = pipeline(&BROKEN.replace("50 / body.weight > 0", "body.weight > 0"));
    let (broker, sinks, options) = (world.broker(), world.sinks(), world.options());
    let replayed = replay(filters, "ratio", broker, sinks, Selected::default(), options);
    let replayed = replayed.await.unwrap().unwrap();
    assert_eq!((replayed.rows, replayed.files), (0, 0));
    assert_eq!(replayed.filtered.values().sum::<u64>(), open);
    assert_eq!(world.count(Fate::Replayed, "E-EVAL-01").await, open);
    assert_eq!(world.rows("ratio", 3), rows);
}

#[tokio::test(start_paused = true)]
async fn what_is_dropped_is_not_replayed() {
    let mut world = World::with_letters(4, 0).await;
    let rows = world.rows("ratio", 4);
    let open = world.count(Fate::Open, "E-EVAL-01").await;
    let drops = world.dropping(Some("dlq_code = 'E-EVAL-01'")).await;
    assert_eq!(drops, Drops { dropped: open, unsettled: 0 });
    assert_eq!(world.replay(Selected::default()).await.unwrap().rows, 0);
    assert_eq!(world.rows("ratio", 4), rows);
    assert_eq!(world.count(Fate::Dropped, "E-EVAL-01").await, open);
    // What is replayed cannot be dropped any more.
    let mut world = World::with_letters(4, 0).await;
    let replayed = world.replay(Selected::default()).await.unwrap();
    let drops = world.dropping(None).await;
    assert_eq!(drops.dropped, replayed.failed.values().sum::<u64>());
}

/// A replay that planned parts and is gone.
async fn unsettled(seed: u64) -> World {
    let mut world = World::with_letters(seed, 0).await;
    let mut replay = Box::pin(world.replay(Selected::default()));
    while world.count(Fate::Unsettled, "E-EVAL-01").await == 0 {
        assert!(crash_after(&mut replay, 1).await.is_none(), "it ended before that");
    }
    world
}

#[tokio::test(start_paused = true)]
async fn what_a_replay_has_begun_with_is_not_dropped() {
    let mut world = unsettled(6).await;
    let rows: Rows = world.rows("ratio", 6).union(&world.mendable()).copied().collect();
    let begun = world.count(Fate::Unsettled, "E-EVAL-01").await;
    let drops = world.dropping(None).await;
    assert_eq!(drops.unsettled, begun);
    let replayed = world.replay(Selected::default()).await.unwrap();
    assert_eq!((replayed.settled, replayed.tried), (begun, 0));
    assert!(world.rows("ratio", 6).is_subset(&rows));
    assert_eq!(world.count(Fate::Replayed, "E-EVAL-01").await, begun);
}

/// Somebody removes what a replay has staged before it is visible.
#[tokio::test(start_paused = true)]
async fn letters_whose_parts_are_gone_are_replayed_again() {
    let mut world = unsettled(7).await;
    let rows: Rows = world.rows("ratio", 7).union(&world.mendable()).copied().collect();
    assert!(world.destination.staged().len() > 1);
    world.destination.lose_staged(|_| true);
    let replayed = world.replay(Selected::default()).await.unwrap();
    assert_eq!(replayed.settled, 0);
    assert_eq!(world.rows("ratio", 7), rows);
}

#[tokio::test(start_paused = true)]
async fn a_sink_of_another_kind_does_not_settle_files() {
    let mut world = unsettled(10).await;
    let text = BROKEN.replace("50 / body.weight > 0", MENDED);
    let other = text.replace("    parquet: {to: out, partition_by: [kind]}", "    blackhole: {}");
    assert_ne!(text, other);
    let (broker, sinks, options) = (world.broker(), world.sinks(), world.options());
    let selected = Selected::default();
    match replay(pipeline(&other), "ratio", broker, sinks, selected, options).await {
        Err(RunError::Setup(reason)) => assert!(reason.contains("the earlier file"), "{reason}"),
        other => panic!("{other:?}"),
    }
    let rows: Rows = world.rows("ratio", 10).union(&world.mendable()).copied().collect();
    world.replay(Selected::default()).await.unwrap();
    assert_eq!(world.rows("ratio", 10), rows);
}

/// Of two parts one is visible and the other one is gone: no program can know which letters that
/// leaves.
#[tokio::test(start_paused = true)]
async fn a_torn_replay_needs_a_person() {
    let mut world = World::with_letters(8, 0).await;
    let mut replay = Box::pin(world.replay(Selected::default()));
    let is_dlq = |name: &String| name.contains("_dlq");
    while !world.destination.visible().iter().any(is_dlq) {
        assert!(crash_after(&mut replay, 1).await.is_none(), "it ended before that");
    }
    std::mem::drop(replay);
    assert!(world.destination.staged().iter().any(|name| name.contains("_dlq")));
    world.destination.lose_staged(|_| true);
    match world.replay(Selected::default()).await {
        Err(RunError::ReplayTorn { sink, gone, visible }) => {
            assert_eq!((sink.as_str(), gone == visible), ("ratio", false));
        }
        other => panic!("{other:?}"),
    }
}

/// Messages that Apache RocketMQ's tools, or people, put beside the letters.
#[tokio::test(start_paused = true)]
async fn what_is_no_letter_is_told_and_stays() {
    let mut world = World::with_letters(9, 0).await;
    let message = Outgoing {
        topic: whose().topic().unwrap(),
        queue: letter::QUEUE,
        body: Bytes::from_static(b"mine"),
        properties: Bytes::new(),
        born_at_ms: 0,
    };
    let append = Append { messages: [message].into(), fence: None, wait: Wait::Policy };
    world.broker.append(append).await.unwrap();
    let replayed = world.replay(Selected::default()).await.unwrap();
    assert_eq!(replayed.failed["E-DLQ-01"], 1);
    assert_eq!(world.count(Fate::Open, "").await, 1);
}

#[tokio::test(start_paused = true)]
async fn sinks_without_letters_have_nothing_to_replay() {
    let mut world = World::new(1, 0);
    let (broker, sinks, options) = (world.broker(), world.sinks(), world.options());
    let replayed = replay(mended(), "ratio", broker, sinks, Selected::default(), options).await;
    assert_eq!(replayed.unwrap(), None);
    assert_eq!(drop_letters(&world.broker(), &whose(), None, "w").await.unwrap(), None);
    assert_eq!(world.broker.messages(ledger::TOPIC).len(), 0);
}
