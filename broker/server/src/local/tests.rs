use std::future::Future;
use std::path::Path;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use millrace_client::{Append, Fence, Outgoing, Wait};
use millrace_disk::{Fault, SimDisk};
use millrace_engine::EngineConfig;
use millrace_store::{FlushMode, StoreConfig};
use millrace_types::record::Record;
use millrace_types::{Now, PropertiesBuf, keys, record};
use tokio::time::Instant;

use super::*;
use crate::core::CoreConfig;
use crate::flushing::Flushing;

const ASYNC: FlushMode = FlushMode::Async { interval: Duration::from_millis(500) };
const LEDGER: &str = "MILLRACE_LEDGER";

fn config(flush: FlushMode) -> CoreConfig {
    let start = Instant::now();
    CoreConfig {
        store: StoreConfig { segment_bytes: 1 << 20, flush, ..StoreConfig::default() },
        engine: EngineConfig::default(),
        flushing: Flushing::Manual,
        clock: Arc::new(move || {
            let mono_ms = start.elapsed().as_millis() as u64;
            Now { mono_ms, wall_ms: 1_700_000_000_000 + mono_ms as i64 }
        }),
    }
}

fn open(disk: &SimDisk, flush: FlushMode) -> LocalBroker {
    open_with(disk, config(flush))
}

fn open_with(disk: &SimDisk, config: CoreConfig) -> LocalBroker {
    let (core, _) = Core::open(Arc::new(disk.clone()), Path::new("/data"), config).unwrap();
    core.local()
}

fn topic(name: &str) -> TopicName {
    TopicName::parse(name).unwrap()
}

fn to(topic_name: &str, queue: u32, body: &str) -> Outgoing {
    Outgoing {
        topic: topic(topic_name),
        queue: QueueId(queue),
        body: body.to_owned().into(),
        properties: Bytes::new(),
        born_at_ms: 7,
    }
}

fn append(messages: Vec<Outgoing>, wait: Wait) -> Append {
    Append { messages: messages.into(), fence: None, wait }
}

fn pull(name: &str, queue: u32, from: u64, wait_ms: u64) -> PullRequest {
    PullRequest {
        topic: topic(name),
        queue: QueueId(queue),
        from: QueueOffset(from),
        bytes_max: 1 << 20,
        wait: Duration::from_millis(wait_ms),
    }
}

fn bodies(pulled: &Pulled) -> Vec<String> {
    let records = pulled.runs.iter().flat_map(|run| record::iter(run));
    let body = |record: Record<'_>| String::from_utf8_lossy(record.body()).into_owned();
    records.map(|record| body(record.unwrap())).collect()
}

async fn all(broker: &LocalBroker, name: &str, queue: u32) -> Vec<String> {
    bodies(&broker.pull(pull(name, queue, 0, 0)).await.unwrap())
}

fn ready<F: Future>(future: F) -> Option<F::Output> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => Some(output),
        Poll::Pending => None,
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_appended_is_pulled_in_order() {
    for flush in [ASYNC, FlushMode::Sync] {
        let broker = open(&SimDisk::new(1), flush);
        assert_eq!(broker.ensure_topic(&topic("t"), 2).await.unwrap(), 2);
        let sent = vec![to("t", 0, "a"), to("t", 1, "b"), to("t", 0, "c")];
        let appended = broker.append(append(sent, Wait::Policy)).await.unwrap();
        assert_eq!(appended.offsets, [0, 0, 1].map(QueueOffset));
        assert_eq!(all(&broker, "t", 0).await, ["a", "c"]);
        assert_eq!(all(&broker, "t", 1).await, ["b"]);
        let bounds = broker.bounds(&topic("t"), QueueId(0)).await.unwrap();
        assert_eq!(bounds, (QueueOffset(0), QueueOffset(2)));
    }
}

#[tokio::test(start_paused = true)]
async fn a_topic_has_at_least_the_queues_asked_for() {
    let broker = open(&SimDisk::new(1), ASYNC);
    assert_eq!(broker.ensure_topic(&topic("t"), 4).await.unwrap(), 4);
    assert_eq!(broker.ensure_topic(&topic("t"), 2).await.unwrap(), 4);
    assert_eq!(broker.ensure_topic(&topic("t"), 6).await.unwrap(), 6);
}

#[tokio::test(start_paused = true)]
async fn a_pull_waits_for_the_message() {
    let broker = open(&SimDisk::new(1), FlushMode::Sync);
    broker.ensure_topic(&topic("t"), 1).await.unwrap();
    let reader = broker.clone();
    let waiting = tokio::spawn(async move { reader.pull(pull("t", 0, 0, 60_000)).await });
    tokio::time::sleep(Duration::from_secs(1)).await;
    let begun = Instant::now();
    broker.append(append(vec![to("t", 0, "late")], Wait::Policy)).await.unwrap();
    assert_eq!(bodies(&waiting.await.unwrap().unwrap()), ["late"]);
    assert_eq!(begun.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_pull_gives_up_when_its_time_is_over() {
    let broker = open(&SimDisk::new(1), ASYNC);
    broker.ensure_topic(&topic("t"), 1).await.unwrap();
    let begun = Instant::now();
    let pulled = broker.pull(pull("t", 0, 0, 250)).await.unwrap();
    assert!(pulled.runs.is_empty());
    assert_eq!(begun.elapsed(), Duration::from_millis(250));
}

#[tokio::test(start_paused = true)]
async fn a_pull_gives_up_even_if_the_clock_stands_still() {
    let stopped = CoreConfig { clock: Arc::new(Now::default), ..config(ASYNC) };
    let broker = open_with(&SimDisk::new(1), stopped);
    broker.ensure_topic(&topic("t"), 1).await.unwrap();
    let pulled = broker.pull(pull("t", 0, 0, 250)).await.unwrap();
    assert!(pulled.runs.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_dropped_pull_is_forgotten() {
    let broker = open(&SimDisk::new(1), ASYNC);
    broker.ensure_topic(&topic("t"), 1).await.unwrap();
    assert!(ready(broker.pull(pull("t", 0, 0, 60_000))).is_none());
    broker.append(append(vec![to("t", 0, "a")], Wait::Policy)).await.unwrap();
    assert_eq!(broker.core().waiting(), 0);
    assert_eq!(all(&broker, "t", 0).await, ["a"]);
}

#[tokio::test(start_paused = true)]
async fn nobody_sees_what_is_not_durable_in_sync_mode() {
    let broker = open(&SimDisk::new(1), FlushMode::Sync);
    broker.ensure_topic(&topic("t"), 1).await.unwrap();
    let mut appending = pin!(broker.append(append(vec![to("t", 0, "a")], Wait::Policy)));
    let mut context = Context::from_waker(Waker::noop());
    assert!(appending.as_mut().poll(&mut context).is_pending());
    assert_eq!(all(&broker, "t", 0).await, [""; 0]);
    appending.await.unwrap();
    assert_eq!(all(&broker, "t", 0).await, ["a"]);
}

#[tokio::test(start_paused = true)]
async fn appends_of_one_moment_share_a_flush() {
    let broker = open(&SimDisk::new(1), FlushMode::Sync);
    broker.ensure_topic(&topic("t"), 1).await.unwrap();
    let tasks: Vec<_> = (0..8)
        .map(|n| {
            let broker = broker.clone();
            tokio::spawn(async move {
                let sent = vec![to("t", 0, &n.to_string())];
                broker.append(append(sent, Wait::Policy)).await.unwrap();
                broker.core().watermarks().durable()
            })
        })
        .collect();
    let end = broker.core().watermarks().clone();
    for task in tasks {
        // Already the first one was answered after a flush of all eight.
        assert_eq!(task.await.unwrap(), end.appended());
    }
    assert_eq!(all(&broker, "t", 0).await.len(), 8);
}

#[tokio::test(start_paused = true)]
async fn a_stale_epoch_is_refused() {
    let broker = open(&SimDisk::new(1), ASYNC);
    broker.ensure_topic(&topic(LEDGER), 1).await.unwrap();
    broker.ensure_topic(&topic("t"), 1).await.unwrap();
    let lease = |epoch: u64| {
        let mut properties = PropertiesBuf::new();
        properties.push(keys::EPOCH, &epoch.to_string());
        Outgoing { properties: properties.into_bytes().into(), ..to(LEDGER, 0, "lease") }
    };
    let fenced = |messages, epoch| Append {
        fence: Some(Fence { topic: topic(LEDGER), queue: QueueId(0), epoch }),
        ..append(messages, Wait::Durable)
    };
    broker.append(fenced(vec![lease(1)], 0)).await.unwrap();
    broker.append(fenced(vec![to("t", 0, "first")], 1)).await.unwrap();
    broker.append(fenced(vec![lease(2)], 1)).await.unwrap();
    let stale = broker.append(fenced(vec![to("t", 0, "stale")], 1)).await;
    assert!(matches!(stale, Err(BrokerError::Fenced { current: 2 })), "{stale:?}");
    assert_eq!(all(&broker, "t", 0).await, ["first"]);
}

#[tokio::test(start_paused = true)]
async fn what_was_durable_survives_a_power_cut_and_groups_stay_whole() {
    for seed in 0..40 {
        let disk = SimDisk::new(seed);
        let broker = open(&disk, ASYNC);
        broker.ensure_topic(&topic("t"), 2).await.unwrap();
        let group = |n: u32| (0..5).map(|i| to("t", i % 2, &format!("{n}.{i}"))).collect();
        broker.append(append(group(0), Wait::Durable)).await.unwrap();
        for n in 1..4 {
            broker.append(append(group(n), Wait::Policy)).await.unwrap();
        }
        let disk = disk.power_cut();
        drop(broker);

        let broker = open(&disk, ASYNC);
        let found = [all(&broker, "t", 0).await, all(&broker, "t", 1).await];
        let groups = found[0].len() / 3;
        let expected = |queue: u32| -> Vec<String> {
            let bodies = (0..groups).flat_map(|n| (0..5).map(move |i| (n, i)));
            bodies.filter(|(_, i)| i % 2 == queue).map(|(n, i)| format!("{n}.{i}")).collect()
        };
        assert!(groups >= 1, "seed {seed}: the durable group is gone");
        assert_eq!(found, [expected(0), expected(1)], "seed {seed}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_unflushed_async_append_becomes_durable_with_a_later_one() {
    let broker = open(&SimDisk::new(1), ASYNC);
    broker.ensure_topic(&topic("t"), 1).await.unwrap();
    broker.append(append(vec![to("t", 0, "a")], Wait::Policy)).await.unwrap();
    let marks = broker.core().watermarks().clone();
    assert!(marks.durable() < marks.appended());
    tokio::time::sleep(Duration::from_millis(500)).await;
    broker.append(append(vec![to("t", 0, "b")], Wait::Policy)).await.unwrap();
    assert_eq!(marks.durable(), marks.appended());
}

#[tokio::test(start_paused = true)]
async fn a_failed_flush_stops_the_writing_and_not_the_reading() {
    let disk = SimDisk::new(1);
    let broker = open(&disk, ASYNC);
    broker.ensure_topic(&topic("t"), 1).await.unwrap();
    broker.append(append(vec![to("t", 0, "a")], Wait::Durable)).await.unwrap();
    disk.inject(Fault::FailSync { nth: 1 });
    let failed = broker.append(append(vec![to("t", 0, "b")], Wait::Durable)).await;
    assert!(matches!(failed, Err(BrokerError::Poisoned(_))), "{failed:?}");
    let later = broker.append(append(vec![to("t", 0, "c")], Wait::Policy)).await;
    assert!(matches!(later, Err(BrokerError::Poisoned(_))), "{later:?}");
    assert_eq!(all(&broker, "t", 0).await[0], "a");
}

#[tokio::test(start_paused = true)]
async fn who_calls_a_closed_broker_is_told_so() {
    let disk = SimDisk::new(1);
    let broker = open(&disk, ASYNC);
    broker.ensure_topic(&topic("t"), 1).await.unwrap();
    broker.append(append(vec![to("t", 0, "a")], Wait::Policy)).await.unwrap();
    broker.core().close().unwrap();
    broker.core().close().unwrap();
    let late = broker.append(append(vec![to("t", 0, "b")], Wait::Policy)).await;
    assert!(matches!(late, Err(BrokerError::Unreachable { .. })), "{late:?}");

    let (core, recovered) = Core::open(Arc::new(disk), Path::new("/data"), config(ASYNC)).unwrap();
    assert!(recovered.clean, "{recovered:?}");
    assert_eq!(all(&core.local(), "t", 0).await, ["a"]);
}

#[tokio::test(start_paused = true)]
async fn refusals_say_what_is_wrong() {
    let broker = open(&SimDisk::new(1), ASYNC);
    let none = broker.append(append(vec![to("nowhere", 3, "a")], Wait::Policy)).await;
    assert!(
        matches!(&none, Err(BrokerError::NoSuchQueue { topic, queue: QueueId(3) }) if topic.as_str() == "nowhere"),
        "{none:?}"
    );
    broker.ensure_topic(&topic("t"), 2).await.unwrap();
    let mixed = vec![to("t", 0, "a"), to("nowhere", 1, "a")];
    let mixed = broker.append(append(mixed, Wait::Policy)).await;
    assert!(matches!(mixed, Err(BrokerError::NoSuchQueue { queue: QueueId(1), .. })), "{mixed:?}");
    let group = GroupName::parse("g").unwrap();
    let missing = broker.commit_offset(&group, &topic("t"), QueueId(2), QueueOffset(1)).await;
    assert!(
        matches!(missing, Err(BrokerError::NoSuchQueue { queue: QueueId(2), .. })),
        "{missing:?}"
    );
    let beyond = broker.pull(pull("t", 2, 0, 0)).await;
    assert!(
        matches!(beyond, Err(BrokerError::NoSuchQueue { queue: QueueId(2), .. })),
        "{beyond:?}"
    );
    let own = broker.append(append(vec![to("MILLRACE_META", 0, "a")], Wait::Policy)).await;
    assert!(own.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_groups_offset_is_kept() {
    let disk = SimDisk::new(1);
    let broker = open(&disk, ASYNC);
    let (name, group) = (topic("t"), GroupName::parse("g").unwrap());
    broker.ensure_topic(&name, 1).await.unwrap();
    assert_eq!(broker.group_offset(&group, &name, QueueId(0)).await.unwrap(), None);
    broker.commit_offset(&group, &name, QueueId(0), QueueOffset(5)).await.unwrap();
    broker.core().close().unwrap();
    let broker = open(&disk, ASYNC);
    let kept = broker.group_offset(&group, &name, QueueId(0)).await.unwrap();
    assert_eq!(kept, Some(QueueOffset(5)));
}

#[test]
fn a_flush_thread_does_the_same() {
    for flush in [ASYNC, FlushMode::Sync] {
        let disk = SimDisk::new(1);
        let threaded = CoreConfig {
            store: StoreConfig { segment_bytes: 1 << 20, flush, ..StoreConfig::default() },
            ..CoreConfig::default()
        };
        let broker = open_with(&disk, threaded);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            broker.ensure_topic(&topic("t"), 1).await.unwrap();
            broker.append(append(vec![to("t", 0, "a")], Wait::Policy)).await.unwrap();
            broker.append(append(vec![to("t", 0, "b")], Wait::Durable)).await.unwrap();
            let marks = broker.core().watermarks();
            assert_eq!(marks.durable(), marks.appended());
            assert_eq!(all(&broker, "t", 0).await, ["a", "b"]);
        });
        broker.core().close().unwrap();
        assert!(Core::open(Arc::new(disk), Path::new("/data"), config_of(flush)).unwrap().1.clean);
    }
}

fn config_of(flush: FlushMode) -> CoreConfig {
    CoreConfig {
        store: StoreConfig { segment_bytes: 1 << 20, flush, ..StoreConfig::default() },
        ..CoreConfig::default()
    }
}
