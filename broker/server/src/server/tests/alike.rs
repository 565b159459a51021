use std::time::Duration;

use millrace_client::{
    Append, Broker, BrokerError, Fence, Outgoing, PullRequest, RemoteBroker, RemoteOptions, Wait,
};
use millrace_disk::Fault;
use millrace_engine::RetentionConfig;
use millrace_types::{PropertiesBuf, QueueId, QueueOffset, TopicName};

use super::*;

/// One broker, as a pipeline sees it from inside of its process and over the wire.
struct Both {
    disk: SimDisk,
    server: Server,
    remote: RemoteBroker,
}

impl Both {
    async fn start() -> Self {
        let disk = SimDisk::new(1);
        let retention = RetentionConfig { refuse_percent: 101, ..RetentionConfig::default() };
        let config = ServerConfig { retention, ..config() };
        let server = Server::start(Arc::new(disk.clone()), config).unwrap();
        let namesrv = server.addresses().namesrv.unwrap().to_string();
        let remote = RemoteBroker::connect(&namesrv, RemoteOptions::default()).await.unwrap();
        server.local().ensure_topic(&topic("t"), 1).await.unwrap();
        Self { disk, server, remote }
    }

    /// Insists that both refuse an append in the same way, and tells it.
    #[track_caller]
    fn same(
        inside: Result<impl Sized, BrokerError>,
        outside: Result<impl Sized, BrokerError>,
    ) -> BrokerError {
        let (Err(inside), Err(outside)) = (inside, outside) else { panic!("nothing is refused") };
        assert_eq!(
            std::mem::discriminant(&inside),
            std::mem::discriminant(&outside),
            "{inside} here, {outside} there"
        );
        // A refusal that no program can do anything about has its code in it over the wire.
        if !matches!(inside, BrokerError::Refused(_)) {
            assert_eq!(inside.to_string(), outside.to_string());
        }
        inside
    }

    async fn append(&self, append: Append) -> BrokerError {
        let inside = self.server.local().append(append.clone()).await;
        Self::same(inside, self.remote.append(append).await)
    }

    async fn pull(&self, queue: u32) -> BrokerError {
        let request = PullRequest {
            topic: topic("t"),
            queue: QueueId(queue),
            from: QueueOffset(0),
            bytes_max: 1 << 20,
            wait: Duration::ZERO,
        };
        let inside = self.server.local().pull(request.clone()).await;
        Self::same(inside, self.remote.pull(request).await)
    }
}

fn topic(name: &str) -> TopicName {
    TopicName::parse(name).unwrap()
}

fn append(topic_name: &str, queue: u32, body: Vec<u8>) -> Append {
    let message = Outgoing {
        topic: topic(topic_name),
        queue: QueueId(queue),
        body: body.into(),
        properties: PropertiesBuf::new().into_bytes().into(),
        born_at_ms: 7,
    };
    Append { messages: [message].into(), fence: None, wait: Wait::Durable }
}

#[tokio::test]
async fn a_request_at_fault_is_refused_alike_here_and_over_the_wire() {
    let both = Both::start().await;
    let error = both.append(append("nowhere", 0, b"a".to_vec())).await;
    assert!(matches!(error, BrokerError::NoSuchQueue { topic, .. } if topic.as_str() == "nowhere"));
    let error = both.append(append("t", 4, b"a".to_vec())).await;
    assert!(matches!(error, BrokerError::NoSuchQueue { queue: QueueId(4), .. }));
    assert!(matches!(both.pull(4).await, BrokerError::NoSuchQueue { queue: QueueId(4), .. }));
    let error = both.append(append("MILLRACE_META", 0, b"a".to_vec())).await;
    assert!(matches!(error, BrokerError::Refused(_)));
    let error = both.append(append("t", 0, vec![b'a'; (4 << 20) + 1])).await;
    assert!(matches!(error, BrokerError::Refused(_)));
    let fence = Fence { topic: topic("t"), queue: QueueId(0), epoch: 3 };
    let fenced = Append { fence: Some(fence), ..append("t", 0, b"a".to_vec()) };
    assert!(matches!(both.append(fenced).await, BrokerError::Fenced { current: 0 }));
}

#[tokio::test]
async fn a_full_disk_is_told_alike_here_and_over_the_wire() {
    let both = Both::start().await;
    both.disk.inject(Fault::Capacity { bytes: 0 });
    let large = || append("t", 0, vec![7; 100 << 10]);
    while both.server.local().append(large()).await.is_ok() {}
    let error = both.append(large()).await;
    assert!(matches!(&error, BrokerError::DiskFull(_)), "{error}");
    assert_eq!(error.to_string().matches("disk is full").count(), 1, "{error}");
    both.disk.inject(Fault::Capacity { bytes: 1 << 30 });
    both.remote.append(large()).await.unwrap();
}

#[tokio::test]
async fn a_disk_too_full_from_the_start_takes_no_message_of_this_process() {
    let retention = millrace_engine::RetentionConfig { refuse_percent: 10, ..Default::default() };
    // Whoever is fast enough would be first, before the reactor looks at the disk.
    for _ in 0..20 {
        let disk = SimDisk::new(1);
        disk.inject(Fault::Capacity { bytes: 4 << 20 });
        let config = ServerConfig { retention: retention.clone(), ..config() };
        let server = Server::start(Arc::new(disk), config).unwrap();
        let error = server.local().append(append("t", 0, b"a".to_vec())).await.unwrap_err();
        assert!(matches!(&error, BrokerError::DiskFull(_)), "{error}");
    }
}

#[tokio::test]
async fn a_log_that_stopped_is_told_alike_here_and_over_the_wire() {
    let both = Both::start().await;
    both.disk.inject(Fault::FailSync { nth: 1 });
    both.server.local().append(append("t", 0, b"a".to_vec())).await.unwrap_err();
    let error = both.append(append("t", 0, b"a".to_vec())).await;
    assert!(matches!(&error, BrokerError::Poisoned(_)), "{error}");
}

#[tokio::test]
async fn damage_is_told_alike_here_and_over_the_wire() {
    let both = Both::start().await;
    let body = b"a body that can be found".to_vec();
    both.remote.append(append("t", 0, body.clone())).await.unwrap();
    let segment = "/data/commitlog/00000000000000000000";
    let file = both.disk.open(segment.as_ref(), millrace_disk::Access::Read).unwrap();
    let mut bytes = vec![0; 64 << 10];
    file.read_at(&mut bytes, 0).unwrap();
    let at = bytes.windows(body.len()).position(|window| window == body).unwrap();
    both.disk.flip_bit(segment, at as u64, 1);
    let request = PullRequest {
        topic: topic("t"),
        queue: QueueId(0),
        from: QueueOffset(0),
        bytes_max: 1 << 20,
        wait: Duration::ZERO,
    };
    let inside = both.server.local().pull(request.clone()).await.unwrap();
    for pulled in [inside, both.remote.pull(request).await.unwrap()] {
        assert_eq!((pulled.runs.len(), pulled.next), (0, QueueOffset(1)), "it leaves a gap");
    }
}

#[tokio::test]
async fn damage_to_a_ledger_is_refused_here_and_over_the_wire() {
    let both = Both::start().await;
    let ledger = topic("MILLRACE_LEDGER");
    both.server.local().ensure_topic(&ledger, 1).await.unwrap();
    let body = b"a record of a ledger".to_vec();
    let record = append("MILLRACE_LEDGER", 0, body.clone());
    both.server.local().append(record).await.unwrap();
    let segment = "/data/commitlog/00000000000000000000";
    let bytes = both.disk.file_bytes(segment).unwrap();
    let at = bytes.windows(body.len()).position(|window| window == body).unwrap();
    both.disk.flip_bit(segment, at as u64, 1);
    let request = PullRequest {
        topic: ledger,
        queue: QueueId(0),
        from: QueueOffset(0),
        bytes_max: 1 << 20,
        wait: Duration::ZERO,
    };
    let inside = both.server.local().pull(request.clone()).await;
    let error = Both::same(inside, both.remote.pull(request).await);
    assert!(error.to_string().contains("MILLRACE_LEDGER/0 offset 0"), "{error}");
}
