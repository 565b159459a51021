use std::collections::BTreeMap;

use millrace_connect_api::{OffsetRange, Part, QueueRef, Resume};

use super::*;
use crate::testing::{Chances, MemoryBroker, SimClock};

fn queue(number: u32) -> QueueRef {
    QueueRef {
        broker: Arc::from("b"),
        topic: TopicName::parse("orders").unwrap(),
        queue: QueueId(number),
    }
}

fn resume(next: &[(u32, u64)]) -> Resume {
    let next = next.iter().map(|&(number, offset)| (queue(number), QueueOffset(offset)));
    Resume { next: next.collect(), ahead: BTreeMap::new() }
}

fn part(id: u64, partition: &str, from: u64, to: u64) -> Part {
    Part {
        id,
        name: format!("{id}.parquet"),
        staged: format!(".{id}.part"),
        partition: partition.to_owned(),
        ranges: vec![OffsetRange { queue: queue(0), from: QueueOffset(from), to: QueueOffset(to) }],
        rows: to - from,
        bytes: 100 * id,
        checksum: 7,
    }
}

fn lease(worker: &str, epoch: u64) -> (u64, Record) {
    (epoch, Record::Lease(Lease { worker: worker.to_owned(), epoch }))
}

fn planned(epoch: u64, parts: &[Part], next: u64) -> (u64, Record) {
    let planned = Planned {
        sink: "s".to_owned(),
        parts: parts.iter().map(PlannedPart::new).collect(),
        resume: Offsets::new(&resume(&[(0, next)])),
        pipeline: "00ff".to_owned(),
        letters: OffsetSet::default(),
    };
    (epoch, Record::Planned(planned))
}

fn committed(epoch: u64, parts: &[Part], next: u64) -> (u64, Record) {
    let committed = Committed {
        sink: "s".to_owned(),
        parts: parts.iter().map(CommittedPart::new).collect(),
        resume: Offsets::new(&resume(&[(0, next)])),
        layout: "0".to_owned(),
        window: Vec::new(),
        letters: OffsetSet::default(),
    };
    (epoch, Record::Committed(committed))
}

fn aborted(epoch: u64, parts: &[u64]) -> (u64, Record) {
    let aborted =
        Aborted { sink: "s".to_owned(), parts: parts.to_vec(), reason: "gone".to_owned() };
    (epoch, Record::Aborted(aborted))
}

fn letters(epoch: u64, offsets: &[u64]) -> (u64, Record) {
    let rows = LetterRows {
        broker: "b".to_owned(),
        topic: "orders".to_owned(),
        queue: 0,
        offsets: offsets.to_vec(),
        pieces: Vec::new(),
    };
    let letters = Letters {
        sink: "s".to_owned(),
        topic: "%DLQ%p_s".to_owned(),
        rows: vec![rows],
        counts: BTreeMap::from([("E-DECODE-01".to_owned(), offsets.len() as u64)]),
    };
    (epoch, Record::Letters(letters))
}

#[test]
fn a_part_that_was_opened_first_and_planned_last_is_unsettled() {
    let (first, later) = (part(0, "day=1", 0, 10), part(1, "day=2", 0, 5));
    let state = folded(&[
        lease("w", 1),
        planned(1, std::slice::from_ref(&later), 0),
        committed(1, std::slice::from_ref(&later), 0),
        planned(1, std::slice::from_ref(&first), 10),
    ]);
    let sink = &state.sinks["s"];
    assert_eq!(sink.planned.len(), 1);
    assert_eq!(sink.planned[0].parts, [first]);
    assert_eq!(sink.next_part_id, 2);
}

/// What the records add up to, after each of them went through JSON.
fn folded(records: &[(u64, Record)]) -> LedgerState {
    let mut state = LedgerState::default();
    for (seq, (epoch, record)) in records.iter().enumerate() {
        let entry = Entry { v: VERSION, seq: seq as u64, record: record.clone() };
        let json = serde_json::to_string(&entry).unwrap();
        let read: Entry = serde_json::from_str(&json).unwrap();
        assert_eq!(read, entry, "{json}");
        state.fold(*epoch, &read).unwrap();
    }
    state
}

/// Next offset of queue 0, unsettled part numbers, next part number, lettered offsets.
#[track_caller]
fn check(records: &[(u64, Record)], next: Option<u64>, open: &[u64], id: u64, lettered: &[u64]) {
    let state = folded(records);
    let sink = state.sinks.get("s").cloned().unwrap_or_default();
    assert_eq!(sink.resume, next.map(|next| resume(&[(0, next)])), "resume");
    let unsettled = sink.planned.iter().flat_map(|unsettled| &unsettled.parts);
    assert_eq!(unsettled.map(|part| part.id).collect::<Vec<_>>(), open, "unsettled");
    assert_eq!(sink.next_part_id, id, "next part");
    let known = sink.lettered.values().flatten().map(|row| row.offset.0);
    assert_eq!(known.collect::<Vec<_>>(), lettered, "lettered");
}

#[test]
fn records_add_up() {
    let (a, b) = (part(3, "x", 0, 10), part(4, "y", 2, 9));
    let both = [a.clone(), b.clone()];
    check(&[], None, &[], 0, &[]);
    check(&[lease("w", 1), committed(1, &[], 5)], Some(5), &[], 0, &[]);
    check(&[planned(1, &both, 10)], None, &[3, 4], 5, &[]);
    check(&[planned(1, &both, 10), committed(1, &both, 10)], Some(10), &[], 5, &[]);
    check(&[planned(1, &both, 10), aborted(1, &[3, 4])], None, &[], 5, &[]);
    check(
        &[planned(1, &both, 10), aborted(1, &[4]), committed(1, std::slice::from_ref(&a), 2)],
        Some(2),
        &[],
        5,
        &[],
    );
    // A second copy of a PLANNED brings nothing back.
    check(
        &[planned(1, &both, 10), committed(1, &both, 10), planned(1, &both, 10)],
        Some(10),
        &[],
        5,
        &[],
    );
    // Letters count until reading goes on behind them.
    check(&[letters(1, &[2, 7])], None, &[], 0, &[2, 7]);
    check(&[letters(1, &[2, 7]), committed(1, &[], 7)], Some(7), &[], 0, &[7]);
    check(&[letters(1, &[2, 7]), committed(1, &[], 8)], Some(8), &[], 0, &[]);
}

#[test]
fn letters_are_replayed_with_their_parts_or_dropped() {
    let set = |ranges: &[(u64, u64)]| OffsetSet::from(ranges.to_vec());
    let (a, b) = (part(0, "x", 0, 10), part(1, "y", 0, 10));
    let with = |(epoch, record): (u64, Record), letters: &OffsetSet| match record {
        Record::Planned(mut planned) => {
            planned.letters = letters.clone();
            (epoch, Record::Planned(planned))
        }
        Record::Committed(mut committed) => {
            committed.letters = letters.clone();
            (epoch, Record::Committed(committed))
        }
        other => (epoch, other),
    };
    let drop =
        |ranges| (1, Record::Dropped(Dropped { sink: "s".to_owned(), letters: set(ranges) }));
    let records = [
        lease("w", 1),
        with(planned(1, std::slice::from_ref(&a), 0), &set(&[(0, 2), (5, 6)])),
        with(committed(1, &[a], 0), &set(&[(0, 2), (5, 6)])),
        drop(&[(2, 3)]),
        with(planned(1, std::slice::from_ref(&b), 0), &set(&[(3, 5)])),
    ];
    let state = folded(&records);
    let sink = &state.sinks["s"];
    assert_eq!((&sink.replayed, &sink.dropped), (&set(&[(0, 2), (5, 6)]), &set(&[(2, 3)])));
    assert_eq!(sink.planned[0].letters, set(&[(3, 5)]));
    assert_eq!(folded(&[(1, Record::State(state.mark()))]), state);
}

/// What a program wrote that knew no replays.
#[test]
fn a_ledger_without_replays_is_read() {
    let json = r#"{"v":1,"seq":1,"record":"STATE","worker":"w","source":null,"sinks":[{"sink":"s","#
        .to_owned()
        + r#""resume":{"next":[]},"layout":"0","planned":[{"parts":[],"resume":{"next":[]}}],"#
        + r#""next_part_id":1,"planned_below":1,"planned_above":[],"lettered":[],"parts":1,"#
        + r#""bytes":9,"letters":{"E-DECODE-01":1}}]}"#;
    let entry: Entry = serde_json::from_str(&json).unwrap();
    let mut state = LedgerState::default();
    state.fold(1, &entry).unwrap();
    assert_eq!((state.sinks["s"].parts, state.sinks["s"].replayed.len()), (1, 0));
    // What has no letters is written as it was then.
    assert_eq!(serde_json::to_string(&entry).unwrap(), json);
}

#[test]
fn a_zombies_records_do_not_count() {
    let records =
        [lease("a", 1), lease("b", 2), committed(1, &[], 99), planned(1, &[part(8, "", 0, 1)], 1)];
    check(&records, None, &[], 0, &[]);
    assert_eq!(folded(&records).worker.as_deref(), Some("b"));
}

#[test]
fn the_first_lease_of_an_epoch_holds() {
    let state = folded(&[lease("a", 1), lease("b", 2), lease("c", 2)]);
    assert_eq!((state.epoch, state.worker.as_deref()), (2, Some("b")));
}

#[test]
fn the_json_stays_as_documented() {
    let mut resume = resume(&[(0, 12)]);
    resume.ahead.insert("day=1".to_owned(), BTreeMap::from([(queue(0), QueueOffset(20))]));
    let record = Record::Planned(Planned {
        sink: "s".to_owned(),
        parts: vec![PlannedPart::new(&part(3, "day=1", 0, 10))],
        resume: Offsets::new(&resume),
        pipeline: "00ff".to_owned(),
        letters: OffsetSet::default(),
    });
    let json = serde_json::to_string(&Entry { v: 1, seq: 5, record }).unwrap();
    assert_eq!(
        json,
        r#"{"v":1,"seq":5,"record":"PLANNED","sink":"s","parts":[{"id":3,"name":"3.parquet","#
            .to_owned()
            + r#""staged":".3.part","partition":"day=1","ranges":[{"broker":"b","#
            + r#""topic":"orders","queue":0,"from":0,"to":10}],"rows":10,"bytes":300,"#
            + r#""checksum":7}],"resume":{"next":[{"broker":"b","topic":"orders","queue":0,"#
            + r#""offset":12}],"ahead":[{"partition":"day=1","next":[{"broker":"b","#
            + r#""topic":"orders","queue":0,"offset":20}]}]},"pipeline":"00ff"}"#
    );
    let Record::Planned(read) = serde_json::from_str::<Entry>(&json).unwrap().record else {
        panic!("{json}");
    };
    assert_eq!(read.resume.read().unwrap(), resume);
    assert_eq!(read.parts[0].read().unwrap(), part(3, "day=1", 0, 10));
}

fn link(broker: &Arc<MemoryBroker>, seed: u64) -> Arc<Link> {
    let clock = Arc::new(SimClock::new());
    let broker: Arc<dyn Broker> = Arc::clone(broker) as Arc<dyn Broker>;
    Arc::new(Link::new(broker, clock, Patience::ENDLESS, seed, Stop::default()))
}

#[tokio::test(start_paused = true)]
async fn a_worker_is_fenced_off_by_the_next_one() {
    let broker = MemoryBroker::new(1, Chances::default());
    let (first, state) = Ledger::open(link(&broker, 1), "p", "a").await.unwrap();
    assert_eq!(state.epoch, 1);
    let (_, offsets) = committed(1, &[], 5);
    first.append_records(vec![offsets.clone()], Wait::Policy).await.unwrap();
    let (second, state) = Ledger::open(link(&broker, 2), "p", "b").await.unwrap();
    assert_eq!((state.epoch, state.sinks["s"].resume.clone()), (2, Some(resume(&[(0, 5)]))));
    let refused = first.append_records(vec![offsets.clone()], Wait::Policy).await;
    assert!(matches!(refused, Err(RunError::Fenced { current: 2 })), "{refused:?}");
    second.append_records(vec![offsets], Wait::Policy).await.unwrap();
    let read = read(broker as Arc<dyn Broker>, "p").await.unwrap().unwrap();
    assert_eq!(read.worker.as_deref(), Some("b"));
}

#[tokio::test(start_paused = true)]
async fn pipelines_do_not_share_a_queue() {
    let broker = MemoryBroker::new(2, Chances::default());
    for name in ["p", "q", "r", "q"] {
        Ledger::open(link(&broker, 1), name, "w").await.unwrap();
    }
    let queues: Vec<_> = broker.messages(TOPIC).iter().map(|message| message.0).collect();
    assert_eq!(queues, [0, 1, 0, 2, 0, 3, 2]);
    assert!(read(broker as Arc<dyn Broker>, "never ran").await.unwrap().is_none());
}

/// However the answers are lost, every append is in the log once.
#[tokio::test(start_paused = true)]
async fn a_lost_answer_neither_loses_nor_doubles_a_record() {
    for seed in 0..200 {
        let chances = Chances {
            unreachable: 50,
            answer_lost: 150,
            request_lost: 150,
            late: 150,
            disk_full: 50,
        };
        let broker = MemoryBroker::new(seed, chances);
        let (ledger, _) = Ledger::open(link(&broker, seed), "p", "w").await.unwrap();
        let orders = TopicName::parse("orders").unwrap();
        link(&broker, seed).ensure_topic(&orders, 1).await.unwrap();
        let body = |number: u64| Outgoing {
            topic: orders.clone(),
            queue: QueueId(0),
            body: Bytes::from(number.to_string()),
            properties: Bytes::new(),
            born_at_ms: 0,
        };
        // Two at a time, so that one finds the lease renewed by the other.
        for number in (0..10).step_by(2) {
            let (one, two) = ([body(number)].into(), [body(number + 1)].into());
            let records = || vec![committed(1, &[], number).1];
            let (one, two) = tokio::join!(
                ledger.append(&one, records(), Wait::Policy),
                ledger.append(&two, records(), Wait::Policy),
            );
            assert_ne!((one.unwrap(), two.unwrap()), (Landed::Unknown, Landed::Unknown));
        }
        broker.settle();
        let bodies: Vec<String> = broker
            .messages("orders")
            .iter()
            .map(|message| String::from_utf8(message.3.to_vec()).unwrap())
            .collect();
        for number in 0..10 {
            let copies = bodies.iter().filter(|body| **body == number.to_string()).count();
            assert_eq!(copies, 1, "seed {seed}, number {number}");
        }
    }
}

#[test]
fn a_state_record_stands_for_all_before_it() {
    let (a, b) = (part(3, "x", 0, 10), part(4, "y", 2, 9));
    let records = [
        lease("w", 1),
        letters(1, &[2, 7]),
        planned(1, std::slice::from_ref(&a), 4),
        committed(1, &[a], 4),
        planned(1, std::slice::from_ref(&b), 10),
    ];
    let state = folded(&records);
    let mark = (1, Record::State(state.mark()));
    assert_eq!(folded(std::slice::from_ref(&mark)), state);
    let after = [committed(1, &[b], 10), letters(1, &[12])];
    let all: Vec<_> = records.into_iter().chain(after.clone()).collect();
    let short: Vec<_> = [mark].into_iter().chain(after).collect();
    assert_eq!(folded(&short), folded(&all));
}

#[test]
fn a_copy_of_a_ledger_is_read_as_if_nothing_came_before() {
    let records = [lease("w", 1), letters(1, &[2, 7]), committed(1, &[], 4)];
    let mut state = folded(&records);
    let once = state.clone();
    for (n, (epoch, record)) in records.into_iter().enumerate() {
        let entry = Entry { v: VERSION, seq: n as u64, record };
        state.take(&Read { epoch, starts_anew: n == 0, entry }).unwrap();
    }
    assert_eq!(state, once, "letters are not counted twice");
}

#[tokio::test(start_paused = true)]
async fn a_ledger_that_has_grown_is_summed_up() {
    let broker = MemoryBroker::new(1, Chances::default());
    let (ledger, _) = Ledger::open(link(&broker, 1), "p", "a").await.unwrap();
    for n in 0..2_000 {
        let mut parts = vec![part(n, "x", n, n + 1)];
        parts[0].name = "x".repeat(600);
        let (_, record) = planned(1, &parts, n + 1);
        ledger.append_records(vec![record], Wait::Policy).await.unwrap();
        let (_, record) = committed(1, &parts, n + 1);
        ledger.append_records(vec![record], Wait::Policy).await.unwrap();
    }
    let state = read(Arc::clone(&broker) as Arc<dyn Broker>, "p").await.unwrap().unwrap();
    assert_eq!(state, ledger.state.into_inner().into_inner().unwrap().state);
    assert_eq!(state.sinks["s"].parts, 2_000);
    let is_start = |tag: Option<&String>| tag.is_some_and(|tag| tag == keys::STATE_TAG);
    let messages = broker.messages(TOPIC);
    let starts = messages
        .iter()
        .filter(|(_, _, properties, _)| is_start(properties.get(keys::TAGS)))
        .count();
    assert!((1..=4).contains(&starts), "{starts}");
}
