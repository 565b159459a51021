use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use millrace_disk::{Access, Disk, File, Map};
use millrace_types::{PhysicalOffset, QueueId, QueueOffset, TagsCode, TopicName};

use super::{Entry, Frozen};
use crate::key_index::{KEY_ENTRY_BYTES, KeyEntry, KeyHash};

/// The index of one stretch of the log, in one file for all queues and keys.
///
/// Name: `<from>-<to>.run`, both physical offsets as twenty digits. Content, big-endian:
///
/// | bytes             | field                                                       |
/// |-------------------|-------------------------------------------------------------|
/// | 4                 | `MRQX`                                                      |
/// | 4                 | format version, 2                                           |
/// | 8, 8              | first byte of the stretch, one past its last                |
/// | 8, 8              | first and last store time, ms                               |
/// | 4                 | number of queues                                            |
/// | 4                 | bytes of the next part                                      |
/// | per queue         | topic length 2, topic, queue 4, first queue offset 8, count 8 |
/// | per entry         | physical offset 8, size 4, tags code 8; queue after queue   |
/// | per key           | hash 8, physical offset 8; ascending                        |
/// | 4                 | CRC-32 of everything before                                 |
///
/// Nothing of it stays in memory but this struct.
#[derive(Debug)]
pub(crate) struct Run {
    header: Header,
    /// Where the entries start in the file.
    entries_at: u64,
    keys_at: u64,
    keys: u64,
    file: Arc<dyn File>,
    map: Arc<dyn Map>,
}

#[derive(Debug)]
struct Header {
    to: PhysicalOffset,
    first_store_ms: i64,
    last_store_ms: i64,
    queues: u32,
    directory_bytes: u32,
}

/// A run with its directory, as read or written just now.
#[derive(Debug)]
pub(crate) struct OpenedRun {
    pub(crate) run: Arc<Run>,
    pub(crate) queues: Vec<RunQueue>,
}

/// Where a run holds the entries of one queue.
#[derive(Debug)]
pub(crate) struct RunQueue {
    pub(crate) topic: TopicName,
    pub(crate) id: QueueId,
    pub(crate) from: QueueOffset,
    pub(crate) count: u64,
    /// Number of its first entry in the run.
    pub(crate) first: u32,
}

const MAGIC: &[u8; 4] = b"MRQX";
const VERSION: u32 = 2;
const HEADER_BYTES: usize = 48;
const ENTRY_BYTES: u64 = 20;
/// What is read at once: of a run that is opened, and of the keys around a guess.
const BLOCK: usize = 1 << 20;
const WINDOW: u64 = 2048;

/// The whole content of a run.
pub(crate) fn encode(frozen: &Frozen) -> Vec<u8> {
    let entries: usize = frozen.queues.iter().map(|queue| queue.entries.len()).sum();
    let mut out = Vec::with_capacity(
        64 + frozen.queues.len() * 64 + entries * 20 + frozen.keys.len() * KEY_ENTRY_BYTES as usize,
    );
    out.extend_from_slice(MAGIC);
    out.extend_from_slice(&VERSION.to_be_bytes());
    out.extend_from_slice(&frozen.from.0.to_be_bytes());
    out.extend_from_slice(&frozen.to.0.to_be_bytes());
    out.extend_from_slice(&frozen.store_ms.0.to_be_bytes());
    out.extend_from_slice(&frozen.store_ms.1.to_be_bytes());
    out.extend_from_slice(&(frozen.queues.len() as u32).to_be_bytes());
    out.extend_from_slice(&[0; 4]);
    for queue in &frozen.queues {
        let topic = queue.topic.as_str().as_bytes();
        out.extend_from_slice(&(topic.len() as u16).to_be_bytes());
        out.extend_from_slice(topic);
        out.extend_from_slice(&queue.id.0.to_be_bytes());
        out.extend_from_slice(&queue.from.0.to_be_bytes());
        out.extend_from_slice(&(queue.entries.len() as u64).to_be_bytes());
    }
    let directory = (out.len() - HEADER_BYTES) as u32;
    out[HEADER_BYTES - 4..HEADER_BYTES].copy_from_slice(&directory.to_be_bytes());
    for entry in frozen.queues.iter().flat_map(|queue| &queue.entries) {
        out.extend_from_slice(&entry.physical_offset.0.to_be_bytes());
        out.extend_from_slice(&entry.size.to_be_bytes());
        out.extend_from_slice(&entry.tags_code.0.to_be_bytes());
    }
    let mut keys: Vec<KeyEntry> = frozen.keys.iter().collect();
    keys.sort_unstable();
    for key in keys {
        out.extend_from_slice(&key.hash.0.to_be_bytes());
        out.extend_from_slice(&key.at.0.to_be_bytes());
    }
    let crc = crc32fast::hash(&out);
    out.extend_from_slice(&crc.to_be_bytes());
    out
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
    pub(crate) fn written(frozen: &Frozen, file: Arc<dyn File>) -> io::Result<OpenedRun> {
        let len = file.size()?;
        let mut header = [0; HEADER_BYTES];
        fill(&*file, &mut header, 0)?;
        let header = parse_header(&header).ok_or_else(damaged)?;
        let mut entries = 0;
        let mut queues = Vec::with_capacity(frozen.queues.len());
        for queue in &frozen.queues {
            let count = queue.entries.len() as u64;
            let first = u32::try_from(entries).map_err(io::Error::other)?;
            let (topic, id, from) = (queue.topic.clone(), queue.id, queue.from);
            queues.push(RunQueue { topic, id, from, count, first });
            entries += count;
        }
        let entries_at = HEADER_BYTES as u64 + u64::from(header.directory_bytes);
        let keys_at = entries_at + entries * ENTRY_BYTES;
        let keys = frozen.keys.len() as u64;
        let run = Self { header, entries_at, keys_at, keys, map: file.map(len)?, file };
        Ok(OpenedRun { run: Arc::new(run), queues })
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
        let mut header = [0; HEADER_BYTES];
        fill(&*file, &mut header, 0)?;
        let header = parse_header(&header).ok_or_else(damaged)?;
        let entries_at = HEADER_BYTES as u64 + u64::from(header.directory_bytes);
        if entries_at > content {
            return Err(damaged());
        }
        let mut directory = vec![0; header.directory_bytes as usize];
        fill(&*file, &mut directory, HEADER_BYTES as u64)?;
        let (queues, entries) = parse_directory(&directory, header.queues).ok_or_else(damaged)?;
        let keys_at = entries_at + entries * ENTRY_BYTES;
        let keys_len = content.checked_sub(keys_at).ok_or_else(damaged)?;
        if keys_len % KEY_ENTRY_BYTES != 0 {
            return Err(damaged());
        }
        let run = Self {
            header,
            entries_at,
            keys_at,
            keys: keys_len / KEY_ENTRY_BYTES,
            map: file.map(len)?,
            file,
        };
        Ok(OpenedRun { run: Arc::new(run), queues })
    }

    pub(crate) fn to(&self) -> PhysicalOffset {
        self.header.to
    }

    pub(crate) fn first_store_ms(&self) -> i64 {
        self.header.first_store_ms
    }

    pub(crate) fn last_store_ms(&self) -> i64 {
        self.header.last_store_ms
    }

    /// `count` entries from number `first` of the run on.
    pub(crate) fn entries(&self, first: u64, count: u64) -> Vec<Entry> {
        let start = self.entries_at + first * ENTRY_BYTES;
        let bytes = self.map.slice(start..start + count * ENTRY_BYTES);
        bytes.chunks_exact(ENTRY_BYTES as usize).map(decode_entry).collect()
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
        fill(&*self.file, &mut bytes, self.keys_at + start * KEY_ENTRY_BYTES)?;
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
        fill(file, &mut block[..want], at)?;
        crc.update(&block[..want]);
        at += want as u64;
    }
    let mut expected = [0; 4];
    fill(file, &mut expected, content)?;
    if crc.finalize().to_be_bytes() == expected { Ok(()) } else { Err(damaged()) }
}

fn fill(file: &dyn File, bytes: &mut [u8], at: u64) -> io::Result<()> {
    let mut filled = 0;
    while filled < bytes.len() {
        match file.read_at(&mut bytes[filled..], at + filled as u64)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            n => filled += n,
        }
    }
    Ok(())
}

fn decode_entry(bytes: &[u8]) -> Entry {
    let mut fields = Fields(bytes);
    let mut next = || fields.be64().zip(fields.be32()).zip(fields.be64());
    let ((physical, size), tags) = next().expect("twenty bytes");
    Entry { physical_offset: PhysicalOffset(physical), size, tags_code: TagsCode(tags as i64) }
}

fn parse_header(bytes: &[u8]) -> Option<Header> {
    let mut fields = Fields(bytes.strip_prefix(MAGIC)?);
    let version = fields.be32()?;
    let (_from, to) = (fields.be64()?, PhysicalOffset(fields.be64()?));
    let (first_store_ms, last_store_ms) = (fields.be64()? as i64, fields.be64()? as i64);
    let (queues, directory_bytes) = (fields.be32()?, fields.be32()?);
    let header = Header { to, first_store_ms, last_store_ms, queues, directory_bytes };
    (version == VERSION).then_some(header)
}

/// The queues of a run, and how many entries they have together.
fn parse_directory(bytes: &[u8], count: u32) -> Option<(Vec<RunQueue>, u64)> {
    let mut fields = Fields(bytes);
    let mut queues = Vec::new();
    let mut first = 0u64;
    for _ in 0..count {
        let topic_len = usize::from(fields.be16()?);
        let topic = std::str::from_utf8(fields.take(topic_len)?).ok()?;
        let topic = TopicName::parse(topic).ok()?;
        let (id, from, count) =
            (QueueId(fields.be32()?), QueueOffset(fields.be64()?), fields.be64()?);
        from.0.checked_add(count)?;
        queues.push(RunQueue { topic, id, from, count, first: u32::try_from(first).ok()? });
        first = first.checked_add(count)?;
    }
    // Also keeps the sum of all sizes far from overflowing.
    (fields.0.is_empty() && first <= u64::from(u32::MAX)).then_some((queues, first))
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
