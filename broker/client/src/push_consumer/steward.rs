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

/// Keeps a member in its group: tells brokers that it is there, shares the queues, commits.
pub(super) struct Steward {
    pub(super) member: Arc<Member>,
    called: mpsc::Receiver<Called>,
    stop: watch::Receiver<bool>,
    /// The queues that are this member's, and those that it is giving up.
    pub(super) consuming: BTreeMap<MessageQueue, Consuming>,
    ended: JoinSet<MessageQueue>,
    /// Answers to brokers that take their time.
    pub(super) answering: JoinSet<()>,
    rebalance_at: Instant,
    rebalanced_at: Option<Instant>,
}

/// One queue that is being consumed.
pub(super) struct Consuming {
    pub(super) progress: Arc<Progress>,
    stop: watch::Sender<bool>,
    /// Where it shall go on, by order of a broker, once it has stopped.
    moved_to: Option<QueueOffset>,
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
            answering: JoinSet::new(),
            rebalance_at: Instant::now(),
            rebalanced_at: None,
        }
    }

    pub(super) async fn run(mut self) {
        let options = &self.member.options;
        let mut heartbeats = every(options.heartbeat_interval);
        let mut commits = every(options.commit_interval);
        let mut locks = every(options.lock_interval);
        let mut stop = self.stop.clone();
        let mut beaten_at = Instant::now();
        loop {
            select! {
                // Brokers give the members of a group in the answer to a question that comes
                // after the first heartbeat.
                biased;
                () = asked_to_stop(&mut stop) => break,
                _ = heartbeats.tick() => self.member.send_heartbeats().await,
                () = self.member.beat.notified() => {
                    // Several queues notice the same, and a second attempt is theirs.
                    if beaten_at.elapsed() >= BETWEEN_HEARTBEATS {
                        self.member.send_heartbeats().await;
                        beaten_at = Instant::now();
                        heartbeats.reset();
                    }
                }
                () = sleep_until(self.rebalance_at) => self.rebalance().await,
                Some(called) = self.called.recv() => self.called(called).await,
                Some(queue) = self.ended.join_next() => self.left(joined(queue)).await,
                Some(answered) = self.answering.join_next() => joined(answered),
                _ = commits.tick() => self.commit().await,
                _ = locks.tick() => self.renew_locks().await,
            }
        }
        self.leave().await;
    }

    /// Shares the queues anew as soon as may be.
    pub(super) fn rebalance_soon(&mut self) {
        let earliest = self.rebalanced_at.map(|at| at + BETWEEN_REBALANCES);
        let soon = earliest.unwrap_or_else(Instant::now);
        self.rebalance_at = self.rebalance_at.min(soon);
    }

    /// Gives up queues that are not this member's any more, and takes those that are.
    async fn rebalance(&mut self) {
        let now = Instant::now();
        self.rebalanced_at = Some(now);
        self.rebalance_at = now + self.member.options.rebalance_interval;
        let member = Arc::clone(&self.member);
        for topic in member.topics.keys() {
            let Some(share) = member.share_of(topic).await else { continue };
            let share: BTreeSet<_> = share.into_iter().collect();
            let of_topic = self.consuming.iter().filter(|(queue, _)| queue.topic == *topic);
            for (queue, consuming) in of_topic {
                if !share.contains(queue) && !consuming.stop.send_replace(true) {
                    info!(topic, broker = queue.broker_name, queue = queue.queue_id.0, "gave up");
                }
            }
            for queue in share {
                // One that is being given up is taken again once it is gone.
                if !self.consuming.contains_key(&queue) {
                    info!(topic, broker = queue.broker_name, queue = queue.queue_id.0, "took");
                    self.take(queue);
                }
            }
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
        self.consuming.insert(queue, Consuming { progress, stop, moved_to: None });
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

    /// A queue is not consumed any more: commits, and lets others have it.
    async fn left(&mut self, queue: MessageQueue) {
        if let Some(consuming) = self.consuming.remove(&queue) {
            hand_over(Arc::clone(&self.member), queue, consuming).await;
            self.rebalance_soon();
        }
    }

    /// Commits what has changed, all at once. What was not taken is tried again the next time.
    async fn commit(&mut self) {
        let mut commits = JoinSet::new();
        for (queue, consuming) in &self.consuming {
            if consuming.moved_to.is_some() {
                continue;
            }
            if let Some(offset) = uncommitted(&self.member, &consuming.progress.get()) {
                let (member, queue) = (Arc::clone(&self.member), queue.clone());
                let progress = Arc::clone(&consuming.progress);
                // Now and not afterwards: the queue may be moved meanwhile, and then this does not
                // count any more.
                progress.update(|figures| figures.committed = Some(offset));
                commits.spawn(async move {
                    let taken = member.commit(&queue, offset).await;
                    progress.update(|figures| match taken {
                        true => figures.taken = Some(offset),
                        false => figures.committed = None,
                    });
                });
            }
        }
        commits.join_all().await;
        self.member.save_offsets().await;
    }

    /// Renews the locks of all queues, broker by broker.
    async fn renew_locks(&mut self) {
        if self.member.options.ordering != Ordering::InOrder || !self.member.is_clustering() {
            return;
        }
        let mut by_broker: BTreeMap<&str, Vec<MessageQueue>> = BTreeMap::new();
        for (queue, consuming) in &self.consuming {
            // The consumer of a queue gets its first lock by itself.
            if consuming.progress.get().locked_at.is_some() {
                by_broker.entry(&queue.broker_name).or_default().push(queue.clone());
            }
        }
        let requests: Vec<_> = by_broker.into_values().collect();
        for queues in requests {
            match self.member.lock(queues.clone()).await {
                Ok(locked) => {
                    let now = Instant::now();
                    for queue in queues {
                        // One that was refused is another member's already.
                        let locked_at = locked.contains(&queue).then_some(now);
                        if let Some(consuming) = self.consuming.get(&queue) {
                            consuming.progress.update(|figures| figures.locked_at = locked_at);
                        }
                    }
                }
                Err(error) => debug!(%error, "locks were not renewed"),
            }
        }
    }

    /// Leaves the group: gives up all queues, commits, and says goodbye.
    async fn leave(mut self) {
        for consuming in self.consuming.values() {
            consuming.stop.send_replace(true);
        }
        let mut last = JoinSet::new();
        while let Some(queue) = self.ended.join_next().await {
            let queue = joined(queue);
            if let Some(consuming) = self.consuming.remove(&queue) {
                last.spawn(hand_over(Arc::clone(&self.member), queue, consuming));
            }
        }
        last.join_all().await;
        self.member.save_offsets().await;
        self.answering.shutdown().await;
        self.member.say_goodbye().await;
    }
}

/// Commits what a queue came to that is not consumed any more, and lets others have it.
async fn hand_over(member: Arc<Member>, queue: MessageQueue, consuming: Consuming) {
    let figures = consuming.progress.get();
    if let Some(offset) = consuming.moved_to.or_else(|| uncommitted(&member, &figures)) {
        member.commit(&queue, offset).await;
    }
    if figures.locked_at.is_some() {
        member.unlock(&queue).await;
    }
}

/// What is to be committed of a queue now.
fn uncommitted(member: &Member, figures: &Figures) -> Option<QueueOffset> {
    let options = &member.options;
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
