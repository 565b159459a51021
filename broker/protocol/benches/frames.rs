//! What one frame costs to read or to write, next to the microsecond that handling a request may
//! take in all.

use divan::counter::ItemsCount;
use divan::{Bencher, black_box};
use millrace_protocol::{
    Answer, Call, CallMode, Frame, HeaderKind, Limits, MessageIds, OffsetMessageId, Request,
    SendAnswer, SendMessage, SendStatus, Split,
};
use millrace_types::{PhysicalOffset, QueueId, QueueOffset};

const KINDS: [HeaderKind; 2] = [HeaderKind::Json, HeaderKind::Binary];

fn main() {
    divan::main();
}

/// A send as the Java client makes it: 1 KiB, a tag, a key and the client's own properties.
fn send(kind: HeaderKind, out: &mut Vec<u8>) {
    let properties = "KEYS\u{1}order-4711\u{2}UNIQ_KEY\u{1}AC1100020007330AA2A18A0B63FC0000\u{2}\
                      WAIT\u{1}true\u{2}TAGS\u{1}paid\u{2}";
    let body = [7u8; 1024];
    let message = SendMessage {
        producer_group: "orders-producer".into(),
        default_topic: "TBW102".into(),
        queue_id: Some(QueueId(3)),
        born_at_ms: 1_700_000_000_000,
        properties: properties.into(),
        ..SendMessage::new("orders", &body)
    };
    message.write(kind, 4711, CallMode::Answered, out);
}

#[divan::bench(args = KINDS)]
fn decode_send(bencher: Bencher, kind: HeaderKind) {
    let mut bytes = Vec::new();
    send(kind, &mut bytes);
    let limits = Limits::for_requests();
    bencher.counter(ItemsCount::new(1u32)).bench_local(|| {
        let Ok(Split::Frame(frame, total)) = Frame::split(black_box(&bytes), &limits) else {
            panic!("not a frame");
        };
        let header = frame.header().expect("a header");
        match Request::decode(&header, frame.body) {
            Ok(Request::Send(message)) => black_box((message.properties.len(), total)),
            other => panic!("not a send: {other:?}"),
        }
    });
}

#[divan::bench(args = KINDS)]
fn decode_header(bencher: Bencher, kind: HeaderKind) {
    let mut bytes = Vec::new();
    send(kind, &mut bytes);
    let limits = Limits::for_requests();
    bencher.counter(ItemsCount::new(1u32)).bench_local(|| {
        let Ok(Split::Frame(frame, _)) = Frame::split(black_box(&bytes), &limits) else {
            panic!("not a frame");
        };
        black_box(frame.header().expect("a header").opaque)
    });
}

#[divan::bench(args = KINDS)]
fn encode_send(bencher: Bencher, kind: HeaderKind) {
    let mut out = Vec::new();
    bencher.counter(ItemsCount::new(1u32)).bench_local(|| {
        out.clear();
        send(kind, &mut out);
        black_box(out.len())
    });
}

#[divan::bench(args = KINDS)]
fn encode_send_answer(bencher: Bencher, kind: HeaderKind) {
    let store_host = "10.0.0.1:10911".parse().expect("an address");
    let answer = SendAnswer {
        status: SendStatus::Ok,
        message_ids: MessageIds::One(OffsetMessageId {
            store_host,
            physical_offset: PhysicalOffset(123_456_789),
        }),
        queue_id: QueueId(3),
        queue_offset: QueueOffset(4_711),
        transaction_id: Some("AC1100020007330AA2A18A0B63FC0000".into()),
    };
    let mut out = Vec::new();
    bencher.counter(ItemsCount::new(1u32)).bench_local(|| {
        out.clear();
        black_box(&answer).write(kind, 4711, &mut out);
        black_box(out.len())
    });
}
