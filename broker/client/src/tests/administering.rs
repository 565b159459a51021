use millrace_protocol::{
    Admin as Ask, Answer, ConsumerConnections, Done, OffsetAnswer, TopicConfig,
};
use millrace_types::{QueueId, QueueOffset};

use super::*;
use crate::{Admin, Place, TopicOn};

/// The broker `b` and its name server: what they are asked about `orders`, and what a test says.
async fn broker_of_orders(
    script: impl Fn(&Request<'_>) -> Option<Reply> + Send + Sync + 'static,
) -> (Fake, Admin) {
    let routes = Routes::default();
    let known = routes.clone();
    let fake = Fake::start(move |request| script(request).or_else(|| known.reply(request))).await;
    routes.put(&[("b", &fake.address)]);
    let admin = Admin::new(cluster(&fake.address).await);
    (fake, admin)
}

/// As Apache RocketMQ answers: a body in JSON.
struct Told(&'static str);

impl Answer for Told {
    fn body(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.0.as_bytes());
    }
}

const ORDERS: &str = r#"{"attributes":{"message.type":"FIFO"},"order":true,"perm":6,
    "readQueueNums":4,"topicFilterType":"MULTI_TAG","topicName":"orders","topicSysFlag":1,
    "writeQueueNums":4}"#;
const ALL_TOPICS: &str = r#"{"dataVersion":{"counter":3,"timestamp":1},"topicConfigTable":{
    "letters":{"order":false,"perm":6,"readQueueNums":8,"topicFilterType":"SINGLE_TAG",
        "topicName":"letters","topicSysFlag":0,"writeQueueNums":8},
    "orders":{"order":true,"perm":6,"readQueueNums":4,"topicFilterType":"MULTI_TAG",
        "topicName":"orders","topicSysFlag":1,"writeQueueNums":4}}}"#;

#[tokio::test]
async fn what_a_topic_is_besides_what_changes_is_given_back_to_brokers_of_any_version() {
    for has_one in [true, false] {
        let put = Arc::<Mutex<Vec<_>>>::default();
        let keep = Arc::clone(&put);
        let (_fake, admin) = broker_of_orders(move |request| match request {
            Request::Admin(Ask::TopicConfig(_)) if has_one => answer(Told(ORDERS)),
            Request::Admin(Ask::TopicConfig(_)) => {
                let remark = " request type 351 not supported";
                answer(Refused::new(ResponseCode::REQUEST_CODE_NOT_SUPPORTED, remark))
            }
            Request::Admin(Ask::AllTopics(_)) => answer(Told(ALL_TOPICS)),
            Request::CreateTopic(create) => {
                let kept = (create.order, create.filter_type.clone(), create.topic_sys_flag);
                let queues = (create.read_queues, create.write_queues, create.permission);
                keep.lock().unwrap().push(format!("{kept:?} {queues:?} {:?}", create.attributes));
                answer(Done)
            }
            _ => None,
        })
        .await;
        let TopicOn { broker, config } =
            admin.topic_configs("orders").await.unwrap().whole().unwrap().remove(0);
        assert_eq!(config.attributes.len(), usize::from(has_one));
        let config = TopicConfig { read_queues: 6, write_queues: 6, ..config };
        admin.put_topic(&config, &[broker]).await.unwrap();
        // Without changes, attributes stay.
        assert_eq!(*put.lock().unwrap(), [r#"(true, Some("MULTI_TAG"), Some(1)) (6, 6, 6) None"#]);
    }
}

#[tokio::test]
async fn a_group_of_which_nobody_is_online_is_moved_where_only_members_move_themselves() {
    for (to, expected) in
        [(Place::Earliest, [5, 5]), (Place::Latest, [9, 9]), (Place::Time(1_000), [6, 7])]
    {
        let committed = Arc::<Mutex<Vec<_>>>::default();
        let keep = Arc::clone(&committed);
        let offset = |offset| answer(OffsetAnswer { offset: QueueOffset(offset) });
        let (_fake, admin) = broker_of_orders(move |request| match request {
            Request::Admin(Ask::ResetOffset(_)) => {
                answer(Refused::new(ResponseCode::CONSUMER_NOT_ONLINE, "Consumer not online"))
            }
            Request::GetMinOffset(_) => offset(5),
            Request::GetMaxOffset(_) => offset(9),
            Request::SearchOffset(search) => {
                assert_eq!(search.timestamp_ms, 1_000);
                offset(6 + u64::from(search.queue_id.0))
            }
            Request::UpdateConsumerOffset(commit) => {
                assert_eq!((&*commit.group, &*commit.topic), ("g", "orders"));
                keep.lock().unwrap().push((commit.queue_id, commit.offset));
                answer(Done)
            }
            _ => None,
        })
        .await;
        let moved = admin.reset("g", "orders", to).await.unwrap();
        let moved: Vec<_> = moved.iter().map(|(queue, at)| (queue.queue_id, *at)).collect();
        let expected = [0, 1].map(|n| (QueueId(n), QueueOffset(expected[n as usize])));
        assert_eq!(moved, expected, "{to:?}");
        assert_eq!(*committed.lock().unwrap(), expected, "{to:?}");
    }
}

#[tokio::test]
async fn a_group_without_an_offset_in_a_queue_is_moved_there_unless_it_is_online() {
    for is_online in [false, true] {
        let (_fake, admin) = broker_of_orders(move |request| match request {
            Request::Admin(Ask::ResetOffset(_)) => {
                let remark = "THe consumer group <g> not exist";
                answer(Refused::new(ResponseCode::SYSTEM_ERROR, remark))
            }
            Request::Admin(Ask::ConsumerConnections(_)) if is_online => {
                answer(ConsumerConnections {
                    members: Vec::new(),
                    consume_type: "CONSUME_PASSIVELY",
                    message_model: "CLUSTERING",
                    consume_from: "CONSUME_FROM_LAST_OFFSET",
                    subscriptions: Vec::new(),
                })
            }
            Request::Admin(Ask::ConsumerConnections(_)) => {
                answer(Refused::new(ResponseCode::CONSUMER_NOT_ONLINE, "not online"))
            }
            Request::GetMaxOffset(_) => answer(OffsetAnswer { offset: QueueOffset(9) }),
            Request::UpdateConsumerOffset(_) if !is_online => answer(Done),
            _ => None,
        })
        .await;
        let moved = admin.reset("g", "orders", Place::Latest).await;
        match is_online {
            false => assert_eq!(moved.unwrap().len(), 2),
            true => {
                let error = moved.unwrap_err();
                let refused = matches!(&error, ClientError::Refused { refused, .. }
                    if refused.code == ResponseCode::SYSTEM_ERROR);
                assert!(refused, "{error:?}");
            }
        }
    }
}
