use millrace_engine::{Answer as Answered, Filter, Pull, PullHold, Request};
use millrace_protocol::{
    CallMode, GroupRules, MessageModel, PullAnswer, PullMessage, PullStatus, ResponseCode,
    Subscription, pull_flag,
};
use millrace_types::{GroupName, QueueId, QueueOffset};

use crate::clients::filter;
use crate::dispatch::Exchange;
use crate::waiting::Awaited;

/// No pull is held for longer: a client's own patience is 30 s.
const HOLD_MS_MAX: u64 = 60_000;
/// Most messages that one pull gives.
pub(crate) const MESSAGES_MAX: i32 = 4096;
/// What a pull gives that names no size, and what it gives at most. A Java client closes its
/// connection on frames above 16 MiB.
const BYTES: u64 = 256 << 10;
pub(crate) const BYTES_MAX: u64 = 4 << 20;

/// Codes 11 and 361.
pub(crate) fn pull(exchange: &mut Exchange<'_, '_>, request: &PullMessage<'_>) {
    let Ok(group) = GroupName::parse(&request.group) else {
        let remark = format!("the group[{}] is illegal", request.group);
        return exchange.refuse(ResponseCode::INVALID_PARAMETER, remark);
    };
    let rules = exchange.shell.rules.get(group.as_str());
    if !rules.consumes {
        let remark = format!("subscription group no permission, {group}");
        return exchange.refuse(ResponseCode::NO_PERMISSION, remark);
    }
    let filter = match wanted(exchange, request, rules) {
        Ok(filter) => exchange.shell.filters.narrow(filter, group.as_str(), &request.topic),
        Err((code, remark)) => return exchange.refuse(code, remark),
    };
    let (topic, queue) = (&*request.topic, request.queue_id);
    if let Some(next) = moved_to(exchange, &group, topic, queue) {
        let extent = exchange.step.engine.extent(topic, queue);
        let (min, max) = extent.map_or_else(|_| Default::default(), |it| (it.min, it.visible));
        let status = PullStatus::OffsetMoved;
        return exchange.answer(&PullAnswer { status, next, min, max, suggested_broker: 0 });
    }
    if request.has(pull_flag::COMMIT_OFFSET)
        && !exchange.shell.resets.is_pending(group.as_str(), topic, queue)
        && let Some(offset) = request.commit_offset
    {
        exchange.tell(Request::CommitOffset {
            group: &group,
            topic: &request.topic,
            queue: request.queue_id,
            offset,
        });
    }
    if exchange.mode == CallMode::Oneway {
        // Nobody waits for messages.
        return;
    }
    let is_there = || exchange.step.engine.has_topic(topic);
    let number = exchange.shell.shared.traffic.number(group.as_str(), topic, is_there);
    let asked = u64::try_from(request.suspend_ms).unwrap_or(0).min(HOLD_MS_MAX);
    let hold_ms = if request.has(pull_flag::SUSPEND) { asked } else { 0 };
    let bytes = request.bytes_max.and_then(|bytes| u64::try_from(bytes).ok());
    let pull = Pull {
        topic: &request.topic,
        queue: request.queue_id,
        // Every negative offset lies before the start, and so does 0 once there is a start.
        from: request.offset.unwrap_or(QueueOffset(0)),
        count_max: request.messages_max.clamp(1, MESSAGES_MAX) as usize,
        bytes_max: bytes.filter(|bytes| *bytes > 0).unwrap_or(BYTES).min(BYTES_MAX),
        filter,
        hold: PullHold::No,
        asker: Some(number.asker()),
    };
    exchange.pull_later(Awaited::Records(number), hold_ms, pull);
}

/// Where a member goes on whose group was moved; it is told once, and if it may read the queue.
fn moved_to(
    exchange: &mut Exchange<'_, '_>,
    group: &GroupName,
    topic: &str,
    queue: QueueId,
) -> Option<QueueOffset> {
    if !exchange.shell.resets.is_pending(group.as_str(), topic, queue)
        || !exchange.step.engine.may_pull(topic, queue)
    {
        return None;
    }
    let to = exchange.shell.resets.take(group.as_str(), topic, queue)?;
    // What was committed since is of somebody who is not told this way, and holds.
    let known = exchange.ask(Request::GroupOffset { group, topic, queue });
    matches!(known, Ok(Answered::GroupOffset(Some(known))) if known == to).then_some(to)
}

/// The filter of the request itself, or the one of the group's last heartbeat.
fn wanted(
    exchange: &Exchange<'_, '_>,
    request: &PullMessage<'_>,
    rules: GroupRules,
) -> Result<Filter, (ResponseCode, String)> {
    let PullMessage { group, topic, .. } = request;
    if request.has(pull_flag::SUBSCRIPTION) {
        let kind = request.expression_type.as_deref().filter(|kind| !kind.is_empty());
        let subscription = Subscription {
            topic: topic.to_string(),
            expression: request.subscription.as_deref().unwrap_or_default().to_owned(),
            expression_type: kind.unwrap_or("TAG").to_owned(),
            ..Subscription::default()
        };
        return filter(&subscription, &**exchange.step.engine.conditions())
            .map_err(|reason| (ResponseCode::SUBSCRIPTION_PARSE_FAILED, parse_failed(&reason)));
    }
    let clients = &exchange.shell.clients;
    if !clients.is_online(group) {
        let remark = format!("the consumer's group info not exist, group: {group}");
        return Err((ResponseCode::SUBSCRIPTION_NOT_EXIST, remark));
    }
    if !rules.broadcasts && clients.model(group) == Some(MessageModel::Broadcasting) {
        let remark = format!("the consumer group[{group}] can not consume by broadcast way");
        return Err((ResponseCode::NO_PERMISSION, remark));
    }
    let Some(known) = clients.subscription(group, topic) else {
        let remark =
            format!("the consumer's subscription not exist, group: {group}, topic: {topic}");
        return Err((ResponseCode::SUBSCRIPTION_NOT_EXIST, remark));
    };
    if known.said.version < request.subscription_version {
        let remark = "the consumer's subscription not latest".to_owned();
        return Err((ResponseCode::SUBSCRIPTION_NOT_LATEST, remark));
    }
    let filter = known.filter.clone();
    filter.map_err(|reason| (ResponseCode::SUBSCRIPTION_PARSE_FAILED, parse_failed(&reason)))
}

fn parse_failed(reason: &str) -> String {
    format!("parse the consumer's subscription failed: {reason}")
}
