use super::*;

#[tokio::test]
async fn what_failed_is_handed_back_and_counts_as_consumed() {
    let rig = Rig::start(Box::new(|request| match request {
        Request::SendBack(_) => answer(Done),
        _ => None,
    }))
    .await;
    let mut consumer = rig.join(PushOptions::default()).await;
    consumer.next().await.later_at(3);
    let asked = rig.asked(&["SendBack(", "delay_level: 3"]).await;
    assert!(asked.contains("physical_offset: PhysicalOffset(700), group: \"g\""), "{asked}");
    assert!(asked.contains("max_reconsume_times: Some(16)"), "{asked}");
    assert!(asked.contains("origin_message_id: Some(\"ID\")"), "{asked}");
    consumer.stop().await;
    rig.asked(&["UpdateConsumerOffset(", "queue_id: QueueId(0), offset: QueueOffset(1)"]).await;
    rig.asked(&["Unregister", "consumer_group: Some(\"g\")"]).await;
}

/// Else nothing of its queue would ever be committed.
#[tokio::test]
async fn what_is_consumed_for_too_long_is_handed_back_and_its_queue_goes_on() {
    let rig = Rig::start(Box::new(|request| match request {
        Request::SendBack(_) => answer(Done),
        _ => None,
    }))
    .await;
    let consume_timeout = Some(Duration::from_millis(10));
    let mut consumer = rig.join(PushOptions { consume_timeout, ..PushOptions::default() }).await;
    let stuck = consumer.next().await;
    rig.asked(&["SendBack(", "delay_level: 3"]).await;
    // It is somebody else's message by now.
    assert_eq!(stuck.message().offset, QueueOffset(0));
    stuck.later_at(5);
    // The queue's consumer hears of it before it is asked to stop.
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    consumer.stop().await;
    rig.asked(&["UpdateConsumerOffset(", "queue_id: QueueId(0), offset: QueueOffset(1)"]).await;
    let seen = rig.seen.lock().unwrap();
    assert_eq!(seen.iter().filter(|request| request.contains("SendBack(")).count(), 1);
}

fn stored(message: &SendMessage<'_>) -> Option<Reply> {
    answer(SendAnswer {
        status: SendStatus::Ok,
        message_ids: MessageIds::Text("7F00000100002A9F0000000000000007".into()),
        queue_id: message.queue_id.unwrap_or_default(),
        queue_offset: QueueOffset(0),
        transaction_id: None,
    })
}

#[tokio::test]
async fn what_no_broker_takes_back_goes_to_the_retry_topic() {
    let rig = Rig::start(Box::new(|request| match request {
        Request::SendBack(_) => answer(Refused::new(ResponseCode::SYSTEM_ERROR, "no")),
        Request::Send(message) => stored(message),
        _ => None,
    }))
    .await;
    let mut consumer = rig.join(PushOptions::default()).await;
    // Without a word it has failed.
    drop(consumer.next().await);
    rig.asked(&["SendBack(", "delay_level: 0"]).await;
    let sent = rig.asked(&["Send(", "topic: \"%RETRY%g\""]).await;
    assert!(sent.contains("reconsume_times: 1,"), "{sent}");
    assert!(sent.contains("max_reconsume_times: Some(16)"), "{sent}");
    for property in ["UNIQ_KEY\\u{1}ID", "RETRY_TOPIC\\u{1}orders", "DELAY\\u{1}3"] {
        assert!(sent.contains(property), "{property} in {sent}");
    }
    consumer.stop().await;
    rig.asked(&["UpdateConsumerOffset(", "queue_id: QueueId(0), offset: QueueOffset(1)"]).await;
}

/// Whoever can read it gets it as its producer sent it.
#[tokio::test]
async fn what_cannot_be_decompressed_goes_to_the_retry_topic_as_it_is() {
    const LZ4: i32 = 0x101;
    let rig = Rig::start(Box::new(|request| match request {
        Request::Pull(pull) if is_of_message(pull) => {
            Some(pulled(PullStatus::Found, 1, record_of(LZ4 as u32, b"no LZ4")))
        }
        Request::SendBack(_) => answer(Refused::new(ResponseCode::SYSTEM_ERROR, "no")),
        Request::Send(message) => stored(message),
        _ => None,
    }))
    .await;
    let mut consumer = rig.join(PushOptions::default()).await;
    let delivery = consumer.next().await;
    assert_eq!(delivery.message().still_compressed, Some("the body is not what LZ4 makes"));
    delivery.later();
    let sent = rig.asked(&["Send(", "topic: \"%RETRY%g\""]).await;
    assert!(sent.contains(&format!("sys_flag: {LZ4},")), "{sent}");
    assert!(sent.contains(&format!("{:?}", b"no LZ4")), "{sent}");
    consumer.stop().await;
}

#[tokio::test]
async fn a_message_in_order_comes_again_here_until_it_has_failed_too_often() {
    let rig = Rig::start(Box::new(|request| match request {
        Request::Lock(lock) => answer(LockedQueues(lock.queues.clone())),
        Request::Send(message) => stored(message),
        _ => None,
    }))
    .await;
    let options = PushOptions {
        ordering: Ordering::InOrder,
        reconsume_times_max: Some(1),
        ..PushOptions::default()
    };
    let mut consumer = rig.join(options).await;
    for times in [0, 1] {
        let delivery = consumer.next().await;
        assert_eq!(delivery.message().reconsume_times, times);
        delivery.later();
    }
    let sent = rig.asked(&["Send(", "topic: \"%RETRY%g\""]).await;
    assert!(sent.contains("reconsume_times: 2,"), "{sent}");
    assert!(sent.contains("max_reconsume_times: Some(1)"), "{sent}");
    consumer.stop().await;
    rig.asked(&["UpdateConsumerOffset(", "queue_id: QueueId(0), offset: QueueOffset(1)"]).await;
    rig.asked(&["Unlock("]).await;
}

#[tokio::test]
async fn a_message_in_order_that_can_never_be_consumed_is_a_dead_letter() {
    let rig = Rig::start(Box::new(|request| match request {
        Request::Lock(lock) => answer(LockedQueues(lock.queues.clone())),
        Request::SendBack(_) => answer(Done),
        _ => None,
    }))
    .await;
    let options = PushOptions { ordering: Ordering::InOrder, ..PushOptions::default() };
    let mut consumer = rig.join(options).await;
    consumer.next().await.never();
    rig.asked(&["SendBack(", "delay_level: -1"]).await;
    consumer.stop().await;
}
