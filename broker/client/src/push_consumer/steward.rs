use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use millrace_protocol::MessageQueue;
use millrace_types::QueueOffset;
use tokio::select;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval, sleep_until};
use tracing::{debug, info};

use super::Ordering;
use super::member::Member;
use super::progress::{Figures, Progress};
use super::queue::{QueueConsumer, asked_to_stop, joined};
use crate::peers::Called;

/// News of a group come in bursts, one from each broker: they are answered once.
const BETWEEN_REBALANCES: Duration = Duration::from_millis(200);

/// Heartbeats that queues ask for are no closer.
const BETWEEN_HEARTBEATS: Duration = Duration::from_millis(500);

/// Answers to brokers on their way; whoever asks more waits.
const ANSWERS_MAX: usize = 64;

/// Keeps a member in its group: tells brokers that it is there, shares the queues, commits.
///
/// It never waits for a broker itself, so that one that hangs delays nothing at the others: what is
/// to be asked or told is an [`Errand`], and errands run beside each other, each for as long as the
/// timeouts of the cluster allow. Where an order counts, the next one begins once the one before is
/// back: commits of a queue, renewals of the locks at a broker, and last of all the hand-over.
pub(super) struct Steward {
    pub(super) member: Arc<Member>,
    called: mpsc::Receiver<Called>,
    stop: watch::Receiver<bool>,
    /// The queues that are this member's, and those that it is giving up.
    pub(super) consuming: BTreeMap<MessageQueue, Consuming>,
    ended: JoinSet<MessageQueue>,
    errands: JoinSet<Errand>,
    /// Topics and what of them is this member's. Nobody waits for these in the end.
    shares: JoinSet<Share>,
    /// Topics of which the share is being asked for, and whether it has to be once more.
    sharing: BTreeMap<String, bool>,
    /// Brokers at which locks are being renewed.
    renewing: BTreeSet<String>,
    beating: Repeated,
    saving: Repeated,
    /// Answers to brokers.
    pub(super) answering: JoinSet<()>,
    rebalance_at: Instant,
    rebalanced_at: Option<Instant>,
    /// Once the heartbeats are through, and once those behind them are.
    rebalances_then: bool,
    rebalances_after_next: bool,
    is_leaving: bool,
}

/// One queue that is being consumed.
pub(super) struct Consuming {
    pub(super) progress: Arc<Progress>,
    stop: watch::Sender<bool>,
    /// Where it shall go on, by order of a broker, once it has stopped.
    moved_to: Option<QueueOffset>,
    committing: Repeated,
    /// It is another member's, which may begin at any moment unless there is a lock to wait for.
    is_given_up: bool,
    stage: Stage,
}

/// How far a queue is on its way to others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Consumed,
    /// Nothing of it is consumed any more.
    Ended,
    HandedOver,
}

/// What has to do with brokers, and was done or has failed.
enum Errand {
    /// All brokers were told that the member is there.
    Beat,
    Commit(MessageQueue),
    /// The locks at the broker of this name were renewed.
    Renew(String),
    /// Others may have the queue, which goes on there if a broker has moved it.
    HandOver(MessageQueue, Option<QueueOffset>),
    /// The offsets of a broadcasting member are durable.
    Save,
}

/// What of a topic is this member's, if that can be said, by members that were asked for then.
struct Share {
    topic: String,
    asked_at: Instant,
    queues: Option<Vec<MessageQueue>>,
}

/// An errand that runs once at a time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Repeated {
    #[default]
    Idle,
    Running,
    /// It was asked for while it ran.
    RunningAndDue,
}

impl Repeated {
    /// It is wanted; whether it begins.
    fn wanted(&mut self) -> bool {
        let begins = *self == Self::Idle;
        *self = if begins { Self::Running } else { Self::RunningAndDue };
        begins
    }

    /// It has run; whether it is wanted again.
    fn ran(&mut self) -> bool {
        std::mem::take(self) == Self::RunningAndDue
    }
}

impl Steward {
    pub(super) fn new(
        member: Arc<Member>,
        called: mpsc::Receiver<Called>,
        stop: watch::Receiver<bool>,
    ) -> Self {
        Self {
            member,
            called,
            stop,
            consuming: BTreeMap::new(),
            ended: JoinSet::new(),
            errands: JoinSet::new(),
            shares: JoinSet::new(),
            sharing: BTreeMap::new(),
            renewing: BTreeSet::new(),
            beating: Repeated::default(),
            saving: Repeated::default(),
            answering: JoinSet::new(),
            rebalance_at: Instant::now(),
            rebalanced_at: None,
            rebalances_then: false,
            rebalances_after_next: false,
            is_leaving: false,
        }
    }

    pub(super) async fn run(mut self) {
        let options = &self.member.options;
        let mut heartbeats = every(options.heartbeat_interval);
        let mut commits = every(options.commit_interval);
        let mut locks = every(options.lock_interval);
        let mut stop = self.stop.clone();
        let mut beaten_at = Instant::now();
        while !(self.is_leaving && self.consuming.is_empty()) {
            select! {
                // Brokers give the members of a group in the answer to a question that comes
                // after a heartbeat: those come first, also if everything is late. Nothing here
                // waits, and only what brokers ask, which comes last, can be without end.
                biased;
                () = asked_to_stop(&mut stop), if !self.is_leaving => self.give_all_up(),
                _ = heartbeats.tick() => self.beat(),
                () = self.member.beat.notified() => {
                    // Several queues notice the same, and a second attempt is theirs.
                    if beaten_at.elapsed() >= BETWEEN_HEARTBEATS {
                        beaten_at = Instant::now();
                        heartbeats.reset();
                        self.beat();
                        // Those on their way may have failed where the member is not known.
                        match self.beating {
                            Repeated::RunningAndDue => self.rebalances_after_next = true,
                            _ => self.rebalances_then = true,
                        }
                    }
                }
                _ = locks.tick() => self.renew_locks(),
                _ = commits.tick() => self.commit(),
                () = sleep_until(self.rebalance_at), if !self.is_leaving => self.rebalance(),
                Some(share) = self.shares.join_next() => self.shared(joined(share)),
                Some(queue) = self.ended.join_next() => self.ended(&joined(queue)),
                Some(errand) = self.errands.join_next() => self.ran(joined(errand)),
                Some(answered) = self.answering.join_next() => joined(answered),
                Some(called) = self.called.recv(), if self.answering.len() < ANSWERS_MAX => {
                    self.called(called);
                }
            }
        }
        self.leave().await;
    }

    /// An errand was done, or has failed.
    fn ran(&mut self, errand: Errand) {
        match errand {
            Errand::Beat => {
                let is_due = self.beating.ran();
                let after_next = std::mem::take(&mut self.rebalances_after_next);
                let rebalances = std::mem::replace(&mut self.rebalances_then, after_next);
                if rebalances && !self.is_leaving {
                    self.rebalance();
                }
                if is_due {
                    self.beat();
                }
            }
            Errand::Commit(queue) => {
                let consuming = self.consuming.get_mut(&queue);
                // The rest of a queue that is given up is committed when it is handed over.
                if consuming.is_some_and(|it| it.committing.ran() && !it.is_given_up) {
                    self.commit_of(&queue);
                }
                self.hand_over();
                self.save();
            }
            Errand::Renew(broker) => {
                self.renewing.remove(&broker);
                self.hand_over();
            }
            Errand::HandOver(queue, moved_to) => {
                let Some(consuming) = self.consuming.get_mut(&queue) else { return };
                if consuming.moved_to == moved_to {
                    self.consuming.remove(&queue);
                    self.rebalance_soon();
                } else {
                    // The order of a broker came meanwhile.
                    consuming.stage = Stage::Ended;
                    self.hand_over();
                }
            }
            Errand::Save => {
                if self.saving.ran() {
                    self.save();
                }
            }
        }
    }

    fn beat(&mut self) {
        if self.beating.wanted() {
            let member = Arc::clone(&self.member);
            self.errands.spawn(async move {
                member.send_heartbeats().await;
                Errand::Beat
            });
        }
    }

    /// Shares the queues anew as soon as may be.
    pub(super) fn rebalance_soon(&mut self) {
        let earliest = self.rebalanced_at.map(|at| at + BETWEEN_REBALANCES);
        let soon = earliest.unwrap_or_else(Instant::now);
        self.rebalance_at = self.rebalance_at.min(soon);
    }

    /// Asks for this member's share of all topics, behind the heartbeats that are on their way.
    fn rebalance(&mut self) {
        let now = Instant::now();
        self.rebalance_at = now + self.member.options.rebalance_interval;
        if self.beating != Repeated::Idle {
            self.rebalances_then = true;
            return;
        }
        self.rebalanced_at = Some(now);
        let member = Arc::clone(&self.member);
        for topic in member.topics.keys() {
            self.share(topic);
        }
    }

    fn share(&mut self, topic: &str) {
        if let Some(once_more) = self.sharing.get_mut(topic) {
            // The answer that comes may be older than the news.
            *once_more = true;
            return;
        }
        let (member, topic) = (Arc::clone(&self.member), topic.to_owned());
        self.sharing.insert(topic.clone(), false);
        let asked_at = Instant::now();
        self.shares.spawn(async move {
            let queues = member.share_of(&topic).await;
            Share { topic, asked_at, queues }
        });
    }

    /// Gives up queues that are not this member's any more, and takes those that are.
    fn shared(&mut self, share: Share) {
        let Share { topic, asked_at, queues } = share;
        let once_more = self.sharing.remove(&topic) == Some(true);
        if self.is_leaving {
            return;
        }
        if let Some(queues) = queues {
            let share: BTreeSet<_> = queues.into_iter().collect();
            let of_topic = self.consuming.keys().filter(|queue| queue.topic == topic);
            let others: Vec<_> =
                of_topic.filter(|queue| !share.contains(*queue)).cloned().collect();
            for queue in others {
                self.give_up(&queue);
            }
            for queue in share {
                // One that is being given up is taken again once it is gone.
                if let Some(consuming) = self.consuming.get(&queue) {
                    consuming.progress.update(|figures| figures.shared_at = Some(asked_at));
                } else {
                    info!(topic, broker = queue.broker_name, queue = queue.queue_id.0, "took");
                    self.take(queue);
                }
            }
        }
        if once_more {
            self.share(&topic);
        }
    }

    /// A queue is another member's now: commits what is done of it, and ends with what is in the
    /// application's hands.
    fn give_up(&mut self, queue: &MessageQueue) {
        if let Some(consuming) = self.consuming.get_mut(queue)
            && !consuming.stop.send_replace(true)
        {
            let MessageQueue { topic, broker_name, queue_id } = queue;
            info!(topic, broker = broker_name, queue = queue_id.0, "gave up");
            consuming.is_given_up = true;
            // The other member may ask where to begin in this very moment. (In RocketMQ,
            // `removeUnnecessaryMessageQueue` begins with `persist`.)
            self.commit_of(queue);
        }
    }

    fn take(&mut self, queue: MessageQueue) {
        let (stop, stopped) = watch::channel(false);
        let progress = Arc::new(Progress::default());
        let consumer = QueueConsumer {
            member: Arc::clone(&self.member),
            queue: queue.clone(),
            progress: Arc::clone(&progress),
            stop: stopped,
        };
        self.ended.spawn(consumer.run());
        let consuming = Consuming {
            progress,
            stop,
            moved_to: None,
            committing: Repeated::default(),
            is_given_up: false,
            stage: Stage::Consumed,
        };
        self.consuming.insert(queue, consuming);
    }

    /// Has queues go on elsewhere, by order of a broker.
    pub(super) fn move_to(&mut self, places: Vec<(MessageQueue, QueueOffset)>) {
        for (queue, to) in places {
            if let Some(consuming) = self.consuming.get_mut(&queue) {
                consuming.moved_to = Some(to);
                consuming.stop.send_replace(true);
            }
        }
    }

    /// A queue is not consumed any more.
    fn ended(&mut self, queue: &MessageQueue) {
        if let Some(consuming) = self.consuming.get_mut(queue) {
            consuming.stage = Stage::Ended;
            self.hand_over();
        }
    }

    /// Commits queues that are not consumed any more, and lets others have them: once no other
    /// errand of theirs is on its way, which a broker might do after these.
    fn hand_over(&mut self) {
        for (queue, consuming) in &mut self.consuming {
            let is_renewing = self.renewing.contains(&queue.broker_name);
            let is_free = consuming.committing == Repeated::Idle && !is_renewing;
            if consuming.stage == Stage::Ended && is_free {
                consuming.stage = Stage::HandedOver;
                let (member, queue) = (Arc::clone(&self.member), queue.clone());
                let (figures, moved_to) = (consuming.progress.get(), consuming.moved_to);
                let is_given_up = consuming.is_given_up;
                self.errands.spawn(async move {
                    match moved_to {
                        Some(to) => {
                            member.commit(&queue, to).await;
                        }
                        None => commit_the_rest(&member, &queue, &figures, is_given_up).await,
                    }
                    if figures.locked_at.is_some() {
                        member.unlock(&queue).await;
                    }
                    Errand::HandOver(queue, moved_to)
                });
            }
        }
    }

    /// Commits what has changed. What was not taken is tried again the next time.
    fn commit(&mut self) {
        let ours = self.consuming.iter().filter(|(_, consuming)| !consuming.is_given_up);
        let ours: Vec<_> = ours.map(|(queue, _)| queue.clone()).collect();
        for queue in ours {
            self.commit_of(&queue);
        }
        self.save();
    }

    fn commit_of(&mut self, queue: &MessageQueue) {
        let Some(consuming) = self.consuming.get_mut(queue) else { return };
        if consuming.moved_to.is_some() || consuming.stage != Stage::Consumed {
            return;
        }
        let uncommitted = uncommitted(&self.member, queue, &consuming.progress.get());
        let Some(offset) = uncommitted else { return };
        // A broker might do the second of two before the first.
        if !consuming.committing.wanted() {
            return;
        }
        let (member, queue) = (Arc::clone(&self.member), queue.clone());
        let progress = Arc::clone(&consuming.progress);
        // Now and not afterwards: the queue may be moved meanwhile, and then this does not count
        // any more.
        progress.update(|figures| figures.committed = Some(offset));
        self.errands.spawn(async move {
            let taken = member.commit(&queue, offset).await;
            progress.update(|figures| match taken {
                true => figures.taken = Some(offset),
                false => figures.committed = None,
            });
            Errand::Commit(queue)
        });
    }

    /// Makes the offsets of a broadcasting member durable, once all are committed that were to be.
    fn save(&mut self) {
        let is_committed =
            self.consuming.values().all(|consuming| consuming.committing == Repeated::Idle);
        if self.member.is_clustering() || !is_committed || !self.saving.wanted() {
            return;
        }
        let member = Arc::clone(&self.member);
        self.errands.spawn(async move {
            member.save_offsets().await;
            Errand::Save
        });
    }

    /// Renews the locks of all queues, of each broker by one errand.
    fn renew_locks(&mut self) {
        if self.member.options.ordering != Ordering::InOrder || !self.member.is_clustering() {
            return;
        }
        let mut by_broker: BTreeMap<&str, Vec<(MessageQueue, Arc<Progress>)>> = BTreeMap::new();
        for (queue, consuming) in &self.consuming {
            let broker = queue.broker_name.as_str();
            let is_its_turn = consuming.stage == Stage::Consumed && !self.renewing.contains(broker);
            // The consumer of a queue gets its first lock by itself.
            if is_its_turn && consuming.progress.get().locked_at.is_some() {
                let locked = (queue.clone(), Arc::clone(&consuming.progress));
                by_broker.entry(broker).or_default().push(locked);
            }
        }
        for (broker, queues) in by_broker {
            let (member, broker) = (Arc::clone(&self.member), broker.to_owned());
            self.renewing.insert(broker.clone());
            self.errands.spawn(async move {
                renew_locks(&member, queues).await;
                Errand::Renew(broker)
            });
        }
    }

    /// Leaves the group, but not before all queues are handed over. Until then the member is one,
    /// and its locks are renewed.
    fn give_all_up(&mut self) {
        self.is_leaving = true;
        for consuming in self.consuming.values() {
            consuming.stop.send_replace(true);
        }
    }

    /// All queues are handed over: says goodbye, as the last thing that brokers hear.
    async fn leave(mut self) {
        self.shares.shutdown().await;
        while let Some(errand) = self.errands.join_next().await {
            joined(errand);
        }
        self.member.save_offsets().await;
        self.answering.shutdown().await;
        self.member.say_goodbye().await;
    }
}

/// Commits what a queue came to that is not consumed any more.
async fn commit_the_rest(
    member: &Member,
    queue: &MessageQueue,
    figures: &Figures,
    is_given_up: bool,
) {
    let Some(offset) = uncommitted(member, queue, figures) else { return };
    // Whoever has the queue has not waited for what was in the application's hands, unless there is
    // a lock, and may be further.
    let has_waited = !is_given_up || !member.is_clustering() || member.keeps_order();
    if has_waited || member.is_behind(queue, offset).await {
        member.commit(queue, offset).await;
    }
}

/// Renews the locks of queues of one broker.
async fn renew_locks(member: &Member, queues: Vec<(MessageQueue, Arc<Progress>)>) {
    let asked = queues.iter().map(|(queue, _)| queue.clone()).collect();
    match member.lock(asked).await {
        Ok(locked) => {
            let now = Instant::now();
            for (queue, progress) in queues {
                // One that was refused is another member's already.
                let locked_at = locked.contains(&queue).then_some(now);
                progress.update(|figures| figures.locked_at = locked_at);
            }
        }
        Err(error) => debug!(%error, "locks were not renewed"),
    }
}

/// What is to be committed of a queue now. Once brokers may have taken the member for gone, that is
/// nothing until the consumer of the queue has come back.
fn uncommitted(member: &Member, queue: &MessageQueue, figures: &Figures) -> Option<QueueOffset> {
    let options = &member.options;
    if member.was_absent(queue, figures.since?) {
        return None;
    }
    let needs_lock = member.keeps_order() && member.is_clustering();
    let lock_interval = needs_lock.then_some(options.lock_interval);
    figures.uncommitted(Instant::now(), options.absence_max, lock_interval)
}

/// Ticks at once and then at an interval; late ticks are not made up for.
fn every(period: Duration) -> Interval {
    let mut ticks = interval(period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}
