use std::io;
use std::sync::Arc;

use bytes::BytesMut;
use millrace_protocol::{Answer, Frame, FrameBuf, Limits, Refused, ResponseCode, Split};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;
use tokio::time::timeout;
use tracing::{debug, warn};

use crate::link::{Link, Work};
use crate::{Callback, Closed, Config};

/// What a new read buffer has. Bodies are handed out as parts of it, so it is not filled again
/// while one of them is kept.
const READ_BYTES: usize = 64 << 10;
/// What one read is offered at least.
const READ_BYTES_MIN: usize = 4 << 10;
/// A peer that announces a large frame gets its memory in steps, as the bytes arrive.
const READ_AHEAD_BYTES_MAX: usize = 1 << 20;
/// A buffer that grew beyond this for one burst is given back.
const SPARE_BYTES_MAX: usize = 1 << 20;

/// Reads and writes until either side ends the connection.
pub(crate) async fn run(
    read: impl AsyncRead + Unpin,
    mut write: impl AsyncWrite + Unpin,
    link: Arc<Link>,
    callbacks: mpsc::Sender<Callback>,
    config: Config,
) {
    let incoming = Incoming { link: &link, callbacks, limits: config.limits };
    let reason = {
        let reading = incoming.read(read);
        let writing = write_all(&mut write, &link);
        tokio::pin!(reading, writing);
        // Either one ends the connection; the other is dropped, and with it what it held.
        tokio::select! {
            reason = &mut reading => reason,
            reason = &mut writing => reason,
            reason = closing(&link, config.linger) => reason,
        }
    };
    debug!(error = %reason, "connection ended");
    link.end(reason);
    // The peer is told, if it still listens; if not, there is nobody to tell.
    let _ = timeout(config.linger, write.shutdown()).await;
}

async fn closing(link: &Link, linger: std::time::Duration) -> Closed {
    link.asked_to_close().await;
    tokio::time::sleep(linger).await;
    Closed::Here
}

/// Writes whatever has gathered, again and again. Its end is the connection's.
async fn write_all(write: &mut (impl AsyncWrite + Unpin), link: &Link) -> Closed {
    let mut buffer = Vec::new();
    loop {
        match link.take(&mut buffer) {
            Work::Close => return Closed::Here,
            Work::Wait => {
                link.woken().await;
                continue;
            }
            Work::Write => {}
        }
        let mut rest = &buffer[..];
        while !rest.is_empty() {
            match write.write(rest).await {
                Ok(0) => return Closed::Io(Arc::new(io::ErrorKind::WriteZero.into())),
                Ok(written) => {
                    link.written(written);
                    rest = &rest[written..];
                }
                Err(error) => return Closed::Io(Arc::new(error)),
            }
        }
        buffer.clear();
        if buffer.capacity() > SPARE_BYTES_MAX {
            buffer = Vec::new();
        }
    }
}

/// Where the peer's frames go.
struct Incoming<'l> {
    link: &'l Link,
    callbacks: mpsc::Sender<Callback>,
    limits: Limits,
}

impl Incoming<'_> {
    /// Reads frames until the peer ends the connection or sends something else.
    async fn read(&self, mut read: impl AsyncRead + Unpin) -> Closed {
        let mut buffer = BytesMut::new();
        let mut answers = Vec::new();
        loop {
            let missing = match self.take_frames(&mut buffer, &mut answers) {
                Ok(missing) => missing,
                Err(reason) => return reason,
            };
            let wanted = missing.clamp(READ_BYTES_MIN, READ_AHEAD_BYTES_MAX);
            if buffer.capacity() - buffer.len() < wanted {
                buffer.reserve(wanted.max(READ_BYTES));
            }
            match read.read_buf(&mut buffer).await {
                Ok(0) if buffer.is_empty() => return Closed::ByPeer,
                Ok(0) => return Closed::WithinFrame,
                Ok(_) => {}
                Err(error) => return Closed::Io(Arc::new(error)),
            }
        }
    }

    /// Takes all whole frames out of the buffer; the answers among them are handed out together.
    /// Tells how many bytes the next frame lacks at least. What came before an error still counts.
    fn take_frames(
        &self,
        buffer: &mut BytesMut,
        answers: &mut Vec<(i32, FrameBuf)>,
    ) -> Result<usize, Closed> {
        let ended = loop {
            match self.take_frame(buffer, answers) {
                Ok(None) => {}
                Ok(Some(missing)) => break Ok(missing),
                Err(reason) => break Err(reason),
            }
        };
        let late = self.link.answered(answers);
        if late > 0 {
            debug!(late, "answers came after their calls had ended");
        }
        ended
    }

    /// Takes one frame; if it is not whole, tells how many bytes it lacks at least.
    fn take_frame(
        &self,
        buffer: &mut BytesMut,
        answers: &mut Vec<(i32, FrameBuf)>,
    ) -> Result<Option<usize>, Closed> {
        if let Split::Partial(missing) = Frame::split(buffer, &self.limits)? {
            return Ok(Some(missing));
        }
        let Some(frame) = FrameBuf::split(buffer, &self.limits)? else {
            return Ok(Some(1));
        };
        let header = frame.view().header()?;
        if header.is_response() {
            let opaque = header.opaque;
            answers.push((opaque, frame));
        } else {
            self.called_back(frame);
        }
        Ok(None)
    }

    fn called_back(&self, frame: FrameBuf) {
        let (callback, refused) = match self.callbacks.try_send(Callback::new(frame)) {
            Ok(()) => return,
            Err(TrySendError::Full(callback)) => {
                (callback, Refused::new(ResponseCode::SYSTEM_BUSY, "too many requests wait"))
            }
            Err(TrySendError::Closed(callback)) => {
                let code = ResponseCode::REQUEST_CODE_NOT_SUPPORTED;
                (callback, Refused::new(code, "requests are not taken here"))
            }
        };
        let header = callback.header();
        if refused.code == ResponseCode::SYSTEM_BUSY {
            warn!(code = %header.request_code(), "request of the peer dropped, too many wait");
        }
        if !header.is_oneway() {
            let mut out = Vec::new();
            refused.write(header.kind, header.opaque, &mut out);
            // Without room the peer reads nothing, so it would not read this either.
            self.link.try_queue(&out);
        }
    }
}
