use millrace_types::QueueOffset;

use super::{Entry, LOST, QueueNo};

/// The entries of all queues over one stretch of the log.
///
/// Fifty thousand queues get a message each in turn, so what one more entry touches decides what it
/// costs: one `Tail` and one place for the entry, never an allocation of its own. The entries of a
/// queue lie in *chunks* of 8, 16, 32 … entries, cut one after the other from pages that all queues
/// share.
#[derive(Debug, Default)]
pub(crate) struct Stretch {
    tails: Vec<Tail>,
    chunks: Vec<Chunk>,
    pages: Vec<Vec<Entry>>,
    /// Entries that are counted and not yet in place.
    unsettled: Vec<(QueueNo, Entry)>,
    entries: u64,
    /// Queues with an entry.
    queues: u64,
}

/// Where a queue goes on; never in two lines of the processor's caches.
#[derive(Clone, Copy, Debug, Default)]
#[repr(align(32))]
struct Tail {
    /// Offset of the first entry, or of the one that comes first.
    from: QueueOffset,
    count: u32,
    /// Number of the newest chunk; of no meaning without an entry.
    chunk: u32,
    /// Where the next entry goes, and how many more after it fit there.
    next: u32,
    room: u32,
    /// Entries on their way here.
    unsettled: u32,
}

/// A piece of a queue.
#[derive(Clone, Copy, Debug)]
struct Chunk {
    /// Place of its first entry.
    start: u32,
    /// Entries of the queue that lie in the chunks before.
    before: u32,
    /// Number of the chunk before; of no meaning if nothing lies before.
    previous: u32,
}

/// Entries of a page; a chunk never spans two.
const PAGE: usize = 1 << 16;
/// Entries of the first chunk of a queue, and of the largest: the first to keep small queues small,
/// the last so that the way back through a long queue has few steps.
const CHUNK_MIN: u32 = 8;
const CHUNK_MAX: u32 = 8192;
/// So many entries are settled at once; these stay in the nearest cache.
const UNSETTLED_MAX: usize = 256;

impl Stretch {
    /// An empty stretch in which every queue goes on where it ends in this one.
    pub(crate) fn following(&self) -> Self {
        let ends = (0..self.tails.len()).map(|no| self.end(QueueNo(no as u32)));
        let tails = ends.map(|from| Tail { from, ..Tail::default() }).collect();
        Self { tails, ..Self::default() }
    }

    /// One more queue, with the next number.
    pub(crate) fn add_queue(&mut self) {
        self.tails.push(Tail::default());
    }

    /// Queues known, with entries or without.
    pub(crate) fn known(&self) -> usize {
        self.tails.len()
    }

    pub(crate) fn entry_count(&self) -> u64 {
        self.entries
    }

    /// Bytes of memory that grow with the entries.
    pub(crate) fn bytes(&self) -> u64 {
        (self.pages.len() * PAGE * size_of::<Entry>()) as u64
    }

    pub(crate) fn filled_queues(&self) -> u64 {
        self.queues
    }

    /// The offset of a queue's first entry, or of the one that comes first.
    pub(crate) fn from(&self, no: QueueNo) -> QueueOffset {
        self.tails[no.0 as usize].from
    }

    /// One past the last entry, settled or not.
    pub(crate) fn end(&self, no: QueueNo) -> QueueOffset {
        let tail = &self.tails[no.0 as usize];
        tail.from + u64::from(tail.count) + u64::from(tail.unsettled)
    }

    /// One past the last entry that can be read.
    pub(crate) fn settled_end(&self, no: QueueNo) -> QueueOffset {
        let tail = &self.tails[no.0 as usize];
        tail.from + u64::from(tail.count)
    }

    /// Lets a queue without entries start somewhere else.
    pub(crate) fn start_at(&mut self, no: QueueNo, from: QueueOffset) {
        let tail = &mut self.tails[no.0 as usize];
        assert_eq!(tail.count + tail.unsettled, 0, "the offsets of a queue have no gap");
        tail.from = from;
    }

    /// Adds an entry, which can be read once it is settled.
    pub(crate) fn push(&mut self, no: QueueNo, entry: Entry) {
        self.tails[no.0 as usize].unsettled += 1;
        self.unsettled.push((no, entry));
        if self.unsettled.len() == UNSETTLED_MAX {
            self.settle();
        }
    }

    /// Puts what was added into its queues.
    pub(crate) fn settle(&mut self) {
        let mut unsettled = std::mem::take(&mut self.unsettled);
        // One after the other, each entry would wait for the memory it goes to. These loads do not
        // depend on each other, so the processor has several on their way at once.
        let places = unsettled.iter().map(|(no, _)| self.tails[no.0 as usize].next);
        let page = |place: u32| self.pages.get(place as usize / PAGE);
        let entry = |place: u32| page(place)?.get(place as usize % PAGE);
        let sizes = places.filter_map(entry).map(|entry| entry.size);
        std::hint::black_box(sizes.fold(0, u32::wrapping_add));
        for (no, entry) in unsettled.drain(..) {
            self.put(no, entry);
        }
        self.unsettled = unsettled;
    }

    fn put(&mut self, no: QueueNo, entry: Entry) {
        let mut tail = &mut self.tails[no.0 as usize];
        if tail.room == 0 {
            self.grow(no);
            tail = &mut self.tails[no.0 as usize];
        }
        self.pages[tail.next as usize / PAGE][tail.next as usize % PAGE] = entry;
        tail.next += 1;
        tail.room -= 1;
        tail.count += 1;
        tail.unsettled -= 1;
        self.entries += 1;
    }

    /// Gives a queue its next chunk.
    fn grow(&mut self, no: QueueNo) {
        let tail = &mut self.tails[no.0 as usize];
        self.queues += u64::from(tail.count == 0);
        let len = (tail.count + 1).next_power_of_two().clamp(CHUNK_MIN, CHUNK_MAX);
        if self.pages.last().is_none_or(|page| page.len() + len as usize > PAGE) {
            self.pages.push(Vec::with_capacity(PAGE));
        }
        let number = self.pages.len() - 1;
        let page = &mut self.pages[number];
        let start = u32::try_from(number * PAGE + page.len()).expect("memory ends before 2³²");
        page.resize(page.len() + len as usize, LOST);
        self.chunks.push(Chunk { start, before: tail.count, previous: tail.chunk });
        tail.chunk = (self.chunks.len() - 1) as u32;
        (tail.next, tail.room) = (start, len);
    }

    pub(crate) fn last(&self, no: QueueNo) -> Option<&Entry> {
        let tail = &self.tails[no.0 as usize];
        (tail.count > 0).then(|| self.at(tail.next - 1))
    }

    /// Entries of a queue from `from` on, in pieces: none if it ends before.
    pub(crate) fn pieces(&self, no: QueueNo, from: QueueOffset) -> Vec<&[Entry]> {
        let tail = &self.tails[no.0 as usize];
        let skip = from.0.saturating_sub(tail.from.0);
        let mut pieces = Vec::new();
        let (mut number, mut end) = (tail.chunk, tail.count);
        while u64::from(end) > skip {
            let Chunk { start, before, previous } = self.chunks[number as usize];
            let skipped = (skip as u32).saturating_sub(before);
            pieces.push(&self.piece(start + skipped)[..(end - before - skipped) as usize]);
            (number, end) = (previous, before);
        }
        pieces.reverse();
        pieces
    }

    /// The first offset whose entry does not satisfy `holds`, if the entries that do come first.
    pub(crate) fn partition_point(
        &self,
        no: QueueNo,
        holds: impl Fn(&Entry) -> bool,
    ) -> QueueOffset {
        let tail = &self.tails[no.0 as usize];
        let (mut number, mut end) = (tail.chunk, tail.count);
        while end > 0 {
            let Chunk { start, before, previous } = self.chunks[number as usize];
            if holds(self.at(start)) {
                let piece = &self.piece(start)[..(end - before) as usize];
                return tail.from + u64::from(before) + piece.partition_point(holds) as u64;
            }
            (number, end) = (previous, before);
        }
        tail.from
    }

    fn at(&self, place: u32) -> &Entry {
        &self.piece(place)[0]
    }

    /// What lies from a place on to the end of its page.
    fn piece(&self, place: u32) -> &[Entry] {
        &self.pages[place as usize / PAGE][place as usize % PAGE..]
    }
}

#[cfg(test)]
mod tests {
    use millrace_types::{PhysicalOffset, TagsCode};

    use super::*;

    fn entry(n: u64) -> Entry {
        Entry { physical_offset: PhysicalOffset(n), size: 1, tags_code: TagsCode(0) }
    }

    /// Queues of very different lengths, filled in turn, beside one vector each.
    #[test]
    fn every_queue_reads_as_it_was_filled() {
        let lens = [0, 1, 8, 9, 100, 8191, 20_000, 70_000];
        let mut stretch = Stretch::default();
        lens.iter().for_each(|_| stretch.add_queue());
        stretch.start_at(QueueNo(4), QueueOffset(50));
        for n in 0..70_000 {
            for no in (0..lens.len()).filter(|&no| n < lens[no]) {
                stretch.push(QueueNo(no as u32), entry(n as u64));
            }
        }
        stretch.settle();
        assert_eq!(stretch.entry_count(), lens.iter().sum::<usize>() as u64);
        assert_eq!(stretch.filled_queues(), 7);
        let next = stretch.following();
        for (no, &len) in lens.iter().enumerate() {
            let (no, len) = (QueueNo(no as u32), len as u64);
            let from = stretch.from(no);
            assert_eq!(stretch.end(no), from + len);
            assert_eq!((next.from(no), next.end(no)), (from + len, from + len));
            assert_eq!(stretch.last(no).copied(), len.checked_sub(1).map(entry));
            for skip in [0, 1, 7, 8, 23, 24, 8190, 69_999, 70_000, 80_000] {
                let read = stretch.pieces(no, from + skip).concat();
                assert!(read.iter().copied().eq((skip..len).map(entry)), "{skip} of {len}");
                let below = |entry: &Entry| entry.physical_offset < PhysicalOffset(skip);
                assert_eq!(stretch.partition_point(no, below), from + skip.min(len));
            }
        }
    }
}
