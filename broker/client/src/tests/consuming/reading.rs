use super::*;

#[tokio::test]
async fn a_consumer_without_a_queue_waits_as_long_as_it_is_told() {
    let rig = Rig::start(Box::new(|_| None)).await;
    let cluster = cluster(&rig.fake.address).await;
    let mut consumer = PullConsumer::new(cluster, group("g"), Filter::All);
    let begun = std::time::Instant::now();
    let wait = Duration::from_millis(50);
    assert!(consumer.poll(wait).await.unwrap().is_empty());
    assert!(begun.elapsed() >= wait);
}

#[tokio::test]
async fn queues_are_read_by_choice_and_again() {
    let rig = Rig::start(Box::new(|_| None)).await;
    let cluster = cluster(&rig.fake.address).await;
    let queues = cluster.queues("orders").await.unwrap();
    let mut consumer = PullConsumer::new(cluster, group("g"), Filter::tags("a").unwrap());
    consumer.seek(&queues[0], QueueOffset(0));
    for _ in 0..2 {
        let messages = consumer.poll(Duration::from_secs(60)).await.unwrap();
        assert_eq!(messages[0].body, "hello");
        let positions: Vec<_> = consumer.positions().map(|(_, offset)| offset.0).collect();
        assert_eq!(positions, [1]);
        consumer.seek(&queues[0], QueueOffset(0));
    }
    consumer.leave(&queues[0]);
    assert_eq!(consumer.poll(Duration::ZERO).await.unwrap(), []);
}

#[tokio::test]
async fn a_queue_that_cannot_be_read_is_told_beside_those_that_can() {
    let rig = Rig::start(Box::new(|request| match request {
        Request::Pull(pull) if pull.queue_id == QueueId(1) => {
            answer(Refused::new(ResponseCode::SYSTEM_ERROR, "a bad sector"))
        }
        _ => None,
    }))
    .await;
    let cluster = cluster(&rig.fake.address).await;
    let queues = cluster.queues("orders").await.unwrap();
    let mut consumer = PullConsumer::new(cluster, group("g"), Filter::All);
    for queue in &queues {
        consumer.seek(queue, QueueOffset(0));
    }
    assert_eq!(consumer.poll(Duration::from_secs(60)).await.unwrap().len(), 1);
    let failing = async {
        while consumer.failures().next().is_none() {
            consumer.poll(Duration::from_millis(10)).await.unwrap();
        }
    };
    tokio::time::timeout(Duration::from_secs(60), failing).await.unwrap();
    let failures: Vec<_> = consumer.failures().map(|(queue, _, _)| queue).collect();
    assert_eq!(failures, [&queues[1]]);
}

#[tokio::test]
async fn what_the_broker_passes_over_after_a_message_counts_as_polled() {
    let script = |request: &Request<'_>| match request {
        Request::Pull(pull) if pull.offset == Some(QueueOffset(0)) => {
            Some(pulled(PullStatus::Found, 5, record()))
        }
        _ => None,
    };
    let rig = Rig::start(Box::new(script)).await;
    let cluster = cluster(&rig.fake.address).await;
    let queues = cluster.queues("orders").await.unwrap();
    let mut consumer = PullConsumer::new(cluster, group("g"), Filter::tags("a").unwrap());
    consumer.seek(&queues[0], QueueOffset(0));
    assert_eq!(consumer.poll(Duration::from_secs(60)).await.unwrap().len(), 1);
    // Nobody has to wait for the next pull, which may be held, to know that nothing is left up to 5.
    let positions: Vec<_> = consumer.positions().map(|(_, offset)| offset.0).collect();
    assert_eq!(positions, [5]);
}
