use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};

use millrace_types::Now;

/// What consumers were given, counted by whoever gives it.
#[derive(Debug, Default)]
pub(crate) struct Traffic {
    messages: AtomicU64,
    bytes: AtomicU64,
    found: AtomicU64,
    missed: AtomicU64,
}

impl Traffic {
    /// A pull was answered with messages.
    pub(crate) fn gave(&self, messages: usize, bytes: usize) {
        self.messages.fetch_add(messages as u64, Ordering::Relaxed);
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
        self.found.fetch_add(1, Ordering::Relaxed);
    }

    /// A pull was answered without any.
    pub(crate) fn gave_nothing(&self) {
        self.missed.fetch_add(1, Ordering::Relaxed);
    }

    /// Bytes that consumers were given.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// The counts of this moment, with what was stored.
    pub(crate) fn counts(&self, stored: u64) -> Counts {
        let load = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Counts {
            stored,
            given: load(&self.messages),
            found: load(&self.found),
            missed: load(&self.missed),
        }
    }
}

/// What a broker has done since its start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Messages stored.
    pub(crate) stored: u64,
    /// Messages given to consumers.
    pub(crate) given: u64,
    /// Pulls that were answered with messages.
    pub(crate) found: u64,
    /// Pulls that were answered without any.
    pub(crate) missed: u64,
}

/// Counts of the last ten minutes and of the last two midnights (UTC), for rates and for what was
/// done today. (In RocketMQ, `StoreStatsService` and `BrokerStats`.)
#[derive(Debug, Default)]
pub(crate) struct History {
    samples: VecDeque<(u64, Counts)>,
    day: Option<i64>,
    /// Before yesterday began, and before today did.
    mornings: [Counts; 2],
}

/// The windows of which tools show the rates.
const WINDOWS_MS: [u64; 3] = [10_000, 60_000, 600_000];
const DAY_MS: i64 = 86_400_000;

impl History {
    /// Takes note of the counts, a few times a minute.
    pub(crate) fn sample(&mut self, now: Now, counts: Counts) {
        while self.samples.get(1).is_some_and(|(at, _)| at + WINDOWS_MS[2] <= now.mono_ms) {
            self.samples.pop_front();
        }
        self.samples.push_back((now.mono_ms, counts));
        let day = now.wall_ms.div_euclid(DAY_MS);
        if self.day.is_some_and(|known| known < day) {
            self.mornings = [self.mornings[1], counts];
        }
        self.day = Some(day);
    }

    /// The counts when yesterday began, and when today did; 0 for before the start.
    pub(crate) fn mornings(&self) -> [Counts; 2] {
        self.mornings
    }

    /// How many a second over the last 10 s, minute and 10 minutes, or since the first sample.
    pub(crate) fn rates(&self, now: Now, counts: Counts, of: impl Fn(&Counts) -> u64) -> [f64; 3] {
        WINDOWS_MS.map(|window| {
            let old = self.samples.iter().rev().find(|(at, _)| at + window <= now.mono_ms);
            let Some((at, before)) = old.or(self.samples.front()) else {
                return 0.0;
            };
            let seconds = now.mono_ms.saturating_sub(*at).max(1) as f64 / 1000.0;
            of(&counts).saturating_sub(of(before)) as f64 / seconds
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(mono_ms: u64, wall_ms: i64) -> Now {
        Now { mono_ms, wall_ms }
    }

    fn stored(stored: u64) -> Counts {
        Counts { stored, ..Counts::default() }
    }

    #[test]
    fn rates_are_those_of_their_windows() {
        let mut history = History::default();
        assert_eq!(history.rates(at(5, 0), stored(9), |counts| counts.stored), [0.0; 3]);
        // A hundred a second for ten minutes, then none for half a minute.
        for second in (0..=600).step_by(10) {
            history.sample(at(second * 1000, 0), stored(second * 100));
        }
        for second in (610..=630).step_by(10) {
            history.sample(at(second * 1000, 0), stored(60_000));
        }
        let rates = history.rates(at(630_000, 0), stored(60_000), |counts| counts.stored);
        assert_eq!(rates, [0.0, 50.0, 95.0]);
        assert!(history.samples.len() <= 62, "old samples go");
    }

    #[test]
    fn days_begin_at_midnight() {
        let mut history = History::default();
        history.sample(at(0, DAY_MS - 1), stored(5));
        assert_eq!(history.mornings(), [stored(0), stored(0)]);
        history.sample(at(10, DAY_MS + 9), stored(7));
        assert_eq!(history.mornings(), [stored(0), stored(7)]);
        history.sample(at(20, 2 * DAY_MS), stored(8));
        assert_eq!(history.mornings(), [stored(7), stored(8)]);
    }
}
