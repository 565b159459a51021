//! What one record adds to the indexes: 0 to n queue entries, and the keys it can be found by.
//!
//! The writer asks before a record is written and recovery asks when it finds one again, so the
//! caches come out the same.

use millrace_types::record::sys_flag;
use millrace_types::{Properties, QueueOffset, TagsCode, keys};

use crate::key_index::{KeyHash, TopicHash};

const TAGS: &[u8] = keys::TAGS.as_bytes();
const KEYS: &[u8] = keys::KEYS.as_bytes();
const UNIQ_KEY: &[u8] = keys::UNIQ_KEY.as_bytes();
const MULTI_DISPATCH: &[u8] = keys::MULTI_DISPATCH.as_bytes();
const MULTI_QUEUE_OFFSET: &[u8] = keys::MULTI_QUEUE_OFFSET.as_bytes();
const TRANSACTION_ROLLBACK: u32 = 0xC;
/// Only these may be given further entries, so that no producer can reach into another topic.
const LITE_PREFIX: &str = "%LMQ%";

/// The properties of a record that the indexes care about, from one scan.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Dispatch<'a> {
    topic: &'a str,
    transaction: u32,
    tag: Option<&'a [u8]>,
    keys: &'a [u8],
    unique_key: &'a [u8],
    multi_queues: &'a [u8],
    multi_offsets: &'a [u8],
}

impl<'a> Dispatch<'a> {
    #[inline]
    pub(crate) fn of(topic: &'a str, flags: u32, properties: Properties<'a>) -> Self {
        let mut found = Self {
            topic,
            transaction: flags & sys_flag::TRANSACTION_MASK,
            tag: None,
            keys: b"",
            unique_key: b"",
            multi_queues: b"",
            multi_offsets: b"",
        };
        // The last of equal names wins, as in the map that clients decode into.
        for (name, value) in properties.raw() {
            match name {
                TAGS => found.tag = Some(value),
                KEYS => found.keys = value,
                UNIQ_KEY => found.unique_key = value,
                MULTI_DISPATCH => found.multi_queues = value,
                MULTI_QUEUE_OFFSET => found.multi_offsets = value,
                _ => {}
            }
        }
        found
    }

    /// Whether the record is a message of its queue. A half message and a rollback are not: they
    /// have queue offset 0 and no entry.
    pub(crate) fn is_queued(&self) -> bool {
        self.transaction != sys_flag::TRANSACTION_PREPARED
            && self.transaction != TRANSACTION_ROLLBACK
    }

    pub(crate) fn tags_code(&self) -> TagsCode {
        let text = self.tag.and_then(|tag| str::from_utf8(tag).ok());
        text.map_or(TagsCode(0), TagsCode::of)
    }

    /// The keys it is found by: the client-made id and each word of `KEYS`. As in RocketMQ, a
    /// half message can be found and a rollback cannot.
    #[inline]
    pub(crate) fn each_key(&self, mut found: impl FnMut(KeyHash)) {
        if self.transaction == TRANSACTION_ROLLBACK {
            return;
        }
        let topic = TopicHash::of(self.topic);
        let words = self.keys.split(|&byte| byte == b' ').filter(|word| !word.is_empty());
        words.for_each(|word| found(topic.with(word)));
        if !self.unique_key.is_empty() {
            found(topic.with(self.unique_key));
        }
    }

    /// The lite queues that share the record, each with the offset it has there. (RocketMQ's
    /// multi-dispatch, `INNER_MULTI_DISPATCH`.) Queue 0 of a topic whose name starts with `%LMQ%`.
    pub(crate) fn further_queues(&self) -> impl Iterator<Item = (&'a str, QueueOffset)> + use<'a> {
        let parts = |value| str::from_utf8(value).unwrap_or_default().split(',');
        let (names, offsets) = (parts(self.multi_queues), parts(self.multi_offsets));
        let queued = self.is_queued();
        names
            .zip(offsets)
            .filter(move |(name, _)| queued && is_lite(name))
            .filter_map(|(name, offset)| Some((name, QueueOffset(offset.parse().ok()?))))
    }
}

/// Whether a queue shares records of others.
pub(crate) fn is_lite(topic: &str) -> bool {
    topic.starts_with(LITE_PREFIX)
}

/// The words of a `KEYS` property.
pub(crate) fn words(keys: &str) -> impl Iterator<Item = &str> {
    keys.split(' ').filter(|word| !word.is_empty())
}
