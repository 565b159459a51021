//! Calls over loopback against a peer that does nothing but answer: what correlation, timeouts and
//! the two wake-ups cost.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use divan::counter::ItemsCount;
use divan::{Bencher, black_box};
use millrace_protocol::{Answer, Frame, HeaderKind, Limits, OffsetAnswer, SendMessage, Split};
use millrace_transport::{Config, Connection};
use millrace_types::QueueOffset;
use tokio::task::JoinSet;

fn main() {
    divan::main();
}

/// Answers every request, a burst at a time, until the client leaves.
fn serve() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a client");
        stream.set_nodelay(true).expect("no delay");
        let answer = OffsetAnswer { offset: QueueOffset(7) };
        let mut bytes = vec![0; 1 << 20];
        let (mut filled, mut out) = (0, Vec::new());
        while let Ok(read @ 1..) = stream.read(&mut bytes[filled..]) {
            filled += read;
            let mut done = 0;
            while let Ok(Split::Frame(frame, len)) =
                Frame::split(&bytes[done..filled], &Limits::default())
            {
                let header = frame.header().expect("a header");
                answer.write(header.kind, header.opaque, &mut out);
                done += len;
            }
            bytes.copy_within(done..filled, 0);
            filled -= done;
            if stream.write_all(&out).is_err() {
                break;
            }
            out.clear();
        }
    });
    address
}

#[divan::bench(args = [1, 16, 256])]
fn call_1_kib(bencher: Bencher, in_flight: usize) {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let config = Config { header_kind: HeaderKind::Binary, ..Config::default() };
    let connecting = Connection::connect(serve(), &config);
    let (connection, _callbacks) = runtime.block_on(connecting).expect("a connection");
    let body = [7; 1024];
    let message = SendMessage::new("orders", &body);
    bencher.counter(ItemsCount::new(in_flight)).bench_local(|| {
        runtime.block_on(async {
            let mut calls = JoinSet::new();
            for _ in 0..in_flight {
                calls.spawn(connection.call(&message, Duration::from_secs(5)));
            }
            while let Some(answer) = calls.join_next().await {
                black_box(answer.expect("a task").expect("an answer"));
            }
        });
    });
}
