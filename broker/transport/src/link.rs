use std::collections::HashMap;
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use millrace_protocol::FrameBuf;
use tokio::sync::{AcquireError, Notify, OwnedSemaphorePermit, Semaphore, oneshot};

use crate::{CallError, Cause, Closed, Config};

/// What the handles and the task of one connection share.
#[derive(Debug)]
pub(crate) struct Link {
    state: Mutex<State>,
    /// For the writing half of the task: something is to be written, or to be closed.
    wake: Notify,
    /// For the task as a whole: the connection is to be closed.
    close: Notify,
    opaque: AtomicI32,
    /// One permit per request that may wait for its answer.
    turns: Arc<Semaphore>,
    /// One permit per byte of the outbox that is not filled.
    room: Semaphore,
    frame_bytes_max: usize,
}

#[derive(Debug, Default)]
struct State {
    /// Whole frames that the task has not taken yet.
    outbox: Vec<u8>,
    waiting: HashMap<i32, oneshot::Sender<FrameBuf>>,
    /// Nothing more may be queued, but what is in the outbox may be written.
    closing: bool,
    closed: Option<Closed>,
}

/// A call whose request is in the outbox.
pub(crate) struct Queued {
    pub(crate) answer: oneshot::Receiver<FrameBuf>,
    /// To be kept until the call ends.
    pub(crate) held: (OwnedSemaphorePermit, Waiting),
}

/// Forgets a call that no longer waits.
pub(crate) struct Waiting {
    link: Arc<Link>,
    opaque: i32,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.link.lock().waiting.remove(&self.opaque);
    }
}

/// What the task is to do next.
pub(crate) enum Work {
    /// Write what has been put into its buffer.
    Write,
    /// Wait for [`Link::woken`].
    Wait,
    /// End the connection.
    Close,
}

impl Link {
    pub(crate) fn new(config: &Config) -> Self {
        let unsent_bytes_max = config.unsent_bytes_max.min(u32::MAX as usize);
        Self {
            state: Mutex::default(),
            wake: Notify::new(),
            close: Notify::new(),
            opaque: AtomicI32::new(0),
            turns: Arc::new(Semaphore::new(config.requests_max.min(Semaphore::MAX_PERMITS))),
            room: Semaphore::new(unsent_bytes_max),
            frame_bytes_max: config.limits.frame_bytes_max.min(unsent_bytes_max),
        }
    }

    pub(crate) fn next_opaque(&self) -> i32 {
        self.opaque.fetch_add(1, Ordering::Relaxed)
    }

    /// Queues a request once it is its turn and there is room.
    pub(crate) async fn queue_call(
        self: &Arc<Self>,
        opaque: i32,
        frame: &[u8],
    ) -> Result<Queued, CallError> {
        self.check_len(frame)?;
        let turn = Arc::clone(&self.turns).acquire_owned().await.map_err(|e| self.not_sent(e))?;
        self.make_room(frame).await?;
        let (sender, answer) = oneshot::channel();
        let mut state = self.lock();
        self.push(&mut state, frame)?;
        // A call that has waited for four billion others loses its place to the new one.
        state.waiting.insert(opaque, sender);
        drop(state);
        let waiting = Waiting { link: Arc::clone(self), opaque };
        Ok(Queued { answer, held: (turn, waiting) })
    }

    /// Queues a frame that nobody answers once there is room.
    pub(crate) async fn queue(&self, frame: &[u8]) -> Result<(), CallError> {
        self.check_len(frame)?;
        self.make_room(frame).await?;
        self.push(&mut self.lock(), frame)
    }

    /// Queues a frame if there is room at this moment.
    pub(crate) fn try_queue(&self, frame: &[u8]) -> bool {
        let Some(len) = u32::try_from(frame.len()).ok() else { return false };
        let Ok(room) = self.room.try_acquire_many(len) else { return false };
        room.forget();
        self.push(&mut self.lock(), frame).is_ok()
    }

    fn check_len(&self, frame: &[u8]) -> Result<(), CallError> {
        let (len, max) = (frame.len(), self.frame_bytes_max);
        if len > max { Err(CallError::TooLarge { len, max }) } else { Ok(()) }
    }

    /// Takes room that [`Link::written`] gives back. Nothing may be awaited between this and
    /// [`Link::push`], or a dropped future would take the room with it.
    async fn make_room(&self, frame: &[u8]) -> Result<(), CallError> {
        let len = u32::try_from(frame.len()).expect("the limit is below 4 GiB");
        let room = self.room.acquire_many(len).await.map_err(|e| self.not_sent(e))?;
        room.forget();
        Ok(())
    }

    fn push(&self, state: &mut State, frame: &[u8]) -> Result<(), CallError> {
        if state.closing {
            let reason = state.closed.clone().unwrap_or(Closed::Here);
            return Err(CallError::NotSent(Cause::Closed(reason)));
        }
        state.outbox.extend_from_slice(frame);
        self.wake.notify_one();
        Ok(())
    }

    fn not_sent(&self, _: AcquireError) -> CallError {
        CallError::NotSent(Cause::Closed(self.reason()))
    }

    /// Swaps the outbox with the task's buffer, which must be empty.
    pub(crate) fn take(&self, buffer: &mut Vec<u8>) -> Work {
        let mut state = self.lock();
        std::mem::swap(&mut state.outbox, buffer);
        match (buffer.is_empty(), state.closing) {
            (false, _) => Work::Write,
            (true, false) => Work::Wait,
            (true, true) => Work::Close,
        }
    }

    pub(crate) async fn woken(&self) {
        self.wake.notified().await;
    }

    /// Gives back the room of bytes that were written.
    pub(crate) fn written(&self, len: usize) {
        self.room.add_permits(len);
    }

    /// Hands answers to their calls; those that nobody waits for any more are left over.
    pub(crate) fn answered(&self, answers: &mut Vec<(i32, FrameBuf)>) -> usize {
        let mut late = 0;
        let mut state = self.lock();
        for (opaque, frame) in answers.drain(..) {
            match state.waiting.remove(&opaque) {
                Some(call) => late += usize::from(call.send(frame).is_err()),
                None => late += 1,
            }
        }
        late
    }

    /// Lets nothing more in; the task then writes what is queued and ends.
    pub(crate) fn close(&self) {
        self.lock().closing = true;
        self.turns.close();
        self.room.close();
        self.wake.notify_one();
        self.close.notify_one();
    }

    pub(crate) async fn asked_to_close(&self) {
        self.close.notified().await;
    }

    /// Fails everything that waits. Called by the task as its last act.
    pub(crate) fn end(&self, reason: Closed) {
        let mut state = self.lock();
        state.closing = true;
        state.closed = Some(reason);
        state.outbox = Vec::new();
        state.waiting.clear();
        drop(state);
        self.turns.close();
        self.room.close();
    }

    pub(crate) fn closed(&self) -> Option<Closed> {
        self.lock().closed.clone()
    }

    /// Why there is no answer, once there will be none.
    pub(crate) fn reason(&self) -> Closed {
        self.closed().unwrap_or(Closed::Here)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing under the lock can panic halfway through a change.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
