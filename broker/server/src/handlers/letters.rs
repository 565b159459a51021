use std::borrow::Cow;

use millrace_engine as engine;
use millrace_engine::{DEAD_PREFIX, RETRY_PREFIX, Request};
use millrace_protocol::{Done, ResponseCode, SendBack, SendMessage};
use millrace_types::{GroupName, Properties, QueueId, TopicName, keys};

use crate::core::Needs;
use crate::dispatch::Exchange;
use crate::handlers::send;
use crate::waiting::Awaited;

/// The first version of clients that know their own limit. (`MQVersion.V3_4_9`)
const OWN_LIMIT_VERSION: i32 = 121;

/// Code 36.
pub(crate) fn send_back(exchange: &mut Exchange<'_, '_>, request: &SendBack<'_>) {
    let Ok(group) = GroupName::parse(&request.group) else {
        let remark = format!("subscription group not exist, {}", request.group);
        return exchange.refuse(ResponseCode::SUBSCRIPTION_GROUP_NOT_EXIST, remark);
    };
    let rules = exchange.shell.rules.get(group.as_str());
    let Ok(retry_queues @ 1..) = u32::try_from(rules.retry_queues) else {
        // As set: this group gets nothing twice.
        return exchange.answer(&Done);
    };
    let reconsume_max = reconsume_max(exchange, group.as_str(), request.max_reconsume_times);
    let request = Request::SendBack(engine::SendBack {
        group: &group,
        at: request.physical_offset,
        origin_topic: request.origin_topic.as_deref(),
        delay_level: request.delay_level,
        reconsume_max,
        retry_queues,
    });
    exchange.shell.needs = Needs::Durable;
    exchange.later(Awaited::Done, None, request);
}

/// The consumer's own limit, or that of its group.
fn reconsume_max(exchange: &Exchange<'_, '_>, group: &str, own: Option<i32>) -> i32 {
    let own = own.filter(|_| exchange.version >= OWN_LIMIT_VERSION);
    own.unwrap_or_else(|| exchange.shell.rules.get(group).retry_max)
}

/// What a consumer sends to the retry topic of a group itself; the topic is created if need be,
/// whatever is set for others.
pub(crate) fn send_to_group(exchange: &mut Exchange<'_, '_>, sent: &SendMessage<'_>) {
    let letter = dead_letter(exchange, sent);
    let sent = letter.as_ref().unwrap_or(sent);
    let group = sent.topic.strip_prefix(RETRY_PREFIX);
    let queues = group.map_or(1, |group| exchange.shell.rules.get(group).retry_queues);
    if let Ok(topic) = TopicName::parse(&sent.topic) {
        let known = exchange.ask(Request::DescribeTopic { topic: topic.as_str() });
        if known.is_err() {
            let queues = u32::try_from(queues).unwrap_or(1).max(1);
            exchange.tell(Request::EnsureTopic { topic: &topic, queues });
        }
    }
    send::store(exchange, sent);
}

/// What a consumer sends to a retry topic itself, because it could not send it back or consumes in
/// order, may have failed often enough: then it becomes a dead letter.
///
/// A consumer that consumes in order sends a message only after its last failure, with the number
/// of failures so far; others send it with one more than that. RocketMQ makes everything a dead
/// letter while a group holds a lock, and so also what a group has failed at once that consumed
/// in order a minute ago.
fn dead_letter<'a>(exchange: &Exchange<'_, '_>, sent: &SendMessage<'a>) -> Option<SendMessage<'a>> {
    let group = sent.topic.strip_prefix(RETRY_PREFIX)?;
    let max = reconsume_max(exchange, group, sent.max_reconsume_times);
    let now_ms = exchange.step.now.mono_ms;
    let last = sent.reconsume_times >= max && exchange.shell.locks.is_ordered(now_ms, group);
    if sent.reconsume_times <= max && !last {
        return None;
    }
    let properties = Properties::new(sent.properties.as_bytes()).with(&[(keys::DELAY, Some("-1"))]);
    Some(SendMessage {
        topic: Cow::Owned(format!("{DEAD_PREFIX}{group}")),
        queue_id: Some(QueueId(0)),
        properties: Cow::Owned(String::from_utf8_lossy(properties.as_bytes()).into_owned()),
        ..sent.clone()
    })
}
