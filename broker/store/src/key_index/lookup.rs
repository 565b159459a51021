use std::io;
use std::sync::Arc;

use bytes::Bytes;
use millrace_types::record::Record;
use millrace_types::{PhysicalOffset, keys};

use super::{KeyHash, KeyLog};
use crate::dispatch::words;
use crate::error::ReadError;
use crate::queue_index::{Frozen, Run};
use crate::read::LogReader;

/// The keys as they were at one moment, for any thread. Looking something up may wait for the
/// disk.
#[derive(Clone, Debug)]
pub struct KeyLookup {
    pub(crate) live: KeyLog,
    pub(crate) frozen: Option<Arc<Frozen>>,
    /// Oldest first.
    pub(crate) runs: Vec<Arc<Run>>,
    pub(crate) reader: LogReader,
    pub(crate) from: PhysicalOffset,
    pub(crate) limit: PhysicalOffset,
    pub(crate) last_store_ms: i64,
}

/// What to look for.
#[derive(Clone, Copy, Debug)]
pub struct KeyQuery<'a> {
    /// Topic.
    pub topic: &'a str,
    /// The client-made id, or a word of the message's `KEYS`.
    pub key: &'a str,
    /// Whether only the client-made id counts.
    pub unique_only: bool,
    /// At most this many messages, the newest.
    pub count_max: usize,
    /// At most so many bytes of records, but for the first.
    pub bytes_max: usize,
    /// Stored no earlier, ms.
    pub from_ms: i64,
    /// Stored no later, ms.
    pub until_ms: i64,
}

/// What a look-up found.
#[derive(Clone, Debug, Default)]
pub struct KeysFound {
    /// Verified records in the order of the log.
    pub records: Vec<Bytes>,
    /// Whether older records were not looked at, because these are many or large.
    pub cut_short: bool,
    /// Records that have the hash and cannot be read.
    pub unreadable: Vec<PhysicalOffset>,
}

/// A look-up reads no more records than this, so that a key that every message has costs a bounded
/// time.
const READS_MAX: usize = 4096;

impl KeyLookup {
    /// The same, but records that lie before `from` do not count.
    pub fn starting_at(self, from: PhysicalOffset) -> Self {
        Self { from: from.max(self.from), ..self }
    }

    /// Up to where the log is searched.
    pub fn limit(&self) -> PhysicalOffset {
        self.limit
    }

    /// The store time of the newest record, ms.
    pub fn last_store_ms(&self) -> i64 {
        self.last_store_ms
    }

    /// Finds the newest messages that have a key. A record that cannot be read is left out and
    /// named; an error means that the index itself cannot be read.
    pub fn find(&self, query: &KeyQuery<'_>) -> io::Result<KeysFound> {
        let hash = KeyHash::of(query.topic, query.key.as_bytes());
        let mut search =
            Search { lookup: self, query, reads: 0, bytes: 0, found: KeysFound::default() };
        let in_log = |log: &KeyLog| -> Vec<PhysicalOffset> {
            log.iter().rev().filter(|entry| entry.hash == hash).map(|entry| entry.at).collect()
        };
        let mut done = search.take(in_log(&self.live));
        if let Some(frozen) = self.frozen.as_ref().filter(|_| !done) {
            done = search.take(in_log(&frozen.keys));
        }
        for run in self.runs.iter().rev() {
            if done || run.last_store_ms() < query.from_ms {
                break;
            }
            if run.first_store_ms() <= query.until_ms {
                done = search.take(run.with_key(hash, READS_MAX)?);
            }
        }
        let mut found = search.found;
        found.records.reverse();
        found.unreadable.reverse();
        Ok(found)
    }
}

struct Search<'a> {
    lookup: &'a KeyLookup,
    query: &'a KeyQuery<'a>,
    reads: usize,
    bytes: usize,
    found: KeysFound,
}

impl Search<'_> {
    /// Looks at candidates, newest first; says whether that is enough.
    fn take(&mut self, candidates: Vec<PhysicalOffset>) -> bool {
        let mut before = None;
        for at in candidates {
            // A word that a message repeats is indexed twice.
            if before.replace(at) == Some(at) || at >= self.lookup.limit {
                continue;
            }
            if at < self.lookup.from {
                return true;
            }
            if self.found.records.len() >= self.query.count_max {
                return true;
            }
            if self.reads == READS_MAX {
                self.found.cut_short = true;
                return true;
            }
            self.reads += 1;
            match self.lookup.reader.record_at(at, self.lookup.limit) {
                Ok(bytes) => {
                    let Ok(record) = Record::parse(&bytes) else {
                        continue;
                    };
                    if record.store_at_ms() < self.query.from_ms {
                        return true;
                    }
                    if self.matches(&record) {
                        self.bytes += bytes.len();
                        if self.bytes > self.query.bytes_max && !self.found.records.is_empty() {
                            self.found.cut_short = true;
                            return true;
                        }
                        self.found.records.push(bytes);
                    }
                }
                // Not visible yet, or no longer.
                Err(ReadError::BeyondLimit { .. } | ReadError::Removed { .. }) => {}
                Err(_) => self.found.unreadable.push(at),
            }
        }
        self.found.records.len() >= self.query.count_max
    }

    fn matches(&self, record: &Record<'_>) -> bool {
        let KeyQuery { topic, key, unique_only, until_ms, .. } = *self.query;
        let [unique_key, words_of] = record.properties().pick([keys::UNIQ_KEY, keys::KEYS]);
        let has_word = || words_of.is_some_and(|all| words(all).any(|word| word == key));
        record.topic() == topic
            && record.store_at_ms() <= until_ms
            && (unique_key == Some(key) || !unique_only && has_word())
    }
}
