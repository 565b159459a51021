//! The nouns every other crate speaks: topics, queues, offsets, and the message record.
//!
//! Nothing here does I/O or knows a clock. [`record`] holds the one layout that the CommitLog, the
//! wire and the clients share; start reading there.

mod find; // where a byte is
mod message_id; // address and offset as one text
mod name; // topics and groups, checked once
mod now; // a moment, as the shell tells it to the core
mod offset; // the two offsets that must never be mixed
mod properties; // the `name 0x01 value 0x02` string of a message
pub mod record; // one message as it lies in the CommitLog and on the wire
mod tag; // the hash by which RocketMQ filters tags

pub use find::find_either;
pub use message_id::OffsetMessageId;
pub use name::{
    GroupName, NameError, SYSTEM_TOPICS, TEMPLATE_TOPIC, TopicName, is_reserved_topic,
    is_system_topic, is_system_topic_name, takes_no_sends,
};
pub use now::Now;
pub use offset::{PhysicalOffset, QueueId, QueueOffset};
pub use properties::{Found, Properties, PropertiesBuf, PropertyNames, keys};
pub use tag::{TagsCode, java_hash};
