use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard};

use millrace_engine::Asker;
use millrace_types::Now;

/// What consumers were given, counted by whoever gives it.
#[derive(Debug)]
pub(crate) struct Traffic {
    found: AtomicU64,
    missed: AtomicU64,
    /// By number; the first one counts for all pairs that have none.
    given: Vec<Given>,
    numbers: Mutex<Numbers>,
}

/// Groups and topics that have a number.
#[derive(Debug, Default)]
struct Numbers {
    by_group: BTreeMap<String, BTreeMap<String, GivenTo>>,
    count: u32,
}

/// What a group was given of a topic.
#[derive(Debug, Default)]
struct Given {
    messages: AtomicU64,
    bytes: AtomicU64,
}

/// The number of a group and a topic.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct GivenTo(u32);

impl GivenTo {
    /// The same for the engine.
    pub(crate) fn asker(self) -> Asker {
        Asker(self.0)
    }
}

/// What a group was given of a topic since the start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct GivenSoFar {
    pub(crate) group: String,
    pub(crate) topic: String,
    pub(crate) messages: u64,
    pub(crate) bytes: u64,
}

/// Pairs that are counted one by one; what others are given is counted together, without a name.
pub(crate) const PAIRS_MAX: u32 = 4_096;

impl Default for Traffic {
    fn default() -> Self {
        Self {
            found: AtomicU64::new(0),
            missed: AtomicU64::new(0),
            given: (0..=PAIRS_MAX).map(|_| Given::default()).collect(),
            numbers: Mutex::default(),
        }
    }
}

impl Traffic {
    /// The number by which a group is given a topic. A pair takes one of the few there are only if
    /// there is such a topic.
    pub(crate) fn number(
        &self,
        group: &str,
        topic: &str,
        is_there: impl FnOnce() -> bool,
    ) -> GivenTo {
        let mut numbers = self.numbers();
        let known = numbers.by_group.get(group).and_then(|topics| topics.get(topic));
        if let Some(number) = known {
            return *number;
        }
        if numbers.count == PAIRS_MAX || !is_there() {
            return GivenTo(0);
        }
        numbers.count += 1;
        let number = GivenTo(numbers.count);
        let topics = numbers.by_group.entry(group.to_owned()).or_default();
        topics.insert(topic.to_owned(), number);
        number
    }

    /// The numbers of some pairs of group and topic, with that of all pairs that have none.
    pub(crate) fn askers(&self, is_meant: impl Fn(&str, &str) -> bool) -> BTreeSet<Asker> {
        let numbers = self.numbers();
        let pairs = numbers.by_group.iter().flat_map(|(group, topics)| {
            topics.iter().map(move |(topic, number)| (group, topic, number.0))
        });
        let meant = pairs.filter(|(group, topic, _)| is_meant(group, topic));
        meant.map(|(.., number)| number).chain([0]).map(Asker).collect()
    }

    /// A pull was answered with messages.
    pub(crate) fn gave(&self, to: GivenTo, messages: usize, bytes: usize) {
        let given = &self.given[to.0 as usize];
        given.messages.fetch_add(messages as u64, Ordering::Relaxed);
        given.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
        self.found.fetch_add(1, Ordering::Relaxed);
    }

    /// A pull was answered without any.
    pub(crate) fn gave_nothing(&self) {
        self.missed.fetch_add(1, Ordering::Relaxed);
    }

    /// What each group was given of each topic; the last entry has no names and stands for all
    /// pairs beyond those that are counted.
    pub(crate) fn given(&self) -> Vec<GivenSoFar> {
        let so_far = |group: &str, topic: &str, number: GivenTo| {
            let Given { messages, bytes } = &self.given[number.0 as usize];
            let (group, topic) = (group.to_owned(), topic.to_owned());
            let load = |count: &AtomicU64| count.load(Ordering::Relaxed);
            GivenSoFar { group, topic, messages: load(messages), bytes: load(bytes) }
        };
        let numbers = self.numbers();
        let pairs = numbers.by_group.iter().flat_map(|(group, topics)| {
            topics.iter().map(move |(topic, number)| (group, topic, *number))
        });
        let mut all: Vec<_> = pairs.map(|(group, topic, to)| so_far(group, topic, to)).collect();
        all.push(so_far("", "", GivenTo(0)));
        all
    }

    /// How many messages a group was given of each topic, by number.
    pub(crate) fn given_to(&self, group: &str) -> Vec<(GivenTo, u64)> {
        let numbers = self.numbers();
        let topics = numbers.by_group.get(group).into_iter().flatten();
        topics.map(|(_, number)| (*number, self.messages(*number))).collect()
    }

    /// How many messages all pairs were given, by number.
    pub(crate) fn given_to_all(&self) -> Vec<u64> {
        let used = self.numbers().count;
        (0..=used).map(|number| self.messages(GivenTo(number))).collect()
    }

    /// The counts of this moment, with what was stored.
    pub(crate) fn counts(&self, stored: u64) -> Counts {
        let load = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Counts {
            stored,
            given: self.given_to_all().iter().sum(),
            found: load(&self.found),
            missed: load(&self.missed),
        }
    }

    fn messages(&self, to: GivenTo) -> u64 {
        self.given[to.0 as usize].messages.load(Ordering::Relaxed)
    }

    fn numbers(&self) -> MutexGuard<'_, Numbers> {
        self.numbers.lock().expect("nothing panics while it holds the numbers")
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
    /// What all pairs were given so far, by number, over the last minute.
    given: VecDeque<(u64, Vec<u64>)>,
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

    /// Takes note of what all pairs were given so far.
    pub(crate) fn sample_given(&mut self, now: Now, given: Vec<u64>) {
        while self.given.get(1).is_some_and(|(at, _)| at + WINDOWS_MS[1] <= now.mono_ms) {
            self.given.pop_front();
        }
        self.given.push_back((now.mono_ms, given));
    }

    /// How many messages a second a group was given over the last minute, or since the start.
    pub(crate) fn given_rate(&self, now: Now, given: &[(GivenTo, u64)]) -> f64 {
        let Some((at, before)) = self.given.front() else {
            return 0.0;
        };
        let since = given.iter().map(|(GivenTo(number), so_far)| {
            so_far.saturating_sub(before.get(*number as usize).copied().unwrap_or(0))
        });
        since.sum::<u64>() as f64 / seconds(now.mono_ms.saturating_sub(*at))
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
            let elapsed = seconds(now.mono_ms.saturating_sub(*at));
            of(&counts).saturating_sub(of(before)) as f64 / elapsed
        })
    }
}

fn seconds(ms: u64) -> f64 {
    ms.max(1) as f64 / 1000.0
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
    fn what_a_group_was_given_is_counted_by_topic() {
        let (traffic, mut history) = (Traffic::default(), History::default());
        let number = traffic.number("g", "t", || true);
        assert_eq!(traffic.number("g", "t", || unreachable!("it has a number")), number);
        history.sample_given(at(0, 0), traffic.given_to_all());
        traffic.gave(number, 300, 1_000);
        traffic.gave(traffic.number("g", "u", || true), 30, 100);
        traffic.gave(traffic.number("h", "t", || true), 5, 10);
        assert_eq!(history.given_rate(at(30_000, 0), &traffic.given_to("g")), 11.0);
        for second in (10..=90).step_by(10) {
            history.sample_given(at(second * 1000, 0), traffic.given_to_all());
        }
        assert_eq!(history.given_rate(at(90_000, 0), &traffic.given_to("g")), 0.0);
        let given = traffic.given();
        let t = given.iter().find(|given| given.group == "g" && given.topic == "t").unwrap();
        assert_eq!((t.messages, t.bytes), (300, 1_000));
    }

    #[test]
    fn so_many_pairs_of_group_and_topic_are_counted_one_by_one() {
        let traffic = Traffic::default();
        for n in 0..PAIRS_MAX {
            traffic.gave(traffic.number("many", &n.to_string(), || true), 1, 1);
        }
        traffic.gave(traffic.number("many", "one more", || true), 10, 1);
        traffic.gave(traffic.number("another", "0", || true), 20, 1);
        let given = traffic.given();
        assert_eq!(given.len() as u32, PAIRS_MAX + 1);
        assert_eq!(given.last().unwrap().messages, 30);
        assert_eq!(traffic.counts(0).given, u64::from(PAIRS_MAX) + 30);
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
