use bytes::Bytes;
use millrace_protocol::{FrameBuf, Header};
use tokio::sync::mpsc;

use crate::connection::read_header;

/// A request that the peer sent to us, such as the news that a group has changed.
#[derive(Debug)]
pub struct Callback {
    frame: FrameBuf,
}

impl Callback {
    pub(crate) fn new(frame: FrameBuf) -> Self {
        Self { frame }
    }

    /// The request's header; a [`millrace_protocol::Request`] is read from it and the body.
    pub fn header(&self) -> Header<'_> {
        read_header(&self.frame)
    }

    /// The request's body.
    pub fn body(&self) -> &Bytes {
        self.frame.body()
    }
}

/// The requests of the peer, in order. Those that nobody takes are answered "busy" once
/// [`crate::Config::callbacks_max`] of them wait, and "not supported" once this is dropped.
#[derive(Debug)]
pub struct Callbacks {
    received: mpsc::Receiver<Callback>,
}

impl Callbacks {
    pub(crate) fn channel(callbacks_max: usize) -> (mpsc::Sender<Callback>, Self) {
        let (sender, received) = mpsc::channel(callbacks_max.max(1));
        (sender, Self { received })
    }

    /// The next one; `None` once the connection has ended. Dropping the future loses nothing.
    pub async fn next(&mut self) -> Option<Callback> {
        self.received.recv().await
    }
}
