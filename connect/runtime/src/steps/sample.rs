use millrace_connect_api::{Batch, Reject, Selection, Step, StepError};
use millrace_types::{QueueId, QueueOffset};

/// Keeps a share of the messages, chosen by where they stand, so that a message that is read again
/// has the same fate.
pub(crate) struct Sample {
    /// How many such steps its messages have been through.
    number: usize,
    rate: f64,
    left_out: u64,
}

impl Sample {
    pub(crate) fn new(number: usize, rate: f64) -> Self {
        Self { number, rate, left_out: 0 }
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
        let number = self.number;
        let chosen =
            |row: &usize| chance(number, queue, messages.get(*row).queue_offset) < self.rate;
        let kept: Vec<u32> =
            batch.selection().iter().filter(chosen).map(|row| row as u32).collect();
        self.left_out += (batch.selection().len() - kept.len()) as u64;
        Ok(batch.with_selection(Selection::Rows(kept.into())))
    }

    fn filtered(&self) -> Vec<(&'static str, u64)> {
        vec![("left out", self.left_out)]
    }
}

/// A number from 0 to below 1 that follows from a place and looks like chance. That of each further
/// step follows from the one before and tells nothing of it; otherwise a step that keeps half of
/// what another kept would keep all of it.
fn chance(number: usize, queue: QueueId, offset: QueueOffset) -> f64 {
    let place = offset.0.wrapping_add(u64::from(queue.0).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let drawn = (0..=number).fold(place, |drawn, _| mixed(drawn));
    (drawn >> 11) as f64 / (1_u64 << 53) as f64
}

/// One step of splitmix64.
fn mixed(seed: u64) -> u64 {
    let mut z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_queue_gives_its_share() {
        for (number, queue) in (0..3).flat_map(|number| (0..8).map(move |queue| (number, queue))) {
            for rate in [0.0, 0.01, 0.25, 0.5, 0.99, 1.0] {
                let chosen = (0..100_000)
                    .filter(|&offset| chance(number, QueueId(queue), QueueOffset(offset)) < rate)
                    .count();
                let share = chosen as f64 / 100_000.0;
                assert!((share - rate).abs() < 0.006, "{number}, queue {queue}: {share} of {rate}");
                assert!((rate > 0.0 && rate < 1.0) || share == rate, "{share}");
            }
        }
    }

    #[test]
    fn the_first_step_chooses_what_it_always_did() {
        let drawn = |offset| (chance(0, QueueId(3), QueueOffset(offset)) * 1e6) as u64;
        assert_eq!([0, 1, 2, 1_000_000].map(drawn), [970_881, 444_359, 765_419, 587_444]);
    }

    #[test]
    fn each_step_draws_for_itself() {
        for (one, other) in [(0, 1), (1, 2), (0, 2), (3, 4)] {
            let kept =
                |number, offset: &u64| chance(number, QueueId(1), QueueOffset(*offset)) < 0.3;
            let offsets = 0..100_000_u64;
            let both = offsets.filter(|offset| kept(one, offset) && kept(other, offset)).count();
            assert!((8_500..9_500).contains(&both), "{one} and {other}: {both}");
        }
    }
}
