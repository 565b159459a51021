//! Members of consumer groups on a real broker, over sockets.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use millrace_client::{
    Admin, Cluster, ClusterOptions, Delivery, Filter, LocalOffsets, Message, Ordering, Place,
    Producer, ProducerOptions, PushConsumer, PushOptions, Sharing, TopicConfig,
};
use millrace_disk::SimDisk;
use millrace_server::{Server, ServerConfig};
use millrace_types::{GroupName, TopicName};

/// A broker with a topic, and what talks to it. Its name server may be that of another cluster:
/// `MILLRACE_TEST_NAMESRV`, with `MILLRACE_TEST_TOPIC`, which must have no messages.
struct Rig {
    _server: Option<Server>,
    namesrv: String,
    admin: Admin,
    producer: Producer,
}

const QUEUES: u32 = 4;

impl Rig {
    async fn start() -> Self {
        let anywhere = SocketAddr::from(([127, 0, 0, 1], 0));
        let config = ServerConfig {
            namesrv_listen: Some(anywhere),
            broker_listen: Some(anywhere),
            segment_bytes: 1 << 20,
            ..ServerConfig::new("/data")
        };
        let (namesrv, server) = match std::env::var("MILLRACE_TEST_NAMESRV") {
            Ok(namesrv) => (namesrv, None),
            Err(_) => {
                let server = Server::start(Arc::new(SimDisk::new(1)), config).unwrap();
                (server.addresses().namesrv.unwrap().to_string(), Some(server))
            }
        };
        let cluster = Cluster::new(&namesrv, ClusterOptions::default()).await.unwrap();
        let cluster = Arc::new(cluster);
        let admin = Admin::new(Arc::clone(&cluster));
        let orders = TopicConfig {
            topic: topic().to_string(),
            read_queues: QUEUES,
            write_queues: QUEUES,
            permission: 6,
            ..TopicConfig::default()
        };
        admin.put_topic(&orders, &admin.masters().await.unwrap()).await.unwrap();
        let producer = Producer::new(cluster, group("producers"), ProducerOptions::default());
        Self { _server: server, namesrv, admin, producer }
    }

    async fn join(&self, name: &str, options: PushOptions) -> PushConsumer {
        self.join_for(name, Filter::All, options).await
    }

    async fn join_for(&self, name: &str, filter: Filter, options: PushOptions) -> PushConsumer {
        let options = PushOptions { begin: Place::Earliest, ..options };
        let topics = [(topic(), filter)];
        PushConsumer::start(&self.namesrv, group(name), topics, options).await.unwrap()
    }

    /// Sends numbers, the ones after the others over all queues.
    async fn send(&self, numbers: std::ops::Range<u32>) {
        for number in numbers {
            let message = message(number);
            let sent = self.producer.send_by(&message, |_| (number % QUEUES) as usize);
            assert_eq!(sent.await.unwrap().queue.queue_id.0, number % QUEUES);
        }
    }

    async fn lag(&self, group: &str) -> u64 {
        let progress = self.admin.progress(group, Some(topic().as_str())).await.unwrap().known;
        progress.iter().map(|queue| queue.end.since(queue.committed)).sum()
    }
}

fn message(number: u32) -> Message {
    let tag = if number.is_multiple_of(2) { "even" } else { "odd" };
    let message = Message::new(topic(), number.to_string()).tag(tag);
    message.property("number", &number.to_string()).unwrap()
}

fn topic() -> TopicName {
    let name = std::env::var("MILLRACE_TEST_TOPIC").unwrap_or_else(|_| "orders".into());
    TopicName::parse(&name).unwrap()
}

fn group(name: &str) -> GroupName {
    GroupName::parse(name).unwrap()
}

fn number(delivery: &Delivery) -> u32 {
    std::str::from_utf8(&delivery.message().body).unwrap().parse().unwrap()
}

/// Nothing here takes longer.
async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), what).await.expect("it took too long")
}

async fn next(consumer: &mut PushConsumer) -> Delivery {
    soon(consumer.next()).await
}

/// So many messages, each done with at once.
async fn numbers(consumer: &mut PushConsumer, count: usize) -> Vec<u32> {
    let mut numbers = Vec::new();
    for _ in 0..count {
        let delivery = next(consumer).await;
        numbers.push(number(&delivery));
        delivery.done();
    }
    numbers
}

fn sorted(mut numbers: Vec<u32>) -> Vec<u32> {
    numbers.sort_unstable();
    numbers
}

#[tokio::test]
async fn a_member_gets_everything_once_and_commits_it() {
    let rig = Rig::start().await;
    rig.send(0..40).await;
    let mut consumer = rig.join("g", PushOptions::default()).await;
    assert_eq!(sorted(numbers(&mut consumer, 40).await), (0..40).collect::<Vec<_>>());
    // What comes while it waits is handed out as well.
    rig.send(40..44).await;
    assert_eq!(sorted(numbers(&mut consumer, 4).await), (40..44).collect::<Vec<_>>());
    let members = rig.admin.members("g").await.unwrap().known.unwrap();
    assert_eq!(members.members[0].client_id, consumer.client_id());
    soon(consumer.stop()).await;
    assert_eq!(rig.lag("g").await, 0);
    assert!(rig.admin.members("g").await.unwrap().known.is_none());
}

#[tokio::test]
async fn what_was_not_done_with_comes_to_the_next_member() {
    let rig = Rig::start().await;
    rig.send(0..8).await;
    let grace = Duration::from_millis(10);
    let mut first = rig.join("g", PushOptions { grace, ..PushOptions::default() }).await;
    let mut kept = Vec::new();
    let mut done = BTreeSet::new();
    for _ in 0..8 {
        let delivery = next(&mut first).await;
        // The first message of each queue stays in our hands, the second is done with.
        if number(&delivery) < QUEUES {
            kept.push(delivery);
        } else {
            done.insert(number(&delivery));
            delivery.done();
        }
    }
    assert_eq!(done.len(), 4);
    soon(first.stop()).await;
    drop(kept);
    // A message behind one that is not done with does not count.
    let mut second = rig.join("g", PushOptions::default()).await;
    assert_eq!(sorted(numbers(&mut second, 8).await), (0..8).collect::<Vec<_>>());
    soon(second.stop()).await;
    assert_eq!(rig.lag("g").await, 0);
}

#[tokio::test]
async fn members_share_the_queues_as_they_come_and_go() {
    let rig = Rig::start().await;
    let mut first = rig.join("g", PushOptions::default()).await;
    rig.send(0..4).await;
    numbers(&mut first, 4).await;
    let mut second = rig.join("g", PushOptions::default()).await;
    // Each gets what lies in its half, once both know of each other. Until then messages may come
    // twice: a queue that changes hands begins where it was last committed.
    let mut at = 4;
    soon(async {
        loop {
            rig.send(at..at + QUEUES).await;
            let mut owners = BTreeMap::new();
            while owners.len() < QUEUES as usize {
                let (owner, delivery) = tokio::select! {
                    delivery = first.next() => (1, delivery),
                    delivery = second.next() => (2, delivery),
                };
                if number(&delivery) >= at {
                    owners.insert(delivery.message().queue_id().0, owner);
                }
                delivery.done();
            }
            at += QUEUES;
            let owners: Vec<_> = owners.into_values().collect();
            if matches!(*owners, [1, 1, 2, 2] | [2, 2, 1, 1]) {
                return;
            }
        }
    })
    .await;
    soon(second.stop()).await;
    rig.send(at..at + QUEUES).await;
    let mut rest = BTreeSet::new();
    while rest.len() < QUEUES as usize {
        rest.extend(numbers(&mut first, 1).await.into_iter().filter(|number| *number >= at));
    }
    assert_eq!(rest, (at..at + QUEUES).collect());
    soon(first.stop()).await;
    assert_eq!(rig.lag("g").await, 0);
}

#[tokio::test]
async fn an_order_is_kept_and_a_failure_comes_again_before_the_rest() {
    let rig = Rig::start().await;
    rig.send(0..12).await;
    let in_order = PushOptions { ordering: Ordering::InOrder, ..PushOptions::default() };
    let mut consumer = rig.join("g", in_order).await;
    let mut by_queue: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    let mut has_failed = false;
    for _ in 0..13 {
        let delivery = next(&mut consumer).await;
        let number = number(&delivery);
        by_queue.entry(delivery.message().queue_id().0).or_default().push(number);
        if number == 5 && !has_failed {
            has_failed = true;
            delivery.later();
        } else {
            assert_eq!(delivery.message().reconsume_times, i32::from(number == 5));
            delivery.done();
        }
    }
    let expected = [(0, vec![0, 4, 8]), (1, vec![1, 5, 5, 9]), (2, vec![2, 6, 10])];
    for (queue, numbers) in expected {
        assert_eq!(by_queue[&queue], numbers);
    }
    soon(consumer.stop()).await;
    assert_eq!(rig.lag("g").await, 0);
    // The locks were given back: another member need not wait for them to end.
    rig.send(12..16).await;
    let in_order = PushOptions { ordering: Ordering::InOrder, ..PushOptions::default() };
    let mut consumer = rig.join("g", in_order).await;
    assert_eq!(sorted(numbers(&mut consumer, 4).await), [12, 13, 14, 15]);
    soon(consumer.stop()).await;
}

#[tokio::test]
async fn a_failure_comes_again_later_and_at_last_as_a_dead_letter() {
    let rig = Rig::start().await;
    rig.send(0..2).await;
    let options = PushOptions { reconsume_times_max: Some(1), ..PushOptions::default() };
    let mut consumer = rig.join("g", options).await;
    let first = next(&mut consumer).await;
    let (failing, id) = (number(&first), first.message().id());
    // One second.
    first.later_at(1);
    next(&mut consumer).await.done();
    let again = next(&mut consumer).await;
    let message = again.message();
    assert_eq!((number(&again), message.id(), message.reconsume_times), (failing, id.clone(), 1));
    assert_eq!((&*message.topic, &*message.queue.topic), (topic().as_str(), "%RETRY%g"));
    again.later_at(1);
    let found = soon(async {
        loop {
            // There is no such topic before.
            let found = rig.admin.messages_by_key("%DLQ%g", &id, true).await.unwrap_or_default();
            if !found.is_empty() {
                return found;
            }
        }
    })
    .await;
    assert_eq!(found[0].body, failing.to_string());
    soon(consumer.stop()).await;
    assert_eq!(rig.lag("g").await, 0);
}

#[tokio::test]
async fn every_member_of_a_broadcasting_group_gets_everything() {
    let rig = Rig::start().await;
    rig.send(0..8).await;
    let disks = [SimDisk::new(1), SimDisk::new(2)];
    let options = |disk: &SimDisk| {
        let offsets = LocalOffsets::open(Arc::new(disk.clone()), "/offsets").unwrap();
        let sharing = Sharing::Broadcasting(Arc::new(offsets));
        PushOptions { sharing, ..PushOptions::default() }
    };
    let mut members = Vec::new();
    for disk in &disks {
        members.push(rig.join("g", options(disk)).await);
    }
    for member in &mut members {
        assert_eq!(sorted(numbers(member, 8).await), (0..8).collect::<Vec<_>>());
    }
    for member in members {
        soon(member.stop()).await;
    }
    // Its own file tells a member where it was.
    rig.send(8..12).await;
    let mut again = rig.join("g", options(&disks[0])).await;
    assert_eq!(sorted(numbers(&mut again, 4).await), [8, 9, 10, 11]);
    soon(again.stop()).await;
}

#[tokio::test]
async fn filters_are_the_brokers_and_what_they_drop_counts_as_consumed() {
    let rig = Rig::start().await;
    rig.send(0..12).await;
    let filters = [
        ("tags", Filter::tags("odd || other").unwrap(), vec![1, 3, 5, 7, 9, 11]),
        ("sql", Filter::Sql("number > 8 AND TAGS = 'even'".into()), vec![10]),
    ];
    for (name, filter, expected) in filters {
        let commit_interval = Duration::from_millis(50);
        let options = PushOptions { commit_interval, ..PushOptions::default() };
        let mut consumer = rig.join_for(name, filter, options).await;
        assert_eq!(sorted(numbers(&mut consumer, expected.len()).await), expected);
        // Queues in which nothing is wanted are passed by; their pulls say how far.
        soon(async {
            while rig.lag(name).await > 0 {
                tokio::task::yield_now().await;
            }
        })
        .await;
        soon(consumer.stop()).await;
    }
    let wrong = PushConsumer::start(
        &rig.namesrv,
        group("wrong"),
        [(topic(), Filter::Sql("number >".into()))],
        PushOptions::default(),
    );
    assert!(wrong.await.is_err());
}
