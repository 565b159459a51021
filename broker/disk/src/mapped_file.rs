#![expect(unsafe_code, reason = "a memory map is a promise about a file that no type can check")]

use std::fs;
use std::io;
use std::ops::Range;
use std::slice;
use std::sync::Arc;

use bytes::Bytes;
use memmap2::{Mmap, MmapOptions};

use crate::Map;

/// The first bytes of a file in memory, read-only and shared with whoever writes the file.
#[derive(Debug)]
pub(crate) struct MappedFile {
    /// `None` if empty: there is no map of zero bytes.
    map: Option<Arc<Mmap>>,
    len: u64,
}

impl MappedFile {
    /// Maps the first `len` bytes. Refuses more than the file has, since touching those would be
    /// a `SIGBUS`.
    pub(crate) fn new(file: &fs::File, len: u64) -> io::Result<Self> {
        let size = file.metadata()?.len();
        if size < len {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("the file has {size} bytes and not {len}"),
            ));
        }
        if len == 0 {
            return Ok(Self { map: None, len });
        }
        let bytes = usize::try_from(len).map_err(io::Error::other)?;
        // SAFETY: the file has `len` bytes now and is not cut below them while mapped: the holder
        // of the directory lock is the only process that changes it, and removes files whole
        // rather than cutting them. That its bytes change is of no matter here, because this
        // makes no reference to them; `Part::as_ref` does.
        let map = unsafe { MmapOptions::new().len(bytes).map(file)? };
        Ok(Self { map: Some(Arc::new(map)), len })
    }
}

impl Map for MappedFile {
    fn slice(&self, range: Range<u64>) -> Bytes {
        let Range { start, end } = range;
        assert!(
            start <= end && end <= self.len,
            "{start}..{end} is not within the {} mapped bytes",
            self.len
        );
        match &self.map {
            Some(map) if start < end => Bytes::from_owner(Part {
                map: Arc::clone(map),
                // No truncation: `new` checked that `len` is a `usize`.
                start: start as usize,
                len: (end - start) as usize,
            }),
            _ => Bytes::new(),
        }
    }
}

/// Part of a map, which it keeps alive. Lies within it.
struct Part {
    map: Arc<Mmap>,
    start: usize,
    len: usize,
}

impl AsRef<[u8]> for Part {
    fn as_ref(&self) -> &[u8] {
        // SAFETY: `slice` checked that the part is within the map, and the map lives as long as
        // `self`. The caller of `slice` asks only for bytes that are written and never change
        // again, so nobody writes what the reference covers; it covers nothing else of the map.
        unsafe { slice::from_raw_parts(self.map.as_ptr().add(self.start), self.len) }
    }
}
