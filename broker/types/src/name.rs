use std::fmt;
use std::sync::Arc;

/// The longest topic name a client may create. Retry and dead-letter topics may be longer.
/// Source: `TopicValidator.java`, Apache RocketMQ 5.3.
const TOPIC_BYTES_MAX: usize = 127;
const DERIVED_TOPIC_BYTES_MAX: usize = 255;
const GROUP_BYTES_MAX: usize = 120;

/// The name of a topic: not empty, letters, digits, `%`, `|`, `-` and `_`, of bounded length.
///
/// Cloning shares the text.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicName(Arc<str>);

/// The name of a consumer or producer group, of the same characters as a topic.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupName(Arc<str>);

/// Why a text is not a legal topic or group name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Nothing was given.
    #[error("the name is empty")]
    Empty,
    /// Longer than clients and record formats allow.
    #[error("the name has {len} bytes, more than the {max} allowed")]
    TooLong {
        /// Bytes given.
        len: usize,
        /// Bytes allowed.
        max: usize,
    },
    /// A character outside `%|a-zA-Z0-9_-`.
    #[error("the name contains {0:?}; only letters, digits and `%|-_` are allowed")]
    Character(char),
}

impl TopicName {
    /// Checks a name once; everything inward relies on it.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        let derived = text.starts_with("%RETRY%") || text.starts_with("%DLQ%");
        let max = if derived { DERIVED_TOPIC_BYTES_MAX } else { TOPIC_BYTES_MAX };
        check_name(text, max)?;
        Ok(Self(text.into()))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl GroupName {
    /// Checks a name once; everything inward relies on it.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        check_name(text, GROUP_BYTES_MAX)?;
        Ok(Self(text.into()))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Whether a topic is the broker's own: its messages are state, and only the broker writes them.
pub fn is_system_topic(topic: &TopicName) -> bool {
    is_system_topic_name(topic.as_str())
}

/// The same for a name that was not checked.
pub fn is_system_topic_name(topic: &str) -> bool {
    topic.starts_with("MILLRACE_")
}

/// The topic that producers name as the template of those to be created on the way. It exists in
/// routes only.
pub const TEMPLATE_TOPIC: &str = "TBW102";

/// Topics of RocketMQ's own that nobody may send to.
/// Source: `TopicValidator.java`, Apache RocketMQ 5.3.
const NO_SENDS: [&str; 6] = [
    "SCHEDULE_TOPIC_XXXX",
    "RMQ_SYS_TRANS_HALF_TOPIC",
    "RMQ_SYS_TRANS_OP_HALF_TOPIC",
    "TRANS_CHECK_MAX_TIME_TOPIC",
    "SELF_TEST_TOPIC",
    "OFFSET_MOVED_EVENT",
];

/// Topics that RocketMQ tells tools are its own, whether they exist or not.
/// Source: `TopicValidator.java`, Apache RocketMQ 5.4; of its timers, `TimerMessageStore.java`.
pub const SYSTEM_TOPICS: [&str; 11] = [
    TEMPLATE_TOPIC,
    "SCHEDULE_TOPIC_XXXX",
    "BenchmarkTest",
    "RMQ_SYS_TRANS_HALF_TOPIC",
    "RMQ_SYS_TRACE_TOPIC",
    "RMQ_SYS_TRANS_OP_HALF_TOPIC",
    "TRANS_CHECK_MAX_TIME_TOPIC",
    "SELF_TEST_TOPIC",
    "OFFSET_MOVED_EVENT",
    "CHECKPOINT_TOPIC",
    "rmq_sys_wheel_timer",
];

/// Whether no producer may send to a topic, whoever created it.
pub fn takes_no_sends(topic: &str) -> bool {
    NO_SENDS.contains(&topic)
}

/// Whether nobody may create a topic of this name: it has a meaning of its own for brokers.
pub fn is_reserved_topic(topic: &TopicName) -> bool {
    let name = topic.as_str();
    is_system_topic(topic)
        || takes_no_sends(name)
        || name == TEMPLATE_TOPIC
        || name.starts_with("rmq_sys_")
}

fn check_name(text: &str, max: usize) -> Result<(), NameError> {
    if text.is_empty() {
        return Err(NameError::Empty);
    }
    if text.len() > max {
        return Err(NameError::TooLong { len: text.len(), max });
    }
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '%' | '|' | '-' | '_');
    match text.chars().find(|&c| !legal(c)) {
        Some(c) => Err(NameError::Character(c)),
        None => Ok(()),
    }
}

macro_rules! text_like {
    ($name:ident) => {
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", &*self.0)
            }
        }
        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
    };
}
text_like!(TopicName);
text_like!(GroupName);

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Option<NameError>) {
        assert_eq!(TopicName::parse(text).err(), expected, "{text:?}");
    }

    #[test]
    fn names_are_checked_for_length_and_characters() {
        check("orders", None);
        check("%DLQ%lake_parquet", None);
        check("", Some(NameError::Empty));
        check("a.b", Some(NameError::Character('.')));
        check("naïve", Some(NameError::Character('ï')));
        check(&"x".repeat(127), None);
        check(&"x".repeat(128), Some(NameError::TooLong { len: 128, max: 127 }));
        check(&format!("%RETRY%{}", "x".repeat(120)), None);
    }

    #[test]
    fn names_with_a_meaning_are_reserved() {
        let is_reserved = |name| is_reserved_topic(&TopicName::parse(name).unwrap());
        for name in ["MILLRACE_LEDGER", "SCHEDULE_TOPIC_XXXX", "rmq_sys_wheel_timer", "TBW102"] {
            assert!(is_reserved(name), "{name}");
        }
        for name in ["orders", "%DLQ%lake_parquet", "%RETRY%g", "RMQ_SYS_TRACE_TOPIC"] {
            assert!(!is_reserved(name), "{name}");
        }
    }

    #[test]
    fn only_the_brokers_own_topics_are_system_topics() {
        assert!(is_system_topic(&TopicName::parse("MILLRACE_LEDGER").unwrap()));
        assert!(!is_system_topic(&TopicName::parse("millrace").unwrap()));
    }
}
