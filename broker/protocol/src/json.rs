//! JSON as RocketMQ's clients write it, which is more than the standard allows: bare or compound
//! keys, numbers as text, single quotes, trailing commas, references.
//!
//! [`Scanner`] walks headers without building anything; [`Json`] holds a body, which is rare.

mod scanner;
mod tree;
mod writer;

pub(crate) use scanner::{Scanner, Token, lossy, parse_int};
pub use tree::BODY_VALUES_MAX;
pub(crate) use tree::{Json, Node};
pub(crate) use writer::{ObjectWriter, push_escaped, push_list, push_text};

/// Why a body does not say what its request needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// Not JSON, not even of the lenient kind, or nested too deeply, or with too many values.
    #[error("the body is not JSON, or has too many values or too deep ones")]
    Json,
    /// A length in a binary body points outside of it.
    #[error("the lengths in the body do not fit together")]
    Lengths,
    /// A binary body of a version we do not know.
    #[error("the body has version {0}, which this version does not know")]
    Version(u8),
    /// Something the body must contain is missing or of another type.
    #[error("the body has no usable `{0}`")]
    Missing(&'static str),
}

/// What a scan ends with when the bytes are not JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NotJson;
