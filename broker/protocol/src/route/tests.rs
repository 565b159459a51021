use super::*;

fn broker(addresses: &[(u64, &str)]) -> BrokerAddresses {
    BrokerAddresses {
        cluster: "C1".into(),
        broker_name: "b-a".into(),
        addresses: addresses.iter().map(|&(id, address)| (id, address.to_owned())).collect(),
    }
}

fn route() -> TopicRoute {
    TopicRoute {
        queues: vec![QueueRoute {
            broker_name: "b-a".into(),
            read_queues: 4,
            write_queues: 4,
            permission: permission::READ | permission::WRITE,
            topic_sys_flag: 0,
        }],
        brokers: vec![broker(&[(0, "10.0.0.1:10911"), (1, "10.0.0.2:10911")])],
        order_conf: String::new(),
    }
}

fn body(answer: &dyn Answer) -> String {
    let mut out = Vec::new();
    answer.body(&mut out);
    String::from_utf8(out).unwrap()
}

#[test]
fn a_route_is_compact_strict_json() {
    // Go splits the raw text of `brokerAddrs`, so blanks would matter.
    assert_eq!(
        body(&route()),
        r#"{"brokerDatas":[{"brokerAddrs":{"0":"10.0.0.1:10911","1":"10.0.0.2:10911"},"brokerName":"b-a","cluster":"C1","enableActingMaster":false}],"filterServerTable":{},"queueDatas":[{"brokerName":"b-a","perm":6,"readQueueNums":4,"topicSynFlag":0,"topicSysFlag":0,"writeQueueNums":4}]}"#
    );
    let ordered = TopicRoute { order_conf: "b-a:4".into(), ..route() };
    assert!(body(&ordered).contains(r#""orderTopicConf":"b-a:4""#));
}

#[test]
fn routes_of_every_name_server_are_read() {
    #[track_caller]
    fn check(json: &str) {
        assert_eq!(TopicRoute::decode(json.as_bytes()), Ok(route()), "{json}");
    }
    check(&body(&route()));
    // A Java name server to a client that does not ask for standard JSON.
    check(
        r#"{"brokerDatas":[{"brokerAddrs":{0:"10.0.0.1:10911",1:"10.0.0.2:10911"},"brokerName":"b-a","cluster":"C1","enableActingMaster":false}],"filterServerTable":{},"queueDatas":[{"brokerName":"b-a","perm":6,"readQueueNums":4,"topicSysFlag":0,"writeQueueNums":4}],"orderTopicConf":null}"#,
    );
    let gone = r#"{"queueDatas":[{"brokerName":"b-a","perm":6,"readQueueNums":4}]}"#;
    assert_eq!(TopicRoute::decode(gone.as_bytes()), Err(BodyError::Missing("writeQueueNums")));
}

#[test]
fn a_cluster_is_brokers_and_names() {
    let info = ClusterInfo {
        brokers: [("b-a".to_owned(), broker(&[(0, "10.0.0.1:10911")]))].into(),
        clusters: [("C1".to_owned(), vec!["b-a".to_owned()])].into(),
    };
    let json = r#"{"brokerAddrTable":{"b-a":{"brokerAddrs":{"0":"10.0.0.1:10911"},"brokerName":"b-a","cluster":"C1","enableActingMaster":false}},"clusterAddrTable":{"C1":["b-a"]}}"#;
    assert_eq!(body(&info), json);
    assert_eq!(ClusterInfo::decode(json.as_bytes()), Ok(info));
}
