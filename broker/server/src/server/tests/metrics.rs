use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use millrace_protocol::{HeaderKind, RequestCode, ResponseCode, SendMessage, UpdateConsumerOffset};
use millrace_types::{QueueId, QueueOffset};

use super::admin::{Tool, body};
use super::peer::{Bare, message, pull};
use super::*;

/// Sends a request as it is and gives the whole answer.
pub(super) fn ask(server: &Server, request: &str) -> String {
    let at = server.metrics_address().unwrap();
    let mut stream = TcpStream::connect(at).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn figures_are_those_of_the_log() {
    let metrics_listen = Some(([127, 0, 0, 1], 0).into());
    let server = start(ServerConfig { metrics_listen, ..config() });
    let mut peer = server.connect(HeaderKind::Json);
    for _ in 0..3 {
        peer.call(&message("orders", b"x"));
    }
    peer.call(&UpdateConsumerOffset {
        group: "g".into(),
        topic: "orders".into(),
        queue_id: QueueId(0),
        offset: QueueOffset(1),
    });
    peer.call(&pull("orders", QueueOffset(1)));
    let answer = ask(&server, "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    for line in [
        "rocketmq_messages_in_total{topic=\"orders\"} 3",
        "rocketmq_consumer_lag_messages{consumer_group=\"g\",topic=\"orders\"} 2",
        "rocketmq_messages_out_total{consumer_group=\"readers\",topic=\"orders\"} 2",
        "rocketmq_topic_number 1",
        "rocketmq_consumer_group_number 1",
        "# TYPE rocketmq_storage_flush_behind_bytes gauge",
        "millrace_connections 1",
    ] {
        assert!(answer.lines().any(|known| known == line), "no {line} in {answer}");
    }
    assert!(ask(&server, "GET / HTTP/1.1\r\n\r\n").starts_with("HTTP/1.1 404 "));
    assert!(ask(&server, "POST /metrics HTTP/1.1\r\n\r\n").starts_with("HTTP/1.1 405 "));
}

#[test]
fn what_a_topic_has_got_is_counted_whatever_becomes_of_its_queues() {
    let metrics_listen = Some(([127, 0, 0, 1], 0).into());
    let server = start(ServerConfig { metrics_listen, ..config() });
    let mut peer = server.connect(HeaderKind::Json);
    let set = |peer: &mut Peer, read, write| {
        let queues = [("readQueueNums", read), ("writeQueueNums", write), ("perm", "6")];
        let fields = [&[("topic", "orders")], &queues[..]].concat();
        let set = peer.call(&Tool(RequestCode::UPDATE_AND_CREATE_TOPIC, &fields, ""));
        assert_eq!(set.code(), ResponseCode::SUCCESS, "{}", set.remark());
    };
    set(&mut peer, "4", "4");
    for queue in [0, 3] {
        peer.call(&SendMessage { queue_id: Some(QueueId(queue)), ..message("orders", b"x") });
    }
    for (read, write) in [("1", "4"), ("1", "1"), ("2", "2")] {
        set(&mut peer, read, write);
        let answer = ask(&server, "GET /metrics HTTP/1.1\r\n\r\n");
        let line = "rocketmq_messages_in_total{topic=\"orders\"} 2";
        assert!(answer.lines().any(|known| known == line), "no {line} in {answer}");
    }
}

#[test]
fn who_does_not_ask_delays_nobody() {
    let metrics_listen = Some(([127, 0, 0, 1], 0).into());
    let server = start(ServerConfig { metrics_listen, ..config() });
    let at = server.metrics_address().unwrap();
    let mut idle: Vec<TcpStream> = (0..8).map(|_| TcpStream::connect(at).unwrap()).collect();
    let answer = ask(&server, "GET /metrics?x=1 HTTP/1.1\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    // They came first, and none of them was given up for it.
    for stream in &mut idle {
        stream.set_nonblocking(true).unwrap();
        let error = stream.read(&mut [0]).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock);
    }
    let head = ask(&server, "HEAD /metrics HTTP/1.1\r\n\r\n");
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n") && head.ends_with("\r\n\r\n"), "{head}");
}

#[test]
fn a_message_that_waits_for_its_time_is_not_counted_yet() {
    let hands = Hands::default();
    let metrics_listen = Some(([127, 0, 0, 1], 0).into());
    let config = ServerConfig { metrics_listen, ..config() };
    // Its time never comes.
    let server = Server::start_at(Arc::new(SimDisk::new(1)), config, hands.clock()).unwrap();
    let mut peer = server.connect(HeaderKind::Json);
    peer.send("RMQ_SYS_TRACE_TOPIC", b"x");
    let delayed =
        SendMessage { properties: "DELAY\u{1}1\u{2}".into(), ..message("orders", b"later") };
    peer.call(&delayed);
    let answer = ask(&server, "GET /metrics HTTP/1.1\r\n\r\n");
    let of = |name: &str| {
        let lines = answer.lines().filter(|line| line.starts_with(name));
        lines.map(|line| line.rsplit_once(' ').unwrap().1.parse::<u64>().unwrap()).sum::<u64>()
    };
    assert_eq!((of("rocketmq_messages_in_total{"), of("rocketmq_topic_number ")), (1, 1));
}

#[test]
fn every_figure_is_in_the_table_and_no_row_lies() {
    let metrics_listen = Some(([127, 0, 0, 1], 0).into());
    let server = start(ServerConfig { metrics_listen, ..config() });
    let answer = ask(&server, "GET /metrics HTTP/1.1\r\n\r\n");
    let types = answer.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    let given: BTreeSet<&str> = types.filter_map(|line| line.split(' ').next()).collect();
    let document = include_str!("../../../../COMPAT.md");
    let rows = document.lines().filter_map(|line| line.strip_prefix("| `"));
    let rows = rows.filter(|row| row.starts_with("rocketmq_") || row.starts_with("millrace_"));
    let (mut told, mut missing) = (BTreeSet::new(), BTreeSet::new());
    for row in rows {
        let (name, rest) = row.split_once('`').unwrap();
        let support = rest.trim_start_matches(" | ").split(" |").next().unwrap();
        match support {
            "yes" => assert!(told.insert(name), "{name} has two rows"),
            "no" => assert!(missing.insert(name), "{name} has two rows"),
            other => panic!("the row of {name} says {other:?}"),
        }
    }
    assert_eq!(given, told);
    assert!(missing.is_disjoint(&given));
}

#[test]
fn rates_are_those_of_the_last_minute() {
    let hands = Hands::default();
    let server = Server::start_at(Arc::new(SimDisk::new(1)), config(), hands.clock()).unwrap();
    let mut peer = server.connect(HeaderKind::Json);
    peer.call(&message("orders", b"old"));
    peer.call(&pull("orders", QueueOffset(0)));
    peer.handled_so_far();
    hands.pass(100_000);
    peer.handled_so_far();
    for _ in 0..30 {
        peer.call(&message("orders", b"new"));
    }
    peer.call(&pull("orders", QueueOffset(1)));
    let topic = [("topic", "orders")];
    let put = body(&peer.call(&Tool(RequestCode::GET_TOPIC_STATS_INFO, &topic, "")));
    assert!(put.contains("\"topicPutTps\":0.5}"), "{put}");
    hands.pass(10_000);
    let group = [("consumerGroup", "readers"), ("topic", "orders")];
    let stats = Tool(RequestCode::GET_CONSUME_STATS, &group, "");
    let given = body(&peer.call(&stats));
    assert!(given.contains("\"consumeTps\":3.0,"), "{given}");
}

#[test]
fn the_oldest_message_is_told_whether_or_not_it_may_be_read() {
    let hands = Hands::default();
    let metrics_listen = Some(([127, 0, 0, 1], 0).into());
    let config = ServerConfig { metrics_listen, ..config() };
    let server = Server::start_at(Arc::new(SimDisk::new(1)), config, hands.clock()).unwrap();
    let mut peer = server.connect(HeaderKind::Json);
    for topic in ["zebras", "apes"] {
        peer.send(topic, b"x");
        hands.pass(1_000);
    }
    let told = |age_ms: u64| {
        let answer = ask(&server, "GET /metrics HTTP/1.1\r\n\r\n");
        let line = format!("rocketmq_storage_message_reserve_time {age_ms}");
        assert!(answer.lines().any(|known| known == line), "no {line} in {answer}");
    };
    told(2_000);
    let closed =
        [("topic", "zebras"), ("readQueueNums", "1"), ("writeQueueNums", "1"), ("perm", "2")];
    let closed = peer.call(&Tool(RequestCode::UPDATE_AND_CREATE_TOPIC, &closed, ""));
    assert_eq!(closed.code(), ResponseCode::SUCCESS, "{}", closed.remark());
    told(2_000);
    let status = peer.call(&Bare(RequestCode::GET_BROKER_RUNTIME_INFO.0));
    assert_eq!(status.code(), ResponseCode::SUCCESS, "{}", status.remark());
}
