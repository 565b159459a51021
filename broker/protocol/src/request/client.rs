use std::borrow::Cow;

use super::calls;
use crate::fields::fields;
use crate::json::{BodyError, Json, ObjectWriter};
use crate::{Call, FieldWriter, RequestCode, Subscription};

fields! {
    /// A client leaves a group.
    pub struct UnregisterClient<'a> {
        /// Who leaves.
        client_id: Cow<'a, str> = "clientID",
        /// The producer group it leaves.
        producer_group: Option<Cow<'a, str>> = "producerGroup",
        /// The consumer group it leaves.
        consumer_group: Option<Cow<'a, str>> = "consumerGroup",
    }
}

fields! {
    /// The client ids of a group. The answer is [`crate::ConsumerList`].
    pub struct ConsumerListByGroup<'a> {
        /// Which group.
        group: Cow<'a, str> = "consumerGroup",
    }
}

fields! {
    /// From a broker, oneway: the members or the subscriptions of a group have changed.
    pub struct GroupChanged<'a> {
        /// Which group.
        group: Cow<'a, str> = "consumerGroup",
    }
}

calls! {
    UnregisterClient<'a> = UNREGISTER_CLIENT,
    ConsumerListByGroup<'a> = GET_CONSUMER_LIST_BY_GROUP,
    GroupChanged<'a> = NOTIFY_CONSUMER_IDS_CHANGED,
}

/// Whether a subscription's expression is usable. (In RocketMQ, `CheckClientRequestBody`.)
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckClient {
    /// Who asks.
    pub client_id: String,
    /// For which group.
    pub group: String,
    /// What it wants to subscribe to.
    pub subscription: Subscription,
}

impl CheckClient {
    pub(super) fn decode(body: &[u8]) -> Result<Self, BodyError> {
        let json = Json::parse(body)?;
        let root = json.root();
        let subscription =
            root.get("subscriptionData").ok_or(BodyError::Missing("subscriptionData"))?;
        Ok(Self {
            client_id: root.text_of("clientId").to_owned(),
            group: root.text_of("group").to_owned(),
            subscription: Subscription::read(subscription)?,
        })
    }
}

impl Call for CheckClient {
    fn code(&self) -> RequestCode {
        RequestCode::CHECK_CLIENT_CONFIG
    }

    fn fields(&self, _to: &mut FieldWriter<'_>) {}

    fn body(&self, out: &mut Vec<u8>) {
        ObjectWriter::write(out, |object| {
            object.text("clientId", &self.client_id).text("group", &self.group);
            object.object("subscriptionData", |inner| self.subscription.write(inner));
        });
    }
}
