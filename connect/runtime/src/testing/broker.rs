use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use millrace_client::{Append, Appended, Broker, BrokerError, Outgoing, PullRequest, Pulled, Wait};
use millrace_types::record::{Draft, Record, Stamp, encode};
use millrace_types::{
    GroupName, PhysicalOffset, Properties, QueueId, QueueOffset, TopicName, keys,
};
use tokio::sync::Notify;

use crate::rng::Rng;

/// How often, of a thousand calls, something goes wrong.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Chances {
    /// The call fails and nothing was sent.
    pub(crate) unreachable: u64,
    /// The append happens and its answer is lost.
    pub(crate) answer_lost: u64,
    /// The append is lost, and nobody can tell.
    pub(crate) request_lost: u64,
    /// The append happens later, after its sender was told that the outcome is unknown.
    pub(crate) late: u64,
    /// The append is refused because the disk is full.
    pub(crate) disk_full: u64,
}

/// The property by which a test gives a message a system flag.
pub(crate) const SYS_FLAG: &str = "sys_flag";

/// A broker whose log is a vector.
///
/// Messages are visible at once and durable only when somebody waits for that, as in
/// asynchronous flush mode; a power cut takes a part of what is not durable, at a group's border.
pub(crate) struct MemoryBroker {
    inner: Mutex<Inner>,
    arrived: Notify,
}

struct Inner {
    topics: BTreeMap<TopicName, Vec<Queue>>,
    log: Vec<Logged>,
    durable: usize,
    physical: u64,
    groups: BTreeMap<(GroupName, TopicName, QueueId), QueueOffset>,
    late: Vec<Append>,
    /// Pulls that were given messages, by topic.
    pulled: BTreeMap<TopicName, usize>,
    chances: Chances,
    rng: Rng,
    now_ms: i64,
}

#[derive(Default)]
struct Queue {
    min: u64,
    /// Offsets whose messages are damaged.
    lost: BTreeSet<u64>,
    /// Numbers of log entries.
    entries: Vec<usize>,
}

struct Logged {
    topic: TopicName,
    queue: QueueId,
    record: Bytes,
    /// `MR_EPOCH`, or 0.
    epoch: u64,
    ends_group: bool,
}

impl MemoryBroker {
    pub(crate) fn new(seed: u64, chances: Chances) -> Arc<Self> {
        let inner = Inner {
            topics: BTreeMap::new(),
            log: Vec::new(),
            durable: 0,
            physical: 0,
            groups: BTreeMap::new(),
            late: Vec::new(),
            pulled: BTreeMap::new(),
            chances,
            rng: Rng::new(seed),
            now_ms: 1_000,
        };
        Arc::new(Self { inner: Mutex::new(inner), arrived: Notify::new() })
    }

    pub(crate) fn set_chances(&self, chances: Chances) {
        self.inner().chances = chances;
    }

    /// Everything that is under way arrives or not, and whoever sent it is gone.
    pub(crate) fn settle(&self) {
        let mut inner = self.inner();
        for append in std::mem::take(&mut inner.late) {
            if inner.rng.below(2) == 0 {
                // Refused or not, nobody hears.
                let _ = inner.append(append);
            }
        }
    }

    /// Takes away some of what is not durable.
    pub(crate) fn cut_power(&self) {
        let mut inner = self.inner();
        inner.late.clear();
        let lost = (inner.log.len() - inner.durable) as u64;
        let mut kept = inner.durable + inner.rng.below(lost + 1) as usize;
        while kept > 0 && !inner.log[kept - 1].ends_group {
            kept -= 1;
        }
        inner.log.truncate(kept);
        inner.durable = kept;
        for queues in inner.topics.values_mut() {
            for queue in queues {
                queue.entries.retain(|&entry| entry < kept);
            }
        }
    }

    /// Removes messages of a queue, as retention does.
    pub(crate) fn expire(&self, topic: &str, queue: u32, min: u64) {
        let topic = TopicName::parse(topic).unwrap();
        self.inner().topics.get_mut(&topic).unwrap()[queue as usize].min = min;
    }

    /// Damages a message for ever.
    pub(crate) fn lose(&self, topic: &str, queue: u32, offset: u64) {
        let topic = TopicName::parse(topic).unwrap();
        self.inner().topics.get_mut(&topic).unwrap()[queue as usize].lost.insert(offset);
    }

    /// When the messages of a topic were stored, by queue and queue offset.
    pub(crate) fn store_times(&self, topic: &str) -> BTreeMap<(u32, u64), i64> {
        let inner = self.inner();
        let topic = TopicName::parse(topic).unwrap();
        let of_topic = inner.log.iter().filter(|logged| logged.topic == topic);
        of_topic
            .map(|logged| {
                let record = Record::parse(&logged.record).unwrap();
                ((logged.queue.0, record.queue_offset().0), record.store_at_ms())
            })
            .collect()
    }

    /// All messages of a topic: queue, queue offset, properties, body.
    pub(crate) fn messages(&self, topic: &str) -> Vec<(u32, u64, BTreeMap<String, String>, Bytes)> {
        let inner = self.inner();
        let topic = TopicName::parse(topic).unwrap();
        let of_topic = inner.log.iter().filter(|logged| logged.topic == topic);
        of_topic
            .map(|logged| {
                let record = Record::parse(&logged.record).unwrap();
                let properties = record.properties();
                let properties = properties.iter().map(|(k, v)| (k.to_owned(), v.to_owned()));
                let body = Bytes::copy_from_slice(record.body());
                (logged.queue.0, record.queue_offset().0, properties.collect(), body)
            })
            .collect()
    }

    /// How many pulls were given messages of a topic.
    pub(crate) fn pulled(&self, topic: &str) -> usize {
        let topic = TopicName::parse(topic).unwrap();
        self.inner().pulled.get(&topic).copied().unwrap_or(0)
    }

    /// Where a group is, as tools see it.
    pub(crate) fn shown(&self, group: &str, topic: &str, queue: u32) -> Option<u64> {
        let (group, topic) = (GroupName::parse(group).unwrap(), TopicName::parse(topic).unwrap());
        self.inner().groups.get(&(group, topic, QueueId(queue))).map(|offset| offset.0)
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap()
    }

    /// Gives others a turn, so that whoever calls may be dropped here.
    async fn turn(&self) {
        let turns = self.inner().rng.below(3);
        for _ in 0..turns {
            tokio::task::yield_now().await;
        }
    }

    /// Something that was on its way arrives, and the call itself may fail.
    fn weather(&self) -> Result<(), BrokerError> {
        let mut inner = self.inner();
        if !inner.late.is_empty() && inner.rng.below(3) == 0 {
            let append = inner.late.remove(0);
            let _ = inner.append(append);
        }
        let unreachable = inner.chances.unreachable;
        if inner.chance(unreachable) {
            return Err(BrokerError::Unreachable {
                address: "memory".to_owned(),
                reason: "chance".to_owned(),
            });
        }
        Ok(())
    }
}

impl Inner {
    fn chance(&mut self, of_a_thousand: u64) -> bool {
        self.rng.below(1000) < of_a_thousand
    }

    fn queue(&mut self, topic: &TopicName, queue: QueueId) -> Result<&mut Queue, BrokerError> {
        let queues = self.topics.get_mut(topic);
        queues
            .and_then(|queues| queues.get_mut(queue.0 as usize))
            .ok_or_else(|| BrokerError::NoSuchQueue { topic: topic.clone(), queue })
    }

    fn epoch(&mut self, topic: &TopicName, queue: QueueId) -> Result<u64, BrokerError> {
        self.queue(topic, queue)?;
        let of_queue = self.log.iter().filter(|l| l.queue == queue && l.topic == *topic);
        Ok(of_queue.map(|logged| logged.epoch).max().unwrap_or(0))
    }

    fn append(&mut self, append: Append) -> Result<Appended, BrokerError> {
        if let Some(fence) = &append.fence {
            let current = self.epoch(&fence.topic, fence.queue)?;
            if current != fence.epoch {
                return Err(BrokerError::Fenced { current });
            }
        }
        for message in append.messages.iter() {
            self.queue(&message.topic, message.queue)?;
        }
        let count = append.messages.len();
        let mut offsets = Vec::with_capacity(count);
        for (number, message) in append.messages.iter().enumerate() {
            offsets.push(self.store(message, number + 1 == count));
        }
        if append.wait == Wait::Durable {
            self.durable = self.log.len();
        }
        Ok(Appended { offsets })
    }

    fn store(&mut self, message: &Outgoing, ends_group: bool) -> QueueOffset {
        let host = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
        let entry = self.log.len();
        let queue = self.queue(&message.topic, message.queue).unwrap();
        let queue_offset = QueueOffset(queue.entries.len() as u64);
        queue.entries.push(entry);
        let draft = Draft {
            topic: message.topic.as_str(),
            queue_id: message.queue,
            flag: 0,
            sys_flag: sys_flag(message),
            born_at_ms: message.born_at_ms,
            born_host: host,
            reconsume_times: 0,
            prepared_offset: PhysicalOffset(0),
            body: &message.body,
            properties: &message.properties,
        };
        self.now_ms += 1;
        let stamp = Stamp {
            queue_offset,
            physical_offset: PhysicalOffset(self.physical),
            store_at_ms: self.now_ms,
            store_host: host,
            more: !ends_group,
        };
        let mut record = Vec::new();
        encode(&draft, &stamp, &mut record);
        self.physical += record.len() as u64;
        let epoch = Properties::new(&message.properties).get(keys::EPOCH);
        self.log.push(Logged {
            topic: message.topic.clone(),
            queue: message.queue,
            record: Bytes::from(record),
            epoch: epoch.and_then(|epoch| epoch.parse().ok()).unwrap_or(0),
            ends_group,
        });
        queue_offset
    }

    fn pull(&mut self, request: &PullRequest) -> Result<Pulled, BrokerError> {
        let queue = self.queue(&request.topic, request.queue)?;
        let (min, max) = (queue.min, queue.entries.len() as u64);
        let (from, lost) = (request.from.0.max(min), queue.lost.clone());
        let entries: Vec<usize> = queue.entries.iter().skip(from as usize).copied().collect();
        let mut run = Vec::new();
        let mut next = request.from.0.max(min).min(max.max(request.from.0));
        for entry in entries {
            if lost.contains(&next) {
                next += 1;
                continue;
            }
            let record = &self.log[entry].record;
            if !run.is_empty() && run.len() + record.len() > request.bytes_max as usize {
                break;
            }
            run.extend_from_slice(record);
            next += 1;
        }
        if !run.is_empty() {
            *self.pulled.entry(request.topic.clone()).or_default() += 1;
        }
        let runs = if run.is_empty() { Vec::new() } else { vec![Bytes::from(run)] };
        Ok(Pulled { runs, next: QueueOffset(next), min: QueueOffset(min), max: QueueOffset(max) })
    }
}

/// Producers of other kinds say it in a field of their requests; here in a property, which letters
/// inherit and which means nothing there.
fn sys_flag(message: &Outgoing) -> u32 {
    let flag = Properties::new(&message.properties).get(SYS_FLAG);
    let flag = flag.filter(|_| !message.topic.as_str().starts_with('%'));
    flag.map_or(0, |flag| flag.parse().unwrap())
}

#[async_trait]
impl Broker for MemoryBroker {
    fn name(&self) -> Arc<str> {
        Arc::from("memory")
    }

    async fn ensure_topic(&self, topic: &TopicName, queues: u32) -> Result<u32, BrokerError> {
        self.turn().await;
        self.weather()?;
        let mut inner = self.inner();
        let existing = inner.topics.entry(topic.clone()).or_default();
        while existing.len() < queues as usize {
            existing.push(Queue::default());
        }
        Ok(existing.len() as u32)
    }

    async fn append(&self, append: Append) -> Result<Appended, BrokerError> {
        self.turn().await;
        self.weather()?;
        let answer = {
            let mut inner = self.inner();
            let chances = inner.chances;
            if inner.chance(chances.disk_full) {
                return Err(BrokerError::DiskFull("chance".to_owned()));
            }
            if inner.chance(chances.request_lost) {
                return Err(BrokerError::OutcomeUnknown("request lost".to_owned()));
            }
            if inner.chance(chances.late) {
                inner.late.push(append);
                return Err(BrokerError::OutcomeUnknown("late".to_owned()));
            }
            let answer = inner.append(append);
            if answer.is_ok() && inner.chance(chances.answer_lost) {
                Err(BrokerError::OutcomeUnknown("answer lost".to_owned()))
            } else {
                answer
            }
        };
        self.arrived.notify_waiters();
        self.turn().await;
        answer
    }

    async fn pull(&self, request: PullRequest) -> Result<Pulled, BrokerError> {
        self.turn().await;
        self.weather()?;
        let deadline = tokio::time::Instant::now() + request.wait;
        loop {
            let arrived = self.arrived.notified();
            tokio::pin!(arrived);
            arrived.as_mut().enable();
            let pulled = self.inner().pull(&request)?;
            let is_news = !pulled.runs.is_empty() || pulled.next > request.from;
            if is_news || request.wait == Duration::ZERO {
                return Ok(pulled);
            }
            if tokio::time::timeout_at(deadline, arrived).await.is_err() {
                return Ok(pulled);
            }
        }
    }

    async fn bounds(
        &self,
        topic: &TopicName,
        queue: QueueId,
    ) -> Result<(QueueOffset, QueueOffset), BrokerError> {
        self.turn().await;
        self.weather()?;
        let mut inner = self.inner();
        let queue = inner.queue(topic, queue)?;
        Ok((QueueOffset(queue.min), QueueOffset(queue.entries.len() as u64)))
    }

    async fn commit_offset(
        &self,
        group: &GroupName,
        topic: &TopicName,
        queue: QueueId,
        offset: QueueOffset,
    ) -> Result<(), BrokerError> {
        self.turn().await;
        self.weather()?;
        self.inner().groups.insert((group.clone(), topic.clone(), queue), offset);
        Ok(())
    }

    async fn group_offset(
        &self,
        group: &GroupName,
        topic: &TopicName,
        queue: QueueId,
    ) -> Result<Option<QueueOffset>, BrokerError> {
        self.turn().await;
        self.weather()?;
        Ok(self.inner().groups.get(&(group.clone(), topic.clone(), queue)).copied())
    }
}
