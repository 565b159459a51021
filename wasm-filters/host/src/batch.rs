//! Records as a module sees them: little-endian, at addresses that are multiples of eight, offsets
//! from the start of the batch.
//!
//! | batch, bytes | field                                                                    |
//! |--------------|--------------------------------------------------------------------------|
//! | 0..4         | `RMB1`                                                                   |
//! | 4..8         | version 1 and flags 0, `u16` each                                        |
//! | 8..12        | number of records                                                        |
//! | 12..16       | offset of the first description                                          |
//! | 16..20       | bytes from one description to the next: 48, later versions may have more |
//! | 20..24       | offset of the bytes that the descriptions point into                     |
//! | 24..28       | length of the whole batch                                                |
//! | 28..36       | offset and length of the topic                                           |
//! | 36..40       | queue, `i32`                                                             |
//! | 48..56       | seed for whatever the module takes for chance                            |
//!
//! | description, bytes | field                                                              |
//! |--------------------|--------------------------------------------------------------------|
//! | 0..8               | queue offset, `i64`                                                |
//! | 8..16              | store time, milliseconds since the Unix epoch, `i64`               |
//! | 16..24             | offset and length of the key; the length `u32::MAX`: it has none   |
//! | 24..32             | offset and length of the body                                      |
//! | 32..40             | offset and length of the properties, as RocketMQ stores them       |
//! | 40..44             | RocketMQ's flags of the record                                     |
//! | 44..48             | hash of the tag                                                    |

/// Records of one queue.
#[derive(Clone, Copy, Debug)]
pub struct Batch<'a> {
    /// Their topic.
    pub topic: &'a str,
    /// Their queue.
    pub queue: i32,
    /// The records.
    pub records: &'a [Record<'a>],
}

/// One record.
#[derive(Clone, Copy, Debug, Default)]
pub struct Record<'a> {
    /// Where it stands in its queue.
    pub queue_offset: i64,
    /// When it was stored, milliseconds since the Unix epoch.
    pub store_at_ms: i64,
    /// Its key.
    pub key: Option<&'a [u8]>,
    /// Its body.
    pub body: &'a [u8],
    /// Its properties, as RocketMQ stores them: a name, byte 1, the value, byte 2, and so on.
    pub properties: &'a [u8],
    /// RocketMQ's flags.
    pub sys_flags: u32,
    /// RocketMQ's hash of the tag; 0 without one.
    pub tag_hash: u32,
}

const HEADER_BYTES: usize = 64;
const DESCRIPTION_BYTES: usize = 48;
const NO_KEY: u32 = u32::MAX;

impl Record<'_> {
    /// What it takes in a batch.
    pub(crate) fn encoded_len(&self) -> usize {
        DESCRIPTION_BYTES
            + self.key.map_or(0, <[u8]>::len)
            + self.body.len()
            + self.properties.len()
    }
}

impl Batch<'_> {
    /// The batch as a module gets it; for whoever runs the same code without a host.
    pub fn to_bytes(&self) -> Vec<u8> {
        let rows: Vec<u32> = (0..self.records.len() as u32).collect();
        let mut bytes = vec![0; self.encoded_len(&rows)];
        self.encode(&rows, 0, &mut bytes);
        bytes
    }

    /// What some of its records take, by their numbers.
    pub(crate) fn encoded_len(&self, rows: &[u32]) -> usize {
        let records = rows.iter().map(|row| self.records[*row as usize].encoded_len());
        HEADER_BYTES + self.topic.len() + records.sum::<usize>()
    }

    /// Writes some of its records to `out`, which has exactly [`Batch::encoded_len`] bytes; these
    /// are less than 4 GiB.
    pub(crate) fn encode(&self, rows: &[u32], seed: u64, out: &mut [u8]) {
        let total_len = out.len() as u32;
        let blob_at = HEADER_BYTES + rows.len() * DESCRIPTION_BYTES;
        let (head, mut blob) = out.split_at_mut(blob_at);
        let (header, descriptions) = head.split_at_mut(HEADER_BYTES);
        let mut at = blob_at as u32;
        let mut put = |bytes: &[u8]| {
            let (place, rest) = std::mem::take(&mut blob).split_at_mut(bytes.len());
            place.copy_from_slice(bytes);
            blob = rest;
            let begin = at;
            at += bytes.len() as u32;
            (begin, bytes.len() as u32)
        };
        let topic = put(self.topic.as_bytes());
        header.fill(0);
        header[..4].copy_from_slice(b"RMB1");
        header[4..6].copy_from_slice(&1u16.to_le_bytes());
        let words = [
            rows.len() as u32,
            HEADER_BYTES as u32,
            DESCRIPTION_BYTES as u32,
            blob_at as u32,
            total_len,
            topic.0,
            topic.1,
            self.queue as u32,
        ];
        for (place, word) in header[8..40].chunks_exact_mut(4).zip(words) {
            place.copy_from_slice(&word.to_le_bytes());
        }
        header[48..56].copy_from_slice(&seed.to_le_bytes());
        for (description, row) in descriptions.chunks_exact_mut(DESCRIPTION_BYTES).zip(rows) {
            let record = &self.records[*row as usize];
            let (key_at, key_len) = record.key.map_or((0, NO_KEY), &mut put);
            let (body_at, body_len) = put(record.body);
            let (properties_at, properties_len) = put(record.properties);
            description[..8].copy_from_slice(&record.queue_offset.to_le_bytes());
            description[8..16].copy_from_slice(&record.store_at_ms.to_le_bytes());
            let words = [
                key_at,
                key_len,
                body_at,
                body_len,
                properties_at,
                properties_len,
                record.sys_flags,
                record.tag_hash,
            ];
            for (place, word) in description[16..].chunks_exact_mut(4).zip(words) {
                place.copy_from_slice(&word.to_le_bytes());
            }
        }
    }
}
