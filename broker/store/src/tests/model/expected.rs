use std::collections::BTreeMap;

use millrace_types::record::Record;
use millrace_types::{PhysicalOffset, keys};

use super::super::{Opened, QueueId, QueueOffset, TOPICS};
use crate::{Entry, KeyQuery, ReadError};

/// A message; what it carries follows from its id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Message {
    pub(super) id: u64,
    pub(super) topic: usize,
    pub(super) queue: u32,
    pub(super) len: usize,
    /// Whether it stands in the lite queue as well.
    pub(super) lite: bool,
}

pub(super) const LITE: &str = "%LMQ%a";

impl Message {
    pub(super) fn topic(&self) -> &'static str {
        TOPICS[self.topic]
    }

    pub(super) fn body(&self) -> Vec<u8> {
        self.id.to_be_bytes().into_iter().cycle().take(self.len).collect()
    }

    pub(super) fn key(&self) -> String {
        format!("k{}", self.id % 4)
    }

    fn properties(&self) -> [(&'static str, String); 2] {
        [(keys::KEYS, self.key()), (keys::TAGS, format!("t{}", self.id % 3))]
    }

    /// Whether this is what was stored of it.
    pub(super) fn is(&self, record: &Record<'_>) -> bool {
        let carries =
            |(name, value): &(&str, String)| record.properties().get(name) == Some(value.as_str());
        record.topic() == self.topic()
            && record.queue_id() == QueueId(self.queue)
            && record.body() == self.body()
            && self.properties().iter().all(carries)
    }
}

/// A message and where the store said it lies.
#[derive(Clone, Debug)]
pub(super) struct Stored {
    pub(super) message: Message,
    pub(super) at: PhysicalOffset,
    pub(super) size: u32,
}

/// What the store must hold: groups in the order of the log.
#[derive(Clone, Debug, Default)]
pub(super) struct Model {
    pub(super) groups: Vec<Group>,
    /// Where the log was asked to start.
    pub(super) removed_to: PhysicalOffset,
    /// Before where the messages of each queue are hidden, until the next start.
    pub(super) hidden: [PhysicalOffset; QUEUES.len()],
}

#[derive(Clone, Debug)]
pub(super) struct Group {
    pub(super) stored: Vec<Stored>,
    pub(super) end: PhysicalOffset,
}

/// Topic and queue.
pub(super) type Queue = (&'static str, u32);

pub(super) const QUEUES: [Queue; 5] =
    [(TOPICS[0], 0), (TOPICS[0], 1), (TOPICS[1], 0), (TOPICS[1], 1), (LITE, 0)];

impl Model {
    /// The messages of a queue whose groups end at or before `limit`; the place in the list is the
    /// queue offset.
    pub(super) fn queue(&self, queue: Queue, limit: PhysicalOffset) -> Vec<&Stored> {
        let whole = self.groups.iter().take_while(|group| group.end <= limit);
        let of_queue = |stored: &&Stored| {
            let message = &stored.message;
            (message.topic(), message.queue) == queue || queue.0 == LITE && message.lite
        };
        whole.flat_map(|group| &group.stored).filter(of_queue).collect()
    }

    /// Forgets the groups that a start did not find.
    pub(super) fn cut(&mut self, end: PhysicalOffset) {
        let whole = self.groups.partition_point(|group| group.end <= end);
        self.groups.truncate(whole);
    }

    /// Compares everything that a reader sees up to `limit`, read in pieces.
    pub(super) fn check(
        &self,
        opened: &Opened,
        limit: PhysicalOffset,
        piece: usize,
    ) -> Result<(), String> {
        for (queue, hidden) in QUEUES.into_iter().zip(self.hidden) {
            let min = opened.store.log_min().max(hidden);
            let expected = self.queue(queue, limit);
            let kept = expected.iter().position(|stored| stored.at >= min);
            let first = kept.unwrap_or(expected.len()) as u64;
            let seen = read(opened, queue, limit, piece)?;
            let wrong = |what: &str| Err(format!("{}/{} up to {limit}: {what}", queue.0, queue.1));
            if seen.keys().copied().ne(first..expected.len() as u64) {
                let have: Vec<u64> = seen.keys().copied().collect();
                return wrong(&format!("offsets {have:?}, not {first}..{}", expected.len()));
            }
            for (offset, bytes) in seen {
                let bytes = bytes.map_err(|error| format!("{queue:?} {offset}: {error}"))?;
                let record = Record::parse(&bytes).map_err(|error| error.to_string())?;
                if !expected[offset as usize].message.is(&record) {
                    return wrong(&format!("offset {offset} is another message"));
                }
            }
            self.check_places(opened, queue, limit, &expected[first as usize..])
                .or_else(|it| wrong(&it))?;
        }
        Ok(())
    }

    /// Compares what is known of a queue's messages by their places in the log.
    fn check_places(
        &self,
        opened: &Opened,
        queue: Queue,
        limit: PhysicalOffset,
        kept: &[&Stored],
    ) -> Result<(), String> {
        let (store, end) = (&opened.store, self.queue(queue, limit).len() as u64);
        let Some(no) = store.find_queue(queue.0, QueueId(queue.1)) else { return Ok(()) };
        if store.end_within(no, limit) != QueueOffset(end) {
            return Err(format!("it ends at {}, not at {end}", store.end_within(no, limit)));
        }
        let first = end - kept.len() as u64;
        for (offset, stored) in (first..).zip(kept) {
            let bytes = store.reader().record_at(stored.at, limit);
            let bytes = bytes.map_err(|error| format!("offset {offset}: {error}"))?;
            let record = Record::parse(&bytes).map_err(|error| error.to_string())?;
            if !stored.message.is(&record) {
                return Err(format!("at {} is another message than {offset}", stored.at));
            }
            let found = (store.first_at(no, QueueOffset(offset)), store.first_from(no, stored.at));
            if found != (Some(stored.at), QueueOffset(offset)) {
                return Err(format!("{offset} lies at {}, and is found at {found:?}", stored.at));
            }
        }
        Ok(())
    }

    /// Compares what a look-up by key finds.
    pub(super) fn check_key(
        &self,
        opened: &Opened,
        key: u64,
        limit: PhysicalOffset,
    ) -> Result<(), String> {
        let (topic, key) = (TOPICS[0], format!("k{key}"));
        let query = KeyQuery {
            topic,
            key: &key,
            unique_only: false,
            count_max: usize::MAX,
            bytes_max: usize::MAX,
            from_ms: 0,
            until_ms: i64::MAX,
        };
        let found = opened.store.key_lookup(limit).find(&query).map_err(|e| e.to_string())?;
        let min = opened.store.log_min();
        let whole = self.groups.iter().take_while(|group| group.end <= limit);
        let expected: Vec<&Stored> = whole
            .flat_map(|group| &group.stored)
            .filter(|stored| stored.message.topic() == topic && stored.message.key() == key)
            .filter(|stored| stored.at >= min)
            .collect();
        let same = expected.len() == found.records.len()
            && expected.iter().zip(&found.records).all(|(stored, bytes)| {
                Record::parse(bytes).is_ok_and(|record| stored.message.is(&record))
            });
        if same && found.unreadable.is_empty() {
            return Ok(());
        }
        let (have, want) = (found.records.len(), expected.len());
        Err(format!("{have} messages with key {key} up to {limit}, not {want}; {found:?}"))
    }
}

/// A record's bytes, or why there are none.
pub(super) type Read = Result<Vec<u8>, ReadError>;

/// Reads a queue up to `limit`. Where the store says that a message is lost, its offset is left
/// out; an error stands for each message of the piece.
pub(super) fn read(
    opened: &Opened,
    queue: Queue,
    limit: PhysicalOffset,
    piece: usize,
) -> Result<BTreeMap<u64, Read>, String> {
    let mut seen = BTreeMap::new();
    let Some(no) = opened.store.find_queue(queue.0, QueueId(queue.1)) else {
        return Ok(seen);
    };
    let mut from = opened.store.bounds(no).min;
    loop {
        let plan = opened.store.plan(no, from, piece, 2_000, limit);
        if plan.entries.is_empty() {
            return Ok(seen);
        }
        let reader = opened.store.reader();
        let pieces: Vec<(QueueOffset, &[Entry])> = match reader.read(&plan.entries) {
            Ok(_) => vec![(from, &plan.entries)],
            // Whoever cannot read them together reads them one by one.
            Err(_) => (0..).map(|n| from + n).zip(plan.entries.chunks(1)).collect(),
        };
        for (start, entries) in pieces {
            let kept = (0..).zip(entries).filter(|(_, entry)| entry.size > 0);
            match reader.read(entries) {
                Ok(runs) => {
                    let records = runs.iter().flat_map(|run| millrace_types::record::iter(run));
                    for ((n, _), record) in kept.zip(records) {
                        let record = record.map_err(|error| error.to_string())?;
                        if queue.0 != LITE && record.queue_offset() != start + n {
                            let at = record.queue_offset();
                            return Err(format!("{queue:?}: offset {at} stands at {}", start + n));
                        }
                        seen.insert(start.0 + n, Ok(record.as_bytes().to_vec()));
                    }
                }
                Err(error) => {
                    seen.insert(start.0, Err(error));
                }
            }
        }
        from = plan.next();
    }
}
