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
//! | `file.path`    | the path of the file it comes from, if the pipeline itself has read it      |
//! | `dlq_step`     | where it failed: `read`, `decode`, a step, or the name of the sink          |
//! | `dlq_attempts` | how often it was tried                                                      |
//! | `dlq_first_at` | when it was stored, or read                                                 |
//! | `dlq_config`   | fingerprint of the pipeline, hexadecimal                                    |
//! | `dlq_field`    | the offending field, if it is known                                         |
//! | `dlq_error`    | the reason, at most 1 KiB                                                   |
//!
//! What a source read has `file.id`, `file.offset` (bytes before the record) and `file.line` (lines
//! before it) from there on. The path is the last one under which the file was seen. Properties
//! are left out, from the last on, where the message has no room for more.

use bytes::Bytes;
use millrace_client::Outgoing;
use millrace_connect_api::{Message, QueueRef, Reject};
use millrace_sql_filter::time::format_timestamp;
use millrace_types::record::PROPERTIES_BYTES_MAX;
use millrace_types::{GroupName, PropertiesBuf, QueueId, TopicName};

use crate::error::RunError;
use crate::ingest::FILE_PATH;

/// The name that stands for the source where a sink's is asked for.
pub const SOURCE: &str = "source";

/// The longest `dlq_error`, bytes.
const ERROR_BYTES_MAX: usize = 1024;

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
    /// A message that could not go on as a letter: body and properties byte for byte, and why.
    pub(crate) fn of_message(
        &self,
        message: &Message<'_>,
        queue: &QueueRef,
        path: Option<&str>,
        step: &str,
        reject: &Reject,
        born_at_ms: i64,
    ) -> Outgoing {
        let mut at = vec![
            ("dlq_queue", queue.queue.to_string()),
            ("dlq_offset", message.queue_offset.to_string()),
        ];
        // The first message of a file says it already.
        if message.properties.get(FILE_PATH).is_none() {
            at.extend(path.map(|path| (FILE_PATH, path.to_owned())));
        }
        let properties = message.properties.as_bytes().to_vec();
        let body = Bytes::copy_from_slice(message.body);
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
        add("dlq_code", reject.code);
        add("dlq_sink", &self.sink);
        for (name, value) in at {
            add(name, value);
        }
        add(STEP, step);
        add("dlq_attempts", "1");
        add("dlq_first_at", &format_timestamp(first_at_ms.saturating_mul(1000)));
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

fn cut(text: &str, bytes_max: usize) -> &str {
    &text[..text.floor_char_boundary(bytes_max.min(text.len()))]
}

/// Stops a sink whose records are refused so often that the pipeline itself is probably wrong:
/// more than a tenth of the last thousand, once there were a hundred.
#[derive(Debug)]
pub(crate) struct Breaker {
    /// Verdicts of the last records, oldest first where `next` points.
    window: Vec<bool>,
    next: usize,
    rejected: u64,
}

impl Breaker {
    const OVER: usize = 1000;
    const AFTER: usize = 100;
    /// One of so many.
    const RATIO: u64 = 10;

    pub(crate) fn new() -> Self {
        Self { window: Vec::with_capacity(Self::OVER), next: 0, rejected: 0 }
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
        self.window.len() < Self::AFTER || self.rejected * Self::RATIO <= self.of()
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
    use millrace_types::Properties;

    use super::*;

    /// Whether the breaker holds after these: how many, and whether they were refused.
    #[track_caller]
    fn check(counted: &[(usize, bool)], holds: bool) {
        let mut breaker = Breaker::new();
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
    fn a_letter_keeps_every_byte_and_says_why() {
        let envelope =
            Envelope { topic: topic("p", "lake").unwrap(), sink: "lake".to_owned(), config: 0xabc };
        let queue = QueueRef {
            broker: "b".into(),
            topic: TopicName::parse("orders").unwrap(),
            queue: QueueId(3),
        };
        let message = Message {
            queue_offset: millrace_types::QueueOffset(7),
            store_at_ms: 1_767_225_600_000,
            body: b"\x00\xff{",
            properties: Properties::new(b"a\x011"),
        };
        let reject =
            Reject { code: "E-DECODE-01", error: "é".repeat(600), field: Some("x".to_owned()) };
        let path = Some("/logs/a");
        let letter = envelope.of_message(&message, &queue, path, "decode", &reject, 5);
        assert_eq!(&letter.body[..], b"\x00\xff{");
        let read = Properties::new(&letter.properties);
        let expected = [
            ("a", "1"),
            ("dlq_code", "E-DECODE-01"),
            ("dlq_sink", "lake"),
            ("dlq_queue", "3"),
            ("dlq_offset", "7"),
            (FILE_PATH, "/logs/a"),
            (STEP, "decode"),
            ("dlq_attempts", "1"),
            ("dlq_first_at", "2026-01-01T00:00:00Z"),
            ("dlq_config", "0000000000000abc"),
            ("dlq_field", "x"),
            ("dlq_error", &"é".repeat(512)),
        ];
        assert_eq!(read.iter().collect::<Vec<_>>(), expected);
        assert!(letter.properties.starts_with(b"a\x011\x02dlq_code"));

        // A message that names its file already does so once.
        let first = Message { properties: Properties::new(b"file.path\x01/logs/b"), ..message };
        let letter = envelope.of_message(&first, &queue, path, "decode", &reject, 5);
        let paths = Properties::new(&letter.properties);
        let paths = paths.iter().filter(|(name, _)| *name == FILE_PATH);
        assert_eq!(paths.collect::<Vec<_>>(), [(FILE_PATH, "/logs/b")]);
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
