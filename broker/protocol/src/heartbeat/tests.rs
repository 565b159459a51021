use super::*;

const JAVA: &str = r#"{"clientID":"10.0.0.9@7#1","consumerDataSet":[{"consumeFromWhere":"CONSUME_FROM_LAST_OFFSET","consumeType":"CONSUME_PASSIVELY","groupName":"CG","messageModel":"CLUSTERING","subscriptionDataSet":[{"classFilterMode":false,"codeSet":[97,98],"expressionType":"TAG","subString":"a || b","subVersion":1700000000000,"tagsSet":["a","b"],"topic":"T1"}],"unitMode":false}],"heartbeatFingerprint":0,"producerDataSet":[{"groupName":"CLIENT_INNER_PRODUCER"}],"withoutSub":false}"#;

fn expected() -> Heartbeat {
    Heartbeat {
        client_id: "10.0.0.9@7#1".into(),
        producer_groups: vec!["CLIENT_INNER_PRODUCER".into()],
        consumers: vec![ConsumerData {
            group: "CG".into(),
            consume_type: ConsumeType::Push,
            message_model: MessageModel::Clustering,
            consume_from: ConsumeFrom::LastOffset,
            subscriptions: vec![Subscription {
                topic: "T1".into(),
                expression: "a || b".into(),
                expression_type: "TAG".into(),
                tags: vec!["a".into(), "b".into()],
                codes: vec![97, 98],
                version: 1_700_000_000_000,
            }],
            unit_mode: false,
        }],
        fingerprint: 0,
        without_subscriptions: false,
    }
}

#[track_caller]
fn check(json: &str) {
    assert_eq!(Heartbeat::decode(json.as_bytes()), Ok(expected()), "{json}");
}

#[test]
fn heartbeats_of_every_client_mean_the_same() {
    check(JAVA);
    // C++: numbers for names, texts for numbers, nothing that is empty or a default.
    check(
        "{\"clientID\":\"10.0.0.9@7#1\",\"consumerDataSet\":[{\"consumeFromWhere\":0,\"consumeType\":1,\"groupName\":\"CG\",\"messageModel\":1,\"subscriptionDataSet\":[{\"subString\":\"a || b\",\"subVersion\":\"1700000000000\",\"tagsSet\":[\"a\",\"b\"],\"topic\":\"T1\"}]}],\"producerDataSet\":[{\"groupName\":\"CLIENT_INNER_PRODUCER\"}]}\n",
    );
}

#[test]
fn a_reference_stands_for_what_was_written_before() {
    let json = r#"{"clientID":"c","consumerDataSet":[
        {"groupName":"A","subscriptionDataSet":[{"topic":"T1","subString":"*"}]},
        {"groupName":"B","subscriptionDataSet":[{"$ref":"$.consumerDataSet[0].subscriptionDataSet[0]"}]}]}"#;
    let read = Heartbeat::decode(json.as_bytes()).unwrap();
    assert_eq!(read.consumers[0].subscriptions, read.consumers[1].subscriptions);
    assert_eq!(read.consumers[1].subscriptions[0].topic, "T1");
}

#[test]
fn unknown_names_read_as_defaults() {
    let json = r#"{"clientID":"c","consumerDataSet":[{"groupName":"A","consumeType":"NEW","messageModel":"NEW","consumeFromWhere":"NEW"}]}"#;
    let consumer = &Heartbeat::decode(json.as_bytes()).unwrap().consumers[0];
    assert_eq!(consumer.consume_type, ConsumeType::Pull);
    assert_eq!(consumer.message_model, MessageModel::Clustering);
    assert_eq!(consumer.consume_from, ConsumeFrom::LastOffset);
}

#[test]
fn a_heartbeat_without_names_is_refused() {
    let check = |json: &str, expected| {
        assert_eq!(Heartbeat::decode(json.as_bytes()), Err(expected), "{json}");
    };
    check("", BodyError::Json);
    check("{}", BodyError::Missing("clientID"));
    check(r#"{"clientID":"c","consumerDataSet":[{}]}"#, BodyError::Missing("groupName"));
}

#[test]
fn what_we_write_is_what_java_writes() {
    let mut body = Vec::new();
    expected().body(&mut body);
    assert_eq!(String::from_utf8(body).unwrap(), JAVA);
}
