use millrace_engine::{Permission, Request};
use millrace_protocol::{CreateTopic, ResponseCode};
use millrace_types::{TopicName, is_system_topic};

use crate::dispatch::Exchange;
use crate::waiting::Awaited;

/// The topic that producers name as the template of those to be created on the way. It exists in
/// routes only.
pub(crate) const TEMPLATE_TOPIC: &str = "TBW102";
/// Queues of the template: a topic created on the way gets no more.
pub(crate) const TEMPLATE_QUEUES: u32 = 8;

/// Topics of RocketMQ's own that nobody may send to.
const NO_SENDS: [&str; 6] = [
    "SCHEDULE_TOPIC_XXXX",
    "RMQ_SYS_TRANS_HALF_TOPIC",
    "RMQ_SYS_TRANS_OP_HALF_TOPIC",
    "TRANS_CHECK_MAX_TIME_TOPIC",
    "SELF_TEST_TOPIC",
    "OFFSET_MOVED_EVENT",
];

/// Whether no producer may send to a topic, whoever created it.
pub(crate) fn takes_no_sends(topic: &str) -> bool {
    NO_SENDS.contains(&topic)
}

fn is_reserved(topic: &TopicName) -> bool {
    let name = topic.as_str();
    is_system_topic(topic)
        || takes_no_sends(name)
        || name == TEMPLATE_TOPIC
        || name.starts_with("rmq_sys_")
}

/// Code 17.
pub(crate) fn create(exchange: &mut Exchange<'_, '_>, request: &CreateTopic<'_>) {
    let invalid = ResponseCode::INVALID_PARAMETER;
    let topic = match TopicName::parse(&request.topic) {
        Ok(topic) if is_reserved(&topic) => {
            let remark = format!("the topic[{topic}] is conflict with system topic");
            return exchange.refuse(invalid, remark);
        }
        Ok(topic) => topic,
        Err(error) => {
            let remark = format!("the specified topic is invalid: {error}");
            return exchange.refuse(invalid, remark);
        }
    };
    let numbers = [request.read_queues, request.write_queues].map(u32::try_from);
    let [Ok(read_queues @ 1..), Ok(write_queues @ 1..)] = numbers else {
        let remark = "a topic has at least 1 queue to read and 1 to write";
        return exchange.refuse(invalid, remark);
    };
    let Ok(bits @ 0..8) = u32::try_from(request.permission) else {
        let remark = format!("permission {} is none: 4 reads, 2 writes", request.permission);
        return exchange.refuse(invalid, remark);
    };
    let permission = Permission::from_bits(bits);
    let set = Request::SetTopic { topic: &topic, read_queues, write_queues, permission };
    exchange.later(Awaited::Done, None, set);
}
