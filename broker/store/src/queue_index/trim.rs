//! What the index forgets: what retention removed, and what a deleted topic left behind.

use millrace_types::{PhysicalOffset, QueueOffset};

use super::{Entry, LOST_MAX, QueueIndex, QueueNo};

impl QueueIndex {
    /// Forgets every message before `to`, where the log starts from now on.
    pub(crate) fn trim(&mut self, to: PhysicalOffset) {
        self.settle();
        for no in (0..self.names.len()).map(|no| QueueNo(no as u32)) {
            self.hide_below(no, to);
        }
        while self.runs.pop_front_if(|run| run.to() <= to).is_some() {}
    }

    /// Makes the messages of a queue that lie before `to` invisible for good.
    pub(crate) fn hide_below(&mut self, no: QueueNo, to: PhysicalOffset) {
        self.settle();
        let min = self.first_from(no, to);
        let kept = &mut self.kept[no.0 as usize];
        kept.min = kept.min.max(min);
    }

    /// Lets a queue whose messages are gone go on with the offset that it would have given next.
    pub(crate) fn raise_end(&mut self, no: QueueNo, next: QueueOffset) {
        let (filled, end) = (self.is_filled(no), self.end(no));
        let next = if filled { next } else { next + self.left_out_of(no) };
        if next <= end {
            return;
        }
        if !filled {
            self.start_at(no, next);
        } else if next.since(end) <= LOST_MAX {
            self.push_lost(no, next.since(end));
        }
    }

    /// The first settled offset whose record lies at or after `to`; the end of those without one.
    pub(crate) fn first_from(&self, no: QueueNo, to: PhysicalOffset) -> QueueOffset {
        let (mut low, mut high) = (self.min(no), self.live.settled_end(no));
        // Most queues have nothing to forget, and many others have nothing left.
        let first = self.next_kept(no, low, high);
        // What cannot be read is not hidden, because it may lie anywhere.
        let goes = |entry: &Entry| entry.physical_offset < to && !entry.is_unreadable();
        if !first.as_ref().is_some_and(|(_, entry)| goes(entry)) {
            return if first.is_some() { low } else { high };
        }
        while low < high {
            let middle = QueueOffset(low.0 + (high.0 - low.0) / 2);
            match self.next_kept(no, middle, high) {
                Some((found, entry)) if goes(&entry) => low = found + 1,
                _ => high = middle,
            }
        }
        low
    }

    /// The first message in `from..end` that was not lost to damage, and its entry.
    pub(crate) fn next_kept(
        &self,
        no: QueueNo,
        from: QueueOffset,
        end: QueueOffset,
    ) -> Option<(QueueOffset, Entry)> {
        let mut at = from;
        let mut count = 1;
        while at < end {
            let entries = self.read(no, at, count.min(end.since(at) as usize));
            if entries.is_empty() {
                return None;
            }
            if let Some(n) = entries.iter().position(|entry| entry.size > 0) {
                return Some((at + n as u64, entries[n]));
            }
            at = at + entries.len() as u64;
            count = 4096;
        }
        None
    }

    /// Bytes of a queue's records from `from` on, counted no further than `enough`.
    pub(crate) fn bytes_from(&self, no: QueueNo, from: PhysicalOffset, enough: u64) -> u64 {
        let (mut at, end) = (self.first_from(no, from), self.live.settled_end(no));
        let mut bytes = 0;
        while at < end && bytes < enough {
            let entries = self.read(no, at, 4096);
            if entries.is_empty() {
                break;
            }
            bytes += entries.iter().map(|entry| u64::from(entry.size)).sum::<u64>();
            at = at + entries.len() as u64;
        }
        bytes
    }
}
