use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use millrace_protocol::{HeaderKind, UpdateConsumerOffset};
use millrace_types::{QueueId, QueueOffset};

use super::peer::{message, pull};
use super::*;

/// Sends a request as it is and gives the whole answer.
fn ask(server: &Server, request: &str) -> String {
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
        "rocketmq_messages_out_total 2",
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
