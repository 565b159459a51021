use millrace_protocol::{Call, FieldWriter, HeaderKind, RequestCode, ResponseCode};

use super::peer::{Bare, Received, message};
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
    // Not forced, so it does not go forward again once it is back.
    let back = [at[0], at[1], at[2], ("timestamp", "0")];
    let moved = peer.call(&Tool(RequestCode::INVOKE_BROKER_TO_RESET_OFFSET, &back, ""));
    assert_eq!(body(&moved), format!("{{\"offsetTable\":{{{queue}:0}}}}"));
    let moved = peer.call(&Tool(RequestCode::INVOKE_BROKER_TO_RESET_OFFSET, &at, ""));
    assert_eq!(body(&moved), format!("{{\"offsetTable\":{{{queue}:0}}}}"));
    let progress = [("consumerGroup", "g")];
    let progress = body(&peer.call(&Tool(RequestCode::GET_CONSUME_STATS, &progress, "")));
    let expected = r#"{"brokerOffset":3,"consumerOffset":0,"lastTimestamp":0,"pullOffset":0}"#;
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
}

#[test]
fn a_group_that_is_online_is_shown_and_not_moved() {
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
    let refused = other.call(&to_end);
    assert_eq!(refused.code(), ResponseCode::SYSTEM_ERROR);
    assert!(refused.remark().contains("online"), "{}", refused.remark());
    drop(peer);
    // The broker has noticed that once it says so.
    let until = std::time::Instant::now() + std::time::Duration::from_secs(10);
    while other.call(&connections).code() == ResponseCode::SUCCESS {
        assert!(std::time::Instant::now() < until, "the group is still online");
    }
    let moved = body(&other.call(&to_end));
    assert!(moved.contains(r#""queueId":0,"topic":"orders"}:1"#), "{moved}");
}
