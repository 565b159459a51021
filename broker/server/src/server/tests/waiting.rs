use millrace_protocol::{
    Call, Heartbeat, PullAnswer, PullMessage, PullStatus, RequestCode, ResponseCode, SendMessage,
    pull_flag,
};
use millrace_types::{QueueId, QueueOffset};

use super::admin::Tool;
use super::broker::heartbeat;
use super::peer::{Received, long_pull, message};
use super::*;

/// A pull of a push consumer, which waits.
fn push(from: u64, version: i64) -> PullMessage<'static> {
    let pull = long_pull("t", QueueOffset(from));
    let sys_flag = pull.sys_flag & !pull_flag::SUBSCRIPTION;
    PullMessage {
        group: "group".into(),
        sys_flag,
        subscription: None,
        subscription_version: version,
        ..pull
    }
}

fn with_tag(tag: &str) -> SendMessage<'static> {
    let properties = format!("UNIQ_KEY\u{1}7F000001\u{2}TAGS\u{1}{tag}\u{2}a\u{1}{tag}");
    SendMessage { properties: properties.into(), ..message("t", b"x") }
}

fn subscribed(kind: &str, expression: &str, version: i64) -> Heartbeat {
    let mut said = heartbeat("one", expression, version);
    said.consumers[0].subscriptions[0].expression_type = kind.into();
    said
}

fn status_of(received: &Received) -> (PullStatus, u64) {
    let answer = PullAnswer::decode(&received.header()).unwrap();
    (answer.status, answer.next.0)
}

impl Peer {
    /// A request of a member, who is told of changes of its group, too.
    fn call_as_member(&mut self, call: &impl Call) -> Received {
        let opaque = self.ask(call);
        loop {
            let received = self.receive();
            if received.header().is_response() && received.header().opaque == opaque {
                return received;
            }
        }
    }

    fn set(&mut self, code: RequestCode, fields: &[(&str, &str)], body: &str) {
        let answer = self.call(&Tool(code, fields, body));
        assert_eq!(answer.code(), ResponseCode::SUCCESS, "{}", answer.remark());
    }

    fn set_queues(&mut self, [read, written]: [&str; 2], perm: &str, attributes: &str) {
        let fields = [
            ("topic", "t"),
            ("defaultTopic", "TBW102"),
            ("readQueueNums", read),
            ("writeQueueNums", written),
            ("perm", perm),
            ("attributes", attributes),
            ("topicFilterType", "SINGLE_TAG"),
        ];
        self.set(RequestCode::UPDATE_AND_CREATE_TOPIC, &fields, "");
    }
}

/// A member of a group, and a connection on which its pull waits for what comes after the one
/// message of queue 0.
fn waiting_member(server: &Server, kind: &str, expression: &str) -> (Peer, Peer) {
    let (mut member, mut asker) =
        (server.connect(HeaderKind::Json), server.connect(HeaderKind::Json));
    member.call(&with_tag("1"));
    member.call_as_member(&subscribed(kind, expression, 1));
    asker.ask(&push(1, 1));
    asker.handled_so_far();
    (member, asker)
}

#[test]
fn a_waiting_pull_goes_by_what_its_group_wants_now() {
    let tags = ("TAG", "2", "2 || 3");
    for (kind, before, after) in [tags, ("SQL92", "a = '2'", "a = '2' OR a = '3'")] {
        let server = start_default();
        let (_member, mut waits) = waiting_member(&server, kind, before);
        let mut other = server.connect(HeaderKind::Json);
        // The same again, as each member says it that joins.
        other.call_as_member(&subscribed(kind, before, 2));
        waits.handled_so_far();
        other.call_as_member(&subscribed(kind, after, 3));
        assert_eq!(status_of(&waits.receive()), (PullStatus::NothingMatched, 1));
        waits.ask(&push(1, 3));
        waits.handled_so_far();
        other.call_as_member(&with_tag("3"));
        let given = waits.receive();
        assert_eq!((given.bodies(), status_of(&given)), (vec!["x".into()], (PullStatus::Found, 2)));
    }
}

#[test]
fn what_came_while_a_pull_waited_is_looked_at_again() {
    let server = start_default();
    let (_member, mut waits) = waiting_member(&server, "TAG", "2");
    let mut other = server.connect(HeaderKind::Json);
    other.call(&with_tag("3"));
    waits.handled_so_far();
    other.call_as_member(&subscribed("TAG", "2 || 3", 2));
    assert_eq!(status_of(&waits.receive()), (PullStatus::NothingMatched, 1));
    assert_eq!(waits.call(&push(1, 2)).bodies(), ["x"]);
}

#[test]
fn a_waiting_pull_is_given_nothing_that_may_not_be_read_any_more() {
    let server = start_default();
    let mut tools = server.connect(HeaderKind::Json);
    let (_member, mut waits) = waiting_member(&server, "TAG", "*");
    let group = |consumes: bool| format!(r#"{{"groupName":"group","consumeEnable":{consumes}}}"#);
    tools.set(RequestCode::UPDATE_AND_CREATE_SUBSCRIPTIONGROUP, &[], &group(false));
    assert_eq!(status_of(&waits.receive()), (PullStatus::NothingMatched, 1));
    assert_eq!(waits.call(&push(1, 1)).code(), ResponseCode::NO_PERMISSION);
    tools.set(RequestCode::UPDATE_AND_CREATE_SUBSCRIPTIONGROUP, &[], &group(true));

    // Also where the attributes change with it.
    for attributes in ["", "+message.type=FIFO"] {
        tools.set_queues(["4", "4"], "6", "");
        waits.ask(&push(1, 1));
        waits.handled_so_far();
        tools.set_queues(["4", "4"], "2", attributes);
        assert_eq!(waits.receive().code(), ResponseCode::NO_PERMISSION);
    }
    let last = PullMessage { queue_id: QueueId(3), ..push(0, 1) };
    for written in ["4", "3"] {
        tools.set_queues(["4", "4"], "6", "");
        waits.ask(&last);
        waits.handled_so_far();
        tools.set_queues(["3", written], "6", "");
        let (refused, again) = (waits.receive(), waits.call(&last));
        assert_eq!((refused.code(), refused.remark()), (again.code(), again.remark()));
    }
}

#[test]
fn a_waiting_pull_is_told_at_once_that_its_group_was_moved() {
    let server = start_default();
    let (_member, mut waits) = waiting_member(&server, "TAG", "*");
    let mut tools = server.connect(HeaderKind::Json);
    let to_start = [("group", "group"), ("topic", "t"), ("timestamp", "0"), ("isForce", "true")];
    tools.set(RequestCode::INVOKE_BROKER_TO_RESET_OFFSET, &to_start, "");
    assert_eq!(status_of(&waits.receive()), (PullStatus::NothingMatched, 1));
    assert_eq!(status_of(&waits.call(&push(1, 1))), (PullStatus::OffsetMoved, 0));
    assert_eq!(waits.call(&push(0, 1)).bodies(), ["x"]);
}
