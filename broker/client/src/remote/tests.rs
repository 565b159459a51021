use std::borrow::Cow;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use bytes::Bytes;
use millrace_protocol::{Answer, FrameWriter, Head, HeaderKind, Refused, Request, ResponseCode};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::*;
use crate::fake::{Fake, Reply, answer};
use crate::{Fence, Outgoing, Wait};

fn topic(name: &str) -> TopicName {
    TopicName::parse(name).unwrap()
}

fn group() -> GroupName {
    GroupName::parse("lake").unwrap()
}

fn message(name: &str, queue: u32, body: impl Into<Bytes>) -> Outgoing {
    Outgoing {
        topic: topic(name),
        queue: QueueId(queue),
        body: body.into(),
        properties: Bytes::from_static(b"K\x01v\x02"),
        born_at_ms: 17,
    }
}

fn one_message() -> Append {
    Append { messages: [message("orders", 0, "x")].into(), fence: None, wait: Wait::Policy }
}

fn pull() -> PullRequest {
    PullRequest {
        topic: topic("orders"),
        queue: QueueId(2),
        from: QueueOffset(5),
        bytes_max: 1 << 20,
        wait: Duration::ZERO,
    }
}

async fn connect(namesrv: &str) -> Result<RemoteBroker, BrokerError> {
    RemoteBroker::connect(namesrv, RemoteOptions::default()).await
}

/// An answer that says yes to whatever it is given for.
fn yes(request: &Request<'_>) -> Option<Reply> {
    match request {
        Request::AppendGroup(group) => answer(wire::Appended(Cow::Owned(
            (0..group.len() as u64).map(|n| QueueOffset(100 + n)).collect(),
        ))),
        Request::EnsureTopic(_) => answer(TopicAnswer { queues: 8 }),
        Request::UpdateConsumerOffset(_) => answer(Done),
        Request::QueryConsumerOffset(_) => answer(OffsetAnswer { offset: QueueOffset(4) }),
        Request::PullStored(_) => answer(Stored(b"records")),
        _ => None,
    }
}

/// The answer to a pull, with these bytes as records.
struct Stored(&'static [u8]);

impl Answer for Stored {
    fn write(&self, kind: HeaderKind, opaque: i32, out: &mut Vec<u8>) {
        let head = StoredAnswer {
            next: QueueOffset(7),
            min: QueueOffset(1),
            max: QueueOffset(9),
            visible_end: QueueOffset(8),
        };
        wire::write_stored_head(&head, kind, opaque, self.0.len(), out);
        out.extend_from_slice(self.0);
    }
}

/// An answer whose body is not that of any.
struct Garbage;

impl Answer for Garbage {
    fn write(&self, kind: HeaderKind, opaque: i32, out: &mut Vec<u8>) {
        let head = Head::answer(kind, ResponseCode::SUCCESS.0, opaque, "");
        let mut frame = FrameWriter::begin(out, &head, |_| {});
        frame.out().extend_from_slice(b"??");
        frame.finish();
    }
}

#[tokio::test]
async fn every_call_says_what_it_was_asked_and_gives_what_was_answered() {
    let requests = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&requests);
    let fake = Fake::start(move |request| {
        seen.lock().unwrap().push(format!("{request:?}"));
        yes(request)
    })
    .await;
    let broker = connect(&fake.address).await.unwrap();
    assert_eq!(&*broker.name(), "b");
    requests.lock().unwrap().clear();
    let asked = |part: &str| {
        let last = requests.lock().unwrap().pop().unwrap();
        assert!(last.contains(part), "{part} in {last}");
    };
    let (orders, queue) = (topic("orders"), QueueId(2));

    assert_eq!(broker.ensure_topic(&orders, 6).await.unwrap(), 8);
    asked("EnsureTopic(EnsureTopic { topic: \"orders\", queues: 6 })");
    let bounds = broker.bounds(&orders, queue).await.unwrap();
    // What readers may not see yet counts, unlike in a pull.
    assert_eq!(bounds, (QueueOffset(1), QueueOffset(9)));
    asked("queue_id: QueueId(2), offset: QueueOffset(18446744073709551615)");
    broker.commit_offset(&group(), &orders, queue, QueueOffset(6)).await.unwrap();
    asked("group: \"lake\", topic: \"orders\", queue_id: QueueId(2), offset: QueueOffset(6)");
    let offset = broker.group_offset(&group(), &orders, queue).await.unwrap();
    assert_eq!(offset, Some(QueueOffset(4)));
    asked("queue_id: QueueId(2), zero_if_not_found: Some(false)");
    let pulled = broker.pull(PullRequest { wait: Duration::from_millis(70), ..pull() }).await;
    let pulled = pulled.unwrap();
    assert_eq!(pulled.runs, [Bytes::from_static(b"records")]);
    assert_eq!((pulled.next, pulled.min), (QueueOffset(7), QueueOffset(1)));
    assert_eq!(pulled.max, QueueOffset(8));
    asked("queue_id: QueueId(2), offset: QueueOffset(5), bytes_max: 1048576, wait_ms: 70");
}

#[tokio::test]
async fn a_group_arrives_as_it_was_given() {
    let fake = Fake::start(|request| {
        if let Request::AppendGroup(group) = request {
            assert_eq!(group.wait, wire::AppendWait::Durable);
            let fence = group.fence.as_ref().unwrap();
            assert_eq!((&*fence.topic, fence.queue_id, fence.epoch), ("ledger", QueueId(3), 9));
            let messages: Vec<_> = group.messages().collect();
            let places = messages.iter().map(|m| (m.topic, m.queue_id.0, m.body));
            let expected: [(&str, u32, &[u8]); 3] =
                [("orders", 1, b"a"), ("orders", 2, b""), ("ledger", 3, b"c")];
            assert!(places.eq(expected));
            let ours = |m: &wire::GroupMessage<'_>| {
                m.properties == b"K\x01v\x02" && m.born_at_ms == 17 && m.flag == 0
            };
            assert!(messages.iter().all(ours));
        }
        yes(request)
    })
    .await;
    let broker = connect(&fake.address).await.unwrap();
    let appended = broker
        .append(Append {
            messages: [
                message("orders", 1, "a"),
                message("orders", 2, ""),
                message("ledger", 3, "c"),
            ]
            .into(),
            fence: Some(Fence { topic: topic("ledger"), queue: QueueId(3), epoch: 9 }),
            wait: Wait::Durable,
        })
        .await;
    let expected = [100, 101, 102].map(QueueOffset);
    assert_eq!(appended.unwrap().offsets, expected);
}

#[tokio::test]
async fn refusals_come_through() {
    let fake = Fake::start(|request| match request {
        Request::AppendGroup(_) => answer(wire::Fenced { epoch: 12 }),
        Request::PullStored(pull) if pull.offset == QueueOffset(u64::MAX) => {
            answer(Refused::new(ResponseCode::TOPIC_NOT_EXIST, ""))
        }
        Request::PullStored(_) => answer(Refused::new(ResponseCode::MR_UNREADABLE, "damaged")),
        Request::QueryConsumerOffset(_) => answer(Refused::new(ResponseCode::QUERY_NOT_FOUND, "")),
        Request::EnsureTopic(_) => answer(Refused::new(ResponseCode::MR_DISK_FULL, "no room")),
        _ => None,
    })
    .await;
    let broker = connect(&fake.address).await.unwrap();
    let (orders, queue) = (topic("orders"), QueueId(0));
    let fenced = broker.append(one_message()).await;
    assert!(matches!(fenced, Err(BrokerError::Fenced { current: 12 })), "{fenced:?}");
    let unreadable = broker.pull(pull()).await;
    assert!(matches!(unreadable, Err(BrokerError::Unreadable(why)) if why == "damaged"));
    assert_eq!(broker.group_offset(&group(), &orders, queue).await.unwrap(), None);
    let full = broker.ensure_topic(&orders, 1).await;
    assert!(matches!(full, Err(BrokerError::DiskFull(why)) if why == "no room"));
    let missing = broker.bounds(&orders, queue).await;
    assert!(matches!(missing, Err(BrokerError::NoSuchQueue { topic, .. }) if topic == orders));
    // None of it cost the connection.
    assert_eq!(fake.accepted(), 3, "two connections, and one to look them up");
}

#[tokio::test]
async fn a_request_that_was_read_and_not_answered_may_have_been_carried_out() {
    let fake = Fake::start(|request| match request {
        Request::AppendGroup(_) | Request::PullStored(_) | Request::EnsureTopic(_) => {
            Some(Reply::HangUp)
        }
        _ => None,
    })
    .await;
    let broker = connect(&fake.address).await.unwrap();
    let append = broker.append(one_message()).await;
    assert!(matches!(append, Err(BrokerError::OutcomeUnknown(_))), "{append:?}");
    // Whoever reads may simply read again.
    let pulled = broker.pull(pull()).await;
    assert!(matches!(pulled, Err(BrokerError::Unreachable { .. })), "{pulled:?}");
    let ensured = broker.ensure_topic(&topic("orders"), 1).await;
    assert!(matches!(ensured, Err(BrokerError::Unreachable { .. })), "{ensured:?}");
}

#[tokio::test]
async fn a_request_that_could_not_be_sent_was_not_carried_out() {
    let fake = Fake::start(|request| match request {
        Request::EnsureTopic(_) => Some(Reply::HangUp),
        _ => None,
    })
    .await;
    let (address, broker) = (fake.address.clone(), connect(&fake.address).await.unwrap());
    broker.ensure_topic(&topic("orders"), 1).await.unwrap_err();
    fake.stop().await;
    match broker.append(one_message()).await {
        Err(BrokerError::Unreachable { address: at, .. }) => assert_eq!(at, address),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn an_append_that_waited_for_its_turn_is_sent_over_the_next_connection() {
    const AT_ONCE: u32 = 1024;
    let count = AtomicU32::new(0);
    let fake = Fake::start(move |request| match request {
        Request::AppendGroup(_) => match count.fetch_add(1, Ordering::Relaxed) + 1 {
            n if n < AT_ONCE => Some(Reply::Silence),
            AT_ONCE => Some(Reply::HangUp),
            _ => yes(request),
        },
        _ => None,
    })
    .await;
    let broker = Arc::new(connect(&fake.address).await.unwrap());
    let mut appends = JoinSet::new();
    for _ in 0..=AT_ONCE {
        let broker = Arc::clone(&broker);
        appends.spawn(async move { broker.append(one_message()).await });
    }
    let outcomes = appends.join_all().await;
    let unknown = |o: &&Result<_, _>| matches!(o, Err(BrokerError::OutcomeUnknown(_)));
    assert_eq!(outcomes.iter().filter(unknown).count(), AT_ONCE as usize);
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1);
}

#[tokio::test]
async fn endless_timeouts_are_fine() {
    let fake = Fake::start(yes).await;
    let options = RemoteOptions {
        connect_timeout: Duration::MAX,
        request_timeout: Duration::MAX,
        ..RemoteOptions::default()
    };
    let broker = RemoteBroker::connect(&fake.address, options).await.unwrap();
    broker.pull(PullRequest { wait: Duration::MAX, ..pull() }).await.unwrap();
}

#[tokio::test]
async fn nobody_who_listens_is_unreachable() {
    let gone = Fake::start(|_| None).await;
    let address = gone.address.clone();
    gone.stop().await;
    let unreachable = connect(&address).await;
    assert!(matches!(unreachable, Err(BrokerError::Unreachable { .. })), "{unreachable:?}");
    // A name server that still tells of a broker that is gone.
    let fake = Fake::start(|_| None).await;
    fake.put_brokers(&[("b", &address)]);
    match connect(&fake.address).await {
        Err(BrokerError::Unreachable { address: at, .. }) => assert_eq!(at, address),
        other => panic!("{other:?}"),
    }
    fake.put_brokers(&[]);
    let none = connect(&fake.address).await;
    assert!(matches!(none, Err(BrokerError::Unreachable { .. })), "{none:?}");
}

#[tokio::test]
async fn a_broker_that_is_not_millrace_is_refused() {
    let not_supported = || Refused::new(ResponseCode::REQUEST_CODE_NOT_SUPPORTED, "request type");
    let apache = Fake::start(move |request| match request {
        Request::Hello(_) => answer(not_supported()),
        _ => None,
    })
    .await;
    match connect(&apache.address).await {
        Err(BrokerError::Refused(why)) => {
            assert!(why.contains("Apache RocketMQ are not supported yet"), "{why}");
            assert!(why.contains("3 REQUEST_CODE_NOT_SUPPORTED"), "{why}");
        }
        other => panic!("{other:?}"),
    }
    let stranger = Fake::start(|request| match request {
        Request::Hello(_) => answer(wire::HelloAnswer {
            product: "Other".into(),
            version: "1".into(),
            broker: "".into(),
        }),
        _ => None,
    })
    .await;
    match connect(&stranger.address).await {
        Err(BrokerError::Refused(why)) => assert!(why.contains("`Other`"), "{why}"),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn the_address_of_a_broker_is_not_that_of_a_name_server() {
    let broker_only = Fake::start(|request| match request {
        Request::ClusterInfo => {
            answer(Refused::new(ResponseCode::REQUEST_CODE_NOT_SUPPORTED, "request type"))
        }
        _ => None,
    })
    .await;
    match connect(&broker_only.address).await {
        Err(BrokerError::Refused(why)) => assert!(why.contains("name server"), "{why}"),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn any_name_server_that_answers_will_do() {
    let gone = Fake::start(|_| None).await;
    let nobody = gone.address.clone();
    gone.stop().await;
    let hangs_up = Fake::start(|_| Some(Reply::HangUp)).await;
    let http = Fake::start(|_| Some(Reply::Bytes(b"HTTP/1.1 400 Bad Request\r\n".into()))).await;
    let good = Fake::start(yes).await;
    let all = format!("{nobody}; {};{};{}", hangs_up.address, http.address, good.address);
    let broker = connect(&all).await.unwrap();
    broker.append(one_message()).await.unwrap();
    // The one that answered is asked first from now on.
    broker.pull(pull()).await.unwrap();
    assert_eq!((hangs_up.accepted(), http.accepted()), (1, 1));
}

#[tokio::test]
async fn name_servers_are_addresses() {
    for bad in ["", " ; ", "localhost", "host:", ":9876", "host:99999", "a:1;b"] {
        let refused = connect(bad).await;
        assert!(matches!(refused, Err(BrokerError::Refused(_))), "{bad:?}: {refused:?}");
    }
}

#[tokio::test]
async fn of_several_brokers_one_must_be_named() {
    let fake = Fake::start(yes).await;
    fake.put_brokers(&[("a", "127.0.0.1:1"), ("b", &fake.address)]);
    match connect(&fake.address).await {
        Err(BrokerError::Refused(why)) => assert!(why.contains("a, b"), "{why}"),
        other => panic!("{other:?}"),
    }
    let named = |name: &str| RemoteOptions { broker: Some(name.into()), ..Default::default() };
    let broker = RemoteBroker::connect(&fake.address, named("b")).await.unwrap();
    broker.append(one_message()).await.unwrap();
    let unknown = RemoteBroker::connect(&fake.address, named("c")).await;
    assert!(matches!(unknown, Err(BrokerError::Unreachable { .. })), "{unknown:?}");
}

#[tokio::test]
async fn a_broker_that_came_back_elsewhere_is_found() {
    let name_server = Fake::start(|_| None).await;
    let before = Fake::start(|request| match request {
        Request::AppendGroup(_) => Some(Reply::HangUp),
        other => yes(other),
    })
    .await;
    name_server.put_brokers(&[("b", &before.address)]);
    let broker = connect(&name_server.address).await.unwrap();
    broker.pull(pull()).await.unwrap();
    broker.append(one_message()).await.unwrap_err();
    before.stop().await;

    let after = Fake::start(yes).await;
    name_server.put_brokers(&[("b", &after.address)]);
    broker.append(one_message()).await.unwrap();
    // The other connection may learn of its end by a call that fails.
    if broker.pull(pull()).await.is_err() {
        broker.pull(pull()).await.unwrap();
    }
    assert_eq!(after.accepted(), 2);

    // Another broker is not taken for this one, even if it is the only one left.
    after.stop().await;
    let other = Fake::start(yes).await;
    name_server.put_brokers(&[("other", &other.address)]);
    let _ = broker.append(one_message()).await.unwrap_err();
    let lost = broker.append(one_message()).await;
    assert!(matches!(lost, Err(BrokerError::Unreachable { .. })), "{lost:?}");
    assert_eq!(other.accepted(), 0);
}

#[tokio::test]
async fn an_answer_that_makes_no_sense_is_no_answer() {
    let fake = Fake::start(|request| match request {
        Request::AppendGroup(group) if group.len() == 2 => {
            answer(wire::Appended(Cow::Owned(vec![QueueOffset(1)])))
        }
        Request::EnsureTopic(_) => answer(TopicAnswer { queues: -1 }),
        Request::Hello(_) | Request::ClusterInfo => None,
        _ => answer(Garbage),
    })
    .await;
    let broker = connect(&fake.address).await.unwrap();
    let mut append = one_message();
    let unknown = broker.append(append.clone()).await;
    assert!(matches!(unknown, Err(BrokerError::OutcomeUnknown(_))), "{unknown:?}");
    append.messages = [message("orders", 0, "x"), message("orders", 1, "y")].into();
    let unknown = broker.append(append).await;
    assert!(matches!(unknown, Err(BrokerError::OutcomeUnknown(_))), "{unknown:?}");
    let refused = broker.pull(pull()).await.map(drop);
    assert!(matches!(refused, Err(BrokerError::Refused(_))), "{refused:?}");
    let refused = broker.bounds(&topic("orders"), QueueId(0)).await.map(drop);
    assert!(matches!(refused, Err(BrokerError::Refused(_))), "{refused:?}");
    let refused = broker.ensure_topic(&topic("orders"), 1).await.map(drop);
    assert!(matches!(refused, Err(BrokerError::Refused(_))), "{refused:?}");
}

#[tokio::test]
async fn bytes_that_are_no_answer_cost_the_connection_and_no_more() {
    let garbage = Arc::new(AtomicBool::new(true));
    let once = Arc::clone(&garbage);
    let fake = Fake::start(move |request| match request {
        Request::AppendGroup(_) if once.swap(false, Ordering::Relaxed) => {
            Some(Reply::Bytes(vec![0xff; 64]))
        }
        other => yes(other),
    })
    .await;
    let broker = connect(&fake.address).await.unwrap();
    let unknown = broker.append(one_message()).await;
    assert!(matches!(unknown, Err(BrokerError::OutcomeUnknown(_))), "{unknown:?}");
    broker.append(one_message()).await.unwrap();
}

#[tokio::test]
async fn a_group_that_no_request_holds_is_refused_here() {
    let fake = Fake::start(yes).await;
    let broker = connect(&fake.address).await.unwrap();
    let of = |messages| Append { messages, ..one_message() };
    let body = Bytes::from(vec![0; 1 << 20]);
    let large = |count| (0..count).map(|n| message("orders", n, body.clone())).collect();
    broker.append(of(large(15))).await.unwrap();
    match broker.append(of(large(16))).await {
        Err(BrokerError::Refused(why)) => assert!(why.contains("16 messages"), "{why}"),
        other => panic!("{other:?}"),
    }
    // What the messages weigh without their payload counts too.
    let small = (0..600_000).map(|n| message("orders", n % 4, "")).collect();
    let refused = broker.append(of(small)).await;
    assert!(matches!(refused, Err(BrokerError::Refused(_))), "{refused:?}");
    let mut wordy = message("orders", 0, "");
    wordy.properties = vec![b'x'; 70_000].into();
    match broker.append(of([wordy].into())).await {
        Err(BrokerError::Refused(why)) => assert!(why.contains("70000"), "{why}"),
        other => panic!("{other:?}"),
    }
    assert_eq!(fake.accepted(), 2, "none of it cost the connection");
}

#[tokio::test]
async fn a_broker_that_does_not_answer_in_time_is_left() {
    let silent = Arc::new(AtomicBool::new(true));
    let once = Arc::clone(&silent);
    let fake = Fake::start(move |request| match request {
        Request::AppendGroup(_) if once.load(Ordering::Relaxed) => Some(Reply::Silence),
        other => yes(other),
    })
    .await;
    let broker = connect(&fake.address).await.unwrap();
    tokio::time::pause();
    let unknown = broker.append(one_message()).await;
    assert!(matches!(unknown, Err(BrokerError::OutcomeUnknown(_))), "{unknown:?}");
    tokio::time::resume();
    silent.store(false, Ordering::Relaxed);
    broker.append(one_message()).await.unwrap();
    assert_eq!(fake.accepted(), 3, "two connections, one after the other, and one to look them up");
}

#[tokio::test]
async fn a_held_pull_holds_nothing_else() {
    let fake = Fake::start(|request| match request {
        Request::PullStored(_) => Some(Reply::Silence),
        other => yes(other),
    })
    .await;
    let broker = connect(&fake.address).await.unwrap();
    let held = broker.pull(PullRequest { wait: Duration::from_secs(3600), ..pull() });
    tokio::select! {
        biased;
        answered = held => panic!("{answered:?}"),
        appended = broker.append(one_message()) => appended.unwrap(),
    };
}

#[tokio::test]
async fn a_pull_waits_for_its_answer_longer_than_for_messages() {
    let fake = Fake::start(|request| match request {
        Request::PullStored(pull) if pull.wait_ms > 0 => {
            assert_eq!(pull.wait_ms, 60_000);
            Some(Reply::Silence)
        }
        other => yes(other),
    })
    .await;
    let broker = connect(&fake.address).await.unwrap();
    broker.pull(pull()).await.unwrap();
    tokio::time::pause();
    let start = Instant::now();
    let lost = broker.pull(PullRequest { wait: Duration::from_secs(3600), ..pull() }).await;
    assert!(matches!(lost, Err(BrokerError::Unreachable { .. })), "{lost:?}");
    assert!(start.elapsed() >= Duration::from_secs(70), "{:?}", start.elapsed());
}

#[tokio::test]
async fn one_attempt_to_connect_serves_all_who_wait_for_it() {
    let silent = Arc::new(AtomicBool::new(false));
    let asked = Arc::new(AtomicU32::new(0));
    let (switch, count) = (Arc::clone(&silent), Arc::clone(&asked));
    let fake = Fake::start(move |request| match request {
        Request::ClusterInfo => {
            count.fetch_add(1, Ordering::Relaxed);
            switch.load(Ordering::Relaxed).then_some(Reply::HangUp)
        }
        Request::EnsureTopic(_) => Some(Reply::HangUp),
        other => yes(other),
    })
    .await;
    let broker = connect(&fake.address).await.unwrap();
    broker.ensure_topic(&topic("orders"), 1).await.unwrap_err();
    silent.store(true, Ordering::Relaxed);
    let one = || async {
        matches!(broker.append(one_message()).await, Err(BrokerError::Unreachable { .. }))
    };
    assert_eq!(tokio::join!(one(), one(), one()), (true, true, true));
    // Of these once over the connection of before, which may have been an idle one.
    assert_eq!(asked.load(Ordering::Relaxed), 3, "once at first, and twice for all three");
    // Whoever comes later tries again.
    silent.store(false, Ordering::Relaxed);
    broker.append(one_message()).await.unwrap();
}

#[tokio::test]
async fn a_call_given_up_while_it_connects_leaves_no_trace() {
    let silent = Arc::new(AtomicBool::new(false));
    let switch = Arc::clone(&silent);
    let fake = Fake::start(move |request| match request {
        Request::Hello(_) if switch.load(Ordering::Relaxed) => Some(Reply::Silence),
        other => yes(other),
    })
    .await;
    let broker = connect(&fake.address).await.unwrap();
    silent.store(true, Ordering::Relaxed);
    tokio::time::pause();
    let given_up = tokio::time::timeout(Duration::from_millis(1), broker.pull(pull())).await;
    assert!(given_up.is_err());
    tokio::time::resume();
    silent.store(false, Ordering::Relaxed);
    broker.pull(pull()).await.unwrap();
}

#[tokio::test]
async fn finding_a_broker_takes_no_longer_than_it_may() {
    let silent = Fake::start(|_| Some(Reply::Silence)).await;
    tokio::time::pause();
    let start = Instant::now();
    let lost = connect(&format!("{0};{0};{0}", silent.address)).await;
    assert!(matches!(lost, Err(BrokerError::Unreachable { .. })), "{lost:?}");
    assert!(start.elapsed() <= Duration::from_secs(3), "{:?}", start.elapsed());
}

#[tokio::test]
async fn a_closed_broker_connects_again_when_it_is_needed() {
    let fake = Fake::start(yes).await;
    let broker = connect(&fake.address).await.unwrap();
    broker.pull(pull()).await.unwrap();
    broker.close().await;
    broker.append(one_message()).await.unwrap();
}
