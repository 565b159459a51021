use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use millrace_protocol::{
    CheckClient, ConsumeFrom, ConsumeType, ConsumerData, ConsumerList, ConsumerListByGroup, Done,
    Heartbeat, LockQueues, LockedQueues, MessageModel, MessageQueue, ResponseCode, Subscription,
    TopicRoute, UnregisterClient,
};
use millrace_types::{GroupName, QueueOffset};
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};
use tracing::warn;

use super::beats::Beats;
use super::{Delivery, Ordering, PushOptions, Sharing, Young, allocation};
use crate::cluster::{garbled, refused};
use crate::{ClientError, Cluster, Filter, Place, Producer, routes};

/// How many brokers are asked for the members before the queues stay as they are.
const MEMBERS_ATTEMPTS: usize = 2;

/// What all parts of a consumer share.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) cluster: Arc<Cluster>,
    pub(super) group: GroupName,
    /// By topic; the group's own retry topic too.
    pub(super) topics: BTreeMap<String, Arc<Filter>>,
    /// Of the subscriptions: when they were made.
    pub(super) version: i64,
    pub(super) options: PushOptions,
    /// For messages that go back by themselves.
    pub(super) producer: Producer,
    pub(super) deliveries: mpsc::Sender<Delivery>,
    /// Asks for a heartbeat before its time, and for the queues to be shared behind it.
    pub(super) beat: Notify,
    /// Which brokers know that it is there.
    pub(super) beats: Mutex<Beats>,
    /// Which broker of a route is asked for the members.
    pub(super) asked: AtomicUsize,
    /// What it waits for and has told.
    pub(super) told: Mutex<BTreeSet<String>>,
}

impl Member {
    pub(super) fn is_clustering(&self) -> bool {
        matches!(self.options.sharing, Sharing::Clustering)
    }

    pub(super) fn keeps_order(&self) -> bool {
        self.options.ordering == Ordering::InOrder
    }

    /// Whether this was not told yet: waiting that may have no end is told once.
    pub(super) fn is_news(&self, what: &str) -> bool {
        self.told.lock().unwrap_or_else(PoisonError::into_inner).insert(what.to_owned())
    }

    /// How often a message may come again.
    pub(super) fn reconsume_times_max(&self) -> i32 {
        let given = self.options.reconsume_times_max.map(|n| i32::try_from(n).unwrap_or(i32::MAX));
        given.unwrap_or(if self.keeps_order() { i32::MAX } else { 16 })
    }

    pub(super) fn subscriptions(&self) -> Vec<Subscription> {
        self.topics.iter().map(|(topic, filter)| filter.subscription(topic, self.version)).collect()
    }

    /// Has a broker of each topic with an SQL condition look at it.
    pub(super) async fn check_conditions(&self) -> Result<(), ClientError> {
        for (topic, filter) in &self.topics {
            if !matches!(**filter, Filter::Sql(_)) {
                continue;
            }
            let call = CheckClient {
                client_id: self.cluster.client_id().to_owned(),
                group: self.group.as_str().to_owned(),
                subscription: filter.subscription(topic, self.version),
            };
            let route = self.cluster.find_route(topic).await?;
            let addresses = route.iter().flat_map(|route| &route.brokers);
            if let Some(address) = addresses.flat_map(|broker| broker.addresses.values()).next() {
                let answered = self.cluster.ask(address, &call).await?;
                let done = Done::decode(&answered.response.header());
                done.map_err(|error| ClientError::of_answer(error, &answered))?;
            }
        }
        Ok(())
    }

    fn beats(&self) -> MutexGuard<'_, Beats> {
        // Nothing under the lock can panic halfway through a change.
        self.beats.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the broker of a queue has not heard of the member for so long that others may have
    /// the queue.
    pub(super) fn is_absent(&self, queue: &MessageQueue) -> bool {
        self.is_clustering() && self.beats().is_absent(&queue.broker_name, Instant::now())
    }

    /// Whether that is so, or was at any time since then.
    pub(super) fn was_absent(&self, queue: &MessageQueue, since: Instant) -> bool {
        self.is_clustering() && self.beats().was_absent(&queue.broker_name, since, Instant::now())
    }

    /// Every broker that the topics are on, replicas too: its name and its address.
    async fn brokers(&self) -> BTreeSet<(String, String)> {
        // All at once: name servers that are silent cost their time for each.
        let mut found = JoinSet::new();
        for topic in self.topics.keys() {
            let (cluster, topic) = (Arc::clone(&self.cluster), topic.clone());
            found.spawn(async move {
                let route = cluster.find_route(&topic).await;
                route.inspect_err(|error| warn!(topic, %error, "a topic's brokers are not known"))
            });
        }
        let routes = found.join_all().await;
        let brokers = routes.iter().flatten().flatten().flat_map(|route| &route.brokers);
        let places = brokers.flat_map(|broker| {
            let named = |at: &String| (broker.broker_name.clone(), at.clone());
            broker.addresses.values().map(named)
        });
        places.collect()
    }

    /// Tells all brokers that it is there, all at once, and waits for their answers.
    pub(super) async fn send_heartbeats(self: &Arc<Self>) {
        let consumer = ConsumerData {
            group: self.group.as_str().to_owned(),
            consume_type: ConsumeType::Push,
            message_model: match self.options.sharing {
                Sharing::Clustering => MessageModel::Clustering,
                Sharing::Broadcasting(_) => MessageModel::Broadcasting,
            },
            consume_from: match self.options.begin {
                Place::Earliest => ConsumeFrom::FirstOffset,
                Place::Latest => ConsumeFrom::LastOffset,
                Place::Time(_) => ConsumeFrom::Timestamp,
            },
            subscriptions: self.subscriptions(),
            unit_mode: false,
        };
        let heartbeat = Arc::new(Heartbeat {
            client_id: self.cluster.client_id().to_owned(),
            consumers: vec![consumer],
            ..Heartbeat::default()
        });
        let mut beats = JoinSet::new();
        for (broker, address) in self.brokers().await {
            let (member, heartbeat) = (Arc::clone(self), Arc::clone(&heartbeat));
            beats.spawn(async move {
                let sent_at = Instant::now();
                let answered = member.cluster.ask(&address, &*heartbeat).await;
                let done = answered.and_then(|answered| {
                    Done::decode(&answered.response.header())
                        .map_err(|error| ClientError::of_answer(error, &answered))
                });
                match done {
                    // A replica counts, too: queues are read there while nobody takes writes.
                    Ok(_) => member.beats().taken(&broker, sent_at),
                    Err(error) => warn!(%error, "a broker did not take the heartbeat"),
                }
            });
        }
        beats.join_all().await;
    }

    /// The queues of a topic that are this member's now; `None` if that cannot be said, so that
    /// all stays as it is.
    pub(super) async fn share_of(&self, topic: &str) -> Option<Vec<MessageQueue>> {
        let share = async {
            let Some(route) = self.cluster.find_route(topic).await? else {
                // The first failure makes the retry topic.
                if !topic.starts_with("%RETRY%") && self.is_news(topic) {
                    warn!(topic, "no broker serves the topic; it is waited for");
                }
                return Ok(Vec::new());
            };
            let queues = routes::readable(&route, topic);
            if !self.is_clustering() {
                return Ok(queues);
            }
            let members = self.members(topic, &route).await?;
            Ok(allocation::averagely(&queues, &members, self.cluster.client_id()))
        };
        match share.await {
            Ok(share) => Some(share),
            Err(error) => {
                let error: ClientError = error;
                warn!(topic, %error, "the queues are not shared anew");
                None
            }
        }
    }

    /// All members, which every broker knows. One that is silent is not asked again and again.
    async fn members(&self, topic: &str, route: &TopicRoute) -> Result<Vec<String>, ClientError> {
        let brokers = route.brokers.iter().flat_map(|broker| broker.addresses.values());
        let brokers: Vec<&String> = brokers.collect();
        let mut failure = ClientError::NoRoute(topic.to_owned());
        for _ in 0..brokers.len().min(MEMBERS_ATTEMPTS) {
            let turn = self.asked.load(Relaxed);
            match self.members_at(brokers[turn % brokers.len()]).await {
                Ok(members) => return Ok(members),
                Err(error) => failure = error,
            }
            // Others may have asked the same one at the same time.
            let _ = self.asked.compare_exchange(turn, turn.wrapping_add(1), Relaxed, Relaxed);
        }
        Err(failure)
    }

    async fn members_at(&self, address: &str) -> Result<Vec<String>, ClientError> {
        let call = ConsumerListByGroup { group: self.group.as_str().into() };
        let answered = self.cluster.ask(address, &call).await?;
        if answered.response.header().response_code() != ResponseCode::SUCCESS {
            return Err(refused(&answered));
        }
        let list = ConsumerList::decode(answered.response.body());
        list.map(|list| list.0).map_err(|error| garbled(&answered, error))
    }

    /// Where the consumption of a queue begins.
    pub(super) async fn start_of(&self, queue: &MessageQueue) -> Result<QueueOffset, ClientError> {
        let stored = match &self.options.sharing {
            Sharing::Clustering => {
                let exactly = self.options.young == Young::Begin;
                self.cluster.committed(&self.group, queue, exactly).await?
            }
            Sharing::Broadcasting(offsets) => offsets.get(queue),
        };
        if let Some(stored) = stored {
            return Ok(stored);
        }
        match first_start(&self.options.begin, queue.topic.starts_with("%RETRY%")) {
            Place::Earliest => Ok(QueueOffset(0)),
            Place::Latest => self.cluster.max_offset(queue).await,
            Place::Time(at) => self.cluster.offset_at(queue, at).await,
        }
    }

    /// Whether the group has come less far in a queue than to this offset. What a broker does not
    /// tell is not so.
    pub(super) async fn is_behind(&self, queue: &MessageQueue, offset: QueueOffset) -> bool {
        match self.cluster.committed(&self.group, queue, true).await {
            Ok(committed) => committed.is_none_or(|committed| committed < offset),
            Err(error) => {
                let MessageQueue { topic, queue_id, .. } = queue;
                warn!(topic, queue = queue_id.0, %error, "an offset was not committed");
                false
            }
        }
    }

    /// Commits an offset, and tells whether the broker has it. Java's consumers do not wait for an
    /// answer, but they commit everything each time, changed or not.
    pub(super) async fn commit(&self, queue: &MessageQueue, offset: QueueOffset) -> bool {
        match &self.options.sharing {
            Sharing::Clustering => {
                let taken = self.cluster.commit(&self.group, queue, offset).await;
                if let Err(error) = &taken {
                    let MessageQueue { topic, queue_id, .. } = queue;
                    warn!(topic, queue = queue_id.0, %error, "an offset was not committed");
                }
                taken.is_ok()
            }
            Sharing::Broadcasting(offsets) => {
                offsets.put(queue, offset);
                true
            }
        }
    }

    /// Makes the offsets of a broadcasting member durable.
    pub(super) async fn save_offsets(&self) {
        let Sharing::Broadcasting(offsets) = &self.options.sharing else { return };
        let offsets = Arc::clone(offsets);
        match tokio::task::spawn_blocking(move || offsets.save()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => warn!(%error, "the offsets were not saved"),
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        }
    }

    /// Locks queues of one broker, and tells which of them are ours now.
    pub(super) async fn lock(
        &self,
        queues: Vec<MessageQueue>,
    ) -> Result<Vec<MessageQueue>, ClientError> {
        let Some(first) = queues.first() else { return Ok(Vec::new()) };
        let address = self.cluster.master(first).await?;
        let answered = self.cluster.ask(&address, &self.lock_request(queues)).await?;
        if answered.response.header().response_code() != ResponseCode::SUCCESS {
            return Err(refused(&answered));
        }
        let locked = LockedQueues::decode(answered.response.body());
        locked.map(|locked| locked.0).map_err(|error| garbled(&answered, error))
    }

    /// Gives the lock of a queue back.
    pub(super) async fn unlock(&self, queue: &MessageQueue) {
        let unlocking = async {
            let address = self.cluster.master(queue).await?;
            let request = self.lock_request(vec![queue.clone()]);
            let request = request.unlock();
            // It waits for nobody's answer, but for room.
            let sending = self.cluster.send_oneway(&address, &request);
            let sent = timeout(self.cluster.options().request_timeout, sending).await;
            sent.unwrap_or_else(|_| {
                Err(ClientError::Unreachable {
                    address: address.clone(),
                    reason: "timed out".into(),
                })
            })
        };
        if let Err(error) = unlocking.await {
            let MessageQueue { topic, queue_id, .. } = queue;
            warn!(topic, queue = queue_id.0, %error, "a lock was not given back; it ends by itself");
        }
    }

    fn lock_request(&self, queues: Vec<MessageQueue>) -> LockQueues {
        LockQueues {
            client_id: self.cluster.client_id().to_owned(),
            group: self.group.as_str().to_owned(),
            queues,
        }
    }

    /// Tells all brokers that it goes, all at once.
    pub(super) async fn say_goodbye(self: &Arc<Self>) {
        let mut goodbyes = JoinSet::new();
        for (_, address) in self.brokers().await {
            let member = Arc::clone(self);
            goodbyes.spawn(async move {
                let call = UnregisterClient {
                    client_id: member.cluster.client_id().into(),
                    producer_group: None,
                    consumer_group: Some(member.group.as_str().into()),
                };
                if let Err(error) = member.cluster.ask(&address, &call).await {
                    warn!(%error, "a broker was not told that a member leaves; it will notice");
                }
            });
        }
        goodbyes.join_all().await;
    }
}

/// Where a group begins that has no offset. What failed before must not be skipped, so a retry
/// topic begins at its start where others begin at the end; and where they begin at a time, it
/// holds nothing yet that is meant.
fn first_start(begin: &Place, is_retry_topic: bool) -> Place {
    match (begin, is_retry_topic) {
        (Place::Latest, true) => Place::Earliest,
        (Place::Time(_), true) => Place::Latest,
        (begin, _) => *begin,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_start_is_javas() {
        for (begin, topic, retry) in [
            (Place::Latest, Place::Latest, Place::Earliest),
            (Place::Earliest, Place::Earliest, Place::Earliest),
            (Place::Time(7), Place::Time(7), Place::Latest),
        ] {
            assert_eq!(first_start(&begin, false), topic);
            assert_eq!(first_start(&begin, true), retry);
        }
    }
}
