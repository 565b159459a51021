use std::borrow::Cow;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use millrace_protocol::{
    Call, CallMode, Frame, Header, HeaderKind, Hello, Limits, PullAnswer, PullMessage, RequestCode,
    ResponseCode, SendAnswer, SendMessage, Split, pull_flag,
};
use millrace_types::record::{self, Record};
use millrace_types::{QueueId, QueueOffset};

/// A client that writes frames and reads answers. A test that would wait for ever fails after ten
/// seconds instead.
pub(super) struct Peer {
    stream: TcpStream,
    kind: HeaderKind,
    read: Vec<u8>,
    opaque: i32,
}

/// One frame as it came.
pub(super) struct Received {
    kind: HeaderKind,
    bytes: Vec<u8>,
    header_len: usize,
}

impl Received {
    fn frame(&self) -> Frame<'_> {
        let (header, body) = self.bytes.split_at(self.header_len);
        Frame { header_kind: self.kind, header, body }
    }

    pub(super) fn header(&self) -> Header<'_> {
        self.frame().header().unwrap()
    }

    pub(super) fn body(&self) -> &[u8] {
        &self.bytes[self.header_len..]
    }

    pub(super) fn code(&self) -> ResponseCode {
        self.header().response_code()
    }

    pub(super) fn remark(&self) -> String {
        self.header().remark.into_owned()
    }

    /// The records of a pull.
    pub(super) fn records(&self) -> Vec<Record<'_>> {
        record::iter(self.body()).map(Result::unwrap).collect()
    }

    pub(super) fn bodies(&self) -> Vec<String> {
        let text = |record: &Record<'_>| String::from_utf8_lossy(record.body()).into_owned();
        self.records().iter().map(text).collect()
    }
}

/// A call of any code, for those that have no type.
pub(super) struct Bare(pub(super) i32);

impl Call for Bare {
    fn code(&self) -> RequestCode {
        RequestCode(self.0)
    }

    fn fields(&self, _to: &mut millrace_protocol::FieldWriter<'_>) {}
}

/// Answered at once.
pub(super) const HELLO: Hello<'static> =
    Hello { product: Cow::Borrowed("test"), version: Cow::Borrowed("0") };

impl Peer {
    pub(super) fn connect(address: SocketAddr, kind: HeaderKind) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream, kind, read: Vec::new(), opaque: 0 }
    }

    pub(super) fn write(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
    }

    /// Whether the server took all of it.
    pub(super) fn try_write(&mut self, bytes: &[u8]) -> bool {
        self.stream.write_all(bytes).is_ok()
    }

    /// Encodes a request with the next opaque.
    pub(super) fn encode(&mut self, call: &impl Call, mode: CallMode) -> Vec<u8> {
        self.opaque += 1;
        let mut out = Vec::new();
        call.write(self.kind, self.opaque, mode, &mut out);
        out
    }

    /// Sends a request without waiting; answers its opaque.
    pub(super) fn ask(&mut self, call: &impl Call) -> i32 {
        let bytes = self.encode(call, CallMode::Answered);
        self.write(&bytes);
        self.opaque
    }

    /// The next frame, whatever it is.
    pub(super) fn receive(&mut self) -> Received {
        self.receive_or_end().expect("the connection is open")
    }

    /// The next frame; `None` once the server has closed the connection.
    pub(super) fn receive_or_end(&mut self) -> Option<Received> {
        let mut chunk = [0; 64 << 10];
        loop {
            let split = Frame::split(&self.read, &Limits::default()).unwrap();
            if let Split::Frame(frame, len) = split {
                let received = Received {
                    kind: frame.header_kind,
                    bytes: [frame.header, frame.body].concat(),
                    header_len: frame.header.len(),
                };
                self.read.drain(..len);
                return Some(received);
            }
            match self.stream.read(&mut chunk) {
                Ok(0) => return None,
                Ok(n) => self.read.extend_from_slice(&chunk[..n]),
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return None,
                Err(error) => panic!("nothing to read: {error}"),
            }
        }
    }

    /// Whether a whole frame has come.
    pub(super) fn has_frame(&mut self) -> bool {
        let mut chunk = [0; 4 << 10];
        self.stream.set_nonblocking(true).unwrap();
        while let Ok(n @ 1..) = self.stream.read(&mut chunk) {
            self.read.extend_from_slice(&chunk[..n]);
        }
        self.stream.set_nonblocking(false).unwrap();
        matches!(Frame::split(&self.read, &Limits::default()), Ok(Split::Frame(..)))
    }

    /// A request and its answer, which has to be the next frame.
    pub(super) fn call(&mut self, call: &impl Call) -> Received {
        let opaque = self.ask(call);
        let received = self.receive();
        let header = received.header();
        assert!(header.is_response());
        assert_eq!((header.opaque, header.kind), (opaque, self.kind));
        received
    }

    /// Comes back once everything sent before has been handled, by whomever: answers come in the
    /// order in which they are ready, and this one is ready at once.
    pub(super) fn handled_so_far(&mut self) {
        self.call(&HELLO);
    }

    /// Sends one message to queue 0, creating the topic.
    pub(super) fn send(&mut self, topic: &str, body: &[u8]) -> QueueOffset {
        let answer = self.call(&message(topic, body));
        SendAnswer::decode(&answer.header()).unwrap().queue_offset
    }

    /// All messages of queue 0.
    pub(super) fn all(&mut self, topic: &str) -> Vec<String> {
        let (mut next, mut bodies) = (QueueOffset(0), Vec::new());
        loop {
            let pulled = self.call(&pull(topic, next));
            if pulled.code() != ResponseCode::SUCCESS {
                return bodies;
            }
            bodies.extend(pulled.bodies());
            next = PullAnswer::decode(&pulled.header()).unwrap().next;
        }
    }
}

/// A message for queue 0 of a topic that is created if need be.
pub(super) fn message<'a>(topic: &'a str, body: &'a [u8]) -> SendMessage<'a> {
    SendMessage {
        producer_group: "producers".into(),
        default_topic: "TBW102".into(),
        queue_id: Some(QueueId(0)),
        born_at_ms: 1_700_000_000_000,
        properties: "UNIQ_KEY\u{1}7F000001\u{2}TAGS\u{1}a".into(),
        ..SendMessage::new(topic, body)
    }
}

/// A pull from queue 0 that brings its own subscription and does not wait.
pub(super) fn pull(topic: &str, from: QueueOffset) -> PullMessage<'_> {
    PullMessage {
        group: "readers".into(),
        topic: topic.into(),
        queue_id: QueueId(0),
        offset: Some(from),
        messages_max: 32,
        sys_flag: pull_flag::SUBSCRIPTION,
        commit_offset: None,
        suspend_ms: 0,
        subscription: Some("*".into()),
        subscription_version: 0,
        expression_type: None,
        bytes_max: None,
    }
}

/// The same, waiting for up to 30 s.
pub(super) fn long_pull(topic: &str, from: QueueOffset) -> PullMessage<'_> {
    let sys_flag = pull_flag::SUBSCRIPTION | pull_flag::SUSPEND;
    PullMessage { sys_flag, suspend_ms: 30_000, ..pull(topic, from) }
}
