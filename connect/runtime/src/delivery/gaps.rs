//! Queue offsets that no message has any more: damage took them, or removal was faster.

use millrace_client::Pulled;
use millrace_connect_api::{Messages, QueueRef};
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

impl Delivery {
    /// What was removed before it was read: from where reading goes on instead.
    pub(super) fn removed(
        &mut self,
        queue: &QueueRef,
        from: QueueOffset,
        pulled: &Pulled,
    ) -> Result<QueueOffset, RunError> {
        let (sink, to) = (self.name.clone(), pulled.min);
        match self.on_loss {
            OnLoss::Stop => Err(RunError::Lost { sink, queue: queue.clone(), from, to }),
            OnLoss::GoOn => {
                self.note_lost(queue, from, to, "messages were removed before they were read");
                Ok(to)
            }
        }
    }

    /// What damage took of the messages of a pull, which covered `from..to`. They are either all
    /// passed over, or none of the pull is delivered.
    pub(super) fn damaged(
        &mut self,
        queue: &QueueRef,
        (from, to): (QueueOffset, QueueOffset),
        messages: &Messages,
    ) -> Result<(), RunError> {
        for (from, to) in gaps(from, to, messages) {
            match self.on_loss {
                OnLoss::Stop => {
                    let (sink, queue) = (self.name.clone(), queue.clone());
                    return Err(RunError::Gap { sink, queue, from, to });
                }
                OnLoss::GoOn => self.note_lost(queue, from, to, "messages are lost to damage"),
            }
        }
        Ok(())
    }

    fn note_lost(&self, queue: &QueueRef, from: QueueOffset, to: QueueOffset, why: &str) {
        warn!(
            sink = %self.name, topic = %queue.topic, queue_id = queue.queue.0, queue_offset = %from,
            to = %to, "{why}; the sink goes on without them",
        );
        self.progress.sink(&self.name, |sink| sink.lost += to.since(from));
    }
}

/// The stretches of `from..to` without a message.
fn gaps(
    from: QueueOffset,
    to: QueueOffset,
    messages: &Messages,
) -> Vec<(QueueOffset, QueueOffset)> {
    let mut gaps = Vec::new();
    if to.since(from) == messages.len() as u64 {
        return gaps;
    }
    let mut next = from;
    let offsets = messages.iter().map(|message| message.queue_offset);
    for offset in offsets.chain([to]) {
        if offset > next {
            gaps.push((next, offset));
        }
        next = offset + 1;
    }
    gaps
}
