use std::io;
use std::pin::Pin;
use std::sync::Mutex as StdMutex;
use std::task::{Context, Poll};

use bytes::BytesMut;
use millrace_protocol::{
    AppendGroupWriter, AppendWait, ConsumerListByGroup, Done, GroupChanged, GroupMessage,
    HelloAnswer, Refused, Request, ResponseCode,
};
use millrace_types::QueueId;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, ReadHalf, SimplexStream, WriteHalf};
use tokio::net::TcpListener;

use super::*;

const LONG: Duration = Duration::from_secs(3600);

/// The other end of a connection: reads requests and answers them by hand.
struct Peer<S> {
    stream: S,
    buffer: BytesMut,
}

/// What a peer received.
#[derive(Debug)]
struct Asked {
    opaque: i32,
    oneway: bool,
    group: String,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Peer<S> {
    fn new(stream: S) -> Self {
        Self { stream, buffer: BytesMut::new() }
    }

    async fn frame(&mut self) -> Option<FrameBuf> {
        loop {
            if let Some(frame) = FrameBuf::split(&mut self.buffer, &Limits::default()).unwrap() {
                return Some(frame);
            }
            if self.stream.read_buf(&mut self.buffer).await.unwrap() == 0 {
                return None;
            }
        }
    }

    async fn asked(&mut self) -> Option<Asked> {
        let frame = self.frame().await?;
        let header = read_header(&frame);
        let Ok(Request::ConsumerList(list)) = Request::decode(&header, frame.body()) else {
            panic!("not a request of these tests: {header:?}");
        };
        let group = list.group.into_owned();
        Some(Asked { opaque: header.opaque, oneway: header.is_oneway(), group })
    }

    /// Answers with a remark that tells the answers apart.
    async fn answer(&mut self, opaque: i32, remark: &str) {
        let mut out = Vec::new();
        Refused::new(ResponseCode(0), remark.to_owned()).write(HeaderKind::Json, opaque, &mut out);
        self.write(&out).await;
    }

    async fn write(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
    }
}

/// A call whose group tells the calls apart.
fn ask(group: &str) -> ConsumerListByGroup<'_> {
    ConsumerListByGroup { group: group.into() }
}

fn remark(answer: Result<Response, CallError>) -> String {
    answer.unwrap().header().remark.into_owned()
}

/// A connection over loopback and its other end.
async fn over_tcp(config: &Config) -> (Connection, Callbacks, Peer<TcpStream>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (connected, accepted) =
        tokio::join!(Connection::connect(address, config), listener.accept());
    let (connection, callbacks) = connected.unwrap();
    (connection, callbacks, Peer::new(accepted.unwrap().0))
}

/// A connection in memory, where time can be moved, and its other end.
fn in_memory(bytes: usize, config: &Config) -> (Connection, Callbacks, Peer<DuplexStream>) {
    let (ours, theirs) = tokio::io::duplex(bytes);
    let (read, write) = tokio::io::split(ours);
    let (connection, callbacks) = Connection::over(read, write, config);
    (connection, callbacks, Peer::new(theirs))
}

#[tokio::test]
async fn answers_find_their_calls_in_any_order() {
    let (connection, _callbacks, mut peer) = over_tcp(&Config::default()).await;
    let answering = async {
        let mut asked = Vec::new();
        for _ in 0..3 {
            asked.push(peer.asked().await.unwrap());
        }
        for Asked { opaque, group, .. } in asked.into_iter().rev() {
            peer.answer(opaque, &group).await;
        }
    };
    let (a, b, c, ()) = tokio::join!(
        connection.call(&ask("a"), LONG),
        connection.call(&ask("b"), LONG),
        connection.call(&ask("c"), LONG),
        answering
    );
    assert_eq!([remark(a), remark(b), remark(c)], ["a", "b", "c"]);
}

#[tokio::test]
async fn both_header_forms_are_spoken() {
    for header_kind in [HeaderKind::Json, HeaderKind::Binary] {
        let config = Config { header_kind, ..Config::default() };
        let (connection, _callbacks, mut peer) = over_tcp(&config).await;
        let answering = async {
            let frame = peer.frame().await.unwrap();
            let header = read_header(&frame);
            assert_eq!(header.kind, header_kind);
            let mut out = Vec::new();
            let hello =
                HelloAnswer { product: "Millrace".into(), version: "1".into(), broker: "".into() };
            hello.write(header.kind, header.opaque, &mut out);
            peer.write(&out).await;
        };
        let (response, ()) = tokio::join!(connection.call(&ask("a"), LONG), answering);
        let response = response.unwrap();
        assert_eq!(HelloAnswer::decode(&response.header()).unwrap().product, "Millrace");
    }
}

#[tokio::test]
async fn frames_may_arrive_byte_by_byte() {
    let (connection, _callbacks, mut peer) = in_memory(1, &Config::default());
    let answering = async {
        for _ in 0..2 {
            let Asked { opaque, group, .. } = peer.asked().await.unwrap();
            peer.answer(opaque, &group).await;
        }
    };
    let (a, b, ()) =
        tokio::join!(connection.call(&ask("a"), LONG), connection.call(&ask("b"), LONG), answering);
    assert_eq!([remark(a), remark(b)], ["a", "b"]);
}

#[tokio::test(start_paused = true)]
async fn a_late_answer_is_ignored() {
    let (connection, _callbacks, mut peer) = in_memory(4096, &Config::default());
    let error = connection.call(&ask("late"), Duration::from_secs(3)).await.unwrap_err();
    assert!(matches!(error, CallError::Unanswered(Cause::Timeout)), "{error}");
    let late = peer.asked().await.unwrap();
    peer.answer(late.opaque, "too late").await;

    let answering = async {
        let next = peer.asked().await.unwrap();
        peer.answer(late.opaque, "still too late").await;
        peer.answer(next.opaque, "in time").await;
    };
    let (answer, ()) = tokio::join!(connection.call(&ask("next"), LONG), answering);
    assert_eq!(remark(answer), "in time");
}

/// Ends the connection from the other side and checks what the calls are told.
#[track_caller]
fn check_end(bytes: &'static [u8], expected: impl Fn(&Closed) -> bool) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let (connection, mut callbacks, mut peer) = over_tcp(&Config::default()).await;
        let ending = async {
            peer.asked().await.unwrap();
            peer.asked().await.unwrap();
            peer.write(bytes).await;
            peer.stream.shutdown().await.unwrap();
        };
        let (a, b, ()) = tokio::join!(
            connection.call(&ask("a"), LONG),
            connection.call(&ask("b"), LONG),
            ending
        );
        for answer in [a, b] {
            match answer {
                Err(CallError::Unanswered(Cause::Closed(reason))) if expected(&reason) => {}
                other => panic!("{bytes:?}: {other:?}"),
            }
        }
        assert!(expected(&connection.closed().unwrap()));
        match connection.call(&ask("c"), LONG).await {
            Err(CallError::NotSent(Cause::Closed(reason))) if expected(&reason) => {}
            other => panic!("{bytes:?}: {other:?}"),
        }
        assert!(callbacks.next().await.is_none());
    });
}

#[test]
fn every_waiting_call_fails_when_the_peer_ends_the_connection() {
    check_end(b"", |reason| matches!(reason, Closed::ByPeer));
    check_end(b"\0\0\0\x20\0\0\0\x08{\"co", |reason| matches!(reason, Closed::WithinFrame));
}

#[test]
fn every_waiting_call_fails_when_the_peer_does_not_speak_the_protocol() {
    check_end(b"HTTP/1.1 400 Bad Request\r\n", |reason| matches!(reason, Closed::Frame(_)));
    check_end(b"\0\0\0\x06\0\0\0\x02{]", |reason| matches!(reason, Closed::Header(_)));
}

#[tokio::test]
async fn an_answer_before_the_end_still_counts() {
    let (connection, _callbacks, mut peer) = over_tcp(&Config::default()).await;
    let answering = async {
        let a = peer.asked().await.unwrap();
        peer.asked().await.unwrap();
        let mut out = Vec::new();
        Refused::new(ResponseCode(0), a.group).write(HeaderKind::Json, a.opaque, &mut out);
        out.extend_from_slice(b"garbage");
        peer.write(&out).await;
    };
    let (a, b, ()) =
        tokio::join!(connection.call(&ask("a"), LONG), connection.call(&ask("b"), LONG), answering);
    assert_eq!(remark(a), "a");
    assert!(matches!(b, Err(CallError::Unanswered(Cause::Closed(Closed::Frame(_))))), "{b:?}");
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_does_not_read_costs_bounded_memory() {
    const PIPE: usize = 1024;
    let config = Config { unsent_bytes_max: 10_000, ..Config::default() };
    let (connection, _callbacks, mut peer) = in_memory(PIPE, &config);
    let body = [0; 2_000];
    let mut group = AppendGroupWriter::new(AppendWait::Policy, None);
    group.push(&GroupMessage {
        topic: "t",
        queue_id: QueueId(0),
        flag: 0,
        sys_flag: 0,
        born_at_ms: 0,
        properties: b"",
        body: &body,
    });
    let mut queued = 0;
    // Calls that gave up must not make room for others: their bytes are still there.
    for _ in 0..3 {
        let calls = (0..10).map(|_| tokio::spawn(connection.call(&group, Duration::from_secs(1))));
        for call in calls.collect::<Vec<_>>() {
            match call.await.unwrap() {
                Err(CallError::NotSent(Cause::Timeout)) => {}
                Err(CallError::Unanswered(Cause::Timeout)) => queued += 1,
                other => panic!("{other:?}"),
            }
        }
    }
    assert!((1..=(config.unsent_bytes_max + PIPE) / body.len()).contains(&queued), "{queued}");

    // Once the peer reads, it gets exactly what was queued, and there is room again.
    for _ in 0..queued {
        peer.frame().await.unwrap();
    }
    let answering = async {
        let asked = peer.asked().await.unwrap();
        peer.answer(asked.opaque, "at last").await;
    };
    let (answer, ()) = tokio::join!(connection.call(&ask("a"), LONG), answering);
    assert_eq!(remark(answer), "at last");
}

#[tokio::test]
async fn a_request_beyond_the_limit_is_refused_at_once() {
    let config = Config { unsent_bytes_max: 50, ..Config::default() };
    let (connection, _callbacks, _peer) = in_memory(4096, &config);
    let error = connection.call(&ask("a"), LONG).await.unwrap_err();
    assert!(matches!(error, CallError::TooLarge { max: 50, .. }), "{error}");
    let error = connection.send_oneway(&ask("a")).await.unwrap_err();
    assert!(matches!(error, CallError::TooLarge { max: 50, .. }), "{error}");
}

#[tokio::test(start_paused = true)]
async fn calls_beyond_the_limit_wait_their_turn() {
    let config = Config { requests_max: 2, ..Config::default() };
    let (connection, _callbacks, mut peer) = in_memory(4096, &config);
    let mut calls: Vec<_> =
        ["a", "b", "c", "d"].map(|group| tokio::spawn(connection.call(&ask(group), LONG))).into();
    let a = peer.asked().await.unwrap();
    let b = peer.asked().await.unwrap();
    assert!(timeout(LONG / 2, peer.asked()).await.is_err());
    peer.answer(a.opaque, "a").await;
    let c = peer.asked().await.unwrap();
    assert_eq!((&*b.group, &*c.group), ("b", "c"));
    assert_eq!(remark(calls.remove(0).await.unwrap()), "a");
    // A call that is dropped makes place as well.
    calls[0].abort();
    assert_eq!(peer.asked().await.unwrap().group, "d");
}

#[tokio::test]
async fn a_oneway_request_is_sent_and_not_waited_for() {
    let (connection, _callbacks, mut peer) = in_memory(4096, &Config::default());
    connection.send_oneway(&ask("a")).await.unwrap();
    let asked = peer.asked().await.unwrap();
    assert!(asked.oneway);
    assert_eq!(asked.group, "a");
}

/// Counts the writes that reach it.
struct Counting {
    inner: WriteHalf<SimplexStream>,
    writes: Arc<StdMutex<usize>>,
}

impl AsyncWrite for Counting {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.inner).poll_write(context, bytes);
        *self.writes.lock().unwrap() += usize::from(written.is_ready());
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(context)
    }
}

#[tokio::test]
async fn frames_that_gather_are_written_together() {
    let (mut received, inner): (ReadHalf<SimplexStream>, _) = tokio::io::simplex(1 << 16);
    let (read, _keep_open) = tokio::io::simplex(1);
    let writes = Arc::new(StdMutex::new(0));
    let write = Counting { inner, writes: Arc::clone(&writes) };
    let (connection, _callbacks) = Connection::over(read, write, &Config::default());
    for _ in 0..100 {
        connection.send_oneway(&ask("a")).await.unwrap();
    }
    connection.close().await;
    let mut bytes = Vec::new();
    received.read_to_end(&mut bytes).await.unwrap();
    let mut buffer = BytesMut::from(&bytes[..]);
    let frames = std::iter::from_fn(|| FrameBuf::split(&mut buffer, &Limits::default()).unwrap());
    assert_eq!(frames.count(), 100);
    assert_eq!(*writes.lock().unwrap(), 1);
}

#[tokio::test]
async fn the_peers_requests_come_out_and_are_answered() {
    let (connection, mut callbacks, mut peer) = in_memory(4096, &Config::default());
    let changed = GroupChanged { group: "g".into() };
    let mut out = Vec::new();
    changed.write(HeaderKind::Json, 7, CallMode::Oneway, &mut out);
    ask("g").write(HeaderKind::Binary, 8, CallMode::Answered, &mut out);
    peer.write(&out).await;

    let first = callbacks.next().await.unwrap();
    let request = Request::decode(&first.header(), first.body()).unwrap();
    assert_eq!(request, Request::GroupChanged(changed.clone()));
    connection.answer(&first, &Done).await.unwrap();
    let second = callbacks.next().await.unwrap();
    connection.answer(&second, &Done).await.unwrap();
    // Only the second one wanted an answer.
    let answer = peer.frame().await.unwrap();
    let header = read_header(&answer);
    assert_eq!((header.opaque, header.kind), (8, HeaderKind::Binary));
    assert!(header.is_response());
}

/// Sends three requests to a client that has room for one and checks how the others are refused.
async fn check_refusal(dropped: bool, expected: ResponseCode) {
    let config = Config { callbacks_max: 1, ..Config::default() };
    let (_connection, callbacks, mut peer) = in_memory(4096, &config);
    let mut callbacks = (!dropped).then_some(callbacks);
    let mut out = Vec::new();
    ask("a").write(HeaderKind::Json, 1, CallMode::Answered, &mut out);
    ask("b").write(HeaderKind::Json, 2, CallMode::Oneway, &mut out);
    ask("c").write(HeaderKind::Json, 3, CallMode::Answered, &mut out);
    peer.write(&out).await;
    let refused = if dropped { vec![1, 3] } else { vec![3] };
    for opaque in refused {
        let answer = peer.frame().await.unwrap();
        let header = read_header(&answer);
        assert_eq!((header.opaque, header.response_code()), (opaque, expected));
    }
    if let Some(callbacks) = &mut callbacks {
        assert_eq!(callbacks.next().await.unwrap().header().opaque, 1);
    }
}

#[tokio::test]
async fn the_peers_requests_are_refused_rather_than_kept_without_bound() {
    check_refusal(false, ResponseCode::SYSTEM_BUSY).await;
    check_refusal(true, ResponseCode::REQUEST_CODE_NOT_SUPPORTED).await;
}

#[tokio::test]
async fn closing_writes_what_is_queued_and_fails_what_waits() {
    let (connection, _callbacks, mut peer) = over_tcp(&Config::default()).await;
    let waiting = tokio::spawn(connection.call(&ask("a"), LONG));
    peer.asked().await.unwrap();
    connection.send_oneway(&ask("b")).await.unwrap();
    tokio::join!(connection.close(), connection.close());
    assert!(matches!(connection.closed(), Some(Closed::Here)));
    let answer = waiting.await.unwrap();
    assert!(
        matches!(answer, Err(CallError::Unanswered(Cause::Closed(Closed::Here)))),
        "{answer:?}"
    );
    assert_eq!(peer.asked().await.unwrap().group, "b");
    assert!(peer.asked().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn closing_does_not_wait_for_a_peer_that_does_not_read() {
    let (connection, _callbacks, _peer) = in_memory(10, &Config::default());
    connection.send_oneway(&ask("a")).await.unwrap();
    let started = Instant::now();
    connection.close().await;
    assert!(started.elapsed() <= 2 * Config::default().linger);
    assert!(matches!(connection.closed(), Some(Closed::Here)));
}

#[tokio::test]
async fn the_last_handle_closes_the_connection() {
    let (connection, callbacks, mut peer) = in_memory(4096, &Config::default());
    let other = connection.clone();
    drop(connection);
    other.send_oneway(&ask("a")).await.unwrap();
    drop(other);
    drop(callbacks);
    assert_eq!(peer.asked().await.unwrap().group, "a");
    assert!(peer.asked().await.is_none());
}

#[tokio::test]
async fn a_call_in_flight_keeps_the_connection() {
    let (connection, _callbacks, mut peer) = in_memory(4096, &Config::default());
    let call = connection.call(&ask("a"), LONG);
    drop(connection);
    let answering = async {
        let asked = peer.asked().await.unwrap();
        peer.answer(asked.opaque, "still here").await;
    };
    let (answer, ()) = tokio::join!(call, answering);
    assert_eq!(remark(answer), "still here");
}

#[tokio::test]
async fn nobody_at_the_address_is_an_error() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let refused = Connection::connect(address, &Config::default()).await;
    assert!(matches!(refused.map(drop), Err(ConnectError::Io(_))));
}

#[tokio::test]
async fn a_large_answer_arrives_whole() {
    let (connection, _callbacks, mut peer) = over_tcp(&Config::default()).await;
    let body: Vec<u8> = (0..5_000_000u32).map(|n| n as u8).collect();
    let answering = async {
        let asked = peer.asked().await.unwrap();
        let head = millrace_protocol::Head::answer(HeaderKind::Json, 0, asked.opaque, "");
        let mut out = Vec::new();
        let mut frame = millrace_protocol::FrameWriter::begin(&mut out, &head, |_| {});
        frame.out().extend_from_slice(&body);
        frame.finish();
        peer.write(&out).await;
    };
    let (answer, ()) = tokio::join!(connection.call(&ask("a"), LONG), answering);
    assert_eq!(answer.unwrap().into_body(), body);
}
