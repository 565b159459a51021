use millrace_protocol::{Done, LockQueues, LockedQueues, MessageQueue};
use millrace_types::{GroupName, TopicName};

use crate::dispatch::Exchange;
use crate::handlers::clients::CLIENT_ID_BYTES_MAX;

/// Code 41. As in RocketMQ nobody checks that the queues exist, but only names that could are kept.
pub(crate) fn lock(exchange: &mut Exchange<'_, '_>, request: LockQueues) {
    let LockQueues { client_id, group, mut queues } = request;
    if GroupName::parse(&group).is_err() || client_id.len() > CLIENT_ID_BYTES_MAX {
        queues.clear();
    }
    queues.retain(is_legal);
    let now_ms = exchange.step.now.mono_ms;
    let granted = exchange.shell.locks.lock(now_ms, &group, &client_id, queues);
    exchange.answer(&LockedQueues(granted));
}

fn is_legal(queue: &MessageQueue) -> bool {
    TopicName::parse(&queue.topic).is_ok() && queue.broker_name.len() <= 127
}

/// Code 42.
pub(crate) fn unlock(exchange: &mut Exchange<'_, '_>, request: &LockQueues) {
    let LockQueues { client_id, group, queues } = request;
    exchange.shell.locks.unlock(group, client_id, queues);
    exchange.answer(&Done);
}
