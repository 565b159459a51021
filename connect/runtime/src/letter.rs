//! Dead letters: what they look like, and when there are too many.
//!
//! A letter is a message of the topic `%DLQ%<pipeline>_<sink>`, or `%DLQ%<pipeline>_source` for what
//! the source could not make a message of. It has the body and the properties of the message, byte
//! for byte, and these properties more:
//!
//! | property       | meaning                                                                     |
//! |----------------|-----------------------------------------------------------------------------|
//! | `dlq_code`     | what kind of mistake; `millrace explain` tells more                         |
//! | `dlq_sink`     | the sink, or `source`                                                       |
//! | `dlq_queue`    | the queue of the message, if it was one                                     |
//! | `dlq_offset`   | its queue offset                                                            |
//! | `dlq_index`    | which of the rows that steps made of it, from 0 on, if it is only that one  |
//! | `dlq_id`       | its id, by where the broker stored it                                       |
//! | `dlq_flags`    | its system flags in decimal, if it has any                                  |
//! | `file.path`    | the path of the file it comes from, if the pipeline itself has read it      |
//! | `dlq_step`     | where it failed: `read`, `decode`, a step, or the name of the sink          |
//! | `dlq_attempts` | how often it was tried                                                      |
//! | `dlq_first_at` | when it was stored, or read                                                 |
//! | `dlq_config`   | fingerprint of the pipeline, hexadecimal                                    |
//! | `dlq_field`    | the offending field, if it is known                                         |
//! | `dlq_error`    | the reason, at most 1 KiB                                                   |
//!
//! What a source read has `file.id`, `file.offset` (bytes before the record) and `file.line` (lines
//! before it) from there on, and a line of CSV the header of its file (`file.header`). The path is the last one under which the file was seen. Properties
//! are left out, from the last on, where the message has no room for more. A letter was born when
//! its message was.

use std::net::{Ipv4Addr, SocketAddr};

use bytes::Bytes;
use millrace_client::{Outgoing, decompress};
use millrace_connect_api::decode::parse_timestamp;
use millrace_connect_api::{Message, Messages, Reject, RowAt};
use millrace_sql_filter::time::format_timestamp;
use millrace_types::record::{Draft, PROPERTIES_BYTES_MAX, Stamp, encode};
use millrace_types::{
    GroupName, OffsetMessageId, PhysicalOffset, Properties, PropertiesBuf, QueueId, QueueOffset,
    TopicName,
};

use crate::error::RunError;
use crate::ingest::FILE_PATH;

/// The name that stands for the source where a sink's is asked for.
pub const SOURCE: &str = "source";

/// The longest `dlq_error`, bytes.
const ERROR_BYTES_MAX: usize = 1024;

/// Property with the kind of mistake, and the first of those that a letter has beside its message's.
pub(crate) const CODE: &str = "dlq_code";
const IN_QUEUE: &str = "dlq_queue";
const AT_OFFSET: &str = "dlq_offset";
const INDEX: &str = "dlq_index";
const ID: &str = "dlq_id";
const FLAGS: &str = "dlq_flags";
const FIRST_AT: &str = "dlq_first_at";
/// Property with the step that a record failed at.
pub(crate) const STEP: &str = "dlq_step";

/// The queue of a letter topic that this runtime writes to.
pub(crate) const QUEUE: QueueId = QueueId(0);

/// The topic for the letters of one sink, or of the source.
pub(crate) fn topic(pipeline: &str, sink: &str) -> Result<TopicName, RunError> {
    let name = format!("%DLQ%{pipeline}_{sink}");
    TopicName::parse(&name).map_err(|source| RunError::Name { name, source })
}

/// The group under which a sink's offsets are shown.
pub(crate) fn group(pipeline: &str, sink: &str) -> Result<GroupName, RunError> {
    let name = format!("{pipeline}_{sink}");
    GroupName::parse(&name).map_err(|source| RunError::Name { name, source })
}

/// What all letters of one sink have in common.
#[derive(Clone, Debug)]
pub(crate) struct Envelope {
    pub(crate) topic: TopicName,
    pub(crate) sink: String,
    /// Fingerprint of the pipeline.
    pub(crate) config: u64,
}

impl Envelope {
    /// A message that could not go on, or one of the pieces that steps made of it, as a letter:
    /// body and properties of the message byte for byte, and why.
    pub(crate) fn of_message(
        &self,
        messages: &Messages,
        row: usize,
        index: Option<u32>,
        path: Option<&str>,
        step: &str,
        reject: &Reject,
    ) -> Outgoing {
        let message = messages.get(row);
        let record = messages.record(row);
        // Steps may have changed it, and a replay takes it through them again.
        let (body, properties) = record.map_or((message.body, message.properties), |record| {
            (record.body(), record.properties())
        });
        let mut at = vec![
            (IN_QUEUE, messages.queue().queue.to_string()),
            (AT_OFFSET, message.queue_offset.to_string()),
        ];
        at.extend(index.map(|index| (INDEX, index.to_string())));
        if let Some(record) = record {
            let (store_host, physical_offset) = (record.store_host(), record.physical_offset());
            at.push((ID, OffsetMessageId { store_host, physical_offset }.to_string()));
            if record.sys_flag() != 0 {
                at.push((FLAGS, record.sys_flag().to_string()));
            }
        }
        // The first message of a file says it already.
        if properties.get(FILE_PATH).is_none() {
            at.extend(path.map(|path| (FILE_PATH, path.to_owned())));
        }
        let properties = properties.as_bytes().to_vec();
        let body = Bytes::copy_from_slice(body);
        let born_at_ms = record.map_or(message.store_at_ms, |record| record.born_at_ms());
        self.seal(body, properties, &at, message.store_at_ms, step, reject, born_at_ms)
    }

    /// A record of the source that never became a message.
    pub(crate) fn of_record(
        &self,
        body: Bytes,
        properties: Vec<u8>,
        step: &str,
        reject: &Reject,
        born_at_ms: i64,
    ) -> Outgoing {
        self.seal(body, properties, &[], born_at_ms, step, reject, born_at_ms)
    }

    #[expect(clippy::too_many_arguments, reason = "all of them end up side by side in one letter")]
    fn seal(
        &self,
        body: Bytes,
        mut properties: Vec<u8>,
        at: &[(&str, String)],
        first_at_ms: i64,
        step: &str,
        reject: &Reject,
        born_at_ms: i64,
    ) -> Outgoing {
        if properties.last().is_some_and(|&last| last != 2) {
            properties.push(2);
        }
        let mut add = |name: &str, value: &str| {
            let mut property = PropertiesBuf::new();
            property.push(name, value);
            // Properties that leave no room for ours still go through, with less of an explanation.
            if properties.len() + property.as_bytes().len() <= PROPERTIES_BYTES_MAX {
                properties.extend_from_slice(property.as_bytes());
            }
        };
        // What matters most comes first.
        add(CODE, reject.code);
        add("dlq_sink", &self.sink);
        for (name, value) in at {
            add(name, value);
        }
        add(STEP, step);
        add("dlq_attempts", "1");
        add(FIRST_AT, &format_timestamp(first_at_ms.saturating_mul(1000)));
        add("dlq_config", &format!("{:016x}", self.config));
        if let Some(field) = &reject.field {
            add("dlq_field", cut(field, ERROR_BYTES_MAX));
        }
        add("dlq_error", cut(&reject.error, ERROR_BYTES_MAX));
        Outgoing {
            topic: self.topic.clone(),
            queue: QUEUE,
            body,
            properties: Bytes::from(properties),
            born_at_ms,
        }
    }
}

/// The message that a letter was made of.
#[derive(Clone, Debug)]
pub(crate) struct Original {
    pub(crate) queue: QueueId,
    pub(crate) offset: QueueOffset,
    /// Which of its pieces the letter is about, if it is not the whole message.
    pub(crate) index: Option<u32>,
    /// Where it was stored. Letters of earlier versions do not say it, nor when it was born.
    pub(crate) id: Option<OffsetMessageId>,
    store_at_ms: i64,
    born_at_ms: i64,
    sys_flag: u32,
    body: Bytes,
    properties: Bytes,
}

/// The queue of the message that a letter was made of, and which row of it; `None` if it does not
/// say.
pub(crate) fn origin(letter: Properties<'_>) -> Option<(QueueId, RowAt)> {
    let number = |name| letter.get(name).and_then(|text| text.parse::<u64>().ok());
    let queue = QueueId(u32::try_from(number(IN_QUEUE)?).ok()?);
    let index = match letter.get(INDEX) {
        Some(index) => Some(index.parse().ok()?),
        None => None,
    };
    Some((queue, RowAt { offset: QueueOffset(number(AT_OFFSET)?), index }))
}

impl Original {
    /// Reads it from a letter; `None` if that does not say which message it was.
    pub(crate) fn of(letter: &Message<'_>, born_at_ms: i64) -> Option<Self> {
        let all = letter.properties;
        let number = |name| all.get(name).and_then(|text| text.parse::<u64>().ok());
        let properties = all.as_bytes();
        let (queue, RowAt { offset, index }) = origin(all)?;
        Some(Self {
            queue,
            offset,
            index,
            id: all.get(ID).and_then(OffsetMessageId::parse),
            store_at_ms: parse_timestamp(all.get(FIRST_AT)?).ok()?.div_euclid(1000),
            born_at_ms,
            sys_flag: number(FLAGS).and_then(|flags| u32::try_from(flags).ok()).unwrap_or(0),
            body: Bytes::copy_from_slice(letter.body),
            properties: Bytes::copy_from_slice(&properties[..ours_at(properties)?]),
        })
    }

    /// Bytes of what varies in length.
    pub(crate) fn bytes(&self) -> usize {
        self.body.len() + self.properties.len()
    }

    /// The same once its body is decompressed.
    pub(crate) fn bytes_decompressed(&self) -> usize {
        let body = decompress(&self.body, self.sys_flag).map_or(self.body.len(), |body| body.len());
        body + self.properties.len()
    }

    /// Appends it as the broker has it in its log.
    pub(crate) fn encode(&self, topic: &TopicName, out: &mut Vec<u8>) {
        let nowhere = OffsetMessageId {
            store_host: SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
            physical_offset: PhysicalOffset(0),
        };
        let OffsetMessageId { store_host, physical_offset } = self.id.unwrap_or(nowhere);
        let draft = Draft {
            topic: topic.as_str(),
            queue_id: self.queue,
            flag: 0,
            sys_flag: self.sys_flag,
            born_at_ms: self.born_at_ms,
            born_host: store_host,
            reconsume_times: 0,
            prepared_offset: PhysicalOffset(0),
            body: &self.body,
            properties: &self.properties,
        };
        let stamp = Stamp {
            queue_offset: self.offset,
            physical_offset,
            store_at_ms: self.store_at_ms,
            store_host,
            more: false,
        };
        encode(&draft, &stamp, out);
    }
}

/// Where the properties begin that a letter has beside its message's. What they say has no
/// separators in it, so the last place that looks like it is it.
fn ours_at(properties: &[u8]) -> Option<usize> {
    let begin = [CODE.as_bytes(), &[1]].concat();
    let mut at = properties.len().checked_sub(begin.len())?;
    loop {
        if properties[at..].starts_with(&begin) && (at == 0 || properties[at - 1] == 2) {
            return Some(at);
        }
        at = at.checked_sub(1)?;
    }
}

fn cut(text: &str, bytes_max: usize) -> &str {
    &text[..text.floor_char_boundary(bytes_max.min(text.len()))]
}

/// Stops a sink whose records are refused so often that the pipeline itself is probably wrong:
/// more than some share of the last thousand, once there were a hundred.
#[derive(Debug)]
pub(crate) struct Breaker {
    /// The share, in a million.
    ppm_max: u64,
    /// Verdicts of the last records, oldest first where `next` points.
    window: Vec<bool>,
    next: usize,
    rejected: u64,
}

impl Breaker {
    const OVER: usize = 1000;
    const AFTER: usize = 100;
    /// A tenth.
    pub(crate) const USUAL_PPM: u32 = 100_000;

    pub(crate) fn new(ppm_max: u32) -> Self {
        let ppm_max = u64::from(ppm_max);
        Self { ppm_max, window: Vec::with_capacity(Self::OVER), next: 0, rejected: 0 }
    }

    /// Counts one record; `false` once there are too many.
    pub(crate) fn count(&mut self, rejected: bool) -> bool {
        if self.window.len() < Self::OVER {
            self.window.push(rejected);
        } else {
            self.rejected -= u64::from(self.window[self.next]);
            self.window[self.next] = rejected;
            self.next = (self.next + 1) % Self::OVER;
        }
        self.rejected += u64::from(rejected);
        self.window.len() < Self::AFTER || self.rejected * 1_000_000 <= self.ppm_max * self.of()
    }

    /// Counts records that went on.
    pub(crate) fn count_good(&mut self, mut records: usize) {
        if records >= Self::OVER {
            self.window.clear();
            self.window.resize(Self::OVER, false);
            (self.next, self.rejected, records) = (0, 0, 0);
        }
        for _ in 0..records {
            self.count(false);
        }
    }

    /// Why the sink stops.
    pub(crate) fn error(&self, sink: &str, latest: &Reject) -> RunError {
        RunError::TooManyRejects {
            sink: sink.to_owned(),
            rejected: self.rejected,
            of: self.of(),
            code: latest.code,
            error: latest.error.clone(),
        }
    }

    fn of(&self) -> u64 {
        self.window.len() as u64
    }
}

#[cfg(test)]
mod tests {
    use millrace_connect_api::{Change, QueueRef};
    use millrace_types::Properties;

    use super::*;

    /// Whether the breaker holds after these: how many, and whether they were refused.
    #[track_caller]
    fn check(counted: &[(usize, bool)], holds: bool) {
        check_share(Breaker::USUAL_PPM, counted, holds);
    }

    #[track_caller]
    fn check_share(ppm_max: u32, counted: &[(usize, bool)], holds: bool) {
        let mut breaker = Breaker::new(ppm_max);
        let mut held = true;
        for &(records, rejected) in counted {
            if rejected {
                for _ in 0..records {
                    held &= breaker.count(true);
                }
            } else {
                breaker.count_good(records);
            }
        }
        assert_eq!(held, holds, "{counted:?}");
    }

    #[test]
    fn more_than_a_tenth_is_too_much() {
        check(&[(99, true)], true);
        check(&[(100, true)], false);
        check(&[(90, false), (10, true)], true);
        check(&[(100, false), (11, true)], true);
        check(&[(100, false), (12, true)], false);
        check(&[(89, false), (11, true)], false);
        check(&[(5000, false), (100, true)], true);
        check(&[(5000, false), (101, true)], false);
        // What lies more than a thousand records back counts no more.
        check(&[(1000, false), (90, true), (950, false), (50, true)], true);
        check(&[(1000, false), (90, true), (890, false), (11, true)], false);
    }

    #[test]
    fn how_much_is_too_much_can_be_said() {
        check_share(1_000_000, &[(5000, true)], true);
        check_share(0, &[(99, true)], true);
        check_share(0, &[(99, false), (1, true)], false);
        check_share(25_000, &[(1000, false), (25, true)], true);
        check_share(25_000, &[(1000, false), (26, true)], false);
        check_share(500_000, &[(500, true), (500, false)], false);
        check_share(500_000, &[(500, false), (500, true)], true);
    }

    /// A message of the topic `orders` as the log has it.
    fn stored(properties: &'static [u8]) -> Original {
        Original {
            queue: QueueId(3),
            offset: QueueOffset(7),
            index: None,
            id: OffsetMessageId::parse("0A00000100002A9F00000000000003E8"),
            store_at_ms: 1_767_225_600_000,
            born_at_ms: 5,
            sys_flag: 1,
            body: Bytes::from_static(b"\x00\xff{"),
            properties: Bytes::from_static(properties),
        }
    }

    fn messages(stored: &Original) -> Messages {
        let topic = TopicName::parse("orders").unwrap();
        let mut run = Vec::new();
        stored.encode(&topic, &mut run);
        let queue = QueueRef { broker: "b".into(), topic, queue: stored.queue };
        Messages::parse(queue, stored.offset, stored.offset + 1, vec![run.into()]).unwrap()
    }

    fn letter(properties: &'static [u8]) -> Outgoing {
        letter_of(properties, None)
    }

    fn letter_of(properties: &'static [u8], index: Option<u32>) -> Outgoing {
        let envelope =
            Envelope { topic: topic("p", "lake").unwrap(), sink: "lake".to_owned(), config: 0xabc };
        let reject =
            Reject { code: "E-DECODE-01", error: "é".repeat(600), field: Some("x".to_owned()) };
        let messages = messages(&stored(properties));
        envelope.of_message(&messages, 0, index, Some("/logs/a"), "decode", &reject)
    }

    #[test]
    fn a_letter_keeps_every_byte_and_says_why() {
        let first = letter(b"a\x011");
        assert_eq!((&first.body[..], first.born_at_ms), (&b"\x00\xff{"[..], 5));
        let read = Properties::new(&first.properties);
        let expected = [
            ("a", "1"),
            ("dlq_code", "E-DECODE-01"),
            ("dlq_sink", "lake"),
            ("dlq_queue", "3"),
            ("dlq_offset", "7"),
            ("dlq_id", "0A00000100002A9F00000000000003E8"),
            ("dlq_flags", "1"),
            (FILE_PATH, "/logs/a"),
            (STEP, "decode"),
            ("dlq_attempts", "1"),
            ("dlq_first_at", "2026-01-01T00:00:00Z"),
            ("dlq_config", "0000000000000abc"),
            ("dlq_field", "x"),
            ("dlq_error", &"é".repeat(512)),
        ];
        assert_eq!(read.iter().collect::<Vec<_>>(), expected);
        assert!(first.properties.starts_with(b"a\x011\x02dlq_code"));

        // A message that names its file already does so once.
        let named = letter(b"file.path\x01/logs/b");
        let paths = Properties::new(&named.properties);
        let paths = paths.iter().filter(|(name, _)| *name == FILE_PATH);
        assert_eq!(paths.collect::<Vec<_>>(), [(FILE_PATH, "/logs/b")]);
    }

    #[track_caller]
    fn check_original(properties: &'static [u8], expected: &'static [u8]) {
        let stored = stored(properties);
        let letter = letter(properties);
        let read = Message {
            queue_offset: QueueOffset(0),
            index: None,
            store_at_ms: 1_800_000_000_000,
            body: &letter.body,
            properties: Properties::new(&letter.properties),
        };
        let original = Original::of(&read, letter.born_at_ms).unwrap();
        let bytes = |original: &Original| messages(original).record(0).unwrap().as_bytes().to_vec();
        let expected = Original { properties: Bytes::from_static(expected), ..stored };
        assert_eq!(bytes(&original), bytes(&expected));
    }

    #[test]
    fn a_letter_gives_its_message_back() {
        check_original(b"", b"");
        check_original(b"a\x011", b"a\x011\x02");
        check_original(b"a\x011\x02", b"a\x011\x02");
        check_original(b"file.path\x01/logs/b\x02", b"file.path\x01/logs/b\x02");
        // It was a letter of another pipeline before.
        let twice = b"dlq_code\x01E-1\x02dlq_queue\x019\x02";
        check_original(twice, twice);
        check_original(b"my_dlq_code\x01E-1\x02", b"my_dlq_code\x01E-1\x02");
    }

    #[test]
    fn a_letter_of_what_a_step_has_changed_is_of_the_message_in_the_log() {
        let messages = messages(&stored(b"a\x011"));
        let change = Change { row: 0, body: Some(0..3), properties: Some(3..7) };
        let changed = messages.changed(Bytes::from_static(b"newa\x01new"), [change]);
        assert_eq!(changed.get(0).body, b"new");
        let envelope =
            Envelope { topic: topic("p", "lake").unwrap(), sink: "lake".to_owned(), config: 0 };
        let reject = Reject { code: "E-1", error: "no".to_owned(), field: None };
        let letter = envelope.of_message(&changed, 0, None, None, "lake", &reject);
        assert_eq!(&letter.body[..], b"\x00\xff{");
        assert!(letter.properties.starts_with(b"a\x011\x02dlq_code"));
    }

    #[test]
    fn a_letter_of_a_piece_is_of_its_message_and_says_which() {
        let letter = letter_of(b"a\x011", Some(3));
        let read = Message {
            queue_offset: QueueOffset(0),
            index: None,
            store_at_ms: 1_800_000_000_000,
            body: &letter.body,
            properties: Properties::new(&letter.properties),
        };
        let original = Original::of(&read, letter.born_at_ms).unwrap();
        assert_eq!((original.offset, original.index), (QueueOffset(7), Some(3)));
        assert_eq!(&original.body[..], b"\x00\xff{");
    }

    #[test]
    fn what_does_not_say_its_message_gives_none_back() {
        for properties in ["", "dlq_code\x01E-1\x02", "dlq_queue\x011\x02dlq_offset\x011\x02"] {
            let properties = Properties::new(properties.as_bytes());
            let letter = Message {
                queue_offset: QueueOffset(0),
                index: None,
                store_at_ms: 1,
                body: b"",
                properties,
            };
            assert!(Original::of(&letter, 1).is_none(), "{properties:?}");
        }
    }

    #[test]
    fn a_letter_of_a_message_full_of_properties_still_fits() {
        let envelope =
            Envelope { topic: topic("p", "s").unwrap(), sink: "s".to_owned(), config: 0 };
        let reject = Reject { code: "E-1", error: "e".repeat(1024), field: None };
        for room in 0..40 {
            let mut properties = PropertiesBuf::new();
            properties.push("a", &"v".repeat(PROPERTIES_BYTES_MAX - 3 - room));
            let letter =
                envelope.of_record(Bytes::new(), properties.into_bytes(), "decode", &reject, 0);
            assert!(letter.properties.len() <= PROPERTIES_BYTES_MAX);
            let read = Properties::new(&letter.properties);
            assert_eq!(read.get("dlq_code").is_some(), room >= 13, "room {room}");
        }
    }
}
