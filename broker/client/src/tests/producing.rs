use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use millrace_protocol::{MessageIds, SendAnswer, SendMessage, SendStatus, batch_items};
use millrace_types::{Properties, QueueId, QueueOffset};
use tokio::task::JoinSet;

use super::*;

/// What a broker saw of a message: its queue, its id, and its body.
type Seen = Arc<Mutex<Vec<(QueueId, String, Vec<u8>)>>>;

/// A broker that does with messages as a test says, and else takes them.
async fn broker(
    seen: &Seen,
    script: impl Fn(&SendMessage<'_>) -> Option<Reply> + Send + Sync + 'static,
) -> Fake {
    let seen = Arc::clone(seen);
    Fake::start(move |request| match request {
        Request::Send(message) => {
            let properties = Properties::new(message.properties.as_bytes());
            let id = properties.get("UNIQ_KEY").unwrap_or_default().to_owned();
            let queue = message.queue_id.unwrap();
            seen.lock().unwrap().push((queue, id, message.body.to_vec()));
            script(message).or_else(|| taken(queue, SendStatus::Ok))
        }
        _ => None,
    })
    .await
}

fn taken(queue_id: QueueId, status: SendStatus) -> Option<Reply> {
    answer(SendAnswer {
        status,
        message_ids: MessageIds::Text("7F00000100002A9F0000000000000007".into()),
        queue_id,
        queue_offset: QueueOffset(40),
        transaction_id: None,
    })
}

fn refuse(code: ResponseCode) -> Option<Reply> {
    answer(Refused::new(code, "not now"))
}

async fn producer(namesrv: &str) -> Producer {
    Producer::new(cluster(namesrv).await, group("p"), ProducerOptions::default())
}

fn message(body: &'static str) -> Message {
    Message::new(topic(), body)
}

#[tokio::test]
async fn messages_go_round_all_queues() {
    let (routes, seen) = (Routes::default(), Seen::default());
    let (a, b) = (broker(&seen, |_| None).await, broker(&seen, |_| None).await);
    routes.put(&[("a", &a.address), ("b", &b.address)]);
    let name_server = name_server(&routes).await;
    let producer = producer(&name_server.address).await;
    let mut places = Vec::new();
    for _ in 0..4 {
        let sent = producer.send(&message("x")).await.unwrap();
        assert_eq!((sent.offset, sent.status), (QueueOffset(40), SendStatus::Ok));
        assert_eq!(sent.offset_id.unwrap().physical_offset.0, 7);
        places.push((sent.queue.broker_name, sent.queue.queue_id.0));
    }
    places.sort();
    let expected = [("a", 0), ("a", 1), ("b", 0), ("b", 1)];
    assert!(places.iter().map(|(name, id)| (name.as_str(), *id)).eq(expected), "{places:?}");
    assert_eq!((a.accepted(), b.accepted(), name_server.accepted()), (1, 1, 1));
}

#[tokio::test]
async fn what_one_broker_does_not_take_another_does() {
    for reply in [
        (|| Some(Reply::HangUp)) as fn() -> Option<Reply>,
        || refuse(ResponseCode::SYSTEM_BUSY),
        || refuse(ResponseCode::SERVICE_NOT_AVAILABLE),
    ] {
        let (routes, seen) = (Routes::default(), Seen::default());
        let bad = broker(&seen, move |_| reply()).await;
        let good = broker(&seen, |_| None).await;
        routes.put(&[("bad", &bad.address), ("good", &good.address)]);
        let name_server = name_server(&routes).await;
        let producer = producer(&name_server.address).await;
        for _ in 0..8 {
            let sent = producer.send(&message("x")).await.unwrap();
            assert_eq!(sent.queue.broker_name, "good");
            let seen = std::mem::take(&mut *seen.lock().unwrap());
            assert!(seen.iter().all(|(_, id, _)| *id == sent.id), "one id in all attempts");
        }
        assert_ne!(bad.accepted(), 0);
    }
}

#[tokio::test]
async fn attempts_are_counted_and_some_refusals_are_final() {
    let (routes, seen) = (Routes::default(), Seen::default());
    let codes = [ResponseCode::SYSTEM_ERROR, ResponseCode::MESSAGE_ILLEGAL];
    let turn = Arc::new(AtomicU32::new(0));
    let now = Arc::clone(&turn);
    let only = broker(&seen, move |_| refuse(codes[now.load(Ordering::Relaxed) as usize])).await;
    routes.put(&[("only", &only.address)]);
    let name_server = name_server(&routes).await;
    let producer = producer(&name_server.address).await;
    for (code, attempts) in codes.iter().zip([3, 1]) {
        let refused = producer.send(&message("x")).await;
        let is_code = |error: &ClientError| matches!(error, ClientError::Refused { refused, .. } if refused.code == *code);
        assert!(refused.as_ref().is_err_and(is_code), "{refused:?}");
        assert_eq!(seen.lock().unwrap().drain(..).count(), attempts, "{code}");
        turn.fetch_add(1, Ordering::Relaxed);
    }
}

#[tokio::test]
async fn a_silent_broker_costs_no_more_than_the_time_given() {
    let (routes, seen) = (Routes::default(), Seen::default());
    let silent = broker(&seen, |_| Some(Reply::Silence)).await;
    routes.put(&[("silent", &silent.address)]);
    let name_server = name_server(&routes).await;
    let producer = producer(&name_server.address).await;
    tokio::time::pause();
    let start = tokio::time::Instant::now();
    let lost = producer.send(&message("x")).await;
    assert!(matches!(lost, Err(ClientError::Unanswered { .. })), "{lost:?}");
    assert!(start.elapsed() < Duration::from_secs(4), "{:?}", start.elapsed());
    assert_eq!(seen.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn a_silent_name_server_costs_all_messages_together_the_time_given() {
    let asked = Arc::new(AtomicU32::new(0));
    let count = Arc::clone(&asked);
    let name_server = Fake::start(move |request| match request {
        Request::Route(route) if route.topic == "orders" => {
            count.fetch_add(1, Ordering::Relaxed);
            Some(Reply::Silence)
        }
        Request::Route(_) => answer(Refused::new(ResponseCode::TOPIC_NOT_EXIST, "no route")),
        _ => None,
    })
    .await;
    let cluster = cluster(&name_server.address).await;
    assert_eq!(cluster.find_route("letters").await.unwrap(), None);
    let producer = Producer::new(cluster, group("p"), ProducerOptions::default());
    let producer = Arc::new(producer);
    tokio::time::pause();
    let start = tokio::time::Instant::now();
    let mut sends = JoinSet::new();
    for _ in 0..8 {
        let producer = Arc::clone(&producer);
        sends.spawn(async move { producer.send(&message("x")).await });
    }
    for lost in sends.join_all().await {
        assert!(matches!(lost, Err(ClientError::Unreachable { .. })), "{lost:?}");
    }
    assert!(start.elapsed() <= Duration::from_secs(3), "{:?}", start.elapsed());
    assert_eq!(asked.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn an_order_is_kept_by_one_queue_and_one_attempt() {
    let (routes, seen) = (Routes::default(), Seen::default());
    let (a, b) = (
        broker(&seen, |_| refuse(ResponseCode::SYSTEM_ERROR)).await,
        broker(&seen, |_| None).await,
    );
    routes.put(&[("a", &a.address), ("b", &b.address)]);
    let name_server = name_server(&routes).await;
    let producer = producer(&name_server.address).await;
    let by_number = |number: usize| move |queues: &[_]| number % queues.len();
    producer.send_by(&message("x"), by_number(0)).await.unwrap_err();
    assert_eq!(seen.lock().unwrap().drain(..).count(), 1);
    for _ in 0..3 {
        let sent = producer.send_by(&message("x"), by_number(7)).await.unwrap();
        assert_eq!((&*sent.queue.broker_name, sent.queue.queue_id.0), ("b", 1));
    }
    let none = producer.send_by(&message("x"), |queues| queues.len()).await;
    assert!(matches!(none, Err(ClientError::Invalid(_))), "{none:?}");
}

#[tokio::test]
async fn a_batch_is_one_request_of_whole_messages() {
    let (routes, seen) = (Routes::default(), Seen::default());
    let only = broker(&seen, |message| {
        assert!(message.batch);
        None
    })
    .await;
    routes.put(&[("only", &only.address)]);
    let name_server = name_server(&routes).await;
    let producer = producer(&name_server.address).await;
    let messages = [message("one").tag("a"), message("two")];
    let sent = producer.send_batch(&messages).await.unwrap();
    assert_eq!(sent.iter().map(|sent| sent.offset.0).collect::<Vec<_>>(), [40, 41]);
    let seen = std::mem::take(&mut *seen.lock().unwrap());
    let [(_, _, body)] = &*seen else { panic!("{seen:?}") };
    let items: Vec<_> = batch_items(body).map(Result::unwrap).collect();
    for (item, (sent, message)) in items.iter().zip(sent.iter().zip(&messages)) {
        assert_eq!(item.body, message.body);
        assert_eq!(Properties::new(item.properties).get("UNIQ_KEY"), Some(&*sent.id));
    }
    let other = Message::new(TopicName::parse("letters").unwrap(), "x");
    for wrong in [vec![], vec![message("x"), other], vec![message("x").delay_level(1)]] {
        let refused = producer.send_batch(&wrong).await;
        assert!(matches!(refused, Err(ClientError::Invalid(_))), "{refused:?}");
    }
}

#[tokio::test]
async fn many_sends_are_on_their_way_at_once() {
    let (routes, seen) = (Routes::default(), Seen::default());
    let only = broker(&seen, |_| None).await;
    routes.put(&[("only", &only.address)]);
    let name_server = name_server(&routes).await;
    let producer = Arc::new(producer(&name_server.address).await);
    let mut sends = JoinSet::new();
    for _ in 0..100 {
        let producer = Arc::clone(&producer);
        sends.spawn(async move { producer.send(&message("x")).await.unwrap().id });
    }
    let mut ids = sends.join_all().await;
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 100);
    assert_eq!((only.accepted(), name_server.accepted()), (1, 1));
}

#[tokio::test]
async fn a_large_body_is_compressed_if_that_is_wanted() {
    let (routes, seen) = (Routes::default(), Seen::default());
    let flags = Arc::new(Mutex::new(Vec::new()));
    let put = Arc::clone(&flags);
    let only = broker(&seen, move |message| {
        put.lock().unwrap().push(message.sys_flag);
        taken(QueueId(0), SendStatus::FlushDiskTimeout)
    })
    .await;
    routes.put(&[("only", &only.address)]);
    let name_server = name_server(&routes).await;
    let options = ProducerOptions { compress_from: Some(4096), ..ProducerOptions::default() };
    let producer = Producer::new(cluster(&name_server.address).await, group("p"), options);
    for len in [4095, 4096] {
        let sent = producer.send(&Message::new(topic(), vec![b'x'; len])).await.unwrap();
        assert_eq!(sent.status, SendStatus::FlushDiskTimeout);
    }
    assert_eq!(*flags.lock().unwrap(), [0, 0x301]);
    let lens: Vec<_> = seen.lock().unwrap().iter().map(|(_, _, body)| body.len()).collect();
    assert!(lens[0] == 4095 && lens[1] < 100, "{lens:?}");
    let large = producer.send(&Message::new(topic(), vec![0; (4 << 20) + 1])).await;
    assert!(matches!(large, Err(ClientError::Invalid(_))));
}
