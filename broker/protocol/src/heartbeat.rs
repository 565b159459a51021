use millrace_types::java_hash;

use crate::json::{BodyError, Json, Node, ObjectWriter, push_text};
use crate::wire::push_decimal;
use crate::{Call, FieldWriter, RequestCode};

/// What a client says about itself every 30 s. (In RocketMQ, `HeartbeatData`.)
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Heartbeat {
    /// The client, which may hold several producers and consumers.
    pub client_id: String,
    /// Groups it produces in.
    pub producer_groups: Vec<String>,
    /// Groups it consumes in.
    pub consumers: Vec<ConsumerData>,
    /// Not 0: the second form of heartbeat, which leaves out what has not changed.
    pub fingerprint: i32,
    /// The subscriptions are left out; the last ones still hold.
    pub without_subscriptions: bool,
}

/// One consumer of a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsumerData {
    /// Its group.
    pub group: String,
    /// Who drives it.
    pub consume_type: ConsumeType,
    /// How the group shares its messages.
    pub message_model: MessageModel,
    /// Where it starts without an offset.
    pub consume_from: ConsumeFrom,
    /// What it wants; equal for all members of a group.
    pub subscriptions: Vec<Subscription>,
    /// Unused.
    pub unit_mode: bool,
}

/// One topic that a consumer wants. (In RocketMQ, `SubscriptionData`.)
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Subscription {
    /// Which topic.
    pub topic: String,
    /// `*`, or tags separated by `||`, or an SQL condition.
    pub expression: String,
    /// `TAG` or `SQL92`; a heartbeat without it means `TAG`.
    pub expression_type: String,
    /// The tags of the expression; none for `*` and for SQL.
    pub tags: Vec<String>,
    /// Their hashes; computed if the client left them out.
    pub codes: Vec<i32>,
    /// When the client made the subscription, ms; the higher version holds.
    pub version: i64,
}

impl Subscription {
    /// Whether both are the same but for their versions.
    pub fn wants_the_same(&self, other: &Self) -> bool {
        let Self { topic, expression, expression_type, tags, codes, version: _ } = self;
        (topic, expression, expression_type, tags, codes)
            == (&other.topic, &other.expression, &other.expression_type, &other.tags, &other.codes)
    }
}

macro_rules! wire_enum {
    (
        $(#[$meta:meta])*
        pub enum $name:ident { $($(#[$variant_meta:meta])* $variant:ident = $wire:literal $ordinal:literal,)* }
        else $default:ident
    ) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name {
            $($(#[$variant_meta])* $variant,)*
        }

        impl $name {
            /// RocketMQ's name of it.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $wire,)*
                }
            }

            /// By name, or by ordinal as C++ sends it.
            pub(crate) fn read(node: Option<Node<'_>>) -> Self {
                match node.and_then(Node::text) {
                    $(Some($wire | $ordinal) => Self::$variant,)*
                    _ => Self::$default,
                }
            }
        }
    };
}

wire_enum! {
    /// Who drives a consumer. Unknown names read as pull.
    pub enum ConsumeType {
        /// The application pulls.
        Pull = "CONSUME_ACTIVELY" "0",
        /// The client library pulls and calls the application.
        Push = "CONSUME_PASSIVELY" "1",
        /// The broker assigns messages.
        Pop = "CONSUME_POP" "2",
    } else Pull
}

wire_enum! {
    /// How a group shares its messages. Unknown names read as clustering.
    pub enum MessageModel {
        /// Every member gets every message and keeps its own offset.
        Broadcasting = "BROADCASTING" "0",
        /// Members share the messages.
        Clustering = "CLUSTERING" "1",
    } else Clustering
}

wire_enum! {
    /// Where a group without an offset starts. Unknown names read as the end.
    pub enum ConsumeFrom {
        /// At the end.
        LastOffset = "CONSUME_FROM_LAST_OFFSET" "0",
        /// Deprecated.
        LastOffsetThenMin = "CONSUME_FROM_LAST_OFFSET_AND_FROM_MIN_WHEN_BOOT_FIRST" "1",
        /// Deprecated.
        MinOffset = "CONSUME_FROM_MIN_OFFSET" "2",
        /// Deprecated.
        MaxOffset = "CONSUME_FROM_MAX_OFFSET" "3",
        /// At the start.
        FirstOffset = "CONSUME_FROM_FIRST_OFFSET" "4",
        /// At a time.
        Timestamp = "CONSUME_FROM_TIMESTAMP" "5",
    } else LastOffset
}

impl Heartbeat {
    pub(crate) fn decode(body: &[u8]) -> Result<Self, BodyError> {
        let json = Json::parse(body)?;
        let root = json.root();
        let client_id = root.text_of("clientID");
        if client_id.is_empty() {
            return Err(BodyError::Missing("clientID"));
        }
        let groups = root.items_of("producerDataSet").map(|item| item.text_of("groupName"));
        let consumers = root.items_of("consumerDataSet").map(ConsumerData::read);
        Ok(Self {
            client_id: client_id.to_owned(),
            producer_groups: groups.filter(|group| !group.is_empty()).map(str::to_owned).collect(),
            consumers: consumers.collect::<Result<_, _>>()?,
            fingerprint: root.int_of("heartbeatFingerprint").unwrap_or(0),
            without_subscriptions: root.flag_of("withoutSub"),
        })
    }
}

impl ConsumerData {
    fn read(node: Node<'_>) -> Result<Self, BodyError> {
        let group = node.text_of("groupName");
        if group.is_empty() {
            return Err(BodyError::Missing("groupName"));
        }
        let subscriptions = node.items_of("subscriptionDataSet").map(Subscription::read);
        Ok(Self {
            group: group.to_owned(),
            consume_type: ConsumeType::read(node.get("consumeType")),
            message_model: MessageModel::read(node.get("messageModel")),
            consume_from: ConsumeFrom::read(node.get("consumeFromWhere")),
            subscriptions: subscriptions.collect::<Result<_, _>>()?,
            unit_mode: node.flag_of("unitMode"),
        })
    }

    fn write(&self, out: &mut Vec<u8>) {
        ObjectWriter::write(out, |object| {
            object.text("consumeFromWhere", self.consume_from.name());
            object.text("consumeType", self.consume_type.name());
            object.text("groupName", &self.group).text("messageModel", self.message_model.name());
            object.list("subscriptionDataSet", &self.subscriptions, |out, subscription| {
                ObjectWriter::write(out, |object| subscription.write(object));
            });
            object.flag("unitMode", self.unit_mode);
        });
    }
}

impl Subscription {
    pub(crate) fn read(node: Node<'_>) -> Result<Self, BodyError> {
        let topic = node.text_of("topic");
        if topic.is_empty() {
            return Err(BodyError::Missing("topic"));
        }
        let expression_type = match node.text_of("expressionType") {
            "" => "TAG",
            other => other,
        };
        let tags: Vec<String> =
            node.items_of("tagsSet").filter_map(Node::text).map(str::to_owned).collect();
        let mut codes: Vec<i32> = node.items_of("codeSet").filter_map(Node::int).collect();
        if codes.is_empty() {
            codes = tags.iter().map(|tag| java_hash(tag)).collect();
        }
        Ok(Self {
            topic: topic.to_owned(),
            expression: node.text_of("subString").to_owned(),
            expression_type: expression_type.to_owned(),
            tags,
            codes,
            version: node.int_of("subVersion").unwrap_or(0),
        })
    }

    pub(crate) fn write(&self, object: &mut ObjectWriter<'_>) {
        object.flag("classFilterMode", false);
        object.list("codeSet", &self.codes, |out, code| push_decimal(out, i64::from(*code)));
        object.text("expressionType", &self.expression_type).text("subString", &self.expression);
        object.int("subVersion", self.version);
        object.list("tagsSet", &self.tags, |out, tag| push_text(out, tag));
        object.text("topic", &self.topic);
    }
}

impl Call for Heartbeat {
    fn code(&self) -> RequestCode {
        RequestCode::HEART_BEAT
    }

    fn fields(&self, _to: &mut FieldWriter<'_>) {}

    fn body(&self, out: &mut Vec<u8>) {
        ObjectWriter::write(out, |object| {
            object.text("clientID", &self.client_id);
            object.list("consumerDataSet", &self.consumers, |out, consumer| consumer.write(out));
            object.int("heartbeatFingerprint", i64::from(self.fingerprint));
            object.list("producerDataSet", &self.producer_groups, |out, group| {
                ObjectWriter::write(out, |object| {
                    object.text("groupName", group);
                });
            });
            object.flag("withoutSub", self.without_subscriptions);
        });
    }
}

#[cfg(test)]
mod tests;
