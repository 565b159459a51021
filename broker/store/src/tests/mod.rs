//! The store against a model of a few lines, on a disk that forgets.

mod apache;
mod damage;
mod finding;
mod folder;
mod left_out;
mod missing;
mod model;
#[cfg(feature = "faults")]
mod plants;
mod reading;
mod removal;
mod storage;
mod tail;

use std::path::Path;
use std::sync::Arc;

use millrace_disk::{Disk, SimDisk};
use millrace_types::record::{self, Draft};
use millrace_types::{PhysicalOffset, QueueId, QueueOffset, TopicName};

use crate::{
    AppendError, Bounds, Flusher, OpenError, Placed, ReadError, Recovered, Store, StoreConfig,
};

/// A store with its flusher, on a simulated disk.
struct Opened {
    store: Store,
    flusher: Flusher,
    found: Recovered,
}

/// One message as the model keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Kept {
    topic: &'static str,
    queue: u32,
    body: Vec<u8>,
}

const TOPICS: [&str; 2] = ["orders", "a-topic-with-a-longer-name"];
const DIR: &str = "/data";

fn small() -> StoreConfig {
    StoreConfig { segment_bytes: 4 << 10, index_run_bytes: 6 << 10, ..StoreConfig::default() }
}

fn open(disk: &SimDisk, config: StoreConfig) -> Result<Opened, OpenError> {
    open_in(Arc::new(disk.clone()), Path::new(DIR), config)
}

fn open_in(disk: Arc<dyn Disk>, dir: &Path, config: StoreConfig) -> Result<Opened, OpenError> {
    let (store, flusher, found) = Store::open(disk, dir, config)?;
    Ok(Opened { store, flusher, found })
}

/// A message as a client at no particular time and place sends it.
fn draft<'a>(topic: &'a str, queue_id: QueueId, body: &'a [u8], properties: &'a [u8]) -> Draft<'a> {
    Draft {
        topic,
        queue_id,
        flag: 0,
        sys_flag: 0,
        born_at_ms: 1,
        born_host: ([127, 0, 0, 1], 1).into(),
        reconsume_times: 0,
        prepared_offset: PhysicalOffset(0),
        body,
        properties,
    }
}

impl Opened {
    fn append(&mut self, group: &[Kept]) -> Result<(), AppendError> {
        self.stage(group)?;
        self.store.commit().map(drop)
    }

    fn stage(&mut self, group: &[Kept]) -> Result<Vec<Placed>, AppendError> {
        let mut numbered = Vec::new();
        for message in group {
            let topic = TopicName::parse(message.topic).unwrap();
            let no = self.store.queue(&topic, QueueId(message.queue));
            let draft =
                draft(message.topic, QueueId(message.queue), &message.body, b"TAGS\x01t\x02");
            numbered.push((no, draft));
        }
        let mut placed = Vec::new();
        self.store.stage(&numbered, 1_000, &mut placed)?;
        Ok(placed)
    }

    /// The bodies of a queue by offset; `None` where the store says it has lost one.
    fn bodies(&self, topic: &str, queue: u32) -> Result<Vec<(u64, Vec<u8>)>, crate::ReadError> {
        let Some(no) = self.store.find_queue(topic, QueueId(queue)) else {
            return Ok(Vec::new());
        };
        let mut bodies = Vec::new();
        let mut from = self.store.bounds(no).min;
        loop {
            let plan = self.store.plan(no, from, 7, 2_000, PhysicalOffset(u64::MAX));
            if plan.entries.is_empty() {
                return Ok(bodies);
            }
            for run in self.store.reader().read(&plan.entries)? {
                for record in record::iter(&run) {
                    let record = record.expect("verified by the reader");
                    assert_eq!(record.topic(), topic);
                    assert_eq!(record.queue_id(), QueueId(queue));
                    assert!(record.queue_offset() >= from && record.queue_offset() < plan.next());
                    bodies.push((record.queue_offset().0, record.body().to_vec()));
                }
            }
            from = plan.next();
        }
    }
}

/// The bodies of one queue in a list of groups, numbered from 0.
fn expected(groups: &[Vec<Kept>], topic: &str, queue: u32) -> Vec<(u64, Vec<u8>)> {
    let of_queue = groups.iter().flatten().filter(|m| m.topic == topic && m.queue == queue);
    of_queue.enumerate().map(|(n, message)| (n as u64, message.body.clone())).collect()
}

/// A small generator, so that a seed says everything.
struct Odds(u64);

impl Odds {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    fn group(&mut self) -> Vec<Kept> {
        let len = 1 + self.below(4);
        (0..len).map(|_| self.message()).collect()
    }

    fn message(&mut self) -> Kept {
        let len = self.below(300) as usize;
        let fill = self.next().to_be_bytes();
        Kept {
            topic: TOPICS[self.below(2) as usize],
            queue: self.below(2) as u32,
            body: fill.iter().copied().cycle().take(len).collect(),
        }
    }
}

fn seeds(count: u64) -> Vec<u64> {
    match std::env::var("MILLRACE_SEED") {
        Ok(seed) => vec![seed.parse().expect("MILLRACE_SEED is a number")],
        Err(_) => (0..count).collect(),
    }
}

#[test]
fn offsets_count_messages_of_their_queue() {
    let mut opened = open(&SimDisk::new(0), small()).unwrap();
    let message = |queue| Kept { topic: "orders", queue, body: b"x".to_vec() };
    opened.append(&[message(0), message(1), message(0)]).unwrap();
    let no = opened.store.find_queue("orders", QueueId(0)).unwrap();
    assert_eq!(opened.store.bounds(no).end, QueueOffset(2));
    assert_eq!(opened.bodies("orders", 1).unwrap().len(), 1);
}
