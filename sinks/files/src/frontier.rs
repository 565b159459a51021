//! Which offsets are in which part, and where reading resumes. No I/O, no clock.
//!
//! Every partition has its own file and every file its own moment to be closed, so the parts of a
//! sink do not end at one common offset. For each queue there is a *position*, up to which its
//! batches were written. A row below the position is in one of three places: in an *open* part,
//! in a *closed* one, or nowhere, because it was filtered out. Once the closed parts are committed
//!
//! - reading resumes at the first row that is in an open part, or at the position if no open part
//!   has a row of the queue: `next`;
//! - beyond that, some partitions are committed already: all rows of partition `p` below
//!   `ahead[p][queue]` are in committed parts, and are skipped when they are read again.
//!
//! An entry of `ahead` is dropped once `next` has passed it, so there are as many as there are
//! partitions with rows between `next` and the position.
//!
//! The ranges of a part are, for each queue of which it has rows, from where its partition was
//! closed last (or where reading would have resumed, if that is later) to the position. The ranges
//! of the parts of one partition never overlap, and every row of the partition within them is in
//! that part.

use std::collections::BTreeMap;

use millrace_connect_api::{OffsetRange, QueueRef, Resume};
use millrace_types::QueueOffset;

use crate::error::BatchError;

/// A queue, by its place in the frontier's list.
pub(crate) type QueueIndex = usize;

/// Which rows of each queue a part has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Spans(BTreeMap<QueueIndex, Span>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Span {
    first: QueueOffset,
    last: QueueOffset,
}

#[derive(Debug)]
pub(crate) struct Frontier {
    queues: Vec<Queue>,
    /// By partition: below these offsets all its rows are in closed parts.
    closed: BTreeMap<String, BTreeMap<QueueIndex, QueueOffset>>,
}

#[derive(Debug)]
struct Queue {
    queue: QueueRef,
    /// Where its next batch begins; unknown until the first, if nothing is recorded of the queue.
    position: Option<QueueOffset>,
    /// Where reading resumed, by the last answer.
    next: QueueOffset,
}

impl Frontier {
    pub(crate) fn new(resume: Resume) -> Self {
        let queues = resume.next.into_iter().map(|(queue, next)| Queue {
            queue,
            position: Some(next),
            next,
        });
        let mut frontier = Self { queues: queues.collect(), closed: BTreeMap::new() };
        for (partition, ahead) in resume.ahead {
            let ahead = ahead.into_iter().map(|(queue, to)| (frontier.index(&queue), to)).collect();
            frontier.closed.insert(partition, ahead);
        }
        frontier
    }

    fn index(&mut self, queue: &QueueRef) -> QueueIndex {
        let known = self.queues.iter().position(|known| known.queue == *queue);
        known.unwrap_or_else(|| {
            let next = QueueOffset(0);
            self.queues.push(Queue { queue: queue.clone(), position: None, next });
            self.queues.len() - 1
        })
    }

    /// Begins a batch.
    pub(crate) fn begin(
        &mut self,
        queue: &QueueRef,
        from: QueueOffset,
    ) -> Result<QueueIndex, BatchError> {
        let index = self.index(queue);
        let known = &mut self.queues[index];
        match known.position {
            Some(expected) if expected != from => {
                Err(BatchError::Gap { queue: queue.clone(), from, expected })
            }
            Some(_) => Ok(index),
            None => {
                known.position = Some(from);
                known.next = from;
                Ok(index)
            }
        }
    }

    /// Below this offset all rows of the partition are in closed parts.
    pub(crate) fn closed_to(&self, partition: &str, queue: QueueIndex) -> QueueOffset {
        let closed = self.closed.get(partition).and_then(|queues| queues.get(&queue));
        closed.copied().unwrap_or_default()
    }

    /// Ends a batch: everything below `to` is in a part or filtered out.
    pub(crate) fn end(&mut self, queue: QueueIndex, to: QueueOffset) {
        self.queues[queue].position = Some(to);
    }

    /// Closes a part of a partition and says which ranges it covers. In the middle of a batch the
    /// ranges end after the last row that the part has of it.
    pub(crate) fn close(&mut self, partition: &str, spans: &Spans) -> Vec<OffsetRange> {
        if !self.closed.contains_key(partition) {
            self.closed.insert(partition.to_owned(), BTreeMap::new());
        }
        let closed = self.closed.get_mut(partition).expect("it was just inserted");
        let ranges = spans.0.iter().map(|(index, span)| {
            let known = &self.queues[*index];
            let closed = closed.entry(*index).or_default();
            let from = known.next.max(*closed);
            let to = known.position.unwrap_or_default().max(span.last + 1);
            assert!(from <= span.first, "rows below {from} are in other parts");
            *closed = to;
            OffsetRange { queue: known.queue.clone(), from, to }
        });
        ranges.collect()
    }

    /// Where reading resumes once all closed parts are committed, with these parts still open.
    pub(crate) fn resume<'a>(&mut self, open: impl Iterator<Item = &'a Spans>) -> Resume {
        let mut first_open: BTreeMap<QueueIndex, QueueOffset> = BTreeMap::new();
        for (index, span) in open.flat_map(|spans| &spans.0) {
            let first = first_open.entry(*index).or_insert(span.first);
            *first = span.first.min(*first);
        }
        for (index, queue) in self.queues.iter_mut().enumerate() {
            if let Some(position) = queue.position {
                queue.next = first_open.get(&index).copied().unwrap_or(position);
            }
        }
        for closed in self.closed.values_mut() {
            closed.retain(|index, to| *to > self.queues[*index].next);
        }
        self.closed.retain(|_, closed| !closed.is_empty());

        let known = self.queues.iter().filter(|queue| queue.position.is_some());
        let next = known.map(|queue| (queue.queue.clone(), queue.next)).collect();
        let name =
            |(index, to): (&QueueIndex, &QueueOffset)| (self.queues[*index].queue.clone(), *to);
        let ahead = self
            .closed
            .iter()
            .map(|(partition, closed)| (partition.clone(), closed.iter().map(name).collect()));
        Resume { next, ahead: ahead.collect() }
    }
}

impl Spans {
    /// Adds rows; those of one queue come in ascending order.
    pub(crate) fn add(&mut self, queue: QueueIndex, first: QueueOffset, last: QueueOffset) {
        let span = self.0.entry(queue).or_insert(Span { first, last: first });
        debug_assert!(span.last <= first && first <= last, "rows come in ascending order");
        span.last = last;
    }
}

#[cfg(test)]
mod tests;
