//! What one record adds to the indexes: 0 to n queue entries, and the keys it can be found by.
//!
//! The writer asks before a record is written and recovery asks when it finds one again, so the
//! caches come out the same.

use millrace_types::record::sys_flag;
use millrace_types::{Properties, QueueOffset, TagsCode, keys};

use crate::key_index::KeyHash;

const TRANSACTION_ROLLBACK: u32 = 0xC;
/// Only these may be given further entries, so that no producer can reach into another topic.
const LITE_PREFIX: &str = "%LMQ%";

/// The properties of a record that the indexes care about, from one scan.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Dispatch<'a> {
    topic: &'a str,
    transaction: u32,
    tag: Option<&'a str>,
    keys: Option<&'a str>,
    unique_key: Option<&'a str>,
    multi_queues: Option<&'a str>,
    multi_offsets: Option<&'a str>,
}

impl<'a> Dispatch<'a> {
    pub(crate) fn of(topic: &'a str, flags: u32, properties: Properties<'a>) -> Self {
        let names = [
            keys::TAGS,
            keys::KEYS,
            keys::UNIQ_KEY,
            keys::MULTI_DISPATCH,
            keys::MULTI_QUEUE_OFFSET,
        ];
        let [tag, keys, unique_key, multi_queues, multi_offsets] = properties.pick(names);
        let transaction = flags & sys_flag::TRANSACTION_MASK;
        Self { topic, transaction, tag, keys, unique_key, multi_queues, multi_offsets }
    }

    /// Whether the record is a message of its queue. A half message and a rollback are not: they
    /// have queue offset 0 and no entry.
    pub(crate) fn is_queued(&self) -> bool {
        self.transaction != sys_flag::TRANSACTION_PREPARED
            && self.transaction != TRANSACTION_ROLLBACK
    }

    pub(crate) fn tags_code(&self) -> TagsCode {
        self.tag.map_or(TagsCode(0), TagsCode::of)
    }

    /// The keys it is found by: the client-made id and each word of `KEYS`. As in RocketMQ, a
    /// half message can be found and a rollback cannot.
    pub(crate) fn key_hashes(&self) -> impl Iterator<Item = KeyHash> + use<'a> {
        let words = self.keys.into_iter().flat_map(words).chain(self.unique_key);
        let (topic, found) = (self.topic, self.transaction != TRANSACTION_ROLLBACK);
        words.filter(move |word| found && !word.is_empty()).map(move |key| KeyHash::of(topic, key))
    }

    /// The lite queues that share the record, each with the offset it has there. (RocketMQ's
    /// multi-dispatch, `INNER_MULTI_DISPATCH`.) Queue 0 of a topic whose name starts with `%LMQ%`.
    pub(crate) fn further_queues(&self) -> impl Iterator<Item = (&'a str, QueueOffset)> + use<'a> {
        let names = self.multi_queues.unwrap_or_default().split(',');
        let offsets = self.multi_offsets.unwrap_or_default().split(',');
        let queued = self.is_queued();
        names
            .zip(offsets)
            .filter(move |(name, _)| queued && name.starts_with(LITE_PREFIX))
            .filter_map(|(name, offset)| Some((name, QueueOffset(offset.parse().ok()?))))
    }
}

/// The words of a `KEYS` property.
pub(crate) fn words(keys: &str) -> impl Iterator<Item = &str> {
    keys.split(' ').filter(|word| !word.is_empty())
}
