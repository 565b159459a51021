use async_trait::async_trait;
use bytes::Bytes;
use std::sync::Arc;

/// Where records come from. The runtime appends what it gives to the topic, unchanged.
///
/// A source keeps no durable state of its own: every record has a [`Position`] that the log keeps
/// with it, and at a restart the runtime tells the source where to go on.
#[async_trait]
pub trait Source: Send {
    /// The next records. Dropping the future before it is ready loses nothing.
    async fn poll(&mut self) -> Result<Polled, SourceError>;
}

/// What a source has to give.
#[derive(Debug)]
pub enum Polled {
    /// Records.
    Chunk(Chunk),
    /// A record that could not be read (for instance a line that is too long), with as much of it
    /// as is kept, and why.
    Unreadable(Chunk, crate::Reject),
    /// Nothing now; the source has looked and will look again when polled. It has already waited
    /// a moment.
    Idle,
    /// What is to be expected of the origin of this identity from now on, after everything that
    /// was given of it.
    Standing(String, Standing),
    /// There will never be more.
    End,
}

/// Consecutive records of one origin.
#[derive(Clone, Debug)]
pub struct Chunk {
    /// Where they come from.
    pub origin: Arc<Origin>,
    /// The bytes in which all of them lie.
    pub data: Bytes,
    /// The records, in order of position.
    pub records: Vec<Span>,
}

/// One record of a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// First byte within the chunk's data.
    pub at: u32,
    /// Bytes, without the line end.
    pub len: u32,
    /// Where it stands in its origin.
    pub position: Position,
    /// Where the record after it starts; what a cursor past this record holds.
    pub next: Position,
}

/// A place in an origin: for a file, bytes and lines before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// Bytes before it.
    pub offset: u64,
    /// Lines before it, so that the first line is 0.
    pub line: u64,
}

/// A file, or whatever else has positions.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Origin {
    /// What tells it from others that later get the same path; letters, digits and `-`.
    pub identity: String,
    /// The path, for people.
    pub path: String,
    /// The line that names the columns of all its records, if it has one; at most 8 KiB.
    pub header: Option<Arc<str>>,
}

/// How far an origin has been read into the topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceCursor {
    /// The origin's identity.
    pub identity: String,
    /// The path that it had, or nothing where that is not known.
    pub path: String,
    /// The next record to read.
    pub position: Position,
    /// What the source last said of it, unless there were records since.
    pub standing: Standing,
}

/// What a source still expects of an origin that it began to read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Standing {
    /// More. If it is not where it was, it is looked for and missed.
    #[default]
    Open,
    /// Perhaps more, though it was read to its end and was not to be waited for. It is looked for,
    /// and not missed if it is nowhere.
    Ended,
    /// Nothing.
    Left,
}

impl Standing {
    /// Whether more is expected.
    pub fn is_open(&self) -> bool {
        *self == Self::Open
    }
}

/// Why a source cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// What it is to read is not there.
    #[error("{0}")]
    Missing(String),
    /// What it is to read is there, and nothing that it can read.
    #[error("cannot read {path}: {reason}")]
    Unsuitable {
        /// What was to be read.
        path: String,
        /// What it is.
        reason: String,
    },
    /// Reading failed.
    #[error("cannot read {path}")]
    Io {
        /// What was read.
        path: String,
        /// Why it failed.
        source: std::io::Error,
    },
}
