use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::json;
use tantivy::directory::error::{DeleteError, LockError, OpenReadError, OpenWriteError};
use tantivy::directory::{
    DirectoryLock, FileHandle, Lock, OwnedBytes, RamDirectory, TerminatingWrite, WatchCallback,
    WatchHandle, WritePtr,
};
use tantivy::schema::Schema;
use tantivy::store::Compressor;
use tantivy::{BitSet, Directory, HasLen, Index, IndexSettings};

use crate::error::IndexError;
use crate::mapping::Mapping;
use crate::part_file::PartFile;

/// How segments are written, and what an index says of itself.
pub(crate) fn settings() -> IndexSettings {
    IndexSettings {
        docstore_compression: Compressor::Lz4,
        // A thread for each part would be one that the simulation does not drive.
        docstore_compress_dedicated_thread: false,
        ..IndexSettings::default()
    }
}

/// Some parts, as a directory of tantivy: one segment for each, numbered in order.
///
/// It is for reading, and nothing in it ever changes. The list of segments (`meta.json`) and the
/// bitmaps of documents that do not count any more (`.del`) are made when it is built.
#[derive(Clone)]
pub(crate) struct Shelf {
    parts: Arc<[Arc<PartFile>]>,
    made: Arc<BTreeMap<PathBuf, OwnedBytes>>,
}

const META: &str = "meta.json";

/// Tantivy numbers operations; all that these bitmaps need is some number.
const DELETED_AT: u64 = 1;

impl Shelf {
    /// Opens parts of one mapping. For each, `dead` may say which documents to pass over.
    pub(crate) fn index(
        mapping: &Mapping,
        parts: &[Arc<PartFile>],
        dead: &[Option<BitSet>],
    ) -> Result<Index, IndexError> {
        let mut made = BTreeMap::new();
        let mut segments = Vec::new();
        for (number, part) in parts.iter().enumerate() {
            let documents = part.contents.documents;
            let dead = dead.get(number).and_then(Option::as_ref);
            let deletes = dead.map(|dead| {
                let name = format!("{}.{DELETED_AT}.del", stem(number));
                made.insert(name.into(), with_footer(alive_bytes(documents, dead)));
                json!({ "num_deleted_docs": dead.len(), "opstamp": DELETED_AT })
            });
            segments.push(json!({
                "segment_id": stem(number), "max_doc": documents, "deletes": deletes,
            }));
        }
        let meta = json!({
            "index_settings": settings(),
            "segments": segments,
            "schema": mapping.to_tantivy().schema,
            "opstamp": 0,
        });
        made.insert(META.into(), OwnedBytes::new(meta.to_string().into_bytes()));
        let shelf = Self { parts: parts.into(), made: Arc::new(made) };
        Ok(Index::open(shelf)?)
    }

    fn find(&self, path: &Path) -> Option<(&Arc<PartFile>, Range<u64>)> {
        let (stem, name) = path.to_str()?.split_once('.')?;
        let number = usize::from_str_radix(stem, 16).ok()?;
        let part = self.parts.get(number)?;
        Some((part, part.component(name)?))
    }
}

/// What a segment is called. It is the form that tantivy gives to the random numbers it would take.
fn stem(number: usize) -> String {
    format!("{number:032x}")
}

/// A bitmap of the documents that count, in tantivy's layout: their number, then words of 64 bits.
pub(crate) fn alive_bytes(documents: u32, dead: &BitSet) -> Vec<u8> {
    let mut alive = BitSet::with_max_value_and_full(documents);
    (0..documents).filter(|document| dead.contains(*document)).for_each(|document| {
        alive.remove(document);
    });
    let mut bytes = Vec::new();
    tantivy::fastfield::write_alive_bitset(&alive, &mut bytes).expect("memory takes all");
    bytes
}

/// What tantivy puts behind each of its files, and takes off before it looks at one.
fn with_footer(bytes: Vec<u8>) -> OwnedBytes {
    let (path, memory) = (Path::new("x.del"), RamDirectory::create());
    let written = || -> io::Result<OwnedBytes> {
        let schema = Schema::builder().build();
        let index = Index::create(memory.clone(), schema, settings()).map_err(io::Error::other)?;
        let mut file = index.directory().open_write(path).map_err(io::Error::other)?;
        file.write_all(&bytes)?;
        file.terminate()?;
        let file = memory.get_file_handle(path).map_err(io::Error::other)?;
        file.read_bytes(0..file.len())
    };
    written().expect("memory takes all")
}

impl fmt::Debug for Shelf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.parts.iter().map(|part| &part.name)).finish()
    }
}

/// One of tantivy's files, within a part.
#[derive(Debug)]
struct Within {
    part: Arc<PartFile>,
    range: Range<u64>,
}

impl HasLen for Within {
    fn len(&self) -> usize {
        (self.range.end - self.range.start) as usize
    }
}

impl FileHandle for Within {
    fn read_bytes(&self, range: Range<usize>) -> io::Result<OwnedBytes> {
        let start = self.range.start;
        self.part.read(start + range.start as u64..start + range.end as u64)
    }
}

fn read_only(path: &Path) -> io::Error {
    let text = format!("parts never change, so {} cannot be written", path.display());
    io::Error::new(io::ErrorKind::Unsupported, text)
}

impl Directory for Shelf {
    fn get_file_handle(&self, path: &Path) -> Result<Arc<dyn FileHandle>, OpenReadError> {
        if let Some(made) = self.made.get(path) {
            return Ok(Arc::new(made.clone()));
        }
        match self.find(path) {
            Some((part, range)) => Ok(Arc::new(Within { part: Arc::clone(part), range })),
            None => Err(OpenReadError::FileDoesNotExist(path.to_owned())),
        }
    }

    fn exists(&self, path: &Path) -> Result<bool, OpenReadError> {
        Ok(self.made.contains_key(path) || self.find(path).is_some())
    }

    fn atomic_read(&self, path: &Path) -> Result<Vec<u8>, OpenReadError> {
        let made = self.made.get(path).map(|bytes| bytes.as_slice().to_vec());
        made.ok_or_else(|| OpenReadError::FileDoesNotExist(path.to_owned()))
    }

    fn delete(&self, path: &Path) -> Result<(), DeleteError> {
        let (io_error, filepath) = (Arc::new(read_only(path)), path.to_owned());
        Err(DeleteError::IoError { io_error, filepath })
    }

    fn open_write(&self, path: &Path) -> Result<WritePtr, OpenWriteError> {
        Err(OpenWriteError::wrap_io_error(read_only(path), path.to_owned()))
    }

    fn atomic_write(&self, path: &Path, _data: &[u8]) -> io::Result<()> {
        Err(read_only(path))
    }

    fn sync_directory(&self) -> io::Result<()> {
        Ok(())
    }

    /// There is nothing to lock out: nothing changes.
    fn acquire_lock(&self, _lock: &Lock) -> Result<DirectoryLock, LockError> {
        Ok(DirectoryLock::from(Box::new(())))
    }

    fn watch(&self, _callback: WatchCallback) -> tantivy::Result<WatchHandle> {
        Ok(WatchHandle::empty())
    }
}
