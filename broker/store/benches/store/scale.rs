//! Many small messages in one store: written, killed, recovered, read back and looked up.

use std::io::IoSlice;

use millrace_store::{KeyQuery, Recovered, StoreConfig};
use millrace_types::{PhysicalOffset, QueueOffset, record};

use crate::gate::Gates;
use crate::home::Home;
use crate::load::{BODY_MIN, BURST, Grouping, Running, Spreading, mixed};
use crate::meter::{Moment, Spent, anonymous, touch_memory, user_and_kernel};
use crate::raw::RawLog;

/// Log and index per message.
const BYTES_EACH: u64 = 200;
/// Messages of which the plain writes beside each tenth are as large.
const RAW_MESSAGES: u64 = 1_000_000;
const LOOK_UPS: u64 = 1000;

pub(crate) fn measure(home: &Home, gates: &mut Gates, wanted: u64, topics: u32, queues_each: u32) {
    let messages = wanted.min(home.room() / BYTES_EACH);
    if messages < wanted {
        println!("the free disk bounds {wanted} messages to {messages}");
    }
    let mut spreading = Spreading::new(topics, queues_each, BODY_MIN, Grouping::Single);
    println!("{messages} messages of {BODY_MIN} B in {} queues", spreading.queues());
    let dir = home.path("scale");
    let (mut running, _) = Running::open(&dir, StoreConfig::default());
    spreading.register(&mut running.store);
    let mut raw = RawLog::create(&home.path("scale-raw"));
    let mut peak = 0;
    let mut tenths = Vec::new();
    for tenth in 0..10 {
        let (from, to) = (messages * tenth / 10, messages * (tenth + 1) / 10);
        touch_memory((to - from) * BYTES_EACH);
        let (user, kernel) = user_and_kernel();
        let start = Moment::now();
        spreading.append(&mut running.store, from, to);
        let spent = start.spent();
        let (user, kernel) = (user_and_kernel().0 - user, user_and_kernel().1 - kernel);
        let record_bytes = running.store.staged_end().0 / to;
        let plain = write_raw(&mut raw, record_bytes);
        peak = peak.max(anonymous());
        let each = |seconds: f64| seconds / (to - from) as f64 * 1e9;
        let plain_each = |seconds: f64| seconds / RAW_MESSAGES as f64 * 1e9;
        println!(
            "  tenth {:>2}: CPU {:.0} ns per record ({:.0} user, {:.0} kernel), wall {:.0}; plain \
             writes: CPU {:.0}, wall {:.0}; others {:.2} CPUs; anonymous memory {} MB",
            tenth + 1,
            each(spent.process),
            each(user),
            each(kernel),
            each(spent.wall),
            plain_each(plain.process),
            plain_each(plain.wall),
            spent.others,
            anonymous() / 1_000_000,
        );
        tenths.push((each(spent.process), each(user), each(spent.wall)));
    }
    let [first, last] = [tenths[0], tenths[9]];
    println!(
        "  last tenth by first: CPU {:.3}, of that user {:.3}; wall {:.3}",
        last.0 / first.0,
        last.1 / first.1,
        last.2 / first.2,
    );
    let end = running.store.staged_end();
    println!("  log {} bytes, {} each", end.0, end.0 / messages);
    gates.at_most("CPU per record, last tenth by first", last.0 / first.0, 1.1);
    gates.at_most("anonymous memory, MB", peak as f64 / 1e6, 200.0);
    drop(raw);
    home.remove("scale-raw");
    // Dropped, not closed: as after `kill -9`, when the system has what was written.
    drop(running.stop());

    let running = reopen(home, "recovery");
    let start = Moment::now();
    let (count, sum) = read_back(&running);
    rate("read back", &start.spent(), count);
    let expected = (0..messages).map(mixed).fold(0u64, u64::wrapping_add);
    assert_eq!((count, sum), (messages, expected), "every message is there, and as it was");
    look_up(&running, &spreading, messages);
    drop(running.stop());

    home.remove("scale/index");
    let running = reopen(home, "start without an index");
    println!("  anonymous memory {} MB", anonymous() / 1_000_000);
    drop(running.stop());
    home.remove("scale");
}

fn write_raw(raw: &mut RawLog, record_bytes: u64) -> Spent {
    let record = vec![7; record_bytes as usize];
    let slices = vec![IoSlice::new(&record); BURST as usize];
    raw.make_room(RAW_MESSAGES * record_bytes);
    touch_memory(RAW_MESSAGES * record_bytes);
    let start = Moment::now();
    for _ in 0..RAW_MESSAGES / BURST {
        raw.write(&slices);
    }
    start.spent()
}

fn reopen(home: &Home, what: &str) -> Running {
    let start = Moment::now();
    let (running, found) = Running::open(&home.path("scale"), StoreConfig::default());
    let spent = start.spent();
    let Recovered { scanned_bytes, damage, torn, .. } = found;
    assert!(damage.is_empty() && torn.is_none());
    println!(
        "  {what}: {:.3} s, {scanned_bytes} bytes of log scanned, {:.2} GiB/s; others {:.2} CPUs",
        spent.wall,
        scanned_bytes as f64 / spent.wall / f64::from(1 << 30),
        spent.others,
    );
    running
}

/// Reads every queue to its end: messages, and the sum of what their bodies say.
fn read_back(running: &Running) -> (u64, u64) {
    let store = &running.store;
    let reader = store.reader();
    let (mut count, mut sum) = (0, 0u64);
    for (_, _, no) in store.queues() {
        let mut from = store.bounds(no).min;
        loop {
            let plan = store.plan(no, from, 4096, 256 << 10, PhysicalOffset(u64::MAX));
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
        assert_eq!(from, store.bounds(no).end.max(QueueOffset(0)));
    }
    (count, sum)
}

fn look_up(running: &Running, spreading: &Spreading, messages: u64) {
    let start = Moment::now();
    let lookup = running.store.key_lookup(PhysicalOffset(u64::MAX));
    for n in (0..LOOK_UPS).map(|n| mixed(n) % messages) {
        let query = KeyQuery {
            topic: &spreading.topic_of(n),
            key: &n.to_string(),
            unique_only: true,
            count_max: 32,
            bytes_max: 1 << 20,
            from_ms: i64::MIN,
            until_ms: i64::MAX,
        };
        assert_eq!(lookup.find(&query).expect("the index is readable").records.len(), 1);
    }
    rate("look-ups by unique key", &start.spent(), LOOK_UPS);
}

fn rate(what: &str, spent: &Spent, count: u64) {
    println!(
        "  {what}: {count}, {:.0} ns of CPU and {:.0} of wall time each; others {:.2} CPUs",
        spent.process / count as f64 * 1e9,
        spent.wall / count as f64 * 1e9,
        spent.others,
    );
}
