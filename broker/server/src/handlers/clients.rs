use std::borrow::Cow;

use millrace_engine::{Answer as Answered, Request};
use millrace_protocol::{
    CheckClient, ConnectedClient, ConsumerList, ConsumerListByGroup, Done, Heartbeat,
    HeartbeatAnswer, ResponseCode, UnregisterClient,
};
use millrace_types::{GroupName, TopicName};

use crate::clients::filter;
use crate::dispatch::Exchange;

/// Code 34. Clients are never told that shorter heartbeats are understood, so each one says
/// everything.
pub(crate) fn heartbeat(exchange: &mut Exchange<'_, '_>, heartbeat: &Heartbeat) {
    let conditions = std::sync::Arc::clone(exchange.step.engine.conditions());
    let now_ms = exchange.step.now.mono_ms;
    let connection = exchange.caller.connection;
    if heartbeat.client_id.len() > CLIENT_ID_BYTES_MAX {
        let remark = format!("a client id has at most {CLIENT_ID_BYTES_MAX} bytes");
        return exchange.refuse(ResponseCode::INVALID_PARAMETER, remark);
    }
    let legal: Cow<'_, Heartbeat> = legal_groups(heartbeat);
    let clients = &mut exchange.shell.clients;
    let mut refused = clients.heartbeat(now_ms, connection, &legal, &*conditions);
    let client = ConnectedClient {
        client_id: legal.client_id.clone(),
        address: exchange.caller.peer.to_string(),
        language: exchange.language,
        version: exchange.version,
    };
    clients.describe(&legal, &client);
    let groups = legal.producer_groups.iter().filter(|group| GroupName::parse(group).is_ok());
    for group in groups {
        if !exchange.shell.producers.hear(exchange.step.now, group, connection, &client) {
            refused = Some("the broker remembers as many producers as it may");
        }
    }
    for consumer in &legal.consumers {
        if exchange.shell.clients.is_online(&consumer.group) {
            make_retry_topic(exchange, &consumer.group);
        }
    }
    match refused {
        Some(reason) => exchange.refuse(ResponseCode::SYSTEM_BUSY, reason),
        None => {
            let answer = HeartbeatAnswer { supports_v2: false, subscriptions_changed: true };
            exchange.answer(&answer);
        }
    }
}

/// Clients name themselves by address, process and a number; this is twenty times as much.
pub(crate) const CLIENT_ID_BYTES_MAX: usize = 1_024;

/// As in RocketMQ, a group whose name is illegal is passed over.
fn legal_groups(heartbeat: &Heartbeat) -> Cow<'_, Heartbeat> {
    let legal = |group: &str| GroupName::parse(group).is_ok();
    if heartbeat.consumers.iter().all(|consumer| legal(&consumer.group)) {
        return Cow::Borrowed(heartbeat);
    }
    let mut kept = heartbeat.clone();
    kept.consumers.retain(|consumer| legal(&consumer.group));
    Cow::Owned(kept)
}

/// Consumers look for the route of their retry topic, and tools find groups only by it.
pub(crate) fn make_retry_topic(exchange: &mut Exchange<'_, '_>, group: &str) {
    let Ok(topic) = TopicName::parse(&format!("%RETRY%{group}")) else {
        return;
    };
    let known = exchange.ask(Request::DescribeTopic { topic: topic.as_str() });
    if !matches!(known, Ok(Answered::Topic(_))) {
        let queues = exchange.shell.rules.get(group).retry_queues;
        let queues = u32::try_from(queues).unwrap_or(1).max(1);
        exchange.tell(Request::EnsureTopic { topic: &topic, queues });
    }
}

/// Code 35.
pub(crate) fn unregister(exchange: &mut Exchange<'_, '_>, request: &UnregisterClient<'_>) {
    if let Some(group) = &request.consumer_group {
        exchange.shell.clients.unregister(group, &request.client_id);
    }
    if let Some(group) = &request.producer_group {
        exchange.shell.producers.unregister(group, &request.client_id);
    }
    exchange.answer(&Done);
}

/// Code 46.
pub(crate) fn check(exchange: &mut Exchange<'_, '_>, request: &CheckClient) {
    let conditions = std::sync::Arc::clone(exchange.step.engine.conditions());
    match filter(&request.subscription, &*conditions) {
        Ok(_) => exchange.answer(&Done),
        Err(reason) => exchange.refuse(ResponseCode::SUBSCRIPTION_PARSE_FAILED, reason),
    }
}

/// Code 38.
pub(crate) fn list(exchange: &mut Exchange<'_, '_>, request: &ConsumerListByGroup<'_>) {
    let members = exchange.shell.clients.members(&request.group);
    if members.is_empty() {
        let remark = format!("no consumer for this group, {}", request.group);
        return exchange.refuse(ResponseCode::SYSTEM_ERROR, remark);
    }
    exchange.answer(&ConsumerList(members));
}
