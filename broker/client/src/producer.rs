use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use millrace_protocol::{
    BatchItem, MessageQueue, OffsetMessageId, SendAnswer, SendMessage, SendStatus, TopicRoute,
    push_batch_item,
};
use millrace_types::{GroupName, QueueOffset, TEMPLATE_TOPIC, TopicName, keys};
use tokio::time::{Instant, timeout_at};
use tracing::debug;

use crate::cluster::{Cluster, Writable, now_ms};
use crate::compression::{ZLIB_FLAG, compress};
use crate::retry::{Failures, is_worth_a_retry};
use crate::{ClientError, Message, routes};

/// How a producer sends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProducerOptions {
    /// How often a message is sent again, to another broker if there is one.
    pub retries: u32,
    /// How long a message may take, all attempts together.
    pub timeout: Duration,
    /// Bodies of so many bytes and more are compressed with zlib. Consumers decompress them.
    pub compress_from: Option<usize>,
    /// The largest body.
    pub body_bytes_max: usize,
    /// Queues per broker of a topic that is made with its first message.
    pub queues_if_new: i32,
}

impl Default for ProducerOptions {
    /// As Java's producer: 2 retries, 3 s, 4 MiB, 4 queues; but nothing is compressed.
    fn default() -> Self {
        Self {
            retries: 2,
            timeout: Duration::from_secs(3),
            compress_from: None,
            body_bytes_max: 4 << 20,
            queues_if_new: 4,
        }
    }
}

/// Sends messages to any broker of a cluster. (In RocketMQ, `DefaultMQProducer`.)
///
/// Messages go round all queues that can be written. If a broker does not take one, it is sent
/// again to another broker, with the codes and the number of attempts of Java's synchronous send;
/// a broker that failed is left alone for a while. A message that was answered is stored; one that
/// was not may be stored, also twice. Many sends may be on their way at once.
#[derive(Debug)]
pub struct Producer {
    cluster: Arc<Cluster>,
    group: GroupName,
    options: ProducerOptions,
    failures: Mutex<Failures>,
    turn: AtomicUsize,
}

/// A message that a broker has stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sent {
    /// Its id, which consumers see.
    pub id: String,
    /// Where it is stored; `None` if the broker's answer does not tell.
    pub offset_id: Option<OffsetMessageId>,
    /// Its queue.
    pub queue: MessageQueue,
    /// Where it stands in the queue. Of a delayed message, where it waits.
    pub offset: QueueOffset,
    /// How well it is kept.
    pub status: SendStatus,
}

/// What is sent, the same in every attempt.
struct Parcel {
    topic: TopicName,
    properties: String,
    body: Bytes,
    flag: i32,
    sys_flag: u32,
    batch: bool,
    reconsume_times: i32,
    max_reconsume_times: Option<i32>,
}

impl Producer {
    /// A producer of a group. Nothing is sent yet.
    pub fn new(cluster: Arc<Cluster>, group: GroupName, options: ProducerOptions) -> Self {
        // Producers that start together shall not all begin with the same queue.
        let turn = AtomicUsize::new(now_ms() as usize);
        Self { cluster, group, options, failures: Mutex::default(), turn }
    }

    /// Sends a message to whichever queue is next.
    pub async fn send(&self, message: &Message) -> Result<Sent, ClientError> {
        let (parcel, id) = self.pack(message)?;
        self.deliver(&parcel, vec![id]).await.map(only)
    }

    /// Sends a message to one queue, in one attempt: whoever chooses a queue wants an order, and
    /// another queue would break it.
    pub async fn send_to(
        &self,
        message: &Message,
        queue: &MessageQueue,
    ) -> Result<Sent, ClientError> {
        let (parcel, id) = self.pack(message)?;
        let deadline = Instant::now() + self.options.timeout;
        let route = self.writable(&message.topic).await?.route;
        self.attempt(&parcel, vec![id], queue, &route, deadline).await.map(only)
    }

    /// Sends a message to the queue that `select` chooses by its place in the list, which is the
    /// same for all producers while no broker comes or goes. (In RocketMQ,
    /// `MessageQueueSelector`.)
    pub async fn send_by(
        &self,
        message: &Message,
        select: impl FnOnce(&[MessageQueue]) -> usize,
    ) -> Result<Sent, ClientError> {
        let queues = self.writable(&message.topic).await?.queues;
        let queue = queues.get(select(&queues)).ok_or_else(|| {
            ClientError::Invalid(format!("the selector chose none of {} queues", queues.len()))
        })?;
        self.send_to(message, queue).await
    }

    /// Sends several messages of one topic to one queue, as one request: all are stored, or none.
    pub async fn send_batch(&self, messages: &[Message]) -> Result<Vec<Sent>, ClientError> {
        let (parcel, ids) = self.pack_batch(messages)?;
        self.deliver(&parcel, ids).await
    }

    /// Sends a message without waiting for anybody to take it, and tells its id.
    pub async fn send_oneway(&self, message: &Message) -> Result<String, ClientError> {
        let (parcel, id) = self.pack(message)?;
        let Writable { queues, route } = self.writable(&message.topic).await?;
        let queue = self.choose(&queues, None)?;
        let address = address_of(&route, queue)?;
        self.cluster.send_oneway(address, &self.request(&parcel, queue)).await?;
        Ok(id)
    }

    /// Sends a message of a consumer back, with its count and its limit. `compression` are the bits
    /// of the system flag that tell how its body is compressed already.
    pub(crate) async fn send_again(
        &self,
        message: &Message,
        compression: u32,
        reconsume_times: i32,
        max_reconsume_times: i32,
    ) -> Result<Sent, ClientError> {
        let (packed, id) = self.pack(message)?;
        let mut parcel =
            Parcel { reconsume_times, max_reconsume_times: Some(max_reconsume_times), ..packed };
        if compression != 0 {
            (parcel.body, parcel.sys_flag) = (message.body.clone(), compression);
        }
        self.deliver(&parcel, vec![id]).await.map(only)
    }

    async fn writable(&self, topic: &TopicName) -> Result<Writable, ClientError> {
        self.cluster.writable(topic.as_str(), self.options.queues_if_new).await
    }

    fn pack(&self, message: &Message) -> Result<(Parcel, String), ClientError> {
        self.check_len(message.body.len())?;
        let id = self.id_of(message);
        let properties = message.encoded_properties(&id)?;
        let (body, sys_flag) = match self.options.compress_from {
            Some(from) if message.body.len() >= from => {
                (Bytes::from(compress(&message.body)), ZLIB_FLAG)
            }
            _ => (message.body.clone(), 0),
        };
        let parcel = Parcel {
            topic: message.topic.clone(),
            properties,
            body,
            flag: message.flag,
            sys_flag,
            batch: false,
            reconsume_times: 0,
            max_reconsume_times: None,
        };
        Ok((parcel, id))
    }

    /// Batches are never compressed: a broker takes them apart.
    fn pack_batch(&self, messages: &[Message]) -> Result<(Parcel, Vec<String>), ClientError> {
        let invalid = |message: &str| Err(ClientError::Invalid(message.to_owned()));
        let Some(first) = messages.first() else {
            return invalid("a batch needs a message");
        };
        let topic = first.topic.clone();
        if topic.as_str().starts_with("%RETRY%") {
            return invalid("a batch cannot go to a retry topic");
        }
        let (mut body, mut ids) = (Vec::new(), Vec::new());
        for message in messages {
            if message.topic != topic {
                return invalid("the messages of a batch have one topic");
            }
            if message.get(keys::DELAY).is_some() {
                return invalid("the messages of a batch cannot be delayed");
            }
            let id = self.id_of(message);
            let properties = message.encoded_properties(&id)?;
            let item = BatchItem {
                flag: message.flag,
                body: &message.body,
                properties: properties.as_bytes(),
            };
            push_batch_item(&item, &mut body);
            self.check_len(body.len())?;
            ids.push(id);
        }
        let parcel = Parcel {
            topic,
            properties: String::new(),
            body: body.into(),
            flag: 0,
            sys_flag: 0,
            batch: true,
            reconsume_times: 0,
            max_reconsume_times: None,
        };
        Ok((parcel, ids))
    }

    /// A message that is sent once more keeps its id.
    fn id_of(&self, message: &Message) -> String {
        message.get(keys::UNIQ_KEY).map_or_else(|| self.cluster.next_id(), str::to_owned)
    }

    fn check_len(&self, len: usize) -> Result<(), ClientError> {
        let max = self.options.body_bytes_max;
        if len <= max {
            return Ok(());
        }
        Err(ClientError::Invalid(format!("a body of {len} bytes exceeds the limit of {max} bytes")))
    }

    /// Attempts until a broker takes it, or until another attempt would be of no use.
    async fn deliver(&self, parcel: &Parcel, ids: Vec<String>) -> Result<Vec<Sent>, ClientError> {
        let deadline = Instant::now() + self.options.timeout;
        let writable = timeout_at(deadline, self.writable(&parcel.topic)).await;
        let Writable { queues, route } = writable.unwrap_or_else(|_| {
            Err(ClientError::Unreachable {
                address: self.cluster.name_servers().text(),
                reason: "the name server does not answer: timed out".into(),
            })
        })?;
        let mut failed: Option<(&MessageQueue, ClientError)> = None;
        for _ in 0..=self.options.retries {
            let before = failed.as_ref().map(|(queue, _)| queue.broker_name.as_str());
            let queue = self.choose(&queues, before)?;
            match self.attempt(parcel, ids.clone(), queue, &route, deadline).await {
                Ok(sent) => return Ok(sent),
                Err(error) if is_worth_a_retry(&error) => {
                    debug!(broker = queue.broker_name, %error, "a message was not taken");
                    failed = Some((queue, error));
                }
                Err(error) => return Err(error),
            }
            if Instant::now() >= deadline {
                break;
            }
        }
        let (_, error) = failed.expect("there was an attempt");
        Err(error)
    }

    fn choose<'q>(
        &self,
        queues: &'q [MessageQueue],
        failed_before: Option<&str>,
    ) -> Result<&'q MessageQueue, ClientError> {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let chosen = self.failures().choose(queues, turn, failed_before, Instant::now());
        chosen.ok_or_else(|| ClientError::Invalid("there is no queue to choose".into()))
    }

    async fn attempt(
        &self,
        parcel: &Parcel,
        ids: Vec<String>,
        queue: &MessageQueue,
        route: &TopicRoute,
        deadline: Instant,
    ) -> Result<Vec<Sent>, ClientError> {
        let address = address_of(route, queue)?;
        let left = deadline.saturating_duration_since(Instant::now());
        let request = self.request(parcel, queue);
        let answered = timeout_at(deadline, self.cluster.call(address, &request, left)).await;
        // It includes the time to connect; whether anything was sent by then is not known.
        let answered = answered.unwrap_or_else(|_| {
            Err(ClientError::Unanswered { address: address.into(), reason: "timed out".into() })
        });
        let sent = answered.and_then(|answered| {
            SendAnswer::decode(&answered.response.header())
                .map(|answer| sent(&answer, ids, queue))
                .map_err(|error| ClientError::of_answer(error, &answered))
        });
        match &sent {
            Ok(_) => self.failures().succeeded(&queue.broker_name),
            Err(error) if is_worth_a_retry(error) => {
                self.failures().failed(&queue.broker_name, Instant::now());
                // The broker may be somewhere else by now, and the topic gone.
                self.cluster.doubt_route(parcel.topic.as_str(), error);
            }
            Err(_) => {}
        }
        sent
    }

    fn request<'p>(&'p self, parcel: &'p Parcel, queue: &MessageQueue) -> SendMessage<'p> {
        SendMessage {
            producer_group: self.group.as_str().into(),
            default_topic: TEMPLATE_TOPIC.into(),
            default_topic_queues: self.options.queues_if_new,
            queue_id: Some(queue.queue_id),
            sys_flag: parcel.sys_flag as i32,
            born_at_ms: now_ms(),
            flag: parcel.flag,
            properties: parcel.properties.as_str().into(),
            reconsume_times: parcel.reconsume_times,
            max_reconsume_times: parcel.max_reconsume_times,
            batch: parcel.batch,
            ..SendMessage::new(parcel.topic.as_str(), &parcel.body)
        }
    }

    fn failures(&self) -> MutexGuard<'_, Failures> {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn address_of<'r>(route: &'r TopicRoute, queue: &MessageQueue) -> Result<&'r str, ClientError> {
    routes::master(route, &queue.broker_name)
        .ok_or_else(|| ClientError::NoBroker(queue.broker_name.clone()))
}

/// What was stored, message by message.
fn sent(answer: &SendAnswer<'_>, ids: Vec<String>, queue: &MessageQueue) -> Vec<Sent> {
    let mut offset_ids = answer.message_ids.iter();
    let queue = MessageQueue { queue_id: answer.queue_id, ..queue.clone() };
    let each = ids.into_iter().zip(answer.queue_offset.0..);
    each.map(|(id, offset)| Sent {
        id,
        offset_id: offset_ids.next(),
        queue: queue.clone(),
        offset: QueueOffset(offset),
        status: answer.status,
    })
    .collect()
}

fn only(mut sent: Vec<Sent>) -> Sent {
    sent.pop().expect("one message was sent")
}
