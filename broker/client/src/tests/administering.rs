use millrace_protocol::{Admin as Ask, ConsumerConnections, Done, OffsetAnswer};
use millrace_types::{QueueId, QueueOffset};

use super::*;
use crate::{Admin, Place};

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
