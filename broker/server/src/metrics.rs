use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use millrace_engine::DEAD_PREFIX;
use millrace_types::{QueueOffset, TopicName, is_reserved_topic, is_system_topic};
use tracing::warn;

use crate::complaints::Complaints;
use crate::core::{Needs, Shared};
use crate::filters::{Attached, Filters};
use crate::lookup::Lookup;
use crate::reactor::Control;
use crate::traffic::GivenSoFar;

/// The broker's figures in Prometheus' text format, over plain HTTP: `GET /metrics`.
///
/// Each connection has a thread for its one request, so nobody waits for who does not ask; the
/// figures are gathered for one at a time. Whoever is too slow loses the connection after twice
/// [`PATIENCE`] at most.
#[derive(Debug)]
pub(crate) struct Metrics {
    address: SocketAddr,
    stopping: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// How long a client may take to ask, and then to take the answer.
const PATIENCE: Duration = Duration::from_secs(2);
/// Connections at a time; each is a thread.
pub(crate) const CONNECTIONS_MAX: usize = 64;
/// Where clients send what they trace, RocketMQ's own name.
const TRACE_TOPIC: &str = "RMQ_SYS_TRACE_TOPIC";
/// More than any scraper sends.
pub(crate) const REQUEST_BYTES_MAX: usize = 8 << 10;
/// How long to wait after the system could not take a connection in.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);

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
        filters: Arc<Filters>,
    ) -> io::Result<Self> {
        let address = listener.local_addr()?;
        let stopping = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&stopping);
        let builder = thread::Builder::new().name("millrace-metrics".into());
        let complaints = Mutex::new(Complaints::default());
        let give = move || {
            let gathering = Mutex::new(());
            let gather = || {
                let _one = gathering.lock();
                // A stop does not wait for all of those that wait here.
                if told.load(Ordering::Acquire) {
                    return String::new();
                }
                exposition(&shared, &control, &filters)
            };
            let complain = |error: &io::Error| {
                let now_ms = shared.now().mono_ms;
                if complaints.lock().is_ok_and(|mut complaints| complaints.may_say(now_ms)) {
                    warn!(error = %error, "metrics not given");
                }
            };
            let coming = listener.incoming().take_while(|_| !told.load(Ordering::Acquire));
            serve_all(coming, &gather, &complain, &|| thread::sleep(ACCEPT_AGAIN));
        };
        let thread = builder.spawn(give)?;
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

/// Serves all who come, each on a thread of its own; where the system cannot take somebody in, it
/// is left alone for a while.
fn serve_all(
    coming: impl Iterator<Item = io::Result<TcpStream>>,
    gather: &(impl Fn() -> String + Sync),
    complain: &(impl Fn(&io::Error) + Sync),
    pause: &impl Fn(),
) {
    let open = AtomicUsize::new(0);
    let open = &open;
    thread::scope(|scope| {
        for stream in coming {
            let stream = match stream {
                Ok(stream) => stream,
                // Such as that there is no file for another one; it would come at once again.
                Err(error) => {
                    complain(&error);
                    pause();
                    continue;
                }
            };
            let answer = move |stream: io::Result<TcpStream>| {
                let served = stream.and_then(|stream| serve(stream, gather));
                served.unwrap_or_else(|error| complain(&error));
                open.fetch_sub(1, Ordering::AcqRel);
            };
            if open.fetch_add(1, Ordering::AcqRel) >= CONNECTIONS_MAX {
                answer(Err(io::Error::other("there are too many connections")));
                continue;
            }
            let builder = thread::Builder::new().name("millrace-scrape".into());
            if let Err(error) = builder.spawn_scoped(scope, move || answer(Ok(stream))) {
                answer(Err(error));
            }
        }
    });
}

fn serve(mut stream: TcpStream, gather: &impl Fn() -> String) -> io::Result<()> {
    let request = read_request(&mut stream)?;
    let mut words = request.split(' ');
    let method = words.next().unwrap_or_default();
    let path = words.next().and_then(|target| target.split('?').next());
    let (status, body) = match (method, path) {
        ("GET" | "HEAD", Some("/metrics")) => ("200 OK", gather()),
        ("GET" | "HEAD", _) => ("404 Not Found", "it is at /metrics\n".to_owned()),
        _ => ("405 Method Not Allowed", "only GET and HEAD are understood\n".to_owned()),
    };
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    let body = if method == "HEAD" { String::new() } else { body };
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

/// All figures. The engine is taken once for what it has in memory, and then for one topic or queue
/// at a time for what may lie in a file.
fn exposition(shared: &Arc<Shared>, control: &Control, filters: &Filters) -> String {
    let mut text = String::new();
    plain(&mut text, shared, control);
    let ends = ends(shared);
    let lookup = Lookup::new(shared);
    let now_ms = shared.now().wall_ms;
    let queues = ends.iter().map(|(topic, end)| (topic.as_str(), end.queues.len() as u32));
    // Of an empty log, and of one that cannot be read, nothing is that old.
    let oldest = lookup.oldest_store_time(queues).ok().flatten().unwrap_or(now_ms);
    let figure = |text: &mut String, name, help, value| {
        head(text, name, "gauge", help);
        line(text, name, "", value);
    };
    let age_ms = u64::try_from(now_ms - oldest).unwrap_or(0);
    let name = "rocketmq_storage_message_reserve_time";
    figure(&mut text, name, "How old the oldest message is, ms.", age_ms);
    let name = "rocketmq_topic_number";
    let topics = ends.keys().filter(|topic| !is_reserved_topic(topic));
    let topics = topics.filter(|topic| topic.as_str() != TRACE_TOPIC).count();
    figure(&mut text, name, "Topics, without the broker's own.", topics as u64);
    let lags = lags(shared, &ends, &lookup);
    let groups: BTreeSet<_> = lags.keys().map(|(group, _)| group).collect();
    let name = "rocketmq_consumer_group_number";
    figure(&mut text, name, "Groups that have committed an offset.", groups.len() as u64);
    by_topic(&mut text, &ends);
    by_group(&mut text, &lags, &shared.traffic.given(), now_ms);
    by_filter(&mut text, filters);
    text
}

/// What has no label.
fn plain(text: &mut String, shared: &Shared, control: &Control) {
    let (appended, durable) = (shared.marks.appended().0, shared.marks.durable().0);
    let load = |value: &std::sync::atomic::AtomicUsize| value.load(Ordering::Relaxed) as u64;
    let engine = shared.step(Needs::Policy, |step| {
        let engine = &step.engine;
        let waiting = (engine.delayed_messages(), engine.half_messages() as u64);
        (engine.log_bytes(), waiting, engine.decided_transactions(), engine.held_pulls() as u64)
    });
    let (log, (delayed, half), (committed, rolled_back), held_pulls) = engine.unwrap_or_default();
    for (name, kind, help, value) in [
        (
            "rocketmq_storage_flush_behind_bytes",
            "gauge",
            "Bytes of the log that are not on disk yet.",
            appended.saturating_sub(durable),
        ),
        (
            "rocketmq_storage_dispatch_behind_bytes",
            "gauge",
            "Bytes of the log that are in no index: 0, it is made with the log.",
            0,
        ),
        ("rocketmq_storage_size", "gauge", "Bytes of the log that are kept.", log),
        ("rocketmq_throughput_in_total", "counter", "Bytes written to the log.", appended),
        ("rocketmq_timing_messages", "gauge", "Messages that wait for their time.", delayed),
        (
            "rocketmq_half_messages",
            "gauge",
            "Messages that wait for their producer's decision.",
            half,
        ),
        (
            "rocketmq_commit_messages_total",
            "counter",
            "Transactions that were committed.",
            committed,
        ),
        (
            "rocketmq_rollback_messages_total",
            "counter",
            "Transactions that were rolled back.",
            rolled_back,
        ),
        ("rocketmq_broker_permission", "gauge", "4 reads, 2 writes.", 6),
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
        ("millrace_log_appended_bytes_total", "counter", "Where the log ends.", appended),
        ("millrace_log_durable_bytes_total", "counter", "How far the log is on disk.", durable),
        (
            "millrace_damaged_messages_total",
            "counter",
            "Stored messages that were found damaged when somebody read them, since the start.",
            shared.quarantine.count(),
        ),
        ("millrace_connections", "gauge", "Open connections.", load(&control.connections)),
        ("millrace_held_pulls", "gauge", "Pulls that wait for a message.", held_pulls),
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
        head(text, name, kind, help);
        line(text, name, "", value);
    }
    let name = "rocketmq_processor_watermark";
    head(text, name, "gauge", "Requests that wait for a thread, by what they want.");
    line(text, name, "{processor=\"admin\"}", load(&control.questions));
}

fn by_topic(text: &mut String, ends: &Ends) {
    let name = "rocketmq_messages_in_total";
    head(text, name, "counter", "Messages stored, by topic.");
    // One that waits for its time or its commit is stored in its own topic later, and counts then.
    for (topic, end) in ends.iter().filter(|(topic, _)| !is_reserved_topic(topic)) {
        line(text, name, &format!("{{topic=\"{topic}\"}}"), end.stored);
    }
    let name = "rocketmq_send_to_dlq_messages_total";
    head(text, name, "counter", "Dead letters of each group.");
    for (topic, end) in ends {
        if let Some(group) = topic.as_str().strip_prefix(DEAD_PREFIX) {
            line(text, name, &format!("{{consumer_group=\"{group}\"}}"), end.stored);
        }
    }
}

fn by_group(text: &mut String, lags: &Lags, given: &[GivenSoFar], now_ms: i64) {
    let labels =
        |group: &str, topic: &str| format!("{{consumer_group=\"{group}\",topic=\"{topic}\"}}");
    let name = "rocketmq_consumer_lag_messages";
    head(text, name, "gauge", "Messages that a group has not confirmed, by topic.");
    for ((group, topic), lag) in lags {
        line(text, name, &labels(group, topic), lag.messages);
    }
    let name = "rocketmq_consumer_lag_latency";
    head(text, name, "gauge", "How old the first of these is, ms; 0 if there is none.");
    for ((group, topic), lag) in lags {
        let age_ms = lag.oldest_ms.map_or(0, |oldest| u64::try_from(now_ms - oldest).unwrap_or(0));
        line(text, name, &labels(group, topic), age_ms);
    }
    let name = "rocketmq_messages_out_total";
    head(text, name, "counter", "Messages given to RocketMQ consumers; without names, to others.");
    for GivenSoFar { group, topic, messages, .. } in given {
        line(text, name, &labels(group, topic), *messages);
    }
    let name = "rocketmq_throughput_out_total";
    head(text, name, "counter", "Bytes of these messages.");
    for GivenSoFar { group, topic, bytes, .. } in given {
        line(text, name, &labels(group, topic), *bytes);
    }
}

/// What attached filters did; a filter of all groups, or of all topics, has no name there.
fn by_filter(text: &mut String, filters: &Filters) {
    let all = filters.attached();
    let labels = |attached: &Attached| {
        let (group, topic, _) = attached.figures();
        let (group, topic) = (group.unwrap_or_default(), topic.unwrap_or_default());
        format!("{{consumer_group=\"{group}\",topic=\"{topic}\"}}")
    };
    for (n, name, help) in [
        (0, "millrace_filter_kept_total", "Messages that an attached filter kept."),
        (1, "millrace_filter_dropped_total", "Messages that it dropped."),
        (2, "millrace_filter_failed_total", "Messages that it failed at, or was not asked about."),
    ] {
        head(text, name, "counter", help);
        for attached in &all {
            line(text, name, &labels(attached), attached.figures().2[n]);
        }
    }
    let name = "millrace_filter_troubled";
    head(text, name, "gauge", "1 while an attached filter decides nothing.");
    for attached in &all {
        line(text, name, &labels(attached), u64::from(attached.is_troubled()));
    }
}

/// Where the queues of each topic end.
type Ends = BTreeMap<TopicName, End>;

struct End {
    /// Of those that are read.
    queues: Vec<QueueOffset>,
    /// How many messages the topic has ever got, in whatever queues.
    stored: u64,
}

/// How far each group is behind in each topic.
type Lags = BTreeMap<(String, String), Lag>;

#[derive(Debug, Default)]
struct Lag {
    messages: u64,
    /// When the first of them was stored.
    oldest_ms: Option<i64>,
}

/// Each of these reads one message; a scrape reads no more.
const OLDEST_READS_MAX: usize = 1_000;

/// All topics but the broker's own, and where their queues end.
fn ends(shared: &Shared) -> Ends {
    let ends = shared.step(Needs::Policy, |step| {
        let topics = step.engine.ends().filter(|(topic, ..)| !is_system_topic(&topic.name));
        let ends = topics.map(|(topic, queues, stored)| {
            (topic.name.clone(), End { queues: queues.collect(), stored })
        });
        ends.collect()
    });
    // `None`: the broker is closed.
    ends.unwrap_or_default()
}

fn lags(shared: &Shared, ends: &Ends, lookup: &Lookup) -> Lags {
    let offsets = shared.step(Needs::Policy, |step| {
        let offsets = step.engine.group_offsets();
        offsets.map(|(g, t, queue, at)| (g.clone(), t.clone(), queue, at)).collect::<Vec<_>>()
    });
    let mut lags = Lags::new();
    let mut reads = 0;
    for (group, topic, queue, at) in offsets.unwrap_or_default() {
        let end = ends.get(topic.as_str()).and_then(|end| end.queues.get(queue.0 as usize));
        let Some(end) = end else {
            continue;
        };
        let lag = lags.entry((group.to_string(), topic.to_string())).or_default();
        lag.messages += end.0.saturating_sub(at.0);
        if at < *end && reads < OLDEST_READS_MAX {
            reads += 1;
            let stored = lookup.stored_before(topic.as_str(), queue, at + 1).ok().flatten();
            lag.oldest_ms = lag.oldest_ms.into_iter().chain(stored).min();
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_the_system_takes_nobody_in_it_is_left_alone_for_a_while() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut scraper = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        scraper.write_all(b"GET /metrics HTTP/1.1\r\n\r\n").unwrap();
        let steps = Mutex::new(Vec::new());
        let note = |step: &str| steps.lock().unwrap().push(step.to_owned());
        let full = || io::Error::from_raw_os_error(rustix::io::Errno::MFILE.raw_os_error());
        let mut turn = 0;
        let coming = std::iter::from_fn(|| {
            turn += 1;
            note("accept");
            match turn {
                1 | 2 => Some(Err(full())),
                3 => Some(listener.accept().map(|(stream, _)| stream)),
                _ => None,
            }
        });
        let complain = |error: &io::Error| {
            assert_eq!(error.raw_os_error(), full().raw_os_error());
            note("complain");
        };
        serve_all(coming, &|| "figures".to_owned(), &complain, &|| note("pause"));
        let once = ["accept", "complain", "pause"];
        assert_eq!(*steps.lock().unwrap(), [&once[..], &once[..], &["accept", "accept"]].concat());
        let mut answer = String::new();
        scraper.read_to_string(&mut answer).unwrap();
        assert!(answer.ends_with("\r\n\r\nfigures"), "{answer}");
    }
}
