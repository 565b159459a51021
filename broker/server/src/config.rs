use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use millrace_engine::{
    DelayLevels, EngineLimits, LostState, RECORD_BYTES_MAX, RetentionConfig, TransactionConfig,
};
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
    /// Whether the broker also listens two ports below its own, where clients before 4.5 send. A
    /// broker at port 0 never does. Change it where that port is another broker's.
    pub vip_port: bool,
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
    /// The most queues that such a topic gets; producers wish for 4. (`defaultTopicQueueNums`)
    pub template_queues: u32,
    /// The longest body of a message, at most [`MESSAGE_BYTES_MAX`]. (`maxMessageSize`)
    pub message_bytes_max: usize,
    /// How long the messages of each delay level wait. (`messageDelayLevel`)
    pub delay_levels: DelayLevels,
    /// The longest time that a message may wait by itself. (`timerMaxDelaySec`)
    pub timer_max: Duration,
    /// How transactions are treated.
    pub transactions: TransactionConfig,
    /// How long messages are kept, and for whom. Change it for small disks, and where messages
    /// have to be there for longer.
    pub retention: RetentionConfig,
    /// What to do if the broker's own state is damaged and nothing else knows what it said.
    pub lost_state: LostState,
    /// What peers may take of this machine.
    pub limits: Limits,
}

/// What a message's body can have at all: Java clients take no frame above 16 MiB, and a frame has a
/// header, the record's other fields, and its properties beside it.
pub const MESSAGE_BYTES_MAX: usize = 15 << 20;

const _: () = assert!(MESSAGE_BYTES_MAX as u64 + (64 << 10) <= RECORD_BYTES_MAX);

impl ServerConfig {
    /// The defaults: a directory, RocketMQ's ports on loopback, flushing every 500 ms.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        let at = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        Self {
            dir: dir.into(),
            namesrv_listen: Some(at(9876)),
            broker_listen: Some(at(10911)),
            vip_port: true,
            name_servers: Vec::new(),
            metrics_listen: None,
            advertised: None,
            flush: FlushMode::Async { interval: Duration::from_millis(500) },
            segment_bytes: 1 << 30,
            broker_name: "millrace".into(),
            cluster_name: "DefaultCluster".into(),
            auto_create_topics: true,
            template_queues: 8,
            message_bytes_max: 4 << 20,
            delay_levels: DelayLevels::default(),
            timer_max: Duration::from_secs(3 * 86_400),
            transactions: TransactionConfig::default(),
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
    /// Bytes of answers to the requests of one burst, above which the other connections are served
    /// in the next one: what these did not take is counted by then, and what they took is sent.
    pub burst_bytes_max: usize,
    /// Requests of one connection that wait for an answer, above which nothing more is taken from
    /// it.
    pub requests_in_flight_max: usize,
    /// Bytes held for all peers together; above that, the connection for which most is held is
    /// closed.
    pub held_bytes_max: usize,
    /// A connection that says nothing for so long, and waits for nothing, is closed.
    pub idle: Duration,
    /// A frame is whole so long after its first byte, or its connection is closed: whoever sends
    /// a byte now and then would hold its place for ever.
    pub frame_time_max: Duration,
    /// A send that may have waited for so long in this process is refused: by then its producer has
    /// given up, 3 s by default, and sends it again. (`waitTimeMillsInSendQueue`)
    pub send_wait_max: Duration,
    /// Pulls of one connection that wait for a message; further ones are told to come again.
    pub held_pulls_max: usize,
    /// What all peers together may make the broker remember.
    pub remembered: EngineLimits,
    /// Questions of tools that wait for a thread to look into the log; further ones are told to
    /// come again.
    pub questions_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections_max: 20_000,
            frame_bytes_max: 16 << 20,
            output_bytes_max: 4 << 20,
            burst_bytes_max: 64 << 20,
            requests_in_flight_max: 16_384,
            held_bytes_max: 1 << 30,
            idle: Duration::from_secs(120),
            frame_time_max: Duration::from_secs(120),
            send_wait_max: Duration::from_secs(3),
            held_pulls_max: 4_096,
            remembered: EngineLimits::default(),
            questions_max: 1_000,
        }
    }
}

impl Limits {
    /// The same with no more connections than leave files for the log: a quarter of what the
    /// process may have open.
    pub(crate) fn within(self, open_files_max: Option<u64>) -> Self {
        let most = open_files_max.map_or(usize::MAX, |files| (files - files / 4) as usize);
        Self { connections_max: self.connections_max.min(most), ..self }
    }

    /// Whether a send is refused that may have waited for so long.
    pub(crate) fn refuse_send(&self, waited_ms: u64) -> bool {
        u128::from(waited_ms) >= self.send_wait_max.as_millis()
    }

    pub(crate) fn frames(&self) -> protocol::Limits {
        protocol::Limits {
            frame_bytes_max: self.frame_bytes_max,
            ..protocol::Limits::for_requests()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_leave_files_for_the_log() {
        let most = |files| Limits::default().within(files).connections_max;
        assert_eq!([most(Some(1_024)), most(Some(1 << 20)), most(None)], [768, 20_000, 20_000]);
    }
}
