use std::collections::{BTreeMap, VecDeque};

use millrace_engine::ConnectionId;
use millrace_protocol::{
    Answer, Call, CallMode, FieldWriter, Fields, FrameWriter, Head, Header, HeaderKind, MessageIds,
    Refused, ResponseCode, SendAnswer, SendStatus,
};
use millrace_types::{QueueId, QueueOffset};

use crate::waiting::ReplyTo;

/// Requests that a client answers: they are passed on to it, and its answer back.
#[derive(Debug, Default)]
pub(crate) struct Relays {
    waiting: BTreeMap<i32, Relay>,
    /// Until when each may wait, in order; of those that are answered, too.
    until_ms: VecDeque<(u64, i32)>,
    next: i32,
    /// Frames on their way after this burst.
    pub(crate) frames: Vec<Passed>,
}

#[derive(Debug)]
struct Relay {
    /// Who asks.
    to: ReplyTo,
    /// The client.
    client: ConnectionId,
    back: Back,
}

/// How an answer is passed back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Back {
    /// To a tool, as it is.
    AsIs,
    /// To who sent a reply, as the answer to a send that is stored nowhere.
    Sent,
}

/// A frame for a connection.
#[derive(Debug)]
pub(crate) struct Passed {
    pub(crate) to: ConnectionId,
    pub(crate) bytes: Vec<u8>,
    /// It is the answer to a request that this connection waits for.
    pub(crate) answers: bool,
}

/// How long a client may take. (In RocketMQ, the same.)
const PATIENCE_MS: u64 = 10_000;
/// Tools ask one thing at a time, and clients take replies at once.
pub(crate) const RELAYS_MAX: usize = 10_000;

impl Relays {
    /// Passes a request on; `false` if there are too many already.
    pub(crate) fn pass_on(
        &mut self,
        now_ms: u64,
        to: ReplyTo,
        client: ConnectionId,
        back: Back,
        call: &impl Call,
    ) -> bool {
        if self.waiting.len() >= RELAYS_MAX {
            return false;
        }
        self.next = self.next.wrapping_add(1);
        self.waiting.insert(self.next, Relay { to, client, back });
        self.until_ms.push_back((now_ms + PATIENCE_MS, self.next));
        let mut bytes = Vec::new();
        // Every client reads JSON.
        call.write(HeaderKind::Json, self.next, CallMode::Answered, &mut bytes);
        self.frames.push(Passed { to: client, bytes, answers: false });
        true
    }

    /// Tells a client something that it need not answer.
    pub(crate) fn tell(&mut self, client: ConnectionId, call: &impl Call) {
        let mut bytes = Vec::new();
        call.write(HeaderKind::Json, 0, CallMode::Oneway, &mut bytes);
        self.frames.push(Passed { to: client, bytes, answers: false });
    }

    /// A client has answered something; passes it back if somebody waits for it.
    pub(crate) fn answered(&mut self, client: ConnectionId, header: &Header<'_>, body: &[u8]) {
        let known = self.waiting.get(&header.opaque);
        if known.is_none_or(|relay| relay.client != client) {
            return;
        }
        let Some(Relay { to, back, .. }) = self.waiting.remove(&header.opaque) else {
            return;
        };
        if self.waiting.is_empty() {
            self.until_ms.clear();
        }
        if back == Back::Sent {
            return self.answer_sent(to, header);
        }
        let head = Head::answer(to.kind, header.code, to.opaque, &header.remark);
        let mut bytes = Vec::new();
        let mut frame = FrameWriter::begin(&mut bytes, &head, |out| copy(&header.fields, out));
        frame.out().extend_from_slice(body);
        frame.finish();
        self.frames.push(Passed { to: to.connection, bytes, answers: true });
    }

    /// A producer has said whether it could use a reply.
    fn answer_sent(&mut self, to: ReplyTo, header: &Header<'_>) {
        let mut bytes = Vec::new();
        if header.response_code() == ResponseCode::SUCCESS {
            let sent = SendAnswer {
                status: SendStatus::Ok,
                message_ids: MessageIds::Text("0".into()),
                queue_id: QueueId(0),
                queue_offset: QueueOffset(0),
                transaction_id: None,
            };
            sent.write(to.kind, to.opaque, &mut bytes);
        } else {
            let remark = format!("push reply message fail: {}", header.remark);
            Refused::new(ResponseCode::SYSTEM_ERROR, remark).write(to.kind, to.opaque, &mut bytes);
        }
        self.frames.push(Passed { to: to.connection, bytes, answers: true });
    }

    /// When the first of them may have waited long enough.
    pub(crate) fn earliest_ms(&self) -> Option<u64> {
        self.until_ms.front().map(|(until_ms, _)| *until_ms)
    }

    /// Time passes: who has waited long enough is told so.
    pub(crate) fn on_tick(&mut self, now_ms: u64) {
        while let Some((_, opaque)) = self.until_ms.pop_front_if(|(until, _)| *until <= now_ms) {
            if let Some(Relay { to, .. }) = self.waiting.remove(&opaque) {
                let remark = "the client did not answer in time";
                self.refuse(to, ResponseCode::CONSUME_MSG_TIMEOUT, remark);
            }
        }
    }

    /// A connection is gone: what it was asked is not answered, and what it asked not passed back.
    pub(crate) fn on_closed(&mut self, gone: ConnectionId) {
        if self.waiting.is_empty() {
            return;
        }
        self.waiting.retain(|_, relay| relay.to.connection != gone);
        let left = self.waiting.extract_if(.., |_, relay| relay.client == gone);
        let left: Vec<ReplyTo> = left.map(|(_, relay)| relay.to).collect();
        for to in left {
            self.refuse(to, ResponseCode::SYSTEM_ERROR, "the client is gone");
        }
    }

    fn refuse(&mut self, to: ReplyTo, code: ResponseCode, remark: &'static str) {
        let mut bytes = Vec::new();
        Refused::new(code, remark).write(to.kind, to.opaque, &mut bytes);
        self.frames.push(Passed { to: to.connection, bytes, answers: true });
    }
}

fn copy(fields: &Fields<'_>, out: &mut FieldWriter<'_>) {
    for (name, value) in fields.iter().map_while(Result::ok) {
        if let (Ok(name), Some(value)) = (std::str::from_utf8(name), value.text()) {
            out.text(name, &value);
        }
    }
}

#[cfg(test)]
mod tests {
    use millrace_protocol::{Frame, Limits, OfMember, Split};

    use super::*;

    fn tool(opaque: i32) -> ReplyTo {
        ReplyTo { connection: ConnectionId(1), opaque, kind: HeaderKind::Json }
    }

    const CLIENT: ConnectionId = ConnectionId(2);

    fn ask(relays: &mut Relays, now_ms: u64, opaque: i32) -> i32 {
        let call = OfMember { group: "g".into(), client_id: "c".into(), threads: false };
        assert!(relays.pass_on(now_ms, tool(opaque), CLIENT, Back::AsIs, &call));
        relays.next
    }

    /// Who gets which code, with which correlation.
    fn passed(relays: &mut Relays) -> Vec<(u64, i32, i32)> {
        let frames = std::mem::take(&mut relays.frames);
        let read = frames.iter().map(|passed| {
            let Ok(Split::Frame(frame, _)) = Frame::split(&passed.bytes, &Limits::default()) else {
                panic!("no frame");
            };
            let header = frame.header().unwrap();
            (passed.to.0, header.code, header.opaque)
        });
        read.collect()
    }

    fn answer(code: i32, opaque: i32) -> Vec<u8> {
        let mut bytes = Vec::new();
        Refused::new(ResponseCode(code), "").write(HeaderKind::Json, opaque, &mut bytes);
        bytes
    }

    #[test]
    fn a_clients_answer_goes_to_the_tool_that_asked() {
        let mut relays = Relays::default();
        let opaque = ask(&mut relays, 0, 77);
        assert_eq!(passed(&mut relays), [(2, 307, opaque)]);
        let bytes = answer(5, opaque);
        let Ok(Split::Frame(frame, _)) = Frame::split(&bytes, &Limits::default()) else {
            panic!("no frame");
        };
        // Somebody else's answer is nobody's.
        relays.answered(ConnectionId(3), &frame.header().unwrap(), b"");
        assert_eq!(passed(&mut relays), []);
        relays.answered(CLIENT, &frame.header().unwrap(), b"");
        assert_eq!(passed(&mut relays), [(1, 5, 77)]);
        relays.answered(CLIENT, &frame.header().unwrap(), b"");
        assert_eq!(passed(&mut relays), []);
    }

    #[test]
    fn so_many_tools_wait_at_once() {
        let mut relays = Relays::default();
        for n in 0..RELAYS_MAX as i32 {
            ask(&mut relays, 0, n);
        }
        let call = OfMember { group: "g".into(), client_id: "c".into(), threads: false };
        assert!(!relays.pass_on(0, tool(-1), CLIENT, Back::AsIs, &call));
        relays.on_tick(PATIENCE_MS);
        assert!(relays.pass_on(PATIENCE_MS, tool(-1), CLIENT, Back::AsIs, &call));
    }

    #[test]
    fn a_tool_is_told_of_a_client_that_does_not_answer_or_is_gone() {
        let mut relays = Relays::default();
        ask(&mut relays, 0, 7);
        ask(&mut relays, 5, 8);
        passed(&mut relays);
        assert_eq!(relays.earliest_ms(), Some(PATIENCE_MS));
        relays.on_tick(PATIENCE_MS);
        assert_eq!(passed(&mut relays), [(1, ResponseCode::CONSUME_MSG_TIMEOUT.0, 7)]);
        relays.on_closed(CLIENT);
        assert_eq!(passed(&mut relays), [(1, ResponseCode::SYSTEM_ERROR.0, 8)]);
        ask(&mut relays, 0, 9);
        passed(&mut relays);
        relays.on_closed(ConnectionId(1));
        relays.on_tick(u64::MAX);
        assert_eq!(passed(&mut relays), []);
    }
}
