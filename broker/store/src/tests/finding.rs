//! Look-ups by key, and what a record is dispatched to.

use std::path::Path;

use millrace_disk::{Disk, SimDisk};
use millrace_types::record::{Draft, Record, sys_flag};
use millrace_types::{PhysicalOffset, PropertiesBuf, QueueId, QueueOffset, TopicName, keys};

use super::{DIR, Odds, Opened, open, seeds, small};
use crate::{KeyQuery, Placed, StoreConfig};

const EVERYTHING: KeyQuery<'_> = KeyQuery {
    topic: "orders",
    key: "",
    unique_only: false,
    count_max: usize::MAX,
    bytes_max: usize::MAX,
    from_ms: i64::MIN,
    until_ms: i64::MAX,
};

/// One message as the model keeps it.
#[derive(Clone, Debug)]
struct Keyed {
    topic: &'static str,
    unique: String,
    words: Vec<String>,
    stored_ms: i64,
    body: Vec<u8>,
}

impl Keyed {
    fn random(odds: &mut Odds, n: u64) -> Self {
        let words = (0..odds.below(4)).map(|_| format!("k{}", odds.below(5))).collect();
        Self {
            topic: super::TOPICS[odds.below(2) as usize],
            unique: format!("ID{}", odds.below(n + 1)),
            words,
            stored_ms: (n / 3) as i64,
            body: n.to_be_bytes().to_vec(),
        }
    }

    fn matches(&self, query: &KeyQuery<'_>) -> bool {
        let word = || self.words.iter().any(|word| word == query.key);
        self.topic == query.topic
            && (query.from_ms..=query.until_ms).contains(&self.stored_ms)
            && (self.unique == query.key || !query.unique_only && word())
    }

    fn stage(&self, opened: &mut Opened, flags: u32, more: &[(&str, &str)]) -> Placed {
        let mut properties = PropertiesBuf::new();
        properties.push(keys::UNIQ_KEY, &self.unique).push(keys::KEYS, &self.words.join(" "));
        for (name, value) in more {
            properties.push(name, value);
        }
        let no = opened.store.queue(&TopicName::parse(self.topic).unwrap(), QueueId(0));
        let draft = Draft {
            topic: self.topic,
            queue_id: QueueId(0),
            flag: 0,
            sys_flag: flags,
            born_at_ms: 1,
            born_host: ([127, 0, 0, 1], 1).into(),
            reconsume_times: 0,
            prepared_offset: PhysicalOffset(0),
            body: &self.body,
            properties: properties.as_bytes(),
        };
        let mut placed = Vec::new();
        opened.store.stage(&[(no, draft)], self.stored_ms, &mut placed).unwrap();
        placed[0]
    }
}

fn bodies(opened: &Opened, query: &KeyQuery<'_>) -> Vec<Vec<u8>> {
    let found = opened.store.key_lookup(PhysicalOffset(u64::MAX)).find(query).unwrap();
    assert!(!found.cut_short && found.unreadable.is_empty());
    let body = |bytes: &bytes::Bytes| Record::parse(bytes).unwrap().body().to_vec();
    found.records.iter().map(body).collect()
}

fn check(opened: &Opened, model: &[Keyed], odds: &mut Odds) {
    for _ in 0..12 {
        let unique = odds.below(2) == 0;
        let of = odds.below(model.len() as u64 + 2);
        let key = if unique { format!("ID{of}") } else { format!("k{}", odds.below(6)) };
        let from_ms = odds.below(of + 1) as i64;
        let query = KeyQuery {
            topic: super::TOPICS[odds.below(2) as usize],
            key: &key,
            unique_only: odds.below(3) == 0,
            count_max: 1 + odds.below(9) as usize,
            from_ms,
            until_ms: from_ms + odds.below(60) as i64,
            ..EVERYTHING
        };
        let matching = model.iter().filter(|message| message.matches(&query));
        let all: Vec<Vec<u8>> = matching.map(|message| message.body.clone()).collect();
        let newest = all.len().saturating_sub(query.count_max);
        assert_eq!(bodies(opened, &query), all[newest..], "{query:?}");
    }
}

#[test]
fn a_key_finds_its_newest_messages_wherever_they_are_indexed() {
    for seed in seeds(60) {
        let mut odds = Odds(seed);
        let disk = SimDisk::new(seed);
        let mut opened = open(&disk, small()).unwrap();
        let mut model = Vec::new();
        for n in 0..150 {
            let message = Keyed::random(&mut odds, n);
            message.stage(&mut opened, 0, &[]);
            model.push(message);
            opened.store.commit().unwrap();
            match odds.below(12) {
                0 => drop(opened.flusher.flush().unwrap()),
                1 => {
                    opened.flusher.flush().unwrap();
                    opened.flusher.housekeep();
                }
                2 => {
                    opened.store.close(opened.flusher).unwrap();
                    opened = open(&disk, small()).unwrap();
                }
                // As after `kill -9`: what was written is there, what was in memory is not.
                3 => {
                    drop(opened);
                    opened = open(&disk, small()).unwrap();
                }
                4 => check(&opened, &model, &mut odds),
                _ => {}
            }
        }
        check(&opened, &model, &mut odds);
        assert!(opened.found.damage.is_empty(), "seed {seed}");
    }
}

#[test]
fn a_message_is_found_once_it_is_visible() {
    let mut opened = open(&SimDisk::new(0), small()).unwrap();
    let message = Keyed::random(&mut Odds(1), 0);
    let query = KeyQuery { topic: message.topic, key: &message.unique, ..EVERYTHING };
    let placed = message.stage(&mut opened, 0, &[]);
    assert!(bodies(&opened, &query).is_empty());
    opened.store.commit().unwrap();
    let end = placed.physical_offset + u64::from(placed.size);
    let seen = |limit| opened.store.key_lookup(limit).find(&query).unwrap().records.len();
    assert_eq!(seen(PhysicalOffset(end.0 - 1)), 0);
    assert_eq!(seen(end), 1);
}

#[test]
fn a_lost_index_is_built_again_in_runs_of_the_usual_size() {
    let disk = SimDisk::new(0);
    let mut odds = Odds(7);
    let mut opened = open(&disk, small()).unwrap();
    let model: Vec<Keyed> = (0..300).map(|n| Keyed::random(&mut odds, n)).collect();
    for message in &model {
        message.stage(&mut opened, 0, &[]);
        opened.store.commit().unwrap();
    }
    opened.store.close(opened.flusher).unwrap();
    let dir = Path::new(DIR).join("index");
    let runs = |disk: &SimDisk| disk.list(&dir).unwrap();
    for run in runs(&disk) {
        disk.remove(&dir.join(run.name)).unwrap();
    }
    let opened = open(&disk, small()).unwrap();
    let stretches: Vec<u64> = runs(&disk)
        .iter()
        .map(|run| {
            let (from, to) = run.name.trim_end_matches(".run").split_once('-').unwrap();
            to.parse::<u64>().unwrap() - from.parse::<u64>().unwrap()
        })
        .collect();
    assert!(stretches.len() > 3, "{stretches:?}");
    let usual = small().index_run_bytes;
    assert!(stretches.iter().all(|len| (usual..usual + 600).contains(len)), "{stretches:?}");
    check(&opened, &model, &mut odds);
}

#[test]
fn a_run_with_one_flipped_bit_is_built_again() {
    let config = StoreConfig { index_run_bytes: 1 << 20, ..small() };
    let disk = SimDisk::new(0);
    let mut odds = Odds(3);
    let mut opened = open(&disk, config.clone()).unwrap();
    let model: Vec<Keyed> = (0..40).map(|n| Keyed::random(&mut odds, n)).collect();
    for message in &model {
        message.stage(&mut opened, 0, &[]);
    }
    opened.store.close(opened.flusher).unwrap();
    let dir = Path::new(DIR).join("index");
    let run = dir.join(&disk.list(&dir).unwrap()[0].name);
    let len = disk.open(&run, millrace_disk::Access::Read).unwrap().size().unwrap();
    for at in 0..len {
        let file = disk.open(&run, millrace_disk::Access::ReadWrite).unwrap();
        let mut byte = [0];
        file.read_at(&mut byte, at).unwrap();
        file.write_at(&[std::io::IoSlice::new(&[byte[0] ^ 1 << (at % 8)])], at).unwrap();
        let opened = open(&disk, config.clone()).unwrap();
        assert_eq!(opened.found.index_rebuilt, std::slice::from_ref(&run), "byte {at}");
        check(&opened, &model, &mut odds);
        opened.store.close(opened.flusher).unwrap();
    }
}

#[test]
fn a_half_message_takes_no_place_in_its_queue() {
    let disk = SimDisk::new(0);
    let mut opened = open(&disk, small()).unwrap();
    let mut odds = Odds(1);
    let mut message = Keyed::random(&mut odds, 0);
    message.topic = "orders";
    for (flags, unique) in [
        (0, "plain"),
        (sys_flag::TRANSACTION_PREPARED, "half"),
        (0x8, "commit"),
        (sys_flag::TRANSACTION_MASK, "rollback"),
    ] {
        message.unique = unique.into();
        message.stage(&mut opened, flags, &[]);
    }
    opened.store.commit().unwrap();
    for _ in 0..2 {
        let no = opened.store.find_queue("orders", QueueId(0)).unwrap();
        assert_eq!(opened.store.bounds(no).end, QueueOffset(2), "plain and commit");
        for (key, times) in [("plain", 1), ("half", 1), ("commit", 1), ("rollback", 0)] {
            assert_eq!(bodies(&opened, &KeyQuery { key, ..EVERYTHING }).len(), times, "{key}");
        }
        drop(opened);
        opened = open(&disk, small()).unwrap();
    }
}

#[test]
fn a_record_stands_in_every_lite_queue_it_names() {
    let config = StoreConfig { multi_dispatch: true, ..small() };
    let disk = SimDisk::new(0);
    let mut opened = open(&disk, config.clone()).unwrap();
    let mut message = Keyed::random(&mut Odds(1), 0);
    message.topic = "orders";
    // `other` is no lite queue, and an offset that is taken or not the next is not given.
    for (names, offsets) in
        [("%LMQ%a,%LMQ%b,other", "0,0,0"), ("%LMQ%b,%LMQ%a", "1,0"), ("%LMQ%b", "7")]
    {
        let more = [(keys::MULTI_DISPATCH, names), (keys::MULTI_QUEUE_OFFSET, offsets)];
        message.stage(&mut opened, 0, &more);
    }
    opened.store.commit().unwrap();
    let entries = |opened: &Opened, topic: &str| {
        let no = opened.store.find_queue(topic, QueueId(0)).unwrap();
        let end = PhysicalOffset(u64::MAX);
        opened.store.plan(no, QueueOffset(0), 99, u64::MAX, end).entries
    };
    for (topic, count) in [("orders", 3), ("%LMQ%a", 1), ("%LMQ%b", 2)] {
        let plan = entries(&opened, topic);
        assert_eq!(plan.len(), count, "{topic}");
        assert!(opened.store.reader().read(&plan).is_ok());
    }
    assert!(opened.store.find_queue("other", QueueId(0)).is_none());
    let before = entries(&opened, "%LMQ%b");
    opened.store.close(opened.flusher).unwrap();
    let opened = open(&disk, config).unwrap();
    assert_eq!(entries(&opened, "%LMQ%b"), before);
}
