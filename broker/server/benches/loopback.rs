//! A whole server on a real disk, loaded over loopback by one thread of the same process.
//!
//! Prints, for several shapes of load, messages per second and per second of CPU time of the
//! server's own threads, which is the figure that survives a busy machine. The load is a closed
//! loop: it says what a request costs, not how long one waits. The data lies in `TMPDIR`.
//!
//! The *bare* rows are what no broker gets below. They read as many bytes over as many connections
//! and look for the ends of frames. An *echo* answers each with a fixed one; *writes* first writes
//! what a burst brought to a file whose blocks are reserved, in one piece, as another thread syncs
//! it now and then; *gives* answers with as many bytes as a pull gets, from a piece of memory that
//! is larger than the caches.
//!
//! ```text
//! cargo bench -p millrace-server --bench loopback -- [SECONDS] [PART OF A NAME]
//! ```

use std::collections::BTreeMap;
use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use millrace_disk::{Disk, RealDisk};
use millrace_protocol::{
    Answer, BatchItem, Call, CallMode, Frame, HeaderKind, Limits, MessageIds, PullMessage,
    SendAnswer, SendMessage, SendStatus, Split, pull_flag, push_batch_item,
};
use millrace_server::{Server, ServerConfig};
use millrace_store::FlushMode;
use millrace_types::{QueueId, QueueOffset};
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

const BODY_BYTES: usize = 1024;

/// One kind of load.
struct Shape {
    name: &'static str,
    flush: FlushMode,
    kind: HeaderKind,
    connections: usize,
    window: usize,
    what: What,
    /// What serves instead of a broker.
    bare: Option<Bare>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Bare {
    Echoes,
    Writes,
    Gives,
}

#[derive(Clone, Copy)]
enum What {
    Send,
    Batch(usize),
    Pull,
}

fn main() {
    let mut arguments = std::env::args().skip(1).filter(|argument| !argument.starts_with("--"));
    let seconds = arguments.next().and_then(|text| text.parse().ok()).unwrap_or(3);
    let wanted = arguments.next().unwrap_or_default();
    let dir = std::env::temp_dir();
    let each = Duration::from_secs(seconds);
    let fast = FlushMode::Async { interval: Duration::from_millis(500) };
    let send = |name, connections, window| Shape {
        name,
        flush: fast,
        kind: HeaderKind::Json,
        connections,
        window,
        what: What::Send,
        bare: None,
    };
    let shapes = [
        send("send 16 x 16", 16, 16),
        Shape { kind: HeaderKind::Binary, ..send("send 16 x 16, binary", 16, 16) },
        Shape { bare: Some(Bare::Echoes), ..send("bare echo 16 x 16", 16, 16) },
        Shape { bare: Some(Bare::Writes), ..send("bare writes 16 x 16", 16, 16) },
        send("send 64 x 1", 64, 1),
        Shape { bare: Some(Bare::Echoes), ..send("bare echo 64 x 1", 64, 1) },
        send("send 1 x 1", 1, 1),
        Shape { what: What::Batch(64), ..send("batches of 64, 4 x 1", 4, 1) },
        Shape { what: What::Batch(64), ..send("batches of 64, 4 x 4", 4, 4) },
        Shape {
            what: What::Batch(64),
            bare: Some(Bare::Writes),
            ..send("bare writes 4 x 1 of 64", 4, 1)
        },
        Shape { what: What::Pull, ..send("pulls of 32, 8 x 1", 8, 1) },
        Shape { what: What::Pull, bare: Some(Bare::Gives), ..send("bare gives 8 x 1 of 32", 8, 1) },
        Shape { flush: FlushMode::Sync, ..send("send 16 x 16, sync", 16, 16) },
    ];
    println!("messages of {BODY_BYTES} B, {seconds} s each, in {}", dir.display());
    println!(
        "{:<22} {:>10} {:>12} {:>11} {:>11} {:>8} {:>8}",
        "", "msg/s", "msg/cpu-s", "user/msg", "system/msg", "reactor", "flush"
    );
    for shape in shapes.iter().filter(|shape| shape.name.contains(&wanted)) {
        run(shape, each, &dir);
    }
}

fn run(shape: &Shape, each: Duration, dir: &Path) {
    let dir = dir.join(format!("millrace-loopback-{}", std::process::id()));
    let anywhere = SocketAddr::from(([127, 0, 0, 1], 0));
    let config = ServerConfig {
        namesrv_listen: None,
        broker_listen: Some(anywhere),
        flush: shape.flush,
        ..ServerConfig::new(&dir)
    };
    let mut echo = None;
    let (server, address) = if let Some(kind) = shape.bare {
        let bound = TcpListener::bind(anywhere).expect("a port");
        let address = bound.local_addr().expect("an address");
        // It goes by the reactor's name, so that its time is found.
        let named = thread::Builder::new().name("millrace-reactor".into());
        let stop = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&stop);
        fs::create_dir_all(&dir).expect("a directory");
        let log = dir.join("bare");
        let thread = named.spawn(move || serve_bare(bound, kind, &log, &told)).expect("a thread");
        echo = Some((thread, stop));
        (None, address)
    } else {
        let server = Server::start(Arc::new(RealDisk::new()), config).expect("a server");
        let address = server.addresses().broker.unwrap();
        (Some(server), address)
    };
    if let (What::Pull, None) = (shape.what, shape.bare) {
        // Something to pull, written as fast as it goes.
        load(address, &Shape { what: What::Batch(64), connections: 1, ..*shape }, 40_000);
    }
    load_for(address, shape, each / 4);
    warm_memory();
    let (before, begun) = (cpu_time(), Instant::now());
    let done = load_for(address, shape, each);
    let (after, elapsed) = (cpu_time(), begun.elapsed().as_secs_f64());
    let used = |thread: &str| {
        let [before, after] =
            [&before, &after].map(|at| at.get(thread).copied().unwrap_or([0.0; 2]));
        [after[0] - before[0], after[1] - before[1]]
    };
    let ([user, system], flush) = (used("millrace-reacto"), used("millrace-flush"));
    let (all, done) = (user + system + flush[0] + flush[1], done as f64);
    println!(
        "{:<22} {:>10.0} {:>12.0} {:>8.2} us {:>8.2} us {:>7.0}% {:>7.0}%",
        shape.name,
        done / elapsed,
        done / all,
        user * 1e6 / done,
        system * 1e6 / done,
        100.0 * (user + system) / elapsed,
        100.0 * (flush[0] + flush[1]) / elapsed,
    );
    if let Some((thread, stop)) = echo {
        stop.store(true, Ordering::Release);
        thread.join().expect("the echo does not panic");
    }
    if let Some(server) = server {
        server.stop().expect("a clean stop");
    }
    fs::remove_dir_all(&dir).expect("the data directory can be removed");
}

/// Answers every frame with the same one, in bursts like the reactor's.
fn serve_bare(listener: std::net::TcpListener, kind: Bare, log: &Path, stop: &Arc<AtomicBool>) {
    let mut log = (kind == Bare::Writes).then(|| BareLog::create(log, stop));
    let answer = SendAnswer {
        status: SendStatus::Ok,
        message_ids: MessageIds::Text("7F0000010000FFFF00000000000004D2".into()),
        queue_id: QueueId(0),
        queue_offset: QueueOffset(1_234_567),
        transaction_id: Some("AC1100020007330AA2A18A0B63FC0000".into()),
    };
    let mut bytes = Vec::new();
    answer.write(HeaderKind::Json, 4711, &mut bytes);
    // A record has some 90 bytes besides its body and properties.
    let given = vec![7; if kind == Bare::Gives { 256 << 20 } else { 0 }];
    let (given_len, mut given_at) = (32 * (BODY_BYTES + 190), 0);
    if kind == Bare::Gives {
        let frame = u32::from_be_bytes(*bytes.first_chunk().expect("a frame"));
        bytes[..4].copy_from_slice(&(frame + given_len as u32).to_be_bytes());
    }
    listener.set_nonblocking(true).expect("an option");
    let mut listener = mio::net::TcpListener::from_std(listener);
    let mut poll = Poll::new().expect("a poll");
    let own = Token(usize::MAX);
    poll.registry().register(&mut listener, own, Interest::READABLE).expect("registered");
    let (mut events, mut peers) = (Events::with_capacity(256), Vec::<Client>::new());
    while !stop.load(Ordering::Acquire) {
        poll.poll(&mut events, Some(Duration::from_millis(100))).expect("events");
        let mut ready = Vec::with_capacity(peers.len());
        for event in &events {
            if event.token() != own {
                let peer = &mut peers[event.token().0];
                let frames = peer.count_frames(log.as_mut().map(|log| &mut log.staged));
                for _ in 0..frames {
                    peer.write.extend_from_slice(&bytes);
                    if kind == Bare::Gives {
                        given_at = (given_at + given_len) % (given.len() - given_len);
                        peer.write.extend_from_slice(&given[given_at..][..given_len]);
                    }
                }
                ready.push(event.token().0);
                continue;
            }
            while let Ok((mut stream, _)) = listener.accept() {
                stream.set_nodelay(true).expect("an option");
                let token = Token(peers.len());
                poll.registry()
                    .register(&mut stream, token, Interest::READABLE)
                    .expect("registered");
                let read = vec![0; 128 << 10];
                peers.push(Client { stream, read, filled: 0, write: Vec::new(), written: 0 });
            }
        }
        if let Some(log) = &mut log {
            log.write();
        }
        ready.iter().for_each(|peer| peers[*peer].send());
    }
}

/// A file that is written from its beginning to its end, again and again under new names.
struct BareLog {
    path: std::path::PathBuf,
    file: Arc<fs::File>,
    at: u64,
    staged: Vec<u8>,
    synced: std::sync::mpsc::Sender<Arc<fs::File>>,
}

impl BareLog {
    const BYTES: u64 = 1 << 30;

    fn create(path: &Path, stop: &Arc<AtomicBool>) -> Self {
        let (synced, to_sync) = std::sync::mpsc::channel::<Arc<fs::File>>();
        let told = Arc::clone(stop);
        let thread = thread::Builder::new().name("millrace-flush".into());
        let sync = move || {
            let mut newest = None;
            while !told.load(Ordering::Acquire) {
                newest = to_sync.try_iter().last().or(newest);
                thread::sleep(Duration::from_millis(500));
                let file: Option<&Arc<fs::File>> = newest.as_ref();
                file.map_or(Ok(()), |file| file.sync_data()).expect("the disk works");
            }
        };
        thread.spawn(sync).expect("a thread");
        let file = Self::file(path, &synced);
        Self { path: path.into(), file, at: 0, staged: Vec::new(), synced }
    }

    fn file(path: &Path, synced: &std::sync::mpsc::Sender<Arc<fs::File>>) -> Arc<fs::File> {
        let _ = fs::remove_file(path);
        let disk = RealDisk::new();
        disk.create(path).and_then(|file| file.allocate(Self::BYTES)).expect("room on the disk");
        let file = Arc::new(fs::File::options().write(true).open(path).expect("a file"));
        synced.send(Arc::clone(&file)).expect("the other thread");
        file
    }

    fn write(&mut self) {
        if self.at + self.staged.len() as u64 > Self::BYTES {
            (self.file, self.at) = (Self::file(&self.path, &self.synced), 0);
        }
        self.file.write_all_at(&self.staged, self.at).expect("the disk works");
        self.at += self.staged.len() as u64;
        self.staged.clear();
    }
}

/// Touches and frees memory. A virtual machine that gives idle memory back to its host pays for a
/// page when it is used again, and the page cache would pay it for the log.
fn warm_memory() {
    let mut memory = vec![0u8; 3 << 29];
    memory.iter_mut().step_by(4096).for_each(|byte| *byte = 1);
    std::hint::black_box(&memory);
}

fn load_for(address: SocketAddr, shape: &Shape, time: Duration) -> u64 {
    let deadline = Instant::now() + time;
    drive(address, shape, &mut |_| Instant::now() < deadline)
}

fn load(address: SocketAddr, shape: &Shape, messages: u64) -> u64 {
    drive(address, shape, &mut |done| done < messages)
}

/// One connection of the load.
struct Client {
    stream: TcpStream,
    read: Vec<u8>,
    filled: usize,
    write: Vec<u8>,
    written: usize,
}

/// Keeps `window` requests in flight on each connection while `go_on` says so; answers how many
/// messages were answered for.
fn drive(address: SocketAddr, shape: &Shape, go_on: &mut dyn FnMut(u64) -> bool) -> u64 {
    let requests: Vec<Vec<u8>> = (0..4).map(|queue| request(shape, queue)).collect();
    let per_answer = match shape.what {
        What::Send => 1,
        What::Batch(count) => count as u64,
        What::Pull => 32,
    };
    let mut poll = Poll::new().expect("a poll");
    let mut events = Events::with_capacity(256);
    let mut clients: Vec<Client> = (0..shape.connections)
        .map(|n| {
            let mut stream = TcpStream::connect(address).expect("a connection");
            stream.set_nodelay(true).expect("an option");
            let interest = Interest::READABLE | Interest::WRITABLE;
            poll.registry().register(&mut stream, Token(n), interest).expect("registered");
            let write = (0..shape.window).flat_map(|i| requests[(n + i) % 4].clone()).collect();
            Client { stream, read: vec![0; 1 << 20], filled: 0, write, written: 0 }
        })
        .collect();
    let (mut done, mut turn) = (0, 0);
    while go_on(done) {
        poll.poll(&mut events, Some(Duration::from_millis(100))).expect("events");
        for event in &events {
            let client = &mut clients[event.token().0];
            let answers = client.receive();
            done += answers * per_answer;
            for _ in 0..answers {
                turn += 1;
                client.write.extend_from_slice(&requests[turn % 4]);
            }
            client.send();
        }
    }
    done
}

impl Client {
    /// Counts the requests that have come, looks into none, and copies them if they are wanted; 0
    /// also if the peer is gone.
    fn count_frames(&mut self, copies: Option<&mut Vec<u8>>) -> u64 {
        let Ok(n) = self.stream.read(&mut self.read[self.filled..]) else {
            return 0;
        };
        self.filled += n;
        let (mut at, mut frames) = (0, 0);
        while let Some(head) = self.read[at..self.filled].first_chunk::<4>() {
            let len = 4 + u32::from_be_bytes(*head) as usize;
            if at + len > self.filled {
                break;
            }
            at += len;
            frames += 1;
        }
        if let Some(copies) = copies {
            copies.extend_from_slice(&self.read[..at]);
        }
        self.read.copy_within(at..self.filled, 0);
        self.filled -= at;
        frames
    }

    /// Counts the answers that have come.
    fn receive(&mut self) -> u64 {
        let mut answers = 0;
        loop {
            let room = self.read.len() - self.filled;
            match self.stream.read(&mut self.read[self.filled..]) {
                Ok(0) => panic!("the server has closed the connection"),
                Ok(n) => {
                    self.filled += n;
                    let mut at = 0;
                    let limits = Limits::default();
                    while let Split::Frame(frame, len) =
                        Frame::split(&self.read[at..self.filled], &limits).expect("a frame")
                    {
                        let code = frame.header().expect("a header").code;
                        assert_eq!(code, 0, "an error");
                        at += len;
                        answers += 1;
                    }
                    self.read.copy_within(at..self.filled, 0);
                    self.filled -= at;
                    if n < room {
                        return answers;
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return answers,
                Err(error) => panic!("{error}"),
            }
        }
    }

    fn send(&mut self) {
        while self.written < self.write.len() {
            match self.stream.write(&self.write[self.written..]) {
                Ok(n) => self.written += n,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) => panic!("{error}"),
            }
        }
        self.write.clear();
        self.written = 0;
    }
}

/// What a Java client sends: a tag, a key and the properties it adds by itself.
fn request(shape: &Shape, queue: u32) -> Vec<u8> {
    let properties = "KEYS\u{1}order-4711\u{2}UNIQ_KEY\u{1}AC1100020007330AA2A18A0B63FC0000\u{2}\
                      WAIT\u{1}true\u{2}TAGS\u{1}paid\u{2}";
    let body = [7; BODY_BYTES];
    let message = SendMessage {
        producer_group: "orders-producer".into(),
        default_topic: "TBW102".into(),
        queue_id: Some(QueueId(queue)),
        born_at_ms: 1_700_000_000_000,
        properties: properties.into(),
        ..SendMessage::new("orders", &body)
    };
    let mut out = Vec::new();
    match shape.what {
        What::Send => message.write(shape.kind, 4711, CallMode::Answered, &mut out),
        What::Batch(count) => {
            let item = BatchItem { flag: 0, body: &body, properties: properties.as_bytes() };
            let mut items = Vec::new();
            for _ in 0..count {
                push_batch_item(&item, &mut items);
            }
            let batch = SendMessage { batch: true, body: &items, ..message };
            batch.write(shape.kind, 4711, CallMode::Answered, &mut out);
        }
        What::Pull => {
            let pull = PullMessage {
                group: "readers".into(),
                topic: "orders".into(),
                queue_id: QueueId(queue),
                offset: Some(QueueOffset(0)),
                messages_max: 32,
                sys_flag: pull_flag::SUBSCRIPTION,
                commit_offset: None,
                suspend_ms: 0,
                subscription: Some("*".into()),
                subscription_version: 0,
                expression_type: None,
                bytes_max: None,
            };
            pull.write(shape.kind, 4711, CallMode::Answered, &mut out);
        }
    }
    out
}

/// Seconds of CPU time in user mode and in the system, by thread name.
fn cpu_time() -> BTreeMap<String, [f64; 2]> {
    let tasks = fs::read_dir("/proc/self/task").expect("Linux");
    let mut times = BTreeMap::new();
    for task in tasks.flatten() {
        let name = fs::read_to_string(task.path().join("comm")).unwrap_or_default();
        let stat = fs::read_to_string(task.path().join("stat")).unwrap_or_default();
        // Behind the name in parentheses, the 12th and 13th field, in hundredths of a second.
        let fields = stat.rsplit(") ").next().unwrap_or_default().split(' ');
        let mut ticks = fields.skip(11).map(|field| field.parse().unwrap_or(0.0) / 100.0);
        let time = [ticks.next().unwrap_or(0.0), ticks.next().unwrap_or(0.0)];
        times.insert(name.trim().to_owned(), time);
    }
    times
}
