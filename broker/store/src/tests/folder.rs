//! S7: what a person or a program can do to a data directory while nobody has it open, and what
//! the next start makes of it.

mod table;

use std::collections::BTreeMap;
use std::fmt::Write;
use std::io::IoSlice;
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::*;
use table::{CASES, Case};

/// What a start has to make of a directory.
#[derive(Clone, Copy, Debug)]
enum Outcome {
    /// Every message is served.
    Whole,
    /// Nothing is opened, and the error names this.
    Refused(&'static str),
    /// Messages of the segments that start here are lost, each is named by its position, and every other
    /// one is served.
    Lost(&'static [u64]),
}

/// The content of a data directory, by name within it; `None` is a directory.
#[derive(Clone, Default)]
struct Folder(BTreeMap<String, Option<Vec<u8>>>);

impl Folder {
    fn of(disk: &SimDisk) -> Self {
        let name = |path: &Path| path.strip_prefix(DIR).unwrap().to_str().unwrap().to_owned();
        Self(disk.paths().iter().map(|path| (name(path), disk.file_bytes(path))).collect())
    }

    fn disk(&self) -> SimDisk {
        let disk = SimDisk::new(7);
        for (name, content) in &self.0 {
            let path = Path::new(DIR).join(name);
            let Some(bytes) = content else {
                disk.create_dir_all(&path).unwrap();
                continue;
            };
            disk.create_dir_all(path.parent().unwrap()).unwrap();
            disk.create(&path).unwrap().write_at(&[IoSlice::new(bytes)], 0).unwrap();
        }
        disk
    }

    fn bytes(&mut self, name: &str) -> &mut Vec<u8> {
        self.0.get_mut(name).and_then(Option::as_mut).unwrap_or_else(|| panic!("no file {name}"))
    }

    fn put(&mut self, name: &str, bytes: &[u8]) {
        self.0.insert(name.into(), Some(bytes.into()));
    }

    fn make_dir(&mut self, name: &str) {
        self.0.insert(name.into(), None);
    }

    /// Removes a file, or a directory with all that is in it.
    fn remove(&mut self, name: &str) {
        let before = self.0.len();
        self.0.retain(|each, _| each != name && !each.starts_with(&format!("{name}/")));
        assert!(self.0.len() < before, "no {name}");
    }

    fn copy(&mut self, from: &str, to: &str) {
        let bytes = self.bytes(from).clone();
        self.put(to, &bytes);
    }

    fn rename(&mut self, from: &str, to: &str) {
        self.copy(from, to);
        self.remove(from);
    }

    fn swap(&mut self, one: &str, other: &str) {
        let bytes = std::mem::take(self.bytes(one));
        let bytes = std::mem::replace(self.bytes(other), bytes);
        *self.bytes(one) = bytes;
    }

    fn fill(&mut self, name: &str, with: u8) {
        self.bytes(name).fill(with);
    }

    /// The `nth` file of a directory.
    fn nth(&self, dir: &str, nth: usize) -> String {
        let mut names = self.0.keys().filter(|name| name.starts_with(&format!("{dir}/")));
        names.nth(nth).unwrap_or_else(|| panic!("no file {nth} in {dir}")).clone()
    }

    fn holds(&self, body: &[u8]) -> bool {
        let mut files = self.0.values().flatten();
        files.any(|bytes| bytes.windows(body.len()).any(|window| window == body))
    }
}

struct Sent {
    message: Kept,
    placed: Placed,
}

/// Short runs, so that there are several.
fn config() -> StoreConfig {
    StoreConfig { index_run_bytes: 512, ..small() }
}

/// A directory with four segments in use, one made ahead, index runs and two snapshots.
fn written(close: bool) -> (Folder, Vec<Sent>) {
    let disk = SimDisk::new(7);
    let mut opened = open(&disk, config()).unwrap();
    let mut sent = Vec::new();
    while opened.store.staged_end() < PhysicalOffset(3 * 4096 + 2500) {
        let n = sent.len();
        let body = format!("message {n:04}; ").repeat(4 + n % 5).into_bytes();
        let message = Kept { topic: TOPICS[n % 2], queue: (n / 2 % 2) as u32, body };
        let placed = opened.stage(std::slice::from_ref(&message)).unwrap()[0];
        sent.push(Sent { message, placed });
        opened.store.commit().unwrap();
        if n % 20 == 19 {
            opened.store.keep_snapshot(QueueOffset(n as u64), format!("state {n}").into_bytes());
        }
        opened.flusher.flush().unwrap();
        opened.flusher.housekeep();
    }
    if close {
        opened.store.close(opened.flusher).unwrap();
    }
    (Folder::of(&disk), sent)
}

/// How many messages a queue was sent.
fn count(sent: &[Sent], topic: &str, queue: u32) -> u64 {
    sent.iter().filter(|each| each.message.topic == topic && each.message.queue == queue).count()
        as u64
}

/// Why a message is not served; an error for one that is served as something else.
fn missing(opened: &Opened, sent: &Sent) -> Result<Option<String>, String> {
    let Kept { topic, queue, body } = &sent.message;
    let at = sent.placed.queue_offset;
    let Some(no) = opened.store.find_queue(topic, QueueId(*queue)) else {
        return Ok(Some("no such queue".into()));
    };
    let plan = opened.store.plan(no, at, 1, u64::MAX, PhysicalOffset(u64::MAX));
    let runs = match opened.store.reader().read(&plan.entries) {
        Ok(runs) => runs,
        Err(error) => return Ok(Some(error.to_string())),
    };
    let Some(bytes) = runs.first() else {
        return Ok(Some("not in the index".into()));
    };
    let record = record::Record::parse(bytes).map_err(|error| error.to_string())?;
    let same = record.topic() == *topic
        && record.queue_id() == QueueId(*queue)
        && record.queue_offset() == at
        && record.body() == body;
    if same { Ok(None) } else { Err(format!("wrong bytes at offset {at} of {topic} {queue}")) }
}

/// Whether a lost message was named, by the start or by the reader.
fn is_named(found: &Recovered, sent: &Sent, reason: &str) -> bool {
    let at = sent.placed.physical_offset;
    let within = |damage: &crate::Damage| damage.from <= at && at < damage.to;
    reason.contains(&at.to_string()) || found.damage.iter().any(within)
}

/// Compares an opened directory with what was sent, and with what has to come of it.
fn compare(opened: &Opened, sent: &[Sent], want: Outcome) -> Result<(), String> {
    let mut lost = 0;
    for each in sent {
        let Some(reason) = missing(opened, each)? else {
            continue;
        };
        let at = each.placed.physical_offset;
        let expected = match want {
            Outcome::Lost(segments) => segments.contains(&(at.0 / 4096 * 4096)),
            _ => false,
        };
        if !expected || !is_named(&opened.found, each, &reason) {
            return Err(format!("the message at {at} is lost: {reason}"));
        }
        lost += 1;
    }
    match want {
        Outcome::Refused(name) => Err(format!("it opened; an error should name {name}")),
        Outcome::Lost(_) if lost == 0 => Err("nothing was lost".into()),
        _ => Ok(()),
    }
}

/// Sends one more to each queue, closes, and looks at everything once more.
fn go_on(mut opened: Opened, disk: &SimDisk, sent: &[Sent], want: Outcome) -> Result<(), String> {
    let mut more = Vec::new();
    for (topic, queue) in TOPICS.into_iter().flat_map(|topic| [(topic, 0), (topic, 1)]) {
        let message = Kept { topic, queue, body: b"one more".to_vec() };
        let placed = opened.stage(std::slice::from_ref(&message)).map_err(|e| e.to_string())?[0];
        let (got, due) = (placed.queue_offset.0, count(sent, topic, queue));
        if got != due {
            return Err(format!("the next of {topic} {queue} is numbered {got}, not {due}"));
        }
        more.push(Sent { message, placed });
    }
    opened.store.close(opened.flusher).map_err(|error| format!("{:?}", error.0))?;
    let again = open(disk, config()).map_err(|error| format!("the second start: {error}"))?;
    compare(&again, sent, want)?;
    compare(&again, &more, Outcome::Whole)
}

/// Opens a directory that somebody has changed, and holds the outcome against `want`; with `None`
/// only against what holds for all of them.
fn judge(folder: &Folder, sent: &[Sent], want: Option<Outcome>) -> Result<(), String> {
    let disk = folder.disk();
    match open(&disk, config()) {
        Err(error) => {
            let error = error.to_string();
            match want {
                Some(Outcome::Refused(name)) if error.contains(&format!("{DIR}/{name}")) => {}
                None if error.contains(DIR) => {}
                _ => return Err(format!("refused: {error}")),
            }
            let left = Folder::of(&disk);
            let files = folder.0.iter().filter(|(_, content)| content.is_some());
            if files.clone().any(|(name, content)| left.0.get(name) != Some(content)) {
                return Err("the refused start has changed a file".into());
            }
            let made = left.0.keys().filter(|name| !folder.0.contains_key(*name));
            if let Some(made) = made.clone().find(|name| *name != "lock") {
                return Err(format!("the refused start has made {made}"));
            }
            let again = open(&disk, config()).map(drop).map_err(|error| error.to_string());
            if again != Err(error) {
                return Err(format!("refused once, and then: {again:?}"));
            }
        }
        Ok(opened) => match want {
            Some(want) => {
                compare(&opened, sent, want)?;
                go_on(opened, &disk, sent, want)?;
            }
            None => sent.iter().try_for_each(|each| missing(&opened, each).map(drop))?,
        },
    }
    let left = Folder::of(&disk);
    let gone = sent
        .iter()
        .find(|each| folder.holds(&each.message.body) && !left.holds(&each.message.body));
    gone.map_or(Ok(()), |gone| {
        Err(format!("the last copy of the message at {} is gone", gone.placed.physical_offset))
    })
}

#[test]
fn s7_a_folder_that_somebody_has_changed() {
    let mut broken = String::new();
    for close in [true, false] {
        let (folder, sent) = written(close);
        let untouched = judge(&folder, &sent, close.then_some(Outcome::Whole));
        assert_eq!(untouched, Ok(()), "untouched, closed {close}");
        for Case { what, change, outcome } in CASES {
            let mut folder = folder.clone();
            change(&mut folder);
            // How far a store that was not closed had promised is no matter of this table.
            let want = close.then_some(*outcome);
            let seen = catch_unwind(AssertUnwindSafe(|| judge(&folder, &sent, want)));
            if let Err(why) = seen.unwrap_or_else(|_| Err("it panics".into())) {
                writeln!(broken, "{what}, closed {close}: {why}").unwrap();
            }
        }
    }
    assert!(broken.is_empty(), "\n{broken}");
    println!("{} changes, each to a store that was closed and to one that was not", CASES.len());
}
