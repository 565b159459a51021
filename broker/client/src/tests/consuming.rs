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

#[tokio::test]
async fn what_failed_is_handed_back_and_counts_as_consumed() {
    let rig = Rig::start(Box::new(|request| match request {
        Request::SendBack(_) => answer(Done),
        _ => None,
    }))
    .await;
    let mut consumer = rig.join(PushOptions::default()).await;
    consumer.next().await.later_at(3);
    let asked = rig.asked(&["SendBack(", "delay_level: 3"]).await;
    assert!(asked.contains("physical_offset: PhysicalOffset(700), group: \"g\""), "{asked}");
    assert!(asked.contains("max_reconsume_times: Some(16)"), "{asked}");
    assert!(asked.contains("origin_message_id: Some(\"ID\")"), "{asked}");
    consumer.stop().await;
    rig.asked(&["UpdateConsumerOffset(", "queue_id: QueueId(0), offset: QueueOffset(1)"]).await;
    rig.asked(&["Unregister", "consumer_group: Some(\"g\")"]).await;
}

/// Else nothing of its queue would ever be committed.
#[tokio::test]
async fn what_is_consumed_for_too_long_is_handed_back_and_its_queue_goes_on() {
    let rig = Rig::start(Box::new(|request| match request {
        Request::SendBack(_) => answer(Done),
        _ => None,
    }))
    .await;
    let consume_timeout = Some(Duration::from_millis(10));
    let mut consumer = rig.join(PushOptions { consume_timeout, ..PushOptions::default() }).await;
    let stuck = consumer.next().await;
    rig.asked(&["SendBack(", "delay_level: 3"]).await;
    // It is somebody else's message by now.
    assert_eq!(stuck.message().offset, QueueOffset(0));
    stuck.later_at(5);
    // The queue's consumer hears of it before it is asked to stop.
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    consumer.stop().await;
    rig.asked(&["UpdateConsumerOffset(", "queue_id: QueueId(0), offset: QueueOffset(1)"]).await;
    let seen = rig.seen.lock().unwrap();
    assert_eq!(seen.iter().filter(|request| request.contains("SendBack(")).count(), 1);
}

fn stored(message: &SendMessage<'_>) -> Option<Reply> {
    answer(SendAnswer {
        status: SendStatus::Ok,
        message_ids: MessageIds::Text("7F00000100002A9F0000000000000007".into()),
        queue_id: message.queue_id.unwrap_or_default(),
        queue_offset: QueueOffset(0),
        transaction_id: None,
    })
}

#[tokio::test]
async fn what_no_broker_takes_back_goes_to_the_retry_topic() {
    let rig = Rig::start(Box::new(|request| match request {
        Request::SendBack(_) => answer(Refused::new(ResponseCode::SYSTEM_ERROR, "no")),
        Request::Send(message) => stored(message),
        _ => None,
    }))
    .await;
    let mut consumer = rig.join(PushOptions::default()).await;
    // Without a word it has failed.
    drop(consumer.next().await);
    rig.asked(&["SendBack(", "delay_level: 0"]).await;
    let sent = rig.asked(&["Send(", "topic: \"%RETRY%g\""]).await;
    assert!(sent.contains("reconsume_times: 1,"), "{sent}");
    assert!(sent.contains("max_reconsume_times: Some(16)"), "{sent}");
    for property in ["UNIQ_KEY\\u{1}ID", "RETRY_TOPIC\\u{1}orders", "DELAY\\u{1}3"] {
        assert!(sent.contains(property), "{property} in {sent}");
    }
    consumer.stop().await;
    rig.asked(&["UpdateConsumerOffset(", "queue_id: QueueId(0), offset: QueueOffset(1)"]).await;
}

/// Whoever can read it gets it as its producer sent it.
#[tokio::test]
async fn what_cannot_be_decompressed_goes_to_the_retry_topic_as_it_is() {
    const LZ4: i32 = 0x101;
    let rig = Rig::start(Box::new(|request| match request {
        Request::Pull(pull) if is_of_message(pull) => {
            Some(pulled(PullStatus::Found, 1, record_of(LZ4 as u32, b"no LZ4")))
        }
        Request::SendBack(_) => answer(Refused::new(ResponseCode::SYSTEM_ERROR, "no")),
        Request::Send(message) => stored(message),
        _ => None,
    }))
    .await;
    let mut consumer = rig.join(PushOptions::default()).await;
    let delivery = consumer.next().await;
    assert_eq!(delivery.message().still_compressed, Some("the body is not what LZ4 makes"));
    delivery.later();
    let sent = rig.asked(&["Send(", "topic: \"%RETRY%g\""]).await;
    assert!(sent.contains(&format!("sys_flag: {LZ4},")), "{sent}");
    assert!(sent.contains(&format!("{:?}", b"no LZ4")), "{sent}");
    consumer.stop().await;
}

#[tokio::test]
async fn a_message_in_order_comes_again_here_until_it_has_failed_too_often() {
    let rig = Rig::start(Box::new(|request| match request {
        Request::Lock(lock) => answer(LockedQueues(lock.queues.clone())),
        Request::Send(message) => stored(message),
        _ => None,
    }))
    .await;
    let options = PushOptions {
        ordering: Ordering::InOrder,
        reconsume_times_max: Some(1),
        ..PushOptions::default()
    };
    let mut consumer = rig.join(options).await;
    for times in [0, 1] {
        let delivery = consumer.next().await;
        assert_eq!(delivery.message().reconsume_times, times);
        delivery.later();
    }
    let sent = rig.asked(&["Send(", "topic: \"%RETRY%g\""]).await;
    assert!(sent.contains("reconsume_times: 2,"), "{sent}");
    assert!(sent.contains("max_reconsume_times: Some(1)"), "{sent}");
    consumer.stop().await;
    rig.asked(&["UpdateConsumerOffset(", "queue_id: QueueId(0), offset: QueueOffset(1)"]).await;
    rig.asked(&["Unlock("]).await;
}

#[tokio::test]
async fn a_broker_that_is_gone_does_not_keep_the_queues_of_others_from_being_shared() {
    let rig = Rig::start(Box::new(|_| None)).await;
    rig.routes.put(&[("a", "127.0.0.1:1"), ("b", &rig.fake.address)]);
    let rebalance_interval = Duration::from_millis(50);
    let mut consumer = rig.join(PushOptions { rebalance_interval, ..PushOptions::default() }).await;
    let next = tokio::time::timeout(Duration::from_secs(60), consumer.next()).await;
    next.expect("a message of the other one").done();
    consumer.stop().await;
}

#[tokio::test]
async fn a_broker_that_hangs_delays_nothing_at_the_others() {
    let lock = |request: &Request<'_>| match request {
        Request::Lock(lock) => answer(LockedQueues(lock.queues.clone())),
        _ => None,
    };
    for kind in ["Heartbeat(", "ConsumerList(", "Lock(", "UpdateConsumerOffset("] {
        let (hangs, hung) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU32::new(0)));
        let (does_hang, count) = (Arc::clone(&hangs), Arc::clone(&hung));
        let one = Rig::start(Box::new(move |request| {
            if does_hang.load(Relaxed) && format!("{request:?}").starts_with(kind) {
                count.fetch_add(1, Relaxed);
                return Some(Reply::Silence);
            }
            lock(request)
        }))
        .await;
        let other = Rig::start(Box::new(lock)).await;
        other.routes.put(&[("a", &one.fake.address), ("b", &other.fake.address)]);
        let (often, for_ever) = (Duration::from_millis(50), Duration::from_secs(3600));
        let options = PushOptions {
            ordering: Ordering::InOrder,
            heartbeat_interval: often,
            rebalance_interval: often,
            commit_interval: often,
            lock_interval: Duration::from_millis(500),
            cluster: ClusterOptions { request_timeout: for_ever, ..ClusterOptions::default() },
            ..PushOptions::default()
        };
        let mut consumer = other.join(options).await;
        let mut deliveries = [consumer.next().await, consumer.next().await];
        deliveries.sort_by_key(|delivery| delivery.message().queue.broker_name.clone());
        let [of_one, of_other] = deliveries;
        hangs.store(true, Relaxed);
        of_one.done();
        waited_for(&hung, 1).await;
        other.seen.lock().unwrap().clear();
        of_other.done();
        if kind != "Heartbeat(" {
            // These wait for each other, but not for longer than an answer may take.
            other.asked(&["Heartbeat("]).await;
        }
        other.asked(&["UpdateConsumerOffset(", "offset: QueueOffset(1)"]).await;
        // All of its queues, so that it is the renewal.
        other.asked(&["Lock(", "QueueId(0)", "QueueId(1)"]).await;
    }
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
async fn a_message_in_order_that_can_never_be_consumed_is_a_dead_letter() {
    let rig = Rig::start(Box::new(|request| match request {
        Request::Lock(lock) => answer(LockedQueues(lock.queues.clone())),
        Request::SendBack(_) => answer(Done),
        _ => None,
    }))
    .await;
    let options = PushOptions { ordering: Ordering::InOrder, ..PushOptions::default() };
    let mut consumer = rig.join(options).await;
    consumer.next().await.never();
    rig.asked(&["SendBack(", "delay_level: -1"]).await;
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
async fn a_broker_that_was_away_is_told_the_offsets_again() {
    let commits = Arc::new(AtomicU32::new(0));
    let count = Arc::clone(&commits);
    let rig = Rig::start(Box::new(move |request| match request {
        Request::Pull(pull) if pull.offset == Some(QueueOffset(1)) => {
            Some(match count.load(Relaxed) {
                0 => pulled(PullStatus::NotFound, 1, Vec::new()),
                1 => Reply::HangUp,
                _ => Reply::Silence,
            })
        }
        _ => commits_of(request, 1, &count).and_then(|_| answer(Done)),
    }))
    .await;
    let commit_interval = Duration::from_millis(20);
    let options = PushOptions { commit_interval, ..PushOptions::default() };
    let mut consumer = rig.join(options).await;
    consumer.next().await.done();
    waited_for(&commits, 2).await;
    consumer.stop().await;
}

#[tokio::test]
async fn a_member_that_stood_still_goes_on_where_the_group_is() {
    let (beats, commits) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
    let (counted, count) = (Arc::clone(&beats), Arc::clone(&commits));
    let handed_out = Arc::new(AtomicU32::new(0));
    let there = Arc::clone(&handed_out);
    let rig = Rig::start(Box::new(move |request| match request {
        Request::Heartbeat(_) => {
            counted.fetch_add(1, Relaxed);
            None
        }
        // Another member has had the queue.
        Request::QueryConsumerOffset(_) if there.load(Relaxed) > 0 => {
            answer(OffsetAnswer { offset: QueueOffset(40) })
        }
        _ => commits_of(request, 1, &count).and_then(|_| answer(Done)),
    }))
    .await;
    let (absence_max, heartbeat_interval) = (Duration::from_secs(1), Duration::from_millis(100));
    let options = PushOptions { absence_max, heartbeat_interval, ..PushOptions::default() };
    let mut consumer = rig.join(options).await;
    let delivery = consumer.next().await;
    handed_out.store(1, Relaxed);
    // The queue is looked at only every few seconds if nothing happens.
    waited_for(&beats, beats.load(Relaxed) + 13).await;
    delivery.done();
    rig.asked(&[
        "Pull(",
        "topic: \"orders\"",
        "queue_id: QueueId(0)",
        "offset: Some(QueueOffset(40))",
    ])
    .await;
    consumer.stop().await;
    assert_eq!(commits.load(Relaxed), 0, "the other member is further");
}

#[tokio::test]
async fn a_member_that_was_cut_off_commits_nothing_before_it_knows_where_the_group_is() {
    use millrace_protocol::pull_flag::COMMIT_OFFSET;
    // Another member has come further meanwhile, or has not been there.
    for others in [Some(40), None] {
        const WELL: u32 = 0;
        const CUT_OFF: u32 = 1;
        const BACK: u32 = 2;
        let state = Arc::new(AtomicU32::new(WELL));
        let [beats, commits, pulls_of_0] = [(); 3].map(|()| Arc::new(AtomicU32::new(0)));
        let now = Arc::clone(&state);
        let counts = [&beats, &commits, &pulls_of_0].map(Arc::clone);
        let rig = Rig::start(Box::new(move |request| {
            let [beats, commits, pulls_of_0] = &counts;
            let now = now.load(Relaxed);
            if matches!(request, Request::Heartbeat(_)) {
                beats.fetch_add(1, Relaxed);
            }
            match request {
                _ if now == CUT_OFF => return Some(Reply::HangUp),
                Request::QueryConsumerOffset(_) if now == BACK => {
                    return answer(OffsetAnswer { offset: QueueOffset(others.unwrap_or(0)) });
                }
                Request::Pull(pull) if &*pull.topic == "orders" && pull.queue_id == QueueId(0) => {
                    let commits_1 = pull.commit_offset == Some(QueueOffset(1));
                    if now == BACK && commits_1 && pull.sys_flag & COMMIT_OFFSET != 0 {
                        commits.fetch_add(1, Relaxed);
                    }
                    if now == BACK && pull.offset == Some(QueueOffset(0)) {
                        pulls_of_0.fetch_add(1, Relaxed);
                    }
                }
                _ if now == BACK => {
                    commits_of(request, 1, commits);
                }
                _ => {}
            }
            None
        }))
        .await;
        let options = PushOptions {
            absence_max: Duration::from_secs(1),
            heartbeat_interval: Duration::from_millis(100),
            commit_interval: Duration::from_millis(50),
            ..PushOptions::default()
        };
        let mut consumer = rig.join(options).await;
        let mut delivery = Some(consumer.next().await);
        state.store(CUT_OFF, Relaxed);
        if others.is_some() {
            // Not to be committed any more.
            delivery.take().unwrap().done();
        }
        waited_for(&beats, beats.load(Relaxed) + 40).await;
        rig.seen.lock().unwrap().clear();
        state.store(BACK, Relaxed);
        let next = others.unwrap_or(1);
        let offset = format!("offset: Some(QueueOffset({next}))");
        rig.asked(&["Pull(", "topic: \"orders\"", "queue_id: QueueId(0)", &offset]).await;
        if let Some(delivery) = delivery {
            delivery.done();
            waited_for(&commits, 1).await;
        }
        consumer.stop().await;
        let committed = commits.load(Relaxed) > 0;
        assert_eq!(committed, others.is_none(), "the group is at {others:?}");
        assert_eq!(pulls_of_0.load(Relaxed), 0, "nothing comes again");
    }
}

#[tokio::test]
async fn a_member_in_order_that_stood_still_brings_nothing_again_that_is_in_hand() {
    let beats = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&beats);
    let rig = Rig::start(Box::new(move |request| match request {
        Request::Heartbeat(_) => {
            counted.fetch_add(1, Relaxed);
            None
        }
        Request::Lock(lock) => answer(LockedQueues(lock.queues.clone())),
        _ => None,
    }))
    .await;
    let options = PushOptions {
        ordering: Ordering::InOrder,
        absence_max: Duration::from_millis(500),
        heartbeat_interval: Duration::from_millis(100),
        ..PushOptions::default()
    };
    let mut consumer = rig.join(options).await;
    let delivery = consumer.next().await;
    let pulls = |offset: u64| {
        let queue = "topic: \"orders\", queue_id: QueueId(0)";
        let place = format!("{queue}, offset: Some(QueueOffset({offset}))");
        let of_queue = |text: &&String| text.starts_with("Pull(") && text.contains(&place);
        rig.seen.lock().unwrap().iter().filter(of_queue).count()
    };
    let before = [pulls(0), pulls(1)];
    // The queue is looked at once a second if nothing happens.
    waited_for(&beats, beats.load(Relaxed) + 25).await;
    delivery.done();
    let waiting = async {
        while pulls(1) <= before[1] + 1 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), waiting).await.unwrap();
    assert_eq!(pulls(0), before[0]);
    consumer.stop().await;
}

#[tokio::test]
async fn a_consumer_without_a_queue_waits_as_long_as_it_is_told() {
    let rig = Rig::start(Box::new(|_| None)).await;
    let cluster = cluster(&rig.fake.address).await;
    let mut consumer = PullConsumer::new(cluster, group("g"), Filter::All);
    let begun = std::time::Instant::now();
    let wait = Duration::from_millis(50);
    assert!(consumer.poll(wait).await.unwrap().is_empty());
    assert!(begun.elapsed() >= wait);
}

#[tokio::test]
async fn a_broker_that_starts_anew_gets_a_heartbeat_at_once() {
    let beats = AtomicU32::new(0);
    let rig = Rig::start(Box::new(move |request| match request {
        Request::Heartbeat(_) => {
            beats.fetch_add(1, Relaxed);
            None
        }
        Request::Pull(_) if beats.load(Relaxed) < 2 => {
            answer(Refused::new(ResponseCode::SUBSCRIPTION_NOT_EXIST, "who are you?"))
        }
        _ => None,
    }))
    .await;
    let heartbeat_interval = Duration::from_secs(3600);
    let options = PushOptions { heartbeat_interval, ..PushOptions::default() };
    let mut consumer = rig.join(options).await;
    let next = tokio::time::timeout(Duration::from_secs(60), consumer.next()).await;
    next.expect("the broker heard of the member").done();
    consumer.stop().await;
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

#[tokio::test]
async fn queues_are_read_by_choice_and_again() {
    let rig = Rig::start(Box::new(|_| None)).await;
    let cluster = cluster(&rig.fake.address).await;
    let queues = cluster.queues("orders").await.unwrap();
    let mut consumer = PullConsumer::new(cluster, group("g"), Filter::tags("a").unwrap());
    consumer.seek(&queues[0], QueueOffset(0));
    for _ in 0..2 {
        let messages = consumer.poll(Duration::from_secs(60)).await.unwrap();
        assert_eq!(messages[0].body, "hello");
        let positions: Vec<_> = consumer.positions().map(|(_, offset)| offset.0).collect();
        assert_eq!(positions, [1]);
        consumer.seek(&queues[0], QueueOffset(0));
    }
    consumer.leave(&queues[0]);
    assert_eq!(consumer.poll(Duration::ZERO).await.unwrap(), []);
}

#[tokio::test]
async fn a_queue_that_cannot_be_read_is_told_beside_those_that_can() {
    let rig = Rig::start(Box::new(|request| match request {
        Request::Pull(pull) if pull.queue_id == QueueId(1) => {
            answer(Refused::new(ResponseCode::SYSTEM_ERROR, "a bad sector"))
        }
        _ => None,
    }))
    .await;
    let cluster = cluster(&rig.fake.address).await;
    let queues = cluster.queues("orders").await.unwrap();
    let mut consumer = PullConsumer::new(cluster, group("g"), Filter::All);
    for queue in &queues {
        consumer.seek(queue, QueueOffset(0));
    }
    assert_eq!(consumer.poll(Duration::from_secs(60)).await.unwrap().len(), 1);
    let failing = async {
        while consumer.failures().next().is_none() {
            consumer.poll(Duration::from_millis(10)).await.unwrap();
        }
    };
    tokio::time::timeout(Duration::from_secs(60), failing).await.unwrap();
    let failures: Vec<_> = consumer.failures().map(|(queue, _, _)| queue).collect();
    assert_eq!(failures, [&queues[1]]);
}

#[tokio::test]
async fn what_the_broker_passes_over_after_a_message_counts_as_polled() {
    let script = |request: &Request<'_>| match request {
        Request::Pull(pull) if pull.offset == Some(QueueOffset(0)) => {
            Some(pulled(PullStatus::Found, 5, record()))
        }
        _ => None,
    };
    let rig = Rig::start(Box::new(script)).await;
    let cluster = cluster(&rig.fake.address).await;
    let queues = cluster.queues("orders").await.unwrap();
    let mut consumer = PullConsumer::new(cluster, group("g"), Filter::tags("a").unwrap());
    consumer.seek(&queues[0], QueueOffset(0));
    assert_eq!(consumer.poll(Duration::from_secs(60)).await.unwrap().len(), 1);
    // Nobody has to wait for the next pull, which may be held, to know that nothing is left up to 5.
    let positions: Vec<_> = consumer.positions().map(|(_, offset)| offset.0).collect();
    assert_eq!(positions, [5]);
}
