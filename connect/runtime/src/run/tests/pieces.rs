use super::*;
use crate::dlq::{self, Replayed, Selected};

/// Each message becomes as many rows as its list has elements.
const PIECES: &str = r#"
version: 1
pipeline: p
source:
  file: {include: [x], once: true, decode: {json: {}}}
topic: {name: t, queues: 3, key: body.kind}
schema: {n: int, kind: string, w: int}
steps:
  - split: {path: body.list, keep: {kind: body.kind}, on_missing: reject}
  - filter: body.n % 5 <> 0
  - set: {share: 10 / body.w}
sinks:
  all:
    parquet: {to: out}
  even:
    where: body.n % 2 = 0
    parquet: {to: out, partition_by: [kind]}
"#;

/// With it, no division fails.
const MENDED: (&str, &str) = ("10 / body.w", "10 / (body.w + 1)");

/// What is to become of an element.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Row(i64),
    Filtered,
    /// A letter that comes through the mended pipeline.
    Mendable(i64),
    /// A letter for good.
    Hopeless,
}

/// Lines with lists, and what is to become of each element, by the text of the line.
fn lists(rng: &mut Rng) -> (Files, BTreeMap<String, Vec<Fate>>) {
    let (mut files, mut fates) = (BTreeMap::new(), BTreeMap::new());
    let mut n = 0;
    for file in 0..1 + rng.below(2) {
        let mut lines = Vec::new();
        for _ in 0..rng.below(20) {
            n += 1;
            let id = n;
            let kind = ["a", "b", "c"][rng.below(3) as usize];
            let mut elements = Vec::new();
            let mut of_line = Vec::new();
            for _ in 0..rng.below(5) {
                n += 1;
                let (text, fate) = match rng.below(25) {
                    0 => (format!(r#"{{"n":{n},"w":0}}"#), Fate::Mendable(n)),
                    1 => ("7".to_owned(), Fate::Hopeless),
                    2 => (format!(r#"{{"n":{},"w":1}}"#, n + REFUSED_FROM), Fate::Hopeless),
                    _ => (format!(r#"{{"n":{n},"w":1}}"#), Fate::Row(n)),
                };
                let is_filtered = n % 5 == 0 && !matches!(text.as_str(), "7");
                elements.push(text);
                of_line.push(if is_filtered { Fate::Filtered } else { fate });
            }
            let list = match rng.below(10) {
                0 if elements.is_empty() => String::new(),
                _ => format!(r#","list":[{}]"#, elements.join(",")),
            };
            let text = format!(r#"{{"id":{id},"kind":"{kind}"{list}}}"#);
            fates.insert(text.clone(), of_line);
            lines.push(Line { text, readable: true });
        }
        files.insert(format!("file-{file}"), lines);
    }
    (Files::new(files), fates)
}

impl World {
    /// Every element is where it belongs, once: in the rows of a sink or its letters, which say
    /// which one they are. `mended` is whether the letters were replayed.
    fn check_pieces(&self, fates: &BTreeMap<String, Vec<Fate>>, mended: bool, seed: u64) {
        let messages = self.broker.messages("t");
        assert_eq!(messages.len(), fates.len(), "seed {seed}: the topic has each line once");
        for sink in ["all", "even"] {
            let (mut rows, mut letters) = (BTreeSet::new(), BTreeSet::new());
            for (queue, offset, _, body) in &messages {
                let body = std::str::from_utf8(body).unwrap();
                for (index, fate) in fates[body].iter().enumerate() {
                    match *fate {
                        Fate::Row(n) if sink == "all" || n % 2 == 0 => {
                            rows.insert((*queue, *offset, n));
                        }
                        Fate::Mendable(n) => {
                            letters.insert((*queue, *offset, index as u64));
                            // The condition of the sink comes last.
                            if mended && sink == "all" {
                                rows.insert((*queue, *offset, n));
                            }
                        }
                        // The sink's own refusal comes behind its condition.
                        Fate::Hopeless if sink == "all" => {
                            letters.insert((*queue, *offset, index as u64));
                        }
                        Fate::Hopeless | Fate::Row(_) | Fate::Filtered => {}
                    }
                }
            }
            let found = self.destination.rows(sink);
            let distinct: BTreeSet<_> = found.iter().copied().collect();
            assert_eq!(distinct.len(), found.len(), "seed {seed}: rows twice in {sink}");
            assert_eq!(distinct, rows, "seed {seed}: rows of {sink}");
            let mut found = BTreeSet::new();
            for (_, _, properties, body) in self.broker.messages(&format!("%DLQ%p_{sink}")) {
                let number = |name: &str| properties[name].parse::<u64>().unwrap();
                let at = (number("dlq_queue"), number("dlq_offset"), number("dlq_index"));
                let at = (at.0 as u32, at.1, at.2);
                assert!(found.insert(at), "seed {seed}: two letters of {at:?}");
                let of = messages.iter().find(|m| (m.0, m.1) == (at.0, at.1)).unwrap();
                assert_eq!(of.3, body, "seed {seed}: a letter has the bytes of its message");
            }
            if sink == "all" {
                assert_eq!(found, letters, "seed {seed}: letters of {sink}");
            }
        }
    }

    fn replay_all(&mut self) -> impl Future<Output = Result<Option<Replayed>, RunError>> + use<> {
        self.runs += 1;
        let options = RunOptions {
            seed: self.runs,
            clock: Arc::clone(&self.clock) as Arc<dyn Clock>,
            ..RunOptions::new(format!("worker-{}", self.runs))
        };
        let broker = Arc::clone(&self.broker) as Arc<dyn Broker>;
        let mended = pipeline(&PIECES.replace(MENDED.0, MENDED.1));
        let sinks = self.destination.sinks(None);
        dlq::replay(mended, "all", broker, sinks, Selected::default(), options)
    }
}

/// Crashes at random points, then a run to the end; then the same with a replay of the letters.
async fn crash_and_recover_pieces(seed: u64) {
    let mut rng = Rng::new(seed);
    let (files, fates) = lists(&mut rng);
    let bad = rng.below(2) * 15;
    let chances = Chances { answer_lost: bad, late: bad, ..Chances::default() };
    let mut world = World::new(PIECES, files, seed, chances, bad);
    for _ in 0..rng.below(6) {
        world.run_a_while(&mut rng, seed).await;
        if rng.below(3) == 0 {
            world.broker.cut_power();
        }
        world.check_no_copies(seed);
    }
    let last = world.run().finish().await;
    let summary = last.unwrap_or_else(|error| panic!("seed {seed}: {error:?}"));
    assert!(summary.balanced, "seed {seed}: {summary:?}");
    world.check_pieces(&fates, false, seed);
    for _ in 0..rng.below(4) {
        let scale = 3 + rng.below(6);
        let polls = 1 + rng.below(1 << scale);
        if let Some(Err(error)) = crash_after(world.replay_all(), polls).await {
            panic!("seed {seed}: {error:?}");
        }
        world.check_no_copies(seed);
    }
    for _ in 0..2 {
        let replayed = world.replay_all().await;
        let replayed = replayed.unwrap_or_else(|error| panic!("seed {seed}: {error:?}"));
        let Some(Replayed { tried, made, rows, filtered, failed, .. }) = replayed else { break };
        let out = rows + filtered.values().sum::<u64>() + failed.values().sum::<u64>();
        assert_eq!(tried + made, out, "seed {seed}");
        world.check_pieces(&fates, true, seed);
    }
}

#[tokio::test(start_paused = true)]
async fn whatever_crashes_every_row_of_a_message_arrives_once() {
    for seed in seeds(300) {
        crash_and_recover_pieces(seed).await;
    }
}

/// What came in and what steps made of it is what came out, in the summary.
#[tokio::test(start_paused = true)]
async fn the_summary_counts_rows_that_steps_make() {
    let element = |n: i64| format!(r#"{{"n":{n},"w":1}}"#);
    let line = |list: &str| Line { text: format!(r#"{{"kind":"a"{list}}}"#), readable: true };
    let lines = vec![
        line(&format!(r#","list":[{},{},7]"#, element(1), element(5))),
        line(r#","list":[]"#),
        line(""),
        line(r#","list":8"#),
        line(&format!(r#","list":[{}]"#, element(2))),
    ];
    let files = Files::new(BTreeMap::from([("file".to_owned(), lines)]));
    let mut world = World::new(PIECES, files, 1, Chances::default(), 0);
    let summary = world.run().finish().await.unwrap();
    let all = &summary.sinks["all"];
    assert!(summary.balanced, "{summary:?}");
    assert_eq!((all.read, all.made, all.written), (5, 2, 2));
    let filtered: Vec<_> =
        all.filtered.iter().map(|(reason, rows)| format!("{reason} {rows}")).collect();
    let reasons = ["steps[0] split empty 1", "steps[0] split missing 1", "steps[1] filter false 1"];
    assert_eq!(filtered, reasons);
    let letters: Vec<_> =
        all.dead_lettered.iter().map(|(code, rows)| format!("{code} {rows}")).collect();
    assert_eq!(letters, ["E-SPLIT-01 1", "E-SPLIT-03 1"]);
}

/// One bad row in ten of each message is not too much, however the messages are cut; one of three
/// is, though every message has a good one.
#[tokio::test(start_paused = true)]
async fn the_breaker_counts_rows() {
    for (of, stops) in [(20, false), (3, true)] {
        let good = vec![r#"{"n":1,"w":1}"#; of - 1].join(",");
        let line = |n: usize| Line {
            text: format!(r#"{{"kind":"a","id":{n},"list":[7,{good}]}}"#),
            readable: true,
        };
        let files = Files::new(BTreeMap::from([("file".to_owned(), (0..200).map(line).collect())]));
        let mut world = World::new(PIECES, files, 1, Chances::default(), 0);
        match world.run().finish().await {
            Ok(_) => assert!(!stops, "one of {of}"),
            Err(RunError::TooManyRejects { .. }) => assert!(stops, "one of {of}"),
            Err(error) => panic!("{error:?}"),
        }
    }
}

/// A message that was a letter as a whole is replayed as a whole: all of its rows or none.
#[tokio::test(start_paused = true)]
async fn a_whole_letter_becomes_all_of_its_rows_or_stays_open() {
    let line =
        |list: &str| Line { text: format!(r#"{{"kind":"a","list":[{list}]}}"#), readable: true };
    let lines =
        vec![line(r#"{"n":1,"w":1},{"n":2,"w":1},{"n":3,"w":1}"#), line(r#"{"n":4,"w":1},7"#)];
    let files = Files::new(BTreeMap::from([("file".to_owned(), lines)]));
    let broken = PIECES.replace("on_missing: reject", "max: 1");
    let mut world = World::new(&broken, files, 1, Chances::default(), 0);
    world.run().finish().await.unwrap();
    assert_eq!(world.broker.messages("%DLQ%p_all").len(), 2);
    let replayed = world.replay_all().await.unwrap().unwrap();
    assert_eq!((replayed.tried, replayed.made, replayed.rows), (2, 2, 3));
    assert_eq!(replayed.failed, BTreeMap::from([("E-SPLIT-03".to_owned(), 1)]));
    let rows: BTreeSet<i64> = world.destination.rows("all").iter().map(|row| row.2).collect();
    assert_eq!(rows, BTreeSet::from([1, 2, 3]));
    let again = world.replay_all().await.unwrap().unwrap();
    assert_eq!((again.tried, again.rows), (1, 0));
}
