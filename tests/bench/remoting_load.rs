//! Drives brokers that speak RocketMQ's remoting protocol with sends, closed loop, and prints what
//! each of them does per second of its own CPU time.
//!
//! ```text
//! remoting-load NAME=PID,ADDRESS... [--rounds 5] [--seconds 5] [--warm-up 12] [--size 1024]
//! ```
//!
//! The targets take turns, round by round, on the same machine and disk. CPU time is read from
//! `/proc/PID/stat` before and after each round. One thread generates the load; its own CPU share is
//! printed, because a generator at its limit measures itself.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

struct Target {
    name: String,
    pid: u32,
    address: SocketAddr,
}

struct Options {
    targets: Vec<Target>,
    rounds: usize,
    seconds: u64,
    warm_up: u64,
    size: usize,
}

/// One way of sending: connections times requests in flight on each.
const SHAPES: [(usize, usize); 2] = [(64, 1), (16, 16)];

fn main() {
    let options = options();
    println!(
        "sends of {} B, JSON headers, closed loop, {} rounds of {} s in turn after {} s each",
        options.size, options.rounds, options.seconds, options.warm_up
    );
    for (connections, window) in SHAPES {
        let mut rounds: Vec<Vec<Round>> = options.targets.iter().map(|_| Vec::new()).collect();
        for target in &options.targets {
            load(target, connections, window, options.size, options.warm_up);
        }
        for _ in 0..options.rounds {
            for (target, rounds) in options.targets.iter().zip(&mut rounds) {
                warm_memory();
                rounds.push(load(target, connections, window, options.size, options.seconds));
            }
        }
        println!("\n{connections} connections x {window} in flight");
        println!(
            "{:<10} {:>10} {:>32} {:>9} {:>9} {:>9} {:>10} {:>7}",
            "target",
            "msg/s",
            "msg/broker-CPU-s (min..max)",
            "p50 ms",
            "p99 ms",
            "p99.9 ms",
            "generator",
            "others"
        );
        let mut medians = Vec::new();
        for (target, rounds) in options.targets.iter().zip(&rounds) {
            medians.push(report(&target.name, rounds));
        }
        if let [base, ours, ..] = medians[..] {
            println!(
                "ratio {} / {}: {:.1}x per broker CPU second, p99.9 {:.3}x",
                options.targets[1].name,
                options.targets[0].name,
                ours.0 / base.0,
                ours.1 / base.1
            );
        }
    }
}

struct Round {
    rate: f64,
    per_cpu: f64,
    p50: f64,
    p99: f64,
    p999: f64,
    generator: f64,
    others: f64,
}

fn report(name: &str, rounds: &[Round]) -> (f64, f64) {
    let median = |of: fn(&Round) -> f64| {
        let mut values: Vec<f64> = rounds.iter().map(of).collect();
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    };
    let per_cpu = rounds.iter().map(|round| round.per_cpu);
    let (min, max) = per_cpu.fold((f64::MAX, 0f64), |(min, max), v| (min.min(v), max.max(v)));
    println!(
        "{name:<10} {:>10.0} {:>12.0} ({min:>8.0}..{max:>8.0}) {:>9.3} {:>9.3} {:>9.3} {:>9.0}% {:>6.0}%",
        median(|r| r.rate),
        median(|r| r.per_cpu),
        median(|r| r.p50),
        median(|r| r.p99),
        median(|r| r.p999),
        median(|r| r.generator) * 100.0,
        median(|r| r.others) * 100.0,
    );
    (median(|r| r.per_cpu), median(|r| r.p999))
}

struct Connection {
    stream: TcpStream,
    input: Vec<u8>,
    output: Vec<u8>,
    /// When each request in flight was sent; answers come in order of the opaque.
    in_flight: VecDeque<(u32, Instant)>,
}

const FIRST_OPAQUE: u32 = 1_000_000_000;

/// Touches and frees memory. A virtual machine that gives idle memory back to its host pays for a
/// page when it is used again; whichever target came first would pay it for both.
fn warm_memory() {
    let mut memory = vec![0u8; 5 << 29];
    memory.iter_mut().step_by(4096).for_each(|byte| *byte = 1);
    std::hint::black_box(&memory);
}

fn load(target: &Target, connections: usize, window: usize, size: usize, seconds: u64) -> Round {
    let mut poll = Poll::new().expect("epoll");
    let mut events = Events::with_capacity(1024);
    let template = frame(size);
    let opaque_at = find(&template, b"1000000000").expect("the opaque");
    let mut opaque = FIRST_OPAQUE;
    let mut all: Vec<Connection> = (0..connections)
        .map(|n| {
            let mut stream = TcpStream::connect(target.address).expect("the broker listens");
            let interest = Interest::READABLE | Interest::WRITABLE;
            poll.registry().register(&mut stream, Token(n), interest).expect("registered");
            let _ = stream.set_nodelay(true);
            Connection { stream, input: Vec::new(), output: Vec::new(), in_flight: VecDeque::new() }
        })
        .collect();
    let before = (cpu(target.pid), cpu(std::process::id()), busy());
    let start = Instant::now();
    let end = start + Duration::from_secs(seconds);
    let mut latencies: Vec<u32> = Vec::with_capacity(4_000_000);
    let mut sent_first = vec![false; connections];
    let mut scratch = vec![0; 256 << 10];
    while Instant::now() < end {
        poll.poll(&mut events, Some(Duration::from_millis(200))).expect("polled");
        for event in &events {
            let n = event.token().0;
            let connection = &mut all[n];
            if event.is_writable() && !sent_first[n] {
                sent_first[n] = true;
                for _ in 0..window {
                    push(connection, &template, opaque_at, &mut opaque);
                }
            }
            if event.is_readable() {
                loop {
                    match connection.stream.read(&mut scratch) {
                        Ok(0) => panic!("{} closed the connection", target.name),
                        Ok(n) => connection.input.extend_from_slice(&scratch[..n]),
                        Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                        Err(error) => panic!("{}: {error}", target.name),
                    }
                }
                let answered = take_answers(connection, &mut latencies);
                for _ in 0..answered {
                    push(connection, &template, opaque_at, &mut opaque);
                }
            }
            flush(connection, &target.name);
        }
    }
    let elapsed = start.elapsed().as_secs_f64();
    let after = (cpu(target.pid), cpu(std::process::id()), busy());
    let (broker, own, busy) = (after.0 - before.0, after.1 - before.1, after.2 - before.2);
    let messages = latencies.len() as f64;
    latencies.sort_unstable();
    let at = |q: f64| {
        let index = ((latencies.len() as f64 * q) as usize).min(latencies.len().saturating_sub(1));
        latencies.get(index).copied().unwrap_or(0) as f64 / 1000.0
    };
    Round {
        rate: messages / elapsed,
        per_cpu: messages / broker.max(0.01),
        p50: at(0.5),
        p99: at(0.99),
        p999: at(0.999),
        generator: own / elapsed,
        others: (busy - broker - own).max(0.0) / elapsed,
    }
}

fn push(connection: &mut Connection, template: &[u8], opaque_at: usize, opaque: &mut u32) {
    let start = connection.output.len();
    connection.output.extend_from_slice(template);
    let digits = opaque.to_string();
    connection.output[start + opaque_at..][..10].copy_from_slice(digits.as_bytes());
    connection.in_flight.push_back((*opaque, Instant::now()));
    *opaque += 1;
    if *opaque == 2_000_000_000 {
        *opaque = FIRST_OPAQUE;
    }
}

fn flush(connection: &mut Connection, name: &str) {
    let mut written = 0;
    while written < connection.output.len() {
        match connection.stream.write(&connection.output[written..]) {
            Ok(n) => written += n,
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            Err(error) => panic!("{name}: {error}"),
        }
    }
    connection.output.drain(..written);
}

/// Takes whole answers out of the input, checks that each is a success, and notes its latency.
fn take_answers(connection: &mut Connection, latencies: &mut Vec<u32>) -> usize {
    let mut at = 0;
    let mut answered = 0;
    let input = &connection.input;
    while let Some(len) = input.get(at..at + 4) {
        let len = u32::from_be_bytes([len[0], len[1], len[2], len[3]]) as usize;
        let Some(frame) = input.get(at + 4..at + 4 + len) else { break };
        let header_len = u32::from_be_bytes([0, frame[1], frame[2], frame[3]]) as usize;
        let header = &frame[4..4 + header_len];
        let code = number(header, b"\"code\":");
        // Flow control: the request is made again and does not count.
        let refused = code == 2;
        if code != 0 && !refused {
            panic!("the broker answered {}", String::from_utf8_lossy(header));
        }
        let opaque = number(header, b"\"opaque\":");
        let position = connection.in_flight.iter().position(|(known, _)| *known == opaque);
        let (_, sent) = position
            .and_then(|position| connection.in_flight.remove(position))
            .expect("an answer to a request");
        if !refused {
            latencies.push(u32::try_from(sent.elapsed().as_micros()).unwrap_or(u32::MAX));
        }
        answered += 1;
        at += 4 + len;
    }
    connection.input.drain(..at);
    answered
}

fn number(header: &[u8], key: &[u8]) -> u32 {
    let start = find(header, key).expect("the key") + key.len();
    let digits = header[start..].iter().take_while(|byte| byte.is_ascii_digit());
    digits.fold(0, |n, digit| n * 10 + u32::from(digit - b'0'))
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}

/// One SEND_MESSAGE_V2 frame with a JSON header, as Java clients send it.
fn frame(size: usize) -> Vec<u8> {
    let header = concat!(
        r#"{"code":310,"extFields":{"a":"bench","b":"BenchTopic","c":"TBW102","d":"4","e":"0","#,
        r#""f":"0","g":"1700000000000","h":"0","i":"WAIT\u0001true\u0002","j":"0","k":"false","#,
        r#""m":"false"},"flag":0,"language":"JAVA","opaque":1000000000,"#,
        r#""serializeTypeCurrentRPC":"JSON","version":475}"#
    );
    let body: Vec<u8> = (0..size).map(|n| b'a' + (n % 26) as u8).collect();
    let mut frame = Vec::new();
    frame.extend_from_slice(&((4 + header.len() + body.len()) as u32).to_be_bytes());
    frame.extend_from_slice(&(header.len() as u32).to_be_bytes());
    frame.extend_from_slice(header.as_bytes());
    frame.extend_from_slice(&body);
    frame
}

/// CPU seconds of a process and its threads, user and system.
fn cpu(pid: u32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("the process runs");
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or("").split_whitespace().collect();
    let ticks = |n: usize| fields.get(n).and_then(|field| field.parse::<f64>().ok()).unwrap_or(0.0);
    (ticks(11) + ticks(12)) / 100.0
}

/// CPU seconds that the whole machine has spent on anything.
fn busy() -> f64 {
    let stat = std::fs::read_to_string("/proc/stat").expect("Linux");
    let line = stat.lines().next().unwrap_or("");
    let ticks: Vec<f64> = line.split_whitespace().skip(1).filter_map(|n| n.parse().ok()).collect();
    let idle = ticks.get(3).unwrap_or(&0.0) + ticks.get(4).unwrap_or(&0.0);
    (ticks.iter().take(8).sum::<f64>() - idle) / 100.0
}

fn options() -> Options {
    let mut options =
        Options { targets: Vec::new(), rounds: 5, seconds: 5, warm_up: 12, size: 1024 };
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut value = || {
            let value = arguments.next().and_then(|value| value.parse::<u64>().ok());
            value.unwrap_or_else(|| panic!("{argument} needs a number"))
        };
        match argument.as_str() {
            "--rounds" => options.rounds = value() as usize,
            "--seconds" => options.seconds = value(),
            "--warm-up" => options.warm_up = value(),
            "--size" => options.size = value() as usize,
            target => {
                let (name, rest) = target.split_once('=').expect("NAME=PID,ADDRESS");
                let (pid, address) = rest.split_once(',').expect("NAME=PID,ADDRESS");
                options.targets.push(Target {
                    name: name.into(),
                    pid: pid.parse().expect("a process id"),
                    address: address.parse().expect("an address"),
                });
            }
        }
    }
    assert!(!options.targets.is_empty(), "name at least one target as NAME=PID,ADDRESS");
    options
}
