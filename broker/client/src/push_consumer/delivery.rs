use std::sync::{Arc, OnceLock};

use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::Received;

/// A message in the application's hands. One that is dropped without a word comes again later,
/// like one that failed.
#[derive(Debug)]
#[must_use = "a message that is dropped comes again"]
pub struct Delivery {
    /// `None` once the verdict was given.
    open: Option<Open>,
}

#[derive(Debug)]
struct Open {
    held: Held,
    verdicts: mpsc::UnboundedSender<(u64, Verdict)>,
}

/// A message that is handed out, as who did so knows it.
#[derive(Clone, Debug)]
pub(super) struct Held {
    /// Which time that its queue handed out a message.
    number: u64,
    pub(super) message: Arc<Received>,
    /// When the application took it.
    taken_at: Arc<OnceLock<Instant>>,
}

/// What the application made of a message.
#[derive(Clone, Copy, Debug)]
pub(super) enum Verdict {
    /// It is done with.
    Done,
    /// It is to come again, at this delay level; 0 lets the broker choose, negative makes it a
    /// dead letter.
    Later(i32),
}

impl Held {
    pub(super) fn new(number: u64, message: Received) -> Self {
        Self { number, message: Arc::new(message), taken_at: Arc::default() }
    }

    /// When the application took it, if it has.
    pub(super) fn taken_at(&self) -> Option<Instant> {
        self.taken_at.get().copied()
    }

    pub(super) fn into_message(self) -> Received {
        Arc::unwrap_or_clone(self.message)
    }
}

impl Delivery {
    /// `verdicts` holds no more than the messages of one queue that are not done with; each comes
    /// with its message's number.
    pub(super) fn new(held: Held, verdicts: mpsc::UnboundedSender<(u64, Verdict)>) -> Self {
        Self { open: Some(Open { held, verdicts }) }
    }

    /// The application takes it.
    pub(super) fn take(&self) {
        if let Some(open) = &self.open {
            open.held.taken_at.get_or_init(Instant::now);
        }
    }

    /// The message.
    pub fn message(&self) -> &Received {
        &self.open.as_ref().expect("verdicts take the delivery").held.message
    }

    /// It is done with.
    pub fn done(mut self) {
        self.settle(Verdict::Done);
    }

    /// It failed and shall come again, after a time that grows with each failure.
    pub fn later(mut self) {
        self.settle(Verdict::Later(0));
    }

    /// It failed and shall come again after the time of a delay level, 1 to 18. Where an order is
    /// kept it comes after a second.
    pub fn later_at(mut self, delay_level: u8) {
        self.settle(Verdict::Later(i32::from(delay_level)));
    }

    /// It can never be consumed: a dead letter.
    pub fn never(mut self) {
        self.settle(Verdict::Later(-1));
    }

    /// Whether its queue is consumed by somebody else by now, who gets the message as well.
    pub(super) fn is_stale(&self) -> bool {
        self.open.as_ref().is_some_and(|open| open.verdicts.is_closed())
    }

    fn settle(&mut self, verdict: Verdict) {
        if let Some(Open { held, verdicts }) = self.open.take() {
            let number = held.number;
            // Whoever sends it back need not copy it then.
            drop(held);
            // Without a receiver the queue is another member's by now, and the message comes there.
            let _ = verdicts.send((number, verdict));
        }
    }
}

impl Drop for Delivery {
    fn drop(&mut self) {
        self.settle(Verdict::Later(0));
    }
}
