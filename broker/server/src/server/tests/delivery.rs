use millrace_engine::DelayLevels;
use millrace_protocol::{
    ConsumeFrom, ConsumeType, ConsumerData, Heartbeat, LockQueues, LockedQueues, MessageModel,
    MessageQueue, OffsetMessageId, PullAnswer, PullStatus, RequestCode, ResponseCode, SendAnswer,
    SendBack, SendMessage, Subscription, ViewMessage,
};
use millrace_types::{PhysicalOffset, QueueId, QueueOffset};

use super::admin::Tool;
use super::peer::{Received, long_pull, message, pull};
use super::*;

/// A server whose delay levels take 20 to 360 ms.
fn start_quick(disk: SimDisk) -> Server {
    let delay_levels = DelayLevels::of_ms((1..=18).map(|level| level * 20));
    Server::start(Arc::new(disk), ServerConfig { delay_levels, ..config() }).unwrap()
}

fn delayed(level: &str) -> SendMessage<'static> {
    let properties = format!("UNIQ_KEY\u{1}7F01\u{2}TAGS\u{1}a\u{2}DELAY\u{1}{level}\u{2}");
    SendMessage { properties: properties.into(), ..message("orders", b"fails") }
}

impl Peer {
    /// Waits for the message at an offset of queue 0.
    fn wait_for(&mut self, topic: &str, offset: u64) -> Received {
        loop {
            let pulled = self.call(&long_pull(topic, QueueOffset(offset)));
            // A topic that does not exist yet is asked for again, as clients do.
            if pulled.code() == ResponseCode::SUCCESS {
                return pulled;
            }
        }
    }

    fn set_group(&mut self, json: &str) {
        let put = Tool(RequestCode::UPDATE_AND_CREATE_SUBSCRIPTIONGROUP, &[], json);
        assert_eq!(self.call(&put).code(), ResponseCode::SUCCESS);
    }

    fn is_empty(&mut self, topic: &str) -> bool {
        self.call(&pull(topic, QueueOffset(0))).code() != ResponseCode::SUCCESS
    }
}

fn sent_back(at: PhysicalOffset) -> SendBack<'static> {
    SendBack {
        physical_offset: at,
        group: "group".into(),
        delay_level: 0,
        origin_message_id: None,
        origin_topic: Some("orders".into()),
        unit_mode: false,
        max_reconsume_times: None,
    }
}

#[test]
fn a_delayed_message_arrives_as_it_was_sent() {
    for kind in KINDS {
        let server = start_quick(SimDisk::new(1));
        let mut peer = server.connect(kind);
        // Above the highest level there is none, so it is the highest.
        let sent = peer.call(&SendMessage { queue_id: Some(QueueId(0)), ..delayed("99") });
        let sent = SendAnswer::decode(&sent.header()).unwrap();
        assert_eq!((sent.queue_id, sent.queue_offset), (QueueId(0), QueueOffset(0)));
        // Whoever has the id of the answer finds what waits there, as of the topic it is for.
        let at = sent.message_ids.iter().next().unwrap().physical_offset;
        let view = ViewMessage { topic: Some("orders".into()), physical_offset: at };
        assert_eq!(peer.call(&view).bodies(), ["fails"]);
        let waiting = peer.call(&pull("orders", QueueOffset(0)));
        let waiting = PullAnswer::decode(&waiting.header()).unwrap();
        assert_eq!((waiting.status, waiting.max), (PullStatus::NotFound, QueueOffset(0)));

        let pulled = peer.wait_for("orders", 0);
        let record = pulled.records()[0];
        assert_eq!((record.topic(), record.body()), ("orders", &b"fails"[..]));
        assert_eq!(record.born_at_ms(), 1_700_000_000_000);
        let properties = record.properties();
        let names = ["UNIQ_KEY", "TAGS", "DELAY", "REAL_TOPIC", "REAL_QID"];
        assert_eq!(properties.pick(names), ["7F01", "a", "18", "orders", "0"].map(Some));
        for none in ["0", "-1"] {
            let sent = peer.call(&delayed(none));
            assert!(SendAnswer::decode(&sent.header()).unwrap().queue_offset > QueueOffset(0));
        }
    }
}

#[test]
fn a_timer_waits_as_long_as_it_says() {
    let server = start_quick(SimDisk::new(1));
    let mut peer = server.connect(HeaderKind::Json);
    let timed = |timer: &'static str| SendMessage {
        properties: format!("{timer}\u{2}").into(),
        ..message("orders", b"timed")
    };
    for (n, timer) in
        ["TIMER_DELAY_MS\u{1}150", "TIMER_DELIVER_MS\u{1}1700000000000"].iter().enumerate()
    {
        let sent = peer.call(&timed(timer));
        assert_eq!(sent.code(), ResponseCode::SUCCESS, "{}", sent.remark());
        assert_eq!(peer.is_empty("orders"), n == 0, "the second one was due long ago");
    }
    // Both are there once the first one is.
    let pulled = peer.wait_for("orders", 1);
    let record = pulled.records()[0];
    assert!(record.properties().get("TIMER_OUT_MS").is_some());
    assert_eq!(record.properties().get("REAL_TOPIC"), Some("orders"));
}

#[test]
fn a_failed_message_comes_again_until_it_is_a_dead_letter() {
    let disk = SimDisk::new(1);
    let mut server = start_quick(disk.clone());
    let mut peer = server.connect(HeaderKind::Binary);
    peer.send("orders", b"fails");
    let pulled = peer.wait_for("orders", 0);
    let first = pulled.records()[0].physical_offset();
    let store_host = server.addresses().advertised;
    let origin = OffsetMessageId { store_host, physical_offset: first }.to_string();
    let mut at = first;
    for times in 0..3 {
        let back = SendBack { max_reconsume_times: Some(3), ..sent_back(at) };
        assert_eq!(peer.call(&back).code(), ResponseCode::SUCCESS);
        let pulled = peer.wait_for("%RETRY%group", times);
        let record = pulled.records()[0];
        at = record.physical_offset();
        assert_eq!(record.reconsume_times(), times as i32 + 1);
        let names = ["RETRY_TOPIC", "ORIGIN_MESSAGE_ID", "TAGS"];
        let expected = ["orders", &origin, "a"].map(Some);
        assert_eq!(record.properties().pick(names), expected);
        if times == 1 {
            server.stop().unwrap();
            server = start_quick(disk.clone());
            peer = server.connect(HeaderKind::Json);
        }
    }
    let back = SendBack { max_reconsume_times: Some(3), ..sent_back(at) };
    assert_eq!(peer.call(&back).code(), ResponseCode::SUCCESS);
    let pulled = peer.wait_for("%DLQ%group", 0);
    assert_eq!((pulled.bodies(), pulled.records()[0].reconsume_times()), (vec!["fails".into()], 4));
}

#[test]
fn what_is_no_longer_in_memory_is_delivered_and_sent_back_all_the_same() {
    let disk = SimDisk::new(1);
    let hour = DelayLevels::of_ms([3_600_000]);
    let slow = ServerConfig { delay_levels: hour, ..config() };
    let server = Server::start(Arc::new(disk.clone()), slow).unwrap();
    let mut peer = server.connect(HeaderKind::Json);
    peer.send("orders", b"fails");
    let first = peer.wait_for("orders", 0).records()[0].physical_offset();
    peer.call(&delayed("1"));
    // Eight segments, so that what is in the first one is not among the newest.
    let filler = vec![0; 600 << 10];
    for _ in 0..8 {
        peer.send("filler", &filler);
    }
    server.stop().unwrap();
    let server = start_quick(disk);
    let mut peer = server.connect(HeaderKind::Json);
    assert_eq!(peer.wait_for("orders", 1).bodies(), ["fails"]);
    assert_eq!(peer.call(&sent_back(first)).code(), ResponseCode::SUCCESS);
    assert_eq!(peer.wait_for("%RETRY%group", 0).bodies(), ["fails"]);
    let wrong = peer.call(&sent_back(first + 1));
    assert_eq!(wrong.code(), ResponseCode::SYSTEM_ERROR);
}

#[test]
fn what_is_no_message_cannot_be_sent_back() {
    let server = start_quick(SimDisk::new(1));
    let mut peer = server.connect(HeaderKind::Json);
    peer.send("orders", b"fails");
    let at = peer.wait_for("orders", 0).records()[0].physical_offset();
    for wrong in [PhysicalOffset(0), at + 1, PhysicalOffset(u64::MAX >> 1)] {
        let answer = peer.call(&sent_back(wrong));
        assert_eq!(answer.code(), ResponseCode::SYSTEM_ERROR);
        assert_eq!(answer.remark(), format!("look message by offset failed, {wrong}"));
    }
    let answer = peer.call(&SendBack { group: "bad name".into(), ..sent_back(at) });
    assert_eq!(answer.code(), ResponseCode::SUBSCRIPTION_GROUP_NOT_EXIST);
}

#[test]
fn a_group_fails_as_often_as_it_is_set_to() {
    let server = start_quick(SimDisk::new(1));
    let mut peer = server.connect(HeaderKind::Json);
    peer.send("orders", b"fails");
    let at = peer.wait_for("orders", 0).records()[0].physical_offset();
    peer.set_group(r#"{"groupName":"group","retryMaxTimes":0,"retryQueueNums":2}"#);
    assert_eq!(peer.call(&sent_back(at)).code(), ResponseCode::SUCCESS);
    assert_eq!(peer.wait_for("%DLQ%group", 0).bodies(), ["fails"]);

    peer.set_group(r#"{"groupName":"careless","retryQueueNums":0}"#);
    let back = SendBack { group: "careless".into(), ..sent_back(at) };
    assert_eq!(peer.call(&back).code(), ResponseCode::SUCCESS);
    let hopeless = SendBack { delay_level: -1, ..back };
    assert_eq!(peer.call(&hopeless).code(), ResponseCode::SUCCESS);
    assert!(peer.is_empty("%DLQ%careless") && peer.is_empty("%RETRY%careless"));
}

/// What a consumer sends to its retry topic itself.
fn to_retry(times: i32, max: i32) -> SendMessage<'static> {
    SendMessage {
        topic: "%RETRY%group".into(),
        reconsume_times: times,
        max_reconsume_times: Some(max),
        ..delayed("1")
    }
}

#[test]
fn a_consumer_may_send_what_failed_to_the_retry_topic_itself() {
    let server = start(ServerConfig {
        auto_create_topics: false,
        delay_levels: DelayLevels::of_ms([20]),
        ..config()
    });
    let mut peer = server.connect(HeaderKind::Json);
    assert_eq!(peer.call(&to_retry(16, 16)).code(), ResponseCode::SUCCESS);
    let pulled = peer.wait_for("%RETRY%group", 0);
    assert_eq!(pulled.records()[0].reconsume_times(), 16);
    assert_eq!(peer.call(&to_retry(17, 16)).code(), ResponseCode::SUCCESS);
    let pulled = peer.wait_for("%DLQ%group", 0);
    let record = pulled.records()[0];
    assert_eq!(record.properties().pick(["DELAY", "UNIQ_KEY"]), [Some("-1"), Some("7F01")]);
}

#[test]
fn what_a_group_in_order_gives_up_is_a_dead_letter() {
    let server = start_quick(SimDisk::new(1));
    let mut peer = server.connect(HeaderKind::Json);
    let queue = MessageQueue {
        topic: "orders".into(),
        broker_name: "millrace".into(),
        queue_id: QueueId(0),
    };
    let lock = LockQueues { client_id: "one".into(), group: "group".into(), queues: vec![queue] };
    let locked = peer.call(&lock);
    assert_eq!(LockedQueues::decode(locked.body()).unwrap().0.len(), 1);
    peer.call(&to_retry(2, 3));
    assert_eq!(peer.wait_for("%RETRY%group", 0).bodies(), ["fails"]);
    peer.call(&to_retry(3, 3));
    assert_eq!(peer.wait_for("%DLQ%group", 0).bodies(), ["fails"]);
    peer.call(&lock.unlock());
    peer.call(&to_retry(3, 3));
    assert_eq!(peer.wait_for("%RETRY%group", 1).bodies(), ["fails"]);
}

fn heartbeat(model: MessageModel, version: i64) -> Heartbeat {
    Heartbeat {
        client_id: "one".into(),
        consumers: vec![ConsumerData {
            group: "group".into(),
            consume_type: ConsumeType::Push,
            message_model: model,
            consume_from: ConsumeFrom::LastOffset,
            subscriptions: vec![Subscription {
                topic: "orders".into(),
                expression: "*".into(),
                expression_type: "TAG".into(),
                version,
                ..Subscription::default()
            }],
            unit_mode: false,
        }],
        ..Heartbeat::default()
    }
}

#[test]
fn a_group_consumes_as_it_is_allowed_to() {
    let server = start_quick(SimDisk::new(1));
    let mut peer = server.connect(HeaderKind::Json);
    peer.send("orders", b"x");
    let of_group = |sys_flag| millrace_protocol::PullMessage {
        group: "group".into(),
        sys_flag,
        ..pull("orders", QueueOffset(0))
    };
    let own = millrace_protocol::pull_flag::SUBSCRIPTION;
    peer.set_group(r#"{"groupName":"group","notifyConsumerIdsChangedEnable":false}"#);
    // Nothing but the answers comes, so nobody was told of the change.
    let beat = |peer: &mut Peer, model| peer.call(&heartbeat(model, 1)).code();
    assert_eq!(beat(&mut peer, MessageModel::Clustering), ResponseCode::SUCCESS);
    assert_eq!(peer.call(&of_group(0)).bodies(), ["x"]);

    peer.set_group(r#"{"groupName":"group","consumeBroadcastEnable":false}"#);
    assert_eq!(peer.call(&of_group(0)).bodies(), ["x"]);
    assert_eq!(beat(&mut peer, MessageModel::Broadcasting), ResponseCode::SUCCESS);
    let refused = peer.call(&of_group(0));
    assert_eq!(refused.code(), ResponseCode::NO_PERMISSION);
    assert_eq!(refused.remark(), "the consumer group[group] can not consume by broadcast way");

    peer.set_group(r#"{"groupName":"group","consumeEnable":false}"#);
    let refused = peer.call(&of_group(own));
    assert_eq!(refused.code(), ResponseCode::NO_PERMISSION);
    assert_eq!(refused.remark(), "subscription group no permission, group");
    let forget = [("groupName", "group")];
    peer.call(&Tool(RequestCode::DELETE_SUBSCRIPTIONGROUP, &forget, ""));
    assert_eq!(peer.call(&of_group(own)).bodies(), ["x"]);
}

#[test]
fn what_a_group_is_set_to_holds_after_a_restart() {
    let disk = SimDisk::new(1);
    let server = start_quick(disk.clone());
    server.connect(HeaderKind::Json).set_group(r#"{"groupName":"group","consumeEnable":false}"#);
    server.stop().unwrap();
    let server = start_quick(disk);
    let mut peer = server.connect(HeaderKind::Json);
    peer.send("orders", b"x");
    let of_group =
        millrace_protocol::PullMessage { group: "group".into(), ..pull("orders", QueueOffset(0)) };
    assert_eq!(peer.call(&of_group).code(), ResponseCode::NO_PERMISSION);
}
