use std::borrow::Cow;

use millrace_engine::Request;
use millrace_protocol::{CallMode, PushReply, ReplyFields, ResponseCode, SendMessage};
use millrace_types::{Properties, TopicName, keys};

use crate::dispatch::Exchange;
use crate::relays::Back;

/// Codes 324 and 325: a reply goes on to the producer that waits for it, and is stored nowhere.
pub(crate) fn send(exchange: &mut Exchange<'_, '_>, sent: &SendMessage<'_>) {
    let properties = Properties::new(sent.properties.as_bytes());
    let Some(client_id) = properties.get(keys::REPLY_TO) else {
        let remark = format!("{} is null, can not reply message", keys::REPLY_TO);
        return exchange.refuse(ResponseCode::SYSTEM_ERROR, remark);
    };
    let Some(client) = exchange.shell.producers.connection_of(client_id) else {
        let remark = format!("push reply message fail, channel of <{client_id}> not found.");
        return exchange.refuse(ResponseCode::SYSTEM_ERROR, remark);
    };
    let now = exchange.step.now;
    let pushed_at = now.wall_ms.to_string();
    let properties = properties.with(&[(keys::REPLY_PUSHED, Some(&pushed_at))]);
    let call = PushReply {
        fields: ReplyFields {
            producer_group: Cow::Borrowed(&sent.producer_group),
            topic: Cow::Borrowed(&sent.topic),
            default_topic: Cow::Borrowed(&sent.default_topic),
            default_topic_queues: sent.default_topic_queues,
            queue_id: sent.queue_id.map_or(-1, |queue| queue.0 as i32),
            sys_flag: sent.sys_flag,
            born_at_ms: sent.born_at_ms,
            flag: sent.flag,
            properties: Some(String::from_utf8_lossy(properties.as_bytes())),
            reconsume_times: sent.reconsume_times,
            unit_mode: sent.unit_mode,
            born_host: exchange.caller.peer.to_string().into(),
            store_host: exchange.shell.names.host.to_string().into(),
            store_at_ms: now.wall_ms,
        },
        body: sent.body,
    };
    if exchange.mode == CallMode::Oneway {
        exchange.shell.relays.tell(client, &call);
    } else if exchange.shell.relays.pass_on(now.mono_ms, exchange.to, client, Back::Sent, &call) {
        *exchange.in_flight += 1;
    } else {
        exchange.refuse(ResponseCode::SYSTEM_BUSY, "too many replies wait for their producers");
    }
}

/// Has the topic exist that clients send replies to, which is the first thing they look for.
pub(crate) fn expect(exchange: &mut Exchange<'_, '_>) {
    let topic = format!("{}_REPLY_TOPIC", exchange.shell.names.cluster);
    if let Ok(topic) = TopicName::parse(&topic)
        && !exchange.step.engine.has_topic(topic.as_str())
    {
        exchange.tell(Request::EnsureTopic { topic: &topic, queues: 1 });
    }
}
