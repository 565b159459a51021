//! Whole runs against a broker, a source and sinks in memory, crashed at any point.

mod dedupe; // a step that remembers
mod grown; // a line that goes on after a restart
mod modules; // modules that take long
mod pieces; // rows of which several are made of one message
mod queues; // where records without a key lie
mod standings; // what a source expects

use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::ledger::LedgerState;
use crate::rng::Rng;
use crate::testing::{
    Chances, Destination, Files, Line, MemoryBroker, REFUSED_FROM, SimClock, crash_after, seeds,
};

/// One sink takes everything, the other a part of it; one partitions, and both refuse some rows.
const PIPELINE: &str = r#"
version: 1
pipeline: p
source:
  file: {include: [x], once: true, decode: {json: {}}}
topic: {name: t, queues: 3}
schema: {n: int, kind: string}
steps:
  - filter: body.kind <> 'noise'
  - set: {twice: body.n + body.n}
sinks:
  all:
    parquet: {to: out, rotate: {rows: 5}}
  even:
    where: body.n % 2 = 0
    parquet: {to: out, partition_by: [kind], rotate: {rows: 5}}
"#;

/// The same, with a topic that takes a key and a property from the bodies.
const PROMOTING: &str = r#"
version: 1
pipeline: p
source:
  file: {include: [x], once: true, decode: {json: {}}}
topic: {name: t, queues: 3, key: body.kind, tag: body.kind, properties: {odd: body.n % 2}}
schema: {n: int, kind: string}
steps:
  - filter: body.kind <> 'noise'
sinks:
  all:
    parquet: {to: out, rotate: {rows: 5}}
  even:
    where: odd = 0
    parquet: {to: out, partition_by: [kind], rotate: {rows: 5}}
"#;

fn pipeline(text: &str) -> Arc<Pipeline> {
    let parsed = Pipeline::parse("p.yaml", text.as_bytes(), &|_| None);
    Arc::new(parsed.unwrap_or_else(|report| panic!("{report}")))
}

/// Some files of lines, most of them good.
fn files(rng: &mut Rng) -> Files {
    let mut files = BTreeMap::new();
    let mut n = 0;
    for file in 0..1 + rng.below(3) {
        let mut lines = Vec::new();
        for _ in 0..rng.below(50) {
            n += 1;
            let kind = ["a", "b", "c", "noise"][rng.below(4) as usize];
            let (n, text, readable) = match rng.below(30) {
                0 => (n, Some(format!(r#"{{"n":{n},"kind":"#)), true),
                1 => (REFUSED_FROM + n, None, true),
                2 => (n, None, false),
                _ => (n, None, true),
            };
            let text = text.unwrap_or_else(|| format!(r#"{{"n":{n},"kind":"{kind}"}}"#));
            lines.push(Line { text, readable });
        }
        files.insert(format!("file-{file}"), lines);
    }
    Files::new(files)
}

/// What is to become of a line.
#[derive(Debug, Default, PartialEq, Eq, Clone)]
struct Fate {
    in_topic: bool,
    source_letter: bool,
    /// By sink: visible, or a letter.
    visible: BTreeSet<&'static str>,
    letters: BTreeSet<&'static str>,
}

fn fate(line: &Line, promotes: bool) -> Fate {
    let mut fate = Fate::default();
    let broken = !line.text.ends_with('}');
    if !line.readable || (promotes && broken) {
        fate.source_letter = true;
        return fate;
    }
    fate.in_topic = true;
    if broken {
        fate.letters.extend(["all", "even"]);
        return fate;
    }
    if line.text.contains("noise") {
        return fate;
    }
    let n = number(&line.text);
    let refused = n >= REFUSED_FROM;
    for sink in ["all", "even"] {
        if sink == "all" || n % 2 == 0 {
            if refused {
                fate.letters.insert(sink)
            } else {
                fate.visible.insert(sink)
            };
        }
    }
    fate
}

fn number(text: &str) -> i64 {
    let digits = text.trim_start_matches(r#"{"n":"#);
    digits.split(',').next().unwrap().parse().unwrap()
}

/// Everything that outlives a crash.
struct World {
    broker: Arc<MemoryBroker>,
    destination: Destination,
    files: Files,
    pipeline: Arc<Pipeline>,
    promotes: bool,
    clock: Arc<SimClock>,
    filters: Filters,
    on_loss: OnLoss,
    runs: u64,
}

impl World {
    fn new(text: &str, files: Files, seed: u64, chances: Chances, unavailable: u64) -> Self {
        Self {
            broker: MemoryBroker::new(seed, chances),
            destination: Destination::new(seed ^ 1, unavailable),
            files,
            pipeline: pipeline(text),
            promotes: text == PROMOTING,
            clock: Arc::new(SimClock::new()),
            filters: Filters::default(),
            on_loss: OnLoss::Stop,
            runs: 0,
        }
    }

    fn run(&mut self) -> Run {
        self.runs += 1;
        let connectors = Connectors {
            source: Some(self.files.source(self.runs)),
            sink: self.destination.sinks(None),
        };
        self.run_with(connectors, Until::Stopped)
    }

    /// A run that may crash at any point.
    async fn run_a_while(&mut self, rng: &mut Rng, seed: u64) {
        let run = self.run();
        let scale = 3 + rng.below(8);
        let polls = 1 + rng.below(1 << scale);
        match crash_after(run.finish(), polls).await {
            None => {}
            Some(Ok(summary)) => assert!(summary.balanced, "seed {seed}: {summary:?}"),
            Some(Err(error)) => panic!("seed {seed}: {error:?}"),
        }
    }

    fn run_with(&self, mut connectors: Connectors, until: Until) -> Run {
        let (mut plain, mut by_kind) =
            (self.destination.sinks(None), self.destination.sinks(Some("kind")));
        connectors.sink =
            Box::new(
                move |opening| {
                    if opening.name == "even" { by_kind(opening) } else { plain(opening) }
                },
            );
        let options = RunOptions {
            worker: format!("worker-{}", self.runs),
            seed: self.runs,
            until,
            patience: Patience::ENDLESS,
            clock: Arc::clone(&self.clock) as Arc<dyn Clock>,
            filters: self.filters.clone(),
            anew: BTreeSet::new(),
            on_loss: self.on_loss,
        };
        let broker = Arc::clone(&self.broker) as Arc<dyn Broker>;
        Run::new(Arc::clone(&self.pipeline), broker, connectors, options)
    }

    /// What the ledger says; nothing if there is none yet.
    async fn state(&self) -> LedgerState {
        let broker = Arc::clone(&self.broker) as Arc<dyn Broker>;
        crate::ledger::read(broker, "p").await.unwrap().unwrap_or_default()
    }

    /// Nothing is there twice, at any time.
    fn check_no_copies(&self, seed: u64) {
        for sink in ["all", "even"] {
            let rows = self.destination.rows(sink);
            let distinct: BTreeSet<_> = rows.iter().map(|row| row.2).collect();
            assert_eq!(distinct.len(), rows.len(), "seed {seed}: rows twice in {sink}: {rows:?}");
        }
    }

    /// Everything is where it belongs, once.
    fn check(&self, seed: u64) {
        self.check_no_copies(seed);
        let count = |topic: &str| {
            let mut counts: BTreeMap<String, u32> = BTreeMap::new();
            for (_, _, _, body) in self.broker.messages(topic) {
                *counts.entry(String::from_utf8(body.to_vec()).unwrap()).or_default() += 1;
            }
            counts
        };
        let topic = count("t");
        let source_letters = count("%DLQ%p_source");
        let sinks = ["all", "even"];
        let sink_letters = sinks.map(|sink| (sink, count(&format!("%DLQ%p_{sink}"))));
        for line in self.files.lines() {
            let fate = fate(line, self.promotes);
            let text = &line.text;
            let copies = |counts: &BTreeMap<String, u32>| counts.get(text).copied().unwrap_or(0);
            assert_eq!(copies(&topic), u32::from(fate.in_topic), "seed {seed}: topic, {text}");
            let letters = copies(&source_letters);
            assert_eq!(letters, u32::from(fate.source_letter), "seed {seed}: source, {text}");
            for (sink, letters) in &sink_letters {
                let letters = copies(letters);
                let expected = u32::from(fate.letters.contains(sink));
                assert_eq!(letters, expected, "seed {seed}: letters of {sink}, {text}");
            }
        }
        for topic in ["source", "all", "even"].map(|sink| format!("%DLQ%p_{sink}")) {
            for (_, offset, properties, _) in self.broker.messages(&topic) {
                let expected = format!("/logs/{}", properties[crate::ingest::FILE_ID]);
                let path = properties.get(crate::ingest::FILE_PATH);
                assert_eq!(path, Some(&expected), "seed {seed}: letter {offset} of {topic}");
            }
        }
        for sink in sinks {
            let lines = self.files.lines();
            let visible = lines.filter(|line| fate(line, self.promotes).visible.contains(sink));
            let expected: BTreeSet<i64> = visible.map(|line| number(&line.text)).collect();
            let rows = self.destination.rows(sink);
            let found: BTreeSet<i64> = rows.iter().map(|row| row.2).collect();
            assert_eq!(found, expected, "seed {seed}: rows of {sink}");
            // Each row says truly where it comes from.
            let messages = self.broker.messages("t");
            for (queue, offset, n) in rows {
                let of = messages.iter().find(|m| (m.0, m.1) == (queue, offset));
                let body = String::from_utf8(of.unwrap().3.to_vec()).unwrap();
                assert_eq!(number(&body), n, "seed {seed}: {queue}/{offset}");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_run_without_trouble_delivers_everything() {
    for text in [PIPELINE, PROMOTING] {
        let mut rng = Rng::new(7);
        let mut world = World::new(text, files(&mut rng), 7, Chances::default(), 0);
        let summary = world.run().finish().await.unwrap();
        world.check(7);
        let source = summary.source.unwrap();
        assert_eq!(source.read, world.files.lines().count() as u64);
        assert!(source.ended && summary.balanced);
        assert_eq!(summary.sinks["all"].read, source.appended);
        assert_eq!(summary.sinks["all"].visible_rows, summary.sinks["all"].written);
        assert_eq!(summary.sinks["all"].lag, 0);
        // Another run finds nothing to do.
        let again = world.run().finish().await.unwrap();
        world.check(7);
        assert_eq!((again.source.unwrap().read, again.sinks["all"].read), (0, 0));
    }
}

/// One seed: crashes at random points, then a run to the end.
async fn crash_and_recover(seed: u64) {
    let mut rng = Rng::new(seed);
    let text = if rng.below(2) == 0 { PIPELINE } else { PROMOTING };
    let bad = rng.below(3) * 15;
    let chances = Chances {
        unreachable: bad,
        answer_lost: bad,
        request_lost: bad,
        late: bad,
        disk_full: bad,
    };
    let mut world = World::new(text, files(&mut rng), seed, chances, bad);
    for _ in 0..rng.below(8) {
        world.run_a_while(&mut rng, seed).await;
        match rng.below(4) {
            0 => world.broker.cut_power(),
            1 => world.broker.settle(),
            // What is under way arrives while the next worker starts.
            _ => {}
        }
        if rng.below(8) == 0 {
            let odd = rng.below(2);
            world.destination.lose_staged(|name| name.len() as u64 % 2 == odd);
        }
        world.check_no_copies(seed);
    }
    let last = world.run().finish().await;
    let summary = last.unwrap_or_else(|error| panic!("seed {seed}: {error:?}"));
    assert!(summary.balanced, "seed {seed}: {summary:?}");
    world.check(seed);
    assert_eq!(world.destination.staged(), Vec::<String>::new(), "seed {seed}");
}

/// The promise of the runtime: whatever crashes whenever, every line is once in the topic, and
/// once in each sink or its letters.
#[tokio::test(start_paused = true)]
async fn whatever_crashes_every_record_arrives_once() {
    for seed in seeds(1000) {
        crash_and_recover(seed).await;
    }
}

/// A worker that was taken for dead goes on beside its successor, until the ledger refuses it.
#[tokio::test(start_paused = true)]
async fn a_zombie_does_no_harm() {
    let mut fenced = 0;
    for seed in seeds(300) {
        let mut rng = Rng::new(seed);
        let bad = rng.below(2) * 20;
        let chances = Chances { answer_lost: bad, late: bad, ..Chances::default() };
        let mut world = World::new(PIPELINE, files(&mut rng), seed, chances, bad);
        let mut zombie = Box::pin(world.run().finish());
        let scale = 3 + rng.below(7);
        let polls = 1 + rng.below(1 << scale);
        let early = crash_after(&mut zombie, polls).await;
        // Whoever takes the lease last goes on; the zombie may have been too slow to have one.
        let both = match early {
            Some(ended) => [ended, world.run().finish().await],
            None => tokio::join!(zombie, world.run().finish()).into(),
        };
        for ended in both {
            match ended {
                Ok(summary) => assert!(summary.balanced, "seed {seed}: {summary:?}"),
                Err(RunError::Fenced { .. }) => fenced += 1,
                // Its staging was swept away under its hands.
                Err(RunError::Sink { .. }) => {}
                Err(error) => panic!("seed {seed}: {error:?}"),
            }
            world.check_no_copies(seed);
        }
        let last = world.run().finish().await;
        last.unwrap_or_else(|error| panic!("seed {seed}: {error:?}"));
        world.check(seed);
    }
    assert!(fenced > 0 || std::env::var("MILLRACE_SEED").is_ok(), "no zombie was ever refused");
}

#[tokio::test(start_paused = true)]
async fn a_stop_commits_what_was_read() {
    let mut rng = Rng::new(3);
    let mut world = World::new(PIPELINE, files(&mut rng), 3, Chances::default(), 0);
    let run = world.run();
    let control = run.control();
    let mut run = Box::pin(run.finish());
    let mut polls = 0;
    while control.progress().sinks.get("all").is_none_or(|sink| sink.written < 5) {
        assert!(crash_after(&mut run, 1).await.is_none(), "it ended after {polls} polls");
        polls += 1;
    }
    control.stop();
    let summary = run.await.unwrap();
    let all = &summary.sinks["all"];
    assert!(summary.balanced && !summary.source.as_ref().unwrap().ended);
    assert_eq!((all.visible_rows, world.destination.staged()), (all.written, Vec::new()));
    // Nothing is read again.
    let rest = world.run().finish().await.unwrap();
    let lines = world.files.lines().count() as u64;
    assert_eq!(summary.source.unwrap().read + rest.source.unwrap().read, lines);
    assert_eq!(rest.sinks["all"].skipped, 0);
    world.check(3);
}

fn without_source(world: &World, until: Until) -> Run {
    let sink = world.destination.sinks(None);
    world.run_with(Connectors { source: None, sink }, until)
}

#[tokio::test(start_paused = true)]
async fn a_topic_fed_by_others_is_drained() {
    let mut rng = Rng::new(5);
    let mut world = World::new(PIPELINE, files(&mut rng), 5, Chances::default(), 0);
    // The first run feeds the topic and is gone before the sinks have everything.
    let run = world.run();
    let control = run.control();
    let mut run = Box::pin(run.finish());
    while control.progress().source.is_none_or(|source| !source.ended) {
        crash_after(&mut run, 1).await;
    }
    drop(run);
    let summary = without_source(&world, Until::Drained).finish().await.unwrap();
    assert!(summary.balanced && summary.source.is_none());
    world.check(5);
    for queue in 0..3 {
        let next = world.broker.messages("t").iter().filter(|m| m.0 == queue).count() as u64;
        let shown = world.broker.shown("p_all", "t", queue);
        assert_eq!(shown.unwrap_or(0), next, "tools see the offsets of queue {queue}");
    }
}

/// Somebody removes staged parts while others of the same plan are visible: only the rows of the
/// lost ones are written again.
#[tokio::test(start_paused = true)]
async fn a_part_that_vanished_midway_is_written_again_alone() {
    let mut midway = 0;
    for seed in seeds(100) {
        let mut rng = Rng::new(seed);
        let mut world = World::new(PIPELINE, files(&mut rng), seed, Chances::default(), 0);
        let mut run = Box::pin(world.run().finish());
        let mut visible = 0;
        let lost = loop {
            if crash_after(&mut run, 1).await.is_some() {
                break false;
            }
            // A part of the partitioned sink was just made visible, and another one was not.
            let count = |names: Vec<String>| names.iter().filter(|n| n.starts_with("even")).count();
            let now = count(world.destination.visible());
            if now > visible && count(world.destination.staged()) > 0 {
                break true;
            }
            visible = now;
        };
        drop(run);
        if lost {
            midway += 1;
            world.destination.lose_staged(|_| true);
        }
        world.run().finish().await.unwrap_or_else(|error| panic!("seed {seed}: {error:?}"));
        world.check(seed);
    }
    assert!(midway > 0 || std::env::var("MILLRACE_SEED").is_ok(), "it never came to that");
}

/// Offsets of partitions mean nothing to a pipeline that partitions in another way.
#[tokio::test(start_paused = true)]
async fn a_crashed_pipeline_is_not_partitioned_anew() {
    let mut seed = 0;
    let mut world = loop {
        let mut rng = Rng::new(seed);
        let mut world = World::new(PIPELINE, files(&mut rng), seed, Chances::default(), 0);
        let mut run = Box::pin(world.run().finish());
        let mut is_ahead = false;
        while !is_ahead && crash_after(&mut run, 1).await.is_none() {
            let resume = world.state().await.sinks.get("even").and_then(|sink| sink.resume.clone());
            is_ahead = resume.is_some_and(|resume| !resume.ahead.is_empty());
        }
        drop(run);
        if is_ahead {
            break world;
        }
        seed += 1;
        assert!(seed < 100, "no partition was ever ahead");
    };
    let other = PIPELINE.replace("partition_by: [kind]", "partition_by: [kind, twice]");
    let same = std::mem::replace(&mut world.pipeline, pipeline(&other));
    match world.run().finish().await {
        Err(RunError::Repartitioned { sink, modules }) => {
            assert_eq!((sink.as_str(), modules.len()), ("even", 0));
        }
        other => panic!("{other:?}"),
    }
    // The earlier file can finish what it began; then the other one may go on.
    world.pipeline = same;
    world.run().finish().await.unwrap();
    world.pipeline = pipeline(&other);
    world.run().finish().await.unwrap();
    world.check(seed);
}

/// Lines of one file, every `bad`th of them broken.
fn lines(count: u64, bad: u64) -> Files {
    let line = |n: u64| {
        let text = if n.is_multiple_of(bad) {
            format!("broken {n}")
        } else {
            format!(r#"{{"n":{n},"kind":"a"}}"#)
        };
        Line { text, readable: true }
    };
    Files::new(BTreeMap::from([("file".to_owned(), (1..=count).map(line).collect())]))
}

#[tokio::test(start_paused = true)]
async fn a_pipeline_that_refuses_too_much_stops_before_it_writes_the_letters() {
    let mut world = World::new(PIPELINE, lines(400, 5), 1, Chances::default(), 0);
    match world.run().finish().await {
        Err(RunError::TooManyRejects { code: "E-DECODE-01", of, .. }) => assert!(of >= 100),
        other => panic!("{other:?}"),
    }
    let letters = world.broker.messages("%DLQ%p_all").len();
    assert!(letters < 20, "{letters} letters");
    // What came before is committed, so that a repaired pipeline begins with the bad batch.
    assert_eq!(world.destination.staged(), Vec::<String>::new());
    let (rows, state) = (world.destination.rows("all").len(), world.state().await);
    let resume = state.sinks["all"].resume.clone().unwrap();
    assert!(resume.ahead.is_empty() && resume.next.values().any(|next| next.0 >= rows as u64));
    let mut world = World::new(PIPELINE, lines(400, 11), 1, Chances::default(), 0);
    world.run().finish().await.unwrap();
    assert_eq!(world.broker.messages("%DLQ%p_all").len(), 400 / 11);
}

#[tokio::test(start_paused = true)]
async fn a_pipeline_says_how_many_letters_are_too_many() {
    for (share, is_enough) in [("19%", false), ("21%", true)] {
        let on_error = format!("    on_error: {{dlq: {{max_ratio: {share}}}}}\n    parquet");
        let text = PIPELINE.replace("    parquet", &on_error);
        let mut world = World::new(&text, lines(400, 5), 1, Chances::default(), 0);
        match world.run().finish().await {
            Ok(summary) => assert!(is_enough && summary.balanced, "{summary:?}"),
            Err(error) => {
                assert!(
                    !is_enough && matches!(error, RunError::TooManyRejects { .. }),
                    "{error:?}"
                );
            }
        }
        assert_eq!(world.broker.messages("%DLQ%p_all").len() == 400 / 5, is_enough);
    }
}

#[tokio::test(start_paused = true)]
async fn a_pipeline_may_stop_at_the_first_refusal() {
    let text = PIPELINE.replace("  even:\n", "    on_error: {then: stop}\n  even:\n");
    let mut world = World::new(&text, lines(100, 50), 1, Chances::default(), 0);
    match world.run().finish().await {
        Err(RunError::Rejected { at, .. }) => assert_eq!(at, "memory/t/2 offset 49"),
        other => panic!("{other:?}"),
    }
    assert_eq!(world.broker.messages("%DLQ%p_all").len(), 0);
}

/// A hundred messages, of which sinks have had as many as they could until the last was there.
async fn with_all_lines_in_the_topic() -> World {
    let mut world = World::new(PIPELINE, lines(100, 1000), 1, Chances::default(), 0);
    let run = world.run();
    let control = run.control();
    let mut run = Box::pin(run.finish());
    while control.progress().source.is_none_or(|source| !source.ended) {
        crash_after(&mut run, 1).await;
    }
    world
}

#[tokio::test(start_paused = true)]
async fn messages_that_retention_took_are_never_passed_over_in_silence() {
    let mut world = with_all_lines_in_the_topic().await;
    let resume = world.state().await.sinks["all"].resume.clone().unwrap();
    let queue = world.broker.messages("t")[0].0;
    let known = resume.next.iter().find(|(known, _)| known.queue == QueueId(queue));
    let next = known.unwrap().1.0;
    assert!(next < 90, "the sinks are nearly done at {next}");
    world.broker.expire("t", queue, 95);
    match world.run().finish().await {
        Err(RunError::Lost { from, to, .. }) => assert_eq!((from.0, to.0), (next, 95)),
        other => panic!("{other:?}"),
    }
    world.on_loss = OnLoss::GoOn;
    let summary = world.run().finish().await.unwrap();
    assert!(summary.balanced && summary.sinks.values().any(|sink| sink.lost == 95 - next));
    let behind = |row: &(u32, u64, i64)| row.2 > 95;
    assert!(world.destination.rows("all").iter().any(behind), "it came to the end");
}

/// What was read before them may be gone as well, so it is not thrown away with the run.
#[tokio::test(start_paused = true)]
async fn what_comes_before_removed_messages_is_committed() {
    let mut world = World::new(PIPELINE, lines(100, 1000), 1, Chances::default(), 0);
    let run = world.run();
    let control = run.control();
    let mut run = Box::pin(run.finish());
    let is_open = |summary: Summary| {
        summary.sinks.get("all").is_some_and(|sink| sink.read > sink.visible_rows && sink.read < 90)
    };
    while !is_open(control.progress()) {
        assert!(crash_after(&mut run, 1).await.is_none(), "nothing was ever open");
    }
    let queue = world.broker.messages("t")[0].0;
    world.broker.expire("t", queue, 95);
    let failed = loop {
        if let Some(done) = crash_after(&mut run, 1).await {
            break done;
        }
    };
    drop(run);
    let (sink, from) = match failed {
        Err(RunError::Lost { sink, from, .. }) => (sink, from),
        other => panic!("{other:?}"),
    };
    let resume = world.state().await.sinks[&sink].resume.clone().unwrap();
    let next = resume.next.iter().find(|(known, _)| known.queue == QueueId(queue));
    assert_eq!(*next.unwrap().1, from, "what was read is committed");
}

#[tokio::test(start_paused = true)]
async fn messages_that_damage_took_are_never_passed_over_in_silence() {
    let mut world = with_all_lines_in_the_topic().await;
    let queue = world.broker.messages("t")[0].0;
    for offset in [95, 96] {
        world.broker.lose("t", queue, offset);
    }
    for _ in 0..2 {
        match world.run().finish().await {
            Err(RunError::Gap { from, to, .. }) => assert_eq!((from.0, to.0), (95, 97)),
            other => panic!("{other:?}"),
        }
    }
    world.on_loss = OnLoss::GoOn;
    let summary = world.run().finish().await.unwrap();
    assert!(summary.balanced, "{summary:?}");
    assert!(summary.sinks.values().all(|sink| sink.lost == 2), "{summary:?}");
    world.check_no_copies(1);
    assert_eq!(world.destination.rows("all").len(), world.broker.messages("t").len() - 2);
    // What is behind is behind.
    world.on_loss = OnLoss::Stop;
    assert_eq!(world.run().finish().await.unwrap().sinks["all"].lost, 0);
}

/// A run that starts again before its letters, with a pipeline that takes their messages now,
/// leaves them to whoever replays the letters.
#[tokio::test(start_paused = true)]
async fn what_is_a_letter_stays_one_when_the_pipeline_is_mended() {
    let broken = PIPELINE.replace("steps:\n", "steps:\n  - set: {day: 1 / (body.n - 3)}\n");
    let mut world = World::new(&broken, lines(40, 1000), 1, Chances::default(), 0);
    let mut run = Box::pin(world.run().finish());
    while world.broker.messages("%DLQ%p_all").is_empty() {
        assert!(crash_after(&mut run, 1).await.is_none(), "it ended without a letter");
    }
    drop(run);
    let resume = world.state().await.sinks["all"].resume.clone().unwrap();
    assert!(resume.next.values().all(|next| next.0 == 0), "the message is read again");
    world.pipeline = pipeline(PIPELINE);
    let summary = world.run().finish().await.unwrap();
    assert!(summary.balanced, "{summary:?}");
    assert_eq!(summary.sinks["all"].lettered_before, 1);
    let rows = world.destination.rows("all");
    assert_eq!((rows.len(), rows.iter().filter(|row| row.2 == 3).count()), (39, 0));
}

/// While the letters cannot be written nothing that passes their messages is committed.
#[tokio::test(start_paused = true)]
async fn offsets_do_not_pass_a_letter_that_is_not_written() {
    let mut world = World::new(PIPELINE, lines(100, 20), 1, Chances::default(), 0);
    let run = world.run();
    let control = run.control();
    let mut run = Box::pin(run.finish());
    while control.progress().source.is_none_or(|source| !source.ended) {
        crash_after(&mut run, 1).await;
    }
    drop(run);
    let before = world.broker.messages("%DLQ%p_all").len();
    world.broker.set_chances(Chances { disk_full: 1000, ..Chances::default() });
    let stuck = tokio::time::timeout(std::time::Duration::from_secs(3600), world.run().finish());
    assert!(stuck.await.is_err(), "it got by a full disk");
    assert_eq!(world.broker.messages("%DLQ%p_all").len(), before);
    world.broker.set_chances(Chances::default());
    world.run().finish().await.unwrap();
    world.check(1);
}

#[tokio::test(start_paused = true)]
async fn an_outage_of_the_destination_is_waited_out() {
    let mut world = World::new(PIPELINE, lines(60, 1000), 1, Chances::default(), 1000);
    let stuck = tokio::time::timeout(std::time::Duration::from_secs(3600), world.run().finish());
    assert!(stuck.await.is_err(), "it wrote to a destination that is away");
    assert_eq!(world.destination.visible(), Vec::<String>::new());
    world.destination.set_unavailable(0);
    world.run().finish().await.unwrap();
    world.check(1);
}

/// The simulation must be able to fail: with COMMITTED before the rename it does.
#[cfg(feature = "faults")]
#[test]
fn a_planted_bug_is_found() {
    use crate::fault;

    let found = (0..200).any(|seed| {
        let trial = std::thread::spawn(move || {
            fault::plant(Some(fault::OFFSET_BEFORE_RENAME));
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_time()
                .start_paused(true)
                .build()
                .unwrap();
            runtime.block_on(crash_and_recover(seed));
        });
        trial.join().is_err()
    });
    assert!(found, "200 seeds did not find the planted bug");
}
