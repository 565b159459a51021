//! Which segments may go, and when.
//!
//! The log is shared by all topics, so what goes is whole segments, from the oldest on: a segment
//! goes when the rule of every topic that has messages in it allows it. A rule is a least, not a
//! most: messages of a topic with a short one stay until their segment goes.
//!
//! Age is counted by how long this broker has run, summed over its starts, and not by the clock on
//! the wall: however that one jumps, no segment is older than it was. A segment's age starts when
//! it is full.
//!
//! A segment that somebody still needs is *held*; see [`Hold`]. And since all state is in the log
//! too, the state is appended again before a segment goes, and that has to be durable first.

use std::collections::VecDeque;
use std::collections::btree_map::{BTreeMap, Entry};

use millrace_store::FlushMode;
use millrace_types::{GroupName, Now, PhysicalOffset, TopicName, is_system_topic};
use tracing::{debug, info, warn};

use crate::engine::Engine;
use crate::holds::{Hold, Loss};
use crate::settings::Space;
use crate::state::StateRecord;

/// How long messages are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RetentionConfig {
    /// Messages are kept at least so long, unless their topic says otherwise. Only time in which
    /// the broker runs counts. (`fileReservedTime`)
    pub keep_ms: u64,
    /// The oldest messages go earlier, as far as nobody holds them, if the log would otherwise
    /// have more bytes.
    pub bytes_max: Option<u64>,
    /// Hours of the day, UTC, in which segments may go; empty for any. (`deleteWhen`)
    pub hours: Vec<u8>,
    /// So long beyond its time is a segment kept for somebody who holds it. Then it goes, and what
    /// they lost is reported.
    pub hold_max_ms: u64,
    /// Groups that hold what they have not consumed. Sinks and delayed messages always do.
    pub hold_groups: Vec<GroupName>,
    /// Above this share of the disk in use, percent, `hours` does not matter.
    /// (`diskMaxUsedSpaceRatio`)
    pub any_hour_percent: u8,
    /// Above this share of the disk in use, percent, producers are refused.
    /// (`diskSpaceWarningLevelRatio`)
    pub refuse_percent: u8,
    /// Above this share of the disk in use, percent, the oldest segment goes before its time,
    /// read or unread, held or not; `None` for never. (`cleanFileForciblyEnable` and
    /// `diskSpaceCleanForciblyRatio`)
    pub sacrifice_percent: Option<u8>,
}

impl Default for RetentionConfig {
    fn default() -> Self {
        Self {
            keep_ms: 72 * HOUR_MS,
            bytes_max: None,
            hours: Vec::new(),
            hold_max_ms: 7 * 24 * HOUR_MS,
            hold_groups: Vec::new(),
            any_hour_percent: 75,
            refuse_percent: 95,
            sacrifice_percent: None,
        }
    }
}

/// What one topic says about its messages, in its attributes `reserve.time` (hours) and
/// `reserve.bytes`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct TopicRule {
    pub(crate) keep_ms: Option<u64>,
    /// The newest so many bytes are kept; older ones may go before their time.
    bytes_max: Option<u64>,
}

impl TopicRule {
    pub(crate) fn parse(attributes: &str) -> Self {
        let mut rule = Self::default();
        for (name, value) in attributes.split(',').filter_map(|pair| pair.split_once('=')) {
            // RocketMQ's own default is -1, for no rule.
            let value = value.trim().parse::<u64>().ok();
            match name.trim() {
                "reserve.time" => rule.keep_ms = value.map(|hours| hours.saturating_mul(HOUR_MS)),
                "reserve.bytes" => rule.bytes_max = value,
                _ => {}
            }
        }
        rule
    }
}

pub(crate) const HOUR_MS: u64 = 3_600_000;
/// How often to look whether a segment may go. (`cleanResourceInterval`)
const CHECK_MS: u64 = 10_000;
/// How often to look at the disk.
const SPACE_MS: u64 = 1_000;
/// At most so many segments go at once, so that their files go in between other work.
/// (`deleteFileBatchMax`)
const SEGMENTS_MAX: usize = 10;
/// So many losses are remembered.
const LOSSES_MAX: usize = 64;

/// What retention knows.
#[derive(Debug, Default)]
pub(crate) struct Retention {
    /// How long the broker has run, over all its starts.
    pub(crate) clock_ms: u64,
    /// The monotonic time at which that was so.
    counted_at_ms: Option<u64>,
    /// When each segment but the last was full, by that clock.
    pub(crate) sealed: BTreeMap<PhysicalOffset, u64>,
    /// The clock as the log knows it.
    noted_ms: u64,
    next_check_ms: u64,
    next_space_ms: u64,
    /// Segments that go once the log is durable up to `end`.
    cut: Option<Cut>,
    /// What keeps the oldest segment that would go.
    pub(crate) held_by: Vec<Hold>,
    pub(crate) losses: VecDeque<Loss>,
}

#[derive(Clone, Copy, Debug)]
struct Cut {
    to: PhysicalOffset,
    end: PhysicalOffset,
}

impl Retention {
    /// Counts the time that has passed.
    fn count(&mut self, now: Now) {
        let since = self.counted_at_ms.replace(now.mono_ms).unwrap_or(now.mono_ms);
        self.clock_ms += now.mono_ms.saturating_sub(since);
    }

    /// Takes in what the log knows of the clock.
    pub(crate) fn take_clock(&mut self, ms: u64, sealed: &[(u64, u64)]) {
        self.clock_ms = self.clock_ms.max(ms);
        self.noted_ms = self.clock_ms;
        self.sealed.extend(sealed.iter().map(|&(base, ms)| (PhysicalOffset(base), ms)));
    }

    pub(crate) fn lose(&mut self, loss: Loss) {
        self.losses.push_back(loss);
        if self.losses.len() > LOSSES_MAX {
            self.losses.pop_front();
        }
    }

    /// What a later start has to know, besides losses.
    pub(crate) fn clock_record(&self, from: PhysicalOffset) -> StateRecord {
        let sealed = self.sealed.range(from..).map(|(base, ms)| (base.0, *ms)).collect();
        StateRecord::Clock { ms: self.clock_ms, sealed }
    }
}

impl Engine {
    /// What keeps the oldest segment that would go by now.
    pub fn held_by(&self) -> &[Hold] {
        &self.retention.held_by
    }

    /// What somebody who needed it lost to retention, the newest last.
    pub fn losses(&self) -> impl Iterator<Item = &Loss> {
        self.retention.losses.iter()
    }

    /// When [`Engine::on_tick`] looks at the disk or at old segments again.
    pub fn upkeep_ms(&self) -> u64 {
        self.retention.next_space_ms.min(self.retention.next_check_ms)
    }

    /// Time passes.
    pub(crate) fn retain(&mut self, now: Now) {
        self.retention.count(now);
        if self.retention.next_space_ms <= now.mono_ms {
            self.retention.next_space_ms = now.mono_ms + SPACE_MS;
            self.look_at_the_disk();
        }
        if self.retention.next_check_ms <= now.mono_ms {
            self.retention.next_check_ms = now.mono_ms + CHECK_MS;
            let sealed = self.seal();
            if !self.cut(now) {
                self.note_clock(now, sealed);
                self.note_contract(now);
            }
        }
        // Last, because segments are marked while nothing is half staged.
        self.log_offsets(now);
    }

    /// The log is durable a little further: what was waiting for that goes.
    pub(crate) fn remove_segments(&mut self) {
        let durable = self.store.watermarks().durable();
        let Some(cut) = self.retention.cut.take_if(|cut| cut.end <= durable) else {
            return;
        };
        self.store.remove_before(cut.to);
        self.retention.sealed = self.retention.sealed.split_off(&cut.to);
        self.deletions.prune(self.store.log_min());
        info!(physical_offset = %cut.to, "the log starts here now");
    }

    /// Tells the log what the broker was started with, so that it can be seen without a broker.
    fn note_contract(&mut self, now: Now) {
        let flush = match self.store.config().flush {
            FlushMode::Sync => "1 copy on disk before the answer, nothing lost".to_owned(),
            FlushMode::Async { interval } => {
                format!(
                    "0 copies on disk before the answer, at most {} ms lost",
                    interval.as_millis()
                )
            }
        };
        let RetentionConfig { keep_ms, bytes_max, hours, hold_max_ms, hold_groups, .. } =
            &self.config.retention;
        let list = |all: Vec<String>| (!all.is_empty()).then(|| all.join(" "));
        let values = [
            ("contract", Some(flush)),
            ("keep", Some(format!("{} h", keep_ms / HOUR_MS))),
            ("keep_bytes", bytes_max.map(|max| format!("{max} bytes"))),
            ("remove_at", list(hours.iter().map(|hour| format!("{hour}:00")).collect())),
            ("holders", list(hold_groups.iter().map(ToString::to_string).collect())),
            ("hold_max", Some(format!("{} h", hold_max_ms / HOUR_MS))),
        ];
        for (key, value) in values {
            if self.setting(Space::Broker, key) == value.as_deref() {
                continue;
            }
            let (space, key) = (Space::Broker, key.to_owned());
            let record = StateRecord::Setting { space, key: key.clone(), value: value.clone() };
            if self.stage_state(now, &record).is_ok() {
                self.settings.put(space, key, value);
            }
        }
    }

    /// Remembers since when segments are full; answers which are news.
    fn seal(&mut self) -> Vec<(u64, u64)> {
        let active = self.store.staged_end();
        let full = self.store.segments().into_iter().filter(|(_, end)| *end <= active);
        let Retention { sealed, clock_ms, .. } = &mut self.retention;
        let mut news = Vec::new();
        for (base, _) in full {
            if let Entry::Vacant(unknown) = sealed.entry(base) {
                unknown.insert(*clock_ms);
                news.push((base.0, *clock_ms));
            }
        }
        news
    }

    /// Tells the log of full segments, and once an hour what time it is.
    fn note_clock(&mut self, now: Now, sealed: Vec<(u64, u64)>) {
        let ms = self.retention.clock_ms;
        if sealed.is_empty() && ms < self.retention.noted_ms + HOUR_MS {
            return;
        }
        match self.stage_state(now, &StateRecord::Clock { ms, sealed }) {
            Ok(()) => self.retention.noted_ms = ms,
            // Then a segment is somewhat younger after the next start.
            Err(refusal) => debug!(error = %refusal, "the age of a segment is not noted"),
        }
    }

    /// Appends the state again and marks the segments that go once that is durable; tells whether
    /// there are any.
    fn cut(&mut self, now: Now) -> bool {
        // A snapshot copies what can be read, so nothing may be half staged.
        let idle = self.store.staged_end() == self.store.watermarks().appended();
        if self.retention.cut.is_some() || !idle {
            return false;
        }
        let Some((to, losses)) = self.segments_that_go(now) else {
            return false;
        };
        let known = self.retention.losses.clone();
        losses.iter().cloned().for_each(|loss| self.retention.lose(loss));
        match self.stage_snapshot(now, to) {
            Ok(()) => {
                losses.iter().for_each(Loss::warn);
                self.retention.noted_ms = self.retention.clock_ms;
                self.retention.cut = Some(Cut { to, end: self.store.staged_end() });
                true
            }
            Err(refusal) => {
                warn!(error = %refusal, "no segment is removed");
                self.retention.losses = known;
                false
            }
        }
    }

    /// One past the last segment that goes now, and what that takes from whoever needs it.
    fn segments_that_go(&mut self, now: Now) -> Option<(PhysicalOffset, Vec<Loss>)> {
        self.retention.held_by.clear();
        let spans = self.store.segments();
        let durable = self.store.watermarks().durable();
        let mut bytes: u64 = spans.iter().map(|(base, end)| end.since(*base)).sum();
        let (mut to, mut losses) = (None, Vec::new());
        for (base, end) in spans.into_iter().take(SEGMENTS_MAX) {
            bytes -= end.since(base);
            let Some(sealed) = self.retention.sealed.get(&base).filter(|_| end <= durable) else {
                break;
            };
            let age = self.retention.clock_ms.saturating_sub(*sealed);
            let config = &self.config.retention;
            let sacrifice = to.is_none()
                && config.sacrifice_percent.is_some_and(|max| self.room.used_percent >= max);
            if !sacrifice && !self.is_due(now, end, age, bytes) {
                break;
            }
            let holds = self.holds_before(end);
            let patient = age < self.longest_keep_ms(end).saturating_add(config.hold_max_ms);
            if !holds.is_empty() && patient && !sacrifice && !self.ignores_holds() {
                self.retention.held_by = holds;
                break;
            }
            // A later segment takes more of the same.
            losses = holds.into_iter().flat_map(|hold| hold.loses).collect();
            to = Some(end);
        }
        to.map(|to| (to, losses))
    }

    /// Whether the rules let everything before `end` go; `rest` bytes of log would be left.
    fn is_due(&self, now: Now, end: PhysicalOffset, age: u64, rest: u64) -> bool {
        let config = &self.config.retention;
        let hour = now.wall_ms.div_euclid(HOUR_MS as i64).rem_euclid(24) as u8;
        let any_hour = self.room.used_percent >= config.any_hour_percent;
        if !(config.hours.is_empty() || config.hours.contains(&hour) || any_hour) {
            return false;
        }
        if config.bytes_max.is_some_and(|max| rest >= max) {
            return true;
        }
        if self.settings(Space::Topic).next().is_none() {
            return age >= config.keep_ms;
        }
        self.topics_before(end).into_iter().all(|topic| {
            let rule = self.rule(&topic);
            age >= rule.keep_ms.unwrap_or(config.keep_ms)
                || rule.bytes_max.is_some_and(|max| self.bytes_from(&topic, end, max) >= max)
        })
    }

    fn rule(&self, topic: &TopicName) -> TopicRule {
        let attributes = self.setting(Space::Topic, topic.as_str());
        attributes.map_or_else(TopicRule::default, TopicRule::parse)
    }

    /// The longest time that any topic with messages before `end` wants them kept.
    fn longest_keep_ms(&self, end: PhysicalOffset) -> u64 {
        let default = self.config.retention.keep_ms;
        if self.settings(Space::Topic).next().is_none() {
            return default;
        }
        let topics = self.topics_before(end).into_iter();
        topics.map(|topic| self.rule(&topic).keep_ms.unwrap_or(default)).max().unwrap_or(default)
    }

    /// The topics with messages before `end`. The broker's own are not among them: what counts of
    /// these is appended again.
    fn topics_before(&self, end: PhysicalOffset) -> Vec<TopicName> {
        let mut topics: Vec<TopicName> = Vec::new();
        for (topic, _, no) in self.store.queues().filter(|(topic, ..)| !is_system_topic(topic)) {
            let first = self.store.first_at(no, self.store.bounds(no).min);
            // The queues of a topic most often follow one another.
            if first.is_some_and(|at| at < end) && topics.last() != Some(topic) {
                topics.push(topic.clone());
            }
        }
        topics
    }

    /// Bytes of a topic's messages from `from` on, counted no further than `enough`.
    fn bytes_from(&self, topic: &TopicName, from: PhysicalOffset, enough: u64) -> u64 {
        let queues = self.topics.find(topic.as_str()).map_or(&[][..], |(_, queues)| queues);
        queues.iter().fold(0, |bytes, queue| match enough.saturating_sub(bytes) {
            0 => bytes,
            missing => bytes + self.store.bytes_from(*queue, from, missing),
        })
    }

    #[cfg(feature = "faults")]
    fn ignores_holds(&self) -> bool {
        self.store.config().faults.ignore_holds
    }

    #[cfg(not(feature = "faults"))]
    fn ignores_holds(&self) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(attributes: &str, hours: Option<u64>, bytes_max: Option<u64>) {
        let keep_ms = hours.map(|hours| hours * HOUR_MS);
        assert_eq!(TopicRule::parse(attributes), TopicRule { keep_ms, bytes_max }, "{attributes}");
    }

    #[test]
    fn a_topics_rule_is_read_from_its_attributes() {
        check("", None, None);
        check("message.type=NORMAL", None, None);
        check("reserve.time=24", Some(24), None);
        check("message.type=FIFO, reserve.time = 2 ,reserve.bytes=1000", Some(2), Some(1000));
        check("reserve.time=-1,reserve.bytes=x", None, None);
    }

    #[test]
    fn the_clock_of_retention_counts_running_time_only() {
        let mut retention = Retention::default();
        let at = |mono_ms| Now { mono_ms, wall_ms: 0 };
        retention.take_clock(500, &[(0, 100)]);
        retention.count(at(7_000));
        assert_eq!(retention.clock_ms, 500, "what was before the start does not count");
        retention.count(at(7_250));
        assert_eq!(retention.clock_ms, 750);
    }
}
