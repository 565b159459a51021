//! What brokers tell name servers about themselves, and what tools ask about brokers.

use std::borrow::Cow;
use std::collections::BTreeMap;

use crate::fields::fields;
use crate::json::{BodyError, Json, Node, ObjectWriter};
use crate::request::calls;
use crate::{
    Answer, BrokerAddresses, Call, FieldWriter, Fields, Header, QueueRoute, RequestCode,
    RequestError, TopicRoute,
};

mod body; // the topics of a registration, in two encodings

pub use body::{Compression, INFLATED_BYTES_MAX, RegisteredTopics, RegistrationError};

fields! {
    /// Which broker says something.
    pub struct BrokerIdentity<'a> {
        /// The name that all replicas of a broker share.
        broker_name: Cow<'a, str> = "brokerName",
        /// `host:port`, as clients reach it.
        address: Cow<'a, str> = "brokerAddr",
        /// The cluster it belongs to.
        cluster: Cow<'a, str> = "clusterName",
        /// Which replica it is; 0 takes writes. Heartbeats may leave it out.
        broker_id: i64 = "brokerId" or 0,
    }
}

fields! {
    /// What the header of a registration says beside the broker's identity.
    pub struct RegistrationTerms<'a> {
        /// Where replicas fetch the log.
        ha_address: Cow<'a, str> = "haServerAddr" or Cow::Borrowed(""),
        /// How long the registration holds; absent for the name server's own choice.
        lifetime_ms: Option<i64> = "heartbeatTimeoutMillis",
        /// Whether the body is compressed.
        compressed: bool = "compressed" or false,
        /// Checksum of the body as it is sent, 0 for none.
        body_crc: i32 = "bodyCrc32" or 0,
    }
}

/// Code 103: a broker announces itself and its topics. (In RocketMQ, `RegisterBrokerRequestHeader`
/// and `RegisterBrokerBody`.)
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegisterBroker<'a> {
    /// Who.
    pub broker: BrokerIdentity<'a>,
    /// On which terms.
    pub terms: RegistrationTerms<'a>,
    body: Cow<'a, [u8]>,
}

impl<'a> RegisterBroker<'a> {
    /// A registration to be sent.
    pub fn new(
        broker: BrokerIdentity<'a>,
        ha_address: &'a str,
        topics: &RegisteredTopics,
        compression: Compression,
    ) -> Self {
        let body = topics.encode(compression);
        let terms = RegistrationTerms {
            ha_address: ha_address.into(),
            lifetime_ms: None,
            compressed: compression == Compression::Zlib,
            body_crc: body::checksum(&body),
        };
        Self { broker, terms, body: Cow::Owned(body) }
    }

    fn decode(fields: &Fields<'a>, body: &'a [u8]) -> Result<Self, RequestError> {
        Ok(Self { broker: fields.read()?, terms: fields.read()?, body: Cow::Borrowed(body) })
    }

    /// Verifies and reads the body.
    pub fn topics(&self) -> Result<RegisteredTopics, RegistrationError> {
        let RegistrationTerms { compressed, body_crc, .. } = self.terms;
        if body_crc != 0 && body_crc != body::checksum(&self.body) {
            return Err(RegistrationError::Checksum);
        }
        let compression = if compressed { Compression::Zlib } else { Compression::None };
        RegisteredTopics::decode(&self.body, compression)
    }
}

impl Call for RegisterBroker<'_> {
    fn code(&self) -> RequestCode {
        RequestCode::REGISTER_BROKER
    }

    fn fields(&self, to: &mut FieldWriter<'_>) {
        self.broker.write_fields(to);
        self.terms.write_fields(to);
    }

    fn body(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.body);
    }
}

fields! {
    /// Code 104: a broker leaves.
    pub struct UnregisterBroker<'a> {
        /// The name that all replicas of a broker share.
        broker_name: Cow<'a, str> = "brokerName",
        /// `host:port`, as clients reach it.
        address: Cow<'a, str> = "brokerAddr",
        /// The cluster it belongs to.
        cluster: Cow<'a, str> = "clusterName",
        /// Which replica it is.
        broker_id: i64 = "brokerId",
    }
}

calls! {
    UnregisterBroker<'a> = UNREGISTER_BROKER,
}

/// When the topics of a broker last changed. (In RocketMQ, `DataVersion`.)
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DataVersion {
    /// Counts changes.
    pub counter: i64,
    /// The version of a controller's decision; 0 without one.
    pub state: i64,
    /// When it changed, ms.
    pub timestamp: i64,
}

impl DataVersion {
    pub(crate) fn read(node: Option<Node<'_>>) -> Self {
        let number = |name| node.and_then(|node| node.int_of(name)).unwrap_or(0);
        Self {
            counter: number("counter"),
            state: number("stateVersion"),
            timestamp: number("timestamp"),
        }
    }

    pub(crate) fn members(self, object: &mut ObjectWriter<'_>) {
        object.int("counter", self.counter).int("stateVersion", self.state);
        object.int("timestamp", self.timestamp);
    }

    fn write(self, out: &mut Vec<u8>) {
        ObjectWriter::write(out, |object| self.members(object));
    }
}

/// The answer to 322: whether the broker has to register again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VersionAnswer {
    /// Whether the name server knows anything else than what the broker has.
    pub changed: bool,
    /// What it knows; `None` if it does not know the broker.
    pub known: Option<DataVersion>,
}

impl Answer for VersionAnswer {
    fn fields(&self, to: &mut FieldWriter<'_>) {
        to.text("changed", if self.changed { "true" } else { "false" });
    }

    fn body(&self, out: &mut Vec<u8>) {
        if let Some(known) = self.known {
            known.write(out);
        }
    }
}

fields! {
    /// The header of the answer to 103. A replica is told who takes writes.
    pub struct RegistrationAnswer<'a> {
        /// Where to fetch the log.
        ha_address: Option<Cow<'a, str>> = "haServerAddr",
        /// Where the broker is that takes writes.
        master_address: Option<Cow<'a, str>> = "masterAddr",
    }
}

/// The answer to 103: its header, and keys that the broker may want to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registered {
    /// Where the log is; nothing for the replica that takes writes.
    pub header: RegistrationAnswer<'static>,
    /// Orders of topics, by topic; left out if there are none.
    pub orders: crate::KvTable,
}

impl Answer for Registered {
    fn fields(&self, to: &mut FieldWriter<'_>) {
        self.header.write_fields(to);
    }

    fn body(&self, out: &mut Vec<u8>) {
        if !self.orders.0.is_empty() {
            self.orders.body(out);
        }
    }
}

fields! {
    /// Names a broker.
    pub struct OfBroker<'a> {
        /// Which one.
        broker_name: Cow<'a, str> = "brokerName",
        /// Its cluster; unused by most.
        cluster: Cow<'a, str> = "clusterName" or Cow::Borrowed(""),
    }
}

fields! {
    /// Names a topic to be forgotten.
    pub struct DropTopic<'a> {
        /// Which one.
        topic: Cow<'a, str> = "topic",
        /// Of the brokers of one cluster only.
        cluster: Option<Cow<'a, str>> = "clusterName",
    }
}

/// Code 217: adds a topic to brokers that are known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddTopic {
    /// Its name.
    pub topic: String,
    /// What each broker has of it.
    pub queues: Vec<QueueRoute>,
}

/// The answers to 205 and 327: how many topics of the broker it was about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TouchedTopics {
    /// These lost their write permission.
    Wiped(usize),
    /// These have it again.
    Added(usize),
}

impl Answer for TouchedTopics {
    fn fields(&self, to: &mut FieldWriter<'_>) {
        match self {
            Self::Wiped(count) => to.text("wipeTopicCount", &count.to_string()),
            Self::Added(count) => to.text("addTopicCount", &count.to_string()),
        }
    }
}

/// The answer to 901: the addresses of one broker. (In RocketMQ, `BrokerMemberGroup`.)
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrokerGroup(pub BrokerAddresses);

impl Answer for BrokerGroup {
    fn body(&self, out: &mut Vec<u8>) {
        ObjectWriter::write(out, |object| {
            object.object("brokerMemberGroup", |object| self.0.write(object));
        });
    }
}

/// The answer to 26 and 319: what a broker or a name server is set to, as Java properties.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SettingsText {
    /// When it was changed.
    pub version: DataVersion,
    /// Names and values.
    pub values: BTreeMap<String, String>,
}

impl Answer for SettingsText {
    fn fields(&self, to: &mut FieldWriter<'_>) {
        let mut version = Vec::new();
        self.version.write(&mut version);
        to.text("version", &String::from_utf8_lossy(&version));
    }

    fn body(&self, out: &mut Vec<u8>) {
        for (name, value) in &self.values {
            out.extend_from_slice(name.as_bytes());
            out.push(b'=');
            let escaped = value.replace('\\', "\\\\").replace('\n', "\\n");
            out.extend_from_slice(escaped.as_bytes());
            out.push(b'\n');
        }
    }
}

/// What brokers, and tools about brokers, ask of a name server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Registry<'a> {
    /// Code 103.
    Register(RegisterBroker<'a>),
    /// Code 104.
    Unregister(UnregisterBroker<'a>),
    /// Code 904: a broker is still there.
    Heartbeat(BrokerIdentity<'a>),
    /// Code 322: a broker asks whether it is known as it is.
    QueryVersion(BrokerIdentity<'a>, DataVersion),
    /// Code 205: takes the write permission of a broker's topics in routes.
    WipeWrite(OfBroker<'a>),
    /// Code 327: gives it back.
    AddWrite(OfBroker<'a>),
    /// Code 216: forgets a topic.
    DropTopic(DropTopic<'a>),
    /// Code 217: adds a topic.
    AddTopic(AddTopic),
    /// Code 901: all addresses of one broker.
    Members(OfBroker<'a>),
    /// Code 319: what the name server is set to.
    Settings,
}

impl<'a> Registry<'a> {
    /// Understands a request; `None` if its code is not one of these.
    pub(crate) fn decode(
        header: &Header<'a>,
        body: &'a [u8],
    ) -> Option<Result<Self, RequestError>> {
        let fields = &header.fields;
        let made = match header.request_code() {
            RequestCode::REGISTER_BROKER => {
                return Some(RegisterBroker::decode(fields, body).map(Self::Register));
            }
            RequestCode::QUERY_DATA_VERSION => return Some(query_version(fields, body)),
            RequestCode::REGISTER_TOPIC_IN_NAMESRV => return Some(add_topic(fields, body)),
            RequestCode::UNREGISTER_BROKER => fields.read().map(Self::Unregister),
            RequestCode::BROKER_HEARTBEAT => fields.read().map(Self::Heartbeat),
            RequestCode::WIPE_WRITE_PERM_OF_BROKER => fields.read().map(Self::WipeWrite),
            RequestCode::ADD_WRITE_PERM_OF_BROKER => fields.read().map(Self::AddWrite),
            RequestCode::DELETE_TOPIC_IN_NAMESRV => fields.read().map(Self::DropTopic),
            RequestCode::GET_BROKER_MEMBER_GROUP => fields.read().map(Self::Members),
            RequestCode::GET_NAMESRV_CONFIG => Ok(Self::Settings),
            _ => return None,
        };
        Some(made.map_err(Into::into))
    }
}

/// A route through hundreds of brokers.
const ADDED_BYTES_MAX: usize = 64 << 10;

fn query_version<'a>(fields: &Fields<'a>, body: &[u8]) -> Result<Registry<'a>, RequestError> {
    let broker = fields.read()?;
    let version = match body {
        [] => DataVersion::default(),
        body => DataVersion::read(Some(Json::parse(body)?.root())),
    };
    Ok(Registry::QueryVersion(broker, version))
}

fn add_topic<'a>(fields: &Fields<'a>, body: &[u8]) -> Result<Registry<'a>, RequestError> {
    let topic = fields.get("topic").ok_or(crate::FieldsError::Missing("topic"))?;
    if body.is_empty() || body.len() > ADDED_BYTES_MAX {
        return Err(BodyError::Missing("queueDatas").into());
    }
    let queues = TopicRoute::decode(body)?.queues;
    Ok(Registry::AddTopic(AddTopic { topic: topic.into_owned(), queues }))
}

#[cfg(test)]
mod tests;
