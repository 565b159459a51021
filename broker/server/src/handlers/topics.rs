use std::collections::{BTreeMap, BTreeSet};

use millrace_engine::{Permission, Request, Space};
use millrace_protocol::{CreateTopic, ResponseCode};
use millrace_types::{TopicName, is_reserved_topic};

use crate::dispatch::Exchange;
use crate::handlers::registry::order_of;
use crate::waiting::Awaited;

/// Code 17.
pub(crate) fn create(exchange: &mut Exchange<'_, '_>, request: &CreateTopic<'_>) {
    let invalid = ResponseCode::INVALID_PARAMETER;
    let topic = match TopicName::parse(&request.topic) {
        Ok(topic) if is_reserved_topic(&topic) => {
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
    // Of this process's own name server, which tells no broker what it knows.
    let order = request.order || !order_of(exchange, topic.as_str()).is_empty();
    let set = Request::SetTopic { topic: &topic, read_queues, write_queues, permission, order };
    let changes = request.attributes.as_deref().unwrap_or_default();
    let (space, key) = (Space::Topic, topic.as_str());
    let known = exchange.step.engine.setting(space, key).unwrap_or_default();
    if changes.split(',').any(|change| change == "+message.type=MIXED") {
        return exchange.refuse(invalid, "MIXED message type is not supported.");
    }
    let is_new = !exchange.step.engine.has_topic(key);
    let attributes = match changed(known, changes, is_new) {
        Ok(attributes) if attributes == known => return exchange.later(Awaited::Done, None, set),
        Ok(attributes) => attributes,
        Err(remark) => return exchange.refuse(ResponseCode::SYSTEM_ERROR, remark),
    };
    if let Err(refusal) = exchange.ask(set) {
        return exchange.refuse_as(&refusal);
    }
    let value = Some(attributes.as_str()).filter(|attributes| !attributes.is_empty());
    exchange.later(Awaited::Done, None, Request::PutSetting { space, key, value });
}

/// Attributes as they are kept, `name=value,name=value`.
pub(super) fn attributes(kept: &str) -> BTreeMap<&str, &str> {
    kept.split(',').filter_map(|pair| pair.split_once('=')).collect()
}

/// Attributes after changes such as `+name=value,-name`, or RocketMQ's words for why not.
/// (In RocketMQ, `AttributeParser` and `AttributeUtil`.)
fn changed(known: &str, changes: &str, is_new: bool) -> Result<String, String> {
    let mut attributes = attributes(known);
    let mut changed = BTreeSet::new();
    for change in changes.split(',').map(str::trim).filter(|change| !change.is_empty()) {
        let (signed, value) = match change.split_once('=') {
            Some((signed, value)) => (signed, Some(value)),
            None => (change, None),
        };
        let (sign, verb) = if value.is_some() { ('+', "add/alter") } else { ('-', "delete") };
        let Some(name) = signed.strip_prefix(sign) else {
            return Err(format!("{verb} attribute format is wrong: {signed}"));
        };
        if name.is_empty() || name.contains(['+', '-']) {
            return Err("kv string format wrong.".to_owned());
        }
        if !changed.insert(name) {
            return Err(format!("alter duplication key. key: {name}"));
        }
        match value {
            Some(value) => {
                check(name, value, is_new)?;
                attributes.insert(name, value);
            }
            None if is_new => {
                let remark = "only add attribute is supported while creating topic. key: ";
                return Err(format!("{remark}{name}"));
            }
            None if attributes.remove(name).is_none() => {
                return Err(format!("attempt to delete a nonexistent key: {name}"));
            }
            None if FIXED.contains(&name) => return Err(fixed(name)),
            None => {}
        }
    }
    let pairs = attributes.iter().map(|(name, value)| format!("{name}={value}"));
    Ok(pairs.collect::<Vec<_>>().join(","))
}

/// What a topic is only once: when it is created.
const FIXED: [&str; 2] = ["cleanup.policy", "queue.type"];

fn fixed(name: &str) -> String {
    format!("attempt to update an unchangeable attribute. key: {name}")
}

/// Whether an attribute may have a value. `reserve.bytes` is ours.
/// Source: `TopicAttributes.java`, Apache RocketMQ 5.4.
fn check(name: &str, value: &str, is_new: bool) -> Result<(), String> {
    let known: &[&str] = match name {
        "cleanup.policy" => &["COMPACTION", "DELETE"],
        "queue.type" => &["BatchCQ", "SimpleCQ"],
        "message.type" => {
            &["DELAY", "FIFO", "MIXED", "NORMAL", "PRIORITY", "TRANSACTION", "UNSPECIFIED"]
        }
        "reserve.time" | "reserve.bytes" => {
            return match value.parse::<i64>() {
                Ok(-1..) => Ok(()),
                Ok(_) => Err(format!("value is not in range(-1, {})", i64::MAX)),
                Err(_) => Err(format!("For input string: \"{value}\"")),
            };
        }
        _ => return Err(format!("unsupported key: {name}")),
    };
    if !is_new && FIXED.contains(&name) {
        return Err(fixed(name));
    }
    match known.contains(&value) {
        true => Ok(()),
        false => Err(format!("value is not in set: [{}]", known.join(", "))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(known: &str, changes: &str, expected: Result<&str, &str>) {
        let expected = expected.map(str::to_owned).map_err(str::to_owned);
        assert_eq!(changed(known, changes, known.is_empty()), expected, "{known} {changes}");
    }

    #[test]
    fn attributes_are_added_replaced_and_removed() {
        check("a=1", "", Ok("a=1"));
        check("", "+reserve.time=24", Ok("reserve.time=24"));
        check("", "+reserve.time=-1,+reserve.bytes=7", Ok("reserve.bytes=7,reserve.time=-1"));
        check("", "+queue.type=SimpleCQ", Ok("queue.type=SimpleCQ"));
        check("message.type=NORMAL", "+message.type=FIFO", Ok("message.type=FIFO"));
        // One of before names were checked.
        check("a=1,reserve.time=2", "-a", Ok("reserve.time=2"));
    }

    #[test]
    fn attributes_that_mean_nothing_are_refused_in_rocketmqs_words() {
        check("", "+foo=bar", Err("unsupported key: foo"));
        let types = "DELAY, FIFO, MIXED, NORMAL, PRIORITY, TRANSACTION, UNSPECIFIED";
        let not_one = format!("value is not in set: [{types}]");
        check("", "+message.type=WEIRD", Err(&not_one));
        let out_of_range = "value is not in range(-1, 9223372036854775807)";
        check("", "+reserve.time=-2", Err(out_of_range));
        check("", "+reserve.bytes=x", Err("For input string: \"x\""));
        let fixed = "attempt to update an unchangeable attribute. key: queue.type";
        check("a=1", "+queue.type=SimpleCQ", Err(fixed));
        check("queue.type=SimpleCQ", "-queue.type", Err(fixed));
        check("a=1", "-b", Err("attempt to delete a nonexistent key: b"));
        check("", "-b", Err("only add attribute is supported while creating topic. key: b"));
        let twice = "alter duplication key. key: reserve.time";
        check("", "+reserve.time=1,+reserve.time=2", Err(twice));
        check("", "reserve.time=24", Err("add/alter attribute format is wrong: reserve.time"));
        check("", "+reserve.time", Err("delete attribute format is wrong: +reserve.time"));
        check("", "-", Err("kv string format wrong."));
    }
}
