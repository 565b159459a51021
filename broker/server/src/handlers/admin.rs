use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use millrace_engine::{Answer as Answered, Engine, Request, Space, Topic};
use millrace_protocol::{
    Admin, Answer, GroupConfig, GroupConfigs, GroupNames, GroupProgress, MessageQueue, MovedTo,
    OfConsumers, QueueProgress, QueueStats, ResetOffset, ResponseCode, StoredGroupConfig,
    TopicConfig, TopicConfigs, TopicNames, TopicStats,
};
use millrace_types::{
    GroupName, QueueId, QueueOffset, SYSTEM_TOPICS, TopicName, is_reserved_topic, is_system_topic,
};

use crate::dispatch::Exchange;
use crate::handlers::clients::make_retry_topic;
use crate::handlers::offsets::write_lookup_error;
use crate::handlers::{figures, topics};
use crate::lookup::{Lookup, LookupError};
use crate::reactor::Output;
use crate::waiting::Awaited;

/// Requests of tools to a broker; others are not for it.
pub(crate) fn answer(exchange: &mut Exchange<'_, '_>, request: &Admin<'_>) {
    match request {
        Admin::PutGroup(config) => put_group(exchange, config),
        Admin::DeleteGroup(request) => {
            let (space, key) = (Space::Group, &*request.group);
            exchange.later(Awaited::Done, None, Request::PutSetting { space, key, value: None });
            if exchange.step.engine.setting(space, key).is_none() {
                exchange.shell.rules.remove(key);
                exchange.ask_again(|group, _| group == key);
            }
        }
        Admin::GetGroup(request) => get_group(exchange, &request.group),
        Admin::AllGroups => {
            let all = exchange.step.engine.settings(Space::Group);
            let all = all.map(|(group, config)| (group.to_owned(), config.to_owned()));
            let all = GroupConfigs(all.collect());
            exchange.answer(&all);
        }
        Admin::RuntimeInfo => figures::runtime_info(exchange),
        Admin::TopicStats(request) => topic_stats(exchange, &request.topic),
        Admin::ConsumerConnections(request) => connections(exchange, &request.group),
        Admin::ConsumeStats(request) => consume_stats(exchange, request),
        Admin::ResetOffset(request) => reset(exchange, request),
        Admin::ConsumersOf(request) => consumers_of(exchange, &request.topic),
        Admin::TopicsOf(request) => topics_of(exchange, &request.group),
        Admin::DeleteTopic(request) => {
            let topic = &*request.topic;
            if TopicName::parse(topic).is_ok_and(|topic| is_reserved_topic(&topic)) {
                let remark = format!("The topic[{topic}] is conflict with system topic.");
                return exchange.refuse(ResponseCode::INVALID_PARAMETER, remark);
            }
            let was_there = exchange.step.engine.has_topic(topic);
            exchange.later(Awaited::Done, None, Request::DeleteTopic { topic });
            if was_there && !exchange.step.engine.has_topic(topic) {
                exchange.shell.filters.forget_topic(topic);
                exchange.shell.resets.forget_topic(topic);
            }
        }
        Admin::TopicConfig(request) => match described(exchange, &request.topic) {
            Some(topic) => {
                let topic = shown(exchange.step.engine, &topic);
                exchange.answer(&topic);
            }
            None => no_topic(exchange, &request.topic),
        },
        Admin::AllTopics(page) => {
            let engine = &exchange.step.engine;
            let topics = || engine.topics().filter(|topic| !is_system_topic(&topic.name));
            let first = usize::try_from(page.first).unwrap_or(0);
            let most = page.topics_max.map(|most| usize::try_from(most).unwrap_or(0));
            let wanted = topics().skip(first).take(most.unwrap_or(usize::MAX));
            let wanted = wanted.map(|topic| shown(engine, topic));
            let topics = TopicConfigs::page(topics().count(), wanted);
            exchange.answer(&topics);
        }
        Admin::SystemTopics => {
            let topics = exchange.step.engine.topics();
            let own = topics.filter(|topic| is_reserved_topic(&topic.name));
            let mut names: BTreeSet<String> = own.map(|topic| topic.name.to_string()).collect();
            names.extend(SYSTEM_TOPICS.map(str::to_owned));
            exchange.answer(&TopicNames { broker: None, names: names.into_iter().collect() });
        }
        other => {
            let remark = format!("{other:?} is not for a broker");
            exchange.refuse(ResponseCode::REQUEST_CODE_NOT_SUPPORTED, remark);
        }
    }
}

pub(super) fn described(exchange: &mut Exchange<'_, '_>, topic: &str) -> Option<Topic> {
    match exchange.ask(Request::DescribeTopic { topic }) {
        Ok(Answered::Topic(topic)) => Some(topic),
        _ => None,
    }
}

pub(super) fn no_topic(exchange: &mut Exchange<'_, '_>, topic: &str) {
    let remark = format!("topic[{topic}] not exist");
    exchange.refuse(ResponseCode::TOPIC_NOT_EXIST, remark);
}

/// A topic as tools and name servers see it.
pub(crate) fn config(topic: &Topic) -> TopicConfig {
    TopicConfig {
        topic: topic.name.to_string(),
        read_queues: topic.read_queues,
        write_queues: topic.write_queues,
        permission: topic.permission.to_bits(),
        order: topic.order,
        ..TopicConfig::default()
    }
}

/// The same with its attributes, for tools.
fn shown(engine: &Engine, topic: &Topic) -> TopicConfig {
    let attributes = engine.setting(Space::Topic, topic.name.as_str()).unwrap_or_default();
    let pairs = topics::attributes(attributes);
    let owned = pairs.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned()));
    TopicConfig { attributes: owned.collect(), ..config(topic) }
}

/// Code 200. What is not obeyed is kept and shown.
fn put_group(exchange: &mut Exchange<'_, '_>, config: &GroupConfig<'_>) {
    let invalid = ResponseCode::INVALID_PARAMETER;
    if let Err(error) = GroupName::parse(&config.group) {
        return exchange.refuse(invalid, format!("the group is illegal: {error}"));
    }
    let (space, key, value) = (Space::Group, &*config.group, Some(config.json));
    exchange.later(Awaited::Done, None, Request::PutSetting { space, key, value });
    // What the engine has refused is not obeyed either.
    if exchange.step.engine.setting(space, key) == value {
        exchange.shell.rules.put(key, config.rules);
        exchange.ask_again(|group, _| group == key);
        // Tools find a group by the route of its retry topic.
        make_retry_topic(exchange, key);
    }
}

/// Code 352.
fn get_group(exchange: &mut Exchange<'_, '_>, group: &str) {
    let known = exchange.step.engine.setting(Space::Group, group).map(str::to_owned);
    match known {
        Some(config) => exchange.answer(&StoredGroupConfig(config)),
        None => {
            let remark = format!("the consumer group[{group}] not exist");
            exchange.refuse(ResponseCode::SUBSCRIPTION_GROUP_NOT_EXIST, remark);
        }
    }
}

/// Makes the answer on a reader's thread, because store times are in the messages.
pub(super) fn answer_from_log<A: Answer>(
    exchange: &mut Exchange<'_, '_>,
    make: impl FnOnce(&Lookup) -> Result<A, LookupError> + Send + 'static,
) {
    let (lookup, to) = (Lookup::new(&exchange.shell.shared), exchange.to);
    exchange.job(move || {
        let mut output = Output::default();
        match make(&lookup) {
            Ok(answer) => output.write(|out| answer.write(to.kind, to.opaque, out)),
            Err(error) => write_lookup_error(&error, to, &mut output),
        }
        output
    });
}

/// Code 202.
fn topic_stats(exchange: &mut Exchange<'_, '_>, topic: &str) {
    let Some(topic) = described(exchange, topic) else {
        return no_topic(exchange, topic);
    };
    let broker = exchange.shell.names.broker.to_string();
    let minute_ago_ms = exchange.step.now.wall_ms - 60_000;
    answer_from_log(exchange, move |lookup| {
        let (name, mut queues, mut stored) = (topic.name.as_str(), Vec::new(), 0);
        for queue in (0..topic.read_queues.max(topic.write_queues)).map(QueueId) {
            let (min, max) = lookup.visible(name, queue)?;
            let updated_at_ms = lookup.stored_before(name, queue, max)?.unwrap_or(0);
            if updated_at_ms >= minute_ago_ms {
                let first = lookup.first_stored_from(name, queue, minute_ago_ms)?;
                stored += max.0.saturating_sub(first.0);
            }
            let queue = queue_of(&broker, name, queue);
            queues.push(QueueStats { queue, min, max, updated_at_ms });
        }
        Ok(TopicStats { queues, put_tps: stored as f64 / 60.0 })
    });
}

fn queue_of(broker: &str, topic: &str, queue_id: QueueId) -> MessageQueue {
    MessageQueue { topic: topic.to_owned(), broker_name: broker.to_owned(), queue_id }
}

/// Code 203.
fn connections(exchange: &mut Exchange<'_, '_>, group: &str) {
    match exchange.shell.clients.connections(group) {
        Some(connections) => exchange.answer(&connections),
        None => {
            let remark = format!("the consumer group[{group}] not online");
            exchange.refuse(ResponseCode::CONSUMER_NOT_ONLINE, remark);
        }
    }
}

/// Code 208.
fn consume_stats(exchange: &mut Exchange<'_, '_>, request: &OfConsumers<'_>) {
    let wanted = request.topic.as_deref().filter(|topic| !topic.is_empty());
    let offsets = exchange.step.engine.group_offsets();
    let of_group = offsets.filter(|(group, ..)| group.as_str() == request.group);
    let mut committed: BTreeMap<String, BTreeMap<QueueId, QueueOffset>> = BTreeMap::new();
    for (_, topic, queue, offset) in of_group {
        if wanted.is_none_or(|wanted| wanted == topic.as_str()) {
            committed.entry(topic.to_string()).or_default().insert(queue, offset);
        }
    }
    let mut asked = Vec::new();
    // As in RocketMQ, a topic that the group has subscribed to no longer does not count.
    committed.retain(|topic, _| !exchange.shell.clients.has_left(&request.group, topic));
    for (topic, committed) in committed {
        if let Some(topic) = described(exchange, &topic) {
            asked.push((topic, committed));
        }
    }
    let broker = exchange.shell.names.broker.to_string();
    let (shell, now) = (&exchange.shell, exchange.step.now);
    let given = shell.shared.traffic.given_to(&request.group);
    let consume_tps = shell.history.given_rate(now, &given);
    answer_from_log(exchange, move |lookup| {
        let mut all = Vec::new();
        for (topic, offsets) in asked {
            let name = topic.name.as_str();
            for queue in (0..topic.read_queues).map(QueueId) {
                let committed = offsets.get(&queue).copied().unwrap_or(QueueOffset(0));
                let (_, end) = lookup.visible(name, queue)?;
                let until = lookup.stored_before(name, queue, committed)?;
                all.push(QueueProgress {
                    queue: queue_of(&broker, name, queue),
                    end,
                    committed,
                    consumed_until_ms: until.unwrap_or(0),
                });
            }
        }
        Ok(GroupProgress { queues: all, consume_tps })
    });
}

/// Code 222. The offsets are moved at the broker; members are told with their next pull of each
/// queue, and what they commit before that is not taken. As in RocketMQ 5, it does not matter whether
/// any are known to be there, nor whether it is forced.
fn reset(exchange: &mut Exchange<'_, '_>, request: &ResetOffset<'_>) {
    let Some(topic) = described(exchange, &request.topic) else {
        return no_topic(exchange, &request.topic);
    };
    let group = match GroupName::parse(&request.group) {
        Ok(group) => group,
        Err(error) => {
            let remark = format!("the group is illegal: {error}");
            return exchange.refuse(ResponseCode::INVALID_PARAMETER, remark);
        }
    };
    let resets = Arc::clone(&exchange.shell.resets);
    let queues: Vec<QueueId> = match u32::try_from(request.queue_id) {
        Ok(queue) if queue < topic.read_queues => vec![QueueId(queue)],
        Ok(queue) => {
            let remark = format!("queueId[{queue}] is illegal");
            return exchange.refuse(ResponseCode::INVALID_PARAMETER, remark);
        }
        Err(_) => (0..topic.read_queues).map(QueueId).collect(),
    };
    // As in RocketMQ, an offset is one of a certain queue.
    let offset = request.offset.filter(|_| request.queue_id >= 0);
    if let (Some(to), Some(queue)) = (offset, queues.first()) {
        let extent = exchange.step.engine.extent(topic.name.as_str(), *queue);
        let (min, max) = extent.map_or_else(|_| Default::default(), |it| (it.min, it.visible));
        if to < min || to > max + 1 {
            let remark = format!("Target offset {to} not in consume queue range [{min}-{max}]");
            return exchange.refuse(ResponseCode::SYSTEM_ERROR, remark);
        }
    }
    let broker = exchange.shell.names.broker.to_string();
    let time_ms = request.timestamp_ms;
    answer_from_log(exchange, move |lookup| {
        let name = topic.name.as_str();
        let mut moved = Vec::new();
        for queue in queues {
            let (min, end) = lookup.visible(name, queue)?;
            let to = match offset {
                Some(offset) => offset.clamp(min, end),
                None if time_ms < 0 => end,
                None => lookup.first_stored_from(name, queue, time_ms)?,
            };
            lookup.move_group(&resets, &group, name, queue, to)?;
            moved.push((queue_of(&broker, name, queue), to));
        }
        lookup.ask_again(&group, name);
        Ok(MovedTo(moved))
    });
}

/// Code 300.
fn consumers_of(exchange: &mut Exchange<'_, '_>, topic: &str) {
    let offsets = exchange.step.engine.group_offsets();
    let mut groups: BTreeSet<String> = offsets
        .filter(|(_, known, ..)| known.as_str() == topic)
        .map(|(group, ..)| group.to_string())
        .collect();
    groups.extend(exchange.shell.clients.groups_of(topic).map(str::to_owned));
    exchange.answer(&GroupNames(groups.into_iter().collect()));
}

/// Code 343.
fn topics_of(exchange: &mut Exchange<'_, '_>, group: &str) {
    let offsets = exchange.step.engine.group_offsets();
    let of_group = offsets.filter(|(known, ..)| known.as_str() == group);
    let topics: BTreeSet<String> = of_group.map(|(_, topic, ..)| topic.to_string()).collect();
    let broker = Some(exchange.shell.names.host.to_string());
    exchange.answer(&TopicNames { broker, names: topics.into_iter().collect() });
}
