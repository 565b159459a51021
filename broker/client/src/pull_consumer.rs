use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use millrace_protocol::{MessageQueue, PullStatus};
use millrace_types::{GroupName, QueueOffset};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until, timeout_at};
use tracing::debug;

use crate::pull::{Pull, PullOutcome};
use crate::{ClientError, Cluster, Filter, Received};

/// How long a broker may hold a pull for which there is no message.
const HOLD: Duration = Duration::from_secs(20);
/// How long a queue is left alone after a pull that failed.
const PAUSE: Duration = Duration::from_secs(1);

/// Reads queues that the application chooses, from where it chooses. (In RocketMQ,
/// `DefaultLitePullConsumer` with `assign`.)
///
/// There is no heartbeat and no rebalance: others may read the same queues. Offsets are committed
/// only when [`PullConsumer::commit`] is called.
#[derive(Debug)]
pub struct PullConsumer {
    cluster: Arc<Cluster>,
    group: GroupName,
    filter: Arc<Filter>,
    /// Messages that one pull may give.
    messages_max: u32,
    assigned: BTreeMap<MessageQueue, Assigned>,
    /// Queues in the order in which they are looked at, so that none starves.
    turns: VecDeque<MessageQueue>,
    /// At most one pull per queue.
    pulls: JoinSet<Ended>,
}

#[derive(Debug)]
struct Assigned {
    /// Where the next pull starts.
    next: QueueOffset,
    /// One past the last message that was polled.
    polled: QueueOffset,
    ready: VecDeque<Received>,
    pulling: bool,
    broker_id: u64,
    /// Counts seeks: what an earlier pull gives is not wanted any more.
    era: u64,
    /// Why the last pull failed, and since when they have been failing.
    failure: Option<(ClientError, Instant)>,
}

#[derive(Debug)]
struct Ended {
    queue: MessageQueue,
    era: u64,
    outcome: Result<PullOutcome, ClientError>,
}

impl PullConsumer {
    /// A consumer without queues.
    pub fn new(cluster: Arc<Cluster>, group: GroupName, filter: Filter) -> Self {
        Self {
            cluster,
            group,
            filter: Arc::new(filter),
            messages_max: 32,
            assigned: BTreeMap::new(),
            turns: VecDeque::new(),
            pulls: JoinSet::new(),
        }
    }

    /// Reads a queue from an offset on, and none of it that was read before is given any more.
    pub fn seek(&mut self, queue: &MessageQueue, from: QueueOffset) {
        let era = self.assigned.get(queue).map_or(0, |assigned| assigned.era + 1);
        let assigned = Assigned {
            next: from,
            polled: from,
            ready: VecDeque::new(),
            pulling: false,
            broker_id: 0,
            era,
            failure: None,
        };
        if self.assigned.insert(queue.clone(), assigned).is_none() {
            self.turns.push_back(queue.clone());
        }
    }

    /// Reads a queue no more.
    pub fn leave(&mut self, queue: &MessageQueue) {
        self.assigned.remove(queue);
        self.turns.retain(|known| known != queue);
    }

    /// Where each queue is read next, by what was polled.
    pub fn positions(&self) -> impl Iterator<Item = (&MessageQueue, QueueOffset)> {
        self.assigned.iter().map(|(queue, assigned)| (queue, assigned.polled))
    }

    /// The queues whose pulls fail, for how long they have been, and why the last one did.
    pub fn failures(&self) -> impl Iterator<Item = (&MessageQueue, Duration, &ClientError)> {
        self.assigned.iter().filter_map(|(queue, assigned)| {
            let (error, since) = assigned.failure.as_ref()?;
            Some((queue, since.elapsed(), error))
        })
    }

    /// The next messages, all of one queue, waiting for them as long as is given; none if there
    /// are none. A queue whose pull fails is tried again after a second; only if no queue can be
    /// read is that an error. Dropping the future loses nothing.
    pub async fn poll(&mut self, wait: Duration) -> Result<Vec<Received>, ClientError> {
        let deadline = Instant::now() + wait;
        loop {
            if let Some(messages) = self.take_ready() {
                return Ok(messages);
            }
            self.start_pulls();
            match timeout_at(deadline, self.pulls.join_next()).await {
                Err(_) => break,
                // There is no queue to pull from.
                Ok(None) => {
                    sleep_until(deadline).await;
                    break;
                }
                Ok(Some(Ok(ended))) => self.ended(ended),
                Ok(Some(Err(error))) => {
                    // Nobody aborts these tasks.
                    std::panic::resume_unwind(error.into_panic());
                }
            }
        }
        let mut failures = self.assigned.values().map(|assigned| &assigned.failure);
        match failures.clone().flatten().next() {
            Some((failure, _)) if failures.all(Option::is_some) => Err(failure.clone()),
            _ => Ok(Vec::new()),
        }
    }

    /// Commits what was polled as the group's offsets, and waits until the brokers have them.
    pub async fn commit(&self) -> Result<(), ClientError> {
        for (queue, assigned) in &self.assigned {
            self.cluster.commit(&self.group, queue, assigned.polled).await?;
        }
        Ok(())
    }

    /// The offset that the group has committed in a queue.
    pub async fn committed(
        &self,
        queue: &MessageQueue,
    ) -> Result<Option<QueueOffset>, ClientError> {
        self.cluster.committed(&self.group, queue, true).await
    }

    fn take_ready(&mut self) -> Option<Vec<Received>> {
        for _ in 0..self.turns.len() {
            self.turns.rotate_left(1);
            let assigned = self.assigned.get_mut(self.turns.back()?)?;
            if !assigned.ready.is_empty() {
                // What the broker passed over after the last of them need not be read again.
                assigned.polled = assigned.next;
                return Some(assigned.ready.drain(..).collect());
            }
        }
        None
    }

    fn start_pulls(&mut self) {
        for (queue, assigned) in &mut self.assigned {
            if assigned.pulling || !assigned.ready.is_empty() {
                continue;
            }
            assigned.pulling = true;
            let (cluster, filter) = (Arc::clone(&self.cluster), Arc::clone(&self.filter));
            let (group, queue) = (self.group.clone(), queue.clone());
            let (from, era, broker_id) = (assigned.next, assigned.era, assigned.broker_id);
            let messages_max = self.messages_max;
            let failed_before = assigned.failure.is_some();
            self.pulls.spawn(async move {
                if failed_before {
                    sleep(PAUSE).await;
                }
                let outcome = cluster.pull(Pull {
                    group: &group,
                    queue: &queue,
                    from,
                    filter: &filter,
                    subscribed: None,
                    messages_max,
                    wait: HOLD,
                    commit: None,
                    broker_id,
                });
                let outcome = outcome.await;
                Ended { queue, era, outcome }
            });
        }
    }

    fn ended(&mut self, ended: Ended) {
        let Ended { queue, era, outcome } = ended;
        let Some(assigned) = self.assigned.get_mut(&queue).filter(|known| known.era == era) else {
            return;
        };
        assigned.pulling = false;
        match outcome {
            Ok(outcome) => {
                assigned.failure = None;
                assigned.next = outcome.next;
                assigned.broker_id = outcome.broker_id;
                if outcome.messages.is_empty() || outcome.status == PullStatus::OffsetMoved {
                    // What was filtered out, or is not there any more, need not be read again.
                    assigned.polled = outcome.next;
                }
                assigned.ready = outcome.messages.into();
            }
            Err(error) => {
                debug!(topic = queue.topic, queue = queue.queue_id.0, %error, "a pull failed");
                let since = assigned.failure.as_ref().map(|(_, since)| *since);
                assigned.failure = Some((error, since.unwrap_or_else(Instant::now)));
            }
        }
    }
}
