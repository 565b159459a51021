use millrace_protocol::{
    Answer, Call, CallMode, FieldWriter, Heartbeat, Refused, ReplyFields, RequestCode,
    ResponseCode, SendAnswer, SendMessage,
};
use millrace_types::{Properties, QueueOffset};

use super::peer::{Received, message, pull};
use super::*;

const REPLY_TOPIC: &str = "DefaultCluster_REPLY_TOPIC";
const REPLY: &str = "CORRELATION_ID\u{1}7\u{2}REPLY_TO_CLIENT\u{1}asks\u{2}MSG_TYPE\u{1}reply\u{2}";

/// A reply, which has the form of a message and a code of its own.
struct Reply(SendMessage<'static>);

impl Call for Reply {
    fn code(&self) -> RequestCode {
        RequestCode::SEND_REPLY_MESSAGE_V2
    }

    fn fields(&self, to: &mut FieldWriter<'_>) {
        self.0.fields(to);
    }

    fn body(&self, out: &mut Vec<u8>) {
        self.0.body(out);
    }
}

fn reply(properties: &'static str) -> Reply {
    let (body, group) = (b"42", "answerers");
    Reply(SendMessage {
        properties: properties.into(),
        producer_group: group.into(),
        ..message(REPLY_TOPIC, body)
    })
}

impl Peer {
    /// Says as who it produces.
    fn is_called(&mut self, client_id: &str) {
        let heartbeat = Heartbeat {
            client_id: client_id.into(),
            producer_groups: vec!["askers".into()],
            consumers: Vec::new(),
            fingerprint: 0,
            without_subscriptions: false,
        };
        assert_eq!(self.call(&heartbeat).code(), ResponseCode::SUCCESS);
    }

    fn answers(&mut self, asked: &Received, code: ResponseCode, remark: &'static str) {
        let (mut bytes, header) = (Vec::new(), asked.header());
        Refused::new(code, remark).write(header.kind, header.opaque, &mut bytes);
        self.write(&bytes);
    }
}

fn check_pushed(pushed: &Received) {
    let header = pushed.header();
    assert_eq!(header.request_code(), RequestCode::PUSH_REPLY_MESSAGE_TO_CLIENT);
    let fields: ReplyFields<'_> = header.fields.read().unwrap();
    assert_eq!((&*fields.topic, &*fields.producer_group), (REPLY_TOPIC, "answerers"));
    let properties = fields.properties.unwrap();
    let properties = Properties::new(properties.as_bytes());
    assert_eq!(properties.pick(["CORRELATION_ID", "REPLY_TO_CLIENT"]), [Some("7"), Some("asks")]);
    assert!(properties.get("PUSH_REPLY_TIME").is_some_and(|time| time.parse::<u64>().is_ok()));
    assert_eq!(pushed.body(), b"42");
}

#[test]
fn a_request_says_where_its_reply_goes() {
    for kind in KINDS {
        let server = start_default();
        let mut peer = server.connect(kind);
        let properties = "REPLY_TO_CLIENT\u{1}asks\u{2}CORRELATION_ID\u{1}7\u{2}";
        peer.call(&SendMessage { properties: properties.into(), ..message("questions", b"?") });
        let pulled = peer.call(&pull("questions", QueueOffset(0)));
        let records = pulled.records();
        let known = records[0].properties();
        let names = ["REPLY_TO_CLIENT", "CORRELATION_ID", "CLUSTER"];
        assert_eq!(known.pick(names), ["asks", "7", "DefaultCluster"].map(Some));
        let there = peer.call(&pull(REPLY_TOPIC, QueueOffset(0))).code();
        assert_eq!(there, ResponseCode::PULL_NOT_FOUND, "the topic is there, and empty");
    }
}

#[test]
fn a_reply_goes_to_who_asked_and_its_outcome_back() {
    for kind in KINDS {
        let server = start_default();
        let (mut asks, mut answers) = (server.connect(kind), server.connect(kind));
        asks.is_called("asks");
        for (code, remark) in [(ResponseCode::SUCCESS, ""), (ResponseCode::SYSTEM_ERROR, "nobody")]
        {
            let opaque = answers.ask(&reply(REPLY));
            let pushed = asks.receive();
            check_pushed(&pushed);
            asks.answers(&pushed, code, remark);
            let back = answers.receive();
            assert_eq!((back.header().opaque, back.code()), (opaque, code));
            match SendAnswer::decode(&back.header()) {
                Ok(sent) => assert_eq!((sent.queue_offset, code.0), (QueueOffset(0), 0)),
                Err(_) => assert_eq!(back.remark(), "push reply message fail: nobody"),
            }
        }
        let oneway = answers.encode(&reply(REPLY), CallMode::Oneway);
        answers.write(&oneway);
        let pushed = asks.receive();
        check_pushed(&pushed);
        assert!(pushed.header().is_oneway());
    }
}

#[test]
fn a_reply_for_nobody_is_refused() {
    let server = start_default();
    let mut peer = server.connect(HeaderKind::Json);
    let refused = peer.call(&reply(REPLY));
    assert_eq!(refused.code(), ResponseCode::SYSTEM_ERROR);
    assert_eq!(refused.remark(), "push reply message fail, channel of <asks> not found.");
    let refused = peer.call(&reply("CORRELATION_ID\u{1}7\u{2}"));
    assert_eq!(refused.remark(), "REPLY_TO_CLIENT is null, can not reply message");
    // The one that asked goes away while its answer is on its way.
    let mut asks = server.connect(HeaderKind::Json);
    asks.is_called("asks");
    peer.ask(&reply(REPLY));
    asks.receive();
    drop(asks);
    assert_eq!(peer.receive().remark(), "the client is gone");
}
