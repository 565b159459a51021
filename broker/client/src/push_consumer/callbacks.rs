//! What brokers ask of a member.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use millrace_protocol::{
    Answer, ConsumedDirectly, ConsumedUpTo, ConsumerState, FromBroker, OfSubscription, QueueState,
    Refused, ResponseCode,
};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};
use tracing::debug;

use super::delivery::{Delivery, Held, Verdict};
use super::member::Member;
use super::steward::Steward;
use crate::Received;
use crate::peers::Called;

/// How long a tool waits for a message that it wants consumed.
const DIRECTLY_MAX: Duration = Duration::from_secs(10);
/// How long an answer waits for room on its connection.
const REPLY_MAX: Duration = Duration::from_secs(3);

/// What a broker is answered.
enum Reply {
    Nothing,
    Now(Box<dyn Answer + Send + Sync>),
    /// What came of the message in its request, which is of the broker of that name.
    OnceConsumed(String),
}

impl Steward {
    /// Does what a broker asks, and answers it in its own time: it may have stopped reading.
    pub(super) fn called(&mut self, called: Called) {
        match self.reply_to(&called) {
            Reply::Nothing => {}
            Reply::Now(answer) => {
                self.answering.spawn(async move { reply(&called, &*answer).await });
            }
            Reply::OnceConsumed(broker) => {
                let member = Arc::clone(&self.member);
                self.answering.spawn(consume_directly(member, called, broker));
            }
        }
    }

    fn reply_to(&mut self, called: &Called) -> Reply {
        let header = called.callback.header();
        let asked = match FromBroker::decode(&header, called.callback.body()) {
            Ok(asked) => asked,
            Err(error) => {
                debug!(%error, "a broker asked what cannot be understood");
                return Reply::Now(Box::new(error.answer()));
            }
        };
        let group = self.member.group.as_str();
        match asked {
            FromBroker::GroupChanged(of) if of.group == group => self.rebalance_soon(),
            FromBroker::StartFrom(of, places) if of.group == group => self.move_to(places.0),
            FromBroker::HowFar(of) if of.group == group => {
                return Reply::Now(Box::new(self.how_far(&of)));
            }
            FromBroker::HowAreYou(of) if of.group == group => {
                return Reply::Now(Box::new(self.state()));
            }
            FromBroker::ConsumeThis(of) if of.group == group => {
                return Reply::OnceConsumed(of.broker_name.unwrap_or_default().into_owned());
            }
            FromBroker::GroupChanged(_) | FromBroker::StartFrom(..) => {}
            FromBroker::HowFar(_) | FromBroker::HowAreYou(_) | FromBroker::ConsumeThis(_) => {
                return Reply::Now(Box::new(Refused::new(
                    ResponseCode::SYSTEM_ERROR,
                    format!("this client is a member of the group {group} only"),
                )));
            }
            FromBroker::Unknown(code) => {
                return Reply::Now(Box::new(Refused::new(
                    ResponseCode::REQUEST_CODE_NOT_SUPPORTED,
                    format!("this client does not know the request {code}"),
                )));
            }
        }
        Reply::Nothing
    }

    fn how_far(&self, of: &OfSubscription<'_>) -> ConsumedUpTo {
        let queues = self.consuming.iter().filter(|(queue, _)| queue.topic == of.topic);
        let known = queues.filter_map(|(queue, consuming)| {
            Some((queue.clone(), consuming.progress.get().committable?))
        });
        ConsumedUpTo(known.collect())
    }

    fn state(&self) -> ConsumerState {
        let queues = self.consuming.iter().map(|(queue, consuming)| {
            let figures = consuming.progress.get();
            QueueState {
                queue: queue.clone(),
                committed: figures.committable.unwrap_or_default(),
                open: figures.open,
                open_bytes: figures.open_bytes,
                locked: figures.is_locked(Instant::now(), self.member.options.lock_interval),
                pulled_at_ms: figures.pulled_at_ms,
            }
        });
        let member = &self.member;
        ConsumerState {
            properties: vec![
                ("PROP_CLIENT_VERSION", format!("millrace {}", env!("CARGO_PKG_VERSION"))),
                ("PROP_CONSUMEORDERLY", member.keeps_order().to_string()),
                ("PROP_CONSUMER_START_TIMESTAMP", member.version.to_string()),
                ("PROP_CONSUME_TYPE", "CONSUME_PASSIVELY".to_owned()),
                ("PROP_NAMESERVER_ADDR", member.cluster.name_servers().text()),
                ("PROP_THREADPOOL_CORE_SIZE", "0".to_owned()),
            ],
            subscriptions: member.subscriptions(),
            queues: queues.collect(),
        }
    }
}

/// Has the application consume one message, outside of any queue.
async fn consume_directly(member: Arc<Member>, called: Called, broker: String) {
    let record = Bytes::clone(called.callback.body());
    let (messages, _) = Received::read_all(&record, &broker);
    let Some(message) = messages.into_iter().next() else {
        let refused = Refused::new(ResponseCode::SYSTEM_ERROR, "there is no message in the body");
        return reply(&called, &refused).await;
    };
    let begun = Instant::now();
    let (sender, mut verdicts) = mpsc::unbounded_channel();
    let consuming = async {
        if member.deliveries.send(Delivery::new(Held::new(0, message), sender)).await.is_err() {
            return None;
        }
        verdicts.recv().await
    };
    let verdict = timeout(DIRECTLY_MAX, consuming).await.ok().flatten();
    let answer = ConsumedDirectly {
        success: matches!(verdict, Some((_, Verdict::Done))),
        in_order: member.keeps_order(),
        took_ms: i64::try_from(begun.elapsed().as_millis()).unwrap_or(i64::MAX),
    };
    reply(&called, &answer).await;
}

async fn reply(called: &Called, answer: &(dyn Answer + Sync)) {
    let answered = called.reached.connection.answer(&called.callback, answer);
    match timeout(REPLY_MAX, answered).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => debug!(%error, "a broker was not answered"),
        Err(_) => debug!("a broker that does not read was not answered"),
    }
}
