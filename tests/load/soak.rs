//! A server among clients that come, go and misbehave: does its memory stay flat?
//!
//! Started by `tests/soak`. Two hundred threads hold one connection each and do something else
//! with every new one: send garbage, half frames and huge lengths, read slowly, vanish, or behave.
//! The server's anonymous memory is read every half second. It has to be bounded, and in a long run
//! flat; the server has to answer those who behave all the time, to forget all connections
//! afterwards, and to stop in order.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

const CLIENTS: u64 = 200;
const SAMPLE_EVERY: Duration = Duration::from_millis(500);
/// The most memory at any time: 32 MiB of buffers that are kept for reuse, about as much for what
/// 200 clients have sent and not finished, and the index of the newest messages.
const MEMORY_KIB_MAX: i64 = 128 << 10;
/// Whether memory stays flat shows in runs of so many minutes; before, buffers fill up.
const FLAT_AFTER_MINUTES: f64 = 5.0;
/// Between the middle and the last third of such a run, memory may grow by so much.
const GROWTH_KIB_MAX: i64 = 8 << 10;
/// The slope over the last two thirds.
const SLOPE_KIB_PER_MINUTE_MAX: f64 = 512.0;
/// How long a client that behaves may have to wait: far longer than a busy machine keeps it
/// waiting, so only one that is never served fails.
const PATIENCE: Duration = Duration::from_secs(60);

/// What became of the connections.
#[derive(Default)]
struct Tally {
    connections: AtomicU64,
    answered: AtomicU64,
    /// Clients that behaved and were not served.
    failed: AtomicU64,
    over: AtomicBool,
}

impl Tally {
    /// Counts what somebody who behaves did not get, and tells of the first few.
    fn fail(&self, what: &str, error: &std::io::Error) {
        if self.failed.fetch_add(1, Ordering::Relaxed) < 10 {
            eprintln!("soak: {what} is missing: {error}");
        }
    }
}

fn main() -> ExitCode {
    let minutes: f64 = match std::env::args().nth(1).map(|text| text.parse()) {
        None => 15.0,
        Some(Ok(minutes)) => minutes,
        Some(Err(error)) => {
            eprintln!("soak: the number of minutes is none: {error}");
            return ExitCode::from(2);
        }
    };
    let server = match Server::start() {
        Ok(server) => server,
        Err(error) => {
            eprintln!("soak: the server does not start: {error}");
            return ExitCode::from(3);
        }
    };
    let seed = std::env::var("MILLRACE_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1);
    println!("soak: {CLIENTS} clients for {minutes} minutes, seed {seed}");
    let tally = Arc::new(Tally::default());
    let clients: Vec<_> = (0..CLIENTS)
        .map(|n| {
            let (tally, at) = (Arc::clone(&tally), server.broker);
            let mut odds = Odds::new(seed * 1000 + n);
            thread::spawn(move || {
                while !tally.over.load(Ordering::Relaxed) {
                    client(at, &mut odds, &tally);
                }
            })
        })
        .collect();
    let memory = watch(&server, Duration::from_secs_f64(minutes * 60.0));
    tally.over.store(true, Ordering::Relaxed);
    for client in clients {
        if client.join().is_err() {
            eprintln!("soak: a client has panicked");
            return ExitCode::from(1);
        }
    }
    if judge(&memory, minutes, &tally, server) { ExitCode::SUCCESS } else { ExitCode::from(4) }
}

/// Samples the server's memory, KiB.
fn watch(server: &Server, time: Duration) -> Vec<i64> {
    let (start, mut memory, mut told) = (Instant::now(), Vec::new(), 0);
    while start.elapsed() < time {
        thread::sleep(SAMPLE_EVERY);
        match server.anonymous_kib() {
            Some(kib) => memory.push(kib),
            None => return memory,
        }
        let minute = start.elapsed().as_secs() / 60;
        if minute > told {
            told = minute;
            println!("soak: minute {minute}: {} KiB", memory[memory.len() - 1]);
        }
    }
    memory
}

fn judge(memory: &[i64], minutes: f64, tally: &Tally, mut server: Server) -> bool {
    let mut good = true;
    let mut check = |holds: bool, what: String| {
        println!("soak: {}: {what}", if holds { "ok" } else { "FAILED" });
        good &= holds;
    };
    let load = |count: &AtomicU64| count.load(Ordering::Relaxed);
    check(memory.len() > 6, format!("{} samples of RssAnon", memory.len()));
    if memory.len() < 6 {
        return false;
    }
    let most = memory.iter().copied().max().unwrap_or(0);
    check(most <= MEMORY_KIB_MAX, format!("RssAnon {most} KiB at most"));
    let third = memory.len() / 3;
    let (middle, last) = (median(&memory[third..2 * third]), median(&memory[2 * third..]));
    let growth = last - middle;
    let short = minutes < FLAT_AFTER_MINUTES;
    check(
        short || growth <= GROWTH_KIB_MAX,
        format!("RssAnon {middle} KiB in the middle third, {last} KiB in the last: {growth} KiB"),
    );
    let slope = slope(&memory[third..]) * 60.0 / SAMPLE_EVERY.as_secs_f64();
    check(
        short || slope <= SLOPE_KIB_PER_MINUTE_MAX,
        format!("slope {slope:.0} KiB a minute over the last two thirds"),
    );
    let (all, answered, failed) =
        (load(&tally.connections), load(&tally.answered), load(&tally.failed));
    check(
        failed == 0 && answered > 0,
        format!(
            "{all} connections; of {answered} answers to those who behave {failed} are missing"
        ),
    );
    let forgotten = server.becomes("millrace_connections 0");
    check(forgotten, "no connection is left".into());
    check(server.stops(), "the server stops in order".into());
    good
}

fn median(part: &[i64]) -> i64 {
    let mut sorted = part.to_vec();
    sorted.sort_unstable();
    sorted[sorted.len() / 2]
}

/// Least squares, per sample.
fn slope(values: &[i64]) -> f64 {
    let count = values.len() as f64;
    let mean_at = (count - 1.0) / 2.0;
    let mean = values.iter().sum::<i64>() as f64 / count;
    let (mut above, mut below) = (0.0, 0.0);
    for (at, value) in values.iter().enumerate() {
        let distance = at as f64 - mean_at;
        above += distance * (*value as f64 - mean);
        below += distance * distance;
    }
    above / below
}

/// One connection, used well or badly.
fn client(at: SocketAddr, odds: &mut Odds, tally: &Tally) {
    tally.connections.fetch_add(1, Ordering::Relaxed);
    let mut stream = match TcpStream::connect_timeout(&at, PATIENCE) {
        Ok(stream) => stream,
        Err(error) => return tally.fail("a connection", &error),
    };
    // Whoever misbehaves may be cut off at any moment, so what comes of it is nobody's business.
    let _ = match odds.below(10) {
        0 => garbage(&mut stream, odds),
        1 => half_a_frame(&mut stream, odds),
        2 => stream.write_all(&[0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 9]).map(|()| rest(odds, 200)),
        3 => a_large_frame_that_never_comes(&mut stream, odds),
        4 => reads_slowly(&mut stream, odds),
        5 => drips(&mut stream, odds),
        6 => heartbeat(&mut stream, odds),
        7 => held_pull(&mut stream, odds),
        8 => Ok(()),
        _ => {
            if let Err(error) = behaves(&mut stream, odds) {
                tally.fail("an answer", &error);
            }
            tally.answered.fetch_add(1, Ordering::Relaxed);
            Ok(())
        }
    };
    rest(odds, 100);
}

type Done = std::io::Result<()>;

fn garbage(stream: &mut TcpStream, odds: &mut Odds) -> Done {
    let bytes: Vec<u8> = (0..1 + odds.below(4096)).map(|_| odds.below(256) as u8).collect();
    stream.write_all(&bytes)?;
    rest(odds, 200);
    Ok(())
}

fn half_a_frame(stream: &mut TcpStream, odds: &mut Odds) -> Done {
    let whole = request(310, &send_fields(odds), &vec![b'x'; odds.below(200_000) as usize]);
    let part = odds.below(whole.len() as u64) as usize;
    stream.write_all(&whole[..part])?;
    rest(odds, 3_000);
    Ok(())
}

fn a_large_frame_that_never_comes(stream: &mut TcpStream, odds: &mut Odds) -> Done {
    let mut head = (15u32 << 20).to_be_bytes().to_vec();
    head.extend_from_slice(&[0, 0, 0, 100]);
    head.resize(8 + odds.below(256 << 10) as usize, b' ');
    stream.write_all(&head)?;
    rest(odds, 3_000);
    Ok(())
}

/// Asks for a lot and takes a little of it.
fn reads_slowly(stream: &mut TcpStream, odds: &mut Odds) -> Done {
    stream.set_write_timeout(Some(Duration::from_secs(1)))?;
    let mut all = Vec::new();
    for _ in 0..200 {
        all.extend(request(105, r#""topic":"soak""#, b""));
        all.extend(request(11, &pull_fields(0, 2, 0), b""));
    }
    stream.write_all(&all)?;
    stream.set_read_timeout(Some(Duration::from_millis(500)))?;
    let mut some = [0; 64];
    for _ in 0..odds.below(20) {
        stream.read_exact(&mut some)?;
        rest(odds, 200);
    }
    Ok(())
}

/// A byte now and then.
fn drips(stream: &mut TcpStream, odds: &mut Odds) -> Done {
    for byte in request(105, r#""topic":"soak""#, b"").iter().take(odds.below(40) as usize) {
        stream.write_all(&[*byte])?;
        rest(odds, 100);
    }
    Ok(())
}

/// A consumer that comes and vanishes without a word.
fn heartbeat(stream: &mut TcpStream, odds: &mut Odds) -> Done {
    let (client, group) = (odds.below(1_000), odds.below(20));
    let body = format!(
        r#"{{"clientID":"c{client}","producerDataSet":[{{"groupName":"p{group}"}}],"consumerDataSet":[{{"groupName":"g{group}","messageModel":"CLUSTERING","subscriptionDataSet":[{{"topic":"soak","subString":"*","subVersion":1}}]}}]}}"#
    );
    stream.write_all(&request(34, "", body.as_bytes()))?;
    rest(odds, 1_000);
    Ok(())
}

/// A pull that waits for a message while its client vanishes.
fn held_pull(stream: &mut TcpStream, odds: &mut Odds) -> Done {
    for _ in 0..odds.below(20) {
        stream.write_all(&request(11, &pull_fields(1 << 40, 6, 15_000), b""))?;
    }
    rest(odds, 2_000);
    Ok(())
}

/// Sends a message and asks for a route, and gets both answers.
fn behaves(stream: &mut TcpStream, odds: &mut Odds) -> Done {
    stream.set_read_timeout(Some(PATIENCE))?;
    for asked in [
        request(310, &send_fields(odds), b"a message that is stored"),
        request(105, r#""topic":"soak""#, b""),
    ] {
        stream.write_all(&asked)?;
        let header = answer(stream)?;
        if !header.contains("\"code\":0,") {
            eprintln!("soak: a client that behaves was answered {header}");
            return Err(std::io::Error::other("refused"));
        }
    }
    Ok(())
}

/// The header of the next frame.
fn answer(stream: &mut TcpStream) -> std::io::Result<String> {
    let mut word = [0; 4];
    stream.read_exact(&mut word)?;
    let mut frame = vec![0; u32::from_be_bytes(word) as usize];
    stream.read_exact(&mut frame)?;
    let len = u32::from_be_bytes([0, frame[1], frame[2], frame[3]]) as usize;
    Ok(String::from_utf8_lossy(&frame[4..4 + len]).into_owned())
}

fn request(code: u32, fields: &str, body: &[u8]) -> Vec<u8> {
    let header = format!(
        r#"{{"code":{code},"extFields":{{{fields}}},"flag":0,"language":"JAVA","opaque":7,"version":493}}"#
    );
    let mut frame = ((4 + header.len() + body.len()) as u32).to_be_bytes().to_vec();
    frame.extend_from_slice(&(header.len() as u32).to_be_bytes());
    frame.extend_from_slice(header.as_bytes());
    frame.extend_from_slice(body);
    frame
}

fn send_fields(odds: &mut Odds) -> String {
    let queue = odds.below(4);
    format!(
        r#""a":"p","b":"soak","c":"TBW102","d":"4","e":"{queue}","f":"0","g":"1700000000000","h":"0","i":"","j":"0","k":"false","m":"false""#
    )
}

fn pull_fields(offset: u64, flag: u32, suspend_ms: u32) -> String {
    format!(
        r#""consumerGroup":"g0","topic":"soak","queueId":"0","queueOffset":"{offset}","maxMsgNums":"32","sysFlag":"{flag}","commitOffset":"0","suspendTimeoutMillis":"{suspend_ms}","subscription":"*","subVersion":"0""#
    )
}

fn rest(odds: &mut Odds, ms_max: u64) {
    thread::sleep(Duration::from_millis(odds.below(ms_max)));
}

/// Numbers that look random and come again with their seed (xorshift).
struct Odds(u64);

impl Odds {
    fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end.max(1)
    }
}

/// The program under test, in a directory of its own.
struct Server {
    child: Child,
    dir: PathBuf,
    broker: SocketAddr,
    metrics: SocketAddr,
}

impl Server {
    fn start() -> std::io::Result<Self> {
        let program = std::env::var_os("MILLRACE").unwrap_or_else(|| "millrace".into());
        let dir = std::env::temp_dir().join(format!("millrace-soak-{}", std::process::id()));
        std::fs::create_dir_all(&dir)?;
        let mut child = Command::new(program)
            .args(["server", "--json", "--segment-size", "16MiB", "--data-dir"])
            .arg(dir.join("data"))
            .args(["--listen", "127.0.0.1:0", "--namesrv-listen", "127.0.0.1:0"])
            .args(["--metrics-listen", "127.0.0.1:0"])
            .stdout(Stdio::piped())
            .stderr(std::fs::File::create(dir.join("log"))?)
            .spawn()?;
        let mut line = String::new();
        let out = child.stdout.take().expect("it is piped");
        std::io::BufRead::read_line(&mut std::io::BufReader::new(out), &mut line)?;
        let address = |name: &str| {
            let after = line.split(&format!("\"{name}\":\"")).nth(1);
            let text = after.and_then(|rest| rest.split('"').next());
            let parsed = text.and_then(|text| text.parse().ok());
            parsed.ok_or_else(|| std::io::Error::other(format!("it says {line:?}")))
        };
        let (broker, metrics) = (address("broker")?, address("metrics")?);
        Ok(Self { child, dir, broker, metrics })
    }

    /// Memory that no file stands behind; `None` once the process is gone.
    fn anonymous_kib(&self) -> Option<i64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).ok()?;
        let line = status.lines().find(|line| line.starts_with("RssAnon:"))?;
        line.split_whitespace().nth(1)?.parse().ok()
    }

    /// Whether its figures come to have a line, within a minute.
    fn becomes(&self, line: &str) -> bool {
        (0..60).any(|_| {
            let figures = self.figures().unwrap_or_default();
            let holds = figures.lines().any(|known| known == line);
            if !holds {
                thread::sleep(Duration::from_secs(1));
            }
            holds
        })
    }

    fn figures(&self) -> std::io::Result<String> {
        let mut stream = TcpStream::connect(self.metrics)?;
        stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: soak\r\n\r\n")?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        Ok(text)
    }

    /// Ends it with SIGTERM; whether it ended with success.
    fn stops(&mut self) -> bool {
        let asked = Command::new("kill").arg("-TERM").arg(self.child.id().to_string()).status();
        asked.is_ok_and(|asked| asked.success())
            && self.child.wait().is_ok_and(|ended| ended.success())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Fine if it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if let Err(error) = std::fs::remove_dir_all(&self.dir) {
            eprintln!("soak: {} is left: {error}", self.dir.display());
        }
    }
}
