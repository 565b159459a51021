use std::collections::BTreeMap;

use millrace_engine::{Permission, Request, Space};
use millrace_protocol::{CreateTopic, ResponseCode};
use millrace_types::{TopicName, is_reserved_topic};

use crate::dispatch::Exchange;
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
    let set = Request::SetTopic { topic: &topic, read_queues, write_queues, permission };
    let changes = request.attributes.as_deref().unwrap_or_default();
    let (space, key) = (Space::Topic, topic.as_str());
    let known = exchange.step.engine.setting(space, key).unwrap_or_default();
    let attributes = match changed(known, changes) {
        Ok(attributes) if attributes == known => return exchange.later(Awaited::Done, None, set),
        Ok(attributes) => attributes,
        Err(change) => {
            let remark = format!("`{change}` is none of +name=value and -name");
            return exchange.refuse(invalid, remark);
        }
    };
    if let Err(refusal) = exchange.ask(set) {
        return exchange.refuse_as(&refusal);
    }
    let value = Some(attributes.as_str()).filter(|attributes| !attributes.is_empty());
    exchange.later(Awaited::Done, None, Request::PutSetting { space, key, value });
}

/// Attributes, `name=value,name=value`, after changes such as `+name=value,-name`. An error is the
/// change that cannot be understood. (In RocketMQ, `AttributeParser`.)
fn changed(known: &str, changes: &str) -> Result<String, String> {
    let pairs = known.split(',').filter_map(|pair| pair.split_once('='));
    let mut attributes: BTreeMap<&str, &str> = pairs.collect();
    for change in changes.split(',').map(str::trim).filter(|change| !change.is_empty()) {
        let added = change.strip_prefix('+').and_then(|pair| pair.split_once('='));
        match (added, change.strip_prefix('-')) {
            (Some((name, value)), _) if !name.is_empty() => drop(attributes.insert(name, value)),
            (None, Some(name)) if !name.is_empty() => drop(attributes.remove(name)),
            _ => return Err(change.to_owned()),
        }
    }
    let pairs = attributes.iter().map(|(name, value)| format!("{name}={value}"));
    Ok(pairs.collect::<Vec<_>>().join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(known: &str, changes: &str, expected: Result<&str, &str>) {
        let expected = expected.map(str::to_owned).map_err(str::to_owned);
        assert_eq!(changed(known, changes), expected, "{known} {changes}");
    }

    #[test]
    fn attributes_are_added_replaced_and_removed() {
        check("a=1", "", Ok("a=1"));
        check("", "+reserve.time=24", Ok("reserve.time=24"));
        check("a=1,b=2", "+b=3,-a", Ok("b=3"));
        check("a=1", "-a", Ok(""));
        check("a=1", "-b", Ok("a=1"));
        check("", "reserve.time=24", Err("reserve.time=24"));
        check("", "+reserve.time", Err("+reserve.time"));
        check("", "-", Err("-"));
    }
}
