//! `millrace server`: a name server and a broker that RocketMQ clients can use.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process;
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, ValueEnum};
use millrace_disk::RealDisk;
use millrace_server::{Addresses, LostState, Server, ServerConfig, StartError};
use millrace_store::{
    CutOff, FlushMode, Losses, LostMessages, MissingBytes, MissingMessages, OpenError, Recovered,
    fill_missing, forget_index, inspect, losses, missing_segments, repair_format,
};
use millrace_types::is_system_topic;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde::Serialize;
use serde_json::json;

use super::run::one_thread;
use crate::broker_conf;
use crate::causes::open_store;
use crate::embedded::findings;
use crate::exit::{Exit, Failure, codes};
use crate::figures::{bytes, counted, parse_size};
use crate::keeping::{self, Keeping};
use crate::output::{Answer, complain, print};
use crate::signals::Signals;

/// Serve RocketMQ clients: a name server, a broker, or both in one process.
///
/// A broker registers with the name servers that --namesrv or its file names, each on its own; the
/// name server of the same process needs no registration.
///
/// It listens on loopback unless told otherwise; there is no access control. The first SIGINT or
/// SIGTERM answers what is pending, brings everything to the disk and ends it, the second ends it
/// at once. After kill -9 or a power cut the next start recovers by itself.
#[derive(Args, Debug)]
pub(crate) struct RunServer {
    /// What to be: a name server, a broker, or both.
    #[arg(long, value_enum, default_value_t = Role::All)]
    role: Role,
    /// Name servers of other processes with which the broker registers: HOST:PORT, several with
    /// `;` between them.
    #[arg(short = 'n', long, value_name = "ADDRS")]
    namesrv: Option<String>,
    /// A broker.conf of RocketMQ. A flag given beside it wins over what the file says.
    ///
    /// Its brokerIP1 is what clients are told to connect to. If that is no address of loopback,
    /// the broker listens on all addresses of this machine, unless --listen says otherwise; there
    /// is no access control.
    #[arg(short = 'c', long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Where the files are kept [default: ./millrace-data, ./millrace-names for a name server
    /// alone]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Where clients send and pull; port 0 takes any free one [default: 127.0.0.1:10911]
    #[arg(long, value_name = "ADDR")]
    listen: Option<SocketAddr>,
    /// Listen at the broker's own port alone, and not also two below it, where RocketMQ's clients
    /// before 4.5 send: for a broker whose neighbour has that port.
    #[arg(long)]
    no_vip_port: bool,
    /// Where clients ask which broker has a topic; port 0 takes any free one.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:9876")]
    namesrv_listen: SocketAddr,
    /// The address that clients are told to connect to, if it is not the one listened on: inside
    /// a container, or when listening on 0.0.0.0.
    #[arg(long, value_name = "IP")]
    advertise: Option<IpAddr>,
    /// What the answer to a producer waits for: the disk, or nothing. Async writes what was
    /// answered to the disk every 500 ms, so a power cut may lose that much [default: async]
    #[arg(long, value_enum)]
    flush: Option<Flush>,
    /// Where Prometheus asks for figures (`GET /metrics`); nowhere unless given. Port 0 takes any
    /// free one.
    #[arg(long, value_name = "ADDR")]
    metrics_listen: Option<SocketAddr>,
    /// Bytes of one file of the log; reserved whole [default: 1GiB, 16MiB for a name server alone]
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    segment_size: Option<u64>,
    /// The broker's name, part of every queue's identity. Change it when there are several
    /// [default: millrace]
    #[arg(long, value_name = "NAME")]
    broker_name: Option<String>,
    #[command(flatten)]
    keeping: Keeping,
    /// Go on without what is damaged or missing and cannot be replaced, after saying what that is.
    /// The whole log is read for that, and what cannot be read in it counts as lost.
    #[arg(long)]
    repair: bool,
    /// Tell where it listens in one line of JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Role {
    /// A name server alone.
    Namesrv,
    /// A broker alone; it needs --namesrv, or `namesrvAddr` in its file.
    Broker,
    /// Both.
    All,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Flush {
    Sync,
    Async,
}

/// The longest time between two flushes in async-flush mode, unless a file says otherwise.
const FLUSH_INTERVAL: Duration = Duration::from_millis(500);

/// The line that a program waits for.
#[derive(Serialize)]
struct Listening<'a> {
    event: &'static str,
    namesrv: Option<SocketAddr>,
    broker: Option<SocketAddr>,
    advertised: SocketAddr,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    registers_with: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    metrics: Option<SocketAddr>,
    name: &'a str,
    flush: &'static str,
    /// How many copies are on a disk before a producer is answered.
    copies_before_answer: u32,
    /// What a power cut can take of what was answered, milliseconds.
    loss_window_ms: u64,
    /// How the directory was left: `clean` if the last server ended in order.
    recovered: Found,
}

#[derive(Serialize)]
struct Found {
    clean: bool,
    end: u64,
    scanned_bytes: u64,
    damaged: usize,
    torn_bytes: u64,
    /// Whole records among them, which may have been answered, and where they are now.
    #[serde(skip_serializing_if = "Option::is_none")]
    torn: Option<Torn>,
    unfinished_records: usize,
}

#[derive(Serialize)]
struct Torn {
    bytes: u64,
    records: u64,
    copy: String,
    queues: Vec<TornQueue>,
}

#[derive(Serialize)]
struct TornQueue {
    topic: String,
    queue: u32,
    messages: u64,
    from: u64,
    to: u64,
}

impl RunServer {
    pub(crate) fn execute(&self) -> Result<Answer, Failure> {
        let signals = Signals::listen()?;
        let mut config = self.usual()?;
        if let Some(file) = &self.config {
            for warning in broker_conf::apply(file, &mut config)? {
                complain(&format!("warning: {}: {warning}\n", file.display()));
            }
        }
        self.overrule(&mut config);
        if let Some(addresses) = &self.namesrv {
            let all = broker_conf::parse_name_servers(addresses).map_err(argument)?;
            config.name_servers = broker_conf::others(&all, config.namesrv_listen);
        }
        if self.role == Role::Broker && config.name_servers.is_empty() {
            let message = "a broker alone needs a name server, or no client finds it";
            let hint = "name it with --namesrv HOST:PORT, or be one as well: --role all";
            return Err(argument(message).hint(hint));
        }
        let doubts = [keeping::doubt(&config.retention), unreachable_names(&config)];
        for doubt in doubts.into_iter().flatten() {
            complain(&format!("warning: {doubt}\n"));
        }
        raise_open_files();
        end_with_a_panic();
        let told = config.clone();
        let server = if self.repair { repair(config)? } else { start(config)? };
        self.announce(&server, &told);
        let mut signals = signals;
        one_thread()?.block_on(signals.requested());
        complain("stopping: answering what is pending; a second signal stops at once\n");
        server.stop()?;
        let summary = "stopped; everything is on disk".to_owned();
        Ok(Answer::line(Exit::Done, summary, json!(null)))
    }

    /// What holds where neither a file nor a flag says anything.
    fn usual(&self) -> Result<ServerConfig, Failure> {
        let (dir, segment_bytes) = match self.role {
            Role::Namesrv => ("./millrace-names", 16 << 20),
            Role::Broker | Role::All => ("./millrace-data", 1 << 30),
        };
        let is_alone = self.role == Role::Namesrv;
        if is_alone && (self.namesrv.is_some() || self.config.is_some()) {
            let message = "a name server alone registers nowhere and reads no broker's file";
            return Err(argument(message));
        }
        let mut config = ServerConfig {
            namesrv_listen: (self.role != Role::Broker).then_some(self.namesrv_listen),
            metrics_listen: self.metrics_listen,
            flush: FlushMode::Async { interval: FLUSH_INTERVAL },
            segment_bytes,
            ..ServerConfig::new(dir)
        };
        if is_alone {
            config.broker_listen = None;
        }
        Ok(config)
    }

    /// Sets what flags say, whatever a file said before.
    fn overrule(&self, config: &mut ServerConfig) {
        if let Some(dir) = &self.data_dir {
            config.dir = dir.clone();
        }
        if let (Some(given), Some(listen)) = (self.listen, &mut config.broker_listen) {
            *listen = given;
        }
        config.vip_port &= !self.no_vip_port;
        config.advertised = self.advertise.or(config.advertised);
        match (self.flush, config.flush) {
            (Some(Flush::Sync), _) => config.flush = FlushMode::Sync,
            (Some(Flush::Async), FlushMode::Sync) => {
                config.flush = FlushMode::Async { interval: FLUSH_INTERVAL };
            }
            (Some(Flush::Async), FlushMode::Async { .. }) | (None, _) => {}
        }
        if let Some(bytes) = self.segment_size {
            config.segment_bytes = bytes;
        }
        if let Some(name) = &self.broker_name {
            config.broker_name = name.clone();
        }
        self.keeping.overrule(&mut config.retention);
    }

    fn announce(&self, server: &Server, config: &ServerConfig) {
        let Addresses { namesrv, broker, advertised } = server.addresses();
        let recovered = server.recovered();
        if self.json {
            let line = Listening {
                event: "listening",
                namesrv,
                broker,
                advertised,
                registers_with: &config.name_servers,
                metrics: server.metrics_address(),
                name: &config.broker_name,
                flush: match config.flush {
                    FlushMode::Sync => "sync",
                    FlushMode::Async { .. } => "async",
                },
                copies_before_answer: u32::from(config.flush == FlushMode::Sync),
                loss_window_ms: match config.flush {
                    FlushMode::Sync => 0,
                    FlushMode::Async { interval } => interval.as_millis() as u64,
                },
                recovered: Found::new(recovered),
            };
            let line = serde_json::to_string(&line).expect("plain data becomes JSON");
            print(&format!("{line}\n"));
        } else {
            print(&told(config, server.addresses()));
            let what = if broker.is_some() { "log         " } else { "keys        " };
            print(&format!(
                "{what}{} in {}; {}\n",
                bytes(recovered.end.0),
                config.dir.display(),
                told_of_start(recovered),
            ));
            if broker.is_some() {
                print(&format!("flush       {}\n", promise(config.flush)));
            }
        }
        if let Some(at) = server.metrics_address().filter(|_| !self.json) {
            print(&format!("metrics     http://{at}/metrics\n"));
        }
        for line in findings(recovered) {
            complain(&format!("{line}\n"));
        }
    }
}

/// A broker of which a thread has panicked may answer nobody any more, and its ports may be closed
/// while the process stays. So it ends, as if it were killed, which loses nothing: whoever looks
/// after it starts it again. Only the threads of filters live through the panic of one.
fn end_with_a_panic() {
    let tell = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        tell(panic);
        let thread = std::thread::current();
        let thread = thread.name().unwrap_or_default();
        if !thread.starts_with("millrace-judge") && !thread.starts_with("millrace-attach") {
            complain(
                "the broker ends, because a part of it has panicked; the next start recovers\n",
            );
            process::exit(Exit::Failed as i32);
        }
    }));
}

/// Lets the process open as many files as it may at all. Systems start programs with room for
/// 1,024 for the sake of some that are older than the number; each connection takes one.
fn raise_open_files() {
    let limit = getrlimit(Resource::Nofile);
    if limit.current < limit.maximum {
        // If it stays as it is, the server takes fewer connections and says so.
        let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
    }
}

fn start(config: ServerConfig) -> Result<Server, StartError> {
    Server::start(Arc::new(RealDisk::new()), config)
}

/// Starts without what cannot be replaced, and says before what that is.
fn repair(config: ServerConfig) -> Result<Server, Failure> {
    let disk = RealDisk::new();
    let store = |error: OpenError| open_store(&error).caused_by(&error);
    if repair_format(&disk, &config.dir).map_err(store)? {
        let format = config.dir.join("format");
        complain(&format!("repair: {} was missing and is written again\n", format.display()));
    }
    let missing = missing_segments(&disk, &config.dir).map_err(store)?;
    if !missing.is_empty() {
        let losses = losses(&disk, &config.dir, &missing).map_err(store)?;
        complain(&told_of_losses(&missing, &losses));
        fill_missing(&disk, &config.dir, &missing).map_err(store)?;
    }
    if is_damaged(&disk, &config.dir).map_err(store)? {
        complain("repair: what is damaged or cannot be read counts as lost\n");
        forget_index(&disk, &config.dir).map_err(store)?;
    }
    match start(config.clone()) {
        Err(StartError::Damaged(reason)) => {
            complain(&format!("repair: {reason}; going on with what is left\n"));
            Ok(start(ServerConfig { lost_state: LostState::GoOn, ..config })?)
        }
        started => Ok(started?),
    }
}

/// Whether anything in the log is not what was written, or cannot be read.
fn is_damaged(disk: &RealDisk, dir: &Path) -> Result<bool, OpenError> {
    if !dir.join("commitlog").exists() {
        return Ok(false);
    }
    Ok(!inspect(disk, dir, &mut |_| {})?.damage.is_empty())
}

/// So many stretches of lost messages are listed.
const LOST_SHOWN: usize = 100;

/// What goes with files that are missing or cut short, as far as anything that is left tells.
fn told_of_losses(missing: &[MissingBytes], losses: &Losses) -> String {
    let mut lines = String::new();
    for MissingBytes { segment, from, to, is_cut } in missing {
        let what = if *is_cut { "was cut short" } else { "is missing" };
        lines += &format!(
            "repair: {} {what}; the messages at physical offsets {from} to {to} are lost\n",
            segment.display()
        );
    }
    for LostMessages { topic, queue, from, to, .. } in losses.messages.iter().take(LOST_SHOWN) {
        lines += &format!("repair: lost: {topic}/{queue} from {from} to {to}\n");
    }
    if let Some(more) = losses.messages.len().checked_sub(LOST_SHOWN).filter(|more| *more > 0) {
        lines += &format!("repair: lost: {} more\n", counted(more as u64, "stretch"));
    }
    let named: u64 = losses
        .messages
        .iter()
        .filter(|lost| !is_system_topic(&lost.topic))
        .map(|lost| lost.to.since(lost.from))
        .sum();
    lines += &match losses.counted {
        Some(MissingMessages::Exactly(all)) if named < all => format!(
            "repair: lost: {} in all; of which queues the others are, nothing tells\n",
            counted(all, "message")
        ),
        Some(MissingMessages::Exactly(all)) => {
            format!("repair: lost: {} in all\n", counted(all, "message"))
        }
        Some(MissingMessages::AtMost(all)) => {
            format!("repair: lost: at most {} in all\n", counted(all, "message"))
        }
        None => "repair: lost: how many messages in all, nothing tells\n".to_owned(),
    };
    lines
}

/// Where it listens, and whom it tells so.
fn told(config: &ServerConfig, addresses: Addresses) -> String {
    let Addresses { namesrv, broker, advertised } = addresses;
    let mut lines = String::new();
    if let Some(at) = namesrv {
        lines += &format!("name server {at}\n");
    }
    if let Some(at) = broker {
        let told = match advertised == at {
            true => String::new(),
            false => format!(", clients are told {advertised}"),
        };
        lines += &format!("broker      {at}{told}, name {}\n", config.broker_name);
    }
    if !config.name_servers.is_empty() {
        lines += &format!("registers   with {}\n", config.name_servers.join(", "));
    }
    lines
}

fn argument(message: impl Into<String>) -> Failure {
    Failure::new(Exit::Input, codes::ARGUMENT, message)
}

/// What a power cut can take, in one sentence.
fn promise(flush: FlushMode) -> String {
    match flush {
        FlushMode::Sync => {
            "sync: 1 copy is on disk before the answer; neither kill -9 nor a power \
                            cut loses an answered message"
                .to_owned()
        }
        FlushMode::Async { interval } => format!(
            "async: 0 copies are on disk before the answer; kill -9 loses nothing, but a power cut \
             can lose what was answered in the last {} (--flush sync waits for the disk)",
            span(interval)
        ),
    }
}

/// Whole seconds as such, anything else in milliseconds.
fn span(time: Duration) -> String {
    match time.as_millis() {
        ms if ms >= 1_000 && ms % 1_000 == 0 => format!("{} s", ms / 1_000),
        ms => format!("{ms} ms"),
    }
}

/// Whether clients elsewhere are to use the broker and cannot ask where it is.
fn unreachable_names(config: &ServerConfig) -> Option<String> {
    let names = config.namesrv_listen.filter(|names| names.ip().is_loopback())?;
    let told = config.advertised.or(config.broker_listen.map(|listen| listen.ip()))?;
    if told.is_loopback() || told.is_unspecified() || !config.name_servers.is_empty() {
        return None;
    }
    Some(format!(
        "clients on other machines are told {told}, but do not reach the name server, which \
         listens on {names}: --namesrv-listen says where"
    ))
}

impl Found {
    fn new(recovered: &Recovered) -> Self {
        Self {
            clean: recovered.clean,
            end: recovered.end.0,
            scanned_bytes: recovered.scanned_bytes,
            damaged: recovered.damage.len(),
            torn_bytes: recovered.torn.as_ref().map_or(0, |torn| torn.bytes),
            torn: recovered.torn.as_ref().map(Torn::new),
            unfinished_records: recovered.unfinished_records,
        }
    }
}

impl Torn {
    fn new(torn: &CutOff) -> Self {
        let queues = torn.messages.iter().map(|each| TornQueue {
            topic: each.topic.to_string(),
            queue: each.queue.0,
            messages: each.count,
            from: each.from.0,
            to: each.to.0,
        });
        Self {
            bytes: torn.bytes,
            records: torn.records,
            copy: torn.copy.display().to_string(),
            queues: queues.collect(),
        }
    }
}

fn told_of_start(recovered: &Recovered) -> String {
    if recovered.end.0 == 0 {
        "new".to_owned()
    } else if recovered.clean {
        "closed properly last time".to_owned()
    } else {
        let scanned = bytes(recovered.scanned_bytes);
        format!("not closed properly last time, {scanned} verified again")
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;
    use std::thread;

    use super::*;

    /// What the other test has another process do.
    #[test]
    #[ignore = "ends its process; a_panic_ends_the_broker_with_an_error runs it"]
    fn panicking() {
        end_with_a_panic();
        let named = |name: &str| {
            let thread = thread::Builder::new().name(name.into()).spawn(|| panic!("planted"));
            assert!(thread.unwrap().join().is_err());
        };
        named("millrace-judge-0");
        complain("lived through it\n");
        named("millrace-reactor");
        complain("lingers\n");
    }

    #[test]
    fn a_panic_ends_the_broker_with_an_error() {
        let ran = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "commands::server::tests::panicking", "--ignored", "--nocapture"])
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&ran.stderr).into_owned();
        assert_eq!(ran.status.code(), Some(Exit::Failed as i32), "{said}");
        assert!(said.contains("lived through it") && said.contains("has panicked; the next start"));
        assert!(!said.contains("lingers"), "{said}");
    }
}
