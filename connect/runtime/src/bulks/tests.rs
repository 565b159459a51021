//! Rows on their way to a server that remembers what it has, crashed at any point.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use bytes::Bytes;
use millrace_client::Broker;
use millrace_config::Pipeline;
use millrace_connect_api::{Hindrance, offset_ranges};

use super::*;
use crate::delivery::OpenSink;
use crate::dlq::{Replayed, Selected, replay};
use crate::error::RunError;
use crate::rng::Rng;
use crate::run::{Connectors, Run, RunOptions};
use crate::testing::{
    Chances, Files, Line, MemoryBroker, REFUSED_FROM, SimClock, crash_after, seeds,
};

/// Queues and offsets.
type Rows = BTreeSet<(u32, u64)>;

const PIPELINE: &str = r#"
version: 1
pipeline: p
source:
  file: {include: [x], once: true, decode: {json: {}}}
topic: {name: t, queues: 3}
schema: {n: int, kind: string}
steps:
  - filter: body.kind <> 'noise'
sinks:
  hook:
    http: {url: "http://localhost/", body: ndjson}
"#;

fn pipeline(text: &str) -> Arc<Pipeline> {
    let parsed = Pipeline::parse("p.yaml", text.as_bytes(), &|_| None);
    Arc::new(parsed.unwrap_or_else(|report| panic!("{report}")))
}

/// A server that answers a request which it knows by its name as it did before, unless that was
/// nothing but a plea for time.
#[derive(Clone)]
struct Server(Arc<Mutex<Inner>>);

struct Inner {
    known: BTreeMap<String, Known>,
    /// Queue and offset of every message that it took, as often as it took it.
    taken: Vec<(u32, u64)>,
    /// Of a thousand requests, so many fail in one way or another.
    bad: u64,
    /// It takes everything.
    is_kind: bool,
    rng: Rng,
}

#[derive(Clone)]
struct Known {
    bytes: Vec<Bytes>,
    rejected: Vec<usize>,
    again: Vec<usize>,
}

impl Server {
    fn new(seed: u64, bad: u64) -> Self {
        let rng = Rng::new(seed ^ 7);
        let (known, taken) = (BTreeMap::new(), Vec::new());
        let inner = Inner { known, taken, bad, is_kind: false, rng };
        Self(Arc::new(Mutex::new(inner)))
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap()
    }

    fn sinks(&self, limits: BulkLimits) -> OpenSink {
        let server = self.clone();
        Box::new(move |opening| {
            Ok(Box::new(Bulks::new(Hook { server: server.clone() }, limits, opening)))
        })
    }

    fn roll(&self, of: u64) -> u64 {
        self.inner().rng.below(of)
    }

    async fn turn(&self) {
        for _ in 0..self.roll(3) {
            tokio::task::yield_now().await;
        }
    }

    /// One request, whose answer may be lost.
    async fn ask(&self, items: &[&Item]) -> Option<Known> {
        self.turn().await;
        let bad = self.inner().bad;
        if self.roll(1000) < bad {
            return None;
        }
        let answer = self.inner().take(items);
        self.turn().await;
        (self.roll(1000) >= bad).then_some(answer)
    }
}

impl Inner {
    fn take(&mut self, items: &[&Item]) -> Known {
        let name = format!("{:?}", offset_ranges(items.iter().copied()));
        let bytes: Vec<Bytes> = items.iter().map(|item| item.bytes.clone()).collect();
        if let Some(known) = self.known.get(&name) {
            assert_eq!(known.bytes, bytes, "one name for two requests: {name}");
            return known.clone();
        }
        let mut known = Known { bytes, rejected: Vec::new(), again: Vec::new() };
        for (at, item) in items.iter().enumerate() {
            let n: i64 = std::str::from_utf8(&item.bytes).unwrap().parse().unwrap();
            if n >= REFUSED_FROM && !self.is_kind {
                known.rejected.push(at);
            } else if self.rng.below(1000) < self.bad {
                known.again.push(at);
            } else {
                self.taken.push((item.queue().queue.0, item.offset().0));
            }
        }
        if known.again.len() < items.len() {
            self.known.insert(name, known.clone());
        }
        known
    }
}

struct Hook {
    server: Server,
}

#[async_trait]
impl RowSink for Hook {
    fn encode(&mut self, batch: &Batch) -> Result<Encoded, SinkError> {
        let numbers = batch.column("n").unwrap().as_primitive::<Int64Type>();
        let items = batch.selection().iter().map(|row| Item {
            messages: Arc::clone(batch.messages()),
            row: row as u32,
            route: Arc::from(""),
            bytes: numbers.value(row).to_string().into(),
        });
        Ok(Encoded { items: items.collect(), rejected: Vec::new() })
    }

    async fn send(&mut self, items: &[&Item]) -> Result<Outcome, SinkError> {
        let Some(Known { rejected, again, .. }) = self.server.ask(items).await else {
            return Err(SinkError::Unavailable("chance".into()));
        };
        let reject = Reject { code: "E-HTTP-02", error: "too large".to_owned(), field: None };
        let reason = (!again.is_empty())
            .then(|| Hindrance { source: "busy".into(), after: Some(Duration::from_millis(300)) });
        let rejected = rejected.into_iter().map(|at| (at, reject.clone())).collect();
        Ok(Outcome { rejected, again, reason })
    }
}

fn files(rng: &mut Rng) -> Files {
    let mut n = 0;
    let files = (0..1 + rng.below(3)).map(|file| {
        let lines = (0..rng.below(60)).map(|_| {
            n += 1;
            let kind = ["a", "b", "c", "noise"][rng.below(4) as usize];
            let n = if rng.below(40) == 0 { n + REFUSED_FROM } else { n };
            let text = match rng.below(80) {
                0 => format!("broken {n}"),
                _ => format!(r#"{{"n":{n},"kind":"{kind}"}}"#),
            };
            Line { text, readable: true }
        });
        (format!("file-{file}"), lines.collect())
    });
    Files::new(files.collect())
}

/// Everything that outlives a crash.
struct World {
    broker: Arc<MemoryBroker>,
    server: Server,
    files: Files,
    clock: Arc<SimClock>,
    limits: BulkLimits,
    runs: u64,
}

impl World {
    fn new(seed: u64, bad: u64) -> Self {
        let mut rng = Rng::new(seed);
        let chances = Chances {
            unreachable: bad,
            answer_lost: bad,
            request_lost: bad,
            late: bad,
            disk_full: bad,
        };
        Self {
            broker: MemoryBroker::new(seed, chances),
            server: Server::new(seed, bad),
            files: files(&mut rng),
            clock: Arc::new(SimClock::new()),
            limits: BulkLimits {
                rows: 1 + rng.below(12) as usize,
                bytes: 50 + rng.below(400) as usize,
                every_ms: rng.below(3) * 400,
            },
            runs: 0,
        }
    }

    fn options(&mut self) -> RunOptions {
        self.runs += 1;
        RunOptions {
            seed: self.runs,
            clock: Arc::clone(&self.clock) as _,
            ..RunOptions::new(format!("worker-{}", self.runs))
        }
    }

    fn broker(&self) -> Arc<dyn Broker> {
        Arc::clone(&self.broker) as _
    }

    fn run_as(&mut self, text: &str) -> Run {
        let options = self.options();
        let source = Some(self.files.source(self.runs));
        let connectors = Connectors { source, sink: self.server.sinks(self.limits) };
        Run::new(pipeline(text), self.broker(), connectors, options)
    }

    fn run(&mut self) -> Run {
        // What a worker cuts by its own limits its successor does not cut by others.
        self.limits.rows = 1 + (self.limits.rows * 5) % 13;
        self.run_as(PIPELINE)
    }

    fn replay(&mut self) -> impl Future<Output = Result<Replayed, RunError>> + use<> {
        let options = self.options();
        let (broker, sinks) = (self.broker(), self.server.sinks(self.limits));
        let replay =
            replay(pipeline(PIPELINE), "hook", broker, sinks, Selected::default(), options);
        async { Ok(replay.await?.unwrap_or_default()) }
    }

    /// The messages by what is to become of them: taken, or a letter.
    fn expected(&self) -> (Rows, Rows) {
        let (mut taken, mut letters) = (BTreeSet::new(), BTreeSet::new());
        for (queue, offset, _, body) in self.broker.messages("t") {
            let text = String::from_utf8(body.to_vec()).unwrap();
            let n = text.trim_start_matches(r#"{"n":"#).split(',').next().unwrap();
            let is_refused = n.parse::<i64>().is_ok_and(|n| n >= REFUSED_FROM);
            if text.starts_with("broken") || (is_refused && !text.contains("noise")) {
                letters.insert((queue, offset));
            } else if !text.contains("noise") {
                taken.insert((queue, offset));
            }
        }
        (taken, letters)
    }

    fn letters(&self) -> Vec<(u32, u64)> {
        let letters =
            self.broker.messages("%DLQ%p_hook").into_iter().map(|(_, _, properties, _)| {
                let number = |name: &str| properties[name].parse::<u64>().unwrap();
                (number("dlq_queue") as u32, number("dlq_offset"))
            });
        letters.collect()
    }

    #[track_caller]
    fn check(&self, seed: u64) {
        let (taken, letters) = self.expected();
        let mut found = self.server.inner().taken.clone();
        found.sort_unstable();
        assert_eq!(found, Vec::from_iter(taken), "seed {seed}: taken");
        let mut found = self.letters();
        found.sort_unstable();
        assert_eq!(found, Vec::from_iter(letters), "seed {seed}: letters");
    }
}

async fn crash_and_recover(seed: u64) {
    let mut rng = Rng::new(seed ^ 99);
    let mut world = World::new(seed, rng.below(3) * 25);
    for _ in 0..rng.below(8) {
        let scale = 3 + rng.below(8);
        let polls = 1 + rng.below(1 << scale);
        if let Some(ended) = crash_after(world.run().finish(), polls).await {
            let summary = ended.unwrap_or_else(|error| panic!("seed {seed}: {error:?}"));
            assert!(summary.balanced, "seed {seed}: {summary:?}");
        }
        match rng.below(4) {
            0 => world.broker.cut_power(),
            1 => world.broker.settle(),
            _ => {}
        }
    }
    let summary = world.run().finish().await;
    let summary = summary.unwrap_or_else(|error| panic!("seed {seed}: {error:?}"));
    assert!(summary.balanced, "seed {seed}: {summary:?}");
    world.check(seed);
}

/// The promise: whatever crashes whenever, a server that knows requests by their names has each
/// message once, and what it refuses is a letter once.
#[tokio::test(start_paused = true)]
async fn a_server_that_remembers_has_each_message_once() {
    for seed in seeds(600) {
        crash_and_recover(seed).await;
    }
}

/// A worker that was taken for dead goes on beside its successor.
#[tokio::test(start_paused = true)]
async fn a_zombie_sends_nothing_under_another_name() {
    for seed in seeds(200) {
        let mut rng = Rng::new(seed ^ 5);
        let mut world = World::new(seed, rng.below(2) * 20);
        let mut zombie = Box::pin(world.run().finish());
        let scale = 3 + rng.below(7);
        let polls = 1 + rng.below(1 << scale);
        if crash_after(&mut zombie, polls).await.is_none() {
            let both: [_; 2] = tokio::join!(zombie, world.run().finish()).into();
            for ended in both {
                let fenced = matches!(ended, Err(RunError::Fenced { .. }));
                assert!(fenced || ended.is_ok(), "seed {seed}: {ended:?}");
            }
        }
        world.run().finish().await.unwrap();
        world.check(seed);
    }
}

/// Replays of what the server refused, crashed at any point: each letter is taken once.
#[tokio::test(start_paused = true)]
async fn a_replay_is_taken_once() {
    let mut replayed = 0;
    for seed in seeds(200) {
        let mut rng = Rng::new(seed ^ 3);
        let mut world = World::new(seed, 0);
        world.run().finish().await.unwrap();
        world.check(seed);
        {
            let mut server = world.server.inner();
            server.is_kind = rng.below(4) > 0;
            server.bad = rng.below(3) * 40;
        }
        for _ in 0..rng.below(6) {
            let scale = 3 + rng.below(5);
            let polls = 1 + rng.below(1 << scale);
            crash_after(world.replay(), polls).await;
            if rng.below(3) == 0 {
                world.broker.cut_power();
            }
        }
        // The power may have taken letters, and then the offsets behind them.
        world.run().finish().await.unwrap();
        world.server.inner().is_kind = true;
        // What was refused before under the same name is refused again.
        world.server.inner().known.retain(|_, known| known.rejected.is_empty());
        world.replay().await.unwrap();
        let again = world.replay().await.unwrap();
        assert_eq!((again.rows, again.settled), (0, 0), "seed {seed}");
        let (taken, letters) = world.expected();
        let mut found = world.server.inner().taken.clone();
        found.sort_unstable();
        let broken = world.broker.messages("t").into_iter();
        let broken = broken.filter(|(_, _, _, body)| body.starts_with(b"broken"));
        let broken: BTreeSet<_> = broken.map(|(queue, offset, ..)| (queue, offset)).collect();
        let all = taken.union(&letters).filter(|message| !broken.contains(message));
        assert_eq!(found, all.copied().collect::<Vec<_>>(), "seed {seed}");
        replayed += found.len() - taken.len();
    }
    let is_one_seed = seeds(200).len() == 1;
    assert!(is_one_seed || replayed > 100, "{replayed} replayed");
}

#[tokio::test(start_paused = true)]
async fn what_is_not_taken_in_time_becomes_letters() {
    let within = "on_error: {retry: {initial: 10ms, max: 1s, max_elapsed: 20s}}";
    let text = PIPELINE.replace("  hook:\n", &format!("  hook:\n    {within}\n"));
    let line = |n| Line { text: format!(r#"{{"n":{n},"kind":"a"}}"#), readable: true };
    let mut world = World::new(1, 0);
    world.files = Files::new(BTreeMap::from([("x".to_owned(), (0..20).map(line).collect())]));
    world.server.inner().bad = 1000;
    let before = world.clock_ms();
    let summary = world.run_as(&text).finish().await.unwrap();
    assert!(world.clock_ms() - before >= 20_000);
    assert_eq!(summary.sinks["hook"].dead_lettered["E-SINK-01"], 20, "{summary:?}");
    assert_eq!((summary.sinks["hook"].written, summary.balanced), (0, true));
    let stops = text.replace("on_error: {", "on_error: {then: stop, ");
    let mut world = World::new(1, 0);
    world.files = Files::new(BTreeMap::from([("x".to_owned(), (0..20).map(line).collect())]));
    world.server.inner().bad = 1000;
    let error = world.run_as(&stops).finish().await.unwrap_err();
    assert!(matches!(error, RunError::Rejected { code: "E-SINK-01", .. }), "{error:?}");
    // Nothing is lost, and nothing new is made of it.
    world.server.inner().bad = 0;
    world.run_as(&stops).finish().await.unwrap();
    world.check(1);
}

impl World {
    fn clock_ms(&self) -> u64 {
        use crate::clock::Clock;
        self.clock.now().mono_ms
    }
}

/// A destination says how long it wants to be left alone, and is.
#[tokio::test(start_paused = true)]
async fn a_destination_that_asks_for_time_gets_it() {
    struct Busy(Arc<Mutex<Vec<tokio::time::Instant>>>);
    #[async_trait]
    impl RowSink for Busy {
        fn encode(&mut self, batch: &Batch) -> Result<Encoded, SinkError> {
            Hook { server: Server::new(0, 0) }.encode(batch)
        }

        async fn send(&mut self, items: &[&Item]) -> Result<Outcome, SinkError> {
            let mut asked = self.0.lock().unwrap();
            asked.push(tokio::time::Instant::now());
            if asked.len() > 3 {
                return Ok(Outcome::default());
            }
            let after = Some(Duration::from_secs(20));
            let reason = Some(Hindrance { source: "busy".into(), after });
            Ok(Outcome { again: (0..items.len()).collect(), reason, ..Outcome::default() })
        }
    }
    let mut world = World::new(1, 0);
    let line = Line { text: r#"{"n":1,"kind":"a"}"#.to_owned(), readable: true };
    world.files = Files::new(BTreeMap::from([("x".to_owned(), vec![line])]));
    let asked = Arc::new(Mutex::new(Vec::new()));
    let of_sink = Arc::clone(&asked);
    let limits = world.limits;
    let sink: OpenSink = Box::new(move |opening| {
        Ok(Box::new(Bulks::new(Busy(Arc::clone(&of_sink)), limits, opening)))
    });
    let options = world.options();
    let connectors = Connectors { source: Some(world.files.source(1)), sink };
    Run::new(pipeline(PIPELINE), world.broker(), connectors, options).finish().await.unwrap();
    let asked = asked.lock().unwrap();
    let gaps: Vec<_> = asked.windows(2).map(|pair| (pair[1] - pair[0]).as_millis()).collect();
    assert_eq!(gaps.len(), 3);
    assert!(gaps.iter().all(|gap| (20_000..31_000).contains(gap)), "{gaps:?}");
}
