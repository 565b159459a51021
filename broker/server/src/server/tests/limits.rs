use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::Duration;

use millrace_protocol::{
    BatchItem, CallMode, ConsumeFrom, ConsumeType, ConsumerData, Heartbeat, MessageModel,
    PullMessage, PullStored, RequestCode, ResponseCode, SearchOffset, SendMessage, StoredAnswer,
    Subscription, push_batch_item,
};
use millrace_types::{QueueId, QueueOffset};

use super::admin::Tool;
use super::broker::check_refused;
use super::gate::{GatedDisk, Work};
use super::peer::{HELLO, Peer, long_pull, message, pull};
use super::*;
use crate::EngineLimits;
use crate::config::Limits;

const BUSY: ResponseCode = ResponseCode::SYSTEM_BUSY;
const OVERLOAD: &str = "[OVERLOAD]system busy, start flow control for a while";

fn limited(limits: Limits) -> ServerConfig {
    ServerConfig { limits, ..config() }
}

/// Whether nothing more comes of a connection but its end.
fn is_closed(mut peer: Peer) -> bool {
    peer.receive_or_end().is_none()
}

#[test]
fn a_frame_or_a_header_that_is_too_long_closes_its_connection() {
    let server = start_default();
    let mut good = server.connect(HeaderKind::Json);
    for head in [[0x01, 0, 0, 0, 0, 0, 0, 2], [0, 0x08, 0, 0, 0, 0x04, 0, 1]] {
        let mut bad = server.connect(HeaderKind::Json);
        bad.write(&head);
        assert!(is_closed(bad), "{head:?}");
    }
    good.call(&HELLO);
}

#[test]
fn a_header_with_too_many_fields_is_refused() {
    let server = start_default();
    let names: Vec<String> = (0..256).map(|n| format!("f{n}")).collect();
    let mut fields: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "x")).collect();
    fields.push(("topic", "t"));
    for kind in KINDS {
        let mut peer = server.connect(kind);
        let many = peer.call(&Tool(RequestCode::GET_ROUTEINFO_BY_TOPIC, &fields, ""));
        check_refused(&many, ResponseCode::INVALID_PARAMETER, "more than 256 fields");
        peer.call(&HELLO);
    }
}

#[test]
fn a_frame_that_drips_in_is_given_up() {
    let hands = Hands::default();
    let server = Server::start_at(Arc::new(SimDisk::new(1)), config(), hands.clock()).unwrap();
    let mut good = server.connect(HeaderKind::Json);
    let mut drips = server.connect(HeaderKind::Json);
    let whole = drips.encode(&message("t", b"in pieces"), CallMode::Answered);
    // What is sent now and then keeps no frame alive that does not become whole.
    for byte in &whole[..6] {
        drips.write(&[*byte]);
        good.handled_so_far();
        hands.pass(19_000);
    }
    drips.write(&whole[6..]);
    drips.receive();
    for byte in &whole[..7] {
        drips.write(&[*byte]);
        good.handled_so_far();
        hands.pass(20_000);
    }
    good.handled_so_far();
    assert!(is_closed(drips));
    good.handled_so_far();
}

#[test]
fn a_silent_connection_is_closed_and_one_that_waits_is_not() {
    let hands = Hands::default();
    let server = Server::start_at(Arc::new(SimDisk::new(1)), config(), hands.clock()).unwrap();
    let mut good = server.connect(HeaderKind::Json);
    let [silent, mut waits] = [0, 1].map(|_| server.connect(HeaderKind::Json));
    good.send("t", b"old");
    waits.ask(&PullMessage { suspend_ms: 60_000, ..long_pull("t", QueueOffset(1)) });
    for _ in 0..5 {
        good.handled_so_far();
        hands.pass(11_000);
    }
    good.handled_so_far();
    good.send("t", b"new");
    assert_eq!(waits.receive().bodies(), ["new"]);
    for _ in 0..7 {
        good.handled_so_far();
        hands.pass(11_000);
    }
    good.handled_so_far();
    assert!(is_closed(silent));
    waits.call(&HELLO);
}

#[test]
fn half_a_frame_holds_no_more_than_its_bytes() {
    let server = start_default();
    let mut good = server.connect(HeaderKind::Json);
    good.handled_so_far();
    good.handled_so_far();
    // Room for its next answer.
    let before = server.load().held_bytes;
    let mut halves: Vec<Peer> = (0..50).map(|_| server.connect(HeaderKind::Json)).collect();
    for half in &mut halves {
        half.write(&[0, 0, 4, 0, 0, 0, 0, 200, b'{']);
    }
    // The load is told at the end of a turn, so the next one comes after it.
    good.handled_so_far();
    good.handled_so_far();
    assert_eq!(server.load().connections, 51);
    let held = server.load().held_bytes - before;
    assert!(held <= 50 * 9, "{held} bytes");
}

#[test]
fn whoever_holds_most_goes_when_too_much_is_held() {
    let limits = Limits { held_bytes_max: 2 << 20, ..Limits::default() };
    let server = start(ServerConfig { segment_bytes: 16 << 20, ..limited(limits) });
    let mut good = server.connect(HeaderKind::Json);
    let body = vec![b'a'; 300 << 10];
    let bytes = good.encode(&message("t", &body), CallMode::Answered);
    let (first, second) = bytes.split_at(200 << 10);
    good.write(first);
    let mut greedy = server.connect(HeaderKind::Json);
    let bytes = greedy.encode(&message("t", &vec![0; 4 << 20]), CallMode::Answered);
    // It may be closed before it has written everything.
    assert!(!greedy.try_write(&bytes) || is_closed(greedy));
    good.write(second);
    assert_eq!(good.receive().code(), ResponseCode::SUCCESS);
}

#[test]
fn emptied_buffers_are_given_back_before_anybody_goes() {
    let limits = Limits { held_bytes_max: 1 << 20, ..Limits::default() };
    let server = start(ServerConfig { segment_bytes: 16 << 20, ..limited(limits) });
    let mut good = server.connect(HeaderKind::Json);
    good.send("t", &vec![b'a'; 50 << 10]);
    let mut readers: Vec<_> = (0..20).map(|_| server.connect(HeaderKind::Json)).collect();
    for reader in &mut readers {
        assert_eq!(reader.call(&pull("t", QueueOffset(0))).bodies().len(), 1);
    }
    // Those have taken everything, and their buffers are kept for the next answer.
    let bytes = good.encode(&message("t", &vec![b'b'; 300 << 10]), CallMode::Answered);
    let (first, second) = bytes.split_at(200 << 10);
    good.write(first);
    good.write(second);
    assert_eq!(good.receive().code(), ResponseCode::SUCCESS);
}

#[test]
fn pulls_beyond_those_that_may_wait_are_told_to_come_again() {
    let limits = Limits { held_pulls_max: 2, ..Limits::default() };
    let server = start(limited(limits));
    let mut peer = server.connect(HeaderKind::Json);
    let mut other = server.connect(HeaderKind::Binary);
    other.send("t", b"old");
    let held = [0, 1].map(|_| peer.ask(&long_pull("t", QueueOffset(1))));
    check_refused(&peer.call(&long_pull("t", QueueOffset(1))), BUSY, OVERLOAD);
    // What need not wait is answered.
    assert_eq!(peer.call(&pull("t", QueueOffset(0))).bodies(), ["old"]);
    other.send("t", b"new");
    assert_eq!(held.map(|_| peer.receive().header().opaque), held);
}

#[test]
fn a_pull_that_need_not_wait_is_answered_however_many_do() {
    let limits = Limits { held_pulls_max: 2, ..Limits::default() };
    let server = start(limited(limits));
    let mut peer = server.connect(HeaderKind::Json);
    peer.send("t", b"old");
    let held = [0, 1].map(|_| peer.ask(&long_pull("t", QueueOffset(1))));
    assert_eq!(peer.call(&long_pull("t", QueueOffset(0))).bodies(), ["old"]);
    let own = |from| PullStored {
        topic: "t".into(),
        queue_id: QueueId(0),
        offset: QueueOffset(from),
        bytes_max: 1 << 20,
        wait_ms: 30_000,
    };
    let stored = peer.call(&own(0));
    let (head, records) = StoredAnswer::decode(&stored.header(), stored.body()).unwrap();
    assert_eq!((head.next, records.is_empty()), (QueueOffset(1), false));
    check_refused(&peer.call(&own(1)), BUSY, OVERLOAD);
    // Who is answered gives its place back.
    server.connect(HeaderKind::Json).send("t", b"new");
    assert_eq!(held.map(|_| peer.receive().header().opaque), held);
    let held = [0, 1].map(|_| peer.ask(&long_pull("t", QueueOffset(2))));
    check_refused(&peer.call(&long_pull("t", QueueOffset(2))), BUSY, OVERLOAD);
    server.connect(HeaderKind::Json).send("t", b"newer");
    assert_eq!(held.map(|_| peer.receive().header().opaque), held);
}

#[test]
fn a_send_that_waits_for_the_disk_takes_no_place_of_a_pull() {
    let disk = GatedDisk::open();
    let limits = Limits { held_pulls_max: 1, ..Limits::default() };
    let sync = ServerConfig { flush: FlushMode::Sync, ..limited(limits) };
    let server = Server::start(Arc::new(disk.clone()), sync).unwrap();
    let mut peer = server.connect(HeaderKind::Json);
    peer.send("t", b"before");
    disk.set_open(false);
    peer.ask(&message("t", b"waiting"));
    let held = peer.ask(&long_pull("t", QueueOffset(1)));
    let hello = peer.ask(&HELLO);
    let first = peer.receive();
    disk.set_open(true);
    assert_eq!(first.header().opaque, hello, "{}", first.remark());
    let answers = [peer.receive(), peer.receive()];
    let pulled = answers.iter().find(|answer| answer.header().opaque == held).unwrap();
    assert_eq!(pulled.bodies(), ["waiting"]);
}

#[test]
fn topics_that_are_not_there_take_no_place_in_the_figures() {
    let server = start_default();
    let mut peer = server.connect(HeaderKind::Json);
    let no_topic = "a\"} 1\nmade_up 2";
    let refused = peer.call(&pull(no_topic, QueueOffset(0)));
    assert_eq!(refused.code(), ResponseCode::TOPIC_NOT_EXIST);
    let topics = || {
        let given = server.core.shared().traffic.given();
        given.into_iter().map(|given| given.topic).collect::<Vec<_>>()
    };
    assert_eq!(topics(), [""]);
    peer.send("t", b"x");
    assert_eq!(peer.call(&pull("t", QueueOffset(0))).bodies(), ["x"]);
    assert_eq!(topics(), ["t", ""]);
}

#[test]
fn pulls_that_nobody_waits_for_are_not_held() {
    let remembered = EngineLimits { held_pulls_max: 1, ..EngineLimits::default() };
    let server = start(limited(Limits { remembered, ..Limits::default() }));
    let mut peer = server.connect(HeaderKind::Json);
    peer.send("t", b"old");
    for _ in 0..3 {
        let bytes = peer.encode(&long_pull("t", QueueOffset(1)), CallMode::Oneway);
        peer.write(&bytes);
    }
    let held = peer.ask(&long_pull("t", QueueOffset(1)));
    peer.handled_so_far();
    let mut other = server.connect(HeaderKind::Json);
    check_refused(&other.call(&long_pull("t", QueueOffset(1))), BUSY, OVERLOAD);
    other.send("t", b"new");
    assert_eq!(peer.receive().header().opaque, held);
}

fn heartbeat(client: &str, topics: usize) -> Heartbeat {
    let subscription = |n: usize| Subscription {
        topic: format!("t{n}"),
        expression: "*".into(),
        expression_type: "TAG".into(),
        ..Subscription::default()
    };
    Heartbeat {
        client_id: client.into(),
        consumers: vec![ConsumerData {
            group: "group".into(),
            consume_type: ConsumeType::Push,
            message_model: MessageModel::Clustering,
            consume_from: ConsumeFrom::LastOffset,
            subscriptions: (0..topics).map(subscription).collect(),
            unit_mode: false,
        }],
        ..Heartbeat::default()
    }
}

#[test]
fn a_heartbeat_that_names_too_much_is_refused() {
    let server = start_default();
    let mut peer = server.connect(HeaderKind::Json);
    let long = "c".repeat(1_025);
    check_refused(&peer.call(&heartbeat(&long, 1)), ResponseCode::INVALID_PARAMETER, "1024 bytes");
    check_refused(&peer.call(&heartbeat("c", 1_001)), BUSY, "at most 1000 subscriptions");
    assert_eq!(peer.call(&heartbeat("c", 1_000)).code(), ResponseCode::SUCCESS);
}

#[test]
fn topics_beyond_the_limit_are_not_created_on_the_way() {
    let remembered = EngineLimits { queues_max: 5, ..EngineLimits::default() };
    let server = start(limited(Limits { remembered, ..Limits::default() }));
    let mut peer = server.connect(HeaderKind::Json);
    peer.send("t", b"x");
    let full = "the broker has room for 5 queues, and all of it is taken";
    let two = SendMessage { default_topic_queues: 2, ..message("u", b"x") };
    check_refused(&peer.call(&two), ResponseCode::SYSTEM_ERROR, full);
    let one = SendMessage { default_topic_queues: 1, ..two };
    assert_eq!(peer.call(&one).code(), ResponseCode::SUCCESS);
    // The members of a group find each other even if there is no topic for its retries.
    assert_eq!(peer.call(&heartbeat("c", 1)).code(), ResponseCode::SUCCESS);
    let route = [("topic", "%RETRY%group")];
    let route = Tool(RequestCode::GET_ROUTEINFO_BY_TOPIC, &route, "");
    let route = server.connect_namesrv().call(&route);
    assert_eq!(route.code(), ResponseCode::TOPIC_NOT_EXIST);
}

#[test]
fn a_setting_that_is_too_long_is_refused() {
    let server = start_default();
    let long = "v".repeat(32 << 10);
    let entry = [("namespace", "n"), ("key", "k"), ("value", long.as_str())];
    let refused = server.connect_namesrv().call(&Tool(RequestCode::PUT_KV_CONFIG, &entry, ""));
    check_refused(&refused, ResponseCode::MESSAGE_ILLEGAL, "at most 32768 bytes");
}

#[test]
fn a_message_or_a_batch_that_is_too_large_is_refused() {
    let server = start(ServerConfig { segment_bytes: 16 << 20, ..config() });
    let illegal = ResponseCode::MESSAGE_ILLEGAL;
    for kind in KINDS {
        let mut peer = server.connect(kind);
        let huge = vec![0; (4 << 20) + 1];
        check_refused(&peer.call(&message("t", &huge)), illegal, "more than the 4194304 allowed");
        let properties = format!("a\u{1}{}\u{2}", "b".repeat(32_766)).into();
        let fat = SendMessage { properties, ..message("t", b"x") };
        check_refused(&peer.call(&fat), illegal, "bytes, more than the");
        let mut items = Vec::new();
        for _ in 0..32_769 {
            push_batch_item(&BatchItem { flag: 0, body: b"x", properties: b"" }, &mut items);
        }
        let long = SendMessage { batch: true, ..message("t", &items) };
        check_refused(&peer.call(&long), illegal, "32768 are allowed");
    }
}

#[test]
fn an_operator_chooses_how_large_messages_and_how_many_queues_may_be() {
    let server = start(ServerConfig { template_queues: 2, message_bytes_max: 10, ..config() });
    let mut peer = server.connect(HeaderKind::Json);
    peer.send("t", &[b'x'; 10]);
    let refused = peer.call(&message("t", &[b'x'; 11]));
    check_refused(&refused, ResponseCode::MESSAGE_ILLEGAL, "more than the 10 allowed");
    // It wished for 4 queues.
    let third = SendMessage { queue_id: Some(QueueId(2)), ..message("t", b"x") };
    check_refused(&peer.call(&third), ResponseCode::INVALID_PARAMETER, "has 2 queues");
}

#[test]
fn a_pull_gets_no_more_than_it_may() {
    let server = start(ServerConfig { segment_bytes: 16 << 20, ..config() });
    let mut peer = server.connect(HeaderKind::Json);
    let mut items = Vec::new();
    for _ in 0..5_000 {
        push_batch_item(&BatchItem { flag: 0, body: b"x", properties: b"" }, &mut items);
    }
    peer.call(&SendMessage { batch: true, ..message("small", &items) });
    let body = vec![b'x'; 3 << 20];
    for _ in 0..2 {
        peer.send("large", &body);
    }
    let mut pulled = |topic: &'static str| {
        let all = Some(i32::MAX);
        let pull =
            PullMessage { messages_max: i32::MAX, bytes_max: all, ..pull(topic, QueueOffset(0)) };
        peer.call(&pull).records().len()
    };
    assert_eq!((pulled("small"), pulled("large")), (4_096, 1));
}

/// A server of whose log little is in memory, and so slow a disk that nothing more comes of it.
fn with_questions(limits: Limits, hands: &Hands) -> (Server, GatedDisk) {
    let disk = GatedDisk::open();
    let config = ServerConfig { segment_bytes: 64 << 10, ..limited(limits) };
    let server = Server::start_at(Arc::new(disk.clone()), config, hands.clock()).unwrap();
    let mut peer = server.connect(HeaderKind::Json);
    let body = vec![b'x'; 10_000];
    for _ in 0..60 {
        peer.send("t", &body);
    }
    disk.close(Some(Work::Read));
    (server, disk)
}

fn question() -> SearchOffset<'static> {
    let boundary = Some("LOWER".into());
    SearchOffset { topic: "t".into(), queue_id: QueueId(0), timestamp_ms: 1, boundary }
}

/// The readers have two threads, and as many places for what waits for these.
const AT_READERS: usize = 2 + 64;

#[test]
fn questions_beyond_those_that_may_wait_are_told_to_come_again() {
    let limits = Limits { questions_max: 3, ..Limits::default() };
    let (server, disk) = with_questions(limits, &Hands::default());
    let mut peer = server.connect(HeaderKind::Json);
    // The readers take one after the other.
    for _ in 0..AT_READERS {
        peer.ask(&question());
        peer.handled_so_far();
        disk.is_waited_for();
    }
    let waiting: Vec<i32> = (0..5).map(|_| peer.ask(&question())).collect();
    let refused = peer.receive();
    check_refused(&refused, BUSY, OVERLOAD);
    assert!(waiting.contains(&refused.header().opaque));
    disk.close(None);
    let mut answered = 0;
    while answered < AT_READERS + 2 {
        let code = peer.receive().code();
        assert!(code == ResponseCode::SUCCESS || code == BUSY, "{code:?}");
        answered += 1;
    }
}

#[test]
fn a_question_that_has_waited_for_too_long_is_not_looked_into() {
    let hands = Hands::default();
    let (server, disk) = with_questions(Limits::default(), &hands);
    let mut peer = server.connect(HeaderKind::Json);
    for _ in 0..AT_READERS {
        peer.ask(&question());
    }
    disk.is_waited_for();
    peer.handled_so_far();
    let late = (0..10).map(|_| peer.ask(&question())).last().unwrap();
    peer.handled_so_far();
    hands.pass(5_000);
    // No clock of a test ends the reactor's sleep, but this does.
    let other = server.connect(HeaderKind::Json).call(&HELLO);
    assert_eq!(other.code(), ResponseCode::SUCCESS);
    let text = "[TIMEOUT_CLEAN_QUEUE]broker busy, start flow control for a while, \
                period in queue: 5000ms, size of queue: ";
    loop {
        let refused = peer.receive();
        check_refused(&refused, BUSY, text);
        if refused.header().opaque == late {
            break;
        }
    }
    disk.close(None);
    assert_eq!(peer.receive().code(), ResponseCode::SUCCESS);
}

#[test]
fn a_send_whose_producer_has_given_up_is_not_stored() {
    let (hands, disk) = (Hands::default(), GatedDisk::open());
    let server = Server::start_at(Arc::new(disk.clone()), config(), hands.clock()).unwrap();
    let mut first = server.connect(HeaderKind::Json);
    let mut second = server.connect(HeaderKind::Json);
    first.send("t", b"a");
    disk.close(Some(Work::Write));
    first.ask(&message("t", b"b"));
    disk.is_waited_for();
    // The system takes no bytes of the log for longer than a producer waits.
    let oneway = second.encode(&message("t", b"sent once"), CallMode::Oneway);
    second.write(&oneway);
    second.ask(&message("t", b"c"));
    hands.pass(3_000);
    disk.close(None);
    assert_eq!(first.receive().code(), ResponseCode::SUCCESS);
    let text = "[TIMEOUT_CLEAN_QUEUE]broker busy, start flow control for a while, \
                period in queue: 3000ms, size of queue: 0";
    check_refused(&second.receive(), BUSY, text);
    // Its next try, and everybody's, is taken.
    second.send("t", b"c again");
    assert_eq!(first.all("t"), ["a", "b", "sent once", "c again"]);
}

#[test]
fn a_stop_answers_what_was_taken_and_leaves_it_on_the_disk() {
    let disk = GatedDisk::open();
    let sync = ServerConfig { flush: FlushMode::Sync, ..config() };
    let server = Server::start(Arc::new(disk.clone()), sync.clone()).unwrap();
    let address = server.addresses().broker.unwrap();
    let mut peer = server.connect(HeaderKind::Json);
    peer.send("t", b"before");
    disk.set_open(false);
    let asked: Vec<i32> = (0..100).map(|_| peer.ask(&message("t", b"waiting"))).collect();
    let held = peer.ask(&long_pull("t", QueueOffset(1)));
    peer.handled_so_far();
    let stopping = thread::spawn(move || server.stop());
    // It takes nobody in any more once it stops.
    becomes_true("the end of listening", || TcpStream::connect(address).is_err());
    disk.set_open(true);
    let mut answered = Vec::new();
    while let Some(answer) = peer.receive_or_end() {
        assert_eq!(answer.code(), ResponseCode::SUCCESS, "{}", answer.remark());
        answered.push(answer.header().opaque);
    }
    answered.sort();
    assert_eq!(answered, [asked, vec![held]].concat());
    stopping.join().unwrap().unwrap();
    let server = Server::start(Arc::new(disk), sync).unwrap();
    assert!(server.recovered().clean);
    assert_eq!(server.connect(HeaderKind::Json).all("t").len(), 101);
}

#[test]
fn a_request_for_figures_that_does_not_end_is_cut_off() {
    let metrics_listen = Some(([127, 0, 0, 1], 0).into());
    let server = start(ServerConfig { metrics_listen, ..config() });
    let mut stream = TcpStream::connect(server.metrics_address().unwrap()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    // The server may close before all of it is written.
    let _ = stream.write_all(&[b'x'; 20 << 10]);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    assert!(answer.is_empty(), "{answer:?}");
}
