use millrace_engine::{Answer as Answered, Refusal, Request};
use millrace_protocol::{
    Answer, Done, EarliestStoreTime, GetMaxOffset, GetMinOffset, OffsetAnswer, QueryConsumerOffset,
    Refused, ResponseCode, SearchOffset, TimestampAnswer, UpdateConsumerOffset,
};
use millrace_types::{GroupName, QueueId, QueueOffset};

use crate::dispatch::Exchange;
use crate::lookup::{Lookup, LookupError};
use crate::reactor::Output;
use crate::refusal::{Dialect, unreadable, write_refusal};
use crate::waiting::{Awaited, ReplyTo};

/// Code 14.
pub(crate) fn query(exchange: &mut Exchange<'_, '_>, request: &QueryConsumerOffset<'_>) {
    let Some(group) = group(exchange, &request.group) else {
        return;
    };
    let (topic, queue) = (&*request.topic, request.queue_id);
    let known = exchange.ask(Request::GroupOffset { group: &group, topic, queue });
    if let Ok(Answered::GroupOffset(Some(offset))) = known {
        return exchange.answer(&OffsetAnswer { offset });
    }
    // RocketMQ lets the consumers of a young topic start at its beginning, whatever they ask for.
    let may_be_zero = request.zero_if_not_found != Some(false);
    // A topic that was deleted and created again begins where the old one ended.
    let offset = exchange.step.engine.beginning(topic, queue);
    if may_be_zero && is_recent(exchange, topic, queue, offset) {
        return exchange.answer(&OffsetAnswer { offset });
    }
    let remark = "Not found, V3_0_6_SNAPSHOT maybe this group consumer boot first";
    exchange.refuse(ResponseCode::QUERY_NOT_FOUND, remark);
}

/// Whether a queue still has a message, among the newest of the log.
fn is_recent(
    exchange: &mut Exchange<'_, '_>,
    topic: &str,
    queue: QueueId,
    offset: QueueOffset,
) -> bool {
    let reader = &exchange.shell.shared.reader;
    let first = exchange.step.engine.entry_at(topic, queue, offset).ok().flatten();
    first.is_some_and(|first| first.size > 0 && reader.is_recent(first.physical_offset))
}

/// Code 15.
pub(crate) fn update(exchange: &mut Exchange<'_, '_>, request: &UpdateConsumerOffset<'_>) {
    let Some(group) = group(exchange, &request.group) else {
        return;
    };
    let (topic, queue) = (&*request.topic, request.queue_id);
    if exchange.shell.resets.is_pending(group.as_str(), topic, queue) {
        // The member does not know yet that its group was moved.
        return exchange.answer(&Done);
    }
    let offset = request.offset;
    let commit = Request::CommitOffset { group: &group, topic, queue, offset };
    exchange.later(Awaited::Done, None, commit);
}

/// Code 30.
pub(crate) fn max(exchange: &mut Exchange<'_, '_>, request: &GetMaxOffset<'_>) {
    let (topic, queue) = (&*request.topic, request.queue_id);
    let found = exchange.step.engine.extent(topic, queue);
    let end = found.map(|extent| if request.committed { extent.visible } else { extent.end });
    offset(exchange, end);
}

/// Code 31.
pub(crate) fn min(exchange: &mut Exchange<'_, '_>, request: &GetMinOffset<'_>) {
    let found = exchange.step.engine.extent(&request.topic, request.queue_id);
    offset(exchange, found.map(|extent| extent.min));
}

/// As in RocketMQ, a queue that does not exist begins and ends at 0.
fn offset(exchange: &mut Exchange<'_, '_>, found: Result<QueueOffset, Refusal>) {
    match found {
        Ok(offset) => exchange.answer(&OffsetAnswer { offset }),
        Err(Refusal::UnknownTopic(_) | Refusal::NoSuchQueue { .. }) => {
            exchange.answer(&OffsetAnswer { offset: QueueOffset(0) });
        }
        Err(refusal) => exchange.refuse_as(&refusal),
    }
}

/// Code 29. Times are in the messages, which may have to be read from disk. As in RocketMQ, a queue
/// that does not exist begins at 0.
pub(crate) fn search(exchange: &mut Exchange<'_, '_>, request: &SearchOffset<'_>) {
    let (topic, queue) = (request.topic.to_string(), request.queue_id);
    let (time_ms, upper) = (request.timestamp_ms, request.is_upper());
    let (lookup, to) = (Lookup::new(&exchange.shell.shared), exchange.to);
    exchange.job(move || {
        let found = if upper {
            lookup.last_stored_until(&topic, queue, time_ms)
        } else {
            lookup.first_stored_from(&topic, queue, time_ms)
        };
        let found = if_there_is(found.map(Some));
        respond(to, found.map(|offset| OffsetAnswer { offset: offset.unwrap_or_default() }))
    });
}

/// Code 32. In a queue that does not exist nothing was ever stored.
pub(crate) fn earliest(exchange: &mut Exchange<'_, '_>, request: &EarliestStoreTime<'_>) {
    let (topic, queue) = (request.topic.to_string(), request.queue_id);
    let (lookup, to) = (Lookup::new(&exchange.shell.shared), exchange.to);
    exchange.job(move || {
        let found = if_there_is(lookup.first_store_time(&topic, queue));
        respond(to, found.map(|time| TimestampAnswer { timestamp_ms: time.unwrap_or(-1) }))
    });
}

/// `None` if there is no such queue.
fn if_there_is<T>(found: Result<Option<T>, LookupError>) -> Result<Option<T>, LookupError> {
    match found {
        Err(LookupError::Refused(Refusal::UnknownTopic(_) | Refusal::NoSuchQueue { .. })) => {
            Ok(None)
        }
        found => found,
    }
}

fn respond(to: ReplyTo, found: Result<impl Answer, LookupError>) -> Output {
    let mut output = Output::default();
    match found {
        Ok(answer) => output.write(|out| answer.write(to.kind, to.opaque, out)),
        Err(error) => write_lookup_error(&error, to, &mut output),
    }
    output
}

/// Answers with why a look-up failed.
pub(crate) fn write_lookup_error(error: &LookupError, to: ReplyTo, output: &mut Output) {
    let refused = match error {
        LookupError::Refused(refusal) => {
            return write_refusal(refusal, Dialect::RocketMq, to, output);
        }
        LookupError::Unreadable(error) => unreadable(error, None, Dialect::RocketMq),
        LookupError::Closed => Refused::new(ResponseCode::SYSTEM_ERROR, error.to_string()),
    };
    output.write(|out| refused.write(to.kind, to.opaque, out));
}

fn group(exchange: &mut Exchange<'_, '_>, name: &str) -> Option<GroupName> {
    match GroupName::parse(name) {
        Ok(group) => Some(group),
        Err(error) => {
            let remark = format!("the group is illegal: {error}");
            exchange.refuse(ResponseCode::INVALID_PARAMETER, remark);
            None
        }
    }
}
