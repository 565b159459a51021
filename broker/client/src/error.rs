use millrace_protocol::{AnswerError, Refused};

use crate::peers::{Answered, Lost};
use crate::{BrokerError, StorageTrouble};

/// Why a producer, a consumer or a tool did not get what it asked a cluster for.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody answered, and nothing was sent: asking again is safe.
    #[error("nobody answers at {address}: {reason}")]
    Unreachable {
        /// Where.
        address: String,
        /// Why.
        reason: String,
    },
    /// The request was sent and no answer came: it may have been carried out.
    #[error("no answer from {address}: {reason}")]
    Unanswered {
        /// From whom.
        address: String,
        /// Why.
        reason: String,
    },
    /// The peer said no.
    #[error("{address} refused with {refused}")]
    Refused {
        /// Who.
        address: String,
        /// Its code and its words.
        refused: Refused,
    },
    /// The answer is not one to the question.
    #[error("{address} gave an answer that makes no sense: {reason}")]
    Garbled {
        /// Who.
        address: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The name servers know nobody who has the topic, or nobody who may be used for this.
    #[error("no broker serves the topic `{0}`")]
    NoRoute(String),
    /// The name servers know no such broker, or not the one of it that takes writes.
    #[error("no broker called `{0}` takes writes")]
    NoBroker(String),
    /// The request cannot be made at all.
    #[error("{0}")]
    Invalid(String),
}

impl ClientError {
    /// Whether the broker stores nothing, and why; `None` for every other failure.
    pub fn storage_trouble(&self) -> Option<StorageTrouble> {
        match self {
            Self::Refused { refused, .. } => StorageTrouble::of(refused),
            Self::Unreachable { .. }
            | Self::Unanswered { .. }
            | Self::Garbled { .. }
            | Self::NoRoute(_)
            | Self::NoBroker(_)
            | Self::Invalid(_) => None,
        }
    }

    /// What an answer that is not the expected one means.
    pub(crate) fn of_answer(error: AnswerError, answered: &Answered) -> Self {
        let address = answered.address.to_string();
        match error {
            AnswerError::Refused(refused) => Self::Refused { address, refused },
            AnswerError::Fields(error) => Self::Garbled { address, reason: error.to_string() },
            AnswerError::Body(error) => Self::Garbled { address, reason: error.to_string() },
        }
    }
}

impl From<Lost> for ClientError {
    fn from(lost: Lost) -> Self {
        match lost {
            Lost::NotSent { address, reason } => Self::Unreachable { address, reason },
            Lost::Unanswered { address, reason } => Self::Unanswered { address, reason },
            Lost::Refused(reason) => Self::Invalid(reason),
        }
    }
}

impl From<BrokerError> for ClientError {
    /// For addresses that are none; nothing else of a client is told as a [`BrokerError`].
    fn from(error: BrokerError) -> Self {
        Self::Invalid(match error {
            BrokerError::Refused(reason) => reason,
            other => other.to_string(),
        })
    }
}
