use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use millrace_disk::{Access, Disk, File};
use millrace_types::{PhysicalOffset, QueueId, QueueOffset, TagsCode, TopicName};
use tracing::error;

use super::{Entry, Frozen, QueueName, QueueNo};
use crate::key_index::{KEY_ENTRY_BYTES, KeyEntry, KeyHash};
use crate::tally::Tally;
use crate::whole;

/// The index of one stretch of the log, in one file for all queues and keys.
///
/// Name: `<from>-<to>.run`, both physical offsets as twenty digits. Content, big-endian:
///
/// | bytes             | field                                                       |
/// |-------------------|-------------------------------------------------------------|
/// | 4                 | `MRQX`                                                      |
/// | 4                 | format version, 4                                           |
/// | 8, 8              | first byte of the stretch, one past its last                |
/// | 8, 8              | first and last store time, ms                               |
/// | 8, 8              | entries made up to its end: of messages, of own state       |
/// | 4                 | number of queues                                            |
/// | 4                 | bytes of all names                                          |
/// | per queue         | first queue offset 8, number of its first entry 4           |
/// | 4                 | number of entries                                           |
/// | per queue         | its name: topic length 2, topic, queue 4                    |
/// | per entry         | physical offset 8, size 4, tags code 8; queue after queue   |
/// | per key           | hash 8, physical offset 8; ascending                        |
/// | 4                 | CRC-32 of everything before                                 |
///
/// A run holds all queues that were known when it was written, by their numbers, even those that
/// got nothing: so an offset is found by a search over the runs, and a queue goes on with the right
/// offset however long it has been idle. The directory of queues stays in memory, twelve bytes for
/// each queue and run; all else is read from the file and never through a map, so that a bad sector
/// is an error to whoever needs it and not a signal.
#[derive(Debug)]
pub(crate) struct Run {
    header: Header,
    /// First offset and first entry of each queue, as in the file.
    directory: Vec<u8>,
    /// Where the entries start in the file.
    entries_at: u64,
    keys_at: u64,
    keys: u64,
    file: Arc<dyn File>,
    /// Whether it has been said that the file cannot be read.
    complained: AtomicBool,
}

#[derive(Debug)]
struct Header {
    from: PhysicalOffset,
    to: PhysicalOffset,
    first_store_ms: i64,
    last_store_ms: i64,
    tally: Tally,
    queues: u32,
    names_bytes: u32,
}

impl Header {
    fn directory_bytes(&self) -> u64 {
        u64::from(self.queues) * QUEUE_BYTES as u64 + 4
    }

    fn entries_at(&self) -> u64 {
        HEADER_BYTES as u64 + self.directory_bytes() + u64::from(self.names_bytes)
    }
}

/// A run found on disk.
#[derive(Debug)]
pub(crate) struct OpenedRun {
    pub(crate) run: Arc<Run>,
    /// By queue number.
    pub(crate) names: Vec<QueueName>,
}

const MAGIC: &[u8; 4] = b"MRQX";
const VERSION: u32 = 4;
const HEADER_BYTES: usize = 64;
const ENTRY_BYTES: u64 = 20;
/// First queue offset 8, number of the first entry 4.
const QUEUE_BYTES: usize = 12;
/// What is read at once: of a run that is opened, and of the keys around a guess.
const BLOCK: usize = 1 << 20;
const WINDOW: u64 = 2048;
const SECTOR_ENTRIES: u64 = 512 / ENTRY_BYTES;

/// Writes the whole content of a run to an empty file, block by block.
pub(crate) fn write(frozen: &Frozen, file: &dyn File) -> io::Result<()> {
    let (entries, queues) = (&frozen.entries, frozen.entries.known());
    let names = &frozen.names[..queues];
    let names_bytes: usize = names.iter().map(|name| 6 + name.topic.as_str().len()).sum();
    let mut out = Blocks { file, at: 0, crc: crc32fast::Hasher::new(), block: Vec::new() };
    out.put(MAGIC)?;
    out.put(&VERSION.to_be_bytes())?;
    out.put(&frozen.from.0.to_be_bytes())?;
    out.put(&frozen.to.0.to_be_bytes())?;
    out.put(&frozen.store_ms.0.to_be_bytes())?;
    out.put(&frozen.store_ms.1.to_be_bytes())?;
    out.put(&frozen.tally.messages.to_be_bytes())?;
    out.put(&frozen.tally.state.to_be_bytes())?;
    out.put(&(queues as u32).to_be_bytes())?;
    out.put(&(names_bytes as u32).to_be_bytes())?;
    let mut first = 0;
    for no in (0..queues).map(|no| QueueNo(no as u32)) {
        let from = entries.from(no);
        out.put(&from.0.to_be_bytes())?;
        out.put(&(first as u32).to_be_bytes())?;
        first += entries.end(no).since(from);
    }
    out.put(&(first as u32).to_be_bytes())?;
    for name in names {
        let topic = name.topic.as_str().as_bytes();
        out.put(&(topic.len() as u16).to_be_bytes())?;
        out.put(topic)?;
        out.put(&name.id.0.to_be_bytes())?;
    }
    for no in (0..queues).map(|no| QueueNo(no as u32)) {
        for entry in entries.pieces(no, QueueOffset(0)).into_iter().flatten() {
            let mut bytes = [0; ENTRY_BYTES as usize];
            bytes[0..8].copy_from_slice(&entry.physical_offset.0.to_be_bytes());
            bytes[8..12].copy_from_slice(&entry.size.to_be_bytes());
            bytes[12..20].copy_from_slice(&i64::from(entry.tags_code.0).to_be_bytes());
            out.put(&bytes)?;
        }
    }
    let mut keys: Vec<KeyEntry> = frozen.keys.iter().collect();
    keys.sort_unstable();
    for key in keys {
        out.put(&key.hash.0.to_be_bytes())?;
        out.put(&key.at.0.to_be_bytes())?;
    }
    out.finish()
}

/// A file being written from start to end, and the checksum so far.
struct Blocks<'a> {
    file: &'a dyn File,
    at: u64,
    crc: crc32fast::Hasher,
    block: Vec<u8>,
}

impl Blocks<'_> {
    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.block.extend_from_slice(bytes);
        if self.block.len() < BLOCK { Ok(()) } else { self.write() }
    }

    fn write(&mut self) -> io::Result<()> {
        self.crc.update(&self.block);
        self.file.write_at(&[IoSlice::new(&self.block)], self.at)?;
        self.at += self.block.len() as u64;
        self.block.clear();
        Ok(())
    }

    /// Writes what is left, and the checksum over everything.
    fn finish(mut self) -> io::Result<()> {
        self.write()?;
        let crc = self.crc.finalize().to_be_bytes();
        self.file.write_at(&[IoSlice::new(&crc)], self.at)
    }
}

/// The runs in a directory as `(from, to, path)`, by where they start.
pub(crate) fn list(
    disk: &dyn Disk,
    dir: &Path,
) -> io::Result<Vec<(PhysicalOffset, PhysicalOffset, PathBuf)>> {
    let mut runs = Vec::new();
    for entry in disk.list(dir)? {
        let range = entry.name.strip_suffix(".run").and_then(|range| range.split_once('-'));
        let Some((Ok(from), Ok(to))) = range.map(|(from, to)| (from.parse(), to.parse())) else {
            continue;
        };
        if entry.is_dir {
            continue;
        }
        runs.push((PhysicalOffset(from), PhysicalOffset(to), dir.join(entry.name)));
    }
    runs.sort();
    Ok(runs)
}

impl Run {
    /// The file of a frozen stretch.
    pub(crate) fn path(dir: &Path, frozen: &Frozen) -> PathBuf {
        dir.join(format!("{:020}-{:020}.run", frozen.from.0, frozen.to.0))
    }

    /// The run that was just written from a frozen stretch into `file`. Nothing is read again.
    pub(crate) fn written(frozen: &Frozen, file: Arc<dyn File>) -> io::Result<Arc<Self>> {
        let header = read_header(&*file)?;
        let mut directory = vec![0; header.directory_bytes() as usize];
        whole::read(&*file, &mut directory, HEADER_BYTES as u64)?;
        let (entries, keys) = (frozen.entries.entry_count(), frozen.keys.len() as u64);
        Ok(Arc::new(Self::laid_out(header, directory, entries, keys, file)))
    }

    /// Opens a run, checking all of it block by block; `InvalidData` if it is not whole. Only a test
    /// asks to leave its checksum alone.
    pub(crate) fn open(disk: &dyn Disk, path: &Path, checked: bool) -> io::Result<OpenedRun> {
        let file = disk.open(path, Access::Read)?;
        let len = file.size()?;
        let content = len.checked_sub(4).filter(|content| *content >= HEADER_BYTES as u64);
        let content = content.ok_or_else(damaged)?;
        if checked {
            check(&*file, content)?;
        }
        let header = read_header(&*file)?;
        let entries_at = header.entries_at();
        if entries_at > content {
            return Err(damaged());
        }
        let mut bytes = vec![0; (entries_at - HEADER_BYTES as u64) as usize];
        whole::read(&*file, &mut bytes, HEADER_BYTES as u64)?;
        let names = bytes.split_off(header.directory_bytes() as usize);
        let entries = check_directory(&bytes).ok_or_else(damaged)?;
        let names = parse_names(&names, header.queues).ok_or_else(damaged)?;
        let keys_len = content.checked_sub(entries_at + entries * ENTRY_BYTES);
        let keys_len = keys_len.filter(|len| len % KEY_ENTRY_BYTES == 0).ok_or_else(damaged)?;
        let run = Self::laid_out(header, bytes, entries, keys_len / KEY_ENTRY_BYTES, file);
        Ok(OpenedRun { run: Arc::new(run), names })
    }

    fn laid_out(
        header: Header,
        directory: Vec<u8>,
        entries: u64,
        keys: u64,
        file: Arc<dyn File>,
    ) -> Self {
        let entries_at = header.entries_at();
        let keys_at = entries_at + entries * ENTRY_BYTES;
        let complained = AtomicBool::new(false);
        Self { header, directory, entries_at, keys_at, keys, file, complained }
    }

    /// How many queues it holds.
    pub(crate) fn queues(&self) -> u32 {
        self.header.queues
    }

    /// The offset of a queue's first entry here, or of the one that came first after it.
    pub(crate) fn from(&self, no: QueueNo) -> QueueOffset {
        let mut fields = Fields(&self.directory[no.0 as usize * QUEUE_BYTES..]);
        QueueOffset(fields.be64().expect("the run holds the queue"))
    }

    /// How many entries of a queue it has.
    pub(crate) fn count(&self, no: QueueNo) -> u64 {
        let (first, end) = self.range(no);
        u64::from(end - first)
    }

    /// The number of a queue's first entry, and one past that of its last.
    fn range(&self, no: QueueNo) -> (u32, u32) {
        let at = no.0 as usize * QUEUE_BYTES;
        let number = |at: usize| Fields(&self.directory[at..]).be32();
        // Where the next queue would have its first offset and entry, the last has the number of
        // all entries.
        let end =
            if no.0 + 1 == self.header.queues { at + QUEUE_BYTES } else { at + QUEUE_BYTES + 8 };
        number(at + 8).zip(number(end)).expect("the run holds the queue")
    }

    pub(crate) fn to(&self) -> PhysicalOffset {
        self.header.to
    }

    pub(crate) fn tally(&self) -> Tally {
        self.header.tally
    }

    pub(crate) fn first_store_ms(&self) -> i64 {
        self.header.first_store_ms
    }

    pub(crate) fn last_store_ms(&self) -> i64 {
        self.header.last_store_ms
    }

    /// At most `count` entries of a queue from an offset on that is not before its first one here.
    /// Where the file cannot be read, whoever reads these messages meets with an error, and nobody
    /// else does.
    pub(crate) fn read(&self, no: QueueNo, from: QueueOffset, count: u64) -> Vec<Entry> {
        let (first, end) = self.range(no);
        let first = u64::from(first) + from.since(self.from(no));
        let count = count.min(u64::from(end).saturating_sub(first));
        if count == 0 {
            return Vec::new();
        }
        let error = match self.entries(first, count) {
            Ok(entries) => return entries,
            Err(error) => error,
        };
        let at = self.header.from;
        if !self.complained.swap(true, Ordering::Relaxed) {
            error!(physical_offset = %at, error = %error, "index run unreadable");
        }
        // A sector's worth at a time, so that a bad one hides its own entries and few others.
        let (mut entries, end) = (Vec::new(), first + count);
        for start in (first..end).step_by(SECTOR_ENTRIES as usize) {
            let count = SECTOR_ENTRIES.min(end - start);
            match self.entries(start, count) {
                Ok(read) => entries.extend(read),
                Err(_) => entries.extend((0..count).map(|_| Entry::unreadable(at))),
            }
        }
        entries
    }

    fn entries(&self, first: u64, count: u64) -> io::Result<Vec<Entry>> {
        let mut bytes = vec![0; (count * ENTRY_BYTES) as usize];
        whole::read(&*self.file, &mut bytes, self.entries_at + first * ENTRY_BYTES)?;
        Ok(bytes.chunks_exact(ENTRY_BYTES as usize).map(decode_entry).collect())
    }

    /// Where the newest records lie that have a key of this hash, newest first.
    pub(crate) fn with_key(
        &self,
        hash: KeyHash,
        count_max: usize,
    ) -> io::Result<Vec<PhysicalOffset>> {
        let mut found = Vec::new();
        let mut end = self.end_of_key(hash)?;
        while end > 0 && found.len() < count_max {
            let start = end.saturating_sub(WINDOW);
            for entry in self.keys(start, end)?.iter().rev() {
                if entry.hash != hash || found.len() == count_max {
                    return Ok(found);
                }
                found.push(entry.at);
            }
            end = start;
        }
        Ok(found)
    }

    /// The number of the first key whose hash is greater. Hashes are spread evenly, so the first
    /// guess is most often right.
    fn end_of_key(&self, hash: KeyHash) -> io::Result<u64> {
        let (mut low, mut high) = (0, self.keys);
        let mut guess = ((u128::from(hash.0) * u128::from(self.keys)) >> 64) as u64;
        while low < high {
            let start = guess.saturating_sub(WINDOW / 2).max(low);
            let end = (start + WINDOW).min(high);
            let window = self.keys(start, end)?;
            let within = window.partition_point(|entry| entry.hash <= hash) as u64;
            if within == 0 {
                high = start;
            } else if within == window.len() as u64 {
                low = end;
            } else {
                return Ok(start + within);
            }
            guess = low + (high - low) / 2;
        }
        Ok(low)
    }

    fn keys(&self, start: u64, end: u64) -> io::Result<Vec<KeyEntry>> {
        let mut bytes = vec![0; ((end - start) * KEY_ENTRY_BYTES) as usize];
        whole::read(&*self.file, &mut bytes, self.keys_at + start * KEY_ENTRY_BYTES)?;
        let entries = bytes.chunks_exact(KEY_ENTRY_BYTES as usize).filter_map(|bytes| {
            let mut fields = Fields(bytes);
            Some(KeyEntry { hash: KeyHash(fields.be64()?), at: PhysicalOffset(fields.be64()?) })
        });
        Ok(entries.collect())
    }
}

fn damaged() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "the index run is damaged or of another version")
}

/// Compares the checksum behind `content` bytes.
fn check(file: &dyn File, content: u64) -> io::Result<()> {
    let mut crc = crc32fast::Hasher::new();
    let mut block = vec![0; BLOCK.min(content as usize)];
    let mut at = 0;
    while at < content {
        let want = block.len().min((content - at) as usize);
        whole::read(file, &mut block[..want], at)?;
        crc.update(&block[..want]);
        at += want as u64;
    }
    let mut expected = [0; 4];
    whole::read(file, &mut expected, content)?;
    if crc.finalize().to_be_bytes() == expected { Ok(()) } else { Err(damaged()) }
}

fn decode_entry(bytes: &[u8]) -> Entry {
    let mut fields = Fields(bytes);
    let mut next = || fields.be64().zip(fields.be32()).zip(fields.be64());
    let ((physical, size), tags) = next().expect("twenty bytes");
    Entry { physical_offset: PhysicalOffset(physical), size, tags_code: TagsCode(tags as i32) }
}

fn read_header(file: &dyn File) -> io::Result<Header> {
    let mut bytes = [0; HEADER_BYTES];
    whole::read(file, &mut bytes, 0)?;
    parse_header(&bytes).ok_or_else(damaged)
}

fn parse_header(bytes: &[u8]) -> Option<Header> {
    let mut fields = Fields(bytes.strip_prefix(MAGIC)?);
    let version = fields.be32()?;
    let (from, to) = (PhysicalOffset(fields.be64()?), PhysicalOffset(fields.be64()?));
    let (first_store_ms, last_store_ms) = (fields.be64()? as i64, fields.be64()? as i64);
    let tally = Tally { messages: fields.be64()?, state: fields.be64()? };
    let (queues, names_bytes) = (fields.be32()?, fields.be32()?);
    let header = Header { from, to, first_store_ms, last_store_ms, tally, queues, names_bytes };
    (version == VERSION).then_some(header)
}

/// How many entries a run has, if its directory is one: its queues have their entries one after
/// the other, and no offset leaves the range of offsets.
fn check_directory(bytes: &[u8]) -> Option<u64> {
    let mut fields = Fields(bytes);
    let mut before = (0, 0);
    loop {
        let last = fields.0.len() == 4;
        let from = if last { 0 } else { fields.be64()? };
        let first = fields.be32()?;
        let count = first.checked_sub(before.1)?;
        u64::checked_add(before.0, u64::from(count))?;
        if last {
            return Some(u64::from(first));
        }
        before = (from, first);
    }
}

fn parse_names(bytes: &[u8], count: u32) -> Option<Vec<QueueName>> {
    let mut fields = Fields(bytes);
    let mut names = Vec::new();
    for _ in 0..count {
        let topic_len = usize::from(fields.be16()?);
        let topic = std::str::from_utf8(fields.take(topic_len)?).ok()?;
        let topic = TopicName::parse(topic).ok()?;
        names.push(QueueName { topic, id: QueueId(fields.be32()?) });
    }
    fields.0.is_empty().then_some(names)
}

/// What is left to read of some bytes.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(taken)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    fn be16(&mut self) -> Option<u16> {
        self.array().map(u16::from_be_bytes)
    }

    fn be32(&mut self) -> Option<u32> {
        self.array().map(u32::from_be_bytes)
    }

    fn be64(&mut self) -> Option<u64> {
        self.array().map(u64::from_be_bytes)
    }
}
