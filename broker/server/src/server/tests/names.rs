use std::collections::BTreeMap;

use millrace_protocol::{
    BrokerIdentity, ClusterInfo, Compression, CreateTopic, DataVersion, EnsureTopic,
    RegisterBroker, RegisteredTopics, RequestCode, ResponseCode, TopicConfig, TopicNames,
    TopicRoute, UnregisterBroker,
};

use super::admin::{Tool, body};
use super::peer::{Bare, Received, message};
use super::*;

fn namesrv_alone() -> ServerConfig {
    ServerConfig { broker_listen: None, broker_name: "names".into(), ..config() }
}

fn broker_alone(name_servers: &[&Server]) -> ServerConfig {
    let names = name_servers.iter().map(|server| server.addresses().namesrv.unwrap().to_string());
    ServerConfig { namesrv_listen: None, name_servers: names.collect(), ..config() }
}

fn identity(name: &str) -> BrokerIdentity<'_> {
    BrokerIdentity {
        broker_name: name.into(),
        address: "10.0.0.1:10911".into(),
        cluster: "C1".into(),
        broker_id: 0,
    }
}

fn topics(names: &[&str]) -> RegisteredTopics {
    let topic = |name: &&str| TopicConfig {
        topic: (*name).to_owned(),
        read_queues: 4,
        write_queues: 4,
        permission: 6,
        ..TopicConfig::default()
    };
    let version = DataVersion { counter: 1, state: 0, timestamp: 1 };
    RegisteredTopics { version, topics: names.iter().map(topic).collect() }
}

fn registration<'a>(name: &'a str, names: &[&str]) -> RegisterBroker<'a> {
    RegisterBroker::new(identity(name), "10.0.0.1:10912", &topics(names), Compression::Zlib)
}

fn route_of(peer: &mut Peer, topic: &str) -> Option<TopicRoute> {
    let fields = [("topic", topic)];
    let answer = peer.call(&Tool(RequestCode::GET_ROUTEINFO_BY_TOPIC, &fields, ""));
    let found = answer.code() == ResponseCode::SUCCESS;
    found.then(|| TopicRoute::decode(answer.body()).unwrap())
}

#[track_caller]
fn has(answer: &Received, code: ResponseCode, part: &str) {
    assert_eq!(answer.code(), code, "{}", answer.remark());
    assert!(answer.remark().contains(part), "{}", answer.remark());
}

#[test]
fn brokers_register_with_all_name_servers_and_leave_them() {
    let (one, two) = (start(namesrv_alone()), start(namesrv_alone()));
    assert_eq!(one.addresses().broker, None);
    let broker = start(ServerConfig { broker_name: "b1".into(), ..broker_alone(&[&one, &two]) });
    let other = start(ServerConfig { broker_name: "b2".into(), ..broker_alone(&[&one, &two]) });
    let mut peers = [one.connect_namesrv(), two.connect_namesrv()];
    for peer in &mut peers {
        becomes_true("the registration of both", || {
            let info = peer.call(&Bare(RequestCode::GET_BROKER_CLUSTER_INFO.0));
            ClusterInfo::decode(info.body()).unwrap().brokers.len() == 2
        });
        // Producers may ask for the template before there is any topic.
        becomes_true("the templates of both", || {
            route_of(peer, "TBW102").is_some_and(|route| route.queues.len() == 2)
        });
        assert_eq!(route_of(peer, "orders"), None);
    }
    broker.connect(HeaderKind::Json).send("orders", b"a");
    for peer in &mut peers {
        becomes_true("the route of a new topic", || route_of(peer, "orders").is_some());
        let route = route_of(peer, "orders").unwrap();
        let expected = BTreeMap::from([(0, broker.addresses().advertised.to_string())]);
        assert_eq!(route.brokers[0].addresses, expected);
        let names = peer.call(&Bare(RequestCode::GET_ALL_TOPIC_LIST_FROM_NAMESERVER.0));
        assert_eq!(TopicNames::decode(names.body()).unwrap().names, ["TBW102", "orders"]);
    }
    // The farewell is answered before the broker is gone.
    broker.stop().unwrap();
    for peer in &mut peers {
        assert_eq!(route_of(peer, "orders"), None);
        assert_eq!(route_of(peer, "TBW102").unwrap().queues.len(), 1);
    }
    other.stop().unwrap();
}

#[test]
fn who_makes_a_topic_finds_it_at_all_name_servers() {
    let names = [start(namesrv_alone()), start(namesrv_alone())];
    // One that cannot be reached delays nobody.
    let gone = start(namesrv_alone());
    let broker = start(broker_alone(&[&names[0], &gone, &names[1]]));
    gone.stop().unwrap();
    let mut servers = names.each_ref().map(Server::connect_namesrv);
    for server in &mut servers {
        becomes_true("the registration", || route_of(server, "TBW102").is_some());
    }
    let mut peer = broker.connect(HeaderKind::Json);
    let queues = [("readQueueNums", "1"), ("writeQueueNums", "1"), ("perm", "6")];
    for n in 0..3 {
        let (made, sent) = (format!("made-{n}"), format!("sent-{n}"));
        let fields = [&[("topic", &*made)], &queues[..]].concat();
        let answer = peer.call(&Tool(RequestCode::UPDATE_AND_CREATE_TOPIC, &fields, ""));
        has(&answer, ResponseCode::SUCCESS, "");
        for server in &mut servers {
            assert!(route_of(server, &made).is_some(), "{made}");
        }
        peer.send(&sent, b"x");
        for server in &mut servers {
            assert!(route_of(server, &sent).is_some(), "{sent}");
        }
    }
}

#[test]
fn a_broker_comes_back_to_a_name_server_that_was_restarted() {
    let first = start(namesrv_alone());
    let at = first.addresses().namesrv.unwrap();
    let broker = start(broker_alone(&[&first]));
    broker.connect(HeaderKind::Json).send("orders", b"a");
    let mut peer = first.connect_namesrv();
    becomes_true("the registration", || route_of(&mut peer, "orders").is_some());
    first.stop().unwrap();
    let again = start(ServerConfig { namesrv_listen: Some(at), ..namesrv_alone() });
    let mut peer = again.connect_namesrv();
    becomes_true("the registration again", || route_of(&mut peer, "orders").is_some());
}

#[test]
fn a_name_server_takes_brokers_of_others() {
    let server = start_default();
    let mut broker = server.connect_namesrv();
    has(&broker.call(&registration("b-a", &["T1", "T2"])), ResponseCode::SUCCESS, "");
    let mut peer = server.connect_namesrv();
    let route = route_of(&mut peer, "T1").unwrap();
    assert_eq!((route.queues[0].write_queues, route.queues[0].permission), (4, 6));
    assert_eq!(route.brokers[0].addresses[&0], "10.0.0.1:10911");
    // The broker of this process serves another topic, and both are listed.
    server.connect(HeaderKind::Json).call(&message("orders", b"x"));
    let names = peer.call(&Bare(RequestCode::GET_ALL_TOPIC_LIST_FROM_NAMESERVER.0));
    let names = TopicNames::decode(names.body()).unwrap().names;
    assert_eq!(names, ["T1", "T2", "TBW102", "orders"]);
    let cluster = Tool(RequestCode::GET_TOPICS_BY_CLUSTER, &[("cluster", "C1")], "");
    let names = TopicNames::decode(peer.call(&cluster).body()).unwrap().names;
    assert_eq!(names, ["T1", "T2"]);

    let version = [("brokerName", "b-a"), ("brokerAddr", "10.0.0.1:10911"), ("clusterName", "C1")];
    let known = r#"{"counter":1,"stateVersion":0,"timestamp":1}"#;
    for (version_sent, changed) in [(known, "false"), ("{}", "true")] {
        let ask = Tool(RequestCode::QUERY_DATA_VERSION, &version, version_sent);
        let answer = broker.call(&ask);
        assert_eq!(answer.header().fields.get("changed").as_deref(), Some(changed));
        assert_eq!(body(&answer), known);
    }
    has(
        &broker.call(&Tool(RequestCode::BROKER_HEARTBEAT, &version, "")),
        ResponseCode::SUCCESS,
        "",
    );
    let member = Tool(RequestCode::GET_BROKER_MEMBER_GROUP, &version, "");
    assert!(body(&peer.call(&member)).contains(r#""brokerAddrs":{"0":"10.0.0.1:10911"}"#));
    // A lost connection takes the broker with it.
    drop(broker);
    becomes_true("its departure", || route_of(&mut peer, "T1").is_none());
}

#[test]
fn what_is_no_registration_is_refused_and_changes_nothing() {
    let server = start(namesrv_alone());
    let mut peer = server.connect_namesrv();
    let failed = ResponseCode::SYSTEM_ERROR;
    has(&peer.call(&registration("b-a", &["T1"])), failed, "register broker failed");
    has(&peer.call(&registration("b,a", &["T1", "T2"])), ResponseCode::INVALID_PARAMETER, "names");
    let fields = [
        ("brokerName", "b-a"),
        ("brokerAddr", "10.0.0.1:10911"),
        ("clusterName", "C1"),
        ("brokerId", "0"),
        ("bodyCrc32", "1"),
    ];
    let wrong = Tool(RequestCode::REGISTER_BROKER, &fields, "{}");
    has(&peer.call(&wrong), failed, "crc32 not match");
    let garbage = Tool(RequestCode::REGISTER_BROKER, &fields[..4], "garbage");
    has(&peer.call(&garbage), failed, "topicConfigTable");
    let info = peer.call(&Bare(RequestCode::GET_BROKER_CLUSTER_INFO.0));
    assert!(ClusterInfo::decode(info.body()).unwrap().brokers.is_empty());
    // A broker's own port is no name server's.
    let broker = start_default();
    let answer = broker.connect(HeaderKind::Json).call(&registration("b-a", &["T1", "T2"]));
    has(&answer, ResponseCode::REQUEST_CODE_NOT_SUPPORTED, "request type 103 not supported");
    // Its name is its own.
    let answer = broker.connect_namesrv().call(&registration("millrace", &["T1", "T2"]));
    has(&answer, failed, "millrace is the broker");
}

#[test]
fn a_wiped_broker_is_not_written_to_even_after_a_restart_of_the_name_server() {
    let disk = SimDisk::new(1);
    let start = || Server::start(Arc::new(disk.clone()), namesrv_alone()).unwrap();
    let server = start();
    let mut peer = server.connect_namesrv();
    let of = [("brokerName", "b-a")];
    let wipe = Tool(RequestCode::WIPE_WRITE_PERM_OF_BROKER, &of, "");
    let nobody = peer.call(&wipe);
    assert_eq!(nobody.header().fields.get("wipeTopicCount").as_deref(), Some("0"));
    peer.call(&registration("b-a", &["T1", "T2"]));
    let wiped = peer.call(&wipe);
    assert_eq!(wiped.header().fields.get("wipeTopicCount").as_deref(), Some("2"));
    assert_eq!(route_of(&mut peer, "T1").unwrap().queues[0].permission, 4);
    server.stop().unwrap();
    let server = start();
    let mut peer = server.connect_namesrv();
    peer.call(&registration("b-a", &["T1", "T2"]));
    assert_eq!(route_of(&mut peer, "T1").unwrap().queues[0].permission, 4);
    let added = peer.call(&Tool(RequestCode::ADD_WRITE_PERM_OF_BROKER, &of, ""));
    assert_eq!(added.header().fields.get("addTopicCount").as_deref(), Some("2"));
    assert_eq!(route_of(&mut peer, "T1").unwrap().queues[0].permission, 6);
    // Leaving in order ends a wipe: the upgrade is done when the broker is back.
    peer.call(&wipe);
    let BrokerIdentity { broker_name, address, cluster, broker_id } = identity("b-a");
    peer.call(&UnregisterBroker { broker_name, address, cluster, broker_id });
    server.stop().unwrap();
    let server = start();
    let mut peer = server.connect_namesrv();
    peer.call(&registration("b-a", &["T1", "T2"]));
    assert_eq!(route_of(&mut peer, "T1").unwrap().queues[0].permission, 6);
}

#[test]
fn a_topic_is_forgotten_and_added_in_routes() {
    let server = start(namesrv_alone());
    let mut peer = server.connect_namesrv();
    peer.call(&registration("b-a", &["T1", "T2"]));
    let drop = [("topic", "T1")];
    has(
        &peer.call(&Tool(RequestCode::DELETE_TOPIC_IN_NAMESRV, &drop, "")),
        ResponseCode::SUCCESS,
        "",
    );
    assert_eq!(route_of(&mut peer, "T1"), None);
    let queues = r#"{"queueDatas":[{"brokerName":"b-a","perm":6,"readQueueNums":2,
        "topicSysFlag":0,"writeQueueNums":2}],"brokerDatas":[]}"#;
    let add = Tool(RequestCode::REGISTER_TOPIC_IN_NAMESRV, &drop, queues);
    has(&peer.call(&add), ResponseCode::SUCCESS, "");
    assert_eq!(route_of(&mut peer, "T1").unwrap().queues[0].write_queues, 2);
}

#[test]
fn an_order_of_queues_is_told_with_the_route() {
    let server = start_default();
    let mut peer = server.connect_namesrv();
    server.connect(HeaderKind::Json).call(&message("orders", b"x"));
    let order = [("namespace", "ORDER_TOPIC_CONFIG"), ("key", "orders"), ("value", "millrace:4")];
    peer.call(&Tool(RequestCode::PUT_KV_CONFIG, &order, ""));
    assert_eq!(route_of(&mut peer, "orders").unwrap().order_conf, "millrace:4");
    let answer = peer.call(&registration("b-a", &["T1", "T2"]));
    assert_eq!(body(&answer), r#"{"table":{"orders":"millrace:4"}}"#);
}

/// Whether a broker says that a topic is an ordered one.
fn is_ordered(broker: &mut Peer, topic: &str) -> bool {
    let answer = broker.call(&Tool(RequestCode::GET_TOPIC_CONFIG, &[("topic", topic)], ""));
    TopicConfig::decode(answer.body()).unwrap().order
}

#[test]
fn that_a_topic_is_an_ordered_one_is_kept_and_shown() {
    let disk = SimDisk::new(1);
    let server = Server::start(Arc::new(disk.clone()), config()).unwrap();
    let mut peer = server.connect(HeaderKind::Json);
    let make = |peer: &mut Peer, order: &str, queues: &str| {
        let fields = [
            ("topic", "orders"),
            ("readQueueNums", queues),
            ("writeQueueNums", queues),
            ("perm", "6"),
            ("order", order),
        ];
        let made = peer.call(&Tool(RequestCode::UPDATE_AND_CREATE_TOPIC, &fields, ""));
        has(&made, ResponseCode::SUCCESS, "");
    };
    make(&mut peer, "false", "2");
    assert!(!is_ordered(&mut peer, "orders"));
    make(&mut peer, "true", "2");
    assert!(is_ordered(&mut peer, "orders"));
    let all = body(&peer.call(&Tool(RequestCode::GET_ALL_TOPIC_CONFIG, &[], "")));
    assert!(all.contains(r#""order":true"#), "{all}");
    // As many queues as producers want, and still an ordered one.
    peer.call(&EnsureTopic { topic: "orders".into(), queues: 4 });
    server.stop().unwrap();
    let server = Server::start(Arc::new(disk), config()).unwrap();
    let mut peer = server.connect(HeaderKind::Json);
    assert!(is_ordered(&mut peer, "orders"));
    make(&mut peer, "false", "4");
    assert!(!is_ordered(&mut peer, "orders"));
}

#[test]
fn a_topic_of_which_a_name_server_has_an_order_is_an_ordered_one() {
    let order =
        |topic| [("namespace", "ORDER_TOPIC_CONFIG"), ("key", topic), ("value", "millrace:4")];
    let namesrv = start(namesrv_alone());
    let mut names = namesrv.connect_namesrv();
    names.call(&Tool(RequestCode::PUT_KV_CONFIG, &order("orders"), ""));
    let broker = start(broker_alone(&[&namesrv]));
    let mut peer = broker.connect(HeaderKind::Json);
    peer.send("orders", b"x");
    peer.send("others", b"x");
    // The registration that tells of the topic is answered with its order.
    becomes_true("an ordered topic", || is_ordered(&mut peer, "orders"));
    assert!(!is_ordered(&mut peer, "others"));

    // The name server of the broker's own process has nobody to answer.
    let both = start_default();
    let mut peer = both.connect(HeaderKind::Json);
    peer.send("orders", b"x");
    both.connect_namesrv().call(&Tool(RequestCode::PUT_KV_CONFIG, &order("orders"), ""));
    assert!(is_ordered(&mut peer, "orders"));
    both.connect_namesrv().call(&Tool(RequestCode::PUT_KV_CONFIG, &order("later"), ""));
    let fields =
        [("topic", "later"), ("readQueueNums", "1"), ("writeQueueNums", "1"), ("perm", "6")];
    peer.call(&Tool(RequestCode::UPDATE_AND_CREATE_TOPIC, &fields, ""));
    assert!(is_ordered(&mut peer, "later"));
}

#[test]
fn a_changed_topic_is_registered_again_at_once() {
    let namesrv = start(namesrv_alone());
    let broker = start(broker_alone(&[&namesrv]));
    let mut peer = namesrv.connect_namesrv();
    let create = |queues| CreateTopic {
        topic: "orders".into(),
        default_topic: "TBW102".into(),
        read_queues: queues,
        write_queues: queues,
        permission: 6,
        filter_type: None,
        topic_sys_flag: None,
        order: false,
        attributes: None,
    };
    for queues in [2, 5] {
        broker.connect(HeaderKind::Json).call(&create(queues));
        becomes_true("the new number of queues", || {
            route_of(&mut peer, "orders")
                .is_some_and(|route| route.queues[0].write_queues == queues)
        });
    }
}

#[test]
fn a_server_has_to_serve_something() {
    let nothing = ServerConfig { namesrv_listen: None, broker_listen: None, ..config() };
    let started = Server::start(Arc::new(SimDisk::new(1)), nothing);
    assert!(matches!(started, Err(StartError::Nowhere)), "{started:?}");
}
