//! A reactor whose turns the test makes itself.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;

use millrace_disk::SimDisk;
use millrace_protocol::{Call, Frame, Limits as FrameLimits, ResponseCode, SendMessage, Split};
use millrace_store::StoreConfig;

use super::*;
use crate::config::Limits;
use crate::core::{Core, CoreConfig};
use crate::dispatch::Role;
use crate::filters::Filters;
use crate::flushing::Flushing;
use crate::shell::{Names, Serves};
use crate::waiting::ReplyTo;

/// A reactor at a time that never changes, with what wakes it and where it listens.
struct Still {
    reactor: Reactor,
    waker: Arc<Waker>,
    at: SocketAddr,
    events: Events,
    _core: Core,
}

const NOW_MS: u64 = 10_000;

impl Still {
    fn new() -> Self {
        let clock = Arc::new(|| Now { mono_ms: NOW_MS, wall_ms: 1_700_000_000_000 });
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
        let shell = Shell::new(names, Limits::default(), shared, Arc::new(filters));
        let (reactor, waker) =
            Reactor::new(core.shared(), shell, vec![listener], Arc::default()).unwrap();
        let mut still = Self { reactor, waker, at, events: Events::with_capacity(16), _core: core };
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
