//! Queue offsets that no message has any more: damage took them, or removal was faster.

use millrace_connect_api::{Cut, Messages, QueueRef};
use millrace_types::QueueOffset;
use tracing::warn;

use super::Delivery;
use crate::error::RunError;

/// What a sink does about messages that it can never be given.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnLoss {
    /// Stop, and name them.
    #[default]
    Stop,
    /// Go on behind them, with a warning that names them.
    GoOn,
}

/// Offsets without a message, and why.
pub(super) struct Missing {
    from: QueueOffset,
    to: QueueOffset,
    was_removed: bool,
}

impl Missing {
    /// Messages that went before they were read.
    pub(super) fn removed(from: QueueOffset, to: QueueOffset) -> Self {
        Self { from, to, was_removed: true }
    }
}

impl Delivery {
    /// Stops before messages that are missing, if that is what is wanted. What came before them is
    /// good, and perhaps nobody can be given it again.
    pub(super) async fn stop_before(
        &mut self,
        queue: &QueueRef,
        missing: Option<&Missing>,
    ) -> Result<(), RunError> {
        let (OnLoss::Stop, Some(missing)) = (self.on_loss, missing) else { return Ok(()) };
        self.commit(Cut::All).await?;
        let (sink, queue) = (self.name.clone(), queue.clone());
        let Missing { from, to, was_removed } = *missing;
        Err(match was_removed {
            true => RunError::Lost { sink, queue, from, to },
            false => RunError::Gap { sink, queue, from, to },
        })
    }

    /// Takes in that the sink has gone on behind missing messages.
    pub(super) fn note_missing(&self, queue: &QueueRef, missing: &Missing) {
        let Missing { from, to, was_removed } = *missing;
        let why = match was_removed {
            true => "messages were removed before they were read",
            false => "messages are lost to damage",
        };
        warn!(
            sink = %self.name, topic = %queue.topic, queue_id = queue.queue.0, queue_offset = %from,
            to = %to, "{why}; the sink goes on without them",
        );
        self.progress.sink(&self.name, |sink| sink.lost += to.since(from));
    }
}

/// The stretches of `from..to` without a message.
pub(super) fn gaps(from: QueueOffset, to: QueueOffset, messages: &Messages) -> Vec<Missing> {
    let mut gaps = Vec::new();
    if to.since(from) == messages.len() as u64 {
        return gaps;
    }
    let mut next = from;
    let offsets = messages.iter().map(|message| message.queue_offset);
    for offset in offsets.chain([to]) {
        if offset > next {
            gaps.push(Missing { from: next, to: offset, was_removed: false });
        }
        next = offset + 1;
    }
    gaps
}
