use std::collections::BTreeSet;
use std::io::IoSlice;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use millrace_disk::{Access, Disk, SimDisk};
use millrace_store::{Flusher, KeyQuery, Recovered, Store, StoreConfig};
use millrace_types::record::{self, Draft};
use millrace_types::{PhysicalOffset, QueueId, TopicName};

use super::crc32;

const DIR: &str = "/data";
const TOPICS: [&str; 2] = ["orders", "a-topic-with-a-longer-name"];
/// Topic, queue, queue offset, body.
type Message = (String, u32, u64, Vec<u8>);

/// A data directory to start from, and what was stored in it.
struct Base {
    disk: SimDisk,
    stored: BTreeSet<Message>,
}

/// A run of the queue index whose checksum is right, whatever it says.
pub fn queue_index(bytes: &[u8]) {
    let disk = bases()[0].disk.image(0);
    for path in paths(&disk).into_iter().filter(|path| path.starts_with("/data/index")) {
        disk.remove(&path).expect("it is there");
    }
    let mut content = bytes.to_vec();
    content.extend_from_slice(&crc32(bytes).to_be_bytes());
    let bound = |at: usize| -> u64 {
        let bound = bytes.get(at..at + 8).and_then(|bytes| bytes.try_into().ok());
        bound.map_or(0, u64::from_be_bytes)
    };
    let name = format!("{:020}-{:020}.run", bound(8), bound(16));
    write(&disk, &Path::new(DIR).join("index").join(name), &content);
    if let Ok(mut opened) = open(&disk) {
        // A run of false entries leads to records of other queues, or to none.
        let _ = opened.messages();
        opened.look_up();
        opened.append();
    }
}

/// A data directory after changes that no crash makes.
///
/// The first byte says which directory; every eight bytes after it are one change: the number of
/// the file, what is done, an offset (2) and a value (4).
pub fn recovery(bytes: &[u8]) {
    let Some((which, changes)) = bytes.split_first() else {
        return;
    };
    let base = &bases()[usize::from(*which) % bases().len()];
    let disk = base.disk.image(0);
    for change in changes.chunks_exact(8).take(32) {
        alter(&disk, change);
    }
    // Twice: the first start may leave something that the second does not bear.
    for _ in 0..2 {
        let Ok(mut opened) = open(&disk) else {
            return;
        };
        let seen = opened.messages();
        opened.look_up();
        if let Some(wrong) = seen.iter().find(|each| !base.stored.contains(*each) && !own(each)) {
            panic!("never stored: {wrong:?}");
        }
        opened.append();
        let kept = opened.messages();
        assert!(kept.is_superset(&seen), "an append took something away");
        let Opened { store, flusher, .. } = opened;
        if store.close(flusher).is_err() {
            return;
        }
        let again = open(&disk).expect("what was closed opens again");
        assert!(again.found.clean, "closed and not clean");
        assert_eq!(again.messages(), kept, "closing and opening changes what is there");
    }
}

/// A snapshot of the broker's state whose checksum is right, whatever it says.
pub fn snapshot(bytes: &[u8]) {
    let disk = bases()[1].disk.image(0);
    let next = bytes.first().map_or(0, |first| u64::from(*first) % 4);
    let body = bytes.get(1..).unwrap_or_default();
    let mut content = b"MRSN\x00\x00\x00\x01".to_vec();
    content.extend_from_slice(&next.to_be_bytes());
    content.extend_from_slice(&(body.len() as u32).to_be_bytes());
    content.extend_from_slice(body);
    content.extend_from_slice(&crc32(&content).to_be_bytes());
    let dir = Path::new(DIR).join("state");
    disk.create_dir_all(&dir).expect("the disk is whole");
    write(&disk, &dir.join(format!("{next:020}.snap")), &content);
    let mut opened = open(&disk).expect("a snapshot keeps no store from opening");
    let found = opened.store.take_snapshots();
    assert!(found.iter().any(|found| found.next.0 == next && found.body == body));
    // Whoever reads the state out of it may refuse it, and no more.
    drop(opened);
    let opened = open(&disk).expect("it opened before");
    let conditions = Arc::new(millrace_engine::NoConditions);
    let _ = millrace_engine::Engine::open(opened.store, Default::default(), conditions);
}

fn alter(disk: &SimDisk, change: &[u8]) {
    let paths = paths(disk);
    let Some(path) = paths.get(usize::from(change[0]) % paths.len().max(1)) else {
        return;
    };
    let offset = u64::from(u16::from_be_bytes([change[2], change[3]]));
    let value = &change[4..8];
    let file = disk.open(path, Access::ReadWrite).expect("it is there");
    let size = file.size().unwrap_or_default();
    let at = offset % size.max(1);
    let other = &paths[usize::from(value[0]) % paths.len()];
    // What fails here changes nothing, and that is fine.
    let _ = match change[1] % 10 {
        0 | 1 => file.write_at(&[IoSlice::new(&value[..1])], at),
        2 => file.write_at(&[IoSlice::new(value)], at),
        3 => file.zero(at..(at / 512 + 1) * 512),
        4 => file.zero(at..size),
        5 => file.truncate(at),
        6 => file.truncate(size + offset % 5000),
        7 => disk.remove(path),
        8 => disk.replace(path, other),
        _ => copy(disk, path, other),
    };
}

fn copy(disk: &SimDisk, from: &Path, to: &Path) -> std::io::Result<()> {
    let content = disk.file_bytes(from).unwrap_or_default();
    let file = disk.open(to, Access::ReadWrite)?;
    file.truncate(0)?;
    file.write_at(&[IoSlice::new(&content)], 0)
}

struct Opened {
    store: Store,
    flusher: Flusher,
    found: Recovered,
}

fn open(disk: &SimDisk) -> Result<Opened, millrace_store::OpenError> {
    let config =
        StoreConfig { segment_bytes: 4 << 10, index_run_bytes: 6 << 10, ..StoreConfig::default() };
    let disk: Arc<dyn Disk> = Arc::new(disk.clone());
    let (store, flusher, found) = Store::open(disk, Path::new(DIR), config)?;
    Ok(Opened { store, flusher, found })
}

const OWN: &[u8] = b"appended after the change";

/// Whether a message is one of those that the target itself appends.
fn own(message: &Message) -> bool {
    message.3 == OWN
}

impl Opened {
    /// Every message that can be read, one by one.
    fn messages(&self) -> BTreeSet<Message> {
        let mut messages = BTreeSet::new();
        for (topic, queue, no) in self.store.queues() {
            let mut from = self.store.bounds(no).min;
            // A damaged index may claim any number of messages.
            for _ in 0..1_000 {
                let plan = self.store.plan(no, from, 1, 1, PhysicalOffset(u64::MAX));
                if plan.entries.is_empty() {
                    break;
                }
                from = plan.next();
                let Ok(runs) = self.store.reader().read(&plan.entries) else {
                    continue;
                };
                for record in runs.iter().flat_map(|run| record::iter(run)) {
                    let record = record.expect("verified by the reader");
                    let offset = record.queue_offset().0;
                    assert!(!topic.as_str().is_empty());
                    messages.insert((
                        record.topic().to_owned(),
                        queue.0,
                        offset,
                        record.body().to_vec(),
                    ));
                }
            }
        }
        messages
    }

    fn look_up(&self) {
        let query = KeyQuery {
            topic: TOPICS[0],
            key: "k1",
            unique_only: false,
            count_max: 32,
            bytes_max: 1 << 20,
            from_ms: 0,
            until_ms: i64::MAX,
        };
        let found = self.store.key_lookup(PhysicalOffset(u64::MAX)).find(&query);
        for bytes in found.into_iter().flat_map(|found| found.records) {
            let record = record::Record::parse(&bytes).expect("verified by the reader");
            assert_eq!(record.properties().get("KEYS"), Some("k1"));
        }
    }

    fn append(&mut self) {
        let topic = TopicName::parse(TOPICS[0]).expect("a legal name");
        let no = self.store.queue(&topic, QueueId(0));
        let drafts = [(no, draft(TOPICS[0], 0, OWN)), (no, draft(TOPICS[0], 0, OWN))];
        if self.store.stage(&drafts, 2_000, &mut Vec::new()).is_ok() {
            self.store.commit().expect("the disk is whole");
            self.flusher.flush().expect("the disk is whole");
            self.flusher.housekeep();
        }
    }
}

fn draft<'a>(topic: &'a str, queue: u32, body: &'a [u8]) -> Draft<'a> {
    Draft {
        topic,
        queue_id: QueueId(queue),
        flag: 0,
        sys_flag: 0,
        born_at_ms: 1,
        born_host: ([127, 0, 0, 1], 1).into(),
        reconsume_times: 0,
        prepared_offset: PhysicalOffset(0),
        body,
        properties: b"KEYS\x01k1\x02",
    }
}

/// A store that was closed, one whose power was cut, and one that was killed.
fn bases() -> &'static [Base; 3] {
    static BASES: OnceLock<[Base; 3]> = OnceLock::new();
    BASES.get_or_init(|| [0, 1, 2].map(base))
}

fn base(kind: u64) -> Base {
    let disk = SimDisk::new(kind);
    let mut opened = open(&disk).expect("a new disk");
    let mut ends = [[0u64; 2]; 2];
    let mut stored = BTreeSet::new();
    for n in 0..40usize {
        let group: Vec<(usize, u32, Vec<u8>)> = (0..1 + n % 3)
            .map(|k| ((n + k) % 2, (n / 2 % 2) as u32, vec![(n * 3 + k) as u8; 20 + n * 37 % 300]))
            .collect();
        let mut drafts = Vec::new();
        for (topic, queue, body) in &group {
            let name = TopicName::parse(TOPICS[*topic]).expect("a legal name");
            let no = opened.store.queue(&name, QueueId(*queue));
            drafts.push((no, draft(TOPICS[*topic], *queue, body)));
        }
        opened.store.stage(&drafts, 1_000 + n as i64, &mut Vec::new()).expect("it fits");
        opened.store.commit().expect("the disk is whole");
        for (topic, queue, body) in group {
            let end = &mut ends[topic][queue as usize];
            stored.insert((TOPICS[topic].to_owned(), queue, *end, body));
            *end += 1;
        }
        if n % 4 == 3 && n < 36 {
            opened.flusher.flush().expect("the disk is whole");
            opened.flusher.housekeep();
        }
    }
    let disk = match kind {
        0 => {
            opened.store.close(opened.flusher).expect("the disk is whole");
            disk.power_cut()
        }
        1 => disk.power_cut(),
        _ => disk.kill(),
    };
    Base { disk, stored }
}

/// The runs of the first directory, without their checksum: where a fuzzer starts.
pub fn runs() -> Vec<Vec<u8>> {
    let disk = &bases()[0].disk;
    let runs = paths(disk).into_iter().filter(|path| path.starts_with("/data/index"));
    runs.filter_map(|path| disk.file_bytes(path))
        .map(|mut bytes| {
            bytes.truncate(bytes.len() - 4);
            bytes
        })
        .collect()
}

fn paths(disk: &SimDisk) -> Vec<PathBuf> {
    disk.paths().into_iter().filter(|path| !path.ends_with("lock")).collect()
}

fn write(disk: &SimDisk, path: &Path, content: &[u8]) {
    let file = disk.create(path).expect("nothing of this name");
    file.write_at(&[IoSlice::new(content)], 0).expect("the disk is whole");
}
