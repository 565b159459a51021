use bytes::Bytes;
use millrace_client::{Append, Broker, Outgoing, Wait};
use millrace_disk::Fault;
use millrace_protocol::{
    CallMode, GetMaxOffset, OffsetAnswer, PullAnswer, PullMessage, PullStatus, ResponseCode,
    SendAnswer, SendMessage,
};
use millrace_types::{QueueId, QueueOffset, TopicName};

use super::gate::GatedDisk;
use super::peer::{Bare, HELLO, long_pull, message, pull};
use super::*;
use crate::config::Limits;

#[test]
fn a_frame_may_come_in_pieces() {
    let server = start_default();
    let mut peer = server.connect(HeaderKind::Json);
    let bytes = peer.encode(&message("t", b"in pieces"), CallMode::Answered);
    for piece in bytes.chunks(7) {
        peer.write(piece);
    }
    let answer = peer.receive();
    assert_eq!(SendAnswer::decode(&answer.header()).unwrap().queue_offset, QueueOffset(0));

    let (first, second) = bytes.split_at(bytes.len() / 2);
    peer.write(&[&bytes, &bytes, first].concat());
    peer.receive();
    peer.receive();
    // The half frame keeps nobody else from being served.
    assert_eq!(server.connect(HeaderKind::Binary).all("t").len(), 3);
    peer.write(second);
    peer.receive();
}

#[test]
fn a_large_frame_is_taken_whole() {
    let server = start(ServerConfig { segment_bytes: 8 << 20, ..config() });
    let body = "x".repeat(3 << 20);
    let mut peer = server.connect(HeaderKind::Json);
    peer.send("t", body.as_bytes());
    assert_eq!(peer.all("t"), [body]);
}

#[test]
fn garbage_closes_its_connection_and_no_other() {
    let server = start_default();
    let mut good = server.connect(HeaderKind::Json);
    good.send("t", b"a");
    let no_header = [&[0, 0, 0, 8, 0, 0, 0, 4][..], b"what"].concat();
    let garbage: [&[u8]; 4] =
        [b"GET / HTTP/1.1\r\n\r\n", &[0xff; 64], &[0, 0, 0, 8, 9, 0, 0, 0, 1, 2, 3, 4], &no_header];
    for bytes in garbage {
        let mut bad = server.connect(HeaderKind::Json);
        bad.write(bytes);
        assert!(bad.receive_or_end().is_none(), "{bytes:?}");
    }
    assert_eq!(good.all("t"), ["a"]);
}

#[test]
fn pipelined_sends_are_answered_in_order() {
    for kind in KINDS {
        let server = start_default();
        let mut peer = server.connect(kind);
        let bodies: Vec<String> = (0..1000).map(|n| n.to_string()).collect();
        let mut all = Vec::new();
        for body in &bodies {
            all.extend(peer.encode(&message("t", body.as_bytes()), CallMode::Answered));
        }
        peer.write(&all);
        for n in 0..1000 {
            let answer = peer.receive();
            let sent = SendAnswer::decode(&answer.header()).unwrap();
            assert_eq!((answer.header().opaque, sent.queue_offset), (n + 1, QueueOffset(n as u64)));
        }
        assert_eq!(peer.all("t"), bodies);
    }
}

#[test]
fn oneway_requests_are_done_and_not_answered() {
    let server = start_default();
    let mut peer = server.connect(HeaderKind::Json);
    let oneway = peer.encode(&message("t", b"quiet"), CallMode::Oneway);
    let unknown = peer.encode(&Bare(4711), CallMode::Oneway);
    let wrong = peer.encode(&Bare(310), CallMode::Oneway);
    peer.write(&[oneway, unknown, wrong].concat());
    peer.call(&HELLO);
    assert_eq!(peer.all("t"), ["quiet"]);
}

#[test]
fn a_held_pull_is_answered_when_the_message_comes() {
    for flush in [config().flush, FlushMode::Sync] {
        let server = start(ServerConfig { flush, ..config() });
        let mut consumer = server.connect(HeaderKind::Json);
        let mut producer = server.connect(HeaderKind::Json);
        producer.send("t", b"old");
        let held = consumer.ask(&long_pull("t", QueueOffset(1)));
        consumer.handled_so_far();
        producer.send("t", b"new");
        let answer = consumer.receive();
        assert_eq!(answer.header().opaque, held);
        assert_eq!(answer.bodies(), ["new"]);
    }
}

#[test]
fn a_message_from_this_process_wakes_a_held_pull() {
    let server = start_default();
    let local = server.local();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let topic = TopicName::parse("t").unwrap();
    runtime.block_on(local.ensure_topic(&topic, 1)).unwrap();
    let mut consumer = server.connect(HeaderKind::Json);
    consumer.ask(&long_pull("t", QueueOffset(0)));
    consumer.handled_so_far();
    let message = Outgoing {
        topic,
        queue: QueueId(0),
        body: "from inside".into(),
        properties: Bytes::new(),
        born_at_ms: 0,
    };
    let append = Append { messages: [message].into(), fence: None, wait: Wait::Policy };
    runtime.block_on(local.append(append)).unwrap();
    assert_eq!(consumer.receive().bodies(), ["from inside"]);
}

#[test]
fn a_held_pull_ends_with_its_time() {
    let server = start_default();
    let mut peer = server.connect(HeaderKind::Json);
    peer.send("t", b"old");
    let short = PullMessage { suspend_ms: 50, ..long_pull("t", QueueOffset(1)) };
    let answer = peer.call(&short);
    let ended = PullAnswer::decode(&answer.header()).unwrap();
    assert_eq!((ended.status, ended.next), (PullStatus::NotFound, QueueOffset(1)));
}

#[test]
fn held_pulls_are_answered_when_the_server_stops() {
    let server = start_default();
    let mut peer = server.connect(HeaderKind::Json);
    peer.send("t", b"old");
    peer.ask(&long_pull("t", QueueOffset(1)));
    peer.handled_so_far();
    server.stop().unwrap();
    let ended = peer.receive();
    let ended = PullAnswer::decode(&ended.header()).unwrap();
    assert_eq!(ended.status, PullStatus::NotFound);
    assert!(peer.receive_or_end().is_none());
}

#[test]
fn a_send_is_answered_once_it_is_durable() {
    let disk = GatedDisk::open();
    let sync = ServerConfig { flush: FlushMode::Sync, ..config() };
    let server = Server::start(Arc::new(disk.clone()), sync).unwrap();
    let mut peer = server.connect(HeaderKind::Json);
    peer.send("t", b"before");
    disk.set_open(false);
    let sent = peer.ask(&message("t", b"waiting"));
    peer.handled_so_far();
    // It has no answer yet, and nobody sees the message.
    let mut other = server.connect(HeaderKind::Json);
    assert_eq!(other.all("t"), ["before"]);
    let mut max = |committed: bool| {
        let request = GetMaxOffset { topic: "t".into(), queue_id: QueueId(0), committed };
        OffsetAnswer::decode(&other.call(&request).header()).unwrap().offset.0
    };
    assert_eq!((max(true), max(false)), (1, 2));
    disk.set_open(true);
    let answer = peer.receive();
    assert_eq!(answer.header().opaque, sent);
    assert_eq!(SendAnswer::decode(&answer.header()).unwrap().queue_offset, QueueOffset(1));
    assert_eq!(peer.all("t"), ["before", "waiting"]);
}

#[test]
fn a_message_that_does_not_wait_is_answered_before_it_is_durable() {
    let disk = GatedDisk::open();
    let sync = ServerConfig { flush: FlushMode::Sync, ..config() };
    let server = Server::start(Arc::new(disk.clone()), sync).unwrap();
    let mut peer = server.connect(HeaderKind::Json);
    peer.send("t", b"before");
    disk.set_open(false);
    let properties = "WAIT\u{1}false\u{2}".into();
    let answer = peer.call(&SendMessage { properties, ..message("t", b"hasty") });
    assert_eq!(SendAnswer::decode(&answer.header()).unwrap().queue_offset, QueueOffset(1));
    disk.set_open(true);
}

#[test]
fn a_failed_flush_is_an_error_for_whoever_waited() {
    let disk = SimDisk::new(1);
    let sync = ServerConfig { flush: FlushMode::Sync, ..config() };
    let server = Server::start(Arc::new(disk.clone()), sync).unwrap();
    let mut peer = server.connect(HeaderKind::Json);
    peer.send("t", b"good");
    disk.inject(Fault::FailSync { nth: 1 });
    for body in [b"lost", b"late"] {
        let answer = peer.call(&message("t", body));
        assert_eq!(answer.code(), ResponseCode::SYSTEM_ERROR);
        assert!(answer.remark().contains("stopped writing"), "{}", answer.remark());
    }
    assert_eq!(peer.all("t"), ["good"]);
}

#[test]
fn a_peer_that_does_not_read_costs_bounded_memory() {
    let limits = Limits { output_bytes_max: 256 << 10, ..Limits::default() };
    let server = start(ServerConfig { segment_bytes: 16 << 20, limits, ..config() });
    let mut peer = server.connect(HeaderKind::Json);
    let body = vec![b'x'; 128 << 10];
    for _ in 0..8 {
        peer.send("t", &body);
    }
    // 200 answers of 1 MiB each.
    let fat = PullMessage { bytes_max: Some(4 << 20), ..pull("t", QueueOffset(0)) };
    let mut slow = server.connect(HeaderKind::Json);
    for _ in 0..200 {
        slow.ask(&fat);
    }
    // Meanwhile others are served.
    assert_eq!(peer.all("t").len(), 8);
    for _ in 0..200 {
        assert_eq!(slow.receive().records().len(), 8);
    }
    let peak = server.load().held_bytes_peak;
    assert!(peak < 3 << 20, "{peak} bytes were held");
}

#[test]
fn requests_beyond_the_limit_wait_for_answers() {
    let limits = Limits { requests_in_flight_max: 4, ..Limits::default() };
    let server = start(ServerConfig { limits, ..config() });
    let mut peer = server.connect(HeaderKind::Json);
    let mut all = Vec::new();
    for _ in 0..100 {
        all.extend(peer.encode(&message("t", b"x"), CallMode::Answered));
    }
    peer.write(&all);
    for _ in 0..100 {
        peer.receive();
    }
    assert_eq!(peer.all("t").len(), 100);
}

#[test]
fn what_is_held_for_all_peers_is_bounded() {
    let limits = Limits { held_bytes_max: 1 << 20, ..Limits::default() };
    let server = start(ServerConfig { segment_bytes: 16 << 20, limits, ..config() });
    let mut good = server.connect(HeaderKind::Json);
    good.send("t", b"a");
    let mut greedy = server.connect(HeaderKind::Json);
    let bytes = greedy.encode(&message("t", &vec![0; 3 << 20]), CallMode::Answered);
    // It may be closed before it has written everything.
    assert!(!greedy.try_write(&bytes) || greedy.receive_or_end().is_none());
    assert_eq!(good.all("t"), ["a"]);
}

#[test]
fn one_connection_too_many_is_closed() {
    let limits = Limits { connections_max: 2, ..Limits::default() };
    let server = start(ServerConfig { limits, ..config() });
    let mut first = server.connect(HeaderKind::Json);
    let mut second = server.connect(HeaderKind::Json);
    first.call(&HELLO);
    second.call(&HELLO);
    assert!(server.connect(HeaderKind::Json).receive_or_end().is_none());
    first.call(&HELLO);
    assert_eq!(server.load().connections, 2);
}

#[test]
fn cold_messages_are_read_and_others_served_meanwhile() {
    let server = start(ServerConfig { segment_bytes: 64 << 10, ..config() });
    let mut peer = server.connect(HeaderKind::Json);
    let bodies: Vec<String> = (0..600).map(|n| format!("{n:01000}")).collect();
    for body in &bodies {
        peer.send("t", body.as_bytes());
    }
    // Ten segments, of which only the newest ones are hot.
    assert_eq!(peer.all("t"), bodies);
    // More than the readers take at a time.
    for _ in 0..200 {
        peer.ask(&pull("t", QueueOffset(0)));
    }
    for _ in 0..200 {
        assert_eq!(peer.receive().bodies()[0], bodies[0]);
    }
}

#[test]
fn an_unknown_request_is_said_to_be_unknown() {
    let server = start_default();
    for kind in KINDS {
        let answer = server.connect(kind).call(&Bare(4711));
        assert_eq!(answer.code(), ResponseCode::REQUEST_CODE_NOT_SUPPORTED);
        assert_eq!(answer.remark(), " request type 4711 not supported");
    }
    let at_name_server = server.connect_namesrv().call(&message("t", b"x"));
    assert_eq!(at_name_server.code(), ResponseCode::REQUEST_CODE_NOT_SUPPORTED);
}
