use millrace_protocol::{AnswerError, Fenced, Header, Refused, ResponseCode};
use millrace_types::{QueueId, TopicName};

use crate::peers::{Answered, Lost, with_causes};
use crate::{Append, BrokerError, StorageTrouble};

/// How a broker's remark begins where its code alone does not tell enough.
const ILLEGAL_QUEUE: &str = "queueId[";

/// What was asked, as far as it decides over what a failure means.
#[derive(Clone, Copy, Debug)]
pub(super) enum Asked<'a> {
    /// To append, which must not happen twice.
    Append(&'a Append),
    /// Something else about one queue, which may be asked again.
    Queue(&'a TopicName, QueueId),
}

impl Asked<'_> {
    /// What it means that there is no answer.
    pub(super) fn lost(&self, lost: Lost) -> BrokerError {
        match (self, lost) {
            (Self::Append(_), Lost::Unanswered { address, reason }) => {
                BrokerError::OutcomeUnknown(format!("{address}: {reason}"))
            }
            (_, lost) => lost.into(),
        }
    }

    /// What it means that the answer is not the one hoped for.
    pub(super) fn failed(&self, error: AnswerError, answered: &Answered) -> BrokerError {
        match error {
            AnswerError::Refused(refused) => {
                self.refused(refused, &answered.response.header(), &answered.address)
            }
            AnswerError::Fields(_) | AnswerError::Body(_) => self.unclear(&with_causes(&error)),
        }
    }

    /// What it means that the broker said something that we do not understand.
    pub(super) fn unclear(&self, what: &str) -> BrokerError {
        let text = format!("the answer cannot be understood: {what}");
        match self {
            Self::Append(_) => BrokerError::OutcomeUnknown(text),
            Self::Queue(..) => BrokerError::Refused(text),
        }
    }

    /// What a code means; the one place where codes become errors.
    fn refused(&self, refused: Refused, header: &Header<'_>, address: &str) -> BrokerError {
        let remark = &*refused.remark;
        match StorageTrouble::of(&refused) {
            Some(StorageTrouble::DiskFull(reason)) => return BrokerError::DiskFull(reason),
            Some(StorageTrouble::Stopped(reason)) => return BrokerError::Poisoned(reason),
            None => {}
        }
        match refused.code {
            ResponseCode::MR_FENCED => match Fenced::decode(header) {
                Some(Fenced { epoch }) => BrokerError::Fenced { current: epoch },
                None => BrokerError::Refused(refused.to_string()),
            },
            ResponseCode::MR_UNREADABLE => BrokerError::Unreadable(remark.to_owned()),
            ResponseCode::TOPIC_NOT_EXIST => self.no_such_queue(remark),
            // RocketMQ has one code for everything that may be wrong with a request.
            ResponseCode::INVALID_PARAMETER if remark.starts_with(ILLEGAL_QUEUE) => {
                self.no_such_queue(remark)
            }
            // Stored, and yet a power cut could take it: neither a success nor a failure.
            ResponseCode::FLUSH_DISK_TIMEOUT
            | ResponseCode::FLUSH_SLAVE_TIMEOUT
            | ResponseCode::SLAVE_NOT_AVAILABLE => BrokerError::OutcomeUnknown(refused.to_string()),
            // Turned away before anything was done.
            ResponseCode::SYSTEM_BUSY
            | ResponseCode::GO_AWAY
            | ResponseCode::SERVICE_NOT_AVAILABLE => BrokerError::Unreachable {
                address: address.to_owned(),
                reason: refused.to_string(),
            },
            ResponseCode::REQUEST_CODE_NOT_SUPPORTED
            | ResponseCode::MESSAGE_ILLEGAL
            | ResponseCode::NO_PERMISSION
            | ResponseCode::INVALID_PARAMETER => BrokerError::Refused(refused.to_string()),
            // A failure inside of the broker, or a code that our requests are not answered with:
            // nobody knows what has been done before it.
            _ => match self {
                Self::Append(_) => BrokerError::OutcomeUnknown(refused.to_string()),
                Self::Queue(..) => BrokerError::Refused(refused.to_string()),
            },
        }
    }

    /// The queue that is missing; of several, the one that the remark is about.
    fn no_such_queue(&self, remark: &str) -> BrokerError {
        let (topic, queue) = match self {
            Self::Queue(topic, queue) => (*topic, *queue),
            Self::Append(append) => {
                let fence = append.fence.iter().map(|fence| (&fence.topic, fence.queue));
                let messages = append.messages.iter().map(|m| (&m.topic, m.queue));
                let mut named = None;
                let mut some = None;
                for (topic, queue) in fence.chain(messages) {
                    some = some.or(Some((topic, queue)));
                    if remark.contains(&format!("topic[{topic}]")) {
                        named = named.or(Some((topic, queue)));
                        if remark.contains(&format!("queueId[{queue}]")) {
                            named = Some((topic, queue));
                            break;
                        }
                    }
                }
                match named.or(some) {
                    Some(found) => found,
                    None => return BrokerError::Refused(remark.to_owned()),
                }
            }
        };
        BrokerError::NoSuchQueue { topic: topic.clone(), queue }
    }
}

#[cfg(test)]
mod tests;
