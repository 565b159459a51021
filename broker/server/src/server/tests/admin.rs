use std::borrow::Cow;

use millrace_protocol::{
    Call, FieldWriter, FrameWriter, Head, HeaderKind, PullAnswer, RequestCode, ResponseCode,
    SendAnswer, SendMessage, TopicConfigs, UpdateConsumerOffset, ViewMessage, pull_flag,
};
use millrace_types::{PhysicalOffset, QueueId, QueueOffset};

use super::peer::{Bare, Received, message, pull};
use super::*;

/// A request of a tool: its fields and its body.
pub(super) struct Tool<'a>(
    pub(super) RequestCode,
    pub(super) &'a [(&'a str, &'a str)],
    pub(super) &'a str,
);

impl Call for Tool<'_> {
    fn code(&self) -> RequestCode {
        self.0
    }

    fn fields(&self, to: &mut FieldWriter<'_>) {
        self.1.iter().for_each(|(name, value)| to.text(name, value));
    }

    fn body(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.2.as_bytes());
    }
}

pub(super) fn body(answer: &Received) -> String {
    assert_eq!(answer.code(), ResponseCode::SUCCESS, "{}", answer.remark());
    String::from_utf8(answer.body().to_vec()).unwrap()
}

#[test]
fn keys_of_the_name_server_are_kept_until_they_are_removed() {
    let server = start_default();
    let mut peer = server.connect_namesrv();
    let entry = [("namespace", "n"), ("key", "k"), ("value", "v")];
    let get = Tool(RequestCode::GET_KV_CONFIG, &entry[..2], "");
    assert_eq!(peer.call(&get).code(), ResponseCode::QUERY_NOT_FOUND);
    let put = Tool(RequestCode::PUT_KV_CONFIG, &entry, "");
    assert_eq!(peer.call(&put).code(), ResponseCode::SUCCESS);
    assert_eq!(peer.call(&get).header().fields.get("value").as_deref(), Some("v"));
    let list = Tool(RequestCode::GET_KVLIST_BY_NAMESPACE, &entry[..1], "");
    assert_eq!(body(&peer.call(&list)), r#"{"table":{"k":"v"}}"#);
    let delete = Tool(RequestCode::DELETE_KV_CONFIG, &entry[..2], "");
    assert_eq!(peer.call(&delete).code(), ResponseCode::SUCCESS);
    assert_eq!(peer.call(&get).code(), ResponseCode::QUERY_NOT_FOUND);
    assert_eq!(peer.call(&list).code(), ResponseCode::QUERY_NOT_FOUND);
}

#[test]
fn a_stopped_group_is_moved_and_its_progress_shown() {
    let server = start_default();
    let mut peer = server.connect(HeaderKind::Json);
    for _ in 0..3 {
        peer.call(&message("orders", b"x"));
    }
    let at = [("group", "g"), ("topic", "orders"), ("queueId", "0"), ("timestamp", "-1")];
    let moved = peer.call(&Tool(RequestCode::INVOKE_BROKER_TO_RESET_OFFSET, &at, ""));
    let queue = r#"{"brokerName":"millrace","queueId":0,"topic":"orders"}"#;
    assert_eq!(body(&moved), format!("{{\"offsetTable\":{{{queue}:3}}}}"));
    let back = [at[0], at[1], at[2], ("timestamp", "0")];
    let moved = peer.call(&Tool(RequestCode::INVOKE_BROKER_TO_RESET_OFFSET, &back, ""));
    assert_eq!(body(&moved), format!("{{\"offsetTable\":{{{queue}:0}}}}"));
    // Also forward without force, as by RocketMQ 5.
    let to_two = [at[0], at[1], at[2], ("offset", "2")];
    let moved = peer.call(&Tool(RequestCode::INVOKE_BROKER_TO_RESET_OFFSET, &to_two, ""));
    assert_eq!(body(&moved), format!("{{\"offsetTable\":{{{queue}:2}}}}"));
    let progress = [("consumerGroup", "g")];
    let progress = body(&peer.call(&Tool(RequestCode::GET_CONSUME_STATS, &progress, "")));
    let expected = r#"{"brokerOffset":3,"consumerOffset":2,"#;
    assert!(progress.contains(&format!("{queue}:{expected}")), "{progress}");
    let who = Tool(RequestCode::QUERY_TOPIC_CONSUME_BY_WHO, &[("topic", "orders")], "");
    assert_eq!(body(&peer.call(&who)), r#"{"groupList":["g"]}"#);
    let missing = [("group", "g"), ("topic", "nowhere"), ("timestamp", "0")];
    let missing = peer.call(&Tool(RequestCode::INVOKE_BROKER_TO_RESET_OFFSET, &missing, ""));
    assert_eq!(missing.code(), ResponseCode::TOPIC_NOT_EXIST);
}

#[test]
fn a_groups_settings_are_given_back_as_they_came() {
    let server = start_default();
    let mut peer = server.connect(HeaderKind::Json);
    let get = Tool(RequestCode::GET_SUBSCRIPTIONGROUP_CONFIG, &[("group", "g")], "");
    assert_eq!(peer.call(&get).code(), ResponseCode::SUBSCRIPTION_GROUP_NOT_EXIST);
    let put = |json| Tool(RequestCode::UPDATE_AND_CREATE_SUBSCRIPTIONGROUP, &[], json);
    let config = r#"{"consumeEnable":true,"groupName":"g","retryMaxTimes":3}"#;
    assert_eq!(peer.call(&put(config)).code(), ResponseCode::SUCCESS);
    assert_eq!(body(&peer.call(&get)), config);
    let all = body(&peer.call(&Bare(RequestCode::GET_ALL_SUBSCRIPTIONGROUP_CONFIG.0)));
    assert!(all.contains(&format!("\"g\":{config}")), "{all}");
    for refused in [r#"{"groupName":"bad name"}"#, "{}", "no"] {
        assert_eq!(peer.call(&put(refused)).code(), ResponseCode::INVALID_PARAMETER, "{refused}");
    }
    assert_eq!(body(&peer.call(&get)), config);
}

#[test]
fn a_groups_settings_that_are_refused_are_not_obeyed() {
    let server = start_default();
    let mut peer = server.connect(HeaderKind::Json);
    peer.call(&message("orders", b"x"));
    let config =
        |note: &str| format!(r#"{{"groupName":"readers","consumeEnable":false,"note":"{note}"}}"#);
    let [long, short] = [config(&"x".repeat(32 << 10)), config("x")];
    let put = |json| Tool(RequestCode::UPDATE_AND_CREATE_SUBSCRIPTIONGROUP, &[], json);
    assert_eq!(peer.call(&put(&long)).code(), ResponseCode::MESSAGE_ILLEGAL);
    let pull = pull("orders", QueueOffset(0));
    assert_eq!(peer.call(&pull).code(), ResponseCode::SUCCESS);
    assert_eq!(peer.call(&put(&short)).code(), ResponseCode::SUCCESS);
    assert_eq!(peer.call(&pull).code(), ResponseCode::NO_PERMISSION);
    let group = [("groupName", "readers")];
    let delete = Tool(RequestCode::DELETE_SUBSCRIPTIONGROUP, &group, "");
    assert_eq!(peer.call(&delete).code(), ResponseCode::SUCCESS);
    assert_eq!(peer.call(&pull).code(), ResponseCode::SUCCESS);
}

#[test]
fn topics_and_their_ends_are_shown() {
    let server = start_default();
    let mut peer = server.connect(HeaderKind::Binary);
    peer.call(&message("orders", b"x"));
    let names = Bare(RequestCode::GET_ALL_TOPIC_LIST_FROM_NAMESERVER.0);
    let names = body(&server.connect_namesrv().call(&names));
    assert_eq!(names, r#"{"topicList":["TBW102","orders"]}"#);
    let stats = Tool(RequestCode::GET_TOPIC_STATS_INFO, &[("topic", "orders")], "");
    let stats = body(&peer.call(&stats));
    assert!(stats.contains(r#""maxOffset":1,"minOffset":0"#), "{stats}");
    let info = body(&peer.call(&Bare(RequestCode::GET_BROKER_RUNTIME_INFO.0)));
    assert!(info.contains(r#""msgPutTotalTodayNow":"1""#), "{info}");
    for spelling in ["getTransferedTps", "getTransferredTps"] {
        assert!(info.contains(&format!("\"{spelling}\":\"0.0000 ")), "{info}");
    }
}

#[test]
fn a_group_that_is_online_is_shown_and_told_where_to_go_on() {
    let server = start_default();
    let mut peer = server.connect(HeaderKind::Json);
    peer.call(&message("orders", b"x"));
    let connections = [("consumerGroup", "g")];
    let connections = Tool(RequestCode::GET_CONSUMER_CONNECTION_LIST, &connections, "");
    assert_eq!(peer.call(&connections).code(), ResponseCode::CONSUMER_NOT_ONLINE);
    let heartbeat = r#"{"clientID":"c@1","consumerDataSet":[{"consumeFromWhere":
        "CONSUME_FROM_LAST_OFFSET","consumeType":"CONSUME_PASSIVELY","groupName":"g",
        "messageModel":"CLUSTERING","subscriptionDataSet":[{"subString":"a","subVersion":7,
        "tagsSet":["a"],"topic":"orders"}]}]}"#;
    let online = Tool(RequestCode::HEART_BEAT, &[], heartbeat);
    // The group has changed, so its member may be told of that first.
    let opaque = peer.ask(&online);
    while peer.receive().header().opaque != opaque {}
    let mut other = server.connect(HeaderKind::Json);
    let shown = body(&other.call(&connections));
    for part in [
        r#""clientId":"c@1","language":"RUST""#,
        r#""consumeType":"CONSUME_PASSIVELY","messageModel":"CLUSTERING""#,
        r#""subscriptionTable":{"orders":{"#,
        r#""subString":"a","subVersion":7"#,
    ] {
        assert!(shown.contains(part), "no {part} in {shown}");
    }
    let to_end = [("group", "g"), ("topic", "orders"), ("timestamp", "-1"), ("isForce", "true")];
    let to_end = Tool(RequestCode::INVOKE_BROKER_TO_RESET_OFFSET, &to_end, "");
    let moved = body(&other.call(&to_end));
    assert!(moved.contains(r#""queueId":0,"topic":"orders"}:1"#), "{moved}");
    // A member that has not heard of it commits where it was.
    let commit = UpdateConsumerOffset {
        group: "g".into(),
        topic: "orders".into(),
        queue_id: QueueId(0),
        offset: QueueOffset(0),
    };
    assert_eq!(other.call(&commit).code(), ResponseCode::SUCCESS);
    let mut of_group = pull("orders", QueueOffset(0));
    of_group.group = "g".into();
    let told = other.call(&of_group);
    assert_eq!(told.code(), ResponseCode::PULL_OFFSET_MOVED);
    assert_eq!(PullAnswer::decode(&told.header()).unwrap().next, QueueOffset(1));
    // It is told once, and what it commits from then on holds.
    assert_eq!(other.call(&of_group).code(), ResponseCode::SUCCESS);
    let progress = [("consumerGroup", "g")];
    let progress = Tool(RequestCode::GET_CONSUME_STATS, &progress, "");
    assert!(body(&other.call(&progress)).contains(r#""consumerOffset":1"#));
    other.call(&commit);
    assert!(body(&other.call(&progress)).contains(r#""consumerOffset":0"#));
    drop(peer);
    becomes_true("the end of the group's last member", || {
        other.call(&connections).code() != ResponseCode::SUCCESS
    });
}

#[test]
fn a_group_that_was_not_heard_of_yet_is_told_where_to_go_on() {
    let server = start_default();
    let mut peer = server.connect(HeaderKind::Json);
    peer.call(&message("orders", b"x"));
    let set = |peer: &mut Peer, permission| {
        let queues = [("readQueueNums", "1"), ("writeQueueNums", "1"), ("perm", permission)];
        let fields = [&[("topic", "orders")], &queues[..]].concat();
        let set = peer.call(&Tool(RequestCode::UPDATE_AND_CREATE_TOPIC, &fields, ""));
        assert_eq!(set.code(), ResponseCode::SUCCESS, "{}", set.remark());
    };
    let reset = |peer: &mut Peer| {
        let back = [("group", "readers"), ("topic", "orders"), ("timestamp", "0")];
        body(&peer.call(&Tool(RequestCode::INVOKE_BROKER_TO_RESET_OFFSET, &back, "")));
    };
    let commit = UpdateConsumerOffset {
        group: "readers".into(),
        topic: "orders".into(),
        queue_id: QueueId(0),
        offset: QueueOffset(1),
    };
    // The broker was started anew, and a member goes on before its next heartbeat.
    set(&mut peer, "6");
    assert_eq!(peer.call(&commit).code(), ResponseCode::SUCCESS);
    reset(&mut peer);
    assert_eq!(peer.call(&commit).code(), ResponseCode::SUCCESS);
    // Whom the topic refuses is not told.
    set(&mut peer, "2");
    let mut on = pull("orders", QueueOffset(1));
    on.commit_offset = Some(QueueOffset(1));
    on.sys_flag |= pull_flag::COMMIT_OFFSET;
    assert_eq!(peer.call(&on).code(), ResponseCode::NO_PERMISSION);
    set(&mut peer, "6");
    let told = peer.call(&on);
    assert_eq!(told.code(), ResponseCode::PULL_OFFSET_MOVED);
    assert_eq!(PullAnswer::decode(&told.header()).unwrap().next, QueueOffset(0));
    // A topic of the same name is another one.
    reset(&mut peer);
    let delete = Tool(RequestCode::DELETE_TOPIC_IN_BROKER, &[("topic", "orders")], "");
    body(&peer.call(&delete));
    set(&mut peer, "6");
    let told = peer.call(&pull("orders", QueueOffset(1)));
    assert_ne!(told.code(), ResponseCode::PULL_OFFSET_MOVED);
}

const ONLINE: &str = r#"{"clientID":"c@1","producerDataSet":[{"groupName":"p"}],
    "consumerDataSet":[{"groupName":"g","messageModel":"BROADCASTING",
    "subscriptionDataSet":[{"subString":"a","subVersion":7,"topic":"orders"}]}]}"#;

#[test]
fn producers_are_shown_while_they_are_there() {
    let server = start_default();
    let mut peer = server.connect(HeaderKind::Json);
    let of = [("producerGroup", "p")];
    let connections = Tool(RequestCode::GET_PRODUCER_CONNECTION_LIST, &of, "");
    let nobody = peer.call(&connections);
    assert_eq!(nobody.code(), ResponseCode::SYSTEM_ERROR);
    assert_eq!(nobody.remark(), "the producer group[p] not exist");
    peer.call(&Tool(RequestCode::HEART_BEAT, &[], ONLINE));
    let shown = body(&peer.call(&connections));
    assert!(shown.contains(r#""clientId":"c@1","language":"RUST""#), "{shown}");
    let all = body(&peer.call(&Bare(RequestCode::GET_ALL_PRODUCER_INFO.0)));
    assert!(all.starts_with(r#"{"data":{"p":[{"clientId":"c@1""#), "{all}");
    let of = [("group", "g"), ("topic", "orders")];
    let wants = body(&peer.call(&Tool(RequestCode::QUERY_SUBSCRIPTION_BY_CONSUMER, &of, "")));
    assert!(wants.contains(r#""subString":"a","subVersion":7"#), "{wants}");
    let leaves = [("clientID", "c@1"), ("producerGroup", "p")];
    peer.call(&Tool(RequestCode::UNREGISTER_CLIENT, &leaves, ""));
    assert_eq!(peer.call(&connections).code(), ResponseCode::SYSTEM_ERROR);
}

#[test]
fn a_consumer_tells_of_itself_what_the_broker_does_not_know() {
    let server = start_default();
    let (mut client, mut tool) =
        (server.connect(HeaderKind::Binary), server.connect(HeaderKind::Json));
    let of = [("consumerGroup", "g"), ("clientId", "c@1"), ("jstackEnable", "true")];
    let ask = Tool(RequestCode::GET_CONSUMER_RUNNING_INFO, &of, "");
    assert!(tool.call(&ask).remark().contains("not online"));
    client.call(&Tool(RequestCode::HEART_BEAT, &[], ONLINE));
    let opaque = tool.ask(&ask);
    let asked = client.receive();
    let header = asked.header();
    assert_eq!(header.request_code(), RequestCode::GET_CONSUMER_RUNNING_INFO);
    assert_eq!(header.fields.get("jstackEnable").as_deref(), Some("true"));
    let mut answer = Vec::new();
    let head = Head::answer(HeaderKind::Binary, 0, header.opaque, "as it is");
    let mut frame = FrameWriter::begin(&mut answer, &head, |to| to.text("k", "v"));
    frame.out().extend_from_slice(b"{\"jstack\":\"x\"}");
    frame.finish();
    client.write(&answer);
    let told = tool.receive();
    assert_eq!((told.header().opaque, &*told.remark()), (opaque, "as it is"));
    assert_eq!(told.header().fields.get("k").as_deref(), Some("v"));
    assert_eq!(body(&told), r#"{"jstack":"x"}"#);
    // A client that leaves without an answer leaves nobody waiting.
    tool.ask(&ask);
    client.receive();
    drop(client);
    let told = tool.receive();
    assert_eq!((told.code(), &*told.remark()), (ResponseCode::SYSTEM_ERROR, "the client is gone"));
}

#[test]
fn the_offsets_of_a_group_are_copied_and_listed() {
    let server = start_default();
    let mut peer = server.connect(HeaderKind::Json);
    peer.call(&message("orders", b"x"));
    let commit = UpdateConsumerOffset {
        group: "g".into(),
        topic: "orders".into(),
        queue_id: QueueId(0),
        offset: QueueOffset(1),
    };
    peer.call(&commit);
    let clone = [("srcGroup", "g"), ("destGroup", "h"), ("topic", "orders"), ("offline", "true")];
    body(&peer.call(&Tool(RequestCode::CLONE_GROUP_OFFSET, &clone, "")));
    let all = body(&peer.call(&Bare(RequestCode::GET_ALL_CONSUMER_OFFSET.0)));
    assert!(all.contains(r#""offsetTable":{"orders@g":{"0":1},"orders@h":{"0":1}}"#), "{all}");
}

#[test]
fn settings_are_shown_and_not_changed_silently() {
    let server = start_default();
    let mut peer = server.connect(HeaderKind::Json);
    let shown = body(&peer.call(&Bare(RequestCode::GET_BROKER_CONFIG.0)));
    assert!(shown.contains("\nbrokerName=millrace\n"), "{shown}");
    for (text, code) in [
        ("brokerName=millrace\n", ResponseCode::SUCCESS),
        ("flushDiskType=SYNC_FLUSH\n", ResponseCode::SYSTEM_ERROR),
        ("configBlackList=x\n", ResponseCode::NO_PERMISSION),
    ] {
        let answer = peer.call(&Tool(RequestCode::UPDATE_BROKER_CONFIG, &[], text));
        assert_eq!(answer.code(), code, "{text}");
    }
}

#[test]
fn what_was_given_is_counted() {
    let server = start_default();
    let mut peer = server.connect(HeaderKind::Json);
    for _ in 0..3 {
        peer.call(&message("orders", b"x"));
    }
    peer.call(&pull("orders", QueueOffset(0)));
    peer.call(&pull("orders", QueueOffset(3)));
    let info = body(&peer.call(&Bare(RequestCode::GET_BROKER_RUNTIME_INFO.0)));
    for part in [
        r#""msgPutTotalTodayNow":"3""#,
        r#""msgGetTotalTodayNow":"3""#,
        r#""msgPutTotalTodayMorning":"0""#,
        r#""runtime":"[ 0 days, 0 hours, 0 minutes, "#,
    ] {
        assert!(info.contains(part), "no {part} in {info}");
    }
}

#[test]
fn a_deleted_topic_has_no_route_and_a_new_one_none_of_its_messages() {
    let server = start_default();
    let mut peer = server.connect(HeaderKind::Json);
    for _ in 0..3 {
        peer.call(&message("orders", b"x"));
    }
    let topic = [("topic", "orders")];
    let delete = Tool(RequestCode::DELETE_TOPIC_IN_BROKER, &topic, "");
    assert_eq!(peer.call(&delete).code(), ResponseCode::SUCCESS);
    let mut namesrv = server.connect_namesrv();
    let route = namesrv.call(&Tool(RequestCode::GET_ROUTEINFO_BY_TOPIC, &topic, ""));
    assert_eq!(route.code(), ResponseCode::TOPIC_NOT_EXIST);
    let also = Tool(RequestCode::DELETE_TOPIC_IN_NAMESRV, &topic, "");
    assert_eq!(namesrv.call(&also).code(), ResponseCode::SUCCESS);
    // The answer comes after the log has it, so another one may be made at once.
    peer.call(&message("orders", b"y"));
    let stats = body(&peer.call(&Tool(RequestCode::GET_TOPIC_STATS_INFO, &topic, "")));
    assert!(stats.contains(r#""maxOffset":4,"minOffset":3"#), "{stats}");
}

#[test]
fn a_new_group_starts_where_a_topic_that_was_created_again_begins() {
    let server = start_default();
    let mut peer = server.connect(HeaderKind::Json);
    let fields = [("consumerGroup", "g"), ("topic", "orders"), ("queueId", "0")];
    let offset = Tool(RequestCode::QUERY_CONSUMER_OFFSET, &fields, "");
    let delete = Tool(RequestCode::DELETE_TOPIC_IN_BROKER, &[("topic", "orders")], "");
    for begin in ["0", "3", "6"] {
        (0..3).for_each(|_| drop(peer.call(&message("orders", b"x"))));
        let answer = peer.call(&offset);
        let offset = answer.header().fields.get("offset").map(Cow::into_owned);
        assert_eq!(offset.as_deref(), Some(begin), "{}", answer.remark());
        assert_eq!(peer.call(&delete).code(), ResponseCode::SUCCESS);
    }
}

#[test]
fn the_attributes_of_a_topic_are_shown() {
    let server = start_default();
    let mut peer = server.connect(HeaderKind::Json);
    let mut create = |attributes: &str| {
        let queues = [("readQueueNums", "1"), ("writeQueueNums", "1"), ("perm", "6")];
        let fields = [&[("topic", "orders"), ("attributes", attributes)], &queues[..]].concat();
        peer.call(&Tool(RequestCode::UPDATE_AND_CREATE_TOPIC, &fields, "")).code()
    };
    let taken = create("+message.type=FIFO,+reserve.time=24,+reserve.bytes=1000");
    assert_eq!(taken, ResponseCode::SUCCESS);
    assert_eq!(create("+foo=bar"), ResponseCode::SYSTEM_ERROR);
    assert_eq!(create("+message.type=MIXED"), ResponseCode::INVALID_PARAMETER);
    let shown = r#"{"message.type":"FIFO","reserve.bytes":"1000","reserve.time":"24"}"#;
    let shown = format!("\"attributes\":{shown},");
    for (code, fields) in [
        (RequestCode::GET_TOPIC_CONFIG, &[("topic", "orders")][..]),
        (RequestCode::GET_ALL_TOPIC_CONFIG, &[]),
    ] {
        let told = body(&peer.call(&Tool(code, fields, "")));
        assert!(told.contains(&shown), "{told}");
    }
}

#[test]
fn topics_are_told_page_by_page() {
    let server = start_default();
    let mut peer = server.connect(HeaderKind::Json);
    for topic in ["a", "b", "c"] {
        peer.call(&message(topic, b"x"));
    }
    for (first, most, told) in [
        ("0", "2", &["a", "b"][..]),
        ("2", "2", &["c"]),
        ("1", "100", &["b", "c"]),
        ("9", "2", &[]),
    ] {
        let page = [("topicSeq", first), ("maxTopicNum", most)];
        let answer = peer.call(&Tool(RequestCode::GET_ALL_TOPIC_CONFIG, &page, ""));
        assert_eq!(answer.header().fields.get("totalTopicNum").as_deref(), Some("3"));
        let topics = TopicConfigs::decode(answer.body()).unwrap().topics;
        let names: Vec<_> = topics.iter().map(|topic| topic.topic.as_str()).collect();
        assert_eq!(names, told);
    }
}

#[test]
fn a_topic_that_a_group_has_left_does_not_count_for_how_far_it_is_behind() {
    let server = start_default();
    let mut peer = server.connect(HeaderKind::Json);
    for topic in ["orders", "left"] {
        peer.call(&message(topic, b"x"));
        let (group, topic) = ("g".into(), topic.into());
        let (queue_id, offset) = (QueueId(0), QueueOffset(0));
        peer.call(&UpdateConsumerOffset { group, topic, queue_id, offset });
    }
    let stats = Tool(RequestCode::GET_CONSUME_STATS, &[("consumerGroup", "g")], "");
    let named = |stats: String| ["orders", "left"].map(|topic| stats.contains(topic));
    assert_eq!(named(body(&peer.call(&stats))), [true, true]);
    let heartbeat = r#"{"clientID":"c","consumerDataSet":[{"groupName":"g",
        "consumeType":"CONSUME_PASSIVELY","messageModel":"CLUSTERING","subscriptionDataSet":
        [{"topic":"orders","subString":"*","expressionType":"TAG","subVersion":1}]}]}"#;
    let mut member = server.connect(HeaderKind::Json);
    member.ask(&Tool(RequestCode::HEART_BEAT, &[], heartbeat));
    // The answer, or a word about the new member.
    member.receive();
    assert_eq!(named(body(&peer.call(&stats))), [true, false]);
}

#[test]
fn the_brokers_own_topics_are_told_and_not_deleted() {
    let server = start_default();
    let mut peer = server.connect(HeaderKind::Json);
    peer.call(&message("orders", b"x"));
    let told = body(&peer.call(&Bare(RequestCode::GET_SYSTEM_TOPIC_LIST_FROM_BROKER.0)));
    assert!(!told.contains("orders"));
    for topic in ["TBW102", "SCHEDULE_TOPIC_XXXX", "RMQ_SYS_TRANS_HALF_TOPIC", "MILLRACE_META"] {
        assert!(told.contains(&format!("\"{topic}\"")), "{topic} in {told}");
        let delete = Tool(RequestCode::DELETE_TOPIC_IN_BROKER, &[("topic", topic)], "");
        assert_eq!(peer.call(&delete).code(), ResponseCode::INVALID_PARAMETER, "{topic}");
    }
}

#[test]
fn a_group_is_not_moved_to_an_offset_that_its_queue_does_not_have() {
    let server = start_default();
    let mut peer = server.connect(HeaderKind::Json);
    peer.call(&message("orders", b"x"));
    let mut move_to = |offset: &str| {
        let to = [("group", "g"), ("topic", "orders"), ("queueId", "0"), ("offset", offset)];
        let fields = [&to[..], &[("timestamp", "-1"), ("isForce", "true")]].concat();
        let answer = peer.call(&Tool(RequestCode::INVOKE_BROKER_TO_RESET_OFFSET, &fields, ""));
        (answer.code(), answer.remark())
    };
    let refused = "Target offset 99 not in consume queue range [0-1]".to_owned();
    assert_eq!(move_to("99"), (ResponseCode::SYSTEM_ERROR, refused));
    assert_eq!(move_to("1").0, ResponseCode::SUCCESS);
}

#[test]
fn a_name_server_tells_its_own_port() {
    let server = start_default();
    let asked = Bare(RequestCode::GET_NAMESRV_CONFIG.0);
    let told = body(&server.connect_namesrv().call(&asked));
    let port = server.addresses().namesrv.unwrap().port();
    assert!(told.contains(&format!("listenPort={port}\n")), "{told}");
}

#[test]
fn a_queue_that_does_not_exist_has_no_times() {
    let server = start_default();
    let mut peer = server.connect(HeaderKind::Json);
    peer.call(&message("orders", b"x"));
    for (topic, queue) in [("nowhere", "0"), ("orders", "99")] {
        let fields = [("topic", topic), ("queueId", queue), ("timestamp", "1")];
        for (code, name, expected) in [
            (RequestCode::SEARCH_OFFSET_BY_TIMESTAMP, "offset", "0"),
            (RequestCode::GET_EARLIEST_MSG_STORETIME, "timestamp", "-1"),
        ] {
            let answer = peer.call(&Tool(code, &fields, ""));
            let told = answer.header().fields.get(name).map(Cow::into_owned);
            assert_eq!(told.as_deref(), Some(expected), "{}", answer.remark());
        }
    }
}

#[test]
fn tools_see_a_topic_that_may_not_be_read() {
    let server = start_default();
    let mut peer = server.connect(HeaderKind::Json);
    let commit = |topic: &'static str| UpdateConsumerOffset {
        group: "g".into(),
        topic: topic.into(),
        queue_id: QueueId(0),
        offset: QueueOffset(1),
    };
    let mut at = PhysicalOffset(0);
    for topic in ["open", "closed"] {
        let keyed = SendMessage { properties: "KEYS\x01k\x02".into(), ..message(topic, b"x") };
        peer.call(&keyed);
        let sent = peer.call(&keyed);
        let sent = SendAnswer::decode(&sent.header()).unwrap();
        at = sent.message_ids.iter().next().unwrap().physical_offset;
        assert_eq!(peer.call(&commit(topic)).code(), ResponseCode::SUCCESS);
    }
    // Of its two queues one is not read.
    let queues = [("readQueueNums", "1"), ("writeQueueNums", "2"), ("perm", "2")];
    let fields = [&[("topic", "closed")], &queues[..]].concat();
    let closed = peer.call(&Tool(RequestCode::UPDATE_AND_CREATE_TOPIC, &fields, ""));
    assert_eq!(closed.code(), ResponseCode::SUCCESS, "{}", closed.remark());
    assert_eq!(peer.call(&pull("closed", QueueOffset(0))).code(), ResponseCode::NO_PERMISSION);

    let mut ask = |code, fields: &[(&str, &str)]| {
        let answer = peer.call(&Tool(code, fields, ""));
        let told = answer.header().fields.get("offset").map(Cow::into_owned);
        (told, body(&answer))
    };
    let of_group = ask(RequestCode::GET_CONSUME_STATS, &[("consumerGroup", "g")]).1;
    for topic in ["closed", "open"] {
        let shown = format!("\"topic\":\"{topic}\"}}:{{\"brokerOffset\":2,\"consumerOffset\":1,");
        assert!(of_group.contains(&shown), "{of_group}");
    }
    let of_topic = ask(RequestCode::GET_TOPIC_STATS_INFO, &[("topic", "closed")]).1;
    assert!(of_topic.contains("\"maxOffset\":2"), "{of_topic}");
    let queue = [("topic", "closed"), ("queueId", "0"), ("timestamp", "0")];
    for (code, expected) in [
        (RequestCode::GET_MAX_OFFSET, "2"),
        (RequestCode::GET_MIN_OFFSET, "0"),
        (RequestCode::SEARCH_OFFSET_BY_TIMESTAMP, "0"),
    ] {
        assert_eq!(ask(code, &queue).0.as_deref(), Some(expected), "{code:?}");
    }
    let keyed = [("topic", "closed"), ("key", "k"), ("maxNum", "3")];
    let times = [("beginTimestamp", "0"), ("endTimestamp", "9999999999999")];
    let keyed = Tool(RequestCode::QUERY_MESSAGE, &[&keyed[..], &times].concat(), "");
    let reset = [("group", "g"), ("topic", "closed"), ("timestamp", "-1"), ("isForce", "true")];
    let moved = ask(RequestCode::INVOKE_BROKER_TO_RESET_OFFSET, &reset).1;
    assert!(moved.contains("\"topic\":\"closed\"}:2"), "{moved}");
    assert_eq!(peer.call(&keyed).records().len(), 2);
    let view = ViewMessage { topic: None, physical_offset: at };
    assert_eq!(peer.call(&view).records()[0].topic(), "closed");
}

#[test]
fn a_server_without_clients_looks_after_its_log() {
    let server = start_default();
    // The first look tells the log what was promised, so the log is not empty for long.
    let marks = server.core.watermarks().clone();
    becomes_true("the first record", || marks.appended().0 > 0);
}
