mod absence; // members and brokers that stand still, hang or start anew
mod reading; // consumers that pull by themselves
mod returns; // messages that failed

use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicU32};
use std::time::Duration;

use millrace_protocol::{
    Answer, CallMode, ConsumerList, Done, FrameWriter, Head, HeaderKind, HeartbeatAnswer,
    LockedQueues, MessageIds, MessageQueue, OffsetAnswer, PullAnswer, PullMessage, PullStatus,
    RequestCode, SendAnswer, SendMessage, SendStatus, write_pull_head,
};
use millrace_types::record::{Draft, Stamp, encode};
use millrace_types::{PhysicalOffset, QueueId, QueueOffset};

use super::*;
use crate::{Filter, Ordering, Place, PullConsumer, PushConsumer, PushOptions, Young};

/// A broker with one queue that holds one message at offset 0, and the only member of a group.
/// What a test says comes first; everything that was asked is kept.
struct Rig {
    fake: Fake,
    routes: Routes,
    seen: Arc<Mutex<Vec<String>>>,
}

type Script = dyn Fn(&Request<'_>) -> Option<Reply> + Send + Sync;

impl Rig {
    async fn start(script: Box<Script>) -> Self {
        let (routes, seen) = (Routes::default(), Arc::<Mutex<Vec<String>>>::default());
        let (known, keep) = (routes.clone(), Arc::clone(&seen));
        let member = Mutex::new(String::new());
        let fake = Fake::start(move |request| {
            if let Request::Heartbeat(heartbeat) = request {
                *member.lock().unwrap() = heartbeat.client_id.clone();
            }
            keep.lock().unwrap().push(format!("{request:?}"));
            script(request).or_else(|| known.reply(request)).or_else(|| match request {
                Request::Heartbeat(_) => beaten(),
                Request::ConsumerList(_) => {
                    answer(ConsumerList(vec![member.lock().unwrap().clone()]))
                }
                Request::QueryConsumerOffset(_) => answer(OffsetAnswer { offset: QueueOffset(0) }),
                Request::Pull(pull) => Some(one_message(pull)),
                Request::UpdateConsumerOffset(_)
                | Request::UnregisterClient(_)
                | Request::Lock(_)
                | Request::Unlock(_) => answer(Done),
                _ => None,
            })
        })
        .await;
        routes.put(&[("b", &fake.address)]);
        Self { fake, routes, seen }
    }

    async fn join(&self, options: PushOptions) -> PushConsumer {
        let options = PushOptions { begin: Place::Earliest, ..options };
        let topics = [(topic(), Filter::All)];
        PushConsumer::start(&self.fake.address, group("g"), topics, options).await.unwrap()
    }

    /// Waits for a request of which the text has all these parts.
    async fn asked(&self, parts: &[&str]) -> String {
        let looking = async {
            loop {
                let found = {
                    let seen = self.seen.lock().unwrap();
                    seen.iter().find(|text| parts.iter().all(|part| text.contains(part))).cloned()
                };
                match found {
                    Some(found) => return found,
                    None => tokio::task::yield_now().await,
                }
            }
        };
        match tokio::time::timeout(Duration::from_secs(60), looking).await {
            Ok(found) => found,
            Err(_) => panic!("nothing with {parts:?} in {:#?}", self.seen.lock().unwrap()),
        }
    }

    async fn answered(&self, part: &str) {
        let looking = async {
            while !self.fake.answers().iter().any(|answer| answer.contains(part)) {
                tokio::task::yield_now().await;
            }
        };
        let in_time = tokio::time::timeout(Duration::from_secs(60), looking).await;
        assert!(in_time.is_ok(), "{part} in {:?}", self.fake.answers());
    }
}

fn beaten() -> Option<Reply> {
    answer(HeartbeatAnswer { supports_v2: false, subscriptions_changed: true })
}

/// The record of the message, as a broker stores it.
fn record() -> Vec<u8> {
    record_at(0)
}

fn record_at(offset: u64) -> Vec<u8> {
    encoded(offset, 0, b"hello")
}

fn record_of(sys_flag: u32, body: &[u8]) -> Vec<u8> {
    encoded(0, sys_flag, body)
}

fn encoded(offset: u64, sys_flag: u32, body: &[u8]) -> Vec<u8> {
    let draft = Draft {
        topic: "orders",
        queue_id: QueueId(0),
        flag: 0,
        sys_flag,
        born_at_ms: 17,
        born_host: ([10, 0, 0, 9], 5000).into(),
        reconsume_times: 0,
        prepared_offset: PhysicalOffset(0),
        body,
        properties: b"UNIQ_KEY\x01ID\x02TAGS\x01a\x02",
    };
    let stamp = Stamp {
        queue_offset: QueueOffset(offset),
        physical_offset: PhysicalOffset(700 + offset),
        store_at_ms: 18,
        store_host: ([10, 0, 0, 1], 10911).into(),
        more: false,
    };
    let mut out = Vec::new();
    encode(&draft, &stamp, &mut out);
    out
}

/// The answer to a pull, and its records.
struct Pulled(PullAnswer, Vec<u8>);

impl Answer for Pulled {
    fn write(&self, kind: HeaderKind, opaque: i32, out: &mut Vec<u8>) {
        write_pull_head(&self.0, kind, opaque, self.1.len(), out);
        out.extend_from_slice(&self.1);
    }
}

fn pulled(status: PullStatus, next: u64, records: Vec<u8>) -> Reply {
    let answer = PullAnswer {
        status,
        next: QueueOffset(next),
        min: QueueOffset(0),
        max: QueueOffset(1),
        suggested_broker: 0,
    };
    Reply::Answer(Box::new(Pulled(answer, records)))
}

/// The message at offset 0 of queue 0, and nothing elsewhere, ever.
fn one_message(pull: &PullMessage<'_>) -> Reply {
    if is_of_message(pull) { pulled(PullStatus::Found, 1, record()) } else { Reply::Silence }
}

fn is_of_message(pull: &PullMessage<'_>) -> bool {
    let place = (&*pull.topic, pull.queue_id, pull.offset);
    place == ("orders", QueueId(0), Some(QueueOffset(0)))
}

/// A request of the broker.
fn question(code: RequestCode, fields: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let head = Head::request(HeaderKind::Json, code, 1, CallMode::Answered);
    let mut frame = FrameWriter::begin(&mut bytes, &head, |to| {
        for (name, value) in fields {
            to.text(name, value);
        }
    });
    frame.out().extend_from_slice(body);
    frame.finish();
    bytes
}

/// Asks that with the answer to every heartbeat.
fn asking(question: Vec<u8>) -> Box<Script> {
    Box::new(move |request| match request {
        Request::Heartbeat(_) => {
            let beaten = HeartbeatAnswer { supports_v2: false, subscriptions_changed: true };
            Some(Reply::AnswerAndAsk(Box::new(beaten), question.clone()))
        }
        _ => None,
    })
}

/// Another member, which comes when it is told to and then has the first queue.
fn joined_by(another: &Arc<AtomicBool>) -> impl Fn(&Request<'_>) -> Option<Reply> + use<> {
    let (is_there, me) = (Arc::clone(another), Mutex::new(String::new()));
    move |request| match request {
        Request::Heartbeat(heartbeat) => {
            *me.lock().unwrap() = heartbeat.client_id.clone();
            None
        }
        Request::ConsumerList(_) if is_there.load(Relaxed) => {
            answer(ConsumerList(vec!["0".into(), me.lock().unwrap().clone()]))
        }
        Request::Lock(lock) => answer(LockedQueues(lock.queues.clone())),
        _ => None,
    }
}

fn commit_text(offset: u64) -> String {
    format!("topic: \"orders\", queue_id: QueueId(0), offset: QueueOffset({offset})")
}

#[tokio::test]
async fn a_queue_that_is_given_up_is_committed_at_once_and_not_behind_whoever_has_it() {
    for (others, is_committed) in [(1, true), (40, false)] {
        let another = Arc::new(AtomicBool::new(false));
        let (script, is_there) = (joined_by(&another), Arc::clone(&another));
        let rig = Rig::start(Box::new(move |request| match request {
            Request::Pull(pull) => {
                let two = [record_at(0), record_at(1)].concat();
                let place = (&*pull.topic, pull.queue_id, pull.offset);
                let is_first = place == ("orders", QueueId(0), Some(QueueOffset(0)));
                Some(if is_first { pulled(PullStatus::Found, 2, two) } else { Reply::Silence })
            }
            Request::QueryConsumerOffset(_) if is_there.load(Relaxed) => {
                answer(OffsetAnswer { offset: QueueOffset(others) })
            }
            other => script(other),
        }))
        .await;
        let for_ever = Duration::from_secs(3600);
        let options = PushOptions {
            rebalance_interval: Duration::from_millis(50),
            commit_interval: for_ever,
            grace: for_ever,
            ..PushOptions::default()
        };
        let mut consumer = rig.join(options).await;
        let [first, second] = [consumer.next().await, consumer.next().await];
        first.done();
        // The queue's consumer hears of it before it is asked to stop.
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        another.store(true, Relaxed);
        rig.asked(&["UpdateConsumerOffset(", &commit_text(1)]).await;
        second.done();
        consumer.stop().await;
        let seen = rig.seen.lock().unwrap();
        let commits = seen.iter().filter(|text| text.starts_with("UpdateConsumerOffset("));
        let rest = commits.filter(|text| text.contains(&commit_text(2))).count();
        assert_eq!(rest, usize::from(is_committed), "the group is at {others}");
    }
}

#[tokio::test]
async fn a_queue_in_order_is_done_with_and_committed_before_its_lock_is_given_back() {
    let another = Arc::new(AtomicBool::new(false));
    let rig = Rig::start(Box::new(joined_by(&another))).await;
    let options = PushOptions {
        ordering: Ordering::InOrder,
        rebalance_interval: Duration::from_millis(50),
        commit_interval: Duration::from_secs(3600),
        ..PushOptions::default()
    };
    let mut consumer = rig.join(options).await;
    let delivery = consumer.next().await;
    another.store(true, Relaxed);
    rig.asked(&["UpdateConsumerOffset(", &commit_text(0)]).await;
    let place = |parts: &[&str]| {
        let seen = rig.seen.lock().unwrap();
        seen.iter().position(|text| parts.iter().all(|part| text.contains(part)))
    };
    let unlock = ["Unlock(", "topic: \"orders\"", "queue_id: QueueId(0)"];
    assert_eq!(place(&unlock), None, "a message is in hand");
    delivery.done();
    rig.asked(&unlock).await;
    let committed = place(&["UpdateConsumerOffset(", &commit_text(1)]);
    assert!(committed.is_some() && committed < place(&unlock));
    consumer.stop().await;
}

#[tokio::test]
async fn a_lock_that_lapses_does_not_bring_again_what_is_in_hand() {
    let first = |queue: &MessageQueue| queue.topic == "orders" && queue.queue_id == QueueId(0);
    let [in_hand, refused] = [(); 2].map(|()| Arc::new(AtomicBool::new(false)));
    let (is_in_hand, is_refused) = (Arc::clone(&in_hand), Arc::clone(&refused));
    let rig = Rig::start(Box::new(move |request| match request {
        // Refused once, as by a broker that has started anew.
        Request::Lock(lock) => {
            let mut locked = lock.queues.clone();
            let concerned = locked.iter().any(first) && is_in_hand.load(Relaxed);
            if concerned && !is_refused.swap(true, Relaxed) {
                locked.retain(|queue| !first(queue));
            }
            answer(LockedQueues(locked))
        }
        _ => None,
    }))
    .await;
    let lock_interval = Duration::from_millis(50);
    let options =
        PushOptions { ordering: Ordering::InOrder, lock_interval, ..PushOptions::default() };
    let mut consumer = rig.join(options).await;
    let delivery = consumer.next().await;
    in_hand.store(true, Relaxed);
    let waiting = async {
        while !refused.load(Relaxed) {
            tokio::task::yield_now().await;
        }
        let before = rig.seen.lock().unwrap().len();
        delivery.done();
        loop {
            // The first pull of the queue once its lock was asked for again.
            let seen = rig.seen.lock().unwrap()[before..].to_vec();
            let mut seen = seen.into_iter().filter(|text| text.contains("topic: \"orders\""));
            if seen.any(|text| text.starts_with("Lock("))
                && let Some(pull) =
                    seen.find(|text| text.starts_with("Pull(") && text.contains("QueueId(0)"))
            {
                return pull;
            }
            tokio::task::yield_now().await;
        }
    };
    let pull = tokio::time::timeout(Duration::from_secs(60), waiting).await.unwrap();
    assert!(pull.contains("offset: Some(QueueOffset(1))"), "{pull}");
    consumer.stop().await;
}

#[tokio::test]
async fn an_offset_that_a_broker_moves_is_followed() {
    let rig = Rig::start(Box::new(|request| match request {
        Request::QueryConsumerOffset(_) => answer(OffsetAnswer { offset: QueueOffset(900) }),
        Request::Pull(pull) if pull.offset == Some(QueueOffset(900)) => {
            Some(pulled(PullStatus::OffsetMoved, 0, Vec::new()))
        }
        _ => None,
    }))
    .await;
    let mut consumer = rig.join(PushOptions::default()).await;
    let delivery = consumer.next().await;
    assert_eq!(delivery.message().body, "hello");
    delivery.done();
    consumer.stop().await;
}

#[tokio::test]
async fn a_broker_may_ask_how_a_member_is() {
    let fields = [("consumerGroup", "g"), ("clientId", "x")];
    let how = question(RequestCode::GET_CONSUMER_RUNNING_INFO, &fields, b"");
    let rig = Rig::start(asking(how)).await;
    let consumer = rig.join(PushOptions::default()).await;
    rig.answered("\"PROP_CONSUME_TYPE\":\"CONSUME_PASSIVELY\"").await;
    consumer.stop().await;

    let fields = [("consumerGroup", "other"), ("clientId", "x")];
    let rig =
        Rig::start(asking(question(RequestCode::GET_CONSUMER_RUNNING_INFO, &fields, b""))).await;
    let consumer = rig.join(PushOptions::default()).await;
    rig.answered("1 ").await;
    consumer.stop().await;

    let rig = Rig::start(asking(question(RequestCode(39), &[], b""))).await;
    let consumer = rig.join(PushOptions::default()).await;
    rig.answered("3 ").await;
    consumer.stop().await;
}

#[tokio::test]
async fn a_broker_may_have_one_message_consumed() {
    let fields = [("consumerGroup", "g"), ("clientId", "x"), ("brokerName", "b")];
    let this = question(RequestCode::CONSUME_MESSAGE_DIRECTLY, &fields, &record());
    let script = asking(this);
    let rig = Rig::start(Box::new(move |request| match request {
        // Nothing else is there to consume.
        Request::Pull(_) => Some(Reply::Silence),
        other => script(other),
    }))
    .await;
    let mut consumer = rig.join(PushOptions::default()).await;
    let delivery = consumer.next().await;
    assert_eq!(delivery.message().id(), "ID");
    delivery.done();
    rig.answered("\"consumeResult\":\"CR_SUCCESS\"").await;
    consumer.stop().await;
}

#[tokio::test]
async fn a_broker_may_move_a_group_while_it_consumes() {
    let body = br#"{"offsetTable":{{"brokerName":"b","queueId":0,"topic":"orders"}:40}}"#;
    let fields = [("group", "g"), ("topic", "orders"), ("timestamp", "0"), ("isForce", "true")];
    let go = question(RequestCode::RESET_CONSUMER_CLIENT_OFFSET, &fields, body);
    let beats = std::sync::atomic::AtomicU32::new(0);
    let rig = Rig::start(Box::new(move |request| match request {
        // Only the second heartbeat: the queues have to be shared before.
        Request::Heartbeat(_) => {
            let n = beats.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            let beaten = HeartbeatAnswer { supports_v2: false, subscriptions_changed: true };
            let question = if n == 20 { go.clone() } else { Vec::new() };
            Some(Reply::AnswerAndAsk(Box::new(beaten), question))
        }
        _ => None,
    }))
    .await;
    let heartbeat_interval = Duration::from_millis(50);
    let grace = Duration::from_millis(1);
    let options = PushOptions { heartbeat_interval, grace, ..PushOptions::default() };
    let mut consumer = rig.join(options).await;
    let open = consumer.next().await;
    rig.asked(&["UpdateConsumerOffset(", "queue_id: QueueId(0), offset: QueueOffset(40)"]).await;
    drop(open);
    consumer.stop().await;
}

/// How often an offset of `orders`, queue 0, was committed.
fn commits_of(request: &Request<'_>, offset: u64, count: &AtomicU32) -> Option<u32> {
    match request {
        Request::UpdateConsumerOffset(commit)
            if commit.topic == "orders"
                && (commit.queue_id, commit.offset) == (QueueId(0), QueueOffset(offset)) =>
        {
            Some(count.fetch_add(1, Relaxed))
        }
        _ => None,
    }
}

async fn waited_for(count: &AtomicU32, at_least: u32) {
    let waiting = async {
        while count.load(Relaxed) < at_least {
            tokio::task::yield_now().await;
        }
    };
    let in_time = tokio::time::timeout(Duration::from_secs(60), waiting).await;
    assert!(in_time.is_ok(), "{} of {at_least}", count.load(Relaxed));
}

#[tokio::test]
async fn what_is_consumed_again_after_a_move_is_committed_again() {
    let commits = Arc::new(AtomicU32::new(0));
    let count = Arc::clone(&commits);
    let rig = Rig::start(Box::new(move |request| match request {
        Request::QueryConsumerOffset(_) => answer(OffsetAnswer { offset: QueueOffset(1) }),
        // Somebody resets the group once it has committed.
        Request::Pull(pull) if pull.offset == Some(QueueOffset(1)) && &*pull.topic == "orders" => {
            Some(match count.load(Relaxed) {
                0 => pulled(PullStatus::NotFound, 1, Vec::new()),
                1 if pull.queue_id == QueueId(0) => pulled(PullStatus::OffsetMoved, 0, Vec::new()),
                _ => Reply::Silence,
            })
        }
        _ => commits_of(request, 1, &count).and_then(|_| answer(Done)),
    }))
    .await;
    // No commit falls between the move and the message that comes again, a second later.
    let commit_interval = Duration::from_millis(1500);
    let options = PushOptions { commit_interval, ..PushOptions::default() };
    let mut consumer = rig.join(options).await;
    consumer.next().await.done();
    consumer.stop().await;
    assert_eq!(commits.load(Relaxed), 2);
}

#[tokio::test]
async fn a_commit_that_failed_is_made_again() {
    let commits = Arc::new(AtomicU32::new(0));
    let count = Arc::clone(&commits);
    let rig = Rig::start(Box::new(move |request| {
        // Nothing fails but the commits.
        match commits_of(request, 1, &count)? {
            0..3 => answer(Refused::new(ResponseCode::SYSTEM_BUSY, "not now")),
            _ => answer(Done),
        }
    }))
    .await;
    let commit_interval = Duration::from_millis(20);
    let options = PushOptions { commit_interval, ..PushOptions::default() };
    let mut consumer = rig.join(options).await;
    consumer.next().await.done();
    waited_for(&commits, 4).await;
    consumer.stop().await;
    assert_eq!(commits.load(Relaxed), 4, "and no more once it has succeeded");
}

#[tokio::test]
async fn a_group_may_begin_at_the_end_of_a_young_queue() {
    let rig = Rig::start(Box::new(|request| match request {
        Request::QueryConsumerOffset(ask) if ask.zero_if_not_found == Some(false) => {
            answer(Refused::new(ResponseCode::QUERY_NOT_FOUND, "none"))
        }
        Request::GetMaxOffset(_) => answer(OffsetAnswer { offset: QueueOffset(7) }),
        _ => None,
    }))
    .await;
    for (young, offset) in [(Young::Broker, 0), (Young::Begin, 7)] {
        let options = PushOptions { begin: Place::Latest, young, ..PushOptions::default() };
        let topics = [(topic(), Filter::All)];
        let consumer = PushConsumer::start(&rig.fake.address, group("g"), topics, options).await;
        let offset = format!("offset: Some(QueueOffset({offset}))");
        rig.asked(&["Pull(", "topic: \"orders\"", &offset]).await;
        consumer.unwrap().stop().await;
        rig.seen.lock().unwrap().clear();
    }
}
