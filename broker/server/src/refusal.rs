use millrace_engine::Refusal;
use millrace_protocol::{Answer, Fenced, Refused, ResponseCode};
use millrace_store::ReadError;

use crate::reactor::Output;
use crate::waiting::ReplyTo;

/// Which codes a request is answered with: those of RocketMQ tell less than our own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dialect {
    RocketMq,
    /// Requests 9001 to 9004.
    Own,
}

/// Answers a request that the engine refused. The one place where refusals become codes.
pub(crate) fn write_refusal(refusal: &Refusal, dialect: Dialect, to: ReplyTo, output: &mut Output) {
    if let Refusal::Fenced { current } = refusal {
        let fenced = Fenced { epoch: *current };
        return output.write(|out| fenced.write(to.kind, to.opaque, out));
    }
    let refused = Refused::new(code(refusal, dialect), refusal.to_string());
    output.write(|out| refused.write(to.kind, to.opaque, out));
}

fn code(refusal: &Refusal, dialect: Dialect) -> ResponseCode {
    match (refusal, dialect) {
        (Refusal::UnknownTopic(_), _) | (Refusal::NoSuchQueue { .. }, Dialect::Own) => {
            ResponseCode::TOPIC_NOT_EXIST
        }
        (Refusal::IllegalTopic(_), _) | (Refusal::NoSuchQueue { .. }, Dialect::RocketMq) => {
            ResponseCode::INVALID_PARAMETER
        }
        (Refusal::NotWritable(_) | Refusal::NotReadable(_) | Refusal::NoTransactions, _) => {
            ResponseCode::NO_PERMISSION
        }
        (Refusal::IllegalMessage(_), _) => ResponseCode::MESSAGE_ILLEGAL,
        (Refusal::IllegalFilter(_), _) => ResponseCode::SUBSCRIPTION_PARSE_FAILED,
        (Refusal::Busy | Refusal::Overloaded, _) => ResponseCode::SYSTEM_BUSY,
        (Refusal::Fenced { .. }, _) => ResponseCode::MR_FENCED,
        (Refusal::DiskFull(_), Dialect::Own) => ResponseCode::MR_DISK_FULL,
        (Refusal::Poisoned(_), Dialect::Own) => ResponseCode::MR_POISONED,
        // Producers try another broker on both.
        (Refusal::DiskFull(_), Dialect::RocketMq) => ResponseCode::SERVICE_NOT_AVAILABLE,
        (Refusal::Poisoned(_), Dialect::RocketMq)
        | (Refusal::NoMessage(_) | Refusal::NoTransaction(_) | Refusal::NoRoom { .. }, _) => {
            ResponseCode::SYSTEM_ERROR
        }
    }
}

/// What a client is told that has waited for so long that it has probably given up. Tools look for
/// this text. (In RocketMQ, `BrokerFastFailure`.)
pub(crate) fn waited_too_long(waited_ms: u64, waiting: usize) -> Refused {
    let remark = format!(
        "[TIMEOUT_CLEAN_QUEUE]broker busy, start flow control for a while, \
         period in queue: {waited_ms}ms, size of queue: {waiting}"
    );
    Refused::new(ResponseCode::SYSTEM_BUSY, remark)
}

/// What a client is told of stored bytes that cannot be read; `place` says which message it is.
pub(crate) fn unreadable(error: &ReadError, place: Option<&str>, dialect: Dialect) -> Refused {
    let code = match (error, dialect) {
        (
            ReadError::Damaged { .. }
            | ReadError::Absent { .. }
            | ReadError::Io { .. }
            | ReadError::BeyondLimit { .. },
            Dialect::Own,
        ) => ResponseCode::MR_UNREADABLE,
        // The next try is told where the queue starts now.
        (ReadError::Removed { .. }, _) => ResponseCode::SYSTEM_BUSY,
        (
            ReadError::Damaged { .. }
            | ReadError::Absent { .. }
            | ReadError::Io { .. }
            | ReadError::BeyondLimit { .. },
            Dialect::RocketMq,
        ) => ResponseCode::SYSTEM_ERROR,
    };
    let what = with_cause(error);
    Refused::new(code, place.map_or_else(|| what.clone(), |place| format!("{place}: {what}")))
}

/// An error and what caused it.
pub(crate) fn with_cause(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use millrace_types::QueueId;

    use super::*;

    #[track_caller]
    fn check(refusal: &Refusal, rocketmq: ResponseCode, own: ResponseCode) {
        assert_eq!(code(refusal, Dialect::RocketMq), rocketmq, "{refusal}");
        assert_eq!(code(refusal, Dialect::Own), own, "{refusal}");
    }

    #[test]
    fn our_own_requests_are_told_more_than_those_of_rocketmq() {
        let full = Refusal::DiskFull("0 bytes left".into());
        check(&full, ResponseCode::SERVICE_NOT_AVAILABLE, ResponseCode::MR_DISK_FULL);
        let poisoned = Refusal::Poisoned("fsync".into());
        check(&poisoned, ResponseCode::SYSTEM_ERROR, ResponseCode::MR_POISONED);
        let queue = Refusal::NoSuchQueue { topic: "t".into(), queue: QueueId(9), queues: 1 };
        check(&queue, ResponseCode::INVALID_PARAMETER, ResponseCode::TOPIC_NOT_EXIST);
        for busy in [Refusal::Busy, Refusal::Overloaded] {
            check(&busy, ResponseCode::SYSTEM_BUSY, ResponseCode::SYSTEM_BUSY);
        }
        let no_room = Refusal::NoRoom { what: "queues", max: 1 };
        check(&no_room, ResponseCode::SYSTEM_ERROR, ResponseCode::SYSTEM_ERROR);
        let topic = Refusal::UnknownTopic("t".into());
        check(&topic, ResponseCode::TOPIC_NOT_EXIST, ResponseCode::TOPIC_NOT_EXIST);
    }
}
