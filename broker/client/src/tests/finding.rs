use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use millrace_types::QueueOffset;

use super::*;
use crate::Admin;

async fn brokers_of_orders(cluster: &Cluster) -> Vec<String> {
    let route = cluster.route("orders").await.unwrap();
    route.brokers.iter().map(|broker| broker.broker_name.clone()).collect()
}

#[tokio::test]
async fn the_next_name_server_is_asked_and_then_stayed_with() {
    let routes = Routes::default();
    routes.put(&[("a", "127.0.0.1:1")]);
    let silent = Fake::start(|_| Some(Reply::HangUp)).await;
    let answering = name_server(&routes).await;
    let options = ClusterOptions { route_age_max: Duration::ZERO, ..ClusterOptions::default() };
    let both = format!("{};{}", silent.address, answering.address);
    let cluster = Cluster::new(&both, options).await.unwrap();
    assert_eq!(brokers_of_orders(&cluster).await, ["a"]);
    routes.put(&[("a", "127.0.0.1:1"), ("b", "127.0.0.1:2")]);
    assert_eq!(brokers_of_orders(&cluster).await, ["a", "b"]);
    assert_eq!((silent.accepted(), answering.accepted()), (1, 1));
}

#[tokio::test]
async fn what_was_known_holds_while_no_name_server_answers() {
    let routes = Routes::default();
    routes.put(&[("a", "127.0.0.1:1")]);
    let name_server = name_server(&routes).await;
    let options = ClusterOptions { route_age_max: Duration::ZERO, ..ClusterOptions::default() };
    let cluster = Cluster::new(&name_server.address, options).await.unwrap();
    assert_eq!(brokers_of_orders(&cluster).await, ["a"]);
    name_server.stop().await;
    assert_eq!(brokers_of_orders(&cluster).await, ["a"]);
    // Nothing is known of this one.
    let lost = cluster.route("letters").await;
    assert!(matches!(lost, Err(ClientError::Unreachable { .. })), "{lost:?}");
}

#[tokio::test]
async fn what_was_known_holds_while_a_name_server_knows_nothing_yet() {
    let (routes, starting) = (Routes::default(), Arc::new(AtomicBool::new(false)));
    routes.put(&[("a", "127.0.0.1:1")]);
    let (known, is_starting) = (routes.clone(), Arc::clone(&starting));
    let name_server = Fake::start(move |request| match request {
        Request::Route(_) if is_starting.load(Relaxed) => {
            answer(Refused::new(ResponseCode::TOPIC_NOT_EXIST, "no route"))
        }
        _ => known.reply(request),
    })
    .await;
    let options = ClusterOptions { route_age_max: Duration::ZERO, ..ClusterOptions::default() };
    let cluster = Cluster::new(&name_server.address, options).await.unwrap();
    assert_eq!(brokers_of_orders(&cluster).await, ["a"]);
    starting.store(true, Relaxed);
    assert_eq!(brokers_of_orders(&cluster).await, ["a"]);
    // Whoever deletes a topic forgets it.
    cluster.forget_route("orders");
    assert_eq!(cluster.find_route("orders").await.unwrap(), None);
}

#[tokio::test]
async fn a_topic_is_forgotten_that_neither_its_broker_nor_a_name_server_has() {
    for by_pull in [true, false] {
        let [silent, gone] = [(); 2].map(|()| Arc::new(AtomicBool::new(false)));
        let asked_in_silence = Arc::new(AtomicBool::new(false));
        let (is_silent, is_gone) = (Arc::clone(&silent), Arc::clone(&gone));
        let asked_then = Arc::clone(&asked_in_silence);
        let routes = Routes::default();
        let known = routes.clone();
        let name_server_and_broker = Fake::start(move |request| match request {
            Request::Route(_) if is_silent.load(Relaxed) => {
                asked_then.store(true, Relaxed);
                Some(Reply::HangUp)
            }
            Request::Route(_) if !is_gone.load(Relaxed) => known.reply(request),
            _ => answer(Refused::new(ResponseCode::TOPIC_NOT_EXIST, "no such topic")),
        })
        .await;
        routes.put(&[("a", &name_server_and_broker.address)]);
        let cluster = cluster(&name_server_and_broker.address).await;
        let queue = cluster.queues("orders").await.unwrap().remove(0);
        let producer = Producer::new(Arc::clone(&cluster), group("g"), ProducerOptions::default());
        let message = Message::new(topic(), "hello");
        let asked = async || match by_pull {
            true => cluster.read(&queue, QueueOffset(0), 1).await.map(drop),
            false => producer.send(&message).await.map(drop),
        };
        let is_refused = async || matches!(asked().await, Err(ClientError::Refused { .. }));
        // The name server is asked once a second.
        let meanwhile = async {
            // The broker may have lost it, and another one may have it.
            silent.store(true, Relaxed);
            while !asked_in_silence.load(Relaxed) {
                assert!(is_refused().await);
            }
            assert!(is_refused().await);
            silent.store(false, Relaxed);
            gone.store(true, Relaxed);
            while is_refused().await {}
        };
        tokio::time::timeout(Duration::from_secs(60), meanwhile).await.unwrap();
        assert!(matches!(asked().await, Err(ClientError::NoRoute(_))));
        assert_eq!(cluster.find_route("orders").await.unwrap(), None);
    }
}

#[tokio::test]
async fn a_topic_that_nobody_knows_is_told_from_silence() {
    let name_server = name_server(&Routes::default()).await;
    let cluster = cluster(&name_server.address).await;
    assert_eq!(cluster.find_route("letters").await.unwrap(), None);
    let missing = cluster.route("letters").await;
    assert!(matches!(missing, Err(ClientError::NoRoute(topic)) if topic == "letters"));
}

#[tokio::test]
async fn a_name_server_is_an_address() {
    for wrong in ["", "localhost", "a:b"] {
        let refused = Cluster::new(wrong, ClusterOptions::default()).await;
        assert!(matches!(refused, Err(ClientError::Invalid(_))), "{wrong}");
    }
}

#[tokio::test]
async fn all_name_servers_hear_of_a_topic_that_is_gone() {
    let told = Arc::new(Mutex::new(Vec::new()));
    let keep = Arc::clone(&told);
    let living = Fake::start(move |request| {
        keep.lock().unwrap().push(format!("{request:?}"));
        answer(millrace_protocol::Done)
    })
    .await;
    // The one that is asked first does not answer.
    let both = format!("127.0.0.1:1;{}", living.address);
    let removed = Admin::new(cluster(&both).await).delete_topic("orders", &[]).await;
    assert!(matches!(removed, Err(ClientError::Unreachable { .. })), "{removed:?}");
    let told = told.lock().unwrap();
    assert!(
        told.iter().any(|request| request.contains("DropTopic") || request.contains("216")),
        "{told:?}"
    );
}
