use crate::json::BodyError;
use crate::{
    AppendGroup, FieldsError, Header, Heartbeat, LockQueues, PullStored, Refused, Registry,
    RequestCode, ResponseCode,
};

mod admin;
mod client;
mod filter;
mod from_broker;
mod inquiry;
mod offset;
mod pull;
mod query;
mod quick_send;
mod send;
mod topic;

pub use admin::{
    Admin, DeleteGroup, GroupConfig, GroupRules, KvEntry, OfCluster, OfConsumers, OfGroup, OfPage,
    OfTopic, ResetOffset,
};
pub use client::{CheckClient, ConsumerListByGroup, GroupChanged, UnregisterClient};
pub use filter::{AttachFilter, FilterPlace, FilterRequest, FilterTerms};
pub use from_broker::{
    CheckTransaction, ConsumeThis, ConsumedDirectly, ConsumedUpTo, ConsumerState, FromBroker,
    HalfMessage, PushReply, QueueState, ReplyFields,
};
pub use inquiry::{CloneOffsets, Inquiry, OfMember, OfProducers, OfSubscription};
pub use offset::{
    EarliestStoreTime, GetMaxOffset, GetMinOffset, QueryConsumerOffset, SearchOffset,
    UpdateConsumerOffset,
};
pub use pull::{PullMessage, pull_flag};
pub use query::{QueryMessage, ViewMessage};
pub use quick_send::QuickSend;
pub use send::{EndTransaction, SendBack, SendMessage};
pub use topic::{CreateTopic, EnsureTopic, GetClusterInfo, GetRoute, Hello};

/// What a peer asks for. Texts borrow from the frame unless JSON escapes force a copy.
#[derive(Clone, Debug, PartialEq)]
pub enum Request<'a> {
    /// Codes 10, 310 and 320: one message or a batch.
    Send(SendMessage<'a>),
    /// Codes 324 and 325: the reply to a request message.
    SendReply(SendMessage<'a>),
    /// Code 36: a message whose consumption failed.
    SendBack(SendBack<'a>),
    /// Code 37: commit or roll back a half message.
    EndTransaction(EndTransaction<'a>),
    /// Code 11: messages of one queue.
    Pull(PullMessage<'a>),
    /// Code 361: the same, from a lite pull consumer.
    LitePull(PullMessage<'a>),
    /// Code 12: messages by key.
    QueryMessage(QueryMessage<'a>),
    /// Code 33: one message by physical offset.
    ViewMessage(ViewMessage<'a>),
    /// Code 14: a group's committed offset.
    QueryConsumerOffset(QueryConsumerOffset<'a>),
    /// Code 15: commits a group's offset.
    UpdateConsumerOffset(UpdateConsumerOffset<'a>),
    /// Code 30: the end of a queue.
    GetMaxOffset(GetMaxOffset<'a>),
    /// Code 31: the start of a queue.
    GetMinOffset(GetMinOffset<'a>),
    /// Code 29: an offset by time.
    SearchOffset(SearchOffset<'a>),
    /// Code 32: when the oldest message was stored.
    EarliestStoreTime(EarliestStoreTime<'a>),
    /// Code 34: what a client's producers and consumers are.
    Heartbeat(Heartbeat),
    /// Code 35: a client leaves a group.
    UnregisterClient(UnregisterClient<'a>),
    /// Code 46: whether an expression is usable.
    CheckClient(CheckClient),
    /// Code 38: the client ids of a group.
    ConsumerList(ConsumerListByGroup<'a>),
    /// Code 41: locks queues.
    Lock(LockQueues),
    /// Code 42: gives the locks back.
    Unlock(LockQueues),
    /// Code 40, from a broker: a group has changed.
    GroupChanged(GroupChanged<'a>),
    /// Code 17: creates or overwrites a topic.
    CreateTopic(CreateTopic<'a>),
    /// Code 105: which brokers serve a topic.
    Route(GetRoute<'a>),
    /// Code 106: all brokers and clusters.
    ClusterInfo,
    /// Code 9001, ours: who are you?
    Hello(Hello<'a>),
    /// Code 9002, ours: creates a topic unless it exists.
    EnsureTopic(EnsureTopic<'a>),
    /// Code 9003, ours: appends messages of any queues as one.
    AppendGroup(AppendGroup<'a>),
    /// Code 9004, ours: records as they are stored.
    PullStored(PullStored<'a>),
    /// Codes 9005 to 9007, ours: filters in the broker.
    Filter(FilterRequest<'a>),
    /// What tools ask.
    Admin(Admin<'a>),
    /// What tools ask about clients, and about what a broker is set to.
    Inquiry(Inquiry<'a>),
    /// What brokers, and tools about brokers, ask of a name server.
    Registry(Registry<'a>),
    /// A code without a variant; Apache answers such a request with 3.
    Unknown(RequestCode),
}

/// Why a request cannot be understood although its header can: it is answered with an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// A header field is missing or has a value that is not allowed.
    #[error(transparent)]
    Fields(#[from] FieldsError),
    /// The body is not what the code asks for.
    #[error(transparent)]
    Body(#[from] BodyError),
}

impl RequestError {
    /// The answer, unless the request was oneway.
    pub fn answer(&self) -> Refused {
        Refused::new(ResponseCode::INVALID_PARAMETER, self.to_string())
    }
}

impl<'a> Request<'a> {
    /// Understands a request by its header and body.
    pub fn decode(header: &Header<'a>, body: &'a [u8]) -> Result<Self, RequestError> {
        let fields = &header.fields;
        Ok(match header.request_code() {
            RequestCode::SEND_MESSAGE | RequestCode::SEND_MESSAGE_V2 => {
                Self::Send(SendMessage::decode(fields, body)?)
            }
            RequestCode::SEND_BATCH_MESSAGE => {
                Self::Send(SendMessage { batch: true, ..SendMessage::decode(fields, body)? })
            }
            RequestCode::SEND_REPLY_MESSAGE | RequestCode::SEND_REPLY_MESSAGE_V2 => {
                Self::SendReply(SendMessage::decode(fields, body)?)
            }
            RequestCode::PULL_MESSAGE => Self::Pull(fields.read()?),
            RequestCode::LITE_PULL_MESSAGE => Self::LitePull(fields.read()?),
            RequestCode::CONSUMER_SEND_MSG_BACK => Self::SendBack(fields.read()?),
            RequestCode::END_TRANSACTION => Self::EndTransaction(fields.read()?),
            RequestCode::QUERY_MESSAGE => Self::QueryMessage(fields.read()?),
            RequestCode::VIEW_MESSAGE_BY_ID => Self::ViewMessage(fields.read()?),
            RequestCode::QUERY_CONSUMER_OFFSET => Self::QueryConsumerOffset(fields.read()?),
            RequestCode::UPDATE_CONSUMER_OFFSET => Self::UpdateConsumerOffset(fields.read()?),
            RequestCode::GET_MAX_OFFSET => Self::GetMaxOffset(fields.read()?),
            RequestCode::GET_MIN_OFFSET => Self::GetMinOffset(fields.read()?),
            RequestCode::SEARCH_OFFSET_BY_TIMESTAMP => Self::SearchOffset(fields.read()?),
            RequestCode::GET_EARLIEST_MSG_STORETIME => Self::EarliestStoreTime(fields.read()?),
            RequestCode::HEART_BEAT => Self::Heartbeat(Heartbeat::decode(body)?),
            RequestCode::UNREGISTER_CLIENT => Self::UnregisterClient(fields.read()?),
            RequestCode::CHECK_CLIENT_CONFIG => Self::CheckClient(CheckClient::decode(body)?),
            RequestCode::GET_CONSUMER_LIST_BY_GROUP => Self::ConsumerList(fields.read()?),
            RequestCode::LOCK_BATCH_MQ => Self::Lock(LockQueues::decode(body)?),
            RequestCode::UNLOCK_BATCH_MQ => Self::Unlock(LockQueues::decode(body)?),
            RequestCode::NOTIFY_CONSUMER_IDS_CHANGED => Self::GroupChanged(fields.read()?),
            RequestCode::UPDATE_AND_CREATE_TOPIC => Self::CreateTopic(fields.read()?),
            RequestCode::GET_ROUTEINFO_BY_TOPIC => Self::Route(fields.read()?),
            RequestCode::GET_BROKER_CLUSTER_INFO => Self::ClusterInfo,
            RequestCode::MR_HELLO => Self::Hello(fields.read()?),
            RequestCode::MR_TOPIC => Self::EnsureTopic(fields.read()?),
            RequestCode::MR_APPEND_GROUP => Self::AppendGroup(AppendGroup::decode(body)?),
            RequestCode::MR_PULL => Self::PullStored(PullStored::decode(body)?),
            RequestCode::MR_ATTACH_FILTER => Self::Filter(FilterRequest::attach(fields, body)?),
            RequestCode::MR_DETACH_FILTER => Self::Filter(FilterRequest::Detach(fields.read()?)),
            RequestCode::MR_LIST_FILTERS => Self::Filter(FilterRequest::List),
            other => match Admin::decode(other, fields, body) {
                Some(admin) => Self::Admin(admin?),
                None => match (Registry::decode(header, body), Inquiry::decode(header, body)) {
                    (Some(registry), _) => Self::Registry(registry?),
                    (None, Some(inquiry)) => Self::Inquiry(inquiry?),
                    (None, None) => Self::Unknown(other),
                },
            },
        })
    }
}

/// Implements `Call` for requests that have no body.
macro_rules! calls {
    ($($name:ident $(<$lt:lifetime>)? = $code:ident,)*) => {
        $(impl $(<$lt>)? $crate::Call for $name $(<$lt>)? {
            fn code(&self) -> $crate::RequestCode {
                $crate::RequestCode::$code
            }
            fn fields(&self, to: &mut $crate::FieldWriter<'_>) {
                self.write_fields(to);
            }
        })*
    };
}
pub(crate) use calls;

#[cfg(test)]
mod tests;
