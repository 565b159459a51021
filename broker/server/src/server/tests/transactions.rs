use millrace_engine::TransactionConfig;
use millrace_protocol::{
    CallMode, EndTransaction, HalfMessage, Heartbeat, RequestCode, ResponseCode, SendAnswer,
    SendMessage, ViewMessage,
};
use millrace_types::record;
use millrace_types::{PhysicalOffset, QueueId, QueueOffset};

use super::peer::{Received, message};
use super::*;

const COMMIT: i32 = 8;
const ROLL_BACK: i32 = 12;

fn half(body: &[u8]) -> SendMessage<'_> {
    let properties =
        "UNIQ_KEY\u{1}7F01\u{2}TRAN_MSG\u{1}true\u{2}PGROUP\u{1}payers\u{2}n\u{1}1\u{2}";
    SendMessage {
        sys_flag: record::sys_flag::TRANSACTION_PREPARED as i32,
        properties: properties.into(),
        ..message("orders", body)
    }
}

fn end(at: (QueueOffset, PhysicalOffset), decision: i32) -> EndTransaction<'static> {
    EndTransaction {
        topic: Some("orders".into()),
        producer_group: "payers".into(),
        half_queue_offset: at.0,
        physical_offset: at.1,
        decision,
        from_check: false,
        message_id: None,
        transaction_id: None,
    }
}

impl Peer {
    /// Sends a half message; answers where it is.
    fn prepare(&mut self, body: &[u8]) -> (QueueOffset, PhysicalOffset) {
        let answer = self.call(&half(body));
        let sent = SendAnswer::decode(&answer.header()).unwrap();
        assert_eq!(sent.transaction_id.as_deref(), Some("7F01"));
        let id = sent.message_ids.iter().next().unwrap();
        (sent.queue_offset, id.physical_offset)
    }

    fn produces_in(&mut self, group: &str) {
        let heartbeat = Heartbeat {
            client_id: "10.0.0.9@1".into(),
            producer_groups: vec![group.into()],
            consumers: Vec::new(),
            fingerprint: 0,
            without_subscriptions: false,
        };
        assert_eq!(self.call(&heartbeat).code(), ResponseCode::SUCCESS);
    }
}

fn question(received: &Received) -> HalfMessage<'_> {
    let header = received.header();
    assert_eq!(header.request_code(), RequestCode::CHECK_TRANSACTION_STATE);
    assert!(header.is_oneway());
    header.fields.read().unwrap()
}

#[test]
fn what_is_committed_is_there_and_what_is_rolled_back_is_not() {
    for kind in KINDS {
        let server = start_default();
        let mut peer = server.connect(kind);
        let (paid, broke) = (peer.prepare(b"paid"), peer.prepare(b"broke"));
        assert_eq!(peer.all("orders"), [""; 0]);
        // Most clients expect no answer; who does is given one.
        let oneway = peer.encode(&end(paid, COMMIT), CallMode::Oneway);
        peer.write(&oneway);
        assert_eq!(peer.call(&end(broke, ROLL_BACK)).code(), ResponseCode::SUCCESS);
        assert_eq!(peer.all("orders"), ["paid"]);
        let again = peer.call(&end(paid, ROLL_BACK));
        assert_eq!(again.code(), ResponseCode::SYSTEM_ERROR);
        assert_eq!(again.remark(), "Find prepared transaction message failed");
        assert_eq!(peer.call(&end(paid, 4)).code(), ResponseCode::INVALID_PARAMETER);
        assert_eq!(peer.all("orders"), ["paid"]);
    }
}

#[test]
fn half_messages_are_not_seen_and_hide_no_other() {
    let server = start_default();
    let mut peer = server.connect(HeaderKind::Json);
    let half = peer.prepare(b"paid");
    let sent = peer.call(&message("t", b"x"));
    let sent = SendAnswer::decode(&sent.header()).unwrap();
    let sent = sent.message_ids.iter().next().unwrap().physical_offset;
    // Clients before 5.0 do not say which topic, so all are looked through.
    let mut view = |at| peer.call(&ViewMessage { topic: None, physical_offset: at });
    assert_eq!(view(sent).records()[0].body(), b"x");
    assert_eq!(view(half.1).code(), ResponseCode::SYSTEM_ERROR);
}

#[test]
fn a_producer_is_asked_what_becomes_of_its_message() {
    for kind in KINDS {
        let hands = Hands::default();
        let server = Server::start_at(Arc::new(SimDisk::new(1)), config(), hands.clock()).unwrap();
        let mut peer = server.connect(kind);
        let at = peer.prepare(b"paid");
        assert_eq!(peer.call(&end(at, 0)).code(), ResponseCode::SUCCESS, "nobody knows yet");
        hands.pass(6_000);
        // There is nobody to ask, and that does not count.
        peer.handled_so_far();
        peer.produces_in("payers");
        hands.pass(30_000);
        // Something has to come in for the server to look at a clock that stands still.
        let answered = peer.ask(&super::peer::HELLO);
        let (first, second) = (peer.receive(), peer.receive());
        let (asked, hello) =
            if first.header().is_response() { (second, first) } else { (first, second) };
        assert_eq!(hello.header().opaque, answered);
        let question = question(&asked);
        assert_eq!((question.half_queue_offset, question.physical_offset), at);
        assert_eq!(question.topic.as_deref(), Some("orders"));
        assert_eq!(question.transaction_id.as_deref(), Some("7F01"));
        assert_eq!(question.broker_name.as_deref(), Some("millrace"));
        let records = asked.records();
        let [shown] = &records[..] else { panic!("{} records", records.len()) };
        assert_eq!((shown.topic(), shown.queue_id()), ("orders", QueueId(0)));
        assert_eq!(shown.body(), b"paid");
        assert_eq!((shown.queue_offset(), shown.physical_offset()), at);
        let properties = shown.properties();
        assert_eq!(properties.pick(["PGROUP", "UNIQ_KEY", "n"]), ["payers", "7F01", "1"].map(Some));
        assert_eq!(properties.get("__CRC32#"), None, "the log's own");
        let decided = EndTransaction { from_check: true, ..end(at, COMMIT) };
        assert_eq!(peer.call(&decided).code(), ResponseCode::SUCCESS);
        assert_eq!(peer.all("orders"), ["paid"]);
    }
}

#[test]
fn a_broker_may_take_no_transactions() {
    let transactions = TransactionConfig { accepted: false, ..TransactionConfig::default() };
    let server = start(ServerConfig { transactions, ..config() });
    let mut peer = server.connect(HeaderKind::Json);
    let refused = peer.call(&half(b"x"));
    assert_eq!(refused.code(), ResponseCode::NO_PERMISSION);
    assert_eq!(refused.remark(), "sending transaction message is forbidden");
}
