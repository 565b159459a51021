use std::borrow::Cow;

use millrace_engine::{
    Answer as Answered, Append, Delay, Fence, Filter, Message, Origin, Pull, PullHold, Refusal,
    Request, Wait,
};
use millrace_protocol::{AppendGroup, AppendWait, CallMode, EnsureTopic, HelloAnswer, PullStored};
use millrace_types::{QueueOffset, TopicName};

use crate::core::Needs;
use crate::dispatch::Exchange;
use crate::waiting::Awaited;

/// Our client asks for less; a frame holds 16 MiB.
const BYTES_MAX: u32 = 8 << 20;
/// No pull is held for longer.
const HOLD_MS_MAX: u64 = 60_000;

/// Code 9001.
pub(crate) fn hello(exchange: &mut Exchange<'_, '_>) {
    let broker = std::sync::Arc::clone(&exchange.shell.names.broker);
    exchange.answer(&HelloAnswer {
        product: Cow::Borrowed("Millrace"),
        version: Cow::Borrowed(env!("CARGO_PKG_VERSION")),
        broker: Cow::Borrowed(&broker),
    });
}

/// Code 9002. Unlike a topic made by an administrator, one of ours may be a pipeline's ledger.
pub(crate) fn ensure_topic(exchange: &mut Exchange<'_, '_>, request: &EnsureTopic<'_>) {
    let topic = match TopicName::parse(&request.topic) {
        Ok(topic) => topic,
        Err(error) => return exchange.refuse_own(&Refusal::IllegalTopic(error.to_string())),
    };
    let queues = u32::try_from(request.queues).unwrap_or(0);
    exchange.later(Awaited::TopicQueues, None, Request::EnsureTopic { topic: &topic, queues });
}

/// Code 9003.
pub(crate) fn append_group(exchange: &mut Exchange<'_, '_>, request: &AppendGroup<'_>) {
    let messages = request.messages().map(|message| Message {
        topic: message.topic,
        queue: Some(message.queue_id),
        flag: message.flag,
        sys_flag: message.sys_flag,
        born_at_ms: message.born_at_ms,
        reconsume_times: 0,
        body: message.body,
        properties: message.properties,
        delay: Delay::None,
    });
    let messages: Vec<Message<'_>> = messages.collect();
    let (wait, needs) = match request.wait {
        AppendWait::Policy => (Wait::Policy, Needs::Policy),
        AppendWait::Durable => (Wait::Durable, Needs::Durable),
    };
    if needs == Needs::Durable {
        exchange.shell.needs = Needs::Durable;
    }
    let fence = request.fence.as_ref().map(|fence| Fence {
        topic: &fence.topic,
        queue: fence.queue_id,
        epoch: fence.epoch,
    });
    let until_ms = exchange.step.now.mono_ms + exchange.step.engine.config().sync_flush_timeout_ms;
    let append =
        Append { messages: &messages, fence, wait, create_queues: None, origin: Origin::Pipeline };
    exchange.later(Awaited::Group, Some(until_ms), Request::Append(append));
}

/// Code 9004.
pub(crate) fn pull_stored(exchange: &mut Exchange<'_, '_>, request: &PullStored<'_>) {
    let (topic, queue) = (&*request.topic, request.queue_id);
    let end = match exchange.ask(Request::Bounds { topic, queue }) {
        Ok(Answered::Bounds(bounds)) => bounds.end,
        Ok(_) => QueueOffset(0),
        Err(refusal) => return exchange.refuse_own(&refusal),
    };
    if exchange.mode == CallMode::Oneway {
        // Nobody waits for messages.
        return;
    }
    let hold_ms = u64::from(request.wait_ms).min(HOLD_MS_MAX);
    let pull = Pull {
        topic,
        queue,
        from: request.offset,
        count_max: usize::MAX,
        bytes_max: u64::from(request.bytes_max.min(BYTES_MAX)),
        filter: Filter::All,
        hold: PullHold::No,
        asker: None,
    };
    exchange.pull_later(Awaited::Stored(end), hold_ms, pull);
}
