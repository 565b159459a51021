//! Many small messages, and many queues: what they cost to write, to find again and to recover.
//!
//! ```text
//! scale [MESSAGES]           one store, 8 queues, written, killed, recovered and read back
//! scale queues [MESSAGES]    8 queues beside 50,000 over 5,000 topics, in turn, with 1 KiB
//! ```
//!
//! The store lies in a temporary directory and is removed at the end. MESSAGES is cut down to what
//! fits into three quarters of the free disk, or into `MILLRACE_SCALE_GB`. CPU is that of the whole
//! process, flush thread included, as the kernel accounts it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use millrace_disk::{Disk, RealDisk};
use millrace_store::{Flusher, KeyQuery, QueueNo, Recovered, Store, StoreConfig};
use millrace_types::record::{self, Draft};
use millrace_types::{PhysicalOffset, PropertiesBuf, QueueId, QueueOffset, TopicName, keys};

/// Messages of one burst.
const BURST: u64 = 64;
/// Log and index per message, besides the body.
const BYTES_EACH: u64 = 180;
/// Bodies of the two comparisons.
const SMALL: usize = 8;
const USUAL: usize = 1024;
const FLUSH_EVERY: Duration = Duration::from_millis(200);

fn main() {
    let mut arguments: Vec<String> = std::env::args().skip(1).filter(|a| a != "--bench").collect();
    let queues = arguments.first().is_some_and(|first| first == "queues");
    if queues {
        arguments.remove(0);
    }
    let default = if queues { 2_000_000 } else { 100_000_000 };
    let wanted = arguments.first().map_or(default, |n| n.parse().expect("a number of messages"));
    let home = Home::new();
    let body = if queues { USUAL } else { SMALL };
    let messages = wanted.min(home.room() / (BYTES_EACH + body as u64));
    if messages < wanted {
        println!("the free disk bounds {wanted} messages to {messages}");
    }
    if queues { many_queues(&home, messages) } else { many_messages(&home, messages) }
}

/// A directory that is gone in the end.
struct Home(PathBuf);

impl Home {
    fn new() -> Self {
        let dir = std::env::temp_dir().join(format!("millrace-scale-{}", std::process::id()));
        std::fs::create_dir_all(&dir).expect("a directory can be made");
        Self(dir)
    }

    fn room(&self) -> u64 {
        let free = RealDisk::new().free_space(&self.0).expect("the free space is known") / 4 * 3;
        let limit = std::env::var("MILLRACE_SCALE_GB").ok().and_then(|gb| gb.parse::<u64>().ok());
        limit.map_or(free, |gb| free.min(gb << 30))
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A store and the thread that flushes it.
struct Running {
    store: Store,
    stop: Arc<AtomicBool>,
    flushing: JoinHandle<Flusher>,
}

impl Running {
    fn open(dir: &Path) -> (Self, Recovered) {
        let disk: Arc<dyn Disk> = Arc::new(RealDisk::new());
        let (store, mut flusher, found) =
            Store::open(disk, dir, StoreConfig::default()).expect("the store opens");
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let flushing = thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                flusher.flush().expect("the log is durable");
                flusher.housekeep();
                thread::park_timeout(FLUSH_EVERY);
            }
            flusher
        });
        (Self { store, stop, flushing }, found)
    }

    fn stop(self) -> (Store, Flusher) {
        self.stop.store(true, Ordering::Relaxed);
        self.flushing.thread().unpark();
        (self.store, self.flushing.join().expect("the flush thread ended well"))
    }

    fn register(&mut self, topics: u32, queues_each: u32) -> Vec<(TopicName, QueueId, QueueNo)> {
        let mut queues = Vec::new();
        for topic in 0..topics {
            let name = TopicName::parse(&format!("scale-{topic}")).expect("a legal name");
            for id in (0..queues_each).map(QueueId) {
                queues.push((name.clone(), id, self.store.queue(&name, id)));
            }
        }
        queues
    }

    /// Appends messages `from..to`, dealt out to the queues.
    fn append(
        &mut self,
        queues: &[(TopicName, QueueId, QueueNo)],
        body_bytes: usize,
        from: u64,
        to: u64,
    ) {
        let mut body = vec![7; body_bytes];
        let mut properties = PropertiesBuf::new();
        let mut placed = Vec::new();
        for n in from..to {
            body[..SMALL].copy_from_slice(&mixed(n).to_be_bytes());
            properties.clear();
            properties.push_number(keys::UNIQ_KEY, n);
            // Spread, but the same every time.
            let (topic, id, no) = &queues[(mixed(n) % queues.len() as u64) as usize];
            let draft = Draft {
                topic: topic.as_str(),
                queue_id: *id,
                flag: 0,
                sys_flag: 0,
                born_at_ms: 1,
                born_host: ([127, 0, 0, 1], 1).into(),
                reconsume_times: 0,
                prepared_offset: PhysicalOffset(0),
                body: &body,
                properties: properties.as_bytes(),
            };
            self.store.stage(&[(*no, draft)], n as i64, &mut placed).expect("there is room");
            if n % BURST == BURST - 1 || n + 1 == to {
                self.store.commit().expect("it is written");
                placed.clear();
            }
        }
    }

    /// Reads every queue to its end: messages, and the sum of what their bodies say.
    fn read_back(&self) -> (u64, u64) {
        let reader = self.store.reader();
        let (mut count, mut sum) = (0, 0u64);
        for (_, _, no) in self.store.queues() {
            let mut from = self.store.bounds(no).min;
            loop {
                let limit = PhysicalOffset(u64::MAX);
                let plan = self.store.plan(no, from, 4096, 256 << 10, limit);
                if plan.entries.is_empty() {
                    break;
                }
                for run in reader.read(&plan.entries).expect("every record verifies") {
                    for record in record::iter(&run).map_while(Result::ok) {
                        let body = record.body().try_into().expect("eight bytes");
                        sum = sum.wrapping_add(u64::from_be_bytes(body));
                        count += 1;
                    }
                }
                from = plan.next();
            }
            assert_eq!(from, self.store.bounds(no).end.max(QueueOffset(0)));
        }
        (count, sum)
    }
}

fn many_messages(home: &Home, messages: u64) {
    let dir = home.0.join("store");
    let (mut running, _) = Running::open(&dir);
    let queues = running.register(2, 4);
    let mut each = Vec::new();
    for tenth in 0..10 {
        let (from, to) = (messages * tenth / 10, messages * (tenth + 1) / 10);
        let start = Moment::now();
        running.append(&queues, SMALL, from, to);
        each.push(start.report(&format!("tenth {}", tenth + 1), to - from));
    }
    let (user, all) = (each[9].0 / each[0].0, each[9].1 / each[0].1);
    println!("CPU per record, last tenth by first: {user:.3} user, {all:.3} with the kernel");
    let end = running.store.staged_end();
    println!("log {} bytes, {} each; {}", end.0, end.0 / messages, memory());
    // Dropped, not closed: as after `kill -9`, when the system has what was written.
    drop(running.stop());

    let start = Instant::now();
    let (running, found) = Running::open(&dir);
    recovered("recovery", start, &found);
    let start = Moment::now();
    let (count, sum) = running.read_back();
    start.report("read back", count);
    let expected = (0..messages).map(mixed).fold(0u64, u64::wrapping_add);
    assert_eq!((count, sum), (messages, expected), "every message is there, and as it was");
    let start = Instant::now();
    let lookup = running.store.key_lookup(PhysicalOffset(u64::MAX));
    for n in (0..1000).map(|n| mixed(n) % messages) {
        let topic = queues[(mixed(n) % queues.len() as u64) as usize].0.as_str();
        let key = n.to_string();
        let query = KeyQuery {
            topic,
            key: &key,
            unique_only: true,
            count_max: 32,
            bytes_max: 1 << 20,
            from_ms: i64::MIN,
            until_ms: i64::MAX,
        };
        assert_eq!(lookup.find(&query).expect("the index is readable").records.len(), 1);
    }
    println!("1000 look-ups by unique key: {:?} each", start.elapsed() / 1000);
    drop(running.stop());

    std::fs::remove_dir_all(dir.join("index")).expect("the index can be removed");
    let start = Instant::now();
    let (running, found) = Running::open(&dir);
    recovered("start without an index", start, &found);
    println!("{}", memory());
    drop(running.stop());
}

fn many_queues(home: &Home, messages: u64) {
    let mut best = [f64::MAX; 2];
    for round in 0..3 {
        for (which, (topics, each)) in [(5000, 10), (2, 4)].into_iter().enumerate() {
            let dir = home.0.join(format!("{round}-{which}"));
            let (mut running, _) = Running::open(&dir);
            let before = anonymous();
            let queues = running.register(topics, each);
            let count = queues.len();
            // The first message of a queue makes room for its index.
            running.append(&queues, USUAL, 0, 4 * count as u64);
            let grown = anonymous().saturating_sub(before);
            let start = Moment::now();
            let cpu = running.append_from(&queues, 4 * count as u64, messages, &start);
            best[which] = best[which].min(cpu);
            if round == 0 {
                if count > 8 {
                    println!("{count} queues: {} bytes of memory per queue", grown / count as u64);
                }
                let (store, flusher) = running.stop();
                store.close(flusher).expect("it closes");
                let runs: Vec<u64> = std::fs::read_dir(dir.join("index"))
                    .expect("the index is there")
                    .map(|run| run.expect("listed").metadata().expect("known").len())
                    .collect();
                let start = Instant::now();
                let (running, found) = Running::open(&dir);
                recovered("start", start, &found);
                println!(
                    "{} index runs of {} bytes together",
                    runs.len(),
                    runs.iter().sum::<u64>()
                );
                drop(running.stop());
            } else {
                drop(running.stop());
            }
            std::fs::remove_dir_all(&dir).expect("it can be removed");
        }
    }
    println!(
        "append rate with 50,000 queues by that with 8: {:.3}; {}",
        best[1] / best[0],
        memory()
    );
}

impl Running {
    fn append_from(
        &mut self,
        queues: &[(TopicName, QueueId, QueueNo)],
        from: u64,
        count: u64,
        start: &Moment,
    ) -> f64 {
        self.append(queues, USUAL, from, from + count);
        start.report(&format!("{} queues", queues.len()), count).1
    }
}

/// CPU and wall time at some moment.
struct Moment {
    wall: Instant,
    user_ms: u64,
    kernel_ms: u64,
}

impl Moment {
    fn now() -> Self {
        let (user_ms, kernel_ms) = cpu_ms();
        Self { wall: Instant::now(), user_ms, kernel_ms }
    }

    /// Prints what `count` records took since then; gives user and all CPU nanoseconds per record.
    fn report(&self, what: &str, count: u64) -> (f64, f64) {
        let (user_ms, kernel_ms) = cpu_ms();
        let each = |ms: u64| ms as f64 * 1e6 / count as f64;
        let (user, kernel) = (each(user_ms - self.user_ms), each(kernel_ms - self.kernel_ms));
        let rate = count as f64 / self.wall.elapsed().as_secs_f64();
        println!(
            "{what}: {user:.0} ns user and {kernel:.0} ns kernel CPU per record, {:.2} M/s, {}",
            rate / 1e6,
            memory()
        );
        (user, user + kernel)
    }
}

fn recovered(what: &str, start: Instant, found: &Recovered) {
    assert!(found.damage.is_empty() && found.torn.is_none());
    let (took, bytes) = (start.elapsed(), found.scanned_bytes);
    let rate = bytes as f64 / took.as_secs_f64() / f64::from(1 << 30);
    println!("{what}: {took:.3?}, {bytes} bytes of log scanned, {rate:.2} GiB/s");
}

fn mixed(n: u64) -> u64 {
    let z = (n ^ (n >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// User and system time of this process; the kernel counts in hundredths of a second.
fn cpu_ms() -> (u64, u64) {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("Linux");
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or("").split_whitespace().collect();
    let ticks = |n: usize| fields[n].parse::<u64>().expect("a number");
    (ticks(11) * 10, ticks(12) * 10)
}

fn anonymous() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).expect("Linux 4.5");
    line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") << 10
}

fn memory() -> String {
    format!("anonymous memory {} MB", anonymous() / 1_000_000)
}
