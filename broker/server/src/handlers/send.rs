use std::borrow::Cow;

use millrace_engine::{Append, Delay, Message, Origin, RETRY_PREFIX, Request, Wait};
use millrace_protocol::{BatchItem, CallMode, ResponseCode, SendMessage, batch_items};
use millrace_types::{Properties, TEMPLATE_TOPIC, keys, record, takes_no_sends};

use crate::dispatch::Exchange;
use crate::handlers::{letters, replies};
use crate::refusal::waited_too_long;
use crate::waiting::{Awaited, UniqueKey};

/// Codes 10, 310 and 320.
pub(crate) fn send(exchange: &mut Exchange<'_, '_>, sent: &SendMessage<'_>) {
    if let Err(refused) = check(sent) {
        return exchange.refuse(refused.0, refused.1);
    }
    let late_ms = exchange.shell.late_ms;
    // It would be stored although its producer has given up and sent it again. Of one that expects
    // no answer there is no second try.
    if exchange.mode == CallMode::Answered && exchange.shell.limits.refuse_send(late_ms) {
        return exchange.answer(&waited_too_long(late_ms, exchange.shell.waiting.len()));
    }
    if sent.batch {
        return send_batch(exchange, sent);
    }
    if sent.topic.starts_with(RETRY_PREFIX) {
        return letters::send_to_group(exchange, sent);
    }
    store(exchange, sent);
}

/// Stores one message.
pub(crate) fn store(exchange: &mut Exchange<'_, '_>, sent: &SendMessage<'_>) {
    let facts = Facts::read(sent.properties.as_bytes());
    let delay = match facts.delay() {
        Ok(delay) => delay,
        Err(remark) => return exchange.refuse(ResponseCode::MESSAGE_ILLEGAL, remark),
    };
    let mut made = std::mem::take(&mut exchange.shell.properties);
    let (unique, properties) = match facts.unique {
        Some(unique) => (UniqueKey::new(unique), sent.properties.as_bytes()),
        None => {
            let unique = exchange.shell.unique_ids.next();
            made.clear();
            add_unique(&mut made, sent.properties.as_bytes(), &unique);
            (UniqueKey::new(std::str::from_utf8(&unique).unwrap_or("")), &made[..])
        }
    };
    let in_cluster;
    let properties = if facts.wants_reply {
        // Who replies learns from this where replies go.
        replies::expect(exchange);
        let cluster = [(keys::CLUSTER, Some(&*exchange.shell.names.cluster))];
        in_cluster = Properties::new(properties).with(&cluster);
        in_cluster.as_bytes()
    } else {
        properties
    };
    let message = message(sent, sent.flag, sent.body, properties);
    // A copy for a retry topic is of a message that was committed long ago.
    let again = sent.reconsume_times > 0 && matches!(delay, Delay::Level(_));
    let request = if facts.half && !again { Request::Prepare } else { Request::Append };
    let message = Message { delay, ..message };
    append(exchange, sent, &[message], facts.wait, Awaited::Send(unique), request);
    exchange.shell.properties = made;
}

/// More messages than any client puts into a batch; all their ids have to fit the answer's header.
pub(crate) const BATCH_MAX: usize = 32_768;

fn send_batch(exchange: &mut Exchange<'_, '_>, sent: &SendMessage<'_>) {
    if sent.topic.starts_with("%RETRY%") {
        let remark = format!("batch request does not support retry group {}", sent.topic);
        return exchange.refuse(ResponseCode::MESSAGE_ILLEGAL, remark);
    }
    let items: Result<Vec<BatchItem<'_>>, _> = batch_items(sent.body).collect();
    let items = match items {
        Ok(items) if items.len() > BATCH_MAX => {
            let remark = format!("a batch of {} messages, {BATCH_MAX} are allowed", items.len());
            return exchange.refuse(ResponseCode::MESSAGE_ILLEGAL, remark);
        }
        Ok(items) => items,
        Err(error) => return exchange.refuse(ResponseCode::MESSAGE_ILLEGAL, error.to_string()),
    };
    // One message that waits for the disk makes the whole batch wait.
    let mut wait = Wait::Written;
    let mut properties = Vec::with_capacity(items.len());
    for item in &items {
        let facts = Facts::read(item.properties);
        let delayed = facts.delay() != Ok(Delay::None);
        let delayed = delayed.then_some("a delayed message in a batch");
        let half = facts.half.then_some("a transactional message in a batch");
        if let Some(feature) = half.or(delayed) {
            return exchange.refuse(ResponseCode::MESSAGE_ILLEGAL, not_supported(feature));
        }
        if facts.wait == Wait::Policy {
            wait = Wait::Policy;
        }
        properties.push(match facts.unique {
            Some(_) => Cow::Borrowed(item.properties),
            None => {
                let mut made = Vec::new();
                add_unique(&mut made, item.properties, &exchange.shell.unique_ids.next());
                Cow::Owned(made)
            }
        });
    }
    let messages = items.iter().zip(&properties);
    let messages =
        messages.map(|(item, properties)| message(sent, item.flag, item.body, properties));
    let messages: Vec<Message<'_>> = messages.collect();
    append(exchange, sent, &messages, wait, Awaited::Batch, Request::Append);
}

fn check(sent: &SendMessage<'_>) -> Result<(), (ResponseCode, String)> {
    if takes_no_sends(&sent.topic) {
        let remark = format!("sending messages to topic[{}] is forbidden", sent.topic);
        return Err((ResponseCode::NO_PERMISSION, remark));
    }
    if sent.body.is_empty() {
        let remark = "the message is illegal: the body is empty".to_owned();
        return Err((ResponseCode::MESSAGE_ILLEGAL, remark));
    }
    Ok(())
}

fn not_supported(feature: &str) -> String {
    format!("{feature} is not supported by this broker")
}

fn message<'a>(
    sent: &'a SendMessage<'_>,
    flag: i32,
    body: &'a [u8],
    properties: &'a [u8],
) -> Message<'a> {
    Message {
        topic: &sent.topic,
        queue: sent.queue_id,
        flag,
        // A half message is known by its property. What has the bits without it is none.
        sys_flag: sent.sys_flag as u32 & !record::sys_flag::TRANSACTION_MASK,
        born_at_ms: sent.born_at_ms,
        reconsume_times: sent.reconsume_times,
        body,
        properties,
        delay: Delay::None,
    }
}

fn append<'m>(
    exchange: &mut Exchange<'_, '_>,
    sent: &SendMessage<'_>,
    messages: &'m [Message<'m>],
    wait: Wait,
    awaited: Awaited,
    request: fn(Append<'m>) -> Request<'m>,
) {
    let wished = u32::try_from(sent.default_topic_queues).unwrap_or(0);
    let template = exchange.shell.names.template_queues;
    let create_queues = (sent.default_topic == TEMPLATE_TOPIC).then(|| wished.clamp(1, template));
    let until_ms = exchange.step.now.mono_ms + exchange.step.engine.config().sync_flush_timeout_ms;
    let append = Append { messages, fence: None, wait, create_queues, origin: Origin::Producer };
    exchange.later(awaited, Some(until_ms), request(append));
}

/// What the broker needs to know of a message's properties, from one pass over them.
#[derive(Debug, PartialEq, Eq)]
struct Facts<'a> {
    unique: Option<&'a str>,
    wait: Wait,
    level: Option<&'a [u8]>,
    /// `TIMER_DELAY_SEC`, `TIMER_DELAY_MS` and `TIMER_DELIVER_MS`; the first one counts.
    timers: [Option<&'a [u8]>; 3],
    /// It was timed once and is sent again.
    was_timed: bool,
    /// It is a half message.
    half: bool,
    /// Its producer waits for a reply.
    wants_reply: bool,
}

impl<'a> Facts<'a> {
    fn read(properties: &'a [u8]) -> Self {
        let mut facts = Self {
            unique: None,
            wait: Wait::Policy,
            level: None,
            timers: [None; 3],
            was_timed: false,
            half: false,
            wants_reply: false,
        };
        for (name, value) in Properties::new(properties).raw() {
            facts.note(name, value);
        }
        facts
    }

    fn note(&mut self, name: &[u8], value: &'a [u8]) {
        match name {
            b"UNIQ_KEY" if !value.is_empty() => self.unique = std::str::from_utf8(value).ok(),
            b"WAIT" if value.eq_ignore_ascii_case(b"false") => self.wait = Wait::Written,
            b"DELAY" => self.level = Some(value),
            b"TIMER_DELAY_SEC" => self.timers[0] = Some(value),
            b"TIMER_DELAY_MS" => self.timers[1] = Some(value),
            b"TIMER_DELIVER_MS" => self.timers[2] = Some(value),
            b"TIMER_OUT_MS" => self.was_timed = true,
            b"REPLY_TO_CLIENT" => self.wants_reply = true,
            b"TRAN_MSG" => self.half = value.eq_ignore_ascii_case(b"true"),
            _ => {}
        }
    }

    /// How long it waits; an error if that is no number. A level goes before a time.
    fn delay(&self) -> Result<Delay, &'static str> {
        let timers = if self.was_timed { [None; 3] } else { self.timers };
        Delay::asked(self.level, timers)
    }
}

fn add_unique(made: &mut Vec<u8>, properties: &[u8], unique: &[u8]) {
    made.extend_from_slice(properties);
    if properties.last().is_some_and(|&last| last != 2) {
        made.push(2);
    }
    made.extend_from_slice(keys::UNIQ_KEY.as_bytes());
    made.push(1);
    made.extend_from_slice(unique);
    made.push(2);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(properties: &str, unique: Option<&str>, wait: Wait, half: bool) {
        let properties = properties.replace('=', "\u{1}").replace(';', "\u{2}");
        let facts = Facts::read(properties.as_bytes());
        assert_eq!(facts.unique, unique);
        assert_eq!(facts.wait, wait);
        assert_eq!(facts.half, half);
    }

    #[test]
    fn one_pass_finds_what_matters() {
        check("", None, Wait::Policy, false);
        check("a=b;UNIQ_KEY=7F;WAIT=true;", Some("7F"), Wait::Policy, false);
        check("UNIQ_KEY=7F;WAIT=false", Some("7F"), Wait::Written, false);
        check("UNIQ_KEY=;", None, Wait::Policy, false);
        check("TRAN_MSG=true;", None, Wait::Policy, true);
        check("TRAN_MSG=false;", None, Wait::Policy, false);
        check("no separator", None, Wait::Policy, false);
    }

    #[track_caller]
    fn check_delay(properties: &str, expected: Result<Delay, ()>) {
        let properties = properties.replace('=', "\u{1}").replace(';', "\u{2}");
        assert_eq!(Facts::read(properties.as_bytes()).delay().map_err(drop), expected);
    }

    #[test]
    fn a_level_goes_before_a_time_and_seconds_before_milliseconds() {
        check_delay("", Ok(Delay::None));
        check_delay("DELAY=3", Ok(Delay::Level(3)));
        check_delay("DELAY=0", Ok(Delay::None));
        check_delay("DELAY=-1", Ok(Delay::None));
        check_delay("DELAY=99999999999", Ok(Delay::Level(u32::MAX)));
        check_delay("DELAY=soon", Err(()));
        check_delay("TIMER_DELAY_SEC=2;TIMER_DELAY_MS=5", Ok(Delay::For(2_000)));
        check_delay("TIMER_DELIVER_MS=7;TIMER_DELAY_MS=5", Ok(Delay::For(5)));
        check_delay("TIMER_DELIVER_MS=7", Ok(Delay::Until(7)));
        check_delay("TIMER_DELIVER_MS=-7", Ok(Delay::Until(-7)));
        check_delay("TIMER_DELAY_SEC=-1", Ok(Delay::For(0)));
        check_delay("TIMER_DELAY_SEC=9223372036854775807", Ok(Delay::For(u64::MAX)));
        check_delay("TIMER_DELAY_SEC=2;DELAY=1", Ok(Delay::Level(1)));
        check_delay("TIMER_DELAY_SEC=2;TIMER_OUT_MS=1", Ok(Delay::None));
        check_delay("TIMER_DELAY_SEC=", Err(()));
    }

    #[test]
    fn a_missing_unique_key_is_added_behind_the_others() {
        for before in ["", "a\u{1}b", "a\u{1}b\u{2}"] {
            let mut made = Vec::new();
            add_unique(&mut made, before.as_bytes(), b"7F");
            let properties = Properties::new(&made);
            assert_eq!(properties.get("UNIQ_KEY"), Some("7F"));
            assert_eq!(properties.get("a"), (!before.is_empty()).then_some("b"));
        }
    }
}
