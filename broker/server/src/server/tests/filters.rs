mod hostile; // modules that mean harm, while others are served
mod kept; // what becomes of modules and of what is attached over restarts
#[path = "../../../../../wasm-filters/host/src/tests/text.rs"]
mod text;

use millrace_protocol::{
    AttachFilter, AttachedFilter, AttachedFilters, FilterPlace, FilterRequest, FilterTerms,
    PullAnswer, PullMessage, PullStatus, ResponseCode, SendBack, SendMessage,
};
use millrace_types::QueueOffset;
use millrace_wasm_host::Limits as FilterLimits;

use super::peer::{Received, long_pull, message, pull};
use super::*;
use crate::filters::FILTERS_MAX;
use crate::handlers::filters::MODULE_BYTES_MAX;
use text::{BASE, LOOP, filter_with, manifest, section};

/// A module that keeps what begins with `k`, drops what begins with `d`, and does `evil` for what
/// begins with `x`.
fn module(evil: &str) -> Vec<u8> {
    wat::parse_str(filter_with("", "", evil)).unwrap()
}

/// Keeps bodies that begin with one letter.
fn begins(letter: char) -> Vec<u8> {
    let (manifest, letter) = (section(&manifest("filter", "")), u32::from(letter));
    let text = format!(
        r#"(module {BASE} {LOOP} {manifest}
          (func $judge (param $batch i32) (param $i i32) (result i32)
            (i32.eq (i32.const {letter})
              (i32.load8_u (call $body (local.get $batch) (local.get $i)))))
          (func (export "mr_filter") (param $batch i32) (param i32) (param $verdicts i32) (result i32)
            (call $judge_all (local.get $batch) (local.get $verdicts))))"#
    );
    wat::parse_str(text).unwrap()
}

fn place<'a>(group: Option<&'a str>, topic: Option<&'a str>) -> FilterPlace<'a> {
    FilterPlace { group: group.map(Into::into), topic: topic.map(Into::into) }
}

fn attach<'a>(
    group: Option<&'a str>,
    topic: Option<&'a str>,
    module: &'a [u8],
) -> FilterRequest<'a> {
    let terms = FilterTerms { params: "{}".into(), on_failure: "deliver".into() };
    FilterRequest::Attach(AttachFilter { place: place(group, topic), terms, module })
}

/// What a group is given of queue 0.
fn pull_of<'a>(group: &'a str, topic: &'a str, from: u64) -> PullMessage<'a> {
    PullMessage { group: group.into(), ..pull(topic, QueueOffset(from)) }
}

fn next_of(received: &Received) -> (PullStatus, u64) {
    let answer = PullAnswer::decode(&received.header()).unwrap();
    (answer.status, answer.next.0)
}

impl Peer {
    #[track_caller]
    fn done(&mut self, request: &FilterRequest<'_>) {
        let answer = self.call(request);
        assert_eq!(answer.code(), ResponseCode::SUCCESS, "{}", answer.remark());
    }

    fn filters(&mut self) -> Vec<AttachedFilter> {
        AttachedFilters::decode(self.call(&FilterRequest::List).body()).unwrap().0
    }

    /// Messages kept, dropped and failed at by the only filter.
    fn counts(&mut self) -> [u64; 3] {
        let filters = self.filters();
        let [filter] = &filters[..] else { panic!("{filters:?}") };
        [filter.kept, filter.dropped, filter.failed]
    }

    fn send_all(&mut self, topic: &str, bodies: &[&str]) {
        for body in bodies {
            self.send(topic, body.as_bytes());
        }
    }

    /// Everything a group is given of queue 0, whatever pulls that takes, and where it ends.
    fn given(&mut self, group: &str, topic: &str) -> (Vec<String>, u64) {
        let (mut bodies, mut next) = (Vec::new(), 0);
        loop {
            let pulled = self.call(&pull_of(group, topic, next));
            match pulled.code() {
                ResponseCode::SUCCESS => bodies.extend(pulled.bodies()),
                ResponseCode::PULL_RETRY_IMMEDIATELY => {}
                ResponseCode::PULL_NOT_FOUND => return (bodies, next),
                other => panic!("{other}: {}", pulled.remark()),
            }
            let (_, at) = next_of(&pulled);
            assert!(at > next, "a pull goes on");
            next = at;
        }
    }
}

fn start_on(disk: &SimDisk) -> Server {
    Server::start(Arc::new(disk.clone()), config()).unwrap()
}

#[test]
fn consumers_are_given_what_their_filter_keeps() {
    for kind in KINDS {
        let server = start_default();
        let mut peer = server.connect(kind);
        peer.send_all("t", &["a1", "b1", "b2", "a2"]);
        peer.done(&attach(Some("g"), None, &begins('a')));
        assert_eq!(peer.given("g", "t"), (vec!["a1".to_owned(), "a2".to_owned()], 4));
        assert_eq!(peer.counts(), [2, 2, 0]);
        assert_eq!(peer.given("h", "t").0.len(), 4, "other groups get all");
        // A range of which nothing is kept moves the consumer on, as with SQL92.
        let nothing = peer.call(&pull_of("g", "t", 1));
        assert_eq!((nothing.code(), nothing.bodies()), (ResponseCode::SUCCESS, vec!["a2".into()]));
        let one = PullMessage { messages_max: 1, ..pull_of("g", "t", 1) };
        assert_eq!(next_of(&peer.call(&one)), (PullStatus::Found, 4));
        peer.done(&FilterRequest::Detach(place(Some("g"), None)));
        assert_eq!(peer.given("g", "t").0.len(), 4);
        assert_eq!(peer.filters(), []);
        let again = peer.call(&FilterRequest::Detach(place(Some("g"), None)));
        assert_eq!(again.code(), ResponseCode::QUERY_NOT_FOUND);
        assert_eq!(again.remark(), "no filter is attached to the group g");
    }
}

#[test]
fn a_range_of_which_nothing_is_kept_moves_the_consumer_on() {
    let server = start_default();
    let mut peer = server.connect(HeaderKind::Json);
    peer.send_all("t", &["b"; 40]);
    peer.done(&attach(Some("g"), None, &begins('a')));
    let nothing = peer.call(&pull_of("g", "t", 0));
    assert_eq!(nothing.code(), ResponseCode::PULL_RETRY_IMMEDIATELY);
    assert_eq!(next_of(&nothing), (PullStatus::NothingMatched, 40));
    assert_eq!(peer.counts(), [0, 40, 0], "in one pull, though it asks for 32 messages");
}

#[test]
fn what_is_subscribed_to_and_all_filters_have_to_keep_a_message() {
    let server = start_default();
    let mut peer = server.connect(HeaderKind::Json);
    for (body, tag) in [("ax", "red"), ("bx", "red"), ("ax", "blue"), ("by", "blue")] {
        let properties = format!("UNIQ_KEY\u{1}7F\u{2}TAGS\u{1}{tag}");
        let sent = message("t", body.as_bytes());
        peer.call(&SendMessage { properties: properties.into(), ..sent });
    }
    peer.done(&attach(None, Some("t"), &begins('a')));
    let pulled = |peer: &mut Peer, subscription: &str, kind: &str| {
        let pulled = peer.call(&PullMessage {
            subscription: Some(subscription.to_owned().into()),
            expression_type: Some(kind.to_owned().into()),
            ..pull_of("g", "t", 0)
        });
        (pulled.bodies(), next_of(&pulled).1)
    };
    let ax = || vec!["ax".to_owned()];
    assert_eq!(pulled(&mut peer, "red", "TAG"), (ax(), 4));
    assert_eq!(pulled(&mut peer, "TAGS = 'blue'", "SQL92"), (ax(), 4));
    assert_eq!(pulled(&mut peer, "green", "TAG"), (vec![], 4));
    // The group's own filter on top of that of the topic, and another one in this topic only.
    peer.done(&attach(Some("g"), None, &begins('b')));
    assert_eq!(pulled(&mut peer, "*", "TAG"), (vec![], 4));
    peer.done(&FilterRequest::Detach(place(None, Some("t"))));
    assert_eq!(pulled(&mut peer, "*", "TAG").0, ["bx", "by"]);
    peer.done(&attach(Some("g"), Some("t"), &begins('a')));
    assert_eq!(pulled(&mut peer, "*", "TAG"), (vec![], 4));
    assert_eq!(peer.filters().len(), 2);
}

#[test]
fn several_groups_have_different_filters_on_one_topic() {
    let server = start_default();
    let mut peer = server.connect(HeaderKind::Binary);
    peer.send_all("t", &["a", "b", "c", "a"]);
    for (group, letter) in [("ga", 'a'), ("gb", 'b')] {
        peer.done(&attach(Some(group), None, &begins(letter)));
    }
    assert_eq!(peer.given("ga", "t").0, ["a", "a"]);
    assert_eq!(peer.given("gb", "t").0, ["b"]);
    assert_eq!(peer.given("all", "t").0.len(), 4);
    // What takes the place of another filter counts from the beginning.
    peer.done(&attach(Some("ga"), None, &begins('c')));
    assert_eq!(peer.given("ga", "t").0, ["c"]);
    let of_ga = peer.filters().into_iter().find(|f| f.group.as_deref() == Some("ga")).unwrap();
    assert_eq!((of_ga.kept, of_ga.dropped), (1, 3));
}

#[test]
fn a_waiting_consumer_is_woken_by_what_is_kept_only() {
    let server = start_default();
    let mut sender = server.connect(HeaderKind::Json);
    sender.send_all("t", &["b"]);
    sender.done(&attach(Some("g"), None, &begins('a')));
    let mut reader = server.connect(HeaderKind::Json);
    let waiting = PullMessage { group: "g".into(), ..long_pull("t", QueueOffset(1)) };
    let opaque = reader.ask(&waiting);
    reader.handled_so_far();
    for n in 1..=5 {
        sender.send("t", b"b");
        becomes_true("the verdict", || sender.counts() == [0, n, 0]);
    }
    // It waits again, and has been answered nothing: the next frame is that of the hello.
    reader.handled_so_far();
    sender.send("t", b"a");
    let woken = reader.receive();
    assert_eq!((woken.header().opaque, woken.bodies()), (opaque, vec!["a".to_owned()]));
    assert_eq!(next_of(&woken), (PullStatus::Found, 7));
}

#[test]
fn a_consumer_that_waited_in_vain_is_told_where_to_go_on() {
    let hands = Hands::default();
    let server = Server::start_at(Arc::new(SimDisk::new(1)), config(), hands.clock()).unwrap();
    let mut sender = server.connect(HeaderKind::Json);
    sender.send_all("t", &["b"]);
    sender.done(&attach(Some("g"), None, &begins('a')));
    let mut reader = server.connect(HeaderKind::Json);
    let opaque = reader.ask(&PullMessage { group: "g".into(), ..long_pull("t", QueueOffset(1)) });
    reader.handled_so_far();
    sender.send("t", b"b");
    becomes_true("the verdict", || sender.counts() == [0, 1, 0]);
    hands.pass(30_000);
    // Somebody has to make the reactor look at the clock.
    sender.handled_so_far();
    let answer = reader.receive();
    assert_eq!(answer.header().opaque, opaque);
    assert_eq!(next_of(&answer), (PullStatus::NotFound, 2));
}

#[test]
fn who_waits_for_what_is_kept_is_told_when_the_server_stops() {
    let server = start_default();
    let mut peer = server.connect(HeaderKind::Json);
    peer.send_all("t", &["b"]);
    peer.done(&attach(Some("g"), None, &begins('a')));
    let mut reader = server.connect(HeaderKind::Json);
    reader.ask(&PullMessage { group: "g".into(), ..long_pull("t", QueueOffset(1)) });
    reader.handled_so_far();
    peer.send("t", b"b");
    becomes_true("the verdict", || peer.counts() == [0, 1, 0]);
    server.stop().unwrap();
    assert_eq!(reader.receive().code(), ResponseCode::PULL_NOT_FOUND);
}

#[test]
fn what_has_failed_comes_again_whatever_the_filter_says() {
    let delay_levels = millrace_engine::DelayLevels::of_ms((1..=18).map(|level| level * 20));
    let server = start(ServerConfig { delay_levels, ..config() });
    let mut peer = server.connect(HeaderKind::Json);
    peer.send("t", b"a");
    let first = peer.call(&pull_of("g", "t", 0)).records()[0].physical_offset();
    peer.done(&attach(Some("g"), None, &begins('b')));
    let back = SendBack {
        physical_offset: first,
        group: "g".into(),
        delay_level: 0,
        origin_message_id: None,
        origin_topic: Some("t".into()),
        unit_mode: false,
        max_reconsume_times: None,
    };
    assert_eq!(peer.call(&back).code(), ResponseCode::SUCCESS);
    let again = loop {
        let waiting = PullMessage { group: "g".into(), ..long_pull("%RETRY%g", QueueOffset(0)) };
        let pulled = peer.call(&waiting);
        if pulled.code() == ResponseCode::SUCCESS {
            break pulled;
        }
    };
    assert_eq!(again.bodies(), ["a"]);
    assert_eq!(peer.counts(), [0, 0, 0]);
}

#[test]
fn what_cannot_be_attached_is_refused_with_the_reason() {
    let server = start_default();
    let mut peer = server.connect(HeaderKind::Json);
    let good = begins('a');
    let mut refused = |request: &FilterRequest<'_>, code: ResponseCode, reason: &str| {
        let answer = peer.call(request);
        assert!(
            answer.code() == code && answer.remark().contains(reason),
            "{} {} instead of {code} {reason}",
            answer.code(),
            answer.remark()
        );
    };
    let invalid = ResponseCode::INVALID_PARAMETER;
    refused(&attach(None, None, &good), invalid, "to a group, a topic, or both");
    refused(&attach(Some("a b"), None, &good), invalid, "the group is illegal");
    refused(&attach(Some("g"), None, b"(module)"), invalid, "not a WebAssembly module");
    let map = wat::parse_str(format!(
        r#"(module {BASE} {} (func (export "mr_map") (param i32 i32 i32) (result i32)
            (i32.const 0)))"#,
        section(&manifest("map", ""))
    ));
    refused(&attach(Some("g"), None, &map.unwrap()), invalid, "only keeps or drops");
    let long = vec![0; MODULE_BYTES_MAX + 1];
    refused(&attach(Some("g"), None, &long), invalid, "at most 4194304 bytes");
    let with = |params: &'static str, on_failure: &'static str| {
        let terms = FilterTerms { params: params.into(), on_failure: on_failure.into() };
        let place = place(Some("g"), None);
        FilterRequest::Attach(AttachFilter { place, terms, module: &good })
    };
    refused(&with("[]", "drop"), invalid, "no JSON object");
    refused(&with(r#"{"x":1}"#, "drop"), invalid, "there is no parameter `x`");
    refused(&with("{}", "keep"), invalid, "`deliver` or `drop`");
    assert_eq!(peer.filters(), []);
}

#[test]
fn a_module_that_is_too_long_is_refused() {
    let server = start_default();
    let mut peer = server.connect(HeaderKind::Json);
    let refused = peer.call(&attach(Some("g"), None, &vec![0; MODULE_BYTES_MAX + 1]));
    assert_eq!(refused.code(), ResponseCode::INVALID_PARAMETER);
    assert!(refused.remark().contains("at most 4194304 bytes"), "{}", refused.remark());
}

#[test]
fn a_broker_has_so_many_filters() {
    let server = start_default();
    let mut peer = server.connect(HeaderKind::Json);
    let module = begins('a');
    for n in 0..FILTERS_MAX {
        peer.done(&attach(Some(&format!("g{n}")), None, &module));
    }
    let refused = peer.call(&attach(Some("one-more"), None, &module));
    assert_eq!(refused.code(), ResponseCode::SYSTEM_ERROR);
    assert!(refused.remark().contains("at most 100 filters"), "{}", refused.remark());
    peer.done(&attach(Some("g7"), None, &module));
    peer.done(&FilterRequest::Detach(place(Some("g7"), None)));
    peer.done(&attach(Some("one-more"), None, &module));
}

#[test]
fn the_figures_tell_of_filters() {
    let metrics_listen = Some(([127, 0, 0, 1], 0).into());
    let server = start(ServerConfig { metrics_listen, ..config() });
    let mut peer = server.connect(HeaderKind::Json);
    peer.send_all("t", &["k", "d", "x", "d"]);
    peer.done(&attach(Some("g"), Some("t"), &module("unreachable")));
    assert_eq!(peer.given("g", "t").0, ["k", "x"], "what it fails at is delivered");
    let answer = super::metrics::ask(&server, "GET /metrics HTTP/1.1\r\n\r\n");
    for line in [
        "millrace_filter_kept_total{consumer_group=\"g\",topic=\"t\"} 1",
        "millrace_filter_dropped_total{consumer_group=\"g\",topic=\"t\"} 2",
        "millrace_filter_failed_total{consumer_group=\"g\",topic=\"t\"} 1",
        "millrace_filter_troubled{consumer_group=\"g\",topic=\"t\"} 0",
    ] {
        assert!(answer.lines().any(|known| known == line), "no {line} in {answer}");
    }
    let [filter] = &peer.filters()[..] else { panic!("one is attached") };
    assert_eq!(filter.trouble, None);
    let last = filter.last_failure.as_deref().unwrap();
    assert!(last.contains("unreachable"), "{last}");
}

#[test]
fn a_message_that_a_filter_fails_at_is_dropped_if_that_is_wanted() {
    let server = start_default();
    let mut peer = server.connect(HeaderKind::Json);
    peer.send_all("t", &["k", "x", "d", "k"]);
    let terms = FilterTerms { params: "{}".into(), on_failure: "drop".into() };
    let module = module("unreachable");
    let attach = AttachFilter { place: place(Some("g"), None), terms, module: &module };
    peer.done(&FilterRequest::Attach(attach));
    assert_eq!(peer.given("g", "t"), (vec!["k".to_owned(), "k".to_owned()], 4));
    assert_eq!(peer.counts(), [2, 1, 1]);
}

#[test]
fn a_waiting_pull_goes_by_what_is_attached_now() {
    let server = start_default();
    let (mut waits, mut peer) =
        (server.connect(HeaderKind::Json), server.connect(HeaderKind::Json));
    peer.send("t", b"b");
    let wait = |waits: &mut Peer, from| {
        let long = long_pull("t", QueueOffset(from));
        waits.ask(&PullMessage { group: "g".into(), ..long });
        waits.handled_so_far();
    };
    wait(&mut waits, 1);
    peer.done(&attach(Some("h"), None, &begins('a')));
    waits.handled_so_far();
    peer.done(&attach(None, Some("t"), &begins('a')));
    assert_eq!(next_of(&waits.receive()), (PullStatus::NothingMatched, 1));
    wait(&mut waits, 1);
    peer.send("t", b"b");
    waits.handled_so_far();
    peer.done(&FilterRequest::Detach(place(None, Some("t"))));
    assert_eq!(next_of(&waits.receive()), (PullStatus::NothingMatched, 1));
    assert_eq!(waits.call(&pull_of("g", "t", 1)).bodies(), ["b"]);
}
