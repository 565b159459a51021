use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use millrace_types::{QueueId, is_system_topic};
use tracing::warn;

use crate::complaints::Complaints;
use crate::core::{Needs, Shared};
use crate::reactor::Control;

/// The broker's figures in Prometheus' text format, over plain HTTP: `GET /metrics`.
///
/// One thread serves one request after the other and closes the connection, so whoever asks too
/// slowly delays others for [`PATIENCE`] and costs one connection.
#[derive(Debug)]
pub(crate) struct Metrics {
    address: SocketAddr,
    stopping: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// How long a client may take to ask, and then to take the answer.
const PATIENCE: Duration = Duration::from_secs(2);
/// More than any scraper sends.
pub(crate) const REQUEST_BYTES_MAX: usize = 8 << 10;

impl Metrics {
    /// Listens; port 0 takes any free one.
    pub(crate) fn bind(address: SocketAddr) -> io::Result<TcpListener> {
        TcpListener::bind(address)
    }

    /// Starts to answer.
    pub(crate) fn start(
        listener: TcpListener,
        shared: Arc<Shared>,
        control: Arc<Control>,
    ) -> io::Result<Self> {
        let address = listener.local_addr()?;
        let stopping = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&stopping);
        let builder = thread::Builder::new().name("millrace-metrics".into());
        let mut complaints = Complaints::default();
        let thread = builder.spawn(move || {
            for stream in listener.incoming() {
                if told.load(Ordering::Acquire) {
                    return;
                }
                let served = stream.and_then(|stream| serve(stream, &shared, &control));
                if let Err(error) = served
                    && complaints.may_say(shared.now().mono_ms)
                {
                    warn!(error = %error, "metrics not given");
                }
            }
        })?;
        Ok(Self { address, stopping, thread: Some(thread) })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Metrics {
    fn drop(&mut self) {
        self.stopping.store(true, Ordering::Release);
        // The thread waits for somebody to come.
        let woken = TcpStream::connect_timeout(&self.address, PATIENCE);
        if let (Ok(_), Some(thread)) = (woken, self.thread.take())
            && thread.join().is_err()
        {
            warn!("the metrics thread has panicked");
        }
    }
}

fn serve(mut stream: TcpStream, shared: &Shared, control: &Control) -> io::Result<()> {
    let request = read_request(&mut stream)?;
    let (status, body) = match request.split(' ').collect::<Vec<_>>()[..] {
        ["GET", "/metrics", ..] => ("200 OK", exposition(shared, control)),
        ["GET", ..] => ("404 Not Found", "it is at /metrics\n".to_owned()),
        _ => ("405 Method Not Allowed", "only GET is understood\n".to_owned()),
    };
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    let (answer, until) = ([head, body].concat(), Instant::now() + PATIENCE);
    let mut left = answer.as_bytes();
    while !left.is_empty() {
        stream.set_write_timeout(Some(remaining(until)?))?;
        match stream.write(left)? {
            0 => return Err(io::ErrorKind::WriteZero.into()),
            taken => left = &left[taken..],
        }
    }
    Ok(())
}

/// The first line of a request, once its head is complete.
fn read_request(stream: &mut TcpStream) -> io::Result<String> {
    let until = Instant::now() + PATIENCE;
    let (mut head, mut chunk) = (Vec::new(), [0; 1024]);
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        if head.len() > REQUEST_BYTES_MAX {
            return Err(io::Error::other("the request is too long"));
        }
        stream.set_read_timeout(Some(remaining(until)?))?;
        match stream.read(&mut chunk)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            read => head.extend_from_slice(&chunk[..read]),
        }
    }
    let line = head.split(|&byte| byte == b'\r').next().unwrap_or_default();
    Ok(String::from_utf8_lossy(line).into_owned())
}

fn remaining(until: Instant) -> io::Result<Duration> {
    let left = until.saturating_duration_since(Instant::now());
    if left.is_zero() { Err(io::ErrorKind::TimedOut.into()) } else { Ok(left) }
}

/// All figures. The engine is taken for one topic at a time.
fn exposition(shared: &Shared, control: &Control) -> String {
    let mut text = String::new();
    let (appended, durable) = (shared.marks.appended().0, shared.marks.durable().0);
    let load = |value: &std::sync::atomic::AtomicUsize| value.load(Ordering::Relaxed) as u64;
    let counts = shared.traffic.counts(0);
    let log = shared.step(Needs::Policy, |step| step.engine.log_bytes()).unwrap_or(0);
    for (name, kind, help, value) in [
        (
            "rocketmq_storage_flush_behind_bytes",
            "gauge",
            "Bytes of the log that are not on disk yet.",
            appended.saturating_sub(durable),
        ),
        ("rocketmq_storage_size", "gauge", "Bytes of the log that are kept.", log),
        (
            "rocketmq_messages_out_total",
            "counter",
            "Messages given to RocketMQ consumers.",
            counts.given,
        ),
        (
            "rocketmq_throughput_out_total",
            "counter",
            "Bytes of messages given to RocketMQ consumers.",
            shared.traffic.bytes(),
        ),
        (
            "rocketmq_producer_connections",
            "gauge",
            "Clients that produce, by their heartbeats.",
            load(&control.producers),
        ),
        (
            "rocketmq_consumer_connections",
            "gauge",
            "Clients that consume, by their heartbeats.",
            load(&control.consumers),
        ),
        ("millrace_log_appended_bytes", "counter", "Where the log ends.", appended),
        ("millrace_log_durable_bytes", "counter", "How far the log is on disk.", durable),
        ("millrace_connections", "gauge", "Open connections.", load(&control.connections)),
        (
            "millrace_held_bytes",
            "gauge",
            "Bytes held for peers: half requests, answers not taken.",
            load(&control.held_bytes),
        ),
        (
            "millrace_held_bytes_peak",
            "gauge",
            "The most that was ever held for peers.",
            load(&control.held_bytes_peak),
        ),
    ] {
        head(&mut text, name, kind, help);
        line(&mut text, name, "", value);
    }
    let ends = ends(shared);
    let name = "rocketmq_topic_number";
    head(&mut text, name, "gauge", "Topics, without the broker's own.");
    line(&mut text, name, "", ends.len() as u64);
    let lags = lags(shared, &ends);
    let name = "rocketmq_consumer_group_number";
    head(&mut text, name, "gauge", "Groups that have committed an offset.");
    let groups: std::collections::BTreeSet<_> = lags.keys().map(|(group, _)| group).collect();
    line(&mut text, name, "", groups.len() as u64);
    let name = "rocketmq_messages_in_total";
    head(&mut text, name, "counter", "Messages stored, by topic.");
    for (topic, queues) in &ends {
        line(&mut text, name, &format!("{{topic=\"{topic}\"}}"), queues.iter().sum());
    }
    let name = "rocketmq_consumer_lag_messages";
    head(&mut text, name, "gauge", "Messages that a group has not confirmed, by topic.");
    for ((group, topic), lag) in lags {
        let labels = format!("{{consumer_group=\"{group}\",topic=\"{topic}\"}}");
        line(&mut text, name, &labels, lag);
    }
    text
}

/// The end of each queue, by topic.
fn ends(shared: &Shared) -> BTreeMap<String, Vec<u64>> {
    let topics = shared.step(Needs::Policy, |step| {
        let topics = step.engine.topics().filter(|topic| !is_system_topic(&topic.name));
        topics.map(|topic| (topic.name.clone(), topic.read_queues)).collect::<Vec<_>>()
    });
    let mut ends = BTreeMap::new();
    for (topic, queues) in topics.unwrap_or_default() {
        let found = shared.step(Needs::Policy, |step| {
            let queues = (0..queues).map(QueueId);
            queues.map(|queue| step.engine.end_of(topic.as_str(), queue).0).collect::<Vec<_>>()
        });
        // `None`: the broker is closed.
        ends.insert(topic.to_string(), found.unwrap_or_default());
    }
    ends
}

/// How far each group is behind, by group and topic.
fn lags(shared: &Shared, ends: &BTreeMap<String, Vec<u64>>) -> BTreeMap<(String, String), u64> {
    let offsets = shared.step(Needs::Policy, |step| {
        let offsets = step.engine.group_offsets();
        offsets.map(|(g, t, queue, at)| (g.clone(), t.clone(), queue, at)).collect::<Vec<_>>()
    });
    let mut lags = BTreeMap::new();
    for (group, topic, queue, at) in offsets.unwrap_or_default() {
        let end = ends.get(topic.as_str()).and_then(|queues| queues.get(queue.0 as usize));
        if let Some(end) = end {
            *lags.entry((group.to_string(), topic.to_string())).or_default() +=
                end.saturating_sub(at.0);
        }
    }
    lags
}

fn head(text: &mut String, name: &str, kind: &str, help: &str) {
    writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}").expect("a string takes all");
}

/// Names of topics and groups have nothing in them that would need an escape.
fn line(text: &mut String, name: &str, labels: &str, value: u64) {
    writeln!(text, "{name}{labels} {value}").expect("a string takes all");
}
