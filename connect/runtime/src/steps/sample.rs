use millrace_connect_api::{Batch, Reject, Selection, Step, StepError};
use millrace_types::{QueueId, QueueOffset};

/// Keeps a share of the messages, chosen by where they stand, so that a message that is read again
/// has the same fate.
pub(crate) struct Sample {
    rate: f64,
    left_out: u64,
}

impl Sample {
    pub(crate) fn new(rate: f64) -> Self {
        Self { rate, left_out: 0 }
    }
}

impl Step for Sample {
    fn apply(
        &mut self,
        batch: Batch,
        _rejects: &mut Vec<(u32, Reject)>,
    ) -> Result<Batch, StepError> {
        let messages = batch.messages();
        let queue = messages.queue().queue;
        let chosen = |row: &usize| chance(queue, messages.get(*row).queue_offset) < self.rate;
        let kept: Vec<u32> =
            batch.selection().iter().filter(chosen).map(|row| row as u32).collect();
        self.left_out += (batch.selection().len() - kept.len()) as u64;
        Ok(batch.with_selection(Selection::Rows(kept.into())))
    }

    fn filtered(&self) -> Vec<(&'static str, u64)> {
        vec![("left out", self.left_out)]
    }
}

/// A number from 0 to below 1 that follows from a place and looks like chance (splitmix64).
fn chance(queue: QueueId, offset: QueueOffset) -> f64 {
    let mut z = offset.0.wrapping_add(u64::from(queue.0).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    z = z.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^= z >> 31;
    (z >> 11) as f64 / (1_u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_queue_gives_its_share() {
        for queue in 0..8 {
            for rate in [0.0, 0.01, 0.25, 0.5, 0.99, 1.0] {
                let chosen = (0..100_000)
                    .filter(|&offset| chance(QueueId(queue), QueueOffset(offset)) < rate)
                    .count();
                let share = chosen as f64 / 100_000.0;
                assert!((share - rate).abs() < 0.006, "queue {queue}: {share} of {rate}");
                assert!((rate > 0.0 && rate < 1.0) || share == rate, "{share}");
            }
        }
    }
}
