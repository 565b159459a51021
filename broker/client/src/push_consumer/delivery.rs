use tokio::sync::mpsc;

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
    message: Box<Received>,
    verdicts: mpsc::UnboundedSender<Verdict>,
}

/// What the application made of a message.
#[derive(Debug)]
pub(super) enum Verdict {
    /// It is done with.
    Done(Box<Received>),
    /// It is to come again, at this delay level; 0 lets the broker choose, negative makes it a
    /// dead letter.
    Later(Box<Received>, i32),
}

impl Delivery {
    /// `verdicts` holds no more than the messages of one queue that are not done with.
    pub(super) fn new(message: Received, verdicts: mpsc::UnboundedSender<Verdict>) -> Self {
        Self { open: Some(Open { message: Box::new(message), verdicts }) }
    }

    /// The message.
    pub fn message(&self) -> &Received {
        &self.open.as_ref().expect("verdicts take the delivery").message
    }

    /// It is done with.
    pub fn done(mut self) {
        self.settle(Verdict::Done);
    }

    /// It failed and shall come again, after a time that grows with each failure.
    pub fn later(mut self) {
        self.settle(|message| Verdict::Later(message, 0));
    }

    /// It failed and shall come again after the time of a delay level, 1 to 18. Where an order is
    /// kept it comes after a second.
    pub fn later_at(mut self, delay_level: u8) {
        self.settle(|message| Verdict::Later(message, i32::from(delay_level)));
    }

    /// It can never be consumed: a dead letter.
    pub fn never(mut self) {
        self.settle(|message| Verdict::Later(message, -1));
    }

    /// Whether its queue is consumed by somebody else by now, who gets the message as well.
    pub(super) fn is_stale(&self) -> bool {
        self.open.as_ref().is_some_and(|open| open.verdicts.is_closed())
    }

    fn settle(&mut self, verdict: impl FnOnce(Box<Received>) -> Verdict) {
        if let Some(Open { message, verdicts }) = self.open.take() {
            // Without a receiver the queue is another member's by now, and the message comes there.
            let _ = verdicts.send(verdict(message));
        }
    }
}

impl Drop for Delivery {
    fn drop(&mut self) {
        self.settle(|message| Verdict::Later(message, 0));
    }
}
