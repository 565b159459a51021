use std::borrow::Cow;

use super::calls;
use crate::fields::fields;
use crate::{Fields, Header, RequestCode, RequestError};

fields! {
    /// Names a producer group.
    pub struct OfProducers<'a> {
        /// Which one.
        group: Cow<'a, str> = "producerGroup",
    }
}

fields! {
    /// Names a member of a consumer group, whose inner state is asked for.
    pub struct OfMember<'a> {
        /// Its group.
        group: Cow<'a, str> = "consumerGroup",
        /// Which member.
        client_id: Cow<'a, str> = "clientId",
        /// Whether it shall tell what its threads do.
        threads: bool = "jstackEnable" or false,
    }
}

calls! {
    OfMember<'a> = GET_CONSUMER_RUNNING_INFO,
}

fields! {
    /// Names a group and perhaps one of its topics.
    pub struct OfSubscription<'a> {
        /// Which group.
        group: Cow<'a, str> = "group",
        /// In which topic.
        topic: Cow<'a, str> = "topic",
    }
}

fields! {
    /// Copies the offsets of one group to another. (In RocketMQ, `CloneGroupOffsetRequestHeader`.)
    pub struct CloneOffsets<'a> {
        /// From this group.
        from: Cow<'a, str> = "srcGroup",
        /// To this one.
        to: Cow<'a, str> = "destGroup",
        /// One topic only; all of the group's if absent.
        topic: Option<Cow<'a, str>> = "topic",
    }
}

/// What tools ask about clients that are connected, and about what a broker is set to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Inquiry<'a> {
    /// Code 204: the members of a producer group.
    Producers(OfProducers<'a>),
    /// Code 328: all producers.
    AllProducers,
    /// Code 307: the inner state of a consumer, which it tells itself.
    RunningInfo(OfMember<'a>),
    /// Code 345: what a group wants of a topic.
    Subscription(OfSubscription<'a>),
    /// Code 314: copies a group's offsets.
    CloneOffsets(CloneOffsets<'a>),
    /// Code 43: all offsets of all groups.
    AllOffsets,
    /// Code 26: what the broker is set to.
    Settings,
    /// Code 25: changes that; Java properties.
    SetSettings(Vec<(String, String)>),
}

impl<'a> Inquiry<'a> {
    /// Understands a request; `None` if its code is not one of these.
    pub(crate) fn decode(header: &Header<'a>, body: &[u8]) -> Option<Result<Self, RequestError>> {
        let fields: &Fields<'a> = &header.fields;
        let made = match header.request_code() {
            RequestCode::GET_PRODUCER_CONNECTION_LIST => fields.read().map(Self::Producers),
            RequestCode::GET_ALL_PRODUCER_INFO => Ok(Self::AllProducers),
            RequestCode::GET_CONSUMER_RUNNING_INFO => fields.read().map(Self::RunningInfo),
            RequestCode::QUERY_SUBSCRIPTION_BY_CONSUMER => fields.read().map(Self::Subscription),
            RequestCode::CLONE_GROUP_OFFSET => fields.read().map(Self::CloneOffsets),
            RequestCode::GET_ALL_CONSUMER_OFFSET => Ok(Self::AllOffsets),
            RequestCode::GET_BROKER_CONFIG => Ok(Self::Settings),
            RequestCode::UPDATE_BROKER_CONFIG => Ok(Self::SetSettings(properties(body))),
            _ => return None,
        };
        Some(made.map_err(Into::into))
    }
}

/// Names and values of Java properties; what is not one is passed over, as in Java.
fn properties(body: &[u8]) -> Vec<(String, String)> {
    let text = String::from_utf8_lossy(body);
    let lines = text.lines().map(str::trim).filter(|line| !line.starts_with(['#', '!']));
    let pairs = lines.filter_map(|line| line.split_once(['=', ':']));
    pairs.map(|(name, value)| (name.trim().to_owned(), value.trim().to_owned())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn properties_are_pairs() {
        let pairs = properties(b"#c\na = 1\n\nb:2\nnone\n");
        assert_eq!(pairs, [("a".into(), "1".into()), ("b".into(), "2".into())]);
    }
}
