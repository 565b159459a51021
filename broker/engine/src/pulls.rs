use millrace_store::{Entry, Plan, QueueNo};
use millrace_types::{Now, PhysicalOffset, QueueId, QueueOffset, TagsCode};

use crate::answer::{Answer, Found, Out, PullStatus, Refusal};
use crate::engine::Engine;
use crate::held::{Held, HeldPull};
use crate::request::{Asker, Caller, Pull, PullHold, Ticket};
use crate::transactions::HALF_TOPIC;

impl Engine {
    pub(crate) fn pull(
        &mut self,
        now: Now,
        caller: &Caller,
        ticket: Ticket,
        pull: Pull<'_>,
    ) -> Result<Option<Answer>, Refusal> {
        let queue = self.queue_to_read(pull.topic, pull.queue)?;
        let (look, until_ms) = match pull.hold {
            PullHold::No => (Look::First, now.mono_ms),
            PullHold::For(ms) => (Look::First, now.mono_ms.saturating_add(ms)),
            PullHold::NoRoom => (Look::Only, u64::MAX),
        };
        let pull = HeldPull {
            ticket,
            connection: caller.connection,
            asker: pull.asker,
            asked: pull.from,
            from: pull.from,
            count_max: pull.count_max.max(1),
            bytes_max: pull.bytes_max,
            filter: pull.filter,
            until_ms,
        };
        Ok(self.answer_or_hold(now, queue, pull, look))
    }

    /// The queue of a topic that consumers may read.
    pub(crate) fn queue_to_read(&self, topic: &str, queue: QueueId) -> Result<QueueNo, Refusal> {
        let known = self.topics.get(topic);
        let known = known.ok_or_else(|| Refusal::UnknownTopic(topic.to_owned()))?;
        if !known.permission.read {
            return Err(Refusal::NotReadable(topic.to_owned()));
        }
        let queues = known.read_queues;
        let no = (queue.0 < queues).then(|| self.topics.queue(topic, queue)).flatten();
        no.ok_or_else(|| Refusal::NoSuchQueue { topic: topic.to_owned(), queue, queues })
    }

    /// Whether consumers may read a queue.
    pub fn may_pull(&self, topic: &str, queue: QueueId) -> bool {
        self.queue_to_read(topic, queue).is_ok()
    }

    /// The queue of a topic that tools may look at: also where the topic, or this queue of it, may
    /// be read no longer, as in RocketMQ. Half messages are shown to nobody.
    pub(crate) fn queue_to_look_at(&self, topic: &str, queue: QueueId) -> Result<QueueNo, Refusal> {
        let known = self.topics.get(topic);
        let known = known.ok_or_else(|| Refusal::UnknownTopic(topic.to_owned()))?;
        if topic == HALF_TOPIC {
            return Err(Refusal::NotReadable(topic.to_owned()));
        }
        let queues = known.read_queues.max(known.write_queues);
        let no = self.topics.queue(topic, queue).or_else(|| self.store.find_queue(topic, queue));
        no.ok_or_else(|| Refusal::NoSuchQueue { topic: topic.to_owned(), queue, queues })
    }

    /// What there is of a queue, for tools: also where it may not be read.
    pub fn extent(&self, topic: &str, queue: QueueId) -> Result<Extent, Refusal> {
        let no = self.queue_to_look_at(topic, queue)?;
        let (min, visible) = self.shown(no);
        Ok(Extent { min, visible, end: self.store.bounds(no).end })
    }

    /// Where the index says that a message of a queue lies, of those that readers may see; for
    /// tools, as [`Engine::extent`].
    pub fn entry_at(
        &self,
        topic: &str,
        queue: QueueId,
        at: QueueOffset,
    ) -> Result<Option<Entry>, Refusal> {
        let no = self.queue_to_look_at(topic, queue)?;
        let (min, visible) = self.shown(no);
        if at < min || at >= visible {
            return Ok(None);
        }
        let plan = self.store.plan(no, at, 1, u64::MAX, self.visible());
        Ok(plan.entries.first().copied())
    }

    /// The first offset of a queue, and the one past the last that readers may see.
    fn shown(&self, queue: QueueNo) -> (QueueOffset, QueueOffset) {
        let min = self.store.bounds(queue).min;
        (min, self.store.end_within(queue, self.visible()).max(min))
    }

    /// Tells held pulls of the messages that have become visible.
    pub(crate) fn wake(&mut self, now: Now, out: &mut Out) {
        let visible = self.visible();
        if self.held.is_empty() {
            // Whoever asks from now on sees these messages at once.
            while self.unseen.pop_front_if(|(end, _)| *end <= visible).is_some() {}
            return;
        }
        let mut queues = Vec::new();
        while let Some((_, queue)) = self.unseen.pop_front_if(|(end, _)| *end <= visible) {
            if !queues.contains(&queue) {
                queues.push(queue);
            }
        }
        for queue in queues {
            let end = self.store.end_within(queue, visible);
            for pull in self.held.on_arrival(queue, end) {
                let ticket = pull.ticket;
                if let Some(answer) = self.answer_or_hold(now, queue, pull, Look::Again) {
                    out.push(ticket, answer);
                }
            }
        }
    }

    /// Answers the held pulls that have waited long enough.
    pub(crate) fn expire_held(&mut self, now: Now, out: &mut Out) {
        for (queue, pull) in self.held.on_tick(now.mono_ms) {
            let ticket = pull.ticket;
            if let Some(answer) = self.answer_or_hold(now, queue, pull, Look::Again) {
                out.push(ticket, answer);
            }
        }
    }

    /// Nothing of what was found for a waiting pull is kept, so it goes on waiting, from where the
    /// next message is, under another ticket.
    pub fn wait_on(
        &mut self,
        now: Now,
        ticket: Ticket,
        held: Held,
        next: QueueOffset,
        out: &mut Out,
    ) {
        let Held { queue, pull, changes } = held;
        let pull = HeldPull { ticket, from: next, ..pull };
        if changes < self.held.changes() {
            // It may be one of those who want something else by now.
            return out.push(ticket, self.asks_again(queue, &pull));
        }
        if let Some(answer) = self.answer_or_hold(now, queue, pull, Look::Again) {
            out.push(ticket, answer);
        }
    }

    /// What some askers want has changed, or what they may have. Those of their pulls that wait go
    /// by what held before, so they are answered: their clients ask again, from where they asked
    /// first, because of what came since then they may want other messages now.
    ///
    /// (RocketMQ asks all of that anew when a message arrives, so it keeps every request; here
    /// nothing is asked twice as long as nothing changes.)
    pub fn ask_again(&mut self, is_meant: impl Fn(Asker) -> bool, out: &mut Out) {
        for (queue, pull) in self.held.on_change(is_meant) {
            out.push(pull.ticket, self.asks_again(queue, &pull));
        }
    }

    /// Answers the pulls that wait for messages which nobody may read any more, in the queues that a
    /// topic had.
    pub(crate) fn refuse_unreadable(&mut self, topic: &str, queues: &[QueueNo], out: &mut Out) {
        for (n, &queue) in (0..).zip(queues) {
            if let Err(refusal) = self.queue_to_read(topic, QueueId(n)) {
                for pull in self.held.take(queue) {
                    out.push(pull.ticket, Answer::Refused(refusal.clone()));
                }
            }
        }
    }

    fn asks_again(&self, queue: QueueNo, pull: &HeldPull) -> Answer {
        let (min, max) = self.shown(queue);
        // Retention may have taken what was asked for.
        let next = pull.asked.max(min);
        Answer::NotFound { status: PullStatus::NoneMatched, next, min, max }
    }

    fn answer_or_hold(
        &mut self,
        now: Now,
        queue: QueueNo,
        mut pull: HeldPull,
        look: Look,
    ) -> Option<Answer> {
        let visible = self.visible();
        let (min, max) = self.shown(queue);
        let nothing = |status, next| Answer::NotFound { status, next, min, max };
        let may_hold = now.mono_ms < pull.until_ms;
        if max == QueueOffset(0) {
            if pull.from > QueueOffset(0) {
                return Some(nothing(PullStatus::BeyondEnd, QueueOffset(0)));
            }
            if !may_hold {
                return Some(nothing(PullStatus::Empty, QueueOffset(0)));
            }
            return self.hold(queue, pull, look);
        }
        if pull.from < min {
            return Some(nothing(PullStatus::BelowMin, min));
        }
        if pull.from > max {
            return Some(nothing(PullStatus::BeyondEnd, max));
        }
        if pull.from < max {
            let found = self.search(queue, &pull, visible);
            if !found.plan.entries.is_empty() {
                let waits = look == Look::Again && may_hold && found.takes_long();
                let changes = self.held.changes();
                let held = waits.then(|| Held { queue, pull, changes });
                return Some(Answer::Found(Found { min, max, held, ..found }));
            }
            // Nothing of it is wanted: the client is told at once that its offset moves on, as by
            // RocketMQ. Once it waits, it waits for a message that it wants.
            if found.next < max || !may_hold || look != Look::Again {
                return Some(nothing(PullStatus::NoneMatched, found.next));
            }
            pull.from = found.next;
        }
        if !may_hold {
            return Some(nothing(PullStatus::AtEnd, pull.from));
        }
        self.hold(queue, pull, look)
    }

    /// Lets a pull wait, if there is room for one more.
    fn hold(&mut self, queue: QueueNo, pull: HeldPull, look: Look) -> Option<Answer> {
        if look == Look::Only || self.held.len() >= self.config.limits.held_pulls_max {
            return Some(Answer::Refused(Refusal::Overloaded));
        }
        self.held.hold(queue, pull);
        None
    }

    /// Which records a pull is given, and where it goes on.
    fn search(&self, queue: QueueNo, pull: &HeldPull, visible: PhysicalOffset) -> Found {
        let HeldPull { from, count_max, bytes_max, .. } = *pull;
        let verdicts = pull.filter.verdicts();
        let takes_long = verdicts.iter().any(|verdicts| verdicts.takes_long());
        let planned_max = if verdicts.is_empty() { count_max } else { count_max.max(QUICK_MAX) };
        let found = |plan, next| Found {
            queue,
            plan,
            verdicts,
            count_max,
            bytes_max,
            held: None,
            next,
            min: from,
            max: next,
        };
        if !takes_long && !pull.filter.goes_by_entry() {
            let plan = self.store.plan(queue, from, planned_max, bytes_max, visible);
            let next = plan.next();
            return found(plan, next);
        }
        let examined_max = if takes_long { JUDGED_MAX } else { self.config.examined_max };
        let examined = self.store.plan(queue, from, examined_max, u64::MAX, visible);
        let mut plan = Plan { from, entries: Vec::new() };
        let mut next = from;
        let (mut wanted, mut bytes) = (0, 0);
        for entry in &examined.entries {
            let matches = pull.filter.by_entry(entry);
            bytes += if matches { u64::from(entry.size) } else { 0 };
            let is_full = wanted == count_max || (wanted > 0 && bytes > bytes_max);
            if matches && is_full && !takes_long {
                break;
            }
            wanted += usize::from(matches);
            plan.entries.push(if matches { *entry } else { PASSED_OVER });
            next = next + 1;
        }
        if wanted == 0 {
            plan.entries.clear();
        }
        found(plan, next)
    }
}

/// Most index entries that one pull looks at whose messages take long to decide over: far more than
/// it is given, so that a filter that drops nearly everything is not asked pull by pull.
const JUDGED_MAX: usize = 1_024;

/// The same for conditions, which are decided over where the pull came in: so many that deciding
/// over all of them is in nobody's way.
const QUICK_MAX: usize = 256;

/// The offsets of a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// The first one.
    pub min: QueueOffset,
    /// One past the last one that readers may see.
    pub visible: QueueOffset,
    /// One past the last one.
    pub end: QueueOffset,
}

/// Whether a pull has just come, or waits already.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Look {
    First,
    /// It has just come and may not wait.
    Only,
    Again,
}

/// Stands for a message that a filter does not want; like a lost one, it is not read.
const PASSED_OVER: Entry =
    Entry { physical_offset: PhysicalOffset(0), size: 0, tags_code: TagsCode(0) };
