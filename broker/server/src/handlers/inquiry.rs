use std::collections::BTreeMap;

use millrace_engine::Request;
use millrace_protocol::{
    AllOffsets, CallMode, CloneOffsets, DataVersion, Done, GroupSubscription, Inquiry, OfMember,
    ResponseCode, SettingsText,
};
use millrace_types::{GroupName, QueueId, QueueOffset, TopicName, is_system_topic};

use crate::dispatch::Exchange;
use crate::relays::Back;

/// What tools ask about clients that are connected, and about what a broker is set to.
pub(crate) fn answer(exchange: &mut Exchange<'_, '_>, request: &Inquiry<'_>) {
    match request {
        Inquiry::Producers(of) => match exchange.shell.producers.connections(&of.group) {
            Some(connections) => exchange.answer(&connections),
            None => {
                let remark = format!("the producer group[{}] not exist", of.group);
                exchange.refuse(ResponseCode::SYSTEM_ERROR, remark);
            }
        },
        Inquiry::AllProducers => {
            let all = exchange.shell.producers.all();
            exchange.answer(&all);
        }
        Inquiry::RunningInfo(of) => running_info(exchange, of),
        Inquiry::Subscription(of) => {
            let subscription = exchange.shell.clients.subscription(&of.group, &of.topic);
            let subscription = subscription.map(|known| known.said.clone());
            let (group, topic) = (of.group.to_string(), of.topic.to_string());
            exchange.answer(&GroupSubscription { group, topic, subscription });
        }
        Inquiry::CloneOffsets(request) => clone_offsets(exchange, request),
        Inquiry::AllOffsets => all_offsets(exchange),
        Inquiry::Settings => {
            let values = settings(exchange);
            exchange.answer(&SettingsText { version: DataVersion::default(), values });
        }
        Inquiry::SetSettings(wanted) => set(exchange, wanted),
    }
}

/// Code 307: only the client knows, so it is asked.
fn running_info(exchange: &mut Exchange<'_, '_>, of: &OfMember<'_>) {
    let OfMember { group, client_id, .. } = of;
    let Some(client) = exchange.shell.clients.connection(group, client_id) else {
        let remark = format!("The Consumer <{group}> <{client_id}> not online");
        return exchange.refuse(ResponseCode::SYSTEM_ERROR, remark);
    };
    if exchange.mode == CallMode::Oneway {
        return;
    }
    let (now_ms, to) = (exchange.step.now.mono_ms, exchange.to);
    if exchange.shell.relays.pass_on(now_ms, to, client, Back::AsIs, of) {
        *exchange.in_flight += 1;
    } else {
        exchange.refuse(ResponseCode::SYSTEM_BUSY, "too many tools ask clients at once");
    }
}

/// Code 314.
fn clone_offsets(exchange: &mut Exchange<'_, '_>, request: &CloneOffsets<'_>) {
    let Ok(to) = GroupName::parse(&request.to) else {
        let remark = format!("the group[{}] is illegal", request.to);
        return exchange.refuse(ResponseCode::INVALID_PARAMETER, remark);
    };
    let wanted = request.topic.as_deref().filter(|topic| !topic.is_empty());
    let offsets = exchange.step.engine.group_offsets();
    let of_group = offsets.filter(|(group, topic, ..)| {
        *group.as_str() == *request.from && wanted.is_none_or(|wanted| wanted == topic.as_str())
    });
    let found: Vec<(TopicName, QueueId, QueueOffset)> =
        of_group.map(|(_, topic, queue, offset)| (topic.clone(), queue, offset)).collect();
    for (topic, queue, offset) in found {
        let topic = topic.as_str();
        exchange.tell(Request::CommitOffset { group: &to, topic, queue, offset });
    }
    exchange.answer(&Done);
}

/// Code 43.
fn all_offsets(exchange: &mut Exchange<'_, '_>) {
    let mut all: BTreeMap<_, BTreeMap<_, _>> = BTreeMap::new();
    for (group, topic, queue, offset) in exchange.step.engine.group_offsets() {
        if !is_system_topic(topic) {
            let key = (topic.to_string(), group.to_string());
            all.entry(key).or_default().insert(queue, offset);
        }
    }
    exchange.answer(&AllOffsets(all));
}

/// What the broker is set to, by RocketMQ's names.
fn settings(exchange: &Exchange<'_, '_>) -> BTreeMap<String, String> {
    let names = &exchange.shell.names;
    let engine = exchange.step.engine.config();
    let flush = match exchange.shell.shared.mode {
        millrace_store::FlushMode::Sync => "SYNC_FLUSH",
        millrace_store::FlushMode::Async { .. } => "ASYNC_FLUSH",
    };
    let send_wait = exchange.shell.limits.send_wait_max.as_millis();
    let values = [
        ("autoCreateTopicEnable", names.auto_create_topics.to_string()),
        ("brokerClusterName", names.cluster.to_string()),
        ("brokerIP1", names.host.ip().to_string()),
        ("brokerId", "0".to_owned()),
        ("brokerName", names.broker.to_string()),
        ("brokerRole", "ASYNC_MASTER".to_owned()),
        ("defaultTopicQueueNums", names.template_queues.to_string()),
        ("enablePropertyFilter", "true".to_owned()),
        ("flushDiskType", flush.to_owned()),
        ("listenPort", names.host.port().to_string()),
        ("maxMessageSize", engine.message_bytes_max.to_string()),
        ("waitTimeMillsInSendQueue", send_wait.to_string()),
    ];
    values.map(|(key, value)| (key.to_owned(), value)).into()
}

/// Keys that no tool may set, in RocketMQ either.
const FORBIDDEN: [&str; 2] = ["configBlackList", "brokerConfigPath"];

/// Code 25. Nothing can be changed while the broker runs, and that is said instead of taking what
/// has no effect.
fn set(exchange: &mut Exchange<'_, '_>, wanted: &[(String, String)]) {
    let known = settings(exchange);
    for (key, value) in wanted {
        if FORBIDDEN.contains(&&**key) {
            let remark = "Can not update config in black list.";
            return exchange.refuse(ResponseCode::NO_PERMISSION, remark);
        }
        if known.get(key) != Some(value) {
            let remark = format!("`{key}` cannot be changed while the broker runs");
            return exchange.refuse(ResponseCode::SYSTEM_ERROR, remark);
        }
    }
    exchange.answer(&Done);
}
