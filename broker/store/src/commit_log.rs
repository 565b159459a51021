use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use millrace_disk::Disk;
use millrace_types::PhysicalOffset;
use millrace_types::record::{MAGIC_BLANK, PREFIX_BYTES};

use crate::error::AppendError;
use crate::segment::Segment;
use crate::tally::Tally;
use crate::watermark::Watermarks;

/// So many of the newest segments are read through maps, as far as they were written since the
/// start: the one written to, the one made ahead of time, and one more.
const HOT_SEGMENTS: usize = 3;
/// No page of a system is larger.
const PAGE_BYTES_MAX: u64 = 64 << 10;

/// The segments of the log, shared between the writer, the flusher and the readers.
#[derive(Debug)]
pub(crate) struct Segments {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    segment_bytes: u64,
    list: RwLock<Vec<Segment>>,
    /// The pages from here on were written by this process. What lies before may be on the disk
    /// only, where a map would meet with a bad sector, or with a file that somebody has cut.
    hot_from: PhysicalOffset,
    /// Held while a segment is made, so that writer and flusher do not make the same one.
    growing: Mutex<()>,
}

impl Segments {
    /// The segments of a log that ends at `end`.
    pub(crate) fn new(
        disk: Arc<dyn Disk>,
        dir: &Path,
        segment_bytes: u64,
        list: Vec<Segment>,
        end: PhysicalOffset,
    ) -> Self {
        let active = list.iter().rfind(|segment| segment.base <= end && end < segment.end());
        let hot_from = active.map_or(end, |active| {
            let written = end.since(active.base).next_multiple_of(PAGE_BYTES_MAX);
            active.base + written.min(active.len)
        });
        Self {
            hot_from,
            disk,
            dir: dir.into(),
            segment_bytes,
            list: RwLock::new(list),
            growing: Mutex::new(()),
        }
    }

    /// The segment that holds a position.
    pub(crate) fn holding(&self, at: PhysicalOffset) -> Option<Segment> {
        let list = self.list.read().unwrap_or_else(PoisonError::into_inner);
        let after = list.partition_point(|segment| segment.base <= at);
        list[..after].last().filter(|segment| at < segment.end()).cloned()
    }

    /// The segments that hold any byte of a range.
    pub(crate) fn overlapping(&self, from: PhysicalOffset, to: PhysicalOffset) -> Vec<Segment> {
        let list = self.list.read().unwrap_or_else(PoisonError::into_inner);
        list.iter().filter(|s| s.base < to && from < s.end()).cloned().collect()
    }

    /// Whether a position is in one of the newest segments.
    pub(crate) fn is_recent(&self, at: PhysicalOffset) -> bool {
        let list = self.list.read().unwrap_or_else(PoisonError::into_inner);
        let oldest = list.len().checked_sub(HOT_SEGMENTS);
        oldest.is_none_or(|oldest| list[oldest].base <= at)
    }

    /// From where on a segment is read through a map.
    pub(crate) fn hot_from(&self, segment: &Segment) -> PhysicalOffset {
        if self.is_recent(segment.base) { self.hot_from.max(segment.base) } else { segment.end() }
    }

    /// Whether a position is read through a map.
    pub(crate) fn is_hot(&self, at: PhysicalOffset) -> bool {
        at >= self.hot_from && self.is_recent(at)
    }

    /// Makes sure that there is a segment after the last byte of `before`.
    pub(crate) fn grow(&self, base: PhysicalOffset) -> io::Result<()> {
        let _growing = self.growing.lock().unwrap_or_else(PoisonError::into_inner);
        if self.holding(base).is_some() {
            return Ok(());
        }
        let made = Segment::create(&*self.disk, &self.dir, base, self.segment_bytes)?;
        let mut list = self.list.write().unwrap_or_else(PoisonError::into_inner);
        list.push(made);
        // One has become too old to be read through a map.
        if let Some(cold) = list.len().checked_sub(HOT_SEGMENTS + 1) {
            list[cold].unmap();
        }
        Ok(())
    }

    /// Takes the segments that end at or before `to` out of the log, but never the newest one.
    /// Whoever holds one goes on reading it; their files are the flusher's to remove.
    pub(crate) fn forget_before(&self, to: PhysicalOffset) {
        let mut list = self.list.write().unwrap_or_else(PoisonError::into_inner);
        let gone = list.partition_point(|segment| segment.end() <= to);
        let gone = gone.min(list.len().saturating_sub(1));
        list.drain(..gone);
    }

    /// Where each segment starts and ends, in order.
    pub(crate) fn spans(&self) -> Vec<(PhysicalOffset, PhysicalOffset)> {
        let list = self.list.read().unwrap_or_else(PoisonError::into_inner);
        list.iter().map(|segment| (segment.base, segment.end())).collect()
    }

    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    pub(crate) fn segment_bytes(&self) -> u64 {
        self.segment_bytes
    }

    pub(crate) fn min(&self) -> PhysicalOffset {
        let list = self.list.read().unwrap_or_else(PoisonError::into_inner);
        list.first().map_or(PhysicalOffset(0), |segment| segment.base)
    }
}

/// The one writer of the log.
///
/// Records are staged in memory at their final position and written by [`CommitLog::commit`], one
/// positioned write per segment touched.
#[derive(Debug)]
pub(crate) struct CommitLog {
    segments: Arc<Segments>,
    active: Segment,
    /// One past the last staged byte.
    next: PhysicalOffset,
    /// Staged for the active segment, from `written` on.
    staged: Vec<u8>,
    written: PhysicalOffset,
    /// Staged for the segments before it, which are full.
    rolled: Vec<Rolled>,
    marks: Watermarks,
}

/// The last bytes of a segment.
#[derive(Debug)]
struct Rolled {
    segment: Segment,
    at: PhysicalOffset,
    bytes: Vec<u8>,
}

/// A buffer that grew beyond this for one burst is given back to the system.
const STAGED_BYTES_MAX: usize = 8 << 20;

impl CommitLog {
    /// Goes on at the appended watermark, which lies within the last segment.
    pub(crate) fn new(segments: Arc<Segments>, marks: Watermarks) -> io::Result<Self> {
        let next = marks.appended();
        segments.grow(next)?;
        let active = segments.holding(next).ok_or(io::ErrorKind::NotFound)?;
        let (staged, rolled) = (Vec::new(), Vec::new());
        Ok(Self { segments, active, next, staged, written: next, rolled, marks })
    }

    /// One past the last staged byte: where the next record goes unless it has to roll.
    pub(crate) fn next(&self) -> PhysicalOffset {
        self.next
    }

    /// Makes sure that a group of `len` bytes can be staged, and `spare` more after it. It may need
    /// to roll once.
    pub(crate) fn reserve(&mut self, len: u64, spare: u64) -> Result<(), AppendError> {
        if self.marks.poisoned() {
            return Err(AppendError::Poisoned);
        }
        let max = self.segments.segment_bytes() - PREFIX_BYTES as u64;
        if len > max {
            return Err(AppendError::TooLarge { len, max });
        }
        let left = self.active.end().since(self.next);
        if len + spare + PREFIX_BYTES as u64 > left
            && self.segments.holding(self.active.end()).is_none()
        {
            self.segments.grow(self.active.end()).map_err(AppendError::DiskFull)?;
        }
        Ok(())
    }

    /// Where a record of `len` bytes will go, rolling to the next segment if need be, and the
    /// buffer to encode it into. Exactly `len` bytes must be added to the buffer.
    pub(crate) fn place(&mut self, len: usize) -> (PhysicalOffset, &mut Vec<u8>) {
        let left = self.active.end().since(self.next);
        if len as u64 + PREFIX_BYTES as u64 > left {
            self.staged.extend_from_slice(&(left as u32).to_be_bytes());
            self.staged.extend_from_slice(&MAGIC_BLANK.to_be_bytes());
            let end = self.active.end();
            let next = self.segments.holding(end).expect("reserve() made the next segment");
            self.rolled.push(Rolled {
                segment: std::mem::replace(&mut self.active, next),
                at: self.written,
                bytes: std::mem::take(&mut self.staged),
            });
            (self.next, self.written) = (end, end);
        }
        let at = self.next;
        self.next = at + len as u64;
        (at, &mut self.staged)
    }

    /// Writes everything staged. After an error the log is poisoned: part of it may be on disk.
    /// `tally` is that of everything staged.
    pub(crate) fn commit(&mut self, tally: Tally) -> Result<PhysicalOffset, AppendError> {
        if self.marks.poisoned() {
            return Err(AppendError::Poisoned);
        }
        if let Err(error) = self.write() {
            self.marks.poison();
            return Err(AppendError::Io(error));
        }
        self.marks.raise_appended(self.next, tally);
        Ok(self.next)
    }

    fn write(&mut self) -> io::Result<()> {
        for Rolled { segment, at, bytes } in self.rolled.drain(..) {
            segment.file.write_at(&[IoSlice::new(&bytes)], at.since(segment.base))?;
        }
        if self.staged.is_empty() {
            return Ok(());
        }
        let local = self.written.since(self.active.base);
        self.active.file.write_at(&[IoSlice::new(&self.staged)], local)?;
        self.written = self.next;
        self.staged.clear();
        if self.staged.capacity() > STAGED_BYTES_MAX {
            self.staged = Vec::new();
        }
        Ok(())
    }
}
