use std::collections::BTreeSet;

use millrace_types::{QueueId, TopicName};
use proptest::prelude::*;

use super::*;

fn queue(number: u32) -> QueueRef {
    let topic = TopicName::parse("t").expect("a legal name");
    QueueRef { broker: "b".into(), topic, queue: QueueId(number) }
}

fn at(offset: u64) -> QueueOffset {
    QueueOffset(offset)
}

/// Rows of queue 0.
fn spans(first: u64, last: u64) -> Spans {
    let mut spans = Spans::default();
    spans.add(0, at(first), at(last));
    spans
}

fn written(to: u64) -> Frontier {
    let mut frontier = Frontier::new(Resume::default());
    frontier.begin(&queue(0), at(0)).unwrap();
    frontier.end(0, at(to));
    frontier
}

/// `queue 0 next, ahead of each partition in queue 0`
fn told(resume: &Resume) -> (u64, Vec<(&str, u64)>) {
    let ahead = resume.ahead.iter().map(|(name, ahead)| (name.as_str(), ahead[&queue(0)].0));
    (resume.next[&queue(0)].0, ahead.collect())
}

#[test]
fn without_open_rows_reading_resumes_at_the_position() {
    let mut frontier = written(10);
    assert_eq!(told(&frontier.resume([].into_iter())), (10, vec![]));
}

#[test]
fn the_first_open_row_holds_reading_back() {
    let mut frontier = written(10);
    let (a, b, c) = (spans(7, 9), spans(3, 8), spans(2, 6));
    assert_eq!(told(&frontier.resume([&a, &b, &c].into_iter())), (2, vec![]));
    frontier.close("c", &c);
    assert_eq!(told(&frontier.resume([&a, &b].into_iter())), (3, vec![("c", 10)]));
    frontier.close("a", &a);
    assert_eq!(told(&frontier.resume([&b].into_iter())), (3, vec![("a", 10), ("c", 10)]));
    frontier.close("b", &b);
    assert_eq!(told(&frontier.resume([].into_iter())), (10, vec![]));
}

#[test]
fn a_partition_that_goes_on_is_committed_up_to_its_cut() {
    let mut frontier = written(10);
    frontier.close("a", &spans(1, 4));
    frontier.begin(&queue(0), at(10)).unwrap();
    frontier.end(0, at(20));
    let (a, b) = (spans(12, 15), spans(3, 18));
    assert_eq!(told(&frontier.resume([&a, &b].into_iter())), (3, vec![("a", 10)]));
    assert_eq!(frontier.closed_to("a", 0), at(10));
    assert_eq!(frontier.closed_to("b", 0), at(0));
}

#[test]
fn the_ranges_of_a_partition_follow_each_other() {
    let mut frontier = written(10);
    let range = |from, to| vec![OffsetRange { queue: queue(0), from: at(from), to: at(to) }];
    assert_eq!(frontier.close("a", &spans(1, 4)), range(0, 10));
    frontier.begin(&queue(0), at(10)).unwrap();
    // In the middle of a batch a part ends with its last row.
    assert_eq!(frontier.close("a", &spans(11, 13)), range(10, 14));
    assert_eq!(frontier.close("a", &spans(14, 15)), range(14, 16));
    frontier.end(0, at(20));
    assert_eq!(frontier.close("a", &spans(17, 18)), range(16, 20));
    assert_eq!(frontier.close("b", &spans(5, 19)), range(0, 20));
}

#[test]
fn what_was_ahead_is_ahead_after_a_restart() {
    let resume = Resume {
        next: [(queue(0), at(3)), (queue(1), at(5))].into(),
        ahead: [("a".to_owned(), [(queue(0), at(10))].into())].into(),
    };
    let mut frontier = Frontier::new(resume.clone());
    assert_eq!(frontier.resume([].into_iter()), resume);
    assert_eq!(frontier.begin(&queue(0), at(3)), Ok(0));
    assert_eq!(frontier.closed_to("a", 0), at(10));
    frontier.end(0, at(10));
    assert_eq!(told(&frontier.resume([].into_iter())), (10, vec![]));
}

#[test]
fn a_batch_must_begin_where_the_last_one_ended() {
    let mut frontier = written(10);
    for from in [9, 11] {
        let error = frontier.begin(&queue(0), at(from)).unwrap_err();
        assert_eq!(error, BatchError::Gap { queue: queue(0), from: at(from), expected: at(10) });
    }
    assert_eq!(frontier.begin(&queue(1), at(7)), Ok(1));
}

/// What happens to a reader, a frontier, and its parts.
#[derive(Clone, Debug)]
enum Event {
    /// Reads so many rows of a queue, each in one of the partitions or filtered out.
    Read(usize, usize),
    /// Closes the parts of these partitions and commits them.
    Commit(u8),
    /// Loses what is open and starts again from the last commit.
    Crash,
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let event = prop_oneof![
        4 => (0..3_usize, 0..12_usize).prop_map(|(queue, rows)| Event::Read(queue, rows)),
        3 => any::<u8>().prop_map(Event::Commit),
        1 => Just(Event::Crash),
    ];
    proptest::collection::vec(event, 0..80)
}

const PARTITIONS: [&str; 6] = ["a", "b", "c", "d", "e", "f"];

/// An open part of the model: its rows, one by one.
#[derive(Clone, Debug, Default)]
struct Model {
    spans: Spans,
    rows: Vec<(usize, u64)>,
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    /// Against a model that keeps every row: each is committed exactly once, reading never
    /// resumes behind an uncommitted row, and what is ahead is bounded by what is uncommitted.
    #[test]
    fn every_row_is_committed_exactly_once(
        log in proptest::collection::vec(
            proptest::collection::vec(proptest::option::weighted(0.8, 0..PARTITIONS.len()), 40), 3,
        ),
        events in events(),
    ) {
        let mut committed: BTreeSet<(usize, u64)> = BTreeSet::new();
        let mut saved = Resume::default();
        let mut frontier = Frontier::new(saved.clone());
        let mut positions = [0_u64; 3];
        let mut open: BTreeMap<&str, Model> = BTreeMap::new();
        // At the end whatever is left is read and committed.
        let rest = (0..3).map(|queue| Event::Read(queue, 40)).chain([Event::Commit(u8::MAX)]);
        for event in events.into_iter().chain([Event::Crash]).chain(rest) {
            match event {
                Event::Read(number, rows) => {
                    let from = positions[number];
                    let to = (from + rows as u64).min(log[number].len() as u64);
                    positions[number] = to;
                    let index = frontier.begin(&queue(number as u32), at(from)).unwrap();
                    for offset in from..to {
                        let Some(partition) = log[number][offset as usize] else { continue };
                        let partition = PARTITIONS[partition];
                        if at(offset) < frontier.closed_to(partition, index) {
                            continue;
                        }
                        let part = open.entry(partition).or_default();
                        part.spans.add(index, at(offset), at(offset));
                        part.rows.push((number, offset));
                    }
                    frontier.end(index, at(to));
                }
                Event::Commit(which) => {
                    for (bit, partition) in PARTITIONS.iter().enumerate() {
                        if which & (1 << bit) == 0 {
                            continue;
                        }
                        let Some(part) = open.remove(partition) else { continue };
                        let ranges = frontier.close(partition, &part.spans);
                        for (number, offset) in part.rows {
                            prop_assert!(committed.insert((number, offset)), "{number}/{offset} again");
                            let queue = queue(number as u32);
                            let within = |range: &OffsetRange| {
                                range.queue == queue && (range.from..range.to).contains(&at(offset))
                            };
                            prop_assert!(ranges.iter().any(within));
                        }
                    }
                    saved = frontier.resume(open.values().map(|part| &part.spans));
                    for (number, rows) in log.iter().enumerate() {
                        let next = saved.next.get(&queue(number as u32)).map_or(0, |next| next.0);
                        for offset in 0..next {
                            let done = rows[offset as usize].is_none()
                                || committed.contains(&(number, offset));
                            prop_assert!(done, "{number}/{offset} is behind {next}");
                        }
                    }
                    for ahead in saved.ahead.values() {
                        for (queue, to) in ahead {
                            prop_assert!(*to > saved.next[queue]);
                        }
                    }
                }
                Event::Crash => {
                    open.clear();
                    frontier = Frontier::new(saved.clone());
                    for (number, position) in positions.iter_mut().enumerate() {
                        let next = saved.next.get(&queue(number as u32));
                        *position = next.map_or(0, |next| next.0);
                    }
                }
            }
        }
        let all = log.iter().flatten().filter(|partition| partition.is_some()).count();
        prop_assert_eq!(committed.len(), all);
    }
}
