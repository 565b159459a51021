use std::collections::BTreeMap;

use millrace_protocol::KvTable;
use millrace_types::Now;

use super::admin::answer_from_log;
use crate::dispatch::Exchange;
use crate::traffic::Counts;

/// Code 28: what the broker has done and how it is. Days begin at 00:00 UTC.
///
/// Sends and pulls wait in no queues and for no lock of a page cache, so those figures are 0;
/// they are there because tools read every one of them.
pub(crate) fn runtime_info(exchange: &mut Exchange<'_, '_>) {
    let mut table = BTreeMap::new();
    let mut put = |key: &str, value: String| drop(table.insert(key.to_owned(), value));
    for key in [
        "sendThreadPoolQueueSize",
        "pullThreadPoolQueueSize",
        "ackThreadPoolQueueSize",
        "sendThreadPoolQueueHeadWaitTimeMills",
        "pullThreadPoolQueueHeadWaitTimeMills",
        "ackThreadPoolQueueHeadWaitTimeMills",
        "pageCacheLockTimeMills",
        "timerReadBehind",
        "timerOffsetBehind",
        "timerCongestNum",
        "timerEnqueueTps",
        "timerDequeueTps",
        "dispatchBehindBytes",
    ] {
        put(key, "0".to_owned());
    }
    let (now, shared) = (exchange.step.now, &exchange.shell.shared);
    let counts = shared.traffic.counts(exchange.step.engine.stored_messages());
    let history = &exchange.shell.history;
    let rates = |of: &dyn Fn(&Counts) -> u64| {
        let rates = history.rates(now, counts, of);
        rates.map(|rate| format!("{rate:.4}")).join(" ")
    };
    put("putTps", rates(&|counts| counts.stored));
    put("getTransferredTps", rates(&|counts| counts.given));
    // As 4.9 and its tools spell it.
    put("getTransferedTps", rates(&|counts| counts.given));
    put("getFoundTps", rates(&|counts| counts.found));
    put("getMissTps", rates(&|counts| counts.missed));
    put("getTotalTps", rates(&|counts| counts.found + counts.missed));
    let [yesterday, today] = history.mornings();
    put("msgPutTotalYesterdayMorning", yesterday.stored.to_string());
    put("msgPutTotalTodayMorning", today.stored.to_string());
    put("msgPutTotalTodayNow", counts.stored.to_string());
    put("msgGetTotalYesterdayMorning", yesterday.given.to_string());
    put("msgGetTotalTodayMorning", today.given.to_string());
    put("msgGetTotalTodayNow", counts.given.to_string());
    put("putMessageTimesTotal", counts.stored.to_string());
    let (appended, durable) = (shared.marks.appended(), shared.marks.durable());
    put("brokerVersionDesc", format!("MILLRACE_{}", env!("CARGO_PKG_VERSION")));
    put("brokerActive", "true".to_owned());
    put("runtime", since(now));
    let booted_ms = now.wall_ms.saturating_sub_unsigned(now.mono_ms);
    put("bootTimestamp", booted_ms.to_string());
    put("startAcceptSendRequestTimeStamp", booted_ms.to_string());
    put("commitLogMaxOffset", appended.0.to_string());
    put("remainHowManyDataToFlush", format!("{} B", appended.since(durable)));
    let used = f64::from(exchange.step.engine.disk_used_percent()) / 100.0;
    put("commitLogDiskRatio", format!("{used:.2}"));
    let topics = exchange.step.engine.topics();
    let queues: Vec<(String, u32)> =
        topics.map(|topic| (topic.name.to_string(), topic.read_queues)).collect();
    answer_from_log(exchange, move |lookup| {
        // An empty log keeps nothing from before now.
        let queues = queues.iter().map(|(topic, queues)| (topic.as_str(), *queues));
        let oldest = lookup.oldest_store_time(queues)?.unwrap_or(now.wall_ms);
        table.insert("earliestMessageTimeStamp".to_owned(), oldest.to_string());
        Ok(KvTable(table))
    });
}

/// How long the broker has been up, in RocketMQ's words.
fn since(now: Now) -> String {
    let seconds = now.mono_ms / 1000;
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    format!("[ {days} days, {hours} hours, {minutes} minutes, {} seconds ]", seconds % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_told_in_days() {
        let now = Now { mono_ms: 2 * 86_400_000 + 3 * 3_600_000 + 4 * 60_000 + 5_999, wall_ms: 0 };
        assert_eq!(since(now), "[ 2 days, 3 hours, 4 minutes, 5 seconds ]");
    }
}
