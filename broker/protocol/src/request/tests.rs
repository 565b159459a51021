use std::borrow::Cow;

use millrace_types::{PhysicalOffset, QueueId, QueueOffset};

use super::*;
use crate::{Call, CallMode, Frame, HeaderKind, Limits, MessageQueue, Split, Subscription};

fn sent<'a>(body: &'a [u8]) -> SendMessage<'a> {
    SendMessage {
        producer_group: Cow::Borrowed("PG"),
        default_topic: Cow::Borrowed("TBW102"),
        queue_id: Some(QueueId(2)),
        sys_flag: 1,
        born_at_ms: 1_700_000_000_000,
        flag: 7,
        properties: Cow::Borrowed("TAGS\u{1}a\u{2}"),
        ..SendMessage::new("T1", body)
    }
}

/// Writes a call and hands over what a peer understands of it.
#[track_caller]
fn check(call: &dyn Call, expected: &Request<'_>) {
    for kind in [HeaderKind::Json, HeaderKind::Binary] {
        for mode in [CallMode::Answered, CallMode::Oneway] {
            let mut bytes = Vec::new();
            call.write(kind, -5, mode, &mut bytes);
            let Ok(Split::Frame(frame, total)) = Frame::split(&bytes, &Limits::default()) else {
                panic!("not a frame");
            };
            assert_eq!(total, bytes.len());
            let header = frame.header().unwrap();
            assert_eq!((header.kind, header.opaque), (kind, -5));
            assert!(!header.is_response());
            assert_eq!(header.is_oneway(), mode == CallMode::Oneway);
            assert_eq!(&Request::decode(&header, frame.body).unwrap(), expected);
        }
    }
}

#[test]
fn sends_are_understood() {
    check(&sent(b"body"), &Request::Send(sent(b"body")));
    let anywhere = SendMessage { queue_id: None, max_reconsume_times: Some(3), ..sent(b"") };
    check(&anywhere, &Request::Send(anywhere.clone()));
    let batch = SendMessage { batch: true, ..sent(b"items") };
    check(&batch, &Request::Send(batch.clone()));
}

#[track_caller]
fn understood(json: &str, body: &'static [u8]) -> Result<Request<'static>, RequestError> {
    let json: &'static str = String::leak(json.to_owned());
    let header = Header::decode(HeaderKind::Json, json.as_bytes()).unwrap();
    Request::decode(&header, body)
}

#[test]
fn both_sets_of_send_names_mean_the_same() {
    let short = r#"{"code":310,"extFields":{"a":"PG","b":"T1","c":"TBW102","d":"4","e":"2","f":"1","g":"1700000000000","h":"7","i":"TAGS\u0001a\u0002","j":"0","k":"false","m":"false","n":"b-a"},"flag":0,"language":"JAVA","opaque":1,"version":493}"#;
    let long = r#"{"code":10,"language":"GO","version":317,"opaque":1,"flag":0,"remark":"","extFields":{"producerGroup":"PG","topic":"T1","defaultTopic":"TBW102","defaultTopicQueueNums":"4","queueId":"2","sysFlag":"1","bornTimestamp":"1700000000000","flag":"7","properties":"TAGS\u0001a\u0002","reconsumeTimes":"0","unitMode":"false","maxReconsumeTimes":"0","batch":"false","bname":"b-a"}}"#;
    assert_eq!(understood(short, b"x"), Ok(Request::Send(sent(b"x"))));
    let expected = SendMessage { max_reconsume_times: Some(0), ..sent(b"x") };
    assert_eq!(understood(long, b"x"), Ok(Request::Send(expected)));
    // C++ writes numbers as numbers.
    let cpp = "{\"code\":310,\"extFields\":{\"AccessKey\":\"\",\"Signature\":\"\",\"a\":\"PG\",\"b\":\"T1\",\"c\":\"TBW102\",\"d\":4,\"e\":2,\"f\":1,\"g\":\"1700000000000\",\"h\":7,\"i\":\"TAGS\\u0001a\\u0002\",\"j\":\"0\",\"k\":\"false\",\"l\":0},\"flag\":0,\"language\":\"CPP\",\"opaque\":1,\"version\":333}\n";
    let expected = SendMessage { max_reconsume_times: Some(0), ..sent(b"x") };
    assert_eq!(understood(cpp, b"x"), Ok(Request::Send(expected)));
}

#[test]
fn pulls_are_understood() {
    let pull = PullMessage {
        group: "CG".into(),
        topic: "T1".into(),
        queue_id: QueueId(1),
        offset: Some(QueueOffset(42)),
        messages_max: 32,
        sys_flag: pull_flag::SUSPEND | pull_flag::SUBSCRIPTION,
        commit_offset: Some(QueueOffset(40)),
        suspend_ms: 20_000,
        subscription: Some("a || b".into()),
        subscription_version: 9,
        expression_type: Some("TAG".into()),
        bytes_max: None,
    };
    check(&pull, &Request::Pull(pull.clone()));
    let lite = PullMessage { sys_flag: pull_flag::LITE_PULL | pull_flag::SUSPEND, ..pull };
    check(&lite, &Request::LitePull(lite.clone()));
    let early = r#"{"code":11,"opaque":1,"extFields":{"consumerGroup":"CG","topic":"T1","queueId":"1","queueOffset":"-1","maxMsgNums":"32","sysFlag":"2"}}"#;
    let Ok(Request::Pull(early)) = understood(early, b"") else { panic!("not a pull") };
    assert_eq!((early.offset, early.commit_offset), (None, None));
}

#[test]
fn offsets_are_understood() {
    let (group, topic) = (Cow::Borrowed("CG"), Cow::Borrowed("T1"));
    let queue_id = QueueId(1);
    let query = QueryConsumerOffset {
        group: group.clone(),
        topic: topic.clone(),
        queue_id,
        zero_if_not_found: Some(false),
    };
    check(&query, &Request::QueryConsumerOffset(query.clone()));
    let update = UpdateConsumerOffset {
        group,
        topic: topic.clone(),
        queue_id,
        offset: QueueOffset(i64::MAX as u64),
    };
    check(&update, &Request::UpdateConsumerOffset(update.clone()));
    let max = GetMaxOffset { topic: topic.clone(), queue_id, committed: true };
    check(&max, &Request::GetMaxOffset(max.clone()));
    let min = GetMinOffset { topic: topic.clone(), queue_id };
    check(&min, &Request::GetMinOffset(min.clone()));
    let boundary = Some("upper".into());
    let search =
        SearchOffset { topic: topic.clone(), queue_id, timestamp_ms: 1_700_000_000_000, boundary };
    assert!(search.is_upper());
    check(&search, &Request::SearchOffset(search.clone()));
    let earliest = EarliestStoreTime { topic, queue_id };
    check(&earliest, &Request::EarliestStoreTime(earliest.clone()));
}

#[test]
fn messages_are_asked_for() {
    let view = ViewMessage { topic: None, physical_offset: PhysicalOffset(1000) };
    check(&view, &Request::ViewMessage(view.clone()));
    let query = QueryMessage {
        topic: "T1".into(),
        key: "k".into(),
        messages_max: 8,
        begin_ms: 0,
        end_ms: i64::MAX,
        by_unique_key: true,
    };
    check(&query, &Request::QueryMessage(query.clone()));
}

#[test]
fn clients_come_and_go() {
    let leave = UnregisterClient {
        client_id: "c@1".into(),
        producer_group: None,
        consumer_group: Some("CG".into()),
    };
    check(&leave, &Request::UnregisterClient(leave.clone()));
    let members = ConsumerListByGroup { group: "CG".into() };
    check(&members, &Request::ConsumerList(members.clone()));
    let changed = GroupChanged { group: "CG".into() };
    check(&changed, &Request::GroupChanged(changed.clone()));
    let subscription = Subscription {
        topic: "T1".into(),
        expression: "a > 1".into(),
        expression_type: "SQL92".into(),
        version: 1,
        ..Subscription::default()
    };
    let config = CheckClient { client_id: "c@1".into(), group: "CG".into(), subscription };
    check(&config, &Request::CheckClient(config.clone()));
    let heartbeat = Heartbeat { client_id: "c@1".into(), ..Heartbeat::default() };
    check(&heartbeat, &Request::Heartbeat(heartbeat.clone()));
    let queues =
        vec![MessageQueue { topic: "T1".into(), broker_name: "b-a".into(), queue_id: QueueId(0) }];
    let lock = LockQueues { client_id: "c@1".into(), group: "CG".into(), queues };
    check(&lock, &Request::Lock(lock.clone()));
    check(&lock.unlock(), &Request::Unlock(lock.clone()));
}

#[test]
fn failures_and_transactions_are_reported() {
    let back = SendBack {
        physical_offset: PhysicalOffset(1000),
        group: "CG".into(),
        delay_level: -1,
        origin_message_id: Some("id".into()),
        origin_topic: Some("T1".into()),
        unit_mode: false,
        max_reconsume_times: Some(16),
    };
    check(&back, &Request::SendBack(back.clone()));
    let end = EndTransaction {
        topic: Some("T1".into()),
        producer_group: "PG".into(),
        half_queue_offset: QueueOffset(3),
        physical_offset: PhysicalOffset(1000),
        decision: 8,
        from_check: true,
        message_id: Some("id".into()),
        transaction_id: None,
    };
    check(&end, &Request::EndTransaction(end.clone()));
}

#[test]
fn topics_and_routes_are_asked_for() {
    let create = CreateTopic {
        topic: "T1".into(),
        default_topic: "TBW102".into(),
        read_queues: 4,
        write_queues: 4,
        permission: 6,
        filter_type: Some("SINGLE_TAG".into()),
        topic_sys_flag: Some(0),
        order: true,
        attributes: Some("+message.type=NORMAL".into()),
    };
    check(&create, &Request::CreateTopic(create.clone()));
    let route = GetRoute { topic: "T1".into(), standard_json_only: Some(true) };
    check(&route, &Request::Route(route.clone()));
    check(&GetClusterInfo, &Request::ClusterInfo);
    let hello = Hello { product: "Millrace".into(), version: "0.1.0".into() };
    check(&hello, &Request::Hello(hello.clone()));
    let ensure = EnsureTopic { topic: "T1".into(), queues: 8 };
    check(&ensure, &Request::EnsureTopic(ensure.clone()));
}

#[test]
fn our_own_appends_and_pulls_are_understood() {
    let writer = crate::AppendGroupWriter::new(crate::AppendWait::Policy, None);
    let group = AppendGroup::decode(writer.as_bytes()).unwrap();
    check(&writer, &Request::AppendGroup(group));
    let pull = PullStored {
        topic: "T1".into(),
        queue_id: QueueId(0),
        offset: QueueOffset(0),
        bytes_max: 1,
        wait_ms: 0,
    };
    check(&pull, &Request::PullStored(pull.clone()));
}

#[test]
fn filters_are_attached_detached_and_listed() {
    let place = FilterPlace { group: Some("G".into()), topic: None };
    let terms = FilterTerms { params: r#"{"a":"b\"c"}"#.into(), on_failure: "drop".into() };
    let module = b"\0asm";
    let attach = FilterRequest::Attach(AttachFilter { place: place.clone(), terms, module });
    for request in [attach, FilterRequest::Detach(place), FilterRequest::List] {
        check(&request, &Request::Filter(request.clone()));
    }
    let plain = understood(r#"{"code":9005,"opaque":1,"extFields":{"topic":"T1"}}"#, b"x");
    let place = FilterPlace { group: None, topic: Some("T1".into()) };
    let terms = FilterTerms { params: "{}".into(), on_failure: "deliver".into() };
    let plainly = FilterRequest::Attach(AttachFilter { place, terms, module: b"x" });
    assert_eq!(plain, Ok(Request::Filter(plainly)));
}

#[test]
fn an_unknown_code_is_a_variant() {
    let request = understood(r#"{"code":4711,"opaque":1}"#, b"");
    assert_eq!(request, Ok(Request::Unknown(RequestCode(4711))));
}

#[test]
fn what_cannot_be_understood_is_refused_by_name() {
    let error = understood(r#"{"code":310,"opaque":1,"extFields":{"e":"0"}}"#, b"").unwrap_err();
    assert_eq!(error, RequestError::Fields(FieldsError::Missing("topic")));
    let answer = error.answer();
    assert_eq!(answer.code, ResponseCode::INVALID_PARAMETER);
    assert_eq!(answer.remark, "the field `topic` is missing");
    let error = understood(r#"{"code":34,"opaque":1}"#, b"{").unwrap_err();
    assert_eq!(error, RequestError::Body(BodyError::Json));
}
