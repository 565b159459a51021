//! Which records have a key. (In RocketMQ, the IndexFile.)
//!
//! The keys of the newest stretch of the log are in memory in order of arrival; those of older
//! stretches lie sorted in the same runs as the queue index. Only a hash of topic and key is
//! kept. A look-up therefore reads every candidate from the log and compares the key itself, so
//! neither a collision nor a damaged run can give a message that does not have the key.

mod lookup;

use std::sync::Arc;

use millrace_types::PhysicalOffset;

pub use lookup::{KeyLookup, KeyQuery, KeysFound};

/// A hash of topic and key. Part of the file format of runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct KeyHash(pub(crate) u64);

impl KeyHash {
    pub(crate) fn of(topic: &str, key: &[u8]) -> Self {
        TopicHash::of(topic).with(key)
    }
}

/// The part of a [`KeyHash`] that all keys of a topic share.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TopicHash(u64);

impl TopicHash {
    pub(crate) fn of(topic: &str) -> Self {
        // The lengths go in, so that no topic and key run into another pair.
        Self(mix(fold(0, topic.as_bytes()) ^ topic.len() as u64))
    }

    pub(crate) fn with(self, key: &[u8]) -> KeyHash {
        KeyHash(mix(fold(self.0, key) ^ key.len() as u64))
    }
}

/// Eight bytes at a time, little-endian: a key costs less than the checksum over it.
fn fold(mut hash: u64, bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks::<8>();
    for word in words {
        hash = mix(hash ^ u64::from_le_bytes(*word));
    }
    if rest.is_empty() {
        return hash;
    }
    mix(hash ^ rest.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte)))
}

fn mix(word: u64) -> u64 {
    let wide = u128::from(word ^ 0x9E37_79B9_7F4A_7C15) * 0xBF58_476D_1CE4_E5B9;
    (wide as u64) ^ ((wide >> 64) as u64)
}

/// One key of one record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct KeyEntry {
    pub(crate) hash: KeyHash,
    pub(crate) at: PhysicalOffset,
}

/// Bytes of a [`KeyEntry`] in a run: hash 8, physical offset 8.
pub(crate) const KEY_ENTRY_BYTES: u64 = 16;
/// A snapshot copies less than this many keys.
const CHUNK: usize = 4096;

/// The keys of one stretch of the log, in order of arrival. Cheap to snapshot while it grows, so
/// that a reader's thread can search it.
#[derive(Clone, Debug, Default)]
pub(crate) struct KeyLog {
    full: Vec<Arc<Vec<KeyEntry>>>,
    open: Vec<KeyEntry>,
}

impl KeyLog {
    pub(crate) fn push(&mut self, entry: KeyEntry) {
        self.open.push(entry);
        if self.open.len() == CHUNK {
            let full = std::mem::replace(&mut self.open, Vec::with_capacity(CHUNK));
            self.full.push(Arc::new(full));
        }
    }

    /// Every key, in order of arrival.
    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = KeyEntry> {
        self.full.iter().flat_map(|chunk| chunk.iter()).chain(&self.open).copied()
    }

    /// Bytes of memory, to within a chunk.
    pub(crate) fn bytes(&self) -> u64 {
        self.len() as u64 * KEY_ENTRY_BYTES
    }

    pub(crate) fn len(&self) -> usize {
        self.full.len() * CHUNK + self.open.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topic_and_key_do_not_run_together() {
        assert_ne!(KeyHash::of("ab", b"c"), KeyHash::of("a", b"bc"));
        assert_ne!(KeyHash::of("a", b"b\0"), KeyHash::of("a", b"b"));
        assert_ne!(KeyHash::of("a", b""), KeyHash::of("", b"a"));
    }

    #[test]
    fn the_hash_is_part_of_a_file_format_and_stays() {
        assert_eq!(KeyHash::of("orders", b"order-4711"), KeyHash(0x2F02_66EF_F8FA_1517));
    }

    #[test]
    fn a_log_of_keys_keeps_their_order_over_its_chunks() {
        let mut log = KeyLog::default();
        let count = CHUNK as u64 * 2 + 5;
        for at in 0..count {
            log.push(KeyEntry { hash: KeyHash(at % 3), at: PhysicalOffset(at) });
        }
        assert_eq!(log.len() as u64, count);
        assert!(log.iter().map(|entry| entry.at.0).eq(0..count));
    }
}
