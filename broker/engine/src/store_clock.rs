use std::collections::VecDeque;

use millrace_types::{Now, PhysicalOffset};

/// Tells at which moment of this process's monotonic clock a record was stored.
///
/// Records carry the wall clock's time, which may jump; delays must not. So where the wall clock
/// moves against the monotonic one, a mark says from which record on it did. What was stored
/// before this process started has no such moment: its store time is taken to be right, but for
/// one that is still to come, which counts as the start of the process.
///
/// The moments it tells may be late, by little, but are never early: both clocks tell which
/// millisecond has begun, and what is stored in it may be stored at its very end.
#[derive(Debug, Default)]
pub(crate) struct StoreClock {
    started: Option<Now>,
    /// For what this process stored, in order of `from`.
    marks: VecDeque<Mark>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Mark {
    /// The first record that it is for.
    from: PhysicalOffset,
    /// By how much store times are ahead of the monotonic clock.
    ahead_ms: i64,
}

/// While store times stand still, because the wall clock went back, a new mark is needed so often.
const SLACK_MS: i64 = 100;
/// A mark may say that records are so much younger than they are.
const LATE_MS: i64 = 1_000;
/// Enough for more than an hour of store times standing still.
const MARKS_MAX: usize = 1 << 16;
/// How much later than a clock says a thing may have happened.
const TICK_MS: u64 = 1;

impl StoreClock {
    /// What time it is when the process starts; later calls change nothing.
    pub(crate) fn start(&mut self, now: Now) {
        self.started.get_or_insert(now);
    }

    /// A record was stored now.
    pub(crate) fn note(&mut self, at: PhysicalOffset, store_at_ms: i64, now: Now) {
        let ahead_ms = store_at_ms - now.mono_ms as i64;
        match self.marks.back() {
            Some(known) if ahead_ms < known.ahead_ms => {
                self.marks.push_back(Mark { from: at, ahead_ms: ahead_ms - SLACK_MS });
            }
            Some(known) if ahead_ms <= known.ahead_ms + LATE_MS => {}
            _ => self.marks.push_back(Mark { from: at, ahead_ms }),
        }
        if self.marks.len() > MARKS_MAX
            && let (Some(first), Some(second)) = (self.marks.pop_front(), self.marks.pop_front())
        {
            let ahead_ms = first.ahead_ms.min(second.ahead_ms);
            self.marks.push_front(Mark { from: first.from, ahead_ms });
        }
    }

    /// By when a record has been stored that is being stored now.
    pub(crate) fn stored_now_ms(now: Now) -> u64 {
        now.mono_ms + TICK_MS
    }

    /// By when a record has been stored, by the monotonic clock; before 0 if it was before the
    /// process started.
    pub(crate) fn stored_ms(&self, at: PhysicalOffset, store_at_ms: i64) -> i64 {
        let after = self.marks.partition_point(|mark| mark.from <= at);
        if let Some(mark) = after.checked_sub(1).and_then(|n| self.marks.get(n)) {
            let stored_ms = store_at_ms.saturating_sub(mark.ahead_ms);
            return stored_ms.saturating_add_unsigned(TICK_MS);
        }
        let started = self.started.unwrap_or_default();
        let age_ms = started.wall_ms.saturating_sub(store_at_ms).max(0);
        // An age is the difference of two such times, so its error adds to the start's.
        (started.mono_ms as i64).saturating_sub(age_ms).saturating_add_unsigned(2 * TICK_MS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Now = Now { mono_ms: 1_000, wall_ms: 1_000_000 };

    fn at(offset: u64) -> PhysicalOffset {
        PhysicalOffset(offset)
    }

    fn started() -> StoreClock {
        let mut clock = StoreClock::default();
        clock.start(START);
        clock
    }

    #[test]
    fn what_was_stored_before_the_start_is_as_old_as_it_says() {
        let clock = started();
        assert_eq!(clock.stored_ms(at(5), 999_000), 2);
        assert_eq!(clock.stored_ms(at(5), 900_000), -98_998);
        assert!(clock.stored_ms(at(5), i64::MIN) < -1_000_000_000);
    }

    #[test]
    fn a_store_time_that_is_still_to_come_counts_as_the_start() {
        assert_eq!(started().stored_ms(at(5), 9_000_000), 1_002);
    }

    #[test]
    fn a_jump_of_the_wall_clock_changes_no_moment() {
        for jump_ms in [3_600_000, -900_000] {
            let mut clock = started();
            clock.note(at(10), 1_000_500, Now { mono_ms: 1_500, wall_ms: 1_000_500 });
            let wall_ms = 1_001_000 + jump_ms;
            clock.note(at(20), wall_ms, Now { mono_ms: 2_000, wall_ms });
            assert_eq!(clock.stored_ms(at(10), 1_000_500), 1_501);
            let stored_ms = clock.stored_ms(at(20), wall_ms);
            assert!((2_001..=2_001 + SLACK_MS).contains(&stored_ms), "{stored_ms}");
        }
    }

    #[test]
    fn while_store_times_stand_still_moments_go_on() {
        let mut clock = started();
        for mono_ms in 1_001..6_001 {
            clock.note(at(mono_ms), 2_000_000, Now { mono_ms, wall_ms: 1_000_000 });
        }
        for mono_ms in 1_001..6_001u64 {
            let late_ms = clock.stored_ms(at(mono_ms), 2_000_000) - mono_ms as i64;
            assert!((1..=1 + LATE_MS).contains(&late_ms), "{mono_ms}: {late_ms}");
        }
        assert!(clock.marks.len() < 60, "{}", clock.marks.len());
    }

    #[test]
    fn marks_are_bounded_and_forget_only_to_the_late_side() {
        let mut clock = started();
        let steps = 2 * MARKS_MAX as u64;
        for n in 0..steps {
            let now = Now { mono_ms: 1_001 + n * 200, wall_ms: 0 };
            clock.note(at(1 + n), 2_000_000, now);
        }
        assert!(clock.marks.len() <= MARKS_MAX);
        for n in 0..steps {
            assert!(clock.stored_ms(at(1 + n), 2_000_000) > (1_001 + n * 200) as i64, "{n}");
        }
    }
}
