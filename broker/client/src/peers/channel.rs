use std::fmt::Debug;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use async_trait::async_trait;
use millrace_protocol::{Call, ResponseCode};
use millrace_transport::{CallError, Callbacks, Cause, Connection, Response};
use tokio::sync::{Mutex, mpsc};

use super::Called;
use super::lost::{Lost, with_causes};

/// How a peer is found and connected to.
#[async_trait]
pub(crate) trait Reach: Debug + Send + Sync {
    /// Finds the peer, connects, and does whatever comes before the first request. Nothing but
    /// that has been sent when this fails.
    async fn reach(&self) -> Result<(Arc<str>, Connection, Callbacks), Lost>;
}

/// A connection that is made again once it was lost.
#[derive(Debug)]
pub(crate) struct Channel {
    reach: Arc<dyn Reach>,
    callbacks: Option<mpsc::Sender<Called>>,
    /// Held while connecting, so that one attempt serves all who wait for it.
    place: Mutex<Place>,
    /// How many attempts to connect have failed.
    failed: AtomicU64,
}

#[derive(Debug, Default)]
struct Place {
    reached: Option<Arc<Reached>>,
    /// What came of the last attempt, if it failed.
    failure: Option<Lost>,
}

/// An answer, whatever its code, and who gave it.
#[derive(Debug)]
pub(crate) struct Answered {
    pub(crate) response: Response,
    pub(crate) address: Arc<str>,
}

/// A connection that was made.
#[derive(Debug)]
pub(crate) struct Reached {
    pub(crate) address: Arc<str>,
    pub(crate) connection: Connection,
    /// Set once an answer stayed out: the other end may be gone without a word, and TCP takes
    /// minutes to notice. The calls that are on it go on waiting, others connect anew.
    given_up: AtomicBool,
}

impl Reached {
    async fn call(
        &self,
        call: &(dyn Call + Sync),
        timeout: Duration,
    ) -> Result<Response, CallError> {
        let answered = self.connection.call(call, timeout).await;
        let gone = match &answered {
            Ok(response) => response.header().response_code() == ResponseCode::GO_AWAY,
            Err(CallError::NotSent(_) | CallError::Unanswered(_)) => true,
            Err(CallError::TooLarge { .. }) => false,
        };
        if gone {
            self.given_up.store(true, Ordering::Relaxed);
        }
        answered
    }

    /// Whether another call may be made on it.
    fn is_usable(&self) -> bool {
        !self.given_up.load(Ordering::Relaxed) && self.connection.closed().is_none()
    }

    /// What it means that a call failed.
    fn lost(&self, error: &CallError) -> Lost {
        let address = self.address.to_string();
        match error {
            CallError::NotSent(cause) => Lost::NotSent { address, reason: with_causes(cause) },
            CallError::Unanswered(cause) => {
                Lost::Unanswered { address, reason: with_causes(cause) }
            }
            CallError::TooLarge { .. } => Lost::Refused(error.to_string()),
        }
    }
}

impl Channel {
    pub(crate) fn new(reach: Arc<dyn Reach>, callbacks: Option<mpsc::Sender<Called>>) -> Self {
        Self { reach, callbacks, place: Mutex::default(), failed: AtomicU64::new(0) }
    }

    /// A channel over a connection that is there already.
    pub(crate) fn connected(
        reach: Arc<dyn Reach>,
        address: Arc<str>,
        connection: Connection,
    ) -> Self {
        let reached = Reached { address, connection, given_up: AtomicBool::new(false) };
        let place = Mutex::new(Place { reached: Some(Arc::new(reached)), failure: None });
        Self { place, ..Self::new(reach, None) }
    }

    /// Sends a request and waits for its answer, connecting first if there is no connection.
    pub(crate) async fn call(
        &self,
        call: &(dyn Call + Sync),
        timeout: Duration,
    ) -> Result<Answered, Lost> {
        let (mut reached, _) = self.reached().await?;
        let mut answered = reached.call(call, timeout).await;
        if let Err(CallError::NotSent(Cause::Closed(_))) = answered {
            // It ended while the request waited for its turn: one more attempt.
            (reached, _) = self.reached().await?;
            answered = reached.call(call, timeout).await;
        }
        match answered {
            Ok(response) => Ok(Answered { response, address: Arc::clone(&reached.address) }),
            Err(error) => Err(reached.lost(&error)),
        }
    }

    /// Like [`Channel::call`], for a request that may be carried out twice: if a connection of
    /// before turns out to have ended, it is sent again over a new one. A peer that closes idle
    /// connections is met in the moment of writing.
    pub(crate) async fn ask(
        &self,
        call: &(dyn Call + Sync),
        timeout: Duration,
    ) -> Result<Answered, Lost> {
        let (reached, is_new) = self.reached().await?;
        match reached.call(call, timeout).await {
            Ok(response) => Ok(Answered { response, address: Arc::clone(&reached.address) }),
            Err(CallError::NotSent(Cause::Closed(_)) | CallError::Unanswered(Cause::Closed(_)))
                if !is_new =>
            {
                self.call(call, timeout).await
            }
            Err(error) => Err(reached.lost(&error)),
        }
    }

    /// Queues a request that nobody answers.
    pub(crate) async fn send_oneway(&self, call: &(dyn Call + Sync)) -> Result<(), Lost> {
        let (reached, _) = self.reached().await?;
        let queued = reached.connection.send_oneway(call).await;
        queued.map_err(|error| reached.lost(&error))
    }

    /// The connection there is, or a new one, and whether it is new.
    async fn reached(&self) -> Result<(Arc<Reached>, bool), Lost> {
        let failed = self.failed.load(Ordering::Acquire);
        let mut place = self.place.lock().await;
        if let Some(reached) = &place.reached
            && reached.is_usable()
        {
            return Ok((Arc::clone(reached), false));
        }
        place.reached = None;
        if self.failed.load(Ordering::Acquire) != failed
            && let Some(failure) = &place.failure
        {
            // Whoever waited through somebody else's attempt does not wait for one more.
            return Err(failure.clone());
        }
        match self.reach.reach().await {
            Ok((address, connection, callbacks)) => {
                place.failure = None;
                let given_up = AtomicBool::new(false);
                let reached = Arc::new(Reached { address, connection, given_up });
                if let Some(to) = &self.callbacks {
                    // Ends with the connection, which it does not keep.
                    tokio::spawn(pass_on(Arc::downgrade(&reached), callbacks, to.clone()));
                }
                place.reached = Some(Arc::clone(&reached));
                Ok((reached, true))
            }
            Err(failure) => {
                place.failure = Some(failure.clone());
                self.failed.fetch_add(1, Ordering::Release);
                Err(failure)
            }
        }
    }

    /// Ends the connection, after writing what is queued, and waits until it is gone. A call
    /// afterwards connects again.
    pub(crate) async fn close(&self) {
        let reached = self.place.lock().await.reached.take();
        if let Some(reached) = reached {
            reached.connection.close().await;
        }
    }
}

/// Hands on what the peer asks, as long as the connection lives.
async fn pass_on(reached: Weak<Reached>, mut callbacks: Callbacks, to: mpsc::Sender<Called>) {
    while let Some(callback) = callbacks.next().await {
        let Some(reached) = reached.upgrade() else { return };
        if to.send(Called { reached, callback }).await.is_err() {
            return;
        }
    }
}
