use super::*;

#[tokio::test]
async fn a_broker_that_is_gone_does_not_keep_the_queues_of_others_from_being_shared() {
    let rig = Rig::start(Box::new(|_| None)).await;
    rig.routes.put(&[("a", "127.0.0.1:1"), ("b", &rig.fake.address)]);
    let rebalance_interval = Duration::from_millis(50);
    let mut consumer = rig.join(PushOptions { rebalance_interval, ..PushOptions::default() }).await;
    let next = tokio::time::timeout(Duration::from_secs(60), consumer.next()).await;
    next.expect("a message of the other one").done();
    consumer.stop().await;
}

#[tokio::test]
async fn a_broker_that_hangs_delays_nothing_at_the_others() {
    let lock = |request: &Request<'_>| match request {
        Request::Lock(lock) => answer(LockedQueues(lock.queues.clone())),
        _ => None,
    };
    for kind in ["Heartbeat(", "ConsumerList(", "Lock(", "UpdateConsumerOffset("] {
        let (hangs, hung) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU32::new(0)));
        let (does_hang, count) = (Arc::clone(&hangs), Arc::clone(&hung));
        let one = Rig::start(Box::new(move |request| {
            if does_hang.load(Relaxed) && format!("{request:?}").starts_with(kind) {
                count.fetch_add(1, Relaxed);
                return Some(Reply::Silence);
            }
            lock(request)
        }))
        .await;
        let other = Rig::start(Box::new(lock)).await;
        other.routes.put(&[("a", &one.fake.address), ("b", &other.fake.address)]);
        let (often, for_ever) = (Duration::from_millis(50), Duration::from_secs(3600));
        let options = PushOptions {
            ordering: Ordering::InOrder,
            heartbeat_interval: often,
            rebalance_interval: often,
            commit_interval: often,
            lock_interval: Duration::from_millis(500),
            cluster: ClusterOptions { request_timeout: for_ever, ..ClusterOptions::default() },
            ..PushOptions::default()
        };
        let mut consumer = other.join(options).await;
        let mut deliveries = [consumer.next().await, consumer.next().await];
        deliveries.sort_by_key(|delivery| delivery.message().queue.broker_name.clone());
        let [of_one, of_other] = deliveries;
        hangs.store(true, Relaxed);
        of_one.done();
        waited_for(&hung, 1).await;
        other.seen.lock().unwrap().clear();
        of_other.done();
        if kind != "Heartbeat(" {
            // These wait for each other, but not for longer than an answer may take.
            other.asked(&["Heartbeat("]).await;
        }
        other.asked(&["UpdateConsumerOffset(", "offset: QueueOffset(1)"]).await;
        // All of its queues, so that it is the renewal.
        other.asked(&["Lock(", "QueueId(0)", "QueueId(1)"]).await;
    }
}

#[tokio::test]
async fn a_broker_that_was_away_is_told_the_offsets_again() {
    let commits = Arc::new(AtomicU32::new(0));
    let count = Arc::clone(&commits);
    let rig = Rig::start(Box::new(move |request| match request {
        Request::Pull(pull) if pull.offset == Some(QueueOffset(1)) => {
            Some(match count.load(Relaxed) {
                0 => pulled(PullStatus::NotFound, 1, Vec::new()),
                1 => Reply::HangUp,
                _ => Reply::Silence,
            })
        }
        _ => commits_of(request, 1, &count).and_then(|_| answer(Done)),
    }))
    .await;
    let commit_interval = Duration::from_millis(20);
    let options = PushOptions { commit_interval, ..PushOptions::default() };
    let mut consumer = rig.join(options).await;
    consumer.next().await.done();
    waited_for(&commits, 2).await;
    consumer.stop().await;
}

#[tokio::test]
async fn a_member_that_stood_still_goes_on_where_the_group_is() {
    let (beats, commits) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
    let (counted, count) = (Arc::clone(&beats), Arc::clone(&commits));
    let handed_out = Arc::new(AtomicU32::new(0));
    let there = Arc::clone(&handed_out);
    let rig = Rig::start(Box::new(move |request| match request {
        Request::Heartbeat(_) => {
            counted.fetch_add(1, Relaxed);
            None
        }
        // Another member has had the queue.
        Request::QueryConsumerOffset(_) if there.load(Relaxed) > 0 => {
            answer(OffsetAnswer { offset: QueueOffset(40) })
        }
        _ => commits_of(request, 1, &count).and_then(|_| answer(Done)),
    }))
    .await;
    let (absence_max, heartbeat_interval) = (Duration::from_secs(1), Duration::from_millis(100));
    let options = PushOptions { absence_max, heartbeat_interval, ..PushOptions::default() };
    let mut consumer = rig.join(options).await;
    let delivery = consumer.next().await;
    handed_out.store(1, Relaxed);
    // The queue is looked at only every few seconds if nothing happens.
    waited_for(&beats, beats.load(Relaxed) + 13).await;
    delivery.done();
    rig.asked(&[
        "Pull(",
        "topic: \"orders\"",
        "queue_id: QueueId(0)",
        "offset: Some(QueueOffset(40))",
    ])
    .await;
    consumer.stop().await;
    assert_eq!(commits.load(Relaxed), 0, "the other member is further");
}

#[tokio::test]
async fn a_member_that_was_cut_off_commits_nothing_before_it_knows_where_the_group_is() {
    use millrace_protocol::pull_flag::COMMIT_OFFSET;
    // Another member has come further meanwhile, or has not been there.
    for others in [Some(40), None] {
        const WELL: u32 = 0;
        const CUT_OFF: u32 = 1;
        const BACK: u32 = 2;
        let state = Arc::new(AtomicU32::new(WELL));
        let [beats, commits, pulls_of_0] = [(); 3].map(|()| Arc::new(AtomicU32::new(0)));
        let now = Arc::clone(&state);
        let counts = [&beats, &commits, &pulls_of_0].map(Arc::clone);
        let rig = Rig::start(Box::new(move |request| {
            let [beats, commits, pulls_of_0] = &counts;
            let now = now.load(Relaxed);
            if matches!(request, Request::Heartbeat(_)) {
                beats.fetch_add(1, Relaxed);
            }
            match request {
                _ if now == CUT_OFF => return Some(Reply::HangUp),
                Request::QueryConsumerOffset(_) if now == BACK => {
                    return answer(OffsetAnswer { offset: QueueOffset(others.unwrap_or(0)) });
                }
                Request::Pull(pull) if &*pull.topic == "orders" && pull.queue_id == QueueId(0) => {
                    let commits_1 = pull.commit_offset == Some(QueueOffset(1));
                    if now == BACK && commits_1 && pull.sys_flag & COMMIT_OFFSET != 0 {
                        commits.fetch_add(1, Relaxed);
                    }
                    if now == BACK && pull.offset == Some(QueueOffset(0)) {
                        pulls_of_0.fetch_add(1, Relaxed);
                    }
                }
                _ if now == BACK => {
                    commits_of(request, 1, commits);
                }
                _ => {}
            }
            None
        }))
        .await;
        let options = PushOptions {
            absence_max: Duration::from_secs(1),
            heartbeat_interval: Duration::from_millis(100),
            commit_interval: Duration::from_millis(50),
            ..PushOptions::default()
        };
        let mut consumer = rig.join(options).await;
        let mut delivery = Some(consumer.next().await);
        state.store(CUT_OFF, Relaxed);
        if others.is_some() {
            // Not to be committed any more.
            delivery.take().unwrap().done();
        }
        waited_for(&beats, beats.load(Relaxed) + 40).await;
        rig.seen.lock().unwrap().clear();
        state.store(BACK, Relaxed);
        let next = others.unwrap_or(1);
        let offset = format!("offset: Some(QueueOffset({next}))");
        rig.asked(&["Pull(", "topic: \"orders\"", "queue_id: QueueId(0)", &offset]).await;
        if let Some(delivery) = delivery {
            delivery.done();
            waited_for(&commits, 1).await;
        }
        consumer.stop().await;
        let committed = commits.load(Relaxed) > 0;
        assert_eq!(committed, others.is_none(), "the group is at {others:?}");
        assert_eq!(pulls_of_0.load(Relaxed), 0, "nothing comes again");
    }
}

#[tokio::test]
async fn a_member_in_order_that_stood_still_brings_nothing_again_that_is_in_hand() {
    let beats = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&beats);
    let rig = Rig::start(Box::new(move |request| match request {
        Request::Heartbeat(_) => {
            counted.fetch_add(1, Relaxed);
            None
        }
        Request::Lock(lock) => answer(LockedQueues(lock.queues.clone())),
        _ => None,
    }))
    .await;
    let options = PushOptions {
        ordering: Ordering::InOrder,
        absence_max: Duration::from_millis(500),
        heartbeat_interval: Duration::from_millis(100),
        ..PushOptions::default()
    };
    let mut consumer = rig.join(options).await;
    let delivery = consumer.next().await;
    let pulls = |offset: u64| {
        let queue = "topic: \"orders\", queue_id: QueueId(0)";
        let place = format!("{queue}, offset: Some(QueueOffset({offset}))");
        let of_queue = |text: &&String| text.starts_with("Pull(") && text.contains(&place);
        rig.seen.lock().unwrap().iter().filter(of_queue).count()
    };
    let before = [pulls(0), pulls(1)];
    // The queue is looked at once a second if nothing happens.
    waited_for(&beats, beats.load(Relaxed) + 25).await;
    delivery.done();
    let waiting = async {
        while pulls(1) <= before[1] + 1 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), waiting).await.unwrap();
    assert_eq!(pulls(0), before[0]);
    consumer.stop().await;
}

#[tokio::test]
async fn a_broker_that_starts_anew_gets_a_heartbeat_at_once() {
    let beats = AtomicU32::new(0);
    let rig = Rig::start(Box::new(move |request| match request {
        Request::Heartbeat(_) => {
            beats.fetch_add(1, Relaxed);
            None
        }
        Request::Pull(_) if beats.load(Relaxed) < 2 => {
            answer(Refused::new(ResponseCode::SUBSCRIPTION_NOT_EXIST, "who are you?"))
        }
        _ => None,
    }))
    .await;
    let heartbeat_interval = Duration::from_secs(3600);
    let options = PushOptions { heartbeat_interval, ..PushOptions::default() };
    let mut consumer = rig.join(options).await;
    let next = tokio::time::timeout(Duration::from_secs(60), consumer.next()).await;
    next.expect("the broker heard of the member").done();
    consumer.stop().await;
}
