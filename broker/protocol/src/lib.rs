//! The RocketMQ remoting protocol: bytes to commands and back. No I/O and no clock.
//!
//! A peer's bytes become a [`Frame`], its header a [`Header`], and the two a [`Request`]; an
//! [`Answer`] is written straight into an output buffer. Clients go the other way with [`Call`].
//! Nothing is copied on the way in unless JSON escapes force it. Start reading at [`Frame::split`].

mod answer; // what a broker or name server replies
mod batch; // the body of a producer's batch
mod code; // request and response codes
mod fields; // the name-value pairs of a header
mod frame; // where one frame ends and the next begins
mod group; // bodies of our own append and pull
mod header; // code, correlation, flags
mod heartbeat; // what a client says about itself
mod json; // the dialect RocketMQ's clients speak
mod queues; // lists of queues: locks
mod registration; // brokers towards name servers
mod request; // what peers ask for
mod route; // which broker serves a topic
mod wire; // big-endian integers
mod write; // frames being built

pub use answer::{
    AllOffsets, AllProducers, Answer, AnswerError, Appended, AttachedFilter, AttachedFilters,
    ConnectedClient, ConsumerConnections, ConsumerList, Done, Fenced, GroupConfigs, GroupNames,
    GroupProgress, GroupSettings, GroupSubscription, HeartbeatAnswer, HelloAnswer, KnownProducer,
    KvTable, KvValue, MessageIds, MovedTo, OffsetAnswer, ProducerConnections, PullAnswer,
    PullStatus, QueryAnswer, QueueProgress, QueueStats, Refused, SendAnswer, SendStatus,
    StoredAnswer, StoredGroupConfig, TimestampAnswer, TopicAnswer, TopicConfig, TopicConfigs,
    TopicKept, TopicNames, TopicStats, write_pull_head, write_stored_head,
};
pub use batch::{BatchItem, batch_items, push_batch_item};
pub use code::{RequestCode, ResponseCode};
pub use fields::{FIELDS_MAX, FieldText, FieldValue, FieldWriter, Fields, FieldsError, FromFields};
pub use frame::{Frame, FrameBuf, FrameError, HeaderKind, Limits, Split};
pub use group::{AppendGroup, AppendGroupWriter, AppendWait, Fence, GroupMessage, PullStored};
pub use header::{Header, HeaderError, Language, VERSION};
pub use heartbeat::{
    ConsumeFrom, ConsumeType, ConsumerData, Heartbeat, MessageModel, Subscription,
};
pub use json::{BODY_VALUES_MAX, BodyError};
pub use millrace_types::OffsetMessageId;
pub use queues::{LockQueues, LockedQueues, MessageQueue};
pub use registration::{
    AddTopic, BrokerGroup, BrokerIdentity, Compression, DataVersion, DropTopic, INFLATED_BYTES_MAX,
    OfBroker, RegisterBroker, Registered, RegisteredTopics, RegistrationAnswer, RegistrationError,
    RegistrationTerms, Registry, SettingsText, TouchedTopics, UnregisterBroker, VersionAnswer,
};
pub use request::{
    Admin, AttachFilter, CheckClient, CloneOffsets, ConsumerListByGroup, CreateTopic, DeleteGroup,
    EarliestStoreTime, EndTransaction, EnsureTopic, FilterPlace, FilterRequest, FilterTerms,
    GetClusterInfo, GetMaxOffset, GetMinOffset, GetRoute, GroupChanged, GroupConfig, GroupRules,
    Hello, Inquiry, KvEntry, OfCluster, OfConsumers, OfGroup, OfMember, OfPage, OfProducers,
    OfSubscription, OfTopic, PullMessage, QueryConsumerOffset, QueryMessage, QuickSend, Request,
    RequestError, ResetOffset, SearchOffset, SendBack, SendMessage, UnregisterClient,
    UpdateConsumerOffset, ViewMessage, pull_flag,
};
pub use request::{
    CheckTransaction, ConsumeThis, ConsumedDirectly, ConsumedUpTo, ConsumerState, FromBroker,
    HalfMessage, PushReply, QueueState, ReplyFields,
};
pub use route::{BrokerAddresses, ClusterInfo, QueueRoute, TopicRoute, permission};
pub use write::{Call, CallMode, FrameWriter, Head};

// The fuzzer's code, which the laws use, knows this crate by its name.
#[cfg(test)]
extern crate self as millrace_protocol;

#[cfg(test)]
mod laws;
