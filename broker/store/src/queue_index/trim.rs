//! What the index forgets: what retention removed, and what a deleted topic left behind.

use millrace_types::{PhysicalOffset, QueueOffset};

use super::{LOST, LOST_MAX, QueueIndex, QueueNo};

impl QueueIndex {
    /// Forgets every message before `to`, where the log starts from now on.
    pub(crate) fn trim(&mut self, to: PhysicalOffset) {
        for no in (0..self.queues.len()).map(|no| QueueNo(no as u32)) {
            self.hide_below(no, to);
        }
        while self.runs.pop_front_if(|run| run.to() <= to).is_some() {
            self.first_run += 1;
        }
        for queue in &mut self.queues {
            queue.runs.retain(|part| part.run >= self.first_run);
        }
    }

    /// Makes the messages of a queue that lie before `to` invisible for good.
    pub(crate) fn hide_below(&mut self, no: QueueNo, to: PhysicalOffset) {
        let min = self.first_from(no, to);
        let queue = &mut self.queues[no.0 as usize];
        queue.min = queue.min.max(min);
        let hidden = (queue.min.0.saturating_sub(queue.live_from.0) as usize).min(queue.live.len());
        if hidden > 0 {
            queue.live.drain(..hidden);
            queue.live_from = queue.live_from + hidden as u64;
            self.live_entries -= hidden;
            self.live_queues -= usize::from(queue.live.is_empty());
        }
    }

    /// Lets a queue whose messages are gone go on with the offset that it would have given next.
    pub(crate) fn raise_end(&mut self, no: QueueNo, next: QueueOffset) {
        let end = self.end(no);
        let queue = &mut self.queues[no.0 as usize];
        if next <= end {
            return;
        }
        let missing = next.since(end);
        if queue.is_empty() {
            (queue.live_from, queue.min) = (next, next);
        } else if missing <= LOST_MAX {
            self.live_queues += usize::from(queue.live.is_empty());
            self.live_entries += missing as usize;
            queue.live.extend((0..missing).map(|_| LOST));
        }
    }

    /// The first offset whose record lies at or after `to`; the queue's end without one.
    pub(crate) fn first_from(&self, no: QueueNo, to: PhysicalOffset) -> QueueOffset {
        let (mut low, mut high) = (self.min(no), self.end(no));
        // Most queues have nothing to forget, and many others have nothing left.
        let first = self.next_kept(no, low, high);
        if first.is_none_or(|(_, at)| at >= to) {
            return if first.is_some() { low } else { high };
        }
        while low < high {
            let middle = QueueOffset(low.0 + (high.0 - low.0) / 2);
            match self.next_kept(no, middle, high) {
                Some((found, at)) if at < to => low = found + 1,
                _ => high = middle,
            }
        }
        low
    }

    /// The first message in `from..end` that was not lost to damage, and where it lies.
    pub(crate) fn next_kept(
        &self,
        no: QueueNo,
        from: QueueOffset,
        end: QueueOffset,
    ) -> Option<(QueueOffset, PhysicalOffset)> {
        let mut at = from;
        let mut count = 1;
        while at < end {
            let entries = self.read(no, at, count.min(end.since(at) as usize));
            if entries.is_empty() {
                return None;
            }
            if let Some(n) = entries.iter().position(|entry| entry.size > 0) {
                return Some((at + n as u64, entries[n].physical_offset));
            }
            at = at + entries.len() as u64;
            count = 4096;
        }
        None
    }

    /// Bytes of a queue's records from `from` on, counted no further than `enough`.
    pub(crate) fn bytes_from(&self, no: QueueNo, from: PhysicalOffset, enough: u64) -> u64 {
        let (mut at, end) = (self.first_from(no, from), self.end(no));
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
