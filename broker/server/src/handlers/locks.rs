use millrace_protocol::{Done, LockQueues, LockedQueues};

use crate::dispatch::Exchange;

/// Code 41.
pub(crate) fn lock(exchange: &mut Exchange<'_, '_>, request: LockQueues) {
    let LockQueues { client_id, group, queues } = request;
    let now_ms = exchange.step.now.mono_ms;
    let granted = exchange.shell.locks.lock(now_ms, &group, &client_id, queues);
    exchange.answer(&LockedQueues(granted));
}

/// Code 42.
pub(crate) fn unlock(exchange: &mut Exchange<'_, '_>, request: &LockQueues) {
    let LockQueues { client_id, group, queues } = request;
    exchange.shell.locks.unlock(group, client_id, queues);
    exchange.answer(&Done);
}
