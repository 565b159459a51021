//! Messages like those that a RocketMQ client sends, and a store that takes them.

use std::io::IoSlice;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use millrace_disk::{Disk, RealDisk};
use millrace_store::{Flusher, Placed, QueueNo, Recovered, Store, StoreConfig};
use millrace_types::record::{self, Draft, Stamp};
use millrace_types::{PhysicalOffset, PropertiesBuf, QueueId, QueueOffset, TopicName, keys};

/// As many different messages as the largest group has.
pub(crate) const POOL: usize = 64;

/// Messages of one size for one queue, again and again.
pub(crate) struct Pool {
    body: Vec<u8>,
    properties: Vec<PropertiesBuf>,
    /// The same as records, for whoever writes just the bytes.
    records: Vec<Vec<u8>>,
}

const TOPIC: &str = "orders";

impl Pool {
    pub(crate) fn new(body_bytes: usize) -> Self {
        let body = (0..body_bytes + POOL).map(|n| mixed(n as u64) as u8).collect();
        let properties = (0..POOL as u64).map(client_properties).collect();
        let mut pool = Self { body, properties, records: Vec::new() };
        let stamp = Stamp {
            queue_offset: QueueOffset(0),
            physical_offset: PhysicalOffset(0),
            store_at_ms: 0,
            store_host: StoreConfig::default().store_host,
            more: false,
        };
        for n in 0..POOL {
            let mut bytes = Vec::new();
            record::encode(&pool.draft(n), &stamp, &mut bytes);
            pool.records.push(bytes);
        }
        pool
    }

    pub(crate) fn draft(&self, n: usize) -> Draft<'_> {
        let body = &self.body[n..self.body.len() - POOL + n];
        draft(TOPIC, QueueId(0), body, &self.properties[n])
    }

    pub(crate) fn record_bytes(&self) -> u64 {
        self.records[0].len() as u64
    }

    /// The first messages as records.
    pub(crate) fn slices(&self, count: usize) -> Vec<IoSlice<'_>> {
        self.records[..count].iter().map(|bytes| IoSlice::new(bytes)).collect()
    }
}

/// A message of a client at this machine.
pub(crate) fn draft<'a>(
    topic: &'a str,
    queue_id: QueueId,
    body: &'a [u8],
    properties: &'a PropertiesBuf,
) -> Draft<'a> {
    Draft {
        topic,
        queue_id,
        flag: 0,
        sys_flag: 0,
        born_at_ms: 1_700_000_000_000,
        born_host: ([127, 0, 0, 1], 40_000).into(),
        reconsume_times: 0,
        prepared_offset: PhysicalOffset(0),
        body,
        properties: properties.as_bytes(),
    }
}

/// What the stock Java client sends along: unique key of 32 digits, `WAIT` and a tag.
pub(crate) fn client_properties(n: u64) -> PropertiesBuf {
    let mut properties = PropertiesBuf::new();
    properties.push(keys::UNIQ_KEY, &format!("7F000001{:024X}", mixed(n)));
    properties.push(keys::WAIT, "true").push(keys::TAGS, "TagA");
    properties
}

pub(crate) fn mixed(n: u64) -> u64 {
    let z = (n ^ (n >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// A store whose flusher is called when the measurement says so.
pub(crate) struct Quiet {
    pub(crate) store: Store,
    pub(crate) flusher: Flusher,
    queue: QueueNo,
    placed: Vec<Placed>,
}

impl Quiet {
    pub(crate) fn open(dir: &Path, config: StoreConfig) -> Self {
        let disk: Arc<dyn Disk> = Arc::new(RealDisk::new());
        let (mut store, flusher, _) = Store::open(disk, dir, config).expect("the store opens");
        let topic = TopicName::parse(TOPIC).expect("a legal name");
        let queue = store.queue(&topic, QueueId(0));
        Self { store, flusher, queue, placed: Vec::new() }
    }

    /// Appends the first messages of the pool in one burst, as the reactor does with what it read.
    pub(crate) fn append(&mut self, pool: &Pool, count: usize) {
        self.placed.clear();
        for n in 0..count {
            let message = (self.queue, pool.draft(n));
            self.store.stage(&[message], 1, &mut self.placed).expect("there is room");
        }
        self.store.commit().expect("it is written");
    }

    pub(crate) fn queue(&self) -> QueueNo {
        self.queue
    }

    pub(crate) fn flush(&mut self) {
        self.flusher.flush().expect("the log is durable");
    }
}

/// A store and the thread that flushes it, as in a broker.
pub(crate) struct Running {
    pub(crate) store: Store,
    stop: Arc<AtomicBool>,
    flushing: JoinHandle<Flusher>,
}

/// As the flush thread of a broker: nothing waits for its interval once so much is behind.
const FLUSH_BYTES: u64 = 32 << 20;
const LOOK_EVERY: Duration = Duration::from_millis(20);

impl Running {
    pub(crate) fn open(dir: &Path, config: StoreConfig) -> (Self, Recovered) {
        let disk: Arc<dyn Disk> = Arc::new(RealDisk::new());
        let (store, mut flusher, found) = Store::open(disk, dir, config).expect("the store opens");
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let marks = store.watermarks().clone();
        let flushing = thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                let behind = marks.appended().since(marks.durable());
                flusher.flush().expect("the log is durable");
                flusher.housekeep();
                if behind < FLUSH_BYTES {
                    thread::park_timeout(LOOK_EVERY);
                }
            }
            flusher
        });
        (Self { store, stop, flushing }, found)
    }

    pub(crate) fn stop(self) -> (Store, Flusher) {
        self.stop.store(true, Ordering::Relaxed);
        self.flushing.thread().unpark();
        (self.store, self.flushing.join().expect("the flush thread ended well"))
    }
}

/// Topics and queues by number, so that to name one costs the same however many there are.
pub(crate) struct Spreading {
    topics: u32,
    queues_each: u32,
    grouping: Grouping,
    /// The messages of a burst.
    slots: Vec<Slot>,
    placed: Vec<Placed>,
}

/// How the messages of a burst reach the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Grouping {
    /// One by one, as producers send them.
    Single,
    /// As one group, as a pipeline appends them.
    Group,
}

struct Slot {
    queue: u32,
    topic: String,
    body: Vec<u8>,
    properties: PropertiesBuf,
}

/// Messages of one burst.
pub(crate) const BURST: u64 = 64;
/// The body starts with the number of the message, mixed.
pub(crate) const BODY_MIN: usize = 8;

impl Spreading {
    pub(crate) fn new(
        topics: u32,
        queues_each: u32,
        body_bytes: usize,
        grouping: Grouping,
    ) -> Self {
        let slot = |_| Slot {
            queue: 0,
            topic: topic(0),
            body: vec![7; body_bytes],
            properties: PropertiesBuf::new(),
        };
        let slots = (0..BURST).map(slot).collect();
        Self { topics, queues_each, grouping, slots, placed: Vec::new() }
    }

    pub(crate) fn queues(&self) -> u32 {
        self.topics * self.queues_each
    }

    pub(crate) fn register(&self, store: &mut Store) {
        for n in 0..self.queues() {
            let name = TopicName::parse(&topic(n / self.queues_each)).expect("a legal name");
            let no = store.queue(&name, QueueId(n % self.queues_each));
            assert_eq!(no, QueueNo::from_index(n));
        }
    }

    /// The topic that message `n` goes to.
    pub(crate) fn topic_of(&self, n: u64) -> String {
        topic(self.queue_of(n) / self.queues_each)
    }

    fn queue_of(&self, n: u64) -> u32 {
        (mixed(n) % u64::from(self.queues())) as u32
    }

    /// Appends messages `from..to`, dealt out to the queues.
    pub(crate) fn append(&mut self, store: &mut Store, from: u64, to: u64) {
        let mut next = from;
        while next < to {
            while !store.keeps_up() {
                // A broker turns producers away until it does.
                thread::sleep(Duration::from_millis(1));
            }
            let burst = next..to.min(next + BURST);
            for n in burst.clone() {
                let queue = self.queue_of(n);
                self.slots[(n - next) as usize].fill(n, queue, queue / self.queues_each);
            }
            let slots = &self.slots[..(burst.end - burst.start) as usize];
            let messages = slots.iter().map(|slot| {
                let id = QueueId(slot.queue % self.queues_each);
                let draft = draft(&slot.topic, id, &slot.body, &slot.properties);
                (QueueNo::from_index(slot.queue), draft)
            });
            self.placed.clear();
            match self.grouping {
                Grouping::Group => {
                    let group: Vec<_> = messages.collect();
                    store.stage(&group, next as i64, &mut self.placed).expect("there is room");
                }
                Grouping::Single => messages.for_each(|message| {
                    let staged = store.stage(&[message], next as i64, &mut self.placed);
                    staged.expect("there is room");
                }),
            }
            store.commit().expect("it is written");
            next = burst.end;
        }
    }
}

impl Slot {
    fn fill(&mut self, n: u64, queue: u32, topic: u32) {
        self.queue = queue;
        self.body[..BODY_MIN].copy_from_slice(&mixed(n).to_be_bytes());
        self.properties.clear();
        self.properties.push_number(keys::UNIQ_KEY, n);
        let mut digits = *b"000000";
        let mut left = topic;
        for digit in digits.iter_mut().rev() {
            *digit = b'0' + (left % 10) as u8;
            left /= 10;
        }
        self.topic.truncate(self.topic.len() - digits.len());
        self.topic.push_str(std::str::from_utf8(&digits).expect("digits"));
    }
}

fn topic(n: u32) -> String {
    format!("many-{n:06}")
}
