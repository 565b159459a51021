use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use millrace_protocol::Call;
use millrace_transport::{CallError, Cause, Response};
use tokio::sync::Mutex;

use super::failure::{Lost, with_causes};
use super::home::{Home, Reached};

/// A connection to the broker that is made again once it was lost.
#[derive(Debug)]
pub(super) struct Channel {
    home: Arc<Home>,
    broker: Arc<str>,
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
pub(super) struct Answered {
    pub(super) response: Response,
    pub(super) address: Arc<str>,
}

impl Channel {
    pub(super) fn new(home: Arc<Home>, broker: Arc<str>) -> Self {
        Self { home, broker, place: Mutex::default(), failed: AtomicU64::new(0) }
    }

    pub(super) fn connected(home: Arc<Home>, reached: Reached) -> Self {
        let channel = Self::new(home, Arc::clone(&reached.name));
        let place = Mutex::new(Place { reached: Some(Arc::new(reached)), failure: None });
        Self { place, ..channel }
    }

    /// Sends a request and waits for its answer, connecting first if there is no connection.
    pub(super) async fn call(
        &self,
        call: &(dyn Call + Sync),
        timeout: Duration,
    ) -> Result<Answered, Lost> {
        let mut reached = self.reached().await?;
        let mut answered = reached.call(call, timeout).await;
        if let Err(CallError::NotSent(Cause::Closed(_))) = answered {
            // It ended while the request waited for its turn: one more attempt.
            reached = self.reached().await?;
            answered = reached.call(call, timeout).await;
        }
        let address = Arc::clone(&reached.address);
        match answered {
            Ok(response) => Ok(Answered { response, address }),
            Err(CallError::NotSent(cause)) => {
                Err(Lost::NotSent { address: address.to_string(), reason: with_causes(&cause) })
            }
            Err(CallError::Unanswered(cause)) => {
                Err(Lost::Unanswered { address: address.to_string(), reason: with_causes(&cause) })
            }
            Err(error @ CallError::TooLarge { .. }) => Err(Lost::Refused(error.to_string())),
        }
    }

    /// The connection there is, or a new one.
    async fn reached(&self) -> Result<Arc<Reached>, Lost> {
        let failed = self.failed.load(Ordering::Acquire);
        let mut place = self.place.lock().await;
        if let Some(reached) = &place.reached
            && reached.is_usable()
        {
            return Ok(Arc::clone(reached));
        }
        place.reached = None;
        if self.failed.load(Ordering::Acquire) != failed
            && let Some(failure) = &place.failure
        {
            // Whoever waited through somebody else's attempt does not wait for one more.
            return Err(failure.clone());
        }
        match self.home.reach(Some(&self.broker)).await {
            Ok(reached) => {
                place.failure = None;
                let reached = Arc::new(reached);
                place.reached = Some(Arc::clone(&reached));
                Ok(reached)
            }
            Err(failure) => {
                place.failure = Some(failure.clone());
                self.failed.fetch_add(1, Ordering::Release);
                Err(failure)
            }
        }
    }

    pub(super) async fn close(&self) {
        let reached = self.place.lock().await.reached.take();
        if let Some(reached) = reached {
            reached.connection.close().await;
        }
    }
}
