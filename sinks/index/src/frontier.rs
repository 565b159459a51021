use std::collections::BTreeMap;

use millrace_connect_api::{OffsetRange, QueueRef, Resume};
use millrace_types::QueueOffset;

use crate::error::BatchError;

/// How far each queue was read, and where the documents of the open part begin.
#[derive(Debug)]
pub(crate) struct Frontier {
    read: BTreeMap<QueueRef, QueueOffset>,
    /// Committed further than that: a settled plan of which only some parts were left.
    ahead: BTreeMap<QueueRef, QueueOffset>,
    /// The first and the last message with a document in the open part.
    open: BTreeMap<QueueRef, (QueueOffset, QueueOffset)>,
}

/// An index has no partitions.
const WHOLE: &str = "";

impl Frontier {
    pub(crate) fn new(mut resume: Resume) -> Self {
        let ahead = resume.ahead.remove(WHOLE).unwrap_or_default();
        Self { read: resume.next, ahead, open: BTreeMap::new() }
    }

    /// Takes note of a batch; what comes before the answer is committed already.
    pub(crate) fn begin(
        &mut self,
        queue: &QueueRef,
        from: QueueOffset,
    ) -> Result<QueueOffset, BatchError> {
        match self.read.get(queue) {
            Some(expected) if *expected != from => {
                let (queue, expected) = (queue.clone(), *expected);
                Err(BatchError::Gap { queue, from, expected })
            }
            _ => Ok(self.ahead.get(queue).copied().unwrap_or_default()),
        }
    }

    pub(crate) fn add(&mut self, queue: &QueueRef, offset: QueueOffset) {
        match self.open.get_mut(queue) {
            Some((_, last)) => *last = offset,
            None => drop(self.open.insert(queue.clone(), (offset, offset))),
        }
    }

    pub(crate) fn end(&mut self, queue: &QueueRef, to: QueueOffset) {
        self.read.insert(queue.clone(), to);
        if self.ahead.get(queue).is_some_and(|ahead| *ahead <= to) {
            self.ahead.remove(queue);
        }
    }

    /// The ranges of the part that is closed now.
    pub(crate) fn close(&mut self) -> Vec<OffsetRange> {
        let open = std::mem::take(&mut self.open).into_iter();
        open.map(|(queue, (from, last))| OffsetRange { queue, from, to: last + 1 }).collect()
    }

    /// Where reading goes on if all closed parts are committed.
    pub(crate) fn resume(&self) -> Resume {
        let next = self.read.iter().map(|(queue, read)| {
            let from = self.open.get(queue).map_or(*read, |(first, _)| *first);
            (queue.clone(), from)
        });
        let mut ahead = BTreeMap::new();
        if !self.ahead.is_empty() {
            ahead.insert(WHOLE.to_owned(), self.ahead.clone());
        }
        Resume { next: next.collect(), ahead }
    }
}
