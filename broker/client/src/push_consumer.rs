use std::collections::BTreeMap;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use millrace_types::{GroupName, TopicName};
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinHandle;

use crate::cluster::now_ms;
use crate::{ClientError, Cluster, ClusterOptions, Filter, Place, Producer, ProducerOptions};

mod allocation; // which queues are ours
mod beats; // which brokers know that a member is there
mod callbacks; // what brokers ask of a member
mod delivery; // a message in the application's hands
mod local_offsets; // the offsets of a member that gets every message
mod member; // what all parts of a consumer share
mod progress; // what is known of a queue's consumer from outside
mod queue; // consumes one queue
mod send_back; // messages whose consumption failed
mod steward; // heartbeats, rebalance, commits
mod window; // what was pulled and is not done with

pub use delivery::Delivery;
pub use local_offsets::LocalOffsets;
pub use window::WindowLimits;

use beats::Beats;
use member::Member;
use steward::Steward;

/// How a group shares the messages.
#[derive(Clone, Debug)]
pub enum Sharing {
    /// Each message goes to one member; brokers keep the offsets.
    Clustering,
    /// Each message goes to every member, which keeps its own offsets. What fails is not delivered
    /// again.
    Broadcasting(Arc<LocalOffsets>),
}

/// Whether the messages of a queue are consumed one after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ordering {
    /// Many at once. What fails comes again later, as a message of the group's retry topic.
    Concurrent,
    /// One at a time, in the order of the queue, under a lock that the broker keeps. What fails
    /// comes again after a second, before anything else of its queue.
    InOrder,
}

/// Where a group begins in a queue from which nothing was ever removed, and in which it has no
/// offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Young {
    /// At the start, because brokers say so if they are not asked for more: what was sent before
    /// the first member came is not lost. So it is with Java's consumers.
    Broker,
    /// Where [`PushOptions::begin`] says.
    Begin,
}

/// How a push consumer works.
#[derive(Clone, Debug)]
pub struct PushOptions {
    /// How the group shares the messages.
    pub sharing: Sharing,
    /// Whether the messages of a queue are consumed one after the other.
    pub ordering: Ordering,
    /// Where a queue begins in which the group has no offset.
    pub begin: Place,
    /// Whose word counts on a young queue, of which brokers say that every group is at its start.
    pub young: Young,
    /// How much of each queue may be here and not done with.
    pub window: WindowLimits,
    /// Messages that one pull may give.
    pub pull_messages_max: u32,
    /// How often a message comes again before it is a dead letter. `None`: 16 times, and without
    /// end where an order is kept.
    pub reconsume_times_max: Option<u32>,
    /// How long the application may have a message. What is not settled by then comes to the group
    /// again, and its queue goes on without it: whoever works on it may never come to an end. What
    /// becomes of it there after that counts no more. `None`: for ever, as where an order is kept, or
    /// every member gets the message.
    pub consume_timeout: Option<Duration>,
    /// How long [`PushConsumer::stop`], and a queue that goes to another member, wait for messages
    /// in the application's hands.
    pub grace: Duration,
    /// How often members look whether the queues are shared well; news of a broker comes sooner.
    pub rebalance_interval: Duration,
    /// How often a member tells brokers that it is there.
    pub heartbeat_interval: Duration,
    /// How often offsets are committed.
    pub commit_interval: Duration,
    /// How often the locks of queues are renewed, where an order is kept. A lock that was not
    /// counts for half as long again.
    pub lock_interval: Duration,
    /// After how long without a sign of life brokers take a member for gone, so that others have
    /// its queues. One that stood still or was cut off for longer commits nothing of a queue before
    /// it knows that it is its own, and begins anew where the group is if another one is further.
    pub absence_max: Duration,
    /// How the cluster is found.
    pub cluster: ClusterOptions,
}

impl Default for PushOptions {
    /// As Java's push consumer.
    fn default() -> Self {
        Self {
            sharing: Sharing::Clustering,
            ordering: Ordering::Concurrent,
            begin: Place::Latest,
            young: Young::Broker,
            window: WindowLimits::default(),
            pull_messages_max: 32,
            reconsume_times_max: None,
            consume_timeout: Some(Duration::from_secs(15 * 60)),
            grace: Duration::from_secs(10),
            rebalance_interval: Duration::from_secs(20),
            heartbeat_interval: Duration::from_secs(30),
            commit_interval: Duration::from_secs(5),
            lock_interval: Duration::from_secs(20),
            absence_max: Duration::from_secs(120),
            cluster: ClusterOptions::default(),
        }
    }
}

/// A member of a consumer group. (In RocketMQ, `DefaultMQPushConsumer`.)
///
/// It shares the queues of its topics with the other members, pulls ahead, and hands out messages
/// one by one; how many are worked on at once is the application's choice. What is done with is
/// committed: of each queue the first message that is not. After a crash messages since then come
/// again. All members of a group must subscribe to the same.
///
/// Call [`PushConsumer::stop`] in the end. A consumer that is only dropped leaves by itself, if the
/// runtime goes on for long enough.
#[derive(Debug)]
pub struct PushConsumer {
    member: Arc<Member>,
    deliveries: mpsc::Receiver<Delivery>,
    stop: watch::Sender<bool>,
    steward: JoinHandle<()>,
}

/// Messages wait in their queues and not here, where nobody could give them to another member.
const DELIVERIES_AHEAD: usize = 1;
/// Requests of brokers that wait; they are few.
const CALLBACKS_MAX: usize = 64;

impl PushConsumer {
    /// Joins a group. Fails if no name server answers, or if a broker does not take an SQL
    /// condition; a topic that is not there yet is waited for.
    pub async fn start(
        namesrv: &str,
        group: GroupName,
        subscriptions: impl IntoIterator<Item = (TopicName, Filter)>,
        options: PushOptions,
    ) -> Result<Self, ClientError> {
        let mut topics: BTreeMap<String, Arc<Filter>> = subscriptions
            .into_iter()
            .map(|(topic, filter)| (topic.as_str().to_owned(), Arc::new(filter)))
            .collect();
        if topics.is_empty() {
            return Err(ClientError::Invalid("a consumer needs a topic".into()));
        }
        if matches!(options.sharing, Sharing::Clustering) {
            topics.insert(format!("%RETRY%{group}"), Arc::new(Filter::All));
        }
        let (callbacks, called) = mpsc::channel(CALLBACKS_MAX);
        let cluster =
            Cluster::with_callbacks(namesrv, options.cluster.clone(), Some(callbacks)).await?;
        let cluster = Arc::new(cluster);
        let (sender, deliveries) = mpsc::channel(DELIVERIES_AHEAD);
        let member = Arc::new(Member {
            producer: Producer::new(
                Arc::clone(&cluster),
                group.clone(),
                ProducerOptions::default(),
            ),
            cluster,
            group,
            topics,
            version: now_ms(),
            beats: Mutex::new(Beats::new(options.absence_max)),
            options,
            deliveries: sender,
            beat: Notify::new(),
            asked: AtomicUsize::new(0),
            told: Mutex::default(),
        });
        member.check_conditions().await?;
        let (stop, stopped) = watch::channel(false);
        let steward = Steward::new(Arc::clone(&member), called, stopped);
        let steward = tokio::spawn(steward.run());
        Ok(Self { member, deliveries, stop, steward })
    }

    /// What this member calls itself.
    pub fn client_id(&self) -> &str {
        self.member.cluster.client_id()
    }

    /// The next message, once there is one. Dropping the future loses nothing.
    pub async fn next(&mut self) -> Delivery {
        loop {
            let next = self.deliveries.recv().await;
            let next = next.expect("the member itself holds a sender");
            // It may have waited here while its queue was given up.
            if !next.is_stale() {
                next.take();
                return next;
            }
        }
    }

    /// Leaves the group: waits for messages in the application's hands as long as
    /// [`PushOptions::grace`] says, commits, and tells the brokers.
    pub async fn stop(self) {
        let Self { member, deliveries, stop, steward } = self;
        stop.send_replace(true);
        // What waits here goes back to its queue undone.
        drop(deliveries);
        if let Err(error) = steward.await {
            std::panic::resume_unwind(error.into_panic());
        }
        member.cluster.close().await;
    }
}
