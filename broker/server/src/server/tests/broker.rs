use std::borrow::Cow;

use millrace_protocol::{
    AppendGroupWriter, AppendWait, Appended, BatchItem, Call, CheckClient, ClusterInfo,
    ConsumeFrom, ConsumeType, ConsumerData, ConsumerList, ConsumerListByGroup, CreateTopic,
    EarliestStoreTime, EnsureTopic, Fence, Fenced, GetClusterInfo, GetMaxOffset, GetMinOffset,
    GetRoute, GroupMessage, Heartbeat, Hello, HelloAnswer, LockQueues, LockedQueues, MessageModel,
    MessageQueue, OffsetAnswer, OffsetMessageId, PullAnswer, PullMessage, PullStatus, PullStored,
    QueryConsumerOffset, QueryMessage, RequestCode, ResponseCode, SearchOffset, SendAnswer,
    SendMessage, SendStatus, StoredAnswer, Subscription, TimestampAnswer, TopicAnswer, TopicRoute,
    UnregisterClient, UpdateConsumerOffset, ViewMessage, pull_flag, push_batch_item,
};
use millrace_types::{PropertiesBuf, QueueId, QueueOffset, keys, record};

use super::peer::{Bare, Received, message, pull};
use super::*;

const QUEUE: QueueId = QueueId(0);

fn offset_of(answer: &Received) -> u64 {
    OffsetAnswer::decode(&answer.header()).unwrap().offset.0
}

#[track_caller]
pub(super) fn check_refused(answer: &Received, code: ResponseCode, remark: &str) {
    assert_eq!(answer.code(), code, "{}", answer.remark());
    assert!(answer.remark().contains(remark), "{}", answer.remark());
}

#[test]
fn a_message_is_sent_and_pulled() {
    for kind in KINDS {
        let server = start_default();
        let mut peer = server.connect(kind);
        for n in 0..2 {
            let answer = peer.call(&message("orders", b"hello"));
            let sent = SendAnswer::decode(&answer.header()).unwrap();
            assert_eq!(sent.status, SendStatus::Ok);
            assert_eq!((sent.queue_id, sent.queue_offset), (QUEUE, QueueOffset(n)));
            assert_eq!(sent.transaction_id.as_deref(), Some("7F000001"));
            let ids: Vec<OffsetMessageId> = sent.message_ids.iter().collect();
            assert_eq!(ids[0].store_host, server.addresses().broker.unwrap());
            assert_eq!(answer.header().fields.get("MSG_REGION").as_deref(), Some("DefaultRegion"));
            assert!(answer.header().fields.get("TRACE_ON").is_some());

            let viewed = peer.call(&ViewMessage {
                topic: (n == 0).then(|| "orders".into()),
                physical_offset: ids[0].physical_offset,
            });
            assert_eq!(viewed.code(), ResponseCode::SUCCESS);
            assert_eq!(viewed.bodies(), ["hello"]);
        }
        let pulled = peer.call(&pull("orders", QueueOffset(0)));
        let head = PullAnswer::decode(&pulled.header()).unwrap();
        assert_eq!(head.status, PullStatus::Found);
        assert_eq!([head.next, head.min, head.max], [2, 0, 2].map(QueueOffset));
        let records = pulled.records();
        assert_eq!(records.len(), 2);
        let record = records[1];
        assert_eq!((record.topic(), record.body()), ("orders", &b"hello"[..]));
        assert_eq!(record.queue_offset(), QueueOffset(1));
        assert_eq!(record.born_at_ms(), 1_700_000_000_000);
        assert_eq!(record.store_host(), server.addresses().broker.unwrap());
        assert_eq!(record.properties().get("TAGS"), Some("a"));
        // The log's own checksum is not for clients.
        assert!(!record.as_bytes().windows(8).any(|bytes| bytes == b"__CRC32#"));
    }
}

#[test]
fn the_long_field_names_are_read_too() {
    let server = start_default();
    let mut peer = server.connect(HeaderKind::Json);
    let fields = r#"{"producerGroup":"p","topic":"t","defaultTopic":"TBW102",
        "defaultTopicQueueNums":2,"queueId":-1,"sysFlag":0,"bornTimestamp":1,"flag":3,
        "properties":"k\u0001v"}"#;
    let header = format!(
        r#"{{"code":10,"language":"CPP","version":333,"opaque":9,"flag":0,"extFields":{fields}}}"#
    );
    let body = b"long names";
    let mut frame = Vec::new();
    frame.extend_from_slice(&((4 + header.len() + body.len()) as u32).to_be_bytes());
    frame.extend_from_slice(&(header.len() as u32).to_be_bytes());
    frame.extend_from_slice(header.as_bytes());
    frame.extend_from_slice(body);
    peer.write(&frame);
    let answer = peer.receive();
    let header = answer.header();
    let sent = SendAnswer::decode(&header).unwrap();
    assert_eq!(header.opaque, 9);
    // The message had no unique id, so it was given one.
    let unique = sent.transaction_id.unwrap().into_owned();
    assert_eq!(unique.len(), 32);

    let described = peer.call(&EnsureTopic { topic: "t".into(), queues: 1 });
    assert_eq!(TopicAnswer::decode(&described.header()).unwrap().queues, 2);
    let from = PullMessage { queue_id: sent.queue_id, ..pull("t", QueueOffset(0)) };
    let pulled = peer.call(&from);
    let record = pulled.records()[0];
    assert_eq!((record.flag(), record.body()), (3, &b"long names"[..]));
    assert_eq!(record.properties().get("k"), Some("v"));
    assert_eq!(record.properties().get("UNIQ_KEY"), Some(&*unique));
}

#[test]
fn a_batch_is_stored_as_its_messages() {
    for kind in KINDS {
        let server = start_default();
        let mut peer = server.connect(kind);
        let mut body = Vec::new();
        for (n, text) in ["a", "b", "c"].into_iter().enumerate() {
            let properties = format!("UNIQ_KEY\u{1}{n}\u{2}");
            let properties = if n == 1 { &b""[..] } else { properties.as_bytes() };
            let item = BatchItem { flag: n as i32, body: text.as_bytes(), properties };
            push_batch_item(&item, &mut body);
        }
        let answer = peer.call(&SendMessage { batch: true, ..message("t", &body) });
        let sent = SendAnswer::decode(&answer.header()).unwrap();
        assert_eq!(sent.queue_offset, QueueOffset(0));
        assert_eq!(sent.message_ids.iter().count(), 3);
        let pulled = peer.call(&pull("t", QueueOffset(0)));
        assert_eq!(pulled.bodies(), ["a", "b", "c"]);
        let flags: Vec<i32> = pulled.records().iter().map(record::Record::flag).collect();
        assert_eq!(flags, [0, 1, 2]);
        assert!(pulled.records()[1].properties().get("UNIQ_KEY").is_some());

        let broken = peer.call(&SendMessage { batch: true, ..message("t", b"no items") });
        check_refused(&broken, ResponseCode::MESSAGE_ILLEGAL, "lengths");
    }
}

#[test]
fn what_cannot_be_stored_is_refused_with_rocketmqs_codes() {
    let server =
        start(ServerConfig { auto_create_topics: false, segment_bytes: 16 << 20, ..config() });
    let mut peer = server.connect(HeaderKind::Json);
    peer.call(&EnsureTopic { topic: "t".into(), queues: 2 });
    let with = |text: &'static str| SendMessage { properties: text.into(), ..message("t", b"x") };
    let beyond = SendMessage { queue_id: Some(QueueId(2)), ..message("t", b"x") };
    let (illegal, invalid) = (ResponseCode::MESSAGE_ILLEGAL, ResponseCode::INVALID_PARAMETER);
    let forbidden = ResponseCode::NO_PERMISSION;
    let cases = [
        (message("unknown", b"x"), ResponseCode::TOPIC_NOT_EXIST, "topic[unknown] not exist"),
        (message("a.b", b"x"), invalid, "invalid"),
        (beyond, invalid, "queueId[2] is illegal"),
        (message("t", b""), illegal, "empty"),
        (message("SCHEDULE_TOPIC_XXXX", b"x"), forbidden, "forbidden"),
        (with("DELAY\u{1}soon\u{2}"), illegal, "delay"),
        (with("TIMER_DELAY_SEC\u{1}259201\u{2}"), illegal, "max delay 259200000ms"),
    ];
    for (sent, code, remark) in cases {
        check_refused(&peer.call(&sent), code, remark);
    }
    let huge = vec![0; (4 << 20) + 1];
    check_refused(&peer.call(&message("t", &huge)), illegal, "illegal");
    check_refused(&peer.call(&Bare(310)), invalid, "topic");
    peer.call(&EnsureTopic { topic: LEDGER.into(), queues: 1 });
    check_refused(&peer.call(&message(LEDGER, b"x")), forbidden, "forbidden");
}

#[test]
fn a_pull_outside_of_the_queue_says_where_it_goes_on() {
    let server = start_default();
    let mut peer = server.connect(HeaderKind::Json);
    peer.send("t", b"a");
    let mut check = |from: u64, status: PullStatus, next: u64| {
        let answer = peer.call(&pull("t", QueueOffset(from)));
        let head = PullAnswer::decode(&answer.header()).unwrap();
        assert_eq!((head.status, head.next), (status, QueueOffset(next)), "from {from}");
    };
    check(0, PullStatus::Found, 1);
    check(1, PullStatus::NotFound, 1);
    check(7, PullStatus::OffsetMoved, 1);
    let negative = PullMessage { offset: None, ..pull("t", QueueOffset(0)) };
    assert_eq!(peer.call(&negative).bodies(), ["a"]);
    let other = PullMessage { queue_id: QueueId(1), ..pull("t", QueueOffset(0)) };
    let empty = peer.call(&other);
    assert_eq!(PullAnswer::decode(&empty.header()).unwrap().status, PullStatus::NotFound);
    let beyond = PullMessage { queue_id: QueueId(4), ..pull("t", QueueOffset(0)) };
    check_refused(&peer.call(&beyond), ResponseCode::INVALID_PARAMETER, "queueId[4]");
    let unknown = peer.call(&pull("unknown", QueueOffset(0)));
    check_refused(&unknown, ResponseCode::TOPIC_NOT_EXIST, "unknown");
}

#[test]
fn tags_and_conditions_choose_messages() {
    let server = start_default();
    let mut peer = server.connect(HeaderKind::Json);
    for n in 0..6 {
        let tag = ["a", "b", "c"][n % 3];
        let properties = format!("TAGS\u{1}{tag}\u{2}amount\u{1}{n}\u{2}");
        let body = n.to_string();
        peer.call(&SendMessage { properties: properties.into(), ..message("t", body.as_bytes()) });
    }
    let mut check = |kind: &'static str, expression: &'static str, expected: &[&str]| {
        let answer = peer.call(&PullMessage {
            subscription: Some(expression.into()),
            expression_type: Some(kind.into()),
            ..pull("t", QueueOffset(0))
        });
        let head = PullAnswer::decode(&answer.header()).unwrap();
        assert_eq!(head.next, QueueOffset(6), "{expression}");
        let found = if head.status == PullStatus::Found { answer.bodies() } else { Vec::new() };
        assert_eq!(found, expected, "{expression}");
        assert_eq!(head.status == PullStatus::NothingMatched, expected.is_empty());
    };
    check("TAG", "*", &["0", "1", "2", "3", "4", "5"]);
    check("TAG", "a || c", &["0", "2", "3", "5"]);
    check("TAG", "nothing", &[]);
    check("SQL92", "amount > 3", &["4", "5"]);
    check("SQL92", "amount > 3 AND TAGS = 'b'", &["4"]);
    check("SQL92", "amount > 30", &[]);
    let wrong = peer.call(&PullMessage {
        subscription: Some("amount >".into()),
        expression_type: Some("SQL92".into()),
        ..pull("t", QueueOffset(0))
    });
    check_refused(&wrong, ResponseCode::SUBSCRIPTION_PARSE_FAILED, "parse");
}

#[test]
fn a_condition_passes_over_more_messages_than_a_pull_gives() {
    let server = start_default();
    let mut peer = server.connect(HeaderKind::Json);
    for n in 0..300 {
        let properties = format!("n\u{1}{n}\u{2}");
        peer.call(&SendMessage { properties: properties.into(), ..message("t", b"x") });
    }
    let mut check = |condition: &'static str, from: u64, found: usize, next: u64| {
        let answer = peer.call(&PullMessage {
            subscription: Some(condition.into()),
            expression_type: Some("SQL92".into()),
            messages_max: 32,
            ..pull("t", QueueOffset(from))
        });
        let head = PullAnswer::decode(&answer.header()).unwrap();
        let records = if head.status == PullStatus::Found { answer.records().len() } else { 0 };
        assert_eq!((records, head.next.0), (found, next), "{condition}");
    };
    check("n < 0", 0, 0, 256);
    check("n < 0", 256, 0, 300);
    check("n = 200", 0, 1, 224);
    check("n >= 0", 0, 32, 32);
}

pub(super) fn heartbeat(client: &str, expression: &str, version: i64) -> Heartbeat {
    let subscription = |topic: &str| Subscription {
        topic: topic.into(),
        expression: expression.into(),
        expression_type: "TAG".into(),
        version,
        ..Subscription::default()
    };
    Heartbeat {
        client_id: client.into(),
        producer_groups: vec!["CLIENT_INNER_PRODUCER".into()],
        consumers: vec![ConsumerData {
            group: "group".into(),
            consume_type: ConsumeType::Push,
            message_model: MessageModel::Clustering,
            consume_from: ConsumeFrom::LastOffset,
            subscriptions: vec![subscription("t"), subscription("%RETRY%group")],
            unit_mode: false,
        }],
        ..Heartbeat::default()
    }
}

/// The broker's own request to look at the group again.
#[track_caller]
fn check_told(received: &Received) {
    let header = received.header();
    assert!(!header.is_response() && header.is_oneway());
    assert_eq!(header.request_code(), RequestCode::NOTIFY_CONSUMER_IDS_CHANGED);
    assert_eq!(header.fields.get("consumerGroup").as_deref(), Some("group"));
}

#[test]
fn members_of_a_group_find_each_other() {
    let server = start_default();
    let (mut first, mut second) =
        (server.connect(HeaderKind::Json), server.connect(HeaderKind::Json));
    let list = ConsumerListByGroup { group: "group".into() };
    check_refused(&first.call(&list), ResponseCode::SYSTEM_ERROR, "no consumer");

    let beat = first.call(&heartbeat("one", "*", 1));
    assert!(beat.header().version >= 232, "Java asks for this before it sends a condition");
    check_told(&first.receive());
    second.call(&heartbeat("two", "*", 1));
    check_told(&first.receive());
    check_told(&second.receive());
    let ids = ConsumerList::decode(first.call(&list).body()).unwrap();
    assert_eq!(ids.0, ["one", "two"]);

    let left = UnregisterClient {
        client_id: "two".into(),
        producer_group: None,
        consumer_group: Some("group".into()),
    };
    assert_eq!(second.call(&left).code(), ResponseCode::SUCCESS);
    check_told(&first.receive());
    second.call(&heartbeat("two", "*", 1));
    check_told(&first.receive());
    check_told(&second.receive());
    // A client that goes without a word is noticed by its connection.
    drop(second);
    check_told(&first.receive());
    let ids = ConsumerList::decode(first.call(&list).body()).unwrap();
    assert_eq!(ids.0, ["one"]);

    let retry = GetRoute { topic: "%RETRY%group".into(), standard_json_only: None };
    let route = server.connect_namesrv().call(&retry);
    assert_eq!(TopicRoute::decode(route.body()).unwrap().queues[0].read_queues, 1);
}

#[test]
fn a_push_consumer_is_given_what_its_heartbeat_says() {
    let server = start_default();
    let mut peer = server.connect(HeaderKind::Json);
    peer.send("t", b"x");
    let push = |version: i64| PullMessage {
        group: "group".into(),
        sys_flag: 0,
        subscription: None,
        subscription_version: version,
        ..pull("t", QueueOffset(0))
    };
    check_refused(&peer.call(&push(1)), ResponseCode::SUBSCRIPTION_NOT_EXIST, "group");
    peer.call(&heartbeat("one", "a", 1));
    check_told(&peer.receive());
    assert_eq!(peer.call(&push(1)).bodies(), ["x"]);
    check_refused(&peer.call(&push(2)), ResponseCode::SUBSCRIPTION_NOT_LATEST, "latest");
    peer.call(&heartbeat("one", "b", 2));
    check_told(&peer.receive());
    let nothing = peer.call(&push(2));
    assert_eq!(PullAnswer::decode(&nothing.header()).unwrap().status, PullStatus::NothingMatched);
    let elsewhere = PullMessage { topic: "u".into(), ..push(1) };
    check_refused(&peer.call(&elsewhere), ResponseCode::SUBSCRIPTION_NOT_EXIST, "topic: u");
}

#[test]
fn a_condition_is_checked_before_a_consumer_starts() {
    let server = start_default();
    let mut peer = server.connect(HeaderKind::Json);
    let check = |expression: &str| CheckClient {
        client_id: "one".into(),
        group: "group".into(),
        subscription: Subscription {
            topic: "t".into(),
            expression: expression.into(),
            expression_type: "SQL92".into(),
            ..Subscription::default()
        },
    };
    assert_eq!(peer.call(&check("a > 1")).code(), ResponseCode::SUCCESS);
    assert_eq!(peer.call(&check("a >")).code(), ResponseCode::SUBSCRIPTION_PARSE_FAILED);
}

#[test]
fn offsets_are_kept_and_queried() {
    let server = start_default();
    let mut peer = server.connect(HeaderKind::Json);
    let query = |zero: Option<bool>| QueryConsumerOffset {
        group: "group".into(),
        topic: "t".into(),
        queue_id: QUEUE,
        zero_if_not_found: zero,
    };
    let update = |queue: u32, offset: u64| UpdateConsumerOffset {
        group: "group".into(),
        topic: "t".into(),
        queue_id: QueueId(queue),
        offset: QueueOffset(offset),
    };
    assert_eq!(peer.call(&query(None)).code(), ResponseCode::QUERY_NOT_FOUND);
    check_refused(&peer.call(&update(0, 1)), ResponseCode::TOPIC_NOT_EXIST, "t");
    for n in 0..3 {
        peer.send("t", &[n]);
    }
    // A young queue is read from its start.
    assert_eq!(offset_of(&peer.call(&query(None))), 0);
    assert_eq!(peer.call(&query(Some(false))).code(), ResponseCode::QUERY_NOT_FOUND);
    assert_eq!(peer.call(&update(0, 2)).code(), ResponseCode::SUCCESS);
    assert_eq!(offset_of(&peer.call(&query(Some(false)))), 2);
    check_refused(&peer.call(&update(9, 2)), ResponseCode::INVALID_PARAMETER, "queueId[9]");

    let committing = PullMessage {
        group: "group".into(),
        sys_flag: pull_flag::SUBSCRIPTION | pull_flag::COMMIT_OFFSET,
        commit_offset: Some(QueueOffset(3)),
        ..pull("t", QueueOffset(0))
    };
    peer.call(&committing);
    assert_eq!(offset_of(&peer.call(&query(None))), 3);

    let max = |topic: &'static str| GetMaxOffset {
        topic: topic.into(),
        queue_id: QUEUE,
        committed: true,
    };
    assert_eq!(offset_of(&peer.call(&max("t"))), 3);
    assert_eq!(offset_of(&peer.call(&max("unknown"))), 0);
    let min = GetMinOffset { topic: "t".into(), queue_id: QUEUE };
    assert_eq!(offset_of(&peer.call(&min)), 0);
}

#[test]
fn messages_are_found_by_the_time_they_were_stored() {
    let server = start_default();
    let mut peer = server.connect(HeaderKind::Json);
    for n in 0..9 {
        peer.send("t", &[n]);
    }
    let pulled = peer.call(&pull("t", QueueOffset(0)));
    let times: Vec<i64> = pulled.records().iter().map(record::Record::store_at_ms).collect();
    let search = |time: i64, boundary: &'static str| SearchOffset {
        topic: "t".into(),
        queue_id: QUEUE,
        timestamp_ms: time,
        boundary: Some(boundary.into()),
    };
    for time in [times[0] - 1, times[0], times[4], times[8], times[8] + 1] {
        let from = times.iter().position(|&stored| stored >= time).unwrap_or(9) as u64;
        assert_eq!(offset_of(&peer.call(&search(time, "LOWER"))), from);
        let until = times.iter().rposition(|&stored| stored <= time).unwrap_or(0) as u64;
        assert_eq!(offset_of(&peer.call(&search(time, "UPPER"))), until);
    }
    let mut earliest = |queue: u32| {
        let request = EarliestStoreTime { topic: "t".into(), queue_id: QueueId(queue) };
        TimestampAnswer::decode(&peer.call(&request).header()).unwrap().timestamp_ms
    };
    assert_eq!((earliest(0), earliest(1)), (times[0], -1));
}

#[test]
fn a_message_is_found_by_its_keys() {
    for kind in KINDS {
        let server = start_default();
        let mut peer = server.connect(kind);
        for (n, words) in ["red", "red blue", "", "blue  red red"].iter().enumerate() {
            let mut properties = PropertiesBuf::new();
            properties.push(keys::UNIQ_KEY, &format!("ID{n}")).push(keys::KEYS, words);
            let properties = properties.view().as_bytes().to_vec();
            let body = format!("m{n}");
            let mut sent = message("orders", body.as_bytes());
            sent.properties = String::from_utf8(properties).unwrap().into();
            assert_eq!(peer.call(&sent).code(), ResponseCode::SUCCESS);
        }
        let mut query = |key: &str, messages_max, by_unique_key| {
            let query = QueryMessage {
                topic: "orders".into(),
                key: key.to_owned().into(),
                messages_max,
                begin_ms: 0,
                end_ms: i64::MAX,
                by_unique_key,
            };
            let answer = peer.call(&query);
            let found = (answer.code(), answer.bodies());
            // Clients read these whether anything was found or not.
            assert!(answer.header().fields.get("indexLastUpdatePhyoffset").is_some());
            if found.1.is_empty() {
                check_refused(&answer, ResponseCode::QUERY_NOT_FOUND, "can not find message");
            }
            found
        };
        let found = |bodies: &[&str]| {
            (ResponseCode::SUCCESS, bodies.iter().map(ToString::to_string).collect::<Vec<_>>())
        };
        assert_eq!(query("red", 32, false), found(&["m0", "m1", "m3"]));
        assert_eq!(query("red", 2, false), found(&["m1", "m3"]), "the newest");
        assert_eq!(query("blue", 32, false), found(&["m1", "m3"]));
        assert_eq!(query("ID2", 1, true), found(&["m2"]));
        assert_eq!(query("ID2", 32, false), found(&["m2"]));
        for (key, by_unique_key) in [("red", true), ("gre", false)] {
            assert_eq!(query(key, 32, by_unique_key).0, ResponseCode::QUERY_NOT_FOUND, "{key}");
        }
        let elsewhere = QueryMessage {
            topic: "nowhere".into(),
            key: "red".into(),
            messages_max: 1,
            begin_ms: 0,
            end_ms: i64::MAX,
            by_unique_key: false,
        };
        check_refused(&peer.call(&elsewhere), ResponseCode::QUERY_NOT_FOUND, "can not find");
        let own = QueryMessage { topic: "MILLRACE_META".into(), ..elsewhere };
        check_refused(&peer.call(&own), ResponseCode::NO_PERMISSION, "");
    }
}

#[test]
fn queues_are_locked_for_one_client() {
    let server = start_default();
    let mut peer = server.connect(HeaderKind::Json);
    let request = |client: &str, ids: &[u32]| LockQueues {
        client_id: client.into(),
        group: "group".into(),
        queues: ids
            .iter()
            .map(|id| MessageQueue {
                topic: "t".into(),
                broker_name: "millrace".into(),
                queue_id: QueueId(*id),
            })
            .collect(),
    };
    let granted = |answer: &Received| -> Vec<u32> {
        let granted = LockedQueues::decode(answer.body()).unwrap().0;
        granted.iter().map(|queue| queue.queue_id.0).collect()
    };
    assert_eq!(granted(&peer.call(&request("one", &[0, 1]))), [0, 1]);
    assert_eq!(granted(&peer.call(&request("two", &[1, 2]))), [2]);
    let unlocked = peer.call(&request("one", &[1]).unlock());
    assert_eq!(unlocked.code(), ResponseCode::SUCCESS);
    assert_eq!(granted(&peer.call(&request("two", &[0, 1]))), [1]);
}

#[test]
fn a_topic_is_created_and_routed() {
    let server = start_default();
    let (mut peer, mut namesrv) = (server.connect(HeaderKind::Json), server.connect_namesrv());
    let create = |name: &'static str, queues: i32, permission: i32| CreateTopic {
        topic: name.into(),
        default_topic: "TBW102".into(),
        read_queues: queues,
        write_queues: queues,
        permission,
        filter_type: None,
        topic_sys_flag: None,
        order: false,
        attributes: None,
    };
    let route = |name: &'static str| GetRoute { topic: name.into(), standard_json_only: None };
    check_refused(
        &namesrv.call(&route("t")),
        ResponseCode::TOPIC_NOT_EXIST,
        "No topic route info in name server for the topic: t",
    );
    assert_eq!(peer.call(&create("t", 3, 6)).code(), ResponseCode::SUCCESS);
    assert_eq!(peer.call(&create("t", 5, 6)).code(), ResponseCode::SUCCESS);
    let found = TopicRoute::decode(namesrv.call(&route("t")).body()).unwrap();
    assert_eq!(found.queues.len(), 1);
    let queues = &found.queues[0];
    assert_eq!((queues.read_queues, queues.write_queues, queues.permission), (5, 5, 6));
    assert_eq!(queues.broker_name, "millrace");
    assert_eq!(found.brokers[0].addresses[&0], server.addresses().advertised.to_string());

    let template = TopicRoute::decode(namesrv.call(&route("TBW102")).body()).unwrap();
    assert_eq!((template.queues[0].write_queues, template.queues[0].permission), (8, 7));

    let invalid = ResponseCode::INVALID_PARAMETER;
    check_refused(&peer.call(&create("u", 2, 8)), invalid, "permission");
    check_refused(&peer.call(&create("u", 0, 6)), invalid, "at least 1 queue");
    check_refused(&peer.call(&create("u.v", 1, 6)), invalid, "invalid");
    check_refused(&peer.call(&create(LEDGER, 1, 6)), invalid, "system topic");

    let answer = namesrv.call(&GetClusterInfo);
    let info = ClusterInfo::decode(answer.body()).unwrap();
    assert_eq!(info.clusters["DefaultCluster"], ["millrace"]);
    assert_eq!(info.brokers["millrace"].addresses[&0], server.addresses().advertised.to_string());
}

#[test]
fn a_topic_is_drained_queue_by_queue_and_then_closed() {
    let server = start_default();
    let (mut peer, mut namesrv) = (server.connect(HeaderKind::Json), server.connect_namesrv());
    let mut set = |read_queues: i32, write_queues: i32, permission: i32| {
        let set = CreateTopic {
            topic: "t".into(),
            default_topic: "TBW102".into(),
            read_queues,
            write_queues,
            permission,
            filter_type: None,
            topic_sys_flag: None,
            order: false,
            attributes: None,
        };
        assert_eq!(peer.call(&set).code(), ResponseCode::SUCCESS);
        let route = GetRoute { topic: "t".into(), standard_json_only: None };
        let found = TopicRoute::decode(namesrv.call(&route).body()).unwrap();
        let queues = &found.queues[0];
        let shown = (queues.read_queues, queues.write_queues, queues.permission);
        assert_eq!(shown, (read_queues, write_queues, permission));
    };
    set(4, 4, 6);
    set(4, 2, 6);
    let mut producer = server.connect(HeaderKind::Binary);
    let mut send = |queue: u32| {
        let sent = SendMessage { queue_id: Some(QueueId(queue)), ..message("t", b"x") };
        producer.call(&sent)
    };
    // A producer with an older route may still write the other queues.
    for queue in 0..4 {
        assert_eq!(send(queue).code(), ResponseCode::SUCCESS);
    }
    check_refused(&send(4), ResponseCode::INVALID_PARAMETER, "queueId[4] is illegal");
    set(4, 2, 4);
    check_refused(
        &send(0),
        ResponseCode::NO_PERMISSION,
        "the topic[t] sending message is forbidden",
    );
    let pulled = PullMessage { queue_id: QueueId(3), ..pull("t", QueueOffset(0)) };
    assert_eq!(producer.call(&pulled).bodies(), ["x"]);
    set(2, 2, 2);
    let refused = producer.call(&pull("t", QueueOffset(0)));
    check_refused(
        &refused,
        ResponseCode::NO_PERMISSION,
        "the topic[t] pulling message is forbidden",
    );
}

#[test]
fn without_auto_creation_there_is_no_template() {
    let server = start(ServerConfig { auto_create_topics: false, ..config() });
    let route = GetRoute { topic: "TBW102".into(), standard_json_only: None };
    let answer = server.connect_namesrv().call(&route);
    check_refused(&answer, ResponseCode::TOPIC_NOT_EXIST, "TBW102");
}

const LEDGER: &str = "MILLRACE_LEDGER";

fn group_of(fence: Option<u64>, messages: &[(&str, &str, Option<u64>)]) -> AppendGroupWriter {
    let fence = fence.map(|epoch| Fence { topic: LEDGER.into(), queue_id: QUEUE, epoch });
    let mut group = AppendGroupWriter::new(AppendWait::Durable, fence.as_ref());
    for (topic, body, epoch) in messages {
        let mut properties = PropertiesBuf::new();
        if let Some(epoch) = epoch {
            properties.push(keys::EPOCH, &epoch.to_string());
        }
        group.push(&GroupMessage {
            topic,
            queue_id: QUEUE,
            flag: 0,
            sys_flag: 0,
            born_at_ms: 1,
            properties: properties.as_bytes(),
            body: body.as_bytes(),
        });
    }
    group
}

#[test]
fn our_own_client_appends_groups_and_reads_them_as_stored() {
    for flush in [config().flush, FlushMode::Sync] {
        let server = start(ServerConfig { flush, ..config() });
        let mut peer = server.connect(HeaderKind::Binary);
        let hello = Hello { product: Cow::Borrowed("test"), version: Cow::Borrowed("0") };
        let hello = peer.call(&hello);
        let header = hello.header();
        let hello = HelloAnswer::decode(&header).unwrap();
        assert_eq!((&*hello.product, &*hello.broker), ("Millrace", "millrace"));
        let beyond = PullStored {
            topic: "nowhere".into(),
            queue_id: QueueId(9),
            offset: QueueOffset(0),
            bytes_max: 1,
            wait_ms: 0,
        };
        assert_eq!(peer.call(&beyond).code(), ResponseCode::TOPIC_NOT_EXIST);
        peer.call(&EnsureTopic { topic: "narrow".into(), queues: 1 });
        let beyond = PullStored { topic: "narrow".into(), ..beyond };
        check_refused(&peer.call(&beyond), ResponseCode::TOPIC_NOT_EXIST, "queueId[9]");
        for topic in [LEDGER, "t"] {
            let made = peer.call(&EnsureTopic { topic: topic.into(), queues: 1 });
            assert_eq!(TopicAnswer::decode(&made.header()).unwrap().queues, 1);
        }
        let mut append = |group: &AppendGroupWriter| -> Result<Vec<u64>, u64> {
            let answer = peer.call(group);
            let header = answer.header();
            match Fenced::decode(&header) {
                Some(fenced) => Err(fenced.epoch),
                None => {
                    let appended = Appended::decode(&header, answer.body()).unwrap();
                    Ok(appended.0.iter().map(|offset| offset.0).collect())
                }
            }
        };
        let lease = group_of(Some(0), &[(LEDGER, "lease", Some(1))]);
        assert_eq!(append(&lease), Ok(vec![0]));
        assert_eq!(append(&lease), Err(1));
        let work = [("t", "a", None), ("t", "b", None), (LEDGER, "done", Some(1))];
        assert_eq!(append(&group_of(Some(1), &work)), Ok(vec![0, 1, 1]));

        let pulled = peer.call(&PullStored {
            topic: "t".into(),
            queue_id: QUEUE,
            offset: QueueOffset(0),
            bytes_max: 1 << 20,
            wait_ms: 0,
        });
        let header = pulled.header();
        let (head, records) = StoredAnswer::decode(&header, pulled.body()).unwrap();
        assert_eq!([head.next, head.max, head.visible_end], [2, 2, 2].map(QueueOffset));
        let records: Vec<_> = record::iter(records).map(Result::unwrap).collect();
        assert_eq!(records.iter().map(|r| r.body()).collect::<Vec<_>>(), [b"a", b"b"]);
        // As stored: with the checksum, and with the mark that the group goes on.
        assert!(records.iter().all(|r| r.verify().unwrap() == record::Verified::Whole));
        assert!(records.iter().all(|r| r.more()));
    }
}

#[test]
fn a_group_for_an_unknown_queue_is_refused_whole() {
    let server = start_default();
    let mut peer = server.connect(HeaderKind::Json);
    peer.call(&EnsureTopic { topic: "t".into(), queues: 1 });
    let group = group_of(None, &[("t", "a", None), ("unknown", "b", None)]);
    check_refused(&peer.call(&group), ResponseCode::TOPIC_NOT_EXIST, "unknown");
    assert_eq!(peer.all("t"), [""; 0]);
    assert_eq!(group.code(), RequestCode::MR_APPEND_GROUP);
}
