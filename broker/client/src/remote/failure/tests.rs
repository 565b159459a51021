use bytes::Bytes;
use millrace_protocol::{Answer, Frame, HeaderKind, Limits, Split};

use super::*;
use crate::{Fence, Outgoing, Wait};

/// What callers tell apart.
#[derive(Debug, PartialEq, Eq)]
enum Kind {
    Unreachable,
    OutcomeUnknown,
    Fenced(u64),
    NoSuchQueue(String, u32),
    DiskFull(String),
    Poisoned(String),
    Refused,
    Unreadable,
}
use Kind::*;

fn kind(error: BrokerError) -> Kind {
    match error {
        BrokerError::Unreachable { address, .. } => {
            assert_eq!(address, "b:1");
            Unreachable
        }
        BrokerError::OutcomeUnknown(_) => OutcomeUnknown,
        BrokerError::Fenced { current } => Fenced(current),
        BrokerError::NoSuchQueue { topic, queue } => NoSuchQueue(topic.to_string(), queue.0),
        BrokerError::DiskFull(reason) => DiskFull(reason),
        BrokerError::Poisoned(reason) => Poisoned(reason),
        BrokerError::Refused(_) => Refused,
        BrokerError::Unreadable(_) => Unreadable,
    }
}

fn topic(name: &str) -> TopicName {
    TopicName::parse(name).unwrap()
}

fn append() -> Append {
    let message = |name, queue| Outgoing {
        topic: topic(name),
        queue: QueueId(queue),
        body: Bytes::new(),
        properties: Bytes::new(),
        born_at_ms: 0,
    };
    Append {
        messages: [message("orders", 1), message("orders", 7), message("letters", 2)].into(),
        fence: Some(Fence { topic: topic("ledger"), queue: QueueId(3), epoch: 1 }),
        wait: Wait::Policy,
    }
}

/// What an append and a question about `orders/5` make of the same answer.
fn kinds(answer: &dyn Answer) -> (Kind, Kind) {
    let mut bytes = Vec::new();
    answer.write(HeaderKind::Binary, 1, &mut bytes);
    let Ok(Split::Frame(frame, _)) = Frame::split(&bytes, &Limits::default()) else {
        panic!("not a frame");
    };
    let header = frame.header().unwrap();
    let of = |asked: Asked<'_>| {
        kind(asked.refused(millrace_protocol::Refused::of(&header), &header, "b:1"))
    };
    (of(Asked::Append(&append())), of(Asked::Queue(&topic("orders"), QueueId(5))))
}

#[track_caller]
fn check(code: ResponseCode, remark: &'static str, for_append: Kind, for_queue: Kind) {
    let found = kinds(&millrace_protocol::Refused::new(code, remark));
    assert_eq!(found, (for_append, for_queue), "{code} {remark}");
}

#[track_caller]
fn check_both(code: ResponseCode, remark: &'static str, expected: fn(String) -> Kind) {
    check(code, remark, expected("why".into()), expected("why".into()));
}

#[test]
fn a_full_disk_and_a_stopped_log_are_told_apart() {
    check_both(ResponseCode::MR_DISK_FULL, "why", DiskFull);
    check_both(ResponseCode::MR_DISK_FULL, "the broker's disk is full: why", DiskFull);
    check_both(ResponseCode::SERVICE_NOT_AVAILABLE, "the broker's disk is full: why", DiskFull);
    check_both(ResponseCode::MR_POISONED, "why", Poisoned);
    check_both(ResponseCode::MR_POISONED, "the broker stopped writing: why", Poisoned);
    check_both(ResponseCode::SYSTEM_ERROR, "the broker stopped writing: why", Poisoned);
    check(ResponseCode::MR_UNREADABLE, "damaged", Unreadable, Unreadable);
}

#[test]
fn a_fence_tells_the_current_epoch() {
    let fenced = millrace_protocol::Fenced { epoch: u64::MAX };
    assert_eq!(kinds(&fenced), (Fenced(u64::MAX), Fenced(u64::MAX)));
    // Without an epoch there is nothing to go on with.
    check(ResponseCode::MR_FENCED, "", Refused, Refused);
}

#[test]
fn a_missing_queue_is_the_one_that_the_remark_names() {
    let queue = |topic: &str, queue| NoSuchQueue(topic.to_owned(), queue);
    let code = ResponseCode::TOPIC_NOT_EXIST;
    check(code, "topic[letters] not exist", queue("letters", 2), queue("orders", 5));
    check(code, "topic[orders] not exist", queue("orders", 1), queue("orders", 5));
    check(code, "", queue("ledger", 3), queue("orders", 5));
    let code = ResponseCode::INVALID_PARAMETER;
    let remark = "queueId[7] is illegal, topic[orders] has 4 queues";
    check(code, remark, queue("orders", 7), queue("orders", 5));
    check(code, "the field `topic` is missing", Refused, Refused);
}

#[test]
fn what_is_stored_but_not_on_disk_is_neither_success_nor_failure() {
    for code in [
        ResponseCode::FLUSH_DISK_TIMEOUT,
        ResponseCode::FLUSH_SLAVE_TIMEOUT,
        ResponseCode::SLAVE_NOT_AVAILABLE,
    ] {
        check(code, "", OutcomeUnknown, OutcomeUnknown);
    }
}

#[test]
fn who_is_turned_away_may_ask_again() {
    check(ResponseCode::SYSTEM_BUSY, "", Unreachable, Unreachable);
    check(ResponseCode::SERVICE_NOT_AVAILABLE, "", Unreachable, Unreachable);
    check(ResponseCode::GO_AWAY, "", Unreachable, Unreachable);
}

#[test]
fn a_request_at_fault_is_refused() {
    for code in [
        ResponseCode::NO_PERMISSION,
        ResponseCode::MESSAGE_ILLEGAL,
        ResponseCode::REQUEST_CODE_NOT_SUPPORTED,
    ] {
        check(code, "", Refused, Refused);
    }
}

#[test]
fn an_append_that_failed_in_an_unknown_way_may_have_happened() {
    for code in [ResponseCode::SYSTEM_ERROR, ResponseCode(4711), ResponseCode::PULL_NOT_FOUND] {
        check(code, "", OutcomeUnknown, Refused);
    }
}

#[test]
fn a_lost_answer_matters_to_an_append_only() {
    let not_sent = || Lost::NotSent { address: "b:1".into(), reason: "refused".into() };
    let unanswered = || Lost::Unanswered { address: "b:1".into(), reason: "timed out".into() };
    let (append, topic) = (append(), topic("orders"));
    let (append, queue) = (Asked::Append(&append), Asked::Queue(&topic, QueueId(0)));
    assert_eq!(kind(append.lost(not_sent())), Unreachable);
    assert_eq!(kind(append.lost(unanswered())), OutcomeUnknown);
    assert_eq!(kind(append.lost(Lost::Refused("too large".into()))), Refused);
    assert_eq!(kind(queue.lost(not_sent())), Unreachable);
    assert_eq!(kind(queue.lost(unanswered())), Unreachable);
    assert_eq!(kind(append.unclear("?")), OutcomeUnknown);
    assert_eq!(kind(queue.unclear("?")), Refused);
}
