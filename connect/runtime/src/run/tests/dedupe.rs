use super::*;

/// Rows whose key `k` came shortly before do not go on; WINDOW is replaced.
const DEDUPING: &str = r#"
version: 1
pipeline: p
source:
  file: {include: [x], once: true, decode: {json: {}}}
topic: {name: t, queues: 3, key: body.kind}
schema: {n: int, kind: string, k: int}
steps:
  - filter: body.kind <> 'noise'
  - dedupe: {by: body.k, WINDOW}
sinks:
  all:
    parquet: {to: out, rotate: {rows: 5}}
  even:
    where: body.n % 2 = 0
    parquet: {to: out, partition_by: [kind], rotate: {rows: 5}}
"#;

/// Lines of which many have a key that others have.
fn keyed(rng: &mut Rng) -> Files {
    let mut n = 0;
    let files = (0..1 + rng.below(2)).map(|file| {
        let lines = (0..rng.below(50)).map(|_| {
            n += 1;
            let kind = ["a", "b", "c", "noise"][rng.below(4) as usize];
            let k = rng.below(8);
            let text = format!(r#"{{"n":{n},"kind":"{kind}","k":{k}}}"#);
            Line { text, readable: true }
        });
        (format!("file-{file}"), lines.collect())
    });
    Files::new(files.collect())
}

fn field(body: &str, name: &str) -> i64 {
    let (_, rest) = body.split_once(&format!(r#""{name}":"#)).unwrap();
    rest.trim_end_matches('}').split(',').next().unwrap().parse().unwrap()
}

impl World {
    /// The rows of each sink are those that a run without a crash would have delivered, which the
    /// topic tells.
    fn check_deduped(&self, offsets: u64, within_ms: i64, seed: u64) {
        let times = self.broker.store_times("t");
        let (mut all, mut even) = (BTreeSet::new(), BTreeSet::new());
        let mut before: Vec<(u32, u64, i64)> = Vec::new();
        for (queue, offset, _, body) in self.broker.messages("t") {
            let body = std::str::from_utf8(&body).unwrap();
            if body.contains("noise") {
                continue;
            }
            let (n, key) = (field(body, "n"), field(body, "k"));
            let is_near = |(other, at, known): &(u32, u64, i64)| {
                let age = times[&(queue, offset)] - times[&(*other, *at)];
                *other == queue && *known == key && offset - at <= offsets && age < within_ms
            };
            if !before.iter().any(|other| other.0 == queue && is_near(other)) {
                all.insert((queue, offset, n));
                if n % 2 == 0 {
                    even.insert((queue, offset, n));
                }
            }
            before.push((queue, offset, key));
        }
        for (sink, expected) in [("all", all), ("even", even)] {
            let rows = self.destination.rows(sink);
            let found: BTreeSet<_> = rows.iter().copied().collect();
            assert_eq!(found.len(), rows.len(), "seed {seed}: rows twice in {sink}");
            assert_eq!(found, expected, "seed {seed}: rows of {sink}");
        }
    }
}

async fn crash_and_recover_deduped(seed: u64) {
    let mut rng = Rng::new(seed);
    let offsets = 1 + rng.below(12);
    let within_ms = 1 + rng.below(60) as i64;
    let (window, offsets, within_ms) = match rng.below(3) {
        0 => (format!("offsets: {offsets}"), offsets, i64::MAX),
        1 => (format!("within: {within_ms}ms"), u64::MAX, within_ms),
        _ => (format!("offsets: {offsets}, within: {within_ms}ms"), offsets, within_ms),
    };
    let text = DEDUPING.replace("WINDOW", &window);
    let bad = rng.below(2) * 15;
    let chances = Chances { answer_lost: bad, late: bad, ..Chances::default() };
    let mut world = World::new(&text, keyed(&mut rng), seed, chances, bad);
    for _ in 0..1 + rng.below(6) {
        world.run_a_while(&mut rng, seed).await;
        if rng.below(3) == 0 {
            world.broker.cut_power();
        }
    }
    let last = world.run().finish().await;
    let summary = last.unwrap_or_else(|error| panic!("seed {seed}: {error:?}"));
    assert!(summary.balanced, "seed {seed}: {summary:?}");
    world.check_deduped(offsets, within_ms, seed);
}

/// A kill at any point gives the rows that no kill gives.
#[tokio::test(start_paused = true)]
async fn whatever_crashes_the_same_rows_are_duplicates() {
    for seed in seeds(300) {
        crash_and_recover_deduped(seed).await;
    }
}

/// The broker is told to keep the window.
#[tokio::test(start_paused = true)]
async fn the_window_is_held() {
    let text = DEDUPING.replace("WINDOW", "offsets: 10").replace("queues: 3", "queues: 1");
    let line = |n: u64| Line { text: format!(r#"{{"n":{n},"kind":"a","k":{n}}}"#), readable: true };
    let files = Files::new(BTreeMap::from([("file".to_owned(), (0..60).map(line).collect())]));
    let mut world = World::new(&text, files, 1, Chances::default(), 0);
    world.run().finish().await.unwrap();
    let ledger = world.broker.messages(crate::ledger::TOPIC);
    let holds: Vec<u64> = ledger
        .iter()
        .filter_map(|(_, _, properties, _)| properties.get(millrace_types::keys::HOLD))
        .filter_map(|hold| hold.strip_prefix("sink all;t:0:")?.parse().ok())
        .collect();
    let last = holds.last().copied();
    assert!(last.is_some_and(|last| last <= 50), "the window begins at 50: {holds:?}");
}
