use std::borrow::Cow;

use millrace_engine as engine;
use millrace_engine::{Check, Decision, Request};
use millrace_protocol::{
    Call, CallMode, CheckTransaction, Done, EndTransaction, HalfMessage, HeaderKind, ResponseCode,
};
use millrace_types::record::{Draft, Record, Stamp, encode};
use millrace_types::{OffsetMessageId, QueueId, keys};

use crate::dispatch::Exchange;
use crate::reactor::Output;
use crate::waiting::Awaited;

/// Nobody knows yet; the broker will ask.
const UNKNOWN: i32 = 0x0;
const COMMIT: i32 = 0x8;
const ROLL_BACK: i32 = 0xC;

/// Code 37.
pub(crate) fn end(exchange: &mut Exchange<'_, '_>, request: &EndTransaction<'_>) {
    let decision = match request.decision {
        COMMIT => Decision::Commit,
        ROLL_BACK => Decision::RollBack,
        UNKNOWN => return exchange.answer(&Done),
        other => {
            let remark = format!("commitOrRollback is {other}, which is no decision");
            return exchange.refuse(ResponseCode::INVALID_PARAMETER, remark);
        }
    };
    let request = Request::EndTransaction(engine::EndTransaction {
        group: &request.producer_group,
        half: request.half_queue_offset,
        at: request.physical_offset,
        decision,
    });
    exchange.later(Awaited::Done, None, request);
}

/// Asks a producer what is to become of a half message, which it is shown as it sent it; `false` if
/// it cannot be shown.
pub(crate) fn ask(check: &Check, broker_name: &str, output: &mut Output) -> bool {
    let Ok(record) = Record::parse(&check.record) else {
        return false;
    };
    let properties = record.properties();
    let [queue, unique] = properties.pick([keys::REAL_QUEUE, keys::UNIQ_KEY]);
    let mut shown = Vec::with_capacity(check.record.len());
    let draft = Draft {
        topic: &check.topic,
        queue_id: QueueId(queue.and_then(|queue| queue.parse().ok()).unwrap_or(0)),
        flag: record.flag(),
        sys_flag: record.sys_flag(),
        born_at_ms: record.born_at_ms(),
        born_host: record.born_host(),
        reconsume_times: record.reconsume_times(),
        prepared_offset: record.prepared_offset(),
        body: record.body(),
        properties: properties.as_bytes(),
    };
    let stamp = Stamp {
        queue_offset: record.queue_offset(),
        physical_offset: record.physical_offset(),
        store_at_ms: record.store_at_ms(),
        store_host: record.store_host(),
        more: false,
    };
    let mut stored = Vec::with_capacity(check.record.len());
    encode(&draft, &stamp, &mut stored);
    let Ok(real) = Record::parse(&stored) else {
        return false;
    };
    real.write_for_client(&mut shown);
    let id = OffsetMessageId {
        store_host: record.store_host(),
        physical_offset: record.physical_offset(),
    };
    let unique = unique.map(Cow::Borrowed);
    let call = CheckTransaction {
        half: HalfMessage {
            topic: Some(Cow::Borrowed(&check.topic)),
            half_queue_offset: check.half,
            physical_offset: check.at,
            message_id: unique.clone(),
            transaction_id: unique,
            offset_message_id: Some(id.to_string().into()),
            broker_name: Some(broker_name.into()),
        },
        record: &shown,
    };
    output.write(|out| call.write(HeaderKind::Json, 0, CallMode::Oneway, out));
    true
}
