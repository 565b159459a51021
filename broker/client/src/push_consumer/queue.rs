use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use millrace_protocol::{MessageQueue, PullStatus, ResponseCode};
use millrace_types::QueueOffset;
use tokio::select;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until, timeout_at};
use tracing::{debug, warn};

use super::delivery::{Delivery, Held, Verdict};
use super::member::Member;
use super::progress::{Figures, Progress};
use super::window::Window;
use crate::cluster::now_ms;
use crate::pull::{Pull, PullOutcome};
use crate::{ClientError, Received};

/// How long a broker may hold a pull for which there is no message.
const HOLD: Duration = Duration::from_secs(15);
/// How long to wait after something failed: a pull, a lock, a message in order.
const PAUSE: Duration = Duration::from_secs(1);
/// How long a message waits here that could not be sent back.
const LOCAL_PAUSE: Duration = Duration::from_secs(5);
/// Nothing is looked at more often than this, if nothing happens.
const LOOK_MIN: Duration = Duration::from_millis(1);
/// The delay level of what was consumed for too long, as Java's: 10 s.
const TAKEN_BACK_LEVEL: i32 = 3;

/// Consumes one queue until it is asked to stop.
pub(super) struct QueueConsumer {
    pub(super) member: Arc<Member>,
    pub(super) queue: MessageQueue,
    pub(super) progress: Arc<Progress>,
    pub(super) stop: watch::Receiver<bool>,
}

/// Why the consumption of a queue came to an end.
#[derive(Debug, PartialEq, Eq)]
enum End {
    Stopped,
    /// Another member may have the queue by now.
    LockLost,
    /// The same: brokers may have missed the member for longer than they wait for one.
    Away,
}

impl QueueConsumer {
    /// Ends with what may be committed in `progress`, and with nothing of it left running.
    pub(super) async fn run(mut self) -> MessageQueue {
        // What the group had committed when the queue was left alone, and how far it was.
        let mut lapsed = None;
        // What was left alone, and goes on if nobody else has come further.
        let mut left: Option<Run> = None;
        while !*self.stop.borrow() {
            let since = Instant::now();
            if self.member.keeps_order() && !self.lock().await {
                self.pause().await;
                continue;
            }
            let start = match self.member.start_of(&self.queue).await {
                Ok(start) => start,
                Err(error) => {
                    let MessageQueue { topic, queue_id, .. } = &self.queue;
                    warn!(topic, queue = queue_id.0, %error, "where to begin is not known");
                    self.pause().await;
                    continue;
                }
            };
            let before = lapsed.take();
            let mut run = match left.take() {
                Some(run) if is_between(start, before) => run.again(since),
                _ => Run::new(&self, go_on_at(start, before), since),
            };
            match run.go(&mut self.stop.clone()).await {
                End::Stopped => {
                    run.end().await;
                    break;
                }
                // Whoever has the queue meanwhile may be further than we are.
                End::LockLost => lapsed = Some(self.left_alone(start)),
                End::Away => {
                    let MessageQueue { topic, queue_id, .. } = &self.queue;
                    warn!(topic, queue = queue_id.0, "was away; goes on where the group is");
                    lapsed = Some(self.left_alone(start));
                    // In order nothing of it is in the application's hands any more.
                    left = (!self.member.keeps_order()).then_some(run);
                    self.come_back().await;
                }
            }
        }
        self.queue
    }

    /// Waits until brokers know the member again, and until the queue is known to be its still.
    async fn come_back(&mut self) {
        let away_at = Instant::now();
        loop {
            let is_absent = self.member.is_absent(&self.queue);
            let shared_at = self.progress.get().shared_at;
            if !is_absent && shared_at.is_some_and(|at| at > away_at) {
                return;
            }
            // A broker that does not answer is not told all the time.
            if !is_absent || self.member.start_of(&self.queue).await.is_ok() {
                // Whoever has the queue meanwhile hears of it, and commits.
                self.member.beat.notify_one();
            }
            self.pause().await;
            if *self.stop.borrow() {
                return;
            }
        }
    }

    /// Nothing of the figures counts any more; what the group had committed, and how far it was.
    fn left_alone(&self, start: QueueOffset) -> LeftAlone {
        let Figures { taken, committable, .. } = self.progress.get();
        self.progress.update(|figures| *figures = Figures::default());
        (taken.unwrap_or(start), committable)
    }

    async fn pause(&mut self) {
        select! {
            () = asked_to_stop(&mut self.stop) => {}
            () = sleep(PAUSE) => {}
        }
    }

    async fn lock(&self) -> bool {
        if !self.member.is_clustering() {
            return true;
        }
        match self.member.lock(vec![self.queue.clone()]).await {
            Ok(locked) if locked.contains(&self.queue) => {
                self.progress.update(|figures| figures.locked_at = Some(Instant::now()));
                true
            }
            Ok(_) => false,
            Err(error) => {
                debug!(topic = self.queue.topic, %error, "a queue was not locked");
                false
            }
        }
    }
}

/// What the group had committed in a queue that was left alone, and how far it was done.
type LeftAlone = (QueueOffset, Option<QueueOffset>);

/// What was done before need not come again, unless the group was moved back since.
fn go_on_at(start: QueueOffset, left: Option<LeftAlone>) -> QueueOffset {
    match left {
        Some((committed, Some(done))) if committed <= start => done.max(start),
        _ => start,
    }
}

/// Whether the group is between what was committed before and what was done.
fn is_between(start: QueueOffset, left: Option<LeftAlone>) -> bool {
    matches!(left, Some((committed, Some(done))) if committed <= start && start <= done)
}

/// One stretch of consumption, from one start on.
struct Run {
    member: Arc<Member>,
    queue: MessageQueue,
    progress: Arc<Progress>,
    window: Window,
    /// Pulled, and next to be handed out.
    ready: VecDeque<Received>,
    /// Those that failed and could not be sent back, by when they come again.
    later: BTreeMap<(Instant, QueueOffset), Received>,
    /// In the application's hands, or on the way there, by which time it was that a message was
    /// handed out.
    in_hand: BTreeMap<u64, Held>,
    handed_out: u64,
    verdicts: mpsc::UnboundedReceiver<(u64, Verdict)>,
    /// Kept, so that the channel stays open.
    verdict_sender: mpsc::UnboundedSender<(u64, Verdict)>,
    /// At most one.
    pulls: JoinSet<Result<PullOutcome, ClientError>>,
    /// Messages on their way back, and whether they were taken.
    returns: JoinSet<(Received, bool)>,
    pull_after: Instant,
    hand_out_after: Instant,
    broker_id: u64,
    /// The queue begins or ends elsewhere; to be followed once the window is empty.
    moved: Option<QueueOffset>,
    /// When it was last at work. (In RocketMQ, `ProcessQueue.isPullExpired` looks at the last pull.)
    seen_at: Instant,
    /// Since when an absence matters.
    since: Instant,
}

impl Run {
    fn new(of: &QueueConsumer, start: QueueOffset, since: Instant) -> Self {
        let (verdict_sender, verdicts) = mpsc::unbounded_channel();
        let now = Instant::now();
        Self {
            member: Arc::clone(&of.member),
            queue: of.queue.clone(),
            progress: Arc::clone(&of.progress),
            window: Window::starting_at(start),
            ready: VecDeque::new(),
            later: BTreeMap::new(),
            in_hand: BTreeMap::new(),
            handed_out: 0,
            verdicts,
            verdict_sender,
            pulls: JoinSet::new(),
            returns: JoinSet::new(),
            pull_after: now,
            hand_out_after: now,
            broker_id: 0,
            moved: None,
            seen_at: now,
            since,
        }
    }

    /// Goes on after an absence.
    fn again(self, since: Instant) -> Self {
        Self { seen_at: Instant::now(), since, ..self }
    }

    async fn go(&mut self, stop: &mut watch::Receiver<bool>) -> End {
        let deliveries = self.member.deliveries.clone();
        loop {
            let now = Instant::now();
            let end = if self.was_away(now) {
                Some(End::Away)
            } else {
                self.report(now);
                self.lock_is_lost(now).then_some(End::LockLost)
            };
            if let Some(end) = end {
                return if self.finish_in_hand(stop).await { end } else { End::Stopped };
            }
            self.follow_move(now);
            self.wake(now);
            self.take_back(now);
            self.start_pull(now);
            let alarm = self.alarm(now);
            select! {
                () = asked_to_stop(stop) => return End::Stopped,
                Some(verdict) = self.verdicts.recv() => self.settle(verdict),
                room = deliveries.reserve(), if self.may_hand_out(now) => {
                    let now = Instant::now();
                    match room {
                        Ok(room) if !self.was_away(now) && !self.lock_is_lost(now) => {
                            if let Some(message) = self.ready.pop_front() {
                                room.send(self.hand_out(message));
                            }
                        }
                        Ok(_) => {}
                        // Nobody takes any more; it is about to be asked to stop.
                        Err(_) => self.ready.clear(),
                    }
                }
                Some(pulled) = self.pulls.join_next() => self.pulled(joined(pulled)),
                Some(returned) = self.returns.join_next() => self.returned(joined(returned)),
                () = sleep_until(alarm) => {}
            }
        }
    }

    /// In order, messages in the application's hands must not be beside what comes after them, or
    /// come again: waits for them. Tells whether it came to that, and was not asked to stop before.
    async fn finish_in_hand(&mut self, stop: &mut watch::Receiver<bool>) -> bool {
        self.pulls.shutdown().await;
        while self.member.keeps_order() && (!self.in_hand.is_empty() || !self.returns.is_empty()) {
            select! {
                () = asked_to_stop(stop) => return false,
                () = self.next_end() => {}
            }
        }
        // Not as a sign of life, by which it would be committed.
        let committable = self.committable();
        self.progress.update(|figures| figures.committable = Some(committable));
        true
    }

    fn hand_out(&mut self, message: Received) -> Delivery {
        let held = Held::new(self.handed_out, message);
        self.in_hand.insert(self.handed_out, held.clone());
        self.handed_out += 1;
        Delivery::new(held, self.verdict_sender.clone())
    }

    /// Sends messages back that the application has had for too long: whoever works on them may
    /// never come to an end, and as long nothing of the queue would be committed. (In RocketMQ,
    /// `ProcessQueue.cleanExpiredMsg`.)
    fn take_back(&mut self, now: Instant) {
        let Some(timeout) = self.member.options.consume_timeout else { return };
        if self.member.keeps_order() || !self.member.is_clustering() {
            return;
        }
        // What was said while nobody listened, as during an absence, was said in time.
        while let Ok(verdict) = self.verdicts.try_recv() {
            self.settle(verdict);
        }
        // They are taken in the order in which they were handed out.
        while let Some(first) = self.in_hand.first_entry()
            && let Some(taken_at) = first.get().taken_at()
            && now.saturating_duration_since(taken_at) >= timeout
        {
            let message = first.remove().into_message();
            let MessageQueue { topic, queue_id, .. } = &self.queue;
            let (offset, id) = (message.offset.0, message.id());
            warn!(topic, queue = queue_id.0, queue_offset = offset, id, "consumed for too long");
            self.send_back(message, TAKEN_BACK_LEVEL);
        }
    }

    fn send_back(&mut self, message: Received, level: i32) {
        let member = Arc::clone(&self.member);
        self.returns.spawn(async move {
            let taken = member.send_back(&message, level).await;
            (message, taken)
        });
    }

    /// A message is done with, or left where it is.
    fn ended(&mut self, (number, verdict): (u64, Verdict)) {
        if let Some(held) = self.in_hand.remove(&number)
            && let Verdict::Done = verdict
        {
            self.window.done(held.message.offset);
        }
    }

    /// The next message is done with, or left where it is.
    async fn next_end(&mut self) {
        select! {
            Some(verdict) = self.verdicts.recv() => self.ended(verdict),
            Some(returned) = self.returns.join_next() => {
                let (message, taken) = joined(returned);
                if taken {
                    self.window.done(message.offset);
                }
            }
        }
    }

    /// Whether it stood still, or was cut off, for so long that another member may be further:
    /// while it waits it looks up every few seconds.
    fn was_away(&self, now: Instant) -> bool {
        let stood_still = self.member.is_clustering()
            && now.saturating_duration_since(self.seen_at) > self.member.options.absence_max;
        stood_still || self.member.was_absent(&self.queue, self.since)
    }

    /// What the group may commit. What lies behind the place where the queue goes on is not
    /// skipped, whatever happens until then.
    fn committable(&self) -> QueueOffset {
        let committable = self.window.committable();
        self.moved.map_or(committable, |to| to.min(committable))
    }

    /// Tells others how far it is.
    fn report(&mut self, now: Instant) {
        self.seen_at = now;
        self.progress.update(|figures| {
            (figures.seen_at, figures.since) = (Some(now), Some(self.since));
            figures.committable = Some(self.committable());
            (figures.open, figures.open_bytes) = self.window.load();
        });
    }

    fn lock_is_lost(&self, now: Instant) -> bool {
        let lock_interval = self.member.options.lock_interval;
        self.member.keeps_order()
            && self.member.is_clustering()
            && !self.progress.get().is_locked(now, lock_interval)
    }

    /// In order, the next message waits for the verdict on the one before.
    fn may_hand_out(&self, now: Instant) -> bool {
        let is_free = !self.member.keeps_order()
            || (self.in_hand.is_empty() && self.returns.is_empty() && now >= self.hand_out_after);
        is_free && !self.ready.is_empty()
    }

    fn follow_move(&mut self, now: Instant) {
        if let Some(to) = self.moved
            && self.window.is_empty()
        {
            self.window = Window::starting_at(to);
            self.moved = None;
            self.report(now);
        }
    }

    /// Messages whose pause is over are handed out again.
    fn wake(&mut self, now: Instant) {
        while let Some(entry) = self.later.first_entry()
            && entry.key().0 <= now
        {
            self.ready.push_back(entry.remove());
        }
    }

    /// When to look again if nothing happens.
    fn alarm(&self, now: Instant) -> Instant {
        let pauses = [self.pull_after, self.hand_out_after];
        let woken = self.later.keys().next().map(|(at, _)| *at);
        let next = pauses.into_iter().chain(woken).filter(|at| *at > now).min();
        // A lock is looked at now and then.
        let look = if self.member.keeps_order() { PAUSE } else { LOCAL_PAUSE };
        // And so is for how long messages are in the application's hands.
        let timeout = self.member.options.consume_timeout.unwrap_or(look).max(LOOK_MIN);
        let look = now + look.min(timeout);
        next.map_or(look, |next| next.min(look))
    }

    fn start_pull(&mut self, now: Instant) {
        let is_full = self.window.is_full(&self.member.options.window);
        if is_full || !self.pulls.is_empty() || self.moved.is_some() || now < self.pull_after {
            return;
        }
        let (member, queue) = (Arc::clone(&self.member), self.queue.clone());
        let (from, broker_id) = (self.window.next(), self.broker_id);
        let commit = member.is_clustering().then(|| self.window.committable());
        // Nothing of 0 messages is worth a commit.
        let commit = commit.filter(|offset| offset.0 > 0);
        self.progress.update(|figures| figures.pulled_at_ms = now_ms());
        self.pulls.spawn(async move {
            let filter = member.topics.get(&queue.topic).cloned().unwrap_or_default();
            member
                .cluster
                .pull(Pull {
                    group: &member.group,
                    queue: &queue,
                    from,
                    filter: &filter,
                    subscribed: Some(member.version),
                    messages_max: member.options.pull_messages_max,
                    wait: HOLD,
                    commit,
                    broker_id,
                })
                .await
        });
    }

    fn pulled(&mut self, outcome: Result<PullOutcome, ClientError>) {
        let outcome = match outcome {
            Ok(outcome) => outcome,
            Err(error) => {
                let MessageQueue { topic, queue_id, .. } = &self.queue;
                debug!(topic, queue = queue_id.0, %error, "a pull failed");
                self.refused(&error);
                self.pull_after = Instant::now() + PAUSE;
                return;
            }
        };
        self.broker_id = outcome.broker_id;
        if outcome.status == PullStatus::OffsetMoved {
            let MessageQueue { topic, queue_id, .. } = &self.queue;
            let (from, to) = (self.window.next().0, outcome.next.0);
            warn!(topic, queue = queue_id.0, from, to, "the broker moved the offset");
            self.moved = Some(outcome.next);
            // What was committed before is not what the group is at now.
            self.progress.update(|figures| figures.committed = None);
            self.pull_after = Instant::now() + PAUSE;
            return;
        }
        for message in outcome.messages {
            if self.window.take(message.offset, message.size()) {
                self.ready.push_back(message);
            }
        }
        self.window.pulled_up_to(outcome.next);
    }

    /// What follows from a pull that failed, beside that it is made again.
    fn refused(&self, error: &ClientError) {
        match error {
            // A broker that starts anew may have forgotten the last commits.
            ClientError::Unreachable { .. } | ClientError::Unanswered { .. } => {
                self.progress.update(|figures| figures.committed = None);
            }
            ClientError::Refused { refused, .. } => match refused.code {
                // It starts anew, or took this member for gone.
                ResponseCode::SUBSCRIPTION_NOT_EXIST | ResponseCode::SUBSCRIPTION_NOT_LATEST => {
                    self.member.beat.notify_one();
                }
                // The state of the group or of the topic, which may last.
                code => {
                    let topic = &self.queue.topic;
                    if self.member.is_news(&format!("{topic} {}", code.0)) {
                        warn!(topic, %error, "a pull is refused; it is made again each second");
                    }
                }
            },
            ClientError::Garbled { .. }
            | ClientError::NoRoute(_)
            | ClientError::NoBroker(_)
            | ClientError::Invalid(_) => {}
        }
    }

    fn settle(&mut self, (number, verdict): (u64, Verdict)) {
        // Whoever took too long over a message has no say in it any more.
        let Some(held) = self.in_hand.remove(&number) else { return };
        match verdict {
            Verdict::Done => self.window.done(held.message.offset),
            Verdict::Later(level) if !self.member.keeps_order() => {
                self.send_back(held.into_message(), level);
            }
            Verdict::Later(level) => {
                let mut message = held.into_message();
                let max = self.member.reconsume_times_max();
                if level >= 0 && message.reconsume_times < max {
                    message.reconsume_times += 1;
                    self.hand_out_after = Instant::now() + PAUSE;
                    self.ready.push_front(message);
                    return;
                }
                if level < 0 {
                    return self.send_back(message, level);
                }
                let member = Arc::clone(&self.member);
                self.returns.spawn(async move {
                    let taken =
                        !member.is_clustering() || member.send_to_retry_topic(&message).await;
                    (message, taken)
                });
            }
        }
    }

    fn returned(&mut self, (message, taken): (Received, bool)) {
        if taken {
            self.window.done(message.offset);
        } else if self.member.keeps_order() {
            self.hand_out_after = Instant::now() + LOCAL_PAUSE;
            self.ready.push_front(message);
        } else {
            self.later.insert((Instant::now() + LOCAL_PAUSE, message.offset), message);
        }
    }

    /// Waits for what is in the application's hands and on its way back, but not for ever. What
    /// failed in the meantime is left where it is: it comes again to whoever has the queue then.
    async fn end(mut self) {
        let is_stale = self.was_away(Instant::now());
        self.pulls.shutdown().await;
        let deadline = Instant::now() + self.member.options.grace;
        while !self.in_hand.is_empty() || !self.returns.is_empty() {
            if timeout_at(deadline, self.next_end()).await.is_err() {
                break;
            }
        }
        self.returns.shutdown().await;
        if !is_stale {
            self.report(Instant::now());
        }
    }
}

/// Ready once the consumption is to end, also because nobody is there any more who could say so.
/// Dropping it loses nothing.
pub(super) async fn asked_to_stop(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}

/// What a task came to; nobody aborts those that are waited for.
pub(super) fn joined<T>(ended: Result<T, tokio::task::JoinError>) -> T {
    ended.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_done_does_not_come_again_unless_the_group_was_moved_back() {
        let go_on = |start, committed, done: Option<u64>| {
            go_on_at(QueueOffset(start), Some((QueueOffset(committed), done.map(QueueOffset)))).0
        };
        assert_eq!(go_on(500, 500, Some(505)), 505);
        // Another member was there, and came less or more far.
        assert_eq!(go_on(502, 500, Some(505)), 505);
        assert_eq!(go_on(900, 500, Some(505)), 900);
        assert_eq!(go_on(100, 500, Some(505)), 100);
        assert_eq!(go_on(500, 500, None), 500);
        assert_eq!(go_on_at(QueueOffset(7), None), QueueOffset(7));
    }
}
