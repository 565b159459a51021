use super::{Answer, field_answers};
use crate::fields::fields;
use crate::json::{BodyError, Json, Node, ObjectWriter, push_text};

fields! {
    /// The answer to a heartbeat.
    pub struct HeartbeatAnswer {
        /// Whether heartbeats may leave out what has not changed.
        supports_v2: bool = "IS_SUPPORT_HEART_BEAT_V2" or false,
        /// Whether the subscriptions must be sent again.
        subscriptions_changed: bool = "IS_SUB_CHANGE" or true,
    }
}

field_answers! {
    HeartbeatAnswer,
}

/// The client ids of a group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConsumerList(pub Vec<String>);

impl ConsumerList {
    /// Reads the answer's body.
    pub fn decode(body: &[u8]) -> Result<Self, BodyError> {
        let json = Json::parse_answer(body)?;
        let ids = json.root().items_of("consumerIdList").filter_map(Node::text);
        Ok(Self(ids.map(str::to_owned).collect()))
    }
}

impl Answer for ConsumerList {
    fn body(&self, out: &mut Vec<u8>) {
        ObjectWriter::write(out, |object| {
            object.list("consumerIdList", &self.0, |out, id| push_text(out, id));
        });
    }
}
