use bytes::Bytes;
use millrace_types::record::PROPERTIES_BYTES_MAX;
use millrace_types::{PropertiesBuf, TopicName, keys};

use crate::ClientError;

/// Properties that brokers and clients give a meaning; an application may not set them.
/// Source: `MessageConst.java`, Apache RocketMQ 5.3.
const RESERVED: [&str; 42] = [
    "KEYS",
    "TAGS",
    "WAIT",
    "DELAY",
    "RETRY_TOPIC",
    "REAL_TOPIC",
    "REAL_QID",
    "TRAN_MSG",
    "PGROUP",
    "MIN_OFFSET",
    "MAX_OFFSET",
    "BUYER_ID",
    "ORIGIN_MESSAGE_ID",
    "TRANSFER_FLAG",
    "CORRECTION_FLAG",
    "MQ2_FLAG",
    "RECONSUME_TIME",
    "MSG_REGION",
    "UNIQ_KEY",
    "EXTEND_UNIQ_INFO",
    "MAX_RECONSUME_TIMES",
    "CONSUME_START_TIME",
    "INSTANCE_ID",
    "CORRELATION_ID",
    "REPLY_TO_CLIENT",
    "TTL",
    "ARRIVE_TIME",
    "PUSH_REPLY_TIME",
    "CLUSTER",
    "MSG_TYPE",
    "TRACE_ON",
    "POP_CK",
    "INNER_NUM",
    "INNER_BASE",
    "DUP_INFO",
    "TRANSACTION_CHECK_TIMES",
    "TRAN_PREPARED_QUEUE_OFFSET",
    "CHECK_IMMUNITY_TIME_IN_SECONDS",
    "__transactionId__",
    "__CRC32#",
    "__MORE",
    "__BORNHOST",
];
/// The highest delay level: two hours.
const DELAY_LEVEL_MAX: u8 = 18;

/// A message to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    pub(crate) topic: TopicName,
    pub(crate) body: Bytes,
    pub(crate) flag: i32,
    pub(crate) properties: Vec<(String, String)>,
}

impl Message {
    /// A message without tag, keys or properties.
    pub fn new(topic: TopicName, body: impl Into<Bytes>) -> Self {
        Self { topic, body: body.into(), flag: 0, properties: Vec::new() }
    }

    /// With another body.
    pub fn body(self, body: impl Into<Bytes>) -> Self {
        Self { body: body.into(), ..self }
    }

    /// With a tag, by which consumers filter.
    pub fn tag(self, tag: &str) -> Self {
        self.with(keys::TAGS, tag)
    }

    /// With keys by which it can be looked up, blanks in between.
    pub fn keys(self, text: &str) -> Self {
        self.with(keys::KEYS, text)
    }

    /// With a delay level: 1 to 18 mean 1 s, 5 s, 10 s, 30 s, 1 to 10 min, 20 min, 30 min, 1 h and
    /// 2 h.
    pub fn delay_level(self, level: u8) -> Self {
        self.with(keys::DELAY, &level.to_string())
    }

    /// With the application's own flag.
    pub fn flag(self, flag: i32) -> Self {
        Self { flag, ..self }
    }

    /// With a property of the application's own.
    pub fn property(self, name: &str, value: &str) -> Result<Self, ClientError> {
        if RESERVED.contains(&name) {
            return Err(ClientError::Invalid(format!(
                "the property `{name}` has a meaning for brokers and clients; choose another name"
            )));
        }
        if name.is_empty() || value.is_empty() {
            return Err(ClientError::Invalid(format!(
                "the property `{name}` is empty; brokers and clients drop those"
            )));
        }
        Ok(self.with(name, value))
    }

    /// A property, whatever it means. The last of equal names holds.
    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        self.properties.retain(|(known, _)| known != name);
        self.properties.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The value of a property.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.properties.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// Its properties as the wire has them, with this id unless it has one. Says what no broker
    /// would take.
    pub(crate) fn encoded_properties(&self, unique_id: &str) -> Result<String, ClientError> {
        if let Some(level) = self.get(keys::DELAY)
            && !level.parse().is_ok_and(|level: u8| (1..=DELAY_LEVEL_MAX).contains(&level))
        {
            return Err(ClientError::Invalid(format!(
                "`{level}` is no delay level; there are 1 to {DELAY_LEVEL_MAX}"
            )));
        }
        let mut encoded = PropertiesBuf::new();
        if self.get(keys::UNIQ_KEY).is_none() {
            encoded.push(keys::UNIQ_KEY, unique_id);
        }
        for (name, value) in &self.properties {
            encoded.push(name, value);
        }
        let len = encoded.as_bytes().len();
        if len > PROPERTIES_BYTES_MAX {
            return Err(ClientError::Invalid(format!(
                "the properties have {len} bytes, more than the {PROPERTIES_BYTES_MAX} allowed"
            )));
        }
        Ok(String::from_utf8(encoded.into_bytes()).expect("it was made of texts"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message() -> Message {
        Message::new(TopicName::parse("orders").unwrap(), "x")
    }

    #[test]
    fn properties_are_encoded_with_the_id_first() {
        let message = message().tag("a").keys("k1 k2").property("region", "eu").unwrap();
        let expected = "UNIQ_KEY\u{1}ID\u{2}TAGS\u{1}a\u{2}KEYS\u{1}k1 k2\u{2}region\u{1}eu\u{2}";
        assert_eq!(message.encoded_properties("ID").unwrap(), expected);
        let sent_again = message.with(keys::UNIQ_KEY, "FIRST");
        assert!(!sent_again.encoded_properties("ID").unwrap().contains("ID\u{2}TAGS"));
    }

    #[test]
    fn what_no_broker_takes_is_refused_here() {
        let reserved = message().property("UNIQ_KEY", "x").unwrap_err();
        assert!(reserved.to_string().contains("has a meaning"), "{reserved}");
        message().property("region", "").unwrap_err();
        message().delay_level(19).encoded_properties("ID").unwrap_err();
        message().delay_level(0).encoded_properties("ID").unwrap_err();
        message().delay_level(18).encoded_properties("ID").unwrap();
        let long = message().property("p", &"x".repeat(40_000)).unwrap();
        assert!(long.encoded_properties("ID").unwrap_err().to_string().contains("40"));
    }
}
