//! A reactor whose turns the test makes itself.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::OnceLock;
use std::sync::atomic::AtomicU64;
use std::sync::mpsc::{Sender, channel};

use millrace_disk::SimDisk;
use millrace_engine::Space;
use millrace_protocol::{
    Call, CallMode, ConsumeFrom, ConsumeType, ConsumerData, FieldWriter, Frame, HeaderKind,
    Heartbeat, Limits as FrameLimits, MessageModel, PullMessage, RequestCode, ResponseCode,
    SendMessage, Split, pull_flag,
};
use millrace_store::StoreConfig;
use millrace_types::{QueueId, QueueOffset};

use super::*;
use crate::config::Limits;
use crate::core::{Core, CoreConfig, Step};
use crate::dispatch::Role;
use crate::filters::Filters;
use crate::flushing::Flushing;
use crate::shell::{Names, Serves};
use crate::waiting::ReplyTo;

/// A reactor at a time that the test changes, with what wakes it and where it listens.
struct Still {
    reactor: Reactor,
    waker: Arc<Waker>,
    now_ms: Arc<AtomicU64>,
    at: SocketAddr,
    events: Events,
    _core: Core,
}

const NOW_MS: u64 = 10_000;

impl Still {
    fn new() -> Self {
        Self::within(Limits::default())
    }

    fn within(limits: Limits) -> Self {
        let now_ms = Arc::new(AtomicU64::new(NOW_MS));
        let hands = Arc::clone(&now_ms);
        let clock = Arc::new(move || Now {
            mono_ms: hands.load(Ordering::SeqCst),
            wall_ms: 1_700_000_000_000,
        });
        let store = StoreConfig { segment_bytes: 1 << 20, ..StoreConfig::default() };
        let config =
            CoreConfig { store, flushing: Flushing::Manual, clock, ..CoreConfig::default() };
        let (core, _) = Core::open(Arc::new(SimDisk::new(1)), Path::new("/data"), config).unwrap();
        let listener = Listener::bind(([127, 0, 0, 1], 0).into(), Role::Broker).unwrap();
        let at = listener.address().unwrap();
        let names = Names {
            host: at,
            namesrv: None,
            broker: Arc::clone(core.name()),
            cluster: "cluster".into(),
            auto_create_topics: true,
            template_queues: 1,
            serves: Serves::Messages,
        };
        let host = Box::new(|| unreachable!("there are no filters"));
        let shared = Arc::clone(core.shared());
        let filters = Filters::open(Arc::new(SimDisk::new(2)), Path::new("/data"), shared, host);
        let shared = Arc::clone(core.shared());
        let shell = Shell::new(names, limits, shared, Arc::new(filters));
        let (reactor, waker) =
            Reactor::new(core.shared(), shell, vec![listener], Arc::default()).unwrap();
        let events = Events::with_capacity(16);
        let mut still = Self { reactor, waker, now_ms, at, events, _core: core };
        still.reactor.turn();
        still
    }

    fn wait(&mut self) {
        self.reactor.wait(&mut self.events).unwrap();
    }

    fn wait_until(&mut self, holds: impl Fn(&Reactor) -> bool) {
        for _ in 0..100 {
            if holds(&self.reactor) {
                return;
            }
            self.wait();
        }
        panic!("it does not come about");
    }

    fn turn_until(&mut self, holds: impl Fn(&Reactor) -> bool) {
        for _ in 0..100 {
            self.reactor.turn();
            if holds(&self.reactor) {
                return;
            }
            self.wait();
        }
        panic!("it does not come about");
    }

    /// Bytes that were ever written to those who are connected.
    fn written(&self) -> usize {
        self.reactor.connections.iter().map(|peer| peer.output.end() as usize).sum()
    }

    fn connect(&mut self) -> TcpStream {
        let known = self.reactor.connections.len();
        let peer = TcpStream::connect(self.at).unwrap();
        peer.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        self.wait_until(|reactor| reactor.connections.len() > known);
        peer
    }
}

/// The codes of a frame that comes and of those that have come with it.
fn received(peer: &mut TcpStream) -> Vec<i32> {
    let mut first = vec![0];
    peer.read_exact(&mut first).unwrap();
    received_already(peer, first)
}

/// The codes of all frames that have come, the first of which begins so.
fn received_already(peer: &mut TcpStream, mut bytes: Vec<u8>) -> Vec<i32> {
    peer.set_nonblocking(true).unwrap();
    assert_eq!(peer.read_to_end(&mut bytes).unwrap_err().kind(), io::ErrorKind::WouldBlock);
    peer.set_nonblocking(false).unwrap();
    let (mut rest, mut codes) = (&bytes[..], Vec::new());
    while let Split::Frame(frame, len) = Frame::split(rest, &FrameLimits::default()).unwrap() {
        codes.push(frame.header().unwrap().code);
        rest = &rest[len..];
    }
    assert_eq!(rest, b"");
    codes
}

#[test]
fn a_send_that_comes_after_a_slow_turn_has_not_waited() {
    let mut still = Still::new();
    let mut peer = TcpStream::connect(still.at).unwrap();
    peer.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    still.wait_until(|reactor| reactor.connections.len() == 1);
    still.reactor.busy_ms = 3_000;
    // There is something to do, but nothing that somebody has sent.
    still.waker.wake().unwrap();
    still.wait();
    let send = SendMessage { default_topic: "TBW102".into(), ..SendMessage::new("t", b"x") };
    let mut bytes = Vec::new();
    send.write(HeaderKind::Json, 7, CallMode::Answered, &mut bytes);
    peer.write_all(&bytes).unwrap();
    still.wait_until(|reactor| !reactor.ready.is_empty());
    still.reactor.turn();
    let mut answer = [0; 1024];
    let read = peer.read(&mut answer).unwrap();
    let Split::Frame(frame, _) = Frame::split(&answer[..read], &FrameLimits::default()).unwrap()
    else {
        panic!("half an answer: {read} bytes");
    };
    assert_eq!(frame.header().unwrap().response_code(), ResponseCode::SUCCESS);
}

#[test]
fn a_question_has_to_be_looked_at_once_it_is_too_old() {
    let mut still = Still::new();
    let to = ReplyTo { connection: NOBODY, opaque: 1, kind: HeaderKind::Json };
    for asked_ms in [5_500, 5_700] {
        let question = Question { to, asked_ms, work: Box::new(Output::default) };
        still.reactor.shell.questions.push_back(question);
    }
    assert_eq!(still.reactor.due_ms(), 10_500);
}

#[test]
fn members_are_told_once_of_many_that_go_at_once() {
    let mut still = Still::new();
    let mut stay: Vec<TcpStream> = (0..20).map(|_| still.connect()).collect();
    let go: Vec<TcpStream> = (0..20).map(|_| still.connect()).collect();
    let members: Vec<_> = still.reactor.connections.iter().map(|it| it.caller.connection).collect();
    for (n, member) in members.into_iter().enumerate() {
        let consumer = ConsumerData {
            group: "g".into(),
            consume_type: ConsumeType::Push,
            message_model: MessageModel::Clustering,
            consume_from: ConsumeFrom::LastOffset,
            subscriptions: Vec::new(),
            unit_mode: false,
        };
        let client_id = n.to_string();
        let beat = Heartbeat { client_id, consumers: vec![consumer], ..Heartbeat::default() };
        let shell = &mut still.reactor.shell;
        shell.clients.heartbeat(NOW_MS, member, &beat, &crate::conditions::SqlConditions);
    }
    still.reactor.turn();
    let told = [RequestCode::NOTIFY_CONSUMER_IDS_CHANGED.0];
    assert!(stay.iter_mut().all(|peer| received(peer) == told));

    still.now_ms.store(NOW_MS + 1_000, Ordering::SeqCst);
    drop(go);
    still.wait_until(|reactor| reactor.ready.len() == 20);
    still.reactor.turn();
    assert!(stay.iter_mut().all(|peer| received(peer) == told));

    // Who goes right after that is told of a little later.
    let last = stay.pop();
    drop(last);
    still.wait_until(|reactor| reactor.ready.len() == 1);
    still.reactor.turn();
    assert!(stay.iter_mut().all(|peer| received_already(peer, Vec::new()).is_empty()));
    let at = still.reactor.due_ms();
    assert_eq!(at, NOW_MS + 1_002);
    still.now_ms.store(at, Ordering::SeqCst);
    still.reactor.turn();
    assert!(stay.iter_mut().all(|peer| received(peer) == told));
}

#[test]
fn what_a_burst_of_slow_readers_took_is_given_back_by_a_thread_that_may_wait() {
    static TOLD: OnceLock<Sender<String>> = OnceLock::new();
    let (sender, given_back_by) = channel();
    TOLD.set(sender).unwrap();
    let mut still = Still::new();
    still.reactor.give_back_free = || {
        let name = std::thread::current().name().unwrap_or_default().to_owned();
        TOLD.get().unwrap().send(name).unwrap();
    };
    let peer = TcpStream::connect(still.at).unwrap();
    still.wait_until(|reactor| reactor.connections.len() == 1);
    still.reactor.connections.get_mut(0).unwrap().output.push(vec![0; 100 << 20].into());
    still.reactor.count(0);
    let now = still.reactor.shared.now();
    still.reactor.sweep(now);
    assert_eq!(still.reactor.held, 100 << 20);
    still.reactor.remove(0);
    drop(peer);
    // In the first of these periods it was still held, in the others nothing was.
    for _ in 0..4 {
        still.reactor.sweep(now);
    }
    let by = given_back_by.recv_timeout(Duration::from_secs(10)).unwrap();
    assert!(by.starts_with("millrace-read-"), "{by}");
    drop(still);
    assert!(given_back_by.try_recv().is_err(), "once is enough");
}

/// Lists the keys of the namespace `n`, or sets one of them.
struct Keys<'a>(RequestCode, &'a str, &'a str);

impl Call for Keys<'_> {
    fn code(&self) -> RequestCode {
        self.0
    }

    fn fields(&self, to: &mut FieldWriter<'_>) {
        [("namespace", "n"), ("key", self.1), ("value", self.2)]
            .into_iter()
            .for_each(|(name, value)| to.text(name, value));
    }
}

fn ask(call: &impl Call, peer: &mut TcpStream, mode: CallMode) {
    let mut bytes = Vec::new();
    call.write(HeaderKind::Json, 1, mode, &mut bytes);
    peer.write_all(&bytes).unwrap();
}

/// How many keys the name server has.
fn settings(reactor: &Reactor) -> usize {
    let settings = |step: &mut Step<'_>| step.engine.settings(Space::NameServer).count();
    reactor.shared.step(Needs::Policy, settings).unwrap()
}

const ANSWER: usize = 256_000;
const BURST: usize = 512 << 10;

/// Whoever asks for so much at once as may not be held is answered all the same.
fn check_bursts(still: &mut Still, mut ask: impl FnMut(&mut TcpStream)) {
    const PEERS: usize = 40;
    still.turn_until(|reactor| reactor.ready.is_empty());
    let known = still.reactor.connections.len();
    let mut peers: Vec<TcpStream> = (0..PEERS).map(|_| still.connect()).collect();
    for peer in &mut peers {
        ask(peer);
        peer.set_nonblocking(true).unwrap();
    }
    still.wait_until(|reactor| reactor.ready.len() == PEERS);
    let (mut bytes, mut turns, mut missing) = (vec![0; ANSWER], 0, vec![ANSWER; PEERS]);
    loop {
        let before = still.written();
        still.reactor.turn();
        turns += 1;
        let made = still.written() - before;
        assert!(made <= BURST + ANSWER + 10_000, "{made} bytes in one turn");
        for (peer, missing) in peers.iter_mut().zip(&mut missing) {
            while let Ok(read @ 1..) = peer.read(&mut bytes) {
                *missing = missing.saturating_sub(read);
            }
        }
        if missing.iter().all(|missing| *missing == 0) {
            break;
        }
        still.wait();
    }
    assert!(turns >= PEERS / 4, "{turns} turns");
    assert_eq!(still.reactor.connections.len(), known + PEERS, "nobody is closed who reads");
}

fn bursts() -> Still {
    let limits = Limits { burst_bytes_max: BURST, held_bytes_max: 4 << 20, ..Limits::default() };
    Still::within(limits)
}

#[test]
fn large_answers_to_many_are_made_in_several_bursts() {
    let mut still = bursts();
    let mut teller = still.connect();
    for key in 1..=8 {
        let value = "v".repeat(ANSWER / 8);
        let put = Keys(RequestCode::PUT_KV_CONFIG, &key.to_string(), &value);
        ask(&put, &mut teller, CallMode::Oneway);
        still.turn_until(|reactor| settings(reactor) == key);
    }
    let list = Keys(RequestCode::GET_KVLIST_BY_NAMESPACE, "", "");
    check_bursts(&mut still, |peer| ask(&list, peer, CallMode::Answered));
}

#[test]
fn large_pulls_of_many_are_answered_in_several_bursts() {
    let mut still = bursts();
    let mut teller = still.connect();
    let body = vec![b'x'; ANSWER];
    let message = SendMessage { default_topic: "TBW102".into(), ..SendMessage::new("t", &body) };
    let message = SendMessage { queue_id: Some(QueueId(0)), ..message };
    ask(&message, &mut teller, CallMode::Answered);
    still.turn_until(|reactor| reactor.connections.iter().any(|peer| peer.output.end() > 0));
    let pull = PullMessage {
        group: "g".into(),
        topic: "t".into(),
        queue_id: QueueId(0),
        offset: Some(QueueOffset(0)),
        messages_max: 32,
        sys_flag: pull_flag::SUBSCRIPTION,
        commit_offset: None,
        suspend_ms: 0,
        subscription: Some("*".into()),
        subscription_version: 0,
        expression_type: None,
        bytes_max: None,
    };
    check_bursts(&mut still, |peer| ask(&pull, peer, CallMode::Answered));
}

#[test]
fn who_says_something_and_leaves_is_heard_also_in_a_later_burst() {
    let limits = Limits { burst_bytes_max: 0, ..Limits::default() };
    let mut still = Still::within(limits);
    let [mut first, mut second, mut third] = [0, 1, 2].map(|_| still.connect());
    let list = Keys(RequestCode::GET_KVLIST_BY_NAMESPACE, "", "");
    ask(&list, &mut first, CallMode::Answered);
    still.wait_until(|reactor| reactor.ready.len() == 1);
    ask(&list, &mut second, CallMode::Answered);
    still.wait_until(|reactor| reactor.ready.len() == 2);
    ask(&Keys(RequestCode::PUT_KV_CONFIG, "last words", "x"), &mut third, CallMode::Oneway);
    third.shutdown(std::net::Shutdown::Write).unwrap();
    still.wait_until(|reactor| reactor.ready.len() == 3);
    still.reactor.turn();
    // Something is to be sent to it, and its end is seen.
    let last = still.reactor.connections.get_mut(2).unwrap();
    last.output.write(|out| out.push(0));
    still.reactor.mark_dirty(2);
    still.reactor.turn();
    assert!(still.reactor.connections.get_mut(2).unwrap().ended);
    assert_eq!(settings(&still.reactor), 0);
    still.turn_until(|reactor| reactor.connections.len() == 2);
    assert_eq!(settings(&still.reactor), 1);
}

#[test]
fn as_many_go_as_hold_too_much_however_many_grew_at_once() {
    let mut still = Still::within(Limits { held_bytes_max: 1 << 20, ..Limits::default() });
    let _peers = [0, 1, 2, 3].map(|_| still.connect());
    for (peer, len) in still.reactor.connections.iter_mut().zip([400, 410, 420, 430]) {
        peer.output.push(vec![0; len << 10].into());
    }
    (0..4).for_each(|slot| still.reactor.count(slot));
    let held: Vec<_> = still.reactor.connections.iter().map(|peer| peer.counted >> 10).collect();
    assert_eq!(held, [400, 410]);
    assert_eq!(still.reactor.held, 810 << 10);
}
