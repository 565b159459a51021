use std::borrow::Cow;
use std::net::SocketAddr;

use bytes::Bytes;
use millrace_protocol::{MessageQueue, OffsetMessageId};
use millrace_types::record::{self, Record};
use millrace_types::{PhysicalOffset, Properties, QueueId, QueueOffset, keys};

use crate::compression::{self, decompress};

/// A message as a consumer gets it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received {
    /// The queue it came from. Of a retried message this is a queue of the group's retry topic.
    pub queue: MessageQueue,
    /// Its topic. Of a retried message this is the one that it was first sent to.
    pub topic: String,
    /// Where it stands in its queue.
    pub offset: QueueOffset,
    /// Where its record starts in the broker's CommitLog.
    pub physical_offset: PhysicalOffset,
    /// The payload, decompressed; as it was stored if that cannot be done.
    pub body: Bytes,
    /// Why the body is still compressed, if it is.
    pub still_compressed: Option<&'static str>,
    /// The bits of the system flag that tell how `body` is still compressed; none if it is not.
    pub(crate) compression: u32,
    /// The producer's own flag.
    pub flag: i32,
    /// When it was made, ms, by the producer's clock.
    pub born_at_ms: i64,
    /// Who sent it.
    pub born_host: SocketAddr,
    /// When it was stored, ms, by the broker's clock.
    pub stored_at_ms: i64,
    /// Where it is stored.
    pub store_host: SocketAddr,
    /// How often its consumption failed.
    pub reconsume_times: i32,
    /// Encoded as in a record.
    pub(crate) properties: Bytes,
}

impl Received {
    /// The message that a record holds. `from` is the whole of what the record lies in.
    fn read(record: &Record<'_>, from: &Bytes, broker_name: &str) -> Self {
        let properties = from.slice_ref(record.properties().as_bytes());
        let stored = from.slice_ref(record.body());
        let (body, still_compressed, compression) =
            match decompress(record.body(), record.sys_flag()) {
                Ok(Cow::Borrowed(_)) => (stored, None, 0),
                Ok(Cow::Owned(body)) => (Bytes::from(body), None, 0),
                Err(reason) => (stored, Some(reason), record.sys_flag() & compression::FLAGS),
            };
        let origin = Properties::new(&properties).get(keys::RETRY_TOPIC);
        let is_retried = record.topic().starts_with("%RETRY%");
        let topic = origin.filter(|_| is_retried).unwrap_or(record.topic());
        Self {
            queue: MessageQueue {
                topic: record.topic().to_owned(),
                broker_name: broker_name.to_owned(),
                queue_id: record.queue_id(),
            },
            topic: topic.to_owned(),
            offset: record.queue_offset(),
            physical_offset: record.physical_offset(),
            body,
            still_compressed,
            compression,
            flag: record.flag(),
            born_at_ms: record.born_at_ms(),
            born_host: record.born_host(),
            stored_at_ms: record.store_at_ms(),
            store_host: record.store_host(),
            reconsume_times: record.reconsume_times(),
            properties,
        }
    }

    /// The messages in a run of records, as a broker of this name gave it. Ends at the first bytes
    /// that are no record, and tells what is wrong with them.
    pub(crate) fn read_all(
        records: &Bytes,
        broker_name: &str,
    ) -> (Vec<Self>, Option<record::Malformed>) {
        let mut messages = Vec::new();
        for record in record::iter(records) {
            match record {
                Ok(record) => messages.push(Self::read(&record, records, broker_name)),
                Err(malformed) => return (messages, Some(malformed)),
            }
        }
        (messages, None)
    }

    /// The id that users see: the one that the producer made, or else where it is stored.
    pub fn id(&self) -> String {
        self.property(keys::UNIQ_KEY).map_or_else(|| self.offset_id().to_string(), str::to_owned)
    }

    /// Where it is stored, as clients carry it around.
    pub fn offset_id(&self) -> OffsetMessageId {
        let Self { store_host, physical_offset, .. } = *self;
        OffsetMessageId { store_host, physical_offset }
    }

    /// The tag.
    pub fn tag(&self) -> Option<&str> {
        self.property(keys::TAGS)
    }

    /// The keys, blanks in between.
    pub fn keys(&self) -> Option<&str> {
        self.property(keys::KEYS)
    }

    /// A property.
    pub fn property(&self, name: &str) -> Option<&str> {
        Properties::new(&self.properties).get(name)
    }

    /// All properties, in order.
    pub fn properties(&self) -> impl Iterator<Item = (&str, &str)> {
        Properties::new(&self.properties).iter()
    }

    /// The number of the queue it came from.
    pub fn queue_id(&self) -> QueueId {
        self.queue.queue_id
    }

    /// Bytes that it takes, as far as they matter.
    pub(crate) fn size(&self) -> usize {
        self.body.len() + self.properties.len()
    }
}

#[cfg(test)]
mod tests {
    use millrace_types::record::{Draft, Stamp, encode};

    use super::*;
    use crate::compression::{ZLIB_FLAG, compress};

    fn stored(topic: &str, sys_flag: u32, body: &[u8], properties: &[u8], out: &mut Vec<u8>) {
        let draft = Draft {
            topic,
            queue_id: QueueId(2),
            flag: 7,
            sys_flag,
            born_at_ms: 17,
            born_host: ([10, 0, 0, 9], 5000).into(),
            reconsume_times: 1,
            prepared_offset: PhysicalOffset(0),
            body,
            properties,
        };
        let stamp = Stamp {
            queue_offset: QueueOffset(5),
            physical_offset: PhysicalOffset(1000),
            store_at_ms: 18,
            store_host: ([10, 0, 0, 1], 10911).into(),
            more: false,
        };
        encode(&draft, &stamp, out);
    }

    #[test]
    fn a_record_is_read_as_the_producer_meant_it() {
        let mut out = Vec::new();
        let long = [b'x'; 5000];
        stored("orders", ZLIB_FLAG, &compress(&long), b"UNIQ_KEY\x01ID\x02TAGS\x01a\x02", &mut out);
        stored("%RETRY%g", 0, b"again", b"RETRY_TOPIC\x01orders\x02", &mut out);
        let whole = out.len();
        out.extend_from_slice(b"????");
        let (messages, malformed) = Received::read_all(&Bytes::from(out.clone()), "b");
        assert!(malformed.is_some());
        let [first, second] = &*messages else { panic!("{messages:?}") };
        assert_eq!((&first.body[..], first.still_compressed), (&long[..], None));
        assert_eq!((&*first.id(), first.tag(), first.flag), ("ID", Some("a"), 7));
        assert_eq!((&*second.topic, &*second.queue.topic), ("orders", "%RETRY%g"));
        assert_eq!(second.id(), "0A00000100002A9F00000000000003E8");
        out.truncate(whole);
        assert!(Received::read_all(&Bytes::from(out), "b").1.is_none());
    }
}
