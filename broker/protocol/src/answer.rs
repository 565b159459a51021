use std::borrow::Cow;

use crate::json::BodyError;
use crate::{FieldWriter, FieldsError, FrameWriter, Head, Header, HeaderKind, ResponseCode};

mod admin; // to tools
mod client; // heartbeats and members
mod filter; // about filters in the broker
mod inquiry; // about clients, and to be kept elsewhere
mod offset; // offsets, times and look-ups
mod private; // to our own requests
mod pull;
mod send;

pub use admin::{
    ConnectedClient, ConsumerConnections, GroupConfigs, GroupNames, GroupProgress, GroupSettings,
    KvTable, KvValue, MovedTo, QueueProgress, QueueStats, StoredGroupConfig, TopicConfig,
    TopicConfigs, TopicKept, TopicNames, TopicStats,
};
pub use client::{ConsumerList, HeartbeatAnswer};
pub use filter::{AttachedFilter, AttachedFilters};
pub use inquiry::{
    AllOffsets, AllProducers, GroupSubscription, KnownProducer, ProducerConnections,
};
pub use offset::{OffsetAnswer, QueryAnswer, TimestampAnswer};
pub use private::{Appended, Fenced, HelloAnswer, StoredAnswer, TopicAnswer, write_stored_head};
pub use pull::{PullAnswer, PullStatus, write_pull_head};
pub use send::{MessageIds, SendAnswer, SendStatus};

/// What is sent back for a request. Never to a oneway one.
pub trait Answer {
    /// How the request went; success unless said otherwise.
    fn code(&self) -> ResponseCode {
        ResponseCode::SUCCESS
    }

    /// An error text or a diagnostic; none unless said otherwise.
    fn remark(&self) -> &str {
        ""
    }

    /// The header fields; none unless said otherwise.
    fn fields(&self, _to: &mut FieldWriter<'_>) {}

    /// The body; none unless said otherwise.
    fn body(&self, _out: &mut Vec<u8>) {}

    /// Appends the whole frame. `kind` and `opaque` are those of the request.
    fn write(&self, kind: HeaderKind, opaque: i32, out: &mut Vec<u8>) {
        write_frame(self, kind, opaque, out);
    }
}

/// Writes any answer.
fn write_frame(answer: &(impl Answer + ?Sized), kind: HeaderKind, opaque: i32, out: &mut Vec<u8>) {
    let head = Head::answer(kind, answer.code().0, opaque, answer.remark());
    let mut frame = FrameWriter::begin(out, &head, |to| answer.fields(to));
    answer.body(frame.out());
    frame.finish();
}

/// Why an answer is not what its request calls for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AnswerError {
    /// The peer refused.
    #[error("refused with {0}")]
    Refused(Refused),
    /// The header's fields are not those of the answer.
    #[error(transparent)]
    Fields(#[from] FieldsError),
    /// The body is not that of the answer.
    #[error(transparent)]
    Body(#[from] BodyError),
}

/// Done; there is nothing more to say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Done;

impl Done {
    /// Reads an answer of which only its code matters.
    pub fn decode(header: &Header<'_>) -> Result<Self, AnswerError> {
        success(header).map(|()| Self)
    }
}

impl Answer for Done {}

/// An error, for a person and for a program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// For the program.
    pub code: ResponseCode,
    /// For the person; cut after 4 KiB.
    pub remark: Cow<'static, str>,
}

impl Refused {
    /// An error answer.
    pub fn new(code: ResponseCode, remark: impl Into<Cow<'static, str>>) -> Self {
        Self { code, remark: remark.into() }
    }

    /// What the header of an answer says, taken as an error.
    pub fn of(header: &Header<'_>) -> Self {
        Self::new(header.response_code(), header.remark.clone().into_owned())
    }
}

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.code, self.remark)
    }
}

impl Answer for Refused {
    fn code(&self) -> ResponseCode {
        self.code
    }

    fn remark(&self) -> &str {
        &self.remark
    }
}

fn success(header: &Header<'_>) -> Result<(), AnswerError> {
    if header.response_code() == ResponseCode::SUCCESS {
        Ok(())
    } else {
        Err(AnswerError::Refused(Refused::of(header)))
    }
}

/// Answers that are header fields only, behind the code for success.
macro_rules! field_answers {
    ($($name:ident $(<$lt:lifetime>)?,)*) => {
        $(impl $(<$lt>)? $crate::Answer for $name $(<$lt>)? {
            fn fields(&self, to: &mut $crate::FieldWriter<'_>) {
                self.write_fields(to);
            }
        }

        impl $(<$lt>)? $name $(<$lt>)? {
            /// Reads the answer's header.
            pub fn decode(
                header: &$crate::answer::lifetime!(Header $($lt)?),
            ) -> Result<Self, $crate::AnswerError> {
                $crate::answer::success(header)?;
                Ok($crate::FromFields::from_fields(&header.fields)?)
            }
        })*
    };
}
macro_rules! lifetime {
    (Header $lt:lifetime) => { $crate::Header<$lt> };
    (Header) => { $crate::Header<'_> };
}
use {field_answers, lifetime};

#[cfg(test)]
mod tests;
