//! Offsets that are given to nobody, because damage may have taken the messages that had them.

use millrace_types::{PhysicalOffset, QueueOffset, is_system_topic};

use super::{QueueIndex, QueueNo};
use crate::tally::Tally;

impl QueueIndex {
    /// Where the newest message of a queue lies, or a place before it; `None` if it never had one.
    pub(crate) fn newest_at(&self, no: QueueNo) -> Option<PhysicalOffset> {
        if !self.is_filled(no) {
            return None;
        }
        let last = QueueOffset(self.end(no).0.checked_sub(1)?);
        // Lost ones and removed ones lie nowhere.
        let entries = self.read(no, last, 1);
        Some(entries.first().map_or(PhysicalOffset(0), |entry| entry.physical_offset))
    }

    /// Lets a queue that has messages leave out so many offsets after them.
    pub(crate) fn leave_out(&mut self, no: QueueNo, count: u64) {
        self.push_lost(no, count);
    }

    /// Lets every queue without a message leave out so many offsets, also one that becomes known
    /// later.
    pub(crate) fn leave_out_of_empty(&mut self, counts: Tally) {
        self.left_out = counts;
        for no in (0..self.names.len()).map(|no| QueueNo(no as u32)) {
            if !self.is_filled(no) {
                self.leave_out_unseen(no);
            }
        }
    }

    /// Whoever keeps the broker's own state has read all of it.
    pub(crate) fn state_was_read(&mut self) {
        self.state_was_read = true;
    }

    /// The same for one queue. What was lost of the broker's own state has to be missed by whoever
    /// reads it, so there the offsets are there, and lost.
    pub(super) fn leave_out_unseen(&mut self, no: QueueNo) {
        let count = self.left_out_of(no);
        if count == 0 {
            return;
        }
        if is_system_topic(&self.names[no.0 as usize].topic) && !self.state_was_read {
            self.push_lost(no, count);
            self.settle();
        } else {
            let from = self.end(no) + count;
            self.start_at(no, from);
        }
    }

    pub(super) fn left_out_of(&self, no: QueueNo) -> u64 {
        self.left_out.kind_of(self.names[no.0 as usize].topic.as_str())
    }
}
