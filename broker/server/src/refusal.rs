use millrace_engine::Refusal;
use millrace_protocol::{Answer, Fenced, Refused, ResponseCode};
use millrace_store::ReadError;

use crate::reactor::Output;
use crate::waiting::ReplyTo;

/// Answers a request that the engine refused. The one place where refusals become codes.
pub(crate) fn write_refusal(refusal: &Refusal, to: ReplyTo, output: &mut Output) {
    let code = match refusal {
        Refusal::UnknownTopic(_) => ResponseCode::TOPIC_NOT_EXIST,
        Refusal::IllegalTopic(_) | Refusal::NoSuchQueue { .. } => ResponseCode::INVALID_PARAMETER,
        Refusal::NotWritable(_) | Refusal::NotReadable(_) => ResponseCode::NO_PERMISSION,
        Refusal::IllegalMessage(_) => ResponseCode::MESSAGE_ILLEGAL,
        Refusal::IllegalFilter(_) => ResponseCode::SUBSCRIPTION_PARSE_FAILED,
        // Producers try another broker on both.
        Refusal::DiskFull(_) => ResponseCode::SERVICE_NOT_AVAILABLE,
        Refusal::Poisoned(_) => ResponseCode::SYSTEM_ERROR,
        Refusal::Fenced { current } => {
            let fenced = Fenced { epoch: *current };
            return output.write(|out| fenced.write(to.kind, to.opaque, out));
        }
    };
    let refused = Refused::new(code, refusal.to_string());
    output.write(|out| refused.write(to.kind, to.opaque, out));
}

/// What a client is told of stored bytes that cannot be read.
pub(crate) fn unreadable(error: &ReadError) -> Refused {
    match error {
        ReadError::Damaged { .. } | ReadError::BeyondLimit { .. } | ReadError::Io { .. } => {
            Refused::new(ResponseCode::SYSTEM_ERROR, error.to_string())
        }
    }
}
