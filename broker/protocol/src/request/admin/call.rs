//! What tools ask, as requests that can be written.

use super::Admin;
use crate::{Call, FieldWriter, RequestCode};

impl Call for Admin<'_> {
    fn code(&self) -> RequestCode {
        match self {
            Self::PutGroup(_) => RequestCode::UPDATE_AND_CREATE_SUBSCRIPTIONGROUP,
            Self::DeleteGroup(_) => RequestCode::DELETE_SUBSCRIPTIONGROUP,
            Self::GetGroup(_) => RequestCode::GET_SUBSCRIPTIONGROUP_CONFIG,
            Self::AllGroups => RequestCode::GET_ALL_SUBSCRIPTIONGROUP_CONFIG,
            Self::RuntimeInfo => RequestCode::GET_BROKER_RUNTIME_INFO,
            Self::TopicStats(_) => RequestCode::GET_TOPIC_STATS_INFO,
            Self::ConsumerConnections(_) => RequestCode::GET_CONSUMER_CONNECTION_LIST,
            Self::ConsumeStats(_) => RequestCode::GET_CONSUME_STATS,
            Self::ResetOffset(_) => RequestCode::INVOKE_BROKER_TO_RESET_OFFSET,
            Self::ConsumersOf(_) => RequestCode::QUERY_TOPIC_CONSUME_BY_WHO,
            Self::TopicsOf(_) => RequestCode::QUERY_TOPICS_BY_CONSUMER,
            Self::DeleteTopic(_) => RequestCode::DELETE_TOPIC_IN_BROKER,
            Self::TopicConfig(_) => RequestCode::GET_TOPIC_CONFIG,
            Self::AllTopics(_) => RequestCode::GET_ALL_TOPIC_CONFIG,
            Self::SystemTopics => RequestCode::GET_SYSTEM_TOPIC_LIST_FROM_BROKER,
            Self::PutKv(_) => RequestCode::PUT_KV_CONFIG,
            Self::GetKv(_) => RequestCode::GET_KV_CONFIG,
            Self::DeleteKv(_) => RequestCode::DELETE_KV_CONFIG,
            Self::ListKv(_) => RequestCode::GET_KVLIST_BY_NAMESPACE,
            Self::TopicNames => RequestCode::GET_ALL_TOPIC_LIST_FROM_NAMESERVER,
            Self::ClusterTopics(_) => RequestCode::GET_TOPICS_BY_CLUSTER,
            Self::ReservedNames => RequestCode::GET_SYSTEM_TOPIC_LIST_FROM_NS,
        }
    }

    fn fields(&self, to: &mut FieldWriter<'_>) {
        match self {
            Self::PutGroup(_)
            | Self::AllGroups
            | Self::RuntimeInfo
            | Self::SystemTopics
            | Self::TopicNames
            | Self::ReservedNames => {}
            Self::AllTopics(page) => page.write_fields(to),
            Self::DeleteGroup(group) => group.write_fields(to),
            Self::GetGroup(group) | Self::TopicsOf(group) => group.write_fields(to),
            Self::TopicStats(topic)
            | Self::ConsumersOf(topic)
            | Self::TopicConfig(topic)
            | Self::DeleteTopic(topic) => {
                topic.write_fields(to);
            }
            Self::ConsumerConnections(group) | Self::ConsumeStats(group) => group.write_fields(to),
            Self::ResetOffset(reset) => reset.write_fields(to),
            Self::PutKv(entry)
            | Self::GetKv(entry)
            | Self::DeleteKv(entry)
            | Self::ListKv(entry) => entry.write_fields(to),
            Self::ClusterTopics(cluster) => cluster.write_fields(to),
        }
    }

    fn body(&self, out: &mut Vec<u8>) {
        if let Self::PutGroup(group) = self {
            out.extend_from_slice(group.json.as_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        CallMode, Frame, HeaderKind, Limits, OfPage, OfTopic, Request, ResetOffset, Split,
    };

    #[track_caller]
    fn comes_back(asked: &Admin<'_>) {
        let mut bytes = Vec::new();
        asked.write(HeaderKind::Json, 1, CallMode::Answered, &mut bytes);
        let Ok(Split::Frame(frame, _)) = Frame::split(&bytes, &Limits::default()) else {
            panic!("no frame");
        };
        let header = frame.header().unwrap();
        assert_eq!(Request::decode(&header, frame.body), Ok(Request::Admin(asked.clone())));
    }

    #[test]
    fn what_a_tool_asks_is_read_back() {
        comes_back(&Admin::TopicStats(OfTopic { topic: "T1".into() }));
        comes_back(&Admin::AllTopics(OfPage { first: 2000, topics_max: Some(1000) }));
        comes_back(&Admin::ResetOffset(ResetOffset {
            group: "G".into(),
            topic: "T1".into(),
            queue_id: -1,
            offset: None,
            timestamp_ms: 17,
            force: true,
        }));
        let json = r#"{"groupName":"G","consumeEnable":false}"#;
        let rules = crate::GroupRules { consumes: false, ..Default::default() };
        let group = crate::GroupConfig { group: "G".into(), rules, json };
        comes_back(&Admin::PutGroup(group));
    }
}
