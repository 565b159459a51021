use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use millrace_protocol::{Answer, Call, CallMode, FrameBuf, Header, HeaderKind, Limits};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, ToSocketAddrs};
use tokio::sync::Mutex;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout, timeout_at};

use crate::link::{Link, Queued};
use crate::{CallError, Callback, Callbacks, Cause, Closed, ConnectError, task};

/// How much a connection may hold and how long it may take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// What the peer may make us keep in memory.
    pub limits: Limits,
    /// The form of our headers. The peer's are read in either form.
    pub header_kind: HeaderKind,
    /// How long to wait for a connection.
    pub connect_timeout: Duration,
    /// Requests that may wait for their answers; further calls wait their turn.
    pub requests_max: usize,
    /// Bytes that may wait to be written, and so the largest request; further calls wait for room.
    pub unsent_bytes_max: usize,
    /// Requests of the peer that may wait for [`Callbacks::next`].
    pub callbacks_max: usize,
    /// How long [`Connection::close`] may go on writing what was queued.
    pub linger: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            limits: Limits::default(),
            header_kind: HeaderKind::Json,
            connect_timeout: Duration::from_secs(3),
            requests_max: 1024,
            unsent_bytes_max: 32 << 20,
            callbacks_max: 64,
            linger: Duration::from_secs(1),
        }
    }
}

/// A connection to a broker or name server. Clones share it; it closes when the last is dropped.
#[derive(Clone, Debug)]
pub struct Connection {
    owner: Arc<Owner>,
}

/// What ends with the last handle.
#[derive(Debug)]
struct Owner {
    link: Arc<Link>,
    header_kind: HeaderKind,
    task: Mutex<Option<JoinHandle<()>>>,
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.link.close();
    }
}

impl Connection {
    /// Connects. What the peer asks of us comes out of the second part, which may be dropped.
    pub async fn connect(
        address: impl ToSocketAddrs,
        config: &Config,
    ) -> Result<(Self, Callbacks), ConnectError> {
        let connecting = timeout(config.connect_timeout, TcpStream::connect(address)).await;
        let stream = connecting.map_err(|_| ConnectError::Timeout)??;
        // A request is written whole; waiting for more to send would only delay it.
        stream.set_nodelay(true)?;
        let (read, write) = stream.into_split();
        Ok(Self::over(read, write, config))
    }

    /// A connection over any pair of streams, for encrypted or simulated ones. Must be called
    /// within a tokio runtime, which runs its task.
    pub fn over(
        read: impl AsyncRead + Send + Unpin + 'static,
        write: impl AsyncWrite + Send + Unpin + 'static,
        config: &Config,
    ) -> (Self, Callbacks) {
        let link = Arc::new(Link::new(config));
        let (sender, callbacks) = Callbacks::channel(config.callbacks_max);
        let run = task::run(read, write, Arc::clone(&link), sender, config.clone());
        let task = Mutex::new(Some(tokio::spawn(run)));
        let owner = Owner { link, header_kind: config.header_kind, task };
        (Self { owner: Arc::new(owner) }, callbacks)
    }

    /// Sends a request and waits for its answer, whatever its code. The request is encoded now
    /// and sent once the future is polled. Dropping the future before its end is like a timeout:
    /// the request may have been carried out.
    pub fn call(
        &self,
        call: &dyn Call,
        timeout: Duration,
    ) -> impl Future<Output = Result<Response, CallError>> + Send + use<> {
        let owner = Arc::clone(&self.owner);
        let opaque = owner.link.next_opaque();
        let mut frame = Vec::new();
        call.write(owner.header_kind, opaque, CallMode::Answered, &mut frame);
        async move {
            let deadline = Instant::now() + timeout;
            let queueing = timeout_at(deadline, owner.link.queue_call(opaque, &frame)).await;
            let Queued { answer, held } =
                queueing.map_err(|_| CallError::NotSent(Cause::Timeout))??;
            drop(frame);
            let answered = timeout_at(deadline, answer).await;
            drop(held);
            match answered {
                Ok(Ok(frame)) => Ok(Response { frame }),
                Ok(Err(_)) => Err(CallError::Unanswered(owner.link.reason().into())),
                Err(_) => Err(CallError::Unanswered(Cause::Timeout)),
            }
        }
    }

    /// Queues a request that is never answered. The request is encoded now and queued once the
    /// future is polled and there is room. Success does not mean that it arrived.
    pub fn send_oneway(
        &self,
        call: &dyn Call,
    ) -> impl Future<Output = Result<(), CallError>> + Send + use<> {
        let owner = Arc::clone(&self.owner);
        let mut frame = Vec::new();
        call.write(owner.header_kind, owner.link.next_opaque(), CallMode::Oneway, &mut frame);
        async move { owner.link.queue(&frame).await }
    }

    /// Queues the answer to a request of the peer once the future is polled and there is room;
    /// nothing if the peer wants none.
    pub fn answer(
        &self,
        callback: &Callback,
        answer: &dyn Answer,
    ) -> impl Future<Output = Result<(), CallError>> + Send + use<> {
        let owner = Arc::clone(&self.owner);
        let header = callback.header();
        let mut frame = Vec::new();
        if !header.is_oneway() {
            answer.write(header.kind, header.opaque, &mut frame);
        }
        async move { if frame.is_empty() { Ok(()) } else { owner.link.queue(&frame).await } }
    }

    /// Why the connection has ended; `None` while it lives.
    pub fn closed(&self) -> Option<Closed> {
        self.owner.link.closed()
    }

    /// Ends the connection, after writing what is queued if the peer takes it within
    /// [`Config::linger`]. Waiting calls fail. Returns when nothing of it is left running.
    pub async fn close(&self) {
        self.owner.link.close();
        // Held across the wait, so that a second caller waits as well.
        let mut task = self.owner.task.lock().await;
        if let Some(running) = task.as_mut() {
            // Its only errors are a panic, which has been reported, and the runtime's end.
            let _ = running.await;
            *task = None;
        }
    }
}

/// The answer to a call: a success or a refusal, which its header tells.
#[derive(Clone, Debug)]
pub struct Response {
    frame: FrameBuf,
}

impl Response {
    /// The answer's header.
    pub fn header(&self) -> Header<'_> {
        read_header(&self.frame)
    }

    /// The answer's body; keeping it keeps the memory it was read into.
    pub fn body(&self) -> &Bytes {
        self.frame.body()
    }

    /// The answer's body, letting go of the header.
    pub fn into_body(self) -> Bytes {
        self.frame.into_body()
    }
}

/// Reads the header of a frame that the task has let through.
pub(crate) fn read_header(frame: &FrameBuf) -> Header<'_> {
    frame.view().header().expect("the task closes the connection on headers that cannot be read")
}

#[cfg(test)]
mod tests;
