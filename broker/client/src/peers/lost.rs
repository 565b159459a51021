use std::error::Error;

use crate::BrokerError;

/// Why there is no answer.
#[derive(Clone, Debug)]
pub(crate) enum Lost {
    /// Not a byte of the request has left this process.
    NotSent {
        /// Who was to get it.
        address: String,
        /// What was in the way.
        reason: String,
    },
    /// The request may have arrived.
    Unanswered {
        /// Who may have got it.
        address: String,
        /// What happened to the answer.
        reason: String,
    },
    /// Nothing was sent, and asking again would change nothing.
    Refused(String),
}

/// For requests that only prepare others.
impl From<Lost> for BrokerError {
    fn from(lost: Lost) -> Self {
        match lost {
            Lost::NotSent { address, reason } | Lost::Unanswered { address, reason } => {
                Self::Unreachable { address, reason }
            }
            Lost::Refused(reason) => Self::Refused(reason),
        }
    }
}

/// An error and what caused it.
pub(crate) fn with_causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        let next_text = next.to_string();
        // Some errors tell their cause themselves.
        if !text.ends_with(&next_text) {
            text.push_str(": ");
            text.push_str(&next_text);
        }
        cause = next.source();
    }
    text
}
