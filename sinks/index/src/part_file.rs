//! The layout of a part.
//!
//! | where                    | what                                                              |
//! |--------------------------|-------------------------------------------------------------------|
//! | 0..`data`                | the files of one tantivy segment, one after the other             |
//! | 4 bytes per block        | CRC-32 of each [`BLOCK`] bytes of the data; the last may be short  |
//! | `contents`               | [`Contents`], as JSON                                             |
//! | the last [`TRAILER`]     | magic, version, CRC-32 of all from `data` on, `data`, `contents`  |
//!
//! Numbers are little-endian. Every read of data is checked against its blocks, so that tantivy,
//! which trusts its files, never sees a byte that was not written.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind, IoSlice};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crc32fast::Hasher;
use millrace_disk::{Access, Disk, File};
use serde::{Deserialize, Serialize};
use tantivy::directory::OwnedBytes;

use crate::error::{DamagedBytes, IndexError};
use crate::mapping::Mapping;

/// Bytes with a checksum of their own: small, because a look at one document reads at least so much.
pub(crate) const BLOCK: u64 = 16 << 10;

const TRAILER: u64 = 32;
const MAGIC: &[u8; 8] = b"MILLIDX\n";
const VERSION: u32 = 1;

/// What a part says about itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Contents {
    pub(crate) mapping: Mapping,
    /// Of two documents with the same queue and offset, the one in the part with the higher serial
    /// counts.
    pub(crate) serial: u64,
    pub(crate) documents: u32,
    /// The tantivy files.
    pub(crate) components: Vec<Component>,
    /// By queue, the first and the last offset of a document.
    pub(crate) queues: BTreeMap<String, (u64, u64)>,
    /// The times of the oldest and the youngest document, microseconds.
    pub(crate) times: Option<(i64, i64)>,
    /// Names of parts whose documents are in this one now.
    pub(crate) replaces: Vec<String>,
    /// By prefix, the latest planned parts that were merged into this one, however often: a ledger
    /// may still ask what became of them.
    pub(crate) absorbed: BTreeMap<String, Vec<String>>,
}

/// One file of tantivy.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Component {
    /// What follows the dot in tantivy's name of it.
    pub(crate) name: String,
    pub(crate) at: u64,
    pub(crate) len: u64,
}

/// A file that was written.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Written {
    pub(crate) bytes: u64,
    /// CRC-32 of all of them.
    pub(crate) checksum: u32,
}

/// An open part.
#[derive(Debug)]
pub(crate) struct PartFile {
    pub(crate) name: String,
    pub(crate) contents: Contents,
    pub(crate) bytes: u64,
    path: PathBuf,
    file: Arc<dyn File>,
    blocks: Vec<u32>,
    data: u64,
}

/// Writes a part, durably but for its name.
pub(crate) fn write(
    disk: &dyn Disk,
    path: &Path,
    mut contents: Contents,
    components: &[(String, OwnedBytes)],
) -> Result<Written, IndexError> {
    let (mut blocks, mut data) = (Blocks::default(), 0);
    contents.components.clear();
    for (name, bytes) in components {
        let len = bytes.len() as u64;
        contents.components.push(Component { name: name.clone(), at: data, len });
        blocks.update(bytes);
        data += len;
    }
    let table: Vec<u8> = blocks.finish().iter().flat_map(|crc| crc.to_le_bytes()).collect();
    let contents = serde_json::to_vec(&contents).map_err(io::Error::from)?;
    let trailer = trailer(&table, &contents, data);
    // What a worker that was killed left under this name is of no use to anybody.
    match disk.remove(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error.into()),
        _ => {}
    }
    let file = disk.create(path)?;
    let mut all: Vec<&[u8]> = components.iter().map(|(_, bytes)| bytes.as_slice()).collect();
    all.extend([&table[..], &contents, &trailer]);
    let slices: Vec<_> = all.iter().map(|bytes| IoSlice::new(bytes)).collect();
    file.write_at(&slices, 0)?;
    file.sync()?;
    let mut checksum = Hasher::new();
    all.iter().for_each(|bytes| checksum.update(bytes));
    let bytes = all.iter().map(|bytes| bytes.len() as u64).sum();
    Ok(Written { bytes, checksum: checksum.finalize() })
}

fn trailer(table: &[u8], contents: &[u8], data: u64) -> [u8; TRAILER as usize] {
    let lengths = [data.to_le_bytes(), (contents.len() as u64).to_le_bytes()].concat();
    let mut checksum = Hasher::new();
    for bytes in [table, contents, &VERSION.to_le_bytes(), &lengths] {
        checksum.update(bytes);
    }
    let mut trailer = [0; TRAILER as usize];
    trailer[..8].copy_from_slice(MAGIC);
    trailer[8..12].copy_from_slice(&VERSION.to_le_bytes());
    trailer[12..16].copy_from_slice(&checksum.finalize().to_le_bytes());
    trailer[16..].copy_from_slice(&lengths);
    trailer
}

/// Checksums of blocks, of bytes that come in pieces.
#[derive(Default)]
struct Blocks {
    done: Vec<u32>,
    open: Hasher,
    filled: u64,
}

impl Blocks {
    fn update(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let room = (BLOCK - self.filled) as usize;
            let (now, rest) = bytes.split_at(room.min(bytes.len()));
            self.open.update(now);
            self.filled += now.len() as u64;
            if self.filled == BLOCK {
                self.close();
            }
            bytes = rest;
        }
    }

    fn close(&mut self) {
        self.done.push(std::mem::take(&mut self.open).finalize());
        self.filled = 0;
    }

    fn finish(mut self) -> Vec<u32> {
        if self.filled > 0 {
            self.close();
        }
        self.done
    }
}

impl PartFile {
    /// Opens a part and checks what it says about itself; the data is checked when it is read.
    pub(crate) fn open(disk: &dyn Disk, dir: &Path, name: &str) -> Result<Self, IndexError> {
        let path = dir.join(name);
        let file = disk.open(&path, Access::Read)?;
        let bytes = file.size()?;
        let damaged = |what: &str| IndexError::damaged(&path, what);
        let read = |range: Range<u64>| -> Result<Vec<u8>, IndexError> {
            let mut buffer = vec![0; (range.end - range.start) as usize];
            match file.read_at(&mut buffer, range.start)? == buffer.len() {
                true => Ok(buffer),
                false => Err(damaged("it ends early")),
            }
        };
        let trailer_at = bytes.checked_sub(TRAILER).ok_or_else(|| damaged("it is too short"))?;
        let found = read(trailer_at..bytes)?;
        let number = |at: usize| u64::from_le_bytes(found[at..at + 8].try_into().expect("8 bytes"));
        if found[..8] != *MAGIC {
            return Err(damaged("it does not end as a part does"));
        }
        let version = u32::from_le_bytes(found[8..12].try_into().expect("4 bytes"));
        if version > VERSION {
            return Err(IndexError::Newer { path, version });
        }
        let (data, len) = (number(16), number(24));
        let blocks = data.div_ceil(BLOCK);
        let expected = blocks.checked_mul(4).and_then(|table| data.checked_add(table));
        let expected = expected.and_then(|to| to.checked_add(len));
        if expected != Some(trailer_at) {
            return Err(damaged("its length is not what it says"));
        }
        let table = read(data..data + 4 * blocks)?;
        let contents = read(trailer_at - len..trailer_at)?;
        if trailer(&table, &contents, data)[..] != found {
            return Err(damaged("the checksum of its contents does not match"));
        }
        let parsed: Contents =
            serde_json::from_slice(&contents).map_err(|error| damaged(&error.to_string()))?;
        let within = |component: &Component| {
            component.at.checked_add(component.len).is_some_and(|end| end <= data)
        };
        if !parsed.components.iter().all(within) {
            return Err(damaged("its files lie beyond its end"));
        }
        let blocks = table.chunks_exact(4);
        let blocks = blocks.map(|crc| u32::from_le_bytes(crc.try_into().expect("4 bytes")));
        let blocks = blocks.collect();
        let name = name.to_owned();
        Ok(Self { name, contents: parsed, bytes, path: path.clone(), file, blocks, data })
    }

    /// Where one of tantivy's files lies.
    pub(crate) fn component(&self, name: &str) -> Option<Range<u64>> {
        let found = self.contents.components.iter().find(|component| component.name == name)?;
        Some(found.at..found.at + found.len)
    }

    /// Bytes of the data, checked.
    pub(crate) fn read(&self, range: Range<u64>) -> io::Result<OwnedBytes> {
        if range.is_empty() {
            return Ok(OwnedBytes::empty());
        }
        let first = range.start / BLOCK;
        let from = first * BLOCK;
        let to = range.end.div_ceil(BLOCK).saturating_mul(BLOCK).min(self.data);
        let mut buffer = vec![0; to.saturating_sub(from) as usize];
        let damaged = |what: String| DamagedBytes { path: self.path.clone(), what };
        if range.end > to || self.file.read_at(&mut buffer, from)? < buffer.len() {
            return Err(damaged(format!("it ends before byte {}", range.end)).into());
        }
        let known = &self.blocks[first as usize..];
        for (index, (block, crc)) in buffer.chunks(BLOCK as usize).zip(known).enumerate() {
            if crc32fast::hash(block) != *crc {
                let at = from + index as u64 * BLOCK;
                return Err(damaged(format!("the block at byte {at} does not match")).into());
            }
        }
        let within = (range.start - from) as usize..(range.end - from) as usize;
        Ok(OwnedBytes::new(buffer).slice(within))
    }
}
