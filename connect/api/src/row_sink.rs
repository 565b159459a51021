use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use millrace_types::QueueOffset;

use crate::{Batch, Messages, OffsetRange, QueueRef, Reject, SinkError};

/// A sink that sends rows and is answered: an HTTP endpoint, a search engine, a database.
///
/// The runtime puts rows together to bulks and says in the ledger which rows a bulk has before the
/// bulk is sent for the first time. After a crash the same rows are sent as the same bulk, so
/// whatever names it ([`offset_ranges`] of its items) is the same, too, and a destination that
/// remembers names takes each row once.
#[async_trait]
pub trait RowSink: Send {
    /// Puts the selected rows of a batch into the form in which they are sent. Of the same batch the
    /// same comes out.
    fn encode(&mut self, batch: &Batch) -> Result<Encoded, SinkError>;

    /// Sends items, which are of one bulk and in the order of their queues, once. An error means
    /// that nothing is known of any of them.
    async fn send(&mut self, items: &[&Item]) -> Result<Outcome, SinkError>;
}

/// A row on its way.
#[derive(Clone, Debug)]
pub struct Item {
    /// The messages it is one of.
    pub messages: Arc<Messages>,
    /// Its number among them.
    pub row: u32,
    /// Where it goes, in the words of the sink. Items that go to different places are not sent in
    /// one request.
    pub route: Arc<str>,
    /// What is sent of it.
    pub bytes: Bytes,
}

/// What became of the rows of a batch.
#[derive(Debug, Default)]
pub struct Encoded {
    /// Those that can be sent, ascending.
    pub items: Vec<Item>,
    /// Those that cannot, by row number.
    pub rejected: Vec<(u32, Reject)>,
}

/// What became of the items that were sent: those that are named nowhere here are delivered.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Will never be accepted, by their place among those that were sent.
    pub rejected: Vec<(usize, Reject)>,
    /// Not delivered for now: these, and only these, are to be sent again.
    pub again: Vec<usize>,
    /// Why, if there are any.
    pub reason: Option<Hindrance>,
}

/// Why items have to be sent again.
#[derive(Debug)]
pub struct Hindrance {
    /// The reason.
    pub source: Box<dyn Error + Send + Sync>,
    /// How long the destination wants to be left alone.
    pub after: Option<Duration>,
}

impl Item {
    /// The queue of its message.
    pub fn queue(&self) -> &QueueRef {
        self.messages.queue()
    }

    /// Where its message stands in the queue.
    pub fn offset(&self) -> QueueOffset {
        self.messages.get(self.row as usize).queue_offset
    }
}

/// Which messages the items are of: for each queue ranges that have no other message in them, in
/// order. Whatever else changes, two lots of items have the same ranges only if they are of the
/// same messages.
pub fn offset_ranges<'a>(items: impl IntoIterator<Item = &'a Item>) -> Vec<OffsetRange> {
    let mut places: Vec<_> =
        items.into_iter().map(|item| (item.queue().clone(), item.offset())).collect();
    places.sort();
    let mut ranges: Vec<OffsetRange> = Vec::new();
    for (queue, offset) in places {
        match ranges.last_mut() {
            Some(range) if range.queue == queue && range.to == offset => range.to = offset + 1,
            _ => ranges.push(OffsetRange { queue, from: offset, to: offset + 1 }),
        }
    }
    ranges
}
