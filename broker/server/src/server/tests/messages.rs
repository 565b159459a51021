use millrace_protocol::{RequestCode, ResponseCode, SendAnswer, ViewMessage};
use millrace_types::{PhysicalOffset, QueueId, QueueOffset, record};

use super::admin::Tool;
use super::broker::check_refused;
use super::peer::message;
use super::*;

#[test]
fn only_a_place_where_a_message_starts_can_be_viewed() {
    let server = start_default();
    let mut peer = server.connect(HeaderKind::Json);
    let answer = peer.call(&message("t", b"x"));
    let sent = SendAnswer::decode(&answer.header()).unwrap();
    let at = sent.message_ids.iter().next().unwrap().physical_offset;
    // The record that created the topic lies at the start of the log; it is the broker's own.
    for (topic, wrong) in
        [(Some("t"), at + 1), (Some("t"), at + (1 << 40)), (None, PhysicalOffset(0))]
    {
        let view = ViewMessage { topic: topic.map(Into::into), physical_offset: wrong };
        let refused = peer.call(&view);
        let text = format!("can not find message by the offset, {wrong}");
        assert_eq!((refused.code(), refused.remark()), (ResponseCode::SYSTEM_ERROR, text));
    }
}

#[test]
fn a_record_that_a_client_forged_inside_a_body_cannot_be_viewed() {
    let server = start_default();
    let mut peer = server.connect(HeaderKind::Json);
    peer.send("t", b"x");
    let draft = record::Draft {
        topic: "t",
        queue_id: QueueId(0),
        flag: 0,
        sys_flag: 0,
        born_at_ms: 0,
        born_host: ([127, 0, 0, 1], 1).into(),
        reconsume_times: 0,
        prepared_offset: PhysicalOffset(0),
        body: b"forged",
        properties: b"",
    };
    for len in [None, Some(1_u32 << 30)] {
        // Where the body of the next message will begin.
        let body_at = server.local().core().watermarks().appended() + 88;
        let stamp = record::Stamp {
            queue_offset: QueueOffset(0),
            physical_offset: body_at,
            store_at_ms: 0,
            store_host: ([127, 0, 0, 1], 10911).into(),
            more: false,
        };
        let mut forged = Vec::new();
        record::encode(&draft, &stamp, &mut forged);
        if let Some(len) = len {
            forged[..4].copy_from_slice(&len.to_be_bytes());
        }
        peer.send("t", &forged);
        let core = server.local().core().clone();
        let shared = core.shared();
        let read = shared.reader.record_at(body_at, shared.marks.appended());
        assert_eq!(read.is_ok(), len.is_none(), "it looks like a record");
        let view = ViewMessage { topic: Some("t".into()), physical_offset: body_at };
        check_refused(&peer.call(&view), ResponseCode::SYSTEM_ERROR, "can not find");
    }
}

#[test]
fn a_message_that_is_not_there_is_looked_for_in_one_place() {
    let looks = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&looks);
    // Whoever takes the engine looks at the clock.
    let clock: Clock = Arc::new(move || {
        counted.fetch_add(1, Ordering::SeqCst);
        Now { mono_ms: 0, wall_ms: 1_700_000_000_000 }
    });
    let server = Server::start_at(Arc::new(SimDisk::new(1)), config(), clock).unwrap();
    let mut peer = server.connect(HeaderKind::Json);
    for n in 0..100 {
        let name = format!("t{n}");
        let fields =
            [("topic", &*name), ("readQueueNums", "16"), ("writeQueueNums", "16"), ("perm", "6")];
        let made = peer.call(&Tool(RequestCode::UPDATE_AND_CREATE_TOPIC, &fields, ""));
        assert_eq!(made.code(), ResponseCode::SUCCESS, "{}", made.remark());
    }
    let before = looks.load(Ordering::SeqCst);
    let view = ViewMessage { topic: None, physical_offset: PhysicalOffset(1) };
    check_refused(&peer.call(&view), ResponseCode::SYSTEM_ERROR, "can not find");
    let looks = looks.load(Ordering::SeqCst) - before;
    assert!(looks < 200, "the engine was taken {looks} times, for 1,600 queues");
}
