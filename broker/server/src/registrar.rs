use std::io;
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use bytes::Bytes;
use millrace_protocol::{
    BrokerIdentity, Call, Compression, DataVersion, KvTable, Refused, RegisterBroker,
    RegisteredTopics, ResponseCode, TopicConfig, UnregisterBroker,
};
use millrace_transport::{Callbacks, Config, Connection};
use millrace_types::{TEMPLATE_TOPIC, is_system_topic};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tracing::{debug, info, warn};

use crate::core::{Needs, Shared};
use crate::shell::Names;

/// Keeps the broker registered with the name servers of other processes. (In RocketMQ,
/// `BrokerOuterAPI`.)
///
/// One thread, one task per name server: each is told everything when it is reached, when a topic
/// has changed and every [`PERIOD`], so one that is down or has restarted delays no other. Dropping
/// it tells all of them that the broker leaves.
pub(crate) struct Registrar {
    stop: watch::Sender<bool>,
    thread: Option<JoinHandle<()>>,
    known: Arc<Known>,
}

/// Which topics the name servers know of, so that an answer can wait for them.
pub(crate) struct Known {
    /// By name server, the last version that it took, 0 before the first one; `None` if it cannot
    /// be reached.
    versions: Mutex<Vec<Option<u64>>>,
    shared: Arc<Shared>,
}

impl Known {
    /// Whether every name server that can be reached has been told of this version of the topics.
    pub(crate) fn reaches(&self, version: u64) -> bool {
        self.lock().iter().flatten().all(|known| *known >= version)
    }

    fn note(&self, server: usize, version: Option<u64>) {
        let before = std::mem::replace(&mut self.lock()[server], version);
        if before != version {
            self.shared.wake_reactor();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Option<u64>>> {
        self.versions.lock().expect("nothing panics while it holds the versions")
    }
}

/// RocketMQ's own; a name server forgets a broker after four of them.
const PERIOD: Duration = Duration::from_secs(30);
/// How long a name server may take to answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// How long it may take on the way out, which delays the stop.
const FAREWELL_TIMEOUT: Duration = Duration::from_secs(2);
/// How soon one that cannot be reached is tried again; it doubles up to [`RETRY_MAX`].
const RETRY: Duration = Duration::from_millis(500);
const RETRY_MAX: Duration = Duration::from_secs(10);
/// Many topics that are created one after the other are told together.
const GATHER: Duration = Duration::from_millis(200);
/// More topics than this are worth a compression.
const PLAIN_TOPICS_MAX: usize = 200;

impl Registrar {
    pub(crate) fn start(
        name_servers: Vec<String>,
        names: Names,
        shared: Arc<Shared>,
    ) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (stop, stopping) = watch::channel(false);
        let versions = Mutex::new(vec![None; name_servers.len()]);
        let known = Arc::new(Known { versions, shared: Arc::clone(&shared) });
        let broker = Arc::new(Announced::new(names, shared, Arc::clone(&known)));
        let thread = thread::Builder::new().name("millrace-registrar".into()).spawn(move || {
            runtime.block_on(async {
                let mut tasks = JoinSet::new();
                for (n, address) in name_servers.into_iter().enumerate() {
                    let (broker, stopping) = (Arc::clone(&broker), stopping.clone());
                    tasks.spawn(keep_registered((n, address), broker, stopping));
                }
                while tasks.join_next().await.is_some() {}
            });
        })?;
        Ok(Self { stop, thread: Some(thread), known })
    }

    pub(crate) fn known(&self) -> Arc<Known> {
        Arc::clone(&self.known)
    }
}

impl Drop for Registrar {
    fn drop(&mut self) {
        self.stop.send_replace(true);
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            warn!("the registrar's thread has panicked");
        }
    }
}

/// The broker as name servers know it.
struct Announced {
    names: Names,
    address: String,
    /// Where a replica would fetch the log; there is none, but the field has to be there.
    ha_address: String,
    shared: Arc<Shared>,
    /// Part of the version, so that topics of an earlier process are not taken for these.
    started_at_ms: i64,
    known: Arc<Known>,
}

impl Announced {
    fn new(names: Names, shared: Arc<Shared>, known: Arc<Known>) -> Self {
        let host = names.host;
        let ha_address = format!("{}:{}", host.ip(), host.port().saturating_add(1));
        let started_at_ms = shared.now().wall_ms;
        Self { address: host.to_string(), ha_address, names, shared, started_at_ms, known }
    }

    fn identity(&self) -> BrokerIdentity<'_> {
        BrokerIdentity {
            broker_name: (&*self.names.broker).into(),
            address: (&*self.address).into(),
            cluster: (&*self.names.cluster).into(),
            broker_id: 0,
        }
    }

    /// `None` once the broker is closed.
    fn topics(&self) -> Option<RegisteredTopics> {
        let (version, mut topics) = self.shared.step(Needs::Policy, |step| {
            let topics = step.engine.topics().filter(|topic| !is_system_topic(&topic.name));
            let topics = topics.map(crate::handlers::admin::config).collect::<Vec<_>>();
            (step.engine.topics_version(), topics)
        })?;
        topics.extend(self.names.template().map(|template| TopicConfig {
            topic: TEMPLATE_TOPIC.to_owned(),
            read_queues: template.read_queues,
            write_queues: template.write_queues,
            permission: template.permission,
            ..TopicConfig::default()
        }));
        let counter = i64::try_from(version).unwrap_or(i64::MAX);
        let version = DataVersion { counter, state: 0, timestamp: self.started_at_ms };
        Some(RegisteredTopics { version, topics })
    }
}

/// Why a name server is left alone for a while.
enum Ended {
    /// The broker stops.
    Stopping,
    /// It does not answer, refuses, or has closed the connection.
    Lost(String),
}

async fn keep_registered(
    (number, address): (usize, String),
    broker: Arc<Announced>,
    mut stopping: watch::Receiver<bool>,
) {
    let mut retry = RETRY;
    // One line per change of state, however often it is tried.
    let mut is_told = false;
    while !*stopping.borrow() {
        let reason = match Connection::connect(&*address, &Config::default()).await {
            Ok((connection, callbacks)) => {
                let mut link =
                    Link { number, address: &address, broker: &broker, connection, callbacks };
                let mut registered = false;
                broker.known.note(number, Some(0));
                let ended = link.serve(&mut stopping, &mut registered).await;
                broker.known.note(number, None);
                if registered {
                    (retry, is_told) = (RETRY, false);
                }
                match ended {
                    Ended::Stopping => return link.leave().await,
                    Ended::Lost(reason) => reason,
                }
            }
            Err(error) => error.to_string(),
        };
        if is_told {
            debug!(namesrv = address, error = reason, "not registered with a name server");
        } else {
            warn!(namesrv = address, error = reason, "not registered with a name server");
            is_told = true;
        }
        tokio::select! {
            () = sleep(retry) => retry = (retry * 2).min(RETRY_MAX),
            _ = stopping.changed() => {}
        }
    }
}

/// One name server for as long as its connection lasts.
struct Link<'a> {
    number: usize,
    address: &'a str,
    broker: &'a Announced,
    connection: Connection,
    callbacks: Callbacks,
}

impl Link<'_> {
    /// Registers again and again; `registered` tells whether that ever went well.
    async fn serve(
        &mut self,
        stopping: &mut watch::Receiver<bool>,
        registered: &mut bool,
    ) -> Ended {
        let mut changes = self.broker.shared.topics.clone();
        loop {
            changes.mark_unchanged();
            let told_at = Instant::now();
            let Some(topics) = self.broker.topics() else {
                return Ended::Stopping;
            };
            if !*registered && topics.topics.len() == 1 {
                // RocketMQ takes a lone topic of a broker it does not know for half of the truth.
                let nothing = RegisteredTopics { topics: Vec::new(), ..topics };
                if let Err(reason) = self.register(&nothing).await {
                    return Ended::Lost(reason);
                }
            }
            if let Err(reason) = self.register(&topics).await {
                return Ended::Lost(reason);
            }
            self.broker.known.note(self.number, u64::try_from(topics.version.counter).ok());
            if !*registered {
                *registered = true;
                let topics = topics.topics.len();
                info!(namesrv = self.address, topics, "registered with a name server");
            }
            tokio::select! {
                () = sleep(PERIOD) => {}
                changed = changes.changed() => match changed {
                    Ok(()) => sleep_until(told_at + GATHER).await,
                    Err(_) => return Ended::Stopping,
                },
                // Brokers are not asked for anything, so this is the end of the connection.
                ended = self.callbacks.next() => if ended.is_none() {
                    return Ended::Lost("the name server closed the connection".into());
                },
                _ = stopping.changed() => return Ended::Stopping,
            }
        }
    }

    async fn register(&self, topics: &RegisteredTopics) -> Result<(), String> {
        let compression = match topics.topics.len() {
            0..=PLAIN_TOPICS_MAX => Compression::None,
            _ => Compression::Zlib,
        };
        let (identity, ha_address) = (self.broker.identity(), &*self.broker.ha_address);
        let call = RegisterBroker::new(identity, ha_address, topics, compression);
        self.note_order(&self.call(&call).await?);
        Ok(())
    }

    /// A registration is answered with the orders of topics, if there are any.
    fn note_order(&self, answer: &[u8]) {
        if answer.is_empty() {
            return;
        }
        match KvTable::decode(answer) {
            Ok(KvTable(orders)) => {
                let topics = orders.keys().map(String::as_str);
                self.broker.shared.step(Needs::Policy, |step| {
                    step.engine.note_order(step.now, topics);
                });
            }
            Err(error) => {
                warn!(namesrv = self.address, error = %error, "orders of topics passed over");
            }
        }
    }

    /// Gives the body of an answer that is no refusal.
    async fn call(&self, call: &(dyn Call + Sync)) -> Result<Bytes, String> {
        let answered = self.connection.call(call, ANSWER_TIMEOUT).await;
        let answered = answered.map_err(|error| error.to_string())?;
        let header = answered.header();
        match header.response_code() {
            ResponseCode::SUCCESS => Ok(answered.body().clone()),
            _ => Err(format!("it refuses: {}", Refused::of(&header))),
        }
    }

    async fn leave(&self) {
        let BrokerIdentity { broker_name, address, cluster, broker_id } = self.broker.identity();
        let leave = UnregisterBroker { broker_name, address, cluster, broker_id };
        match timeout(FAREWELL_TIMEOUT, self.call(&leave)).await {
            Ok(Ok(_)) => info!(namesrv = self.address, "left a name server"),
            Ok(Err(error)) => warn!(namesrv = self.address, error, "not left in order"),
            Err(_) => warn!(namesrv = self.address, "a name server does not take a farewell"),
        }
        self.connection.close().await;
    }
}
