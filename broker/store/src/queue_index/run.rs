use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use millrace_disk::{Access, Disk, Map};
use millrace_types::{PhysicalOffset, QueueId, QueueOffset, TagsCode, TopicName};

use super::{Entry, Frozen};

/// The index of one stretch of the log, in one file for all queues.
///
/// Name: `<from>-<to>.run`, both physical offsets as twenty digits. Content, big-endian:
///
/// | bytes             | field                                                       |
/// |-------------------|-------------------------------------------------------------|
/// | 4                 | `MRQX`                                                      |
/// | 4                 | format version, 1                                           |
/// | 8, 8              | first byte of the stretch, one past its last                |
/// | 4                 | number of queues                                            |
/// | per queue         | topic length 2, topic, queue 4, first queue offset 8, count 8 |
/// | per entry         | physical offset 8, size 4, tags code 8; queue after queue   |
/// | 4                 | CRC-32 of everything before                                 |
#[derive(Debug)]
pub(crate) struct Run {
    to: PhysicalOffset,
    queues: Vec<RunQueue>,
    map: Arc<dyn Map>,
}

/// Where a run holds the entries of one queue.
#[derive(Debug)]
pub(crate) struct RunQueue {
    pub(crate) topic: TopicName,
    pub(crate) id: QueueId,
    pub(crate) from: QueueOffset,
    pub(crate) count: u64,
    /// First byte of its entries in the file.
    pub(crate) at: u64,
}

const MAGIC: &[u8; 4] = b"MRQX";
const VERSION: u32 = 1;
const ENTRY_BYTES: u64 = 20;

/// The whole content of a run.
pub(crate) fn encode(frozen: &Frozen) -> Vec<u8> {
    let entries: usize = frozen.queues.iter().map(|queue| queue.entries.len()).sum();
    let mut out = Vec::with_capacity(64 + frozen.queues.len() * 64 + entries * 20);
    out.extend_from_slice(MAGIC);
    out.extend_from_slice(&VERSION.to_be_bytes());
    out.extend_from_slice(&frozen.from.0.to_be_bytes());
    out.extend_from_slice(&frozen.to.0.to_be_bytes());
    out.extend_from_slice(&(frozen.queues.len() as u32).to_be_bytes());
    for queue in &frozen.queues {
        let topic = queue.topic.as_str().as_bytes();
        out.extend_from_slice(&(topic.len() as u16).to_be_bytes());
        out.extend_from_slice(topic);
        out.extend_from_slice(&queue.id.0.to_be_bytes());
        out.extend_from_slice(&queue.from.0.to_be_bytes());
        out.extend_from_slice(&(queue.entries.len() as u64).to_be_bytes());
    }
    for entry in frozen.queues.iter().flat_map(|queue| &queue.entries) {
        out.extend_from_slice(&entry.physical_offset.0.to_be_bytes());
        out.extend_from_slice(&entry.size.to_be_bytes());
        out.extend_from_slice(&entry.tags_code.0.to_be_bytes());
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

    /// Opens a run, checking all of it; `InvalidData` if it is not whole.
    pub(crate) fn open(disk: &dyn Disk, path: &Path) -> io::Result<Self> {
        let file = disk.open(path, Access::Read)?;
        let len = file.size()?;
        let mut bytes = vec![0; usize::try_from(len).map_err(io::Error::other)?];
        let mut filled = 0;
        while filled < bytes.len() {
            match file.read_at(&mut bytes[filled..], filled as u64)? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                n => filled += n,
            }
        }
        let damaged = || io::Error::new(io::ErrorKind::InvalidData, "the index run is damaged");
        let (to, queues) = parse(&bytes).ok_or_else(damaged)?;
        Ok(Self { to, queues, map: file.map(len)? })
    }

    pub(crate) fn to(&self) -> PhysicalOffset {
        self.to
    }

    pub(crate) fn queues(&self) -> &[RunQueue] {
        &self.queues
    }

    /// `count` entries of the queue whose entries start at byte `at`, after skipping some.
    pub(crate) fn entries(&self, at: u64, skip: u64, count: u64) -> Vec<Entry> {
        let start = at + skip * ENTRY_BYTES;
        let bytes = self.map.slice(start..start + count * ENTRY_BYTES);
        bytes.chunks_exact(ENTRY_BYTES as usize).map(decode_entry).collect()
    }
}

fn decode_entry(bytes: &[u8]) -> Entry {
    let mut fields = Fields(bytes);
    let mut next = || fields.be64().zip(fields.be32()).zip(fields.be64());
    let ((physical, size), tags) = next().expect("twenty bytes");
    Entry { physical_offset: PhysicalOffset(physical), size, tags_code: TagsCode(tags as i64) }
}

fn parse(bytes: &[u8]) -> Option<(PhysicalOffset, Vec<RunQueue>)> {
    let (content, crc) = bytes.split_at_checked(bytes.len().checked_sub(4)?)?;
    if crc32fast::hash(content).to_be_bytes() != crc {
        return None;
    }
    let mut fields = Fields(content.strip_prefix(MAGIC)?);
    if fields.be32()? != VERSION {
        return None;
    }
    let (_from, to) = (fields.be64()?, fields.be64()?);
    let mut queues = Vec::new();
    for _ in 0..fields.be32()? {
        let topic_len = usize::from(fields.be16()?);
        let topic = std::str::from_utf8(fields.take(topic_len)?).ok()?;
        let topic = TopicName::parse(topic).ok()?;
        let (id, from, count) =
            (QueueId(fields.be32()?), QueueOffset(fields.be64()?), fields.be64()?);
        queues.push(RunQueue { topic, id, from, count, at: 0 });
    }
    let mut at = (content.len() - fields.0.len()) as u64;
    for queue in &mut queues {
        queue.at = at;
        at = at.checked_add(queue.count.checked_mul(ENTRY_BYTES)?)?;
    }
    (at == content.len() as u64).then_some((PhysicalOffset(to), queues))
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
