//! How everything outside of a broker talks to one.
//!
//! [`Broker`] is what pipelines need, and [`RemoteBroker`] is one over the wire, a Millrace.
//! (`millrace-server` implements it for a broker in the same process.) A [`Cluster`] is RocketMQ's
//! protocol as applications speak it, to Millrace and Apache RocketMQ alike; a [`Producer`] and the
//! consumers work on one.
//!
//! Start reading at [`Broker`], then [`RemoteBroker::connect`]; or at [`Producer`].

mod admin; // looks at a cluster and changes it
mod broker; // what a broker does for a pipeline
mod cluster; // what a client knows of a cluster
mod compression; // bodies that producers compressed
mod error; // why a client did not get what it asked for
#[cfg(test)]
mod fake; // a name server and a broker that do as a test says
mod message; // what is sent
mod offsets; // where groups and queues are
mod peers; // connections, and who knows where brokers are
mod producer; // sends messages
mod pull; // one pull from one queue
mod pull_consumer; // reads queues that are chosen
mod push_consumer; // a member of a group
mod received; // what is consumed
mod remote; // a broker in another process
mod retry; // when a producer tries another broker
mod routes; // which queues a route offers
mod storage_trouble; // why a broker stores nothing
mod subscription; // which messages a consumer wants
#[cfg(test)]
mod tests;
mod unique_ids; // ids of messages

pub use admin::{Admin, FOUND_MAX, Master, Place, Seen, Settings, TopicOn};
pub use broker::{
    Append, Appended, Broker, BrokerError, Fence, Outgoing, PullRequest, Pulled, Wait,
};
pub use cluster::{Cluster, ClusterOptions};
pub use compression::decompress;
pub use error::ClientError;
pub use message::Message;
pub use millrace_protocol::{
    AttachFilter, AttachedFilter, ConsumerConnections, FilterPlace, FilterTerms, MessageQueue,
    OffsetMessageId, PullStatus, QueueProgress, QueueStats, Refused, ResponseCode, SendStatus,
    Subscription, TopicConfig, TopicRoute, permission,
};
pub use millrace_types::{QueueId, QueueOffset};
pub use producer::{Producer, ProducerOptions, Sent};
pub use pull::PullOutcome;
pub use pull_consumer::PullConsumer;
pub use push_consumer::{
    Delivery, LocalOffsets, Ordering, PushConsumer, PushOptions, Sharing, WindowLimits, Young,
};
pub use received::Received;
pub use remote::{RemoteBroker, RemoteOptions};
pub use storage_trouble::StorageTrouble;
pub use subscription::Filter;
