use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use millrace_engine::{DelayLevels, LostState, RetentionConfig};
use millrace_protocol as protocol;
use millrace_store::FlushMode;

/// Everything an operator may choose about a broker.
#[derive(Clone, Debug)]
pub struct ServerConfig {
    /// Where the broker keeps its files.
    pub dir: PathBuf,
    /// Where clients ask for routes; `None` for nowhere. Port 0 takes any free one.
    pub namesrv_listen: Option<SocketAddr>,
    /// Where clients send and pull; `None` for a name server alone. Port 0 takes any free one.
    pub broker_listen: Option<SocketAddr>,
    /// Name servers of other processes with which the broker registers, as `host:port`.
    pub name_servers: Vec<String>,
    /// Where Prometheus asks for figures over HTTP; `None` for nowhere. Port 0 takes any free one.
    pub metrics_listen: Option<SocketAddr>,
    /// The address that routes give to clients, if it is not the one listened on: inside a
    /// container, or when listening on all addresses. (`brokerIP1`)
    pub advertised: Option<IpAddr>,
    /// What the answer to a producer waits for. Change it if no acknowledged message may be lost
    /// in a power cut.
    pub flush: FlushMode,
    /// Bytes of one CommitLog segment. Change it for small disks.
    pub segment_bytes: u64,
    /// The broker's name, part of every queue's identity. Change it when there are several.
    pub broker_name: String,
    /// The cluster that tools show.
    pub cluster_name: String,
    /// Whether a send to an unknown topic creates it. (`autoCreateTopicEnable`)
    pub auto_create_topics: bool,
    /// How long the messages of each delay level wait. (`messageDelayLevel`)
    pub delay_levels: DelayLevels,
    /// The longest time that a message may wait by itself. (`timerMaxDelaySec`)
    pub timer_max: Duration,
    /// How long messages are kept, and for whom. Change it for small disks, and where messages
    /// have to be there for longer.
    pub retention: RetentionConfig,
    /// What to do if the broker's own state is damaged and nothing else knows what it said.
    pub lost_state: LostState,
    /// What peers may take of this machine.
    pub limits: Limits,
}

impl ServerConfig {
    /// The defaults: a directory, RocketMQ's ports on loopback, flushing every 500 ms.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        let at = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        Self {
            dir: dir.into(),
            namesrv_listen: Some(at(9876)),
            broker_listen: Some(at(10911)),
            name_servers: Vec::new(),
            metrics_listen: None,
            advertised: None,
            flush: FlushMode::Async { interval: Duration::from_millis(500) },
            segment_bytes: 1 << 30,
            broker_name: "millrace".into(),
            cluster_name: "DefaultCluster".into(),
            auto_create_topics: true,
            delay_levels: DelayLevels::default(),
            timer_max: Duration::from_secs(3 * 86_400),
            retention: RetentionConfig::default(),
            lost_state: LostState::Refuse,
            limits: Limits::default(),
        }
    }
}

/// What peers may take of this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Open connections; further ones are closed at once.
    pub connections_max: usize,
    /// The longest frame. (`com.rocketmq.remoting.frameMaxLength`)
    pub frame_bytes_max: usize,
    /// Bytes of answers that a peer has not taken, above which nothing more is taken from it. One
    /// answer may go beyond.
    pub output_bytes_max: usize,
    /// Requests of one connection that wait for an answer, above which nothing more is taken from
    /// it.
    pub requests_in_flight_max: usize,
    /// Bytes held for all peers together; above that, whoever needs more is closed.
    pub held_bytes_max: usize,
    /// A connection that says nothing for so long, and waits for nothing, is closed.
    pub idle: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections_max: 20_000,
            frame_bytes_max: 16 << 20,
            output_bytes_max: 4 << 20,
            requests_in_flight_max: 16_384,
            held_bytes_max: 1 << 30,
            idle: Duration::from_secs(120),
        }
    }
}

impl Limits {
    pub(crate) fn frames(&self) -> protocol::Limits {
        protocol::Limits {
            frame_bytes_max: self.frame_bytes_max,
            ..protocol::Limits::for_requests()
        }
    }
}
