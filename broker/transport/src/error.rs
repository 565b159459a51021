use std::io;
use std::sync::Arc;

use millrace_protocol::{FrameError, HeaderError};

/// Why a call has no answer. The variants differ in what a caller may do next.
#[derive(Clone, Debug, thiserror::Error)]
pub enum CallError {
    /// The request can never be sent over this connection.
    #[error("a request of {len} bytes exceeds the limit of {max} bytes")]
    TooLarge {
        /// Bytes of the frame.
        len: usize,
        /// Bytes allowed.
        max: usize,
    },
    /// Nothing was sent: asking again is safe.
    #[error("the request was not sent: {0}")]
    NotSent(#[source] Cause),
    /// The request may have been carried out, or still be.
    #[error("the request was not answered: {0}")]
    Unanswered(#[source] Cause),
}

/// What kept a call from its answer.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Cause {
    /// Its time was up.
    #[error("timed out")]
    Timeout,
    /// The connection ended.
    #[error(transparent)]
    Closed(#[from] Closed),
}

/// Why a connection ended.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Closed {
    /// We closed it.
    #[error("the connection was closed")]
    Here,
    /// The peer closed it between two frames.
    #[error("the peer closed the connection")]
    ByPeer,
    /// The peer closed it within a frame.
    #[error("the peer closed the connection within a frame")]
    WithinFrame,
    /// Reading or writing failed.
    #[error("the connection failed: {0}")]
    Io(#[source] Arc<io::Error>),
    /// The peer sent something that is not a frame, or one that is too large.
    #[error("the peer does not speak the protocol: {0}")]
    Frame(#[from] FrameError),
    /// The peer sent a frame whose header cannot be read.
    #[error("the peer does not speak the protocol: {0}")]
    Header(#[from] HeaderError),
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// Nobody answered in time.
    #[error("connecting timed out")]
    Timeout,
    /// The address is not known, or nobody listens there.
    #[error("cannot connect")]
    Io(#[from] io::Error),
}
